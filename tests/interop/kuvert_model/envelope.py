"""Sections 18, 19 and 20.2: contents, envelopes and frames in protobuf."""

import re
from dataclasses import dataclass

from . import protobuf as pb
from .encodings import decode_address, encode_address
from .errors import MALFORMED, refuse_unless

MAX_CIPHERTEXT_LEN, MAX_FRAME_LEN = 98_304, 131_072


def _decode_address(data: bytes) -> bytes:
    fields = pb.parse(data)
    account, device = pb.last(fields, 1, bytes, b""), pb.last(fields, 2, int, 0)
    refuse_unless(len(account) == 16 and 1 <= device < 2**32, MALFORMED, "address")
    return encode_address(account, device)


def _encode_address(address: bytes) -> bytes:
    account, device = decode_address(address)
    return pb.bytes_field(1, account) + pb.number_field(2, device)


@dataclass(frozen=True)
class Envelope:
    id: bytes
    recipient: bytes
    source: bytes | None
    ciphertext: bytes

    def encode(self) -> bytes:
        return (
            pb.bytes_field(1, self.id)
            + pb.bytes_field(2, _encode_address(self.recipient))
            + pb.bytes_field(3, None if self.source is None else _encode_address(self.source))
            + pb.bytes_field(4, self.ciphertext)
        )

    @staticmethod
    def decode(data: bytes) -> "Envelope":
        fields = pb.parse(data)
        id, ciphertext = pb.last(fields, 1, bytes, b""), pb.last(fields, 4, bytes, b"")
        recipient, source = pb.last(fields, 2, bytes), pb.last(fields, 3, bytes)
        refuse_unless(len(id) == 16, MALFORMED, "id")
        refuse_unless(recipient is not None, MALFORMED, "recipient")
        refuse_unless(1 <= len(ciphertext) <= MAX_CIPHERTEXT_LEN, MALFORMED, "ciphertext")
        return Envelope(
            id, _decode_address(recipient), None if source is None else _decode_address(source), ciphertext
        )


@dataclass(frozen=True)
class DeviceListState:
    number: int
    hash: bytes

    def encode(self) -> bytes:
        return pb.number_field(1, self.number) + pb.bytes_field(2, self.hash)

    @staticmethod
    def decode(data: bytes | None) -> "DeviceListState":
        refuse_unless(data is not None, MALFORMED, "device list state")
        fields = pb.parse(data)
        state = DeviceListState(pb.last(fields, 1, int, 0), pb.last(fields, 2, bytes, b""))
        refuse_unless(len(state.hash) == 32, MALFORMED, "hash of a device list")
        return state


MAX_TEXT_LEN, MAX_ATTACHMENTS, MAX_FILE_SIZE = 65_536, 10, 2**31 - 1
MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*", re.ASCII)


def text_field(fields: dict[int, list], number: int, what: str) -> str:
    try:
        return pb.last(fields, number, bytes, b"").decode("utf-8")
    except UnicodeDecodeError:
        refuse_unless(False, MALFORMED, f"{what} is not UTF-8")


@dataclass(frozen=True)
class Picture:
    width: int
    height: int
    thumbnail: bytes | None

    def encode(self) -> bytes:
        return pb.number_field(1, self.width) + pb.number_field(2, self.height) + pb.bytes_field(3, self.thumbnail)

    @staticmethod
    def decode(data: bytes) -> "Picture":
        fields = pb.parse(data)
        picture = Picture(pb.last(fields, 1, int, 0), pb.last(fields, 2, int, 0), pb.last(fields, 3, bytes))
        refuse_unless(all(1 <= side <= 65_535 for side in (picture.width, picture.height)), MALFORMED, "side of a picture")
        refuse_unless(picture.thumbnail is None or 1 <= len(picture.thumbnail) <= 4_096, MALFORMED, "thumbnail")
        return picture


@dataclass(frozen=True)
class Voice:
    duration_ms: int
    waveform: bytes

    def encode(self) -> bytes:
        return pb.number_field(1, self.duration_ms) + pb.bytes_field(2, self.waveform)

    @staticmethod
    def decode(data: bytes) -> "Voice":
        fields = pb.parse(data)
        voice = Voice(pb.last(fields, 1, int, 0), pb.last(fields, 2, bytes, b""))
        refuse_unless(1 <= voice.duration_ms <= 86_400_000, MALFORMED, "duration")
        refuse_unless(len(voice.waveform) == 64, MALFORMED, "waveform")
        return voice


@dataclass(frozen=True)
class Attachment:
    blob: bytes
    capability: bytes
    file_key: bytes
    size: int
    digest: bytes
    media_type: str
    name: str
    shared: bool
    view_once: bool
    picture: Picture | None
    voice: Voice | None

    def encode(self) -> bytes:
        out = pb.bytes_field(1, self.blob) + pb.bytes_field(2, self.capability) + pb.bytes_field(3, self.file_key)
        out += pb.number_field(4, self.size) + pb.bytes_field(5, self.digest)
        out += pb.bytes_field(6, self.media_type.encode()) + pb.bytes_field(7, self.name.encode() or None)
        out += pb.number_field(8, int(self.shared)) + pb.number_field(9, int(self.view_once))
        out += pb.bytes_field(10, self.picture and self.picture.encode())
        return out + pb.bytes_field(11, self.voice and self.voice.encode())

    @staticmethod
    def decode(data: bytes) -> "Attachment":
        fields = pb.parse(data)
        blob, capability, key, digest = (pb.last(fields, number, bytes, b"") for number in (1, 2, 3, 5))
        size, media_type, name = pb.last(fields, 4, int, 0), text_field(fields, 6, "media type"), text_field(fields, 7, "name")
        refuse_unless(len(blob) == 16, MALFORMED, "blob id")
        refuse_unless(len(capability) == 32, MALFORMED, "capability")
        refuse_unless(len(key) == 32, MALFORMED, "file key")
        refuse_unless(len(digest) == 32, MALFORMED, "digest")
        refuse_unless(size <= MAX_FILE_SIZE, MALFORMED, "size")
        refuse_unless(len(media_type) <= 127 and MEDIA_TYPE.fullmatch(media_type), MALFORMED, "media type")
        refuse_unless(len(name.encode()) <= 255, MALFORMED, "name")
        shared, view_once = (pb.last(fields, number, int, 0) != 0 for number in (8, 9))
        picture, voice = pb.last(fields, 10, bytes), pb.last(fields, 11, bytes)
        picture, voice = picture is not None and Picture.decode(picture) or None, voice is not None and Voice.decode(voice) or None
        return Attachment(blob, capability, key, size, digest, media_type, name, shared, view_once, picture, voice)

    @staticmethod
    def of_fields(i: dict) -> "Attachment":
        """as the vectors list them"""
        picture, voice = i["picture"], i["voice"]
        if picture is not None:
            thumbnail = picture["thumbnail"]
            picture = Picture(picture["width"], picture["height"], thumbnail and bytes.fromhex(thumbnail))
        if voice is not None:
            voice = Voice(voice["duration_ms"], bytes.fromhex(voice["waveform"]))
        blob, capability, key, digest = (bytes.fromhex(i[name]) for name in ("blob", "capability", "file_key", "digest"))
        told = (i["media_type"], i["name"], i["shared"], i["view_once"])
        return Attachment(blob, capability, key, i["size"], digest, *told, picture, voice)


@dataclass(frozen=True)
class Text:
    text: str
    attachments: tuple[Attachment, ...] = ()

    def encode(self) -> bytes:
        files = b"".join(pb.bytes_field(2, file.encode()) for file in self.attachments)
        return pb.bytes_field(1, self.text.encode() or None) + files

    @staticmethod
    def decode(data: bytes) -> "Text":
        fields = pb.parse(data)
        text, files = text_field(fields, 1, "text"), fields.get(2, [])
        refuse_unless(len(text.encode()) <= MAX_TEXT_LEN and (text or files), MALFORMED, "length of a text")
        refuse_unless(len(files) <= MAX_ATTACHMENTS, MALFORMED, "number of files")
        refuse_unless(all(isinstance(file, bytes) for file in files), MALFORMED, "wire type of a field")
        return Text(text, tuple(map(Attachment.decode, files)))


@dataclass(frozen=True)
class Receipts:
    delivered: tuple[bytes, ...]
    read: tuple[bytes, ...]


class SessionReset:
    def __eq__(self, other) -> bool:
        return isinstance(other, SessionReset)


@dataclass(frozen=True)
class Content:
    message_id: bytes
    sent_at: int
    sender_list: DeviceListState
    recipient_list: DeviceListState
    body: Text | Receipts | SessionReset | None  # None: no known body
    access_key: bytes | None = None
    takes_sealed: bool = False

    def encode(self) -> bytes:
        out = pb.bytes_field(1, self.message_id) + pb.number_field(2, self.sent_at)
        out += pb.bytes_field(3, self.sender_list.encode()) + pb.bytes_field(4, self.recipient_list.encode())
        if isinstance(self.body, Text):
            out += pb.bytes_field(5, self.body.encode())
        elif isinstance(self.body, Receipts):
            ids = [pb.bytes_field(1, id) for id in self.body.delivered] + [pb.bytes_field(2, id) for id in self.body.read]
            out += pb.bytes_field(6, b"".join(ids))
        elif isinstance(self.body, SessionReset):
            out += pb.bytes_field(7, b"")
        return out + pb.bytes_field(8, self.access_key) + pb.number_field(9, int(self.takes_sealed))

    @staticmethod
    def decode(data: bytes) -> "Content":
        fields = pb.parse(data)
        message_id = pb.last(fields, 1, bytes, b"")
        refuse_unless(len(message_id) == 16, MALFORMED, "message id")
        body: Text | Receipts | SessionReset | None = None
        if 5 in fields:
            body = Text.decode(pb.last(fields, 5, bytes))
        elif 6 in fields:
            receipts = pb.parse(pb.last(fields, 6, bytes))
            body = Receipts(tuple(receipts.get(1, [])), tuple(receipts.get(2, [])))
            ids = body.delivered + body.read
            refuse_unless(all(isinstance(i, bytes) and len(i) == 16 for i in ids), MALFORMED, "id in a receipt")
        elif 7 in fields:
            pb.parse(pb.last(fields, 7, bytes))
            body = SessionReset()
        access_key = pb.last(fields, 8, bytes)
        refuse_unless(access_key is None or len(access_key) == 16, MALFORMED, "access key")
        return Content(
            message_id,
            pb.last(fields, 2, int, 0),
            DeviceListState.decode(pb.last(fields, 3, bytes)),
            DeviceListState.decode(pb.last(fields, 4, bytes)),
            body,
            access_key,
            pb.last(fields, 9, int, 0) != 0,
        )


def encode_frame(body: bytes) -> bytes:
    refuse_unless(len(body) <= MAX_FRAME_LEN, MALFORMED, "frame is too long")
    return pb.varint(len(body)) + body


def take_frame(data: bytes) -> tuple[bytes, bytes] | None:
    """(body, rest), or None if more bytes have to come. A wrong length is refused at once."""
    shown = data[:3]
    if len(shown) < 3 and all(byte >= 0x80 for byte in shown):
        return None
    length, at = pb.take_varint(shown, 0, max_bytes=3)
    refuse_unless(length <= MAX_FRAME_LEN, MALFORMED, "frame is too long")
    return None if len(data) - at < length else (data[at : at + length], data[at + length :])


EXTENSION, EXTENSION_ANSWER = 32, 23  # fields of ClientFrame and ServerFrame
BLOB = 33  # of ClientFrame, on a stream of its own
MAX_EXTENSION_NAME_LEN = 32
# Fields of ClientFrame that are requests; 16 to 22 and 28 to 30 were the demonstration's, which travels in an extension now.
REQUESTS = {*range(2, 16), *range(24, 28), 31, EXTENSION, BLOB}


@dataclass(frozen=True)
class Extension:
    name: str
    body: bytes

    def encode(self) -> bytes:
        refuse_unless(len(self.name.encode()) <= MAX_EXTENSION_NAME_LEN, MALFORMED, "the extension's name is too long")
        return pb.bytes_field(1, self.name.encode()) + (pb.bytes_field(2, self.body) if self.body else b"")

    @staticmethod
    def decode(data: bytes) -> "Extension":
        fields = pb.parse(data)
        name = pb.last(fields, 1, bytes, b"")
        refuse_unless(len(name) <= MAX_EXTENSION_NAME_LEN, MALFORMED, "the extension's name is too long")
        return Extension(name.decode(), pb.last(fields, 2, bytes, b""))


REPORT_DEVICE = 6  # the field of the demonstration's Request


@dataclass(frozen=True)
class ReportDevice:
    """A request of the extension demonstration: six parts of the machine, None if absent; (what, value) of what is made up."""

    parts: tuple[str | None, ...]
    simulated: tuple[tuple[str, str], ...]

    def encode(self) -> bytes:
        out = b"".join(pb.bytes_field(n, None if part is None else part.encode()) for n, part in enumerate(self.parts, 1))
        for detail in self.simulated:
            out += pb.bytes_field(7, b"".join(pb.bytes_field(n, text.encode() or None) for n, text in enumerate(detail, 1)))
        return pb.bytes_field(REPORT_DEVICE, out)

    @staticmethod
    def decode(data: bytes) -> "ReportDevice":
        fields = pb.parse(pb.last(pb.parse(data), REPORT_DEVICE, bytes))
        parts = [pb.last(fields, n, bytes) for n in range(1, 7)]
        details = [pb.parse(detail) for detail in fields.get(7, [])]
        return ReportDevice(
            tuple(None if part is None else part.decode() for part in parts),
            tuple((pb.last(d, 1, bytes, b"").decode(), pb.last(d, 2, bytes, b"").decode()) for d in details),
        )


def encode_extension_frame(request: int, field: int, extension: Extension) -> bytes:
    """The body of a ClientFrame or ServerFrame, by the field."""
    return pb.number_field(1, request) + pb.bytes_field(field, extension.encode())


def parse_client_frame(body: bytes) -> tuple[int, int, bytes]:
    """(request number, number of the request's field, its bytes)"""
    fields = pb.parse(body)
    requests = [number for number in fields if number in REQUESTS]
    refuse_unless(len(requests) == 1, MALFORMED, "a frame has one request")
    request = pb.last(fields, 1, int, 0)
    refuse_unless(request != 0, MALFORMED, "request 0")
    content = pb.last(fields, requests[0], bytes)
    pb.parse(content)
    return request, requests[0], content


@dataclass(frozen=True)
class Occupant:
    account: bytes | None  # None: all sealed mail
    envelopes: int
    bytes: int


@dataclass(frozen=True)
class FullMailbox:
    refused: int
    largest: tuple[Occupant, ...]


@dataclass(frozen=True)
class Authenticated:
    waiting: int
    waiting_bytes: int
    expired: int
    relay_time: int
    full: FullMailbox | None


AUTHENTICATED, ACCEPTED = 3, 4  # fields of ServerFrame


def encode_server_frame(request: int, answer: Authenticated | bytes) -> bytes:
    if isinstance(answer, bytes):
        return pb.number_field(1, request) + pb.bytes_field(ACCEPTED, pb.bytes_field(1, answer))
    numbers = (answer.waiting, answer.waiting_bytes, answer.expired, answer.relay_time)
    out = b"".join(pb.number_field(number, value) for number, value in enumerate(numbers, 1))
    if answer.full is not None:
        full = pb.number_field(1, answer.full.refused)
        for occupant in answer.full.largest:
            entry = pb.bytes_field(1, occupant.account) + pb.number_field(2, occupant.envelopes)
            full += pb.bytes_field(2, entry + pb.number_field(3, occupant.bytes))
        out += pb.bytes_field(5, full)
    return pb.number_field(1, request) + pb.bytes_field(AUTHENTICATED, out)


def parse_server_frame(body: bytes) -> tuple[int, Authenticated | bytes]:
    """(request number, Authenticated, or the id in Accepted)"""
    fields = pb.parse(body)
    request = pb.last(fields, 1, int, 0)
    if ACCEPTED in fields:
        return request, pb.last(pb.parse(pb.last(fields, ACCEPTED, bytes)), 1, bytes, b"")
    welcome = pb.parse(pb.last(fields, AUTHENTICATED, bytes, b""))
    full = None
    if 5 in welcome:
        mailbox = pb.parse(pb.last(welcome, 5, bytes))
        entries = [pb.parse(entry) for entry in mailbox.get(2, [])]
        occupants = [Occupant(pb.last(e, 1, bytes), pb.last(e, 2, int, 0), pb.last(e, 3, int, 0)) for e in entries]
        full = FullMailbox(pb.last(mailbox, 1, int, 0), tuple(occupants))
    return request, Authenticated(*(pb.last(welcome, number, int, 0) for number in range(1, 5)), full)

"""Section 14: the ML-KEM Braid."""

from dataclasses import dataclass

from . import mlkem
from .encodings import Reader, u8, u16, u64
from .erasure import Decoder, encode
from .errors import FAILED, INVALID, MALFORMED, Refused, refuse_unless
from .labels import L
from .primitives import HKDF, HMAC, same, split

NOTHING, HEADER, VECTOR, VECTOR_AND_ACKNOWLEDGEMENT, CIPHERTEXT1, CIPHERTEXT2 = range(6)
HEADER_PAYLOAD, VECTOR_PAYLOAD, C1_PAYLOAD, C2_PAYLOAD = 96, 1152, 960, 160


@dataclass(frozen=True)
class Message:
    type: int
    epoch: int
    index: int
    chunk: bytes

    def encode(self) -> bytes:
        return u8(self.type) + u64(self.epoch) + u16(self.index) + self.chunk

    @staticmethod
    def decode(data: bytes) -> "Message":
        """KV-047"""
        reader = Reader(data)
        message = Message(reader.number(1), reader.number(8), reader.number(2), reader.take(128))
        reader.end()
        refuse_unless(message.type <= CIPHERTEXT2, MALFORMED, "type")
        refuse_unless(message.epoch != 0, MALFORMED, "epoch 0")
        empty = message.index == 0 and not any(message.chunk)
        refuse_unless(message.type != NOTHING or empty, MALFORMED, "nothing with something")
        return message


class Authenticator:
    """14.2"""

    def __init__(self, agreement_key: bytes):
        self._derive(bytes(32), agreement_key, 0)

    def _derive(self, salt: bytes, ikm: bytes, epoch: int) -> None:
        self.root, self.mac_key = split(HKDF(salt, ikm, L("braid authenticator") + u64(epoch), 64), 32, 32)

    def update(self, output_key: bytes, epoch: int) -> None:
        self._derive(self.root, output_key, epoch)

    def header_mac(self, epoch: int, header: bytes) -> bytes:
        return HMAC(self.mac_key, L("braid header") + u64(epoch) + header)

    def ciphertext_mac(self, epoch: int, c1: bytes, c2: bytes) -> bytes:
        return HMAC(self.mac_key, L("braid ciphertext") + u64(epoch) + c1 + c2)


def output_key(epoch: int, shared_secret: bytes) -> bytes:
    return HKDF(bytes(32), shared_secret, L("braid output key") + u64(epoch), 32)


class Sender:
    """The chunks of one payload, from index 0 on."""

    def __init__(self, payload: bytes):
        self.payload, self.next = payload, 0

    def chunk(self) -> tuple[int, bytes]:
        index = self.next
        self.next = (index + 1) % 65536
        return index, encode(self.payload, index)


class Braid:
    """`state` has the names of KV-048; the other attributes hold what the table says that the state holds."""

    def __init__(self, agreement_key: bytes, is_initiator: bool):
        self.authenticator = Authenticator(agreement_key)
        self.epoch = 1
        self._forget()
        self._begin(1, is_initiator)

    def _forget(self) -> None:
        self.seed = self.header = self.m = self.c1 = None
        self.sender = self.decoder = None

    def _begin(self, epoch: int, as_holder: bool) -> None:
        self._forget()
        self.epoch = epoch
        if as_holder:
            self.state = "KeysUnsampled"
        else:
            self.state, self.decoder = "NoHeaderReceived", Decoder(HEADER_PAYLOAD)

    # --- sending ---

    def send(self, rng) -> tuple[Message, bytes | None]:
        """The message, and the output key if one comes out."""
        refuse_unless(self.state != "Failed", FAILED)
        output = None
        if self.state == "KeysUnsampled":
            self.seed = rng.draw(64)
            header, _ = mlkem.header_and_vector(self.seed)
            self.sender = Sender(header + self.authenticator.header_mac(self.epoch, header))
            self.state = "KeysSampled"
        elif self.state == "HeaderReceived":
            self.m = rng.draw(32)
            self.c1, shared = mlkem.encapsulate1(self.header, self.m)
            output = output_key(self.epoch, shared)
            self.authenticator.update(output, self.epoch)
            self.sender, self.decoder = Sender(self.c1), Decoder(VECTOR_PAYLOAD)
            self.state = "Ct1Sampled"

        type = {
            "KeysSampled": HEADER,
            "HeaderSent": VECTOR,
            "Ct1Received": VECTOR_AND_ACKNOWLEDGEMENT,
            "Ct1Sampled": CIPHERTEXT1,
            "EkReceivedCt1Sampled": CIPHERTEXT1,
            "Ct2Sampled": CIPHERTEXT2,
        }.get(self.state, NOTHING)
        index, chunk = (0, bytes(128)) if type == NOTHING else self.sender.chunk()
        return Message(type, self.epoch, index, chunk), output

    # --- receiving ---

    def receive(self, message: Message) -> bytes | None:
        """The output key if one comes out. What goes wrong here ends the Braid: look at `state`."""
        refuse_unless(self.state != "Failed", FAILED)
        try:
            return self._receive(message)
        except Refused as refused:
            self._forget()
            self.authenticator = None
            self.state, self.failure = "Failed", str(refused)
            return None

    def _receive(self, message: Message) -> bytes | None:
        type = message.type
        if self.state == "Ct2Sampled":
            if message.epoch == self.epoch + 1:
                self._begin(self.epoch + 1, as_holder=True)
            return None
        if message.epoch != self.epoch:
            return None

        if self.state == "KeysSampled" and type == CIPHERTEXT1:
            _, vector = mlkem.header_and_vector(self.seed)
            self.sender, self.decoder, self.state = Sender(vector), Decoder(C1_PAYLOAD), "HeaderSent"
        if self.state == "HeaderSent" and type == CIPHERTEXT1:
            if self._add(message):
                self.c1, self.decoder, self.state = self.decoder.payload(), None, "Ct1Received"
            return None

        if self.state == "Ct1Received" and type == CIPHERTEXT2:
            self.sender, self.decoder, self.state = None, Decoder(C2_PAYLOAD), "EkSentCt1Received"
        if self.state == "EkSentCt1Received" and type == CIPHERTEXT2:
            return self._finish_as_holder() if self._add(message) else None

        if self.state == "NoHeaderReceived" and type == HEADER:
            if self._add(message):
                header, mac = split(self.decoder.payload(), 64, 32)
                refuse_unless(same(mac, self.authenticator.header_mac(self.epoch, header)), INVALID, "header MAC")
                self.header, self.decoder, self.state = header, None, "HeaderReceived"
            return None

        acknowledged = type == VECTOR_AND_ACKNOWLEDGEMENT
        if self.state == "Ct1Sampled" and type in (VECTOR, VECTOR_AND_ACKNOWLEDGEMENT):
            complete = self._add(message)  # a chunk that is there already is not added; its type counts (KV-049)
            if complete and acknowledged:
                self._make_c2()
            elif complete:
                c1_sender = self.sender
                self._make_c2()
                self.ct2_sender, self.sender, self.state = self.sender, c1_sender, "EkReceivedCt1Sampled"
            elif acknowledged:
                self.sender, self.state = None, "Ct1Acknowledged"
        elif self.state == "EkReceivedCt1Sampled" and acknowledged:
            self.sender, self.ct2_sender, self.state = self.ct2_sender, None, "Ct2Sampled"
        elif self.state == "Ct1Acknowledged" and acknowledged:
            if self._add(message):
                self._make_c2()
        return None

    def _add(self, message: Message) -> bool:
        """Whether this chunk completed the payload."""
        return self.decoder.add(message.index, message.chunk) and self.decoder.is_complete()

    def _make_c2(self) -> None:
        c2 = mlkem.encapsulate2(self.header, self.decoder.payload(), self.m)
        self.sender = Sender(c2 + self.authenticator.ciphertext_mac(self.epoch, self.c1, c2))
        self.header = self.m = self.decoder = None
        self.state = "Ct2Sampled"

    def _finish_as_holder(self) -> bytes:
        c2, mac = split(self.decoder.payload(), 128, 32)
        shared = mlkem.decapsulate(mlkem.ML_KEM_768, self.seed, self.c1 + c2)
        output = output_key(self.epoch, shared)
        self.authenticator.update(output, self.epoch)
        expected = self.authenticator.ciphertext_mac(self.epoch, self.c1, c2)
        refuse_unless(same(mac, expected), INVALID, "ciphertext MAC")
        self._begin(self.epoch + 1, as_holder=False)
        return output

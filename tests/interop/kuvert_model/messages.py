"""Section 10: session messages."""

from dataclasses import dataclass

from .encodings import Reader, u8, u32
from .errors import MALFORMED, Refused, refuse_unless
from .identity import Certificate
from .padding import is_padded_length
from .prekeys import LAST_RESORT, ONE_TIME
from .primitives import check_x25519

VERSION, PREKEY, RATCHET = 1, 1, 2
HANDSHAKE_LEN, SEALED_HEADER_LEN, TAG_LEN, MAX_LEN = 1859, 232, 16, 98_304


@dataclass(frozen=True)
class Handshake:
    certificate: Certificate
    ephemeral_key: bytes
    signed_prekey_id: int
    kem_kind: int
    kem_prekey_id: int
    kem_ciphertext: bytes
    one_time_prekey_id: int | None

    def encode(self) -> bytes:
        used = self.one_time_prekey_id is not None
        return (
            self.certificate.encoded
            + self.ephemeral_key
            + u32(self.signed_prekey_id)
            + u8(self.kem_kind)
            + u32(self.kem_prekey_id)
            + self.kem_ciphertext
            + u8(1 if used else 0)
            + u32(self.one_time_prekey_id if used else 0)
        )

    @staticmethod
    def decode(data: bytes) -> "Handshake":
        reader = Reader(data)
        certificate = Certificate.decode(reader.take(245))
        ephemeral_key = reader.take(32)
        try:
            check_x25519(ephemeral_key)
        except Refused as refused:
            raise Refused(MALFORMED, str(refused)) from None
        signed_prekey_id, kem_kind, kem_prekey_id = reader.number(4), reader.number(1), reader.number(4)
        refuse_unless(kem_kind in (ONE_TIME, LAST_RESORT), MALFORMED, "KEM kind")
        kem_ciphertext = reader.take(1568)
        flag, one_time_prekey_id = reader.number(1), reader.number(4)
        reader.end()
        refuse_unless(flag in (0, 1), MALFORMED, "flag")
        refuse_unless(flag == 1 or one_time_prekey_id == 0, MALFORMED, "an id where none is used")
        return Handshake(
            certificate,
            ephemeral_key,
            signed_prekey_id,
            kem_kind,
            kem_prekey_id,
            kem_ciphertext,
            one_time_prekey_id if flag else None,
        )


@dataclass(frozen=True)
class SessionMessage:
    handshake: bytes | None  # encoded; None in a RatchetMessage
    sealed_header: bytes
    ciphertext: bytes  # with its tag

    @property
    def kind(self) -> int:
        return RATCHET if self.handshake is None else PREKEY

    def encode(self) -> bytes:
        return u8(VERSION) + u8(self.kind) + (self.handshake or b"") + self.sealed_header + self.ciphertext

    @staticmethod
    def decode(data: bytes) -> "SessionMessage":
        refuse_unless(len(data) <= MAX_LEN, MALFORMED, "too long")
        reader = Reader(data)
        refuse_unless(reader.number(1) == VERSION, MALFORMED, "version")
        kind = reader.number(1)
        refuse_unless(kind in (PREKEY, RATCHET), MALFORMED, "kind")
        handshake = None
        if kind == PREKEY:
            handshake = reader.take(HANDSHAKE_LEN)
            Handshake.decode(handshake)
        sealed_header = reader.take(SEALED_HEADER_LEN)
        ciphertext = reader.take(len(data) - reader.at)
        refuse_unless(is_padded_length(len(ciphertext) - TAG_LEN), MALFORMED, "length of the ciphertext")
        return SessionMessage(handshake, sealed_header, ciphertext)

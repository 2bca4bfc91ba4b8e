"""Section 19.1: sealed sender."""

from dataclasses import dataclass

from .encodings import Reader, u8
from .errors import INVALID, MALFORMED, Refused, refuse_unless
from .identity import Certificate
from .labels import L
from .primitives import DH, HKDF, check_x25519, dh_public, open_, seal, sha256, split

VERSION, CERTIFICATE_LEN, TAG_LEN, MAX_LEN = 2, 245, 16, 98_304
ENCRYPTED_CERTIFICATE_LEN = CERTIFICATE_LEN + TAG_LEN


@dataclass(frozen=True)
class CertificateKeys:
    key: bytes
    nonce: bytes
    chaining_key: bytes
    bound: bytes  # E, IK_B, address_B

    @property
    def associated_data(self) -> bytes:
        return u8(VERSION) + self.bound


def certificate_keys(shared: bytes, ephemeral: bytes, recipient: Certificate) -> CertificateKeys:
    bound = ephemeral + recipient.identity_key + recipient.address
    return CertificateKeys(*split(HKDF(bytes(32), shared, L("sealed certificate") + bound, 76), 32, 12, 32), bound)


def message_keys(outer: CertificateKeys, identity_shared: bytes, encrypted: bytes) -> tuple[bytes, bytes, bytes]:
    """(key, nonce, AD) of the message beside this encrypted certificate"""
    bound = outer.bound + sha256(encrypted)
    key, nonce = split(HKDF(outer.chaining_key, identity_shared, L("sealed message") + bound, 44), 32, 12)
    return key, nonce, u8(VERSION) + bound


def seal_sender(sender: Certificate, identity_secret: bytes, recipient: Certificate, message: bytes, rng) -> bytes:
    secret = rng.draw(32)
    ephemeral, theirs = dh_public(secret), check_x25519(recipient.identity_key)
    outer = certificate_keys(DH(secret, theirs), ephemeral, recipient)
    encrypted = seal(outer.key, outer.nonce, outer.associated_data, sender.encoded)
    key, nonce, ad = message_keys(outer, DH(identity_secret, theirs), encrypted)
    return u8(VERSION) + ephemeral + encrypted + seal(key, nonce, ad, message)


def open_sender(sealed: bytes, recipient: Certificate, identity_secret: bytes) -> tuple[Certificate, bytes]:
    """(the certificate of the device that sealed it, the session message)"""
    refuse_unless(len(sealed) <= MAX_LEN, MALFORMED, "length")
    reader = Reader(sealed)
    refuse_unless(reader.number(1) == VERSION, MALFORMED, "version")
    ephemeral = check_x25519(reader.take(32))
    encrypted, ciphertext = sealed[33 : 33 + ENCRYPTED_CERTIFICATE_LEN], sealed[33 + ENCRYPTED_CERTIFICATE_LEN :]
    refuse_unless(len(ciphertext) > TAG_LEN, MALFORMED, "length")
    outer = certificate_keys(DH(identity_secret, ephemeral), ephemeral, recipient)
    certificate = open_(outer.key, outer.nonce, outer.associated_data, encrypted)
    try:
        sender = Certificate.decode(certificate).verify()
        check_x25519(sender.identity_key)
    except Refused:
        raise Refused(INVALID, "the sender's certificate") from None
    own = sender.address == recipient.address or sender.identity_key == recipient.identity_key
    refuse_unless(not own, INVALID, "the recipient's own certificate")
    key, nonce, ad = message_keys(outer, DH(identity_secret, sender.identity_key), encrypted)
    return sender, open_(key, nonce, ad, ciphertext)

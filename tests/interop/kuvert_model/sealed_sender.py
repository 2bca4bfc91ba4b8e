"""Section 19.1: sealed sender."""

from .encodings import Reader, u8
from .errors import INVALID, MALFORMED, Refused, refuse_unless
from .identity import Certificate
from .labels import L
from .primitives import DH, HKDF, check_x25519, dh_public, open_, seal, split

CERTIFICATE_LEN, TAG_LEN, MAX_LEN = 245, 16, 98_304


def keys(shared: bytes, ephemeral: bytes, recipient: Certificate) -> tuple[bytes, bytes, bytes]:
    """(key, nonce, AD)"""
    bound = ephemeral + recipient.identity_key + recipient.address
    key, nonce = split(HKDF(bytes(32), shared, L("sealed sender") + bound, 44), 32, 12)
    return key, nonce, u8(1) + bound


def seal_sender(sender_certificate: bytes, recipient: Certificate, message: bytes, rng) -> bytes:
    secret = rng.draw(32)
    ephemeral = dh_public(secret)
    key, nonce, ad = keys(DH(secret, check_x25519(recipient.identity_key)), ephemeral, recipient)
    return u8(1) + ephemeral + seal(key, nonce, ad, sender_certificate + message)


def open_sender(sealed: bytes, recipient: Certificate, identity_secret: bytes) -> tuple[Certificate, bytes]:
    """(the certificate of whom the message names as its sender, the session message)"""
    refuse_unless(len(sealed) <= MAX_LEN, MALFORMED, "length")
    reader = Reader(sealed)
    refuse_unless(reader.number(1) == 1, MALFORMED, "version")
    ephemeral, ciphertext = check_x25519(reader.take(32)), sealed[33:]
    refuse_unless(len(ciphertext) > CERTIFICATE_LEN + TAG_LEN, MALFORMED, "length")
    key, nonce, ad = keys(DH(identity_secret, ephemeral), ephemeral, recipient)
    inside = open_(key, nonce, ad, ciphertext)
    try:
        sender = Certificate.decode(inside[:CERTIFICATE_LEN]).verify()
    except Refused:
        raise Refused(INVALID, "the sender's certificate") from None
    return sender, inside[CERTIFICATE_LEN:]

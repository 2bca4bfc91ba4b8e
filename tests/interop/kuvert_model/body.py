"""Section 16: body encryption."""

from .encodings import u8, u32
from .labels import L
from .primitives import HKDF, open_, seal, sha256, split


def associated_data(kind: int, T: bytes, sealed_header: bytes) -> bytes:
    return L("associated data") + u8(1) + u8(kind) + T + u32(232) + sealed_header


def body_key(pq_mk: bytes, ec_mk: bytes, ad: bytes) -> list[bytes]:
    return split(HKDF(pq_mk, ec_mk, L("body key") + sha256(ad), 44), 32, 12)


def seal_body(pq_mk: bytes, ec_mk: bytes, kind: int, T: bytes, sealed_header: bytes, padded: bytes) -> bytes:
    ad = associated_data(kind, T, sealed_header)
    key, nonce = body_key(pq_mk, ec_mk, ad)
    return seal(key, nonce, ad, padded)


def open_body(pq_mk: bytes, ec_mk: bytes, kind: int, T: bytes, sealed_header: bytes, ciphertext: bytes) -> bytes:
    ad = associated_data(kind, T, sealed_header)
    key, nonce = body_key(pq_mk, ec_mk, ad)
    return open_(key, nonce, ad, ciphertext)

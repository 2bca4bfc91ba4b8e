"""Section 20.3: what a device signs for a relay."""

from .encodings import u8
from .labels import L
from .primitives import sign, verify


def statement(address: bytes, challenge: bytes, exporter: bytes) -> bytes:
    assert (len(address), len(challenge), len(exporter)) == (20, 32, 32)
    return L("relay authentication") + u8(1) + address + challenge + exporter


def authenticate(signing_seed: bytes, address: bytes, challenge: bytes, exporter: bytes) -> bytes:
    return sign(signing_seed, statement(address, challenge, exporter))


def is_authentic(signing_key: bytes, address: bytes, challenge: bytes, exporter: bytes, signature: bytes) -> bool:
    return verify(signing_key, statement(address, challenge, exporter), signature)

"""Section 6: safety number and account key fingerprint."""

from .labels import L
from .primitives import sha256, sha512


def half(account: bytes, account_key: bytes) -> str:
    h = sha512(L("safety number") + account + account_key)
    for _ in range(5200):
        h = sha512(h + account_key)
    return "".join(f"{int.from_bytes(h[5 * j : 5 * j + 5], 'big') % 100000:05d}" for j in range(6))


def safety_number(ours: tuple[bytes, bytes], theirs: tuple[bytes, bytes]) -> str:
    return "".join(sorted([half(*ours), half(*theirs)]))


def shown(digits: str) -> str:
    return " ".join(digits[i : i + 5] for i in range(0, 60, 5))


def account_key_fingerprint(account: bytes, account_key: bytes) -> bytes:
    return sha256(L("account fingerprint") + account + account_key)

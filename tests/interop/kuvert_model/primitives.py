"""Section 3: primitives and the checks on keys from elsewhere."""

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from .errors import INVALID, UNDECRYPTABLE, Refused, refuse_unless

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


class SystemRandom:
    def draw(self, n: int) -> bytes:
        return os.urandom(n)


# --- hashes -----------------------------------------------------------------------------------------------------------


def sha256(x: bytes) -> bytes:
    return hashlib.sha256(x).digest()


def sha512(x: bytes) -> bytes:
    return hashlib.sha512(x).digest()


def HMAC(k: bytes, x: bytes) -> bytes:
    return hmac.digest(k, x, "sha256")


def HKDF(salt: bytes, ikm: bytes, info: bytes, n: int) -> bytes:
    prk = HMAC(salt, ikm)
    out, block, counter = b"", b"", 1
    while len(out) < n:
        block = HMAC(prk, block + info + bytes([counter]))
        out, counter = out + block, counter + 1
    return out[:n]


def split(data: bytes, *lengths: int) -> list[bytes]:
    parts, at = [], 0
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    assert at == len(data)
    return parts


def same(a: bytes, b: bytes) -> bool:
    return hmac.compare_digest(a, b)


# --- Ed25519 ----------------------------------------------------------------------------------------------------------


def signing_public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, x: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(x)


def _edwards_decode(data: bytes):
    """The point of RFC 8032, section 5.1.3, or None if it is not canonical or no point."""
    value = int.from_bytes(data, "little")
    sign_bit, y = value >> 255, value & (2**255 - 1)
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * SQRT_M1 % P
    if v * x * x % P != u:
        return None
    if x == 0 and sign_bit:
        return None
    return (P - x if x & 1 != sign_bit else x, y)


def _edwards_add(p, q):
    (x1, y1), (x2, y2) = p, q
    t = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + t, P - 2, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - t, P - 2, P) % P,
    )


def _is_small_order(p) -> bool:
    for _ in range(3):
        p = _edwards_add(p, p)
    return p == (0, 1)


def verify(public: bytes, x: bytes, signature: bytes) -> bool:
    """KV-005. Points and s are judged here; what is left, the equation without cofactor, is OpenSSL's: it computes
    s·B − k·A and compares its bytes with R."""
    if len(public) != 32 or len(signature) != 64:
        return False
    for encoded in (public, signature[:32]):
        point = _edwards_decode(encoded)
        if point is None or _is_small_order(point):
            return False
    if int.from_bytes(signature[32:], "little") >= ORDER:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, x)
    except InvalidSignature:
        return False
    return True


# --- X25519 -----------------------------------------------------------------------------------------------------------

LOW_ORDER = {
    (0).to_bytes(32, "little"),
    (1).to_bytes(32, "little"),
    (2**255 - 20).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
}


def dh_public(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def DH(secret: bytes, public: bytes) -> bytes:
    try:
        shared = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # OpenSSL refuses the all-zero result itself
        raise Refused(INVALID, "all-zero DH") from None
    refuse_unless(any(shared), INVALID, "all-zero DH")  # KV-007
    return shared


def check_x25519(public: bytes) -> bytes:
    """KV-006"""
    refuse_unless(len(public) == 32, INVALID, "length of an X25519 key")
    refuse_unless(int.from_bytes(public, "little") < P, INVALID, "X25519 key is not canonical")
    refuse_unless(public not in LOW_ORDER, INVALID, "X25519 key of low order")
    return public


def check_ephemeral(public: bytes) -> bytes:
    """KV-006 and KV-008"""
    u = int.from_bytes(check_x25519(public), "little")
    rhs = u * (u * u + 486662 * u + 1) % P
    refuse_unless(pow(rhs, (P - 1) // 2, P) in (0, 1), INVALID, "ephemeral key on the twist")
    refuse_unless(_ladder_is_neutral(u, ORDER), INVALID, "ephemeral key is not in the prime-order group")
    return public


def _ladder_is_neutral(u: int, k: int) -> bool:
    """Whether k·(u, …) is the neutral element: Montgomery ladder, projective x only."""
    x0, z0, x1, z1 = 1, 0, u, 1
    for bit in bin(k)[2:]:
        if bit == "1":
            x0, z0, x1, z1 = x1, z1, x0, z0
        # (x0, z0) doubled, (x1, z1) the sum; their difference is (u, 1)
        a, b, c, d = x0 + z0, x0 - z0, x1 + z1, x1 - z1
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = (aa - bb) % P
        x1, z1 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        x0, z0 = aa * bb % P, e * (aa + 121665 * e) % P
        if bit == "1":
            x0, z0, x1, z1 = x1, z1, x0, z0
    return z0 == 0


# --- AEAD -------------------------------------------------------------------------------------------------------------


def seal(key: bytes, nonce: bytes, ad: bytes, x: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(nonce, x, ad)


def open_(key: bytes, nonce: bytes, ad: bytes, sealed: bytes) -> bytes:
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, ad)
    except InvalidTag:
        raise Refused(UNDECRYPTABLE, "tag") from None


def hchacha20(key: bytes, nonce16: bytes) -> bytes:
    """draft-irtf-cfrg-xchacha-03, section 2.2"""

    def words(data: bytes) -> list[int]:
        return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]

    def rotate(x: int, n: int) -> int:
        return (x << n | x >> (32 - n)) & 0xFFFFFFFF

    s = words(b"expand 32-byte k") + words(key) + words(nonce16)

    def quarter(a: int, b: int, c: int, d: int) -> None:
        s[a] = s[a] + s[b] & 0xFFFFFFFF
        s[d] = rotate(s[d] ^ s[a], 16)
        s[c] = s[c] + s[d] & 0xFFFFFFFF
        s[b] = rotate(s[b] ^ s[c], 12)
        s[a] = s[a] + s[b] & 0xFFFFFFFF
        s[d] = rotate(s[d] ^ s[a], 8)
        s[c] = s[c] + s[d] & 0xFFFFFFFF
        s[b] = rotate(s[b] ^ s[c], 7)

    for _ in range(10):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for column in range(4):
            quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4)
    return b"".join(word.to_bytes(4, "little") for word in s[0:4] + s[12:16])


def xseal(key: bytes, nonce24: bytes, ad: bytes, x: bytes) -> bytes:
    return seal(hchacha20(key, nonce24[:16]), bytes(4) + nonce24[16:], ad, x)


def xopen(key: bytes, nonce24: bytes, ad: bytes, sealed: bytes) -> bytes:
    return open_(hchacha20(key, nonce24[:16]), bytes(4) + nonce24[16:], ad, sealed)

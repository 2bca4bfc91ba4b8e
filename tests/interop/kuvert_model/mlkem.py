"""FIPS 203 (ML-KEM), plain, for 768 and 1024; and section 14.1's pieces. Not constant in time: a model only.

`cryptography` has ML-KEM, but no encapsulation with given randomness and nothing in pieces. check_vectors.py compares
this module with it on random keys.
"""

import hashlib
from functools import lru_cache

from .errors import INVALID, refuse_unless

Q, N = 3329, 256


class Parameters:
    def __init__(self, k: int, eta1: int, eta2: int, du: int, dv: int):
        self.k, self.eta1, self.eta2, self.du, self.dv = k, eta1, eta2, du, dv
        self.ek_len = 384 * k + 32
        self.vector_len = 384 * k
        self.c1_len, self.c2_len = 32 * du * k, 32 * dv


ML_KEM_768 = Parameters(3, 2, 2, 10, 4)
ML_KEM_1024 = Parameters(4, 2, 2, 11, 5)


def _bit_reverse7(i: int) -> int:
    return int(f"{i:07b}"[::-1], 2)


ZETAS = [pow(17, _bit_reverse7(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * _bit_reverse7(i) + 1, Q) for i in range(128)]


def G(x: bytes) -> tuple[bytes, bytes]:
    digest = hashlib.sha3_512(x).digest()
    return digest[:32], digest[32:]


def H(x: bytes) -> bytes:
    return hashlib.sha3_256(x).digest()


def J(x: bytes) -> bytes:
    return hashlib.shake_256(x).digest(32)


def prf(eta: int, s: bytes, b: int) -> bytes:
    return hashlib.shake_256(s + bytes([b])).digest(64 * eta)


def byte_encode(d: int, f: list[int]) -> bytes:
    value = 0
    for i, coefficient in enumerate(f):
        value |= coefficient << (d * i)
    return value.to_bytes(32 * d, "little")


def byte_decode(d: int, data: bytes) -> list[int]:
    value, mask = int.from_bytes(data, "little"), (1 << d) - 1
    f = [(value >> (d * i)) & mask for i in range(N)]
    return [x % Q for x in f] if d == 12 else f


def compress(d: int, f: list[int]) -> list[int]:
    return [((x << d) * 2 + Q) // (2 * Q) % (1 << d) for x in f]


def decompress(d: int, f: list[int]) -> list[int]:
    return [(2 * Q * y + (1 << d)) >> (d + 1) for y in f]


def ntt(f: list[int]) -> list[int]:
    f, i, length = list(f), 1, 128
    while length >= 2:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i + 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j + length], f[j] = (f[j] - t) % Q, (f[j] + t) % Q
        length //= 2
    return f


def inverse_ntt(f: list[int]) -> list[int]:
    f, i, length = list(f), 127, 2
    while length <= 128:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i - 1
            for j in range(start, start + length):
                t = f[j]
                f[j], f[j + length] = (t + f[j + length]) % Q, zeta * (f[j + length] - t) % Q
        length *= 2
    return [x * 3303 % Q for x in f]


def multiply(f: list[int], g: list[int]) -> list[int]:
    h = [0] * N
    for i in range(128):
        a0, a1, b0, b1 = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
        h[2 * i] = (a0 * b0 + a1 * b1 * GAMMAS[i]) % Q
        h[2 * i + 1] = (a0 * b1 + a1 * b0) % Q
    return h


def add(f: list[int], g: list[int]) -> list[int]:
    return [(x + y) % Q for x, y in zip(f, g)]


def dot(a: list[list[int]], b: list[list[int]]) -> list[int]:
    total = [0] * N
    for f, g in zip(a, b):
        total = add(total, multiply(f, g))
    return total


def sample_ntt(seed: bytes) -> list[int]:
    stream, out, at = hashlib.shake_128(seed).digest(3 * 1024), [], 0
    while len(out) < N:
        c0, c1, c2 = stream[at : at + 3]
        at += 3
        for d in (c0 + 256 * (c1 % 16), c1 // 16 + 16 * c2):
            if d < Q and len(out) < N:
                out.append(d)
    return out


def sample_cbd(eta: int, data: bytes) -> list[int]:
    bits = int.from_bytes(data, "little")
    out = []
    for i in range(N):
        x = sum(bits >> (2 * i * eta + j) & 1 for j in range(eta))
        y = sum(bits >> (2 * i * eta + eta + j) & 1 for j in range(eta))
        out.append((x - y) % Q)
    return out


@lru_cache(maxsize=64)
def matrix(k: int, rho: bytes) -> list[list[list[int]]]:
    return [[sample_ntt(rho + bytes([j, i])) for j in range(k)] for i in range(k)]


@lru_cache(maxsize=64)
def keygen(p: Parameters, seed: bytes) -> tuple[bytes, bytes]:
    """ML-KEM.KeyGen_internal(d, z) with seed = d ‖ z: (ek, dk)."""
    assert len(seed) == 64
    d, z = seed[:32], seed[32:]
    rho, sigma = G(d + bytes([p.k]))
    A = matrix(p.k, rho)
    s = [ntt(sample_cbd(p.eta1, prf(p.eta1, sigma, n))) for n in range(p.k)]
    e = [ntt(sample_cbd(p.eta1, prf(p.eta1, sigma, p.k + n))) for n in range(p.k)]
    t = [add(dot(A[i], s), e[i]) for i in range(p.k)]
    ek = b"".join(byte_encode(12, f) for f in t) + rho
    dk = b"".join(byte_encode(12, f) for f in s) + ek + H(ek) + z
    return ek, dk


def check_vector(p: Parameters, vector: bytes) -> None:
    """The modulus check of FIPS 203, section 7.2."""
    refuse_unless(len(vector) == p.vector_len, INVALID, "length of an encapsulation key")
    parts = [vector[i : i + 384] for i in range(0, len(vector), 384)]
    refuse_unless(b"".join(byte_encode(12, byte_decode(12, f)) for f in parts) == vector, INVALID, "modulus check")


def check_encapsulation_key(p: Parameters, ek: bytes) -> bytes:
    """KV-009"""
    refuse_unless(len(ek) == p.ek_len, INVALID, "length of an encapsulation key")
    check_vector(p, ek[: p.vector_len])
    return ek


def _encrypt_u(p: Parameters, rho: bytes, r: bytes) -> bytes:
    A = matrix(p.k, rho)
    y = [ntt(sample_cbd(p.eta1, prf(p.eta1, r, n))) for n in range(p.k)]
    c1 = b""
    for i in range(p.k):
        e1 = sample_cbd(p.eta2, prf(p.eta2, r, p.k + i))
        u = add(inverse_ntt(dot([A[j][i] for j in range(p.k)], y)), e1)
        c1 += byte_encode(p.du, compress(p.du, u))
    return c1


def _encrypt_v(p: Parameters, vector: bytes, m: bytes, r: bytes) -> bytes:
    t = [byte_decode(12, vector[384 * i : 384 * (i + 1)]) for i in range(p.k)]
    y = [ntt(sample_cbd(p.eta1, prf(p.eta1, r, n))) for n in range(p.k)]
    e2 = sample_cbd(p.eta2, prf(p.eta2, r, 2 * p.k))
    mu = decompress(1, byte_decode(1, m))
    v = add(add(inverse_ntt(dot(t, y)), e2), mu)
    return byte_encode(p.dv, compress(p.dv, v))


def _encrypt(p: Parameters, ek: bytes, m: bytes, r: bytes) -> bytes:
    return _encrypt_u(p, ek[p.vector_len :], r) + _encrypt_v(p, ek[: p.vector_len], m, r)


def encapsulate(p: Parameters, ek: bytes, m: bytes) -> tuple[bytes, bytes]:
    """ML-KEM.Encaps_internal: (ciphertext, shared secret)."""
    K, r = G(m + H(ek))
    return _encrypt(p, ek, m, r), K


def decapsulate(p: Parameters, seed: bytes, ciphertext: bytes) -> bytes:
    """ML-KEM.Decaps_internal with implicit rejection."""
    refuse_unless(len(ciphertext) == p.c1_len + p.c2_len, INVALID, "length of a KEM ciphertext")
    ek, dk = keygen(p, seed)
    s = [byte_decode(12, dk[384 * i : 384 * (i + 1)]) for i in range(p.k)]
    c1, c2 = ciphertext[: p.c1_len], ciphertext[p.c1_len :]
    step = 32 * p.du
    u = [decompress(p.du, byte_decode(p.du, c1[step * i : step * (i + 1)])) for i in range(p.k)]
    v = decompress(p.dv, byte_decode(p.dv, c2))
    su = inverse_ntt(dot(s, [ntt(f) for f in u]))
    m = byte_encode(1, compress(1, [(a - b) % Q for a, b in zip(v, su)]))
    K, r = G(m + H(ek))
    return K if _encrypt(p, ek, m, r) == ciphertext else J(seed[32:] + ciphertext)


# --- 14.1: ML-KEM-768 in pieces ---------------------------------------------------------------------------------------


def header_and_vector(seed: bytes) -> tuple[bytes, bytes]:
    ek, _ = keygen(ML_KEM_768, seed)
    return ek[1152:] + H(ek), ek[:1152]


def encapsulate1(header: bytes, m: bytes) -> tuple[bytes, bytes]:
    """(c1, shared secret) from the header alone."""
    K, r = G(m + header[32:])
    return _encrypt_u(ML_KEM_768, header[:32], r), K


def encapsulate2(header: bytes, vector: bytes, m: bytes) -> bytes:
    """c2, after the checks of KV-045."""
    refuse_unless(len(vector) == 1152 and H(vector + header[:32]) == header[32:], INVALID, "not the vector announced")
    check_vector(ML_KEM_768, vector)
    _, r = G(m + header[32:])
    return _encrypt_v(ML_KEM_768, vector, m, r)

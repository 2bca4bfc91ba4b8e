"""Section 15: the erasure code over GF(2^16)."""

from .errors import INVALID, refuse_unless

REDUCTION = 0x1100B
CHUNK_LEN, SYMBOLS = 128, 64


def multiply_slowly(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = a << 1, b >> 1
        if a & 0x10000:
            a ^= REDUCTION
    return product


def _tables() -> tuple[list[int], list[int]]:
    exp, log, x = [0] * 131070, [0] * 65536, 1
    for i in range(65535):
        assert i == 0 or x != 1, "2 generates the multiplicative group"
        exp[i] = exp[i + 65535] = x
        log[x] = i
        x <<= 1
        if x & 0x10000:
            x ^= REDUCTION
    return exp, log


EXP, LOG = _tables()


def multiply(a: int, b: int) -> int:
    return EXP[LOG[a] + LOG[b]] if a and b else 0


def invert(a: int) -> int:
    refuse_unless(a != 0, INVALID, "zero has no inverse")
    return EXP[65535 - LOG[a]]


def symbols(chunk: bytes) -> list[int]:
    return [int.from_bytes(chunk[2 * p : 2 * p + 2], "big") for p in range(SYMBOLS)]


def chunk_count(length: int) -> int:
    return -(-length // CHUNK_LEN)


def interpolate(points: list[tuple[int, bytes]], at: int) -> bytes:
    """The value at `at` of the polynomial of least degree through the points, symbol by symbol."""
    total = [0] * SYMBOLS
    for j, (x_j, chunk) in enumerate(points):
        coefficient = 1
        for m, (x_m, _) in enumerate(points):
            if m != j:
                coefficient = multiply(coefficient, multiply(at ^ x_m, invert(x_j ^ x_m)))
        if coefficient:
            total = [t ^ multiply(s, coefficient) for t, s in zip(total, symbols(chunk))]
    return b"".join(t.to_bytes(2, "big") for t in total)


def data_chunks(payload: bytes) -> list[tuple[int, bytes]]:
    k = chunk_count(len(payload))
    padded = payload.ljust(k * CHUNK_LEN, b"\0")
    return [(j, padded[CHUNK_LEN * j : CHUNK_LEN * (j + 1)]) for j in range(k)]


def encode(payload: bytes, index: int) -> bytes:
    return interpolate(data_chunks(payload), index)


class Decoder:
    def __init__(self, length: int):
        self.length, self.k = length, chunk_count(length)
        self.chunks: dict[int, bytes] = {}

    def add(self, index: int, chunk: bytes) -> bool:
        """Whether the chunk was new."""
        if index in self.chunks or self.is_complete():
            return False
        self.chunks[index] = chunk
        return True

    def is_complete(self) -> bool:
        return len(self.chunks) == self.k

    def payload(self) -> bytes:
        points = list(self.chunks.items())
        padded = b"".join(interpolate(points, j) for j in range(self.k))
        refuse_unless(not any(padded[self.length :]), INVALID, "the padding of a payload is not zero")
        return padded[: self.length]

"""Section 11: padding."""

from .errors import MALFORMED, refuse_unless

MAX_CONTENT_LEN = 92_159


def padme(l: int) -> int:
    e = l.bit_length() - 1  # floor(log2 l)
    s = e.bit_length()  # floor(log2 e) + 1
    unit = 1 << (e - s)
    return -(-l // unit) * unit


def padded_length(content_length: int) -> int:
    l = content_length + 1
    for bucket in (512, 4096, 16384):
        if l <= bucket:
            return bucket
    return padme(l)


def is_padded_length(length: int) -> bool:
    return length in (512, 4096, 16384) or (length > 16384 and padme(length) == length)


def pad(content: bytes) -> bytes:
    refuse_unless(len(content) <= MAX_CONTENT_LEN, "too long")
    return (content + b"\x80").ljust(padded_length(len(content)), b"\0")


def unpad(padded: bytes) -> bytes:
    marked = padded.rstrip(b"\0")
    refuse_unless(marked[-1:] == b"\x80", MALFORMED, "padding")
    refuse_unless(padded_length(len(marked) - 1) == len(padded), MALFORMED, "padding")
    return marked[:-1]

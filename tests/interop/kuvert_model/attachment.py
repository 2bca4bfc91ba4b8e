"""Section 18.1: attachments."""

from .encodings import u8, u32
from .errors import INVALID, MALFORMED, UNDECRYPTABLE, refuse_unless
from .labels import L
from .padding import padded_length
from .primitives import HKDF, open_, seal, sha256, split

VERSION, CHUNK, TAG_LEN, HEADER_LEN, MAX_SIZE = 1, 65_536, 16, 33, 2**31 - 1


def expand(file_key: bytes) -> list[bytes]:
    """[key of the chunks, commitment]"""
    return split(HKDF(bytes(32), file_key, L("attachment"), 64), 32, 32)


def chunk_lengths(size: int) -> list[int]:
    """how much of the padded file each chunk holds"""
    refuse_unless(0 <= size <= MAX_SIZE, "too long")
    padded = padded_length(size)
    whole, rest = divmod(padded, CHUNK)
    return [CHUNK] * whole + ([rest] if rest else [])


def blob_length(size: int) -> int:
    return HEADER_LEN + sum(length + TAG_LEN for length in chunk_lengths(size))


def nonce(index: int, count: int) -> bytes:
    return bytes(7) + u32(index) + u8(index == count - 1)


def seal_file(file_key: bytes, file: bytes) -> tuple[bytes, list[bytes]]:
    """(header, chunks)"""
    key, commitment = expand(file_key)
    padded, lengths = (file + b"\x80").ljust(padded_length(len(file)), b"\0"), chunk_lengths(len(file))
    chunks = [
        seal(key, nonce(i, len(lengths)), b"", padded[CHUNK * i : CHUNK * i + length])
        for i, length in enumerate(lengths)
    ]
    return u8(VERSION) + commitment, chunks


def capability(blob_secret: bytes, reader: bytes | None) -> bytes:
    """of a reader's address; of all readers together without one"""
    return HKDF(bytes(32), blob_secret, L("blob capability") + (bytes(20) if reader is None else reader), 32)


def open_file(file_key: bytes, size: int, digest: bytes, blob: bytes) -> bytes:
    refuse_unless(len(blob) == blob_length(size), MALFORMED, "length")
    refuse_unless(blob[0] == VERSION, MALFORMED, "version")
    key, commitment = expand(file_key)
    refuse_unless(blob[1:HEADER_LEN] == commitment, INVALID, "another file key")
    lengths, at, padded = chunk_lengths(size), HEADER_LEN, b""
    for i, length in enumerate(lengths):
        padded += open_(key, nonce(i, len(lengths)), b"", blob[at : at + length + TAG_LEN])
        at += length + TAG_LEN
    refuse_unless(padded[size:] == b"\x80".ljust(len(padded) - size, b"\0"), MALFORMED, "padding")
    refuse_unless(sha256(blob) == digest, UNDECRYPTABLE, "another blob")
    return padded[:size]

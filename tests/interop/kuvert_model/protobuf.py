"""Just enough of Protocol Buffers version 3: varints, length-delimited fields, canonical writing."""

from .errors import MALFORMED, refuse_unless

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(x: int) -> bytes:
    out = b""
    while x >= 0x80:
        out, x = out + bytes([x & 0x7F | 0x80]), x >> 7
    return out + bytes([x])


def take_varint(data: bytes, at: int, max_bytes: int = 10) -> tuple[int, int]:
    value = 0
    for i in range(max_bytes):
        refuse_unless(at + i < len(data), MALFORMED, "varint")
        value |= (data[at + i] & 0x7F) << (7 * i)
        if data[at + i] < 0x80:
            return value & (2**64 - 1), at + i + 1
    refuse_unless(False, MALFORMED, "varint is too long")


def number_field(number: int, value: int) -> bytes:
    """Nothing for zero, as proto3 has it for fields without presence."""
    return varint(number << 3 | VARINT) + varint(value) if value else b""


def bytes_field(number: int, value: bytes | None) -> bytes:
    """Written even if empty; leave it out by None."""
    return b"" if value is None else varint(number << 3 | BYTES) + varint(len(value)) + value


def parse(data: bytes) -> dict[int, list]:
    """Fields by number, each with its values in the order of appearance."""
    fields: dict[int, list] = {}
    at = 0
    while at < len(data):
        key, at = take_varint(data, at)
        number, wire_type = key >> 3, key & 7
        refuse_unless(1 <= number < 2**29, MALFORMED, "field number")
        if wire_type == VARINT:
            value, at = take_varint(data, at)
        else:
            if wire_type == BYTES:
                length, at = take_varint(data, at)
            else:
                refuse_unless(wire_type in (FIXED64, FIXED32), MALFORMED, "wire type")
                length = 8 if wire_type == FIXED64 else 4
            refuse_unless(length <= len(data) - at, MALFORMED, "field is too short")
            value, at = data[at : at + length], at + length
        fields.setdefault(number, []).append(value)
    return fields


def last(fields: dict[int, list], number: int, kind: type, default=None):
    """The last value counts; a value of another wire type makes the message malformed."""
    values = fields.get(number)
    if not values:
        return default
    refuse_unless(all(isinstance(value, kind) for value in values), MALFORMED, "wire type of a field")
    return values[-1]

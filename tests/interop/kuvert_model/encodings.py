"""Sections 1 and 4: integers, a strict reader, ids, addresses, names."""

from .errors import MALFORMED, refuse_unless

BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def u8(x: int) -> bytes:
    return x.to_bytes(1, "big")


def u16(x: int) -> bytes:
    return x.to_bytes(2, "big")


def u32(x: int) -> bytes:
    return x.to_bytes(4, "big")


def u64(x: int) -> bytes:
    return x.to_bytes(8, "big")


class Reader:
    """Takes fixed layouts apart; refuses what is too short and what has bytes left over."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        refuse_unless(len(self.data) - self.at >= n, MALFORMED, "too short")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, n: int) -> int:
        return int.from_bytes(self.take(n), "big")

    def end(self) -> None:
        refuse_unless(self.at == len(self.data), MALFORMED, "bytes left over")


def _encode(data: bytes, alphabet: str, bits: int) -> str:
    value, length = int.from_bytes(data, "big"), 8 * len(data)
    fill = -length % bits
    value <<= fill
    count = (length + fill) // bits
    return "".join(alphabet[(value >> (bits * (count - 1 - i))) & ((1 << bits) - 1)] for i in range(count))


def _decode(text: str, alphabet: str, bits: int, size: int) -> bytes:
    fill = -(8 * size) % bits
    refuse_unless(len(text) == (8 * size + fill) // bits, MALFORMED, "length")
    value = 0
    for character in text:
        index = alphabet.find(character)
        refuse_unless(index >= 0, MALFORMED, "character")
        value = value << bits | index
    refuse_unless(value & ((1 << fill) - 1) == 0, MALFORMED, "unused bits are not zero")
    return (value >> fill).to_bytes(size, "big")


def _ascii_lower(text: str) -> str:
    # not str.lower(): that maps characters outside of ASCII into the alphabet (KELVIN SIGN to k)
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def encode_base32(data: bytes) -> str:
    return _encode(data, BASE32, 5)


def decode_base32(text: str, size: int) -> bytes:
    return _decode(_ascii_lower(text), BASE32, 5, size)


def encode_base64url(data: bytes) -> str:
    return _encode(data, BASE64URL, 6)


def decode_base64url(text: str, size: int) -> bytes:
    return _decode(text, BASE64URL, 6, size)


def encode_id(id16: bytes) -> str:
    assert len(id16) == 16
    return encode_base32(id16)


def decode_id(text: str) -> bytes:
    return decode_base32(text, 16)


def encode_address(account: bytes, device: int) -> bytes:
    assert len(account) == 16 and 1 <= device < 2**32
    return account + u32(device)


def decode_address(data: bytes) -> tuple[bytes, int]:
    reader = Reader(data)
    account, device = reader.take(16), reader.number(4)
    reader.end()
    refuse_unless(device != 0, MALFORMED, "device 0")
    return account, device


def address_text(address: bytes) -> str:
    account, device = decode_address(address)
    return f"{encode_id(account)}.{device}"


def address_from_text(text: str) -> bytes:
    account, dot, device = text.partition(".")
    refuse_unless(dot == "." and device.isascii() and device.isdigit(), MALFORMED, "address")
    refuse_unless(not device.startswith("0") and int(device) < 2**32, MALFORMED, "device")
    return encode_address(decode_id(account), int(device))


def is_user_name(name: str) -> bool:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return 1 <= len(name) <= 32 and name[0] in letters and all(c in letters + "0123456789-_." for c in name)


def is_phone_number(phone: str) -> bool:
    digits = phone[1:]
    return phone[:1] == "+" and 7 <= len(digits) <= 15 and digits.isascii() and digits.isdigit() and digits[0] != "0"



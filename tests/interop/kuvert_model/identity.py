"""Section 5: device certificates and device lists."""

from dataclasses import dataclass

from .encodings import Reader, decode_address, u8, u16, u32, u64
from .errors import INVALID, MALFORMED, Refused, refuse_unless
from .labels import L
from .primitives import dh_public, sha256, sign, signing_public, verify


def certificate_body(address: bytes, account_key: bytes, signing_key: bytes, identity_key: bytes) -> bytes:
    return u8(1) + address + account_key + signing_key + identity_key


def account_statement(body: bytes) -> bytes:
    return L("device certificate") + body


def device_statement(body: bytes) -> bytes:
    return L("device consent") + body


def issue_certificate(account_seed: bytes, address: bytes, signing_seed: bytes, identity_secret: bytes) -> bytes:
    body = certificate_body(
        address, signing_public(account_seed), signing_public(signing_seed), dh_public(identity_secret)
    )
    return body + sign(account_seed, account_statement(body)) + sign(signing_seed, device_statement(body))


@dataclass(frozen=True)
class Certificate:
    """Decoded; nothing here is to be used before verify()."""

    encoded: bytes
    body: bytes
    address: bytes
    account_key: bytes
    signing_key: bytes
    identity_key: bytes
    account_signature: bytes
    device_signature: bytes

    @staticmethod
    def decode(data: bytes) -> "Certificate":
        reader = Reader(data)
        refuse_unless(reader.number(1) == 1, MALFORMED, "certificate version")
        address = reader.take(20)
        decode_address(address)
        keys = [reader.take(32) for _ in range(3)]
        signatures = [reader.take(64) for _ in range(2)]
        reader.end()
        return Certificate(data, data[:117], address, *keys, *signatures)

    def verify(self) -> "Certificate":
        refuse_unless(
            verify(self.account_key, account_statement(self.body), self.account_signature)
            and verify(self.signing_key, device_statement(self.body), self.device_signature),
            INVALID,
            "a signature of the certificate does not verify",
        )
        return self

    @property
    def hash(self) -> bytes:
        return sha256(self.body)


def list_body(account: bytes, number: int, devices: list[tuple[int, bytes]]) -> bytes:
    entries = b"".join(u32(device) + certificate_hash for device, certificate_hash in devices)
    return u8(1) + account + u64(number) + u16(len(devices)) + entries


def issue_list(account_seed: bytes, account: bytes, number: int, devices: list[tuple[int, bytes]]) -> bytes:
    body = list_body(account, number, devices)
    return body + sign(account_seed, L("device list") + body)


@dataclass(frozen=True)
class DeviceList:
    body: bytes
    account: bytes
    number: int
    devices: tuple[tuple[int, bytes], ...]
    signature: bytes

    @staticmethod
    def decode(data: bytes) -> "DeviceList":
        reader = Reader(data)
        refuse_unless(reader.number(1) == 1, MALFORMED, "list version")
        account, number, count = reader.take(16), reader.number(8), reader.number(2)
        refuse_unless(1 <= count <= 16, MALFORMED, "count")
        devices = tuple((reader.number(4), reader.take(32)) for _ in range(count))
        ids = [0] + [device for device, _ in devices]  # the 0 refuses device 0, too
        refuse_unless(all(a < b for a, b in zip(ids, ids[1:])), MALFORMED, "devices do not rise strictly")
        signature = reader.take(64)
        reader.end()
        return DeviceList(data[:-64], account, number, devices, signature)

    def verify(self, account_key: bytes) -> "DeviceList":
        refuse_unless(verify(account_key, L("device list") + self.body, self.signature), INVALID, "list signature")
        return self

    @property
    def hash(self) -> bytes:
        return sha256(self.body)

    def names(self, certificate: Certificate) -> bool:
        """KV-016"""
        account, device = decode_address(certificate.address)
        return account == self.account and (device, certificate.hash) in self.devices


def check_replacement(known: DeviceList, new: DeviceList) -> None:
    """KV-015; both verified under the trusted account key."""
    refuse_unless(new.account == known.account, INVALID, "another account")
    if new.number < known.number:
        raise Refused("older")
    if new.number == known.number and new.body != known.body:
        raise Refused("forked")



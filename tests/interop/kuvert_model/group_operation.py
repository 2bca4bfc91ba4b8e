"""Section 18.2: operations of a group as they are signed and sent."""

from dataclasses import dataclass

from .encodings import Reader, u8, u16, u32, u64
from .errors import MALFORMED, refuse_unless
from .labels import L
from .primitives import sha256, sign, verify

VERSION, NONE, MAX_PARENTS, MAX_DEVICES, MAX_VALUE = 1, bytes(32), 16, 16, 1024
KINDS = ["create", "grant", "remove", "demote", "leave", "resign", "cut", "info", "checkpoint", "close"]


def rising(items: list) -> bool:
    return all(a < b for a, b in zip(items, items[1:]))


@dataclass(frozen=True)
class Operation:
    group: bytes  # zero in a creation
    parents: list[bytes]
    lamport: int
    author: bytes
    device: int  # 0: the account key
    device_list: bytes
    stint: bytes  # zero: none
    kind: str
    body: dict

    def _body(self) -> bytes:
        b = self.body
        if self.kind == "create":
            return b["key"] + b["nonce"]
        if self.kind == "grant":
            return b["account"] + b["key"] + u8(b["role"])
        if self.kind in ("remove", "demote"):
            return b["account"]
        if self.kind == "cut":
            return u8(len(b["devices"])) + b"".join(map(u32, b["devices"])) + b["new_list"]
        if self.kind == "info":
            return u8(b["field"]) + u16(len(b["value"])) + b["value"]
        return b["digest"] if self.kind == "checkpoint" else b""

    @property
    def statement(self) -> bytes:
        head = u8(VERSION) + self.group + u8(len(self.parents)) + b"".join(self.parents)
        head += u64(self.lamport) + self.author + u32(self.device) + self.device_list + self.stint
        return L("group operation") + head + u8(1 + KINDS.index(self.kind)) + self._body()

    @property
    def id(self) -> bytes:
        return sha256(self.statement)

    def sign(self, seed: bytes) -> bytes:
        return self.statement[32:] + sign(seed, self.statement)


def decode(data: bytes) -> tuple[Operation, bytes]:
    """(the operation, its signature)"""
    reader = Reader(data)
    refuse_unless(reader.number(1) == VERSION, MALFORMED, "version")
    group, count = reader.take(32), reader.number(1)
    refuse_unless(count <= MAX_PARENTS, MALFORMED, "parents")
    parents = [reader.take(32) for _ in range(count)]
    refuse_unless(rising(parents), MALFORMED, "parents do not rise")
    lamport, author, device = reader.number(8), reader.take(16), reader.number(4)
    device_list, stint, number = reader.take(32), reader.take(32), reader.number(1)
    refuse_unless(1 <= number <= len(KINDS), MALFORMED, "kind")
    kind, body = KINDS[number - 1], {}
    if kind == "create":
        body = {"key": reader.take(32), "nonce": reader.take(32)}
    elif kind == "grant":
        body = {"account": reader.take(16), "key": reader.take(32), "role": reader.number(1)}
        refuse_unless(body["role"] <= 2, MALFORMED, "role")
    elif kind in ("remove", "demote"):
        body = {"account": reader.take(16)}
    elif kind == "cut":
        count = reader.number(1)
        refuse_unless(1 <= count <= MAX_DEVICES, MALFORMED, "devices")
        devices = [reader.number(4) for _ in range(count)]
        refuse_unless(rising([0] + devices), MALFORMED, "devices do not rise")
        body = {"devices": devices, "new_list": reader.take(32)}
    elif kind == "info":
        field, length = reader.number(1), reader.number(2)
        refuse_unless(length <= MAX_VALUE, MALFORMED, "value")
        body = {"field": field, "value": reader.take(length)}
    elif kind == "checkpoint":
        body = {"digest": reader.take(32)}
    signature = reader.take(64)
    reader.end()
    refuse_unless((kind == "create") == (not parents), MALFORMED, "a creation has no parents, all else has")
    refuse_unless(kind != "create" or group == NONE, MALFORMED, "a creation names no group")
    refuse_unless((kind == "cut") == (device == 0), MALFORMED, "the account key signs cuts, and nothing else")
    return Operation(group, parents, lamport, author, device, device_list, stint, kind, body), signature


def is_authentic(operation: Operation, signature: bytes, key: bytes) -> bool:
    return verify(key, operation.statement, signature)

"""Section 13: the post-quantum ratchet."""

import copy
from dataclasses import dataclass, field

from .braid import Braid, Message
from .encodings import Reader, u32, u64
from .errors import CANNOT_SEND, DUPLICATE, EPOCH_NOT_OPEN, FAILED, INVALID, TOO_MANY_SKIPPED, refuse_unless
from .labels import L
from .primitives import HKDF, HMAC, split

MAX_SKIP = 2_000
MAX_SKIPPED_KEYS = 2_000
MAX_OLD_EPOCHS = 4
LAST_NUMBER = 2**32 - 1


def start(pq_secret: bytes) -> list[bytes]:
    """root, CK(0, i→r), CK(0, r→i), agreement key"""
    return split(HKDF(bytes(32), pq_secret, L("pq ratchet start"), 128), 32, 32, 32, 32)


def open_epoch(root: bytes, output_key: bytes, epoch: int) -> list[bytes]:
    """root', CK(e, i→r), CK(e, r→i)"""
    return split(HKDF(root, output_key, L("pq ratchet epoch") + u64(epoch), 96), 32, 32, 32)


def step(CK: bytes, n: int) -> tuple[bytes, bytes]:
    """pq_mk n, CK'"""
    return HMAC(CK, L("pq ratchet message key") + u32(n)), HMAC(CK, L("pq ratchet chain key") + u32(n))


@dataclass
class Chain:
    CK: bytes | None
    next: int = 0
    skipped: dict[int, bytes] = field(default_factory=dict)


def parse_header(header: bytes) -> tuple[Message, int]:
    reader = Reader(header)
    message, n = Message.decode(reader.take(139)), reader.number(4)
    reader.end()
    return message, n


class PqRatchet:
    def __init__(self, pq_secret: bytes, is_initiator: bool):
        self.is_initiator = is_initiator
        self.root, i_to_r, r_to_i, agreement_key = start(pq_secret)
        self.braid = Braid(agreement_key, is_initiator)
        self.sending: dict[int, Chain] = {}
        self.receiving: dict[int, Chain] = {}
        self.newest_epoch = 0
        self._add_chains(0, i_to_r, r_to_i)

    @property
    def has_failed(self) -> bool:
        return self.braid.state == "Failed"

    def _add_chains(self, epoch: int, i_to_r: bytes, r_to_i: bytes) -> None:
        own, other = (i_to_r, r_to_i) if self.is_initiator else (r_to_i, i_to_r)
        self.sending[epoch], self.receiving[epoch], self.newest_epoch = Chain(own), Chain(other), epoch

    def _open_epoch(self, output_key: bytes) -> None:
        self.root, i_to_r, r_to_i = open_epoch(self.root, output_key, self.newest_epoch + 1)
        self._add_chains(self.newest_epoch + 1, i_to_r, r_to_i)

    def _tidy(self) -> None:
        """KV-042 and KV-043"""
        if self.has_failed:
            self.sending, self.receiving, self.root = {}, {}, None
            return
        for epoch in [e for e in self.receiving if e < self.newest_epoch - MAX_OLD_EPOCHS]:
            del self.receiving[epoch]
        for epoch in [e for e in self.sending if self.braid.epoch > e + 1]:
            del self.sending[epoch]
        surplus = sum(len(chain.skipped) for chain in self.receiving.values()) - MAX_SKIPPED_KEYS
        for epoch in sorted(self.receiving):
            skipped = self.receiving[epoch].skipped
            for n in sorted(skipped)[: max(surplus, 0)]:
                del skipped[n]
                surplus -= 1

    def send(self, rng) -> tuple[bytes, bytes]:
        """KV-040: (header, pq_mk)"""
        refuse_unless(not self.has_failed, FAILED)
        chain = self.sending[self.braid.epoch - 1]
        refuse_unless(chain.next < LAST_NUMBER, CANNOT_SEND)
        message, output = self.braid.send(rng)
        n = chain.next
        pq_mk, chain.CK = step(chain.CK, n)
        chain.next += 1
        if output is not None:
            self._open_epoch(output)
        self._tidy()
        return message.encode() + u32(n), pq_mk

    def stage(self, header: bytes) -> "StagedReceive":
        """KV-041, up to the message key: nothing of this ratchet changes."""
        refuse_unless(not self.has_failed, FAILED)
        message, n = parse_header(header)
        epoch = message.epoch - 1
        refuse_unless(epoch in self.receiving, EPOCH_NOT_OPEN)
        chain = copy.deepcopy(self.receiving[epoch])
        if n < chain.next:
            refuse_unless(n in chain.skipped, DUPLICATE)
            return StagedReceive(self, message, epoch, chain, chain.skipped.pop(n))
        refuse_unless(n - chain.next <= MAX_SKIP, TOO_MANY_SKIPPED)
        refuse_unless(n != LAST_NUMBER, INVALID, "number beyond the counter")
        while chain.next < n:
            chain.skipped[chain.next], chain.CK = step(chain.CK, chain.next)
            chain.next += 1
        pq_mk, chain.CK = step(chain.CK, n)
        chain.next += 1
        return StagedReceive(self, message, epoch, chain, pq_mk)


@dataclass
class StagedReceive:
    ratchet: PqRatchet
    message: Message
    epoch: int
    chain: Chain
    pq_mk: bytes

    def commit(self) -> None:
        """After the body authenticated."""
        self.ratchet.receiving[self.epoch] = self.chain
        output = self.ratchet.braid.receive(self.message)
        if output is not None:
            self.ratchet._open_epoch(output)
        self.ratchet._tidy()

"""Section 12: the Double Ratchet with header encryption."""

import copy
from dataclasses import dataclass

from .encodings import Reader, u32
from .errors import CANNOT_SEND, DUPLICATE, INVALID, MALFORMED, NO_HEADER_KEY, TOO_MANY_SKIPPED, Refused, refuse_unless
from .labels import L
from .primitives import DH, HKDF, HMAC, check_x25519, dh_public, split, xopen, xseal

MAX_SKIP = 1_000
MAX_SKIPPED_KEYS = 2_000
SKIPPED_KEY_LIFETIME = 4_000
MAX_RETAINED = 5
LAST_NUMBER = 2**32 - 1


def KDF_RK(RK: bytes, dh: bytes) -> list[bytes]:
    return split(HKDF(RK, dh, L("root step"), 96), 32, 32, 32)


def KDF_CK(CK: bytes) -> tuple[bytes, bytes]:
    """(ec_mk, next chain key)"""
    return HMAC(CK, b"\x01"), HMAC(CK, b"\x02")


@dataclass(frozen=True)
class Header:
    ratchet_key: bytes
    PN: int
    n: int
    pq_header: bytes

    def seal(self, HK: bytes, nonce: bytes) -> bytes:
        plain = self.ratchet_key + u32(self.PN) + u32(self.n) + self.pq_header + bytes(9)
        assert len(plain) == 192 and len(nonce) == 24
        return nonce + xseal(HK, nonce, b"", plain)

    @staticmethod
    def parse(plain: bytes) -> "Header":
        reader = Reader(plain)
        header = Header(reader.take(32), reader.number(4), reader.number(4), reader.take(143))
        refuse_unless(reader.take(9) == bytes(9), MALFORMED, "the header's padding is not zero")
        reader.end()
        try:
            check_x25519(header.ratchet_key)
        except Refused as refused:
            raise Refused(MALFORMED, str(refused)) from None
        return header

    @staticmethod
    def open(HK: bytes, sealed: bytes) -> "Header":
        return Header.parse(xopen(HK, sealed[:24], b"", sealed[24:]))


@dataclass
class RetainedChain:
    HK: bytes
    length: int
    skipped: dict[int, tuple[bytes, int]]


class DoubleRatchet:
    def __init__(self):
        self.RK = self.DHs_secret = self.DHs = self.DHr = None
        self.CKs = self.HKs = self.NHKs = None
        self.CKr = self.HKr = self.NHKr = None
        self.Ns = self.Nr = self.PN = 0
        self.skipped: dict[int, tuple[bytes, int]] = {}  # of the current chain: number -> (ec_mk, received before)
        self.retained: list[RetainedChain] = []  # newest first
        self.received = 0

    @staticmethod
    def new_initiator(keys, signed_prekey: bytes, rng) -> "DoubleRatchet":
        self = DoubleRatchet()
        self._new_key_pair(rng)
        self.DHr = signed_prekey
        self.HKs, self.NHKr = keys.initiator_header_key, keys.recipient_header_key
        self.RK, self.CKs, self.NHKs = KDF_RK(keys.root_key, DH(self.DHs_secret, self.DHr))
        return self

    @staticmethod
    def new_recipient(keys, signed_prekey_secret: bytes) -> "DoubleRatchet":
        self = DoubleRatchet()
        self.DHs_secret, self.DHs = signed_prekey_secret, dh_public(signed_prekey_secret)
        self.NHKr, self.NHKs = keys.initiator_header_key, keys.recipient_header_key
        self.RK = keys.root_key
        return self

    def _new_key_pair(self, rng) -> None:
        self.DHs_secret = rng.draw(32)
        self.DHs = dh_public(self.DHs_secret)

    def send(self, nonce: bytes, pq_header: bytes, forged: Header | None = None) -> tuple[bytes, bytes]:
        """KV-033: (sealed header, ec_mk). `forged` is for test vectors: the header sealed instead."""
        refuse_unless(self.CKs is not None and self.Ns < LAST_NUMBER, CANNOT_SEND)
        header = forged or Header(self.DHs, self.PN, self.Ns, pq_header)
        sealed = header.seal(self.HKs, nonce)
        ec_mk, self.CKs = KDF_CK(self.CKs)
        self.Ns += 1
        return sealed, ec_mk

    def _locate(self, sealed: bytes):
        """KV-034: what opens the header ("current", "next" or a retained chain's index), and the header."""
        keys = [("current", self.HKr), ("next", self.NHKr)]
        keys += [(index, chain.HK) for index, chain in enumerate(self.retained)]
        for where, key in keys:
            if key is None:
                continue
            try:
                plain = xopen(key, sealed[:24], b"", sealed[24:])
            except Refused:
                continue
            return where, Header.parse(plain)
        raise Refused(NO_HEADER_KEY)

    def stage(self, sealed: bytes) -> "StagedReceive":
        """KV-034 to KV-036: all happens on a copy."""
        where, header = self._locate(sealed)
        new = copy.deepcopy(self)
        ec_mk = new._receive(where, header)
        return StagedReceive(new, header, ec_mk, where == "next")

    def _receive(self, where, header: Header) -> bytes:
        R, PN, n = header.ratchet_key, header.PN, header.n
        if where == "current":
            refuse_unless(R == self.DHr, INVALID, "another ratchet key in the same chain")
            return self._take_from_current(n)
        if where == "next":
            refuse_unless(R != self.DHr and R != self.DHs, INVALID, "a ratchet key that is in use")
            if self.HKr is None:
                refuse_unless(PN == 0, INVALID, "a previous chain where none was")
            else:
                refuse_unless(PN >= self.Nr, INVALID, "previous chain shorter than received")
            refuse_unless(PN - self.Nr + n <= MAX_SKIP, TOO_MANY_SKIPPED)
            if self.HKr is not None:
                self._skip_to(PN)
                self.retained.insert(0, RetainedChain(self.HKr, PN, self.skipped))
                self._drop_retained()
            self.skipped = {}
            self.RK, self.CKr, NHK = KDF_RK(self.RK, DH(self.DHs_secret, R))
            self.HKr, self.NHKr, self.DHr, self.Nr = self.NHKr, NHK, R, 0
            return self._take_from_current(n)
        chain = self.retained[where]
        refuse_unless(n < chain.length, INVALID, "beyond the end of a chain")
        refuse_unless(n in chain.skipped, DUPLICATE)
        return chain.skipped.pop(n)[0]

    def _take_from_current(self, n: int) -> bytes:
        if n < self.Nr:
            refuse_unless(n in self.skipped, DUPLICATE)
            return self.skipped.pop(n)[0]
        refuse_unless(n - self.Nr <= MAX_SKIP, TOO_MANY_SKIPPED)
        refuse_unless(n != LAST_NUMBER, INVALID, "number beyond the counter")
        self._skip_to(n)
        ec_mk, self.CKr = KDF_CK(self.CKr)
        self.Nr = n + 1
        return ec_mk

    def _skip_to(self, n: int) -> None:
        while self.Nr < n:
            ec_mk, self.CKr = KDF_CK(self.CKr)
            self.skipped[self.Nr] = (ec_mk, self.received)
            self.Nr += 1

    def _drop_retained(self) -> None:
        if len(self.retained) > MAX_RETAINED:
            empty = [index for index, chain in enumerate(self.retained) if not chain.skipped]
            self.retained.pop(empty[-1] if empty else -1)

    def _tidy(self) -> None:
        """KV-037, after a message was received."""
        stores = [chain.skipped for chain in reversed(self.retained)] + [self.skipped]  # oldest first
        for store in stores:
            for n in [n for n, (_, before) in store.items() if self.received - before > SKIPPED_KEY_LIFETIME]:
                del store[n]
        surplus = sum(len(store) for store in stores) - MAX_SKIPPED_KEYS
        for store in stores:
            for n in sorted(store)[: max(surplus, 0)]:
                del store[n]
                surplus -= 1

    def _finish(self, rng, stepped: bool) -> None:
        self.received += 1
        self._tidy()
        if stepped:
            self.PN, self.Ns, self.HKs = self.Ns, 0, self.NHKs
            self._new_key_pair(rng)
            self.RK, self.CKs, self.NHKs = KDF_RK(self.RK, DH(self.DHs_secret, self.DHr))


@dataclass
class StagedReceive:
    ratchet: DoubleRatchet
    header: Header
    ec_mk: bytes
    stepped: bool

    def commit(self, rng) -> DoubleRatchet:
        """After the body authenticated."""
        self.ratchet._finish(rng, self.stepped)
        return self.ratchet

"""Section 5.4: linking a device."""

from dataclasses import dataclass

from . import encodings as enc
from .encodings import Reader, decode_address, u8
from .errors import INVALID, MALFORMED, UNDECRYPTABLE, Refused, refuse_unless
from .identity import Certificate, account_statement, certificate_body, device_statement
from .labels import L
from .mlkem import ML_KEM_1024, check_encapsulation_key, decapsulate, encapsulate, keygen
from .primitives import DH, HKDF, check_x25519, dh_public, open_, seal, sha256, sign, signing_public, split

VERSION, SCHEME, MAX_NAME, NONCE = 1, "kuvert-link:1?relay=", 64, bytes(12)


def code_text(relay: bytes, slot: bytes, offer_hash: bytes) -> str:
    return SCHEME + enc.encode_base64url(relay) + "#" + enc.encode_base64url(slot + offer_hash)


def parse_code(text: str) -> tuple[bytes, bytes, bytes]:
    """(relay, slot, hash of the offer)"""
    refuse_unless(text.startswith(SCHEME), MALFORMED, "scheme")
    relay, sharp, end = text[len(SCHEME) :].partition("#")
    refuse_unless(sharp == "#", MALFORMED, "no offer")
    both = enc.decode_base64url(end, 48)
    return enc.decode_base64url(relay, 32), both[:16], both[16:]


@dataclass(frozen=True)
class Offer:
    encoded: bytes
    ephemeral: bytes
    kem: bytes
    signing_key: bytes
    identity_key: bytes
    name: str

    @staticmethod
    def decode(data: bytes, expected: bytes) -> "Offer":
        refuse_unless(sha256(data) == expected, INVALID, "another offer")
        reader = Reader(data)
        refuse_unless(reader.number(1) == VERSION, MALFORMED, "version")
        ephemeral, kem, signing_key, identity_key = (reader.take(n) for n in (32, 1568, 32, 32))
        raw = reader.take(reader.number(1))
        reader.end()
        check_x25519(ephemeral)
        check_x25519(identity_key)
        check_encapsulation_key(ML_KEM_1024, kem)
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(MALFORMED, "name") from None
        check_name(name)
        return Offer(data, ephemeral, kem, signing_key, identity_key, name)

    def body(self, address: bytes, account_key: bytes) -> bytes:
        return certificate_body(address, account_key, self.signing_key, self.identity_key)


def check_name(name: str) -> None:
    control = any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name)
    refuse_unless(1 <= len(name.encode()) <= MAX_NAME and not control, MALFORMED, "name")


@dataclass(frozen=True)
class Keys:
    to_new: bytes
    to_existing: bytes
    sync: bytes
    digits: str
    transcript: bytes


def derive(offer: bytes, ephemeral: bytes, ciphertext: bytes, curve: bytes, kem: bytes) -> Keys:
    transcript = sha256(L("link transcript") + offer + ephemeral + ciphertext)
    *keys, d = split(HKDF(bytes(32), curve + kem, L("link keys") + transcript, 104), 32, 32, 32, 8)
    return Keys(*keys, f"{int.from_bytes(d, 'big') % 1_000_000:06}", transcript)


def seal_welcome(sync: bytes, content: bytes) -> bytes:
    return u8(VERSION) + seal(sync, NONCE, b"", content)


def open_welcome(sync: bytes, welcome: bytes) -> bytes:
    refuse_unless(len(welcome) >= 1 + 16, MALFORMED, "length")
    refuse_unless(welcome[0] == VERSION, MALFORMED, "version")
    return open_(sync, NONCE, b"", welcome[1:])


class NewDevice:
    def __init__(self, name: str, rng):
        check_name(name)
        self.signing_seed, self.identity_secret = rng.draw(32), rng.draw(32)
        self.secret, self.kem_seed = rng.draw(32), rng.draw(64)
        raw = name.encode()
        encoded = u8(VERSION) + dh_public(self.secret) + keygen(ML_KEM_1024, self.kem_seed)[0]
        encoded += signing_public(self.signing_seed) + dh_public(self.identity_secret) + u8(len(raw)) + raw
        self.offer = Offer.decode(encoded, sha256(encoded))

    def accept(self, answer: bytes) -> tuple[Keys, bytes, bytes]:
        """(keys, certificate body, consent)"""
        reader = Reader(answer)
        refuse_unless(reader.number(1) == VERSION, MALFORMED, "version")
        ephemeral, ciphertext, sealed = (reader.take(n) for n in (32, 1568, 52 + 16))
        reader.end()
        curve = DH(self.secret, check_x25519(ephemeral))
        kem = decapsulate(ML_KEM_1024, self.kem_seed, ciphertext)
        keys = derive(self.offer.encoded, ephemeral, ciphertext, curve, kem)
        address, account_key = split(open_(keys.to_new, NONCE, keys.transcript, sealed), 20, 32)
        decode_address(address)
        body = self.offer.body(address, account_key)
        signature = sign(self.signing_seed, device_statement(body))
        return keys, body, u8(VERSION) + seal(keys.to_existing, NONCE, keys.transcript, signature)


class Linking:
    def __init__(self, offer: Offer, address: bytes, account_seed: bytes, rng):
        self.account_seed = account_seed
        secret, m = rng.draw(32), rng.draw(32)
        ciphertext, kem = encapsulate(ML_KEM_1024, offer.kem, m)
        ephemeral, account_key = dh_public(secret), signing_public(account_seed)
        self.keys = derive(offer.encoded, ephemeral, ciphertext, DH(secret, offer.ephemeral), kem)
        self.body = offer.body(address, account_key)
        terms = seal(self.keys.to_new, NONCE, self.keys.transcript, address + account_key)
        self.answer = u8(VERSION) + ephemeral + ciphertext + terms

    def confirm(self, digits: str, consent: bytes) -> bytes:
        """the certificate"""
        refuse_unless(digits == self.keys.digits, UNDECRYPTABLE, "digits")
        reader = Reader(consent)
        refuse_unless(reader.number(1) == VERSION, MALFORMED, "version")
        sealed = reader.take(64 + 16)
        reader.end()
        signature = open_(self.keys.to_existing, NONCE, self.keys.transcript, sealed)
        encoded = self.body + sign(self.account_seed, account_statement(self.body)) + signature
        return Certificate.decode(encoded).verify().encoded

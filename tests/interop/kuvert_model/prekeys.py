"""Section 8: prekeys and bundles."""

from dataclasses import dataclass

from .encodings import u32
from .errors import INVALID, Refused, refuse_unless
from .identity import Certificate
from .labels import L
from .mlkem import ML_KEM_1024, check_encapsulation_key, keygen
from .primitives import check_x25519, dh_public, sign, verify

ONE_TIME, LAST_RESORT = 1, 2
KEM_LABEL = {ONE_TIME: "one-time KEM prekey", LAST_RESORT: "last-resort KEM prekey"}


def statement(label: str, identity_key: bytes, id: int, public: bytes) -> bytes:
    return L(label) + identity_key + u32(id) + public


@dataclass(frozen=True)
class Prekey:
    """Curve prekeys and KEM prekeys alike. `secret` is an X25519 secret or a seed d ‖ z; None in a bundle."""

    id: int
    public: bytes
    signature: bytes | None = None
    secret: bytes | None = None

    def published(self) -> "Prekey":
        return Prekey(self.id, self.public, self.signature)


def new_signed_prekey(signing_seed: bytes, identity_key: bytes, id: int, rng) -> Prekey:
    secret = rng.draw(32)
    public = dh_public(secret)
    return Prekey(id, public, sign(signing_seed, statement("signed prekey", identity_key, id, public)), secret)


def new_one_time_prekey(id: int, rng) -> Prekey:
    secret = rng.draw(32)
    return Prekey(id, dh_public(secret), None, secret)


def new_kem_prekey(signing_seed: bytes, identity_key: bytes, kind: int, id: int, rng) -> Prekey:
    seed = rng.draw(64)
    public, _ = keygen(ML_KEM_1024, seed)
    return Prekey(id, public, sign(signing_seed, statement(KEM_LABEL[kind], identity_key, id, public)), seed)


@dataclass(frozen=True)
class Bundle:
    certificate: bytes
    signed_prekey: Prekey
    kem_kind: int
    kem_prekey: Prekey
    one_time_prekey: Prekey | None

    def verify(self, address: bytes, account_key: bytes) -> Certificate:
        """KV-023. The reason of a refusal is the part that failed."""

        def part(name: str, check) -> None:
            try:
                ok = check()
            except Refused as refused:
                raise Refused(name, str(refused)) from None
            refuse_unless(ok is not False, name)

        refuse_unless(self.kem_kind in KEM_LABEL, INVALID, "KEM kind")
        try:
            certificate = Certificate.decode(self.certificate)
        except Refused as refused:
            raise Refused("Certificate", str(refused)) from None
        part("Address", lambda: certificate.address == address)
        part("AccountKey", lambda: certificate.account_key == account_key)
        part("Certificate", certificate.verify)

        def signed(label: str, prekey: Prekey) -> bool:
            text = statement(label, certificate.identity_key, prekey.id, prekey.public)
            return verify(certificate.signing_key, text, prekey.signature)

        part("SignedPrekeySignature", lambda: signed("signed prekey", self.signed_prekey))
        part("KemPrekeySignature", lambda: signed(KEM_LABEL[self.kem_kind], self.kem_prekey))
        part("IdentityKey", lambda: check_x25519(certificate.identity_key))
        part("SignedPrekey", lambda: check_x25519(self.signed_prekey.public))
        if self.one_time_prekey is not None:
            part("OneTimePrekey", lambda: check_x25519(self.one_time_prekey.public))
        part("KemPrekey", lambda: check_encapsulation_key(ML_KEM_1024, self.kem_prekey.public))
        return certificate

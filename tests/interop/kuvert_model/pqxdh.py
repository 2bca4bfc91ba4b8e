"""Section 9: key agreement."""

from dataclasses import dataclass

from .encodings import u8, u32
from .identity import Certificate
from .labels import L
from .mlkem import ML_KEM_1024, decapsulate, encapsulate
from .prekeys import Bundle, Prekey
from .primitives import DH, HKDF, HMAC, dh_public, sha256, split


@dataclass(frozen=True)
class InitialKeys:
    root_key: bytes
    initiator_header_key: bytes
    recipient_header_key: bytes
    pq_secret: bytes
    replay_tag: bytes


def initial_keys(SK: bytes) -> InitialKeys:
    parts = split(HKDF(bytes(32), SK, L("ratchet keys"), 96), 32, 32, 32)
    pq_secret = HKDF(bytes(32), SK, L("pq ratchet secret"), 32)
    return InitialKeys(*parts, pq_secret, HMAC(SK, L("replay tag")))


@dataclass(frozen=True)
class Agreement:
    dh: list[bytes]
    ephemeral_key: bytes
    kem_ciphertext: bytes
    kem_shared: bytes
    transcript_hash: bytes
    session_secret: bytes


def transcript_hash(
    initiator: Certificate,
    recipient: Certificate,
    ephemeral_key: bytes,
    signed_prekey: Prekey,
    kem_kind: int,
    kem_prekey: Prekey,
    kem_ciphertext: bytes,
    one_time_prekey: Prekey | None,
) -> bytes:
    one_time = u8(0) + u32(0) + bytes(32)
    if one_time_prekey is not None:
        one_time = u8(1) + u32(one_time_prekey.id) + one_time_prekey.public
    return sha256(
        L("PQXDH transcript")
        + u8(1)
        + initiator.body
        + recipient.body
        + ephemeral_key
        + u32(signed_prekey.id)
        + signed_prekey.public
        + u8(kem_kind)
        + u32(kem_prekey.id)
        + kem_prekey.public
        + kem_ciphertext
        + one_time
    )


def session_secret(dh: list[bytes], kem_shared: bytes, T: bytes) -> bytes:
    ikm = b"\xff" * 32 + b"".join(dh) + kem_shared
    return HKDF(bytes(32), ikm, L("PQXDH session secret") + T, 32)


def agree_as_initiator(certificate: Certificate, identity_secret: bytes, bundle: Bundle, rng) -> Agreement:
    """The bundle is verified."""
    ephemeral_secret, m = rng.draw(32), rng.draw(32)
    ephemeral_key = dh_public(ephemeral_secret)
    recipient = Certificate.decode(bundle.certificate)
    ct, shared = encapsulate(ML_KEM_1024, bundle.kem_prekey.public, m)
    spk, opk = bundle.signed_prekey, bundle.one_time_prekey
    dh = [
        DH(identity_secret, spk.public),
        DH(ephemeral_secret, recipient.identity_key),
        DH(ephemeral_secret, spk.public),
    ]
    if opk is not None:
        dh.append(DH(ephemeral_secret, opk.public))
    T = transcript_hash(
        certificate, recipient, ephemeral_key, spk, bundle.kem_kind, bundle.kem_prekey, ct, opk
    )
    return Agreement(dh, ephemeral_key, ct, shared, T, session_secret(dh, shared, T))


def agree_as_recipient(
    initiator: Certificate,
    certificate: Certificate,
    identity_secret: bytes,
    ephemeral_key: bytes,
    signed_prekey: Prekey,
    kem_kind: int,
    kem_prekey: Prekey,
    kem_ciphertext: bytes,
    one_time_prekey: Prekey | None,
) -> Agreement:
    """The prekeys are one's own, with their secrets; the initiator's keys are checked (KV-056, 5)."""
    dh = [
        DH(signed_prekey.secret, initiator.identity_key),
        DH(identity_secret, ephemeral_key),
        DH(signed_prekey.secret, ephemeral_key),
    ]
    if one_time_prekey is not None:
        dh.append(DH(one_time_prekey.secret, ephemeral_key))
    shared = decapsulate(ML_KEM_1024, kem_prekey.secret, kem_ciphertext)
    T = transcript_hash(
        initiator, certificate, ephemeral_key, signed_prekey, kem_kind, kem_prekey, kem_ciphertext, one_time_prekey
    )
    return Agreement(dh, ephemeral_key, kem_ciphertext, shared, T, session_secret(dh, shared, T))

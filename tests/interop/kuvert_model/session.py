"""Section 17: sessions with one remote device, first messages, which session is active, replays."""

import copy
from dataclasses import dataclass, field

from . import errors
from .body import open_body, seal_body
from .errors import Refused, refuse_unless
from .identity import Certificate
from .messages import PREKEY, RATCHET, Handshake, SessionMessage
from .padding import pad, unpad
from .pq_ratchet import PqRatchet
from .pqxdh import agree_as_initiator, agree_as_recipient, initial_keys
from .prekeys import LAST_RESORT, ONE_TIME, Bundle, Prekey
from .primitives import check_ephemeral, check_x25519, sha256
from .ratchet import DoubleRatchet

MAX_INACTIVE = 5
INACTIVE_LIFETIME_MS = 31 * 24 * 3600 * 1000
CONVERGENCE_WINDOW_MS = 5 * 60 * 1000
STRANGER_ENTRIES, STRANGERS_PER_PREKEY, CONTACT_ENTRIES = 4, 4096, 256


def as_undecryptable(action, *reasons):
    """The word of section 17.5 for these reasons of a layer below."""
    try:
        return action()
    except Refused as refused:
        if refused.reason in reasons:
            raise Refused(errors.UNDECRYPTABLE, str(refused)) from None
        raise


@dataclass
class Session:
    T: bytes
    handshake_hash: bytes
    ratchet: DoubleRatchet
    pq_ratchet: PqRatchet
    begun_by_us: bool
    pending_handshake: bytes | None  # repeated until the first answer; None also at the recipient
    last_heard_at: int  # when a message last came in on it, or it began

    @property
    def is_answered(self) -> bool:
        return self.pending_handshake is None

    def encrypt(self, content: bytes, rng) -> bytes:
        padded = pad(content)
        refuse_unless(not self.pq_ratchet.has_failed and self.ratchet.CKs is not None, errors.CANNOT_SEND)
        nonce = rng.draw(24)
        pq_header, pq_mk = self.pq_ratchet.send(rng)
        sealed_header, ec_mk = self.ratchet.send(nonce, pq_header)
        kind = RATCHET if self.pending_handshake is None else PREKEY
        ciphertext = seal_body(pq_mk, ec_mk, kind, self.T, sealed_header, padded)
        return SessionMessage(self.pending_handshake, sealed_header, ciphertext).encode()

    def decrypt(self, message: SessionMessage, now: int, rng) -> bytes:
        """Changes nothing if it raises."""
        staged = as_undecryptable(lambda: self.ratchet.stage(message.sealed_header), errors.INVALID)
        pq_reasons = (errors.INVALID, errors.EPOCH_NOT_OPEN, errors.DUPLICATE)
        staged_pq = as_undecryptable(lambda: self.pq_ratchet.stage(staged.header.pq_header), *pq_reasons)
        padded = open_body(
            staged_pq.pq_mk, staged.ec_mk, message.kind, self.T, message.sealed_header, message.ciphertext
        )
        content = unpad(padded)
        self.ratchet = staged.commit(rng)
        staged_pq.commit()
        self.pending_handshake = None
        self.last_heard_at = max(self.last_heard_at, now)
        return content


@dataclass
class ReplayRecord:
    """Of one last-resort KEM prekey (17.4)."""

    entries: dict[bytes, tuple[bool, bytes]] = field(default_factory=dict)  # tag -> (is it a contact, account id)

    def strangers(self) -> list[bytes]:
        return [account for is_contact, account in self.entries.values() if not is_contact]

    def check(self, tag: bytes, is_contact: bool, account: bytes) -> None:
        refuse_unless(tag not in self.entries, errors.REPLAYED)
        own = sum(entry == (is_contact, account) for entry in self.entries.values())
        if is_contact:
            has_room = own < CONTACT_ENTRIES
        else:
            has_room = own < STRANGER_ENTRIES and len(self.strangers()) < STRANGERS_PER_PREKEY
        refuse_unless(has_room, errors.REPLAY_RECORD_FULL)


def last_resort_prekey(message: bytes) -> int | None:
    """The id of the last-resort KEM prekey that a message names."""
    decoded = SessionMessage.decode(message)
    if decoded.handshake is None:
        return None
    handshake = Handshake.decode(decoded.handshake)
    return handshake.kem_prekey_id if handshake.kem_kind == LAST_RESORT else None


@dataclass
class Device:
    """One's own device: keys, prekeys with their secrets, the replay records."""

    certificate: Certificate
    identity_secret: bytes
    signed: dict[int, Prekey] = field(default_factory=dict)
    one_time: dict[int, Prekey] = field(default_factory=dict)
    kem: dict[int, tuple[int, Prekey]] = field(default_factory=dict)  # id -> (kind, prekey)
    replay_records: dict[int, ReplayRecord] = field(default_factory=dict)  # by the last-resort prekey's id


@dataclass(frozen=True)
class UsedPrekeys:
    signed: int
    one_time: int | None
    one_time_kem: int | None


@dataclass(frozen=True)
class Received:
    content: bytes
    new_session: bool
    used: UsedPrekeys | None


class Record:
    """All sessions with one remote device (17.1)."""

    def __init__(self, remote_address: bytes):
        self.remote_address = remote_address
        self.account_key: bytes | None = None
        self.active: Session | None = None
        self.inactive: list[Session] = []  # the one active last first
        self.crossed: set[frozenset[bytes]] = set()

    def sessions(self) -> list[Session]:
        return ([self.active] if self.active else []) + self.inactive

    # --- which session is active (17.3) ---

    def _outranks(self, x: Session, y: Session, now: int) -> bool:
        silent = now - x.last_heard_at >= CONVERGENCE_WINDOW_MS
        hopeless = silent and (not x.begun_by_us or not x.is_answered)
        return frozenset((x.T, y.T)) in self.crossed and x.T < y.T and not hopeless

    def _promote(self, session: Session, now: int) -> None:
        """`session` began, or a message came in on it."""
        if session is self.active:
            return
        self.inactive = [s for s in self.inactive if s is not session]
        if self.active is not None and self._outranks(self.active, session, now):
            self.inactive.insert(0, session)
        else:
            if self.active is not None:
                self.inactive.insert(0, self.active)
            self.active = session

    def _tidy(self, now: int) -> None:
        fresh = [s for s in self.inactive if now - s.last_heard_at <= INACTIVE_LIFETIME_MS]
        self.inactive = fresh[:MAX_INACTIVE]

    # --- operations ---

    def initiate(self, device: Device, bundle: Bundle, account_key: bytes, now: int, rng) -> Session:
        if self.sessions():
            refuse_unless(self.account_key == account_key, errors.IDENTITY_CHANGED)
        bundle.verify(self.remote_address, account_key)
        agreement = agree_as_initiator(device.certificate, device.identity_secret, bundle, rng)
        keys = initial_keys(agreement.session_secret)
        opk = bundle.one_time_prekey
        handshake = Handshake(
            device.certificate,
            agreement.ephemeral_key,
            bundle.signed_prekey.id,
            bundle.kem_kind,
            bundle.kem_prekey.id,
            agreement.kem_ciphertext,
            None if opk is None else opk.id,
        ).encode()
        session = Session(
            T=agreement.transcript_hash,
            handshake_hash=sha256(handshake),
            ratchet=DoubleRatchet.new_initiator(keys, bundle.signed_prekey.public, rng),
            pq_ratchet=PqRatchet(keys.pq_secret, is_initiator=True),
            begun_by_us=True,
            pending_handshake=handshake,
            last_heard_at=now,
        )
        self.account_key = account_key
        self._promote(session, now)
        self._tidy(now)
        return session

    def encrypt(self, content: bytes, rng) -> bytes:
        refuse_unless(self.active is not None, errors.NO_SESSION)
        return self.active.encrypt(content, rng)

    def decrypt(self, device: Device, data: bytes, now: int, rng, is_contact: bool = True) -> Received:
        message = SessionMessage.decode(data)
        if message.handshake is None:
            return self._decrypt_ratchet_message(message, now, rng)
        return self._decrypt_prekey_message(device, message, now, rng, is_contact)

    def _open_in(self, session: Session, message: SessionMessage, now: int, rng) -> Received:
        content = session.decrypt(message, now, rng)
        self._promote(session, now)
        self._tidy(now)
        return Received(content, False, None)

    def _decrypt_ratchet_message(self, message: SessionMessage, now: int, rng) -> Received:
        """KV-055"""
        refuse_unless(bool(self.sessions()), errors.NO_SESSION)
        for session in self.sessions():
            try:
                return self._open_in(session, message, now, rng)
            except Refused as refused:
                if refused.reason != errors.NO_HEADER_KEY:
                    raise
        raise Refused(errors.UNDECRYPTABLE, errors.NO_HEADER_KEY)

    def _decrypt_prekey_message(
        self, device: Device, message: SessionMessage, now: int, rng, is_contact: bool
    ) -> Received:
        """KV-056, step by step"""
        handshake = Handshake.decode(message.handshake)
        certificate = handshake.certificate
        # 1
        refuse_unless(
            certificate.address == self.remote_address and certificate.address != device.certificate.address,
            errors.ACCOUNT_MISMATCH,
        )
        # 2
        for session in self.sessions():
            if session.handshake_hash == sha256(message.handshake):
                return as_undecryptable(lambda: self._open_in(session, message, now, rng), errors.NO_HEADER_KEY)
        # 3
        try:
            certificate.verify()
        except Refused as refused:
            raise Refused(errors.INVALID_HANDSHAKE, str(refused)) from None
        if self.sessions():
            refuse_unless(certificate.account_key == self.account_key, errors.IDENTITY_CHANGED)
        # 4
        signed = device.signed.get(handshake.signed_prekey_id)
        kem_kind, kem = device.kem.get(handshake.kem_prekey_id, (None, None))
        one_time = device.one_time.get(handshake.one_time_prekey_id)
        refuse_unless(
            signed is not None
            and kem_kind == handshake.kem_kind
            and (one_time is not None or handshake.one_time_prekey_id is None),
            errors.UNKNOWN_PREKEY,
        )
        # 5
        try:
            check_x25519(certificate.identity_key)
            check_ephemeral(handshake.ephemeral_key)
            agreement = agree_as_recipient(
                certificate,
                device.certificate,
                device.identity_secret,
                handshake.ephemeral_key,
                signed,
                kem_kind,
                kem,
                handshake.kem_ciphertext,
                one_time,
            )
        except Refused as refused:
            raise Refused(errors.INVALID_HANDSHAKE, str(refused)) from None
        keys = initial_keys(agreement.session_secret)
        # 6
        if kem_kind == LAST_RESORT:
            account = certificate.address[:16]
            device.replay_records.get(kem.id, ReplayRecord()).check(keys.replay_tag, is_contact, account)
        # 7
        session = Session(
            T=agreement.transcript_hash,
            handshake_hash=sha256(message.handshake),
            ratchet=DoubleRatchet.new_recipient(keys, signed.secret),
            pq_ratchet=PqRatchet(keys.pq_secret, is_initiator=False),
            begun_by_us=False,
            pending_handshake=None,
            last_heard_at=now,
        )
        content = as_undecryptable(lambda: session.decrypt(message, now, rng), errors.NO_HEADER_KEY)
        # 8
        if kem_kind == LAST_RESORT:
            device.replay_records.setdefault(kem.id, ReplayRecord()).entries[keys.replay_tag] = (is_contact, account)
        if one_time is not None:
            del device.one_time[one_time.id]
        if kem_kind == ONE_TIME:
            del device.kem[kem.id]
        if self.active is not None and self.active.begun_by_us and not self.active.is_answered:
            self.crossed.add(frozenset((self.active.T, session.T)))
        self.account_key = certificate.account_key
        self._promote(session, now)
        self._tidy(now)
        used = UsedPrekeys(signed.id, one_time and one_time.id, kem.id if kem_kind == ONE_TIME else None)
        return Received(content, True, used)

    def copy(self) -> "Record":
        return copy.deepcopy(self)

//! All sessions with one remote device.
//!
//! ```text
//!            initiate(bundle)                     a message opens here, and the active session does not outrank it
//! nothing ─────────────────────► active  ◄────────────────────────────────────────────── inactive
//!            first prekey message  │                                                        ▲   │ unused for 31 days,
//!            from the other side   └────────────── another session becomes active ──────────┘   ▼ or over 5: deleted
//! ```
//!
//! Sesame's rule is that the session of the last message received becomes active. When both sides begin a session at the
//! same time and keep writing, that rule alone can swap the two sessions for ever. So of two sessions that *crossed* (one
//! was begun while the other, begun by the other side, was unanswered), the one with the smaller transcript hash outranks
//! the other: both sides see the same two hashes and settle on the same session. An outranking session loses that right
//! when it has been silent for [`CONVERGENCE_WINDOW_MS`] and nothing shows that the other side still has it: ours has had no
//! answer, or theirs has brought nothing since. The side that began it and was answered holds on to it, so that late
//! messages can move one of the two sides only, and the next message moves it back.

use alloc::vec::Vec;

use kuvert_types::{AccountKey, Address, DecodeError, DeviceCertificate, Reader, limits};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::error::{DecryptError, DecryptFailure, EncryptError, InitiateError};
use super::session::{OpenError, Opened, Session};
use crate::identity::LocalDevice;
use crate::message::{HandshakeChoice, Message, PrekeyMessage, RatchetMessage};
use crate::plaintext::Plaintext;
use crate::pqxdh::{self, PrekeysInUse};
use crate::prekey::{KemPrekeyKind, PrekeyStore, VerifiedBundle};
use crate::replay::{ReplayCheck, ReplayRecord, Trust};
use crate::scka::SckaFailure;
use crate::wiped::Wiped;

/// Sessions kept besides the active one. More than a handful arise only when both sides keep resetting; each costs up to
/// seven trial decryptions of a header.
pub const MAX_INACTIVE_SESSIONS: usize = 5;

/// Milliseconds that an inactive session is kept after the last message that came in on it. A relay keeps a message for 30
/// days at most, so nothing for it can be under way after that; one day more for clocks that differ.
pub const INACTIVE_SESSION_LIFETIME_MS: u64 = (limits::MAX_RETENTION_DAYS as u64 + 1) * 24 * 60 * 60 * 1000;

/// Milliseconds for which a silent session can hold its place against one that it crossed with: five minutes are enough for
/// a round trip between two devices that are online.
pub const CONVERGENCE_WINDOW_MS: u64 = 5 * 60 * 1000;

const SNAPSHOT_VERSION: u8 = 1;

/// All sessions with one remote device: at most one active and [`MAX_INACTIVE_SESSIONS`] inactive ones. PROTOCOL.md, Sessions.
///
/// It is the unit of storage: the caller stores [`encode`](Self::encode) in one transaction with the message, and with
/// deleting the prekeys that [`Decrypted::used`] names.
#[derive(Default)]
pub struct SessionRecord {
    active: Option<Wiped<Session>>,
    /// The one active last comes first.
    inactive: Vec<Wiped<Session>>,
}

/// A decrypted message. The caller stores record, replay record and content in one transaction, and deletes the
/// one-time prekeys in `used` in the same.
#[derive(Debug)]
#[non_exhaustive]
pub struct Decrypted {
    /// The content, padding removed.
    pub plaintext: Plaintext,
    /// The prekeys that the message used, if it began a session.
    pub used: Option<UsedPrekeys>,
    /// Whether it began a session.
    pub new_session: bool,
    /// The device that sent it. The caller compares the account key with the one it trusts.
    pub remote_certificate: DeviceCertificate,
    /// The message is genuine, and it shows that the other side broke the post-quantum protocol: the session has stopped.
    /// Tell the user; a new session is needed.
    pub pq_failure: Option<SckaFailure>,
}

/// What decrypting needs besides the message and the sessions.
#[derive(Debug)]
pub struct DecryptContext<'a, S: ?Sized, R: ?Sized> {
    /// This device.
    pub local: &'a LocalDevice,
    /// The device that the message came from, as the envelope or the sealed sender says.
    pub remote: Address,
    /// Which budget of `replay` pays [KV-059]: [`Trust::Contact`] only if the account key in the message's certificate is
    /// the one pinned for that contact. [`initiator_certificate`](crate::initiator_certificate) shows that certificate.
    pub trust: Trust,
    /// This device's prekeys.
    pub prekeys: &'a S,
    /// The record of the prekey that [`last_resort_prekey`](crate::last_resort_prekey) names for the message: the caller
    /// loads it before and stores it after. For a message that names none it is neither read nor written; an empty one will
    /// do.
    pub replay: &'a mut ReplayRecord,
    /// Unix milliseconds.
    pub now: u64,
    /// Draws the next ratchet keys.
    pub rng: &'a mut R,
}

/// The prekeys that a first message used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UsedPrekeys {
    /// The signed prekey. Stays.
    pub signed: u32,
    /// The one-time curve prekey: delete it.
    pub one_time: Option<u32>,
    /// The one-time KEM prekey: delete it. `None` if the last-resort one was used.
    pub kem: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Active,
    Inactive(usize),
}

impl SessionRecord {
    /// No session.
    pub const fn new() -> Self {
        Self { active: None, inactive: Vec::new() }
    }

    /// Whether there is no session at all.
    pub fn is_empty(&self) -> bool {
        self.active.is_none() && self.inactive.is_empty()
    }

    /// Whether [`encrypt`](Self::encrypt) has a session to use.
    pub fn has_active(&self) -> bool {
        self.active.is_some()
    }

    /// How many inactive sessions are kept.
    pub fn inactive_count(&self) -> usize {
        self.inactive.len()
    }

    /// The other side of the active session.
    pub fn remote_certificate(&self) -> Option<&DeviceCertificate> {
        self.active.as_ref().map(|session| &session.remote)
    }

    /// Forgets every inactive session: messages still under way on them are lost. For a user that ends a conversation with
    /// an old device, and for tests.
    pub fn drop_inactive(&mut self) {
        self.inactive.clear();
    }

    /// Since when (Unix milliseconds) the active session, begun by this side, has been waiting for a first answer. `None` if
    /// it was answered, was begun by the other side, or there is none. After weeks the prekeys that it used may be gone: a
    /// caller may then begin a new one.
    pub fn unanswered_since(&self) -> Option<u64> {
        self.active.as_ref().filter(|session| session.is_unanswered()).map(|session| session.created_at)
    }

    /// Begins a session, which becomes the active one. `now` in Unix milliseconds. Takes 64 bytes of `rng` for the key
    /// agreement and 32 for the first ratchet key.
    ///
    /// # Errors
    /// See [`InitiateError`]: the bundle is for another device or account key than the sessions there are. The record is
    /// unchanged.
    pub fn initiate(
        &mut self,
        local: &LocalDevice,
        bundle: &VerifiedBundle,
        now: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<(), InitiateError> {
        if let Some(known) = self.any_session().map(|session| session.remote) {
            if known.address() != bundle.certificate.address() {
                return Err(InitiateError::OtherDevice);
            }
            let (known, presented) = (known.account_key(), bundle.certificate.account_key());
            if known != presented {
                return Err(InitiateError::IdentityChanged { known, presented });
            }
        }
        let session = Session::initiate(local, bundle, now, rng)?;
        self.make_active(session);
        self.prune(now);
        Ok(())
    }

    /// Pads and encrypts `plaintext` (at most [`MAX_CONTENT_LEN`](crate::message::MAX_CONTENT_LEN) bytes) with the active
    /// session and returns the session message. Store the record before the message is sent.
    ///
    /// # Errors
    /// See [`EncryptError`]. The record is unchanged.
    pub fn encrypt(
        &mut self,
        plaintext: &[u8],
        now: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Vec<u8>, EncryptError> {
        let mut message = Vec::new();
        self.encrypt_into(plaintext, now, rng, &mut message)?;
        Ok(message)
    }

    /// [`encrypt`](Self::encrypt), the session message appended to `message`. Allocates nothing if that has room for
    /// [`padded_len`](crate::padding::padded_len) bytes and the overhead of [`message`](crate::message).
    ///
    /// # Errors
    /// See [`EncryptError`]. The record and `message` are unchanged.
    pub fn encrypt_into(
        &mut self,
        plaintext: &[u8],
        now: u64,
        rng: &mut (impl CryptoRng + ?Sized),
        message: &mut Vec<u8>,
    ) -> Result<(), EncryptError> {
        self.active.as_mut().ok_or(EncryptError::NoSession)?.encrypt(plaintext, rng, message)?;
        self.prune(now);
        Ok(())
    }

    /// Decrypts a session message that came from [`DecryptContext::remote`].
    ///
    /// # Errors
    /// See [`DecryptFailure`]. Both records are unchanged, byte for byte [KV-003]; no prekey may be deleted.
    pub fn decrypt<S: PrekeyStore + ?Sized, R: CryptoRng + ?Sized>(
        &mut self,
        message: &[u8],
        context: DecryptContext<'_, S, R>,
    ) -> Result<Decrypted, DecryptFailure<S::Error>> {
        self.decrypt_into(message, Plaintext::default(), context)
    }

    /// [`decrypt`](Self::decrypt), the content written into `buffer`, which comes back as [`Decrypted::plaintext`]. Allocates
    /// nothing for it if `buffer` has room for the padded content.
    ///
    /// # Errors
    /// As for [`decrypt`](Self::decrypt).
    pub fn decrypt_into<S: PrekeyStore + ?Sized, R: CryptoRng + ?Sized>(
        &mut self,
        message: &[u8],
        mut buffer: Plaintext,
        context: DecryptContext<'_, S, R>,
    ) -> Result<Decrypted, DecryptFailure<S::Error>> {
        let message = Message::decode(message).map_err(|_| DecryptError::Malformed)?;
        // [KV-054] A record is for one device.
        if self.any_session().is_some_and(|session| session.remote.address() != context.remote) {
            return Err(DecryptError::AccountMismatch.into());
        }
        match message {
            Message::Ratchet(message) => {
                let (place, opened) = self.open_somewhere(&message, &mut buffer)?;
                Ok(self.commit(place, opened, buffer, context.now, context.rng)?)
            }
            Message::Prekey(message) => {
                // [KV-056] The certificate is the sender's, and the sender is not this device.
                let claimed = message.handshake.certificate.claimed().address;
                if claimed != context.remote || claimed == context.local.address() {
                    return Err(DecryptError::AccountMismatch.into());
                }
                match self.find(|session| session.began_with(message.handshake_bytes)) {
                    Some((place, session)) => {
                        let opened = session.open(&message.ratchet, &mut buffer).map_err(refused)?;
                        Ok(self.commit(place, opened, buffer, context.now, context.rng)?)
                    }
                    None => self.accept(&message, buffer, context),
                }
            }
        }
    }

    /// Opens a message in the first session that has its header key, the active one before the others [KV-055].
    fn open_somewhere(
        &self,
        message: &RatchetMessage<'_>,
        plaintext: &mut Plaintext,
    ) -> Result<(Place, Opened), DecryptError> {
        for (place, session) in self.sessions() {
            match session.open(message, plaintext) {
                Ok(opened) => return Ok((place, opened)),
                Err(OpenError::OtherSession) => {}
                // Header keys are unique: no other session can open what has this one's.
                Err(OpenError::Refused(error)) => return Err(error),
            }
        }
        Err(if self.is_empty() { DecryptError::NoSession } else { DecryptError::Undecryptable })
    }

    /// A message on a session that exists.
    fn commit(
        &mut self,
        place: Place,
        opened: Opened,
        plaintext: Plaintext,
        now: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Decrypted, DecryptError> {
        let session = match place {
            Place::Active => self.active.as_mut(),
            Place::Inactive(at) => self.inactive.get_mut(at),
        };
        let session = session.ok_or(DecryptError::NoSession)?;
        let pq_failure = session.commit(opened, now, rng)?;
        let remote_certificate = session.remote;
        if let Place::Inactive(at) = place {
            let outranked = self.active.as_ref().is_some_and(|active| outranks(active, &self.inactive[at], now));
            if !outranked {
                let session = self.inactive.remove(at);
                self.make_active(session);
            }
        }
        self.prune(now);
        Ok(Decrypted { plaintext, used: None, new_session: false, remote_certificate, pq_failure })
    }

    /// A prekey message that begins a session [KV-056].
    fn accept<S: PrekeyStore + ?Sized, R: CryptoRng + ?Sized>(
        &mut self,
        message: &PrekeyMessage<'_>,
        mut plaintext: Plaintext,
        context: DecryptContext<'_, S, R>,
    ) -> Result<Decrypted, DecryptFailure<S::Error>> {
        let DecryptContext { local, trust, prekeys, replay, now, rng, .. } = context;
        let choice = &message.handshake.choice;
        let remote = message.handshake.certificate.verify().map_err(|_| DecryptError::InvalidHandshake)?;
        // [KV-054] Another account key is never accepted in silence.
        if let Some(known) = self.account_key().filter(|known| *known != remote.account_key()) {
            return Err(DecryptError::IdentityChanged { known, presented: remote.account_key() }.into());
        }
        let in_use = find_prekeys(prekeys, choice)?;
        let agreement = pqxdh::respond(local, &remote, choice, &in_use).map_err(|_| DecryptError::InvalidHandshake)?;
        let (account, replay_tag) = (remote.address().account, agreement.secret.replay_tag());
        // [KV-059] A last-resort key stays: its first messages are remembered.
        let last_resort = choice.kem_kind == KemPrekeyKind::LastResort;
        if last_resort {
            match replay.check(trust, account, &replay_tag) {
                ReplayCheck::New => {}
                ReplayCheck::Seen => return Err(DecryptError::Replayed.into()),
                ReplayCheck::Full => return Err(DecryptError::ReplayRecordFull.into()),
            }
        }
        let mut session = Session::accept(&agreement, remote, message.handshake_bytes, &in_use.signed, now);
        let opened = session.open(&message.ratchet, &mut plaintext).map_err(refused)?;
        let pq_failure = session.commit(opened, now, rng)?;

        // The message has authenticated: only now may anything be burnt or remembered.
        if last_resort {
            replay.insert(trust, account, replay_tag);
        }
        self.place(session, now);
        let used = UsedPrekeys {
            signed: choice.signed_prekey_id,
            one_time: choice.one_time_prekey_id,
            kem: (!last_resort).then_some(choice.kem_prekey_id),
        };
        let used = Some(used);
        Ok(Decrypted { plaintext, used, new_session: true, remote_certificate: remote, pq_failure })
    }

    /// Gives a session that the other side began its place: active, unless the active one outranks it [KV-057].
    fn place(&mut self, mut session: Wiped<Session>, now: u64) {
        session.crossed_with =
            self.active.as_ref().filter(|active| active.is_unanswered()).map(|active| active.transcript);
        if self.active.as_ref().is_some_and(|active| outranks(active, &session, now)) {
            self.inactive.insert(0, session);
        } else {
            self.make_active(session);
        }
        self.prune(now);
    }

    fn make_active(&mut self, session: Wiped<Session>) {
        if let Some(previous) = self.active.replace(session) {
            self.inactive.insert(0, previous);
        }
    }

    /// Deletes inactive sessions that are too old or too many [KV-058].
    fn prune(&mut self, now: u64) {
        self.inactive.retain(|session| now.saturating_sub(session.last_received_at) <= INACTIVE_SESSION_LIFETIME_MS);
        self.inactive.truncate(MAX_INACTIVE_SESSIONS);
    }

    fn sessions(&self) -> impl Iterator<Item = (Place, &Session)> {
        let active = self.active.iter().map(|session| (Place::Active, &**session));
        active.chain(self.inactive.iter().enumerate().map(|(at, session)| (Place::Inactive(at), &**session)))
    }

    fn find(&self, wanted: impl Fn(&Session) -> bool) -> Option<(Place, &Session)> {
        self.sessions().find(|(_, session)| wanted(session))
    }

    fn any_session(&self) -> Option<&Session> {
        self.sessions().next().map(|(_, session)| session)
    }

    /// All sessions of a record are under one account key: initiating and accepting see to that.
    fn account_key(&self) -> Option<AccountKey> {
        self.any_session().map(|session| session.remote.account_key())
    }

    /// The stored form. Secret: seal it before it goes to disk.
    ///
    /// `version u8 = 1 ‖ active u8 (0 or 1) ‖ [session] ‖ inactive u8 ‖ sessions`
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Room for a session without skipped keys. Not for more, because all of it is wiped, byte by byte.
        let mut out = Zeroizing::new(Vec::with_capacity(6 * 1024));
        out.push(SNAPSHOT_VERSION);
        out.push(u8::from(self.active.is_some()));
        if let Some(session) = &self.active {
            session.encode(&mut out);
        }
        // A session leaves room behind it for this byte: what it reserves is more than it writes.
        out.push(u8::try_from(self.inactive.len()).unwrap_or(u8::MAX)); // at most MAX_INACTIVE_SESSIONS
        for session in &self.inactive {
            session.encode(&mut out);
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`DecodeError`]: the store is damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            if reader.u8()? != SNAPSHOT_VERSION {
                return Err(DecodeError::Version);
            }
            let active = match reader.u8()? {
                0 => None,
                1 => Some(Session::decode(reader)?),
                _ => return Err(DecodeError::Value),
            };
            let count = usize::from(reader.u8()?);
            if count > MAX_INACTIVE_SESSIONS {
                return Err(DecodeError::Value);
            }
            let mut inactive = Vec::with_capacity(count);
            for _ in 0..count {
                inactive.push(Session::decode(reader)?);
            }
            Ok(Self { active, inactive })
        })
    }
}

/// The prekeys that a handshake names, each of the kind that it says.
fn find_prekeys<S: PrekeyStore + ?Sized>(
    prekeys: &S,
    choice: &HandshakeChoice<'_>,
) -> Result<PrekeysInUse, DecryptFailure<S::Error>> {
    let unknown = DecryptError::UnknownPrekey;
    let signed = prekeys.signed(choice.signed_prekey_id).map_err(DecryptFailure::Store)?.ok_or(unknown)?;
    let (kem, kind) = prekeys.kem(choice.kem_prekey_id).map_err(DecryptFailure::Store)?.ok_or(unknown)?;
    if kind != choice.kem_kind {
        return Err(unknown.into());
    }
    let one_time = match choice.one_time_prekey_id {
        Some(id) => Some(prekeys.one_time(id).map_err(DecryptFailure::Store)?.ok_or(unknown)?),
        None => None,
    };
    Ok(PrekeysInUse { signed, kem, one_time })
}

/// Why the one session that a message belongs to does not open it.
fn refused(error: OpenError) -> DecryptError {
    match error {
        OpenError::OtherSession => DecryptError::Undecryptable,
        OpenError::Refused(error) => error,
    }
}

impl core::fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { active, inactive } = self;
        f.debug_struct("SessionRecord")
            .field("active", &active.is_some())
            .field("inactive", &inactive.len())
            .finish_non_exhaustive()
    }
}

/// Whether `active` keeps its place although a message came in on `other` [KV-057]. See the module's head.
fn outranks(active: &Session, other: &Session, now: u64) -> bool {
    let crossed = active.crossed_with == Some(other.transcript) || other.crossed_with == Some(active.transcript);
    let silent = now.saturating_sub(active.last_received_at) >= CONVERGENCE_WINDOW_MS;
    let hopeless = silent && (!active.initiated || active.is_unanswered());
    crossed && active.transcript < other.transcript && !hopeless
}

//! The post-quantum ratchet: a key for every message that a quantum computer cannot work out from the curve keys.
//!
//! Owns the root key, one pair of symmetric chains per epoch, the skipped keys, and the key agreement that opens epochs
//! ([`crate::scka`]). Not its concern: the curve ratchet, header encryption, the AEAD. The session mixes
//! [`PqMessageKey`] into every message's key, without exception; there is no mode without it.
//!
//! ```text
//! shared ─HKDF─► root₀, chain₀ i→r, chain₀ r→i, agreement key                      (epoch 0 needs no agreement)
//! rootₑ₋₁, output keyₑ ─HKDF─► rootₑ, chainₑ i→r, chainₑ r→i                       (e ≥ 1)
//! chain key, n ─HMAC─► message key n, next chain key
//!
//! header = agreement's message (139 B) ‖ n (u32)                                    [`PQ_HEADER_LEN`] bytes
//! ```
//!
//! i→r is the chain of messages from the initiator of the session to its recipient. The epoch whose chain a message uses
//! is not in the header a second time: the agreement's message implies it. `n` counts from 0 in each epoch's chain.
//!
//! Receiving is two calls. [`PostQuantumRatchet::open`] gives the message's key and changes nothing;
//! [`PostQuantumRatchet::apply`] takes its [`PqStep`] once the message has authenticated under that key.
//!
//! Specification: <https://signal.org/docs/specifications/doubleratchet/#the-sparse-post-quantum-ratchet>

mod chain;
mod snapshot;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

use kuvert_types::{Label, label};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use self::chain::{Advance, Chain, EpochChains};
use crate::braid::{self, Braid};
use crate::primitives::kdf::hkdf_sha256;
use crate::scka::{Epoch, OutputKey, SCKA_MESSAGE_LEN, Scka, SckaError, SckaFailure};
use crate::wiped::Wiped;

/// Bytes of the ratchet's part of a message header [KV-039]: `agreement message (139) ‖ n (4, big-endian)`.
pub const PQ_HEADER_LEN: usize = SCKA_MESSAGE_LEN + 4;

/// Message keys skipped by one message, at most. The curve ratchet bounds one jump to 1,000, but several of its chains may
/// lie in one epoch here, each with keys that it left behind.
pub const MAX_SKIP: u32 = 2_000;

/// Skipped message keys kept in all; above that the oldest go. As many as the curve ratchet keeps.
pub const MAX_SKIPPED_KEYS: usize = 2_000;

/// Epochs kept besides the newest [KV-042], with their receiving chains and skipped keys. An epoch takes many changes of direction and
/// the curve ratchet keeps five header keys, so older epochs matter only to a message that was held back while more than a
/// hundred others passed: it is lost.
pub const MAX_OLD_EPOCHS: u64 = 4;

pub(crate) const START: Label = label("Kuvert/1 pq ratchet start");
pub(crate) const EPOCH: Label = label("Kuvert/1 pq ratchet epoch");
pub(crate) const CHAIN_KEY: Label = label("Kuvert/1 pq ratchet chain key");
pub(crate) const MESSAGE_KEY: Label = label("Kuvert/1 pq ratchet message key");

/// Every label of this module and of the key agreement, for the test that all labels differ.
#[cfg_attr(not(test), allow(dead_code))] // only tests list them all
pub(crate) const LABELS: [Label; 8] = [
    START,
    EPOCH,
    CHAIN_KEY,
    MESSAGE_KEY,
    braid::AUTHENTICATOR_UPDATE,
    braid::HEADER_MAC,
    braid::CIPHERTEXT_MAC,
    braid::OUTPUT_KEY,
];

/// The post-quantum key of one message. Use it once.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PqMessageKey([u8; 32]);

impl PqMessageKey {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PqMessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(_) = self;
        f.write_str("PqMessageKey(…)")
    }
}

/// Why the ratchet refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PqError {
    /// The header is no header of this ratchet.
    #[error("malformed post-quantum header")]
    Malformed,
    /// The message belongs to an epoch that is not open yet, or that was dropped.
    #[error("post-quantum epoch {0} is not open")]
    UnknownEpoch(Epoch),
    /// The key of this message was used, or dropped as one of too many skipped ones.
    #[error("the post-quantum key of this message is gone")]
    KeyGone,
    /// The message is more than [`MAX_SKIP`] ahead of the last one.
    #[error("too many messages skipped")]
    TooManySkipped,
    /// A chain has given its last key. Only a new session helps.
    #[error("the post-quantum chain is exhausted")]
    ChainExhausted,
    /// The key agreement stopped for good: a holder of the keys broke the protocol. Only a new session helps, and
    /// the user should hear of it.
    #[error(transparent)]
    Failed(#[from] SckaFailure),
}

impl From<SckaError> for PqError {
    fn from(error: SckaError) -> Self {
        match error {
            SckaError::Malformed => Self::Malformed,
            SckaError::Failed(failure) => Self::Failed(failure),
        }
    }
}

/// Which side began the session. It decides which side a chain belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Initiator,
    Recipient,
}

/// What [`PostQuantumRatchet::open`] found. To be applied to the state it was opened on, after the message authenticated.
pub struct PqStep<S: Scka = Braid> {
    /// The message's key.
    pub key: PqMessageKey,
    epoch: Epoch,
    advance: Advance,
    agreement: S::Step,
}

impl<S: Scka> fmt::Debug for PqStep<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, epoch, advance: _, agreement: _ } = self;
        f.debug_struct("PqStep").field("key", key).field("epoch", epoch).finish_non_exhaustive()
    }
}

/// The ratchet. See the module's head.
pub struct PostQuantumRatchet<S: Scka = Braid> {
    role: Role,
    root: Zeroizing<[u8; 32]>,
    /// Oldest first, consecutive, never empty unless the agreement failed.
    epochs: Vec<Wiped<EpochChains>>,
    agreement: S,
}

impl<S: Scka> fmt::Debug for PostQuantumRatchet<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, root: _, epochs: _, agreement } = self;
        f.debug_struct("PostQuantumRatchet")
            .field("role", role)
            .field("epoch", &agreement.newest_epoch())
            .field("failure", &agreement.failure())
            .finish_non_exhaustive()
    }
}

impl PostQuantumRatchet {
    /// The ratchet of the side that opened the session. `shared` is derived from the session's secret for this alone.
    pub fn new_initiator(shared: &[u8; 32]) -> Self {
        Self::start(shared, Role::Initiator, Braid::new_initiator)
    }

    /// The ratchet of the side that was written to.
    pub fn new_recipient(shared: &[u8; 32]) -> Self {
        Self::start(shared, Role::Recipient, Braid::new_recipient)
    }
}

impl<S: Scka> PostQuantumRatchet<S> {
    /// Root, first chains and agreement key [KV-038].
    fn start(shared: &[u8; 32], role: Role, agreement: impl FnOnce(&[u8; 32]) -> S) -> Self {
        let keys = hkdf_sha256::<128>(&[0; 32], &[shared], &[&START]);
        let [root, initiator, recipient, agreement_key] = quarters(&keys);
        Self {
            role,
            root,
            epochs: alloc::vec![Wiped::new(EpochChains::new(0, role, &initiator, &recipient))],
            agreement: agreement(&agreement_key),
        }
    }

    /// Header and key of the next message to send [KV-040].
    ///
    /// # Errors
    /// [`PqError::ChainExhausted`] and [`PqError::Failed`]. The state is as it was.
    pub fn send(&mut self, rng: &mut impl CryptoRng) -> Result<([u8; PQ_HEADER_LEN], PqMessageKey), PqError> {
        self.check()?;
        // [KV-003] Looked at before anything moves, so that an error leaves the state as it was.
        let sending_epoch = self.agreement.sending_epoch();
        let position = self.position(sending_epoch)?;
        if self.epochs[position].sending.as_ref().is_none_or(Chain::is_exhausted) {
            return Err(PqError::ChainExhausted);
        }
        let sent = self.agreement.send(rng)?;
        debug_assert_eq!(sent.sending_epoch, sending_epoch);
        let (n, key) = match self.epochs[position].sending.as_mut() {
            Some(chain) => chain.next()?,
            None => return Err(PqError::ChainExhausted),
        };
        if let Some(output) = sent.output {
            self.open_epoch(&output);
        }
        self.drop_sending_chains();

        let mut header = [0; PQ_HEADER_LEN];
        header[..SCKA_MESSAGE_LEN].copy_from_slice(&sent.message);
        header[SCKA_MESSAGE_LEN..].copy_from_slice(&n.to_be_bytes());
        Ok((header, key))
    }

    /// The key of a received message [KV-041]. Changes nothing: hand the step to [`Self::apply`] once the message
    /// authenticated, else drop it.
    ///
    /// # Errors
    /// See [`PqError`].
    pub fn open(&self, header: &[u8; PQ_HEADER_LEN]) -> Result<PqStep<S>, PqError> {
        self.check()?;
        let (message, n) = header.split_first_chunk::<SCKA_MESSAGE_LEN>().ok_or(PqError::Malformed)?;
        let n = u32::from_be_bytes(n.try_into().map_err(|_| PqError::Malformed)?);
        let received = self.agreement.receive(message)?;
        let epoch = received.receiving_epoch;
        let (key, advance) = self.epochs[self.position(epoch)?].open(n)?;
        Ok(PqStep { key, epoch, advance, agreement: received.step })
    }

    /// Takes in a message that authenticated under the key of `step`.
    ///
    /// If the message's piece of the key agreement shows that the other side broke the protocol, the ratchet stops for
    /// good and wipes its keys: [`Self::failure`] says why, and `send` and `open` return [`PqError::Failed`] from then on.
    /// The message itself was genuine and may be shown.
    ///
    /// A step opened on an earlier state than this one is ignored.
    pub fn apply(&mut self, step: PqStep<S>) {
        let PqStep { key: _, epoch, advance, agreement } = step;
        let Ok(position) = self.position(epoch) else { return };
        if !self.epochs[position].apply(advance) {
            return;
        }
        self.drop_excess_keys();
        if let Some(output) = self.agreement.apply(agreement) {
            self.open_epoch(&output);
        }
        self.drop_sending_chains();
        // [KV-043] A failure is final: no key is left.
        if self.agreement.failure().is_some() {
            self.epochs.clear();
            self.root.zeroize();
        }
    }

    /// Why the ratchet has stopped for good, if it has [KV-043]. Worth asking after [`Self::apply`], to tell the user at once.
    pub fn failure(&self) -> Option<SckaFailure> {
        self.agreement.failure()
    }

    /// The newest epoch that this side knows a key of.
    pub fn epoch(&self) -> Epoch {
        self.agreement.newest_epoch()
    }

    /// The epoch that this side sends under.
    pub fn sending_epoch(&self) -> Epoch {
        self.agreement.sending_epoch()
    }

    /// [KV-043] A ratchet that has stopped neither sends nor opens.
    fn check(&self) -> Result<(), PqError> {
        self.agreement.failure().map_or(Ok(()), |failure| Err(PqError::Failed(failure)))
    }

    /// Where the chains of `epoch` are.
    fn position(&self, epoch: Epoch) -> Result<usize, PqError> {
        self.epochs.iter().rposition(|chains| chains.epoch == epoch).ok_or(PqError::UnknownEpoch(epoch))
    }

    /// `rootₑ, chainₑ i→r, chainₑ r→i = HKDF(salt = rootₑ₋₁, IKM = output key, info = label ‖ e)`
    fn open_epoch(&mut self, output: &OutputKey) {
        let epoch = output.epoch();
        let keys = hkdf_sha256::<96>(&*self.root, &[output.as_bytes()], &[&EPOCH, &epoch.to_be_bytes()]);
        let (root, chains) = keys.split_at(32);
        let (initiator, recipient) = chains.split_at(32);
        self.root.copy_from_slice(root);
        let chains = EpochChains::new(epoch, self.role, &copied(initiator), &copied(recipient));
        self.epochs.push(Wiped::new(chains));
        // [KV-042] The newest epoch and the four before it.
        self.epochs.retain(|chains| chains.epoch.saturating_add(MAX_OLD_EPOCHS) >= epoch);
    }

    /// The sending epoch never goes back, so the sending chains of older ones have no use left [KV-042].
    fn drop_sending_chains(&mut self) {
        let sending_epoch = self.agreement.sending_epoch();
        for chains in self.epochs.iter_mut().filter(|chains| chains.epoch < sending_epoch) {
            chains.sending = None;
        }
    }

    /// [KV-042] At most [`MAX_SKIPPED_KEYS`], the oldest go.
    fn drop_excess_keys(&mut self) {
        let stored: usize = self.epochs.iter().map(|chains| chains.skipped_len()).sum();
        let mut excess = stored.saturating_sub(MAX_SKIPPED_KEYS);
        for chains in &mut self.epochs {
            if excess == 0 {
                break;
            }
            excess -= chains.drop_oldest(excess);
        }
    }
}

/// Splits 128 bytes of key material into four keys.
fn quarters(keys: &[u8; 128]) -> [Zeroizing<[u8; 32]>; 4] {
    core::array::from_fn(|i| copied(&keys[32 * i..32 * (i + 1)]))
}

/// Copies 32 bytes of key material into a buffer that wipes itself.
fn copied(bytes: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(bytes);
    key
}

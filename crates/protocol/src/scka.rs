//! Sparse continuous key agreement: what the post-quantum ratchet needs from whatever agrees on its keys.
//!
//! A sparse continuous key agreement (SCKA) turns the back and forth of a conversation into an ordered sequence of shared
//! keys. A key's place in that sequence is its [`Epoch`]; epoch 0 is the secret that both sides start from. "Sparse"
//! because one key takes many messages: each carries a small piece.
//!
//! The ratchet ([`crate::pq_ratchet`]) never knows which one runs. Kuvert has one, the ML-KEM Braid ([`crate::braid`]).
//!
//! Specification: <https://signal.org/docs/specifications/mlkembraid/#sparse-continuous-key-agreement>. There, receiving
//! is one call. Here it is two: [`Scka::receive`] only reads, and [`Scka::apply`] takes what it returned once the message
//! that carried it has authenticated. A forged message therefore changes nothing.

use kuvert_types::DecodeError;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Place of a key in the sequence of agreed keys. The secret that both sides start from is epoch 0.
pub type Epoch = u64;

/// Bytes of one message of the key agreement. Fixed, so that a header's length tells nothing about the state behind it.
pub const SCKA_MESSAGE_LEN: usize = 139;

/// A key that the agreement puts out, both sides the same one under the same epoch.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct OutputKey {
    #[zeroize(skip)]
    epoch: Epoch,
    key: [u8; 32],
}

impl OutputKey {
    /// Pairs a key with its epoch.
    pub(crate) const fn new(epoch: Epoch, key: [u8; 32]) -> Self {
        Self { epoch, key }
    }

    /// The epoch that the key opens.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The key itself.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.key
    }
}

impl core::fmt::Debug for OutputKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { epoch, key: _ } = self;
        f.debug_struct("OutputKey").field("epoch", epoch).finish_non_exhaustive()
    }
}

/// What sending yields.
#[derive(Debug)]
pub struct Sent {
    /// Goes into the header of the message being sent.
    pub message: [u8; SCKA_MESSAGE_LEN],
    /// The newest epoch that the other side is certain to know once it reads `message`.
    pub sending_epoch: Epoch,
    /// A key of a new epoch, at most once per epoch.
    pub output: Option<OutputKey>,
}

/// What receiving yields before anything has changed.
#[derive(Debug)]
pub struct Received<Step> {
    /// The epoch whose keys the sender used for the message that carried this one.
    pub receiving_epoch: Epoch,
    /// For [`Scka::apply`].
    pub step: Step,
}

/// Why an agreement has stopped for good [KV-050]. The other side, or a holder of its keys, broke the protocol: messages
/// that authenticated carried pieces that do not fit together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SckaFailure {
    /// A MAC over a header or a ciphertext was wrong.
    #[error("post-quantum key agreement: a MAC is wrong")]
    Authentication,
    /// An encapsulation key does not match its announced hash, or is no valid ML-KEM key.
    #[error("post-quantum key agreement: an encapsulation key is invalid")]
    EncapsulationKey,
}

/// Why a message of the agreement is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SckaError {
    /// The bytes are not a message of this agreement.
    #[error("malformed post-quantum message")]
    Malformed,
    /// The agreement stopped earlier; see [`Scka::failure`].
    #[error(transparent)]
    Failed(#[from] SckaFailure),
}

/// A sparse continuous key agreement.
pub trait Scka: Sized {
    /// What [`Scka::receive`] found, to be applied later.
    type Step;

    /// The next message to send. Its `sending_epoch` is what [`Scka::sending_epoch`] said before the call.
    ///
    /// # Errors
    /// [`SckaError::Failed`]: the agreement has stopped.
    fn send(&mut self, rng: &mut impl CryptoRng) -> Result<Sent, SckaError>;

    /// Reads a message. Changes nothing; cheap, because the message may still turn out to be forged.
    ///
    /// # Errors
    /// See [`SckaError`].
    fn receive(&self, message: &[u8; SCKA_MESSAGE_LEN]) -> Result<Received<Self::Step>, SckaError>;

    /// Takes in a message that authenticated. If it shows that the other side broke the protocol, the agreement stops:
    /// [`Scka::failure`] then says why, for good.
    fn apply(&mut self, step: Self::Step) -> Option<OutputKey>;

    /// Why the agreement has stopped, if it has.
    fn failure(&self) -> Option<SckaFailure>;

    /// The epoch whose keys the next message is sent under.
    fn sending_epoch(&self) -> Epoch;

    /// The newest epoch whose key was put out; 0 before the first.
    fn newest_epoch(&self) -> Epoch;

    /// Appends the whole state, secrets included.
    fn encode(&self, out: &mut zeroize::Zeroizing<alloc::vec::Vec<u8>>);

    /// Reads what [`Scka::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`]: the bytes are not such a state.
    fn decode(reader: &mut kuvert_types::Reader<'_>) -> Result<Self, DecodeError>;
}

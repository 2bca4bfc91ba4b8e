//! The ML-KEM Braid: a new ML-KEM-768 secret every few round trips, in pieces of 128 bytes, with key and ciphertext
//! travelling at the same time.
//!
//! Owns the states of one side, the messages between the sides, the erasure code and the authenticator. Not its concern:
//! what the output keys are used for ([`crate::pq_ratchet`]), and the outer encryption that every message travels under.
//!
//! In each epoch one side holds the key pair and the other encapsulates. They take turns; the initiator of the session
//! holds the first key pair. Specification: <https://signal.org/docs/specifications/mlkembraid/>
//!
//! ```text
//!   holder of the key pair, epoch e                      encapsulator, epoch e
//!
//!   ┌─► KeysUnsampled        sends:                      ┌─► NoHeaderReceived     sends:
//!   │        │ send          (leaves)                    │        │ Header, all    Nothing
//!   │        ▼                                           │        ▼
//!   │   KeysSampled          Header                      │   HeaderReceived       (leaves)
//!   │        │ Ciphertext1, first                        │        │ send ══► output key e
//!   │        ▼                                           │        ▼
//!   │   HeaderSent           Vector                      │   Ct1Sampled           Ciphertext1
//!   │        │ Ciphertext1, all                          │        │ │ │
//!   │        ▼                                           │        │ │ └─ Vector, all, acknowledging ─────┐
//!   │   Ct1Received          VectorAndAcknowledgement    │        │ └─── Vector, all ─► EkReceivedCt1Sampled
//!   │        │ Ciphertext2, first                        │        │                     sends Ciphertext1 │
//!   │        ▼                                           │        │ acknowledgement         │ acknowledg. │
//!   │   EkSentCt1Received    Nothing                     │        ▼                         │             │
//!   │        │ Ciphertext2, all                          │   Ct1Acknowledged      Nothing   │             │
//!   │        ║ ══► output key e                          │        │ the same, acknowledging │             │
//!   │        ▼                                           │        ▼                         ▼             ▼
//!   │   encapsulator, epoch e+1                          │   Ct2Sampled ◄───────────────────┴─────────────┘
//!   │        : NoHeaderReceived                          │        │           sends Ciphertext2
//!   │                                                    │        │ any message of epoch e+1
//!   └──── from Ct2Sampled of epoch e-1                   │        ▼
//!                                                        │   holder, epoch e+1: KeysUnsampled
//!                                                        └──── from EkSentCt1Received of epoch e-1
//!
//!   any state ── a wrong MAC, or a vector that its header did not announce ──► Failed, for good
//! ```
//!
//! "The same, acknowledging" is what the holder sends by then: all of Vector as VectorAndAcknowledgement. A message that a
//! state has no arrow for is ignored: one of an earlier epoch, a repeated chunk, a late acknowledgement.
//! A side in epoch e sends under the keys of epoch e-1, which the other side is certain to have.

mod authenticator;
mod encapsulator;
mod erasure;
mod holder;
mod message;
mod snapshot;
#[cfg(test)]
pub(crate) mod tests;

use core::fmt;
use core::mem;

use kuvert_types::{DecodeError, Label, Reader, label};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use self::authenticator::{Authenticator, MAC_LEN};
use self::encapsulator::{
    Ct1Acknowledged, Ct1Sampled, Ct2Sampled, EkReceivedCt1Sampled, HeaderReceived, NoHeaderReceived,
};
use self::holder::{Ct1Received, EkSentCt1Received, HeaderSent, KeysSampled, KeysUnsampled};
use self::message::Message;
use crate::primitives::kdf::hkdf_sha256;
use crate::primitives::kem768::{CIPHERTEXT2_LEN, HEADER_LEN, SharedSecret};
use crate::scka::{Epoch, OutputKey, Received, SCKA_MESSAGE_LEN, Scka, SckaError, SckaFailure, Sent};

pub(crate) const AUTHENTICATOR_UPDATE: Label = label("Kuvert/1 braid authenticator");
pub(crate) const HEADER_MAC: Label = label("Kuvert/1 braid header");
pub(crate) const CIPHERTEXT_MAC: Label = label("Kuvert/1 braid ciphertext");
pub(crate) const OUTPUT_KEY: Label = label("Kuvert/1 braid output key");

/// What is sent as [`message::Kind::Header`]: the header and its MAC.
const HEADER_PAYLOAD_LEN: usize = HEADER_LEN + MAC_LEN;
/// What is sent as [`message::Kind::Ciphertext2`]: the second part of the ciphertext and the MAC over both parts.
const CIPHERTEXT2_PAYLOAD_LEN: usize = CIPHERTEXT2_LEN + MAC_LEN;

/// One side of the Braid.
pub struct Braid {
    state: State,
}

/// Where a side is [KV-048]. See the module's head.
enum State {
    KeysUnsampled(KeysUnsampled),
    KeysSampled(KeysSampled),
    HeaderSent(HeaderSent),
    Ct1Received(Ct1Received),
    EkSentCt1Received(EkSentCt1Received),
    NoHeaderReceived(NoHeaderReceived),
    HeaderReceived(HeaderReceived),
    Ct1Sampled(Ct1Sampled),
    EkReceivedCt1Sampled(EkReceivedCt1Sampled),
    Ct1Acknowledged(Ct1Acknowledged),
    Ct2Sampled(Ct2Sampled),
    Failed(Failed),
}

/// What every state but [`Failed`] has.
struct Common {
    epoch: Epoch,
    authenticator: Authenticator,
}

/// The end: no keys left, only why and when.
#[derive(Clone, Copy)]
struct Failed {
    epoch: Epoch,
    failure: SckaFailure,
}

/// A received message, read but not taken in.
pub struct BraidStep(Message);

/// What a transition leads to.
type Next = Result<(State, Option<OutputKey>), SckaFailure>;

impl Braid {
    /// The side that holds the first key pair. `key` is derived from the session's secret for this alone.
    pub(crate) fn new_initiator(key: &[u8; 32]) -> Self {
        Self { state: State::KeysUnsampled(KeysUnsampled { common: Common::new(key) }) }
    }

    /// The side that encapsulates first.
    pub(crate) fn new_recipient(key: &[u8; 32]) -> Self {
        Self { state: State::NoHeaderReceived(NoHeaderReceived::new(Common::new(key))) }
    }

    /// Takes the state out for a transition that consumes it. What stays behind in the meantime is a dead state, so that
    /// a transition cut short could never lead to a key being used twice.
    fn take(&mut self) -> State {
        let failed = Failed { epoch: self.state.epoch(), failure: SckaFailure::Authentication };
        mem::replace(&mut self.state, State::Failed(failed))
    }
}

impl Scka for Braid {
    type Step = BraidStep;

    fn send(&mut self, rng: &mut impl CryptoRng) -> Result<Sent, SckaError> {
        let sending_epoch = self.sending_epoch();
        let epoch = self.state.epoch();
        let (message, output) = match &mut self.state {
            State::KeysSampled(state) => (state.send(), None),
            State::HeaderSent(state) => (state.send(), None),
            State::Ct1Received(state) => (state.send(), None),
            State::Ct1Sampled(state) => (state.send(), None),
            State::EkReceivedCt1Sampled(state) => (state.send(), None),
            State::Ct2Sampled(state) => (state.send(), None),
            State::EkSentCt1Received(_) | State::NoHeaderReceived(_) | State::Ct1Acknowledged(_) => {
                (Message::nothing(epoch), None)
            }
            State::Failed(Failed { failure, .. }) => return Err(SckaError::Failed(*failure)),
            State::KeysUnsampled(_) | State::HeaderReceived(_) => self.send_and_move(rng)?,
        };
        Ok(Sent { message: message.encode(), sending_epoch, output })
    }

    fn receive(&self, message: &[u8; SCKA_MESSAGE_LEN]) -> Result<Received<BraidStep>, SckaError> {
        if let State::Failed(Failed { failure, .. }) = &self.state {
            return Err(SckaError::Failed(*failure));
        }
        let message = Message::decode(message)?;
        Ok(Received { receiving_epoch: message.epoch - 1, step: BraidStep(message) })
    }

    fn apply(&mut self, BraidStep(message): BraidStep) -> Option<OutputKey> {
        let epoch = self.state.epoch();
        match self.take().receive(&message) {
            Ok((state, output)) => {
                self.state = state;
                output
            }
            Err(failure) => {
                self.state = State::Failed(Failed { epoch, failure });
                None
            }
        }
    }

    fn failure(&self) -> Option<SckaFailure> {
        match &self.state {
            State::Failed(Failed { failure, .. }) => Some(*failure),
            _ => None,
        }
    }

    fn sending_epoch(&self) -> Epoch {
        self.state.epoch() - 1
    }

    fn newest_epoch(&self) -> Epoch {
        let epoch = self.state.epoch();
        if self.state.has_output() { epoch } else { epoch - 1 }
    }

    fn encode(&self, out: &mut Zeroizing<alloc::vec::Vec<u8>>) {
        snapshot::encode(&self.state, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        snapshot::decode(reader).map(|state| Self { state })
    }
}

impl Braid {
    /// The two transitions that sending makes.
    fn send_and_move(&mut self, rng: &mut impl CryptoRng) -> Result<(Message, Option<OutputKey>), SckaError> {
        let epoch = self.state.epoch();
        let next = match self.take() {
            State::KeysUnsampled(state) => {
                state.send(rng).map(|(next, message)| (State::KeysSampled(next), message, None))
            }
            State::HeaderReceived(state) => {
                state.send(rng).map(|(next, message, output)| (State::Ct1Sampled(next), message, Some(output)))
            }
            _ => Err(SckaFailure::Authentication), // not called in any other state
        };
        match next {
            Ok((state, message, output)) => {
                self.state = state;
                Ok((message, output))
            }
            Err(failure) => {
                self.state = State::Failed(Failed { epoch, failure });
                Err(SckaError::Failed(failure))
            }
        }
    }
}

impl State {
    /// Takes in one message.
    fn receive(self, message: &Message) -> Next {
        match self {
            // Only a message of the next epoch moves the last state of an encapsulator.
            Self::Ct2Sampled(state) => Ok((state.receive(message), None)),
            // [KV-049] Every other state knows messages of its own epoch alone.
            other if message.epoch != other.epoch() => Ok((other, None)),
            Self::KeysSampled(state) => state.receive(message),
            Self::HeaderSent(state) => state.receive(message),
            Self::Ct1Received(state) => state.receive(message),
            Self::EkSentCt1Received(state) => state.receive(message),
            Self::NoHeaderReceived(state) => state.receive(message),
            Self::Ct1Sampled(state) => state.receive(message),
            Self::EkReceivedCt1Sampled(state) => Ok((state.receive(message), None)),
            Self::Ct1Acknowledged(state) => state.receive(message),
            other @ (Self::KeysUnsampled(_) | Self::HeaderReceived(_)) => Ok((other, None)),
            Self::Failed(Failed { failure, .. }) => Err(failure),
        }
    }

    const fn epoch(&self) -> Epoch {
        match self {
            Self::KeysUnsampled(KeysUnsampled { common, .. })
            | Self::KeysSampled(KeysSampled { common, .. })
            | Self::HeaderSent(HeaderSent { common, .. })
            | Self::Ct1Received(Ct1Received { common, .. })
            | Self::EkSentCt1Received(EkSentCt1Received { common, .. })
            | Self::NoHeaderReceived(NoHeaderReceived { common, .. })
            | Self::HeaderReceived(HeaderReceived { common, .. })
            | Self::Ct1Sampled(Ct1Sampled { common, .. })
            | Self::EkReceivedCt1Sampled(EkReceivedCt1Sampled { common, .. })
            | Self::Ct1Acknowledged(Ct1Acknowledged { common, .. })
            | Self::Ct2Sampled(Ct2Sampled { common, .. }) => common.epoch,
            Self::Failed(Failed { epoch, .. }) => *epoch,
        }
    }

    /// Whether the key of the current epoch was put out: an encapsulator has it as soon as it has sampled c₁.
    const fn has_output(&self) -> bool {
        matches!(
            self,
            Self::Ct1Sampled(_) | Self::EkReceivedCt1Sampled(_) | Self::Ct1Acknowledged(_) | Self::Ct2Sampled(_)
        )
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::KeysUnsampled(_) => "KeysUnsampled",
            Self::KeysSampled(_) => "KeysSampled",
            Self::HeaderSent(_) => "HeaderSent",
            Self::Ct1Received(_) => "Ct1Received",
            Self::EkSentCt1Received(_) => "EkSentCt1Received",
            Self::NoHeaderReceived(_) => "NoHeaderReceived",
            Self::HeaderReceived(_) => "HeaderReceived",
            Self::Ct1Sampled(_) => "Ct1Sampled",
            Self::EkReceivedCt1Sampled(_) => "EkReceivedCt1Sampled",
            Self::Ct1Acknowledged(_) => "Ct1Acknowledged",
            Self::Ct2Sampled(_) => "Ct2Sampled",
            Self::Failed(_) => "Failed",
        }
    }
}

impl Common {
    fn new(key: &[u8; 32]) -> Self {
        Self { epoch: 1, authenticator: Authenticator::new(key) }
    }

    /// Turns the KEM's secret of this epoch into the output key and moves the authenticator on.
    ///
    /// `output keyₑ = HKDF-SHA256(salt = 32 zero bytes, IKM = KEM secret, info = label ‖ e)`
    fn output(&mut self, secret: &SharedSecret) -> OutputKey {
        let key = hkdf_sha256::<32>(&[0; 32], &[secret.as_bytes()], &[&OUTPUT_KEY, &self.epoch.to_be_bytes()]);
        self.authenticator.update(self.epoch, &key);
        OutputKey::new(self.epoch, *key)
    }

    /// On to the next epoch. There are 2⁶⁴ of them, a dozen messages each.
    fn next(self) -> Self {
        Self { epoch: self.epoch.saturating_add(1), authenticator: self.authenticator }
    }
}

impl fmt::Debug for Braid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state } = self;
        f.debug_struct("Braid").field("epoch", &state.epoch()).field("state", &state.name()).finish_non_exhaustive()
    }
}

impl fmt::Debug for BraidStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Message { kind, epoch, index, chunk: _ }) = self;
        f.debug_struct("BraidStep")
            .field("kind", kind)
            .field("epoch", epoch)
            .field("index", index)
            .finish_non_exhaustive()
    }
}

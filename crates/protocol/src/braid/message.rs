//! What the two sides of the Braid send each other.
//!
//! ```text
//! type (1) ‖ epoch (8, big-endian) ‖ chunk index (2, big-endian) ‖ chunk (128)        139 bytes, always
//! ```
//!
//! A message of type [`Kind::Nothing`] has index and chunk all zero.

use super::erasure::{CHUNK_LEN, Chunk};
use crate::scka::{Epoch, SCKA_MESSAGE_LEN, SckaError};

const _: () = assert!(SCKA_MESSAGE_LEN == 1 + 8 + 2 + CHUNK_LEN);

/// What a message's chunk is a chunk of. The byte on the wire is the discriminant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Of nothing: the sender has nothing to send in its state.
    Nothing = 0,
    /// Of the header of an encapsulation key, with its MAC.
    Header = 1,
    /// Of the vector of an encapsulation key.
    Vector = 2,
    /// As [`Kind::Vector`]; the sender also has the whole first part of the ciphertext.
    VectorAndAcknowledgement = 3,
    /// Of the first part of a ciphertext.
    Ciphertext1 = 4,
    /// Of the second part of a ciphertext, with the MAC over both.
    Ciphertext2 = 5,
}

/// One message.
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) epoch: Epoch,
    pub(crate) index: u16,
    pub(crate) chunk: Chunk,
}

impl Message {
    /// A message that only tells the sender's epoch.
    pub(crate) const fn nothing(epoch: Epoch) -> Self {
        Self { kind: Kind::Nothing, epoch, index: 0, chunk: [0; CHUNK_LEN] }
    }

    pub(crate) fn encode(&self) -> [u8; SCKA_MESSAGE_LEN] {
        let Self { kind, epoch, index, chunk } = self;
        let mut out = [0; SCKA_MESSAGE_LEN];
        out[0] = *kind as u8;
        out[1..9].copy_from_slice(&epoch.to_be_bytes());
        out[9..11].copy_from_slice(&index.to_be_bytes());
        out[11..].copy_from_slice(chunk);
        out
    }

    /// Reads a message [KV-047]. Every message has exactly one encoding.
    pub(crate) fn decode(bytes: &[u8; SCKA_MESSAGE_LEN]) -> Result<Self, SckaError> {
        let (kind, rest) = bytes.split_first().ok_or(SckaError::Malformed)?;
        let (epoch, rest) = rest.split_first_chunk().ok_or(SckaError::Malformed)?;
        let (index, rest) = rest.split_first_chunk().ok_or(SckaError::Malformed)?;
        let kind = match kind {
            0 => Kind::Nothing,
            1 => Kind::Header,
            2 => Kind::Vector,
            3 => Kind::VectorAndAcknowledgement,
            4 => Kind::Ciphertext1,
            5 => Kind::Ciphertext2,
            _ => return Err(SckaError::Malformed),
        };
        let epoch = Epoch::from_be_bytes(*epoch);
        let index = u16::from_be_bytes(*index);
        let chunk: Chunk = rest.try_into().map_err(|_| SckaError::Malformed)?;
        // Epoch 0 is the shared secret: nothing is agreed on in it.
        let canonical = kind != Kind::Nothing || (index == 0 && chunk.iter().all(|byte| *byte == 0));
        if epoch == 0 || !canonical {
            return Err(SckaError::Malformed);
        }
        Ok(Self { kind, epoch, index, chunk })
    }
}

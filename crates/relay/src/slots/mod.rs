//! Places where two devices that have no session yet leave each other something: how a new device is linked
//! (PROTOCOL.md, Linking).
//!
//! A slot is named by 16 random bytes that the new device draws and shows on its screen. It holds [`PIECES`] pieces, each written
//! once, in their order: offer, answer, consent, welcome. What they say is between the two devices; the relay reads none of it. Five minutes
//! after its first piece nothing of a slot is read any more, whatever became of it, and a minute later it is forgotten.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod memory;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::store::StoreError;

pub use memory::MemorySlots;

/// Pieces of a slot.
pub const PIECES: u8 = 4;

/// Bytes of a piece, at most; at least one.
pub const MAX_PIECE_BYTES: usize = 4 * 1024;

/// How long a slot is there after its first piece was written, milliseconds.
pub const LIFE_MS: u64 = 5 * 60 * 1000;

/// Slots at once: 16 MiB at most. What fills them all keeps others from linking for five minutes, and nothing else.
pub const MAX_SLOTS: usize = 1024;

/// What an operation returns.
pub type Step<T> = Pin<Box<dyn Future<Output = Result<T, SlotError>> + Send>>;

/// The name of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotId(pub [u8; 16]);

/// Who knows it can read what is in it.
impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotId(…)")
    }
}

/// Why a piece is not written, or not read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SlotError {
    /// No such slot: never begun, or over.
    #[error("no such slot, or its five minutes are over")]
    Unknown,
    /// The piece was not written yet.
    #[error("the piece is not there yet")]
    NotYet,
    /// There is another piece in this place, or the one before it is missing.
    #[error("not the next piece of the slot")]
    NotNext,
    /// There are [`MAX_SLOTS`].
    #[error("there are too many slots now")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps slots. It reads no clock: times are arguments in Unix milliseconds.
pub trait Slots: Send + Sync + fmt::Debug + 'static {
    /// Writes a piece, counted from 0. The first begins the slot. The same piece again changes nothing and is no error: an
    /// answer was lost.
    ///
    /// # Errors
    /// [`SlotError::Unknown`] but for the first piece; [`SlotError::NotNext`], [`SlotError::Full`], [`SlotError::Store`].
    fn write(&self, slot: SlotId, number: u8, piece: Bytes, now: u64) -> Step<()>;

    /// Reads a piece. It stays.
    ///
    /// # Errors
    /// [`SlotError::Unknown`], [`SlotError::NotYet`], [`SlotError::Store`].
    fn read(&self, slot: SlotId, number: u8, now: u64) -> Step<Bytes>;

    /// Forgets slots whose time is over. Asked once a minute.
    ///
    /// # Errors
    /// [`SlotError::Store`].
    fn expire(&self, now: u64) -> Step<()>;
}

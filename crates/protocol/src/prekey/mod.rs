//! Prekeys: what a device publishes so that others can write to it while it is away (PROTOCOL.md, Prekeys).
//!
//! Identifiers of each kind are the device's own counters and never used twice: signed prekeys, one-time curve prekeys,
//! and KEM prekeys, whose one-time and last-resort keys share one counter.

mod bundle;
mod kem;
mod one_time;
mod signed;

pub use bundle::{BundleError, PrekeyBundle, VerifiedBundle};
pub use kem::{KemPrekey, KemPrekeyKind, KemPrekeySecret};
pub use one_time::{OneTimePrekey, OneTimePrekeySecret};
pub use signed::{SignedPrekey, SignedPrekeySecret};

use kuvert_types::{DecodeError, Reader};

/// Version byte at the head of every stored prekey.
const SNAPSHOT_VERSION: u8 = 1;

fn read_version(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    if reader.u8()? == SNAPSHOT_VERSION { Ok(()) } else { Err(DecodeError::Version) }
}

/// Where a device finds the secret halves of the prekeys that it published.
///
/// `Ok(None)` says that there is no such prekey, which refuses the message. An error says that the store could not look:
/// the message is neither accepted nor refused, and can be tried again.
pub trait PrekeyStore {
    /// Why the store could not look. [`Infallible`](core::convert::Infallible) for one in memory.
    type Error;

    /// The signed prekey with this number: the current one or a recent predecessor, which late first messages use.
    ///
    /// # Errors
    /// [`Self::Error`]: the store could not look.
    fn signed(&self, id: u32) -> Result<Option<SignedPrekeySecret>, Self::Error>;

    /// The one-time curve prekey with this number, unless it was used.
    ///
    /// # Errors
    /// [`Self::Error`]: the store could not look.
    fn one_time(&self, id: u32) -> Result<Option<OneTimePrekeySecret>, Self::Error>;

    /// The KEM prekey with this number and its kind: a one-time one unless it was used, or a last-resort one.
    ///
    /// # Errors
    /// [`Self::Error`]: the store could not look.
    fn kem(&self, id: u32) -> Result<Option<(KemPrekeySecret, KemPrekeyKind)>, Self::Error>;
}

//! What the relay learns, event by event.
//!
//! The service needs none of this; it exists so that people can see what an operator *could* record. Each event holds
//! exactly what the relay knows at that moment and nothing that it would have to guess. Nothing else depends on what an
//! observer does with it: observers cannot refuse, change or delay anything.
//!
//! | module | holds |
//! |---|---|
//! | [`event`] | the events |

pub mod event;

use std::fmt;

use kuvert_types::AccountId;

use crate::store::StoreError;

pub use crate::connection_number::ConnectionNumber;
pub use event::Event;

/// Sees what the relay learns.
pub trait Observer: Send + Sync + fmt::Debug {
    /// Something happened, at Unix milliseconds by the relay's clock. Returns at once.
    fn see(&self, at: u64, event: Event);

    /// Takes an account off everything that was seen up to now: events stay, and do not say any more whom they concern, nor
    /// from which address. Blocks until that is done.
    ///
    /// # Errors
    /// It could not be done.
    fn forget(&self, _account: &Forgotten) -> Result<(), StoreError> {
        Ok(())
    }

    /// Deletes what was seen before a time, Unix milliseconds. Blocks until that is done.
    ///
    /// # Errors
    /// It could not be done.
    fn purge(&self, _before: u64) -> Result<(), StoreError> {
        Ok(())
    }

    /// Finishes what was seen. Called once, when the relay stops.
    fn close(&self) {}
}

/// An account that is to be forgotten: all that it may be known by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forgotten {
    /// The account.
    pub account: AccountId,
    /// Its name.
    pub name: Option<String>,
    /// Its phone number.
    pub phone: Option<String>,
}

/// Sees nothing. Normal service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blind;

impl Observer for Blind {
    fn see(&self, _at: u64, _event: Event) {}
}

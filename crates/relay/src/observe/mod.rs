//! What the relay learns, event by event.
//!
//! The service needs none of this; it exists so that people can see what an operator *could* record. Each event holds
//! exactly what the relay knows at that moment and nothing that it would have to guess. Nothing else depends on what an
//! observer does with it: observers cannot refuse, change or delay anything.
//!
//! | module | holds |
//! |---|---|
//! | [`event`] | the events |
//! | [`database`] | an observer that writes `DATA/observe.db`; on with `--observe` |
//! | [`record`] | reading it back |

pub mod database;
pub mod event;
pub mod record;

use std::fmt;

pub use event::{ConnectionNumber, Event};
pub use record::{Observed, Record};

/// Sees what the relay learns.
pub trait Observer: Send + Sync + fmt::Debug {
    /// Something happened, at Unix milliseconds by the relay's clock. Returns at once.
    fn see(&self, at: u64, event: Event);

    /// Finishes what was seen. Called once, when the relay stops.
    fn close(&self) {}
}

/// Sees nothing. Normal service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blind;

impl Observer for Blind {
    fn see(&self, _at: u64, _event: Event) {}
}

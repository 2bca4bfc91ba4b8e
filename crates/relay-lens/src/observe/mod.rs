//! What the relay learns, written down for people to see: `DATA/observe.db`.
//!
//! | module | holds |
//! |---|---|
//! | [`database`] | an observer that writes it; on with `--observe` |
//! | [`past`] | forgetting what was written, also when nothing is written any more |
//! | [`record`] | reading it back |

pub mod database;
pub mod past;
pub mod record;

pub use database::{Database, ObserveError};
pub use past::Past;
pub use record::{Observed, Record, RecordError};

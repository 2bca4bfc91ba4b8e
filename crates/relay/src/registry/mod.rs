//! The registry: one entry for each field that the relay can store, so that what is told about data cannot go stale.
//!
//! A column without an entry is not stored: [`check()`] compares the tables of every database with the registry when the
//! relay opens it, and the relay does not start over a difference. From the same entries come the documents that tell
//! people about their data; a test compares them with the files in `docs/`.
//!
//! | module | holds |
//! |---|---|
//! | [`field`] | what an entry says |
//! | [`fields`] | the entries: database, observations, memory, configuration, log |
//! | [`items`] | the catalogue M-01 … M-47 of what a messenger's server sees, and where each item is shown |
//! | [`not_held`] | what the relay cannot tell, and the test that shows it |
//! | [`shared`] | what the demonstration shares, and what for |
//! | [`mod@check`] | the comparison at start |
//! | [`documents`] | what is written from the entries |

pub mod check;
pub mod documents;
pub mod field;
pub mod fields;
pub mod items;
pub mod not_held;
pub mod shared;

pub use check::{CheckError, Mismatch, check, check_against};
pub use field::{Field, Level, Place};

/// Every entry, in the order of places and tables.
pub fn all() -> impl Iterator<Item = &'static Field> {
    fields::ALL.iter().copied().flatten()
}

/// The entries of one place.
pub fn of(place: Place) -> impl Iterator<Item = &'static Field> {
    all().filter(move |field| field.place == place)
}

/// The entry of a column.
pub fn find(place: Place, table: &str, column: &str) -> Option<&'static Field> {
    of(place).find(|field| field.table == table && field.column == column)
}

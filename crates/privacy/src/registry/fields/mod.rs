//! The entries, one file for each place.

mod configuration;
mod database;
mod limits;
mod log;
mod memory;
mod observations;
mod people;

use super::field::Field;

/// Every entry.
pub const ALL: &[&[Field]] = &[
    database::FIELDS,
    people::DISCLOSED,
    people::RIGHTS,
    people::EXPORTS,
    people::DELETIONS,
    observations::FIELDS,
    limits::FIELDS,
    memory::FIELDS,
    configuration::FIELDS,
    log::FIELDS,
];

/// Those of them that only a relay with the demonstration fills.
pub const DEMONSTRATION: &[&[Field]] = &[people::DISCLOSED, people::EXPORTS, observations::FIELDS];

/// The rest: what every relay stores.
pub const MAIL: &[&[Field]] = &[
    database::FIELDS,
    people::RIGHTS,
    people::DELETIONS,
    limits::FIELDS,
    memory::FIELDS,
    configuration::FIELDS,
    log::FIELDS,
];

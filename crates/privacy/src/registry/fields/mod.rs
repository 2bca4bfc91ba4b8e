//! The entries, one file for each place.

mod blobs;
mod configuration;
mod database;
mod group;
mod limits;
mod log;
mod memory;
mod observations;
pub mod people;

use super::field::Field;

/// Every entry.
pub const ALL: &[&[Field]] = &[
    database::FIELDS,
    people::TOLD,
    people::ASKED,
    people::SHARING,
    people::COUNTED,
    blobs::FIELDS,
    observations::FIELDS,
    group::FIELDS,
    limits::FIELDS,
    memory::FIELDS,
    configuration::FIELDS,
    configuration::DEMONSTRATION,
    log::FIELDS,
];

/// Those of them that only a relay with the demonstration fills.
pub const DEMONSTRATION: &[&[Field]] =
    &[people::TOLD, people::SHARING, observations::FIELDS, configuration::DEMONSTRATION];

/// The rest: what every relay stores.
pub const MAIL: &[&[Field]] = &[
    database::FIELDS,
    people::ASKED,
    people::COUNTED,
    blobs::FIELDS,
    group::FIELDS,
    limits::FIELDS,
    memory::FIELDS,
    configuration::FIELDS,
    log::FIELDS,
];

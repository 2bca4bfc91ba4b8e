//! The entries, one file for each place.

mod configuration;
mod database;
mod log;
mod memory;
mod observations;
mod people;

use super::field::Field;

/// Every entry.
pub const ALL: &[&[Field]] =
    &[database::FIELDS, people::FIELDS, observations::FIELDS, memory::FIELDS, configuration::FIELDS, log::FIELDS];

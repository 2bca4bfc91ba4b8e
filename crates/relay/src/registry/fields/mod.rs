//! The entries, one file for each place.

mod configuration;
mod database;
mod log;
mod memory;
mod observations;

use super::field::Field;

/// Every entry.
pub const ALL: &[&[Field]] =
    &[database::FIELDS, observations::FIELDS, memory::FIELDS, configuration::FIELDS, log::FIELDS];

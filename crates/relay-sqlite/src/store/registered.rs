//! The comparison of a database with the registry, column by column.

use std::collections::BTreeSet;

use kuvert_privacy::registry::{self, Field, Mismatch, Place};
use rusqlite::Connection;

/// Why a comparison did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// They differ.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The tables cannot be read.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// Compares every table of a database with the entries of `place`.
///
/// # Errors
/// The first column, in alphabetical order, that one of the two does not know; or the database cannot be read.
pub fn check(place: Place, connection: &Connection) -> Result<(), CheckError> {
    check_against(registry::of(place), place, connection)
}

/// The same, where a database has these entries of `place` only: its other tables are an extension's.
///
/// # Errors
/// Those of [`check`].
pub fn check_against(
    entries: impl Iterator<Item = &'static Field>,
    place: Place,
    connection: &Connection,
) -> Result<(), CheckError> {
    Ok(registry::check_against(entries, place, &columns(connection)?)?)
}

/// Every column of every table, SQLite's own tables with content included.
fn columns(connection: &Connection) -> rusqlite::Result<BTreeSet<(String, String)>> {
    // table_xinfo also tells of generated and hidden columns.
    let mut statement = connection.prepare(
        "SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) c WHERE m.type = 'table'",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

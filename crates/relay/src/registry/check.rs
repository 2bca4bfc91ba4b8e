//! The comparison at start: what the databases can store is what the registry says.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::field::{Field, Place};

/// A database and the registry differ.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Mismatch {
    /// A column that nobody accounts for.
    #[error(
        "{place} has a column {table}.{column} that no entry of the registry accounts for: nothing is stored that is not \
         told. Remove the column, or use the program that made it"
    )]
    Unregistered {
        /// Where.
        place: Place,
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// An entry without its column.
    #[error(
        "{place} lacks the column {table}.{column} that the registry tells of: the database was changed by hand. Restore it \
         from a backup"
    )]
    Missing {
        /// Where.
        place: Place,
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
}

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
    check_against(super::of(place), place, connection)
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
    let stored = columns(connection)?;
    let told: BTreeSet<(String, String)> =
        entries.map(|field| (field.table.to_owned(), field.column.to_owned())).collect();
    if let Some((table, column)) = stored.difference(&told).next().cloned() {
        return Err(Mismatch::Unregistered { place, table, column }.into());
    }
    if let Some((table, column)) = told.difference(&stored).next().cloned() {
        return Err(Mismatch::Missing { place, table, column }.into());
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sql: &str) -> Mismatch {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(crate::observe::database::SCHEMA).unwrap();
        check(Place::Observations, &connection).unwrap();
        connection.execute_batch(sql).unwrap();
        match check(Place::Observations, &connection) {
            Err(CheckError::Mismatch(mismatch)) => mismatch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_column_or_table_without_an_entry_is_named() {
        let place = Place::Observations;
        let unregistered = |table: &str, column: &str| Mismatch::Unregistered {
            place,
            table: table.to_owned(),
            column: column.to_owned(),
        };
        assert_eq!(refused("ALTER TABLE event ADD COLUMN battery INTEGER"), unregistered("event", "battery"));
        assert_eq!(refused("CREATE TABLE place(latitude REAL)"), unregistered("place", "latitude"));
        let generated = "ALTER TABLE event ADD COLUMN prefix TEXT GENERATED ALWAYS AS (substr(phone, 1, 3))";
        assert_eq!(refused(generated), unregistered("event", "prefix"));
    }

    #[test]
    fn an_entry_without_a_column_is_named() {
        let place = Place::Observations;
        let missing = Mismatch::Missing { place, table: "event".into(), column: "phone".into() };
        assert_eq!(refused("ALTER TABLE event DROP COLUMN phone"), missing);
    }
}

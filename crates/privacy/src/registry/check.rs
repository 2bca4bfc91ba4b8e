//! The comparison at start: what a database can store is what the registry says.

use std::collections::BTreeSet;

use super::field::{Field, Place};

/// A database and the registry differ.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Mismatch {
    /// A column without an entry.
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

/// Compares the columns of a database, each as table and column, with the entries of `place`.
///
/// # Errors
/// The first column, in alphabetical order, that one of the two does not know.
pub fn check(place: Place, stored: &BTreeSet<(String, String)>) -> Result<(), Mismatch> {
    check_against(super::of(place), place, stored)
}

/// The same, where a database has these entries of `place` only: its other tables are an extension's.
///
/// # Errors
/// Those of [`check`].
pub fn check_against(
    entries: impl Iterator<Item = &'static Field>,
    place: Place,
    stored: &BTreeSet<(String, String)>,
) -> Result<(), Mismatch> {
    let told: BTreeSet<(String, String)> =
        entries.map(|field| (field.table.to_owned(), field.column.to_owned())).collect();
    if let Some((table, column)) = stored.difference(&told).next().cloned() {
        return Err(Mismatch::Unregistered { place, table, column });
    }
    if let Some((table, column)) = told.difference(stored).next().cloned() {
        return Err(Mismatch::Missing { place, table, column });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> BTreeSet<(String, String)> {
        let fields = super::super::of(Place::Observations);
        fields.map(|field| (field.table.to_owned(), field.column.to_owned())).collect()
    }

    #[test]
    fn a_column_without_an_entry_is_named() {
        let mut stored = columns();
        assert_eq!(check(Place::Observations, &stored), Ok(()));
        stored.insert(("place".to_owned(), "latitude".to_owned()));
        let (place, table, column) = (Place::Observations, "place".to_owned(), "latitude".to_owned());
        assert_eq!(check(place, &stored), Err(Mismatch::Unregistered { place, table, column }));
    }

    #[test]
    fn an_entry_without_a_column_is_named() {
        let mut stored = columns();
        let (place, table, column) = (Place::Observations, "event".to_owned(), "phone".to_owned());
        assert!(stored.remove(&(table.clone(), column.clone())));
        assert_eq!(check(place, &stored), Err(Mismatch::Missing { place, table, column }));
    }
}

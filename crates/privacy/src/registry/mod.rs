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
//! | [`mod@check`] | the comparison at start |
//! | [`documents`] | what is written from the entries |

pub mod check;
pub mod documents;
pub mod field;
pub mod fields;
pub mod items;
pub mod not_held;

pub use check::{Mismatch, check, check_against};
pub use field::{Field, Level, Place};

/// Every entry, in the order of places and tables.
pub fn all() -> impl Iterator<Item = &'static Field> {
    fields::ALL.iter().copied().flatten()
}

/// Whose data are told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Those of a relay that offers mail and nothing beyond: `kuvert-relay`.
    Mail,
    /// Those of a relay with the demonstration, too: `kuvert-relay-lens`.
    All,
}

impl Scope {
    /// Its entries, in the order of places and tables.
    pub fn fields(self) -> impl Iterator<Item = &'static Field> {
        let lists = match self {
            Self::Mail => fields::MAIL,
            Self::All => fields::ALL,
        };
        lists.iter().copied().flatten()
    }

    /// Those of one place.
    pub fn of(self, place: Place) -> impl Iterator<Item = &'static Field> {
        self.fields().filter(move |field| field.place == place)
    }
}

/// The entries of what every relay stores.
pub fn mail() -> impl Iterator<Item = &'static Field> {
    Scope::Mail.fields()
}

/// The entries of what only a relay with the demonstration stores.
pub fn demonstration() -> impl Iterator<Item = &'static Field> {
    fields::DEMONSTRATION.iter().copied().flatten()
}

/// The entries of one place.
pub fn of(place: Place) -> impl Iterator<Item = &'static Field> {
    all().filter(move |field| field.place == place)
}

/// The entry of a column.
pub fn find(place: Place, table: &str, column: &str) -> Option<&'static Field> {
    of(place).find(|field| field.table == table && field.column == column)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn mail_and_demonstration_are_all_of_it_and_nothing_stands_in_both() {
        let names = |fields: Vec<&Field>| fields.iter().map(|f| format!("{} {}", f.place, f.name())).collect();
        let [all, mail, shown]: [BTreeSet<String>; 3] =
            [all().collect(), mail().collect(), demonstration().collect()].map(names);
        assert!(mail.is_disjoint(&shown));
        assert_eq!(mail.union(&shown).cloned().collect::<BTreeSet<String>>(), all);
    }
}

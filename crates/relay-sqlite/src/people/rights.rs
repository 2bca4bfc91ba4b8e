//! Deleting what belongs to an account. What others hold about it is theirs and stays: a number in another account's address book
//! is a shadow row before the account was made, and again when it is gone.

use kuvert_relay::mailbox::MS_PER_DAY;
use kuvert_types::AccountId;
use rusqlite::Transaction;

/// The relay's own tables whose rows belong to an account, and the column that says to which one. A test compares them with
/// the registry.
pub const OWNED: &[(&str, &str)] = &[("report_request", "account")];

/// Deletes the rows of an account, and takes it off the incidents.
///
/// # Errors
/// What SQLite says.
pub fn delete(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<()> {
    for (table, column) in OWNED {
        tx.prepare_cached(&format!("DELETE FROM {table} WHERE {column} = ?1"))?.execute([account.as_bytes()])?;
    }
    tx.execute("UPDATE incident SET account = NULL WHERE account = ?1", [account.as_bytes()]).map(drop)
}

/// Counts an account that was deleted at this time (Unix milliseconds): the day, and nothing else.
///
/// # Errors
/// What SQLite says.
pub fn count_deletion(tx: &Transaction<'_>, at: u64) -> rusqlite::Result<()> {
    let day = i64::try_from(at / MS_PER_DAY).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT INTO deletion(day, accounts) VALUES(?1, 1) ON CONFLICT(day) DO UPDATE SET accounts = accounts + 1",
        [day],
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kuvert_privacy::registry::field::Deletion;
    use kuvert_privacy::registry::fields::people::RIGHTS;
    use kuvert_privacy::registry::{self, Place};

    use super::*;
    use crate::people::{People, incidents, reports};

    #[test]
    fn every_table_that_goes_with_an_account_is_known() {
        let owned: BTreeSet<&str> = OWNED.iter().map(|(table, _)| *table).collect();
        let fields = RIGHTS.iter().copied().flatten();
        let goes = fields.filter(|field| matches!(field.deletion, Deletion::Account | Deletion::AccountOrPurge));
        assert_eq!(owned, goes.map(|field| field.table).collect());
        for (table, column) in OWNED {
            assert!(registry::find(Place::People, table, column).is_some(), "{table}.{column}");
        }
    }

    #[test]
    fn an_account_goes_with_its_rows_and_leaves_those_of_others() {
        let people = People::in_memory(None).unwrap();
        let [alice, bob] = [1, 2].map(|n| AccountId::from_bytes([n; 16]));
        for account in [&alice, &bob] {
            people.transact(|tx| reports::ask(tx, account, 5, 7)).unwrap();
            let incident = [(*account, kuvert_relay::incidents::Kind::Lookups, 2)];
            people.transact(|tx| incidents::write(tx, 60_000, &incident)).unwrap();
        }
        people
            .transact(|tx| {
                delete(tx, &alice)?;
                count_deletion(tx, 3 * MS_PER_DAY + 5)?;
                count_deletion(tx, 4 * MS_PER_DAY - 1)
            })
            .unwrap();
        let asked = |account: &AccountId| people.transact(|tx| reports::find(tx, account, 6)).unwrap().is_some();
        assert_eq!((asked(&alice), asked(&bob)), (false, true));
        let count = |sql: &str| people.transact(|tx| tx.query_row(sql, [], |row| row.get::<_, i64>(0))).unwrap();
        assert_eq!(count("SELECT count(*) FROM incident"), 2);
        assert_eq!(count("SELECT count(*) FROM incident WHERE account IS NULL"), 1, "taken off, and counted still");
        let counted = people.transact(|tx| {
            tx.query_row("SELECT day, accounts FROM deletion", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
        });
        assert_eq!(counted, Ok((3, 2)));
    }
}

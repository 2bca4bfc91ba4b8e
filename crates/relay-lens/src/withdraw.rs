//! Taking back all that an account told, and deleting it with the account. What others hold about it is theirs and stays: a
//! number in another account's address book is a shadow row before the account was made, and again when it is gone.

use std::collections::BTreeSet;

use kuvert_types::AccountId;
use rusqlite::Transaction;

use super::tables::TABLES;
use kuvert_relay::store::StoreError;
use kuvert_relay_sqlite::people::People;

/// What an account told, and the column that says which account it was.
const TOLD: &[(&str, &str)] = &[
    ("phone", "account"),
    ("phone_code", "account"),
    ("profile", "account"),
    ("address_book", "owner"),
    ("device_details", "account"),
    ("simulated_detail", "account"),
];

/// What else belongs to it: what it accepted, and which exports told about it.
const NOTED: &[(&str, &str)] = &[("consent", "account"), ("shared_account", "account")];

/// Deletes what an account told about itself and others. What others told about it is theirs, and stays.
///
/// # Errors
/// SQLite's.
pub fn all(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<()> {
    delete(tx, account, TOLD)
}

/// Deletes every row of an account that is about to be deleted.
///
/// # Errors
/// SQLite's.
pub fn account(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<()> {
    delete(tx, account, TOLD)?;
    delete(tx, account, NOTED)
}

/// Deletes every row of the extension, of all accounts, and says how many there were.
///
/// # Errors
/// Those of the store.
pub fn everything(people: &People) -> Result<usize, StoreError> {
    let tables: BTreeSet<&str> = TABLES.fields.iter().copied().flatten().map(|field| field.table).collect();
    people.erase(|tx| {
        tables.iter().try_fold(0, |rows, table| Ok(rows + tx.execute(&format!("DELETE FROM {table}"), [])?))
    })
}

fn delete(tx: &Transaction<'_>, account: &AccountId, tables: &[(&str, &str)]) -> rusqlite::Result<()> {
    for (table, column) in tables {
        tx.prepare_cached(&format!("DELETE FROM {table} WHERE {column} = ?1"))?.execute([account.as_bytes()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kuvert_privacy::registry::field::{Deletion, Retention};
    use kuvert_privacy::registry::fields::people::DISCLOSURES;
    use kuvert_privacy::registry::{self, Field, Place};
    use kuvert_relay::mailbox::MS_PER_DAY;
    use kuvert_relay_sqlite::people::{PEOPLE_FILE, rights};

    #[test]
    fn every_table_that_goes_with_an_account_is_known() {
        let owned: BTreeSet<&str> = TOLD.iter().chain(NOTED).map(|(table, _)| *table).collect();
        let goes = |field: &&Field| {
            matches!(field.deletion, Deletion::Account | Deletion::AccountOrPurge)
                || matches!(field.retention, Retention::UntilUsed { .. })
        };
        let personal = DISCLOSURES.iter().copied().flatten().filter(goes);
        assert_eq!(owned, personal.map(|field| field.table).collect());
        for (table, column) in TOLD.iter().chain(NOTED) {
            assert!(registry::find(Place::People, table, column).is_some(), "{table}.{column}");
        }
    }

    #[test]
    fn a_large_address_book_leaves_no_bytes() {
        const OWNERS: u8 = 12;
        let folder = tempfile::tempdir().unwrap();
        let people = People::open(folder.path(), Some(&TABLES)).unwrap();
        let owner = |n: u8| AccountId::from_bytes([n.wrapping_mul(97); 16]);
        let marker = |n: u8| format!("marker-of-owner-{n:03}-in-every-entry");
        // Books grow beside each other: their rows share pages that are split and merged.
        for piece in 0..40_u32 {
            for n in 0..OWNERS {
                let insert = |tx: &Transaction<'_>| {
                    for entry in 0..25_u32 {
                        let number = (u64::from(piece) * 25 + u64::from(entry)) * 7_919 % 1_000_000;
                        tx.execute(
                            "INSERT OR REPLACE INTO address_book(owner, phone, name, uploaded_at) VALUES(?1, ?2, ?3, 1)",
                            (owner(n).as_bytes(), format!("+49155{number:06}"), marker(n)),
                        )?;
                    }
                    Ok(())
                };
                people.transact(insert).unwrap();
            }
        }
        let bytes = || std::fs::read(folder.path().join(PEOPLE_FILE)).unwrap();
        let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds(&bytes(), &marker(5)));
        for n in (0..OWNERS).map(|n| n * 5 % OWNERS) {
            people.transact(|tx| account(tx, &owner(n))).unwrap();
            assert!(!holds(&bytes(), &marker(n)), "owner {n}");
        }
    }

    #[test]
    fn an_account_goes_with_its_rows_and_leaves_those_of_others() {
        let people = People::in_memory(Some(&TABLES)).unwrap();
        let [alice, bob] = [1, 2].map(|n| AccountId::from_bytes([n; 16]));
        let count = |table: &str, column: &str, account: &AccountId| {
            let sql = format!("SELECT count(*) FROM {table} WHERE {column} = ?1");
            people.transact(|tx| tx.query_row(&sql, [account.as_bytes()], |row| row.get::<_, i64>(0))).unwrap()
        };
        for (account, number) in [(&alice, "+4915550000001"), (&bob, "+4915550000002")] {
            people
                .transact(|tx| {
                    tx.execute("INSERT INTO phone VALUES(?1, ?2, 1)", (account.as_bytes(), number))?;
                    tx.execute("INSERT INTO profile(account, about) VALUES(?1, 'here')", [account.as_bytes()])?;
                    // Each has the other's number.
                    for other in ["+4915550000001", "+4915550000002"] {
                        let sql = "INSERT INTO address_book(owner, phone, uploaded_at) VALUES(?1, ?2, 1)";
                        tx.execute(sql, (account.as_bytes(), other))?;
                    }
                    Ok(())
                })
                .unwrap();
        }
        people
            .transact(|tx| {
                account(tx, &alice)?;
                rights::delete(tx, &alice)?;
                rights::count_deletion(tx, 3 * MS_PER_DAY + 5)?;
                rights::count_deletion(tx, 4 * MS_PER_DAY - 1)
            })
            .unwrap();
        for (table, column) in TOLD.iter().chain(NOTED) {
            assert_eq!(count(table, column, &alice), 0, "{table}");
        }
        assert_eq!((count("phone", "account", &bob), count("address_book", "owner", &bob)), (1, 2));
        let counted = people.transact(|tx| {
            tx.query_row("SELECT day, accounts FROM deletion", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
        });
        assert_eq!(counted, Ok((3, 2)));
    }
}

//! Deleting what belongs to an account. What others hold about it is theirs and stays: a number in somebody's address book
//! is a shadow row before the account was made, and again when it is gone.

use kuvert_types::AccountId;
use rusqlite::Transaction;

use crate::mailbox::MS_PER_DAY;

/// The tables whose rows belong to an account, and the column that says to which one. A test compares them with the
/// registry.
pub const OWNED: &[(&str, &str)] = &[
    ("phone", "account"),
    ("phone_code", "account"),
    ("profile", "account"),
    ("address_book", "owner"),
    ("device_details", "account"),
    ("simulated_detail", "account"),
    ("consent", "account"),
    ("report_request", "account"),
    ("shared_account", "account"),
];

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

    use super::*;
    use crate::people::People;
    use kuvert_privacy::registry::field::{Deletion, Retention};
    use kuvert_privacy::registry::{self, Field, Place};

    #[test]
    fn every_table_that_goes_with_an_account_is_known() {
        let owned: BTreeSet<&str> = OWNED.iter().map(|(table, _)| *table).collect();
        let goes = |field: &&Field| {
            matches!(field.deletion, Deletion::Account | Deletion::AccountOrPurge)
                || matches!(field.retention, Retention::UntilUsed { .. })
        };
        let personal = registry::of(Place::People).filter(goes);
        assert_eq!(owned, personal.map(|field| field.table).collect());
        for (table, column) in OWNED {
            assert!(registry::find(Place::People, table, column).is_some(), "{table}.{column}");
        }
    }

    #[test]
    fn a_large_address_book_leaves_no_bytes() {
        const OWNERS: u8 = 12;
        let folder = tempfile::tempdir().unwrap();
        let people = People::open(folder.path()).unwrap();
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
        let bytes = || std::fs::read(folder.path().join(crate::people::PEOPLE_FILE)).unwrap();
        let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds(&bytes(), &marker(5)));
        for n in (0..OWNERS).map(|n| n * 5 % OWNERS) {
            people.transact(|tx| delete(tx, &owner(n))).unwrap();
            assert!(!holds(&bytes(), &marker(n)), "owner {n}");
        }
    }

    #[test]
    fn an_account_goes_with_its_rows_and_leaves_those_of_others() {
        let people = People::in_memory().unwrap();
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
                delete(tx, &alice)?;
                count_deletion(tx, 3 * MS_PER_DAY + 5)?;
                count_deletion(tx, 4 * MS_PER_DAY - 1)
            })
            .unwrap();
        for (table, column) in OWNED {
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

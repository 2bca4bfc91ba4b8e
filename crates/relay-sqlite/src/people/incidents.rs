//! The rows on limits that accounts ran into.

use kuvert_relay::incidents::Incident;
use rusqlite::Transaction;

/// Writes down what was counted.
///
/// # Errors
/// What SQLite says.
pub fn write(tx: &Transaction<'_>, at: u64, incidents: &[Incident]) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached("INSERT INTO incident(at, kind, account, count) VALUES(?1, ?2, ?3, ?4)")?;
    for (account, kind, count) in incidents {
        insert.execute((signed(at), kind.words(), account.as_bytes(), signed(*count)))?;
    }
    Ok(())
}

/// Deletes those from before a time.
///
/// # Errors
/// What SQLite says.
pub fn purge(tx: &Transaction<'_>, before: u64) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM incident WHERE at < ?1", [signed(before)]).map(drop)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use kuvert_relay::incidents::Kind;
    use kuvert_types::AccountId;

    use super::*;
    use crate::people::{People, rights};

    const ALICE: AccountId = AccountId::from_bytes([1; 16]);
    const BOB: AccountId = AccountId::from_bytes([2; 16]);

    #[test]
    fn incidents_are_written_and_lose_the_name_of_who_is_deleted() {
        let people = People::in_memory(None).unwrap();
        let taken = [(ALICE, Kind::Lookups, 2), (BOB, Kind::Lookups, 1), (BOB, Kind::Bundles, 1)];
        people.transact(|tx| write(tx, 5, &taken)).unwrap();
        people.transact(|tx| rights::delete(tx, &ALICE)).unwrap();
        let count = |condition: &str| {
            let sql = format!("SELECT count(*) FROM incident WHERE {condition}");
            people.transact(|tx| tx.query_row(&sql, [], |row| row.get::<_, i64>(0))).unwrap()
        };
        assert_eq!((count("account IS NULL AND count = 2"), count("account IS NOT NULL")), (1, 2));
        people.transact(|tx| purge(tx, 5)).unwrap();
        assert_eq!(count("true"), 3);
        people.transact(|tx| purge(tx, 6)).unwrap();
        assert_eq!(count("true"), 0);
    }
}

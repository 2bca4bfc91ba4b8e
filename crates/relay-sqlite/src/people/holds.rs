//! Legal holds: an account under one is deleted for all others as any other, and its report is kept until the operator
//! releases the hold.

use kuvert_relay::admin::Hold;
use kuvert_types::AccountId;
use rusqlite::{OptionalExtension, Transaction};

use super::column::{account_at, readable};

/// Puts an account under a hold, or gives the hold another reason.
///
/// # Errors
/// What SQLite says.
pub fn add(tx: &Transaction<'_>, account: &AccountId, reason: &str, now: u64) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO hold(account, reason, since) VALUES(?1, ?2, ?3) ON CONFLICT(account) DO UPDATE SET reason = ?2",
        (account.as_bytes(), reason, signed(now)),
    )
    .map(drop)
}

/// All holds, those of accounts that exist first.
///
/// # Errors
/// What SQLite says.
pub fn list(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Hold>> {
    let mut select = tx.prepare(
        "SELECT account, reason, since, NULL FROM hold UNION ALL
            SELECT account, reason, taken_at, length(report) FROM held",
    )?;
    readable("hold, held", &mut select, |row| {
        Ok(Hold {
            account: account_at(row, 0)?,
            reason: row.get(1)?,
            at: row.get::<_, i64>(2)?.unsigned_abs(),
            held: row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
        })
    })
}

/// Whether an account is under a hold.
///
/// # Errors
/// What SQLite says.
pub fn is_held(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM hold WHERE account = ?1")?.exists([account.as_bytes()])
}

/// Keeps the report of an account under a hold, which is about to be deleted. Without a hold nothing happens.
///
/// # Errors
/// What SQLite says.
pub fn keep(tx: &Transaction<'_>, account: &AccountId, report: &[u8], now: u64) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO held(account, taken_at, reason, report)
            SELECT account, ?2, reason, ?3 FROM hold WHERE account = ?1",
        (account.as_bytes(), signed(now), report),
    )?;
    tx.execute("DELETE FROM hold WHERE account = ?1", [account.as_bytes()]).map(drop)
}

/// The report that is kept of a deleted account.
///
/// # Errors
/// What SQLite says.
pub fn report(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<Option<Vec<u8>>> {
    tx.query_row("SELECT report FROM held WHERE account = ?1", [account.as_bytes()], |row| row.get(0)).optional()
}

/// Ends a hold, and deletes what was kept under it. Says whether there was one.
///
/// # Errors
/// What SQLite says.
pub fn release(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<bool> {
    let mut deleted = 0;
    for table in ["hold", "held"] {
        deleted += tx.execute(&format!("DELETE FROM {table} WHERE account = ?1"), [account.as_bytes()])?;
    }
    Ok(deleted > 0)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::People;

    #[test]
    fn a_hold_keeps_the_report_until_it_is_released() {
        let people = People::in_memory(None).unwrap();
        let [alice, bob] = [1, 2].map(|n| AccountId::from_bytes([n; 16]));
        let list = || people.transact(list).unwrap();
        people.transact(|tx| add(tx, &alice, "case 1", 5)).unwrap();
        people.transact(|tx| add(tx, &alice, "case 2", 6)).unwrap();
        let hold = Hold { account: alice, reason: "case 2".into(), at: 5, held: None };
        assert_eq!(list().first(), Some(&hold));
        for account in [&alice, &bob] {
            people.transact(|tx| keep(tx, account, b"report", 9)).unwrap();
        }
        assert_eq!(list(), [Hold { at: 9, held: Some(6), ..hold }], "nothing is kept of Bob");
        assert_eq!(people.transact(|tx| report(tx, &alice)).unwrap().unwrap(), b"report");
        assert_eq!(people.transact(|tx| is_held(tx, &alice)), Ok(false), "somebody new with this id is not held");
        assert_eq!(people.transact(|tx| release(tx, &alice)), Ok(true));
        assert_eq!(people.transact(|tx| release(tx, &alice)), Ok(false));
        assert!(list().is_empty());
    }
}

//! What the demonstration's exports tell, and the ledger of them: each run is written down, and every account's report
//! lists those that told about it.

use kuvert_types::AccountId;
use rusqlite::{OptionalExtension as _, Transaction};

/// Writes an export down.
///
/// # Errors
/// What SQLite says.
pub fn note(
    tx: &Transaction<'_>,
    at: u64,
    what: &str,
    recipient: &str,
    accounts: &[AccountId],
) -> rusqlite::Result<()> {
    let id: i64 = tx.query_row(
        "INSERT INTO shared(at, what, recipient, accounts) VALUES(?1, ?2, ?3, ?4) RETURNING id",
        (signed(at), what, recipient, signed(accounts.len() as u64)),
        |row| row.get(0),
    )?;
    let mut insert = tx.prepare("INSERT OR IGNORE INTO shared_account(account, shared) VALUES(?1, ?2)")?;
    accounts.iter().try_for_each(|account| insert.execute((account.as_bytes(), id)).map(drop))
}

/// The verified numbers, each with its account.
///
/// # Errors
/// What SQLite says.
pub fn verified_numbers(tx: &Transaction<'_>) -> rusqlite::Result<Vec<(AccountId, String)>> {
    let mut select = tx.prepare("SELECT account, number FROM phone ORDER BY account")?;
    select.query_map([], |row| Ok((AccountId::from_bytes(row.get(0)?), row.get(1)?)))?.collect()
}

/// The account that verified a number.
///
/// # Errors
/// What SQLite says.
pub fn account_of(tx: &Transaction<'_>, number: &str) -> rusqlite::Result<Option<AccountId>> {
    let sql = "SELECT account FROM phone WHERE number = ?1";
    tx.query_row(sql, [number], |row| row.get(0).map(AccountId::from_bytes)).optional()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

//! The ledger of consents: which version of the demonstration's terms an account accepted, when, and what became of it.

use kuvert_types::AccountId;
use rusqlite::{Row, Transaction};

use super::policy::Consent;

/// The consents of an account, in the order of acceptance.
///
/// # Errors
/// What SQLite says.
pub fn ledger(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<Vec<Consent>> {
    let mut select = tx.prepare_cached(
        "SELECT version, accepted_at, advertising, objected_at FROM consent WHERE account = ?1
            ORDER BY accepted_at, version",
    )?;
    select.query_map([account.as_bytes()], consent)?.collect()
}

fn consent(row: &Row<'_>) -> rusqlite::Result<Consent> {
    Ok(Consent {
        version: row.get(0)?,
        accepted_at: row.get::<_, i64>(1)?.unsigned_abs(),
        advertising: row.get(2)?,
        objected_at: row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
    })
}

/// Writes a consent down, or what became of one.
///
/// # Errors
/// What SQLite says.
pub fn put(tx: &Transaction<'_>, account: &AccountId, consent: &Consent) -> rusqlite::Result<()> {
    let time = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT OR REPLACE INTO consent(account, version, accepted_at, advertising, objected_at)
            VALUES(?1, ?2, ?3, ?4, ?5)",
        (
            account.as_bytes(),
            &consent.version,
            time(consent.accepted_at),
            consent.advertising,
            consent.objected_at.map(time),
        ),
    )
    .map(drop)
}

//! What the relay's own tables hold, to look at.

use kuvert_relay::admin::Rights;
use kuvert_relay::data_rights::ReportRequest;
use rusqlite::{Row, Transaction};

use super::column::account_at;
use super::holds;

/// All of that.
///
/// # Errors
/// What SQLite says.
pub fn rights(tx: &Transaction<'_>) -> rusqlite::Result<Rights> {
    let number = |row: &Row<'_>, column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    let requests = "SELECT account, requested_at, ready_at, kept_until, report IS NOT NULL FROM report_request
                     ORDER BY requested_at";
    let request = |row: &Row<'_>| {
        let (requested_at, ready_at, kept_until) = (number(row, 1)?, number(row, 2)?, number(row, 3)?);
        Ok((account_at(row, 0)?, ReportRequest { requested_at, ready_at, kept_until, made: row.get(4)? }))
    };
    Ok(Rights {
        requests: tx.prepare(requests)?.query_map([], request)?.collect::<rusqlite::Result<_>>()?,
        deletions: tx
            .prepare("SELECT day, accounts FROM deletion ORDER BY day")?
            .query_map([], |row| Ok((number(row, 0)?, number(row, 1)?)))?
            .collect::<rusqlite::Result<_>>()?,
        incidents: tx.query_row("SELECT count(*) FROM incident", [], |row| number(row, 0))?,
        holds: holds::list(tx)?,
    })
}

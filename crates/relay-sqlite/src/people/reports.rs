//! Reports that accounts asked for: when they are ready, and the bytes while they are fetched.

use kuvert_privacy::retention::REPORT_KEPT_DAYS;
use kuvert_relay::data_rights::ReportRequest;
use kuvert_relay::mailbox::MS_PER_DAY;
use kuvert_types::AccountId;
use rusqlite::{OptionalExtension, Transaction};

/// The request of an account, unless its time is over.
///
/// # Errors
/// What SQLite says.
pub fn find(tx: &Transaction<'_>, account: &AccountId, now: u64) -> rusqlite::Result<Option<ReportRequest>> {
    let sql = "SELECT requested_at, ready_at, kept_until, report IS NOT NULL FROM report_request WHERE account = ?1";
    let found = tx.query_row(sql, [account.as_bytes()], |row| {
        let time = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(ReportRequest { requested_at: time(0)?, ready_at: time(1)?, kept_until: time(2)?, made: row.get(3)? })
    });
    Ok(found.optional()?.filter(|request| request.kept_until > now))
}

/// Asks for a report. One that was asked for before and is not made yet stays as it is: no account gets to the end of the delay
/// sooner, or never, by asking again.
///
/// # Errors
/// What SQLite says.
pub fn ask(tx: &Transaction<'_>, account: &AccountId, now: u64, delay_ms: u64) -> rusqlite::Result<ReportRequest> {
    if let Some(request) = find(tx, account, now)?.filter(|request| !request.made) {
        return Ok(request);
    }
    let ready_at = now + delay_ms;
    let request = ReportRequest {
        requested_at: now,
        ready_at,
        kept_until: ready_at + u64::from(REPORT_KEPT_DAYS) * MS_PER_DAY,
        made: false,
    };
    tx.execute(
        "INSERT OR REPLACE INTO report_request(account, requested_at, ready_at, kept_until) VALUES(?1, ?2, ?3, ?4)",
        (account.as_bytes(), signed(request.requested_at), signed(request.ready_at), signed(request.kept_until)),
    )?;
    Ok(request)
}

/// Keeps a report that was made.
///
/// # Errors
/// What SQLite says.
pub fn keep(tx: &Transaction<'_>, account: &AccountId, report: &[u8]) -> rusqlite::Result<()> {
    tx.execute("UPDATE report_request SET report = ?2 WHERE account = ?1", (account.as_bytes(), report)).map(drop)
}

/// A piece of a report that was made, and the length of the whole.
///
/// # Errors
/// What SQLite says.
pub fn piece(
    tx: &Transaction<'_>,
    account: &AccountId,
    offset: u64,
    length: usize,
) -> rusqlite::Result<Option<(u64, Vec<u8>)>> {
    let sql = "SELECT length(report), substr(report, ?2, ?3) FROM report_request
                WHERE account = ?1 AND report IS NOT NULL";
    // SQLite counts bytes from 1.
    let from = signed(offset).saturating_add(1);
    tx.query_row(sql, (account.as_bytes(), from, signed(length as u64)), |row| {
        Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
    })
    .optional()
}

/// Deletes what is kept no longer.
///
/// # Errors
/// What SQLite says.
pub fn purge(tx: &Transaction<'_>, now: u64) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM report_request WHERE kept_until <= ?1", [signed(now)]).map(drop)
}

/// SQLite's integers are signed. Times are far below the limit.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::People;

    const ALICE: AccountId = AccountId::from_bytes([1; 16]);
    const DELAY: u64 = 3 * MS_PER_DAY;

    #[test]
    fn asking_again_changes_nothing_until_the_report_is_made() {
        let people = People::in_memory(None).unwrap();
        let ask = |now| people.transact(|tx| ask(tx, &ALICE, now, DELAY)).unwrap();
        let find = |now| people.transact(|tx| find(tx, &ALICE, now)).unwrap();
        let first = ask(10);
        assert_eq!((first.ready_at, first.kept_until), (10 + DELAY, 10 + DELAY + 7 * MS_PER_DAY));
        assert_eq!(ask(10 + DELAY), first);
        people.transact(|tx| keep(tx, &ALICE, b"report")).unwrap();
        assert!(find(10 + DELAY).unwrap().made);
        let second = ask(11 + DELAY);
        assert_eq!((second.requested_at, second.made), (11 + DELAY, false), "a new one");
        // To the millisecond.
        assert_eq!(find(second.kept_until - 1), Some(second));
        assert_eq!(find(second.kept_until), None);
        people.transact(|tx| purge(tx, second.kept_until - 1)).unwrap();
        assert!(find(0).is_some());
        people.transact(|tx| purge(tx, second.kept_until)).unwrap();
        assert!(find(0).is_none());
    }

    #[test]
    fn pieces_make_the_whole() {
        let people = People::in_memory(None).unwrap();
        let report: Vec<u8> = (0..=255).collect();
        people.transact(|tx| ask(tx, &ALICE, 0, 0)).unwrap();
        let piece = |offset| people.transact(|tx| piece(tx, &ALICE, offset, 100)).unwrap();
        assert_eq!(piece(0), None);
        people.transact(|tx| keep(tx, &ALICE, &report)).unwrap();
        let pieces: Vec<_> = [0, 100, 200, 256, u64::MAX].map(|offset| piece(offset).unwrap()).into();
        assert!(pieces.iter().all(|(total, _)| *total == 256));
        assert_eq!(pieces.into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<u8>>(), report);
    }
}

//! What the relay's own tables hold, to look at.

use kuvert_relay::admin::Rights;
use kuvert_relay::data_rights::ReportRequest;
use rusqlite::{Row, Transaction};

use super::column::{account_at, readable};
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
    let deletions = "SELECT day, accounts FROM deletion ORDER BY day";
    Ok(Rights {
        requests: readable("report_request", &mut tx.prepare(requests)?, request)?,
        deletions: readable("deletion", &mut tx.prepare(deletions)?, |row| Ok((number(row, 0)?, number(row, 1)?)))?,
        incidents: tx.query_row("SELECT count(*) FROM incident", [], |row| number(row, 0))?,
        holds: holds::list(tx)?,
    })
}

#[cfg(test)]
mod tests {
    use kuvert_types::AccountId;

    use super::*;
    use crate::people::{People, reports};

    #[test]
    fn a_row_that_cannot_be_read_hides_no_other_and_costs_its_account_alone() {
        let people = People::in_memory(None).unwrap();
        let [alice, bob] = [1, 2].map(|n| AccountId::from_bytes([n; 16]));
        for account in [&alice, &bob] {
            people.transact(|tx| reports::ask(tx, account, 5, 7)).unwrap();
            people.transact(|tx| holds::add(tx, account, "case", 6)).unwrap();
        }
        people
            .transact(|tx| {
                tx.execute("UPDATE report_request SET account = x'01' WHERE account = ?1", [alice.as_bytes()])?;
                tx.execute("UPDATE hold SET account = x'0102' WHERE account = ?1", [alice.as_bytes()])
            })
            .unwrap();
        let seen = people.transact(rights).unwrap();
        assert_eq!(seen.requests.iter().map(|(account, _)| *account).collect::<Vec<_>>(), [bob]);
        assert_eq!(seen.holds.iter().map(|hold| hold.account).collect::<Vec<_>>(), [bob]);
        let asked = |account: &AccountId| people.transact(|tx| reports::find(tx, account, 6)).unwrap().is_some();
        assert_eq!((asked(&alice), asked(&bob)), (false, true));
        // Whose time is over goes, readable or not.
        people.transact(|tx| reports::purge(tx, u64::MAX)).unwrap();
        let left = |tx: &Transaction<'_>| tx.query_row("SELECT count(*) FROM report_request", [], |row| row.get(0));
        assert_eq!(people.transact(left), Ok(0_i64));
    }
}

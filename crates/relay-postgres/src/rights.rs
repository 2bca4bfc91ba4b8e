//! What accounts have a right to: reports, holds, deletion, and the limits that they ran into.

use kuvert_privacy::retention::REPORT_KEPT_DAYS;
use kuvert_relay::admin::{Hold, Rights};
use kuvert_relay::data_rights::{DataRights, ReportRequest};
use kuvert_relay::incidents::Incident;
use kuvert_relay::mailbox::MS_PER_DAY;
use kuvert_relay::store::{Cursor, Pending, StoreError};
use kuvert_types::AccountId;
use prost::Message as _;
use tokio_postgres::Row;

use crate::groups::Groups;
use crate::link::{Lent, Link};
use crate::outcome::Fault;
use crate::report;
use crate::store::column::{account, bytes, get, readable, signed, unsigned};
use crate::threads::Spawn;

/// [`DataRights`] in the store's own tables.
#[derive(Clone, Debug)]
pub struct PostgresRights {
    groups: Groups,
    spawn: Spawn,
    retention_days: u32,
}

impl PostgresRights {
    pub(crate) const fn new(groups: Groups, spawn: Spawn, retention_days: u32) -> Self {
        Self { groups, spawn, retention_days }
    }

    /// Does something on a connection to the first group. `Err` of the work itself is a row that is damaged.
    fn run<T, F>(&self, work: impl FnOnce(Lent) -> F + Send + 'static) -> Pending<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<Result<T, StoreError>, Fault>> + Send,
    {
        let pool = self.groups.home().pool.clone();
        self.spawn.pending(async move {
            let link = pool.lend().await.map_err(|fault| fault.reading())?;
            work(link).await.map_err(|fault| fault.store_error())?
        })
    }
}

fn id(account: &AccountId) -> &[u8] {
    account.as_bytes()
}

/// The request of an account, unless its time is over.
async fn find(link: &Link, of: &AccountId, now: u64) -> Result<Result<Option<ReportRequest>, StoreError>, Fault> {
    let sql = "SELECT requested_at, ready_at, kept_until, report IS NOT NULL FROM report_request
        WHERE account = $1 AND kept_until > $2 FOR UPDATE";
    let row = link.query_opt(sql, &[&id(of), &signed(now)]).await?;
    Ok(row.map(|row| request(&row, 0)).transpose())
}

fn request(row: &Row, first: usize) -> Result<ReportRequest, StoreError> {
    Ok(ReportRequest {
        requested_at: unsigned(row, first)?,
        ready_at: unsigned(row, first + 1)?,
        kept_until: unsigned(row, first + 2)?,
        made: get(row, first + 3)?,
    })
}

impl DataRights for PostgresRights {
    fn ask_for_report(&self, account: AccountId, now: u64, delay_ms: u64) -> Pending<ReportRequest, StoreError> {
        self.run(move |link| async move {
            link.begin().await?;
            let found = match find(&link, &account, now).await? {
                Ok(found) => found,
                Err(error) => return Ok(Err(error)),
            };
            if let Some(request) = found.filter(|request| !request.made) {
                link.commit().await?;
                return Ok(Ok(request));
            }
            let ready_at = now.saturating_add(delay_ms);
            let kept_until = ready_at.saturating_add(u64::from(REPORT_KEPT_DAYS) * MS_PER_DAY);
            let sql = "INSERT INTO report_request(account, requested_at, ready_at, kept_until) VALUES ($1, $2, $3, $4)
                ON CONFLICT (account) DO UPDATE SET requested_at = excluded.requested_at, ready_at = excluded.ready_at,
                    kept_until = excluded.kept_until, report = NULL";
            link.execute(sql, &[&id(&account), &signed(now), &signed(ready_at), &signed(kept_until)]).await?;
            link.commit().await?;
            Ok(Ok(ReportRequest { requested_at: now, ready_at, kept_until, made: false }))
        })
    }

    fn report_request(&self, account: AccountId, now: u64) -> Pending<Option<ReportRequest>, StoreError> {
        self.run(move |link| async move { find(&link, &account, now).await })
    }

    fn make_report(&self, account: AccountId, mail: Vec<Cursor>, now: u64) -> Pending<Vec<u8>, StoreError> {
        // Mailboxes have an index here: it is found without being told where it is.
        drop(mail);
        let (retention_days, groups) = (self.retention_days, self.groups.clone());
        self.run(move |link| async move {
            let report = report::gather(&groups, &link, &account, retention_days, now).await?;
            Ok(report.map(|report| report.encode_to_vec()))
        })
    }

    fn keep_report(&self, account: AccountId, report: Vec<u8>) -> Pending<(), StoreError> {
        self.run(move |link| async move {
            let sql = "UPDATE report_request SET report = $2 WHERE account = $1";
            link.execute(sql, &[&id(&account), &&report[..]]).await?;
            Ok(Ok(()))
        })
    }

    fn report_piece(
        &self,
        account: AccountId,
        offset: u64,
        length: usize,
    ) -> Pending<Option<(u64, Vec<u8>)>, StoreError> {
        self.run(move |link| async move {
            // Bytes are counted from 1.
            let from = i32::try_from(offset.saturating_add(1)).unwrap_or(i32::MAX);
            let length = i32::try_from(length).unwrap_or(i32::MAX - 1).min(i32::MAX.saturating_sub(from));
            let sql = "SELECT octet_length(report)::int8, substr(report, $2, $3) FROM report_request
                WHERE account = $1 AND report IS NOT NULL";
            let row = link.query_opt(sql, &[&id(&account), &from, &length]).await?;
            let piece = |row: Row| Ok((unsigned(&row, 0)?, bytes(&row, 1)?.to_vec()));
            Ok(row.map(piece).transpose())
        })
    }

    fn is_held(&self, account: AccountId) -> Pending<bool, StoreError> {
        self.run(move |link| async move {
            Ok(Ok(link.query_opt("SELECT 1 FROM hold WHERE account = $1", &[&id(&account)]).await?.is_some()))
        })
    }

    fn erase(&self, account: AccountId, held: Option<Vec<u8>>, now: u64) -> Pending<(), StoreError> {
        self.run(move |link| async move {
            link.begin().await?;
            if let Some(report) = held {
                let keep = "INSERT INTO held(account, taken_at, reason, report)
                        SELECT account, $2, reason, $3 FROM hold WHERE account = $1
                    ON CONFLICT (account) DO UPDATE SET taken_at = excluded.taken_at, reason = excluded.reason,
                        report = excluded.report";
                link.execute(keep, &[&id(&account), &signed(now), &&report[..]]).await?;
                link.execute("DELETE FROM hold WHERE account = $1", &[&id(&account)]).await?;
            }
            link.execute("DELETE FROM report_request WHERE account = $1", &[&id(&account)]).await?;
            link.execute("UPDATE incident SET account = NULL WHERE account = $1", &[&id(&account)]).await?;
            link.commit().await?;
            Ok(Ok(()))
        })
    }

    fn count_deletion(&self, now: u64) -> Pending<(), StoreError> {
        self.run(move |link| async move {
            let sql = "INSERT INTO deletion(day, accounts) VALUES ($1, 1)
                ON CONFLICT (day) DO UPDATE SET accounts = deletion.accounts + 1";
            link.execute(sql, &[&signed(now / MS_PER_DAY)]).await?;
            Ok(Ok(()))
        })
    }

    fn note_incidents(&self, now: u64, incidents: Vec<Incident>) -> Pending<(), StoreError> {
        self.run(move |link| async move {
            let kinds: Vec<&str> = incidents.iter().map(|(_, kind, _)| kind.words()).collect();
            let accounts: Vec<&[u8]> = incidents.iter().map(|(account, ..)| id(account)).collect();
            let counts: Vec<i64> = incidents.iter().map(|(.., count)| signed(*count)).collect();
            let sql = "INSERT INTO incident(at, kind, account, count)
                SELECT $1, i.kind, i.account, i.count FROM unnest($2::text[], $3::bytea[], $4::int8[])
                    AS i(kind, account, count)";
            link.execute(sql, &[&signed(now), &kinds, &accounts, &counts]).await?;
            Ok(Ok(()))
        })
    }

    fn purge(&self, traces_before: u64, now: u64) -> Pending<(), StoreError> {
        self.run(move |link| async move {
            link.execute("DELETE FROM incident WHERE at < $1", &[&signed(traces_before)]).await?;
            link.execute("DELETE FROM report_request WHERE kept_until <= $1", &[&signed(now)]).await?;
            Ok(Ok(()))
        })
    }
}

// ---- for operators

/// Puts an account under a hold, or gives the hold another reason. `false`: there is no such account.
pub async fn add_hold(link: &Link, of: &AccountId, reason: &str, now: u64) -> Result<bool, Fault> {
    let sql = "INSERT INTO hold(account, reason, since) SELECT id, $2, $3 FROM account WHERE id = $1
        ON CONFLICT (account) DO UPDATE SET reason = excluded.reason";
    Ok(link.execute(sql, &[&id(of), &reason, &signed(now)]).await? > 0)
}

/// The report that is kept of a deleted account.
pub async fn held_report(link: &Link, of: &AccountId) -> Result<Option<Vec<u8>>, Fault> {
    let row = link.query_opt("SELECT report FROM held WHERE account = $1", &[&id(of)]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Ends a hold, and deletes what was kept under it. `false`: there was none.
pub async fn release(link: &Link, of: &AccountId) -> Result<bool, Fault> {
    link.begin().await?;
    let holds = link.execute("DELETE FROM hold WHERE account = $1", &[&id(of)]).await?;
    let held = link.execute("DELETE FROM held WHERE account = $1", &[&id(of)]).await?;
    link.commit().await?;
    Ok(holds + held > 0)
}

/// What accounts asked for, what is left of deleted ones, and the holds: those of accounts that exist first.
pub async fn look(link: &Link) -> Result<Result<Rights, StoreError>, Fault> {
    let requests = "SELECT account, requested_at, ready_at, kept_until, report IS NOT NULL FROM report_request
        ORDER BY requested_at";
    let requests = link.query(requests, &[]).await?;
    let deletions = link.query("SELECT day, accounts FROM deletion ORDER BY day", &[]).await?;
    let incidents = link.query_one("SELECT count(*) FROM incident", &[]).await?;
    let holds = "SELECT account, reason, since, NULL::int8 FROM hold UNION ALL
        SELECT account, reason, taken_at, octet_length(report)::int8 FROM held";
    let holds = link.query(holds, &[]).await?;
    let hold = |row: &Row| {
        Ok(Hold {
            account: account(row, 0)?,
            reason: get(row, 1)?,
            at: unsigned(row, 2)?,
            held: get::<Option<i64>>(row, 3)?.map(i64::unsigned_abs),
        })
    };
    let request = |row: &Row| Ok((account(row, 0)?, request(row, 1)?));
    let deletion = |row: &Row| Ok((unsigned(row, 0)?, unsigned(row, 1)?));
    Ok(unsigned(&incidents, 0).map(|incidents| Rights {
        requests: readable("report_request", &requests, request),
        deletions: readable("deletion", &deletions, deletion),
        incidents,
        holds: readable("hold, held", &holds, hold),
    }))
}

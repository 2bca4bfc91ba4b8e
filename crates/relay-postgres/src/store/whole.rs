//! What goes over all mailboxes of this node, or of all: reading, expiry, sums, the time, and keeping the keys' file young.

use kuvert_relay::store::{
    Cursor, Doubt, Gauges, KnownTime, NewInvitation, Page, Stats, StoreError, StoredEnvelope, Times, Waiting,
};
use kuvert_types::limits::MAX_MAILBOX_ENVELOPES;

use super::Mailbox;
use super::cache::MailboxNumber;
use super::column::{address, envelope_id, get, signed, unsigned};
use crate::body;
use crate::cluster::MAX_LANES;
use crate::groups::{Groups, soon};
use crate::link::Link;
use crate::outcome::Fault;
use crate::slot::Slot;

/// The number of a mailbox, of the row of its device where there is one beside its mail: `$1` account, `$2` number, `$3` its
/// mailbox where the row is in another group.
macro_rules! its_number {
    () => {
        "coalesce($3::int8, (SELECT mailbox FROM device WHERE account = $1 AND number = $2))"
    };
}

/// Whether a slot's mail is here, and stays until the end of the transaction.
pub async fn keeps(link: &Link, slot: i16) -> Result<bool, Fault> {
    let sql = "SELECT FROM lease WHERE slot = $1 FOR KEY SHARE";
    Ok(link.query_opt(sql, &[&slot]).await?.is_some())
}

/// A page of a mailbox, and whether something was given up for it. What is gone by the time the bodies are read was acknowledged or
/// has expired. What cannot be read is given up, and keeps nothing behind it from coming. `None`: the mail is in another group.
pub async fn read(
    link: &Link,
    mailbox: Mailbox,
    after: Cursor,
    limit: usize,
    max_bytes: usize,
) -> Result<Option<(Page, bool)>, Fault> {
    // Cursors beyond are none.
    let Ok(after) = i64::try_from(after.get()) else { return Ok(Some((Page::default(), false))) };
    let mut any = false;
    loop {
        let Some(Read { page, damaged }) = read_once(link, mailbox, after, limit, max_bytes).await? else {
            return Ok(None);
        };
        let Some((number, cursors)) = damaged else { return Ok(Some((page, any))) };
        give_up(link, mailbox.slot, number, &cursors).await?;
        any = true;
        if !(page.envelopes.is_empty() && page.more) {
            return Ok(Some((page, any)));
        }
    }
}

/// What was read of a mailbox, and what could not be.
#[derive(Default)]
struct Read {
    page: Page,
    damaged: Option<(MailboxNumber, Vec<i64>)>,
}

/// Deletes envelopes that cannot be read, and has their device told as of those that were deleted unread.
async fn give_up(link: &Link, slot: i16, mailbox: MailboxNumber, cursors: &[i64]) -> Result<(), Fault> {
    link.begin().await?;
    if !keeps(link, slot).await? {
        return link.commit().await;
    }
    let sql = "WITH k AS (DELETE FROM envelope_key WHERE mailbox = $1 AND cursor = ANY($2)),
            gone AS (DELETE FROM envelope WHERE mailbox = $1 AND cursor = ANY($2) RETURNING 1)
        INSERT INTO expired(mailbox, count) SELECT $1, count(*) FROM gone HAVING count(*) > 0
        ON CONFLICT (mailbox) DO UPDATE SET count = expired.count + excluded.count";
    link.execute(sql, &[&mailbox, &cursors]).await?;
    link.commit().await
}

/// Each statement looks whether the slot's mail is here, in its own snapshot: what it finds is all that there is, or nothing is said.
async fn read_once(
    link: &Link,
    mailbox: Mailbox,
    after: i64,
    limit: usize,
    max_bytes: usize,
) -> Result<Option<Read>, Fault> {
    // One more than the page, to see whether there is one.
    let most = i64::try_from(limit).unwrap_or(i64::MAX).min(MAX_MAILBOX_ENVELOPES as i64) + 1;
    let keys = concat!(
        "SELECT k.mailbox, k.cursor, k.day, k.size, k.key FROM lease l LEFT JOIN LATERAL (
            SELECT mailbox, cursor, day, size, key FROM envelope_key WHERE mailbox = ",
        its_number!(),
        " AND cursor > $4 ORDER BY cursor LIMIT $5) k ON true WHERE l.slot = $6 ORDER BY k.cursor"
    );
    let Mailbox { address, slot, number } = mailbox;
    let (account, device) = (&address.account.as_bytes()[..], i64::from(address.device.get()));
    let mut keys = link.query(keys, &[&account, &device, &number, &after, &most, &slot]).await?;
    if keys.is_empty() {
        return Ok(None);
    }
    // Nothing waits.
    keys.retain(|row| row.get::<_, Option<i64>>(0).is_some());
    let (mut chosen, mut bytes, mut more) = (0, 0, false);
    for row in &keys {
        bytes += usize::try_from(row.get::<_, i32>(3)).unwrap_or(usize::MAX);
        if chosen == limit || (chosen > 0 && bytes > max_bytes) {
            more = true;
            break;
        }
        chosen += 1;
    }
    let keys = keys.get(..chosen).unwrap_or_default();
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
        return Ok(Some(Read { page: Page { envelopes: Vec::new(), more }, damaged: None }));
    };
    let days = keys.iter().map(|row| row.get::<_, i32>(2));
    let (first_day, last_day) = (days.clone().min().unwrap_or_default(), days.max().unwrap_or_default());
    let bodies = "SELECT e.cursor, e.id, e.source, e.accepted_at, e.ciphertext FROM lease l LEFT JOIN envelope e
            ON e.mailbox = $1 AND e.cursor >= $2 AND e.cursor <= $3 AND e.day >= $4 AND e.day <= $5
        WHERE l.slot = $6 ORDER BY e.cursor";
    let number: MailboxNumber = first.get(0);
    let (low, high): (i64, i64) = (first.get(1), last.get(1));
    let mut bodies = link.query(bodies, &[&number, &low, &high, &first_day, &last_day, &slot]).await?;
    if bodies.is_empty() {
        return Ok(None);
    }
    bodies.retain(|row| row.get::<_, Option<i64>>(0).is_some());
    let mut keys = keys.iter().peekable();
    let mut page = Page { envelopes: Vec::with_capacity(bodies.len()), more };
    let mut damaged = Vec::new();
    for row in &bodies {
        let cursor: i64 = row.get(0);
        while keys.peek().is_some_and(|key| key.get::<_, i64>(1) < cursor) {
            keys.next();
        }
        // Stored after the keys were read: for the next page.
        let Some(key) = keys.peek().filter(|key| key.get::<_, i64>(1) == cursor) else { continue };
        match envelope(row, key, number, cursor) {
            Ok(envelope) => page.envelopes.push(envelope),
            Err(error) => {
                tracing::error!(cursor, %error, "an envelope cannot be read and is given up: look after the disk");
                damaged.push(cursor);
            }
        }
    }
    Ok(Some(Read { page, damaged: Some((number, damaged)).filter(|(_, cursors)| !cursors.is_empty()) }))
}

/// An envelope, of the rows of both tables.
fn envelope(
    row: &tokio_postgres::Row,
    key: &tokio_postgres::Row,
    mailbox: MailboxNumber,
    cursor: i64,
) -> Result<StoredEnvelope, StoreError> {
    Ok(StoredEnvelope {
        cursor: Cursor::new(cursor.unsigned_abs()),
        id: envelope_id(row, 1)?,
        source: address(row, 2)?,
        accepted_at: unsigned(row, 3)?,
        ciphertext: body::open(get(key, 4)?, mailbox, cursor, get(row, 4)?)?,
    })
}

/// How much waits in a mailbox. `None`: the mail is in another group.
pub async fn waiting(link: &Link, mailbox: Mailbox) -> Result<Option<Waiting>, Fault> {
    let sql = concat!(
        "WITH n AS MATERIALIZED (SELECT ",
        its_number!(),
        " AS mailbox)
        SELECT (SELECT count(*) FROM envelope_key WHERE mailbox = (SELECT mailbox FROM n)),
            (SELECT coalesce(sum(size), 0)::int8 FROM envelope_key WHERE mailbox = (SELECT mailbox FROM n)),
            coalesce((SELECT count FROM expired WHERE mailbox = (SELECT mailbox FROM n)), 0)
        FROM lease WHERE slot = $4"
    );
    let Mailbox { address, slot, number } = mailbox;
    let (account, device) = (&address.account.as_bytes()[..], i64::from(address.device.get()));
    let row = link.query_opt(sql, &[&account, &device, &number, &slot]).await?;
    let count = |row: &tokio_postgres::Row, column| row.get::<_, i64>(column).unsigned_abs();
    Ok(row.map(|row| Waiting { count: count(&row, 0), bytes: count(&row, 1), expired: count(&row, 2) }))
}

/// Deletes at most so many envelopes of a node's slots that are due, in the order of arrival, and counts each for its mailbox.
pub async fn expire(
    link: &Link,
    node: i16,
    older_than: u64,
    budget: usize,
) -> Result<Vec<(Slot, MailboxNumber, u64)>, Fault> {
    let sql = "WITH due AS (
            SELECT e.mailbox, e.cursor, e.day FROM envelope e
            WHERE e.accepted_at < $1 AND e.mailbox <> 0
                AND e.slot IN (SELECT slot FROM lease WHERE writer / $3 = $2) ORDER BY e.cursor LIMIT $4),
        k AS (DELETE FROM envelope_key k USING due d WHERE k.mailbox = d.mailbox AND k.cursor = d.cursor),
        gone AS (
            DELETE FROM envelope e USING due d WHERE e.mailbox = d.mailbox AND e.cursor = d.cursor AND e.day = d.day
            RETURNING e.mailbox, e.cursor, e.slot),
        told AS (
            INSERT INTO expired(mailbox, count) SELECT mailbox, count(*) FROM gone GROUP BY mailbox
            ON CONFLICT (mailbox) DO UPDATE SET count = expired.count + excluded.count)
        SELECT mailbox, cursor, slot FROM gone";
    let budget = i64::try_from(budget).unwrap_or(i64::MAX);
    link.begin().await?;
    // A slot that leaves this group waits for this; the statement sees which have left.
    link.query("SELECT FROM writer WHERE id / $2 = $1 FOR SHARE", &[&node, &MAX_LANES]).await?;
    let rows = link.query(sql, &[&signed(older_than), &node, &MAX_LANES, &budget]).await?;
    link.commit().await?;
    let gone = |row: &tokio_postgres::Row| {
        (row.get::<_, i16>(2).unsigned_abs(), row.get(0), row.get::<_, i64>(1).unsigned_abs())
    };
    Ok(rows.iter().map(gone).collect())
}

/// Takes `count` off the number of expired envelopes. `None`: the mail is in another group.
pub async fn acknowledge_expired(link: &Link, mailbox: Mailbox, count: u64) -> Result<Option<()>, Fault> {
    let sql = concat!(
        "WITH d AS MATERIALIZED (SELECT ",
        its_number!(),
        " AS mailbox),
        gone AS (DELETE FROM expired WHERE mailbox IN (SELECT mailbox FROM d) AND count <= $4)
        UPDATE expired SET count = count - $4 WHERE mailbox IN (SELECT mailbox FROM d) AND count > $4"
    );
    let Mailbox { address, slot, number } = mailbox;
    let (account, device) = (&address.account.as_bytes()[..], i64::from(address.device.get()));
    link.begin().await?;
    let here = keeps(link, slot).await?;
    if here {
        link.execute(sql, &[&account, &device, &number, &signed(count)]).await?;
    }
    link.commit().await?;
    Ok(here.then_some(()))
}

/// Deletes all mail of these mailboxes.
pub async fn delete_mail(link: &Link, mailboxes: &[MailboxNumber]) -> Result<(), Fault> {
    for sql in [
        "DELETE FROM envelope_key WHERE mailbox = ANY($1)",
        "DELETE FROM envelope WHERE mailbox = ANY($1)",
        "DELETE FROM expired WHERE mailbox = ANY($1)",
    ] {
        link.execute(sql, &[&mailboxes]).await?;
    }
    Ok(())
}

/// Stamps later than `now` become `now`.
pub async fn restamp(groups: &Groups, now: u64) -> Result<u64, Fault> {
    let sql = "UPDATE envelope SET accepted_at = $1 WHERE accepted_at > $1 AND mailbox <> 0";
    let mut changed = 0;
    for group in groups.all() {
        changed += group.pool.lend().await?.execute(sql, &[&signed(now)]).await?;
    }
    Ok(changed)
}

/// What can be told at any moment.
pub async fn gauges(groups: &Groups) -> Result<Gauges, Fault> {
    let stats = stats(groups, false).await?;
    Ok(Gauges { devices: stats.devices, waiting: stats.waiting, waiting_bytes: stats.waiting_bytes })
}

/// What the store holds in sum. Without accounts and prekeys if not `all`. Mail that is being copied to another group counts twice.
pub async fn stats(groups: &Groups, all: bool) -> Result<Stats, Fault> {
    let some = "SELECT 0::int8, (SELECT count(*) FROM device), count(*), coalesce(sum(size), 0)::int8, 0::int8
        FROM envelope_key WHERE mailbox <> 0";
    let whole = "SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM device), count(*),
            coalesce(sum(size), 0)::int8, (SELECT count(*) FROM one_time_prekey)
        FROM envelope_key WHERE mailbox <> 0";
    let mut sum = Stats::default();
    for group in groups.all() {
        let row = group.pool.lend().await?.query_one(if all { whole } else { some }, &[]).await?;
        let count = |column| row.get::<_, i64>(column).unsigned_abs();
        sum.accounts += count(0);
        sum.devices += count(1);
        sum.waiting += count(2);
        sum.waiting_bytes += count(3);
        sum.one_time_prekeys += count(4);
    }
    Ok(sum)
}

/// Unix milliseconds.
const KNOWN: &str = "known_time";
/// By how many milliseconds the clock is ahead of that; not there: it is not in doubt.
const DOUBT: &str = "clock_step";
/// For how many milliseconds the relay has run so.
const RAN: &str = "clock_step_ran";

/// Remembers how far the relay's time has come.
pub async fn note_time(link: &Link, known: &KnownTime) -> Result<(), Fault> {
    let set =
        "INSERT INTO counter(name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    link.begin().await?;
    link.execute(set, &[&KNOWN, &signed(known.at)]).await?;
    match known.doubt {
        Some(doubt) => {
            link.execute(set, &[&DOUBT, &doubt.step_ms]).await?;
            link.execute(set, &[&RAN, &signed(doubt.ran_ms)]).await?;
        }
        None => {
            link.execute("DELETE FROM counter WHERE name IN ($1, $2)", &[&DOUBT, &RAN]).await?;
        }
    }
    link.commit().await
}

/// What is known of the time, without the envelopes.
pub async fn times(link: &Link) -> Result<Times, Fault> {
    let rows = link.query("SELECT name, value FROM counter", &[]).await?;
    let counter = |name: &str| rows.iter().find(|row| row.get::<_, &str>(0) == name).map(|row| row.get::<_, i64>(1));
    let doubt =
        counter(DOUBT).map(|step_ms| Doubt { step_ms, ran_ms: counter(RAN).unwrap_or_default().unsigned_abs() });
    let newest: Option<i64> = link.query_one("SELECT max(registered_at) FROM account", &[]).await?.get(0);
    Ok(Times {
        known: counter(KNOWN).map(|at| KnownTime { at: at.unsigned_abs(), doubt }),
        newest: newest.map(i64::unsigned_abs),
    })
}

/// When the youngest envelope that waits was accepted. Looks behind the time that is known, then a day before, then at all.
pub async fn newest_mail(groups: &Groups) -> Result<Option<u64>, Fault> {
    let known = times(&*groups.home().pool.lend().await?).await?.known.map(|known| signed(known.at));
    let mut newest = newest_mail_in(&*groups.home().pool.lend().await?, known).await?;
    for group in groups.others() {
        // A relay starts although one is away: this is to find out that the clock was set back.
        let there = soon(async { newest_mail_in(&*group.pool.lend().await?, known).await }).await;
        newest = newest.max(there.unwrap_or_default());
    }
    Ok(newest)
}

async fn newest_mail_in(link: &Link, known: Option<i64>) -> Result<Option<u64>, Fault> {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    for since in known.into_iter().flat_map(|known| [known, known.saturating_sub(DAY_MS)]).chain([i64::MIN]) {
        let sql = "SELECT max(accepted_at) FROM envelope WHERE accepted_at >= $1 AND mailbox <> 0";
        if let Some(newest) = link.query_one(sql, &[&since]).await?.get::<_, Option<i64>>(0) {
            return Ok(Some(newest.unsigned_abs()));
        }
    }
    Ok(None)
}

/// Makes an invitation good. Those that ended before this one was made are forgotten.
pub async fn add_invitation(link: &Link, new: &NewInvitation) -> Result<(), Fault> {
    link.begin().await?;
    // By the earlier of two times: a clock that is ahead must not end what is good.
    let ended = "DELETE FROM invitation WHERE expires_at <= least($1, (SELECT value FROM counter WHERE name = $2))";
    link.execute(ended, &[&signed(new.created_at), &KNOWN]).await?;
    let insert = "INSERT INTO invitation(hash, uses_left, created_at, expires_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (hash) DO UPDATE SET uses_left = excluded.uses_left, created_at = excluded.created_at,
            expires_at = excluded.expires_at";
    link.execute(insert, &[&&new.hash[..], &i64::from(new.uses), &signed(new.created_at), &signed(new.expires_at)])
        .await?;
    link.commit().await
}

/// Among the advisory locks: writing the keys anew.
const REWRITING: i64 = 0x4B75_7675;

/// Writes the living keys into a new file and drops the old one, which all servers do then; asks for a checkpoint, where this user
/// may. Says how many keys there were.
pub async fn rewrite_keys(link: &Link) -> Result<u64, Fault> {
    link.begin().await?;
    link.execute("SELECT pg_advisory_xact_lock($1)", &[&REWRITING]).await?;
    // Those who write wait for this; those who read do so only for the end of it.
    link.batch(
        "LOCK TABLE envelope_key IN SHARE ROW EXCLUSIVE MODE; CREATE TABLE envelope_key_new (LIKE envelope_key)",
    )
    .await?;
    let copied = link.query_once(
        "WITH n AS (INSERT INTO envelope_key_new SELECT * FROM envelope_key RETURNING 1) SELECT count(*) FROM n",
        &[],
    );
    let copied = copied.await?.first().map_or(0, |row| row.get::<_, i64>(0));
    link.batch(
        "ALTER TABLE envelope_key_new SET (autovacuum_enabled = off);
        DROP TABLE envelope_key;
        ALTER TABLE envelope_key_new ADD CONSTRAINT envelope_key_pkey PRIMARY KEY (mailbox, cursor),
            ADD CONSTRAINT envelope_key_mailbox_tag_key UNIQUE (mailbox, tag);
        ALTER TABLE envelope_key_new RENAME TO envelope_key; ANALYZE envelope_key",
    )
    .await?;
    link.commit().await?;
    Ok(copied.unsigned_abs())
}

/// Deletes what was written and is not kept.
pub async fn delete_pretended(link: &Link) -> Result<(), Fault> {
    link.execute("DELETE FROM envelope_key WHERE mailbox = 0", &[]).await?;
    link.execute("DELETE FROM envelope WHERE mailbox = 0", &[]).await?;
    Ok(())
}

/// Puts what is in the server's memory onto its disk. Users without that right are refused, which is no fault: the server does it
/// on its own from time to time.
pub async fn checkpoint(link: &Link) -> Result<(), Fault> {
    let right = "SELECT pg_has_role(current_user, 'pg_checkpoint', 'USAGE')";
    if link.query_one(right, &[]).await?.get(0) {
        // It can take longer than a statement may: then it goes on without us.
        if let Err(fault) = link.batch("CHECKPOINT").await {
            tracing::debug!(error = fault.words, "the server's checkpoint was not waited for");
        }
    }
    Ok(())
}

/// Bytes of the database.
pub async fn size(link: &Link) -> Result<u64, Fault> {
    let row = link.query_one("SELECT pg_database_size(current_database())", &[]).await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

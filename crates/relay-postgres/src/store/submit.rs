//! Envelopes: submit and acknowledge. Every statement that writes looks whether its lane may: its writer's row must have the epoch
//! that the lane knows, and stays locked until the end, so that a takeover waits; and the slot's lease must be that writer's.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;

use futures_util::future::try_join_all;
use kuvert_relay::mailbox::{Entry, Mailbox, Sender};
use kuvert_relay::store::{Cursor, StoreError, StoredAccessKey, SubmitError, Submitted};
use kuvert_types::{AccountId, Address, DeviceId};
use tokio_postgres::types::ToSql;

use super::Core;
use super::cache::{Cache, Facts, MailboxNumber, SharedCache};
use super::column::{account, address, array, device, envelope_id, get, passed_over, signed, unsigned};
use super::command::{Acknowledge, Submit};
use super::days;
use super::lane::Tenure;
use crate::body::{self, ADDED_BYTES, KEY_BYTES};
use crate::cluster::CURSOR_BLOCK;
use crate::groups::Group;
use crate::link::Link;
use crate::outcome::{Fault, Outcome};
use crate::slot;

/// The mailbox of no device: what is written and not kept. Numbers of devices begin with 1.
pub const NOWHERE: MailboxNumber = 0;

/// Stores envelopes. FOR SHARE does two things: it orders this against a takeover, and it makes the transaction write something
/// even if every row is there already, so that its commit waits for the standby and what the answer says is durable.
const INSERT: &str = "
    WITH f AS MATERIALIZED (SELECT 1 FROM writer WHERE id = $11 AND epoch = $12 FOR SHARE),
    i AS MATERIALIZED (
        SELECT i.* FROM unnest($1::int2[], $2::int8[], $3::int8[], $4::int8[], $5::int4[], $6::bool[], $7::bytea[], $8::bytea[],
                $9::bytea[], $10::bytea[], $13::bytea[], $14::int4[])
            AS i(slot, mailbox, cursor, accepted_at, day, contact, id, source, ciphertext, tag, key, size)
        JOIN lease l ON l.slot = i.slot AND l.writer = $11 WHERE EXISTS (SELECT FROM f)),
    k AS (
        INSERT INTO envelope_key(mailbox, cursor, day, size, tag, key) SELECT mailbox, cursor, day, size, tag, key FROM i
            ON CONFLICT (mailbox, tag) DO NOTHING RETURNING mailbox, cursor)
    INSERT INTO envelope(mailbox, cursor, accepted_at, day, slot, contact, id, source, ciphertext)
        SELECT i.mailbox, i.cursor, i.accepted_at, i.day, i.slot, i.contact, i.id, i.source, i.ciphertext
        FROM k JOIN i ON i.mailbox = k.mailbox AND i.cursor = k.cursor RETURNING cursor";

/// Which of these are there already.
const FIND: &str = "SELECT k.mailbox, k.tag, k.cursor FROM unnest($1::int8[], $2::bytea[]) AS w(mailbox, tag)
    JOIN envelope_key k ON k.mailbox = w.mailbox AND k.tag = w.tag";

/// Accounts with their devices.
const FACTS: &str = "SELECT a.id, a.access_key_hash, a.takes_sealed, d.number, d.mailbox
    FROM unnest($1::bytea[]) AS w(id) JOIN account a ON a.id = w.id LEFT JOIN device d ON d.account = a.id";

/// Whom they block.
const BLOCKED: &str = "SELECT account, blocked FROM blocked WHERE account = ANY($1)";

/// What waits in mailboxes, in order.
const BOXES: &str = "SELECT k.mailbox, k.cursor, k.size, k.day, e.id, e.source, e.contact FROM envelope_key k
    JOIN envelope e ON e.mailbox = k.mailbox AND e.cursor = k.cursor AND e.day = k.day
    WHERE k.mailbox = ANY($1) ORDER BY k.mailbox, k.cursor";

/// More cursors for all slots of a lane.
const EXTEND: &str = "WITH f AS MATERIALIZED (SELECT 1 FROM writer WHERE id = $1 AND epoch = $2 FOR SHARE)
    UPDATE lease SET next_cursor = $3 WHERE writer = $1 AND EXISTS (SELECT FROM f)";

/// Locks the writer's row until the end of the transaction, if the lane may write still.
const FENCE: &str = "SELECT 1 FROM writer WHERE id = $1 AND epoch = $2 FOR SHARE";

/// Deletes the keys up to a cursor, if [`FENCE`] found the row, which it locked.
const DELETE_KEYS: &str = "DELETE FROM envelope_key WHERE mailbox = $1 AND cursor <= $2
    AND EXISTS (SELECT FROM writer w JOIN lease l ON l.writer = w.id WHERE w.id = $3 AND w.epoch = $4 AND l.slot = $5)";

/// And the envelopes.
const DELETE_ENVELOPES: &str = "DELETE FROM envelope WHERE mailbox = $1 AND cursor <= $2 AND day >= $6
    AND EXISTS (SELECT FROM writer w JOIN lease l ON l.writer = w.id WHERE w.id = $3 AND w.epoch = $4 AND l.slot = $5)";

/// All of them, to be prepared when a lane begins.
pub const STATEMENTS: &[&str] = &[INSERT, FIND, FACTS, BLOCKED, BOXES, EXTEND, FENCE, DELETE_KEYS, DELETE_ENVELOPES];

/// What became of a batch.
pub enum Written {
    /// All was answered.
    Done,
    /// These surely were not stored, for this reason.
    Refused { left: Vec<Submit>, error: StoreError },
    /// The lane has to begin anew and try these again. `doubtful`: they may have been stored.
    Again { left: Vec<Submit>, doubtful: bool },
}

/// Whether all of these accounts are in memory.
pub fn knows(cache: &SharedCache, accounts: &[AccountId]) -> bool {
    missing(cache, accounts).is_empty()
}

fn missing(cache: &SharedCache, accounts: &[AccountId]) -> BTreeSet<AccountId> {
    let mut cache = cache.lock();
    accounts.iter().filter(|account| cache.facts(account).is_none()).copied().collect()
}

/// Reads what is not in memory of these accounts, from the first group. What does not exist is read again every time.
pub async fn read_facts(home: &Link, cache: &SharedCache, accounts: &[AccountId]) -> Result<(), Fault> {
    let missing = missing(cache, accounts);
    if missing.is_empty() {
        return Ok(());
    }
    let ids: Vec<&[u8]> = missing.iter().map(|account| &account.as_bytes()[..]).collect();
    let ids: [&(dyn ToSql + Sync); 1] = [&ids];
    let (facts, blocked) = tokio::try_join!(home.query(FACTS, &ids), home.query(BLOCKED, &ids))?;
    let mut found: HashMap<AccountId, Facts> = HashMap::new();
    for row in &facts {
        let Some(id) = pass_over("account", account(row, 0)) else { continue };
        let of = found.entry(id).or_default();
        of.key = pass_over("account", access_key(row)).flatten();
        if let Some((number, mailbox)) = pass_over("device", mailbox(row)).flatten() {
            of.devices.insert(number, mailbox);
        }
    }
    for row in &blocked {
        let both = account(row, 0).and_then(|of| Ok((of, account(row, 1)?)));
        if let Some((of, blocked)) = pass_over("blocked", both)
            && let Some(of) = found.get_mut(&of)
        {
            of.blocked.insert(blocked);
        }
    }
    let mut cache = cache.lock();
    for (account, facts) in found {
        cache.put_facts(account, facts);
    }
    Ok(())
}

/// Reads what waits in these mailboxes, of those that are not in memory.
pub async fn read_boxes(tenure: &Tenure, cache: &SharedCache, numbers: &[MailboxNumber]) -> Result<(), Fault> {
    let missing: Vec<MailboxNumber> = {
        let cache = cache.lock();
        let missing: BTreeSet<_> = numbers.iter().filter(|number| !cache.has_box(**number)).copied().collect();
        missing.into_iter().collect()
    };
    if missing.is_empty() {
        return Ok(());
    }
    let rows = tenure.link.query(BOXES, &[&missing]).await?;
    let mut found: HashMap<MailboxNumber, (Mailbox, i32)> =
        missing.into_iter().map(|number| (number, (Mailbox::default(), i32::MAX))).collect();
    let mut cache = cache.lock();
    for row in &rows {
        let Some((mailbox, first_day)) = found.get_mut(&row.get(0)) else { continue };
        if let Some(entry) = pass_over("envelope", entry(row, &cache)) {
            mailbox.push(entry);
            *first_day = (*first_day).min(row.get(3));
        }
    }
    for (number, (mailbox, first_day)) in found {
        cache.put_box(number, mailbox, first_day);
    }
    Ok(())
}

/// A row that holds what cannot be is passed over and said: one damaged row must not keep a lane from writing for all others.
fn pass_over<T>(table: &str, read: Result<T, StoreError>) -> Option<T> {
    read.inspect_err(|error| passed_over(table, error)).ok()
}

/// An account's access key, of a row of [`FACTS`].
fn access_key(row: &tokio_postgres::Row) -> Result<Option<StoredAccessKey>, StoreError> {
    let is_there = get::<Option<&[u8]>>(row, 1)?.is_some();
    is_there.then(|| Ok(StoredAccessKey { hash: array(row, 1)?, sealed: get(row, 2)? })).transpose()
}

/// A device and its mailbox, of a row of [`FACTS`].
fn mailbox(row: &tokio_postgres::Row) -> Result<Option<(DeviceId, MailboxNumber)>, StoreError> {
    let Some(mailbox) = get::<Option<i64>>(row, 4)? else { return Ok(None) };
    Ok(Some((device(row, 3)?, mailbox)))
}

/// An envelope that waits, of a row of [`BOXES`].
fn entry(row: &tokio_postgres::Row, cache: &Cache) -> Result<Entry, StoreError> {
    let source = address(row, 5)?;
    Ok(Entry {
        cursor: unsigned(row, 1)?,
        size: get::<i32>(row, 2)?.unsigned_abs(),
        tag: cache.tag(&envelope_id(row, 4)?, source.as_ref()),
        sender: Sender::of(source, get(row, 6)?),
    })
}

/// So many cursors in a row, all of which the table of leases knows to be given out. Other lanes draw from the same number, which may
/// come to the end of what this lane has set aside at any moment: it is looked at after drawing.
async fn draw(core: &Core, tenure: &mut Tenure, count: usize) -> Result<i64, Fault> {
    loop {
        let first = core.cursors.draw(count);
        let end = first.saturating_add(count as i64);
        if end <= tenure.limit {
            return Ok(first);
        }
        let limit = end.saturating_add(CURSOR_BLOCK);
        if tenure.link.execute(EXTEND, &[&tenure.writer, &tenure.epoch, &limit]).await? == 0 {
            return Err(Fault::not("the slots are another node's"));
        }
        tenure.limit = limit;
    }
}

/// What is to be written of an envelope.
struct Row {
    /// Its place among the submits.
    place: usize,
    slot: i16,
    mailbox: MailboxNumber,
    cursor: i64,
    day: i32,
    contact: bool,
    tag: [u8; 16],
    key: [u8; KEY_BYTES],
    ciphertext: Vec<u8>,
    /// Its answer, once it is written.
    answer: Result<Submitted, SubmitError>,
}

/// Judges and stores envelopes in this order, and answers.
pub async fn run(
    core: &Core,
    group: &Group,
    tenure: &mut Tenure,
    cache: &SharedCache,
    submits: Vec<Submit>,
) -> Written {
    let again = |left, fault: &Fault| match fault.outcome {
        Outcome::Unknown => Written::Again { left, doubtful: true },
        Outcome::Not => Written::Again { left, doubtful: false },
    };
    let numbers: Vec<Option<MailboxNumber>> = {
        let mut cache = cache.lock();
        let mut number = |mailbox: &Address| cache.facts(&mailbox.account)?.devices.get(&mailbox.device).copied();
        submits.iter().map(|submit| number(&submit.mailbox)).collect()
    };
    let known: Vec<MailboxNumber> = numbers.iter().flatten().copied().collect();
    let reading = async {
        read_boxes(tenure, cache, &known).await?;
        group.days.prepare(&group.pool, submits.iter().map(|submit| days::of(submit.accepted_at))).await?;
        Ok::<_, Fault>(())
    };
    if reading.await.is_err() {
        // Nothing of the envelopes was sent.
        return Written::Again { left: submits, doubtful: false };
    }
    let Ok(first) = draw(core, tenure, submits.len()).await else {
        return Written::Again { left: submits, doubtful: false };
    };
    let stored = match find(tenure, cache, &submits, &numbers).await {
        Ok(stored) => stored,
        Err(_) => return Written::Again { left: submits, doubtful: false },
    };
    let rows = match judge(first, cache, &submits, &numbers, stored) {
        Ok(judged) => judged,
        Err(error) => return Written::Refused { left: submits, error },
    };
    let written = write(tenure, &submits, &rows.rows).await;
    let failed = |rows: &[Row]| {
        // What is in memory is not what was written.
        let mut cache = cache.lock();
        rows.iter().for_each(|row| cache.forget_box(row.mailbox));
    };
    match written {
        Ok(cursors) => {
            let missing = rows.rows.iter().any(|row| !cursors.contains(&row.cursor));
            if missing {
                failed(&rows.rows);
                return partly(rows, submits, &cursors);
            }
            core.wrote();
            if rows.rows.iter().any(|row| row.mailbox == NOWHERE) {
                group.pretended.store(true, Ordering::Release);
            }
            answer(submits, rows)
        }
        Err(fault) => {
            failed(&rows.rows);
            match (fault.outcome, fault.store_error()) {
                // No room, and the like: it is told, not tried again.
                (Outcome::Not, error @ StoreError::Unavailable(_))
                    if fault.code.is_some() && !fault.is_unique_violation() =>
                {
                    core.failed(&error);
                    if fault.is_transient() {
                        again(submits, &fault)
                    } else {
                        Written::Refused { left: submits, error }
                    }
                }
                _ => again(submits, &fault),
            }
        }
    }
}

/// The envelopes that are stored already, by mailbox and tag, among those for which that may be.
type Stored = HashMap<(MailboxNumber, [u8; 16]), u64>;

async fn find(
    tenure: &Tenure,
    cache: &SharedCache,
    submits: &[Submit],
    numbers: &[Option<MailboxNumber>],
) -> Result<Stored, Fault> {
    let (mut mailboxes, mut tags) = (Vec::new(), Vec::new());
    {
        let mut cache = cache.lock();
        for (submit, number) in submits.iter().zip(numbers) {
            let Some(number) = number else { continue };
            let short = cache.tag(&submit.envelope.id, submit.envelope.source.as_ref());
            let may = cache.waiting(*number).is_some_and(|waiting| waiting.mailbox.candidates(short).next().is_some());
            if may {
                mailboxes.push(*number);
                tags.push(body::tag(&submit.envelope.id, submit.envelope.source.as_ref()));
            }
        }
    }
    if mailboxes.is_empty() {
        return Ok(Stored::new());
    }
    let tags: Vec<&[u8]> = tags.iter().map(|tag| &tag[..]).collect();
    let rows = tenure.link.query(FIND, &[&mailboxes, &tags]).await?;
    let read = |row| Ok(((get(row, 0)?, array(row, 1)?), unsigned(row, 2)?));
    rows.iter().map(read).collect::<Result<_, StoreError>>().map_err(|error| Fault::not(error.to_string()))
}

/// What is to be written, and what is known without.
struct Judged {
    rows: Vec<Row>,
    /// Refusals, by place: nothing is written of these.
    refused: HashMap<usize, SubmitError>,
}

fn judge(
    first: i64,
    cache: &SharedCache,
    submits: &[Submit],
    numbers: &[Option<MailboxNumber>],
    mut stored: Stored,
) -> Result<Judged, StoreError> {
    let mut cursor = first;
    let mut judged = Judged { rows: Vec::with_capacity(submits.len()), refused: HashMap::new() };
    let mut cache = cache.lock();
    for (place, (submit, mailbox_number)) in submits.iter().zip(numbers).enumerate() {
        let Submit { mailbox, envelope, key, accepted_at, .. } = submit;
        let Some(mailbox_number) = *mailbox_number else {
            judged.refused.insert(place, SubmitError::UnknownMailbox);
            continue;
        };
        let (size, source) = (u32::try_from(envelope.ciphertext.len()).unwrap_or(u32::MAX), envelope.source);
        let tag = body::tag(&envelope.id, source.as_ref());
        let Some((sender, blocked)) =
            cache.facts(&mailbox.account).map(|facts| facts.judge(&mailbox.account, source, key.as_ref()))
        else {
            judged.refused.insert(place, SubmitError::UnknownMailbox);
            continue;
        };
        let admitted = cache.waiting(mailbox_number).map_or(Ok(()), |waiting| waiting.mailbox.admit(sender, size));
        // Before the quota: a sender that retries must not be told that a stored envelope does not fit. After the quota: a
        // mailbox that is full for others must not turn out to be open for one that is blocked.
        let answer = match (stored.get(&(mailbox_number, tag)), admitted) {
            (Some(before), _) => Ok(Submitted::AlreadyStored { cursor: Cursor::new(*before) }),
            (None, Err(full)) => {
                // That one does not fit whose mail is not wanted is not told.
                if !blocked {
                    cache.note_refused(*mailbox);
                }
                judged.refused.insert(place, full.into());
                continue;
            }
            (None, Ok(())) if blocked => Err(SubmitError::Blocked),
            (None, Ok(())) => Ok(Submitted::Stored { cursor: Cursor::new(cursor.unsigned_abs()) }),
        };
        // What is not to stay is written all the same, where no device is, under a key that is not kept: the time until the
        // answer does not tell [KV-086].
        let stays = matches!(answer, Ok(Submitted::Stored { .. }));
        let into = if stays { mailbox_number } else { NOWHERE };
        let key = body::new_key()?;
        let (kept_key, kept_tag) = if stays { (key, tag) } else { (body::new_key()?, drawn(&body::new_key()?)) };
        let day = days::of(*accepted_at);
        if stays {
            let short = cache.tag(&envelope.id, source.as_ref());
            let entry = Entry { cursor: cursor.unsigned_abs(), size, tag: short, sender };
            cache.push(mailbox_number, entry, day);
            stored.insert((mailbox_number, tag), cursor.unsigned_abs());
        }
        judged.rows.push(Row {
            place,
            slot: slot::of(&mailbox.account).cast_signed(),
            mailbox: into,
            cursor,
            day,
            contact: matches!(sender, Sender::Contact(_)),
            tag: kept_tag,
            key: kept_key,
            ciphertext: body::seal(&key, into, cursor, &envelope.ciphertext)?,
            answer,
        });
        cursor += 1;
    }
    Ok(judged)
}

/// A tag of nothing.
fn drawn(random: &[u8; KEY_BYTES]) -> [u8; 16] {
    let mut tag = [0; 16];
    tag.copy_from_slice(&random[..16]);
    tag
}

/// Writes rows, and says which cursors were.
async fn write(tenure: &Tenure, submits: &[Submit], rows: &[Row]) -> Result<HashSet<i64>, Fault> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let of = |row: &Row| submits.get(row.place);
    let slots: Vec<i16> = rows.iter().map(|row| row.slot).collect();
    let mailboxes: Vec<i64> = rows.iter().map(|row| row.mailbox).collect();
    let cursors: Vec<i64> = rows.iter().map(|row| row.cursor).collect();
    let times: Vec<i64> = rows.iter().map(|row| of(row).map_or(0, |submit| signed(submit.accepted_at))).collect();
    let days: Vec<i32> = rows.iter().map(|row| row.day).collect();
    let contacts: Vec<bool> = rows.iter().map(|row| row.contact).collect();
    let ids: Vec<&[u8]> =
        rows.iter().map(|row| of(row).map_or(&[][..], |submit| submit.envelope.id.as_bytes())).collect();
    let sources: Vec<Option<Vec<u8>>> = rows
        .iter()
        .map(|row| of(row).and_then(|submit| submit.envelope.source).map(|source| source.to_bytes().to_vec()))
        .collect();
    let bodies: Vec<&[u8]> = rows.iter().map(|row| &row.ciphertext[..]).collect();
    let tags: Vec<&[u8]> = rows.iter().map(|row| &row.tag[..]).collect();
    let keys: Vec<&[u8]> = rows.iter().map(|row| &row.key[..]).collect();
    let size = |row: &Row| i32::try_from(row.ciphertext.len() - ADDED_BYTES).unwrap_or(i32::MAX);
    let sizes: Vec<i32> = rows.iter().map(size).collect();
    let arguments: [&(dyn ToSql + Sync); 14] = [
        &slots,
        &mailboxes,
        &cursors,
        &times,
        &days,
        &contacts,
        &ids,
        &sources,
        &bodies,
        &tags,
        &tenure.writer,
        &tenure.epoch,
        &keys,
        &sizes,
    ];
    let written = tenure.link.query(INSERT, &arguments).await?;
    Ok(written.iter().map(|row| row.get(0)).collect())
}

/// Some rows were not written: the fence was closed, or what was in memory was not what is stored. The lane begins anew and finds out.
fn partly(judged: Judged, submits: Vec<Submit>, cursors: &HashSet<i64>) -> Written {
    let written: HashMap<usize, Row> =
        judged.rows.into_iter().filter(|row| cursors.contains(&row.cursor)).map(|row| (row.place, row)).collect();
    let (mut refused, mut written) = (judged.refused, written);
    let mut left = Vec::new();
    for (place, submit) in submits.into_iter().enumerate() {
        if let Some(row) = written.remove(&place) {
            submit.reply.send(row.answer);
        } else if let Some(error) = refused.remove(&place) {
            submit.reply.send(Err(error));
        } else {
            left.push(submit);
        }
    }
    Written::Again { left, doubtful: false }
}

/// All was written.
fn answer(submits: Vec<Submit>, judged: Judged) -> Written {
    let mut refused = judged.refused;
    let mut answers: HashMap<usize, Result<Submitted, SubmitError>> =
        judged.rows.into_iter().map(|row| (row.place, row.answer)).collect();
    for (place, submit) in submits.into_iter().enumerate() {
        let answer = answers.remove(&place).or_else(|| refused.remove(&place).map(Err));
        if let Some(answer) = answer {
            submit.reply.send(answer);
        }
    }
    Written::Done
}

/// Deletes what devices have, in one transaction, and says how much that was of each. `None`: the slots are another node's.
pub async fn acknowledge(tenure: &Tenure, cache: &SharedCache, all: &[Acknowledge]) -> Result<Option<Vec<u64>>, Fault> {
    let link = &tenure.link;
    let numbers: Vec<Option<(MailboxNumber, i32)>> = {
        let mut cache = cache.lock();
        let mut find = |mailbox: &Address| {
            let number = cache.facts(&mailbox.account)?.devices.get(&mailbox.device).copied()?;
            Some((number, cache.waiting(number).map_or(i32::MIN, |waiting| waiting.first_day)))
        };
        all.iter().map(|each| find(&each.mailbox)).collect()
    };
    if numbers.iter().all(Option::is_none) {
        return Ok(Some(vec![0; all.len()]));
    }
    let (fence, keys, envelopes) =
        (link.prepared(FENCE).await?, link.prepared(DELETE_KEYS).await?, link.prepared(DELETE_ENVELOPES).await?);
    let client = link.client();
    let (writer, epoch) = (tenure.writer, tenure.epoch);
    let deletes = all.iter().zip(&numbers).map(|(each, number)| {
        let (keys, envelopes) = (&keys, &envelopes);
        async move {
            let Some((mailbox, first_day)) = number else { return Ok(0) };
            let (up_to, slot) = (signed(each.up_to.get()), slot::of(&each.mailbox.account).cast_signed());
            let some: [&(dyn ToSql + Sync); 6] = [mailbox, &up_to, &writer, &epoch, &slot, first_day];
            let (count, _) = tokio::try_join!(client.execute(keys, &some[..5]), client.execute(envelopes, &some))?;
            Ok::<u64, tokio_postgres::Error>(count)
        }
    });
    // All of it is sent at once; the server runs it in this order.
    let transaction = async {
        let fenced: [&(dyn ToSql + Sync); 2] = [&writer, &epoch];
        let begin = client.batch_execute("BEGIN");
        let fence = client.query(&fence, &fenced);
        let deletes = try_join_all(deletes);
        let commit = async {
            // Polled after the others, hence sent after them.
            tokio::task::yield_now().await;
            client.batch_execute("COMMIT").await
        };
        let ((), fenced, counts, ()) = tokio::try_join!(biased; begin, fence, deletes, commit)?;
        Ok((fenced.is_empty(), counts))
    };
    link.mark_unfinished();
    let (fenced_off, counts) = link.wait(transaction).await?;
    link.mark_finished();
    if fenced_off {
        return Ok(None);
    }
    let mut cache = cache.lock();
    for (each, number) in all.iter().zip(&numbers) {
        if let Some((number, _)) = number {
            cache.acknowledge(*number, each.up_to.get());
        }
    }
    Ok(Some(counts))
}

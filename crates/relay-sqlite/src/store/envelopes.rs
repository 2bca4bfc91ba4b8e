//! Envelopes: submit, acknowledge, expire, read.

use std::collections::{BTreeMap, VecDeque};

use kuvert_relay::mailbox::{Entry, Sender};
use kuvert_relay::store::{Cursor, NewEnvelope, StoredEnvelope, SubmitError, Submitted};
use kuvert_types::{AccessKeyHash, Address, EnvelopeId};
use rusqlite::{Connection, OptionalExtension};

use super::column::{address, bytes, signed, unsigned};
use super::index::{MailboxNumber, Undo};
use super::schema::is_damage;
use super::writer::Work;

/// In a mailbox in which more waits, what comes is not taken at once: it is not kept in memory.
const ATTACHED_WAITING: u64 = 16;

/// Runs within the writer's transaction. A rule error changes nothing.
pub fn submit(
    work: &mut Work<'_>,
    mailbox: &Address,
    envelope: &NewEnvelope,
    key: Option<&AccessKeyHash>,
    accepted_at: u64,
) -> rusqlite::Result<Result<Submitted, SubmitError>> {
    let Ok(size) = u32::try_from(envelope.ciphertext.len()) else { return Ok(Err(SubmitError::TooLarge)) };
    let (number, tag, same_tag, sender, blocked, admitted) = {
        let index = work.index.lock();
        let Some(number) = index.number(mailbox) else { return Ok(Err(SubmitError::UnknownMailbox)) };
        let tag = index.tag(&envelope.id, envelope.source.as_ref());
        let (sender, blocked) = index.judge(&mailbox.account, envelope.source, key);
        match index.mailbox(number) {
            Some(mailbox) => {
                let same_tag = mailbox.candidates(tag).collect();
                (number, tag, same_tag, sender, blocked, mailbox.admit(sender, size))
            }
            None => (number, tag, Vec::new(), sender, blocked, Ok(())),
        }
    };
    let row = Row { number, envelope, contact: matches!(sender, Sender::Contact(_)), accepted_at };
    // Before the quota: whoever retries must not be told that a stored envelope does not fit.
    for entry in same_tag {
        if stored_id(work.connection, entry.cursor)? == Some((envelope.id, envelope.source)) {
            pretend(work, &row)?;
            return Ok(Ok(Submitted::AlreadyStored { cursor: Cursor::new(entry.cursor) }));
        }
    }
    if let Err(full) = admitted {
        // Nobody is to hear that one does not fit who was not to be heard at all.
        if !blocked {
            work.index.lock().mailbox_mut(number).note_refused();
        }
        return Ok(Err(full.into()));
    }
    // After the quota: a mailbox that is full for others must not turn out to be open for one that is blocked.
    if blocked {
        pretend(work, &row)?;
        return Ok(Err(SubmitError::Blocked));
    }
    let cursor = *work.next_cursor;
    row.insert(work.connection, cursor)?;
    *work.next_cursor += 1;
    work.eras.push(cursor, accepted_at);
    let entry = Entry { cursor, size, tag, sender };
    let waiting = {
        let mut index = work.index.lock();
        let mailbox = index.mailbox_mut(number);
        mailbox.push(entry);
        mailbox.waiting(u64::MAX).0
    };
    work.undo.push(Undo::Pushed(number, entry));
    if waiting <= ATTACHED_WAITING {
        let NewEnvelope { id, source, ref ciphertext } = *envelope;
        let ciphertext = ciphertext.clone();
        work.stored.push(StoredEnvelope { cursor: Cursor::new(cursor), id, source, accepted_at, ciphertext });
    }
    Ok(Ok(Submitted::Stored { cursor: Cursor::new(cursor) }))
}

/// An envelope on its way into the table.
struct Row<'a> {
    number: MailboxNumber,
    envelope: &'a NewEnvelope,
    contact: bool,
    accepted_at: u64,
}

impl Row<'_> {
    fn insert(&self, connection: &Connection, cursor: u64) -> rusqlite::Result<()> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO envelope(cursor, mailbox, id, source, accepted_at, ciphertext, contact)
                VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        let NewEnvelope { id, source, ciphertext } = self.envelope;
        insert
            .execute((
                signed(cursor),
                self.number,
                id.as_bytes(),
                source.map(|source| source.to_bytes()),
                signed(self.accepted_at),
                &ciphertext[..],
                self.contact,
            ))
            .map(drop)
    }
}

/// Stores an envelope and takes it out again before the commit, which so writes and syncs as many pages as if it had stayed:
/// the time until the answer does not tell that it did not [KV-086]. The cursor goes to the next one that does stay.
fn pretend(work: &mut Work<'_>, row: &Row<'_>) -> rusqlite::Result<()> {
    let cursor = *work.next_cursor;
    row.insert(work.connection, cursor)?;
    *work.deleted = true;
    work.connection.prepare_cached("DELETE FROM envelope WHERE cursor = ?1")?.execute([signed(cursor)]).map(drop)
}

fn stored_id(connection: &Connection, cursor: u64) -> rusqlite::Result<Option<(EnvelopeId, Option<Address>)>> {
    let mut select = connection.prepare_cached("SELECT id, source FROM envelope WHERE cursor = ?1")?;
    select.query_row([signed(cursor)], |row| Ok((EnvelopeId::from_bytes(row.get(0)?), address(row, 1)?))).optional()
}

/// Runs within the writer's transaction.
pub fn acknowledge(work: &mut Work<'_>, mailbox: &Address, up_to: Cursor) -> rusqlite::Result<u64> {
    let (number, taken) = {
        let mut index = work.index.lock();
        match index.number(mailbox) {
            Some(number) if index.mailbox(number).is_some() => {
                (number, index.mailbox_mut(number).acknowledge(up_to.get()))
            }
            _ => return Ok(0),
        }
    };
    // First the notes: a statement that fails must find all of them.
    work.undo.extend(taken.iter().map(|entry| Undo::Removed(number, *entry)));
    *work.deleted |= !taken.is_empty();
    let mut delete = work.connection.prepare_cached("DELETE FROM envelope WHERE cursor = ?1")?;
    for entry in &taken {
        delete.execute([signed(entry.cursor)])?;
    }
    Ok(taken.len() as u64)
}

/// Runs within the writer's transaction.
pub fn expire(work: &mut Work<'_>, older_than: u64, budget: usize) -> rusqlite::Result<u64> {
    let due = work.eras.due(work.connection, older_than, budget)?;
    let mut told: BTreeMap<MailboxNumber, u64> = BTreeMap::new();
    {
        let mut index = work.index.lock();
        for (cursor, number) in &due {
            let mailbox = index.mailbox_mut(*number);
            if let Some(entry) = mailbox.expire(*cursor) {
                told.insert(*number, mailbox.expired());
                work.undo.push(Undo::Expired(*number, entry));
            }
        }
    }
    *work.deleted |= !due.is_empty();
    // One statement for what lies side by side: a statement for each row costs half as much again. What lies between and is
    // not due, because it was handed in out of order, stays.
    let mut delete =
        work.connection.prepare_cached("DELETE FROM envelope WHERE cursor BETWEEN ?1 AND ?2 AND accepted_at < ?3")?;
    for run in due.chunk_by(|(before, _), (after, _)| before < after) {
        let ([(first, _), .., (last, _)] | [(first @ last, _)]) = run else { continue };
        let deleted = delete.execute((signed(*first), signed(*last), signed(older_than)))?;
        if deleted != run.len() {
            // Index and table would no longer agree: nothing happens, and the log says so.
            return Err(rusqlite::Error::StatementChangedRows(deleted));
        }
    }
    // Ascending by mailbox: neighbours share pages.
    let mut count = work.connection.prepare_cached(
        "INSERT INTO expired(mailbox, count) VALUES(?1, ?2) ON CONFLICT DO UPDATE SET count = excluded.count",
    )?;
    for (number, expired) in told {
        count.execute((number, signed(expired)))?;
    }
    Ok(due.len() as u64)
}

/// Runs within the writer's transaction.
pub fn acknowledge_expired(work: &mut Work<'_>, mailbox: &Address, count: u64) -> rusqlite::Result<()> {
    let (number, left) = {
        let mut index = work.index.lock();
        let Some(number) = index.number(mailbox) else { return Ok(()) };
        let before = index.mailbox(number).map_or(0, |mailbox| mailbox.expired());
        if before == 0 || count == 0 {
            return Ok(());
        }
        work.undo.push(Undo::ExpiredSet(number, before));
        (number, index.mailbox_mut(number).acknowledge_expired(count))
    };
    if left == 0 {
        work.connection.prepare_cached("DELETE FROM expired WHERE mailbox = ?1")?.execute([number])?;
    } else {
        let mut update = work.connection.prepare_cached("UPDATE expired SET count = ?2 WHERE mailbox = ?1")?;
        update.execute((number, signed(left)))?;
    }
    Ok(())
}

/// Runs within the writer's transaction.
pub fn restamp(work: &mut Work<'_>, now: u64) -> rusqlite::Result<u64> {
    let changed =
        work.connection.execute("UPDATE envelope SET accepted_at = ?1 WHERE accepted_at > ?1", [signed(now)])?;
    if changed > 0 {
        // Copies in memory have the old time. They are only copies.
        work.index.lock().forget_recent();
        work.eras.read_again(work.connection)?;
    }
    Ok(changed as u64)
}

/// Deletes all that waits for a device that goes away, and what it has not been told. Runs within the writer's transaction.
pub fn forget(work: &mut Work<'_>, mailbox: &Address, number: MailboxNumber) -> rusqlite::Result<()> {
    acknowledge(work, mailbox, Cursor::new(u64::MAX))?;
    {
        let mut index = work.index.lock();
        if let Some(expired) = index.mailbox(number).map(|mailbox| mailbox.expired()) {
            let mailbox = index.mailbox_mut(number);
            mailbox.set_expired(0);
            mailbox.take_refused();
            work.undo.push(Undo::ExpiredSet(number, expired));
        }
    }
    work.connection.prepare_cached("DELETE FROM expired WHERE mailbox = ?1")?.execute([number]).map(drop)
}

/// The envelopes at these cursors in one snapshot. One that is gone by now was acknowledged or has expired.
pub fn read(connection: &Connection, cursors: &[u64]) -> rusqlite::Result<Vec<StoredEnvelope>> {
    // One transaction: locks are taken once rather than once per row.
    let snapshot = connection.unchecked_transaction()?;
    let mut envelopes = Vec::with_capacity(cursors.len());
    {
        let mut select =
            snapshot.prepare_cached("SELECT id, source, accepted_at, ciphertext FROM envelope WHERE cursor = ?1")?;
        for cursor in cursors {
            match select.query_row([signed(*cursor)], |row| stored(*cursor, row)).optional() {
                // Deleted with what is acknowledged behind it, or at the next start, which tells its device.
                Err(error) if is_damage(&error) => tracing::error!(cursor, %error, "an envelope cannot be read"),
                envelope => envelopes.extend(envelope?),
            }
        }
    }
    snapshot.finish()?;
    Ok(envelopes)
}

fn stored(cursor: u64, row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredEnvelope> {
    Ok(StoredEnvelope {
        cursor: Cursor::new(cursor),
        id: EnvelopeId::from_bytes(row.get(0)?),
        source: address(row, 1)?,
        accepted_at: unsigned(row, 2)?,
        ciphertext: bytes(row, 3)?,
    })
}

/// Which cursors were given out when. Cursors rise and so does time, hence old envelopes are a prefix, unless the relay's
/// clock was set back: then a new era begins, and each era has a prefix of its own.
#[derive(Default)]
pub struct Eras {
    eras: VecDeque<Era>,
    /// First cursors of eras that the open transaction found empty.
    empty: Vec<u64>,
    /// What holds once the open transaction is committed, which changed times.
    instead: Option<VecDeque<Era>>,
}

struct Era {
    first: u64,
    last: u64,
    newest: u64,
}

/// Concurrent connections may hand in their envelopes a little out of order: milliseconds that do not begin an era.
const DISORDER_MS: u64 = 2_000;

/// A clock that was set back this often is broken. From then on expiring looks at every envelope of the last era.
const MAX_ERAS: usize = 1_000;

fn note(eras: &mut VecDeque<Era>, cursor: u64, accepted_at: u64) {
    let full = eras.len() >= MAX_ERAS;
    match eras.back_mut() {
        Some(era) if full || accepted_at.saturating_add(DISORDER_MS) >= era.newest => {
            era.last = cursor;
            era.newest = era.newest.max(accepted_at);
        }
        _ => eras.push_back(Era { first: cursor, last: cursor, newest: accepted_at }),
    }
}

impl Eras {
    /// When the youngest of all was accepted.
    pub fn newest(&self) -> Option<u64> {
        self.eras.iter().map(|era| era.newest).max()
    }

    /// Times were changed in the open transaction.
    fn read_again(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut select = connection.prepare_cached("SELECT cursor, accepted_at FROM envelope ORDER BY cursor")?;
        let mut rows = select.query([])?;
        let mut eras = VecDeque::new();
        while let Some(row) = rows.next()? {
            note(&mut eras, unsigned(row, 0)?, unsigned(row, 1)?);
        }
        self.instead = Some(eras);
        Ok(())
    }

    /// Notes that `cursor`, the highest so far, belongs to `accepted_at`.
    pub fn push(&mut self, cursor: u64, accepted_at: u64) {
        if let Some(eras) = &mut self.instead {
            note(eras, cursor, accepted_at);
        }
        note(&mut self.eras, cursor, accepted_at);
    }
    /// The transaction that looked for due envelopes was committed, so what it found empty is.
    pub fn commit(&mut self) {
        if let Some(eras) = self.instead.take() {
            self.eras = eras;
        }
        let empty = std::mem::take(&mut self.empty);
        if !empty.is_empty() {
            self.eras.retain(|era| !empty.contains(&era.first));
        }
    }

    /// It was not. Notes about cursors that were not used after all do no harm.
    pub fn undo(&mut self) {
        self.empty.clear();
        self.instead = None;
    }

    /// At most `budget` envelopes accepted before `older_than`, in the order of arrival: cursor and mailbox.
    fn due(
        &mut self,
        connection: &Connection,
        older_than: u64,
        budget: usize,
    ) -> rusqlite::Result<Vec<(u64, MailboxNumber)>> {
        let mut scan = connection.prepare_cached(
            "SELECT cursor, mailbox, accepted_at FROM envelope WHERE cursor BETWEEN ?1 AND ?2 ORDER BY cursor",
        )?;
        let mut due = Vec::new();
        let count = self.eras.len();
        for (i, era) in self.eras.iter().enumerate() {
            let current = i + 1 == count;
            let ordered = !(current && count >= MAX_ERAS);
            let stop_at = if ordered { older_than.saturating_add(DISORDER_MS) } else { u64::MAX };
            let mut rows = scan.query((signed(era.first), signed(era.last)))?;
            let mut found = false;
            while due.len() < budget {
                let Some(row) = rows.next()? else {
                    if !found && !current {
                        self.empty.push(era.first);
                    }
                    break;
                };
                found = true;
                let accepted_at = unsigned(row, 2)?;
                if accepted_at >= stop_at {
                    break;
                }
                if accepted_at < older_than {
                    due.push((unsigned(row, 0)?, row.get(1)?));
                }
            }
        }
        Ok(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eras(times: impl IntoIterator<Item = u64>) -> Vec<(u64, u64, u64)> {
        let mut eras = Eras::default();
        for (cursor, time) in (1..).zip(times) {
            eras.push(cursor, time);
        }
        eras.eras.iter().map(|era| (era.first, era.last, era.newest)).collect()
    }

    #[test]
    fn a_clock_set_back_begins_an_era() {
        assert_eq!(eras([10_000, 10_005, 9_990, 50_000]), [(1, 4, 50_000)], "a little disorder does not");
        assert_eq!(eras([50_000, 47_999, 50_000]), [(1, 1, 50_000), (2, 3, 50_000)]);
    }

    #[test]
    fn a_broken_clock_does_not_fill_the_memory() {
        assert_eq!(eras((0..2_000).map(|i| 10_000_000 - i * 5_000)).len(), MAX_ERAS);
    }
}

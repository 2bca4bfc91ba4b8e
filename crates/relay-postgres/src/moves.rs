//! Slots that go to another group of servers while mail flows.
//!
//! Mail of a slot, and who may write it, moves; accounts, prekeys and all else stay in the first group. A slot is where its row in
//! `lease` is, and there is never one in two groups. A move goes so, some slots at a time:
//!
//! | step | where | what |
//! |---|---|---|
//! | [`Step::Noted`] | first group | `slot_move` has the slots, under a new number |
//! | [`Step::Marked`] | source, target | `moving` has them: from now on only the move of this number does anything with them here |
//! | [`Step::Copied`] | target | the rows, while the source goes on serving |
//! | [`Step::Sealed`] | source | the writers' epochs rise, which waits for what is under way; the slots' rows leave `lease` |
//! | [`Step::Same`] | target | what has changed since; nothing changes any more |
//! | [`Step::Flipped`] | target | the slots' rows are in `lease`, for the writer that they had, with their next cursor |
//! | [`Step::Cleaned`] | source | the rows are deleted |
//!
//! **The point of no return** is the transaction of [`Step::Flipped`]. A program that finds a move whose mover is gone ([`mend`]; relays
//! look every few seconds) first gives it a new number, in the first group and in the target: from then on the old mover, should it live,
//! does nothing there. Then it looks whether the slots are in the target: those are finished, all others go back to the
//! source, where everything still is. There is one mover at a time, by a lock that its connection to the first group holds.
//!
//! **What others notice.** Between sealing and flipping nothing reads or writes these mailboxes; what is asked waits. A relay that
//! still asks the source finds no lease there, looks where the slots are, and asks again. Cursors go on above the old ones, and repeated
//! envelopes are found, as keys and tags moved along.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::groups::{Group, GroupId, Groups};
use crate::link::{Lent, Link};
use crate::outcome::Fault;
use crate::schema::SERVING;
use crate::slot::Slot;
use crate::store::whole;

/// Among the advisory locks, with the hash of the schema's name: the mover.
const MOVING: i32 = 0x4B75_7676;

/// The lock goes with a connection that is silent for this long: a mover that stands still keeps no mail away for longer.
const SILENT: &str = "SET idle_session_timeout = '15s'";

/// Slots that move at once: these are away for a moment together.
const BATCH: usize = 64;

/// Mailboxes that are compared at once.
const MAILBOXES: usize = 64;

/// Envelopes that are copied at once.
const PAGE: usize = 256;

/// How often all is compared while the source serves, at most: each time less has changed since.
const PASSES: usize = 4;

/// As few as that are left for when nothing changes any more.
const FEW: u64 = 200;

/// Failures in a row after which a move ends.
const TRIES: u32 = 30;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(500);

/// Relays that gave a sign of life within so many seconds live, or may come back.
const LATELY: i32 = 60;

/// What the counter of moves is called.
const NUMBER: &str = "slot_move";

/// How far the move of some slots has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    /// It is written down.
    Noted,
    /// Both groups know.
    Marked,
    /// The rows are there, while the source serves.
    Copied,
    /// The source does not serve any more.
    Sealed,
    /// Both have the same rows.
    Same,
    /// The target serves.
    Flipped,
    /// The source has no rows any more.
    Cleaned,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 7] =
        [Self::Noted, Self::Marked, Self::Copied, Self::Sealed, Self::Same, Self::Flipped, Self::Cleaned];
}

/// What a move tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// A step of some slots is done.
    Step(Step),
    /// Slots have moved.
    Moved {
        /// So many of them so far.
        slots: usize,
        /// Of so many that were to move.
        of: usize,
        /// Envelopes that were copied for the last ones, again for each change.
        envelopes: u64,
        /// For how long the last ones were away.
        away: Duration,
    },
    /// Something failed, and is tried again.
    Again,
}

/// What a move did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moved {
    /// Slots that have moved.
    pub slots: usize,
    /// Slots that were there before.
    pub there: usize,
    /// Envelopes that were copied.
    pub envelopes: u64,
    /// The longest that slots were away.
    pub away: Duration,
}

/// Why slots did not move. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is another mover.
    #[error("slots are being moved by another program: wait until it is done")]
    Busy,
    /// A relay could not write there.
    #[error("the relay `{0}` does not know the group: start it again, and then move slots")]
    Unprepared(String),
    /// The servers.
    #[error("the move stopped ({0}); every slot is in one group, and what is left goes on if this is run again")]
    Servers(String),
    /// The watcher said so.
    #[error("the move was stopped; run it again to go on")]
    Stopped,
}

impl From<Fault> for MoveError {
    fn from(fault: Fault) -> Self {
        Self::Servers(fault.words)
    }
}

/// Moves slots to a group, as many as are not there yet. `watch` is told what happens; when it says `false` all is left at once as it
/// is, as if the program had been killed.
///
/// # Errors
/// See [`MoveError`]. Every slot is in one group, or will be when a relay or the next move [mends](mend) it.
pub async fn move_slots(
    groups: &Groups,
    slots: &BTreeSet<Slot>,
    to: &Group,
    watch: &mut (dyn FnMut(Told) -> bool + Send),
) -> Result<Moved, MoveError> {
    let (mut moved, mut failures, mut first) = (Moved::default(), 0, true);
    loop {
        let before = moved.slots;
        match attempt(groups, slots, to, &mut moved, first, watch).await {
            Ok(()) => {
                // Keys of what moved away are gone from the files once they are written anew.
                for group in groups.all().iter().filter(|group| group.id != to.id && moved.slots > 0) {
                    let link = group.pool.lend().await?;
                    if let Err(fault) = whole::rewrite_keys(&link).await {
                        tracing::warn!(
                            error = fault.words,
                            "keys of mail that moved are in the group's files until a relay drops them"
                        );
                        continue;
                    }
                    whole::checkpoint(&link).await?;
                }
                return Ok(moved);
            }
            Err(Ended::Fault(fault)) if failures < TRIES => {
                tracing::debug!(error = fault.words, "a move of slots is tried again");
                failures = if moved.slots > before { 1 } else { failures + 1 };
                if !watch(Told::Again) {
                    return Err(MoveError::Stopped);
                }
                sleep(PAUSE).await;
            }
            Err(Ended::Fault(fault)) => return Err(fault.into()),
            Err(Ended::Error(error)) => return Err(error),
        }
        first = false;
    }
}

/// Why an attempt ended.
enum Ended {
    /// It may be tried again.
    Fault(Fault),
    Error(MoveError),
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

async fn attempt(
    groups: &Groups,
    slots: &BTreeSet<Slot>,
    to: &Group,
    moved: &mut Moved,
    first: bool,
    watch: &mut (dyn FnMut(Told) -> bool + Send),
) -> Result<(), Ended> {
    let Some(mover) = Mover::lock(groups).await? else {
        // One's own lock of a moment ago may be there still, on a connection that broke.
        return Err(if first { Ended::Error(MoveError::Busy) } else { Fault::not("the lock is another's").into() });
    };
    mover.mend().await?;
    if let Some(name) = mover.unprepared(to).await? {
        return Err(Ended::Error(MoveError::Unprepared(name)));
    }
    let mut sources = BTreeMap::<usize, Vec<Slot>>::new();
    let mut there = 0;
    for (place, group) in groups.all().iter().enumerate() {
        let rows = group.pool.lend().await?.query("SELECT slot FROM lease ORDER BY slot", &[]).await?;
        let here = rows.iter().map(|row| row.get::<_, i16>(0).unsigned_abs()).filter(|slot| slots.contains(slot));
        if group.id == to.id {
            there = here.count();
        } else {
            sources.entry(place).or_default().extend(here);
        }
    }
    let left: usize = sources.values().map(Vec::len).sum();
    if there + left < slots.len() {
        return Err(Fault::not("some slots are in no group").into());
    }
    if first {
        moved.there = there;
    }
    let of = moved.slots + left;
    for (place, slots) in sources {
        let Some(source) = groups.all().get(place) else { continue };
        for batch in slots.chunks(BATCH) {
            let mut one = Batch { mover: &mover, source, target: to, slots: columns(batch), number: 0, copied: 0 };
            let away = one.run(watch).await?;
            moved.slots += batch.len();
            moved.envelopes += one.copied;
            moved.away = moved.away.max(away);
            if !watch(Told::Moved { slots: moved.slots, of, envelopes: one.copied, away }) {
                return Err(Ended::Error(MoveError::Stopped));
            }
        }
    }
    Ok(())
}

/// Ends moves whose mover is gone: slots that have come to their target stay there, all others go back. Does nothing while there is a
/// mover. Says how many slots that were.
///
/// # Errors
/// A group cannot be reached. It may be done again.
pub async fn mend(groups: &Groups) -> Result<usize, Fault> {
    let some = "SELECT EXISTS (SELECT FROM slot_move)";
    if !groups.home().pool.lend().await?.query_one(some, &[]).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    match Mover::lock(groups).await? {
        Some(mover) => mover.mend().await,
        None => Ok(0),
    }
}

fn columns(slots: &[Slot]) -> Vec<i16> {
    slots.iter().map(|slot| slot.cast_signed()).collect()
}

/// The only one.
struct Mover<'a> {
    groups: &'a Groups,
    /// To the first group. The lock is its.
    lock: Link,
}

impl<'a> Mover<'a> {
    /// `None`: there is another one.
    async fn lock(groups: &'a Groups) -> Result<Option<Self>, Fault> {
        let lock = groups.home().door.open().await?;
        lock.batch(SILENT).await?;
        let sql = "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))";
        let locked = lock.query_one(sql, &[&MOVING]).await?.get::<_, bool>(0);
        Ok(locked.then_some(Self { groups, lock }))
    }

    /// Looks that it still is the only one, and says that it lives.
    async fn beat(&self) -> Result<(), Fault> {
        self.lock.query("SELECT", &[]).await.map(drop)
    }

    /// A number that is higher than all before.
    async fn number(&self) -> Result<i64, Fault> {
        let sql = "INSERT INTO counter(name, value) VALUES ($1, 1)
            ON CONFLICT (name) DO UPDATE SET value = counter.value + 1 RETURNING value";
        Ok(self.lock.query_one(sql, &[&NUMBER]).await?.get(0))
    }

    /// A relay that could not write what is in this group.
    async fn unprepared(&self, to: &Group) -> Result<Option<String>, Fault> {
        let sql = "SELECT name FROM node WHERE groups & $1 = 0
                AND (address <> '' AND seen > now() - make_interval(secs => $2) OR address = '' AND NOT $3) LIMIT 1";
        // One that serves alone gives no signs of life, and holds a lock.
        let free = "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))";
        let free: bool = self.lock.query_one(free, &[&SERVING]).await?.get(0);
        if free {
            let unlock = "SELECT pg_advisory_unlock($1, hashtext(current_schema()))";
            self.lock.query(unlock, &[&SERVING]).await?;
        }
        let seconds = f64::from(LATELY);
        let row = self.lock.query_opt(sql, &[&to.id.bit(), &seconds, &free]).await?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Mailboxes of these slots, those of deleted devices whose mail may be somewhere among them.
    async fn mailboxes(&self, slots: &[i16]) -> Result<BTreeSet<i64>, Fault> {
        let sql = "SELECT d.mailbox FROM account a JOIN device d ON d.account = a.id WHERE a.slot = ANY($1)
            UNION SELECT mailbox FROM dropped WHERE slot = ANY($1)";
        Ok(self.lock.query(sql, &[&slots]).await?.iter().map(|row| row.get(0)).collect())
    }

    /// See [`mend`].
    async fn mend(&self) -> Result<usize, Fault> {
        let rows = self.lock.query("SELECT slot, source, target FROM slot_move", &[]).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        // From here on what the mover before knew is no number of a move any more.
        let number = self.number().await?;
        self.lock.execute("UPDATE slot_move SET number = $1", &[&number]).await?;
        let mut moves = BTreeMap::<(i16, i16), Vec<i16>>::new();
        for row in &rows {
            moves.entry((row.get(1), row.get(2))).or_default().push(row.get(0));
        }
        for ((source, target), slots) in moves {
            let group = |id| GroupId::new(id).and_then(|id| self.groups.get(id));
            let (Some(source), Some(target)) = (group(source), group(target)) else {
                return Err(Fault::not("a move names a group that is not known: start this program again"));
            };
            self.mend_between(source, target, number, slots).await?;
        }
        Ok(rows.len())
    }

    async fn mend_between(&self, source: &Group, target: &Group, number: i64, slots: Vec<i16>) -> Result<(), Fault> {
        let link = checked(self.groups, target).await?;
        link.begin().await?;
        link.batch("LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE").await?;
        let rows = link.query("SELECT slot FROM lease WHERE slot = ANY($1)", &[&slots]).await?;
        let come: BTreeSet<i16> = rows.iter().map(|row| row.get(0)).collect();
        let (forth, back): (Vec<i16>, Vec<i16>) = slots.into_iter().partition(|slot| come.contains(slot));
        let mark = "INSERT INTO moving(slot, number) SELECT slot, $2 FROM unnest($1::int2[]) AS s(slot)
            ON CONFLICT (slot) DO UPDATE SET number = excluded.number";
        link.execute(mark, &[&back, &number]).await?;
        link.commit().await?;
        drop(link);

        let link = checked(self.groups, source).await?;
        link.begin().await?;
        link.batch("LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE").await?;
        let renumber = "UPDATE moving SET number = $2 WHERE slot = ANY($1)";
        link.execute(renumber, &[&forth, &number]).await?;
        // What their lanes know is from before.
        let raise = "UPDATE writer SET epoch = epoch + 1 WHERE id IN (SELECT writer FROM moving WHERE slot = ANY($1) AND sealed)";
        link.execute(raise, &[&back]).await?;
        let unseal = "WITH back AS (DELETE FROM moving WHERE slot = ANY($1) RETURNING slot, sealed, writer, epoch, next_cursor)
            INSERT INTO lease(slot, writer, epoch, next_cursor) SELECT slot, writer, epoch + 1, next_cursor FROM back WHERE sealed";
        link.execute(unseal, &[&back]).await?;
        link.commit().await?;
        drop(link);

        let mut finish = Batch { mover: self, source, target, slots: forth, number, copied: 0 };
        finish.finish().await?;
        let undo = Batch { mover: self, source, target, slots: back, number, copied: 0 };
        undo.clean(target, &self.mailboxes(&undo.slots).await?).await?;
        // What is left is of devices that were deleted at the moment of the copy; it is looked for in the whole table.
        let rest = async {
            let link = undo.fenced(target).await?;
            let sql = "WITH e AS (DELETE FROM envelope WHERE slot = ANY($1) AND mailbox <> 0 RETURNING mailbox, cursor)
                DELETE FROM envelope_key k USING e WHERE k.mailbox = e.mailbox AND k.cursor = e.cursor";
            link.execute(sql, &[&undo.slots]).await?;
            link.commit().await
        };
        if let Err(fault) = rest.await {
            tracing::debug!(error = fault.words, "it could not be looked for what a copy left");
        }
        undo.unmark(target).await?;
        undo.forget().await
    }
}

/// A connection to a group that is the one it should be.
async fn checked(groups: &Groups, group: &Group) -> Result<Lent, Fault> {
    let link = group.pool.lend().await?;
    groups.check(group, &link).await?;
    Ok(link)
}

/// Slots that move together.
struct Batch<'a> {
    mover: &'a Mover<'a>,
    source: &'a Group,
    target: &'a Group,
    slots: Vec<i16>,
    number: i64,
    copied: u64,
}

impl Batch<'_> {
    /// Says for how long they were away.
    async fn run(&mut self, watch: &mut (dyn FnMut(Told) -> bool + Send)) -> Result<Duration, Ended> {
        let mut done = |step| {
            if watch(Told::Step(step)) { Ok(()) } else { Err(Ended::Error(MoveError::Stopped)) }
        };
        self.note().await?;
        done(Step::Noted)?;
        self.mark(self.source, true).await?;
        self.mark(self.target, false).await?;
        done(Step::Marked)?;
        let mut mailboxes = self.mover.mailboxes(&self.slots).await?;
        self.clean(self.target, &mailboxes).await?;
        for _ in 0..PASSES {
            mailboxes.extend(self.mover.mailboxes(&self.slots).await?);
            if self.compare(&mailboxes).await? <= FEW {
                break;
            }
        }
        done(Step::Copied)?;
        let away = Instant::now();
        let leases = self.seal().await?;
        done(Step::Sealed)?;
        mailboxes.extend(self.mover.mailboxes(&self.slots).await?);
        self.compare(&mailboxes).await?;
        self.copy_expired(&mailboxes).await?;
        if self.compare(&mailboxes).await? != 0 {
            return Err(Fault::not("the groups do not have the same mail").into());
        }
        done(Step::Same)?;
        self.flip(&leases).await?;
        let away = away.elapsed();
        done(Step::Flipped)?;
        self.finish().await?;
        done(Step::Cleaned)?;
        Ok(away)
    }

    /// In the first group: it is known what is to be mended should this end.
    async fn note(&mut self) -> Result<(), Fault> {
        self.number = self.mover.number().await?;
        let sql = "INSERT INTO slot_move(slot, source, target, number) SELECT slot, $2, $3, $4 FROM unnest($1::int2[]) AS s(slot)";
        let (source, target) = (self.source.id.get(), self.target.id.get());
        self.mover.lock.execute(sql, &[&self.slots, &source, &target, &self.number]).await.map(drop)
    }

    fn all(&self, count: usize) -> Result<(), Fault> {
        if count == self.slots.len() { Ok(()) } else { Err(Fault::not("another mover took the slots")) }
    }

    /// The slots are here, or not at all; and are this move's.
    async fn mark(&self, group: &Group, here: bool) -> Result<(), Fault> {
        self.mover.beat().await?;
        let link = checked(self.mover.groups, group).await?;
        link.begin().await?;
        link.batch("LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE").await?;
        let held = link.query("SELECT FROM lease WHERE slot = ANY($1)", &[&self.slots]).await?.len();
        if held != if here { self.slots.len() } else { 0 } {
            return Err(Fault::not("the slots are not where they were"));
        }
        let sql = "INSERT INTO moving(slot, number) SELECT slot, $2 FROM unnest($1::int2[]) AS s(slot)
            ON CONFLICT (slot) DO UPDATE SET number = excluded.number WHERE moving.number < excluded.number AND NOT moving.sealed";
        let marked = link.execute(sql, &[&self.slots, &self.number]).await?;
        self.all(usize::try_from(marked).unwrap_or_default())?;
        link.commit().await
    }

    /// A transaction in which the slots are this move's until its end.
    async fn fenced(&self, group: &Group) -> Result<Lent, Fault> {
        self.mover.beat().await?;
        let link = group.pool.lend().await?;
        link.begin().await?;
        let sql = "SELECT FROM moving WHERE slot = ANY($1) AND number = $2 FOR SHARE";
        let rows = link.query(sql, &[&self.slots, &self.number]).await?;
        self.all(rows.len())?;
        Ok(link)
    }

    /// Deletes mail of these mailboxes where the slots are not.
    async fn clean(&self, group: &Group, mailboxes: &BTreeSet<i64>) -> Result<(), Fault> {
        if self.slots.is_empty() {
            return Ok(());
        }
        let all: Vec<i64> = mailboxes.iter().copied().collect();
        for some in all.chunks(MAILBOXES) {
            let link = self.fenced(group).await?;
            whole::delete_mail(&link, some).await?;
            link.commit().await?;
        }
        group.dirty.store(true, std::sync::atomic::Ordering::Release);
        Ok(())
    }

    /// Brings the target to what the source has. Says how many envelopes were not the same.
    async fn compare(&mut self, mailboxes: &BTreeSet<i64>) -> Result<u64, Fault> {
        let all: Vec<i64> = mailboxes.iter().copied().collect();
        let mut changed = 0;
        for some in all.chunks(MAILBOXES) {
            self.mover.beat().await?;
            let here = listed(&*self.source.pool.lend().await?, some).await?;
            let there = listed(&*self.target.pool.lend().await?, some).await?;
            let gone: Vec<_> = there.difference(&here).copied().collect();
            for page in gone.chunks(PAGE) {
                let (of, cursors) = split(page);
                let link = self.fenced(self.target).await?;
                for sql in [
                    "DELETE FROM envelope_key e USING unnest($1::int8[], $2::int8[]) AS g(mailbox, cursor)
                        WHERE e.mailbox = g.mailbox AND e.cursor = g.cursor",
                    "DELETE FROM envelope e USING unnest($1::int8[], $2::int8[]) AS g(mailbox, cursor)
                        WHERE e.mailbox = g.mailbox AND e.cursor = g.cursor",
                ] {
                    link.execute(sql, &[&of, &cursors]).await?;
                }
                link.commit().await?;
            }
            let new: Vec<_> = here.difference(&there).copied().collect();
            self.target.days.prepare(&self.target.pool, new.iter().map(|envelope| envelope.day)).await?;
            for page in new.chunks(PAGE) {
                self.copy(page).await?;
            }
            changed += (gone.len() + new.len()) as u64;
            self.copied += new.len() as u64;
        }
        Ok(changed)
    }

    async fn copy(&self, page: &[Envelope]) -> Result<(), Fault> {
        let (of, cursors) = split(page);
        let rows = self.source.pool.lend().await?.query(SELECT, &[&of, &cursors]).await?;
        if rows.is_empty() {
            return Ok(());
        }
        macro_rules! column {
            ($type:ty, $place:expr) => {
                rows.iter().map(|row| row.get($place)).collect::<Vec<$type>>()
            };
        }
        let (slots, mailboxes, cursors) = (column!(i16, 0), column!(i64, 1), column!(i64, 2));
        let (times, days, contacts) = (column!(i64, 3), column!(i32, 4), column!(bool, 5));
        let (ids, sources, bodies) = (column!(&[u8], 6), column!(Option<&[u8]>, 7), column!(&[u8], 8));
        let (tags, keys, sizes) = (column!(&[u8], 9), column!(&[u8], 10), column!(i32, 11));
        let arguments: [&(dyn ToSql + Sync); 12] =
            [&slots, &mailboxes, &cursors, &times, &days, &contacts, &ids, &sources, &bodies, &tags, &keys, &sizes];
        let link = self.fenced(self.target).await?;
        link.execute(INSERT, &arguments).await?;
        link.commit().await
    }

    /// How many envelopes expired unread, and were not told yet.
    async fn copy_expired(&self, mailboxes: &BTreeSet<i64>) -> Result<(), Fault> {
        let all: Vec<i64> = mailboxes.iter().copied().collect();
        for some in all.chunks(MAILBOXES) {
            let sql = "SELECT mailbox, count FROM expired WHERE mailbox = ANY($1)";
            let rows = self.source.pool.lend().await?.query(sql, &[&some]).await?;
            let mailboxes: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            let counts: Vec<i64> = rows.iter().map(|row| row.get(1)).collect();
            let link = self.fenced(self.target).await?;
            link.execute("DELETE FROM expired WHERE mailbox = ANY($1)", &[&some]).await?;
            let insert = "INSERT INTO expired(mailbox, count) SELECT * FROM unnest($1::int8[], $2::int8[])";
            link.execute(insert, &[&mailboxes, &counts]).await?;
            link.commit().await?;
        }
        Ok(())
    }

    /// The source writes these slots no more. Says who wrote them.
    async fn seal(&self) -> Result<Vec<Row>, Fault> {
        self.mover.beat().await?;
        let link = self.source.pool.lend().await?;
        link.begin().await?;
        link.batch("LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE").await?;
        // Waits until nothing of theirs is under way any more.
        let raise = "UPDATE writer SET epoch = epoch + 1 WHERE id IN (SELECT writer FROM lease WHERE slot = ANY($1))";
        link.execute(raise, &[&self.slots]).await?;
        let seal = "WITH gone AS (DELETE FROM lease WHERE slot = ANY($1) RETURNING slot, writer, epoch, next_cursor)
            UPDATE moving m SET sealed = true, writer = g.writer, epoch = g.epoch, next_cursor = g.next_cursor FROM gone g
            WHERE m.slot = g.slot AND m.number = $2 AND NOT m.sealed RETURNING m.slot, m.writer, m.epoch, m.next_cursor";
        let rows = link.query(seal, &[&self.slots, &self.number]).await?;
        self.all(rows.len())?;
        link.commit().await?;
        Ok(rows)
    }

    /// The target writes them from now on.
    async fn flip(&self, leases: &[Row]) -> Result<(), Fault> {
        self.mover.beat().await?;
        let link = self.target.pool.lend().await?;
        link.begin().await?;
        link.batch("LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE").await?;
        let unmark = "DELETE FROM moving WHERE slot = ANY($1) AND number = $2";
        let unmarked = link.execute(unmark, &[&self.slots, &self.number]).await?;
        self.all(usize::try_from(unmarked).unwrap_or_default())?;
        let slots: Vec<i16> = leases.iter().map(|row| row.get(0)).collect();
        let writers: Vec<i16> = leases.iter().map(|row| row.get(1)).collect();
        let epochs: Vec<i64> = leases.iter().map(|row| row.get(2)).collect();
        let cursors: Vec<i64> = leases.iter().map(|row| row.get(3)).collect();
        // They begin anew before they write, above all cursors that were given out in the source.
        let raise = "INSERT INTO writer(id, epoch) SELECT DISTINCT id, 1 FROM unnest($1::int2[]) AS w(id) WHERE id <> 0
            ON CONFLICT (id) DO UPDATE SET epoch = writer.epoch + 1";
        link.execute(raise, &[&writers]).await?;
        let insert = "INSERT INTO lease(slot, writer, epoch, next_cursor) SELECT slot, writer, epoch + 1, next_cursor
            FROM unnest($1::int2[], $2::int2[], $3::int8[], $4::int8[]) AS l(slot, writer, epoch, next_cursor)";
        link.execute(insert, &[&slots, &writers, &epochs, &cursors]).await?;
        link.batch("ANALYZE lease; ANALYZE writer").await?;
        link.commit().await
    }

    /// What is left to do once the target serves.
    async fn finish(&mut self) -> Result<(), Fault> {
        if self.slots.is_empty() {
            return Ok(());
        }
        let sql = "UPDATE slot_group SET store_group = $2 WHERE slot = ANY($1)";
        self.mover.lock.execute(sql, &[&self.slots, &self.target.id.get()]).await?;
        let marked = {
            // A mover before this one may have been so far.
            let sql = "SELECT FROM moving WHERE slot = ANY($1) AND number = $2 AND sealed";
            self.source.pool.lend().await?.query(sql, &[&self.slots, &self.number]).await?.len()
        };
        if marked > 0 {
            self.clean(self.source, &self.mover.mailboxes(&self.slots).await?).await?;
            self.unmark(self.source).await?;
        }
        self.forget().await
    }

    async fn unmark(&self, group: &Group) -> Result<(), Fault> {
        let sql = "DELETE FROM moving WHERE slot = ANY($1) AND number = $2";
        group.pool.lend().await?.execute(sql, &[&self.slots, &self.number]).await.map(drop)
    }

    /// In the first group: nothing is left to be mended.
    async fn forget(&self) -> Result<(), Fault> {
        let sql = "DELETE FROM slot_move WHERE slot = ANY($1) AND number = $2";
        self.mover.lock.execute(sql, &[&self.slots, &self.number]).await.map(drop)
    }
}

/// An envelope, as two groups compare it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Envelope {
    mailbox: i64,
    cursor: i64,
    accepted_at: i64,
    day: i32,
}

async fn listed(link: &Link, mailboxes: &[i64]) -> Result<BTreeSet<Envelope>, Fault> {
    let sql = "SELECT k.mailbox, k.cursor, e.accepted_at, e.day FROM envelope_key k
        JOIN envelope e ON e.mailbox = k.mailbox AND e.cursor = k.cursor AND e.day = k.day WHERE k.mailbox = ANY($1)";
    let envelope =
        |row: &Row| Envelope { mailbox: row.get(0), cursor: row.get(1), accepted_at: row.get(2), day: row.get(3) };
    Ok(link.query(sql, &[&mailboxes]).await?.iter().map(envelope).collect())
}

fn split(page: &[Envelope]) -> (Vec<i64>, Vec<i64>) {
    page.iter().map(|envelope| (envelope.mailbox, envelope.cursor)).unzip()
}

/// Whole envelopes.
const SELECT: &str =
    "SELECT e.slot, e.mailbox, e.cursor, e.accepted_at, e.day, e.contact, e.id, e.source, e.ciphertext,
        k.tag, k.key, k.size
    FROM unnest($1::int8[], $2::int8[]) AS w(mailbox, cursor)
    JOIN envelope_key k ON k.mailbox = w.mailbox AND k.cursor = w.cursor
    JOIN envelope e ON e.mailbox = k.mailbox AND e.cursor = k.cursor AND e.day = k.day";

/// The same.
const INSERT: &str = "WITH i AS MATERIALIZED (
        SELECT * FROM unnest($1::int2[], $2::int8[], $3::int8[], $4::int8[], $5::int4[], $6::bool[], $7::bytea[], $8::bytea[],
            $9::bytea[], $10::bytea[], $11::bytea[], $12::int4[])
            AS i(slot, mailbox, cursor, accepted_at, day, contact, id, source, ciphertext, tag, key, size)),
    k AS (
        INSERT INTO envelope_key(mailbox, cursor, day, size, tag, key) SELECT mailbox, cursor, day, size, tag, key FROM i
            ON CONFLICT DO NOTHING RETURNING mailbox, cursor)
    INSERT INTO envelope(mailbox, cursor, accepted_at, day, slot, contact, id, source, ciphertext)
        SELECT i.mailbox, i.cursor, i.accepted_at, i.day, i.slot, i.contact, i.id, i.source, i.ciphertext
        FROM k JOIN i ON i.mailbox = k.mailbox AND i.cursor = k.cursor";

//! What the writer does when the disk is full, and how it finds out that it is not any more.
//!
//! ```text
//!             less room than the low water mark, or a write that fails for lack of it: the reserve is released
//!   Accepts ───────────────────────────────────────────────────────────────► Refuses what needs room
//!      ▲                                                                        │
//!      └── the reserve, or a part of it, can be filled, and beside it ◄─────────┘ at most once in `probe_interval`
//!          a trial of `room_bytes` of mail can be stored, and there is room up to the high water mark
//! ```
//! Mail that was fetched leaves its pages free within the database, and its file does not shrink: that is room, too, though the
//! disk stays as full as it was. The trial finds out, whatever the limit is: a disk, a quota, a bound of the file. Between the two
//! marks nothing changes, so the log has one line for each turn.
//!
//! Deleting needs room in the log, as much as is deleted. What does not fit is done in small pieces.
//!
//! With a part of the reserve only, or little free space, the store is *tight*: batches are small and the log is emptied after each.
//! So the log needs no more than what is left, and neither does the database when it takes over what is in the log.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kuvert_relay::store::{Cursor, Pending, StoreError, Unavailable};
use rusqlite::ffi;

use super::Options;
use super::column::signed;
use super::command::{Command, Slot};
use super::files::{Files, Reserve};
use super::schema::{PAGE_BYTES, commit_error, store_error};
use super::writer::{MAX_BATCH_BYTES, Writer};

/// Bytes of ciphertext in one transaction while the store is tight, about.
const TIGHT_BATCH_BYTES: u64 = 1024 * 1024;

/// Bytes of ciphertext that are deleted in one transaction where more did not fit.
const SLICE_BYTES: u64 = 512 * 1024;

/// Envelopes that expire in one transaction where more did not fit.
const SLICE_ENVELOPES: usize = 5;

/// What the log of a tight store takes: a batch, with some pages of the tree.
const LOG_BYTES: u64 = 3 * 512 * 1024;

/// A tight store with less room than this refuses what needs some, before a write fails: the last of the disk is the log's. A
/// batch that is accepted just above leaves the log its room.
const LOW_WATER_BYTES: u64 = 2 * TIGHT_BATCH_BYTES;

/// With so much room mail is accepted again.
const HIGH_WATER_BYTES: u64 = 2 * LOW_WATER_BYTES;

/// With less free space the store is tight: several times what its log takes otherwise.
const NEARLY_FULL_BYTES: u64 = 64 * 1024 * 1024;

/// A store with a part of its reserve looks so often whether the whole reserve fits again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Bytes of an envelope of the trial.
const TRIAL_ROW_BYTES: u64 = 64 * 1024;

/// What the writer knows of the room on the disk.
pub struct Space {
    probe_interval: Duration,
    room_bytes: u64,
    /// Set while there is no space: when to see again whether there is.
    next_probe: Option<Instant>,
    /// Set while there is a part of the reserve: when to see again whether the whole one fits.
    part: Option<Instant>,
    nearly_full: bool,
}

impl Space {
    pub fn new(options: &Options, files: &Files) -> Self {
        Self {
            probe_interval: options.probe_interval,
            room_bytes: options.room_bytes,
            next_probe: None,
            part: (files.reserve() != Some(Reserve::Whole)).then(Instant::now),
            nearly_full: files.free_bytes() < NEARLY_FULL_BYTES,
        }
    }

    pub fn max_batch_bytes(&self) -> u64 {
        if self.is_tight() { TIGHT_BATCH_BYTES } else { MAX_BATCH_BYTES }
    }

    fn is_tight(&self) -> bool {
        self.part.is_some() || self.nearly_full || self.next_probe.is_some()
    }
}

impl Writer {
    /// While there is no space: refuses the commands that need some, and hands back the others.
    pub(super) fn refuse_without_space(&mut self, batch: Vec<Command>) -> Vec<Command> {
        if !batch.iter().any(Command::grows) {
            return batch;
        }
        if self.space.next_probe.is_none() && self.space.is_tight() && self.room() < LOW_WATER_BYTES {
            self.note(&Unavailable::DiskFull.into());
        }
        if self.has_space() {
            return batch;
        }
        let (growing, others) = batch.into_iter().partition(Command::grows);
        let refused: Vec<Command> = growing;
        refused.into_iter().for_each(|command| command.fail(&Unavailable::DiskFull.into()));
        others
    }

    pub(super) fn has_space(&mut self) -> bool {
        match self.space.next_probe {
            None => true,
            Some(at) if Instant::now() < at => false,
            Some(_) => {
                let found = self.probe();
                if found {
                    tracing::info!("there is space again: mail is accepted");
                    self.space.next_probe = None;
                } else {
                    self.files.release_reserve();
                    self.space.next_probe = Some(Instant::now() + self.space.probe_interval);
                }
                self.count_reusable();
                found
            }
        }
    }

    /// Whether there is room for the reserve, or a part of it, and for mail beside it.
    fn probe(&mut self) -> bool {
        for fill in [Files::fill_reserve, Files::fill_part] {
            let reserve = fill(&self.files).ok();
            if reserve.is_none() && self.files.free_bytes() < NEARLY_FULL_BYTES {
                return false;
            }
            self.space.part = (reserve != Some(Reserve::Whole)).then(|| Instant::now() + LOOK_AGAIN);
            // In this order: a trial can make the database grow.
            if self.room() >= HIGH_WATER_BYTES && self.trial().is_ok() {
                return true;
            }
        }
        false
    }

    /// Bytes that mail can take: in the database's free pages while the log has what it needs on the disk, or on the disk.
    fn room(&self) -> u64 {
        self.count_reusable();
        let free = self.files.free_bytes();
        let reusable = if free < LOG_BYTES { 0 } else { self.reusable.load(Ordering::Relaxed) };
        // The log's bytes are not for mail.
        free.saturating_sub(LOG_BYTES).saturating_add(reusable)
    }

    /// Stores mail for no mailbox and deletes it in the same transaction, which writes as many pages as if it had stayed, and
    /// brings them into the database's file.
    fn trial(&mut self) -> Result<(), StoreError> {
        let rows = (self.space.room_bytes / TRIAL_ROW_BYTES).max(1);
        let size = signed(self.space.room_bytes / rows);
        let first = signed(self.next_cursor);
        let store = || {
            self.execute("BEGIN IMMEDIATE")?;
            let mut insert = self.connection.prepare_cached(
                "INSERT INTO envelope(cursor, mailbox, id, accepted_at, ciphertext) VALUES(?1, 0, zeroblob(16), 0, zeroblob(?2))",
            )?;
            for row in 0..signed(rows) {
                insert.execute((first.saturating_add(row), size))?;
            }
            self.connection.prepare_cached("DELETE FROM envelope WHERE cursor >= ?1")?.execute([first])?;
            self.execute("COMMIT")
        };
        let stored = store();
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction cannot be rolled back");
        }
        stored.map_err(|error| self.meaning(&error, commit_error))?;
        self.empty_log().map_err(|error| self.meaning(&error, store_error))
    }

    /// Brings what was committed into the database's file, unless others read for long.
    fn empty_log(&mut self) -> rusqlite::Result<()> {
        let deleted = std::mem::take(&mut self.deleted);
        self.policy.committed(&self.connection, deleted)?;
        self.wait_for_checkpointer()?;
        self.policy.quiet(&self.connection)
    }

    /// Until the checkpoint thread rests. What is asked of the writer meanwhile comes next.
    fn wait_for_checkpointer(&mut self) -> rusqlite::Result<()> {
        while self.policy.is_at_work() {
            // It may have been received before this batch.
            let done = self.backlog.iter().position(|command| matches!(command, Command::PassDone { .. }));
            let next = done.and_then(|place| self.backlog.remove(place));
            match next.map_or_else(|| self.receiver.recv(), Ok) {
                Ok(Command::PassDone { failed }) => self.policy.pass_done(&self.connection, failed)?,
                Ok(command) => self.backlog.push_back(command),
                // Not while the thread is at work: it has a sender.
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// On a full disk: does in many small transactions what did not fit into one. Deleting writes as much into the log as it
    /// deletes, and what is left of the disk may be less. Hands the command back where it cannot be divided.
    pub(super) fn in_slices(&mut self, command: Command) -> Option<Command> {
        match command {
            Command::Acknowledge { mailbox, up_to, slot } => self.slices(slot, u64::MAX, |writer, slot| {
                let cut = writer.index.lock().cut(&mailbox, up_to.get(), SLICE_BYTES)?;
                Some(Command::Acknowledge { mailbox, up_to: Cursor::new(cut), slot })
            }),
            Command::Expire { older_than, budget, slot } => self.slices(slot, budget as u64, |_, slot| {
                Some(Command::Expire { older_than, budget: SLICE_ENVELOPES, slot })
            }),
            other => return Some(other),
        }
        None
    }

    /// Until there is no next one, or one did nothing, or `most` are done. The answer is what they did together.
    fn slices(
        &mut self,
        mut slot: Slot<u64, StoreError>,
        most: u64,
        next: impl Fn(&Self, Slot<u64, StoreError>) -> Option<Command>,
    ) {
        let mut total = 0;
        while total < most {
            let (reply, pending) = Pending::channel();
            let Some(command) = next(self, Slot::new(reply)) else { break };
            let mut single = [command];
            if let Err(error) = self.transact(&mut single) {
                self.note(&error);
                // What is done is done; the rest is asked for again.
                return slot.fail(&error);
            }
            single.into_iter().for_each(Command::send);
            let emptied = self.empty_log();
            self.checkpointed(emptied);
            match pending.wait() {
                Ok(0) => break,
                Ok(count) => total += count,
                Err(error) => return slot.fail(&error),
            }
        }
        slot.set(Ok(total));
        slot.send();
    }

    /// What an error means. A write that was refused may have met a used-up quota: that is a full disk.
    pub(super) fn meaning(&self, error: &rusqlite::Error, otherwise: fn(&rusqlite::Error) -> StoreError) -> StoreError {
        let refused = error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_WRITE);
        if refused && self.files.is_full() { Unavailable::DiskFull.into() } else { otherwise(error) }
    }

    pub(super) fn note(&mut self, error: &StoreError) {
        match error {
            StoreError::Unavailable(Unavailable::DiskFull) => {
                if self.space.next_probe.is_none() {
                    tracing::error!("no space left: new mail is refused until there is");
                }
                self.files.release_reserve();
                self.space.next_probe = Some(Instant::now() + self.space.probe_interval);
            }
            error => tracing::error!(%error, "a transaction failed"),
        }
    }

    /// After each batch of a store that is tight or full.
    pub(super) fn keep_log_small(&mut self) {
        self.space.nearly_full = self.files.free_bytes() < NEARLY_FULL_BYTES;
        if !self.space.is_tight() {
            return;
        }
        let emptied = self.empty_log();
        self.checkpointed(emptied);
        if self.space.next_probe.is_none() && self.space.part.is_some_and(|look| Instant::now() >= look) {
            let whole = matches!(self.files.fill_reserve(), Ok(Reserve::Whole));
            self.space.part = (!whole).then(|| Instant::now() + LOOK_AGAIN);
        }
    }

    /// Pages within the database that are free.
    pub(super) fn count_reusable(&self) {
        let free = self
            .connection
            .prepare_cached("PRAGMA freelist_count")
            .and_then(|mut pragma| pragma.query_row([], |row| row.get::<_, i64>(0)));
        // What cannot be read is told as it was.
        if let Ok(pages) = free {
            self.reusable.store(pages.unsigned_abs() * PAGE_BYTES, Ordering::Relaxed);
        }
    }
}

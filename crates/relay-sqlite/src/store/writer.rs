//! The one writer. It takes everything that is in its queue, does it in one transaction, and answers once that is on the
//! disk: the longer a write to the disk takes, the more work shares the next one.
//!
//! When a transaction fails, none of its commands happened. They are then tried one by one, so that one command's trouble
//! is not all of theirs. A full disk refuses what needs room and lets the rest go on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kuvert_relay::store::{StoreError, StoredEnvelope, Unavailable};
use rusqlite::Connection;

use super::checkpoint::Policy;
use super::column::signed;
use super::command::{Command, Slot};
use super::envelopes::Eras;
use super::files::Files;
use super::index::{Loaded, SharedIndex, Undo};
use super::schema::{commit_error, store_error};
use super::space::Space;
use super::{OpenError, Options, QUEUED_OVERHEAD, accounts, envelopes, invitations, prekeys, times};

/// Cursors are reserved on disk in blocks, so that a commit does not have to write where they have come to. A restart
/// skips what is left of a block.
const CURSOR_BLOCK: u64 = 1 << 16;

/// Bytes of ciphertext in one transaction, about: bounds memory and the time that a transaction takes.
pub(super) const MAX_BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// Commands that may fail one after another before the trouble counts as all of theirs.
const MAX_SINGLE_FAILURES: u32 = 3;

/// How long acknowledgements wait for a submit to share its commit with. A device waits for mail; none waits for its
/// deletion.
const ACKNOWLEDGEMENT_PATIENCE: Duration = Duration::from_millis(2);

/// So many acknowledgements are worth a commit of their own.
const PATIENT_BATCH: usize = 64;

/// What the writer starts with.
pub struct Setup {
    pub connection: Connection,
    pub files: Files,
    pub options: Options,
    pub state: Loaded,
    pub queued_bytes: Arc<AtomicU64>,
    pub reusable: Arc<AtomicU64>,
    pub receiver: Receiver<Command>,
    pub policy: Policy,
    pub reader_threads: Vec<JoinHandle<()>>,
}

/// What commands work on: an open transaction, and the memory that belongs to it.
pub struct Work<'a> {
    pub connection: &'a Connection,
    pub index: &'a SharedIndex,
    pub undo: &'a mut Vec<Undo>,
    pub eras: &'a mut Eras,
    pub next_cursor: &'a mut u64,
    /// What is stored, for devices that are attached.
    pub stored: &'a mut Vec<StoredEnvelope>,
    /// Set when envelopes or accounts are deleted.
    pub deleted: &'a mut bool,
}

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) files: Files,
    max_batch: usize,
    pub(super) index: SharedIndex,
    undo: Vec<Undo>,
    /// By the open transaction.
    stored: Vec<StoredEnvelope>,
    eras: Eras,
    pub(super) next_cursor: u64,
    /// Cursors below are reserved on disk.
    reserved: u64,
    queued_bytes: Arc<AtomicU64>,
    pub(super) receiver: Receiver<Command>,
    /// What was received and comes before what is in the queue.
    pub(super) backlog: VecDeque<Command>,
    pub(super) policy: Policy,
    /// Whether envelopes were deleted since the policy was last told.
    pub(super) deleted: bool,
    /// Who asked for a checkpoint during a pass of the checkpoint thread.
    checkpoints: Vec<Slot<(), StoreError>>,
    /// [`kuvert_relay::store::Store::reusable`].
    pub(super) reusable: Arc<AtomicU64>,
    pub(super) space: Space,
}

/// Starts the writer's thread. It ends with [`Command::Close`] or when all senders are gone.
pub fn start(setup: Setup) -> Result<JoinHandle<()>, OpenError> {
    let Setup { connection, files, options, state, queued_bytes, reusable, receiver, policy, reader_threads } = setup;
    let path = files.database().to_owned();
    let writer = Writer {
        space: Space::new(&options, &files),
        connection,
        files,
        max_batch: options.max_batch.clamp(1, CURSOR_BLOCK as usize),
        index: state.index,
        undo: Vec::new(),
        stored: Vec::new(),
        eras: state.eras,
        next_cursor: state.next_cursor,
        reserved: state.next_cursor,
        queued_bytes,
        receiver,
        backlog: VecDeque::new(),
        policy,
        deleted: false,
        checkpoints: Vec::new(),
        reusable,
    };
    writer.count_reusable();
    let thread = thread::Builder::new().name("store-writer".into()).spawn(move || writer.run(reader_threads));
    thread.map_err(|error| OpenError::Io { path, error })
}

impl Writer {
    fn run(mut self, readers: Vec<JoinHandle<()>>) {
        let mut batch = Vec::new();
        let close = loop {
            let mut alone = match self.gather(&mut batch) {
                Ok(alone) => alone,
                Err(RecvTimeoutError::Timeout) => {
                    let quiet = self.policy.quiet(&self.connection);
                    self.checkpointed(quiet);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break None,
            };
            if !batch.is_empty() {
                // It comes next, unless the batch needs it.
                if let Some(alone) = alone.take() {
                    self.backlog.push_front(alone);
                }
                self.run_batch(std::mem::take(&mut batch));
                let deleted = std::mem::take(&mut self.deleted);
                let committed = self.policy.committed(&self.connection, deleted);
                self.checkpointed(committed);
                self.count_reusable();
                self.keep_log_small();
            }
            match alone {
                Some(Command::PassDone { failed }) => {
                    let done = self.policy.pass_done(&self.connection, failed);
                    self.checkpointed(done);
                    self.checkpoint_on_request();
                }
                Some(Command::Checkpoint { slot }) => {
                    self.checkpoints.push(slot);
                    self.checkpoint_on_request();
                }
                Some(Command::Room { mut slot }) => {
                    slot.set(if self.has_space() { Ok(()) } else { Err(Unavailable::DiskFull.into()) });
                    slot.send();
                }
                Some(close) => break Some(close),
                None => {}
            }
        };
        self.stop(readers, close);
    }

    /// Waits for work, then takes all there is: into `batch` what belongs into one transaction. What runs between
    /// transactions comes back and ends the batch.
    fn gather(&mut self, batch: &mut Vec<Command>) -> Result<Option<Command>, RecvTimeoutError> {
        let mut next = match (self.backlog.pop_front(), self.policy.wait()) {
            (Some(command), _) => command,
            (None, Some(wait)) => self.receiver.recv_timeout(wait)?,
            (None, None) => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)?,
        };
        let mut bytes = 0;
        let mut patience = Some(Instant::now() + ACKNOWLEDGEMENT_PATIENCE);
        loop {
            if next.stands_alone() {
                return Ok(Some(next));
            }
            if !matches!(next, Command::Acknowledge { .. }) {
                patience = None;
            }
            if let Command::Submit { envelope, .. } = &next {
                let cost = envelope.ciphertext.len() as u64 + QUEUED_OVERHEAD;
                self.queued_bytes.fetch_sub(cost, Ordering::Relaxed);
                bytes += cost;
            }
            batch.push(next);
            if batch.len() >= self.max_batch || bytes >= self.space.max_batch_bytes() {
                return Ok(None);
            }
            next = match (self.backlog.pop_front().map_or_else(|| self.receiver.try_recv(), Ok), patience) {
                (Ok(command), _) => command,
                (Err(_), Some(until)) if batch.len() < PATIENT_BATCH => {
                    match self.receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                        Ok(command) => command,
                        Err(_) => return Ok(None),
                    }
                }
                (Err(_), _) => return Ok(None),
            };
        }
    }

    fn run_batch(&mut self, batch: Vec<Command>) {
        let mut batch = self.refuse_without_space(batch);
        if batch.is_empty() {
            return;
        }
        match self.transact(&mut batch) {
            // A connection waits for its answers in their order. The last one first, and all are there when it wakes up.
            Ok(()) => batch.into_iter().rev().for_each(Command::send),
            Err(error) => {
                self.note(&error);
                self.one_by_one(batch);
            }
        }
    }

    fn one_by_one(&mut self, batch: Vec<Command>) {
        let mut failures = 0;
        let mut last = StoreError::from(Unavailable::DiskFull);
        for command in batch {
            if failures >= MAX_SINGLE_FAILURES {
                command.fail(&last);
                continue;
            }
            let mut single = self.refuse_without_space(vec![command]);
            match self.transact(&mut single) {
                Ok(()) => single.into_iter().for_each(Command::send),
                Err(error) => {
                    self.note(&error);
                    let full = error == Unavailable::DiskFull.into();
                    let failed = single
                        .into_iter()
                        .filter_map(|command| if full { self.in_slices(command) } else { Some(command) });
                    for command in failed.collect::<Vec<_>>() {
                        failures += 1;
                        command.fail(&error);
                    }
                    last = error;
                }
            }
        }
    }

    /// Does all of it or nothing.
    pub(super) fn transact(&mut self, batch: &mut [Command]) -> Result<(), StoreError> {
        let result = self.try_transact(batch);
        let changes = self.undo.drain(..);
        let mut stored = std::mem::take(&mut self.stored);
        match result {
            Ok(()) => {
                // What a connection has read can be a small part of what it holds on to.
                stored
                    .iter_mut()
                    .for_each(|envelope| envelope.ciphertext = Bytes::copy_from_slice(&envelope.ciphertext));
                self.index.lock().commit(changes, stored, self.next_cursor.saturating_sub(1));
                self.eras.commit();
            }
            Err(_) => {
                self.index.lock().undo(changes.rev());
                self.eras.undo();
                // Some errors end the transaction by themselves.
                if !self.connection.is_autocommit()
                    && let Err(error) = self.connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(%error, "a transaction cannot be rolled back");
                }
            }
        }
        result
    }

    fn try_transact(&mut self, batch: &mut [Command]) -> Result<(), StoreError> {
        self.execute("BEGIN IMMEDIATE").map_err(|error| self.meaning(&error, store_error))?;
        let mut reserved = self.reserved;
        let mut run = || -> rusqlite::Result<()> {
            if self.next_cursor + batch.len() as u64 > reserved {
                reserved = self.next_cursor + CURSOR_BLOCK;
                let mut update =
                    self.connection.prepare_cached("UPDATE counter SET value = ?1 WHERE name = 'next_cursor'")?;
                update.execute([signed(reserved)])?;
            }
            let mut work = Work {
                connection: &self.connection,
                index: &self.index,
                undo: &mut self.undo,
                stored: &mut self.stored,
                eras: &mut self.eras,
                next_cursor: &mut self.next_cursor,
                deleted: &mut self.deleted,
            };
            batch.iter_mut().try_for_each(|command| execute(&mut work, command))
        };
        run().map_err(|error| self.meaning(&error, store_error))?;
        self.execute("COMMIT").map_err(|error| self.meaning(&error, commit_error))?;
        self.reserved = reserved;
        Ok(())
    }

    pub(super) fn execute(&self, statement: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(statement)?.execute([]).map(drop)
    }

    // ---- checkpoints

    /// For those that asked, unless the checkpoint thread is at work: then when it is done.
    fn checkpoint_on_request(&mut self) {
        if self.checkpoints.is_empty() || self.policy.is_at_work() {
            return;
        }
        let answer = self.policy.now(&self.connection);
        if let Err(error) = &answer {
            self.note(error);
        }
        for mut slot in self.checkpoints.drain(..) {
            slot.set(answer.clone());
            slot.send();
        }
    }

    /// A checkpoint that failed lost nothing: everything is in the log.
    pub(super) fn checkpointed(&mut self, result: rusqlite::Result<()>) {
        if let Err(error) = result {
            self.note(&self.meaning(&error, store_error));
        }
    }

    // ---- the end

    fn stop(self, readers: Vec<JoinHandle<()>>, close: Option<Command>) {
        for reader in readers {
            // A panic there was reported when it happened.
            let _ = reader.join();
        }
        let (checkpointed, database) = self.policy.stop(&self.connection);
        let closed = self.connection.close().map_err(|(_, error)| store_error(&error));
        // Before the answer, so that whoever hears it can open the store again.
        drop((database, self.files));
        let answer = checkpointed.and(closed);
        let closing = close.and_then(|command| if let Command::Close { slot } = command { Some(slot) } else { None });
        for mut slot in self.checkpoints.into_iter().chain(closing) {
            slot.set(answer.clone());
            slot.send();
        }
        for late in self.backlog.into_iter().chain(self.receiver.try_iter()) {
            late.fail(&Unavailable::Stopped.into());
        }
    }
}

fn execute(work: &mut Work<'_>, command: &mut Command) -> rusqlite::Result<()> {
    match command {
        Command::Submit { mailbox, envelope, key, accepted_at, slot } => {
            slot.set(envelopes::submit(work, mailbox, envelope, key.as_ref(), *accepted_at)?);
        }
        Command::Acknowledge { mailbox, up_to, slot } => slot.set(Ok(envelopes::acknowledge(work, mailbox, *up_to)?)),
        Command::Expire { older_than, budget, slot } => slot.set(Ok(envelopes::expire(work, *older_than, *budget)?)),
        Command::AcknowledgeExpired { mailbox, count, slot } => {
            envelopes::acknowledge_expired(work, mailbox, *count)?;
            slot.set(Ok(()));
        }
        Command::Register { account, slot } => slot.set(accounts::register(work, account)?),
        Command::AddInvitation { invitation, slot } => slot.set(Ok(invitations::add(work.connection, invitation)?)),
        Command::UpdateAccount { account, change, slot } => slot.set(accounts::update(work, account, change)?),
        Command::DeleteAccount { account, slot } => slot.set(Ok(accounts::delete(work, account)?)),
        Command::UpdateDevices { account, expected, list, kept, added, slot } => {
            slot.set(accounts::update_devices(work, account, *expected, list, kept, added)?);
        }
        Command::SetAccessKey { account, key, slot } => slot.set(Ok(accounts::set_access_key(work, account, *key)?)),
        Command::SetBlocked { account, other, blocked, slot } => {
            slot.set(accounts::set_blocked(work, account, other, *blocked)?);
        }
        Command::NoteSeen { device, day, slot } => slot.set(Ok(accounts::note_seen(work.connection, device, *day)?)),
        Command::NoteTime { known, slot } => slot.set(Ok(times::note(work.connection, known)?)),
        Command::Restamp { now, slot } => slot.set(Ok(envelopes::restamp(work, *now)?)),
        Command::PublishPrekeys { device, prekeys, slot } => slot.set(prekeys::publish(work, device, prekeys)?),
        Command::TakeBundle { device, reserve, slot } => slot.set(prekeys::take(work, device, *reserve)?),
        // Never part of a batch: see `Command::stands_alone`.
        Command::Room { .. } | Command::Checkpoint { .. } | Command::Close { .. } | Command::PassDone { .. } => {}
    }
    Ok(())
}

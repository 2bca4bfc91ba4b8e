//! Emptying the write-ahead log without making senders wait.
//!
//! ```text
//!            log over its limit, or too old
//!   Idle ───────────────────────────────────► Pass(1)   the checkpoint thread copies beside the writer
//!    ▲                                          │ done
//!    │    little is left, or enough passes      ▼
//!    └──────────── the writer copies the rest ◄─┴─► Pass(2) … what was written meanwhile
//! ```
//! A pass beside the writer never gets all of a log that keeps growing, and only a log that was copied whole starts again
//! from its beginning. So passes run until little is left, and the writer copies that between two transactions. Under load
//! the log then starts over within its file: overwriting blocks that the file has already is the cheapest write there is.
//! When the store is quiet, and every few seconds under load, the file is truncated: deleted bytes leave the disk. Then the
//! checkpoint thread wipes what deletions left within pages (module scrub).

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kuvert_relay::store::{StoreError, Unavailable};
use rusqlite::Connection;

use super::command::Command;
use super::schema::store_error;
use super::scrub::{self, Scrub, Suspects};
use super::{OpenError, Options, schema};

/// Pages that the writer copies itself: a few milliseconds.
const LITTLE: u64 = 256;

/// Passes after which the writer copies the rest, however much that is: the disk is slower than the writer, and the log
/// must not grow for ever.
const MAX_PASSES: u32 = 4;

/// How long truncating waits for readers. Ours need far less; those of other programs may take long and shall not stop mail.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long an explicit checkpoint waits for readers.
const LONG_PATIENCE: Duration = Duration::from_secs(5);

/// The longest pause between attempts to truncate while a reader is at work.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Handle of the checkpoint thread, which ends when this is dropped.
pub struct Checkpointer {
    requests: Sender<Request>,
    thread: JoinHandle<()>,
}

enum Request {
    /// Copy what is in the log.
    Pass,
    /// Wipe pages of the main file.
    Wipe(Suspects),
}

/// Starts the thread. After each request it sends [`Command::PassDone`].
pub fn start(database: &Path, file: Arc<File>, writer: Sender<Command>) -> Result<Checkpointer, OpenError> {
    let connection = schema::open_checkpointer(database)?;
    let (requests, receiver) = mpsc::channel();
    let run = move || {
        for request in receiver {
            let failed = match request {
                Request::Pass => {
                    if let Err(error) = checkpoint(&connection, "PASSIVE") {
                        // The writer meets the same trouble in a moment and deals with it.
                        tracing::warn!(%error, "checkpoint failed");
                    }
                    None
                }
                Request::Wipe(suspects) => scrub::wipe(&file, &suspects).err().map(|error| {
                    tracing::warn!(%error, "wiping failed");
                    suspects
                }),
            };
            if writer.send(Command::PassDone { failed }).is_err() {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("store-checkpoint".into()).spawn(run);
    let thread = thread.map_err(|error| OpenError::Io { path: database.to_owned(), error })?;
    Ok(Checkpointer { requests, thread })
}

impl Checkpointer {
    fn request(&self, request: Request) -> bool {
        self.requests.send(request).is_ok()
    }

    /// Waits for the thread's end.
    pub fn stop(self) {
        drop(self.requests);
        // A panic there was reported when it happened.
        let _ = self.thread.join();
    }
}

/// What is in the log.
#[derive(Clone, Copy, Debug)]
struct Log {
    busy: bool,
    pages: u64,
    copied: u64,
}

fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<Log> {
    let mut pragma = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    pragma.query_row([], |row| {
        // -1 before the first write after opening.
        let pages = |column| row.get::<_, i64>(column).map(|pages| u64::try_from(pages).unwrap_or(0));
        Ok(Log { busy: row.get(0)?, pages: pages(1)?, copied: pages(2)? })
    })
}

/// When to do what; owned by the writer.
pub struct Policy {
    log_pages: u64,
    log_age: Duration,
    quiet: Duration,
    checkpointer: Checkpointer,
    scrub: Scrub,
    thread: Thread,
    /// Since when the file may hold bytes; `None`: it is empty.
    dirty_since: Option<Instant>,
    /// How long to wait for quiet. Longer while truncating fails.
    pause: Duration,
}

/// What the checkpoint thread is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thread {
    Rests,
    /// The nth pass of a round.
    Passes(u32),
    Wipes,
}

impl Policy {
    pub fn new(options: &Options, checkpointer: Checkpointer, scrub: Scrub) -> Self {
        Self {
            log_pages: options.log_pages,
            log_age: options.log_age,
            quiet: options.quiet,
            checkpointer,
            scrub,
            thread: Thread::Rests,
            // A previous process may have left a log.
            dirty_since: Some(Instant::now()),
            pause: options.quiet,
        }
    }

    /// How long the writer waits for work before [`Policy::quiet`]; `None`: for ever.
    pub fn wait(&self) -> Option<Duration> {
        self.dirty_since.map(|_| self.pause)
    }

    /// Whether the checkpoint thread is at work. Nothing else may touch the main file meanwhile.
    pub fn is_at_work(&self) -> bool {
        self.thread != Thread::Rests
    }

    /// After each commit. `deleted`: it deleted envelopes.
    pub fn committed(&mut self, connection: &Connection, deleted: bool) -> rusqlite::Result<()> {
        let since = *self.dirty_since.get_or_insert_with(Instant::now);
        let log = checkpoint(connection, "NOOP")?;
        self.scrub.committed(log.pages, deleted);
        let long = log.pages.saturating_sub(log.copied) >= self.log_pages;
        if !self.is_at_work() && (long || since.elapsed() >= self.log_age) {
            self.begin_pass(1);
        }
        Ok(())
    }

    /// When the checkpoint thread has done what it was asked. `failed`: it could not wipe these.
    pub fn pass_done(&mut self, connection: &Connection, failed: Option<Suspects>) -> rusqlite::Result<()> {
        if let Some(suspects) = failed {
            self.scrub.put_back(suspects);
        }
        let Thread::Passes(passes) = std::mem::replace(&mut self.thread, Thread::Rests) else { return Ok(()) };
        let log = checkpoint(connection, "NOOP")?;
        if log.pages.saturating_sub(log.copied) > LITTLE && passes < MAX_PASSES {
            self.begin_pass(passes + 1);
        } else if self.dirty_since.is_some_and(|since| since.elapsed() >= self.log_age) {
            self.truncate_and_wipe(connection)?;
        } else {
            checkpoint(connection, "PASSIVE")?;
        }
        Ok(())
    }

    /// When no work came for a while.
    pub fn quiet(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.is_at_work() {
            return Ok(());
        }
        if self.truncate_and_wipe(connection)? {
            self.pause = self.quiet;
        } else {
            self.pause = (self.pause * 2).min(MAX_PAUSE);
        }
        Ok(())
    }

    /// On request, while the checkpoint thread rests.
    pub fn now(&mut self, connection: &Connection) -> Result<(), StoreError> {
        finish(connection, &mut self.scrub)
    }

    /// At the end: waits for the checkpoint thread, then as [`Policy::now`]. Hands back the handle on the main file, which
    /// must be closed after SQLite's.
    pub fn stop(mut self, connection: &Connection) -> (Result<(), StoreError>, Arc<File>) {
        self.checkpointer.stop();
        let result = finish(connection, &mut self.scrub);
        (result, Arc::clone(self.scrub.database()))
    }

    fn begin_pass(&mut self, passes: u32) {
        if self.checkpointer.request(Request::Pass) {
            self.thread = Thread::Passes(passes);
        }
    }

    fn truncate_and_wipe(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let done = self.truncate(connection, PATIENCE)?;
        if done
            && let Some(suspects) = self.scrub.take()
            && self.checkpointer.request(Request::Wipe(suspects))
        {
            self.thread = Thread::Wipes;
        }
        Ok(done)
    }

    fn truncate(&mut self, connection: &Connection, patience: Duration) -> rusqlite::Result<bool> {
        let done = truncate(connection, patience);
        self.dirty_since = if matches!(done, Ok(true)) { None } else { Some(Instant::now()) };
        done
    }
}

/// Says whether the log is empty now.
fn truncate(connection: &Connection, patience: Duration) -> rusqlite::Result<bool> {
    connection.busy_timeout(patience)?;
    let log = checkpoint(connection, "TRUNCATE");
    connection.busy_timeout(schema::BUSY_TIMEOUT)?;
    log.map(|log| !log.busy)
}

/// Empties the log and wipes.
fn finish(connection: &Connection, scrub: &mut Scrub) -> Result<(), StoreError> {
    if !truncate(connection, LONG_PATIENCE).map_err(|error| store_error(&error))? {
        return Err(Unavailable::Io("another process is reading the database".into()).into());
    }
    let Some(suspects) = scrub.take() else { return Ok(()) };
    scrub::wipe(scrub.database(), &suspects).map_err(|error| {
        scrub.put_back(suspects);
        Unavailable::Io(error.to_string()).into()
    })
}

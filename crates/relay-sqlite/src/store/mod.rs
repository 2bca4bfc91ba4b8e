//! The embedded store: SQLite in one directory, used by one process.
//!
//! ```text
//! callers ──► queue ──► writer thread: drains the queue into ONE transaction, COMMIT (fsync), answers  (group commit)
//!    │                      │ writes                             ▲ how far a pass came
//!    │                 relay.db + relay.db-wal ◄── checkpoint thread: copies the log into the file beside the writer
//!    └──► queue ──► reader threads (index lock → which rows; snapshot → the rows)
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `writer` | the one writer: batches, commit, undo |
//! | `space` | what it does when the disk is full |
//! | `command` | everything that can be asked of the writer |
//! | `envelopes`, `accounts`, `prekeys` | the statements, by what they are about |
//! | `index` | in memory: addresses, access keys, who blocks whom and, of each waiting envelope, 16 bytes |
//! | `recent` | in memory, bounded: the youngest envelopes, for devices that are attached |
//! | `times` | how far the relay's time has come |
//! | `reader` | reader threads |
//! | `checkpoint` | when and how the write-ahead log is emptied |
//! | [`registered`] | the comparison of the tables with the registry |
//! | `scrub` | wiping what deletions leave within pages |
//! | `schema` | tables, versions, connection settings |
//! | `files` | the directory, its permissions, the lock, the reserve for a full disk |
//! | [`backup`] | copies, and making them safe to serve again |
//! | [`inspect`] | looking at a store from another process |
//! | [`invitations`] | who may register; also changed from another process |
//!
//! # Layout
//! Envelopes lie in the order of arrival, whatever their mailbox: inserting appends, expiring deletes from the front, and
//! there is no index on disk to maintain. Which rows belong to which mailbox is kept in memory (`index`) and rebuilt by
//! one scan at start. Per waiting envelope that is 16 bytes (up to 32 while a mailbox grows), per sender of whom something
//! waits in a mailbox 28, per non-empty mailbox about 150, per registered device about 60, per account with an access key
//! about 80; bodies are not cached beyond SQLite's fixed page caches and the bounded `recent`.
//!
//! # Erasure
//! `secure_delete` overwrites deleted rows with zeros, checkpoints carry that into the main file, once the store is quiet
//! the log is truncated, and copies that SQLite left within pages while it merged them are wiped (`scrub`). What a file
//! system or a disk keeps of freed blocks is beyond a program's reach.

mod accounts;
pub mod backup;
mod checkpoint;
pub(crate) mod column;
mod command;
mod envelopes;
mod files;
mod index;
pub mod inspect;
pub mod invitations;
mod prekeys;
mod reader;
mod recent;
pub mod registered;
mod schema;
mod scrub;
mod space;
mod times;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use kuvert_privacy::registry::Mismatch;
use kuvert_relay::store::{
    AccountBy, AccountChange, AccountRecord, Bundle, Cursor, DeviceRecord, FullMailbox, Gauges, KnownTime, NewAccount,
    NewDevice, NewEnvelope, NewInvitation, NewPrekeys, NumberedDeviceList, Page, Pending, PrekeyCounts,
    PublishPrekeysError, RegisterError, Session, SetBlockedError, Stats, Store, StoreError, StoreFiles,
    StoredAccessKey, SubmitError, Submitted, TakeBundleError, Times, Unavailable, UpdateAccountError,
    UpdateDevicesError, Waiting,
};
use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_types::{AccessKeyHash, AccountId, Address, DeviceId};

use command::{Command, Slot};
use index::SharedIndex;

pub use inspect::Inspector;
pub use schema::{is_damage, store_error};

/// Name of the database within the data directory.
pub const DATABASE_FILE: &str = "relay.db";

/// SQLite's write-ahead log.
pub const LOG_FILE: &str = "relay.db-wal";

/// Bytes of ciphertext and overhead that may wait for the writer. Beyond, submits are refused as
/// [`Unavailable::Overloaded`]: memory stays bounded whatever arrives.
const MAX_QUEUED_BYTES: u64 = 64 * 1024 * 1024;

/// What an envelope in the queue costs beside its ciphertext.
const QUEUED_OVERHEAD: u64 = 256;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the data directory.
    #[error("another relay is running on {}: stop it first", .0.display())]
    Locked(PathBuf),
    /// Not a relay's database.
    #[error("{} is not a Kuvert relay's database: choose another data directory", .0.display())]
    Foreign(PathBuf),
    /// Written by a later version of this program.
    #[error("{} has format {found}, this program knows up to {known}: use a newer program", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// It can store something that the registry does not tell of, or lacks what it tells of.
    #[error("{}: {mismatch}", path.display())]
    Unregistered {
        /// The database.
        path: PathBuf,
        /// Which column.
        mismatch: Mismatch,
    },
    /// Written by an earlier version of this program, and to be changed beside a relay.
    #[error("{} has format {found}, this program writes {known}: start this version's relay on it once", path.display())]
    Older {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// Others could read or change the files.
    #[error("{} is open to other users (mode {mode:04o}): run chmod {wanted:04o} on it", path.display())]
    Permissions {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// A mode that is good.
        wanted: u32,
    },
    /// Another user's: files made in it would lock that user's relay out, or that user would hold what this relay writes.
    #[error(
        "{} belongs to the user with number {owner}, and this program runs as the one with number {us}: {}",
        path.display(), whose_directory(path, *owner, *us)
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        us: u32,
    },
    /// A file in the directory is another user's: a start as that user has left it.
    #[error(
        "{} belongs to the user with number {owner}, and this program runs as the one with number {us}: give it back (chown {us} {}, as root), and start the relay as one user only",
        path.display(), path.display()
    )]
    FileOwner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        us: u32,
    },
    /// There is no database to look at.
    #[error("{} does not exist: is this the data directory of a relay?", .0.display())]
    Missing(PathBuf),
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What can be done about a directory of another user's.
fn whose_directory(path: &Path, owner: u32, us: u32) -> String {
    if owner == 0 {
        let path = path.display();
        return format!(
            "have root give it to this user (chown {us} {path}), or name a new directory below it with --data {path}/relay if \
             this user may make one there"
        );
    }
    format!("run it as that user (sudo -u '#{owner}' …), or choose another data directory")
}

/// Settings with good defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Reader threads.
    pub readers: usize,
    /// Bytes of the youngest envelopes that are kept in memory, too.
    pub recent_bytes: usize,
    /// Commands in one transaction, at most.
    pub max_batch: usize,
    /// Pages in the log beyond which it is emptied under load: 4,096 pages are 16 MiB.
    pub log_pages: u64,
    /// After this time without work the log is truncated.
    pub quiet: Duration,
    /// Under load the log is truncated this often at least: how long deleted bytes can stay in it.
    pub log_age: Duration,
    /// How often at most a store without space tries again.
    pub probe_interval: Duration,
    /// A store without space accepts mail again when it has room for so many bytes of it.
    pub room_bytes: u64,
    /// The database file does not grow beyond this.
    pub max_database_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: 2,
            recent_bytes: 1024 * 1024,
            max_batch: 1024,
            log_pages: 4096,
            quiet: Duration::from_millis(200),
            log_age: Duration::from_secs(5),
            probe_interval: Duration::from_secs(1),
            room_bytes: 1024 * 1024,
            max_database_bytes: None,
        }
    }
}

/// The embedded store. Dropping it finishes what was asked and checkpoints, like [`Store::close`].
pub struct SqliteStore {
    intake: Intake,
    reusable: Arc<AtomicU64>,
    index: SharedIndex,
    /// When the youngest envelope was accepted that waited at the opening.
    newest: Option<u64>,
    unclean: bool,
    directory: PathBuf,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Where work is handed in. Shared by the store and its sessions.
#[derive(Clone)]
struct Intake {
    /// `None` once closed.
    queues: Arc<RwLock<Option<Queues>>>,
    queued_bytes: Arc<AtomicU64>,
}

struct Queues {
    writer: mpsc::Sender<Command>,
    readers: mpsc::Sender<reader::Job>,
}

impl Intake {
    /// Hands a command to the writer.
    fn write<T, E: From<StoreError>>(&self, command: impl FnOnce(Slot<T, E>) -> Command) -> Pending<T, E> {
        let (reply, pending) = Pending::channel();
        let command = command(Slot::new(reply));
        match &*self.queues.read().unwrap_or_else(PoisonError::into_inner) {
            Some(queues) => {
                if let Err(mpsc::SendError(command)) = queues.writer.send(command) {
                    command.fail(&Unavailable::Stopped.into());
                }
            }
            None => command.fail(&Unavailable::Stopped.into()),
        }
        pending
    }
}

impl SqliteStore {
    /// Opens the store in `directory`, which is made if it does not exist.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Self::open_with(directory, Options::default())
    }

    /// Opens the store with other settings.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_with(directory: &Path, options: Options) -> Result<Self, OpenError> {
        let files = files::Files::prepare(directory)?;
        let unclean = files.unclean();
        let connection = schema::open_writer(files.database(), &options)?;
        let (writer, receiver) = mpsc::channel();
        let (queued_bytes, reusable) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let state = index::load(&connection, options.recent_bytes)?;
        let (index, newest) = (state.index.clone(), state.eras.newest());
        let (readers, reader_threads) = reader::start(files.database(), options.readers, &index)?;
        let scrub = scrub::Scrub::new(files.database(), files.unclean())
            .map_err(|error| OpenError::Io { path: files.database().to_owned(), error })?;
        let checkpointer = checkpoint::start(files.database(), Arc::clone(scrub.database()), writer.clone())?;
        let policy = checkpoint::Policy::new(&options, checkpointer, scrub);
        let writer_thread = writer::start(writer::Setup {
            connection,
            files,
            options,
            state,
            queued_bytes: Arc::clone(&queued_bytes),
            reusable: Arc::clone(&reusable),
            receiver,
            policy,
            reader_threads,
        })?;
        Ok(Self {
            intake: Intake { queues: Arc::new(RwLock::new(Some(Queues { writer, readers }))), queued_bytes },
            reusable,
            index,
            newest,
            unclean,
            directory: directory.to_owned(),
            writer: Mutex::new(Some(writer_thread)),
        })
    }

    /// Known from memory: no need to queue up behind others.
    fn known<T>(&self, answer: T) -> Pending<T, StoreError> {
        let open = self.intake.queues.read().unwrap_or_else(PoisonError::into_inner).is_some();
        Pending::ready(if open { Ok(answer) } else { Err(Unavailable::Stopped.into()) })
    }

    /// Hands a question to the readers.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut reader::Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Pending<T, StoreError> {
        let (reply, pending) = Pending::channel();
        let job: reader::Job = Box::new(move |reader| {
            // Nobody waits for the answer any more: nothing to do.
            let _ = reply.send(question(reader));
        });
        let sent = match &*self.intake.queues.read().unwrap_or_else(PoisonError::into_inner) {
            Some(queues) => queues.readers.send(job).is_ok(),
            None => false,
        };
        if sent { pending } else { Pending::ready(Err(Unavailable::Stopped.into())) }
    }
}

/// Every session hands its envelopes in at the same queue, which keeps the order of its calls.
impl Session for Intake {
    fn submit(
        &mut self,
        mailbox: Address,
        envelope: NewEnvelope,
        key: Option<AccessKeyHash>,
        accepted_at: u64,
    ) -> Pending<Submitted, SubmitError> {
        if envelope.ciphertext.len() > MAX_CIPHERTEXT_BYTES {
            return Pending::ready(Err(SubmitError::TooLarge));
        }
        let cost = envelope.ciphertext.len() as u64 + QUEUED_OVERHEAD;
        if self.queued_bytes.fetch_add(cost, Ordering::Relaxed) + cost > MAX_QUEUED_BYTES {
            self.queued_bytes.fetch_sub(cost, Ordering::Relaxed);
            return Pending::ready(Err(StoreError::from(Unavailable::Overloaded).into()));
        }
        self.write(|slot| Command::Submit { mailbox, envelope, key, accepted_at, slot })
    }
}

impl Store for SqliteStore {
    fn session(&self) -> Box<dyn Session> {
        Box::new(self.intake.clone())
    }

    fn read(&self, mailbox: Address, after: Cursor, limit: usize, max_bytes: usize) -> Pending<Page, StoreError> {
        let (cursors, more) = {
            let index = self.index.lock();
            let (cursors, more) = index.page(&mailbox, after.get(), limit, max_bytes);
            // What came a moment ago, and nothing at all, are known from memory.
            if let Some(envelopes) = index.recent(&cursors) {
                drop(index);
                return self.known(Page { envelopes, more });
            }
            (cursors, more)
        };
        self.ask(move |reader| reader.page(&mailbox, (cursors, more), limit, max_bytes))
    }

    fn acknowledge(&self, mailbox: Address, up_to: Cursor) -> Pending<u64, StoreError> {
        self.intake.write(|slot| Command::Acknowledge { mailbox, up_to, slot })
    }

    fn waiting(&self, mailbox: Address) -> Pending<Waiting, StoreError> {
        let waiting = self.index.lock().waiting(&mailbox);
        self.known(waiting)
    }

    fn take_full(&self, mailbox: Address) -> Pending<Option<FullMailbox>, StoreError> {
        let full = self.index.lock().take_full(&mailbox);
        self.known(full)
    }

    fn expire(&self, older_than: u64, budget: usize) -> Pending<u64, StoreError> {
        self.intake.write(|slot| Command::Expire { older_than, budget, slot })
    }

    fn acknowledge_expired(&self, mailbox: Address, count: u64) -> Pending<(), StoreError> {
        self.intake.write(|slot| Command::AcknowledgeExpired { mailbox, count, slot })
    }

    fn register(&self, account: NewAccount) -> Pending<(), RegisterError> {
        self.intake.write(|slot| Command::Register { account: Box::new(account), slot })
    }

    fn add_invitation(&self, invitation: NewInvitation) -> Pending<(), StoreError> {
        self.intake.write(|slot| Command::AddInvitation { invitation, slot })
    }

    fn account(&self, by: AccountBy) -> Pending<Option<AccountRecord>, StoreError> {
        self.ask(move |reader| reader.account(&by))
    }

    fn registered_since(&self, time: u64) -> Pending<Vec<(AccountId, u64)>, StoreError> {
        self.ask(move |reader| reader.registered_since(time))
    }

    fn device(&self, address: Address) -> Pending<Option<DeviceRecord>, StoreError> {
        self.ask(move |reader| reader.device(address))
    }

    fn update_account(&self, account: AccountId, change: AccountChange) -> Pending<(), UpdateAccountError> {
        self.intake.write(|slot| Command::UpdateAccount { account, change, slot })
    }

    fn delete_account(&self, account: AccountId) -> Pending<bool, StoreError> {
        self.intake.write(|slot| Command::DeleteAccount { account, slot })
    }

    fn update_devices(
        &self,
        account: AccountId,
        expected: u64,
        list: NumberedDeviceList,
        kept: Vec<DeviceId>,
        added: Vec<NewDevice>,
    ) -> Pending<Vec<DeviceId>, UpdateDevicesError> {
        self.intake.write(|slot| Command::UpdateDevices { account, expected, list, kept, added, slot })
    }

    fn set_access_key(&self, account: AccountId, key: Option<StoredAccessKey>) -> Pending<(), StoreError> {
        self.intake.write(|slot| Command::SetAccessKey { account, key, slot })
    }

    fn access_key(&self, mailbox: Address) -> Pending<Option<StoredAccessKey>, StoreError> {
        let key = self.index.lock().access_key(&mailbox);
        self.known(key)
    }

    fn set_blocked(&self, account: AccountId, other: AccountId, blocked: bool) -> Pending<(), SetBlockedError> {
        self.intake.write(|slot| Command::SetBlocked { account, other, blocked, slot })
    }

    fn note_seen(&self, device: Address, day: u32) -> Pending<(), StoreError> {
        self.intake.write(|slot| Command::NoteSeen { device, day, slot })
    }

    fn publish_prekeys(&self, device: Address, prekeys: NewPrekeys) -> Pending<(), PublishPrekeysError> {
        self.intake.write(|slot| Command::PublishPrekeys { device, prekeys: Box::new(prekeys), slot })
    }

    fn take_bundle_sparing(&self, device: Address, reserve: u64) -> Pending<Bundle, TakeBundleError> {
        self.intake.write(|slot| Command::TakeBundle { device, reserve, slot })
    }

    fn count_prekeys(&self, device: Address) -> Pending<PrekeyCounts, StoreError> {
        self.ask(move |reader| reader.count_prekeys(device))
    }

    fn gauges(&self) -> Pending<Gauges, StoreError> {
        self.ask(|reader| Ok(reader.gauges()))
    }

    fn stats(&self) -> Pending<Stats, StoreError> {
        self.ask(reader::Reader::stats)
    }

    fn room(&self) -> Pending<(), StoreError> {
        self.intake.write(|slot| Command::Room { slot })
    }

    fn files(&self) -> StoreFiles {
        let size = |name: &str| self.directory.join(name).metadata().map_or(0, |metadata| metadata.len());
        StoreFiles {
            database_bytes: size(DATABASE_FILE),
            log_bytes: size(LOG_FILE),
            last_backup_ms: crate::backup::last(&self.directory),
        }
    }

    fn was_unclean(&self) -> bool {
        self.unclean
    }

    fn reusable(&self) -> u64 {
        self.reusable.load(Ordering::Relaxed)
    }

    fn times(&self) -> Pending<Times, StoreError> {
        let waiting = self.newest;
        self.ask(move |reader| {
            let times = reader.times()?;
            Ok(Times { newest: times.newest.max(waiting), ..times })
        })
    }

    fn note_time(&self, known: KnownTime) -> Pending<(), StoreError> {
        self.intake.write(|slot| Command::NoteTime { known, slot })
    }

    fn restamp(&self, now: u64) -> Pending<u64, StoreError> {
        self.intake.write(|slot| Command::Restamp { now, slot })
    }

    fn checkpoint(&self) -> Pending<(), StoreError> {
        self.intake.write(|slot| Command::Checkpoint { slot })
    }

    fn close(&self) -> Pending<(), StoreError> {
        let pending = self.intake.write(|slot| Command::Close { slot });
        // Dropping the queues lets the reader threads finish.
        drop(self.intake.queues.write().unwrap_or_else(PoisonError::into_inner).take());
        pending
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The answer comes with the thread's end.
        drop(self.close());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A writer that panicked has told callers already that their answers are unknown.
            let _ = writer.join();
        }
    }
}

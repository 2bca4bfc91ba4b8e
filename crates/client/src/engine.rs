//! What all handles on a home share: its store, its options, the clocks. Every part of the client reads and writes through
//! it.
//!
//! One rule, without exception: a transaction runs on a thread that may block, never on a thread of the executor. So
//! [`Engine::read`] and [`Engine::write`] are `async`, and a transaction comes to its end also if the caller stops waiting.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::certain::RelayClock;
use crate::error::Error;
use crate::files::source::Looked;
use crate::home::Home;
use crate::identity::{Cached, Identity};
use crate::options::Options;
use crate::store::{Entry, Log, Mode, Store, StoreError, Table, Transaction, Unreadable, Value};

/// A handle on an open home. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine(Arc<Shared>);

struct Shared {
    home: Home,
    options: Options,
    relay_clock: RelayClock,
    store: Mutex<Box<dyn Store>>,
    /// Commits that this process made.
    commits: AtomicU64,
    identity: Mutex<Cached>,
    mend: Option<Mend>,
    /// Files were queued, or came.
    files_due: Notify,
    /// Files that were looked at a moment ago.
    looked: Mutex<Looked>,
    /// Something was mended since this was looked at last.
    mended: AtomicBool,
}

/// Removes damaged rows and does what follows; whether there were any. Given, because it knows what rows mean and stands on
/// everything that does.
pub(crate) type Mend = fn(&dyn Transaction, u64) -> Result<bool, Error>;

impl Engine {
    /// A home with its store. Nothing is read yet. `mend`: what to do about rows that are damaged.
    pub fn new(home: Home, store: Box<dyn Store>, options: Options, mend: Option<Mend>) -> Self {
        let (store, identity) = (Mutex::new(store), Mutex::default());
        Self(Arc::new(Shared {
            home,
            options,
            relay_clock: RelayClock::default(),
            store,
            commits: AtomicU64::new(0),
            identity,
            mend,
            files_due: Notify::new(),
            looked: Mutex::default(),
            mended: AtomicBool::new(false),
        }))
    }

    /// Whether damaged rows were removed since this was asked last: there is something to tell.
    pub fn take_mended(&self) -> bool {
        self.0.mended.swap(false, Ordering::Relaxed)
    }

    /// Wakes what sends and fetches files in this process.
    pub fn files_due(&self) -> &Notify {
        &self.0.files_due
    }

    /// Files that this process looked at a moment ago.
    pub fn looked(&self) -> MutexGuard<'_, Looked> {
        self.0.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory.
    pub fn home(&self) -> &Home {
        &self.0.home
    }

    /// What the caller chose.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// The relay's clock, as it was heard last in this process.
    pub fn relay_clock(&self) -> &RelayClock {
        &self.0.relay_clock
    }

    /// This machine's time, Unix milliseconds.
    pub fn now(&self) -> u64 {
        self.0.options.clock.now_ms()
    }

    /// The time, if both this machine's clock and the relay's say so: what may decide that something is too old.
    pub fn certain_now(&self) -> Option<u64> {
        self.0.relay_clock.agrees(self.now())
    }

    /// Runs `work` on one state of the store. If that state holds damaged rows, they are removed, and it runs once more.
    ///
    /// # Errors
    /// Those of the store and of `work`.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let engine = self.clone();
        blocking(move || {
            let work = |tx: &Tx<'_>| work(tx).map(Some);
            match engine.run(Mode::Read, work) {
                Err(Error::StoreMended) => engine.run(Mode::Read, work),
                result => result,
            }
        })
        .await
        .and_then(some)
    }

    /// Runs `work` in a transaction that is on disk once this returns; without effect if `work` fails.
    ///
    /// # Errors
    /// Those of the store and of `work`. `store-mended`: it met damaged rows, which are removed now; the same once more may do.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.transact(Mode::Write, |tx| work(tx).map(Some)).await.and_then(some)
    }

    /// As [`write`](Self::write), for what costs little when a power failure takes it back ([`Mode::WriteRelaxed`]).
    ///
    /// # Errors
    /// Those of the store and of `work`.
    pub async fn write_relaxed<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.transact(Mode::WriteRelaxed, |tx| work(tx).map(Some)).await.and_then(some)
    }

    /// As [`write`](Self::write), but without effect also if `work` gives nothing.
    ///
    /// # Errors
    /// Those of the store and of `work`.
    pub async fn attempt<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<Option<T>, Error> + Send + 'static,
    ) -> Result<Option<T>, Error> {
        self.transact(Mode::Write, work).await
    }

    /// This home's account and device, as they are stored now.
    ///
    /// # Errors
    /// `not-registered`, and those of the store.
    pub async fn identity(&self) -> Result<Arc<Identity>, Error> {
        self.read(|tx| tx.identity()).await
    }

    /// See [`Changes`].
    ///
    /// # Errors
    /// Those of the store.
    pub async fn changes(&self) -> Result<Changes, Error> {
        let engine = self.clone();
        blocking(move || {
            let others = lock(&engine.0.store).changes()?;
            Ok(Changes { own: engine.0.commits.load(Ordering::Relaxed), others })
        })
        .await
    }

    /// Has the store leave nothing of what was deleted: see [`Store::scrub`].
    ///
    /// # Errors
    /// Those of the store.
    pub async fn scrub(&self) -> Result<(), Error> {
        let engine = self.clone();
        blocking(move || Ok(lock(&engine.0.store).scrub()?)).await
    }

    async fn transact<T: Send + 'static>(
        &self,
        mode: Mode,
        work: impl FnOnce(&Tx<'_>) -> Result<Option<T>, Error> + Send + 'static,
    ) -> Result<Option<T>, Error> {
        let engine = self.clone();
        blocking(move || engine.run(mode, work)).await
    }

    /// One transaction, on this thread.
    fn run<T>(&self, mode: Mode, work: impl FnOnce(&Tx<'_>) -> Result<Option<T>, Error>) -> Result<Option<T>, Error> {
        let mut store = lock(&self.0.store);
        match self.run_on(&mut **store, mode, work) {
            Err(damaged @ Error::StoreCorrupt { .. }) => Err(self.mend(&mut **store).unwrap_or(damaged)),
            result => result,
        }
    }

    fn run_on<T>(
        &self,
        store: &mut dyn Store,
        mode: Mode,
        work: impl FnOnce(&Tx<'_>) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let tx = Tx { transaction: store.begin(mode)?, engine: self };
        let value = work(&tx)?;
        if value.is_some() {
            tx.transaction.commit()?;
            if mode != Mode::Read {
                self.0.commits.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(value)
    }

    /// Removes damaged rows. `None`: there are none, or it cannot be done; nothing changed then.
    fn mend(&self, store: &mut dyn Store) -> Option<Error> {
        let mend = self.0.mend?;
        let mended = self.run_on(store, Mode::Write, |tx| Ok(mend(tx, self.now())?.then_some(())));
        match mended {
            Ok(Some(())) => {
                self.0.mended.store(true, Ordering::Relaxed);
                Some(Error::StoreMended)
            }
            Ok(None) => None,
            Err(Error::HomeReadOnly) => Some(Error::StoreUnmended),
            Err(error) => {
                tracing::warn!(code = error.code(), "damaged rows could not be removed");
                None
            }
        }
    }
}

/// The state of a home as a mark to compare with: another one is another state. The same one is the same state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Changes {
    own: u64,
    others: u64,
}

fn some<T>(value: Option<T>) -> Result<T, Error> {
    value.ok_or(Error::Internal { what: "a transaction without a value" })
}

/// Runs `work` on a thread that may block. It comes to its end also if the caller stops waiting.
///
/// # Errors
/// Those of `work`.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(Error::Internal { what: "a transaction panicked" }))
}

/// A panic in another holder rolled its transaction back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A transaction of a home: the store's, and beside it what the home knows.
pub(crate) struct Tx<'a> {
    transaction: Box<dyn Transaction + 'a>,
    engine: &'a Engine,
}

impl Tx<'_> {
    /// This home's account and device, as this transaction sees them.
    ///
    /// # Errors
    /// `not-registered`: there is none.
    pub fn identity(&self) -> Result<Arc<Identity>, Error> {
        let home = self.engine.home().directory();
        lock(&self.engine.0.identity).get(self, || Error::NotRegistered { home: home.to_owned() })
    }

    /// This home's directory.
    pub fn home(&self) -> &std::path::Path {
        self.engine.home().directory()
    }

    /// This machine's time, Unix milliseconds.
    pub fn now(&self) -> u64 {
        self.engine.now()
    }

    /// See [`Engine::certain_now`].
    pub fn certain_now(&self) -> Option<u64> {
        self.engine.certain_now()
    }

    /// The time to note for something whose age will count: see [`RelayClock::stamp`].
    pub fn stamp(&self, own: u64) -> u64 {
        self.engine.relay_clock().stamp(own)
    }
}

impl Transaction for Tx<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.transaction.get(table, key)
    }

    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.transaction.put(table, key, value)
    }

    fn delete(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.transaction.delete(table, key)
    }

    fn list(&self, table: Table) -> Result<Vec<(Vec<u8>, Value)>, StoreError> {
        self.transaction.list(table)
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        self.transaction.count(table)
    }

    fn append(&self, log: Log, group: &[u8], key: &[u8], value: &[u8]) -> Result<Option<u64>, StoreError> {
        self.transaction.append(log, group, key, value)
    }

    fn find(&self, log: Log, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.transaction.find(log, key)
    }

    fn at(&self, log: Log, place: u64) -> Result<Option<Entry>, StoreError> {
        self.transaction.at(log, place)
    }

    fn replace(&self, log: Log, place: u64, value: &[u8]) -> Result<bool, StoreError> {
        self.transaction.replace(log, place, value)
    }

    fn remove(&self, log: Log, place: u64) -> Result<bool, StoreError> {
        self.transaction.remove(log, place)
    }

    fn scan(&self, log: Log, group: Option<&[u8]>, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.transaction.scan(log, group, after, limit)
    }

    fn scan_back(&self, log: Log, group: Option<&[u8]>, before: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.transaction.scan_back(log, group, before, limit)
    }

    fn count_before(&self, log: Log, group: Option<&[u8]>, before: u64) -> Result<u64, StoreError> {
        self.transaction.count_before(log, group, before)
    }

    fn len(&self, log: Log) -> Result<u64, StoreError> {
        self.transaction.len(log)
    }

    fn remove_unreadable(&self, limit: usize) -> Result<Vec<Unreadable>, StoreError> {
        self.transaction.remove_unreadable(limit)
    }

    fn was(&self, unreadable: &Unreadable, key: &[u8]) -> bool {
        self.transaction.was(unreadable, key)
    }

    fn was_in(&self, unreadable: &Unreadable, group: &[u8]) -> bool {
        self.transaction.was_in(unreadable, group)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.commit()
    }
}

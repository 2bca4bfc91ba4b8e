//! The client's store with a clock around every call: what of a message's cost is the store's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use kuvert_client::store::sqlite::SqliteStore;
use kuvert_client::store::{Entry, Log, Mode, Store, StoreError, Table, Transaction, Unreadable, Value};

/// What was spent in a store since it was opened.
#[derive(Default)]
pub struct Spent {
    /// Nanoseconds by the clock on the wall.
    pub nanoseconds: AtomicU64,
    /// Transactions that wrote.
    pub commits: AtomicU64,
}

impl Spent {
    fn on<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let value = work();
        let spent = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(spent, Ordering::Relaxed);
        value
    }
}

/// See the module's head.
pub struct Metered {
    store: SqliteStore,
    spent: Arc<Spent>,
}

impl Metered {
    /// What `store` costs is added to `spent`.
    pub const fn new(store: SqliteStore, spent: Arc<Spent>) -> Self {
        Self { store, spent }
    }
}

struct MeteredTransaction<'a> {
    transaction: Box<dyn Transaction + 'a>,
    spent: &'a Spent,
    writes: bool,
}

impl Store for Metered {
    fn begin(&mut self, mode: Mode) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let Self { store, spent } = self;
        let transaction = spent.on(|| store.begin(mode))?;
        Ok(Box::new(MeteredTransaction { transaction, spent, writes: mode != Mode::Read }))
    }

    fn changes(&mut self) -> Result<u64, StoreError> {
        self.store.changes()
    }
}

impl Transaction for MeteredTransaction<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.spent.on(|| self.transaction.get(table, key))
    }

    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.spent.on(|| self.transaction.put(table, key, value))
    }

    fn delete(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.spent.on(|| self.transaction.delete(table, key))
    }

    fn list(&self, table: Table) -> Result<Vec<(Vec<u8>, Value)>, StoreError> {
        self.spent.on(|| self.transaction.list(table))
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        self.spent.on(|| self.transaction.count(table))
    }

    fn append(&self, log: Log, group: &[u8], key: &[u8], value: &[u8]) -> Result<Option<u64>, StoreError> {
        self.spent.on(|| self.transaction.append(log, group, key, value))
    }

    fn find(&self, log: Log, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.spent.on(|| self.transaction.find(log, key))
    }

    fn at(&self, log: Log, place: u64) -> Result<Option<Entry>, StoreError> {
        self.spent.on(|| self.transaction.at(log, place))
    }

    fn replace(&self, log: Log, place: u64, value: &[u8]) -> Result<bool, StoreError> {
        self.spent.on(|| self.transaction.replace(log, place, value))
    }

    fn remove(&self, log: Log, place: u64) -> Result<bool, StoreError> {
        self.spent.on(|| self.transaction.remove(log, place))
    }

    fn scan(&self, log: Log, group: Option<&[u8]>, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.spent.on(|| self.transaction.scan(log, group, after, limit))
    }

    fn scan_back(&self, log: Log, group: Option<&[u8]>, before: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.spent.on(|| self.transaction.scan_back(log, group, before, limit))
    }

    fn len(&self, log: Log) -> Result<u64, StoreError> {
        self.spent.on(|| self.transaction.len(log))
    }

    fn remove_unreadable(&self, limit: usize) -> Result<Vec<Unreadable>, StoreError> {
        self.spent.on(|| self.transaction.remove_unreadable(limit))
    }

    fn was(&self, unreadable: &Unreadable, key: &[u8]) -> bool {
        self.spent.on(|| self.transaction.was(unreadable, key))
    }

    fn was_in(&self, unreadable: &Unreadable, group: &[u8]) -> bool {
        self.spent.on(|| self.transaction.was_in(unreadable, group))
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let Self { transaction, spent, writes } = *self;
        spent.commits.fetch_add(u64::from(writes), Ordering::Relaxed);
        spent.on(|| transaction.commit())
    }
}

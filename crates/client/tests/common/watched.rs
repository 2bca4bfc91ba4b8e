//! A home's store that asks the test at every step.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::now;
use kuvert_client::home::Home;
use kuvert_client::store::sqlite::{Opened, SqliteStore};
use kuvert_client::store::{Entry, Log, Mode, Store, StoreError, Table, Transaction, Unreadable, Value};
use kuvert_client::{Client, Options};

/// A point of a transaction. What the watcher answers happens to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    Read,
    Begin,
    Put(Table),
    BeforeCommit,
    AfterCommit,
}

pub type Watcher = Arc<dyn Fn(Moment) -> Result<(), StoreError> + Send + Sync>;

/// Opens a home on a watched store.
pub fn open(path: &Path, options: Options, watcher: Watcher) -> Client {
    let home = Home::open(path, None).unwrap();
    let key = home.store_key().unwrap();
    let busy = Duration::from_secs(5);
    let Opened::Store(inner) = SqliteStore::open(&home.store_file(), home.key_file(), &key, busy).unwrap() else {
        panic!("no store")
    };
    now(Client::builder(path).options(options).store(WatchedStore { inner, watcher }).open()).unwrap()
}

struct WatchedStore {
    inner: SqliteStore,
    watcher: Watcher,
}

impl Store for WatchedStore {
    fn begin(&mut self, mode: Mode) -> Result<Box<dyn Transaction + '_>, StoreError> {
        (self.watcher)(if mode == Mode::Read { Moment::Read } else { Moment::Begin })?;
        let watcher = (mode != Mode::Read).then(|| Arc::clone(&self.watcher));
        Ok(Box::new(WatchedTransaction { inner: self.inner.begin(mode)?, watcher }))
    }
    fn changes(&mut self) -> Result<u64, StoreError> {
        self.inner.changes()
    }
}

struct WatchedTransaction<'a> {
    inner: Box<dyn Transaction + 'a>,
    watcher: Option<Watcher>,
}

impl Transaction for WatchedTransaction<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.inner.get(table, key)
    }
    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.watcher.as_ref().map_or(Ok(()), |watcher| watcher(Moment::Put(table)))?;
        self.inner.put(table, key, value)
    }
    fn delete(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.inner.delete(table, key)
    }
    fn list(&self, table: Table) -> Result<Vec<(Vec<u8>, Value)>, StoreError> {
        self.inner.list(table)
    }
    fn count(&self, table: Table) -> Result<u64, StoreError> {
        self.inner.count(table)
    }
    fn append(&self, log: Log, group: &[u8], key: &[u8], value: &[u8]) -> Result<Option<u64>, StoreError> {
        self.inner.append(log, group, key, value)
    }
    fn find(&self, log: Log, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.inner.find(log, key)
    }
    fn at(&self, log: Log, place: u64) -> Result<Option<Entry>, StoreError> {
        self.inner.at(log, place)
    }
    fn replace(&self, log: Log, place: u64, value: &[u8]) -> Result<bool, StoreError> {
        self.inner.replace(log, place, value)
    }
    fn remove(&self, log: Log, place: u64) -> Result<bool, StoreError> {
        self.inner.remove(log, place)
    }
    fn scan(&self, log: Log, group: Option<&[u8]>, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(log, group, after, limit)
    }
    fn scan_back(&self, log: Log, group: Option<&[u8]>, before: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan_back(log, group, before, limit)
    }
    fn len(&self, log: Log) -> Result<u64, StoreError> {
        self.inner.len(log)
    }
    fn remove_unreadable(&self, limit: usize) -> Result<Vec<Unreadable>, StoreError> {
        self.inner.remove_unreadable(limit)
    }
    fn was(&self, unreadable: &Unreadable, key: &[u8]) -> bool {
        self.inner.was(unreadable, key)
    }
    fn was_in(&self, unreadable: &Unreadable, group: &[u8]) -> bool {
        self.inner.was_in(unreadable, group)
    }
    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let Self { inner, watcher } = *self;
        let Some(watcher) = watcher else { return inner.commit() };
        watcher(Moment::BeforeCommit)?;
        inner.commit()?;
        watcher(Moment::AfterCommit)
    }
}

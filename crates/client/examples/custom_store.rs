//! A client that keeps what it has to keep in a store of one's own: `cargo run -p kuvert-client --example custom_store -- RELAY`
//!
//! This one wraps the store in memory and counts what is committed. A real one keeps the bytes somewhere: the trait says what has
//! to hold, and `kuvert_client::store::conformance` tests that it does. The home's directory is used for locks only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kuvert_client::store::memory::MemoryStore;
use kuvert_client::store::{Entry, Log, Mode, Store, StoreError, Table, Transaction, Unreadable, Value};
use kuvert_client::{Client, Error, RelayUrl};

/// A store that counts.
#[derive(Default)]
pub struct Counting {
    inner: MemoryStore,
    /// Transactions that wrote and were committed.
    pub commits: Arc<AtomicU64>,
}

impl Store for Counting {
    fn begin(&mut self, mode: Mode) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let counted = if mode == Mode::Read { None } else { Some(&*self.commits) };
        Ok(Box::new(Counted { inner: self.inner.begin(mode)?, counted }))
    }

    fn changes(&mut self) -> Result<u64, StoreError> {
        self.inner.changes()
    }
}

struct Counted<'a> {
    inner: Box<dyn Transaction + 'a>,
    counted: Option<&'a AtomicU64>,
}

impl Transaction for Counted<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.inner.get(table, key)
    }

    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
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
        self.inner.commit()?;
        if let Some(commits) = self.counted {
            commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Registers an account that lives as long as the client, and tells how many transactions that took.
pub async fn register(directory: &std::path::Path, relay: RelayUrl) -> Result<(Client, u64), Error> {
    let store = Counting::default();
    let commits = Arc::clone(&store.commits);
    let client = Client::builder(directory).relay(relay).store(store).register().await?;
    Ok((client, commits.load(Ordering::Relaxed)))
}

#[tokio::main]
#[allow(dead_code, reason = "the tests take this file as a module")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(relay) = std::env::args().nth(1) else { return Err("give the relay's address: kuvert://…".into()) };
    let directory = std::env::temp_dir().join(format!("kuvert-custom-store-{}", std::process::id()));
    let registered = register(&directory, relay.parse()?).await;
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    let (client, commits) = registered?;
    println!("{} was registered in {commits} transactions", client.whoami().await?.address.account);
    Ok(())
}

//! Reader threads: each has a connection of its own, so that reading never waits for the writer.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use kuvert_relay::store::{
    AccountBy, AccountRecord, DeviceRecord, Gauges, Page, PrekeyCounts, Stats, StoreError, Times,
};
use kuvert_types::{AccountId, Address};
use rusqlite::Connection;

use super::column::unsigned;
use super::index::SharedIndex;
use super::schema::store_error;
use super::{OpenError, accounts, envelopes, prekeys, schema, times};

/// A question with the place for its answer inside.
pub type Job = Box<dyn FnOnce(&mut Reader) + Send>;

/// One connection.
pub struct Reader {
    connection: Connection,
    index: SharedIndex,
}

/// Starts the threads. They end when the sender is dropped.
pub fn start(
    database: &Path,
    count: usize,
    index: &SharedIndex,
) -> Result<(Sender<Job>, Vec<JoinHandle<()>>), OpenError> {
    let (sender, receiver) = mpsc::channel();
    let receiver = Arc::new(Mutex::new(receiver));
    let mut threads = Vec::new();
    for _ in 0..count.max(1) {
        let reader = Reader { connection: schema::open_reader(database)?, index: index.clone() };
        let receiver = Arc::clone(&receiver);
        let thread = thread::Builder::new().name("store-reader".into()).spawn(move || reader.run(&receiver));
        threads.push(thread.map_err(|error| OpenError::Io { path: database.to_owned(), error })?);
    }
    Ok((sender, threads))
}

impl Reader {
    fn run(mut self, receiver: &Mutex<Receiver<Job>>) {
        loop {
            let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match job {
                Ok(job) => job(&mut self),
                Err(mpsc::RecvError) => return,
            }
        }
    }

    /// The page of these cursors. Where nothing of it is there any more, or can be read, the next one: a reader goes on behind the
    /// last envelope of a page, and an empty page has none.
    pub fn page(
        &mut self,
        mailbox: &Address,
        (mut cursors, mut more): (Vec<u64>, bool),
        limit: usize,
        max_bytes: usize,
    ) -> Result<Page, StoreError> {
        loop {
            let envelopes = envelopes::read(&self.connection, &cursors).map_err(|error| store_error(&error))?;
            match cursors.last() {
                Some(last) if envelopes.is_empty() && more => {
                    (cursors, more) = self.index.lock().page(mailbox, *last, limit, max_bytes);
                }
                _ => return Ok(Page { envelopes, more }),
            }
        }
    }

    pub fn account(&mut self, by: &AccountBy) -> Result<Option<AccountRecord>, StoreError> {
        accounts::find(&self.connection, by).map_err(|error| store_error(&error))
    }

    pub fn registered_since(&mut self, time: u64) -> Result<Vec<(AccountId, u64)>, StoreError> {
        accounts::registered_since(&self.connection, time).map_err(|error| store_error(&error))
    }

    pub fn device(&mut self, address: Address) -> Result<Option<DeviceRecord>, StoreError> {
        accounts::find_device(&self.connection, address).map_err(|error| store_error(&error))
    }

    pub fn count_prekeys(&mut self, device: Address) -> Result<PrekeyCounts, StoreError> {
        let Some(number) = self.index.lock().number(&device) else { return Ok(PrekeyCounts::default()) };
        prekeys::count(&self.connection, number).map_err(|error| store_error(&error))
    }

    pub fn times(&mut self) -> Result<Times, StoreError> {
        times::read(&self.connection).map_err(|error| store_error(&error))
    }

    pub fn gauges(&self) -> Gauges {
        self.index.lock().gauges()
    }

    pub fn stats(&mut self) -> Result<Stats, StoreError> {
        let Gauges { devices: _, waiting, waiting_bytes } = self.gauges();
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            self.connection.query_row(&sql, [], |row| unsigned(row, 0)).map_err(|error| store_error(&error))
        };
        Ok(Stats {
            accounts: count("account")?,
            devices: count("device")?,
            waiting,
            waiting_bytes,
            one_time_prekeys: count("one_time_prekey")?,
        })
    }
}

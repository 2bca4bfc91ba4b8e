//! Writes events to a SQLite database of their own, `DATA/observe.db`: one table, a row per event, a column for each kind
//! of thing that a relay can learn. Open it with any SQLite tool.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use kuvert_privacy::registry::{Mismatch, Place};
use kuvert_types::Address;
use rusqlite::{Connection, OpenFlags, params};

use super::past;
use kuvert_relay::observe::{ConnectionNumber, Event, Forgotten, Observer};
use kuvert_relay::store::{StoreError, Unavailable};
use kuvert_relay_sqlite::store::registered::{self, CheckError};
use kuvert_relay_sqlite::store::store_error;

/// Events that wait to be written. Over it they are dropped and counted: watching must not slow the service.
const QUEUE: usize = 65_536;

/// Rows in one transaction at most.
const BATCH: usize = 1_024;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS event (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,         -- Unix milliseconds
        kind TEXT NOT NULL,
        connection INTEGER,          -- random number, the same for all events of one connection
        ip TEXT,
        port INTEGER,
        device TEXT,                 -- who: account.device
        other TEXT,                  -- with whom: account.device, or an account
        source TEXT,                 -- whom the envelope names as its source
        envelope TEXT,               -- or a file
        cursor INTEGER,
        size INTEGER,                -- bytes of ciphertext
        count INTEGER,               -- file_created: readers, if they are told apart; file_discarded: readers taken off
        yes INTEGER,                 -- submitted: a repetition; looked_up: found; bundle_taken: with one-time prekeys;
                                     -- blocked_set: blocked, or no longer; file_done: it was the last reader
        name TEXT,
        phone TEXT,
        matched INTEGER              -- address_book_uploaded: people who have an account
    ) STRICT;
    CREATE TABLE IF NOT EXISTS lost (at INTEGER NOT NULL, count INTEGER NOT NULL) STRICT;
";

/// The observer. One thread writes, in batches.
#[derive(Debug)]
pub struct Database {
    events: Mutex<Option<SyncSender<Task>>>,
    lost: std::sync::Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Work for the thread.
enum Task {
    See(u64, Event),
    Forget(Forgotten, SyncSender<Done>),
    Purge(u64, SyncSender<Done>),
}

type Done = rusqlite::Result<()>;

/// The observation database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// SQLite cannot open or write it.
    #[error("cannot open the observation database ({0}). Move observe.db away, or serve without --observe.")]
    Database(#[from] rusqlite::Error),
    /// Its columns are not those that the registry tells of.
    #[error("{0}, or move observe.db away")]
    Mismatch(#[from] Mismatch),
}

impl From<CheckError> for ObserveError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Database(error) => error.into(),
            CheckError::Mismatch(mismatch) => mismatch.into(),
        }
    }
}

impl Database {
    /// Opens or creates the database.
    ///
    /// # Errors
    /// It is no such database, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, ObserveError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = Connection::open_with_flags(path, flags)?;
        // Losing the last events in a power failure is fine; nobody was promised them.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        past::prepare(&connection)?;
        connection.execute_batch(SCHEMA)?;
        if connection.prepare("SELECT matched FROM event").is_err() {
            // Written by a version that knew no address books.
            connection.execute_batch("ALTER TABLE event ADD COLUMN matched INTEGER")?;
        }
        registered::check(Place::Observations, &connection)?;
        let (sender, receiver) = sync_channel(QUEUE);
        let lost = std::sync::Arc::new(AtomicU64::new(0));
        let writer = {
            let lost = std::sync::Arc::clone(&lost);
            thread::Builder::new().name("observe".into()).spawn(move || work_off(connection, &receiver, &lost))
        };
        // Without a thread nothing is written, and every event counts as lost.
        Ok(Self { events: Mutex::new(Some(sender)), lost, writer: Mutex::new(writer.ok()) })
    }

    /// Waits until the thread has done something, behind all that was seen before.
    fn ask(&self, task: impl FnOnce(SyncSender<Done>) -> Task) -> Result<(), StoreError> {
        let stopped = || StoreError::from(Unavailable::Stopped);
        let queue = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(stopped)?;
        let (sender, done) = sync_channel(1);
        queue.send(task(sender)).map_err(|_| stopped())?;
        // Without this the thread would not end when the relay stops.
        drop(queue);
        done.recv().map_err(|_| stopped())?.map_err(|error| store_error(&error))
    }
}

impl Observer for Database {
    fn see(&self, at: u64, event: Event) {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = events.as_ref().map(|events| events.try_send(Task::See(at, event)));
        if matches!(sent, Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_)))) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn forget(&self, account: &Forgotten) -> Result<(), StoreError> {
        self.ask(|done| Task::Forget(account.clone(), done))
    }

    fn purge(&self, before: u64) -> Result<(), StoreError> {
        self.ask(|done| Task::Purge(before, done))
    }

    fn close(&self) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A panic there has been printed; nothing here depends on it.
            let _ = writer.join();
        }
    }
}

fn work_off(mut connection: Connection, tasks: &Receiver<Task>, lost: &AtomicU64) {
    while let Ok(first) = tasks.recv() {
        let mut batch = Vec::new();
        let mut asked = None;
        for task in std::iter::once(first).chain(tasks.try_iter()) {
            match task {
                Task::See(at, event) => batch.push((at, event)),
                other => asked = Some(other),
            }
            if asked.is_some() || batch.len() >= BATCH {
                break;
            }
        }
        if !batch.is_empty() {
            let written = write_batch(&mut connection, &batch, lost.swap(0, Ordering::Relaxed));
            if let Err(error) = written {
                lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
                tracing::warn!(code = ?error.sqlite_error_code(), events = batch.len(), "observations could not be written");
            }
        }
        let (result, done) = match asked {
            Some(Task::Forget(account, done)) => (past::forget(&mut connection, &account), done),
            Some(Task::Purge(before, done)) => (past::purge(&mut connection, before), done),
            Some(Task::See(..)) | None => continue,
        };
        // Whoever asked may have gone.
        let _ = done.send(result);
    }
}

fn write_batch(connection: &mut Connection, batch: &[(u64, Event)], lost: u64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for (at, event) in batch {
        insert(&transaction, *at, event)?;
    }
    if let (true, Some((at, _))) = (lost > 0, batch.first()) {
        transaction.execute("INSERT INTO lost VALUES (?1, ?2)", params![signed(*at), signed(lost)])?;
    }
    transaction.commit()
}

/// SQLite's integers are signed. Times and sizes are far below the limit.
fn signed(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A row with every column; each event fills in what it knows.
#[derive(Default)]
struct Row {
    kind: &'static str,
    connection: Option<u32>,
    ip: Option<String>,
    port: Option<u16>,
    device: Option<String>,
    other: Option<String>,
    source: Option<String>,
    envelope: Option<String>,
    cursor: Option<i64>,
    size: Option<i64>,
    count: Option<i64>,
    yes: Option<bool>,
    name: Option<String>,
    phone: Option<String>,
    matched: Option<i64>,
}

fn insert(connection: &Connection, at: u64, event: &Event) -> rusqlite::Result<()> {
    let row = row(event);
    connection
        .prepare_cached(
            "INSERT INTO event (at, kind, connection, ip, port, device, other, source, envelope, cursor, size, count, yes,
             name, phone, matched)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            signed(at),
            row.kind,
            row.connection,
            row.ip,
            row.port,
            row.device,
            row.other,
            row.source,
            row.envelope,
            row.cursor,
            row.size,
            row.count,
            row.yes,
            row.name,
            row.phone,
            row.matched
        ])?;
    Ok(())
}

fn row(event: &Event) -> Row {
    let text = |value: &dyn ToString| Some(value.to_string());
    match event {
        Event::Connected { connection, from } => Row {
            kind: "connected",
            connection: Some(connection.get()),
            ip: text(&from.ip().to_canonical()),
            port: Some(from.port()),
            ..Row::default()
        },
        Event::Disconnected { connection } => {
            Row { kind: "disconnected", connection: Some(connection.get()), ..Row::default() }
        }
        Event::Registered { connection, device, name, phone } => Row {
            kind: "registered",
            connection: Some(connection.get()),
            device: text(device),
            name: name.clone(),
            phone: phone.clone(),
            ..Row::default()
        },
        Event::Authenticated { connection, device } => {
            Row { kind: "authenticated", connection: Some(connection.get()), device: text(device), ..Row::default() }
        }
        Event::AuthenticationFailed { connection, claimed } => Row {
            kind: "authentication_failed",
            connection: Some(connection.get()),
            other: text(claimed),
            ..Row::default()
        },
        Event::Submitted { connection, by, source, recipient, id, size, repeated } => Row {
            kind: "submitted",
            connection: Some(connection.get()),
            device: by.map(|by| by.to_string()),
            other: text(recipient),
            source: source.map(|source| source.to_string()),
            envelope: text(id),
            size: Some(signed(*size)),
            yes: Some(*repeated),
            ..Row::default()
        },
        Event::Dropped { connection, by, source, recipient, id, size } => Row {
            kind: "dropped",
            connection: Some(connection.get()),
            device: by.map(|by| by.to_string()),
            other: text(recipient),
            source: source.map(|source| source.to_string()),
            envelope: text(id),
            size: Some(signed(*size)),
            ..Row::default()
        },
        Event::BlockedSet { connection, device, account, blocked } => {
            Row { other: text(account), yes: Some(*blocked), ..by("blocked_set", *connection, device) }
        }
        Event::Attached { connection, device } => {
            Row { kind: "attached", connection: Some(connection.get()), device: text(device), ..Row::default() }
        }
        Event::Displaced { connection, device } => {
            Row { kind: "displaced", connection: Some(connection.get()), device: text(device), ..Row::default() }
        }
        Event::Delivered { connection, device, id, cursor, size } => Row {
            kind: "delivered",
            connection: Some(connection.get()),
            device: text(device),
            envelope: text(id),
            cursor: Some(signed(*cursor)),
            size: Some(signed(*size)),
            ..Row::default()
        },
        Event::Acknowledged { connection, device, up_to, count } => Row {
            kind: "acknowledged",
            connection: Some(connection.get()),
            device: text(device),
            cursor: Some(signed(*up_to)),
            count: Some(signed(*count)),
            ..Row::default()
        },
        Event::ExpiryAcknowledged { connection, device, count } => Row {
            kind: "expiry_acknowledged",
            connection: Some(connection.get()),
            device: text(device),
            count: Some(signed(*count)),
            ..Row::default()
        },
        Event::LookedUp { connection, by, name, account, found } => Row {
            kind: "looked_up",
            connection: Some(connection.get()),
            device: text(by),
            other: account.map(|account| account.to_string()),
            name: name.clone(),
            yes: Some(*found),
            ..Row::default()
        },
        Event::BundleTaken { connection, by, device, one_time } => Row {
            kind: "bundle_taken",
            connection: Some(connection.get()),
            device: text(by),
            other: text(device),
            yes: Some(*one_time),
            ..Row::default()
        },
        Event::PrekeysPublished { connection, device, one_time } => Row {
            kind: "prekeys_published",
            connection: Some(connection.get()),
            device: text(device),
            count: Some(signed(*one_time)),
            ..Row::default()
        },
        Event::PrekeysCounted { connection, device } => {
            Row { kind: "prekeys_counted", connection: Some(connection.get()), device: text(device), ..Row::default() }
        }
        Event::DeviceListPublished { connection, device, number } => Row {
            kind: "device_list_published",
            connection: Some(connection.get()),
            device: text(device),
            count: Some(signed(*number)),
            ..Row::default()
        },
        Event::AccountUpdated { connection, device, name, phone } => Row {
            kind: "account_updated",
            connection: Some(connection.get()),
            device: text(device),
            name: name.clone(),
            phone: phone.clone(),
            ..Row::default()
        },
        Event::AccountDeleted { connection } => {
            Row { kind: "account_deleted", connection: Some(connection.get()), ..Row::default() }
        }
        Event::PhoneCodeRequested { connection, device, number } => {
            Row { phone: Some(number.clone()), ..by("phone_code_requested", *connection, device) }
        }
        Event::PhoneVerified { connection, device, number, taken_from } => Row {
            phone: Some(number.clone()),
            other: taken_from.map(|account| account.to_string()),
            ..by("phone_verified", *connection, device)
        },
        Event::ProfileChanged { connection, device } => by("profile_changed", *connection, device),
        Event::ProfileRead { connection, by: device, account } => {
            Row { other: text(account), ..by("profile_read", *connection, device) }
        }
        Event::AddressBookUploaded { connection, device, entries, matched } => Row {
            count: Some(signed(*entries)),
            matched: Some(signed(*matched)),
            ..by("address_book_uploaded", *connection, device)
        },
        Event::DeviceReported { connection, device } => by("device_reported", *connection, device),
        Event::DisclosureWithdrawn { connection, device } => by("disclosure_withdrawn", *connection, device),
        Event::BlobCreated { connection, by: device, id, size, readers } => Row {
            envelope: text(id),
            size: Some(signed(*size)),
            count: readers.map(signed),
            ..by("file_created", *connection, device)
        },
        Event::BlobUploaded { connection, by: device, id, size } => {
            Row { envelope: text(id), size: Some(signed(*size)), ..by("file_uploaded", *connection, device) }
        }
        Event::BlobCommitted { connection, by: device, id } => {
            Row { envelope: text(id), ..by("file_committed", *connection, device) }
        }
        Event::BlobRead { connection, by, id, size } => Row {
            kind: "file_read",
            connection: Some(connection.get()),
            device: by.map(|by| by.to_string()),
            envelope: text(id),
            size: Some(signed(*size)),
            ..Row::default()
        },
        Event::BlobDone { connection, by, id, last } => Row {
            kind: "file_done",
            connection: Some(connection.get()),
            device: by.map(|by| by.to_string()),
            envelope: text(id),
            yes: Some(*last),
            ..Row::default()
        },
        Event::BlobDiscarded { connection, by: device, id, readers } => {
            Row { envelope: text(id), count: readers.map(signed), ..by("file_discarded", *connection, device) }
        }
        Event::BlobsExpired { count } => Row { kind: "files_expired", count: Some(signed(*count)), ..Row::default() },
        Event::Expired { count } => Row { kind: "expired", count: Some(signed(*count)), ..Row::default() },
    }
}

/// What a device did on a connection.
fn by(kind: &'static str, connection: ConnectionNumber, device: &Address) -> Row {
    Row { kind, connection: Some(connection.get()), device: Some(device.to_string()), ..Row::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kuvert_relay::observe::ConnectionNumber;
    use kuvert_types::{AccountId, Address, DeviceId, EnvelopeId};

    #[test]
    fn every_event_is_on_disk_after_close() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("observe.db");
        let database = Database::open(&path).unwrap();
        let connection = ConnectionNumber::random();
        let device = Address { account: AccountId::from_bytes([7; 16]), device: DeviceId::PRIMARY };
        let id = EnvelopeId::from_bytes([9; 16]);
        database.see(5, Event::Connected { connection, from: "192.0.2.7:99".parse().unwrap() });
        let submitted = Event::Submitted {
            connection,
            by: Some(device),
            source: None,
            recipient: device,
            id,
            size: 512,
            repeated: false,
        };
        for at in 0..3_000 {
            database.see(at, submitted.clone());
        }
        database.see(6, Event::Expired { count: 3 });
        database.close();
        database.see(7, Event::Expired { count: 4 });

        let read = Connection::open(&path).unwrap();
        let count = |query: &str| read.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM event"), 3_002);
        assert_eq!(count("SELECT count(*) FROM event WHERE ip = '192.0.2.7' AND port = 99"), 1);
        assert_eq!(count("SELECT max(size) FROM event WHERE kind = 'submitted'"), 512);
        assert!(Database::open(&path).is_ok());
    }

    fn refused(sql: &str) -> Mismatch {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        registered::check(Place::Observations, &connection).unwrap();
        connection.execute_batch(sql).unwrap();
        match registered::check(Place::Observations, &connection) {
            Err(CheckError::Mismatch(mismatch)) => mismatch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_column_or_table_without_an_entry_is_named() {
        let place = Place::Observations;
        let unregistered = |table: &str, column: &str| Mismatch::Unregistered {
            place,
            table: table.to_owned(),
            column: column.to_owned(),
        };
        assert_eq!(refused("ALTER TABLE event ADD COLUMN battery INTEGER"), unregistered("event", "battery"));
        assert_eq!(refused("CREATE TABLE place(latitude REAL)"), unregistered("place", "latitude"));
        let generated = "ALTER TABLE event ADD COLUMN prefix TEXT GENERATED ALWAYS AS (substr(phone, 1, 3))";
        assert_eq!(refused(generated), unregistered("event", "prefix"));
    }

    #[test]
    fn an_entry_without_a_column_is_named() {
        let place = Place::Observations;
        let missing = Mismatch::Missing { place, table: "event".into(), column: "phone".into() };
        assert_eq!(refused("ALTER TABLE event DROP COLUMN phone"), missing);
    }
}

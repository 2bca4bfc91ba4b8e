//! The store for real homes: one SQLite file in which every value is sealed.
//!
//! ```text
//! meta(name, value)               the sealed cipher (its keys under the store's key file)
//! record(tbl, key, value)         tables: key = keyed hash of the key
//! log(seq, log, grp, key, value)  logs: group and key as keyed hashes, seq rises and never comes back
//! value = nonce ‖ XChaCha20-Poly1305( place's hash 32 ‖ key length u16 ‖ key ‖ value ), as matrix-sdk-store-encryption writes it
//! ```
//! The hash of its table and key stands inside each sealed value, so that rows cannot be swapped. What a reader of the file
//! without the key still sees: how many rows there are, their sizes, their order, and which belong to one conversation. An
//! older copy of the file is not recognised as old.
//!
//! Commits: WAL; `synchronous` FULL for [`Mode::Write`], NORMAL for [`Mode::WriteRelaxed`]. `secure_delete` is on: what is deleted
//! is overwritten where it stood. Copies of it can stand elsewhere: in the log, and in pages that SQLite has moved rows out of.
//! [`Store::scrub`] writes the file anew and empties the log.

use std::path::Path;
use std::time::Duration;

use matrix_sdk_store_encryption::{EncryptedValue, StoreCipher};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, TransactionBehavior, ffi, params};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::frozen;
use super::{Entry, Log, Mode, Part, Store, StoreError, Table, Transaction, Unreadable, Value};
use crate::error::Error;
use crate::migrate::migrate;
use crate::options::{Clock as _, SystemClock};

/// "Kuve" in the file's header.
pub(super) const APPLICATION_ID: u32 = 0x4B75_7665;

/// Counts up with every change of the tables or of what rows mean.
pub const SCHEMA_VERSION: u32 = 6;

pub(super) const SCHEMA: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE record (tbl INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (tbl, key)) WITHOUT ROWID;
CREATE TABLE log (seq INTEGER PRIMARY KEY AUTOINCREMENT, log INTEGER NOT NULL, grp BLOB NOT NULL, key BLOB NOT NULL,
                  value BLOB NOT NULL);
CREATE UNIQUE INDEX log_key ON log (log, key);
CREATE INDEX log_group ON log (log, grp, seq);
";

/// What [`SqliteStore::open`] found.
pub enum Opened {
    /// A store.
    Store(SqliteStore),
    /// No file, or one into which nothing was ever written.
    Nothing,
}

/// One open file.
pub struct SqliteStore {
    connection: Connection,
    cipher: StoreCipher,
    /// Nothing can be written.
    frozen: bool,
    /// Where the files are that a frozen store is read from. After the connection, which is closed first.
    _copies: Option<TempDir>,
}

impl SqliteStore {
    /// What it is open with.
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Opens an existing store. One that cannot be written is opened for reading: what writes then fails with
    /// `home-read-only`.
    ///
    /// # Errors
    /// `store-foreign`, `store-newer`, `store-corrupt`, `store-key-wrong`, `store-locked`, `store-io`.
    pub fn open(path: &Path, key_file: &Path, key: &[u8; 32], busy: Duration) -> Result<Opened, Error> {
        Self::open_as(path, key_file, key, busy, frozen::is_frozen(path))
    }

    /// Opens an existing store for reading, whether or not it could be written.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_to_read(path: &Path, key_file: &Path, key: &[u8; 32], busy: Duration) -> Result<Opened, Error> {
        Self::open_as(path, key_file, key, busy, true)
    }

    fn open_as(path: &Path, key_file: &Path, key: &[u8; 32], busy: Duration, frozen: bool) -> Result<Opened, Error> {
        if !path.exists() {
            return Ok(Opened::Nothing);
        }
        let (connection, copies) =
            if frozen { frozen::open(path)? } else { (connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, busy)?, None) };
        connection.busy_timeout(busy).map_err(store_error)?;
        match is_blank(&connection) {
            Ok(true) => return Ok(Opened::Nothing),
            Ok(false) => {}
            // The first look at the file's bytes: text, a picture, or a store whose head is gone.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => return Err(foreign(path)),
            Err(error) => return Err(read_error(error)),
        }
        let version = check_header(&connection, path)?;
        let sealed: Vec<u8> = connection
            .query_row("SELECT value FROM meta WHERE name = 'cipher'", [], |row| row.get(0))
            .map_err(read_error)?;
        let cipher = StoreCipher::import_with_key(key, &sealed)
            .map_err(|_| Error::StoreKeyWrong { path: key_file.to_owned() })?;
        // A frozen one keeps the rows of its version: reading them needs nothing newer.
        if !frozen {
            configure(&connection)?;
        }
        let mut store = Self { connection, cipher, frozen, _copies: copies };
        if version < SCHEMA_VERSION && !frozen {
            store.migrate()?;
        }
        Ok(Opened::Store(store))
    }

    /// Brings the rows to this version, all or nothing.
    fn migrate(&mut self) -> Result<(), Error> {
        let behaviour = TransactionBehavior::Immediate;
        let inner = self.connection.transaction_with_behavior(behaviour).map_err(store_error)?;
        let version: u32 = inner.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(store_error)?;
        // Another process may have been faster.
        if version < SCHEMA_VERSION {
            inner.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(store_error)?;
            let tx = SqliteTransaction { inner, cipher: &self.cipher, mode: Mode::Write };
            // The machine's clock: it says from when on fresh sessions are due, and no more.
            migrate(&tx, version, SystemClock.now_ms())?;
            Box::new(tx).commit()?;
        }
        Ok(())
    }

    /// Opens a store and makes it first if there is none.
    ///
    /// # Errors
    /// As [`open`](Self::open), and `disk-full`.
    pub fn open_or_create(path: &Path, key_file: &Path, key: &[u8; 32], busy: Duration) -> Result<Self, Error> {
        if let Opened::Store(store) = Self::open(path, key_file, key, busy)? {
            return Ok(store);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = connect(path, flags, busy)?;
        // Before the first page is written: later it would need a VACUUM.
        configure(&connection)?;
        let cipher = StoreCipher::new().map_err(|_| Error::Internal { what: "store cipher" })?;
        let sealed = cipher.export_with_key(key).map_err(|_| Error::Internal { what: "store cipher" })?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store_error)?;
        if is_blank(&transaction).map_err(read_error)? {
            transaction.execute_batch(SCHEMA).map_err(store_error)?;
            transaction
                .execute("INSERT INTO meta (name, value) VALUES ('cipher', ?1)", [sealed])
                .map_err(store_error)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(store_error)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(store_error)?;
            transaction.commit().map_err(store_error)?;
            return Ok(Self { connection, cipher, frozen: false, _copies: None });
        }
        // Another process was faster: take its store.
        drop(transaction);
        match Self::open(path, key_file, key, busy)? {
            Opened::Store(store) => Ok(store),
            Opened::Nothing => Err(Error::Internal { what: "store vanished" }),
        }
    }
}

/// A store up to this size is written anew in memory, a larger one by way of a temporary file: it holds what stays, sealed.
const VACUUM_IN_MEMORY: i64 = 64 * 1024 * 1024;

pub(super) fn connect(path: &Path, flags: OpenFlags, busy: Duration) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(store_error)?;
    connection.busy_timeout(busy).map_err(store_error)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> Result<(), Error> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(store_error)?;
    if mode != "wal" {
        return Err(Error::StoreIo { what: format!("journal mode {mode} instead of WAL") });
    }
    for (name, value) in [("secure_delete", "ON"), ("trusted_schema", "OFF"), ("cell_size_check", "ON")] {
        // secure_delete answers with a row, the others do not.
        connection.pragma_update_and_check(None, name, value, |_| Ok(())).optional().map_err(store_error)?;
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn is_blank(connection: &Connection) -> rusqlite::Result<bool> {
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(objects == 0)
}

/// The version of the store, if this program can read it.
fn check_header(connection: &Connection, path: &Path) -> Result<u32, Error> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).map_err(read_error);
    if pragma("application_id")? != APPLICATION_ID {
        return Err(foreign(path));
    }
    match pragma("user_version")? {
        found @ 1..=SCHEMA_VERSION => Ok(found),
        found if found > SCHEMA_VERSION => Err(Error::StoreNewer { found, known: SCHEMA_VERSION }),
        found => Err(Error::StoreCorrupt { what: format!("unknown version {found}") }),
    }
}

fn foreign(path: &Path) -> Error {
    Error::StoreForeign { path: path.to_owned() }
}

/// A missing table or row in a file that is ours is damage, too.
fn read_error(error: rusqlite::Error) -> Error {
    let code = error.sqlite_error_code();
    match convert(error) {
        // The file system's failure says nothing about what is in the file.
        StoreError::Io(what) if matches!(code, Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)) => {
            Error::StoreIo { what }
        }
        StoreError::Io(what) => Error::StoreCorrupt { what },
        other => other.into(),
    }
}

pub(super) fn store_error(error: rusqlite::Error) -> Error {
    convert(error).into()
}

fn convert(error: rusqlite::Error) -> StoreError {
    let Some(code) = error.sqlite_error_code() else { return StoreError::Io(error.to_string()) };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Locked,
        ErrorCode::DiskFull => StoreError::DiskFull,
        ErrorCode::ReadOnly => StoreError::ReadOnly,
        // A quota or a limit on the size of files is used up, or the file of shared memory beside the log cannot grow.
        ErrorCode::SystemIoFailure if could_not_grow(&error) => StoreError::DiskFull,
        ErrorCode::DatabaseCorrupt => StoreError::Corrupt("SQLite finds its pages inconsistent".to_owned()),
        ErrorCode::NotADatabase => StoreError::Corrupt("it is not a database file".to_owned()),
        _ => StoreError::Io(error.to_string()),
    }
}

fn could_not_grow(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return false };
    matches!(failure.extended_code, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE)
}

impl Store for SqliteStore {
    fn begin(&mut self, mode: Mode) -> Result<Box<dyn Transaction + '_>, StoreError> {
        if self.frozen && mode != Mode::Read {
            return Err(StoreError::ReadOnly);
        }
        // Per connection, and only outside of transactions. NORMAL in WAL mode: no fsync at commit.
        let synchronous = if mode == Mode::WriteRelaxed { "NORMAL" } else { "FULL" };
        self.connection.pragma_update(None, "synchronous", synchronous).map_err(convert)?;
        let behaviour = if mode == Mode::Read { TransactionBehavior::Deferred } else { TransactionBehavior::Immediate };
        let inner = self.connection.transaction_with_behavior(behaviour).map_err(convert)?;
        Ok(Box::new(SqliteTransaction { inner, cipher: &self.cipher, mode }))
    }

    fn changes(&mut self) -> Result<u64, StoreError> {
        // SQLite counts the commits of other connections. What a frozen store is read from does not change.
        let mut statement = self.connection.prepare_cached("PRAGMA data_version").map_err(convert)?;
        statement.query_row([], |row| row.get(0)).map(i64::cast_unsigned).map_err(convert)
    }

    fn scrub(&mut self) -> Result<(), StoreError> {
        if self.frozen {
            return Err(StoreError::ReadOnly);
        }
        let pragma = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let bytes = pragma("page_count").map_err(convert)?.saturating_mul(pragma("page_size").map_err(convert)?);
        let temporary = if bytes > VACUUM_IN_MEMORY { "FILE" } else { "MEMORY" };
        self.connection.pragma_update(None, "temp_store", temporary).map_err(convert)?;
        self.connection.pragma_update(None, "synchronous", "FULL").map_err(convert)?;
        self.connection.execute_batch("VACUUM").map_err(convert)?;
        let busy: bool =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(convert)?;
        if busy { Err(StoreError::Locked) } else { Ok(()) }
    }
}

struct SqliteTransaction<'a> {
    inner: rusqlite::Transaction<'a>,
    cipher: &'a StoreCipher,
    mode: Mode,
}

/// Where a row stands: what its sealed value is bound to.
type Place = [u8; 32];

impl SqliteTransaction<'_> {
    fn writing(&self) -> Result<(), StoreError> {
        if self.mode == Mode::Read { Err(StoreError::Io("write in a read transaction".to_owned())) } else { Ok(()) }
    }

    fn in_table(&self, table: Table, key: &[u8]) -> Place {
        self.cipher.hash_key(table_name(table), key)
    }

    fn in_log(&self, log: Log, key: &[u8]) -> Place {
        self.cipher.hash_key(log_names(log).0, key)
    }

    fn group(&self, log: Log, group: &[u8]) -> [u8; 32] {
        self.cipher.hash_key(log_names(log).1, group)
    }

    fn seal(&self, place: &Place, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let key_len = u16::try_from(key.len()).map_err(|_| StoreError::Io("key too long".to_owned()))?;
        // Not wiped on a panic; encrypt_value_data encrypts in place of its own copy.
        let plain = [place.as_slice(), &key_len.to_be_bytes(), key, value].concat();
        let sealed = self.cipher.encrypt_value_data(plain).map_err(|_| StoreError::Io("sealing failed".to_owned()))?;
        postcard::to_allocvec(&sealed).map_err(|_| StoreError::Io("sealing failed".to_owned()))
    }

    /// Key and value, if the value was sealed for this place.
    fn open(&self, place: &[u8], sealed: &[u8]) -> Result<(Vec<u8>, Value), StoreError> {
        let damaged = || StoreError::Corrupt("a sealed value does not open".to_owned());
        let sealed: EncryptedValue = postcard::from_bytes(sealed).map_err(|_| damaged())?;
        let plain = Zeroizing::new(self.cipher.decrypt_value_data(sealed).map_err(|_| damaged())?);
        let mut reader = kuvert_types::Reader::new(&plain);
        let mut read = || {
            let stands = reader.bytes(32)?;
            let key_len = usize::from(reader.u16()?);
            Ok::<_, kuvert_types::DecodeError>((stands, reader.bytes(key_len)?, reader.rest()))
        };
        let (stands, key, value) = read().map_err(|_| damaged())?;
        if stands != place {
            return Err(StoreError::Corrupt("a sealed value stands in another's place".to_owned()));
        }
        Ok((key.to_vec(), Zeroizing::new(value.to_vec())))
    }

    fn entry(&self, (place, key, value): LogRow) -> Result<Entry, StoreError> {
        let (key, value) = self.open(&key, &value)?;
        Ok(Entry { place: u64::try_from(place).map_err(|_| StoreError::Corrupt("log".to_owned()))?, key, value })
    }
}

/// seq, key, value
type LogRow = (i64, Vec<u8>, Vec<u8>);

fn log_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<LogRow> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

const fn table_name(table: Table) -> &'static str {
    match table {
        Table::Own => "own",
        Table::Contact => "contact",
        Table::Session => "session",
        Table::Prekey => "prekey",
        Table::Received => "received",
        Table::Unshown => "unshown",
        Table::ReceiptDue => "receipt due",
        Table::Peer => "peer",
        Table::Replay => "replay",
        Table::Deleted => "deleted",
        Table::Conversation => "conversation",
        Table::Upload => "upload",
        Table::Fetch => "fetch",
        Table::Unlink => "unlink",
    }
}

/// For keys, for groups.
const fn log_names(log: Log) -> (&'static str, &'static str) {
    match log {
        Log::Message => ("message", "message group"),
        Log::Outbox => ("outbox", "outbox group"),
        Log::Received => ("received", "received group"),
        Log::Held => ("held", "held group"),
        Log::Envelope => ("envelope", "envelope group"),
    }
}

/// SQLite counts in i64; places beyond are in no log.
fn seq(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

impl Transaction for SqliteTransaction<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, StoreError> {
        let place = self.in_table(table, key);
        let mut statement =
            self.inner.prepare_cached("SELECT value FROM record WHERE tbl = ?1 AND key = ?2").map_err(convert)?;
        let sealed: Option<Vec<u8>> =
            statement.query_row(params![table as u8, place], |row| row.get(0)).optional().map_err(convert)?;
        sealed.map(|sealed| Ok(self.open(&place, &sealed)?.1)).transpose()
    }

    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.writing()?;
        let place = self.in_table(table, key);
        let sealed = self.seal(&place, key, value)?;
        let sql = "INSERT INTO record (tbl, key, value) VALUES (?1, ?2, ?3)
                   ON CONFLICT (tbl, key) DO UPDATE SET value = excluded.value";
        let mut statement = self.inner.prepare_cached(sql).map_err(convert)?;
        statement.execute(params![table as u8, place, sealed]).map_err(convert)?;
        Ok(())
    }

    fn delete(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.writing()?;
        let mut statement =
            self.inner.prepare_cached("DELETE FROM record WHERE tbl = ?1 AND key = ?2").map_err(convert)?;
        let rows = statement.execute(params![table as u8, self.in_table(table, key)]).map_err(convert)?;
        Ok(rows > 0)
    }

    fn list(&self, table: Table) -> Result<Vec<(Vec<u8>, Value)>, StoreError> {
        let mut statement =
            self.inner.prepare_cached("SELECT key, value FROM record WHERE tbl = ?1").map_err(convert)?;
        let rows = statement
            .query_map([table as u8], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)))
            .map_err(convert)?;
        let mut all = Vec::new();
        for row in rows {
            let (place, sealed) = row.map_err(convert)?;
            all.push(self.open(&place, &sealed)?);
        }
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(all)
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        let mut statement = self.inner.prepare_cached("SELECT count(*) FROM record WHERE tbl = ?1").map_err(convert)?;
        statement.query_row([table as u8], |row| row.get(0)).map(i64::cast_unsigned).map_err(convert)
    }

    fn append(&self, log: Log, group: &[u8], key: &[u8], value: &[u8]) -> Result<Option<u64>, StoreError> {
        self.writing()?;
        let place = self.in_log(log, key);
        let sealed = self.seal(&place, key, value)?;
        let sql = "INSERT INTO log (log, grp, key, value) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (log, key) DO NOTHING RETURNING seq";
        let mut statement = self.inner.prepare_cached(sql).map_err(convert)?;
        statement
            .query_row(params![log as u8, self.group(log, group), place, sealed], |row| row.get(0))
            .map(i64::cast_unsigned)
            .optional()
            .map_err(convert)
    }

    fn find(&self, log: Log, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        let sql = "SELECT seq, key, value FROM log WHERE log = ?1 AND key = ?2";
        let mut statement = self.inner.prepare_cached(sql).map_err(convert)?;
        let row =
            statement.query_row(params![log as u8, self.in_log(log, key)], log_row).optional().map_err(convert)?;
        row.map(|row| self.entry(row)).transpose()
    }

    fn at(&self, log: Log, place: u64) -> Result<Option<Entry>, StoreError> {
        let sql = "SELECT seq, key, value FROM log WHERE log = ?1 AND seq = ?2";
        let mut statement = self.inner.prepare_cached(sql).map_err(convert)?;
        let row = statement.query_row(params![log as u8, seq(place)], log_row).optional().map_err(convert)?;
        row.map(|row| self.entry(row)).transpose()
    }

    fn replace(&self, log: Log, place: u64, value: &[u8]) -> Result<bool, StoreError> {
        self.writing()?;
        let Some(entry) = self.at(log, place)? else { return Ok(false) };
        let sealed = self.seal(&self.in_log(log, &entry.key), &entry.key, value)?;
        let mut statement = self.inner.prepare_cached("UPDATE log SET value = ?2 WHERE seq = ?1").map_err(convert)?;
        statement.execute(params![seq(place), sealed]).map_err(convert)?;
        Ok(true)
    }

    fn remove(&self, log: Log, place: u64) -> Result<bool, StoreError> {
        self.writing()?;
        let mut statement =
            self.inner.prepare_cached("DELETE FROM log WHERE log = ?1 AND seq = ?2").map_err(convert)?;
        Ok(statement.execute(params![log as u8, seq(place)]).map_err(convert)? > 0)
    }

    fn scan(&self, log: Log, group: Option<&[u8]>, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement;
        let rows = match group {
            Some(group) => {
                let sql =
                    "SELECT seq, key, value FROM log WHERE log = ?1 AND grp = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4";
                statement = self.inner.prepare_cached(sql).map_err(convert)?;
                statement.query_map(params![log as u8, self.group(log, group), seq(after), limit], log_row)
            }
            None => {
                let sql = "SELECT seq, key, value FROM log WHERE log = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
                statement = self.inner.prepare_cached(sql).map_err(convert)?;
                statement.query_map(params![log as u8, seq(after), limit], log_row)
            }
        };
        rows.map_err(convert)?.map(|row| self.entry(row.map_err(convert)?)).collect()
    }

    fn scan_back(&self, log: Log, group: Option<&[u8]>, before: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement;
        let rows = match group {
            Some(group) => {
                let sql = "SELECT seq, key, value FROM log WHERE log = ?1 AND grp = ?2 AND seq < ?3
                           ORDER BY seq DESC LIMIT ?4";
                statement = self.inner.prepare_cached(sql).map_err(convert)?;
                statement.query_map(params![log as u8, self.group(log, group), seq(before), limit], log_row)
            }
            None => {
                let sql = "SELECT seq, key, value FROM log WHERE log = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
                statement = self.inner.prepare_cached(sql).map_err(convert)?;
                statement.query_map(params![log as u8, seq(before), limit], log_row)
            }
        };
        rows.map_err(convert)?.map(|row| self.entry(row.map_err(convert)?)).collect()
    }

    fn count_before(&self, log: Log, group: Option<&[u8]>, before: u64) -> Result<u64, StoreError> {
        let count = |row: &rusqlite::Row<'_>| row.get(0).map(i64::cast_unsigned);
        match group {
            Some(group) => {
                let sql = "SELECT count(*) FROM log WHERE log = ?1 AND grp = ?2 AND seq < ?3";
                let mut statement = self.inner.prepare_cached(sql).map_err(convert)?;
                statement.query_row(params![log as u8, self.group(log, group), seq(before)], count).map_err(convert)
            }
            None => {
                let sql = "SELECT count(*) FROM log WHERE log = ?1 AND seq < ?2";
                let mut statement = self.inner.prepare_cached(sql).map_err(convert)?;
                statement.query_row(params![log as u8, seq(before)], count).map_err(convert)
            }
        }
    }

    fn len(&self, log: Log) -> Result<u64, StoreError> {
        let mut statement = self.inner.prepare_cached("SELECT count(*) FROM log WHERE log = ?1").map_err(convert)?;
        statement.query_row([log as u8], |row| row.get(0)).map(i64::cast_unsigned).map_err(convert)
    }

    fn remove_unreadable(&self, limit: usize) -> Result<Vec<Unreadable>, StoreError> {
        self.writing()?;
        let mut found: Vec<(Unreadable, Option<i64>)> = Vec::new();
        let mut note = |unreadable, seq| {
            found.push((unreadable, seq));
            let more = || StoreError::Corrupt(format!("more than {limit} sealed values do not open"));
            if found.len() > limit { Err(more()) } else { Ok(()) }
        };
        let mut statement = self.inner.prepare("SELECT tbl, key, value FROM record").map_err(convert)?;
        let mut rows = statement.query([]).map_err(convert)?;
        while let Some(row) = rows.next().map_err(convert)? {
            let Some(table) = Table::ALL.into_iter().find(|table| row.get(0) == Ok(*table as u8)) else { continue };
            let (key, value): (Vec<u8>, Vec<u8>) = (row.get(1).map_err(convert)?, row.get(2).map_err(convert)?);
            if self.open(&key, &value).is_err() {
                note(Unreadable { part: Part::Table(table), key, group: None }, None)?;
            }
        }
        let mut statement = self.inner.prepare("SELECT log, grp, seq, key, value FROM log").map_err(convert)?;
        let mut rows = statement.query([]).map_err(convert)?;
        while let Some(row) = rows.next().map_err(convert)? {
            let Some(log) = Log::ALL.into_iter().find(|log| row.get(0) == Ok(*log as u8)) else { continue };
            let (group, seq): (Vec<u8>, i64) = (row.get(1).map_err(convert)?, row.get(2).map_err(convert)?);
            let (key, value): (Vec<u8>, Vec<u8>) = (row.get(3).map_err(convert)?, row.get(4).map_err(convert)?);
            if self.open(&key, &value).is_err() {
                note(Unreadable { part: Part::Log(log), key, group: Some(group) }, Some(seq))?;
            }
        }
        for (unreadable, seq) in &found {
            match (unreadable.part, seq) {
                (Part::Table(table), _) => {
                    let sql = "DELETE FROM record WHERE tbl = ?1 AND key = ?2";
                    self.inner.execute(sql, params![table as u8, unreadable.key]).map_err(convert)?
                }
                (Part::Log(_), seq) => {
                    self.inner.execute("DELETE FROM log WHERE seq = ?1", params![seq]).map_err(convert)?
                }
            };
        }
        Ok(found.into_iter().map(|(unreadable, _)| unreadable).collect())
    }

    fn was(&self, unreadable: &Unreadable, key: &[u8]) -> bool {
        let place = match unreadable.part {
            Part::Table(table) => self.in_table(table, key),
            Part::Log(log) => self.in_log(log, key),
        };
        unreadable.key == place
    }

    fn was_in(&self, unreadable: &Unreadable, group: &[u8]) -> bool {
        match unreadable.part {
            Part::Table(_) => false,
            Part::Log(log) => unreadable.group.as_deref() == Some(&self.group(log, group)),
        }
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.inner.commit().map_err(convert)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{self, ContactRow, own};
    use tempfile::TempDir;

    const KEY: [u8; 32] = [7; 32];
    const BUSY: Duration = Duration::from_millis(50);

    fn at(dir: &TempDir) -> SqliteStore {
        let path = dir.path().join("store.db");
        SqliteStore::open_or_create(&path, Path::new("store.key"), &KEY, BUSY).unwrap()
    }

    fn reopen(dir: &TempDir, key: &[u8; 32]) -> Result<Opened, Error> {
        SqliteStore::open(&dir.path().join("store.db"), Path::new("store.key"), key, BUSY)
    }

    fn code(result: Result<Opened, Error>) -> &'static str {
        match result {
            Ok(Opened::Store(_)) => "store",
            Ok(Opened::Nothing) => "nothing",
            Err(error) => error.code(),
        }
    }

    fn put(store: &mut SqliteStore, key: &[u8], value: &[u8]) {
        let tx = store.begin(Mode::Write).unwrap();
        tx.put(Table::Own, key, value).unwrap();
        tx.commit().unwrap();
    }

    #[test]
    fn conforms() {
        let dir = tempfile::tempdir().unwrap();
        let mut n = 0;
        super::super::conformance::run(|| {
            n += 1;
            let path = dir.path().join(format!("{n}.db"));
            let store = SqliteStore::open_or_create(&path, Path::new("store.key"), &KEY, BUSY).unwrap();
            Box::new(store) as Box<dyn Store>
        });
    }

    #[test]
    fn tells_apart_nothing_foreign_newer_damaged_and_a_wrong_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        assert_eq!(code(reopen(&dir, &KEY)), "nothing");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(code(reopen(&dir, &KEY)), "nothing");
        std::fs::write(&path, [0x41; 8192]).unwrap();
        assert_eq!(code(reopen(&dir, &KEY)), "store-foreign");
        std::fs::remove_file(&path).unwrap();

        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(other);
        assert_eq!(code(reopen(&dir, &KEY)), "store-foreign");
        std::fs::remove_file(&path).unwrap();

        drop(at(&dir));
        assert_eq!(code(reopen(&dir, &KEY)), "store");
        assert_eq!(code(reopen(&dir, &[8; 32])), "store-key-wrong");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
        assert_eq!(code(reopen(&dir, &KEY)), "store-newer");
    }

    #[test]
    fn a_store_of_version_1_becomes_one_of_this_version_and_keeps_what_it_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = at(&dir);
        // Version 1 had one replay record for all prekeys: `1 ‖ count ‖ count × (prekey id ‖ tag)`.
        let tags = [(3_u32, [1; 32]), (4, [2; 32]), (3, [3; 32])];
        let entries = tags.iter().flat_map(|(prekey, tag)| [&prekey.to_be_bytes()[..], &tag[..]].concat());
        let record: Vec<u8> = [1, 0, 0, 0, 3].into_iter().chain(entries).collect();
        put(&mut store, own::REPLAY, &record);
        let tx = store.begin(Mode::Write).unwrap();
        let told = ContactRow {
            account_key: vec![1; 32],
            alias: "bob".into(),
            name: Some("robert".into()),
            access_key: Some(vec![5; 16]),
            ..ContactRow::default()
        };
        state::put(&*tx, Table::Contact, &[1; 16], &told).unwrap();
        state::put(&*tx, Table::Contact, &[2; 16], &ContactRow { access_key: None, ..told.clone() }).unwrap();
        tx.put(Table::Received, &[9; 16], &7_u64.to_be_bytes()).unwrap();
        tx.commit().unwrap();
        drop(store);
        let path = dir.path().join("store.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 1).unwrap();

        let Ok(Opened::Store(mut store)) = reopen(&dir, &KEY) else { panic!() };
        let tx = store.begin(Mode::Read).unwrap();
        assert!(tx.get(Table::Own, own::REPLAY).unwrap().is_none());
        let entries = |prekey| crate::prekeys::replay_record(&*tx, prekey).unwrap().len();
        assert_eq!([3, 4, 5].map(entries), [2, 1, 0]);
        let contact = |id: u8| state::get::<ContactRow>(&*tx, Table::Contact, &[id; 16]).unwrap().unwrap();
        assert_eq!((contact(1).takes_sealed, contact(2).takes_sealed), (true, false));
        assert_eq!((contact(1).name.as_deref(), contact(1).seen_name.as_deref()), (Some("robert"), Some("robert")));
        assert!(!contact(1).request, "a contact stays one");
        assert!(tx.get(Table::Received, &[9; 16]).unwrap().is_some());
        drop(tx);
        drop(store);
        assert_eq!(code(reopen(&dir, &KEY)), "store", "once");
        // Version 3 has all but the marks of version 4: an older program would show again what was deleted.
        let raw = Connection::open(&path).unwrap();
        raw.pragma_update(None, "user_version", 3).unwrap();
        assert_eq!(code(reopen(&dir, &KEY)), "store");
        let version: u32 = raw.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, SCHEMA_VERSION);
    }

    /// A store that says it is of this version and holds this message, opened by this program, and what it has of the message.
    fn brought_from(dir: &TempDir, version: u32, row: &state::MessageRow) -> (SqliteStore, crate::MessageRecord) {
        let mut store = at(dir);
        let tx = store.begin(Mode::Write).unwrap();
        tx.append(Log::Message, &[1; 16], b"k", &prost::Message::encode_to_vec(row)).unwrap();
        tx.commit().unwrap();
        drop(store);
        let path = dir.path().join("store.db");
        Connection::open(path).unwrap().pragma_update(None, "user_version", version).unwrap();
        let Ok(Opened::Store(mut store)) = reopen(dir, &KEY) else { panic!() };
        let tx = store.begin(Mode::Read).unwrap();
        let stored = state::Stored::read(&tx.scan_back(Log::Message, None, u64::MAX, 1).unwrap()[0]).unwrap();
        let record = stored.record(&*tx, "bob").unwrap();
        drop(tx);
        (store, record)
    }

    fn version_of(dir: &TempDir) -> u32 {
        let raw = Connection::open(dir.path().join("store.db")).unwrap();
        raw.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_store_of_version_4_becomes_one_of_this_version_and_keeps_its_messages() {
        let dir = tempfile::tempdir().unwrap();
        // Versions 3 and 4 had no times of receipts and no drafts.
        let row = state::MessageRow {
            conversation: vec![1; 16],
            id: vec![2; 16],
            outgoing: true,
            text: "hello".into(),
            progress: state::Progress::Delivered.into(),
            author: vec![3; 16],
            ..state::MessageRow::default()
        };
        let (mut store, record) = brought_from(&dir, 4, &row);
        assert_eq!((record.text.as_str(), record.delivered_at, record.read_at), ("hello", None, None));
        assert_eq!(store.begin(Mode::Read).unwrap().count(Table::Conversation).unwrap(), 0);
        assert_eq!(version_of(&dir), SCHEMA_VERSION, "programs of before, which would lose the times, refuse it");
    }

    #[test]
    fn a_store_of_version_5_becomes_one_with_files_and_programs_of_before_refuse_it() {
        let dir = tempfile::tempdir().unwrap();
        let row = state::MessageRow {
            conversation: vec![1; 16],
            id: vec![2; 16],
            text: "hello".into(),
            author: vec![1; 16],
            ..state::MessageRow::default()
        };
        let (mut store, record) = brought_from(&dir, 5, &row);
        assert_eq!((record.text.as_str(), record.attachments.len()), ("hello", 0));
        let tx = store.begin(Mode::Read).unwrap();
        assert_eq!(tx.count(Table::Upload).unwrap() + tx.count(Table::Fetch).unwrap(), 0);
        drop(tx);
        assert_eq!(
            version_of(&dir),
            6,
            "an older program would show a message without its files, and delete it without them"
        );
    }

    #[test]
    fn commits_of_another_handle_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (at(&dir), at(&dir));
        let before = one.changes().unwrap();
        assert_eq!(one.changes().unwrap(), before, "nothing happened");
        put(&mut two, b"a", b"1");
        let after = one.changes().unwrap();
        assert_ne!(after, before);
        let tx = two.begin(Mode::WriteRelaxed).unwrap();
        tx.put(Table::Own, b"a", b"2").unwrap();
        tx.commit().unwrap();
        assert_ne!(one.changes().unwrap(), after, "also one that is not synced");
    }

    #[test]
    fn nothing_readable_reaches_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = at(&dir);
        put(&mut store, b"canary-key", b"canary-value");
        let tx = store.begin(Mode::Write).unwrap();
        tx.append(Log::Message, b"canary-group", b"canary-entry", b"canary-text").unwrap();
        tx.commit().unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(6).any(|w| w == b"canary"));
        }
    }

    /// The bytes of all files of a directory.
    fn files(dir: &TempDir) -> Vec<Vec<u8>> {
        std::fs::read_dir(dir.path()).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    /// How many of these sealed values stand in the files, be it in part.
    fn left_of(dir: &TempDir, sealed: &[Vec<u8>]) -> usize {
        let pieces: std::collections::HashSet<&[u8]> = sealed.iter().flat_map(|value| value.chunks_exact(16)).collect();
        files(dir).iter().flat_map(|bytes| bytes.windows(16)).filter(|window| pieces.contains(window)).count()
    }

    #[test]
    fn nothing_sealed_of_what_was_deleted_or_replaced_is_left_in_any_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = at(&dir);
        // Of all sizes, so that SQLite moves rows between pages and uses pages beside them.
        for number in 0..400_u32 {
            let tx = store.begin(Mode::Write).unwrap();
            let size = [20, 60, 150, 900, 3_000, 9_000][number as usize % 6];
            let group = [b"kept", b"gone"][(number / 2 % 2) as usize];
            let place = tx.append(Log::Message, group, &number.to_be_bytes(), &vec![7; size]).unwrap().unwrap();
            if number % 3 == 0 {
                tx.replace(Log::Message, place, &vec![8; size + 2]).unwrap();
            }
            tx.commit().unwrap();
        }
        let raw = Connection::open(dir.path().join("store.db")).unwrap();
        let tx = store.begin(Mode::Write).unwrap();
        let gone: Vec<Vec<u8>> = tx
            .scan(Log::Message, Some(b"gone"), 0, usize::MAX)
            .unwrap()
            .iter()
            .map(|entry| raw.query_row("SELECT value FROM log WHERE seq = ?1", [seq(entry.place)], |row| row.get(0)))
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(gone.len(), 200);
        for entry in tx.scan(Log::Message, Some(b"gone"), 0, usize::MAX).unwrap() {
            tx.remove(Log::Message, entry.place).unwrap();
        }
        tx.commit().unwrap();
        assert!(left_of(&dir, &gone) > 0, "the log has them still");
        store.scrub().unwrap();
        assert_eq!(left_of(&dir, &gone), 0);
        let tx = store.begin(Mode::Read).unwrap();
        assert_eq!(tx.scan(Log::Message, None, 0, usize::MAX).unwrap().len(), 200);
    }

    #[test]
    fn a_reader_that_stays_keeps_a_store_from_being_scrubbed_and_it_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = at(&dir);
        put(&mut store, b"a", b"1");
        let mut other = at(&dir);
        let reading = other.begin(Mode::Read).unwrap();
        assert!(reading.get(Table::Own, b"a").unwrap().is_some());
        put(&mut store, b"a", b"2");
        assert_eq!(store.scrub(), Err(StoreError::Locked));
        drop(reading);
        assert_eq!(store.scrub(), Ok(()));
    }

    #[test]
    fn swapped_and_damaged_rows_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = at(&dir);
        put(&mut store, b"a", b"1");
        put(&mut store, b"b", b"2");
        let raw = Connection::open(dir.path().join("store.db")).unwrap();
        let values: Vec<Vec<u8>> = raw
            .prepare("SELECT value FROM record ORDER BY key")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        raw.execute("UPDATE record SET value = ?1 WHERE value = ?2", params![values[0], values[1]]).unwrap();
        let outcome = |store: &mut SqliteStore| {
            let tx = store.begin(Mode::Read).unwrap();
            [tx.get(Table::Own, b"a"), tx.get(Table::Own, b"b")].into_iter().filter(Result::is_err).count()
        };
        assert_eq!(outcome(&mut store), 1);
        for at in 0..values[0].len() {
            let mut bad = values[0].clone();
            bad[at] ^= 1;
            raw.execute("UPDATE record SET value = ?1", params![bad]).unwrap();
            assert_eq!(outcome(&mut store), 2, "byte {at}");
        }
    }

    #[test]
    fn a_second_writer_gets_a_clear_error_and_readers_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (at(&dir), at(&dir));
        put(&mut one, b"a", b"1");
        let writing = one.begin(Mode::Write).unwrap();
        writing.put(Table::Own, b"a", b"2").unwrap();
        assert_eq!(two.begin(Mode::Write).map(|_| ()).unwrap_err(), StoreError::Locked);
        let read = two.begin(Mode::Read).unwrap();
        assert_eq!(read.get(Table::Own, b"a").unwrap().unwrap().as_slice(), b"1");
        drop(read);
        writing.commit().unwrap();
        let read = two.begin(Mode::Read).unwrap();
        assert_eq!(read.get(Table::Own, b"a").unwrap().unwrap().as_slice(), b"2");
    }

    /// What a process that is killed leaves: a file, a log with a commit in it, the log's index.
    fn left_behind(to: &Path, files: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = at(&dir);
        put(&mut store, b"a", b"1");
        let tx = store.begin(Mode::Write).unwrap();
        tx.append(Log::Message, b"g", b"k", b"in the log").unwrap();
        tx.commit().unwrap();
        std::fs::create_dir(to).unwrap();
        for file in files {
            std::fs::copy(dir.path().join(file), to.join(file)).unwrap();
        }
    }

    #[test]
    fn a_store_that_cannot_be_written_is_read_with_its_log_and_says_why_it_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let closed = dir.path().join("closed 100%?#");
        std::fs::create_dir(&closed).unwrap();
        let mut store =
            SqliteStore::open_or_create(&closed.join("store.db"), Path::new("store.key"), &KEY, BUSY).unwrap();
        put(&mut store, b"a", b"1");
        let tx = store.begin(Mode::Write).unwrap();
        tx.append(Log::Message, b"g", b"k", b"in the log").unwrap();
        tx.commit().unwrap();
        drop(store);
        let (whole, torn) = (dir.path().join("whole"), dir.path().join("torn"));
        left_behind(&whole, &["store.db", "store.db-wal", "store.db-shm"]);
        left_behind(&torn, &["store.db", "store.db-wal"]);
        for home in [closed, whole, torn] {
            let path = home.join("store.db");
            // The superuser may write everywhere: the way it is opened is tested directly.
            let (connection, copies) = frozen::open(&path).unwrap();
            let sealed: Vec<u8> =
                connection.query_row("SELECT value FROM meta WHERE name = 'cipher'", [], |row| row.get(0)).unwrap();
            let cipher = StoreCipher::import_with_key(&KEY, &sealed).unwrap();
            let mut store = SqliteStore { connection, cipher, frozen: true, _copies: copies };
            let tx = store.begin(Mode::Read).unwrap();
            assert_eq!(tx.get(Table::Own, b"a").unwrap().unwrap().as_slice(), b"1", "{home:?}");
            assert_eq!(tx.find(Log::Message, b"k").unwrap().unwrap().value.as_slice(), b"in the log", "{home:?}");
            drop(tx);
            assert_eq!(store.begin(Mode::Write).map(|_| ()).unwrap_err(), StoreError::ReadOnly);
            assert_eq!(Error::from(StoreError::ReadOnly).code(), "home-read-only");
        }
    }

    #[test]
    fn a_full_disk_is_named_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = at(&dir);
        put(&mut store, b"a", b"1");
        let pages: u32 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        let limit = |store: &SqliteStore, pages: u32| {
            store.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        };
        limit(&store, pages + 1);
        let tx = store.begin(Mode::Write).unwrap();
        tx.put(Table::Own, b"a", b"2").unwrap();
        let full = (0..100u8).find_map(|n| tx.put(Table::Own, &[n], &[0; 4096]).err());
        assert_eq!(full, Some(StoreError::DiskFull));
        drop(tx);
        limit(&store, pages + 100);
        let tx = store.begin(Mode::Write).unwrap();
        assert_eq!(tx.get(Table::Own, b"a").unwrap().unwrap().as_slice(), b"1");
        tx.put(Table::Own, b"b", &[0; 4096]).unwrap();
        tx.commit().unwrap();
    }
}

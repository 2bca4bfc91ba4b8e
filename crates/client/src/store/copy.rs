//! All rows of a store as they are sealed, out of one file and into another: for backups. Rows, and not the file, because a file that another
//! hand has made is a program to SQLite (schema, triggers, pages), and a row is bytes.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use matrix_sdk_store_encryption::StoreCipher;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};

use super::sqlite::{APPLICATION_ID, Opened, SCHEMA, SCHEMA_VERSION, SqliteStore, connect, store_error};
use super::{Log, Table};
use crate::error::Error;

/// A hash of a key, as the store keeps keys.
pub type Hash = [u8; 32];

/// Where rows go.
pub trait Rows {
    /// First: the version of the rows, and what seals them, sealed itself under the store's key.
    fn store(&mut self, version: u32, cipher: Vec<u8>) -> Result<(), Error>;
    /// A row of a table.
    fn row(&mut self, table: u8, key: Hash, value: Vec<u8>) -> Result<(), Error>;
    /// An entry of a log.
    fn entry(&mut self, place: u64, log: u8, group: Hash, key: Hash, value: Vec<u8>) -> Result<(), Error>;
    /// Last: the last place that was given to an entry.
    fn last_place(&mut self, place: u64) -> Result<(), Error>;
}

/// Hands on all rows of one state of a store, whatever other processes write meanwhile.
///
/// # Errors
/// Those of opening a store, and of `into`. `not-registered` if there is no store.
pub fn read(path: &Path, key_file: &Path, key: &[u8; 32], busy: Duration, into: &mut dyn Rows) -> Result<(), Error> {
    let Opened::Store(mut store) = SqliteStore::open(path, key_file, key, busy)? else {
        return Err(Error::NotRegistered { home: path.parent().unwrap_or(path).to_owned() });
    };
    let behaviour = TransactionBehavior::Deferred;
    let tx = store.connection().transaction_with_behavior(behaviour).map_err(store_error)?;
    let version = tx.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(store_error)?;
    into.store(version, cipher(&tx)?)?;
    let mut rows = tx.prepare("SELECT tbl, key, value FROM record").map_err(store_error)?;
    let mut rows = rows.query([]).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        let value = row.get(2).map_err(store_error)?;
        into.row(row.get(0).map_err(store_error)?, row.get(1).map_err(store_error)?, value)?;
    }
    let mut entries = tx.prepare("SELECT seq, log, grp, key, value FROM log ORDER BY seq").map_err(store_error)?;
    let mut entries = entries.query([]).map_err(store_error)?;
    while let Some(row) = entries.next().map_err(store_error)? {
        let hash = |column| row.get::<_, Hash>(column).map_err(store_error);
        let place = row.get(0).map(i64::cast_unsigned).map_err(store_error)?;
        let log = row.get(1).map_err(store_error)?;
        into.entry(place, log, hash(2)?, hash(3)?, row.get(4).map_err(store_error)?)?;
    }
    let last = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'log'";
    into.last_place(tx.query_row(last, [], |row| row.get(0)).map(i64::cast_unsigned).map_err(store_error)?)
}

fn cipher(tx: &Transaction<'_>) -> Result<Vec<u8>, Error> {
    tx.query_row("SELECT value FROM meta WHERE name = 'cipher'", [], |row| row.get(0)).map_err(store_error)
}

/// A new store that rows are put into. Nothing of it counts before [`finish`](Self::finish).
pub struct Filling {
    connection: Connection,
    keys: Option<(StoreCipher, u32)>,
}

/// What a row that cannot be put into a store is: it cannot have come out of one.
fn no_row() -> Error {
    Error::BackupDamaged { what: "a row of it cannot be".to_owned() }
}

impl Filling {
    /// Makes the file. `from`: what the rows' cipher is sealed under.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn begin(path: &Path, busy: Duration) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = connect(path, flags, busy)?;
        // The file is thrown away if this does not come to its end: what keeps it whole meanwhile costs time and gives nothing.
        for (name, value) in [("journal_mode", "OFF"), ("synchronous", "OFF"), ("trusted_schema", "OFF")] {
            connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(nothing).map_err(store_error)?;
        }
        connection.execute_batch(SCHEMA).map_err(store_error)?;
        connection.execute_batch("BEGIN").map_err(store_error)?;
        Ok(Self { connection, keys: None })
    }

    /// Takes what seals the rows, and the version that they have.
    ///
    /// # Errors
    /// `backup-damaged`, `store-newer`.
    pub fn keys(&mut self, version: u32, key: &[u8; 32], cipher: &[u8]) -> Result<(), Error> {
        if version > SCHEMA_VERSION {
            return Err(Error::StoreNewer { found: version, known: SCHEMA_VERSION });
        }
        let cipher = StoreCipher::import_with_key(key, cipher).map_err(|_| no_row())?;
        if version == 0 || self.keys.is_some() {
            return Err(no_row());
        }
        self.keys = Some((cipher, version));
        Ok(())
    }

    /// Puts a row of a table in.
    ///
    /// # Errors
    /// `backup-damaged`: there is no such table, or such a row already.
    pub fn row(&mut self, table: u8, key: &Hash, value: &[u8]) -> Result<(), Error> {
        if !Table::ALL.iter().any(|known| *known as u8 == table) {
            return Err(no_row());
        }
        let sql = "INSERT INTO record (tbl, key, value) VALUES (?1, ?2, ?3)";
        self.insert(sql, params![table, key, value])
    }

    /// Puts an entry of a log in, at its place.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    pub fn entry(&mut self, place: u64, log: u8, group: &Hash, key: &Hash, value: &[u8]) -> Result<(), Error> {
        let place = i64::try_from(place).ok().filter(|place| *place > 0).ok_or_else(no_row)?;
        if !Log::ALL.iter().any(|known| *known as u8 == log) {
            return Err(no_row());
        }
        let sql = "INSERT INTO log (seq, log, grp, key, value) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.insert(sql, params![place, log, group, key, value])
    }

    fn insert(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), Error> {
        let inserted = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(values));
        match inserted {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Err(no_row()),
            inserted => inserted.map(drop).map_err(store_error),
        }
    }

    /// Writes everything down, sealed under a key of this store's own.
    ///
    /// # Errors
    /// `backup-damaged`: nothing said what seals the rows, or the last place is before another one; those of the file system.
    pub fn finish(self, path: &Path, key: &[u8; 32], last_place: u64) -> Result<(), Error> {
        let Self { connection, keys } = self;
        let (cipher, version) = keys.ok_or_else(no_row)?;
        let sealed = cipher.export_with_key(key).map_err(|_| Error::Internal { what: "store cipher" })?;
        let last = i64::try_from(last_place).map_err(|_| no_row())?;
        let highest: i64 =
            connection.query_row("SELECT coalesce(max(seq), 0) FROM log", [], |row| row.get(0)).map_err(store_error)?;
        if last < highest {
            return Err(no_row());
        }
        let write = || {
            connection.execute("DELETE FROM sqlite_sequence WHERE name = 'log'", [])?;
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('log', ?1)", [last])?;
            connection.execute("INSERT INTO meta (name, value) VALUES ('cipher', ?1)", [sealed])?;
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            connection.pragma_update(None, "user_version", version)?;
            connection.execute_batch("COMMIT")
        };
        write().map_err(store_error)?;
        connection.close().map_err(|(_, error)| store_error(error))?;
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|error| Error::StoreIo { what: error.to_string() })
    }
}

/// Not every setting answers with a row.
fn nothing(error: rusqlite::Error) -> rusqlite::Result<()> {
    if matches!(error, rusqlite::Error::QueryReturnedNoRows) { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Mode, Store as _};

    const BUSY: Duration = Duration::from_secs(5);

    /// Rows on their way from one store to another.
    struct Into {
        filling: Filling,
        last: u64,
    }

    impl Rows for Into {
        fn store(&mut self, version: u32, cipher: Vec<u8>) -> Result<(), Error> {
            self.filling.keys(version, &[1; 32], &cipher)
        }

        fn row(&mut self, table: u8, key: Hash, value: Vec<u8>) -> Result<(), Error> {
            self.filling.row(table, &key, &value)
        }

        fn entry(&mut self, place: u64, log: u8, group: Hash, key: Hash, value: Vec<u8>) -> Result<(), Error> {
            self.filling.entry(place, log, &group, &key, &value)
        }

        fn last_place(&mut self, place: u64) -> Result<(), Error> {
            self.last = place;
            Ok(())
        }
    }

    #[test]
    fn rows_keep_their_places_and_no_place_is_given_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one.db"), dir.path().join("other.db"));
        let mut store = SqliteStore::open_or_create(&one, &one, &[1; 32], BUSY).unwrap();
        let tx = store.begin(Mode::Write).unwrap();
        tx.put(Table::Own, b"name", b"value").unwrap();
        let places: Vec<u64> =
            (0..3_u8).map(|n| tx.append(Log::Message, b"group", &[n], &[n]).unwrap().unwrap()).collect();
        tx.remove(Log::Message, places[2]).unwrap();
        tx.commit().unwrap();
        // One who writes meanwhile is not kept from it, and not seen.
        let mut into = Into { filling: Filling::begin(&other, BUSY).unwrap(), last: 0 };
        read(&one, &one, &[1; 32], BUSY, &mut into).unwrap();
        assert_eq!(into.last, places[2]);
        into.filling.finish(&other, &[2; 32], into.last).unwrap();
        assert_eq!(
            SqliteStore::open(&other, &other, &[1; 32], BUSY).err().map(|error| error.code()),
            Some("store-key-wrong")
        );
        let Opened::Store(mut copy) = SqliteStore::open(&other, &other, &[2; 32], BUSY).unwrap() else { panic!() };
        let tx = copy.begin(Mode::Write).unwrap();
        assert_eq!(tx.get(Table::Own, b"name").unwrap().unwrap().as_slice(), b"value");
        let seen: Vec<u64> =
            tx.scan(Log::Message, Some(b"group"), 0, 9).unwrap().iter().map(|entry| entry.place).collect();
        assert_eq!(seen, places[..2]);
        assert!(tx.append(Log::Message, b"group", b"next", b"").unwrap().unwrap() > places[2]);
    }

    #[test]
    fn rows_that_no_store_has_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let mut filling = Filling::begin(&path, BUSY).unwrap();
        let refused = |result: Result<(), Error>| assert_eq!(result.unwrap_err().code(), "backup-damaged");
        refused(filling.keys(SCHEMA_VERSION, &[1; 32], b"no cipher"));
        let sealed = StoreCipher::new().unwrap().export_with_key(&[1; 32]).unwrap();
        refused(filling.keys(0, &[1; 32], &sealed));
        refused(filling.keys(SCHEMA_VERSION, &[2; 32], &sealed));
        assert_eq!(filling.keys(SCHEMA_VERSION + 1, &[1; 32], &sealed).unwrap_err().code(), "store-newer");
        filling.keys(SCHEMA_VERSION, &[1; 32], &sealed).unwrap();
        refused(filling.keys(SCHEMA_VERSION, &[1; 32], &sealed));
        refused(filling.row(0, &[1; 32], b""));
        refused(filling.row(200, &[1; 32], b""));
        filling.row(1, &[1; 32], b"").unwrap();
        refused(filling.row(1, &[1; 32], b"again"));
        refused(filling.entry(1, 9, &[1; 32], &[1; 32], b""));
        refused(filling.entry(0, 1, &[1; 32], &[1; 32], b""));
        refused(filling.entry(u64::MAX, 1, &[1; 32], &[1; 32], b""));
        filling.entry(5, 1, &[1; 32], &[1; 32], b"").unwrap();
        refused(filling.entry(5, 1, &[1; 32], &[2; 32], b""));
        refused(filling.finish(&path, &[3; 32], 4));
    }
}

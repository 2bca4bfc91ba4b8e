//! Tables, versions, connection settings, and what SQLite's errors mean.

use std::path::Path;
use std::time::Duration;

use kuvert_privacy::registry::Place;
use kuvert_relay::store::{StoreError, Unavailable};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::registered::{self, CheckError};
use super::{OpenError, Options};

/// "Kuvr": tells our databases from other people's.
const APPLICATION_ID: i64 = 0x4B75_7672;

/// Step `n` leads from version `n` to `n + 1`. Steps that were released are never edited.
const MIGRATIONS: &[&str] = &[V1, V2, V3, V4];

/// The version that this program writes.
pub const VERSION: i64 = MIGRATIONS.len() as i64;

/// Bytes of a page, fixed when a database is made.
pub const PAGE_BYTES: u64 = 4096;

/// The writer's page cache. Inserts touch few pages; acknowledgements touch pages all over.
const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// A reader's page cache: the inner nodes of the tree and little more. Pages themselves are in the system's cache.
const READER_CACHE_KIB: i64 = 1024;

/// How long another process (an operator's `sqlite3`) may hold the write lock before our writes fail.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const V1: &str = "
CREATE TABLE account(
    id BLOB NOT NULL PRIMARY KEY,
    account_key BLOB NOT NULL,
    device_list_number INTEGER NOT NULL,
    device_list BLOB NOT NULL,
    name TEXT UNIQUE,
    phone TEXT,
    registered_at INTEGER NOT NULL            -- all times: Unix milliseconds
) STRICT, WITHOUT ROWID;

CREATE TABLE device(
    mailbox INTEGER PRIMARY KEY AUTOINCREMENT, -- a short name for the address; never given twice
    account BLOB NOT NULL REFERENCES account(id),
    number INTEGER NOT NULL,
    signing_key BLOB NOT NULL,
    certificate BLOB NOT NULL,
    UNIQUE(account, number)
) STRICT;

CREATE TABLE envelope(                         -- in the order of arrival, all mailboxes together
    cursor INTEGER PRIMARY KEY,
    mailbox INTEGER NOT NULL,                  -- device.mailbox; no foreign key: it would cost a look-up per envelope
    id BLOB NOT NULL,
    source BLOB,                               -- account id 16 bytes, device number 4 bytes big-endian; null: not told
    accepted_at INTEGER NOT NULL,
    ciphertext BLOB NOT NULL
) STRICT;

CREATE TABLE expired(                          -- envelopes deleted unread, not yet reported to the device
    mailbox INTEGER PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT;

CREATE TABLE prekeys(                          -- per device; highest ids so that none comes back
    mailbox INTEGER PRIMARY KEY,
    signed_id INTEGER, signed_key BLOB, signed_signature BLOB,
    last_resort_id INTEGER, last_resort_key BLOB, last_resort_signature BLOB,
    highest_one_time INTEGER NOT NULL DEFAULT -1,
    highest_one_time_kem INTEGER NOT NULL DEFAULT -1
) STRICT;

CREATE TABLE one_time_prekey(
    mailbox INTEGER NOT NULL,
    kind INTEGER NOT NULL,                     -- 0 curve, 1 KEM
    id INTEGER NOT NULL,
    public_key BLOB NOT NULL,
    signature BLOB,
    PRIMARY KEY(mailbox, kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE counter(name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counter VALUES('next_cursor', 1);  -- no cursor from here on was ever given out

CREATE VIEW waiting AS                         -- for people: SELECT * FROM waiting
    SELECT cursor, lower(hex(envelope.id)) AS id, lower(hex(device.account)) AS recipient_account,
        device.number AS recipient_device, lower(hex(source)) AS source, length(ciphertext) AS size,
        datetime(accepted_at / 1000, 'unixepoch') AS accepted_at
    FROM envelope JOIN device USING(mailbox);
";

/// Invitations.
const V2: &str = "
CREATE TABLE invitation(
    hash BLOB NOT NULL PRIMARY KEY,            -- SHA-256 of the code: whoever reads this cannot register with it
    uses_left INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Access keys, by their hash; and the day on which a device was last here.
const V3: &str = "
ALTER TABLE account ADD COLUMN access_key_hash BLOB;    -- SHA-256 of the account's access key; null: no sealed mail
ALTER TABLE device ADD COLUMN last_seen_day INTEGER;     -- days since 1970-01-01, UTC: never a time of day
";

/// Access keys that are not for sealed mail, mail that came with one, and who blocks whom.
const V4: &str = "
ALTER TABLE account ADD COLUMN takes_sealed INTEGER NOT NULL DEFAULT 0;  -- 1: sealed mail is taken with the access key
UPDATE account SET takes_sealed = 1 WHERE access_key_hash IS NOT NULL;   -- until now that was all that a key was for
ALTER TABLE envelope ADD COLUMN contact INTEGER NOT NULL DEFAULT 0;      -- 1: named, and came with the recipient's access key

CREATE TABLE blocked(                          -- mail that names a device of `blocked` is dropped for all devices of `account`
    account BLOB NOT NULL,
    blocked BLOB NOT NULL,
    PRIMARY KEY(account, blocked)
) STRICT, WITHOUT ROWID;
";

/// Opens the database for the writer, with the newest schema.
pub fn open_writer(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | no_mutex())
        .map_err(|error| refuse(path, error))?;
    // Look before changing anything: this may be somebody else's file.
    let found = version(path, &connection)?;
    let prepared = prepare_writer(&mut connection, found, options);
    prepared.map_err(|error| refuse(path, error))?;
    registered::check(Place::Database, &connection).map_err(|error| match error {
        CheckError::Mismatch(mismatch) => OpenError::Unregistered { path: path.to_owned(), mismatch },
        CheckError::Database(error) => refuse(path, error),
    })?;
    Ok(connection)
}

fn prepare_writer(connection: &mut Connection, found: i64, options: &Options) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::InvalidParameterName(format!(
            "journal mode {mode}: this file system has no locks"
        )));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    // The writer thread and the checkpoint thread decide (module checkpoint).
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(connection, found)?;
    if let Some(bytes) = options.max_database_bytes {
        let pages = i64::try_from(bytes / PAGE_BYTES).unwrap_or(i64::MAX).min(i64::from(u32::MAX - 1));
        connection.query_row(&format!("PRAGMA max_page_count={pages}"), [], |_| Ok(()))?;
    }
    Ok(())
}

fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    for (step, sql) in (0..).zip(MIGRATIONS).skip_while(|(step, _)| *step < found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", step + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Opens the database for reading, in this process or another one.
pub fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing(path.to_owned()));
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | no_mutex())
        .map_err(|error| refuse(path, error))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| refuse(path, error))?;
    if version(path, &connection)? == 0 {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB).map_err(|error| refuse(path, error))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Opens the database to change something small from another process than the relay's, which may be running. The log is
/// left for the relay to copy; without one it is copied at the end as usual.
pub fn open_beside(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing(path.to_owned()));
    }
    let open = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | no_mutex())?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    };
    let connection = open().map_err(|error| refuse(path, error))?;
    match version(path, &connection)? {
        0 => return Err(OpenError::Foreign(path.to_owned())),
        VERSION => {}
        found => return Err(OpenError::Older { path: path.to_owned(), found, known: VERSION }),
    }
    let prepare = || {
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)
    };
    prepare().map_err(|error| refuse(path, error))?;
    Ok(connection)
}

/// Opens the database for the checkpoint thread.
pub fn open_checkpointer(path: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | no_mutex())?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        // It copies pages and caches none.
        connection.pragma_update(None, "cache_size", 16)?;
        Ok(connection)
    };
    open().map_err(|error| refuse(path, error))
}

/// Every connection belongs to one thread at a time, and Rust sees to that.
fn no_mutex() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// The schema's version, 0 for an empty file. Refuses foreign and newer databases.
pub fn version(path: &Path, connection: &Connection) -> Result<i64, OpenError> {
    let read = || {
        let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
        let objects = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok((pragma("application_id")?, pragma("user_version")?, objects))
    };
    match read().map_err(|error| refuse(path, error))? {
        (0, 0, 0) => Ok(0),
        (APPLICATION_ID, found, _) if found > VERSION => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION })
        }
        (APPLICATION_ID, found, _) if found > 0 => Ok(found),
        _ => Err(OpenError::Foreign(path.to_owned())),
    }
}

fn refuse(path: &Path, error: rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign(path.to_owned()),
        _ => OpenError::Store(store_error(&error)),
    }
}

/// What an error of SQLite before COMMIT means: nothing happened.
pub fn store_error(error: &rusqlite::Error) -> StoreError {
    use rusqlite::Error as E;
    match error {
        E::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DiskFull => Unavailable::DiskFull.into(),
            // The file of shared memory beside the log could not grow.
            _ if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => Unavailable::DiskFull.into(),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(error.to_string()),
            _ => Unavailable::Io(error.to_string()).into(),
        },
        error if is_damage(error) => StoreError::Corrupt(error.to_string()),
        E::QueryReturnedNoRows => StoreError::Corrupt("a row is missing".into()),
        _ => Unavailable::Io(error.to_string()).into(),
    }
}

/// Whether a row holds what cannot be: of it alone nothing follows for others.
pub const fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    matches!(error, E::FromSqlConversionFailure(..) | E::InvalidColumnType(..) | E::IntegralValueOutOfRange(..))
}

/// What an error of COMMIT means. The log is written in order and the frame that makes it count comes last, so a full disk
/// means that nothing happened; after any other trouble that frame may be on the disk.
pub fn commit_error(error: &rusqlite::Error) -> StoreError {
    match store_error(error) {
        StoreError::Unavailable(Unavailable::Io(message)) => StoreError::Unknown(message),
        other => other,
    }
}

//! Tables of `blobs.db`, and what SQLite does so that erased keys are in none of its files.

use std::path::Path;
use std::time::Duration;

use kuvert_privacy::registry::Place;
use rusqlite::{Connection, OpenFlags};

use super::BlobsError;
use crate::store::registered::{self, CheckError};

/// "Kuvb": tells our databases from other people's.
const APPLICATION_ID: i64 = 0x4B75_7662;

/// Step `n` leads from version `n` to `n + 1`. Steps that were released are never edited.
const MIGRATIONS: &[&str] = &[V1];

/// The version that this program writes.
pub const VERSION: i64 = MIGRATIONS.len() as i64;

/// How long another process may hold the database before a transaction fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Keys stand in a table of their own whose rows never change their length and are deleted only right before the whole file is
/// written anew. So SQLite overwrites a key where it stands, and never moves one to another page, where a copy would be left.
const V1: &str = "
CREATE TABLE blob(
    id BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL,                     -- who uploaded it: relay.db's account.id
    token BLOB NOT NULL,                       -- SHA-256 of the upload's token
    size INTEGER NOT NULL,                     -- bytes
    charged INTEGER NOT NULL,                  -- bytes that it counts as for its account
    durable INTEGER NOT NULL,                  -- bytes that are on the disk
    created_at INTEGER NOT NULL,               -- all times: Unix milliseconds
    committed_at INTEGER,                      -- null: an upload
    shared INTEGER NOT NULL,                   -- 1: one capability for all readers
    slot INTEGER NOT NULL                      -- blob_key.slot
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_by_account ON blob(account, charged);
CREATE INDEX blob_by_commit ON blob(committed_at);
CREATE INDEX upload ON blob(created_at) WHERE committed_at IS NULL;

CREATE TABLE blob_reader(
    blob BLOB NOT NULL,
    capability BLOB NOT NULL,                  -- SHA-256 of what a reader shows
    PRIMARY KEY(blob, capability)
) STRICT, WITHOUT ROWID;

CREATE TABLE blob_key(
    slot INTEGER PRIMARY KEY,
    key BLOB NOT NULL                          -- 32 bytes, under which the file is encrypted once more; zeros: erased, free
) STRICT;
";

/// Opens or makes the database, with the newest schema.
pub fn open(path: &Path) -> Result<Connection, BlobsError> {
    let refuse = |error| BlobsError::Database { path: path.to_owned(), error };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(refuse)?;
    let found = version(path, &connection)?;
    prepare(&mut connection, found).map_err(refuse)?;
    registered::check(Place::Blobs, &connection).map_err(|error| match error {
        CheckError::Mismatch(mismatch) => BlobsError::Unregistered { path: path.to_owned(), mismatch },
        CheckError::Database(error) => refuse(error),
    })?;
    Ok(connection)
}

/// Opens it to look at, in this process or another one.
pub fn open_read_only(path: &Path) -> Result<Connection, BlobsError> {
    let refuse = |error| BlobsError::Database { path: path.to_owned(), error };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(refuse)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(refuse)?;
    version(path, &connection)?;
    Ok(connection)
}

/// The schema's version, 0 for an empty file. Refuses foreign and newer databases.
fn version(path: &Path, connection: &Connection) -> Result<i64, BlobsError> {
    let read = || {
        let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
        let objects = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok((pragma("application_id")?, pragma("user_version")?, objects))
    };
    match read().map_err(|error| BlobsError::Database { path: path.to_owned(), error })? {
        (0, 0, 0) => Ok(0),
        (APPLICATION_ID, found, _) if (1..=VERSION).contains(&found) => Ok(found),
        (APPLICATION_ID, found, _) => Err(BlobsError::Newer { path: path.to_owned(), found }),
        _ => Err(BlobsError::Foreign(path.to_owned())),
    }
}

fn prepare(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    // What is written anew is not to lie in the system's directory for temporary files.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    for (step, sql) in (0..).zip(MIGRATIONS).skip_while(|(step, _)| *step < found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", step + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Brings what erased keys are overwritten with from the log into the file, and empties the log: afterwards they are in neither.
/// Whether it could: another process that looks at the database keeps the log for as long.
pub fn empty_log(connection: &Connection) -> rusqlite::Result<bool> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(busy == 0)
}

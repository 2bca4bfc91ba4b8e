//! Copies of the database: taken beside a running relay, looked at, and made safe to serve again.
//!
//! A copy is made with `VACUUM INTO`, in one read transaction. SQLite's page-wise backup would also carry along what
//! deletions leave within pages until they are wiped (module `scrub`): bytes of delivered mail have no place in a backup.

use std::fs::File;
use std::path::Path;

use kuvert_relay::store::{Stats, StoreError};
use kuvert_relay::whole_file;
use rusqlite::Connection;

use super::column::unsigned;
use super::inspect::Inspector;
use super::schema::{self, store_error};
use super::{DATABASE_FILE, OpenError, Options};

/// Cursors that are skipped when a copy is served again: more than a relay gives out between a copy and its end.
const CURSOR_GAP: i64 = 1 << 40;

/// What a copy holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contents {
    /// The schema's version.
    pub version: i64,
    /// In sum.
    pub totals: Stats,
}

/// What was taken out of a copy so that it can be served again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dropped {
    /// One-time prekeys of both kinds.
    pub one_time_prekeys: u64,
    /// Invitations.
    pub invitations: u64,
}

/// Copies the database in `directory` to the new file `to`, as it is at one moment. A relay may use it meanwhile; its log
/// grows until the copy is done. `Ok`: the copy is on the disk.
///
/// # Errors
/// Those of [`Inspector::open`]; `to` exists or cannot be written.
pub fn copy(directory: &Path, to: &Path) -> Result<(), OpenError> {
    let source = schema::open_reader(&directory.join(DATABASE_FILE))?;
    let file = create(to)?;
    let name = to.to_str().ok_or_else(|| io(to, std::io::ErrorKind::InvalidFilename.into()))?;
    source.execute("VACUUM INTO ?1", [name]).map_err(|error| store_error(&error))?;
    file.sync_all().map_err(|error| io(to, error))
}

/// SQLite fills an empty file without changing its mode.
fn create(path: &Path) -> Result<File, OpenError> {
    whole_file::create_new(path, whole_file::PRIVATE).map_err(|error| io(path, error))
}

fn io(path: &Path, error: std::io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), error }
}

/// Reads a copy from end to end.
///
/// # Errors
/// It is no relay's database, of a newer version, or damaged.
pub fn check(database: &Path) -> Result<Contents, OpenError> {
    let connection = schema::open_reader(database)?;
    let found = || {
        let result = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0))?;
        let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        Ok((result, version))
    };
    let (result, version) = found().map_err(|error| store_error(&error))?;
    if result != "ok" {
        return Err(StoreError::Corrupt(result).into());
    }
    Ok(Contents { version, totals: Inspector::on(connection).stats()? })
}

/// Makes a copy one that can be served: brings it to the present version, and takes out what may have been given away since
/// it was made.
///
/// A one-time prekey that was handed out after the copy was made would be handed out again, and an invitation used again:
/// both go. Devices fill up their prekeys when they connect next. Cursors that were given out since are never given again.
///
/// # Errors
/// Those of [`check`]; it cannot be written.
pub fn make_safe(database: &Path) -> Result<Dropped, OpenError> {
    let mut connection = schema::open_writer(database, &Options::default())?;
    let dropped = take_out(&mut connection).map_err(|error| store_error(&error))?;
    // Empties the log and takes it away.
    connection.close().map_err(|(_, error)| store_error(&error))?;
    Ok(dropped)
}

fn take_out(connection: &mut Connection) -> rusqlite::Result<Dropped> {
    let transaction = connection.transaction()?;
    let count =
        |table: &str| transaction.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| unsigned(row, 0));
    let dropped = Dropped { one_time_prekeys: count("one_time_prekey")?, invitations: count("invitation")? };
    transaction.execute_batch("DELETE FROM one_time_prekey; DELETE FROM invitation;")?;
    transaction.execute("UPDATE counter SET value = value + ?1 WHERE name = 'next_cursor'", [CURSOR_GAP])?;
    transaction.commit()?;
    Ok(dropped)
}

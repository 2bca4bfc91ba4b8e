//! What there is, from outside: for `inspect`, reports and backups, also while the relay runs.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

pub use kuvert_relay::admin::KnownBlob;
use kuvert_relay::blobs::store::BlobGauges;
use kuvert_relay::whole_file;
use rusqlite::Connection;

use super::files::Directory;
use super::{BLOBS_FILE, BlobsError, files, rows, schema};

/// The database of a data directory, to look at. `None`: there is none.
///
/// # Errors
/// See [`BlobsError`].
pub fn open(data: &Path) -> Result<Option<Connection>, BlobsError> {
    let path = data.join(BLOBS_FILE);
    if path.exists() { schema::open_read_only(&path).map(Some) } else { Ok(None) }
}

/// How much there is.
///
/// # Errors
/// See [`BlobsError`].
pub fn gauges(data: &Path) -> Result<BlobGauges, BlobsError> {
    let refuse = |error| BlobsError::Database { path: data.join(BLOBS_FILE), error };
    match open(data)? {
        Some(connection) => rows::gauges(&connection).map_err(refuse),
        None => Ok(BlobGauges::default()),
    }
}

/// Each, in the order in which they began.
///
/// # Errors
/// See [`BlobsError`].
pub fn all(data: &Path) -> Result<Vec<KnownBlob>, BlobsError> {
    oldest(data, usize::MAX)
}

/// So many at most, in the order in which they began.
///
/// # Errors
/// See [`BlobsError`].
pub fn oldest(data: &Path, limit: usize) -> Result<Vec<KnownBlob>, BlobsError> {
    let refuse = |error| BlobsError::Database { path: data.join(BLOBS_FILE), error };
    match open(data)? {
        Some(connection) => rows::all(&connection, limit).map_err(refuse),
        None => Ok(Vec::new()),
    }
}

/// Copies the database, as it is at one moment and without what deletions left, and after it the files of the blobs that were complete
/// then, to the directory `to`. A file that goes meanwhile is left out: its row goes when the copy is served. Says which files
/// it made, below `to`.
///
/// # Errors
/// See [`BlobsError`].
pub fn copy(data: &Path, to: &Path) -> Result<Vec<String>, BlobsError> {
    let Some(connection) = open(data)? else { return Ok(Vec::new()) };
    let target = to.join(BLOBS_FILE);
    let io = |path: &Path, error| BlobsError::Io { path: path.to_owned(), error };
    let refuse = |error| BlobsError::Database { path: target.clone(), error };
    // SQLite fills an empty file without changing its mode.
    let file = whole_file::create_new(&target, whole_file::PRIVATE).map_err(|error| io(&target, error))?;
    let name = target.to_str().ok_or_else(|| io(&target, io::ErrorKind::InvalidFilename.into()))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(refuse)?;
    file.sync_all().map_err(|error| io(&target, error))?;
    let copied = schema::open_read_only(&target)?;
    let (from, into) = (Directory::of(data), Directory::of(to));
    fs::DirBuilder::new().mode(0o700).create(into.path()).map_err(|error| io(into.path(), error))?;
    let mut made = vec![BLOBS_FILE.to_owned()];
    for id in rows::committed(&copied).map_err(refuse)? {
        let path = into.file(&id);
        match fs::copy(from.file(&id), &path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io(&path, error)),
        }
        let keep = || {
            fs::set_permissions(&path, fs::Permissions::from_mode(whole_file::PRIVATE))?;
            fs::File::open(&path)?.sync_all()
        };
        keep().map_err(|error| io(&path, error))?;
        made.push(format!("{}/{}", files::DIRECTORY, path.file_name().unwrap_or_default().to_string_lossy()));
    }
    into.sync().map_err(|error| io(into.path(), error))?;
    Ok(made)
}

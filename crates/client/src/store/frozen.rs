//! A store that cannot be written: on a read-only file system (a mounted backup, a rescue system), or without the permission.
//!
//! SQLite's log beside the file makes that hard, since even a reader of it wants to write. What is beside the file decides:
//!
//! | log (`-wal`) | its index (`-shm`) | how it is opened |
//! |---|---|---|
//! | there | there | as it is: SQLite reads both, and sees what another process that can write commits |
//! | there, not empty | not there | a copy of file and log, in a directory of its own: the index is made there |
//! | none, or empty | | as a file that does not change |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, access};
use tempfile::TempDir;

use crate::error::Error;

/// Whether a store cannot be written: neither it nor what has to stand beside it.
pub fn is_frozen(path: &Path) -> bool {
    let directory = path.parent().unwrap_or(Path::new("."));
    let refused = |path: &Path| {
        matches!(access(path, Access::WRITE_OK), Err(rustix::io::Errno::ROFS | rustix::io::Errno::ACCESS))
    };
    refused(path) || refused(directory)
}

/// Opens it for reading. The directory, if there is one, has to live as long as the connection.
///
/// # Errors
/// SQLite cannot open it; there is no room for a copy.
pub fn open(path: &Path) -> Result<(Connection, Option<TempDir>), Error> {
    let (log, index) = (beside(path, "-wal"), beside(path, "-shm"));
    let has_log = fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    if log.exists() && index.exists() {
        return Ok((connect(path, "mode=ro")?, None));
    }
    if !has_log {
        return Ok((connect(path, "mode=ro&immutable=1")?, None));
    }
    let copies = tempfile::tempdir().map_err(not_copied)?;
    let copy = copies.path().join("store.db");
    fs::copy(path, &copy).map_err(not_copied)?;
    fs::copy(&log, beside(&copy, "-wal")).map_err(not_copied)?;
    Ok((connect(&copy, "mode=rw")?, Some(copies)))
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn connect(path: &Path, parameters: &str) -> Result<Connection, Error> {
    let path = std::path::absolute(path).map_err(not_copied)?;
    // What has a meaning of its own in a URI is written as its code.
    let mut uri = "file:".to_owned();
    for byte in std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    let uri = format!("{uri}?{parameters}");
    let writes =
        if parameters == "mode=rw" { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let flags = writes | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags).map_err(|error| Error::StoreIo { what: error.to_string() })
}

fn not_copied(error: io::Error) -> Error {
    Error::StoreIo { what: format!("a read-only store with an unfinished log has to be copied to be read: {error}") }
}

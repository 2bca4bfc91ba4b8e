//! The data directory: permissions, the lock, and the reserve.
//!
//! The reserve is a file of zeros that is deleted when the disk is full: deleting rows needs some room in the log too,
//! and without it a full disk would stop the very acknowledgements that make room. New mail is accepted again once the
//! reserve can be filled again.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{DATABASE_FILE, LOG_FILE, OpenError};

const LOCK_FILE: &str = "relay.lock";
const RESERVE_FILE: &str = "relay.reserve";

/// Enough for the log of several batches of acknowledgements.
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

/// The files of a store that this process has to itself.
pub struct Files {
    database: PathBuf,
    reserve: PathBuf,
    unclean: bool,
    /// Locked as long as it is open.
    _lock: File,
}

impl Files {
    /// Makes or checks the directory, locks it, and makes sure that a database file with the right mode exists.
    pub fn prepare(directory: &Path) -> Result<Self, OpenError> {
        let in_directory = |error| OpenError::Io { path: directory.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(in_directory)?;
        check_owner(directory)?;
        // Others may look at the names, but whoever may write here could put other files in the place of ours.
        check_mode(directory, 0o022, 0o700)?;
        let lock_path = directory.join(LOCK_FILE);
        let lock = open_private(&lock_path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(directory.to_owned())),
            Err(TryLockError::Error(error)) => return Err(OpenError::Io { path: lock_path, error }),
        }
        // SQLite gives its other files the mode of this one.
        let database = directory.join(DATABASE_FILE);
        drop(open_private(&database)?);
        // SQLite deletes its log at a clean end.
        let unclean = directory.join(LOG_FILE).exists();
        let files = Self { database, reserve: directory.join(RESERVE_FILE), unclean, _lock: lock };
        if let Err(error) = files.fill_reserve() {
            tracing::warn!(%error, "no room for the reserve: the disk is nearly full");
        }
        // The new names themselves must survive a power failure.
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(in_directory)?;
        Ok(files)
    }

    pub fn database(&self) -> &Path {
        &self.database
    }

    /// Whether the process before may not have come to its end.
    pub fn unclean(&self) -> bool {
        self.unclean
    }

    /// Makes sure that the reserve has its full size.
    pub fn fill_reserve(&self) -> io::Result<()> {
        let mut file = private().open(&self.reserve)?;
        if file.metadata()?.len() == RESERVE_BYTES {
            return Ok(());
        }
        let filled = fill(&mut file);
        if filled.is_err() {
            // Half a reserve helps nobody.
            file.set_len(0)?;
        }
        filled
    }

    /// Whether there is no room for anything more, found out by writing. SQLite calls a full disk by its name, but takes
    /// a used-up quota for a broken disk.
    pub fn is_full(&self) -> bool {
        let grow = || {
            let file = private().open(&self.reserve)?;
            let len = file.metadata()?.len();
            let grown = file.write_all_at(&BLOCK, len);
            file.set_len(len)?;
            grown
        };
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        grow().is_err_and(|error: io::Error| full.contains(&error.kind()))
    }

    /// Gives the reserve's room to whoever needs it next.
    pub fn release_reserve(&self) {
        if let Err(error) = private().open(&self.reserve).and_then(|file| file.set_len(0)) {
            tracing::warn!(%error, "the reserve cannot be released");
        }
    }
}

static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];

fn fill(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    for _ in 0..RESERVE_BYTES / BLOCK.len() as u64 {
        file.write_all(&BLOCK)?;
    }
    // File systems that allocate late only now say whether there is room.
    file.sync_all()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

fn open_private(path: &Path) -> Result<File, OpenError> {
    let file = private().open(path).map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
    check_mode(path, 0o077, 0o600)?;
    Ok(file)
}

/// The superuser is no exception: files that it made here would lock the owner out.
fn check_owner(path: &Path) -> Result<(), OpenError> {
    let metadata = path.metadata().map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
    let (owner, us) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == us { Ok(()) } else { Err(OpenError::Owner { path: path.to_owned(), owner, us }) }
}

fn check_mode(path: &Path, forbidden: u32, wanted: u32) -> Result<(), OpenError> {
    let metadata = path.metadata().map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
    let mode = metadata.mode() & 0o7777;
    if mode & forbidden == 0 { Ok(()) } else { Err(OpenError::Permissions { path: path.to_owned(), mode, wanted }) }
}

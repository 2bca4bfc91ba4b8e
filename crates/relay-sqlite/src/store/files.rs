//! The data directory: permissions, the lock, and the reserve.
//!
//! The reserve is a file of zeros that is deleted when the disk is full: deleting rows needs some room in the log too,
//! and without it a full disk would stop the very acknowledgements that make room. New mail is accepted again once the
//! reserve can be filled again.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{DATABASE_FILE, LOG_FILE, OpenError};
use crate::OBSERVE_FILE;
use crate::people::PEOPLE_FILE;

const LOCK_FILE: &str = "relay.lock";
const RESERVE_FILE: &str = "relay.reserve";

/// Enough for the log of several batches of acknowledgements.
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

/// Enough for the log of some acknowledgements, where the whole does not fit: the database has free pages, and the disk has
/// not much.
const PART_BYTES: u64 = 2 * 1024 * 1024;

/// What there is of the reserve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reserve {
    /// All.
    Whole,
    /// Enough for small batches.
    Part,
}

/// The files of a store that this process has to itself.
pub struct Files {
    database: PathBuf,
    reserve: PathBuf,
    unclean: bool,
    _lock: Locked,
}

/// A file that is locked for as long as this is there.
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // By its own word, not with its descriptor: a child that another thread is starting has a copy of that one for a moment. One
        // that is closed lets go of it in any case.
        let _ = self.0.unlock();
    }
}

impl Files {
    /// Makes or checks the directory, locks it, and makes sure that a database file with the right mode exists.
    pub fn prepare(directory: &Path) -> Result<Self, OpenError> {
        let in_directory = |error| OpenError::Io { path: directory.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(in_directory)?;
        // Others may look at the names, but what may write here could put other files in the place of ours.
        match belonging(directory)? {
            Belonging::Ours => check_mode(directory, 0o022, 0o700)?,
            Belonging::RootsForOurGroup => {
                tracing::info!("the data directory belongs to root, and this program's group may write there");
                check_mode(directory, 0o007, 0o770)?;
            }
        }
        check_files(directory)?;
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
        let files = Self { database, reserve: directory.join(RESERVE_FILE), unclean, _lock: Locked(lock) };
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

    /// Makes sure that the reserve has its full size, or a part of it where that does not fit. Without either it is empty.
    pub fn fill_reserve(&self) -> io::Result<Reserve> {
        let mut file = private().open(&self.reserve)?;
        let len = file.metadata()?.len();
        if len == RESERVE_BYTES {
            return Ok(Reserve::Whole);
        }
        // What surely does not fit is not tried: it would write as much as there is.
        let fits = self.free_bytes().saturating_add(len) >= RESERVE_BYTES;
        if fits && fill(&mut file, RESERVE_BYTES).is_ok() {
            return Ok(Reserve::Whole);
        }
        self.fill_part()
    }

    /// Makes a part of the reserve, whatever there was of it.
    pub fn fill_part(&self) -> io::Result<Reserve> {
        let mut file = private().open(&self.reserve)?;
        let filled =
            if file.metadata()?.len() >= PART_BYTES { file.set_len(PART_BYTES) } else { fill(&mut file, PART_BYTES) };
        if filled.is_err() {
            // Less helps nothing.
            file.set_len(0)?;
        }
        filled.map(|()| Reserve::Part)
    }

    /// Free space, as far as the system tells; a quota may be less.
    pub fn free_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.reserve).map_or(u64::MAX, |stats| stats.f_bavail.saturating_mul(stats.f_frsize))
    }

    /// What there is of the reserve.
    pub fn reserve(&self) -> Option<Reserve> {
        match self.reserve.metadata().map_or(0, |metadata| metadata.len()) {
            RESERVE_BYTES => Some(Reserve::Whole),
            PART_BYTES => Some(Reserve::Part),
            _ => None,
        }
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

    /// Gives the reserve's room to what needs it next.
    pub fn release_reserve(&self) {
        if let Err(error) = private().open(&self.reserve).and_then(|file| file.set_len(0)) {
            tracing::warn!(%error, "the reserve cannot be released");
        }
    }
}

static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];

fn fill(file: &mut File, bytes: u64) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    for _ in 0..bytes / BLOCK.len() as u64 {
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

/// Whose a data directory is.
enum Belonging {
    Ours,
    /// As container orchestrators hand out volumes (`fsGroup`, mode 2770): the superuser can do anything anyway, and who is in
    /// the group is the operator's choice. Our files in it are ours alone.
    RootsForOurGroup,
}

/// The superuser is no exception: files that it made here would lock the owner out.
fn belonging(path: &Path) -> Result<Belonging, OpenError> {
    let metadata = path.metadata().map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
    let (owner, us) = (metadata.uid(), rustix::process::geteuid().as_raw());
    let our_group = metadata.gid() == rustix::process::getegid().as_raw();
    match owner {
        owner if owner == us => Ok(Belonging::Ours),
        0 if our_group && metadata.mode() & 0o070 == 0o070 => Ok(Belonging::RootsForOurGroup),
        owner => Err(OpenError::Owner { path: path.to_owned(), owner, us }),
    }
}

/// Files that a start as another user has left here, by what their names begin with.
const OUR_FILES: [&str; 7] = [DATABASE_FILE, PEOPLE_FILE, OBSERVE_FILE, LOCK_FILE, RESERVE_FILE, "tls", "blobs"];

/// Each file here is ours: SQLite would only say that it cannot open one of another user's.
fn check_files(directory: &Path) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: directory.to_owned(), error };
    let us = rustix::process::geteuid().as_raw();
    for entry in directory.read_dir().map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if !OUR_FILES.iter().any(|ours| name.to_string_lossy().starts_with(ours)) {
            continue;
        }
        // One that is gone by now, such as a log of SQLite's, needs no look.
        if let Ok(metadata) = entry.metadata()
            && metadata.uid() != us
        {
            return Err(OpenError::FileOwner { path: entry.path(), owner: metadata.uid(), us });
        }
    }
    Ok(())
}

fn check_mode(path: &Path, forbidden: u32, wanted: u32) -> Result<(), OpenError> {
    let metadata = path.metadata().map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
    let mode = metadata.mode() & 0o7777;
    if mode & forbidden == 0 { Ok(()) } else { Err(OpenError::Permissions { path: path.to_owned(), mode, wanted }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_lock_goes_with_its_holder_although_a_child_has_a_copy_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::prepare(directory.path()).unwrap();
        assert!(matches!(Files::prepare(directory.path()), Err(OpenError::Locked(_))));
        let _copy = files._lock.0.try_clone().unwrap();
        drop(files);
        assert!(Files::prepare(directory.path()).is_ok());
    }
}

//! The home directory: who may read it, the key of the store, locks between processes.
//!
//! ```text
//! HOME/             0700
//!   store.db        every value sealed (store/sqlite.rs)
//!   store.key       0600, 32 random bytes; may live elsewhere
//!   outbox.lock     held while sending: two processes never reorder the outbox
//!   inbox.lock      held while receiving: mail is taken by one process at a time
//!   lead.lock       held by the process that receives until it ends: the others read along
//!   uploads.lock    held while files are sent
//!   fetches.lock    held while files are fetched
//!   files/ partial/ outgoing/   files (files/folder.rs)
//! ```
//! Wrong permissions are refused, never mended in silence: what others could read, they may have read. Refused is also what
//! belongs to another user, by the superuser too: files that it made there would lock the owner out.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand_core::TryRng as _;
use rustix::fs::OFlags;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::store::is_frozen;

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// How often a lock that another process holds is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// What only one process of a home does at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exclusive {
    /// Sending from the outbox, and registering.
    Outbox,
    /// Receiving and showing.
    Inbox,
    /// Receiving until the process ends.
    Lead,
    /// Sending files.
    Uploads,
    /// Fetching files.
    Fetches,
}

impl Exclusive {
    const fn file(self) -> &'static str {
        match self {
            Self::Outbox => "outbox.lock",
            Self::Inbox => "inbox.lock",
            Self::Lead => "lead.lock",
            Self::Uploads => "uploads.lock",
            Self::Fetches => "fetches.lock",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Outbox => "the outbox",
            Self::Inbox => "the inbox",
            Self::Lead => "receiving",
            Self::Uploads => "the sending of files",
            Self::Fetches => "the fetching of files",
        }
    }
}

/// Held until dropped; the operating system lets go of it when the process dies.
#[derive(Debug)]
pub struct Held {
    file: File,
}

impl Drop for Held {
    fn drop(&mut self) {
        // By its own word, not with its descriptor: a child that another thread is starting has a copy of that one for a moment. One
        // that is closed lets go of it in any case.
        let _ = self.file.unlock();
    }
}

/// A home directory that was checked.
#[derive(Clone, Debug)]
pub struct Home {
    directory: PathBuf,
    key_file: PathBuf,
}

impl Home {
    /// An existing home.
    ///
    /// # Errors
    /// `not-registered` when there is no directory; `home-unusable` when it is a file; `permissions`, `home-of-another`.
    pub fn open(directory: &Path, key_file: Option<&Path>) -> Result<Self, Error> {
        if !directory.exists() {
            return Err(Error::NotRegistered { home: directory.to_owned() });
        }
        check_kind(directory)?;
        check_owner(directory)?;
        check_mode(directory, DIRECTORY_MODE)?;
        let key_file = key_file.map_or_else(|| directory.join("store.key"), Path::to_owned);
        let home = Self { directory: directory.to_owned(), key_file };
        let store = home.store_file();
        if store.exists() {
            check_owner(&store)?;
        }
        Ok(home)
    }

    /// A home, made if there is none.
    ///
    /// # Errors
    /// `home-unusable`, `permissions`.
    pub fn create(directory: &Path, key_file: Option<&Path>) -> Result<Self, Error> {
        if !directory.exists() {
            if let Some(parent) = directory.parent() {
                fs::create_dir_all(parent).map_err(unusable(parent))?;
            }
            match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
                // Another process made it: it is checked below like any other.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(unusable(directory))?,
            }
            // mkdir's mode is subject to the umask, which can only take bits away that the owner needs.
            fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE)).map_err(unusable(directory))?;
        }
        Self::open(directory, key_file)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The store's file.
    pub fn store_file(&self) -> PathBuf {
        self.directory.join("store.db")
    }

    /// The file with the store's key.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// The store's key.
    ///
    /// # Errors
    /// `store-key-missing`, `permissions`, `home-unusable`.
    pub fn store_key(&self) -> Result<Zeroizing<[u8; 32]>, Error> {
        let path = &self.key_file;
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::StoreKeyMissing { path: path.clone() });
            }
            Err(error) => return Err(unusable(path)(error)),
        };
        check_mode(path, FILE_MODE)?;
        let mut key = Zeroizing::new([0; 32]);
        let wrong = || Error::HomeUnusable { path: path.clone(), reason: "it has to hold exactly 32 bytes".to_owned() };
        file.read_exact(&mut *key).map_err(|_| wrong())?;
        if file.read(&mut [0]).map_err(unusable(path))? != 0 {
            return Err(wrong());
        }
        Ok(key)
    }

    /// The store's key, drawn now if there is none. To be called by one process at a time.
    ///
    /// # Errors
    /// As [`store_key`](Self::store_key), and `disk-full`.
    pub fn store_key_or_make(&self) -> Result<Zeroizing<[u8; 32]>, Error> {
        if self.key_file.exists() {
            return self.store_key();
        }
        let mut key = Zeroizing::new([0; 32]);
        getrandom::SysRng
            .try_fill_bytes(&mut *key)
            .map_err(|_| Error::Internal { what: "the system gives no random bytes" })?;
        // Whole or not at all, also when the machine dies: written aside, synced, then named.
        let aside = self.key_file.with_extension(format!("{}.new", random_word()?));
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&aside)?;
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
            file.write_all(&*key)?;
            file.sync_all()?;
            fs::rename(&aside, &self.key_file)?;
            File::open(self.key_file.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        if let Err(error) = write() {
            // A key that nothing is sealed with yet. What was not made cannot be removed, either.
            let _ = fs::remove_file(&aside);
            return Err(unusable(&self.key_file)(error));
        }
        Ok(key)
    }

    /// Waits for a lock between processes (and between tasks of one), for at most `patience`.
    ///
    /// # Errors
    /// `store-locked`, `home-unusable`, `home-read-only`.
    pub async fn hold(&self, what: Exclusive, patience: Duration) -> Result<Held, Error> {
        let path = self.directory.join(what.file());
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            // What is not a file of this home is not made and not waited for.
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(&path)
            .map_err(|error| match error.kind() {
                // Not this file alone.
                io::ErrorKind::PermissionDenied if is_frozen(&self.store_file()) => Error::HomeReadOnly,
                _ => unusable(&path)(error),
            })?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Held { file }),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                    // There is no asynchronous lock on files, and a blocking one could not be given up.
                    tokio::time::sleep(LOCK_RETRY).await;
                }
                Err(fs::TryLockError::WouldBlock) => return Err(Error::StoreLocked { what: what.what() }),
                Err(fs::TryLockError::Error(error)) => return Err(unusable(&path)(error)),
            }
        }
    }
}

/// Sixteen letters that no other process draws, for a file that is written aside.
fn random_word() -> Result<String, Error> {
    let mut bytes = [0; 10];
    getrandom::SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| Error::Internal { what: "the system gives no random bytes" })?;
    Ok(data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}

fn check_kind(path: &Path) -> Result<(), Error> {
    if fs::metadata(path).map_err(unusable(path))?.is_dir() {
        return Ok(());
    }
    let reason = "it is a file, and a home is a directory".to_owned();
    Err(Error::HomeUnusable { path: path.to_owned(), reason })
}

fn check_owner(path: &Path) -> Result<(), Error> {
    let owner = fs::metadata(path).map_err(unusable(path))?.uid();
    let is_ours = owner == rustix::process::geteuid().as_raw();
    if is_ours { Ok(()) } else { Err(Error::HomeOfAnother { path: path.to_owned(), owner }) }
}

fn check_mode(path: &Path, wanted: u32) -> Result<(), Error> {
    let mode = fs::metadata(path).map_err(unusable(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 { Err(Error::Permissions { path: path.to_owned(), mode, wanted }) } else { Ok(()) }
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Error::DiskFull,
        io::ErrorKind::ReadOnlyFilesystem => Error::HomeReadOnly,
        _ => Error::HomeUnusable { path: path.to_owned(), reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_what_is_missing_with_tight_permissions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        assert_eq!(Home::open(&path, None).unwrap_err().code(), "not-registered");
        let home = Home::create(&path, None).unwrap();
        assert_eq!(home.store_key().unwrap_err().code(), "store-key-missing");
        let key = home.store_key_or_make().unwrap();
        assert_eq!(home.store_key_or_make().unwrap(), key);
        assert_eq!(Home::open(&path, None).unwrap().store_key().unwrap(), key);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(home.key_file())), (0o700, 0o600));
    }

    #[test]
    fn refuses_what_others_can_use_and_names_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home");
        let home = Home::create(&path, None).unwrap();
        home.store_key_or_make().unwrap();
        fs::set_permissions(home.key_file(), Permissions::from_mode(0o640)).unwrap();
        let error = home.store_key().unwrap_err();
        assert_eq!(error.code(), "permissions");
        assert!(
            matches!(&error, Error::Permissions { path, mode: 0o640, wanted: 0o600 } if path == home.key_file()),
            "{error}"
        );
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let error = Home::create(&path, None).unwrap_err();
        assert!(
            matches!(&error, Error::Permissions { path: at, mode: 0o755, wanted: 0o700 } if *at == path),
            "{error}"
        );
    }

    #[test]
    fn a_file_is_no_home_and_is_told_to_be_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home");
        fs::write(&path, b"").unwrap();
        for error in [Home::open(&path, None).unwrap_err(), Home::create(&path, None).unwrap_err()] {
            assert_eq!(error.code(), "home-unusable");
            assert!(error.to_string().contains("it is a file"), "{error}");
        }
    }

    /// A directory of another user: made by the superuser, or, for others, the superuser's own.
    fn foreign(path: &Path) -> PathBuf {
        if !rustix::process::geteuid().is_root() {
            return PathBuf::from("/");
        }
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE)).unwrap();
        std::os::unix::fs::chown(path, Some(12345), None).unwrap();
        path.to_owned()
    }

    #[test]
    fn a_home_of_another_user_is_refused_also_by_the_superuser() {
        let dir = tempfile::tempdir().unwrap();
        let home = foreign(&dir.path().join("home"));
        let before = fs::read_dir(&home).unwrap().count();
        for error in [Home::open(&home, None).unwrap_err(), Home::create(&home, None).unwrap_err()] {
            assert_eq!(error.code(), "home-of-another");
        }
        assert_eq!(fs::read_dir(&home).unwrap().count(), before, "nothing was made in it");
    }

    #[test]
    fn a_store_of_another_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(&dir.path().join("home"), None).unwrap();
        std::os::unix::fs::symlink(foreign(&dir.path().join("elsewhere")), home.store_file()).unwrap();
        assert_eq!(Home::open(home.directory(), None).unwrap_err().code(), "home-of-another");
    }

    #[test]
    fn a_file_that_waits_for_the_key_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(&dir.path().join("home"), None).unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, b"mine").unwrap();
        std::os::unix::fs::symlink(&victim, home.key_file().with_extension("key.new")).unwrap();
        home.store_key_or_make().unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
        let left: Vec<_> = fs::read_dir(home.directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "the key, and what was there before: {left:?}");
    }

    #[tokio::test]
    async fn a_lock_is_not_made_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(&dir.path().join("home"), None).unwrap();
        std::os::unix::fs::symlink(dir.path().join("victim"), home.directory().join("inbox.lock")).unwrap();
        assert_eq!(home.hold(Exclusive::Inbox, Duration::ZERO).await.unwrap_err().code(), "home-unusable");
        assert!(!dir.path().join("victim").exists());
    }

    #[test]
    fn a_key_of_another_length_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        let home = Home::create(&dir.path().join("home"), Some(&elsewhere)).unwrap();
        for bytes in [31, 33] {
            fs::write(&elsewhere, vec![1; bytes]).unwrap();
            fs::set_permissions(&elsewhere, Permissions::from_mode(0o600)).unwrap();
            assert_eq!(home.store_key().unwrap_err().code(), "home-unusable");
        }
    }

    #[tokio::test]
    async fn locks_exclude_and_end_with_their_holder() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(&dir.path().join("home"), None).unwrap();
        let held = home.hold(Exclusive::Outbox, Duration::ZERO).await.unwrap();
        assert_eq!(home.hold(Exclusive::Outbox, Duration::ZERO).await.unwrap_err().code(), "store-locked");
        home.hold(Exclusive::Inbox, Duration::ZERO).await.unwrap();
        // As a child has it, before it is another program.
        let _copy = held.file.try_clone().unwrap();
        drop(held);
        home.hold(Exclusive::Outbox, Duration::ZERO).await.unwrap();
    }
}

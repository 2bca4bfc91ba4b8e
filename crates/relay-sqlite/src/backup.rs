//! Backups: all that a relay needs to go on elsewhere, as a directory. Taken while it runs; checked when taken and when
//! restored.
//!
//! ```text
//! BACKUP/  (mode 0700, its files 0600)
//!   backup.toml        when, what, and the SHA-256 of each file
//!   relay.db           accounts, prekeys, waiting mail
//!   people.db          what people told beyond that, if there is such a database
//!   blobs.db, blobs/   files on their way that were complete, if there is such a database
//!   tls/               the relay's key and certificate: who it is
//!   serving.toml       the address that clients know
//! ```
//!
//! What a restored relay does with the time between: docs/OPERATING.md, "Backup and restore".

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use kuvert_relay::whole_file;
use kuvert_types::BlobId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::SERVING_FILE;
use crate::blobs::{BLOBS_FILE, BlobsError, files, look};
use crate::people::{PEOPLE_FILE, People, PeopleError};
use crate::store::backup::{Dropped, check, copy, make_safe};
use crate::store::{DATABASE_FILE, OpenError};

/// The list of what is in a backup.
pub const MANIFEST_FILE: &str = "backup.toml";

/// Name of the file within the data directory that tells when a backup was made last: its time, Unix milliseconds, as text.
pub const LAST_BACKUP_FILE: &str = "last-backup";

/// The layout above. A change of it is a new number. 1 had no files on their way.
const FORMAT: u32 = 2;

/// The oldest that is restored.
const OLDEST_FORMAT: u32 = 1;

/// Files beside the database, as far as they exist.
const OTHER_FILES: [&str; 3] = ["tls/certificate.pem", "tls/key.pem", SERVING_FILE];

/// Where a database is made ready before it gets its name.
const UNREADY_FILE: &str = "relay.db.restoring";

/// What is in a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// Unix milliseconds.
    pub made_at: u64,
    /// The schema's version.
    pub store_version: i64,
    /// Accounts.
    pub accounts: u64,
    /// Envelopes that waited.
    pub waiting: u64,
    /// Name and SHA-256 in hexadecimal.
    files: BTreeMap<String, String>,
}

impl Manifest {
    /// Whether the relay's key is in it: the self-made one is, an operator's own files are not.
    pub fn has_key(&self) -> bool {
        self.files.contains_key("tls/key.pem")
    }
}

/// Why there is no backup, or no restored relay. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database cannot be copied or used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Files on their way cannot be copied.
    #[error(transparent)]
    Blobs(#[from] BlobsError),
    /// What people told cannot be copied.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// Nothing is written over.
    #[error("{} exists already: name a new directory", .0.display())]
    Exists(PathBuf),
    /// Nothing is written over.
    #[error("{} is not empty: restore into a new or empty directory, and move this one away", .0.display())]
    NotEmpty(PathBuf),
    /// Not a backup.
    #[error("{} is no backup: it has no {MANIFEST_FILE} that can be read", .0.display())]
    NoBackup(PathBuf),
    /// Made by a later version.
    #[error("the backup has format {found}, this program knows {FORMAT}: use a newer program")]
    Newer {
        /// Its format.
        found: u32,
    },
    /// A file is not what it was.
    #[error("{} is not what it was when the backup was made: use another backup", .0.display())]
    Damaged(PathBuf),
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// Backs up the relay in `data`, which may run, into the new directory `to`. It has its name only when it is whole, checked
/// and on the disk.
///
/// # Errors
/// See [`BackupError`]. What was begun is taken away.
pub fn create(data: &Path, to: &Path, now_ms: u64) -> Result<Manifest, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    // In a directory that others can write to, they cannot know the name, and could not have made it before.
    let mut name = to.as_os_str().to_owned();
    name.push(".unfinished");
    let unfinished = whole_file::beside(Path::new(&name)).map_err(at(to))?;
    make_parents(to)?;
    DirBuilder::new().mode(0o700).create(&unfinished).map_err(at(&unfinished))?;
    let made = fill(data, &unfinished, now_ms).and_then(|manifest| {
        fs::rename(&unfinished, to).map_err(at(to))?;
        sync_directory(to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        Ok(manifest)
    });
    if made.is_err() {
        // It would only be in the way. The first error is the one to tell.
        let _ = fs::remove_dir_all(&unfinished);
    }
    made
}

/// Notes when a backup was made, for the relay's metrics. Root may do so beside a relay of another user's: that one reads it.
///
/// # Errors
/// The file cannot be written. The backup is as good without.
pub fn note(data: &Path, made_at: u64) -> io::Result<()> {
    whole_file::write(&data.join(LAST_BACKUP_FILE), format!("{made_at}\n").as_bytes(), whole_file::READABLE)
}

/// When the last backup of this data directory was made, Unix milliseconds, if that is known.
pub fn last(data: &Path) -> Option<u64> {
    fs::read_to_string(data.join(LAST_BACKUP_FILE)).ok()?.trim().parse().ok()
}

fn fill(data: &Path, to: &Path, now_ms: u64) -> Result<Manifest, BackupError> {
    let database = to.join(DATABASE_FILE);
    copy(data, &database)?;
    let contents = check(&database)?;
    let mut files = BTreeMap::from([(DATABASE_FILE.to_owned(), digest(&database)?)]);
    // Older relays have none.
    if let Some(people) = People::open_unmigrated(data)? {
        let copy = to.join(PEOPLE_FILE);
        people.copy(&copy)?;
        files.insert(PEOPLE_FILE.to_owned(), digest(&copy)?);
    }
    for name in look::copy(data, to)? {
        let digest = digest(&to.join(&name))?;
        files.insert(name, digest);
    }
    make_directory(&to.join("tls"))?;
    for name in OTHER_FILES {
        let source = data.join(name);
        if source.exists() {
            let bytes = fs::read(&source).map_err(at(&source))?;
            write_private(&to.join(name), &bytes)?;
            files.insert(name.to_owned(), hex(&Sha256::digest(&bytes)));
        }
    }
    let manifest = Manifest {
        format: FORMAT,
        made_at: now_ms,
        store_version: contents.version,
        accounts: contents.totals.accounts,
        waiting: contents.totals.waiting,
        files,
    };
    let path = to.join(MANIFEST_FILE);
    let text = toml::to_string(&manifest).map_err(|error| at(&path)(io::Error::other(error)))?;
    write_private(&path, text.as_bytes())?;
    for directory in [&to.join("tls"), to] {
        sync_directory(directory)?;
    }
    Ok(manifest)
}

/// Makes the new or empty directory `data` one that a relay can serve, from the backup in `from`.
///
/// # Errors
/// See [`BackupError`]. After an error `data` holds no database.
pub fn restore(from: &Path, data: &Path) -> Result<(Manifest, Dropped), BackupError> {
    let manifest = read(from)?;
    match fs::read_dir(data).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(BackupError::NotEmpty(data.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_directory(data)?,
        Err(error) => return Err(at(data)(error)),
    }
    for name in manifest.files.keys().filter(|name| *name != DATABASE_FILE) {
        if let Some((directory, _)) = name.split_once('/') {
            make_directory(&data.join(directory))?;
        }
        let path = data.join(name);
        // A file on its way can be as long as gigabytes.
        let (mut source, mut target) = (open(&from.join(name))?, create_private(&path)?);
        io::copy(&mut source, &mut target).and_then(|_| target.sync_all()).map_err(at(&path))?;
    }
    // Last, and under its name only when it is safe: without it no relay takes this directory for its own.
    let unready = data.join(UNREADY_FILE);
    let (mut source, mut target) = (open(&from.join(DATABASE_FILE))?, create_private(&unready)?);
    io::copy(&mut source, &mut target).map_err(at(&unready))?;
    drop(target);
    check(&unready)?;
    let dropped = make_safe(&unready)?;
    open(&unready)?.sync_all().map_err(at(&unready))?;
    fs::rename(&unready, data.join(DATABASE_FILE)).map_err(at(data))?;
    sync_directory(data)?;
    Ok((manifest, dropped))
}

/// The manifest, after a look at every file that it names.
fn read(from: &Path) -> Result<Manifest, BackupError> {
    let no_backup = || BackupError::NoBackup(from.to_owned());
    let text = fs::read_to_string(from.join(MANIFEST_FILE)).map_err(|_| no_backup())?;
    // The number first: a later format may have other fields.
    let table: toml::Table = toml::from_str(&text).map_err(|_| no_backup())?;
    match table.get("format").and_then(toml::Value::as_integer) {
        Some(format) if (i64::from(OLDEST_FORMAT)..=i64::from(FORMAT)).contains(&format) => {}
        Some(format) => return Err(BackupError::Newer { found: u32::try_from(format).unwrap_or(u32::MAX) }),
        None => return Err(no_backup()),
    }
    let manifest: Manifest = table.try_into().map_err(|_| no_backup())?;
    if !manifest.files.contains_key(DATABASE_FILE) {
        return Err(no_backup());
    }
    for (name, expected) in &manifest.files {
        // Nothing outside of the backup is read, and nothing outside of the data directory written.
        let known = [DATABASE_FILE, PEOPLE_FILE, BLOBS_FILE].contains(&name.as_str())
            || OTHER_FILES.contains(&name.as_str())
            || is_blob(name);
        if !known {
            return Err(no_backup());
        }
        let path = from.join(name);
        if digest(&path)? != *expected {
            return Err(BackupError::Damaged(path));
        }
    }
    Ok(manifest)
}

/// Whether this is the name of a file on its way, below the data directory.
fn is_blob(name: &str) -> bool {
    let id = name.strip_prefix(files::DIRECTORY).and_then(|rest| rest.strip_prefix('/'));
    id.is_some_and(|id| id.len() == 2 * BlobId::LEN && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |error| BackupError::Io { path, error }
}

fn make_parents(path: &Path) -> Result<(), BackupError> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => make_directory(parent),
        None => Ok(()),
    }
}

fn make_directory(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

fn sync_directory(path: &Path) -> Result<(), BackupError> {
    open(path)?.sync_all().map_err(at(path))
}

fn open(path: &Path) -> Result<File, BackupError> {
    File::open(path).map_err(at(path))
}

fn create_private(path: &Path) -> Result<File, BackupError> {
    whole_file::create_new(path, whole_file::PRIVATE).map_err(at(path))
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let mut file = create_private(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at(path))
}

fn digest(path: &Path) -> Result<String, BackupError> {
    let mut file = open(path)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut block).map_err(at(path))?;
        if count == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&block[..count]);
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

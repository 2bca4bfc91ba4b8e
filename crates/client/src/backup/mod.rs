//! Backups of a home: one encrypted file, and a new home made of one.
//!
//! ```text
//! backup:  rows of one state of the store, still sealed ─┐
//!          files that came, copies that wait to be sent ─┴► archive ─► age ─► FILE, under its name once it is whole
//! restore: FILE ─► age ─► archive ─► a directory beside the home ─► sessions dropped ─► synced ─► it becomes the home
//! ```
//! | module | owns |
//! |---|---|
//! | `age` | the encryption |
//! | `archive` | what stands in it |
//! | `fresh` | what a restored home may not go on with |
//!
//! The adversary of a restore is who hands out FILE: nothing is written but into a directory that is made for it, no name in it is a path,
//! and what it takes in memory and time is bounded. A backup does not say who made it: one that is for a key can be made by all who know
//! the public half of that key.

mod age;
mod archive;
mod fresh;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kuvert_types::Address;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use self::age::{Decrypting, Encrypting, Opener, Recipient, Refused, WORK};
use self::archive::{Counts, Frame, Frames, PIECE, Writer, damaged};
use crate::engine::{Engine, blocking};
use crate::error::Error;
use crate::files::folder::OUTGOING;
use crate::home::{Exclusive, Home};
use crate::mend::mend;
use crate::options::Options;
use crate::records::FILES;
use crate::store::copy::{self, Filling, Hash, Rows};
use crate::store::sqlite::{Opened, SqliteStore};

/// The folders of a home whose files are kept, by the numbers that they have in a backup.
const FOLDERS: [(u8, &str); 2] = [(1, FILES), (2, OUTGOING)];

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Of a passphrase: what people type, and no file that was named by mistake.
pub const MAX_PASSPHRASE_BYTES: usize = 4 * 1024;

/// Of a key file.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// Of the name of a file, as file systems have it.
const MAX_NAME: usize = 255;

/// Files in a backup: more than a home has, and no more than a disk has room to note.
const MAX_FILES: u64 = 1 << 20;

/// How often a restored home is set right anew after damaged rows were removed from it.
const MAX_MENDED: u32 = 8;

/// What a backup is encrypted with.
#[derive(Clone)]
#[non_exhaustive]
pub enum BackupSecret {
    /// A passphrase, of 1 to [`MAX_PASSPHRASE_BYTES`] bytes.
    Passphrase(Zeroizing<String>),
    /// A file with lines as `age-keygen` writes them: keys (`AGE-SECRET-KEY-1…`), or, to make backups, recipients (`age1…`).
    KeyFile(PathBuf),
}

impl std::fmt::Debug for BackupSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passphrase(_) => f.write_str("Passphrase"),
            Self::KeyFile(path) => f.debug_tuple("KeyFile").field(path).finish(),
        }
    }
}

/// A backup that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BackedUp {
    /// Where it is.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// A home that was made of a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Restored {
    /// Where it is.
    pub home: PathBuf,
    /// Account and device.
    pub address: Address,
}

/// What the keys of a key file are.
#[derive(Default)]
struct Keys {
    identities: Vec<x25519_dalek::StaticSecret>,
    recipients: Vec<x25519_dalek::PublicKey>,
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    |error| match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Error::DiskFull,
        _ => Error::BackupUnusable { path: path.to_owned(), reason: error.to_string() },
    }
}

fn read_keys(path: &Path) -> Result<Keys, Error> {
    let unusable = |reason: String| Error::BackupKeyUnusable { path: path.to_owned(), reason };
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(|error| unusable(error.to_string()))?;
    let read = file.take(MAX_KEY_FILE + 1).read_to_string(&mut text).map_err(|error| unusable(error.to_string()))?;
    if read as u64 > MAX_KEY_FILE {
        return Err(unusable("it is too long".to_owned()));
    }
    let mut keys = Keys::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(identity) = age::identity(line) {
            keys.recipients.push(x25519_dalek::PublicKey::from(&identity));
            keys.identities.push(identity);
        } else {
            let recipient = age::recipient(line);
            keys.recipients.push(recipient.ok_or_else(|| unusable("a line of it is no key".to_owned()))?);
        }
    }
    if keys.recipients.is_empty() { Err(unusable("there is no key in it".to_owned())) } else { Ok(keys) }
}

/// Draws a key and writes it into a new file, in the form of `age-keygen`; the public half, for backups that need not be able to read
/// others.
///
/// # Errors
/// `file-exists`; `backup-key-unusable`; `disk-full`.
pub async fn make_backup_key(path: &Path) -> Result<String, Error> {
    let path = path.to_owned();
    blocking(move || {
        let failed = |error: io::Error| match error.kind() {
            ErrorKind::AlreadyExists => Error::FileExists { path: path.clone() },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull,
            _ => Error::BackupKeyUnusable { path: path.clone(), reason: error.to_string() },
        };
        let (identity, recipient) = age::new_identity().ok_or(Error::Internal { what: "a key for backups" })?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path).map_err(failed)?;
        let text = Zeroizing::new(format!("# public key: {recipient}\n{}\n", *identity));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| sync_directory(&path)) {
            // Nothing was encrypted for it.
            let _ = fs::remove_file(&path);
            return Err(failed(error));
        }
        Ok(recipient)
    })
    .await
}

fn must_be_a_passphrase(passphrase: &str) -> Result<(), Error> {
    if passphrase.is_empty() || passphrase.len() > MAX_PASSPHRASE_BYTES {
        return Err(Error::PassphraseUnusable);
    }
    Ok(())
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A place beside another one, that no other file is likely to have.
fn beside(path: &Path, end: &str) -> Option<PathBuf> {
    let mut name = OsStr::new(".").to_owned();
    name.push(path.file_name()?);
    name.push(end);
    Some(parent(path).join(name))
}

/// Writes a backup of an open home. It works while other processes of the home receive and send, and holds none of them up.
///
/// # Errors
/// `file-exists`: nothing is overwritten; `passphrase-unusable`, `backup-key-unusable`, `backup-unusable`, `disk-full`, those of the store.
/// Nothing is left then.
pub(crate) async fn write(engine: &Engine, file: PathBuf, secret: BackupSecret) -> Result<BackedUp, Error> {
    write_with(engine, file, secret, WORK).await
}

async fn write_with(engine: &Engine, file: PathBuf, secret: BackupSecret, work: u8) -> Result<BackedUp, Error> {
    let (home, busy) = (engine.home().clone(), engine.options().lock_timeout);
    blocking(move || {
        let recipients = match &secret {
            BackupSecret::Passphrase(passphrase) => must_be_a_passphrase(passphrase).map(|()| Vec::new())?,
            BackupSecret::KeyFile(path) => read_keys(path)?.recipients,
        };
        let to = match &secret {
            BackupSecret::Passphrase(passphrase) => Recipient::Passphrase(passphrase, work),
            BackupSecret::KeyFile(_) => Recipient::Keys(&recipients),
        };
        if file.symlink_metadata().is_ok() {
            return Err(Error::FileExists { path: file });
        }
        let no_name = || Error::BackupUnusable { path: file.clone(), reason: "it names no file".to_owned() };
        let aside = beside(&file, ".part").ok_or_else(no_name)?;
        let out = open_aside(&aside)?;
        let written = write_into(&home, busy, &out, &aside, &to).and_then(|bytes| {
            publish(&aside, &file)?;
            Ok(BackedUp { file: file.clone(), bytes })
        });
        if written.is_err() {
            // It holds nothing that can be used.
            let _ = fs::remove_file(&aside);
        }
        written
    })
    .await
}

/// The file that a backup is written into before it has its name. One that a process left that was killed is taken again.
fn open_aside(aside: &Path) -> Result<File, Error> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(FILE_MODE).custom_flags(flags);
    let out = options.open(aside).map_err(unusable(aside))?;
    match out.try_lock() {
        Err(fs::TryLockError::WouldBlock) => return Err(Error::StoreLocked { what: "this backup" }),
        locked => locked.map_err(|error| unusable(aside)(error.into()))?,
    }
    if !out.metadata().map_err(unusable(aside))?.is_file() {
        return Err(unusable(aside)(ErrorKind::AlreadyExists.into()));
    }
    out.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(unusable(aside))?;
    out.set_len(0).map_err(unusable(aside))?;
    Ok(out)
}

/// Gives a backup that is whole its name, without taking another file's.
fn publish(aside: &Path, file: &Path) -> Result<(), Error> {
    match fs::hard_link(aside, file) {
        Ok(()) => fs::remove_file(aside),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Error::FileExists { path: file.to_owned() });
        }
        // A file system without links.
        Err(_) if file.symlink_metadata().is_err() => fs::rename(aside, file),
        Err(error) => Err(error),
    }
    .and_then(|()| sync_directory(file))
    .map_err(unusable(file))
}

fn write_into(home: &Home, busy: Duration, out: &File, aside: &Path, to: &Recipient<'_>) -> Result<u64, Error> {
    let failed = unusable(aside);
    let key = home.store_key()?;
    let encrypting = Encrypting::begin(BufWriter::new(out), to).map_err(&failed)?;
    let writer = Writer::begin(encrypting).map_err(&failed)?;
    let mut rows = Writing { writer, key: key.clone(), counts: Counts::default(), failed: &failed };
    copy::read(&home.store_file(), home.key_file(), &key, busy, &mut rows)?;
    for (number, name) in FOLDERS {
        rows.folder(number, &home.directory().join(name))?;
    }
    let Writing { mut writer, counts, .. } = rows;
    writer.write(&Frame::End(counts)).map_err(&failed)?;
    let buffered = writer.end().finish().map_err(&failed)?;
    buffered.into_inner().map_err(io::IntoInnerError::into_error).map_err(&failed)?;
    out.sync_all().map_err(&failed)?;
    Ok(out.metadata().map_err(&failed)?.len())
}

/// A backup that is being written.
struct Writing<'a, W, F> {
    writer: Writer<W>,
    key: Zeroizing<[u8; 32]>,
    counts: Counts,
    failed: &'a F,
}

impl<W: io::Write, F: Fn(io::Error) -> Error> Writing<'_, W, F> {
    fn put(&mut self, frame: &Frame) -> Result<(), Error> {
        self.writer.write(frame).map_err(self.failed)
    }

    /// All files of a folder. One that goes meanwhile is left out; what is no file is none of the home's.
    fn folder(&mut self, folder: u8, path: &Path) -> Result<(), Error> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(unusable(path))?,
        };
        for entry in entries {
            let entry = entry.map_err(unusable(path))?;
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
            let file = OpenOptions::new().read(true).custom_flags(flags).open(entry.path());
            let Ok(file) = file else {
                tracing::info!("a file of the home could not be read, and is not in the backup");
                continue;
            };
            if !file.metadata().map_err(unusable(path))?.is_file() {
                continue;
            }
            self.put(&Frame::File { folder, name: entry.file_name().as_bytes().to_vec() })?;
            self.pieces(file, &entry.path())?;
            self.counts.files += 1;
        }
        Ok(())
    }

    fn pieces(&mut self, mut file: File, path: &Path) -> Result<(), Error> {
        let mut bytes = 0;
        loop {
            let mut piece = Zeroizing::new(Vec::with_capacity(PIECE));
            (&mut file).take(PIECE as u64).read_to_end(&mut piece).map_err(unusable(path))?;
            if piece.is_empty() {
                return self.put(&Frame::FileEnd { bytes });
            }
            bytes += piece.len() as u64;
            self.put(&Frame::Piece(piece))?;
        }
    }
}

impl<W: io::Write, F: Fn(io::Error) -> Error> Rows for Writing<'_, W, F> {
    fn store(&mut self, version: u32, cipher: Vec<u8>) -> Result<(), Error> {
        let key = self.key.clone();
        self.put(&Frame::Store { version, key, cipher })
    }

    fn row(&mut self, table: u8, key: Hash, value: Vec<u8>) -> Result<(), Error> {
        self.counts.rows += 1;
        self.put(&Frame::Row { table, key, value })
    }

    fn entry(&mut self, place: u64, log: u8, group: Hash, key: Hash, value: Vec<u8>) -> Result<(), Error> {
        self.counts.entries += 1;
        self.put(&Frame::Entry { place, log, group, key, value })
    }

    fn last_place(&mut self, place: u64) -> Result<(), Error> {
        self.put(&Frame::LastPlace(place))
    }
}

/// Makes a new home of a backup. Its sessions are dropped, and fresh ones begin with the first connection: nothing that is sent from then
/// on is lost, or encrypted under a key that was used. The home that the backup was made of must not be used beside it.
///
/// # Errors
/// `home-exists`; `backup-passphrase-wrong`, `backup-key-wrong`, `backup-key-unusable`, `backup-foreign`, `backup-newer`, `backup-damaged`,
/// `backup-unusable`, `store-newer`, `disk-full`. There is no home then, and nothing beside it.
pub async fn restore(file: &Path, home: &Path, options: Options, secret: BackupSecret) -> Result<Restored, Error> {
    let target = std::path::absolute(home).map_err(unusable(home))?;
    let no_name = || Error::HomeUnusable { path: target.clone(), reason: "it names no directory".to_owned() };
    let aside = beside(&target, ".restoring").ok_or_else(no_name)?;
    let must_be_free = |target: &Path| match target.symlink_metadata() {
        Ok(_) => Err(Error::HomeExists { home: target.to_owned() }),
        Err(_) => Ok(()),
    };
    must_be_free(&target)?;
    let (place, key_file) = (aside.clone(), options.store_key_file.clone());
    let made = blocking(move || make_aside(&place, key_file.as_deref())).await?;
    // Held until the directory has its name, so that no other restore takes it for one that was left behind.
    let held = made.hold(Exclusive::Outbox, Duration::ZERO).await?;
    let restored = async {
        let (file, home, busy) = (file.to_owned(), made.clone(), options.lock_timeout);
        blocking(move || read_into(&file, &home, busy, &secret)).await?;
        let address = set_right(&made, options).await?;
        let (aside, target) = (aside.clone(), target.clone());
        blocking(move || {
            must_be_free(&target)?;
            settle(&aside, &target)
        })
        .await?;
        Ok(address)
    };
    let restored = restored.await;
    if restored.is_err() {
        // What it failed for is the better word.
        let _ = blocking(move || fs::remove_dir_all(&aside).map_err(unusable(&aside))).await;
    }
    drop(held);
    restored.map(|address| Restored { home: home.to_owned(), address })
}

/// The directory that a home is made in before it has its name. One that a process left that was killed is emptied.
fn make_aside(aside: &Path, key_file: Option<&Path>) -> Result<Home, Error> {
    let failed = unusable(aside);
    fs::create_dir_all(parent(aside)).map_err(&failed)?;
    match fs::symlink_metadata(aside) {
        Ok(there) if there.is_dir() => {
            let lock = File::open(aside.join("outbox.lock")).ok();
            if lock.is_some_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock))) {
                return Err(Error::StoreLocked { what: "the restoring" });
            }
            fs::remove_dir_all(aside).map_err(&failed)?;
        }
        Ok(_) => return Err(failed(ErrorKind::AlreadyExists.into())),
        Err(_) => {}
    }
    DirBuilder::new().mode(DIRECTORY_MODE).create(aside).map_err(&failed)?;
    Home::create(aside, key_file)
}

fn refused(error: Refused, secret: &BackupSecret, file: &Path) -> Error {
    match error {
        Refused::Foreign => Error::BackupForeign,
        Refused::Damaged(what) => damaged(what),
        Refused::Secret | Refused::Kind if matches!(secret, BackupSecret::KeyFile(_)) => Error::BackupKeyWrong,
        Refused::Secret => Error::BackupPassphraseWrong,
        // A passphrase for what a key opens.
        Refused::Kind => Error::BackupKeyWrong,
        Refused::Io(error) => unusable(file)(error),
    }
}

fn read_into(file: &Path, home: &Home, busy: Duration, secret: &BackupSecret) -> Result<(), Error> {
    let keys = match secret {
        BackupSecret::Passphrase(passphrase) => must_be_a_passphrase(passphrase).map(|()| Keys::default())?,
        BackupSecret::KeyFile(path) => read_keys(path)?,
    };
    let opener = match secret {
        BackupSecret::Passphrase(passphrase) => Opener::Passphrase(passphrase),
        BackupSecret::KeyFile(_) => Opener::Keys(&keys.identities),
    };
    // What is no file is not waited for.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let input = OpenOptions::new().read(true).custom_flags(flags).open(file).map_err(unusable(file))?;
    if !input.metadata().map_err(unusable(file))?.is_file() {
        return Err(Error::BackupUnusable { path: file.to_owned(), reason: "it is no file".to_owned() });
    }
    let opened = Decrypting::begin(BufReader::new(input), &opener).map_err(|error| refused(error, secret, file))?;
    read_frames(Frames::begin(opened)?, home, busy)
}

fn read_frames<R: Read>(mut frames: Frames<R>, home: &Home, busy: Duration) -> Result<(), Error> {
    let path = home.store_file();
    let mut store = Filling::begin(&path, busy)?;
    let mut seen = Counts::default();
    let last_place = loop {
        match frames.next()? {
            Frame::Store { version, key, cipher } => store.keys(version, &key, &cipher)?,
            Frame::Row { table, key, value } => {
                seen.rows += 1;
                store.row(table, &key, &value)?;
            }
            Frame::Entry { place, log, group, key, value } => {
                seen.entries += 1;
                store.entry(place, log, &group, &key, &value)?;
            }
            Frame::LastPlace(place) => break place,
            _ => return Err(damaged("a part of it stands where it cannot")),
        }
    };
    let key = home.store_key_or_make()?;
    store.finish(&path, &key, last_place)?;
    loop {
        match frames.next()? {
            Frame::File { folder, name } => {
                seen.files += 1;
                if seen.files > MAX_FILES {
                    return Err(damaged("it has too many files"));
                }
                read_file(&mut frames, &place(home, folder, &name)?)?;
            }
            Frame::End(counts) if counts == seen => break,
            _ => return Err(damaged("a part of it is missing, or stands where it cannot")),
        }
    }
    frames.end()?;
    // Whatever the key's place is, the key is there before the home is.
    for (_, name) in FOLDERS {
        let folder = home.directory().join(name);
        if folder.exists() {
            File::open(&folder).and_then(|folder| folder.sync_all()).map_err(unusable(&folder))?;
        }
    }
    Ok(())
}

/// Where a file of a backup goes: a name in one of two folders, and nothing else.
fn place(home: &Home, folder: u8, name: &[u8]) -> Result<PathBuf, Error> {
    let known = FOLDERS.iter().find(|(number, _)| *number == folder).map(|(_, name)| *name);
    let known = known.ok_or_else(|| damaged("a file of it has no folder"))?;
    let is_plain = (1..=MAX_NAME).contains(&name.len())
        && !name.iter().any(|byte| matches!(byte, b'/' | 0))
        && !matches!(name, b"." | b"..");
    if !is_plain {
        return Err(damaged("a file of it has a name that no file has"));
    }
    let folder = home.directory().join(known);
    match DirBuilder::new().mode(DIRECTORY_MODE).create(&folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.map_err(unusable(&folder))?,
    }
    Ok(folder.join(OsStr::from_bytes(name)))
}

fn read_file<R: Read>(frames: &mut Frames<R>, place: &Path) -> Result<(), Error> {
    // The directory is this process's own: what has the name came out of the same backup.
    let made = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(place);
    let mut file = match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(damaged("it has a file twice")),
        Err(error) if error.kind() == ErrorKind::InvalidFilename => {
            return Err(damaged("a file of it has a name that no file has"));
        }
        made => made.map_err(unusable(place))?,
    };
    let mut seen = 0;
    loop {
        match frames.next()? {
            Frame::Piece(bytes) => {
                file.write_all(&bytes).map_err(unusable(place))?;
                seen += bytes.len() as u64;
            }
            Frame::FileEnd { bytes } if bytes == seen => return file.sync_all().map_err(unusable(place)),
            _ => return Err(damaged("a file of it does not end")),
        }
    }
}

/// Opens the new store, and drops what a restored home may not go on with.
async fn set_right(home: &Home, options: Options) -> Result<Address, Error> {
    let (place, busy) = (home.clone(), options.lock_timeout);
    let store = blocking(move || {
        let key = place.store_key()?;
        match SqliteStore::open(&place.store_file(), place.key_file(), &key, busy)? {
            Opened::Store(store) => Ok(store),
            Opened::Nothing => Err(Error::Internal { what: "store vanished" }),
        }
    })
    .await?;
    let engine = Engine::new(home.clone(), Box::new(store), options, Some(mend));
    for _ in 0..MAX_MENDED {
        let done = engine.write(|tx| {
            let own = tx.identity()?;
            if !own.registered {
                return Err(damaged("it holds no account"));
            }
            fresh::begin_anew(tx, tx.now())?;
            Ok(own.address)
        });
        match done.await {
            Err(Error::StoreMended) => {}
            // It came out of a file that says that it is whole.
            Err(Error::StoreCorrupt { what }) => return Err(damaged(what)),
            Err(Error::NotRegistered { .. }) => return Err(damaged("it holds no account")),
            done => return done,
        }
    }
    Err(damaged("too many rows of it are damaged"))
}

/// Gives a home that is whole its name.
fn settle(aside: &Path, target: &Path) -> Result<(), Error> {
    let failed = unusable(target);
    File::open(aside).and_then(|directory| directory.sync_all()).map_err(&failed)?;
    // What is there by now is kept: a directory is not put over a file, or over one that holds anything.
    fs::rename(aside, target).map_err(|error| match error.kind() {
        ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            Error::HomeExists { home: target.to_owned() }
        }
        _ => failed(error),
    })?;
    sync_directory(target).map_err(failed)
}

#[cfg(test)]
mod tests;

//! The folders of a home that hold files: what came, what is on its way here, and copies that wait to be sent. Only the owner can look into them.
//!
//! ```text
//! HOME/files/      what came, by its safe name; nothing is overwritten
//! HOME/partial/    what is on its way, by what its message is called here
//! HOME/outgoing/   pictures without their metadata, until they are at the relay
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use super::name;
use crate::error::Error;
use crate::home::Home;

pub(super) const PARTIAL: &str = "partial";
pub(crate) const OUTGOING: &str = "outgoing";

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Names that are tried for a file that came.
const MAX_TRIES: u32 = 1_000;

/// What a process that was killed left of a copy is removed once no process can be at it any more.
const LEFT_BEHIND: Duration = Duration::from_secs(60 * 60);

/// The failure of the file system at a place.
pub(super) fn failed(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Error::DiskFull,
        io::ErrorKind::ReadOnlyFilesystem => Error::HomeReadOnly,
        _ => Error::HomeUnusable { path: path.to_owned(), reason: error.to_string() },
    }
}

/// A folder of the home, made if it is not there. A link in its place is not followed.
pub(super) fn folder(home: &Home, which: &str) -> Result<PathBuf, Error> {
    let path = home.directory().join(which);
    match DirBuilder::new().mode(DIRECTORY_MODE).create(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !fs::symlink_metadata(&path).map_err(failed(&path))?.is_dir() {
                return Err(Error::HomeUnusable { path, reason: "it is no directory".to_owned() });
            }
        }
        made => {
            made.map_err(failed(&path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(DIRECTORY_MODE)).map_err(failed(&path))?;
        }
    }
    Ok(path)
}

/// Room that stays free on the disk of a home: contacts could fill it with files.
const MIN_FREE: u64 = 256 * 1024 * 1024;

/// Whether there is room for files that nothing asked for.
pub(super) fn has_room(directory: &Path) -> Result<bool, Error> {
    let disk = rustix::fs::statvfs(directory).map_err(|error| failed(directory)(error.into()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize) >= MIN_FREE)
}

/// A file that is made, for its owner alone; none may be there.
pub(super) fn make(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)
}

/// Where a file on its way is kept: its key says nothing of who sent it.
pub(super) fn partial(home: &Home, key: &[u8]) -> Result<PathBuf, Error> {
    Ok(folder(home, PARTIAL)?.join(data_encoding::HEXLOWER.encode(&Sha256::digest(key)[..16])))
}

/// Opens a file on its way, made if it is not there. Not through a link.
pub(super) fn open_partial(path: &Path) -> Result<File, Error> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).custom_flags(flags);
    let file = options.open(path).map_err(failed(path))?;
    if !file.metadata().map_err(failed(path))?.is_file() {
        return Err(Error::HomeUnusable { path: path.to_owned(), reason: "it is no file".to_owned() });
    }
    Ok(file)
}

/// Gives a file that is whole its name in a folder, without taking any other's. If it was named before, and that was not noted, it
/// keeps that name.
pub(super) fn settle(whole: &Path, folder: &Path, told: &str) -> Result<String, Error> {
    let safe = name::safe(told);
    let inode = fs::metadata(whole).map_err(failed(whole))?.ino();
    for number in 1..=MAX_TRIES {
        let name = if number == 1 { safe.clone() } else { name::numbered(&safe, number) };
        let place = folder.join(&name);
        match fs::hard_link(whole, &place) {
            Ok(()) => return sync(folder).map(|()| name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let same = fs::symlink_metadata(&place).is_ok_and(|other| other.is_file() && other.ino() == inode);
                if same {
                    return Ok(name);
                }
            }
            // A file system without links: a name is taken first.
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
                match make(&place) {
                    Ok(_) => {
                        fs::rename(whole, &place).map_err(failed(&place))?;
                        return sync(folder).map(|()| name);
                    }
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(failed(&place)(error)),
                }
            }
            Err(error) => return Err(failed(&place)(error)),
        }
    }
    Err(Error::FileExists { path: folder.join(safe) })
}

fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

/// Removes a file; one that is not there is removed already.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

/// Removes copies that nothing names and nothing is at.
pub(super) fn sweep(home: &Home, named: &dyn Fn(&Path) -> bool) {
    let Ok(entries) = fs::read_dir(home.directory().join(OUTGOING)) else { return };
    for entry in entries.flatten() {
        let old = entry
            .metadata()
            .and_then(|seen| seen.modified())
            .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > LEFT_BEHIND));
        let place = Path::new(OUTGOING).join(entry.file_name());
        if old && !named(&place) {
            // It costs room and nothing else: the next time tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::FILES;

    fn home(dir: &tempfile::TempDir) -> Home {
        Home::create(&dir.path().join("home"), None).unwrap()
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(&dir);
        let folder = folder(&home, FILES).unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, b"mine").unwrap();
        std::os::unix::fs::symlink(&victim, folder.join("a.txt")).unwrap();
        let whole = partial(&home, b"key").unwrap();
        fs::write(&whole, b"theirs").unwrap();
        assert_eq!(settle(&whole, &folder, "a.txt").unwrap(), "a (2).txt");
        assert_eq!(settle(&whole, &folder, "a.txt").unwrap(), "a (2).txt", "named, and not noted: a kill came between");
        assert_eq!(settle(&whole, &folder, "../a.txt").unwrap(), "_a.txt");
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
        let link = partial(&home, b"other").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert_eq!(open_partial(&link).unwrap_err().code(), "home-unusable");
    }

    #[test]
    fn a_folder_is_its_owners_and_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(&dir);
        let path = folder(&home, FILES).unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        std::os::unix::fs::symlink(dir.path(), home.directory().join(PARTIAL)).unwrap();
        assert_eq!(folder(&home, PARTIAL).unwrap_err().code(), "home-unusable");
        let file = make(&home.directory().join("x")).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

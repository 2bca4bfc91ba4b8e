//! Files that this program makes: for their owner only, new ones, and never through a link that another process left there.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Of directories.
const DIRECTORY_MODE: u32 = 0o700;

/// The same, where one is made in another.
const DIRECTORY: Mode = Mode::RWXU;

/// Of files: `0600`.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Makes a directory, and those above it that are missing.
///
/// # Errors
/// The system refuses.
pub fn make_directories(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
}

/// Writes a file whole or not at all: aside, under a random name, which then becomes the file. One that is there already keeps
/// its permissions; a new one is for its owner only.
///
/// # Errors
/// The system refuses.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut aside = tempfile::NamedTempFile::new_in(parent)?;
    aside.write_all(content.as_ref())?;
    if let Ok(old) = fs::metadata(path) {
        aside.as_file().set_permissions(old.permissions())?;
    }
    aside.as_file().sync_all()?;
    aside.persist(path).map(drop).map_err(|error| error.error)
}

/// A directory of this program's own making. Files are made in the directory itself, whatever its path leads to by then.
#[derive(Debug)]
pub struct Folder(File);

impl Folder {
    /// Makes it.
    ///
    /// # Errors
    /// There is something of that name, another process put something else in its place, or the system refuses.
    pub fn make(path: &Path) -> io::Result<Self> {
        DirBuilder::new().mode(DIRECTORY_MODE).create(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let found = directory.metadata()?;
        if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another process took its place"));
        }
        Ok(Self(directory))
    }

    /// Makes a directory in it.
    ///
    /// # Errors
    /// As [`make`](Self::make).
    pub fn folder(&self, name: &str) -> io::Result<Self> {
        is_plain(name)?;
        rustix::fs::mkdirat(&self.0, name, DIRECTORY)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(File::from(rustix::fs::openat(&self.0, name, flags, Mode::empty())?)))
    }

    /// Makes a file in it.
    ///
    /// # Errors
    /// The name is no plain one, there is such a file, or the system refuses.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut file = self.file(name)?;
        file.write_all(content)?;
        file.sync_all()
    }

    /// Makes an empty file in it, to be written.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn file(&self, name: &str) -> io::Result<File> {
        is_plain(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.0, name, flags, FILE_MODE)?))
    }
}

/// Whether a name stands for something in a directory itself.
fn is_plain(name: &str) -> io::Result<()> {
    if Path::new(name).file_name().map(OsString::from) == Some(name.into()) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file's name"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_is_new_and_its_files_are() {
        let there = tempfile::tempdir().unwrap();
        let path = there.path().join("report");
        let folder = Folder::make(&path).unwrap();
        folder.write("a.json", b"1").unwrap();
        assert_eq!((mode(&path), mode(&path.join("a.json"))), (0o700, 0o600));
        let victim = there.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        symlink(&victim, path.join("b.json")).unwrap();
        symlink(there.path().join("nothing"), path.join("c.json")).unwrap();
        for name in ["a.json", "b.json", "c.json", "../d.json", "", ".", "..", "e/f", "/g"] {
            assert!(folder.write(name, b"2").is_err(), "{name:?}");
        }
        for name in ["a.json", "c.json", "../d.json", "", ".", ".."] {
            assert!(folder.folder(name).is_err(), "{name:?}");
        }
        folder.folder("within").unwrap().write("a.json", b"1").unwrap();
        assert_eq!(mode(&path.join("within")), 0o700);
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
        assert!(!there.path().join("nothing").exists() && !there.path().join("d.json").exists());
        // The path leads elsewhere meanwhile: nothing is written there.
        let moved = there.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        symlink(there.path(), &path).unwrap();
        folder.write("h.json", b"3").unwrap();
        assert!(moved.join("h.json").exists() && !there.path().join("h.json").exists());
        assert!(Folder::make(&path).is_err(), "a link is no new directory");
    }

    #[test]
    fn a_file_is_replaced_and_not_written_through() {
        let there = tempfile::tempdir().unwrap();
        let (path, victim) = (there.path().join("file"), there.path().join("victim"));
        replace(&path, "one").unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, "two").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("two", 0o644));
        fs::write(&victim, "mine").unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&victim, &path).unwrap();
        replace(&path, "three").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 2, "nothing is left aside");
    }
}

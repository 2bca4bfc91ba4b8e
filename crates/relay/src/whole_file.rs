//! Writes files whole: under a name that cannot be guessed or be taken before, then renamed. A symbolic link in the way is replaced
//! and never followed, so that a directory that others can write to makes the relay change no other file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use data_encoding::BASE32_NOPAD;
use rustix::fs::OFlags;

/// Random bytes in a temporary name, as in a file name of 16 letters.
const NAME_BYTES: usize = 10;

/// The owner alone.
pub const PRIVATE: u32 = 0o600;

/// Others may read it, as far as the process's umask lets them.
pub const READABLE: u32 = 0o644;

/// Writes a file in place of one that may be there. A reader sees the old one or all of the new one; what is written is on the
/// disk before it has its name.
///
/// # Errors
/// What the system says. The old file is as it was.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let temporary = beside(path)?;
    let written = create_new(&temporary, mode).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // It is only part of what was to be done, and may not even be there.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A file that was not there before: neither one that is there already is opened, nor what a link points to.
///
/// # Errors
/// What the system says; `AlreadyExists` for any of those.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options.open(path)
}

/// `PATH.` and 16 random letters.
///
/// # Errors
/// The system has no randomness.
pub fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut bytes = [0; NAME_BYTES];
    getrandom::fill(&mut bytes)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase());
    Ok(PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        for text in ["one\n", "two\n"] {
            write(&path, text.as_bytes(), PRIVATE).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert!(write(&folder.path().join("no/ready"), b"x", PRIVATE).is_err());
        fs::create_dir(folder.path().join("directory")).unwrap();
        fs::write(folder.path().join("directory/full"), "").unwrap();
        assert!(write(&folder.path().join("directory"), b"x", PRIVATE).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left of what failed");
    }

    #[test]
    fn no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("ready"), folder.path().join("victim"));
        fs::write(&victim, "something that matters").unwrap();
        symlink(&victim, &path).unwrap();
        assert_eq!(create_new(&path, PRIVATE).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        write(&path, b"new", PRIVATE).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "something that matters");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_ne!(beside(&path).unwrap(), beside(&path).unwrap());
    }
}

//! A file that is to be sent, as it lies on the disk: whether it can be sent, and whether it is still the one that it was.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use kuvert_protocol::attachment::CHUNK_BYTES;
use kuvert_types::limits::{MAX_ATTACHMENTS, MAX_FILE_BYTES};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use crate::state::UploadRow;

/// What tells a file from another one without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Marks {
    pub size: u64,
    /// Nanoseconds since 1970.
    pub changed_at: i64,
    pub inode: u64,
    pub device: u64,
}

impl Marks {
    fn of(file: &File) -> io::Result<Self> {
        let seen = file.metadata()?;
        let changed_at = seen.mtime().saturating_mul(1_000_000_000).saturating_add(seen.mtime_nsec());
        Ok(Self { size: seen.len(), changed_at, inode: seen.ino(), device: seen.dev() })
    }

    /// Whether the file at a path has them.
    pub fn are_of(&self, path: &Path) -> bool {
        open(path).and_then(|file| Self::of(&file)).is_ok_and(|now| now == *self)
    }

    /// As they were noted.
    pub const fn noted(row: &UploadRow) -> Self {
        Self { size: row.size, changed_at: row.changed_at, inode: row.inode, device: row.device }
    }
}

/// What a file holds: SHA-256 of all of it, and of each piece of it that is encrypted as one.
pub(crate) struct Content {
    pub marks: Marks,
    pub whole: [u8; 32],
    /// At most 1 MiB: a file has at most 2^15 pieces.
    pub pieces: Vec<[u8; 32]>,
}

/// Files that this process looked at a moment ago, by the keys drawn for them: the first upload need not read each of them once more. What changed
/// since is noticed by [`Again`].
#[derive(Default)]
pub(crate) struct Looked(Vec<(Vec<u8>, Content)>);

impl Looked {
    /// Keeps what a file holds, of as many files as one message has.
    pub fn keep(&mut self, key: Vec<u8>, content: Content) {
        if self.0.len() >= MAX_ATTACHMENTS {
            self.0.remove(0);
        }
        self.0.push((key, content));
    }

    /// What the file under a key held. Once: a second upload looks for itself.
    pub fn take(&mut self, key: &[u8]) -> Option<Content> {
        let at = self.0.iter().position(|(kept, _)| kept == key)?;
        Some(self.0.remove(at).1)
    }
}

/// Opens a file to be sent. What is no file is not waited for.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let seen = file.metadata()?;
    if seen.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    if !seen.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    Ok(file)
}

/// Reads a file from its beginning to its end.
pub(super) fn read(path: &Path) -> io::Result<Content> {
    let mut file = open(path)?;
    let marks = Marks::of(&file)?;
    if marks.size > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has 2 GiB or more"));
    }
    let (mut whole, mut pieces, mut left) = (Sha256::new(), Vec::new(), marks.size);
    let mut buffer = vec![0; CHUNK_BYTES];
    while left > 0 {
        let piece = &mut buffer[..usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES))];
        file.read_exact(piece).map_err(shorter)?;
        whole.update(&*piece);
        pieces.push(Sha256::digest(&*piece).into());
        left -= piece.len() as u64;
    }
    if Marks::of(&file)? != marks {
        return Err(changed());
    }
    Ok(Content { marks, whole: whole.finalize().into(), pieces })
}

/// A file that is read once more: each piece is compared with what was read before, ere anything of it is encrypted [KV-110].
pub(super) struct Again {
    file: File,
    pieces: std::vec::IntoIter<[u8; 32]>,
}

impl Again {
    /// From the beginning of a file that was [`read`].
    pub fn open(path: &Path, content: Content) -> io::Result<Self> {
        let file = open(path)?;
        if Marks::of(&file)? != content.marks {
            return Err(changed());
        }
        Ok(Self { file, pieces: content.pieces.into_iter() })
    }

    /// The next piece, which fills the buffer.
    pub fn next(&mut self, piece: &mut [u8]) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        self.file.read_exact(piece).map_err(shorter)?;
        let digest: [u8; 32] = Sha256::digest(&*piece).into();
        if self.pieces.next() == Some(digest) { Ok(()) } else { Err(changed()) }
    }
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it changes")
}

fn shorter(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { changed() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(open(dir.path()).unwrap_err().to_string(), "it is a directory");
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(open(&pipe).unwrap_err().to_string(), "it is no file");
        assert_eq!(open(&dir.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_was_looked_at_is_told_once_and_of_so_many_files_as_a_message_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, b"hello").unwrap();
        let mut looked = Looked::default();
        for number in 0..=MAX_ATTACHMENTS as u8 {
            looked.keep(vec![number], read(&path).unwrap());
        }
        assert!(looked.take(&[0]).is_none(), "the oldest was let go of");
        let content = looked.take(&[1]).unwrap();
        assert!(content.marks.are_of(&path) && looked.take(&[1]).is_none());
        std::fs::write(&path, b"hello!").unwrap();
        assert!(!content.marks.are_of(&path));
        assert!(!content.marks.are_of(dir.path()));
    }

    #[test]
    fn a_byte_that_changes_between_two_readings_is_noticed_before_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut bytes = vec![7; 2 * CHUNK_BYTES + 10];
        std::fs::write(&path, &bytes).unwrap();
        let content = read(&path).unwrap();
        assert_eq!((content.marks.size, content.pieces.len()), (bytes.len() as u64, 3));
        let mut again = Again::open(&path, content).unwrap();
        let mut piece = vec![0; CHUNK_BYTES];
        again.next(&mut piece).unwrap();
        bytes[CHUNK_BYTES + 5] = 8;
        // In place: the same inode, also where the clock of the file system stands still.
        io::Write::write_all(&mut OpenOptions::new().write(true).open(&path).unwrap(), &bytes).unwrap();
        assert_eq!(again.next(&mut piece).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

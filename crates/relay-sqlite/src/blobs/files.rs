//! The directory of files: `DATA/blobs/`, a file for each blob, named by the blob's id in hexadecimal.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use kuvert_types::BlobId;
use rustix::fs::OFlags;

/// Name of the directory within the data directory.
pub const DIRECTORY: &str = "blobs";

/// The directory.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The one of a data directory; made if it is not there, for its owner alone.
    pub fn prepare(data: &Path) -> io::Result<Self> {
        let path = data.join(DIRECTORY);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // A link could lead anywhere.
        if !fs::symlink_metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        File::open(data)?.sync_all()?;
        Ok(Self(path))
    }

    /// The directory of a data directory, as it is.
    pub fn of(data: &Path) -> Self {
        Self(data.join(DIRECTORY))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file of a blob.
    pub fn file(&self, id: &BlobId) -> PathBuf {
        self.0.join(HEXLOWER.encode(id.as_bytes()))
    }

    /// Opens a blob's file to write; makes it if there is none yet.
    pub fn open_to_write(&self, id: &BlobId) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(self.file(id))
    }

    /// Opens a blob's file to read.
    pub fn open_to_read(&self, id: &BlobId) -> io::Result<File> {
        OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(self.file(id))
    }

    /// Makes the names in it durable.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    /// Removes a blob's file, if there is one.
    pub fn remove(&self, id: &BlobId) -> io::Result<()> {
        match fs::remove_file(self.file(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Bytes of a blob's file; `None`: there is none.
    pub fn len(&self, id: &BlobId) -> io::Result<Option<u64>> {
        match fs::symlink_metadata(self.file(id)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The blobs that have a file. What has another name is not ours, and stays.
    pub fn list(&self) -> io::Result<Vec<BlobId>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let bytes = HEXLOWER.decode(name.as_encoded_bytes());
            found.extend(bytes.ok().and_then(|bytes| BlobId::try_from(bytes.as_slice()).ok()));
        }
        Ok(found)
    }
}

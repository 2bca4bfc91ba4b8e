//! A directory that all relays share: on NFS, say, or on the one machine that all of them are on.
//!
//! A file gets its name before it is whole. That is no harm: nothing refers to it until it is on the disk, names are never used for
//! something else, and what an end in the middle leaves is found when objects are compared with rows.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kuvert_relay::whole_file;
use kuvert_relay::young::{Disk, FileSystem};
use rustix::fs::OFlags;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::name::{self, FOLDERS};
use super::{ObjectError, Objects, Work};

/// Reads and writes that are under way at once: mail finds the disk and the threads for blocking work free.
const WORKERS: usize = 4;

/// How long one may take, with the wait for its turn. A network's file system that is away keeps a thread for longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The directory.
#[derive(Clone, Debug)]
pub struct SharedDirectory {
    path: PathBuf,
    workers: Arc<Semaphore>,
}

/// What an error of the system's means.
fn error(error: &io::Error) -> ObjectError {
    match error.kind() {
        // One that is shorter than it was is not what was written.
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => ObjectError::Missing,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ObjectError::Full,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
            ObjectError::Refused(error.kind().to_string())
        }
        kind => ObjectError::Away(kind.to_string()),
    }
}

impl SharedDirectory {
    /// A directory that is there already: one that is made anew where a network's file system is not mounted would take files to the
    /// wrong place. Makes the folders in it. Blocks.
    ///
    /// # Errors
    /// It is not there, or cannot be written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        for number in 0..FOLDERS {
            match DirBuilder::new().mode(0o700).create(path.join(name::folder(number))) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        File::open(&path)?.sync_all()?;
        Ok(Self { path, workers: Arc::new(Semaphore::new(WORKERS)) })
    }

    /// Work with files, where it may block.
    fn work<T: Send + 'static>(&self, work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static) -> Work<T> {
        let Self { path, workers } = self.clone();
        Box::pin(async move {
            let late = |_| ObjectError::Away("too late".into());
            let stopped = || ObjectError::Away("the relay stops".into());
            let done = timeout(PATIENCE, async {
                let place = workers.acquire_owned().await.map_err(|_| stopped())?;
                let done = tokio::task::spawn_blocking(move || {
                    let done = work(&path);
                    drop(place);
                    done
                });
                done.await.map_err(|_| stopped())
            });
            done.await.map_err(late)??.map_err(|failed| error(&failed))
        })
    }
}

impl Objects for SharedDirectory {
    fn put(&self, name: &str, bytes: Bytes) -> Work<()> {
        let name = name.to_owned();
        self.work(move |path| {
            let path = path.join(name);
            if path.file_name().is_some_and(|file| file == name::MARK) {
                // Read by others while it is written.
                whole_file::write(&path, &bytes, whole_file::PRIVATE)?;
            } else {
                let mut options = OpenOptions::new();
                options
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(whole_file::PRIVATE)
                    .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
                let mut file = options.open(&path)?;
                file.write_all(&bytes)?;
                file.sync_all()?;
            }
            // Its name.
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        })
    }

    fn get(&self, name: &str, range: Range<u64>) -> Work<Bytes> {
        let name = name.to_owned();
        self.work(move |path| {
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(path.join(name))?;
            let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(bytes.into())
        })
    }

    fn delete(&self, name: &str) -> Work<()> {
        let name = name.to_owned();
        self.work(move |path| match fs::remove_file(path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    fn list(&self, folder: &str) -> Work<Vec<(String, u64)>> {
        let folder = folder.to_owned();
        self.work(move |path| {
            let mut found = Vec::new();
            for entry in fs::read_dir(path.join(&folder))? {
                let entry = entry?;
                match entry.metadata() {
                    Ok(metadata) if metadata.is_file() => {
                        found.push((format!("{folder}/{}", entry.file_name().to_string_lossy()), metadata.len()));
                    }
                    // It went meanwhile.
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(found)
        })
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(FileSystem::of(&self.path))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

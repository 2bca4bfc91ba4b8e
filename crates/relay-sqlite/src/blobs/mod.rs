//! Blobs in the data directory: rows in `DATA/blobs.db`, bytes in a file for each below `DATA/blobs/`.
//!
//! ```text
//! a stream ──► Upload ──► file (ChaCha20 under the row's key) ──fdatasync──► rows: durable ──commit (fsync)──► "so many bytes"
//! last done ─► rows: key overwritten, rows deleted ──commit──► log emptied into the file ──► file removed
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `schema` | tables, versions, what SQLite does about erased keys |
//! | `rows` | the statements |
//! | `files` | the directory of files |
//! | `cipher` | the encryption whose key is erased |
//! | `open` | blobs that are open: who writes, and what was erased under a reader |
//! | [`look`] | what there is, for `inspect`, reports and backups |
//!
//! # What is first
//! A row comes before its file, and goes before it. So a file without a row was being deleted, and its key is gone already; a row
//! whose file is not there, or lacks what it promises, is of a damaged disk. [`collect`](BlobStore::collect) removes both.
//!
//! # Threads
//! Statements wait for one place, reading and writing of files for two: however many transfers there are, mail finds the disk and
//! the threads for blocking work free.

mod cipher;
pub mod files;
pub mod look;
mod open;
mod rows;
mod schema;

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kuvert_privacy::registry::Mismatch;
use kuvert_relay::blobs::room::Share;
use kuvert_relay::blobs::store::{
    BlobError, BlobGauges, BlobState, BlobStore, Collected, Download, Expired, Left, NewBlob, Step, Upload, UploadKey,
};
use kuvert_relay::store::{StoreError, Unavailable};
use kuvert_types::{AccountId, BlobHash, BlobId};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::Semaphore;

use self::cipher::RowKey;
use self::files::Directory;
use self::open::Opened;
use crate::store::store_error;

/// Name of the database within the data directory.
pub const BLOBS_FILE: &str = "blobs.db";

/// Reads and writes of files that are under way at once.
const DISK_WORKERS: usize = 2;

/// Blobs that are erased in one transaction when their time is over.
const EXPIRE_AT_ONCE: usize = 256;

/// Why the blobs cannot be opened. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BlobsError {
    /// SQLite cannot read or write it.
    #[error("cannot open {}: {error}. Check its permissions and the disk, or restore it from a backup", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// The operating system refused.
    #[error("cannot open {}: {error}. Check its permissions and the disk", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// Not a relay's.
    #[error("{} is not a Kuvert relay's database: choose another data directory", .0.display())]
    Foreign(PathBuf),
    /// By a later version of this program.
    #[error("{} has format {found}, this program knows up to {}: use a newer program", path.display(), schema::VERSION)]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// Its columns are not those that the registry tells of.
    #[error("{}: {mismatch}", path.display())]
    Unregistered {
        /// The database.
        path: PathBuf,
        /// Which column.
        mismatch: Mismatch,
    },
}

/// Blobs in a data directory that this process has to itself. Cheap to clone.
#[derive(Clone)]
pub struct DirectoryBlobs(Arc<Inner>);

struct Inner {
    rows: Mutex<Connection>,
    directory: Directory,
    opened: Opened,
    /// A place for the statements.
    sql: Semaphore,
    /// Places for the files.
    disk: Semaphore,
    /// Something was erased that may stand in the database's files still, because they could not be brought to rest.
    unscrubbed: AtomicBool,
}

impl fmt::Debug for DirectoryBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryBlobs").finish_non_exhaustive()
    }
}

/// What an error of the system's means.
fn io_error(error: &io::Error) -> BlobError {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
    let reason = if full.contains(&error.kind()) { Unavailable::DiskFull } else { Unavailable::Io(error.to_string()) };
    BlobError::Store(reason.into())
}

fn sql_error(error: &rusqlite::Error) -> BlobError {
    BlobError::Store(store_error(error))
}

/// The work ended without an answer: it panicked, which has been printed, or the relay stops.
fn lost() -> BlobError {
    BlobError::Store(StoreError::Unknown("the worker of blobs ended".into()))
}

impl DirectoryBlobs {
    /// Opens or makes the blobs of a data directory, whose store is open. Blocks.
    ///
    /// # Errors
    /// See [`BlobsError`].
    pub fn open(data: &Path) -> Result<Self, BlobsError> {
        let path = data.join(BLOBS_FILE);
        let io = |path: &Path, error| BlobsError::Io { path: path.to_owned(), error };
        // SQLite gives its other files the mode of this one.
        let made = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        made.map_err(|error| io(&path, error))?;
        let directory = Directory::prepare(data).map_err(|error| io(&data.join(files::DIRECTORY), error))?;
        let connection = schema::open(&path)?;
        let inner = Inner {
            rows: Mutex::new(connection),
            directory,
            opened: Opened::default(),
            sql: Semaphore::new(1),
            disk: Semaphore::new(DISK_WORKERS),
            // What an end in the middle left is not known.
            unscrubbed: AtomicBool::new(true),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Work with the rows, where it may block. Once it has begun it finishes.
    fn with_rows<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &mut Connection) -> Result<T, BlobError> + Send + 'static,
    ) -> Step<T> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let place = inner.sql.acquire().await.map_err(|_| stopped())?;
            let begun = {
                let inner = Arc::clone(&inner);
                tokio::task::spawn_blocking(move || {
                    // A panic in another holder rolled its transaction back.
                    let mut rows = inner.rows.lock().unwrap_or_else(PoisonError::into_inner);
                    work(&inner, &mut rows)
                })
            };
            let done = begun.await;
            drop(place);
            done.map_err(|_| lost())?
        })
    }

    /// Work with a file, where it may block. Once it has begun it finishes.
    fn with_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, BlobError> + Send + 'static,
    ) -> Step<T> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let place = inner.disk.acquire().await.map_err(|_| stopped())?;
            let begun = {
                let inner = Arc::clone(&inner);
                tokio::task::spawn_blocking(move || work(&inner))
            };
            let done = begun.await;
            drop(place);
            done.map_err(|_| lost())?
        })
    }
}

fn stopped() -> BlobError {
    BlobError::Store(Unavailable::Stopped.into())
}

/// One transaction, durable when this returns: all of it or nothing.
fn transact<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, BlobError>,
) -> Result<T, BlobError> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| sql_error(&error))?;
    let value = work(&transaction)?;
    transaction.commit().map_err(|error| sql_error(&error))?;
    Ok(value)
}

/// A step of a transaction.
fn sql<T>(result: rusqlite::Result<T>) -> Result<T, BlobError> {
    result.map_err(|error| sql_error(&error))
}

impl Inner {
    /// Erases blobs: the transaction deletes their rows, then no stream goes on with them, then their files go. What fails after the
    /// commit is done by [`BlobStore::collect`]; the keys are gone.
    fn erase(&self, rows: &mut Connection, ids: &[BlobId]) -> Result<(), BlobError> {
        if ids.is_empty() {
            return Ok(());
        }
        transact(rows, |tx| ids.iter().try_for_each(|id| sql(rows::erase(tx, id))))?;
        self.erased(rows, ids);
        Ok(())
    }

    /// [KV-128] After the commit that erased the rows.
    fn erased(&self, rows: &Connection, ids: &[BlobId]) {
        ids.iter().for_each(|id| self.opened.end(id));
        self.unscrubbed.store(true, Ordering::Relaxed);
        self.scrub(rows);
        for id in ids {
            if let Err(error) = self.directory.remove(id) {
                tracing::warn!(%error, "the file of a blob that is gone cannot be removed; trying again within an hour");
            }
        }
    }

    /// Empties the log, so that no erased key stands in it.
    fn scrub(&self, rows: &Connection) {
        if !self.unscrubbed.load(Ordering::Relaxed) {
            return;
        }
        match schema::empty_log(rows) {
            Ok(true) => self.unscrubbed.store(false, Ordering::Relaxed),
            Ok(false) => tracing::debug!("another process reads the blobs' database: its log is emptied later"),
            Err(error) => tracing::warn!(%error, "the log of the blobs' database cannot be emptied"),
        }
    }

    /// Writes the database anew, without what deleted rows and moved keys left in its pages.
    fn rewrite(&self, rows: &mut Connection) -> Result<(), BlobError> {
        self.unscrubbed.store(true, Ordering::Relaxed);
        transact(rows, |tx| sql(rows::drop_erased_slots(tx)).map(drop))?;
        sql(rows.execute_batch("VACUUM"))?;
        self.scrub(rows);
        Ok(())
    }
}

impl BlobStore for DirectoryBlobs {
    fn create(&self, blob: NewBlob, share: Share) -> Step<()> {
        self.with_rows(move |_, rows| {
            let key = RowKey::random().map_err(|error| io_error(&error))?;
            transact(rows, |tx| {
                let usage = sql(rows::usage(tx, &blob.account))?;
                share.admit(&usage, kuvert_relay::blobs::room::charge(blob.size, blob.readers.len()))?;
                sql(rows::insert(tx, &blob, &key))
            })
        })
    }

    fn append(&self, key: UploadKey) -> Step<(Box<dyn Upload>, BlobState)> {
        let this = self.clone();
        let opened = self.with_rows(move |inner, rows| {
            let found = sql(rows::by_token(rows, &key))?.ok_or(BlobError::Unknown)?;
            if found.state.committed {
                return Err(BlobError::Committed);
            }
            let row_key = sql(rows::key(rows, &found))?;
            // With the place for statements held, so that it cannot be erased before it is known here.
            Ok((inner.opened.begin(key.id), row_key, found.state))
        });
        Box::pin(async move {
            let (blob, row_key, state) = opened.await?;
            let writing = Arc::clone(&blob);
            let at = this
                .with_disk(move |inner| {
                    // Waits for what the stream before is writing, and takes the upload from it.
                    writing.take_over(|| inner.directory.open_to_write(&key.id), row_key, state)
                })
                .await?;
            let state = BlobState { durable: at.durable, ..state };
            Ok((Box::new(Appending { store: this, id: key.id, blob, turn: at.turn }) as Box<dyn Upload>, state))
        })
    }

    fn status(&self, key: UploadKey) -> Step<BlobState> {
        self.with_rows(move |_, rows| Ok(sql(rows::by_token(rows, &key))?.ok_or(BlobError::Unknown)?.state))
    }

    fn commit(&self, key: UploadKey, now: u64) -> Step<()> {
        self.with_rows(move |inner, rows| {
            let state = sql(rows::by_token(rows, &key))?.ok_or(BlobError::Unknown)?.state;
            if state.committed {
                return Ok(());
            }
            if state.durable < state.size {
                return Err(BlobError::Offset);
            }
            // Its bytes are on the disk; now its name.
            inner.directory.sync().map_err(|error| io_error(&error))?;
            transact(rows, |tx| sql(rows::set_committed(tx, &key.id, now)))?;
            inner.opened.close(&key.id);
            Ok(())
        })
    }

    fn discard(&self, key: UploadKey, readers: Vec<BlobHash>) -> Step<()> {
        self.with_rows(move |inner, rows| {
            sql(rows::by_token(rows, &key))?.ok_or(BlobError::Unknown)?;
            if readers.is_empty() {
                return inner.erase(rows, &[key.id]);
            }
            let left = transact(rows, |tx| {
                let each = readers.iter().map(|reader| rows::remove_reader(tx, &key.id, reader));
                sql(each.collect::<Result<Vec<_>, _>>())
            })?;
            if left.contains(&Left::Nothing) {
                inner.erased(rows, &[key.id]);
            }
            Ok(())
        })
    }

    fn read(&self, id: BlobId, capability: BlobHash) -> Step<(Box<dyn Download>, BlobState)> {
        let this = self.clone();
        let opened = self.with_rows(move |inner, rows| {
            let found = sql(rows::by_capability(rows, &id, &capability))?.ok_or(BlobError::Unknown)?;
            if !found.state.committed {
                return Err(BlobError::NotCommitted);
            }
            Ok((inner.opened.begin(id), sql(rows::key(rows, &found))?, found.state))
        });
        Box::pin(async move {
            let (blob, row_key, state) = opened.await?;
            let file = this
                .with_disk(move |inner| inner.directory.open_to_read(&id).map_err(|error| io_error(&error)))
                .await?;
            let download = Reading { store: this, blob, file: Arc::new(file), key: row_key, size: state.size };
            Ok((Box::new(download) as Box<dyn Download>, state))
        })
    }

    fn done(&self, id: BlobId, capability: BlobHash) -> Step<Left> {
        self.with_rows(move |inner, rows| {
            let found = sql(rows::by_capability(rows, &id, &capability))?.ok_or(BlobError::Unknown)?;
            if !found.state.committed {
                return Err(BlobError::NotCommitted);
            }
            if found.shared {
                return Ok(Left::Shared);
            }
            let left = transact(rows, |tx| sql(rows::remove_reader(tx, &id, &capability)))?;
            if left == Left::Nothing {
                inner.erased(rows, &[id]);
            }
            Ok(left)
        })
    }

    fn delete_account(&self, account: AccountId) -> Step<u64> {
        self.with_rows(move |inner, rows| {
            let ids = transact(rows, |tx| sql(rows::of_account(tx, &account)))?;
            if !ids.is_empty() {
                inner.erase(rows, &ids)?;
                // The account's id is not to stay in what SQLite left of the rows.
                inner.rewrite(rows)?;
            }
            Ok(ids.len() as u64)
        })
    }

    fn expire(&self, uploads_before: u64, committed_before: u64) -> Step<Expired> {
        let this = self.clone();
        Box::pin(async move {
            let mut expired = Expired::default();
            loop {
                let slice = this.with_rows(move |inner, rows| {
                    let uploads = transact(rows, |tx| sql(rows::old_uploads(tx, uploads_before, EXPIRE_AT_ONCE)))?;
                    let blobs = transact(rows, |tx| sql(rows::old_blobs(tx, committed_before, EXPIRE_AT_ONCE)))?;
                    inner.erase(rows, &[&uploads[..], &blobs[..]].concat())?;
                    inner.scrub(rows);
                    Ok((uploads.len(), blobs.len()))
                });
                let (uploads, blobs) = slice.await?;
                expired.uploads += uploads as u64;
                expired.blobs += blobs as u64;
                if uploads < EXPIRE_AT_ONCE && blobs < EXPIRE_AT_ONCE {
                    return Ok(expired);
                }
            }
        })
    }

    fn collect(&self) -> Step<Collected> {
        self.with_rows(|inner, rows| {
            let mut collected = Collected::default();
            let io = |error: io::Error| io_error(&error);
            // Files first: a row is there before its file, so a file without one is left over from a deletion.
            for id in inner.directory.list().map_err(io)? {
                if !sql(rows::exists(rows, &id))? {
                    inner.directory.remove(&id).map_err(io)?;
                    collected.files += 1;
                }
            }
            let mut broken = Vec::new();
            for (id, durable) in sql(rows::promised(rows))? {
                // An upload of which nothing is promised may have no file yet.
                if durable > 0 && inner.directory.len(&id).map_err(io)?.is_none_or(|len| len < durable) {
                    broken.push(id);
                }
            }
            collected.rows = broken.len() as u64;
            inner.erase(rows, &broken)?;
            inner.rewrite(rows)?;
            Ok(collected)
        })
    }

    fn gauges(&self) -> Step<BlobGauges> {
        self.with_rows(|_, rows| sql(rows::gauges(rows)))
    }

    fn close(&self) -> Step<()> {
        self.with_rows(|inner, rows| {
            inner.unscrubbed.store(true, Ordering::Relaxed);
            inner.scrub(rows);
            // What comes later is refused.
            inner.sql.close();
            inner.disk.close();
            Ok(())
        })
    }
}

/// An upload that one stream goes on with.
struct Appending {
    store: DirectoryBlobs,
    id: BlobId,
    blob: Arc<open::Blob>,
    /// Which of the streams that went on with it this is.
    turn: u64,
}

impl Upload for Appending {
    fn write(&self, offset: u64, pieces: Vec<Bytes>) -> Step<()> {
        let (blob, turn) = (Arc::clone(&self.blob), self.turn);
        self.store.with_disk(move |_| blob.writing(turn, |writing| writing.write(offset, &pieces)))
    }

    fn sync(&self) -> Step<u64> {
        let (store, id, blob, turn) = (self.store.clone(), self.id, Arc::clone(&self.blob), self.turn);
        Box::pin(async move {
            let synced = Arc::clone(&blob);
            let durable = store
                .with_disk(move |_| {
                    let (file, written) = synced.writing(turn, |writing| Ok(writing.to_sync()))?;
                    // Without the lock: the next bytes are written meanwhile.
                    file.sync_data().map_err(|error| io_error(&error))?;
                    Ok(written)
                })
                .await?;
            let noted = Arc::clone(&blob);
            store
                .with_rows(move |_, rows| {
                    // What another stream has overwritten meanwhile is not promised.
                    noted.writing(turn, |_| Ok(()))?;
                    transact(rows, |tx| sql(rows::set_durable(tx, &id, durable)))?;
                    noted.writing(turn, |writing| {
                        writing.note_durable(durable);
                        Ok(durable)
                    })
                })
                .await
        })
    }
}

/// A blob that one stream reads.
struct Reading {
    store: DirectoryBlobs,
    blob: Arc<open::Blob>,
    file: Arc<std::fs::File>,
    key: RowKey,
    size: u64,
}

impl Download for Reading {
    fn read(&self, offset: u64, length: usize) -> Step<Bytes> {
        let (blob, file, key) = (Arc::clone(&self.blob), Arc::clone(&self.file), self.key.clone());
        // At most `length`.
        let length = (self.size.saturating_sub(offset)).min(length as u64) as usize;
        self.store.with_disk(move |_| {
            blob.must_be_there()?;
            let mut bytes = vec![0; length];
            std::os::unix::fs::FileExt::read_exact_at(&*file, &mut bytes, offset).map_err(|error| io_error(&error))?;
            key.apply(offset, &mut bytes).map_err(|error| io_error(&error))?;
            // It may have been erased while this was read.
            blob.must_be_there()?;
            Ok(bytes.into())
        })
    }
}

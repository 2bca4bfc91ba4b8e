//! What keeps blobs, behind a trait. A backend on one machine has a directory of files.
//!
//! An operation begins when its future is first polled. Once it has begun it finishes, whether or not it is waited for. `Ok` is
//! durable unless said otherwise. The store reads no clock: times are arguments in Unix milliseconds.
//!
//! # Erasure
//! When [`BlobStore::done`] of the last reader, [`BlobStore::discard`], [`BlobStore::expire`] or [`BlobStore::delete_account`] has
//! answered, no byte of the blob can be read any more: not from the backend, and not from its files, which are encrypted once more
//! under a key of the blob's that is erased. Transfers under way end with [`BlobError::Unknown`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use kuvert_types::{AccountId, BlobHash, BlobId};

use super::room::{NoRoom, Share};
use crate::store::StoreError;

/// An operation of a blob store.
pub type Step<T> = Pin<Box<dyn Future<Output = Result<T, BlobError>> + Send>>;

/// Why an operation is not done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BlobError {
    /// No such blob, of another account, under another token or capability; gone.
    #[error("no such blob")]
    Unknown,
    /// The capability is right, and the upload is not committed yet.
    #[error("the blob is not there yet")]
    NotCommitted,
    /// It is committed: nothing can be appended.
    #[error("the blob is complete")]
    Committed,
    /// Not where the bytes before ended, beyond the size, or before all of it came.
    #[error("not the next bytes of the blob")]
    Offset,
    /// A later [`BlobStore::append`] goes on with the upload.
    #[error("another stream goes on with this upload")]
    TakenOver,
    /// There is no room for it.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A blob to come.
#[derive(Clone, PartialEq, Eq)]
pub struct NewBlob {
    /// Its name, drawn at random.
    pub id: BlobId,
    /// Who uploads it.
    pub account: AccountId,
    /// What the token of the upload hashes to.
    pub token: BlobHash,
    /// Its bytes, at least 1.
    pub size: u64,
    /// What the readers' capabilities hash to: at least one, and no two alike.
    pub readers: Vec<BlobHash>,
    /// Whether its one capability is one for all.
    pub shared: bool,
    /// When.
    pub created_at: u64,
}

impl fmt::Debug for NewBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewBlob")
            .field("size", &self.size)
            .field("readers", &self.readers.len())
            .finish_non_exhaustive()
    }
}

/// What an account's device shows to go on with an upload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UploadKey {
    /// The blob.
    pub id: BlobId,
    /// The account of the device.
    pub account: AccountId,
    /// The hash of the token.
    pub token: BlobHash,
}

impl fmt::Debug for UploadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UploadKey(…)")
    }
}

/// How far a blob is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobState {
    /// Its bytes.
    pub size: u64,
    /// Those on the disk, from the first on.
    pub durable: u64,
    /// Whether it can be read.
    pub committed: bool,
}

/// What a reader that has all of a blob left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// It was the last: the blob is gone.
    Nothing,
    /// Other readers, for whom it stays.
    Readers,
    /// A blob whose one capability is one for all: it stays as it is.
    Shared,
}

/// What had its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Expired {
    /// Uploads that were never committed.
    pub uploads: u64,
    /// Blobs.
    pub blobs: u64,
}

/// What a look at rows and files put right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Collected {
    /// Files without a row: what was interrupted while it was deleted.
    pub files: u64,
    /// Rows without a file, or with one that lacks what was promised: a damaged disk, or files that were not restored.
    pub rows: u64,
}

/// What there is, for monitoring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlobGauges {
    /// Blobs that can be read.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Uploads under way, or interrupted.
    pub uploads: u64,
}

/// Keeps blobs.
pub trait BlobStore: Send + Sync + fmt::Debug + 'static {
    /// Begins an upload, if the account's share admits it in this very step.
    ///
    /// # Errors
    /// [`BlobError::NoRoom`], [`BlobError::Store`].
    fn create(&self, blob: NewBlob, share: Share) -> Step<()>;

    /// Goes on with an upload; what goes on with it already is [taken over](BlobError::TakenOver). `durable` of the answer is
    /// where the next bytes belong.
    ///
    /// # Errors
    /// [`BlobError::Unknown`], [`BlobError::Committed`], [`BlobError::Store`].
    fn append(&self, key: UploadKey) -> Step<(Box<dyn Upload>, BlobState)>;

    /// How far an upload is.
    ///
    /// # Errors
    /// [`BlobError::Unknown`], [`BlobError::Store`].
    fn status(&self, key: UploadKey) -> Step<BlobState>;

    /// From now on it can be read. Again: no error.
    ///
    /// # Errors
    /// [`BlobError::Unknown`]; [`BlobError::Offset`] before all of it is durable; [`BlobError::Store`].
    fn commit(&self, key: UploadKey, now: u64) -> Step<()>;

    /// Erases an upload or a blob; or, where `readers` are given, takes their capabilities off, and erases it if no other is left.
    ///
    /// # Errors
    /// [`BlobError::Unknown`], [`BlobError::Store`].
    fn discard(&self, key: UploadKey, readers: Vec<BlobHash>) -> Step<()>;

    /// Opens a blob for a reader.
    ///
    /// # Errors
    /// [`BlobError::Unknown`], [`BlobError::NotCommitted`], [`BlobError::Store`].
    fn read(&self, id: BlobId, capability: BlobHash) -> Step<(Box<dyn Download>, BlobState)>;

    /// A reader has all of it: removes its capability, and erases the blob if no other is left. One for all stays as it is.
    ///
    /// # Errors
    /// [`BlobError::Unknown`], [`BlobError::NotCommitted`], [`BlobError::Store`].
    fn done(&self, id: BlobId, capability: BlobHash) -> Step<Left>;

    /// Erases all that an account uploaded, for all readers, and says how many blobs that were.
    ///
    /// # Errors
    /// [`BlobError::Store`].
    fn delete_account(&self, account: AccountId) -> Step<u64>;

    /// Erases uploads that began before a time and were not committed, and blobs that were committed before another.
    ///
    /// # Errors
    /// [`BlobError::Store`].
    fn expire(&self, uploads_before: u64, committed_before: u64) -> Step<Expired>;

    /// Compares rows with files, and deletes what has no other half. Blobs that come and go meanwhile are not touched.
    ///
    /// # Errors
    /// [`BlobError::Store`].
    fn collect(&self) -> Step<Collected>;

    /// What there is.
    ///
    /// # Errors
    /// [`BlobError::Store`].
    fn gauges(&self) -> Step<BlobGauges>;

    /// Finishes what has begun, and brings the files to rest.
    ///
    /// # Errors
    /// [`BlobError::Store`].
    fn close(&self) -> Step<()>;
}

/// An upload that a stream goes on with.
pub trait Upload: Send + Sync {
    /// Writes the next bytes, from `offset` on. Not durable.
    ///
    /// # Errors
    /// [`BlobError::Offset`], [`BlobError::TakenOver`], [`BlobError::Unknown`] once it is erased, [`BlobError::Store`].
    fn write(&self, offset: u64, pieces: Vec<Bytes>) -> Step<()>;

    /// Makes what was written durable, and says how many bytes that are. Bytes may be written meanwhile.
    ///
    /// # Errors
    /// As [`Upload::write`].
    fn sync(&self) -> Step<u64>;
}

/// A blob that a reader has opened.
pub trait Download: Send + Sync {
    /// At most `length` bytes from `offset` on; fewer at the end only.
    ///
    /// # Errors
    /// [`BlobError::Unknown`] once it is erased, [`BlobError::Store`].
    fn read(&self, offset: u64, length: usize) -> Step<Bytes>;
}

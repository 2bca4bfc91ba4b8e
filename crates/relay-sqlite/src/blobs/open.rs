//! Blobs that streams have open. One stream writes an upload: the one that came last. What is erased ends for all of them.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use kuvert_relay::blobs::store::{BlobError, BlobState};
use kuvert_types::BlobId;

use super::cipher::RowKey;
use super::io_error;

/// Those that are open.
#[derive(Debug, Default)]
pub struct Opened(Mutex<HashMap<BlobId, Weak<Blob>>>);

/// One that is open.
#[derive(Debug, Default)]
pub struct Blob {
    erased: AtomicBool,
    committed: AtomicBool,
    writing: Mutex<Option<Writing>>,
}

/// An upload that is open.
#[derive(Debug)]
pub struct Writing {
    file: Arc<File>,
    key: RowKey,
    size: u64,
    /// Bytes that are in the file.
    written: u64,
    /// Bytes that are promised.
    durable: u64,
    /// How many streams have had it: the last one goes on with it.
    turn: u64,
}

/// Where a stream takes an upload over.
#[derive(Clone, Copy, Debug)]
pub struct TakenAt {
    /// Where it goes on.
    pub durable: u64,
    /// Its turn.
    pub turn: u64,
}

impl Opened {
    fn lock(&self) -> MutexGuard<'_, HashMap<BlobId, Weak<Blob>>> {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blob, opened if it is not yet.
    pub fn begin(&self, id: BlobId) -> Arc<Blob> {
        let mut opened = self.lock();
        if let Some(blob) = opened.get(&id).and_then(Weak::upgrade) {
            return blob;
        }
        // Few are open at once: those that no stream has any more go here.
        opened.retain(|_, blob| blob.strong_count() > 0);
        let blob = Arc::new(Blob::default());
        opened.insert(id, Arc::downgrade(&blob));
        blob
    }

    /// The blob was erased: streams that have it end.
    pub fn end(&self, id: &BlobId) {
        if let Some(blob) = self.lock().remove(id).and_then(|blob| blob.upgrade()) {
            blob.erased.store(true, Ordering::Release);
        }
    }

    /// The upload is complete: no stream writes it any more.
    pub fn close(&self, id: &BlobId) {
        let blob = self.lock().get(id).and_then(Weak::upgrade);
        if let Some(blob) = blob {
            let mut writing = blob.lock();
            blob.committed.store(true, Ordering::Release);
            *writing = None;
        }
    }
}

impl Blob {
    fn lock(&self) -> MutexGuard<'_, Option<Writing>> {
        // What a panic left half done was not counted as written.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That it was not erased.
    pub fn must_be_there(&self) -> Result<(), BlobError> {
        if self.erased.load(Ordering::Acquire) { Err(BlobError::Unknown) } else { Ok(()) }
    }

    /// Takes the upload over, or begins it, where what is promised ends: after an end in the middle the file may have more, of which
    /// nothing is known.
    pub fn take_over(
        &self,
        open: impl FnOnce() -> io::Result<File>,
        key: RowKey,
        state: BlobState,
    ) -> Result<TakenAt, BlobError> {
        self.must_be_there()?;
        let mut slot = self.lock();
        // Its rows may have been read before.
        if self.committed.load(Ordering::Acquire) {
            return Err(BlobError::Committed);
        }
        let (turn, durable) = match &*slot {
            // The rows may have been read before the stream until now wrote down more.
            Some(before) => (before.turn + 1, before.durable.max(state.durable)),
            None => (0, state.durable),
        };
        let file = open().map_err(|error| io_error(&error))?;
        *slot = Some(Writing { file: Arc::new(file), key, size: state.size, written: durable, durable, turn });
        Ok(TakenAt { durable, turn })
    }

    /// Work of the stream whose turn it is.
    pub fn writing<T>(
        &self,
        turn: u64,
        work: impl FnOnce(&mut Writing) -> Result<T, BlobError>,
    ) -> Result<T, BlobError> {
        self.must_be_there()?;
        match &mut *self.lock() {
            // Taken away by the commit.
            None => Err(BlobError::Committed),
            Some(writing) if writing.turn != turn => Err(BlobError::TakenOver),
            Some(writing) => work(writing),
        }
    }
}

impl Writing {
    /// Encrypts and writes the next bytes.
    pub fn write(&mut self, offset: u64, pieces: &[Bytes]) -> Result<(), BlobError> {
        let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if offset != self.written || length > self.size - self.written {
            return Err(BlobError::Offset);
        }
        let mut bytes = Vec::with_capacity(pieces.iter().map(Bytes::len).sum());
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        let written = self.key.apply(offset, &mut bytes).and_then(|()| self.file.write_all_at(&bytes, offset));
        written.map_err(|error| io_error(&error))?;
        self.written += length;
        Ok(())
    }

    /// So many bytes are promised.
    pub fn note_durable(&mut self, durable: u64) {
        self.durable = self.durable.max(durable);
    }

    /// The file, and how many bytes are in it now.
    pub fn to_sync(&self) -> (Arc<File>, u64) {
        (Arc::clone(&self.file), self.written)
    }
}

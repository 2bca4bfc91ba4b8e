//! A blob that one stream reads, a part of a piece at a time.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kuvert_relay::blobs::store::{BlobError, Download, Step};
use kuvert_relay::store::StoreError;
use kuvert_types::BlobId;
use tokio::sync::Mutex;

use super::cipher::RowKey;
use super::objects::ObjectError;
use super::objects::name::Piece;
use super::{Core, PIECE_BYTES, Steps, object_error, reading, rows};

/// Bytes that are fetched at once, of which parts are handed out: a piece holds a whole number of these.
const FETCH_BYTES: u64 = 512 * 1024;

/// What one stream has.
pub struct Reading {
    steps: Steps,
    blob: Arc<Blob>,
    size: u64,
}

struct Blob {
    id: BlobId,
    key: RowKey,
    pieces: Vec<Piece>,
    /// What was fetched last, and where it stands.
    fetched: Mutex<(u64, Bytes)>,
}

impl Reading {
    /// A blob that is complete.
    pub fn new(steps: Steps, id: BlobId, opened: rows::Opened) -> Result<Self, BlobError> {
        let rows::Opened { state, key, pieces } = opened;
        // The pieces are all of it, one after the other.
        let mut end = 0;
        for (number, piece) in (0..).zip(&pieces) {
            if piece.number != number || end != u64::from(number) * PIECE_BYTES {
                return Err(damaged());
            }
            end += u64::from(piece.length);
        }
        if end != state.size {
            return Err(damaged());
        }
        let blob = Blob { id, key, pieces, fetched: Mutex::new((0, Bytes::new())) };
        Ok(Self { steps, blob: Arc::new(blob), size: state.size })
    }
}

fn damaged() -> BlobError {
    BlobError::Store(StoreError::Corrupt("a file's pieces are not all of it".into()))
}

impl Download for Reading {
    fn read(&self, offset: u64, length: usize) -> Step<Bytes> {
        let blob = Arc::clone(&self.blob);
        let end = offset.saturating_add(length as u64).min(self.size);
        self.steps.run(move |core| async move {
            let read = blob.read(&core, offset, end).await;
            // It may have been erased, here or at another node: then nothing of it is handed out any more.
            let there = rows::is_there(&*core.lend().await?, &blob.id).await.map_err(|fault| reading(&fault))?;
            if there { read } else { Err(BlobError::Unknown) }
        })
    }
}

impl Blob {
    async fn read(&self, core: &Arc<Core>, offset: u64, end: u64) -> Result<Bytes, BlobError> {
        let mut fetched = self.fetched.lock().await;
        let mut at = offset;
        let mut parts = BytesMut::new();
        while at < end {
            let (start, bytes) = &*fetched;
            let within = at.checked_sub(*start).filter(|within| *within < bytes.len() as u64);
            let Some(within) = within else {
                *fetched = self.fetch(core, at).await?;
                continue;
            };
            let upto = bytes.len().min(usize::try_from(end - start).unwrap_or(usize::MAX));
            let part = bytes.slice(within as usize..upto);
            if at == offset && *start + upto as u64 == end {
                // All of it, without a copy.
                return Ok(part);
            }
            at += part.len() as u64;
            parts.extend_from_slice(&part);
        }
        Ok(parts.freeze())
    }

    /// The part that a place is in, and where it begins.
    async fn fetch(&self, core: &Arc<Core>, at: u64) -> Result<(u64, Bytes), BlobError> {
        let piece = self.pieces.get((at / PIECE_BYTES) as usize).ok_or_else(damaged)?;
        let start = at - at % FETCH_BYTES;
        let first = u64::from(piece.number) * PIECE_BYTES;
        let (from, to) = (start - first, (start - first + FETCH_BYTES).min(piece.length.into()));
        let got = core.objects.get(&piece.name(&self.id), from..to).await;
        let got = got.map_err(|error| match error {
            ObjectError::Missing => damaged(),
            error => object_error(&error),
        })?;
        let mut bytes = BytesMut::from(&got[..]);
        self.key.decrypt(piece.epoch, start, &mut bytes)?;
        Ok((start, bytes.freeze()))
    }
}

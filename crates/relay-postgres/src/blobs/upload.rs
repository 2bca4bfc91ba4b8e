//! An upload that one stream goes on with. Bytes are held until a piece is full, or until they are asked to be durable; then they become
//! an object, and a row says so.
//!
//! A short piece that was made durable is written once more, under another name, when it has become longer. So pieces begin at
//! multiples of [`PIECE_BYTES`], and there are no more of them than the blob has room for, however often a stream broke.

use std::sync::Arc;

use bytes::Bytes;
use kuvert_relay::blobs::store::{BlobError, Step, Upload};
use kuvert_types::BlobId;
use tokio::sync::Mutex;

use super::cipher::RowKey;
use super::objects::name::Piece;
use super::opened::Local;
use super::rows::{self, Turn};
use super::{Core, PIECE_BYTES, Steps, object_error};

/// What one stream has.
pub struct Appending {
    steps: Steps,
    state: Arc<Mutex<State>>,
}

struct State {
    id: BlobId,
    epoch: u64,
    size: u64,
    key: RowKey,
    local: Arc<Local>,
    /// Bytes that were handed in, from the blob's first on.
    written: u64,
    /// The piece that is being filled, and its bytes so far.
    number: u32,
    filling: Vec<u8>,
    /// So many of these are an object already.
    stored: usize,
    /// The object of a short piece that stands in the rows, and is to go when a longer one does.
    short: Option<Piece>,
    /// Objects that do not stand in the rows yet.
    unnoted: Vec<Piece>,
    /// Why nothing more is taken.
    failed: Option<BlobError>,
}

impl Appending {
    /// Goes on where the last one ended. A short piece at the end is read back, to become a longer one.
    pub async fn begin(core: &Arc<Core>, steps: Steps, id: BlobId, turn: Turn) -> Result<(Self, u64), BlobError> {
        let Turn { state, epoch, key, last } = turn;
        let mut filling = Vec::new();
        let mut number = u32::try_from(state.durable / PIECE_BYTES).map_err(|_| BlobError::Offset)?;
        if let Some(piece) = &last {
            let read = core.objects.get(&piece.name(&id), 0..u64::from(piece.length)).await;
            filling = read.map_err(|error| object_error(&error))?.to_vec();
            number = piece.number;
            key.decrypt(piece.epoch, u64::from(number) * PIECE_BYTES, &mut filling)?;
        }
        let local = core.opened.begin(id, epoch);
        let stored = filling.len();
        let state = State {
            id,
            epoch,
            size: state.size,
            key,
            local,
            written: state.durable,
            number,
            filling,
            stored,
            short: last,
            unnoted: Vec::new(),
            failed: None,
        };
        let durable = state.written;
        Ok((Self { steps, state: Arc::new(Mutex::new(state)) }, durable))
    }
}

impl Upload for Appending {
    fn write(&self, offset: u64, pieces: Vec<Bytes>) -> Step<()> {
        let state = Arc::clone(&self.state);
        self.steps.run(move |core| async move { state.lock().await.write(&core, offset, &pieces).await })
    }

    fn sync(&self) -> Step<u64> {
        let state = Arc::clone(&self.state);
        self.steps.run(move |core| async move { state.lock().await.sync(&core).await })
    }
}

impl State {
    async fn write(&mut self, core: &Arc<Core>, offset: u64, pieces: &[Bytes]) -> Result<(), BlobError> {
        self.failed.clone().map_or(Ok(()), Err)?;
        self.local.must_be(self.epoch)?;
        let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if offset != self.written || length > self.size - self.written {
            return Err(BlobError::Offset);
        }
        for bytes in pieces {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let room = (PIECE_BYTES as usize).saturating_sub(self.filling.len());
                let (now, later) = rest.split_at(room.min(rest.len()));
                self.filling.extend_from_slice(now);
                rest = later;
                if self.filling.len() as u64 == PIECE_BYTES {
                    self.store(core, true).await?;
                }
            }
            self.written += bytes.len() as u64;
        }
        Ok(())
    }

    /// Makes an object of the piece that is being filled. `whole`: nothing comes to it any more.
    async fn store(&mut self, core: &Arc<Core>, whole: bool) -> Result<(), BlobError> {
        let length = self.filling.len();
        let piece = Piece { number: self.number, epoch: self.epoch, length: u32::try_from(length).unwrap_or(u32::MAX) };
        let mut bytes = if whole { std::mem::take(&mut self.filling) } else { self.filling.clone() };
        let stored = async {
            self.key.encrypt(self.epoch, u64::from(self.number) * PIECE_BYTES, &mut bytes)?;
            core.make_sure().await?;
            core.objects.put(&piece.name(&self.id), bytes.into()).await.map_err(|error| object_error(&error))
        };
        if let Err(error) = stored.await {
            self.failed = Some(error.clone());
            return Err(error);
        }
        // One that was longer takes the place of one that was shorter.
        self.unnoted.retain(|other| other.number != piece.number);
        self.unnoted.push(piece);
        self.stored = if whole { 0 } else { length };
        self.number += u32::from(whole);
        Ok(())
    }

    async fn sync(&mut self, core: &Arc<Core>) -> Result<u64, BlobError> {
        self.local.must_be(self.epoch)?;
        if self.failed.is_none() && self.filling.len() > self.stored {
            // What was stored before is noted all the same.
            let _ = self.store(core, false).await;
        }
        let durable = u64::from(self.number) * PIECE_BYTES + self.stored as u64;
        if !self.unnoted.is_empty() {
            let noted = self.note(core, durable).await;
            if let Err(error) = noted {
                self.failed = Some(error.clone());
                return Err(error);
            }
        }
        self.failed.clone().map_or(Ok(durable), Err)
    }

    async fn note(&mut self, core: &Arc<Core>, durable: u64) -> Result<(), BlobError> {
        let longer = |short: &Piece| self.unnoted.iter().any(|piece| piece.number == short.number);
        let replaced = self.short.filter(longer).map(|short| short.name(&self.id));
        let link = core.lend().await?;
        let noted = rows::note(&link, &self.id, self.epoch, &self.unnoted, durable, replaced.as_deref()).await;
        drop(link);
        noted.map_err(|fault| fault.store_error())??;
        // Pieces are noted in their order: a short one is the last, or none.
        self.short = self.unnoted.last().copied().filter(|piece| u64::from(piece.length) < PIECE_BYTES);
        self.unnoted.clear();
        if let Some(object) = replaced {
            core.delete_soon(vec![object]);
        }
        Ok(())
    }
}

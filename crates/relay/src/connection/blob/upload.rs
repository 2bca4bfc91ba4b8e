//! Uploads: Create, Append with its pieces, Status, Commit, Discard [KV-125].

use std::sync::Arc;

use bytes::Bytes;
use kuvert_types::limits::{BLOB_STATE_EVERY, MAX_BLOB_PIECE_BYTES, MAX_BLOB_READERS};
use kuvert_types::{BlobHash, BlobId, UploadToken};
use kuvert_wire::checked::{self, InField as _};
use kuvert_wire::v1::blob_answer::What as Told;
use kuvert_wire::v1::blob_request::What as Asked;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::{self, BlobPiece, ClientFrame};

use super::{End, Stream, blob_id, full};
use crate::blobs::Blobs;
use crate::blobs::room::charge;
use crate::blobs::store::{BlobError, BlobState, NewBlob, Step, Upload, UploadKey};
use crate::command::{Code, CommandError};
use crate::observe::Event;

/// Bytes that are written at once: what is held of an upload, beside one frame and what is on its way.
const WRITE_AT_ONCE: usize = 2 * MAX_BLOB_PIECE_BYTES;

impl Stream<'_> {
    pub(super) async fn create(&mut self, blobs: &Blobs, request: u64, asked: v1::CreateBlob) -> Result<(), End> {
        let refuse = |refusal| End::Refused(request, refusal);
        let created = self.make(blobs, asked).await.map_err(refuse)?;
        self.tell(request, Told::Created(created)).await
    }

    async fn make(&self, blobs: &Blobs, asked: v1::CreateBlob) -> Result<v1::BlobCreated, CommandError> {
        let (device, service) = (self.device()?, &self.peer.service);
        let readers = readers(&asked)?;
        if asked.size > blobs.max_bytes {
            let message = format!("a file here has at most {} bytes, encrypted and padded", blobs.max_bytes);
            return Err(CommandError::new(Code::TooLarge, message));
        }
        let limited = |what| move |wait| CommandError::limited(what, wait);
        service.limiter.upload(&device.account, asked.size).map_err(limited("files of this account"))?;
        if crate::command::is_kept_out(service, &device.account) {
            return Err(CommandError::low_water());
        }
        let share = {
            // Asks the system, which may block.
            let service = Arc::clone(service);
            let measured = tokio::task::spawn_blocking(move || service.blobs.as_deref().map(Blobs::share)).await;
            measured.ok().flatten().ok_or_else(full)?
        };
        let (now, charge) = (service.clock.now_ms(), charge(asked.size, readers.len()));
        let young = service.young.is_young(&device.account, now);
        if young {
            share.admit_young(service.young.sum(now), charge).map_err(|_| full())?;
            crate::command::first_day(service, &device.account, charge)?;
        }
        let (mut id, mut token) = ([0; BlobId::LEN], [0; UploadToken::LEN]);
        let random = getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut token));
        random.map_err(|_| CommandError::new(Code::Internal, "the relay has no randomness"))?;
        let (id, token) = (BlobId::from_bytes(id), UploadToken::from_bytes(token));
        let blob = NewBlob {
            id,
            account: device.account,
            token: token.hash(),
            size: asked.size,
            readers,
            shared: asked.shared,
            created_at: service.clock.stamp_ms(),
        };
        if let Err(error) = blobs.store.create(blob, share).await {
            if young {
                // Else files that were refused would keep its mail from going.
                service.young.give_back(&device.account, charge);
            }
            return Err(error.into());
        }
        let readers = (!asked.shared).then_some(asked.readers.len());
        service.observe(Event::BlobCreated { connection: self.peer.number, by: device, id, size: asked.size, readers });
        Ok(v1::BlobCreated {
            blob: Bytes::copy_from_slice(id.as_bytes()),
            token: Bytes::copy_from_slice(token.as_bytes()),
        })
    }

    /// The pieces of an upload. Says which frame ended them.
    pub(super) async fn append(
        &mut self,
        blobs: &Blobs,
        request: u64,
        asked: v1::AppendBlob,
    ) -> Result<Option<ClientFrame>, End> {
        let refuse = |refusal| End::Refused(request, refusal);
        let key = self.upload_key(&asked.blob, &asked.token).map_err(refuse)?;
        let opened = blobs.store.append(key).await;
        // [KV-125] The answer to its CommitBlob got lost. It is told, and there is nothing to append.
        if matches!(opened, Err(BlobError::Committed)) {
            self.status_of(blobs, request, key).await?;
            return Ok(None);
        }
        let (upload, state) = opened.map_err(|error| refuse(error.into()))?;
        self.tell_state(request, state).await?;
        let mut appending =
            Appending { request, state, at: state.durable, synced: state.durable, upload, syncing: None };
        let ended = self.pieces(blobs, &mut appending).await;
        // However it ended: what has come is kept.
        let kept = appending.sync_rest().await;
        let came = appending.at - state.durable;
        if came > 0 {
            let by = self.device().map_err(refuse)?;
            let uploaded = Event::BlobUploaded { connection: self.peer.number, by, id: key.id, size: came };
            self.peer.service.observe(uploaded);
        }
        let next = ended?;
        if let Some(durable) = kept.map_err(refuse)? {
            self.tell_state(request, BlobState { durable, ..state }).await?;
        }
        Ok(Some(next))
    }

    async fn pieces(&mut self, blobs: &Blobs, appending: &mut Appending) -> Result<ClientFrame, End> {
        let request = appending.request;
        let refuse = |refusal| End::Refused(request, refusal);
        loop {
            let frame = tokio::select! {
                biased;
                durable = appending.synced(), if appending.syncing.is_some() => {
                    let durable = durable.map_err(refuse)?;
                    self.tell_state(request, BlobState { durable, ..appending.state }).await?;
                    continue;
                }
                frame = self.frame(blobs) => frame?,
            };
            let (pieces, next) = self.batch(appending, frame)?;
            if !pieces.is_empty() {
                let bytes: usize = pieces.iter().map(Bytes::len).sum();
                let written = appending.upload.write(appending.at, pieces).await;
                written.map_err(|error| refuse(error.into()))?;
                appending.at += bytes as u64;
                self.peer.service.metrics.blob_received(bytes);
            }
            if let Some(next) = next {
                return Ok(next);
            }
            let enough = appending.at - appending.synced >= BLOB_STATE_EVERY;
            let all = appending.at == appending.state.size && appending.synced < appending.at;
            if enough || all {
                // At most so many bytes are on their way to the disk.
                if appending.syncing.is_some() {
                    let durable = appending.synced().await.map_err(refuse)?;
                    self.tell_state(request, BlobState { durable, ..appending.state }).await?;
                }
                appending.begin_sync();
            }
        }
    }

    /// Pieces that are here, beginning with a frame, and the first frame that is none.
    fn batch(&mut self, appending: &Appending, first: ClientFrame) -> Result<(Vec<Bytes>, Option<ClientFrame>), End> {
        let (mut pieces, mut bytes, mut frame) = (Vec::new(), 0, first);
        loop {
            let request = frame.request;
            let Some(Request::Blob(v1::BlobRequest { what: Some(Asked::Piece(piece)) })) = frame.body else {
                return Ok((pieces, Some(frame)));
            };
            let BlobPiece { offset, bytes: piece } = piece;
            let at = appending.at + bytes as u64;
            let refused = |code, words| Err(End::Refused(request, CommandError::new(code, words)));
            if !(1..=MAX_BLOB_PIECE_BYTES).contains(&piece.len()) {
                return refused(Code::Malformed, "a piece has 1 to 65,536 bytes");
            }
            if offset != at || piece.len() as u64 > appending.state.size - at {
                return refused(
                    Code::BlobOffset,
                    "not the next bytes of this file: ask for its status, and go on there",
                );
            }
            bytes += piece.len();
            pieces.push(piece);
            if bytes >= WRITE_AT_ONCE {
                return Ok((pieces, None));
            }
            match self.reader.buffered().map_err(super::read_end)? {
                Some(next) => frame = next,
                None => return Ok((pieces, None)),
            }
        }
    }

    pub(super) async fn status(&mut self, blobs: &Blobs, request: u64, asked: v1::BlobStatus) -> Result<(), End> {
        let refuse = |refusal| End::Refused(request, refusal);
        let key = self.upload_key(&asked.blob, &asked.token).map_err(refuse)?;
        self.status_of(blobs, request, key).await
    }

    async fn status_of(&mut self, blobs: &Blobs, request: u64, key: UploadKey) -> Result<(), End> {
        let state = blobs.store.status(key).await.map_err(|error| End::Refused(request, error.into()))?;
        self.tell_state(request, state).await
    }

    pub(super) async fn commit(&mut self, blobs: &Blobs, request: u64, asked: v1::CommitBlob) -> Result<(), End> {
        let refuse = |refusal| End::Refused(request, refusal);
        let key = self.upload_key(&asked.blob, &asked.token).map_err(refuse)?;
        let now = self.peer.service.clock.stamp_ms();
        blobs.store.commit(key, now).await.map_err(|error| refuse(error.into()))?;
        let by = self.device().map_err(refuse)?;
        self.peer.service.observe(Event::BlobCommitted { connection: self.peer.number, by, id: key.id });
        self.done_with(request).await
    }

    pub(super) async fn discard(&mut self, blobs: &Blobs, request: u64, asked: v1::DiscardBlob) -> Result<(), End> {
        let refuse = |refusal| End::Refused(request, refusal);
        let key = self.upload_key(&asked.blob, &asked.token).map_err(refuse)?;
        let readers = hashes(&asked.readers).map_err(refuse)?;
        let taken_off = (!readers.is_empty()).then_some(readers.len());
        blobs.store.discard(key, readers).await.map_err(|error| refuse(error.into()))?;
        let by = self.device().map_err(refuse)?;
        let discarded = Event::BlobDiscarded { connection: self.peer.number, by, id: key.id, readers: taken_off };
        self.peer.service.observe(discarded);
        self.done_with(request).await
    }

    fn upload_key(&self, blob: &[u8], token: &[u8]) -> Result<UploadKey, CommandError> {
        let account = self.device()?.account;
        let token = UploadToken::try_from(token).in_field("token")?.hash();
        Ok(UploadKey { id: blob_id(blob)?, account, token })
    }
}

fn hashes(readers: &[Bytes]) -> Result<Vec<BlobHash>, CommandError> {
    Ok(readers.iter().map(|reader| checked::array(reader, "readers")).collect::<Result<_, _>>()?)
}

/// The hashes of the readers' capabilities: at least one, no two alike, exactly one where all have it together.
fn readers(asked: &v1::CreateBlob) -> Result<Vec<BlobHash>, CommandError> {
    let mut readers = hashes(&asked.readers)?;
    readers.sort_unstable();
    readers.dedup();
    let several = readers.len() == asked.readers.len() && (1..=MAX_BLOB_READERS).contains(&readers.len());
    if asked.size == 0 || !several || (asked.shared && readers.len() != 1) {
        let words =
            "a file has at least one byte, and 1 to 1,024 readers with a capability each, or one that all share";
        return Err(CommandError::new(Code::Invalid, words));
    }
    Ok(readers)
}

/// An upload that this stream goes on with.
struct Appending {
    /// The number of its AppendBlob.
    request: u64,
    /// As it was then.
    state: BlobState,
    /// Where the next bytes belong.
    at: u64,
    /// Up to where the sync that began last goes.
    synced: u64,
    upload: Box<dyn Upload>,
    syncing: Option<Step<u64>>,
}

impl Appending {
    /// What has come is on its way to the disk from now on.
    fn begin_sync(&mut self) {
        self.synced = self.at;
        self.syncing = Some(self.upload.sync());
    }

    /// What is on its way is there. May be dropped and called again: nothing is lost.
    async fn synced(&mut self) -> Result<u64, CommandError> {
        let Some(syncing) = &mut self.syncing else { return Ok(self.synced) };
        let durable = syncing.await;
        self.syncing = None;
        Ok(durable?)
    }

    /// All that has come is on the disk; how much that is, if there was more to do.
    async fn sync_rest(&mut self) -> Result<Option<u64>, CommandError> {
        let mut durable = None;
        if self.syncing.is_some() {
            durable = Some(self.synced().await?);
        }
        if self.at > self.synced {
            self.begin_sync();
            durable = Some(self.synced().await?);
        }
        Ok(durable)
    }
}

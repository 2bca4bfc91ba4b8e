//! Reading blobs: Read, Done [KV-126].

use bytes::{Bytes, BytesMut};
use kuvert_types::limits::MAX_BLOB_PIECE_BYTES;
use kuvert_types::{BlobCapability, BlobHash, BlobId};
use kuvert_wire::checked::InField as _;
use kuvert_wire::frame;
use kuvert_wire::v1::blob_answer::What as Told;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, BlobPiece, ServerFrame};

use super::{End, Peer, Stream, blob_id, going_away};
use crate::blobs::Blobs;
use crate::blobs::store::Left;
use crate::command::{Code, CommandError};
use crate::observe::Event;

/// Bytes that are read at once. So many are sent, and so many read ahead meanwhile.
const READ_AT_ONCE: usize = 4 * MAX_BLOB_PIECE_BYTES;

impl Stream<'_> {
    pub(super) async fn read(&mut self, blobs: &Blobs, request: u64, asked: v1::ReadBlob) -> Result<(), End> {
        let refuse = |refusal| End::Refused(request, refusal);
        let (id, capability) = reader(&asked.blob, &asked.capability).map_err(refuse)?;
        let opened = blobs.store.read(id, capability).await;
        let (download, state) = opened.map_err(|error| refuse(error.into()))?;
        if asked.offset > state.size {
            return Err(refuse(CommandError::new(Code::BlobOffset, "the file ends before that place")));
        }
        let Peer { service, number: connection, device: by, .. } = self.peer;
        service.observe(Event::BlobRead { connection: *connection, by: *by, id, size: state.size - asked.offset });
        self.tell_state(request, state).await?;
        let mut at = asked.offset;
        let mut bytes = if at < state.size { Some(download.read(at, READ_AT_ONCE).await) } else { None };
        while let Some(read) = bytes.take() {
            let read = read.map_err(|error| refuse(error.into()))?;
            self.within_rate(read.len()).map_err(refuse)?;
            if *self.peer.service.stopping.borrow() {
                return Err(refuse(going_away()));
            }
            let next = at + read.len() as u64;
            let ahead = async { if next < state.size { Some(download.read(next, READ_AT_ONCE).await) } else { None } };
            let (sent, ahead) = tokio::join!(self.send(request, at, read), ahead);
            sent?;
            (at, bytes) = (next, ahead);
        }
        Ok(())
    }

    /// Counts what is read: for the account, or for the address.
    fn within_rate(&self, bytes: usize) -> Result<(), CommandError> {
        let Peer { service, from, device, .. } = self.peer;
        match device {
            Some(device) => service.limiter.blob_read(&device.account, bytes),
            None => service.limiter.unnamed_blob_read(*from, bytes),
        }
        .map_err(|wait| CommandError::limited("bytes of files", wait))
    }

    async fn send(&mut self, request: u64, offset: u64, bytes: Bytes) -> Result<(), End> {
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + MAX_BLOB_PIECE_BYTES).min(bytes.len());
            let piece = BlobPiece { offset: offset + at as u64, bytes: bytes.slice(at..end) };
            let body = Response::Blob(v1::BlobAnswer { what: Some(Told::Piece(piece)) });
            let mut out = BytesMut::new();
            // A piece fits a frame.
            frame::encode(&ServerFrame { request, body: Some(body) }, &mut out).map_err(|_| End::Left)?;
            self.write(out).await?;
            self.peer.service.metrics.blob_sent(end - at);
            at = end;
        }
        Ok(())
    }

    pub(super) async fn done(&mut self, blobs: &Blobs, request: u64, asked: v1::DoneBlob) -> Result<(), End> {
        let refuse = |refusal| End::Refused(request, refusal);
        let (id, capability) = reader(&asked.blob, &asked.capability).map_err(refuse)?;
        let left = blobs.store.done(id, capability).await.map_err(|error| refuse(error.into()))?;
        let Peer { service, number: connection, device: by, .. } = self.peer;
        service.observe(Event::BlobDone { connection: *connection, by: *by, id, last: left == Left::Nothing });
        self.done_with(request).await
    }
}

fn reader(blob: &[u8], capability: &[u8]) -> Result<(BlobId, BlobHash), CommandError> {
    Ok((blob_id(blob)?, BlobCapability::try_from(capability).in_field("capability")?.hash()))
}

//! One blob stream, from its first frame to its end [KV-124].
//!
//! ```text
//! frame ──► Create Append Status Commit Discard   an authenticated device, for its account's uploads   (upload)
//!      └──► Read Done                             every peer, with a capability                       (download)
//! ```
//! Requests are done and answered in the order sent. After an error the stream ends; the connection goes on.
//!
//! | module | holds |
//! |---|---|
//! | [`upload`] | what is written |
//! | [`download`] | what is read |
//! | [`window`] | how much a connection may have under way while it has transfers |

mod download;
mod upload;
pub mod window;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kuvert_types::{Address, BlobId};
use kuvert_wire::checked::InField as _;
use kuvert_wire::frame;
use kuvert_wire::v1::blob_answer::What as Told;
use kuvert_wire::v1::blob_request::What as Asked;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, ClientFrame, ServerFrame};
use tokio::time::timeout;

use super::reader::{ReadError, Reader};
use crate::blobs::Blobs;
use crate::blobs::room::NoRoom;
use crate::blobs::store::{BlobError, BlobState};
use crate::blobs::transfers::Holder;
use crate::command::{Code, CommandError};
use crate::connection_number::ConnectionNumber;
use crate::shared::Shared;
use window::Windows;

/// How long a client waits that is told that the relay has no room for files: some have to be fetched first.
const FULL_PAUSE: Duration = Duration::from_secs(60);

/// The same where other transfers are in the way.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// Below the mail stream's, which is 0: what of a file is under way waits for mail, and no mail for a file.
const PRIORITY: i32 = -1;

/// How long the relay tries to hand a last word to a client that does not read.
const LAST_WORD: Duration = Duration::from_secs(3);

/// The connection that a stream belongs to.
#[derive(Debug)]
pub struct Peer {
    /// The relay.
    pub service: Arc<Shared>,
    /// The connection's number.
    pub number: ConnectionNumber,
    /// Where it comes from.
    pub from: IpAddr,
    /// The device that authenticated on it.
    pub device: Option<Address>,
    /// What it may have under way.
    pub windows: Arc<Windows>,
}

/// Why a stream ends before its client ends it.
#[derive(Debug)]
enum End {
    /// The client has gone, or wants no more.
    Left,
    /// What was asked for is not done.
    Refused(u64, CommandError),
}

/// Serves a stream until it ends.
pub async fn serve(peer: Arc<Peer>, send: quinn::SendStream, receive: quinn::RecvStream) {
    // Fails only where the stream has ended, which the first frame finds out.
    let _ = send.set_priority(PRIORITY);
    let mut reader = Reader::new(receive, &peer.service.held);
    let holder = match peer.device {
        Some(device) => {
            reader.trust(&peer.service.held, device.account);
            Holder::Account(device.account)
        }
        None => Holder::Unnamed(peer.from),
    };
    let mut stream = Stream { peer: &peer, reader, send };
    let end = match &peer.service.blobs {
        None => stream.refuse_first(not_offered()).await,
        Some(blobs) => match blobs.transfers.begin(holder) {
            Err(_) => stream.refuse_first(busy()).await,
            Ok(_transfer) => {
                let _window = peer.windows.widen();
                stream.serve(blobs).await
            }
        },
    };
    if let End::Refused(request, refusal) = end {
        tracing::debug!(connection = %peer.number, code = refusal.code.as_str_name(), "ending a blob stream");
        // A client that does not read misses it.
        let _ = timeout(LAST_WORD, stream.answer(request, Response::Error(refusal.into_wire()))).await;
    }
    if stream.send.finish().is_ok() {
        // Either way it is over.
        let _ = timeout(LAST_WORD, stream.send.stopped()).await;
    }
}

/// Both directions.
struct Stream<'a> {
    peer: &'a Peer,
    reader: Reader,
    send: quinn::SendStream,
}

impl Stream<'_> {
    /// Until it ends.
    async fn serve(&mut self, blobs: &Blobs) -> End {
        let mut next = None;
        loop {
            let frame = match next.take() {
                Some(frame) => Ok(frame),
                None => self.frame(blobs).await,
            };
            let done = match frame {
                Ok(frame) => self.one(blobs, frame).await,
                Err(end) => return end,
            };
            match done {
                Ok(frame) => next = frame,
                Err(end) => return end,
            }
        }
    }

    /// Does what the first frame asks for, by refusing it.
    async fn refuse_first(&mut self, refusal: CommandError) -> End {
        let deadline = crate::limits::AUTHENTICATION_DEADLINE;
        match timeout(deadline, self.reader.next()).await {
            Ok(Ok(frame)) => End::Refused(frame.request, refusal),
            _ => End::Left,
        }
    }

    /// The next frame. A client that says nothing for too long is gone.
    async fn frame(&mut self, blobs: &Blobs) -> Result<ClientFrame, End> {
        let service = &self.peer.service;
        if let Some(frame) = self.reader.buffered().map_err(read_end)? {
            return Ok(frame);
        }
        tokio::select! {
            biased;
            () = service.stopped() => Err(End::Refused(0, going_away())),
            frame = timeout(blobs.transfers.piece_deadline(), self.reader.next()) => match frame {
                Ok(frame) => frame.map_err(read_end),
                Err(_) => Err(End::Refused(0, too_slow())),
            },
        }
    }

    /// Does one request. Says which frame ended it, if it took more than one.
    async fn one(&mut self, blobs: &Blobs, frame: ClientFrame) -> Result<Option<ClientFrame>, End> {
        let request = frame.request;
        let refuse = |refusal| End::Refused(request, refusal);
        let Some(Request::Blob(v1::BlobRequest { what: Some(asked) })) = frame.body else {
            let refusal =
                CommandError::new(Code::Malformed, "this stream is for a blob, and this is no request about one");
            return Err(refuse(refusal));
        };
        self.within_limits().map_err(refuse)?;
        let service = Arc::clone(&self.peer.service);
        let (name, begun) = (name(&asked), service.clock.elapsed());
        let done = match asked {
            Asked::Create(asked) => self.create(blobs, request, asked).await.map(|()| None),
            Asked::Append(asked) => self.append(blobs, request, asked).await,
            Asked::Piece(_) => Err(refuse(CommandError::new(Code::Invalid, "a piece comes after AppendBlob"))),
            Asked::Status(asked) => self.status(blobs, request, asked).await.map(|()| None),
            Asked::Commit(asked) => self.commit(blobs, request, asked).await.map(|()| None),
            Asked::Discard(asked) => self.discard(blobs, request, asked).await.map(|()| None),
            Asked::Read(asked) => self.read(blobs, request, asked).await.map(|()| None),
            Asked::Done(asked) => self.done(blobs, request, asked).await.map(|()| None),
        };
        let took = service.clock.elapsed().saturating_sub(begun);
        match &done {
            Ok(_) => service.metrics.answered(name, took, &Ok::<_, CommandError>(())),
            Err(End::Refused(_, refusal)) => service.metrics.answered(name, took, &Err::<(), _>(refusal.clone())),
            Err(End::Left) => {}
        }
        done
    }

    /// Counts a request: for its device, or for its address.
    fn within_limits(&self) -> Result<(), CommandError> {
        let Peer { service, from, device, .. } = self.peer;
        match device {
            Some(device) => service.limiter.request(device),
            None => service.limiter.blob_request(*from),
        }
        .map_err(|wait| CommandError::limited("requests", wait))
    }

    /// The device that authenticated, which uploads need.
    fn device(&self) -> Result<Address, CommandError> {
        self.peer.device.ok_or_else(|| {
            CommandError::new(
                Code::NotAuthenticated,
                "an upload is an account's: send it where its device authenticated",
            )
        })
    }

    async fn answer(&mut self, request: u64, body: Response) -> Result<(), End> {
        let mut bytes = BytesMut::new();
        if frame::encode(&ServerFrame { request, body: Some(body) }, &mut bytes).is_err() {
            // None is larger than a piece.
            return Err(End::Left);
        }
        self.write(bytes).await
    }

    async fn tell(&mut self, request: u64, told: Told) -> Result<(), End> {
        self.answer(request, Response::Blob(v1::BlobAnswer { what: Some(told) })).await
    }

    async fn tell_state(&mut self, request: u64, state: BlobState) -> Result<(), End> {
        let BlobState { size, durable, committed } = state;
        self.tell(request, Told::State(v1::BlobState { size, durable, committed })).await
    }

    async fn done_with(&mut self, request: u64) -> Result<(), End> {
        self.answer(request, Response::Done(v1::Done {})).await
    }

    async fn write(&mut self, bytes: BytesMut) -> Result<(), End> {
        let deadline = match &self.peer.service.blobs {
            Some(blobs) => blobs.transfers.piece_deadline(),
            None => LAST_WORD,
        };
        match timeout(deadline, self.send.write_chunk(bytes.freeze())).await {
            Ok(Ok(())) => Ok(()),
            // It left, it wants no more, or it does not read.
            Ok(Err(_)) | Err(_) => {
                let _ = self.send.reset(super::close::Close::NOT_READING.code());
                Err(End::Left)
            }
        }
    }
}

/// As metrics name it.
const fn name(asked: &Asked) -> &'static str {
    match asked {
        Asked::Create(_) => "create_blob",
        Asked::Append(_) | Asked::Piece(_) => "append_blob",
        Asked::Status(_) => "blob_status",
        Asked::Commit(_) => "commit_blob",
        Asked::Discard(_) => "discard_blob",
        Asked::Read(_) => "read_blob",
        Asked::Done(_) => "done_blob",
    }
}

fn blob_id(bytes: &[u8]) -> Result<BlobId, CommandError> {
    Ok(BlobId::try_from(bytes).in_field("blob")?)
}

fn read_end(error: ReadError) -> End {
    match error {
        ReadError::Ended => End::Left,
        ReadError::TooSlow => End::Refused(0, too_slow()),
        ReadError::NoRoom => End::Refused(0, CommandError::limited("bytes of requests at once", BUSY_PAUSE)),
        // The decoder's words can hold what was sent.
        ReadError::Frame(_) => {
            End::Refused(0, CommandError::new(Code::Malformed, "what was sent is no frame of this protocol"))
        }
    }
}

fn not_offered() -> CommandError {
    CommandError::new(Code::NotOffered, "this relay takes no files")
}

fn too_slow() -> CommandError {
    CommandError::new(Code::Limited, "the transfer stood still for too long; go on with it over a new stream")
}

fn going_away() -> CommandError {
    CommandError::from(crate::store::StoreError::from(crate::store::Unavailable::Stopped))
}

fn busy() -> CommandError {
    CommandError::limited("transfers at once", BUSY_PAUSE)
}

fn full() -> CommandError {
    CommandError {
        code: Code::BlobFull,
        message: "the relay has no room for this file now; mail goes on. Try again later".into(),
        retry_after: Some(FULL_PAUSE),
    }
}

impl From<BlobError> for CommandError {
    fn from(error: BlobError) -> Self {
        let (code, words) = match error {
            // [KV-126] One answer for all, so that names cannot be found out.
            BlobError::Unknown => (Code::BlobUnknown, "there is no such file here for this token or capability"),
            BlobError::NotCommitted => {
                (Code::NotReady, "this file is not complete yet; its sender is still uploading it")
            }
            BlobError::Committed => (Code::Invalid, "this file is complete: nothing can be appended"),
            BlobError::Offset => {
                (Code::BlobOffset, "not the next bytes of this file: ask for its status, and go on there")
            }
            BlobError::TakenOver => (Code::BlobTakenOver, "another stream goes on with this upload"),
            BlobError::NoRoom(NoRoom::Disk) => return full(),
            BlobError::NoRoom(NoRoom::Account) => (
                Code::BlobQuota,
                "this account's files take all the room that they may here; some have to be fetched, discarded or expire first",
            ),
            BlobError::Store(error) => return error.into(),
        };
        Self::new(code, words)
    }
}

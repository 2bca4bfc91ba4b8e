//! A stream for one transfer of a blob [KV-069]: frames as on the mail stream, requests answered in the order sent. Mail has a stream of its own, so
//! that a long file holds nothing up.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kuvert_wire::frame;
use kuvert_wire::v1::{self, blob_answer, blob_request, client_frame, server_frame};
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::link::{Link, RelayError};
use super::words::describe;
use crate::error::Error;

/// How long the relay may take to say or to take anything on a stream. QUIC notices a relay that is gone sooner; what is under way on a slow line
/// (a window of 1 MiB) takes this long at 70 kbit/s.
const SILENCE: Duration = Duration::from_secs(120);

/// Below the mail stream's, which is 0: what of a file is under way waits for a text, and no text for a file.
const PRIORITY: i32 = -1;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

type Sending = Box<dyn AsyncWrite + Send + Unpin>;
type Receiving = Box<dyn AsyncRead + Send + Unpin>;

/// What a relay answers on such a stream.
#[derive(Debug)]
pub(crate) enum BlobWord {
    /// An upload was begun.
    Created(v1::BlobCreated),
    /// How far it is.
    State(v1::BlobState),
    /// Bytes that were asked for.
    Piece(v1::BlobPiece),
    /// What was asked for was done.
    Done,
    /// It says no, and ends the stream.
    Refused(RelayError),
}

/// One transfer's stream.
pub(crate) struct BlobStream {
    /// The way there.
    pub sender: BlobSender,
    /// The way back.
    pub receiver: BlobReceiver,
}

/// The way to the relay.
pub(crate) struct BlobSender {
    stream: Sending,
    last: u64,
    buffer: BytesMut,
}

/// The way from the relay.
pub(crate) struct BlobReceiver {
    stream: Receiving,
    input: BytesMut,
}

fn lost(reason: impl Into<String>) -> Error {
    Error::ConnectionLost { reason: reason.into() }
}

impl BlobStream {
    /// On the two halves of a stream.
    pub(crate) fn new(
        sending: impl AsyncWrite + Send + Unpin + 'static,
        receiving: impl AsyncRead + Send + Unpin + 'static,
    ) -> Self {
        Self {
            sender: BlobSender { stream: Box::new(sending), last: 0, buffer: BytesMut::new() },
            receiver: BlobReceiver { stream: Box::new(receiving), input: BytesMut::new() },
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The stream broke, or the relay breaks the protocol.
    pub async fn request(&mut self, what: blob_request::What) -> Result<BlobWord, Error> {
        self.sender.send(what).await?;
        self.receiver.next().await
    }
}

impl BlobSender {
    /// Sends a request. A piece has the number of the request before it.
    ///
    /// # Errors
    /// The stream broke, or the relay takes nothing for too long.
    pub async fn send(&mut self, what: blob_request::What) -> Result<(), Error> {
        if !matches!(what, blob_request::What::Piece(_)) {
            self.last += 1;
        }
        self.buffer.clear();
        let body = Some(client_frame::Body::Blob(v1::BlobRequest { what: Some(what) }));
        frame::encode(&v1::ClientFrame { request: self.last, body }, &mut self.buffer)
            .map_err(|_| Error::Internal { what: "request over the frame limit" })?;
        match timeout(SILENCE, self.stream.write_all(&self.buffer)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(lost(error.to_string())),
            Err(_) => Err(Error::RequestTimeout { seconds: SILENCE.as_secs() }),
        }
    }
}

impl BlobReceiver {
    /// What the relay says next.
    ///
    /// # Errors
    /// The stream broke, the relay says nothing for too long, or it breaks the protocol.
    pub async fn next(&mut self) -> Result<BlobWord, Error> {
        let nonsense = |what| Error::RelayProtocol { what };
        loop {
            let frame = frame::decode::<v1::ServerFrame>(&mut self.input);
            if let Some(frame) = frame.map_err(|_| nonsense("a frame that cannot be read"))? {
                return match frame.body {
                    Some(server_frame::Body::Done(_)) => Ok(BlobWord::Done),
                    Some(server_frame::Body::Error(error)) => Ok(BlobWord::Refused(error.into())),
                    Some(server_frame::Body::Blob(v1::BlobAnswer { what: Some(what) })) => Ok(match what {
                        blob_answer::What::Created(created) => BlobWord::Created(created),
                        blob_answer::What::State(state) => BlobWord::State(state),
                        blob_answer::What::Piece(piece) => BlobWord::Piece(piece),
                    }),
                    _ => Err(nonsense("no answer about a file")),
                };
            }
            self.input.reserve(READ_BYTES);
            match timeout(SILENCE, self.stream.read_buf(&mut self.input)).await {
                Ok(Ok(0)) => return Err(lost("the relay ended the stream")),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(lost(error.to_string())),
                Err(_) => return Err(Error::RequestTimeout { seconds: SILENCE.as_secs() }),
            }
        }
    }
}

impl Link {
    /// A stream for a transfer, beside the mail.
    ///
    /// # Errors
    /// `connection-lost`.
    pub(crate) async fn blob_stream(&self) -> Result<BlobStream, Error> {
        let opened: (SendStream, RecvStream) = match timeout(SILENCE, self.quic().open_bi()).await {
            Ok(opened) => opened.map_err(|error| lost(describe(&error)))?,
            Err(_) => return Err(Error::RequestTimeout { seconds: SILENCE.as_secs() }),
        };
        // Fails only where the stream has ended, which the first frame finds out.
        let _ = opened.0.set_priority(PRIORITY);
        Ok(BlobStream::new(opened.0, opened.1))
    }
}

/// Bytes of a request.
pub(crate) fn bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

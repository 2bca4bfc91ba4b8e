//! A client for files over plain quinn, as small as it can be: what a real one does, without its storage. PROTOCOL.md, 20.8.
//!
//! ```text
//! let uploaded = upload(&alice.connection, &blob, &[capability]).await;     // on the connection where alice authenticated
//! let reader = unnamed(url).await;                                           // or any connection that authenticated
//! assert_eq!(read(&reader.connection, &uploaded, &capability, 0).await, Ok(blob));
//! done(&reader.connection, &uploaded, &capability).await;
//! ```
//! A stream carries requests one after the other. Each answer has its request's number; pieces have no answer of their own.

use bytes::{Bytes, BytesMut};
use kuvert_types::{BlobCapability, RelayUrl};
use kuvert_wire::frame;
use kuvert_wire::v1::blob_answer::What as Told;
use kuvert_wire::v1::blob_request::What as Ask;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, ClientFrame, ServerFrame};

use super::{Client, random, within};

/// Bytes of a piece.
pub const PIECE: usize = 64 * 1024;

/// What the relay says to `CreateBlob`: the blob's name, which readers are told, and the uploader's token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uploaded {
    pub blob: Bytes,
    pub token: Bytes,
}

/// One stream.
pub struct Stream {
    pub send: quinn::SendStream,
    receive: quinn::RecvStream,
    buffer: BytesMut,
    next_request: u64,
}

impl Stream {
    /// A new stream of a connection. The relay hears of it with the first frame.
    pub async fn open(connection: &quinn::Connection) -> Self {
        let (send, receive) = within(connection.open_bi()).await.unwrap();
        Self { send, receive, buffer: BytesMut::new(), next_request: 1 }
    }

    /// Sends a request, and says its number.
    pub async fn send(&mut self, ask: Ask) -> u64 {
        let request = self.next_request;
        self.next_request += 1;
        self.try_send(request, ask).await.unwrap();
        request
    }

    /// Sends a frame with a number, where the relay may have ended the stream.
    pub async fn try_send(&mut self, request: u64, ask: Ask) -> Result<(), quinn::WriteError> {
        let body = Some(Request::Blob(v1::BlobRequest { what: Some(ask) }));
        let mut bytes = BytesMut::new();
        frame::encode(&ClientFrame { request, body }, &mut bytes).unwrap();
        within(self.send.write_all(&bytes)).await
    }

    /// The next frame; `None` at the stream's end.
    pub async fn frame(&mut self) -> Option<ServerFrame> {
        loop {
            if let Some(frame) = frame::decode::<ServerFrame>(&mut self.buffer).unwrap() {
                return Some(frame);
            }
            match within(self.receive.read_chunk(usize::MAX, true)).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The next answer, whatever it answers; refusals apart.
    pub async fn answer(&mut self) -> Result<Response, Code> {
        match self.frame().await.expect("the stream ended").body.unwrap() {
            Response::Error(error) => {
                assert!(!error.message.is_empty());
                Err(error.code())
            }
            answer => Ok(answer),
        }
    }

    pub async fn ask(&mut self, ask: Ask) -> Result<Response, Code> {
        self.send(ask).await;
        self.answer().await
    }

    /// A request that is answered with how far a blob is.
    pub async fn state(&mut self, ask: Ask) -> Result<v1::BlobState, Code> {
        self.ask(ask).await.map(state)
    }

    /// `AppendBlob`: where the pieces go on, and the number that they bear.
    pub async fn append(&mut self, uploaded: &Uploaded) -> Result<(u64, v1::BlobState), Code> {
        let request = self.send(append(uploaded)).await;
        self.answer().await.map(|answer| (request, state(answer)))
    }

    /// Sends the pieces of `blob` from `from` to `to`, and does not wait.
    pub async fn pieces(&mut self, request: u64, blob: &[u8], from: usize, to: usize) {
        let mut at = from;
        while at < to {
            let end = (at + PIECE).min(to);
            let piece = v1::BlobPiece { offset: at as u64, bytes: Bytes::copy_from_slice(&blob[at..end]) };
            self.try_send(request, Ask::Piece(piece)).await.unwrap();
            at = end;
        }
    }

    /// Ends it, and waits until the relay has: then it counts as a transfer no more.
    pub async fn close(mut self) {
        // The relay may have ended it.
        let _ = self.send.finish();
        while self.frame().await.is_some() {}
    }

    /// Reads nothing, and waits until the relay gives up: the code that it says.
    pub async fn reset(&mut self) -> u64 {
        let code = within(self.receive.received_reset()).await.unwrap();
        code.expect("the stream came to its end").into_inner()
    }

    /// Waits until so many bytes are durable.
    pub async fn durable(&mut self, bytes: u64) {
        while state(self.answer().await.unwrap()).durable < bytes {}
    }
}

pub fn state(answer: Response) -> v1::BlobState {
    match answer {
        Response::Blob(v1::BlobAnswer { what: Some(Told::State(state)) }) => state,
        other => panic!("{other:?}"),
    }
}

pub fn create(size: u64, readers: &[BlobCapability]) -> Ask {
    let readers = readers.iter().map(|reader| Bytes::copy_from_slice(&reader.hash())).collect();
    Ask::Create(v1::CreateBlob { size, readers, shared: false })
}

pub fn append(Uploaded { blob, token }: &Uploaded) -> Ask {
    Ask::Append(v1::AppendBlob { blob: blob.clone(), token: token.clone() })
}

pub fn status(Uploaded { blob, token }: &Uploaded) -> Ask {
    Ask::Status(v1::BlobStatus { blob: blob.clone(), token: token.clone() })
}

pub fn commit(Uploaded { blob, token }: &Uploaded) -> Ask {
    Ask::Commit(v1::CommitBlob { blob: blob.clone(), token: token.clone() })
}

pub fn discard(Uploaded { blob, token }: &Uploaded) -> Ask {
    Ask::Discard(v1::DiscardBlob { blob: blob.clone(), token: token.clone(), readers: Vec::new() })
}

pub fn ask_read(uploaded: &Uploaded, capability: &BlobCapability, offset: u64) -> Ask {
    let capability = Bytes::copy_from_slice(capability.as_bytes());
    Ask::Read(v1::ReadBlob { blob: uploaded.blob.clone(), capability, offset })
}

pub fn ask_done(uploaded: &Uploaded, capability: &BlobCapability) -> Ask {
    let capability = Bytes::copy_from_slice(capability.as_bytes());
    Ask::Done(v1::DoneBlob { blob: uploaded.blob.clone(), capability })
}

pub fn capability() -> BlobCapability {
    BlobCapability::from_bytes(random())
}

/// Bytes in which no run stands twice.
pub fn blob(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// One request on a stream of its own.
pub async fn on(connection: &quinn::Connection, ask: Ask) -> Result<Response, Code> {
    let mut stream = Stream::open(connection).await;
    let answer = stream.ask(ask).await;
    stream.close().await;
    answer
}

/// Begins an upload.
pub async fn begin(connection: &quinn::Connection, create: Ask) -> Result<Uploaded, Code> {
    match on(connection, create).await? {
        Response::Blob(v1::BlobAnswer { what: Some(Told::Created(v1::BlobCreated { blob, token })) }) => {
            assert_eq!((blob.len(), token.len()), (16, 32));
            Ok(Uploaded { blob, token })
        }
        other => panic!("{other:?}"),
    }
}

/// Goes on with an upload to its end, and commits.
pub async fn resume(connection: &quinn::Connection, uploaded: &Uploaded, blob: &[u8]) {
    let mut stream = Stream::open(connection).await;
    let (request, state) = stream.append(uploaded).await.unwrap();
    stream.pieces(request, blob, state.durable as usize, blob.len()).await;
    // Sent behind the last piece: the relay takes it in its turn.
    stream.send(commit(uploaded)).await;
    loop {
        match stream.answer().await.unwrap() {
            Response::Done(_) => return stream.close().await,
            told => assert!(super::blob::state(told).durable <= blob.len() as u64),
        }
    }
}

/// A whole upload.
pub async fn upload(connection: &quinn::Connection, blob: &[u8], readers: &[BlobCapability]) -> Uploaded {
    let uploaded = begin(connection, create(blob.len() as u64, readers)).await.unwrap();
    resume(connection, &uploaded, blob).await;
    uploaded
}

/// Reads from an offset to the end.
pub async fn read(
    connection: &quinn::Connection,
    uploaded: &Uploaded,
    capability: &BlobCapability,
    offset: u64,
) -> Result<Vec<u8>, Code> {
    let mut stream = Stream::open(connection).await;
    let state = stream.state(ask_read(uploaded, capability, offset)).await?;
    assert!(state.committed && state.durable == state.size);
    let mut bytes = Vec::new();
    while offset + (bytes.len() as u64) < state.size {
        bytes.extend(piece(stream.answer().await?, offset + bytes.len() as u64));
    }
    stream.close().await;
    Ok(bytes)
}

/// A piece that begins where it should.
pub fn piece(answer: Response, at: u64) -> Bytes {
    match answer {
        Response::Blob(v1::BlobAnswer { what: Some(Told::Piece(piece)) }) => {
            assert_eq!(piece.offset, at);
            assert!((1..=PIECE).contains(&piece.bytes.len()));
            piece.bytes
        }
        other => panic!("{other:?}"),
    }
}

/// Says that a reader has all of it.
pub async fn done(
    connection: &quinn::Connection,
    uploaded: &Uploaded,
    capability: &BlobCapability,
) -> Result<(), Code> {
    let answer = on(connection, ask_done(uploaded, capability)).await?;
    assert!(matches!(answer, Response::Done(_)), "{answer:?}");
    Ok(())
}

/// A connection without a name, for reading: it says Hello and nothing else.
pub async fn unnamed(url: &RelayUrl) -> Client {
    let mut client = Client::connect(url).await;
    client.hello().await;
    client
}

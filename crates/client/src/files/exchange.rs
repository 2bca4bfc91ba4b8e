//! One transfer on its stream: an upload from where the relay has it durably, a download from where this home has it. Encrypting and decrypting
//! happen on a thread that may block; a few pieces are under way between it and the stream, whatever the file's size.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::pin::pin;

use bytes::{Buf as _, Bytes, BytesMut};
use kuvert_protocol::attachment::{CHUNK_BYTES, FileKey, HEADER_LEN, OpenError, Opener, Sealer, blob_len};
use kuvert_types::limits::MAX_BLOB_PIECE_BYTES;
use kuvert_types::{BlobCapability, BlobId, UploadToken};
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::{self, blob_request::What};
use tokio::sync::mpsc;

use super::folder;
use super::source::{Again, Content};
use crate::error::Error;
use crate::transport::RelayError;
use crate::transport::blob::{BlobStream, BlobWord, bytes};

/// Pieces between the thread and the stream.
const QUEUE: usize = 4;

/// How a transfer ended early.
#[derive(Debug)]
pub(super) enum Failed {
    /// The relay said no.
    Refused(RelayError),
    /// The file on this machine: gone, changed, or not to be read.
    Source(io::Error),
    /// What came is not the file.
    Damaged(OpenError),
    /// The stream, or the disk.
    Broken(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

const NONSENSE: Error = Error::RelayProtocol { what: "no answer about a file" };

/// An upload that goes on.
pub(super) struct Uploading {
    pub blob: BlobId,
    pub token: UploadToken,
    pub key: FileKey,
    pub path: PathBuf,
    pub content: Content,
}

/// Begins an upload.
pub(super) async fn create(
    stream: &mut BlobStream,
    size: u64,
    readers: Vec<Bytes>,
    shared: bool,
) -> Result<(BlobId, UploadToken), Failed> {
    match stream.request(What::Create(v1::CreateBlob { size, readers, shared })).await? {
        BlobWord::Created(v1::BlobCreated { blob, token }) => {
            let (Ok(blob), Ok(token)) = (BlobId::try_from(blob.as_ref()), UploadToken::try_from(token.as_ref())) else {
                return Err(Failed::Broken(NONSENSE));
            };
            Ok((blob, token))
        }
        BlobWord::Refused(refusal) => Err(Failed::Refused(refusal)),
        _ => Err(Failed::Broken(NONSENSE)),
    }
}

/// Takes a blob from the relay. One that is gone is gone.
pub(super) async fn discard(stream: &mut BlobStream, blob: &[u8], token: &[u8]) -> Result<(), Failed> {
    done(
        stream
            .request(What::Discard(v1::DiscardBlob { blob: bytes(blob), token: bytes(token), readers: Vec::new() }))
            .await?,
    )
}

/// Tells the relay that this reader has all of it.
pub(super) async fn tell_done(stream: &mut BlobStream, blob: &[u8], capability: &[u8]) -> Result<(), Failed> {
    done(stream.request(What::Done(v1::DoneBlob { blob: bytes(blob), capability: bytes(capability) })).await?)
}

/// After a lost answer an unknown blob means that it was done.
fn done(word: BlobWord) -> Result<(), Failed> {
    match word {
        BlobWord::Done => Ok(()),
        BlobWord::Refused(refusal) if refusal.code == Code::BlobUnknown => Ok(()),
        BlobWord::Refused(refusal) => Err(Failed::Refused(refusal)),
        _ => Err(Failed::Broken(NONSENSE)),
    }
}

/// Goes on with an upload to its end; the digest of the blob. `progress` hears how much of the file is durable.
pub(super) async fn upload(
    stream: BlobStream,
    uploading: Uploading,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<[u8; 32], Failed> {
    let BlobStream { mut sender, mut receiver } = stream;
    let Uploading { blob, token, key, path, content } = uploading;
    let (size, whole) = (content.marks.size, blob_len(content.marks.size));
    let whole = whole.map_err(|_| Failed::Source(io::Error::from(io::ErrorKind::FileTooLarge)))?;
    let (blob, token) = (bytes(blob.as_bytes()), bytes(token.as_bytes()));
    sender.send(What::Append(v1::AppendBlob { blob: blob.clone(), token: token.clone() })).await?;
    let from = match receiver.next().await? {
        BlobWord::State(state) if state.size == whole && state.durable <= whole => state,
        BlobWord::Refused(refusal) => return Err(Failed::Refused(refusal)),
        _ => return Err(Failed::Broken(NONSENSE)),
    };
    progress(from.durable.min(size));
    let (pieces, mut queue) = mpsc::channel(QUEUE);
    let sealing = tokio::task::spawn_blocking(move || seal(&path, content, &key, from.durable, &pieces));
    let sending = async {
        let mut offset = from.durable;
        while let Some(piece) = queue.recv().await {
            let length = Bytes::len(&piece) as u64;
            sender.send(What::Piece(v1::BlobPiece { offset, bytes: piece })).await?;
            offset += length;
        }
        let digest = sealing.await.map_err(|_| Error::Internal { what: "encrypting panicked" })??;
        if !from.committed {
            sender.send(What::Commit(v1::CommitBlob { blob, token })).await?;
        }
        Ok::<_, Failed>(digest)
    };
    let receiving = async {
        loop {
            match receiver.next().await? {
                BlobWord::State(state) if state.durable <= whole => progress(state.durable.min(size)),
                BlobWord::Done => return Ok(()),
                BlobWord::Refused(refusal) => return Err(Failed::Refused(refusal)),
                _ => return Err(Failed::Broken(NONSENSE)),
            }
        }
    };
    let (mut sending, mut receiving) = (pin!(sending), pin!(receiving));
    let digest = tokio::select! {
        biased;
        sent = &mut sending => match sent {
            Ok(digest) => digest,
            // The relay's words say more than that it ended the stream.
            Err(Failed::Broken(error)) => return Err(receiving.await.err().filter(|why| matches!(why, Failed::Refused(_))).unwrap_or(Failed::Broken(error))),
            Err(other) => return Err(other),
        },
        heard = &mut receiving => return Err(heard.err().unwrap_or(Failed::Broken(NONSENSE))),
    };
    if !from.committed {
        receiving.await?;
    }
    Ok(digest)
}

/// Encrypts a file, and hands on what stands in the blob from a place on.
fn seal(
    path: &std::path::Path,
    content: Content,
    key: &FileKey,
    from: u64,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<[u8; 32], Failed> {
    let mut sealer = Sealer::new(key, content.marks.size)
        .map_err(|_| Failed::Source(io::Error::from(io::ErrorKind::FileTooLarge)))?;
    let mut again = Again::open(path, content).map_err(Failed::Source)?;
    let mut out = Outgoing { at: 0, from, buffer: BytesMut::new(), pieces };
    out.take(&sealer.header())?;
    let (mut piece, mut chunk) = (vec![0; CHUNK_BYTES], Vec::new());
    while let Some(length) = sealer.next_len() {
        again.next(&mut piece[..length]).map_err(Failed::Source)?;
        sealer
            .seal(&piece[..length], &mut chunk)
            .map_err(|_| Failed::Broken(Error::Internal { what: "a piece of another length" }))?;
        out.take(&chunk)?;
    }
    out.finish()?;
    sealer.finish().map_err(|_| Failed::Broken(Error::Internal { what: "an unfinished file" }))
}

/// Cuts a blob into pieces from a place on.
struct Outgoing<'a> {
    at: u64,
    from: u64,
    buffer: BytesMut,
    pieces: &'a mpsc::Sender<Bytes>,
}

impl Outgoing<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        let behind = usize::try_from(self.from.saturating_sub(self.at)).unwrap_or(usize::MAX).min(bytes.len());
        self.at += bytes.len() as u64;
        self.buffer.extend_from_slice(&bytes[behind..]);
        while self.buffer.len() >= MAX_BLOB_PIECE_BYTES {
            self.hand_on(MAX_BLOB_PIECE_BYTES)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failed> {
        if self.buffer.is_empty() { Ok(()) } else { self.hand_on(self.buffer.len()) }
    }

    fn hand_on(&mut self, length: usize) -> Result<(), Failed> {
        let piece = self.buffer.split_to(length).freeze();
        // The stream is gone: whatever ended it is told there.
        self.pieces
            .blocking_send(piece)
            .map_err(|_| Failed::Broken(Error::ConnectionLost { reason: "it ended".to_owned() }))
    }
}

/// A file that is fetched.
pub(super) struct Fetching {
    pub blob: BlobId,
    pub capability: BlobCapability,
    pub key: FileKey,
    pub size: u64,
    pub digest: [u8; 32],
    /// Where what came is kept: the file's own bytes, as far as they opened.
    pub partial: PathBuf,
}

/// Fetches the rest of a file, and checks all of it. Whether it went on from what an earlier run had kept.
pub(super) async fn download(
    stream: BlobStream,
    fetching: Fetching,
    progress: &mut (dyn FnMut(u64) + Send),
) -> (bool, Result<(), Failed>) {
    let partial = fetching.partial.clone();
    let resumed = std::fs::metadata(&partial).is_ok_and(|kept| kept.len() >= CHUNK_BYTES as u64);
    (resumed, download_from(stream, fetching, progress).await)
}

async fn download_from(
    stream: BlobStream,
    fetching: Fetching,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Failed> {
    let BlobStream { mut sender, mut receiver } = stream;
    let Fetching { blob, capability, key, size, digest, partial } = fetching;
    let whole = blob_len(size).map_err(|_| Failed::Damaged(OpenError::TooLarge))?;
    // What is kept is gone over before anything is asked for: it may take a while.
    let kept = tokio::task::spawn_blocking(move || Kept::open(&partial, &key, size, digest));
    let mut kept = kept.await.map_err(|_| Error::Internal { what: "reading what was kept panicked" })??;
    let offset = kept.next;
    let read = v1::ReadBlob { blob: bytes(blob.as_bytes()), capability: bytes(capability.as_bytes()), offset };
    sender.send(What::Read(read)).await?;
    match receiver.next().await? {
        BlobWord::State(state) if state.size == whole => {}
        BlobWord::State(_) => return Err(Failed::Damaged(OpenError::Length)),
        BlobWord::Refused(refusal) => return Err(Failed::Refused(refusal)),
        _ => return Err(Failed::Broken(NONSENSE)),
    }
    progress(kept.written);
    let (pieces, mut queue) = mpsc::channel::<Bytes>(QUEUE);
    let (said, mut written) = mpsc::channel(QUEUE);
    let opening = tokio::task::spawn_blocking(move || {
        while let Some(piece) = queue.blocking_recv() {
            kept.take(&piece)?;
            // Whether it is heard changes nothing.
            let _ = said.try_send(kept.written);
        }
        kept.finish()
    });
    let mut at = offset;
    while at < whole {
        let word = match receiver.next().await {
            Ok(word) => word,
            Err(error) => {
                drop(pieces);
                // What opened so far is kept.
                let _ = opening.await;
                return Err(error.into());
            }
        };
        match word {
            BlobWord::Piece(piece)
                if piece.offset == at && !piece.bytes.is_empty() && piece.bytes.len() as u64 <= whole - at =>
            {
                at += piece.bytes.len() as u64;
                if pieces.send(piece.bytes).await.is_err() {
                    break; // it says below why
                }
            }
            BlobWord::Refused(refusal) => return Err(Failed::Refused(refusal)),
            _ => return Err(Failed::Broken(NONSENSE)),
        }
        while let Ok(written) = written.try_recv() {
            progress(written);
        }
    }
    drop(pieces);
    opening.await.map_err(|_| Error::Internal { what: "decrypting panicked" })??;
    progress(size);
    Ok(())
}

/// The file as far as it opened.
struct Kept {
    file: File,
    path: PathBuf,
    opener: Option<Opener>,
    key: FileKey,
    size: u64,
    digest: [u8; 32],
    /// Where the blob goes on.
    next: u64,
    /// Bytes of the file that opened.
    written: u64,
    input: BytesMut,
    content: Vec<u8>,
}

impl Kept {
    /// What an earlier run kept: whole chunks.
    fn open(path: &std::path::Path, key: &FileKey, size: u64, digest: [u8; 32]) -> Result<Self, Failed> {
        let mut file = folder::open_partial(path)?;
        let disk = folder::failed(path);
        let kept = file.metadata().map_err(&disk)?.len();
        // The last chunk is fetched again: it may hold padding alone.
        let chunks = (kept / CHUNK_BYTES as u64).min(size.saturating_sub(1) / CHUNK_BYTES as u64);
        file.set_len(chunks * CHUNK_BYTES as u64).map_err(&disk)?;
        let (mut next, mut opener) = (0, None);
        if chunks > 0 {
            let header = Sealer::new(key, size).map_err(|_| Failed::Damaged(OpenError::TooLarge))?.header();
            let mut over = Opener::new(key, size, digest, &header).map_err(Failed::Damaged)?;
            let (mut piece, mut scratch) = (vec![0; CHUNK_BYTES], Vec::new());
            next = HEADER_LEN as u64;
            for _ in 0..chunks {
                next += over.next_len().unwrap_or(0) as u64;
                file.read_exact(&mut piece).map_err(&disk)?;
                over.skip(&piece, &mut scratch).map_err(Failed::Damaged)?;
            }
            opener = Some(over);
        }
        file.seek(SeekFrom::Start(chunks * CHUNK_BYTES as u64)).map_err(&disk)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            opener,
            key: key.clone(),
            size,
            digest,
            next,
            written: chunks * CHUNK_BYTES as u64,
            input: BytesMut::new(),
            content: Vec::new(),
        })
    }

    /// Takes the next bytes of the blob: what opens is written.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.input.extend_from_slice(bytes);
        if self.opener.is_none() {
            let Some(header) = self.input.first_chunk::<HEADER_LEN>() else { return Ok(()) };
            self.opener = Some(Opener::new(&self.key, self.size, self.digest, header).map_err(Failed::Damaged)?);
            self.input.advance(HEADER_LEN);
        }
        let Some(opener) = &mut self.opener else { return Ok(()) };
        while let Some(length) = opener.next_len() {
            if self.input.len() < length {
                return Ok(());
            }
            // [KV-111] Opened before it counts.
            opener.open(&self.input[..length], &mut self.content).map_err(Failed::Damaged)?;
            self.input.advance(length);
            self.file.write_all(&self.content).map_err(folder::failed(&self.path))?;
            self.written += self.content.len() as u64;
        }
        if self.input.is_empty() { Ok(()) } else { Err(Failed::Damaged(OpenError::Length)) }
    }

    /// All of it came [KV-112].
    fn finish(self) -> Result<(), Failed> {
        let opener = self.opener.ok_or(Failed::Damaged(OpenError::Length))?;
        opener.finish().map_err(Failed::Damaged)?;
        Ok(self.file.sync_all().map_err(folder::failed(&self.path))?)
    }
}

//! Transfers against a relay of blobs in memory that can be told to lie and to break off.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use kuvert_protocol::attachment::{CHUNK_BYTES, FileKey, blob_len};
use kuvert_types::{BlobCapability, BlobId, UploadToken};
use kuvert_wire::frame;
use kuvert_wire::v1::{self, blob_answer, blob_request::What, client_frame, error::Code, server_frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};

use super::exchange::{self, Failed, Fetching, Uploading};
use super::source;
use crate::rng;
use crate::transport::blob::BlobStream;

/// Changes the bytes of a blob, whose chunks have so many each.
type Lie = fn(&mut Vec<u8>, usize);

#[derive(Clone, Default)]
struct Blob {
    size: u64,
    bytes: Vec<u8>,
    committed: bool,
}

/// Blobs by name, and after how many bytes a stream breaks.
#[derive(Clone, Default)]
struct Relay {
    blobs: Arc<Mutex<HashMap<Vec<u8>, Blob>>>,
    breaks_after: Option<u64>,
}

impl Relay {
    fn stream(&self) -> BlobStream {
        let (ours, theirs) = duplex(256 * 1024);
        tokio::spawn(self.clone().serve(theirs));
        let (receive, send) = split(ours);
        BlobStream::new(send, receive)
    }

    async fn serve(self, mut stream: DuplexStream) {
        let (mut input, mut open, mut left) = (BytesMut::new(), None, self.breaks_after.unwrap_or(u64::MAX));
        loop {
            let Some(v1::ClientFrame { request, body }) = frame::decode(&mut input).unwrap() else {
                if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
                    return;
                }
                continue;
            };
            let Some(client_frame::Body::Blob(v1::BlobRequest { what: Some(what) })) = body else { panic!() };
            let mut answers = Vec::new();
            match what {
                What::Create(v1::CreateBlob { size, .. }) => {
                    let blob = rng::bytes::<16>().to_vec();
                    self.blobs.lock().unwrap().insert(blob.clone(), Blob { size, ..Blob::default() });
                    let token = Bytes::from_static(&[9; 32]);
                    answers.push(of(blob_answer::What::Created(v1::BlobCreated { blob: blob.into(), token })));
                }
                What::Append(v1::AppendBlob { blob, .. }) => {
                    answers.push(self.state(&blob));
                    open = Some(blob);
                }
                What::Piece(piece) => {
                    let name = open.clone().unwrap();
                    let taken = {
                        let mut blobs = self.blobs.lock().unwrap();
                        let blob = blobs.get_mut(name.as_ref()).unwrap();
                        assert_eq!(piece.offset, blob.bytes.len() as u64);
                        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(piece.bytes.len());
                        blob.bytes.extend_from_slice(&piece.bytes[..taken]);
                        left -= taken as u64;
                        taken
                    };
                    if taken < piece.bytes.len() {
                        return;
                    }
                    answers.push(self.state(&name));
                }
                What::Commit(v1::CommitBlob { blob, .. }) => {
                    let mut blobs = self.blobs.lock().unwrap();
                    let blob = blobs.get_mut(blob.as_ref()).unwrap();
                    assert_eq!(blob.bytes.len() as u64, blob.size);
                    blob.committed = true;
                    answers.push(server_frame::Body::Done(v1::Done {}));
                }
                What::Read(v1::ReadBlob { blob, offset, .. }) => {
                    let found = self.blobs.lock().unwrap().get(blob.as_ref()).cloned();
                    let Some(Blob { bytes, size, .. }) = found else {
                        let error = v1::Error { code: Code::BlobUnknown.into(), ..v1::Error::default() };
                        write(&mut stream, request, server_frame::Body::Error(error)).await;
                        return;
                    };
                    answers.push(self.state(&blob));
                    let mut at = offset;
                    for piece in bytes[usize::try_from(offset).unwrap()..].chunks(65_536) {
                        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                        left -= taken as u64;
                        if taken > 0 {
                            let bytes = Bytes::copy_from_slice(&piece[..taken]);
                            answers.push(of(blob_answer::What::Piece(v1::BlobPiece { offset: at, bytes })));
                        }
                        at += taken as u64;
                        let has_no_more = at == bytes.len() as u64 && at < size;
                        if taken < piece.len() || has_no_more {
                            for answer in answers {
                                write(&mut stream, request, answer).await;
                            }
                            return;
                        }
                    }
                }
                What::Discard(v1::DiscardBlob { blob, .. }) | What::Done(v1::DoneBlob { blob, .. }) => {
                    self.blobs.lock().unwrap().remove(blob.as_ref());
                    answers.push(server_frame::Body::Done(v1::Done {}));
                }
                What::Status(_) => panic!(),
            }
            for answer in answers {
                write(&mut stream, request, answer).await;
            }
        }
    }

    fn state(&self, name: &[u8]) -> server_frame::Body {
        let blobs = self.blobs.lock().unwrap();
        let Blob { size, bytes, committed } = &blobs[name];
        let durable = bytes.len() as u64;
        of(blob_answer::What::State(v1::BlobState { size: *size, durable, committed: *committed }))
    }
}

fn of(what: blob_answer::What) -> server_frame::Body {
    server_frame::Body::Blob(v1::BlobAnswer { what: Some(what) })
}

async fn write(stream: &mut DuplexStream, request: u64, body: server_frame::Body) {
    let mut bytes = BytesMut::new();
    frame::encode(&v1::ServerFrame { request, body: Some(body) }, &mut bytes).unwrap();
    // The other end may have left.
    let _ = stream.write_all(&bytes).await;
}

/// A file of some pieces and a bit, each byte of which says where it stands.
fn file(dir: &Path) -> (PathBuf, Vec<u8>) {
    let bytes: Vec<u8> = (0..3 * CHUNK_BYTES as u32 + 1_000).map(|at| (at / 7 % 251) as u8).collect();
    let path = dir.join("file");
    std::fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

struct Sent {
    blob: BlobId,
    key: FileKey,
    digest: [u8; 32],
    size: u64,
}

impl Sent {
    fn fetching(&self, partial: &Path) -> Fetching {
        Fetching {
            blob: self.blob,
            capability: BlobCapability::from_bytes([1; 32]),
            key: self.key.clone(),
            size: self.size,
            digest: self.digest,
            partial: partial.to_owned(),
        }
    }
}

fn uploading(blob: BlobId, key: &FileKey, path: &Path) -> Uploading {
    let (token, content) = (UploadToken::from_bytes([9; 32]), source::read(path).unwrap());
    Uploading { blob, token, key: key.clone(), path: path.to_owned(), content }
}

async fn send(relay: &Relay, path: &Path) -> Sent {
    let key = FileKey::generate(&mut rng::system_rng());
    let size = std::fs::metadata(path).unwrap().len();
    let mut stream = relay.stream();
    let (blob, _) = exchange::create(&mut stream, blob_len(size).unwrap(), vec![], true).await.unwrap();
    let digest = exchange::upload(stream, uploading(blob, &key, path), &mut |_| {}).await.unwrap();
    Sent { blob, key, digest, size }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_arrives_as_it_was_whatever_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::default();
    for size in [0, 1, 511, 512, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 300_000] {
        let (path, partial) = (dir.path().join("a"), dir.path().join(format!("to {size}")));
        let bytes: Vec<u8> = (0..size).map(|at| (at % 253) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let sent = send(&relay, &path).await;
        let mut last = 0;
        let (resumed, fetched) =
            exchange::download(relay.stream(), sent.fetching(&partial), &mut |done| last = done).await;
        assert!(!resumed && fetched.is_ok(), "{size}: {fetched:?}");
        assert_eq!((std::fs::read(&partial).unwrap(), last), (bytes, size as u64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_again_and_again_goes_on_where_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = file(dir.path());
    let mut relay = Relay::default();
    let key = FileKey::generate(&mut rng::system_rng());
    let whole = blob_len(bytes.len() as u64).unwrap();
    let (blob, _) = exchange::create(&mut relay.stream(), whole, vec![], true).await.unwrap();
    relay.breaks_after = Some(10_007);
    let mut broken = 0;
    let digest = loop {
        match exchange::upload(relay.stream(), uploading(blob, &key, &path), &mut |_| {}).await {
            Ok(digest) => break digest,
            Err(Failed::Broken(error)) => assert!(error.is_connection(), "{error}"),
            Err(other) => panic!("{other:?}"),
        }
        broken += 1;
    };
    assert!(broken > 15, "{broken}");
    // Its last answer is lost: the same digest once more, and nothing is sent.
    let again = exchange::upload(relay.stream(), uploading(blob, &key, &path), &mut |_| {}).await.unwrap();
    assert_eq!(again, digest);
    relay.breaks_after = None;
    let (partial, sent) = (dir.path().join("to"), Sent { blob, key, digest, size: bytes.len() as u64 });
    exchange::download(relay.stream(), sent.fetching(&partial), &mut |_| {}).await.1.unwrap();
    assert_eq!(std::fs::read(&partial).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_keeps_what_opened_and_goes_on_there() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = file(dir.path());
    let mut relay = Relay::default();
    let sent = send(&relay, &path).await;
    let partial = dir.path().join("to");
    relay.breaks_after = Some(CHUNK_BYTES as u64 + 100);
    let mut kept = 0;
    loop {
        let (_, fetched) = exchange::download(relay.stream(), sent.fetching(&partial), &mut |_| {}).await;
        let now = std::fs::metadata(&partial).unwrap().len();
        match fetched {
            Ok(()) => break,
            Err(Failed::Broken(_)) => assert!(now > kept && bytes.starts_with(&std::fs::read(&partial).unwrap())),
            Err(other) => panic!("{other:?}"),
        }
        kept = now;
    }
    assert_eq!(std::fs::read(&partial).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_and_changed_on_this_disk_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = file(dir.path());
    let relay = Relay::default();
    let sent = send(&relay, &path).await;
    let partial = dir.path().join("to");
    let mut kept = bytes[..2 * CHUNK_BYTES + 5].to_vec();
    kept[CHUNK_BYTES] ^= 1;
    std::fs::write(&partial, kept).unwrap();
    let (resumed, fetched) = exchange::download(relay.stream(), sent.fetching(&partial), &mut |_| {}).await;
    assert!(resumed && matches!(fetched, Err(Failed::Damaged(_))), "{fetched:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_changes_cuts_swaps_or_adds_gets_nothing_taken_for_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = file(dir.path());
    let relay = Relay::default();
    let sent = send(&relay, &path).await;
    let whole = relay.blobs.lock().unwrap()[sent.blob.as_bytes().as_slice()].clone();
    let chunk = CHUNK_BYTES + 16;
    let lies: [(&str, Lie); 6] = [
        ("a byte", |bytes, _| bytes[200_000] ^= 1),
        ("the commitment", |bytes, _| bytes[5] ^= 1),
        ("two swapped", |bytes, chunk| {
            let (first, second) = bytes[33..].split_at_mut(chunk);
            first.swap_with_slice(&mut second[..chunk]);
        }),
        ("one dropped", |bytes, chunk| drop(bytes.drain(33..33 + chunk))),
        ("cut", |bytes, _| bytes.truncate(100_000)),
        ("one more byte", |bytes, _| bytes.push(0)),
    ];
    for (name, lie) in lies {
        let mut blob = whole.clone();
        lie(&mut blob.bytes, chunk);
        relay.blobs.lock().unwrap().insert(sent.blob.as_bytes().to_vec(), blob);
        let partial = dir.path().join(name);
        let (_, fetched) = exchange::download(relay.stream(), sent.fetching(&partial), &mut |_| {}).await;
        assert!(fetched.is_err(), "{name}");
        let kept = std::fs::read(&partial).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(&kept), "{name}: what is kept opened");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_under_an_upload_sends_none_of_its_new_bytes_under_the_old_key() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut bytes) = file(dir.path());
    let relay = Relay::default();
    let key = FileKey::generate(&mut rng::system_rng());
    let whole = blob_len(bytes.len() as u64).unwrap();
    let (blob, _) = exchange::create(&mut relay.stream(), whole, vec![], true).await.unwrap();
    let looked = uploading(blob, &key, &path);
    bytes[2 * CHUNK_BYTES + 1] ^= 1;
    // In place, after it was looked at.
    std::io::Write::write_all(&mut std::fs::OpenOptions::new().write(true).open(&path).unwrap(), &bytes).unwrap();
    let failed = exchange::upload(relay.stream(), looked, &mut |_| {}).await.unwrap_err();
    assert!(matches!(&failed, Failed::Source(error) if error.kind() == std::io::ErrorKind::InvalidData), "{failed:?}");
    let blob = relay.blobs.lock().unwrap()[blob.as_bytes().as_slice()].clone();
    assert!(!blob.committed && blob.bytes.len() <= 33 + 2 * (CHUNK_BYTES + 16));
}

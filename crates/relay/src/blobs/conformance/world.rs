//! What the checks speak of: blobs of one account, and how they come and go. For a backend's own tests, too.

#![allow(missing_docs)]

use bytes::Bytes;
use kuvert_types::{AccountId, BlobHash, BlobId};

use crate::blobs::room::Share;
use crate::blobs::store::{BlobError, BlobStore, Download, NewBlob, Upload, UploadKey};

pub const NOW: u64 = 1_750_000_000_000;
pub const KIB: usize = 1024;
pub const MIB: usize = 1024 * KIB;

pub fn account(n: u8) -> AccountId {
    AccountId::from_bytes([n; 16])
}

pub fn id(n: u8) -> BlobId {
    // Spread over whatever goes by the first byte.
    BlobId::from_bytes([n.wrapping_mul(37); 16])
}

pub const fn hash(n: u8) -> BlobHash {
    [n; 32]
}

/// A blob of account 1, with readers 1 to `readers`.
pub fn new(n: u8, size: usize, readers: u8) -> NewBlob {
    NewBlob {
        id: id(n),
        account: account(1),
        token: hash(0xA0 ^ n),
        size: size as u64,
        readers: (1..=readers).map(hash).collect(),
        shared: false,
        created_at: NOW,
    }
}

pub fn key(n: u8) -> UploadKey {
    UploadKey { id: id(n), account: account(1), token: hash(0xA0 ^ n) }
}

pub const PLENTY: Share = Share { bytes: 1 << 40, blobs: 1_000, room: 1 << 40 };

/// Bytes in which no run stands twice.
pub fn content(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

pub fn pieces(bytes: &[u8]) -> Vec<Bytes> {
    bytes.chunks(64 * KIB).map(Bytes::copy_from_slice).collect()
}

pub async fn write(upload: &dyn Upload, content: &[u8], from: usize, to: usize) -> Result<(), BlobError> {
    let mut at = from;
    while at < to {
        let end = (at + 128 * KIB).min(to);
        upload.write(at as u64, pieces(&content[at..end])).await?;
        at = end;
    }
    Ok(())
}

pub async fn read(download: &dyn Download, from: usize, to: usize) -> Result<Vec<u8>, BlobError> {
    let mut bytes = Vec::new();
    while from + bytes.len() < to {
        let got = download.read((from + bytes.len()) as u64, 256 * KIB).await?;
        assert!(!got.is_empty() && got.len() <= 256 * KIB);
        bytes.extend_from_slice(&got);
    }
    Ok(bytes)
}

/// Goes on with an upload to its end.
pub async fn complete(store: &dyn BlobStore, n: u8, content: &[u8]) -> Result<(), BlobError> {
    let (upload, state) = store.append(key(n)).await?;
    write(&*upload, content, state.durable as usize, content.len()).await?;
    assert_eq!(upload.sync().await?, content.len() as u64);
    store.commit(key(n), NOW).await
}

/// The whole content, for a reader.
pub async fn whole(store: &dyn BlobStore, n: u8, reader: u8) -> Result<Vec<u8>, BlobError> {
    let (download, state) = store.read(id(n), hash(reader)).await?;
    assert!(state.committed && state.durable == state.size);
    read(&*download, 0, state.size as usize).await
}

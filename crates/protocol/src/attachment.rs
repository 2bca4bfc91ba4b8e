//! Files too long for a message: encrypted in chunks under a key of their own (PROTOCOL.md, Attachments).
//!
//! ```text
//! key ‖ commitment = HKDF(0^32, file key, L("attachment"), 64)
//! blob    = version ‖ commitment 32 ‖ chunk 0 ‖ chunk 1 ‖ …
//! chunk i = AEAD(key, 0^7 ‖ u32(i) ‖ u8(1 if it is the last, else 0), "", padded[65536 i .. 65536 (i + 1)])
//! ```
//! This is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance",
//! 2015) with a key that serves one file, so that the nonce needs no random part. A chunk that is dropped, repeated, moved or cut
//! off does not open; the commitment keeps a blob from opening under a second key; the digest over the blob, which travels in the
//! message, keeps one message from showing two files.
//!
//! [`Sealer`] and [`Opener`] take a file chunk by chunk: memory is one chunk, whatever the file's size.
//!
//! # Example
//! ```
//! use kuvert_protocol::attachment::{FileKey, Opener, Sealer};
//! # use getrandom::{SysRng, rand_core::UnwrapErr};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = b"a photo";
//! let key = FileKey::generate(&mut UnwrapErr(SysRng));
//! let mut sealer = Sealer::new(&key, file.len() as u64)?;
//! let (header, mut chunk) = (sealer.header(), Vec::new());
//! sealer.seal(file, &mut chunk)?;
//! let digest = sealer.finish()?;
//!
//! let mut opener = Opener::new(&key, file.len() as u64, digest, &header)?;
//! let mut content = Vec::new();
//! opener.open(&chunk, &mut content)?;
//! opener.finish()?; // only now is it the file that the sender meant
//! assert_eq!(content, file);
//! # Ok(())
//! # }
//! ```

use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::labels::ATTACHMENT;
use crate::padding::padded_len_u64;
use crate::primitives::aead::{self, KEY_LEN, NONCE_LEN, TAG_LEN};
use crate::primitives::kdf::hkdf_sha256;

/// Bytes of padded content in every chunk but the last, which has 1 to this many.
pub const CHUNK_BYTES: usize = 65_536;
/// Bytes before the first chunk: version and commitment.
pub const HEADER_LEN: usize = 1 + COMMITMENT_LEN;
/// The largest file. With its padding it has 2 GiB, and at most 2^15 chunks.
pub use kuvert_types::limits::MAX_FILE_BYTES;
/// Bytes of a blob's digest: SHA-256.
pub const DIGEST_LEN: usize = 32;

const VERSION: u8 = 1;
const COMMITMENT_LEN: usize = 32;
const MARKER: u8 = 0x80;

/// The secret that a message tells about a file. It serves for one upload of one file: another content under the same key would
/// use the same nonces again. Wiped when dropped.
#[derive(Clone)]
pub struct FileKey(Zeroizing<[u8; KEY_LEN]>);

impl FileKey {
    /// Bytes of a file key.
    pub const LEN: usize = KEY_LEN;

    /// A fresh key: one draw of 32 bytes.
    pub fn generate<R: CryptoRng>(rng: &mut R) -> Self {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        rng.fill_bytes(&mut *key);
        Self(key)
    }

    /// The key that a message told.
    pub fn from_bytes(bytes: &[u8; KEY_LEN]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// What a message tells.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// The key of the chunks, and the commitment to the file key [KV-110].
    fn expand(&self) -> (Zeroizing<[u8; KEY_LEN]>, [u8; COMMITMENT_LEN]) {
        let both = hkdf_sha256::<{ KEY_LEN + COMMITMENT_LEN }>(&[0; 32], &[&*self.0], &[&ATTACHMENT]);
        let (mut key, mut commitment) = (Zeroizing::new([0; KEY_LEN]), [0; COMMITMENT_LEN]);
        key.copy_from_slice(&both[..KEY_LEN]);
        commitment.copy_from_slice(&both[KEY_LEN..]);
        (key, commitment)
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(secret)")
    }
}

/// The file has more than [`MAX_FILE_BYTES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a file has at most 2 GiB")]
pub struct TooLarge;

/// Why a chunk was not sealed. Nothing of it was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The piece is not as long as [`Sealer::next_len`] says, or the file went on behind its size, or ended before it.
    #[error("the file does not have the size that was told")]
    Length,
}

/// Why a blob is not the file that the message told of. What was opened before is of no use either.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// More than [`MAX_FILE_BYTES`] were told.
    #[error("a file has at most 2 GiB")]
    TooLarge,
    /// A version that this one does not know [KV-077].
    #[error("the file has an unknown version")]
    Version,
    /// The commitment is another key's [KV-110].
    #[error("the file was encrypted under another key")]
    AnotherKey,
    /// The blob is shorter or longer than the told size asks for [KV-111].
    #[error("the file does not have the size that was told")]
    Length,
    /// A chunk's tag does not fit: it was changed, moved, repeated or cut [KV-111].
    #[error("a part of the file was changed")]
    Chunk,
    /// The padding is not the one right one [KV-028].
    #[error("the file has a wrong padding")]
    Padding,
    /// All chunks open, and the blob is another than the one that the message told of [KV-112].
    #[error("the file is not the one that the message told of")]
    Digest,
}

/// Bytes of the blob of a file of `size` bytes.
///
/// # Errors
/// [`TooLarge`].
pub fn blob_len(size: u64) -> Result<u64, TooLarge> {
    Shape::of(size).map(Shape::blob_len)
}

/// Where content, padding and chunks of a file lie.
#[derive(Clone, Copy)]
struct Shape {
    size: u64,
    padded: u64,
}

impl Shape {
    fn of(size: u64) -> Result<Self, TooLarge> {
        if size > MAX_FILE_BYTES {
            return Err(TooLarge);
        }
        Ok(Self { size, padded: padded_len_u64(size) })
    }

    /// At least one: no content is padded to nothing.
    const fn chunks(self) -> u64 {
        self.padded.div_ceil(CHUNK_BYTES as u64)
    }

    const fn blob_len(self) -> u64 {
        HEADER_LEN as u64 + self.padded + self.chunks() * TAG_LEN as u64
    }

    /// How many of the first `of` bytes lie in chunk `index`.
    fn part(index: u32, of: u64) -> usize {
        let start = u64::from(index) * CHUNK_BYTES as u64;
        // At most CHUNK_BYTES.
        of.saturating_sub(start).min(CHUNK_BYTES as u64) as usize
    }

    fn content_of(self, index: u32) -> usize {
        Self::part(index, self.size)
    }

    fn padded_of(self, index: u32) -> usize {
        Self::part(index, self.padded)
    }

    const fn has(self, index: u32) -> bool {
        (index as u64) < self.chunks()
    }

    const fn is_last(self, index: u32) -> bool {
        index as u64 + 1 == self.chunks()
    }

    /// What stands in chunk `index` behind `content` bytes of content: the marker if the content ends here or ended with the
    /// chunk before, then zeros.
    fn has_marker(self, index: u32) -> bool {
        u64::from(index) == self.size / CHUNK_BYTES as u64
    }
}

/// Both directions: the chunks in their order, and the digest over what stands in the blob.
struct Chunks {
    key: Zeroizing<[u8; KEY_LEN]>,
    shape: Shape,
    next: u32,
    digest: Sha256,
}

impl Chunks {
    /// Starts behind the header.
    fn new(key: Zeroizing<[u8; KEY_LEN]>, shape: Shape, header: &[u8; HEADER_LEN]) -> Self {
        Self { key, shape, next: 0, digest: Sha256::new().chain_update(header) }
    }

    fn nonce(&self) -> [u8; NONCE_LEN] {
        let [a, b, c, d] = self.next.to_be_bytes();
        [0, 0, 0, 0, 0, 0, 0, a, b, c, d, u8::from(self.shape.is_last(self.next))]
    }

    /// Writes the next chunk of the blob to `out`, whose old content goes.
    fn seal(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        if !self.shape.has(self.next) || content.len() != self.shape.content_of(self.next) {
            return Err(SealError::Length);
        }
        out.clear();
        out.extend_from_slice(content);
        if self.shape.has_marker(self.next) {
            out.push(MARKER);
        }
        out.resize(self.shape.padded_of(self.next), 0);
        let tag = aead::seal(&self.key, &self.nonce(), &[], out);
        out.extend_from_slice(&tag);
        self.count(out);
        Ok(())
    }

    fn count(&mut self, chunk: &[u8]) {
        self.digest.update(chunk);
        self.next += 1;
    }

    const fn is_over(&self) -> bool {
        !self.shape.has(self.next)
    }
}

/// Encrypts a file, chunk by chunk.
pub struct Sealer {
    chunks: Chunks,
    header: [u8; HEADER_LEN],
}

impl Sealer {
    /// For a file of `size` bytes under a key that served for no other content.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn new(key: &FileKey, size: u64) -> Result<Self, TooLarge> {
        let shape = Shape::of(size)?;
        let (key, commitment) = key.expand();
        let mut header = [VERSION; HEADER_LEN];
        header[1..].copy_from_slice(&commitment);
        Ok(Self { chunks: Chunks::new(key, shape, &header), header })
    }

    /// The first bytes of the blob.
    pub const fn header(&self) -> [u8; HEADER_LEN] {
        self.header
    }

    /// How many bytes of the file the next chunk takes: 0 to [`CHUNK_BYTES`]; `None` after the last chunk.
    pub fn next_len(&self) -> Option<usize> {
        (!self.chunks.is_over()).then(|| self.chunks.shape.content_of(self.chunks.next))
    }

    /// Encrypts the next piece of the file and writes the next bytes of the blob to `out`, whose old content goes.
    ///
    /// # Errors
    /// [`SealError::Length`]: not [`next_len`](Self::next_len) bytes.
    pub fn seal(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        self.chunks.seal(content, out)
    }

    /// The digest over the blob, for the message.
    ///
    /// # Errors
    /// [`SealError::Length`]: the last chunk is not sealed yet.
    pub fn finish(self) -> Result<[u8; DIGEST_LEN], SealError> {
        if self.chunks.is_over() { Ok(self.chunks.digest.finalize().into()) } else { Err(SealError::Length) }
    }
}

/// Decrypts a file, chunk by chunk. A chunk that opened is the sender's at its place; that it is the whole file that the
/// message told of is known after [`finish`](Self::finish) only.
pub struct Opener {
    chunks: Chunks,
    expected: [u8; DIGEST_LEN],
}

impl Opener {
    /// For what a message told, and the first [`HEADER_LEN`] bytes of the blob.
    ///
    /// # Errors
    /// [`OpenError::TooLarge`], [`OpenError::Version`], [`OpenError::AnotherKey`].
    pub fn new(
        key: &FileKey,
        size: u64,
        digest: [u8; DIGEST_LEN],
        header: &[u8; HEADER_LEN],
    ) -> Result<Self, OpenError> {
        let shape = Shape::of(size).map_err(|TooLarge| OpenError::TooLarge)?;
        if header[0] != VERSION {
            return Err(OpenError::Version);
        }
        let (key, commitment) = key.expand();
        // [KV-110] Before anything is opened. In constant time, as all that comes of secrets [KV-010].
        if !bool::from(commitment.ct_eq(&header[1..])) {
            return Err(OpenError::AnotherKey);
        }
        Ok(Self { chunks: Chunks::new(key, shape, header), expected: digest })
    }

    /// How many bytes of the blob the next chunk has; `None` after the last chunk.
    pub fn next_len(&self) -> Option<usize> {
        (!self.chunks.is_over()).then(|| self.chunks.shape.padded_of(self.chunks.next) + TAG_LEN)
    }

    /// Opens the next chunk and writes its part of the file to `out`, whose old content goes.
    ///
    /// # Errors
    /// [`OpenError::Length`], [`OpenError::Chunk`], [`OpenError::Padding`]; `out` is empty then, and the same chunk is the next.
    pub fn open(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), OpenError> {
        out.clear();
        // [KV-111] Each chunk has the one length that the file's size gives it.
        if self.next_len() != Some(chunk.len()) {
            return Err(OpenError::Length);
        }
        let Some((ciphertext, tag)) = chunk.split_last_chunk::<TAG_LEN>() else { return Err(OpenError::Length) };
        out.resize(ciphertext.len(), 0);
        let Chunks { key, shape, next, .. } = &self.chunks;
        if aead::open(key, &self.chunks.nonce(), &[], ciphertext, tag, out).is_err() {
            out.clear();
            return Err(OpenError::Chunk);
        }
        // [KV-028] The size says where the padding begins: there is nothing to look for.
        let (content, marker) = (shape.content_of(*next), usize::from(shape.has_marker(*next)));
        let padding = &out[content..];
        if padding[..marker].iter().any(|byte| *byte != MARKER) || padding[marker..].iter().any(|byte| *byte != 0) {
            out.clear();
            return Err(OpenError::Padding);
        }
        out.truncate(content);
        self.chunks.count(chunk);
        Ok(())
    }

    /// Goes over the next chunk, whose content an earlier run opened and kept: what is fetched again after an interruption is
    /// the rest alone. Content that changed meanwhile is noticed by [`finish`](Self::finish). `scratch` holds the chunk for the time.
    ///
    /// # Errors
    /// [`OpenError::Length`].
    pub fn skip(&mut self, content: &[u8], scratch: &mut Vec<u8>) -> Result<(), OpenError> {
        self.chunks.seal(content, scratch).map_err(|SealError::Length| OpenError::Length)
    }

    /// Whether the chunks were the whole blob that the message told of [KV-112].
    ///
    /// # Errors
    /// [`OpenError::Length`]: chunks are missing; [`OpenError::Digest`].
    pub fn finish(self) -> Result<(), OpenError> {
        if !self.chunks.is_over() {
            return Err(OpenError::Length);
        }
        let digest: [u8; DIGEST_LEN] = self.chunks.digest.finalize().into();
        if digest == self.expected { Ok(()) } else { Err(OpenError::Digest) }
    }
}

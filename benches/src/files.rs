//! Files in chunks, beside the same primitives with nothing around.
//!
//! ```text
//! file_seal   ChaCha20-Poly1305 over the padded file in chunks of 64 KiB, SHA-256 over what comes out
//! file_open   SHA-256 over the same, and each chunk opened
//! ```

use std::hint::black_box;

use kuvert_protocol::attachment::{CHUNK_BYTES, FileKey, HEADER_LEN, Opener, Sealer, blob_len};
use kuvert_protocol::hazmat::primitives::backend::chosen::{open, seal};
use sha2::{Digest, Sha256};

use crate::Outcome;
use crate::conversation::{Half, content};
use crate::meter::{Batch, Meter};

const KEY: [u8; 32] = [7; 32];
const TAG_LEN: usize = 16;

/// A file is sealed, or opened.
pub struct Files {
    half: Half,
    file: Vec<u8>,
    digest: [u8; 32],
    header: [u8; HEADER_LEN],
    chunks: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

impl Files {
    /// Of a file of `size` bytes.
    ///
    /// # Errors
    /// The file is too large.
    pub fn new(half: Half, size: usize) -> Outcome<Self> {
        let mut sealer = Sealer::new(&FileKey::from_bytes(&KEY), size as u64)?;
        let file = content(size);
        let header = sealer.header();
        let (mut chunks, mut rest) = (Vec::new(), &file[..]);
        while let Some(length) = sealer.next_len() {
            let (piece, behind) = rest.split_at(length);
            let mut chunk = Vec::new();
            sealer.seal(piece, &mut chunk)?;
            chunks.push(chunk);
            rest = behind;
        }
        // As a client has it after its first file.
        let scratch = Vec::with_capacity(CHUNK_BYTES + TAG_LEN);
        Ok(Self { half, digest: sealer.finish()?, file, header, chunks, scratch })
    }

    fn seal(&mut self) -> Outcome<()> {
        let mut sealer = Sealer::new(&FileKey::from_bytes(&KEY), self.file.len() as u64)?;
        let mut rest = &self.file[..];
        while let Some(length) = sealer.next_len() {
            let (piece, behind) = rest.split_at(length);
            sealer.seal(piece, &mut self.scratch)?;
            black_box(&self.scratch);
            rest = behind;
        }
        black_box(sealer.finish()?);
        Ok(())
    }

    fn open(&mut self) -> Outcome<()> {
        let key = FileKey::from_bytes(&KEY);
        let mut opener = Opener::new(&key, self.file.len() as u64, self.digest, &self.header)?;
        for chunk in &self.chunks {
            opener.open(chunk, &mut self.scratch)?;
            black_box(&self.scratch);
        }
        Ok(opener.finish()?)
    }
}

impl Batch for Files {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        match self.half {
            Half::Send => self.seal()?,
            Half::Receive => self.open()?,
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        1
    }
}

/// The same primitives with nothing around.
pub struct Bound {
    half: Half,
    chunks: Vec<(Vec<u8>, [u8; TAG_LEN])>,
    scratch: Vec<u8>,
}

impl Bound {
    /// Of a file of `size` bytes.
    ///
    /// # Errors
    /// The file is too large.
    pub fn new(half: Half, size: usize) -> Outcome<Self> {
        let mut rest = usize::try_from(blob_len(size as u64)?)? - HEADER_LEN;
        let mut chunks = Vec::new();
        while rest > 0 {
            let length = rest.min(CHUNK_BYTES + TAG_LEN);
            let mut chunk = content(length - TAG_LEN);
            let tag = seal(&KEY, &[0; 12], &[], &mut chunk);
            chunks.push((chunk, tag));
            rest -= length;
        }
        Ok(Self { half, chunks, scratch: vec![0; CHUNK_BYTES] })
    }
}

impl Batch for Bound {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        let mut digest = Sha256::new();
        for (chunk, tag) in &mut self.chunks {
            match self.half {
                // What is sealed before is as good a file as any.
                Half::Send => {
                    let tag = black_box(seal(&KEY, &[0; 12], &[], chunk));
                    digest.update(&*chunk);
                    digest.update(tag);
                }
                Half::Receive => {
                    digest.update(&*chunk);
                    digest.update(*tag);
                    open(&KEY, &[0; 12], &[], chunk, tag, &mut self.scratch[..chunk.len()])?;
                }
            }
        }
        black_box(digest.finalize());
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        1
    }
}

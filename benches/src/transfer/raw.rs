//! The cipher and the disk with nothing around.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use kuvert_protocol::attachment::CHUNK_BYTES;
use kuvert_protocol::hazmat::primitives::backend::chosen::{open, seal};

use crate::Outcome;
use crate::conversation::{Half, content};
use crate::meter::{Batch, Meter};

const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 12] = [0; 12];
const TAG_LEN: usize = 16;

/// ChaCha20-Poly1305 over chunks as a file has them: no digest, no padding, no header.
pub struct Cipher {
    half: Half,
    chunks: Vec<(Vec<u8>, [u8; TAG_LEN])>,
    scratch: Vec<u8>,
}

impl Cipher {
    /// Over `size` bytes.
    ///
    /// # Errors
    /// None that are known: the signature is that of other batches.
    pub fn new(half: Half, size: usize) -> Outcome<Self> {
        let bytes = content(size);
        let chunks = bytes.chunks(CHUNK_BYTES).map(|chunk| {
            let mut chunk = chunk.to_vec();
            let tag = seal(&KEY, &NONCE, &[], &mut chunk);
            (chunk, tag)
        });
        Ok(Self { half, chunks: chunks.collect(), scratch: vec![0; CHUNK_BYTES] })
    }

    fn work(&mut self) -> Outcome<()> {
        for (chunk, tag) in &mut self.chunks {
            match self.half {
                Half::Send => *tag = black_box(seal(&KEY, &NONCE, &[], chunk)),
                Half::Receive => {
                    let out = self.scratch.get_mut(..chunk.len()).ok_or("a chunk is too long")?;
                    open(&KEY, &NONCE, &[], chunk, tag, out)?;
                    black_box(&self.scratch);
                }
            }
        }
        Ok(())
    }
}

impl Batch for Cipher {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        self.work()?;
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        1
    }
}

/// Seconds on the wall that one thread needs to seal, or to open, `size` bytes.
///
/// # Errors
/// The cipher failed.
pub fn wall(half: Half, size: usize) -> Outcome<f64> {
    // Time and again the same few: what is measured is the cipher.
    let part = size.min(16 * super::MIB);
    let mut cipher = Cipher::new(half, part)?;
    cipher.work()?;
    let begun = Instant::now();
    for _ in 0..size / part {
        cipher.work()?;
    }
    Ok(begun.elapsed().as_secs_f64() * size as f64 / (size / part * part) as f64)
}

/// Seconds that it takes to write a file of `size` bytes in pieces and to have it on the disk.
///
/// # Errors
/// The disk fails or is full.
pub fn disk(directory: &Path, size: usize, piece: usize) -> Outcome<f64> {
    let path = directory.join("raw");
    let bytes = content(piece);
    let begun = Instant::now();
    let mut file = File::create(&path)?;
    let mut left = size;
    while left > 0 {
        let part = bytes.get(..left.min(piece)).unwrap_or(&bytes);
        file.write_all(part)?;
        left -= part.len();
    }
    file.sync_all()?;
    File::open(directory)?.sync_all()?;
    let seconds = begun.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(seconds)
}

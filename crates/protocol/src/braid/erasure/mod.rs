//! Erasure code: a payload becomes an endless row of chunks, and any `k` different ones give it back, where `k` is the
//! number of chunks that the payload fills.
//!
//! Owns chunks, their indices and the arithmetic. Not its concern: whether the payload is genuine; the payloads carry
//! MACs or are checked against a hash. All that passes through here is public (encapsulation keys, ciphertexts, their
//! MACs), so time may depend on it.
//!
//! A systematic Reed–Solomon code over GF(2^16) [KV-051]. The payload, padded with zero bytes to `k` chunks of [`CHUNK_LEN`] bytes,
//! is `k × 64` big-endian symbols. For each of the 64 places in a chunk there is one polynomial of degree below `k`, whose
//! value at the field element `i` is the symbol in that place of chunk `i`. Chunks 0 to k-1 are therefore the payload
//! itself, and there are 65,536 different chunks, one per index; a sender that needs more starts over at 0. Every
//! 16-bit index is valid.

mod decoder;
mod encoder;
mod field;
#[cfg(test)]
mod tests;

pub(crate) use decoder::{Decoder, PaddingError};
pub(crate) use encoder::Encoder;

/// Bytes of a chunk.
pub(crate) const CHUNK_LEN: usize = 128;

/// Chunks of the longest payload. Bounds the work of encoding and decoding.
pub(crate) const MAX_CHUNKS: usize = 9;

/// One chunk's bytes.
pub(crate) type Chunk = [u8; CHUNK_LEN];

/// Chunks that a payload of `len` bytes fills.
pub(crate) const fn chunks(len: usize) -> usize {
    len.div_ceil(CHUNK_LEN)
}

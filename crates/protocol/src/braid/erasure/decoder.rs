//! Chunks to payload.

use alloc::vec::Vec;

use kuvert_types::{DecodeError, Reader};
use zeroize::Zeroizing;

use super::{CHUNK_LEN, Chunk, MAX_CHUNKS, chunks, field};

/// The padding after the payload is not zero: the chunks do not come from one payload of the agreed length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PaddingError;

/// Collects chunks of one payload until there are enough.
///
/// Holds fewer than `k` chunks at any time: the one that completes the payload is not stored. A chunk whose index is
/// already there is ignored, whatever it holds; the first one wins, and if it was wrong, the payload's MAC or hash shows it.
#[derive(Debug)]
pub(crate) struct Decoder {
    len: usize,
    /// By index, ascending.
    chunks: Vec<(u16, Chunk)>,
}

impl Decoder {
    /// Waits for a payload of `len` bytes, 1 to `MAX_CHUNKS × CHUNK_LEN`.
    pub(crate) const fn new(len: usize) -> Self {
        debug_assert!(len >= 1 && len <= MAX_CHUNKS * CHUNK_LEN);
        Self { len, chunks: Vec::new() }
    }

    /// Takes a chunk; gives the payload once there are enough [KV-052]. After that the decoder is of no further use.
    pub(crate) fn add(&mut self, index: u16, chunk: &Chunk) -> Result<Option<Vec<u8>>, PaddingError> {
        let k = chunks(self.len);
        let Err(position) = self.position(index) else { return Ok(None) };
        if self.chunks.capacity() == 0 {
            self.chunks.reserve_exact(k);
        }
        self.chunks.insert(position, (index, *chunk));
        if self.chunks.len() < k { Ok(None) } else { self.payload(k).map(Some) }
    }

    /// `number of chunks (1) ‖ (index (2) ‖ chunk (128))…`
    pub(crate) fn encode(&self, out: &mut Zeroizing<Vec<u8>>) {
        out.push(u8::try_from(self.chunks.len()).unwrap_or(u8::MAX)); // below MAX_CHUNKS
        for (index, chunk) in &self.chunks {
            out.extend_from_slice(&index.to_be_bytes());
            out.extend_from_slice(chunk);
        }
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(len: usize, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut decoder = Self::new(len);
        let count = usize::from(reader.u8()?);
        if count >= chunks(len) {
            return Err(DecodeError::Value);
        }
        decoder.chunks.reserve_exact(chunks(len));
        for _ in 0..count {
            let index = reader.u16()?;
            if decoder.chunks.last().is_some_and(|(last, _)| *last >= index) {
                return Err(DecodeError::Value);
            }
            decoder.chunks.push((index, reader.array()?));
        }
        Ok(decoder)
    }

    fn position(&self, index: u16) -> Result<usize, usize> {
        self.chunks.binary_search_by_key(&index, |(index, _)| *index)
    }

    /// The payload from `k` chunks.
    fn payload(&self, k: usize) -> Result<Vec<u8>, PaddingError> {
        let mut payload = Vec::with_capacity(k * CHUNK_LEN);
        // Worked out only if a data chunk is missing.
        let mut interpolation = None;
        for index in (0..=u16::MAX).take(k) {
            match self.position(index) {
                Ok(position) => payload.extend_from_slice(&self.chunks[position].1),
                Err(_) => {
                    let (points, weights) = interpolation.get_or_insert_with(|| self.interpolation());
                    let numerators = field::numerators(&points[..k], index);
                    let terms = self.chunks.iter().zip(numerators).zip(weights.iter());
                    let coefficient = |numerator, weight| field::multiply(numerator, weight);
                    let terms = terms.map(|(((_, chunk), numerator), weight)| (coefficient(numerator, *weight), chunk));
                    payload.extend_from_slice(&field::combine(terms));
                }
            }
        }
        // [KV-052]
        if payload[self.len..].iter().any(|byte| *byte != 0) {
            return Err(PaddingError);
        }
        payload.truncate(self.len);
        Ok(payload)
    }

    /// The chunks' indices `pⱼ`, and for each the inverse of the product of `pⱼ - pₘ` over all others.
    fn interpolation(&self) -> ([u16; MAX_CHUNKS], [u16; MAX_CHUNKS]) {
        let mut points = [0; MAX_CHUNKS];
        for (point, (index, _)) in points.iter_mut().zip(&self.chunks) {
            *point = *index;
        }
        let mut weights = [1; MAX_CHUNKS];
        for (j, weight) in weights.iter_mut().enumerate().take(self.chunks.len()) {
            let others = points.iter().enumerate().take(self.chunks.len()).filter(|(m, _)| *m != j);
            let product = others.fold(1, |product, (_, point)| field::multiply(product, points[j] ^ point));
            *weight = field::invert(product);
        }
        (points, weights)
    }
}

//! Payload to chunks.

use alloc::boxed::Box;
use alloc::vec;

use super::{CHUNK_LEN, Chunk, MAX_CHUNKS, chunks, field};

/// Gives the chunks of one payload, one after another.
#[derive(Debug)]
pub(crate) struct Encoder {
    data: Box<[Chunk]>,
    len: usize,
    next: u16,
}

impl Encoder {
    /// Starts at chunk 0. `payload` has 1 to `MAX_CHUNKS × CHUNK_LEN` bytes.
    pub(crate) fn new(payload: &[u8]) -> Self {
        Self::resume(payload, 0)
    }

    /// Starts at chunk `next`.
    pub(crate) fn resume(payload: &[u8], next: u16) -> Self {
        debug_assert!((1..=MAX_CHUNKS * CHUNK_LEN).contains(&payload.len()));
        let mut data = vec![[0; CHUNK_LEN]; chunks(payload.len())].into_boxed_slice();
        data.as_flattened_mut()[..payload.len()].copy_from_slice(payload);
        Self { data, len: payload.len(), next }
    }

    /// Index and bytes of the next chunk. After index 65,535 comes 0 again.
    pub(crate) fn next_chunk(&mut self) -> (u16, Chunk) {
        let index = self.next;
        self.next = index.wrapping_add(1);
        let chunk = self.data.get(usize::from(index)).copied().unwrap_or_else(|| self.parity(index));
        (index, chunk)
    }

    /// The payload, without padding.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.data.as_flattened()[..self.len]
    }

    /// The index that comes next.
    pub(crate) const fn next_index(&self) -> u16 {
        self.next
    }

    /// The polynomials' values at `index`, which is `k` or more: Lagrange interpolation through chunks 0 to k-1, whose
    /// denominators are the same for every index.
    fn parity(&self, index: u16) -> Chunk {
        let k = self.data.len();
        if k == 1 {
            // A polynomial of degree 0 has the same value everywhere.
            return self.data[0];
        }
        let points = &POINTS[..k];
        let numerators = field::numerators(points, index);
        let terms = self.data.iter().zip(numerators).zip(&WEIGHTS[k]);
        field::combine(terms.map(|((chunk, numerator), weight)| (field::multiply(numerator, *weight), chunk)))
    }
}

/// The data chunks' indices.
const POINTS: [u16; MAX_CHUNKS] = {
    let mut points = [0; MAX_CHUNKS];
    let mut i = 1;
    while i < MAX_CHUNKS {
        points[i] = points[i - 1] + 1;
        i += 1;
    }
    points
};

/// `WEIGHTS[k][j]`: the inverse of the product of `j - m` over all other `m` below `k`.
const WEIGHTS: [[u16; MAX_CHUNKS]; MAX_CHUNKS + 1] = {
    let mut weights = [[0; MAX_CHUNKS]; MAX_CHUNKS + 1];
    let mut k = 1;
    while k <= MAX_CHUNKS {
        let mut j = 0;
        while j < k {
            let mut product = 1;
            let mut m = 0;
            while m < k {
                if m != j {
                    product = field::multiply(product, POINTS[j] ^ POINTS[m]);
                }
                m += 1;
            }
            weights[k][j] = field::invert(product);
            j += 1;
        }
        k += 1;
    }
    weights
};

//! Arithmetic in GF(2^16) = GF(2)[x] / (x^16 + x^12 + x^3 + x + 1). A symbol's bit `i` is the coefficient of `x^i`.
//!
//! No tables: multiplying whole chunks by constants works bit by bit on 64 symbols at once, which compilers turn into
//! vector instructions, and few single products are needed.

use super::{CHUNK_LEN, Chunk, MAX_CHUNKS};

/// The reduction polynomial without its leading term [KV-051].
const REDUCTION: u16 = 0x100B;

/// Symbols of a chunk.
const SYMBOLS: usize = CHUNK_LEN / 2;

/// `a · x`
const fn times_x(a: u16) -> u16 {
    // All ones if the leading bit is set.
    let carry = (a >> 15).wrapping_neg();
    (a << 1) ^ (carry & REDUCTION)
}

/// `a · b`
pub(super) const fn multiply(a: u16, b: u16) -> u16 {
    let mut product = 0;
    let mut bit = 16;
    while bit > 0 {
        bit -= 1;
        product = times_x(product) ^ (a & ((b >> bit) & 1).wrapping_neg());
    }
    product
}

/// `a⁻¹ = a^(2^16 - 2)`; 0 for 0.
pub(super) const fn invert(a: u16) -> u16 {
    let mut square = a;
    let mut inverse = 1;
    let mut i = 1;
    while i < 16 {
        square = multiply(square, square);
        inverse = multiply(inverse, square);
        i += 1;
    }
    inverse
}

/// For each point `pⱼ` the product of `x - pₘ` over all other points: the numerators of the Lagrange basis at `x`.
pub(super) fn numerators(points: &[u16], x: u16) -> [u16; MAX_CHUNKS] {
    let mut out = [1; MAX_CHUNKS];
    let mut before = 1;
    for (out, point) in out.iter_mut().zip(points) {
        *out = before;
        before = multiply(before, x ^ point);
    }
    let mut after = 1;
    for (out, point) in out.iter_mut().zip(points).rev() {
        *out = multiply(*out, after);
        after = multiply(after, x ^ point);
    }
    out
}

/// `Σ coefficientⱼ · chunkⱼ`, symbol by symbol.
pub(super) fn combine<'a>(terms: impl Iterator<Item = (u16, &'a Chunk)>) -> Chunk {
    let mut coefficients = [0; MAX_CHUNKS];
    let mut sources = [[0; SYMBOLS]; MAX_CHUNKS];
    let mut len = 0;
    for ((coefficient, chunk), (c, source)) in terms.zip(coefficients.iter_mut().zip(&mut sources)) {
        *c = coefficient;
        for (symbol, bytes) in source.iter_mut().zip(chunk.as_chunks::<2>().0) {
            *symbol = u16::from_be_bytes(*bytes);
        }
        len += 1;
    }

    // Horner's rule over the bits of the coefficients, all terms together.
    let mut sum = [0; SYMBOLS];
    for bit in (0..16).rev() {
        sum = sum.map(times_x);
        for (coefficient, source) in coefficients.iter().zip(&sources).take(len) {
            if (coefficient >> bit) & 1 == 1 {
                for (sum, symbol) in sum.iter_mut().zip(source) {
                    *sum ^= symbol;
                }
            }
        }
    }

    let mut out = [0; CHUNK_LEN];
    for (bytes, symbol) in out.as_chunks_mut::<2>().0.iter_mut().zip(sum) {
        *bytes = symbol.to_be_bytes();
    }
    out
}

//! Padding inside the AEAD, so that a ciphertext's length says as little as possible (PROTOCOL.md, Padding).
//!
//! ```text
//! padded = content ‖ 0x80 ‖ zero bytes, up to padded_len(content)
//! with l = content length + 1:  512, 4096 or 16384 if l fits, above that Padmé(l)
//! Padmé(l): e = ⌊log2 l⌋, s = ⌊log2 e⌋ + 1, round l up to a multiple of 2^(e − s)   (at most 12 % more)
//! ```
//! There is exactly one right padding for each content; every other is refused, so that no channel can hide in it [KV-028].
//! Padmé: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019.

use alloc::vec::Vec;

/// Sizes below which content looks alike: a chat line, a long text, a small batch.
const BUCKETS: [u64; 3] = [512, 4096, 16384];

const MARKER: u8 = 0x80;

/// Bytes that `content_len` bytes of content take when padded.
pub const fn padded_len(content_len: usize) -> usize {
    padded_len_u64(content_len as u64) as usize
}

/// [`padded_len`] of a file, which may be longer than memory has addresses. `content_len` is below 2^63.
pub(crate) const fn padded_len_u64(content_len: u64) -> u64 {
    let len = content_len + 1;
    let mut i = 0;
    while i < BUCKETS.len() {
        if len <= BUCKETS[i] {
            return BUCKETS[i];
        }
        i += 1;
    }
    let exponent = len.ilog2();
    let significant = exponent.ilog2() + 1;
    let mask = (1 << (exponent - significant)) - 1;
    (len + mask) & !mask
}

/// Whether some content is padded to exactly `len` bytes.
pub(crate) const fn is_padded_len(len: usize) -> bool {
    // The longest content that could lead to `len` is `len - 1`.
    len > 0 && padded_len(len - 1) == len
}

/// Appends `content` and its padding. `out` must have room, lest it move.
pub(crate) fn append_padded(content: &[u8], out: &mut Vec<u8>) {
    let end = out.len() + padded_len(content.len());
    out.extend_from_slice(content);
    out.push(MARKER);
    out.resize(end, 0);
}

/// Cuts `padded` down to its content. `None` if the padding is not the one right one [KV-028].
pub(crate) fn content_len(padded: &[u8]) -> Option<usize> {
    // Much of it may be zeros: whole blocks first.
    const BLOCK: usize = 16;
    let (_, blocks) = padded.as_rchunks::<BLOCK>();
    let zeros = BLOCK * blocks.iter().rev().take_while(|block| **block == [0; BLOCK]).count();
    let end = padded[..padded.len() - zeros].iter().rposition(|byte| *byte != 0)?;
    (padded[end] == MARKER && padded_len(end) == padded.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_and_padme() {
        for (content, padded) in [
            (0, 512),
            (511, 512),
            (512, 4096),
            (4095, 4096),
            (4096, 16384),
            (16383, 16384),
            (16384, 17408),
            (65535, 65536),
            (65536, 67584),
            (90_000, 90_112),
        ] {
            assert_eq!(padded_len(content), padded, "{content}");
        }
        for len in 0..100_000 {
            assert!(is_padded_len(padded_len(len)));
            assert!(padded_len(len) > len && padded_len(len) <= padded_len(len + 1));
            assert!(len < 16384 || padded_len(len) - len <= len / 8);
        }
        for len in [0, 1, 511, 513, 16385, 17407] {
            assert!(!is_padded_len(len), "{len}");
        }
    }

    #[test]
    fn round_trips_and_refuses_every_other_padding() {
        for len in [0, 1, 300, 511, 512, 5000, 20_000] {
            let mut padded = Vec::new();
            append_padded(&alloc::vec![0xA5; len], &mut padded);
            assert_eq!(content_len(&padded), Some(len));
            padded.push(0);
            assert_eq!(content_len(&padded), None);
            padded.truncate(padded.len() - 2);
            assert_eq!(content_len(&padded), None, "{len}");
        }
        assert_eq!(content_len(&[0; 512]), None);
        assert_eq!(content_len(&[]), None);
        let mut wrong_marker = Vec::new();
        append_padded(b"content", &mut wrong_marker);
        wrong_marker[7] = 0x81;
        assert_eq!(content_len(&wrong_marker), None);
        let mut trailing = Vec::new();
        append_padded(b"content", &mut trailing);
        trailing[511] = 1;
        assert_eq!(content_len(&trailing), None);
        // A large bucket around a content that fits a smaller one.
        let mut oversized = alloc::vec![0; 4096];
        oversized[3] = MARKER;
        assert_eq!(content_len(&oversized), None);
    }
}

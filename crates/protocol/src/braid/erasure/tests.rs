#![allow(clippy::unwrap_used)]

use alloc::vec;
use alloc::vec::Vec;

use kuvert_types::Reader;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251 + 1).to_le_bytes()[0]).collect()
}

fn chunk_at(payload: &[u8], index: u16) -> Chunk {
    let (at, chunk) = Encoder::resume(payload, index).next_chunk();
    assert_eq!(at, index);
    chunk
}

/// The polynomials evaluated the slow way, by the definition in the module's head.
fn chunk_by_definition(payload: &[u8], index: u16) -> Chunk {
    let mut padded = payload.to_vec();
    padded.resize(chunks(payload.len()) * CHUNK_LEN, 0);
    let mut out = [0; CHUNK_LEN];
    for place in 0..CHUNK_LEN / 2 {
        let mut value = 0;
        for (j, chunk) in (0_u16..).zip(padded.chunks(CHUNK_LEN)) {
            let mut basis = 1;
            for m in (0..).take(padded.len() / CHUNK_LEN) {
                if m != j {
                    basis = field::multiply(basis, field::multiply(index ^ m, field::invert(j ^ m)));
                }
            }
            value ^= field::multiply(basis, u16::from_be_bytes([chunk[2 * place], chunk[2 * place + 1]]));
        }
        out[2 * place..2 * place + 2].copy_from_slice(&value.to_be_bytes());
    }
    out
}

#[test]
fn the_field_is_a_field() {
    // x has order 2^16 - 1, so the polynomial is primitive.
    let mut power = 1_u16;
    for i in 1..=65_535_u32 {
        power = field::multiply(power, 2);
        assert_eq!(power == 1, i == 65_535, "{i}");
    }
    for a in (1..=u16::MAX).step_by(17) {
        assert_eq!(field::multiply(a, field::invert(a)), 1);
    }
    assert_eq!(field::multiply(0x8000, 2), 0x100B);
    assert_eq!(field::invert(0), 0);
}

#[test]
fn chunks_are_what_the_definition_says() {
    for len in [96, 160, 960, 1152] {
        let payload = payload(len);
        for index in [0, 1, 2, 7, 8, 9, 10, 100, 4096, 65_534, 65_535] {
            assert_eq!(chunk_at(&payload, index), chunk_by_definition(&payload, index), "{len} {index}");
        }
    }
}

#[test]
fn the_first_chunks_are_the_payload() {
    let payload = payload(960);
    let mut encoder = Encoder::new(&payload);
    let mut joined = Vec::new();
    for index in 0..8 {
        let (at, chunk) = encoder.next_chunk();
        assert_eq!(at, index);
        joined.extend_from_slice(&chunk);
    }
    assert_eq!(&joined[..960], payload);
    assert!(joined[960..].iter().all(|byte| *byte == 0));
}

#[test]
fn indices_start_over_after_the_last() {
    let payload = payload(160);
    let mut encoder = Encoder::resume(&payload, 65_535);
    assert_eq!(encoder.next_chunk().0, 65_535);
    assert_eq!(encoder.next_chunk(), (0, chunk_at(&payload, 0)));
}

#[test]
fn duplicates_do_not_count_and_the_first_of_two_conflicting_chunks_wins() {
    let payload = payload(160);
    let mut decoder = Decoder::new(160);
    let first = chunk_at(&payload, 5);
    for _ in 0..10 {
        assert_eq!(decoder.add(5, &first), Ok(None));
        assert_eq!(decoder.add(5, &[0xFF; CHUNK_LEN]), Ok(None));
    }
    assert_eq!(decoder.add(65_535, &chunk_at(&payload, 65_535)), Ok(Some(payload)));
}

#[test]
fn padding_that_is_not_zero_is_refused() {
    let mut decoder = Decoder::new(96);
    let mut chunk = chunk_at(&payload(96), 0);
    chunk[127] = 1;
    assert_eq!(decoder.add(0, &chunk), Err(PaddingError));
}

#[test]
fn stored_form_is_strict() {
    let payload = payload(960);
    let mut decoder = Decoder::new(960);
    for index in [700, 3, 0, 65_535] {
        decoder.add(index, &chunk_at(&payload, index)).unwrap();
    }
    let mut bytes = Zeroizing::new(Vec::new());
    decoder.encode(&mut bytes);
    let mut again = Zeroizing::new(Vec::new());
    Reader::whole(&bytes, |reader| Decoder::decode(960, reader)).unwrap().encode(&mut again);
    assert_eq!(bytes, again);

    // Not ascending, repeated, and as many as would have completed the payload.
    let mut swapped = bytes.to_vec();
    swapped[1..3].copy_from_slice(&9_u16.to_be_bytes());
    assert!(Reader::whole(&swapped, |reader| Decoder::decode(960, reader)).is_err());
    let mut repeated = bytes.to_vec();
    repeated[1 + 130..3 + 130].copy_from_slice(&0_u16.to_be_bytes());
    assert!(Reader::whole(&repeated, |reader| Decoder::decode(960, reader)).is_err());
    let mut complete = vec![8];
    for index in 0..8_u16 {
        complete.extend_from_slice(&index.to_be_bytes());
        complete.extend_from_slice(&[0; CHUNK_LEN]);
    }
    assert!(Reader::whole(&complete, |reader| Decoder::decode(960, reader)).is_err());
}

proptest! {
    #[test]
    fn any_k_chunks_are_enough(
        len in prop::sample::select(vec![1_usize, 96, 128, 129, 160, 960, 1151, 1152]),
        indices in prop::collection::hash_set(any::<u16>(), MAX_CHUNKS),
        low in prop::collection::vec(0_u16..12, 0..12),
        fill in any::<u8>(),
    ) {
        let payload: Vec<u8> = payload(len).iter().map(|byte| byte ^ fill).collect();
        let k = chunks(len);
        let mut decoder = Decoder::new(len);
        let mut seen = Vec::new();
        // Low indices make mixes of data and parity likely.
        for index in low.into_iter().chain(indices) {
            let result = decoder.add(index, &chunk_at(&payload, index)).unwrap();
            if !seen.contains(&index) {
                seen.push(index);
            }
            prop_assert_eq!(result.is_some(), seen.len() == k);
            if let Some(decoded) = result {
                prop_assert_eq!(decoded, payload);
                return Ok(());
            }
        }
        prop_assert!(false, "never complete");
    }
}

#[test]
fn every_choice_of_nine_out_of_twelve() {
    let payload = payload(1152);
    let all: Vec<Chunk> = (0..12).map(|index| chunk_at(&payload, index)).collect();
    let mut choices = 0;
    for mask in 0_u16..1 << 12 {
        if mask.count_ones() != 9 {
            continue;
        }
        choices += 1;
        let mut decoder = Decoder::new(1152);
        let mut decoded = None;
        for (index, chunk) in (0_u16..).zip(&all).filter(|(index, _)| mask >> index & 1 == 1) {
            decoded = decoder.add(index, chunk).unwrap();
        }
        assert_eq!(decoded.as_ref(), Some(&payload), "{mask:b}");
    }
    assert_eq!(choices, 220);
}

//! Attacks on files: 24 and 25.

use kuvert_protocol::attachment::{CHUNK_BYTES, FileKey, HEADER_LEN, OpenError, Opener, Sealer};
use proptest::prelude::*;

/// Header and chunks apart, and the digest.
fn seal(key: &FileKey, content: &[u8]) -> ([u8; HEADER_LEN], Vec<Vec<u8>>, [u8; 32]) {
    let mut sealer = Sealer::new(key, content.len() as u64).unwrap();
    let (header, mut rest, mut chunks) = (sealer.header(), content, Vec::new());
    while let Some(len) = sealer.next_len() {
        let (piece, after) = rest.split_at(len);
        chunks.push(Vec::new());
        sealer.seal(piece, chunks.last_mut().unwrap()).unwrap();
        rest = after;
    }
    (header, chunks, sealer.finish().unwrap())
}

fn open(
    key: &FileKey,
    size: usize,
    digest: [u8; 32],
    header: &[u8; HEADER_LEN],
    chunks: &[Vec<u8>],
) -> Result<Vec<u8>, OpenError> {
    let mut opener = Opener::new(key, size as u64, digest, header)?;
    let (mut file, mut piece) = (Vec::new(), Vec::new());
    for chunk in chunks {
        opener.open(chunk, &mut piece)?;
        file.extend_from_slice(&piece);
    }
    opener.finish().map(|()| file)
}

#[test]
fn attack_24_a_file_opens_under_one_key_only() {
    let (key, other) = (FileKey::from_bytes(&[1; 32]), FileKey::from_bytes(&[2; 32]));
    let (header, chunks, digest) = seal(&key, b"what Alice sees");
    assert!(open(&key, 15, digest, &header, &chunks).is_ok());
    assert_eq!(open(&other, 15, digest, &header, &chunks).unwrap_err(), OpenError::AnotherKey);
    // Poly1305 commits to nothing: a sender could make chunks whose tags fit two keys. The header fits one.
    let (theirs, ..) = seal(&other, b"what Bob sees..");
    assert_ne!(theirs, header);
}

/// A sender that tells two people one message cannot show them two files: the digest is in the message.
#[test]
fn attack_24_two_files_under_one_key_are_not_both_the_messages() {
    let key = FileKey::from_bytes(&[1; 32]);
    let (header, for_alice, digest) = seal(&key, b"meet at eight");
    let (_, for_bob, _) = seal(&key, b"meet at seven");
    assert!(open(&key, 13, digest, &header, &for_alice).is_ok());
    assert_eq!(open(&key, 13, digest, &header, &for_bob).unwrap_err(), OpenError::Digest);
}

#[test]
fn attack_25_a_file_that_was_cut_reordered_or_extended_is_refused() {
    let key = FileKey::from_bytes(&[3; 32]);
    let content: Vec<u8> = (0..3 * CHUNK_BYTES + 7).map(|i| (i % 251) as u8).collect();
    let (header, chunks, digest) = seal(&key, &content);
    assert_eq!(open(&key, content.len(), digest, &header, &chunks).unwrap(), content);
    use OpenError::{Chunk, Length};
    let orders: [(&[usize], OpenError); 9] = [
        (&[], Length),
        (&[0], Length),
        (&[0, 1, 2], Length),
        (&[1, 0, 2, 3], Chunk),
        (&[0, 2, 1, 3], Chunk),
        (&[0, 1, 1, 3], Chunk),
        (&[1, 2, 3], Chunk),
        (&[0, 1, 3], Length),
        (&[0, 1, 2, 3, 3], Length),
    ];
    for (order, refusal) in orders {
        let chunks: Vec<_> = order.iter().map(|i| chunks[*i].clone()).collect();
        assert_eq!(open(&key, content.len(), digest, &header, &chunks), Err(refusal), "{order:?}");
    }
    // Nor does a message that tells another size make a shorter or longer file of it.
    for size in [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES, content.len() - 1, content.len() + 1, 5 * CHUNK_BYTES] {
        assert!(open(&key, size, digest, &header, &chunks).is_err(), "{size}");
    }
    for size in [(1 << 31) - 1, 1 << 31, u64::MAX] {
        let opener = Opener::new(&key, size, digest, &header);
        assert_eq!(opener.err(), (size > (1 << 31) - 1).then_some(OpenError::TooLarge));
    }
}

#[test]
fn attack_25_what_did_not_open_is_not_given_out_and_does_not_advance() {
    let key = FileKey::from_bytes(&[4; 32]);
    let (header, chunks, digest) = seal(&key, b"a letter");
    let mut opener = Opener::new(&key, 8, digest, &header).unwrap();
    let mut changed = chunks[0].clone();
    changed[3] ^= 0x20;
    let mut out = b"from before".to_vec();
    assert_eq!(opener.open(&changed, &mut out), Err(OpenError::Chunk));
    assert!(out.is_empty());
    opener.open(&chunks[0], &mut out).unwrap();
    assert_eq!(out, b"a letter");
    assert_eq!(opener.open(&chunks[0], &mut out), Err(OpenError::Length));
    opener.finish().unwrap();
}

#[test]
fn a_file_that_grew_or_shrank_while_it_was_sealed_is_not_sealed() {
    let key = FileKey::from_bytes(&[5; 32]);
    let mut sealer = Sealer::new(&key, 10).unwrap();
    let mut out = Vec::new();
    assert!(sealer.seal(&[7; 9], &mut out).is_err());
    assert!(sealer.seal(&[7; 11], &mut out).is_err());
    sealer.seal(&[7; 10], &mut out).unwrap();
    assert!(sealer.seal(&[], &mut out).is_err());
    assert!(sealer.finish().is_ok());
    assert!(Sealer::new(&key, 10).unwrap().finish().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Fetching goes on after an interruption behind any chunk, with what was kept.
    #[test]
    fn fetching_goes_on_where_it_stopped(size in 0_usize..4 * CHUNK_BYTES, stopped in 0_usize..6, altered in any::<bool>()) {
        let key = FileKey::from_bytes(&[6; 32]);
        let content: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let (header, chunks, digest) = seal(&key, &content);
        let stopped = stopped.min(chunks.len());
        let mut kept = content[..size.min(stopped * CHUNK_BYTES)].to_vec();
        let altered = altered && !kept.is_empty();
        if altered {
            kept[0] ^= 1;
        }
        let mut opener = Opener::new(&key, size as u64, digest, &header).unwrap();
        let mut out = Vec::new();
        for index in 0..stopped {
            let piece = &kept[(index * CHUNK_BYTES).min(kept.len())..((index + 1) * CHUNK_BYTES).min(kept.len())];
            opener.skip(piece, &mut out).unwrap();
        }
        for chunk in &chunks[stopped..] {
            opener.open(chunk, &mut out).unwrap();
            kept.extend_from_slice(&out);
        }
        prop_assert_eq!(opener.finish(), if altered { Err(OpenError::Digest) } else { Ok(()) });
        prop_assert_eq!(kept == content, !altered);
    }
}

//! Files in chunks. Contents follow a rule and chunks of long files are given by their hashes, so that the file stays small.

use alloc::format;
use alloc::vec::Vec;

use kuvert_types::{AccountId, Address, BlobCapability, DeviceId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Case, Draws, bytes, check, hex};
use crate::attachment::{
    CHUNK_BYTES, FileKey, HEADER_LEN, MAX_FILE_BYTES, OpenError, Opener, Sealer, TooLarge, blob_len,
};
use crate::blob::BlobSecret;
use crate::labels::ATTACHMENT;
use crate::primitives::aead;
use crate::primitives::kdf::hkdf_sha256;

/// A file of `size` bytes: byte i is i mod 251, which repeats in no power of two.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

/// Header, chunks, digest.
fn sealed(key: &FileKey, content: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>, [u8; 32]) {
    let mut sealer = Sealer::new(key, content.len() as u64).unwrap();
    let (header, mut rest, mut chunks) = (sealer.header().to_vec(), content, Vec::new());
    while let Some(len) = sealer.next_len() {
        let (piece, after) = rest.split_at(len);
        let mut chunk = Vec::new();
        sealer.seal(piece, &mut chunk).unwrap();
        (rest, chunks) = (after, [chunks, [chunk].into()].concat());
    }
    (header, chunks, sealer.finish().unwrap())
}

/// Opens what a relay gave out, in pieces of the length that the message's size asks for.
fn opened(key: &FileKey, size: u64, digest: [u8; 32], blob: &[u8]) -> Result<Vec<u8>, OpenError> {
    let (header, mut rest) = blob.split_first_chunk::<HEADER_LEN>().ok_or(OpenError::Length)?;
    let mut opener = Opener::new(key, size, digest, header)?;
    let (mut file, mut piece) = (Vec::new(), Vec::new());
    while let Some(len) = opener.next_len() {
        let (chunk, after) = rest.split_at_checked(len).ok_or(OpenError::Length)?;
        opener.open(chunk, &mut piece)?;
        file.extend_from_slice(&piece);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(OpenError::Length);
    }
    opener.finish().map(|()| file)
}

#[test]
fn vectors_attachment() {
    let draws = &mut Draws::new("attachment");
    let mut cases = Vec::new();
    for size in [0, 5, 511, 512, 16_383, 65_535, 65_536, 131_072, 1_000_000] {
        let (key, content) = (FileKey::generate(draws), content(size));
        let (header, chunks, digest) = sealed(&key, &content);
        let blob = [&header[..], &chunks.concat()].concat();
        assert_eq!(opened(&key, size as u64, digest, &blob).unwrap(), content);
        assert_eq!(blob.len() as u64, blob_len(size as u64).unwrap());
        let expanded = hkdf_sha256::<64>(&[0; 32], &[key.as_bytes()], &[&ATTACHMENT]);
        let mut outputs = json!({
            "key": hex(&expanded[..32]), "commitment": hex(&expanded[32..]), "blob_length": blob.len(),
            "chunk_hashes": chunks.iter().map(|chunk| hex(Sha256::digest(chunk))).collect::<Vec<_>>(),
            "digest": hex(digest),
        });
        if blob.len() < 1024 {
            outputs["blob"] = json!(hex(&blob));
        }
        cases.push(
            Case::new(
                format!("{size} bytes"),
                "A file of this size, in which byte i is i mod 251, under the drawn file key.",
                json!({ "size": size }),
                outputs,
            )
            .drawn(draws),
        );
    }
    cases.push(Case::new(
        "largest size",
        "The length of the largest blob.",
        json!({ "size": MAX_FILE_BYTES }),
        json!({ "blob_length": blob_len(MAX_FILE_BYTES).unwrap() }),
    ));
    assert_eq!(blob_len(MAX_FILE_BYTES + 1), Err(TooLarge));
    let size = json!({ "size": MAX_FILE_BYTES + 1 });
    cases.push(Case::reject(
        "over the largest size",
        "Must not be sealed or fetched.",
        size,
        "2 GiB with padding at most",
    ));

    rejected(&mut cases);
    capabilities(&mut cases);
    check("attachment", cases);
}

/// What readers show to the relay.
fn capabilities(cases: &mut Vec<Case>) {
    let draws = &mut Draws::new("blob capabilities");
    let secret = BlobSecret::generate(draws);
    let reader = |account: [u8; 16], device| Address {
        account: AccountId::from_bytes(account),
        device: DeviceId::new(device).unwrap(),
    };
    let readers =
        [reader(bytes("bob"), 1), reader(bytes("bob"), 2), reader(bytes("carol"), u32::MAX), reader([0; 16], 1)];
    let of = |capability: BlobCapability| json!({ "capability": hex(capability.as_bytes()), "hash": hex(capability.hash()) });
    let each = readers.iter().map(|reader| of(secret.capability(reader))).collect::<Vec<_>>();
    cases.push(
        Case::new(
            "capabilities of a blob's readers",
            "What each reading device shows to the relay, what all show where they have one together, and what the relay keeps.",
            json!({ "readers": readers.map(|reader| hex(reader.to_bytes())) }),
            json!({ "each": each, "shared": of(secret.shared_capability()) }),
        )
        .drawn(draws),
    );
}

/// A blob of one chunk stands as it is; of longer ones it is said which chunks follow the header.
fn rejected(cases: &mut Vec<Case>) {
    let key = FileKey::from_bytes(&bytes("attachment key"));
    let small = content(5);
    let (header, chunks, digest) = sealed(&key, &small);
    let good = [&header[..], &chunks.concat()].concat();
    let mut reject = |name: &str, size: u64, blob: Vec<u8>, digest: [u8; 32], error: OpenError, reason: &str| {
        assert_eq!(opened(&key, size, digest, &blob).unwrap_err(), error, "{name}");
        let inputs = json!({
            "file_key": hex(key.as_bytes()), "size": size, "digest": hex(digest), "blob": hex(&blob),
        });
        cases.push(Case::reject(name, "Must not be taken for the file.", inputs, reason));
    };
    let digest_of = |blob: &[u8]| <[u8; 32]>::from(Sha256::digest(blob));
    let changed = |at: usize| {
        let mut blob = good.clone();
        blob[at] ^= 1;
        let digest = digest_of(&blob);
        (blob, digest)
    };
    let (blob, d) = changed(0);
    reject("version 0", 5, blob, d, OpenError::Version, "unknown version");
    let (blob, d) = changed(1);
    reject("bit in the commitment", 5, blob, d, OpenError::AnotherKey, "another key's commitment");
    for (name, at) in [("first byte", HEADER_LEN), ("padding", HEADER_LEN + 100), ("tag", good.len() - 1)] {
        let (blob, d) = changed(at);
        reject(&format!("bit in the {name}"), 5, blob, d, OpenError::Chunk, "authentication fails");
    }
    let other = sealed(&FileKey::from_bytes(&bytes("another attachment key")), &small);
    let blob = [&other.0[..], &other.1.concat()].concat();
    reject("another file key", 5, blob, other.2, OpenError::AnotherKey, "another key's commitment");
    let blob = [&header[..], &other.1.concat()].concat();
    let d = digest_of(&blob);
    reject("chunk of another file key", 5, blob, d, OpenError::Chunk, "authentication fails");
    for len in [0, HEADER_LEN - 1, HEADER_LEN, good.len() - 1] {
        let blob = good[..len].to_vec();
        let d = digest_of(&blob);
        reject(&format!("cut to {len} bytes"), 5, blob, d, OpenError::Length, "length");
    }
    let blob = [&good[..], &[0]].concat();
    let d = digest_of(&blob);
    reject("a byte too many", 5, blob, d, OpenError::Length, "length");
    for (size, reason) in [(4, "a byte of content where the marker belongs"), (6, "the marker where content belongs")] {
        reject(&format!("told as {size} bytes"), size, good.clone(), digest, OpenError::Padding, reason);
    }
    reject("told as 512 bytes", 512, good.clone(), digest, OpenError::Length, "another padded length");
    reject("another digest", 5, good.clone(), bytes("digest"), OpenError::Digest, "another blob under the same key");

    // Padding that authenticates and is not the right one.
    let expanded = hkdf_sha256::<64>(&[0; 32], &[key.as_bytes()], &[&ATTACHMENT]);
    let mut nonce = [0; 12];
    nonce[11] = 1;
    for (name, at, value) in
        [("a one behind the marker", 6, 1), ("another marker", 5, 0x81), ("a one at the end", 511, 1)]
    {
        let mut padded = [&small[..], &[0x80]].concat();
        padded.resize(512, 0);
        padded[at] = value;
        let tag = aead::seal(expanded[..32].try_into().unwrap(), &nonce, &[], &mut padded);
        let blob = [&header[..], &padded, &tag].concat();
        let d = digest_of(&blob);
        reject(name, 5, blob, d, OpenError::Padding, "there is one right padding");
    }
    // The same chunk, sealed as if another followed.
    let mut padded = [&small[..], &[0x80]].concat();
    padded.resize(512, 0);
    let tag = aead::seal(expanded[..32].try_into().unwrap(), &[0; 12], &[], &mut padded);
    let blob = [&header[..], &padded, &tag].concat();
    let d = digest_of(&blob);
    reject("last chunk without its flag", 5, blob, d, OpenError::Chunk, "the nonce says that it is the last");

    let size = 2 * CHUNK_BYTES + 10;
    let (header, chunks, _) = sealed(&key, &content(size));
    assert_eq!(chunks.len(), 3);
    for (name, order, error, reason) in [
        ("two chunks swapped", &[1, 0, 2][..], OpenError::Chunk, "the nonce has the chunk's number"),
        ("a chunk twice", &[0, 0, 2], OpenError::Chunk, "the nonce has the chunk's number"),
        ("a chunk too many", &[0, 1, 1, 2], OpenError::Chunk, "the size gives each chunk's length"),
        ("the first chunk gone", &[1, 2], OpenError::Chunk, "the nonce has the chunk's number"),
        ("the last chunk gone", &[0, 1], OpenError::Length, "the size gives the number of chunks"),
        ("no chunk", &[], OpenError::Length, "the size gives the number of chunks"),
        ("the last chunk twice", &[0, 1, 2, 2], OpenError::Length, "the size gives the number of chunks"),
    ] {
        let blob = order.iter().fold(header.clone(), |blob, i| [&blob[..], &chunks[*i]].concat());
        let d = digest_of(&blob);
        assert_eq!(opened(&key, size as u64, d, &blob).unwrap_err(), error, "{name}");
        let inputs: Value = json!({
            "file_key": hex(key.as_bytes()), "size": size, "digest": hex(d), "chunk_order": order,
        });
        let description =
            "The chunks of a file of this size, in which byte i is i mod 251, in this order behind the header.";
        cases.push(Case::reject(name, description, inputs, reason));
    }
}

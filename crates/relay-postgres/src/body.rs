//! Bodies are encrypted once more, each under a key of its own that stands in a narrow table. That table is written anew whenever
//! keys of it were deleted, so what they opened is gone although a DELETE leaves its bytes in pages and logs.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use bytes::{Bytes, BytesMut};
use kuvert_relay::store::{StoreError, Unavailable};
use kuvert_types::{Address, EnvelopeId};
use sha2::{Digest, Sha256};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// What encryption adds.
pub const ADDED_BYTES: usize = 16;

/// Bytes of a tag.
const TAG_BYTES: usize = 16;

/// What a new envelope is told apart by within its mailbox: who submitted it under its name, and its id. 128 bits of a hash: one
/// submitter can make two of its own envelopes collide, which is its own loss, and none that meets another's.
pub fn tag(id: &EnvelopeId, source: Option<&Address>) -> [u8; TAG_BYTES] {
    let mut hash = Sha256::new();
    hash.update(id.as_bytes());
    hash.update(source.map(Address::to_bytes).as_ref().map_or(&[][..], |source| &source[..]));
    let hash: [u8; 32] = hash.finalize().into();
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&hash[..TAG_BYTES]);
    tag
}

/// A new key.
///
/// # Errors
/// The system has no randomness.
pub fn new_key() -> Result<[u8; KEY_BYTES], StoreError> {
    let mut key = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| Unavailable::Io("the system has no randomness".into()))?;
    Ok(key)
}

fn opened(key: &[u8]) -> Result<LessSafeKey, StoreError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| damaged())?;
    Ok(LessSafeKey::new(key))
}

/// A key is used for one body.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Where a body belongs: it opens nowhere else.
fn place(mailbox: i64, cursor: i64) -> [u8; 16] {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&mailbox.to_be_bytes());
    place[8..].copy_from_slice(&cursor.to_be_bytes());
    place
}

fn damaged() -> StoreError {
    StoreError::Corrupt("a body and its key do not belong together".into())
}

/// Encrypts a body.
///
/// # Errors
/// The key has another length.
pub fn seal(key: &[u8], mailbox: i64, cursor: i64, body: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut sealed = Vec::with_capacity(body.len() + ADDED_BYTES);
    sealed.extend_from_slice(body);
    let aad = Aad::from(place(mailbox, cursor));
    opened(key)?.seal_in_place_append_tag(nonce(), aad, &mut sealed).map_err(|_| damaged())?;
    Ok(sealed)
}

/// Decrypts one.
///
/// # Errors
/// It was changed, or its key was.
pub fn open(key: &[u8], mailbox: i64, cursor: i64, sealed: &[u8]) -> Result<Bytes, StoreError> {
    let mut body = BytesMut::from(sealed);
    let aad = Aad::from(place(mailbox, cursor));
    let length = opened(key)?.open_in_place(nonce(), aad, &mut body).map_err(|_| damaged())?.len();
    body.truncate(length);
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_opens_in_its_place_and_with_its_key_alone() {
        let key = new_key().unwrap();
        let sealed = seal(&key, 1, 2, b"body").unwrap();
        assert_eq!(sealed.len(), 4 + ADDED_BYTES);
        assert_eq!(&open(&key, 1, 2, &sealed).unwrap()[..], b"body");
        for (mailbox, cursor) in [(2, 2), (1, 3)] {
            assert!(open(&key, mailbox, cursor, &sealed).is_err());
        }
        assert!(open(&new_key().unwrap(), 1, 2, &sealed).is_err());
        assert!(open(&key, 1, 2, &sealed[1..]).is_err());
        assert!(open(&key[1..], 1, 2, &sealed).is_err());
        assert!(open(&key, 1, 2, b"").is_err());
    }

    #[test]
    fn a_tag_is_of_the_submitter_and_its_id() {
        let id = EnvelopeId::from_bytes([1; 16]);
        let source =
            Address { account: kuvert_types::AccountId::from_bytes([2; 16]), device: kuvert_types::DeviceId::PRIMARY };
        let tags = [tag(&id, None), tag(&id, Some(&source)), tag(&EnvelopeId::from_bytes([2; 16]), None)];
        assert!(tags[0] != tags[1] && tags[0] != tags[2]);
        assert_eq!(tag(&id, Some(&source)), tags[1]);
    }
}

//! The encrypted header of a message.
//!
//! ```text
//! plaintext, 192 bytes: ratchet key 32 ‖ previous chain length u32 ‖ message number u32
//!                       ‖ post-quantum header PQ_HEADER_LEN ‖ zero bytes
//! sent, 232 bytes:      nonce 24 (random) ‖ ciphertext 192 ‖ tag 16
//!                       XChaCha20-Poly1305, key = header key of the chain, no associated data
//! ```
//! The nonce is random because headers of one chain share a key and no counter may be seen from outside. The body's
//! associated data covers the encrypted header, so a header cannot be put before another body.

use super::keys::HeaderKey;
use crate::pq_ratchet::PQ_HEADER_LEN;
use crate::primitives::aead::{self, TAG_LEN, XNONCE_LEN};
use crate::primitives::x25519::X25519Public;
use crate::wiped::wipe;

/// Bytes of a header's plaintext, the same for every message: its length tells nothing.
pub const HEADER_LEN: usize = 192;
/// Bytes of a header as sent.
pub const ENCRYPTED_HEADER_LEN: usize = XNONCE_LEN + HEADER_LEN + TAG_LEN;

const PQ_AT: usize = 40;
const PADDING_AT: usize = PQ_AT + PQ_HEADER_LEN;
const _: () = assert!(PADDING_AT <= HEADER_LEN, "the post-quantum header fits");

/// What a header says.
pub(crate) struct Header {
    pub(crate) ratchet_key: X25519Public,
    pub(crate) previous_chain_length: u32,
    pub(crate) message_number: u32,
    pub(crate) pq: [u8; PQ_HEADER_LEN],
}

/// What came of decrypting a header with one key.
pub(crate) enum DecryptedHeader {
    /// The key is not the one.
    OtherKey,
    /// A holder of the key encrypted what is no header: a bad ratchet key, or padding that is not zero.
    Invalid,
    /// The header.
    Header(Header),
}

impl Header {
    pub(crate) fn encrypt(&self, key: &HeaderKey, nonce: &[u8; XNONCE_LEN]) -> [u8; ENCRYPTED_HEADER_LEN] {
        let mut encrypted = [0; ENCRYPTED_HEADER_LEN];
        encrypted[..XNONCE_LEN].copy_from_slice(nonce);
        let plain = &mut encrypted[XNONCE_LEN..XNONCE_LEN + HEADER_LEN];
        plain[..32].copy_from_slice(self.ratchet_key.as_bytes());
        plain[32..36].copy_from_slice(&self.previous_chain_length.to_be_bytes());
        plain[36..PQ_AT].copy_from_slice(&self.message_number.to_be_bytes());
        plain[PQ_AT..PADDING_AT].copy_from_slice(&self.pq);
        let tag = aead::xseal(key.as_bytes(), nonce, &[], plain);
        encrypted[XNONCE_LEN + HEADER_LEN..].copy_from_slice(&tag);
        encrypted
    }

    pub(crate) fn decrypt(key: &[u8; aead::KEY_LEN], encrypted: &[u8; ENCRYPTED_HEADER_LEN]) -> DecryptedHeader {
        let Some((nonce, rest)) = encrypted.split_first_chunk::<XNONCE_LEN>() else { return DecryptedHeader::OtherKey };
        let Some((ciphertext, tag)) = rest.split_first_chunk::<HEADER_LEN>() else { return DecryptedHeader::OtherKey };
        let Some(tag) = tag.first_chunk::<TAG_LEN>() else { return DecryptedHeader::OtherKey };
        let mut plain = [0; HEADER_LEN];
        let opened = match aead::xopen(key, nonce, &[], ciphertext, tag, &mut plain) {
            Ok(()) => Self::parse(&plain).map_or(DecryptedHeader::Invalid, DecryptedHeader::Header),
            Err(aead::OpenError) => DecryptedHeader::OtherKey,
        };
        wipe(&mut plain);
        opened
    }

    /// [KV-032] The ratchet key is a good one, the padding is zero.
    fn parse(plain: &[u8; HEADER_LEN]) -> Option<Self> {
        let mut reader = kuvert_types::Reader::new(plain);
        let header = Self {
            ratchet_key: X25519Public::decode(reader.array().ok()?).ok()?,
            previous_chain_length: reader.u32().ok()?,
            message_number: reader.u32().ok()?,
            pq: reader.array().ok()?,
        };
        reader.rest().iter().all(|byte| *byte == 0).then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::x25519::X25519Secret;

    fn header() -> Header {
        Header {
            ratchet_key: X25519Secret::from_bytes(&[5; 32]).public(),
            previous_chain_length: 7,
            message_number: 9,
            pq: [3; PQ_HEADER_LEN],
        }
    }

    #[test]
    fn round_trips_and_refuses_other_keys_and_padding() {
        let key = HeaderKey::from_bytes(&[1; 32]);
        let mut encrypted = header().encrypt(&key, &[2; 24]);
        let DecryptedHeader::Header(opened) = Header::decrypt(key.as_bytes(), &encrypted) else { panic!("own header") };
        assert_eq!((opened.previous_chain_length, opened.message_number, opened.pq), (7, 9, [3; PQ_HEADER_LEN]));
        assert!(matches!(Header::decrypt(&[9; 32], &encrypted), DecryptedHeader::OtherKey));

        // The same with one bit of padding set, encrypted by somebody who has the key.
        let (nonce, plain) = ([2; 24], &mut encrypted[24..216]);
        plain.fill(0);
        plain[..32].copy_from_slice(header().ratchet_key.as_bytes());
        plain[HEADER_LEN - 1] = 1;
        let tag = aead::xseal(key.as_bytes(), &nonce, &[], plain);
        encrypted[216..].copy_from_slice(&tag);
        assert!(matches!(Header::decrypt(key.as_bytes(), &encrypted), DecryptedHeader::Invalid));
    }
}

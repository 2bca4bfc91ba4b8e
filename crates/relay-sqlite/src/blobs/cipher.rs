//! The encryption that a blob's file has beside the sender's: what it is for is erasing. A key of 32 bytes is overwritten in a
//! moment and leaves nothing of gigabytes that a file system keeps in blocks of its own choice.
//!
//! ```text
//! file byte i = blob byte i XOR ChaCha20(row key, nonce 0^12)[i]
//! ```
//! A stream cipher without a tag, so any place can be read and written: whether a blob is the sender's is for its readers to judge,
//! who have its digest. A key serves one file, so the nonce needs nothing of its own. An upload that goes on after an interruption
//! writes some bytes a second time at their place, which are the same unless the sender has two contents for one upload: who has
//! the disk then learns how these two differ, of what is encrypted already.

use std::fmt;
use std::io;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use zeroize::Zeroizing;

/// Bytes of a row key.
pub const KEY_BYTES: usize = 32;

/// The key of one blob's file. Wiped when dropped.
#[derive(Clone)]
pub struct RowKey(Zeroizing<[u8; KEY_BYTES]>);

impl RowKey {
    /// One that was kept.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A fresh one.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn random() -> io::Result<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *key)?;
        Ok(Self(key))
    }

    /// To be kept.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Encrypts or decrypts what stands at `offset` of the file.
    ///
    /// # Errors
    /// The offset is beyond 256 GiB, where the cipher ends.
    pub fn apply(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut cipher = ChaCha20::new((&*self.0).into(), &[0; 12].into());
        let beyond = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        cipher.try_seek(offset).map_err(beyond)?;
        cipher.try_apply_keystream(bytes).map_err(beyond)
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_encrypted_at_their_place() {
        let key = RowKey::new([7; KEY_BYTES]);
        let plain: Vec<u8> = (0..1_000).map(|i| (i % 251) as u8).collect();
        let mut whole = plain.clone();
        key.apply(0, &mut whole).unwrap();
        assert_ne!(whole, plain);
        for at in [0, 1, 63, 64, 65, 500] {
            let mut piece = plain[at..].to_vec();
            key.apply(at as u64, &mut piece).unwrap();
            assert_eq!(piece, whole[at..], "{at}");
        }
        let mut back = whole[300..400].to_vec();
        key.apply(300, &mut back).unwrap();
        assert_eq!(back, plain[300..400]);
        assert!(key.apply(u64::from(u32::MAX) * 64 + 64, &mut [0; 64]).is_err());
        // RFC 8439, appendix A.1: the first block under the key of zeros.
        let mut zeros = [0; 8];
        RowKey::new([0; KEY_BYTES]).apply(0, &mut zeros).unwrap();
        assert_eq!(zeros, [0x76, 0xB8, 0xE0, 0xAD, 0xA0, 0xF1, 0x3D, 0x90]);
    }
}

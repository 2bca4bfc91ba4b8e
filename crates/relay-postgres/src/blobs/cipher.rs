//! The encryption that a blob's objects have beside the sender's: what it is for is erasing. A key of 32 bytes goes with its row.
//!
//! ```text
//! bytes of an object = bytes of the blob XOR AES-256-CTR(row key, IV = epoch (8 bytes) || place in the blob / 16 (8 bytes))
//! ```
//! Without a tag, so any place can be read: whether a blob is the sender's is for its readers to judge, who have its digest. A
//! stream that goes on with an upload has an epoch of its own, so no two contents are ever encrypted alike.

use aws_lc_rs::cipher::{
    AES_256, AES_CTR_IV_LEN, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use kuvert_relay::blobs::store::BlobError;
use kuvert_relay::store::{StoreError, Unavailable};

/// Bytes of a row key.
pub const KEY_BYTES: usize = 32;

/// Where encryption can begin: at a multiple of so many bytes.
pub const BLOCK: u64 = 16;

/// The key of one blob's objects.
#[derive(Clone)]
pub struct RowKey([u8; KEY_BYTES]);

impl std::fmt::Debug for RowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowKey(secret)")
    }
}

fn failed() -> BlobError {
    BlobError::Store(StoreError::Corrupt("a file's key is no key".into()))
}

impl RowKey {
    /// One that was kept.
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A fresh one.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn random() -> Result<Self, BlobError> {
        let mut key = [0; KEY_BYTES];
        let filled = aws_lc_rs::rand::fill(&mut key);
        filled.map_err(|_| StoreError::from(Unavailable::Io("the system has no randomness".into())))?;
        Ok(Self(key))
    }

    /// To be kept.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    fn unbound(&self) -> Result<UnboundCipherKey, BlobError> {
        UnboundCipherKey::new(&AES_256, &self.0).map_err(|_| failed())
    }

    /// Encrypts what stands at `offset` of the blob, a multiple of [`BLOCK`].
    ///
    /// # Errors
    /// The library refuses.
    pub fn encrypt(&self, epoch: u64, offset: u64, bytes: &mut [u8]) -> Result<(), BlobError> {
        let key = EncryptingKey::ctr(self.unbound()?).map_err(|_| failed())?;
        let iv = EncryptionContext::Iv128(FixedLength::from(iv(epoch, offset)));
        key.less_safe_encrypt(bytes, iv).map(drop).map_err(|_| failed())
    }

    /// Decrypts it.
    ///
    /// # Errors
    /// The library refuses.
    pub fn decrypt(&self, epoch: u64, offset: u64, bytes: &mut [u8]) -> Result<(), BlobError> {
        let key = DecryptingKey::ctr(self.unbound()?).map_err(|_| failed())?;
        let iv = DecryptionContext::Iv128(FixedLength::from(iv(epoch, offset)));
        key.decrypt(bytes, iv).map(drop).map_err(|_| failed())
    }
}

fn iv(epoch: u64, offset: u64) -> [u8; AES_CTR_IV_LEN] {
    let mut iv = [0; AES_CTR_IV_LEN];
    iv[..8].copy_from_slice(&epoch.to_be_bytes());
    iv[8..].copy_from_slice(&(offset / BLOCK).to_be_bytes());
    iv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_place_is_read_and_each_epoch_has_a_stream_of_its_own() {
        let key = RowKey::new([7; KEY_BYTES]);
        let plain: Vec<u8> = (0..1_000).map(|i| (i % 251) as u8).collect();
        let mut whole = plain.clone();
        key.encrypt(3, 1 << 20, &mut whole).unwrap();
        assert_ne!(whole, plain);
        for at in [0, 16, 512] {
            let mut rest = whole[at..].to_vec();
            key.decrypt(3, (1 << 20) + at as u64, &mut rest).unwrap();
            assert_eq!(rest, plain[at..], "{at}");
        }
        // A part that was written before the rest came is encrypted as it is in the whole.
        let mut part = plain[..100].to_vec();
        key.encrypt(3, 1 << 20, &mut part).unwrap();
        assert_eq!(part, whole[..100]);
        let mut other = plain.clone();
        key.encrypt(4, 1 << 20, &mut other).unwrap();
        assert_ne!(other[..16], whole[..16]);
        // SP 800-38A, F.5.5, of which the first block's IV is replaced by what IVs are here: the block of zeros under the key of zeros.
        let mut zeros = [0; 16];
        RowKey::new([0; KEY_BYTES]).encrypt(0, 0, &mut zeros).unwrap();
        assert_eq!(
            zeros,
            [0xDC, 0x95, 0xC0, 0x78, 0xA2, 0x40, 0x89, 0x89, 0xAD, 0x48, 0xA2, 0x14, 0x92, 0x84, 0x20, 0x87]
        );
    }
}

//! Who may read a blob at the relay (PROTOCOL.md, Attachments).
//!
//! ```text
//! capability of a reader = HKDF(0^32, blob secret, L("blob capability") ‖ address of the reader, 32)
//! capability of all      = HKDF(0^32, blob secret, L("blob capability") ‖ 0^20, 32)
//! ```
//! The sender draws a secret for each upload, and keeps it as long as it tells new devices of the file. A reader gets its
//! capability alone: it cannot compute another's, so it ends nothing for others. The relay gets hashes, from which it learns
//! how many readers there are, and not which.

use core::fmt;

use kuvert_types::{Address, BlobCapability};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::labels::BLOB_CAPABILITY;
use crate::primitives::kdf::hkdf_sha256;

/// What the capabilities of a blob's readers come from. Stays with the sender. Wiped when dropped.
#[derive(Clone)]
pub struct BlobSecret(Zeroizing<[u8; Self::LEN]>);

impl BlobSecret {
    /// Bytes of a blob secret.
    pub const LEN: usize = 32;

    /// A fresh secret: one draw of 32 bytes.
    pub fn generate<R: CryptoRng>(rng: &mut R) -> Self {
        let mut secret = Zeroizing::new([0; Self::LEN]);
        rng.fill_bytes(&mut *secret);
        Self(secret)
    }

    /// One that was kept.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// To be kept.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The capability of one reading device [KV-122].
    pub fn capability(&self, reader: &Address) -> BlobCapability {
        self.derive(&reader.to_bytes())
    }

    /// The one capability of all readers: the relay does not learn how many there are [KV-122]. No device has the address of
    /// zeros.
    pub fn shared_capability(&self) -> BlobCapability {
        self.derive(&[0; Address::LEN])
    }

    fn derive(&self, reader: &[u8; Address::LEN]) -> BlobCapability {
        BlobCapability::from_bytes(*hkdf_sha256(&[0; 32], &[&*self.0], &[&BLOB_CAPABILITY, reader]))
    }
}

impl fmt::Debug for BlobSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlobSecret(secret)")
    }
}

#[cfg(test)]
mod tests {
    use kuvert_types::{AccountId, DeviceId};

    use super::*;

    #[test]
    fn a_secret_that_was_kept_gives_the_same_capabilities() {
        let secret = BlobSecret::from_bytes(&[7; 32]);
        assert_eq!(secret.as_bytes(), &[7; 32]);
        let kept = BlobSecret::from_bytes(secret.as_bytes());
        assert_eq!(kept.shared_capability(), secret.shared_capability());
    }

    #[test]
    fn each_reader_has_a_capability_of_its_own() {
        let secret = BlobSecret::from_bytes(&[7; 32]);
        let reader = |account, device| {
            let address =
                Address { account: AccountId::from_bytes([account; 16]), device: DeviceId::new(device).unwrap() };
            *secret.capability(&address).as_bytes()
        };
        let all = [reader(0, 1), reader(1, 1), reader(1, 2), *secret.shared_capability().as_bytes()];
        for (i, capability) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other != capability));
        }
        assert_eq!(reader(1, 1), reader(1, 1));
        assert_ne!(secret.shared_capability(), BlobSecret::from_bytes(&[8; 32]).shared_capability());
    }
}

//! The account's Ed25519 key. It signs which devices belong to the account, and never a message.

use kuvert_types::device_list::DeviceListBody;
use kuvert_types::{AccountKey, DeviceList, Signature, SignatureError};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::primitives::ed25519::Ed25519Secret;

/// The secret half of an account key. Lives on the primary device; wiped when dropped. PROTOCOL.md, Identities.
pub struct AccountSecret(Ed25519Secret);

impl AccountSecret {
    /// Draws a new key: 32 bytes of `rng`.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self(Ed25519Secret::generate(rng))
    }

    /// Takes the 32-byte seed that [`to_bytes`](Self::to_bytes) gave.
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(Ed25519Secret::from_bytes(seed))
    }

    /// The 32-byte Ed25519 seed, for storage.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> AccountKey {
        AccountKey::from_bytes(self.0.public())
    }

    /// Signs a device list.
    ///
    /// # Errors
    /// [`SignatureError`]: the list breaks the rules of `kuvert_types::device_list`: no or too many devices, or not in ascending order.
    pub fn sign_device_list(&self, body: &DeviceListBody) -> Result<DeviceList, SignatureError> {
        let signature = self.0.sign(&body.statement());
        DeviceList::assemble(body.clone(), signature, &self.public())
    }

    pub(crate) fn sign(&self, statement: &[u8]) -> Signature {
        self.0.sign(statement)
    }
}

impl core::fmt::Debug for AccountSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self(_) = self;
        f.write_str("AccountSecret(…)")
    }
}

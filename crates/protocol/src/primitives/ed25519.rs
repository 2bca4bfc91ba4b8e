//! Ed25519 signing (RFC 8032). Verification is strict and lives with the type: [`Signature::verify`].

use ed25519_dalek::{Signer, SigningKey};
use kuvert_types::Signature;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Bytes of a secret key (the seed of RFC 8032, section 5.1.5).
pub const SECRET_LEN: usize = 32;

/// A signing key. Wiped when dropped.
pub struct Ed25519Secret(SigningKey);

impl Ed25519Secret {
    /// Draws a new key: 32 bytes of `rng`.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut seed = Zeroizing::new([0; SECRET_LEN]);
        rng.fill_bytes(&mut *seed);
        Self::from_bytes(&seed)
    }

    /// Takes the 32-byte seed. Every seed is a key.
    pub fn from_bytes(seed: &[u8; SECRET_LEN]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The 32-byte seed.
    pub fn to_bytes(&self) -> Zeroizing<[u8; SECRET_LEN]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key, 32 bytes.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature::from_bytes(self.0.sign(message).to_bytes())
    }
}

impl core::fmt::Debug for Ed25519Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Ed25519Secret(…)")
    }
}

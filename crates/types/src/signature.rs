//! Strict Ed25519 verification (RFC 8032, cofactorless, canonical encodings only, no small-order keys or commitments).

use core::fmt;

use crate::reader::DecodeError;

/// An Ed25519 signature, not yet checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

/// A signature does not verify, or its key is weak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("signature does not verify")]
pub struct SignatureError;

impl Signature {
    /// Length in bytes.
    pub const LEN: usize = 64;

    /// Takes the 64-byte encoding as it is.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64-byte encoding.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// Verifies over `message` with the Ed25519 public key `key`, strictly [KV-005].
    ///
    /// # Errors
    /// [`SignatureError`]: the signature does not verify, an encoding is not canonical, or the key has small order.
    pub fn verify(&self, key: &[u8; 32], message: &[u8]) -> Result<(), SignatureError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(key).map_err(|_| SignatureError)?;
        let signature = ed25519_dalek::Signature::from_bytes(&self.0);
        // [KV-005] Refuses encodings that are not canonical, and keys and commitments of small order.
        key.verify_strict(message, &signature).map_err(|_| SignatureError)
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = DecodeError;

    fn try_from(bytes: &[u8]) -> Result<Self, DecodeError> {
        bytes.try_into().map(Self).map_err(|_| DecodeError::Length)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(…)")
    }
}

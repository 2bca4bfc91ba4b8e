//! The key without which a relay takes no sealed mail for an account.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::reader::DecodeError;

/// A device that knows it may send to its account without a name [KV-082]. The account draws it, tells it to its contacts
/// inside of encrypted contents, and draws another one to shut a contact out. A relay keeps its [hash](Self::hash) only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccessKey([u8; Self::LEN]);

/// What a relay keeps of an [`AccessKey`]: SHA-256 of it.
pub type AccessKeyHash = [u8; 32];

impl AccessKey {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// Takes the bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// What a relay keeps. The key has 128 random bits: it cannot be found from this.
    pub fn hash(&self) -> AccessKeyHash {
        Sha256::digest(self.0).into()
    }
}

impl TryFrom<&[u8]> for AccessKey {
    type Error = DecodeError;

    fn try_from(bytes: &[u8]) -> Result<Self, DecodeError> {
        bytes.try_into().map(Self).map_err(|_| DecodeError::Length)
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey(…)")
    }
}

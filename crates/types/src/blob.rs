//! What names a blob at a relay, and what opens it there. A blob is a file that its sender encrypted.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::reader::DecodeError;

/// What a relay keeps of a [`BlobCapability`] or an [`UploadToken`]: SHA-256 of it.
pub type BlobHash = [u8; 32];

/// 32 bytes that the relay knows by their hash only. Both kinds are random or derived from random bytes: they cannot be found
/// from it.
macro_rules! bearer {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name([u8; Self::LEN]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = 32;

            /// Takes the bytes.
            pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
                &self.0
            }

            /// What a relay keeps.
            pub fn hash(&self) -> BlobHash {
                Sha256::digest(self.0).into()
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = DecodeError;

            fn try_from(bytes: &[u8]) -> Result<Self, DecodeError> {
                bytes.try_into().map(Self).map_err(|_| DecodeError::Length)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

bearer! {
    /// A peer that has it may read the blob [KV-122]. Each reading device has one of its own, or all have one together.
    BlobCapability
}

bearer! {
    /// A device of the account that uploads may append, commit and discard with it. Drawn by the relay.
    UploadToken
}

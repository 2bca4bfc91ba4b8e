//! Public keys as bytes, a type per role, so that one can never stand in for another. Whether the bytes are a *good* key
//! is checked where they are used: strict Ed25519 in [`crate::signature`], X25519 in the protocol crate.

use core::fmt;

macro_rules! public_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Takes the 32-byte encoding as it is.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32-byte encoding.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(", stringify!($name))?;
                for byte in &self.0[..4] {
                    write!(f, "{byte:02x}")?;
                }
                f.write_str("…)")
            }
        }
    };
}

public_key! {
    /// Ed25519 key of an account. People compare it (safety number); it signs device certificates and device lists.
    AccountKey
}

public_key! {
    /// Ed25519 key of one device. It signs prekeys and proves the device to a relay.
    DeviceSigningKey
}

public_key! {
    /// X25519 identity key of one device. It takes part in key agreement and signs nothing.
    IdentityKey
}

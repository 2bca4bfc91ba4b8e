//! Signed prekeys: X25519, replaced every few days.
//!
//! ```text
//! signature: signing key over  label "Kuvert/1 signed prekey" ‖ identity key 32 ‖ id u32 ‖ public key 32
//! stored: version u8 = 1 ‖ id u32 ‖ secret 32 ‖ signature 64   = 101 bytes
//! ```

use alloc::vec::Vec;

use kuvert_types::{DecodeError, IdentityKey, Reader, Signature};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{SNAPSHOT_VERSION, read_version};
use crate::identity::DeviceSecrets;
use crate::labels::SIGNED_PREKEY;
use crate::primitives::x25519::{X25519Public, X25519Secret};
use crate::stored::secret;

/// The public half, as published. Not checked before [`PrekeyBundle::verify`](super::PrekeyBundle::verify).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedPrekey {
    /// Its number.
    pub id: u32,
    /// X25519.
    pub public_key: [u8; 32],
    /// By the device's signing key.
    pub signature: Signature,
}

/// The secret half. Wiped when dropped.
pub struct SignedPrekeySecret {
    id: u32,
    secret: X25519Secret,
    public: X25519Public,
    signature: Signature,
}

impl SignedPrekeySecret {
    /// Draws a key (32 bytes of `rng`) and signs it. `id` must be new.
    pub fn generate(id: u32, device: &DeviceSecrets, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let secret = X25519Secret::generate(rng);
        let public = secret.public();
        let signature = device.sign(&statement(&device.identity_key(), id, public.as_bytes()));
        Self { id, secret, public, signature }
    }

    /// Its number.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The public half, for the relay.
    pub fn public(&self) -> SignedPrekey {
        SignedPrekey { id: self.id, public_key: *self.public.as_bytes(), signature: self.signature }
    }

    /// The stored form, see the module's head.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(101));
        bytes.push(SNAPSHOT_VERSION);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(self.secret.as_bytes());
        bytes.extend_from_slice(self.signature.as_bytes());
        bytes
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`DecodeError::Length`] or [`DecodeError::Version`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            read_version(reader)?;
            let id = reader.u32()?;
            let secret = X25519Secret::from_bytes(&*secret(reader)?);
            let public = secret.public();
            Ok(Self { id, secret, public, signature: Signature::from_bytes(reader.array()?) })
        })
    }

    pub(crate) fn secret(&self) -> &X25519Secret {
        &self.secret
    }

    pub(crate) fn public_key(&self) -> X25519Public {
        self.public
    }
}

impl core::fmt::Debug for SignedPrekeySecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { id, secret: _, public, signature: _ } = self;
        f.debug_struct("SignedPrekeySecret").field("id", id).field("public", public).finish_non_exhaustive()
    }
}

/// What the device signs.
pub(super) fn statement(identity_key: &IdentityKey, id: u32, public_key: &[u8; 32]) -> [u8; 100] {
    let mut bytes = [0; 100];
    bytes[..32].copy_from_slice(&SIGNED_PREKEY);
    bytes[32..64].copy_from_slice(identity_key.as_bytes());
    bytes[64..68].copy_from_slice(&id.to_be_bytes());
    bytes[68..].copy_from_slice(public_key);
    bytes
}

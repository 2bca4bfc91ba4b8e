//! One-time curve prekeys: X25519, each for one session. They are not signed: a false one makes the key agreement fail.
//!
//! ```text
//! stored: version u8 = 1 ‖ id u32 ‖ secret 32   = 37 bytes
//! ```

use alloc::vec::Vec;

use kuvert_types::{DecodeError, Reader};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{SNAPSHOT_VERSION, read_version};
use crate::primitives::x25519::{X25519Public, X25519Secret};
use crate::stored::secret;

/// The public half, as published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OneTimePrekey {
    /// Its number.
    pub id: u32,
    /// X25519.
    pub public_key: [u8; 32],
}

/// The secret half. Wiped when dropped; to be deleted with the first message that used it.
pub struct OneTimePrekeySecret {
    id: u32,
    secret: X25519Secret,
    public: X25519Public,
}

impl OneTimePrekeySecret {
    /// Draws a key: 32 bytes of `rng`. `id` must be new.
    pub fn generate(id: u32, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self::new(id, X25519Secret::generate(rng))
    }

    fn new(id: u32, secret: X25519Secret) -> Self {
        let public = secret.public();
        Self { id, secret, public }
    }

    /// Its number.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The public half, for the relay.
    pub fn public(&self) -> OneTimePrekey {
        OneTimePrekey { id: self.id, public_key: *self.public.as_bytes() }
    }

    /// The stored form, see the module's head.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(37));
        bytes.push(SNAPSHOT_VERSION);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(self.secret.as_bytes());
        bytes
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`DecodeError::Length`] or [`DecodeError::Version`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            read_version(reader)?;
            Ok(Self::new(reader.u32()?, X25519Secret::from_bytes(&*secret(reader)?)))
        })
    }

    pub(crate) fn secret(&self) -> &X25519Secret {
        &self.secret
    }

    pub(crate) fn public_key(&self) -> X25519Public {
        self.public
    }
}

impl core::fmt::Debug for OneTimePrekeySecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { id, secret: _, public } = self;
        f.debug_struct("OneTimePrekeySecret").field("id", id).field("public", public).finish_non_exhaustive()
    }
}

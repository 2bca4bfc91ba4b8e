//! KEM prekeys: ML-KEM-1024, each for one session, and one of last resort for when those have run out.
//!
//! ```text
//! signature: signing key over  label ‖ identity key 32 ‖ id u32 ‖ public key 1568
//!            label: "Kuvert/1 one-time KEM prekey" or "Kuvert/1 last-resort KEM prekey"
//! stored: version u8 = 1 ‖ id u32 ‖ seed 64 ‖ signature 64   = 133 bytes
//! ```
//! The labels keep a KEM key from being read as a curve key, and one kind of KEM key from passing as the other.

use alloc::boxed::Box;
use alloc::vec::Vec;

use kuvert_types::{DecodeError, IdentityKey, Label, Reader, Signature};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{SNAPSHOT_VERSION, read_version};
use crate::identity::DeviceSecrets;
use crate::labels::{LAST_RESORT_KEM_PREKEY, ONE_TIME_KEM_PREKEY};
use crate::primitives::kem1024::{KemSeed, PUBLIC_LEN, SEED_LEN};

/// How often a KEM prekey may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KemPrekeyKind {
    /// Used once.
    OneTime,
    /// Until it is replaced; only when no one-time key is left.
    LastResort,
}

impl KemPrekeyKind {
    const fn label(self) -> &'static Label {
        match self {
            Self::OneTime => &ONE_TIME_KEM_PREKEY,
            Self::LastResort => &LAST_RESORT_KEM_PREKEY,
        }
    }

    /// One byte on the wire.
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::OneTime => 1,
            Self::LastResort => 2,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::OneTime),
            2 => Ok(Self::LastResort),
            _ => Err(DecodeError::Value),
        }
    }
}

/// The public half, as published. Not checked before [`PrekeyBundle::verify`](super::PrekeyBundle::verify).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KemPrekey {
    /// Its number.
    pub id: u32,
    /// ML-KEM-1024 encapsulation key.
    pub public_key: Box<[u8; PUBLIC_LEN]>,
    /// By the device's signing key; the label tells one-time from last-resort.
    pub signature: Signature,
}

/// The secret half: a seed. Wiped when dropped; a one-time key is to be deleted with the first message that used it.
pub struct KemPrekeySecret {
    id: u32,
    seed: KemSeed,
    signature: Signature,
}

impl KemPrekeySecret {
    /// Draws a key (64 bytes of `rng`) and signs it for the use `kind`. `id` must be new.
    pub fn generate(id: u32, kind: KemPrekeyKind, device: &DeviceSecrets, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let seed = KemSeed::generate(rng);
        let signature = device.sign(&statement(&device.identity_key(), kind, id, seed.key_pair().public().as_bytes()));
        Self { id, seed, signature }
    }

    /// Its number.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The public half, for the relay. Makes the key pair from its seed (26 µs).
    pub fn public(&self) -> KemPrekey {
        KemPrekey {
            id: self.id,
            public_key: Box::new(*self.seed.key_pair().public().as_bytes()),
            signature: self.signature,
        }
    }

    /// The stored form, see the module's head.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(133));
        bytes.push(SNAPSHOT_VERSION);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(self.seed.as_bytes());
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
            let seed = KemSeed::from_bytes(&Zeroizing::new(reader.array::<SEED_LEN>()?));
            Ok(Self { id, seed, signature: Signature::from_bytes(reader.array()?) })
        })
    }

    pub(crate) fn seed(&self) -> &KemSeed {
        &self.seed
    }
}

impl core::fmt::Debug for KemPrekeySecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { id, seed: _, signature: _ } = self;
        f.debug_struct("KemPrekeySecret").field("id", id).finish_non_exhaustive()
    }
}

/// What the device signs.
pub(super) fn statement(
    identity_key: &IdentityKey,
    kind: KemPrekeyKind,
    id: u32,
    public_key: &[u8; PUBLIC_LEN],
) -> [u8; 68 + PUBLIC_LEN] {
    let mut bytes = [0; 68 + PUBLIC_LEN];
    bytes[..32].copy_from_slice(kind.label());
    bytes[32..64].copy_from_slice(identity_key.as_bytes());
    bytes[64..68].copy_from_slice(&id.to_be_bytes());
    bytes[68..].copy_from_slice(public_key);
    bytes
}

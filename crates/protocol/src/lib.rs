//! Kuvert's end-to-end protocol: PQXDH with separated identity keys, the Triple Ratchet with header encryption, sessions.
//! Specified byte by byte in docs/PROTOCOL.md.
//!
//! Nothing here talks to a network, reads a clock or makes randomness: bytes, `now` (Unix milliseconds) and `rng` come in as
//! arguments. Builds without std (without the feature `aws-lc`, see [`hazmat::primitives`]). No input from outside makes it
//! panic.
//!
//! | module | holds |
//! |---|---|
//! | [`identity`] | account and device keys, safety numbers |
//! | [`prekey`] | prekeys, and bundles of them |
//! | [`session`] | [`SessionRecord`]: begin sessions, encrypt, decrypt |
//! | [`sealed_sender`] | hiding from the relay which device sent a session message, and proving it to the recipient |
//! | [`replay`] | [`ReplayRecord`]: first messages seen with a last-resort key |
//! | [`message`] | layouts of session messages |
//! | [`attachment`] | files too long for a message, in chunks under a key of their own |
//! | [`blob`] | which device may read a file at the relay |
//! | [`group`] | who belongs to a group, from signed operations alone |
//! | [`linking`] | how a device of the account makes another one a device of the account |
//! | [`padding`], [`plaintext`] | buckets that hide lengths, decrypted content |
//! | [`hazmat`] | for experts only: ratchets, the key agreement between them, labels, primitives |
//!
//! ```text
//! PrekeyBundle ──verify──► VerifiedBundle ──initiate──┐
//!                                                     ▼
//!                 PrekeyMessage ──decrypt──►   SessionRecord   ◄──► encrypt / decrypt
//! ```
//!
//! # Example
//! Alice writes to Bob, whose prekeys she fetched; Bob reads and answers.
//! ```
//! use kuvert_protocol::prelude::*;
//! use kuvert_types::{AccountId, Address, DeviceId};
//! # use getrandom::{SysRng, rand_core::UnwrapErr};
//! # struct Store { signed: SignedPrekeySecret, kem: KemPrekeySecret }
//! # impl PrekeyStore for Store {
//! #     type Error = kuvert_types::DecodeError;
//! #     fn signed(&self, _: u32) -> Result<Option<SignedPrekeySecret>, Self::Error> {
//! #         SignedPrekeySecret::decode(&self.signed.encode()).map(Some)
//! #     }
//! #     fn one_time(&self, _: u32) -> Result<Option<OneTimePrekeySecret>, Self::Error> { Ok(None) }
//! #     fn kem(&self, _: u32) -> Result<Option<(KemPrekeySecret, KemPrekeyKind)>, Self::Error> {
//! #         Ok(Some((KemPrekeySecret::decode(&self.kem.encode())?, KemPrekeyKind::LastResort)))
//! #     }
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rng = &mut UnwrapErr(SysRng);
//! let mut device = |account: u8| {
//!     let secret = AccountSecret::generate(rng);
//!     let keys = DeviceSecrets::generate(rng);
//!     let address = Address { account: AccountId::from_bytes([account; 16]), device: DeviceId::PRIMARY };
//!     let certificate = keys.certify(&secret, address);
//!     LocalDevice::new(keys, certificate)
//! };
//! let (alice, bob) = (device(1)?, device(2)?);
//!
//! let prekeys = Store {
//!     signed: SignedPrekeySecret::generate(1, bob.secrets(), rng),
//!     kem: KemPrekeySecret::generate(1, KemPrekeyKind::LastResort, bob.secrets(), rng),
//! };
//! let bundle = PrekeyBundle {
//!     certificate: kuvert_types::UnverifiedDeviceCertificate::decode(&bob.certificate().encode())?,
//!     signed_prekey: prekeys.signed.public(),
//!     kem_prekey: prekeys.kem.public(),
//!     kem_kind: KemPrekeyKind::LastResort,
//!     one_time_prekey: None,
//! };
//! let bundle = bundle.verify(bob.address(), &bob.certificate().account_key())?;
//!
//! let now = 1_700_000_000_000;
//! let mut with_bob = SessionRecord::new();
//! with_bob.initiate(&alice, &bundle, now, rng)?;
//! let message = with_bob.encrypt(b"hello", now, rng)?;
//!
//! let (mut with_alice, mut replay) = (SessionRecord::new(), ReplayRecord::new());
//! assert_eq!(last_resort_prekey(&message)?, Some(1)); // the prekey of this replay record
//! let context = DecryptContext {
//!     local: &bob,
//!     remote: alice.address(),
//!     trust: Trust::Contact,
//!     prekeys: &prekeys,
//!     replay: &mut replay,
//!     now,
//!     rng,
//! };
//! let decrypted = with_alice.decrypt(&message, context)?;
//! assert_eq!(*decrypted.plaintext, *b"hello");
//! # Ok(())
//! # }
//! ```

#![no_std]
#![deny(missing_docs)]

extern crate alloc;

pub mod attachment;
pub mod blob;
mod braid;
#[path = "../tests/generator/mod.rs"] // the vectors hold values between the layers
#[cfg(test)]
mod generator;
pub mod group;
pub mod hazmat;
pub mod identity;
mod labels;
pub mod linking;
pub mod message;
pub mod padding;
pub mod plaintext;
mod pq_ratchet;
mod pqxdh;
pub mod prekey;
mod primitives;
mod ratchet;
pub mod replay;
mod scka;
pub mod sealed_sender;
pub mod session;
mod stored;
mod wiped;

pub use identity::{
    AccountSecret, DeviceSecrets, LocalDevice, LocalDeviceError, SafetyNumber, account_key_fingerprint, safety_number,
};
pub use message::{initiator_certificate, last_resort_prekey};
pub use plaintext::Plaintext;
pub use prekey::{
    BundleError, KemPrekey, KemPrekeyKind, KemPrekeySecret, OneTimePrekey, OneTimePrekeySecret, PrekeyBundle,
    PrekeyStore, SignedPrekey, SignedPrekeySecret, VerifiedBundle,
};
pub use replay::{ReplayRecord, Trust};
pub use session::{
    DecryptContext, DecryptError, DecryptFailure, Decrypted, EncryptError, InitiateError, SessionRecord, UsedPrekeys,
};

/// Everything that a client needs, in one `use`.
pub mod prelude {
    pub use crate::{
        AccountSecret, DecryptContext, DecryptError, DecryptFailure, Decrypted, DeviceSecrets, EncryptError,
        InitiateError, KemPrekey, KemPrekeyKind, KemPrekeySecret, LocalDevice, OneTimePrekey, OneTimePrekeySecret,
        Plaintext, PrekeyBundle, PrekeyStore, ReplayRecord, SessionRecord, SignedPrekey, SignedPrekeySecret, Trust,
        UsedPrekeys, VerifiedBundle, last_resort_prekey,
    };
}

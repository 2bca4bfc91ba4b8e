//! Kuvert's end-to-end protocol: PQXDH with separated identity keys, the Triple Ratchet with header encryption, sessions.
//! Specified byte by byte in docs/PROTOCOL.md.
//!
//! Nothing here talks to a network, reads a clock or makes randomness: bytes, `now` (Unix milliseconds) and `rng` come in as
//! arguments. Builds without std (without the feature `aws-lc`, see [`primitives::backend`]). Nothing here panics on what somebody else sent.
//!
//! | module | holds |
//! |---|---|
//! | [`identity`] | account and device keys, safety numbers |
//! | [`prekey`] | prekeys, and bundles of them |
//! | [`session`] | [`SessionRecord`]: begin sessions, encrypt, decrypt |
//! | [`sealed_sender`] | hiding from the relay who sent a session message, and proving it to the recipient |
//! | [`replay`] | [`ReplayRecord`]: first messages seen with a last-resort key |
//! | [`message`] | layouts of session messages |
//! | `pqxdh` | the key agreement |
//! | [`ratchet`] | the Double Ratchet with header encryption |
//! | [`pq_ratchet`], [`scka`], [`braid`] | the post-quantum ratchet beside it |
//! | [`padding`], [`plaintext`] | buckets that hide lengths, decrypted content |
//! | [`labels`] | what separates one use of a key from another |
//! | [`primitives`] | the one place where primitives are named |
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
//! # impl PrekeySecrets for Store {
//! #     fn signed(&self, _: u32) -> Option<SignedPrekeySecret> { SignedPrekeySecret::decode(&self.signed.encode()).ok() }
//! #     fn one_time(&self, _: u32) -> Option<OneTimePrekeySecret> { None }
//! #     fn kem(&self, _: u32) -> Option<(KemPrekeySecret, KemPrekeyKind)> {
//! #         Some((KemPrekeySecret::decode(&self.kem.encode()).ok()?, KemPrekeyKind::LastResort))
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
//! assert_eq!(last_resort_prekey(&message)?, Some(1)); // whose replay record it is
//! let (from, trust) = (alice.address(), Trust::Contact);
//! let decrypted = with_alice.decrypt(&bob, from, trust, &message, &prekeys, &mut replay, now, rng)?;
//! assert_eq!(*decrypted.plaintext, *b"hello");
//! # Ok(())
//! # }
//! ```

#![no_std]

extern crate alloc;

pub mod braid;
pub mod identity;
pub mod labels;
pub mod message;
pub mod padding;
pub mod plaintext;
pub mod pq_ratchet;
mod pqxdh;
pub mod prekey;
pub mod primitives;
pub mod ratchet;
pub mod replay;
pub mod scka;
pub mod sealed_sender;
pub mod session;
mod stored;
#[cfg(test)]
mod vectors;
mod wiped;

pub use identity::{
    AccountSecret, DeviceSecrets, LocalDevice, LocalDeviceError, SafetyNumber, account_key_fingerprint, safety_number,
};
pub use message::{initiator_certificate, last_resort_prekey};
pub use plaintext::Plaintext;
pub use prekey::{
    BundleError, KemPrekey, KemPrekeyKind, KemPrekeySecret, OneTimePrekey, OneTimePrekeySecret, PrekeyBundle,
    PrekeySecrets, SignedPrekey, SignedPrekeySecret, VerifiedBundle,
};
pub use replay::{ReplayRecord, Trust};
pub use session::{DecryptError, Decrypted, EncryptError, InitiateError, SessionRecord, UsedPrekeys};

/// Everything that a client needs, in one `use`.
pub mod prelude {
    pub use crate::{
        AccountSecret, DecryptError, Decrypted, DeviceSecrets, EncryptError, InitiateError, KemPrekey, KemPrekeyKind,
        KemPrekeySecret, LocalDevice, OneTimePrekey, OneTimePrekeySecret, Plaintext, PrekeyBundle, PrekeySecrets,
        ReplayRecord, SessionRecord, SignedPrekey, SignedPrekeySecret, Trust, UsedPrekeys, VerifiedBundle,
        last_resort_prekey,
    };
}

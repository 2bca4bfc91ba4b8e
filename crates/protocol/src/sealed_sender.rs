//! Sealed sender: the name of the sender travels inside of the message, readable by its recipient alone, proven to it alone
//! (PROTOCOL.md, Sealed sender).
//!
//! ```text
//! sealed  = version u8 = 2 ‖ E 32 ‖ CERT ‖ BODY          e is drawn for this message alone; IK_A is the sender's identity key,
//! CERT    = AEAD(k1, n1, AD, sender's certificate 245)   IK_B the recipient's
//! BODY    = AEAD(k2, n2, AD ‖ SHA-256(CERT), session message)
//! AD      = version u8 = 2 ‖ E 32 ‖ IK_B 32 ‖ address_B 20
//!
//! k1 32 ‖ n1 12 ‖ ck 32 = HKDF(salt = 0^32, IKM = DH(e, IK_B), info = L("sealed certificate") ‖ E ‖ IK_B ‖ address_B, 76)
//! k2 32 ‖ n2 12 = HKDF(salt = ck, IKM = DH(IK_A, IK_B), info = L("sealed message") ‖ E ‖ IK_B ‖ address_B ‖ SHA-256(CERT), 44)
//! ```
//! These are the steps of Noise's one-way pattern X: e, es, s, ss. The second key takes a secret that only the holders of
//! IK_A's secret and of IK_B's secret can compute. So what opens was sealed by the device whose certificate lies under the
//! seal, or by a holder of the recipient's own identity secret, which could have made it all alone. The last makes it
//! deniable: the recipient cannot prove the sender to a third party.
//!
//! # Example
//! ```
//! use kuvert_protocol::prelude::*;
//! use kuvert_protocol::sealed_sender;
//! # use getrandom::{SysRng, rand_core::UnwrapErr};
//! # use kuvert_types::{AccountId, Address, DeviceId};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let rng = &mut UnwrapErr(SysRng);
//! # let mut device = |account: u8| {
//! #     let (secret, keys) = (AccountSecret::generate(rng), DeviceSecrets::generate(rng));
//! #     let address = Address { account: AccountId::from_bytes([account; 16]), device: DeviceId::PRIMARY };
//! #     let certificate = keys.certify(&secret, address);
//! #     LocalDevice::new(keys, certificate)
//! # };
//! # let (alice, bob) = (device(1)?, device(2)?);
//! # let session_message = b"what SessionRecord::encrypt gave";
//! let sealed = sealed_sender::seal(&alice, bob.certificate(), session_message, rng)?;
//!
//! let unsealed = sealed_sender::open(&bob, &sealed)?;
//! assert_eq!(unsealed.sender.address(), alice.address());
//! assert_eq!(unsealed.message(), session_message);
//! # Ok(())
//! # }
//! ```

use alloc::vec::Vec;

use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_types::{Address, DecodeError, DeviceCertificate, IdentityKey, Reader, UnverifiedDeviceCertificate};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::identity::LocalDevice;
use crate::labels::{SEALED_CERTIFICATE, SEALED_MESSAGE};
use crate::message::{MAX_CONTENT_LEN, PREKEY_MESSAGE_OVERHEAD};
use crate::padding;
use crate::plaintext::Plaintext;
use crate::primitives::aead::{self, TAG_LEN};
use crate::primitives::kdf::hkdf_sha256;
use crate::primitives::x25519::{InvalidX25519Key, SharedSecret, X25519Public, X25519Secret};

/// The version of this layout.
const VERSION: u8 = 2;

/// Bytes before the encrypted certificate: version and ephemeral key.
const HEAD_LEN: usize = 1 + 32;

/// Bytes of the encrypted certificate, its tag included.
const CERT_LEN: usize = DeviceCertificate::LEN + TAG_LEN;

/// Bytes that sealing adds to a session message.
pub const OVERHEAD: usize = HEAD_LEN + CERT_LEN + TAG_LEN;

const _: () = assert!(
    padding::padded_len(MAX_CONTENT_LEN) + PREKEY_MESSAGE_OVERHEAD + OVERHEAD <= MAX_CIPHERTEXT_BYTES,
    "the longest message fits an envelope with its sender sealed, too"
);

/// Why a message cannot be sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The recipient's identity key is not a valid X25519 key.
    #[error("the recipient's identity key is invalid")]
    InvalidKey,
    /// The recipient is the sealing device itself.
    #[error("a device seals nothing for itself")]
    OwnDevice,
    /// It would not fit an envelope.
    #[error("the message is too long")]
    TooLong,
}

/// Why a sealed message is refused. Nothing in it is to be believed then, the sender's name least of all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not the layout of this version, or an ephemeral key that is none.
    #[error("malformed: {0}")]
    Malformed(DecodeError),
    /// Not for this device, or changed on its way.
    #[error("sealed for another device, or damaged")]
    Undecryptable,
    /// The certificate under the seal does not verify, or the identity key in it is not a valid X25519 key.
    #[error("the sender's certificate is invalid")]
    InvalidCertificate,
    /// The certificate under the seal names this device, or this device's identity key.
    #[error("the sender claims to be the recipient")]
    OwnDevice,
    /// The certificate is a valid one, and the holder of its identity secret did not seal this message [KV-081].
    #[error("not sealed by the device whose certificate lies under the seal")]
    NotTheSender,
}

/// A message whose seal was opened.
#[derive(Debug)]
pub struct Unsealed {
    /// The device that sealed the message. Proven: the seal takes the secret of its identity key (or this device's own).
    /// Which account key the certificate is under proves nothing: the caller compares it with the one that it has pinned.
    pub sender: DeviceCertificate,
    plaintext: Plaintext,
}

impl Unsealed {
    /// The session message, to be opened in a session with [`sender`](Self::sender)'s address.
    pub fn message(&self) -> &[u8] {
        &self.plaintext
    }
}

/// The session message, for a caller that keeps it where it lies: its memory is wiped when it is dropped.
impl AsRef<[u8]> for Unsealed {
    fn as_ref(&self) -> &[u8] {
        self.message()
    }
}

/// Seals a session message for the device of `recipient`, with the certificate of `sender`, this device, inside [KV-079].
/// Draws 32 bytes of `rng`. Costs three multiplications on the curve: the ephemeral key, and two Diffie–Hellmans.
///
/// # Errors
/// See [`SealError`].
pub fn seal(
    sender: &LocalDevice,
    recipient: &DeviceCertificate,
    message: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Vec<u8>, SealError> {
    if message.len() > MAX_CIPHERTEXT_BYTES - OVERHEAD {
        return Err(SealError::TooLong);
    }
    if is_own(sender, recipient) {
        return Err(SealError::OwnDevice);
    }
    let identity = recipient.identity_key();
    let theirs = X25519Public::decode(*identity.as_bytes()).map_err(|_| SealError::InvalidKey)?;
    let ephemeral = X25519Secret::generate(rng);
    let public = ephemeral.public();
    let ephemeral_static = ephemeral.agree(&theirs).map_err(|InvalidX25519Key| SealError::InvalidKey)?;
    let static_static = sender.secrets().identity().agree(&theirs).map_err(|InvalidX25519Key| SealError::InvalidKey)?;
    let outer = Outer::derive(&ephemeral_static, Context::new(&public, &identity, recipient.address()));

    let mut sealed = Vec::with_capacity(message.len() + OVERHEAD);
    sealed.push(VERSION);
    sealed.extend_from_slice(public.as_bytes());
    sealed.extend_from_slice(&sender.certificate().encode());
    let tag = outer.layer().seal(&mut sealed[HEAD_LEN..]);
    sealed.extend_from_slice(&tag);
    let inner = outer.next(&static_static, &sealed[HEAD_LEN..]);
    sealed.extend_from_slice(message);
    let tag = inner.layer().seal(&mut sealed[HEAD_LEN + CERT_LEN..]);
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Opens what was sealed for this device [KV-080]. Costs one Diffie–Hellman and the decryption of the certificate; if that
/// succeeds, two signature checks; if those do, a second Diffie–Hellman and the decryption of the message.
///
/// # Errors
/// See [`OpenError`].
pub fn open(local: &LocalDevice, sealed: &[u8]) -> Result<Unsealed, OpenError> {
    let Parts { ephemeral, certificate, message, tag } = Parts::decode(sealed).map_err(OpenError::Malformed)?;
    let own = local.secrets().identity();
    // A result of zero cannot come from a key that was decoded.
    let shared = own.agree(&ephemeral).map_err(|_| OpenError::Malformed(DecodeError::Value))?;
    let outer = Outer::derive(&shared, Context::new(&ephemeral, &local.secrets().identity_key(), local.address()));
    let sender = open_certificate(&outer, certificate)?;
    if is_own(local, &sender) {
        return Err(OpenError::OwnDevice);
    }
    let theirs = X25519Public::decode(*sender.identity_key().as_bytes());
    let shared = theirs.and_then(|theirs| own.agree(&theirs)).map_err(|_| OpenError::InvalidCertificate)?;
    let inner = outer.next(&shared, certificate);
    let mut plaintext = Plaintext::default();
    let opened = inner.layer().open(message, tag, plaintext.zeros(message.len()));
    opened.map_err(|aead::OpenError| OpenError::NotTheSender)?;
    Ok(Unsealed { sender, plaintext })
}

/// Decrypts the certificate and checks its signatures, before anything in it is used.
fn open_certificate(outer: &Outer, encrypted: &[u8; CERT_LEN]) -> Result<DeviceCertificate, OpenError> {
    let (ciphertext, tag) = encrypted.split_last_chunk().ok_or(OpenError::Undecryptable)?;
    let mut bytes = Zeroizing::new([0; DeviceCertificate::LEN]);
    outer.layer().open(ciphertext, tag, &mut *bytes).map_err(|aead::OpenError| OpenError::Undecryptable)?;
    let certificate = UnverifiedDeviceCertificate::decode(&*bytes).map_err(|_| OpenError::InvalidCertificate)?;
    certificate.verify().map_err(|_| OpenError::InvalidCertificate)
}

/// Whether a certificate names this device, or claims its identity key: the second secret would then be no agreement
/// between two devices.
fn is_own(local: &LocalDevice, certificate: &DeviceCertificate) -> bool {
    certificate.address() == local.address() || certificate.identity_key() == local.secrets().identity_key()
}

/// A sealed message taken apart.
struct Parts<'a> {
    ephemeral: X25519Public,
    certificate: &'a [u8; CERT_LEN],
    message: &'a [u8],
    tag: &'a [u8; TAG_LEN],
}

impl<'a> Parts<'a> {
    fn decode(sealed: &'a [u8]) -> Result<Self, DecodeError> {
        if sealed.len() > MAX_CIPHERTEXT_BYTES {
            return Err(DecodeError::Length);
        }
        let mut reader = Reader::new(sealed);
        if reader.u8()? != VERSION {
            return Err(DecodeError::Version);
        }
        let ephemeral = X25519Public::decode(reader.array()?).map_err(|_| DecodeError::Value)?;
        let (certificate, rest) = reader.rest().split_first_chunk().ok_or(DecodeError::Length)?;
        let (message, tag) = rest.split_last_chunk().ok_or(DecodeError::Length)?;
        // At least one byte of a session message.
        if message.is_empty() {
            return Err(DecodeError::Length);
        }
        Ok(Self { ephemeral, certificate, message, tag })
    }
}

/// What both layers are about: `version ‖ E ‖ IK_B ‖ address_B`.
struct Context([u8; Self::LEN]);

impl Context {
    const LEN: usize = 1 + 32 + 32 + Address::LEN;

    fn new(ephemeral: &X25519Public, identity: &IdentityKey, recipient: Address) -> Self {
        let mut bytes = [VERSION; Self::LEN];
        bytes[1..33].copy_from_slice(ephemeral.as_bytes());
        bytes[33..65].copy_from_slice(identity.as_bytes());
        bytes[65..].copy_from_slice(&recipient.to_bytes());
        Self(bytes)
    }

    /// All but the version.
    fn info(&self) -> &[u8] {
        &self.0[1..]
    }
}

/// Bytes of a layer's key and nonce.
const LAYER_LEN: usize = aead::KEY_LEN + aead::NONCE_LEN;

/// The keys of the certificate's layer, and the chaining key from which the message's are derived.
struct Outer {
    context: Context,
    /// key 32 ‖ nonce 12 ‖ chaining key 32
    keys: Zeroizing<[u8; LAYER_LEN + 32]>,
}

impl Outer {
    fn derive(shared: &SharedSecret, context: Context) -> Self {
        let keys = hkdf_sha256(&[0; 32], &[shared.as_bytes()], &[&SEALED_CERTIFICATE, context.info()]);
        Self { context, keys }
    }

    fn layer(&self) -> Layer<'_> {
        let (key, nonce, _) = key_and_nonce(&*self.keys);
        Layer { key, nonce, associated_data: &self.context.0 }
    }

    /// The message's layer [KV-081]: its key takes the sender's identity secret. `encrypted` is the certificate's encrypted
    /// form, its tag included.
    fn next(&self, shared: &SharedSecret, encrypted: &[u8]) -> Inner {
        let mut associated_data = [0; Context::LEN + 32];
        associated_data[..Context::LEN].copy_from_slice(&self.context.0);
        associated_data[Context::LEN..].copy_from_slice(&Sha256::digest(encrypted));
        let (_, _, chaining_key) = key_and_nonce(&*self.keys);
        let keys = hkdf_sha256(chaining_key, &[shared.as_bytes()], &[&SEALED_MESSAGE, &associated_data[1..]]);
        Inner { associated_data, keys }
    }
}

/// The keys of the message's layer.
struct Inner {
    associated_data: [u8; Context::LEN + 32],
    /// key 32 ‖ nonce 12
    keys: Zeroizing<[u8; LAYER_LEN]>,
}

impl Inner {
    fn layer(&self) -> Layer<'_> {
        let (key, nonce, _) = key_and_nonce(&*self.keys);
        Layer { key, nonce, associated_data: &self.associated_data }
    }
}

/// One AEAD of a sealed message.
struct Layer<'a> {
    key: &'a [u8; aead::KEY_LEN],
    nonce: &'a [u8; aead::NONCE_LEN],
    associated_data: &'a [u8],
}

impl Layer<'_> {
    fn seal(&self, data: &mut [u8]) -> [u8; TAG_LEN] {
        aead::seal(self.key, self.nonce, self.associated_data, data)
    }

    fn open(&self, ciphertext: &[u8], tag: &[u8; TAG_LEN], plaintext: &mut [u8]) -> Result<(), aead::OpenError> {
        aead::open(self.key, self.nonce, self.associated_data, ciphertext, tag, plaintext)
    }
}

/// Key, nonce, and what is left of `keys`, which holds 44 bytes at least.
fn key_and_nonce(keys: &[u8]) -> (&[u8; aead::KEY_LEN], &[u8; aead::NONCE_LEN], &[u8]) {
    #[allow(clippy::expect_used)] // 44 bytes or more, both callers' arrays
    let (key, rest) = keys.split_first_chunk().expect("32 bytes");
    #[allow(clippy::expect_used)] // as above
    let (nonce, rest) = rest.split_first_chunk().expect("12 bytes");
    (key, nonce, rest)
}

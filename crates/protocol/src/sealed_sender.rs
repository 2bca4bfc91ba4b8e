//! Sealed sender: who sent a message travels inside of it, readable by its recipient alone (PROTOCOL.md, Sealed sender).
//!
//! ```text
//! sealed            = version u8 = 1 ‖ E 32 ‖ AEAD(key, nonce, AD, sender's certificate 245 ‖ session message)
//! key 32 ‖ nonce 12 = HKDF(salt = 0^32, IKM = DH(e, IK_R), info = L("sealed sender") ‖ E ‖ IK_R ‖ address_R, 44)
//! AD                = version u8 = 1 ‖ E 32 ‖ IK_R 32 ‖ address_R 20
//! ```
//! `e` is drawn for this message alone, `IK_R` is the recipient's identity key. This layer hides who wrote; it does not prove
//! it. A certificate is public, so anybody can put anybody's in. The proof is the session message inside: the caller opens it
//! in a session with the address that the certificate names, and believes nothing before that has succeeded.

use alloc::vec::Vec;

use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_types::{Address, DecodeError, DeviceCertificate, IdentityKey, Reader, UnverifiedDeviceCertificate};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::identity::LocalDevice;
use crate::labels::SEALED_SENDER;
use crate::message::{MAX_CONTENT_LEN, PREKEY_MESSAGE_OVERHEAD};
use crate::padding;
use crate::plaintext::Plaintext;
use crate::primitives::aead::{self, TAG_LEN};
use crate::primitives::kdf::hkdf_sha256;
use crate::primitives::x25519::{InvalidX25519Key, SharedSecret, X25519Public, X25519Secret};

/// The version of this layout.
const VERSION: u8 = 1;

/// Bytes before the ciphertext: version and ephemeral key.
const HEAD_LEN: usize = 1 + 32;

/// Bytes that sealing adds to a session message.
pub const OVERHEAD: usize = HEAD_LEN + DeviceCertificate::LEN + TAG_LEN;

const _: () = assert!(
    padding::padded_len(MAX_CONTENT_LEN) + PREKEY_MESSAGE_OVERHEAD + OVERHEAD <= MAX_CIPHERTEXT_BYTES,
    "the longest message fits an envelope with its sender sealed, too"
);

/// Why a message cannot be sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// The recipient's identity key is not a valid X25519 key.
    #[error("the recipient's identity key is invalid")]
    InvalidKey,
    /// It would not fit an envelope.
    #[error("the message is too long")]
    TooLong,
}

/// Why a sealed message is refused. Nothing in it is to be believed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// Not the layout of this version, or an ephemeral key that is none.
    #[error("malformed: {0}")]
    Malformed(DecodeError),
    /// Not for this device, or changed on its way.
    #[error("sealed for another device, or damaged")]
    Undecryptable,
    /// Opened, and the certificate in it is not one.
    #[error("the sender's certificate is invalid")]
    InvalidCertificate,
}

/// A message whose seal was opened.
#[derive(Debug)]
pub struct Unsealed {
    /// Whom the message names as its sender: a certificate that verifies, and no proof that its owner sent this.
    pub sender: DeviceCertificate,
    plaintext: Plaintext,
}

impl Unsealed {
    /// The session message, to be opened in a session with [`sender`](Self::sender)'s address.
    pub fn message(&self) -> &[u8] {
        &self.plaintext[DeviceCertificate::LEN..]
    }
}

/// The session message, for a caller that keeps it where it lies: its memory is wiped when it is dropped.
impl AsRef<[u8]> for Unsealed {
    fn as_ref(&self) -> &[u8] {
        self.message()
    }
}

/// Seals a session message for the device of `recipient`, with the sender's certificate inside. Draws 32 bytes of `rng`.
///
/// # Errors
/// See [`SealError`].
pub fn seal(
    sender: &DeviceCertificate,
    recipient: &DeviceCertificate,
    message: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Vec<u8>, SealError> {
    if message.len() > MAX_CIPHERTEXT_BYTES - OVERHEAD {
        return Err(SealError::TooLong);
    }
    let identity = recipient.identity_key();
    let theirs = X25519Public::decode(*identity.as_bytes()).map_err(|_| SealError::InvalidKey)?;
    let ephemeral = X25519Secret::generate(rng);
    let public = ephemeral.public();
    let shared = ephemeral.agree(&theirs).map_err(|InvalidX25519Key| SealError::InvalidKey)?;
    let keys = Keys::derive(&shared, &public, &identity, recipient.address());

    let mut sealed = Vec::with_capacity(message.len() + OVERHEAD);
    sealed.push(VERSION);
    sealed.extend_from_slice(public.as_bytes());
    sealed.extend_from_slice(&sender.encode());
    sealed.extend_from_slice(message);
    let tag = keys.seal(&mut sealed[HEAD_LEN..]);
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Opens what was sealed for this device. Costs one Diffie–Hellman and one decryption, and two signature checks if those
/// succeed.
///
/// # Errors
/// See [`OpenError`].
pub fn open(local: &LocalDevice, sealed: &[u8]) -> Result<Unsealed, OpenError> {
    let (ephemeral, ciphertext, tag) = decode(sealed).map_err(OpenError::Malformed)?;
    let shared = local.secrets().identity().agree(&ephemeral);
    // A result of zero cannot come from a key that was decoded.
    let shared = shared.map_err(|_| OpenError::Malformed(DecodeError::Value))?;
    let keys = Keys::derive(&shared, &ephemeral, &local.secrets().identity_key(), local.address());
    let mut plaintext = Plaintext::default();
    keys.open(ciphertext, tag, plaintext.zeros(ciphertext.len()))?;
    let certificate = plaintext.get(..DeviceCertificate::LEN).unwrap_or_default();
    let certificate = UnverifiedDeviceCertificate::decode(certificate).map_err(|_| OpenError::InvalidCertificate)?;
    let sender = certificate.verify().map_err(|_| OpenError::InvalidCertificate)?;
    Ok(Unsealed { sender, plaintext })
}

fn decode(sealed: &[u8]) -> Result<(X25519Public, &[u8], &[u8; TAG_LEN]), DecodeError> {
    if sealed.len() > MAX_CIPHERTEXT_BYTES {
        return Err(DecodeError::Length);
    }
    let mut reader = Reader::new(sealed);
    if reader.u8()? != VERSION {
        return Err(DecodeError::Version);
    }
    let ephemeral = X25519Public::decode(reader.array()?).map_err(|_| DecodeError::Value)?;
    let (ciphertext, tag) = reader.rest().split_last_chunk().ok_or(DecodeError::Length)?;
    // At least one byte of a session message.
    if ciphertext.len() <= DeviceCertificate::LEN {
        return Err(DecodeError::Length);
    }
    Ok((ephemeral, ciphertext, tag))
}

/// Key and nonce of one sealed message, and what is authenticated beside it.
struct Keys {
    key_and_nonce: Zeroizing<[u8; aead::KEY_LEN + aead::NONCE_LEN]>,
    associated_data: [u8; 1 + 32 + 32 + Address::LEN],
}

impl Keys {
    fn derive(shared: &SharedSecret, ephemeral: &X25519Public, identity: &IdentityKey, recipient: Address) -> Self {
        let mut associated_data = [VERSION; 1 + 32 + 32 + Address::LEN];
        associated_data[1..33].copy_from_slice(ephemeral.as_bytes());
        associated_data[33..65].copy_from_slice(identity.as_bytes());
        associated_data[65..].copy_from_slice(&recipient.to_bytes());
        let info = [SEALED_SENDER.as_slice(), &associated_data[1..]];
        Self { key_and_nonce: hkdf_sha256(&[0; 32], &[shared.as_bytes()], &info), associated_data }
    }

    fn seal(&self, data: &mut [u8]) -> [u8; TAG_LEN] {
        let (key, nonce) = self.parts();
        aead::seal(key, nonce, &self.associated_data, data)
    }

    fn open(&self, ciphertext: &[u8], tag: &[u8; TAG_LEN], plaintext: &mut [u8]) -> Result<(), OpenError> {
        let (key, nonce) = self.parts();
        let opened = aead::open(key, nonce, &self.associated_data, ciphertext, tag, plaintext);
        opened.map_err(|aead::OpenError| OpenError::Undecryptable)
    }

    fn parts(&self) -> (&[u8; aead::KEY_LEN], &[u8; aead::NONCE_LEN]) {
        #[allow(clippy::expect_used)] // 32 + 12 = 44, the array's length
        let (key, rest) = self.key_and_nonce.split_first_chunk().expect("44 bytes");
        #[allow(clippy::expect_used)] // the 12 that are left
        (key, rest.first_chunk().expect("12 bytes"))
    }
}

//! RustCrypto and dalek. Both wipe their keys and states when dropped (their `zeroize` features are on).

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, XChaCha20Poly1305};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::primitives::aead::{KEY_LEN, NONCE_LEN, OpenError, TAG_LEN, XNONCE_LEN};

/// What computes the authenticated encryption and the curve.
pub const NAMES: [&str; 2] = ["chacha20poly1305", "x25519-dalek"];

/// See [`aead::seal`](crate::primitives::aead::seal).
pub fn seal(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN], associated: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
    sealed(ChaCha20Poly1305::new(key.into()).encrypt_inout_detached(nonce.into(), associated, data.into()))
}

/// See [`aead::open`](crate::primitives::aead::open).
///
/// # Errors
/// The tag does not fit.
pub fn open(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    associated: &[u8],
    ciphertext: &[u8],
    tag: &[u8; TAG_LEN],
    plaintext: &mut [u8],
) -> Result<(), OpenError> {
    let data = InOutBuf::new(ciphertext, plaintext).map_err(|_| OpenError)?;
    let cipher = ChaCha20Poly1305::new(key.into());
    cipher.decrypt_inout_detached(nonce.into(), associated, data, tag.into()).map_err(|_| OpenError)
}

/// See [`aead::xseal`](crate::primitives::aead::xseal).
pub fn xseal(key: &[u8; KEY_LEN], nonce: &[u8; XNONCE_LEN], associated: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
    sealed(XChaCha20Poly1305::new(key.into()).encrypt_inout_detached(nonce.into(), associated, data.into()))
}

/// See [`aead::xopen`](crate::primitives::aead::xopen).
///
/// # Errors
/// The tag does not fit.
pub fn xopen(
    key: &[u8; KEY_LEN],
    nonce: &[u8; XNONCE_LEN],
    associated: &[u8],
    ciphertext: &[u8],
    tag: &[u8; TAG_LEN],
    plaintext: &mut [u8],
) -> Result<(), OpenError> {
    let data = InOutBuf::new(ciphertext, plaintext).map_err(|_| OpenError)?;
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher.decrypt_inout_detached(nonce.into(), associated, data, tag.into()).map_err(|_| OpenError)
}

fn sealed(tag: Result<chacha20poly1305::Tag, chacha20poly1305::Error>) -> [u8; TAG_LEN] {
    #[allow(clippy::expect_used)] // fails for 256 GiB and more only; a message has at most 96 KiB
    tag.expect("data shorter than 256 GiB").into()
}

/// An X25519 secret key. Wiped when dropped.
#[derive(Clone)]
pub struct X25519Scalar(StaticSecret);

impl X25519Scalar {
    /// Takes 32 bytes; they are clamped when used.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(StaticSecret::from(*bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.0).to_bytes()
    }

    /// X25519 with `point`; 32 zero bytes if that has low order.
    pub fn multiply(&self, point: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.diffie_hellman(&PublicKey::from(*point)).to_bytes())
    }
}

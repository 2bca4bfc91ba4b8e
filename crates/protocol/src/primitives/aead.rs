//! ChaCha20-Poly1305 (RFC 8439) for bodies and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) for headers, both in place
//! and with the 16-byte tag apart. Tags are compared in constant time by the backend and never truncated.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, XChaCha20Poly1305};

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes of a nonce of ChaCha20-Poly1305.
pub const NONCE_LEN: usize = 12;
/// Bytes of a nonce of XChaCha20-Poly1305: long enough to be drawn at random.
pub const XNONCE_LEN: usize = 24;
/// Bytes of a tag.
pub const TAG_LEN: usize = 16;

/// The tag does not fit key, nonce, associated data and ciphertext.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("authentication failed")]
pub struct OpenError;

/// Encrypts `data` in place with ChaCha20-Poly1305 and returns the tag.
///
/// `data` must be shorter than 256 GiB, which every caller's bounds see to; the tag of longer data would be zero.
pub fn seal(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN], associated: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
    let cipher = ChaCha20Poly1305::new(key.into());
    sealed(cipher.encrypt_inout_detached(nonce.into(), associated, data.into()))
}

/// Decrypts `data` in place with ChaCha20-Poly1305.
///
/// # Errors
/// The tag does not fit. `data` is then unchanged: the tag is checked before anything is decrypted.
pub fn open(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    associated: &[u8],
    data: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), OpenError> {
    let cipher = ChaCha20Poly1305::new(key.into());
    cipher.decrypt_inout_detached(nonce.into(), associated, data.into(), tag.into()).map_err(|_| OpenError)
}

/// Encrypts `data` in place with XChaCha20-Poly1305 and returns the tag. Bounds as for [`seal`].
pub fn xseal(key: &[u8; KEY_LEN], nonce: &[u8; XNONCE_LEN], associated: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
    let cipher = XChaCha20Poly1305::new(key.into());
    sealed(cipher.encrypt_inout_detached(nonce.into(), associated, data.into()))
}

/// Decrypts `data` in place with XChaCha20-Poly1305.
///
/// # Errors
/// The tag does not fit. `data` is then unchanged.
pub fn xopen(
    key: &[u8; KEY_LEN],
    nonce: &[u8; XNONCE_LEN],
    associated: &[u8],
    data: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), OpenError> {
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher.decrypt_inout_detached(nonce.into(), associated, data.into(), tag.into()).map_err(|_| OpenError)
}

fn sealed(tag: Result<chacha20poly1305::Tag, chacha20poly1305::Error>) -> [u8; TAG_LEN] {
    #[allow(clippy::expect_used)] // fails for 256 GiB and more only; a message has at most 96 KiB
    tag.expect("data shorter than 256 GiB").into()
}

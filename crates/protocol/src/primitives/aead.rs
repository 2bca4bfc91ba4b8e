//! ChaCha20-Poly1305 (RFC 8439) for bodies and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) for headers, with the 16-byte
//! tag apart. Tags are compared in constant time by the [backend](super::backend) and never truncated [KV-010].

use super::backend::chosen;

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
/// `data` must be shorter than 256 GiB, which every caller's bounds see to; the algorithm has no tag for longer data.
pub fn seal(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN], associated: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
    chosen::seal(key, nonce, associated, data)
}

/// Decrypts `ciphertext` into `plaintext`, which is as long, with ChaCha20-Poly1305.
///
/// # Errors
/// [`OpenError`]: the tag does not fit. `plaintext` then holds nothing that was decrypted.
pub fn open(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    associated: &[u8],
    ciphertext: &[u8],
    tag: &[u8; TAG_LEN],
    plaintext: &mut [u8],
) -> Result<(), OpenError> {
    chosen::open(key, nonce, associated, ciphertext, tag, plaintext)
}

/// Encrypts `data` in place with XChaCha20-Poly1305 and returns the tag. Bounds as for [`seal`].
pub fn xseal(key: &[u8; KEY_LEN], nonce: &[u8; XNONCE_LEN], associated: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
    chosen::xseal(key, nonce, associated, data)
}

/// Decrypts `ciphertext` into `plaintext`, which is as long, with XChaCha20-Poly1305.
///
/// # Errors
/// As for [`open`].
pub fn xopen(
    key: &[u8; KEY_LEN],
    nonce: &[u8; XNONCE_LEN],
    associated: &[u8],
    ciphertext: &[u8],
    tag: &[u8; TAG_LEN],
    plaintext: &mut [u8],
) -> Result<(), OpenError> {
    chosen::xopen(key, nonce, associated, ciphertext, tag, plaintext)
}

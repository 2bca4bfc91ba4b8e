//! AWS-LC through aws-lc-rs, for programs that link it for TLS anyway. Its code for x86-64 and AArch64 is chosen at run time.
//!
//! What is wiped: AWS-LC keeps the cipher's key, and the X25519 key, in memory of its own allocator, which overwrites every block
//! when it is freed; the subkey of XChaCha20 and results are wiped here. Not wiped, by either library: what the processor's
//! registers and the stack frames of the assembly held (the Poly1305 key, the keystream of a last block).
//!
//! Setting a key makes one short-lived allocation in AWS-LC, which Rust's allocator does not see.

extern crate std;

use std::sync::{Arc, OnceLock};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use chacha20::{R20, hchacha};
use zeroize::Zeroizing;

use crate::primitives::aead::{KEY_LEN, NONCE_LEN, OpenError, TAG_LEN, XNONCE_LEN};

/// What computes the authenticated encryption and the curve.
pub const NAMES: [&str; 2] = ["aws-lc-rs", "aws-lc-rs"];

/// See [`aead::seal`](crate::primitives::aead::seal).
pub fn seal(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN], associated: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
    let tag = cipher(key).seal_in_place_separate_tag(once(nonce), Aad::from(associated), data);
    #[allow(clippy::expect_used)] // fails for 256 GiB and more only; a message has at most 96 KiB
    let tag = tag.expect("data shorter than 256 GiB");
    #[allow(clippy::expect_used)] // the algorithm's tag has 16 bytes
    *tag.as_ref().first_chunk().expect("a tag of 16 bytes")
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
    // AWS-LC overwrites `plaintext` with zeros when the tag does not fit.
    cipher(key)
        .open_separate_gather(once(nonce), Aad::from(associated), ciphertext, tag, plaintext)
        .map_err(|_| OpenError)
}

/// See [`aead::xseal`](crate::primitives::aead::xseal).
pub fn xseal(key: &[u8; KEY_LEN], nonce: &[u8; XNONCE_LEN], associated: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
    let (key, nonce) = subkey(key, nonce);
    seal(&key, &nonce, associated, data)
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
    let (key, nonce) = subkey(key, nonce);
    open(&key, &nonce, associated, ciphertext, tag, plaintext)
}

fn cipher(key: &[u8; KEY_LEN]) -> LessSafeKey {
    #[allow(clippy::expect_used)] // the algorithm's key has 32 bytes
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("a key of 32 bytes"))
}

/// That a nonce serves once is the protocol's concern: every body has a new key, every header a random nonce.
fn once(nonce: &[u8; NONCE_LEN]) -> Nonce {
    Nonce::assume_unique_for_key(*nonce)
}

/// XChaCha20's key and nonce for ChaCha20 (draft-irtf-cfrg-xchacha-03, section 2.3):
/// HChaCha20 of the first 16 bytes, and 4 zero bytes ‖ the other 8.
fn subkey(key: &[u8; KEY_LEN], nonce: &[u8; XNONCE_LEN]) -> (Zeroizing<[u8; KEY_LEN]>, [u8; NONCE_LEN]) {
    let [.., a, b, c, d, e, f, g, h] = *nonce;
    #[allow(clippy::expect_used)] // 24 bytes begin with 16
    let first: &[u8; 16] = nonce.first_chunk().expect("16 of 24 bytes");
    let subkey = Zeroizing::new(hchacha::<R20>(key.into(), first.into()).into());
    (subkey, [0, 0, 0, 0, a, b, c, d, e, f, g, h])
}

/// An X25519 secret key. Wiped when dropped.
#[derive(Clone)]
pub struct X25519Scalar {
    bytes: Zeroizing<[u8; 32]>,
    /// AWS-LC's form, made when it is first needed: it costs a multiplication, and a session that is read from the store and
    /// takes no step needs none.
    key: OnceLock<Arc<PrivateKey>>,
}

impl X25519Scalar {
    /// Takes 32 bytes; they are clamped when used.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self { bytes: Zeroizing::new(*bytes), key: OnceLock::new() }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        #[allow(clippy::expect_used)] // AWS-LC has computed it when it took the key
        let public = self.key().compute_public_key().expect("a public key");
        #[allow(clippy::expect_used)] // the algorithm's public key has 32 bytes
        *public.as_ref().first_chunk().expect("32 bytes")
    }

    /// X25519 with `point`; 32 zero bytes if that has low order.
    pub fn multiply(&self, point: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        let mut shared = Zeroizing::new([0; 32]);
        let point = UnparsedPublicKey::new(&agreement::X25519, point);
        // AWS-LC's only error is that the result is zero, and then `shared` still is.
        let _ = agreement::agree(self.key(), point, (), |bytes| {
            shared.copy_from_slice(bytes);
            Ok(())
        });
        shared
    }

    fn key(&self) -> &PrivateKey {
        self.key.get_or_init(|| {
            #[allow(clippy::expect_used)] // every 32 bytes are a key
            Arc::new(PrivateKey::from_private_key(&agreement::X25519, &*self.bytes).expect("a key of 32 bytes"))
        })
    }
}

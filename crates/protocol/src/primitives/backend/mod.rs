//! What computes the authenticated encryption and the X25519 of [`aead`](super::aead) and [`x25519`](super::x25519).
//!
//! | backend | when | what it is |
//! |---|---|---|
//! | [`portable`] | default | RustCrypto's chacha20poly1305, x25519-dalek: Rust alone, `no_std` |
//! | `aws_lc` | feature `aws-lc` | AWS-LC's assembly through aws-lc-rs: C code, `std`; twice as fast |
//!
//! Both have the same functions and give the same bytes: a differential test compares them, and all vectors run on either.
//! Hashing (HMAC, HKDF, SHA-256) is RustCrypto's in both, because AWS-LC is slower at short inputs; ML-KEM is libcrux's, because
//! AWS-LC has neither the two-step form nor a way to give it the randomness.
//!
//! `chosen` is the backend that this build uses.

#[cfg(feature = "aws-lc")]
pub mod aws_lc;
pub mod portable;

#[cfg(feature = "aws-lc")]
pub use aws_lc as chosen;
#[cfg(not(feature = "aws-lc"))]
pub use portable as chosen;

//! The one place where primitives are named: everything else in this crate speaks in terms of these modules, so another
//! backend replaces nothing but their bodies.
//!
//! | module | holds | standard |
//! |---|---|---|
//! | [`kdf`] | HMAC-SHA256, HKDF-SHA256 | RFC 2104, RFC 5869 |
//! | [`aead`] | ChaCha20-Poly1305, XChaCha20-Poly1305 | RFC 8439, draft-irtf-cfrg-xchacha-03 |
//! | [`x25519`] | Diffie–Hellman with every check on foreign keys | RFC 7748 |
//! | [`ed25519`] | signing; strict verification is in `kuvert_types::signature` | RFC 8032 |
//! | [`kem1024`] | ML-KEM-1024 for prekeys | FIPS 203 |
//! | [`kem768`] | ML-KEM-768 in two parts for the post-quantum ratchet | FIPS 203 |
//!
//! What computes: [`backend`].

pub mod aead;
pub mod backend;
pub mod ed25519;
pub mod kdf;
pub mod kem1024;
pub mod kem768;
pub mod x25519;

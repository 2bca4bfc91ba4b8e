//! What travels between client and relay: the types generated from `proto/`, frames, and checked decoding.
//!
//! [`v1`] holds the generated types as they are. [`frame`] cuts a stream into frames. [`checked`] turns generated fields
//! into the types that the rest of Kuvert uses, and is the only place that decides whether a field is acceptable.
//!
//! With the feature `content`, also the types of what only the two ends read, and their checks ([`attachment`] of files). A relay
//! does without.

#![deny(missing_docs)]

#[cfg(feature = "content")]
pub mod attachment;
pub mod checked;
pub mod frame;

/// The types generated from `proto/kuvert/v1`. Fields are documented there.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    include!("generated/mod.rs");

    /// What the body of an [`Extension`] named [`NAME`](demonstration::NAME) holds.
    pub mod demonstration {
        include!("generated/demonstration.rs");

        /// The extension's name ([`Extension::name`](super::Extension::name)).
        pub const NAME: &str = "demonstration";
    }
}

/// The protocol between client and relay that this build speaks ([`v1::Hello::version`]).
pub const VERSION: u32 = 1;

/// The TLS application protocol (ALPN) of that version.
pub const ALPN: &[u8] = b"kuvert/1";

/// The examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! The public vocabulary of Kuvert, without any secret: addresses, public keys, signed statements, relay addresses, limits.
//! Every other crate of Kuvert uses it. Builds without std.
//!
//! | module | holds |
//! |---|---|
//! | [`address`] | [`AccountId`], [`DeviceId`], [`Address`], [`EnvelopeId`], [`BlobId`] |
//! | [`keys`] | public keys as bytes, one type per role |
//! | [`mod@label`] | the 32-byte labels that separate one use of a key from another |
//! | [`signature`] | strict Ed25519 verification |
//! | [`certificate`] | [`DeviceCertificate`]: an account vouches for a device |
//! | [`device_list`] | [`DeviceList`]: which devices an account has |
//! | [`authentication`] | what a device signs to prove itself to a relay |
//! | [`link_code`] | `kuvert-link:1?…`: what a new device shows |
//! | [`relay_url`] | `kuvert://host:port#fingerprint` |
//! | [`level`] | [`Level`]: the disclosure ladder |
//! | [`access_key`] | [`AccessKey`]: what sealed mail needs |
//! | [`blob`] | [`BlobCapability`], [`UploadToken`]: what opens a file at a relay |
//! | [`limits`] | every bound on what one side may send the other |

#![no_std]
#![deny(missing_docs)]

extern crate alloc;

pub mod access_key;
pub mod address;
pub mod authentication;
pub mod blob;
pub mod certificate;
pub mod device_list;
pub mod keys;
pub mod label;
pub mod level;
pub mod limits;
pub mod link_code;
mod reader;
pub mod relay_url;
pub mod signature;

pub use access_key::{AccessKey, AccessKeyHash};
pub use address::{AccountId, Address, BlobId, DeviceId, EnvelopeId};
pub use blob::{BlobCapability, BlobHash, UploadToken};
pub use certificate::{DeviceCertificate, UnverifiedDeviceCertificate};
pub use device_list::{DeviceList, DeviceListState, UnverifiedDeviceList};
pub use keys::{AccountKey, DeviceSigningKey, IdentityKey};
pub use label::{Label, label};
pub use level::Level;
pub use link_code::{LinkCode, LinkCodeError};
pub use reader::{DecodeError, Reader};
pub use relay_url::RelayUrl;
pub use signature::{Signature, SignatureError};

/// The examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

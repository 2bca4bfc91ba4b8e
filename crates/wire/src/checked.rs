//! From generated fields to checked types and back.

use bytes::Bytes;
use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_types::{AccountId, Address, DecodeError, DeviceId, EnvelopeId};

use crate::v1;

/// Which field is not acceptable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("field {field}: {reason}")]
pub struct FieldError {
    /// The field as `proto/` calls it.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: DecodeError,
}

/// Adds the field's name to a [`DecodeError`].
pub trait InField<T> {
    /// See the trait.
    ///
    /// # Errors
    /// The error that was there before, with `field` beside it.
    fn in_field(self, field: &'static str) -> Result<T, FieldError>;
}

impl<T> InField<T> for Result<T, DecodeError> {
    fn in_field(self, field: &'static str) -> Result<T, FieldError> {
        self.map_err(|reason| FieldError { field, reason })
    }
}

/// A field of exactly `N` bytes.
///
/// # Errors
/// Another length.
pub fn array<const N: usize>(bytes: &[u8], field: &'static str) -> Result<[u8; N], FieldError> {
    bytes.try_into().map_err(|_| DecodeError::Length).in_field(field)
}

/// A field that must be there.
///
/// # Errors
/// It is not.
pub fn required<T>(value: Option<T>, field: &'static str) -> Result<T, FieldError> {
    value.ok_or(DecodeError::Length).in_field(field)
}

/// An address.
///
/// # Errors
/// An account id of another length than 16 bytes, device 0.
pub fn address(value: &v1::Address, field: &'static str) -> Result<Address, FieldError> {
    Ok(Address {
        account: AccountId::try_from(value.account.as_ref()).in_field(field)?,
        device: DeviceId::new(value.device).in_field(field)?,
    })
}

/// The generated form of an address.
pub fn to_wire(address: &Address) -> v1::Address {
    v1::Address { account: Bytes::copy_from_slice(address.account.as_bytes()), device: address.device.get() }
}

/// A checked envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Drawn by the sender.
    pub id: EnvelopeId,
    /// Where it goes.
    pub recipient: Address,
    /// Where it comes from, when the sender tells.
    pub source: Option<Address>,
    /// 1 to [`MAX_CIPHERTEXT_BYTES`] sealed bytes.
    pub ciphertext: Bytes,
}

impl TryFrom<v1::Envelope> for Envelope {
    type Error = FieldError;

    fn try_from(value: v1::Envelope) -> Result<Self, FieldError> {
        if !(1..=MAX_CIPHERTEXT_BYTES).contains(&value.ciphertext.len()) {
            return Err(FieldError { field: "ciphertext", reason: DecodeError::Length });
        }
        Ok(Self {
            id: EnvelopeId::try_from(value.id.as_ref()).in_field("id")?,
            recipient: address(&required(value.recipient, "recipient")?, "recipient")?,
            source: value.source.map(|source| address(&source, "source")).transpose()?,
            ciphertext: value.ciphertext,
        })
    }
}

impl From<Envelope> for v1::Envelope {
    fn from(value: Envelope) -> Self {
        Self {
            id: Bytes::copy_from_slice(value.id.as_bytes()),
            recipient: Some(to_wire(&value.recipient)),
            source: value.source.as_ref().map(to_wire),
            ciphertext: value.ciphertext,
        }
    }
}

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
    /// Names the field of an error.
    ///
    /// # Errors
    /// [`FieldError`]: the error that was there before, with `field` beside it.
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
/// [`DecodeError::Length`] for another length.
pub fn array<const N: usize>(bytes: &[u8], field: &'static str) -> Result<[u8; N], FieldError> {
    bytes.try_into().map_err(|_| DecodeError::Length).in_field(field)
}

/// A field that must be there.
///
/// # Errors
/// [`DecodeError::Length`] if it is absent.
pub fn required<T>(value: Option<T>, field: &'static str) -> Result<T, FieldError> {
    value.ok_or(DecodeError::Length).in_field(field)
}

/// An address.
///
/// # Errors
/// [`DecodeError::Length`] for an account id of another length than 16 bytes, [`DecodeError::Value`] for device 0.
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

/// A checked envelope [KV-066].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Drawn by the sender.
    pub id: EnvelopeId,
    /// Where it goes.
    pub recipient: Address,
    /// Where it comes from, when the sender tells.
    pub source: Option<Address>,
    /// 1 to [`MAX_CIPHERTEXT_BYTES`] bytes, opaque to the relay.
    pub ciphertext: Bytes,
}

impl TryFrom<v1::Envelope> for Envelope {
    type Error = FieldError;

    fn try_from(value: v1::Envelope) -> Result<Self, FieldError> {
        // [KV-066] Ids and addresses are checked below by their types.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> v1::Envelope {
        Envelope {
            id: EnvelopeId::from_bytes([1; 16]),
            recipient: Address { account: AccountId::from_bytes([2; 16]), device: DeviceId::PRIMARY },
            source: None,
            ciphertext: Bytes::from_static(b"opaque"),
        }
        .into()
    }

    fn refused(change: impl FnOnce(&mut v1::Envelope)) -> &'static str {
        let mut envelope = good();
        change(&mut envelope);
        Envelope::try_from(envelope).unwrap_err().field
    }

    #[test]
    fn an_envelope_round_trips_with_and_without_source() {
        let mut wire = good();
        assert_eq!(v1::Envelope::from(Envelope::try_from(wire.clone()).unwrap()), wire);
        wire.source = wire.recipient.clone();
        assert_eq!(v1::Envelope::from(Envelope::try_from(wire.clone()).unwrap()), wire);
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        assert_eq!(refused(|e| e.id = Bytes::from_static(b"short")), "id");
        assert_eq!(refused(|e| e.recipient = None), "recipient");
        assert_eq!(
            refused(|e| e.recipient = Some(v1::Address { account: vec![2; 16].into(), device: 0 })),
            "recipient"
        );
        assert_eq!(refused(|e| e.source = Some(v1::Address { account: vec![2; 17].into(), device: 1 })), "source");
        assert_eq!(refused(|e| e.ciphertext = Bytes::new()), "ciphertext");
        assert_eq!(refused(|e| e.ciphertext = vec![0; MAX_CIPHERTEXT_BYTES + 1].into()), "ciphertext");
    }
}

//! Deliveries before they are opened: the checks that need nothing but themselves.
//!
//! Nothing is asked of the relay here. An envelope that has not authenticated yet must not make this home ask who sent
//! it: the question would tell the relay what a seal hides, and a stranger could have it asked thousands of times.

use bytes::Bytes;
use kuvert_protocol::identity::LocalDevice;
use kuvert_protocol::{initiator_certificate, sealed_sender};
use kuvert_types::{AccountKey, Address, EnvelopeId, UnverifiedDeviceCertificate};
use kuvert_wire::checked::Envelope;
use kuvert_wire::v1;

/// A delivery after the checks that need nothing but itself.
pub(super) enum Incoming {
    /// May be mail.
    Letter(Letter),
    /// Addressed to another device.
    Misdelivered(EnvelopeId),
    /// Sealed, though this home takes no anonymous mail.
    AnonymousUnasked(EnvelopeId),
    /// Not even that.
    Unreadable(Option<EnvelopeId>),
}

/// A session message and who is to have sent it.
pub(super) struct Letter {
    pub id: EnvelopeId,
    /// Where it comes from: the relay authenticated this device, or the seal proves it.
    pub source: Address,
    pub ciphertext: Bytes,
    /// The certificate in a first message, unverified.
    pub initiator: Option<Box<UnverifiedDeviceCertificate>>,
    /// The account key that the sender's certificate is under, when it came sealed: no relay has checked that.
    pub sealed_by: Option<AccountKey>,
}

impl Incoming {
    /// Checks a delivery. `opens_anonymous`: whether this home takes anonymous mail.
    pub fn check(device: &LocalDevice, delivery: v1::Delivery, opens_anonymous: bool) -> Self {
        let Some(envelope) = delivery.envelope else { return Self::Unreadable(None) };
        let id = EnvelopeId::try_from(envelope.id.as_ref()).ok();
        let Ok(Envelope { id, recipient, source, ciphertext }) = Envelope::try_from(envelope) else {
            return Self::Unreadable(id);
        };
        if recipient != device.address() {
            return Self::Misdelivered(id);
        }
        let (source, sealed_by, ciphertext) = match source {
            Some(source) => (source, None, ciphertext),
            None if !opens_anonymous => return Self::AnonymousUnasked(id),
            None => match sealed_sender::open(device, &ciphertext) {
                Ok(unsealed) => {
                    let sender = unsealed.sender;
                    (sender.address(), Some(sender.account_key()), Bytes::from_owner(unsealed))
                }
                Err(_) => return Self::Unreadable(Some(id)),
            },
        };
        Self::Letter(Letter::new(id, source, ciphertext, sealed_by))
    }
}

impl Letter {
    pub fn new(id: EnvelopeId, source: Address, ciphertext: Bytes, sealed_by: Option<AccountKey>) -> Self {
        // What is no session message fails again, with a reason, when it is opened.
        let initiator = initiator_certificate(&ciphertext).unwrap_or_default().map(Box::new);
        Self { id, source, ciphertext, initiator, sealed_by }
    }
}

#[cfg(test)]
mod tests {
    use kuvert_protocol::identity::{AccountSecret, DeviceSecrets};
    use kuvert_types::{AccountId, DeviceId};

    use super::*;

    /// [KV-067] An honest relay never does that, so only here can it be seen.
    #[test]
    fn an_envelope_for_another_device_is_misdelivered() {
        let mut rng = crate::rng::system_rng();
        let (account, secrets) = (AccountSecret::generate(&mut rng), DeviceSecrets::generate(&mut rng));
        let own = Address { account: AccountId::from_bytes([1; 16]), device: DeviceId::PRIMARY };
        let elsewhere = Address { account: AccountId::from_bytes([2; 16]), device: DeviceId::PRIMARY };
        let certificate = secrets.certify(&account, own);
        let device = LocalDevice::new(secrets, certificate).unwrap();
        let id = EnvelopeId::from_bytes([3; 16]);
        let check = |recipient| {
            let envelope = Envelope { id, recipient, source: Some(elsewhere), ciphertext: Bytes::from_static(b"x") };
            let delivery = v1::Delivery { cursor: 1, envelope: Some(envelope.into()), accepted_at: 1 };
            Incoming::check(&device, delivery, true)
        };
        assert!(matches!(check(own), Incoming::Letter(_)));
        for other in [elsewhere, Address { device: DeviceId::new(2).unwrap(), ..own }] {
            assert!(matches!(check(other), Incoming::Misdelivered(named) if named == id), "{other}");
        }
    }
}

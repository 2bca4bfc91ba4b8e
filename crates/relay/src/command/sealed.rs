//! Sealed mail: SubmitSealed, on a connection on which nobody authenticated; SetAccessKey, by which an account takes it.

use std::net::IpAddr;
use std::sync::Arc;

use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_types::{AccessKey, AccessKeyHash};
use kuvert_wire::checked::{self, Envelope, InField};
use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;
use subtle::{Choice, ConstantTimeEq};

use super::refusal::Code;
use super::submit::{accept, too_large};
use super::{Answer, Caller, Refusal, submit};
use crate::observe::ConnectionNumber;
use crate::service::Service;
use crate::store::{NewEnvelope, SubmitError};

/// Checks the access key and asks the store for its work. Whether the recipient exists, takes sealed mail, or has another
/// key looks the same from outside: the same words after the same work.
///
/// The key is looked up before this returns, so that the submits of one connection keep their order.
///
/// # Errors
/// `MALFORMED`, `TOO_LARGE`, `FORBIDDEN`, `LIMITED`, `ACCESS_REFUSED`; the answer can also be `MAILBOX_FULL`, `UNAVAILABLE`.
pub async fn submit(
    service: &Arc<Service>,
    connection: ConnectionNumber,
    from: IpAddr,
    request: v1::SubmitSealed,
) -> Result<Answer, Refusal> {
    // Tries count as well: whoever guesses keys or names gets no further than whoever floods.
    service.limiter.sealed(from).map_err(|wait| Refusal::limited("sealed envelopes from this address", wait))?;
    let envelope = checked::required(request.envelope, "envelope")?;
    if envelope.ciphertext.len() > MAX_CIPHERTEXT_BYTES {
        return Err(too_large());
    }
    let Envelope { id, recipient, source, ciphertext } = Envelope::try_from(envelope)?;
    let key = AccessKey::try_from(request.access_key.as_ref()).in_field("access_key")?;
    if source.is_some() {
        return Err(Refusal::new(
            Code::Forbidden,
            "a sealed envelope names no source; authenticate to submit one that does",
        ));
    }
    let stored = service.store.access_key_hash(recipient).await?;
    if !opens(&key, stored.as_ref()) {
        return Err(access_refused());
    }
    let envelope = NewEnvelope { id, source: None, ciphertext };
    Ok(accept(service, connection, None, recipient, envelope, |error| match error {
        // Gone since the key was looked up.
        SubmitError::UnknownMailbox => access_refused(),
        error => submit::refuse(error),
    }))
}

/// Whether the key has this hash. Takes the same time for a wrong one and for none.
fn opens(key: &AccessKey, stored: Option<&AccessKeyHash>) -> bool {
    let nobody = [0; 32];
    let equal = key.hash().ct_eq(stored.unwrap_or(&nobody));
    (equal & Choice::from(u8::from(stored.is_some()))).into()
}

fn access_refused() -> Refusal {
    Refusal::new(
        Code::AccessRefused,
        "no sealed mail is taken there with this access key; authenticate and submit with the sender's name",
    )
}

/// Sets or takes away the hash of the caller's account's access key.
///
/// # Errors
/// `MALFORMED`; the answer can also be `UNAVAILABLE`.
pub fn set_access_key(caller: &Caller, request: v1::SetAccessKey) -> Result<Answer, Refusal> {
    let hash = request.hash.map(|hash| checked::array(&hash, "hash")).transpose()?;
    let set = caller.service.store.set_access_key_hash(caller.device.account, hash);
    Ok(Box::pin(async move {
        set.await?;
        Ok(Response::Done(v1::Done {}))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_opens() {
        let key = AccessKey::from_bytes([7; 16]);
        assert!(opens(&key, Some(&key.hash())));
        assert!(!opens(&AccessKey::from_bytes([8; 16]), Some(&key.hash())));
        assert!(!opens(&key, None));
        assert!(!opens(&key, Some(&[0; 32])));
    }
}

//! Sealed mail: SubmitSealed, on a connection on which no device authenticated; SetAccessKey, by which an account takes it.

use std::net::IpAddr;
use std::sync::Arc;

use kuvert_types::AccessKey;
use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_wire::checked::{self, Envelope, InField};
use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;
use prost::Message as _;
use subtle::Choice;

use super::error::Code;
use super::submit::{Submission, accept, too_large};
use super::{Answer, AuthenticatedDevice, CommandError, submit};
use crate::connection_number::ConnectionNumber;
use crate::shared::Shared;
use crate::store::{NewEnvelope, Session, StoredAccessKey, SubmitError};

/// Checks the access key and asks the store for its work. Whether the recipient exists, takes sealed mail, has another key,
/// or has this one for its contacts' named mail only looks the same from outside: the same words after the same work.
///
/// The key is looked up before this returns, and the envelope is handed to the connection's session in its turn.
///
/// # Errors
/// `MALFORMED`, `TOO_LARGE`, `FORBIDDEN`, `LIMITED`, `ACCESS_REFUSED`; the answer can also be `MAILBOX_FULL`, `UNAVAILABLE`.
pub async fn submit(
    service: &Arc<Shared>,
    session: &mut dyn Session,
    (connection, from): (ConnectionNumber, IpAddr),
    request: v1::SubmitSealed,
) -> Result<Answer, CommandError> {
    // Tries count as well: whoever guesses keys or names gets no further than whoever floods.
    service.limiter.sealed(from).map_err(|wait| CommandError::limited("sealed envelopes from this address", wait))?;
    service
        .limiter
        .sealed_bytes(from, request.encoded_len())
        .map_err(|wait| CommandError::limited("bytes of sealed envelopes from this address", wait))?;
    let envelope = checked::required(request.envelope, "envelope")?;
    if envelope.ciphertext.len() > MAX_CIPHERTEXT_BYTES {
        return Err(too_large());
    }
    let Envelope { id, recipient, source, ciphertext } = Envelope::try_from(envelope)?;
    let key = AccessKey::try_from(request.access_key.as_ref()).in_field("access_key")?;
    if source.is_some() {
        return Err(CommandError::new(
            Code::Forbidden,
            "a sealed envelope names no source; authenticate to submit one that does",
        ));
    }
    let stored = service.store.access_key(recipient).await?;
    if !opens(&key, stored.as_ref()) {
        return Err(access_refused());
    }
    // Who submits it is not known, but whose key it came with is: an account could write to itself.
    if super::is_kept_out(service, &recipient.account) {
        return Err(CommandError::low_water());
    }
    submit::first_day(service, &recipient.account, ciphertext.len() as u64)?;
    let envelope = NewEnvelope { id, source: None, ciphertext };
    let submission = Submission { connection, by: None, recipient, key: None };
    Ok(accept(service, session, submission, envelope, |error| match error {
        // Gone since the key was looked up.
        SubmitError::UnknownMailbox => access_refused(),
        error => submit::refuse(error),
    }))
}

/// Whether sealed mail is taken with this key. Takes the same time for a wrong one, for none, and for one that is not for
/// sealed mail.
fn opens(key: &AccessKey, stored: Option<&StoredAccessKey>) -> bool {
    let takes_sealed = Choice::from(u8::from(stored.is_some_and(|stored| stored.sealed)));
    (StoredAccessKey::opens(stored, &key.hash()) & takes_sealed).into()
}

fn access_refused() -> CommandError {
    CommandError::new(
        Code::AccessRefused,
        "no sealed mail is taken there with this access key; authenticate and submit with the sender's name",
    )
}

/// Sets or takes away the hash of the caller's account's access key, and whether it is good for sealed mail.
///
/// # Errors
/// `MALFORMED`; the answer can also be `UNAVAILABLE`.
pub fn set_access_key(caller: &AuthenticatedDevice, request: v1::SetAccessKey) -> Result<Answer, CommandError> {
    let hash = request.hash.map(|hash| checked::array(&hash, "hash")).transpose()?;
    let key = hash.map(|hash| StoredAccessKey { hash, sealed: request.sealed });
    let set = caller.service.store.set_access_key(caller.device.account, key);
    Ok(Box::pin(async move {
        set.await?;
        Ok(Response::Done(v1::Done {}))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_opens_and_only_where_sealed_mail_is_taken() {
        let key = AccessKey::from_bytes([7; 16]);
        let stored = StoredAccessKey { hash: key.hash(), sealed: true };
        assert!(opens(&key, Some(&stored)));
        assert!(!opens(&AccessKey::from_bytes([8; 16]), Some(&stored)));
        assert!(!opens(&key, None));
        assert!(!opens(&key, Some(&StoredAccessKey { hash: [0; 32], sealed: true })));
        assert!(!opens(&key, Some(&StoredAccessKey { sealed: false, ..stored })));
    }
}

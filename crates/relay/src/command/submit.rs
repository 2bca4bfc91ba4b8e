//! Submit: stores an envelope. The answer comes once it is on disk.

use std::sync::Arc;

use kuvert_types::Address;
use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_wire::checked::{self, Envelope};
use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::refusal::Code;
use super::{Answer, Caller, Refusal};
use crate::observe::{ConnectionNumber, Event};
use crate::service::Service;
use crate::store::{NewEnvelope, SubmitError, Submitted};

/// Judges the envelope and asks the store for its work.
///
/// # Errors
/// `MALFORMED`, `TOO_LARGE`, `FORBIDDEN`; the answer can also be `UNKNOWN_RECIPIENT`, `MAILBOX_FULL`, `UNAVAILABLE`.
pub fn run(caller: &Caller, request: v1::Submit) -> Result<Answer, Refusal> {
    let envelope = checked::required(request.envelope, "envelope")?;
    if envelope.ciphertext.len() > MAX_CIPHERTEXT_BYTES {
        return Err(too_large());
    }
    let Envelope { id, recipient, source, ciphertext } = Envelope::try_from(envelope)?;
    if source.is_some_and(|source| source != caller.device) {
        return Err(Refusal::new(
            Code::Forbidden,
            "an envelope's source is the device that submits it, or is left out",
        ));
    }
    let envelope = NewEnvelope { id, source, ciphertext };
    Ok(accept(&caller.service, caller.connection, Some(caller.device), recipient, envelope, refuse))
}

/// Asks the store for its work, now. `by`: who authenticated on the connection, if anybody.
pub(super) fn accept(
    service: &Arc<Service>,
    connection: ConnectionNumber,
    by: Option<Address>,
    recipient: Address,
    envelope: NewEnvelope,
    refuse: fn(SubmitError) -> Refusal,
) -> Answer {
    let NewEnvelope { id, source, ref ciphertext } = envelope;
    let size = ciphertext.len();
    let stored = service.store.submit(recipient, envelope, service.clock.now_ms());
    let service = Arc::clone(service);
    Box::pin(async move {
        let stored = stored.await.map_err(refuse)?;
        let repeated = matches!(stored, Submitted::AlreadyStored { .. });
        if !repeated {
            service.wakeups.notify(&recipient);
        }
        service.observe(Event::Submitted { connection, by, source, recipient, id, size, repeated });
        Ok(Response::Accepted(v1::Accepted { id: id.as_bytes().to_vec().into() }))
    })
}

pub(super) fn too_large() -> Refusal {
    Refusal::new(Code::TooLarge, format!("an envelope holds at most {MAX_CIPHERTEXT_BYTES} bytes of ciphertext"))
}

pub(super) fn refuse(error: SubmitError) -> Refusal {
    match error {
        SubmitError::UnknownMailbox => Refusal::new(
            Code::UnknownRecipient,
            "no device here has this address; look the account up again, its devices may have changed",
        ),
        SubmitError::Full(full) => Refusal::new(
            Code::MailboxFull,
            format!("the recipient's mailbox is full ({full}); try again when the recipient has been online"),
        ),
        SubmitError::TooLarge => too_large(),
        SubmitError::Store(error) => error.into(),
    }
}

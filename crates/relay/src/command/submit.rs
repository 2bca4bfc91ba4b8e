//! Submit: stores an envelope. The answer comes once it is on disk.

use std::sync::Arc;

use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_types::{AccessKey, AccessKeyHash, AccountId, Address};
use kuvert_wire::checked::{self, Envelope, InField};
use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::error::Code;
use super::{Answer, AuthenticatedDevice, CommandError};
use crate::connection_number::ConnectionNumber;
use crate::observe::Event;
use crate::shared::Shared;
use crate::store::{NewEnvelope, Session, SubmitError, Submitted};

/// Judges the envelope and asks the store for its work.
///
/// # Errors
/// `MALFORMED`, `TOO_LARGE`, `FORBIDDEN`, `LIMITED`; the answer can also be `UNKNOWN_RECIPIENT`, `MAILBOX_FULL`, `UNAVAILABLE`.
pub fn run(
    caller: &AuthenticatedDevice,
    session: &mut dyn Session,
    request: v1::Submit,
) -> Result<Answer, CommandError> {
    let envelope = checked::required(request.envelope, "envelope")?;
    if envelope.ciphertext.len() > MAX_CIPHERTEXT_BYTES {
        return Err(too_large());
    }
    let Envelope { id, recipient, source, ciphertext } = Envelope::try_from(envelope)?;
    // Without one it would be sealed mail that showed no access key.
    if source != Some(caller.device) {
        return Err(CommandError::new(Code::Forbidden, "an envelope's source is the device that submits it"));
    }
    // A key that opens nothing is no error: the mail is a stranger's, and the answer does not tell.
    first_day(&caller.service, &caller.device.account, ciphertext.len() as u64)?;
    let key = request.access_key.map(|key| AccessKey::try_from(key.as_ref()).in_field("access_key")).transpose()?;
    let submission = Submission {
        connection: caller.connection,
        by: Some(caller.device),
        recipient,
        key: key.map(|key| key.hash()),
    };
    let envelope = NewEnvelope { id, source, ciphertext };
    Ok(accept(&caller.service, session, submission, envelope, refuse))
}

/// Counts an envelope for an account in its first 24 hours [KV-093].
///
/// # Errors
/// `LIMITED`: it has submitted what it may until then.
pub(crate) fn first_day(service: &Shared, account: &AccountId, bytes: u64) -> Result<(), CommandError> {
    let wait = service.young.submit(account, bytes, service.clock.now_ms());
    wait.map_err(|wait| CommandError::limited("bytes for an account's first day", wait))
}

/// What belongs to an envelope and is not stored with it.
pub(super) struct Submission {
    /// The connection that it came on.
    pub connection: ConnectionNumber,
    /// The device that authenticated on the connection; `None` for sealed mail.
    pub by: Option<Address>,
    /// Whom it is for.
    pub recipient: Address,
    /// The hash of the access key under which a named envelope came.
    pub key: Option<AccessKeyHash>,
}

/// Asks the store for its work, now. Whether the envelope is stored, was stored before, or is dropped because the recipient
/// blocked its sender: the answer is the same, after the same commit [KV-086].
pub(super) fn accept(
    service: &Arc<Shared>,
    session: &mut dyn Session,
    submission: Submission,
    envelope: NewEnvelope,
    refuse: fn(SubmitError) -> CommandError,
) -> Answer {
    let Submission { connection, by, recipient, key } = submission;
    let NewEnvelope { id, source, ref ciphertext } = envelope;
    let size = ciphertext.len();
    let stored = session.submit(recipient, envelope, key, service.clock.stamp_ms());
    let service = Arc::clone(service);
    Box::pin(async move {
        let event = match stored.await {
            Ok(stored) => {
                let repeated = matches!(stored, Submitted::AlreadyStored { .. });
                if repeated {
                    service.metrics.repeated();
                } else {
                    service.metrics.accepted(size);
                    service.presence.notify(&recipient);
                }
                Event::Submitted { connection, by, source, recipient, id, size, repeated }
            }
            Err(SubmitError::Blocked) => {
                service.metrics.dropped();
                Event::Dropped { connection, by, source, recipient, id, size }
            }
            Err(error) => return Err(refuse(error)),
        };
        service.observe(event);
        Ok(Response::Accepted(v1::Accepted { id: id.as_bytes().to_vec().into() }))
    })
}

pub(super) fn too_large() -> CommandError {
    CommandError::new(Code::TooLarge, format!("an envelope holds at most {MAX_CIPHERTEXT_BYTES} bytes of ciphertext"))
}

pub(super) fn refuse(error: SubmitError) -> CommandError {
    match error {
        SubmitError::UnknownMailbox => CommandError::new(
            Code::UnknownRecipient,
            "no device here has this address; look the account up again, its devices may have changed",
        ),
        // Neither which bound it is, nor whose: that would tell more about others' mail [KV-087].
        SubmitError::Full(_) => CommandError::new(
            Code::MailboxFull,
            "the recipient's mailbox has no room for this envelope; try again when the recipient has been online",
        ),
        SubmitError::TooLarge => too_large(),
        // Answered like an envelope that is stored, before this is asked.
        SubmitError::Blocked => CommandError::new(Code::Internal, "a dropped envelope is no error"),
        SubmitError::Store(error) => error.into(),
    }
}

//! RequestPhoneCode, VerifyPhone: the holder of the code has the number.

use std::sync::Arc;

use kuvert_types::limits::is_valid_phone;
use kuvert_wire::v1::demonstration as wire;
use kuvert_wire::v1::demonstration::answer::Body as Response;

use super::Answer;
use crate::phone::{Verified, await_code, verify};
use crate::{Lens, codes};
use kuvert_relay::command::error::Code;
use kuvert_relay::command::{AuthenticatedDevice, CommandError};
use kuvert_relay::incidents::Kind;
use kuvert_relay::observe::Event;

/// Sends a code to the number.
///
/// # Errors
/// `INVALID`, `LIMITED`; the answer can also be `UNAVAILABLE`.
pub fn request_code(
    lens: &Lens,
    caller: &AuthenticatedDevice,
    request: wire::RequestPhoneCode,
) -> Result<Answer, CommandError> {
    let number = request.phone;
    if !is_valid_phone(&number) {
        return Err(bad_number());
    }
    let AuthenticatedDevice { service, device, connection } = caller.clone();
    let sender = Arc::clone(&lens.codes);
    service.limiter.phone_code(&device.account, &number).map_err(|wait| {
        service.incidents.note(device.account, Kind::PhoneCodes);
        CommandError::limited("codes for phone numbers", wait)
    })?;
    let code = codes::Code::draw().map_err(|_| {
        CommandError::new(Code::Internal, "the relay's machine gives no random numbers; tell its operator")
    })?;
    let rows = lens.people.clone();
    Ok(Box::pin(async move {
        let (account, now) = (device.account, service.clock.now_ms());
        let (awaited, awaited_code) = (number.clone(), code.clone());
        rows.run(move |tx| await_code(tx, &account, &awaited, &awaited_code, now)).await?;
        sender.send(&number, &code).await.map_err(|error| {
            tracing::warn!(reason = error.0, "a code could not be sent");
            CommandError::new(Code::Unavailable, "the relay cannot send codes now; try again later")
        })?;
        service.observe(Event::PhoneCodeRequested { connection, device, number });
        Ok(Response::Done(wire::Done {}))
    }))
}

/// Takes a code. A number that another account verified before is taken from it: the account that can read what is sent to a number
/// has it.
///
/// # Errors
/// The answer can be `PHONE_CODE_WRONG`, also if no code is waited for, or `PHONE_CODE_EXPIRED`.
pub fn verify_code(
    lens: &Lens,
    caller: &AuthenticatedDevice,
    request: wire::VerifyPhone,
) -> Result<Answer, CommandError> {
    let AuthenticatedDevice { service, device, connection } = caller.clone();
    let rows = lens.people.clone();
    Ok(Box::pin(async move {
        let (account, now) = (device.account, service.clock.now_ms());
        let verified = rows.run(move |tx| verify(tx, &account, &request.code, now)).await?;
        let (number, taken_from) = match verified {
            Verified::Yes { number, taken_from } => (number, taken_from),
            Verified::Wrong => {
                return Err(CommandError::new(
                    Code::PhoneCodeWrong,
                    "this is not the code that was sent last, or it was tried too often; look again, or ask for a new one",
                ));
            }
            Verified::Expired => {
                return Err(CommandError::new(Code::PhoneCodeExpired, "the code is too old; ask for a new one"));
            }
        };
        let moved = taken_from.is_some();
        service.observe(Event::PhoneVerified { connection, device, number: number.clone(), taken_from });
        Ok(Response::PhoneVerified(wire::PhoneVerified { phone: number, moved }))
    }))
}

/// A number that is none.
pub(super) fn bad_number() -> CommandError {
    CommandError::new(Code::Invalid, "a phone number is written as +491701234567: +, then 7 to 15 digits")
}

//! UpdateAccount: corrects what an account's holder said at registration. Contacts keep what they call it.

use std::sync::Arc;

use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::error::Code;
use super::register::{check_name, check_phone, name_taken};
use super::{Answer, AuthenticatedDevice, CommandError, account};
use crate::incidents::Kind;
use crate::observe::Event;
use crate::store::{AccountChange, UpdateAccountError};

/// Changes name and phone number of the caller's account.
///
/// # Errors
/// `INVALID`; the answer can also be `NAME_TAKEN`.
pub fn run(caller: &AuthenticatedDevice, request: v1::UpdateAccount) -> Result<Answer, CommandError> {
    let v1::UpdateAccount { name, phone, clear_name, clear_phone } = request;
    if (clear_name && name.is_some()) || (clear_phone && phone.is_some()) {
        return Err(CommandError::new(Code::Invalid, "say what is to stand there, or that nothing is: not both"));
    }
    check_name(name.as_deref())?;
    check_phone(phone.as_deref())?;
    // Names can be guessed this way, as by looking them up.
    let (service, connection, device) = (Arc::clone(&caller.service), caller.connection, caller.device);
    service.limiter.lookup(&device).map_err(|wait| {
        service.incidents.note(device.account, Kind::Lookups);
        CommandError::limited("corrections", wait)
    })?;
    let part = |value: &Option<String>, clear: bool| (clear || value.is_some()).then(|| value.clone());
    let change = AccountChange { name: part(&name, clear_name), phone: part(&phone, clear_phone) };
    let updated = service.store.update_account(device.account, change);
    Ok(Box::pin(async move {
        updated.await.map_err(|error| match error {
            UpdateAccountError::UnknownAccount => account::unknown(),
            UpdateAccountError::NameTaken => name_taken(),
            UpdateAccountError::Store(error) => error.into(),
        })?;
        service.observe(Event::AccountUpdated { connection, device, name, phone });
        Ok(Response::Done(v1::Done {}))
    }))
}

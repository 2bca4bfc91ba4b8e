//! SetBlocked: an account wants no more mail of another one.

use kuvert_types::AccountId;
use kuvert_types::limits::MAX_BLOCKED;
use kuvert_wire::checked::InField;
use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::error::Code;
use super::{Answer, AuthenticatedDevice, CommandError};
use crate::observe::Event;
use crate::store::SetBlockedError;

/// Blocks an account for the caller's own, or unblocks it. Whether it exists does not matter and is not told [KV-089].
///
/// # Errors
/// `MALFORMED`; `INVALID` for the caller's own account; the answer can also be `INVALID` (too many) and `UNAVAILABLE`.
pub fn set(caller: &AuthenticatedDevice, request: v1::SetBlocked) -> Result<Answer, CommandError> {
    let v1::SetBlocked { account, blocked } = request;
    let account = AccountId::try_from(account.as_ref()).in_field("account")?;
    let AuthenticatedDevice { service, device, connection } = caller.clone();
    if account == device.account {
        return Err(CommandError::new(
            Code::Invalid,
            "an account does not block itself: its devices write to each other",
        ));
    }
    let set = service.store.set_blocked(device.account, account, blocked);
    Ok(Box::pin(async move {
        set.await.map_err(|error| match error {
            SetBlockedError::TooMany => CommandError::new(
                Code::Invalid,
                format!(
                    "the relay drops the mail of at most {MAX_BLOCKED} accounts for you; unblock another one first"
                ),
            ),
            SetBlockedError::Store(error) => error.into(),
        })?;
        service.observe(Event::BlockedSet { connection, device, account, blocked });
        Ok(Response::Done(v1::Done {}))
    }))
}

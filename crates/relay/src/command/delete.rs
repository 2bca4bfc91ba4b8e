//! DeleteAccount: an account goes, with all that belongs to it.
//!
//! It needs no proof beyond the connection's own. The device signed this connection's challenge and TLS exporter with its
//! key; an attacker that could send on the connection all the same has the memory of a process that holds that key, and could sign
//! once more. Asking the user again is the client's business.

use std::sync::Arc;

use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::{Answer, AuthenticatedDevice, CommandError};
use crate::deletion;
use crate::observe::Event;

/// Deletes the caller's account. After the answer the relay closes the account's connections.
///
/// # Errors
/// None beyond the store's.
pub fn run(caller: &AuthenticatedDevice, _: v1::DeleteAccount) -> Result<Answer, CommandError> {
    let (service, connection, account) = (Arc::clone(&caller.service), caller.connection, caller.device.account);
    Ok(Box::pin(async move {
        deletion::delete(&service, account).await?;
        service.observe(Event::AccountDeleted { connection });
        Ok(Response::Done(v1::Done {}))
    }))
}

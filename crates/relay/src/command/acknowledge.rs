//! Acknowledge: deletes what was delivered. AcknowledgeExpired: the user knows how much was lost.

use std::sync::Arc;

use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::error::Code;
use super::{Answer, AuthenticatedDevice, CommandError};
use crate::delivery::Delivery;
use crate::observe::Event;
use crate::store::Cursor;

/// Deletes the caller's envelopes up to a cursor that this connection delivered.
///
/// # Errors
/// `FORBIDDEN` for a cursor that was not delivered on this connection: deleting unseen mail is never meant.
pub fn run(
    caller: &AuthenticatedDevice,
    delivery: &mut Delivery,
    request: v1::Acknowledge,
) -> Result<Answer, CommandError> {
    if !delivery.acknowledge(request.up_to) {
        return Err(CommandError::new(
            Code::Forbidden,
            "only what was delivered on this connection can be acknowledged; attach and wait for the delivery first",
        ));
    }
    let deleted = caller.service.store.acknowledge(caller.device, Cursor::new(request.up_to));
    let (service, connection, device) = (Arc::clone(&caller.service), caller.connection, caller.device);
    Ok(Box::pin(async move {
        let count = deleted.await?;
        service.metrics.acknowledged(count);
        service.observe(Event::Acknowledged { connection, device, up_to: request.up_to, count });
        Ok(Response::Done(v1::Done {}))
    }))
}

/// Takes the number of expired envelopes that the user was told of off the caller's count.
///
/// # Errors
/// None beyond the store's.
pub fn run_expired(caller: &AuthenticatedDevice, request: v1::AcknowledgeExpired) -> Result<Answer, CommandError> {
    let done = caller.service.store.acknowledge_expired(caller.device, request.count);
    let (service, connection, device) = (Arc::clone(&caller.service), caller.connection, caller.device);
    Ok(Box::pin(async move {
        done.await?;
        service.observe(Event::ExpiryAcknowledged { connection, device, count: request.count });
        Ok(Response::Done(v1::Done {}))
    }))
}

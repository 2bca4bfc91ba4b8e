//! Attach: starts delivery to this connection. A second connection of the same device displaces the first.

use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::error::Code;
use super::{Answer, AuthenticatedDevice, CommandError};
use crate::delivery::Delivery;

/// Answers Attached, then deliveries follow.
///
/// # Errors
/// `INVALID` if this connection is attached already.
pub fn run(caller: &AuthenticatedDevice, delivery: &mut Delivery, _: v1::Attach) -> Result<Answer, CommandError> {
    match delivery.start(caller) {
        // The deliveries start when this answer is on its way, so that a client reads them in that order.
        Ok(go) => Ok(Box::pin(async move {
            // An error means that the delivery has ended already: this connection is closing.
            let _ = go.send(());
            Ok(Response::Attached(v1::Attached {}))
        })),
        Err(_) => Err(CommandError::new(Code::Invalid, "this connection is attached already")),
    }
}

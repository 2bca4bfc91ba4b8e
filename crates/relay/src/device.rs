//! The device that authenticated on a connection.

use std::sync::Arc;

use kuvert_types::Address;

use crate::connection_number::ConnectionNumber;
use crate::shared::Shared;

/// A device that has proved itself, on one connection: what its commands are judged by.
#[derive(Clone, Debug)]
pub struct AuthenticatedDevice {
    /// The relay.
    pub service: Arc<Shared>,
    /// The device that authenticated.
    pub device: Address,
    /// Its connection.
    pub connection: ConnectionNumber,
}

//! Sessions as they are stored.

use kuvert_protocol::session::SessionRecord;
use kuvert_types::Address;

use crate::error::Error;
use crate::state;
use crate::store::{Table, Transaction};

/// The sessions with one device; empty where there are none.
///
/// # Errors
/// Those of the store.
pub fn session(tx: &dyn Transaction, address: &Address) -> Result<SessionRecord, Error> {
    match tx.get(Table::Session, &address.to_bytes())? {
        Some(bytes) => SessionRecord::decode(&bytes).map_err(|_| state::damaged("sessions")),
        None => Ok(SessionRecord::new()),
    }
}

//! How much a connection may have under way. Mail needs little, and an idle connection is to cost little; a transfer over a long way
//! needs what is on its way.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use quinn::VarInt;

use crate::limits::{RECEIVE_WINDOW, SEND_WINDOW, TRANSFER_WINDOW};

/// Of one connection.
pub struct Windows {
    connection: quinn::Connection,
    transfers: Mutex<usize>,
}

impl fmt::Debug for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Windows").finish_non_exhaustive()
    }
}

/// Wide as long as one of these is there.
#[derive(Debug)]
pub struct Wide(Arc<Windows>);

impl Windows {
    /// As they are for mail.
    pub fn of(connection: &quinn::Connection) -> Arc<Self> {
        Arc::new(Self { connection: connection.clone(), transfers: Mutex::new(0) })
    }

    /// For one transfer more.
    pub fn widen(self: &Arc<Self>) -> Wide {
        self.change(|transfers| transfers + 1);
        Wide(Arc::clone(self))
    }

    fn change(&self, by: impl FnOnce(usize) -> usize) {
        let mut transfers = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *transfers;
        *transfers = by(before);
        let set = |receive: u32, send: u64| {
            self.connection.set_receive_window(VarInt::from_u32(receive));
            self.connection.set_send_window(send);
        };
        match (before, *transfers) {
            (0, _) => set(TRANSFER_WINDOW, TRANSFER_WINDOW.into()),
            (_, 0) => set(RECEIVE_WINDOW, SEND_WINDOW),
            _ => {}
        }
    }
}

impl Drop for Wide {
    fn drop(&mut self) {
        self.0.change(|transfers| transfers.saturating_sub(1));
    }
}

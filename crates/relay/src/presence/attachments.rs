//! Which devices are attached in this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kuvert_types::Address;

use super::{Attachment, Signal};

/// The map of attachments, which these hold on to so that they can take themselves out.
#[derive(Default)]
pub struct Attachments(Mutex<HashMap<Address, Arc<Signal>>>);

impl fmt::Debug for Attachments {
    // The keys are addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachments").finish_non_exhaustive()
    }
}

impl Attachments {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Address, Arc<Signal>>) -> T) -> T {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Attaches to a mailbox. What was attached before is displaced.
    pub fn attach(self: &Arc<Self>, mailbox: Address) -> Attachment {
        let signal = Arc::new(Signal::default());
        if let Some(before) = self.with(|attached| attached.insert(mailbox, Arc::clone(&signal))) {
            before.displace();
        }
        let (here, ours) = (Arc::clone(self), Arc::clone(&signal));
        Attachment::new(signal, move || here.detach(&mailbox, &ours))
    }

    fn detach(&self, mailbox: &Address, signal: &Arc<Signal>) {
        self.with(|attached| {
            // An attachment that displaced this one stays.
            if attached.get(mailbox).is_some_and(|current| Arc::ptr_eq(current, signal)) {
                attached.remove(mailbox);
            }
        });
    }

    /// Says that there may be mail.
    pub fn notify(&self, mailbox: &Address) {
        if let Some(signal) = self.with(|attached| attached.get(mailbox).cloned()) {
            signal.mail();
        }
    }

    /// Whether no device is attached.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.with(|attached| attached.is_empty())
    }
}

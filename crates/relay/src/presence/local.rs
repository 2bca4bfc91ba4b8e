//! Presence within one process.

use std::sync::Arc;

use kuvert_types::{AccountId, Address};

use super::attachments::Attachments;
use super::logins::Logins;
use super::{Attachment, Login, Presence};

/// Presence in this process's memory. A restart forgets it, with the connections.
#[derive(Debug, Default)]
pub struct LocalPresence {
    attachments: Arc<Attachments>,
    logins: Arc<Logins>,
}

impl Presence for LocalPresence {
    fn attach(&self, mailbox: Address) -> Attachment {
        self.attachments.attach(mailbox)
    }

    fn notify(&self, mailbox: &Address) {
        self.attachments.notify(mailbox);
    }

    fn enter(&self, device: Address) -> Login {
        self.logins.enter(device)
    }

    fn ended(&self) -> u64 {
        self.logins.ended()
    }

    fn end(&self, account: &AccountId) {
        self.logins.end(account);
    }

    fn end_device(&self, device: &Address) {
        self.logins.end_device(device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::conformance;

    #[tokio::test]
    async fn it_does_what_every_presence_does() {
        let presence = LocalPresence::default();
        conformance::all(&presence).await;
        assert!(presence.attachments.is_empty() && presence.logins.is_empty(), "no device is remembered");
    }
}

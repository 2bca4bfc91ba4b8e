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
    async fn no_device_is_remembered_when_all_have_gone() {
        let presence = LocalPresence::default();
        conformance::all(&presence).await;
        assert!(presence.attachments.is_empty() && presence.logins.is_empty());
    }

    #[tokio::test]
    async fn a_notification_before_listening_is_heard() {
        conformance::a_notification_before_listening_is_heard(&LocalPresence::default()).await;
    }

    #[tokio::test]
    async fn the_second_displaces_the_first_and_outlives_its_end() {
        conformance::the_second_displaces_the_first_and_outlives_its_end(&LocalPresence::default()).await;
    }

    #[tokio::test]
    async fn an_account_that_ends_takes_its_connections_along_and_no_others() {
        conformance::an_account_that_ends_takes_its_connections_along_and_no_others(&LocalPresence::default()).await;
    }

    #[tokio::test]
    async fn a_device_that_ends_takes_its_connections_along_and_not_those_of_other_devices() {
        conformance::a_device_that_ends_takes_its_connections_along_and_not_those_of_other_devices(
            &LocalPresence::default(),
        )
        .await;
    }
}

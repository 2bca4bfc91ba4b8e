//! Conversations and messages by name.

use std::fmt;

use kuvert_types::{AccountId, EnvelopeId};

/// A conversation of this home: what history, outbox, receipts and screens are kept by. Groups will be another case. The
/// aliases of all conversations are one namespace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum ConversationId {
    /// With one contact.
    Contact(AccountId),
}

impl ConversationId {
    /// The contact's account, where it is a conversation with one contact.
    pub const fn contact(&self) -> Option<AccountId> {
        let Self::Contact(account) = self;
        Some(*account)
    }

    /// As it stands in rows and keys. The length tells the cases apart: 16 bytes are a contact.
    pub(crate) const fn as_bytes(&self) -> &[u8] {
        let Self::Contact(account) = self;
        account.as_bytes()
    }

    /// Reads it from a row or key.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        AccountId::try_from(bytes).ok().map(Self::Contact)
    }
}

impl From<AccountId> for ConversationId {
    fn from(account: AccountId) -> Self {
        Self::Contact(account)
    }
}

impl From<&Self> for ConversationId {
    fn from(conversation: &Self) -> Self {
        *conversation
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Contact(account) = self;
        account.fmt(f)
    }
}

/// Names one message of this home. Its author draws the id, so it is unique for one author in one conversation only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MessageRef {
    /// Where it stands.
    pub conversation: ConversationId,
    /// The account that wrote it.
    pub author: AccountId,
    /// The message's id; for a message of one's own also the id of its first envelope at the relay.
    pub id: EnvelopeId,
}

impl MessageRef {
    /// A message that a contact wrote to this home.
    pub(crate) const fn of_contact(contact: AccountId, id: EnvelopeId) -> Self {
        Self { conversation: ConversationId::Contact(contact), author: contact, id }
    }
}

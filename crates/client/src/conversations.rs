//! The conversations of a home beside each other, as a screen lists them, and what the owner keeps with each: a draft, and
//! whether it is muted. Nothing of this leaves the home.

use std::collections::HashMap;

use kuvert_types::limits::MAX_TEXT_BYTES;

use crate::contact::Contact;
use crate::conversation::ConversationId;
use crate::engine::{Engine, Tx};
use crate::error::Error;
use crate::history::unshown_places;
use crate::records::{ContactInfo, MessageRecord};
use crate::state::{self, ConversationRow, Stored};
use crate::store::{Log, Table, Transaction};

/// Bytes of a text that stand in [`Conversation::last`]: strangers must not fill the memory of what only shows a line of each.
pub const PREVIEW_BYTES: usize = 512;

/// Bytes of a draft that are kept. More than one text has room for, so that what is too long to be sent can be shortened.
pub const MAX_DRAFT_BYTES: usize = 4 * MAX_TEXT_BYTES;

/// One conversation among all of a home.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Conversation {
    /// With whom.
    pub contact: ContactInfo,
    /// Its newest message; of the text no more than [`PREVIEW_BYTES`].
    pub last: Option<MessageRecord>,
    /// Texts that were received and not marked as shown.
    pub unread: u64,
    /// Whether there is a draft.
    pub has_draft: bool,
    /// Whether it is muted.
    pub muted: bool,
}

/// All conversations with contacts and requests, by alias.
///
/// # Errors
/// Those of the store.
pub(crate) async fn all(engine: &Engine) -> Result<Vec<Conversation>, Error> {
    engine
        .read(|tx| {
            let unread = unread(tx)?;
            let all = Contact::all(tx)?.into_iter().map(|contact| one(tx, &contact, &unread));
            all.collect()
        })
        .await
}

fn one(tx: &Tx<'_>, contact: &Contact, unread: &HashMap<ConversationId, u64>) -> Result<Conversation, Error> {
    let conversation = ConversationId::Contact(contact.account);
    let last = tx.scan_back(Log::Message, Some(conversation.as_bytes()), u64::MAX, 1)?;
    let last = match last.first() {
        None => None,
        Some(entry) => {
            let mut stored = Stored::read(entry)?;
            let end = stored.row.text.floor_char_boundary(PREVIEW_BYTES);
            stored.row.text.truncate(end);
            Some(stored.record(tx, &contact.row.alias)?)
        }
    };
    let ConversationRow { draft, muted } = row(tx, &conversation)?;
    Ok(Conversation {
        contact: contact.info(),
        last,
        unread: unread.get(&conversation).copied().unwrap_or(0),
        has_draft: !draft.is_empty(),
        muted,
    })
}

fn unread(tx: &Tx<'_>) -> Result<HashMap<ConversationId, u64>, Error> {
    let mut counts = HashMap::new();
    for place in unshown_places(tx)? {
        let Some(entry) = tx.at(Log::Message, place)? else { continue };
        *counts.entry(Stored::read(&entry)?.message()?.conversation).or_insert(0) += 1;
    }
    Ok(counts)
}

/// What was begun to be written; empty: nothing.
///
/// # Errors
/// Those of the store.
pub(crate) async fn draft(engine: &Engine, conversation: ConversationId) -> Result<String, Error> {
    engine.read(move |tx| Ok(row(tx, &conversation)?.draft)).await
}

/// Keeps what was begun to be written.
///
/// # Errors
/// `text-too-long`, `contact-unknown`, `own-address`.
pub(crate) async fn set_draft(engine: &Engine, conversation: ConversationId, draft: &str) -> Result<(), Error> {
    if draft.len() > MAX_DRAFT_BYTES {
        return Err(Error::TextTooLong { bytes: draft.len() });
    }
    let draft = draft.to_owned();
    change(engine, conversation, move |row| row.draft = draft).await
}

/// Mutes a conversation, or ends that.
///
/// # Errors
/// `contact-unknown`, `own-address`.
pub(crate) async fn set_muted(engine: &Engine, conversation: ConversationId, muted: bool) -> Result<(), Error> {
    change(engine, conversation, move |row| row.muted = muted).await
}

async fn change(
    engine: &Engine,
    conversation: ConversationId,
    change: impl FnOnce(&mut ConversationRow) + Send + 'static,
) -> Result<(), Error> {
    // Relaxed: a power failure takes the last words of a draft, not more.
    engine
        .write_relaxed(move |tx| {
            let ConversationId::Contact(account) = &conversation;
            Contact::known(tx, account)?;
            let before = row(tx, &conversation)?;
            let mut after = before.clone();
            change(&mut after);
            if after == ConversationRow::default() {
                tx.delete(Table::Conversation, conversation.as_bytes())?;
            } else if after != before {
                state::put(tx, Table::Conversation, conversation.as_bytes(), &after)?;
            }
            Ok(())
        })
        .await
}

fn row(tx: &dyn Transaction, conversation: &ConversationId) -> Result<ConversationRow, Error> {
    Ok(state::get(tx, Table::Conversation, conversation.as_bytes())?.unwrap_or_default())
}

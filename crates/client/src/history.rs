//! What was written and received: reading it back, and marking it as shown.

use std::collections::HashMap;

use crate::contact::{Contact, alias};
use crate::conversation::{ConversationId, MessageRef};
use crate::engine::{Engine, Tx};
use crate::error::Error;
use crate::event::ReceiptKind;
use crate::fold::fold;
use crate::receipts;
use crate::records::{MessageRecord, MessageState};
use crate::state::{self, Outgoing, Stored};
use crate::store::{Log, Table, Transaction};

/// A conversation in order of arrival; of it what contains `search`, if that is given.
///
/// # Errors
/// `contact-unknown`, `own-address`.
pub(crate) async fn conversation(
    engine: &Engine,
    conversation: ConversationId,
    search: Option<&str>,
) -> Result<Vec<MessageRecord>, Error> {
    let wanted = search.map(|search| (search.to_owned(), fold(search)));
    let fits = move |text: &str| {
        wanted.as_ref().is_none_or(|(raw, folded)| match folded.as_str() {
            // A search for what cannot be seen wants to find just that.
            "" => text.contains(raw),
            folded => fold(text).contains(folded),
        })
    };
    let ConversationId::Contact(account) = conversation;
    engine
        .read(move |tx| {
            let alias = Contact::known(tx, &account)?.row.alias;
            let mut found = Vec::new();
            for entry in tx.scan(Log::Message, Some(conversation.as_bytes()), 0, usize::MAX)? {
                let stored = Stored::read(&entry)?;
                if fits(&stored.row.text) {
                    found.push(stored.record(tx, &alias)?);
                }
            }
            Ok(found)
        })
        .await
}

/// How far a message of one's own has come; `None` if there is none of this name.
///
/// # Errors
/// Those of the store.
pub(crate) async fn message_state(engine: &Engine, message: MessageRef) -> Result<Option<MessageState>, Error> {
    engine
        .read(move |tx| {
            let stored = Stored::find(tx, &message)?.filter(|stored| stored.row.outgoing);
            stored.map(|stored| Ok(stored.record(tx, "")?.state)).transpose()
        })
        .await
}

/// Texts that wait in the outbox, in order.
///
/// # Errors
/// Those of the store.
pub(crate) async fn queued(engine: &Engine) -> Result<Vec<MessageRecord>, Error> {
    engine
        .read(|tx| {
            let mut texts = Vec::new();
            for outgoing in Outgoing::scan(tx, None, 0, usize::MAX)? {
                let Some(message) = outgoing.text else { continue };
                let Some(stored) = Stored::find(tx, &message)? else { continue };
                texts.push(stored.record(tx, &title(tx, &message.conversation)?)?);
            }
            Ok(texts)
        })
        .await
}

/// Marks messages as shown, and, if they were read, has receipts sent for them.
///
/// # Errors
/// Those of the store.
pub(crate) async fn mark(engine: &Engine, messages: &[MessageRef], read: bool) -> Result<(), Error> {
    let messages = messages.to_vec();
    engine
        .write_relaxed(move |tx| {
            for message in &messages {
                let Some(stored) = Stored::find(tx, message)?.filter(|stored| !stored.row.outgoing) else { continue };
                let was_unshown = tx.delete(Table::Unshown, &stored.place.to_be_bytes())?;
                // Once: a message that is marked twice was read once. [KV-100] Never to a stranger.
                if read && was_unshown && !state::is_request(tx, &message.author)? {
                    receipts::note(tx, message, ReceiptKind::Read, tx.now())?;
                }
            }
            Ok(())
        })
        .await
}

/// Unshown messages behind a place, in order of arrival.
///
/// # Errors
/// Those of the store.
pub(crate) fn unshown(tx: &Tx<'_>, after: u64) -> Result<Vec<MessageRecord>, Error> {
    let mut titles: HashMap<ConversationId, String> = HashMap::new();
    let mut messages = Vec::new();
    for place in unshown_places(tx)?.into_iter().filter(|place| *place > after) {
        let Some(entry) = tx.at(Log::Message, place)? else { continue };
        let stored = Stored::read(&entry)?;
        let conversation = stored.message()?.conversation;
        let name = match titles.get(&conversation) {
            Some(name) => name.clone(),
            None => titles.entry(conversation).insert_entry(title(tx, &conversation)?).get().clone(),
        };
        messages.push(stored.record(tx, &name)?);
    }
    Ok(messages)
}

/// Where unshown messages stand, ascending.
///
/// # Errors
/// Those of the store.
pub(crate) fn unshown_places(tx: &dyn Transaction) -> Result<Vec<u64>, Error> {
    let place = |key: &[u8]| key.try_into().map(u64::from_be_bytes).map_err(|_| state::damaged("unshown"));
    tx.list(Table::Unshown)?.iter().map(|(key, _)| place(key)).collect()
}

/// What the owner calls a conversation.
///
/// # Errors
/// Those of the store.
pub(crate) fn title(tx: &dyn Transaction, conversation: &ConversationId) -> Result<String, Error> {
    let ConversationId::Contact(account) = conversation;
    alias(tx, account)
}

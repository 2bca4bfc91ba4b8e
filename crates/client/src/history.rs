//! What was written and received: reading it back, and marking it as shown.

use std::collections::HashMap;

use crate::contact::{Contact, alias};
use crate::conversation::{ConversationId, MessageRef};
use crate::engine::{Engine, Tx};
use crate::error::Error;
use crate::event::ReceiptKind;
use crate::files;
use crate::fold::fold;
use crate::receipts;
use crate::records::{MessageRecord, MessageState};
use crate::state::{self, MessageRow, OutboxRow, Outgoing, Stored};
use crate::store::{Entry, Log, Table, Transaction};

/// Entries of a log that are read at once.
pub(crate) const PAGE: usize = 256;

/// A piece of the history: what was looked for among some entries of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HistoryPage {
    /// In order of arrival.
    pub messages: Vec<MessageRecord>,
    /// Where each of them stands.
    pub places: Vec<u64>,
    /// The place to read on behind, or, in a piece that was read backwards, before; `None`: this was the last piece.
    pub next: Option<u64>,
}

/// What a text has to contain.
struct Wanted {
    raw: String,
    folded: String,
}

impl Wanted {
    fn new(text: &str) -> Self {
        Self { raw: text.to_owned(), folded: fold(text) }
    }

    /// In what it says, or in the name of a file.
    fn is_in_message(&self, row: &MessageRow) -> bool {
        let mut names = row.files.iter().filter_map(|file| file.told.as_ref());
        self.is_in(&row.text) || names.any(|told| self.is_in(&told.name))
    }

    fn is_in(&self, text: &str) -> bool {
        match self.folded.as_str() {
            // A search for what cannot be seen wants to find just that.
            "" => text.contains(&self.raw),
            folded => fold(text).contains(folded),
        }
    }
}

/// A conversation in order of arrival; of it what contains `search`, if that is given.
///
/// # Errors
/// `contact-unknown`, `own-address`.
pub(crate) async fn conversation(
    engine: &Engine,
    conversation: ConversationId,
    search: Option<&str>,
) -> Result<Vec<MessageRecord>, Error> {
    let wanted = search.map(Wanted::new);
    engine
        .read(move |tx| {
            let alias = known_title(tx, &conversation)?;
            let mut found = Vec::new();
            for entry in tx.scan(Log::Message, Some(conversation.as_bytes()), 0, usize::MAX)? {
                let stored = Stored::read(&entry)?;
                if wanted.as_ref().is_none_or(|wanted| wanted.is_in_message(&stored.row)) {
                    found.push(stored.record(tx, &alias)?);
                }
            }
            Ok(found)
        })
        .await
}

/// From where a page is read, and which way.
#[derive(Clone, Copy)]
pub(crate) enum Turned {
    /// What stands behind a place.
    Behind(u64),
    /// What stands before one, read backwards.
    Before(u64),
}

/// What contains `search`, if that is given, among the next entries from a place on, of one conversation or of all.
///
/// # Errors
/// `contact-unknown`, `own-address`.
pub(crate) async fn page(
    engine: &Engine,
    conversation: Option<ConversationId>,
    search: Option<&str>,
    from: Turned,
) -> Result<HistoryPage, Error> {
    let wanted = search.map(Wanted::new);
    engine
        .read(move |tx| {
            if let Some(conversation) = &conversation {
                known_title(tx, conversation)?;
            }
            let group = conversation.as_ref().map(ConversationId::as_bytes);
            let mut entries = match from {
                Turned::Behind(place) => tx.scan(Log::Message, group, place, PAGE)?,
                Turned::Before(place) => tx.scan_back(Log::Message, group, place, PAGE)?,
            };
            let next = entries.last().filter(|_| entries.len() == PAGE).map(|entry| entry.place);
            entries.sort_by_key(|entry| entry.place);
            HistoryPage::of(tx, &entries, wanted.as_ref(), next)
        })
        .await
}

/// How many messages stand before a place, in one conversation or in all.
///
/// # Errors
/// Those of the store.
pub(crate) async fn count_before(
    engine: &Engine,
    conversation: Option<ConversationId>,
    before: u64,
) -> Result<u64, Error> {
    engine
        .read(move |tx| {
            Ok(tx.count_before(Log::Message, conversation.as_ref().map(ConversationId::as_bytes), before)?)
        })
        .await
}

impl HistoryPage {
    fn of(tx: &Tx<'_>, entries: &[Entry], wanted: Option<&Wanted>, next: Option<u64>) -> Result<Self, Error> {
        let (mut titles, mut page) = (Titles::default(), Self { messages: Vec::new(), places: Vec::new(), next });
        for entry in entries {
            let stored = Stored::read(entry)?;
            if wanted.is_none_or(|wanted| wanted.is_in_message(&stored.row)) {
                page.messages.push(titles.record(tx, stored)?);
                page.places.push(entry.place);
            }
        }
        Ok(page)
    }
}

/// What the owner calls the conversation of a contact, or of an account that was removed and whose messages stayed.
///
/// # Errors
/// `contact-unknown`, `own-address`.
pub(crate) fn known_title(tx: &Tx<'_>, conversation: &ConversationId) -> Result<String, Error> {
    let ConversationId::Contact(account) = conversation;
    match Contact::known(tx, account) {
        Ok(contact) => Ok(contact.row.alias),
        Err(unknown @ Error::ContactUnknown { .. }) => {
            let is_there = !tx.scan(Log::Message, Some(conversation.as_bytes()), 0, 1)?.is_empty();
            if is_there { title(tx, conversation) } else { Err(unknown) }
        }
        Err(other) => Err(other),
    }
}

/// What the owner calls conversations, each looked up once.
#[derive(Default)]
struct Titles(HashMap<ConversationId, String>);

impl Titles {
    fn record(&mut self, tx: &Tx<'_>, stored: Stored) -> Result<MessageRecord, Error> {
        let conversation = stored.message()?.conversation;
        if let Some(title) = self.0.get(&conversation) {
            return stored.record(tx, title);
        }
        let title = self.0.entry(conversation).insert_entry(title(tx, &conversation)?);
        stored.record(tx, title.get())
    }
}

/// How many texts wait in the outbox for one conversation, or for all.
///
/// # Errors
/// Those of the store.
pub(crate) fn waiting_texts(tx: &dyn Transaction, conversation: Option<&ConversationId>) -> Result<u64, Error> {
    let (mut count, mut after) = (files::waiting(tx, conversation)?.len() as u64, 0);
    loop {
        let entries = tx.scan(Log::Outbox, conversation.map(ConversationId::as_bytes), after, PAGE)?;
        for entry in &entries {
            let row: OutboxRow = state::decode(&entry.value, "the outbox")?;
            count += u64::from(!row.text_id.is_empty());
        }
        match entries.last() {
            Some(last) if entries.len() == PAGE => after = last.place,
            _ => return Ok(count),
        }
    }
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
            for stored in files::waiting(tx, None)? {
                let title = title(tx, &stored.message()?.conversation)?;
                texts.push(stored.record(tx, &title)?);
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
                mark_one(tx, message, stored.place, read)?;
            }
            Ok(())
        })
        .await
}

/// Marks the unshown messages of a conversation as read, up to a place; how many there were.
///
/// # Errors
/// Those of the store.
pub(crate) async fn mark_until(engine: &Engine, conversation: ConversationId, until: u64) -> Result<u64, Error> {
    engine
        .write_relaxed(move |tx| {
            let mut marked = 0;
            for place in unshown_places(tx)?.into_iter().take_while(|place| *place <= until) {
                let Some(entry) = tx.at(Log::Message, place)? else { continue };
                let message = Stored::read(&entry)?.message()?;
                if message.conversation == conversation {
                    mark_one(tx, &message, place, true)?;
                    marked += 1;
                }
            }
            Ok(marked)
        })
        .await
}

fn mark_one(tx: &Tx<'_>, message: &MessageRef, place: u64, read: bool) -> Result<(), Error> {
    let was_unshown = tx.delete(Table::Unshown, &place.to_be_bytes())?;
    // Once: a message that is marked twice was read once. [KV-100] Never to a stranger.
    if read && was_unshown && !state::is_request(tx, &message.author)? {
        receipts::note(tx, message, ReceiptKind::Read, tx.now())?;
    }
    Ok(())
}

/// Unshown messages behind a place, in order of arrival.
///
/// # Errors
/// Those of the store.
pub(crate) fn unshown(tx: &Tx<'_>, after: u64) -> Result<Vec<MessageRecord>, Error> {
    let (mut titles, mut messages) = (Titles::default(), Vec::new());
    for place in unshown_places(tx)?.into_iter().filter(|place| *place > after) {
        let Some(entry) = tx.at(Log::Message, place)? else { continue };
        messages.push(titles.record(tx, Stored::read(&entry)?)?);
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

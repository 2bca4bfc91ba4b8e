//! Deleting here what was written and received. The other side keeps its own.
//!
//! ```text
//! one transaction: message gone, [`DeletedRow`] in its place, `traces` noted ─► the store is scrubbed ─► `traces` gone
//!                                                                  │
//!                                                                  └── killed, locked, full: the next open scrubs
//! ```

use std::collections::HashSet;

use kuvert_types::EnvelopeId;
use prost::Message as _;

use crate::bridge;
use crate::conversation::{ConversationId, MessageRef};
use crate::engine::{Engine, Tx};
use crate::error::Error;
use crate::files;
use crate::history::{PAGE, known_title, title};
use crate::home::Exclusive;
use crate::records::MessageRecord;
use crate::requests::delete_message;
use crate::state::{self, DeletedRow, Outgoing, Progress, Stored, message_key, own};
use crate::store::{Log, Table, Transaction};

/// Characters that the beginning of a message's id has at least, where a person types one.
const MIN_ID_CHARS: usize = 4;

/// How large a conversation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Extent {
    /// Messages.
    pub messages: u64,
    /// Those among them that came and were not marked as shown.
    pub unread: u64,
    /// Behind the last message, as places are counted.
    pub end: u64,
}

/// What was deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Deleted {
    /// Messages that are gone here.
    pub messages: u64,
    /// Texts among them that waited to be sent and were given up.
    pub given_up: u64,
    /// Why bytes of them are still in the home's files. The next time that the home is opened it is tried again. `None`: nothing is
    /// left of them.
    pub traces: Option<Error>,
}

/// How large a conversation is now.
///
/// # Errors
/// `contact-unknown`, `own-address`.
pub(crate) async fn extent(engine: &Engine, conversation: ConversationId) -> Result<Extent, Error> {
    engine
        .read(move |tx| {
            known_title(tx, &conversation)?;
            let group = Some(conversation.as_bytes());
            let last = tx.scan_back(Log::Message, group, u64::MAX, 1)?;
            let end = last.first().map_or(0, |entry| entry.place + 1);
            let mut unread = 0;
            for place in crate::history::unshown_places(tx)? {
                let Some(entry) = tx.at(Log::Message, place)? else { continue };
                unread += u64::from(Stored::read(&entry)?.message()?.conversation == conversation);
            }
            Ok(Extent { messages: tx.count_before(Log::Message, group, end)?, unread, end })
        })
        .await
}

/// The messages of a conversation that a person names by an id or its beginning. More than one where the other side gave a message
/// the id of one of this home's.
///
/// # Errors
/// `contact-unknown`, `own-address`, `message-unknown`, `message-ambiguous`.
pub(crate) async fn named(
    engine: &Engine,
    conversation: ConversationId,
    id: &str,
) -> Result<Vec<(u64, MessageRecord)>, Error> {
    let typed = id.trim().to_ascii_lowercase();
    engine
        .read(move |tx| {
            let alias = known_title(tx, &conversation)?;
            let unknown = || Error::MessageUnknown { id: typed.escape_debug().to_string() };
            let found = match typed.parse::<EnvelopeId>() {
                Ok(id) => of_id(tx, &conversation, id)?,
                Err(_) if typed.len() < MIN_ID_CHARS => return Err(unknown()),
                Err(_) => of_beginning(tx, Some(&conversation), &typed)?,
            };
            if found.is_empty() {
                return Err(unknown());
            }
            found.into_iter().map(|stored| Ok((stored.place, stored.record(tx, &alias)?))).collect()
        })
        .await
}

/// The messages of all conversations that a person names by an id or its beginning.
///
/// # Errors
/// `message-unknown`, `message-ambiguous`.
pub(crate) async fn named_anywhere(engine: &Engine, id: &str) -> Result<Vec<(u64, MessageRecord)>, Error> {
    let typed = id.trim().to_ascii_lowercase();
    engine
        .read(move |tx| {
            let unknown = || Error::MessageUnknown { id: typed.escape_debug().to_string() };
            if typed.len() < MIN_ID_CHARS {
                return Err(unknown());
            }
            let found = of_beginning(tx, None, &typed)?;
            if found.is_empty() {
                return Err(unknown());
            }
            let titled = |stored: Stored| {
                let title = title(tx, &stored.message()?.conversation)?;
                Ok((stored.place, stored.record(tx, &title)?))
            };
            found.into_iter().map(titled).collect()
        })
        .await
}

fn of_id(tx: &Tx<'_>, conversation: &ConversationId, id: EnvelopeId) -> Result<Vec<Stored>, Error> {
    let ConversationId::Contact(contact) = conversation;
    let mut found = Vec::new();
    for author in [tx.identity()?.account(), *contact] {
        found.extend(Stored::find(tx, &MessageRef { conversation: *conversation, author, id })?);
    }
    Ok(found)
}

fn of_beginning(tx: &Tx<'_>, conversation: Option<&ConversationId>, beginning: &str) -> Result<Vec<Stored>, Error> {
    let (mut found, mut ids) = (Vec::new(), HashSet::new());
    let mut after = 0;
    loop {
        let entries = tx.scan(Log::Message, conversation.map(ConversationId::as_bytes), after, PAGE)?;
        let Some(last) = entries.last() else { return Ok(found) };
        after = last.place;
        for entry in &entries {
            let stored = Stored::read(entry)?;
            let id = stored.message()?.id;
            if !id.to_string().starts_with(beginning) {
                continue;
            }
            ids.insert(id);
            if ids.len() > 1 {
                return Err(Error::MessageAmbiguous { id: beginning.to_owned() });
            }
            found.push(stored);
        }
    }
}

/// Deletes messages here.
///
/// # Errors
/// `texts-waiting`, where one of them waits to be sent, without `force`; `store-locked`, with it, while another process sends.
pub(crate) async fn messages(engine: &Engine, messages: Vec<MessageRef>, force: bool) -> Result<Deleted, Error> {
    let choose = move |tx: &Tx<'_>| {
        let mut chosen = Vec::new();
        for message in &messages {
            chosen.extend(Stored::find(tx, message)?);
        }
        Ok(chosen)
    };
    delete(engine, choose, force).await
}

/// Deletes the messages of a conversation before a place here.
///
/// # Errors
/// As [`messages`].
pub(crate) async fn conversation(
    engine: &Engine,
    conversation: ConversationId,
    end: u64,
    force: bool,
) -> Result<Deleted, Error> {
    let choose = move |tx: &Tx<'_>| {
        // What was begun to be written is text of the conversation, too.
        state::forget_draft(tx, &conversation)?;
        let entries = tx.scan_back(Log::Message, Some(conversation.as_bytes()), end, usize::MAX)?;
        entries.iter().map(Stored::read).collect()
    };
    delete(engine, choose, force).await
}

async fn delete(
    engine: &Engine,
    choose: impl FnOnce(&Tx<'_>) -> Result<Vec<Stored>, Error> + Send + 'static,
    force: bool,
) -> Result<Deleted, Error> {
    let _held = match force {
        // A process that sends has read ahead: what is given up must not leave after all.
        true => Some(engine.home().hold(Exclusive::Outbox, engine.options().lock_timeout).await?),
        false => None,
    };
    let (messages, given_up) = engine
        .write(move |tx| {
            let chosen = choose(tx)?;
            let given_up = take_from_outbox(tx, &chosen, force)?;
            chosen.iter().try_for_each(|stored| forget(tx, stored))?;
            Ok((chosen.len() as u64, given_up))
        })
        .await?;
    let traces = if messages == 0 { None } else { scrub(engine).await.err() };
    Ok(Deleted { messages, given_up, traces })
}

/// Takes what is on its way out of the outbox; how many. Copies that are sent again count, too: without them the other side may never
/// see the text.
fn take_from_outbox(tx: &Tx<'_>, chosen: &[Stored], force: bool) -> Result<u64, Error> {
    let mut ids = HashSet::new();
    let mut conversations = HashSet::new();
    for stored in chosen.iter().filter(|stored| stored.row.outgoing) {
        let message = stored.message()?;
        ids.insert((message.conversation, message.id));
        conversations.insert(message.conversation);
    }
    let mut given_up = HashSet::new();
    for conversation in conversations {
        for stored in files::waiting(tx, Some(&conversation))? {
            let named = (conversation, stored.message()?.id);
            if ids.contains(&named) {
                given_up.insert(named);
            }
        }
        for outgoing in Outgoing::scan(tx, Some(conversation.as_bytes()), 0, usize::MAX)? {
            let named = (conversation, bridge::draft_id(&outgoing.row.content)?);
            if ids.contains(&named) {
                given_up.insert(named);
                outgoing.remove(tx)?;
            }
        }
    }
    match given_up.iter().next() {
        Some((conversation, _)) if !force => {
            Err(Error::TextsWaiting { who: title(tx, conversation)?, count: given_up.len() as u64 })
        }
        _ => Ok(given_up.len() as u64),
    }
}

/// Deletes a message and notes that it was there.
///
/// # Errors
/// Those of the store.
pub(crate) fn forget(tx: &dyn Transaction, stored: &Stored) -> Result<(), Error> {
    // Nothing more comes for what was read.
    if !(stored.row.outgoing && stored.row.progress() == Progress::Read) {
        let left = DeletedRow { confirmed_for: stored.row.confirmed_for };
        tx.put(Table::Deleted, &message_key(&stored.message()?), &left.encode_to_vec())?;
    }
    files::forget(tx, stored)?;
    delete_message(tx, stored.place)?;
    Ok(tx.put(Table::Own, own::TRACES, &[])?)
}

/// Has nothing be left of what was deleted.
///
/// # Errors
/// Those of the store. It is tried again when the home is opened.
pub(crate) async fn scrub(engine: &Engine) -> Result<(), Error> {
    files::remove_noted(engine).await?;
    engine.scrub().await?;
    engine.write(|tx| Ok(tx.delete(Table::Own, own::TRACES)?)).await.map(drop)
}

/// What a deletion that was interrupted left to do.
///
/// # Errors
/// Those of reading.
pub(crate) async fn scrub_if_due(engine: &Engine) -> Result<(), Error> {
    if engine.read(|tx| Ok(tx.get(Table::Own, own::TRACES)?.is_some())).await?
        && let Err(error) = scrub(engine).await
    {
        tracing::warn!(code = error.code(), "bytes of deleted messages are still in the files");
    }
    Ok(())
}

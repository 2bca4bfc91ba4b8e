//! `kuvert history`

use std::collections::VecDeque;

use kuvert_client::{Client, ConversationId, Error, HistoryPage, MessageRecord};
use kuvert_types::AccountId;

use crate::args::History;
use crate::commands::open;
use crate::error::{Failure, shell_word};
use crate::options::Options;
use crate::output::record::Entry;
use crate::output::time::{Zone, now_ms};

/// Messages that a terminal gets at once; a longer history says how to see more.
const ON_A_TERMINAL: usize = 50;

/// Prints a conversation in order of arrival.
pub async fn run(args: &History, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let own = client.whoami().await?;
    let conversation = conversation(&client, &args.who.who).await?;
    let look = Look { client: &client, conversation, args, before: before(&client, conversation, args).await? };
    let show = |message: &MessageRecord| {
        let entry = Entry::of(message, &own);
        options.output.print(&if args.ids { entry.with_id() } else { entry.record() })
    };
    let limit = args.limit.or_else(|| (!args.all && options.output.is_on_terminal()).then_some(ON_A_TERMINAL));
    let Some(limit) = limit else {
        if !look.all(show).await? {
            options.output.note(NOTHING);
        }
        return Ok(());
    };
    let Last { messages, older } = look.last(limit).await?;
    messages.iter().try_for_each(show)?;
    match (messages.front(), older) {
        (Some(first), Some(older)) => options.output.note(&more(args, first, older)),
        (None, None) => options.output.note(NOTHING),
        _ => {}
    }
    Ok(())
}

/// For people, where no message fits.
const NOTHING: &str = "Nothing found.";

/// Where a history ends that is not shown to its newest message.
enum Before {
    /// Before a place.
    Place(u64),
    /// What came or was written before this time, Unix milliseconds.
    Time(u64),
}

/// Reads `--before`.
async fn before(client: &Client, conversation: ConversationId, args: &History) -> Result<Before, Failure> {
    let Some(text) = &args.before else { return Ok(Before::Place(u64::MAX)) };
    // No date, and no while that is written without zeros and ones, is the beginning of an id of four letters or more.
    if let Ok(time) = Zone::system().since(text, now_ms()) {
        return Ok(Before::Time(time));
    }
    let found = client.find_messages(conversation, text).await?;
    Ok(Before::Place(found.iter().map(|(place, _)| *place).min().unwrap_or(0)))
}

/// What is looked for.
struct Look<'a> {
    client: &'a Client,
    conversation: ConversationId,
    args: &'a History,
    before: Before,
}

/// The newest of what was looked for.
struct Last {
    /// In order of arrival.
    messages: VecDeque<MessageRecord>,
    /// Whether there is more.
    older: Option<Older>,
}

/// What stands before the messages that are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Older {
    /// So many.
    Count(u64),
    /// Some: counting them would mean to read them.
    Some,
}

impl Look<'_> {
    fn fits(&self, message: &MessageRecord, place: u64) -> bool {
        self.args.since.is_none_or(|since| message.stored_at >= since)
            && match self.before {
                Before::Place(before) => place < before,
                Before::Time(before) => message.stored_at < before,
            }
    }

    /// Shows all of it, piece by piece; whether there was any.
    async fn all(&self, show: impl Fn(&MessageRecord) -> Result<(), Failure>) -> Result<bool, Failure> {
        let mut pages = Pages::new(self.client, Some(self.conversation), self.args.search.as_deref());
        let mut found = false;
        while let Some(page) = pages.next_page().await? {
            for (message, place) in page.messages.iter().zip(&page.places) {
                if self.fits(message, *place) {
                    found = true;
                    show(message)?;
                }
            }
        }
        Ok(found)
    }

    /// The newest of it, read backwards: a long history is not read for its end.
    async fn last(&self, limit: usize) -> Result<Last, Failure> {
        let mut before = if let Before::Place(place) = self.before { place } else { u64::MAX };
        let (mut messages, mut first) = (VecDeque::new(), before);
        let search = self.args.search.as_deref();
        loop {
            let page = self.client.history_page_before(Some(self.conversation), search, before).await?;
            for (message, place) in page.messages.into_iter().zip(page.places).rev() {
                if !self.fits(&message, place) {
                    continue;
                }
                if messages.len() == limit {
                    let older = match (search, self.args.since) {
                        (None, None) => Older::Count(self.client.history_before(Some(self.conversation), first).await?),
                        _ => Older::Some,
                    };
                    return Ok(Last { messages, older: Some(older) });
                }
                messages.push_front(message);
                first = place;
            }
            match page.next {
                Some(next) => before = next,
                None => return Ok(Last { messages, older: None }),
            }
        }
    }
}

/// How to see what stands before the first message that is shown.
fn more(args: &History, first: &MessageRecord, older: Older) -> String {
    let mut command = format!("kuvert history {}", shell_word(&args.who.who));
    if let Some(search) = &args.search {
        command.push_str(&format!(" --search {}", shell_word(search)));
    }
    if let Some(since) = args.since {
        command.push_str(&format!(" --since {}", Zone::exact(since)));
    }
    if let Some(limit) = args.limit {
        command.push_str(&format!(" --limit {limit}"));
    }
    let count = match older {
        Older::Count(count) => format!("{count} older"),
        Older::Some => "there are older ones".to_owned(),
    };
    format!("{count}: {command} --before {}", first.message.id)
}

/// The conversation that a person means; that of an account that was removed by its account only.
///
/// # Errors
/// `contact-unknown`, `own-address`.
pub async fn conversation(client: &Client, who: &str) -> Result<ConversationId, Failure> {
    match client.contacts().find(who).await {
        Ok(contact) => Ok(contact.conversation()),
        Err(unknown @ Error::ContactUnknown { .. }) => match who.trim().parse::<AccountId>() {
            // Whether there are messages of it is seen when they are read.
            Ok(account) => Ok(account.into()),
            Err(_) => Err(unknown.into()),
        },
        Err(other) => Err(other.into()),
    }
}

/// A history, read piece by piece: however long it is, one piece of it is in memory.
pub struct Pages<'a> {
    client: &'a Client,
    conversation: Option<ConversationId>,
    search: Option<&'a str>,
    /// The place to read on behind; none at the end.
    after: Option<u64>,
}

impl<'a> Pages<'a> {
    /// One conversation, or all; of it what contains a text.
    pub fn new(client: &'a Client, conversation: Option<ConversationId>, search: Option<&'a str>) -> Self {
        Self { client, conversation, search, after: Some(0) }
    }

    /// The next piece, which may be empty; none at the end.
    ///
    /// # Errors
    /// `contact-unknown`, and those of the store.
    pub async fn next(&mut self) -> Result<Option<Vec<MessageRecord>>, Error> {
        Ok(self.next_page().await?.map(|page| page.messages))
    }

    /// The same with the places.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_page(&mut self) -> Result<Option<HistoryPage>, Error> {
        let Some(after) = self.after else { return Ok(None) };
        let page = self.client.history_page(self.conversation, self.search, after).await?;
        self.after = page.next;
        Ok(Some(page))
    }
}

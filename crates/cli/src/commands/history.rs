//! `kuvert history`

use std::collections::VecDeque;

use kuvert_client::{Client, ConversationId, Error, HistoryPage, MessageRecord, Whoami};
use kuvert_types::AccountId;

use crate::args::History;
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Entry;

/// Prints a conversation in order of arrival.
pub async fn run(args: &History, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let own = client.whoami().await?;
    let conversation = conversation(&client, &args.who.who).await?;
    let mut pages = Pages::new(&client, Some(conversation), args.search.as_deref());
    let (mut last, mut found) = (VecDeque::new(), false);
    while let Some(messages) = pages.next().await? {
        let wanted = messages.into_iter().filter(|message| args.since.is_none_or(|since| message.stored_at >= since));
        for message in wanted {
            found = true;
            let Some(keep) = args.last else {
                print(&message, &own, options)?;
                continue;
            };
            last.push_back(message);
            if last.len() > keep {
                last.pop_front();
            }
        }
    }
    if !found {
        options.output.note("Nothing found.");
    }
    last.iter().try_for_each(|message| print(message, &own, options))
}

fn print(message: &MessageRecord, own: &Whoami, options: &Options) -> Result<(), Failure> {
    options.output.print(&Entry::of(message, own).record())
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
        let Some(after) = self.after else { return Ok(None) };
        let HistoryPage { messages, next, .. } =
            self.client.history_page(self.conversation, self.search, after).await?;
        self.after = next;
        Ok(Some(messages))
    }
}

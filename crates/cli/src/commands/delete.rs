//! `kuvert delete`

use kuvert_client::{Client, ConversationId, Deleted, Error, MessageRecord, Whoami};

use crate::args::DeleteHere;
use crate::commands::confirm::ask;
use crate::commands::history::conversation;
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::as_text;
use crate::output::human::number;
use crate::output::record::{Entry, Record};

/// Deletes messages of a conversation here.
pub async fn run(args: &DeleteHere, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let conversation = conversation(&client, &args.who.who).await?;
    let with = title(&client, &conversation).await?;
    let deleted = if args.all {
        all(&client, conversation, &with, args, options).await?
    } else {
        some(&client, conversation, &with, args, options).await?
    };
    options.output.print(&Record::Deleted { with: &with, messages: deleted.messages, given_up: deleted.given_up })?;
    match deleted.traces {
        None => Ok(()),
        Some(error) => Err(Failure::new(
            error.code(),
            format!(
                "deleted, but bytes of it are still in the files of this home ({error}); the next command tries again"
            ),
        )),
    }
}

async fn all(
    client: &Client,
    conversation: ConversationId,
    with: &str,
    args: &DeleteHere,
    options: &Options,
) -> Result<Deleted, Failure> {
    let extent = client.extent(conversation).await?;
    if !args.yes && extent.messages > 0 {
        let unread = if extent.unread > 0 { format!(", {} of them unread", extent.unread) } else { String::new() };
        let messages = number(extent.messages, "message");
        ask(&format!("Delete {messages} with {with} here{unread}? The other side keeps its own."), options.output)?;
    }
    // What came while the question stood there stays.
    Ok(client.delete_conversation(conversation, extent.end, args.force).await?)
}

async fn some(
    client: &Client,
    conversation: ConversationId,
    with: &str,
    args: &DeleteHere,
    options: &Options,
) -> Result<Deleted, Failure> {
    let mut messages: Vec<MessageRecord> = Vec::new();
    for id in &args.ids {
        for (_, message) in client.find_messages(conversation, id).await? {
            if !messages.iter().any(|known| known.message == message.message) {
                messages.push(message);
            }
        }
    }
    if !args.yes {
        show(&messages, &client.whoami().await?, options);
        let these = if messages.len() == 1 { "this message" } else { "these messages" };
        ask(&format!("Delete {these} with {with} here? The other side keeps its own."), options.output)?;
    }
    let messages: Vec<_> = messages.iter().map(|message| message.message).collect();
    Ok(client.delete_messages(&messages, args.force).await?)
}

/// What is meant, before the question.
fn show(messages: &[MessageRecord], own: &Whoami, options: &Options) {
    for message in messages {
        options.output.note(&as_text(&Entry::of(message, own).record()));
    }
}

/// What the user calls the contact; its account, where it was removed.
async fn title(client: &Client, conversation: &ConversationId) -> Result<String, Failure> {
    let ConversationId::Contact(account) = conversation else { return Ok(conversation.to_string()) };
    match client.contacts().get(*account).await {
        Ok(contact) => Ok(contact.alias),
        Err(Error::ContactUnknown { .. }) => Ok(account.to_string()),
        Err(error) => Err(error.into()),
    }
}

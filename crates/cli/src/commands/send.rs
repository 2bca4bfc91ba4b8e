//! `kuvert send`: queue, connect, flush. The text is in the outbox before anything else happens, so neither a relay that
//! is down nor a kill loses it.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};

use kuvert_client::{Client, Connection, Error, MessageRef, MessageState};

use crate::args::Send;
use crate::commands::stream::{MAX_READ_BYTES, decode, still_queued};
use crate::commands::{flush_noting, look, open, remark, send_lines};
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Sends one text, or one for each line.
pub async fn run(args: Send, options: &Options) -> Result<(), Failure> {
    let client = open(options)?;
    let who = &args.who.who;
    if args.lines {
        return send_lines::run(&client, who, options).await;
    }
    let text = text(args.text, options)?;
    let message = client.queue_text(who, &text)?;
    if args.offline {
        return queued(&client, who, &message, options);
    }
    let sent = match client.connect().await {
        Ok(connection) => {
            let sent = deliver(&client, &connection, &message, options).await;
            connection.close().await;
            sent
        }
        Err(error) => Err(still_queued(error)),
    };
    if let Err(Failure::Failed { .. }) = &sent
        && client.queued()?.iter().any(|waiting| waiting.message == message)
    {
        queued(&client, who, &message, options)?;
    }
    sent
}

/// Flushes the outbox and reports on one message of it.
async fn deliver(
    client: &Client,
    connection: &Connection,
    message: &MessageRef,
    options: &Options,
) -> Result<(), Failure> {
    look(client, connection, options).await?;
    let mut told = false;
    let (ours, others): (Vec<_>, Vec<_>) =
        flush_noting(client, connection, options, |accepted| told |= accepted.message == *message)
            .await
            .map_err(still_queued)?
            .into_iter()
            .partition(|not_sent| not_sent.message == *message);
    remark(&others, options);
    match ours.into_iter().next() {
        Some(failed) => Err(Failure::new(failed.code, failed.reason)),
        None if told => Ok(()),
        None => sent_by_another(client, message, options).await,
    }
}

/// Another process of this home, one that follows for instance, had the outbox first.
async fn sent_by_another(client: &Client, message: &MessageRef, options: &Options) -> Result<(), Failure> {
    let who = client.contact(&message.account.to_string())?.alias;
    match client.message_state(message)? {
        Some(MessageState::Failed(code)) => {
            Err(Failure::new(code, "the message was not sent: another process of this home was told why"))
        }
        Some(MessageState::Accepted | MessageState::Delivered | MessageState::Read) => {
            options.output.tell(&Record::Accepted { id: &message.id.to_string(), to: &who, sealed: None }).await
        }
        // The contact's keys or devices changed under the pass.
        _ => Err(still_queued(Error::DeviceNotReady { who })),
    }
}

/// The text from the command line or from stdin.
fn text(argument: Option<OsString>, options: &Options) -> Result<String, Failure> {
    match argument {
        Some(text) if text != "-" => text.into_string().map_err(|_| Error::TextNotUtf8.into()),
        _ => {
            if std::io::stdin().is_terminal() {
                options.output.note("Write the message, then Ctrl-D on a line of its own:");
            }
            let mut bytes = Vec::new();
            std::io::stdin()
                .lock()
                .take(MAX_READ_BYTES)
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::io("read stdin", &error))?;
            Ok(decode(bytes)?)
        }
    }
}

fn queued(client: &Client, who: &str, message: &MessageRef, options: &Options) -> Result<(), Failure> {
    let to = client.contact(who)?.alias;
    options.output.print(&Record::Queued { id: &message.id.to_string(), to: &to })
}

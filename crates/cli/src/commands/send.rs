//! `kuvert send`: queue, connect, flush. The text is in the outbox before anything else happens, so neither a relay that
//! is down nor a kill loses it.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use kuvert_client::{Client, Connection, ContactInfo, Error, MessageRef, MessageState, OutgoingFile};

use crate::args::Send;
use crate::commands::stream::{MAX_READ_BYTES, decode, still_queued};
use crate::commands::{flush_noting, look, open, remark, send_files, send_lines};
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Sends one text, or one for each line.
pub async fn run(args: Send, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let who = &args.who.who;
    if args.lines {
        return send_lines::run(&client, who, options).await;
    }
    let files = files(&args);
    let text = match args.text {
        // Files need no text.
        None if !files.is_empty() => String::new(),
        given => text(given, options)?,
    };
    let contact = client.contacts().find(who).await?;
    let message = if files.is_empty() {
        client.queue_text(&contact, &text).await?
    } else {
        client.queue_files(&contact, &text, files).await?
    };
    if args.offline {
        return queued(&contact, &message, options);
    }
    let sent = match client.connect().await {
        Ok(connection) => {
            let sent = deliver(&connection, &message, &contact, options).await;
            connection.close().await;
            sent
        }
        Err(error) => Err(still_queued(error)),
    };
    if let Err(Failure::Failed { .. }) = &sent
        && client.queued().await?.iter().any(|waiting| waiting.message == message)
    {
        queued(&contact, &message, options)?;
    }
    sent
}

/// Flushes the outbox and reports on one message of it.
async fn deliver(
    connection: &Connection,
    message: &MessageRef,
    contact: &ContactInfo,
    options: &Options,
) -> Result<(), Failure> {
    look(connection, options).await?;
    let client = connection.client();
    if client.message_files_wait(message).await? {
        let (ours, others): (Vec<_>, Vec<_>) =
            send_files(connection, options).await?.into_iter().partition(|not_sent| not_sent.message == *message);
        remark(&others, options);
        if let Some(failed) = ours.into_iter().next() {
            return Err(failed.error.into());
        }
    }
    let mut told = false;
    let (ours, others): (Vec<_>, Vec<_>) =
        flush_noting(connection, options, |accepted| told |= accepted.message == *message)
            .await
            .map_err(still_queued)?
            .into_iter()
            .partition(|not_sent| not_sent.message == *message);
    remark(&others, options);
    match ours.into_iter().next() {
        Some(failed) => Err(failed.error.into()),
        None if told => Ok(()),
        None => sent_by_another(&connection.client(), message, contact, options).await,
    }
}

/// Another process of this home, one that follows for instance, had the outbox first.
async fn sent_by_another(
    client: &Client,
    message: &MessageRef,
    contact: &ContactInfo,
    options: &Options,
) -> Result<(), Failure> {
    let who = contact.alias.clone();
    match client.message_state(message).await? {
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

/// The files that were named.
fn files(args: &Send) -> Vec<OutgoingFile> {
    let file = |path: &PathBuf, voice| OutgoingFile {
        original: args.original,
        view_once: args.view_once,
        voice,
        ..OutgoingFile::new(path)
    };
    let note = args.voice.iter().flatten().map(|path| file(path, true));
    args.files.iter().map(|path| file(path, args.voice == Some(None))).chain(note).collect()
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

fn queued(contact: &ContactInfo, message: &MessageRef, options: &Options) -> Result<(), Failure> {
    options.output.print(&Record::Queued { id: &message.id.to_string(), to: &contact.alias })
}

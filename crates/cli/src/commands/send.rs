//! `kuvert send`: queue, connect, flush. The text is in the outbox before anything else happens, so neither a relay that
//! is down nor a kill loses it.

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Read};
use std::time::{Duration, Instant};

use kuvert_client::{Client, Connection, Error, MessageRef};
use kuvert_types::limits::MAX_TEXT_BYTES;
use tokio::sync::mpsc;

use crate::args::Send;
use crate::commands::{flush, look, open, remark};
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Lines that are read ahead of the relay.
const LINES_AHEAD: usize = 64;

/// How long a stream of lines goes on until it hears again what contacts say about sessions with this home.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Bytes that are read of one text: enough to say how much too long it is, and a bound on memory.
const MAX_READ_BYTES: u64 = 16 * MAX_TEXT_BYTES as u64;

/// Sends one text, or one for each line.
pub async fn run(args: Send, options: &Options) -> Result<(), Failure> {
    let client = open(options)?;
    let who = &args.who.who;
    if args.lines {
        return lines(&client, who, options).await;
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
    let (ours, others): (Vec<_>, Vec<_>) = flush(client, connection, options)
        .await
        .map_err(still_queued)?
        .into_iter()
        .partition(|not_sent| not_sent.message == *message);
    remark(&others, options);
    match ours.into_iter().next() {
        Some(failed) => Err(Failure::new(failed.code, failed.reason)),
        None => Ok(()),
    }
}

/// Every line of stdin as a message. Lines that come while the relay is writing go out together.
async fn lines(client: &Client, who: &str, options: &Options) -> Result<(), Failure> {
    let alias = client.contact(who)?.alias;
    let mut connection = client.connect().await?;
    let mut looked_at = Instant::now();
    look(client, &connection, options).await?;
    // What an earlier command left in the queue comes first, and goes out even if stdin is empty.
    remark(&flush(client, &connection, options).await.map_err(still_queued)?, options);
    let mut lines = read_lines();
    let mut batch = Vec::with_capacity(LINES_AHEAD);
    while lines.recv_many(&mut batch, LINES_AHEAD).await > 0 {
        for line in batch.drain(..) {
            let line = line?;
            if !line.is_empty() {
                client.queue_text(who, &line)?;
            }
        }
        if looked_at.elapsed() >= LOOK_AGAIN {
            // What waits is known of a connection that is new.
            connection.close().await;
            connection = client.connect().await.map_err(still_queued)?;
            looked_at = Instant::now();
            look(client, &connection, options).await?;
        }
        let not_sent = flush(client, &connection, options).await.map_err(still_queued)?;
        if let Some(failed) = not_sent.into_iter().find(|failed| failed.to == alias) {
            return Err(Failure::new(failed.code, failed.reason));
        }
    }
    connection.close().await;
    Ok(())
}

/// Reads stdin on a thread of its own: a read cannot be cancelled, and must not keep the program from ending.
pub fn read_lines() -> mpsc::Receiver<Result<String, Failure>> {
    let (send, receive) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = stdin.by_ref().take(MAX_READ_BYTES).read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) => return,
                Ok(_) => decode(line),
                Err(error) => Err(Failure::io("read stdin", &error)),
            };
            let last = line.is_err();
            if send.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    receive
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
            decode(bytes)
        }
    }
}

/// UTF-8 without the line feed that ends what `echo` or a terminal writes.
fn decode(mut bytes: Vec<u8>) -> Result<String, Failure> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    if bytes.len() > MAX_TEXT_BYTES {
        // Said before UTF-8 is looked at: what was read may end within a character.
        return Err(Error::TextTooLong { bytes: bytes.len() }.into());
    }
    String::from_utf8(bytes).map_err(|_| Error::TextNotUtf8.into())
}

fn queued(client: &Client, who: &str, message: &MessageRef, options: &Options) -> Result<(), Failure> {
    let to = client.contact(who)?.alias;
    options.output.print(&Record::Queued { id: &message.id.to_string(), to: &to })
}

/// The connection failed, the message did not.
fn still_queued(failure: impl Into<Failure>) -> Failure {
    match failure.into() {
        Failure::Failed { code, message } => Failure::Failed {
            code,
            message: format!("{message}\nThe message is queued: the next command that reaches the relay sends it."),
        },
        gone @ Failure::Left => gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_feed_at_the_end_is_the_shells() {
        assert_eq!(decode(b"hi\n".to_vec()).unwrap(), "hi");
        assert_eq!(decode(b"hi\r\n".to_vec()).unwrap(), "hi");
        assert_eq!(decode(b"hi\n\n".to_vec()).unwrap(), "hi\n");
        assert_eq!(decode(b"".to_vec()).unwrap(), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let Err(Failure::Failed { code, .. }) = decode(vec![b'a', 0xFF]) else { panic!() };
        assert_eq!(code, "text-not-utf8");
    }
}

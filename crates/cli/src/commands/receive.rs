//! `kuvert receive`: print first, then mark as shown, so that a kill in between repeats a message instead of losing it.

use std::ops::ControlFlow;

use kuvert_client::error::shell_word;
use kuvert_client::{Client, Connection, Event, ListConflict, Occupant, ReceiptKind, ReceiveOptions, Refusal, Whoami};
use tokio::sync::Notify;

use crate::args::Receive;
use crate::commands::{client_options, flush, remark};
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::{Entry, Record};
use crate::signals::Stop;

/// Fetches and shows what waits, and with `--follow` what comes.
pub async fn run(args: &Receive, options: &Options) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let client = Client::open(&options.home()?, client_options(options, args.timeout))?;
    let command = async {
        let connection = match client.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                // What is in the store already can be read without a relay.
                show_stored(&client, args, options).await?;
                return Err(error.into());
            }
        };
        remark(&flush(&client, &connection, options).await?, options);
        let received = match args.max {
            Some(0) => Ok(()),
            _ => receive(&client, &connection, args, options).await,
        };
        // The last receipts; a connection that broke has them sent by the next command.
        let sent = flush(&client, &connection, options).await;
        connection.close().await;
        received?;
        sent.map(drop)
    };
    tokio::select! {
        ended = command => ended,
        // Every step up to here is committed: nothing to undo.
        () = stop.requested() => Ok(()),
    }
}

/// Runs the client's receiving loop, and beside it a flush whenever read receipts are due.
async fn receive(client: &Client, connection: &Connection, args: &Receive, options: &Options) -> Result<(), Failure> {
    let due = Notify::new();
    let mut screen = Screen::new(client, args, options)?;
    let mut failure = None;
    // A user who says how long to wait wants to wait: the client's own one-shot mode would end at once.
    let wait = args.follow || args.timeout.is_some();
    let receive_options = ReceiveOptions { follow: wait, timeout: args.timeout, max: args.max };
    let receiving = client.receive(connection, receive_options, |event| match screen.show(event) {
        Ok(next) => {
            due.notify_one();
            next
        }
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(())
        }
    });
    let flushing = async {
        loop {
            due.notified().await;
            // A broken connection is mended by the receiving loop, which flushes then, too.
            let _ = client.flush(connection, |_| {}).await;
        }
    };
    let ended = tokio::select! {
        ended = receiving => ended,
        () = flushing => return Ok(()),
    };
    match failure {
        Some(failure) => Err(failure),
        None => Ok(ended.map(drop)?),
    }
}

/// Prints and marks what an earlier command stored and did not come to show.
async fn show_stored(client: &Client, args: &Receive, options: &Options) -> Result<(), Failure> {
    let mut screen = Screen::new(client, args, options)?;
    let mut left = args.max.unwrap_or(u64::MAX);
    let mut shown = Ok(());
    let stored = client.show_stored(|message| {
        if left == 0 {
            return ControlFlow::Break(());
        }
        left -= 1;
        // A message never ends the loop, what fails does.
        shown = screen.show(Event::Message(message)).map(drop);
        if shown.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    stored.await?;
    shown
}

/// Prints events.
struct Screen<'a> {
    client: &'a Client,
    args: &'a Receive,
    options: &'a Options,
    own: Whoami,
    /// Something was printed that a user waits for.
    shown: bool,
}

impl<'a> Screen<'a> {
    fn new(client: &'a Client, args: &'a Receive, options: &'a Options) -> Result<Self, Failure> {
        Ok(Self { client, args, options, own: client.whoami()?, shown: false })
    }

    /// Prints an event, and says whether to go on.
    fn show(&mut self, event: Event) -> Result<ControlFlow<()>, Failure> {
        let output = &self.options.output;
        match event {
            Event::Message(message) => {
                output.print(&Entry::of(&message, &self.own).record())?;
                self.client.mark_read(&[message.message])?;
                self.shown = true;
            }
            Event::CaughtUp if self.args.follow => output.print(&Record::CaughtUp {})?,
            // With --timeout or --max alone: end when there was something and nothing is left.
            Event::CaughtUp if self.shown && self.args.max.is_none() => return Ok(ControlFlow::Break(())),
            Event::CaughtUp => {}
            Event::Disconnected { code, message } if !self.args.follow => return Err(Failure::new(code, message)),
            other => {
                self.shown |= matches!(other, Event::Receipt { .. } | Event::Expired { .. });
                print(&other, self.options)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Prints an event that is no message and needs nothing but to be told.
///
/// # Errors
/// The output is gone.
pub fn print(event: &Event, options: &Options) -> Result<(), Failure> {
    let output = &options.output;
    match event {
        Event::Receipt { message, from, kind, .. } => {
            let kind = match kind {
                ReceiptKind::Delivered => "delivered",
                ReceiptKind::Read => "read",
            };
            output.print(&Record::Receipt { id: &message.id.to_string(), from, kind })
        }
        Event::Expired { count } => output.print(&Record::Expired { count: *count }),
        Event::Request(contact) => {
            output.print(&Record::Request { alias: &contact.alias, account: &contact.account.to_string() })
        }
        Event::IdentityChanged { account, who } => {
            output.print(&Record::IdentityChanged { who, account: &account.to_string() })
        }
        other => match notice(other) {
            Some((code, message)) => output.print(&Record::Notice { code, message: &message, count: count(other) }),
            None => Ok(()),
        },
    }
}

/// The rarer events in words; none for what is of no interest to people. Each says what is known, and no more: what looks like
/// an attack is more often a backup that was put back or a program of another version.
pub fn notice(event: &Event) -> Option<(&'static str, String)> {
    Some(match event {
        Event::DeviceListConflict { who, conflict, .. } => (
            "device-list-conflict",
            format!(
                "the relay showed a device list of {who} {}; what was known before counts. Ask the relay's operator",
                contradiction(*conflict)
            ),
        ),
        Event::Undecryptable { who, reset_queued, .. } => (
            "undecryptable",
            format!(
                "something that came under the name of {who} could not be opened; a fresh session {}. What {who} sent and \
                 this home did not confirm is sent again over it",
                if *reset_queued { "is being started" } else { "starts within the hour" }
            ),
        ),
        Event::SessionReset { who, .. } => (
            "session-reset",
            format!(
                "{who} started a fresh session: it could not open something of yours, or one of the two homes was restored from a \
                 backup or copied; what {who} did not confirm is sent again"
            ),
        ),
        Event::HomeBehind { who, .. } => (
            "home-behind",
            format!(
                "{who} confirms a text that this home does not know: most likely it is a restored copy of a home, or another \
                 copy of it is in use. A fresh session is started. Of two copies only one can be used: remove the other"
            ),
        ),
        Event::Refused { reason, count: 1, .. } => {
            ("refused", format!("an envelope was thrown away: {}", cause(*reason)))
        }
        Event::Refused { reason, count, .. } => {
            ("refused", format!("{count} envelopes were thrown away; of each: {}", cause(*reason)))
        }
        Event::NameChanged { who, from, to, .. } => (
            "name-changed",
            format!(
                "{who} is called {} at the relay now, and was called {}; your alias stays",
                to.as_deref().unwrap_or("nothing"),
                from.as_deref().unwrap_or("nothing")
            ),
        ),
        Event::MailboxFull { refused, largest } => (
            "mailbox-full",
            format!(
                "your mailbox at the relay was full: {refused} envelopes were refused, and wait at their senders if those \
                 kept them. What fills it: {}",
                occupants(largest)
            ),
        ),
        Event::Held { who, count, .. } => (
            "held",
            format!(
                "{count} envelopes came under a new key of {who}: they are kept, unopened, until `kuvert contact accept {}`",
                shell_word(who)
            ),
        ),
        Event::ClocksDiffer { ahead_ms } => (
            "clocks-differ",
            format!(
                "this machine's clock is {} the relay's: one of them is wrong. Nothing is given up for its age until they agree",
                apart(*ahead_ms)
            ),
        ),
        Event::Disconnected { message, .. } => ("disconnected", format!("{message}; trying again")),
        Event::Reconnected => ("reconnected", "connected again".to_owned()),
        _ => return None,
    })
}

/// `3 days ahead of`
fn apart(ahead_ms: i64) -> String {
    let days = ahead_ms.unsigned_abs() / (24 * 60 * 60 * 1000);
    let unit = if days == 1 { "day" } else { "days" };
    format!("{days} {unit} {}", if ahead_ms < 0 { "behind" } else { "ahead of" })
}

/// Who has how much in the mailbox; mail without its sender's name comes from a person unknown to the relay.
fn occupants(largest: &[Occupant]) -> String {
    let named = largest.iter().map(|Occupant { who, account, envelopes, bytes }| {
        let who = who.clone().or_else(|| account.map(|account| account.to_string()));
        format!("{} {envelopes} envelopes, {bytes} bytes", who.unwrap_or_else(|| "mail without a sender's name".into()))
    });
    named.collect::<Vec<_>>().join("; ")
}

/// How many of them an event tells of, where it counts.
pub fn count(event: &Event) -> Option<u64> {
    match event {
        Event::Refused { count, .. } | Event::Held { count, .. } => Some(*count),
        Event::MailboxFull { refused, .. } => Some(*refused),
        _ => None,
    }
}

fn contradiction(conflict: ListConflict) -> &'static str {
    match conflict {
        ListConflict::Unsigned => "that its account key did not sign",
        ListConflict::Older => "that is older than one that was known",
        ListConflict::Forked => "that differs from one with the same number",
    }
}

fn cause(reason: Refusal) -> &'static str {
    match reason {
        Refusal::Misdelivered => "it is addressed to another device",
        Refusal::WrongSource => "it does not come from the device or under the key that it names",
        Refusal::Replayed => "it was opened before: a restored copy of a home, or replayed mail",
        Refusal::BadContent => "its content breaks the format; the sender's program is broken or of another version",
        Refusal::UnknownSender => "its sender is no contact, and does not say under which key it writes",
        Refusal::UnlistedDevice => {
            "it comes from a device that the account's list, as far as it is known here, does not name"
        }
        Refusal::Undecryptable => "its sender is no contact, and it could not be opened",
        Refusal::SealedUnasked => "it came without its sender's name, and this home takes no such mail at its level",
        Refusal::NoRoom => "more of its sender's mail is kept than may be until it is accepted; it is asked for then",
        // `Malformed`, and what may be added.
        _ => "it cannot be read",
    }
}

#[cfg(test)]
mod tests {
    use kuvert_client::AccountId;

    use super::*;

    #[test]
    fn notices_promise_and_accuse_no_more_than_is_known() {
        let (account, who) = (AccountId::from_bytes([1; 16]), || "bob".to_owned());
        let mut events: Vec<Event> = [ListConflict::Unsigned, ListConflict::Older, ListConflict::Forked]
            .map(|conflict| Event::DeviceListConflict { account, who: who(), conflict })
            .into();
        events.extend([true, false].map(|reset_queued| Event::Undecryptable {
            account,
            who: who(),
            envelope: kuvert_client::EnvelopeId::from_bytes([2; 16]),
            reset_queued,
        }));
        events.push(Event::SessionReset { account, who: who() });
        events.push(Event::HomeBehind { account, who: who() });
        let said: Vec<String> = events.iter().map(|event| notice(event).unwrap().1).collect();
        for message in &said {
            for word in ["lost", "honest", "attack"] {
                assert!(!message.contains(word), "{message}");
            }
        }
        // What could not be opened comes again; what was thrown away by design says why.
        assert!(said[3].contains("sent again") && said[5].contains("sent again"));
        assert!(cause(Refusal::Replayed).contains("a restored copy of a home, or replayed mail"));
    }
}

//! `kuvert receive`. Where another process of this home receives, and stays, its mail is shown from the store as it comes; else
//! this one receives.
//!
//! Print first, then mark as shown, so that a kill in between repeats a message instead of losing it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kuvert_client::{
    Client, Connection, DamagedPart, DropReason, Error, Event, EventSink, FlushReport, Lead, ListConflict, Occupant,
    ReceiveOptions, Whoami,
};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::args::Receive;
use crate::commands::along::{Along, LOOK};
use crate::commands::{client_options, flush, remark, tell_accepted};
use crate::error::{Failure, shell_word};
use crate::options::Options;
use crate::output::Output;
use crate::output::record::{Entry, Record};
use crate::signals::Stop;

/// How long mail that waits at the relay may take to come through the process that receives.
const MAIL_ON_ITS_WAY: Duration = Duration::from_secs(5);

/// Fetches and shows what waits, and with `--follow` what comes.
pub async fn run(args: &Receive, options: &Options) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let mut wanted = Wanted::of(args);
    let client = Client::open(&options.home()?, client_options(options, wanted.timeout)).await?;
    let command = async {
        let begun = Instant::now();
        let lead = match place(&client, &wanted).await? {
            Place::Receives(lead) => lead,
            Place::ReadsAlong => match read_along(&client, &mut wanted, options).await? {
                // The other process is gone. A command that does not stay leaves the lead to those that do.
                Some(lead) => Some(lead).filter(|_| wanted.follow),
                None => return Ok(()),
            },
        };
        let connection = match client.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                // What is in the store already can be read without a relay.
                if show_stored(&client, &mut wanted, options).await? {
                    return Ok(());
                }
                if !wanted.follow || !error.passes() {
                    return Err(error.into());
                }
                say_that_it_waits(&error, options).await?;
                let connection = connect_within(&client, error, wanted.timeout).await?;
                wanted.timeout = wanted.timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
                connection
            }
        };
        remark(&flush(&connection, options).await?, options);
        let received = match wanted.max {
            Some(0) => Ok(()),
            _ => receive(&client, &connection, lead.as_ref(), wanted, options).await,
        };
        // The last receipts; a connection that broke has them sent by the next command.
        let sent = flush(&connection, options).await;
        connection.close().await;
        received?;
        sent.map(drop)
    };
    tokio::select! {
        ended = command => ended,
        // Every step up to here is committed: nothing to undo. A line that is being printed is printed, and noted as shown.
        () = stop.requested() => Ok(()),
    }
}

/// What the flags ask for.
#[derive(Clone, Copy)]
struct Wanted {
    follow: bool,
    /// None: no limit, or only what waits now.
    timeout: Option<Duration>,
    max: Option<u64>,
}

impl Wanted {
    fn of(args: &Receive) -> Self {
        // No time to wait for what may come: what waits now.
        let now = args.timeout.is_some_and(|timeout| timeout.is_zero());
        Self { follow: args.follow && !now, timeout: args.timeout.filter(|_| !now), max: args.max }
    }
}

/// A follower that starts before the relay, or the network, waits as one that was connected does. Said once.
async fn say_that_it_waits(error: &Error, options: &Options) -> Result<(), Failure> {
    let message = format!("{error}; trying again until it is there");
    options.output.note(&message);
    if options.output.is_json() {
        options.output.tell(&Record::Notice { code: "disconnected", message: &message, count: None }).await?;
    }
    Ok(())
}

/// Connects as soon as the relay can be reached, within `limit`.
async fn connect_within(client: &Client, after: Error, limit: Option<Duration>) -> Result<Connection, Failure> {
    let connecting = client.connect_patiently(&after);
    match limit {
        None => Ok(connecting.await?),
        Some(limit) => match tokio::time::timeout(limit, connecting).await {
            Ok(connected) => Ok(connected?),
            Err(_) => Err(after.into()),
        },
    }
}

/// Who receives in this home.
enum Place {
    /// This process; to stay, where it has the lead.
    Receives(Option<Lead>),
    /// Another one, which stays.
    ReadsAlong,
}

async fn place(client: &Client, wanted: &Wanted) -> Result<Place, Error> {
    if wanted.max == Some(0) {
        return Ok(Place::Receives(None));
    }
    match client.try_lead().await? {
        Some(lead) => Ok(Place::Receives(Some(lead).filter(|_| wanted.follow))),
        None => Ok(Place::ReadsAlong),
    }
}

/// Shows what another process of this home receives. The lead, once that one is gone; none: this command has shown what it was to.
async fn read_along(client: &Client, wanted: &mut Wanted, options: &Options) -> Result<Option<Lead>, Failure> {
    let begun = Instant::now();
    let mut connection = None;
    let mut unreachable = None;
    if wanted.follow {
        let message = "another process of this home receives: what comes is shown here, too";
        options.output.tell(&Record::Notice { code: "reading-along", message, count: None }).await?;
    } else {
        unreachable = wait_until_nothing_waits(client).await;
    }
    let mut along = Along::start(client).await?;
    let mut screen = Screen::new(client, *wanted, options, Arc::default()).await?;
    let mut caught_up = false;
    flush_along(client, &mut connection, options).await?;
    loop {
        let mut any = false;
        while wanted.max != Some(0)
            && let Some(message) = along.next().await?
        {
            // Printing marks it: no need to say whether to go on.
            let _ = screen.show(Event::Message(message)).await?;
            wanted.max = wanted.max.map(|left| left - 1);
            any = true;
        }
        if any {
            flush_along(client, &mut connection, options).await?;
        }
        if wanted.follow && !caught_up {
            options.output.tell(&Record::CaughtUp {}).await?;
            caught_up = true;
        }
        let time_is_up = wanted.timeout.is_some_and(|timeout| begun.elapsed() >= timeout);
        let enough = !wanted.follow && (screen.shown || wanted.timeout.is_none());
        if wanted.max == Some(0) || time_is_up || enough {
            return match unreachable {
                Some(error) if !screen.shown => Err(error.into()),
                _ => Ok(None),
            };
        }
        if let Some(lead) = along.wait().await? {
            wanted.timeout = wanted.timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
            return Ok(Some(lead));
        }
    }
}

/// The process that receives has what waits at the relay within a moment. Why the relay could not be asked, if so.
async fn wait_until_nothing_waits(client: &Client) -> Option<Error> {
    let until = Instant::now() + MAIL_ON_ITS_WAY;
    while Instant::now() < until {
        match client.ask_relay().await {
            Ok(answer) if answer.waiting > 0 => tokio::time::sleep(LOOK).await,
            Ok(_) => return None,
            Err(error) => return Some(error),
        }
    }
    None
}

/// Sends receipts, and what is queued. What cannot be sent now waits for the next time.
async fn flush_along(client: &Client, on: &mut Option<Connection>, options: &Options) -> Result<(), Failure> {
    let connection = match on.take() {
        Some(connection) => connection,
        None => match client.connect().await {
            Ok(connection) => connection,
            Err(error) if error.passes() => return Ok(()),
            Err(error) => return Err(error.into()),
        },
    };
    if let Ok(FlushReport { accepted, not_sent, .. }) = connection.flush(|_| {}).await {
        for accepted in accepted {
            tell_accepted(&accepted, options).await?;
        }
        remark(&not_sent, options);
        *on = Some(connection);
    }
    Ok(())
}

/// Runs the client's receiving loop, and beside it a flush whenever read receipts are due. The loop waits for the reader of the
/// output where it pauses; the flush does not, and so never keeps the outbox from other commands of this home.
async fn receive(
    client: &Client,
    connection: &Connection,
    lead: Option<&Lead>,
    wanted: Wanted,
    options: &Options,
) -> Result<(), Failure> {
    let due = Arc::new(Notify::new());
    let mut screen = Screen::new(&connection.client(), wanted, options, Arc::clone(&due)).await?;
    // A user who says how long to wait wants to wait: the client's own one-shot mode would end at once.
    let wait = wanted.follow || wanted.timeout.is_some();
    let receive_options = ReceiveOptions { follow: wait, timeout: wanted.timeout, max: wanted.max };
    let receiving = async {
        match lead {
            // Commands that receive once and end go first.
            Some(_) => connection.receive_in_turn(client.wait_for_turn().await?, receive_options, &mut screen).await,
            None => connection.receive_into(receive_options, &mut screen).await,
        }
    };
    let flushing = async {
        loop {
            due.notified().await;
            // A broken connection is mended by the receiving loop, which flushes then, too.
            if let Ok(FlushReport { accepted, .. }) = connection.flush(|_| {}).await {
                for accepted in accepted {
                    // An output without a reader ends the receiving loop.
                    let _ = tell_accepted(&accepted, options).await;
                }
            }
        }
    };
    let ended = tokio::select! {
        ended = receiving => ended,
        () = flushing => return Ok(()),
    };
    match screen.failure {
        Some(failure) => Err(failure),
        None => Ok(ended.map(drop)?),
    }
}

/// Prints and marks what an earlier command stored and did not come to show. Whether that was as much as is wanted.
async fn show_stored(client: &Client, wanted: &mut Wanted, options: &Options) -> Result<bool, Failure> {
    let only_sends = wanted.max == Some(0);
    let mut stored = Stored {
        screen: Screen::new(client, *wanted, options, Arc::default()).await?,
        left: wanted.max.unwrap_or(u64::MAX),
    };
    client.show_stored_into(&mut stored).await?;
    if let Some(failure) = stored.screen.failure {
        return Err(failure);
    }
    wanted.max = wanted.max.map(|_| stored.left);
    Ok(stored.left == 0 && !only_sends)
}

/// Prints so many messages.
struct Stored {
    screen: Screen,
    left: u64,
}

impl EventSink for &mut Stored {
    async fn event(&mut self, event: Event) -> ControlFlow<()> {
        if self.left == 0 {
            return ControlFlow::Break(());
        }
        self.left -= 1;
        (&mut self.screen).event(event).await?;
        if self.left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Prints events.
struct Screen {
    client: Client,
    wanted: Wanted,
    output: Output,
    own: Whoami,
    /// Something was printed that a user waits for.
    shown: bool,
    /// Receipts are due.
    due: Arc<Notify>,
    /// Why it said stop, if something failed.
    failure: Option<Failure>,
}

impl EventSink for &mut Screen {
    async fn event(&mut self, event: Event) -> ControlFlow<()> {
        match self.show(event).await {
            Ok(next) => {
                self.due.notify_one();
                next
            }
            Err(failure) => {
                self.failure = Some(failure);
                ControlFlow::Break(())
            }
        }
    }
}

impl Screen {
    async fn new(client: &Client, wanted: Wanted, options: &Options, due: Arc<Notify>) -> Result<Self, Failure> {
        let (output, own) = (options.output, client.whoami().await?);
        Ok(Self { client: client.clone(), wanted, output, own, shown: false, due, failure: None })
    }

    /// Prints an event, and says whether to go on.
    async fn show(&mut self, event: Event) -> Result<ControlFlow<()>, Failure> {
        let output = self.output;
        match event {
            Event::Message(message) => {
                let (client, shown) = (self.client.clone(), message.message);
                let runtime = Handle::current();
                let mark = move || Ok(runtime.block_on(client.mark_read(&[shown]))?);
                output.tell_then(&Entry::of(&message, &self.own).record(), mark).await?;
                self.shown = true;
            }
            // What was queued went out beside the mail that came.
            Event::Accepted(accepted) => {
                let id = accepted.message.id.to_string();
                output.tell(&Record::Accepted { id: &id, to: &accepted.to, sealed: Some(accepted.anonymous) }).await?;
            }
            Event::CaughtUp if self.wanted.follow => output.tell(&Record::CaughtUp {}).await?,
            // With --timeout or --max alone: end when there was something and nothing is left.
            Event::CaughtUp if self.shown && self.wanted.max.is_none() => return Ok(ControlFlow::Break(())),
            Event::CaughtUp => {}
            Event::Disconnected { code, message } if !self.wanted.follow => return Err(Failure::new(code, message)),
            other => {
                self.shown |= matches!(other, Event::Receipt { .. } | Event::Expired { .. });
                print(&other, output).await?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Prints an event that is no message and needs nothing but to be told.
///
/// # Errors
/// The output is gone.
pub async fn print(event: &Event, output: Output) -> Result<(), Failure> {
    match event {
        Event::Receipt { message, from, kind, .. } => {
            output.tell(&Record::Receipt { id: &message.id.to_string(), from, kind: kind.word() }).await
        }
        Event::Expired { count } => output.tell(&Record::Expired { count: *count }).await,
        Event::Request(contact) => {
            output.tell(&Record::Request { alias: &contact.alias, account: &contact.account.to_string() }).await
        }
        Event::IdentityChanged { account, who } => {
            output.tell(&Record::IdentityChanged { who, account: &account.to_string() }).await
        }
        other => match notice(other) {
            Some((code, message)) => {
                output.tell(&Record::Notice { code, message: &message, count: count(other) }).await
            }
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
        Event::Dropped { reason, count: 1, .. } => {
            ("refused", format!("an envelope was thrown away: {}", cause(*reason)))
        }
        Event::Dropped { reason, count, .. } => {
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
        Event::Damaged { part, who, count, .. } => ("damaged", damage(*part, who.as_deref(), *count)),
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
    let named = largest.iter().map(|Occupant { who, account, envelopes, bytes, .. }| {
        let who = who.clone().or_else(|| account.map(|account| account.to_string()));
        format!("{} {envelopes} envelopes, {bytes} bytes", who.unwrap_or_else(|| "mail without a sender's name".into()))
    });
    named.collect::<Vec<_>>().join("; ")
}

/// How many of them an event tells of, where it counts.
pub fn count(event: &Event) -> Option<u64> {
    match event {
        Event::Dropped { count, .. } | Event::Held { count, .. } | Event::Damaged { count, .. } => Some(*count),
        Event::MailboxFull { refused, .. } => Some(*refused),
        _ => None,
    }
}

/// What was lost of this home's store, and what follows.
fn damage(part: DamagedPart, who: Option<&str>, count: u64) -> String {
    let of = |thing: &str| who.map_or_else(|| thing.to_owned(), |who| format!("{thing} {who}"));
    let (what, follows) = match part {
        DamagedPart::Session => (
            of("the session with"),
            "a fresh one is begun, and what was not confirmed is sent again".to_owned(),
        ),
        DamagedPart::Contact => (
            of("what was known of"),
            "if it is a request now, its key is the one that was pinned: accept it, compare the safety number and block it if it \
             was blocked. Else add it anew"
                .to_owned(),
        ),
        DamagedPart::Message => (of("a text in the conversation with"), "it is gone".to_owned()),
        DamagedPart::Waiting => {
            (of("a receipt, or a text that was to be sent again, to"), "it is not sent".to_owned())
        }
        DamagedPart::QueuedAgain => (of("a text that waited for"), "it was queued again from the history".to_owned()),
        DamagedPart::Held => (of("mail that was kept of"), "its sender is asked for it".to_owned()),
        DamagedPart::Receipt => ("a receipt that was to be sent".to_owned(), "it is not sent".to_owned()),
        DamagedPart::Prekey => (
            "a key with which others begin to write".to_owned(),
            "a first message that used it and did not arrive yet cannot be opened".to_owned(),
        ),
        DamagedPart::Level => (
            "the level".to_owned(),
            "it is L3, and no receipts are sent, until `kuvert level` and `kuvert receipts` say otherwise".to_owned(),
        ),
        DamagedPart::Consumer => ("how far a consumer has read".to_owned(), "it gets texts again".to_owned()),
        DamagedPart::Deleted => {
            ("the mark that a text was deleted".to_owned(), "if it is sent again, it is shown again".to_owned())
        }
        DamagedPart::Draft => ("what you began to write in a conversation".to_owned(), "it is gone".to_owned()),
        // What may be added.
        _ => ("something".to_owned(), "it is gone".to_owned()),
    };
    format!("{count} damaged rows were removed from this home's store: {what}; {follows}. Look after the disk")
}

fn contradiction(conflict: ListConflict) -> &'static str {
    match conflict {
        ListConflict::Unsigned => "that its account key did not sign",
        ListConflict::Older => "that is older than one that was known",
        ListConflict::Forked => "that differs from one with the same number",
        // What may be added.
        _ => "that contradicts one that was known",
    }
}

fn cause(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Misdelivered => "it is addressed to another device",
        DropReason::WrongSource => "it does not come from the device or under the key that it names",
        DropReason::Replayed => "it was opened before: a restored copy of a home, or replayed mail",
        DropReason::BadContent => "its content breaks the format; the sender's program is broken or of another version",
        DropReason::UnknownSender => "its sender is no contact, and does not say under which key it writes",
        DropReason::UnlistedDevice => {
            "it comes from a device that the account's list, as far as it is known here, does not name"
        }
        DropReason::Undecryptable => "its sender is no contact, and it could not be opened",
        DropReason::AnonymousUnasked => {
            "it came without its sender's name, and this home takes no such mail at its level"
        }
        DropReason::NoRoom => {
            "more of its sender's mail is kept than may be until it is accepted; it is asked for then"
        }
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
        assert!(cause(DropReason::Replayed).contains("a restored copy of a home, or replayed mail"));
    }
}

//! `kuvert receive`. Where another process of this home receives, and stays, its mail is shown from the store as it comes; else
//! this one receives.
//!
//! Print first, then mark as shown, so that a kill in between repeats a message instead of losing it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kuvert_client::{
    Client, Connection, DamagedPart, DropReason, Error, Event, EventSink, FlushReport, ListConflict, MessageRecord,
    Occupant, ReceiveOptions, Whoami, safe_file_name,
};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::args::Receive;
use crate::commands::along::{Along, LOOK, STALLED};
use crate::commands::{client_options, flush, remark, send_files, tell_accepted};
use crate::error::{Failure, shell_word, words};
use crate::options::Options;
use crate::output::Output;
use crate::output::progress::Progress;
use crate::output::record::{Attachment, Entry, Record};
use crate::signals::Stop;

/// How long mail that waits at the relay may take to come through the process that receives.
const MAIL_ON_ITS_WAY: Duration = Duration::from_secs(5);

/// Fetches and shows what waits, and with `--follow` what comes.
pub async fn run(args: &Receive, options: &Options) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let wanted = Wanted::of(args);
    let client = Client::open(&options.home()?, client_options(options, wanted.timeout)).await?;
    let command = async {
        let mut screen = Screen::new(&client, wanted, options).await?;
        if wanted.follow {
            screen.along = Some(Along::start(&client).await?);
        }
        // Until its reader pauses, and again once that one reads on.
        while receive_until_a_pause(&client, &mut screen, options).await? == Ended::Paused {
            screen.settle().await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = command => ended,
        // Every step up to here is committed: nothing to undo. A line that is being printed is printed, and noted as shown.
        () = stop.requested() => Ok(()),
    }
}

/// How a turn of receiving ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// What was wanted is shown.
    Done,
    /// What reads the output pauses. Nothing is held meanwhile that another process of the home needs.
    Paused,
}

async fn receive_until_a_pause(client: &Client, screen: &mut Screen, options: &Options) -> Result<Ended, Failure> {
    if another_leads(client, screen.wanted).await? && !read_along(client, screen, options).await? {
        return Ok(Ended::Done);
    }
    let began_to_connect = Instant::now();
    let connection = match client.connect().await {
        Ok(connection) => connection,
        Err(error) => {
            screen.begun.get_or_insert(began_to_connect);
            // What is in the store already can be read without a relay.
            if show_stored(client, screen).await? {
                return Ok(Ended::Done);
            }
            if !screen.wanted.follow || !error.passes() {
                return Err(error.into());
            }
            say_that_it_waits(&error, options).await?;
            connect_within(client, error, screen.time_left()).await?
        }
    };
    remark(&flush(&connection, options).await?, options);
    let received = match screen.wanted.max {
        Some(0) => Ok(Ended::Done),
        _ => receive(client, &connection, screen, options).await,
    };
    if let Ok(Ended::Paused) = received {
        connection.close().await;
        return received;
    }
    if !screen.wanted.follow && received.is_ok() {
        remark(&send_files(&connection, options).await?, options);
    }
    // The last receipts; a connection that broke has them sent by the next command.
    let sent = flush(&connection, options).await;
    connection.close().await;
    let ended = received?;
    sent?;
    match screen.unfetched.take() {
        Some(unfetched) if !screen.wanted.follow => Err(unfetched),
        _ => Ok(ended),
    }
}

/// What the flags ask for.
#[derive(Clone, Copy)]
struct Wanted {
    follow: bool,
    /// None: no limit, or only what waits now.
    timeout: Option<Duration>,
    max: Option<u64>,
    /// Files up to so many bytes are fetched.
    max_file: u64,
}

impl Wanted {
    fn of(args: &Receive) -> Self {
        // No time to wait for what may come: what waits now.
        let now = args.timeout.is_some_and(|timeout| timeout.is_zero());
        Self {
            follow: args.follow && !now,
            timeout: args.timeout.filter(|_| !now),
            max: args.max,
            max_file: args.max_file,
        }
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
        Some(limit) => match timeout(limit, connecting).await {
            Ok(connected) => Ok(connected?),
            Err(_) => Err(after.into()),
        },
    }
}

/// Whether another process of this home receives, and stays.
async fn another_leads(client: &Client, wanted: Wanted) -> Result<bool, Error> {
    Ok(wanted.max != Some(0) && client.try_lead().await?.is_none())
}

/// Shows what another process of this home receives. Whether to go on by receiving here, since that one is gone; else all is shown
/// that is wanted.
async fn read_along(client: &Client, screen: &mut Screen, options: &Options) -> Result<bool, Failure> {
    let wanted = screen.wanted;
    screen.begun.get_or_insert_with(Instant::now);
    let mut connection = None;
    let mut unreachable = None;
    if wanted.follow {
        let message = "another process of this home receives: what comes is shown here, too";
        options.output.tell(&Record::Notice { code: "reading-along", message, count: None }).await?;
    } else {
        unreachable = wait_until_nothing_waits(client).await;
        screen.along = None;
    }
    let mut along = match screen.along.take() {
        Some(along) => along,
        None => Along::start(client).await?,
    };
    let mut caught_up = false;
    flush_along(client, &mut connection, options).await?;
    let goes_on = loop {
        let mut any = false;
        while screen.wanted.max != Some(0)
            && let Some(message) = along.next().await?
        {
            // Printing marks it: no need to say whether to go on.
            let _ = screen.show(Event::Message(message)).await?;
            screen.settle().await?;
            any = true;
        }
        if any {
            flush_along(client, &mut connection, options).await?;
        }
        if wanted.follow && !caught_up {
            options.output.tell(&Record::CaughtUp {}).await?;
            caught_up = true;
        }
        let time_is_up = screen.time_left().is_some_and(|left| left.is_zero());
        let enough = !wanted.follow && (screen.shown || wanted.timeout.is_none());
        if screen.wanted.max == Some(0) || time_is_up || enough {
            match unreachable {
                Some(error) if !screen.shown => return Err(error.into()),
                _ => break false,
            }
        }
        // Held for a moment only: a command that does not stay leaves it to those that do.
        if along.wait().await?.is_some() {
            break true;
        }
    };
    screen.along = Some(along);
    Ok(goes_on)
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

/// Runs the client's receiving loop, and beside it a flush whenever read receipts are due. Neither waits for a reader of the output
/// that pauses: the loop ends then, and the flush never keeps the outbox from other commands of this home.
async fn receive(
    client: &Client,
    connection: &Connection,
    screen: &mut Screen,
    options: &Options,
) -> Result<Ended, Failure> {
    // Another process may have taken it while this one connected.
    let Some(lead) = client.try_lead().await? else { return Ok(Ended::Paused) };
    let lead = Some(lead).filter(|_| screen.wanted.follow);
    let due = Arc::clone(&screen.due);
    // A user who says how long to wait wants to wait: the client's own one-shot mode would end at once.
    let wait = screen.wanted.follow || screen.wanted.timeout.is_some();
    let receive_options = ReceiveOptions {
        follow: wait,
        timeout: screen.time_left(),
        max: screen.wanted.max,
        max_file: screen.wanted.max_file,
        // A command that ends shows a message with its files; one that stays shows it at once.
        files_first: !screen.wanted.follow,
    };
    let receiving = async {
        match lead {
            // Commands that receive once and end go first.
            Some(_) => connection.receive_in_turn(client.wait_for_turn().await?, receive_options, &mut *screen).await,
            None => connection.receive_into(receive_options, &mut *screen).await,
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
        () = flushing => return Ok(Ended::Done),
    };
    match screen.failure.take() {
        Some(failure) => Err(failure),
        None if screen.is_stuck() => Ok(Ended::Paused),
        None => Ok(ended.map(|_| Ended::Done)?),
    }
}

/// Prints and marks what an earlier command stored and did not come to show. Whether that was as much as is wanted.
async fn show_stored(client: &Client, screen: &mut Screen) -> Result<bool, Failure> {
    let only_sends = screen.wanted.max == Some(0);
    loop {
        client.show_stored_into(Stored(screen)).await?;
        if let Some(failure) = screen.failure.take() {
            return Err(failure);
        }
        if !screen.is_stuck() {
            return Ok(screen.wanted.max == Some(0) && !only_sends);
        }
        screen.settle().await?;
    }
}

/// Prints as many messages as are wanted.
struct Stored<'a>(&'a mut Screen);

impl EventSink for Stored<'_> {
    async fn event(&mut self, event: Event) -> ControlFlow<()> {
        if self.0.wanted.max == Some(0) {
            return ControlFlow::Break(());
        }
        (&mut *self.0).event(event).await
    }
}

/// Prints events.
struct Screen {
    client: Client,
    /// What is still wanted.
    wanted: Wanted,
    /// When what `wanted.timeout` limits began.
    begun: Option<Instant>,
    output: Output,
    own: Arc<Whoami>,
    /// Something was printed that a user waits for.
    shown: bool,
    /// Files on their way.
    progress: Arc<Mutex<Progress>>,
    /// Receipts are due.
    due: Arc<Notify>,
    /// What was shown, for a command that may come to read along.
    along: Option<Along>,
    /// What is being printed, since the reader of the output pauses, and what is to be printed behind it.
    stuck: Option<JoinHandle<Result<(), Failure>>>,
    behind: Vec<Event>,
    /// Why a file stays at the relay that a later command would fetch: told with the exit code, so that no script takes it for here.
    unfetched: Option<Failure>,
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
    async fn new(client: &Client, wanted: Wanted, options: &Options) -> Result<Self, Failure> {
        Ok(Self {
            client: client.clone(),
            wanted,
            begun: None,
            output: options.output,
            own: client.whoami().await?.into(),
            shown: false,
            progress: Arc::default(),
            due: Arc::default(),
            along: None,
            stuck: None,
            behind: Vec::new(),
            unfetched: None,
            failure: None,
        })
    }

    /// How long the command may go on, which begins now if it did not before; none: as long as it takes.
    fn time_left(&mut self) -> Option<Duration> {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        self.wanted.timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()))
    }

    /// Prints an event, and says whether to go on: not where what reads the output pauses.
    async fn show(&mut self, event: Event) -> Result<ControlFlow<()>, Failure> {
        if let Event::File { message, number, error: Some(error @ (Error::Limited { .. } | Error::DiskFull)) } = &event
        {
            let name =
                message.attachments.iter().find(|file| file.number == *number).map(|file| safe_file_name(&file.name));
            let told = format!(
                "{} stays at the relay: {}. `kuvert receive` goes on with it, `kuvert save {}/{number}` fetches it alone",
                name.unwrap_or_default(),
                words(error),
                message.message.id
            );
            self.unfetched = Some(Failure::new(error.code(), told));
        }
        match &event {
            // With --timeout or --max alone: end when there was something and nothing is left.
            Event::CaughtUp if !self.wanted.follow => {
                let enough = self.shown && self.wanted.max.is_none();
                return Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
            }
            Event::Disconnected { code, message } if !self.wanted.follow => {
                return Err(Failure::new(*code, message.clone()));
            }
            Event::Message(message) => {
                if let Some(along) = &mut self.along {
                    along.note(message.place);
                }
                self.wanted.max = self.wanted.max.map(|left| left.saturating_sub(1));
                self.shown = true;
            }
            Event::Receipt { .. } | Event::Expired { .. } | Event::File { .. } => self.shown = true,
            _ => {}
        }
        if self.is_stuck() {
            self.behind.push(event);
            return Ok(ControlFlow::Break(()));
        }
        let mut printing = self.start_printing(event);
        match timeout(STALLED, &mut printing).await {
            Ok(printed) => printed.unwrap_or_else(|_| Err(printing_failed())).map(ControlFlow::Continue),
            Err(_) => {
                self.stuck = Some(printing);
                Ok(ControlFlow::Break(()))
            }
        }
    }

    /// On a task of its own: what is printed is marked as shown, also if this is dropped.
    fn start_printing(&self, event: Event) -> JoinHandle<Result<(), Failure>> {
        let (client, own, output) = (self.client.clone(), Arc::clone(&self.own), self.output);
        let progress = Arc::clone(&self.progress);
        tokio::spawn(async move {
            match event {
                Event::Message(message) => {
                    let shown = message.message;
                    let runtime = Handle::current();
                    let mark = move || Ok(runtime.block_on(client.mark_read(&[shown]))?);
                    output.tell_then(&Entry::of(&message, &own).record(), mark).await
                }
                // What was queued went out beside the mail that came.
                Event::Accepted(accepted) => {
                    let id = accepted.message.id.to_string();
                    let record = Record::Accepted { id: &id, to: &accepted.to, sealed: Some(accepted.anonymous) };
                    output.tell(&record).await
                }
                Event::Transfer(transfer) => progress.lock().await.show(&transfer, output).await,
                Event::File { message, number, error } => {
                    progress.lock().await.end();
                    tell_file(&message, number, error.as_ref(), &own, output).await
                }
                Event::NotSent(not_sent) => {
                    let message = format!("not sent to {}: {}", not_sent.to, words(&not_sent.error));
                    output.tell(&Record::Notice { code: not_sent.error.code(), message: &message, count: None }).await
                }
                Event::CaughtUp => output.tell(&Record::CaughtUp {}).await,
                other => print(&other, output).await,
            }
        })
    }

    /// Whether something is being printed that is not taken.
    fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// Waits until everything is printed.
    ///
    /// # Errors
    /// The output is gone.
    async fn settle(&mut self) -> Result<(), Failure> {
        while let Some(printing) = &mut self.stuck {
            let printed = printing.await;
            self.stuck = None;
            printed.unwrap_or_else(|_| Err(printing_failed()))?;
            if !self.behind.is_empty() {
                let event = self.behind.remove(0);
                self.stuck = Some(self.start_printing(event));
            }
        }
        Ok(())
    }
}

fn printing_failed() -> Failure {
    Failure::new("internal", "printing failed: please report it")
}

/// Prints that a file is here, or why it is not.
///
/// # Errors
/// The output is gone.
pub async fn tell_file(
    message: &MessageRecord,
    number: u8,
    error: Option<&Error>,
    own: &Whoami,
    output: Output,
) -> Result<(), Failure> {
    let Some(file) = message.attachments.iter().find(|file| file.number == number) else { return Ok(()) };
    if let Some(error) = error {
        output.note(&words(error));
    }
    let id = message.message.id.to_string();
    let (attachment, error) = (Attachment::of(file, &id, &own.home), error.map(Error::code));
    output.tell(&Record::File { message: &id, from: &message.alias, attachment: &attachment, error }).await
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

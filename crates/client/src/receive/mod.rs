//! The inbox: from the relay's deliveries to messages that were shown.
//!
//! ```text
//! Delivery, Delivery, … ─► one transaction: sessions, prekeys, replay record, messages, receipts due, envelope ids
//!                            │ committed (and synced)
//!                            ├─► Acknowledge(up to the last one): the relay deletes
//!                            └─► events ─► the caller shows, then marks as shown
//! ```
//! A crash before the commit: the relay delivers again. After it and before the acknowledgement: the relay delivers again, and
//! the ids are known. Before the mark: the message is reported again from the store.

mod copies;
mod held;
mod incoming;
mod lists;
mod look;
mod notices;
mod open;
mod pull;
mod state;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use kuvert_types::AccountId;
use kuvert_types::limits::DELIVERY_WINDOW;
use kuvert_wire::v1::{self, client_frame, server_frame};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use self::held::is_readable as held_is_readable;
use self::incoming::Incoming;
use self::notices::Notices;
use self::open::open_batch;
pub(crate) use self::open::open_held;
use self::state::{Due, RECEIPT_DELAY, ReceiveState, Step, Timers};
use crate::connection::{AuthenticatedLink, Connection, Inbox, establish, establish_patiently};
use crate::conversation::MessageRef;
use crate::disclosure;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{Calls, Event, EventSink};
use crate::files::background::{Background, Word};
use crate::files::fetch;
use crate::history::{unshown, unshown_places};
use crate::home::{Exclusive, Held};
use crate::mend;
use crate::options::ReceiveOptions;
use crate::patience::{BACKOFF, millis};
use crate::prekeys;
use crate::receipts;
use crate::records::{MessageRecord, ReceiveEnd, Transfer};
use crate::state::{damaged, own};
use crate::store::{Log, Table, Transaction};
use crate::transport::{Push, RelayError};

/// How long the last receipts may take when the caller's time is up.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long another process that only looks at what waits may have the inbox.
const LOOKED_AT: Duration = look::LOOK.saturating_mul(2);

/// Envelope ids are remembered for as long as a sender may submit them again.
const REMEMBER_RECEIVED_MS: u64 = 45 * DAY_MS;

/// How often one call goes on after rows of the store turned out to be damaged. Each time they are removed.
const MAX_MENDED: u32 = 8;

/// Ids that are looked at together when old ones are forgotten.
const SCRUB_PAGE: usize = 1_000;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A lock that is waited for without end is asked for anew this often.
const TURN_PATIENCE: Duration = Duration::from_secs(1);

/// The right to receive, taken without displacing another process of the home; until dropped.
#[derive(Debug)]
pub struct Turn {
    held: Held,
    waited: bool,
}

impl Turn {
    /// Whether another process of this home was receiving meanwhile. If none was, it ended quickly, or whatever displaced
    /// this process has a home of its own: a copy.
    pub fn waited(&self) -> bool {
        self.waited
    }
}

/// Waits until no other process of this home receives, and keeps others of this home waiting from then on.
///
/// # Errors
/// `home-unusable`.
pub(crate) async fn wait_for_turn(engine: &Engine) -> Result<Turn, Error> {
    // At first without patience: also the shortest wait is one.
    let (mut patience, mut waited) = (Duration::ZERO, false);
    loop {
        match engine.home().hold(Exclusive::Inbox, patience).await {
            Ok(held) => return Ok(Turn { held, waited }),
            Err(Error::StoreLocked { .. }) => (patience, waited) = (TURN_PATIENCE, true),
            Err(error) => return Err(error),
        }
    }
}

/// What [`Connection::receive`] does first, without a relay: reports messages that were stored and never marked as shown.
/// None while another process receives, for that one shows them.
///
/// # Errors
/// Those of the store.
pub(crate) async fn show_stored(engine: &Engine, mut sink: impl EventSink) -> Result<(), Error> {
    let _held = match engine.home().hold(Exclusive::Inbox, Duration::ZERO).await {
        Err(Error::StoreLocked { .. }) => return Ok(()),
        held => held?,
    };
    for message in engine.read(|tx| unshown(tx, 0)).await? {
        if sink.event(Event::Message(message)).await.is_break() {
            break;
        }
    }
    Ok(())
}

impl Connection {
    /// Receives: first what was stored and never shown, then what waits at the relay, then (in follow mode) what comes.
    /// Messages are committed before they are reported and acknowledged. Receipts are sent, and the outbox is flushed
    /// with them. Can be dropped at any point without loss.
    ///
    /// `on_event` may stop it with [`ControlFlow::Break`].
    ///
    /// # Errors
    /// `displaced` when another process of this account attached; those of the connection unless in follow mode; those
    /// of the store.
    pub async fn receive(
        &self,
        options: ReceiveOptions,
        on_event: impl FnMut(Event) -> ControlFlow<()> + Send,
    ) -> Result<ReceiveEnd, Error> {
        self.receive_into(options, Calls(on_event)).await
    }

    /// [`receive`](Self::receive) for a caller that may have to wait before it can take an event, for instance for the reader
    /// of its output: while it waits, nothing more is fetched, and of the home only the inbox is held.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn receive_into(&self, options: ReceiveOptions, sink: impl EventSink) -> Result<ReceiveEnd, Error> {
        self.receive_holding(None, options, sink).await
    }

    /// [`receive_into`](Self::receive_into), with the turn that was waited for.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn receive_in_turn(
        &self,
        turn: Turn,
        options: ReceiveOptions,
        sink: impl EventSink,
    ) -> Result<ReceiveEnd, Error> {
        self.receive_holding(Some(turn.held), options, sink).await
    }

    async fn receive_holding(
        &self,
        held: Option<Held>,
        options: ReceiveOptions,
        sink: impl EventSink,
    ) -> Result<ReceiveEnd, Error> {
        let mut run = Receiver {
            connection: self,
            options,
            sink,
            shown: 0,
            state: ReceiveState::new(options.follow, held.is_some()),
            timers: Timers::new(options.follow, Instant::now()),
            inbox: held.map(Arc::new),
            let_go_at: None,
            notices: Notices::default(),
            mark: copies::Mark::default(),
            unfetched: None,
            files: None,
        };
        let result = match options.timeout {
            None => run.run().await,
            Some(after) => timeout(after, run.run()).await.unwrap_or(Ok(ReceiveEnd::Timeout)),
        };
        if result.is_ok() {
            run.farewell().await?;
        }
        result
    }
}

/// One call of [`Connection::receive`].
struct Receiver<'a, S> {
    connection: &'a Connection,
    options: ReceiveOptions,
    sink: S,
    shown: u64,
    state: ReceiveState,
    timers: Timers,
    /// Shared with the transaction that stores a batch: it ends also when the call is dropped, and the process that receives
    /// next has to see what it stored.
    inbox: Option<Arc<Held>>,
    /// After a break: everything up to this place was reported here, unless another process did.
    let_go_at: Option<u64>,
    /// What was thrown away and is told in sum.
    notices: Notices,
    /// What this process left in the store when it began to receive.
    mark: copies::Mark,
    /// Why files of what was told are not here.
    unfetched: Option<Error>,
    /// Files on their way beside this, in follow mode.
    files: Option<Background>,
}

/// What the receiver woke up for.
enum Wake {
    Push(Push),
    Due(Due),
    Files(Word),
}

impl<S: EventSink> Receiver<'_, S> {
    async fn run(&mut self) -> Result<ReceiveEnd, Error> {
        let (mut pause, mut mended) = (BACKOFF.0, 0);
        loop {
            let result = self.attached(&mut pause).await;
            let error = match result {
                Ok(end) => return Ok(end),
                // What came was not acknowledged, and comes again on a link of its own.
                Err(Error::StoreMended) if mended < MAX_MENDED => {
                    mended += 1;
                    if let Some(end) = self.tell_damage().await? {
                        return Ok(end);
                    }
                    continue;
                }
                Err(error) if self.options.follow && error.passes() && !self.connection.is_closed() => error,
                Err(error) => return Err(error),
            };
            tracing::info!(code = error.code(), "disconnected");
            // Before that, what an earlier call left is still to be reported.
            let all_reported = self.state.has_shown_stored();
            if self.state.lost() {
                if all_reported {
                    let places = self.engine().read(|tx| unshown_places(tx)).await?;
                    self.let_go_at = Some(places.into_iter().max().or(self.let_go_at).unwrap_or(0));
                }
                self.inbox = None;
            }
            let event = Event::Disconnected { code: error.code(), message: error.to_string() };
            if self.tell(event).await.is_break() {
                return Ok(ReceiveEnd::Stopped);
            }
            let link;
            (link, pause) = establish_patiently(self.engine(), pause, &error).await?;
            self.connection.replace(link);
            if self.tell(Event::Reconnected).await.is_break() {
                return Ok(ReceiveEnd::Stopped);
            }
            // What was written meanwhile.
            self.timers.flush_by(Instant::now());
        }
    }

    fn engine(&self) -> &Engine {
        self.connection.engine()
    }

    /// From attaching to the end of the connection.
    async fn attached(&mut self, pause: &mut Duration) -> Result<ReceiveEnd, Error> {
        loop {
            let link = self.connection.link();
            let step = self.state.next(link.inbox());
            let end = match step {
                Step::TakeBack => self.take_back().await?,
                Step::Renew => {
                    self.connection.replace(establish(self.engine()).await?);
                    None
                }
                Step::Attach => {
                    self.mark = copies::mark(self.engine()).await?;
                    attach(&link).await?
                }
                Step::HoldInbox => self.hold_inbox().await?,
                Step::TellFull => self.tell_full(&link).await?,
                Step::TellClocks => self.tell_clocks().await,
                Step::TellExpired => self.tell_expired(&link).await?,
                Step::ShowStored => self.show_what_was_not_shown().await?,
                Step::LookUpLists => {
                    let waiting = self.engine().read(|tx| held::waiting_for_a_list(tx)).await?;
                    self.look_up_lists(waiting).await?
                }
                Step::Serve => return self.serve(&link, pause).await,
            };
            if let Some(end) = end {
                return Ok(end);
            }
            self.state.done(step);
        }
    }

    /// Takes the inbox back after a break, unless another process keeps it: that one came later, and stays. One that only
    /// looks at what waits before it sends has it for a moment.
    async fn take_back(&mut self) -> Result<Option<ReceiveEnd>, Error> {
        let held = self.engine().home().hold(Exclusive::Inbox, LOOKED_AT).await;
        self.inbox = Some(Arc::new(held.map_err(|error| match error {
            Error::StoreLocked { .. } => Error::Displaced,
            error => error,
        })?));
        Ok(None)
    }

    /// Attaching displaced the process that received until now. It lets go of the inbox once everything that it reported is
    /// marked: only then is it sure what was not shown.
    async fn hold_inbox(&mut self) -> Result<Option<ReceiveEnd>, Error> {
        let (home, patience) = (self.engine().home(), self.engine().options().lock_timeout);
        self.inbox = Some(Arc::new(home.hold(Exclusive::Inbox, patience).await?));
        Ok(None)
    }

    async fn tell_full(&mut self, link: &AuthenticatedLink) -> Result<Option<ReceiveEnd>, Error> {
        let Some(full) = link.take_full() else { return Ok(None) };
        let event = notices::mailbox_full(self.engine(), full).await?;
        Ok(self.tell(event).await.is_break().then_some(ReceiveEnd::Stopped))
    }

    async fn tell_clocks(&mut self) -> Option<ReceiveEnd> {
        let ahead_ms = self.engine().relay_clock().differs(self.engine().now())?;
        self.tell(Event::ClocksDiffer { ahead_ms }).await.is_break().then_some(ReceiveEnd::Stopped)
    }

    async fn tell_expired(&mut self, link: &AuthenticatedLink) -> Result<Option<ReceiveEnd>, Error> {
        let expired = link.take_expired();
        if expired == 0 {
            return Ok(None);
        }
        let stop = self.tell(Event::Expired { count: expired }).await;
        // Told before it is forgotten. An answer that says no changes nothing: it is told again.
        let forget = v1::AcknowledgeExpired { count: expired };
        let _ = link.request(client_frame::Body::AcknowledgeExpired(forget)).await?;
        Ok(stop.is_break().then_some(ReceiveEnd::Stopped))
    }

    /// Takes what comes, until the end.
    async fn serve(&mut self, link: &AuthenticatedLink, pause: &mut Duration) -> Result<ReceiveEnd, Error> {
        if self.options.follow && self.files.is_none() {
            self.files = Some(Background::start(
                self.connection,
                if self.options.files_first { 0 } else { self.options.max_file },
            ));
        }
        // After a break there is a way again.
        self.engine().files_due().notify_one();
        loop {
            if self.engine().take_mended()
                && let Some(end) = self.tell_damage().await?
            {
                return Ok(end);
            }
            let flush_now = self.timers.flush_is_due(Instant::now());
            let at_hand = if flush_now { None } else { link.link.push_at_hand().await };
            let wake = match at_hand {
                _ if flush_now => Wake::Due(Due::Flush), // also under a steady stream of mail
                Some(push) => Wake::Push(push),
                None => self.next(link).await?,
            };
            // It works: the next break starts with short pauses again.
            *pause = BACKOFF.0;
            let end = match wake {
                Wake::Push(Push::Delivery(delivery)) => self.take_from(link, delivery).await?,
                Wake::Push(push) => self.word(link, push).await?,
                Wake::Files(word) => self.files_say(word).await,
                Wake::Due(Due::Flush) => self.flush().await?,
                Wake::Due(Due::Maintain) => self.maintain().await?,
                Wake::Due(Due::Probe) => self.probe(link).await?,
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// Takes a delivery, and what is at hand behind it.
    async fn take_from(&mut self, link: &AuthenticatedLink, first: v1::Delivery) -> Result<Option<ReceiveEnd>, Error> {
        link.set_inbox(Inbox::InDoubt);
        let (batch, behind) = gather(link, first).await;
        let end = self.take(link, batch).await?;
        // Only here: had the call been dropped on the way, the word behind the batch would be lost.
        link.set_inbox(Inbox::Attached { caught_up: false });
        match (end, behind) {
            (None, Some(push)) => self.word(link, push).await,
            (None, None) => Ok(None),
            (Some(end), behind) => {
                // The word behind the batch is news for the next call.
                match behind {
                    Some(Push::CaughtUp) => link.set_inbox(Inbox::Attached { caught_up: true }),
                    Some(Push::Displaced) => link.set_inbox(Inbox::Detached),
                    _ => {}
                }
                Ok(Some(end))
            }
        }
    }

    /// Tells which rows of the store were damaged and removed, if some were.
    async fn tell_damage(&mut self) -> Result<Option<ReceiveEnd>, Error> {
        let untold = self.engine().read(|tx| mend::untold(tx)).await?;
        if untold.is_empty() {
            return Ok(None);
        }
        for event in untold {
            if self.tell(event).await.is_break() {
                return Ok(Some(ReceiveEnd::Stopped));
            }
        }
        // Told before it is forgotten.
        self.engine().write(|tx| mend::forget_told(tx)).await?;
        // What is asked for anew.
        self.timers.flush_by(Instant::now());
        Ok(None)
    }

    async fn show_what_was_not_shown(&mut self) -> Result<Option<ReceiveEnd>, Error> {
        if let Some(end) = self.tell_damage().await? {
            return Ok(Some(end));
        }
        let after = self.let_go_at.unwrap_or(0);
        let left = self.engine().read(move |tx| unshown(tx, after)).await?;
        let mut events = notices::changed_names(self.engine()).await?;
        events.extend(left.into_iter().map(Event::Message));
        // A crash may have left receipts behind.
        self.timers.flush_by(Instant::now());
        self.tell_all(events).await
    }

    async fn next(&mut self, link: &AuthenticatedLink) -> Result<Wake, Error> {
        let (due, wake) = self.timers.next();
        // Without following, a relay that says nothing at all does not keep us.
        let patience = self.engine().options().request_timeout;
        let until = if self.options.follow { due } else { due.min(Instant::now() + patience) };
        let heard = match &mut self.files {
            None => timeout_at(until, link.link.next_push()).await,
            Some(files) => {
                let next = async {
                    tokio::select! {
                        biased;
                        push = link.link.next_push() => Ok(push),
                        Some(word) = files.words.recv() => Err(word),
                    }
                };
                match timeout_at(until, next).await {
                    Ok(Err(word)) => return Ok(Wake::Files(word)),
                    Ok(Ok(push)) => Ok(push),
                    Err(late) => Err(late),
                }
            }
        };
        match heard {
            Ok(push) => {
                self.timers.heard(Instant::now());
                Ok(Wake::Push(push?))
            }
            Err(_) if until == due => Ok(Wake::Due(wake)),
            Err(_) => Err(Error::RequestTimeout { seconds: patience.as_secs() }),
        }
    }

    /// What happened to files on their way.
    async fn files_say(&mut self, word: Word) -> Option<ReceiveEnd> {
        match word {
            Word::Flush => {
                self.timers.flush_by(Instant::now());
                None
            }
            Word::Event(event) => self.tell(*event).await.is_break().then_some(ReceiveEnd::Stopped),
        }
    }

    /// Fetches files here and now, of one message or all that are wanted; what became of each.
    async fn fetch(&mut self, only: Option<MessageRef>) -> (Vec<(MessageRef, u8, Option<Error>)>, Result<(), Error>) {
        let (say, mut transfers) = mpsc::unbounded_channel();
        let (connection, max, mut news) = (self.connection.clone(), self.options.max_file, Vec::new());
        let fetched = {
            let mut progress = |transfer: &Transfer| drop(say.send(transfer.clone()));
            let mut told = |message, number, error| news.push((message, number, error));
            let mut fetching = std::pin::pin!(connection.fetch_wanted(only, max, &mut progress, &mut told));
            loop {
                tokio::select! {
                    fetched = &mut fetching => break fetched,
                    Some(transfer) = transfers.recv() => drop(self.tell(Event::Transfer(transfer)).await),
                }
            }
        };
        (news, fetched)
    }

    /// Fetches the files of a message before it is told: the message as it stands then, and what is to be told behind it.
    async fn with_files(&mut self, message: MessageRecord) -> Result<(MessageRecord, Vec<Event>), Error> {
        let (news, fetched) = self.fetch(Some(message.message)).await;
        match fetched {
            // The text is here: it is told, and the files are fetched the next time.
            Err(error) if error.is_connection() => self.unfetched = Some(error),
            other => other?,
        }
        let message = fetch::record(self.engine(), message.message).await?;
        let failed = news.into_iter().filter(|(_, _, error)| error.is_some());
        let failed = failed.map(|(_, number, error)| Event::File { message: message.clone(), number, error });
        let failed = failed.collect();
        Ok((message, failed))
    }

    /// Fetches what earlier calls left, once nothing waits at the relay.
    async fn fetch_the_rest(&mut self) -> Result<(), Error> {
        if let Some(error) = self.unfetched.take() {
            return Err(error);
        }
        let (news, fetched) = self.fetch(None).await;
        for (message, number, error) in news {
            match fetch::record(self.engine(), message).await {
                Ok(message) => drop(self.tell(Event::File { message, number, error }).await),
                Err(Error::MessageUnknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        fetched
    }

    /// Any answer will do; without one the link breaks.
    async fn probe(&mut self, link: &AuthenticatedLink) -> Result<Option<ReceiveEnd>, Error> {
        tracing::debug!("asking whether the relay is still there");
        let question = client_frame::Body::CountPrekeys(v1::CountPrekeys {});
        link.request(question).await?.map_err(RelayError::into_error)?;
        self.timers.probed(Instant::now());
        Ok(None)
    }

    /// A push that is no delivery.
    async fn word(&mut self, established: &AuthenticatedLink, push: Push) -> Result<Option<ReceiveEnd>, Error> {
        match push {
            Push::Delivery(_) => Ok(None), // gathered by the caller
            Push::CaughtUp => {
                tracing::info!("nothing more waits at the relay");
                established.set_inbox(Inbox::Attached { caught_up: true });
                if self.options.files_first {
                    self.fetch_the_rest().await?;
                }
                if !self.options.follow
                    && let Some(end) = self.tell_what_was_held_back().await
                {
                    return Ok(Some(end));
                }
                if self.tell(Event::CaughtUp).await.is_break() {
                    return Ok(Some(ReceiveEnd::Stopped));
                }
                Ok((!self.options.follow).then_some(ReceiveEnd::CaughtUp))
            }
            Push::Displaced => {
                established.set_inbox(Inbox::Detached);
                copies::taken_over(self.engine(), self.mark).await?;
                Err(Error::Displaced)
            }
            Push::GoingAway => Err(Error::RelayUnavailable { detail: "it shuts down".to_owned() }),
        }
    }

    /// Opens, commits, acknowledges and reports a batch.
    async fn take(
        &mut self,
        established: &AuthenticatedLink,
        batch: Vec<v1::Delivery>,
    ) -> Result<Option<ReceiveEnd>, Error> {
        let Some(up_to) = batch.iter().map(|delivery| delivery.cursor).max() else { return Ok(None) };
        let (inbox, count, begun) = (self.inbox.clone(), batch.len(), Instant::now());
        let outcome = self
            .engine()
            .write(move |tx| {
                let _until_committed = inbox;
                let (own, opens_anonymous) = (tx.identity()?, disclosure::row(tx)?.opens_anonymous(tx.certain_now()));
                let check = |delivery| Incoming::check(&own.device, delivery, opens_anonymous);
                open_batch(tx, batch.into_iter().map(check).collect())
            })
            .await?;
        tracing::info!(envelopes = count, milliseconds = millis(begun.elapsed()), "received and stored");
        let acknowledge = client_frame::Body::Acknowledge(v1::Acknowledge { up_to });
        match established.request(acknowledge).await {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => return Err(refusal.into_error()),
            Err(error) => {
                // Committed is committed: show it, then see to the connection.
                return match self.tell_all(outcome.events).await? {
                    Some(end) => Ok(Some(end)),
                    None => Err(error),
                };
            }
        }
        if outcome.receipts_due {
            self.timers.flush_by(Instant::now() + RECEIPT_DELAY);
        }
        if outcome.prekeys_used {
            // Behind the receipts: the deliveries come first.
            self.timers.maintain_by(Instant::now() + 2 * RECEIPT_DELAY);
        }
        if let Some(end) = self.tell_all(outcome.events).await? {
            return Ok(Some(end));
        }
        self.look_up_lists(outcome.lists_wanted).await
    }

    /// Fetches the newest device lists of contacts that wrote from a device that the known ones leave out, and opens what
    /// waited for them.
    async fn look_up_lists(&mut self, accounts: BTreeSet<AccountId>) -> Result<Option<ReceiveEnd>, Error> {
        for account in accounts {
            let opened = lists::open_with_newest(self.connection, account).await?;
            if opened.receipts_due {
                self.timers.flush_by(Instant::now() + RECEIPT_DELAY);
            }
            if let Some(end) = self.tell_all(opened.events).await? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    async fn tell(&mut self, event: Event) -> ControlFlow<()> {
        self.sink.event(event).await
    }

    /// What was thrown away and not told yet.
    async fn tell_what_was_held_back(&mut self) -> Option<ReceiveEnd> {
        for event in self.notices.take() {
            if self.tell(event).await.is_break() {
                return Some(ReceiveEnd::Stopped);
            }
        }
        None
    }

    /// Reports events. Messages beyond the caller's maximum stay unshown; whatever else happened is still said.
    async fn tell_all(&mut self, events: Vec<Event>) -> Result<Option<ReceiveEnd>, Error> {
        let max = self.options.max.unwrap_or(u64::MAX);
        for mut event in self.notices.sum_up(events, Instant::now()) {
            let is_message = matches!(event, Event::Message(_));
            if is_message && self.shown >= max {
                continue;
            }
            let mut behind = Vec::new();
            if let Event::Message(message) = &event
                && !message.attachments.is_empty()
            {
                if self.options.files_first && self.unfetched.is_none() {
                    let (message, failed) = self.with_files(message.clone()).await?;
                    (event, behind) = (Event::Message(message), failed);
                } else {
                    self.engine().files_due().notify_one();
                }
            }
            let stop = self.tell(event).await;
            if is_message {
                self.shown += 1;
                // Reading it makes a receipt due.
                self.timers.flush_by(Instant::now() + RECEIPT_DELAY);
            }
            for event in behind {
                let _ = self.tell(event).await;
            }
            if stop.is_break() {
                return Ok(Some(ReceiveEnd::Stopped));
            }
        }
        Ok((self.shown >= max).then_some(ReceiveEnd::Max))
    }

    async fn flush(&mut self) -> Result<Option<ReceiveEnd>, Error> {
        self.timers.flushing();
        match self.connection.flush_with(Duration::ZERO, &mut |_| {}).await {
            Ok(report) => {
                for accepted in report.accepted {
                    // Too late to stop anything: it is sent.
                    let _ = self.tell(Event::Accepted(accepted)).await;
                }
                self.wait_for_late_receipts().await?;
            }
            // Another process or task sends at the moment, or the relay asks for patience: later.
            Err(Error::StoreLocked { .. } | Error::Limited { .. }) => {
                self.timers.flush_by(Instant::now() + RECEIPT_DELAY);
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// Receipts that are held back go out when their time comes, if this is still connected then.
    async fn wait_for_late_receipts(&mut self) -> Result<(), Error> {
        let left = self.engine().read(|tx| receipts::next(tx, tx.now())).await?;
        if let Some(left) = left {
            self.timers.flush_by(Instant::now() + Duration::from_millis(left));
        }
        Ok(())
    }

    async fn maintain(&mut self) -> Result<Option<ReceiveEnd>, Error> {
        self.timers.maintaining(Instant::now());
        let link = self.connection.link();
        self.engine().relay_clock().heard(link.relay_now());
        let caught_up = (link.inbox() == Inbox::Attached { caught_up: true }).then(|| link.relay_now());
        // What is too old is decided by two clocks. [`crate::certain`]
        let expired = match self.engine().certain_now() {
            None => 0,
            Some(now) => {
                let scrubbed = self.engine().write(move |tx| {
                    caught_up.map_or(Ok(()), |at| prekeys::note_caught_up(tx, at))?;
                    scrub(tx, now)
                });
                scrubbed.await?
            }
        };
        if expired > 0 {
            // Too late to stop anything.
            let _ = self.tell(Event::Expired { count: expired }).await;
        }
        let _ = self.tell_what_was_held_back().await;
        match prekeys::maintain(self.connection).await {
            Err(error) if error.is_connection() => Err(error),
            Err(error) => {
                // Mail still comes; without fresh one-time prekeys strangers are a little less safe.
                tracing::warn!(code = error.code(), "prekeys were not looked after");
                Ok(None)
            }
            Ok(()) => Ok(None),
        }
    }

    /// Receipts for what was just shown, and fresh prekeys for those that were just used.
    async fn farewell(&mut self) -> Result<(), Error> {
        self.inbox = None;
        let done = timeout(FAREWELL, async {
            if self.timers.flush_is_planned() {
                self.flush().await?;
            }
            self.maintain().await?;
            // What comes too late for this call is told by the next one.
            if self.engine().take_mended() {
                self.tell_damage().await?;
            }
            Ok::<(), Error>(())
        });
        match done.await {
            // They are in the store, and go out next time.
            Err(_) => Ok(()),
            Ok(Err(error)) if error.is_connection() => Ok(()),
            Ok(result) => result,
        }
    }
}

/// Asks the relay to deliver.
async fn attach(link: &AuthenticatedLink) -> Result<Option<ReceiveEnd>, Error> {
    // Until the answer is here, a call that is dropped leaves it open whether the relay delivers.
    link.set_inbox(Inbox::InDoubt);
    let begun = Instant::now();
    match link.request(client_frame::Body::Attach(v1::Attach {})).await? {
        Ok(server_frame::Body::Attached(_)) => {}
        Ok(_) => return Err(Error::RelayProtocol { what: "no answer to attaching" }),
        Err(refusal) => return Err(refusal.into_error()),
    }
    link.set_inbox(Inbox::Attached { caught_up: false });
    tracing::info!(waiting = link.waiting, milliseconds = millis(begun.elapsed()), "attached: the relay delivers");
    Ok(None)
}

/// Takes the deliveries that are here already, up to a window's worth; and the word that came behind them.
async fn gather(established: &AuthenticatedLink, first: v1::Delivery) -> (Vec<v1::Delivery>, Option<Push>) {
    let mut batch = vec![first];
    while batch.len() < DELIVERY_WINDOW {
        match established.link.push_at_hand().await {
            Some(Push::Delivery(delivery)) => batch.push(delivery),
            other => return (batch, other),
        }
    }
    (batch, None)
}

/// Once a day: drops mail that was held for too long (how many envelopes) and forgets envelope ids that cannot be submitted
/// again.
fn scrub(tx: &dyn Transaction, now: u64) -> Result<u64, Error> {
    let last = tx.get(Table::Own, own::TIDIED)?;
    let last = last.and_then(|value| value.as_slice().try_into().ok()).map_or(0, u64::from_be_bytes);
    if now.abs_diff(last) < DAY_MS {
        return Ok(0);
    }
    tx.put(Table::Own, own::TIDIED, &now.to_be_bytes())?;
    forget_received(tx, now)?;
    held::expire(tx, now)
}

/// They stand in order of arrival: from the oldest on, a page at a time, up to the first that is young enough.
fn forget_received(tx: &dyn Transaction, now: u64) -> Result<(), Error> {
    let is_old = |value: &[u8]| {
        let at = value.try_into().map(u64::from_be_bytes).map_err(|_| damaged("received"))?;
        Ok::<_, Error>(now.saturating_sub(at) > REMEMBER_RECEIVED_MS)
    };
    loop {
        let page = tx.scan(Log::Received, None, 0, SCRUB_PAGE)?;
        let whole = page.len() == SCRUB_PAGE;
        for entry in page {
            if !is_old(&entry.value)? {
                return forget_received_by_version_1(tx, is_old);
            }
            tx.remove(Log::Received, entry.place)?;
        }
        if !whole {
            return forget_received_by_version_1(tx, is_old);
        }
    }
}

/// Those of homes of version 1, of which there are none any more after 45 days.
fn forget_received_by_version_1(
    tx: &dyn Transaction,
    is_old: impl Fn(&[u8]) -> Result<bool, Error>,
) -> Result<(), Error> {
    for (key, value) in tx.list(Table::Received)? {
        if is_old(&value)? {
            tx.delete(Table::Received, &key)?;
        }
    }
    Ok(())
}

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

mod held;
mod incoming;
mod lists;
mod look;
mod notices;
mod open;

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use kuvert_types::AccountId;
use kuvert_types::limits::DELIVERY_WINDOW;
use kuvert_wire::v1::{self, client_frame, server_frame};
use tokio::time::{Instant, timeout, timeout_at};

use self::incoming::Incoming;
use self::notices::Notices;
use self::open::open_batch;
pub(crate) use self::open::open_held;
use crate::client::{Client, Connection};
use crate::connect::{Established, Inbox};
use crate::disclosure;
use crate::error::Error;
use crate::event::{Calls, Event, EventSink, ReceiptKind};
use crate::home::{Exclusive, Held};
use crate::options::ReceiveOptions;
use crate::patience::{BACKOFF, millis};
use crate::prekeys;
use crate::receipts;
use crate::records::{Direction, MessageRecord, MessageRef, ReceiveEnd};
use crate::send::alias;
use crate::state::{self, Stored, message_key};
use crate::store::{Log, Mode, Table, Transaction};
use crate::transport::{Push, Refusal};

/// How long receipts gather before they are sent, so that a burst of messages makes one envelope of receipts.
const RECEIPT_DELAY: Duration = Duration::from_millis(200);

/// How often a client that stays connected looks after its prekeys.
const MAINTENANCE: Duration = Duration::from_secs(60 * 60);

/// After so much silence that follows activity, the relay is asked whether it is still there. QUIC's own keep-alive takes
/// up to a minute to notice a relay that was killed; somebody who was just writing should not wait for that.
const PROBES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(15)];

/// How long the last receipts may take when the caller's time is up.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long another process that only looks at what waits may have the inbox.
const LOOKED_AT: Duration = look::LOOK.saturating_mul(2);

/// Envelope ids are remembered for as long as a sender may submit them again.
const REMEMBER_RECEIVED_MS: u64 = 45 * DAY_MS;

/// Ids that are looked at together when old ones are forgotten.
const TIDY_PAGE: usize = 1_000;

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

impl Client {
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
        connection: &Connection,
        options: ReceiveOptions,
        on_event: impl FnMut(Event) -> ControlFlow<()> + Send,
    ) -> Result<ReceiveEnd, Error> {
        self.receive_into(connection, options, Calls(on_event)).await
    }

    /// [`receive`](Self::receive) for a caller that may have to wait before it can take an event, for instance for the reader
    /// of its output: while it waits, nothing more is fetched, and of the home only the inbox is held.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn receive_into(
        &self,
        connection: &Connection,
        options: ReceiveOptions,
        sink: impl EventSink,
    ) -> Result<ReceiveEnd, Error> {
        self.receive_holding(connection, None, options, sink).await
    }

    /// Waits until no other process of this home receives, and keeps others of this home waiting from then on. A process that was
    /// displaced comes back this way without displacing in turn. Can be dropped at any point.
    ///
    /// # Errors
    /// `home-unusable`.
    pub async fn wait_for_turn(&self) -> Result<Turn, Error> {
        // At first without patience: also the shortest wait is one.
        let (mut patience, mut waited) = (Duration::ZERO, false);
        loop {
            match self.0.home.hold(Exclusive::Inbox, patience).await {
                Ok(held) => return Ok(Turn { held, waited }),
                Err(Error::StoreLocked { .. }) => (patience, waited) = (TURN_PATIENCE, true),
                Err(error) => return Err(error),
            }
        }
    }

    /// [`receive_into`](Self::receive_into), with the turn that was waited for.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn receive_in_turn(
        &self,
        connection: &Connection,
        turn: Turn,
        options: ReceiveOptions,
        sink: impl EventSink,
    ) -> Result<ReceiveEnd, Error> {
        self.receive_holding(connection, Some(turn.held), options, sink).await
    }

    async fn receive_holding(
        &self,
        connection: &Connection,
        held: Option<Held>,
        options: ReceiveOptions,
        sink: impl EventSink,
    ) -> Result<ReceiveEnd, Error> {
        let mut run = Receiver {
            client: self,
            connection,
            options,
            sink,
            shown: 0,
            flush_at: None,
            maintain_at: Instant::now(),
            probe_at: Instant::now() + PROBES[0],
            probes: 0,
            inbox: held.map(Arc::new),
            let_go_at: None,
            notices: Notices::default(),
            clock_told: false,
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

    /// Messages that were stored and never marked as shown, in order of arrival. Another process that receives may be
    /// showing them now: to show them, use [`show_stored`](Self::show_stored).
    ///
    /// # Errors
    /// Those of the store.
    pub fn unshown(&self) -> Result<Vec<MessageRecord>, Error> {
        self.0.transact(Mode::Read, |tx| unshown(tx, 0))
    }

    /// What [`receive`](Self::receive) does first, without a relay: reports messages that were stored and never marked as
    /// shown, until `on_message` says stop. None while another process receives, for that one shows them.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn show_stored(
        &self,
        mut on_message: impl FnMut(MessageRecord) -> ControlFlow<()> + Send,
    ) -> Result<(), Error> {
        let sink = Calls(|event| match event {
            Event::Message(message) => on_message(message),
            _ => ControlFlow::Continue(()),
        });
        self.show_stored_into(sink).await
    }

    /// [`show_stored`](Self::show_stored) for a caller that may have to wait before it can take a message.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn show_stored_into(&self, mut sink: impl EventSink) -> Result<(), Error> {
        let _held = match self.0.home.hold(Exclusive::Inbox, Duration::ZERO).await {
            Err(Error::StoreLocked { .. }) => return Ok(()),
            held => held?,
        };
        for message in self.unshown()? {
            if sink.event(Event::Message(message)).await.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Marks messages as shown: they do not come again. Cheap: survives a kill of the process at once, a power failure
    /// from the next full commit on.
    ///
    /// # Errors
    /// Those of the store.
    pub fn mark_shown(&self, messages: &[MessageRef]) -> Result<(), Error> {
        self.mark(messages, false)
    }

    /// Marks messages as shown and read: read receipts go out with the next flush.
    ///
    /// # Errors
    /// Those of the store.
    pub fn mark_read(&self, messages: &[MessageRef]) -> Result<(), Error> {
        self.mark(messages, true)
    }

    fn mark(&self, messages: &[MessageRef], read: bool) -> Result<(), Error> {
        self.0.transact(Mode::WriteRelaxed, |tx| {
            for message in messages {
                let Some(entry) = tx.find(Log::Message, &message_key(Direction::Incoming, message))? else { continue };
                let was_unshown = tx.delete(Table::Unshown, &entry.place.to_be_bytes())?;
                // Once: a message that is marked twice was read once. [KV-100] Never to a stranger.
                if read && was_unshown && !state::is_request(tx, &message.account)? {
                    receipts::note(tx, message, ReceiptKind::Read, self.0.now())?;
                }
            }
            Ok(())
        })
    }
}

/// Unshown messages behind a place.
fn unshown(tx: &dyn Transaction, after: u64) -> Result<Vec<MessageRecord>, Error> {
    let mut aliases = HashMap::new();
    let mut messages = Vec::new();
    for place in unshown_places(tx)?.into_iter().filter(|place| *place > after) {
        let Some(entry) = tx.at(Log::Message, place)? else { continue };
        let stored = Stored::read(&entry)?;
        let account = stored.message()?.account;
        let name = match aliases.get(&account) {
            Some(name) => String::clone(name),
            None => {
                let name = alias(tx, &account)?;
                aliases.insert(account, name.clone());
                name
            }
        };
        messages.push(stored.record(tx, &name)?);
    }
    Ok(messages)
}

fn unshown_places(tx: &dyn Transaction) -> Result<Vec<u64>, Error> {
    let place = |key: &[u8]| key.try_into().map(u64::from_be_bytes).map_err(|_| state::damaged("unshown"));
    tx.list(Table::Unshown)?.iter().map(|(key, _)| place(key)).collect()
}

/// One call of [`Client::receive`].
struct Receiver<'a, S> {
    client: &'a Client,
    connection: &'a Connection,
    options: ReceiveOptions,
    sink: S,
    shown: u64,
    /// Receipts are due, or a flush failed.
    flush_at: Option<Instant>,
    maintain_at: Instant,
    /// When to ask whether the relay is still there, and how often that was asked since it last said something.
    probe_at: Instant,
    probes: usize,
    /// Shared with the transaction that stores a batch: it ends also when the call is dropped, and whoever receives next
    /// has to see what it stored.
    inbox: Option<Arc<Held>>,
    /// After a break: everything up to this place was reported here, unless another process did.
    let_go_at: Option<u64>,
    /// What was thrown away and is told in sum.
    notices: Notices,
    /// It was told that this machine's clock and the relay's differ.
    clock_told: bool,
}

/// What the receiver woke up for.
enum Wake {
    Push(Push),
    Flush,
    Maintain,
    Probe,
}

impl<S: EventSink> Receiver<'_, S> {
    async fn run(&mut self) -> Result<ReceiveEnd, Error> {
        let mut first = true;
        let mut pause = BACKOFF.0;
        loop {
            let result = self.attached(&mut first, &mut pause).await;
            let error = match result {
                Ok(end) => return Ok(end),
                Err(error) if self.options.follow && error.passes() => error,
                Err(error) => return Err(error),
            };
            tracing::info!(code = error.code(), "disconnected");
            self.let_go(&mut first).await?;
            let event = Event::Disconnected { code: error.code(), message: error.to_string() };
            if self.tell(event).await.is_break() {
                return Ok(ReceiveEnd::Stopped);
            }
            let established;
            (established, pause) = self.client.establish_patiently(pause, &error).await?;
            self.connection.replace(established);
            if self.tell(Event::Reconnected).await.is_break() {
                return Ok(ReceiveEnd::Stopped);
            }
            // What was written meanwhile.
            self.flush_at = Some(Instant::now());
        }
    }

    /// Without a connection there is no reason to keep others from receiving.
    async fn let_go(&mut self, first: &mut bool) -> Result<(), Error> {
        if self.inbox.is_some() {
            let places = self.client.0.blocking(|inner| inner.transact(Mode::Read, unshown_places)).await?;
            self.let_go_at = Some(places.into_iter().max().or(self.let_go_at).unwrap_or(0));
            self.inbox = None;
            *first = true;
        }
        Ok(())
    }

    /// Takes the inbox back after a break, unless another process keeps it: that one came later, and stays. One that only
    /// looks at what waits before it sends has it for a moment.
    async fn take_back(&mut self) -> Result<(), Error> {
        if self.let_go_at.is_some() && self.inbox.is_none() {
            let held = self.client.0.home.hold(Exclusive::Inbox, LOOKED_AT).await;
            self.inbox = Some(Arc::new(held.map_err(|error| match error {
                Error::StoreLocked { .. } => Error::Displaced,
                error => error,
            })?));
        }
        Ok(())
    }

    /// From attaching to the end of the connection.
    async fn attached(&mut self, first: &mut bool, pause: &mut Duration) -> Result<ReceiveEnd, Error> {
        self.take_back().await?;
        // Who does not follow asks what waits now. A link that was told "nothing is left" earlier is not told again, and what
        // came since may be on its way: only attaching anew has an answer.
        let renew = match self.connection.link().inbox() {
            Inbox::Attached { caught_up } => caught_up && !self.options.follow,
            Inbox::InDoubt => true,
            Inbox::Detached => false,
        };
        if renew {
            self.connection.replace(self.client.establish().await?);
        }
        let established = self.connection.link();
        if established.inbox() == Inbox::Detached {
            // Until the answer is here, a call that is dropped leaves it open whether the relay delivers.
            established.set_inbox(Inbox::InDoubt);
            match established.link.request(client_frame::Body::Attach(v1::Attach {})).await? {
                Ok(server_frame::Body::Attached(_)) => {}
                Ok(_) => return Err(Error::RelayProtocol { what: "no answer to attaching" }),
                Err(refusal) => return Err(refusal.into_error()),
            }
            established.set_inbox(Inbox::Attached { caught_up: false });
            tracing::info!("the relay delivers");
        }
        // Attaching displaced whoever received until now. It lets go of the inbox once everything that it reported is
        // marked: only then is it sure what was not shown.
        if self.inbox.is_none() {
            let inner = &self.client.0;
            self.inbox = Some(Arc::new(inner.home.hold(Exclusive::Inbox, inner.options.lock_timeout).await?));
        }
        if let Some(full) = established.take_full() {
            let event = self.client.0.blocking(move |inner| notices::mailbox_full(inner, &full)).await?;
            if self.tell(event).await.is_break() {
                return Ok(ReceiveEnd::Stopped);
            }
        }
        if !self.clock_told
            && let Some(ahead_ms) = self.client.0.relay_clock.differs(self.client.0.now())
        {
            self.clock_told = true;
            if self.tell(Event::ClocksDiffer { ahead_ms }).await.is_break() {
                return Ok(ReceiveEnd::Stopped);
            }
        }
        let expired = established.take_expired();
        if expired > 0 {
            let stop = self.tell(Event::Expired { count: expired }).await;
            // Told before it is forgotten. An answer that says no changes nothing: it is told again.
            let forget = v1::AcknowledgeExpired { count: expired };
            let _ = established.link.request(client_frame::Body::AcknowledgeExpired(forget)).await?;
            if stop.is_break() {
                return Ok(ReceiveEnd::Stopped);
            }
        }
        if std::mem::take(first) {
            if let Some(end) = self.show_what_was_not_shown().await? {
                return Ok(end);
            }
            let waiting = self.client.0.blocking(|inner| inner.transact(Mode::Read, held::waiting_for_a_list)).await?;
            if let Some(end) = self.look_up_lists(&established, waiting).await? {
                return Ok(end);
            }
        }
        loop {
            let flush_now = self.flush_at.is_some_and(|at| at <= Instant::now());
            let at_hand = if flush_now { None } else { established.link.push_at_hand().await };
            let wake = match at_hand {
                _ if flush_now => Wake::Flush, // also under a steady stream of mail
                Some(push) => Wake::Push(push),
                None => self.next(&established).await?,
            };
            // It works: the next break starts with short pauses again.
            *pause = BACKOFF.0;
            match wake {
                Wake::Push(Push::Delivery(delivery)) => {
                    established.set_inbox(Inbox::InDoubt);
                    let (batch, behind) = gather(&established, delivery).await;
                    let end = self.take(&established, batch).await?;
                    // Only here: had the call been dropped on the way, the word behind the batch would be lost.
                    established.set_inbox(Inbox::Attached { caught_up: false });
                    if let Some(end) = end {
                        // The word behind the batch is news for the next call.
                        match behind {
                            Some(Push::CaughtUp) => established.set_inbox(Inbox::Attached { caught_up: true }),
                            Some(Push::Displaced) => established.set_inbox(Inbox::Detached),
                            _ => {}
                        }
                        return Ok(end);
                    }
                    if let Some(push) = behind
                        && let Some(end) = self.word(&established, push).await?
                    {
                        return Ok(end);
                    }
                }
                Wake::Push(push) => {
                    if let Some(end) = self.word(&established, push).await? {
                        return Ok(end);
                    }
                }
                Wake::Flush => self.flush().await?,
                Wake::Maintain => self.maintain().await?,
                Wake::Probe => self.probe(&established).await?,
            }
        }
    }

    async fn show_what_was_not_shown(&mut self) -> Result<Option<ReceiveEnd>, Error> {
        let inner = &self.client.0;
        let after = self.let_go_at.unwrap_or(0);
        let left = inner.blocking(move |inner| inner.transact(Mode::Read, |tx| unshown(tx, after))).await?;
        let mut events = inner.blocking(|inner| notices::changed_names(inner)).await?;
        events.extend(left.into_iter().map(Event::Message));
        // A crash may have left receipts behind.
        self.flush_at = Some(Instant::now());
        Ok(self.tell_all(events).await)
    }

    async fn next(&mut self, established: &Established) -> Result<Wake, Error> {
        let mut due = (self.maintain_at, Wake::Maintain);
        if self.options.follow && self.probe_at < due.0 {
            due = (self.probe_at, Wake::Probe);
        }
        if let Some(at) = self.flush_at.filter(|at| *at < due.0) {
            due = (at, Wake::Flush);
        }
        let (due, wake) = due;
        // Without following, a relay that says nothing at all does not keep us.
        let patience = Instant::now() + self.client.0.options.request_timeout;
        let until = if self.options.follow { due } else { due.min(patience) };
        match timeout_at(until, established.link.next_push()).await {
            Ok(push) => {
                (self.probe_at, self.probes) = (Instant::now() + PROBES[0], 0);
                Ok(Wake::Push(push?))
            }
            Err(_) if until == due => Ok(wake),
            Err(_) => Err(Error::RequestTimeout { seconds: self.client.0.options.request_timeout.as_secs() }),
        }
    }

    /// Any answer will do; without one the link breaks.
    async fn probe(&mut self, established: &Established) -> Result<(), Error> {
        tracing::debug!("asking whether the relay is still there");
        let question = client_frame::Body::CountPrekeys(v1::CountPrekeys {});
        established.link.request(question).await?.map_err(Refusal::into_error)?;
        self.probes += 1;
        // After the last one QUIC's keep-alive has to do.
        self.probe_at = Instant::now() + PROBES.get(self.probes).copied().unwrap_or(MAINTENANCE);
        Ok(())
    }

    /// A push that is no delivery.
    async fn word(&mut self, established: &Established, push: Push) -> Result<Option<ReceiveEnd>, Error> {
        match push {
            Push::Delivery(_) => Ok(None), // gathered by the caller
            Push::CaughtUp => {
                tracing::info!("nothing more waits at the relay");
                established.set_inbox(Inbox::Attached { caught_up: true });
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
                Err(Error::Displaced)
            }
            Push::GoingAway => Err(Error::RelayUnavailable { detail: "it shuts down".to_owned() }),
        }
    }

    /// Opens, commits, acknowledges and reports a batch.
    async fn take(&mut self, established: &Established, batch: Vec<v1::Delivery>) -> Result<Option<ReceiveEnd>, Error> {
        let Some(up_to) = batch.iter().map(|delivery| delivery.cursor).max() else { return Ok(None) };
        let (inbox, count, begun) = (self.inbox.clone(), batch.len(), Instant::now());
        let outcome = self
            .client
            .0
            .blocking(move |inner| {
                let _until_committed = inbox;
                inner.transact(Mode::Write, |tx| {
                    let opens_sealed = disclosure::row(tx)?.opens_sealed(inner.certain_now());
                    let check = |delivery| Incoming::check(&inner.device, delivery, opens_sealed);
                    open_batch(inner, tx, batch.into_iter().map(check).collect())
                })
            })
            .await?;
        tracing::info!(envelopes = count, milliseconds = millis(begun.elapsed()), "received and stored");
        let acknowledge = client_frame::Body::Acknowledge(v1::Acknowledge { up_to });
        match established.link.request(acknowledge).await {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => return Err(refusal.into_error()),
            Err(error) => {
                // Committed is committed: show it, then see to the connection.
                return match self.tell_all(outcome.events).await {
                    Some(end) => Ok(Some(end)),
                    None => Err(error),
                };
            }
        }
        if outcome.receipts_due {
            self.flush_by(Instant::now() + RECEIPT_DELAY);
        }
        if outcome.prekeys_used {
            // Behind the receipts: the deliveries come first.
            self.maintain_at = self.maintain_at.min(Instant::now() + 2 * RECEIPT_DELAY);
        }
        if let Some(end) = self.tell_all(outcome.events).await {
            return Ok(Some(end));
        }
        self.look_up_lists(established, outcome.lists_wanted).await
    }

    /// Fetches the newest device lists of contacts that wrote from a device that the known ones leave out, and opens what
    /// waited for them.
    async fn look_up_lists(
        &mut self,
        established: &Established,
        accounts: BTreeSet<AccountId>,
    ) -> Result<Option<ReceiveEnd>, Error> {
        for account in accounts {
            let opened = lists::open_with_newest(&self.client.0, established, account).await?;
            if opened.receipts_due {
                self.flush_by(Instant::now() + RECEIPT_DELAY);
            }
            if let Some(end) = self.tell_all(opened.events).await {
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
    async fn tell_all(&mut self, events: Vec<Event>) -> Option<ReceiveEnd> {
        let max = self.options.max.unwrap_or(u64::MAX);
        for event in self.notices.sum_up(events, Instant::now()) {
            let is_message = matches!(event, Event::Message(_));
            if is_message && self.shown >= max {
                continue;
            }
            let stop = self.tell(event).await;
            if is_message {
                self.shown += 1;
                // Reading it makes a receipt due.
                self.flush_by(Instant::now() + RECEIPT_DELAY);
            }
            if stop.is_break() {
                return Some(ReceiveEnd::Stopped);
            }
        }
        (self.shown >= max).then_some(ReceiveEnd::Max)
    }

    /// Has the outbox flushed at this time, unless that is to happen sooner anyway. A receipt that is held back must not hold
    /// back what is due before it.
    fn flush_by(&mut self, at: Instant) {
        self.flush_at = Some(self.flush_at.map_or(at, |planned| planned.min(at)));
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.flush_at = None;
        match self.client.flush_with(self.connection, Duration::ZERO, &mut |_| {}).await {
            Ok(report) => {
                for accepted in report.accepted {
                    // Too late to stop anything: it is sent.
                    let _ = self.tell(Event::Accepted(accepted)).await;
                }
                self.wait_for_late_receipts().await
            }
            // Another process or task sends at the moment, or the relay asks for patience: later.
            Err(Error::StoreLocked { .. } | Error::Limited { .. }) => {
                self.flush_at = Some(Instant::now() + RECEIPT_DELAY);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Receipts that are held back go out when their time comes, if this is still connected then.
    async fn wait_for_late_receipts(&mut self) -> Result<(), Error> {
        let inner = &self.client.0;
        let left = inner.blocking(|inner| inner.transact(Mode::Read, |tx| receipts::next(tx, inner.now()))).await?;
        if let Some(left) = left {
            self.flush_by(Instant::now() + Duration::from_millis(left));
        }
        Ok(())
    }

    async fn maintain(&mut self) -> Result<(), Error> {
        self.maintain_at = Instant::now() + MAINTENANCE;
        // A reset whose hour has come.
        self.flush_by(Instant::now());
        let established = self.connection.link();
        self.client.0.relay_clock.heard(established.relay_now());
        let caught_up = (established.inbox() == Inbox::Attached { caught_up: true }).then(|| established.relay_now());
        let tidied = self.client.0.blocking(move |inner| {
            // What is too old is decided by two clocks. [`crate::certain`]
            let Some(now) = inner.certain_now() else { return Ok(0) };
            inner.transact(Mode::Write, |tx| {
                caught_up.map_or(Ok(()), |at| prekeys::note_caught_up(tx, at))?;
                tidy(tx, now)
            })
        });
        let expired = tidied.await?;
        if expired > 0 {
            // Too late to stop anything.
            let _ = self.tell(Event::Expired { count: expired }).await;
        }
        let _ = self.tell_what_was_held_back().await;
        match prekeys::maintain(&self.client.0, self.connection).await {
            Err(error) if error.is_connection() => Err(error),
            Err(error) => {
                // Mail still comes; without fresh one-time prekeys strangers are a little less safe.
                tracing::warn!(code = error.code(), "prekeys were not looked after");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Receipts for what was just shown, and fresh prekeys for those that were just used.
    async fn farewell(&mut self) -> Result<(), Error> {
        self.inbox = None;
        let done = timeout(FAREWELL, async {
            if self.flush_at.is_some() {
                self.flush().await?;
            }
            self.maintain().await
        });
        match done.await {
            // They are in the store, and go out next time.
            Err(_) => Ok(()),
            Ok(Err(error)) if error.is_connection() => Ok(()),
            Ok(result) => result,
        }
    }
}

/// Takes the deliveries that are here already, up to a window's worth; and the word that came behind them.
async fn gather(established: &Established, first: v1::Delivery) -> (Vec<v1::Delivery>, Option<Push>) {
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
fn tidy(tx: &dyn Transaction, now: u64) -> Result<u64, Error> {
    let last = tx.get(Table::Own, state::own::TIDIED)?;
    let last = last.and_then(|value| value.as_slice().try_into().ok()).map_or(0, u64::from_be_bytes);
    if now.abs_diff(last) < DAY_MS {
        return Ok(0);
    }
    tx.put(Table::Own, state::own::TIDIED, &now.to_be_bytes())?;
    forget_received(tx, now)?;
    held::expire(tx, now)
}

/// They stand in order of arrival: from the oldest on, a page at a time, up to the first that is young enough.
fn forget_received(tx: &dyn Transaction, now: u64) -> Result<(), Error> {
    let is_old = |value: &[u8]| {
        let at = value.try_into().map(u64::from_be_bytes).map_err(|_| state::damaged("received"))?;
        Ok::<_, Error>(now.saturating_sub(at) > REMEMBER_RECEIVED_MS)
    };
    loop {
        let page = tx.scan(Log::Received, None, 0, TIDY_PAGE)?;
        let whole = page.len() == TIDY_PAGE;
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

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

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kuvert_protocol::initiator_certificate;
use kuvert_protocol::replay::ReplayRecord;
use kuvert_protocol::session::{DecryptError, SessionRecord};
use kuvert_types::limits::DELIVERY_WINDOW;
use kuvert_types::{AccountId, Address, EnvelopeId, UnverifiedDeviceCertificate};
use kuvert_wire::checked::Envelope;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::get_account::By;
use kuvert_wire::v1::{self, client_frame, server_frame};
use prost::Message as _;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::bridge::{self, Body, Content};
use crate::client::{Client, Connection, Inner};
use crate::connect::{Established, Inbox, look_up};
use crate::contacts::{Account, Compared, Contact, free_alias};
use crate::devices;
use crate::error::Error;
use crate::event::{Event, ListConflict, ReceiptKind, Refusal};
use crate::home::{Exclusive, Held};
use crate::options::ReceiveOptions;
use crate::prekeys::{self, Secrets};
use crate::records::{Direction, MessageRecord, MessageRef, ReceiveEnd};
use crate::resets;
use crate::rng;
use crate::send::{alias, session};
use crate::state::{self, MessageRow, Progress, Stored, message_key, receipt_key};
use crate::store::{Log, Mode, Table, Transaction};
use crate::transport::Push;

/// How long receipts gather before they are sent, so that a burst of messages makes one envelope of receipts.
const RECEIPT_DELAY: Duration = Duration::from_millis(200);

/// How often a client that stays connected looks after its prekeys.
const MAINTENANCE: Duration = Duration::from_secs(60 * 60);

/// Between two tries to reconnect: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// How long the last receipts may take when the caller's time is up.
const FAREWELL: Duration = Duration::from_secs(2);

/// Accounts that are looked up for one batch of deliveries. More strangers than that at once are named by their account.
const LOOK_UPS_PER_BATCH: usize = 16;

/// Envelope ids are remembered for as long as a sender may submit them again.
const REMEMBER_RECEIVED_MS: u64 = 45 * 24 * 60 * 60 * 1000;

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
        let mut run = Receiver {
            client: self,
            connection,
            options,
            on_event,
            shown: 0,
            flush_at: None,
            maintain_at: Instant::now(),
            inbox: None,
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

    /// Messages that were stored and never marked as shown, in order of arrival.
    ///
    /// # Errors
    /// Those of the store.
    pub fn unshown(&self) -> Result<Vec<MessageRecord>, Error> {
        self.0.transact(Mode::Read, unshown)
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
                // Once: a message that is marked twice was read once.
                if read && was_unshown {
                    tx.put(Table::ReceiptDue, &receipt_key(message), &[2])?;
                }
            }
            Ok(())
        })
    }
}

fn unshown(tx: &dyn Transaction) -> Result<Vec<MessageRecord>, Error> {
    let mut aliases = HashMap::new();
    let mut messages = Vec::new();
    for (key, _) in tx.list(Table::Unshown)? {
        let place = key.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| state::damaged("unshown"))?;
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

/// One call of [`Client::receive`].
struct Receiver<'a, F> {
    client: &'a Client,
    connection: &'a Connection,
    options: ReceiveOptions,
    on_event: F,
    shown: u64,
    /// Receipts are due, or a flush failed.
    flush_at: Option<Instant>,
    maintain_at: Instant,
    inbox: Option<Held>,
}

/// What the receiver woke up for.
enum Wake {
    Push(Push),
    Flush,
    Maintain,
}

impl<F: FnMut(Event) -> ControlFlow<()> + Send> Receiver<'_, F> {
    async fn run(&mut self) -> Result<ReceiveEnd, Error> {
        let mut first = true;
        let mut pause = BACKOFF.0;
        loop {
            let result = self.attached(&mut first, &mut pause).await;
            let error = match result {
                Ok(end) => return Ok(end),
                Err(error) if self.options.follow && error.is_connection() => error,
                Err(error) => return Err(error),
            };
            let event = Event::Disconnected { code: error.code(), message: error.to_string() };
            if self.tell(event).is_break() {
                return Ok(ReceiveEnd::Stopped);
            }
            loop {
                sleep(pause).await;
                pause = (pause * 2).min(BACKOFF.1);
                match self.client.establish().await {
                    Ok(established) => {
                        self.connection.replace(established);
                        break;
                    }
                    Err(error) if error.is_connection() => {}
                    Err(error) => return Err(error),
                }
            }
            if self.tell(Event::Reconnected).is_break() {
                return Ok(ReceiveEnd::Stopped);
            }
            // What was written meanwhile.
            self.flush_at = Some(Instant::now());
        }
    }

    /// From attaching to the end of the connection.
    async fn attached(&mut self, first: &mut bool, pause: &mut Duration) -> Result<ReceiveEnd, Error> {
        if self.connection.link().inbox() == Inbox::InDoubt {
            self.connection.replace(self.client.establish().await?);
        }
        let established = self.connection.link();
        if established.inbox() == Inbox::Detached {
            match established.link.request(client_frame::Body::Attach(v1::Attach {})).await? {
                Ok(server_frame::Body::Attached(_)) => {}
                Ok(_) => return Err(Error::RelayProtocol { what: "no answer to attaching" }),
                Err(refusal) => return Err(refusal.into_error()),
            }
            established.set_inbox(Inbox::Attached { caught_up: false });
        }
        // Attaching displaced whoever received until now. It lets go of the inbox once everything that it reported is
        // marked: only then is it sure what was not shown.
        if self.inbox.is_none() {
            let inner = &self.client.0;
            self.inbox = Some(inner.home.hold(Exclusive::Inbox, inner.options.lock_timeout).await?);
        }
        let expired = established.take_expired();
        if expired > 0 {
            let stop = self.tell(Event::Expired { count: expired });
            // Told before it is forgotten. An answer that says no changes nothing: it is told again.
            let forget = v1::AcknowledgeExpired { count: expired };
            let _ = established.link.request(client_frame::Body::AcknowledgeExpired(forget)).await?;
            if stop.is_break() {
                return Ok(ReceiveEnd::Stopped);
            }
        }
        if std::mem::take(first)
            && let Some(end) = self.show_what_was_not_shown().await?
        {
            return Ok(end);
        }
        loop {
            // An earlier call on this connection may have heard the word already.
            let caught_up = established.inbox() == Inbox::Attached { caught_up: true };
            let flush_now = self.flush_at.is_some_and(|at| at <= Instant::now());
            let at_hand = if flush_now { None } else { established.link.push_at_hand().await };
            let wake = match at_hand {
                _ if flush_now => Wake::Flush, // also under a steady stream of mail
                Some(push) => Wake::Push(push),
                None if caught_up && !self.options.follow => return Ok(ReceiveEnd::CaughtUp),
                None => self.next(&established).await?,
            };
            // It works: the next break starts with short pauses again.
            *pause = BACKOFF.0;
            match wake {
                Wake::Push(Push::Delivery(delivery)) => {
                    established.set_inbox(Inbox::InDoubt);
                    let (batch, behind) = gather(&established, delivery).await;
                    let end = self.take(&established, batch).await?;
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
                        && let Some(end) = self.word(&established, push)?
                    {
                        return Ok(end);
                    }
                }
                Wake::Push(push) => {
                    if let Some(end) = self.word(&established, push)? {
                        return Ok(end);
                    }
                }
                Wake::Flush => self.flush().await?,
                Wake::Maintain => self.maintain().await?,
            }
        }
    }

    async fn show_what_was_not_shown(&mut self) -> Result<Option<ReceiveEnd>, Error> {
        let inner = &self.client.0;
        let left = inner.blocking(|inner| inner.transact(Mode::Read, unshown)).await?;
        let events = left.into_iter().map(Event::Message).collect();
        // A crash may have left receipts behind.
        self.flush_at = Some(Instant::now());
        Ok(self.tell_all(events))
    }

    async fn next(&mut self, established: &Established) -> Result<Wake, Error> {
        let (due, wake) = match self.flush_at {
            Some(at) if at <= self.maintain_at => (at, Wake::Flush),
            _ => (self.maintain_at, Wake::Maintain),
        };
        // Without following, a relay that says nothing at all does not keep us.
        let patience = Instant::now() + self.client.0.options.request_timeout;
        let until = if self.options.follow { due } else { due.min(patience) };
        match timeout_at(until, established.link.next_push()).await {
            Ok(push) => Ok(Wake::Push(push?)),
            Err(_) if until == due => Ok(wake),
            Err(_) => Err(Error::RequestTimeout { seconds: self.client.0.options.request_timeout.as_secs() }),
        }
    }

    /// A push that is no delivery.
    fn word(&mut self, established: &Established, push: Push) -> Result<Option<ReceiveEnd>, Error> {
        match push {
            Push::Delivery(_) => Ok(None), // gathered by the caller
            Push::CaughtUp => {
                established.set_inbox(Inbox::Attached { caught_up: true });
                if self.tell(Event::CaughtUp).is_break() {
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
        let envelopes: Vec<Incoming> = batch.into_iter().map(Incoming::check).collect();
        let accounts = look_up_strangers(&self.client.0, established, &envelopes).await?;
        let outcome = self
            .client
            .0
            .blocking(move |inner| inner.transact(Mode::Write, |tx| open_batch(inner, tx, envelopes, &accounts)))
            .await?;
        established.set_inbox(Inbox::Attached { caught_up: false });
        let acknowledge = client_frame::Body::Acknowledge(v1::Acknowledge { up_to });
        match established.link.request(acknowledge).await {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => return Err(refusal.into_error()),
            Err(error) => {
                // Committed is committed: show it, then see to the connection.
                return match self.tell_all(outcome.events) {
                    Some(end) => Ok(Some(end)),
                    None => Err(error),
                };
            }
        }
        if outcome.receipts_due {
            self.flush_at.get_or_insert(Instant::now() + RECEIPT_DELAY);
        }
        if outcome.prekeys_used {
            // Behind the receipts: the deliveries come first.
            self.maintain_at = self.maintain_at.min(Instant::now() + 2 * RECEIPT_DELAY);
        }
        Ok(self.tell_all(outcome.events))
    }

    fn tell(&mut self, event: Event) -> ControlFlow<()> {
        (self.on_event)(event)
    }

    /// Reports events. Messages beyond the caller's maximum stay unshown; whatever else happened is still said.
    fn tell_all(&mut self, events: Vec<Event>) -> Option<ReceiveEnd> {
        let max = self.options.max.unwrap_or(u64::MAX);
        for event in events {
            let is_message = matches!(event, Event::Message(_));
            if is_message && self.shown >= max {
                continue;
            }
            let stop = self.tell(event);
            if is_message {
                self.shown += 1;
                // Reading it makes a receipt due.
                self.flush_at.get_or_insert(Instant::now() + RECEIPT_DELAY);
            }
            if stop.is_break() {
                return Some(ReceiveEnd::Stopped);
            }
        }
        (self.shown >= max).then_some(ReceiveEnd::Max)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.flush_at = None;
        match self.client.flush_with(self.connection, Duration::ZERO, &mut |_| {}).await {
            Ok(_) => Ok(()),
            // Another process or task sends at the moment, or the relay asks for patience: later.
            Err(Error::StoreLocked { .. } | Error::Limited { .. }) => {
                self.flush_at = Some(Instant::now() + RECEIPT_DELAY);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn maintain(&mut self) -> Result<(), Error> {
        self.maintain_at = Instant::now() + MAINTENANCE;
        self.client.0.blocking(|inner| inner.transact(Mode::Write, |tx| forget_received(tx, inner.now()))).await?;
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

/// A delivery after the checks that need nothing but itself.
enum Incoming {
    Envelope {
        id: EnvelopeId,
        recipient: Address,
        source: Option<Address>,
        ciphertext: Bytes,
        /// The certificate in a first message, unverified.
        initiator: Option<UnverifiedDeviceCertificate>,
    },
    Unreadable(Option<EnvelopeId>),
}

impl Incoming {
    fn check(delivery: v1::Delivery) -> Self {
        let Some(envelope) = delivery.envelope else { return Self::Unreadable(None) };
        let id = EnvelopeId::try_from(envelope.id.as_ref()).ok();
        let Ok(Envelope { id, recipient, source, ciphertext }) = Envelope::try_from(envelope) else {
            return Self::Unreadable(id);
        };
        // What is no session message fails again, with a reason, when it is opened.
        let initiator = initiator_certificate(&ciphertext).unwrap_or_default();
        Self::Envelope { id, recipient, source, ciphertext, initiator }
    }
}

/// Looks up accounts that a batch needs: strangers, and contacts that write from a device that the list here lacks.
async fn look_up_strangers(
    inner: &Arc<Inner>,
    established: &Established,
    envelopes: &[Incoming],
) -> Result<HashMap<AccountId, Account>, Error> {
    let mut wanted: Vec<(AccountId, Option<UnverifiedDeviceCertificate>)> = Vec::new();
    for incoming in envelopes {
        if let Incoming::Envelope { source: Some(source), initiator, .. } = incoming
            && !wanted.contains(&(source.account, *initiator))
        {
            wanted.push((source.account, *initiator));
        }
    }
    let wanted = inner
        .blocking(move |inner| {
            inner.transact(Mode::Read, |tx| {
                let mut missing = HashSet::new();
                for (account, initiator) in wanted {
                    let needed = match Contact::get(tx, &account)? {
                        None => account != inner.own.address.account,
                        Some(contact) => lists(&contact, initiator)? == Some(false),
                    };
                    if needed {
                        missing.insert(account);
                    }
                }
                Ok(missing)
            })
        })
        .await?;
    let mut accounts = HashMap::new();
    for id in wanted.into_iter().take(LOOK_UPS_PER_BATCH) {
        match look_up(&established.link, By::Account(id.as_bytes().to_vec().into())).await? {
            Ok(record) => {
                // A record that does not check is none: the message itself says who wrote it.
                if let Ok(account) = Account::check(&record)
                    && account.id == id
                {
                    accounts.insert(id, account);
                }
            }
            Err(refusal) if matches!(refusal.code, Code::UnknownRecipient | Code::Limited) => {}
            Err(refusal) => return Err(refusal.into_error()),
        }
    }
    Ok(accounts)
}

/// Whether the contact's known list names the device of this certificate; `None` if there is nothing to compare.
fn lists(contact: &Contact, initiator: Option<UnverifiedDeviceCertificate>) -> Result<Option<bool>, Error> {
    let Some(certificate) = initiator.and_then(|certificate| certificate.verify().ok()) else { return Ok(None) };
    Ok(devices::of(&contact.row)?.map(|list| list.names(&certificate)))
}

/// What a transaction over a batch did.
struct Opened {
    events: Vec<Event>,
    receipts_due: bool,
    prekeys_used: bool,
}

fn open_batch(
    inner: &Inner,
    tx: &dyn Transaction,
    envelopes: Vec<Incoming>,
    accounts: &HashMap<AccountId, Account>,
) -> Result<Opened, Error> {
    let mut opener = Opener {
        inner,
        tx,
        now: inner.now(),
        accounts,
        sessions: HashMap::new(),
        replay: prekeys::replay_record(tx)?,
        replay_changed: false,
        opened: Opened { events: Vec::new(), receipts_due: false, prekeys_used: false },
    };
    for envelope in envelopes {
        opener.open(envelope)?;
    }
    opener.finish()
}

/// Opens the envelopes of one batch within one transaction; each session is read and written once.
struct Opener<'a> {
    inner: &'a Inner,
    tx: &'a dyn Transaction,
    now: u64,
    accounts: &'a HashMap<AccountId, Account>,
    sessions: HashMap<Address, SessionRecord>,
    replay: ReplayRecord,
    replay_changed: bool,
    opened: Opened,
}

impl Opener<'_> {
    fn finish(self) -> Result<Opened, Error> {
        for (address, session) in &self.sessions {
            if !session.is_empty() {
                self.tx.put(Table::Session, &address.to_bytes(), &session.encode())?;
            }
        }
        if self.replay_changed {
            self.tx.put(Table::Own, state::own::REPLAY, &self.replay.encode())?;
        }
        Ok(self.opened)
    }

    fn say(&mut self, event: Event) {
        self.opened.events.push(event);
    }

    fn refuse(&mut self, envelope: impl Into<Option<EnvelopeId>>, reason: Refusal) {
        self.say(Event::Refused { envelope: envelope.into(), reason });
    }

    fn open(&mut self, incoming: Incoming) -> Result<(), Error> {
        let (id, recipient, source, ciphertext, initiator) = match incoming {
            Incoming::Envelope { id, recipient, source, ciphertext, initiator } => {
                (id, recipient, source, ciphertext, initiator)
            }
            Incoming::Unreadable(id) => {
                self.refuse(id, Refusal::Malformed);
                return Ok(());
            }
        };
        if recipient != self.inner.own.address {
            self.refuse(id, Refusal::Misdelivered);
            return Ok(());
        }
        if self.tx.get(Table::Received, id.as_bytes())?.is_some() {
            // Delivered again because an acknowledgement got lost, or submitted again because an answer did.
            return Ok(());
        }
        self.tx.put(Table::Received, id.as_bytes(), &self.now.to_be_bytes())?;
        // Senders of this version always say who they are.
        let Some(source) = source.filter(|source| source.account != self.inner.own.address.account) else {
            self.refuse(id, Refusal::WrongSource);
            return Ok(());
        };
        let Some(mut contact) = self.contact(&source, initiator.as_ref())? else {
            self.refuse(id, Refusal::UnknownSender);
            return Ok(());
        };
        if !self.may_open(&mut contact, id, &source, initiator)? {
            return Ok(());
        }
        self.decrypt(contact, id, source, &ciphertext)
    }

    /// The contact, made now if it is a stranger who says under which key it writes.
    fn contact(
        &mut self,
        source: &Address,
        initiator: Option<&UnverifiedDeviceCertificate>,
    ) -> Result<Option<Contact>, Error> {
        if let Some(contact) = Contact::get(self.tx, &source.account)? {
            return Ok(Some(contact));
        }
        let looked_up = self.accounts.get(&source.account);
        // Trust on first use: the key that the message itself proves. The relay's word only where the message has none, so
        // that somebody whose sessions this home has lost can be answered.
        let key = match initiator.map(|certificate| certificate.claimed()) {
            Some(claimed) if claimed.address == *source => Some(claimed.account_key),
            Some(_) => None,
            None => looked_up.map(|account| account.key),
        };
        let Some(key) = key else { return Ok(None) };
        let account = looked_up.filter(|account| account.key == key);
        let name = account.and_then(|account| account.name.clone());
        let alias = free_alias(self.tx, &source.account, name.as_deref())?;
        let mut contact = Contact::new(source.account, key, name, alias, self.now);
        if let Some(account) = account
            && contact.compare(account)? != Compared::Fits
        {
            return Err(Error::Internal { what: "a fresh contact contradicts itself" });
        }
        Ok(Some(contact))
    }

    /// Whether the message comes under the pinned key and from a device that the account lists.
    fn may_open(
        &mut self,
        contact: &mut Contact,
        id: EnvelopeId,
        source: &Address,
        initiator: Option<UnverifiedDeviceCertificate>,
    ) -> Result<bool, Error> {
        let Some(certificate) = initiator else { return Ok(true) };
        let claimed = *certificate.claimed();
        if claimed.address != *source {
            self.refuse(id, Refusal::WrongSource);
            return Ok(false);
        }
        if certificate.verify().is_err() {
            self.refuse(id, Refusal::Malformed);
            return Ok(false);
        }
        if claimed.account_key != contact.row.key()? {
            if contact.note_key(&claimed.account_key) {
                contact.save(self.tx)?;
            }
            let (account, who) = (contact.account, contact.row.alias.clone());
            self.say(Event::IdentityChanged { account, who });
            return Ok(false);
        }
        if lists(contact, Some(certificate))? == Some(false) {
            // Looked up for this batch: the list may be newer than the one here.
            let fresh = self.accounts.get(&contact.account).map(|account| contact.compare(account)).transpose()?;
            match fresh {
                Some(Compared::Fits) => contact.save(self.tx)?,
                Some(Compared::Conflict(conflict)) => self.conflict(contact, conflict),
                Some(Compared::KeyChanged) | None => {}
            }
            if lists(contact, Some(certificate))? == Some(false) {
                self.refuse(id, Refusal::UnlistedDevice);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn conflict(&mut self, contact: &Contact, conflict: ListConflict) {
        let (account, who) = (contact.account, contact.row.alias.clone());
        self.say(Event::DeviceListConflict { account, who, conflict });
    }

    fn decrypt(&mut self, contact: Contact, id: EnvelopeId, source: Address, ciphertext: &[u8]) -> Result<(), Error> {
        if !self.sessions.contains_key(&source) {
            self.sessions.insert(source, session(self.tx, &source)?);
        }
        let Some(record) = self.sessions.get_mut(&source) else { return Ok(()) };
        let secrets = Secrets::new(self.tx);
        let result = record.decrypt(
            &self.inner.device,
            source,
            ciphertext,
            &secrets,
            &mut self.replay,
            self.now,
            &mut rng::system_rng(),
        );
        secrets.failure()?;
        let decrypted = match result {
            Ok(decrypted) => decrypted,
            Err(error) => return self.undecryptable(&contact, id, source, error),
        };
        if let Some(used) = &decrypted.used {
            prekeys::delete_used(self.tx, used)?;
            self.replay_changed = true;
            self.opened.prekeys_used = true;
        }
        // Only now is a stranger who he says he is.
        if Contact::get(self.tx, &contact.account)?.is_none() {
            contact.save(self.tx)?;
            self.say(Event::NewContact(contact.info()));
        }
        if decrypted.pq_failure.is_some() && !contact.row.blocked {
            self.lost_each_other(&contact, id, source)?;
        }
        if contact.row.blocked {
            // Opened, so that the session stays in step; dropped, as the owner wants it.
            return Ok(());
        }
        match bridge::open_content(&decrypted.plaintext) {
            Ok(content) => self.take(contact, source, content),
            Err(_) => {
                self.refuse(id, Refusal::BadContent);
                Ok(())
            }
        }
    }

    fn undecryptable(
        &mut self,
        contact: &Contact,
        id: EnvelopeId,
        source: Address,
        error: DecryptError,
    ) -> Result<(), Error> {
        if contact.row.blocked {
            return Ok(());
        }
        match error {
            DecryptError::Malformed | DecryptError::InvalidHandshake => self.refuse(id, Refusal::Malformed),
            DecryptError::Replayed => self.refuse(id, Refusal::Replayed),
            DecryptError::Duplicate => {
                self.refuse(id, Refusal::Replayed);
                // A relay's replay, or a sender whose home was restored from a backup and counts messages anew. A fresh
                // session mends the second and costs the first next to nothing.
                self.opened.receipts_due |= resets::request(self.tx, &source, self.now)?;
            }
            DecryptError::AccountMismatch => self.refuse(id, Refusal::WrongSource),
            DecryptError::IdentityChanged { .. } => {
                let (account, who) = (contact.account, contact.row.alias.clone());
                self.say(Event::IdentityChanged { account, who });
            }
            DecryptError::UnknownPrekey
            | DecryptError::ReplayRecordFull
            | DecryptError::NoSession
            | DecryptError::Undecryptable
            | DecryptError::TooManySkipped
            | DecryptError::PqAuthFailed(_) => self.lost_each_other(contact, id, source)?,
        }
        Ok(())
    }

    /// Something of a contact's cannot be opened: says so, and asks for a fresh session.
    fn lost_each_other(&mut self, contact: &Contact, envelope: EnvelopeId, source: Address) -> Result<(), Error> {
        let known = Contact::get(self.tx, &contact.account)?.is_some();
        // A stranger's forgery must not fill the address book or make us write to somebody.
        let reset_queued = known && resets::request(self.tx, &source, self.now)?;
        self.opened.receipts_due |= reset_queued;
        let (account, who) = (contact.account, contact.row.alias.clone());
        self.say(Event::Undecryptable { account, who, envelope, reset_queued });
        Ok(())
    }

    /// Takes an authentic content.
    fn take(&mut self, mut contact: Contact, source: Address, content: Content) -> Result<(), Error> {
        let before = contact.row.clone();
        if let Err(conflict) = devices::note_claim(&mut contact.row, content.sender_list)? {
            self.conflict(&contact, conflict);
        }
        if contact.row != before {
            contact.save(self.tx)?;
        }
        if let Err(conflict) = devices::check_belief(self.inner.own.list.state(), content.recipient_list) {
            let account = self.inner.own.address.account;
            self.say(Event::DeviceListConflict { account, who: "you".to_owned(), conflict });
        }
        match content.body {
            Body::Text(text) => self.take_text(&contact, content.id, content.sent_at, text),
            Body::Receipts { delivered, read } => {
                self.take_receipts(&contact, &delivered, ReceiptKind::Delivered)?;
                self.take_receipts(&contact, &read, ReceiptKind::Read)
            }
            Body::SessionReset => {
                if resets::send_again(self.tx, &source, self.now)? > 0 {
                    self.opened.receipts_due = true;
                }
                let (account, who) = (contact.account, contact.row.alias.clone());
                self.say(Event::SessionReset { account, who });
                Ok(())
            }
            Body::Unknown => Ok(()),
        }
    }

    fn take_text(&mut self, contact: &Contact, id: EnvelopeId, sent_at: u64, text: String) -> Result<(), Error> {
        let message = MessageRef { account: contact.account, id };
        let row = MessageRow {
            account: contact.account.as_bytes().to_vec(),
            id: id.as_bytes().to_vec(),
            outgoing: false,
            text,
            sent_at,
            stored_at: self.now,
            ..MessageRow::default()
        };
        let key = message_key(Direction::Incoming, &message);
        let place = self.tx.append(Log::Message, contact.account.as_bytes(), &key, &row.encode_to_vec())?;
        // A text that is here already was sent again after a reset: its receipt got lost, or is on its way.
        self.tx.put(Table::ReceiptDue, &receipt_key(&message), &[1])?;
        self.opened.receipts_due = true;
        if let Some(place) = place {
            self.tx.put(Table::Unshown, &place.to_be_bytes(), &[])?;
            let record = Stored { place, row }.record(self.tx, &contact.row.alias)?;
            self.say(Event::Message(record));
        }
        Ok(())
    }

    fn take_receipts(&mut self, contact: &Contact, ids: &[EnvelopeId], kind: ReceiptKind) -> Result<(), Error> {
        let progress = match kind {
            ReceiptKind::Delivered => Progress::Delivered,
            ReceiptKind::Read => Progress::Read,
        };
        for id in ids {
            // Only the one who received a message can confirm it.
            let message = MessageRef { account: contact.account, id: *id };
            if state::raise(self.tx, &message, progress, "")? {
                let from = contact.row.alias.clone();
                self.say(Event::Receipt { message, from, kind, at: self.now });
            }
        }
        Ok(())
    }
}

/// Forgets envelope ids that nobody can submit again.
fn forget_received(tx: &dyn Transaction, now: u64) -> Result<(), Error> {
    for (key, value) in tx.list(Table::Received)? {
        let at = value.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| state::damaged("received"))?;
        if now.saturating_sub(at) > REMEMBER_RECEIVED_MS {
            tx.delete(Table::Received, &key)?;
        }
    }
    Ok(())
}

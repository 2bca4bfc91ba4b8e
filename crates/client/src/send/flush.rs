//! One run over the outbox: contacts are made ready (`prepare`), entries sealed, submitted without waiting in between, and
//! noted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kuvert_types::{AccountId, Address, DeviceId, EnvelopeId};
use kuvert_wire::checked;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::{self, client_frame, server_frame};
use tokio::time::sleep;

use super::alias;
use super::seal::Sealer;
use super::sealed::SealedMail;
use crate::blocking;
use crate::bridge;
use crate::client::{Connection, Inner};
use crate::contacts::Contact;
use crate::disclosure;
use crate::error::Error;
use crate::patience::millis;
use crate::receipts;
use crate::records::{Accepted, FlushReport, MessageRef, NotSent};
use crate::resets;
use crate::rng;
use crate::state::{self, OutboxRow, Outgoing, Progress, RESETS, SealedRow, enqueue};
use crate::store::{Log, Mode, Table, Transaction};
use crate::transport::{Refusal, Ticket};

/// Entries that are sealed in one transaction and submitted without waiting in between. The relay reads 64 requests ahead.
const PAGE: usize = 64;

/// Message ids in one content of receipts: 200 × 18 bytes stay in the 4 KiB bucket.
const RECEIPTS_PER_CONTENT: usize = 200;

/// How often in a row the relay's request for patience is followed before the flush gives up for now.
const MAX_PATIENCE: u32 = 5;

/// The longest wait that a relay can ask of one flush.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Turns due receipts into entries of the outbox, batched by contact.
fn gather_receipts(tx: &dyn Transaction, now: u64) -> Result<(), Error> {
    for (account, receipts) in receipts::due(tx, now)? {
        let contact = Contact::get(tx, &account)?;
        let waits = contact.as_ref().is_some_and(|contact| contact.row.changed_key.is_some());
        if waits {
            // They go out once the key is accepted.
            continue;
        }
        for batch in receipts.chunks(RECEIPTS_PER_CONTENT) {
            for (id, _) in batch {
                tx.delete(Table::ReceiptDue, &state::receipt_key(&MessageRef { account, id: *id }))?;
            }
            if contact.as_ref().is_none_or(|contact| contact.row.blocked) {
                continue;
            }
            let ids = |wanted: bool| -> Vec<EnvelopeId> {
                batch.iter().filter(|(_, read)| *read == wanted).map(|(id, _)| *id).collect()
            };
            let content = bridge::draft(rng::envelope_id(), now, bridge::receipts(&ids(false), &ids(true)));
            enqueue(tx, &OutboxRow { account: account.as_bytes().to_vec(), content, ..OutboxRow::default() })?;
        }
    }
    Ok(())
}

/// One run over the outbox.
pub(super) struct Flush<'a> {
    pub(super) inner: &'a Arc<Inner>,
    pub(super) connection: &'a Connection,
    pub report: FlushReport,
    /// Contacts that cannot be written to now, and why.
    pub stopped: HashMap<AccountId, Error>,
    /// Texts that were given up, and why.
    pub failed: HashMap<MessageRef, Error>,
    /// Contacts that are ready: device list compared, sessions there.
    pub(super) ready: HashSet<AccountId>,
    pub(super) sealed: SealedMail,
}

/// An envelope on its way to the relay.
struct InFlight {
    /// Index in the page.
    entry: usize,
    ticket: Ticket,
}

/// What became of an entry.
enum Outcome {
    Accepted,
    /// For good.
    Refused(Error),
    /// It stays; later entries for the contact wait.
    Stopped(Error),
    /// The relay asks for patience.
    Later(Duration),
    /// The access key is not the recipient's any more: once more, under one's name.
    AccessRefused,
}

impl<'a> Flush<'a> {
    pub fn new(inner: &'a Arc<Inner>, connection: &'a Connection) -> Self {
        Self {
            inner,
            connection,
            report: FlushReport::default(),
            stopped: HashMap::new(),
            failed: HashMap::new(),
            ready: HashSet::new(),
            sealed: SealedMail::default(),
        }
    }

    pub async fn run(&mut self, on_accepted: &mut (dyn FnMut(&Accepted) + Send)) -> Result<(), Error> {
        // Before anything is sealed: contents tell the key only once the relay knows it.
        disclosure::publish(self.inner, &self.connection.link().link).await?;
        blocking::publish(self.inner, &self.connection.link().link).await?;
        self.inner
            .blocking(|inner| {
                let now = inner.now();
                let due = inner.transact(Mode::Read, |tx| {
                    let receipts = tx.count(Table::ReceiptDue)? > 0 && !receipts::due(tx, now)?.is_empty();
                    Ok(receipts || resets::are_due(tx, now)?)
                })?;
                if !due {
                    return Ok(());
                }
                // Full: an envelope with these receipts may be sealed next, and the ratchet must not go back.
                inner.transact(Mode::Write, |tx| {
                    resets::queue_what_is_due(tx, now, inner.certain_now())?;
                    gather_receipts(tx, now)
                })
            })
            .await?;
        // Resets first: what is sealed then goes into the sessions that they begin.
        self.send(Some(RESETS), on_accepted).await?;
        self.send(None, on_accepted).await?;
        self.sealed.close();
        self.list_stopped().await
    }

    /// Sends the outbox, or one group of it.
    async fn send(
        &mut self,
        group: Option<&'static [u8]>,
        on_accepted: &mut (dyn FnMut(&Accepted) + Send),
    ) -> Result<(), Error> {
        let (mut after, mut patience) = (0, 0);
        loop {
            let page = self.page(group, after).await?;
            let Some(last) = page.last().map(|outgoing| outgoing.place) else { return Ok(()) };
            for account in page.iter().map(|outgoing| outgoing.account).collect::<HashSet<_>>() {
                self.make_ready(account).await?;
            }
            let page = self.begin_fresh_sessions(page).await?;
            let page = self.seal(page).await?;
            match self.submit(page, on_accepted).await? {
                None => (after, patience) = (last, 0),
                Some(Limited { place, wait, progress }) => {
                    patience = if progress { 1 } else { patience + 1 };
                    if patience > MAX_PATIENCE {
                        return Err(Error::Limited { seconds: wait.as_secs().max(1) });
                    }
                    tracing::info!(milliseconds = millis(wait.min(MAX_WAIT)), "the relay asks for patience: waiting");
                    sleep(wait.min(MAX_WAIT)).await;
                    after = place - 1;
                }
            }
        }
    }

    async fn page(&self, group: Option<&'static [u8]>, after: u64) -> Result<Vec<Outgoing>, Error> {
        self.inner
            .blocking(move |inner| {
                inner.transact(Mode::Read, |tx| {
                    tx.scan(Log::Outbox, group, after, PAGE)?.iter().map(Outgoing::read).collect()
                })
            })
            .await
    }

    /// Seals what is not sealed yet, in one transaction with the sessions.
    async fn seal(&self, page: Vec<Outgoing>) -> Result<Vec<Outgoing>, Error> {
        let ready = self.ready.clone();
        let stopped: HashSet<AccountId> = self.stopped.keys().copied().collect();
        let may = move |outgoing: &Outgoing| ready.contains(&outgoing.account) && !stopped.contains(&outgoing.account);
        if !page.iter().any(&may) {
            return Ok(page);
        }
        self.inner
            .blocking(move |inner| {
                inner.transact(Mode::Write, |tx| {
                    let mut sealer = Sealer::new(inner, tx)?;
                    let mut page = page;
                    for outgoing in page.iter_mut().filter(|outgoing| may(outgoing)) {
                        sealer.seal(outgoing)?;
                    }
                    sealer.save()?;
                    Ok(page)
                })
            })
            .await
    }

    /// Submits what is sealed and takes the answers. `Some`: the relay asks for patience.
    ///
    /// Nothing may pass an envelope that is refused because its recipient's mailbox is full. So the first one for a
    /// recipient goes alone, and none goes behind a larger one that has no answer yet; what is refused ends the recipient's
    /// part of the page. Everything else is submitted without waiting in between.
    async fn submit(
        &mut self,
        page: Vec<Outgoing>,
        on_accepted: &mut (dyn FnMut(&Accepted) + Send),
    ) -> Result<Option<Limited>, Error> {
        let established = self.connection.link();
        let mut sealed_mail = self.sealed.seal(self.inner, &page).await?;
        let mut in_flight: Vec<InFlight> = Vec::new();
        let mut outcomes: HashMap<usize, Outcome> = HashMap::new();
        let (mut broken, mut envelopes) = (None, 0_usize);
        // For each recipient: entries submitted from this page, and the largest envelope since the last wait.
        let mut submitted: HashMap<AccountId, (usize, usize)> = HashMap::new();
        let mut halted: HashSet<AccountId> = HashSet::new();
        for (entry, outgoing) in page.iter().enumerate() {
            let account = outgoing.account;
            if outgoing.row.sealed.is_empty() || self.stopped.contains_key(&account) || halted.contains(&account) {
                continue;
            }
            let size = outgoing.row.sealed.iter().map(|sealed| sealed.ciphertext.len()).max().unwrap_or(0);
            let (count, largest) = submitted.entry(account).or_default();
            if *count == 1 || size < *largest {
                *largest = 0;
                let (theirs, others) = in_flight.into_iter().partition(|sent| page[sent.entry].account == account);
                in_flight = others;
                broken = self.take_answers(&page, theirs, &mut outcomes).await?;
                if broken.is_some() {
                    break;
                }
                let refused = |(entry, outcome): (&usize, &Outcome)| {
                    page[*entry].account == account && !matches!(outcome, Outcome::Accepted)
                };
                if outcomes.iter().any(refused) {
                    halted.insert(account);
                    continue;
                }
            }
            *count += 1;
            *largest = size.max(*largest);
            for row in &outgoing.row.sealed {
                let ticket = if self.sealed.is_for(&account) {
                    let Some(ciphertext) = sealed_mail.remove(&(entry, row.device)) else { continue };
                    let envelope = envelope(None, account, row, ciphertext.into())?;
                    self.sealed.submit(self.inner, &account, envelope).await?
                } else {
                    let ciphertext = Bytes::copy_from_slice(&row.ciphertext);
                    let envelope = envelope(Some(self.inner.own.address), account, row, ciphertext)?;
                    let submit =
                        v1::Submit { envelope: Some(envelope), access_key: self.sealed.key_beside_name(&account) };
                    established.link.send(client_frame::Body::Submit(submit)).await?
                };
                envelopes += 1;
                in_flight.push(InFlight { entry, ticket });
            }
        }
        if broken.is_none() {
            broken = self.take_answers(&page, in_flight, &mut outcomes).await?;
        }
        let accepted = outcomes.values().filter(|outcome| matches!(outcome, Outcome::Accepted)).count();
        tracing::info!(envelopes, entries = page.len(), accepted, "submitted");
        if broken.is_some() {
            // The last one may have envelopes without an answer.
            let whole = |entry: &usize| page[*entry].row.sealed.len() == 1;
            outcomes.retain(|entry, outcome| !matches!(outcome, Outcome::Accepted) || whole(entry));
        }
        let limited = self.note(&page, outcomes, on_accepted).await?;
        broken.map_or(Ok(limited), Err)
    }

    /// Waits for answers. An entry is accepted when all of its envelopes are; the first that is not decides. `Some`: the
    /// link broke; what was accepted before is still to be noted.
    async fn take_answers(
        &self,
        page: &[Outgoing],
        sent: Vec<InFlight>,
        outcomes: &mut HashMap<usize, Outcome>,
    ) -> Result<Option<Error>, Error> {
        for InFlight { entry, ticket } in sent {
            let outcome = match ticket.answer().await {
                Ok(Ok(server_frame::Body::Accepted(_))) => Outcome::Accepted,
                Ok(Ok(_)) => return Err(Error::RelayProtocol { what: "no answer to an envelope" }),
                Ok(Err(refusal)) => self.judge(&page[entry], refusal).await?,
                Err(error) => return Ok(Some(error)),
            };
            match outcomes.get(&entry) {
                None | Some(Outcome::Accepted) => drop(outcomes.insert(entry, outcome)),
                Some(_) => {}
            }
        }
        Ok(None)
    }

    /// What a refusal means for an entry.
    async fn judge(&self, outgoing: &Outgoing, refusal: Refusal) -> Result<Outcome, Error> {
        let who = self.contact(outgoing.account).await?.row.alias;
        tracing::info!(code = refusal.code.as_str_name(), "the relay refused an envelope");
        Ok(match refusal.code {
            Code::Limited => Outcome::Later(refusal.retry_after.max(Duration::from_millis(50))),
            Code::AccessRefused if self.sealed.is_for(&outgoing.account) => Outcome::AccessRefused,
            Code::MailboxFull | Code::Unavailable => Outcome::Stopped(refusal.about(&who)),
            // The account was there when it was made ready: a device of its may be gone. The next flush looks.
            Code::UnknownRecipient => {
                self.connection.compared().remove(&outgoing.account);
                Outcome::Stopped(Error::DeviceNotReady { who })
            }
            Code::NotAuthenticated | Code::AuthenticationFailed | Code::UnsupportedVersion => {
                return Err(refusal.into_error());
            }
            // Everything else stays as it is however often it is tried.
            _ => Outcome::Refused(refusal.about(&who)),
        })
    }

    /// Writes down what became of the entries, and tells.
    async fn note(
        &mut self,
        page: &[Outgoing],
        outcomes: HashMap<usize, Outcome>,
        on_accepted: &mut (dyn FnMut(&Accepted) + Send),
    ) -> Result<Option<Limited>, Error> {
        let mut done = Vec::new();
        let mut limited: Option<Limited> = None;
        let mut progress = false;
        let mut forget = Vec::new();
        for (entry, outcome) in outcomes {
            let outgoing = &page[entry];
            let place = outgoing.place;
            match outcome {
                Outcome::Accepted => {
                    progress = true;
                    done.push((place, outgoing.account, outgoing.text, None));
                }
                Outcome::Refused(error) => done.push((place, outgoing.account, outgoing.text, Some(error))),
                Outcome::Stopped(error) => drop(self.stopped.insert(outgoing.account, error)),
                Outcome::Later(wait) => Limited::add(&mut limited, place, wait),
                Outcome::AccessRefused => {
                    progress = true;
                    forget.push(outgoing.account);
                    Limited::add(&mut limited, place, Duration::ZERO);
                }
            }
        }
        if !forget.is_empty() {
            for account in &forget {
                // Whoever changed the key may have changed more: looked up once more, under one's name.
                self.ready.remove(account);
                self.connection.compared().remove(account);
            }
            self.sealed.forget(self.inner, forget).await?;
        }
        done.sort_by_key(|(place, ..)| *place);
        if !done.is_empty() {
            let rows = done.clone();
            let aliases = self
                .inner
                .blocking(move |inner| {
                    // Lost in a power failure, it only makes the same envelopes be submitted again.
                    inner.transact(Mode::WriteRelaxed, |tx| {
                        let mut aliases = HashMap::new();
                        for (place, account, text, error) in rows {
                            tx.remove(Log::Outbox, place)?;
                            if let Some(message) = text {
                                let (progress, failure) = match &error {
                                    None => (Progress::Accepted, ""),
                                    Some(error) => (Progress::Failed, error.code()),
                                };
                                state::raise(tx, &message, progress, failure)?;
                            }
                            aliases.insert(account, alias(tx, &account)?);
                        }
                        Ok(aliases)
                    })
                })
                .await?;
            for (_, account, text, error) in done {
                let Some(message) = text else { continue };
                let to = aliases.get(&account).cloned().unwrap_or_default();
                match error {
                    None => {
                        let accepted = Accepted { message, to, sealed: self.sealed.is_for(&account) };
                        on_accepted(&accepted);
                        self.report.accepted.push(accepted);
                    }
                    Some(error) => {
                        let (code, reason) = (error.code(), error.to_string());
                        self.report.not_sent.push(NotSent { message, to, code, reason, will_retry: false });
                        self.failed.insert(message, error);
                    }
                }
            }
        }
        Ok(limited.map(|limited| Limited { progress, ..limited }))
    }

    /// Lists the texts that wait behind a contact that cannot be written to, and gives up those to an account that the
    /// relay does not know.
    async fn list_stopped(&mut self) -> Result<(), Error> {
        if self.stopped.is_empty() {
            return Ok(());
        }
        let gone = |error: &Error| matches!(error, Error::UnknownRecipient { .. });
        let accounts: Vec<(AccountId, bool)> =
            self.stopped.iter().map(|(account, error)| (*account, gone(error))).collect();
        let mode = if accounts.iter().any(|(_, gone)| *gone) { Mode::Write } else { Mode::Read };
        let waiting = self
            .inner
            .blocking(move |inner| {
                inner.transact(mode, |tx| {
                    let mut waiting = Vec::new();
                    for (account, gone) in accounts {
                        if gone {
                            resets::forget(tx, &account)?;
                        }
                        for entry in tx.scan(Log::Outbox, Some(account.as_bytes()), 0, usize::MAX)? {
                            let outgoing = Outgoing::read(&entry)?;
                            waiting.extend(outgoing.text.map(|message| (outgoing.place, message)));
                            if gone {
                                tx.remove(Log::Outbox, outgoing.place)?;
                                if let Some(message) = outgoing.text {
                                    state::raise(tx, &message, Progress::Failed, "unknown-recipient")?;
                                }
                            }
                        }
                    }
                    waiting.sort_by_key(|(place, _)| *place);
                    waiting
                        .into_iter()
                        .map(|(_, message)| Ok((message, alias(tx, &message.account)?)))
                        .collect::<Result<Vec<_>, Error>>()
                })
            })
            .await?;
        tracing::info!(
            texts = waiting.len(),
            "not sent in this run: they wait behind a contact that cannot be written to now"
        );
        for (message, to) in waiting {
            let Some(error) = self.stopped.get(&message.account) else { continue };
            let (code, reason) = (error.code(), error.to_string());
            self.report.not_sent.push(NotSent { message, to, code, reason, will_retry: !gone(error) });
        }
        Ok(())
    }
}

/// The relay asks for patience from this place on.
struct Limited {
    place: u64,
    wait: Duration,
    progress: bool,
}

impl Limited {
    /// The first place and the longest wait count.
    fn add(limited: &mut Option<Self>, place: u64, wait: Duration) {
        let before = limited.take().unwrap_or(Self { place, wait, progress: false });
        *limited = Some(Self { place: before.place.min(place), wait: before.wait.max(wait), progress: false });
    }
}

fn envelope(
    source: Option<Address>,
    account: AccountId,
    row: &SealedRow,
    ciphertext: Bytes,
) -> Result<v1::Envelope, Error> {
    let device = DeviceId::new(row.device).map_err(|_| state::damaged("the outbox"))?;
    let (id, recipient) = (state::envelope_id(&row.id)?, Address { account, device });
    Ok(checked::Envelope { id, recipient, source, ciphertext }.into())
}

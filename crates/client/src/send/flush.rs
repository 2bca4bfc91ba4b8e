//! One run over the outbox: conversations are made ready (`prepare`), entries encrypted, submitted in the order of the plan
//! without waiting where that is possible, and noted.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kuvert_types::{Address, EnvelopeId};
use kuvert_wire::checked;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::{self, client_frame, server_frame};
use tokio::time::sleep;

use super::anonymous::AnonymousMail;
use super::encrypt::Encryptor;
use super::plan::{Candidate, Step, SubmitPlan};
use crate::blocking;
use crate::bridge;
use crate::connection::Connection;
use crate::contact::Contact;
use crate::conversation::{ConversationId, MessageRef};
use crate::disclosure;
use crate::engine::{Engine, Tx};
use crate::error::Error;
use crate::history::title;
use crate::identity::Identity;
use crate::patience::millis;
use crate::receipts;
use crate::records::{Accepted, FlushReport, NotSent};
use crate::resets;
use crate::rng;
use crate::state::{self, EnvelopeState, OutboxRow, Outgoing, Progress, RESETS, enqueue, message_key};
use crate::store::{Table, Transaction};
use crate::transport::{RelayError, Ticket};

/// Entries that are encrypted in one transaction and submitted without waiting in between. The relay reads 64 requests ahead.
const PAGE: usize = 64;

/// Message ids in one content of receipts: 200 × 18 bytes stay in the 4 KiB bucket.
const RECEIPTS_PER_CONTENT: usize = 200;

/// How often in a row the relay's request for patience is followed before the flush gives up for now.
const MAX_PATIENCE: u32 = 5;

/// The longest wait that a relay can ask of one flush.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// How often a run begins anew after rows of the store turned out to be damaged.
const MAX_MENDED: u32 = 8;

/// The shortest wait when the relay asks for patience.
const MIN_WAIT: Duration = Duration::from_millis(50);

/// Turns due receipts into entries of the outbox, batched by contact.
fn gather_receipts(tx: &Tx<'_>, now: u64) -> Result<(), Error> {
    for (account, receipts) in receipts::due(tx, now)? {
        let contact = Contact::get(tx, &account)?;
        let waits = contact.as_ref().is_some_and(|contact| contact.row.changed_key.is_some());
        if waits {
            // They go out once the key is accepted.
            continue;
        }
        for batch in receipts.chunks(RECEIPTS_PER_CONTENT) {
            for (message, _) in batch {
                tx.delete(Table::ReceiptDue, &message_key(message))?;
            }
            if contact.as_ref().is_none_or(|contact| contact.row.blocked) {
                continue;
            }
            let ids = |wanted: bool| -> Vec<EnvelopeId> {
                batch.iter().filter(|(_, read)| *read == wanted).map(|(message, _)| message.id).collect()
            };
            let row = OutboxRow {
                conversation: ConversationId::Contact(account).as_bytes().to_vec(),
                content: bridge::draft(rng::envelope_id(), now, bridge::receipts(&ids(false), &ids(true))),
                author: tx.identity()?.account().as_bytes().to_vec(),
                ..OutboxRow::default()
            };
            enqueue(tx, &row)?;
        }
    }
    Ok(())
}

/// One run over the outbox.
pub(super) struct Flush<'a> {
    pub(super) connection: &'a Connection,
    /// This home's account and device, as the last page saw them.
    own: Option<Arc<Identity>>,
    pub report: FlushReport,
    /// Conversations that cannot be written to now, and why.
    pub stopped: HashMap<ConversationId, Error>,
    /// Texts that were given up, and why.
    pub failed: HashMap<MessageRef, Error>,
    /// Conversations that are ready: device lists compared, sessions there.
    pub(super) ready: HashSet<ConversationId>,
    pub(super) anonymous: AnonymousMail,
}

/// Names an envelope within a page: its entry, and its place there.
type Place = (usize, usize);

/// An envelope on its way to the relay.
struct InFlight {
    place: Place,
    ticket: Ticket,
}

/// What became of an envelope.
enum Outcome {
    Accepted,
    /// For good.
    Refused(Error),
    /// It stays; later entries of the conversation wait.
    Stopped(Error),
    /// The relay asks for patience.
    Later(Duration),
    /// The access key is not the recipient's any more: once more, under this account's name.
    AccessRefused,
}

/// The outcomes of a page, in the order of the outbox.
type Outcomes = BTreeMap<Place, Outcome>;

impl<'a> Flush<'a> {
    pub fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            own: None,
            report: FlushReport::default(),
            stopped: HashMap::new(),
            failed: HashMap::new(),
            ready: HashSet::new(),
            anonymous: AnonymousMail::default(),
        }
    }

    pub(super) fn engine(&self) -> &'a Engine {
        self.connection.engine()
    }

    /// Looks through the outbox. If rows of the store turn out to be damaged, which are removed then, it does so again.
    pub async fn run(&mut self, on_accepted: &mut (dyn FnMut(&Accepted) + Send)) -> Result<(), Error> {
        for _ in 0..MAX_MENDED {
            match self.run_once(on_accepted).await {
                Err(Error::StoreMended) => {}
                result => return result,
            }
        }
        Err(Error::StoreMended)
    }

    async fn run_once(&mut self, on_accepted: &mut (dyn FnMut(&Accepted) + Send)) -> Result<(), Error> {
        // Before anything is encrypted: contents tell the key only once the relay knows it.
        let link = self.connection.link();
        disclosure::publish(self.engine(), &link.link).await?;
        blocking::publish(self.engine(), &link.link).await?;
        self.queue_what_is_due().await?;
        // Resets first: what is encrypted then goes into the sessions that they begin.
        self.send(Some(RESETS), on_accepted).await?;
        self.send(None, on_accepted).await?;
        self.anonymous.close();
        self.list_stopped().await
    }

    /// Resets and receipts whose time has come.
    async fn queue_what_is_due(&self) -> Result<(), Error> {
        let due = |tx: &Tx<'_>| {
            let now = tx.now();
            let receipts = tx.count(Table::ReceiptDue)? > 0 && !receipts::due(tx, now)?.is_empty();
            Ok(receipts || resets::are_due(tx, now)?)
        };
        if !self.engine().read(due).await? {
            return Ok(());
        }
        // On disk: an envelope with these receipts may be encrypted next, and the ratchet must not go back.
        self.engine()
            .write(|tx| {
                let now = tx.now();
                resets::queue_what_is_due(tx, now, tx.certain_now())?;
                gather_receipts(tx, now)
            })
            .await
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
            for conversation in page.iter().map(|outgoing| outgoing.conversation).collect::<HashSet<_>>() {
                self.make_ready(conversation).await?;
            }
            let page = self.begin_fresh_sessions(page).await?;
            let page = self.encrypt(page).await?;
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

    async fn page(&mut self, group: Option<&'static [u8]>, after: u64) -> Result<Vec<Outgoing>, Error> {
        let (own, page) =
            self.engine().read(move |tx| Ok((tx.identity()?, Outgoing::scan(tx, group, after, PAGE)?))).await?;
        self.own = Some(own);
        Ok(page)
    }

    fn may_leave(&self, conversation: &ConversationId) -> bool {
        self.ready.contains(conversation) && !self.stopped.contains_key(conversation)
    }

    /// Encrypts what is not encrypted yet, in one transaction with the sessions.
    async fn encrypt(&self, page: Vec<Outgoing>) -> Result<Vec<Outgoing>, Error> {
        let may: HashSet<ConversationId> =
            page.iter().map(|outgoing| outgoing.conversation).filter(|to| self.may_leave(to)).collect();
        if may.is_empty() {
            return Ok(page);
        }
        self.engine()
            .write(move |tx| {
                let mut encryptor = Encryptor::new(tx)?;
                let mut left = Vec::with_capacity(page.len());
                for mut outgoing in page {
                    if !may.contains(&outgoing.conversation) || encryptor.encrypt(&mut outgoing)? {
                        left.push(outgoing);
                    }
                }
                encryptor.save()?;
                Ok(left)
            })
            .await
    }

    /// How a page looks to the plan.
    fn candidate(&self, outgoing: &Outgoing) -> Candidate {
        let open = || outgoing.envelopes.iter().filter(|envelope| !envelope.row.state().is_settled());
        Candidate {
            conversation: outgoing.conversation,
            size: open().map(|envelope| envelope.row.ciphertext.len()).max().unwrap_or(0),
            ready: !self.stopped.contains_key(&outgoing.conversation)
                && !outgoing.is_untouched()
                && open().all(|envelope| envelope.row.state() == EnvelopeState::Encrypted),
        }
    }

    /// Submits what is encrypted, as the plan says, and takes the answers. `Some`: the relay asks for patience.
    async fn submit(
        &mut self,
        page: Vec<Outgoing>,
        on_accepted: &mut (dyn FnMut(&Accepted) + Send),
    ) -> Result<Option<Limited>, Error> {
        let mut anonymous = self.anonymous.seal(self.engine(), &page).await?;
        let mut plan = SubmitPlan::new(page.iter().map(|outgoing| self.candidate(outgoing)).collect());
        let (mut in_flight, mut outcomes) = (Vec::new(), Outcomes::new());
        let (mut broken, mut envelopes) = (None, 0_usize);
        while broken.is_none() {
            match plan.next() {
                Step::Submit(entry) => {
                    let before = in_flight.len();
                    self.submit_entry(&page, entry, &mut anonymous, &mut in_flight).await?;
                    envelopes += in_flight.len() - before;
                    if in_flight.len() == before {
                        plan.answered(entry, true);
                    }
                }
                Step::Await(conversation) => {
                    let theirs = |sent: &InFlight| page[sent.place.0].conversation == conversation;
                    let (awaited, others) = in_flight.into_iter().partition(theirs);
                    in_flight = others;
                    broken = self.take_answers(&page, awaited, &mut plan, &mut outcomes).await?;
                }
                Step::Done => break,
            }
        }
        if broken.is_none() {
            broken = self.take_answers(&page, in_flight, &mut plan, &mut outcomes).await?;
        }
        let accepted = outcomes.values().filter(|outcome| matches!(outcome, Outcome::Accepted)).count();
        tracing::info!(envelopes, entries = page.len(), accepted, "submitted");
        let limited = self.note(page, outcomes, on_accepted).await?;
        broken.map_or(Ok(limited), Err)
    }

    /// Submits the envelopes of one entry that wait.
    async fn submit_entry(
        &mut self,
        page: &[Outgoing],
        entry: usize,
        anonymous: &mut HashMap<Place, Vec<u8>>,
        in_flight: &mut Vec<InFlight>,
    ) -> Result<(), Error> {
        let Some(own) = self.own.as_ref().map(|own| own.address) else { return Ok(()) };
        for (index, envelope) in page[entry].envelopes.iter().enumerate() {
            if envelope.row.state() != EnvelopeState::Encrypted {
                continue;
            }
            let (place, account) = ((entry, index), envelope.recipient.account);
            let id = state::envelope_id(&envelope.row.id)?;
            let wire = |source: Option<Address>, ciphertext: Bytes| -> v1::Envelope {
                checked::Envelope { id, recipient: envelope.recipient, source, ciphertext }.into()
            };
            let ticket = if self.anonymous.is_for(&account) {
                let Some(ciphertext) = anonymous.remove(&place) else { continue };
                self.anonymous.submit(self.connection.engine(), &account, wire(None, ciphertext.into())).await?
            } else {
                let envelope = wire(Some(own), Bytes::copy_from_slice(&envelope.row.ciphertext));
                let access_key = self.anonymous.key_beside_name(&account);
                let submit = v1::Submit { envelope: Some(envelope), access_key };
                self.connection.link().link.send(client_frame::Body::Submit(submit)).await?
            };
            in_flight.push(InFlight { place, ticket });
        }
        Ok(())
    }

    /// Waits for answers. `Some`: the link broke; what was accepted before is still to be noted.
    async fn take_answers(
        &self,
        page: &[Outgoing],
        sent: Vec<InFlight>,
        plan: &mut SubmitPlan,
        outcomes: &mut Outcomes,
    ) -> Result<Option<Error>, Error> {
        // For each entry: whether every answer was yes.
        let mut answered: BTreeMap<usize, bool> = BTreeMap::new();
        for InFlight { place, ticket } in sent {
            let outcome = match ticket.answer().await {
                Ok(Ok(server_frame::Body::Accepted(_))) => Outcome::Accepted,
                Ok(Ok(_)) => return Err(Error::RelayProtocol { what: "no answer to an envelope" }),
                Ok(Err(refusal)) => self.judge(&page[place.0], &place, refusal).await?,
                Err(error) => return Ok(Some(error)),
            };
            *answered.entry(place.0).or_insert(true) &= matches!(outcome, Outcome::Accepted);
            outcomes.insert(place, outcome);
        }
        for (entry, accepted) in answered {
            plan.answered(entry, accepted);
        }
        Ok(None)
    }

    /// What a refusal means for an envelope.
    async fn judge(&self, outgoing: &Outgoing, place: &Place, refusal: RelayError) -> Result<Outcome, Error> {
        let account = outgoing.envelopes[place.1].recipient.account;
        let who = self.contact(account).await?.row.alias;
        tracing::info!(code = refusal.code.as_str_name(), "the relay refused an envelope");
        Ok(match refusal.code {
            Code::Limited => Outcome::Later(refusal.retry_after.max(MIN_WAIT)),
            Code::AccessRefused if self.anonymous.is_for(&account) => Outcome::AccessRefused,
            Code::MailboxFull | Code::Unavailable => Outcome::Stopped(refusal.about(&who)),
            // The account was there when it was made ready: a device of its may be gone. The next flush looks.
            Code::UnknownRecipient => {
                self.connection.compared().remove(&account);
                Outcome::Stopped(Error::DeviceNotReady { who })
            }
            Code::NotAuthenticated | Code::AuthenticationFailed | Code::UnsupportedVersion => {
                return Err(refusal.into_error());
            }
            // Everything else stays as it is however often it is tried.
            _ => Outcome::Refused(refusal.about(&who)),
        })
    }

    /// Writes down what became of the envelopes, and tells.
    async fn note(
        &mut self,
        mut page: Vec<Outgoing>,
        outcomes: Outcomes,
        on_accepted: &mut (dyn FnMut(&Accepted) + Send),
    ) -> Result<Option<Limited>, Error> {
        let mut limited: Option<Limited> = None;
        let (mut progress, mut forget) = (false, BTreeSet::new());
        // Settled by this page: the state of each envelope, and why an entry's was refused.
        let mut settled: Vec<(Place, EnvelopeState, &'static str)> = Vec::new();
        let mut refused: HashMap<usize, Error> = HashMap::new();
        for (place, outcome) in outcomes {
            let outgoing = &page[place.0];
            match outcome {
                Outcome::Accepted => {
                    progress = true;
                    settled.push((place, EnvelopeState::Accepted, ""));
                }
                Outcome::Refused(error) => {
                    settled.push((place, EnvelopeState::Refused, error.code()));
                    refused.entry(place.0).or_insert(error);
                }
                Outcome::Stopped(error) => drop(self.stopped.insert(outgoing.conversation, error)),
                Outcome::Later(wait) => Limited::add(&mut limited, outgoing.place, wait),
                Outcome::AccessRefused => {
                    progress = true;
                    forget.insert((outgoing.conversation, outgoing.envelopes[place.1].recipient.account));
                    Limited::add(&mut limited, outgoing.place, Duration::ZERO);
                }
            }
        }
        // Whatever changed the key may have changed more: looked up once more, under this account's name.
        for (conversation, account) in &forget {
            self.ready.remove(conversation);
            self.connection.compared().remove(account);
        }
        if !forget.is_empty() {
            let accounts = forget.into_iter().map(|(_, account)| account).collect();
            self.anonymous.forget(self.connection.engine(), accounts).await?;
        }
        // What an earlier run left settled is concluded, too.
        let has_settled = page.iter().any(Outgoing::is_settled);
        if !settled.is_empty() || has_settled {
            // Lost in a power failure, it only makes the same envelopes be submitted again.
            let concluded = self
                .engine()
                .write_relaxed(move |tx| {
                    for ((entry, index), state, failure) in settled {
                        let envelope = &mut page[entry].envelopes[index];
                        envelope.row.set_state(state);
                        envelope.row.failure = failure.to_owned();
                    }
                    conclude(tx, page)
                })
                .await?;
            self.tell(concluded, &refused, on_accepted);
        }
        Ok(limited.map(|limited| Limited { progress, ..limited }))
    }

    /// Tells what became of texts.
    fn tell(
        &mut self,
        concluded: Vec<Concluded>,
        refused: &HashMap<usize, Error>,
        on_accepted: &mut (dyn FnMut(&Accepted) + Send),
    ) {
        for Concluded { entry, message, to, failure } in concluded {
            let Some(code) = failure else {
                let anonymous = message.conversation.contact().is_some_and(|to| self.anonymous.is_for(&to));
                let accepted = Accepted { message, to, anonymous };
                on_accepted(&accepted);
                self.report.accepted.push(accepted);
                continue;
            };
            let error = refused.get(&entry).cloned();
            let error = error.unwrap_or(Error::RelayRefused { code: "refused earlier", detail: code });
            self.report.not_sent.push(NotSent { message, to, error: error.clone(), will_retry: false });
            self.failed.insert(message, error);
        }
    }

    /// Lists the texts that wait in a conversation that cannot be written to, and gives up those to an account that the
    /// relay does not know.
    async fn list_stopped(&mut self) -> Result<(), Error> {
        if self.stopped.is_empty() {
            return Ok(());
        }
        let gone = |error: &Error| matches!(error, Error::UnknownRecipient { .. });
        let stopped: Vec<(ConversationId, bool)> =
            self.stopped.iter().map(|(conversation, error)| (*conversation, gone(error))).collect();
        let waiting = if stopped.iter().any(|(_, gone)| *gone) {
            self.engine().write(move |tx| list_waiting(tx, &stopped)).await?
        } else {
            self.engine().read(move |tx| list_waiting(tx, &stopped)).await?
        };
        tracing::info!(
            texts = waiting.len(),
            "not sent in this run: they wait behind a contact that cannot be written to now"
        );
        for (message, to) in waiting {
            let Some(error) = self.stopped.get(&message.conversation) else { continue };
            self.report.not_sent.push(NotSent { message, to, error: error.clone(), will_retry: !gone(error) });
        }
        Ok(())
    }
}

/// A text whose entry is settled.
struct Concluded {
    /// Its place in the page.
    entry: usize,
    message: MessageRef,
    to: String,
    /// The code of the first refusal, if no device gets it.
    failure: Option<String>,
}

/// Stores what became of envelopes; entries of which all are settled leave the outbox.
fn conclude(tx: &dyn Transaction, page: Vec<Outgoing>) -> Result<Vec<Concluded>, Error> {
    let (mut concluded, mut titles) = (Vec::new(), HashMap::new());
    for (entry, mut outgoing) in page.into_iter().enumerate() {
        if !outgoing.is_settled() {
            for envelope in &mut outgoing.envelopes {
                let (state, failure) = (envelope.row.state(), envelope.row.failure.clone());
                if state.is_settled() && !envelope.row.ciphertext.is_empty() {
                    envelope.settle(tx, state, &failure)?;
                }
            }
            continue;
        }
        let text = outgoing.text;
        let accepted = outgoing.envelopes.iter().any(|envelope| envelope.row.state() == EnvelopeState::Accepted);
        let refusals = outgoing.envelopes.iter().map(|envelope| &envelope.row.failure);
        let failure = refusals.into_iter().find(|failure| !failure.is_empty()).cloned().unwrap_or_default();
        outgoing.remove(tx)?;
        let Some(message) = text else { continue };
        let to = match titles.get(&message.conversation) {
            Some(to) => String::clone(to),
            None => titles.entry(message.conversation).insert_entry(title(tx, &message.conversation)?).get().clone(),
        };
        if accepted {
            state::raise(tx, &message, Progress::Accepted, "")?;
        } else {
            state::raise(tx, &message, Progress::Failed, &failure)?;
        }
        concluded.push(Concluded { entry, message, to, failure: (!accepted).then_some(failure) });
    }
    Ok(concluded)
}

/// Texts that wait in conversations that cannot be written to, with what the owner calls those; in the order of the outbox.
/// Those of a conversation that is gone are given up.
fn list_waiting(tx: &dyn Transaction, stopped: &[(ConversationId, bool)]) -> Result<Vec<(MessageRef, String)>, Error> {
    let mut waiting = Vec::new();
    for (conversation, gone) in stopped {
        let ConversationId::Contact(account) = conversation;
        if *gone {
            resets::forget(tx, account)?;
        }
        for outgoing in Outgoing::scan(tx, Some(conversation.as_bytes()), 0, usize::MAX)? {
            let text = outgoing.text;
            waiting.extend(text.map(|message| (outgoing.place, message)));
            if *gone {
                outgoing.remove(tx)?;
                if let Some(message) = text {
                    state::raise(tx, &message, Progress::Failed, "unknown-recipient")?;
                }
            }
        }
    }
    waiting.sort_by_key(|(place, _)| *place);
    waiting.into_iter().map(|(_, message)| Ok((message, title(tx, &message.conversation)?))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{EnvelopeRow, MessageRow, Stored};
    use crate::store::memory::MemoryStore;
    use crate::store::{Log, Mode, Store};
    use kuvert_types::{AccountId, DeviceId};
    use prost::Message as _;

    const CONTACT: AccountId = AccountId::from_bytes([1; 16]);
    const OWN: AccountId = AccountId::from_bytes([2; 16]);

    /// A text to a contact with as many devices as there are states.
    fn queued(tx: &dyn Transaction, number: u8, states: &[EnvelopeState]) -> MessageRef {
        let id = EnvelopeId::from_bytes([number; 16]);
        let message = MessageRef { conversation: CONTACT.into(), author: OWN, id };
        let (conversation, author) = (CONTACT.as_bytes().to_vec(), OWN.as_bytes().to_vec());
        let (id, outgoing) = (id.as_bytes().to_vec(), true);
        let row = MessageRow {
            conversation: conversation.clone(),
            author: author.clone(),
            id: id.clone(),
            outgoing,
            ..MessageRow::default()
        };
        tx.append(Log::Message, &conversation, &message_key(&message), &row.encode_to_vec()).unwrap();
        enqueue(tx, &OutboxRow { conversation, author, text_id: id, ..OutboxRow::default() }).unwrap();
        let mut outgoing = Outgoing::scan(tx, None, 0, usize::MAX).unwrap().pop().unwrap();
        for (device, state) in (1..).zip(states) {
            let recipient = Address { account: CONTACT, device: DeviceId::new(device).unwrap() };
            let (recipient_bytes, ciphertext) = (recipient.to_bytes().to_vec(), vec![9; 100]);
            let mut row = EnvelopeRow { recipient: recipient_bytes, ciphertext, ..EnvelopeRow::default() };
            row.set_state(*state);
            outgoing.add(tx, recipient, row).unwrap();
        }
        message
    }

    /// What a run over the outbox does once the relay has answered so.
    fn answered(tx: &dyn Transaction, states: &[(usize, EnvelopeState, &str)]) -> Vec<(MessageRef, Option<String>)> {
        let mut page = Outgoing::scan(tx, None, 0, usize::MAX).unwrap();
        for (index, state, failure) in states {
            let envelope = &mut page[0].envelopes[*index];
            envelope.row.set_state(*state);
            envelope.row.failure = (*failure).to_owned();
        }
        conclude(tx, page).unwrap().into_iter().map(|concluded| (concluded.message, concluded.failure)).collect()
    }

    fn progress(tx: &dyn Transaction, message: &MessageRef) -> Progress {
        Stored::find(tx, message).unwrap().unwrap().row.progress()
    }

    #[test]
    fn a_text_is_accepted_once_every_device_is_settled_and_one_of_them_gets_it() {
        use EnvelopeState::{Accepted, Encrypted, Gone, Refused};
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        let message = queued(&*tx, 1, &[Encrypted, Encrypted, Gone]);
        assert_eq!(answered(&*tx, &[(0, Accepted, "")]), []);
        assert_eq!(progress(&*tx, &message), Progress::Queued, "a device has not got it yet");
        let [outgoing] = &Outgoing::scan(&*tx, None, 0, 9).unwrap()[..] else { panic!() };
        let kept = outgoing.envelopes.iter().map(|envelope| (envelope.row.state(), envelope.row.ciphertext.len()));
        assert_eq!(kept.collect::<Vec<_>>(), [(Accepted, 0), (Encrypted, 100), (Gone, 0)], "not submitted again");
        assert_eq!(answered(&*tx, &[(1, Refused, "relay-refused")]), [(message, None)]);
        assert_eq!(progress(&*tx, &message), Progress::Accepted);
        assert_eq!((tx.len(Log::Outbox).unwrap(), tx.len(Log::Envelope).unwrap()), (0, 0));
    }

    #[test]
    fn a_text_that_no_device_gets_has_failed_for_the_first_reason() {
        use EnvelopeState::{Encrypted, Refused};
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        let message = queued(&*tx, 1, &[Encrypted, Encrypted]);
        let refused = [(0, Refused, "one"), (1, Refused, "two")];
        assert_eq!(answered(&*tx, &refused), [(message, Some("one".to_owned()))]);
        assert_eq!(progress(&*tx, &message), Progress::Failed);
    }
}

//! What a correct client does around the protocol, as `kuvert-client` does it:
//!
//! - Every change is one transaction: sessions, replay record, prekeys, outbox and message together. What is not committed
//!   did not happen; what is committed is sent again until the relay has it. Here a transaction is a copy of the whole disk,
//!   and sessions are on it in their stored form alone, so that each step goes through decoding and encoding.
//! - Account keys are pinned, device lists checked against what is known and what the contact says.
//! - What cannot be opened leads to a fresh session, at most once an hour for each device, and every hour until the other
//!   side confirms it; texts that are not confirmed are sent again then, and one that is there already is not shown twice.
//! - An account that is no contact makes a request, within a budget; nothing is sent, asked or begun on its word until the
//!   owner accepts it, and what does not open leaves nothing behind. Its entries in a replay record are counted, and the
//!   last-resort prekey is replaced when strangers have filled half of that, at most once an hour.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use kuvert_protocol::initiator_certificate;
use kuvert_protocol::prelude::*;
use kuvert_protocol::replay::STRANGERS_PER_PREKEY;
use kuvert_types::limits::DELIVERY_WINDOW;
use kuvert_types::{
    AccountId, AccountKey, Address, DeviceCertificate, DeviceList, DeviceListState, EnvelopeId,
    UnverifiedDeviceCertificate, UnverifiedDeviceList,
};

use crate::content::{Body, Content, TextId};
use crate::invariants::{AttackId, Judge, Mark, RESET_INTERVAL_MS, Rule, active_session};
use crate::relay::{Envelope, Parcel, Request, Response, Shelf};
use crate::rng::TestRng;

/// Something that a broken client does. The invariants must find each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Does not delete one-time prekeys.
    KeepsOneTimePrekeys,
    /// Deletes the prekeys that a first message names before it has authenticated.
    BurnsBeforeAuthentication,
    /// Stores the session first and the message after it.
    StoresInTwoSteps,
    /// Sends a message before the session that made it is stored.
    SendsBeforeStoring,
    /// Draws the same randomness again after a restoration, as a cloned machine does.
    RepeatsRandomness,
    /// Shows every text that comes, whether it is there or not.
    ForgetsTexts,
    /// Does not compare account keys.
    TrustsAnyKey,
    /// Takes older and forked device lists.
    TakesAnyList,
    /// Begins a fresh session for everything that it cannot open.
    ResetsWithoutLimit,
    /// Forgets that a fresh session is due, or texts are to be sent again, if it may not be done at once.
    ForgetsWhatIsDue,
    /// Never begins a fresh session.
    NeverResets,
    /// Takes an envelope id for known, whichever account used it.
    IdsOfAnySender,
    /// Never replaces the last-resort prekey because of strangers.
    NeverRotates,
    /// Replaces it whenever a stranger used it.
    RotatesWithoutLimit,
    /// Confirms what strangers send.
    ConfirmsToStrangers,
    /// Begins a fresh session for what it cannot open of a stranger's.
    ResetsForStrangers,
    /// Has a stranger's device list looked up.
    AsksAboutStrangers,
    /// Begins a fresh session with each contact when a stranger's message does not open.
    BlamesContacts,
    /// Remembers the ids of strangers' envelopes that it could not open.
    RemembersWhatDidNotOpen,
    /// Keeps every text of a request.
    KeepsAllOfStrangers,
    /// Gives strangers a contact's budget in the replay record.
    TrustsStrangers,
}

/// The machine stopped: what was not committed is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crashed;

/// Counts the points at which a machine may stop, and stops it.
pub struct Steps {
    /// Points passed.
    pub passed: u64,
    /// Stops at this point.
    pub crash_at: Option<u64>,
    /// Stops so often in a thousand.
    pub per_mille: u64,
    pub(crate) rng: TestRng,
}

impl Steps {
    fn point(&mut self) -> Result<(), Crashed> {
        self.passed += 1;
        let crash = self.crash_at == Some(self.passed) || self.rng.chance(self.per_mille);
        if crash { Err(Crashed) } else { Ok(()) }
    }
}

/// What a peer is given with every call.
pub struct Context<'a> {
    /// Unix milliseconds.
    pub now: u64,
    /// Where it may crash.
    pub steps: &'a mut Steps,
    /// Hears of everything that happens.
    pub judge: &'a mut Judge,
}

/// The secret halves of prekeys, in stored form.
#[derive(Clone, Default)]
struct Prekeys {
    signed: BTreeMap<u32, Vec<u8>>,
    one_time: BTreeMap<u32, Vec<u8>>,
    kem: BTreeMap<u32, Vec<u8>>,
    last_resort: BTreeMap<u32, Vec<u8>>,
    last_id: u32,
}

impl Prekeys {
    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }
}

impl PrekeyStore for Prekeys {
    type Error = Infallible;

    fn signed(&self, id: u32) -> Result<Option<SignedPrekeySecret>, Infallible> {
        Ok(self.signed.get(&id).map(|bytes| SignedPrekeySecret::decode(bytes).unwrap()))
    }

    fn one_time(&self, id: u32) -> Result<Option<OneTimePrekeySecret>, Infallible> {
        Ok(self.one_time.get(&id).map(|bytes| OneTimePrekeySecret::decode(bytes).unwrap()))
    }

    fn kem(&self, id: u32) -> Result<Option<(KemPrekeySecret, KemPrekeyKind)>, Infallible> {
        let decode = |bytes: &Vec<u8>| KemPrekeySecret::decode(bytes).unwrap();
        let one_time = self.kem.get(&id).map(|bytes| (decode(bytes), KemPrekeyKind::OneTime));
        Ok(one_time.or_else(|| self.last_resort.get(&id).map(|bytes| (decode(bytes), KemPrekeyKind::LastResort))))
    }
}

#[derive(Clone)]
struct Contact {
    key: AccountKey,
    list: DeviceList,
    /// What the contact last said of its own list.
    claimed: Option<DeviceListState>,
}

/// Requests that are kept, texts of one, bytes of its texts: the client's own bounds.
const MAX_REQUESTS: usize = 4_096;
pub(crate) const MAX_TEXTS_OF_REQUEST: usize = 64;
pub(crate) const MAX_TEXT_BYTES_OF_REQUEST: usize = 4 * kuvert_types::limits::MAX_TEXT_BYTES;

/// Milliseconds between two replacements of the last-resort prekey because of strangers, and how many replaced ones are kept
/// then: the client's own bounds.
pub(crate) const EARLY_ROTATION_MS: u64 = 60 * 60 * 1000;
const MAX_REPLACED: usize = 24;

/// An account that wrote first. Its session stands where those of contacts do.
struct Approach {
    key: AccountKey,
    /// When its first message came.
    at: u64,
    device: Address,
    texts: BTreeMap<TextId, usize>,
    /// Something had no room.
    dropped: bool,
}

/// What a device keeps because of accounts that it has not accepted.
#[derive(Clone, Copy, Default, Debug)]
pub struct Kept {
    /// Accounts.
    pub requests: usize,
    /// Texts of the one that has the most.
    pub texts_of_one: usize,
    /// Bytes of texts of the one that has the most.
    pub text_bytes_of_one: usize,
    /// Texts of all of them.
    pub texts: usize,
    /// Ids of their envelopes.
    pub ids: usize,
    /// Entries of one of them in one replay record, at most.
    pub entries_of_one: usize,
    /// Last-resort prekeys, the one in use included.
    pub last_resort: usize,
    /// Bytes of sessions, texts, ids and replay records together.
    pub bytes: usize,
}

/// Where the numbers of resets begin, far above those of texts.
const RESET_IDS: TextId = 1 << 63;

/// Not encrypted yet.
#[derive(Clone)]
struct Draft {
    to: Address,
    body: Body,
    /// Goes over a session that is begun for it.
    fresh: bool,
}

/// Everything durable. A clone is a backup.
#[derive(Clone)]
struct Disk {
    /// Shared between a disk and its copies: there may be thousands.
    records: BTreeMap<Address, Arc<[u8]>>,
    /// By the id of the last-resort KEM prekey.
    replay: BTreeMap<u32, Vec<u8>>,
    prekeys: Prekeys,
    contacts: BTreeMap<AccountId, Contact>,
    /// Ids belong to the submitting device.
    received: BTreeSet<(Address, EnvelopeId)>,
    /// Accounts that wrote first.
    requests: BTreeMap<AccountId, Arc<Approach>>,
    /// When signed and last-resort prekey were replaced.
    rotated_at: u64,
    texts: BTreeSet<(AccountId, TextId)>,
    drafts: VecDeque<Draft>,
    encrypted: Vec<Envelope>,
    unconfirmed: BTreeMap<(Address, TextId), Vec<u8>>,
    receipts_due: BTreeMap<Address, Vec<TextId>>,
    /// When a fresh session was last queued, and for which devices one is due.
    reset_at: BTreeMap<Address, u64>,
    resets_due: BTreeSet<Address>,
    /// The last reset for a device, until it is confirmed: it is made again every hour.
    unheard: BTreeMap<Address, TextId>,
    /// When texts were last sent again, and to which devices they are due.
    resent_at: BTreeMap<Address, u64>,
    resend_due: BTreeSet<Address>,
}

impl Disk {
    fn record(&self, remote: Address) -> SessionRecord {
        self.records.get(&remote).map_or_else(SessionRecord::new, |bytes| SessionRecord::decode(bytes).unwrap())
    }

    /// The last-resort prekey that a message names, and its replay record.
    fn replay_record(&self, message: &[u8]) -> (Option<u32>, ReplayRecord) {
        let prekey = last_resort_prekey(message).unwrap_or_default();
        let stored = prekey.and_then(|id| self.replay.get(&id));
        (prekey, stored.map_or_else(ReplayRecord::new, |bytes| ReplayRecord::decode(bytes).unwrap()))
    }

    fn has_active(&self, remote: Address) -> bool {
        self.records.contains_key(&remote) && self.record(remote).has_active()
    }

    /// Drops the oldest request if there are too many.
    fn make_room(&mut self) {
        if self.requests.len() < MAX_REQUESTS {
            return;
        }
        let oldest = self.requests.iter().min_by_key(|(_, request)| request.at);
        if let Some((account, device)) = oldest.map(|(account, request)| (*account, request.device)) {
            self.requests.remove(&account);
            self.records.remove(&device);
        }
    }

    fn put_record(&mut self, us: Address, remote: Address, record: &SessionRecord, judge: &mut Judge) {
        let bytes = record.encode().to_vec();
        judge.record_size(us, record.inactive_count(), bytes.len());
        self.records.insert(remote, bytes.into());
    }
}

/// A device and the client on it.
pub struct Peer {
    local: LocalDevice,
    list: DeviceList,
    disk: Disk,
    backup: Option<(Disk, Mark, TestRng)>,
    /// Accounts whose lists are to be looked up. Forgotten in a crash; what asked for it asks again.
    look_up: BTreeSet<AccountId>,
    /// Bundles asked for: how many, and which have not come. Forgotten in a crash.
    asked: u64,
    awaited: BTreeSet<u64>,
    rng: TestRng,
    /// For envelope ids.
    ids: TestRng,
    fault: Option<Fault>,
    /// What a peer that [`Fault::SendsBeforeStoring`] has sent already.
    pub(crate) sent_early: Vec<Request>,
}

impl Peer {
    pub(crate) fn new(local: LocalDevice, list: DeviceList, [rng, ids]: [TestRng; 2], fault: Option<Fault>) -> Self {
        let disk = Disk {
            records: BTreeMap::new(),
            replay: BTreeMap::new(),
            prekeys: Prekeys::default(),
            contacts: BTreeMap::new(),
            received: BTreeSet::new(),
            requests: BTreeMap::new(),
            rotated_at: 0,
            texts: BTreeSet::new(),
            drafts: VecDeque::new(),
            encrypted: Vec::new(),
            unconfirmed: BTreeMap::new(),
            receipts_due: BTreeMap::new(),
            reset_at: BTreeMap::new(),
            resets_due: BTreeSet::new(),
            unheard: BTreeMap::new(),
            resent_at: BTreeMap::new(),
            resend_due: BTreeSet::new(),
        };
        let (look_up, awaited, sent_early) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        Self { local, list, disk, backup: None, look_up, asked: 0, awaited, rng, ids, fault, sent_early }
    }

    pub(crate) fn address(&self) -> Address {
        self.local.address()
    }

    pub(crate) fn certificate(&self) -> &DeviceCertificate {
        self.local.certificate()
    }

    pub(crate) fn set_list(&mut self, list: DeviceList) {
        self.list = list;
    }

    /// Pins a contact, as an invite link does.
    pub(crate) fn add_contact(&mut self, key: AccountKey, list: DeviceList) {
        self.disk.contacts.insert(list.body().account, Contact { key, list, claimed: None });
    }

    /// Makes new prekeys, stores them, and gives what is to be published.
    pub(crate) fn restock(&mut self, one_time: usize) -> Shelf {
        let (secrets, rng) = (self.local.secrets(), &mut self.rng);
        let prekeys = &mut self.disk.prekeys;
        let signed = SignedPrekeySecret::generate(prekeys.next_id(), secrets, rng);
        let last_resort = KemPrekeySecret::generate(prekeys.next_id(), KemPrekeyKind::LastResort, secrets, rng);
        prekeys.signed.insert(signed.id(), signed.encode().to_vec());
        prekeys.last_resort.insert(last_resort.id(), last_resort.encode().to_vec());
        self.shelf(one_time)
    }

    /// Makes one-time prekeys; the others stay.
    pub(crate) fn refill(&mut self, one_time: usize) -> Shelf {
        self.shelf(one_time)
    }

    /// The signed and last-resort prekeys in use, and one-time ones made for it.
    fn shelf(&mut self, one_time: usize) -> Shelf {
        let (secrets, rng) = (self.local.secrets(), &mut self.rng);
        let prekeys = &mut self.disk.prekeys;
        let mut pairs = VecDeque::new();
        for _ in 0..one_time {
            let curve = OneTimePrekeySecret::generate(prekeys.next_id(), rng);
            let kem = KemPrekeySecret::generate(prekeys.next_id(), KemPrekeyKind::OneTime, secrets, rng);
            prekeys.one_time.insert(curve.id(), curve.encode().to_vec());
            prekeys.kem.insert(kem.id(), kem.encode().to_vec());
            pairs.push_back((curve.public(), kem.public()));
        }
        let (_, signed) = prekeys.signed.last_key_value().unwrap();
        let (_, last_resort) = prekeys.last_resort.last_key_value().unwrap();
        Shelf {
            certificate: UnverifiedDeviceCertificate::decode(&self.local.certificate().encode()).unwrap(),
            signed: SignedPrekeySecret::decode(signed).unwrap().public(),
            one_time: pairs,
            last_resort: KemPrekeySecret::decode(last_resort).unwrap().public(),
        }
    }

    /// Replaces the last-resort prekey if strangers fill its replay record [KV-022]. What is to be published then.
    pub(crate) fn rotate(&mut self, now: u64) -> Option<Shelf> {
        let (in_use, _) = self.disk.prekeys.last_resort.last_key_value()?;
        let strangers =
            self.disk.replay.get(in_use).map_or(0, |bytes| ReplayRecord::decode(bytes).unwrap().strangers());
        let due = match self.fault {
            Some(Fault::NeverRotates) => false,
            Some(Fault::RotatesWithoutLimit) => strangers > 0,
            _ => {
                strangers >= STRANGERS_PER_PREKEY / 2
                    && now.saturating_sub(self.disk.rotated_at) >= EARLY_ROTATION_MS
                    && self.disk.prekeys.last_resort.len() <= MAX_REPLACED
            }
        };
        due.then(|| {
            self.disk.rotated_at = now;
            self.restock(0)
        })
    }

    /// The replay record in use has so many entries of strangers that are long gone.
    pub(crate) fn had_strangers(&mut self, entries: u32) {
        let (in_use, _) = self.disk.prekeys.last_resort.last_key_value().unwrap();
        let mut record = [&[2][..], &entries.to_be_bytes()].concat();
        for number in 0..entries {
            // Payer: a stranger; its account; a tag.
            record.push(2);
            record.extend([&number.to_be_bytes()[..], &[0xEE; 12], &number.to_be_bytes(), &[0xDD; 28]].concat());
        }
        self.disk.replay.insert(*in_use, record);
    }

    /// The owner accepts a request, if there is one: what it wrote is confirmed. Whether there was one.
    pub(crate) fn accept(&mut self, key: AccountKey, list: DeviceList, cx: &mut Context<'_>) -> Result<bool, Crashed> {
        let account = list.body().account;
        let mut disk = self.disk.clone();
        let Some(request) = disk.requests.remove(&account) else { return Ok(false) };
        disk.contacts.insert(account, Contact { key, list, claimed: None });
        for id in request.texts.keys() {
            disk.texts.insert((account, *id));
            disk.receipts_due.entry(request.device).or_default().push(*id);
        }
        if request.dropped {
            disk.resets_due.insert(request.device);
        }
        self.commit(disk, cx)?;
        cx.judge.accepted(self.address(), account);
        Ok(true)
    }

    /// What is kept because of accounts that are no contacts.
    pub(crate) fn kept_for_strangers(&self) -> Kept {
        let Disk { requests, records, received, replay, prekeys, contacts, .. } = &self.disk;
        let is_strange = |account: &AccountId| !contacts.contains_key(account);
        let mut kept = Kept { requests: requests.len(), last_resort: prekeys.last_resort.len(), ..Kept::default() };
        for request in requests.values() {
            let bytes = request.texts.values().sum();
            kept.texts += request.texts.len();
            kept.texts_of_one = kept.texts_of_one.max(request.texts.len());
            kept.text_bytes_of_one = kept.text_bytes_of_one.max(bytes);
            kept.bytes += bytes;
        }
        kept.ids = received.iter().filter(|(source, _)| is_strange(&source.account)).count();
        kept.bytes += kept.ids * (Address::LEN + EnvelopeId::LEN);
        let sessions = records.iter().filter(|(remote, _)| is_strange(&remote.account));
        kept.bytes += sessions.map(|(_, bytes)| bytes.len()).sum::<usize>();
        for record in replay.values() {
            let mut entries: BTreeMap<&[u8], usize> = BTreeMap::new();
            // version u8 ‖ count u32 ‖ count × (payer u8 ‖ account 16 ‖ tag 32)
            for entry in record[5..].chunks(49) {
                let account = AccountId::from_bytes(*entry[1..].first_chunk().unwrap());
                if is_strange(&account) {
                    *entries.entry(&entry[1..17]).or_default() += 1;
                    kept.bytes += entry.len();
                }
            }
            kept.entries_of_one = kept.entries_of_one.max(entries.into_values().max().unwrap_or(0));
        }
        kept
    }

    pub(crate) fn back_up(&mut self, judge: &Judge) {
        self.backup = Some((self.disk.clone(), judge.mark(self.address()), self.rng.clone()));
    }

    /// Goes back to the backup, if there is one. Its prekeys have to be published anew.
    pub(crate) fn restore(&mut self, judge: &mut Judge) -> bool {
        let Some((disk, mark, rng)) = self.backup.clone() else { return false };
        let last_id = self.disk.prekeys.last_id;
        self.disk = disk;
        // Numbers given since the backup are in use: the client leaves a gap.
        self.disk.prekeys.last_id = last_id;
        self.forget_volatile();
        if self.fault == Some(Fault::RepeatsRandomness) {
            self.rng = rng;
        }
        judge.restored(self.address(), mark);
        true
    }

    pub(crate) fn forget_volatile(&mut self) {
        self.look_up.clear();
        self.awaited.clear();
    }

    /// Whether it has nothing to send and nothing to wait for.
    pub(crate) fn is_idle(&self) -> bool {
        let Disk { drafts, encrypted, receipts_due, resets_due, unheard, resend_due, .. } = &self.disk;
        let waiting = [drafts.is_empty(), encrypted.is_empty(), receipts_due.is_empty(), unheard.is_empty()];
        waiting.iter().all(|empty| *empty) && resets_due.is_empty() && resend_due.is_empty() && self.look_up.is_empty()
    }

    pub(crate) fn is_unconfirmed(&self, to: Address, id: TextId) -> bool {
        self.disk.unconfirmed.contains_key(&(to, id))
    }

    pub(crate) fn knows_session_with(&self, remote: Address) -> bool {
        self.disk.has_active(remote)
    }

    /// A copy of the sessions with a device, without the inactive ones.
    pub(crate) fn active_session_with(&self, remote: Address) -> SessionRecord {
        let mut record = self.disk.record(remote);
        record.drop_inactive();
        record
    }

    /// Whether a message opens with these sessions. Changes nothing but them.
    pub(crate) fn can_open(&self, record: &mut SessionRecord, from: Address, message: &[u8], now: u64) -> bool {
        let (_, mut replay) = self.disk.replay_record(message);
        let context = DecryptContext {
            local: &self.local,
            remote: from,
            trust: Trust::Contact,
            prekeys: &self.disk.prekeys,
            replay: &mut replay,
            now,
            rng: &mut self.rng.clone(),
        };
        record.decrypt(message, context).is_ok()
    }

    fn commit(&mut self, disk: Disk, cx: &mut Context<'_>) -> Result<(), Crashed> {
        cx.steps.point()?;
        self.disk = disk;
        Ok(())
    }

    // ---- writing

    /// A person writes a text.
    pub(crate) fn write(
        &mut self,
        account: AccountId,
        id: TextId,
        text: &[u8],
        fresh: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), Crashed> {
        let mut disk = self.disk.clone();
        // Nobody writes to an account that was not accepted.
        let Some(contact) = self.disk.contacts.get(&account) else { return Ok(()) };
        let devices = &contact.list.body().devices;
        let devices: Vec<Address> = devices.iter().map(|entry| Address { account, device: entry.device }).collect();
        for to in &devices {
            disk.drafts.push_back(Draft { to: *to, body: Body::Text(id, text.to_vec()), fresh });
            disk.unconfirmed.insert((*to, id), text.to_vec());
        }
        self.commit(disk, cx)?;
        for to in devices {
            cx.judge.wrote(id, self.address(), to, text);
        }
        Ok(())
    }

    /// What a client does from time to time: sends what is due, asks for what is there. `curious`: looks for new devices without a reason.
    pub(crate) fn tick(&mut self, curious: bool, cx: &mut Context<'_>) -> Result<Vec<Request>, Crashed> {
        self.queue_what_is_due(cx)?;
        let mut requests = self.flush(cx)?;
        requests.push(Request::Fetch);
        let behind =
            self.disk.contacts.iter().filter(|(_, contact)| {
                contact.claimed.is_some_and(|claimed| claimed.number > contact.list.body().number)
            });
        let mut look_up = self.look_up.clone();
        look_up.extend(behind.map(|(account, _)| *account));
        if curious {
            look_up.extend(self.disk.contacts.keys());
        }
        requests.extend(look_up.into_iter().map(Request::List));
        Ok(requests)
    }

    fn queue_what_is_due(&mut self, cx: &mut Context<'_>) -> Result<(), Crashed> {
        let due = |last: Option<&u64>| last.is_none_or(|last| cx.now.saturating_sub(*last) >= RESET_INTERVAL_MS);
        let unlimited = self.fault == Some(Fault::ResetsWithoutLimit);
        let unheard: BTreeSet<Address> =
            self.disk.unheard.keys().copied().filter(|to| due(self.disk.reset_at.get(to))).collect();
        let resets: Vec<Address> = self
            .disk
            .resets_due
            .union(&unheard)
            .copied()
            .filter(|to| unlimited || due(self.disk.reset_at.get(to)))
            .collect();
        let resend: Vec<Address> =
            self.disk.resend_due.iter().copied().filter(|to| due(self.disk.resent_at.get(to))).collect();
        let forgets = self.fault == Some(Fault::ForgetsWhatIsDue);
        if resets.is_empty() && resend.is_empty() && self.disk.receipts_due.is_empty() && !forgets {
            return Ok(());
        }
        let mut disk = self.disk.clone();
        for to in &resets {
            disk.resets_due.remove(to);
            disk.reset_at.insert(*to, cx.now);
            // One that still waits for prekeys goes with this one.
            disk.drafts.retain(|draft| draft.to != *to || !matches!(draft.body, Body::Reset(_)));
            let id = RESET_IDS | self.ids.below(RESET_IDS);
            disk.unheard.insert(*to, id);
            disk.drafts.push_back(Draft { to: *to, body: Body::Reset(id), fresh: true });
        }
        for to in &resend {
            disk.resend_due.remove(to);
            disk.resent_at.insert(*to, cx.now);
            for ((device, id), text) in &self.disk.unconfirmed {
                let queued =
                    disk.drafts.iter().any(|d| d.to == *to && matches!(d.body, Body::Text(queued, _) if queued == *id));
                if device == to && !queued {
                    disk.drafts.push_back(Draft { to: *to, body: Body::Text(*id, text.clone()), fresh: false });
                }
            }
        }
        for (to, ids) in std::mem::take(&mut disk.receipts_due) {
            disk.drafts.push_back(Draft { to, body: Body::Receipts(ids), fresh: false });
        }
        if forgets {
            disk.resets_due.clear();
            disk.unheard.clear();
            disk.resend_due.clear();
        }
        self.commit(disk, cx)?;
        for to in resets {
            cx.judge.reset(self.address(), to, cx.now);
        }
        Ok(())
    }

    /// Encrypts what can be encrypted, and gives all that the relay has not accepted yet.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<Vec<Request>, Crashed> {
        let mut requests = Vec::new();
        if !self.disk.drafts.is_empty() {
            let mut disk = self.disk.clone();
            let wanted = self.encrypt(&mut disk, cx);
            if self.fault == Some(Fault::SendsBeforeStoring) {
                self.sent_early.extend(disk.encrypted.iter().cloned().map(Request::Submit));
            }
            if disk.encrypted.len() > self.disk.encrypted.len() {
                self.commit(disk, cx)?;
                cx.steps.point()?;
            }
            for device in wanted {
                self.asked += 1;
                self.awaited.insert(self.asked);
                requests.push(Request::Bundle(device, self.asked));
            }
        }
        requests.extend(self.disk.encrypted.iter().cloned().map(Request::Submit));
        Ok(requests)
    }

    /// Moves drafts to the encrypted ones, in order for each device. Gives the devices that need a session first.
    fn encrypt(&mut self, disk: &mut Disk, cx: &mut Context<'_>) -> BTreeSet<Address> {
        let us = self.address();
        let mut wanted = BTreeSet::new();
        for draft in std::mem::take(&mut disk.drafts) {
            let to = draft.to;
            if wanted.contains(&to) || draft.fresh || !disk.has_active(to) {
                wanted.insert(to);
                disk.drafts.push_back(draft);
                continue;
            }
            // A broken client writes to others than contacts.
            let nothing_known = DeviceListState { number: 0, hash: [0; 32] };
            let content = Content {
                sender_list: self.list.state(),
                recipient_list: disk.contacts.get(&to.account).map_or(nothing_known, |contact| contact.list.state()),
                body: draft.body.clone(),
            };
            let plaintext = content.encode();
            let mut record = disk.record(to);
            let Ok(ciphertext) = record.encrypt(&plaintext, cx.now, &mut self.rng) else {
                // The session is at its end.
                cx.judge.count("sessions at their end");
                disk.drafts.push_back(Draft { fresh: true, ..draft });
                wanted.insert(to);
                continue;
            };
            let text = if let Body::Text(id, _) = draft.body { Some(id) } else { None };
            disk.put_record(us, to, &record, cx.judge);
            let session = active_session(&disk.records[&to]);
            cx.judge.encrypted(us, to, text, &plaintext, &ciphertext, session);
            let id = EnvelopeId::from_bytes(self.ids.id());
            disk.encrypted.push(Envelope { id, source: us, recipient: to, ciphertext });
        }
        wanted
    }

    // ---- answers of the relay

    /// Takes what the relay answers; gives what to ask next.
    pub(crate) fn handle(&mut self, response: Response, cx: &mut Context<'_>) -> Result<Vec<Request>, Crashed> {
        match response {
            Response::Accepted(id) => {
                if self.disk.encrypted.iter().any(|envelope| envelope.id == id) {
                    let mut disk = self.disk.clone();
                    disk.encrypted.retain(|envelope| envelope.id != id);
                    self.commit(disk, cx)?;
                }
                Ok(Vec::new())
            }
            // It stays among the encrypted ones.
            Response::Full => Ok(Vec::new()),
            Response::Bundle(device, number, bundle, attack) => {
                // A bundle that comes twice is used once: its one-time prekeys are for one session.
                if self.awaited.remove(&number) {
                    self.begin_session(device, *bundle, attack, cx)
                } else {
                    cx.judge.outcome(attack, || "no effect: not needed any more".to_owned());
                    Ok(Vec::new())
                }
            }
            Response::List(account, list, attack) => {
                self.take_list(account, &list, attack, cx)?;
                Ok(Vec::new())
            }
            Response::Deliver(parcels) => {
                let mut done = Vec::new();
                let more = parcels.len() >= DELIVERY_WINDOW;
                for parcel in parcels {
                    if self.open(&parcel, cx)? {
                        done.push((parcel.envelope.source, parcel.envelope.id));
                    }
                }
                cx.steps.point()?;
                let mut requests = vec![Request::Acknowledge(done)];
                if more {
                    requests.push(Request::Fetch);
                }
                Ok(requests)
            }
        }
    }

    fn begin_session(
        &mut self,
        device: Address,
        bundle: PrekeyBundle,
        attack: Option<AttackId>,
        cx: &mut Context<'_>,
    ) -> Result<Vec<Request>, Crashed> {
        let us = self.address();
        let has_active = self.disk.has_active(device);
        let first = self.disk.drafts.iter().position(|draft| draft.to == device);
        let Some(first) = first.filter(|at| self.disk.drafts[*at].fresh || !has_active) else {
            cx.judge.outcome(attack, || "no effect: not needed any more".to_owned());
            return Ok(Vec::new());
        };
        let mut disk = self.disk.clone();
        let Some(contact) = disk.contacts.get(&device.account) else { return Ok(Vec::new()) };
        let verified = match bundle.verify(device, &contact.key) {
            Ok(verified) if contact.list.names(verified.certificate()) => Ok(verified),
            Ok(_) => Err("UnlistedDevice".to_owned()),
            Err(error) => Err(format!("{error:?}")),
        };
        let mut record = disk.record(device);
        let begun = verified.and_then(|verified| {
            let begun = record.initiate(&self.local, &verified, cx.now, &mut self.rng);
            begun.map_err(|error| format!("{error:?}"))
        });
        if let Err(why) = begun {
            cx.judge.reported(us, "prekeys refused, and the user told");
            cx.judge.outcome(attack, || format!("refused: {why}"));
            if why == "UnlistedDevice" {
                self.look_up.insert(device.account);
            } else if attack.is_none() {
                cx.judge.violate(Rule::RefusedWithoutReason, format!("genuine prekeys: {why}"));
            }
            return Ok(Vec::new());
        }
        cx.judge.bundle_taken(attack);
        disk.drafts[first].fresh = false;
        disk.put_record(us, device, &record, cx.judge);
        self.commit(disk, cx)?;
        cx.judge.initiated(us, device, active_session(&self.disk.records[&device]));
        cx.steps.point()?;
        self.flush(cx)
    }

    fn take_list(
        &mut self,
        account: AccountId,
        bytes: &[u8],
        attack: Option<AttackId>,
        cx: &mut Context<'_>,
    ) -> Result<(), Crashed> {
        let mut disk = self.disk.clone();
        let Some(contact) = disk.contacts.get_mut(&account) else { return Ok(()) };
        let list = UnverifiedDeviceList::decode(bytes).map_err(|_| "Unsigned");
        let list = list.and_then(|list| list.verify(&contact.key).map_err(|_| "Unsigned"));
        let claimed = contact.claimed.filter(|_| self.fault != Some(Fault::TakesAnyList));
        let refused = match &list {
            Err(why) => Some(*why),
            Ok(list) if list.body().account != account => Some("Unsigned"),
            Ok(_) if self.fault == Some(Fault::TakesAnyList) => None,
            Ok(list) => match (list.may_replace(&contact.list), claimed) {
                (Err(kuvert_types::device_list::DeviceListConflict::Older), _) => Some("Older"),
                (Err(_), _) => Some("Forked"),
                (Ok(()), Some(claimed)) if list.body().number < claimed.number => Some("Older"),
                (Ok(()), Some(claimed)) if list.body().number == claimed.number && list.hash() != claimed.hash => {
                    Some("Forked")
                }
                _ => None,
            },
        };
        match (refused, list) {
            (None, Ok(list)) => {
                let unchanged = list == contact.list;
                contact.list = list;
                self.commit(disk, cx)?;
                self.look_up.remove(&account);
                cx.judge.list_taken(attack, unchanged);
            }
            (why, _) => {
                let why = why.unwrap_or("Unsigned");
                cx.judge.reported(self.address(), "device list refused, and the user told");
                cx.judge.outcome(attack, || format!("refused and reported: {why}"));
                // An honest answer may have been under way while a newer one overtook it.
                if attack.is_none() && why != "Older" {
                    cx.judge.violate(Rule::RefusedWithoutReason, format!("genuine device list: {why}"));
                }
            }
        }
        Ok(())
    }

    // ---- reading

    /// Opens an envelope. Whether the relay may delete it.
    fn open(&mut self, parcel: &Parcel, cx: &mut Context<'_>) -> Result<bool, Crashed> {
        let us = self.address();
        let Parcel { envelope: Envelope { id, source, recipient, ciphertext }, attack, .. } = parcel;
        if *recipient != us {
            cx.judge.refused(us, *source, ciphertext, "Misdelivered", *attack);
            return Ok(true);
        }
        if self.was_received(*source, *id) {
            cx.judge.outcome(*attack, || "no effect: envelope id known".to_owned());
            return Ok(true);
        }
        // Mail of one's own account is refused below, as of a sender that nobody knows.
        if !self.disk.contacts.contains_key(&source.account) && source.account != us.account {
            return self.open_from_stranger(parcel, cx);
        }
        let mut disk = self.disk.clone();
        disk.received.insert((*source, *id));
        match self.may_open(&disk, *source, ciphertext) {
            Ok(true) => {}
            Ok(false) => {
                // From a device that the list here does not name yet. It stays at the relay until a newer list is here.
                self.look_up.insert(source.account);
                return Ok(false);
            }
            Err(why) => {
                if why == "IdentityChanged" {
                    cx.judge.reported(us, "a changed account key, and the user told");
                }
                self.commit(disk, cx)?;
                cx.judge.refused(us, *source, ciphertext, why, *attack);
                return Ok(true);
            }
        }

        let mut record = disk.record(*source);
        let (last_resort, mut replay) = disk.replay_record(ciphertext);
        if self.fault == Some(Fault::BurnsBeforeAuthentication) && ciphertext.get(1) == Some(&1) {
            let kem = u32::from_be_bytes(*ciphertext[284..].first_chunk().unwrap());
            disk.prekeys.kem.remove(&kem);
        }
        let context = DecryptContext {
            local: &self.local,
            remote: *source,
            trust: Trust::Contact,
            prekeys: &disk.prekeys,
            replay: &mut replay,
            now: cx.now,
            rng: &mut self.rng,
        };
        let opened = record.decrypt(ciphertext, context).map_err(DecryptError::from);
        let decrypted = match opened {
            Ok(decrypted) => decrypted,
            Err(error) => {
                if calls_for_a_reset(error) && self.fault != Some(Fault::NeverResets) {
                    disk.resets_due.insert(*source);
                }
                self.commit(disk, cx)?;
                cx.judge.refused(us, *source, ciphertext, &variant(&error), *attack);
                return Ok(true);
            }
        };
        if let Some(used) = decrypted.used.filter(|_| self.fault != Some(Fault::KeepsOneTimePrekeys)) {
            used.one_time.map(|id| disk.prekeys.one_time.remove(&id));
            used.kem.map(|id| disk.prekeys.kem.remove(&id));
        }
        disk.put_record(us, *source, &record, cx.judge);
        last_resort.map(|id| disk.replay.insert(id, replay.encode()));
        if self.fault == Some(Fault::StoresInTwoSteps) {
            let mut half = self.disk.clone();
            half.records = disk.records.clone();
            self.commit(half, cx)?;
        }
        if decrypted.pq_failure.is_some() {
            cx.judge.violate(Rule::RefusedWithoutReason, "the post-quantum ratchet failed between honest devices");
        }
        // No one but the judge would learn of a content that does not decode: it is genuine.
        let content = Content::decode(&decrypted.plaintext).ok();
        let mut shown = None;
        let mut confirmed = Vec::new();
        if let Some(Content { sender_list, recipient_list, body }) = content {
            self.compare_lists(&mut disk, *source, sender_list, recipient_list, cx);
            match body {
                Body::Text(id, text) => {
                    let new = disk.texts.insert((source.account, id));
                    disk.receipts_due.entry(*source).or_default().push(id);
                    shown = (new || self.fault == Some(Fault::ForgetsTexts)).then_some((id, text));
                }
                Body::Receipts(ids) => {
                    disk.unheard.retain(|device, id| *device != *source || !ids.contains(id));
                    confirmed.extend(ids.into_iter().filter(|id| disk.unconfirmed.remove(&(*source, *id)).is_some()));
                }
                Body::Reset(id) => {
                    disk.receipts_due.entry(*source).or_default().push(id);
                    disk.resend_due.insert(*source);
                }
            }
        }
        self.commit(disk, cx)?;
        cx.judge.opened(us, *source, ciphertext, &decrypted.plaintext, *attack);
        if let Some((id, text)) = shown {
            cx.judge.shown(us, *source, id, &text);
        }
        for id in confirmed {
            cx.judge.confirmed(id, *source);
        }
        cx.steps.point()?;
        Ok(true)
    }

    fn was_received(&self, source: Address, id: EnvelopeId) -> bool {
        match self.fault {
            Some(Fault::IdsOfAnySender) => self.disk.received.iter().any(|(_, known)| *known == id),
            _ => self.disk.received.contains(&(source, id)),
        }
    }

    /// Opens an envelope of an account that is no contact: a request, and nothing is sent, asked or begun on its word. What
    /// does not open leaves nothing behind.
    fn open_from_stranger(&mut self, parcel: &Parcel, cx: &mut Context<'_>) -> Result<bool, Crashed> {
        let Parcel { envelope: Envelope { id, source, ciphertext, .. }, attack, .. } = parcel;
        let us = self.address();
        let mut disk = self.disk.clone();
        let (plaintext, shown) = match self.take_approach(&mut disk, parcel, cx) {
            Ok(taken) => taken,
            Err(why) => {
                self.mistreat_stranger(*source, *id, cx)?;
                cx.judge.refused(us, *source, ciphertext, &why, *attack);
                return Ok(true);
            }
        };
        self.commit(disk, cx)?;
        cx.judge.opened(us, *source, ciphertext, &plaintext, *attack);
        if let Some((id, text)) = shown {
            cx.judge.shown(us, *source, id, &text);
        }
        cx.steps.point()?;
        Ok(true)
    }

    /// What a broken client does about a stranger's message that does not open.
    fn mistreat_stranger(&mut self, source: Address, id: EnvelopeId, cx: &mut Context<'_>) -> Result<(), Crashed> {
        let mut disk = self.disk.clone();
        match self.fault {
            Some(Fault::ResetsForStrangers) => {
                disk.resets_due.insert(source);
            }
            Some(Fault::BlamesContacts) => {
                let known = disk.records.keys().filter(|remote| disk.contacts.contains_key(&remote.account));
                disk.resets_due = known.copied().collect();
            }
            Some(Fault::RemembersWhatDidNotOpen) => {
                disk.received.insert((source, id));
            }
            _ => return Ok(()),
        }
        self.commit(disk, cx)
    }

    /// Opens a first message of a stranger's, or one in its session. The content, and a text to be shown.
    #[allow(clippy::type_complexity)]
    fn take_approach(
        &mut self,
        disk: &mut Disk,
        parcel: &Parcel,
        cx: &mut Context<'_>,
    ) -> Result<(Plaintext, Option<(TextId, Vec<u8>)>), String> {
        let Parcel { envelope: Envelope { id, source, ciphertext, .. }, .. } = parcel;
        let known = disk.requests.get(&source.account).map(|request| request.key);
        let certificate = initiator_certificate(ciphertext).map_err(|_| "Malformed")?;
        let claimed = certificate.map(|certificate| *certificate.claimed());
        if claimed.is_some_and(|claimed| claimed.address != *source) {
            return Err("AccountMismatch".to_owned());
        }
        let key = known.or(claimed.map(|claimed| claimed.account_key)).ok_or("UnknownSender")?;
        if claimed.is_some_and(|claimed| claimed.account_key != key) {
            return Err("WrongSource".to_owned());
        }
        let mut record = disk.record(*source);
        let (last_resort, mut replay) = disk.replay_record(ciphertext);
        let trust = if self.fault == Some(Fault::TrustsStrangers) { Trust::Contact } else { Trust::Stranger };
        let context = DecryptContext {
            local: &self.local,
            remote: *source,
            trust,
            prekeys: &disk.prekeys,
            replay: &mut replay,
            now: cx.now,
            rng: &mut self.rng,
        };
        let decrypted = record.decrypt(ciphertext, context).map_err(|error| variant(&DecryptError::from(error)))?;
        if let Some(used) = decrypted.used {
            used.one_time.map(|id| disk.prekeys.one_time.remove(&id));
            used.kem.map(|id| disk.prekeys.kem.remove(&id));
        }
        if decrypted.new_session {
            cx.judge.count("strangers: sessions begun");
        }
        disk.put_record(self.local.address(), *source, &record, cx.judge);
        last_resort.map(|id| disk.replay.insert(id, replay.encode()));
        if !disk.requests.contains_key(&source.account) {
            disk.make_room();
            cx.judge.count("strangers: requests made");
        }
        let new = || Arc::new(Approach { key, at: cx.now, device: *source, texts: BTreeMap::new(), dropped: false });
        let request = disk.requests.remove(&source.account).unwrap_or_else(new);
        let (request, shown) = self.keep(disk, &request, *source, *id, &decrypted.plaintext, cx);
        disk.requests.insert(source.account, Arc::new(request));
        if self.fault == Some(Fault::AsksAboutStrangers) {
            self.look_up.insert(source.account);
        }
        Ok((decrypted.plaintext, shown))
    }

    /// Keeps a text of a request within its budget; all other contents are passed over.
    fn keep(
        &self,
        disk: &mut Disk,
        request: &Approach,
        source: Address,
        envelope: EnvelopeId,
        plaintext: &[u8],
        cx: &mut Context<'_>,
    ) -> (Approach, Option<(TextId, Vec<u8>)>) {
        let mut request = Approach { texts: request.texts.clone(), ..*request };
        let body = Content::decode(plaintext).ok().map(|content| content.body);
        if self.fault == Some(Fault::ConfirmsToStrangers)
            && let Some(Body::Text(id, _) | Body::Reset(id)) = &body
        {
            disk.receipts_due.entry(source).or_default().push(*id);
        }
        let Some(Body::Text(id, text)) = body else { return (request, None) };
        if request.texts.contains_key(&id) {
            return (request, None);
        }
        let bytes = request.texts.values().sum::<usize>() + text.len();
        let room = request.texts.len() < MAX_TEXTS_OF_REQUEST && bytes <= MAX_TEXT_BYTES_OF_REQUEST;
        if !room && self.fault != Some(Fault::KeepsAllOfStrangers) {
            request.dropped = true;
            cx.judge.count("strangers: texts dropped for want of room");
            return (request, None);
        }
        request.texts.insert(id, text.len());
        disk.received.insert((source, envelope));
        (request, Some((id, text)))
    }

    /// Whether a message comes under the pinned key, and from a device that the account lists (`false`: not as far as is
    /// known).
    fn may_open(&self, disk: &Disk, source: Address, ciphertext: &[u8]) -> Result<bool, &'static str> {
        let contact = disk.contacts.get(&source.account).ok_or("UnknownSender")?;
        let Some(certificate) = initiator_certificate(ciphertext).map_err(|_| "Malformed")? else { return Ok(true) };
        if certificate.claimed().address != source {
            return Err("AccountMismatch");
        }
        let certificate = certificate.verify().map_err(|_| "InvalidHandshake")?;
        if self.fault == Some(Fault::TrustsAnyKey) {
            return Ok(true);
        }
        if certificate.account_key() != contact.key {
            return Err("IdentityChanged");
        }
        Ok(contact.list.names(&certificate))
    }

    /// Compares what a contact says about both lists with what is known here.
    fn compare_lists(
        &mut self,
        disk: &mut Disk,
        source: Address,
        theirs: DeviceListState,
        ours: DeviceListState,
        cx: &mut Context<'_>,
    ) {
        let us = self.address();
        let Some(contact) = disk.contacts.get_mut(&source.account) else { return };
        if contact.list.body().number == theirs.number && contact.list.hash() != theirs.hash {
            cx.judge.reported(us, "a forked device list found by a contact's word");
        }
        if contact.claimed.is_none_or(|claimed| claimed.number < theirs.number) {
            contact.claimed = Some(theirs);
        }
        let own = self.list.state();
        if ours.number > own.number || (ours.number == own.number && ours.hash != own.hash) {
            cx.judge.reported(us, "a contact believes another list of our own");
        }
    }
}

/// Errors after which the two sides may have lost each other. A duplicate is among them, as in the client: the sender may
/// have been restored from a backup, and count its messages anew.
fn calls_for_a_reset(error: DecryptError) -> bool {
    use DecryptError::{AccountMismatch, IdentityChanged, InvalidHandshake, Malformed, Replayed};
    !matches!(error, Malformed | InvalidHandshake | Replayed | AccountMismatch | IdentityChanged { .. })
}

/// The error's name without what it carries.
fn variant(error: &DecryptError) -> String {
    let name = format!("{error:?}");
    name.split([' ', '(']).next().unwrap_or_default().to_owned()
}

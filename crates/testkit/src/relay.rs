//! A relay: mailboxes, prekeys, device lists. An honest one, and one that does all that a relay can do, and a little more:
//! it was given a device list forked under the account's own key.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kuvert_protocol::prelude::*;
use kuvert_relay::mailbox::share::{self, Amount, Sender, Waiting};
use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
use kuvert_types::limits::DELIVERY_WINDOW;
use kuvert_types::{AccountId, Address, DeviceId, DeviceList, EnvelopeId, UnverifiedDeviceCertificate};

use crate::invariants::{AttackId, Judge, one_time_kem};
use crate::rng::TestRng;

/// What a relay can do to its users.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Attack {
    /// Accepts an envelope and throws it away.
    Drop,
    /// Holds an envelope back for hours.
    Withhold,
    /// Delivers a mailbox in another order.
    Reorder,
    /// Delivers an envelope again, at once or much later, under the same or a new id.
    Replay,
    /// Flips a bit of a message.
    FlipBit,
    /// Cuts the end off a message.
    Truncate,
    /// Adds bytes to a message.
    Extend,
    /// Puts header or handshake of one message before the body of another.
    Splice,
    /// Delivers random bytes.
    Garbage,
    /// Names another sender.
    Mislabel,
    /// Delivers to another device or account, as it is.
    Misdeliver,
    /// Delivers to another device or account, with the address changed.
    Readdress,
    /// Writes as a device that it has no keys of, under an account key of its own.
    Impersonate,
    /// Serves a bundle with another device's signed prekey.
    SwapSignedPrekey,
    /// Serves a bundle with another device's KEM prekey.
    SwapKemPrekey,
    /// Serves a bundle with a one-time curve prekey of its own, which no signature covers.
    SwapOneTimePrekey,
    /// Serves a bundle with a certificate under an account key of its own.
    SwapCertificate,
    /// Serves another device's bundle.
    SwapBundle,
    /// Serves one-time prekeys twice.
    ServeTwice,
    /// Serves a device list whose signature does not verify.
    UnsignedList,
    /// Serves a device list with a device of its own, signed with a key of its own.
    GhostDevice,
    /// Serves a device list that was replaced.
    OlderList,
    /// Serves another list under a number that is known, signed by the account itself.
    ForkedList,
}

use Attack::*;

const ON_SUBMIT: &[Attack] =
    &[Drop, Withhold, Replay, FlipBit, Truncate, Extend, Splice, Mislabel, Misdeliver, Readdress];
const ON_FETCH: &[Attack] = &[Reorder, Replay, Garbage, Impersonate];
const ON_BUNDLE: &[Attack] =
    &[SwapSignedPrekey, SwapKemPrekey, SwapOneTimePrekey, SwapCertificate, SwapBundle, ServeTwice];
const ON_LIST: &[Attack] = &[UnsignedList, GhostDevice, OlderList, ForkedList];

impl Attack {
    /// Every one of them.
    pub fn all() -> BTreeSet<Self> {
        [ON_SUBMIT, ON_FETCH, ON_BUNDLE, ON_LIST].concat().into_iter().collect()
    }

    /// Whether something must come of it, because the relay delivers in the end whatever lies in a mailbox.
    pub(crate) fn travels_in_an_envelope(self) -> bool {
        !ON_BUNDLE.contains(&self) && !ON_LIST.contains(&self)
    }
}

/// What the relay stores for a device and sees.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Drawn by the sender.
    pub id: EnvelopeId,
    /// The sender, as the relay says.
    pub source: Address,
    /// The recipient.
    pub recipient: Address,
    /// The session message.
    pub ciphertext: Vec<u8>,
}

/// An envelope on its way, and, for the books alone, what the relay did to it.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// What the device sees.
    pub envelope: Envelope,
    /// What it cannot know.
    pub attack: Option<AttackId>,
    not_before: u64,
}

/// What a device asks of the relay.
#[derive(Clone, Debug)]
pub enum Request {
    /// Store this.
    Submit(Envelope),
    /// What is there for me?
    Fetch,
    /// Delete these: source and id.
    Acknowledge(Vec<(Address, EnvelopeId)>),
    /// Prekeys of a device. The number comes back with the answer.
    Bundle(Address, u64),
    /// The device list of an account.
    List(AccountId),
}

/// What the relay answers.
#[derive(Clone, Debug)]
pub enum Response {
    /// Stored.
    Accepted(EnvelopeId),
    /// No room for it: try again.
    Full,
    /// What is there.
    Deliver(Vec<Parcel>),
    /// Prekeys, as far as the relay can be believed.
    Bundle(Address, u64, Box<PrekeyBundle>, Option<AttackId>),
    /// A device list, likewise.
    List(AccountId, Vec<u8>, Option<AttackId>),
}

/// The public halves of a device's prekeys.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// The device that they belong to.
    pub certificate: UnverifiedDeviceCertificate,
    /// The signed prekey.
    pub signed: SignedPrekey,
    /// One-time prekeys.
    pub one_time: VecDeque<(OneTimePrekey, KemPrekey)>,
    /// For when those have run out.
    pub last_resort: KemPrekey,
}

/// Envelopes that one answer brings, at most.
const WINDOW: usize = 12;

/// One-time prekeys of a device that all others together are given at once, and more an hour: a relay's defaults.
const ONE_TIME_AT_ONCE: u64 = 20;
const ONE_TIME_PER_HOUR: u64 = 2;

/// How a mailbox is shared, in worlds with strangers: by the relay's own rules.
#[derive(Default)]
struct Shares {
    /// Recipient and sender: the sender has the recipient's access key.
    contacts: BTreeSet<(AccountId, AccountId)>,
    /// One-time prekeys given out of a device.
    given: BTreeMap<Address, u64>,
    /// When the world began.
    since: u64,
}

/// See the module's head.
pub struct Relay {
    /// Whether it keeps shares; else a mailbox has no bounds.
    shares: Option<Shares>,
    mailboxes: BTreeMap<Address, Vec<Parcel>>,
    /// Recipient, source, id: ids belong to the submitting device.
    seen: BTreeSet<(Address, Address, EnvelopeId)>,
    shelves: BTreeMap<Address, Shelf>,
    lists: BTreeMap<AccountId, Vec<DeviceList>>,
    forks: BTreeMap<AccountId, DeviceList>,
    /// Attacks in a thousand occasions.
    malice: u64,
    /// Which; none named: any.
    attacks: &'static [Attack],
    /// All envelopes that were submitted for a device: what a relay can replay.
    log: BTreeMap<Address, Vec<Envelope>>,
    served: BTreeMap<Address, PrekeyBundle>,
    /// The relay's own account key.
    account: AccountSecret,
    rng: TestRng,
}

impl Relay {
    pub(crate) fn new(malice: u64, attacks: &'static [Attack], mut rng: TestRng) -> Self {
        Self {
            shares: None,
            mailboxes: BTreeMap::new(),
            seen: BTreeSet::new(),
            shelves: BTreeMap::new(),
            lists: BTreeMap::new(),
            forks: BTreeMap::new(),
            malice,
            attacks,
            log: BTreeMap::new(),
            served: BTreeMap::new(),
            account: AccountSecret::generate(&mut rng),
            rng,
        }
    }

    /// From now on it is honest, and gives out what it held back.
    pub(crate) fn heal(&mut self) {
        self.malice = 0;
        for parcel in self.mailboxes.values_mut().flatten() {
            parcel.not_before = 0;
        }
    }

    pub(crate) fn publish(&mut self, device: Address, shelf: Shelf) {
        self.shelves.insert(device, shelf);
    }

    /// Keeps a mailbox's shares from now on.
    pub(crate) fn keep_shares(&mut self, now: u64) {
        self.shares = Some(Shares { since: now, ..Shares::default() });
    }

    /// The sender was told the recipient's access key.
    pub(crate) fn befriend(&mut self, recipient: AccountId, sender: AccountId) {
        if let Some(shares) = &mut self.shares {
            shares.contacts.insert((recipient, sender));
        }
    }

    /// Replaces signed and last-resort prekey, and adds one-time prekeys.
    pub(crate) fn add(&mut self, device: Address, mut shelf: Shelf) {
        let mut left = self.shelves.remove(&device).map(|old| old.one_time).unwrap_or_default();
        left.append(&mut shelf.one_time);
        self.shelves.insert(device, Shelf { one_time: left, ..shelf });
    }

    /// Whether an envelope fits into its sender's share.
    fn admits(&self, envelope: &Envelope) -> bool {
        let Some(Shares { contacts, .. }) = &self.shares else { return true };
        let is_contact = |source: AccountId| contacts.contains(&(envelope.recipient.account, source));
        let mut waiting = Waiting::default();
        for parcel in self.mailboxes.get(&envelope.recipient).into_iter().flatten() {
            let (source, one) = (parcel.envelope.source.account, Amount::one(parcel.envelope.ciphertext.len() as u32));
            waiting.all = waiting.all.and(one);
            if !is_contact(source) {
                waiting.strangers = waiting.strangers.and(one);
            }
            if source == envelope.source.account {
                waiting.own = waiting.own.and(one);
            }
        }
        let sender = Sender::of(Some(envelope.source), is_contact(envelope.source.account));
        share::admit(sender, &waiting, envelope.ciphertext.len() as u32).is_ok()
    }

    /// Submits as a relay with shares does: an id is known while its envelope waits.
    fn submit_within_shares(&mut self, envelope: Envelope, judge: &mut Judge) -> Response {
        let (id, source) = (envelope.id, envelope.source);
        let mailbox = self.mailboxes.get(&envelope.recipient);
        let waits = |parcel: &Parcel| parcel.envelope.id == id && parcel.envelope.source == source;
        if mailbox.is_some_and(|mailbox| mailbox.iter().any(waits)) {
            return Response::Accepted(id);
        }
        if !self.admits(&envelope) {
            judge.refused_by_shares(source.account);
            return Response::Full;
        }
        self.put(envelope, None, 0);
        Response::Accepted(id)
    }

    /// Whether all others were given so many one-time prekeys of a device that there are none for now.
    fn rations(&mut self, device: Address, now: u64) -> bool {
        let Some(shares) = &mut self.shares else { return false };
        let allowed = ONE_TIME_AT_ONCE + ONE_TIME_PER_HOUR * (now.saturating_sub(shares.since) / (60 * 60 * 1000));
        let given = shares.given.entry(device).or_default();
        if *given >= allowed {
            return true;
        }
        *given += 1;
        false
    }

    pub(crate) fn one_time_left(&self, device: Address) -> usize {
        self.shelves.get(&device).map_or(0, |shelf| shelf.one_time.len())
    }

    pub(crate) fn publish_list(&mut self, list: DeviceList) {
        self.lists.entry(list.body().account).or_default().push(list);
    }

    /// Hands the relay a list that the account itself signed under a number that it had given to another.
    pub(crate) fn leak_fork(&mut self, list: DeviceList) {
        self.forks.insert(list.body().account, list);
    }

    pub(crate) fn nothing_waits_for(&self, device: Address) -> bool {
        self.mailboxes.get(&device).is_none_or(Vec::is_empty)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mailboxes.values().all(Vec::is_empty)
    }

    /// Delivers once more, under new ids, everything that ever went over it.
    pub(crate) fn replay_everything(&mut self, judge: &mut Judge) {
        for envelope in self.log.values().flatten().cloned().collect::<Vec<_>>() {
            let attack = judge.attack(Replay);
            let id = self.new_id();
            self.put(Envelope { id, ..envelope }, Some(attack), 0);
        }
    }

    pub(crate) fn handle(&mut self, from: Address, request: Request, now: u64, judge: &mut Judge) -> Vec<Response> {
        match request {
            Request::Submit(envelope) => {
                let id = envelope.id;
                if self.shares.is_some() {
                    return vec![self.submit_within_shares(envelope, judge)];
                }
                if self.seen.insert((envelope.recipient, envelope.source, id)) {
                    self.submit(envelope, now, judge);
                }
                vec![Response::Accepted(id)]
            }
            Request::Fetch => {
                self.meddle(from, now, judge);
                let window = if self.shares.is_some() { DELIVERY_WINDOW } else { WINDOW };
                let mailbox = self.mailboxes.entry(from).or_default();
                let ready = mailbox.iter().filter(|parcel| parcel.not_before <= now);
                vec![Response::Deliver(ready.take(window).cloned().collect())]
            }
            Request::Acknowledge(ids) => {
                self.mailboxes.entry(from).or_default().retain(|parcel| {
                    let acknowledged = ids.contains(&(parcel.envelope.source, parcel.envelope.id));
                    if acknowledged {
                        judge.outcome(parcel.attack, || "no effect: envelope id known".to_owned());
                    }
                    !acknowledged
                });
                Vec::new()
            }
            Request::Bundle(device, number) => self.bundle(device, number, now, judge).into_iter().collect(),
            Request::List(account) => {
                let (list, attack) = self.list(account, judge);
                vec![Response::List(account, list, attack)]
            }
        }
    }

    fn tempted(&mut self, by: &[Attack]) -> Option<Attack> {
        let by: Vec<Attack> =
            by.iter().copied().filter(|attack| self.attacks.is_empty() || self.attacks.contains(attack)).collect();
        (self.rng.chance(self.malice) && !by.is_empty()).then(|| *self.rng.pick(&by))
    }

    fn new_id(&mut self) -> EnvelopeId {
        EnvelopeId::from_bytes(self.rng.id())
    }

    fn put(&mut self, envelope: Envelope, attack: Option<AttackId>, not_before: u64) {
        let parcel = Parcel { envelope, attack, not_before };
        self.mailboxes.entry(parcel.envelope.recipient).or_default().push(parcel);
    }

    fn submit(&mut self, envelope: Envelope, now: u64, judge: &mut Judge) {
        let earlier = self.log.entry(envelope.recipient).or_default();
        earlier.push(envelope.clone());
        let Some(kind) = self.tempted(ON_SUBMIT) else { return self.put(envelope, None, 0) };
        let attack = judge.attack(kind);
        match kind {
            Drop => return judge.taken(&envelope.ciphertext, attack),
            Withhold => {
                let until = now + self.rng.between(60_000, 24 * 60 * 60 * 1000);
                return self.put(envelope, Some(attack), until);
            }
            Replay => {
                self.put(envelope.clone(), None, 0);
                let id = if self.rng.chance(500) { envelope.id } else { self.new_id() };
                return self.put(Envelope { id, ..envelope }, Some(attack), 0);
            }
            Misdeliver | Readdress => {
                let others: Vec<Address> =
                    self.shelves.keys().copied().filter(|device| *device != envelope.recipient).collect();
                let other = *self.rng.pick(&others);
                let recipient = if kind == Readdress { other } else { envelope.recipient };
                let parcel = Parcel {
                    envelope: Envelope { id: self.new_id(), recipient, ..envelope.clone() },
                    attack: Some(attack),
                    not_before: 0,
                };
                self.mailboxes.entry(other).or_default().push(parcel);
            }
            _ => {
                let mut false_one = Envelope { id: self.new_id(), ..envelope.clone() };
                self.spoil(kind, &mut false_one);
                self.put(false_one, Some(attack), 0);
            }
        }
        // The genuine one comes after it, or never.
        if self.rng.chance(600) {
            self.put(envelope, None, 0);
        } else {
            judge.taken(&envelope.ciphertext, attack);
        }
    }

    fn spoil(&mut self, kind: Attack, envelope: &mut Envelope) {
        let bytes = &mut envelope.ciphertext;
        let len = bytes.len() as u64;
        match kind {
            Truncate => bytes.truncate(self.rng.below(len) as usize),
            Extend => {
                let more = self.rng.between(1, 600) as usize;
                bytes.extend(self.rng.bytes(more));
            }
            Mislabel => {
                let others: Vec<Address> =
                    self.shelves.keys().copied().filter(|device| *device != envelope.source).collect();
                envelope.source = *self.rng.pick(&others);
            }
            Splice => {
                let own = bytes.clone();
                let same_kind = |other: &&Envelope| other.ciphertext[1] == own[1] && other.ciphertext != own;
                let others: Vec<&Envelope> = self.log[&envelope.recipient].iter().filter(same_kind).collect();
                if others.is_empty() {
                    return self.flip(bytes);
                }
                let other = &self.rng.pick(&others).ciphertext;
                // The header ends 528 bytes and more before the end: padded contents have 512 bytes at least.
                let handshake = 2 + kuvert_protocol::message::HANDSHAKE_LEN;
                let header = if own[1] == 1 { handshake } else { 2 };
                let until = if own[1] == 1 && self.rng.chance(500) { handshake } else { header + 232 };
                bytes[..until].copy_from_slice(&other[..until]);
                if *bytes == own {
                    self.flip(bytes);
                }
            }
            _ => self.flip(bytes),
        }
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let bit = self.rng.below(8 * bytes.len() as u64) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
    }

    /// Attacks on a mailbox that is about to be read.
    fn meddle(&mut self, device: Address, now: u64, judge: &mut Judge) {
        // A device asks far more often than it writes.
        if !self.rng.chance(250) {
            return;
        }
        let Some(kind) = self.tempted(ON_FETCH) else { return };
        match kind {
            Reorder => {
                let Some(mailbox) = self.mailboxes.get_mut(&device).filter(|mailbox| mailbox.len() > 1) else { return };
                let attack = judge.attack(Reorder);
                self.rng.shuffle(mailbox);
                judge.outcome(Some(attack), || "no effect: every message is judged by itself".to_owned());
            }
            Replay => {
                let Some(log) = self.log.get(&device).filter(|log| !log.is_empty()) else { return };
                let envelope = self.rng.pick(log).clone();
                let attack = judge.attack(Replay);
                let id = if self.rng.chance(500) { envelope.id } else { self.new_id() };
                self.put(Envelope { id, ..envelope }, Some(attack), now);
            }
            _ => {
                let sources: Vec<Address> = self.shelves.keys().copied().filter(|source| *source != device).collect();
                let source = *self.rng.pick(&sources);
                let ciphertext = match kind {
                    Garbage => {
                        let len = self.rng.between(0, 3000) as usize;
                        self.rng.bytes(len)
                    }
                    _ => self.impersonate(source, device),
                };
                let (attack, id) = (judge.attack(kind), self.new_id());
                self.put(Envelope { id, source, recipient: device, ciphertext }, Some(attack), now);
            }
        }
    }

    /// A first message from `source`, as good as it can be made without the keys of its account.
    fn impersonate(&mut self, source: Address, device: Address) -> Vec<u8> {
        let secrets = DeviceSecrets::generate(&mut self.rng);
        let certificate = secrets.certify(&self.account, source);
        let impostor = LocalDevice::new(secrets, certificate).unwrap();
        let shelf = &self.shelves[&device];
        let bundle = PrekeyBundle {
            certificate: shelf.certificate,
            signed_prekey: shelf.signed,
            kem_prekey: shelf.last_resort.clone(),
            kem_kind: KemPrekeyKind::LastResort,
            one_time_prekey: None,
        };
        let bundle = bundle.verify(device, &shelf.certificate.claimed().account_key).unwrap();
        let mut record = SessionRecord::new();
        record.initiate(&impostor, &bundle, 1, &mut self.rng).unwrap();
        record.encrypt(b"it is me, under a new key", 1, &mut self.rng).unwrap()
    }

    fn bundle(&mut self, device: Address, number: u64, now: u64, judge: &mut Judge) -> Option<Response> {
        let rationed = self.rations(device, now);
        let shelf = self.shelves.get_mut(&device)?;
        let one_time = if rationed { None } else { shelf.one_time.pop_front() };
        let mut bundle = PrekeyBundle {
            certificate: shelf.certificate,
            signed_prekey: shelf.signed,
            kem_kind: if one_time.is_some() { KemPrekeyKind::OneTime } else { KemPrekeyKind::LastResort },
            kem_prekey: one_time.as_ref().map_or_else(|| shelf.last_resort.clone(), |(_, kem)| kem.clone()),
            one_time_prekey: one_time.map(|(curve, _)| curve),
        };
        let mut attack = None;
        if let Some(kind) = self.tempted(ON_BUNDLE) {
            attack = self.spoil_bundle(kind, device, &mut bundle, judge);
        }
        if bundle.kem_kind == KemPrekeyKind::OneTime && attack.is_none() {
            self.served.insert(device, bundle.clone());
        }
        Some(Response::Bundle(device, number, Box::new(bundle), attack))
    }

    fn spoil_bundle(
        &mut self,
        kind: Attack,
        device: Address,
        bundle: &mut PrekeyBundle,
        judge: &mut Judge,
    ) -> Option<AttackId> {
        let others: Vec<Address> = self.shelves.keys().copied().filter(|other| *other != device).collect();
        let other = &self.shelves[self.rng.pick(&others)];
        match kind {
            SwapSignedPrekey => bundle.signed_prekey = other.signed,
            SwapKemPrekey => {
                bundle.kem_prekey = other.last_resort.clone();
                bundle.kem_kind = KemPrekeyKind::LastResort;
            }
            SwapBundle => {
                bundle.certificate = other.certificate;
                bundle.signed_prekey = other.signed;
                bundle.kem_prekey = other.last_resort.clone();
                bundle.kem_kind = KemPrekeyKind::LastResort;
                bundle.one_time_prekey = None;
            }
            SwapCertificate => {
                let secrets = DeviceSecrets::generate(&mut self.rng);
                let certificate = secrets.certify(&self.account, device);
                bundle.certificate = UnverifiedDeviceCertificate::decode(&certificate.encode()).unwrap();
                bundle.signed_prekey = SignedPrekeySecret::generate(1, &secrets, &mut self.rng).public();
            }
            SwapOneTimePrekey => {
                let genuine = bundle.one_time_prekey.as_mut()?;
                *genuine = OneTimePrekeySecret::generate(genuine.id, &mut self.rng).public();
            }
            _ => *bundle = self.served.get(&device)?.clone(),
        }
        let attack = judge.attack(kind);
        if matches!(kind, SwapOneTimePrekey | ServeTwice) {
            judge.taint(device, one_time_kem(bundle.kem_prekey.id), attack);
        }
        Some(attack)
    }

    fn list(&mut self, account: AccountId, judge: &mut Judge) -> (Vec<u8>, Option<AttackId>) {
        let attack = self.tempted(ON_LIST);
        let lists = &self.lists[&account];
        let newest = lists.last().unwrap().encode();
        let Some(kind) = attack else { return (newest, None) };
        let list = match kind {
            UnsignedList => {
                let mut list = newest;
                self.flip(&mut list);
                list
            }
            GhostDevice => {
                let body = lists.last().unwrap().body();
                let mut devices = body.devices.clone();
                devices.push(DeviceEntry { device: DeviceId::new(9).unwrap(), certificate_hash: [9; 32] });
                let body = DeviceListBody { account, number: body.number + 1, devices };
                self.account.sign_device_list(&body).unwrap().encode()
            }
            OlderList => lists[0].encode(),
            _ => self.forks[&account].encode(),
        };
        (list, Some(judge.attack(kind)))
    }
}

//! A world: devices, a relay, the links between them, a clock that only events move.
//!
//! ```text
//! the active time:  people write, links fail, the relay lies, machines crash and are restored
//!      │ the link heals, the relay turns honest
//!      ▼
//! settling:         everything on its way arrives
//!      │ (the relay replays all that it ever saw; settling)
//!      ▼
//! a round trip:     each peer writes to each peer that it has a session with, there and back
//!      ▼
//! the books:        sessions agree, nothing is missing, every attack has an outcome
//! ```

use std::collections::{BTreeMap, BTreeSet};

use kuvert_protocol::prelude::*;
use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
use kuvert_types::{AccountId, Address, DeviceId, DeviceList, EnvelopeId};

use crate::content::TextId;
use crate::invariants::{Judge, Rule, Tally, Violation, name};
use crate::link::{Link, LinkFaults};
use crate::peer::{Context, Crashed, Fault, Peer, Steps};
use crate::relay::{Attack, Relay, Request, Response};
use crate::rng::TestRng;
use crate::stranger::Stranger;

/// Bytes of one session record, at most, in worlds of this size: six sessions with the few keys skipped that a few dozen
/// texts can leave. The protocol's own bounds are ten times that.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;

/// 2023-11-14, in Unix milliseconds.
const START: u64 = 1_700_000_000_000;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The number of the account that the others do not know.
const NEWCOMER: u8 = 200;

/// How long everything may take to settle: a few resets, an hour apart.
const SETTLE_WITHIN: u64 = 12 * HOUR;

/// What happens in a world. Numbers of the form (from, to) are drawn from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many accounts there are.
    pub accounts: (u64, u64),
    /// Accounts that link a second device along the way, in a thousand.
    pub second_device: u64,
    /// How many texts are written.
    pub texts: (u64, u64),
    /// Texts that go over a session begun for them although there is one, in a thousand.
    pub fresh: u64,
    /// Milliseconds of the active time.
    pub active: u64,
    /// The links between peers and the relay.
    pub link: LinkFaults,
    /// Times that a device is cut off.
    pub cuts: u64,
    /// Milliseconds for which, at most.
    pub cut_for: u64,
    /// Occasions in a thousand at which the relay attacks.
    pub malice: u64,
    /// What it does then; nothing named: anything.
    pub attacks: &'static [Attack],
    /// Worlds in a thousand in which the relay replays everything in the end.
    pub replays_everything: u64,
    /// Crashes in a thousand points.
    pub crashes: u64,
    /// The one point at which a machine crashes.
    pub crash_at: Option<u64>,
    /// Restorations from a backup.
    pub restorations: u64,
    /// One-time prekeys that a device publishes at a time; with none, all sessions use the last resort.
    pub one_time_prekeys: usize,
    /// Whether each peer writes to each other at the beginning.
    pub simultaneous: bool,
    /// Strangers: accounts that attack those of the world, each for itself.
    pub strangers: u64,
    /// Requests that each of them makes in an hour.
    pub stranger_requests: u64,
    /// Bytes of ciphertext that each of them submits in an hour, at most.
    pub stranger_bytes: u64,
    /// Entries of earlier strangers in the replay record of each device's last-resort prekey.
    pub earlier_strangers: u32,
    /// What one device does wrong.
    pub fault: Option<Fault>,
}

impl Plan {
    /// Two to four accounts, a dozen minutes, and nothing goes wrong.
    pub const CALM: Self = Self {
        accounts: (2, 4),
        second_device: 300,
        texts: (15, 40),
        fresh: 0,
        active: 12 * MINUTE,
        link: LinkFaults::NONE,
        cuts: 0,
        cut_for: 0,
        malice: 0,
        attacks: &[],
        replays_everything: 0,
        crashes: 0,
        crash_at: None,
        restorations: 0,
        one_time_prekeys: 4,
        simultaneous: false,
        strangers: 0,
        stranger_requests: 0,
        stranger_bytes: 0,
        earlier_strangers: 0,
        fault: None,
    };
}

enum Event {
    ToRelay(Address, Request),
    ToDevice(Address, Response),
    Tick(Address),
    Write {
        from: Address,
        to: AccountId,
        fresh: bool,
    },
    Cut(Address, u64),
    Join(AccountId),
    BackUp(Address),
    Restore(Address),
    /// A stranger acts: which one, and the id of an envelope that it saw.
    Strange(usize, Option<EnvelopeId>),
    /// An account that no device knows begins to write.
    Newcomer,
    /// An owner looks at its requests.
    Accept(Address, AccountId),
    /// A text to an account has to be there by now.
    Due(TextId, AccountId),
}

struct Account {
    secret: AccountSecret,
    list: DeviceList,
}

/// See the module's head.
pub struct World {
    plan: Plan,
    seed: u64,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    accounts: BTreeMap<AccountId, Account>,
    peers: BTreeMap<Address, Peer>,
    down_until: BTreeMap<Address, u64>,
    relay: Relay,
    link: Link,
    steps: Steps,
    judge: Judge,
    rng: TestRng,
    healed: bool,
    last_text: TextId,
    strangers: Vec<Stranger>,
    /// Of strangers' doings.
    strange_rng: TestRng,
}

impl World {
    /// Lives through the world of this seed. `verbose` prints what happens.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn run(plan: &Plan, seed: u64, verbose: bool) -> Result<Tally, Violation> {
        let mut world = Self::new(*plan, seed);
        world.judge.verbose = verbose;
        world.live();
        let Self { judge, peers, .. } = world;
        judge.finish(|from, to, id| peers.get(&from).is_some_and(|peer| peer.is_unconfirmed(to, id)))
    }

    fn new(plan: Plan, seed: u64) -> Self {
        let stream = |number| TestRng::new(seed, number);
        let mut world = Self {
            plan,
            seed,
            now: START,
            queue: BTreeMap::new(),
            scheduled: 0,
            accounts: BTreeMap::new(),
            peers: BTreeMap::new(),
            down_until: BTreeMap::new(),
            relay: Relay::new(plan.malice, plan.attacks, stream(1)),
            link: Link::new(plan.link, stream(2)),
            steps: Steps { passed: 0, crash_at: plan.crash_at, per_mille: plan.crashes, rng: stream(3) },
            judge: Judge::default(),
            rng: stream(0),
            healed: false,
            last_text: 0,
            strangers: Vec::new(),
            strange_rng: stream(5),
        };
        world.populate();
        world.make_plans();
        if plan.strangers > 0 {
            world.let_strangers_in();
        }
        world
    }

    fn populate(&mut self) {
        let count = self.rng.between(self.plan.accounts.0, self.plan.accounts.1);
        for number in 1..=count {
            let id = AccountId::from_bytes([number as u8; 16]);
            let mut keys = TestRng::new(self.seed, 100 + number);
            let secret = AccountSecret::generate(&mut keys);
            let local = local_device(&secret, Address { account: id, device: DeviceId::PRIMARY }, &mut keys);
            let list = list(&secret, id, 1, &[local.certificate().hash()]);
            self.relay.leak_fork(self::list(&secret, id, 1, &[[number as u8; 32]]));
            self.relay.publish_list(list.clone());
            let ids = TestRng::new(self.seed, 300 + number);
            // The first account's first device is the broken one, if one is.
            let fault = self.plan.fault.filter(|_| number == 1);
            self.add_peer(Peer::new(local, list.clone(), [keys, ids], fault));
            self.accounts.insert(id, Account { secret, list });
        }
        for peer in self.peers.values_mut() {
            introduce(peer, &self.accounts);
        }
    }

    fn add_peer(&mut self, mut peer: Peer) {
        let address = peer.address();
        self.relay.publish(address, peer.restock(self.plan.one_time_prekeys));
        self.peers.insert(address, peer);
        let first = self.now + self.rng.below(10 * SECOND);
        self.schedule(first, Event::Tick(address));
    }

    fn make_plans(&mut self) {
        let plan = self.plan;
        let devices: Vec<Address> = self.peers.keys().copied().collect();
        let accounts: Vec<AccountId> = self.accounts.keys().copied().collect();
        let texts = self.rng.between(plan.texts.0, plan.texts.1);
        for _ in 0..texts {
            let from = *self.rng.pick(&devices);
            let others: Vec<AccountId> = accounts.iter().copied().filter(|to| *to != from.account).collect();
            let (to, fresh) = (*self.rng.pick(&others), self.rng.chance(plan.fresh));
            let at = self.now + self.rng.below(plan.active);
            self.schedule(at, Event::Write { from, to, fresh });
        }
        if plan.simultaneous {
            for from in &devices {
                for to in accounts.iter().filter(|to| **to != from.account) {
                    let at = self.now + self.rng.below(50);
                    self.schedule(at, Event::Write { from: *from, to: *to, fresh: false });
                }
            }
        }
        for _ in 0..plan.cuts {
            let (at, device) = (self.now + self.rng.below(plan.active), *self.rng.pick(&devices));
            let until = at + self.rng.between(MINUTE, plan.cut_for);
            self.schedule(at, Event::Cut(device, until));
        }
        for account in &accounts {
            if self.rng.chance(plan.second_device) {
                let at = self.now + self.rng.below(plan.active / 2);
                self.schedule(at, Event::Join(*account));
            }
        }
        for _ in 0..plan.restorations {
            let device = *self.rng.pick(&devices);
            let at = self.now + self.rng.below(plan.active / 2);
            let then = at + self.rng.between(MINUTE, plan.active / 2);
            self.schedule(at, Event::BackUp(device));
            self.schedule(then, Event::Restore(device));
        }
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.queue.insert((at, self.scheduled), event);
    }

    // ---- the course of events

    fn live(&mut self) {
        let end = self.now + self.plan.active;
        self.run_until(end, |_| false);
        self.link.heal();
        self.relay.heal();
        self.steps.per_mille = 0;
        self.healed = true;
        // Everybody looks at once, however long a pause they had begun.
        self.queue.retain(|_, event| !matches!(event, Event::Tick(_)));
        for device in self.peers.keys().copied().collect::<Vec<_>>() {
            self.schedule(self.now, Event::Tick(device));
        }
        self.judge.say(|| "-- link and relay are well again".to_owned());
        self.settle();
        if self.rng.chance(self.plan.replays_everything) {
            self.judge.say(|| "-- the relay replays everything".to_owned());
            self.relay.replay_everything(&mut self.judge);
            self.settle();
        }
        self.judge.say(|| "-- a round trip".to_owned());
        for there in [true, false] {
            for (from, to) in self.acquainted(there) {
                self.write(from, to, false);
            }
            self.settle();
        }
        self.check_convergence();
        for _ in 0..self.steps.passed {
            self.judge.count("points at which a machine may stop");
        }
    }

    fn run_until(&mut self, end: u64, enough: impl Fn(&Self) -> bool) {
        while self.judge.violation().is_none() && !enough(self) {
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) else { break };
            let ((at, _), event) = entry.remove_entry();
            self.now = self.now.max(at);
            self.dispatch(event);
        }
    }

    fn settle(&mut self) {
        let end = self.now + SETTLE_WITHIN;
        self.run_until(end, Self::is_quiet);
    }

    fn is_quiet(&self) -> bool {
        self.relay.is_empty()
            && self.peers.values().all(Peer::is_idle)
            && self.queue.values().all(|event| matches!(event, Event::Tick(_)))
            && self.judge.missing().is_empty()
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::ToRelay(from, request) => {
                let responses = self.relay.handle(from, request, self.now, &mut self.judge);
                for response in responses {
                    for at in self.link.carry(from, self.now) {
                        self.schedule(at, Event::ToDevice(from, response.clone()));
                    }
                }
            }
            Event::ToDevice(device, response) => {
                self.with_peer(device, |peer, cx| peer.handle(response, cx));
            }
            Event::Tick(device) => {
                let curious = self.rng.chance(20);
                self.with_peer(device, |peer, cx| peer.tick(curious, cx));
                if self.plan.strangers > 0 {
                    self.look_after_prekeys(device);
                } else if self.relay.one_time_left(device) == 0 && self.plan.one_time_prekeys > 0 {
                    self.restock(device);
                }
                let next = self.now + self.pause(device);
                self.schedule(next, Event::Tick(device));
            }
            Event::Write { from, to, fresh } => self.write(from, to, fresh),
            Event::Cut(device, until) => {
                self.judge.count("times a device was cut off");
                self.link.cut_off(device, until);
            }
            Event::Join(account) => self.join(account),
            Event::BackUp(device) => {
                if let Some(peer) = self.peers.get_mut(&device) {
                    peer.back_up(&self.judge);
                }
            }
            Event::Restore(device) => {
                if self.peers.get_mut(&device).is_some_and(|peer| peer.restore(&mut self.judge)) {
                    self.restock(device);
                }
            }
            Event::Strange(number, seen) => self.act_strangely(number, seen),
            Event::Newcomer => self.newcomer(),
            Event::Accept(device, account) => self.accept(device, account),
            Event::Due(text, to) => self.judge.time_is_up(text, to),
        }
    }

    fn restock(&mut self, device: Address) {
        let Some(peer) = self.peers.get_mut(&device) else { return };
        self.relay.publish(device, peer.restock(self.plan.one_time_prekeys));
    }

    /// Until a device looks again.
    fn pause(&mut self, device: Address) -> u64 {
        let idle = self.peers[&device].is_idle() && self.relay.nothing_waits_for(device);
        match (self.healed, idle) {
            (false, _) => self.rng.between(self.plan.active / 240, self.plan.active / 18),
            (true, false) => 10 * SECOND,
            (true, true) => 5 * MINUTE,
        }
    }

    fn with_peer(
        &mut self,
        device: Address,
        call: impl FnOnce(&mut Peer, &mut Context<'_>) -> Result<Vec<Request>, Crashed>,
    ) {
        let Some(peer) = self.peers.get_mut(&device) else { return };
        if self.down_until.get(&device).is_some_and(|until| self.now < *until) {
            return;
        }
        let result = call(peer, &mut Context { now: self.now, steps: &mut self.steps, judge: &mut self.judge });
        let mut requests = std::mem::take(&mut peer.sent_early);
        match result {
            Ok(more) => requests.extend(more),
            Err(Crashed) => {
                self.judge.count("crashes");
                self.judge.say(|| format!("{} crashes", name(device)));
                peer.forget_volatile();
                self.down_until.insert(device, self.now + self.rng.between(SECOND, MINUTE));
            }
        }
        for request in requests {
            self.judge.leaves(device, &request);
            self.let_strangers_see(&request);
            for at in self.link.carry(device, self.now) {
                self.schedule(at, Event::ToRelay(device, request.clone()));
            }
        }
    }

    fn write(&mut self, from: Address, to: AccountId, fresh: bool) {
        self.last_text += 1;
        let id = self.last_text;
        let len = *self.rng.pick(&[0, 1, 20, 20, 20, 100, 300, 600, 5000]);
        let text = self.rng.bytes(len);
        self.with_peer(from, |peer, cx| {
            peer.write(to, id, &text, fresh, cx)?;
            Ok(Vec::new())
        });
        if self.plan.strangers > 0 {
            self.schedule(self.now + HOUR, Event::Due(id, to));
        }
    }

    // ---- strangers

    fn let_strangers_in(&mut self) {
        let plan = self.plan;
        self.relay.keep_shares(self.now);
        let accounts: Vec<AccountId> = self.accounts.keys().copied().collect();
        for (recipient, sender) in accounts.iter().flat_map(|a| accounts.iter().map(move |b| (*a, *b))) {
            self.relay.befriend(recipient, sender);
        }
        for peer in self.peers.values_mut() {
            peer.had_strangers(plan.earlier_strangers);
        }
        if plan.link.loss == 0 && plan.crashes == 0 && plan.malice == 0 {
            self.judge.expect_calm();
        }
        let hours = plan.active.div_ceil(HOUR);
        for number in 0..plan.strangers {
            let rng = TestRng::new(self.seed, 1_000 + number);
            let stranger = Stranger::new(number, hours * plan.stranger_requests, hours * plan.stranger_bytes, rng);
            self.judge.stranger(stranger.address().account);
            self.strangers.push(stranger);
            for _ in 0..hours * plan.stranger_requests {
                let at = self.now + self.strange_rng.below(plan.active);
                self.schedule(at, Event::Strange(number as usize, None));
            }
        }
        // Within the first half, so that strangers are there before and after it.
        let at = self.now + self.strange_rng.between(plan.active / 12, plan.active / 2);
        self.schedule(at, Event::Newcomer);
    }

    /// Envelopes of others are on their way: a stranger that guessed or saw the id uses it first.
    fn let_strangers_see(&mut self, request: &Request) {
        let Request::Submit(envelope) = request else { return };
        if !self.strangers.is_empty() && self.strange_rng.chance(300) {
            let number = self.strange_rng.below(self.strangers.len() as u64) as usize;
            self.schedule(self.now, Event::Strange(number, Some(envelope.id)));
        }
    }

    fn act_strangely(&mut self, number: usize, seen: Option<EnvelopeId>) {
        // The first two accounts, which have known each other for long.
        let targets: Vec<Address> = self.accounts.keys().take(2).map(|account| first_device(*account)).collect();
        let target = *self.strange_rng.pick(&targets);
        let Some(request) = self.strangers[number].act(target, seen, self.now) else { return };
        if matches!(request, Request::Submit(_)) {
            self.judge.count("strangers: envelopes offered");
        } else {
            self.judge.count("strangers: bundles taken");
        }
        let from = self.strangers[number].address();
        let key = self.accounts[&target.account].secret.public();
        for response in self.relay.handle(from, request, self.now, &mut self.judge) {
            if let Response::Bundle(of, _, bundle, _) = response {
                self.strangers[number].take(of, *bundle, &key);
            }
        }
    }

    /// What a client does about its prekeys: it fills up one-time ones, and replaces the others when strangers fill the record.
    fn look_after_prekeys(&mut self, device: Address) {
        let Some(peer) = self.peers.get_mut(&device) else { return };
        if self.link.is_cut(device, self.now) {
            return;
        }
        self.judge.kept(device, &peer.kept_for_strangers(), self.now - START);
        if let Some(shelf) = peer.rotate(self.now) {
            self.judge.count("last-resort prekeys replaced because of strangers");
            self.relay.add(device, shelf);
        }
        if self.relay.one_time_left(device) == 0 && self.plan.one_time_prekeys > 0 {
            self.relay.add(device, peer.refill(self.plan.one_time_prekeys));
        }
    }

    /// An honest account that the others do not know writes to the first two.
    fn newcomer(&mut self) {
        let id = AccountId::from_bytes([NEWCOMER; 16]);
        let mut keys = TestRng::new(self.seed, 100 + u64::from(NEWCOMER));
        let secret = AccountSecret::generate(&mut keys);
        let local = local_device(&secret, first_device(id), &mut keys);
        let list = list(&secret, id, 1, &[local.certificate().hash()]);
        self.relay.publish_list(list.clone());
        let ids = TestRng::new(self.seed, 300 + u64::from(NEWCOMER));
        let mut peer = Peer::new(local, list.clone(), [keys, ids], None);
        introduce(&mut peer, &self.accounts);
        self.add_peer(peer);
        let targets: Vec<AccountId> = self.accounts.keys().copied().take(2).collect();
        self.accounts.insert(id, Account { secret, list });
        for to in targets {
            // An answer to it is a contact's mail.
            self.relay.befriend(id, to);
            self.judge.newcomer(first_device(to), id);
            self.write(first_device(id), to, false);
            self.schedule(self.now + 10 * MINUTE, Event::Write { from: first_device(id), to, fresh: false });
            let looks = self.now + self.strange_rng.between(MINUTE, HOUR);
            self.schedule(looks, Event::Accept(first_device(to), id));
        }
    }

    /// The owner accepts the request, or looks again later.
    fn accept(&mut self, device: Address, account: AccountId) {
        let (key, list) = (self.accounts[&account].secret.public(), self.accounts[&account].list.clone());
        let mut accepted = false;
        self.with_peer(device, |peer, cx| {
            accepted = peer.accept(key, list, cx)?;
            Ok(Vec::new())
        });
        if accepted {
            self.relay.befriend(device.account, account);
        } else {
            self.schedule(self.now + 5 * MINUTE, Event::Accept(device, account));
        }
    }

    /// The account links a second device.
    fn join(&mut self, id: AccountId) {
        let Some(account) = self.accounts.get_mut(&id) else { return };
        self.judge.count("second devices");
        let number = u64::from(id.as_bytes()[0]);
        let (mut keys, ids) = (TestRng::new(self.seed, 200 + number), TestRng::new(self.seed, 400 + number));
        let second = Address { account: id, device: DeviceId::new(2).unwrap() };
        let local = local_device(&account.secret, second, &mut keys);
        let first = Address { account: id, device: DeviceId::PRIMARY };
        let hashes = [self.peers[&first].certificate().hash(), local.certificate().hash()];
        account.list = list(&account.secret, id, 2, &hashes);
        self.relay.publish_list(account.list.clone());
        let mut peer = Peer::new(local, account.list.clone(), [keys, ids], None);
        if let Some(first) = self.peers.get_mut(&first) {
            first.set_list(account.list.clone());
        }
        introduce(&mut peer, &self.accounts);
        self.add_peer(peer);
        // It has something to say.
        let others: Vec<AccountId> = self.accounts.keys().copied().filter(|other| *other != id).collect();
        for _ in 0..3 {
            let at = self.now + self.rng.below(self.plan.active / 2);
            let to = *self.rng.pick(&others);
            self.schedule(at, Event::Write { from: second, to, fresh: false });
        }
    }

    // ---- the end

    /// Pairs of devices of different accounts of which one at least has a session with the other.
    fn acquainted_devices(&self) -> Vec<(Address, Address)> {
        let devices: Vec<Address> = self.peers.keys().copied().collect();
        let pairs = devices.iter().flat_map(|a| devices.iter().map(move |b| (*a, *b)));
        let pairs = pairs.filter(|(a, b)| a < b && a.account != b.account);
        pairs.filter(|(a, b)| self.peers[a].knows_session_with(*b) || self.peers[b].knows_session_with(*a)).collect()
    }

    /// Which peer writes to which account, so that every such pair is written in one direction.
    fn acquainted(&self, there: bool) -> BTreeSet<(Address, AccountId)> {
        let pairs = self.acquainted_devices().into_iter();
        pairs.map(|(a, b)| if there { (a, b.account) } else { (b, a.account) }).collect()
    }

    fn check_convergence(&mut self) {
        for (a, b) in self.acquainted_devices() {
            let (one, other) = (&self.peers[&a], &self.peers[&b]);
            let (mut with_b, mut with_a) = (one.active_session_with(b), other.active_session_with(a));
            let mut rng = TestRng::new(self.seed, 4);
            let there = with_b.encrypt(b"?", self.now, &mut rng);
            let back = with_a.encrypt(b"?", self.now, &mut rng);
            let agree = there.is_ok_and(|message| other.can_open(&mut with_a, a, &message, self.now))
                && back.is_ok_and(|message| one.can_open(&mut with_b, b, &message, self.now));
            if !agree {
                self.judge.violate(Rule::NotConverged, format!("{} and {}", name(a), name(b)));
            }
        }
    }
}

fn first_device(account: AccountId) -> Address {
    Address { account, device: DeviceId::PRIMARY }
}

fn local_device(account: &AccountSecret, address: Address, keys: &mut TestRng) -> LocalDevice {
    let secrets = DeviceSecrets::generate(keys);
    let certificate = secrets.certify(account, address);
    LocalDevice::new(secrets, certificate).unwrap()
}

fn list(secret: &AccountSecret, account: AccountId, number: u64, certificates: &[[u8; 32]]) -> DeviceList {
    let devices = (1..).zip(certificates);
    let entry = |(device, hash): (u32, &[u8; 32])| DeviceEntry {
        device: DeviceId::new(device).unwrap(),
        certificate_hash: *hash,
    };
    let body = DeviceListBody { account, number, devices: devices.map(entry).collect() };
    secret.sign_device_list(&body).unwrap()
}

/// Pins every other account, as of now.
fn introduce(peer: &mut Peer, accounts: &BTreeMap<AccountId, Account>) {
    for (id, account) in accounts {
        if *id != peer.address().account {
            peer.add_contact(account.secret.public(), account.list.clone());
        }
    }
}

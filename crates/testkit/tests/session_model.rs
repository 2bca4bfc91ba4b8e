//! Two devices and a link, every interleaving of them, with the protocol's own code: a state of the model holds the real,
//! stored session records, and a step of it calls `initiate`, `encrypt` and `decrypt`. What stands around that here is what a
//! client does: a reset in a fresh session when a message cannot be opened, confirmed by the other side and repeated until it is,
//! and sending again what was written when the other side asks for that; each at most once an hour, and what is due earlier waits.
//! docs/PROTOCOL.md, Sessions.
//!
//! The bounds are in [`Bounds`]; each test says how many states they lead to at least. Both sides may begin at the same
//! time, messages come in any order, and as many as the bounds allow are lost, repeated, or forgotten by a device that is
//! restored from a backup.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::OnceLock;

use kuvert_protocol::prelude::*;
use kuvert_protocol::session::CONVERGENCE_WINDOW_MS;
use kuvert_testkit::rng::TestRng;
use kuvert_types::{AccountId, Address, DeviceId, UnverifiedDeviceCertificate};
use stateright::{Checker, Model, Property};

const START: u64 = 1_700_000_000_000;
const HOUR: u64 = 60 * 60 * 1000;

/// One-time prekeys that each device has; after that the last-resort one serves.
const ONE_TIME: u32 = 2;
const LAST_RESORT: u32 = 100;

/// What never changes of a device.
struct Keys {
    local: LocalDevice,
    account: AccountSecret,
    signed: Vec<u8>,
    one_time: Vec<Vec<u8>>,
    kem: Vec<Vec<u8>>,
    last_resort: Vec<u8>,
}

fn keys(who: usize) -> &'static Keys {
    static KEYS: OnceLock<[Keys; 2]> = OnceLock::new();
    let make = |who: u8| {
        let rng = &mut TestRng::new(1, who.into());
        let account = AccountSecret::generate(rng);
        let secrets = DeviceSecrets::generate(rng);
        let address = Address { account: AccountId::from_bytes([who + 1; 16]), device: DeviceId::PRIMARY };
        let certificate = secrets.certify(&account, address);
        let kem = |id, kind, rng: &mut TestRng| KemPrekeySecret::generate(id, kind, &secrets, rng).encode().to_vec();
        let signed = SignedPrekeySecret::generate(1, &secrets, rng).encode().to_vec();
        let one_time = (0..ONE_TIME).map(|id| OneTimePrekeySecret::generate(id, rng).encode().to_vec()).collect();
        let kems = (0..ONE_TIME).map(|id| kem(id, KemPrekeyKind::OneTime, rng)).collect();
        let last_resort = kem(LAST_RESORT, KemPrekeyKind::LastResort, rng);
        Keys {
            local: LocalDevice::new(secrets, certificate).unwrap(),
            account,
            signed,
            one_time,
            kem: kems,
            last_resort,
        }
    };
    &KEYS.get_or_init(|| [make(0), make(1)])[who]
}

/// The secret prekeys of a device that are left.
struct Prekeys<'a>(&'static Keys, &'a BTreeSet<u32>);

impl PrekeyStore for Prekeys<'_> {
    type Error = Infallible;

    fn signed(&self, id: u32) -> Result<Option<SignedPrekeySecret>, Infallible> {
        Ok((id == 1).then(|| SignedPrekeySecret::decode(&self.0.signed).unwrap()))
    }

    fn one_time(&self, id: u32) -> Result<Option<OneTimePrekeySecret>, Infallible> {
        let left = self.0.one_time.get(id as usize).filter(|_| !self.1.contains(&id));
        Ok(left.map(|left| OneTimePrekeySecret::decode(left).unwrap()))
    }

    fn kem(&self, id: u32) -> Result<Option<(KemPrekeySecret, KemPrekeyKind)>, Infallible> {
        if id == LAST_RESORT {
            let secret = KemPrekeySecret::decode(&self.0.last_resort).unwrap();
            return Ok(Some((secret, KemPrekeyKind::LastResort)));
        }
        let left = self.0.kem.get(id as usize).filter(|_| !self.1.contains(&id));
        Ok(left.map(|left| (KemPrekeySecret::decode(left).unwrap(), KemPrekeyKind::OneTime)))
    }
}

/// What a device has on its disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Disk {
    record: Vec<u8>,
    replay: Vec<u8>,
    /// One-time prekeys that are deleted.
    used: BTreeSet<u32>,
    /// Texts written here, in order.
    written: Vec<u8>,
    /// Texts shown here, in order.
    shown: Vec<u8>,
    /// Something could not be opened since the last reset.
    reset_due: bool,
    reset_at: Option<u64>,
    /// The last reset's number, until it is confirmed.
    unconfirmed: Option<u8>,
    /// How often it was repeated.
    repeats: u32,
    /// The other side asked for what was written.
    resend_due: bool,
    resent_at: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Device {
    disk: Disk,
    /// Randomness drawn so far. Not restored with a backup.
    draws: u64,
    backup: Option<Box<Disk>>,
}

/// On its way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Letter {
    to: usize,
    bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    devices: [Device; 2],
    link: BTreeSet<Letter>,
    /// Bundles served for each device.
    served: [u32; 2],
    now: u64,
    left: Bounds,
    /// Texts that only a restored device knew.
    forgotten: bool,
    resets: u8,
}

/// How often each thing may happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Bounds {
    texts: [u8; 2],
    losses: u8,
    repetitions: u8,
    backups: u8,
    hours: u8,
}

#[derive(Clone, PartialEq, Debug)]
enum Step {
    Write(usize),
    Deliver(Letter),
    Lose(Letter),
    Repeat(Letter),
    BackUp(usize),
    Restore(usize),
    Wait,
}

struct Sessions {
    bounds: Bounds,
    /// Whether a device that cannot open something begins a fresh session. Without, the model must find what is wrong.
    resets: bool,
}

// Contents: a kind, and a number.
const TEXT: u8 = 1;
const RESET: u8 = 2;
const CONFIRM: u8 = 3;

impl Model for Sessions {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let disk = Disk {
            record: SessionRecord::new().encode().to_vec(),
            replay: ReplayRecord::new().encode(),
            used: BTreeSet::new(),
            written: Vec::new(),
            shown: Vec::new(),
            reset_due: false,
            reset_at: None,
            unconfirmed: None,
            repeats: 0,
            resend_due: false,
            resent_at: None,
        };
        let device = Device { disk, draws: 0, backup: None };
        vec![State {
            devices: [device.clone(), device],
            link: BTreeSet::new(),
            served: [0; 2],
            now: START,
            left: self.bounds,
            forgotten: false,
            resets: 0,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for who in 0..2 {
            if state.left.texts[who] > 0 {
                steps.push(Step::Write(who));
            }
            let device = &state.devices[who];
            if state.left.backups > 0 && device.backup.is_none() && device.disk.record.len() > 3 {
                steps.push(Step::BackUp(who));
            }
            if device.backup.as_ref().is_some_and(|backup| **backup != device.disk) {
                steps.push(Step::Restore(who));
            }
        }
        for letter in &state.link {
            steps.push(Step::Deliver(letter.clone()));
            if state.left.losses > 0 {
                steps.push(Step::Lose(letter.clone()));
            }
            if state.left.repetitions > 0 {
                steps.push(Step::Repeat(letter.clone()));
            }
        }
        if state.left.hours > 0 {
            steps.push(Step::Wait);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Write(who) => {
                state.left.texts[who] -= 1;
                self.write(&mut state, who);
            }
            Step::Deliver(letter) => {
                state.link.remove(&letter);
                self.deliver(&mut state, letter.to, &letter.bytes);
            }
            Step::Lose(letter) => {
                state.left.losses -= 1;
                state.link.remove(&letter);
            }
            Step::Repeat(letter) => {
                state.left.repetitions -= 1;
                self.deliver(&mut state, letter.to, &letter.bytes);
            }
            Step::BackUp(who) => {
                state.left.backups -= 1;
                state.devices[who].backup = Some(Box::new(state.devices[who].disk.clone()));
            }
            Step::Restore(who) => {
                state.devices[who].disk = *state.devices[who].backup.take()?;
                state.forgotten = true;
            }
            Step::Wait => {
                state.left.hours -= 1;
                self.wait(&mut state);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no text is shown twice", |_, state: &State| {
                state.devices.iter().all(|device| {
                    let distinct: BTreeSet<_> = device.disk.shown.iter().collect();
                    distinct.len() == device.disk.shown.len()
                })
            }),
            Property::always("a healed link leads to one session, and nothing is missing", |model, state: &State| {
                model.heals(state)
            }),
            Property::sometimes("both began at the same time", |_, state: &State| {
                state.devices.iter().all(|device| inactive(&device.disk) > 0)
            }),
            Property::sometimes("a fresh session was asked for", |model, state: &State| {
                state.resets > 0 || (model.bounds.backups == 0 && model.bounds.repetitions == 0)
            }),
            Property::sometimes("a device was restored from a backup", |model, state: &State| {
                state.forgotten || model.bounds.backups == 0
            }),
        ]
    }
}

/// The transcript hash of the active session: the first field of the first session in a stored record.
fn active(disk: &Disk) -> Option<&[u8]> {
    (disk.record[1] == 1).then(|| &disk.record[2..34])
}

fn inactive(disk: &Disk) -> usize {
    SessionRecord::decode(&disk.record).unwrap().inactive_count()
}

impl Sessions {
    /// Writes a new text, and begins a session for it if there is none.
    fn write(&self, state: &mut State, who: usize) {
        let number = (who * 100 + state.devices[who].disk.written.len()) as u8 + u8::from(state.forgotten) * 50;
        state.devices[who].disk.written.push(number);
        self.send(state, who, false, &[TEXT, number]);
    }

    fn send(&self, state: &mut State, who: usize, fresh: bool, content: &[u8]) {
        let other = 1 - who;
        let mut record = SessionRecord::decode(&state.devices[who].disk.record).unwrap();
        if fresh || !record.has_active() {
            let bundle = bundle(other, state.served[other]);
            state.served[other] += 1;
            let verified = bundle.verify(keys(other).local.address(), &keys(other).account.public()).unwrap();
            record.initiate(&keys(who).local, &verified, state.now, &mut rng(state, who)).unwrap();
        }
        let sealed = record.encrypt(content, state.now, &mut rng(state, who));
        state.devices[who].disk.record = record.encode().to_vec();
        match sealed {
            Ok(bytes) => drop(state.link.insert(Letter { to: other, bytes })),
            // The session has ended, which only a fresh one mends.
            Err(_) if !fresh => self.send(state, who, true, content),
            Err(error) => panic!("{error}"),
        }
    }

    fn deliver(&self, state: &mut State, who: usize, bytes: &[u8]) {
        let disk = state.devices[who].disk.clone();
        let stored = || (SessionRecord::decode(&disk.record).unwrap(), ReplayRecord::decode(&disk.replay).unwrap());
        let since = stored().0.unanswered_since();
        let (mut record, mut replay) = stored();
        let mut opened = self.open(state, who, bytes, &mut record, &mut replay, state.now);
        // A reset never stands back behind a session of ours: it says that ours cannot be read.
        if let (Ok(decrypted), Some(since)) = (&opened, since)
            && decrypted.new_session
            && record.unanswered_since() == Some(since)
            && decrypted.plaintext[0] == RESET
        {
            (record, replay) = stored();
            let late = state.now.max(since) + CONVERGENCE_WINDOW_MS;
            opened = self.open(state, who, bytes, &mut record, &mut replay, late);
        }
        let disk = &mut state.devices[who].disk;
        match opened {
            Ok(decrypted) => {
                disk.record = record.encode().to_vec();
                disk.replay = replay.encode();
                disk.used.extend(decrypted.used.iter().filter_map(|used| used.one_time));
                disk.reset_due |= decrypted.pq_failure.is_some();
                match decrypted.plaintext[..] {
                    [TEXT, number] if disk.shown.contains(&number) => {}
                    [TEXT, number] => disk.shown.push(number),
                    [RESET, number] => {
                        disk.resend_due = true;
                        self.send(state, who, false, &[CONFIRM, number]);
                    }
                    [CONFIRM, number] => disk.unconfirmed = disk.unconfirmed.filter(|reset| *reset != number),
                    _ => panic!("nobody sends that"),
                }
            }
            Err(error) => {
                assert_eq!(*record.encode(), disk.record, "a refusal changes nothing");
                use DecryptError::*;
                disk.reset_due |= matches!(
                    error,
                    UnknownPrekey | NoSession | Undecryptable | TooManySkipped | PqAuthFailed(_) | Duplicate
                );
            }
        }
        self.do_what_is_due(state, who);
    }

    fn open(
        &self,
        state: &mut State,
        who: usize,
        bytes: &[u8],
        record: &mut SessionRecord,
        replay: &mut ReplayRecord,
        now: u64,
    ) -> Result<Decrypted, DecryptError> {
        let rng = &mut rng(state, who);
        let prekeys = Prekeys(keys(who), &state.devices[who].disk.used);
        let (local, remote) = (&keys(who).local, keys(1 - who).local.address());
        let context = DecryptContext { local, remote, trust: Trust::Contact, prekeys: &prekeys, replay, now, rng };
        Ok(record.decrypt(bytes, context)?)
    }

    /// A reset, and everything written once more, each at most once an hour. A reset that is not confirmed is repeated.
    fn do_what_is_due(&self, state: &mut State, who: usize) {
        let now = state.now;
        let passed = |last: Option<u64>, wait| last.is_none_or(|last| now - last >= wait);
        let disk = &mut state.devices[who].disk;
        let repeat = disk.unconfirmed.is_some() && passed(disk.reset_at, HOUR << disk.repeats.min(4));
        if self.resets && (repeat || disk.reset_due && passed(disk.reset_at, HOUR)) {
            state.resets += 1;
            disk.repeats = if disk.reset_due { 0 } else { disk.repeats + 1 };
            disk.unconfirmed = Some(state.resets);
            (disk.reset_due, disk.reset_at) = (false, Some(now));
            self.send(state, who, true, &[RESET, state.resets]);
        }
        let disk = &mut state.devices[who].disk;
        if disk.resend_due && passed(disk.resent_at, HOUR) {
            (disk.resend_due, disk.resent_at) = (false, Some(now));
            for number in disk.written.clone() {
                self.send(state, who, false, &[TEXT, number]);
            }
        }
    }

    fn wait(&self, state: &mut State) {
        state.now += HOUR;
        (0..2).for_each(|who| self.do_what_is_due(state, who));
    }

    /// From any state: the link delivers all that is on its way, and both write now and then.
    fn heals(&self, state: &State) -> bool {
        let mut state = state.clone();
        let lost = state.left.losses < self.bounds.losses;
        for _ in 0..4 {
            self.wait(&mut state);
            for who in 0..2 {
                self.write(&mut state, who);
                while let Some(letter) = state.link.pop_first() {
                    self.deliver(&mut state, letter.to, &letter.bytes);
                }
            }
        }
        let [alice, bob] = &state.devices;
        let complete = [(alice, bob), (bob, alice)].into_iter().all(|(from, to)| {
            let last = from.disk.written.last();
            let all = from.disk.written.iter().all(|text| to.disk.shown.contains(text));
            last.is_some_and(|last| to.disk.shown.contains(last)) && (all || lost || state.forgotten)
        });
        complete && active(&alice.disk).is_some() && active(&alice.disk) == active(&bob.disk)
    }
}

fn rng(state: &mut State, who: usize) -> TestRng {
    state.devices[who].draws += 1;
    TestRng::new(1000 + state.devices[who].draws, who as u64)
}

/// What the relay serves for a device the nth time: each one-time prekey once.
fn bundle(of: usize, nth: u32) -> PrekeyBundle {
    let keys = keys(of);
    let one_time = keys.one_time.get(nth as usize).map(|bytes| OneTimePrekeySecret::decode(bytes).unwrap().public());
    let kem = keys.kem.get(nth as usize);
    PrekeyBundle {
        certificate: UnverifiedDeviceCertificate::decode(&keys.local.certificate().encode()).unwrap(),
        signed_prekey: SignedPrekeySecret::decode(&keys.signed).unwrap().public(),
        kem_kind: if kem.is_some() { KemPrekeyKind::OneTime } else { KemPrekeyKind::LastResort },
        kem_prekey: KemPrekeySecret::decode(kem.unwrap_or(&keys.last_resort)).unwrap().public(),
        one_time_prekey: one_time,
    }
}

/// Visits every state, and gives their number.
fn explore(bounds: Bounds) -> usize {
    let checker = Sessions { bounds, resets: true }.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    println!("{states} states, depth {}", checker.max_depth());
    states
}

const NONE: Bounds = Bounds { texts: [0; 2], losses: 0, repetitions: 0, backups: 0, hours: 0 };

#[test]
fn simultaneous_sessions_converge_in_every_order() {
    let states = explore(Bounds { texts: [2, 1], repetitions: 1, ..NONE });
    assert!(states > 100, "{states}");
}

#[test]
fn simultaneous_sessions_converge_whatever_is_lost() {
    let states = explore(Bounds { texts: [2, 2], losses: 1, ..NONE });
    assert!(states > 50, "{states}");
}

#[test]
fn a_restored_backup_converges() {
    let states = explore(Bounds { texts: [2, 1], backups: 1, ..NONE });
    assert!(states > 100, "{states}");
}

#[test]
fn a_restored_backup_converges_whenever_an_hour_passes() {
    let states = explore(Bounds { texts: [2, 1], backups: 1, hours: 1, ..NONE });
    assert!(states > 200, "{states}");
}

/// The model is no formality: with devices that never begin a fresh session, it finds a state that does not heal.
#[test]
fn without_resets_a_counterexample_is_found() {
    let bounds = Bounds { texts: [2, 1], backups: 1, ..NONE };
    let checker = Sessions { bounds, resets: false }.checker().threads(2).spawn_bfs().join();
    assert!(checker.discovery("a healed link leads to one session, and nothing is missing").is_some());
}

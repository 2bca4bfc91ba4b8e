//! Headers, and traces of the two ratchets.
//!
//! A trace is a list of steps on a world of two parties. A step names what happens, to whom, with which message, what was
//! drawn, and what came of it.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use kuvert_types::Reader;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Case, Draws, bytes, check, hex, with};
use crate::pq_ratchet::{PQ_HEADER_LEN, PostQuantumRatchet, PqError};
use crate::primitives::aead;
use crate::primitives::x25519::{X25519Public, X25519Secret};
use crate::ratchet::{DoubleRatchet, ENCRYPTED_HEADER_LEN, Header, InitialKeys, Located, StageError};

const NAMES: [&str; 2] = ["initiator", "recipient"];

fn listed(header: &Header) -> Value {
    json!({
        "ratchet_key": hex(header.ratchet_key.as_bytes()), "previous_chain_length": header.previous_chain_length,
        "message_number": header.message_number, "pq_header": hex(header.pq),
    })
}

#[test]
fn vectors_header() {
    let mut cases = Vec::new();
    let keys = |name: &str| InitialKeys::derive(&bytes(name));
    let public = X25519Secret::from_bytes(&bytes("header ratchet key")).public();
    let nonce: [u8; 24] = bytes("header nonce");
    for (name, pn, n, pq) in [("first", 0, 0, [0; PQ_HEADER_LEN]), ("later", 7, 0x0102_0304, bytes("pq header"))] {
        let header = Header { ratchet_key: public, previous_chain_length: pn, message_number: n, pq };
        let key = keys(name).initiator_header;
        cases.push(Case::new(
            name,
            "A header, sealed.",
            json!({ "header_key": hex(key.as_bytes()), "nonce": hex(nonce), "header": listed(&header) }),
            json!({ "sealed_header": hex(header.encrypt(&key, &nonce)) }),
        ));
    }
    let key = keys("first").initiator_header;
    let good = Header { ratchet_key: public, previous_chain_length: 0, message_number: 0, pq: [0; PQ_HEADER_LEN] };
    let good = good.encrypt(&key, &nonce);
    let mut reject = |name: &str, sealed: [u8; ENCRYPTED_HEADER_LEN], reason: &str| {
        let prekey = X25519Secret::from_bytes(&[5; 32]);
        let party = DoubleRatchet::new_recipient(keys("first"), &prekey, prekey.public());
        assert!(!matches!(party.locate(&sealed), Located::Header(_)), "{name}");
        let inputs = json!({ "header_key": hex(key.as_bytes()), "sealed_header": hex(sealed) });
        cases.push(Case::reject(name, "Not a header under this key.", inputs, reason));
    };
    for (name, at) in [("flipped nonce", 3), ("flipped ciphertext", 100), ("flipped tag", 231)] {
        let mut sealed = good;
        sealed[at] ^= 0x40;
        reject(name, sealed, "the tag does not fit");
    }
    let other = Header { ratchet_key: public, previous_chain_length: 0, message_number: 0, pq: [0; PQ_HEADER_LEN] };
    reject("other key", other.encrypt(&keys("other").initiator_header, &nonce), "the tag does not fit");
    let plain = |change: &dyn Fn(&mut [u8; 192])| {
        let mut plain = [0; 192];
        plain[..32].copy_from_slice(public.as_bytes());
        change(&mut plain);
        let tag = aead::xseal(key.as_bytes(), &nonce, &[], &mut plain);
        let mut sealed = [0; ENCRYPTED_HEADER_LEN];
        sealed[..24].copy_from_slice(&nonce);
        sealed[24..216].copy_from_slice(&plain);
        sealed[216..].copy_from_slice(&tag);
        sealed
    };
    assert_eq!(plain(&|_| {}), good);
    reject("low-order ratchet key", plain(&|p| p[..32].fill(0)), "low order; sealed by somebody who has the key");
    reject("non-canonical ratchet key", plain(&|p| p[31] |= 0x80), "bit 255; sealed by somebody who has the key");
    for at in [183, 191] {
        let name = format!("padding byte {at}");
        reject(&name, plain(&|p| p[at] = 1), "padding is not zero; sealed by somebody who has the key");
    }
    check("header", cases);
}

/// Two curve ratchets and what is under way.
struct World {
    parties: [DoubleRatchet; 2],
    draws: Draws,
    sent: BTreeMap<String, ([u8; ENCRYPTED_HEADER_LEN], [u8; 32])>,
    backups: BTreeMap<String, Vec<u8>>,
    steps: Vec<Value>,
    start: Value,
    start_draws: Vec<String>,
}

impl World {
    fn new(seed: &'static str) -> Self {
        let mut draws = Draws::new(seed);
        let session_secret: [u8; 32] = bytes(seed);
        let prekey = X25519Secret::from_bytes(&bytes(&format!("{seed} prekey")));
        let keys = || InitialKeys::derive(&session_secret);
        let initiator = DoubleRatchet::new_initiator(keys(), prekey.public(), &mut draws).unwrap();
        let recipient = DoubleRatchet::new_recipient(keys(), &prekey, prekey.public());
        let start = json!({
            "session_secret": hex(session_secret), "signed_prekey_secret": hex(prekey.as_bytes()),
            "signed_prekey": hex(prekey.public().as_bytes()),
        });
        let start_draws = draws.take();
        Self {
            parties: [initiator, recipient],
            draws,
            sent: BTreeMap::new(),
            backups: BTreeMap::new(),
            steps: Vec::new(),
            start,
            start_draws,
        }
    }

    fn step(&mut self, op: &str, who: usize, more: Value) {
        self.steps.push(with(json!({ "op": op, "party": NAMES[who] }), more));
    }

    fn send(&mut self, who: usize, name: &str) {
        self.send_with(who, name, |_| {});
    }

    fn send_with(&mut self, who: usize, name: &str, forge: impl FnOnce(&mut Header)) {
        let mut nonce = [0; 24];
        rand_core::Rng::fill_bytes(&mut self.draws, &mut nonce);
        let sending = self.parties[who].send().unwrap();
        let mut header = Header {
            ratchet_key: sending.ratchet_key,
            previous_chain_length: sending.previous_chain_length,
            message_number: sending.message_number,
            pq: [0; PQ_HEADER_LEN],
        };
        let honest = listed(&header);
        forge(&mut header);
        let forged = listed(&header) != honest;
        let sealed = header.encrypt(sending.header_key, &nonce);
        let key = *sending.message_key.as_bytes();
        let more = json!({
            "message": name, "draws": self.draws.take(), "header": listed(&header), "forged": forged,
            "header_key": hex(sending.header_key.as_bytes()), "ec_mk": hex(key), "sealed_header": hex(sealed),
        });
        self.step(if forged { "send_forged" } else { "send" }, who, more);
        assert!(self.sent.insert(name.to_owned(), (sealed, key)).is_none());
    }

    fn drop_many(&mut self, who: usize, count: u32) {
        for _ in 0..count {
            self.parties[who].send().unwrap();
        }
        self.step("send_and_drop", who, json!({ "count": count }));
    }

    /// Messages that arrive one by one. Their nonces are zero: only their number counts.
    fn exchange_many(&mut self, who: usize, count: u32) {
        for _ in 0..count {
            let sending = self.parties[who].send().unwrap();
            let header = Header {
                ratchet_key: sending.ratchet_key,
                previous_chain_length: sending.previous_chain_length,
                message_number: sending.message_number,
                pq: [0; PQ_HEADER_LEN],
            };
            let sealed = header.encrypt(sending.header_key, &[0; 24]);
            let to = &mut self.parties[1 - who];
            let Located::Header(located) = to.locate(&sealed) else { panic!("an honest header") };
            let step = to.stage(&located).unwrap();
            to.commit(step, &mut self.draws).unwrap();
        }
        assert!(self.draws.take().is_empty());
        self.step("send_and_deliver", who, json!({ "count": count }));
    }

    /// Delivers a message of the other side; `result` is what has to come of it.
    fn deliver(&mut self, to: usize, name: &str, result: &str) {
        let (sealed, key) = self.sent[name];
        let before = stored(&self.parties[to]);
        let party = &mut self.parties[to];
        let staged = match party.locate(&sealed) {
            Located::Nowhere => Err("no header key fits"),
            Located::Invalid => Err("malformed"),
            Located::Header(located) => party.stage(&located).map_err(|error| match error {
                StageError::KeyGone => "duplicate",
                StageError::TooManySkipped => "too many skipped",
                StageError::Invalid => "invalid",
            }),
        };
        let mut more = json!({ "message": name });
        let got = match staged {
            Ok(step) => {
                assert_eq!(step.message_key.as_bytes(), &key);
                party.commit(step, &mut self.draws).unwrap();
                more = with(more, json!({ "ec_mk": hex(key), "draws": self.draws.take() }));
                "accepted"
            }
            Err(error) => {
                assert_eq!(stored(&self.parties[to]), before);
                error
            }
        };
        assert_eq!(got, result, "{name}");
        self.step("deliver", to, with(more, json!({ "result": result })));
    }

    fn accept(&mut self, to: usize, name: &str) {
        self.deliver(to, name, "accepted");
    }

    fn backup(&mut self, who: usize, name: &str) {
        self.backups.insert(name.to_owned(), stored(&self.parties[who]));
        self.step("back_up", who, json!({ "backup": name }));
    }

    fn restore(&mut self, who: usize, name: &str) {
        self.parties[who] = Reader::whole(&self.backups[name], DoubleRatchet::decode).unwrap();
        self.step("restore", who, json!({ "backup": name }));
    }

    fn case(self, name: &str, description: &str) -> Case {
        let outputs = json!({ "steps": self.steps });
        Case { draws: Some(self.start_draws), ..Case::new(name, description, self.start, outputs) }
    }
}

fn stored(ratchet: &DoubleRatchet) -> Vec<u8> {
    let mut out = Vec::new();
    ratchet.encode(&mut out);
    out
}

#[test]
fn vectors_ratchet() {
    let (a, b) = (0, 1);
    let mut cases = Vec::new();

    let mut world = World::new("ratchet: turns");
    for turn in 0..8_usize {
        let (from, to) = (turn % 2, 1 - turn % 2);
        for message in 0..=turn % 3 {
            let name = format!("t{turn}m{message}");
            world.send(from, &name);
            world.accept(to, &name);
        }
    }
    cases.push(world.case(
        "turns",
        "Both sides in turn, one to three messages each. The draw at the start is the initiator's first ratchet key.",
    ));

    let mut world = World::new("ratchet: loss and reordering");
    for name in ["a0", "a1", "a2", "a3"] {
        world.send(a, name);
    }
    world.accept(b, "a2");
    world.accept(b, "a0");
    world.deliver(b, "a0", "duplicate");
    world.deliver(b, "a2", "duplicate");
    for name in ["b0", "b1", "b2"] {
        world.send(b, name);
    }
    world.accept(a, "b1");
    world.send(a, "a4");
    world.send(a, "a5");
    world.accept(b, "a5");
    world.accept(b, "a3");
    world.accept(b, "a4");
    world.send(b, "b3");
    world.accept(a, "b3");
    world.accept(a, "b0");
    world.accept(a, "b2");
    world.deliver(a, "b2", "duplicate");
    world.accept(b, "a1");
    world.deliver(b, "a1", "duplicate");
    cases.push(
        world.case("loss and reordering", "Late messages of the current chain and of chains left behind; repetitions."),
    );

    let mut world = World::new("ratchet: retained chains");
    world.send(a, "first");
    world.accept(b, "first");
    for turn in 0..7 {
        world.send(b, &format!("late {turn}"));
        world.send(b, &format!("b{turn}"));
        world.accept(a, &format!("b{turn}"));
        world.send(a, &format!("a{turn}"));
        world.accept(b, &format!("a{turn}"));
    }
    // Seven chains of b; a keeps the header keys of the last five left behind and of the current one.
    world.deliver(a, "late 0", "no header key fits");
    for turn in 1..7 {
        world.accept(a, &format!("late {turn}"));
    }
    cases.push(
        world.case("retained chains", "The header keys of five chains left behind are kept; older messages are lost."),
    );

    let mut world = World::new("ratchet: bounds");
    world.send(a, "first");
    world.accept(b, "first");
    world.drop_many(a, 1000);
    world.send(a, "1000 missing");
    world.drop_many(a, 1001);
    world.send(a, "1001 missing");
    world.accept(b, "1000 missing");
    world.deliver(b, "1001 missing", "too many skipped");
    world.send(b, "answer");
    world.accept(a, "answer");
    // 1,002 are missing in the old chain.
    world.send(a, "next chain");
    world.deliver(b, "next chain", "too many skipped");
    cases.push(
        world.case("bounds", "A jump over 1,000 messages is taken, over 1,001 refused, also across a new chain."),
    );

    let mut world = World::new("ratchet: skipped keys in all");
    world.send(a, "first");
    world.accept(b, "first");
    for name in ["oldest", "second oldest"] {
        world.send(a, name);
    }
    world.drop_many(a, 998);
    world.send(a, "1000 missing");
    world.accept(b, "1000 missing");
    world.send(b, "turn");
    world.accept(a, "turn");
    world.send(a, "oldest of the new chain");
    world.drop_many(a, 999);
    world.send(a, "1000 missing in the new chain");
    world.accept(b, "1000 missing in the new chain");
    // 2,000 keys in two chains. One more, and the oldest goes: the lowest number of the chain that was left.
    world.drop_many(a, 1);
    world.send(a, "one more missing");
    world.accept(b, "one more missing");
    world.deliver(b, "oldest", "duplicate");
    world.accept(b, "second oldest");
    world.accept(b, "oldest of the new chain");
    cases.push(
        world.case("skipped keys in all", "2,000 are kept over all chains; the oldest goes for each that is too many."),
    );

    let mut world = World::new("ratchet: life of a skipped key");
    world.send(a, "first");
    world.accept(b, "first");
    world.send(a, "late");
    world.send(a, "too late");
    world.send(a, "2 missing");
    world.accept(b, "2 missing");
    world.exchange_many(a, 3_999);
    world.accept(b, "late");
    world.deliver(b, "too late", "duplicate");
    cases.push(world.case(
        "life of a skipped key",
        "Two keys are set aside by a message, which counts. After 3,999 more they are there; that one of them is taken is a \
         message too many for the other.",
    ));

    let mut world = World::new("ratchet: rules");
    world.send(a, "a0");
    world.accept(b, "a0");
    world.send(b, "b0");
    world.accept(a, "b0");
    let foreign = X25519Secret::from_bytes(&bytes("foreign ratchet key")).public();
    world.send_with(b, "other key in the same chain", |header| header.ratchet_key = foreign);
    world.deliver(a, "other key in the same chain", "invalid");
    world.send_with(b, "number beyond the counter", |header| header.message_number = u32::MAX);
    world.deliver(a, "number beyond the counter", "too many skipped");
    let b_key = b_key(&world);
    world.send_with(a, "previous chain shorter than received", |header| header.previous_chain_length = 0);
    world.deliver(b, "previous chain shorter than received", "invalid");
    world.send_with(a, "our own ratchet key", |header| header.ratchet_key = b_key);
    world.deliver(b, "our own ratchet key", "invalid");
    world.send(a, "a1");
    world.accept(b, "a1");
    world.send(a, "a2");
    world.accept(b, "a2");
    cases.push(
        world.case("rules", "Headers that only somebody with the header key can make, and that break the rules."),
    );

    let mut world = World::new("ratchet: before the first step");
    world.send_with(a, "a previous chain where none was", |header| header.previous_chain_length = 1);
    world.deliver(b, "a previous chain where none was", "invalid");
    world.send_with(a, "too far", |header| header.message_number = 1001);
    world.deliver(b, "too far", "too many skipped");
    world.send(a, "good");
    world.accept(b, "good");
    cases.push(world.case("before the first step", "A recipient without a receiving chain."));

    let mut world = World::new("ratchet: restored backup");
    world.send(a, "a0");
    world.accept(b, "a0");
    world.send(b, "b0");
    world.accept(a, "b0");
    world.backup(a, "of a");
    world.backup(b, "of b");
    world.send(a, "a1");
    world.accept(b, "a1");
    world.restore(a, "of a");
    // The same chain key and number; the random nonce makes another header.
    world.send(a, "a1 again");
    world.deliver(b, "a1 again", "duplicate");
    world.send(a, "a2");
    world.accept(b, "a2");
    world.send(b, "b1");
    world.accept(a, "b1");
    world.send(a, "a3");
    world.restore(b, "of b");
    // The step that b drew is lost with the newer state.
    world.deliver(b, "a3", "no header key fits");
    cases.push(world.case(
        "restored backup",
        "A party goes back to an older state. What it cannot open any more needs a new session.",
    ));
    check("ratchet", cases);
}

/// The public ratchet key that the recipient uses now: from the last header it sent.
fn b_key(world: &World) -> X25519Public {
    let last = world.steps.iter().rev().find(|step| step["op"] == "send" && step["party"] == "recipient").unwrap();
    let key = data_encoding::HEXLOWER.decode(last["header"]["ratchet_key"].as_str().unwrap().as_bytes()).unwrap();
    X25519Public::decode(key.try_into().unwrap()).unwrap()
}

/// Two post-quantum ratchets.
struct PqWorld {
    parties: [PostQuantumRatchet; 2],
    draws: Draws,
    sent: BTreeMap<String, ([u8; PQ_HEADER_LEN], [u8; 32])>,
    backups: BTreeMap<String, Vec<u8>>,
    steps: Vec<Value>,
    secret: [u8; 32],
}

impl PqWorld {
    fn new(seed: &'static str) -> Self {
        let secret = bytes(seed);
        Self {
            parties: [PostQuantumRatchet::new_initiator(&secret), PostQuantumRatchet::new_recipient(&secret)],
            draws: Draws::new(seed),
            sent: BTreeMap::new(),
            backups: BTreeMap::new(),
            steps: Vec::new(),
            secret,
        }
    }

    fn step(&mut self, op: &str, who: usize, more: Value) {
        self.steps.push(with(json!({ "op": op, "party": NAMES[who] }), more));
    }

    fn send(&mut self, who: usize, name: &str) {
        let (header, key) = self.parties[who].send(&mut self.draws).unwrap();
        let key = *key.as_bytes();
        let more = json!({
            "message": name, "draws": self.draws.take(), "header": hex(header), "pq_mk": hex(key),
            "newest_epoch": self.parties[who].epoch(),
        });
        self.step("send", who, more);
        assert!(self.sent.insert(name.to_owned(), (header, key)).is_none());
    }

    fn drop_many(&mut self, who: usize, count: u32) {
        for _ in 0..count {
            self.parties[who].send(&mut self.draws).unwrap();
        }
        let draws = self.draws.take();
        self.step("send_and_drop", who, json!({ "count": count, "draws": draws }));
    }

    fn deliver(&mut self, to: usize, name: &str, result: &str) {
        let (header, key) = self.sent[name];
        let mut more = json!({ "message": name });
        let got = match self.parties[to].open(&header) {
            Ok(step) => {
                assert_eq!(step.key.as_bytes(), &key);
                self.parties[to].apply(step);
                assert_eq!(self.parties[to].failure(), None);
                more = with(more, json!({ "pq_mk": hex(key), "newest_epoch": self.parties[to].epoch() }));
                "accepted"
            }
            Err(PqError::KeyGone) => "duplicate",
            Err(PqError::TooManySkipped) => "too many skipped",
            Err(PqError::UnknownEpoch(_)) => "epoch not open",
            Err(error) => panic!("{error}"),
        };
        assert_eq!(got, result, "{name}");
        self.step("deliver", to, with(more, json!({ "result": result })));
    }

    fn turns(&mut self, from: usize, count: usize, prefix: &str) {
        for turn in from..from + count {
            let name = format!("{prefix}{turn}");
            self.send(turn % 2, &name);
            self.deliver(1 - turn % 2, &name, "accepted");
        }
    }

    fn case(self, name: &str, description: &str) -> Case {
        Case::new(name, description, json!({ "pq_secret": hex(self.secret) }), json!({ "steps": self.steps }))
    }
}

#[test]
fn vectors_pq_ratchet() {
    let (a, b) = (0, 1);
    let mut cases = Vec::new();

    let mut world = PqWorld::new("pq ratchet: turns");
    world.turns(0, 23 * 3, "m");
    assert_eq!(world.parties[0].epoch(), 3);
    cases.push(world.case("turns", "Strict alternation over three epochs."));

    let mut world = PqWorld::new("pq ratchet: loss and reordering");
    for name in ["a0", "a1", "a2"] {
        world.send(a, name);
    }
    for (name, result) in [("a2", "accepted"), ("a0", "accepted"), ("a0", "duplicate"), ("a1", "accepted")] {
        world.deliver(b, name, result);
    }
    world.send(b, "late of epoch 0");
    world.turns(1, 23 * 2, "m");
    world.deliver(a, "late of epoch 0", "accepted");
    world.deliver(a, "late of epoch 0", "duplicate");
    cases.push(world.case("loss and reordering", "Late messages, also of an epoch that is over; repetitions."));

    let mut world = PqWorld::new("pq ratchet: bounds");
    world.drop_many(a, 2000);
    world.send(a, "2000 missing");
    world.drop_many(a, 2001);
    world.send(a, "2001 missing");
    world.deliver(b, "2000 missing", "accepted");
    world.deliver(b, "2001 missing", "too many skipped");
    cases.push(world.case("bounds", "A jump over 2,000 keys is taken, over 2,001 refused."));

    let mut world = PqWorld::new("pq ratchet: skipped keys in all");
    world.send(b, "oldest");
    world.send(b, "second oldest");
    world.turns(0, 30, "m");
    world.drop_many(b, 1999);
    world.send(b, "1999 missing");
    world.deliver(a, "1999 missing", "accepted");
    world.deliver(a, "oldest", "duplicate");
    world.deliver(a, "second oldest", "accepted");
    cases.push(
        world.case("skipped keys in all", "2,000 are kept over all epochs; the oldest goes for each that is too many."),
    );

    let mut world = PqWorld::new("pq ratchet: old epochs");
    world.send(b, "of epoch 0");
    world.send(b, "of epoch 0, too");
    let mut turn = 0;
    let mut until = |world: &mut PqWorld, epoch: u64| {
        while world.parties[a].epoch() < epoch {
            world.turns(turn, 1, "m");
            turn += 1;
        }
    };
    until(&mut world, 2);
    assert_eq!(world.parties[b].sending_epoch(), 1);
    world.send(b, "of epoch 1");
    until(&mut world, 4);
    world.deliver(a, "of epoch 0", "accepted");
    until(&mut world, 5);
    world.deliver(a, "of epoch 0, too", "epoch not open");
    world.deliver(a, "of epoch 1", "accepted");
    let mut future = world.sent["m0"].0;
    future[1..9].copy_from_slice(&9_u64.to_be_bytes());
    world.sent.insert("of a future epoch".to_owned(), (future, [0; 32]));
    world.step("forge", a, json!({ "message": "of a future epoch", "header": hex(future) }));
    world.deliver(b, "of a future epoch", "epoch not open");
    cases.push(world.case("old epochs", "The chains of four epochs before the newest are kept, and not one more."));

    let mut world = PqWorld::new("pq ratchet: restored backup");
    world.turns(0, 30, "m");
    let mut backup = Zeroizing::new(Vec::new());
    world.parties[a].encode(&mut backup);
    world.backups.insert("of a".to_owned(), backup.to_vec());
    world.step("back_up", a, json!({ "backup": "of a" }));
    world.send(a, "before");
    world.parties[a] = Reader::whole(&world.backups["of a"], PostQuantumRatchet::decode).unwrap();
    world.step("restore", a, json!({ "backup": "of a" }));
    world.send(a, "after");
    assert_eq!(
        world.sent["before"].1, world.sent["after"].1,
        "the same key: only the header's nonce differs, one layer up"
    );
    world.deliver(b, "after", "accepted");
    world.turns(31, 40, "n");
    cases.push(world.case("restored backup", "A party goes back to an older state and gives the same key again."));

    let malformed = |change: &dyn Fn(&mut [u8; PQ_HEADER_LEN])| {
        let mut header = PqWorld::new("pq ratchet: turns").parties[0].send(&mut Draws::new("x")).unwrap().0;
        change(&mut header);
        assert_eq!(PostQuantumRatchet::new_recipient(&[0; 32]).open(&header).unwrap_err(), PqError::Malformed);
        json!({ "header": hex(header) })
    };
    for (name, inputs, reason) in [
        ("type 6", malformed(&|h| h[0] = 6), "unknown type"),
        ("epoch 0", malformed(&|h| h[1..9].fill(0)), "epoch 0"),
        ("nothing with a chunk", malformed(&|h| h[0] = 0), "a message of nothing has index and chunk zero"),
        ("all zero", malformed(&|h| h.fill(0)), "epoch 0"),
    ] {
        cases.push(Case::reject(name, "No header of this ratchet.", inputs, reason));
    }
    check("pq_ratchet", cases);
}

//! The erasure code and traces of the ML-KEM Braid.
//!
//! Chunks are made twice: by the formula of docs/PROTOCOL.md, written down here the slow way, and by a side of the Braid
//! that is put into the state in which it sends the payload (its stored form is in `braid::snapshot`).

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};

use kuvert_types::Reader;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Case, Draws, bytes, check, hex, with};
use crate::braid::Braid;
use crate::scka::{SCKA_MESSAGE_LEN, Scka, SckaError, SckaFailure};

/// A product in GF(2)[x] / (x^16 + x^12 + x^3 + x + 1).
fn multiply(a: u16, b: u16) -> u16 {
    let mut product = 0_u32;
    for bit in 0..16 {
        if b >> bit & 1 == 1 {
            product ^= u32::from(a) << bit;
        }
    }
    for bit in (16..32).rev() {
        if product >> bit & 1 == 1 {
            product ^= 0x1_100B << (bit - 16);
        }
    }
    u16::try_from(product).unwrap()
}

fn invert(a: u16) -> u16 {
    (1..=u16::MAX).find(|b| multiply(a, *b) == 1).unwrap()
}

fn chunk(payload: &[u8], index: u16) -> [u8; 128] {
    let k = u16::try_from(payload.len().div_ceil(128)).unwrap();
    let mut padded = payload.to_vec();
    padded.resize(usize::from(k) * 128, 0);
    let mut out = [0; 128];
    for j in 0..k {
        let mut basis = 1;
        for m in (0..k).filter(|m| *m != j) {
            basis = multiply(basis, multiply(index ^ m, invert(j ^ m)));
        }
        for p in 0..64 {
            let at = usize::from(j) * 128 + 2 * p;
            let symbol = multiply(basis, u16::from_be_bytes([padded[at], padded[at + 1]])).to_be_bytes();
            out[2 * p] ^= symbol[0];
            out[2 * p + 1] ^= symbol[1];
        }
    }
    out
}

/// A side of the Braid in epoch 1, from its stored form.
fn side(tag: u8, fields: &[&[u8]]) -> Braid {
    let mut stored = vec![tag];
    stored.extend_from_slice(&1_u64.to_be_bytes());
    stored.extend_from_slice(&[0; 64]);
    stored.extend_from_slice(&fields.concat());
    Reader::whole(&stored, Braid::decode).unwrap()
}

fn stored(side: &Braid) -> Vec<u8> {
    let mut out = Zeroizing::new(Vec::new());
    side.encode(&mut out);
    out.to_vec()
}

/// The chunk that the code sends.
fn sent_chunk(payload: &[u8], index: u16) -> [u8; 128] {
    let next = index.to_be_bytes();
    let mut side = match payload.len() {
        96 => side(1, &[&[0; 64], &[0; 1152], payload, &next]),
        1152 => side(2, &[&[0; 64], payload, &next, &[0]]),
        960 => side(7, &[&[0; 64], &[0; 32], payload, &next, &[0]]),
        160 => side(10, &[payload, &next]),
        other => panic!("{other}"),
    };
    let message = side.send(&mut Draws::new("nothing is drawn")).unwrap().message;
    assert_eq!(message[9..11], next);
    *message.last_chunk().unwrap()
}

#[test]
fn vectors_erasure() {
    let mut cases = Vec::new();
    for (a, b) in [(0x8000, 2), (0xFFFF, 0xFFFF), (0x1234, 0xABCD), (1, 0x4321), (0, 7)] {
        let description = "A product in the field.";
        let outputs = json!({ "product": multiply(a, b) });
        cases.push(Case::new(format!("multiply {a:04x} {b:04x}"), description, json!({ "a": a, "b": b }), outputs));
    }
    for a in [1, 2, 0x100B, 0xFFFF] {
        let outputs = json!({ "inverse": invert(a) });
        cases.push(Case::new(format!("invert {a:04x}"), "An inverse in the field.", json!({ "a": a }), outputs));
    }
    for (name, payload) in [
        ("header and MAC", bytes::<96>("payload 96").to_vec()),
        ("c2 and MAC", bytes::<160>("payload 160").to_vec()),
        ("c1", bytes::<960>("payload 960").to_vec()),
        ("vector", bytes::<1152>("payload 1152").to_vec()),
    ] {
        let chunks: Vec<Value> = [0, 1, 2, 7, 8, 9, 10, 255, 256, 4096, 65_534, 65_535]
            .into_iter()
            .map(|index| {
                let chunk = chunk(&payload, index);
                assert_eq!(chunk, sent_chunk(&payload, index), "{name} {index}");
                json!({ "index": index, "chunk": hex(chunk) })
            })
            .collect();
        let description = "A payload and some of its chunks. Any k of them give the payload back.";
        let k = payload.len().div_ceil(128);
        let inputs = json!({ "payload": hex(&payload) });
        cases.push(Case::new(format!("encode {name}"), description, inputs, json!({ "k": k, "chunks": chunks })));
    }
    decoding(&mut cases);
    check("erasure", cases);
}

/// Through a side that collects c₁ (8 chunks) and stores it when it is complete.
fn decoding(cases: &mut Vec<Case>) {
    let payload = bytes::<960>("payload 960");
    for indices in [[0_u16, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15], [7, 65_535, 3, 4096, 0, 9, 100, 5]] {
        let mut holder = side(2, &[&[0; 64], &[0; 1152], &[0, 0], &[0]]);
        let mut listed = Vec::new();
        for index in indices {
            let chunk = chunk(&payload, index);
            listed.push(json!({ "index": index, "chunk": hex(chunk) }));
            for _ in 0..2 {
                deliver(&mut holder, &message(4, 1, index, &chunk)).unwrap();
            }
        }
        let state = stored(&holder);
        assert_eq!((state[0], &state[state.len() - 960..]), (3, &payload[..]));
        let name = format!("decode {indices:?}");
        let inputs = json!({ "length": 960, "chunks": listed });
        cases.push(Case::new(name, "k chunks give the payload.", inputs, json!({ "payload": hex(payload) })));
    }
    let mut padded = bytes::<1024>("payload with padding");
    padded[1023] = 1;
    let mut holder = side(2, &[&[0; 64], &[0; 1152], &[0, 0], &[0]]);
    let mut listed = Vec::new();
    for index in 0..8_u16 {
        let chunk: [u8; 128] = padded[usize::from(index) * 128..][..128].try_into().unwrap();
        listed.push(json!({ "index": index, "chunk": hex(chunk) }));
        deliver(&mut holder, &message(4, 1, index, &chunk)).unwrap();
    }
    assert_eq!(holder.failure(), Some(SckaFailure::Authentication));
    let inputs = json!({ "length": 960, "chunks": listed });
    cases.push(Case::reject("decode padding", "The padding is not zero.", inputs, "padding"));
}

fn message(kind: u8, epoch: u64, index: u16, chunk: &[u8; 128]) -> [u8; SCKA_MESSAGE_LEN] {
    let parts = [&[kind][..], &epoch.to_be_bytes(), &index.to_be_bytes(), chunk].concat();
    parts.try_into().unwrap()
}

type Output = Option<(u64, [u8; 32])>;

fn deliver(side: &mut Braid, message: &[u8; SCKA_MESSAGE_LEN]) -> Result<Output, SckaError> {
    let step = side.receive(message)?.step;
    Ok(side.apply(step).map(|key| (key.epoch(), *key.as_bytes())))
}

const NAMES: [&str; 2] = ["initiator", "recipient"];

/// The names that docs/PROTOCOL.md gives to the states.
fn state(side: &Braid) -> String {
    let shown = format!("{side:?}");
    shown.split("state: \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

struct World {
    key: [u8; 32],
    parties: [Braid; 2],
    draws: Draws,
    sent: BTreeMap<String, [u8; SCKA_MESSAGE_LEN]>,
    steps: Vec<Value>,
}

impl World {
    fn new(seed: &'static str) -> Self {
        let key = bytes(seed);
        let parties = [Braid::new_initiator(&key), Braid::new_recipient(&key)];
        Self { key, parties, draws: Draws::new(seed), sent: BTreeMap::new(), steps: Vec::new() }
    }

    fn step(&mut self, op: &str, who: usize, output: Output, more: Value) {
        let output = output.map(|(epoch, key)| json!({ "epoch": epoch, "key": hex(key) }));
        let common = json!({
            "op": op, "party": NAMES[who], "state_after": state(&self.parties[who]), "output": output,
        });
        self.steps.push(with(common, more));
    }

    fn send(&mut self, who: usize, name: &str) {
        let sent = self.parties[who].send(&mut self.draws).unwrap();
        let output = sent.output.map(|key| (key.epoch(), *key.as_bytes()));
        let more = json!({ "message": name, "bytes": hex(sent.message), "draws": self.draws.take() });
        self.step("send", who, output, more);
        assert!(self.sent.insert(name.to_owned(), sent.message).is_none());
    }

    fn deliver(&mut self, to: usize, name: &str) {
        let message = self.sent[name];
        let output = deliver(&mut self.parties[to], &message).unwrap();
        self.step("deliver", to, output, json!({ "message": name }));
    }

    /// Messages of epochs that the side `to` has no rule for, with a chunk of the type that it waits for: nothing happens.
    fn deliver_of_other_epochs(&mut self, to: usize, name: &str) {
        let good = self.sent[name];
        let epoch = u64::from_be_bytes(*good[1..].first_chunk().unwrap());
        // Only the next epoch moves the last state of an encapsulator.
        let next = if state(&self.parties[to]) == "Ct2Sampled" { epoch + 1 } else { epoch };
        for other in [epoch - 1, epoch + 1, epoch + 2].into_iter().filter(|other| *other != 0 && *other != next) {
            let mut forged = good;
            forged[1..9].copy_from_slice(&other.to_be_bytes());
            forged[11..].fill(0xA5);
            forged[0] = forged[0].max(1);
            let name = format!("{name} of epoch {other}");
            self.step("forge", 1 - to, None, json!({ "message": name, "bytes": hex(forged) }));
            self.sent.insert(name.clone(), forged);
            let before = stored(&self.parties[to]);
            self.deliver(to, &name);
            assert_eq!(stored(&self.parties[to]), before, "{name}");
        }
    }

    /// A message of `from`'s own epoch that `from` did not make.
    fn forge(&mut self, from: usize, name: &str, message: [u8; SCKA_MESSAGE_LEN]) {
        self.step("forge", from, None, json!({ "message": name, "bytes": hex(message) }));
        self.sent.insert(name.to_owned(), message);
    }

    fn store_and_load(&mut self, who: usize) {
        let bytes = stored(&self.parties[who]);
        self.parties[who] = Reader::whole(&bytes, Braid::decode).unwrap();
        self.step("store_and_load", who, None, json!({}));
    }

    fn case(self, name: &str, description: &str) -> Case {
        Case::new(name, description, json!({ "agreement_key": hex(self.key) }), json!({ "steps": self.steps }))
    }
}

#[test]
fn vectors_braid() {
    let mut cases = Vec::new();

    let mut world = World::new("braid: turns");
    for turn in 0..23 * 3 {
        let name = format!("m{turn}");
        world.send(turn % 2, &name);
        world.deliver(1 - turn % 2, &name);
    }
    assert_eq!([0, 1].map(|who| world.parties[who].newest_epoch()), [3, 3]);
    cases.push(world.case("turns", "Strict alternation over three epochs: 23 messages each."));

    let mut world = World::new("braid: loss");
    let mut turn = 0_usize;
    while world.parties[0].newest_epoch() < 2 || world.parties[1].newest_epoch() < 2 {
        let name = format!("m{turn}");
        world.send(turn % 2, &name);
        // Every fifth and every seventh message is lost: parity chunks are needed.
        if !turn.is_multiple_of(5) && !turn.is_multiple_of(7) {
            world.deliver(1 - turn % 2, &name);
        }
        if turn.is_multiple_of(9) {
            world.store_and_load(turn % 2);
        }
        turn += 1;
    }
    cases.push(
        world.case("loss", "Two epochs with every fifth and seventh message lost, stored and loaded now and then."),
    );

    let mut world = World::new("braid: bursts");
    let mut waiting: [Vec<String>; 2] = Default::default();
    let mut turn = 0_usize;
    while world.parties.iter().any(|party| party.newest_epoch() < 2) {
        // Bursts of unequal size, delivered newest first, every third message twice.
        for _ in 0..=turn % 4 {
            for who in 0..2 {
                if turn % 3 == who {
                    continue;
                }
                let name = format!("{}{}", NAMES[who], world.sent.len());
                world.send(who, &name);
                waiting[1 - who].push(name);
            }
        }
        for (to, queue) in waiting.iter_mut().enumerate() {
            for (index, name) in queue.drain(..).rev().enumerate() {
                for _ in 0..=usize::from(index % 3 == 2) {
                    world.deliver(to, &name);
                }
            }
        }
        turn += 1;
        assert!(turn < 200);
    }
    cases.push(world.case("bursts", "Two epochs with bursts, reordering and repetitions."));

    let mut world = World::new("braid: other epochs");
    let mut seen = alloc::collections::BTreeSet::new();
    let mut turn = 0_usize;
    while world.parties.iter().any(|party| party.newest_epoch() < 2) {
        let (name, to) = (format!("m{turn}"), 1 - turn % 2);
        world.send(turn % 2, &name);
        if !turn.is_multiple_of(5) && !turn.is_multiple_of(7) {
            if seen.insert((to, state(&world.parties[to]))) {
                world.deliver_of_other_epochs(to, &name);
            }
            world.deliver(to, &name);
        }
        turn += 1;
    }
    let states: alloc::collections::BTreeSet<_> = seen.iter().map(|(_, state)| state.as_str()).collect();
    assert!(states.len() >= 8, "{states:?}");
    cases.push(world.case(
        "other epochs",
        "As `loss`; the first time that a side receives in a state, messages of other epochs come before, with chunks that \
         would end the Braid if they were taken.",
    ));

    cases.push(repeated_acknowledgement());

    let mut reached: Vec<String> = Vec::new();
    for case in &cases {
        for step in case.outputs.as_ref().unwrap()["steps"].as_array().unwrap() {
            reached.push(step["state_after"].as_str().unwrap().to_owned());
        }
    }
    for name in [
        "KeysUnsampled",
        "KeysSampled",
        "HeaderSent",
        "Ct1Received",
        "EkSentCt1Received",
        "NoHeaderReceived",
        "HeaderReceived",
        "Ct1Sampled",
        "EkReceivedCt1Sampled",
        "Ct1Acknowledged",
        "Ct2Sampled",
    ] {
        assert!(reached.iter().any(|state| state == name), "no trace reaches {name}");
    }

    poison(&mut cases);
    malformed(&mut cases);
    check("braid", cases);
}

/// A changed chunk ends the Braid, at the message that completes the payload.
/// A chunk that is there already is not added again; the acknowledgement that its type is counts (KV-049).
fn repeated_acknowledgement() -> Case {
    let mut world = World::new("braid: repeated acknowledgement");
    let mut turn = 0_usize;
    while state(&world.parties[1]) != "Ct1Sampled" || world.parties[1].newest_epoch() < 1 || turn.is_multiple_of(2) {
        let name = format!("m{turn}");
        world.send(turn % 2, &name);
        world.deliver(1 - turn % 2, &name);
        turn += 1;
    }
    // It is the encapsulator's turn: the holder's first chunk of the vector has not come yet.
    world.send(1, "first of c1");
    world.deliver(0, "first of c1");
    world.send(0, "first of the vector");
    world.deliver(1, "first of the vector");
    let mut repeated = world.sent["first of the vector"];
    repeated[11..].fill(0xA5);
    world.forge(0, "the same index", repeated);
    let before = stored(&world.parties[1]);
    world.deliver(1, "the same index");
    assert_eq!(stored(&world.parties[1]), before);
    repeated[0] = 3;
    world.forge(0, "the same index, acknowledging", repeated);
    for expected in ["Ct1Acknowledged", "Ct1Acknowledged"] {
        world.deliver(1, "the same index, acknowledging");
        assert_eq!(state(&world.parties[1]), expected);
    }
    // And the vector comes whole, from the chunks that the holder sends.
    for more in 0..30 {
        let (back, name) = (format!("back {more}"), format!("vector {more}"));
        world.send(1, &back);
        world.deliver(0, &back);
        world.send(0, &name);
        world.deliver(1, &name);
    }
    world.case(
        "repeated acknowledgement",
        "A VectorAndAcknowledgement with the index of a chunk that is there already: the chunk is not added, the acknowledgement \
         counts.",
    )
}

fn poison(cases: &mut Vec<Case>) {
    for (name, kind, byte, failure) in [
        ("header", 1, 0, SckaFailure::Authentication),
        ("header MAC", 1, 64, SckaFailure::Authentication),
        ("header padding", 1, 127, SckaFailure::Authentication),
        ("vector", 2, 99, SckaFailure::EncapsulationKey),
        ("ciphertext 1", 4, 13, SckaFailure::Authentication),
        ("ciphertext 2", 5, 0, SckaFailure::Authentication),
    ] {
        let mut world = World::new("braid: turns");
        let mut poisoned = false;
        let mut received = Vec::new();
        for turn in 0..23 {
            let mut sent = world.parties[turn % 2].send(&mut world.draws).unwrap().message;
            if sent[0] == kind && !poisoned {
                poisoned = true;
                sent[11 + byte] ^= 0x10;
            }
            let to = 1 - turn % 2;
            received.push(json!({ "party": NAMES[to], "bytes": hex(sent) }));
            deliver(&mut world.parties[to], &sent).unwrap();
            if world.parties[to].failure().is_some() {
                break;
            }
        }
        let to = received.last().unwrap()["party"].clone();
        let failed = world.parties.iter().find_map(|party| party.failure());
        assert_eq!(failed, Some(failure), "{name}");
        let inputs = json!({
            "agreement_key": hex(world.key), "draws": world.draws.take(), "received": received, "fails": to,
        });
        let description = "Strict alternation; each side sends before it receives, as in `turns`. One chunk was changed. The \
                           last message makes the receiving side fail.";
        let reason = match failure {
            SckaFailure::Authentication => "a MAC or padding is wrong",
            SckaFailure::EncapsulationKey => "the vector is not what the header announced",
        };
        cases.push(Case::reject(format!("poisoned {name}"), description, inputs, reason));
    }
}

fn malformed(cases: &mut Vec<Case>) {
    let side = Braid::new_recipient(&[0; 32]);
    for (name, bytes, reason) in [
        ("type 6", message(6, 1, 0, &[0; 128]), "unknown type"),
        ("type 255", message(255, 1, 0, &[0; 128]), "unknown type"),
        ("epoch 0", message(1, 0, 0, &[1; 128]), "epoch 0"),
        ("nothing with index", message(0, 1, 1, &[0; 128]), "index and chunk have to be zero"),
        ("nothing with chunk", message(0, 1, 0, &[1; 128]), "index and chunk have to be zero"),
    ] {
        assert_eq!(side.receive(&bytes).unwrap_err(), SckaError::Malformed);
        cases.push(Case::reject(name, "No message of the Braid.", json!({ "bytes": hex(bytes) }), reason));
    }
}

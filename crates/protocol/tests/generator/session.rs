//! Whole conversations of two devices: from identities and prekeys to messages, everything drawn listed.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::montgomery::MontgomeryPoint;
use kuvert_types::Address;
use serde_json::{Value, json};

use super::handshake::{Device, Prekeys, kind_byte, listed_bundle};
use super::{Case, Draws, check, hex, with};
use crate::message::last_resort_prekey;
use crate::prekey::{KemPrekeyKind, KemPrekeySecret, OneTimePrekeySecret, PrekeyStore, SignedPrekeySecret};
use crate::replay::{ReplayRecord, STRANGER_ENTRIES, Trust};
use crate::session::{CONVERGENCE_WINDOW_MS, DecryptContext, DecryptError, SessionRecord};

const NAMES: [&str; 2] = ["alice", "bob"];
const NOW: u64 = 1_700_000_000_000;

struct Store {
    prekeys: Prekeys,
    one_time_left: bool,
    kem_left: bool,
}

impl PrekeyStore for Store {
    type Error = Infallible;

    fn signed(&self, id: u32) -> Result<Option<SignedPrekeySecret>, Infallible> {
        let secret = &self.prekeys.signed;
        Ok((secret.id() == id).then(|| SignedPrekeySecret::decode(&secret.encode()).unwrap()))
    }

    fn one_time(&self, id: u32) -> Result<Option<OneTimePrekeySecret>, Infallible> {
        let secret = &self.prekeys.one_time;
        let found = self.one_time_left && secret.id() == id;
        Ok(found.then(|| OneTimePrekeySecret::decode(&secret.encode()).unwrap()))
    }

    fn kem(&self, id: u32) -> Result<Option<(KemPrekeySecret, KemPrekeyKind)>, Infallible> {
        let decode = |secret: &KemPrekeySecret| KemPrekeySecret::decode(&secret.encode()).unwrap();
        if self.kem_left && self.prekeys.kem.id() == id {
            return Ok(Some((decode(&self.prekeys.kem), KemPrekeyKind::OneTime)));
        }
        let secret = &self.prekeys.last_resort;
        Ok((secret.id() == id).then(|| (decode(secret), KemPrekeyKind::LastResort)))
    }
}

struct Party {
    device: Device,
    store: Store,
    record: SessionRecord,
    /// By the id of the last-resort KEM prekey.
    replay: BTreeMap<u32, ReplayRecord>,
    /// Whether the other one is a contact.
    trust: Trust,
}

impl Party {
    fn address(&self) -> Address {
        self.device.local.address()
    }

    fn stored(&self) -> (Vec<u8>, BTreeMap<u32, ReplayRecord>, bool, bool) {
        let Store { prekeys: _, one_time_left, kem_left } = self.store;
        (self.record.encode().to_vec(), self.replay.clone(), one_time_left, kem_left)
    }
}

struct World {
    parties: [Party; 2],
    draws: Draws,
    now: u64,
    sent: BTreeMap<String, Vec<u8>>,
    backups: BTreeMap<String, Vec<u8>>,
    steps: Vec<Value>,
    inputs: Value,
    start_draws: Vec<String>,
}

impl World {
    fn new(seed: &'static str) -> Self {
        let mut draws = Draws::new(seed);
        let parties = NAMES.map(|name| {
            let device = Device::new(name, 1, &mut draws);
            let prekeys = Prekeys::new(&device, &mut draws);
            let store = Store { prekeys, one_time_left: true, kem_left: true };
            Party { device, store, record: SessionRecord::new(), replay: BTreeMap::new(), trust: Trust::Contact }
        });
        let listed = |party: &Party| with(party.device.listed(), json!({ "prekeys": party.store.prekeys.listed() }));
        let inputs = json!({ "alice": listed(&parties[0]), "bob": listed(&parties[1]) });
        let start_draws = draws.take();
        Self {
            parties,
            draws,
            now: NOW,
            sent: BTreeMap::new(),
            backups: BTreeMap::new(),
            steps: Vec::new(),
            inputs,
            start_draws,
        }
    }

    fn step(&mut self, op: &str, who: usize, more: Value) {
        let sessions = &self.parties[who].record;
        let common = json!({
            "op": op, "party": NAMES[who], "now": self.now,
            "sessions_after": { "active": sessions.has_active(), "inactive": sessions.inactive_count() },
        });
        self.steps.push(with(common, more));
    }

    fn initiate(&mut self, who: usize, kind: KemPrekeyKind, one_time: bool) {
        let other = &self.parties[1 - who];
        let certificate = other.device.local.certificate().encode();
        let bundle = other.store.prekeys.bundle(&other.device, kind, one_time);
        let listed = listed_bundle(&bundle, &certificate);
        let verified = bundle.verify(other.address(), &other.device.account_key).unwrap();
        let party = &mut self.parties[who];
        party.record.initiate(&party.device.local, &verified, self.now, &mut self.draws).unwrap();
        let more = json!({ "bundle": listed, "kem_kind": kind_byte(kind), "draws": self.draws.take() });
        self.step("initiate", who, more);
    }

    fn encrypt(&mut self, who: usize, name: &str, content: &[u8]) {
        let message = self.parties[who].record.encrypt(content, self.now, &mut self.draws).unwrap();
        let draws = self.draws.take();
        let more = json!({ "message": name, "content": hex(content), "draws": draws, "bytes": hex(&message) });
        self.step("encrypt", who, more);
        assert!(self.sent.insert(name.to_owned(), message).is_none());
    }

    /// What a party says to a message; a party that refuses has not changed.
    fn try_decrypt(&mut self, who: usize, message: &[u8]) -> Result<Value, &'static str> {
        let remote = self.parties[1 - who].address();
        let before = self.parties[who].stored();
        let party = &mut self.parties[who];
        let Party { device, store, record, replay: records, trust } = party;
        let prekey = last_resort_prekey(message).ok().flatten();
        let mut replay = prekey.and_then(|id| records.get(&id).cloned()).unwrap_or_default();
        let (trust, rng) = (*trust, &mut self.draws);
        let context = DecryptContext {
            local: &device.local,
            remote,
            trust,
            prekeys: &*store,
            replay: &mut replay,
            now: self.now,
            rng,
        };
        match record.decrypt(message, context).map_err(DecryptError::from) {
            Ok(decrypted) => {
                let (entries, strangers) = (replay.len(), replay.strangers());
                prekey.map(|id| records.insert(id, replay));
                let used = decrypted.used.map(|used| {
                    store.one_time_left &= used.one_time.is_none();
                    store.kem_left &= used.kem.is_none();
                    json!({ "signed": used.signed, "one_time": used.one_time, "one_time_kem": used.kem })
                });
                Ok(json!({
                    "content": hex(&*decrypted.plaintext), "new_session": decrypted.new_session, "used": used,
                    "draws": self.draws.take(), "replay_record_len": entries, "replay_record_strangers": strangers,
                }))
            }
            Err(error) => {
                assert_eq!(party.stored(), before, "{error}");
                assert!(self.draws.take().is_empty());
                Err(name_of(error))
            }
        }
    }

    fn decrypt(&mut self, who: usize, name: &str, result: &str) {
        let message = self.sent[name].clone();
        let (got, more) = match self.try_decrypt(who, &message) {
            Ok(more) => ("accepted", more),
            Err(error) => (error, json!({})),
        };
        assert_eq!(got, result, "{name}");
        let contact = self.parties[who].trust == Trust::Contact;
        self.step("decrypt", who, with(json!({ "message": name, "contact": contact, "result": result }), more));
    }

    fn pass(&mut self, who: usize, name: &str, content: &[u8]) {
        self.encrypt(who, name, content);
        self.decrypt(1 - who, name, "accepted");
    }

    fn back_up(&mut self, who: usize, name: &str) {
        self.backups.insert(name.to_owned(), self.parties[who].record.encode().to_vec());
        self.step("back_up", who, json!({ "backup": name }));
    }

    fn restore(&mut self, who: usize, name: &str) {
        self.parties[who].record = SessionRecord::decode(&self.backups[name]).unwrap();
        self.step("restore", who, json!({ "backup": name }));
    }

    fn forget_sessions(&mut self, who: usize) {
        self.parties[who].record = SessionRecord::new();
        self.step("forget_sessions", who, json!({}));
    }

    fn case(self, name: &str, description: &str) -> Case {
        let outputs = json!({ "steps": self.steps });
        Case { draws: Some(self.start_draws), ..Case::new(name, description, self.inputs, outputs) }
    }
}

/// The names that files use for refusals.
fn name_of(error: DecryptError) -> &'static str {
    match error {
        DecryptError::Malformed => "malformed",
        DecryptError::InvalidHandshake => "invalid handshake",
        DecryptError::UnknownPrekey => "unknown prekey",
        DecryptError::Replayed => "replayed",
        DecryptError::ReplayRecordFull => "replay record full",
        DecryptError::Duplicate => "duplicate",
        DecryptError::AccountMismatch => "account mismatch",
        DecryptError::IdentityChanged { .. } => "identity changed",
        DecryptError::NoSession => "no session",
        DecryptError::Undecryptable => "undecryptable",
        DecryptError::TooManySkipped => "too many skipped",
        other => panic!("{other}"),
    }
}

#[test]
fn vectors_session() {
    use KemPrekeyKind::{LastResort, OneTime};
    let (a, b) = (0, 1);
    let mut cases = Vec::new();

    let mut world = World::new("session: conversation");
    world.initiate(a, OneTime, true);
    world.pass(a, "first", b"Hello Bob");
    world.pass(a, "second, with the same handshake", b"Are you there?");
    world.pass(b, "answer", b"Hello Alice");
    for turn in 0..50_usize {
        let content = format!("turn {turn}");
        world.pass(turn % 2, &content, content.as_bytes());
    }
    world.pass(a, "long", &[0x41; 5000]);
    world.pass(b, "empty", b"");
    cases.push(world.case("conversation", DRAWS));

    let mut world = World::new("session: loss");
    world.initiate(a, OneTime, false);
    for name in ["a0", "a1", "a2"] {
        world.encrypt(a, name, name.as_bytes());
    }
    world.decrypt(b, "a1", "accepted");
    world.decrypt(b, "a1", "duplicate");
    world.pass(b, "b0", b"b0");
    world.pass(a, "a3", b"a3");
    world.decrypt(b, "a0", "accepted");
    world.decrypt(b, "a2", "accepted");
    world.decrypt(b, "a2", "duplicate");
    world.back_up(b, "of bob");
    world.pass(b, "b1", b"b1");
    world.restore(b, "of bob");
    world.encrypt(b, "b1 again", b"another text");
    world.decrypt(a, "b1 again", "duplicate");
    world.pass(b, "b2", b"b2");
    cases.push(world.case("loss", "The first message is lost for a while; Bob goes back to an older state."));

    let mut world = World::new("session: replays");
    world.initiate(a, LastResort, true);
    world.pass(a, "last resort", b"with one-time curve prekey");
    world.decrypt(b, "last resort", "duplicate");
    world.forget_sessions(b);
    world.decrypt(b, "last resort", "unknown prekey");
    world.forget_sessions(a);
    world.initiate(a, LastResort, false);
    world.pass(a, "only last resort", b"x");
    world.forget_sessions(b);
    world.decrypt(b, "only last resort", "replayed");
    world.encrypt(a, "more of the same session", b"y");
    world.decrypt(b, "more of the same session", "replayed");
    world.initiate(a, OneTime, false);
    world.pass(a, "one-time KEM", b"z");
    world.forget_sessions(b);
    world.decrypt(b, "one-time KEM", "unknown prekey");
    cases.push(world.case("replays", "First messages delivered again after Bob lost his sessions."));

    let mut world = World::new("session: budgets");
    world.parties[b].trust = Trust::Stranger;
    for nth in 0..=STRANGER_ENTRIES {
        world.forget_sessions(a);
        world.initiate(a, LastResort, false);
        let name = format!("first message {nth}");
        world.encrypt(a, &name, b"x");
        world.decrypt(b, &name, if nth < STRANGER_ENTRIES { "accepted" } else { "replay record full" });
    }
    world.forget_sessions(b);
    world.decrypt(b, "first message 0", "replayed");
    world.initiate(a, OneTime, false);
    world.pass(a, "with a one-time prekey", b"y");
    world.parties[b].trust = Trust::Contact;
    world.decrypt(b, "first message 4", "accepted");
    cases.push(world.case(
        "a stranger's budget",
        "Alice begins five sessions from bob's last-resort prekey. She is no contact of his and the fifth is refused, until she \
         is one.",
    ));

    for (name, seed) in [
        ("simultaneous initiation", "session: crossed"),
        ("simultaneous initiation, the other way", "session: crossed 3"),
    ] {
        let mut world = World::new(seed);
        world.initiate(a, OneTime, true);
        world.initiate(b, OneTime, true);
        world.encrypt(a, "a0", b"from alice");
        world.encrypt(b, "b0", b"from bob");
        world.decrypt(b, "a0", "accepted");
        world.decrypt(a, "b0", "accepted");
        world.now += 1_000;
        world.encrypt(a, "a1", b"from alice again");
        world.encrypt(b, "b1", b"from bob again");
        world.decrypt(b, "a1", "accepted");
        world.decrypt(a, "b1", "accepted");
        world.pass(a, "a2", b"settled");
        world.pass(b, "b2", b"settled");
        cases.push(world.case(
            name,
            "Both sides begin a session at the same time and settle on the one with the smaller transcript hash.",
        ));
    }
    // The two seeds are there for both outcomes.
    let survivors = cases[4..6].iter().map(|case| {
        let steps = case.outputs.as_ref().unwrap()["steps"].as_array().unwrap();
        let a1 = steps.iter().find(|step| step["op"] == "encrypt" && step["message"] == "a1").unwrap();
        // Alice's session is still active for her exactly if hers is the smaller hash: she repeats her handshake.
        a1["bytes"].as_str().unwrap()[2..4].to_owned()
    });
    assert_eq!(survivors.collect::<alloc::collections::BTreeSet<_>>().len(), 2, "both outcomes");

    let mut world = World::new("session: hopeless");
    world.initiate(a, OneTime, true);
    world.encrypt(a, "lost", b"never arrives");
    world.now += CONVERGENCE_WINDOW_MS;
    world.initiate(b, LastResort, false);
    world.pass(b, "b0", b"from bob");
    world.pass(a, "a1", b"on bob's session, whatever the hashes");
    cases.push(
        world
            .case("unanswered for five minutes", "A session without an answer gives way after the convergence window."),
    );

    let mut world = World::new("session: reset");
    world.initiate(a, OneTime, true);
    world.pass(a, "a0", b"x");
    world.pass(b, "b0", b"y");
    world.forget_sessions(a);
    world.encrypt(b, "b1", b"cannot be opened");
    world.decrypt(a, "b1", "no session");
    world.initiate(a, LastResort, false);
    world.pass(a, "a1", b"a SessionReset content would stand here");
    world.decrypt(a, "b1", "undecryptable");
    world.pass(b, "b2", b"on the new session");
    world.pass(a, "a2", b"on the new session");
    cases.push(world.case("reset", "Alice loses her sessions and begins a new one."));

    let mut world = World::new("session: held back");
    world.initiate(a, OneTime, true);
    world.encrypt(a, "held back", b"from alice");
    world.forget_sessions(a);
    world.initiate(b, OneTime, true);
    world.pass(b, "b0", b"from bob");
    world.decrypt(b, "held back", "accepted");
    world.pass(a, "a1", b"on bob's session, which is outranked");
    world.encrypt(b, "b1", b"on alice's session, which she has lost");
    world.decrypt(a, "b1", "undecryptable");
    world.now += CONVERGENCE_WINDOW_MS;
    world.pass(a, "a2", b"on bob's session, to which he changes now");
    world.pass(b, "b2", b"on bob's session");
    cases.push(world.case(
        "silent for five minutes",
        "A first message arrives late and alice has lost its session: it gives way once nothing came on it for the convergence window.",
    ));

    let mut world = World::new("session: turn after restoration");
    world.initiate(a, OneTime, true);
    world.pass(a, "a0", b"x");
    world.pass(b, "b0", b"y");
    world.pass(a, "a1", b"x");
    world.encrypt(b, "b1", b"y");
    world.encrypt(b, "b2", b"y");
    world.back_up(a, "of alice");
    world.decrypt(a, "b1", "accepted");
    world.pass(a, "a2", b"a new chain");
    world.restore(a, "of alice");
    world.decrypt(a, "b2", "accepted");
    world.encrypt(a, "a2 again", b"the same chain, under another ratchet key");
    world.decrypt(b, "a2 again", "undecryptable");
    world.initiate(b, LastResort, false);
    world.pass(b, "b3", b"a SessionReset content would stand here");
    world.pass(a, "a3", b"on the new session");
    cases.push(world.case(
        "turn after restoration",
        "Alice goes back to an older state and begins a chain a second time: bob refuses it and begins a new session.",
    ));

    cases.push(clock_that_goes_back());
    cases.push(another_account_key());
    tampered(&mut cases);
    check("session", cases);
}

const DRAWS: &str = "Draws at the start, for alice and then for bob: account seed, signing seed, identity secret, signed prekey, \
                     one-time prekey, one-time KEM prekey, last-resort KEM prekey. All other draws stand at their steps.";

/// A message that comes in at an earlier time than the one before does not make a session look silent.
fn clock_that_goes_back() -> Case {
    let (a, b) = (0, 1);
    let mut world = World::new("session: clock 3");
    // The transcript hash of the active session.
    let active = |world: &World, who: usize| world.parties[who].record.encode()[2..34].to_vec();
    world.initiate(a, KemPrekeyKind::OneTime, true);
    world.encrypt(a, "a0", b"on alice's session");
    world.encrypt(a, "a1", b"on alice's session");
    world.initiate(b, KemPrekeyKind::OneTime, true);
    world.encrypt(b, "b0", b"on bob's session");
    world.decrypt(b, "a0", "accepted");
    let alices = active(&world, a);
    assert_eq!(active(&world, b), alices, "alice's session outranks bob's: else take another seed");
    world.now = NOW - 2 * CONVERGENCE_WINDOW_MS;
    world.decrypt(b, "a1", "accepted");
    world.now = NOW + CONVERGENCE_WINDOW_MS;
    world.decrypt(a, "b0", "accepted");
    world.encrypt(a, "a2", b"on bob's session, because alice's has no answer");
    assert_ne!(active(&world, a), alices);
    world.now = NOW + 1_000;
    world.decrypt(b, "a2", "accepted");
    assert_eq!(active(&world, b), alices);
    world.pass(b, "b1", b"on alice's session");
    world.pass(a, "a3", b"on alice's session");
    world.case(
        "clock that goes back",
        "Bob receives a message when his clock stands ten minutes earlier. Alice's session has been silent for a second, not \
         for ten minutes, and keeps its place.",
    )
}

/// A first message under another account key than the sessions there are.
fn another_account_key() -> Case {
    let (a, b) = (0, 1);
    let mut world = World::new("session: another account key");
    world.initiate(a, KemPrekeyKind::OneTime, true);
    world.pass(a, "a0", b"from alice");
    world.pass(b, "b0", b"from bob");
    // Under the same address, properly signed.
    let mut draws = Draws::new("session: impostor");
    let impostor = Device::new(NAMES[a], 1, &mut draws);
    assert_eq!(impostor.local.address(), world.parties[a].address());
    let bob = &world.parties[b];
    let bundle = bob.store.prekeys.bundle(&bob.device, KemPrekeyKind::LastResort, false);
    let bundle = bundle.verify(bob.address(), &bob.device.account_key).unwrap();
    let mut record = SessionRecord::new();
    record.initiate(&impostor.local, &bundle, world.now, &mut draws).unwrap();
    let message = record.encrypt(b"new phone", world.now, &mut draws).unwrap();
    world.step("forge", a, json!({ "message": "impostor", "bytes": hex(&message) }));
    world.sent.insert("impostor".to_owned(), message);
    world.decrypt(b, "impostor", "identity changed");
    world.pass(a, "a1", b"from alice");
    world.forget_sessions(b);
    world.decrypt(b, "impostor", "accepted");
    world.case(
        "another account key",
        "A first message under alice's address and another account key is refused while bob has sessions with her; a record \
         that is begun anew takes it.",
    )
}

/// Each on the same state: a first message, or an answer, with one change.
fn tampered(cases: &mut Vec<Case>) {
    let mut world = World::new("session: tampered");
    world.initiate(0, KemPrekeyKind::OneTime, true);
    world.encrypt(0, "first", b"first");
    let first = world.sent["first"].clone();
    let flip = |at: usize| {
        let mut message = first.clone();
        message[at] ^= 1;
        message
    };
    let len = first.len();
    let mut stripped = first.clone();
    stripped.drain(2..2 + 1859);
    stripped[1] = 2;
    let changes = [
        ("version", flip(0), "malformed"),
        ("kind", flip(1), "malformed"),
        ("account id", flip(2 + 5), "account mismatch"),
        ("signing key in the certificate", flip(2 + 60), "invalid handshake"),
        ("account signature", flip(2 + 130), "invalid handshake"),
        ("device signature", flip(2 + 200), "invalid handshake"),
        (
            "ephemeral key, another spelling",
            {
                let mut m = first.clone();
                let (key, _) = m[2 + 245..].split_first_chunk_mut::<32>().unwrap();
                let point = MontgomeryPoint(*key).to_edwards(0).unwrap() + EIGHT_TORSION[1];
                *key = point.to_montgomery().to_bytes();
                m
            },
            "invalid handshake",
        ),
        ("signed prekey id", flip(2 + 280), "unknown prekey"),
        (
            "KEM kind",
            {
                let mut m = first.clone();
                m[2 + 281] = 2;
                m
            },
            "unknown prekey",
        ),
        ("KEM prekey id, of the last-resort key", flip(2 + 285), "unknown prekey"),
        ("KEM ciphertext", flip(2 + 286 + 700), "undecryptable"),
        (
            "one-time prekey left out",
            {
                let mut m = first.clone();
                m[2 + 1854..2 + 1859].fill(0);
                m
            },
            "undecryptable",
        ),
        ("header nonce", flip(2 + 1859 + 3), "undecryptable"),
        ("header", flip(2 + 1859 + 100), "undecryptable"),
        ("header tag", flip(2 + 1859 + 231), "undecryptable"),
        ("body", flip(2 + 1859 + 232 + 9), "undecryptable"),
        ("tag", flip(len - 1), "undecryptable"),
        ("cut", first[..len - 1].to_vec(), "malformed"),
        ("longer", [&first[..], &[0]].concat(), "malformed"),
        ("tag cut off", first[..len - 16].to_vec(), "malformed"),
        ("without its handshake", stripped, "no session"),
        ("empty", Vec::new(), "malformed"),
    ];
    // One case holds the state; the others refer to it.
    let inputs = world.inputs.clone();
    for (name, message, result) in changes {
        assert_eq!(world.try_decrypt(1, &message), Err(result), "{name}");
        let inputs = json!({ "as_in": "tampered: the message itself", "message": hex(message) });
        let description = "A change of the first message of `tampered: the message itself`, delivered to bob.";
        cases.push(Case::reject(format!("tampered: {name}"), description, inputs, result));
    }
    let mut case = Case::new(
        "tampered: the message itself",
        "The first message that the other `tampered` cases change. It opens, after all of them were refused.",
        inputs,
        Value::Null,
    );
    world.decrypt(1, "first", "accepted");
    case.outputs = Some(json!({ "steps": world.steps }));
    case.draws = Some(world.start_draws);
    cases.push(case);
}

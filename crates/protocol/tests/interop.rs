//! Conversations with the independent Python model in `tests/interop/`, over JSON lines.
//!
//! The variable `KUVERT_PYTHON` names a Python 3.11 that has `tests/interop/requirements.txt` installed. Without it, only
//! the conversations themselves are tested, with Rust at both ends, and that is said on stderr.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use data_encoding::HEXLOWER;
use kuvert_protocol::prelude::*;
use kuvert_types::{DeviceCertificate, Signature, UnverifiedDeviceCertificate};
use serde_json::{Value, json};
use support::{NOW, Party, TestRng};

/// One end of a conversation.
trait Peer {
    fn certificate(&mut self) -> Vec<u8>;
    fn meet(&mut self, certificate: &[u8]);
    fn bundle(&mut self, kem_kind: u8, one_time: bool) -> Value;
    fn initiate(&mut self, bundle: &Value);
    fn encrypt(&mut self, content: &[u8]) -> Vec<u8>;
    /// The content, or the word for the refusal.
    fn decrypt(&mut self, message: &[u8]) -> Result<Vec<u8>, String>;
    /// For an end that shows them: the Braid's epoch, and the newest epoch in which a message of the other end came.
    fn epochs(&mut self) -> Option<(u64, u64)>;
}

// --- Rust at one end ---

struct Rust {
    party: Party,
    remote: Option<DeviceCertificate>,
}

impl Rust {
    fn new(account: u8, seed: u64) -> Self {
        Self { party: Party::new(account, seed), remote: None }
    }
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().expect("hex").as_bytes()).unwrap()
}

fn id(entry: &Value) -> u32 {
    entry["id"].as_u64().unwrap().try_into().unwrap()
}

impl Peer for Rust {
    fn certificate(&mut self) -> Vec<u8> {
        self.party.local.certificate().encode().to_vec()
    }

    fn meet(&mut self, certificate: &[u8]) {
        self.remote = Some(UnverifiedDeviceCertificate::decode(certificate).unwrap().verify().unwrap());
    }

    fn bundle(&mut self, kem_kind: u8, one_time: bool) -> Value {
        let kind = if kem_kind == 1 { KemPrekeyKind::OneTime } else { KemPrekeyKind::LastResort };
        let bundle = self.party.bundle(kind, one_time);
        let (signed, kem) = (&bundle.signed_prekey, &bundle.kem_prekey);
        let text = |bytes: &[u8]| HEXLOWER.encode(bytes);
        json!({
            "certificate": text(&self.certificate()),
            "kem_kind": kem_kind,
            "kem_prekey": {
                "id": kem.id, "public": text(&kem.public_key[..]), "signature": text(kem.signature.as_bytes()),
            },
            "one_time_prekey": bundle.one_time_prekey.map(|key| json!({ "id": key.id, "public": text(&key.public_key) })),
            "signed_prekey": {
                "id": signed.id, "public": text(&signed.public_key), "signature": text(signed.signature.as_bytes()),
            },
        })
    }

    fn initiate(&mut self, bundle: &Value) {
        let (signed, kem, one_time) = (&bundle["signed_prekey"], &bundle["kem_prekey"], &bundle["one_time_prekey"]);
        let key = |entry: &Value| -> [u8; 32] { hex(&entry["public"]).try_into().unwrap() };
        let signature = |entry: &Value| Signature::from_bytes(hex(&entry["signature"]).try_into().unwrap());
        let bundle = PrekeyBundle {
            certificate: UnverifiedDeviceCertificate::decode(&hex(&bundle["certificate"])).unwrap(),
            signed_prekey: SignedPrekey { id: id(signed), public_key: key(signed), signature: signature(signed) },
            kem_prekey: KemPrekey {
                id: id(kem),
                public_key: hex(&kem["public"]).into_boxed_slice().try_into().unwrap(),
                signature: signature(kem),
            },
            kem_kind: if bundle["kem_kind"] == 1 { KemPrekeyKind::OneTime } else { KemPrekeyKind::LastResort },
            one_time_prekey: (!one_time.is_null())
                .then(|| OneTimePrekey { id: id(one_time), public_key: key(one_time) }),
        };
        let remote = self.remote.unwrap();
        let bundle = bundle.verify(remote.address(), &remote.account_key()).unwrap();
        let party = &mut self.party;
        party.record.initiate(&party.local, &bundle, NOW, &mut party.rng).unwrap();
    }

    fn encrypt(&mut self, content: &[u8]) -> Vec<u8> {
        self.party.encrypt(content)
    }

    fn decrypt(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        let remote = self.remote.unwrap();
        match self.party.try_decrypt(remote.address(), message) {
            Ok(decrypted) => {
                assert_eq!(decrypted.remote_certificate.account_key(), remote.account_key());
                Ok(decrypted.plaintext.to_vec())
            }
            Err(DecryptError::Duplicate) => Err("duplicate".to_owned()),
            Err(DecryptError::UnknownPrekey) => Err("unknown prekey".to_owned()),
            Err(DecryptError::Replayed) => Err("replayed".to_owned()),
            Err(other) => Err(other.to_string()),
        }
    }

    fn epochs(&mut self) -> Option<(u64, u64)> {
        None
    }
}

// --- Python at one end ---

struct Python {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    fn start(program: &std::ffi::OsStr) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/interop_peer.py");
        let mut child = Command::new(program)
            .arg(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("KUVERT_PYTHON={} cannot be started: {error}", program.display()));
        let (requests, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, requests, answers }
    }

    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        writeln!(self.requests.as_mut().unwrap(), "{request}").expect("the Python peer has ended");
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the Python peer has ended; its stderr says why");
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        match answer["refused"].as_str() {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.requests.take()); // the end of its input ends it
        let _ = self.child.wait();
    }
}

impl Peer for Python {
    fn certificate(&mut self) -> Vec<u8> {
        hex(&self.ask(&json!({ "op": "hello" })).unwrap()["certificate"])
    }

    fn meet(&mut self, certificate: &[u8]) {
        self.ask(&json!({ "op": "meet", "certificate": HEXLOWER.encode(certificate) })).unwrap();
    }

    fn bundle(&mut self, kem_kind: u8, one_time: bool) -> Value {
        self.ask(&json!({ "op": "bundle", "kem_kind": kem_kind, "one_time": one_time })).unwrap()
    }

    fn initiate(&mut self, bundle: &Value) {
        self.ask(&json!({ "op": "initiate", "bundle": bundle, "now": NOW })).unwrap();
    }

    fn encrypt(&mut self, content: &[u8]) -> Vec<u8> {
        hex(&self.ask(&json!({ "op": "encrypt", "content": HEXLOWER.encode(content) })).unwrap()["message"])
    }

    fn decrypt(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        let answer = self.ask(&json!({ "op": "decrypt", "message": HEXLOWER.encode(message), "now": NOW }))?;
        Ok(hex(&answer["content"]))
    }

    fn epochs(&mut self) -> Option<(u64, u64)> {
        let status = self.ask(&json!({ "op": "status" })).unwrap();
        Some((status["braid_epoch"].as_u64().unwrap(), status["epoch_heard"].as_u64().unwrap()))
    }
}

// --- what they do ---

fn introduce(a: &mut dyn Peer, b: &mut dyn Peer) {
    let (of_a, of_b) = (a.certificate(), b.certificate());
    a.meet(&of_b);
    b.meet(&of_a);
}

const MESSAGES: usize = 60;

/// A message on its way.
struct Waiting {
    number: usize,
    content: Vec<u8>,
    message: Vec<u8>,
}

/// `ends[0]` has initiated. Sixty messages each way, with loss, reordering, repetition and damage.
fn converse(ends: &mut [&mut dyn Peer; 2], seed: u64) {
    const LENGTHS: [usize; 10] = [0, 1, 20, 511, 512, 4_095, 4_096, 20_000, 70_000, 92_159];
    let mut rng = TestRng::new(seed);
    let mut waiting: [Vec<Waiting>; 2] = [Vec::new(), Vec::new()]; // by sender
    let (mut sent, mut newest) = ([0; 2], [0; 2]);
    let (mut lost, mut late, mut repeated, mut damaged) = (0, 0, 0, 0);
    let mut recipient_can_write = false;
    while sent != [MESSAGES; 2] || waiting.iter().any(|queue| !queue.is_empty()) {
        for sender in 0..2 {
            if sent[sender] < MESSAGES && (sender == 0 || recipient_can_write) {
                let content = vec![u8::try_from(sent[sender]).unwrap(); LENGTHS[rng.below(LENGTHS.len())]];
                let message = ends[sender].encrypt(&content);
                if rng.below(8) == 0 {
                    lost += 1;
                } else {
                    waiting[sender].push(Waiting { number: sent[sender], content, message });
                }
                sent[sender] += 1;
            }
            // Up to two arrive, in any order; one that has waited for more than three others goes first.
            let queue = &mut waiting[sender];
            for _ in 0..rng.below(3) {
                let Some(oldest) = queue.first() else { break };
                let at = if sent[sender] - oldest.number > 3 { 0 } else { rng.below(queue.len()) };
                let Waiting { number, content, message } = queue.remove(at);
                let receiver = &mut ends[1 - sender];
                if rng.below(8) == 0 {
                    let mut wrong = message.clone();
                    let byte = rng.below(wrong.len());
                    wrong[byte] ^= 1 << rng.below(8);
                    receiver.decrypt(&wrong).expect_err("a damaged message was accepted");
                    damaged += 1;
                }
                assert!(receiver.decrypt(&message).expect("a message was refused") == content, "another content");
                recipient_can_write = true;
                late += usize::from(number < newest[sender]);
                newest[sender] = number.max(newest[sender]);
                if rng.below(8) == 0 {
                    assert_eq!(receiver.decrypt(&message), Err("duplicate".to_owned()));
                    repeated += 1;
                }
            }
        }
    }
    assert!(lost > 0 && late > 0 && repeated > 0 && damaged > 0, "{lost} {late} {repeated} {damaged}");
    for end in ends {
        if let Some((braid_epoch, epoch_heard)) = end.epochs() {
            // Both ends have finished epochs 1 and 2: this one is beyond them, and so was the other when it wrote.
            assert!(braid_epoch >= 3 && epoch_heard >= 2, "epoch {braid_epoch}, heard {epoch_heard}");
            say(&format!(
                "{MESSAGES} messages each way: {lost} lost, {late} late, {repeated} repeated, {damaged} damaged; \
                 the Braid is in epoch {braid_epoch}"
            ));
        }
    }
}

/// `a` initiates with a bundle of `b`, and they talk.
fn first_messages_and_talk(a: &mut dyn Peer, b: &mut dyn Peer, kem_kind: u8, one_time: bool, seed: u64) {
    introduce(a, b);
    let bundle = b.bundle(kem_kind, one_time);
    a.initiate(&bundle);
    converse(&mut [a, b], seed);
}

/// Both begin at the same time, and settle on one session.
fn both_begin(a: &mut dyn Peer, b: &mut dyn Peer) {
    introduce(a, b);
    let (of_a, of_b) = (a.bundle(1, true), b.bundle(2, false));
    a.initiate(&of_b);
    b.initiate(&of_a);
    for round in 0..4_u8 {
        let (from_a, from_b) = (a.encrypt(&[round]), b.encrypt(&[round, round]));
        assert_eq!(b.decrypt(&from_a), Ok(vec![round]));
        assert_eq!(a.decrypt(&from_b), Ok(vec![round, round]));
        if round > 1 {
            assert_eq!((from_a[1], from_b[1]), (2, 2), "the session is settled: no PrekeyMessages any more");
        }
    }
}

/// A new session while there is one; messages of the old one still open.
fn begin_again(a: &mut dyn Peer, b: &mut dyn Peer) {
    introduce(a, b);
    let bundle = b.bundle(1, true);
    a.initiate(&bundle);
    let old = [a.encrypt(b"old 0"), a.encrypt(b"old 1")];
    assert_eq!(b.decrypt(&old[0]), Ok(b"old 0".to_vec()));
    let late_answer = b.encrypt(b"late answer");
    let bundle = b.bundle(2, true);
    a.initiate(&bundle);
    let new = a.encrypt(b"new");
    assert_eq!(b.decrypt(&new), Ok(b"new".to_vec()));
    assert_eq!(b.decrypt(&old[1]), Ok(b"old 1".to_vec()));
    assert_eq!(a.decrypt(&late_answer), Ok(b"late answer".to_vec()));
    let answer = b.encrypt(b"answer");
    assert_eq!(a.decrypt(&answer), Ok(b"answer".to_vec()));
    assert_eq!(b.decrypt(&new), Err("duplicate".to_owned()));
}

fn say(text: &str) {
    // not eprintln!: the test harness would swallow it
    let _ = writeln!(std::io::stderr(), "interop: {text}");
}

fn each_way(mut other: impl FnMut() -> Box<dyn Peer>) {
    for (turn, (kem_kind, one_time)) in (0..).zip([(1, true), (2, false)]) {
        first_messages_and_talk(&mut *other(), &mut Rust::new(1, 10 + turn), kem_kind, one_time, 20 + turn);
        first_messages_and_talk(&mut Rust::new(1, 30 + turn), &mut *other(), kem_kind, one_time, 40 + turn);
    }
    for seed in 0..4 {
        both_begin(&mut *other(), &mut Rust::new(1, 50 + seed)); // which transcript hash is smaller is chance
    }
    begin_again(&mut *other(), &mut Rust::new(1, 60));
    begin_again(&mut Rust::new(1, 61), &mut *other());
}

#[test]
fn rust_talks_to_rust_in_the_same_conversations() {
    let mut seed = 70;
    each_way(|| {
        seed += 1;
        Box::new(Rust::new(2, seed))
    });
}

#[test]
fn rust_talks_to_the_independent_model() {
    let Some(python) = std::env::var_os("KUVERT_PYTHON") else {
        say("KUVERT_PYTHON is not set: NOT tested against the Python model, only Rust against Rust");
        return;
    };
    each_way(|| Box::new(Python::start(&python)));
    say("Rust and the Python model understand each other");
}

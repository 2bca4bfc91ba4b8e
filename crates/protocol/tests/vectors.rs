//! Reads `tests/vectors/session.json` as another implementation would and replays every conversation through the public
//! interface: the file alone says what to do, and what has to come of it. (The files are made by `src/vectors.rs`.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::path::Path;

use data_encoding::HEXLOWER;
use kuvert_protocol::prelude::*;
use kuvert_types::{Signature, UnverifiedDeviceCertificate};
use rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;

/// Gives what a file lists, and nothing else.
struct Listed(VecDeque<Vec<u8>>);

impl Listed {
    fn new(draws: &Value) -> Self {
        Self(draws.as_array().into_iter().flatten().map(unhex).collect())
    }
}

impl TryRng for Listed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("the protocol draws byte strings")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("the protocol draws byte strings")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0.pop_front().expect("a draw that the file does not list"));
        Ok(())
    }
}

impl TryCryptoRng for Listed {}

fn unhex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    unhex(value).try_into().unwrap()
}

fn id(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn layer(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/vectors/{name}.json"));
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!((file["layer"].as_str(), file["version"].as_u64()), (Some(name), Some(1)));
    file["cases"].as_array().unwrap().clone()
}

/// The stored forms of prekeys: version, id, secret or seed, signature.
fn stored_prekey(listed: &Value, secret: &str) -> Vec<u8> {
    let mut stored = vec![1];
    stored.extend(id(&listed["id"]).to_be_bytes());
    stored.extend(unhex(&listed[secret]));
    stored.extend(listed.get("signature").map(unhex).unwrap_or_default());
    stored
}

struct Party {
    local: LocalDevice,
    prekeys: Value,
    used: Vec<&'static str>,
    record: SessionRecord,
    /// By the id of the last-resort KEM prekey.
    replay: BTreeMap<u32, ReplayRecord>,
}

impl Party {
    fn new(listed: &Value) -> Self {
        let keys = [unhex(&listed["signing_seed"]), unhex(&listed["identity_secret"])].concat();
        let secrets = DeviceSecrets::from_bytes(&keys.try_into().unwrap());
        let certificate =
            UnverifiedDeviceCertificate::decode(&unhex(&listed["certificate"])).unwrap().verify().unwrap();
        Self {
            local: LocalDevice::new(secrets, certificate).unwrap(),
            prekeys: listed["prekeys"].clone(),
            used: Vec::new(),
            record: SessionRecord::new(),
            replay: BTreeMap::new(),
        }
    }

    fn find(&self, kind: &str, wanted: u32) -> Option<&Value> {
        let listed = &self.prekeys[kind];
        (id(&listed["id"]) == wanted && !self.used.contains(&kind)).then_some(listed)
    }
}

/// The prekeys of a party, apart from its sessions.
struct Secrets<'a>(&'a Party);

impl PrekeyStore for Secrets<'_> {
    type Error = Infallible;

    fn signed(&self, id: u32) -> Result<Option<SignedPrekeySecret>, Infallible> {
        let listed = self.0.find("signed", id);
        Ok(listed.map(|listed| SignedPrekeySecret::decode(&stored_prekey(listed, "secret")).unwrap()))
    }

    fn one_time(&self, id: u32) -> Result<Option<OneTimePrekeySecret>, Infallible> {
        let listed = self.0.find("one_time", id);
        Ok(listed.map(|listed| OneTimePrekeySecret::decode(&stored_prekey(listed, "secret")).unwrap()))
    }

    fn kem(&self, id: u32) -> Result<Option<(KemPrekeySecret, KemPrekeyKind)>, Infallible> {
        let kinds = [("one_time_kem", KemPrekeyKind::OneTime), ("last_resort_kem", KemPrekeyKind::LastResort)];
        Ok(kinds.into_iter().find_map(|(name, kind)| {
            let listed = self.0.find(name, id)?;
            Some((KemPrekeySecret::decode(&stored_prekey(listed, "seed")).unwrap(), kind))
        }))
    }
}

fn bundle(listed: &Value) -> PrekeyBundle {
    let (signed, kem, one_time) = (&listed["signed_prekey"], &listed["kem_prekey"], &listed["one_time_prekey"]);
    let signature = |listed: &Value| Signature::from_bytes(array(&listed["signature"]));
    PrekeyBundle {
        certificate: UnverifiedDeviceCertificate::decode(&unhex(&listed["certificate"])).unwrap(),
        signed_prekey: SignedPrekey {
            id: id(&signed["id"]),
            public_key: array(&signed["public"]),
            signature: signature(signed),
        },
        kem_prekey: KemPrekey {
            id: id(&kem["id"]),
            public_key: Box::new(array(&kem["public"])),
            signature: signature(kem),
        },
        kem_kind: match listed["kem_kind"].as_u64() {
            Some(1) => KemPrekeyKind::OneTime,
            Some(2) => KemPrekeyKind::LastResort,
            other => panic!("{other:?}"),
        },
        one_time_prekey: (!one_time.is_null())
            .then(|| OneTimePrekey { id: id(&one_time["id"]), public_key: array(&one_time["public"]) }),
    }
}

struct World {
    parties: BTreeMap<String, Party>,
    sent: BTreeMap<String, Vec<u8>>,
    backups: BTreeMap<String, Vec<u8>>,
}

impl World {
    fn new(inputs: &Value) -> Self {
        let parties = inputs.as_object().unwrap().iter().map(|(name, listed)| (name.clone(), Party::new(listed)));
        Self { parties: parties.collect(), sent: BTreeMap::new(), backups: BTreeMap::new() }
    }

    fn party(&mut self, step: &Value) -> &mut Party {
        self.parties.get_mut(step["party"].as_str().unwrap()).unwrap()
    }

    fn step(&mut self, step: &Value) {
        let now = step["now"].as_u64().unwrap();
        let mut draws = Listed::new(&step["draws"]);
        let name = |field: &str| step[field].as_str().unwrap().to_owned();
        match step["op"].as_str().unwrap() {
            "initiate" => {
                let bundle = bundle(&step["bundle"]);
                let claimed = *bundle.certificate.claimed();
                let bundle = bundle.verify(claimed.address, &claimed.account_key).unwrap();
                let party = self.party(step);
                party.record.initiate(&party.local, &bundle, now, &mut draws).unwrap();
            }
            "encrypt" => {
                let message = self.party(step).record.encrypt(&unhex(&step["content"]), now, &mut draws).unwrap();
                assert_eq!(HEXLOWER.encode(&message), step["bytes"].as_str().unwrap());
                self.sent.insert(name("message"), message);
            }
            "forge" => _ = self.sent.insert(name("message"), unhex(&step["bytes"])),
            "decrypt" => {
                let message = self.sent[&name("message")].clone();
                self.decrypt(step, &message, now, &mut draws);
            }
            "back_up" => {
                let stored = self.party(step).record.encode().to_vec();
                self.backups.insert(name("backup"), stored);
            }
            "restore" => {
                let stored = self.backups[&name("backup")].clone();
                self.party(step).record = SessionRecord::decode(&stored).unwrap();
            }
            "forget_sessions" => self.party(step).record = SessionRecord::new(),
            other => panic!("{other}"),
        }
        assert!(draws.0.is_empty(), "a draw in the file that was not taken");
        let sessions = &self.party(step).record;
        let after = &step["sessions_after"];
        assert_eq!(sessions.has_active(), after["active"].as_bool().unwrap());
        assert_eq!(sessions.inactive_count() as u64, after["inactive"].as_u64().unwrap());
    }

    fn decrypt(&mut self, step: &Value, message: &[u8], now: u64, draws: &mut Listed) {
        let me = step["party"].as_str().unwrap();
        let remote = self.parties.iter().find(|(name, _)| *name != me).unwrap().1.local.address();
        let party = self.parties.get_mut(me).unwrap();
        let mut record = std::mem::take(&mut party.record);
        let prekey = last_resort_prekey(message).ok().flatten();
        let mut replay = prekey.and_then(|id| party.replay.remove(&id)).unwrap_or_default();
        let trust = if step["contact"] == true { Trust::Contact } else { Trust::Stranger };
        let (local, prekeys, replay_record) = (&party.local, &Secrets(party), &mut replay);
        let context = DecryptContext { local, remote, trust, prekeys, replay: replay_record, now, rng: draws };
        let result = record.decrypt(message, context).map_err(DecryptError::from);
        let (entries, strangers) = (replay.len(), replay.strangers());
        party.record = record;
        prekey.map(|id| party.replay.insert(id, replay));
        match step["result"].as_str().unwrap() {
            "accepted" => {
                let decrypted = result.unwrap();
                assert_eq!(HEXLOWER.encode(&decrypted.plaintext), step["content"].as_str().unwrap());
                assert_eq!(decrypted.new_session, step["new_session"].as_bool().unwrap());
                let used = decrypted.used.unwrap_or(UsedPrekeys { signed: 0, one_time: None, kem: None });
                assert_eq!(used.one_time, step["used"]["one_time"].as_u64().map(|id| id.try_into().unwrap()));
                assert_eq!(used.kem, step["used"]["one_time_kem"].as_u64().map(|id| id.try_into().unwrap()));
                party.used.extend(used.one_time.map(|_| "one_time"));
                party.used.extend(used.kem.map(|_| "one_time_kem"));
                assert_eq!(entries as u64, step["replay_record_len"].as_u64().unwrap());
                assert_eq!(strangers as u64, step["replay_record_strangers"].as_u64().unwrap());
            }
            refusal => assert_eq!(words(result.unwrap_err()), refusal),
        }
    }
}

/// A refusal as the files name it: the variant's name in lower case with spaces.
fn words(error: DecryptError) -> String {
    let name = format!("{error:?}");
    let mut words = String::new();
    for c in name.chars().take_while(|c| c.is_alphanumeric()) {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

#[test]
fn session_vectors_can_be_replayed_from_the_file_alone() {
    let cases = layer("session");
    let mut conversations = 0;
    for case in cases.iter().filter(|case| case["must_reject"] != true) {
        let mut world = World::new(&case["inputs"]);
        for step in case["outputs"]["steps"].as_array().unwrap() {
            world.step(step);
        }
        conversations += 1;
    }
    assert!(conversations >= 8, "{conversations}");
}

#[test]
fn session_vectors_that_must_be_rejected_are() {
    let cases = layer("session");
    let mut refused = 0;
    for case in cases.iter().filter(|case| case["must_reject"] == true) {
        let inputs = &case["inputs"];
        let origin = cases.iter().find(|other| other["name"] == inputs["as_in"]).unwrap();
        let mut world = World::new(&origin["inputs"]);
        let mut step = origin["outputs"]["steps"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(step["op"], "decrypt");
        step["result"] = case["reason"].clone();
        world.decrypt(&step, &unhex(&inputs["message"]), step["now"].as_u64().unwrap(), &mut Listed(VecDeque::new()));
        assert!(world.party(&step).record.is_empty());
        refused += 1;
    }
    assert!(refused >= 20, "{refused}");
}

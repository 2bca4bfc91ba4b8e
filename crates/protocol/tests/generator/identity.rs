//! Accounts, devices, certificates, lists, safety numbers, fingerprints.

use alloc::string::ToString;
use alloc::vec::Vec;
use alloc::{format, vec};

use kuvert_types::device_list::{DeviceEntry, DeviceListBody, DeviceListConflict};
use kuvert_types::{
    AccountId, AccountKey, Address, DeviceCertificate, DeviceId, DeviceList, UnverifiedDeviceCertificate,
    UnverifiedDeviceList,
};
use serde_json::{Value, json};

use super::{Case, Draws, bytes, check, hex};
use crate::identity::{AccountSecret, DeviceSecrets, account_key_fingerprint, safety_number};

fn certificate_case(account: &str, device: u32, draws: &mut Draws) -> (Case, AccountSecret, DeviceCertificate) {
    let secret = AccountSecret::generate(draws);
    let device_secrets = DeviceSecrets::generate(draws);
    let id = AccountId::from_bytes(bytes(account));
    let certificate = device_secrets.certify(&secret, Address { account: id, device: DeviceId::new(device).unwrap() });
    let encoded = certificate.encode();
    let case = Case::new(
        format!("certificate of {account}, device {device}"),
        "An account and a device from their draws, and the certificate. Draws: account seed, signing seed, identity secret.",
        json!({ "account": hex(id.as_bytes()), "device": device }),
        json!({
            "account_key": hex(secret.public().as_bytes()),
            "signing_key": hex(device_secrets.signing_key().as_bytes()),
            "identity_key": hex(device_secrets.identity_key().as_bytes()),
            "body": hex(&encoded[..117]),
            "account_statement": hex([kuvert_types::label::DEVICE_CERTIFICATE.as_slice(), &encoded[..117]].concat()),
            "device_statement": hex([kuvert_types::label::DEVICE_CONSENT.as_slice(), &encoded[..117]].concat()),
            "certificate": hex(encoded),
            "hash": hex(certificate.hash()),
        }),
    );
    (case.drawn(draws), secret, certificate)
}

#[test]
fn vectors_identity() {
    let draws = &mut Draws::new("identity");
    let mut cases = Vec::new();
    let (case, account, first) = certificate_case("alice", 1, draws);
    cases.push(case);
    let (case, other, _) = certificate_case("bob", 7, draws);
    cases.push(case);
    bad_certificates(&first, &mut cases);
    lists(&account, &other, &first, &mut cases);
    check("identity", cases);
}

fn bad_certificates(good: &DeviceCertificate, cases: &mut Vec<Case>) {
    let good = good.encode();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        bytes
    };
    let mut bad = vec![
        ("short", changed(&|b| b.truncate(244)), "length"),
        ("long", changed(&|b| b.push(0)), "length"),
        ("version", changed(&|b| b[0] = 2), "unknown version"),
        ("device 0", changed(&|b| b[17..21].fill(0)), "device 0"),
        (
            "swapped signatures",
            changed(&|b| {
                let (first, second) = b[117..].split_at_mut(64);
                first.swap_with_slice(second);
            }),
            "each signature is under the other's label and key",
        ),
        ("weak account key", changed(&|b| b[21..53].copy_from_slice(&[&[1][..], &[0; 31]].concat())), "small order"),
    ];
    for (at, field) in [
        (3, "account id"),
        (20, "device"),
        (30, "account key"),
        (60, "signing key"),
        (90, "identity key"),
        (120, "account signature"),
        (200, "device signature"),
    ] {
        bad.push((field, changed(&|b| b[at] ^= 2), "a signature does not verify"));
    }
    for (name, bytes, reason) in bad {
        let accepted =
            UnverifiedDeviceCertificate::decode(&bytes).is_ok_and(|certificate| certificate.verify().is_ok());
        assert!(!accepted, "{name}");
        let inputs = json!({ "certificate": hex(bytes) });
        cases.push(Case::reject(format!("certificate {name}"), "A changed certificate.", inputs, reason));
    }
}

fn lists(account: &AccountSecret, other: &AccountSecret, certificate: &DeviceCertificate, cases: &mut Vec<Case>) {
    let id = certificate.address().account;
    let entry = |device, hash| DeviceEntry { device: DeviceId::new(device).unwrap(), certificate_hash: hash };
    let body = |number, devices| DeviceListBody { account: id, number, devices };
    let primary = entry(1, certificate.hash());
    let one = account.sign_device_list(&body(1, vec![primary])).unwrap();
    let two = account.sign_device_list(&body(2, vec![primary, entry(3, [7; 32])])).unwrap();
    let two_forked = account.sign_device_list(&body(2, vec![primary])).unwrap();
    let full = (1..=16).map(|device| entry(device, [device.to_le_bytes()[0]; 32])).collect();
    let sixteen = account.sign_device_list(&body(u64::MAX, full)).unwrap();
    assert!(one.names(certificate) && !sixteen.names(certificate));

    for (name, list) in [("one device", &one), ("two devices", &two), ("sixteen devices", &sixteen)] {
        let devices: Vec<Value> = (list.body().devices.iter())
            .map(|entry| json!({ "device": entry.device.get(), "certificate_hash": hex(entry.certificate_hash) }))
            .collect();
        let encoded = list.encode();
        cases.push(Case::new(
            format!("list of {name}"),
            "A device list. The number is a string, because it does not fit a JSON number.",
            json!({
                "account_seed": hex(*account.to_bytes()), "account": hex(id.as_bytes()),
                "number": list.body().number.to_string(), "devices": devices,
            }),
            json!({ "body": hex(&encoded[..encoded.len() - 64]), "list": hex(&encoded), "hash": hex(list.hash()) }),
        ));
    }

    let key = account.public();
    let good = two.encode();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    for (name, bytes, reason) in [
        ("short", changed(&|b| b.truncate(b.len() - 1)), "length"),
        ("long", changed(&|b| b.push(0)), "length"),
        ("version", changed(&|b| b[0] = 2), "unknown version"),
        ("no devices", signed(account, &body(1, vec![])), "count 0"),
        ("17 devices", signed(account, &body(1, (1..=17).map(|device| entry(device, [0; 32])).collect())), "count 17"),
        ("order", signed(account, &body(1, vec![entry(2, [0; 32]), entry(1, [0; 32])])), "devices do not rise"),
        ("twice", signed(account, &body(1, vec![primary, primary])), "devices do not rise strictly"),
        ("other key", other.sign_device_list(&body(2, vec![primary])).unwrap().encode(), "another account's key"),
        ("number", changed(&|b| b[24] ^= 1), "the signature does not verify"),
        ("hash", changed(&|b| b[40] ^= 1), "the signature does not verify"),
    ] {
        let accepted = UnverifiedDeviceList::decode(&bytes).is_ok_and(|list| list.verify(&key).is_ok());
        assert!(!accepted, "{name}");
        let inputs = json!({ "list": hex(bytes), "account_key": hex(key.as_bytes()) });
        cases.push(Case::reject(format!("list {name}"), "A changed list.", inputs, reason));
    }

    let foreign = AccountId::from_bytes(bytes("bob"));
    let foreign =
        account.sign_device_list(&DeviceListBody { account: foreign, number: 9, devices: vec![primary] }).unwrap();
    for (name, known, new) in [
        ("newer", &one, &two),
        ("same", &two, &two),
        ("older", &two, &one),
        ("forked", &two, &two_forked),
        ("foreign", &one, &foreign),
    ] {
        let inputs = json!({ "known": hex(known.encode()), "new": hex(new.encode()) });
        let name = format!("replace by {name}");
        let description = "Whether a list takes the place of a known one; both verified.";
        cases.push(match new.may_replace(known) {
            Ok(()) => Case::new(name, description, inputs, json!({ "replaces": true })),
            Err(DeviceListConflict::Older) => Case::reject(name, description, inputs, "older"),
            Err(DeviceListConflict::Forked) => Case::reject(name, description, inputs, "forked"),
            Err(DeviceListConflict::OtherAccount) => Case::reject(name, description, inputs, "another account"),
            Err(other) => panic!("{other}"),
        });
    }
}

/// Signs what the crate's own function would refuse to sign.
fn signed(account: &AccountSecret, body: &DeviceListBody) -> Vec<u8> {
    let statement = body.statement();
    let key = crate::primitives::ed25519::Ed25519Secret::from_bytes(&account.to_bytes());
    let signature = key.sign(&statement);
    assert!(DeviceList::assemble(body.clone(), signature, &account.public()).is_err());
    [&statement[32..], signature.as_bytes()].concat()
}

#[test]
fn vectors_safety_number() {
    let mut cases = Vec::new();
    let person = |name: &str| {
        (AccountId::from_bytes(bytes(&format!("{name} id"))), AccountKey::from_bytes(bytes(&format!("{name} key"))))
    };
    for (first, second) in [("alice", "bob"), ("bob", "alice"), ("carol", "dave"), ("erin", "erin")] {
        let (ours, theirs) = (person(first), person(second));
        let number = safety_number((&ours.0, &ours.1), (&theirs.0, &theirs.1));
        cases.push(Case::new(
            format!("{first} and {second}"),
            "The keys need not be points of the curve: they are only hashed.",
            json!({
                "ours": { "account": hex(ours.0.as_bytes()), "account_key": hex(ours.1.as_bytes()) },
                "theirs": { "account": hex(theirs.0.as_bytes()), "account_key": hex(theirs.1.as_bytes()) },
            }),
            json!({ "digits": number.digits(), "shown": number.to_string() }),
        ));
    }
    for name in ["alice", "bob"] {
        let (id, key) = person(name);
        cases.push(Case::new(
            format!("fingerprint of {name}"),
            "The account key fingerprint of invite links.",
            json!({ "account": hex(id.as_bytes()), "account_key": hex(key.as_bytes()) }),
            json!({ "fingerprint": hex(account_key_fingerprint(&id, &key)) }),
        ));
    }
    check("safety_number", cases);
}

//! What the source itself must and must not contain: 20 to 22.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kuvert_protocol::prelude::*;
use kuvert_protocol::primitives::ed25519::Ed25519Secret;
use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
use kuvert_types::{authentication, label};

use crate::support::Party;

#[test]
fn attack_20_labels_are_distinct_and_prefix_free() {
    // That the lists are complete for both crates and the post-quantum ratchet is a unit test; here the source is read, so
    // that a label which is in no list is found too.
    let mut labels = Vec::new();
    let types = Path::new(env!("CARGO_MANIFEST_DIR")).join("../types/src");
    for file in sources().into_iter().chain(rust_files(&types)) {
        let text = fs::read_to_string(&file).unwrap();
        for part in text.split("Label = label(\"").skip(1) {
            labels.push(part.split('"').next().unwrap().to_owned());
        }
    }
    assert!(labels.len() >= 25, "{}", labels.len());
    let distinct: BTreeSet<_> = labels.iter().map(|text| label(text)).collect();
    assert_eq!(distinct.len(), labels.len(), "{labels:?}");
    assert!(labels.iter().all(|label| label.starts_with("Kuvert/1 ")), "{labels:?}");
}

#[test]
fn attack_20_each_signature_purpose_refuses_the_others() {
    let bob = Party::new(2, 20);
    // One key for every purpose, which no honest account has: the labels alone must keep them apart.
    let key = Ed25519Secret::from_bytes(&[5; 32]);
    let body = kuvert_types::certificate::CertificateBody {
        address: bob.address(),
        account_key: bob.account_key(),
        signing_key: bob.local.certificate().signing_key(),
        identity_key: bob.local.certificate().identity_key(),
    };
    let entry = DeviceEntry { device: kuvert_types::DeviceId::PRIMARY, certificate_hash: [1; 32] };
    let list = DeviceListBody { account: bob.address().account, number: 1, devices: vec![entry] };
    let identity = body.identity_key;
    let prekey =
        |text: &str, len: usize| [&label(text)[..], identity.as_bytes(), &1_u32.to_be_bytes(), &vec![7; len]].concat();
    let statements = [
        body.account_statement().to_vec(),
        body.device_statement().to_vec(),
        list.statement(),
        authentication::statement(&bob.address(), &[1; 32], &[2; 32]).to_vec(),
        prekey("Kuvert/1 signed prekey", 32),
        prekey("Kuvert/1 one-time KEM prekey", 1568),
        prekey("Kuvert/1 last-resort KEM prekey", 1568),
    ];
    for (i, signed) in statements.iter().enumerate() {
        let signature = key.sign(signed);
        for (j, statement) in statements.iter().enumerate() {
            // Even when the rest of the statement is moved under the other label.
            let moved = [&statement[..32], &signed[32..]].concat();
            assert_eq!(signature.verify(&key.public(), &moved).is_ok(), i == j);
            assert_eq!(signature.verify(&key.public(), statement).is_ok(), i == j);
        }
    }
}

#[test]
fn attack_21_secrets_are_compared_in_constant_time_or_not_at_all() {
    // No secret type can be compared with ==, which would stop at the first difference.
    let secrets = [
        "SessionSecret",
        "SharedSecret",
        "KemShared",
        "KemSeed",
        "X25519Secret",
        "Ed25519Secret",
        "PqMessageKey",
        "RootKey",
        "SendingChainKey",
        "MessageKey",
        "HeaderKey",
        "NextHeaderKey",
    ];
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        for secret in secrets {
            assert!(!text.contains(&format!("PartialEq for {secret}")), "{}: {secret}", file.display());
            if let Some(at) = text.find(&format!("pub struct {secret}")).or(text.find(&format!("struct {secret}"))) {
                let attributes = &text[text[..at].rfind("\n\n").unwrap_or(0)..at];
                assert!(!attributes.contains("PartialEq"), "{}: {secret} derives PartialEq", file.display());
            }
        }
    }
    // Where values made from secrets are compared, it is by `subtle`.
    let source = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name)).unwrap();
    for file in ["primitives/x25519.rs", "replay.rs", "session/session.rs"] {
        assert!(source(file).contains("ct_eq"), "{file}");
    }
}

#[test]
fn attack_22_no_check_is_compiled_out() {
    // The crate has one feature, which chooses between two backends; nothing but that line and test modules depends on how
    // the crate is built.
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let features = manifest.split("[features]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let features: Vec<_> = features.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    assert_eq!(features, ["aws-lc"]);
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            let place = format!("{}:{}", file.display(), number + 1);
            assert!(!line.contains("cfg!("), "{place}");
            if line.starts_with("#[cfg(") {
                let next = lines[number + 1];
                if file.ends_with("primitives/backend/mod.rs") {
                    assert!(next == "pub mod aws_lc;" || next.ends_with(" as chosen;"), "{place}: {next}");
                } else {
                    assert_eq!(*line, "#[cfg(test)]", "{place}");
                    assert!(next.starts_with("mod ") || next.starts_with("pub(crate) mod "), "{place}: {next}");
                }
            }
        }
    }
}

/// The crate's sources.
fn sources() -> Vec<PathBuf> {
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn attack_22_debug_output_shows_no_secret() {
    let (mut alice, mut bob) = (Party::new(1, 22), Party::new(2, 22));
    alice.initiate(&mut bob);
    let (signed, one_time) = (bob.store.signed.values().next().unwrap(), bob.store.one_time.values().next().unwrap());
    let (signed, one_time) =
        (SignedPrekeySecret::decode(signed).unwrap(), OneTimePrekeySecret::decode(one_time).unwrap());
    let kem = KemPrekeySecret::decode(bob.store.kem.values().next().unwrap()).unwrap();
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        alice.account,
        alice.local,
        alice.record,
        signed,
        one_time,
        kem,
        kem.encode().len()
    );
    let secrets: [&[u8]; 5] = [
        &*alice.account.to_bytes(),
        &alice.local.secrets().to_bytes()[..],
        &signed.encode()[5..37],
        &one_time.encode()[5..37],
        &kem.encode()[5..69],
    ];
    for secret in secrets {
        let hex: String = secret[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{:?}", &secret[..4]);
        assert!(!shown.contains(&hex) && !shown.contains(list.trim_end_matches(']')), "{shown}");
    }
}

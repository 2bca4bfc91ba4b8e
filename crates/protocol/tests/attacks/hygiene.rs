//! What the source itself must and must not contain: 20 to 22.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kuvert_protocol::hazmat::primitives::ed25519::Ed25519Secret;
use kuvert_protocol::prelude::*;
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

/// A type of the crate's sources: its name, the attributes before it, its fields.
struct Type {
    name: String,
    attributes: String,
    fields: String,
}

/// All structs and enums of a source file, but for those of its test module.
fn types(text: &str) -> Vec<Type> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut found = Vec::new();
    for word in ["struct ", "enum "] {
        for (at, _) in text.match_indices(word) {
            let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
            // A declaration, not the word in a comment or a string.
            if !matches!(text[line..at].trim(), "" | "pub" | "pub(crate)" | "pub(super)") {
                continue;
            }
            let name =
                text[at + word.len()..].chars().take_while(|c| c.is_alphanumeric() || "_$".contains(*c)).collect();
            let attributes = text[text[..line].rfind("\n\n").unwrap_or(0)..line].to_owned();
            let rest = &text[at..];
            let end = rest.find("\n}").into_iter().chain(rest.find(";\n")).min().unwrap_or(rest.len());
            found.push(Type { name, attributes, fields: rest[..end].to_owned() });
        }
    }
    found
}

#[test]
fn attack_21_secrets_are_compared_in_constant_time_or_not_at_all() {
    // Not from a list of names, which a new type would be missing from: every type that wipes itself or holds what does.
    let (mut wiped, mut compared) = (BTreeSet::new(), BTreeSet::new());
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        for Type { name, attributes, fields } in types(&text) {
            let wipes = attributes.contains("ZeroizeOnDrop") || text.contains(&format!("ZeroizeOnDrop for {name} "));
            if wipes || ["Zeroizing<", "WipedArray<", "Wiped<"].iter().any(|holds| fields.contains(holds)) {
                wiped.insert(name.clone());
            }
            if attributes.contains("PartialEq") {
                compared.insert(name);
            }
        }
        for part in text.split("PartialEq for ").skip(1) {
            compared.insert(part.chars().take_while(|c| c.is_alphanumeric()).collect());
        }
    }
    for known in
        ["SharedSecret", "PqMessageKey", "KemSeed", "SessionSecret", "Outer", "Inner", "Plaintext", "SessionRecord"]
    {
        assert!(wiped.contains(known), "{known} is found: {wiped:?}");
    }
    assert!(
        compared.contains("ReplayRecord") && compared.contains("X25519Public"),
        "comparisons are found: {compared:?}"
    );
    let both: Vec<_> = wiped.intersection(&compared).collect();
    assert!(both.is_empty(), "{both:?}");
}

/// The text of a function from its name on to its closing brace.
fn body<'a>(text: &'a str, function: &str) -> &'a str {
    let at = text.find(&format!("fn {function}(")).unwrap_or_else(|| panic!("no {function}"));
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let indent: String = text[line..].chars().take_while(|c| *c == ' ').collect();
    let end = text[at..].find(&format!("\n{indent}}}")).unwrap();
    &text[at..at + end]
}

#[test]
fn attack_21_what_is_made_from_secrets_is_compared_by_subtle() {
    for (file, function) in [
        ("protocol/src/replay.rs", "check"),
        ("protocol/src/replay.rs", "eq"),
        ("protocol/src/session/session.rs", "began_with"),
        ("protocol/src/primitives/x25519.rs", "agree"),
        ("protocol/src/braid/authenticator.rs", "verify"),
        ("relay/src/store/mod.rs", "opens"),
    ] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap();
        let body = body(&text, function);
        assert!(body.contains(".ct_eq("), "{file} {function}");
        assert!(!body.contains(" == ") && !body.contains(" != "), "{file} {function} also compares otherwise");
        assert!(
            ![".any(", ".find(", ".position(", ".contains("].iter().any(|early| body.contains(early)),
            "{function}"
        );
    }
    // Tags of the AEADs are compared in the libraries: nothing here takes one apart.
    for file in ["aws_lc.rs", "portable.rs"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/primitives/backend").join(file);
        let text = fs::read_to_string(path).unwrap();
        for function in ["open", "xopen"] {
            let body = body(&text, function);
            assert!(!body.contains(" == ") && !body.contains(" != "), "{file} {function}");
        }
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

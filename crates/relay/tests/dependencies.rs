//! A relay cannot decrypt what it has no code for, nor store what no part of it offers: what the rooms are built from, by
//! cargo's own account and by their sources.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What opens a message, or is of no use for anything else.
const OPENS: [&str; 8] = [
    "kuvert-protocol",
    "kuvert-client",
    "chacha20poly1305",
    "poly1305",
    "x25519-dalek",
    "hkdf",
    "libcrux-ml-kem",
    "ml-kem",
];

/// The names of what `cargo tree` shows of what is linked.
fn tree(of: &[&str]) -> BTreeSet<String> {
    let arguments = ["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "--format", "{p}"];
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo.args(arguments).args(of).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The crates that a crate links, itself among them.
fn linked(package: &str) -> BTreeSet<String> {
    tree(&["-p", package])
}

#[track_caller]
fn links(package: &str, present: &[&str], absent: &[&str]) {
    let crates = linked(package);
    // The list is what we think it is.
    for present in present {
        assert!(crates.contains(*present), "{present} is missing in {package}");
    }
    for absent in absent {
        assert!(!crates.contains(*absent), "{absent} is part of {package}");
    }
}

#[test]
fn the_relay_has_no_code_that_could_open_a_message() {
    links("kuvert-relay-server", &["kuvert-relay", "kuvert-wire", "kuvert-types", "quinn", "rusqlite"], &OPENS);
    links("kuvert-relay-lens", &["kuvert-relay", "kuvert-relay-server", "rusqlite"], &[&OPENS[..], &["hmac"]].concat());
}

/// Key derivation is made of it, and so is how PostgreSQL's servers know who logs in (SCRAM-SHA-256): that is all it is there for.
#[test]
fn the_relay_has_hmac_only_where_it_logs_in_to_postgresql() {
    let users = tree(&["-p", "kuvert-relay-server", "-i", "hmac", "--depth", "1"]);
    assert_eq!(users.into_iter().collect::<Vec<_>>(), ["hmac", "postgres-protocol"]);
}

/// A stream cipher opens no message: it has no tag and there is no key for one here. It is what a file's row key is for, which the relay
/// erases; and what makes random numbers.
#[test]
fn the_relay_has_a_cipher_only_for_what_it_erases() {
    let users = tree(&["-p", "kuvert-relay-server", "-i", "chacha20", "--depth", "1"]);
    assert_eq!(users.into_iter().collect::<Vec<_>>(), ["chacha20", "kuvert-relay-sqlite", "rand"]);
}

#[test]
fn the_program_that_is_run_for_people_has_nothing_of_the_demonstration() {
    links("kuvert-relay-server", &["kuvert-relay-sqlite", "clap"], &["kuvert-relay-lens"]);
}

#[test]
fn the_mail_path_has_no_backend_no_extension_and_no_command_line() {
    let rooms =
        ["kuvert-protocol", "kuvert-relay-sqlite", "kuvert-relay-lens", "kuvert-relay-server", "kuvert-program"];
    links("kuvert-relay", &["kuvert-privacy", "quinn"], &[&rooms[..], &["rusqlite", "clap", "toml"], &OPENS].concat());
}

#[test]
fn what_is_told_about_data_needs_no_relay() {
    links("kuvert-privacy", &["kuvert-types", "serde_json"], &["kuvert-relay", "rusqlite", "tokio", "clap", "quinn"]);
}

#[test]
fn the_embedded_backend_does_not_know_the_extension() {
    links("kuvert-relay-sqlite", &["kuvert-relay", "rusqlite"], &["kuvert-relay-lens", "kuvert-relay-server", "clap"]);
}

/// The modules of the same crate that a file names, as `crate::module` or in a `use crate::{…}`.
fn modules_named(text: &str) -> BTreeSet<String> {
    let rest = text.split("crate::").skip(1);
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    rest.flat_map(|rest| match rest.strip_prefix('{') {
        Some(list) => {
            let list = list.split('}').next().unwrap_or_default().to_owned();
            list.split(',').map(|part| word(part.trim())).collect::<Vec<_>>()
        }
        None => vec![word(rest)],
    })
    .filter(|module| !module.is_empty())
    .collect()
}

fn sources(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[track_caller]
fn imports_only(room: &str, allowed: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folder = source.join(room);
    let files = if folder.is_dir() { sources(&folder) } else { vec![source.join(format!("{room}.rs"))] };
    assert!(!files.is_empty());
    for file in files {
        for module in modules_named(&fs::read_to_string(&file).unwrap()) {
            let ok = module == room || allowed.contains(&module.as_str());
            assert!(ok, "{} names crate::{module}", file.display());
        }
    }
}

#[test]
fn the_store_depends_on_nothing_but_types_and_mailboxes() {
    assert_eq!(modules_named("use crate::{a::b, c}; crate::d::e"), ["a", "c", "d"].map(str::to_owned).into());
    // `store_conformance` is the macro that its checks are exported by.
    imports_only("store", &["mailbox", "store_conformance"]);
    imports_only("mailbox", &[]);
    imports_only("presence", &[]);
}

#[test]
fn the_mail_path_has_no_way_back() {
    // In the order in which an envelope passes through: nothing names what comes before it.
    let before = ["relay", "monitoring", "endpoint", "connection", "command", "delivery", "device", "shared"];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (at, room) in before.iter().enumerate().skip(3) {
        let folder = source.join(room);
        let files = if folder.is_dir() { sources(&folder) } else { vec![source.join(format!("{room}.rs"))] };
        for file in files {
            let named = modules_named(&fs::read_to_string(&file).unwrap());
            let back = before[..at].iter().find(|module| named.contains(**module));
            assert_eq!(back, None, "{}", file.display());
        }
    }
}

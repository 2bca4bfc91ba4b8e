//! What is told about data is true: every field that can be stored has an entry, and a field without one is refused at start.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kuvert_privacy::registry::documents::Document;
use kuvert_privacy::registry::field::{Field, Retention};
use kuvert_privacy::registry::{self, Mismatch, Place, Scope};
use kuvert_relay::config::Config;
use kuvert_relay::mailbox::{MS_PER_DAY, expires_at};
use kuvert_relay_server::source::DEFAULT_FILE;
use kuvert_relay_sqlite::store::registered;
use kuvert_relay_sqlite::store::{DATABASE_FILE, OpenError, SqliteStore};
use rusqlite::Connection;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Changes a database that a relay made before.
fn change(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_new_database_is_what_the_registry_says() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(folder.path()).unwrap());
    let connection = Connection::open(folder.path().join(DATABASE_FILE)).unwrap();
    registered::check(Place::Database, &connection).unwrap();
}

#[test]
fn a_relay_does_not_start_over_a_column_that_nobody_accounts_for() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(folder.path()).unwrap());
    let database = folder.path().join(DATABASE_FILE);
    change(&database, "ALTER TABLE account ADD COLUMN birthday TEXT");
    match SqliteStore::open(folder.path()) {
        Err(OpenError::Unregistered { mismatch: Mismatch::Unregistered { table, column, .. }, .. }) => {
            assert_eq!((table.as_str(), column.as_str()), ("account", "birthday"));
        }
        other => panic!("{:?}", other.err()),
    }

    let data = folder.path().to_str().unwrap();
    let serve = ["--json", "serve", "--listen", "127.0.0.1:0", "--data", data];
    let output = Command::new(env!("CARGO_BIN_EXE_kuvert-relay")).args(serve).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["code"], "data-unregistered");
    assert!(told["message"].as_str().unwrap().contains("account.birthday"), "{told}");

    // What stood there before still stands, and serves once the column is gone.
    change(&database, "ALTER TABLE account DROP COLUMN birthday");
    assert!(SqliteStore::open(folder.path()).is_ok());
}

#[test]
fn nor_over_one_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(folder.path()).unwrap());
    change(&folder.path().join(DATABASE_FILE), "ALTER TABLE account DROP COLUMN phone");
    let Err(OpenError::Unregistered { mismatch, .. }) = SqliteStore::open(folder.path()) else { panic!("opened") };
    assert!(matches!(&mismatch, Mismatch::Missing { column, .. } if column == "phone"), "{mismatch}");
}

#[test]
fn every_key_of_the_configuration_has_an_entry() {
    // Optional keys stand behind a `#` without a space after it.
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    let file: toml::Table = toml::from_str(&DEFAULT_FILE.lines().map(uncomment).collect::<String>()).unwrap();
    let mut keys = BTreeSet::new();
    for (key, value) in &file {
        match value {
            toml::Value::Table(table) => keys.extend(table.keys().map(|inner| format!("{key}.{inner}"))),
            _ => _ = keys.insert(format!("relay.{key}")),
        }
    }
    let told: BTreeSet<String> = Scope::Mail.of(Place::Configuration).map(Field::name).collect();
    assert_eq!(keys, told);
}

/// The names of the fields in the arguments of a `tracing` macro.
fn log_fields(arguments: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut start, mut parts) = (0, false, 0, Vec::new());
    let mut previous = ' ';
    for (at, c) in arguments.char_indices() {
        match c {
            '"' if previous != '\\' => quoted = !quoted,
            '(' | '{' | '[' if !quoted => depth += 1,
            ')' | '}' | ']' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(&arguments[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        previous = c;
        if depth < 0 {
            parts.push(&arguments[start..at]);
            break;
        }
    }
    let name = |part: &str| part.split('=').next().unwrap_or_default().trim().trim_matches(['%', '?']).to_owned();
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty() && !part.starts_with('"'));
    parts.map(name).collect()
}

#[test]
fn every_field_of_the_log_has_an_entry() {
    assert_eq!(log_fields("%error, count = f(a, b), \"words, (words\")"), ["error", "count"]);
    let told: BTreeSet<String> = registry::of(Place::Log).map(|field| field.column.to_owned()).collect();
    let mut used = BTreeSet::from(["message".to_owned()]);
    let crates = ["relay", "relay-sqlite", "relay-postgres", "relay-cluster", "relay-lens", "relay-server"];
    let mut folders: Vec<PathBuf> = crates.iter().map(|name| root().join("crates").join(name).join("src")).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for level in ["error", "warn", "info", "debug", "trace"] {
                for statement in text.split(&format!("tracing::{level}!(")).skip(1) {
                    used.extend(log_fields(statement));
                }
            }
        }
    }
    assert_eq!(used, told);
}

#[test]
fn the_purge_keeps_envelopes_exactly_as_long_as_the_registry_says() {
    let envelope = registry::of(Place::Database).filter(|field| field.table == "envelope");
    let kept: BTreeSet<Retention> = envelope.map(|field| field.retention).collect();
    let [Retention::UntilAcknowledged { at_most_days }] = kept.into_iter().collect::<Vec<_>>()[..] else {
        panic!("one retention for the whole row")
    };
    // The purge asks this function, whatever an operator configured.
    assert_eq!(expires_at(0, u32::MAX), u64::from(at_most_days) * MS_PER_DAY);
    let config = |retention_days| Config { retention_days, ..Config::new("data") };
    assert!(config(at_most_days).check().is_ok() && config(at_most_days + 1).check().is_err());
}

#[test]
fn the_program_prints_them() {
    let print = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_kuvert-relay")).arg("registry").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(print(&["record"]), Document::Record.markdown(Scope::Mail));
    assert_eq!(print(&["record", "--format", "json"]), format!("{:#}\n", Document::Record.json(Scope::Mail)));
    for document in ["notice", "legend", "deletion", "report", "catalogue"] {
        let markdown = print(&[document]);
        assert!(markdown.contains("\n# "), "{document}");
        // The catalogue tells of both programs, and so does what the relay cannot tell.
        let of_the_lens = ["| observe.db |", "address_book.phone", "profile.about", "consent.version"];
        assert!(of_the_lens.iter().all(|word| !markdown.contains(word)), "{document}");
        let json = print(&[document, "--format", "json"]);
        assert!(serde_json::from_str::<serde_json::Value>(&json).unwrap().is_object(), "{document}");
    }
}

//! `kuvert-lens export`: one file with what the server would show, and nothing beyond it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use kuvert_lens_page::export::{self, DATA_BEGINS, Parts};
use kuvert_lens_page::files::{Snapshot, Waiting};
use kuvert_lens_page::transcript::{Column, Message};
use kuvert_lens_page::view::{HandOver, View};
use kuvert_privacy::registry::Level;
use kuvert_relay::admin::KnownAccount;
use kuvert_relay::{Config, SystemClock};
use kuvert_relay_lens::observe::Observed;
use kuvert_types::AccountId;
use serde_json::{Value, json};

const NOON: u64 = 1_800_000_000_000;

/// Ends the recording's element and begins a program, if nothing stops it.
const HOSTILE: &str = "</script><script>alert(1)</script><!--<script>";

/// Stands in the relay's files, and on no page.
const SECRET: &str = "an account key that no page shows";

fn account(byte: u8) -> String {
    AccountId::from_bytes([byte; 16]).to_string()
}

fn known(byte: u8, name: &str) -> KnownAccount {
    KnownAccount {
        account: AccountId::from_bytes([byte; 16]),
        account_key: SECRET.to_owned(),
        device_list_number: 1,
        name: Some(name.to_owned()),
        phone: None,
        registered_at: NOON,
        access_key: false,
        sealed_mail: false,
        blocked: Vec::new(),
        devices: Vec::new(),
    }
}

fn event(kind: &str, seconds: u64, from: Option<u8>) -> Observed {
    Observed {
        at: NOON + 1000 * seconds,
        kind: kind.to_owned(),
        connection: Some(7),
        device: from.map(|byte| format!("{}.1", account(byte))),
        ..Observed::default()
    }
}

fn snapshot() -> Snapshot {
    let submitted = Observed {
        source: Some(format!("{}.1", account(1))),
        other: Some(format!("{}.1", account(2))),
        size: Some(700),
        yes: Some(false),
        ..event("submitted", 2, Some(1))
    };
    let connected = Observed { ip: Some("127.1.1.1".to_owned()), port: Some(4711), ..event("connected", 0, None) };
    Snapshot {
        accounts: vec![known(1, "alice"), known(2, HOSTILE)],
        waiting_count: 1,
        waiting_bytes: 700,
        waiting: vec![Waiting {
            id: "e".to_owned(),
            recipient: format!("{}.1", account(2)),
            sender: Some(format!("{}.1", account(1))),
            size: 700,
            accepted_at: NOON + 2000,
            expires_at: NOON + 86_400_000,
            first_bytes: vec![0xab, 0xcd],
        }],
        retention_days: 30,
        region: Some("\u{2028}".to_owned()),
        observed: true,
        events: vec![connected, event("authenticated", 1, Some(1)), submitted],
        ..Snapshot::default()
    }
}

fn column() -> Column {
    let message = Message { from: "alice".to_owned(), text: HOSTILE.to_owned(), sent_at: NOON, direction: None };
    Column { name: "Bob".to_owned(), messages: vec![message] }
}

/// The file without the recording, and the recording.
fn taken_apart(text: &str) -> (String, Value) {
    let (before, rest) = text.split_once(DATA_BEGINS).expect("a recording");
    let (data, after) = rest.split_once("</script>").unwrap();
    (format!("{before}{after}"), serde_json::from_str(data).unwrap())
}

fn unpacked(hand_over: &Value) -> Value {
    let mut document = hand_over.clone();
    let names: Vec<&str> =
        hand_over["observations"]["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let object =
        |row: &Value| names.iter().zip(row.as_array().unwrap()).map(|(name, cell)| (*name, cell.clone())).collect();
    document["observations"] =
        hand_over["observations"]["rows"].as_array().unwrap().iter().map(object).collect::<Vec<Value>>().into();
    document
}

#[test]
fn a_file_holds_what_the_server_shows_and_nothing_beyond() {
    let text = export::document(&snapshot(), Parts { columns: vec![column()], ..Parts::default() }, NOON).unwrap();
    let (page, data) = taken_apart(&text);
    for &level in Level::ALL {
        let view = serde_json::to_value(View::of(&snapshot(), level, vec![column()], NOON)).unwrap();
        assert_eq!(data["views"][level.words()], view, "{level}");
    }
    assert_eq!(data["opens"], "L1", "the level of this traffic");
    let handed = serde_json::to_value(HandOver::of(&snapshot(), Level::L1, NOON)).unwrap();
    assert_eq!(unpacked(&data["hand_over"]), handed);
    let parts: Vec<&String> = data.as_object().unwrap().keys().collect();
    assert_eq!(parts, ["hand_over", "opens", "scorecard", "views", "zone"], "and no other part");
    // Around the recording stands what stands in every file.
    let empty = export::document(&Snapshot::default(), Parts::default(), NOON).unwrap();
    assert_eq!(page, taken_apart(&empty).0);
    assert!(!text.contains(SECRET) && !text.contains("4711"));
}

#[test]
fn no_name_ends_the_recording_or_begins_a_program() {
    let text = export::document(&snapshot(), Parts { columns: vec![column()], ..Parts::default() }, NOON).unwrap();
    assert!(!text.contains("<script>alert") && !text.contains("</script><script>") && !text.contains("<!--<"));
    assert!(!text.contains('\u{2028}'));
    let (_, data) = taken_apart(&text);
    assert_eq!(data["views"]["L0"]["columns"][0]["messages"][0]["text"], HOSTILE, "and it is shown as it was written");
    assert_eq!(text.matches("<script").count(), 2, "the recording and the page's own");
    assert_eq!(text.matches("</script>").count(), 2);
}

#[test]
fn a_file_loads_nothing_and_runs_only_its_own_program() {
    let parts = Parts { level: Some(Level::L3), zone: Some("UTC".to_owned()), ..Parts::default() };
    let (page, data) = taken_apart(&export::document(&snapshot(), parts, NOON).unwrap());
    assert!(page.contains("default-src 'none'; script-src 'sha256-") && page.contains("style-src 'sha256-"));
    assert!(!page.contains("unsafe-inline") && !page.contains("src=\"") && !page.contains("https://"));
    let links: Vec<&str> = page.split("<link ").skip(1).map(|link| link.split('>').next().unwrap()).collect();
    assert!(links.iter().all(|link| link.contains("href=\"data:")), "{links:?}");
    assert_eq!((&data["opens"], &data["zone"]), (&json!("L3"), &json!("UTC")));
    assert_eq!(data["hand_over"]["level"], "L3");
}

async fn relay_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let config =
        Config { listen: "127.0.0.1:0".parse().unwrap(), observe: true, ..Config::new(directory.path().join("relay")) };
    kuvert_relay_lens::start(config, Arc::new(SystemClock::new())).await.unwrap().shutdown().await;
    directory
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_kuvert-lens"));
    program.current_dir(directory).args(["export", "page.html", "--data", "relay"]).args(arguments).output().unwrap()
}

#[tokio::test]
async fn a_file_that_is_there_is_kept_unless_force_is_said() {
    let directory = relay_directory().await;
    let path = directory.path().join("page.html");
    fs::write(&path, "mine").unwrap();
    let refused = run(directory.path(), &["--json"]);
    assert!(!refused.status.success());
    let said: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(said["code"], "lens-export-exists");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let forced = run(directory.path(), &["--force", "--json", "--level", "l2"]);
    let said: Value = serde_json::from_slice(&forced.stdout).unwrap();
    assert_eq!(said, json!({"type": "lens-export", "file": "page.html"}));
    assert_eq!(taken_apart(&fs::read_to_string(&path).unwrap()).1["opens"], "L2");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "it holds people's data");
    fs::remove_file(&path).unwrap();
    assert!(run(directory.path(), &[]).status.success());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn what_cannot_be_exported_says_why() {
    let directory = relay_directory().await;
    for (arguments, status) in [(&["--level", "L9"][..], 2), (&["--client", "nothing"], 2)] {
        assert_eq!(run(directory.path(), arguments).status.code(), Some(status), "{arguments:?}");
    }
    fs::create_dir(directory.path().join("page.html")).unwrap();
    let refused = run(directory.path(), &["--force", "--json"]);
    let said: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(said["code"], "lens-export-write");
}

/// The recorded day was written by the program as it is now: its page is the one that would be written today.
#[test]
fn the_recorded_day_has_the_page_of_today() {
    let day = include_str!("../../../docs/lens-day.html");
    let empty = export::document(&Snapshot::default(), Parts::default(), NOON).unwrap();
    let same = taken_apart(day).0 == taken_apart(&empty).0;
    assert!(same, "write docs/lens-day.html anew: docs/LENS.md says how");
}

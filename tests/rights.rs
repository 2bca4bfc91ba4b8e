//! The rights of an account's holder, with the real programs: correction, deletion, and what stays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use support::*;

const NUMBER: &str = "+4915550000001";

fn account(home: &Home) -> String {
    find(&home.ok(&["whoami"]), "whoami")["account"].as_str().unwrap().to_owned()
}

/// Everything by which the relay knows an account, as it may stand in a file.
fn traces(account: &str, name: &str) -> Vec<(&'static str, Vec<u8>)> {
    let id: kuvert_types::AccountId = account.parse().unwrap();
    vec![
        ("account", id.as_bytes().to_vec()),
        ("account in words", account.as_bytes().to_vec()),
        ("name", name.as_bytes().to_vec()),
        ("number", NUMBER.as_bytes().to_vec()),
    ]
}

#[test]
fn an_account_is_corrected_and_deleted_and_what_it_sent_stays_with_bob() {
    let mut relay = Relay::start();
    let (alice, bob) = (Home::empty(), Home::registered(&relay, "bob"));
    alice.ok(&["register", "--relay", &relay.address, "--name", "alice-before", "--phone", NUMBER]);
    alice.ok(&["contact", "add", "bob"]);
    alice.ok(&["send", "bob", "hello"]);
    assert_eq!(bob.receive(), ["hello"]);
    bob.ok(&["contact", "add", "alice-before"]);

    // Corrected. Bob goes on calling her what he did.
    let corrected = alice.ok(&["account", "correct", "--name", "alice-canary-name"]);
    assert_eq!(find(&corrected, "corrected")["name"], "alice-canary-name");
    alice.run(&["account", "correct", "--name", "bob"]).fails_with("name-taken");
    alice.run(&["account", "correct", "--phone", "12"]).fails_with("phone-invalid");
    assert_eq!(alice.run(&["account", "correct"]).code, Some(2));
    bob.ok(&["send", "alice-before", "you have a new name"]);
    assert_eq!(alice.receive(), ["you have a new name"]);
    // Her receipts.
    bob.ok(&["receive"]);

    // One letter waits for Bob, one for Alice.
    alice.ok(&["send", "bob", "goodbye"]);
    bob.ok(&["send", "alice-before", "never read"]);
    let account = account(&alice);
    let explained = alice.ok(&["account", "delete"]);
    assert_eq!(find(&explained, "deletion_explained")["account"], account.as_str());
    assert_eq!(find(&relay.inspect(), "relay")["accounts"], 2, "without --yes nothing happens");
    alice.ok(&["account", "delete", "--yes"]);
    let held = relay.inspect();
    assert_eq!((&find(&held, "relay")["accounts"], &find(&held, "relay")["waiting"]), (&1.into(), &1.into()));

    // The home can be read, and says why nothing else works.
    for arguments in [
        &["send", "bob", "hi"] as &[&str],
        &["send", "bob", "hi", "--offline"],
        &["receive"],
        &["invite"],
        &["contact", "add", "carol"],
        &["account", "delete", "--yes"],
        &["register", "--relay", &relay.address],
    ] {
        alice.run(arguments).fails_with("account-deleted");
    }
    assert_eq!(texts(&alice.ok(&["history", "bob"])), ["hello", "you have a new name", "goodbye"]);
    assert!(find(&alice.ok(&["whoami"]), "whoami")["deleted_at"].is_u64());

    // What was sent before is still delivered, and stays.
    assert_eq!(bob.receive(), ["goodbye"]);
    bob.run(&["send", "alice-before", "are you there?"]).fails_with("unknown-recipient");
    relay.stop();
    let traces = traces(&account, "alice-canary-name");
    for (what, bytes) in &traces {
        for (path, content) in relay.files() {
            assert!(!contains(&content, bytes), "the {what} stands in {}", path.display());
        }
    }
    relay.start_again(&[]);
    let history = texts(&bob.ok(&["history", "alice-before"]));
    assert_eq!(history[..4], ["hello", "you have a new name", "never read", "goodbye"]);
    // Somebody else may have the name now.
    Home::registered(&relay, "alice-canary-name");
}

/// What `kuvert-relay-lens` prints, if it succeeds; else the code of its error.
fn relay_command(relay: &Relay, arguments: &[&str]) -> Result<Value, String> {
    let mut command = Command::new(kuvert_relay_lens());
    let output = command.arg("--json").args(arguments).arg("--data").arg(relay.data()).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    if output.status.success() {
        if arguments[0] == "share" {
            assert!(text.starts_with("{\"demonstration\":true,"), "{text}");
        }
        return Ok(objects(&output.stdout).into_iter().next().unwrap_or(Value::Null));
    }
    Err(find(&objects(&output.stdout), "error")["code"].as_str().unwrap().to_owned())
}

fn read(directory: &Path, file: &str) -> Value {
    serde_json::from_slice(&fs::read(directory.join(file)).unwrap()).unwrap()
}

#[test]
fn what_the_demonstration_shares_is_what_was_accepted_and_is_written_down() {
    const NUMBERS: [&str; 3] = ["+4915550000001", "+4915550000002", "+4915550000003"];
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Relay::start_lens(&[]);
    let homes = ["alice", "bob", "carol"].map(|name| (name, Home::empty()));
    for ((name, home), number) in homes.iter().zip(NUMBERS) {
        home.ok(&["register", "--relay", &relay.address, "--name", name, "--phone", number]);
    }
    let [alice, bob, carol] = homes.map(|(_, home)| home);
    alice.run(&["account", "consent"]).fails_with("no-demonstration");
    assert_eq!(relay_command(&relay, &["share", "parent"]), Err("no-demonstration".into()));
    relay.stop();
    relay.start_again(&["--demonstration", "--observe"]);
    assert!(relay.log().contains("demonstration"), "the log says so");
    assert_eq!(find(&relay.inspect(), "rights")["demonstration"], true);

    // Alice accepts everything, Bob refuses what can be refused, Carol accepts nothing.
    let shown = alice.ok(&["account", "consent"]);
    assert_eq!(all(&shown, "policy").len(), 2, "both versions, which disagree");
    assert!(all(&shown, "consent").is_empty());
    alice.ok(&["account", "consent", "--accept", "2016-08-25"]);
    let accepted = bob.ok(&["account", "consent", "--accept", "2016-08-25", "--no-advertising"]);
    assert_eq!(find(&accepted, "consent")["advertising"], false);
    bob.run(&["account", "consent", "--accept", "2016-08-25"]).fails_with("relay-refused");

    let parent = relay_command(&relay, &["share", "parent"]).unwrap();
    let shared: Vec<(&Value, &Value)> = parent["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|account| (&account["phone"], &account["advertising"]))
        .collect();
    assert_eq!(shared.len(), 2);
    assert!(shared.contains(&(&NUMBERS[0].into(), &"used".into())));
    assert!(shared.contains(&(&NUMBERS[1].into(), &"refused".into())), "the number goes whatever he refused");
    assert_eq!(parent["without_accepted_terms"], 1);
    let days = parent["accounts"][0]["use_by_day"].as_object().unwrap();
    assert!(days.values().all(|count| count.as_u64().unwrap() > 0) && days.len() == 1, "{days:?}");

    let list = folder.path().join("customers.csv");
    fs::write(&list, format!("phone,name\n{}\n+4915550000009,Nobody\n", NUMBERS.join(",Somebody\n"))).unwrap();
    let matched = relay_command(&relay, &["share", "match", "--list", list.to_str().unwrap()]).unwrap();
    assert_eq!((&matched["listed"], &matched["matched"]), (&4.into(), &3.into()));
    assert_eq!(matched["usable_for_advertising"], serde_json::json!([NUMBERS[0]]));
    assert_eq!(matched["residual"], serde_json::json!({"no terms accepted": 1, "refused": 1}));

    alice.ok(&["contact", "add", "bob"]);
    alice.ok(&["send", "bob", "not for anybody else"]);
    let subpoena = relay_command(&relay, &["share", "subpoena", "--phone", NUMBERS[1]]).unwrap();
    assert_eq!((&subpoena["account"], &subpoena["waiting"]), (&account(&bob).into(), &1.into()));
    assert!(subpoena["observations"].as_u64().unwrap() > 0);
    assert!(!subpoena.to_string().contains("not for anybody else"), "nobody can hand that over");
    assert_eq!(subpoena["report"]["not_held.json"]["not_held"][0]["what"], "the words of any message");
    let nobody = ["share", "subpoena", "--phone", "+4915550000009"];
    assert_eq!(relay_command(&relay, &nobody), Err("account-unknown".into()));

    // Each reads in his report who was told about him.
    let told = |home: &Home, name: &str| {
        let directory = folder.path().join(name);
        let out = home.ok(&["account", "report", "--out", directory.to_str().unwrap()]);
        assert_eq!(find(&out, "report")["files"], 9);
        assert_eq!(read(&directory, "manifest.json")["account"], account(home).as_str());
        assert!(fs::read_to_string(directory.join("index.html")).unwrap().contains(&account(home)));
        read(&directory, "recipients.json")["shared"].as_array().unwrap().len()
    };
    assert_eq!([told(&alice, "alice"), told(&bob, "bob"), told(&carol, "carol")], [2, 3, 1]);
    alice.run(&["account", "report", "--out", folder.path().to_str().unwrap()]).fails_with("report-exists");

    // Under a hold, Bob is deleted for everybody; an authority gets what was kept until the hold is released.
    let id = account(&bob);
    assert!(relay_command(&relay, &["hold", "add", &id, "--reason", "case 7"]).is_ok());
    let other = kuvert_types::AccountId::from_bytes([7; 16]).to_string();
    assert_eq!(relay_command(&relay, &["hold", "add", &other, "--reason", "x"]), Err("account-unknown".into()));
    bob.ok(&["account", "delete", "--yes"]);
    assert_eq!(find(&relay.inspect(), "hold")["deleted"], true);
    alice.run(&["send", "bob", "are you there?"]).fails_with("unknown-recipient");
    let held = relay_command(&relay, &["share", "subpoena", "--account", &id]).unwrap();
    assert_eq!((&held["held_back"], &held["waiting"]), (&true.into(), &1.into()));
    let kept = folder.path().join("kept");
    relay_command(&relay, &["hold", "release", &id, "--to", kept.to_str().unwrap()]).unwrap();
    assert_eq!(read(&kept, "account_information.json")["account"][0]["name"], "bob");
    assert_eq!(relay_command(&relay, &["hold", "release", &id]), Err("hold-unknown".into()));
    assert_eq!(relay_command(&relay, &["share", "subpoena", "--account", &id]), Err("account-unknown".into()));
}

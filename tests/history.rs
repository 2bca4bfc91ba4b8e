//! Looking back with the real programs: search over all conversations, a part of a history, and files of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use support::{Home, Relay, acquainted, all, find, objects, texts};

/// More than is read at once, twice.
const MANY: usize = 600;

#[test]
fn search_finds_in_all_conversations_or_one_and_the_newest_stands_last() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let carol = Home::registered(&relay, "carol");
    alice.ok(&["contact", "add", "carol"]);
    let lines: String = (0..MANY).map(|number| format!("line {number}\n")).collect();
    alice.feed(&["send", "bob", "--lines"], lines.as_bytes()).ok();
    bob.ok(&["send", "alice", "Große Straße"]);
    alice.ok(&["receive"]);
    alice.ok(&["send", "carol", "GROSSE STRASSE 5"]);
    let found = alice.ok(&["search", "grosse strasse"]);
    assert_eq!(texts(&found), ["Große Straße", "GROSSE STRASSE 5"]);
    assert_eq!((&found[0]["with"], &found[1]["with"]), (&"bob".into(), &"carol".into()));
    assert_eq!(texts(&alice.ok(&["search", "grosse", "--with", "carol"])), ["GROSSE STRASSE 5"]);
    assert_eq!(texts(&alice.ok(&["search", "LINE 59"])).len(), 11, "59, and 590 to 599");
    assert_eq!(texts(&alice.ok(&["search", "line"])).len(), MANY);
    assert!(alice.ok(&["search", "nowhere"]).is_empty());
    alice.run(&["search", ""]).fails_with("search-empty");
    alice.run(&["search", "x", "--with", "dave"]).fails_with("contact-unknown");
    let words = String::from_utf8(alice.typed(&["search", "strasse 5"]).output().unwrap().stdout).unwrap();
    assert!(words.contains("alice to carol: GROSSE STRASSE 5"), "{words}");
    // The last ones of many.
    assert_eq!(texts(&alice.ok(&["history", "bob", "--search", "line", "--last", "2"])), ["line 598", "line 599"]);
    assert_eq!(carol.receive().len(), 1);
}

#[test]
fn a_history_begins_when_it_is_told_to() {
    let relay = Relay::start();
    let (alice, _) = acquainted(&relay);
    let ever = texts(&alice.ok(&["history", "bob"]));
    for since in ["1d", "3h", "10m", "2020-01-01", "2020-01-01T10:00", "2020-01-01T10:00:00+01:00"] {
        assert_eq!(texts(&alice.ok(&["history", "bob", "--since", since])), ever, "{since}");
    }
    assert!(alice.ok(&["history", "bob", "--since", "2999-12-31"]).is_empty());
    assert_eq!(alice.run(&["history", "bob", "--since", "yesterday"]).code, Some(2));
}

#[test]
fn an_export_is_new_complete_and_for_its_owner_only() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    bob.ok(&["send", "alice", "two\nlines \u{1b}[2J"]);
    alice.ok(&["receive"]);
    let there = tempfile::tempdir().unwrap();
    let out = there.path().join("bob");
    let to = out.to_str().unwrap();
    let exported = alice.ok(&["export", "bob", "--to", to]);
    assert_eq!(
        (&find(&exported, "exported")["messages"], &find(&exported, "exported")["directory"]),
        (&3.into(), &to.into())
    );
    let json = fs::read(out.join("messages.jsonl")).unwrap();
    assert_eq!(objects(&json), alice.ok(&["history", "bob"]), "what the history says");
    let text = fs::read_to_string(out.join("messages.txt")).unwrap();
    assert!(text.contains("bob: two\n") && text.contains("alice: good evening") && !text.contains('\u{1b}'), "{text}");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&out), 0o700);
    assert_eq!((mode(&out.join("messages.txt")), mode(&out.join("messages.jsonl"))), (0o600, 0o600));
    alice.run(&["export", "bob", "--to", to]).fails_with("export-exists");
    assert_eq!(fs::read(out.join("messages.jsonl")).unwrap(), json);
    let none = there.path().join("none");
    alice.run(&["export", "dave", "--to", none.to_str().unwrap()]).fails_with("contact-unknown");
    assert!(!none.exists());
    assert_eq!(all(&exported, "message").len(), 0);
}

//! Looking back with the real programs: search over all conversations, a part of a history, and files of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use support::window::Window;
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

/// What a command draws in a window, and its exit code. The last of it comes without being waited for.
fn in_a_window(home: &Home, arguments: &[&str], columns: u16) -> (Option<i32>, String) {
    let (status, drawn) = Window::open(home.typed(arguments), columns).wait();
    (status.code(), drawn)
}

#[test]
fn a_terminal_gets_the_newest_and_is_told_how_to_see_what_stands_before() {
    let relay = Relay::start();
    let (alice, _) = acquainted(&relay);
    let lines: String = (0..MANY).map(|number| format!("line-{number}.\n")).collect();
    alice.feed(&["send", "bob", "--lines"], lines.as_bytes()).ok();
    let (code, drawn) = in_a_window(&alice, &["history", "bob"], 200);
    assert_eq!(code, Some(0));
    assert!(drawn.contains("line-550.") && drawn.contains("line-599.") && !drawn.contains("line-549."), "{drawn}");
    // Two of the greeting stand before them.
    let (_, more) = drawn.split_once("552 older: kuvert history bob --before ").unwrap_or_else(|| panic!("{drawn}"));
    let id = more.split_whitespace().next().unwrap();
    let older = texts(&alice.ok(&["history", "bob", "--before", id]));
    assert_eq!((older.len(), older[551].as_str()), (552, "line-549."));
    assert_eq!(texts(&alice.ok(&["history", "bob", "--before", &id[..10], "-n", "2"])), ["line-548.", "line-549."]);
    let (_, next) = in_a_window(&alice, &["history", "bob", "--limit", "5", "--before", id], 200);
    assert!(next.contains("line-545.") && !next.contains("line-544.") && !next.contains("line-550."), "{next}");
    assert!(next.contains("547 older: kuvert history bob --limit 5 --before "), "{next}");
    // What is looked for goes on to be looked for.
    let (_, found) = in_a_window(&alice, &["history", "bob", "--search", "line-1", "--limit", "3"], 200);
    assert!(found.contains("line-199.") && !found.contains("line-196."), "{found}");
    assert!(found.contains("there are older ones: kuvert history bob --search line-1 --limit 3 --before "), "{found}");
    // To the beginning, and nothing is said of more.
    let (_, all) = in_a_window(&alice, &["history", "bob", "--all"], 200);
    assert!(all.contains("good evening") && all.contains("line-0.") && !all.contains("older"), "{}", all.len());
    let (_, first) = in_a_window(&alice, &["history", "bob", "--search", "evening"], 200);
    assert!(first.contains("good evening") && !first.contains("older"), "{first}");
    // A pipe gets all, and an end that was named is kept.
    let whole = alice.typed(&["history", "bob"]).output().unwrap();
    assert_eq!(String::from_utf8(whole.stdout).unwrap().lines().count(), MANY + 2);
    assert!(whole.stderr.is_empty());
    assert!(alice.ok(&["history", "bob", "--before", "1d"]).is_empty());
    assert_eq!(texts(&alice.ok(&["history", "bob", "--before", "2999-01-01"])).len(), MANY + 2);
    alice.run(&["history", "bob", "--before", "abc"]).fails_with("message-unknown");
    alice.run(&["history", "bob", "--before", "zzzzzzzzzz"]).fails_with("message-unknown");
}

/// The sealed rows of a home's file.
fn rows(home: &Home) -> HashSet<Vec<u8>> {
    let store = rusqlite::Connection::open(home.path().join("store.db")).unwrap();
    let mut rows = store.prepare("SELECT value FROM log UNION ALL SELECT value FROM record").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// How often parts of these rows stand in any of a home's files.
fn left_of(home: &Home, rows: &HashSet<Vec<u8>>) -> usize {
    let pieces: HashSet<&[u8]> = rows.iter().flat_map(|row| row.chunks_exact(16)).collect();
    let files = fs::read_dir(home.path()).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
    files.map(|bytes| bytes.windows(16).filter(|window| pieces.contains(window)).count()).sum()
}

#[test]
fn what_is_deleted_is_asked_for_first_and_stands_in_no_file_afterwards() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    for text in ["one", "two", "three"] {
        alice.ok(&["send", "bob", text]);
    }
    bob.receive();
    let history = bob.ok(&["history", "alice"]);
    let id = |text: &str| {
        let message = history.iter().find(|message| message["text"] == text).unwrap();
        message["id"].as_str().unwrap().to_owned()
    };
    let (one, two) = (id("one"), id("two"));
    let ids = String::from_utf8(bob.typed(&["history", "alice", "--ids"]).output().unwrap().stdout).unwrap();
    assert!(ids.lines().any(|line| line.contains(&format!("  {one}  alice: one"))), "{ids}");
    let before = rows(&bob);

    // Nothing goes without a word.
    bob.run(&["delete", "alice", &one]).fails_with("confirmation-needed");
    let unasked = bob.typed(&["delete", "alice", "--all"]).output().unwrap();
    assert!(String::from_utf8(unasked.stderr).unwrap().contains("say --yes"));
    assert_eq!(bob.run(&["delete", "alice"]).code, Some(2), "neither ids nor --all");
    assert_eq!(bob.run(&["delete", "alice", &one, "--all", "--yes"]).code, Some(2), "both");
    bob.run(&["delete", "alice", "zzzzzzzz", "--yes"]).fails_with("message-unknown");
    for (answer, code) in [("n\n", 1), ("\n", 1), ("yes\n", 0)] {
        assert_eq!(bob.ok(&["history", "alice"]), history);
        let mut window = Window::open(bob.typed(&["delete", "alice", &one[..8]]), 120);
        let shown = window.until("[y/N]");
        assert!(shown.contains("alice: one") && shown.contains("Delete this message with alice here?"), "{shown}");
        window.press(answer);
        assert_eq!(window.wait().0.code(), Some(code));
    }
    assert_eq!(texts(&bob.ok(&["history", "alice"])).len(), history.len() - 1);
    let deleted = bob.ok(&["delete", "alice", &two, "--yes"]);
    assert_eq!(find(&deleted, "deleted").to_string(), r#"{"given_up":0,"messages":1,"type":"deleted","with":"alice"}"#);

    // The whole conversation: what comes while the question stands there stays.
    let mut window = Window::open(bob.typed(&["delete", "alice", "--all"]), 120);
    let shown = window.until("[y/N]");
    assert!(shown.contains(&format!("Delete {} messages with alice here?", history.len() - 2)), "{shown}");
    alice.ok(&["send", "bob", "meanwhile"]);
    assert_eq!(bob.receive(), ["meanwhile"]);
    window.press("y\n");
    assert_eq!(window.wait().0.code(), Some(0));
    assert_eq!(texts(&bob.ok(&["history", "alice"])), ["meanwhile"]);
    let gone: HashSet<Vec<u8>> = before.difference(&rows(&bob)).cloned().collect();
    assert!(gone.len() >= history.len());
    assert_eq!(left_of(&bob, &gone), 0);
    // Alice has all of it, and is told nothing.
    assert_eq!(texts(&alice.ok(&["history", "bob"])).len(), history.len() + 1);
    assert!(all(&alice.ok(&["receive"]), "notice").is_empty());
    assert_eq!(find(&bob.ok(&["delete", "alice", "--all", "--yes"]), "deleted")["messages"], 1);
}

#[test]
fn an_invite_is_drawn_on_demand_where_there_is_room() {
    let relay = Relay::start();
    let alice = Home::registered(&relay, "alice");
    let printed = |arguments: &[&str]| String::from_utf8(alice.typed(arguments).output().unwrap().stdout).unwrap();
    let link = printed(&["invite"]);
    assert_eq!(link.lines().count(), 1);
    let drawn = printed(&["invite", "--qr"]);
    assert!(drawn.starts_with(&link) && drawn.contains('█') && !drawn.contains('\u{1b}'), "{drawn}");
    assert_eq!(alice.ok(&["invite", "--qr"]).len(), 1, "JSON has the link");
    let (_, coloured) = in_a_window(&alice, &["invite", "--qr"], 120);
    assert!(coloured.contains("\u{1b}[38;5;16;48;5;231m"), "{coloured}");
    let (_, narrow) = in_a_window(&alice, &["invite", "--qr"], 40);
    assert!(narrow.contains("this one has 40") && !narrow.contains('█'), "{narrow}");
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

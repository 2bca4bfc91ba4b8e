//! A home that was put back to an older state, and only runs `kuvert send`; and two copies of a home in use at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use support::{Home, Relay, Running, alice_and_bob, all, eventually, find, texts};

fn copy(from: &std::path::Path, to: &std::path::Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Alice as she was five texts ago.
fn put_back(alice: &Home, bob: &Home, read: bool) {
    alice.ok(&["send", "bob", "hello"]);
    bob.receive();
    bob.ok(&["send", "alice", "hi"]);
    alice.receive();
    let aside = alice.path().with_extension("backup");
    copy(&alice.path(), &aside);
    for number in 0..5 {
        alice.ok(&["send", "bob", &format!("before {number}")]);
    }
    if read {
        assert_eq!(bob.receive().len(), 5);
    }
    std::fs::remove_dir_all(alice.path()).unwrap();
    std::fs::rename(aside, alice.path()).unwrap();
}

#[test]
fn a_restored_job_that_only_sends_is_told_and_all_of_its_texts_arrive() {
    for read in [true, false] {
        let relay = Relay::start();
        let (alice, bob) = alice_and_bob(&relay);
        put_back(&alice, &bob, read);
        let mut told = Vec::new();
        let mut seen = Vec::new();
        for number in 0..9 {
            told.extend(alice.ok(&["send", "bob", &format!("after {number:02}")]));
            if number >= 6 {
                let shown = bob.ok(&["receive"]);
                for notice in all(&shown, "notice") {
                    assert!(!notice["message"].as_str().unwrap().contains("honest"), "{notice}");
                }
                seen.extend(texts(&shown));
            }
        }
        let codes: Vec<_> = all(&told, "notice").iter().map(|notice| notice["code"].clone()).collect();
        assert!(codes.contains(&"home-behind".into()), "{codes:?}");
        // What nothing warned of in time was thrown away at first.
        assert_eq!(codes.contains(&"session-reset".into()), !read, "{codes:?}");
        seen.retain(|text| text.starts_with("after"));
        seen.sort();
        assert_eq!(seen, (0..9).map(|number| format!("after {number:02}")).collect::<Vec<_>>());
    }
}

#[test]
fn of_two_copies_in_use_status_says_so_and_one_of_them_goes_on() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let next = |home: &Home| {
        let status = home.ok(&["status"]);
        let status = find(&status, "status");
        (status["next"].as_str().unwrap().to_owned(), status["copy_seen_at"].is_u64())
    };
    // Two processes of one home are none: they share one receiver.
    let mut first = alice.start(&["receive", "--follow"]);
    first.until("caught_up");
    let second = alice.start(&["receive", "--follow"]);
    assert_eq!(next(&alice), ("nothing".to_owned(), false));
    drop(second);

    let copied = alice.path().with_extension("copy");
    copy(&alice.path(), &copied);
    let mut elsewhere = Command::new(support::kuvert());
    elsewhere.args(["--json", "--home"]).arg(&copied).args(["receive", "--follow"]).env_remove("KUVERT_HOME");
    let mut beside = Running::start(elsewhere);
    beside.until("caught_up");
    // The one that is told stops, and says what to do.
    let (code, seen) = first.wait();
    let error = find(&seen, "error");
    assert_eq!((code, &error["code"]), (Some(1), &"displaced".into()));
    assert!(error["message"].as_str().unwrap().contains("`kuvert status`"), "{error}");
    // What the other one fetches stands in its history.
    for number in 0..3 {
        bob.ok(&["send", "alice", &format!("to the copy {number}")]);
        assert_eq!(beside.until("message")["text"], format!("to the copy {number}"));
    }
    bob.ok(&["receive"]);
    eventually("it is noted", || next(&alice).1);
    assert_eq!(next(&alice).0, "copy");
    let words = String::from_utf8(alice.typed(&["status"]).output().unwrap().stdout).unwrap();
    let words: String = words.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("another copy of this home was in use") && words.contains("register anew"), "{words}");
    drop(beside);
    let mut history = Command::new(support::kuvert());
    history.args(["--json", "--home"]).arg(&copied).args(["history", "bob"]).env_remove("KUVERT_HOME");
    let history = texts(&support::objects(&history.output().unwrap().stdout));
    assert!(
        history.ends_with(&(0..3).map(|number| format!("to the copy {number}")).collect::<Vec<_>>()),
        "{history:?}"
    );
    std::fs::remove_dir_all(copied).unwrap();
    // The one that stays is behind: what goes astray at first is sent again, in both directions.
    bob.ok(&["send", "alice", "still there?"]);
    alice.ok(&["send", "bob", "yes"]);
    let (mut at_alice, mut at_bob) = (Vec::new(), Vec::new());
    eventually("both came through", || {
        at_alice.extend(alice.receive());
        at_bob.extend(bob.receive());
        at_alice.contains(&"still there?".to_owned()) && at_bob.contains(&"yes".to_owned())
    });
}

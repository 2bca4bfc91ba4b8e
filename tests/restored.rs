//! A home that was put back to an older state, and only runs `kuvert send`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use support::{Home, Relay, alice_and_bob, all, texts};

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

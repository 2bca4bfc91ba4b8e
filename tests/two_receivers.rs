//! Two processes on one home, and Ctrl-C at any point.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use support::{Random, Relay, alice_and_bob, all, find, texts};

#[test]
fn the_second_receiver_displaces_the_first_with_a_clear_message() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut first = bob.start(&["receive", "--follow"]);
    first.until("caught_up");
    let mut second = bob.start(&["receive", "--follow"]);
    second.until("caught_up");
    let (code, seen) = first.wait();
    assert_eq!(code, Some(1));
    let error = find(&seen, "error");
    assert_eq!(error["code"], "displaced");
    assert!(error["message"].as_str().unwrap().contains("another process"), "{error}");
    alice.ok(&["send", "bob", "to the second"]);
    assert_eq!(second.until("message")["text"], "to the second");
    second.interrupt();
    assert_eq!(second.wait().0, Some(0));
}

#[test]
fn a_command_that_receives_nothing_disturbs_no_follower() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut following = bob.start(&["receive", "--follow"]);
    following.until("caught_up");
    for number in 0..5 {
        bob.ok(&["send", "--offline", "alice", &format!("from bob {number}")]);
        assert!(texts(&bob.ok(&["receive", "--max", "0"])).is_empty());
        alice.ok(&["send", "bob", &format!("from alice {number}")]);
        assert_eq!(following.until("message")["text"], format!("from alice {number}"));
    }
    assert_eq!(alice.receive(), (0..5).map(|number| format!("from bob {number}")).collect::<Vec<_>>());
    following.interrupt();
    assert_eq!(following.wait().0, Some(0));
}

#[test]
fn one_home_can_send_and_receive_at_the_same_time() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut following = bob.start(&["receive", "--follow", "--max", "10"]);
    following.until("caught_up");
    for number in 0..10 {
        bob.ok(&["send", "alice", &format!("from bob {number}")]);
        alice.ok(&["send", "bob", &format!("from alice {number}")]);
    }
    let (code, seen) = following.wait();
    assert_eq!(code, Some(0));
    assert_eq!(texts(&seen), (0..10).map(|number| format!("from alice {number}")).collect::<Vec<_>>());
    assert_eq!(alice.receive(), (0..10).map(|number| format!("from bob {number}")).collect::<Vec<_>>());
}

#[test]
fn sigterm_ends_a_follower_in_good_order() {
    let relay = Relay::start();
    let (_, bob) = alice_and_bob(&relay);
    let mut following = bob.start(&["receive", "--follow"]);
    following.until("caught_up");
    following.terminate();
    assert_eq!(following.wait().0, Some(0));
}

#[test]
fn interrupted_anywhere_a_text_is_sent_once_or_not_at_all() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut random = Random::seeded("interrupted_anywhere");
    for number in 0..12 {
        let text = format!("text {number}");
        let running = alice.start(&["send", "bob", &text]);
        std::thread::sleep(random.millis(0, 120));
        running.interrupt();
        running.wait();
    }
    alice.ok(&["receive"]);
    let known: Vec<String> = texts(&alice.ok(&["history", "bob"]));
    assert!(all(&alice.ok(&["history", "bob"]), "message").iter().all(|message| message["state"] != "queued"));
    // Received with interruptions: every text that was queued comes, once, in order.
    let mut shown = Vec::new();
    for _ in 0..6 {
        let running = bob.start(&["receive"]);
        std::thread::sleep(random.millis(0, 150));
        running.interrupt();
        let (code, seen) = running.wait();
        // Before the handler stands, the signal itself ends the process.
        assert!(matches!(code, Some(0) | None), "{code:?} {seen:?}");
        shown.extend(texts(&seen));
    }
    shown.extend(bob.receive());
    shown.dedup();
    assert_eq!(shown, known);
}

#[test]
#[cfg(target_os = "linux")]
fn a_command_that_holds_keys_leaves_no_core_dump() {
    let relay = Relay::start();
    let (_, bob) = alice_and_bob(&relay);
    let mut following = bob.start(&["receive", "--follow"]);
    following.until("caught_up");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", following.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "neither now nor later: {core}");
    following.interrupt();
    assert_eq!(following.wait().0, Some(0));
}

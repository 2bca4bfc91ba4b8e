//! Two processes on one home, and Ctrl-C at any point.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use support::{Home, Random, Relay, Unread, acquainted, alice_and_bob, all, texts};

#[test]
fn two_that_follow_both_show_what_comes_and_the_one_that_is_left_receives() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut first = bob.start(&["receive", "--follow"]);
    first.until("caught_up");
    let mut second = bob.start(&["receive", "--follow"]);
    assert_eq!(second.until("notice")["code"], "reading-along");
    second.until("caught_up");
    alice.ok(&["send", "bob", "to both"]);
    assert_eq!(first.until("message")["text"], "to both");
    assert_eq!(second.until("message")["text"], "to both");
    first.interrupt();
    let (code, seen) = first.wait();
    assert_eq!((code, all(&seen, "error").len()), (Some(0), 0), "{seen:?}");
    alice.ok(&["send", "bob", "to the second"]);
    assert_eq!(second.until("message")["text"], "to the second");
    second.interrupt();
    assert_eq!(second.wait().0, Some(0));
    // The last receipts.
    bob.ok(&["receive"]);
    alice.ok(&["receive"]);
    let states: Vec<_> =
        all(&alice.ok(&["history", "bob"]), "message").iter().map(|message| message["state"].clone()).collect();
    assert_eq!(states, ["read", "read"], "whichever showed it sent the receipt");
}

#[test]
fn a_follower_whose_reader_pauses_hands_on_the_receiving_and_loses_nothing() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let mut paused = Unread::start(alice.command(&["receive", "--follow"]));
    paused.until("caught_up");
    let mut second = alice.start(&["receive", "--follow"]);
    assert_eq!(second.until("notice")["code"], "reading-along");
    // More than a pipe holds.
    let many: Vec<String> = (0..100).map(|number| format!("{number} {}", "z".repeat(2_000))).collect();
    bob.feed(&["send", "alice", "--lines"], (many.join("\n") + "\n").as_bytes()).ok();
    bob.ok(&["send", "alice", "behind the pause"]);
    let expected: Vec<&str> = many.iter().map(String::as_str).chain(["behind the pause"]).collect();
    for text in &expected {
        assert_eq!(second.until("message")["text"], *text);
    }
    // A command that receives once is held up by nothing, either.
    alice.ok(&["receive"]);
    // Read on: everything, once and in its order.
    for text in &expected {
        assert_eq!(paused.until("message")["text"], *text);
    }
    second.interrupt();
    assert_eq!(second.wait().0, Some(0));
    bob.ok(&["send", "alice", "to the one that is left"]);
    assert_eq!(paused.until("message")["text"], "to the one that is left");
}

#[test]
fn a_command_that_receives_once_shows_what_another_one_fetched_and_does_not_stop_it() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let carol = Home::registered(&relay, "carol");
    carol.ok(&["contact", "add", "bob"]);
    // A chat with alice shows nothing of carol.
    let mut chatting = bob.start(&["chat", "alice"]);
    alice.ok(&["send", "bob", "to the chat"]);
    assert_eq!(chatting.until("message")["text"], "to the chat");
    for number in 0..3 {
        carol.ok(&["send", "bob", &format!("from carol {number}")]);
        assert_eq!(bob.receive(), [format!("from carol {number}")]);
        assert_eq!(texts(&bob.ok(&["receive", "--timeout", "0"])), Vec::<String>::new());
    }
    for text in ["one", "two"] {
        carol.ok(&["send", "bob", text]);
    }
    assert_eq!(texts(&bob.ok(&["receive", "--max", "1", "--timeout", "60"])), ["one"]);
    assert_eq!(bob.receive(), ["two"]);
    alice.ok(&["send", "bob", "to the chat again"]);
    assert_eq!(chatting.until("message")["text"], "to the chat again");
    chatting.close_stdin();
    let (code, seen) = chatting.wait();
    assert_eq!(code, Some(0));
    let codes: Vec<_> = all(&seen, "notice").iter().map(|notice| notice["code"].clone()).collect();
    assert!(!codes.contains(&"displaced".into()), "{seen:?}");
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

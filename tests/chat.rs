//! The full-screen chat in a pseudo-terminal: two windows and a relay.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use support::window::Window;
use support::{Home, Relay, acquainted, alice_and_bob, all, eventually, find, texts};

fn chat(home: &Home, who: &str) -> Window {
    Window::open(home.typed(&["chat", who]), 80)
}

#[test]
fn a_terminal_that_pauses_keeps_no_other_command_from_working() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let mut chatting = chat(&bob, "alice");
    chatting.stop_reading();
    // More than a terminal holds that nothing reads.
    let many: String = (0..400).map(|number| format!("{number} {}\n", "z".repeat(200))).collect();
    alice.feed(&["send", "bob", "--lines"], many.as_bytes()).ok();
    let mut before = 0;
    eventually("the terminal is full", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = chatting.unread();
        let full = now > 0 && now == before;
        before = now;
        full
    });
    bob.ok(&["send", "alice", "while-my-terminal-pauses"]);
    assert_eq!(alice.receive(), ["while-my-terminal-pauses"]);
    drop(chatting);
    // What the chat did not come to show is still there.
    bob.receive();
    assert_eq!(texts(&bob.ok(&["history", "alice"])).len(), 403);
}

#[test]
fn two_people_talk_in_two_windows() {
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    bob.ok(&["send", "alice", "waiting"]);
    let mut at_alice = chat(&alice, "bob");
    at_alice.until("waiting");
    let mut at_bob = chat(&bob, "alice");
    // Delivered to Alice, and Bob sees it.
    at_bob.until("✓");
    at_alice.press("Grüße-aus-dem-Garten\r");
    at_alice.until("Grüße-aus-dem-Garten");
    at_bob.until("Grüße-aus-dem-Garten");
    at_alice.until("✓");
    at_bob.press("typo");
    at_bob.press("\u{7f}\u{7f}\u{7f}\u{7f}merci!\r");
    at_alice.until("merci!");

    // The relay goes away and comes back: what was written meanwhile arrives.
    relay.stop();
    at_alice.until("reconnecting");
    at_alice.press("oh-such-patience\r");
    at_alice.until("oh-such-patience");
    relay.start_again(&[]);
    at_bob.until("oh-such-patience");
    at_alice.leave();
    at_bob.leave();

    let expected = ["waiting", "Grüße-aus-dem-Garten", "merci!", "oh-such-patience"];
    for (home, who) in [(&alice, "bob"), (&bob, "alice")] {
        assert_eq!(texts(&home.ok(&["history", who])), expected);
        assert!(home.receive().is_empty(), "all was read on the screen");
    }
}

#[test]
fn a_chat_that_was_displaced_comes_back_when_the_other_is_gone() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut window = chat(&alice, "bob");
    window.until("connected");
    let mut other = alice.start(&["receive", "--follow"]);
    other.until("caught_up");
    // It says so, and how to come back.
    window.until("Ctrl-R");
    bob.ok(&["send", "alice", "to-the-other"]);
    assert_eq!(other.until("message")["text"], "to-the-other");
    // Sending goes on meanwhile.
    window.press("still-sending\r");
    window.until("still-sending");
    let mut received = Vec::new();
    eventually("it is sent", || {
        received.extend(bob.receive());
        !received.is_empty()
    });
    assert_eq!(received, ["still-sending"]);
    other.interrupt();
    assert_eq!(other.wait().0, Some(0));
    // What the other received stands on the screen, and what comes now comes here.
    window.until("to-the-other");
    bob.ok(&["send", "alice", "to-the-chat"]);
    window.until("to-the-chat");

    // The user can have it back at once; the other says that it was displaced.
    let mut other = alice.start(&["receive", "--follow"]);
    other.until("caught_up");
    window.until("Ctrl-R");
    window.press("\u{12}");
    let (code, seen) = other.wait();
    assert_eq!((code, &find(&seen, "error")["code"]), (Some(1), &"displaced".into()));
    bob.ok(&["send", "alice", "here-again"]);
    window.until("here-again");
    window.leave();
}

#[test]
fn of_two_chats_on_one_home_the_later_one_receives_until_it_ends() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut first = alice.start(&["chat", "bob"]);
    bob.ok(&["send", "alice", "to the first"]);
    assert_eq!(first.until("message")["text"], "to the first");
    let mut second = alice.start(&["chat", "bob"]);
    assert_eq!(first.until("notice")["code"], "displaced");
    for number in 0..3 {
        bob.ok(&["send", "alice", &format!("to the second {number}")]);
        assert_eq!(second.until("message")["text"], format!("to the second {number}"));
    }
    second.close_stdin();
    let (code, seen) = second.wait();
    assert_eq!(code, Some(0));
    assert!(all(&seen, "notice").is_empty(), "it was not displaced in turn: {seen:?}");
    assert_eq!(first.until("notice")["code"], "receiving-again");
    bob.ok(&["send", "alice", "to the first again"]);
    assert_eq!(first.until("message")["text"], "to the first again");
    first.close_stdin();
    assert_eq!(first.wait().0, Some(0));
}

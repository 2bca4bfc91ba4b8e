//! The full-screen chat in a pseudo-terminal: two windows and a relay.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

#[path = "support/window.rs"]
mod window;

use support::{Home, Relay, alice_and_bob, texts};
use window::Window;

fn chat(home: &Home, who: &str) -> Window {
    Window::open(home.typed(&["chat", who]), 80)
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

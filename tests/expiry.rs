//! Day 31: what was not fetched is gone, and the recipient is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use support::{Relay, alice_and_bob, all, eventually, find, texts};

const DAY: u64 = 24 * 60 * 60;

#[test]
fn on_day_31_undelivered_ciphertext_is_gone_and_the_recipient_is_told() {
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let before = relay.files();
    for text in ["one", "two", "three"] {
        alice.ok(&["send", "bob", text]);
    }
    let pieces = relay.pieces(&before);
    assert_eq!(relay.left(&pieces), pieces.len(), "the search finds what waits");
    relay.stop();

    // Day 29: everything is still there.
    relay.start_again(&["--clock-offset", &(29 * DAY).to_string(), "--trust-clock"]);
    assert_eq!(relay.waiting(), 3);
    relay.stop();

    relay.start_again(&["--clock-offset", &(31 * DAY).to_string(), "--trust-clock"]);
    eventually("expired envelopes are deleted", || relay.waiting() == 0);
    eventually("their bytes are gone from all files", || relay.left(&pieces) == 0);
    let received = bob.ok(&["receive"]);
    assert_eq!(find(&received, "expired")["count"], 3);
    assert!(texts(&received).is_empty());
    assert!(all(&bob.ok(&["receive"]), "expired").is_empty(), "said once");

    // The conversation goes on.
    alice.ok(&["send", "bob", "four"]);
    assert_eq!(bob.receive(), ["four"]);
}

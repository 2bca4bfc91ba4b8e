//! No room on a disk, at the client and at the relay: a clear error, nothing lost, and it goes on when there is room again.
//!
//! The programs run under a limit on the size of files, which every system can set: a write beyond it fails as on a full disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use support::{Relay, acquainted, alice_and_bob, find, texts};

/// No page of a database fits.
const NOTHING: u64 = 512;

/// Small writes fit, a long text does not.
const LITTLE: u64 = 64 * 1024;

/// What the relay writes at its start fits, and then a few long texts.
const SOME: u64 = 256 * 1024;

fn long(number: usize) -> String {
    format!("{number} {}", "x".repeat(60 * 1024))
}

/// The first characters, for what a failed assertion prints.
fn heads(texts: &[String]) -> Vec<&str> {
    texts.iter().map(|text| &text[..text.len().min(20)]).collect()
}

#[test]
fn at_the_sender_nothing_is_half_done() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    alice.ok(&["send", "bob", "before"]);
    for (limit, text) in [(NOTHING, "short".to_owned()), (LITTLE, long(0))] {
        let failed = alice.within(limit, &["send", "bob", &text]).fails_with("disk-full");
        let message = find(&failed, "error")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("make room"), "{message}");
    }
    let history = alice.ok(&["history", "bob"]);
    assert_eq!(texts(&history), ["before"], "what was refused is not in the store");
    alice.ok(&["send", "bob", &long(1)]);
    assert_eq!(heads(&bob.receive()), heads(&["before".to_owned(), long(1)]));
}

#[test]
fn at_the_recipient_mail_stays_at_the_relay() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let sent: Vec<String> = (0..4).map(long).collect();
    for text in &sent {
        alice.ok(&["send", "bob", text]);
    }
    for limit in [NOTHING, LITTLE] {
        let failed = bob.within(limit, &["receive"]).fails_with("disk-full");
        assert!(texts(&failed).is_empty(), "nothing is shown that is not stored");
        assert_eq!(relay.waiting(), 4, "nothing was acknowledged that is not stored");
    }
    assert_eq!(heads(&bob.receive()), heads(&sent));
    assert!(bob.receive().is_empty());
}

#[test]
fn at_the_relay_texts_stay_queued_and_come_in_order() {
    let mut relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    relay.stop();
    relay.start_within(SOME);
    let mut refused = 0;
    let sent: Vec<String> = (0..12).map(long).collect();
    for text in &sent {
        let done = alice.run(&["send", "bob", text]);
        if done.code != Some(0) {
            done.fails_with("relay-unavailable");
            refused += 1;
        }
    }
    assert!(refused > 0, "the relay took {} KiB", sent.len() * 60);
    assert_eq!(find(&alice.ok(&["whoami"]), "whoami")["queued"], refused);
    // Killed while it was full, and started where there is room.
    relay.start_again(&[]);
    alice.ok(&["receive"]);
    assert_eq!(find(&alice.ok(&["whoami"]), "whoami")["queued"], 0);
    assert_eq!(heads(&bob.receive()), heads(&sent));
}

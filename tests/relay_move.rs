//! A relay that moves to another address with its key and its data, and homes that are told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use support::{Home, Relay, acquainted, find, texts};

/// Under the name that it has on this machine.
fn by_name(address: &str) -> String {
    address.replace("127.0.0.1", "localhost")
}

#[test]
fn a_home_follows_its_relay_and_keeps_account_contacts_and_history() {
    let mut relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    alice.ok(&["send", "bob", "before"]);
    let account = find(&alice.ok(&["whoami"]), "whoami")["account"].clone();
    let before = relay.address.clone();
    relay.start_elsewhere();
    assert_ne!(relay.address, before);

    // Another relay, or another relay's key for this address: nothing changes.
    let other = Relay::start();
    alice.run(&["relay", "move", &other.address]).fails_with("relay-fingerprint");
    let (host, _) = other.address.split_once('#').unwrap();
    let (_, fingerprint) = before.split_once('#').unwrap();
    alice.run(&["relay", "move", &format!("{host}#{fingerprint}")]).fails_with("relay-fingerprint");
    alice.run(&["relay", "move", "kuvert://nowhere"]).fails_with("relay-url-invalid");
    assert_eq!(find(&alice.ok(&["whoami"]), "whoami")["relay"], before.as_str());

    // Told by its address, by a host's name, and by a contact's invite link.
    let moved = alice.ok(&["relay", "move", &by_name(&relay.address)]);
    assert_eq!(find(&moved, "relay_moved")["before"], before.as_str());
    assert_eq!(find(&alice.ok(&["whoami"]), "whoami")["relay"], by_name(&relay.address).as_str());
    let link = find(&alice.ok(&["invite"]), "invite")["link"].as_str().unwrap().to_owned();
    assert!(link.starts_with("kuvert://localhost:"), "{link}");
    bob.ok(&["relay", "move", &link]);
    alice.ok(&["send", "bob", "after"]);
    assert_eq!(bob.receive(), ["before", "after"]);
    assert!(texts(&alice.ok(&["history", "bob"])).ends_with(&["before".to_owned(), "after".to_owned()]));
    assert_eq!(find(&alice.ok(&["whoami"]), "whoami")["account"], account);
    // The relay's own commands are where they were, and a new home can be told a host's name.
    let carol = Home::empty();
    carol.ok(&["register", "--relay", &by_name(&relay.address), "--name", "carol"]);
    assert_eq!(alice.run(&["relay", "move"]).code, Some(2));
}

#[test]
fn a_follower_takes_the_new_address_that_another_process_was_told() {
    let mut relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let mut following = bob.start(&["receive", "--follow"]);
    following.until("caught_up");
    relay.start_elsewhere();
    for home in [&alice, &bob] {
        home.ok(&["relay", "move", &relay.address]);
    }
    alice.ok(&["send", "bob", "found you"]);
    assert_eq!(following.until("message")["text"], "found you");
    following.interrupt();
    assert_eq!(following.wait().0, Some(0));
}

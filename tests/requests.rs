//! Message requests with the real programs: what comes of an account that wrote first and is no contact, until it is accepted or
//! blocked; and that a name which moved to another account is not followed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use support::{Home, Relay, all, find, texts};

fn account(home: &Home) -> String {
    find(&home.ok(&["whoami"]), "whoami")["account"].as_str().unwrap().to_owned()
}

/// The states of what a home sent to one other.
fn states(home: &Home, who: &str) -> Vec<Value> {
    let history = home.ok(&["history", who]);
    history.iter().filter(|message| message["direction"] == "out").map(|message| message["state"].clone()).collect()
}

/// Alice, and a stranger who has written to her.
fn alice_and_stranger(relay: &Relay) -> (Home, Home) {
    let (alice, stranger) = (Home::registered(relay, "alice"), Home::registered(relay, "stranger"));
    stranger.ok(&["contact", "add", "alice"]);
    stranger.ok(&["send", "alice", "You do not know me."]);
    (alice, stranger)
}

#[test]
fn a_request_is_told_apart_gets_no_receipt_and_no_answer_until_it_is_accepted() {
    let relay = Relay::start();
    let (alice, stranger) = alice_and_stranger(&relay);
    let id = account(&stranger);
    let alias = &id[..8];

    let received = alice.ok(&["receive"]);
    let request = find(&received, "request");
    assert_eq!((&request["alias"], &request["account"]), (&alias.into(), &id.as_str().into()));
    let message = find(&received, "message");
    assert_eq!((&message["text"], &message["request"]), (&"You do not know me.".into(), &true.into()));
    // Never by a name that the relay gives it.
    assert_eq!((&message["from"], &message["account"]), (&alias.into(), &id.as_str().into()));
    let requests = alice.ok(&["contact", "requests"]);
    assert_eq!(all(&requests, "contact").len(), 1);
    let listed = find(&requests, "contact");
    assert_eq!((&listed["account"], &listed["request"]), (&id.as_str().into(), &true.into()));
    assert!(alice.ok(&["contact", "list"]).is_empty(), "a request is no contact");

    // No receipt, neither at once nor with a later command: nothing waits, and the stranger learns nothing.
    alice.ok(&["receive"]);
    assert_eq!(relay.waiting(), 0);
    assert!(all(&stranger.ok(&["receive"]), "receipt").is_empty());
    assert_eq!(states(&stranger, "alice"), ["accepted"]);

    // No answer, by whatever it is called.
    for who in [alias, &id] {
        alice.run(&["send", who, "Who are you?"]).fails_with("request-pending");
        alice.run(&["send", who, "Who are you?", "--offline"]).fails_with("request-pending");
    }
    alice.run(&["send", "stranger", "Who are you?"]).fails_with("contact-unknown");
    assert_eq!(find(&alice.ok(&["whoami"]), "whoami")["queued"], 0);
    assert_eq!(relay.waiting(), 0);

    // Accepted, it is a contact like others.
    let accepted = alice.ok(&["contact", "accept", alias, "--as", "friend"]);
    let accepted = find(&accepted, "contact");
    assert_eq!((&accepted["alias"], &accepted["account"]), (&"friend".into(), &id.as_str().into()));
    assert_eq!((&accepted["request"], &accepted["verified"]), (&false.into(), &false.into()));
    assert!(alice.ok(&["contact", "requests"]).is_empty());
    alice.ok(&["receive"]);
    let receipts = stranger.ok(&["receive"]);
    assert!(all(&receipts, "receipt").iter().any(|receipt| receipt["kind"] == "delivered"), "{receipts:?}");
    assert_eq!(states(&stranger, "alice"), ["delivered"]);
    alice.ok(&["send", "friend", "Now I do."]);
    assert_eq!(stranger.receive(), ["Now I do."]);
    stranger.ok(&["send", "alice", "Hello again."]);
    let received = alice.ok(&["receive"]);
    let message = find(&received, "message");
    assert_eq!((&message["from"], &message["request"]), (&"friend".into(), &false.into()));
    assert!(all(&received, "request").is_empty());
    alice.ok(&["receive"]);
    stranger.ok(&["receive"]);
    assert_eq!(states(&stranger, "alice"), ["delivered", "read"]);
}

#[test]
fn adding_the_account_that_wrote_accepts_its_request() {
    let relay = Relay::start();
    for by in ["name", "account", "link"] {
        let (alice, bob) =
            (Home::registered(&relay, &format!("alice-{by}")), Home::registered(&relay, &format!("bob-{by}")));
        bob.ok(&["contact", "add", &format!("alice-{by}"), "--as", "alice"]);
        bob.ok(&["send", "alice", "hello"]);
        assert_eq!(alice.receive(), ["hello"]);
        let who = match by {
            "name" => format!("bob-{by}"),
            "account" => account(&bob),
            _ => find(&bob.ok(&["invite"]), "invite")["link"].as_str().unwrap().to_owned(),
        };
        let added = alice.ok(&["contact", "add", &who, "--as", "bob"]);
        let added = find(&added, "contact");
        assert_eq!((&added["request"], &added["verified"]), (&false.into(), &(by == "link").into()), "{by}");
        assert!(alice.ok(&["contact", "requests"]).is_empty(), "{by}");
        alice.ok(&["receive"]);
        bob.ok(&["receive"]);
        assert_eq!(states(&bob, "alice"), ["delivered"], "{by}");
    }
}

#[test]
fn a_request_that_is_blocked_at_the_relay_is_dropped_there() {
    let relay = Relay::start();
    let (alice, stranger) = alice_and_stranger(&relay);
    let (own, id) = (account(&alice), account(&stranger));
    alice.ok(&["receive"]);
    let held = |relay: &Relay| {
        let inspected = relay.inspect();
        all(&inspected, "account").into_iter().find(|held| held["account"] == own.as_str()).unwrap()["blocked"].clone()
    };
    // Here alone: the relay learns nothing.
    let blocked = alice.ok(&["contact", "block", &id[..8]]);
    assert_eq!(find(&blocked, "contact")["blocked"], true);
    assert_eq!(held(&relay), serde_json::json!([]));
    alice.ok(&["contact", "block", &id[..8], "--at-relay"]);
    assert_eq!(held(&relay), serde_json::json!([id]));
    // The stranger is not told, and nothing waits for Alice.
    stranger.ok(&["send", "alice", "Why do you not answer?"]);
    assert_eq!(relay.waiting(), 0);
    assert!(alice.receive().is_empty());
    assert_eq!(states(&stranger, "alice"), ["accepted", "accepted"]);

    alice.ok(&["contact", "block", "--unblock", &id[..8]]);
    assert_eq!(held(&relay), serde_json::json!([]));
    stranger.ok(&["send", "alice", "And now?"]);
    assert_eq!(alice.receive(), ["And now?"], "a request still");
    alice.run(&["send", &id[..8], "No."]).fails_with("request-pending");
}

#[test]
fn a_name_that_moved_to_another_account_is_not_followed() {
    let relay = Relay::start();
    let (alice, bob) = (Home::registered(&relay, "alice"), Home::empty());
    bob.ok(&["register", "--relay", &relay.address]);
    let id = account(&bob);
    let link = find(&bob.ok(&["invite"]), "invite")["link"].as_str().unwrap().to_owned();
    // Bob has no name when Alice adds him: her alias is the beginning of his account.
    let alias = find(&alice.ok(&["contact", "add", &link]), "contact")["alias"].as_str().unwrap().to_owned();
    assert_eq!(alias, id[..8]);
    bob.ok(&["contact", "add", "alice"]);
    bob.ok(&["account", "correct", "--name", "bob"]);
    alice.ok(&["send", &alias, "hello"]);
    assert_eq!(bob.receive(), ["hello"]);
    // He goes by another, and Mallory takes the one that he gave up, and writes.
    bob.ok(&["account", "correct", "--name", "bobby"]);
    let mallory = Home::registered(&relay, "bob");
    mallory.ok(&["contact", "add", "alice"]);
    mallory.ok(&["send", "alice", "It is me, Bob."]);
    let received = alice.ok(&["receive"]);
    let message = find(&received, "message");
    assert_eq!((&message["request"], &message["from"]), (&true.into(), &account(&mallory)[..8].into()));

    // Neither name is one that Alice gave to anybody.
    for name in ["bob", "bobby"] {
        alice.run(&["send", name, "for Bob alone"]).fails_with("contact-unknown");
    }
    alice.ok(&["send", &alias, "by alias"]);
    alice.ok(&["send", &id, "by account"]);
    assert_eq!(bob.receive(), ["by alias", "by account"]);
    assert!(mallory.receive().is_empty());
}

#[test]
fn an_account_id_means_that_account_and_is_no_name() {
    let relay = Relay::start();
    let (alice, bob, mallory) = (Home::registered(&relay, "alice"), Home::registered(&relay, "bob"), Home::empty());
    let id = account(&bob);
    let register = ["register", "--relay", &relay.address, "--name", &id];
    // An id that begins with a digit is no name for that reason already; either way it is none.
    mallory.run(&register).fails_with("name-invalid");
    mallory.ok(&["register", "--relay", &relay.address]);
    mallory.run(&["account", "correct", "--name", &id]).fails_with("name-invalid");
    mallory.ok(&["contact", "add", "alice"]);
    mallory.run(&["contact", "add", "alice", "--as", &id]).fails_with("alias-invalid");
    mallory.ok(&["send", "alice", "hi"]);
    alice.ok(&["receive"]);
    alice.run(&["send", &id, "for Bob alone"]).fails_with("contact-unknown");
    let added = alice.ok(&["contact", "add", &id]);
    assert_eq!(find(&added, "contact")["account"], id.as_str());
    alice.ok(&["send", &id, "for Bob alone"]);
    assert_eq!(texts(&bob.ok(&["receive"])), ["for Bob alone"]);
    assert!(mallory.receive().is_empty());
}

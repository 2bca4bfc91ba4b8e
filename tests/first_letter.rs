//! The whole way of a letter, with real processes: register, invite, write while the other is away, read, answer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use support::{Home, Relay, alice_and_bob, all, eventually, find, texts};

#[test]
fn a_letter_waits_is_read_and_answered() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let whoami = find(&bob.ok(&["whoami"]), "whoami").clone();

    // Written while Bob is away.
    let before = relay.files();
    let sent = alice.ok(&["send", "bob", "Dear Bob, the key is under the flowerpot."]);
    let accepted = find(&sent, "accepted");
    assert_eq!(accepted["to"], "bob");
    let inspected = relay.inspect();
    let summary = find(&inspected, "relay");
    assert_eq!((&summary["accounts"], &summary["devices"], &summary["waiting"]), (&2.into(), &2.into(), &1.into()));
    let waiting = find(&inspected, "waiting");
    assert_eq!(waiting["id"], accepted["id"]);
    assert!(waiting["recipient"].as_str().unwrap().starts_with(whoami["account"].as_str().unwrap()), "{waiting}");
    let own = find(&alice.ok(&["whoami"]), "whoami")["account"].as_str().unwrap().to_owned();
    assert!(waiting["sender"].as_str().unwrap().starts_with(&own), "{waiting}");
    assert_eq!(waiting["size"], summary["waiting_bytes"]);
    let kept = waiting["expires_at"].as_u64().unwrap() - waiting["accepted_at"].as_u64().unwrap();
    assert_eq!(kept, 30 * 24 * 60 * 60 * 1000);
    let pieces = relay.pieces(&before);
    assert!(pieces.len() > 100 && relay.left(&pieces) == pieces.len(), "the search finds what is there");
    assert!(!relay.holds(b"flowerpot"));

    // Bob comes, reads, and it is gone.
    let received = bob.ok(&["receive"]);
    let message = find(&received, "message");
    assert_eq!(message["id"], accepted["id"]);
    assert_eq!(message["from"], "alice");
    assert_eq!(message["account"], own.as_str());
    assert_eq!(message["text"], "Dear Bob, the key is under the flowerpot.");
    assert!(message["sent_at"].as_u64().unwrap() <= message["received_at"].as_u64().unwrap());
    assert!(all(&relay.inspect(), "waiting").iter().all(|waiting| waiting["id"] != accepted["id"]));
    eventually("the ciphertext is gone from all files", || relay.left(&pieces) == 0);
    assert!(texts(&bob.ok(&["receive"])).is_empty(), "shown once");

    // Bob answers; Alice learns that he has read hers, and reads his.
    bob.ok(&["send", "alice", "Will do!"]);
    let received = alice.ok(&["receive"]);
    assert_eq!(texts(&received), ["Will do!"]);
    let receipts: Vec<&Value> =
        all(&received, "receipt").into_iter().filter(|receipt| receipt["id"] == accepted["id"]).collect();
    assert!(receipts.iter().any(|receipt| receipt["kind"] == "read" && receipt["from"] == "bob"), "{received:?}");
    bob.ok(&["receive"]);
    eventually("nothing waits", || relay.waiting() == 0);

    // History on both sides, and a search in it.
    let history = alice.ok(&["history", "bob"]);
    assert_eq!(texts(&history), ["Dear Bob, the key is under the flowerpot.", "Will do!"]);
    let states: Vec<&Value> = history.iter().map(|message| &message["state"]).collect();
    assert_eq!(states, [&Value::from("read"), &Value::Null]);
    assert_eq!(texts(&bob.ok(&["history", "alice", "--search", "FLOWER"])).len(), 1);
    assert!(bob.ok(&["history", "alice", "--search", "nothing like it"]).is_empty());
    assert_eq!(texts(&bob.ok(&["history", "alice", "--last", "1"])), ["Will do!"]);
}

#[test]
fn both_see_the_same_safety_number() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let number = |home: &Home, who| find(&home.ok(&["safety-number", who]), "safety_number").clone();
    let (ours, theirs) = (number(&alice, "bob"), number(&bob, "alice"));
    assert_eq!(ours["digits"], theirs["digits"]);
    assert_eq!(ours["digits"].as_str().unwrap().len(), 60);
    assert_eq!((&ours["verified"], &theirs["verified"]), (&true.into(), &false.into()));
    assert_eq!(find(&bob.ok(&["contact", "verify", "alice"]), "contact")["verified"], true);
    assert_eq!(number(&bob, "alice")["verified"], true);
    let carol = Home::registered(&relay, "carol");
    carol.ok(&["contact", "add", "alice"]);
    assert_ne!(number(&carol, "alice")["digits"], ours["digits"]);
}

#[test]
fn a_queue_survives_and_is_sent_by_the_next_command_that_reaches_the_relay() {
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    relay.stop();
    let queued = find(&alice.ok(&["send", "bob", "--offline", "one"]), "queued").clone();
    assert_eq!(queued["to"], "bob");
    // Without --offline it fails and says so, and the text is not lost.
    let failed = alice.run(&["send", "bob", "two"]).fails_with("relay-unreachable");
    assert!(find(&failed, "queued")["id"].is_string());
    assert_eq!(find(&alice.ok(&["whoami"]), "whoami")["queued"], 2);
    relay.start_again(&[]);
    let sent = alice.ok(&["receive"]);
    let accepted = all(&sent, "accepted");
    assert_eq!(accepted.len(), 2, "{sent:?}");
    assert_eq!(accepted[0]["id"], queued["id"], "the id stays");
    assert_eq!(bob.receive(), ["one", "two"]);
}

#[test]
fn stdin_is_a_text_or_many() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    alice.feed(&["send", "bob", "-"], "several\nlines\n".as_bytes()).ok();
    let sent = alice.feed(&["send", "bob", "--lines"], "first\nsecond\n\nthird".as_bytes()).ok();
    assert_eq!(all(&sent, "accepted").len(), 3);
    let chatted = alice.feed(&["chat", "bob"], "fourth\nfifth\n".as_bytes()).ok();
    assert_eq!(all(&chatted, "accepted").len(), 2);
    assert_eq!(bob.receive(), ["several\nlines", "first", "second", "third", "fourth", "fifth"]);
}

#[test]
fn a_request_becomes_an_unverified_contact_and_can_be_blocked() {
    let relay = Relay::start();
    let alice = Home::registered(&relay, "alice");
    let bob = Home::registered(&relay, "bob");
    alice.ok(&["contact", "add", "bob", "--as", "Robert"]);
    alice.ok(&["send", "Robert", "hello"]);
    assert_eq!(bob.receive(), ["hello"]);
    assert!(bob.ok(&["contact", "list"]).is_empty());
    // Adding the account that wrote accepts its request.
    bob.ok(&["contact", "add", "alice"]);
    let contact = find(&bob.ok(&["contact", "list"]), "contact").clone();
    assert_eq!((&contact["alias"], &contact["verified"]), (&"alice".into(), &false.into()));
    assert_eq!(contact["request"], false);
    assert_eq!(find(&bob.ok(&["contact", "block", "alice"]), "contact")["blocked"], true);
    alice.ok(&["send", "Robert", "are you there?"]);
    assert!(bob.receive().is_empty());
    bob.run(&["send", "alice", "no"]).fails_with("contact-blocked");
    assert_eq!(find(&bob.ok(&["contact", "block", "--unblock", "alice"]), "contact")["blocked"], false);
    alice.ok(&["send", "Robert", "and now?"]);
    assert_eq!(bob.receive(), ["and now?"]);
}

#[test]
fn following_shows_messages_as_they_come() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut following = bob.start(&["receive", "--follow", "--max", "2"]);
    following.until("caught_up");
    alice.ok(&["send", "bob", "one"]);
    assert_eq!(following.until("message")["text"], "one");
    alice.ok(&["send", "bob", "two"]);
    let (code, seen) = following.wait();
    assert_eq!(code, Some(0));
    assert_eq!(texts(&seen), ["one", "two"]);
    // A timeout is no failure.
    assert!(texts(&bob.ok(&["receive", "--follow", "--timeout", "5"])).is_empty());
    // Without --follow it waits for something to come.
    let mut waiting = bob.start(&["receive", "--timeout", "50"]);
    alice.ok(&["send", "bob", "three"]);
    assert_eq!(waiting.until("message")["text"], "three");
    assert_eq!(waiting.wait().0, Some(0));
}

#[test]
fn words_for_people_are_harmless_and_say_what_to_do() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    alice.ok(&["send", "bob", "\u{1b}[2Jboo\u{7}\rhidden\u{9b}31m"]);
    let output =
        std::process::Command::new(support::kuvert()).arg("--home").arg(bob.path()).arg("receive").output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("alice: ␛[2Jboo␇␍hidden"), "{shown:?}");
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    let output = std::process::Command::new(support::kuvert())
        .arg("--home")
        .arg(Home::empty().path())
        .arg("whoami")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("kuvert register --relay"), "{said}");
}

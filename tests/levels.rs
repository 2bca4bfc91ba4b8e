//! The levels of disclosure, with real processes: what the relay records at L2, and what `kuvert disclosure` says about it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kuvert_relay_lens::observe::{Observed, Record};
use support::{Home, Relay, alice_and_bob, find, texts};

fn submitted(relay: &Relay) -> Vec<Observed> {
    let record = Record::open(&relay.data().join("observe.db")).unwrap();
    record.newest(10_000).unwrap().into_iter().filter(|event| event.kind == "submitted").collect()
}

#[test]
fn at_l2_the_relay_records_no_sender_after_the_first_exchange() {
    let mut relay = Relay::start_lens(&["--observe"]);
    let (alice, bob) = alice_and_bob(&relay);
    for home in [&alice, &bob] {
        assert_eq!(find(&home.ok(&["whoami"]), "whoami")["level"], "L1");
        assert_eq!(find(&home.ok(&["--level", "L2", "whoami"]), "whoami")["level"], "L2");
    }
    // The first exchange tells each the other's access key.
    alice.ok(&["send", "bob", "Who I am."]);
    assert_eq!(texts(&bob.ok(&["receive"])), ["Who I am."]);
    alice.ok(&["receive"]);
    bob.ok(&["receive"]);
    let first = alice.ok(&["send", "bob", "And now without my name."]);
    let second = bob.ok(&["send", "alice", "Nor mine."]);
    assert_eq!(texts(&bob.ok(&["receive"])), ["And now without my name."]);
    assert_eq!(texts(&alice.ok(&["receive"])), ["Nor mine."]);
    relay.stop();

    let submitted = submitted(&relay);
    assert_eq!(find(&first, "accepted")["sealed"], true);
    let id = |sent: &[serde_json::Value]| find(sent, "accepted")["id"].as_str().unwrap().to_owned();
    for sent in [&first, &second] {
        let event = submitted.iter().find(|event| event.envelope.as_deref() == Some(&id(sent))).unwrap();
        assert_eq!((&event.source, &event.device), (&None, &None), "{event:?}");
    }
    assert!(submitted[0].source.is_some(), "the first message named its sender");
}

#[test]
fn disclosure_says_what_the_level_is_about() {
    let relay = Relay::start();
    let home = Home::empty();
    home.ok(&["--level", "l2", "register", "--relay", &relay.address, "--name", "alice"]);
    let told = |home: &Home, arguments: &[&str]| {
        let printed = home.ok(arguments);
        let disclosure = find(&printed, "disclosure").clone();
        let relay = |item: &str| {
            let items = disclosure["items"].as_array().unwrap();
            let found = items.iter().find(|found| found["item"] == item).unwrap();
            assert!(!found["why"].as_str().unwrap().is_empty());
            found["relay"].as_str().unwrap().to_owned()
        };
        let level = disclosure["level"].as_str().unwrap().to_owned();
        let receipts = disclosure["receipts"].as_str().unwrap().to_owned();
        (level, receipts, relay("sender"), relay("name"), relay("address-book"), relay("ip-address"))
    };
    let expect = |level: &str, receipts: &str, sender: &str| {
        let word = str::to_owned;
        (word(level), word(receipts), word(sender), word("yes"), word("no"), word("yes"))
    };
    assert_eq!(told(&home, &["disclosure"]), expect("L2", "now", "partly"));
    assert_eq!(told(&home, &["disclosure", "--level", "L1"]), expect("L1", "now", "yes"));
    assert_eq!(told(&home, &["disclosure", "--level", "L3"]), expect("L3", "late", "partly"));
    assert_eq!(told(&home, &["disclosure", "--receipts", "off"]), expect("L3", "off", "partly"));
    assert_eq!(told(&home, &["disclosure"]), expect("L3", "off", "partly"), "kept");
}

//! The levels of disclosure, with real processes: what the relay records at L2, and what `kuvert disclosure` says about it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kuvert_privacy::registry::{self, Level, Place};
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

/// Where a field is stored: its place, its table, its column.
type Column = (Place, &'static str, &'static str);

/// Items of `kuvert disclosure`, and the fields of the registry that they are about.
const ITEMS: [(&str, &[Column]); 7] = [
    ("number", &[(Place::Database, "account", "phone"), (Place::People, "phone", "number")]),
    ("address-book", &[(Place::People, "address_book", "phone")]),
    ("device-details", &[(Place::People, "device_details", "model")]),
    ("permissions", &[(Place::People, "simulated_detail", "what")]),
    ("account", &[(Place::Database, "account", "id")]),
    ("recipient", &[(Place::Database, "envelope", "mailbox")]),
    ("time", &[(Place::Database, "envelope", "accepted_at")]),
];

#[test]
fn what_disclosure_says_is_known_is_what_the_registry_says_can_be() {
    let relay = Relay::start_lens(&[]);
    let plain = Home::empty();
    plain.ok(&["register", "--relay", &relay.address]);
    let relay_has = |home: &Home, level: &str, item: &str| {
        let printed = home.ok(&["--level", level, "disclosure"]);
        let items = find(&printed, "disclosure")["items"].as_array().unwrap().clone();
        items.iter().find(|found| found["item"] == item).unwrap()["relay"].as_str().unwrap().to_owned()
    };
    for level in [Level::L0, Level::L1, Level::L2, Level::L3] {
        for (item, fields) in ITEMS {
            let stored = fields.iter().any(|(place, table, column)| {
                let field = registry::find(*place, table, column);
                field.unwrap_or_else(|| panic!("{table}.{column}")).levels.contains(&level)
            });
            let told = relay_has(&plain, level.words(), item);
            assert_eq!(told != "no", stored, "{item} at {}: {told}", level.words());
        }
    }
    // A number that was given at registration is there, whatever the level, until it is taken back.
    let given = Home::empty();
    given.ok(&["register", "--relay", &relay.address, "--phone", "+4915550000009"]);
    assert_eq!(relay_has(&given, "L1", "number"), "yes");
    assert!(relay.holds(b"+4915550000009"));
    given.ok(&["account", "correct", "--no-phone"]);
    assert_eq!(relay_has(&given, "L3", "number"), "no");
    given.ok(&["account", "correct", "--phone", "+4915550000009"]);
    assert_eq!(relay_has(&given, "L3", "number"), "yes");
    // At L0 it is told as all else is, and taken back with it.
    given.ok(&["--level", "L0", "receive"]);
    given.ok(&["--level", "L1", "receive"]);
    assert_eq!(relay_has(&given, "L1", "number"), "no");
}

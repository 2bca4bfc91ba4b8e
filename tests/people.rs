//! Level L0 with the real programs: a number verified by a code from the relay's log, an address book with people who were
//! never asked, and all of it gone from the relay's files at L1.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use support::{Home, Relay, find};

const ALICE: &str = "+4915550000001";
const BOB: &str = "+4915550000002";
const CARLA: &str = "+4915550000003";
const DORA: &str = "+4915550000004";

fn registered_at(relay: &Relay, name: &str, level: &str) -> Home {
    let home = Home::empty();
    home.ok(&["--level", level, "register", "--relay", &relay.address, "--name", name]);
    home
}

/// The code that the relay wrote last into its log, as its operator reads it.
fn code_in(log: &str) -> String {
    let after = log.rsplit("phone_code=").next().expect("a code stands in the log");
    after.chars().filter(|c| *c != '"').take_while(char::is_ascii_digit).collect()
}

fn verify(home: &Home, relay: &Relay, number: &str) {
    home.ok(&["account", "phone", number]);
    let code = code_in(&relay.log());
    assert_eq!(code.len(), 6, "{}", relay.log());
    let verified = home.ok(&["account", "verify", &code]);
    assert_eq!(find(&verified, "phone_verified")["phone"], number);
}

#[test]
fn what_l0_tells_is_there_and_gone_at_l1() {
    let relay = Relay::start_lens(&[]);
    let (alice, bob) = (registered_at(&relay, "alice", "L0"), registered_at(&relay, "bob", "L0"));
    alice.run(&["account", "verify", "000000"]).fails_with("phone-code-wrong");
    verify(&alice, &relay, ALICE);
    verify(&bob, &relay, BOB);
    // The log holds the codes and the last two digits of the numbers, as the registry says, and no more of them.
    let log = relay.log();
    assert!(log.contains("number_ends=\"01\"") && !log.contains(&ALICE[..8]), "{log}");

    let book = alice.path().join("people.csv");
    let people = format!("phone,name,birthday\n{BOB},Bob,\n{CARLA},Carla Canary,1990-02-03\n{DORA},Dora Canary,\n");
    fs::write(&book, people).unwrap();
    let uploaded = alice.ok(&["account", "upload", "--address-book", book.to_str().unwrap()]);
    let account = |home: &Home| find(&home.ok(&["whoami"]), "whoami")["account"].clone();
    assert_eq!(find(&uploaded, "address_book_match")["account"], account(&bob));
    let counts = find(&uploaded, "address_book");
    assert_eq!((&counts["people"], &counts["without_account"]), (&3.into(), &2.into()));
    let typed = alice.typed(&["account", "upload", "--address-book", book.to_str().unwrap()]).output().unwrap();
    let words = String::from_utf8(typed.stdout).unwrap();
    assert!(words.contains("2 people without an account are now known to the relay: they were not asked"), "{words}");

    let picture = alice.path().join("picture");
    fs::write(&picture, b"a picture of alice").unwrap();
    alice.ok(&["account", "profile", "--display-name", "Alice Canary", "--email", "canary@example.org", "--public"]);
    let own = alice.ok(&["account", "profile", "--picture", picture.to_str().unwrap(), "--clear", "email"]);
    let own = find(&own, "profile");
    assert_eq!((&own["display_name"], &own["phone"]), (&"Alice Canary".into(), &ALICE.into()));
    assert!(own["email"].is_null() && own["display_name_at"].is_u64());
    bob.ok(&["contact", "add", "alice"]);
    let shown = bob.ok(&["account", "show", "alice"]);
    let shown = find(&shown, "profile");
    assert_eq!((&shown["display_name"], &shown["picture_bytes"]), (&"Alice Canary".into(), &18.into()));
    assert!(shown["phone"].is_null() && shown["display_name_at"].is_null());

    // All of that is what the relay knows.
    let inspected = relay.inspect();
    let summary = &find(&inspected, "relay")["people"];
    assert_eq!((&summary["phones"], &summary["shadows"]), (&2.into(), &2.into()));
    let shadows: Vec<_> =
        inspected.iter().filter(|line| line["type"] == "person" && line["account"].is_null()).collect();
    assert_eq!(shadows.len(), 2);
    assert_eq!((&shadows[0]["name"], &shadows[0]["birthday"]), (&"Carla Canary".into(), &"1990-02-03".into()));
    assert!(inspected.iter().any(|line| line["type"] == "device_details" && line["app_version"].is_string()));

    // Down the ladder.
    alice.ok(&["--level", "L1", "receive"]);
    for gone in [ALICE, CARLA, DORA, "Canary", "a picture of alice"] {
        assert!(!relay.holds(gone.as_bytes()), "{gone} is left at the relay");
    }
    let inspected = relay.inspect();
    assert!(inspected.iter().all(|line| line["type"] != "person"), "{inspected:?}");
    assert!(relay.holds(BOB.as_bytes()), "what Bob told is still there");
    alice.run(&["account", "phone", ALICE]).fails_with("level-too-high");
    alice.run(&["account", "upload", "--address-book", book.to_str().unwrap()]).fails_with("level-too-high");
}

#[test]
fn an_address_book_that_cannot_be_used_names_its_line() {
    let relay = Relay::start_lens(&[]);
    let alice = registered_at(&relay, "alice", "L0");
    let book = alice.path().join("people.csv");
    fs::write(&book, format!("phone,name\n{CARLA},Carla\n030 1234,Dora\n")).unwrap();
    let failed = alice.run(&["account", "upload", "--address-book", book.to_str().unwrap()]);
    let failed = failed.fails_with("address-book-invalid");
    assert!(find(&failed, "error")["message"].as_str().unwrap().contains("line 3"), "{failed:?}");
    assert!(!relay.holds(CARLA.as_bytes()), "nothing was uploaded");
    alice.run(&["account", "upload", "--address-book", "no such file"]).fails_with("io");
    let typo = alice.run(&["account", "profile", "--email", "nobody"]);
    typo.fails_with("profile-invalid");
}

//! How a home stands, said by the real program: with a relay, without one, and without disturbing what receives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Home, Relay, acquainted, find};

fn status(home: &Home, arguments: &[&str]) -> Value {
    find(&home.ok(&[&["status"][..], arguments].concat()), "status").clone()
}

#[test]
fn it_counts_what_waits_and_says_what_to_do_next() {
    let relay = Relay::start();
    let alice = Home::registered(&relay, "alice");
    let first = status(&alice, &[]);
    assert_eq!((&first["reachable"], &first["next"]), (&true.into(), &"add-contact".into()), "{first}");
    let host = relay.address.trim_start_matches("kuvert://").split('#').next().unwrap();
    assert_eq!((&first["relay"], &first["name"]), (&host.into(), &"alice".into()), "without the fingerprint");
    assert!(first["answer_ms"].is_u64() && first["clock_ahead_ms"].as_i64().unwrap().abs() < 60_000, "{first}");
    assert_eq!((&first["queued"], &first["unread"], &first["requests"]), (&0.into(), &0.into(), &0.into()));

    let stranger = Home::registered(&relay, "unheard-of");
    stranger.ok(&["contact", "add", "alice"]);
    stranger.ok(&["send", "alice", "You do not know me."]);
    let waits = status(&alice, &[]);
    assert_eq!((&waits["waiting"], &waits["unread"]), (&1.into(), &0.into()), "nothing is fetched: {waits}");
    assert_eq!(relay.waiting(), 1, "nor acknowledged");
    alice.ok(&["receive"]);
    let asked = status(&alice, &[]);
    assert_eq!((&asked["requests"], &asked["next"]), (&1.into(), &"requests".into()));
    let alias = find(&alice.ok(&["contact", "requests"]), "contact")["alias"].as_str().unwrap().to_owned();
    alice.ok(&["contact", "accept", &alias, "--as", "wellknown"]);
    alice.ok(&["send", "wellknown", "later", "--offline"]);
    let queued = status(&alice, &[]);
    assert_eq!((&queued["queued"], &queued["next"]), (&1.into(), &"send".into()));
    assert_eq!(status(&alice, &[])["queued"], 1, "it sends nothing");
    assert!(!queued.to_string().contains("wellknown"), "{queued}");
    alice.ok(&["receive", "--max", "0"]);
    assert_eq!(status(&alice, &[])["next"], "nothing");

    let words = String::from_utf8(alice.typed(&["status"]).output().unwrap().stdout).unwrap();
    for word in ["answers after", "agrees with the relay's", "nothing to do", env!("CARGO_PKG_VERSION")] {
        assert!(words.contains(word), "{word}: {words}");
    }
}

#[test]
fn a_relay_that_is_away_is_an_answer() {
    let mut relay = Relay::start();
    let (alice, _) = acquainted(&relay);
    relay.kill();
    alice.ok(&["send", "bob", "later", "--offline"]);
    let begun = Instant::now();
    let away = status(&alice, &[]);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!((&away["reachable"], &away["answer_ms"]), (&false.into(), &Value::Null), "{away}");
    assert!(away["relay_error"].is_string(), "{away}");
    assert_eq!((&away["queued"], &away["next"]), (&1.into(), &"wait".into()));
    let unasked = status(&alice, &["--offline"]);
    assert_eq!((&unasked["reachable"], &unasked["relay_error"]), (&Value::Null, &Value::Null));
    assert_eq!((&unasked["queued"], &unasked["next"]), (&1.into(), &"send".into()));
}

#[test]
fn what_receives_goes_on() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let mut receiving = alice.start(&["receive", "--follow"]);
    receiving.until("caught_up");
    assert_eq!(status(&alice, &[])["reachable"], true);
    bob.ok(&["send", "alice", "still there?"]);
    assert_eq!(receiving.until("message")["text"], "still there?");
    assert!(!receiving.has_ended());
}

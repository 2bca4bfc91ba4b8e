//! What the relay must not know stands nowhere in it: not in its files, not in its log at the highest level, not in its
//! memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use support::{Relay, alice_and_bob, contains, find, memory, texts};

/// Longer than any other text, so that nothing finds it by chance.
const CANARY: &str = "canary-in-the-text-3f9c1a7be2";
const ALIAS: &str = "canary-in-the-alias-81d04c6e55";
const CONTROL: &str = "control-known-to-the-relay";

/// Everything that must not be found, by name.
struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    fn of(read_receipt_for: &str) -> Self {
        let mut secrets = Vec::new();
        for (name, text) in [("text", CANARY), ("alias", ALIAS)] {
            secrets.push((name, text.as_bytes().to_vec()));
            let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            secrets.push((name, hex.into_bytes()));
            secrets.push((name, text.encode_utf16().flat_map(u16::to_le_bytes).collect()));
        }
        // A read receipt names a message that the relay knows as an envelope. What it must not see is that this envelope
        // was *read*: field 2 of `Receipts`, 16 bytes, that message.
        let id: kuvert_types::EnvelopeId = read_receipt_for.parse().unwrap();
        secrets.push(("read receipt", [&[0x12, 16], id.as_bytes().as_slice()].concat()));
        Self(secrets)
    }

    fn assert_absent(&self, place: &str, bytes: &[u8]) {
        for (name, needle) in &self.0 {
            assert!(!contains(bytes, needle), "the {name} stands in {place}");
        }
    }
}

#[test]
fn a_canary_is_nowhere_in_the_relay() {
    let relay = Relay::start_lens(&["-vv", "--observe"]);
    let (alice, bob) = alice_and_bob(&relay);
    let control = support::Home::registered(&relay, CONTROL);
    alice.ok(&["contact", "add", "bob", "--as", ALIAS]);

    // While it waits.
    let sent = alice.ok(&["send", ALIAS, CANARY]);
    let id = find(&sent, "accepted")["id"].as_str().unwrap().to_owned();
    let secrets = Secrets::of(&id);
    let check = |moment: &str| {
        let mut control_found = false;
        for (path, bytes) in relay.files() {
            secrets.assert_absent(&format!("{} {moment}", path.display()), &bytes);
            control_found |= contains(&bytes, CONTROL.as_bytes());
        }
        assert!(control_found, "the search finds what the relay knows");
        secrets.assert_absent("the log", relay.log().as_bytes());
        if cfg!(target_os = "linux") {
            // The path of the data directory stands in its memory for sure: it is an argument.
            let (path, mut control_found) = (relay.data(), false);
            memory(relay.pid(), |place, bytes| {
                secrets.assert_absent(&format!("its memory {moment}: {place}"), bytes);
                control_found |= contains(bytes, path.as_os_str().as_encoded_bytes());
            });
            assert!(control_found, "the search of its memory finds what is there");
        }
    };
    check("while the letter waits");

    // Delivered and read; the read receipt waits for Alice.
    assert_eq!(texts(&bob.ok(&["receive"])), [CANARY]);
    assert!(relay.waiting() > 0, "the receipt waits");
    check("while the receipt waits");
    let received = alice.ok(&["receive"]);
    assert!(received.iter().any(|object| object["type"] == "receipt" && object["kind"] == "read"), "{received:?}");

    // Answered, while both are connected.
    let mut following = alice.start(&["receive", "--follow"]);
    following.until("caught_up");
    bob.ok(&["send", "alice", &format!("{CANARY} back")]);
    assert_eq!(following.until("message")["text"], format!("{CANARY} back"));
    check("while Alice is connected");
    following.interrupt();
    following.wait();
    control.ok(&["receive"]);
    check("at the end");
    assert!(relay.log().len() > 1000, "the log was on");
    // Nor does the log hold what the relay does know: names, accounts, addresses.
    // (The relay's own address is in the line that says what it serves.)
    let log = relay.log().lines().filter(|line| !line.contains("serving")).collect::<Vec<_>>().join("\n");
    let account = find(&alice.ok(&["whoami"]), "whoami")["account"].as_str().unwrap().to_owned();
    for known in [CONTROL, "alice", &account, "127.0.0.1", &id] {
        assert!(!log.contains(known), "{known} stands in the log");
    }
}

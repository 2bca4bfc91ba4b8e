//! Renaming and removing contacts with the real programs: what goes, what stays, and what the account can still do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use support::{Home, Relay, acquainted, all, find, texts};

fn account(home: &Home) -> String {
    find(&home.ok(&["whoami"]), "whoami")["account"].as_str().unwrap().to_owned()
}

#[test]
fn a_contact_is_called_otherwise() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let carol = Home::registered(&relay, "carol");
    alice.ok(&["contact", "add", "carol"]);
    let renamed = alice.ok(&["contact", "rename", "bob", "Bob from work"]);
    assert_eq!(find(&renamed, "contact")["alias"], "Bob from work");
    assert_eq!(find(&renamed, "contact")["verified"], true);
    alice.ok(&["send", "bob from work", "hello"]);
    assert_eq!(bob.receive(), ["hello"]);
    alice.run(&["contact", "rename", "bob", "CAROL"]).fails_with("alias-taken");
    alice.run(&["contact", "rename", "bob", &account(&carol)]).fails_with("alias-invalid");
    alice.run(&["contact", "rename", "dave", "d"]).fails_with("contact-unknown");
    // A request is renamed, and stays one.
    carol.ok(&["contact", "add", "bob"]);
    carol.ok(&["send", "bob", "hi"]);
    bob.ok(&["receive"]);
    let request = bob.ok(&["contact", "rename", &account(&carol), "stranger"]);
    assert_eq!(find(&request, "contact")["request"], true);
    bob.run(&["send", "stranger", "hi"]).fails_with("request-pending");
}

#[test]
fn what_a_removed_contact_writes_is_a_request_again_and_its_messages_stay() {
    for level in ["L1", "L2"] {
        let relay = Relay::start();
        let (alice, bob) = acquainted(&relay);
        for home in [&alice, &bob] {
            home.ok(&["--level", level, "receive"]);
        }
        let id = account(&bob);
        let before = texts(&alice.ok(&["history", "bob"]));
        let removed = alice.ok(&["contact", "remove", "bob"]);
        let removed = find(&removed, "contact_removed");
        assert_eq!((&removed["alias"], &removed["kept"]), (&"bob".into(), &2.into()), "{removed}");
        assert_eq!((&removed["deleted"], &removed["given_up"]), (&0.into(), &0.into()));
        assert!(alice.ok(&["contact", "list"]).is_empty() && alice.ok(&["contact", "requests"]).is_empty());
        alice.run(&["send", "bob", "hi"]).fails_with("contact-unknown");
        alice.run(&["history", "bob"]).fails_with("contact-unknown");
        assert_eq!(texts(&alice.ok(&["history", &id])), before);
        assert_eq!(all(&alice.ok(&["search", "evening"]), "message").len(), 2);

        // A tick is no request. Alice's flush tells the relay her new access key.
        bob.ok(&["receive"]);
        assert!(all(&alice.ok(&["receive"]), "request").is_empty());
        bob.ok(&["send", "alice", "me again"]);
        let received = alice.ok(&["receive"]);
        assert_eq!(find(&received, "request")["account"], id.as_str(), "{level}");
        let message = find(&received, "message");
        assert_eq!((&message["text"], &message["request"]), (&"me again".into(), &true.into()));
        assert_eq!(message["from"], id[..8]);
        let accepted = alice.ok(&["contact", "accept", &id, "--as", "bob"]);
        assert_eq!(find(&accepted, "contact")["verified"], false, "nothing is left of that");
        alice.ok(&["send", "bob", "welcome back"]);
        assert_eq!(bob.receive(), ["welcome back"]);
        assert_eq!(texts(&alice.ok(&["history", "bob"])).len(), before.len() + 2);
    }
}

#[test]
fn what_waits_keeps_a_contact_unless_it_is_given_up_and_history_goes_on_demand() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let id = account(&bob);
    alice.ok(&["send", "bob", "never sent", "--offline"]);
    alice.run(&["contact", "remove", "bob"]).fails_with("texts-waiting");
    assert_eq!(all(&alice.ok(&["contact", "list"]), "contact").len(), 1, "nothing was removed");
    let removed = alice.ok(&["contact", "remove", "bob", "--force"]);
    assert_eq!(find(&removed, "contact_removed")["given_up"], 1);
    let history = alice.ok(&["history", &id]);
    assert_eq!(history.last().unwrap()["state"], "failed");
    assert_eq!(find(&alice.ok(&["whoami"]), "whoami")["queued"], 0);
    alice.ok(&["receive"]);
    assert_eq!(relay.waiting(), 0);

    // Added anew, and removed with everything.
    alice.ok(&["contact", "add", "bob"]);
    alice.ok(&["contact", "block", "bob"]);
    alice.run(&["contact", "remove", "bob"]).fails_with("contact-blocked");
    alice.ok(&["contact", "block", "bob", "--unblock"]);
    let removed = alice.ok(&["contact", "remove", "bob", "--history"]);
    assert_eq!(
        (&find(&removed, "contact_removed")["deleted"], &find(&removed, "contact_removed")["kept"]),
        (&3.into(), &0.into())
    );
    alice.run(&["history", &id]).fails_with("contact-unknown");
    assert!(alice.ok(&["search", "e"]).is_empty());
}

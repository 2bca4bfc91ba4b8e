//! Two people, one relay: what a conversation needs.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::common::{World, fetch, fetch_on, messages, named, now, numbers, say, texts, within};
use kuvert_client::{
    AccountId, Client, Direction, Event, MessageState, Options, Profile, ReceiptKind, ReceiveEnd, ReceiveOptions,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_first_message_waits_for_bob_and_his_answer_comes_back() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_a_stranger().await;
    let connection = alice.connect().await.unwrap();
    let accepted = connection.send_text(named(&alice, "bob").await, "Guten Tag").await.unwrap();
    assert_eq!(alice.message_state(&accepted.message).await.unwrap(), Some(MessageState::Accepted));
    assert_eq!(world.waiting().await, 1);

    let events = fetch(&bob).await;
    assert_eq!(texts(&events), ["Guten Tag"]);
    let message = messages(&events)[0];
    let alices = alice.whoami().await.unwrap().address.account;
    assert_eq!((message.message.id, message.request), (accepted.message.id, true));
    assert!(matches!(&events[0], Event::Request(contact) if contact.account == alices && contact.request));
    // Not the relay's word, but the account's own id.
    assert_eq!(message.alias, alices.to_string()[..8]);
    assert!(fetch(&alice).await.iter().all(|event| *event == Event::CaughtUp), "no answer to a stranger");
    assert_eq!(bob.queue_text(named(&bob, &message.alias).await, "?").await.unwrap_err().code(), "request-pending");
    assert_eq!(
        bob.contacts()
            .accept_request(named(&bob, &message.alias).await, Some("alice"))
            .await
            .map(|contact| contact.request),
        Ok(false)
    );
    say(&bob, "alice", "Selber guten Tag").await;
    assert!(texts(&fetch(&bob).await).is_empty(), "shown once");

    let events = fetch(&alice).await;
    assert_eq!(texts(&events), ["Selber guten Tag"]);
    let is_receipt = |event: &Event| matches!(event, Event::Receipt { message, kind: ReceiptKind::Delivered, .. } if *message == accepted.message);
    assert!(events.iter().any(is_receipt), "{events:?}");
    assert_eq!(alice.message_state(&accepted.message).await.unwrap(), Some(MessageState::Delivered));

    let history = alice.history(named(&alice, "bob").await, None).await.unwrap();
    let sides: Vec<_> = history.iter().map(|m| (m.direction, m.text.as_str())).collect();
    assert_eq!(sides, [(Direction::Outgoing, "Guten Tag"), (Direction::Incoming, "Selber guten Tag")]);
    assert_eq!(alice.history(named(&alice, "bob").await, Some("SELBER")).await.unwrap().len(), 1);
    // Alice's receipt for the answer is all that may wait.
    fetch(&bob).await;
    fetch(&alice).await;
    assert_eq!(world.waiting().await, 0);
    let (ours, theirs) = (
        alice.contacts().safety_number(named(&alice, "bob").await).await.unwrap(),
        bob.contacts().safety_number(named(&bob, "alice").await).await.unwrap(),
    );
    assert_eq!(ours.digits, theirs.digits);
}

/// Sends in order and receives at the same time on one connection, until it has read everything from the other side.
async fn chat(client: Client, other: &'static str, ours: Vec<String>, theirs: Vec<String>) {
    let connection = client.connect().await.unwrap();
    let sending = async {
        for text in &ours {
            connection.send_text(named(&client, other).await, text).await.unwrap();
        }
    };
    let mut read = Vec::new();
    let follow = ReceiveOptions { follow: true, max: Some(theirs.len() as u64), ..ReceiveOptions::default() };
    let receiving = connection.receive(follow, |event| {
        if let Event::Message(message) = event {
            now(client.mark_read(&[message.message])).unwrap();
            read.push(message.text);
        }
        ControlFlow::Continue(())
    });
    let ((), end) = tokio::join!(sending, receiving);
    assert_eq!(end.unwrap(), ReceiveEnd::Max);
    assert_eq!(read, theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_each_way_at_the_same_time_come_in_order() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let connection = bob.connect().await.unwrap();
    connection.add_contact("alice", None).await.unwrap();
    let (from_alice, from_bob) = (numbers("a", 200), numbers("b", 200));
    within(async {
        let one = tokio::spawn(chat(alice.clone(), "bob", from_alice.clone(), from_bob.clone()));
        let two = tokio::spawn(chat(bob.clone(), "alice", from_bob, from_alice));
        one.await.unwrap();
        two.await.unwrap();
    })
    .await;
    fetch(&alice).await;
    fetch(&bob).await;
    fetch(&alice).await;
    for (client, other) in [(&alice, "bob"), (&bob, "alice")] {
        let history = client.history(named(client, other).await, None).await.unwrap();
        assert_eq!(history.len(), 400);
        let undelivered: Vec<_> = history
            .iter()
            .filter(|m| m.direction == Direction::Outgoing && m.state != MessageState::Read)
            .map(|m| (&m.text, &m.state))
            .collect();
        assert!(undelivered.is_empty(), "{undelivered:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_survives_and_is_sent_by_whoever_reaches_the_relay_next() {
    let mut world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    world.stop_relay().await;
    let impatient = Options { connect_timeout: Duration::from_millis(300), ..world.options() };
    let offline = Client::open(&world.home("alice"), impatient).await.unwrap();
    let error = offline.connect().await.unwrap_err();
    assert_eq!(error.code(), "relay-unreachable");
    assert!(error.to_string().contains(&world.url.host_port()), "{error}");
    for text in ["one", "two", "three"] {
        alice.queue_text(named(&alice, "bob").await, text).await.unwrap();
    }
    drop((alice, offline));
    world.start_relay().await;
    let alice = world.open("alice").await;
    assert_eq!(alice.whoami().await.unwrap().queued, 3);
    let queued: Vec<_> = alice.queued().await.unwrap().into_iter().map(|m| m.text).collect();
    assert_eq!(queued, ["one", "two", "three"]);
    // Receiving reaches the relay, too.
    fetch(&alice).await;
    assert_eq!(texts(&fetch(&bob).await), ["one", "two", "three"]);
    assert_eq!(alice.whoami().await.unwrap().queued, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_restarts_in_the_middle_loses_nothing() {
    let mut world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let expected = numbers("m", 30);
    let (saw, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let receiver = {
        let bob = bob.clone();
        tokio::spawn(async move {
            let connection = bob.connect().await.unwrap();
            let follow = ReceiveOptions { follow: true, max: Some(30), ..ReceiveOptions::default() };
            let mut texts = Vec::new();
            let end = connection.receive(follow, |event| {
                match &event {
                    Event::Message(message) => {
                        now(bob.mark_shown(&[message.message])).unwrap();
                        texts.push(message.text.clone());
                    }
                    Event::CaughtUp | Event::Disconnected { .. } | Event::Reconnected => drop(saw.send(event)),
                    _ => {}
                }
                ControlFlow::Continue(())
            });
            end.await.unwrap();
            texts
        })
    };
    within(async {
        for round in 0..3 {
            for text in &expected[round * 10..(round + 1) * 10] {
                say(&alice, "bob", text).await;
            }
            if round < 2 {
                world.stop_relay().await;
                while !matches!(seen.recv().await.unwrap(), Event::Disconnected { .. }) {}
                world.start_relay().await;
                while !matches!(seen.recv().await.unwrap(), Event::Reconnected) {}
            }
        }
        assert_eq!(receiver.await.unwrap(), expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maximum_and_a_dropped_call_leave_the_rest_for_the_next() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    for text in numbers("m", 10) {
        alice.queue_text(named(&alice, "bob").await, &text).await.unwrap();
    }
    fetch(&alice).await;
    let connection = bob.connect().await.unwrap();
    let at_most = |max| ReceiveOptions { max: Some(max), ..ReceiveOptions::default() };
    let (events, end) = fetch_on(&bob, &connection, at_most(3)).await;
    assert_eq!((texts(&events), end), (vec!["m 0", "m 1", "m 2"], ReceiveEnd::Max));
    let (events, end) = fetch_on(&bob, &connection, at_most(4)).await;
    assert_eq!((texts(&events), end), (vec!["m 3", "m 4", "m 5", "m 6"], ReceiveEnd::Max));
    // Told to stop after one, which is not marked.
    let mut seen = Vec::new();
    let stopped = connection.receive(ReceiveOptions::default(), |event| {
        if let Event::Message(message) = event {
            seen.push(message.text);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    assert_eq!(within(stopped).await.unwrap(), ReceiveEnd::Stopped);
    assert_eq!(seen, ["m 7"]);
    let (events, end) = fetch_on(&bob, &connection, ReceiveOptions::default()).await;
    assert_eq!((texts(&events), end), (vec!["m 7", "m 8", "m 9"], ReceiveEnd::CaughtUp));
    // Dropped at ever later moments: whatever happened, the rest comes.
    let all = numbers("n", 40);
    for text in &all {
        alice.queue_text(named(&alice, "bob").await, text).await.unwrap();
    }
    fetch(&alice).await;
    let mut shown = Vec::new();
    for patience in [0, 1, 2, 4, 8, 16, 32, 64] {
        let work = connection.receive(ReceiveOptions::default(), |event| {
            if let Event::Message(message) = event {
                now(bob.mark_shown(&[message.message])).unwrap();
                shown.push(message.text);
            }
            ControlFlow::Continue(())
        });
        // The time limit is the point: a future that is dropped wherever it stands.
        let _ = tokio::time::timeout(Duration::from_millis(patience), work).await;
    }
    let (events, _) = fetch_on(&bob, &connection, ReceiveOptions::default()).await;
    shown.extend(texts(&events).into_iter().map(str::to_owned));
    assert_eq!(shown, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_call_on_a_connection_fetches_what_came_since_the_first() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let connection = bob.connect().await.unwrap();
    fetch_on(&bob, &connection, ReceiveOptions::default()).await;
    // On the relay's disk when it begins, perhaps still on its way: the call that ended before it may have been told
    // "nothing is left".
    for round in 0..20 {
        let sent = numbers(&format!("round {round}:"), 5);
        for text in &sent {
            alice.queue_text(named(&alice, "bob").await, text).await.unwrap();
        }
        fetch(&alice).await;
        let (events, end) = fetch_on(&bob, &connection, ReceiveOptions::default()).await;
        assert_eq!((texts(&events), end), (sent.iter().map(String::as_str).collect(), ReceiveEnd::CaughtUp));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_mail_is_told_once() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    alice.queue_text(named(&alice, "bob").await, "too late").await.unwrap();
    alice.queue_text(named(&alice, "bob").await, "too late, too").await.unwrap();
    fetch(&alice).await;
    world.relay_clock.advance(Duration::from_secs(31 * 24 * 60 * 60));
    world.relay().expire().await.unwrap();
    let events = fetch(&bob).await;
    assert!(events.contains(&Event::Expired { count: 2 }), "{events:?}");
    assert!(texts(&events).is_empty());
    assert!(!fetch(&bob).await.iter().any(|event| matches!(event, Event::Expired { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn prekeys_are_filled_up_and_rotated_and_old_ones_still_open_mail() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let address = bob.whoami().await.unwrap().address;
    let store = std::sync::Arc::clone(world.relay().store());
    let before = store.take_bundle(address).await.unwrap();
    let full = store.count_prekeys(address).await.unwrap();
    assert_eq!((full.one_time, full.one_time_kem), (99, 99));
    let mut ids = vec![before.one_time.unwrap().id];
    for _ in 0..80 {
        ids.push(store.take_bundle(address).await.unwrap().one_time.unwrap().id);
    }
    fetch(&bob).await;
    let full = store.count_prekeys(address).await.unwrap();
    assert_eq!((full.one_time, full.one_time_kem), (100, 100));

    // Sealed to the old prekeys, read after the rotation.
    say(&alice, "bob", "to the old keys").await;
    world.clock.advance(Duration::from_secs(8 * 24 * 60 * 60));
    let connection = bob.connect().await.unwrap();
    connection.flush(|_| {}).await.unwrap();
    let after = store.take_bundle(address).await.unwrap();
    assert!(after.signed.id > before.signed.id);
    ids.push(after.one_time.unwrap().id);
    assert!(ids.is_sorted_by(|a, b| a < b), "no number comes back: {ids:?}");
    assert_eq!(texts(&fetch(&bob).await), ["to the old keys"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_jump_change_stamps_and_nothing_else() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    say(&alice, "bob", "today").await;
    world.clock.advance(Duration::from_secs(400 * 24 * 60 * 60));
    say(&alice, "bob", "next year").await;
    assert_eq!(texts(&fetch(&bob).await), ["today", "next year"]);
    world.clock.set_back(Duration::from_secs(800 * 24 * 60 * 60));
    say(&bob, "alice", "last year").await;
    say(&alice, "bob", "and back").await;
    assert_eq!(texts(&fetch(&alice).await), ["last year"]);
    assert_eq!(texts(&fetch(&bob).await), ["and back"]);
    let order: Vec<_> =
        bob.history(named(&bob, "alice").await, None).await.unwrap().into_iter().map(|m| m.text).collect();
    assert_eq!(order, ["today", "next year", "last year", "and back"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_refused_with_its_code() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let to = named(&alice, "bob").await;
    let code = |text: &str| now(alice.queue_text(to, text)).map(|_| ()).unwrap_err().code();
    assert_eq!(code(""), "text-empty");
    assert_eq!(code(" \n"), "text-empty");
    assert_eq!(code(&"x".repeat(64 * 1024 + 1)), "text-too-long");
    for (who, code) in [("carol", "contact-unknown"), ("alice", "own-address")] {
        assert_eq!(alice.contacts().find(who).await.unwrap_err().code(), code);
    }
    for (account, code) in [
        (AccountId::from_bytes([9; 16]), "contact-unknown"),
        (alice.whoami().await.unwrap().address.account, "own-address"),
    ] {
        assert_eq!(alice.queue_text(account, "x").await.unwrap_err().code(), code);
    }
    let connection = alice.connect().await.unwrap();
    let mut refused = Vec::new();
    for who in ["nobody", "No Name", "alice", "kuvert://broken", &alice.invite().await.unwrap().to_string()] {
        refused.push(connection.add_contact(who, None).await.unwrap_err().code());
    }
    assert_eq!(refused, ["unknown-recipient", "name-invalid", "own-address", "link-invalid", "own-address"]);
    let mut elsewhere = bob.invite().await.unwrap();
    elsewhere.relay.fingerprint = [1; 32];
    let error = connection.add_contact(&elsewhere.to_string(), None).await.unwrap_err();
    assert_eq!(error.code(), "link-other-relay");

    let long = "ü".repeat(32 * 1024);
    connection.send_text(named(&alice, "bob").await, &long).await.unwrap();
    assert_eq!(texts(&fetch(&bob).await), [long]);
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_names_what_is_wrong() {
    let world = World::new().await;
    world.register("alice").await;
    let register = async |home: &str, name: Option<&str>, phone: Option<&str>| {
        let profile = Profile { name: name.map(str::to_owned), phone: phone.map(str::to_owned), invitation: None };
        let result = Client::register(&world.home(home), world.url.clone(), profile, world.options()).await;
        result.map(|client| now(client.whoami()).unwrap().name).map_err(|error| error.code())
    };
    assert_eq!(register("alice", None, None).await, Err("already-registered"));
    assert_eq!(register("second", Some("Alice"), None).await, Err("name-invalid"));
    assert_eq!(register("second", None, Some("030123")).await, Err("phone-invalid"));
    assert_eq!(register("second", Some("alice"), None).await, Err("name-taken"));
    assert_eq!(Client::open(&world.home("second"), world.options()).await.unwrap_err().code(), "not-registered");
    // The same home tries again, with the keys that it drew before.
    assert_eq!(register("second", Some("alice2"), Some("+4930123456")).await, Ok(Some("alice2".to_owned())));
    let mut other = world.url.clone();
    other.fingerprint = [7; 32];
    let profile = Profile::default();
    let error = Client::register(&world.home("third"), other, profile, world.options()).await.unwrap_err();
    assert_eq!(error.code(), "relay-fingerprint");
    assert!(error.to_string().contains(&world.url.fingerprint_text()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_contacts_are_dropped_unseen_and_heard_again_later() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    say(&alice, "bob", "heard").await;
    fetch(&bob).await;
    bob.contacts().set_blocked(named(&bob, "alice").await, true).await.unwrap();
    say(&alice, "bob", "dropped").await;
    let events = fetch(&bob).await;
    assert!(events.iter().all(|event| *event == Event::CaughtUp), "{events:?}");
    assert_eq!(bob.queue_text(named(&bob, "alice").await, "x").await.unwrap_err().code(), "contact-blocked");
    assert_eq!(world.waiting().await, 1, "the read receipt of the first, none for the second");
    bob.contacts().set_blocked(named(&bob, "alice").await, false).await.unwrap();
    say(&alice, "bob", "heard again").await;
    assert_eq!(texts(&fetch(&bob).await), ["heard again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_carries_the_time_of_writing_however_late_it_is_fetched() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    // In the queue for a day, at the relay for another.
    alice.queue_text(named(&alice, "bob").await, "slow").await.unwrap();
    let written = alice.history(named(&alice, "bob").await, None).await.unwrap()[0].sent_at;
    world.clock.advance(DAY);
    say(&alice, "bob", "later").await;
    world.clock.advance(DAY);
    let events = fetch(&bob).await;
    let [slow, later] = messages(&events)[..] else { panic!("{events:?}") };
    assert_eq!((slow.text.as_str(), slow.sent_at, slow.written_at()), ("slow", written, written));
    assert!(slow.stored_at >= written + 2 * 86_400_000 && later.written_at() >= written + 86_400_000);
    // A sender's clock that is ahead is not believed; one that is behind changes no order.
    world.clock.advance(DAY);
    say(&alice, "bob", "ahead").await;
    world.clock.set_back(3 * DAY);
    say(&alice, "bob", "behind").await;
    fetch(&bob).await;
    let history = bob.history(named(&bob, "alice").await, None).await.unwrap();
    let order: Vec<_> = history.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(order, ["slow", "later", "ahead", "behind"]);
    assert!(history[2].sent_at > history[2].stored_at + 86_400_000 * 2);
    assert_eq!(history[2].written_at(), history[2].stored_at);
    assert_eq!(history[3].written_at(), history[3].sent_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_what_a_person_takes_for_the_same_and_a_text_can_be_seen() {
    let world = World::new().await;
    let (alice, _bob) = world.alice_and_bob().await;
    for text in ["Große Straße", "İstanbul", "cafe\u{301}", "caf\u{e9}", "ΟΔΟΣ", "zero\u{200b}width"] {
        alice.queue_text(named(&alice, "BOB").await, text).await.unwrap();
    }
    let to = named(&alice, "bob").await;
    let found = |search: &str| now(alice.history(to, Some(search))).unwrap().len();
    for (search, count) in [
        ("STRASSE", 1),
        ("istanbul", 1),
        ("CAFE\u{301}", 2),
        ("οδοσ", 1),
        ("cafe", 0),
        ("zerowidth", 1),
        ("\u{200b}", 1),
    ] {
        assert_eq!(found(search), count, "{search:?}");
    }
    for text in ["", " \n", "\u{200b}", "\u{2060}\u{3164}", "\u{2800}"] {
        assert_eq!(
            alice.queue_text(named(&alice, "bob").await, text).await.unwrap_err().code(),
            "text-empty",
            "{text:?}"
        );
    }
}

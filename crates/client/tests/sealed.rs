//! Levels L2 and L3: mail without its sender's name, and receipts that come late.

use std::sync::Arc;
use std::time::Duration;

use crate::common::lying::LyingStore;
use crate::common::{World, add, address, fetch, named, now, numbers, refusals, say, texts};
use kuvert_client::{Address, Client, DropReason, EnvelopeId, Level, MessageState, Options, Receipts, Seen};
use kuvert_protocol::{AccountSecret, DeviceSecrets, LocalDevice, sealed_sender};
use kuvert_relay::store::NewEnvelope;
use kuvert_relay_lens::observe::Observed;

/// Alice and Bob have told each other their access keys: from here on both write without a name.
async fn acquainted(alice: &Client, bob: &Client) {
    for client in [alice, bob] {
        client.set_level(Level::L2).await.unwrap();
    }
    say(alice, "bob", "who I am").await;
    fetch(bob).await;
    fetch(alice).await;
    fetch(bob).await;
}

async fn liars() -> (Arc<LyingStore>, World, Client, Client) {
    let store = LyingStore::new();
    let world = World::on(Arc::clone(&store) as _).await;
    let (alice, bob) = world.alice_and_bob().await;
    acquainted(&alice, &bob).await;
    (store, world, alice, bob)
}

/// The newest envelope for a device, as it was submitted.
fn newest(store: &LyingStore, to: &Client) -> NewEnvelope {
    let to = now(address(to));
    store.seen.lock().unwrap().iter().rfind(|(recipient, _)| *recipient == to).unwrap().1.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_first_exchange_no_envelope_and_no_connection_names_its_sender() {
    let mut world = World::observed().await;
    let (alice, bob) = world.alice_and_bob().await;
    acquainted(&alice, &bob).await;
    let first = world.observations().await.len();
    for text in numbers("hello", 3) {
        say(&alice, "bob", &text).await;
    }
    assert_eq!(texts(&fetch(&bob).await), numbers("hello", 3));
    say(&bob, "alice", "and you").await;
    assert_eq!(texts(&fetch(&alice).await), ["and you"]);
    let events = world.observations().await;
    let named: Vec<_> =
        events.iter().filter(|event| event.kind == "authenticated").map(|event| event.connection).collect();
    let submitted: Vec<&Observed> = events[first..].iter().filter(|event| event.kind == "submitted").collect();
    // Three texts and their receipts, one text and its receipt.
    assert!(submitted.len() >= 6, "{submitted:?}");
    let port = |connection: Option<u32>| {
        let opened = events.iter().find(|event| event.kind == "connected" && event.connection == connection);
        opened.unwrap().port.unwrap()
    };
    for event in submitted {
        assert_eq!((&event.device, &event.source), (&None, &None), "{event:?}");
        assert!(!named.contains(&event.connection), "{event:?}");
        // [KV-085] A socket of its own: the named connection of the same sitting, which is still open, has another port.
        let sitting = events.iter().rev().find(|other| other.kind == "authenticated" && other.id < event.id).unwrap();
        assert_ne!(port(event.connection), port(sitting.connection), "{event:?}");
    }
    let asked = events[first..].iter().filter(|event| ["looked_up", "bundle_taken"].contains(&event.kind.as_str()));
    assert_eq!(asked.count(), 0, "nobody asks for the other under his own name");
    world.stop_relay().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_whose_key_is_not_known_gets_named_mail() {
    let (store, world, alice, bob) = liars().await;
    let carol = world.register("carol").await;
    let connection = alice.connect().await.unwrap();
    connection.add_contact("carol", None).await.unwrap();
    add(&carol, "alice").await;
    // Carol stays at L1: she takes no sealed mail, and is written to by name.
    for _ in 0..2 {
        say(&alice, "carol", "hello").await;
        assert_eq!(newest(&store, &carol).source, Some(address(&alice).await));
        assert_eq!(texts(&fetch(&carol).await), ["hello"]);
        assert_eq!(newest(&store, &alice).source, Some(address(&carol).await), "at L1 one says who one is");
        fetch(&alice).await;
    }
    say(&alice, "bob", "sealed").await;
    assert_eq!(newest(&store, &bob).source, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_33_a_blocked_contact_is_shut_out_and_others_fall_back_once_and_learn_the_new_key() {
    let (store, world, alice, bob) = liars().await;
    let mallory = world.register("mallory").await;
    let connection = mallory.connect().await.unwrap();
    connection.add_contact("bob", None).await.unwrap();
    mallory.set_level(Level::L2).await.unwrap();
    add(&bob, "mallory").await;
    say(&mallory, "bob", "hello").await;
    fetch(&bob).await;
    fetch(&mallory).await;
    say(&mallory, "bob", "sealed").await;
    assert_eq!(newest(&store, &bob).source, None);
    fetch(&bob).await;

    bob.contacts().set_blocked(named(&bob, "mallory").await, true).await.unwrap();
    fetch(&bob).await;
    let before = store.seen.lock().unwrap().len();
    say(&mallory, "bob", "flood").await;
    let after = store.seen.lock().unwrap()[before..].to_vec();
    assert!(after.iter().all(|(_, envelope)| envelope.source == Some(now(address(&mallory)))), "only under her name");
    assert!(texts(&fetch(&bob).await).is_empty());

    // Alice's key is refused, too: her text goes under her name once, Bob's answer tells the new key.
    let connection = alice.connect().await.unwrap();
    let sent = connection.send_text(named(&alice, "bob").await, "still there?").await.unwrap();
    assert!(!sent.anonymous, "she is told that her name was");
    let text = sent.message;
    assert_eq!(newest(&store, &bob).source, Some(address(&alice).await));
    assert_eq!(texts(&fetch(&bob).await), ["still there?"]);
    fetch(&alice).await;
    assert_eq!(alice.message_state(&text).await.unwrap(), Some(MessageState::Read));
    for text in numbers("again", 3) {
        alice.queue_text(named(&alice, "bob").await, &text).await.unwrap();
    }
    fetch(&alice).await;
    assert_eq!(newest(&store, &bob).source, None);
    assert_eq!(texts(&fetch(&bob).await), numbers("again", 3));
    let connection = alice.connect().await.unwrap();
    assert!(connection.send_text(named(&alice, "bob").await, "once more").await.unwrap().anonymous);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_behind_a_refused_one_keep_their_order() {
    let (store, _world, alice, bob) = liars().await;
    // Bob goes back: he takes no sealed mail any more.
    bob.set_level(Level::L1).await.unwrap();
    fetch(&bob).await;
    for text in numbers("text", 5) {
        alice.queue_text(named(&alice, "bob").await, &text).await.unwrap();
    }
    fetch(&alice).await;
    assert_eq!(newest(&store, &bob).source, Some(address(&alice).await));
    assert_eq!(texts(&fetch(&bob).await), numbers("text", 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_33_a_relay_that_names_moves_or_changes_what_is_sealed_opens_nothing() {
    let (store, world, alice, bob) = liars().await;
    let carol = world.register("carol").await;
    carol.set_level(Level::L2).await.unwrap();
    say(&alice, "bob", "sealed").await;
    let sealed = newest(&store, &bob);
    assert_eq!(sealed.source, None);
    let id = |n: u8| EnvelopeId::from_bytes([n; 16]);
    let mut flipped = sealed.ciphertext.to_vec();
    flipped[100] ^= 1;
    for envelope in [
        NewEnvelope { id: id(1), source: Some(address(&alice).await), ..sealed.clone() },
        NewEnvelope { id: id(2), ciphertext: flipped.into(), ..sealed.clone() },
        NewEnvelope { id: id(3), ciphertext: sealed.ciphertext.slice(..400), ..sealed.clone() },
    ] {
        store.inject(address(&bob).await, envelope).await;
    }
    store.inject(address(&carol).await, NewEnvelope { id: id(4), ..sealed.clone() }).await;
    // The honest one again, under another id: a replay.
    store.inject(address(&bob).await, NewEnvelope { id: id(5), ..sealed }).await;
    let events = fetch(&bob).await;
    assert_eq!(texts(&events), ["sealed"]);
    assert_eq!(
        refusals(&events),
        [DropReason::Malformed, DropReason::Malformed, DropReason::Malformed, DropReason::Replayed]
    );
    assert_eq!(refusals(&fetch(&carol).await), [DropReason::Malformed]);
    assert!(carol.contacts().list().await.unwrap().is_empty());
    // A source taken off a named envelope makes no sealed one of it.
    alice.set_level(Level::L1).await.unwrap();
    LyingStore::lie(&store.envelope, |envelope| NewEnvelope { source: None, ..envelope });
    say(&alice, "bob", "named").await;
    LyingStore::stop(&store.envelope);
    let events = fetch(&bob).await;
    assert!(texts(&events).is_empty() && refusals(&events) == [DropReason::Malformed], "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_33_whoever_may_send_sealed_mail_can_neither_pose_as_another_nor_stop_him() {
    let (store, world, alice, bob) = liars().await;
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    let bobs = world.certificate(&bob).await;
    let nobody = Address { account: kuvert_client::AccountId::from_bytes([9; 16]), ..address(&alice).await };
    for (number, posing_as) in [(1, address(&alice).await), (2, nobody)] {
        let (account, keys) = (AccountSecret::generate(&mut rng), DeviceSecrets::generate(&mut rng));
        let certificate = keys.certify(&account, posing_as);
        let impostor = LocalDevice::new(keys, certificate).unwrap();
        let ciphertext = sealed_sender::seal(&impostor, &bobs, &[1; 800], &mut rng).unwrap().into();
        let envelope = NewEnvelope { id: EnvelopeId::from_bytes([number; 16]), source: None, ciphertext };
        store.inject(address(&bob).await, envelope).await;
    }
    let events = fetch(&bob).await;
    assert_eq!(refusals(&events), [DropReason::WrongSource, DropReason::UnknownSender]);
    let contact = bob.contacts().find("alice").await.unwrap();
    assert!(!contact.key_changed, "what is under a seal changes nobody's key");
    assert_eq!(bob.contacts().list().await.unwrap().len(), 1, "no stranger entered the address book");
    say(&alice, "bob", "still here").await;
    assert_eq!(texts(&fetch(&bob).await), ["still here"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_is_kept_and_chosen_at_registration_or_later() {
    let world = World::new().await;
    let alice = world.register("alice").await;
    assert_eq!((alice.level().await.unwrap(), alice.whoami().await.unwrap().level), (Level::L1, Level::L1));
    let at = |level| Options { level: Some(level), ..world.options() };
    let alice = Client::open(&world.home("alice"), at(Level::L3)).await.unwrap();
    assert_eq!((alice.level().await.unwrap(), alice.receipts().await.unwrap()), (Level::L3, Receipts::Late));
    assert_eq!(world.open("alice").await.level().await.unwrap(), Level::L3, "for good");
    let profile = kuvert_client::Profile::default();
    let bob = Client::register(&world.home("bob"), world.url.clone(), profile, at(Level::L2)).await.unwrap();
    assert_eq!(bob.level().await.unwrap(), Level::L2);
    let disclosure = bob.disclosure().await.unwrap();
    let seen = |item: &str| disclosure.items.iter().find(|found| found.item == item).unwrap().relay;
    assert_eq!(
        (seen("name"), seen("recipient"), seen("sender"), seen("ip-address")),
        (Seen::No, Seen::Partly, Seen::Partly, Seen::Yes)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_33_late_receipts_wait_for_their_time_over_a_restart_and_go_with_the_next_connection() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    bob.set_level(Level::L3).await.unwrap();
    let connection = alice.connect().await.unwrap();
    let texts: Vec<_> = numbers("text", 8);
    let mut sent = Vec::new();
    for text in &texts {
        sent.push(connection.send_text(named(&alice, "bob").await, text).await.unwrap().message);
    }
    assert_eq!(crate::common::texts(&fetch(&bob).await), texts);
    drop(bob);
    let bob = world.open("bob").await;
    // 8 receipts, each due at a moment of its own within the next minute.
    let mut arrived = Vec::new();
    for _ in 0..=6 {
        fetch(&bob).await;
        fetch(&alice).await;
        let read = |message: &&_| now(alice.message_state(message)).unwrap() == Some(MessageState::Read);
        arrived.push(sent.iter().filter(read).count());
        world.clock.advance(Duration::from_secs(11));
    }
    assert!(arrived.is_sorted() && arrived[0] < 8 && arrived[6] == 8, "{arrived:?}");

    bob.set_receipts(Receipts::Off).await.unwrap();
    say(&alice, "bob", "anybody?").await;
    assert_eq!(crate::common::texts(&fetch(&bob).await), ["anybody?"]);
    world.clock.advance(Duration::from_secs(120));
    fetch(&bob).await;
    assert_eq!(world.waiting().await, 0, "no receipt at all");
}

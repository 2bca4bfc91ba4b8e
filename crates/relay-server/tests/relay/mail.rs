//! Submit, deliver, acknowledge.

use std::collections::HashSet;

use kuvert_types::limits::{DELIVERY_WINDOW, MAX_CIPHERTEXT_BYTES};
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self};

use crate::common::*;

#[tokio::test]
async fn an_envelope_goes_from_one_device_to_another_and_is_gone() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;

    let letter = envelope_from(&alice, &bob, "sealed");
    let accepted = alice_there.submit(letter.clone()).await;
    assert_eq!(accepted.id, letter.id);
    bob_there.attach().await;
    let delivery = bob_there.delivery().await;
    assert_eq!(delivery.envelope, Some(letter));
    bob_there.caught_up().await;
    bob_there.acknowledge(delivery.cursor).await;

    let (_, again) = Client::authenticate(relay.address(), &bob).await;
    assert_eq!((again.waiting, again.waiting_bytes, again.expired), (0, 0, 0));
    relay.shutdown().await;
}

#[tokio::test]
async fn mail_comes_to_whoever_waits_for_it() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    bob_there.attach().await;
    bob_there.caught_up().await;
    for text in ["one", "two", "three"] {
        alice_there.submit(envelope(&bob, text)).await;
        let delivery = bob_there.delivery().await;
        let arrived = delivery.envelope.unwrap();
        let from = Some(kuvert_wire::checked::to_wire(&alice.address));
        assert_eq!((arrived.ciphertext.as_ref(), arrived.source), (text.as_bytes(), from));
        bob_there.caught_up().await;
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn the_same_id_is_stored_once() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    let letter = envelope_from(&alice, &bob, "sealed");
    let first = alice_there.submit(letter.clone()).await;
    assert_eq!(alice_there.submit(letter.clone()).await, first);
    drop(alice_there);
    let (mut alice_again, _) = Client::authenticate(relay.address(), &alice).await;
    assert_eq!(alice_again.submit(letter.clone()).await, first);
    bob_there.attach().await;
    assert_eq!(bob_there.delivery().await.envelope, Some(letter));
    bob_there.caught_up().await;
    relay.shutdown().await;
}

#[tokio::test]
async fn pipelined_envelopes_arrive_in_the_order_sent_and_within_the_window() {
    const COUNT: usize = 3 * DELIVERY_WINDOW + 7;
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    bob_there.welcome_contacts().await;
    bob_there.attach().await;
    bob_there.caught_up().await;

    // Bob reads and Alice writes at once; Alice does not wait for one answer before the last request is sent.
    let to_bob = bob.clone();
    let sending = tokio::spawn(async move {
        let mut requests = Vec::new();
        for number in 0..COUNT as u32 {
            requests.push(
                alice_there
                    .send(submit_as_contact(envelope_from(&alice, &to_bob, number.to_be_bytes().to_vec())))
                    .await,
            );
        }
        for request in requests {
            let answer = alice_there.answer(request).await;
            assert!(matches!(answer, Response::Accepted(_)), "{answer:?}");
        }
    });
    let mut cursors = Vec::new();
    while cursors.len() < COUNT {
        let Response::Delivery(delivery) = bob_there.unasked().await else { continue };
        assert_eq!(delivery.envelope.unwrap().ciphertext.as_ref(), (cursors.len() as u32).to_be_bytes());
        cursors.push(delivery.cursor);
        // Without acknowledgements the window would end the delivery: only half of it is ever left open.
        if cursors.len() % (DELIVERY_WINDOW / 2) == 0 {
            let request = bob_there.send(acknowledge(delivery.cursor)).await;
            let answer = bob_there.answer(request).await;
            assert!(matches!(answer, Response::Done(_)), "{answer:?}");
        }
    }
    sending.await.unwrap();
    assert!(cursors.is_sorted_by(|a, b| a < b), "cursors rise");
    relay.shutdown().await;
}

#[tokio::test]
async fn nothing_is_delivered_beyond_the_window_until_something_is_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    bob_there.welcome_contacts().await;
    for _ in 0..DELIVERY_WINDOW + 3 {
        let request = alice_there.send(submit_as_contact(envelope_from(&alice, &bob, "sealed"))).await;
        alice_there.answer(request).await;
    }
    bob_there.attach().await;
    let mut first = None;
    for _ in 0..DELIVERY_WINDOW {
        let cursor = bob_there.delivery().await.cursor;
        first.get_or_insert(cursor);
    }
    // The answer to a question asked now overtakes whatever would still be delivered: there is nothing.
    bob_there.ask(Request::CountPrekeys(v1::CountPrekeys {})).await;
    assert!(bob_there.unasked.is_empty());
    bob_there.acknowledge(first.unwrap()).await;
    bob_there.delivery().await;
    bob_there.ask(Request::CountPrekeys(v1::CountPrekeys {})).await;
    assert!(bob_there.unasked.is_empty(), "one acknowledged, one delivered");
    relay.shutdown().await;
}

#[tokio::test]
async fn the_second_to_attach_displaces_the_first() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut first = Client::register(relay.address(), &bob).await;
    first.attach().await;
    first.caught_up().await;
    assert_eq!(first.refused(Request::Attach(v1::Attach {})).await, Code::Invalid, "attached already");

    let (mut second, _) = Client::authenticate(relay.address(), &bob).await;
    second.attach().await;
    let told = first.unasked().await;
    assert!(matches!(told, Response::Displaced(_)), "{told:?}");
    second.caught_up().await;
    alice_there.submit(envelope(&bob, "sealed")).await;
    second.delivery().await;
    second.caught_up().await;

    // The first one still works, and may come back; it gets what is not acknowledged.
    first.attach().await;
    let told = second.unasked().await;
    assert!(matches!(told, Response::Displaced(_)), "{told:?}");
    let cursor = first.delivery().await.cursor;
    first.acknowledge(cursor).await;
    relay.shutdown().await;
}

#[tokio::test]
async fn a_restart_keeps_mail_and_order() {
    let data = tempfile::tempdir().unwrap();
    let (alice, bob) = (Device::new(), Device::named("bob"));
    let relay = start(data.path()).await;
    let address = relay.address().clone();
    let mut alice_there = Client::register(&address, &alice).await;
    drop(Client::register(&address, &bob).await);
    for number in 0..5u8 {
        alice_there.submit(envelope(&bob, vec![number])).await;
    }
    let told = tokio::spawn(async move { alice_there.unasked().await });
    relay.shutdown().await;
    let told = told.await.unwrap();
    assert!(matches!(told, Response::GoingAway(_)), "{told:?}");

    let relay = start(data.path()).await;
    assert_eq!(relay.address().fingerprint, address.fingerprint, "the relay is still the same one");
    let (mut bob_there, greeting) = Client::authenticate(relay.address(), &bob).await;
    assert_eq!((greeting.waiting, greeting.waiting_bytes), (5, 5));
    bob_there.attach().await;
    let mut seen = HashSet::new();
    for number in 0..5u8 {
        let delivery = bob_there.delivery().await;
        assert_eq!(delivery.envelope.unwrap().ciphertext.as_ref(), [number]);
        assert!(seen.insert(delivery.cursor));
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn the_largest_envelope_passes_and_a_larger_one_does_not() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    let too_large = submit(envelope_from(&alice, &bob, vec![1; MAX_CIPHERTEXT_BYTES + 1]));
    assert_eq!(alice_there.refused(too_large).await, Code::TooLarge);
    assert_eq!(alice_there.refused(submit(envelope_from(&alice, &bob, ""))).await, Code::Malformed);
    let nobody = Device::new();
    assert_eq!(alice_there.refused(submit(envelope_from(&alice, &nobody, "sealed"))).await, Code::UnknownRecipient);
    // The connection goes on after each of these.
    for _ in 0..5 {
        alice_there.submit(envelope(&bob, vec![1; MAX_CIPHERTEXT_BYTES])).await;
    }
    bob_there.attach().await;
    for _ in 0..5 {
        assert_eq!(bob_there.delivery().await.envelope.unwrap().ciphertext.len(), MAX_CIPHERTEXT_BYTES);
    }
    relay.shutdown().await;
}

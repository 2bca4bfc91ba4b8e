//! Day 31, on a clock that the test moves.

use std::path::Path;

use kuvert_relay::Config;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::{self};

use crate::common::*;

fn occurrences(folder: &Path, canary: &[u8]) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += occurrences(&path, canary);
        } else {
            count += std::fs::read(&path).unwrap().windows(canary.len()).filter(|window| *window == canary).count();
        }
    }
    count
}

#[tokio::test]
async fn on_day_31_undelivered_mail_is_gone_and_the_recipient_is_told() {
    const CANARY: &[u8] = b"canary-of-an-undelivered-letter";
    let data = tempfile::tempdir().unwrap();
    let (relay, clock) = start_at_noon(data.path()).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    drop(Client::register(relay.address(), &bob).await);
    for _ in 0..3 {
        alice_there.submit(envelope(&bob, CANARY)).await;
    }
    clock.advance(DAY);
    alice_there.submit(envelope(&bob, "a day later")).await;
    relay.store().checkpoint().await.unwrap();
    assert!(occurrences(data.path(), CANARY) >= 3);

    // A moment before the thirty days are over, all is there.
    clock.advance(29 * DAY - std::time::Duration::from_millis(1));
    assert_eq!(relay.expire().await.unwrap(), 0);
    clock.advance(std::time::Duration::from_millis(1));
    assert_eq!(relay.expire().await.unwrap(), 3);
    relay.store().checkpoint().await.unwrap();
    assert_eq!(occurrences(data.path(), CANARY), 0, "not a byte is left in any file");

    let (mut bob_there, greeting) = Client::authenticate(relay.address(), &bob).await;
    assert_eq!((greeting.waiting, greeting.expired), (1, 3));
    bob_there.attach().await;
    assert_eq!(bob_there.delivery().await.envelope.unwrap().ciphertext.as_ref(), b"a day later");
    bob_there.caught_up().await;
    bob_there.ask(Request::AcknowledgeExpired(v1::AcknowledgeExpired { count: 3 })).await;
    assert_eq!(Client::authenticate(relay.address(), &bob).await.1.expired, 0);
    relay.shutdown().await;
}

#[tokio::test]
async fn what_expired_while_the_relay_was_down_is_never_delivered() {
    let data = tempfile::tempdir().unwrap();
    let (relay, clock) = start_at_noon(data.path()).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    drop(Client::register(relay.address(), &bob).await);
    alice_there.submit(envelope(&bob, "too old by then")).await;
    relay.shutdown().await;
    clock.advance(31 * DAY);
    let relay = start_with(Config { trust_clock: true, ..config(data.path()) }, clock).await;
    let (mut bob_there, greeting) = Client::authenticate(relay.address(), &bob).await;
    assert_eq!((greeting.waiting, greeting.expired), (0, 1));
    bob_there.attach().await;
    bob_there.caught_up().await;
    relay.shutdown().await;
}

#[tokio::test]
async fn delivered_mail_is_gone_from_the_files_after_acknowledgement() {
    const CANARY: &[u8] = b"canary-of-a-delivered-letter";
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    alice_there.submit(envelope(&bob, CANARY)).await;
    assert!(occurrences(data.path(), CANARY) >= 1);
    bob_there.attach().await;
    let cursor = bob_there.delivery().await.cursor;
    bob_there.acknowledge(cursor).await;
    relay.store().checkpoint().await.unwrap();
    assert_eq!(occurrences(data.path(), CANARY), 0);
    relay.shutdown().await;
}

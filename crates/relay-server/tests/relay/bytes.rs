//! How many bytes of requests one account may have on their way, and in time [KV-102]; others are not concerned.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kuvert_relay::ManualClock;
use kuvert_relay::config::Rate;
use kuvert_relay::limits::held::MAX_HELD_PER_ACCOUNT;
use kuvert_wire::frame;
use kuvert_wire::v1::ClientFrame;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use tokio::task::JoinSet;

use crate::common::*;

/// What a request of nearly the largest size begins with: all of it but its last byte.
fn unfinished(from: &Device, to: &Device) -> BytesMut {
    let body = Some(submit(envelope_from(from, to, vec![7; 90_000])));
    let mut bytes = BytesMut::new();
    frame::encode(&ClientFrame { request: 1, body }, &mut bytes).unwrap();
    bytes.truncate(bytes.len() - 1);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_holds_so_many_bytes_on_all_its_connections_and_others_go_on() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let [greedy, alice, bob] = [(); 3].map(|()| Device::new());
    drop(Client::register(relay.address(), &greedy).await);
    let mut honest = Client::register(relay.address(), &alice).await;
    Client::register(relay.address(), &bob).await.welcome_contacts().await;

    let part = unfinished(&greedy, &bob);
    let fit = MAX_HELD_PER_ACCOUNT / part.len();
    let mut holding = JoinSet::new();
    for _ in 0..=fit {
        let (mut client, _) = Client::authenticate(relay.address(), &greedy).await;
        // The one that is turned away does not take all.
        let _ = within(client.send.write_all(&part)).await;
        holding.spawn(client.closed());
    }
    let (error, reason) = within(holding.join_next()).await.unwrap().unwrap();
    let error = error.unwrap();
    assert_eq!((error.code(), error.retry_after_ms > 0), (Code::Limited, true), "{error:?}");
    assert!(reason.contains("too many bytes of requests"), "{reason}");
    assert_eq!(holding.len(), fit, "as many as there is room for are held");

    let answer = honest.ask(submit_as_contact(envelope_from(&alice, &bob, vec![8; 90_000]))).await;
    assert!(matches!(answer, Response::Accepted(_)), "{answer:?}");

    // What connections that end have held is free.
    holding.shutdown().await;
    let accepted = async {
        loop {
            let (mut client, _) = Client::authenticate(relay.address(), &greedy).await;
            let large = submit_as_contact(envelope_from(&greedy, &bob, vec![9; 90_000]));
            if client.try_send(large).await
                && let Some(frame) = client.frame().await
                && matches!(frame.body, Some(Response::Accepted(_)))
            {
                break;
            }
        }
    };
    within(accepted).await;
    relay.shutdown().await;
}

#[tokio::test]
async fn an_account_submits_so_many_bytes_in_time_from_all_its_connections() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.limits.kib_per_account = Rate { burst: 64, per_hour: 3_600 };
    let clock = Arc::new(ManualClock::new(1_800_000_000_000));
    let relay = start_with(config, clock.clone()).await;
    let [greedy, alice, bob] = [(); 3].map(|()| Device::new());
    let mut first = Client::register(relay.address(), &greedy).await;
    let (mut second, _) = Client::authenticate(relay.address(), &greedy).await;
    let mut honest = Client::register(relay.address(), &alice).await;
    let mut receiver = Client::register(relay.address(), &bob).await;
    receiver.welcome_contacts().await;
    let large = |from: &Device| submit_as_contact(envelope_from(from, &bob, vec![7; 20 * 1024]));

    for from_second in [false, true, false] {
        let client = if from_second { &mut second } else { &mut first };
        let answer = client.ask(large(&greedy)).await;
        assert!(matches!(answer, Response::Accepted(_)), "{answer:?}");
    }
    let Response::Error(error) = second.ask(large(&greedy)).await else { panic!("three of 21 KiB are all of 64") };
    // 84 KiB were asked for, and one comes back in each second.
    assert_eq!((error.code(), error.retry_after_ms), (Code::Limited, 20_000));
    // Small requests go on, and so does another account.
    first.submit(envelope_from(&greedy, &bob, vec![7; 300])).await;
    let answer = honest.ask(large(&alice)).await;
    assert!(matches!(answer, Response::Accepted(_)), "{answer:?}");
    clock.advance(Duration::from_secs(20));
    let answer = first.ask(large(&greedy)).await;
    assert!(matches!(answer, Response::Accepted(_)), "{answer:?}");
    relay.shutdown().await;
}

#[tokio::test]
async fn an_address_submits_so_many_bytes_of_sealed_mail_in_time() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.limits.sealed_kib_per_address = Rate { burst: 64, per_hour: 3_600 };
    let relay = start_with(config, Arc::new(ManualClock::new(1_800_000_000_000))).await;
    let bob = Device::new();
    Client::register(relay.address(), &bob).await.welcome(true).await;
    for number in 0..4 {
        match submit_sealed(relay.address(), envelope(&bob, vec![7; 20 * 1024])).await {
            Response::Accepted(_) => assert!(number < 3),
            Response::Error(error) => assert_eq!((number, error.code()), (3, Code::Limited), "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
    let answer = submit_sealed(relay.address(), envelope(&bob, vec![7; 300])).await;
    assert!(matches!(answer, Response::Accepted(_)), "a small one still fits: {answer:?}");
    relay.shutdown().await;
}

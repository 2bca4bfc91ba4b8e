//! Sealed mail: only with the recipient's access key, under no name, and for nothing else.

use bytes::Bytes;
use kuvert_relay::RunningRelay;
use kuvert_relay::config::Rate;
use kuvert_types::AccessKey;
use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_wire::v1;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use std::sync::Arc;

use crate::common::*;

const KEY: AccessKey = AccessKey::from_bytes([7; 16]);

fn sealed(envelope: v1::Envelope, key: &[u8]) -> Request {
    Request::SubmitSealed(v1::SubmitSealed { envelope: Some(envelope), access_key: Bytes::copy_from_slice(key) })
}

/// A key for named mail of contacts only.
fn set_contacts_key(key: &AccessKey) -> Request {
    Request::SetAccessKey(v1::SetAccessKey { hash: Some(key.hash().to_vec().into()), sealed: false })
}

fn set_key(key: Option<&AccessKey>) -> Request {
    Request::SetAccessKey(v1::SetAccessKey { hash: key.map(|key| key.hash().to_vec().into()), sealed: true })
}

/// Bob, who takes sealed mail.
async fn bob(relay: &RunningRelay) -> (Device, Client) {
    let device = Device::named("bob");
    let mut client = Client::register(relay.address(), &device).await;
    assert!(matches!(client.ask(set_key(Some(&KEY))).await, Response::Done(_)));
    (device, client)
}

/// A connection that says hello and not who it is.
async fn nobody(relay: &RunningRelay) -> Client {
    let mut client = Client::connect(relay.address()).await;
    client.hello().await;
    client
}

#[tokio::test]
async fn who_has_the_access_key_submits_without_a_name() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (bob, mut bob_there) = bob(&relay).await;
    let mut client = nobody(&relay).await;
    // Without waiting in between, small and as large as can be: they arrive in the order sent.
    let sizes = [10, MAX_CIPHERTEXT_BYTES, 600, 1];
    let mut asked = Vec::new();
    for size in sizes {
        asked.push(client.send(sealed(envelope(&bob, vec![5; size]), KEY.as_bytes())).await);
    }
    for request in asked {
        assert!(matches!(client.answer(request).await, Response::Accepted(_)));
    }
    let again = envelope(&bob, "twice");
    for repeated in [false, true] {
        match client.ask(sealed(again.clone(), KEY.as_bytes())).await {
            Response::Accepted(accepted) => assert_eq!(accepted.id, again.id, "repeated: {repeated}"),
            other => panic!("{other:?}"),
        }
    }
    bob_there.attach().await;
    for size in sizes {
        let envelope = bob_there.delivery().await.envelope.unwrap();
        assert_eq!((envelope.ciphertext.len(), envelope.source), (size, None));
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn attack_33_no_key_another_key_and_no_such_recipient_look_the_same() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (bob, mut bob_there) = bob(&relay).await;
    let (carol, stranger) = (Device::new(), Device::new());
    let mut carol_there = Client::register(relay.address(), &carol).await;
    let other_device = Device {
        address: kuvert_types::Address { device: kuvert_types::DeviceId::new(2).unwrap(), ..bob.address },
        ..bob.clone()
    };
    let mut client = nobody(&relay).await;
    let mut refusals = Vec::new();
    for (to, key) in [
        (&bob, [8; 16]),
        (&bob, [0; 16]),
        (&carol, *KEY.as_bytes()),
        (&carol, [0; 16]),
        (&stranger, *KEY.as_bytes()),
        (&other_device, *KEY.as_bytes()),
    ] {
        match client.ask(sealed(envelope(to, "flood"), &key)).await {
            Response::Error(error) => refusals.push(error),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refusals[0].code(), Code::AccessRefused);
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:?}");
    // Another account's key opens that account's mailbox alone.
    let hers = AccessKey::from_bytes([9; 16]);
    carol_there.ask(set_key(Some(&hers))).await;
    assert_eq!(client.refused(sealed(envelope(&bob, "x"), hers.as_bytes())).await, Code::AccessRefused);
    assert!(matches!(client.ask(sealed(envelope(&carol, "x"), hers.as_bytes())).await, Response::Accepted(_)));
    // One that is for contacts' named mail only is refused in the same words.
    carol_there.ask(set_contacts_key(&hers)).await;
    match client.ask(sealed(envelope(&carol, "x"), hers.as_bytes())).await {
        Response::Error(error) => assert_eq!(error, refusals[0]),
        other => panic!("{other:?}"),
    }
    // A key that was replaced, or taken back, opens nothing.
    for now in [Some(&hers), None] {
        assert!(matches!(bob_there.ask(set_key(now)).await, Response::Done(_)));
        assert_eq!(client.refused(sealed(envelope(&bob, "x"), KEY.as_bytes())).await, Code::AccessRefused);
    }
    assert_eq!(relay.store().stats().await.unwrap().waiting, 1);
    relay.shutdown().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_sealed_envelope_is_said_and_the_connection_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (bob, mut bob_there) = bob(&relay).await;
    let mut client = nobody(&relay).await;
    let alice = Device::new();
    for (request, code) in [
        (sealed(envelope_from(&alice, &bob, "x"), KEY.as_bytes()), Code::Forbidden),
        (sealed(envelope(&bob, "x"), &[7; 15]), Code::Malformed),
        (sealed(v1::Envelope { recipient: None, ..envelope(&bob, "x") }, KEY.as_bytes()), Code::Malformed),
        (Request::SubmitSealed(v1::SubmitSealed { envelope: None, access_key: vec![7; 16].into() }), Code::Malformed),
        (sealed(envelope(&bob, vec![0; MAX_CIPHERTEXT_BYTES + 1]), KEY.as_bytes()), Code::TooLarge),
    ] {
        assert_eq!(client.refused(request).await, code);
    }
    assert!(matches!(client.ask(sealed(envelope(&bob, "x"), KEY.as_bytes())).await, Response::Accepted(_)));
    assert_eq!(
        bob_there
            .refused(Request::SetAccessKey(v1::SetAccessKey { hash: Some(vec![1; 31].into()), sealed: true }))
            .await,
        Code::Malformed
    );
    assert_eq!(relay.store().stats().await.unwrap().waiting, 1);
    relay.shutdown().await;
}

#[tokio::test]
async fn a_connection_for_sealed_mail_is_for_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (bob, mut bob_there) = bob(&relay).await;
    for command in [
        submit(envelope(&bob, "x")),
        Request::Attach(v1::Attach {}),
        take_bundles(&bob),
        set_key(None),
        Request::GetAccount(v1::GetAccount { by: Some(v1::get_account::By::Name("bob".into())) }),
        Request::Hello(v1::Hello { version: kuvert_wire::VERSION }),
    ] {
        let mut client = nobody(&relay).await;
        assert!(matches!(client.ask(sealed(envelope(&bob, "x"), KEY.as_bytes())).await, Response::Accepted(_)));
        client.send(command).await;
        let (error, reason) = client.closed().await;
        assert_eq!((error.unwrap().code(), reason.as_str()), (Code::NotAuthenticated, "protocol error"));
    }
    // Nobody gives a name later, and nobody who gave one goes on without.
    let mut client = Client::connect(relay.address()).await;
    let proof = client.hello().await;
    client.ask(sealed(envelope(&bob, "x"), KEY.as_bytes())).await;
    client.send(Request::Authenticate(bob.authenticate_request(&proof))).await;
    assert_eq!(client.closed().await.0.unwrap().code(), Code::NotAuthenticated);
    assert_eq!(bob_there.refused(sealed(envelope(&bob, "x"), KEY.as_bytes())).await, Code::Invalid);
    let mut client = Client::connect(relay.address()).await;
    let proof = client.hello().await;
    let unknown = Device::new();
    client.refused(Request::Authenticate(unknown.authenticate_request(&proof))).await;
    client.send(sealed(envelope(&bob, "x"), KEY.as_bytes())).await;
    assert_eq!(client.closed().await.0.unwrap().code(), Code::NotAuthenticated);
    // Before the Hello there is no room for one.
    let mut client = Client::connect(relay.address()).await;
    client.send(sealed(envelope(&bob, "x"), KEY.as_bytes())).await;
    assert_eq!(client.closed().await.0.unwrap().code(), Code::NotAuthenticated);
    relay.shutdown().await;
}

#[tokio::test]
async fn attack_33_one_address_sends_so_many_sealed_envelopes_and_no_more() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.limits.sealed_per_address = Rate { burst: 3, per_hour: 60 };
    let clock = Arc::new(kuvert_relay::ManualClock::new(NOON));
    let relay = start_with(config, clock.clone()).await;
    let (bob, _bob_there) = bob(&relay).await;
    // Guesses count as well, and another connection is no other address.
    assert_eq!(nobody(&relay).await.refused(sealed(envelope(&bob, "x"), &[0; 16])).await, Code::AccessRefused);
    let mut client = nobody(&relay).await;
    for _ in 0..2 {
        assert!(matches!(client.ask(sealed(envelope(&bob, "x"), KEY.as_bytes())).await, Response::Accepted(_)));
    }
    assert_eq!(client.refused(sealed(envelope(&bob, "x"), KEY.as_bytes())).await, Code::Limited);
    clock.advance(std::time::Duration::from_secs(60));
    assert!(matches!(client.ask(sealed(envelope(&bob, "x"), KEY.as_bytes())).await, Response::Accepted(_)));
    relay.shutdown().await;
}

#[tokio::test]
async fn a_device_leaves_the_day_of_its_last_visit_and_nothing_finer() {
    let data = tempfile::tempdir().unwrap();
    let (relay, clock) = start_at_noon(data.path()).await;
    let bob = Device::named("bob");
    drop(Client::register(relay.address(), &bob).await);
    let noon = u32::try_from(NOON / 86_400_000).unwrap();
    // Noted behind the answer: this comes after it in the store's own order.
    let seen = || async {
        relay.store().acknowledge_expired(bob.address, 0).await.unwrap();
        relay.store().device(bob.address).await.unwrap().unwrap().last_seen_day
    };
    assert_eq!(seen().await, Some(noon));
    for (days, expected) in [(0, noon), (3, noon + 3), (0, noon + 3)] {
        clock.advance(DAY * days);
        drop(Client::authenticate(relay.address(), &bob).await);
        assert_eq!(seen().await, Some(expected));
    }
    relay.shutdown().await;
    let known = kuvert_relay_sqlite::store::Inspector::open(data.path()).unwrap().accounts().unwrap();
    assert_eq!(known[0].devices[0].last_seen_day, Some(noon + 3));
    assert!(!known[0].sealed_mail);
}

//! No device fetches, acknowledges, publishes or deletes for another: a negative test for every command.

use bytes::Bytes;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, demonstration};

use crate::common::*;

fn account_of(device: &Device) -> Bytes {
    Bytes::copy_from_slice(device.address.account.as_bytes())
}

#[tokio::test]
async fn without_authentication_no_command_does_anything() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let bob = Device::named("bob");
    drop(Client::register(relay.address(), &bob).await);
    let by_name = v1::GetAccount { by: Some(v1::get_account::By::Name("bob".into())) };
    let commands = || {
        [
            submit(envelope_from(&bob, &bob, "sealed")),
            Request::SetAccessKey(v1::SetAccessKey { hash: None, sealed: true }),
            set_blocked(&Device::new(), true),
            Request::Attach(v1::Attach {}),
            acknowledge(0),
            Request::AcknowledgeExpired(v1::AcknowledgeExpired { count: 1 }),
            Request::PublishPrekeys(prekeys(1, 1, true)),
            Request::CountPrekeys(v1::CountPrekeys {}),
            take_bundles(&bob),
            Request::GetAccount(by_name.clone()),
            Request::PublishDeviceList(v1::PublishDeviceList {
                device_list: bob.list(2).encode().into(),
                certificates: vec![],
            }),
            Request::UpdateAccount(v1::UpdateAccount { clear_name: true, ..Default::default() }),
            Request::DeleteAccount(v1::DeleteAccount {}),
            Request::RequestReport(v1::RequestReport {}),
            Request::FetchReport(v1::FetchReport { offset: 0 }),
            tell(demonstration::GetPolicies {}),
            tell(demonstration::AcceptPolicy { version: "2016-08-25".into(), advertising: true }),
            tell(demonstration::ObjectAdvertising {}),
            tell(demonstration::RequestPhoneCode { phone: "+4915550000001".into() }),
            tell(demonstration::VerifyPhone { code: "123456".into() }),
            tell(demonstration::SetProfile { about: Some("forged".into()), ..demonstration::SetProfile::default() }),
            tell(demonstration::GetProfile { account: account_of(&bob) }),
            tell(demonstration::UploadAddressBook::default()),
            tell(demonstration::ReportDevice::default()),
            tell(demonstration::WithdrawDisclosure {}),
        ]
    };
    for (number, command) in commands().into_iter().enumerate() {
        // Before the Hello, and after it.
        for greet in [false, true] {
            let mut client = Client::connect(relay.address()).await;
            if greet {
                client.hello().await;
            }
            client.send(command.clone()).await;
            let (error, reason) = client.closed().await;
            assert_eq!(error.unwrap().code(), Code::NotAuthenticated, "command {number}");
            assert_eq!(reason, "protocol error");
        }
    }
    for premature in [Request::Authenticate(v1::Authenticate::default()), Request::Register(v1::Register::default())] {
        let mut client = Client::connect(relay.address()).await;
        client.send(premature).await;
        assert_eq!(client.closed().await.0.unwrap().code(), Code::NotAuthenticated);
    }
    let totals = relay.store().stats().await.unwrap();
    assert_eq!((totals.waiting, totals.one_time_prekeys, totals.accounts), (0, 0, 1));
    relay.shutdown().await;
}

#[tokio::test]
async fn another_version_is_refused_with_words() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let mut client = Client::connect(relay.address()).await;
    client.send(Request::Hello(v1::Hello { version: 2 })).await;
    let (error, _) = client.closed().await;
    assert_eq!(error.unwrap().code(), Code::UnsupportedVersion);
    relay.shutdown().await;
}

#[tokio::test]
async fn submit_under_another_name_or_none_is_forbidden() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob, mallory) = (Device::new(), Device::new(), Device::new());
    for device in [&alice, &bob] {
        drop(Client::register(relay.address(), device).await);
    }
    let mut client = Client::register(relay.address(), &mallory).await;
    assert_eq!(client.refused(submit(envelope_from(&alice, &bob, "sealed"))).await, Code::Forbidden);
    // Nor without one, whatever key it shows: that would be sealed mail by another door.
    Client::authenticate(relay.address(), &bob).await.0.welcome_contacts().await;
    assert_eq!(client.refused(submit(envelope(&bob, "sealed"))).await, Code::Forbidden);
    assert_eq!(client.refused(submit_as_contact(envelope(&bob, "sealed"))).await, Code::Forbidden);
    client.submit(envelope_from(&mallory, &bob, "sealed")).await;
    assert_eq!(relay.store().stats().await.unwrap().waiting, 1);
    relay.shutdown().await;
}

#[tokio::test]
async fn a_stranger_neither_fetches_nor_acknowledges() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob, mallory) = (Device::new(), Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    drop(Client::register(relay.address(), &bob).await);
    let mut stranger = Client::register(relay.address(), &mallory).await;
    alice_there.submit(envelope(&bob, "for bob")).await;
    alice_there.submit(envelope(&mallory, "for mallory")).await;

    // Attach opens one's own mailbox: there is no way to name another.
    stranger.attach().await;
    let own = stranger.delivery().await;
    assert_eq!(own.envelope.unwrap().ciphertext.as_ref(), b"for mallory");
    stranger.caught_up().await;
    // A cursor that was not delivered here, such as that of bob's envelope.
    assert_eq!(stranger.refused(acknowledge(own.cursor + 1)).await, Code::Forbidden);
    assert_eq!(stranger.refused(acknowledge(u64::MAX)).await, Code::Forbidden);
    stranger.acknowledge(own.cursor).await;

    let (mut bob_there, greeting) = Client::authenticate(relay.address(), &bob).await;
    assert_eq!(greeting.waiting, 1, "bob's mail is still there");
    // Bob himself cannot acknowledge what he was not sent on this connection.
    assert_eq!(bob_there.refused(acknowledge(own.cursor)).await, Code::Forbidden);
    bob_there.attach().await;
    assert_eq!(bob_there.delivery().await.envelope.unwrap().ciphertext.as_ref(), b"for bob");
    relay.shutdown().await;
}

#[tokio::test]
async fn a_stranger_takes_nothing_off_anothers_expired_count() {
    let data = tempfile::tempdir().unwrap();
    let (relay, clock) = start_at_noon(data.path()).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    drop(Client::register(relay.address(), &bob).await);
    alice_there.submit(envelope(&bob, "sealed")).await;
    clock.advance(30 * DAY);
    assert_eq!(relay.expire().await.unwrap(), 1);
    let answer = alice_there.ask(Request::AcknowledgeExpired(v1::AcknowledgeExpired { count: 9 })).await;
    assert!(matches!(answer, Response::Done(_)), "{answer:?}");
    assert_eq!(Client::authenticate(relay.address(), &bob).await.1.expired, 1);
    relay.shutdown().await;
}

#[tokio::test]
async fn prekeys_are_published_and_counted_for_oneself() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (bob, mallory) = (Device::new(), Device::new());
    let mut bob_there = Client::register(relay.address(), &bob).await;
    let mut stranger = Client::register(relay.address(), &mallory).await;
    let answer = stranger.ask(Request::PublishPrekeys(prekeys(1, 3, true))).await;
    assert!(matches!(answer, Response::Done(_)), "{answer:?}");
    let counts = |answer| match answer {
        Response::PrekeyCounts(counts) => (counts.one_time, counts.one_time_kem),
        other => panic!("{other:?}"),
    };
    assert_eq!(counts(bob_there.ask(Request::CountPrekeys(v1::CountPrekeys {})).await), (0, 0));
    assert_eq!(counts(stranger.ask(Request::CountPrekeys(v1::CountPrekeys {})).await), (3, 3));
    assert_eq!(stranger.refused(take_bundles(&bob)).await, Code::Unavailable, "bob has published nothing");
    assert_eq!(stranger.refused(take_bundles(&Device::new())).await, Code::UnknownRecipient);
    let second = Request::TakeBundles(v1::TakeBundles { account: account_of(&mallory), devices: vec![1, 2] });
    assert_eq!(bob_there.refused(second).await, Code::UnknownRecipient);
    relay.shutdown().await;
}

#[tokio::test]
async fn a_device_list_needs_the_accounts_signature_and_a_higher_number() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (bob, mallory) = (Device::new(), Device::new());
    let mut bob_there = Client::register(relay.address(), &bob).await;
    let mut stranger = Client::register(relay.address(), &mallory).await;
    let publish = |list: Vec<u8>| {
        Request::PublishDeviceList(v1::PublishDeviceList { device_list: list.into(), certificates: vec![] })
    };
    // Bob's own list, sent by somebody else; a list for bob signed by somebody else.
    assert_eq!(stranger.refused(publish(bob.list(2).encode())).await, Code::Forbidden);
    let forged = Device { account_key: mallory.account_key.clone(), ..bob.clone() };
    assert_eq!(bob_there.refused(publish(forged.list(2).encode())).await, Code::Forbidden);
    assert_eq!(stranger.refused(publish(forged.list(2).encode())).await, Code::Forbidden);
    assert_eq!(bob_there.refused(publish(vec![1, 2, 3])).await, Code::Invalid);
    // Upwards only; the same once more is a repetition.
    for (number, good) in [(1, true), (3, true), (3, true), (2, false), (1, false), (u64::MAX, false)] {
        match bob_there.ask(publish(bob.list(number).encode())).await {
            Response::Done(_) => assert!(good, "{number}"),
            Response::Error(error) => {
                assert!(!good && matches!(error.code(), Code::StaleDeviceList | Code::Invalid), "{number}: {error:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    // The same number with other content.
    let sibling = Device { signing_key: mallory.signing_key.clone(), ..bob.clone() };
    assert_eq!(bob_there.refused(publish(sibling.list(3).encode())).await, Code::StaleDeviceList);
    let by = Some(v1::get_account::By::Account(account_of(&bob)));
    let Response::Account(record) = stranger.ask(Request::GetAccount(v1::GetAccount { by })).await else {
        panic!("not found")
    };
    assert_eq!(record.device_list, bob.list(3).encode());
    relay.shutdown().await;
}

#[tokio::test]
async fn nobody_learns_a_phone_number() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let bob = Device { phone: Some("+4917012345678".into()), ..Device::named("bob") };
    drop(Client::register(relay.address(), &bob).await);
    let mut stranger = Client::register(relay.address(), &Device::new()).await;
    let by = Some(v1::get_account::By::Name("bob".into()));
    let answer = stranger.ask(Request::GetAccount(v1::GetAccount { by })).await;
    assert!(!format!("{answer:?}").contains("17012345678"));
    relay.shutdown().await;
}

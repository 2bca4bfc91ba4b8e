//! Registering and authenticating: what is checked, and that nothing can be replayed or borrowed.

use bytes::Bytes;
use kuvert_relay::config::{Rate, Registration};
use kuvert_relay::store::NewInvitation;
use kuvert_relay::{Clock, Config, SystemClock};
use kuvert_types::{AccountId, Address, DeviceId};
use kuvert_wire::checked::to_wire;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self};
use std::sync::Arc;

use crate::common::*;

#[tokio::test]
async fn a_device_registers_and_authenticates_again() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let device = Device { phone: Some("+491701234567".into()), ..Device::named("alice") };
    drop(Client::register(relay.address(), &device).await);
    let (mut again, greeting) = Client::authenticate(relay.address(), &device).await;
    assert_eq!((greeting.waiting, greeting.expired), (0, 0));
    assert!(greeting.relay_time > 1_700_000_000_000);

    for by in [
        v1::get_account::By::Name("alice".into()),
        v1::get_account::By::Account(Bytes::copy_from_slice(device.address.account.as_bytes())),
    ] {
        let Response::Account(record) = again.ask(Request::GetAccount(v1::GetAccount { by: Some(by) })).await else {
            panic!("not found")
        };
        assert_eq!(record.account.as_ref(), device.address.account.as_bytes());
        assert_eq!(record.account_key.as_ref(), device.account_public().as_bytes());
        assert_eq!(record.certificates, [Bytes::copy_from_slice(&device.certificate().encode())]);
        assert_eq!(record.device_list, device.list(1).encode());
        assert_eq!(record.name.as_deref(), Some("alice"));
    }
    let nobody = v1::get_account::By::Name("bob".into());
    assert_eq!(again.refused(Request::GetAccount(v1::GetAccount { by: Some(nobody) })).await, Code::UnknownRecipient);
    relay.shutdown().await;
}

#[tokio::test]
async fn an_authentication_is_good_on_its_own_connection_only() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let device = Device::new();
    drop(Client::register(relay.address(), &device).await);

    let mut first = Client::connect(relay.address()).await;
    let proof = first.hello().await;
    let recorded = Request::Authenticate(device.authenticate_request(&proof));
    assert!(matches!(first.ask(recorded.clone()).await, Response::Authenticated(_)));
    // The same bytes elsewhere.
    let mut second = Client::connect(relay.address()).await;
    let second_proof = second.hello().await;
    assert_eq!(second.refused(recorded).await, Code::AuthenticationFailed);
    // A relay in the middle passes its victim's answer to its own challenge on: the exporter differs.
    let relayed = Proof { challenge: second_proof.challenge, exporter: proof.exporter };
    let request = Request::Authenticate(device.authenticate_request(&relayed));
    assert_eq!(second.refused(request).await, Code::AuthenticationFailed);
    // An earlier challenge.
    let earlier = Proof { challenge: proof.challenge, exporter: second_proof.exporter };
    let request = Request::Authenticate(device.authenticate_request(&earlier));
    assert_eq!(second.refused(request).await, Code::AuthenticationFailed);
    // The right answer still counts.
    let request = Request::Authenticate(device.authenticate_request(&second_proof));
    assert!(matches!(second.ask(request).await, Response::Authenticated(_)));
    relay.shutdown().await;
}

#[tokio::test]
async fn a_signature_is_good_for_its_own_address_only() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, mallory) = (Device::new(), Device::new());
    drop(Client::register(relay.address(), &alice).await);
    drop(Client::register(relay.address(), &mallory).await);
    let mut client = Client::connect(relay.address()).await;
    let proof = client.hello().await;
    let second_device = Address { device: DeviceId::new(2).unwrap(), ..mallory.address };
    let unknown = Address { account: AccountId::from_bytes(random()), device: DeviceId::PRIMARY };
    for (claimed, signed_for) in [
        (alice.address, alice.address),
        (alice.address, mallory.address),
        (second_device, second_device),
        (unknown, unknown),
    ] {
        let signature = proof.sign(&mallory.signing_key, &signed_for);
        let request = v1::Authenticate { address: Some(to_wire(&claimed)), signature };
        assert_eq!(client.refused(Request::Authenticate(request)).await, Code::AuthenticationFailed);
    }
    // One more is one too many.
    let request = v1::Authenticate { address: Some(to_wire(&alice.address)), signature: vec![0; 64].into() };
    client.send(Request::Authenticate(request)).await;
    let (error, reason) = client.closed().await;
    assert_eq!((error.unwrap().code(), reason.as_str()), (Code::AuthenticationFailed, "protocol error"));
    relay.shutdown().await;
}

/// Registers with a request that `spoil` changed.
async fn register_spoilt(
    relay: &kuvert_relay::RunningRelay,
    device: &Device,
    spoil: impl FnOnce(&mut v1::Register, &Proof),
) -> Code {
    let mut client = Client::connect(relay.address()).await;
    let proof = client.hello().await;
    let mut request = device.register_request(&proof);
    spoil(&mut request, &proof);
    client.refused(Request::Register(request)).await
}

#[tokio::test]
async fn registration_checks_every_signature_and_rule() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (device, other) = (Device::new(), Device::new());
    let flip = |bytes: &Bytes, at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    // Certificate: the account's signature, the device's signature, a key, a byte more.
    for at in [117, 117 + 64, 40, 100] {
        let code = register_spoilt(&relay, &device, |r, _| r.certificate = flip(&r.certificate, at)).await;
        assert_eq!(code, Code::Invalid, "{at}");
    }
    let longer = |r: &mut v1::Register, _: &Proof| r.certificate = [r.certificate.as_ref(), &[0]].concat().into();
    assert_eq!(register_spoilt(&relay, &device, longer).await, Code::Invalid);
    // Device list: its signature, another account's, one that names another device.
    let code =
        register_spoilt(&relay, &device, |r, _| r.device_list = flip(&r.device_list, r.device_list.len() - 1)).await;
    assert_eq!(code, Code::Invalid);
    let code = register_spoilt(&relay, &device, |r, _| r.device_list = other.list(1).encode().into()).await;
    assert_eq!(code, Code::Invalid);
    let sibling = Device { signing_key: other.signing_key.clone(), ..device.clone() };
    let code = register_spoilt(&relay, &device, |r, _| r.device_list = sibling.list(1).encode().into()).await;
    assert_eq!(code, Code::Invalid);
    // Signature over the challenge: by another key, for another address.
    let code = register_spoilt(&relay, &device, |r, p| r.signature = p.sign(&other.signing_key, &device.address)).await;
    assert_eq!(code, Code::AuthenticationFailed);
    let code = register_spoilt(&relay, &device, |r, p| r.signature = p.sign(&device.signing_key, &other.address)).await;
    assert_eq!(code, Code::AuthenticationFailed);
    // Names and numbers.
    for name in ["", "Alice", "1alice", "al ice", "älice", &"a".repeat(33)] {
        let code = register_spoilt(&relay, &device, |r, _| r.name = Some(name.into())).await;
        assert_eq!(code, Code::Invalid, "{name}");
    }
    for phone in ["0170123", "+0170123456", "+49 170 1234567", "+123456"] {
        let code = register_spoilt(&relay, &device, |r, _| r.phone = Some(phone.into())).await;
        assert_eq!(code, Code::Invalid, "{phone}");
    }
    // After all that, nothing is registered.
    assert_eq!(relay.store().stats().await.unwrap().accounts, 0);
    drop(Client::register(relay.address(), &device).await);
    relay.shutdown().await;
}

#[tokio::test]
async fn names_and_accounts_are_taken_once() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let alice = Device::named("alice");
    drop(Client::register(relay.address(), &alice).await);
    let mut client = Client::connect(relay.address()).await;
    let proof = client.hello().await;
    let mut impostor = Device::named("alice");
    assert_eq!(client.refused(Request::Register(impostor.register_request(&proof))).await, Code::NameTaken);
    // Somebody else's account id with keys of one's own.
    impostor.address = alice.address;
    impostor.name = None;
    assert_eq!(client.refused(Request::Register(impostor.register_request(&proof))).await, Code::AccountExists);
    // Another try on the same connection.
    let honest = Device::named("alice2");
    let answer = client.ask(Request::Register(honest.register_request(&proof))).await;
    assert!(matches!(answer, Response::Authenticated(_)), "{answer:?}");
    // Who is authenticated stays who he is.
    assert_eq!(client.refused(Request::Register(Device::new().register_request(&proof))).await, Code::Invalid);
    assert_eq!(client.refused(Request::Authenticate(alice.authenticate_request(&proof))).await, Code::Invalid);
    relay.shutdown().await;
}

#[tokio::test]
async fn a_closed_relay_registers_nobody_and_serves_those_it_knows() {
    let data = tempfile::tempdir().unwrap();
    let device = Device::new();
    let relay = start(data.path()).await;
    drop(Client::register(relay.address(), &device).await);
    relay.shutdown().await;
    let config = Config { registration: Registration::Closed, ..config(data.path()) };
    let relay = start_with(config, Arc::new(SystemClock::new())).await;
    assert_eq!(register_spoilt(&relay, &Device::new(), |_, _| {}).await, Code::RegistrationClosed);
    drop(Client::authenticate(relay.address(), &device).await);
    relay.shutdown().await;
}

#[tokio::test]
async fn registrations_from_one_address_are_limited() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.limits.registrations_per_address = Rate { burst: 2, per_hour: 1 };
    let relay = start_with(config, Arc::new(SystemClock::new())).await;
    for _ in 0..2 {
        drop(Client::register(relay.address(), &Device::new()).await);
    }
    let mut client = Client::connect(relay.address()).await;
    let proof = client.hello().await;
    match client.ask(Request::Register(Device::new().register_request(&proof))).await {
        Response::Error(error) => {
            assert_eq!(error.code(), Code::Limited);
            assert!(error.retry_after_ms > 60_000, "{}", error.retry_after_ms);
        }
        other => panic!("{other:?}"),
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn with_invitations_only_the_invited_register_and_each_use_counts_once() {
    let data = tempfile::tempdir().unwrap();
    let config = Config { registration: Registration::Invitation, ..config(data.path()) };
    let clock = Arc::new(kuvert_relay::ManualClock::new(NOON));
    let relay = start_with(config, clock.clone()).await;
    let invite = async |uses| {
        let (code, hash) = kuvert_relay::invitation::draw().unwrap();
        let expires_at = clock.now_ms() + 1_000;
        relay.store().add_invitation(NewInvitation { hash, uses, created_at: NOON, expires_at }).await.unwrap();
        code
    };
    let register = async |device: &Device, code: Option<&str>| {
        let mut client = Client::connect(relay.address()).await;
        let proof = client.hello().await;
        let invitation = code.map(str::to_owned);
        client.ask(Request::Register(v1::Register { invitation, ..device.register_request(&proof) })).await
    };
    let refused = async |device: &Device, code: Option<&str>| match register(device, code).await {
        Response::Error(error) => error.code(),
        other => panic!("{other:?}"),
    };
    let (first, second) = (Device::named("first"), Device::named("second"));
    assert_eq!(refused(&first, None).await, Code::InvitationNeeded);
    for wrong in ["", "abc", "aaaaa-aaaaa-aaaaa-aaaaa-aaaaa-a"] {
        assert_eq!(refused(&first, Some(wrong)).await, Code::InvitationRefused, "{wrong}");
    }
    let once = invite(1).await;
    assert!(matches!(register(&first, Some(&once)).await, Response::Authenticated(_)));
    assert_eq!(refused(&second, Some(&once)).await, Code::InvitationRefused);
    // A try that fails for another reason costs no use: the name is taken, the account exists.
    let twice = invite(2).await;
    assert_eq!(refused(&Device::named("first"), Some(&twice)).await, Code::NameTaken);
    assert_eq!(refused(&first, Some(&twice)).await, Code::AccountExists);
    for device in [&second, &Device::new()] {
        let typed = twice.to_uppercase().replace('-', " ");
        assert!(matches!(register(device, Some(&typed)).await, Response::Authenticated(_)));
    }
    assert_eq!(refused(&Device::new(), Some(&twice)).await, Code::InvitationRefused);
    // Too late.
    let late = invite(5).await;
    clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(refused(&Device::new(), Some(&late)).await, Code::InvitationRefused);
    // Whoever is registered needs none.
    drop(Client::authenticate(relay.address(), &first).await);
    relay.shutdown().await;
}

#[tokio::test]
async fn an_open_relay_ignores_invitations() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let mut client = Client::connect(relay.address()).await;
    let proof = client.hello().await;
    let request = v1::Register { invitation: Some("whatever".into()), ..Device::new().register_request(&proof) };
    assert!(matches!(client.ask(Request::Register(request)).await, Response::Authenticated(_)));
    relay.shutdown().await;
}

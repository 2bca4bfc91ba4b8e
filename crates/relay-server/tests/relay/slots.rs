//! Slots, by which a device is linked; and devices that come with a list.

use std::time::Duration;

use bytes::Bytes;
use kuvert_relay::RunningRelay;
use kuvert_relay::limits::{NEW_SLOTS, SLOT_REQUESTS};
use kuvert_relay::slots::{LIFE_MS, MAX_PIECE_BYTES};
use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
use kuvert_types::limits::MAX_DEVICES;
use kuvert_types::{DeviceId, DeviceList};
use kuvert_wire::v1;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;

use crate::common::*;

fn write(slot: &[u8], number: u32, piece: impl Into<Bytes>) -> Request {
    Request::WriteSlot(v1::WriteSlot { slot: Bytes::copy_from_slice(slot), number, piece: piece.into() })
}

fn read(slot: &[u8], number: u32) -> Request {
    Request::ReadSlot(v1::ReadSlot { slot: Bytes::copy_from_slice(slot), number })
}

/// A connection that says hello and not who it is.
async fn nobody(relay: &RunningRelay) -> Client {
    let mut client = Client::connect(relay.address()).await;
    client.hello().await;
    client
}

async fn piece(client: &mut Client, slot: &[u8], number: u32) -> Bytes {
    match client.ask(read(slot, number)).await {
        Response::SlotPiece(v1::SlotPiece { piece }) => piece,
        other => panic!("{other:?}"),
    }
}

async fn done(client: &mut Client, request: Request) {
    let answer = client.ask(request).await;
    assert!(matches!(answer, Response::Done(_)), "{answer:?}");
}

#[tokio::test]
async fn two_devices_without_a_name_leave_each_other_pieces_for_five_minutes() {
    let data = tempfile::tempdir().unwrap();
    let (relay, clock) = start_at_noon(data.path()).await;
    let (mut new, mut existing) = (nobody(&relay).await, nobody(&relay).await);
    let (slot, other) = (random::<16>(), random::<16>());
    assert_eq!(existing.refused(read(&slot, 0)).await, Code::SlotUnknown);
    done(&mut new, write(&slot, 0, vec![7; MAX_PIECE_BYTES])).await;
    done(&mut new, write(&slot, 0, vec![7; MAX_PIECE_BYTES])).await;
    assert_eq!(piece(&mut existing, &slot, 0).await, vec![7; MAX_PIECE_BYTES]);
    match new.ask(read(&slot, 1)).await {
        Response::Error(error) => assert_eq!((error.code(), error.retry_after_ms), (Code::NotReady, 1_000)),
        other => panic!("{other:?}"),
    }
    done(&mut existing, write(&slot, 1, "answer")).await;
    assert_eq!(piece(&mut new, &slot, 1).await, "answer");
    // Another answer than the one that is there, a piece too early, one too many, and one in a slot that was not begun.
    assert_eq!(existing.refused(write(&slot, 1, "another")).await, Code::Invalid);
    assert_eq!(existing.refused(write(&slot, 3, "welcome")).await, Code::Invalid);
    assert_eq!(existing.refused(write(&slot, 4, "more")).await, Code::Invalid);
    assert_eq!(existing.refused(write(&other, 1, "answer")).await, Code::SlotUnknown);
    assert_eq!(existing.refused(read(&other, 0)).await, Code::SlotUnknown);
    // Not what the protocol says.
    assert_eq!(new.refused(write(&slot, 2, "")).await, Code::Invalid);
    assert_eq!(new.refused(write(&slot, 2, vec![7; MAX_PIECE_BYTES + 1])).await, Code::TooLarge);
    assert_eq!(new.refused(write(&slot[1..], 2, "consent")).await, Code::Malformed);
    assert_eq!(new.refused(read(&slot, u32::MAX)).await, Code::Invalid);

    clock.advance(Duration::from_millis(LIFE_MS));
    // Reading comes first: writing makes room.
    assert_eq!(existing.refused(read(&slot, 0)).await, Code::SlotUnknown);
    assert_eq!(new.refused(write(&slot, 2, "consent")).await, Code::SlotUnknown);
    relay.shutdown().await;
}

#[tokio::test]
async fn what_asks_for_slots_asks_for_nothing_else_and_what_has_a_name_asks_for_none() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let device = Device::new();
    let mut known = Client::register(relay.address(), &device).await;
    assert_eq!(known.refused(write(&random::<16>(), 0, "offer")).await, Code::Invalid);
    assert_eq!(known.refused(read(&random::<16>(), 0)).await, Code::Invalid);
    let mut linking = nobody(&relay).await;
    done(&mut linking, write(&random::<16>(), 0, "offer")).await;
    assert_eq!(linking.refused(Request::Attach(v1::Attach {})).await, Code::NotAuthenticated);
    linking.closed().await;
    relay.shutdown().await;
}

#[tokio::test]
async fn an_address_begins_so_many_slots() {
    let data = tempfile::tempdir().unwrap();
    let (relay, clock) = start_at_noon(data.path()).await;
    let mut client = nobody(&relay).await;
    for _ in 0..NEW_SLOTS.burst {
        done(&mut client, write(&random::<16>(), 0, "offer")).await;
    }
    let late = random::<16>();
    assert_eq!(client.refused(write(&late, 0, "offer")).await, Code::Limited);
    clock.advance(Duration::from_secs(3_600 / u64::from(NEW_SLOTS.per_hour) + 1));
    done(&mut client, write(&late, 0, "offer")).await;
    relay.shutdown().await;
}

#[tokio::test]
async fn an_address_asks_for_slots_so_often() {
    let data = tempfile::tempdir().unwrap();
    let (relay, clock) = start_at_noon(data.path()).await;
    let mut client = nobody(&relay).await;
    let slot = random::<16>();
    for _ in 0..SLOT_REQUESTS.burst {
        assert_eq!(client.refused(read(&slot, 0)).await, Code::SlotUnknown);
    }
    assert_eq!(client.refused(read(&slot, 0)).await, Code::Limited);
    clock.advance(Duration::from_secs(3_600 / u64::from(SLOT_REQUESTS.per_hour) + 1));
    assert_eq!(client.refused(read(&slot, 0)).await, Code::SlotUnknown);
    relay.shutdown().await;
}

/// A second device of an account, and the list that names both.
fn second_of(first: &Device) -> Device {
    let address = kuvert_types::Address { device: DeviceId::new(2).unwrap(), ..first.address };
    Device { address, account_key: first.account_key.clone(), ..Device::new() }
}

fn list_of(devices: &[&Device], number: u64) -> DeviceList {
    let entry =
        |device: &&Device| DeviceEntry { device: device.address.device, certificate_hash: device.certificate().hash() };
    let devices_of = devices.iter().map(entry).collect();
    let body = DeviceListBody { account: devices[0].address.account, number, devices: devices_of };
    let signature = sign(&devices[0].account_key, &body.statement());
    DeviceList::assemble(body, signature, &devices[0].account_public()).unwrap()
}

fn publish(list: &DeviceList, with: &[&Device]) -> Request {
    Request::PublishDeviceList(v1::PublishDeviceList {
        device_list: list.encode().into(),
        certificates: with.iter().map(|device| device.certificate().encode().to_vec().into()).collect(),
    })
}

/// With what the relay refuses a device that says who it is.
async fn turned_away(relay: &RunningRelay, device: &Device) -> Code {
    let mut client = Client::connect(relay.address()).await;
    let proof = client.hello().await;
    client.refused(Request::Authenticate(device.authenticate_request(&proof))).await
}

#[tokio::test]
async fn a_device_that_comes_with_a_list_is_one_and_one_that_is_left_out_is_none() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (first, bob) = (Device::new(), Device::new());
    let second = second_of(&first);
    let mut there = Client::register(relay.address(), &first).await;
    let mut stranger = Client::register(relay.address(), &bob).await;
    let both = list_of(&[&first, &second], 2);

    // Not a device before; nor through a list without its certificate, or with one that the list does not name, of another account, or
    // with a signature that is another's.
    let third = Device {
        address: kuvert_types::Address { device: DeviceId::new(3).unwrap(), ..first.address },
        ..second.clone()
    };
    assert_eq!(there.refused(publish(&both, &[&third])).await, Code::Invalid);
    assert_eq!(there.refused(publish(&both, &[&bob])).await, Code::Forbidden);
    let forged = Device { account_key: bob.account_key.clone(), ..second.clone() };
    assert_eq!(there.refused(publish(&both, &[&forged])).await, Code::Forbidden);
    let mut broken = second.certificate().encode().to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let broken = v1::PublishDeviceList { device_list: both.encode().into(), certificates: vec![broken.into()] };
    assert_eq!(there.refused(Request::PublishDeviceList(broken)).await, Code::Invalid);
    // Each of them would do alone.
    let many = vec![second.certificate().encode().to_vec().into(); MAX_DEVICES + 1];
    let many = v1::PublishDeviceList { device_list: both.encode().into(), certificates: many };
    assert_eq!(there.refused(Request::PublishDeviceList(many)).await, Code::Invalid);
    assert_eq!(turned_away(&relay, &second).await, Code::AuthenticationFailed);
    // Another account's device cannot publish it.
    assert_eq!(stranger.refused(publish(&both, &[&second])).await, Code::Forbidden);

    done(&mut there, publish(&both, &[&second])).await;
    done(&mut there, publish(&both, &[&second])).await;
    let (mut linked, _) = Client::authenticate(relay.address(), &second).await;
    let by = || Some(v1::get_account::By::Account(Bytes::copy_from_slice(first.address.account.as_bytes())));
    let lookup = || Request::GetAccount(v1::GetAccount { by: by() });
    let Response::Account(record) = stranger.ask(lookup()).await else { panic!("not found") };
    assert_eq!((&record.device_list[..], record.certificates.len()), (&both.encode()[..], 2));
    assert_eq!(record.last_seen, [], "when devices were here is no concern of others");
    // The day is noted beside the answer to a device that authenticates.
    let both_seen = async {
        loop {
            let Response::Account(record) = linked.ask(lookup()).await else { panic!("not found") };
            let seen: Vec<u32> = record.last_seen.iter().map(|seen| seen.device).collect();
            if seen == [1, 2] {
                break;
            }
            assert_eq!(seen, [1]);
        }
    };
    within(both_seen).await;

    // Mail for it; then it is removed, its mail with it, and its connection ends.
    stranger.submit(envelope_from(&bob, &second, "for the second")).await;
    done(&mut there, publish(&list_of(&[&first], 3), &[])).await;
    linked.closed().await;
    assert_eq!(turned_away(&relay, &second).await, Code::AuthenticationFailed);
    assert_eq!(relay.store().stats().await.unwrap().waiting, 0);
    relay.shutdown().await;
}

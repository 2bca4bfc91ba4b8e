//! Inputs to begin with.

use std::path::Path;

use bytes::BytesMut;
use kuvert_client::internal as client;
use kuvert_protocol::attachment::FileKey;
use kuvert_protocol::prelude::*;
use kuvert_types::{DeviceListState, EnvelopeId};
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::demonstration as wire;
use kuvert_wire::v1::demonstration::request::Body as Tell;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::{frame, v1};
use prost::Message;
use serde_json::Value;

use crate::decoders::{ATTACHMENT_KEY, DECODERS, sealed};
use crate::support::{Party, TestRng, established};

/// For each target its inputs.
pub fn all() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let random = |stream: u64, count: u64, with: &[u8]| {
        let input = |n: u64| {
            let mut bytes = vec![0; 64 << (n % 4)];
            rand_core::Rng::fill_bytes(&mut TestRng::new(stream * 1000 + n), &mut bytes);
            [&with[..with.len().min(1)], &bytes].concat()
        };
        (0..count).map(input).collect::<Vec<_>>()
    };
    vec![
        ("decoders", decoders()),
        ("session", random(1, 32, &[])),
        ("dishonest_peer", [random(2, 16, &[0]), random(3, 16, &[1])].concat()),
        ("relay_requests", [random(4, 16, &[]), requests()].concat()),
        ("mailboxes", random(5, 32, &[])),
    ]
}

/// Every string of a file of vectors that stands under this key.
fn vectors(file: &str, key: &str) -> Vec<String> {
    fn find(value: &Value, key: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if name == key => found.push(text.clone()),
                        other => find(other, key, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| find(value, key, found)),
            _ => {}
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(file);
    let mut found = Vec::new();
    find(&serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap(), key, &mut found);
    found.dedup();
    found
}

fn bytes(file: &str, key: &str) -> Vec<Vec<u8>> {
    let decode = |text: &String| data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
    vectors(file, key).iter().filter_map(decode).collect()
}

fn texts(file: &str) -> Vec<Vec<u8>> {
    vectors(file, "text").into_iter().map(String::into_bytes).collect()
}

fn decoders() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut add = |name: &str, inputs: Vec<Vec<u8>>| {
        let at = DECODERS.iter().position(|(known, _)| *known == name).expect("a decoder") as u8;
        seeds.extend(inputs.into_iter().map(|input| [&[at], &input[..]].concat()));
    };
    add("address", bytes("encodings.json", "bytes"));
    add("address_text", texts("encodings.json"));
    add("id_text", texts("encodings.json"));
    add("certificate", bytes("identity.json", "certificate"));
    let lists = bytes("identity.json", "list");
    add("device_list", lists.iter().filter_map(|list| Some(list[..list.len().checked_sub(64)?].to_vec())).collect());
    add("relay_url", texts("relay_url.json"));
    add("invite_link", texts("invite.json"));
    add("session_message", bytes("session.json", "bytes").into_iter().take(4).collect());
    add("session_message", bytes("session.json", "message"));
    add("sealed_sender", bytes("sealed_sender.json", "sealed").into_iter().take(8).collect());
    add("sealed_sender", bytes("sealed_sender.json", "message"));
    add("envelope", bytes("envelope.json", "protobuf"));
    add("client_frame", bytes("envelope.json", "frame"));
    add("content", bytes("envelope.json", "protobuf"));
    add("public_keys", bytes("keys.json", "public"));

    let (mut alice, mut bob) = established(7);
    let bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    add("signed_prekey_secret", bob.store.signed.values().take(1).cloned().collect());
    add("one_time_prekey_secret", bob.store.one_time.values().take(1).cloned().collect());
    add("kem_prekey_secret", bob.store.kem.values().take(1).cloned().collect());
    add("session_record", records(&mut alice, &mut bob));
    let shared = [&[1, 0, 0, 0, 1], &[5; 36][..]].concat();
    add("replay_record", vec![ReplayRecord::new().encode(), [&[2, 0, 0, 0, 1, 2], &[5; 48][..]].concat(), shared]);
    let mut ratchet = Default::default();
    kuvert_protocol::hazmat::pq_ratchet::PostQuantumRatchet::new_initiator(&[1; 32]).encode(&mut ratchet);
    add("pq_ratchet", vec![ratchet.to_vec()]);
    add("prekey_bundle", vec![wire(&bundle).encode_to_vec()]);
    add("content", contents());
    add(
        "client_frame",
        frames(all_requests().into_iter().map(|body| v1::ClientFrame { request: 1, body: Some(body) })),
    );
    let answers = [
        Response::Done(v1::Done {}),
        Response::Bundles(v1::Bundles { device_list: vec![1; 127].into(), bundles: vec![wire(&bundle)] }),
        Response::Error(v1::Error { code: 5, message: "no".into(), retry_after_ms: 7 }),
    ];
    add("server_frame", frames(answers.map(|body| v1::ServerFrame { request: 1, body: Some(body) })));
    add("server_frame", frames(blob_answers().map(|body| v1::ServerFrame { request: 1, body: Some(body) })));
    add("link_code", texts("linking.json"));
    add("link_offer", bytes("linking.json", "offer"));
    let operations = bytes("group_operation.json", "operation");
    add("group_roster", vec![operations.iter().flat_map(|one| with_length(one)).collect()]);
    add("group_operation", operations);
    add("attachment", [0, 1, 300, 70_000].map(attachment).into());
    seeds
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// The size of a file and its blob.
fn attachment(size: usize) -> Vec<u8> {
    let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    [&(size as u64).to_be_bytes()[..], &sealed(&FileKey::from_bytes(&ATTACHMENT_KEY), &content)].concat()
}

/// Every request on a blob's stream.
fn blob_requests() -> impl Iterator<Item = Request> {
    use v1::blob_request::What;
    let (blob, token) = (bytes::Bytes::from_static(&[1; 16]), bytes::Bytes::from_static(&[2; 32]));
    let readers = vec![bytes::Bytes::from_static(&[3; 32]); 2];
    let requests = [
        What::Create(v1::CreateBlob { size: 70_000, readers: readers.clone(), shared: false }),
        What::Append(v1::AppendBlob { blob: blob.clone(), token: token.clone() }),
        What::Piece(v1::BlobPiece { offset: 65_536, bytes: vec![4; 40].into() }),
        What::Status(v1::BlobStatus { blob: blob.clone(), token: token.clone() }),
        What::Commit(v1::CommitBlob { blob: blob.clone(), token: token.clone() }),
        What::Discard(v1::DiscardBlob { blob: blob.clone(), token: token.clone(), readers }),
        What::Read(v1::ReadBlob { blob: blob.clone(), capability: token.clone(), offset: 7 }),
        What::Done(v1::DoneBlob { blob, capability: token }),
    ];
    requests.into_iter().map(|what| Request::Blob(v1::BlobRequest { what: Some(what) }))
}

fn blob_answers() -> impl Iterator<Item = Response> {
    use v1::blob_answer::What;
    let answers = [
        What::Created(v1::BlobCreated { blob: vec![1; 16].into(), token: vec![2; 32].into() }),
        What::State(v1::BlobState { size: 70_000, durable: 65_536, committed: false }),
        What::Piece(v1::BlobPiece { offset: 65_536, bytes: vec![4; 40].into() }),
    ];
    answers.into_iter().map(|what| Response::Blob(v1::BlobAnswer { what: Some(what) }))
}

/// A record at several moments of a conversation.
fn records(alice: &mut Party, bob: &mut Party) -> Vec<Vec<u8>> {
    let mut records = vec![SessionRecord::new().encode().to_vec()];
    for turn in 0..30 {
        drop(alice.encrypt(b"lost"));
        crate::support::exchange(alice, bob);
        if turn % 4 == 0 {
            records.push(alice.record.encode().to_vec());
            records.push(bob.record.encode().to_vec());
        }
    }
    alice.initiate(bob);
    records.push(alice.record.encode().to_vec());
    records
}

fn contents() -> Vec<Vec<u8>> {
    let state = DeviceListState { number: 1, hash: [2; 32] };
    let id = EnvelopeId::from_bytes([3; 16]);
    let bodies = [client::text("hello"), client::receipts(&[id], &[id]), client::session_reset()];
    bodies.map(|body| client::finish_content(&client::draft(id, 5, body), state, state, None).unwrap()).into()
}

fn wire(bundle: &PrekeyBundle) -> v1::PrekeyBundle {
    v1::PrekeyBundle {
        certificate: bundle.certificate.trust_own_storage().encode().to_vec().into(),
        signed_prekey: Some(client::signed_prekey(&bundle.signed_prekey)),
        kem_prekey: Some(client::kem_prekey(&bundle.kem_prekey)),
        kem_prekey_is_last_resort: bundle.kem_kind == KemPrekeyKind::LastResort,
        one_time_prekey: bundle.one_time_prekey.as_ref().map(client::one_time_prekey),
    }
}

fn frames(messages: impl IntoIterator<Item = impl Message>) -> Vec<Vec<u8>> {
    let one = |message| {
        let mut bytes = BytesMut::new();
        frame::encode(&message, &mut bytes).unwrap();
        bytes.to_vec()
    };
    messages.into_iter().map(one).collect()
}

/// One of each command, from and for the accounts of `relay_requests`.
fn all_requests() -> Vec<Request> {
    let account: bytes::Bytes = vec![2; 16].into();
    let address = Some(v1::Address { account: account.clone(), device: 1 });
    let kem = v1::KemPrekey { id: 1, public_key: vec![3; 1568].into(), signature: vec![4; 64].into() };
    let signed = v1::SignedPrekey { id: 1, public_key: vec![3; 32].into(), signature: vec![4; 64].into() };
    let one_time = v1::OneTimePrekey { id: 1, public_key: vec![3; 32].into() };
    let envelope = v1::Envelope {
        id: vec![1; 16].into(),
        recipient: address.clone(),
        source: address.clone(),
        ciphertext: vec![5; 40].into(),
    };
    let mut requests = vec![
        Request::Hello(v1::Hello { version: 1 }),
        Request::Authenticate(v1::Authenticate { address, signature: vec![0; 64].into() }),
        registration(),
        Request::Submit(v1::Submit { envelope: Some(envelope.clone()), access_key: None }),
        Request::Submit(v1::Submit { envelope: Some(envelope), access_key: Some(vec![7; 16].into()) }),
        Request::SetBlocked(v1::SetBlocked { account: vec![1; 16].into(), blocked: true }),
        Request::Attach(v1::Attach {}),
        Request::Acknowledge(v1::Acknowledge { up_to: 1 }),
        Request::AcknowledgeExpired(v1::AcknowledgeExpired { count: 1 }),
        Request::PublishPrekeys(v1::PublishPrekeys {
            signed_prekey: Some(signed),
            last_resort_kem_prekey: Some(kem.clone()),
            one_time_prekeys: vec![one_time],
            one_time_kem_prekeys: vec![kem],
        }),
        Request::CountPrekeys(v1::CountPrekeys {}),
        Request::TakeBundles(v1::TakeBundles { account: account.clone(), devices: vec![1] }),
        Request::GetAccount(v1::GetAccount { by: Some(v1::get_account::By::Account(account)) }),
        Request::PublishDeviceList(v1::PublishDeviceList {
            device_list: vec![1; 127].into(),
            certificates: vec![vec![1; 245].into()],
        }),
        Request::WriteSlot(v1::WriteSlot { slot: vec![1; 16].into(), number: 0, piece: vec![1; 40].into() }),
        Request::ReadSlot(v1::ReadSlot { slot: vec![1; 16].into(), number: 0 }),
        Request::UpdateAccount(v1::UpdateAccount {
            name: Some("dave".to_owned()),
            clear_phone: true,
            ..Default::default()
        }),
        Request::RequestReport(v1::RequestReport {}),
        Request::FetchReport(v1::FetchReport { offset: 0 }),
        Request::Extension(v1::Extension { name: "no-such-extension".into(), body: vec![1; 40].into() }),
    ];
    requests.extend(demonstration());
    requests.extend(blob_requests());
    requests.push(Request::DeleteAccount(v1::DeleteAccount {}));
    requests
}

/// Every request of the extension `demonstration`.
fn demonstration() -> impl Iterator<Item = Request> {
    let person = wire::Person { phone: "+4915550000002".into(), name: Some("dave".into()), ..wire::Person::default() };
    let requests = [
        Tell::RequestPhoneCode(wire::RequestPhoneCode { phone: "+4915550000001".into() }),
        Tell::VerifyPhone(wire::VerifyPhone { code: "123456".into() }),
        Tell::SetProfile(wire::SetProfile { about: Some("busy".into()), ..wire::SetProfile::default() }),
        Tell::GetProfile(wire::GetProfile { account: vec![2; 16].into() }),
        Tell::UploadAddressBook(wire::UploadAddressBook { people: vec![person], replace: true }),
        Tell::ReportDevice(wire::ReportDevice {
            model: Some("x".into()),
            simulated: vec![wire::SimulatedDetail { what: "battery".into(), value: "simulated: 1 %".into() }],
            ..wire::ReportDevice::default()
        }),
        Tell::WithdrawDisclosure(wire::WithdrawDisclosure {}),
        Tell::GetPolicies(wire::GetPolicies {}),
        Tell::AcceptPolicy(wire::AcceptPolicy { version: "2016-08-25".to_owned(), advertising: true }),
        Tell::ObjectAdvertising(wire::ObjectAdvertising {}),
    ];
    requests.into_iter().map(|body| {
        let body = wire::Request { body: Some(body) }.encode_to_vec().into();
        Request::Extension(v1::Extension { name: wire::NAME.into(), body })
    })
}

/// A registration that succeeds.
fn registration() -> Request {
    use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
    let new = Party::new(9, 9);
    let certificate = *new.local.certificate();
    let entry = DeviceEntry { device: new.address().device, certificate_hash: certificate.hash() };
    let body = DeviceListBody { account: new.address().account, number: 1, devices: vec![entry] };
    let statement = kuvert_types::authentication::statement(&new.address(), &[1; 32], &[2; 32]);
    Request::Register(v1::Register {
        certificate: certificate.encode().to_vec().into(),
        device_list: new.account.sign_device_list(&body).unwrap().encode().into(),
        name: Some("carol".to_owned()),
        phone: None,
        signature: new.local.secrets().sign_authentication(&statement).as_bytes().to_vec().into(),
        invitation: None,
    })
}

/// Streams of commands, as `arbitrary` reads them: a variant as u32, the connection, then the bytes to the end.
fn requests() -> Vec<Vec<u8>> {
    let commands = frames(all_requests().into_iter().map(|body| v1::ClientFrame { request: 1, body: Some(body) }));
    let register_first = [commands[2].clone(), commands[4].clone(), commands[7].clone(), commands[3].clone()].concat();
    // An account that makes use of its rights, and is gone with the last frame but one.
    let is_right = |body: &Request| {
        matches!(
            body,
            Request::Register(_)
                | Request::Extension(_)
                | Request::UpdateAccount(_)
                | Request::RequestReport(_)
                | Request::FetchReport(_)
                | Request::DeleteAccount(_)
        )
    };
    let rights = all_requests().into_iter().filter(is_right).chain([Request::Attach(v1::Attach {})]);
    let rights = frames(rights.map(|body| v1::ClientFrame { request: 1, body: Some(body) })).concat();
    commands.into_iter().chain([register_first, rights]).map(|frame| [&[0; 5], &frame[..]].concat()).collect()
}

//! What clients and relays exchange: envelopes, contents, frames, addresses, links, authentication.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use bytes::{Bytes, BytesMut};
use data_encoding::BASE32_NOPAD;
use kuvert_types::authentication;
use kuvert_types::limits::{MAX_CIPHERTEXT_BYTES, MAX_EXTENSION_NAME_BYTES, MAX_FILE_BYTES, MAX_FRAME_BYTES};
use kuvert_types::{AccountId, Address, BlobCapability, BlobId, DeviceId, EnvelopeId, RelayUrl, Signature};
use kuvert_wire::attachment::Attachment;
use kuvert_wire::checked::{Envelope, to_wire};
use kuvert_wire::{frame, v1};
use prost::Message;
use serde_json::{Value, json};

use super::{Case, Draws, bytes, check, hex};
use crate::identity::DeviceSecrets;

fn address(name: &str, device: u32) -> Address {
    Address { account: AccountId::from_bytes(bytes(name)), device: DeviceId::new(device).unwrap() }
}

#[test]
fn vectors_envelope() {
    let mut cases = Vec::new();
    let envelope = |source: Option<Address>, ciphertext: &[u8]| Envelope {
        id: EnvelopeId::from_bytes(bytes("envelope")),
        recipient: address("bob", 2),
        source,
        ciphertext: Bytes::copy_from_slice(ciphertext),
    };
    for (name, source, ciphertext) in [
        ("with source", Some(address("alice", 1)), &b"sealed"[..]),
        ("without source", None, b"sealed"),
        ("one byte", Some(address("alice", u32::MAX)), b"x"),
    ] {
        let wire = v1::Envelope::from(envelope(source, ciphertext)).encode_to_vec();
        let decoded = v1::Envelope::decode(wire.as_slice()).unwrap();
        assert_eq!(Envelope::try_from(decoded).unwrap(), envelope(source, ciphertext));
        cases.push(Case::new(
            format!("envelope {name}"),
            "Fields in ascending order, as protobuf encoders write them. Decoders take any order.",
            json!({
                "id": hex(bytes::<16>("envelope")), "recipient": hex(address("bob", 2).to_bytes()),
                "source": source.map(|source| hex(source.to_bytes())), "ciphertext": hex(ciphertext),
            }),
            json!({ "protobuf": hex(wire) }),
        ));
    }
    let good = v1::Envelope::from(envelope(None, b"sealed"));
    let mut reject = |name: &str, change: &dyn Fn(&mut v1::Envelope), reason: &str| {
        let mut envelope = good.clone();
        change(&mut envelope);
        let wire = envelope.encode_to_vec();
        assert!(Envelope::try_from(envelope).is_err(), "{name}");
        let inputs = json!({ "protobuf": hex(wire) });
        cases.push(Case::reject(format!("envelope {name}"), "A field that breaks a rule.", inputs, reason));
    };
    reject("id of 15 bytes", &|e| e.id = vec![1; 15].into(), "id");
    reject("no recipient", &|e| e.recipient = None, "recipient");
    reject(
        "recipient device 0",
        &|e| e.recipient = Some(v1::Address { account: vec![2; 16].into(), device: 0 }),
        "recipient",
    );
    reject(
        "source account of 17 bytes",
        &|e| e.source = Some(v1::Address { account: vec![2; 17].into(), device: 1 }),
        "source",
    );
    reject("empty ciphertext", &|e| e.ciphertext = Bytes::new(), "ciphertext");
    contents(&mut cases);
    frames(&mut cases);
    check("envelope", cases);
}

fn contents(cases: &mut Vec<Case>) {
    use v1::content::Body;
    let state = |number, name: &str| Some(v1::DeviceListState { number, hash: bytes::<32>(name).to_vec().into() });
    let id = |name: &str| -> Bytes { bytes::<16>(name).to_vec().into() };
    let content = |body| v1::Content {
        message_id: id("message"),
        sent_at: 1_700_000_000_000,
        sender_list: state(3, "sender list"),
        recipient_list: state(1, "recipient list"),
        body,
        access_key: None,
        takes_sealed: false,
    };
    let receipts = v1::Receipts { delivered: vec![id("one"), id("two")], read: vec![id("one")] };
    for (name, body, listed) in [
        (
            "text",
            Some(Body::Text(v1::Text { text: "Grüße".to_owned(), attachments: Vec::new() })),
            json!({ "text": "Grüße" }),
        ),
        (
            "receipts",
            Some(Body::Receipts(receipts)),
            json!({ "delivered": [hex(id("one")), hex(id("two"))], "read": [hex(id("one"))] }),
        ),
        ("reset", Some(Body::SessionReset(v1::SessionReset {})), json!({ "session_reset": true })),
        ("of a newer client", None, Value::Null),
    ] {
        cases.push(Case::new(
            format!("content {name}"),
            "A content as it is padded and encrypted. Without a known body it is ignored.",
            json!({
                "message_id": hex(id("message")), "sent_at": 1_700_000_000_000_u64,
                "sender_list": { "number": 3, "hash": hex(bytes::<32>("sender list")) },
                "recipient_list": { "number": 1, "hash": hex(bytes::<32>("recipient list")) },
                "body": listed,
            }),
            json!({ "protobuf": hex(content(body).encode_to_vec()) }),
        ));
    }
    let with_key = v1::Content {
        access_key: Some(id("access key")),
        ..content(Some(Body::Text(v1::Text { text: "Grüße".to_owned(), attachments: Vec::new() })))
    };
    cases.push(Case::new(
        "content text with an access key",
        "The key of the sender, for its contacts; sealed mail is not taken.",
        json!({
            "message_id": hex(id("message")), "sent_at": 1_700_000_000_000_u64,
            "sender_list": { "number": 3, "hash": hex(bytes::<32>("sender list")) },
            "recipient_list": { "number": 1, "hash": hex(bytes::<32>("recipient list")) },
            "body": { "text": "Grüße" }, "access_key": hex(id("access key")),
        }),
        json!({ "protobuf": hex(with_key.encode_to_vec()) }),
    ));
    let takes_sealed = v1::Content { takes_sealed: true, ..with_key.clone() };
    cases.push(Case::new(
        "content text with an access key, and sealed mail is taken",
        "The key of the sender, who takes mail with it whose sender is sealed, too.",
        json!({
            "message_id": hex(id("message")), "sent_at": 1_700_000_000_000_u64,
            "sender_list": { "number": 3, "hash": hex(bytes::<32>("sender list")) },
            "recipient_list": { "number": 1, "hash": hex(bytes::<32>("recipient list")) },
            "body": { "text": "Grüße" }, "access_key": hex(id("access key")), "takes_sealed": true,
        }),
        json!({ "protobuf": hex(takes_sealed.encode_to_vec()) }),
    ));
    for (name, text, files) in [
        ("a file and no text", "", vec![picture()]),
        ("a text with two files", "Grüße", vec![picture(), voice()]),
        ("ten files", "", vec![document(); 10]),
    ] {
        let listed = files.iter().map(attachment_fields).collect::<Vec<_>>();
        let body = Body::Text(v1::Text { text: text.to_owned(), attachments: files });
        cases.push(Case::new(
            format!("content {name}"),
            "Files lie at the relay; the message tells what opens them.",
            json!({
                "message_id": hex(id("message")), "sent_at": 1_700_000_000_000_u64,
                "sender_list": { "number": 3, "hash": hex(bytes::<32>("sender list")) },
                "recipient_list": { "number": 1, "hash": hex(bytes::<32>("recipient list")) },
                "body": { "text": text, "attachments": listed },
            }),
            json!({ "protobuf": hex(content(Some(body)).encode_to_vec()) }),
        ));
    }
    bad_contents(cases, &content(Some(Body::Text(v1::Text { text: "Grüße".to_owned(), attachments: Vec::new() }))));
}

/// A file with all that every file has, of the largest size.
fn document() -> v1::Attachment {
    Attachment {
        blob: BlobId::from_bytes(bytes("blob")),
        capability: BlobCapability::from_bytes(bytes("capability")),
        shared: true,
        file_key: bytes("file key"),
        size: MAX_FILE_BYTES,
        digest: bytes("digest"),
        media_type: "application/vnd.oasis.opendocument.text".to_owned(),
        name: "Bäume.odt".to_owned(),
        view_once: false,
        picture: None,
        voice: None,
    }
    .into()
}

fn picture() -> v1::Attachment {
    let picture = v1::Picture { width: 4_000, height: 65_535, thumbnail: Some(Bytes::from_static(b"jpeg")) };
    v1::Attachment { shared: false, view_once: true, picture: Some(picture), size: 5, ..document() }
}

fn voice() -> v1::Attachment {
    let voice = v1::Voice { duration_ms: 1_500, waveform: (0..64).collect::<Vec<u8>>().into() };
    v1::Attachment { name: String::new(), media_type: "audio/ogg".to_owned(), voice: Some(voice), ..document() }
}

fn attachment_fields(file: &v1::Attachment) -> Value {
    assert_eq!(v1::Attachment::from(Attachment::try_from(file.clone()).unwrap()), *file);
    json!({
        "blob": hex(&file.blob), "capability": hex(&file.capability), "file_key": hex(&file.file_key), "size": file.size,
        "digest": hex(&file.digest), "media_type": file.media_type, "name": file.name, "shared": file.shared,
        "view_once": file.view_once,
        "picture": file.picture.as_ref().map(|picture| json!({
            "width": picture.width, "height": picture.height, "thumbnail": picture.thumbnail.as_ref().map(hex),
        })),
        "voice": file.voice.as_ref().map(|voice| json!({
            "duration_ms": voice.duration_ms, "waveform": hex(&voice.waveform),
        })),
    })
}

/// Contents that break KV-062. Contents are read by the client, whose tests read these cases.
fn bad_contents(cases: &mut Vec<Case>, good: &v1::Content) {
    use v1::content::Body;
    let id = |len: usize| Bytes::from(vec![7; len]);
    let text = |text: &str| Some(Body::Text(v1::Text { text: text.to_owned(), attachments: Vec::new() }));
    let receipts = |delivered, read| Some(Body::Receipts(v1::Receipts { delivered, read }));
    let mut reject = |name: &str, protobuf: Vec<u8>, reason: &str| {
        let (name, inputs) = (format!("content with {name}"), json!({ "protobuf": hex(protobuf) }));
        cases.push(Case::reject(name, "A content that breaks a rule.", inputs, reason));
    };
    let mut changed = |name: &str, change: &dyn Fn(&mut v1::Content), reason: &str| {
        let mut content = good.clone();
        change(&mut content);
        reject(name, content.encode_to_vec(), reason);
    };
    changed("no message id", &|c| c.message_id = Bytes::new(), "message id");
    changed("a message id of 15 bytes", &|c| c.message_id = id(15), "message id");
    changed("a message id of 17 bytes", &|c| c.message_id = id(17), "message id");
    changed("no sender list", &|c| c.sender_list = None, "device list state");
    changed("no recipient list", &|c| c.recipient_list = None, "device list state");
    let hash = |list: &mut Option<v1::DeviceListState>, len| list.as_mut().unwrap().hash = id(len);
    changed("a list hash of 31 bytes", &|c| hash(&mut c.sender_list, 31), "hash of a device list");
    changed("a list hash of 33 bytes", &|c| hash(&mut c.recipient_list, 33), "hash of a device list");
    changed("an empty text", &|c| c.body = text(""), "length of a text");
    changed("a text of 65,537 bytes", &|c| c.body = text(&"x".repeat(65_537)), "length of a text");
    changed("a short id delivered", &|c| c.body = receipts(vec![id(16), id(15)], vec![]), "id in a receipt");
    changed("an access key of 15 bytes", &|c| c.access_key = Some(id(15)), "access key");
    changed("an empty access key", &|c| c.access_key = Some(Bytes::new()), "access key");
    changed("a long id read", &|c| c.body = receipts(vec![], vec![id(17)]), "id in a receipt");

    let files = |files| Some(Body::Text(v1::Text { text: "Grüße".to_owned(), attachments: files }));
    changed("eleven files", &|c| c.body = files(vec![document(); 11]), "number of files");
    let mut file = |name: &str, change: &dyn Fn(&mut v1::Attachment), reason: &str| {
        let mut file = v1::Attachment { voice: voice().voice, ..picture() };
        change(&mut file);
        changed(&format!("a file with {name}"), &|c| c.body = files(vec![document(), file.clone()]), reason);
    };
    file("a blob id of 15 bytes", &|f| f.blob = id(15), "blob id");
    file("a capability of 16 bytes", &|f| f.capability = id(16), "capability");
    file("a key of 31 bytes", &|f| f.file_key = id(31), "file key");
    file("no digest", &|f| f.digest = Bytes::new(), "digest");
    file("2^31 bytes", &|f| f.size = 1 << 31, "size");
    file("no media type", &|f| f.media_type = String::new(), "media type");
    file("a media type in capitals", &|f| f.media_type = "image/JPEG".to_owned(), "media type");
    file("a media type with a parameter", &|f| f.media_type = "text/plain;charset=utf-8".to_owned(), "media type");
    file("a media type of 128 bytes", &|f| f.media_type = format!("a/{}", "b".repeat(126)), "media type");
    file("a name of 256 bytes", &|f| f.name = "x".repeat(256), "name");
    file("a picture without a width", &|f| f.picture.as_mut().unwrap().width = 0, "side of a picture");
    file("a picture of 65,536 lines", &|f| f.picture.as_mut().unwrap().height = 65_536, "side of a picture");
    file("an empty thumbnail", &|f| f.picture.as_mut().unwrap().thumbnail = Some(Bytes::new()), "thumbnail");
    file("a thumbnail of 4,097 bytes", &|f| f.picture.as_mut().unwrap().thumbnail = Some(id(4_097)), "thumbnail");
    file("a voice without a duration", &|f| f.voice.as_mut().unwrap().duration_ms = 0, "duration");
    file("a voice of more than a day", &|f| f.voice.as_mut().unwrap().duration_ms = 86_400_001, "duration");
    file("a waveform of 63 steps", &|f| f.voice.as_mut().unwrap().waveform = id(63), "waveform");

    let head = v1::Content { body: None, ..good.clone() }.encode_to_vec();
    reject("a text that is not UTF-8", [&head[..], &[0x2A, 3, 0x0A, 1, 0xFF]].concat(), "text is not UTF-8");
    reject("a text that is a number", [&head[..], &[0x28, 1]].concat(), "wire type of a field");
    reject("its end cut off", head[..head.len() - 1].to_vec(), "field is too short");
    reject("nothing in it", Vec::new(), "message id");
    reject("bytes that are no protobuf", vec![0xFF, 0xFF], "varint");
}

fn frames(cases: &mut Vec<Case>) {
    use v1::blob_request::What as Blob;
    use v1::client_frame::Body;
    let submit = v1::Submit {
        envelope: Some(v1::Envelope {
            id: vec![7; 16].into(),
            recipient: Some(to_wire(&address("bob", 2))),
            source: Some(to_wire(&address("alice", 1))),
            ciphertext: vec![9; 200].into(),
        }),
        access_key: None,
    };
    let as_contact = v1::Submit { access_key: Some(vec![5; 16].into()), ..submit.clone() };
    let without_source = submit.envelope.clone().map(|envelope| v1::Envelope { source: None, ..envelope });
    let sealed = v1::SubmitSealed { envelope: without_source, access_key: vec![5; 16].into() };
    let blocked = |blocked| v1::SetBlocked { account: vec![8; 16].into(), blocked };
    let blob = |what| Body::Blob(v1::BlobRequest { what: Some(what) });
    let (name, token) = (|| Bytes::from(vec![4; 16]), || Bytes::from(vec![6; 32]));
    let discard = v1::DiscardBlob { blob: name(), token: token(), readers: Vec::new() };
    let create = v1::CreateBlob { size: 561, readers: vec![vec![1; 32].into(), vec![2; 32].into()], shared: false };
    let register = v1::Register {
        certificate: vec![1; 245].into(),
        device_list: vec![2; 130].into(),
        name: Some("alice".into()),
        phone: None,
        signature: vec![3; 64].into(),
        invitation: Some("abcdefghijklmnopqrstuvwxyz".into()),
    };
    for (name, request, body) in [
        ("hello", 1, Body::Hello(v1::Hello { version: kuvert_wire::VERSION })),
        ("attach", 2, Body::Attach(v1::Attach {})),
        ("acknowledge", 300, Body::Acknowledge(v1::Acknowledge { up_to: 1 << 40 })),
        ("submit", 3, Body::Submit(submit)),
        ("register", 4, Body::Register(register)),
        ("submit sealed", 2, Body::SubmitSealed(sealed)),
        ("set access key", 5, Body::SetAccessKey(v1::SetAccessKey { hash: Some(vec![6; 32].into()), sealed: true })),
        ("no access key", 6, Body::SetAccessKey(v1::SetAccessKey { hash: None, sealed: false })),
        ("submit with the recipient's access key", 7, Body::Submit(as_contact)),
        (
            "set access key, no sealed mail",
            8,
            Body::SetAccessKey(v1::SetAccessKey { hash: Some(vec![6; 32].into()), sealed: false }),
        ),
        ("block", 9, Body::SetBlocked(blocked(true))),
        ("unblock", 10, Body::SetBlocked(blocked(false))),
        ("create blob", 1, blob(Blob::Create(create))),
        ("append to a blob", 2, blob(Blob::Append(v1::AppendBlob { blob: name(), token: token() }))),
        ("piece of a blob", 2, blob(Blob::Piece(v1::BlobPiece { offset: 65_536, bytes: vec![9; 100].into() }))),
        ("blob status", 3, blob(Blob::Status(v1::BlobStatus { blob: name(), token: token() }))),
        ("commit blob", 4, blob(Blob::Commit(v1::CommitBlob { blob: name(), token: token() }))),
        ("discard blob", 5, blob(Blob::Discard(discard))),
        ("read blob", 1, blob(Blob::Read(v1::ReadBlob { blob: name(), capability: token(), offset: 1 << 20 }))),
        ("done with a blob", 2, blob(Blob::Done(v1::DoneBlob { blob: name(), capability: token() }))),
    ] {
        let message = v1::ClientFrame { request, body: Some(body) };
        let mut out = BytesMut::new();
        frame::encode(&message, &mut out).unwrap();
        cases.push(Case::new(
            format!("frame {name}"),
            "A frame of a client: the body's length, then the body.",
            json!({ "body": hex(message.encode_to_vec()) }),
            json!({ "frame": hex(&out) }),
        ));
    }
    relay_frames(cases);
    extension_frames(cases);
    device_reports(cases);
    for (name, frame, reason) in [
        ("too long", vec![0x81, 0x80, 0x08], "131,073 bytes"),
        ("length of four bytes", vec![0x80, 0x80, 0x80, 0x00], "the length has more than three bytes"),
        ("no message", vec![2, 0xFF, 0xFF], "the body is no protobuf"),
    ] {
        assert!(frame::decode::<v1::ClientFrame>(&mut BytesMut::from(&frame[..])).is_err());
        cases.push(Case::reject(format!("frame {name}"), "No frame.", json!({ "frame": hex(frame) }), reason));
    }
    assert_eq!((MAX_FRAME_BYTES, MAX_CIPHERTEXT_BYTES), (131_072, 98_304));
}

/// Requests to an extension and its answers, in the frames of client and relay. The body is the extension's.
fn extension_frames(cases: &mut Vec<Case>) {
    use v1::demonstration::{Answer, Done, NAME, Request, VerifyPhone, answer, request};
    let request = request::Body::VerifyPhone(VerifyPhone { code: "123456".into() });
    let request = Request { body: Some(request) }.encode_to_vec();
    let answer = Answer { body: Some(answer::Body::Done(Done {})) }.encode_to_vec();
    let extension = |name: &str, body: &[u8]| v1::Extension { name: name.into(), body: body.to_vec().into() };
    let longest = "x".repeat(MAX_EXTENSION_NAME_BYTES);
    let names = [("demonstration", NAME), ("a name of 32 bytes", longest.as_str())];
    let named = names.map(|(what, name)| (what, name, request.clone(), answer.clone()));
    for (what, name, request, answer) in named.into_iter().chain([("an empty body", NAME, Vec::new(), Vec::new())]) {
        let to_relay = v1::client_frame::Body::Extension(extension(name, &request));
        let to_client = v1::server_frame::Body::Extension(extension(name, &answer));
        let (mut asked, mut answered) = (BytesMut::new(), BytesMut::new());
        frame::encode(&v1::ClientFrame { request: 9, body: Some(to_relay) }, &mut asked).unwrap();
        frame::encode(&v1::ServerFrame { request: 9, body: Some(to_client) }, &mut answered).unwrap();
        cases.push(Case::new(
            format!("extension frame {what}"),
            "A request to an extension of a relay, and its answer. The body is bytes for a relay without it.",
            json!({ "request": 9, "name": name, "body": hex(&request), "answer": hex(&answer) }),
            json!({ "frame": hex(&asked), "relay_frame": hex(&answered) }),
        ));
    }
}

/// What a client at L0 tells of its machine, and what it made up: a request of the extension `demonstration`.
fn device_reports(cases: &mut Vec<Case>) {
    use v1::demonstration::{NAME, ReportDevice, Request, SimulatedDetail, request};
    let told = ["x86_64", "Linux", "6.1", "0.3.0", "de", "wifi"];
    let made_up = [("battery", "simulated: 82 %"), ("location", "simulated: 52.00 N, 10.00 E")];
    for (name, parts, simulated) in [
        ("nothing", [None; 6], &[][..]),
        ("all that is measured", told.map(Some), &[][..]),
        ("all that is measured, and what is made up", told.map(Some), &made_up[..]),
        ("what is made up alone", [None; 6], &made_up[1..]),
        ("empty parts", [Some(""), None, Some(""), None, None, None], &[("battery", "")][..]),
    ] {
        let [model, system, system_version, app_version, language, network] = parts.map(|part| part.map(str::to_owned));
        let detail = |(what, value): &(&str, &str)| SimulatedDetail { what: (*what).into(), value: (*value).into() };
        let report = ReportDevice {
            model,
            system,
            system_version,
            app_version,
            language,
            network,
            simulated: simulated.iter().map(detail).collect(),
        };
        let body = Request { body: Some(request::Body::ReportDevice(report)) }.encode_to_vec();
        let asked = v1::Extension { name: NAME.into(), body: body.clone().into() };
        let mut out = BytesMut::new();
        let asked = v1::ClientFrame { request: 9, body: Some(v1::client_frame::Body::Extension(asked)) };
        frame::encode(&asked, &mut out).unwrap();
        let listed: Vec<Value> =
            simulated.iter().map(|(what, value)| json!({ "what": what, "value": value })).collect();
        cases.push(Case::new(
            format!("device report {name}"),
            "ReportDevice of the extension demonstration: parts that are absent are null; simulated details are made up.",
            json!({
                "request": 9, "model": parts[0], "system": parts[1], "system_version": parts[2], "app_version": parts[3],
                "language": parts[4], "network": parts[5], "simulated": listed,
            }),
            json!({ "protobuf": hex(&body), "frame": hex(&out) }),
        ));
    }
}

/// What a relay answers where an answer has parts that clients read.
fn relay_frames(cases: &mut Vec<Case>) {
    use v1::server_frame::Body;
    let occupants = [(Some([8; 16]), 3_000_u64, 50_000_000_u64), (None, 2, 2_000)];
    let largest = occupants.map(|(account, envelopes, bytes)| v1::Occupant {
        account: account.map(|account: [u8; 16]| account.to_vec().into()),
        envelopes,
        bytes,
    });
    let welcome = |full| v1::Authenticated {
        waiting: 3_002,
        waiting_bytes: 50_002_000,
        expired: 1,
        relay_time: 1_700_000_000_000,
        full,
    };
    let full = v1::FullMailbox { refused: 7, largest: largest.to_vec() };
    let listed = |refused: u64, largest: Value| {
        json!({ "authenticated": {
            "waiting": 3_002, "waiting_bytes": 50_002_000, "expired": 1, "relay_time": 1_700_000_000_000_u64,
            "refused": refused, "largest": largest,
        } })
    };
    let filled = occupants.map(|(account, envelopes, bytes)| {
        json!({ "account": account.map(|account| hex(&account[..])), "envelopes": envelopes, "bytes": bytes })
    });
    for (name, request, body, fields) in [
        ("welcome", 2, Body::Authenticated(welcome(None)), listed(0, json!([]))),
        ("welcome to a mailbox that was full", 2, Body::Authenticated(welcome(Some(full))), listed(7, json!(filled))),
        ("accepted", 300, Body::Accepted(v1::Accepted { id: vec![7; 16].into() }), json!({ "accepted": hex([7; 16]) })),
    ] {
        let message = v1::ServerFrame { request, body: Some(body) };
        let mut out = BytesMut::new();
        frame::encode(&message, &mut out).unwrap();
        cases.push(Case::new(
            format!("relay frame {name}"),
            "A frame of a relay. An occupant without an account stands for all mail whose sender is sealed.",
            super::with(json!({ "request": request }), fields),
            json!({ "frame": hex(&out) }),
        ));
    }
}

#[test]
fn vectors_relay_url() {
    let fingerprint: [u8; 32] = bytes("relay");
    let mut cases = Vec::new();
    for (host, port) in
        [("localhost", 4433), ("127.0.0.1", 1), ("::1", 65_535), ("relay.example", 443), ("fe80::1%eth0", 5)]
    {
        let url = RelayUrl { host: host.to_owned(), port, fingerprint };
        assert_eq!(url.to_string().parse(), Ok(url.clone()));
        let inputs = json!({ "host": host, "port": port, "fingerprint": hex(fingerprint) });
        cases.push(Case::new(format!("{host} {port}"), "An address.", inputs, json!({ "text": url.to_string() })));
    }
    let good = RelayUrl { host: "relay.example".to_owned(), port: 443, fingerprint }.to_string();
    let last = good.len() - 1;
    // 43 characters hold 258 bits: two are unused.
    let wrong_end = 'B';
    for (name, text, reason) in [
        ("scheme", good.replace("kuvert://", "https://"), "scheme"),
        ("no fingerprint", good[..good.find('#').unwrap()].to_owned(), "fingerprint"),
        ("short fingerprint", good[..last].to_owned(), "fingerprint"),
        ("long fingerprint", format!("{good}A"), "fingerprint"),
        ("unused bits", format!("{}{wrong_end}", &good[..last]), "fingerprint: the two unused bits are not zero"),
        ("padding", format!("{good}="), "fingerprint"),
        ("port 0", good.replace(":443", ":0"), "port"),
        ("port 65536", good.replace(":443", ":65536"), "port"),
        ("no port", good.replace(":443", ""), "port"),
        ("bare IPv6", good.replace("relay.example", "::1"), "brackets"),
        ("no host", good.replace("relay.example", ""), "host"),
        ("host character", good.replace("relay.example", "relay/example"), "host"),
    ] {
        assert!(text.parse::<RelayUrl>().is_err(), "{name}: {text}");
        cases.push(Case::reject(name, "No address of a relay.", json!({ "text": text }), reason));
    }
    check("relay_url", cases);
}

/// Links are read and written by the client; this only joins parts that are this crate's and `kuvert_types`'.
#[test]
fn vectors_invite() {
    let relay = RelayUrl { host: "::1".to_owned(), port: 4433, fingerprint: bytes("relay") };
    let (account, key_fingerprint) = (AccountId::from_bytes(bytes("invite account")), bytes::<32>("invite key"));
    let base32 = BASE32_NOPAD.encode(&key_fingerprint).to_ascii_lowercase();
    let link = |name: Option<&str>| {
        let query = name.map_or(String::new(), |name| format!("?name={name}"));
        let relay_fingerprint = relay.fingerprint_text();
        format!("kuvert://{}/contact/{account}/{base32}{query}#{relay_fingerprint}", relay.host_port())
    };
    let mut cases = Vec::new();
    for name in [None, Some("bob"), Some("bob.1_x-y")] {
        let inputs = json!({
            "host": relay.host, "port": relay.port, "relay_fingerprint": hex(relay.fingerprint),
            "account": hex(account.as_bytes()), "account_key_fingerprint": hex(key_fingerprint), "name": name,
        });
        let title = format!("with {}", name.unwrap_or("no name"));
        cases.push(Case::new(title, "An invite link.", inputs, json!({ "text": link(name) })));
    }
    let good = link(Some("bob"));
    let account = account.to_string();
    for (name, text, reason) in [
        ("scheme", good.replace("kuvert://", "http://"), "scheme"),
        ("path", good.replace("/contact/", "/c/"), "path"),
        ("name", good.replace("name=bob", "name=Bob"), "not a user name"),
        ("parameter", good.replace("name=bob", "alias=bob"), "unknown parameter"),
        ("second parameter", good.replace("name=bob", "name=bob&x=y"), "unknown parameter"),
        ("short account", good.replace(&account, &account[1..]), "account"),
        ("short key fingerprint", good.replace(&base32, &base32[1..]), "key fingerprint"),
        ("no relay fingerprint", good[..good.find('#').unwrap()].to_owned(), "relay fingerprint"),
        ("port 0", good.replace(":4433", ":0"), "port"),
    ] {
        assert_ne!(text, good);
        cases.push(Case::reject(name, "No invite link.", json!({ "text": text }), reason));
    }
    check("invite", cases);
}

#[test]
fn vectors_relay_authentication() {
    let draws = &mut Draws::new("relay authentication");
    let mut cases = Vec::new();
    for device in [1, 3] {
        let secrets = DeviceSecrets::generate(draws);
        let address = address("alice", device);
        let (challenge, exporter) = (bytes::<32>("challenge"), bytes::<32>("exporter"));
        let statement = authentication::statement(&address, &challenge, &exporter);
        let signature = secrets.sign_authentication(&statement);
        signature.verify(secrets.signing_key().as_bytes(), &statement).unwrap();
        let inputs = json!({
            "address": hex(address.to_bytes()), "challenge": hex(challenge), "exporter": hex(exporter),
            "signing_key": hex(secrets.signing_key().as_bytes()),
        });
        let outputs = json!({ "statement": hex(statement), "signature": hex(signature.as_bytes()) });
        let description = "Draws: signing seed, identity secret. The exporter comes from TLS; here it is any 32 bytes.";
        cases.push(Case::new(format!("device {device}"), description, inputs.clone(), outputs).drawn(draws));
        if device != 1 {
            continue;
        }
        for (name, other, reason) in [
            (
                "other exporter",
                authentication::statement(&address, &challenge, &[0; 32]),
                "made for another connection",
            ),
            ("other challenge", authentication::statement(&address, &[0; 32], &exporter), "made for another challenge"),
            (
                "other address",
                authentication::statement(&self::address("bob", 1), &challenge, &exporter),
                "made for another address",
            ),
            ("other purpose", replaced(&statement), "signed under another label"),
        ] {
            let signature: Signature = secrets.sign_authentication(&other);
            assert!(signature.verify(secrets.signing_key().as_bytes(), &statement).is_err());
            let inputs = super::with(inputs.clone(), json!({ "signature": hex(signature.as_bytes()) }));
            cases.push(Case::reject(name, "A signature that a relay must refuse.", inputs, reason));
        }
    }
    check("relay_authentication", cases);
}

fn replaced(statement: &[u8; 117]) -> [u8; 117] {
    let mut other = *statement;
    other[..32].copy_from_slice(&kuvert_types::label::DEVICE_CONSENT);
    other
}

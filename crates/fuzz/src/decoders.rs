//! Every decoder of what another party sent, or of what was stored. The first byte says which, the rest is the input.
//!
//! A fixed layout has one spelling: whatever decodes is encoded to the very bytes that it came from. Protobuf has several
//! spellings for a value, so there the value has to survive. Texts have one, but for white space around them and, in ids,
//! upper case.

use std::cell::RefCell;
use std::fmt::Debug;

use bytes::BytesMut;
use kuvert_client::internal as client;
use kuvert_client::{InviteLink, RelayUrl};
use kuvert_protocol::attachment::{FileKey, HEADER_LEN, Opener, Sealer};
use kuvert_protocol::group::{operation, operation::UnverifiedOperation, roster};
use kuvert_protocol::hazmat::pq_ratchet::PostQuantumRatchet;
use kuvert_protocol::hazmat::primitives::kem1024::KemPublic;
use kuvert_protocol::hazmat::primitives::x25519::X25519Public;
use kuvert_protocol::linking::{LinkError, Offer};
use kuvert_protocol::prelude::*;
use kuvert_types::{
    AccountId, Address, DeviceList, EnvelopeId, LinkCode, Reader, Signature, UnverifiedDeviceCertificate,
    UnverifiedDeviceList,
};
use kuvert_wire::checked::Envelope;
use kuvert_wire::{frame, v1};
use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::support::{Party, established};

type Decoder = fn(&[u8]);

/// In an order that the corpus depends on: add at the end.
pub(crate) const DECODERS: [(&str, Decoder); 28] = [
    ("address", address),
    ("address_text", address_text),
    ("id_text", id_text),
    ("certificate", certificate),
    ("device_list", device_list),
    ("relay_url", relay_url),
    ("invite_link", invite_link),
    ("session_message", session_message),
    ("signed_prekey_secret", signed_prekey_secret),
    ("one_time_prekey_secret", one_time_prekey_secret),
    ("kem_prekey_secret", kem_prekey_secret),
    ("session_record", session_record),
    ("replay_record", replay_record),
    ("pq_ratchet", pq_ratchet),
    ("client_frame", client_frame),
    ("server_frame", server_frame),
    ("envelope", envelope),
    ("content", content),
    ("prekey_bundle", prekey_bundle),
    ("public_keys", public_keys),
    ("sealed_sender", sealed_sender),
    ("demonstration_request", demonstration_request),
    ("demonstration_answer", demonstration_answer),
    ("link_code", link_code),
    ("link_offer", link_offer),
    ("group_operation", group_operation),
    ("group_roster", group_roster),
    ("attachment", attachment),
];

/// Gives the input to one decoder.
pub fn run(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else { return };
    let (_, decode) = DECODERS[usize::from(*which) % DECODERS.len()];
    decode(rest);
}

fn text(input: &[u8]) -> &str {
    std::str::from_utf8(input).unwrap_or_default()
}

fn address(input: &[u8]) {
    if let Ok(address) = Address::try_from(input) {
        assert_eq!(address.to_bytes(), input);
    }
}

fn address_text(input: &[u8]) {
    if let Ok(address) = text(input).parse::<Address>() {
        assert_eq!(address.to_string(), text(input).to_ascii_lowercase());
    }
}

fn id_text(input: &[u8]) {
    let account = text(input).parse::<AccountId>();
    assert_eq!(account.map(|id| *id.as_bytes()), text(input).parse::<EnvelopeId>().map(|id| *id.as_bytes()));
    if let Ok(id) = account {
        assert_eq!(id.to_string(), text(input).to_ascii_lowercase());
    }
}

fn certificate(input: &[u8]) {
    let Ok(certificate) = UnverifiedDeviceCertificate::decode(input) else { return };
    assert_eq!(certificate.trust_own_storage().encode()[..], *input);
    if let Ok(verified) = certificate.verify() {
        assert_eq!(verified.encode()[..], *input);
    }
}

/// The input is signed here, since only a signed list can be encoded.
fn device_list(input: &[u8]) {
    let account = AccountSecret::from_bytes(&[7; 32]);
    let unsigned = [input, &[0; Signature::LEN]].concat();
    if UnverifiedDeviceList::decode(&unsigned).is_ok() {
        let list = resign(&account, &unsigned).expect("a well-formed list can be signed");
        let encoded = list.encode();
        assert_eq!(encoded[..input.len()], *input);
        let decoded = UnverifiedDeviceList::decode(&encoded).unwrap().verify(&account.public()).unwrap();
        assert_eq!((decoded.state(), decoded.may_replace(&list)), (list.state(), Ok(())));
    }
}

/// The list's body as its owner would have signed it.
fn resign(account: &AccountSecret, unsigned: &[u8]) -> Option<DeviceList> {
    use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
    let mut reader = Reader::new(unsigned);
    let _version = reader.u8().ok()?;
    let id = AccountId::from_bytes(reader.array().ok()?);
    let number = reader.u64().ok()?;
    let mut devices = Vec::new();
    for _ in 0..reader.u16().ok()? {
        let device = kuvert_types::DeviceId::new(reader.u32().ok()?).ok()?;
        devices.push(DeviceEntry { device, certificate_hash: reader.array().ok()? });
    }
    account.sign_device_list(&DeviceListBody { account: id, number, devices }).ok()
}

fn relay_url(input: &[u8]) {
    if let Ok(url) = text(input).parse::<RelayUrl>() {
        assert_eq!(url.to_string(), text(input).trim());
    }
}

fn invite_link(input: &[u8]) {
    if let Ok(link) = text(input).parse::<InviteLink>() {
        let again = link.to_string();
        assert!(again.eq_ignore_ascii_case(text(input).trim()), "{again}");
        assert_eq!(again.parse(), Ok(link));
    }
}

thread_local! {
    /// Alice, and Bob with a session with her. Nothing in this target is addressed to him.
    static PAIR: RefCell<(Party, Party)> = RefCell::new(established(1));
}

/// The input as what is sealed and, with a byte changed, as what must not open; and as it is.
fn sealed_sender(input: &[u8]) {
    use kuvert_protocol::sealed_sender::{Unsealed, open, seal};
    PAIR.with_borrow_mut(|(alice, bob)| {
        assert!(open(&bob.local, input).is_err(), "nobody sealed it for Bob");
        let Ok(mut sealed) = seal(&alice.local, bob.local.certificate(), input, &mut alice.rng) else { return };
        let whole = |unsealed: Unsealed| unsealed.message() == input && unsealed.sender == *alice.local.certificate();
        // A seal holds a byte of a message at least.
        assert_eq!(open(&bob.local, &sealed).is_ok_and(whole), !input.is_empty());
        let at = input.iter().fold(0, |sum, byte| sum + usize::from(*byte)) % sealed.len();
        sealed[at] ^= 1;
        assert!(open(&bob.local, &sealed).is_err(), "byte {at} was changed");
    });
}

fn link_code(input: &[u8]) {
    if let Ok(code) = text(input).parse::<LinkCode>() {
        assert_eq!(code.to_string(), text(input).trim());
        assert!(text(input).parse::<InviteLink>().is_err() && text(input).parse::<RelayUrl>().is_err());
    }
}

/// The offer that the code told of; and with another code, under which nothing is looked at.
fn link_offer(input: &[u8]) {
    let hash = Sha256::digest(input).into();
    if let Ok(offer) = Offer::decode(input, &hash) {
        assert_eq!((offer.encode(), offer.hash()), (input.to_vec(), hash));
    }
    assert!(matches!(Offer::decode(input, &[0; 32]), Err(LinkError::OtherOffer)));
}

fn group_operation(input: &[u8]) {
    let Ok(decoded) = UnverifiedOperation::decode(input) else { return };
    let (claimed, context) = decoded.claimed();
    assert_eq!(operation::id(claimed, context), Ok(claimed.id), "the id is what the bytes make");
    PAIR.with_borrow(|(alice, _)| {
        assert!(decoded.clone().verify(alice.local.certificate()).is_err(), "Alice signed nothing");
        assert!(decoded.clone().verify_cut(&alice.account.public()).is_err(), "nor did her account");
    });
}

/// Operations behind each other, each with its length before it: whatever their order, they make one roster.
fn group_roster(input: &[u8]) {
    let (mut reader, mut operations) = (Reader::new(input), Vec::new());
    while let Ok(length) = reader.u16() {
        let Ok(bytes) = reader.bytes(length.into()) else { break };
        if let Ok(operation) = UnverifiedOperation::decode(bytes) {
            operations.push(operation.claimed().0.clone());
        }
    }
    let Some(first) = operations.first().map(|operation| operation.id) else { return };
    let resolved = roster::resolve(&first, &operations);
    operations.reverse();
    assert_eq!(roster::resolve(&first, &operations), resolved);
    assert!(resolved.heads.iter().all(|head| operations.iter().any(|operation| operation.id == *head)));
}

/// The key of every file here.
pub(crate) const ATTACHMENT_KEY: [u8; 32] = [7; 32];

/// A size as u64, and a blob. Under the key that it names itself with: nothing else gets beyond its header.
fn attachment(input: &[u8]) {
    let mut reader = Reader::new(input);
    let (Ok(size), Ok(header)) = (reader.u64(), reader.array::<HEADER_LEN>()) else { return };
    let key = FileKey::from_bytes(&ATTACHMENT_KEY);
    let blob = &input[8..];
    let Ok(mut opener) = Opener::new(&key, size, Sha256::digest(blob).into(), &header) else { return };
    let (mut content, mut chunk) = (Vec::new(), Vec::new());
    while let Some(length) = opener.next_len() {
        let Ok(sealed) = reader.bytes(length) else { break };
        match opener.open(sealed, &mut chunk) {
            Ok(()) => content.extend_from_slice(&chunk),
            Err(_) => {
                assert!(chunk.is_empty(), "what did not verify is not handed on");
                return;
            }
        }
    }
    // What opened to its end is what was sealed, byte by byte.
    let whole = opener.next_len().is_none() && reader.remaining() == 0;
    assert_eq!(opener.finish().is_ok(), whole);
    if whole {
        assert_eq!((content.len() as u64, sealed(&key, &content)), (size, blob.to_vec()));
    }
}

/// The blob of a file.
pub(crate) fn sealed(key: &FileKey, content: &[u8]) -> Vec<u8> {
    let mut sealer = Sealer::new(key, content.len() as u64).expect("small enough");
    let (mut blob, mut chunk, mut rest) = (sealer.header().to_vec(), Vec::new(), content);
    while let Some(length) = sealer.next_len() {
        let (next, behind) = rest.split_at(length);
        sealer.seal(next, &mut chunk).expect("the right length");
        blob.extend_from_slice(&chunk);
        rest = behind;
    }
    blob
}

fn session_message(input: &[u8]) {
    if let Ok(Some(certificate)) = kuvert_protocol::initiator_certificate(input) {
        assert_eq!(certificate.trust_own_storage().encode()[..], input[2..][..245]);
    }
    if let Ok(Some(prekey)) = last_resort_prekey(input) {
        // Kind and id stand behind certificate, ephemeral key and the signed prekey's id.
        assert_eq!((input[283], &input[284..288]), (2, &prekey.to_be_bytes()[..]));
    }
    // `try_decrypt` looks whether a refusal changed anything.
    PAIR.with_borrow_mut(|(alice, bob)| assert!(bob.try_decrypt(alice.address(), input).is_err()));
}

fn signed_prekey_secret(input: &[u8]) {
    if let Ok(secret) = SignedPrekeySecret::decode(input) {
        assert_eq!(**secret.encode(), *input);
        let _ = secret.public();
    }
}

fn one_time_prekey_secret(input: &[u8]) {
    if let Ok(secret) = OneTimePrekeySecret::decode(input) {
        assert_eq!(**secret.encode(), *input);
        let _ = secret.public();
    }
}

fn kem_prekey_secret(input: &[u8]) {
    if let Ok(secret) = KemPrekeySecret::decode(input) {
        assert_eq!(**secret.encode(), *input);
        let _ = secret.public();
    }
}

/// A damaged store, too, must not stop the program.
fn session_record(input: &[u8]) {
    let Ok(mut record) = SessionRecord::decode(input) else { return };
    assert_eq!(**record.encode(), *input);
    let mut rng = crate::support::TestRng::new(1);
    if record.encrypt(b"content", 0, &mut rng).is_ok() {
        let after = record.encode();
        assert_eq!(*SessionRecord::decode(&after).expect("what was encoded").encode(), *after);
    } else {
        assert_eq!(**record.encode(), *input, "an error changes nothing");
    }
}

fn replay_record(input: &[u8]) {
    if let Ok(record) = ReplayRecord::decode(input) {
        assert_eq!(record.encode(), input);
    }
    for (_, record) in kuvert_protocol::replay::split_version_1(input).unwrap_or_default() {
        assert_eq!(ReplayRecord::decode(&record.encode()), Ok(record));
    }
}

fn pq_ratchet(input: &[u8]) {
    let mut reader = Reader::new(input);
    if let Ok(ratchet) = PostQuantumRatchet::decode(&mut reader) {
        let mut encoded = Default::default();
        ratchet.encode(&mut encoded);
        assert_eq!(encoded[..], input[..input.len() - reader.remaining()]);
    }
}

/// Every frame that a stream of bytes is cut into.
fn frames<M: Message + Default + PartialEq + Debug>(input: &[u8]) {
    let mut stream = BytesMut::from(input);
    while let Ok(Some(message)) = frame::decode::<M>(&mut stream) {
        let mut again = BytesMut::new();
        frame::encode(&message, &mut again).expect("no longer than what was read");
        assert_eq!(frame::decode::<M>(&mut again).unwrap().unwrap(), message);
        assert!(again.is_empty());
    }
}

fn client_frame(input: &[u8]) {
    frames::<v1::ClientFrame>(input);
}

fn server_frame(input: &[u8]) {
    frames::<v1::ServerFrame>(input);
}

fn demonstration_request(input: &[u8]) {
    message::<v1::demonstration::Request>(input);
}

fn demonstration_answer(input: &[u8]) {
    message::<v1::demonstration::Answer>(input);
}

fn message<M: Message + Default + PartialEq + Debug>(input: &[u8]) {
    let Ok(message) = M::decode(input) else { return };
    assert_eq!(M::decode(message.encode_to_vec().as_slice()).unwrap(), message);
}

fn envelope(input: &[u8]) {
    let Ok(wire) = v1::Envelope::decode(input) else { return };
    let Ok(envelope) = Envelope::try_from(wire.clone()) else { return };
    let again = v1::Envelope::from(envelope.clone());
    assert_eq!(again, wire);
    let again = v1::Envelope::decode(again.encode_to_vec().as_slice()).unwrap();
    assert_eq!(Envelope::try_from(again), Ok(envelope));
}

fn content(input: &[u8]) {
    let Ok(content) = client::open_content(input) else { return };
    let body = match &content.body {
        client::Body::Text { text, attachments } => {
            let attachments = attachments.iter().cloned().map(Into::into).collect();
            v1::content::Body::Text(v1::Text { text: text.clone(), attachments })
        }
        client::Body::Receipts { delivered, read } => client::receipts(delivered, read),
        client::Body::SessionReset => client::session_reset(),
        client::Body::Unknown => return,
    };
    let draft = client::draft(content.id, content.sent_at, body);
    let sealed = client::finish_content(
        &draft,
        content.sender_list,
        content.recipient_list,
        content.access_key.map(|key| (key, content.takes_sealed)),
    )
    .unwrap();
    assert_eq!(client::open_content(&sealed), Ok(content));
}

fn prekey_bundle(input: &[u8]) {
    let Ok(wire) = v1::PrekeyBundle::decode(input) else { return };
    let Ok(bundle) = client::prekey_bundle(&wire) else { return };
    assert_eq!(bundle.certificate.trust_own_storage().encode()[..], wire.certificate);
    assert_eq!(Some(client::signed_prekey(&bundle.signed_prekey)), wire.signed_prekey);
    assert_eq!(Some(client::kem_prekey(&bundle.kem_prekey)), wire.kem_prekey);
    assert_eq!(bundle.one_time_prekey.as_ref().map(client::one_time_prekey), wire.one_time_prekey);
    let claimed = *bundle.certificate.claimed();
    let _ = bundle.verify(claimed.address, &claimed.account_key);
}

fn public_keys(input: &[u8]) {
    if let Ok(key) = input.try_into().map(X25519Public::decode) {
        let _ = key.map(|key| assert_eq!(key.as_bytes()[..], *input));
    }
    if let Ok(key) = input.try_into().map(KemPublic::decode) {
        let _ = key.map(|key| assert_eq!(key.as_bytes()[..], *input));
    }
}

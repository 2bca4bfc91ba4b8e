//! The only file where the protocol's types and the wire's meet.

use bytes::Bytes;
use kuvert_protocol::blob::BlobSecret;
use kuvert_protocol::prekey::{KemPrekey, KemPrekeyKind, OneTimePrekey, PrekeyBundle, SignedPrekey};
use kuvert_types::limits::{MAX_ATTACHMENTS, MAX_TEXT_BYTES};
use kuvert_types::{AccessKey, Address, DeviceListState, EnvelopeId, Signature, UnverifiedDeviceCertificate};
use kuvert_wire::attachment::Attachment;
use kuvert_wire::checked::{FieldError, InField as _, array, required};
use kuvert_wire::v1;
use prost::Message as _;

use crate::error::Error;
use crate::state::{MessageRow, damaged};

/// A signed prekey to publish.
pub fn signed_prekey(prekey: &SignedPrekey) -> v1::SignedPrekey {
    v1::SignedPrekey {
        id: prekey.id,
        public_key: Bytes::copy_from_slice(&prekey.public_key),
        signature: Bytes::copy_from_slice(prekey.signature.as_bytes()),
    }
}

/// A one-time curve prekey to publish.
pub fn one_time_prekey(prekey: &OneTimePrekey) -> v1::OneTimePrekey {
    v1::OneTimePrekey { id: prekey.id, public_key: Bytes::copy_from_slice(&prekey.public_key) }
}

/// A KEM prekey to publish.
pub fn kem_prekey(prekey: &KemPrekey) -> v1::KemPrekey {
    v1::KemPrekey {
        id: prekey.id,
        public_key: Bytes::copy_from_slice(prekey.public_key.as_slice()),
        signature: Bytes::copy_from_slice(prekey.signature.as_bytes()),
    }
}

/// A bundle that the relay served, well-formed and not yet verified.
pub fn prekey_bundle(bundle: &v1::PrekeyBundle) -> Result<PrekeyBundle, FieldError> {
    let signed = required(bundle.signed_prekey.as_ref(), "signed_prekey")?;
    let kem = required(bundle.kem_prekey.as_ref(), "kem_prekey")?;
    let one_time = bundle.one_time_prekey.as_ref().map(|prekey| {
        Ok::<_, FieldError>(OneTimePrekey {
            id: prekey.id,
            public_key: array(&prekey.public_key, "one_time_prekey.public_key")?,
        })
    });
    Ok(PrekeyBundle {
        certificate: UnverifiedDeviceCertificate::decode(&bundle.certificate).in_field("certificate")?,
        signed_prekey: SignedPrekey {
            id: signed.id,
            public_key: array(&signed.public_key, "signed_prekey.public_key")?,
            signature: Signature::try_from(signed.signature.as_ref()).in_field("signed_prekey.signature")?,
        },
        kem_prekey: KemPrekey {
            id: kem.id,
            public_key: Box::new(array(&kem.public_key, "kem_prekey.public_key")?),
            signature: Signature::try_from(kem.signature.as_ref()).in_field("kem_prekey.signature")?,
        },
        kem_kind: if bundle.kem_prekey_is_last_resort { KemPrekeyKind::LastResort } else { KemPrekeyKind::OneTime },
        one_time_prekey: one_time.transpose()?,
    })
}

/// What stands in a content, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// The message's id.
    pub id: EnvelopeId,
    /// By the sender's clock.
    pub sent_at: u64,
    /// What the sender says about its own device list.
    pub sender_list: DeviceListState,
    /// What the sender believes about ours.
    pub recipient_list: DeviceListState,
    /// What it says.
    pub body: Body,
    /// The sender's access key, when it tells one.
    pub access_key: Option<AccessKey>,
    /// Whether anonymous mail may be sent to the sender with it.
    pub takes_sealed: bool,
}

/// What a content says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A text, files, or both.
    Text {
        /// At most [`MAX_TEXT_BYTES`] bytes; empty only beside a file.
        text: String,
        /// At most [`MAX_ATTACHMENTS`].
        attachments: Vec<Attachment>,
    },
    /// Message ids.
    Receipts {
        /// Stored.
        delivered: Vec<EnvelopeId>,
        /// Read.
        read: Vec<EnvelopeId>,
    },
    /// A fresh session was started.
    SessionReset,
    /// Something that a newer client sends. Authentic, and not for us.
    Unknown,
}

/// A content that waits for encryption: the device lists' states come with [`finish_content`].
pub fn draft(id: EnvelopeId, sent_at: u64, body: v1::content::Body) -> Vec<u8> {
    let message_id = Bytes::copy_from_slice(id.as_bytes());
    v1::Content {
        message_id,
        sent_at,
        sender_list: None,
        recipient_list: None,
        body: Some(body),
        access_key: None,
        takes_sealed: false,
    }
    .encode_to_vec()
}

/// Whether an encoded content is a text.
pub fn says_something(plaintext: &[u8]) -> bool {
    open_content(plaintext).is_ok_and(|content| matches!(content.body, Body::Text { .. }))
}

/// The message id of a draft.
pub fn draft_id(draft: &[u8]) -> Result<EnvelopeId, Error> {
    let content = v1::Content::decode(draft).map_err(|_| damaged("the outbox"))?;
    EnvelopeId::try_from(content.message_id.as_ref()).map_err(|_| damaged("the outbox"))
}

/// A draft with the lists' states, and the own access key if it is to be told, as they are now.
pub fn finish_content(
    draft: &[u8],
    own: DeviceListState,
    theirs: DeviceListState,
    access_key: Option<(AccessKey, bool)>,
) -> Result<Vec<u8>, prost::DecodeError> {
    let mut content = v1::Content::decode(draft)?;
    content.sender_list = Some(list_state(own));
    content.recipient_list = Some(list_state(theirs));
    content.access_key = access_key.map(|(key, _)| Bytes::copy_from_slice(key.as_bytes()));
    content.takes_sealed = access_key.is_some_and(|(_, sealed)| sealed);
    Ok(content.encode_to_vec())
}

/// A finished content as one device reads it. Where a draft tells of a file, the blob's secret stands in place of the capability: here it becomes
/// that of the device, or that of all [KV-122].
pub fn for_reader(finished: Vec<u8>, reader: &Address) -> Result<Vec<u8>, Error> {
    let unreadable = || damaged("the outbox");
    let mut content = v1::Content::decode(finished.as_slice()).map_err(|_| unreadable())?;
    let Some(v1::content::Body::Text(text)) = &mut content.body else { return Ok(finished) };
    if text.attachments.is_empty() {
        return Ok(finished);
    }
    for file in &mut text.attachments {
        let secret = BlobSecret::from_bytes(file.capability.as_ref().try_into().map_err(|_| unreadable())?);
        let capability = if file.shared { secret.shared_capability() } else { secret.capability(reader) };
        file.capability = Bytes::copy_from_slice(capability.as_bytes());
    }
    Ok(content.encode_to_vec())
}

fn list_state(state: DeviceListState) -> v1::DeviceListState {
    v1::DeviceListState { number: state.number, hash: Bytes::copy_from_slice(&state.hash) }
}

/// Reads a content that came out of a session.
pub fn open_content(plaintext: &[u8]) -> Result<Content, FieldError> {
    let malformed = |field| FieldError { field, reason: kuvert_types::DecodeError::Value };
    let content = v1::Content::decode(plaintext).map_err(|_| malformed("content"))?;
    let state = |state: Option<v1::DeviceListState>, field| {
        let state = required(state, field)?;
        Ok::<_, FieldError>(DeviceListState { number: state.number, hash: array(&state.hash, field)? })
    };
    let ids = |ids: &[Bytes], field| -> Result<Vec<_>, FieldError> {
        ids.iter().map(|id| EnvelopeId::try_from(id.as_ref()).in_field(field)).collect()
    };
    let body = match content.body {
        Some(v1::content::Body::Text(text)) => checked_text(text)?,
        Some(v1::content::Body::Receipts(receipts)) => Body::Receipts {
            delivered: ids(&receipts.delivered, "receipts.delivered")?,
            read: ids(&receipts.read, "receipts.read")?,
        },
        Some(v1::content::Body::SessionReset(_)) => Body::SessionReset,
        None => Body::Unknown,
    };
    Ok(Content {
        id: EnvelopeId::try_from(content.message_id.as_ref()).in_field("message_id")?,
        sent_at: content.sent_at,
        sender_list: state(content.sender_list, "sender_list")?,
        recipient_list: state(content.recipient_list, "recipient_list")?,
        body,
        access_key: content
            .access_key
            .map(|key| AccessKey::try_from(key.as_ref()).in_field("access_key"))
            .transpose()?,
        takes_sealed: content.takes_sealed,
    })
}

/// A text with its files. One of both is there [KV-123].
fn checked_text(text: v1::Text) -> Result<Body, FieldError> {
    let malformed = |field| FieldError { field, reason: kuvert_types::DecodeError::Length };
    let v1::Text { text, attachments } = text;
    if text.len() > MAX_TEXT_BYTES || (text.is_empty() && attachments.is_empty()) {
        return Err(malformed("text"));
    }
    if attachments.len() > MAX_ATTACHMENTS {
        return Err(malformed("attachments"));
    }
    let attachments = attachments.into_iter().map(Attachment::try_from).collect::<Result<_, _>>()?;
    Ok(Body::Text { text, attachments })
}

/// A text's body.
pub fn text(text: &str) -> v1::content::Body {
    v1::content::Body::Text(v1::Text { text: text.to_owned(), attachments: Vec::new() })
}

/// The body of a message of one's own, as the history has it.
pub fn message(row: &MessageRow) -> v1::content::Body {
    let attachments = row.files.iter().filter_map(|file| file.told.clone()).collect();
    v1::content::Body::Text(v1::Text { text: row.text.clone(), attachments })
}

/// Receipts' body.
pub fn receipts(delivered: &[EnvelopeId], read: &[EnvelopeId]) -> v1::content::Body {
    let ids = |ids: &[EnvelopeId]| ids.iter().map(|id| Bytes::copy_from_slice(id.as_bytes())).collect();
    v1::content::Body::Receipts(v1::Receipts { delivered: ids(delivered), read: ids(read) })
}

/// A reset's body.
pub fn session_reset() -> v1::content::Body {
    v1::content::Body::SessionReset(v1::SessionReset {})
}

#[cfg(test)]
mod tests {
    use kuvert_types::{AccountId, DeviceId};

    use super::*;

    const ID: EnvelopeId = EnvelopeId::from_bytes([4; 16]);

    fn finished(body: v1::content::Body) -> Vec<u8> {
        let state = |number| DeviceListState { number, hash: [7; 32] };
        finish_content(&draft(ID, 99, body), state(1), state(2), None).unwrap()
    }

    #[test]
    fn contents_round_trip() {
        let content = open_content(&finished(text("hello"))).unwrap();
        let hello = Body::Text { text: "hello".into(), attachments: Vec::new() };
        assert_eq!((content.id, content.sent_at, content.body), (ID, 99, hello));
        assert_eq!((content.sender_list.number, content.recipient_list.number), (1, 2));
        let body = open_content(&finished(receipts(&[ID], &[]))).unwrap().body;
        assert_eq!(body, Body::Receipts { delivered: vec![ID], read: vec![] });
        assert_eq!(open_content(&finished(session_reset())).unwrap().body, Body::SessionReset);
    }

    #[test]
    fn each_device_is_told_its_own_capability_of_a_file_and_no_secret() {
        let secret = BlobSecret::from_bytes(&[7; 32]);
        let reader =
            |device| Address { account: AccountId::from_bytes([5; 16]), device: DeviceId::new(device).unwrap() };
        let told = |shared| v1::Attachment {
            blob: vec![1; 16].into(),
            capability: Bytes::copy_from_slice(secret.as_bytes()),
            file_key: vec![2; 32].into(),
            digest: vec![3; 32].into(),
            media_type: "a/b".into(),
            shared,
            ..v1::Attachment::default()
        };
        let body = v1::Text { text: String::new(), attachments: vec![told(false), told(true)] };
        let finished = finished(v1::content::Body::Text(body));
        for device in [1, 2] {
            let content = open_content(&for_reader(finished.clone(), &reader(device)).unwrap()).unwrap();
            let Body::Text { attachments, .. } = content.body else { panic!() };
            assert_eq!(attachments[0].capability, secret.capability(&reader(device)));
            assert_eq!(attachments[1].capability, secret.shared_capability());
        }
    }

    #[test]
    fn an_access_key_travels_within() {
        let state = |number| DeviceListState { number, hash: [7; 32] };
        let key = AccessKey::from_bytes([9; 16]);
        let finished = finish_content(&draft(ID, 99, text("hello")), state(1), state(2), Some((key, true))).unwrap();
        let opened = open_content(&finished).unwrap();
        assert_eq!((opened.access_key, opened.takes_sealed), (Some(key), true));
        assert_eq!(
            open_content(&finish_content(&finished, state(1), state(2), None).unwrap()).unwrap().access_key,
            None
        );
    }

    #[test]
    fn contents_that_break_the_rules_are_refused() {
        assert!(open_content(&finished(text(""))).is_err());
        assert!(open_content(&finished(text(&"x".repeat(MAX_TEXT_BYTES + 1)))).is_err());
        assert!(open_content(&finished(text(&"x".repeat(MAX_TEXT_BYTES)))).is_ok());
        assert!(open_content(&draft(ID, 1, text("no lists"))).is_err());
        assert!(open_content(b"\xFF\xFF").is_err());
        let mut content = v1::Content::decode(finished(text("x")).as_slice()).unwrap();
        content.message_id = Bytes::from_static(b"short");
        assert!(open_content(&content.encode_to_vec()).is_err());
    }

    #[test]
    fn contents_are_taken_and_refused_as_the_vectors_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/envelope.json");
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let (mut taken, mut refused) = (0, 0);
        for case in file["cases"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            if !name.starts_with("content ") {
                continue;
            }
            let must_reject = case["must_reject"] == true;
            let protobuf = &case[if must_reject { "inputs" } else { "outputs" }]["protobuf"];
            let bytes = data_encoding::HEXLOWER.decode(protobuf.as_str().unwrap().as_bytes()).unwrap();
            assert_eq!(open_content(&bytes).is_err(), must_reject, "{name}");
            *(if must_reject { &mut refused } else { &mut taken }) += 1;
        }
        assert!(taken >= 4 && refused >= 15, "{taken} {refused}");
    }

    #[test]
    fn a_body_from_the_future_is_no_error() {
        let mut bytes = finished(session_reset());
        // Field 15, length-delimited, 1 byte: unknown here.
        let known = v1::Content { body: None, ..v1::Content::decode(bytes.as_slice()).unwrap() };
        bytes = known.encode_to_vec();
        bytes.extend_from_slice(&[0x7A, 1, 0]);
        assert_eq!(open_content(&bytes).unwrap().body, Body::Unknown);
    }
}

//! Ids, addresses, names, labels, padding.

use alloc::vec::Vec;
use alloc::{format, vec};

use kuvert_types::limits::{is_valid_name, is_valid_phone};
use kuvert_types::{AccountId, Address, DeviceId, EnvelopeId};
use serde_json::json;

use super::{Case, bytes, check, hex};
use crate::message::MAX_CONTENT_LEN;
use crate::padding;

#[test]
fn vectors_encodings() {
    let mut cases = Vec::new();
    for (name, id) in [("zero", [0; 16]), ("ones", [0xFF; 16]), ("random", bytes("account id"))] {
        let text = AccountId::from_bytes(id).to_string();
        let description = "A 16-byte id as text, lower case. The decoder takes upper case as well.";
        let inputs = json!({ "bytes": hex(id) });
        let outputs = json!({ "text": text, "also_decodes": text.to_ascii_uppercase() });
        assert_eq!(text.to_ascii_uppercase().parse(), Ok(AccountId::from_bytes(id)));
        cases.push(Case::new(format!("id {name}"), description, inputs, outputs));
    }
    let good = EnvelopeId::from_bytes(bytes("envelope id")).to_string();
    for (name, text, reason) in [
        ("short", good[..25].to_owned(), "25 characters"),
        ("long", format!("{good}a"), "27 characters"),
        ("padded", format!("{good}======"), "padding"),
        ("alphabet", format!("{}1", &good[..25]), "1 is not in the alphabet"),
        ("trailing bits", format!("{}b", &good[..25]), "the two unused bits of the last character are not zero"),
        ("empty", "".to_owned(), "empty"),
    ] {
        assert!(text.parse::<EnvelopeId>().is_err(), "{name}");
        cases.push(Case::reject(format!("id {name}"), "No id.", json!({ "text": text }), reason));
    }

    for device in [1, 2, 0x0102_0304, u32::MAX] {
        let address =
            Address { account: AccountId::from_bytes(bytes("address")), device: DeviceId::new(device).unwrap() };
        let inputs = json!({ "account": hex(address.account.as_bytes()), "device": device });
        let outputs = json!({ "bytes": hex(address.to_bytes()), "text": address.to_string() });
        cases.push(Case::new(format!("address device {device}"), "An address.", inputs, outputs));
    }
    let good = Address { account: AccountId::from_bytes(bytes("address")), device: DeviceId::PRIMARY }.to_bytes();
    let mut zero = good;
    zero[19] = 0;
    for (name, bytes, reason) in [
        ("device zero", zero.to_vec(), "device 0"),
        ("short", good[..19].to_vec(), "19 bytes"),
        ("long", [&good[..], &[0]].concat(), "21 bytes"),
    ] {
        assert!(Address::try_from(bytes.as_slice()).is_err());
        cases.push(Case::reject(format!("address {name}"), "No address.", json!({ "bytes": hex(bytes) }), reason));
    }

    for (text, reason) in [
        ("a", None),
        ("alice", None),
        ("a-b_c.9", None),
        ("abcdefghijklmnopqrstuvwxyz012345", None),
        ("", Some("empty")),
        ("Alice", Some("upper case")),
        ("9lives", Some("begins with a digit")),
        ("-a", Some("begins with a hyphen")),
        ("a b", Some("a space")),
        ("älice", Some("not ASCII")),
        ("abcdefghijklmnopqrstuvwxyz0123456", Some("33 characters")),
    ] {
        assert_eq!(is_valid_name(text), reason.is_none(), "{text}");
        cases.push(choice(format!("name {text:?}"), "A user name.", json!({ "name": text }), reason));
    }
    for (text, reason) in [
        ("+4917012", None),
        ("+491701234567", None),
        ("+123456789012345", None),
        ("+1234567890123456", Some("16 digits")),
        ("+123456", Some("6 digits")),
        ("+0491701234", Some("begins with 0")),
        ("491701234567", Some("no plus sign")),
        ("+49 1701234567", Some("a space")),
    ] {
        assert_eq!(is_valid_phone(text), reason.is_none(), "{text}");
        cases.push(choice(format!("phone {text:?}"), "A phone number.", json!({ "phone": text }), reason));
    }

    let all = [crate::labels::ALL.as_slice(), &kuvert_types::label::ALL, &crate::pq_ratchet::LABELS].concat();
    for label in all {
        let end = label.iter().position(|byte| *byte == 0).unwrap();
        let text = core::str::from_utf8(&label[..end]).unwrap();
        let outputs = json!({ "bytes": hex(label) });
        cases.push(Case::new(format!("label {text}"), "A label.", json!({ "text": text }), outputs));
    }
    let exporter = kuvert_types::label::TLS_EXPORTER;
    let outputs = json!({ "bytes": hex(exporter) });
    cases.push(Case::new("label of the TLS exporter", "Not padded.", json!({ "text": exporter }), outputs));
    check("encodings", cases);
}

fn choice(name: impl ToString, description: &str, inputs: serde_json::Value, reason: Option<&str>) -> Case {
    match reason {
        None => Case::new(name, description, inputs, json!({ "valid": true })),
        Some(reason) => Case::reject(name, description, inputs, reason),
    }
}

use alloc::borrow::ToOwned;
use alloc::string::ToString;

#[test]
fn vectors_padding() {
    let mut cases = Vec::new();
    for len in [0, 1, 7, 510, 511, 512, 4095, 4096, 16383, 16384, 16385, 17407, 17408, 20_000, 32_767, 32_768] {
        cases.push(length(len));
    }
    for len in [65_535, 65_536, 70_000, 90_000, MAX_CONTENT_LEN] {
        cases.push(length(len));
    }
    for content in [&b""[..], b"hello", b"ends with the marker\x80", b"ends with zeros\0\0\0"] {
        let mut padded = Vec::new();
        padding::append_padded(content, &mut padded);
        assert_eq!(padding::content_len(&padded), Some(content.len()));
        let inputs = json!({ "content": hex(content) });
        let outputs = json!({ "padded": hex(padded) });
        cases.push(Case::new(format!("pad {}", hex(content)), "A content and its padding.", inputs, outputs));
    }
    let mut good = Vec::new();
    padding::append_padded(b"content", &mut good);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut padded = good.clone();
        change(&mut padded);
        padded
    };
    for (name, padded, reason) in [
        ("marker", changed(&|p| p[7] = 0x81), "the last byte that is not zero is not 0x80"),
        ("no marker", vec![0; 512], "nothing but zeros"),
        ("trailing", changed(&|p| p[511] = 1), "the last byte that is not zero is not 0x80"),
        ("short", changed(&|p| p.truncate(511)), "511 bytes is no padded length"),
        ("long", changed(&|p| p.push(0)), "513 bytes is no padded length"),
        ("bucket", changed(&|p| p.resize(4096, 0)), "the content fits a smaller bucket"),
        ("empty", vec![], "empty"),
        ("late marker", changed(&|p| (p[7], p[511]) = (0, 0x80)), ""),
    ] {
        if reason.is_empty() {
            // A content that ends with zeros is a content.
            assert_eq!(padding::content_len(&padded), Some(511));
            continue;
        }
        assert_eq!(padding::content_len(&padded), None, "{name}");
        let inputs = json!({ "padded": hex(padded) });
        cases.push(Case::reject(format!("unpad {name}"), "Not the one right padding.", inputs, reason));
    }
    check("padding", cases);
}

fn length(len: usize) -> Case {
    let description = "The length of a padded content.";
    let outputs = json!({ "padded_length": padding::padded_len(len) });
    Case::new(format!("length {len}"), description, json!({ "content_length": len }), outputs)
}

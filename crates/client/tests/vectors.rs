//! Invite links against `tests/vectors/invite.json`, which `kuvert-protocol` writes.

use data_encoding::HEXLOWER;
use kuvert_client::{AccountId, InviteLink, InviteLinkError, RelayUrl};
use serde_json::Value;

const VECTORS: &str = include_str!("../../../tests/vectors/invite.json");

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap().try_into().unwrap()
}

fn link(inputs: &Value) -> InviteLink {
    InviteLink {
        relay: RelayUrl {
            host: inputs["host"].as_str().unwrap().to_owned(),
            port: inputs["port"].as_u64().unwrap().try_into().unwrap(),
            fingerprint: bytes(&inputs["relay_fingerprint"]),
        },
        account: AccountId::from_bytes(bytes(&inputs["account"])),
        fingerprint: bytes(&inputs["account_key_fingerprint"]),
        name: inputs["name"].as_str().map(str::to_owned),
    }
}

/// Which part of a bad link is refused, by the reasons that the vectors give.
fn part(error: InviteLinkError) -> &'static [&'static str] {
    match error {
        InviteLinkError::Shape => &["path", "relay fingerprint"],
        InviteLinkError::Relay(_) => &["scheme", "port"],
        InviteLinkError::Account => &["account"],
        InviteLinkError::Fingerprint => &["key fingerprint"],
        InviteLinkError::Name => &["not a user name", "unknown parameter"],
        other => panic!("{other:?} has no vector"),
    }
}

#[test]
fn invite_links_are_written_and_read_as_in_the_vectors() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let (mut good, mut bad) = (0, 0);
    for case in file["cases"].as_array().unwrap() {
        let name = &case["name"];
        if case["must_reject"] == true {
            let error = case["inputs"]["text"].as_str().unwrap().parse::<InviteLink>().unwrap_err();
            assert!(part(error).contains(&case["reason"].as_str().unwrap()), "{name}: {error}");
            bad += 1;
        } else {
            let (link, text) = (link(&case["inputs"]), case["outputs"]["text"].as_str().unwrap());
            assert_eq!(link.to_string(), text, "{name}");
            assert_eq!(text.parse(), Ok(link), "{name}");
            good += 1;
        }
    }
    assert!(good >= 3 && bad >= 9, "{good} {bad}");
}

//! Session messages with their sender sealed.

use alloc::format;
use alloc::vec::Vec;

use kuvert_types::{AccountId, Address, DeviceCertificate, DeviceId};
use serde_json::json;

use super::{Case, Draws, bytes, check, hex};
use crate::identity::{AccountSecret, DeviceSecrets, LocalDevice};
use crate::labels::SEALED_SENDER;
use crate::primitives::aead;
use crate::primitives::kdf::hkdf_sha256;
use crate::primitives::x25519::{X25519Public, X25519Secret};
use crate::sealed_sender::{OVERHEAD, open, seal};

fn device(name: &str, draws: &mut Draws) -> LocalDevice {
    let (account, secrets) = (AccountSecret::generate(draws), DeviceSecrets::generate(draws));
    let address = Address { account: AccountId::from_bytes(bytes(name)), device: DeviceId::PRIMARY };
    let certificate = secrets.certify(&account, address);
    LocalDevice::new(secrets, certificate).unwrap()
}

#[test]
fn vectors_sealed_sender() {
    let draws = &mut Draws::new("sealed sender");
    let (alice, bob, carol) = (device("alice", draws), device("bob", draws), device("carol", draws));
    draws.take();
    let secret = |device: &LocalDevice| hex(device.secrets().identity().as_bytes());
    let certificate = |device: &LocalDevice| hex(device.certificate().encode());
    let mut cases = Vec::new();
    let messages: [(&str, Vec<u8>); 3] = [
        ("a byte", [7].into()),
        ("a short message", b"session message".into()),
        ("1 KiB", bytes::<1024>("long").into()),
    ];
    for (name, message) in &messages {
        let sealed = seal(alice.certificate(), bob.certificate(), message, draws).unwrap();
        assert_eq!(sealed.len(), message.len() + OVERHEAD);
        let unsealed = open(&bob, &sealed).unwrap();
        assert_eq!((unsealed.message(), unsealed.sender), (&message[..], *alice.certificate()));
        let parts = Parts::of(&bob, &sealed);
        cases.push(
            Case::new(
                name,
                "Alice seals a message for Bob. The draw is the ephemeral secret.",
                json!({
                    "sender_certificate": certificate(&alice), "recipient_certificate": certificate(&bob),
                    "recipient_identity_secret": secret(&bob), "message": hex(message),
                }),
                json!({
                    "ephemeral": hex(parts.ephemeral), "shared": hex(parts.shared),
                    "key": hex(&parts.keys[..32]), "nonce": hex(&parts.keys[32..]),
                    "associated_data": hex(&parts.associated_data), "sealed": hex(sealed),
                }),
            )
            .drawn(draws),
        );
    }

    let good = seal(alice.certificate(), bob.certificate(), b"session message", draws).unwrap();
    let mut reject = |name: &str, recipient: &LocalDevice, sealed: Vec<u8>, reason: &str| {
        assert!(open(recipient, &sealed).is_err(), "{name}");
        let inputs = json!({
            "recipient_certificate": certificate(recipient), "recipient_identity_secret": secret(recipient),
            "sealed": hex(sealed),
        });
        cases.push(Case::reject(name, "Must not be opened.", inputs, reason));
    };
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut sealed = good.clone();
        change(&mut sealed);
        sealed
    };
    reject("for somebody else", &carol, good.clone(), "another identity key");
    // The same keys under another address: an account's second device that was given its first one's keys.
    let moved = Address { account: bob.address().account, device: DeviceId::new(2).unwrap() };
    let moved = bob.secrets().certify(&AccountSecret::generate(draws), moved);
    let moved = LocalDevice::new(DeviceSecrets::from_bytes(&bob.secrets().to_bytes()), moved).unwrap();
    reject("for another address", &moved, good.clone(), "the address is authenticated");
    reject("version 0", &bob, changed(&|s| s[0] = 0), "unknown version");
    reject("version 2", &bob, changed(&|s| s[0] = 2), "unknown version");
    for (at, field) in [(1, "ephemeral key"), (33, "certificate"), (278, "message"), (good.len() - 1, "tag")] {
        reject(&format!("bit in the {field}"), &bob, changed(&|s| s[at] ^= 1), "authentication fails");
    }
    for point in [
        [0; 32],
        {
            let mut one = [0; 32];
            one[0] = 1;
            one
        },
        [0xFF; 32],
    ] {
        let sealed = changed(&|s| s[1..33].copy_from_slice(&point));
        reject(&format!("ephemeral key {}", hex(&point[..2])), &bob, sealed, "low order, or not canonical");
    }
    for len in [0, 1, 32, 33, 49, OVERHEAD - 1, OVERHEAD, good.len() - 1] {
        reject(&format!("cut to {len} bytes"), &bob, changed(&|s| s.truncate(len)), "length, or authentication fails");
    }
    reject("a byte too many", &bob, changed(&|s| s.push(0)), "authentication fails");

    // Sealed as it should be, with a certificate inside that is none.
    for (name, at) in
        [("version", 0), ("address", 3), ("account key", 30), ("account signature", 120), ("device signature", 200)]
    {
        let mut inside = alice.certificate().encode().to_vec();
        inside[at] ^= 2;
        inside.extend_from_slice(b"session message");
        let sealed = Parts::seal(&bob, &inside, draws);
        reject(&format!("certificate with a wrong {name}"), &bob, sealed, "the certificate does not verify");
    }
    check("sealed_sender", cases);
}

/// The construction once more, step by step, with its intermediate values.
struct Parts {
    ephemeral: [u8; 32],
    shared: [u8; 32],
    keys: [u8; 44],
    associated_data: Vec<u8>,
}

impl Parts {
    fn of(recipient: &LocalDevice, sealed: &[u8]) -> Self {
        let ephemeral: [u8; 32] = sealed[1..33].try_into().unwrap();
        let shared = recipient.secrets().identity().agree(&X25519Public::decode(ephemeral).unwrap()).unwrap();
        Self::derive(recipient, ephemeral, *shared.as_bytes())
    }

    fn derive(recipient: &LocalDevice, ephemeral: [u8; 32], shared: [u8; 32]) -> Self {
        let identity = recipient.secrets().identity_key();
        let address = recipient.address().to_bytes();
        let rest = [&ephemeral[..], identity.as_bytes(), &address].concat();
        let keys = *hkdf_sha256::<44>(&[0; 32], &[&shared], &[&SEALED_SENDER, &rest]);
        Self { ephemeral, shared, keys, associated_data: [&[1][..], &rest].concat() }
    }

    /// Seals any bytes.
    fn seal(recipient: &LocalDevice, inside: &[u8], draws: &mut Draws) -> Vec<u8> {
        let secret = X25519Secret::generate(draws);
        let theirs = X25519Public::decode(*recipient.secrets().identity_key().as_bytes()).unwrap();
        let shared = *secret.agree(&theirs).unwrap().as_bytes();
        let parts = Self::derive(recipient, *secret.public().as_bytes(), shared);
        let (key, nonce) = (parts.keys[..32].try_into().unwrap(), parts.keys[32..].try_into().unwrap());
        let mut data = inside.to_vec();
        let tag = aead::seal(key, nonce, &parts.associated_data, &mut data);
        assert!(inside.len() > DeviceCertificate::LEN);
        [&[1][..], &parts.ephemeral, &data, &tag].concat()
    }
}

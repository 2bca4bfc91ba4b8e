//! Session messages with their sender sealed.

use alloc::format;
use alloc::vec::Vec;

use kuvert_types::certificate::CertificateBody;
use kuvert_types::{
    AccountId, AccountKey, Address, DecodeError, DeviceCertificate, DeviceId, DeviceSigningKey, IdentityKey,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Case, Draws, bytes, check, hex};
use crate::identity::{AccountSecret, DeviceSecrets, LocalDevice};
use crate::labels::{SEALED_CERTIFICATE, SEALED_MESSAGE};
use crate::primitives::aead;
use crate::primitives::ed25519::Ed25519Secret;
use crate::primitives::kdf::hkdf_sha256;
use crate::primitives::x25519::{X25519Public, X25519Secret};
use crate::sealed_sender::{OVERHEAD, OpenError, open, seal};

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
        let sealed = seal(&alice, bob.certificate(), message, draws).unwrap();
        assert_eq!(sealed.len(), message.len() + OVERHEAD);
        let unsealed = open(&bob, &sealed).unwrap();
        assert_eq!((unsealed.message(), unsealed.sender), (&message[..], *alice.certificate()));
        let parts = Parts::of(&bob, &alice, &sealed);
        cases.push(
            Case::new(
                name,
                "Alice seals a message for Bob. The draw is the ephemeral secret.",
                json!({
                    "sender_certificate": certificate(&alice), "sender_identity_secret": secret(&alice),
                    "recipient_certificate": certificate(&bob), "recipient_identity_secret": secret(&bob),
                    "message": hex(message),
                }),
                json!({
                    "ephemeral": hex(parts.ephemeral), "shared": hex(parts.shared),
                    "certificate_key": hex(&parts.keys[..32]), "certificate_nonce": hex(&parts.keys[32..44]),
                    "chaining_key": hex(&parts.keys[44..]),
                    "certificate_associated_data": hex([&[2], &parts.bound[..]].concat()),
                    "identity_shared": hex(parts.identity_shared), "certificate_hash": hex(parts.hash),
                    "message_key": hex(&parts.message_keys[..32]), "message_nonce": hex(&parts.message_keys[32..]),
                    "message_associated_data": hex([&[2], &parts.bound[..], &parts.hash].concat()),
                    "sealed": hex(sealed),
                }),
            )
            .drawn(draws),
        );
    }

    let good = seal(&alice, bob.certificate(), b"session message", draws).unwrap();
    let mut reject = |name: &str, recipient: &LocalDevice, sealed: Vec<u8>, error: OpenError, reason: &str| {
        assert_eq!(open(recipient, &sealed).unwrap_err(), error, "{name}");
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
    let (length, value) = (OpenError::Malformed(DecodeError::Length), OpenError::Malformed(DecodeError::Value));
    let unknown = OpenError::Malformed(DecodeError::Version);
    reject("for somebody else", &carol, good.clone(), OpenError::Undecryptable, "another identity key");
    // The same keys under another address: an account's second device that was given its first one's keys.
    let moved = Address { account: bob.address().account, device: DeviceId::new(2).unwrap() };
    let moved = bob.secrets().certify(&AccountSecret::generate(draws), moved);
    let moved = LocalDevice::new(DeviceSecrets::from_bytes(&bob.secrets().to_bytes()), moved).unwrap();
    reject("for another address", &moved, good.clone(), OpenError::Undecryptable, "the address is authenticated");
    for version in [0, 1, 3] {
        reject(&format!("version {version}"), &bob, changed(&|s| s[0] = version), unknown, "unknown version");
    }
    let fields = [(1, "ephemeral key"), (33, "certificate"), (278, "certificate's tag")];
    for (at, field) in fields {
        let sealed = changed(&|s| s[at] ^= 1);
        reject(&format!("bit in the {field}"), &bob, sealed, OpenError::Undecryptable, "authentication fails");
    }
    for (at, field) in [(294, "message"), (good.len() - 1, "message's tag")] {
        let sealed = changed(&|s| s[at] ^= 1);
        reject(&format!("bit in the {field}"), &bob, sealed, OpenError::NotTheSender, "authentication fails");
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
        let name = format!("ephemeral key {}", hex(&point[..2]));
        reject(&name, &bob, sealed, value, "low order, or not canonical");
    }
    for len in [0, 1, 32, 33, 49, 33 + 261, OVERHEAD - 1, OVERHEAD] {
        reject(&format!("cut to {len} bytes"), &bob, changed(&|s| s.truncate(len)), length, "length");
    }
    let cut = changed(&|s| _ = s.pop());
    reject("cut by a byte", &bob, cut, OpenError::NotTheSender, "authentication fails");
    reject("a byte too many", &bob, changed(&|s| s.push(0)), OpenError::NotTheSender, "authentication fails");

    // Two seals of one sender: the first half of one, the second half of the other.
    let other = seal(&alice, bob.certificate(), b"session message", draws).unwrap();
    let reason = "the message's key is bound to the ephemeral key and to the certificate's encrypted form";
    let swapped = [&good[..294], &other[294..]].concat();
    reject("message of another seal", &bob, swapped, OpenError::NotTheSender, reason);
    let swapped = [&good[..33], &other[33..294], &good[294..]].concat();
    reject("certificate of another seal", &bob, swapped, OpenError::Undecryptable, reason);
    // A third device's valid certificate, and the identity key of the device that seals.
    let sealed = Parts::seal(&bob, &alice.certificate().encode(), &carol, draws);
    let reason = "carol does not have the identity secret of alice's certificate";
    reject("another device's certificate", &bob, sealed, OpenError::NotTheSender, reason);
    // The first layer made anew around the certificate, by a device that saw the plaintext of neither.
    let parts = Parts::of(&bob, &alice, &good);
    let mut certificate_of_carol = carol.certificate().encode().to_vec();
    let tag = parts.seal_certificate(&mut certificate_of_carol);
    let replaced = [&good[..33], &certificate_of_carol, &tag, &good[294..]].concat();
    let reason = "the message's key is bound to the certificate's encrypted form and to the sender's identity key";
    reject("the certificate exchanged under the same ephemeral key", &bob, replaced, OpenError::NotTheSender, reason);

    // Sealed as it should be, with a certificate inside that is none.
    for (name, at) in
        [("version", 0), ("address", 3), ("account key", 30), ("account signature", 120), ("device signature", 200)]
    {
        let mut inside = alice.certificate().encode();
        inside[at] ^= 2;
        let sealed = Parts::seal(&bob, &inside, &alice, draws);
        let reason = "the certificate does not verify";
        reject(&format!("certificate with a wrong {name}"), &bob, sealed, OpenError::InvalidCertificate, reason);
    }
    // Certificates that verify, and cannot be a sender's.
    let certified = |identity_key: [u8; 32], address: Address, draws: &mut Draws| {
        let (account, keys) = (Ed25519Secret::generate(draws), Ed25519Secret::generate(draws));
        let body = CertificateBody {
            address,
            account_key: AccountKey::from_bytes(account.public()),
            signing_key: DeviceSigningKey::from_bytes(keys.public()),
            identity_key: IdentityKey::from_bytes(identity_key),
        };
        let signatures = (account.sign(&body.account_statement()), keys.sign(&body.device_statement()));
        DeviceCertificate::assemble(body, signatures.0, signatures.1).unwrap().encode()
    };
    let reason = "low order, or not canonical";
    for point in [[0; 32], [0xFF; 32]] {
        let inside = certified(point, carol.address(), draws);
        let sealed = Parts::seal(&bob, &inside, &carol, draws);
        let name = format!("certificate with the identity key {}", hex(&point[..2]));
        reject(&name, &bob, sealed, OpenError::InvalidCertificate, reason);
    }
    let own = [
        ("own certificate", bob.certificate().encode()),
        ("own address", certified(*carol.secrets().identity_key().as_bytes(), bob.address(), draws)),
        ("own identity key", certified(*bob.secrets().identity_key().as_bytes(), carol.address(), draws)),
    ];
    for (name, inside) in own {
        // Bob's own identity secret where it is his key: all that is wrong is whose it is.
        let sender = if name == "own address" { &carol } else { &bob };
        let sealed = Parts::seal(&bob, &inside, sender, draws);
        reject(name, &bob, sealed, OpenError::OwnDevice, "the recipient is no sender");
    }
    check("sealed_sender", cases);
}

/// The construction once more, step by step, with its intermediate values.
struct Parts {
    ephemeral: [u8; 32],
    shared: [u8; 32],
    /// E ‖ IK_B ‖ address_B
    bound: Vec<u8>,
    keys: [u8; 76],
    identity_shared: [u8; 32],
    hash: [u8; 32],
    message_keys: [u8; 44],
}

impl Parts {
    fn of(recipient: &LocalDevice, sender: &LocalDevice, sealed: &[u8]) -> Self {
        let ephemeral: [u8; 32] = sealed[1..33].try_into().unwrap();
        let shared = recipient.secrets().identity().agree(&X25519Public::decode(ephemeral).unwrap()).unwrap();
        let mut parts = Self::begin(recipient, ephemeral, *shared.as_bytes());
        parts.bind(recipient, sender, &sealed[33..294]);
        parts
    }

    fn begin(recipient: &LocalDevice, ephemeral: [u8; 32], shared: [u8; 32]) -> Self {
        let identity = recipient.secrets().identity_key();
        let bound = [&ephemeral[..], identity.as_bytes(), &recipient.address().to_bytes()].concat();
        let keys = *hkdf_sha256::<76>(&[0; 32], &[&shared], &[&SEALED_CERTIFICATE, &bound]);
        Self { ephemeral, shared, bound, keys, identity_shared: [0; 32], hash: [0; 32], message_keys: [0; 44] }
    }

    /// The second layer's keys, with the sender's identity secret.
    fn bind(&mut self, recipient: &LocalDevice, sender: &LocalDevice, encrypted: &[u8]) {
        let theirs = X25519Public::decode(*recipient.secrets().identity_key().as_bytes()).unwrap();
        self.identity_shared = *sender.secrets().identity().agree(&theirs).unwrap().as_bytes();
        self.hash = Sha256::digest(encrypted).into();
        let info: [&[u8]; 3] = [&SEALED_MESSAGE, &self.bound, &self.hash];
        self.message_keys = *hkdf_sha256::<44>(&self.keys[44..], &[&self.identity_shared], &info);
    }

    fn seal_certificate(&self, certificate: &mut [u8]) -> [u8; 16] {
        let (key, nonce) = (self.keys[..32].try_into().unwrap(), self.keys[32..44].try_into().unwrap());
        aead::seal(key, nonce, &[&[2], &self.bound[..]].concat(), certificate)
    }

    /// Seals a message beside any bytes in the certificate's place.
    fn seal(recipient: &LocalDevice, certificate: &[u8], sender: &LocalDevice, draws: &mut Draws) -> Vec<u8> {
        let secret = X25519Secret::generate(draws);
        let theirs = X25519Public::decode(*recipient.secrets().identity_key().as_bytes()).unwrap();
        let shared = *secret.agree(&theirs).unwrap().as_bytes();
        let mut parts = Self::begin(recipient, *secret.public().as_bytes(), shared);
        let mut encrypted = certificate.to_vec();
        let tag = parts.seal_certificate(&mut encrypted);
        encrypted.extend(tag);
        parts.bind(recipient, sender, &encrypted);
        let (key, nonce) = (parts.message_keys[..32].try_into().unwrap(), parts.message_keys[32..].try_into().unwrap());
        let mut message = b"session message".to_vec();
        let tag = aead::seal(key, nonce, &[&[2], &parts.bound[..], &parts.hash].concat(), &mut message);
        [&[2][..], &parts.ephemeral, &encrypted, &message, &tag].concat()
    }
}

//! Bad public keys: 1 to 4, 7.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::montgomery::MontgomeryPoint;
use kuvert_protocol::hazmat::primitives::ed25519::Ed25519Secret;
use kuvert_protocol::hazmat::primitives::x25519::{X25519Public, X25519Secret};
use kuvert_protocol::prekey::BundleError;
use kuvert_protocol::prelude::*;
use kuvert_types::certificate::CertificateBody;
use kuvert_types::{AccountKey, DeviceCertificate, DeviceSigningKey, IdentityKey, Signature, label};

use crate::support::forger::{Forger, Tricks, pad};
use crate::support::{Party, TestRng};

/// Every u-coordinate of low order, all spellings (canonical, plus p, with bit 255): RFC 7748's and those of
/// <https://cr.yp.to/ecdh.html#validate>.
fn low_order_points() -> Vec<[u8; 32]> {
    let mut points: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.to_montgomery().to_bytes()).collect();
    let mut p_plus = |n: u8| {
        let mut bytes = [0xFF; 32];
        bytes[0] = 0xED_u8.wrapping_add(n);
        bytes[31] = 0x7F;
        points.push(bytes);
    };
    p_plus(0);
    p_plus(1);
    p_plus(0xFF); // p − 1, of order 4 on the twist
    for i in 0..points.len() {
        let mut high = points[i];
        high[31] |= 0x80;
        points.push(high);
    }
    points.sort_unstable();
    points.dedup();
    assert_eq!(points.len(), 14);
    points
}

/// A bundle of Bob's in which one part is replaced and properly signed again: Bob himself is the attacker.
struct Resigned {
    identity: Option<[u8; 32]>,
    signed: Option<[u8; 32]>,
    one_time: Option<[u8; 32]>,
    kem: Option<Vec<u8>>,
}

const AS_IT_IS: Resigned = Resigned { identity: None, signed: None, one_time: None, kem: None };

fn resigned_bundle(bob: &mut Party, change: &Resigned) -> PrekeyBundle {
    let mut bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    let signing = Ed25519Secret::from_bytes(bob.local.secrets().to_bytes()[..32].try_into().unwrap());
    let account = Ed25519Secret::from_bytes(&bob.account.to_bytes());
    let identity = change.identity.unwrap_or(*bob.local.certificate().identity_key().as_bytes());
    let body = CertificateBody {
        address: bob.address(),
        account_key: bob.account_key(),
        signing_key: DeviceSigningKey::from_bytes(signing.public()),
        identity_key: IdentityKey::from_bytes(identity),
    };
    let certificate = DeviceCertificate::assemble(
        body,
        account.sign(&body.account_statement()),
        signing.sign(&body.device_statement()),
    );
    bundle.certificate = kuvert_types::UnverifiedDeviceCertificate::decode(&certificate.unwrap().encode()).unwrap();
    let sign =
        |text: &str, id: u32, key: &[u8]| signing.sign(&[&label(text)[..], &identity, &id.to_be_bytes(), key].concat());
    let signed = &mut bundle.signed_prekey;
    signed.public_key = change.signed.unwrap_or(signed.public_key);
    signed.signature = sign("Kuvert/1 signed prekey", signed.id, &signed.public_key);
    if let Some(key) = &change.kem {
        bundle.kem_prekey.public_key = Box::new(key.as_slice().try_into().unwrap());
    }
    let kem = &mut bundle.kem_prekey;
    kem.signature = sign("Kuvert/1 one-time KEM prekey", kem.id, &*kem.public_key);
    if let (Some(key), Some(one_time)) = (change.one_time, &mut bundle.one_time_prekey) {
        one_time.public_key = key;
    }
    bundle
}

fn verify(bob: &mut Party, change: &Resigned) -> Result<VerifiedBundle, BundleError> {
    let (address, key) = (bob.address(), bob.account_key());
    resigned_bundle(bob, change).verify(address, &key)
}

fn refuses_in_every_role(points: &[[u8; 32]]) {
    let mut bob = Party::new(2, 1);
    assert!(verify(&mut bob, &AS_IT_IS).is_ok(), "the bundle is good before it is changed");
    for point in points {
        assert!(X25519Public::decode(*point).is_err());
        let at = Some(*point);
        let error = |result: Result<_, _>| result.map(|_: VerifiedBundle| ()).unwrap_err();
        assert_eq!(error(verify(&mut bob, &Resigned { identity: at, ..AS_IT_IS })), BundleError::IdentityKey);
        assert_eq!(error(verify(&mut bob, &Resigned { signed: at, ..AS_IT_IS })), BundleError::SignedPrekey);
        assert_eq!(error(verify(&mut bob, &Resigned { one_time: at, ..AS_IT_IS })), BundleError::OneTimePrekey);

        // The initiator's side: ephemeral key, identity key, first ratchet key.
        let alice = Party::new(1, 1);
        let bundle = bob.bundle(KemPrekeyKind::OneTime, true);
        for zero_results in [false, true] {
            let tricks = Tricks { ephemeral: at, zero_results, ..Tricks::default() };
            let message = Forger::new(&alice, &bundle, tricks, TestRng::new(1)).message(b"x");
            assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Malformed);
        }

        let account = Ed25519Secret::from_bytes(&alice.account.to_bytes());
        let signing = Ed25519Secret::from_bytes(alice.local.secrets().to_bytes()[..32].try_into().unwrap());
        let body = CertificateBody {
            address: alice.address(),
            account_key: alice.account_key(),
            signing_key: DeviceSigningKey::from_bytes(signing.public()),
            identity_key: IdentityKey::from_bytes(*point),
        };
        let signatures = (account.sign(&body.account_statement()), signing.sign(&body.device_statement()));
        let certificate = DeviceCertificate::assemble(body, signatures.0, signatures.1).unwrap();
        let tricks = Tricks { certificate: Some(certificate), ..Tricks::default() };
        let message = Forger::new(&alice, &bundle, tricks, TestRng::new(1)).message(b"x");
        assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::InvalidHandshake);

        let mut forger = Forger::new(&alice, &bundle, Tricks::default(), TestRng::new(1));
        let message = forger.message_with(&pad(b"x"), |header| header.ratchet_key = *point);
        assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Malformed);
    }
}

#[test]
fn attack_01_low_order_points_are_refused_in_every_role() {
    refuses_in_every_role(&low_order_points());
}

#[test]
fn attack_01_a_ratchet_key_of_low_order_is_refused_in_a_running_session() {
    let (alice, mut bob) = (Party::new(1, 2), Party::new(2, 2));
    let bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    let mut forger = Forger::new(&alice, &bundle, Tricks::default(), TestRng::new(2));
    let message = forger.message(b"honest");
    bob.decrypt(alice.address(), &message);
    for point in low_order_points() {
        let message = forger.message_with(&pad(b"x"), |header| header.ratchet_key = point);
        assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Malformed);
    }
}

#[test]
fn attack_02_non_canonical_points_are_refused_in_every_role() {
    // The 19 values from p to 2^255 − 1, and those with bit 255 of ordinary keys.
    let mut spellings: Vec<[u8; 32]> = (0xED..=0xFF_u8)
        .map(|low| {
            let mut bytes = [0xFF; 32];
            bytes[0] = low;
            bytes[31] = 0x7F;
            bytes
        })
        .collect();
    assert_eq!(spellings.len(), 19);
    for seed in 1..4_u8 {
        let mut key = *X25519Secret::from_bytes(&[seed; 32]).public().as_bytes();
        key[31] |= 0x80;
        spellings.push(key);
    }
    refuses_in_every_role(&spellings);
    // The largest canonical value that is not of low order is a key.
    let mut p_minus_two = [0xFF; 32];
    p_minus_two[0] = 0xEB;
    p_minus_two[31] = 0x7F;
    assert!(X25519Public::decode(p_minus_two).is_ok());
}

#[test]
fn attack_03_torsion_twins_of_an_ephemeral_key_are_refused() {
    let (mut alice, mut bob) = (Party::new(1, 3), Party::new(2, 3));
    let bundle = bob.verified_bundle(KemPrekeyKind::LastResort, false);
    alice.record.initiate(&alice.local, &bundle, alice.now, &mut alice.rng).unwrap();
    let message = alice.encrypt(b"once");
    bob.decrypt(alice.address(), &message);
    // The session is forgotten; only the replay record remembers.
    bob.record = SessionRecord::new();

    let at = 2 + 245..2 + 245 + 32;
    let ephemeral: [u8; 32] = message[at.clone()].try_into().unwrap();
    let point = MontgomeryPoint(ephemeral).to_edwards(0).unwrap();
    let secret = X25519Secret::from_bytes(&[9; 32]);
    let result = |key: [u8; 32]| *secret.agree(&X25519Public::decode(key).unwrap()).unwrap().as_bytes();
    let mut twins = 0;
    for torsion in EIGHT_TORSION {
        let twin = (point + torsion).to_montgomery().to_bytes();
        if twin == ephemeral {
            continue;
        }
        twins += 1;
        assert_eq!(result(twin), result(ephemeral), "a twin gives the same result: that is the attack");
        assert!(!X25519Public::decode(twin).unwrap().is_torsion_free());
        let mut replayed = message.clone();
        replayed[at.clone()].copy_from_slice(&twin);
        assert_eq!(bob.try_decrypt(alice.address(), &replayed).unwrap_err(), DecryptError::InvalidHandshake);
    }
    assert_eq!(twins, 7);
    assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Replayed);
}

#[test]
fn attack_03_points_on_the_twist_are_refused_as_ephemeral_keys() {
    let twist = (2..=255_u8)
        .map(|u| {
            let mut bytes = [0; 32];
            bytes[0] = u;
            bytes
        })
        .find(|bytes| MontgomeryPoint(*bytes).to_edwards(0).is_none())
        .unwrap();
    let (alice, mut bob) = (Party::new(1, 4), Party::new(2, 4));
    let bundle = bob.bundle(KemPrekeyKind::LastResort, false);
    let tricks = Tricks { ephemeral: Some(twist), ..Tricks::default() };
    let message = Forger::new(&alice, &bundle, tricks, TestRng::new(4)).message(b"x");
    assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::InvalidHandshake);
}

#[test]
fn attack_04_weak_ed25519_keys_and_malleable_signatures_are_refused() {
    // Wycheproof's vectors run in tests/primitives.rs; here the two classics against a whole certificate.
    let mut bob = Party::new(2, 5);
    let bytes = bob.local.certificate().encode();
    for signature_at in [117, 181] {
        // S + L verifies in lax implementations.
        let mut malleable = bytes;
        add_group_order(&mut malleable[signature_at + 32..signature_at + 64]);
        let certificate = kuvert_types::UnverifiedDeviceCertificate::decode(&malleable).unwrap();
        assert!(certificate.verify().is_err());
    }

    // With an account key of small order, R = A·k + B·S holds for S = 0 and R = the identity, whatever is signed.
    for point in EIGHT_TORSION {
        let weak = point.compress().to_bytes();
        let mut forged = [0; 64];
        forged[0] = 1;
        for message in [b"one", b"two"] {
            assert!(Signature::from_bytes(forged).verify(&weak, message).is_err());
        }
        let mut bundle = bob.bundle(KemPrekeyKind::OneTime, true);
        let mut certificate = bytes;
        certificate[21..53].copy_from_slice(&weak);
        certificate[117..181].copy_from_slice(&forged);
        bundle.certificate = kuvert_types::UnverifiedDeviceCertificate::decode(&certificate).unwrap();
        let result = bundle.verify(bob.address(), &AccountKey::from_bytes(weak));
        assert_eq!(result.unwrap_err(), BundleError::Certificate);
    }
}

/// Adds L = 2^252 + 27742317777372353535851937790883648493 to a little-endian number.
fn add_group_order(number: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, order) in number.iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

#[test]
fn attack_07_malformed_kem_keys_are_refused_before_encapsulation() {
    let mut bob = Party::new(2, 7);
    let good = bob.bundle(KemPrekeyKind::OneTime, true).kem_prekey.public_key.to_vec();
    assert!(verify(&mut bob, &Resigned { kem: Some(good.clone()), ..AS_IT_IS }).is_ok());
    // Every coefficient in turn at q = 3329, the least that is not reduced, and at 4095. Two coefficients in three bytes.
    for value in [3329_u16, 4095] {
        for coefficient in (0..1024).step_by(97) {
            let mut key = good.clone();
            let triple = &mut key[coefficient / 2 * 3..][..3];
            if coefficient % 2 == 0 {
                triple[0] = value as u8;
                triple[1] = (triple[1] & 0xF0) | (value >> 8) as u8;
            } else {
                triple[1] = (triple[1] & 0x0F) | ((value & 0x0F) << 4) as u8;
                triple[2] = (value >> 4) as u8;
            }
            let result = verify(&mut bob, &Resigned { kem: Some(key), ..AS_IT_IS });
            assert_eq!(result.unwrap_err(), BundleError::KemPrekey);
        }
    }
    let zero = verify(&mut bob, &Resigned { kem: Some(vec![0; 1568]), ..AS_IT_IS });
    assert!(zero.is_ok(), "zero is reduced; FIPS 203 asks for no more");
}

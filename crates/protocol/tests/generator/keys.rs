//! Keys that other people send: what is accepted, in which role, and what is not.

use alloc::format;
use alloc::vec::Vec;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signer, SigningKey};
use kuvert_types::Signature;
use serde_json::json;

use super::{Case, bytes, check, hex};
use crate::primitives::kem768::{EncapsulationSeed, KeyPairSeed};
use crate::primitives::kem1024::{KemPublic, KemSeed};
use crate::primitives::x25519::{X25519Public, X25519Secret};

/// 2^255 − 19, little-endian.
const P: [u8; 32] = {
    let mut p = [0xFF; 32];
    p[0] = 0xED;
    p[31] = 0x7F;
    p
};

#[test]
fn vectors_keys() {
    let mut cases = Vec::new();
    x25519(&mut cases);
    ed25519(&mut cases);
    kem(&mut cases);
    check("keys", cases);
}

fn x25519(cases: &mut Vec<Case>) {
    let secret = X25519Secret::from_bytes(&bytes("x25519 secret"));
    let other = X25519Secret::from_bytes(&bytes("x25519 other"));
    let shared = secret.agree(&other.public()).unwrap();
    cases.push(Case::new(
        "x25519 agree",
        "A Diffie–Hellman. The secret is clamped when used.",
        json!({ "secret": hex(secret.as_bytes()), "public": hex(other.public().as_bytes()) }),
        json!({ "own_public": hex(secret.public().as_bytes()), "shared": hex(shared.as_bytes()) }),
    ));

    let low_order: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.to_montgomery().to_bytes()).collect();
    let mut seen = Vec::new();
    let mut minus_one = P;
    minus_one[0] -= 1;
    for point in low_order.into_iter().chain([[0; 32], minus_one]) {
        if seen.contains(&point) {
            continue;
        }
        seen.push(point);
        assert!(X25519Public::decode(point).is_err());
        let inputs = json!({ "public": hex(point) });
        cases.push(Case::reject(format!("x25519 low order {}", hex(point)), "In every role.", inputs, "low order"));
    }
    assert_eq!(seen.len(), 5);
    for add in 0..19_u8 {
        let mut value = P;
        value[0] += add;
        assert!(X25519Public::decode(value).is_err());
        let inputs = json!({ "public": hex(value) });
        cases.push(Case::reject(format!("x25519 p + {add}"), "In every role.", inputs, "2^255 - 19 or more"));
    }
    let mut high = *other.public().as_bytes();
    high[31] |= 0x80;
    assert!(X25519Public::decode(high).is_err());
    let inputs = json!({ "public": hex(high) });
    cases.push(Case::reject("x25519 high bit", "In every role.", inputs, "bit 255 is set"));

    let ephemeral = other.public();
    assert!(ephemeral.is_torsion_free());
    cases.push(Case::new(
        "x25519 ephemeral good",
        "An ephemeral key in the prime-order group.",
        json!({ "ephemeral": hex(ephemeral.as_bytes()) }),
        json!({ "accepted": true }),
    ));
    let edwards = MontgomeryPoint(*ephemeral.as_bytes()).to_edwards(0).unwrap();
    let mut twins = Vec::new();
    for torsion in EIGHT_TORSION.iter().skip(1) {
        let twin = (edwards + torsion).to_montgomery().to_bytes();
        let decoded = X25519Public::decode(twin).unwrap();
        // The very reason: nothing tells it from the good key by results.
        assert_eq!(secret.agree(&decoded).unwrap().as_bytes(), shared.as_bytes());
        assert!(!decoded.is_torsion_free());
        assert!(twin != *ephemeral.as_bytes() && !twins.contains(&twin));
        twins.push(twin);
        cases.push(Case::reject(
            format!("x25519 ephemeral twin {}", twins.len()),
            "A good key plus a point of small order: the same results, other bytes. Refused as an ephemeral key only.",
            json!({ "ephemeral": hex(twin) }),
            "not in the prime-order group",
        ));
    }
    let on_twist = (2_u8..)
        .map(|u| {
            let mut bytes = [0; 32];
            bytes[0] = u;
            bytes
        })
        .find(|bytes| MontgomeryPoint(*bytes).to_edwards(0).is_none())
        .unwrap();
    assert!(!X25519Public::decode(on_twist).unwrap().is_torsion_free());
    cases.push(Case::reject(
        "x25519 ephemeral on the twist",
        "A point of the twist. Refused as an ephemeral key only.",
        json!({ "ephemeral": hex(on_twist) }),
        "not on the curve",
    ));
}

fn ed25519(cases: &mut Vec<Case>) {
    let key = SigningKey::from_bytes(&bytes("ed25519 seed"));
    let public = key.verifying_key().to_bytes();
    let message = b"a statement";
    let signature = key.sign(message).to_bytes();
    let inputs = |public: &[u8], signature: &[u8]| json!({ "public": hex(public), "message": hex(message), "signature": hex(signature) });
    let verify =
        |public: &[u8; 32], signature: &[u8; 64]| Signature::from_bytes(*signature).verify(public, message).is_ok();
    assert!(verify(&public, &signature));
    let seed = json!({ "valid": true, "seed": hex(key.to_bytes()) });
    cases.push(Case::new("ed25519 good", "A signature; the seed is listed too.", inputs(&public, &signature), seed));

    let mut reject = |name: &str, public: [u8; 32], signature: [u8; 64], reason: &str| {
        assert!(!verify(&public, &signature), "{name}");
        cases.push(Case::reject(
            format!("ed25519 {name}"),
            "Strict verification.",
            inputs(&public, &signature),
            reason,
        ));
    };
    let changed = |at: usize| {
        let mut changed = signature;
        changed[at] ^= 1;
        changed
    };
    reject("flipped R", public, changed(0), "wrong signature");
    reject("flipped s", public, changed(32), "wrong signature");
    // s + L: the same residue, another encoding.
    const L: [u8; 32] = [
        0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut malleable = signature;
    let mut carry = 0_u16;
    for (byte, add) in malleable[32..].iter_mut().zip(L) {
        carry += u16::from(*byte) + u16::from(add);
        [*byte, _] = carry.to_le_bytes();
        carry >>= 8;
    }
    reject("s + L", public, malleable, "s is not below the group's order");
    for (index, point) in EIGHT_TORSION.iter().enumerate() {
        let point = point.compress().to_bytes();
        // Without strictness this would be a signature of every message for a share of all messages, or all.
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&point);
        reject(&format!("small-order key {index}"), point, signature, "a key of small order");
    }
    let mut identity = [0; 32];
    identity[0] = 1;
    identity[31] |= 0x80;
    let mut signature = [0; 64];
    signature[0] = 1;
    reject("non-canonical key", identity, signature, "minus zero: not canonical");
    // R of small order under a good key, with the s that fits without strictness.
    let scalar = {
        use sha2::{Digest, Sha512};
        let k =
            Sha512::new().chain_update([1]).chain_update([0; 31]).chain_update(public).chain_update(message).finalize();
        Scalar::from_bytes_mod_order_wide(&k.into()) * key.to_scalar()
    };
    let mut signature = [0; 64];
    signature[0] = 1;
    signature[32..].copy_from_slice(scalar.as_bytes());
    reject("small-order R", public, signature, "an R of small order");
}

fn kem(cases: &mut Vec<Case>) {
    let seed = KemSeed::from_bytes(&bytes("kem1024 seed"));
    let pair = seed.key_pair();
    let m = bytes("kem1024 m");
    let (ciphertext, shared) = pair.public().encapsulate_with(&m);
    let mut wrong = ciphertext;
    wrong[0] ^= 1;
    cases.push(Case::new(
        "ml-kem-1024",
        "Key pair from its seed d ‖ z, encapsulation with m, decapsulation, and what decapsulating a wrong ciphertext gives.",
        json!({ "seed": hex(seed.as_bytes()), "m": hex(m), "wrong_ciphertext": hex(wrong) }),
        json!({
            "public": hex(pair.public().as_bytes()), "ciphertext": hex(ciphertext), "shared": hex(shared.as_bytes()),
            "shared_of_wrong_ciphertext": hex(pair.decapsulate(&wrong).as_bytes()),
        }),
    ));
    let mut unreduced = *pair.public().as_bytes();
    // The first coefficient: 3329.
    (unreduced[0], unreduced[1]) = (0x01, unreduced[1] & 0xF0 | 0x0D);
    assert!(KemPublic::decode(&unreduced).is_err());
    let inputs = json!({ "public": hex(unreduced) });
    cases.push(Case::reject("ml-kem-1024 modulus", "FIPS 203, section 7.2.", inputs, "a coefficient is 3329"));

    for name in ["a", "b"] {
        let seed = KeyPairSeed::from_bytes(&bytes(&format!("kem768 seed {name}")));
        let m: [u8; 32] = bytes(&format!("kem768 m {name}"));
        let (header, vector) = seed.encapsulation_key().unwrap();
        let encapsulation = EncapsulationSeed::from_bytes(&m);
        let (c1, shared) = encapsulation.encapsulate1(&header).unwrap();
        let c2 = encapsulation.encapsulate2(&header, &vector).unwrap();
        let mut wrong = c2;
        wrong[5] ^= 4;
        cases.push(Case::new(
            format!("ml-kem-768 in pieces {name}"),
            "The encapsulation key is vector ‖ header[0..32], the ciphertext c1 ‖ c2.",
            json!({ "seed": hex(seed.as_bytes()), "m": hex(m), "wrong_c2": hex(wrong) }),
            json!({
                "header": hex(header), "vector": hex(*vector), "c1": hex(*c1), "c2": hex(c2), "shared": hex(shared.as_bytes()),
                "shared_of_wrong_c2": hex(seed.decapsulate(&c1, &wrong).unwrap().as_bytes()),
            }),
        ));
    }
    let seed = KeyPairSeed::from_bytes(&bytes("kem768 seed a"));
    let (header, mut vector) = seed.encapsulation_key().unwrap();
    vector[700] ^= 1;
    assert!(EncapsulationSeed::from_bytes(&[0; 32]).encapsulate2(&header, &vector).is_err());
    let inputs = json!({ "header": hex(header), "vector": hex(*vector) });
    cases.push(Case::reject(
        "ml-kem-768 vector",
        "A vector with a flipped bit.",
        inputs,
        "not what the header announces",
    ));
}

//! NIST's ACVP vectors for ML-KEM-768 and ML-KEM-1024 (FIPS 203), through the crate's own modules, and an independent
//! implementation beside them. `ml-kem.json` names where it comes from.
//!
//! Decapsulation vectors bring an expanded key, which this crate never stores or accepts: there the backend is called as it
//! is, and the crate's own way, from a seed, is shown with the vectors of key generation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(deprecated)] // the oracle deprecates expanded keys, and NIST uses them

use data_encoding::HEXUPPER_PERMISSIVE;
use kuvert_protocol::hazmat::primitives::kem768::{self, EncapsulationSeed, InvalidKey, KeyPairSeed};
use kuvert_protocol::hazmat::primitives::kem1024::{self, KemPublic, KemSeed};
use libcrux_ml_kem::{mlkem768, mlkem1024};
use ml_kem::kem::{Decapsulate, KeyExport, TryKeyInit};
use ml_kem::{ExpandedKeyEncoding, ml_kem_768, ml_kem_1024};
use serde::Deserialize;
use sha3::{Digest, Sha3_256};

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    parameter_set: String,
    function: String,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    tc_id: u32,
    #[serde(default)]
    d: String,
    #[serde(default)]
    z: String,
    #[serde(default)]
    ek: String,
    #[serde(default)]
    dk: String,
    #[serde(default)]
    m: String,
    #[serde(default)]
    c: String,
    #[serde(default)]
    k: String,
    #[serde(default)]
    test_passed: bool,
}

fn hex(text: &str) -> Vec<u8> {
    HEXUPPER_PERMISSIVE.decode(text.as_bytes()).unwrap()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

/// Runs `check` on every case of a group, and says how many there were.
fn each(parameter_set: &str, function: &str, mut check: impl FnMut(&Case)) -> usize {
    let file: File = serde_json::from_str(include_str!("ml-kem.json")).unwrap();
    let group = |group: &&Group| group.parameter_set == parameter_set && group.function == function;
    let group = file.groups.iter().find(group).unwrap();
    for case in &group.tests {
        println!("{parameter_set} {function} {}", case.tc_id);
        check(case);
    }
    group.tests.len()
}

/// An encapsulation key of ML-KEM-768 in the two pieces of the protocol: header `ρ ‖ H(ek)` and vector.
fn pieces(ek: &[u8]) -> ([u8; kem768::HEADER_LEN], [u8; kem768::VECTOR_LEN]) {
    let (vector, rho) = ek.split_at(kem768::VECTOR_LEN);
    let header = [rho, &Sha3_256::digest(ek)].concat();
    (header.try_into().unwrap(), vector.try_into().unwrap())
}

#[test]
fn ml_kem_768_key_generation() {
    let count = each("ML-KEM-768", "keyGen", |case| {
        let seed: [u8; 64] = [hex(&case.d), hex(&case.z)].concat().try_into().unwrap();
        let pair = KeyPairSeed::from_bytes(&seed);
        let ek = hex(&case.ek);
        let (header, vector) = pair.encapsulation_key().unwrap();
        assert_eq!((header, *vector), pieces(&ek));
        let oracle = ml_kem_768::DecapsulationKey::from_seed(seed.into());
        assert_eq!(oracle.encapsulation_key().to_bytes()[..], ek);
        assert_eq!(oracle.to_expanded_bytes()[..], hex(&case.dk));

        // From this seed, to this key: the seed's secrets are those of the expanded key, also for what is rejected.
        let (c1, secret) = EncapsulationSeed::from_bytes(&[7; 32]).encapsulate1(&header).unwrap();
        let mut c2 = EncapsulationSeed::from_bytes(&[7; 32]).encapsulate2(&header, &vector).unwrap();
        let expanded = mlkem768::MlKem768PrivateKey::from(array::<2400>(&case.dk));
        for changed in [false, true] {
            c2[0] ^= u8::from(changed);
            let ciphertext: [u8; 1088] = [&c1[..], &c2].concat().try_into().unwrap();
            let ours = pair.decapsulate(&c1, &c2).unwrap();
            assert_eq!(*ours.as_bytes(), mlkem768::decapsulate(&expanded, &ciphertext.into()));
            assert_eq!(ours.as_bytes()[..], oracle.decapsulate(&ciphertext.into())[..]);
            assert_eq!(ours.as_bytes() == secret.as_bytes(), !changed);
        }
    });
    assert_eq!(count, 5);
}

#[test]
fn ml_kem_768_encapsulation() {
    let count = each("ML-KEM-768", "encapsulation", |case| {
        let (header, vector) = pieces(&hex(&case.ek));
        let seed = EncapsulationSeed::from_bytes(&array(&case.m));
        let (c1, secret) = seed.encapsulate1(&header).unwrap();
        let c2 = seed.encapsulate2(&header, &vector).unwrap();
        assert_eq!([&c1[..], &c2].concat(), hex(&case.c));
        assert_eq!(secret.as_bytes()[..], hex(&case.k));
        let oracle = ml_kem_768::EncapsulationKey::new_from_slice(&hex(&case.ek)).unwrap();
        let (ciphertext, shared) = oracle.encapsulate_deterministic(&array(&case.m).into());
        assert_eq!((&ciphertext[..], &shared[..]), (&hex(&case.c)[..], &hex(&case.k)[..]));
    });
    assert_eq!(count, 5);
}

#[test]
fn ml_kem_768_decapsulation() {
    let count = each("ML-KEM-768", "decapsulation", |case| {
        let (dk, ciphertext) = (array::<2400>(&case.dk), array::<1088>(&case.c));
        assert_eq!(mlkem768::decapsulate(&dk.into(), &ciphertext.into())[..], hex(&case.k));
        let oracle = ml_kem_768::DecapsulationKey::from_expanded_bytes(&dk.into()).unwrap();
        assert_eq!(oracle.decapsulate(&ciphertext.into())[..], hex(&case.k));
    });
    assert_eq!(count, 10);
}

#[test]
fn ml_kem_768_key_check() {
    let (mut good, mut bad) = (0, 0);
    each("ML-KEM-768", "encapsulationKeyCheck", |case| {
        *(if case.test_passed { &mut good } else { &mut bad }) += 1;
        let ek = hex(&case.ek);
        assert_eq!(ml_kem_768::EncapsulationKey::new_from_slice(&ek).is_ok(), case.test_passed);
        // Of a key with a wrong length there are no two pieces.
        if ek.len() == 1184 {
            let (header, vector) = pieces(&ek);
            let finished = EncapsulationSeed::from_bytes(&[7; 32]).encapsulate2(&header, &vector);
            assert_eq!(finished.map(|_| ()), if case.test_passed { Ok(()) } else { Err(InvalidKey) });
        }
    });
    assert!(good > 0 && bad > 0, "{good} {bad}");
}

#[test]
fn ml_kem_1024_key_generation() {
    let count = each("ML-KEM-1024", "keyGen", |case| {
        let seed: [u8; 64] = [hex(&case.d), hex(&case.z)].concat().try_into().unwrap();
        let pair = KemSeed::from_bytes(&seed).key_pair();
        assert_eq!(pair.public().as_bytes()[..], hex(&case.ek));
        let oracle = ml_kem_1024::DecapsulationKey::from_seed(seed.into());
        assert_eq!(oracle.encapsulation_key().to_bytes()[..], hex(&case.ek));
        assert_eq!(oracle.to_expanded_bytes()[..], hex(&case.dk));

        let (mut ciphertext, shared) = pair.public().encapsulate_with(&[7; 32]);
        let expanded = mlkem1024::MlKem1024PrivateKey::from(array::<3168>(&case.dk));
        for changed in [false, true] {
            ciphertext[0] ^= u8::from(changed);
            let ours = pair.decapsulate(&ciphertext);
            assert_eq!(*ours.as_bytes(), mlkem1024::decapsulate(&expanded, &ciphertext.into()));
            assert_eq!(ours.as_bytes()[..], oracle.decapsulate(&ciphertext.into())[..]);
            assert_eq!(ours.as_bytes() == shared.as_bytes(), !changed);
        }
    });
    assert_eq!(count, 5);
}

#[test]
fn ml_kem_1024_encapsulation() {
    let count = each("ML-KEM-1024", "encapsulation", |case| {
        let (ciphertext, shared) = KemPublic::decode(&array(&case.ek)).unwrap().encapsulate_with(&array(&case.m));
        assert_eq!((&ciphertext[..], &shared.as_bytes()[..]), (&hex(&case.c)[..], &hex(&case.k)[..]));
        let oracle = ml_kem_1024::EncapsulationKey::new_from_slice(&hex(&case.ek)).unwrap();
        let (ciphertext, shared) = oracle.encapsulate_deterministic(&array(&case.m).into());
        assert_eq!((&ciphertext[..], &shared[..]), (&hex(&case.c)[..], &hex(&case.k)[..]));
    });
    assert_eq!(count, 5);
}

#[test]
fn ml_kem_1024_decapsulation() {
    let count = each("ML-KEM-1024", "decapsulation", |case| {
        let (dk, ciphertext) = (array::<3168>(&case.dk), array::<1568>(&case.c));
        assert_eq!(mlkem1024::decapsulate(&dk.into(), &ciphertext.into())[..], hex(&case.k));
        let oracle = ml_kem_1024::DecapsulationKey::from_expanded_bytes(&dk.into()).unwrap();
        assert_eq!(oracle.decapsulate(&ciphertext.into())[..], hex(&case.k));
    });
    assert_eq!(count, 10);
}

#[test]
fn ml_kem_1024_key_check() {
    let (mut good, mut bad) = (0, 0);
    each("ML-KEM-1024", "encapsulationKeyCheck", |case| {
        *(if case.test_passed { &mut good } else { &mut bad }) += 1;
        let ek = hex(&case.ek);
        assert_eq!(ml_kem_1024::EncapsulationKey::new_from_slice(&ek).is_ok(), case.test_passed);
        let ours = <[u8; kem1024::PUBLIC_LEN]>::try_from(&ek[..]).ok().and_then(|ek| KemPublic::decode(&ek).ok());
        assert_eq!(ours.is_some(), case.test_passed);
    });
    assert!(good > 0 && bad > 0, "{good} {bad}");
}

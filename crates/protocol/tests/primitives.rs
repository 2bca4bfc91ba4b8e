//! The primitives seam against other people's vectors: Wycheproof and the RFCs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kuvert_protocol::hazmat::primitives::x25519::{X25519Public, X25519Secret};
use kuvert_protocol::hazmat::primitives::{aead, ed25519::Ed25519Secret, kdf, kem1024};
use kuvert_types::Signature;
use wycheproof::TestResult;

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    assert_eq!(text.len(), 2 * N);
    core::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

#[test]
fn wycheproof_x25519() {
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Ok(public), Ok(secret)) = (<[u8; 32]>::try_from(&test.public_key[..]), test.private_key[..].try_into())
        else {
            assert_ne!(test.result, TestResult::Valid);
            continue;
        };
        match X25519Public::decode(public) {
            Ok(public) => {
                let shared = X25519Secret::from_bytes(&secret).agree(&public).unwrap();
                assert_eq!(shared.as_bytes(), &test.shared_secret[..], "case {}", test.tc_id);
                assert_ne!(test.result, TestResult::Invalid);
                agreed += 1;
            }
            // Only what the vectors themselves call doubtful: low order, or not canonical.
            Err(_) => {
                assert_eq!(test.result, TestResult::Acceptable, "case {}: {}", test.tc_id, test.comment);
                refused += 1;
            }
        }
    }
    assert!(agreed > 400 && refused > 20, "{agreed} agreed, {refused} refused");
}

#[test]
fn wycheproof_ed25519() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut count = 0;
    for group in set.test_groups {
        let key: [u8; 32] = group.key.pk[..].try_into().unwrap();
        for test in group.tests {
            let verified =
                Signature::try_from(&test.sig[..]).is_ok_and(|signature| signature.verify(&key, &test.msg).is_ok());
            assert_eq!(verified, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            count += 1;
        }
    }
    assert!(count > 100);
}

#[allow(clippy::type_complexity)] // the two functions' own signatures
fn check_aead<const NONCE: usize>(
    name: wycheproof::aead::TestName,
    seal: fn(&[u8; 32], &[u8; NONCE], &[u8], &mut [u8]) -> [u8; 16],
    open: fn(&[u8; 32], &[u8; NONCE], &[u8], &[u8], &[u8; 16], &mut [u8]) -> Result<(), aead::OpenError>,
) {
    let set = wycheproof::aead::TestSet::load(name).unwrap();
    let mut count = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Ok(nonce), Ok(tag)) = (test.nonce[..].try_into(), test.tag[..].try_into()) else {
            assert_eq!(test.result, TestResult::Invalid);
            continue;
        };
        let key = test.key[..].try_into().unwrap();
        let mut data = vec![0; test.ct.len()];
        let opened = open(&key, &nonce, &test.aad, &test.ct, &tag, &mut data);
        assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "case {}", test.tc_id);
        if opened.is_ok() {
            assert_eq!(data, test.pt[..]);
            assert_eq!(seal(&key, &nonce, &test.aad, &mut data), tag);
            assert_eq!(data, test.ct[..], "sealed again");
        } else {
            assert!(data.iter().all(|byte| *byte == 0), "nothing unauthenticated comes out");
        }
        count += 1;
    }
    assert!(count > 200, "{count}");
}

#[test]
fn wycheproof_chacha20_poly1305() {
    check_aead(wycheproof::aead::TestName::ChaCha20Poly1305, aead::seal, aead::open);
}

#[test]
fn wycheproof_xchacha20_poly1305() {
    check_aead(wycheproof::aead::TestName::XChaCha20Poly1305, aead::xseal, aead::xopen);
}

#[test]
fn wycheproof_hkdf_sha256() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut count = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        if test.result == TestResult::Invalid {
            assert!(test.size > 8160, "refused when compiled");
            continue;
        }
        // A shorter output is the beginning of a longer one. The inputs in two parts each.
        let (ikm, info) = (test.ikm.split_at(test.ikm.len() / 2), test.info.split_at(test.info.len() / 3));
        let okm = kdf::hkdf_sha256::<8160>(&test.salt, &[ikm.0, ikm.1], &[info.0, info.1]);
        assert_eq!(okm[..test.size], test.okm[..], "case {}", test.tc_id);
        count += 1;
    }
    assert!(count > 50);
}

#[test]
fn hkdf_of_odd_lengths_agrees_with_another_implementation() {
    fn check<const N: usize>() {
        let mut expected = [0; N];
        hkdf::Hkdf::<sha2::Sha256>::new(Some(b"salt"), b"key material").expand(b"info", &mut expected).unwrap();
        assert_eq!(*kdf::hkdf_sha256::<N>(b"salt", &[b"key", b" material"], &[b"in", b"fo"]), expected);
    }
    check::<1>();
    check::<31>();
    check::<32>();
    check::<33>();
    check::<44>();
    check::<64>();
    check::<96>();
    check::<128>();
}

#[test]
fn wycheproof_hmac_sha256() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let mut count = 0;
    for group in set.test_groups.iter().filter(|group| group.tag_size == 256) {
        for test in &group.tests {
            let (head, tail) = test.msg.split_at(test.msg.len() / 2);
            let matches = *kdf::hmac_sha256(&test.key, &[head, tail]) == test.tag[..];
            assert_eq!(matches, test.result == TestResult::Valid, "case {}", test.tc_id);
            count += 1;
        }
    }
    assert!(count > 50);
}

#[test]
fn wycheproof_mlkem_1024() {
    use wycheproof::mlkem::{TestName, TestSet};
    let mut counts = [0; 3];
    for (which, name) in
        [TestName::MlKem1024, TestName::MlKem1024Encaps, TestName::MlKem1024KeyGenSeed].into_iter().enumerate()
    {
        let set = TestSet::load(name).unwrap();
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            counts[which] += 1;
            let case = format!("{name:?} case {}: {}", test.tc_id, test.comment);
            let valid = test.result == TestResult::Valid;
            if let Some(seed) = &test.seed {
                // Key generation from a seed, and decapsulation.
                let Ok(seed) = seed[..].try_into() else {
                    assert!(!valid, "{case}");
                    continue;
                };
                let seed = kem1024::KemSeed::from_bytes(&seed).key_pair();
                if let Some(key) = test.encaps_key.as_ref().filter(|_| valid) {
                    assert_eq!(seed.public().as_bytes()[..], key[..], "{case}");
                }
                if let Some(ciphertext) = &test.ct {
                    let shared = ciphertext[..].try_into().ok().map(|ciphertext| seed.decapsulate(&ciphertext));
                    let matches = shared
                        .zip(test.shared_secret.as_ref())
                        .is_some_and(|(shared, expected)| shared.as_bytes()[..] == expected[..]);
                    assert_eq!(matches, valid, "{case}");
                }
            } else if let Some(key) = &test.encaps_key {
                // Encapsulation: the key is checked first.
                let key = key[..].try_into().ok().and_then(|key| kem1024::KemPublic::decode(&key).ok());
                assert_eq!(key.is_some(), valid, "{case}");
                if let (Some(key), Some(m)) = (key, &test.msg) {
                    let (ciphertext, shared) = key.encapsulate_with(m[..].try_into().unwrap());
                    assert_eq!(ciphertext[..], test.ct.as_ref().unwrap()[..], "{case}");
                    assert_eq!(shared.as_bytes()[..], test.shared_secret.as_ref().unwrap()[..], "{case}");
                }
            }
        }
    }
    assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
}

#[test]
fn mlkem_1024_agrees_with_another_implementation() {
    use ml_kem::kem::{Decapsulate, KeyExport};
    for i in 0..20_u8 {
        let seed = [i; 64];
        let ours = kem1024::KemSeed::from_bytes(&seed).key_pair();
        let theirs = ml_kem::ml_kem_1024::DecapsulationKey::from_seed(seed.into());
        assert_eq!(ours.public().as_bytes()[..], theirs.encapsulation_key().to_bytes()[..]);
        let (ciphertext, shared) = ours.public().encapsulate_with(&[i ^ 0x55; 32]);
        assert_eq!(shared.as_bytes()[..], theirs.decapsulate(&ciphertext.into())[..]);
        assert_eq!(shared.as_bytes(), ours.decapsulate(&ciphertext).as_bytes());
    }
}

#[test]
fn rfc_7748_section_6_1() {
    let alice = X25519Secret::from_bytes(&hex("77076d0a7318a57d3c16c17251b26645 df4c2f87ebc0992ab177fba51db92c2a"));
    let bob = X25519Secret::from_bytes(&hex("5dab087e624a8a4b79e17f8b83800ee6 6f3bb1292618b6fd1c2f8b27ff88e0eb"));
    assert_eq!(*alice.public().as_bytes(), hex("8520f0098930a754748b7ddcb43ef75a 0dbf3a0d26381af4eba4a98eaa9b4e6a"));
    let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25 e07e21c947d19e3376f09b3c1e161742");
    assert_eq!(*alice.agree(&bob.public()).unwrap().as_bytes(), shared);
    assert_eq!(*bob.agree(&alice.public()).unwrap().as_bytes(), shared);
    assert!(alice.public().is_torsion_free() && bob.public().is_torsion_free());
}

#[test]
fn rfc_8032_section_7_1() {
    let secret = Ed25519Secret::from_bytes(&hex("4ccd089b28ff96da9db6c346ec114e0f 5b8a319f35aba624da8cf6ed4fb8a6fb"));
    assert_eq!(secret.public(), hex("3d4017c3e843895a92b70aa74d1b7ebc 9c982ccf2ec4968cc0cd55f12af4660c"));
    let signature = secret.sign(&[0x72]);
    let expected = hex::<64>(
        "92a009a9f0d4cab8720e820b5f642540 a2b27b5416503f8fb3762223ebdb69da \
         085ac1e43e15996e458f3613d0f11d8c 387b2eaeb4302aeeb00d291612bb0c00",
    );
    assert_eq!(*signature.as_bytes(), expected);
    assert!(signature.verify(&secret.public(), &[0x72]).is_ok());
}

#[test]
fn rfc_5869_test_case_1() {
    let okm = kdf::hkdf_sha256::<42>(
        &hex::<13>("000102030405060708090a0b0c"),
        &[&[0x0B; 22]],
        &[&hex::<10>("f0f1f2f3f4f5f6f7f8f9")],
    );
    assert_eq!(*okm, hex("3cb25f25faacd57a90434f64d0362f2a 2d2d0a90cf1a5a4c5db02d56ecc4c5bf 34007208d5b887185865"));
}

#[test]
fn rfc_8439_section_2_8_2() {
    let key = core::array::from_fn(|i| 0x80 + i as u8);
    let nonce = hex("070000004041424344454647");
    let mut data = *b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    let tag = aead::seal(&key, &nonce, &hex::<12>("50515253c0c1c2c3c4c5c6c7"), &mut data);
    assert_eq!(tag, hex("1ae10b594f09e26a7e902ecbd0600691"));
    assert_eq!(data[..16], hex::<16>("d31a8d34648e60db7b86afbc53ef7ec2"));
}

//! Messages whose sender is sealed: 33.

use kuvert_protocol::prelude::*;
use kuvert_protocol::sealed_sender::{OVERHEAD, OpenError, SealError, open, seal};
use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_types::{DecodeError, DeviceCertificate};

use crate::support::{Party, TestRng, established, forger};

fn sealed_to(from: &mut Party, to: &Party, text: &[u8]) -> Vec<u8> {
    let message = from.encrypt(text);
    let sealed = seal(&from.local, to.local.certificate(), &message, &mut from.rng).unwrap();
    assert_eq!(sealed.len(), message.len() + OVERHEAD);
    sealed
}

#[test]
fn attack_33_a_sealed_sender_shows_in_no_byte_and_only_to_the_recipient() {
    let (mut alice, mut bob) = established(33);
    let carol = Party::new(3, 33);
    let sealed = sealed_to(&mut alice, &bob, b"who am I?");
    for part in [
        &alice.address().to_bytes()[..],
        alice.account_key().as_bytes(),
        alice.local.certificate().signing_key().as_bytes(),
    ] {
        assert!(!sealed.windows(16).any(|window| window == &part[..16]), "a name of Alice's");
    }
    assert_eq!(open(&carol.local, &sealed).unwrap_err(), OpenError::Undecryptable);
    assert_eq!(open(&alice.local, &sealed).unwrap_err(), OpenError::Undecryptable, "not even to herself");
    let unsealed = open(&bob.local, &sealed).unwrap();
    assert_eq!(unsealed.sender.address(), alice.address());
    assert_eq!(bob.decrypt(unsealed.sender.address(), unsealed.message()), b"who am I?");
}

#[test]
fn attack_33_two_sealed_messages_have_nothing_in_common() {
    let (mut alice, bob) = established(34);
    let message = alice.encrypt(b"the same");
    let mut twice = || seal(&alice.local, bob.local.certificate(), &message, &mut alice.rng).unwrap();
    let (first, second) = (twice(), twice());
    assert_eq!((first[0], first.len()), (second[0], second.len()));
    assert_ne!(first[1..33], second[1..33], "a fresh ephemeral key for every message");
    let common = first[33..].iter().zip(&second[33..]).filter(|(a, b)| a == b).count();
    assert!(common < 64, "{common} of {} bytes", first.len());
}

#[test]
fn attack_33_every_flipped_bit_of_a_seal_is_noticed() {
    let (mut alice, bob) = established(35);
    let sealed = sealed_to(&mut alice, &bob, b"x");
    // Every bit of head, certificate and the message's first bytes, and of the tag; one of each other byte.
    for at in 0..sealed.len() {
        let all = at < 310 || at >= sealed.len() - 16;
        for bit in if all { 0..8 } else { at % 8..at % 8 + 1 } {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            assert!(open(&bob.local, &changed).is_err(), "bit {bit} of byte {at}");
        }
    }
    for len in [0, 1, 33, 33 + 261, OVERHEAD, sealed.len() - 1] {
        assert!(open(&bob.local, &sealed[..len]).is_err(), "{len} bytes");
    }
    let low_order = [&sealed[..1], &[0; 32], &sealed[33..]].concat();
    assert_eq!(open(&bob.local, &low_order).unwrap_err(), OpenError::Malformed(DecodeError::Value));
}

#[test]
fn attack_33_another_devices_certificate_under_the_seal_does_not_open() {
    let (mut alice, bob) = established(36);
    let mallory = Party::new(3, 36);
    let message = alice.encrypt(b"a message of Alice's that Mallory got hold of");
    // Alice's certificate is public. Mallory puts it under a seal that it makes with its own identity secret.
    let sealed_by_mallory = |certificate: &DeviceCertificate| {
        let mut rng = TestRng::new(36);
        forger::seal(mallory.local.secrets(), certificate, bob.local.certificate(), &message, &mut rng)
    };
    let forged = sealed_by_mallory(alice.local.certificate());
    assert_eq!(open(&bob.local, &forged).unwrap_err(), OpenError::NotTheSender);
    // The same with Mallory's own certificate opens, so it is the certificate that was refused.
    let own = open(&bob.local, &sealed_by_mallory(mallory.local.certificate())).unwrap();
    assert_eq!((own.sender, own.message()), (*mallory.local.certificate(), &message[..]));
}

#[test]
fn attack_33_a_device_that_took_a_seal_apart_cannot_put_it_together_for_another() {
    let (mut alice, mut bob) = established(37);
    let carol = Party::new(3, 37);
    // Bob has what Alice sealed for him, and all secrets of his own. He cannot make of it what Carol would take for Alice's.
    let sealed = sealed_to(&mut alice, &bob, b"for Bob alone");
    let unsealed = open(&bob.local, &sealed).unwrap();
    let mut rng = TestRng::new(37);
    let (certificate, carols) = (unsealed.sender, carol.local.certificate());
    let passed_on = forger::seal(bob.local.secrets(), &certificate, carols, unsealed.message(), &mut rng);
    assert_eq!(open(&carol.local, &passed_on).unwrap_err(), OpenError::NotTheSender);
    assert_eq!(bob.decrypt(certificate.address(), unsealed.message()), b"for Bob alone");
}

#[test]
fn attack_33_the_seal_is_deniable_because_its_recipient_can_make_it() {
    // The price of deniability, and the text says so: with Bob's identity secret anything can be forged, to Bob.
    let (alice, bob) = (Party::new(1, 38), Party::new(2, 38));
    let mut rng = TestRng::new(38);
    let forged = forger::seal_as_recipient(&bob.local, alice.local.certificate(), b"forged", &mut rng);
    let unsealed = open(&bob.local, &forged).unwrap();
    assert_eq!((unsealed.sender, unsealed.message()), (*alice.local.certificate(), &b"forged"[..]));
}

#[test]
fn attack_33_halves_of_two_seals_do_not_fit() {
    let (mut alice, bob) = established(39);
    let message = alice.encrypt(b"the same");
    let mut twice = || seal(&alice.local, bob.local.certificate(), &message, &mut alice.rng).unwrap();
    let (first, second) = (twice(), twice());
    let body = 1 + 32 + 245 + 16;
    let swapped = [&first[..body], &second[body..]].concat();
    assert_eq!(open(&bob.local, &swapped).unwrap_err(), OpenError::NotTheSender);
    let swapped = [&first[..33], &second[33..body], &first[body..]].concat();
    assert_eq!(open(&bob.local, &swapped).unwrap_err(), OpenError::Undecryptable);
}

#[test]
fn attack_33_a_device_is_no_sender_of_its_own_mail() {
    let mut bob = Party::new(2, 40);
    let own = *bob.local.certificate();
    assert_eq!(seal(&bob.local, &own, b"to myself", &mut bob.rng).unwrap_err(), SealError::OwnDevice);
    let mut rng = TestRng::new(40);
    let sealed = forger::seal(bob.local.secrets(), &own, &own, b"to myself", &mut rng);
    assert_eq!(open(&bob.local, &sealed).unwrap_err(), OpenError::OwnDevice);
    // Certificates of a stranger's own that name Bob's address, or Bob's identity key.
    let mallory = AccountSecret::generate(&mut rng);
    let keys = DeviceSecrets::generate(&mut rng);
    let elsewhere = Party::new(3, 40).address();
    for (keys, certificate) in [
        (&keys, keys.certify(&mallory, bob.address())),
        (bob.local.secrets(), bob.local.secrets().certify(&mallory, elsewhere)),
    ] {
        let sealed = forger::seal(keys, &certificate, &own, b"x", &mut rng);
        assert_eq!(open(&bob.local, &sealed).unwrap_err(), OpenError::OwnDevice);
    }
}

#[test]
fn attack_33_the_layout_without_proof_is_refused() {
    let (mut alice, bob) = established(41);
    let mut sealed = sealed_to(&mut alice, &bob, b"x");
    sealed[0] = 1;
    assert_eq!(open(&bob.local, &sealed).unwrap_err(), OpenError::Malformed(DecodeError::Version));
}

#[test]
fn what_is_sealed_fits_an_envelope_to_the_byte() {
    let (mut alice, bob) = (Party::new(1, 42), Party::new(2, 42));
    let longest = vec![7; MAX_CIPHERTEXT_BYTES - OVERHEAD];
    let sealed = seal(&alice.local, bob.local.certificate(), &longest, &mut alice.rng).unwrap();
    assert_eq!(sealed.len(), MAX_CIPHERTEXT_BYTES);
    let unsealed = open(&bob.local, &sealed).unwrap();
    assert!(unsealed.message() == longest && unsealed.as_ref() == longest);
    let longer = [&longest[..], &[7]].concat();
    let refused = seal(&alice.local, bob.local.certificate(), &longer, &mut alice.rng);
    assert_eq!(refused.unwrap_err(), SealError::TooLong);
    // Sealed all the same, by a sender that does not look.
    let mut rng = TestRng::new(42);
    let sealed =
        forger::seal(alice.local.secrets(), alice.local.certificate(), bob.local.certificate(), &longer, &mut rng);
    assert_eq!(open(&bob.local, &sealed).unwrap_err(), OpenError::Malformed(DecodeError::Length));
}

//! Messages whose sender is sealed: 33.

use kuvert_protocol::sealed_sender::{OVERHEAD, OpenError, open, seal};
use kuvert_types::DecodeError;

use crate::support::{Party, established};

fn sealed_to(from: &mut Party, to: &Party, text: &[u8]) -> Vec<u8> {
    let message = from.encrypt(text);
    let sealed = seal(from.local.certificate(), to.local.certificate(), &message, &mut from.rng).unwrap();
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
    let mut twice = || seal(alice.local.certificate(), bob.local.certificate(), &message, &mut alice.rng).unwrap();
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
        let all = at < 300 || at >= sealed.len() - 16;
        for bit in if all { 0..8 } else { at % 8..at % 8 + 1 } {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            assert!(open(&bob.local, &changed).is_err(), "bit {bit} of byte {at}");
        }
    }
    for len in [0, 1, 33, OVERHEAD, sealed.len() - 1] {
        assert!(open(&bob.local, &sealed[..len]).is_err(), "{len} bytes");
    }
    let low_order = [&sealed[..1], &[0; 32], &sealed[33..]].concat();
    assert_eq!(open(&bob.local, &low_order).unwrap_err(), OpenError::Malformed(DecodeError::Value));
}

#[test]
fn attack_33_somebody_elses_certificate_under_the_seal_proves_nothing() {
    let (mut alice, mut bob) = established(36);
    let mut mallory = Party::new(3, 36);
    mallory.initiate(&mut bob);
    let message = mallory.encrypt(b"I am Alice");
    // Alice's certificate is public. Mallory puts it in.
    let sealed = seal(alice.local.certificate(), bob.local.certificate(), &message, &mut mallory.rng).unwrap();
    let unsealed = open(&bob.local, &sealed).unwrap();
    assert_eq!(unsealed.sender.address(), alice.address());
    assert!(bob.try_decrypt(unsealed.sender.address(), unsealed.message()).is_err(), "no session of Alice's opens it");
    let honest = alice.encrypt(b"still there");
    assert_eq!(bob.decrypt(alice.address(), &honest), b"still there");
}

//! First messages that come twice: 8, 9.

use kuvert_protocol::prelude::*;
use kuvert_protocol::replay::{CONTACT_ENTRIES, STRANGER_ENTRIES, STRANGERS_PER_PREKEY};
use kuvert_types::DecodeError;

use crate::support::{Party, exchange};

#[test]
fn attack_08_a_first_message_is_accepted_once() {
    for kind in [KemPrekeyKind::OneTime, KemPrekeyKind::LastResort] {
        for with_one_time in [true, false] {
            let (mut alice, mut bob) = (Party::new(1, 8), Party::new(2, 8));
            let bundle = bob.verified_bundle(kind, with_one_time);
            alice.record.initiate(&alice.local, &bundle, alice.now, &mut alice.rng).unwrap();
            let message = alice.encrypt(b"once");
            bob.decrypt(alice.address(), &message);
            let error = bob.try_decrypt(alice.address(), &message).unwrap_err();
            assert_eq!(error, DecryptError::Duplicate, "while the session is known");
            bob.restart();
            assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Duplicate);

            // The session is gone: pushed out by newer ones, or deleted with the conversation.
            bob.record = SessionRecord::new();
            bob.restart();
            let expected = match (kind, with_one_time) {
                (KemPrekeyKind::LastResort, false) => DecryptError::Replayed,
                _ => DecryptError::UnknownPrekey,
            };
            assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), expected);
        }
    }
}

#[test]
fn attack_08_a_replay_does_not_revive_an_old_session() {
    let (mut alice, mut bob) = (Party::new(1, 80), Party::new(2, 80));
    alice.initiate(&mut bob);
    let first = alice.encrypt(b"first");
    bob.decrypt(alice.address(), &first);
    let back = bob.encrypt(b"back");
    alice.decrypt(bob.address(), &back);
    // A newer session takes over.
    alice.initiate(&mut bob);
    exchange(&mut alice, &mut bob);
    assert_eq!(bob.record.inactive_count(), 1);
    let before = bob.state();
    assert_eq!(bob.try_decrypt(alice.address(), &first).unwrap_err(), DecryptError::Duplicate);
    assert!(bob.state() == before, "the newer session stays active");
}

/// A first message of `from` that is made from `bundle`, in a session of its own.
fn first_message(from: &mut Party, bundle: &VerifiedBundle, text: &[u8]) -> Vec<u8> {
    from.record = SessionRecord::new();
    from.record.initiate(&from.local, bundle, from.now, &mut from.rng).unwrap();
    from.encrypt(text)
}

/// Delivers a first message to `bob`, who has no session with its sender (any more).
fn deliver(bob: &mut Party, from: &Party, message: &[u8]) -> Result<Vec<u8>, DecryptError> {
    bob.record = SessionRecord::new();
    bob.try_decrypt(from.address(), message).map(|decrypted| decrypted.plaintext.to_vec())
}

#[test]
fn attack_09_a_stranger_who_floods_the_replay_record_shuts_out_no_other() {
    let (mut stranger, mut other, mut alice, mut bob) =
        (Party::new(9, 9), Party::new(8, 9), Party::new(1, 9), Party::new(2, 9));
    let bundle = bob.verified_bundle(KemPrekeyKind::LastResort, false);
    let last_resort = *bob.store.last_resort.keys().next().unwrap();
    bob.trust = Trust::Stranger;
    let first = first_message(&mut stranger, &bundle, b"0");
    assert_eq!(deliver(&mut bob, &stranger, &first).unwrap(), b"0");
    // The flood, from one last-resort bundle: four are taken, whatever number comes.
    let mut taken = 1;
    for _ in 0..40 {
        let message = first_message(&mut stranger, &bundle, b"flood");
        match deliver(&mut bob, &stranger, &message) {
            Ok(_) => taken += 1,
            Err(error) => assert_eq!(error, DecryptError::ReplayRecordFull),
        }
    }
    assert_eq!((taken, bob.replay[&last_resort].strangers()), (STRANGER_ENTRIES, STRANGER_ENTRIES));
    assert_eq!(deliver(&mut bob, &stranger, &first).unwrap_err(), DecryptError::Replayed, "and nothing is forgotten");

    // Another stranger, and a contact, still begin sessions.
    let message = first_message(&mut other, &bundle, b"hello");
    assert_eq!(deliver(&mut bob, &other, &message).unwrap(), b"hello");
    bob.trust = Trust::Contact;
    let message = first_message(&mut alice, &bundle, b"hello Bob");
    assert_eq!(deliver(&mut bob, &alice, &message).unwrap(), b"hello Bob");

    // For the stranger itself there are one-time prekeys, which need no record, and the next last-resort prekey.
    bob.trust = Trust::Stranger;
    let one_time = bob.verified_bundle(KemPrekeyKind::OneTime, true);
    let message = first_message(&mut stranger, &one_time, b"one-time");
    assert_eq!(deliver(&mut bob, &stranger, &message).unwrap(), b"one-time");
    let next = bob.verified_bundle(KemPrekeyKind::LastResort, false);
    let message = first_message(&mut stranger, &next, b"next prekey");
    assert_eq!(deliver(&mut bob, &stranger, &message).unwrap(), b"next prekey");
    assert_eq!(bob.replay.values().map(ReplayRecord::len).collect::<Vec<_>>(), [6, 1]);
}

/// `entries` more entries of strangers, each of another account, as their own accepted messages would have made.
fn flood(record: &ReplayRecord, entries: usize) -> ReplayRecord {
    let mut bytes = record.encode();
    let count = u32::try_from(record.len() + entries).unwrap();
    bytes[1..5].copy_from_slice(&count.to_be_bytes());
    for nth in 0..u32::try_from(entries).unwrap() {
        bytes.push(2);
        bytes.extend([0xF1; 12]);
        bytes.extend(nth.to_be_bytes());
        bytes.extend([0xF2; 28]);
        bytes.extend(nth.to_be_bytes());
    }
    ReplayRecord::decode(&bytes).unwrap()
}

#[test]
fn attack_09_a_full_replay_record_fails_closed() {
    let (mut alice, mut bob) = (Party::new(1, 90), Party::new(2, 90));
    let bundle = bob.verified_bundle(KemPrekeyKind::LastResort, false);
    let last_resort = *bob.store.last_resort.keys().next().unwrap();
    bob.trust = Trust::Stranger;
    let first = first_message(&mut alice, &bundle, b"first");
    deliver(&mut bob, &alice, &first).unwrap();
    let flooded = flood(&bob.replay[&last_resort], STRANGERS_PER_PREKEY - 1);
    assert_eq!(flooded.strangers(), STRANGERS_PER_PREKEY);
    bob.replay.insert(last_resort, flooded);
    bob.restart();

    // The victim's replay is still refused, a new first message as well; not so once she is a contact.
    assert_eq!(deliver(&mut bob, &alice, &first).unwrap_err(), DecryptError::Replayed);
    let second = first_message(&mut alice, &bundle, b"second");
    assert_eq!(deliver(&mut bob, &alice, &second).unwrap_err(), DecryptError::ReplayRecordFull);
    bob.trust = Trust::Contact;
    assert_eq!(deliver(&mut bob, &alice, &first).unwrap_err(), DecryptError::Replayed);
    assert_eq!(deliver(&mut bob, &alice, &second).unwrap(), b"second");

    // A new last-resort prekey has an empty record. Without its key the old one's replay fails.
    bob.trust = Trust::Stranger;
    bob.store.last_resort.clear();
    bob.replay.remove(&last_resort);
    assert_eq!(deliver(&mut bob, &alice, &first).unwrap_err(), DecryptError::UnknownPrekey);
    let fresh = bob.verified_bundle(KemPrekeyKind::LastResort, false);
    let fourth = first_message(&mut alice, &fresh, b"fourth");
    assert_eq!(deliver(&mut bob, &alice, &fourth).unwrap(), b"fourth");
}

#[test]
fn attack_09_a_contact_that_floods_reaches_its_own_bound() {
    let (mut alice, mut bob) = (Party::new(1, 91), Party::new(2, 91));
    let bundle = bob.verified_bundle(KemPrekeyKind::LastResort, false);
    for nth in 0..CONTACT_ENTRIES {
        let message = first_message(&mut alice, &bundle, b"x");
        assert!(deliver(&mut bob, &alice, &message).is_ok(), "{nth}");
    }
    let message = first_message(&mut alice, &bundle, b"x");
    assert_eq!(deliver(&mut bob, &alice, &message).unwrap_err(), DecryptError::ReplayRecordFull);
    let mut carol = Party::new(3, 91);
    let message = first_message(&mut carol, &bundle, b"from Carol");
    assert_eq!(deliver(&mut bob, &carol, &message).unwrap(), b"from Carol");
}

#[test]
fn which_replay_record_a_message_needs_is_told_before_it_is_opened() {
    let (mut alice, mut bob) = (Party::new(1, 92), Party::new(2, 92));
    let one_time = bob.verified_bundle(KemPrekeyKind::OneTime, true);
    let message = first_message(&mut alice, &one_time, b"x");
    assert_eq!(last_resort_prekey(&message), Ok(None));
    let bundle = bob.verified_bundle(KemPrekeyKind::LastResort, true);
    let last_resort = *bob.store.last_resort.keys().next().unwrap();
    let message = first_message(&mut alice, &bundle, b"x");
    assert_eq!(last_resort_prekey(&message), Ok(Some(last_resort)));
    bob.decrypt(alice.address(), &message);
    let answer = bob.encrypt(b"y");
    assert_eq!(last_resort_prekey(&answer), Ok(None));
    assert_eq!(last_resort_prekey(&message[..message.len() - 1]), Err(DecodeError::Length));
    assert_eq!(last_resort_prekey(&[]), Err(DecodeError::Length));
}

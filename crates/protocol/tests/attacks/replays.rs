//! First messages that come twice: 8, 9.

use kuvert_protocol::prelude::*;
use kuvert_protocol::replay::MAX_REPLAY_ENTRIES;

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

#[test]
fn attack_09_a_full_replay_record_fails_closed() {
    let (mut alice, mut bob) = (Party::new(1, 9), Party::new(2, 9));
    let bundle = bob.verified_bundle(KemPrekeyKind::LastResort, false);
    alice.record.initiate(&alice.local, &bundle, alice.now, &mut alice.rng).unwrap();
    let first = alice.encrypt(b"first");
    bob.decrypt(alice.address(), &first);
    let last_resort = *bob.store.last_resort.keys().next().unwrap();

    // The flood: as many other entries as fit, as its own accepted messages would have made.
    let mut flooded = bob.replay.encode();
    let missing = MAX_REPLAY_ENTRIES - bob.replay.len();
    flooded[1..5].copy_from_slice(&u32::try_from(MAX_REPLAY_ENTRIES).unwrap().to_be_bytes());
    for i in 0..missing {
        flooded.extend(last_resort.to_be_bytes());
        flooded.extend([0xF1; 28]);
        flooded.extend(u32::try_from(i).unwrap().to_be_bytes());
    }
    bob.replay = ReplayRecord::decode(&flooded).unwrap();
    bob.record = SessionRecord::new();

    // The victim's replay is still refused, a new first message as well.
    assert_eq!(bob.try_decrypt(alice.address(), &first).unwrap_err(), DecryptError::Replayed);
    let mut record = SessionRecord::new();
    record.initiate(&alice.local, &bundle, alice.now, &mut alice.rng).unwrap();
    let second = record.encrypt(b"second", alice.now, &mut alice.rng).unwrap();
    assert_eq!(bob.try_decrypt(alice.address(), &second).unwrap_err(), DecryptError::ReplayRecordFull);

    // One-time prekeys do not need the record.
    let one_time = bob.verified_bundle(KemPrekeyKind::OneTime, true);
    let mut record = SessionRecord::new();
    record.initiate(&alice.local, &one_time, alice.now, &mut alice.rng).unwrap();
    let third = record.encrypt(b"third", alice.now, &mut alice.rng).unwrap();
    assert_eq!(bob.decrypt(alice.address(), &third), b"third");

    // A new last-resort prekey and the old one's end make room, and the replay fails for want of the key.
    bob.store.last_resort.clear();
    bob.replay.forget_prekey(last_resort);
    assert!(bob.replay.is_empty());
    bob.record = SessionRecord::new();
    assert_eq!(bob.try_decrypt(alice.address(), &first).unwrap_err(), DecryptError::UnknownPrekey);
    let fresh = bob.verified_bundle(KemPrekeyKind::LastResort, false);
    let mut record = SessionRecord::new();
    record.initiate(&alice.local, &fresh, alice.now, &mut alice.rng).unwrap();
    let fourth = record.encrypt(b"fourth", alice.now, &mut alice.rng).unwrap();
    assert_eq!(bob.decrypt(alice.address(), &fourth), b"fourth");
}

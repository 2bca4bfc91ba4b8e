//! Messages of a session: 13 to 18, 23.

use std::time::Instant;

use kuvert_protocol::hazmat::ratchet::{MAX_SKIP, MAX_SKIPPED_KEYS};
use kuvert_protocol::prelude::*;

use crate::support::forger::{Forger, HeaderChoice, Tricks, pad};
use crate::support::{Party, TestRng, established, exchange};

#[test]
fn attack_13_a_jump_of_more_than_max_skip_is_refused() {
    let (mut alice, mut bob) = established(13);
    let messages: Vec<_> = (0..=MAX_SKIP + 1).map(|_| alice.encrypt(b"x")).collect();
    let at = |n: u32| &messages[n as usize];
    assert_eq!(bob.try_decrypt(alice.address(), at(MAX_SKIP + 1)).unwrap_err(), DecryptError::TooManySkipped);
    assert!(bob.try_decrypt(alice.address(), at(MAX_SKIP)).is_ok());
    assert!(bob.try_decrypt(alice.address(), at(MAX_SKIP + 1)).is_ok());
    assert!(bob.try_decrypt(alice.address(), at(0)).is_ok());
    assert!(bob.try_decrypt(alice.address(), at(MAX_SKIP - 1)).is_ok());
}

#[test]
fn attack_13_a_wild_number_costs_no_derivation() {
    let (alice, mut bob) = (Party::new(1, 130), Party::new(2, 130));
    let bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    let mut forger = Forger::new(&alice, &bundle, Tricks::default(), TestRng::new(130));
    let honest = forger.message(b"x");
    bob.decrypt(alice.address(), &honest);
    let wild = forger.message_with(&pad(b"x"), |header| header.message_number = u32::MAX);
    let started = Instant::now();
    assert_eq!(bob.try_decrypt(alice.address(), &wild).unwrap_err(), DecryptError::TooManySkipped);
    // Four thousand million derivations would take half an hour.
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn attack_13_the_gap_before_a_new_chain_counts_too() {
    let (mut alice, mut bob) = established(131);
    // 600 lost in Alice's old chain, then Bob's message turns her ratchet, then 600 lost in the new one.
    let lost: Vec<_> = (0..600).map(|_| alice.encrypt(b"lost")).collect();
    let turn = bob.encrypt(b"turn");
    alice.decrypt(bob.address(), &turn);
    let mut later: Vec<_> = (0..=600).map(|_| alice.encrypt(b"later")).collect();
    let last = later.pop().unwrap();
    assert_eq!(bob.try_decrypt(alice.address(), &last).unwrap_err(), DecryptError::TooManySkipped);
    // 600 + 400 is within the bound.
    assert!(bob.try_decrypt(alice.address(), &later[400]).is_ok());
    assert!(bob.try_decrypt(alice.address(), &last).is_ok());
    assert!(bob.try_decrypt(alice.address(), &lost[0]).is_ok());
}

#[test]
fn attack_13_the_total_of_skipped_keys_is_capped() {
    let (mut alice, mut bob) = established(132);
    let mut first = None;
    let mut sizes = Vec::new();
    let mut last = None;
    for _ in 0..6 {
        let mut lost: Vec<_> = (0..900).map(|_| alice.encrypt(b"lost")).collect();
        first.get_or_insert_with(|| lost[0].clone());
        last = lost.pop();
        let arrives = alice.encrypt(b"arrives");
        bob.decrypt(alice.address(), &arrives);
        let back = bob.encrypt(b"back");
        alice.decrypt(bob.address(), &back);
        sizes.push(bob.record.encode().len());
    }
    // 44 bytes for a curve key, 36 for a post-quantum one, and the rest of the session.
    let most = MAX_SKIPPED_KEYS * 80 + 16 * 1024;
    assert!(sizes.iter().all(|size| *size <= most), "{sizes:?}");
    assert!(sizes[5] < sizes[3] + 4096, "it has stopped growing: {sizes:?}");
    assert!(bob.try_decrypt(alice.address(), &first.unwrap()).is_err(), "the oldest keys went");
    assert!(bob.try_decrypt(alice.address(), &last.unwrap()).is_ok(), "the newest are there");
}

#[test]
fn attack_13_skipped_keys_expire_by_messages_received() {
    use kuvert_protocol::hazmat::ratchet::SKIPPED_KEY_LIFETIME;
    let (mut alice, mut bob) = established(133);
    let late: Vec<_> = (0..2).map(|_| alice.encrypt(b"late")).collect();
    let arrives = alice.encrypt(b"arrives");
    bob.decrypt(alice.address(), &arrives);
    for _ in 0..SKIPPED_KEY_LIFETIME - 1 {
        let message = alice.encrypt(b"on");
        bob.decrypt(alice.address(), &message);
    }
    assert!(bob.try_decrypt(alice.address(), &late[0]).is_ok());
    let message = alice.encrypt(b"on");
    bob.decrypt(alice.address(), &message);
    assert_eq!(bob.try_decrypt(alice.address(), &late[1]).unwrap_err(), DecryptError::Duplicate);
}

#[test]
fn attack_14_garbage_headers_open_nothing_and_change_nothing() {
    // That at most seven keys are tried in a session is a unit test of the ratchet; here the whole record, as full as it
    // gets, refuses garbage.
    let (mut alice, mut bob) = (Party::new(1, 14), Party::new(2, 14));
    for _ in 0..8 {
        alice.initiate(&mut bob);
        exchange(&mut alice, &mut bob);
        for _ in 0..7 {
            exchange(&mut alice, &mut bob);
        }
    }
    assert_eq!(bob.record.inactive_count(), kuvert_protocol::session::MAX_INACTIVE_SESSIONS);
    let mut rng = TestRng::new(14);
    let message = alice.encrypt(b"x");
    for _ in 0..200 {
        let mut garbage = message.clone();
        rand_core::Rng::fill_bytes(&mut rng, &mut garbage[2..]);
        assert_eq!(bob.try_decrypt(alice.address(), &garbage).unwrap_err(), DecryptError::Undecryptable);
    }
    assert_eq!(bob.decrypt(alice.address(), &message), b"x");
}

/// `bits`: which bits of the byte at a position to flip.
fn every_damage_is_refused(
    party: &mut Party,
    from: kuvert_types::Address,
    message: &[u8],
    bits: impl Fn(usize) -> std::ops::Range<u8>,
) {
    for at in 0..message.len() {
        for bit in bits(at) {
            let mut damaged = message.to_vec();
            damaged[at] ^= 1 << bit;
            assert!(party.try_decrypt(from, &damaged).is_err(), "byte {at}, bit {bit}");
        }
    }
    for len in 0..message.len() {
        assert!(party.try_decrypt(from, &message[..len]).is_err(), "cut to {len}");
    }
    for more in 1..40 {
        let mut longer = message.to_vec();
        longer.resize(message.len() + more, 0);
        assert!(party.try_decrypt(from, &longer).is_err(), "longer by {more}");
    }
    for at in (0..=message.len()).step_by(7) {
        let mut inserted = message.to_vec();
        inserted.insert(at, 0x55);
        assert!(party.try_decrypt(from, &inserted).is_err(), "a byte inserted at {at}");
    }
}

#[test]
fn attack_15_every_flipped_bit_of_a_ratchet_message_is_noticed() {
    let (mut alice, mut bob) = established(15);
    let message = alice.encrypt(b"fragile");
    every_damage_is_refused(&mut bob, alice.address(), &message, |_| 0..8);
    assert_eq!(bob.decrypt(alice.address(), &message), b"fragile");
}

#[test]
fn attack_15_damage_anywhere_in_a_first_message_is_noticed() {
    let (mut alice, mut bob) = (Party::new(1, 150), Party::new(2, 150));
    alice.initiate(&mut bob);
    let message = alice.encrypt(b"fragile");
    // Each refusal costs a key agreement: a bit of each byte inside the KEM ciphertext and the body, every bit elsewhere.
    let long = [2 + 290..2 + 1858, message.len() - 500..message.len() - 16];
    let bits =
        |at: usize| if long.iter().any(|long| long.contains(&at)) { at as u8 % 8..at as u8 % 8 + 1 } else { 0..8 };
    every_damage_is_refused(&mut bob, alice.address(), &message, bits);
    assert_eq!(bob.decrypt(alice.address(), &message), b"fragile");
}

#[test]
fn attack_15_damage_anywhere_in_a_repeated_handshake_is_noticed() {
    let (mut alice, mut bob) = (Party::new(1, 151), Party::new(2, 151));
    alice.initiate(&mut bob);
    let first = alice.encrypt(b"first");
    bob.decrypt(alice.address(), &first);
    let message = alice.encrypt(b"fragile");
    every_damage_is_refused(&mut bob, alice.address(), &message, |at| at as u8 % 8..at as u8 % 8 + 1);
    // The handshake cut out, the message passed off as one that has none.
    let mut bare = message[2 + kuvert_protocol::message::HANDSHAKE_LEN..].to_vec();
    bare.splice(0..0, [1, 2]);
    assert_eq!(bob.try_decrypt(alice.address(), &bare).unwrap_err(), DecryptError::Undecryptable);
    assert_eq!(bob.decrypt(alice.address(), &message), b"fragile");
}

#[test]
fn attack_15_content_with_wrong_padding_is_refused() {
    let (alice, mut bob) = (Party::new(1, 152), Party::new(2, 152));
    let bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    let mut forger = Forger::new(&alice, &bundle, Tricks::default(), TestRng::new(152));
    let mut wrong = vec![vec![0; 512], vec![0xFF; 512], pad(b"x")];
    wrong[2][511] = 1;
    let mut oversized = pad(b"x");
    oversized.resize(4096, 0);
    wrong.push(oversized);
    for padded in wrong {
        let message = forger.message_with(&padded, |_| {});
        assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Malformed);
    }
    let message = forger.message_with(&pad(b"x"), |header| header.padding = 1);
    assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Malformed);
    let message = forger.message(b"x");
    assert_eq!(bob.decrypt(alice.address(), &message), b"x");
}

#[test]
fn attack_16_nothing_is_derived_from_a_chain_that_is_not_there() {
    let (alice, mut bob) = (Party::new(1, 16), Party::new(2, 16));
    let bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    let forger = || Forger::new(&alice, &bundle, Tricks::default(), TestRng::new(16));
    let mut refused = |choose: &dyn Fn(&mut HeaderChoice)| {
        let message = forger().message_with(&pad(b"x"), |header| choose(header));
        bob.try_decrypt(alice.address(), &message).unwrap_err()
    };
    // A chain before the first, so that the recipient would derive from a receiving chain that it does not have.
    assert_eq!(refused(&|header| header.previous_chain_length = 1), DecryptError::Undecryptable);
    assert_eq!(refused(&|header| header.previous_chain_length = u32::MAX), DecryptError::Undecryptable);
    // The recipient's own key come back as ratchet key.
    let own = bundle.signed_prekey.public_key;
    assert_eq!(refused(&|header| header.ratchet_key = own), DecryptError::Undecryptable);
    // Zero: no header at all.
    assert_eq!(refused(&|header| header.ratchet_key = [0; 32]), DecryptError::Malformed);
    // Another key than the chain was derived with.
    let other = *kuvert_protocol::hazmat::primitives::x25519::X25519Secret::from_bytes(&[7; 32]).public().as_bytes();
    assert_eq!(refused(&|header| header.ratchet_key = other), DecryptError::Undecryptable);
    // A message of a session that has not begun, without its handshake.
    let mut forger = forger();
    forger.kind = 2;
    let bare = forger.message(b"x");
    assert_eq!(bob.try_decrypt(alice.address(), &bare).unwrap_err(), DecryptError::NoSession);
    assert!(bob.record.is_empty());
}

#[test]
fn attack_16_a_chain_keeps_its_ratchet_key() {
    let (alice, mut bob) = (Party::new(1, 160), Party::new(2, 160));
    let bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    let mut forger = Forger::new(&alice, &bundle, Tricks::default(), TestRng::new(160));
    let first = forger.message(b"first");
    bob.decrypt(alice.address(), &first);
    let other = *kuvert_protocol::hazmat::primitives::x25519::X25519Secret::from_bytes(&[7; 32]).public().as_bytes();
    let message = forger.message_with(&pad(b"x"), |header| header.ratchet_key = other);
    assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Undecryptable);
}

#[test]
fn attack_17_a_restored_backup_never_repeats_a_key() {
    let (mut alice, _) = established(17);
    let backup = alice.record.encode();
    // The same text from the same state: where key and nonce repeat, so does the ciphertext. Everything after the header's
    // nonce must differ.
    let one = alice.encrypt(b"the same text");
    alice.record = SessionRecord::decode(&backup).unwrap();
    let two = alice.encrypt(b"the same text");
    assert_ne!(one[2..26], two[2..26], "the header's nonce");
    let agreeing = one[258..].iter().zip(&two[258..]).filter(|(a, b)| a == b).count();
    assert!(agreeing < 20, "{agreeing} of 528 bytes agree; 2 are expected by chance");
}

#[test]
fn attack_17_after_a_rollback_the_other_side_notices_or_goes_on() {
    let (mut alice, mut bob) = established(170);
    let backup = alice.record.encode();
    let seen = alice.encrypt(b"seen");
    bob.decrypt(alice.address(), &seen);
    alice.record = SessionRecord::decode(&backup).unwrap();
    let repeated_number = alice.encrypt(b"same number, other text");
    assert_eq!(bob.try_decrypt(alice.address(), &repeated_number).unwrap_err(), DecryptError::Duplicate);
    let next = alice.encrypt(b"next number");
    assert_eq!(bob.decrypt(alice.address(), &next), b"next number");
}

#[test]
fn attack_17_a_chain_begun_twice_after_a_rollback_is_noticed_and_mended() {
    let (mut alice, mut bob) = established(171);
    let turn = alice.encrypt(b"turn");
    bob.decrypt(alice.address(), &turn);
    let [one, two] = [bob.encrypt(b"one"), bob.encrypt(b"two")];
    let backup = alice.record.encode();
    alice.decrypt(bob.address(), &one);
    let answer = alice.encrypt(b"answer");
    bob.decrypt(alice.address(), &answer);
    // The same header key and the same numbers, under a ratchet key drawn anew: the other side must not take it for garbage
    // and drop it, or it would hear nothing in this direction ever again.
    alice.record = SessionRecord::decode(&backup).unwrap();
    alice.decrypt(bob.address(), &two);
    for text in [&b"another answer"[..], b"and on"] {
        let message = alice.encrypt(text);
        assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Undecryptable);
    }
    // What a client then does.
    bob.initiate(&mut alice);
    exchange(&mut bob, &mut alice);
    exchange(&mut alice, &mut bob);
}

#[test]
fn attack_18_a_crash_before_the_commit_loses_nothing() {
    let (mut alice, mut bob) = (Party::new(1, 18), Party::new(2, 18));
    alice.initiate(&mut bob);
    let message = alice.encrypt(b"x");
    // Bob's device dies after decrypting and before storing: record, replay record and prekeys are those of before.
    let (record, replay) = (bob.record.encode(), bob.replay.clone());
    let store = bob.store.clone();
    bob.decrypt(alice.address(), &message);
    (bob.record, bob.replay, bob.store) = (SessionRecord::decode(&record).unwrap(), replay, store);
    assert_eq!(bob.decrypt(alice.address(), &message), b"x");
    // It dies after storing: the message is a duplicate.
    bob.restart();
    assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), DecryptError::Duplicate);
    // Alice's dies after encrypting and before storing: the next text has another key.
    let stored = alice.record.encode();
    let lost = alice.encrypt(b"never sent");
    alice.record = SessionRecord::decode(&stored).unwrap();
    let sent = alice.encrypt(b"never sent");
    let body = 2 + kuvert_protocol::message::HANDSHAKE_LEN + 232;
    assert!(lost[body..].iter().zip(&sent[body..]).filter(|(a, b)| a == b).count() < 20);
    assert_eq!(bob.decrypt(alice.address(), &sent), b"never sent");
}

#[test]
fn attack_23_truncated_tags_are_refused() {
    let (mut alice, mut bob) = established(23);
    let message = alice.encrypt(b"x");
    for cut in 1..=16 {
        let error = bob.try_decrypt(alice.address(), &message[..message.len() - cut]).unwrap_err();
        assert_eq!(error, DecryptError::Malformed);
    }
    // Nor is the header's tag ever shorter: it lies before the body, so a byte less there shifts everything.
    let mut shifted = message.clone();
    shifted.remove(2 + 24 + 192 + 15);
    assert_eq!(bob.try_decrypt(alice.address(), &shifted).unwrap_err(), DecryptError::Malformed);
    assert_eq!(bob.decrypt(alice.address(), &message), b"x");
}

#[test]
fn the_first_broken_rule_of_a_header_names_the_refusal() {
    use DecryptError::{Malformed, TooManySkipped, Undecryptable};
    // Changes a header before it is sealed.
    type Change<'a> = &'a dyn Fn(&mut HeaderChoice);
    let (alice, mut bob) = (Party::new(1, 60), Party::new(2, 60));
    let bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    // Each breaks two rules or more of the table in PROTOCOL.md, 12.4; the header is authentic. `pq` is Braid message 139 ‖ n.
    let cases: [(&str, Change<'_>, DecryptError); 8] = [
        ("2 before 4 and 6", &|h| (h.padding, h.previous_chain_length, h.message_number) = (1, 5, 5_000), Malformed),
        ("4 before 6", &|h| (h.previous_chain_length, h.message_number) = (5, 5_000), Undecryptable),
        ("4 before 9", &|h| (h.previous_chain_length, h.pq[0]) = (5, 9), Undecryptable),
        ("6 before 9", &|h| (h.message_number, h.pq[0]) = (5_000, 9), TooManySkipped),
        ("6, the largest number of all", &|h| h.message_number = u32::MAX, TooManySkipped),
        ("9 before 10 and 11", &|h| (h.pq[0], h.pq[8], h.pq[141]) = (9, 7, 0xFF), Malformed),
        ("10 before 11", &|h| (h.pq[8], h.pq[141]) = (7, 0xFF), Undecryptable),
        ("11 before 13", &|h| h.pq[141] = 0xFF, TooManySkipped),
    ];
    for (name, change, expected) in cases {
        let mut forger = Forger::new(&alice, &bundle, Tricks::default(), TestRng::new(60));
        // Not padded as it should be, which is looked at last of all.
        let mut message = forger.message_with(&[0; 512], change);
        if name.ends_with("13") {
            *message.last_mut().unwrap() ^= 1;
        }
        assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), expected, "{name}");
    }
    // 13 before 14, and 14 alone.
    let mut forger = Forger::new(&alice, &bundle, Tricks::default(), TestRng::new(60));
    let mut message = forger.message_with(&[0; 512], |_| ());
    *message.last_mut().unwrap() ^= 1;
    assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), Undecryptable);
    *message.last_mut().unwrap() ^= 1;
    assert_eq!(bob.try_decrypt(alice.address(), &message).unwrap_err(), Malformed);
}

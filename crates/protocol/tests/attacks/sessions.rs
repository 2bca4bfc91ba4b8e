//! Several sessions with one device: 28, 29.

use kuvert_protocol::prelude::*;
use kuvert_protocol::session::{
    CONVERGENCE_WINDOW_MS, EncryptError, INACTIVE_SESSION_LIFETIME_MS, MAX_INACTIVE_SESSIONS, SckaFailure,
};

use crate::support::forger::{Forger, Tricks, pad};
use crate::support::{Party, TestRng, established, exchange, is_prekey_message};

/// Both begin a session before either has heard of the other.
fn crossed(seed: u64) -> (Party, Party) {
    let (mut alice, mut bob) = (Party::new(1, seed), Party::new(2, seed));
    alice.initiate(&mut bob);
    bob.initiate(&mut alice);
    (alice, bob)
}

#[test]
fn a_record_names_the_other_side_and_forgets_inactive_sessions_when_it_is_told_to() {
    let (mut alice, mut bob) = crossed(290);
    assert_eq!(alice.record.remote_certificate(), Some(bob.local.certificate()));
    let (ours, theirs) = (alice.encrypt(b"a"), bob.encrypt(b"b"));
    bob.decrypt(alice.address(), &ours);
    alice.decrypt(bob.address(), &theirs);
    // One of them has moved to the other's session, and keeps its own for what is under way.
    let inactive = [&alice, &bob].map(|party| party.record.inactive_count());
    assert!(inactive.contains(&1), "{inactive:?}");
    for party in [&mut alice, &mut bob] {
        party.record.drop_inactive();
        assert_eq!((party.record.inactive_count(), party.record.has_active()), (0, true));
    }
}

/// The keys of the post-quantum ratchet are wiped then: nothing more is sent or read on this session, and the caller learns that
/// a fresh one is needed.
#[test]
fn a_session_whose_braid_was_tampered_with_by_its_peer_says_why_it_ends() {
    let (alice, mut bob) = (Party::new(1, 291), Party::new(2, 291));
    let bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    let mut forger = Forger::new(&alice, &bundle, Tricks::default(), TestRng::new(291));
    let message = forger.message_with(&pad(b"x"), |header| header.pq[11] ^= 1);
    let read = bob.try_decrypt(alice.address(), &message).unwrap();
    assert_eq!(read.pq_failure, Some(SckaFailure::Authentication));
    let before = bob.record.encode();
    let failed = bob.record.encrypt(b"back", bob.now, &mut bob.rng).unwrap_err();
    assert_eq!(failed, EncryptError::PqFailed(SckaFailure::Authentication));
    assert_eq!(bob.record.encode(), before);
}

/// Whether both write on the same session: what one writes, the other opens with its active session, on which it answers.
fn agree(alice: &mut Party, bob: &mut Party) -> bool {
    let inactive = (alice.record.inactive_count(), bob.record.inactive_count());
    let states = (alice.record.encode(), bob.record.encode());
    // Drop every inactive session from copies of both and see whether they still understand each other.
    let only_active = |record: &SessionRecord| {
        let bytes = record.encode();
        let mut copy = SessionRecord::decode(&bytes).unwrap();
        copy.drop_inactive();
        copy
    };
    let (kept_alice, kept_bob) = (only_active(&alice.record), only_active(&bob.record));
    alice.record = kept_alice;
    bob.record = kept_bob;
    let there = alice.encrypt(b"?");
    let understood_there = bob.try_decrypt(alice.address(), &there).is_ok();
    alice.record = SessionRecord::decode(&states.0).unwrap();
    bob.record = SessionRecord::decode(&states.1).unwrap();
    assert_eq!(inactive, (alice.record.inactive_count(), bob.record.inactive_count()));
    understood_there
}

#[test]
fn attack_28_simultaneous_initiation_converges_within_a_round_trip() {
    for seed in 0..12 {
        let (mut alice, mut bob) = crossed(2800 + seed);
        let (from_alice, from_bob) = (alice.encrypt(b"a"), bob.encrypt(b"b"));
        // Both orders of arrival.
        if seed % 2 == 0 {
            bob.decrypt(alice.address(), &from_alice);
            alice.decrypt(bob.address(), &from_bob);
        } else {
            alice.decrypt(bob.address(), &from_bob);
            bob.decrypt(alice.address(), &from_alice);
        }
        assert!(agree(&mut alice, &mut bob), "seed {seed}");
        exchange(&mut alice, &mut bob);
        assert!(agree(&mut alice, &mut bob), "seed {seed}");
        assert!(!is_prekey_message(&alice.encrypt(b"")) && !is_prekey_message(&bob.encrypt(b"")));
    }
}

#[test]
fn attack_28_it_converges_when_both_keep_writing_at_once() {
    for seed in 0..12 {
        let (mut alice, mut bob) = crossed(2850 + seed);
        for round in 0..4 {
            let (from_alice, from_bob) = (alice.encrypt(b"a"), bob.encrypt(b"b"));
            bob.decrypt(alice.address(), &from_alice);
            alice.decrypt(bob.address(), &from_bob);
            assert!(agree(&mut alice, &mut bob), "seed {seed}, round {round}");
        }
    }
}

#[test]
fn attack_28_it_converges_with_loss_and_late_messages() {
    for seed in 0..24 {
        let (mut alice, mut bob) = crossed(2900 + seed);
        let mut rng = TestRng::new(seed);
        let mut late = Vec::new();
        for _ in 0..6 {
            let (from_alice, from_bob) = (alice.encrypt(b"a"), bob.encrypt(b"b"));
            match rng.below(3) {
                0 => late.push((true, from_alice)),
                1 => drop(from_alice),
                _ => drop(bob.decrypt(alice.address(), &from_alice)),
            }
            match rng.below(3) {
                0 => late.push((false, from_bob)),
                1 => drop(from_bob),
                _ => drop(alice.decrypt(bob.address(), &from_bob)),
            }
        }
        for (from_alice, message) in late {
            if from_alice {
                bob.decrypt(alice.address(), &message);
            } else {
                alice.decrypt(bob.address(), &message);
            }
        }
        // The network is well again: one round trip.
        exchange(&mut alice, &mut bob);
        assert!(agree(&mut alice, &mut bob), "seed {seed}");
        exchange(&mut bob, &mut alice);
        assert!(agree(&mut alice, &mut bob), "seed {seed}");
    }
}

#[test]
fn attack_28_a_session_that_the_other_side_cannot_open_does_not_win_for_ever() {
    let mut held = 0;
    for seed in 0..12 {
        let (mut alice, mut bob) = crossed(2950 + seed);
        // Bob's prekeys are lost: Alice's session can never be opened.
        bob.store = crate::support::Store::default();
        let from_alice = alice.encrypt(b"a");
        assert_eq!(bob.try_decrypt(alice.address(), &from_alice).unwrap_err(), DecryptError::UnknownPrekey);
        let from_bob = bob.encrypt(b"b");
        alice.decrypt(bob.address(), &from_bob);
        if is_prekey_message(&alice.encrypt(b"")) {
            held += 1; // Alice's session outranks Bob's, for now
        }
        alice.now += CONVERGENCE_WINDOW_MS;
        let from_bob = bob.encrypt(b"b");
        alice.decrypt(bob.address(), &from_bob);
        let answer = alice.encrypt(b"now on yours");
        assert_eq!(bob.decrypt(alice.address(), &answer), b"now on yours");
    }
    assert!((1..12).contains(&held), "both ranks occur: {held}");
}

#[test]
fn attack_28_a_session_that_its_initiator_has_lost_does_not_win_for_ever() {
    let mut pinned = 0;
    for seed in 0..12 {
        let (mut alice, mut bob) = crossed(3000 + seed);
        // The relay holds Alice's first message back, and she loses her sessions.
        let held_back = alice.encrypt(b"held back");
        alice.record = SessionRecord::new();
        let from_bob = bob.encrypt(b"b");
        alice.decrypt(bob.address(), &from_bob);
        assert_eq!(bob.decrypt(alice.address(), &held_back), b"held back");
        let on_bobs = alice.encrypt(b"on yours");
        assert_eq!(bob.decrypt(alice.address(), &on_bobs), b"on yours");
        let from_bob = bob.encrypt(b"b");
        if alice.try_decrypt(bob.address(), &from_bob).is_err() {
            pinned += 1; // Alice's session outranks Bob's, for now
        }
        bob.now += CONVERGENCE_WINDOW_MS;
        let on_bobs = alice.encrypt(b"still on yours");
        assert_eq!(bob.decrypt(alice.address(), &on_bobs), b"still on yours");
        let from_bob = bob.encrypt(b"now on ours");
        assert_eq!(alice.decrypt(bob.address(), &from_bob), b"now on ours");
        assert!(agree(&mut alice, &mut bob));
    }
    assert!((1..12).contains(&pinned), "both ranks occur: {pinned}");
}

#[test]
fn attack_28_it_converges_after_silence_too() {
    for seed in 0..60 {
        let (mut alice, mut bob) = crossed(3050 + seed);
        let mut rng = TestRng::new(seed);
        let mut late = [Vec::new(), Vec::new()];
        for _ in 0..12 {
            // Often longer than the window, so that a session loses its rank now at the one side, now at the other.
            let pause = rng.below(CONVERGENCE_WINDOW_MS as usize) as u64;
            alice.now += pause;
            bob.now += pause;
            let (from, to, way) = match rng.below(2) {
                0 => (&mut alice, &mut bob, 0),
                _ => (&mut bob, &mut alice, 1),
            };
            late[way].push(from.encrypt(b"x"));
            while !late[way].is_empty() && rng.below(2) == 0 {
                let at = rng.below(late[way].len());
                to.decrypt(from.address(), &late[way].remove(at));
            }
        }
        let [from_alice, from_bob] = late;
        from_alice.iter().for_each(|message| drop(bob.decrypt(alice.address(), message)));
        from_bob.iter().for_each(|message| drop(alice.decrypt(bob.address(), message)));
        // One round trip is enough, and nothing changes after it.
        for _ in 0..3 {
            exchange(&mut alice, &mut bob);
            assert!(agree(&mut alice, &mut bob), "seed {seed}");
            exchange(&mut bob, &mut alice);
            assert!(agree(&mut alice, &mut bob), "seed {seed}");
        }
        // When both write at once, no more than two.
        for round in 0..4 {
            let (from_alice, from_bob) = (alice.encrypt(b"a"), bob.encrypt(b"b"));
            bob.decrypt(alice.address(), &from_alice);
            alice.decrypt(bob.address(), &from_bob);
            assert!(agree(&mut alice, &mut bob), "seed {seed}, round {round}");
        }
    }
}

#[test]
fn attack_29_inactive_sessions_are_bounded_and_expire() {
    let (mut alice, mut bob) = (Party::new(1, 29), Party::new(2, 29));
    let mut first_of_each = Vec::new();
    for _ in 0..MAX_INACTIVE_SESSIONS + 5 {
        alice.initiate(&mut bob);
        let message = alice.encrypt(b"reset");
        bob.decrypt(alice.address(), &message);
        first_of_each.push(alice.encrypt(b"late"));
    }
    assert_eq!(bob.record.inactive_count(), MAX_INACTIVE_SESSIONS);
    assert_eq!(alice.record.inactive_count(), MAX_INACTIVE_SESSIONS);
    // The oldest are gone, the newest are there.
    let oldest = first_of_each.remove(0);
    assert_eq!(bob.try_decrypt(alice.address(), &oldest).unwrap_err(), DecryptError::UnknownPrekey);
    let newest = first_of_each.pop().unwrap();
    assert_eq!(bob.decrypt(alice.address(), &newest), b"late");
    // After the relay's retention nothing can be under way.
    bob.now += INACTIVE_SESSION_LIFETIME_MS + 1;
    bob.encrypt(b"x");
    assert_eq!(bob.record.inactive_count(), 0);
    assert!(bob.record.has_active(), "the active session does not expire");
}

#[test]
fn attack_29_a_changed_account_key_is_never_silent() {
    let (mut alice, mut bob) = established(290);
    // Somebody registers under Bob's address with another account key, properly self-signed.
    let mut impostor =
        Party::device_of(AccountSecret::generate(&mut TestRng::new(291)), bob.address().account, 1, TestRng::new(292));
    assert_eq!(impostor.address(), bob.address());
    let expected = |known: &Party, presented: &Party| (known.account_key(), presented.account_key());

    // They write to Alice.
    impostor.initiate(&mut alice);
    let message = impostor.encrypt(b"new phone, who is this");
    let error = alice.try_decrypt(bob.address(), &message).unwrap_err();
    let (known, presented) = expected(&bob, &impostor);
    assert_eq!(error, DecryptError::IdentityChanged { known, presented });
    let peeked = kuvert_protocol::initiator_certificate(&message).unwrap().unwrap();
    assert_eq!(peeked.claimed().account_key, impostor.account_key());

    // The relay serves their bundle: refused with Bob's key, and refused by the record even if the caller trusts the new one.
    let bundle = impostor.bundle(KemPrekeyKind::OneTime, true);
    assert!(bundle.clone().verify(bob.address(), &bob.account_key()).is_err());
    let bundle = bundle.verify(bob.address(), &impostor.account_key()).unwrap();
    let before = alice.state();
    let error = alice.record.initiate(&alice.local, &bundle, alice.now, &mut alice.rng).unwrap_err();
    assert_eq!(error, InitiateError::IdentityChanged { known, presented });
    assert!(alice.state() == before);
    exchange(&mut alice, &mut bob);

    // Once the user has accepted the key, a new record takes it.
    alice.record = SessionRecord::new();
    assert_eq!(alice.decrypt(impostor.address(), &message), b"new phone, who is this");
}

#[test]
fn attack_29_a_session_record_is_for_one_device() {
    let (mut alice, mut bob) = established(295);
    let mut carol = Party::new(3, 295);
    let bundle = carol.verified_bundle(KemPrekeyKind::OneTime, true);
    let error = alice.record.initiate(&alice.local, &bundle, alice.now, &mut alice.rng).unwrap_err();
    assert_eq!(error, InitiateError::OtherDevice);
    carol.initiate(&mut alice);
    let message = carol.encrypt(b"x");
    assert_eq!(alice.try_decrypt(carol.address(), &message).unwrap_err(), DecryptError::AccountMismatch);
    exchange(&mut alice, &mut bob);
}

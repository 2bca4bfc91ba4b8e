//! Two parties over a network that loses, repeats and reorders, with restarts in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use kuvert_protocol::message::MAX_CONTENT_LEN;
use kuvert_protocol::prelude::*;
use proptest::prelude::*;
use support::{Party, established, exchange, is_prekey_message};

/// One turn of the network.
#[derive(Clone, Debug)]
enum Event {
    /// A party (0 or 1) writes a text of so many bytes.
    Write(usize, usize),
    /// Delivers the waiting message at this place (modulo) to a party.
    Deliver(usize, usize),
    /// Delivers it and leaves it waiting: it will come again.
    DeliverAgain(usize, usize),
    /// Loses it.
    Lose(usize, usize),
    /// Stores a party's state and reads it back.
    Restart(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let (who, place) = (0..2_usize, 0..64_usize);
    prop_oneof![
        4 => (who.clone(), 0..600_usize).prop_map(|(who, len)| Event::Write(who, len)),
        5 => (who.clone(), place.clone()).prop_map(|(who, place)| Event::Deliver(who, place)),
        1 => (who.clone(), place.clone()).prop_map(|(who, place)| Event::DeliverAgain(who, place)),
        1 => (who.clone(), place).prop_map(|(who, place)| Event::Lose(who, place)),
        1 => who.prop_map(Event::Restart),
    ]
}

/// Serial number, message, text.
type Waiting = (usize, Vec<u8>, Vec<u8>);

struct Network {
    parties: [Party; 2],
    /// For party 0 and for party 1.
    waiting: [Vec<Waiting>; 2],
    seen: BTreeSet<usize>,
    serial: usize,
}

impl Network {
    fn new(seed: u64) -> Self {
        let (mut alice, mut bob) = (Party::new(1, seed), Party::new(2, seed));
        alice.initiate(&mut bob);
        Self { parties: [alice, bob], waiting: [Vec::new(), Vec::new()], seen: BTreeSet::new(), serial: 0 }
    }

    fn write(&mut self, who: usize, len: usize) {
        if !self.parties[who].record.has_active() {
            return; // Bob cannot write before he heard from Alice
        }
        let text: Vec<u8> = (0..len).map(|i| (i + self.serial) as u8).collect();
        let message = self.parties[who].encrypt(&text);
        self.waiting[1 - who].push((self.serial, message, text));
        self.serial += 1;
    }

    fn take(&mut self, who: usize, place: usize, keep: bool) -> Option<Waiting> {
        let count = self.waiting[who].len();
        match (count, keep) {
            (0, _) => None,
            (_, true) => Some(self.waiting[who][place % count].clone()),
            (_, false) => Some(self.waiting[who].remove(place % count)),
        }
    }

    fn deliver(&mut self, who: usize, (serial, message, text): Waiting) {
        let from = self.parties[1 - who].address();
        match self.parties[who].try_decrypt(from, &message) {
            Ok(decrypted) => {
                assert_eq!(decrypted.plaintext[..], text[..]);
                assert!(self.seen.insert(serial), "message {serial} was accepted twice");
                assert_eq!(decrypted.remote_certificate.address(), from);
            }
            Err(error) => {
                // A repetition from a chain that is long gone cannot be told from garbage any more.
                assert!(matches!(error, DecryptError::Duplicate | DecryptError::Undecryptable), "{error}");
                assert!(self.seen.contains(&serial), "message {serial} was refused though it is new");
            }
        }
    }

    fn run(&mut self, event: Event) {
        match event {
            Event::Write(who, len) => self.write(who, len),
            Event::Deliver(who, place) => {
                if let Some(message) = self.take(who, place, false) {
                    self.deliver(who, message);
                }
            }
            Event::DeliverAgain(who, place) => {
                if let Some(message) = self.take(who, place, true) {
                    self.deliver(who, message);
                }
            }
            Event::Lose(who, place) => drop(self.take(who, place, false)),
            Event::Restart(who) => self.parties[who].restart(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    /// Every message that is not lost is read exactly once, whatever order it comes in, and none is read twice.
    #[test]
    fn every_message_is_read_exactly_once(seed in 0..1000_u64, events in prop::collection::vec(event(), 1..160)) {
        let mut network = Network::new(seed);
        network.write(0, 10);
        for event in events {
            network.run(event);
        }
        // What still waits arrives in the end, in the order sent.
        for who in [1, 0] {
            while let Some(message) = network.take(who, 0, false) {
                network.deliver(who, message);
            }
        }
    }
}

#[test]
fn a_long_conversation_with_restarts() {
    let (mut alice, mut bob) = established(1);
    for round in 0..300 {
        exchange(&mut alice, &mut bob);
        if round % 17 == 0 {
            alice.restart();
            bob.restart();
        }
    }
    assert!(alice.record.encode().len() < 32 * 1024, "{}", alice.record.encode().len());
}

#[test]
fn the_handshake_is_repeated_until_an_answer_comes() {
    let (mut alice, mut bob) = (Party::new(1, 2), Party::new(2, 2));
    alice.initiate(&mut bob);
    assert_eq!(alice.record.unanswered_since(), Some(alice.now));
    let messages: Vec<_> = (0..5_u8).map(|i| alice.encrypt(&[i])).collect();
    assert!(messages.iter().all(|message| is_prekey_message(message)));
    // In any order; the first to arrive makes the session and burns the prekeys, the others find it.
    for (count, i) in [3, 0, 4, 1, 2].into_iter().enumerate() {
        let decrypted = bob.try_decrypt(alice.address(), &messages[i]).unwrap();
        assert_eq!(*decrypted.plaintext, [i as u8]);
        assert_eq!(decrypted.new_session, count == 0);
        assert_eq!(decrypted.used.is_some(), count == 0);
    }
    let answer = bob.encrypt(b"answer");
    assert!(!is_prekey_message(&answer));
    alice.decrypt(bob.address(), &answer);
    assert_eq!(alice.record.unanswered_since(), None);
    assert!(!is_prekey_message(&alice.encrypt(b"on")));
    assert!(bob.store.one_time.is_empty() && bob.store.kem.is_empty());
}

#[test]
fn every_kind_of_bundle_works() {
    for kind in [KemPrekeyKind::OneTime, KemPrekeyKind::LastResort] {
        for with_one_time in [true, false] {
            let (mut alice, mut bob) = (Party::new(1, 3), Party::new(2, 3));
            let bundle = bob.verified_bundle(kind, with_one_time);
            assert_eq!((bundle.kem_kind(), bundle.has_one_time_prekey()), (kind, with_one_time));
            alice.record.initiate(&alice.local, &bundle, alice.now, &mut alice.rng).unwrap();
            let message = alice.encrypt(b"there");
            let used = bob.try_decrypt(alice.address(), &message).unwrap().used.unwrap();
            assert_eq!(used.kem.is_some(), kind == KemPrekeyKind::OneTime);
            assert_eq!(used.one_time.is_some(), with_one_time);
            let back = bob.encrypt(b"back");
            assert_eq!(alice.decrypt(bob.address(), &back), b"back");
        }
    }
}

#[test]
fn lengths_up_to_the_limit() {
    let (mut alice, mut bob) = established(4);
    for len in [0, 1, 511, 512, 4095, 4096, 16383, 16384, 65536, MAX_CONTENT_LEN] {
        let text: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let message = alice.encrypt(&text);
        assert_eq!(message.len(), kuvert_protocol::padding::padded_len(len) + 250);
        assert_eq!(bob.decrypt(alice.address(), &message), text);
    }
    let before = alice.state();
    let too_long = vec![0; MAX_CONTENT_LEN + 1];
    assert_eq!(alice.record.encrypt(&too_long, alice.now, &mut alice.rng), Err(EncryptError::TooLong));
    assert!(alice.state() == before);
    assert_eq!(
        SessionRecord::new().encrypt(b"", alice.now, &mut alice.rng),
        Err(EncryptError::NoSession),
        "nothing to encrypt with"
    );
}

#[test]
fn an_honest_message_made_from_the_description_alone_is_understood() {
    use support::forger::{Forger, Tricks};
    for with_one_time in [true, false] {
        let (alice, mut bob) = (Party::new(1, 5), Party::new(2, 5));
        let bundle = bob.bundle(KemPrekeyKind::OneTime, with_one_time);
        let mut forger = Forger::new(&alice, &bundle, Tricks::default(), alice.rng.clone());
        for text in [b"one", b"two"] {
            let message = forger.message(text);
            assert_eq!(bob.decrypt(alice.address(), &message), text);
        }
        // Without its handshake, a message of a session that exists is another message.
        forger.kind = 2;
        let message = forger.message(b"three");
        assert_eq!(bob.decrypt(alice.address(), &message), b"three");
    }
}

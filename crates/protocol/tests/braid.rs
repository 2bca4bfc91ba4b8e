//! The post-quantum ratchet as the session uses it: two parties, a network that loses, repeats and reorders, and an
//! attacker who copies states.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::convert::Infallible;

use kuvert_protocol::hazmat::pq_ratchet::{MAX_OLD_EPOCHS, PQ_HEADER_LEN, PostQuantumRatchet, PqError, PqMessageKey};
use kuvert_protocol::hazmat::scka::SckaFailure;
use kuvert_types::Reader;
use proptest::prelude::*;
use rand_core::{Rng, TryCryptoRng, TryRng};
use zeroize::Zeroizing;

/// Bytes of a stored ratchet without skipped keys, at most: the longest Braid state, and five epochs.
const MAX_STORED_LEN: usize = 2251 + 1 + 32 + 1 + 5 * 39 + 2 * 36;
/// Bytes of a skipped key in a stored ratchet.
const SKIPPED_KEY_LEN: usize = 36;

/// Repeatable, and only for tests: SplitMix64.
struct TestRng(u64);

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::try_from(self.try_next_u64()? >> 32).unwrap())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dest.chunks_mut(8) {
            let word = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

/// A header on its way, and the key that its sender used.
#[derive(Clone)]
struct Flying {
    header: [u8; PQ_HEADER_LEN],
    key: PqMessageKey,
    epoch: u64,
}

/// Two parties: 0 opened the session, 1 was written to.
struct World {
    parties: [PostQuantumRatchet; 2],
    rng: TestRng,
    keys: HashSet<[u8; 32]>,
}

impl World {
    fn new(seed: u64) -> Self {
        let shared = [42; 32];
        Self {
            parties: [PostQuantumRatchet::new_initiator(&shared), PostQuantumRatchet::new_recipient(&shared)],
            rng: TestRng(seed),
            keys: HashSet::new(),
        }
    }

    fn send(&mut self, who: usize) -> Flying {
        let epoch = self.parties[who].sending_epoch();
        let (header, key) = self.parties[who].send(&mut self.rng).unwrap();
        assert!(self.keys.insert(*key.as_bytes()), "no key twice");
        Flying { header, key, epoch }
    }

    /// Opens and applies; the key must be the sender's.
    fn deliver(&mut self, to: usize, message: &Flying) {
        let step = self.parties[to].open(&message.header).unwrap();
        assert_eq!(step.key.as_bytes(), message.key.as_bytes());
        self.parties[to].apply(step);
        assert_eq!(self.parties[to].failure(), None);
    }

    /// `messages` messages, one from each side in turn, starting with `first`.
    fn alternate(&mut self, first: usize, messages: usize) {
        for turn in first..first + messages {
            let message = self.send(turn % 2);
            self.deliver(1 - turn % 2, &message);
        }
    }

    fn stored(&self, who: usize) -> Vec<u8> {
        stored(&self.parties[who])
    }
}

fn stored(ratchet: &PostQuantumRatchet) -> Vec<u8> {
    let mut out = Zeroizing::new(Vec::new());
    ratchet.encode(&mut out);
    out.to_vec()
}

fn restored(bytes: &[u8]) -> PostQuantumRatchet {
    Reader::whole(bytes, PostQuantumRatchet::decode).unwrap()
}

#[test]
fn strict_alternation_completes_an_epoch_every_23_messages() {
    let mut world = World::new(1);
    for epochs in 1..=20 {
        world.alternate(epochs + 1, 23);
        let newest = u64::try_from(epochs).unwrap();
        assert_eq!(world.parties.each_ref().map(PostQuantumRatchet::epoch), [newest, newest]);
        for who in 0..2 {
            assert!(world.stored(who).len() <= MAX_STORED_LEN);
        }
    }
}

#[test]
fn stored_and_restored_after_every_message_it_goes_on_as_if_nothing_happened() {
    let mut world = World::new(2);
    let mut longest = 0;
    for turn in 0..23 * 8 {
        let message = world.send(turn % 2);
        world.deliver(1 - turn % 2, &message);
        for who in 0..2 {
            let bytes = world.stored(who);
            longest = longest.max(bytes.len());
            world.parties[who] = restored(&bytes);
            assert_eq!(world.stored(who), bytes);
        }
    }
    assert_eq!(world.parties[0].epoch(), 8);
    assert!(longest <= MAX_STORED_LEN, "{longest}");
}

/// A full copy of one party, followed by an attacker who sees every message, is worth nothing after the next epoch that
/// was drawn after the copy was made.
#[test]
fn a_stolen_state_heals() {
    for victim in 0..2 {
        for stolen_after in 0..23 {
            let mut world = World::new(3);
            world.alternate(0, 23 * 2 + stolen_after);
            let mut copy = restored(&world.stored(victim));
            let mut copy_rng = TestRng(999);
            let stolen_in = world.parties[victim].epoch();

            let mut healed_in = None;
            let mut followed = 0;
            for turn in 23 * 2 + stolen_after..23 * 8 {
                let sender = turn % 2;
                let message = world.send(sender);
                let read = if sender == victim {
                    // The copy can only send as itself, with randomness of its own.
                    copy.send(&mut copy_rng).is_ok_and(|(_, key)| key.as_bytes() == message.key.as_bytes())
                } else {
                    copy.open(&message.header).is_ok_and(|step| {
                        let same = step.key.as_bytes() == message.key.as_bytes();
                        copy.apply(step);
                        same
                    })
                };
                match (read, healed_in) {
                    (true, None) => followed += 1,
                    (false, None) => healed_in = Some(message.epoch),
                    (true, Some(epoch)) => panic!("read again in epoch {} after {epoch}", message.epoch),
                    (false, Some(_)) => {}
                }
                world.deliver(1 - sender, &message);
            }
            assert!(stolen_after == 0 || followed > 0, "the copy was a true one");
            // The epoch under way may be lost with the state; the one after it never is.
            let healed_in = healed_in.expect("healed");
            assert!(healed_in <= stolen_in + 2, "victim {victim}, after {stolen_after}: {stolen_in} to {healed_in}");
            // Stolen between two epochs, before either side drew anything: the very next one heals.
            if stolen_after == 0 {
                assert_eq!(healed_in, stolen_in + 1, "victim {victim}");
            }
        }
    }
}

/// Header after header is tampered with, opened, and fails the outer authentication, so that it is never applied.
#[test]
fn attack_27_a_chunk_under_a_failed_tag_is_never_adopted() {
    let mut world = World::new(4);
    for turn in 0..23 * 3 {
        let to = 1 - turn % 2;
        let message = world.send(turn % 2);
        let before = world.stored(to);
        for byte in 0..PQ_HEADER_LEN {
            let mut header = message.header;
            header[byte] ^= 1 << (turn % 8);
            // The key may even be right, where only the chunk was changed; the header is part of what the tag covers.
            drop(world.parties[to].open(&header));
            assert_eq!(world.stored(to), before, "message {turn}, byte {byte}");
        }
        world.deliver(to, &message);
    }
    assert_eq!(world.parties[0].epoch(), 3);
}

#[test]
fn attack_27_epochs_that_are_not_open_are_refused() {
    let mut world = World::new(5);
    world.alternate(0, 23 * 9);
    let message = world.send(1);
    let before = world.stored(0);
    let newest = world.parties[0].epoch();
    let with_epoch = |epoch: u64| {
        let mut header = message.header;
        header[1..9].copy_from_slice(&epoch.to_be_bytes());
        header
    };
    for epoch in [newest + 2, newest + 100, u64::MAX, newest - MAX_OLD_EPOCHS, 1] {
        let refused = world.parties[0].open(&with_epoch(epoch)).unwrap_err();
        assert_eq!(refused, PqError::UnknownEpoch(epoch - 1));
    }
    assert_eq!(world.parties[0].open(&with_epoch(0)).unwrap_err(), PqError::Malformed);
    assert_eq!(world.stored(0), before);
    world.deliver(0, &message);
}

/// A holder of the keys injects a piece of its own. It authenticates and is adopted, the MAC inside the agreement
/// shows it, and the ratchet stops for good and says so.
#[test]
fn attack_27_a_wrong_mac_is_terminal_and_reported() {
    let mut world = World::new(6);
    world.alternate(0, 23 * 2);
    let mut poisoned = world.send(0);
    assert_eq!(poisoned.header[0], 1, "a chunk of a header");
    poisoned.header[11] ^= 1;
    let step = world.parties[1].open(&poisoned.header).unwrap();
    assert_eq!(step.key.as_bytes(), poisoned.key.as_bytes());
    world.parties[1].apply(step);

    let failure = SckaFailure::Authentication;
    for _ in 0..2 {
        assert_eq!(world.parties[1].failure(), Some(failure));
        assert_eq!(world.parties[1].send(&mut world.rng).unwrap_err(), PqError::Failed(failure));
        let message = world.send(0);
        assert_eq!(world.parties[1].open(&message.header).unwrap_err(), PqError::Failed(failure));
        // After a restart, too.
        let bytes = world.stored(1);
        assert_eq!(bytes.len(), 10, "no keys are left");
        world.parties[1] = restored(&bytes);
    }
}

/// There is no message without its piece of the agreement and its key: a header stripped of them is not a header.
#[test]
fn attack_26_a_stripped_header_is_refused() {
    let mut world = World::new(7);
    let message = world.send(0);
    assert_eq!(world.parties[1].open(&[0; PQ_HEADER_LEN]).unwrap_err(), PqError::Malformed);
    for kind in 6..=255 {
        let mut header = message.header;
        header[0] = kind;
        assert_eq!(world.parties[1].open(&header).unwrap_err(), PqError::Malformed);
    }
    let mut header = message.header;
    header[0] = 0;
    assert_eq!(world.parties[1].open(&header).unwrap_err(), PqError::Malformed, "the chunk must go with the type");
}

#[test]
fn a_message_opens_once() {
    let mut world = World::new(8);
    let [first, second, third] = [world.send(0), world.send(0), world.send(0)];
    for message in [&third, &first, &second] {
        world.deliver(1, message);
        assert_eq!(world.parties[1].open(&message.header).unwrap_err(), PqError::KeyGone);
    }
}

#[test]
fn silence_and_floods_of_either_side() {
    for flooder in 0..2 {
        for warm_up in [0, 1, 5, 12, 18, 21, 23] {
            let mut world = World::new(9);
            world.alternate(0, warm_up);
            // What was under way when the flood began arrives in its middle.
            let late = world.send(1 - flooder);
            for i in 0..3_000 {
                let message = world.send(flooder);
                if i % 1_500 == 1_400 {
                    world.deliver(1 - flooder, &message);
                }
                if i == 2_000 {
                    world.deliver(flooder, &late);
                }
            }
            assert!(world.stored(flooder).len() <= MAX_STORED_LEN);
            assert!(world.stored(1 - flooder).len() <= MAX_STORED_LEN + 2_000 * SKIPPED_KEY_LEN);
            // Then both are silent for long, and talk on.
            let before = world.parties[0].epoch();
            world.alternate(1 - flooder, 23 * 3);
            assert!(world.parties[0].epoch() >= before + 2, "flooder {flooder}, warm-up {warm_up}");
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Send { who: usize },
    Deliver { to: usize, which: prop::sample::Index },
    Lose { to: usize, which: prop::sample::Index },
    Repeat { to: usize, which: prop::sample::Index },
    Restart { who: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0_usize..2;
    let which = any::<prop::sample::Index>();
    prop_oneof![
        5 => who.clone().prop_map(|who| Event::Send { who }),
        4 => (who.clone(), which.clone()).prop_map(|(to, which)| Event::Deliver { to, which }),
        1 => (who.clone(), which.clone()).prop_map(|(to, which)| Event::Lose { to, which }),
        1 => (who.clone(), which).prop_map(|(to, which)| Event::Repeat { to, which }),
        1 => who.prop_map(|who| Event::Restart { who }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the network does, both sides derive the same key for the same message, a message opens once, the state
    /// stays bounded, and epochs go on as soon as messages get through again.
    #[test]
    fn keys_agree_under_loss_repetition_and_reordering(
        seed in any::<u64>(),
        events in prop::collection::vec(event(), 0..900),
    ) {
        let mut world = World::new(seed);
        let mut flying: [Vec<Flying>; 2] = Default::default();
        let mut arrived: [Vec<Flying>; 2] = Default::default();
        let mut sent = 0;
        for event in events {
            match event {
                Event::Send { who } => {
                    let message = world.send(who);
                    flying[1 - who].push(message);
                    sent += 1;
                }
                Event::Deliver { to, which } if !flying[to].is_empty() => {
                    let at = which.index(flying[to].len());
                    let message = flying[to].swap_remove(at);
                    if message.epoch + MAX_OLD_EPOCHS < world.parties[to].epoch() {
                        let refused = world.parties[to].open(&message.header).unwrap_err();
                        prop_assert_eq!(refused, PqError::UnknownEpoch(message.epoch));
                    } else {
                        world.deliver(to, &message);
                        arrived[to].push(message);
                    }
                }
                Event::Lose { to, which } if !flying[to].is_empty() => {
                    let at = which.index(flying[to].len());
                    flying[to].swap_remove(at);
                }
                Event::Repeat { to, which } if !arrived[to].is_empty() => {
                    let message = &arrived[to][which.index(arrived[to].len())];
                    let before = world.stored(to);
                    prop_assert!(world.parties[to].open(&message.header).is_err());
                    prop_assert_eq!(world.stored(to), before);
                }
                Event::Restart { who } => world.parties[who] = restored(&world.stored(who)),
                _ => {}
            }
            for who in 0..2 {
                prop_assert!(world.stored(who).len() <= MAX_STORED_LEN + sent * SKIPPED_KEY_LEN);
            }
        }
        let before = world.parties[0].epoch();
        world.alternate(0, 23 * 3);
        prop_assert!(world.parties[0].epoch() >= before + 2);
    }

    /// Bytes from anywhere make errors, not panics.
    #[test]
    fn garbage_is_refused(header in prop::collection::vec(any::<u8>(), PQ_HEADER_LEN), stored in prop::collection::vec(any::<u8>(), 0..4000), tag in 0_u8..13) {
        let world = World::new(0);
        drop(world.parties[0].open(header.as_slice().try_into().unwrap()));
        let mut stored = stored;
        if let Some(first) = stored.first_mut() {
            *first = tag;
        }
        drop(Reader::whole(&stored, PostQuantumRatchet::decode));
    }
}

/// The whole output of a fixed run. A change here breaks every session that exists.
#[test]
fn the_bytes_are_pinned() {
    let mut world = World::new(0x6B75_7665_7274);
    let mut digest = 0xCBF2_9CE4_8422_2325_u64; // FNV-1a
    let mut absorb = |bytes: &[u8]| {
        for byte in bytes {
            digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    };
    for turn in 0..23 * 4 {
        // Every fifth message is lost, so that parity chunks are among the bytes.
        let message = world.send(turn % 2);
        absorb(&message.header);
        absorb(message.key.as_bytes());
        if !world.rng.next_u64().is_multiple_of(5) {
            world.deliver(1 - turn % 2, &message);
        }
        absorb(&world.stored(0));
        absorb(&world.stored(1));
    }
    assert_eq!(digest, 0xAE83_D29B_4917_5CAC, "{digest:#018X}");
}

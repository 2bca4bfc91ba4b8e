#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;

use kuvert_types::{DecodeError, Reader};
use rand_core::{TryCryptoRng, TryRng};

use super::chain::SkippedKey;
use super::*;
use crate::braid::tests::TestRng;
use crate::scka::{Received, Sent};

/// Its bytes do not matter: the agreement below draws none.
struct NoRng;

impl TryRng for NoRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("the counting agreement draws nothing")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("the counting agreement draws nothing")
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
        unreachable!("the counting agreement draws nothing")
    }
}

impl TryCryptoRng for NoRng {}

/// An agreement that opens an epoch on demand: shows that the ratchet depends on the trait alone, and reaches states at
/// will. Both sides put out `key = [epoch; 32]`. No secrets, no security.
#[derive(Default)]
struct Counting {
    newest: Epoch,
    sending: Epoch,
}

impl Scka for Counting {
    type Step = Epoch;

    fn send(&mut self, _: &mut impl CryptoRng) -> Result<Sent, SckaError> {
        let sending_epoch = self.sending;
        let output = (self.newest == self.sending).then(|| {
            self.newest += 1;
            output(self.newest)
        });
        let mut message = [0; SCKA_MESSAGE_LEN];
        message[..8].copy_from_slice(&sending_epoch.to_be_bytes());
        // From the other side's answer on, and for this test at once: both know the key.
        self.sending = self.newest.min(self.sending + 1);
        Ok(Sent { message, sending_epoch, output })
    }

    fn receive(&self, message: &[u8; SCKA_MESSAGE_LEN]) -> Result<Received<Epoch>, SckaError> {
        let epoch = Epoch::from_be_bytes(message[..8].try_into().unwrap());
        Ok(Received { receiving_epoch: epoch, step: epoch })
    }

    fn apply(&mut self, epoch: Epoch) -> Option<OutputKey> {
        (epoch + 1 > self.newest).then(|| {
            self.newest = epoch + 1;
            output(self.newest)
        })
    }

    fn failure(&self) -> Option<SckaFailure> {
        None
    }

    fn sending_epoch(&self) -> Epoch {
        self.sending
    }

    fn newest_epoch(&self) -> Epoch {
        self.newest
    }

    fn encode(&self, out: &mut Zeroizing<Vec<u8>>) {
        out.extend_from_slice(&self.newest.to_be_bytes());
        out.extend_from_slice(&self.sending.to_be_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { newest: reader.u64()?, sending: reader.u64()? })
    }
}

fn output(epoch: Epoch) -> OutputKey {
    OutputKey::new(epoch, [epoch.to_le_bytes()[0]; 32])
}

type Ratchet = PostQuantumRatchet<Counting>;

fn pair() -> (Ratchet, Ratchet) {
    let start = |role| Ratchet::start(&[3; 32], role, |_| Counting::default());
    (start(Role::Initiator), start(Role::Recipient))
}

fn bytes<S: Scka>(ratchet: &PostQuantumRatchet<S>) -> Vec<u8> {
    let mut out = Zeroizing::new(Vec::new());
    ratchet.encode(&mut out);
    assert!(out.len() <= ratchet.encoded_len(), "a vector that grows leaves copies of keys behind");
    out.to_vec()
}

#[test]
fn any_agreement_will_do() {
    let (mut alice, mut bob) = pair();
    for _ in 0..20 {
        let (header, key) = alice.send(&mut NoRng).unwrap();
        let step = bob.open(&header).unwrap();
        assert_eq!(step.key.as_bytes(), key.as_bytes());
        bob.apply(step);
        let restored = bytes(&bob);
        bob = Reader::whole(&restored, Ratchet::decode_with).unwrap();
        assert_eq!(bytes(&bob), restored);
    }
    assert_eq!((alice.epoch(), bob.epoch()), (20, 20));
    assert_eq!(bob.epochs.len(), 5, "the newest and MAX_OLD_EPOCHS before it");
    assert_eq!(alice.epochs.iter().filter(|chains| chains.sending.is_some()).count(), 1);
}

/// A party that missed one output key is locked out of every later epoch, even if it knows the later output keys.
#[test]
fn every_epoch_depends_on_all_before_it() {
    let (mut alice, _) = pair();
    let (mut other, _) = pair();
    alice.open_epoch(&OutputKey::new(1, [1; 32]));
    other.open_epoch(&OutputKey::new(1, [2; 32]));
    for ratchet in [&mut alice, &mut other] {
        ratchet.open_epoch(&output(2));
    }
    assert_ne!(alice.epochs[2].receiving.key, other.epochs[2].receiving.key);
    assert_ne!(*alice.root, *other.root);
}

#[test]
fn a_failure_wipes_every_key() {
    let (mut alice, mut bob, mut rng) = silent_pair();
    let (mut header, _) = alice.send(&mut rng).unwrap();
    header[11] ^= 1;
    let step = bob.open(&header).unwrap();
    bob.apply(step);
    assert_eq!(bob.failure(), Some(SckaFailure::Authentication));
    assert!(bob.epochs.is_empty());
    assert_eq!(*bob.root, [0; 32]);
    // From now on it says why, whatever is asked of it.
    let failed = Some(PqError::Failed(SckaFailure::Authentication));
    assert_eq!(bob.send(&mut rng).err(), failed);
    assert_eq!(bob.open(&header).err(), failed);
}

#[test]
fn labels_differ() {
    for (i, label) in LABELS.iter().enumerate() {
        assert!(LABELS[..i].iter().all(|other| other != label), "{i}");
    }
}

#[test]
fn the_two_directions_and_all_numbers_have_keys_of_their_own() {
    let (mut alice, mut bob) = pair();
    let mut keys = Vec::new();
    for _ in 0..50 {
        for side in [&mut alice, &mut bob] {
            let (_, key) = side.send(&mut NoRng).unwrap();
            assert!(!keys.contains(key.as_bytes()));
            keys.push(*key.as_bytes());
        }
    }
}

/// A braid never moves while only one side speaks, so all these messages are in one chain.
fn silent_pair() -> (PostQuantumRatchet, PostQuantumRatchet, TestRng) {
    let alice = PostQuantumRatchet::new_initiator(&[3; 32]);
    let bob = PostQuantumRatchet::new_recipient(&[3; 32]);
    (alice, bob, TestRng(9))
}

#[test]
fn max_skip_is_the_bound_to_the_message() {
    let (mut alice, mut bob, mut rng) = silent_pair();
    let mut headers: Vec<_> = (0..=MAX_SKIP + 2).map(|_| alice.send(&mut rng).unwrap()).collect();
    let before = bytes(&bob);
    assert_eq!(bob.open(&headers[2001].0).unwrap_err(), PqError::TooManySkipped);
    assert_eq!(bytes(&bob), before);
    let step = bob.open(&headers[2000].0).unwrap();
    assert_eq!(step.key.as_bytes(), headers[2000].1.as_bytes());
    bob.apply(step);
    // Full, and every key in it is the right one.
    assert_eq!(bob.epochs[0].skipped_len(), MAX_SKIPPED_KEYS);
    let stored = bytes(&bob);
    let full = stored.len();
    assert!(full <= 75_000, "{full}");
    // What is full can be read back, and one key more was never written.
    assert_eq!(bytes(&Reader::whole(&stored, PostQuantumRatchet::decode).unwrap()), stored);
    let keys = full - 36 * MAX_SKIPPED_KEYS;
    let count = u16::try_from(MAX_SKIPPED_KEYS + 1).unwrap().to_be_bytes();
    let one_more = [&stored[..keys - 2], &count, &stored[keys..], &2_000_u32.to_be_bytes(), &[7; 32]].concat();
    assert!(Reader::whole(&one_more, PostQuantumRatchet::decode).is_err());
    for (header, key) in [&headers[0], &headers[1], &headers[1999]] {
        assert_eq!(bob.open(header).unwrap().key.as_bytes(), key.as_bytes());
    }
    // One more skipped: the oldest goes.
    let (header, key) = headers.pop().unwrap();
    let step = bob.open(&header).unwrap();
    assert_eq!(step.key.as_bytes(), key.as_bytes());
    bob.apply(step);
    assert_eq!(bob.epochs[0].skipped_len(), MAX_SKIPPED_KEYS);
    assert_eq!(bytes(&bob).len(), full);
    assert_eq!(bob.open(&headers[0].0).unwrap_err(), PqError::KeyGone);
    assert_eq!(bob.open(&headers[1].0).unwrap().key.as_bytes(), headers[1].1.as_bytes());
}

#[test]
fn a_wild_number_is_refused_before_any_derivation() {
    let (mut alice, bob, mut rng) = silent_pair();
    let (mut header, _) = alice.send(&mut rng).unwrap();
    header[SCKA_MESSAGE_LEN..].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(bob.open(&header).unwrap_err(), PqError::TooManySkipped);
}

#[test]
fn a_chain_ends_rather_than_wrap() {
    let (mut alice, mut bob, mut rng) = silent_pair();
    alice.epochs[0].sending.as_mut().unwrap().next = u32::MAX - 1;
    bob.epochs[0].receiving.next = u32::MAX - 1;
    let (header, key) = alice.send(&mut rng).unwrap();
    let step = bob.open(&header).unwrap();
    assert_eq!(step.key.as_bytes(), key.as_bytes());
    bob.apply(step);
    let before = bytes(&alice);
    assert_eq!(alice.send(&mut rng).unwrap_err(), PqError::ChainExhausted);
    assert_eq!(bytes(&alice), before);
    let mut header = header;
    header[SCKA_MESSAGE_LEN..].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(bob.open(&header).unwrap_err(), PqError::ChainExhausted);
}

#[test]
fn a_step_of_an_earlier_state_is_ignored() {
    let (mut alice, mut bob, mut rng) = silent_pair();
    let (first, _) = alice.send(&mut rng).unwrap();
    let (second, _) = alice.send(&mut rng).unwrap();
    let stale = bob.open(&first).unwrap();
    let twice = bob.open(&first).unwrap();
    let step = bob.open(&second).unwrap();
    bob.apply(step);
    let after = bytes(&bob);
    bob.apply(stale);
    assert_eq!(bytes(&bob), after, "the chain had moved");
    let claim = bob.open(&first).unwrap();
    let again = bob.open(&first).unwrap();
    bob.apply(claim);
    let after = bytes(&bob);
    bob.apply(again);
    bob.apply(twice);
    assert_eq!(bytes(&bob), after, "a skipped key is claimed once");
}

#[test]
fn secrets_do_not_show() {
    let (mut alice, bob, mut rng) = silent_pair();
    let (header, key) = alice.send(&mut rng).unwrap();
    let step = bob.open(&header).unwrap();
    assert_eq!(alloc::format!("{key:?}"), "PqMessageKey(…)");
    assert_eq!(alloc::format!("{step:?}"), "PqStep { key: PqMessageKey(…), epoch: 0, .. }");
    let shown = alloc::format!("{alice:?}");
    assert_eq!(shown, "PostQuantumRatchet { role: Initiator, epoch: 0, failure: None, .. }");
}

#[test]
fn stored_forms_that_were_never_written_are_refused() {
    let (mut alice, mut bob, mut rng) = silent_pair();
    for _ in 0..3 {
        alice.send(&mut rng).unwrap();
    }
    let (header, _) = alice.send(&mut rng).unwrap();
    let step = bob.open(&header).unwrap();
    bob.apply(step);
    let good = bytes(&bob);
    let decode = |bytes: &[u8]| Reader::whole(bytes, PostQuantumRatchet::decode);
    assert_eq!(bytes(&decode(&good).unwrap()), good);
    for cut in 0..good.len() {
        assert!(decode(&good[..cut]).is_err(), "{cut}");
    }
    assert!(decode(&[good.as_slice(), &[0]].concat()).is_err());

    // HeaderReceived: 1 + 8 + 64 + 64 bytes, then role, root, number of epochs, the one epoch's flags.
    let ratchet = 137;
    assert_eq!(good[0], 6);
    let skipped = good.len() - 3 * 36;
    let changes: [(usize, Vec<u8>); 8] = [
        (0, vec![12]),                                              // no such state
        (8, vec![0]),                                               // epoch 0
        (ratchet, vec![2]),                                         // no such role
        (ratchet + 33, vec![0]),                                    // no epochs
        (ratchet + 34, vec![2]),                                    // unknown flags
        (skipped - 2, 3_u16.to_be_bytes().map(|b| b ^ 1).to_vec()), // another count
        (skipped, 9_u32.to_be_bytes().to_vec()),                    // a skipped key from the future
        (skipped + 36, 0_u32.to_be_bytes().to_vec()),               // the same number twice
    ];
    for (at, new) in changes {
        let mut bad = good.clone();
        bad[at..at + new.len()].copy_from_slice(&new);
        assert!(decode(&bad).is_err(), "{at}");
    }
}

#[test]
fn above_the_bound_the_oldest_keys_of_all_epochs_go_and_no_others() {
    let (_, mut bob, _) = silent_pair();
    bob.open_epoch(&output(1));
    bob.open_epoch(&output(2));
    let keys = |count: u32| (0..count).map(|n| SkippedKey { n, key: [7; 32] }).collect();
    for (chains, count) in bob.epochs.iter_mut().zip([3, 1_500, 600]) {
        chains.skipped = keys(count);
    }
    bob.drop_excess_keys();
    let left: Vec<_> = bob.epochs.iter().map(|chains| chains.skipped_len()).collect();
    assert_eq!(left, [0, 1_400, 600]);
    assert_eq!(bob.epochs[1].skipped[0].n, 100);
}

/// Every state of the Braid, with as many epochs as are kept: the room that is made for them is enough.
#[test]
fn a_long_conversation_has_room_where_it_is_stored() {
    let (mut alice, mut bob, mut rng) = silent_pair();
    let mut longest = 0;
    while alice.epoch() < 7 {
        for _ in 0..2 {
            let (header, key) = alice.send(&mut rng).unwrap();
            let step = bob.open(&header).unwrap();
            assert_eq!(step.key.as_bytes(), key.as_bytes());
            bob.apply(step);
            longest = longest.max(bytes(&alice).len()).max(bytes(&bob).len());
            core::mem::swap(&mut alice, &mut bob);
        }
    }
    // The longest state of the Braid; role, root, number of epochs; five epochs, one of which is sent under.
    assert_eq!(longest, 2_251 + 34 + 5 * 39 + 36);
}

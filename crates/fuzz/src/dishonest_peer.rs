//! A contact that holds all the right keys and breaks the rules: every message here authenticates, or fails to for what it
//! says. Even inputs go through whole sessions, odd ones (first byte) through the post-quantum ratchet alone, where both
//! sides go on and on.
//!
//! What has to hold: nothing panics, a refusal leaves the state as it was, the state stays within its bounds and survives
//! storing, contents have the one right padding, and a ratchet that failed stays failed.

use arbitrary::Arbitrary;
use kuvert_protocol::hazmat::pq_ratchet::{PQ_HEADER_LEN, PostQuantumRatchet, PqError};
use kuvert_protocol::padding::padded_len;
use kuvert_protocol::prelude::*;
use kuvert_types::Reader;

use crate::support::forger::{Forger, Tricks, pad};
use crate::support::{Party, TestRng};

const MAX_OPERATIONS: usize = 120;

/// Bytes of a session with as many skipped keys as it may have, in both ratchets.
const MAX_SESSION_BYTES: usize = 8 * 1024 + 2_000 * 44 + 74_552;

/// Breaks rules as the input says.
pub fn run(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else { return };
    if which % 2 == 0 { session(rest) } else { ratchet(rest) }
}

#[derive(Arbitrary, Debug)]
enum Operation {
    /// A message with another header or content than an honest one.
    Forge(Forgery),
    /// Honest messages that never arrive.
    Skip {
        count: u8,
    },
    Honest,
    /// The victim answers.
    Answer,
    Restart,
}

#[derive(Arbitrary, Debug)]
struct Forgery {
    without_handshake: bool,
    ratchet_key: Option<[u8; 32]>,
    previous_chain_length: Option<u32>,
    message_number: Option<u32>,
    /// Places in the post-quantum header and what to change there.
    pq: [(u8, u8); 4],
    filler: bool,
    /// Instead of a right padding.
    padded: Option<Vec<u8>>,
}

fn session(input: &[u8]) {
    let (mallory, mut bob) = (Party::new(1, 3), Party::new(2, 3));
    let bundle = bob.bundle(KemPrekeyKind::OneTime, true);
    let mut forger = Forger::new(&mallory, &bundle, Tricks::default(), TestRng::new(9));
    for operation in crate::operations::<Operation>(input, MAX_OPERATIONS) {
        match operation {
            Operation::Forge(forgery) => {
                let padded = match &forgery.padded {
                    Some(bytes) => {
                        let mut padded = bytes.clone();
                        padded.resize(padded_len(bytes.len().min(5_000)), 0);
                        padded
                    }
                    None => pad(b"forged"),
                };
                forger.kind = if forgery.without_handshake { 2 } else { 1 };
                let message = forger.message_with(&padded, |header| {
                    header.ratchet_key = forgery.ratchet_key.unwrap_or(header.ratchet_key);
                    header.previous_chain_length = forgery.previous_chain_length.unwrap_or(0);
                    header.message_number = forgery.message_number.unwrap_or(header.message_number);
                    change(&mut header.pq, &forgery.pq);
                    header.padding = u8::from(forgery.filler);
                });
                deliver(&mut bob, &mallory, &message, &padded);
            }
            Operation::Skip { count } => (0..count % 40).for_each(|_| drop(forger.message(b"lost"))),
            Operation::Honest => {
                forger.kind = 1;
                let message = forger.message(b"honest");
                deliver(&mut bob, &mallory, &message, &pad(b"honest"));
            }
            Operation::Answer => {
                let before = bob.record.encode();
                if bob.record.encrypt(b"answer", bob.now, &mut bob.rng).is_err() {
                    assert!(*bob.record.encode() == *before, "an error changes nothing");
                }
            }
            Operation::Restart => bob.restart(),
        }
    }
    bob.restart();
}

fn deliver(bob: &mut Party, mallory: &Party, message: &[u8], padded: &[u8]) {
    // A refusal that changes anything stops it in there.
    let Ok(decrypted) = bob.try_decrypt(mallory.address(), message) else { return };
    let mut right = decrypted.plaintext.to_vec();
    right.push(0x80);
    right.resize(padded_len(decrypted.plaintext.len()), 0);
    assert_eq!(right, padded, "only the one right padding opens");
    assert!(bob.record.encode().len() <= MAX_SESSION_BYTES);
}

fn change(header: &mut [u8; PQ_HEADER_LEN], places: &[(u8, u8)]) {
    for (at, with) in places {
        header[usize::from(*at) % PQ_HEADER_LEN] ^= with;
    }
}

#[derive(Arbitrary, Debug)]
enum RatchetOperation {
    Send {
        by: bool,
    },
    /// A header sent before, counted from the newest; changed or not.
    Deliver {
        nth: u8,
        changes: [(u8, u8); 2],
    },
    /// Some turns of an honest conversation, so that the agreement gets further.
    Talk {
        turns: u8,
    },
    Restart {
        who: bool,
    },
}

struct Ratchets {
    sides: [PostQuantumRatchet; 2],
    rng: TestRng,
    sent: Vec<(usize, [u8; PQ_HEADER_LEN], [u8; 32])>,
    /// No header that was changed has been taken in so far.
    honest: bool,
}

fn ratchet(input: &[u8]) {
    let sides = [PostQuantumRatchet::new_initiator(&[1; 32]), PostQuantumRatchet::new_recipient(&[1; 32])];
    let mut world = Ratchets { sides, rng: TestRng::new(4), sent: Vec::new(), honest: true };
    for operation in crate::operations::<RatchetOperation>(input, MAX_OPERATIONS) {
        match operation {
            RatchetOperation::Send { by } => world.send(by.into()),
            RatchetOperation::Deliver { nth, changes } => world.deliver(nth.into(), &changes),
            RatchetOperation::Talk { turns } => {
                for turn in 0..usize::from(turns % 24) {
                    world.send(turn % 2);
                    world.deliver(0, &[]);
                }
            }
            RatchetOperation::Restart { who } => world.restart(who.into()),
        }
    }
    world.restart(0);
    world.restart(1);
}

impl Ratchets {
    fn send(&mut self, by: usize) {
        match self.sides[by].send(&mut self.rng) {
            Ok((header, key)) => self.sent.push((by, header, *key.as_bytes())),
            Err(PqError::Failed(_)) => assert!(!self.honest && self.sides[by].failure().is_some()),
            Err(error) => panic!("{error}"),
        }
    }

    fn deliver(&mut self, nth: usize, changes: &[(u8, u8)]) {
        let Some(back) = nth.checked_rem(self.sent.len()) else { return };
        let (by, genuine, key) = self.sent[self.sent.len() - 1 - back];
        let mut header = genuine;
        change(&mut header, changes);
        let side = &mut self.sides[1 - by];
        let failed = side.failure();
        match side.open(&header) {
            Ok(step) => {
                assert!(failed.is_none());
                if self.honest && header == genuine {
                    assert_eq!(*step.key.as_bytes(), key, "both sides have the same key");
                }
                self.honest &= header == genuine;
                let before = (side.epoch(), side.sending_epoch());
                side.apply(step);
                assert!(side.failure().is_some() || (side.epoch() >= before.0 && side.sending_epoch() >= before.1));
                assert!(!self.honest || side.failure().is_none());
            }
            Err(PqError::Failed(failure)) => assert_eq!(Some(failure), failed),
            Err(_) => assert_eq!(side.failure(), failed),
        }
    }

    fn restart(&mut self, who: usize) {
        let mut bytes = Default::default();
        self.sides[who].encode(&mut bytes);
        assert!(bytes.len() <= 74_552);
        let mut reader = Reader::new(&bytes);
        self.sides[who] = PostQuantumRatchet::decode(&mut reader).expect("what was encoded");
        assert_eq!(reader.remaining(), 0);
        let mut again = Default::default();
        self.sides[who].encode(&mut again);
        assert!(*again == *bytes);
    }
}

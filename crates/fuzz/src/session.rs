//! Two honest devices and everything that can happen between them: both may begin sessions at any time, messages are lost,
//! repeated, reordered, damaged, delivered to the wrong side; devices restart, are restored from backups, their clocks move.
//!
//! What has to hold: nothing opens but what the other side encrypted, with that content, and not twice (a device restored from
//! a backup knows what it knew then). A refusal leaves the state as it was. State is bounded and survives storing. And
//! whatever came before, a fresh session brings the two together again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arbitrary::Arbitrary;
use kuvert_protocol::prelude::*;
use kuvert_protocol::session::{CONVERGENCE_WINDOW_MS, MAX_INACTIVE_SESSIONS};

use crate::support::{NOW, Party, Store};

const MAX_OPERATIONS: usize = 80;

/// Bytes of a record after so few messages: six sessions.
const MAX_RECORD_BYTES: usize = 64 * 1024;

/// A position in what was sent so far, counted from the newest.
type Nth = u8;

#[derive(Arbitrary, Debug)]
enum Operation {
    /// One side begins a session, with a fresh bundle or with the one served before.
    Begin {
        by: bool,
        last_resort: bool,
        one_time: bool,
        again: bool,
    },
    Send {
        by: bool,
        len: u16,
    },
    Deliver {
        nth: Nth,
    },
    /// The next messages in the order in which they were sent.
    DeliverAll,
    Tamper {
        nth: Nth,
        at: u16,
        flip: u8,
    },
    Cut {
        nth: Nth,
        len: u16,
    },
    /// The front of one message, the rest of another.
    Splice {
        front: Nth,
        rest: Nth,
        at: u16,
    },
    /// To its sender.
    Return {
        nth: Nth,
    },
    Restart {
        who: bool,
    },
    Backup {
        who: bool,
    },
    Restore {
        who: bool,
    },
    Wait {
        who: bool,
        minutes: u16,
    },
}

struct Sent {
    by: usize,
    bytes: Vec<u8>,
}

struct Backup {
    record: Vec<u8>,
    replay: BTreeMap<u32, Vec<u8>>,
    store: Store,
    opened: BTreeSet<usize>,
}

struct World {
    parties: [Party; 2],
    /// Numbers of the messages that each has opened.
    opened: [BTreeSet<usize>; 2],
    backups: [Option<Backup>; 2],
    served: [Option<PrekeyBundle>; 2],
    sent: Vec<Sent>,
    /// The sender of each message, and what it says.
    encrypted: HashMap<Vec<u8>, (usize, usize, Vec<u8>)>,
    delivered: usize,
}

/// Lives through the story that the input tells.
pub fn run(input: &[u8]) {
    let mut world = World {
        parties: [Party::new(1, 5), Party::new(2, 5)],
        opened: Default::default(),
        backups: Default::default(),
        served: Default::default(),
        sent: Vec::new(),
        encrypted: HashMap::new(),
        delivered: 0,
    };
    for operation in crate::operations::<Operation>(input, MAX_OPERATIONS) {
        world.step(operation);
    }
    world.heal();
}

impl World {
    fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Begin { by, last_resort, one_time, again } => {
                self.begin(by.into(), last_resort, one_time, again)
            }
            Operation::Send { by, len } => self.send(by.into(), usize::from(len) % 5_000),
            Operation::Deliver { nth } => {
                if let Some((to, bytes)) = self.message(nth) {
                    self.deliver(to, &bytes);
                }
            }
            Operation::DeliverAll => {
                while let Some(Sent { by, bytes }) = self.sent.get(self.delivered) {
                    let (to, bytes) = (1 - by, bytes.clone());
                    self.delivered += 1;
                    self.deliver(to, &bytes);
                }
            }
            Operation::Tamper { nth, at, flip } => {
                if let Some((to, mut bytes)) = self.message(nth) {
                    let at = usize::from(at) % bytes.len();
                    bytes[at] ^= flip;
                    self.deliver(to, &bytes);
                }
            }
            Operation::Cut { nth, len } => {
                if let Some((to, bytes)) = self.message(nth) {
                    self.deliver(to, &bytes[..usize::from(len) % bytes.len()]);
                }
            }
            Operation::Splice { front, rest, at } => {
                if let (Some((to, front)), Some((_, rest))) = (self.message(front), self.message(rest)) {
                    let at = usize::from(at) % front.len().min(rest.len());
                    self.deliver(to, &[&front[..at], &rest[at..]].concat());
                }
            }
            Operation::Return { nth } => {
                if let Some((to, bytes)) = self.message(nth) {
                    self.deliver(1 - to, &bytes);
                }
            }
            Operation::Restart { who } => self.parties[usize::from(who)].restart(),
            Operation::Backup { who } => {
                let (party, opened) = (&self.parties[usize::from(who)], self.opened[usize::from(who)].clone());
                let (record, replay, store) = party.state();
                self.backups[usize::from(who)] = Some(Backup { record, replay, store, opened });
            }
            Operation::Restore { who } => {
                if let Some(Backup { record, replay, store, opened }) = &self.backups[usize::from(who)] {
                    let party = &mut self.parties[usize::from(who)];
                    party.record = SessionRecord::decode(record).unwrap();
                    let replay = replay.iter().map(|(id, record)| (*id, ReplayRecord::decode(record).unwrap()));
                    party.replay = replay.collect();
                    party.store = store.clone();
                    self.opened[usize::from(who)] = opened.clone();
                }
            }
            Operation::Wait { who, minutes } => self.parties[usize::from(who)].now += u64::from(minutes) * 60_000,
        }
    }

    /// A message sent before, and its recipient.
    fn message(&self, nth: Nth) -> Option<(usize, Vec<u8>)> {
        let back = usize::from(nth).checked_rem(self.sent.len())?;
        let Sent { by, bytes } = &self.sent[self.sent.len() - 1 - back];
        Some((1 - by, bytes.clone()))
    }

    fn begin(&mut self, by: usize, last_resort: bool, one_time: bool, again: bool) {
        let kind = if last_resort { KemPrekeyKind::LastResort } else { KemPrekeyKind::OneTime };
        let other = &mut self.parties[1 - by];
        let bundle = match self.served[1 - by].take() {
            Some(bundle) if again => bundle,
            _ => other.bundle(kind, one_time),
        };
        self.served[1 - by] = Some(bundle.clone());
        let bundle = bundle.verify(other.address(), &other.account_key()).expect("a genuine bundle");
        let party = &mut self.parties[by];
        party.record.initiate(&party.local, &bundle, party.now, &mut party.rng).expect("the same device and key");
    }

    fn send(&mut self, by: usize, len: usize) {
        let number = self.sent.len();
        let mut content = number.to_be_bytes().to_vec();
        content.resize(8 + len, by as u8);
        let party = &mut self.parties[by];
        let before = party.record.encode();
        match party.record.encrypt(&content, party.now, &mut party.rng) {
            Ok(bytes) => {
                let known = self.encrypted.insert(bytes.clone(), (by, number, content));
                assert!(known.is_none(), "the same bytes twice");
                self.sent.push(Sent { by, bytes });
            }
            Err(_) => assert!(*party.record.encode() == *before, "an error changes nothing"),
        }
    }

    fn deliver(&mut self, to: usize, bytes: &[u8]) {
        let from = self.parties[1 - to].address();
        let party = &mut self.parties[to];
        // A refusal that changes anything stops it in there.
        let Ok(decrypted) = party.try_decrypt(from, bytes) else { return };
        let (by, number, content) = self.encrypted.get(bytes).expect("opened what nobody encrypted");
        assert_eq!(*by, 1 - to, "opened its own message");
        assert!(*decrypted.plaintext == *content, "altered");
        assert!(self.opened[to].insert(*number), "opened twice");
        assert!(party.record.inactive_count() <= MAX_INACTIVE_SESSIONS);
        assert!(party.record.encode().len() <= MAX_RECORD_BYTES);
    }

    /// A fresh session mends everything: what it carries arrives, and so does the answer.
    fn heal(&mut self) {
        let now = self.parties.iter().map(|party| party.now).max().unwrap_or(NOW);
        for party in &mut self.parties {
            party.now = now + CONVERGENCE_WINDOW_MS;
        }
        let [alice, bob] = &mut self.parties;
        alice.initiate(bob);
        let there = alice.encrypt(b"reset");
        assert_eq!(bob.decrypt(alice.address(), &there), b"reset");
        let back = bob.encrypt(b"answer");
        assert_eq!(alice.decrypt(bob.address(), &back), b"answer");
        alice.restart();
        bob.restart();
    }
}

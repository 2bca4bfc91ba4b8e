//! The rules of mailboxes: any row of operations on a store, closed and opened in between, and on the model in memory. Every
//! answer has to be the same. Cursors may differ, so they are compared by the envelope that they stand for.
//!
//! The fuzz target is the embedded store, in a new directory for each input. The backend on PostgreSQL runs the same inputs in its
//! tests, through [`Beside`].

use std::mem;
use std::sync::Arc;

use arbitrary::Arbitrary;
use kuvert_relay::store::memory::MemoryStore;
use kuvert_relay::store::{
    Cursor, NewAccount, NewDevice, NewEnvelope, NumberedDeviceList, Store, StoredAccessKey, StoredEnvelope, Submitted,
};
use kuvert_relay_sqlite::store::SqliteStore;
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};
use rand_core::Rng as _;

use crate::support::TestRng;

const MAX_OPERATIONS: usize = 60;

/// Mailboxes that exist are 0 and 1; 2 does not.
const MAILBOXES: u8 = 3;

#[derive(Arbitrary, Debug)]
enum Operation {
    Submit {
        mailbox: u8,
        id: u8,
        size: u8,
        large: bool,
        accepted_at: u8,
        /// 0: none; else one of three accounts.
        source: u8,
        /// 0: none; else one of two.
        key: u8,
    },
    /// 0: none; else one of two.
    SetAccessKey {
        mailbox: u8,
        key: u8,
        sealed: bool,
    },
    SetBlocked {
        mailbox: u8,
        other: u8,
        blocked: bool,
    },
    TakeFull {
        mailbox: u8,
    },
    /// Up to the envelope that was stored as the nth.
    Acknowledge {
        mailbox: u8,
        nth: u8,
    },
    Read {
        mailbox: u8,
        after: u8,
        limit: u8,
        max_bytes: u16,
    },
    Expire {
        older_than: u8,
        budget: u8,
    },
    AcknowledgeExpired {
        mailbox: u8,
        count: u8,
    },
    Checkpoint,
    Reopen,
}

/// The embedded store, in a directory of its own.
pub fn run(input: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    Beside::new(|| Arc::new(SqliteStore::open(directory.path()).unwrap())).run(input);
}

/// A store that does everything that the model does. It takes one input after the other: each has accounts of its own, which are
/// deleted at its end, and nothing of them may be left.
pub struct Beside<Open> {
    open: Open,
    store: Option<Arc<dyn Store>>,
    inputs: u64,
    reopens: usize,
}

impl<Open: FnMut() -> Arc<dyn Store>> Beside<Open> {
    /// A store that can be opened, is empty and belongs to this alone.
    pub fn new(open: Open) -> Self {
        Self { open, store: None, inputs: 0, reopens: usize::MAX }
    }

    /// Closes and opens the store so many times for an input at most, where that takes long.
    pub fn reopening(self, reopens: usize) -> Self {
        Self { reopens, ..self }
    }

    /// Does everything twice and compares.
    pub fn run(&mut self, input: &[u8]) {
        let operations = crate::operations::<Operation>(input, MAX_OPERATIONS);
        if operations.is_empty() {
            return;
        }
        self.inputs += 1;
        let store = self.store.take().unwrap_or_else(&mut self.open);
        let side = |store| Side { store, input: self.inputs, cursors: Vec::new(), reopened: false };
        let (mut ours, mut model) = (side(store), side(Arc::new(MemoryStore::new())));
        for side in [&ours, &model] {
            (0..MAILBOXES - 1).for_each(|n| side.store.register(side.account(n)).wait().unwrap());
        }
        let mut reopens = self.reopens;
        for operation in &operations {
            if matches!(operation, Operation::Reopen) && reopens > 0 {
                reopens -= 1;
                // Closed first: a directory belongs to one store.
                drop(mem::replace(&mut ours.store, Arc::new(MemoryStore::new())));
                ours.store = (self.open)();
                (ours.reopened, model.reopened) = (true, true);
            }
            assert_eq!(ours.run(operation), model.run(operation), "{operation:?}");
        }
        assert_eq!(ours.look(), model.look());
        for side in [&ours, &model] {
            (0..MAILBOXES - 1)
                .for_each(|n| assert!(side.store.delete_account(side.address(n).account).wait().unwrap()));
        }
        assert_eq!(ours.look(), model.look(), "after the accounts were deleted");
        self.store = Some(ours.store);
    }
}

/// Bytes of random inputs: a few operations, or all that are run.
const RANDOM_BYTES: std::ops::Range<usize> = 64..512;

/// Bytes of a checked-in one that are changed, at most.
const MAX_CHANGES: usize = 8;

/// So many inputs that are not checked in, the same ones each time: every second is a checked-in one with a few bytes changed, the
/// others are random.
pub fn random_inputs(count: u64) -> impl Iterator<Item = (String, Vec<u8>)> {
    let corpus = crate::corpus("mailboxes");
    (0..count).map(move |number| {
        let mut random = TestRng::new(number);
        let mut below = |end: usize| random.next_u32() as usize % end.max(1);
        let input = if number.is_multiple_of(2) {
            let (_, mut input) = corpus[below(corpus.len())].clone();
            for _ in 0..=below(MAX_CHANGES) {
                let place = below(input.len());
                let byte = below(256) as u8;
                input.get_mut(place).into_iter().for_each(|old| *old = byte);
            }
            input
        } else {
            (0..RANDOM_BYTES.start + below(RANDOM_BYTES.len())).map(|_| below(256) as u8).collect()
        };
        (format!("random {number}"), input)
    })
}

/// A store, and the cursors that it gave out, in that order.
struct Side {
    store: Arc<dyn Store>,
    /// Which input this is: it has accounts of its own.
    input: u64,
    cursors: Vec<Cursor>,
    /// Whether the other store was closed and opened.
    reopened: bool,
}

impl Side {
    fn address(&self, n: u8) -> Address {
        let mut account = [n; 16];
        account[8..].copy_from_slice(&self.input.to_be_bytes());
        Address { account: AccountId::from_bytes(account), device: DeviceId::PRIMARY }
    }

    fn account(&self, n: u8) -> NewAccount {
        NewAccount {
            account: self.address(n).account,
            account_key: AccountKey::from_bytes([n; 32]),
            device_list: NumberedDeviceList { number: 1, bytes: vec![n; 130].into() },
            name: None,
            phone: None,
            registered_at: 0,
            device: NewDevice {
                device: DeviceId::PRIMARY,
                signing_key: DeviceSigningKey::from_bytes([n; 32]),
                certificate: vec![n; 245].into(),
            },
            invitation: None,
        }
    }

    fn run(&mut self, operation: &Operation) -> String {
        let store = &self.store;
        match *operation {
            Operation::Submit { mailbox, id, size, large, accepted_at, source, key } => {
                let size = if large { usize::from(size) * 400 } else { usize::from(size) };
                let new = NewEnvelope {
                    id: EnvelopeId::from_bytes([id % 16; 16]),
                    source: (!source.is_multiple_of(4)).then(|| self.address(8 + source % 4)),
                    ciphertext: vec![id; size].into(),
                };
                let submitted =
                    store.submit_with(self.address(mailbox % MAILBOXES), new, hash(key), accepted_at.into());
                match submitted.wait() {
                    Ok(submitted) => {
                        let stored = matches!(submitted, Submitted::Stored { .. });
                        if stored {
                            self.cursors.push(submitted.cursor());
                        }
                        format!("{stored} {}", self.nth(submitted.cursor()))
                    }
                    Err(error) => format!("{error:?}"),
                }
            }
            Operation::SetAccessKey { mailbox, key, sealed } => {
                let mailbox = self.address(mailbox % MAILBOXES);
                let key = hash(key).map(|hash| StoredAccessKey { hash, sealed });
                format!(
                    "{:?} {:?}",
                    store.set_access_key(mailbox.account, key).wait(),
                    store.access_key(mailbox).wait()
                )
            }
            Operation::SetBlocked { mailbox, other, blocked } => {
                let (account, other) = (self.address(mailbox % MAILBOXES).account, self.address(8 + other % 4).account);
                format!("{:?}", store.set_blocked(account, other, blocked).wait())
            }
            // What was refused is not on the disk: after opening again the two may differ in that.
            Operation::TakeFull { mailbox } => {
                let full = store.take_full(self.address(mailbox % MAILBOXES)).wait();
                format!("{:?}", full.map(|full| full.filter(|_| !self.reopened).map(|full| full.largest)))
            }
            Operation::Acknowledge { mailbox, nth } => {
                format!("{:?}", store.acknowledge(self.address(mailbox % MAILBOXES), self.cursor(nth)).wait())
            }
            Operation::Read { mailbox, after, limit, max_bytes } => {
                self.read(mailbox, self.cursor(after), limit.into(), max_bytes.into())
            }
            Operation::Expire { older_than, budget } => {
                format!("{:?}", store.expire(older_than.into(), budget.into()).wait())
            }
            Operation::AcknowledgeExpired { mailbox, count } => {
                format!("{:?}", store.acknowledge_expired(self.address(mailbox % MAILBOXES), count.into()).wait())
            }
            Operation::Checkpoint => format!("{:?}", store.checkpoint().wait()),
            Operation::Reopen => self.look(),
        }
    }

    fn cursor(&self, nth: u8) -> Cursor {
        self.cursors.get(usize::from(nth)).copied().unwrap_or_default()
    }

    fn nth(&self, cursor: Cursor) -> usize {
        self.cursors.iter().position(|known| *known == cursor).expect("a cursor that was given out")
    }

    fn read(&self, mailbox: u8, after: Cursor, limit: usize, max_bytes: usize) -> String {
        let page = self.store.read(self.address(mailbox % MAILBOXES), after, limit, max_bytes).wait().unwrap();
        let seen = |envelope: &StoredEnvelope| {
            let StoredEnvelope { cursor, id, source, accepted_at, ciphertext } = envelope;
            format!("{} {id} {source:?} {accepted_at} {} {:?}", self.nth(*cursor), ciphertext.len(), ciphertext.first())
        };
        format!("{:?} {}", page.envelopes.iter().map(seen).collect::<Vec<_>>(), page.more)
    }

    /// Everything that can be seen.
    fn look(&self) -> String {
        let mut seen = format!("{:?}", self.store.stats().wait());
        for mailbox in 0..MAILBOXES {
            let waiting = self.store.waiting(self.address(mailbox)).wait();
            seen += &format!("\n{waiting:?} {}", self.read(mailbox, Cursor::START, usize::MAX, usize::MAX));
        }
        seen
    }
}

fn hash(key: u8) -> Option<[u8; 32]> {
    (!key.is_multiple_of(3)).then_some([key % 3; 32])
}

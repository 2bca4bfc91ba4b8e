//! The rules of mailboxes: any row of operations on the embedded store, closed and opened in between, and on the model in
//! memory. Every answer has to be the same. Cursors may differ, so they are compared by the envelope that they stand for.

use arbitrary::Arbitrary;
use kuvert_relay::store::memory::MemoryStore;
use kuvert_relay::store::{
    Cursor, NewAccount, NewDevice, NewEnvelope, NumberedDeviceList, Store, StoredAccessKey, StoredEnvelope, Submitted,
};
use kuvert_relay_sqlite::store::SqliteStore;
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};

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

/// Does everything twice and compares.
pub fn run(input: &[u8]) {
    let operations = crate::operations::<Operation>(input, MAX_OPERATIONS);
    if operations.is_empty() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let open = || -> Box<dyn Store> { Box::new(SqliteStore::open(directory.path()).unwrap()) };
    let mut ours = Side { store: open(), cursors: Vec::new(), reopened: false };
    let mut model = Side { store: Box::new(MemoryStore::new()), cursors: Vec::new(), reopened: false };
    for side in [&ours, &model] {
        (0..MAILBOXES - 1).for_each(|n| side.store.register(account(n)).wait().unwrap());
    }
    for operation in &operations {
        if matches!(operation, Operation::Reopen) {
            // Closed first: a directory belongs to one store.
            drop(std::mem::replace(&mut ours.store, Box::new(MemoryStore::new())));
            ours.store = open();
            (ours.reopened, model.reopened) = (true, true);
        }
        assert_eq!(ours.run(operation), model.run(operation), "{operation:?}");
    }
    assert_eq!(ours.look(), model.look());
}

/// A store, and the cursors that it gave out, in that order.
struct Side {
    store: Box<dyn Store>,
    cursors: Vec<Cursor>,
    /// Whether the embedded store was closed and opened.
    reopened: bool,
}

impl Side {
    fn run(&mut self, operation: &Operation) -> String {
        let store = &self.store;
        match *operation {
            Operation::Submit { mailbox, id, size, large, accepted_at, source, key } => {
                let size = if large { usize::from(size) * 400 } else { usize::from(size) };
                let new = NewEnvelope {
                    id: EnvelopeId::from_bytes([id % 16; 16]),
                    source: (!source.is_multiple_of(4)).then(|| address(8 + source % 4)),
                    ciphertext: vec![id; size].into(),
                };
                let submitted = store.submit_with(address(mailbox % MAILBOXES), new, hash(key), accepted_at.into());
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
                let mailbox = address(mailbox % MAILBOXES);
                let key = hash(key).map(|hash| StoredAccessKey { hash, sealed });
                format!(
                    "{:?} {:?}",
                    store.set_access_key(mailbox.account, key).wait(),
                    store.access_key(mailbox).wait()
                )
            }
            Operation::SetBlocked { mailbox, other, blocked } => {
                let (account, other) = (address(mailbox % MAILBOXES).account, address(8 + other % 4).account);
                format!("{:?}", store.set_blocked(account, other, blocked).wait())
            }
            // What was refused is not on the disk: after opening again the two may differ in that.
            Operation::TakeFull { mailbox } => {
                let full = store.take_full(address(mailbox % MAILBOXES)).wait();
                format!("{:?}", full.map(|full| full.filter(|_| !self.reopened).map(|full| full.largest)))
            }
            Operation::Acknowledge { mailbox, nth } => {
                format!("{:?}", store.acknowledge(address(mailbox % MAILBOXES), self.cursor(nth)).wait())
            }
            Operation::Read { mailbox, after, limit, max_bytes } => {
                self.read(mailbox, self.cursor(after), limit.into(), max_bytes.into())
            }
            Operation::Expire { older_than, budget } => {
                format!("{:?}", store.expire(older_than.into(), budget.into()).wait())
            }
            Operation::AcknowledgeExpired { mailbox, count } => {
                format!("{:?}", store.acknowledge_expired(address(mailbox % MAILBOXES), count.into()).wait())
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
        let page = self.store.read(address(mailbox % MAILBOXES), after, limit, max_bytes).wait().unwrap();
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
            let waiting = self.store.waiting(address(mailbox)).wait();
            seen += &format!("\n{waiting:?} {}", self.read(mailbox, Cursor::START, usize::MAX, usize::MAX));
        }
        seen
    }
}

fn hash(key: u8) -> Option<[u8; 32]> {
    (!key.is_multiple_of(3)).then_some([key % 3; 32])
}

fn address(n: u8) -> Address {
    Address { account: AccountId::from_bytes([n; 16]), device: DeviceId::PRIMARY }
}

fn account(n: u8) -> NewAccount {
    NewAccount {
        account: address(n).account,
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

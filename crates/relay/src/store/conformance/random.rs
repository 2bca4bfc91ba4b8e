//! Random sequences of operations, each on a backend and on the model: every answer must be the same. Cursors may differ, so
//! they are compared by which envelope they stand for.

use std::collections::HashMap;

use kuvert_types::DeviceId;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::Backend;
use super::world::*;
use crate::store::memory::MemoryStore;
use crate::store::{
    AccountBy, AccountChange, Cursor, NewPrekeys, NumberedDeviceList, Store, StoredAccessKey, Submitted,
};

const ACCOUNTS: u8 = 4;

#[derive(Clone, Debug)]
enum Op {
    Register {
        n: u8,
        name: u8,
    },
    UpdateAccount {
        n: u8,
        name: Option<u8>,
        phone: Option<bool>,
    },
    DeleteAccount {
        n: u8,
    },
    UpdateDevices {
        n: u8,
        expected: u64,
        number: u64,
        /// Whether the account's device is on the list.
        listed: bool,
    },
    Submit {
        mailbox: u8,
        id: u32,
        size: usize,
        accepted_at: u64,
        /// 0: without a name.
        from: u16,
        key: Option<bool>,
    },
    SetAccessKey {
        n: u8,
        key: Option<bool>,
    },
    SetBlocked {
        n: u8,
        from: u16,
        blocked: bool,
    },
    /// Up to the envelope stored as the `nth` one in this run.
    Acknowledge {
        mailbox: u8,
        nth: usize,
    },
    Read {
        mailbox: u8,
        after: usize,
        limit: usize,
        bytes: usize,
    },
    Expire {
        older_than: u64,
        budget: usize,
    },
    AcknowledgeExpired {
        mailbox: u8,
        count: u64,
    },
    Publish {
        n: u8,
        signed: Option<u32>,
        last_resort: Option<u32>,
        one_time: Vec<u32>,
        kem: Vec<u32>,
    },
    Take {
        n: u8,
        reserve: u64,
    },
    Checkpoint,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let n = || 1..=ACCOUNTS;
    let time = || NOW..NOW + 20_000;
    let ids = || proptest::collection::vec(0..40u32, 0..4);
    prop_oneof![
        4 => (n(), 0..4u8).prop_map(|(n, name)| Op::Register { n, name }),
        1 => (n(), any::<Option<u8>>(), any::<Option<bool>>())
            .prop_map(|(n, name, phone)| Op::UpdateAccount { n, name: name.map(|name| name % 4), phone }),
        1 => n().prop_map(|n| Op::DeleteAccount { n }),
        1 => (n(), 0..4u64, 0..4u64, any::<bool>())
            .prop_map(|(n, expected, number, listed)| Op::UpdateDevices { n, expected, number, listed }),
        // Enough that a stranger's share is full now and then.
        14 => (n(), 0..30u32, prop_oneof![4 => 1..40usize, 1 => 3_000..9_000usize, 2 => 80_000..98_304usize], time(),
            0..3u16, any::<Option<bool>>())
            .prop_map(|(mailbox, id, size, accepted_at, from, key)| {
                Op::Submit { mailbox, id, size, accepted_at, from, key }
            }),
        1 => (n(), any::<Option<bool>>()).prop_map(|(n, key)| Op::SetAccessKey { n, key }),
        1 => (n(), 0..3u16, any::<bool>()).prop_map(|(n, from, blocked)| Op::SetBlocked { n, from, blocked }),
        3 => (n(), any::<prop::sample::Index>())
            .prop_map(|(mailbox, nth)| Op::Acknowledge { mailbox, nth: nth.index(64) }),
        3 => (n(), any::<prop::sample::Index>(), 0..5usize, 0..100usize)
            .prop_map(|(mailbox, after, limit, bytes)| Op::Read { mailbox, after: after.index(64), limit, bytes }),
        2 => (time(), 0..6usize).prop_map(|(older_than, budget)| Op::Expire { older_than, budget }),
        1 => (n(), 0..4u64).prop_map(|(mailbox, count)| Op::AcknowledgeExpired { mailbox, count }),
        3 => (n(), any::<Option<u8>>(), any::<Option<u8>>(), ids(), ids()).prop_map(|(n, signed, last, one_time, kem)| {
            Op::Publish { n, signed: signed.map(u32::from), last_resort: last.map(u32::from), one_time, kem }
        }),
        3 => (n(), 0..4u64).prop_map(|(n, reserve)| Op::Take { n, reserve }),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
    ]
}

/// One store, with the cursors that it gave out in the order in which it gave them.
struct Side<'a> {
    store: &'a dyn Store,
    cursors: &'a mut Vec<Cursor>,
}

impl Side<'_> {
    fn cursor(&self, nth: usize) -> Cursor {
        self.cursors.get(nth).copied().unwrap_or_default()
    }

    fn nth(&self, cursor: Cursor) -> usize {
        self.cursors.iter().position(|known| *known == cursor).expect("a cursor that was given out")
    }

    /// Does it and describes the answer without cursors.
    fn run(&mut self, op: &Op) -> String {
        let store = self.store;
        match op.clone() {
            Op::Register { n, name } => {
                let name = format!("name{name}");
                let result = store.register(new_account(n, (name != "name0").then_some(&name))).wait();
                format!("{result:?} {:?}", store.account(AccountBy::Name(name)).wait())
            }
            Op::UpdateAccount { n, name, phone } => {
                let name = name.map(|name| (name > 0).then(|| format!("name{name}")));
                let phone = phone.map(|given| given.then(|| "+4930123456".to_owned()));
                let result = store.update_account(account(n), AccountChange { name, phone }).wait();
                format!("{result:?} {:?}", store.account(AccountBy::Id(account(n))).wait())
            }
            Op::DeleteAccount { n } => format!("{:?}", store.delete_account(account(n)).wait()),
            Op::UpdateDevices { n, expected, number, listed } => {
                let devices = if listed { vec![DeviceId::PRIMARY] } else { Vec::new() };
                let list = NumberedDeviceList { number, bytes: vec![number as u8; 9].into() };
                let result = store.update_devices(account(n), expected, list, devices, vec![]).wait();
                format!("{result:?} {:?}", store.account(AccountBy::Id(account(n))).wait())
            }
            Op::SetAccessKey { n, key } => {
                let key = key.map(|sealed| StoredAccessKey { sealed, ..KEY });
                format!("{:?} {:?}", store.set_access_key(account(n), key).wait(), store.access_key(address(n)).wait())
            }
            Op::SetBlocked { n, from, blocked } => {
                let source = envelope_from(from, 0, 0).source.unwrap();
                format!("{:?}", store.set_blocked(account(n), source.account, blocked).wait())
            }
            Op::Submit { mailbox, id, size, accepted_at, from, key } => {
                let new = if from == 0 { sealed(id, size) } else { envelope_from(from, id, size) };
                let key = key.map(|right| if right { KEY.hash } else { [1; 32] });
                let result = store.submit_with(address(mailbox), new, key, accepted_at).wait();
                let nth = result.as_ref().ok().map(|submitted| {
                    if matches!(submitted, Submitted::Stored { .. }) {
                        self.cursors.push(submitted.cursor());
                    }
                    self.nth(submitted.cursor())
                });
                let stored = result.map(|submitted| matches!(submitted, Submitted::Stored { .. }));
                format!("{stored:?} {nth:?}")
            }
            Op::Acknowledge { mailbox, nth } => {
                format!("{:?}", store.acknowledge(address(mailbox), self.cursor(nth)).wait())
            }
            Op::Read { mailbox, after, limit, bytes } => {
                let page = store.read(address(mailbox), self.cursor(after), limit, bytes).wait().unwrap();
                let envelopes: Vec<_> = page.envelopes.iter().map(|e| (self.nth(e.cursor), number(e))).collect();
                format!("{envelopes:?} {}", page.more)
            }
            Op::Expire { older_than, budget } => format!("{:?}", store.expire(older_than, budget).wait()),
            Op::AcknowledgeExpired { mailbox, count } => {
                format!("{:?}", store.acknowledge_expired(address(mailbox), count).wait())
            }
            Op::Publish { n, signed, last_resort, one_time, kem } => {
                let prekeys = NewPrekeys {
                    signed: signed.map(signed_key),
                    last_resort_kem: last_resort.map(signed_key),
                    one_time: one_time.into_iter().map(unsigned_key).collect(),
                    one_time_kem: kem.into_iter().map(signed_key).collect(),
                };
                format!("{:?}", store.publish_prekeys(address(n), prekeys).wait())
            }
            Op::Take { n, reserve } => format!("{:?}", store.take_bundle_sparing(address(n), reserve).wait()),
            Op::Checkpoint => format!("{:?}", store.checkpoint().wait()),
            Op::Reopen => String::new(),
        }
    }

    /// Everything that can be seen.
    fn look(&self) -> String {
        let mut seen = format!("{:?}", self.store.stats().wait());
        for n in 1..=ACCOUNTS {
            let page = self.store.read(address(n), Cursor::START, usize::MAX, usize::MAX).wait().unwrap();
            let envelopes: Vec<_> = page
                .envelopes
                .iter()
                .map(|e| (self.nth(e.cursor), number(e), e.accepted_at, e.ciphertext.len()))
                .collect();
            let waiting = self.store.waiting(address(n)).wait().unwrap();
            let prekeys = self.store.count_prekeys(address(n)).wait().unwrap();
            seen += &format!("\n{n}: {envelopes:?} {waiting:?} {prekeys:?}");
        }
        seen
    }
}

/// Runs the sequences.
pub fn the_model_agrees<B: Backend>() {
    let config =
        ProptestConfig { cases: 40, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() };
    let sequences = proptest::collection::vec(op(), 1..80);
    TestRunner::new(config).run(&sequences, |ops| agree::<B>(&ops)).unwrap();
}

fn agree<B: Backend>(ops: &[Op]) -> Result<(), TestCaseError> {
    let backend = B::new();
    let model = MemoryStore::new();
    let mut store = backend.open();
    let mut cursors: HashMap<&str, Vec<Cursor>> = HashMap::from([("backend", Vec::new()), ("model", Vec::new())]);
    for op in ops {
        if matches!(op, Op::Reopen) {
            drop(store);
            store = backend.open();
        }
        let [ours, theirs] = cursors.get_disjoint_mut(["backend", "model"]).map(Option::unwrap);
        let mut ours = Side { store: &*store, cursors: ours };
        let mut theirs = Side { store: &model, cursors: theirs };
        prop_assert_eq!(ours.run(op), theirs.run(op), "{:?}", op);
        let telling = matches!(
            op,
            Op::Reopen
                | Op::Expire { .. }
                | Op::Acknowledge { .. }
                | Op::DeleteAccount { .. }
                | Op::UpdateDevices { .. }
        );
        if telling {
            prop_assert_eq!(ours.look(), theirs.look(), "after {:?}", op);
        }
    }
    let [ours, theirs] = cursors.get_disjoint_mut(["backend", "model"]).map(Option::unwrap);
    let (ours, theirs) = (Side { store: &*store, cursors: ours }, Side { store: &model, cursors: theirs });
    prop_assert_eq!(ours.look(), theirs.look());
    Ok(())
}

//! Mail to some mailboxes while something happens, and the check of what clients were told against what they read.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kuvert_relay::store::{Cursor, NewEnvelope, Pending, Store, StoreError, SubmitError};
use kuvert_relay_postgres::cluster::Cluster;
use kuvert_relay_postgres::settings::Settings;
use kuvert_relay_postgres::slot::all;
use kuvert_relay_postgres::{Postgres, Role};
use kuvert_types::{AccountId, Address, DeviceId, EnvelopeId};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::common::{InProcess, account};

/// Mailboxes, and senders at once.
pub const MAILBOXES: u8 = 12;
pub const SENDERS: u64 = 24;

/// No answer may take longer than this, on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(20);

pub fn mailbox(n: u8) -> Address {
    Address { account: AccountId::from_bytes([n; 16]), device: DeviceId::PRIMARY }
}

pub fn id(number: u64) -> EnvelopeId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    EnvelopeId::from_bytes(id)
}

/// What happened, as clients saw it.
#[derive(Default)]
pub struct History {
    /// What senders were told: the cursor of each envelope.
    pub accepted: HashMap<(u8, EnvelopeId), Cursor>,
    /// What followers read, in their order.
    pub read: BTreeMap<u8, Vec<(Cursor, EnvelopeId)>>,
    /// Answers that said that it is not known.
    pub unknown: u64,
    /// Envelopes of such answers: one that was stored all the same, and acknowledged before its sender tried again, is stored again.
    pub unsure: HashSet<(u8, EnvelopeId)>,
}

impl History {
    /// Every accepted envelope was read, once, where its answer said; cursors rose; nothing was stored twice.
    pub fn check(&self) {
        for (mailbox, read) in &self.read {
            assert!(read.is_sorted_by(|a, b| a.0 < b.0), "mailbox {mailbox}: a cursor came back");
            let sure = || read.iter().map(|(_, id)| id).filter(|id| !self.unsure.contains(&(*mailbox, **id)));
            assert_eq!(
                sure().collect::<HashSet<_>>().len(),
                sure().count(),
                "mailbox {mailbox}: an envelope is there twice"
            );
        }
        for ((mailbox, id), cursor) in &self.accepted {
            let read = self.read.get(mailbox).is_some_and(|read| read.contains(&(*cursor, *id)));
            assert!(read, "mailbox {mailbox}: accepted {id:?}");
        }
        assert!(!self.accepted.is_empty());
    }
}

/// The same again until it is known.
pub async fn certain<T>(act: impl Fn() -> Pending<T, StoreError>) -> T {
    let tries = Tries::begin();
    loop {
        match act().await {
            Ok(value) => return value,
            Err(StoreError::Corrupt(words)) => panic!("{words}"),
            Err(error) => tries.again(error).await,
        }
    }
}

/// Something is tried until it succeeds: a server that is away, or that has much else to do, tells of no moment to wait for.
pub struct Tries(Instant);

impl Tries {
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// Waits for the next one, if there was patience for it.
    pub async fn again(&self, why: impl Debug) {
        assert!(self.0.elapsed() < PATIENCE, "{why:?}");
        tokio::time::sleep(AGAIN).await;
    }
}

/// Does something again until it succeeds.
pub async fn patiently<T, E: Debug>(mut act: impl AsyncFnMut() -> Result<T, E>) -> T {
    let tries = Tries::begin();
    loop {
        match act().await {
            Ok(done) => return done,
            Err(error) => tries.again(error).await,
        }
    }
}

/// How many envelopes were accepted so far.
#[derive(Debug)]
pub struct Accepted(watch::Sender<u64>);

impl Accepted {
    fn note(&self) {
        self.0.send_modify(|count| *count += 1);
    }
}

/// Senders and a follower at each mailbox, through any of the nodes, while `fault` does its worst; then the check. The fault is told
/// how many envelopes were accepted so far.
pub async fn under<F: Future<Output = ()>>(stores: &[Postgres], fault: impl FnOnce(Arc<Accepted>) -> F) -> History {
    for n in 1..=MAILBOXES {
        stores[0].register(account(n)).await.unwrap();
    }
    // Followers go on until the last sender was answered.
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let accepted = Arc::new(Accepted(watch::Sender::new(0)));
    let followers: Vec<_> = (1..=MAILBOXES)
        .map(|n| {
            let (store, done) = (stores[usize::from(n) % stores.len()].clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let (mut read, mut after) = (Vec::new(), Cursor::START);
                loop {
                    let last = done.load(Ordering::SeqCst);
                    let page = certain(|| store.read(mailbox(n), after, 7, 1 << 20)).await;
                    let waiting: HashSet<_> = page.envelopes.iter().map(|envelope| envelope.id).collect();
                    assert_eq!(waiting.len(), page.envelopes.len(), "mailbox {n}: an envelope waits twice");
                    read.extend(page.envelopes.iter().map(|envelope| (envelope.cursor, envelope.id)));
                    if let Some(envelope) = page.envelopes.last() {
                        after = envelope.cursor;
                        certain(|| store.acknowledge(mailbox(n), after)).await;
                    } else if last {
                        return (n, read);
                    }
                }
            })
        })
        .collect();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (stores, stop, accepted) = (stores.to_vec(), Arc::clone(&stop), Arc::clone(&accepted));
            tokio::spawn(async move {
                let (mut told, mut unknown, mut number) = (Vec::new(), Vec::new(), sender << 32);
                while !stop.load(Ordering::SeqCst) {
                    number += 1;
                    let to = (number % u64::from(MAILBOXES)) as u8 + 1;
                    // The same id until it is known what became of it, at whichever node.
                    let tries = Tries::begin();
                    let cursor = loop {
                        let store = &stores[(number as usize + usize::from(to)) % stores.len()];
                        let envelope = NewEnvelope { id: id(number), source: None, ciphertext: vec![7; 300].into() };
                        match store.submit(mailbox(to), envelope, 1_750_000_000_000).await {
                            Ok(submitted) => break submitted.cursor(),
                            Err(SubmitError::Store(StoreError::Unknown(_))) => unknown.push((to, id(number))),
                            Err(SubmitError::Store(StoreError::Unavailable(_))) => {}
                            Err(other) => panic!("{other}"),
                        }
                        tries.again("no service").await;
                    };
                    accepted.note();
                    told.push(((to, id(number)), cursor));
                }
                (told, unknown)
            })
        })
        .collect();
    fault(accepted).await;
    stop.store(true, Ordering::SeqCst);
    let mut history = History::default();
    for sender in senders {
        let (told, unknown) = sender.await.unwrap();
        history.accepted.extend(told);
        history.unknown += unknown.len() as u64;
        history.unsure.extend(unknown);
    }
    done.store(true, Ordering::SeqCst);
    for follower in followers {
        let (n, read) = follower.await.unwrap();
        history.read.insert(n, read);
    }
    history.check();
    history
}

/// Waits until so many more were accepted.
pub async fn progress(accepted: &Accepted, more: u64) {
    let mut count = accepted.0.subscribe();
    let wanted = *count.borrow() + more;
    let reached = timeout(PATIENCE, count.wait_for(|count| *count >= wanted)).await;
    assert!(reached.is_ok_and(|reached| reached.is_ok()), "no service");
}

pub async fn alone(settings: &Settings) -> Postgres {
    Postgres::connect(settings.clone(), Role::Alone).await.unwrap()
}

pub async fn end(stores: Vec<Postgres>) {
    tokio::task::spawn_blocking(move || drop(stores)).await.unwrap();
}

/// Two nodes that know each other.
pub async fn two(settings: &Settings) -> (Vec<Postgres>, Arc<InProcess>, [kuvert_relay_postgres::cluster::NodeId; 2]) {
    let none = kuvert_relay_postgres::cluster::NodeId::new(1).unwrap();
    let none = kuvert_relay_postgres::cluster::Node { id: none, epoch: -1 };
    let first = Postgres::connect(settings.clone(), Role::Node { node: none, lanes: 1 }).await.unwrap();
    let cluster: Cluster = first.cluster();
    let nodes = [cluster.join("a", "").await.unwrap(), cluster.join("b", "").await.unwrap()];
    cluster.take(nodes[0].id, 2, all().collect()).await.unwrap();
    drop(cluster);
    end(vec![first]).await;
    let peers = Arc::new(InProcess::default());
    let mut stores = Vec::new();
    for node in nodes {
        let store = Postgres::connect(settings.clone(), Role::Node { node, lanes: 2 }).await.unwrap();
        peers.add(node.id, &store);
        stores.push(store);
    }
    (stores, peers, nodes.map(|node| node.id))
}

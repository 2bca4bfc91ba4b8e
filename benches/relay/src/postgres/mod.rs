//! The store on PostgreSQL, without a network before it: `kuvert-bench relay --store postgres://…`. In turns with a bare client that
//! writes the same rows, in the same run, on the same servers.
//!
//! Tables are made in two schemas of the database that is named, `kuvert_bench` and `kuvert_bench_bare`, which are dropped before and
//! after. What is there beside them is left alone.

mod bare;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kuvert_relay::retention::expire_in_slices;
use kuvert_relay::store::{
    Cursor, NewEnvelope, NewPrekeys, SignedKey, Store, StoreError, Submitted, Unavailable, UnsignedKey,
};
use kuvert_relay_postgres::cluster::{Cluster, Node, NodeId};
use kuvert_relay_postgres::groups;
use kuvert_relay_postgres::link::Door;
use kuvert_relay_postgres::moves::move_slots;
use kuvert_relay_postgres::settings::Settings;
use kuvert_relay_postgres::slot::{Slot, all};
use kuvert_relay_postgres::{Answering, Peers, Postgres, Role, migrate};
use kuvert_types::{Address, EnvelopeId};
use serde::Serialize;

use self::bare::Bare;
use crate::Outcome;
use crate::device::address;
use crate::plan::Random;
use crate::storage::account;

/// The schemas that are dropped and made.
const SCHEMA: &str = "kuvert_bench";
const BARE_SCHEMA: &str = "kuvert_bench_bare";

/// Writing connections of a node.
const LANES: i16 = 2;

/// When what expires was accepted, and the rest (Unix milliseconds).
const OLD: u64 = 1_700_000_000_000;
const NEW: u64 = 1_728_000_000_000;

/// How much of everything.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Amounts {
    /// Mailboxes that are written to.
    pub mailboxes: usize,
    /// Submits under way at once.
    pub outstanding: usize,
    /// Bytes of ciphertext.
    pub body: usize,
    /// Turns of store and bare client.
    pub rounds: usize,
    /// Seconds of a turn.
    pub seconds: u64,
    /// Devices whose prekeys are taken, 100 of each kind.
    pub devices: usize,
}

impl Amounts {
    /// For figures that are published.
    pub const FULL: Self =
        Self { mailboxes: 1_000, outstanding: 1_600, body: 570, rounds: 3, seconds: 10, devices: 96 };
    /// To see that everything works.
    pub const QUICK: Self = Self { mailboxes: 50, outstanding: 64, body: 570, rounds: 1, seconds: 1, devices: 2 };
}

/// Where, and with what.
#[derive(Clone, Debug)]
pub struct Setting<'a> {
    /// The first group of servers.
    pub store: &'a str,
    /// Further ones: each group has as many of the slots as the others.
    pub groups: &'a [String],
    /// Relay nodes, in this process.
    pub nodes: usize,
    /// Of all scenarios only the first.
    pub enqueue_only: bool,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Relay nodes, in this process.
    pub nodes: usize,
    /// Groups of servers that have the mail.
    pub groups: usize,
    /// Durable submits a second, in each turn.
    pub enqueue_per_second: Vec<f64>,
    /// Those of the bare client.
    pub bare_per_second: Vec<f64>,
    /// How much of the bare client's rate the store reaches, all turns together.
    pub enqueue_of_bare: f64,
    /// Milliseconds until the answer under that load: half of them, 99 of 100.
    pub enqueue_ms: [f64; 2],
    /// Envelopes a second that were read in pages and acknowledged.
    pub drained_per_second: f64,
    /// Envelopes a second from a sender at one node to a device at another: stored, read, acknowledged.
    pub live_per_second: f64,
    /// The same: milliseconds, half of them, 99 of 100.
    pub live_ms: [f64; 2],
    /// Bundles a second.
    pub bundles_per_second: f64,
    /// One-time prekeys that were handed out a second time.
    pub prekeys_twice: u64,
    /// Envelopes a second that expired.
    pub expired_per_second: f64,
}

/// Nodes of this process, which hand each other's commands over by a call.
#[derive(Debug, Default)]
struct InProcess(Mutex<HashMap<NodeId, Postgres>>);

impl Peers for InProcess {
    fn forward(&self, node: NodeId, _: Slot, request: Bytes, answering: Answering<Bytes, StoreError>) {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned();
        match store {
            Some(store) => store.answer_peer(request, answering),
            None => answering.send(Err(Unavailable::Stopped.into())),
        }
    }
}

/// A schema of its own, without tables.
async fn empty(settings: &Settings, schema: &str) -> Outcome<Settings> {
    let door = Door::new(settings.clone())?;
    let link = door.open().await.map_err(|fault| fault.words)?;
    let sql =
        format!("SET client_min_messages = error; DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
    link.batch(&sql).await.map_err(|fault| fault.words)?;
    Ok(settings.clone().in_schema(schema))
}

/// Empty tables in a schema of their own.
async fn fresh(settings: &Settings, schema: &str) -> Outcome<Settings> {
    let settings = empty(settings, schema).await?;
    migrate(&settings).await?;
    Ok(settings)
}

/// Adds groups to a store that no relay serves yet, and gives each as many slots as the others have.
async fn spread(store: &Settings, groups: &[String], nodes: usize) -> Outcome<()> {
    for (number, address) in groups.iter().enumerate() {
        empty(&address.parse()?, SCHEMA).await?;
        let sign = if address.contains('?') { '&' } else { '?' };
        let address = format!("{address}{sign}options=-c%20search_path%3D{SCHEMA}");
        groups::add(store, &format!("bench-{number}"), &address).await?;
    }
    let known = Cluster::connect(store.clone()).await?.groups().clone();
    let all_groups = known.all().len();
    for (number, group) in known.all().iter().enumerate().skip(1) {
        // Each node and each of its connections has slots in each group.
        let part = nodes * usize::from(LANES.unsigned_abs());
        let slots = all().filter(|slot| usize::from(*slot) / part % all_groups == number).collect();
        move_slots(&known, &slots, group, &mut |_| true).await?;
    }
    Ok(())
}

async fn drop_schema(settings: &Settings, schema: &str) -> Outcome<()> {
    let link = Door::new(settings.clone())?.open().await.map_err(|fault| fault.words)?;
    let sql = format!("SET client_min_messages = error; DROP SCHEMA IF EXISTS {schema} CASCADE");
    Ok(link.batch(&sql).await.map_err(|fault| fault.words)?)
}

/// So many nodes, each with its part of the slots.
async fn start(settings: &Settings, nodes: usize) -> Outcome<(Vec<Postgres>, Arc<InProcess>)> {
    let peers = Arc::new(InProcess::default());
    let mut joined = Vec::new();
    let cluster = {
        let none = Node { id: NodeId::new(1).ok_or("no node")?, epoch: -1 };
        Postgres::connect(settings.clone(), Role::Node { node: none, lanes: 1 }).await?
    };
    for number in 0..nodes {
        joined.push(cluster.cluster().join(&format!("bench-{number}"), "").await.map_err(|fault| fault.words)?);
    }
    for (number, node) in joined.iter().enumerate() {
        let slots = all().filter(|slot| usize::from(*slot) / usize::from(LANES.unsigned_abs()) % nodes == number);
        let taken: Cluster = cluster.cluster();
        taken.take(node.id, LANES, slots.collect()).await.map_err(|fault| fault.words)?;
    }
    tokio::task::spawn_blocking(move || drop(cluster)).await?;
    let mut stores = Vec::new();
    for node in joined {
        let store = Postgres::connect(settings.clone(), Role::Node { node, lanes: LANES }).await?;
        store.set_peers(Arc::clone(&peers) as Arc<dyn Peers>);
        peers.0.lock().unwrap_or_else(PoisonError::into_inner).insert(node.id, store.clone());
        stores.push(store);
    }
    for store in &stores {
        store.renew().await?;
    }
    Ok((stores, peers))
}

/// The load's own numbers.
struct Load {
    stores: Vec<Postgres>,
    mailboxes: Vec<Address>,
    amounts: Amounts,
    body: Bytes,
    next: AtomicU64,
}

impl Load {
    /// An envelope that was never sent before, and where it goes.
    fn envelope(&self) -> (usize, NewEnvelope) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let to = number as usize % self.mailboxes.len();
        let source = self.mailboxes.get((number as usize / self.mailboxes.len()) % self.mailboxes.len()).copied();
        (to, NewEnvelope { id: EnvelopeId::from_bytes(id), source, ciphertext: self.body.clone() })
    }

    /// A node, whichever: what is another's is handed on.
    fn store(&self, number: usize) -> Outcome<&Postgres> {
        self.stores.get(number % self.stores.len()).ok_or_else(|| "there is no node".into())
    }

    fn mailbox(&self, number: usize) -> Outcome<Address> {
        self.mailboxes.get(number).copied().ok_or_else(|| "there is no mailbox".into())
    }

    async fn submit(&self, node: usize, accepted_at: u64) -> Outcome<()> {
        let (to, envelope) = self.envelope();
        match self.store(node)?.submit(self.mailbox(to)?, envelope, accepted_at).await? {
            Submitted::Stored { .. } => Ok(()),
            Submitted::AlreadyStored { .. } => Err("an envelope was there before it was sent".into()),
        }
    }
}

/// So many at once, each again and again until the time is over. Says how many a second, and how long each took.
async fn closed_loop<F, T>(outstanding: usize, time: Duration, act: F) -> Outcome<(f64, Vec<f64>)>
where
    F: Fn(usize) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = Outcome<()>> + Send,
{
    let begun = Instant::now();
    let tasks: Vec<_> = (0..outstanding)
        .map(|number| {
            let act = act.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while begun.elapsed() < time {
                    let at = Instant::now();
                    act(number).await?;
                    took.push(at.elapsed().as_secs_f64() * 1e3);
                }
                Outcome::Ok(took)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    let rate = all.len() as f64 / begun.elapsed().as_secs_f64();
    all.sort_unstable_by(f64::total_cmp);
    Ok((rate, all))
}

fn percentiles(sorted: &[f64]) -> [f64; 2] {
    [0.5, 0.99].map(|part| sorted.get((sorted.len() as f64 * part) as usize).copied().unwrap_or_default())
}

/// Does it all.
///
/// # Errors
/// The servers failed, or an answer was wrong.
pub async fn measure(setting: &Setting<'_>, amounts: Amounts, progress: &mut impl FnMut(&str)) -> Outcome<Figures> {
    let Setting { store, groups, nodes, enqueue_only } = *setting;
    let servers: Vec<Settings> =
        std::iter::once(store).chain(groups.iter().map(String::as_str)).map(str::parse).collect::<Result<_, _>>()?;
    let settings = servers.first().ok_or("there is no store")?;
    let store_settings = fresh(settings, SCHEMA).await?;
    spread(&store_settings, groups, nodes).await?;
    let mut bare_settings = Vec::new();
    for server in &servers {
        bare_settings.push(fresh(server, BARE_SCHEMA).await?);
    }
    let (stores, peers) = start(&store_settings, nodes).await?;
    let mut body = vec![0; amounts.body];
    Random::new(1, 1).fill(&mut body);
    let mailboxes: Vec<Address> = (0..amounts.mailboxes).map(|number| address(1, number)).collect();
    let load = Arc::new(Load { stores, mailboxes, amounts, body: body.into(), next: AtomicU64::new(0) });
    progress("registering");
    register(&load).await?;
    let mut bare = Vec::new();
    for settings in bare_settings {
        bare.push(Bare::start(&Door::new(settings)?, nodes * usize::from(LANES.unsigned_abs()), amounts.body).await?);
    }
    let bare = Arc::new(bare);
    let figures = Figures { nodes, groups: servers.len(), ..Figures::default() };
    let measured = scenarios(&load, &bare, figures, enqueue_only, progress).await;
    // The nodes know each other: without this they would keep each other alive.
    peers.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    drop((bare, peers));
    if let Ok(load) = Arc::try_unwrap(load) {
        tokio::task::spawn_blocking(move || drop(load.stores)).await?;
    }
    let figures = measured?;
    for server in &servers {
        drop_schema(server, SCHEMA).await?;
        drop_schema(server, BARE_SCHEMA).await?;
    }
    Ok(figures)
}

async fn register(load: &Arc<Load>) -> Outcome<()> {
    let pending: Vec<_> = load
        .mailboxes
        .iter()
        .enumerate()
        .map(|(n, to)| Ok(load.store(n)?.register(account(*to))))
        .collect::<Outcome<_>>()?;
    for registered in pending {
        registered.await?;
    }
    Ok(())
}

async fn scenarios(
    load: &Arc<Load>,
    bare: &Arc<Vec<Bare>>,
    mut figures: Figures,
    enqueue_only: bool,
    progress: &mut impl FnMut(&str),
) -> Outcome<Figures> {
    let Amounts { outstanding, rounds, seconds, .. } = load.amounts;
    let time = Duration::from_secs(seconds);
    let mut took = Vec::new();
    for round in 1..=rounds {
        progress(&format!("enqueue, turn {round} of {rounds}"));
        let shared = Arc::clone(load);
        let (rate, some) = closed_loop(outstanding, time, move |task| {
            let load = Arc::clone(&shared);
            async move { load.submit(task, NEW).await }
        })
        .await?;
        figures.enqueue_per_second.push(rate);
        took.extend(some);
        figures.drained_per_second = drain(load).await?;
        progress(&format!("the bare client, turn {round} of {rounds}"));
        let (shared, next) = (Arc::clone(bare), Arc::new(AtomicU64::new(0)));
        let mailboxes = load.mailboxes.len();
        let (rate, _) = closed_loop(outstanding, time, move |_| {
            let (bare, number) = (Arc::clone(&shared), next.fetch_add(1, Ordering::Relaxed) as usize);
            let mailbox = number % mailboxes;
            async move {
                let of = bare.get(mailbox % bare.len()).ok_or("there is no group")?;
                of.submit(mailbox / bare.len()).await
            }
        })
        .await?;
        figures.bare_per_second.push(rate);
    }
    took.sort_unstable_by(f64::total_cmp);
    figures.enqueue_ms = percentiles(&took);
    let sum = |rates: &[f64]| rates.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    figures.enqueue_of_bare = sum(&figures.enqueue_per_second) / sum(&figures.bare_per_second);
    if enqueue_only {
        return Ok(figures);
    }
    progress("live");
    (figures.live_per_second, figures.live_ms) = live(load, time).await?;
    progress("prekeys");
    (figures.bundles_per_second, figures.prekeys_twice) = prekeys(load).await?;
    progress("expiry");
    figures.expired_per_second = expiry(load, time).await?;
    Ok(figures)
}

/// Reads every mailbox in pages and acknowledges them, 16 at once.
async fn drain(load: &Arc<Load>) -> Outcome<f64> {
    let (begun, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let (load, next) = (Arc::clone(load), Arc::clone(&next));
            tokio::spawn(async move {
                let mut count = 0;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Ok(mailbox) = load.mailbox(number) else { return Outcome::Ok(count) };
                    loop {
                        let page = load.store(task)?.read(mailbox, Cursor::START, 200, 1 << 20).await?;
                        let Some(last) = page.envelopes.last() else { break };
                        count += load.store(task)?.acknowledge(mailbox, last.cursor).await?;
                    }
                }
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await??;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// Each task has a mailbox of its own: submitted at one node, read and acknowledged at the next.
async fn live(load: &Arc<Load>, time: Duration) -> Outcome<(f64, [f64; 2])> {
    let shared = Arc::clone(load);
    let tasks = 64.min(load.mailboxes.len());
    let (rate, took) = closed_loop(tasks, time, move |task| {
        let load = Arc::clone(&shared);
        async move {
            let (_, envelope) = load.envelope();
            let (mailbox, id) = (load.mailbox(task)?, envelope.id);
            load.store(task)?.submit(mailbox, envelope, NEW).await?;
            let page = load.store(task + 1)?.read(mailbox, Cursor::START, 10, 1 << 20).await?;
            let last = page.envelopes.last().filter(|last| last.id == id).ok_or("what was accepted is not there")?;
            load.store(task + 1)?.acknowledge(mailbox, last.cursor).await?;
            Ok(())
        }
    })
    .await?;
    Ok((rate, percentiles(&took)))
}

/// Eight at once take the prekeys of the same devices, until none is left.
async fn prekeys(load: &Arc<Load>) -> Outcome<(f64, u64)> {
    let devices: Vec<Address> = load.mailboxes.iter().take(load.amounts.devices).copied().collect();
    let signed = |id| SignedKey { id, public_key: vec![1; 1568].into(), signature: vec![1; 64].into() };
    for (number, device) in devices.iter().enumerate() {
        for half in [0..50, 50..100] {
            let new = NewPrekeys {
                signed: (half.start == 0).then(|| signed(1)),
                last_resort_kem: (half.start == 0).then(|| signed(1)),
                one_time: half.clone().map(|id| UnsignedKey { id, public_key: vec![1; 32].into() }).collect(),
                one_time_kem: half.map(signed).collect(),
            };
            load.store(number)?.publish_prekeys(*device, new).await?;
        }
    }
    let begun = Instant::now();
    let takers: Vec<_> = (0..8)
        .map(|taker| {
            let (load, devices) = (Arc::clone(load), devices.clone());
            tokio::spawn(async move {
                let mut taken = Vec::new();
                for (number, device) in devices.into_iter().enumerate() {
                    loop {
                        let bundle = load.store(taker)?.take_bundle(device).await?;
                        match bundle.one_time {
                            Some(key) => taken.push((number, key.id)),
                            None => break,
                        }
                    }
                }
                Outcome::Ok(taken)
            })
        })
        .collect();
    let mut taken = Vec::new();
    for taker in takers {
        taken.extend(taker.await??);
    }
    let rate = taken.len() as f64 / begun.elapsed().as_secs_f64();
    let once: HashSet<_> = taken.iter().collect();
    if once.len() != devices.len() * 100 {
        return Err(format!("{} of {} prekeys were taken", once.len(), devices.len() * 100).into());
    }
    Ok((rate, (taken.len() - once.len()) as u64))
}

/// Fills mailboxes with what is due, and lets it expire.
async fn expiry(load: &Arc<Load>, time: Duration) -> Outcome<f64> {
    let shared = Arc::clone(load);
    let outstanding = load.amounts.outstanding;
    let (_, filled) = closed_loop(outstanding, time / 2, move |task| {
        let load = Arc::clone(&shared);
        async move { load.submit(task, OLD).await }
    })
    .await?;
    let begun = Instant::now();
    let mut count = 0;
    for store in &load.stores {
        count += expire_in_slices(store, OLD + 1).await?;
    }
    if count != filled.len() as u64 {
        return Err(format!("{count} of {} envelopes expired", filled.len()).into());
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

impl Figures {
    /// As lines for people.
    pub fn text(&self) -> String {
        let rates = |rates: &[f64]| rates.iter().map(|rate| format!("{rate:.0}")).collect::<Vec<_>>().join(", ");
        format!(
            "the store on PostgreSQL through {} relay nodes, mail in {} groups, in turns with a bare client that writes the same rows\n  \
             enqueue    {} a second (bare: {}), {:.2} of it; {:.1} ms half of them, {:.1} ms 99 of 100\n  \
             drain      {:.0} envelopes a second\n  \
             live       {:.0} envelopes a second; {:.1} ms half of them, {:.1} ms 99 of 100\n  \
             prekeys    {:.0} bundles a second, {} one-time prekeys twice\n  \
             expiry     {:.0} envelopes a second\n",
            self.nodes,
            self.groups,
            rates(&self.enqueue_per_second),
            rates(&self.bare_per_second),
            self.enqueue_of_bare,
            self.enqueue_ms[0],
            self.enqueue_ms[1],
            self.drained_per_second,
            self.live_per_second,
            self.live_ms[0],
            self.live_ms[1],
            self.bundles_per_second,
            self.prekeys_twice,
            self.expired_per_second,
        )
    }
}

//! A relay that takes part: it gives signs of life, looks at who else does, takes the slots that are to be its own, and gives them up
//! when it leaves.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kuvert_relay::figures::{Figure, Figures};
use kuvert_relay::store::{Pending, StoreError};
use kuvert_relay_postgres::cluster::{self, Cluster, KnownNode, Lease, NodeId};
use kuvert_relay_postgres::outcome::Fault;
use kuvert_relay_postgres::schema::OpenError;
use kuvert_relay_postgres::settings::Settings;
use kuvert_relay_postgres::slot::{self, Slot};
use kuvert_relay_postgres::{Answering, Peers, Postgres, Role};
use kuvert_types::Address;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::judge::{self, Judge, Seen};
use crate::key::Keys;
use crate::mesh::{Frame, Listener, Mesh, MeshError, Node, Peer};
use crate::presence::{ClusterPresence, Registry, Serve};

/// Writing connections of a node.
pub const LANES: i16 = 4;

/// Nodes that gave no sign of life for this long are not connected to.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Nodes that hold nothing and gave no sign of life for this long are taken out.
const GONE: Duration = Duration::from_secs(24 * 60 * 60);

/// Who holds what is looked at this often, also if nothing seems to have changed.
const FULL_LOOK: Duration = Duration::from_secs(5);

/// What is of no use any more is cleared away this often.
const SWEEP: Duration = Duration::from_secs(60);

/// How long a node that leaves waits for others to take what it holds.
const HAND_OVER: Duration = Duration::from_secs(15);

/// How a relay takes part.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name, which no other relay of this store has. It keeps it for life.
    pub name: String,
    /// Where it listens for other nodes.
    pub listen: SocketAddr,
    /// Where other nodes reach it, host and port, where that is not the same.
    pub address: Option<String>,
    /// The cluster's keys.
    pub keys: Keys,
}

/// Why a relay cannot take part. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The links.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Taking part failed.
    #[error("cannot take part in the cluster: {0}. Is the store reached, and does its primary write?")]
    Join(String),
    /// Others could not reach it.
    #[error("cluster.listen is {0}, which other machines cannot reach: say with cluster.address where they do")]
    Address(SocketAddr),
}

/// A relay that takes part.
pub struct Member {
    store: Postgres,
    presence: ClusterPresence,
    mesh: Mesh,
    tables: Cluster,
    me: cluster::Node,
    lost: watch::Receiver<bool>,
    shares: Arc<Shares>,
    steward: Task,
}

/// What the steward saw last, for monitoring.
#[derive(Debug, Default)]
struct Shares {
    /// Slots that this node holds.
    held: AtomicU64,
    /// Slots that no node holds which is reached from here.
    away: AtomicU64,
    /// Nodes that live, this one among them.
    nodes: AtomicU64,
    /// Slots that this node took over.
    taken: AtomicU64,
}

/// A task that ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Member {
    /// Takes part: listens for other nodes, joins, opens the store, and begins to take what is to be its own.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join(settings: Settings, options: Options) -> Result<Self, JoinError> {
        let listener = Listener::bind(options.listen, &options.keys)?;
        let address = match options.address {
            Some(address) => address,
            None if listener.address().ip().is_unspecified() => return Err(JoinError::Address(listener.address())),
            None => listener.address().to_string(),
        };
        let tables = Cluster::connect(settings.clone()).await?;
        let me = tables.join(&options.name, &address).await.map_err(|fault| JoinError::Join(fault.words))?;
        let role = Role::Node { node: me, lanes: LANES };
        let store = Postgres::connect(settings, role).await?;
        let here = node(me);
        let presence = ClusterPresence::new(here, Arc::new(Table { tables: tables.clone(), me }));
        presence.set_serve(Some(Arc::new(Answers(store.clone()))));
        let mesh = listener.start(here, Arc::new(presence.clone()))?;
        presence.set_mesh(Some(mesh.clone()));
        store.set_peers(Arc::new(Links(mesh.clone())));
        let (lose, lost) = watch::channel(false);
        let shares = Arc::new(Shares::default());
        let steward = Steward {
            shares: Arc::clone(&shares),
            store: store.clone(),
            presence: presence.clone(),
            mesh: mesh.clone(),
            tables: tables.clone(),
            me,
            judge: Judge::new(here.id, Instant::now()),
            before: BTreeSet::new(),
        };
        tracing::info!(node = here.id, epoch = here.epoch, %address, "takes part in the cluster");
        let steward = Task(tokio::spawn(steward.run(lose)));
        Ok(Self { store, presence, mesh, tables, me, lost, shares, steward })
    }

    /// The store.
    pub const fn store(&self) -> &Postgres {
        &self.store
    }

    /// Presence over all nodes.
    pub const fn presence(&self) -> &ClusterPresence {
        &self.presence
    }

    /// What it counts, for monitoring.
    pub fn figures(&self) -> Arc<dyn Figures> {
        let (mesh, presence, shares) = (self.mesh.clone(), self.presence.clone(), Arc::clone(&self.shares));
        Arc::new(Counted { mesh, presence, shares })
    }

    /// The links.
    pub const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Which node this is.
    pub const fn me(&self) -> cluster::Node {
        self.me
    }

    /// Waits until this node must serve no more: others declared it dead, or it was started a second time. It is to end, and may
    /// join again as a new start.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // An error means that the steward ended, which is the same.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Waits until every slot has a holder that is reached. `false`: not in time.
    pub async fn settled(&self, patience: Duration) -> bool {
        let all_held = async {
            loop {
                let reached: BTreeSet<_> = self.mesh.reached().iter().map(|node| node.id).collect();
                let held = self.tables.leases().await.is_ok_and(|leases| {
                    leases.iter().all(|lease| {
                        lease.node.map(number).is_some_and(|id| id == number(self.me.id) || reached.contains(&id))
                    })
                });
                if held {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(patience, all_held).await.is_ok()
    }

    /// Shows and takes other keys from now on. See [`Mesh::set_keys`].
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn set_keys(&self, keys: &Keys) -> Result<(), MeshError> {
        self.mesh.set_keys(keys)
    }

    /// Gives up all slots while it still serves, and waits until others have taken them. Where there is no other node, they stay.
    pub async fn hand_over(&self) {
        if let Err(fault) = self.tables.drain(self.me.id, true).await {
            tracing::warn!(
                error = fault.words,
                "that this node leaves could not be written down; others notice it later"
            );
            return;
        }
        self.mesh.hint_all(&Frame::Look);
        let handed_over = async {
            while self.another_is_to_hold().await {
                match self.tables.leases().await {
                    Ok(leases) if leases.iter().all(|lease| lease.node != Some(self.me.id)) => return,
                    _ => sleep(Duration::from_millis(50)).await,
                }
            }
        };
        if timeout(HAND_OVER, handed_over).await.is_err() {
            tracing::warn!("other nodes did not take all slots in time; they notice that this one is gone");
        }
    }

    /// Whether there is another node that may take slots. By its signs of life: a link may be away for a moment.
    async fn another_is_to_hold(&self) -> bool {
        let lives = |known: &KnownNode| known.silent < judge::DEAD_THOUGH_REACHED && !known.draining;
        match self.tables.nodes().await {
            Ok(nodes) => {
                nodes.iter().any(|known| known.node.id != self.me.id && !known.address.is_empty() && lives(known))
            }
            // It is asked again.
            Err(_) => true,
        }
    }

    /// Ends. Others take at once what is still its own.
    pub async fn leave(mut self) {
        self.steward.0.abort();
        // The error is the abortion.
        let _ = (&mut self.steward.0).await;
        self.presence.set_serve(None);
        // Its row stays, so that it comes back with a higher epoch. One that was declared dead before changes nothing by this.
        if let Err(fault) = self.tables.declare_dead(self.me).await {
            tracing::debug!(error = fault.words, "that this node left could not be written down");
        }
        self.presence.set_mesh(None);
        self.mesh.close().await;
    }
}

/// A node, as links know it.
fn node(node: cluster::Node) -> Node {
    Node { id: number(node.id), epoch: node.epoch.unsigned_abs() }
}

fn number(id: NodeId) -> u16 {
    id.get().unsigned_abs()
}

/// Other nodes, for the store.
#[derive(Debug)]
struct Links(Mesh);

impl Peers for Links {
    fn forward(&self, node: NodeId, slot: Slot, request: Bytes, answering: Answering<Bytes, StoreError>) {
        self.0.request_for(number(node), slot, request, answering);
    }
}

/// The store, for other nodes.
#[derive(Debug)]
struct Answers(Postgres);

impl Serve for Answers {
    fn serve(&self, _slot: u16, request: Bytes) -> Pending<Bytes, StoreError> {
        self.0.serve_peer(request)
    }
}

/// The table of attached devices.
#[derive(Debug)]
struct Table {
    tables: Cluster,
    me: cluster::Node,
}

impl Table {
    fn ask<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Pending<T, StoreError> {
        let (reply, pending) = Pending::channel();
        tokio::spawn(async move {
            // An error of sending means that the answer is not waited for.
            let _ = reply.send(work.await.map_err(StoreError::from));
        });
        pending
    }
}

fn place(at: cluster::Attached) -> (Node, u64) {
    (node(at.node), at.attachment.unsigned_abs())
}

fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Registry for Table {
    fn attach(&self, device: Address, number: u64) -> Pending<Option<(Node, u64)>, StoreError> {
        let (tables, me) = (self.tables.clone(), self.me);
        self.ask(async move { Ok(tables.attach(device, me, column(number)).await?.map(place)) })
    }

    fn detach(&self, device: Address, number: u64) -> Pending<(), StoreError> {
        let (tables, me) = (self.tables.clone(), self.me);
        self.ask(async move { tables.detach(device, me, column(number)).await })
    }

    fn attached(&self, device: Address) -> Pending<Option<(Node, u64)>, StoreError> {
        let tables = self.tables.clone();
        self.ask(async move { Ok(tables.attached(device).await?.map(place)) })
    }
}

/// What a member counts.
#[derive(Debug)]
struct Counted {
    mesh: Mesh,
    presence: ClusterPresence,
    shares: Arc<Shares>,
}

impl Figures for Counted {
    fn figures(&self) -> Vec<Figure> {
        let gauge = |name, help, value| Figure { name, help, counter: false, value };
        let counter =
            |name, help, of: &AtomicU64| Figure { name, help, counter: true, value: of.load(Ordering::Relaxed) };
        let now = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let (links, shares) = (self.mesh.figures(), &self.shares);
        let reached = self.mesh.reached().len() as u64;
        vec![
            gauge("cluster_nodes", "Relays that serve this store and live, this one among them", now(&shares.nodes)),
            gauge("cluster_nodes_reached", "Other relays that this one reaches", reached),
            gauge("cluster_slots_held", "Slots of the store that this relay holds, of 4096 in all", now(&shares.held)),
            gauge("cluster_slots_away", "Slots that no relay holds which this one reaches", now(&shares.away)),
            gauge("cluster_attached", "Devices that are attached to this relay", self.presence.count() as u64),
            counter("cluster_slots_taken", "Slots that this relay took over", &shares.taken),
            counter("cluster_hints", "Wake-ups and notices that were sent to other relays", &links.hints),
            counter("cluster_hints_dropped", "The same, dropped because a link was away or full", &links.dropped),
            counter("cluster_requests", "Requests that were handed to other relays", &links.requests),
            counter("cluster_requests_unknown", "The same, lost so that their fate is not known", &links.unknown),
            counter("cluster_requests_served", "Requests of other relays that were served", &links.served),
        ]
    }
}

/// The task that looks after the slots.
struct Steward {
    shares: Arc<Shares>,
    store: Postgres,
    presence: ClusterPresence,
    mesh: Mesh,
    tables: Cluster,
    me: cluster::Node,
    judge: Judge,
    /// Who was to share the slots when that was looked at last.
    before: BTreeSet<u16>,
}

/// How a look ended.
enum Looked {
    Fine,
    /// This node is no more.
    Lost,
}

impl Steward {
    async fn run(mut self, lose: watch::Sender<bool>) {
        let mut ticks = interval(judge::PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut full, mut sweep) = (Instant::now(), Instant::now() + SWEEP);
        let mut away = false;
        loop {
            let told = tokio::select! {
                _ = ticks.tick() => false,
                () = self.presence.look() => true,
            };
            let now = Instant::now();
            match self.look(told, told || now >= full).await {
                Ok(Looked::Fine) => {
                    if away {
                        tracing::info!("the store is reached again");
                    }
                    away = false;
                }
                Ok(Looked::Lost) => {
                    tracing::error!("other nodes took this one for dead, or it was started a second time: it ends");
                    // An error means that nothing waits for it any more.
                    let _ = lose.send(true);
                    return;
                }
                Err(fault) => {
                    self.judge.blind();
                    if !away {
                        tracing::warn!(error = fault.words, "the store is not reached");
                    }
                    away = true;
                }
            }
            if now >= full {
                full = now + FULL_LOOK;
            }
            if now >= sweep {
                sweep = now + SWEEP;
                self.clear().await;
            }
        }
    }

    async fn look(&mut self, told: bool, full: bool) -> Result<Looked, Fault> {
        if !self.tables.beat(self.me).await? {
            return Ok(Looked::Lost);
        }
        let nodes = self.tables.nodes().await?;
        self.meet(&nodes);
        let reached: BTreeSet<_> = self.mesh.reached().iter().map(|node| node.id).collect();
        // Those without an address serve alone, or did.
        let seen: Vec<_> = nodes
            .iter()
            .filter(|known| !known.address.is_empty())
            .map(|known| Seen {
                id: number(known.node.id),
                silent: known.silent,
                reached: reached.contains(&number(known.node.id)),
                draining: known.draining,
            })
            .collect();
        let verdict = self.judge.look(Instant::now(), &seen);
        let living = seen.iter().filter(|node| !verdict.dead.contains(&node.id) && node.silent < FORGOTTEN).count();
        self.shares.nodes.store(living as u64, Ordering::Relaxed);
        if full || verdict.holders != self.before {
            if self.take(&nodes, &verdict).await? {
                self.mesh.hint_all(&Frame::Look);
            } else if told {
                self.renew().await;
            }
            self.before = verdict.holders;
        }
        Ok(Looked::Fine)
    }

    /// Connects to those that gave a sign of life lately.
    fn meet(&self, nodes: &[KnownNode]) {
        let lately = nodes.iter().filter(|known| known.silent < FORGOTTEN);
        self.mesh.set_peers(lately.map(|known| Peer { node: node(known.node), address: known.address.clone() }));
    }

    /// Takes what is to be this node's. Says whether something was.
    async fn take(&self, nodes: &[KnownNode], verdict: &judge::Verdict) -> Result<bool, Fault> {
        let me = number(self.me.id);
        let leases = self.tables.leases().await?;
        self.count(&leases);
        let mine: Vec<_> = leases
            .iter()
            .filter(|lease| judge::holder(lease.slot, &verdict.holders) == Some(me) && lease.node != Some(self.me.id))
            .collect();
        if mine.is_empty() {
            return Ok(false);
        }
        let from: BTreeSet<_> = mine.iter().filter_map(|lease| lease.node).collect();
        for known in nodes.iter().filter(|known| from.contains(&known.node.id)) {
            if verdict.dead.contains(&number(known.node.id)) {
                // First, so that it does not take them back, should it live.
                self.tables.declare_dead(known.node).await?;
                tracing::warn!(node = known.node.id.get(), "a node gives no sign of life: its slots are taken over");
            }
        }
        let slots: Vec<_> = mine.iter().map(|lease| lease.slot).filter(|slot| *slot < slot::SLOTS).collect();
        let taken = self.tables.take(self.me.id, LANES, slots).await?;
        self.renew().await;
        self.shares.taken.fetch_add(taken.len() as u64, Ordering::Relaxed);
        tracing::info!(slots = taken.len(), "slots were taken over");
        Ok(!taken.is_empty())
    }

    fn count(&self, leases: &[Lease]) {
        let reached: BTreeSet<_> = self.mesh.reached().iter().map(|node| node.id).collect();
        let held = leases.iter().filter(|lease| lease.node == Some(self.me.id)).count();
        let there =
            leases.iter().filter(|lease| lease.node.is_some_and(|node| reached.contains(&number(node)))).count();
        self.shares.held.store(held as u64, Ordering::Relaxed);
        self.shares.away.store((leases.len() - held - there) as u64, Ordering::Relaxed);
    }

    async fn renew(&self) {
        if let Err(error) = self.store.renew().await {
            tracing::warn!(error = error.kind(), "who holds which slot could not be read");
        }
    }

    /// What is of no use any more.
    async fn clear(&self) {
        let cleared = async {
            self.tables.sweep().await?;
            for known in self.tables.nodes().await? {
                if known.silent > GONE && !known.address.is_empty() {
                    self.tables.leave(known.node.id).await?;
                }
            }
            Ok::<_, Fault>(())
        };
        if let Err(fault) = cleared.await {
            tracing::debug!(error = fault.words, "what is of no use any more could not be cleared away");
        }
    }
}

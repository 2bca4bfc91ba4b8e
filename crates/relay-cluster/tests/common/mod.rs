//! Nodes in one process, and a store's table of attached devices in memory.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kuvert_relay::store::{Pending, StoreError, Unavailable};
use kuvert_relay_cluster::key::{ClusterKey, Keys};
use kuvert_relay_cluster::mesh::{Handler, Listener, Mesh, Node, Peer};
use kuvert_relay_cluster::presence::Registry;
use kuvert_types::{AccountId, Address, DeviceId};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn keys(byte: u8) -> Keys {
    Keys::only(key(byte))
}

pub fn key(byte: u8) -> ClusterKey {
    ClusterKey::from_bytes([byte; 32])
}

pub const fn node(id: u16) -> Node {
    Node { id, epoch: 1 }
}

pub fn device(n: u8) -> Address {
    Address { account: AccountId::from_bytes([n; 16]), device: DeviceId::PRIMARY }
}

pub fn listener(keys: &Keys) -> Listener {
    Listener::bind("127.0.0.1:0".parse().unwrap(), keys).unwrap()
}

pub fn peer(mesh: &Mesh) -> Peer {
    Peer { node: mesh.me(), address: mesh.address().unwrap().to_string() }
}

/// Starts a node.
pub fn start(me: Node, keys: &Keys, handler: Arc<dyn Handler>) -> Mesh {
    listener(keys).start(me, handler).unwrap()
}

/// Makes all nodes known to all.
pub fn introduce(meshes: &[&Mesh]) {
    for mesh in meshes {
        mesh.set_peers(meshes.iter().map(|other| peer(other)));
    }
}

/// Waits for something.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

/// Waits until each of these reaches all the others.
pub async fn linked(meshes: &[&Mesh]) {
    until("all are linked", || meshes.iter().all(|mesh| mesh.reached().len() == meshes.len() - 1)).await;
}

/// A store's table of attached devices.
#[derive(Debug, Default)]
pub struct Table {
    pub rows: Mutex<HashMap<Address, (Node, u64)>>,
    pub fails: std::sync::atomic::AtomicBool,
}

impl Table {
    pub fn of(self: &Arc<Self>, node: Node) -> Arc<dyn Registry> {
        Arc::new(OfNode { table: Arc::clone(self), node })
    }

    pub fn row(&self, device: Address) -> Option<Node> {
        self.rows.lock().unwrap().get(&device).map(|(node, _)| *node)
    }
}

#[derive(Debug)]
struct OfNode {
    table: Arc<Table>,
    node: Node,
}

impl OfNode {
    fn answer<T: Send + 'static>(
        &self,
        with: impl FnOnce(&mut HashMap<Address, (Node, u64)>) -> T,
    ) -> Pending<T, StoreError> {
        if self.table.fails.load(std::sync::atomic::Ordering::SeqCst) {
            return Pending::ready(Err(Unavailable::Io("away".into()).into()));
        }
        Pending::ready(Ok(with(&mut self.table.rows.lock().unwrap())))
    }
}

impl Registry for OfNode {
    fn attach(&self, device: Address, number: u64) -> Pending<Option<(Node, u64)>, StoreError> {
        self.answer(|rows| rows.insert(device, (self.node, number)))
    }

    fn detach(&self, device: Address, number: u64) -> Pending<(), StoreError> {
        let ours = (self.node, number);
        self.answer(|rows| {
            if rows.get(&device) == Some(&ours) {
                rows.remove(&device);
            }
        })
    }

    fn attached(&self, device: Address) -> Pending<Option<(Node, u64)>, StoreError> {
        self.answer(|rows| rows.get(&device).copied())
    }
}

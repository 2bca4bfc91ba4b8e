//! Links between nodes: who gets one, what is said on it, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{PATIENCE, device, introduce, key, keys, linked, listener, node, peer, start, until};
use kuvert_relay::store::pending::Reply;
use kuvert_relay::store::{Pending, StoreError, Unavailable};
use kuvert_relay_cluster::key::Keys;
use kuvert_relay_cluster::mesh::tls::Identity;
use kuvert_relay_cluster::mesh::{Frame, Handler, MAX_REQUESTS, MAX_STRANGERS, Mesh, Node};
use kuvert_types::{AccountId, Address};
use quinn::crypto::rustls::QuicClientConfig;
use tokio::time::timeout;

/// Writes down what it hears, and answers requests with themselves, or keeps them.
#[derive(Debug, Default)]
struct Ear {
    heard: Mutex<Vec<String>>,
    served: Mutex<Vec<Bytes>>,
    keeps: AtomicBool,
    kept: Mutex<Vec<Reply<Bytes, StoreError>>>,
    here: Mutex<Vec<(Address, u64)>>,
}

impl Ear {
    fn note(&self, what: String) {
        self.heard.lock().unwrap().push(what);
    }

    fn has(&self, what: &str) -> bool {
        self.heard.lock().unwrap().iter().any(|heard| heard == what)
    }
}

impl Handler for Ear {
    fn attached(&self, at: Node, device: Address, number: u64) {
        self.note(format!("attached {} {} {number}", at.id, device.account.as_bytes()[0]));
    }
    fn detached(&self, at: Node, device: &Address, number: u64) {
        self.note(format!("detached {} {} {number}", at.id, device.account.as_bytes()[0]));
    }
    fn mail(&self, device: &Address) {
        self.note(format!("mail {}", device.account.as_bytes()[0]));
    }
    fn displaced(&self, device: &Address, number: u64) {
        self.note(format!("displaced {} {number}", device.account.as_bytes()[0]));
    }
    fn ended(&self, account: &AccountId) {
        self.note(format!("ended {}", account.as_bytes()[0]));
    }
    fn dropped(&self, device: &Address) {
        self.note(format!("dropped {}", device.account.as_bytes()[0]));
    }
    fn look(&self) {
        self.note("look".into());
    }
    fn gone(&self, at: Node) {
        self.note(format!("gone {}", at.id));
    }
    fn serve(&self, slot: u16, request: Bytes) -> Pending<Bytes, StoreError> {
        self.served.lock().unwrap().push(request.clone());
        if self.keeps.load(Ordering::SeqCst) {
            let (reply, pending) = Pending::channel();
            self.kept.lock().unwrap().push(reply);
            return pending;
        }
        match slot {
            7 => Pending::ready(Err(Unavailable::DiskFull.into())),
            _ => Pending::ready(Ok(request)),
        }
    }
    fn here(&self) -> Vec<(Address, u64)> {
        self.here.lock().unwrap().clone()
    }
}

fn ear() -> Arc<Ear> {
    Arc::new(Ear::default())
}

async fn pair() -> ((Mesh, Arc<Ear>), (Mesh, Arc<Ear>)) {
    let (one, two) = (ear(), ear());
    let (a, b) = (start(node(1), &keys(1), one.clone()), start(node(2), &keys(1), two.clone()));
    introduce(&[&a, &b]);
    linked(&[&a, &b]).await;
    ((a, one), (b, two))
}

async fn answer(pending: Pending<Bytes, StoreError>) -> Result<Bytes, StoreError> {
    timeout(PATIENCE, pending).await.expect("no answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_is_heard_and_requests_are_served_in_their_order() {
    let ((a, _), (b, two)) = pair().await;
    for frame in [
        Frame::Mail(device(1)),
        Frame::Attached(device(2), 5),
        Frame::Detached(device(2), 5),
        Frame::Displaced(device(3), 6),
        Frame::Ended(device(4).account),
        Frame::Dropped(device(5)),
        Frame::Look,
    ] {
        a.hint(2, frame);
    }
    until("all are heard", || two.heard.lock().unwrap().len() == 7).await;
    let heard = two.heard.lock().unwrap().clone();
    let all = ["mail 1", "attached 1 2 5", "detached 1 2 5", "displaced 3 6", "ended 4", "dropped 5", "look"];
    assert_eq!(heard, all);

    let body = |n: u32| Bytes::from(n.to_be_bytes().to_vec());
    let answers: Vec<_> = (0..2_000).map(|n| a.request(2, 3, body(n))).collect();
    for (n, pending) in (0..).zip(answers) {
        assert_eq!(answer(pending).await, Ok(body(n)));
    }
    assert!((0..).zip(two.served.lock().unwrap().iter()).all(|(n, served)| *served == body(n)), "not in order");
    // Errors keep their meaning.
    assert_eq!(answer(a.request(2, 7, body(0))).await, Err(Unavailable::DiskFull.into()));
    // To itself, and to a node that is not known, nothing is sent.
    for id in [1, 3] {
        assert!(matches!(answer(a.request(id, 0, body(0))).await, Err(StoreError::Unavailable(_))), "{id}");
    }
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_reached_hears_first_what_is_attached() {
    let (one, two) = (ear(), ear());
    one.here.lock().unwrap().extend((1..=200).map(|n| (device(n), u64::from(n))));
    let (a, b) = (start(node(1), &keys(1), one.clone()), start(node(2), &keys(1), two.clone()));
    introduce(&[&a, &b]);
    until("all are heard", || two.heard.lock().unwrap().len() == 200).await;
    assert!(two.has("attached 1 200 200"));
    a.close().await;
    until("it is gone", || two.has("gone 1")).await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_the_clusters_key_gets_no_link() {
    let ((a, one), (b, _)) = pair().await;
    let before = one.heard.lock().unwrap().len();
    // A node of another cluster: neither takes the other.
    let stranger = start(node(3), &keys(9), ear());
    stranger.set_peers([peer(&a)]);
    a.set_peers([peer(&b), peer(&stranger)]);
    // A client that shows no certificate at all.
    let identity = Identity::of(&keys(1)).unwrap();
    let mut bare = identity.client().unwrap();
    bare.client_auth_cert_resolver = Arc::new(rustls::client::ResolvesServerCertUsingSni::dummy());
    let _ = bare;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stranger.reached(), []);
    assert_eq!(a.reached(), [node(2)]);
    assert_eq!(one.heard.lock().unwrap().len(), before, "not a word of a stranger's is looked at");
    for mesh in [a, b, stranger] {
        mesh.close().await;
    }
}

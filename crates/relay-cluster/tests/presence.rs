//! Presence over nodes: the checks that every presence has to pass, on one node and over two, and what becomes of it when nodes do
//! not hear each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use common::{PATIENCE, Table, device, introduce, keys, linked, node, peer, start, until};
use kuvert_relay::others::{Listener, Others};
use kuvert_relay::presence::{Attachment, Over, Presence, WakeUp, conformance};
use kuvert_relay_cluster::mesh::Mesh;
use kuvert_relay_cluster::presence::ClusterPresence;
use tokio::time::timeout;

fn start_node(id: u16, table: &Arc<Table>) -> (ClusterPresence, Mesh) {
    let presence = ClusterPresence::new(node(id), table.of(node(id)));
    let mesh = start(node(id), &keys(1), Arc::new(presence.clone()));
    presence.set_mesh(Some(mesh.clone()));
    (presence, mesh)
}

async fn pair(table: &Arc<Table>) -> ((ClusterPresence, Mesh), (ClusterPresence, Mesh)) {
    let (one, two) = (start_node(1, table), start_node(2, table));
    introduce(&[&one.1, &two.1]);
    linked(&[&one.1, &two.1]).await;
    (one, two)
}

async fn next(attachment: &Attachment) -> WakeUp {
    timeout(PATIENCE, attachment.next()).await.expect("not woken")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_alone_does_what_every_presence_does() {
    let (presence, mesh) = start_node(1, &Arc::default());
    conformance::all(&presence).await;
    until("none is attached", || presence.count() == 0).await;
    mesh.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_another_node_it_does_so_too() {
    let table = Arc::default();
    let ((one, a), (two, b)) = pair(&table).await;
    conformance::all(&one).await;
    until("the second has heard of all that ended at the first", || two.ended() == one.ended()).await;
    conformance::all(&two).await;
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_one_node_takes_wakes_a_device_at_another() {
    let table = Arc::default();
    let ((one, a), (two, b)) = pair(&table).await;
    let attachment = two.attach(device(1));
    // Whether or not the word that it is attached has come to the first node by now.
    one.notify(&device(1));
    assert_eq!(next(&attachment).await, WakeUp::Mail);
    one.notify(&device(1));
    assert_eq!(next(&attachment).await, WakeUp::Mail);
    drop(attachment);
    until("its row is gone", || table.row(device(1)).is_none()).await;
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_from_just_before_a_device_attached_elsewhere_wakes_it() {
    let table = Arc::default();
    let ((one, a), (two, b)) = pair(&table).await;
    one.notify(&device(1));
    let attachment = two.attach(device(1));
    assert_eq!(next(&attachment).await, WakeUp::Mail);
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attaching_elsewhere_displaces_and_the_store_knows_where() {
    let table = Arc::default();
    let ((one, a), (two, b)) = pair(&table).await;
    let first = one.attach(device(1));
    until("it is at the first", || table.row(device(1)) == Some(node(1))).await;
    let second = two.attach(device(1));
    assert_eq!(next(&first).await, WakeUp::Displaced);
    until("it is at the second", || table.row(device(1)) == Some(node(2))).await;
    drop(first);
    one.notify(&device(1));
    assert_eq!(next(&second).await, WakeUp::Mail);
    // And back.
    let third = one.attach(device(1));
    assert_eq!(next(&second).await, WakeUp::Displaced);
    drop((second, third));
    until("it is nowhere", || table.row(device(1)).is_none()).await;
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_ends_at_one_node_ends_at_all() {
    let table = Arc::default();
    let ((one, a), (two, b)) = pair(&table).await;
    let (mut login, mut other) = (two.enter(device(1)), two.enter(device(2)));
    let before = two.ended();
    one.end(&device(1).account);
    assert_eq!(timeout(PATIENCE, login.over()).await, Ok(Over::Account));
    // One that looked itself up before it entered looks again.
    assert_eq!(two.ended(), before + 1);
    one.end_device(&device(2));
    assert_eq!(timeout(PATIENCE, other.over()).await, Ok(Over::Device));
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_did_not_hear_each_other_ask_the_store_once_they_do() {
    let table = Arc::default();
    let ((one, a), (two, b)) = (start_node(1, &table), start_node(2, &table));
    let first = one.attach(device(1));
    until("it is at the first", || table.row(device(1)) == Some(node(1))).await;
    let second = two.attach(device(1));
    until("it is at the second", || table.row(device(1)) == Some(node(2))).await;
    introduce(&[&a, &b]);
    assert_eq!(next(&first).await, WakeUp::Displaced);
    linked(&[&a, &b]).await;
    // The one that the store has stays, also though the other node said that it has the device, too.
    one.notify(&device(1));
    assert_eq!(next(&second).await, WakeUp::Mail);
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ends_is_forgotten() {
    let table = Arc::default();
    let ((one, a), (two, b)) = pair(&table).await;
    let attachment = two.attach(device(1));
    one.notify(&device(1));
    assert_eq!(next(&attachment).await, WakeUp::Mail);
    let sent = || a.figures().hints.load(Ordering::Relaxed);
    let before = sent();
    one.notify(&device(1));
    assert_eq!(sent(), before + 1, "it goes to the node that has the device");
    b.close().await;
    until("it is not reached", || a.reached().is_empty()).await;
    // Neither sent nor dropped: it is not known to be attached anywhere any more.
    let said = || {
        let before = sent() + a.figures().dropped.load(Ordering::Relaxed);
        one.notify(&device(1));
        sent() + a.figures().dropped.load(Ordering::Relaxed) - before
    };
    until("it is forgotten", || said() == 0).await;
    a.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_for_a_while_keeps_no_device_from_attaching() {
    let table: Arc<Table> = Arc::default();
    let ((one, a), (two, b)) = pair(&table).await;
    table.fails.store(true, Ordering::SeqCst);
    let attachment = two.attach(device(1));
    one.notify(&device(1));
    assert_eq!(next(&attachment).await, WakeUp::Mail);
    assert_eq!(table.row(device(1)), None);
    table.fails.store(false, Ordering::SeqCst);
    until("it is written down", || table.row(device(1)) == Some(node(2))).await;
    a.set_peers([peer(&b)]);
    a.close().await;
    b.close().await;
}

/// Writes down what it hears of limits, and says what it was made with.
#[derive(Default)]
struct Limits {
    heard: Mutex<Vec<Bytes>>,
    summary: Vec<Bytes>,
}

impl Limits {
    fn knows(words: &'static [u8]) -> Arc<Self> {
        Arc::new(Self { summary: vec![Bytes::from_static(words)], ..Self::default() })
    }

    fn has(&self, all: &[&'static str]) -> bool {
        let heard = self.heard.lock().unwrap();
        all.iter().all(|words| heard.iter().any(|said| said == words))
    }
}

impl Listener for Limits {
    fn hear(&self, words: &[u8]) {
        self.heard.lock().unwrap().push(Bytes::copy_from_slice(words));
    }

    fn summary(&self) -> Vec<Bytes> {
        self.summary.clone()
    }
}

fn weak(limits: &Arc<Limits>) -> Weak<dyn Listener> {
    let limits: Arc<dyn Listener> = Arc::<Limits>::clone(limits);
    Arc::downgrade(&limits)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_limits_count_is_heard_by_all_also_while_a_relay_starts_and_later() {
    let table = Arc::default();
    let ((one, a), (two, b)) = pair(&table).await;
    let [first, second, third] = [&b"first"[..], b"second", b"third"].map(Limits::knows);
    // The second one starts still: what it is told is kept for it.
    one.listen(weak(&first));
    one.tell(Bytes::from_static(b"early"));
    // What is said later comes later: so this is there.
    one.notify(&device(9));
    let attachment = two.attach(device(9));
    assert_eq!(next(&attachment).await, WakeUp::Mail);
    two.listen(weak(&second));
    until("the second has heard", || second.has(&["first", "early"])).await;
    until("the first has heard", || first.has(&["second"])).await;
    two.tell(Bytes::from_static(b"more"));
    until("the first has heard more", || first.has(&["more"])).await;
    // One that is newly reached is told what there is.
    let (three, c) = start_node(3, &table);
    three.listen(weak(&third));
    introduce(&[&a, &b, &c]);
    linked(&[&a, &b, &c]).await;
    until("the third has heard both", || third.has(&["first", "second"])).await;
    until("and they have heard it", || first.has(&["third"]) && second.has(&["third"])).await;
    // A relay that has ended hears nothing, and its node goes on.
    drop(first);
    two.tell(Bytes::from_static(b"to none"));
    until("the third hears it", || third.has(&["to none"])).await;
    for mesh in [a, b, c] {
        mesh.close().await;
    }
}

//! Who may write what, and where devices are attached.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Database, OwnServer, apart, wait};
use kuvert_relay_postgres::cluster::{Attached, Cluster, Node, NodeId};
use kuvert_relay_postgres::link::Door;
use kuvert_relay_postgres::settings::Settings;
use kuvert_relay_postgres::slot::{SLOTS, all};
use kuvert_relay_postgres::{Postgres, Role};
use kuvert_types::{AccountId, Address, DeviceId};

const MAILBOX: Address = Address { account: AccountId::from_bytes([1; 16]), device: DeviceId::PRIMARY };

/// Runs with a migrated store's tables, or not at all.
fn with_cluster(check: impl AsyncFnOnce(Cluster)) {
    let Some(database) = Database::migrated() else { return };
    wait(async {
        let node = Node { id: NodeId::new(1).unwrap(), epoch: 1 };
        let store = Postgres::connect(database.settings.clone(), Role::Node { node, lanes: 2 }).await.unwrap();
        check(store.cluster()).await;
        tokio::task::spawn_blocking(move || drop(store)).await.unwrap();
    });
}

#[test]
fn a_node_comes_back_under_its_name_with_a_higher_epoch() {
    with_cluster(async |cluster| {
        let first = cluster.join("a", "10.0.0.1:1").await.unwrap();
        let other = cluster.join("b", "").await.unwrap();
        assert_ne!(first.id, other.id);
        assert!(cluster.beat(first).await.unwrap());
        let again = cluster.join("a", "10.0.0.9:1").await.unwrap();
        assert_eq!((again.id, again.epoch), (first.id, first.epoch + 1));
        assert!(!cluster.beat(first).await.unwrap(), "its earlier start is over");
        assert!(cluster.declare_dead(again).await.unwrap());
        assert!(!cluster.declare_dead(again).await.unwrap(), "once");
        assert!(!cluster.beat(again).await.unwrap());
        let known = cluster.nodes().await.unwrap();
        assert_eq!(known.iter().map(|node| &node.name[..]).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((&known[0].address[..], known[0].draining), ("10.0.0.9:1", false));
        cluster.drain(other.id, true).await.unwrap();
        assert!(cluster.nodes().await.unwrap()[1].draining);
    });
}

#[test]
fn every_slot_has_one_holder_and_changes_hands_as_asked() {
    with_cluster(async |cluster| {
        let [a, b] = [cluster.join("a", "").await.unwrap(), cluster.join("b", "").await.unwrap()];
        let held = async |node: Node| {
            let leases = cluster.leases().await.unwrap();
            assert_eq!(leases.len(), usize::from(SLOTS));
            leases.iter().filter(|lease| lease.node == Some(node.id)).count()
        };
        assert_eq!(held(a).await, 0);
        let taken = cluster.take(a.id, 2, all().collect()).await.unwrap();
        assert_eq!((taken.len(), held(a).await), (SLOTS.into(), SLOTS.into()));
        assert!(cluster.take(a.id, 2, all().collect()).await.unwrap().is_empty(), "it has them");
        let taken = cluster.take(b.id, 1, (0..100).chain([SLOTS, u16::MAX]).collect()).await.unwrap();
        assert_eq!((taken.len(), held(a).await, held(b).await), (100, usize::from(SLOTS) - 100, 100));
        assert!(!cluster.leave(b.id).await.unwrap(), "it holds some");
        cluster.give_up(b.id, all().collect()).await.unwrap();
        assert_eq!((held(a).await, held(b).await), (usize::from(SLOTS) - 100, 0), "others' are not given up");
        assert!(cluster.leave(b.id).await.unwrap());
        assert_eq!(cluster.nodes().await.unwrap().len(), 1);
    });
}

#[test]
fn a_device_is_attached_once_and_not_to_the_dead() {
    with_cluster(async |cluster| {
        let [a, b] = [cluster.join("a", "").await.unwrap(), cluster.join("b", "").await.unwrap()];
        let at = |node, attachment| Some(Attached { node, attachment });
        assert_eq!(cluster.attach(MAILBOX, a, 1).await.unwrap(), None);
        assert_eq!(cluster.attached(MAILBOX).await.unwrap(), at(a, 1));
        assert_eq!(cluster.attach(MAILBOX, b, 1).await.unwrap(), at(a, 1), "displaced");
        cluster.detach(MAILBOX, a, 1).await.unwrap();
        assert_eq!(cluster.attached(MAILBOX).await.unwrap(), at(b, 1), "the later one stays");
        assert!(cluster.declare_dead(b).await.unwrap());
        assert_eq!(cluster.attached(MAILBOX).await.unwrap(), None);
        assert!(cluster.attach(MAILBOX, b, 2).await.is_err(), "the dead attach nothing");
        assert_eq!(cluster.attach(MAILBOX, a, 2).await.unwrap(), None, "and displace nothing");
        cluster.detach(MAILBOX, a, 2).await.unwrap();
        assert_eq!(cluster.attached(MAILBOX).await.unwrap(), None);
    });
}

#[test]
fn two_that_attach_at_once_see_each_other() {
    with_cluster(async |cluster| {
        let node = cluster.join("a", "").await.unwrap();
        let attach = |n| {
            let cluster = cluster.clone();
            tokio::spawn(async move { cluster.attach(MAILBOX, node, n).await.unwrap() })
        };
        let tasks: Vec<_> = (0..20).map(attach).collect();
        let mut displaced = Vec::new();
        for task in tasks {
            displaced.extend(task.await.unwrap().map(|attached| attached.attachment));
        }
        let last = cluster.attached(MAILBOX).await.unwrap().unwrap().attachment;
        displaced.push(last);
        displaced.sort_unstable();
        assert_eq!(displaced, (0..20).collect::<Vec<_>>(), "each was displaced once, but the last");
    });
}

/// Of a group, one server stands still, and another one takes its place while a relay waits for the first.
#[test]
fn a_server_that_begins_to_take_writes_is_found_while_another_one_stands_still() {
    let Some(server) = OwnServer::start() else { return };
    wait(async {
        let by = apart(&server.settings).await;
        // Takes connections, as the kernel does for a process that stands still, and answers nothing.
        let still = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, _) = server.place();
        let address = format!("postgres://postgres@{},127.0.0.1:{port}/postgres", still.local_addr().unwrap());
        let group: Settings = address.parse().unwrap();
        let alone = Door::new(server.settings.clone()).unwrap();
        by.batch("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
        by.batch("SELECT pg_reload_conf()").await.unwrap();
        while alone.open().await.is_ok() {}
        let sessions = async || {
            let sql = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()";
            by.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)
        };
        let before = sessions().await;
        let opened = tokio::spawn(async move { Door::new(group).unwrap().open().await.map(drop) });
        // It was refused.
        while sessions().await == before {
            tokio::task::yield_now().await;
        }
        by.batch("ALTER SYSTEM RESET default_transaction_read_only").await.unwrap();
        by.batch("SELECT pg_reload_conf()").await.unwrap();
        assert!(opened.await.unwrap().is_ok(), "it was not asked again");
    });
}

//! Relays that take part in a cluster on one PostgreSQL: they share the slots, and each leaves and dies without taking any along. On the
//! server that `KUVERT_POSTGRES` names; without, each test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "../../relay-postgres/tests/common/mod.rs"]
mod database;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{PATIENCE, device, key, keys, until};
use database::Database;
use kuvert_relay::presence::{Presence, WakeUp};
use kuvert_relay_cluster::member::{Member, Options};
use kuvert_relay_postgres::cluster::Cluster;
use kuvert_relay_postgres::slot::SLOTS;
use tokio::time::{sleep, timeout};

/// Runs with a migrated store's tables, or not at all.
fn with_store(check: impl AsyncFnOnce(&Database, Cluster)) {
    let Some(database) = Database::migrated() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tables = Cluster::connect(database.settings.clone()).await.unwrap();
        check(&database, tables).await;
    });
}

async fn join(database: &Database, name: &str) -> Member {
    let options = Options { name: name.into(), listen: "127.0.0.1:0".parse().unwrap(), address: None, keys: keys(1) };
    // A busy server may not answer in time: an operator's init system tries again, too.
    let joined = timeout(PATIENCE, async {
        loop {
            match Member::join(database.settings.clone(), options.clone()).await {
                Ok(member) => return member,
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    });
    joined.await.expect("it cannot join")
}

/// How many slots each node holds; 0: none holds them.
async fn shares(tables: &Cluster) -> BTreeMap<i16, usize> {
    let mut shares = BTreeMap::new();
    for lease in tables.leases().await.unwrap() {
        *shares.entry(lease.node.map_or(0, |node| node.get())).or_default() += 1;
    }
    shares
}

/// Waits until exactly these hold all slots, about evenly.
async fn shared(tables: &Cluster, members: &[&Member]) {
    let mut ids: Vec<_> = members.iter().map(|member| member.me().id.get()).collect();
    ids.sort_unstable();
    let fair = usize::from(SLOTS) / ids.len();
    let waited = timeout(PATIENCE, async {
        loop {
            let shares = shares(tables).await;
            let even = shares.values().all(|share| (fair * 8 / 10..=fair * 12 / 10).contains(share));
            if shares.keys().eq(ids.iter()) && even {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:?} instead of {ids:?}", shares(tables).await);
}

/// Ends one as a crash does: without a word.
async fn crash(member: Member) {
    member.mesh().close().await;
    drop(member);
}

#[test]
fn nodes_share_the_slots_and_come_and_leave_without_the_others_noticing_more() {
    with_store(async |database, tables| {
        let a = join(database, "a").await;
        shared(&tables, &[&a]).await;
        let b = join(database, "b").await;
        shared(&tables, &[&a, &b]).await;
        let before: Vec<_> = tables.leases().await.unwrap();
        let c = join(database, "c").await;
        shared(&tables, &[&a, &b, &c]).await;
        assert!(c.settled(PATIENCE).await);
        // Only what the third was to have has moved.
        for (lease, before) in tables.leases().await.unwrap().iter().zip(&before) {
            assert!(lease.node == before.node || lease.node == Some(c.me().id), "{}", lease.slot);
        }
        a.hand_over().await;
        assert!(!shares(&tables).await.contains_key(&a.me().id.get()), "it still holds some");
        shared(&tables, &[&b, &c]).await;
        a.leave().await;
        // It comes back as the same node, and as a later start of it.
        let again = join(database, "a").await;
        assert_eq!(again.me().id.get(), 1);
        shared(&tables, &[&again, &b, &c]).await;
        for member in [again, b, c] {
            member.leave().await;
        }
    });
}

#[test]
fn what_a_node_held_that_died_is_taken_over_and_it_is_lost_if_it_lives_after_all() {
    with_store(async |database, tables| {
        let (a, b) = (join(database, "a").await, join(database, "b").await);
        shared(&tables, &[&a, &b]).await;
        // As if it were stopped: no signs of life, no link.
        let dead = b.me();
        b.mesh().close().await;
        tables.declare_dead(dead).await.unwrap();
        assert!(timeout(PATIENCE, b.lost()).await.is_ok(), "it goes on");
        shared(&tables, &[&a]).await;
        // Under its name it is the same node again.
        let again = join(database, "b").await;
        assert_eq!(again.me().id, dead.id);
        assert!(again.me().epoch > dead.epoch);
        shared(&tables, &[&a, &again]).await;
        let second = join(database, "b").await;
        assert!(timeout(PATIENCE, again.lost()).await.is_ok(), "two of one name");
        shared(&tables, &[&a, &second]).await;
        crash(second).await;
        shared(&tables, &[&a]).await;
        a.leave().await;
    });
}

#[test]
fn devices_are_woken_and_displaced_over_nodes_and_the_store_knows_where_they_are() {
    with_store(async |database, tables| {
        let (a, b) = (join(database, "a").await, join(database, "b").await);
        until("they are linked", || a.mesh().reached().len() == 1 && b.mesh().reached().len() == 1).await;
        let first = a.presence().attach(device(1));
        until_attached(&tables, Some(a.me().id.get())).await;
        b.presence().notify(&device(1));
        assert_eq!(timeout(PATIENCE, first.next()).await, Ok(WakeUp::Mail));
        let second = b.presence().attach(device(1));
        assert_eq!(timeout(PATIENCE, first.next()).await, Ok(WakeUp::Displaced));
        drop(first);
        until_attached(&tables, Some(b.me().id.get())).await;
        drop(second);
        until_attached(&tables, None).await;
        // The key is replaced.
        for keys in [keys(1).and(key(2)), kuvert_relay_cluster::key::Keys::only(key(2)).and(key(1))] {
            a.set_keys(&keys).unwrap();
            b.set_keys(&keys).unwrap();
        }
        until("they are linked again", || a.mesh().reached().len() == 1 && b.mesh().reached().len() == 1).await;
        a.leave().await;
        b.leave().await;
    });
}

#[test]
fn rules_and_dashboard_ask_for_what_a_relay_counts() {
    with_store(async |database, _| {
        let member = join(database, "a").await;
        let figures = member.figures().figures();
        let counted: Vec<_> = figures
            .iter()
            .map(|figure| format!("kuvert_relay_{}{}", figure.name, if figure.counter { "_total" } else { "" }))
            .collect();
        let packaging = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
        for (file, most) in [("prometheus/cluster-alerts.yml", 4), ("grafana/kuvert-cluster.json", 8)] {
            let text = std::fs::read_to_string(packaging.join(file)).unwrap();
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let asked: Vec<_> = words.filter(|word| word.starts_with("kuvert_relay_")).collect();
            assert!(asked.len() >= most, "{file}");
            for word in asked {
                assert!(counted.iter().any(|name| name == word), "{file}: {word} is not in {counted:?}");
            }
        }
        member.leave().await;
    });
}

async fn until_attached(tables: &Cluster, at: Option<i16>) {
    let waited = timeout(PATIENCE, async {
        while tables.attached(device(1)).await.unwrap().map(|attached| attached.node.id.get()) != at {
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "not attached at {at:?}");
}

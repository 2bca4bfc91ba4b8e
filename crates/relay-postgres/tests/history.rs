//! What clients were told, against what is there: under connections that break, servers that crash, and slots that change hands.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/mail.rs"]
mod mail;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Database, OwnServer, account, wait};
use kuvert_relay::store::{
    Cursor, NewEnvelope, NewPrekeys, SignedKey, Store, SubmitError, TakeBundleError, UnsignedKey,
};
use kuvert_relay_postgres::slot::all;
use kuvert_relay_postgres::{Postgres, migrate};
use mail::{PATIENCE, alone, end, id, mailbox, progress, two, under};

#[test]
fn connections_that_break_lose_nothing_and_store_nothing_twice() {
    let Some(database) = Database::migrated() else { return };
    wait(async {
        let stores = vec![alone(&database.settings).await];
        let by = database.apart().await;
        let mut broken = 0;
        under(&stores, async |accepted| {
            for _ in 0..30 {
                progress(&accepted, 40).await;
                broken += database.end_connections(&by).await;
            }
            progress(&accepted, 40).await;
        })
        .await;
        assert!(broken >= 30, "{broken} connections broke");
        end(stores).await;
    });
}

#[test]
fn a_server_that_crashes_keeps_what_was_accepted() {
    let Some(server) = OwnServer::start() else { return };
    wait(async {
        migrate(&server.settings).await.unwrap();
        let stores = vec![alone(&server.settings).await];
        let server = Arc::new(server);
        under(&stores, async |accepted| {
            for _ in 0..4 {
                progress(&accepted, 100).await;
                let server = Arc::clone(&server);
                tokio::task::spawn_blocking(move || server.crash()).await.unwrap();
            }
            progress(&accepted, 100).await;
        })
        .await;
        end(stores).await;
    });
}

#[test]
fn keys_are_written_anew_while_mail_flows() {
    let Some(database) = Database::migrated() else { return };
    wait(async {
        let stores = vec![alone(&database.settings).await];
        let by = database.apart().await;
        let mut files = HashSet::new();
        under(&stores, async |accepted| {
            for _ in 0..8 {
                progress(&accepted, 60).await;
                stores[0].checkpoint().await.unwrap();
                let file = "SELECT pg_relation_filepath('envelope_key'), count(*) FROM envelope_key GROUP BY 1";
                let row = by.query_opt(file, &[]).await.unwrap();
                files.extend(row.map(|row| row.get::<_, String>(0)));
            }
        })
        .await;
        assert!(files.len() > 1, "followers delete all the time: {files:?}");
        end(stores).await;
    });
}

#[test]
fn what_is_deleted_leaves_the_tables_and_what_is_pretended_never_stays() {
    let Some(database) = Database::migrated() else { return };
    wait(async {
        const DAY: u64 = 86_400_000;
        let store = alone(&database.settings).await;
        let by = database.apart().await;
        let count = async |sql: &'static str| by.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
        let parts = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'envelope'::regclass";
        let rows = "SELECT (SELECT count(*) FROM envelope) + (SELECT count(*) FROM envelope_key)";
        store.register(account(1)).await.unwrap();
        store.set_blocked(mailbox(1).account, mailbox(2).account, true).await.unwrap();
        let envelope = |n| NewEnvelope { id: id(n), source: None, ciphertext: vec![7; 300].into() };
        for day in [20_000, 20_001, 20_002] {
            store.submit(mailbox(1), envelope(day), day * DAY + 5).await.unwrap();
        }
        assert_eq!(count(parts).await, 4, "one for each day, and the rest");
        // A repetition and a blocked sender's are written like others, and are no mail.
        store.submit(mailbox(1), envelope(20_000), 20_002 * DAY).await.unwrap();
        let blocked = NewEnvelope { source: Some(mailbox(2)), ..envelope(9) };
        assert_eq!(store.submit(mailbox(1), blocked, 20_002 * DAY).await, Err(SubmitError::Blocked));
        assert_eq!(count(rows).await, 2 * 5);
        assert_eq!(store.stats().await.unwrap().waiting, 3);
        store.checkpoint().await.unwrap();
        assert_eq!(count(rows).await, 2 * 3);
        assert_eq!(store.expire(20_001 * DAY, 9).await, Ok(1));
        assert_eq!(store.expire(20_002 * DAY, 9).await, Ok(1));
        assert_eq!(count(parts).await, 2, "the days that are over are gone, with their files");
        assert_eq!(store.waiting(mailbox(1)).await.unwrap().expired, 2);
        assert_eq!(store.acknowledge(mailbox(1), Cursor::new(u64::MAX)).await, Ok(1));
        assert_eq!(count(rows).await, 0);
        // A day that was dropped is made again.
        store.submit(mailbox(1), envelope(1), 20_000 * DAY).await.unwrap();
        assert_eq!(count(parts).await, 3);
        end(vec![store]).await;
    });
}

/// What a node drew before it took a slot may lie below what the other one gave out since.
#[test]
fn taking_ends_the_epochs_of_both_sides() {
    let Some(database) = Database::migrated() else { return };
    wait(async {
        let (stores, peers, nodes) = two(&database.settings).await;
        let by = database.apart().await;
        let epochs = async || -> BTreeMap<i16, i64> {
            let rows = by.query("SELECT id, epoch FROM writer WHERE id > 0", &[]).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        };
        // Both have written, and have lanes that know an epoch.
        for turn in [1, 0, 1] {
            stores[turn].cluster().take(nodes[turn], 2, all().collect()).await.unwrap();
            for store in &stores {
                store.renew().await.unwrap();
            }
        }
        let before = epochs().await;
        stores[0].cluster().take(nodes[0], 2, all().collect()).await.unwrap();
        let after = epochs().await;
        for lane in [0, 1] {
            for node in nodes {
                let writer = node.writer(lane);
                assert!(after[&writer] > before[&writer], "writer {writer}");
            }
        }
        nodes.iter().for_each(|node| peers.remove(*node));
        end(stores).await;
    });
}

#[test]
fn slots_change_hands_while_mail_flows() {
    let Some(database) = Database::migrated() else { return };
    wait(async {
        let (stores, peers, nodes) = two(&database.settings).await;
        under(&stores, async |accepted| {
            for turn in 0..12 {
                progress(&accepted, 60).await;
                // Half of them, to the one that does not hold them all; now and then without telling.
                let to = (turn + 1) % 2;
                let slots = all().filter(|slot| turn % 3 == 0 || slot % 3 == turn as u16 % 3).collect();
                stores[to].cluster().take(nodes[to], 2, slots).await.unwrap();
                stores[to].renew().await.unwrap();
                if turn % 2 == 0 {
                    stores[1 - to].renew().await.unwrap();
                }
            }
            progress(&accepted, 60).await;
        })
        .await;
        nodes.iter().for_each(|node| peers.remove(*node));
        end(stores).await;
    });
}

/// A submit whose commit waits for a standby that there is not.
struct Waiting {
    /// Its number; the ones before, from 2 on, were answered.
    number: u64,
    answered: Arc<AtomicBool>,
    answer: tokio::task::JoinHandle<Result<kuvert_relay::store::Submitted, SubmitError>>,
}

impl Waiting {
    /// From now on commits wait; submits until one does.
    async fn begin(store: &Postgres, by: &kuvert_relay_postgres::link::Link) -> Self {
        by.batch("ALTER SYSTEM SET synchronous_standby_names = 'none'").await.unwrap();
        by.batch("SELECT pg_reload_conf()").await.unwrap();
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        let (begun, mut number) = (Instant::now(), 1);
        // The server takes a moment until it knows.
        loop {
            number += 1;
            let (told, coming) = (Arc::new(AtomicBool::new(false)), store.submit(mailbox(1), numbered(number), 1));
            let answered = Arc::clone(&told);
            let answer = tokio::spawn(async move {
                let answer = coming.await;
                told.store(true, Ordering::SeqCst);
                answer
            });
            while !answered.load(Ordering::SeqCst) && by.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
                assert!(begun.elapsed() < PATIENCE);
            }
            if !answered.load(Ordering::SeqCst) {
                return Self { number, answered, answer };
            }
        }
    }

    /// Commits wait no more.
    async fn end(by: &kuvert_relay_postgres::link::Link) {
        by.batch("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
        by.batch("SELECT pg_reload_conf()").await.unwrap();
    }
}

fn numbered(n: u64) -> NewEnvelope {
    NewEnvelope { id: id(n), source: None, ciphertext: vec![7; 300].into() }
}

#[test]
fn a_commit_that_one_machine_alone_has_is_not_answered_with_accepted() {
    let Some(server) = OwnServer::start() else { return };
    wait(async {
        migrate(&server.settings).await.unwrap();
        let store = alone(&server.settings).await;
        store.register(account(1)).await.unwrap();
        let by = common::apart(&server.settings).await;
        let first = store.submit(mailbox(1), numbered(1), 1).await.unwrap().cursor();
        let Waiting { number, answered, answer } = Waiting::begin(&store, &by).await;
        // Its wait is cancelled, three times: the server answers with success and a warning, and the row is there to be read.
        let (begun, mut cancelled) = (Instant::now(), 0);
        while cancelled < 3 {
            let sql = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            cancelled += by.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let rows = "SELECT count(*) FROM envelope_key WHERE mailbox > 0";
        let stored = i64::try_from(number).unwrap();
        assert_eq!(by.query_one(rows, &[]).await.unwrap().get::<_, i64>(0), stored, "a ghost is there");
        assert!(!answered.load(Ordering::SeqCst), "and nothing was promised");
        Waiting::end(&by).await;
        let second = answer.await.unwrap().unwrap().cursor();
        assert!(second > first);
        assert_eq!(by.query_one(rows, &[]).await.unwrap().get::<_, i64>(0), stored, "retried to the same row");
        let third = store.submit(mailbox(1), numbered(number + 1), 1).await.unwrap().cursor();
        assert!(third > second, "what comes after the ghost comes after it in the mailbox, too");
        end(vec![store]).await;
    });
}

/// A device reads what was committed, and acknowledges it, before the sender's relay knows that it was.
#[test]
fn what_is_acknowledged_before_its_relay_knows_that_it_is_stored_is_not_stored_again() {
    let Some(server) = OwnServer::start() else { return };
    wait(async {
        migrate(&server.settings).await.unwrap();
        let store = alone(&server.settings).await;
        store.register(account(1)).await.unwrap();
        let by = common::apart(&server.settings).await;
        store.submit(mailbox(1), numbered(1), 1).await.unwrap();
        let waiting = Waiting::begin(&store, &by).await;
        // Behind it in the queue.
        let acknowledged = store.acknowledge(mailbox(1), Cursor::new(u64::MAX));
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        assert_eq!(
            by.query_one(sql, &[]).await.unwrap().get::<_, i64>(0),
            1,
            "the connection breaks, the row is there"
        );
        let last = "SELECT max(cursor) FROM envelope_key WHERE mailbox > 0";
        let (begun, mut at) = (Instant::now(), 0);
        while at == 0 {
            assert!(begun.elapsed() < PATIENCE);
            let tag = by.query_one("SELECT count(*) FROM envelope_key WHERE mailbox > 0", &[]).await.unwrap();
            if tag.get::<_, i64>(0) == i64::try_from(waiting.number).unwrap() {
                at = by.query_one(last, &[]).await.unwrap().get(0);
            }
        }
        Waiting::end(&by).await;
        let cursor = waiting.answer.await.unwrap().unwrap().cursor();
        assert_eq!(i64::try_from(cursor.get()).unwrap(), at, "where it was stored first");
        assert_eq!(acknowledged.await, Ok(waiting.number), "with those before");
        let page = store.read(mailbox(1), Cursor::START, 9, 1 << 20).await.unwrap();
        assert!(page.envelopes.is_empty(), "it was stored again");
        end(vec![store]).await;
    });
}

/// A take: when it began and ended, and the one-time prekey that it gave, if any.
struct Take {
    began: u64,
    ended: u64,
    key: Option<u32>,
}

#[test]
fn prekey_takes_are_linearizable() {
    const PUBLISHED: u32 = 240;
    let Some(database) = Database::migrated() else { return };
    wait(async {
        let store = alone(&database.settings).await;
        store.register(account(1)).await.unwrap();
        let signed = |id| SignedKey { id, public_key: vec![1; 40].into(), signature: vec![1; 64].into() };
        let kept = NewPrekeys { signed: Some(signed(1)), last_resort_kem: Some(signed(1)), ..NewPrekeys::default() };
        store.publish_prekeys(mailbox(1), kept).await.unwrap();
        // Moments are numbers that only rise.
        let clock = Arc::new(AtomicU64::new(0));
        let done = Arc::new(AtomicBool::new(false));
        let takers: Vec<_> = (0..8)
            .map(|_| {
                let (store, clock, done) = (store.clone(), Arc::clone(&clock), Arc::clone(&done));
                tokio::spawn(async move {
                    let mut takes = Vec::new();
                    loop {
                        let last = done.load(Ordering::SeqCst);
                        let began = clock.fetch_add(1, Ordering::SeqCst);
                        let bundle = store.take_bundle(mailbox(1)).await.unwrap();
                        let ended = clock.fetch_add(1, Ordering::SeqCst);
                        let key = bundle.one_time.map(|key| key.id);
                        takes.push(Take { began, ended, key });
                        if last && key.is_none() {
                            return takes;
                        }
                    }
                })
            })
            .collect();
        // A few at a time, so that there often is none.
        let mut published = HashMap::new();
        for first in (0..PUBLISHED).step_by(4) {
            let ids = first..first + 4;
            let keys = ids.clone().map(|id| UnsignedKey { id, public_key: vec![2; 32].into() }).collect();
            store.publish_prekeys(mailbox(1), NewPrekeys { one_time: keys, ..NewPrekeys::default() }).await.unwrap();
            let at = clock.fetch_add(1, Ordering::SeqCst);
            published.extend(ids.map(|id| (id, at)));
        }
        done.store(true, Ordering::SeqCst);
        let mut takes = Vec::new();
        for taker in takers {
            takes.extend(taker.await.unwrap());
        }
        let mut taken = HashMap::new();
        for take in &takes {
            if let Some(key) = take.key {
                assert!(taken.insert(key, take.began).is_none(), "{key} was handed out twice");
            }
        }
        assert_eq!(taken.len(), PUBLISHED as usize, "each was handed out");
        // "None" is right if at some moment of the take there was none: so no key may have been there before it began that was
        // taken only by a take that began after it had ended.
        for none in takes.iter().filter(|take| take.key.is_none()) {
            let wrong = taken.iter().find(|(key, began)| published[*key] < none.began && **began > none.ended);
            assert_eq!(wrong, None, "\"none\" while there was one");
        }
        end(vec![store]).await;
    });
}

#[test]
fn prekeys_are_handed_out_once_while_connections_break() {
    let Some(database) = Database::migrated() else { return };
    wait(async {
        let store = alone(&database.settings).await;
        store.register(account(1)).await.unwrap();
        let by = database.apart().await;
        let signed = |id| SignedKey { id, public_key: vec![1; 40].into(), signature: vec![1; 64].into() };
        let mut new = NewPrekeys { signed: Some(signed(1)), last_resort_kem: Some(signed(1)), ..NewPrekeys::default() };
        new.one_time = (0..100).map(|id| UnsignedKey { id, public_key: vec![2; 32].into() }).collect();
        store.publish_prekeys(mailbox(1), new).await.unwrap();
        let takers: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut taken = Vec::new();
                    for _ in 0..20 {
                        match store.take_bundle(mailbox(1)).await {
                            Ok(bundle) => taken.extend(bundle.one_time.map(|key| key.id)),
                            Err(TakeBundleError::Store(_)) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                    taken
                })
            })
            .collect();
        for _ in 0..10 {
            database.end_connections(&by).await;
            tokio::task::yield_now().await;
        }
        let mut all = Vec::new();
        for taker in takers {
            all.extend(taker.await.unwrap());
        }
        let once: HashSet<_> = all.iter().collect();
        assert_eq!(once.len(), all.len());
        let again = NewPrekeys {
            one_time: vec![UnsignedKey { id: 99, public_key: vec![3; 32].into() }],
            ..NewPrekeys::default()
        };
        assert!(certain_refusal(&store, again).await, "ids never come back");
        end(vec![store]).await;
    });
}

/// Whether publishing is refused for its ids.
async fn certain_refusal(store: &Postgres, new: NewPrekeys) -> bool {
    use kuvert_relay::store::PublishPrekeysError;
    let begun = Instant::now();
    loop {
        match store.publish_prekeys(mailbox(1), new.clone()).await {
            Err(PublishPrekeysError::Reused { .. }) => return true,
            Err(PublishPrekeysError::Store(_)) => assert!(begun.elapsed() < PATIENCE, "no service"),
            _ => return false,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

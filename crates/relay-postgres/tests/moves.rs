//! Slots that go to another group of servers while mail flows, movers that end at every step, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/mail.rs"]
mod mail;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use common::{Database, OwnServer, account, wait};
use kuvert_relay::admin::Admin;
use kuvert_relay::data_rights::DataRights;
use kuvert_relay::store::{
    Cursor, NewEnvelope, NewPrekeys, NumberedDeviceList, SignedKey, Store, StoredAccessKey, SubmitError, UnsignedKey,
};
use kuvert_relay_postgres::cluster::Cluster;
use kuvert_relay_postgres::groups::{self, AddError, Group, Groups};
use kuvert_relay_postgres::link::Link;
use kuvert_relay_postgres::moves::{MoveError, Moved, Step, Told, mend, move_slots};
use kuvert_relay_postgres::schema::OpenError;
use kuvert_relay_postgres::settings::Settings;
use kuvert_relay_postgres::slot::{self, Slot};
use kuvert_relay_postgres::{Postgres, PostgresAdmin, Role, migrate};
use kuvert_types::AccountId;
use mail::{MAILBOXES, alone, certain, end, id, mailbox, patiently, progress, two, under};

/// Between two requests of those who take and publish prekeys beside what is tested: nothing waits for it.
const PACE: Duration = Duration::from_millis(20);

/// A store with a second, empty group.
async fn grouped(home: &Database, other: &Database) {
    groups::add(&home.settings, "second", &other.address()).await.unwrap();
}

async fn known(settings: &Settings) -> Groups {
    patiently(async || Ok::<_, OpenError>(Cluster::connect(settings.clone()).await?.groups().clone())).await
}

/// The slots of the mailboxes that mail is sent to, and some without.
fn some() -> BTreeSet<Slot> {
    (1..=MAILBOXES).map(|n| slot::of(&mailbox(n).account)).chain(0..40).collect()
}

async fn moved(settings: &Settings, slots: &BTreeSet<Slot>, to: &str) -> Result<Moved, MoveError> {
    moved_until(settings, slots, to, &mut |_| true).await
}

async fn moved_until(
    settings: &Settings,
    slots: &BTreeSet<Slot>,
    to: &str,
    watch: &mut (dyn FnMut(Told) -> bool + Send),
) -> Result<Moved, MoveError> {
    let groups = known(settings).await;
    let to: &Group = groups.named(to).unwrap();
    move_slots(&groups, slots, to, watch).await
}

/// Where each slot is: one group, and no traces of a move nor mail in the other one.
async fn check_places(settings: &Settings) -> BTreeMap<Slot, String> {
    let groups = known(settings).await;
    let mut places = BTreeMap::new();
    for group in groups.all() {
        let link = link_to(&groups, group).await;
        for row in link.query("SELECT slot FROM lease", &[]).await.unwrap() {
            let before = places.insert(row.get::<_, i16>(0).unsigned_abs(), group.name.clone());
            assert_eq!(before, None, "a slot is in two groups");
        }
        let traces = "SELECT (SELECT count(*) FROM moving) + (SELECT count(*) FROM slot_move)";
        assert_eq!(link.query_one(traces, &[]).await.unwrap().get::<_, i64>(0), 0, "traces in {}", group.name);
        let strange = "SELECT count(*) FROM envelope WHERE mailbox <> 0 AND slot NOT IN (SELECT slot FROM lease)";
        assert_eq!(link.query_one(strange, &[]).await.unwrap().get::<_, i64>(0), 0, "mail in {}", group.name);
        let keys =
            "SELECT count(*) FROM envelope_key k FULL JOIN envelope e ON e.mailbox = k.mailbox AND e.cursor = k.cursor
            WHERE coalesce(k.mailbox, e.mailbox) <> 0 AND (k.mailbox IS NULL OR e.mailbox IS NULL)";
        assert_eq!(link.query_one(keys, &[]).await.unwrap().get::<_, i64>(0), 0, "keys in {}", group.name);
    }
    assert_eq!(places.len(), usize::from(slot::SLOTS), "a slot is in no group");
    places
}

/// A connection of the test's own to a group.
async fn link_to(groups: &Groups, group: &Group) -> Link {
    patiently(async || groups.link(group.id).await).await
}

fn are_in(places: &BTreeMap<Slot, String>, slots: &BTreeSet<Slot>, group: &str) -> bool {
    slots.iter().all(|slot| places[slot] == group)
}

/// Takes prekeys of a device until told to stop. Says which were handed out.
fn takers(store: &Postgres, stop: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<Vec<u32>>> {
    let taker = || {
        let (store, stop) = (store.clone(), Arc::clone(stop));
        tokio::spawn(async move {
            let mut taken = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                if let Ok(bundle) = store.take_bundle(mailbox(1)).await {
                    taken.extend(bundle.one_time.map(|key| key.id));
                }
                tokio::time::sleep(PACE).await;
            }
            taken
        })
    };
    (0..3).map(|_| taker()).collect()
}

/// Publishes prekeys until told to stop.
fn publisher(store: &Postgres, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<()> {
    let (store, stop) = (store.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let signed = SignedKey { id: 1, public_key: vec![1; 40].into(), signature: vec![1; 64].into() };
        let kept = NewPrekeys { signed: Some(signed.clone()), last_resort_kem: Some(signed), ..NewPrekeys::default() };
        let _ = store.publish_prekeys(mailbox(1), kept).await;
        for id in 0.. {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let one_time = vec![UnsignedKey { id, public_key: vec![2; 32].into() }];
            let _ = store.publish_prekeys(mailbox(1), NewPrekeys { one_time, ..NewPrekeys::default() }).await;
            tokio::time::sleep(PACE / 4).await;
        }
    })
}

#[test]
fn mail_flows_while_slots_move_there_and_back() {
    let (Some(home), Some(other)) = (Database::migrated(), Database::empty()) else { return };
    wait(async {
        grouped(&home, &other).await;
        let (stores, peers, nodes) = two(&home.settings).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = (Vec::new(), None);
        let history = under(&stores, async |accepted| {
            tasks = (takers(&stores[1], &stop), Some(publisher(&stores[0], &stop)));
            let half: BTreeSet<Slot> = some().into_iter().step_by(2).collect();
            for (slots, to) in
                [(half.clone(), "second"), (some(), "second"), (half, "home"), (some(), "home"), (some(), "second")]
            {
                progress(&accepted, 100).await;
                let moved = moved(&home.settings, &slots, to).await.unwrap();
                assert_eq!(moved.slots + moved.there, slots.len());
                assert!(are_in(&check_places(&home.settings).await, &slots, to));
                progress(&accepted, 100).await;
                // And from node to node, which each of the groups has its own leases for.
                let turn = usize::from(to == "home");
                stores[turn].cluster().take(nodes[turn], 2, slots.iter().copied().step_by(3).collect()).await.unwrap();
                stores[turn].renew().await.unwrap();
            }
            progress(&accepted, 200).await;
        })
        .await;
        stop.store(true, Ordering::SeqCst);
        tasks.1.unwrap().await.unwrap();
        let mut taken = Vec::new();
        for taker in tasks.0 {
            taken.extend(taker.await.unwrap());
        }
        assert!(taken.len() > 20, "{}", taken.len());
        assert_eq!(taken.iter().collect::<HashSet<_>>().len(), taken.len(), "a prekey was handed out twice");
        assert!(history.accepted.len() > 1000);
        nodes.iter().for_each(|node| peers.remove(*node));
        end(stores).await;
    });
}

#[test]
fn a_mover_that_ends_at_any_step_leaves_every_slot_in_one_group_and_relays_go_on() {
    let (Some(home), Some(other)) = (Database::migrated(), Database::empty()) else { return };
    wait(async {
        grouped(&home, &other).await;
        let stores = vec![alone(&home.settings).await];
        under(&stores, async |accepted| {
            for (turn, last) in Step::ALL.into_iter().enumerate() {
                progress(&accepted, 60).await;
                let to = ["second", "home"][turn % 2];
                let ended = moved_until(&home.settings, &some(), to, &mut |told| told != Told::Step(last)).await;
                assert!(matches!(ended, Err(MoveError::Stopped)), "{ended:?}");
                // No other mover comes: the relay notices that there was one, and senders and followers get on.
                progress(&accepted, 120).await;
                patiently(async || {
                    let groups = known(&home.settings).await;
                    let left = link_to(&groups, groups.home()).await.query("SELECT slot FROM slot_move", &[]).await;
                    if left.unwrap().is_empty() { Ok(()) } else { Err("a relay did not mend it") }
                })
                .await;
                let places = check_places(&home.settings).await;
                let came = are_in(&places, &some(), to);
                assert_eq!(came, last >= Step::Flipped, "{last:?}");
                // The same again comes to an end.
                moved(&home.settings, &some(), to).await.unwrap();
                assert!(are_in(&check_places(&home.settings).await, &some(), to));
            }
            progress(&accepted, 60).await;
        })
        .await;
        end(stores).await;
    });
}

/// It stands still, another one ends its move, and then it goes on.
#[test]
fn a_mover_that_was_taken_for_dead_changes_nothing_any_more() {
    let (Some(home), Some(other)) = (Database::migrated(), Database::empty()) else { return };
    wait(async {
        grouped(&home, &other).await;
        let stores = vec![alone(&home.settings).await];
        let by = home.apart().await;
        under(&stores, async |accepted| {
            for (turn, at) in Step::ALL.into_iter().enumerate() {
                progress(&accepted, 40).await;
                let to = ["second", "home"][turn % 2];
                let (reached, is_there) = tokio::sync::oneshot::channel();
                let (go, goes) = mpsc::channel::<()>();
                let settings = home.settings.clone();
                // In a thread of its own, which stands still.
                let mover = std::thread::spawn(move || {
                    let mut stands = Some((reached, goes));
                    wait(moved_until(&settings, &some(), to, &mut |told| match told {
                        Told::Step(step) if step == at => {
                            if let Some((reached, goes)) = stands.take() {
                                reached.send(()).unwrap();
                                goes.recv().unwrap();
                            }
                            true
                        }
                        // It fails, and is not to try again.
                        Told::Again => false,
                        _ => true,
                    }))
                });
                is_there.await.unwrap();
                // The server takes the lock from one that is silent.
                let lock = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks
                    WHERE locktype = 'advisory' AND classid = $1 AND objid = hashtext(current_schema())::oid";
                let ended = by.query_one(lock, &[&0x4B75_7676_u32]).await.unwrap().get::<_, i64>(0);
                assert_eq!(ended, 1, "one mover");
                let groups = known(&home.settings).await;
                patiently(async || {
                    // The relay may be first.
                    let _ = mend(&groups).await;
                    let left = by.query_one("SELECT EXISTS (SELECT FROM slot_move)", &[]).await;
                    if left.unwrap().get::<_, bool>(0) { Err("it is not mended") } else { Ok(()) }
                })
                .await;
                let places = check_places(&home.settings).await;
                progress(&accepted, 40).await;
                go.send(()).unwrap();
                let ended = tokio::task::spawn_blocking(move || mover.join().unwrap()).await.unwrap();
                // After the last step nothing is left to do.
                assert_eq!(ended.is_ok(), at == Step::Cleaned, "{at:?}: {ended:?}");
                progress(&accepted, 40).await;
                assert_eq!(check_places(&home.settings).await, places, "{at:?}");
                moved(&home.settings, &some(), to).await.unwrap();
            }
        })
        .await;
        end(stores).await;
    });
}

#[test]
fn servers_of_both_groups_crash_while_slots_move() {
    let Some(home) = OwnServer::start() else { return };
    let Some(other) = OwnServer::start() else { return };
    wait(async {
        migrate(&home.settings).await.unwrap();
        let address = format!("postgres://postgres@127.0.0.1:{}/postgres", other.place().0);
        groups::add(&home.settings, "second", &address).await.unwrap();
        let stores = vec![alone(&home.settings).await];
        let servers = [Arc::new(home), Arc::new(other)];
        under(&stores, async |accepted| {
            for turn in 0..8 {
                progress(&accepted, 60).await;
                let to = ["second", "home"][turn % 2];
                let settings = servers[0].settings.clone();
                let crashes = Arc::clone(&servers[turn / 4]);
                let mut crash = Some(move || std::thread::spawn(move || crashes.crash()).join().unwrap());
                // In the middle of it, at another step each time.
                let at = [Step::Copied, Step::Sealed, Step::Same, Step::Flipped][turn % 4];
                let moving = tokio::task::spawn_blocking(move || {
                    wait(moved_until(&settings, &some(), to, &mut |told| {
                        if told == Told::Step(at)
                            && let Some(crash) = crash.take()
                        {
                            crash();
                        }
                        true
                    }))
                });
                moving.await.unwrap().unwrap();
                assert!(are_in(&check_places(&servers[0].settings).await, &some(), to));
            }
            progress(&accepted, 100).await;
        })
        .await;
        end(stores).await;
    });
}

#[test]
fn what_belongs_to_mail_moves_along_and_accounts_change_from_there() {
    let (Some(home), Some(other)) = (Database::migrated(), Database::empty()) else { return };
    wait(async {
        const DAY: u64 = 86_400_000;
        grouped(&home, &other).await;
        let store = alone(&home.settings).await;
        let all: BTreeSet<Slot> = [1, 2, 3].iter().map(|n| slot::of(&mailbox(*n).account)).collect();
        for n in 1..=3 {
            store.register(account(n)).await.unwrap();
        }
        let envelope = |n| NewEnvelope { id: id(n), source: None, ciphertext: vec![7; 300].into() };
        store.submit(mailbox(1), envelope(1), 20_000 * DAY).await.unwrap();
        assert_eq!(store.expire(20_001 * DAY, 9).await, Ok(1));
        let first = store.submit(mailbox(1), envelope(2), 20_002 * DAY).await.unwrap().cursor();
        let key = StoredAccessKey { hash: [9; 32], sealed: true };
        store.set_access_key(mailbox(1).account, Some(key)).await.unwrap();
        moved(&home.settings, &all, "second").await.unwrap();
        // What expired is told, a repetition is found, and cursors go on.
        let waiting = store.waiting(mailbox(1)).await.unwrap();
        assert_eq!((waiting.count, waiting.bytes, waiting.expired), (1, 300, 1));
        store.acknowledge_expired(mailbox(1), 1).await.unwrap();
        assert_eq!(store.waiting(mailbox(1)).await.unwrap().expired, 0);
        let again = store.submit(mailbox(1), envelope(2), 20_002 * DAY).await.unwrap();
        assert_eq!(again.cursor(), first);
        assert!(store.submit(mailbox(1), envelope(3), 20_002 * DAY).await.unwrap().cursor() > first);
        let page = store.read(mailbox(1), Cursor::START, 9, 1 << 20).await.unwrap();
        let read: Vec<_> = page.envelopes.iter().map(|envelope| (envelope.id, envelope.ciphertext.len())).collect();
        assert_eq!(read, [(id(2), 300), (id(3), 300)]);
        // Accounts change, and what judges mail knows.
        assert_eq!(store.access_key(mailbox(1)).await, Ok(Some(key)));
        store.set_access_key(mailbox(1).account, None).await.unwrap();
        assert_eq!(store.access_key(mailbox(1)).await, Ok(None));
        store.set_blocked(mailbox(1).account, mailbox(2).account, true).await.unwrap();
        let blocked = NewEnvelope { source: Some(mailbox(2)), ..envelope(4) };
        assert_eq!(store.submit(mailbox(1), blocked, 20_002 * DAY).await, Err(SubmitError::Blocked));
        // Operators and accounts see it.
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.accounts, stats.waiting), (3, 2));
        let settings = home.settings.clone();
        let seen = tokio::task::spawn_blocking(move || {
            let admin = PostgresAdmin::open(&settings).unwrap();
            (admin.waiting(Cursor::START, 9).unwrap(), admin.stats().unwrap().waiting)
        });
        let (seen, count) = seen.await.unwrap();
        assert_eq!((seen.len(), seen[0].recipient, seen[0].id, count), (2, mailbox(1), id(2), 2));
        let report = store.rights(30).make_report(mailbox(1).account, Vec::new(), 1).await.unwrap();
        assert!(String::from_utf8_lossy(&report).contains(&id(3).to_string()), "its mail is in the report");
        // A device that goes takes its mail along, an account all of it.
        let groups = known(&home.settings).await;
        let there = link_to(&groups, groups.named("second").unwrap()).await;
        let rows = async || {
            let sql = "SELECT (SELECT count(*) FROM envelope WHERE mailbox > 0) + (SELECT count(*) FROM envelope_key WHERE mailbox > 0)";
            there.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)
        };
        assert_eq!(rows().await, 4);
        store.submit(mailbox(3), envelope(5), 20_002 * DAY).await.unwrap();
        let list = NumberedDeviceList { number: 2, bytes: vec![1].into() };
        assert_eq!(store.update_devices(mailbox(3).account, 1, list, vec![], vec![]).await.unwrap().len(), 1);
        assert_eq!(rows().await, 4);
        assert_eq!(store.delete_account(mailbox(1).account).await, Ok(true));
        assert_eq!(rows().await, 0);
        let link = link_to(&groups, groups.home()).await;
        assert_eq!(link.query_one("SELECT count(*) FROM dropped", &[]).await.unwrap().get::<_, i64>(0), 0);
        assert_eq!(store.submit(mailbox(1), envelope(6), 1).await, Err(SubmitError::UnknownMailbox));
        // One is made there, too, and mail expires there.
        let new = account(common_slot(&all));
        let to = mailbox(new.account.as_bytes()[0]);
        store.register(new).await.unwrap();
        store.submit(to, envelope(7), 20_002 * DAY).await.unwrap();
        assert_eq!(rows().await, 2);
        assert_eq!(store.expire(20_003 * DAY, 9).await, Ok(1));
        assert_eq!((rows().await, store.waiting(to).await.unwrap().expired), (0, 1));
        check_places(&home.settings).await;
        end(vec![store]).await;
    });
}

/// The number of an account that is deleted by now, and whose slot has moved.
fn common_slot(slots: &BTreeSet<Slot>) -> u8 {
    assert!(slots.contains(&slot::of(&AccountId::from_bytes([1; 16]))));
    1
}

#[test]
fn relays_that_do_not_know_a_group_and_second_movers_are_waited_for() {
    let (Some(home), Some(other)) = (Database::migrated(), Database::empty()) else { return };
    wait(async {
        // It was there before the group was.
        let store = alone(&home.settings).await;
        grouped(&home, &other).await;
        let refused = moved(&home.settings, &some(), "second").await;
        assert!(matches!(&refused, Err(MoveError::Unprepared(name)) if name == "alone"), "{refused:?}");
        end(vec![store]).await;
        let store = alone(&home.settings).await;
        // One in the middle of it keeps another out.
        let settings = home.settings.clone();
        let mut second = None;
        let first = tokio::task::spawn_blocking(move || {
            let done = wait(moved_until(&settings.clone(), &some(), "second", &mut |told| {
                if told == Told::Step(Step::Copied) && second.is_none() {
                    let settings = settings.clone();
                    let other = std::thread::spawn(move || wait(moved(&settings, &some(), "second")));
                    second = Some(other.join().unwrap());
                }
                true
            }));
            (done, second)
        });
        let (first, second) = first.await.unwrap();
        assert_eq!(first.unwrap().slots, some().len());
        assert!(matches!(second, Some(Err(MoveError::Busy))), "{second:?}");
        end(vec![store]).await;
    });
}

#[test]
fn a_group_is_an_empty_database_of_one_store() {
    let (Some(home), Some(other), Some(third)) = (Database::migrated(), Database::empty(), Database::migrated()) else {
        return;
    };
    wait(async {
        let add = async |name: &str, address: String| groups::add(&home.settings, name, &address).await;
        let id = add("second", other.address()).await.unwrap();
        assert_eq!(id.get(), 1);
        assert_eq!(add("second", other.address()).await.unwrap(), id, "again it changes nothing");
        assert!(matches!(add("third", other.address()).await, Err(AddError::Taken(name)) if name == "second"));
        assert!(matches!(add("home", third.address()).await, Err(AddError::Taken(_))));
        assert!(matches!(add("a b", third.address()).await, Err(AddError::Name)));
        let with_password = "postgres://a:secret@127.0.0.1/b".to_owned();
        assert!(matches!(add("third", with_password).await, Err(AddError::Password)));
        // A store in use, the store itself, and another store's group.
        let store = alone(&third.settings).await;
        end(vec![store]).await;
        assert!(matches!(add("third", third.address()).await, Err(AddError::Used)));
        assert!(matches!(add("third", home.address()).await, Err(AddError::Used)));
        let other_home = groups::add(&third.settings, "x", &other.address()).await;
        assert!(matches!(other_home, Err(AddError::Used)), "{other_home:?}");
        // It is no store to serve.
        let served = Postgres::connect(other.settings.clone(), Role::Alone).await;
        assert!(matches!(served, Err(OpenError::NotHome)), "{served:?}");
        // What is at its address is looked at.
        let moved_to = |groups: Groups| async move {
            let to = Arc::clone(groups.named("second").unwrap());
            move_slots(&groups, &some(), &to, &mut |told| told != Told::Again).await
        };
        let link = home.link().await;
        let exchange = "UPDATE store_group SET address = $1 WHERE id = 1";
        link.execute(exchange, &[&third.address()]).await.unwrap();
        assert!(moved_to(known(&home.settings).await).await.is_err());
        link.execute(exchange, &[&other.address()]).await.unwrap();
        moved_to(known(&home.settings).await).await.unwrap();
        check_places(&home.settings).await;
        // A relay that starts while slots are elsewhere takes them there.
        let store = alone(&home.settings).await;
        store.register(account(1)).await.unwrap();
        let envelope = NewEnvelope { id: self::id(1), source: None, ciphertext: vec![7; 30].into() };
        store.submit(mailbox(1), envelope, 1).await.unwrap();
        assert_eq!(certain(|| store.waiting(mailbox(1))).await.count, 1);
        end(vec![store]).await;
    });
}

#[test]
fn a_store_of_the_first_format_is_brought_to_this_one_with_its_mail() {
    let Some(database) = Database::empty() else { return };
    wait(async {
        let link = database.link().await;
        link.batch("CREATE TABLE kuvert_schema(version int8 NOT NULL); INSERT INTO kuvert_schema VALUES (1)")
            .await
            .unwrap();
        link.batch(include_str!("../src/schema/v1.sql")).await.unwrap();
        // A relay of before held the slots, and an account has a number for its mailbox.
        link.batch(
            "INSERT INTO node VALUES (1, 'alone', '', 7, now(), false); UPDATE lease SET writer = 8, epoch = 3, next_cursor = 90",
        )
        .await
        .unwrap();
        let slot = slot::of(&mailbox(1).account).cast_signed();
        let insert =
            "WITH a AS (INSERT INTO account(id, slot, account_key, device_list_number, device_list, registered_at)
                VALUES ($1, $2, $3, 1, $1, 1) RETURNING id)
            INSERT INTO device(account, number, signing_key, certificate) SELECT id, 1, $3, id FROM a";
        link.execute(insert, &[&&[1_u8; 16][..], &slot, &&[1_u8; 32][..]]).await.unwrap();
        let early = Postgres::connect(database.settings.clone(), Role::Alone).await;
        assert!(matches!(early, Err(OpenError::Older { found: 1 })), "{early:?}");
        assert_eq!(migrate(&database.settings).await.unwrap(), 1);
        let store = alone(&database.settings).await;
        let envelope = NewEnvelope { id: id(1), source: None, ciphertext: vec![7; 30].into() };
        let stored = store.submit(mailbox(1), envelope, 1).await.unwrap();
        assert!(stored.cursor() > Cursor::new(90));
        assert_eq!(store.read(mailbox(1), Cursor::START, 9, 99).await.unwrap().envelopes.len(), 1);
        end(vec![store]).await;
    });
}

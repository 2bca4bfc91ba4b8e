//! A byte of one row changed on the disk: what that row held is lost, with a word; everything else goes on.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::{World, add, fetch, messages, named, now, say};
use kuvert_client::{Client, DamagedPart, Event, Options, ReceiveOptions};

/// Changes a byte of one row of a table, or of one entry of a log: the first or the last of them in the order of what SQLite
/// knows them by, which says nothing about what they are. Whether there is one.
pub fn damage(home: &Path, is_log: bool, number: u8, last: bool) -> bool {
    let db = rusqlite::Connection::open(home.join("store.db")).unwrap();
    let (of, order) = (if is_log { "log WHERE log" } else { "record WHERE tbl" }, if last { "DESC" } else { "ASC" });
    let sql = format!("SELECT key, value FROM {of} = ?1 ORDER BY key {order} LIMIT 1");
    let row = db.query_row(&sql, [number], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)));
    let Ok((key, mut value)) = row else { return false };
    let at = value.len() - 7;
    value[at] ^= 0x10;
    let sql =
        if is_log { "UPDATE log SET value = ?3 WHERE log = ?1" } else { "UPDATE record SET value = ?3 WHERE tbl = ?1" };
    assert_eq!(db.execute(&format!("{sql} AND key = ?2"), rusqlite::params![number, key, value]).unwrap(), 1);
    true
}

pub fn told(events: &[Event]) -> Vec<DamagedPart> {
    let told = events.iter().filter_map(|event| match event {
        Event::Damaged { part, count, .. } => Some(vec![*part; usize::try_from(*count).unwrap()]),
        _ => None,
    });
    told.flatten().collect()
}

/// What a home holds when its disk changes a byte.
struct Case {
    world: World,
    /// By name.
    others: Vec<(&'static str, Client)>,
}

impl Case {
    /// bob has talked with alice and with carol in both directions; a text of each was not shown, and one to each waits.
    async fn new() -> Self {
        let world = World::new().await;
        let (alice, bob) = world.alice_and_bob().await;
        let carol = world.register("carol").await;
        add(&carol, "bob").await;
        add(&bob, "carol").await;
        let others = vec![("alice", alice), ("carol", carol)];
        for (name, other) in &others {
            say(other, "bob", "hello").await;
            fetch(&bob).await;
            say(&bob, name, "hello back").await;
            fetch(other).await;
        }
        for (name, other) in &others {
            say(other, "bob", &format!("unshown from {name}")).await;
        }
        let connection = bob.connect().await.unwrap();
        connection.receive(ReceiveOptions::default(), |_| std::ops::ControlFlow::Continue(())).await.unwrap();
        for (name, _) in &others {
            bob.queue_text(named(&bob, name).await, &format!("queued for {name}")).await.unwrap();
        }
        drop((connection, bob));
        Self { world, others }
    }

    /// Goes on, with three rounds for sessions to come right: what bob was told, and the texts of all that were shown.
    async fn go_on(&self) -> (Vec<DamagedPart>, BTreeSet<String>) {
        let bob = self.world.open("bob").await;
        let (mut damaged, mut seen) = (Vec::new(), BTreeSet::new());
        for (name, other) in &self.others {
            say(other, "bob", &format!("later from {name}")).await;
        }
        // A text that was shown long ago is read by its owner only.
        for (name, _) in &self.others {
            let Ok(contact) = bob.contacts().find(name).await else { continue };
            bob.history(contact.account, None).await.unwrap();
        }
        for _ in 0..3 {
            let events = fetch(&bob).await;
            damaged.extend(told(&events));
            seen.extend(messages(&events).iter().map(|message| message.text.clone()));
            for request in bob.contacts().requests().await.unwrap() {
                bob.contacts().accept_request(request.account, None).await.unwrap();
            }
            let connection = bob.connect().await.unwrap();
            connection.flush(|_| {}).await.unwrap();
            for (_, other) in &self.others {
                let events = fetch(other).await;
                seen.extend(messages(&events).iter().map(|message| message.text.clone()));
            }
        }
        (damaged, seen)
    }
}

fn all_texts() -> BTreeSet<String> {
    ["alice", "carol"]
        .iter()
        .flat_map(|name| ["unshown from", "queued for", "later from"].map(|text| format!("{text} {name}")))
        .collect()
}

/// A table or a log by its number in the store, and what is told if one of its rows is damaged.
const CASES: [(&str, bool, u8, &[DamagedPart]); 8] = [
    ("nothing", false, 200, &[]),
    ("contact", false, 2, &[DamagedPart::Contact]),
    ("session", false, 3, &[DamagedPart::Session]),
    ("prekey", false, 4, &[DamagedPart::Prekey]),
    ("not shown", false, 6, &[]),
    ("text", true, 1, &[DamagedPart::Message]),
    ("outbox", true, 2, &[DamagedPart::QueuedAgain]),
    ("received", true, 3, &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_row_costs_what_it_held_and_is_told() {
    for (what, is_log, number, expected) in CASES {
        for last in [false, true] {
            let case = Case::new().await;
            let hit = damage(&case.world.home("bob"), is_log, number, last);
            assert_eq!(hit, what != "nothing", "{what}");
            let (damaged, seen) = case.go_on().await;
            assert_eq!(damaged, expected, "{what}");
            let missing: Vec<String> = all_texts().difference(&seen).cloned().collect();
            let lost = if what == "text" { 1 } else { 0 };
            assert!(
                missing.len() <= lost && missing.iter().all(|text| text.starts_with("unshown")),
                "{what}: {missing:?}"
            );
            if !hit {
                break;
            }
        }
    }
}

/// One contact's session is damaged while mail of another waits behind it, in one batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_session_keeps_no_other_contacts_mail() {
    let case = Case::new().await;
    assert!(damage(&case.world.home("bob"), false, 3, false));
    for (name, other) in &case.others {
        say(other, "bob", &format!("in one batch, {name}")).await;
    }
    let events = fetch(&case.world.open("bob").await).await;
    assert_eq!(told(&events), [DamagedPart::Session], "{events:?}");
    let batch = messages(&events).iter().filter(|message| message.text.starts_with("in one batch")).count();
    assert_eq!(batch, 1, "{events:?}");
    let hit = events.iter().find_map(|event| match event {
        Event::Damaged { account, who, .. } => Some((account.unwrap(), who.clone().unwrap())),
        _ => None,
    });
    let (account, who) = hit.unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Undecryptable { account: of, .. } if *of == account)));
    // Told once, and the text comes in the fresh session.
    let other = &case.others.iter().find(|(name, _)| *name == who).unwrap().1;
    fetch(other).await;
    let events = fetch(&case.world.open("bob").await).await;
    assert_eq!(told(&events), []);
    assert!(messages(&events).iter().any(|message| message.text == format!("in one batch, {who}")), "{events:?}");
}

/// What only sends goes on, and says it with the next look or receive.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_only_sends_goes_on_as_well() {
    for (is_log, number) in [(false, 3), (true, 2)] {
        let case = Case::new().await;
        assert!(damage(&case.world.home("bob"), is_log, number, false));
        let bob = case.world.open("bob").await;
        let connection = bob.connect().await.unwrap();
        let report = connection.flush(|_| {}).await.unwrap();
        assert_eq!((report.accepted.len(), report.not_sent.len()), (2, 0), "{report:?}");
        for (name, other) in &case.others {
            let events = fetch(other).await;
            assert!(messages(&events).iter().any(|message| message.text == format!("queued for {name}")), "{events:?}");
        }
        assert_eq!(told(&fetch(&bob).await).len(), 1);
    }
}

/// A home without its own account cannot be mended, and says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn the_account_itself_is_not_made_up() {
    let world = World::new().await;
    drop(world.alice_and_bob().await);
    let home = world.home("alice");
    let rows = || {
        let db = rusqlite::Connection::open(home.join("store.db")).unwrap();
        let mut statement = db.prepare("SELECT key, value FROM record WHERE tbl = 1 ORDER BY key").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>()
    };
    let mut refused = 0;
    for (key, value) in rows() {
        let put = |value: &[u8]| {
            let db = rusqlite::Connection::open(home.join("store.db")).unwrap();
            let sql = "UPDATE record SET value = ?2 WHERE tbl = 1 AND key = ?1";
            db.execute(sql, rusqlite::params![key, value]).unwrap();
        };
        let mut bad = value.clone();
        bad[value.len() / 2] ^= 1;
        put(&bad);
        let opened = Client::open(&home, world.options()).await.map(|client| now(client.whoami()).map(|_| ()));
        if let Err(error) | Ok(Err(error)) = opened {
            assert_eq!(error.code(), "store-corrupt", "{error}");
            assert!(rows().contains(&(key.clone(), bad.clone())), "nothing was removed");
            refused += 1;
        }
        put(&value);
    }
    assert_eq!(refused, 2, "the account's row, and the device's keys");
}

/// A home that cannot be written keeps its damaged rows. What meets none of them is read; what does says what to do, and it helps.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_is_only_read_says_what_to_do_and_a_copy_of_it_is_mended() {
    let case = Case::new().await;
    let home = case.world.home("bob");
    assert!(damage(&home, true, 1, false));
    let read_only = Options { read_only: true, ..case.world.options() };
    let bob = Client::open(&home, read_only).await.unwrap();
    assert_eq!(bob.contacts().list().await.unwrap().len(), 2);
    let error = bob.history_page(None, None, 0).await.unwrap_err();
    assert_eq!(error.code(), "store-unmended", "{error}");
    assert!(error.to_string().contains("copy the home"), "{error}");
    drop(bob);
    let bob = case.world.open("bob").await;
    // Two of each contact in either direction, less one.
    assert_eq!(bob.history_page(None, None, 0).await.unwrap().messages.len(), 7);
    assert_eq!(told(&fetch(&bob).await), [DamagedPart::Message]);
}

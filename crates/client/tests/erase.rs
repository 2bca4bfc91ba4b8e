//! Messages that are deleted here: gone from the store and from its files, and they do not come back.

use std::collections::HashSet;
use std::time::Duration;

use kuvert_client::{Client, Event, MessageState, Options, Receipts};

use crate::common::lying::say_in_vain;
use crate::common::{World, fetch, messages, named, say, texts, world_with_a_lying_store};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The sealed rows of a home's file.
fn rows(world: &World, name: &str) -> HashSet<Vec<u8>> {
    let store = rusqlite::Connection::open(world.home(name).join("store.db")).unwrap();
    let mut rows = store.prepare("SELECT value FROM log UNION ALL SELECT value FROM record").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// How often parts of these rows stand in any of a home's files.
fn left_of(world: &World, name: &str, rows: &HashSet<Vec<u8>>) -> usize {
    let pieces: HashSet<&[u8]> = rows.iter().flat_map(|row| row.chunks_exact(16)).collect();
    let files = std::fs::read_dir(world.home(name)).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.map(|bytes| bytes.windows(16).filter(|window| pieces.contains(window)).count()).sum()
}

async fn history(client: &Client, who: &str) -> Vec<String> {
    let history = client.history(named(client, who).await, None).await.unwrap();
    history.into_iter().map(|message| message.text).collect()
}

/// Deletes the message with this text.
async fn delete(client: &Client, who: &str, text: &str) {
    let history = client.history(named(client, who).await, None).await.unwrap();
    let message = history.iter().find(|message| message.text == text).unwrap().message;
    let deleted = client.delete_messages(&[message], false).await.unwrap();
    assert_eq!((deleted.messages, deleted.given_up, deleted.traces), (1, 0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_what_was_deleted_are_in_no_file_of_the_home() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    for number in 0..30 {
        say(&alice, "bob", &format!("number {number} {}", "x".repeat(number * 100))).await;
    }
    fetch(&bob).await;
    // Another process of the home is open, and reads now and then.
    let beside = world.open("bob").await;
    assert_eq!(history(&beside, "alice").await.len(), 30);
    let before = rows(&world, "bob");
    let alices = named(&bob, "alice").await;
    let extent = bob.extent(alices).await.unwrap();
    assert_eq!((extent.messages, extent.unread), (30, 0));
    say(&alice, "bob", "meanwhile").await;
    fetch(&beside).await;
    let deleted = bob.delete_conversation(alices, extent.end, false).await.unwrap();
    assert_eq!((deleted.messages, deleted.given_up, deleted.traces), (30, 0, None));
    let gone: HashSet<Vec<u8>> = before.difference(&rows(&world, "bob")).cloned().collect();
    assert!(gone.len() >= 30, "{}", gone.len());
    assert_eq!(left_of(&world, "bob", &gone), 0);
    assert_eq!(history(&bob, "alice").await, ["meanwhile"], "what came after the question stays");
    assert_eq!(history(&beside, "alice").await, ["meanwhile"]);
    // The contact with everything.
    let before = rows(&world, "bob");
    bob.contacts().remove(alices, true, false).await.unwrap();
    let gone: HashSet<Vec<u8>> = before.difference(&rows(&world, "bob")).cloned().collect();
    assert_eq!(left_of(&world, "bob", &gone), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_deletion_left_in_the_files_goes_when_the_home_is_opened() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    say(&alice, "bob", "a secret").await;
    fetch(&bob).await;
    drop(bob);
    let impatient = Options { lock_timeout: Duration::from_millis(50), ..world.options() };
    let bob = Client::open(&world.home("bob"), impatient).await.unwrap();
    let message = bob.history(named(&bob, "alice").await, None).await.unwrap()[0].message;
    let before = rows(&world, "bob");
    // A reader of the file that does not let go.
    let raw = rusqlite::Connection::open(world.home("bob").join("store.db")).unwrap();
    raw.execute_batch("BEGIN; SELECT count(*) FROM log;").unwrap();
    let deleted = bob.delete_messages(&[message], false).await.unwrap();
    assert_eq!(deleted.traces.map(|error| error.code()), Some("store-locked"));
    assert!(history(&bob, "alice").await.is_empty(), "it is deleted all the same");
    raw.execute_batch("COMMIT").unwrap();
    let gone: HashSet<Vec<u8>> = before.difference(&rows(&world, "bob")).cloned().collect();
    assert!(left_of(&world, "bob", &gone) > 0);
    drop(bob);
    world.open("bob").await;
    assert_eq!(left_of(&world, "bob", &gone), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_stays_away_when_it_is_sent_again() {
    let (store, world, alice, bob) = world_with_a_lying_store().await;
    say(&alice, "bob", "hello").await;
    fetch(&bob).await;
    // Alice does not hear that Bob has these.
    bob.set_receipts(Receipts::Off).await.unwrap();
    say(&alice, "bob", "deleted").await;
    say(&alice, "bob", "kept").await;
    assert_eq!(texts(&fetch(&bob).await), ["deleted", "kept"]);
    delete(&bob, "alice", "deleted").await;
    assert_eq!(history(&bob, "alice").await, ["hello", "kept"]);
    bob.set_receipts(Receipts::Now).await.unwrap();
    // Something gets lost: Bob begins anew, and Alice sends all again that was not confirmed.
    say_in_vain(&store, &alice, "bob", "lost").await;
    fetch(&bob).await;
    fetch(&alice).await;
    assert_eq!(texts(&fetch(&bob).await), ["lost"]);
    assert_eq!(history(&bob, "alice").await, ["hello", "kept", "lost"]);
    // It is confirmed, or Alice would send it again and again.
    fetch(&alice).await;
    let states: Vec<MessageState> = alice
        .history(named(&alice, "bob").await, None)
        .await
        .unwrap()
        .into_iter()
        .map(|message| message.state)
        .collect();
    assert_eq!(states.len(), 4);
    assert!(states.iter().all(|state| matches!(state, MessageState::Delivered | MessageState::Read)), "{states:?}");
    world.clock.advance(HOUR);
    fetch(&bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_receipt_for_what_was_deleted_alarms_no_one_and_begins_no_session() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    say(&alice, "bob", "deleted at once").await;
    delete(&alice, "bob", "deleted at once").await;
    assert_eq!(texts(&fetch(&bob).await), ["deleted at once"], "it stays there");
    let events = fetch(&alice).await;
    let strange = |event: &&Event| !matches!(event, Event::CaughtUp);
    assert_eq!(events.iter().find(strange), None, "{events:?}");
    assert!(messages(&fetch(&bob).await).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_deleted_only_when_it_is_given_up_and_then_never_leaves() {
    let (store, _world, alice, bob) = world_with_a_lying_store().await;
    say(&alice, "bob", "hello").await;
    fetch(&bob).await;
    fetch(&alice).await;
    let bobs = named(&alice, "bob").await;
    let queued = alice.queue_text(bobs, "queued").await.unwrap();
    let next = alice.queue_text(bobs, "next").await.unwrap();
    // Encrypted, and refused for now.
    store.refuse(|_| true);
    alice.connect().await.unwrap().flush(|_| {}).await.unwrap();
    store.refuse(|_| false);
    let error = alice.delete_messages(&[queued], false).await.unwrap_err();
    assert_eq!(error.code(), "texts-waiting");
    assert_eq!(history(&alice, "bob").await, ["hello", "queued", "next"], "nothing was deleted");
    let deleted = alice.delete_messages(&[queued], true).await.unwrap();
    assert_eq!((deleted.messages, deleted.given_up), (1, 1));
    alice.connect().await.unwrap().flush(|_| {}).await.unwrap();
    assert_eq!(texts(&fetch(&bob).await), ["next"]);
    assert_eq!(alice.message_state(&next).await.unwrap(), Some(MessageState::Accepted));

    // One that is on its way again, because Bob lost the session.
    say_in_vain(&store, &alice, "bob", "lost").await;
    fetch(&bob).await;
    store.refuse(|_| true);
    fetch(&alice).await;
    store.refuse(|_| false);
    let lost = alice.history(bobs, None).await.unwrap().pop().unwrap();
    assert_eq!(alice.delete_messages(&[lost.message], false).await.unwrap_err().code(), "texts-waiting");
    assert_eq!(alice.delete_messages(&[lost.message], true).await.unwrap().given_up, 1);
    alice.connect().await.unwrap().flush(|_| {}).await.unwrap();
    assert!(texts(&fetch(&bob).await).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_named_by_its_id_or_the_beginning_of_it() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    for text in ["one", "two"] {
        say(&alice, "bob", text).await;
    }
    fetch(&bob).await;
    let bobs = named(&alice, "bob").await;
    let history = alice.history(bobs, None).await.unwrap();
    let id = history[0].message.id.to_string();
    for name in [&id[..], &id.to_uppercase(), &id[..8]] {
        let found = alice.find_messages(bobs, name).await.unwrap();
        assert_eq!(found.iter().map(|(_, message)| message.text.as_str()).collect::<Vec<_>>(), ["one"], "{name}");
    }
    let code = async |id: &str| alice.find_messages(bobs, id).await.unwrap_err().code();
    for unknown in ["", &id[..3], "zzzzzzzz", "%", "2026"] {
        assert_eq!(code(unknown).await, "message-unknown", "{unknown}");
    }
    assert_eq!(alice.delete_messages(&[], true).await.unwrap().messages, 0);
    // The history backwards.
    let page = alice.history_page_before(Some(bobs.into()), None, u64::MAX).await.unwrap();
    assert_eq!(page.messages, history);
    let before = alice.history_page_before(Some(bobs.into()), None, page.places[1]).await.unwrap();
    assert_eq!(before.messages, history[..1]);
    assert_eq!(alice.history_before(Some(bobs.into()), page.places[1]).await.unwrap(), 1);
}

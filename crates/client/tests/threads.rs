//! No transaction of the store runs on a thread of the executor. With a runtime of one thread that thread is the test's own, so
//! that a store need only note on which threads it was used.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use kuvert_client::store::memory::MemoryStore;
use kuvert_client::store::{Mode, Store, StoreError, Transaction};
use kuvert_client::{Client, Event, Level, Options, Receipts, ReceiveOptions};

use crate::common::{World, within};

/// A store in memory that notes on which threads it is used, and for what.
struct Noting {
    store: MemoryStore,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    threads: HashSet<ThreadId>,
    modes: Vec<Mode>,
}

impl Store for Noting {
    fn begin(&mut self, mode: Mode) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let mut seen = self.seen.lock().unwrap();
        seen.threads.insert(thread::current().id());
        seen.modes.push(mode);
        self.store.begin(mode)
    }

    fn changes(&mut self) -> Result<u64, StoreError> {
        self.store.changes()
    }
}

async fn register(world: &World, name: &str, seen: &Arc<Mutex<Seen>>) -> Client {
    let store = Noting { store: MemoryStore::new(), seen: Arc::clone(seen) };
    let builder = Client::builder(world.home(name)).relay(world.url.clone()).name(name);
    builder.options(world.options()).store(store).register().await.unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn no_transaction_runs_on_a_thread_of_the_executor() {
    let world = World::new().await;
    let noted = Arc::default();
    let (alice, bob) = (register(&world, "alice", &noted).await, register(&world, "bob", &noted).await);
    for client in [&alice, &bob] {
        client.set_level(Level::L2).await.unwrap();
        client.set_receipts(Receipts::Now).await.unwrap();
        client.disclosure().await.unwrap();
        client.whoami().await.unwrap();
    }
    let link = alice.invite().await.unwrap().to_string();
    let to_alice = bob.contacts().add(&link).await.unwrap();
    let to_bob = alice.contacts().add("bob").await.unwrap();
    for round in 0..2 {
        let (mut alices, bobs) = (alice.connect().await.unwrap(), bob.connect().await.unwrap());
        alices.look_for_resets(|_| {}).await.unwrap();
        bobs.send_text(&to_alice, "hello").await.unwrap();
        loop {
            if let Event::Message(message) = within(alices.next_event()).await.unwrap().unwrap() {
                alice.mark_read(&[message.message]).await.unwrap();
                break;
            }
        }
        alices.send_text(&to_bob, "hello yourself").await.unwrap();
        let brief = ReceiveOptions { timeout: Some(Duration::from_secs(60)), ..ReceiveOptions::default() };
        let mut seen = Vec::new();
        let read = |event| {
            seen.extend(if let Event::Message(message) = event { Some(message) } else { None });
            std::ops::ControlFlow::Continue(())
        };
        within(bobs.receive(brief, read)).await.unwrap();
        assert_eq!(seen.len(), round + 1, "what was not marked is shown again");
        alices.close().await;
        bobs.close().await;
    }
    let contacts = alice.contacts();
    contacts.verify(to_bob.account).await.unwrap();
    contacts.safety_number(to_bob.account).await.unwrap();
    contacts.block_at_relay(to_bob.account).await.unwrap();
    alice.history(&to_bob, Some("hello")).await.unwrap();
    alice.queued().await.unwrap();
    alice.connect().await.unwrap().flush(|_| {}).await.unwrap();
    let threads = &noted.lock().unwrap().threads;
    assert!(!threads.is_empty() && !threads.contains(&thread::current().id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_costs_one_transaction_that_is_synced_to_queue_and_a_page_of_texts_one_more() {
    const TEXTS: usize = 20;
    let world = World::new().await;
    let noted = Arc::default();
    let alice = register(&world, "alice", &noted).await;
    let _bob = world.register("bob").await;
    let bob = alice.contacts().add("bob").await.unwrap();
    let connection = alice.connect().await.unwrap();
    connection.send_text(&bob, "the session is there").await.unwrap();
    let since = || std::mem::take(&mut noted.lock().unwrap().modes);
    let count = |modes: &[Mode], mode| modes.iter().filter(|one| **one == mode).count();
    since();
    for _ in 0..TEXTS {
        alice.queue_text(&bob, "hello").await.unwrap();
    }
    assert_eq!(since(), [Mode::Write; TEXTS]);
    assert_eq!(connection.flush(|_| {}).await.unwrap().accepted.len(), TEXTS);
    let modes = since();
    // Encrypted, and noted as accepted: the second need not survive a power failure.
    assert_eq!((count(&modes, Mode::Write), count(&modes, Mode::WriteRelaxed)), (1, 1), "{modes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_read_the_same_texts_each_at_its_own_pace() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let connection = alice.connect().await.unwrap();
    let to_bob = alice.contacts().find("bob").await.unwrap();
    for text in ["one", "two", "three"] {
        connection.send_text(&to_bob, text).await.unwrap();
    }
    crate::common::fetch(&bob).await;
    bob.queue_text(bob.contacts().find("alice").await.unwrap(), "own").await.unwrap();
    let (bot, bridge) = (bob.consumer("bot").unwrap(), bob.consumer("bridge").unwrap());
    let next = async |consumer: &kuvert_client::Consumer| consumer.next().await.unwrap();
    let (cursor, first) = next(&bot).await.unwrap();
    assert_eq!(first.text, "one");
    assert_eq!(next(&bot).await.unwrap().1.text, "one", "until it is dealt with");
    bot.acknowledge(cursor).await.unwrap();
    for expected in ["two", "three"] {
        let (cursor, message) = next(&bot).await.unwrap();
        assert_eq!(message.text, expected);
        bot.acknowledge(cursor).await.unwrap();
    }
    assert_eq!(next(&bot).await, None, "what was written here is nothing to read");
    bot.acknowledge(cursor).await.unwrap();
    assert_eq!(next(&bot).await, None, "a cursor never goes back");
    // Also in another process.
    let again = Client::open(&world.home("bob"), Options { ..world.options() }).await.unwrap();
    assert_eq!(next(&again.consumer("bot").unwrap()).await, None);
    assert_eq!(next(&bridge).await.unwrap().1.text, "one", "another consumer begins at its own place");
    assert_eq!(bob.consumer("").map(drop).unwrap_err().code(), "consumer-name-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn pulling_ends_with_the_connection_and_goes_on_after_a_dropped_call() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let mut bobs = bob.connect().await.unwrap();
    loop {
        // Dropped half-way, as in a `select!`: nothing is lost.
        let event = tokio::time::timeout(Duration::from_millis(20), bobs.next_event()).await;
        if matches!(event, Ok(Ok(Some(Event::CaughtUp)))) {
            break;
        }
    }
    crate::common::say(&alice, "bob", "hello").await;
    loop {
        let event = tokio::time::timeout(Duration::from_millis(20), bobs.next_event()).await;
        if let Ok(event) = event
            && let Some(Event::Message(message)) = event.unwrap()
        {
            assert_eq!(message.text, "hello");
            break;
        }
    }
    bobs.clone().close().await;
    while within(bobs.next_event()).await.unwrap().is_some() {}
    assert_eq!(bobs.next_event().await.unwrap(), None);
}

//! Two processes that receive on one home: each message is shown by one of them, once, in order.
//!
//! Two opens of a home share nothing but its files, as two processes do.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::watched::{self, Moment};
use crate::common::{World, fetch, fetch_on, named, now, numbers, say, texts, within};
use kuvert_client::home::{Exclusive, Home};
use kuvert_client::store::Table;
use kuvert_client::{Client, Error, Event, EventSink, Options, ReceiveEnd, ReceiveOptions};
use tokio::task::JoinHandle;

const FOLLOW: ReceiveOptions =
    ReceiveOptions { follow: true, timeout: None, max: None, max_file: 0, files_first: false };

/// What a follower does: it tells every event, waits until it is told to go on, and marks what it showed.
struct Follower {
    task: JoinHandle<Result<ReceiveEnd, Error>>,
    seen: Receiver<Event>,
    go_on: Sender<()>,
}

impl Follower {
    fn start(client: Client) -> Self {
        let (tell, seen) = channel();
        let (go_on, wait) = channel();
        let task = tokio::spawn(async move {
            let connection = client.connect().await?;
            let wait = Mutex::new(wait);
            let end = connection.receive(FOLLOW, |event| {
                let message = if let Event::Message(message) = &event { Some(message.message) } else { None };
                // A test that has seen enough drops its ends.
                let stand_still = || wait.lock().unwrap().recv();
                if tell.send(event).is_err() || tokio::task::block_in_place(stand_still).is_err() {
                    return ControlFlow::Break(());
                }
                message.iter().for_each(|message| now(client.mark_shown(&[*message])).unwrap());
                ControlFlow::Continue(())
            });
            end.await
        });
        Self { task, seen, go_on }
    }

    /// The next event. The follower stands still until [`Self::go_on`].
    fn next(&self) -> Event {
        tokio::task::block_in_place(|| self.seen.recv_timeout(Duration::from_secs(600)).unwrap())
    }

    fn go_on(&self) {
        self.go_on.send(()).unwrap();
    }

    /// Goes on until an event of which `wanted` is true; stands still there.
    fn until(&self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = vec![self.next()];
        while !wanted(&events[events.len() - 1]) {
            self.go_on();
            events.push(self.next());
        }
        events
    }
}

fn impatient(world: &World) -> Options {
    Options { lock_timeout: Duration::from_millis(300), ..world.options() }
}

async fn show_stored(client: &Client) -> Vec<String> {
    let mut shown = Vec::new();
    let stored = client.show_stored(|message| {
        now(client.mark_shown(&[message.message])).unwrap();
        shown.push(message.text);
        ControlFlow::Continue(())
    });
    within(stored).await.unwrap();
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_is_showing_is_not_shown_from_the_store() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    for text in numbers("m", 3) {
        alice.queue_text(named(&alice, "bob").await, &text).await.unwrap();
    }
    fetch(&alice).await;
    let first = Follower::start(bob);
    // It has printed the first and not marked it yet.
    assert!(matches!(first.until(|event| matches!(event, Event::Message(_))).last(), Some(Event::Message(_))));
    let second = world.open("bob").await;
    assert_eq!(show_stored(&second).await, Vec::<String>::new());
    first.go_on();
    let rest = first.until(|event| *event == Event::CaughtUp);
    assert_eq!(texts(&rest), ["m 1", "m 2"]);
    drop((first.go_on, first.seen));
    within(first.task).await.unwrap().unwrap();

    // A process that ended without marking leaves it to the next one, relay or not.
    say(&alice, "bob", "m 3").await;
    let third = Follower::start(world.open("bob").await);
    third.until(|event| matches!(event, Event::Message(_)));
    drop((third.go_on, third.seen));
    assert_eq!(within(third.task).await.unwrap().unwrap(), ReceiveEnd::Stopped);
    assert_eq!(show_stored(&second).await, ["m 3"]);
    assert_eq!(show_stored(&second).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_without_a_connection_leaves_the_inbox_to_a_newcomer_and_does_not_come_back() {
    let mut world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    say(&alice, "bob", "one").await;
    let first = Follower::start(bob);
    assert_eq!(texts(&first.until(|event| *event == Event::CaughtUp)), ["one"]);
    first.go_on();
    world.stop_relay().await;
    // Stands still in its pause between two tries to reconnect.
    first.until(|event| matches!(event, Event::Disconnected { .. }));
    world.start_relay().await;
    say(&alice, "bob", "two").await;
    let second = Follower::start(Client::open(&world.home("bob"), impatient(&world)).await.unwrap());
    assert_eq!(texts(&second.until(|event| *event == Event::CaughtUp)), ["two"]);
    first.go_on();
    first.until(|event| *event == Event::Reconnected);
    first.go_on();
    assert_eq!(within(first.task).await.unwrap().unwrap_err().code(), "displaced");
    second.go_on();
    say(&alice, "bob", "three").await;
    assert_eq!(texts(&second.until(|event| matches!(event, Event::Message(_)))), ["three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_comes_back_shows_what_somebody_else_stored_meanwhile_and_nothing_twice() {
    let mut world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    say(&alice, "bob", "one").await;
    let first = Follower::start(bob);
    assert_eq!(texts(&first.until(|event| *event == Event::CaughtUp)), ["one"]);
    first.go_on();
    world.stop_relay().await;
    first.until(|event| matches!(event, Event::Disconnected { .. }));
    world.start_relay().await;
    for text in ["two", "three"] {
        say(&alice, "bob", text).await;
    }
    // Stores both, shows one.
    let second = world.open("bob").await;
    let connection = second.connect().await.unwrap();
    let at_most = ReceiveOptions { max: Some(1), ..ReceiveOptions::default() };
    assert_eq!(texts(&fetch_on(&second, &connection, at_most).await.0), ["two"]);
    drop(connection);
    first.go_on();
    let events = first.until(|event| *event == Event::CaughtUp);
    assert_eq!(texts(&events), ["three"]);
    drop((first.go_on, first.seen));
    within(first.task).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_keeps_the_inbox_until_its_transaction_has_ended() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    drop(bob);
    say(&alice, "bob", "one").await;
    // Stands still in the transaction that stores the batch.
    let (arrived, storing) = channel();
    let (go_on, wait) = channel::<()>();
    let gate = Mutex::new((arrived, wait));
    let watcher = Arc::new(move |moment| {
        if moment == Moment::Put(Table::Unshown) {
            let gate = gate.lock().unwrap();
            if gate.0.send(()).is_ok() {
                let _ = gate.1.recv();
            }
        }
        Ok(())
    });
    let slow = watched::open(&world.home("bob"), world.options(), watcher);
    let connection = slow.connect().await.unwrap();
    let call = tokio::spawn(async move {
        let _ = connection.receive(ReceiveOptions::default(), |_| ControlFlow::Continue(())).await;
    });
    tokio::task::block_in_place(|| storing.recv_timeout(Duration::from_secs(600)).unwrap());
    drop(storing);
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    let home = Home::open(&world.home("bob"), None).unwrap();
    let held = home.hold(Exclusive::Inbox, Duration::ZERO).await;
    assert_eq!(held.unwrap_err().code(), "store-locked");
    go_on.send(()).unwrap();
    // Whoever comes next finds the message, before what came after it.
    say(&alice, "bob", "two").await;
    assert_eq!(texts(&fetch(&world.open("bob").await).await), ["one", "two"]);
}

/// Tells every event, marks what it showed, and ends with a text.
struct Until {
    client: Client,
    last: &'static str,
    tell: tokio::sync::mpsc::UnboundedSender<Event>,
}

impl EventSink for Until {
    async fn event(&mut self, event: Event) -> ControlFlow<()> {
        let mut is_last = false;
        if let Event::Message(message) = &event {
            self.client.mark_shown(&[message.message]).await.unwrap();
            is_last = message.text == self.last;
        }
        self.tell.send(event).unwrap();
        if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_and_not_shown_comes_first_also_if_the_connection_breaks_before_it_is_shown() {
    let mut world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    say(&alice, "bob", "one").await;
    // As a process that is killed between storing and marking leaves it.
    let killed = Follower::start(bob);
    killed.until(|event| matches!(event, Event::Message(_)));
    drop((killed.go_on, killed.seen));
    within(killed.task).await.unwrap().unwrap();

    let bob = world.open("bob").await;
    let connection = bob.connect().await.unwrap();
    let turn = bob.wait_for_turn().await.unwrap();
    world.stop_relay().await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let sink = Until { client: bob, last: "two", tell };
    let call = tokio::spawn(async move { connection.receive_in_turn(turn, FOLLOW, sink).await });
    while !matches!(within(told.recv()).await.unwrap(), Event::Disconnected { .. }) {}
    world.start_relay().await;
    say(&alice, "bob", "two").await;
    within(call).await.unwrap().unwrap();
    let mut events = Vec::new();
    while let Some(event) = told.recv().await {
        events.push(event);
    }
    assert_eq!(texts(&events), ["one", "two"]);
}

struct Keeps(Vec<Event>);

impl EventSink for &mut Keeps {
    async fn event(&mut self, event: Event) -> ControlFlow<()> {
        self.0.push(event);
        ControlFlow::Continue(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_waited_for_and_displaces_nothing_of_its_home() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    say(&alice, "bob", "one").await;
    let first = Follower::start(bob);
    assert_eq!(texts(&first.until(|event| *event == Event::CaughtUp)), ["one"]);
    first.go_on();
    let second = world.open("bob").await;
    let waiting = {
        let second = second.clone();
        tokio::spawn(async move { second.wait_for_turn().await })
    };
    // The first goes on undisturbed.
    say(&alice, "bob", "two").await;
    assert_eq!(texts(&first.until(|event| matches!(event, Event::Message(_)))), ["two"]);
    assert!(!waiting.is_finished());
    drop((first.go_on, first.seen));
    within(first.task).await.unwrap().unwrap_or(ReceiveEnd::Stopped);
    let turn = within(waiting).await.unwrap().unwrap();
    assert!(turn.waited(), "another process was receiving");
    // The one whose turn it is receives, and no other does meanwhile.
    assert_eq!(show_stored(&world.open("bob").await).await, Vec::<String>::new());
    say(&alice, "bob", "three").await;
    let connection = second.connect().await.unwrap();
    let mut kept = Keeps(Vec::new());
    within(connection.receive_in_turn(turn, ReceiveOptions::default(), &mut kept)).await.unwrap();
    assert_eq!(texts(&kept.0).last(), Some(&"three"));
    assert!(!within(second.wait_for_turn()).await.unwrap().waited(), "and lets go of it");
}

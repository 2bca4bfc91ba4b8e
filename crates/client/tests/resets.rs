//! Sessions that were lost on one side: mended, within their bounds, without losing what was written meanwhile.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::lying::{LyingStore, damage, say_in_vain};
use crate::common::{
    World, address, copy, fetch, named, numbers, say, texts, within, world_with_a_lying_store as world,
};
use kuvert_client::home::{Exclusive, Home};
use kuvert_client::{Client, Event, MessageState, ReceiveOptions};
use kuvert_relay::store::Store;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn reset_heard(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::SessionReset { .. }))
}

/// A session that both sides have used.
async fn settled(alice: &Client, bob: &Client) {
    say(alice, "bob", "hello").await;
    assert_eq!(texts(&fetch(bob).await), ["hello"]);
    fetch(alice).await;
}

/// Puts the home back to what it was. The handle on it must be gone.
fn restore(home: &Path, backup: &Path) {
    std::fs::remove_dir_all(home).unwrap();
    copy(backup, home);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_may_not_go_out_yet_goes_out_when_its_hour_has_come() {
    let (store, world, alice, bob) = world().await;
    settled(&alice, &bob).await;
    for (text, soon) in [("one", true), ("two", false)] {
        say_in_vain(&store, &alice, "bob", text).await;
        let events = fetch(&bob).await;
        let asked = |event: &Event| matches!(event, Event::Undecryptable { reset_queued, .. } if *reset_queued == soon);
        assert!(events.iter().any(asked), "{events:?}");
        let events = fetch(&alice).await;
        assert_eq!(reset_heard(&events), soon, "{events:?}");
        let expected: &[&str] = if soon { &["one"] } else { &[] };
        assert_eq!(texts(&fetch(&bob).await), expected);
        fetch(&alice).await;
    }
    world.clock.advance(HOUR);
    // Bob resets, Alice sends again.
    fetch(&bob).await;
    assert!(reset_heard(&fetch(&alice).await));
    assert_eq!(texts(&fetch(&bob).await), ["two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_may_not_be_sent_again_yet_are_when_their_hour_has_come() {
    let (store, world, alice, bob) = world().await;
    settled(&alice, &bob).await;
    say_in_vain(&store, &alice, "bob", "one").await;
    fetch(&bob).await;
    assert!(reset_heard(&fetch(&alice).await));
    assert_eq!(texts(&fetch(&bob).await), ["one"]);
    fetch(&alice).await;
    // Bob may ask again, Alice's hour has a minute to go.
    world.clock.advance(HOUR - Duration::from_secs(60));
    say_in_vain(&store, &alice, "bob", "two").await;
    fetch(&bob).await;
    world.clock.advance(Duration::from_secs(59));
    fetch(&bob).await;
    assert!(!reset_heard(&fetch(&alice).await));
    world.clock.advance(Duration::from_secs(1));
    fetch(&bob).await;
    assert!(reset_heard(&fetch(&alice).await));
    fetch(&alice).await;
    assert_eq!(texts(&fetch(&bob).await), ["two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_got_lost_is_repeated_until_it_is_confirmed() {
    let (store, world, alice, bob) = world().await;
    settled(&alice, &bob).await;
    say_in_vain(&store, &alice, "bob", "one").await;
    fetch(&bob).await;
    // It expires before Alice comes.
    world.relay_clock.advance(Duration::from_secs(31 * 24 * 60 * 60));
    world.relay().expire().await.unwrap();
    let events = fetch(&alice).await;
    assert!(events.iter().any(|event| matches!(event, Event::Expired { .. })) && !reset_heard(&events), "{events:?}");
    world.clock.advance(HOUR);
    fetch(&bob).await;
    assert!(reset_heard(&fetch(&alice).await));
    assert_eq!(texts(&fetch(&bob).await), ["one"]);
    // Confirmed: never again.
    fetch(&alice).await;
    for _ in 0..3 {
        world.clock.advance(100 * HOUR);
        fetch(&bob).await;
        assert!(!reset_heard(&fetch(&alice).await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sealed_and_not_accepted_is_sealed_again_and_all_comes_in_order() {
    let (store, world, alice, bob) = world().await;
    drop(bob);
    let (home, backup) = (world.home("bob"), world.home("backup"));
    copy(&home, &backup);
    let bob = world.open("bob").await;
    settled(&alice, &bob).await;
    drop(bob);
    restore(&home, &backup);
    let bob = world.open("bob").await;
    // Accepted; sealed and refused; never sealed.
    say(&alice, "bob", "one").await;
    let mailbox = address(&bob).await;
    store.refuse(move |_| true);
    let connection = alice.connect().await.unwrap();
    assert_eq!(connection.send_text(named(&alice, "bob").await, "two").await.unwrap_err().code(), "mailbox-full");
    LyingStore::stop(&store.full);
    let events = fetch(&bob).await;
    assert!(events.iter().any(|event| matches!(event, Event::Undecryptable { reset_queued: true, .. })), "{events:?}");
    let held = Home::open(&world.home("alice"), None).unwrap().hold(Exclusive::Outbox, Duration::ZERO).await.unwrap();
    assert!(reset_heard(&fetch(&alice).await));
    let three = alice.queue_text(named(&alice, "bob").await, "three").await.unwrap();
    drop(held);
    fetch(&alice).await;
    assert_eq!(texts(&fetch(&bob).await), ["one", "two", "three"]);
    fetch(&alice).await;
    assert_eq!(alice.message_state(&three).await.unwrap(), Some(MessageState::Read));
    assert_eq!(alice.whoami().await.unwrap().queued, 0);
    assert_eq!(store.waiting(mailbox).await.unwrap().count, 0);
}

/// A restored home owes an answer in a session that crosses the other side's unanswered one. Whatever the
/// rule for crossing sessions says, the reset wins: what is sent again does not go into the session that can no longer be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_wins_over_a_crossing_session_also_with_texts_waiting_before_it() {
    // Which of two crossing sessions wins is a coin's throw. Before resets came first, every second one was lost here.
    const CONTACTS: usize = 6;
    let world = World::new().await;
    let alice = world.register("alice").await;
    let relay = Arc::clone(world.relay().store());
    let mut contacts = Vec::new();
    let connection = alice.connect().await.unwrap();
    for name in numbers("bob", CONTACTS).iter().map(|name| name.replace(' ', "-")) {
        let contact = world.register(&name).await;
        let theirs = contact.connect().await.unwrap();
        theirs.add_contact("alice", None).await.unwrap();
        connection.add_contact(&name, None).await.unwrap();
        contacts.push((name, contact));
    }
    let mailbox = address(&alice).await;
    drop((alice, connection));
    let (home, backup) = (world.home("alice"), world.home("backup"));
    copy(&home, &backup);
    // The relay runs low and is filled up with prekeys that the backup does not know; only they are left then.
    for _ in 0..90 {
        relay.take_bundle(mailbox).await.unwrap();
    }
    fetch(&world.open("alice").await).await;
    for _ in 0..20 {
        relay.take_bundle(mailbox).await.unwrap();
    }
    for (name, contact) in &contacts {
        say(contact, "alice", &format!("from {name}")).await;
    }
    restore(&home, &backup);
    let alice = world.open("alice").await;
    for (name, _) in &contacts {
        alice.queue_text(named(&alice, name).await, &format!("to {name}")).await.unwrap();
    }
    // While another process holds the outbox: the texts are queued before she learns that anything is wrong.
    let held = Home::open(&home, None).unwrap().hold(Exclusive::Outbox, Duration::ZERO).await.unwrap();
    let events = fetch(&alice).await;
    let lost = events.iter().filter(|event| matches!(event, Event::Undecryptable { .. })).count();
    assert_eq!(lost, CONTACTS, "{events:?}");
    drop(held);
    fetch(&alice).await;
    for (name, contact) in &contacts {
        let events = fetch(contact).await;
        assert!(reset_heard(&events), "{name}: {events:?}");
        assert_eq!(texts(&events), [format!("to {name}")]);
        fetch(contact).await;
    }
    let events = fetch(&alice).await;
    let expected: Vec<String> = contacts.iter().map(|(name, _)| format!("from {name}")).collect();
    assert_eq!(texts(&events), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_a_text_that_a_full_mailbox_refuses() {
    let (store, _world, alice, bob) = world().await;
    settled(&alice, &bob).await;
    let big = "big ".repeat(1000);
    // Full for what is big: the small ones behind it would still fit.
    store.refuse(|envelope| envelope.ciphertext.len() > 3000);
    let said = ["small 0", "small 1", &big, "small 2", "small 3"];
    for text in said {
        alice.queue_text(named(&alice, "bob").await, text).await.unwrap();
    }
    let connection = alice.connect().await.unwrap();
    let report = connection.flush(|_| {}).await.unwrap();
    assert_eq!(report.accepted.len(), 2);
    assert!(report.not_sent.iter().all(|not_sent| not_sent.error.code() == "mailbox-full" && not_sent.will_retry));
    assert_eq!(report.not_sent.len(), 3);
    LyingStore::stop(&store.full);
    assert_eq!(connection.flush(|_| {}).await.unwrap().accepted.len(), 3);
    assert_eq!(texts(&fetch(&bob).await), said);

    // Full for the first one, and free again at once.
    let mut first = true;
    store.refuse(move |_| std::mem::take(&mut first));
    for text in ["a", "b", "c"] {
        alice.queue_text(named(&alice, "bob").await, text).await.unwrap();
    }
    assert_eq!(connection.flush(|_| {}).await.unwrap().accepted.len(), 0);
    connection.flush(|_| {}).await.unwrap();
    let mut seen = Vec::new();
    let bobs = bob.connect().await.unwrap();
    let receiving = bobs.receive(ReceiveOptions::default(), |event| {
        if let Event::Message(message) = event {
            seen.push(message.text);
        }
        ControlFlow::Continue(())
    });
    within(receiving).await.unwrap();
    assert_eq!(seen, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_here_already_is_confirmed_again_after_a_reset_of_ours() {
    let (store, _world, alice, bob) = world().await;
    settled(&alice, &bob).await;
    let connection = alice.connect().await.unwrap();
    let first = connection.send_text(named(&alice, "bob").await, "one").await.unwrap().message;
    // Bob has it, and his receipt gets lost.
    let alices = address(&alice).await;
    LyingStore::lie(&store.envelope, move |envelope| {
        if envelope.source.is_some_and(|source| source != alices) { damage(envelope) } else { envelope }
    });
    assert_eq!(texts(&fetch(&bob).await), ["one"]);
    LyingStore::stop(&store.envelope);
    say_in_vain(&store, &alice, "bob", "two").await;
    // Bob asks for a fresh session; Alice sends again what she knows to be unconfirmed: both.
    fetch(&bob).await;
    fetch(&alice).await;
    assert_eq!(texts(&fetch(&bob).await), ["two"], "the first is not shown again");
    fetch(&alice).await;
    assert!(matches!(alice.message_state(&first).await.unwrap(), Some(MessageState::Delivered | MessageState::Read)));
}

/// What `kuvert send` does: a look at what waits, then the text. What was told.
async fn only_send(from: &Client, to: &str, text: &str) -> Vec<Event> {
    let connection = from.connect().await.unwrap();
    let mut events = Vec::new();
    connection.look_for_resets(|event| events.push(event)).await.unwrap();
    connection.send_text(named(from, to).await, text).await.unwrap();
    connection.close().await;
    events
}

fn told_behind(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::HomeBehind { .. }))
}

fn thrown_away(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Dropped { .. } | Event::Undecryptable { .. }))
}

/// Alice's home as it was before she wrote some texts; whether Bob read them while her newer home was in use.
async fn alice_is_put_back(world: &World, alice: Client, bob: &Client, read: bool) -> (Client, Vec<String>) {
    settled(&alice, bob).await;
    say(bob, "alice", "hi").await;
    fetch(&alice).await;
    drop(alice);
    let (home, backup) = (world.home("alice"), world.home("backup"));
    copy(&home, &backup);
    let alice = world.open("alice").await;
    let mut seen = Vec::new();
    for text in numbers("before", 5) {
        say(&alice, "bob", &text).await;
    }
    if read {
        seen = texts(&fetch(bob).await).into_iter().map(str::to_owned).collect();
    }
    drop(alice);
    restore(&home, &backup);
    (world.open("alice").await, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_home_that_only_sends_is_told_and_loses_no_text() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let (alice, seen) = alice_is_put_back(&world, alice, &bob, true).await;
    assert_eq!(seen, numbers("before", 5));
    // Bob's receipts for what this home never wrote wait.
    assert!(told_behind(&only_send(&alice, "bob", "after 0").await));
    for text in &numbers("after", 7)[1..] {
        let events = only_send(&alice, "bob", text).await;
        assert!(!told_behind(&events), "{events:?}");
    }
    let events = fetch(&bob).await;
    assert!(!thrown_away(&events), "{events:?}");
    assert_eq!(texts(&events), numbers("after", 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_home_that_only_sends_hears_that_its_texts_were_thrown_away_and_sends_them_again() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let (alice, _) = alice_is_put_back(&world, alice, &bob, false).await;
    // Nothing tells yet that the home is behind.
    for text in numbers("after", 7) {
        assert!(!reset_heard(&only_send(&alice, "bob", &text).await));
    }
    let events = fetch(&bob).await;
    assert!(thrown_away(&events), "{events:?}");
    let mut seen: Vec<String> = texts(&events).into_iter().map(str::to_owned).collect();
    // Bob's own resets and receipts are nothing that Alice does not know.
    let events = only_send(&alice, "bob", "after 7").await;
    assert!(reset_heard(&events), "{events:?}");
    only_send(&alice, "bob", "after 8").await;
    let events = fetch(&bob).await;
    assert!(!told_behind(&events), "{events:?}");
    seen.extend(texts(&events).into_iter().map(str::to_owned));
    seen.sort();
    assert_eq!(seen, [numbers("after", 9), numbers("before", 5)].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_takes_nothing_that_changes_nothing() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    settled(&alice, &bob).await;
    say(&alice, "bob", "one").await;
    assert_eq!(texts(&fetch(&bob).await), ["one"]);
    say(&bob, "alice", "two").await;
    let waiting = world.waiting().await;
    for _ in 0..2 {
        assert_eq!(only_send(&alice, "bob", "more").await, []);
    }
    assert_eq!(world.waiting().await, waiting + 2);
    let events = fetch(&alice).await;
    assert_eq!(texts(&events), ["two"]);
    assert!(events.iter().any(|event| matches!(event, Event::Receipt { .. })), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_comes_with_what_a_look_hears_is_shown_by_the_next_receive() {
    let (store, _world, alice, bob) = world().await;
    settled(&alice, &bob).await;
    say_in_vain(&store, &alice, "bob", "one").await;
    fetch(&bob).await;
    say(&bob, "alice", "hello").await;
    let events = only_send(&alice, "bob", "two").await;
    assert!(reset_heard(&events) && texts(&events).is_empty(), "{events:?}");
    assert_eq!(texts(&fetch(&alice).await), ["hello"]);
    assert_eq!(texts(&fetch(&bob).await), ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_a_home_are_told_and_the_one_that_stays_gets_everything_through() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    settled(&alice, &bob).await;
    drop(alice);
    copy(&world.home("alice"), &world.home("copy"));
    let (one, other) = (world.open("alice").await, world.open("copy").await);
    let mut told = false;
    let mut seen = Vec::new();
    for round in 0..3 {
        for (home, name) in [(&one, "one"), (&other, "other")] {
            told |= told_behind(&only_send(home, "bob", &format!("{name} {round}")).await);
            seen.extend(texts(&fetch(&bob).await).into_iter().map(str::to_owned));
        }
    }
    assert!(told);
    // The other is given up. An hour later at the latest everything of the first has arrived.
    drop(other);
    for hour in 0..4 {
        world.clock.advance(HOUR);
        only_send(&one, "bob", &format!("last {hour}")).await;
        seen.extend(texts(&fetch(&bob).await).into_iter().map(str::to_owned));
    }
    for text in numbers("one", 3).into_iter().chain(numbers("last", 4)) {
        assert!(seen.contains(&text), "{text} in {seen:?}");
    }
}

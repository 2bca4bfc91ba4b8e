//! A caller that takes no more events for now, a contact whose rows are damaged: neither holds up anything else.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{World, add, address, fetch, named, numbers, say, texts, within};
use kuvert_client::home::Home;
use kuvert_client::store::sqlite::{Opened, SqliteStore};
use kuvert_client::store::{Mode, Store, Table};
use kuvert_client::{Event, EventSink, ReceiveOptions};
use kuvert_types::limits::DELIVERY_WINDOW;
use tokio::sync::Notify;

/// Takes no message, ever.
struct Pauses(Arc<Notify>);

impl EventSink for Pauses {
    async fn event(&mut self, event: Event) -> ControlFlow<()> {
        if matches!(event, Event::Message(_)) {
            self.0.notify_one();
            pending::<()>().await;
        }
        ControlFlow::Continue(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_pauses_holds_no_outbox_and_leaves_the_mail_at_the_relay() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    // Each has shown the other its access key: the relay takes more than a stranger's part.
    for (from, to, name) in [(&alice, &bob, "bob"), (&bob, &alice, "alice")] {
        say(from, name, "hello").await;
        fetch(to).await;
    }
    fetch(&bob).await;
    let all = numbers("text", 4 * DELIVERY_WINDOW);
    for text in &all {
        alice.queue_text(named(&alice, "bob").await, text).await.unwrap();
    }
    let connection = alice.connect().await.unwrap();
    assert_eq!(within(connection.flush(|_| {})).await.unwrap().accepted.len(), all.len());

    let reached = Arc::new(Notify::new());
    let (client, sink) = (bob.clone(), Pauses(Arc::clone(&reached)));
    let paused = tokio::spawn(async move {
        let connection = client.connect().await.unwrap();
        let follow = ReceiveOptions { follow: true, ..ReceiveOptions::default() };
        connection.receive_into(follow, sink).await
    });
    within(reached.notified()).await;
    // As another process of this home would.
    let other = world.open("bob").await;
    within(say(&other, "alice", "while my reader pauses")).await;
    assert!(texts(&fetch(&alice).await).contains(&"while my reader pauses"));
    // A window is here, stored; the rest stays where it is until it can be taken.
    assert!(world.waiting().await >= (all.len() - DELIVERY_WINDOW) as u64);

    // Dropped while it waits: nothing is lost.
    paused.abort();
    assert!(paused.await.unwrap_err().is_cancelled());
    assert_eq!(texts(&fetch(&other).await), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_with_damaged_rows_holds_up_no_other_contact() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let carol = world.register("carol").await;
    add(&alice, "carol").await;
    for name in ["bob", "carol"] {
        say(&alice, name, "before").await;
    }
    // What was read of Bob's session is not what was written.
    let home = Home::open(&world.home("alice"), None).unwrap();
    let key = home.store_key().unwrap();
    let busy = Duration::from_secs(60);
    let Opened::Store(mut store) = SqliteStore::open(&home.store_file(), home.key_file(), &key, busy).unwrap() else {
        panic!("no store")
    };
    let tx = store.begin(Mode::Write).unwrap();
    tx.put(Table::Session, &address(&bob).await.to_bytes(), b"damaged").unwrap();
    tx.commit().unwrap();

    for name in ["bob", "carol"] {
        alice.queue_text(named(&alice, name).await, "after").await.unwrap();
    }
    let connection = alice.connect().await.unwrap();
    let report = within(connection.flush(|_| {})).await.unwrap();
    // A fresh session is begun with the one, and the other never hears of it.
    assert_eq!(report.accepted.iter().map(|accepted| accepted.to.as_str()).collect::<Vec<_>>(), ["bob", "carol"]);
    assert_eq!(texts(&fetch(&bob).await), ["before", "after"]);
    assert_eq!(texts(&fetch(&carol).await), ["before", "after"]);
}

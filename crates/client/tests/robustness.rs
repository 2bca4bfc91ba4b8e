//! Crashes at every write point, two processes on one home, damaged and foreign homes, restored backups.

use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::common::watched::{self, Moment, Watcher};
use crate::common::{World, copy, fetch, fetch_on, named, now, numbers, say, texts, within};
use kuvert_client::home::Home;
use kuvert_client::store::StoreError;
use kuvert_client::{Client, Error, Event, MessageRecord, ReceiveOptions};

/// A process that dies at a chosen write transaction: before it is committed, or right after. Nothing can be read then.
fn dying(after: i64, after_commit: bool) -> Watcher {
    let left = AtomicI64::new(after);
    Arc::new(move |moment| {
        let last = if after_commit { Moment::AfterCommit } else { Moment::BeforeCommit };
        let left = match moment {
            Moment::Begin => left.fetch_sub(1, Ordering::SeqCst) - 1,
            _ => left.load(Ordering::SeqCst),
        };
        if left < 0 || (left == 0 && moment == last) {
            return Err(StoreError::Io("the process died".to_owned()));
        }
        Ok(())
    })
}

/// One person of the crash test: a home, and what was shown to them.
struct Person<'a> {
    world: &'a World,
    name: &'static str,
    shown: Vec<String>,
}

impl Person<'_> {
    /// Says something to the other, and reads and shows what waits. May die anywhere.
    async fn turn(&mut self, client: &Client, other: &str, text: &str) -> Result<(), Error> {
        let said =
            client.history(named(client, other).await, Some(text)).await?.iter().any(|message| message.text == text);
        if !said {
            client.queue_text(named(client, other).await, text).await?;
        }
        let connection = client.connect().await?;
        connection.flush(|_| {}).await?;
        let mut failure = None;
        let shown = &mut self.shown;
        let end = connection.receive(ReceiveOptions::default(), |event| {
            let Event::Message(message) = event else { return ControlFlow::Continue(()) };
            match now(client.mark_read(&[message.message])) {
                Ok(()) => {
                    shown.push(message.text);
                    ControlFlow::Continue(())
                }
                // Died between showing and marking, or right after: the store knows which.
                Err(error) => {
                    failure = Some((error, message));
                    ControlFlow::Break(())
                }
            }
        });
        let end = end.await;
        let Some((error, message)) = failure else { return end.map(|_| ()) };
        let again = self.world.open(self.name).await.unshown().await.unwrap();
        if !again.iter().any(|unshown: &MessageRecord| unshown.message == message.message) {
            self.shown.push(message.text);
        }
        Err(error)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_write_loses_nothing_and_shows_nothing_twice() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let connection = bob.connect().await.unwrap();
    connection.add_contact("alice", None).await.unwrap();
    drop((alice, bob, connection));
    let mut people = [("alice", "bob"), ("bob", "alice")]
        .map(|(name, other)| (Person { world: &world, name, shown: Vec::new() }, other));
    let mut said: [Vec<String>; 2] = Default::default();
    let mut crashes = 0;
    within(async {
        for after_commit in [false, true] {
            for victim in [0, 1] {
                for at in 1.. {
                    let mut crashed = false;
                    // The victim's turn dies at its write number `at`; then it goes on with what is on disk.
                    for (index, (person, other)) in people.iter_mut().enumerate() {
                        let text = format!("{} {after_commit} {victim} {at}.", person.name);
                        if index == victim {
                            let watcher = dying(at, after_commit);
                            let dying = watched::open(&world.home(person.name), world.options(), watcher);
                            crashed = person.turn(&dying, other, &text).await.is_err();
                        }
                        let client = world.open(person.name).await;
                        person.turn(&client, other, &text).await.unwrap();
                        said[index].push(text);
                    }
                    if !crashed {
                        break;
                    }
                    crashes += 1;
                }
            }
        }
    })
    .await;
    for (person, other) in &mut people {
        let client = world.open(person.name).await;
        // A last turn without a word of one's own.
        person.turn(&client, other, &format!("{} true 1 1.", person.name)).await.unwrap();
    }
    assert_eq!(people[0].0.shown, said[1]);
    assert_eq!(people[1].0.shown, said[0]);
    assert!(crashes > 20, "{crashes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_home_send_without_losing_or_repeating() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    drop(alice);
    // Two opens share nothing but the files.
    let senders = ["x", "y"].map(|name| {
        let client = now(world.open("alice"));
        tokio::spawn(async move {
            let connection = client.connect().await.unwrap();
            for text in numbers(name, 30) {
                connection.send_text(named(&client, "bob").await, &text).await.unwrap();
            }
        })
    });
    within(async {
        for sender in senders {
            sender.await.unwrap();
        }
    })
    .await;
    let events = fetch(&bob).await;
    let texts = texts(&events);
    assert_eq!(texts.len(), 60);
    for name in ["x", "y"] {
        let one: Vec<_> = texts.iter().filter(|text| text.starts_with(name)).copied().collect();
        assert_eq!(one, numbers(name, 30));
    }
    assert_eq!(world.open("alice").await.whoami().await.unwrap().queued, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_receiver_displaces_the_first_and_nothing_is_shown_twice() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    drop(bob);
    let follow = |client: Client, max| {
        let (send, receive) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let connection = client.connect().await.unwrap();
            let options = ReceiveOptions { follow: true, max, ..ReceiveOptions::default() };
            let end = connection.receive(options, |event| {
                match event {
                    Event::Message(message) => {
                        now(client.mark_shown(&[message.message])).unwrap();
                        send.send(Some(message.text)).unwrap();
                    }
                    Event::CaughtUp => send.send(None).unwrap(),
                    _ => {}
                }
                ControlFlow::Continue(())
            });
            end.await
        });
        (task, receive)
    };
    within(async {
        say(&alice, "bob", "one").await;
        let (first, mut seen) = follow(world.open("bob").await, None);
        assert_eq!(seen.recv().await.unwrap().as_deref(), Some("one"));
        assert_eq!(seen.recv().await.unwrap(), None, "caught up");
        let (second, mut seen_too) = follow(world.open("bob").await, Some(1));
        assert_eq!(first.await.unwrap().unwrap_err().code(), "displaced");
        assert_eq!(seen_too.recv().await.unwrap(), None, "caught up, and nothing again");
        say(&alice, "bob", "two").await;
        assert_eq!(seen_too.recv().await.unwrap().as_deref(), Some("two"));
        second.await.unwrap().unwrap();
        assert!(seen.recv().await.is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_noticed_and_mended() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    say(&alice, "bob", "one").await;
    fetch(&bob).await;
    fetch(&alice).await;
    drop(alice);
    let (home, backup) = (world.home("alice"), world.home("backup"));
    copy(&home, &backup);
    let alice = world.open("alice").await;
    for text in ["two", "three"] {
        say(&alice, "bob", text).await;
    }
    assert_eq!(texts(&fetch(&bob).await), ["two", "three"]);
    drop(alice);
    std::fs::remove_dir_all(&home).unwrap();
    copy(&backup, &home);
    // It counts messages anew: the relay and bob see old numbers under new ids.
    let alice = world.open("alice").await;
    say(&alice, "bob", "four").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.extend(texts(&fetch(&bob).await).into_iter().map(str::to_owned));
        fetch(&alice).await;
    }
    assert_eq!(seen, ["four"]);
    say(&bob, "alice", "five").await;
    assert_eq!(texts(&fetch(&alice).await), ["five"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_home_gets_the_mail_of_contacts_that_used_prekeys_that_it_lost() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let address = bob.whoami().await.unwrap().address;
    let store = Arc::clone(world.relay().store());
    drop(bob);
    let (home, backup) = (world.home("bob"), world.home("backup"));
    copy(&home, &backup);
    // After the backup: the relay runs low, and is filled up with numbers that the backup does not know.
    for _ in 0..90 {
        store.take_bundle(address).await.unwrap();
    }
    fetch(&world.open("bob").await).await;
    std::fs::remove_dir_all(&home).unwrap();
    copy(&backup, &home);
    let bob = world.open("bob").await;
    for _ in 0..20 {
        store.take_bundle(address).await.unwrap();
    }
    say(&alice, "bob", "can you open this?").await;
    let events = fetch(&bob).await;
    assert!(matches!(&events[0], Event::Undecryptable { reset_queued: true, .. }), "{events:?}");
    fetch(&alice).await;
    assert_eq!(texts(&fetch(&bob).await), ["can you open this?"]);
    // Low again: the numbers that come next were given before the backup was restored. They are skipped.
    for _ in 0..80 {
        store.take_bundle(address).await.unwrap();
    }
    fetch(&bob).await;
    fetch(&bob).await;
    let bundle = store.take_bundle(address).await.unwrap();
    assert!(bundle.signed.id > 20_000, "rotated beyond the gap: {}", bundle.signed.id);
    let dave = world.register("dave").await;
    let connection = dave.connect().await.unwrap();
    connection.add_contact("bob", None).await.unwrap();
    for _ in 0..30 {
        store.take_bundle(address).await.unwrap();
    }
    connection.send_text(named(&dave, "bob").await, "hello").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.extend(texts(&fetch(&bob).await).into_iter().map(str::to_owned));
        fetch(&dave).await;
    }
    assert_eq!(seen, ["hello"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn homes_that_cannot_be_used_say_why() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    drop((alice, bob));
    let home = world.home("alice");
    let code = || now(Client::open(&home, world.options())).map(|_| ()).map_err(|error| error.code());
    let (store, key) = (home.join("store.db"), home.join("store.key"));
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    assert_eq!(code(), Ok(()));
    mode(&home, 0o750);
    assert_eq!(code(), Err("permissions"));
    mode(&home, 0o700);
    mode(&key, 0o604);
    assert_eq!(code(), Err("permissions"));
    mode(&key, 0o600);

    let own = std::fs::read(&key).unwrap();
    std::fs::copy(world.home("bob").join("store.key"), &key).unwrap();
    assert_eq!(code(), Err("store-key-wrong"));
    std::fs::remove_file(&key).unwrap();
    assert_eq!(code(), Err("store-key-missing"));
    let elsewhere = world.home("elsewhere.key");
    std::fs::write(&elsewhere, &own).unwrap();
    mode(&elsewhere, 0o600);
    let options = kuvert_client::Options { store_key_file: Some(elsewhere), ..world.options() };
    assert!(Client::open(&home, options).await.is_ok());
    std::fs::write(&key, &own).unwrap();
    mode(&key, 0o600);

    let good = std::fs::read(&store).unwrap();
    // Every damaged page is noticed when it is read, and never a crash.
    for at in (0..good.len()).step_by(509) {
        let mut bad = good.clone();
        bad[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0x5A);
        std::fs::write(&store, &bad).unwrap();
        let result = Client::open(&home, world.options()).await.and_then(|client| {
            now(client.contacts().list())?;
            let bob = now(client.contacts().find("bob"))?;
            now(client.history(bob, None))?;
            now(client.whoami())
        });
        if let Err(error) = result {
            // Of a contact whose row alone is damaged: it was removed, and `receive` tells it.
            let known = ["not-registered", "contact-unknown"].contains(&error.code());
            assert!(known || error.code().starts_with("store-"), "{at}: {error:?}");
        }
    }
    for end in [0, 100, good.len() / 2] {
        std::fs::write(&store, &good[..end]).unwrap();
        let result = Client::open(&home, world.options()).await.and_then(|client| now(client.contacts().list()));
        assert!(result.is_err(), "cut at {end}");
    }
    for other in [&b"something else entirely"[..], &"Dear diary, ".repeat(1000).into_bytes()] {
        std::fs::write(&store, other).unwrap();
        assert_eq!(code(), Err("store-foreign"));
        assert_eq!(std::fs::read(&store).unwrap(), other, "left as it is");
    }
    std::fs::remove_file(&store).unwrap();
    rusqlite::Connection::open(&store).unwrap().execute_batch("CREATE TABLE another (program)").unwrap();
    assert_eq!(code(), Err("store-foreign"));
    std::fs::write(&store, &good).unwrap();
    assert_eq!(code(), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_process_holds_is_named() {
    let world = World::new().await;
    let (alice, _bob) = world.alice_and_bob().await;
    let options = kuvert_client::Options { lock_timeout: Duration::from_millis(50), ..world.options() };
    let impatient = Client::open(&world.home("alice"), options).await.unwrap();
    let other = rusqlite::Connection::open(world.home("alice").join("store.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(impatient.queue_text(named(&impatient, "bob").await, "x").await.unwrap_err().code(), "store-locked");
    assert!(impatient.contacts().list().await.is_ok(), "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    impatient.queue_text(named(&impatient, "bob").await, "x").await.unwrap();

    let home = Home::open(&world.home("alice"), None).unwrap();
    let held = home.hold(kuvert_client::home::Exclusive::Outbox, Duration::ZERO).await.unwrap();
    let connection = impatient.connect().await.unwrap();
    assert_eq!(connection.flush(|_| {}).await.unwrap_err().code(), "store-locked");
    drop(held);
    assert_eq!(connection.flush(|_| {}).await.unwrap().accepted.len(), 1);
    let (events, _) = fetch_on(&alice, &connection, ReceiveOptions::default()).await;
    assert!(texts(&events).is_empty());
}

/// A relay that was restored from a backup has signed prekeys of then and none for one time: a device publishes all anew.
#[tokio::test]
async fn a_device_supplies_a_restored_relay_anew() {
    let mut world = World::new().await;
    let bob = world.register("bob").await;
    let device = bob.whoami().await.unwrap().address;
    let before = world.relay().store().last_resort_bundle(device).await.unwrap();
    world.stop_relay().await;
    let (data, backup) = (world.home("relay"), world.home("backup"));
    kuvert_relay_sqlite::backup::create(&data, &backup, 0).unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    kuvert_relay_sqlite::backup::restore(&backup, &data).unwrap();
    world.start_relay().await;
    let counts = world.relay().store().count_prekeys(device).await.unwrap();
    assert_eq!((counts.one_time, counts.one_time_kem), (0, 0));
    fetch(&bob).await;
    let counts = world.relay().store().count_prekeys(device).await.unwrap();
    assert_eq!((counts.one_time, counts.one_time_kem), (100, 100));
    let after = world.relay().store().last_resort_bundle(device).await.unwrap();
    assert!(after.signed.id > before.signed.id && after.kem.id > before.kem.id);
}

//! Files between two clients over a real relay.

use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kuvert_client::{
    Client, Connection, Event, FileState, Level, MessageRef, MessageState, OutgoingFile, ReceiveOptions,
};

use crate::common::{World, fetch_on, messages, named, say, within};

/// Of more than one chunk, and no two of its parts alike.
fn file(world: &World, name: &str, bytes: usize) -> (PathBuf, Vec<u8>) {
    let content: Vec<u8> = (0..bytes).map(|at| (at * 31 / 7 % 251) as u8).collect();
    let path = world.dir.path().join(name);
    std::fs::write(&path, &content).unwrap();
    (path, content)
}

async fn queue(from: &Client, to: &str, text: &str, path: &Path) -> MessageRef {
    from.queue_files(named(from, to).await, text, vec![OutgoingFile::new(path)]).await.unwrap()
}

/// Sends the files that wait, and their messages.
async fn send_all(connection: &Connection) {
    let report = within(connection.send_files(|_| {})).await.unwrap();
    assert!(report.not_sent.is_empty(), "{report:?}");
    let report = within(connection.flush(|_| {})).await.unwrap();
    assert!(report.not_sent.is_empty(), "{report:?}");
}

fn up_to(max_file: u64) -> ReceiveOptions {
    ReceiveOptions { max_file, files_first: true, ..ReceiveOptions::default() }
}

async fn receive(client: &Client, options: ReceiveOptions) -> Vec<Event> {
    let connection = client.connect().await.unwrap();
    let (events, _) = fetch_on(client, &connection, options).await;
    connection.close().await;
    events
}

/// Bytes of files that the relay keeps.
fn at_relay(world: &World) -> u64 {
    fn below(path: &Path) -> u64 {
        let Ok(entries) = std::fs::read_dir(path) else { return 0 };
        let size = |entry: std::fs::DirEntry| {
            let seen = entry.metadata().unwrap();
            if seen.is_dir() { below(&entry.path()) } else { seen.len() }
        };
        entries.flatten().map(size).sum()
    }
    below(&world.dir.path().join("relay/blobs"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_as_it_was_and_the_relay_keeps_none_of_it() {
    for level in [Level::L1, Level::L3] {
        let world = World::new().await;
        let (alice, bob) = world.alice_and_bob().await;
        alice.set_level(level).await.unwrap();
        bob.set_level(level).await.unwrap();
        // Bob tells Alice what he takes.
        say(&bob, "alice", "hello").await;
        receive(&alice, up_to(0)).await;
        let (path, content) = file(&world, "map.pdf", 300_000);
        let message = queue(&alice, "bob", "from the lake", &path).await;
        assert_eq!(alice.queued().await.unwrap().len(), 1);
        let connection = alice.connect().await.unwrap();
        send_all(&connection).await;
        assert!(at_relay(&world) > 300_000);
        let events = receive(&bob, up_to(1 << 20)).await;
        let [came] = messages(&events)[..] else { panic!("{events:?}") };
        let [told] = &came.attachments[..] else { panic!() };
        assert_eq!((came.message.id, came.text.as_str()), (message.id, "from the lake"));
        assert_eq!(
            (told.name.as_str(), told.media_type.as_str(), told.state),
            ("map.pdf", "application/pdf", FileState::Here)
        );
        let place = told.path(bob.directory()).unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), content, "{level}");
        assert_eq!(place, bob.directory().join("files/map.pdf"));
        assert_eq!(std::fs::read_dir(bob.directory().join("partial")).unwrap().count(), 0);
        // With one capability for all the relay keeps it until its time is over.
        assert_eq!(at_relay(&world) == 0, level == Level::L1, "{level}");
        assert_eq!(alice.queued().await.unwrap().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_written_later_does_not_wait_for_a_file() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let (path, _) = file(&world, "a", 100_000);
    queue(&alice, "bob", "with a file", &path).await;
    say(&alice, "bob", "without one").await;
    let connection = alice.connect().await.unwrap();
    send_all(&connection).await;
    let events = receive(&bob, up_to(0)).await;
    assert_eq!(crate::common::texts(&events), ["without one", "with a file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_which_the_sender_did_not_hear_that_it_is_complete_is_sent() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let (path, content) = file(&world, "a", 100_000);
    queue(&alice, "bob", "", &path).await;
    let (home, left) = (world.home("alice"), world.home("left"));
    let connection = alice.connect().await.unwrap();
    // As a process leaves it that is killed while its last request is on its way.
    let copy = |transfer: &kuvert_client::Transfer| {
        if transfer.done == transfer.total && !left.exists() {
            std::fs::DirBuilder::new().mode(0o700).create(&left).unwrap();
            for file in ["store.db", "store.db-wal", "store.key"] {
                std::fs::copy(home.join(file), left.join(file)).unwrap();
            }
        }
    };
    within(connection.send_files(copy)).await.unwrap();
    connection.close().await;
    drop(alice);
    let alice = world.open("left").await;
    let connection = alice.connect().await.unwrap();
    send_all(&connection).await;
    let events = receive(&bob, up_to(1 << 20)).await;
    let there = messages(&events)[0].attachments[0].path(bob.directory()).unwrap();
    assert!(std::fs::read(there).unwrap() == content);
    assert_eq!(at_relay(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_go_on_after_they_were_cut_off_again_and_again() {
    let mut world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let (path, content) = file(&world, "large", 12 << 20);
    queue(&alice, "bob", "", &path).await;
    let (mut cuts, mut furthest) = (0, 0);
    loop {
        let connection = alice.connect().await.unwrap();
        let (stop, mut stopped) = tokio::sync::mpsc::unbounded_channel();
        // Dropped in the middle: what a process that is killed leaves. Each run comes further than the one before.
        let sent = {
            let before = furthest;
            let mut sending = std::pin::pin!(connection.send_files(|transfer| {
                furthest = furthest.max(transfer.done);
                if transfer.done > before && transfer.done < transfer.total {
                    // The receiver lives longer than this.
                    let _ = stop.send(());
                }
            }));
            tokio::select! {
                biased;
                Some(()) = stopped.recv() => None,
                report = &mut sending => Some(report.unwrap()),
            }
        };
        match sent {
            Some(report) => {
                assert_eq!(report.ready.len(), 1, "{report:?}");
                break;
            }
            None => cuts += 1,
        }
        world.stop_relay().await;
        world.start_relay().await;
    }
    assert!(cuts >= 2, "{cuts}");
    let connection = alice.connect().await.unwrap();
    send_all(&connection).await;
    let came = receive(&bob, up_to(0)).await;
    let message = messages(&came)[0].message;
    let (mut cuts, mut furthest) = (0, 0);
    let record = loop {
        let connection = bob.connect().await.unwrap();
        let (stop, mut stopped) = tokio::sync::mpsc::unbounded_channel();
        let fetched = {
            let before = furthest;
            let mut fetching = std::pin::pin!(connection.fetch_files(&message, None, |transfer| {
                furthest = furthest.max(transfer.done);
                if transfer.done > before + (2 << 20) && transfer.done < transfer.total {
                    // The receiver lives longer than this.
                    let _ = stop.send(());
                }
            }));
            tokio::select! {
                biased;
                Some(()) = stopped.recv() => None,
                record = &mut fetching => Some(record.unwrap()),
            }
        };
        match fetched {
            Some(record) => break record,
            None => cuts += 1,
        }
    };
    assert!(cuts >= 2, "{cuts}");
    assert_eq!(std::fs::read(record.attachments[0].path(bob.directory()).unwrap()).unwrap(), content);
    assert_eq!(at_relay(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_while_it_waited_is_sent_as_it_is_now_and_one_that_is_gone_is_given_up() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let (path, _) = file(&world, "a", 200_000);
    queue(&alice, "bob", "changed", &path).await;
    let (_, content) = file(&world, "a", 150_000);
    let (gone, _) = file(&world, "b", 10);
    let lost = queue(&alice, "bob", "gone", &gone).await;
    std::fs::remove_file(&gone).unwrap();
    let connection = alice.connect().await.unwrap();
    let report = connection.send_files(|_| {}).await.unwrap();
    let [not_sent] = &report.not_sent[..] else { panic!("{report:?}") };
    assert_eq!((not_sent.message, not_sent.error.code(), not_sent.will_retry), (lost, "file-changed", false));
    assert_eq!(alice.message_state(&lost).await.unwrap(), Some(MessageState::Failed("file-changed".into())));
    connection.flush(|_| {}).await.unwrap();
    let events = receive(&bob, up_to(1 << 20)).await;
    let [came] = messages(&events)[..] else { panic!("{events:?}") };
    assert_eq!(came.attachments[0].size, 150_000);
    assert_eq!(std::fs::read(came.attachments[0].path(bob.directory()).unwrap()).unwrap(), content);
    assert_eq!(at_relay(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_refused_at_once_and_nothing_is_queued() {
    let world = World::new().await;
    let (alice, _) = world.alice_and_bob().await;
    let bob = named(&alice, "bob").await;
    let (good, _) = file(&world, "good", 10);
    let code = |path: PathBuf| {
        let (alice, good) = (alice.clone(), good.clone());
        async move {
            let files = vec![OutgoingFile::new(good), OutgoingFile::new(path)];
            alice.queue_files(bob, "", files).await.unwrap_err().code()
        }
    };
    assert_eq!(code(world.dir.path().to_owned()).await, "file-unusable");
    assert_eq!(code(world.dir.path().join("none")).await, "file-unusable");
    let pipe = world.dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(code(pipe).await, "file-unusable");
    let large = world.dir.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(1 << 31).unwrap();
    assert_eq!(code(large).await, "file-too-large");
    let torn = world.dir.path().join("torn.jpg");
    std::fs::write(&torn, [0xFF, 0xD8, 0xFF, 0xE1, 0, 99]).unwrap();
    assert_eq!(code(torn).await, "picture-unreadable");
    let eleven = vec![OutgoingFile::new(&good); 11];
    assert_eq!(alice.queue_files(bob, "", eleven).await.unwrap_err().code(), "too-many-files");
    assert_eq!(alice.queued().await.unwrap().len(), 0);
    let left = std::fs::read_dir(alice.directory().join("outgoing")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_strangers_and_large_ones_stay_at_the_relay_until_they_are_asked_for() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_a_stranger().await;
    let (small, content) = file(&world, "small", 1_000);
    let (large, _) = file(&world, "large", 200_000);
    queue(&alice, "bob", "one", &small).await;
    queue(&alice, "bob", "two", &large).await;
    send_all(&alice.connect().await.unwrap()).await;
    let states = |events: &[Event]| -> Vec<FileState> {
        messages(events).iter().map(|message| message.attachments[0].state).collect()
    };
    let events = receive(&bob, up_to(100_000)).await;
    assert_eq!(states(&events), [FileState::Remote; 2], "a stranger's");
    assert!(!bob.directory().join("files").exists());
    let request = bob.contacts().requests().await.unwrap().remove(0).account;
    bob.contacts().accept_request(request, Some("alice")).await.unwrap();
    let events = receive(&bob, up_to(100_000)).await;
    let here = |event: &Event| match event {
        Event::File { message, number: 1, error: None } => Some(message.attachments[0].clone()),
        _ => None,
    };
    let files: Vec<_> = events.iter().filter_map(here).collect();
    let [here] = &files[..] else { panic!("{events:?}") };
    assert_eq!(std::fs::read(here.path(bob.directory()).unwrap()).unwrap(), content);
    let history = bob.history(request, None).await.unwrap();
    assert_eq!(history[1].attachments[0].state, FileState::Remote, "over the size");
    let connection = bob.connect().await.unwrap();
    let record = connection.fetch_files(&history[1].message, None, |_| {}).await.unwrap();
    assert_eq!(record.attachments[0].state, FileState::Here);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_message_deletes_its_files_here_and_what_waits_at_the_relay() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let (path, _) = file(&world, "a.bin", 100_000);
    queue(&alice, "bob", "", &path).await;
    send_all(&alice.connect().await.unwrap()).await;
    let came = receive(&bob, up_to(1 << 20)).await;
    let place = bob.directory().join("files/a.bin");
    assert!(place.exists());
    bob.delete_messages(&[messages(&came)[0].message], false).await.unwrap();
    assert!(!place.exists());
    // One that waits: with force, and its blob goes.
    let second = queue(&alice, "bob", "", &path).await;
    let connection = alice.connect().await.unwrap();
    let (stop, mut stopped) = tokio::sync::mpsc::unbounded_channel();
    {
        let mut sending = std::pin::pin!(connection.send_files(|_| {
            let _ = stop.send(());
        }));
        tokio::select! {
            biased;
            Some(()) = stopped.recv() => {}
            _ = &mut sending => {}
        }
    }
    if alice.message_files_wait(&second).await.unwrap() {
        assert_eq!(alice.delete_messages(&[second], false).await.unwrap_err().code(), "texts-waiting");
        assert_eq!(alice.delete_messages(&[second], true).await.unwrap().given_up, 1);
        connection.send_files(|_| {}).await.unwrap();
        assert_eq!(at_relay(&world), 0);
    }
    assert!(path.exists(), "the sender's own file stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_follows_sends_and_fetches_beside_the_mail() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let (path, content) = file(&world, "a.bin", 500_000);
    let follow = ReceiveOptions { follow: true, max_file: 1 << 20, ..ReceiveOptions::default() };
    let receiving = {
        let bob = bob.clone();
        tokio::spawn(async move {
            let connection = bob.connect().await.unwrap();
            let (mut told, mut file) = (None, None);
            let work = connection.receive(follow, |event| match event {
                Event::Message(message) => {
                    told = Some(message.attachments[0].state);
                    ControlFlow::Continue(())
                }
                Event::File { message, error: None, .. } => {
                    file = Some(message.attachments[0].clone());
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            });
            within(work).await.unwrap();
            (told, file)
        })
    };
    let connection = alice.connect().await.unwrap();
    let message = queue(&alice, "bob", "", &path).await;
    let (say, mut accepted) = tokio::sync::mpsc::unbounded_channel();
    let work = connection.receive(follow, |event| {
        if matches!(&event, Event::Accepted(one) if one.message == message) {
            say.send(()).unwrap();
        }
        ControlFlow::Continue(())
    });
    tokio::select! {
        ended = within(work) => panic!("{ended:?}"),
        () = within(async { accepted.recv().await.unwrap() }) => {}
    }
    let (told, file) = tokio::time::timeout(Duration::from_secs(300), receiving).await.unwrap().unwrap();
    assert_eq!(told, Some(FileState::Remote), "the text did not wait");
    assert_eq!(std::fs::read(file.unwrap().path(bob.directory()).unwrap()).unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_shown_once_is_not_fetched_by_itself_and_is_erased_after() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let (path, _) = file(&world, "once.bin", 1_000);
    let once = OutgoingFile { view_once: true, ..OutgoingFile::new(&path) };
    alice.queue_files(named(&alice, "bob").await, "", vec![once]).await.unwrap();
    send_all(&alice.connect().await.unwrap()).await;
    let events = receive(&bob, up_to(1 << 20)).await;
    let came = messages(&events)[0];
    assert_eq!((came.attachments[0].state, came.attachments[0].view_once), (FileState::Remote, true));
    let connection = bob.connect().await.unwrap();
    let record = connection.fetch_files(&came.message, None, |_| {}).await.unwrap();
    let place = record.attachments[0].path(bob.directory()).unwrap();
    assert!(place.exists());
    bob.erase_file(&came.message, 1).await.unwrap();
    assert!(!place.exists());
    let error = connection.fetch_files(&came.message, None, |_| {}).await.unwrap_err();
    assert_eq!(error.code(), "file-gone");
}

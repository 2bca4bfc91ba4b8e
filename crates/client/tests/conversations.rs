//! What a screen needs of a home: all conversations side by side, drafts, what is muted, when receipts came, and who receives.

use kuvert_client::{Connection, Error, MAX_DRAFT_BYTES, MessageState, PREVIEW_BYTES, ReceiveOptions};

use crate::common::{World, fetch, named, say, within};

/// Receives without marking anything as shown.
async fn store(connection: &Connection) {
    let all = connection.receive(ReceiveOptions::default(), |_| std::ops::ControlFlow::Continue(()));
    within(all).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_have_their_newest_message_and_what_is_unread_and_reading_stops_at_a_place() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let carol = world.register("carol").await;
    crate::common::add(&carol, "bob").await;
    for text in ["one", "two", "three"] {
        say(&alice, "bob", text).await;
    }
    say(&carol, "bob", &"é".repeat(PREVIEW_BYTES)).await;
    store(&bob.connect().await.unwrap()).await;
    let all = bob.conversations().await.unwrap();
    let of_alice = all.iter().find(|one| one.contact.alias == "alice").unwrap();
    assert_eq!((of_alice.unread, of_alice.muted, of_alice.has_draft), (3, false, false));
    assert_eq!(of_alice.last.as_ref().unwrap().text, "three");
    let stranger = all.iter().find(|one| one.contact.request).unwrap();
    let preview = &stranger.last.as_ref().unwrap().text;
    assert!(preview.len() <= PREVIEW_BYTES && preview.len() > PREVIEW_BYTES - 2, "{}", preview.len());
    assert_eq!(all.len(), 2);

    // Up to the second one, and no other conversation.
    let alices = named(&bob, "alice").await;
    let history = bob.history(alices, None).await.unwrap();
    assert!(history.iter().is_sorted_by_key(|message| message.place));
    assert_eq!(bob.mark_read_until(alices, history[1].place).await.unwrap(), 2);
    assert_eq!(bob.mark_read_until(alices, history[1].place).await.unwrap(), 0, "once");
    let unread: Vec<u64> = bob.conversations().await.unwrap().iter().map(|one| one.unread).collect();
    assert_eq!(unread.iter().sum::<u64>(), 2, "the third one, and the stranger's: {unread:?}");
    bob.connect().await.unwrap().flush(|_| {}).await.unwrap();
    fetch(&alice).await;
    let states: Vec<_> =
        alice.history(named(&alice, "bob").await, None).await.unwrap().into_iter().map(|one| one.state).collect();
    assert_eq!(states, [MessageState::Read, MessageState::Read, MessageState::Delivered]);
}

#[tokio::test(flavor = "multi_thread")]
async fn drafts_and_what_is_muted_are_kept_sealed_and_go_with_the_conversation() {
    let world = World::new().await;
    let (alice, _bob) = world.alice_and_bob().await;
    let bobs = named(&alice, "bob").await;
    assert_eq!(alice.draft(bobs).await.unwrap(), "");
    alice.set_draft(bobs, "canary of a draft").await.unwrap();
    alice.set_muted(bobs, true).await.unwrap();
    // Another process, and nothing readable in any file.
    let beside = world.open("alice").await;
    assert_eq!(beside.draft(bobs).await.unwrap(), "canary of a draft");
    for file in std::fs::read_dir(world.home("alice")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"canary"));
    }
    let of_bob = &beside.conversations().await.unwrap()[0];
    assert!(of_bob.muted && of_bob.has_draft);
    let too_long = "x".repeat(MAX_DRAFT_BYTES + 1);
    assert_eq!(alice.set_draft(bobs, &too_long).await.unwrap_err().code(), "text-too-long");
    assert_eq!(alice.draft(bobs).await.unwrap(), "canary of a draft", "unchanged");
    // Deleting the conversation here deletes what was begun to be written in it.
    let extent = alice.extent(bobs).await.unwrap();
    alice.delete_conversation(bobs, extent.end, false).await.unwrap();
    assert_eq!(alice.draft(bobs).await.unwrap(), "");
    assert!(alice.conversations().await.unwrap()[0].muted);
    alice.set_draft(bobs, "once more").await.unwrap();
    alice.contacts().remove(bobs, true, false).await.unwrap();
    assert_eq!(alice.draft(bobs).await.unwrap(), "");
    assert!(matches!(alice.set_draft(bobs, "no").await.unwrap_err(), Error::ContactUnknown { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_knows_when_its_receipts_came() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    say(&alice, "bob", "one").await;
    let bobs = named(&alice, "bob").await;
    let connection = bob.connect().await.unwrap();
    store(&connection).await;
    fetch(&alice).await;
    let delivered = alice.history(bobs, None).await.unwrap().remove(0);
    assert_eq!((&delivered.state, delivered.read_at), (&MessageState::Delivered, None));
    let delivered_at = delivered.delivered_at.unwrap();
    assert!(delivered_at >= delivered.stored_at);
    world.clock.advance(std::time::Duration::from_secs(60));
    bob.mark_read_until(named(&bob, "alice").await, u64::MAX).await.unwrap();
    connection.flush(|_| {}).await.unwrap();
    fetch(&alice).await;
    let read = alice.history(bobs, None).await.unwrap().remove(0);
    assert_eq!((&read.state, read.delivered_at), (&MessageState::Read, Some(delivered_at)), "the first time stays");
    assert!(read.read_at.unwrap() >= delivered_at + 60_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_leads_until_it_lets_go_and_changes_of_another_are_noticed() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let beside = world.open("bob").await;
    let lead = bob.try_lead().await.unwrap().unwrap();
    assert!(beside.try_lead().await.unwrap().is_none());
    let before = beside.changes().await.unwrap();
    assert_eq!(beside.changes().await.unwrap(), before, "nothing happened");
    say(&alice, "bob", "one").await;
    store(&bob.connect().await.unwrap()).await;
    assert_ne!(beside.changes().await.unwrap(), before);
    let own = bob.changes().await.unwrap();
    bob.set_muted(named(&bob, "alice").await, true).await.unwrap();
    assert_ne!(bob.changes().await.unwrap(), own, "of this process, too");
    drop(lead);
    assert!(beside.try_lead().await.unwrap().is_some());
}

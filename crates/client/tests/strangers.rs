//! Many strangers for an hour of virtual time, against two contacts of long standing and a newcomer: the real client, and the
//! rules of the real relay's mailboxes. `KUVERT_STRANGERS=1000` for the full number.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::lying::LyingStore;
use crate::common::stranger::{Stranger, bundle_of};
use crate::common::{World, add, fetch, messages, named, now, say, texts};
use kuvert_client::{AccountId, Client, EnvelopeId, Event};
use kuvert_relay::store::{NewEnvelope, Store};

/// Steps of the hour.
const STEPS: u64 = 10;

/// Envelopes that each stranger offers: eight first messages from one bundle, and what is below.
const FIRST_MESSAGES: u8 = 8;

/// Bytes that a home may grow by for each stranger: a contact's row, a session, a text, and the file's own overhead.
const BYTES_PER_STRANGER: u64 = 24 * 1024;

fn how_many() -> u32 {
    std::env::var("KUVERT_STRANGERS").ok().and_then(|number| number.parse().ok()).unwrap_or(60)
}

#[derive(Debug, Default)]
struct Counts {
    offered: u64,
    stored: u64,
    full: u64,
}

async fn offer(store: &LyingStore, to: &Client, envelope: NewEnvelope, counts: &mut Counts) {
    counts.offered += 1;
    match store.offer(to.whoami().await.unwrap().address, envelope).await {
        Ok(_) => counts.stored += 1,
        Err(_) => counts.full += 1,
    }
}

/// What one stranger does, once.
async fn act(stranger: &mut Stranger, store: &LyingStore, bob: &Client, known: EnvelopeId, counts: &mut Counts) {
    let source = Some(stranger.address());
    let mut number = 0_u8;
    let mut envelope = |ciphertext: Vec<u8>| {
        number += 1;
        NewEnvelope { id: EnvelopeId::from_bytes([number; 16]), source, ciphertext: ciphertext.into() }
    };
    let bundle = bundle_of(store, bob).await;
    let mut sent = Vec::new();
    for session in 0..FIRST_MESSAGES {
        stranger.begin_with(&bundle);
        sent.push(envelope(stranger.text(session, "buy this")));
    }
    // The same text again, a reset, junk in both shapes.
    sent.push(envelope(stranger.text(0, "buy this")));
    sent.push(envelope(stranger.reset(90)));
    let mut junk = stranger.text(91, "x");
    let last = junk.len() - 1;
    junk[last] ^= 1;
    sent.push(envelope(junk));
    sent.push(envelope([&[1, 2][..], &[9; 760]].concat()));
    // Under an id that an honest envelope is going to have.
    sent.push(NewEnvelope { id: known, ..envelope(stranger.text(92, "in the way")) });
    for envelope in sent {
        offer(store, bob, envelope, counts).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_for_an_hour_stop_neither_contacts_nor_a_newcomer_and_get_no_answer() {
    let store = LyingStore::new();
    let world = World::on(Arc::clone(&store) as _).await;
    let (alice, bob) = world.alice_and_bob().await;
    let carol = world.register("carol").await;
    add(&carol, "bob").await;
    for (from, name) in [(&alice, "bob"), (&bob, "alice")] {
        say(from, name, "hello").await;
        fetch(&bob).await;
        fetch(&alice).await;
    }
    // What is asked of the relay about accounts.
    let friends: BTreeSet<AccountId> =
        [&alice, &bob, &carol].iter().map(|client| now(client.whoami()).unwrap().address.account).collect();
    let questions = Arc::new(AtomicU64::new(0));
    let (asked, known) = (Arc::clone(&questions), friends.clone());
    LyingStore::lie(&store.account, move |record| {
        asked.fetch_add(u64::from(!known.contains(&record.account)), Ordering::SeqCst);
        record
    });
    let size =
        || std::fs::read_dir(world.home("bob")).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    // Closed, the log is part of the file.
    drop(bob);
    let before: u64 = size();
    let bob = world.open("bob").await;

    let strangers = how_many();
    let mut counts = Counts::default();
    let (mut to_bob, mut to_alice) = (Vec::new(), Vec::new());
    let (mut at_bob, mut at_alice, requests) = (Vec::new(), Vec::new(), Mutex::new(0_u64));
    let mut newcomer = false;
    for step in 0..STEPS {
        let queued = alice.queue_text(named(&alice, "bob").await, &format!("to Bob {step}")).await.unwrap();
        to_bob.push(format!("to Bob {step}"));
        for number in (0..strangers).filter(|number| u64::from(*number) % STEPS == step) {
            let mut stranger = Stranger::with_id([&number.to_be_bytes()[..], &[0xEE; 12]].concat().try_into().unwrap());
            act(&mut stranger, &store, &bob, queued.id, &mut counts).await;
            // Half of them meet Bob while he is there.
            if number % 7 == 0 {
                at_bob.extend(fetch(&bob).await);
            }
        }
        if step == STEPS / 2 {
            say(&carol, "bob", "a first letter").await;
        }
        fetch(&alice).await.iter().for_each(|event| at_alice.push(event.clone()));
        say(&bob, "alice", &format!("to Alice {step}")).await;
        to_alice.push(format!("to Alice {step}"));
        at_bob.extend(fetch(&bob).await);
        at_alice.extend(fetch(&alice).await);
        world.clock.advance(Duration::from_secs(3600 / STEPS));
        world.relay_clock.advance(Duration::from_secs(3600 / STEPS));
    }
    at_bob.extend(fetch(&bob).await);
    at_alice.extend(fetch(&alice).await);

    let from_contacts: Vec<&str> =
        messages(&at_bob).into_iter().filter(|message| !message.request).map(|message| message.text.as_str()).collect();
    assert_eq!(from_contacts, to_bob, "all that a contact wrote came, in order");
    assert_eq!(texts(&at_alice), to_alice);
    for event in &at_bob {
        match event {
            Event::Message(message) if message.request && message.text == "a first letter" => newcomer = true,
            Event::Request(_) => *requests.lock().unwrap() += 1,
            Event::Undecryptable { .. } | Event::SessionReset { .. } | Event::IdentityChanged { .. } => {
                panic!("on the word of a stranger: {event:?}")
            }
            _ => {}
        }
    }
    assert!(newcomer, "the newcomer's letter came within the hour");
    // Not one envelope of Bob's went to a stranger, and none was asked about.
    let bobs = bob.whoami().await.unwrap().address;
    let answered = {
        let seen = store.seen.lock().unwrap();
        seen.iter().filter(|(to, sent)| sent.source == Some(bobs) && !friends.contains(&to.account)).count()
    };
    assert_eq!(answered, 0);
    assert_eq!(questions.load(Ordering::SeqCst), 0);
    let waiting = store.waiting(bobs).await.unwrap();
    drop(bob);
    let grown = size().saturating_sub(before);
    println!(
        "{strangers} strangers: {counts:?}; {} requests, {grown} bytes in Bob's home, {} envelopes left at the relay",
        requests.lock().unwrap(),
        waiting.count,
    );
    assert!(grown < 4 * 1024 * 1024 + u64::from(strangers) * BYTES_PER_STRANGER, "{grown} bytes");
}

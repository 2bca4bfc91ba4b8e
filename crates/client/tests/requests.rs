//! Another registered user, with a client of its own making: what it can make a home keep, show, send and ask for before it
//! was accepted, and what a contact can.

use std::sync::Arc;
use std::time::Duration;

use crate::common::lying::LyingStore;
use crate::common::stranger::Stranger;
use crate::common::{
    World, add, address, fetch, messages, named, now, refusals, say, texts, world_with_a_lying_store as world,
};
use kuvert_client::{Address, Client, DropReason, EnvelopeId, Event, Level, Profile, Receipts};
use kuvert_protocol::sealed_sender;
use kuvert_relay::store::{AccountBy, AccountChange, NewEnvelope, Store};
use kuvert_types::device_list::DeviceEntry;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Envelopes that a client submitted, by recipient.
fn sent_by(store: &LyingStore, client: &Client) -> Vec<Address> {
    let source = now(address(client));
    let seen = store.seen.lock().unwrap();
    seen.iter().filter(|(_, envelope)| envelope.source == Some(source)).map(|(recipient, _)| *recipient).collect()
}

fn id(number: u8) -> EnvelopeId {
    EnvelopeId::from_bytes([number; 16])
}

/// A stranger whose request bob accepts, as `mallory`: a contact with a client and a device list of its own making.
async fn accepted(store: &LyingStore, bob: &Client, mut stranger: Stranger) -> Stranger {
    stranger.begin(store, bob).await;
    let text = stranger.text(1, "hello");
    stranger.send(store, bob, text).await;
    fetch(bob).await;
    let who = bob.contacts().requests().await.unwrap()[0].alias.clone();
    bob.contacts().accept_request(named(bob, &who).await, Some("mallory")).await.unwrap();
    stranger
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_35_a_home_that_takes_no_sealed_mail_opens_none() {
    let (store, world, alice, bob) = world().await;
    say(&alice, "bob", "hello").await;
    fetch(&bob).await;
    let bobs = world.certificate(&bob).await;
    let mut mallory = Stranger::new(7);
    mallory.begin(&store, &bob).await;
    let message = mallory.text(1, "sealed, and not asked for");
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    let sealed = sealed_sender::seal(&mallory.device, &bobs, &message, &mut rng).unwrap();
    let inject = |number: u8| {
        let envelope = NewEnvelope { id: id(number), source: None, ciphertext: sealed.clone().into() };
        store.inject(now(address(&bob)), envelope)
    };
    inject(1).await;
    let events = fetch(&bob).await;
    assert_eq!(refusals(&events), [DropReason::AnonymousUnasked]);
    // At a level that takes it: still no stranger's, for no relay has checked its name.
    bob.set_level(Level::L2).await.unwrap();
    inject(2).await;
    let events = fetch(&bob).await;
    assert_eq!(refusals(&events), [DropReason::UnknownSender]);
    assert!(texts(&events).is_empty() && bob.contacts().requests().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_36_what_has_not_authenticated_makes_no_contact_no_session_no_reset_and_no_question() {
    let (store, world, alice, bob) = world().await;
    let carol = world.register("carol").await;
    say(&alice, "bob", "hello").await;
    fetch(&bob).await;
    bob.set_level(Level::L2).await.unwrap();
    fetch(&bob).await;
    let (before, mut mallory) = (sent_by(&store, &bob).len(), Stranger::new(7));
    mallory.begin(&store, &bob).await;
    // Junk behind the right prekey ids; junk of the length of a message; under a stranger's, a third person's, and under a
    // seal by a contact.
    let mut prekey_message = mallory.text(1, "x");
    let last = prekey_message.len() - 1;
    prekey_message[last] ^= 1;
    let ratchet_message = [&[1, 2][..], &[9; 760]].concat();
    let bobs = world.certificate(&bob).await;
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    for (number, junk) in [prekey_message, ratchet_message].into_iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        mallory.send(&store, &bob, junk.clone()).await;
        let by_carol =
            NewEnvelope { id: id(100 + number), source: Some(address(&carol).await), ciphertext: junk.clone().into() };
        store.inject(address(&bob).await, by_carol).await;
        let sealed = sealed_sender::seal(&mallory.device, &bobs, &junk, &mut rng).unwrap();
        let sealed = NewEnvelope { id: id(110 + number), source: None, ciphertext: sealed.into() };
        store.inject(address(&bob).await, sealed).await;
    }
    // What would open, under a seal: no relay has checked the name of one who is no contact.
    let first_message = mallory.text(2, "let me in");
    let sealed = sealed_sender::seal(&mallory.device, &bobs, &first_message, &mut rng).unwrap();
    store.inject(address(&bob).await, NewEnvelope { id: id(120), source: None, ciphertext: sealed.into() }).await;
    let questions = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let asked = Arc::clone(&questions);
    LyingStore::lie(&store.account, move |record| {
        asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        record
    });
    let events = fetch(&bob).await;
    for _ in 0..3 {
        world.clock.advance(HOUR);
        fetch(&bob).await;
    }
    assert!(texts(&events).is_empty() && refusals(&events).len() == 7, "{events:?}");
    assert_eq!(bob.contacts().list().await.unwrap().len(), 1);
    assert!(bob.contacts().requests().await.unwrap().is_empty());
    assert_eq!(sent_by(&store, &bob).len(), before, "nothing left for it");
    assert_eq!(questions.load(std::sync::atomic::Ordering::SeqCst), 0, "the relay was asked for nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_38_a_stranger_gets_no_answer_and_a_contact_one_for_each_reset() {
    let (store, world, alice, bob) = world().await;
    let mut mallory = Stranger::new(7);
    mallory.begin(&store, &bob).await;
    for _ in 0..3 {
        let (text, reset) = (mallory.text(1, "are you there?"), mallory.reset(2));
        mallory.send(&store, &bob, text).await;
        mallory.send(&store, &bob, reset).await;
        fetch(&bob).await;
        world.clock.advance(2 * HOUR);
    }
    assert!(sent_by(&store, &bob).iter().all(|to| *to != mallory.address()), "no answer to a stranger");
    assert_eq!(bob.contacts().requests().await.unwrap().len(), 1);

    // Accepted, it is confirmed what it wrote; repetitions bring nothing, and resets one confirmation an hour.
    let who = bob.contacts().requests().await.unwrap()[0].alias.clone();
    bob.contacts().accept_request(named(&bob, &who).await, None).await.unwrap();
    // The relay has to know a contact.
    mallory.register(&store).await;
    let mallorys = mallory.address();
    let answers = |store: &LyingStore| sent_by(store, &bob).iter().filter(|to| **to == mallorys).count();
    fetch(&bob).await;
    let accepted = answers(&store);
    assert_eq!(accepted, 1, "its text is confirmed now");
    for _ in 0..5 {
        let text = mallory.text(1, "are you there?");
        mallory.send(&store, &bob, text).await;
        fetch(&bob).await;
    }
    assert_eq!(answers(&store), accepted, "a repetition brings no receipt");
    for round in 0..4 {
        let reset = mallory.reset(50 + round);
        mallory.send(&store, &bob, reset).await;
        fetch(&bob).await;
    }
    assert_eq!(answers(&store), accepted + 1, "one reset an hour is confirmed");
    drop(alice);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_38_made_up_receipts_alarm_nobody_from_a_stranger_and_once_from_a_contact() {
    let (store, world, alice, bob) = world().await;
    let mut mallory = Stranger::new(7);
    mallory.begin(&store, &bob).await;
    let behind = |events: &[Event]| events.iter().filter(|event| matches!(event, Event::HomeBehind { .. })).count();
    let text = mallory.text(1, "hello");
    mallory.send(&store, &bob, text).await;
    let receipt = mallory.receipt(2);
    mallory.send(&store, &bob, receipt).await;
    assert_eq!(behind(&fetch(&bob).await), 0);
    let who = bob.contacts().requests().await.unwrap()[0].alias.clone();
    bob.contacts().accept_request(named(&bob, &who).await, None).await.unwrap();
    mallory.register(&store).await;
    let before = sent_by(&store, &bob).len();
    let mut told = 0;
    for round in 0..3 {
        for number in 0..4 {
            let receipt = mallory.receipt(10 + 4 * round + number);
            mallory.send(&store, &bob, receipt).await;
        }
        told += behind(&fetch(&bob).await);
    }
    assert_eq!(told, 3, "once for each time that mail is fetched");
    // A receipt for its text, and one reset for all of it.
    assert!(sent_by(&store, &bob).len() <= before + 2);
    drop((alice, world));
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_41_a_name_that_moved_an_id_for_a_name_and_a_strangers_name_lead_to_nobody_else() {
    let (store, world, alice, bob) = world().await;
    // Bob gives his name up, Mallory takes it and writes.
    let (bobs, change) = (address(&bob).await.account, |name: Option<&str>| {
        let name = Some(name.map(str::to_owned));
        AccountChange { name, ..AccountChange::default() }
    });
    store.update_account(bobs, change(Some("robert"))).await.unwrap();
    let profile = Profile { name: Some("bob".to_owned()), ..Profile::default() };
    let mallory = Client::register(&world.home("mallory"), world.url.clone(), profile, world.options()).await.unwrap();
    assert!(store.account(AccountBy::Name("bob".to_owned())).await.unwrap().is_some());
    add(&mallory, "alice").await;
    say(&mallory, "alice", "it is me, Bob").await;
    let events = fetch(&alice).await;
    let message = messages(&events)[0];
    assert!(message.request && message.alias != "bob", "{message:?}");
    say(&alice, "bob", "for Bob").await;
    assert_eq!(texts(&fetch(&bob).await), ["for Bob"]);
    assert!(texts(&fetch(&mallory).await).is_empty());
    // Once accepted, and added by the relay's name: the older contact keeps its name.
    add(&alice, "bob").await;
    assert_eq!(alice.contacts().find("bob").await.unwrap().account, bobs);
    // The relay's new name is news, no more.
    let news = |events: &[Event]| {
        events.iter().any(|event| {
            matches!(event, Event::NameChanged { who, from, to, .. }
                if who == "bob" && from.as_deref() == Some("bob") && to.as_deref() == Some("robert"))
        })
    };
    let events = fetch(&alice).await;
    assert!(news(&events), "{events:?}");
    assert!(!news(&fetch(&alice).await), "told once");
    // An account's id is the account, for names and aliases alike.
    let id = bobs.to_string();
    assert_eq!(alice.contacts().find(&id).await.unwrap().account, bobs);
    let connection = alice.connect().await.unwrap();
    for alias in [id.clone(), id.to_uppercase()] {
        let error = connection.add_contact("bob", Some(&alias)).await.unwrap_err();
        assert_eq!(error.code(), "alias-invalid");
    }
    assert!(!kuvert_types::limits::is_valid_name("abcdefghijklmnopqrstuvwxya"));
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_42_what_a_removed_device_sends_on_a_standing_session_is_not_shown() {
    let (store, world, alice, bob) = world().await;
    let mut mallory = accepted(&store, &bob, Stranger::new(7)).await;
    let account = mallory.address().account;
    let other = DeviceEntry { device: kuvert_client::DeviceId::new(2).unwrap(), certificate_hash: [3; 32] };
    let shorter = mallory.list(2, vec![other]);
    let wider = mallory.list(3, vec![mallory.entry(), other]);
    mallory.register(&store).await;
    say(&bob, "mallory", "hello yourself").await;
    let text = mallory.text(2, "listed");
    mallory.send(&store, &bob, text).await;
    assert_eq!(texts(&fetch(&bob).await), ["listed"]);

    // The device is taken off the list. Bob's next letter fetches the list.
    LyingStore::lie(&store.account, move |mut record| {
        if record.account == account {
            record.device_list = shorter.clone();
        }
        record
    });
    let connection = bob.connect().await.unwrap();
    assert_eq!(connection.send_text(named(&bob, "mallory").await, "?").await.unwrap_err().code(), "device-not-ready");
    let text = mallory.text(3, "removed");
    mallory.send(&store, &bob, text).await;
    let events = fetch(&bob).await;
    assert!(texts(&events).is_empty(), "{events:?}");
    assert_eq!(refusals(&events), [DropReason::UnlistedDevice], "the newest list was asked for, and does not name it");
    // Were it listed again, what it writes is shown, once the list is known.
    LyingStore::lie(&store.account, move |mut record| {
        if record.account == account {
            record.device_list = wider.clone();
        }
        record
    });
    let text = mallory.text(4, "back");
    mallory.send(&store, &bob, text).await;
    assert_eq!(texts(&fetch(&bob).await), ["back"]);
    drop((world, alice));
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_42_what_keeps_the_newest_named_list_from_being_fetched_stops_sending() {
    let (store, _world, _alice, bob) = world().await;
    let mallory = Stranger::new(7);
    mallory.register(&store).await;
    let mut mallory = accepted(&store, &bob, mallory).await;
    let connection = bob.connect().await.unwrap();
    connection.send_text(named(&bob, "mallory").await, "hello").await.unwrap();
    // Its own word: there is a newer list. The relay does not give it, because it was asked too often.
    let state = mallory.list_state(2);
    let text = mallory.text_under(state, 2, "I have another device now");
    mallory.send(&store, &bob, text).await;
    fetch(&bob).await;
    let connection = bob.connect().await.unwrap();
    let mut asked = 0;
    while connection.add_contact("mallory-is-not-there", None).await.unwrap_err().code() != "limited" {
        asked += 1;
        assert!(asked < 10_000);
    }
    let before = store.seen.lock().unwrap().len();
    assert_eq!(
        connection.send_text(named(&bob, "mallory").await, "to which devices?").await.unwrap_err().code(),
        "limited"
    );
    assert_eq!(store.seen.lock().unwrap().len(), before, "nothing left");
    assert_eq!(bob.queued().await.unwrap().len(), 1, "it waits");
}

/// A list that contradicts what was seen is not taken, and told: a relay that shows an old one, or a contact with two.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_asked_for_and_contradicts_the_known_one_is_told_and_opens_nothing() {
    let (store, _world, _alice, bob) = world().await;
    let mut mallory = accepted(&store, &bob, Stranger::new(7)).await;
    mallory.register(&store).await;
    let account = mallory.address().account;
    let other = DeviceEntry { device: kuvert_client::DeviceId::new(2).unwrap(), certificate_hash: [3; 32] };
    let (known, older) = (mallory.list(3, vec![other]), mallory.list(2, vec![mallory.entry(), other]));
    LyingStore::lie(&store.account, move |mut record| {
        if record.account == account {
            record.device_list = known.clone();
        }
        record
    });
    let connection = bob.connect().await.unwrap();
    assert_eq!(connection.send_text(named(&bob, "mallory").await, "?").await.unwrap_err().code(), "device-not-ready");
    LyingStore::lie(&store.account, move |mut record| {
        if record.account == account {
            record.device_list = older.clone();
        }
        record
    });
    let text = mallory.text(2, "listed once");
    mallory.send(&store, &bob, text).await;
    let events = fetch(&bob).await;
    assert!(texts(&events).is_empty(), "{events:?}");
    let told = |event: &&Event| matches!(event, Event::DeviceListConflict { who, .. } if who == "mallory");
    assert_eq!(events.iter().filter(told).count(), 1, "{events:?}");
}

/// A contact that was removed is a stranger again. Its session goes on, and so does the key that this one is with.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_contact_that_goes_on_writing_asks_again_and_its_tick_asks_for_nothing() {
    let (_store, _world, alice, bob) = world().await;
    say(&alice, "bob", "hello").await;
    fetch(&bob).await;
    fetch(&alice).await;
    say(&bob, "alice", "hello yourself").await;
    bob.contacts().remove(named(&bob, "alice").await, true, true).await.unwrap();
    assert_eq!(texts(&fetch(&alice).await), ["hello yourself"]);
    assert!(texts(&fetch(&bob).await).is_empty());
    assert_eq!(bob.contacts().requests().await.unwrap(), [], "a tick is no request");
    say(&alice, "bob", "why?").await;
    let events = fetch(&bob).await;
    assert_eq!(texts(&events), ["why?"]);
    assert!(messages(&events)[0].request, "{events:?}");
    let requests = bob.contacts().requests().await.unwrap();
    assert_eq!(requests.iter().map(|request| request.account).collect::<Vec<_>>(), [address(&alice).await.account]);
}

/// [KV-081] Only a contact that may be written to can have changed its key: of a request, and of a blocked one, nothing is told.
#[tokio::test(flavor = "multi_thread")]
async fn another_key_of_a_request_or_of_a_blocked_contact_is_refused_and_not_told() {
    let (store, _world, _alice, bob) = world().await;
    let mut mallory = Stranger::new(7);
    mallory.begin(&store, &bob).await;
    let text = mallory.text(1, "hello");
    mallory.send(&store, &bob, text).await;
    fetch(&bob).await;
    let who = bob.contacts().requests().await.unwrap()[0].alias.clone();
    let changed = |events: &[Event]| events.iter().any(|event| matches!(event, Event::IdentityChanged { .. }));
    for round in 0..3 {
        let mut other = Stranger::posing_as(mallory.address());
        other.begin(&store, &bob).await;
        let text = other.text(1, "under another key");
        other.send_as(&store, &bob, id(100 + round), text).await;
        let events = fetch(&bob).await;
        assert!(texts(&events).is_empty(), "{events:?}");
        match round {
            // A request.
            0 => {
                assert_eq!((refusals(&events), changed(&events)), (vec![DropReason::WrongSource], false), "{events:?}");
                bob.contacts().accept_request(named(&bob, &who).await, Some("mallory")).await.unwrap();
                bob.contacts().set_blocked(named(&bob, "mallory").await, true).await.unwrap();
            }
            // A blocked contact.
            1 => {
                assert_eq!((refusals(&events), changed(&events)), (vec![DropReason::WrongSource], false), "{events:?}");
                bob.contacts().set_blocked(named(&bob, "mallory").await, false).await.unwrap();
            }
            _ => assert_eq!((refusals(&events), changed(&events)), (vec![], true), "{events:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_44_garbage_is_not_remembered_and_told_once() {
    let (store, world, alice, bob) = world().await;
    say(&alice, "bob", "hello").await;
    fetch(&bob).await;
    // Closed, the log is part of the file.
    let size = |client: Client| {
        drop(client);
        std::fs::read_dir(world.home("bob")).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let before = size(bob);
    let bob = world.open("bob").await;
    // More than one account's share of the mailbox.
    for account in 10..20 {
        let mallory = Stranger::new(account);
        for number in 0..100 {
            mallory.send_as(&store, &bob, id(number), vec![9; 800]).await;
        }
    }
    let events = fetch(&bob).await;
    assert_eq!(refusals(&events).len(), 1_000);
    assert!(events.len() < 5, "told in sum: {} events", events.len());
    let after = size(bob);
    assert!(after <= before + 65_536, "{before} bytes before, {after} after");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_45_a_request_waits_for_its_acceptance_and_a_blocked_one_is_not_shown() {
    let (store, world, alice, bob) = world().await;
    drop(alice);
    let mut mallory = Stranger::new(7);
    mallory.begin(&store, &bob).await;
    let long = "x".repeat(60_000);
    // More than is kept: the first are, and what is not is said.
    let mut events = Vec::new();
    for number in 0..10 {
        let text = mallory.text(number, &long);
        mallory.send(&store, &bob, text).await;
        events.extend(fetch(&bob).await);
    }
    assert_eq!(messages(&events).len(), 4);
    assert!(messages(&events).iter().all(|message| message.request));
    assert_eq!(refusals(&events), [DropReason::NoRoom; 6]);
    let request = &bob.contacts().requests().await.unwrap()[0];
    assert_eq!((request.alias.as_str(), request.name.as_deref()), (&request.account.to_string()[..8], None));
    assert_eq!(bob.contacts().list().await.unwrap().len(), 1);
    bob.contacts().set_blocked(named(&bob, &request.alias).await, true).await.unwrap();
    let text = mallory.text(20, "still there?");
    mallory.send(&store, &bob, text).await;
    assert!(fetch(&bob).await.iter().all(|event| *event == Event::CaughtUp));
    drop(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_45_what_a_request_wrote_too_much_of_comes_again_once_it_is_accepted() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_a_stranger().await;
    let long = "x".repeat(60_000);
    for number in 0..6 {
        say(&alice, "bob", &format!("{number} {long}")).await;
    }
    assert_eq!(texts(&fetch(&bob).await).len(), 4);
    let who = bob.contacts().requests().await.unwrap()[0].alias.clone();
    bob.contacts().accept_request(named(&bob, &who).await, Some("alice")).await.unwrap();
    fetch(&bob).await;
    fetch(&alice).await;
    let again = fetch(&bob).await;
    let numbers: Vec<&str> = texts(&again).iter().map(|text| &text[..1]).collect();
    assert_eq!(numbers, ["4", "5"], "the rest, and nothing twice");
    let history = bob.history(named(&bob, "alice").await, None).await.unwrap();
    assert_eq!(history.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_47_what_comes_under_a_changed_key_waits_until_the_key_is_accepted() {
    let (store, _world, alice, bob) = world().await;
    say(&alice, "bob", "hello").await;
    fetch(&bob).await;
    fetch(&alice).await;
    // Bob under other keys: a new device after a loss, or a relay in between.
    let mut other = Stranger::posing_as(address(&bob).await);
    other.begin(&store, &alice).await;
    for number in 1..=2 {
        let text = other.text(number, &format!("number {number}"));
        other.send(&store, &alice, text).await;
    }
    let events = fetch(&alice).await;
    assert!(matches!(&events[0], Event::IdentityChanged { who, .. } if who == "bob"), "{events:?}");
    assert!(
        events.iter().any(|event| matches!(event, Event::Held { who, count: 2, .. } if who == "bob")),
        "{events:?}"
    );
    assert!(texts(&events).is_empty() && refusals(&events).is_empty());
    let text = other.text(3, "number 3");
    other.send(&store, &alice, text).await;
    assert!(texts(&fetch(&alice).await).is_empty());
    alice.contacts().accept_key(named(&alice, "bob").await).await.unwrap();
    assert_eq!(texts(&fetch(&alice).await), ["number 1", "number 2", "number 3"]);
    assert!(texts(&fetch(&alice).await).is_empty(), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_50_an_envelope_id_is_one_for_its_sender_only() {
    let (store, world, alice, bob) = world().await;
    let mut mallory = Stranger::new(7);
    mallory.begin(&store, &bob).await;
    let connection = alice.connect().await.unwrap();
    // Alice's next envelope has the message's id: Mallory, who learned it, is first.
    let queued = alice.queue_text(named(&alice, "bob").await, "from Alice").await.unwrap();
    let text = mallory.text(1, "from Mallory");
    mallory.send_as(&store, &bob, queued.id, text).await;
    assert_eq!(texts(&fetch(&bob).await), ["from Mallory"]);
    connection.flush(|_| {}).await.unwrap();
    assert_eq!(texts(&fetch(&bob).await), ["from Alice"]);
    drop(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn named_mail_carries_the_access_key_that_a_contact_told_and_receipts_can_stay_off() {
    let (store, world, alice, bob) = world().await;
    bob.set_receipts(Receipts::Off).await.unwrap();
    say(&alice, "bob", "hello").await;
    fetch(&bob).await;
    assert!(sent_by(&store, &bob).is_empty(), "receipts are off");
    say(&bob, "alice", "hello").await;
    fetch(&alice).await;
    // [KV-082] At a level that seals, too: the key came without leave to send sealed mail.
    alice.set_level(Level::L2).await.unwrap();
    say(&alice, "bob", "now as a contact").await;
    let classes: Vec<bool> = {
        let seen = store.as_contact.lock().unwrap();
        seen.iter().filter(|(to, _)| *to == now(address(&bob))).map(|(_, contact)| *contact).collect()
    };
    assert_eq!(classes, [false, true, true], "the first letter, the receipt, the second letter");
    assert!(store.seen.lock().unwrap().iter().all(|(_, envelope)| envelope.source.is_some()));
    drop(world);
}

//! A relay that lies, replays, tampers and misdelivers: a clear event, nothing lost that an honest relay can still bring.

use std::sync::Arc;

use crate::common::lying::LyingStore;
use crate::common::stranger::bundle_of;
use crate::common::{address, fetch, messages, named, now, refusals, say, texts, world_with_a_lying_store as world};
use kuvert_client::{Address, Client, DeviceId, DropReason, EnvelopeId, Event, Level};
use kuvert_protocol::{AccountSecret, DeviceSecrets, LocalDevice, SessionRecord, sealed_sender};
use kuvert_relay::store::{AccountBy, AccountRecord, NewEnvelope, NumberedDeviceList, Store};
use kuvert_types::device_list::{DeviceEntry, DeviceListBody};

/// Another account's keys under a victim's address.
struct Impostor {
    account: AccountSecret,
    device: LocalDevice,
}

impl Impostor {
    fn of(victim: Address) -> Self {
        let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
        let (account, secrets) = (AccountSecret::generate(&mut rng), DeviceSecrets::generate(&mut rng));
        let certificate = secrets.certify(&account, victim);
        Self { account, device: LocalDevice::new(secrets, certificate).unwrap() }
    }

    /// The first message of a session that was begun with what the relay has of `whom`.
    async fn begins_with(&self, store: &LyingStore, whom: &Client) -> Vec<u8> {
        let bundle = bundle_of(store, whom).await;
        let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
        let mut session = SessionRecord::new();
        session.initiate(&self.device, &bundle, 1, &mut rng).unwrap();
        session.encrypt(b"It is I, honestly", 1, &mut rng).unwrap()
    }

    fn lie(&self, mut record: AccountRecord) -> AccountRecord {
        let certificate = self.device.certificate();
        if record.account != certificate.address().account {
            return record;
        }
        let entry = DeviceEntry { device: DeviceId::PRIMARY, certificate_hash: certificate.hash() };
        let body = DeviceListBody { account: record.account, number: 1, devices: vec![entry] };
        let list = self.account.sign_device_list(&body).unwrap();
        record.account_key = self.account.public();
        record.device_list = NumberedDeviceList { number: 1, bytes: list.encode().into() };
        record.devices[0].certificate = certificate.encode().to_vec().into();
        record
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_account_key_stops_mail_to_that_contact_only_until_it_is_accepted() {
    let (store, world, alice, bob) = world().await;
    let carol = world.register("carol").await;
    let connection = alice.connect().await.unwrap();
    connection.add_contact("carol", None).await.unwrap();
    let number = alice.contacts().safety_number(named(&alice, "bob").await).await.unwrap();
    alice.contacts().verify(named(&alice, "bob").await).await.unwrap();

    let impostor = Arc::new(Impostor::of(address(&bob).await));
    let lie = Arc::clone(&impostor);
    LyingStore::lie(&store.account, move |record| lie.lie(record));
    let to_bob = alice.queue_text(named(&alice, "bob").await, "secret").await.unwrap();
    alice.queue_text(named(&alice, "carol").await, "hello carol").await.unwrap();
    let connection = alice.connect().await.unwrap();
    let report = connection.flush(|_| {}).await.unwrap();
    assert_eq!(report.accepted.iter().map(|a| a.to.as_str()).collect::<Vec<_>>(), ["carol"]);
    assert_eq!((report.not_sent[0].message, report.not_sent[0].error.code()), (to_bob, "identity-changed"));
    assert!(report.not_sent[0].will_retry);
    let contact = alice.contacts().find("bob").await.unwrap();
    assert!(contact.key_changed);
    let changed = alice.contacts().safety_number(named(&alice, "bob").await).await.unwrap();
    assert!(changed.digits != number.digits && !changed.verified);
    assert_eq!(alice.queue_text(named(&alice, "bob").await, "more").await.unwrap_err().code(), "identity-changed");
    assert_eq!(alice.contacts().verify(named(&alice, "bob").await).await.unwrap_err().code(), "identity-changed");
    assert_eq!(connection.add_contact("bob", None).await.unwrap_err().code(), "identity-changed");
    assert_eq!(texts(&fetch(&carol).await), ["hello carol"]);

    // Accepted by mistake: the honest record shows up as the next change.
    LyingStore::stop(&store.account);
    assert!(!alice.contacts().accept_key(named(&alice, "bob").await).await.unwrap().verified);
    fetch(&alice).await;
    assert!(alice.contacts().find("bob").await.unwrap().key_changed);
    assert_eq!(alice.contacts().safety_number(named(&alice, "bob").await).await.unwrap().digits, number.digits);
    alice.contacts().accept_key(named(&alice, "bob").await).await.unwrap();
    fetch(&alice).await;
    assert_eq!(texts(&fetch(&bob).await), ["secret"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_link_verifies_at_once_and_catches_a_relay_that_shows_another_key() {
    let (store, world, alice, bob) = world().await;
    let dave = world.register("dave").await;
    let connection = dave.connect().await.unwrap();
    let link = bob.invite().await.unwrap().to_string();
    let impostor = Impostor::of(address(&bob).await);
    LyingStore::lie(&store.account, move |record| impostor.lie(record));
    assert_eq!(connection.add_contact(&link, None).await.unwrap_err().code(), "invite-mismatch");
    assert!(dave.contacts().list().await.unwrap().is_empty());
    // By name there is nothing to compare with. The link puts it right.
    assert!(!connection.add_contact("bob", None).await.unwrap().verified);
    LyingStore::stop(&store.account);
    let contact = connection.add_contact(&link, Some("Robert")).await.unwrap();
    assert!(contact.verified && !contact.key_changed);
    assert_eq!(contact.alias, "Robert");
    assert_eq!(dave.contacts().safety_number(named(&dave, "Robert").await).await.unwrap().digits.len(), 60);
    // Adding by link what was added by name verifies it.
    let connection = alice.connect().await.unwrap();
    assert!(!alice.contacts().find("bob").await.unwrap().verified);
    assert!(connection.add_contact(&link, None).await.unwrap().verified);
}

/// [KV-094] Of one piece, and not what was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_another_account_than_was_asked_for_is_refused() {
    let (store, world, alice, _bob) = world().await;
    let (carol, mallory) = (world.register("carol").await, world.register("mallory").await);
    let asked_for = address(&carol).await.account;
    let other = store.account(AccountBy::Id(address(&mallory).await.account)).await.unwrap().unwrap();
    LyingStore::lie(&store.account, move |_| other.clone());
    let connection = alice.connect().await.unwrap();
    let refused = connection.add_contact(&asked_for.to_string(), None).await.unwrap_err();
    assert_eq!(refused.code(), "relay-protocol");
    assert_eq!(alice.contacts().list().await.unwrap().len(), 1, "bob alone");
    LyingStore::stop(&store.account);
    assert_eq!(connection.add_contact(&asked_for.to_string(), None).await.unwrap().account, asked_for);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ghost_device_and_false_prekeys_are_refused_and_the_text_waits_for_the_truth() {
    let (store, _world, alice, bob) = world().await;
    let ghost = Impostor::of(Address { device: DeviceId::new(2).unwrap(), ..address(&bob).await });
    LyingStore::lie(&store.account, move |mut record| {
        let mut device = record.devices[0].clone();
        device.address.device = DeviceId::new(2).unwrap();
        device.certificate = ghost.device.certificate().encode().to_vec().into();
        record.devices.push(device);
        record
    });
    let connection = alice.connect().await.unwrap();
    let error = connection.send_text(named(&alice, "bob").await, "one").await.unwrap_err();
    assert_eq!(error.code(), "bundle-refused");
    LyingStore::stop(&store.account);
    LyingStore::lie(&store.bundle, |mut bundle| {
        let mut signature = bundle.signed.signature.to_vec();
        signature[0] ^= 1;
        bundle.signed.signature = signature.into();
        bundle
    });
    let error = connection.send_text(named(&alice, "bob").await, "two").await.unwrap_err();
    assert_eq!(error.code(), "bundle-refused");
    LyingStore::stop(&store.bundle);
    let report = connection.flush(|_| {}).await.unwrap();
    assert_eq!((report.accepted.len(), report.not_sent.len()), (2, 0));
    assert_eq!(texts(&fetch(&bob).await), ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_message_is_reported_and_comes_again_over_a_fresh_session() {
    let (store, _world, alice, bob) = world().await;
    say(&alice, "bob", "one").await;
    fetch(&bob).await;
    fetch(&alice).await;
    LyingStore::lie(&store.envelope, |mut envelope| {
        let mut bytes = envelope.ciphertext.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        envelope.ciphertext = bytes.into();
        envelope
    });
    say(&alice, "bob", "two").await;
    LyingStore::stop(&store.envelope);
    say(&alice, "bob", "three").await;
    let events = fetch(&bob).await;
    assert_eq!(texts(&events), ["three"]);
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Undecryptable { who, reset_queued: true, .. } if who == "alice"))
    );
    let events = fetch(&alice).await;
    assert!(events.iter().any(|event| matches!(event, Event::SessionReset { who, .. } if who == "bob")), "{events:?}");
    assert_eq!(texts(&fetch(&bob).await), ["two"]);
    // The fresh session carries both ways.
    say(&bob, "alice", "four").await;
    assert_eq!(texts(&fetch(&alice).await), ["four"]);
    say(&alice, "bob", "five").await;
    assert_eq!(texts(&fetch(&bob).await), ["five"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_are_dropped_under_the_old_id_and_under_a_new_one() {
    let (store, _world, alice, bob) = world().await;
    say(&alice, "bob", "first").await;
    say(&alice, "bob", "second").await;
    let events = fetch(&bob).await;
    assert_eq!(texts(&events), ["first", "second"]);
    let seen: Vec<_> = store.seen.lock().unwrap().iter().filter(|(to, _)| *to == now(address(&bob))).cloned().collect();
    // [KV-063] The copy for the first device goes by the message's id.
    let shown: Vec<_> = messages(&events).iter().map(|message| message.message.id).collect();
    assert_eq!(seen.iter().map(|(_, envelope)| envelope.id).collect::<Vec<_>>(), shown);
    for (mailbox, envelope) in &seen {
        store.inject(*mailbox, envelope.clone()).await;
    }
    assert_eq!(fetch(&bob).await, [Event::CaughtUp], "the same envelope again: silence");
    for (index, (mailbox, envelope)) in seen.into_iter().enumerate() {
        let id = EnvelopeId::from_bytes([index as u8; 16]);
        store.inject(mailbox, NewEnvelope { id, ..envelope }).await;
    }
    let events = fetch(&bob).await;
    assert_eq!(refusals(&events), [DropReason::Replayed, DropReason::Replayed]);
    assert!(texts(&events).is_empty());
    say(&alice, "bob", "third").await;
    assert_eq!(texts(&fetch(&bob).await), ["third"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn misdelivered_mislabelled_and_random_envelopes_are_acknowledged_and_named() {
    let (store, world, alice, bob) = world().await;
    let carol = world.register("carol").await;
    let connection = alice.connect().await.unwrap();
    connection.add_contact("carol", None).await.unwrap();
    for (from, to) in [(&alice, "bob"), (&alice, "carol"), (&carol, "bob")] {
        if to == "bob" && from.contacts().list().await.unwrap().iter().all(|contact| contact.alias != "bob") {
            let connection = from.connect().await.unwrap();
            connection.add_contact("bob", None).await.unwrap();
        }
        say(from, to, "hello").await;
        fetch(&bob).await;
        fetch(&carol).await;
    }
    say(&alice, "carol", "for carol only").await;
    let for_carol = {
        let seen = store.seen.lock().unwrap();
        seen.iter().rfind(|(to, _)| *to == now(address(&carol))).cloned().unwrap().1
    };
    let mailbox = address(&bob).await;
    let envelope = |id: u8, source: Option<Address>, ciphertext: &[u8]| NewEnvelope {
        id: EnvelopeId::from_bytes([id; 16]),
        source,
        ciphertext: ciphertext.to_vec().into(),
    };
    store.inject(mailbox, envelope(1, Some(address(&alice).await), &for_carol.ciphertext)).await;
    store.inject(mailbox, envelope(2, None, &for_carol.ciphertext)).await;
    store.inject(mailbox, envelope(3, Some(mailbox), &for_carol.ciphertext)).await;
    store.inject(mailbox, envelope(4, Some(address(&alice).await), b"random bytes")).await;
    let stranger = Address { account: kuvert_client::AccountId::from_bytes([9; 16]), device: DeviceId::PRIMARY };
    store.inject(mailbox, envelope(5, Some(stranger), &for_carol.ciphertext)).await;
    let events = fetch(&bob).await;
    assert!(texts(&events).is_empty());
    assert!(
        events.iter().any(|event| matches!(event, Event::Undecryptable { who, .. } if who == "alice")),
        "{events:?}"
    );
    let expected =
        [DropReason::AnonymousUnasked, DropReason::WrongSource, DropReason::Malformed, DropReason::UnknownSender];
    assert_eq!(refusals(&events), expected);
    let waiting = store.waiting(mailbox).await.unwrap();
    assert_eq!(waiting.count, 0, "acknowledged");
    assert_eq!(bob.contacts().list().await.unwrap().len(), 1, "no stranger entered the address book");
    assert_eq!(bob.contacts().requests().await.unwrap().len(), 1, "carol's");
    assert_eq!(texts(&fetch(&carol).await), ["for carol only"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_under_another_key_for_a_known_contact_is_not_opened_and_stops_sending() {
    let (store, _world, alice, bob) = world().await;
    let impostor = Impostor::of(address(&bob).await);
    let ciphertext = impostor.begins_with(&store, &alice).await;
    let id = EnvelopeId::from_bytes([1; 16]);
    let envelope = NewEnvelope { id, source: Some(address(&bob).await), ciphertext: ciphertext.into() };
    store.inject(address(&alice).await, envelope).await;
    let events = fetch(&alice).await;
    assert!(matches!(&events[0], Event::IdentityChanged { who, .. } if who == "bob"), "{events:?}");
    assert!(texts(&events).is_empty());
    assert_eq!(alice.queue_text(named(&alice, "bob").await, "x").await.unwrap_err().code(), "identity-changed");
}

/// The same with the sender sealed: every holder of the access key can send that, so nothing comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn attack_33_a_first_message_under_another_key_changes_nothing_when_it_is_sealed() {
    let (store, world, alice, bob) = world().await;
    alice.set_level(Level::L2).await.unwrap();
    let alices = world.certificate(&alice).await;
    let nobody = Address { account: kuvert_client::AccountId::from_bytes([9; 16]), device: DeviceId::PRIMARY };
    // As Bob, a contact; as somebody whom the relay does not know; as Carol, whom it knows under another key.
    let carol = world.register("carol").await;
    for (number, posing_as) in [(1, address(&bob).await), (2, nobody), (3, address(&carol).await)] {
        let impostor = Impostor::of(posing_as);
        let message = impostor.begins_with(&store, &alice).await;
        let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
        let ciphertext = sealed_sender::seal(&impostor.device, &alices, &message, &mut rng).unwrap();
        let id = EnvelopeId::from_bytes([number; 16]);
        store.inject(address(&alice).await, NewEnvelope { id, source: None, ciphertext: ciphertext.into() }).await;
    }
    let events = fetch(&alice).await;
    assert_eq!(refusals(&events), [DropReason::WrongSource, DropReason::UnknownSender, DropReason::UnknownSender]);
    assert!(texts(&events).is_empty() && alice.contacts().list().await.unwrap().len() == 1);
    assert!(!alice.contacts().find("bob").await.unwrap().key_changed);
    say(&alice, "bob", "hello").await;
    assert_eq!(texts(&fetch(&bob).await), ["hello"]);
}

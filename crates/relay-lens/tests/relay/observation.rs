//! What the relay learns, written down with `observe`, and not otherwise.

use kuvert_relay::{Config, ManualClock, SystemClock};
use kuvert_relay_lens::observe::{Database, ObserveError, Record};
use kuvert_types::BlobId;
use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_wire::v1::blob_request::What as Ask;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, demonstration};
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;

use crate::common::*;

#[tokio::test]
async fn every_thing_that_the_relay_learns_is_an_event() {
    let data = tempfile::tempdir().unwrap();
    let config = Config { observe: true, ..config(data.path()) };
    let relay = start_with(config, Arc::new(SystemClock::new())).await;
    let (alice, bob) = (Device::named("alice"), Device { phone: Some("+491701234567".into()), ..Device::named("bob") });
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    bob_there.ask(Request::PublishPrekeys(prekeys(1, 5, true))).await;
    let by = Some(v1::get_account::By::Name("bob".into()));
    alice_there.ask(Request::GetAccount(v1::GetAccount { by })).await;
    alice_there.ask(take_bundles(&bob)).await;
    alice_there.submit(envelope_from(&alice, &bob, "sealed")).await;
    bob_there.welcome(true).await;
    submit_sealed(relay.address(), envelope(&bob, "sealed sender")).await;
    bob_there.attach().await;
    bob_there.delivery().await;
    let cursor = bob_there.delivery().await.cursor;
    bob_there.acknowledge(cursor).await;
    bob_there.ask(set_blocked(&alice, true)).await;
    alice_there.submit(envelope_from(&alice, &bob, "not wanted")).await;
    bob_there.ask(set_blocked(&alice, false)).await;
    // What is told at L0 only.
    let number = "+491709999999";
    bob_there.ask(tell(demonstration::RequestPhoneCode { phone: number.into() })).await;
    bob_there.ask(tell(demonstration::SetProfile { public: Some(true), ..demonstration::SetProfile::default() })).await;
    let people = vec![demonstration::Person { phone: number.into(), ..demonstration::Person::default() }];
    alice_there.ask(tell(demonstration::UploadAddressBook { people, replace: true })).await;
    let account = bytes::Bytes::copy_from_slice(bob.address.account.as_bytes());
    alice_there.ask(tell(demonstration::GetProfile { account })).await;
    alice_there.ask(tell(demonstration::ReportDevice::default())).await;
    alice_there.ask(tell(demonstration::WithdrawDisclosure {})).await;
    let alice_port = i64::from(alice_there._endpoint.local_addr().unwrap().port());
    relay.shutdown().await;

    let database = Connection::open(data.path().join("observe.db")).unwrap();
    let count = |condition: &str| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM event WHERE {condition}"), [], |row| row.get(0)).unwrap()
    };
    let (from, to) = (alice.address.to_string(), bob.address.to_string());
    assert_eq!(count("kind = 'connected' AND ip = '127.0.0.1'"), 3);
    assert_eq!(count(&format!("kind = 'connected' AND port = {alice_port}")), 1);
    assert_eq!(
        count(&format!("kind = 'registered' AND device = '{to}' AND name = 'bob' AND phone = '+491701234567'")),
        1
    );
    assert_eq!(count(&format!("kind = 'prekeys_published' AND device = '{to}' AND count = 10")), 1);
    assert_eq!(count(&format!("kind = 'looked_up' AND device = '{from}' AND name = 'bob' AND yes")), 1);
    assert_eq!(count(&format!("kind = 'bundle_taken' AND device = '{from}' AND other = '{to}' AND yes")), 1);
    assert_eq!(count(&format!("kind = 'submitted' AND device = '{from}' AND other = '{to}'")), 1);
    // What blocking tells the relay: who wants no mail of whom, and that it still comes.
    let whom = alice.address.account;
    for blocked in ["yes", "NOT yes"] {
        let told = format!("kind = 'blocked_set' AND device = '{to}' AND other = '{whom}' AND {blocked}");
        assert_eq!(count(&told), 1);
    }
    assert_eq!(
        count(&format!(
            "kind = 'dropped' AND device = '{from}' AND source = '{from}' AND other = '{to}' AND size = 10"
        )),
        1
    );
    assert_eq!(count(&format!("kind = 'submitted' AND source = '{from}' AND size = 6")), 1);
    assert_eq!(count("kind = 'submitted' AND source IS NULL AND device IS NULL AND size = 13"), 1);
    assert_eq!(count(&format!("kind = 'delivered' AND device = '{to}'")), 2);
    assert_eq!(count(&format!("kind = 'acknowledged' AND device = '{to}' AND count = 2 AND cursor = {cursor}")), 1);
    assert_eq!(count(&format!("kind = 'phone_code_requested' AND device = '{to}' AND phone = '{number}'")), 1);
    assert_eq!(count(&format!("kind = 'profile_changed' AND device = '{to}'")), 1);
    assert_eq!(
        count(&format!("kind = 'address_book_uploaded' AND device = '{from}' AND count = 1 AND matched = 0")),
        1
    );
    assert_eq!(count(&format!("kind = 'profile_read' AND device = '{from}' AND other = '{}'", bob.address.account)), 1);
    assert_eq!(count(&format!("kind IN ('device_reported', 'disclosure_withdrawn') AND device = '{from}'")), 2);
    assert_eq!(count("kind = 'disconnected'"), 3);
    // Where somebody sits follows from joining on the connection's number.
    assert_eq!(
        count("kind = 'submitted' AND connection IN (SELECT connection FROM event WHERE kind = 'connected')"),
        2
    );
}

/// What a transfer tells, from the first word to the last: one reader with a name, one without, an upload that is taken back and
/// one that is never completed.
#[tokio::test(flavor = "multi_thread")]
async fn everything_that_happens_to_a_file_is_an_event() {
    let data = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_800_000_000_000));
    let config = Config { observe: true, ..config(data.path()) };
    let relay = start_with(config, Arc::<ManualClock>::clone(&clock) as _).await;
    let (alice, bob) = (Device::named("alice"), Device::named("bob"));
    let alice_there = Client::register(relay.address(), &alice).await;
    let bob_there = Client::register(relay.address(), &bob).await;
    let mut nameless = Client::connect(relay.address()).await;
    nameless.hello().await;
    let (bytes, readers) = (blob::blob(200_000), [blob::capability(), blob::capability()]);
    let given = blob::upload(&alice_there.connection, &bytes, &readers).await;
    assert_eq!(blob::read(&bob_there.connection, &given, &readers[0], 0).await.unwrap(), bytes);
    blob::on(&bob_there.connection, blob::ask_done(&given, &readers[0])).await.unwrap();
    assert_eq!(blob::read(&nameless.connection, &given, &readers[1], 150_000).await.unwrap(), bytes[150_000..]);
    blob::on(&nameless.connection, blob::ask_done(&given, &readers[1])).await.unwrap();
    // From L2 on all readers have one capability.
    let Ask::Create(told) = blob::create(77, &[blob::capability()]) else { panic!() };
    let hidden = Ask::Create(v1::CreateBlob { shared: true, ..told });
    let sealed = blob::begin(&alice_there.connection, hidden).await.unwrap();
    blob::on(&alice_there.connection, blob::discard(&sealed)).await.unwrap();
    blob::begin(&alice_there.connection, blob::create(5, &readers)).await.unwrap();
    clock.advance(Duration::from_secs(25 * 60 * 60));
    relay.expire().await.unwrap();
    relay.shutdown().await;

    let database = Connection::open(data.path().join("observe.db")).unwrap();
    let count = |condition: &str| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM event WHERE {condition}"), [], |row| row.get(0)).unwrap()
    };
    let name = |bytes: &[u8]| BlobId::try_from(bytes).unwrap().to_string();
    let (from, to, given, sealed) =
        (alice.address.to_string(), bob.address.to_string(), name(&given.blob), name(&sealed.blob));
    let of = |file: &str, rest: &str| count(&format!("envelope = '{file}' AND {rest}"));
    assert_eq!(of(&given, &format!("kind = 'file_created' AND device = '{from}' AND size = 200000 AND count = 2")), 1);
    assert_eq!(of(&given, &format!("kind = 'file_uploaded' AND device = '{from}' AND size = 200000")), 1);
    assert_eq!(of(&given, &format!("kind = 'file_committed' AND device = '{from}'")), 1);
    assert_eq!(of(&given, &format!("kind = 'file_read' AND device = '{to}' AND size = 200000")), 1);
    assert_eq!(of(&given, &format!("kind = 'file_done' AND device = '{to}' AND NOT yes")), 1);
    // Of the one without a name: from where, how much was left, and that it was the last.
    let nowhere =
        "device IS NULL AND connection IN (SELECT connection FROM event WHERE kind = 'connected' AND ip NOTNULL)";
    assert_eq!(of(&given, &format!("kind = 'file_read' AND size = 50000 AND {nowhere}")), 1);
    assert_eq!(of(&given, &format!("kind = 'file_done' AND yes AND {nowhere}")), 1);
    assert_eq!(of(&sealed, "kind = 'file_created' AND size = 77 AND count IS NULL"), 1, "how many readers is not told");
    assert_eq!(of(&sealed, &format!("kind = 'file_discarded' AND device = '{from}' AND count IS NULL")), 1);
    assert_eq!(count("kind = 'files_expired' AND count = 1 AND device IS NULL AND envelope IS NULL"), 1);
    assert_eq!(count("kind LIKE 'file%'"), 11);
}

#[tokio::test]
async fn nothing_is_recorded_in_normal_service() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    drop(Client::register(relay.address(), &Device::new()).await);
    relay.shutdown().await;
    assert!(!data.path().join("observe.db").exists());
}

#[tokio::test]
async fn sealed_mail_is_observed_under_no_name() {
    let data = tempfile::tempdir().unwrap();
    let config = Config { observe: true, ..config(data.path()) };
    let relay = start_with(config, Arc::new(SystemClock::new())).await;
    let bob = Device::named("bob");
    let mut bob_there = Client::register(relay.address(), &bob).await;
    bob_there.welcome(true).await;
    let mut client = Client::connect(relay.address()).await;
    client.hello().await;
    let again = envelope(&bob, "twice");
    let letters = [10, MAX_CIPHERTEXT_BYTES, 600, 1].map(|size| envelope(&bob, vec![5; size]));
    for envelope in letters.into_iter().chain([again.clone(), again]) {
        let access_key = bytes::Bytes::from_static(CONTACTS_KEY.as_bytes());
        let sealed = v1::SubmitSealed { envelope: Some(envelope), access_key };
        assert!(matches!(client.ask(Request::SubmitSealed(sealed)).await, Response::Accepted(_)));
    }
    let sent_from = client._endpoint.local_addr().unwrap().port();
    relay.shutdown().await;

    let events = Record::open(&data.path().join("observe.db")).unwrap().newest(100).unwrap();
    let submitted: Vec<_> = events.iter().filter(|event| event.kind == "submitted").collect();
    assert_eq!(submitted.len(), 6);
    let connection = submitted[0].connection;
    for event in submitted {
        assert_eq!((&event.device, &event.source, event.connection), (&None, &None, connection), "{event:?}");
        assert_eq!(event.other.as_deref(), Some(bob.address.to_string().as_str()));
    }
    // What is left: from where.
    let connected = events.iter().find(|event| event.kind == "connected" && event.connection == connection).unwrap();
    assert_eq!(connected.port, Some(sent_from));
}

#[test]
fn a_column_that_the_registry_does_not_tell_of_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("observe.db");
    Database::open(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("ALTER TABLE event ADD COLUMN battery INTEGER").unwrap();
    let error = Database::open(&path).unwrap_err();
    assert!(matches!(&error, ObserveError::Mismatch(_)) && error.to_string().contains("event.battery"), "{error}");
}

//! Databases of every earlier version open with the present program, with all that they held.
//!
//! The databases in `fixtures/` were written by the program of their version:
//! `KUVERT_WRITE_FIXTURES=1 cargo test -p kuvert-relay --test store_migrations` writes the one of the present version.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kuvert_relay::store::{
    AccountBy, Cursor, NewAccount, NewDevice, NewEnvelope, NewPrekeys, NumberedDeviceList, PrekeyCounts,
    PublishPrekeysError, SignedKey, Store, StoredAccessKey, SubmitError, Submitted, UnsignedKey,
};
use kuvert_relay_sqlite::store::{Inspector, OpenError, SqliteStore};
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};

/// Of the program under test.
const VERSION: i64 = 4;

/// When everything in a fixture was accepted, Unix milliseconds.
const THEN: u64 = 1_790_000_000_000;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn address(account: u8) -> Address {
    Address { account: AccountId::from_bytes([account; 16]), device: DeviceId::PRIMARY }
}

const ALICE: u8 = 1;
const BOB: u8 = 2;

fn account(number: u8, name: &str) -> NewAccount {
    NewAccount {
        account: address(number).account,
        account_key: AccountKey::from_bytes([number; 32]),
        device_list: NumberedDeviceList { number: 7, bytes: vec![number, 1].into() },
        name: Some(name.into()),
        phone: (number == ALICE).then(|| "+491701234567".into()),
        registered_at: THEN,
        device: NewDevice {
            device: DeviceId::PRIMARY,
            signing_key: DeviceSigningKey::from_bytes([number; 32]),
            certificate: vec![number, 2].into(),
        },
        invitation: None,
    }
}

fn envelope(number: u8, source: Option<Address>) -> NewEnvelope {
    NewEnvelope { id: EnvelopeId::from_bytes([number; 16]), source, ciphertext: vec![number; 300].into() }
}

fn signed(id: u32) -> SignedKey {
    SignedKey { id, public_key: vec![3, id as u8].into(), signature: vec![4, id as u8].into() }
}

fn prekeys(ids: std::ops::Range<u32>) -> NewPrekeys {
    NewPrekeys {
        signed: Some(signed(ids.start)),
        last_resort_kem: Some(signed(ids.start)),
        one_time: ids.clone().map(|id| UnsignedKey { id, public_key: vec![5, id as u8].into() }).collect(),
        one_time_kem: ids.map(signed).collect(),
    }
}

/// Two accounts; of Bob's mail two wait, one was acknowledged; one of Alice's expired; prekeys of Bob's, one taken.
async fn fill(store: &SqliteStore) {
    store.register(account(ALICE, "alice")).await.unwrap();
    store.register(account(BOB, "bob")).await.unwrap();
    store.publish_prekeys(address(BOB), prekeys(10..15)).await.unwrap();
    store.take_bundle(address(BOB)).await.unwrap();
    store.submit(address(ALICE), envelope(1, None), 1).await.unwrap();
    assert_eq!(store.expire(2, 10).await.unwrap(), 1);
    let first = store.submit(address(BOB), envelope(2, None), THEN).await.unwrap();
    store.submit(address(BOB), envelope(3, Some(address(ALICE))), THEN + 1).await.unwrap();
    store.submit(address(BOB), envelope(4, None), THEN + 2).await.unwrap();
    assert_eq!(store.acknowledge(address(BOB), first.cursor()).await.unwrap(), 1);
}

/// A private copy of a fixture as a data directory.
fn data_of(fixture: &Path) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let database = data.path().join("relay.db");
    fs::copy(fixture, &database).unwrap();
    fs::set_permissions(&database, fs::Permissions::from_mode(0o600)).unwrap();
    data
}

fn version(data: &Path) -> i64 {
    let database = rusqlite::Connection::open(data.join("relay.db")).unwrap();
    database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn every_earlier_version_opens_with_all_that_it_held() {
    for number in 1..=VERSION {
        let fixture = fixtures().join(format!("store-v{number}.db"));
        let data = data_of(&fixture);
        assert_eq!(version(data.path()), number, "{}", fixture.display());
        let store = SqliteStore::open(data.path()).unwrap();
        still_holds(&store).await;
        goes_on(&store).await;
        store.close().await.unwrap();
        drop(store);
        assert_eq!(version(data.path()), VERSION);
        // A second time there is nothing to migrate.
        SqliteStore::open(data.path()).unwrap();
    }
}

/// What [`fill`] put there.
async fn still_holds(store: &SqliteStore) {
    let alice = store.account(AccountBy::Name("alice".into())).await.unwrap().unwrap();
    let written = account(ALICE, "alice");
    assert_eq!((alice.account_key, alice.device_list), (written.account_key, written.device_list));
    assert_eq!((alice.phone, alice.registered_at), (written.phone, written.registered_at));
    assert_eq!(alice.devices[0].certificate, written.device.certificate);
    assert_eq!(store.access_key(address(ALICE)).await.unwrap(), None, "what came later is not there");
    assert_eq!(store.device(address(BOB)).await.unwrap().unwrap().signing_key, DeviceSigningKey::from_bytes([BOB; 32]));
    assert_eq!(store.waiting(address(ALICE)).await.unwrap().expired, 1);
    let page = store.read(address(BOB), Cursor::START, 10, 10_000).await.unwrap();
    assert!(!page.more);
    let held: Vec<_> = page.envelopes.iter().map(|e| (e.id, e.source, e.accepted_at, e.ciphertext.clone())).collect();
    let expected = [(3, Some(address(ALICE)), THEN + 1), (4, None, THEN + 2)];
    let expected = expected.map(|(n, source, at)| (EnvelopeId::from_bytes([n; 16]), source, at, vec![n; 300].into()));
    assert_eq!(held, expected);
    let counts = store.count_prekeys(address(BOB)).await.unwrap();
    assert_eq!(counts, PrekeyCounts { one_time: 4, one_time_kem: 4 });
}

/// New work fits in with the old: nothing that was given out comes back.
async fn goes_on(store: &SqliteStore) {
    let bundle = store.take_bundle(address(BOB)).await.unwrap();
    assert_eq!((bundle.signed.id, bundle.kem.id, bundle.one_time.unwrap().id), (10, 11, 11), "10 was taken before");
    let reused = store.publish_prekeys(address(BOB), prekeys(14..16)).await;
    assert!(matches!(reused, Err(PublishPrekeysError::Reused { id: 14, .. })), "{reused:?}");
    let before = store.read(address(BOB), Cursor::START, 10, 10_000).await.unwrap().envelopes[1].cursor;
    let again = store.submit(address(BOB), envelope(4, None), THEN).await.unwrap();
    assert_eq!(again, Submitted::AlreadyStored { cursor: before });
    assert!(store.submit(address(BOB), envelope(5, None), THEN).await.unwrap().cursor() > before);
    assert_eq!(store.acknowledge(address(BOB), Cursor::new(u64::MAX)).await.unwrap(), 3);
    let key = Some(StoredAccessKey { hash: [8; 32], sealed: false });
    store.set_access_key(address(BOB).account, key).await.unwrap();
    assert_eq!(store.access_key(address(BOB)).await.unwrap(), key);
    store.set_blocked(address(BOB).account, address(ALICE).account, true).await.unwrap();
    let refused = store.submit(address(BOB), envelope(6, Some(address(ALICE))), THEN).await;
    assert_eq!(refused, Err(SubmitError::Blocked));
    store.note_seen(address(BOB), 20_000).await.unwrap();
    assert_eq!(store.device(address(BOB)).await.unwrap().unwrap().last_seen_day, Some(20_000));
}

/// Before version 4 an access key was for sealed mail and nothing else.
#[tokio::test]
async fn an_access_key_of_an_earlier_version_still_takes_sealed_mail() {
    let data = data_of(&fixtures().join("store-v3.db"));
    let database = rusqlite::Connection::open(data.path().join("relay.db")).unwrap();
    let hash = [9; 32];
    let changed = database
        .execute("UPDATE account SET access_key_hash = ?2 WHERE id = ?1", (address(ALICE).account.as_bytes(), hash))
        .unwrap();
    assert_eq!(changed, 1);
    drop(database);
    let store = SqliteStore::open(data.path()).unwrap();
    let key = store.access_key(address(ALICE)).await.unwrap();
    assert_eq!(key, Some(StoredAccessKey { hash, sealed: true }));
    assert_eq!(store.access_key(address(BOB)).await.unwrap(), None);
    store.close().await.unwrap();
}

#[test]
fn looking_at_an_earlier_version_says_what_to_do_and_changes_nothing() {
    let data = data_of(&fixtures().join("store-v2.db"));
    match Inspector::open(data.path()) {
        Err(OpenError::Older { found: 2, known: VERSION, .. }) => {}
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(version(data.path()), 2);
}

#[test]
fn a_later_version_is_left_alone() {
    let data = data_of(&fixtures().join("store-v1.db"));
    let path = data.path().join("relay.db");
    let later = VERSION + 1;
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", later).unwrap();
    let before = fs::read(&path).unwrap();
    match SqliteStore::open(data.path()) {
        Err(OpenError::Newer { found, known, .. }) => assert_eq!((found, known), (later, VERSION)),
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn the_present_versions_fixture_is_what_the_program_writes() {
    let data = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(data.path()).unwrap();
    fill(&store).await;
    still_holds(&store).await;
    store.close().await.unwrap();
    drop(store);
    assert_eq!(version(data.path()), VERSION);
    if std::env::var_os("KUVERT_WRITE_FIXTURES").is_some() {
        fs::create_dir_all(fixtures()).unwrap();
        fs::copy(data.path().join("relay.db"), fixtures().join(format!("store-v{VERSION}.db"))).unwrap();
    }
}

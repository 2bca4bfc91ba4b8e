//! What accounts have a right to, what an operator's program does, and versions of the tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Database, wait};
use kuvert_relay::admin::{Admin as _, Hold};
use kuvert_relay::data_rights::DataRights as _;
use kuvert_relay::incidents::Kind;
use kuvert_relay::store::{
    Cursor, NewAccount, NewDevice, NewEnvelope, NewInvitation, NumberedDeviceList, RegisterError, Store as _,
    StoredAccessKey,
};
use kuvert_relay_postgres::schema::{self, OpenError};
use kuvert_relay_postgres::{Postgres, PostgresAdmin, Role, after_restore, migrate};
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};
use kuvert_wire::v1;
use prost::Message as _;

const DAY: u64 = 86_400_000;
const ALICE: AccountId = AccountId::from_bytes([1; 16]);
const BOB: AccountId = AccountId::from_bytes([2; 16]);
const MAILBOX: Address = Address { account: ALICE, device: DeviceId::PRIMARY };

fn account(id: AccountId, name: &str) -> NewAccount {
    NewAccount {
        account: id,
        account_key: AccountKey::from_bytes([9; 32]),
        device_list: NumberedDeviceList { number: 1, bytes: vec![1; 9].into() },
        name: Some(name.to_owned()),
        phone: None,
        registered_at: 5,
        device: NewDevice {
            device: DeviceId::PRIMARY,
            signing_key: DeviceSigningKey::from_bytes([8; 32]),
            certificate: vec![1; 9].into(),
        },
        invitation: None,
    }
}

fn open(database: &Database) -> Postgres {
    wait(Postgres::connect(database.settings.clone(), Role::Alone)).unwrap()
}

#[test]
fn a_report_is_asked_for_kept_and_fetched_in_pieces() {
    let Some(database) = Database::migrated() else { return };
    let store = open(&database);
    let rights = store.rights(30);
    let ask = |now| rights.ask_for_report(ALICE, now, 3 * DAY).wait().unwrap();
    let first = ask(10);
    assert_eq!((first.ready_at, first.kept_until, first.made), (10 + 3 * DAY, 10 + 10 * DAY, false));
    assert_eq!(ask(11), first, "asking again changes nothing");
    let report: Vec<u8> = (0..=255).collect();
    assert_eq!(rights.report_piece(ALICE, 0, 9).wait().unwrap(), None);
    rights.keep_report(ALICE, report.clone()).wait().unwrap();
    let piece = |offset| rights.report_piece(ALICE, offset, 100).wait().unwrap().unwrap();
    let pieces = [0, 100, 200, 256, u64::MAX].map(piece);
    assert!(pieces.iter().all(|(total, _)| *total == 256));
    assert_eq!(pieces.into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<_>>(), report);
    assert!(ask(12).requested_at == 12, "a new one once it was made");
    let kept_until = 12 + 10 * DAY;
    assert!(rights.report_request(ALICE, kept_until - 1).wait().unwrap().is_some());
    assert!(rights.report_request(ALICE, kept_until).wait().unwrap().is_none());
    rights.purge(0, kept_until).wait().unwrap();
    assert!(rights.report_request(ALICE, 0).wait().unwrap().is_none());
}

#[test]
fn a_report_holds_what_the_relay_has_of_an_account_and_nothing_of_others() {
    let Some(database) = Database::migrated() else { return };
    let store = open(&database);
    for (id, name) in [(ALICE, "alice"), (BOB, "bob")] {
        store.register(account(id, name)).wait().unwrap();
        let envelope = NewEnvelope {
            id: EnvelopeId::from_bytes([7; 16]),
            source: Some(Address { account: BOB, device: DeviceId::PRIMARY }),
            ciphertext: vec![7; 700].into(),
        };
        store.submit(Address { account: id, device: DeviceId::PRIMARY }, envelope, 40).wait().unwrap();
    }
    store.set_access_key(ALICE, Some(StoredAccessKey { hash: [3; 32], sealed: true })).wait().unwrap();
    store.set_blocked(ALICE, BOB, true).wait().unwrap();
    let report = store.rights(30).make_report(ALICE, vec![], 50).wait().unwrap();
    let report = v1::Report::decode(&report[..]).unwrap();
    let file = |name: &str| {
        let file = report.files.iter().find(|file| file.name == name).unwrap();
        serde_json::from_slice::<serde_json::Value>(&file.content).unwrap()
    };
    let information = file("account_information.json");
    assert_eq!(information["account"][0]["name"], "alice");
    assert_eq!(information["account"][0]["takes_sealed"], true);
    let queue = file("queue.json");
    assert_eq!(queue["envelope"].as_array().unwrap().len(), 1);
    assert_eq!(queue["envelope"][0]["ciphertext"], 700, "its size, as it was handed in");
    assert_eq!(queue["envelope"][0]["expires_at"], 40 + 30 * DAY);
    assert!(!report.files.iter().any(|file| String::from_utf8_lossy(&file.content).contains("\"bob\"")));
}

#[test]
fn a_hold_keeps_the_report_of_a_deleted_account_until_it_is_released() {
    let Some(database) = Database::migrated() else { return };
    let store = open(&database);
    store.register(account(ALICE, "alice")).wait().unwrap();
    let rights = store.rights(30);
    let mut admin = PostgresAdmin::open(&database.settings).unwrap();
    assert!(!admin.hold(&BOB, "case 1", 5).unwrap(), "there is no such account");
    assert!(admin.hold(&ALICE, "case 1", 5).unwrap() && admin.hold(&ALICE, "case 2", 6).unwrap());
    let hold = Hold { account: ALICE, reason: "case 2".into(), at: 5, held: None };
    assert_eq!(admin.rights().unwrap().holds, std::slice::from_ref(&hold));
    assert_eq!((rights.is_held(ALICE).wait(), rights.is_held(BOB).wait()), (Ok(true), Ok(false)));
    rights.note_incidents(60_000, vec![(ALICE, Kind::Lookups, 2), (BOB, Kind::Bundles, 1)]).wait().unwrap();
    rights.erase(ALICE, Some(b"report".to_vec()), 9).wait().unwrap();
    rights.erase(BOB, Some(b"report".to_vec()), 9).wait().unwrap();
    assert!(store.delete_account(ALICE).wait().unwrap());
    rights.count_deletion(3 * DAY + 5).wait().unwrap();
    rights.count_deletion(4 * DAY - 1).wait().unwrap();
    let left = admin.rights().unwrap();
    assert_eq!(left.holds, [Hold { at: 9, held: Some(6), ..hold }], "nothing is kept of Bob");
    assert_eq!((left.deletions, left.incidents), (vec![(3, 2)], 2), "incidents stay, without whom");
    assert_eq!(admin.held_report(&ALICE).unwrap().unwrap(), b"report");
    assert_eq!(rights.is_held(ALICE).wait(), Ok(false), "a new account with this id is not held");
    assert!(admin.release(&ALICE).unwrap());
    assert!(!admin.release(&ALICE).unwrap());
    rights.purge(60_001, 0).wait().unwrap();
    assert_eq!(admin.rights().unwrap().incidents, 0);
}

#[test]
fn an_operator_sees_and_changes_what_a_relay_serves() {
    let Some(database) = Database::migrated() else { return };
    let store = open(&database);
    let mut admin = PostgresAdmin::open(&database.settings).unwrap();
    let invitation = NewInvitation { hash: [4; 32], uses: 1, created_at: 1, expires_at: 10 };
    admin.invite(&invitation).unwrap();
    admin.invite(&NewInvitation { hash: [5; 32], ..invitation }).unwrap();
    assert!(admin.revoke(&[5; 32]).unwrap() && !admin.revoke(&[5; 32]).unwrap());
    let invited = |hash| NewAccount { invitation: Some([hash; 32]), ..account(ALICE, "alice") };
    assert_eq!(store.register(invited(5)).wait(), Err(RegisterError::Invitation));
    assert_eq!(admin.invitations().unwrap().len(), 1);
    assert_eq!(store.register(invited(4)).wait(), Ok(()));
    assert!(admin.invitations().unwrap().is_empty());
    for n in 0..3 {
        let envelope =
            NewEnvelope { id: EnvelopeId::from_bytes([n; 16]), source: None, ciphertext: vec![n; 10].into() };
        store.submit(MAILBOX, envelope, 40).wait().unwrap();
    }
    assert_eq!(admin.stats().unwrap(), store.stats().wait().unwrap());
    let known = admin.accounts().unwrap();
    assert_eq!((known.len(), known[0].name.as_deref(), known[0].devices.len()), (1, Some("alice"), 1));
    let waiting = admin.waiting(Cursor::START, 2).unwrap();
    assert_eq!(waiting.len(), 2);
    assert_eq!((waiting[0].recipient, waiting[0].size, waiting[0].sender), (MAILBOX, 10, None));
    assert_eq!(admin.waiting(waiting[1].cursor, 9).unwrap().len(), 1);
    assert!(admin.back_up(std::path::Path::new("there"), 0).unwrap_err().to_string().contains("OPERATING"));
}

#[test]
fn tables_are_made_once_and_only_this_version_is_served() {
    let Some(database) = Database::empty() else { return };
    let connect = || wait(Postgres::connect(database.settings.clone(), Role::Alone)).err();
    let run = |sql: &str| wait(async { database.link().await.batch(sql).await }).unwrap();
    assert!(matches!(connect(), Some(OpenError::Empty)));
    // Two that migrate at once do not meet.
    let migrations = [(); 3].map(|()| {
        let settings = database.settings.clone();
        std::thread::spawn(move || wait(migrate(&settings)).unwrap())
    });
    let mut from = migrations.map(|each| each.join().unwrap());
    from.sort_unstable();
    assert_eq!(from, [0, schema::VERSION, schema::VERSION]);
    assert!(connect().is_none());
    run("ALTER TABLE hold ADD COLUMN shoe_size int4");
    assert!(connect().unwrap().to_string().contains("shoe_size"));
    run("ALTER TABLE hold DROP COLUMN shoe_size; ALTER TABLE hold RENAME COLUMN reason TO reasons");
    assert!(matches!(connect(), Some(OpenError::Unregistered(_))));
    run("ALTER TABLE hold RENAME COLUMN reasons TO reason; UPDATE kuvert_schema SET version = 99");
    assert!(matches!(connect(), Some(OpenError::Newer { found: 99 })));
    assert!(matches!(wait(migrate(&database.settings)), Err(OpenError::Newer { found: 99 })));
    run("UPDATE kuvert_schema SET version = 0");
    assert!(matches!(connect(), Some(OpenError::Empty | OpenError::Older { .. })));
}

#[test]
fn tables_of_others_are_left_alone() {
    let Some(database) = Database::empty() else { return };
    wait(async { database.link().await.batch("CREATE TABLE account(name text)").await }).unwrap();
    assert!(matches!(wait(migrate(&database.settings)), Err(OpenError::Foreign)));
}

#[test]
fn one_relay_alone_keeps_another_out() {
    let Some(database) = Database::migrated() else { return };
    let store = open(&database);
    // Not `connect` itself, which waits for a while: it asks for the same lock.
    let taken = wait(async {
        let sql = "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))";
        database.link().await.query_one(sql, &[&schema::SERVING]).await.unwrap().get::<_, bool>(0)
    });
    assert!(!taken);
    drop(store);
    drop(open(&database));
}

#[test]
fn after_a_restored_backup_neither_prekeys_nor_cursors_come_back() {
    let Some(database) = Database::migrated() else { return };
    let store = open(&database);
    store.register(account(ALICE, "alice")).wait().unwrap();
    let submit = |store: &Postgres, n| {
        let envelope =
            NewEnvelope { id: EnvelopeId::from_bytes([n; 16]), source: None, ciphertext: vec![n; 10].into() };
        store.submit(MAILBOX, envelope, 40).wait().unwrap().cursor()
    };
    let prekeys = kuvert_relay::store::NewPrekeys {
        one_time: vec![kuvert_relay::store::UnsignedKey { id: 1, public_key: vec![1; 32].into() }],
        ..Default::default()
    };
    store.publish_prekeys(MAILBOX, prekeys).wait().unwrap();
    let before = submit(&store, 1);
    drop(store);
    wait(after_restore(&database.settings)).unwrap();
    let store = open(&database);
    assert_eq!(store.count_prekeys(MAILBOX).wait().unwrap().one_time, 0);
    // Further than anything that was given out since the backup.
    assert!(submit(&store, 2).get() > before.get() + (1 << 49));
}

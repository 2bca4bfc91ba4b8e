//! Rows that hold what cannot be (a bit of a disk, not this program): each costs what it held, and no other account's mail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Database, account, wait};
use kuvert_relay::admin::Admin as _;
use kuvert_relay::data_rights::DataRights as _;
use kuvert_relay::store::{Cursor, NewEnvelope, Page, Store as _, StoredAccessKey};
use kuvert_relay_postgres::{Postgres, PostgresAdmin, Role};
use kuvert_types::{AccountId, Address, DeviceId, EnvelopeId};

fn address(n: u8) -> Address {
    Address { account: AccountId::from_bytes([n; 16]), device: DeviceId::PRIMARY }
}

fn open(database: &Database) -> Postgres {
    wait(Postgres::connect(database.settings.clone(), Role::Alone)).unwrap()
}

/// Submits a text of alice's, and says where it stands.
fn submit(store: &Postgres, to: Address, number: u8) -> u64 {
    let envelope = NewEnvelope {
        id: EnvelopeId::from_bytes([number; 16]),
        source: Some(address(1)),
        ciphertext: vec![number; 300].into(),
    };
    store.submit(to, envelope, 1_000).wait().unwrap().cursor().get()
}

fn numbers(page: &Page) -> Vec<u8> {
    page.envelopes.iter().map(|envelope| envelope.id.as_bytes()[0]).collect()
}

fn read(store: &Postgres, mailbox: Address, limit: usize) -> Page {
    store.read(mailbox, Cursor::new(0), limit, 1 << 20).wait().unwrap()
}

#[test]
fn an_envelope_that_cannot_be_read_keeps_no_others_mail_and_its_device_is_told() {
    let Some(database) = Database::migrated() else { return };
    let [_alice, bob, carol] = [1, 2, 3].map(address);
    let store = open(&database);
    for n in 1..=3 {
        store.register(account(n)).wait().unwrap();
    }
    let cursors = [1, 2, 3, 4].map(|number| submit(&store, bob, number));
    submit(&store, carol, 5);
    let run = |sql: String| wait(async { database.apart().await.batch(&sql).await }).unwrap();
    // A body that is not what was written, a key, and a source that is none.
    run(format!("UPDATE envelope SET ciphertext = set_byte(ciphertext, 7, 0) WHERE cursor = {}", cursors[0]));
    run(format!("UPDATE envelope_key SET key = '\\x01' WHERE cursor = {}", cursors[1]));
    run(format!("UPDATE envelope SET source = '\\x01' WHERE cursor = {}", cursors[2]));
    // Also where they are all of a page: a reader goes on behind the last envelope that it got.
    let page = read(&store, bob, 2);
    assert_eq!((numbers(&page), page.more), (vec![4], false), "{:?}", page.envelopes);
    assert_eq!(numbers(&read(&store, carol, 9)), [5]);
    let waiting = store.waiting(bob).wait().unwrap();
    assert_eq!((waiting.count, waiting.expired), (1, 3), "its device is told that three are gone");
    assert_eq!(store.waiting(carol).wait().unwrap().expired, 0);
    // New mail comes, also behind a row that is damaged when the mailbox is read into memory.
    run(format!("UPDATE envelope SET source = '\\x01' WHERE cursor = {}", cursors[3]));
    store.close().wait().unwrap();
    drop(store);
    let store = open(&database);
    submit(&store, bob, 6);
    submit(&store, carol, 7);
    assert_eq!((numbers(&read(&store, bob, 9)), numbers(&read(&store, carol, 9))), (vec![6], vec![5, 7]));
    store.close().wait().unwrap();
}

#[test]
fn an_account_with_a_row_that_cannot_be_read_keeps_no_other_from_being_written_to() {
    let Some(database) = Database::migrated() else { return };
    let [alice, bob, carol] = [1, 2, 3].map(address);
    let store = open(&database);
    for n in 1..=3 {
        store.register(account(n)).wait().unwrap();
    }
    let key = StoredAccessKey { hash: [7; 32], sealed: true };
    store.set_access_key(bob.account, Some(key)).wait().unwrap();
    let rights = store.rights(30);
    for of in [alice, bob] {
        rights.ask_for_report(of.account, 5, 7).wait().unwrap();
    }
    store.close().wait().unwrap();
    drop((store, rights));
    let id = |of: Address| of.account.as_bytes().map(|byte| format!("{byte:02x}")).concat();
    let (a, b) = (id(alice), id(bob));
    let sql = format!(
        "UPDATE account SET access_key_hash = '\\x07' WHERE id = '\\x{b}';
        INSERT INTO blocked(account, blocked) VALUES ('\\x{b}', '\\x06');
        INSERT INTO device(account, number, signing_key, certificate) VALUES ('\\x{b}', 0, '\\x', '\\x');
        UPDATE report_request SET account = '\\x01' WHERE account = '\\x{a}'"
    );
    wait(async { database.apart().await.batch(&sql).await }).unwrap();
    let store = open(&database);
    submit(&store, bob, 1);
    submit(&store, carol, 2);
    assert_eq!((numbers(&read(&store, bob, 9)), numbers(&read(&store, carol, 9))), (vec![1], vec![2]));
    // What its owner told is not known any more: no key opens it, and none is needed for what comes under a name.
    assert_eq!(store.access_key(bob).wait().unwrap(), None);
    let admin = PostgresAdmin::open(&database.settings).unwrap();
    let seen = admin.rights().unwrap();
    assert_eq!(seen.requests.iter().map(|(account, _)| *account).collect::<Vec<_>>(), [bob.account]);
    store.close().wait().unwrap();
}

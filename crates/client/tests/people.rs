//! Level L0: what is told to the relay beyond what delivering mail needs, only there, and taken back above it.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{World, named, now};
use kuvert_client::{Client, Options, PERMISSIONS, Permission, Person, Profile, ProfileChange};
use kuvert_relay::store::AccountBy;
use kuvert_relay::store::memory::MemoryStore;
use kuvert_relay_sqlite::people::{PEOPLE_FILE, People};
use kuvert_types::Level;

const NUMBER: &str = "+4915550000001";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn world() -> World {
    World::on(Arc::new(MemoryStore::new())).await
}

/// A new account at a level.
async fn register(world: &World, name: &str, level: Level) -> Client {
    let profile = Profile { name: Some(name.to_owned()), phone: None, invitation: None };
    let options = Options { level: Some(level), ..world.options() };
    Client::register(&world.home(name), world.url.clone(), profile, options).await.unwrap()
}

/// What stands in a table of the relay's.
fn count(world: &World, table: &str) -> i64 {
    let people = People::open_read_only(&world.home("relay")).unwrap().unwrap();
    people.transact(|tx| tx.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))).unwrap()
}

fn person(phone: &str) -> Person {
    Person { phone: phone.to_owned(), name: Some("somebody".into()), ..Person::default() }
}

#[tokio::test]
async fn at_l0_a_number_is_verified_and_found_in_address_books() {
    let world = world().await;
    let (alice, bob) = (register(&world, "alice", Level::L0).await, register(&world, "bob", Level::L0).await);
    let connection = alice.connect().await.unwrap();
    assert_eq!(connection.request_phone_code("030 1234").await.unwrap_err().code(), "phone-invalid");
    connection.request_phone_code(NUMBER).await.unwrap();
    assert_eq!(connection.verify_phone("no").await.unwrap_err().code(), "phone-code-wrong");
    let verified = connection.verify_phone(&world.phones.last_code()).await.unwrap();
    assert_eq!((verified.phone.as_str(), verified.moved), (NUMBER, false));

    let connection = bob.connect().await.unwrap();
    let book = [person(NUMBER), person("+4915550000003")];
    let upload = connection.upload_address_book(&book).await.unwrap();
    assert_eq!((upload.stored, upload.without_account), (2, 1));
    assert_eq!(upload.matches[0].account, alice.whoami().await.unwrap().address.account);
    let bad = [person(NUMBER), person("12")];
    let error = connection.upload_address_book(&bad).await.unwrap_err();
    assert!(error.code() == "address-book-invalid" && error.to_string().contains("entry 2"), "{error}");
    assert_eq!(count(&world, "address_book"), 2, "nothing was uploaded");
    // A smaller book takes the place of the larger one.
    assert_eq!(connection.upload_address_book(&book[..1]).await.unwrap().stored, 1);
    connection.withdraw_address_book().await.unwrap();
    assert_eq!(count(&world, "address_book"), 0);
}

#[tokio::test]
async fn a_profile_is_shown_to_contacts_when_it_is_public() {
    let world = world().await;
    let (alice, bob) = (register(&world, "alice", Level::L0).await, register(&world, "bob", Level::L0).await);
    let (to_alice, to_bob) = (alice.connect().await.unwrap(), bob.connect().await.unwrap());
    to_bob.add_contact("alice", Some("A")).await.unwrap();
    let change = ProfileChange {
        display_name: Some("Alice".into()),
        email: Some("alice@example.org".into()),
        ..ProfileChange::default()
    };
    to_alice.set_profile(change).await.unwrap();
    let seen = to_bob.profile(Some(named(&bob, "A").await)).await.unwrap();
    assert_eq!((seen.alias.as_deref(), seen.display_name, seen.public), (Some("A"), None, false));
    to_alice.set_profile(ProfileChange { public: Some(true), ..ProfileChange::default() }).await.unwrap();
    let seen = to_bob.profile(Some(named(&bob, "A").await)).await.unwrap();
    assert_eq!((seen.display_name.as_deref(), seen.email, seen.phone), (Some("Alice"), None, None));
    let own = to_alice.profile(None).await.unwrap();
    assert_eq!((own.alias, own.email.as_deref()), (None, Some("alice@example.org")));
    assert!(own.email_at.is_some());
    let cleared = ProfileChange { email: Some(String::new()), ..ProfileChange::default() };
    to_alice.set_profile(cleared).await.unwrap();
    assert_eq!(to_alice.profile(None).await.unwrap().email, None);
    let bad = ProfileChange { email: Some("nobody".into()), ..ProfileChange::default() };
    assert_eq!(to_alice.set_profile(bad).await.unwrap_err().code(), "profile-invalid");
}

#[tokio::test]
async fn above_l0_nothing_of_it_leaves() {
    let world = world().await;
    for (name, level) in [("alice", Level::L1), ("bob", Level::L2), ("carol", Level::L3)] {
        let client = register(&world, name, level).await;
        let connection = client.connect().await.unwrap();
        let refused = |error: kuvert_client::Error| {
            assert_eq!(error.code(), "level-too-high");
            assert!(error.to_string().contains("it needs L0"), "{error}");
        };
        refused(connection.request_phone_code(NUMBER).await.unwrap_err());
        refused(connection.verify_phone("123456").await.unwrap_err());
        refused(connection.set_profile(ProfileChange::default()).await.unwrap_err());
        refused(connection.upload_address_book(&[person(NUMBER)]).await.unwrap_err());
    }
    for table in ["phone", "phone_code", "profile", "address_book", "device_details", "simulated_detail"] {
        assert_eq!(count(&world, table), 0, "{table}");
    }
}

#[tokio::test]
async fn at_l0_the_machine_is_told_at_registration_and_once_a_day() {
    let world = world().await;
    let client = register(&world, "alice", Level::L0).await;
    let people = People::open_read_only(&world.home("relay")).unwrap().unwrap();
    let reported = || {
        let sql = "SELECT reported_at, app_version FROM device_details";
        people
            .transact(|tx| tx.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))))
            .unwrap()
    };
    let (first, version) = reported();
    assert!(version.starts_with("kuvert "), "{version}");
    world.relay_clock.advance(Duration::from_secs(1));
    client.connect().await.unwrap();
    assert_eq!(reported().0, first, "not on every connection");
    world.clock.advance(DAY);
    client.connect().await.unwrap();
    assert_eq!(reported().0, first + 1_000);
}

#[tokio::test]
async fn a_phones_permissions_are_simulated_and_denied_until_they_are_granted() {
    let world = world().await;
    let client = register(&world, "alice", Level::L0).await;
    let all = |names: &[&str]| -> Vec<Permission> {
        PERMISSIONS.into_iter().filter(|permission| names.contains(&permission.name)).collect()
    };
    let granted = || -> Vec<&str> {
        let sheet = now(client.permissions()).unwrap();
        sheet.iter().filter(|permitted| permitted.granted).map(|permitted| permitted.permission.name).collect()
    };
    let told = || -> Vec<(String, String)> {
        let people = People::open_read_only(&world.home("relay")).unwrap().unwrap();
        let read = |tx: &rusqlite::Transaction<'_>| {
            let mut select = tx.prepare("SELECT what, value FROM simulated_detail ORDER BY what")?;
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        people.transact(read).unwrap()
    };
    client.connect().await.unwrap();
    assert!(granted().is_empty() && told().is_empty(), "all is denied to begin with");
    client.set_permissions(&all(&["camera", "battery", "other-messenger"]), &all(&["camera"])).await.unwrap();
    assert_eq!(granted(), ["battery", "other-messenger"]);
    client.connect().await.unwrap();
    let line = |what: &str, value: &str| (what.to_owned(), value.to_owned());
    assert_eq!(told(), [line("battery", "simulated: 82 %"), line("other-messenger", "simulated: user 1000042")]);
    client.set_permissions(&[], &all(&["battery"])).await.unwrap();
    client.connect().await.unwrap();
    assert_eq!(told().len(), 1, "what is denied is gone at once");

    client.set_level(Level::L1).await.unwrap();
    assert!(granted().is_empty(), "above L0 nothing is granted");
    let refused = client.set_permissions(&all(&["camera"]), &[]).await.unwrap_err();
    assert_eq!(refused.code(), "level-too-high");
    client.connect().await.unwrap();
    assert!(told().is_empty());
    client.set_level(Level::L0).await.unwrap();
    client.connect().await.unwrap();
    assert!(granted().is_empty() && told().is_empty(), "and back at L0 all is denied again");
}

#[tokio::test]
async fn what_was_told_at_l0_is_taken_back_with_the_next_connection_that_stands() {
    let mut world = World::new().await;
    let profile = Profile { phone: Some("+4915550000007".into()), ..Profile::default() };
    let options = Options { level: Some(Level::L0), ..world.options() };
    let client = Client::register(&world.home("alice"), world.url.clone(), profile, options).await.unwrap();
    let account = AccountBy::Id(client.whoami().await.unwrap().address.account);
    assert!(world.relay().store().account(account.clone()).await.unwrap().unwrap().phone.is_some());
    let connection = client.connect().await.unwrap();
    let change = ProfileChange { display_name: Some("Alice-of-L0".into()), ..ProfileChange::default() };
    connection.set_profile(change).await.unwrap();
    connection.upload_address_book(&[person("+4915550000003")]).await.unwrap();
    connection.request_phone_code(NUMBER).await.unwrap();
    connection.close().await;

    client.set_level(Level::L1).await.unwrap();
    assert_eq!(count(&world, "profile"), 1, "the relay has not heard of it yet");
    world.stop_relay().await;
    let impatient = Options { connect_timeout: Duration::from_millis(200), ..world.options() };
    drop(client);
    let client = Client::open(&world.home("alice"), impatient).await.unwrap();
    assert!(client.connect().await.is_err());
    drop(client);
    world.start_relay().await;
    world.open("alice").await.connect().await.unwrap();
    for table in ["phone", "phone_code", "profile", "address_book", "device_details", "simulated_detail"] {
        assert_eq!(count(&world, table), 0, "{table}");
    }
    let registered = world.relay().store().account(account).await.unwrap().unwrap();
    assert_eq!(registered.phone, None, "nor the number given at registration");
    let bytes = std::fs::read(world.home("relay").join(PEOPLE_FILE)).unwrap();
    assert!(!bytes.windows(11).any(|window| window == b"Alice-of-L0"));
    // Back at L0 the machine is told anew.
    let client = world.open("alice").await;
    client.set_level(Level::L0).await.unwrap();
    client.connect().await.unwrap();
    assert_eq!(count(&world, "device_details"), 1);
}

#[tokio::test]
async fn a_relay_that_offers_no_l0_is_told_nothing_and_registers_nobody_at_l0() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("relay");
    let clock = Arc::new(kuvert_relay::ManualClock::new(kuvert_client::Clock::now_ms(&kuvert_client::SystemClock)));
    let config =
        kuvert_relay::Config { listen: "127.0.0.1:0".parse().unwrap(), ..kuvert_relay::Config::new(data.clone()) };
    let relay = kuvert_relay_sqlite::embedded::start(config, clock).await.unwrap();
    let profile = || Profile { name: Some("alice".into()), phone: None, invitation: None };
    let options =
        |level| Options { level: Some(level), connect_timeout: Duration::from_secs(60), ..Options::default() };
    let home = dir.path().join("alice");

    // Nothing is stored here, and nothing there.
    let refused = Client::register(&home, relay.address().clone(), profile(), options(Level::L0)).await.unwrap_err();
    assert_eq!(refused.code(), "not-offered");
    assert!(refused.to_string().contains("stay at L1"), "{refused}");
    assert!(!home.exists());
    assert_eq!(relay.store().stats().await.unwrap().accounts, 0);

    // A home above L0 has all that it needs.
    let alice = Client::register(&home, relay.address().clone(), profile(), options(Level::L1)).await.unwrap();
    let connection = alice.connect().await.unwrap();
    assert_eq!(connection.terms().await.unwrap_err().code(), "not-offered");
    assert_eq!(connection.profile(None).await.unwrap_err().code(), "not-offered");
    assert_eq!(connection.upload_address_book(&[person(NUMBER)]).await.unwrap_err().code(), "level-too-high");

    // One that goes to L0 later goes on, tells nothing, and notes nothing as told.
    alice.set_level(Level::L0).await.unwrap();
    let connection = alice.connect().await.unwrap();
    let refusals = [
        connection.request_phone_code(NUMBER).await.unwrap_err(),
        connection.verify_phone("123456").await.unwrap_err(),
        connection.set_profile(ProfileChange::default()).await.unwrap_err(),
        connection.upload_address_book(&[person(NUMBER)]).await.unwrap_err(),
        connection.withdraw_address_book().await.unwrap_err(),
    ];
    assert!(refusals.iter().all(|refused| refused.code() == "not-offered"), "{refusals:?}");
    alice.set_level(Level::L1).await.unwrap();
    alice.connect().await.unwrap();
    relay.shutdown().await;
    assert!(
        !std::fs::read(data.join(PEOPLE_FILE)).unwrap().windows(NUMBER.len()).any(|part| part == NUMBER.as_bytes())
    );
}

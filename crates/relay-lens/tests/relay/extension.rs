//! What a relay offers beyond mail, and what one answers that offers nothing.

use std::path::Path;
use std::sync::Arc;

use kuvert_relay::SystemClock;
use kuvert_relay_lens::tables::TABLES;
use kuvert_relay_sqlite::embedded::StartError;
use kuvert_relay_sqlite::people::{People, PeopleError};
use kuvert_types::limits::MAX_EXTENSION_NAME_BYTES;
use kuvert_wire::v1;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::demonstration::{self as wire, NAME};
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use prost::Message as _;
use rusqlite::Connection;

use crate::common::*;

/// Stands in everything that is told here.
const MARKER: &str = "marker-of-what-was-told";

/// A number, in what is told here.
const NUMBER: &str = "+4915550004711";

/// Every request of the demonstration.
fn every_request(device: &Device) -> Vec<Request> {
    let marked = || Some(MARKER.to_owned());
    let person = wire::Person { phone: NUMBER.into(), name: marked(), ..wire::Person::default() };
    let simulated = vec![wire::SimulatedDetail { what: "battery".into(), value: MARKER.into() }];
    vec![
        tell(wire::RequestPhoneCode { phone: NUMBER.into() }),
        tell(wire::VerifyPhone { code: "123456".into() }),
        tell(wire::SetProfile { display_name: marked(), about: marked(), ..wire::SetProfile::default() }),
        tell(wire::GetProfile { account: device.address.account.as_bytes().to_vec().into() }),
        tell(wire::UploadAddressBook { people: vec![person], replace: true }),
        tell(wire::ReportDevice { model: marked(), simulated, ..wire::ReportDevice::default() }),
        tell(wire::WithdrawDisclosure {}),
        tell(wire::GetPolicies {}),
        tell(wire::AcceptPolicy { version: "2016-08-25".into(), advertising: true }),
        tell(wire::ObjectAdvertising {}),
    ]
}

/// Whether any file below a directory holds these bytes.
fn holds(directory: &Path, needle: &str) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        let file = || std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle.as_bytes());
        if path.is_dir() { holds(&path, needle) } else { file() }
    })
}

async fn start_plain(data: &Path) -> Result<kuvert_relay::RunningRelay, StartError> {
    kuvert_relay_sqlite::embedded::start(config(data), Arc::new(SystemClock::new())).await
}

#[tokio::test]
async fn a_relay_that_offers_mail_alone_answers_so_and_stores_nothing_of_it() {
    let data = tempfile::tempdir().unwrap();
    let relay = start_plain(data.path()).await.unwrap();
    let alice = Device::new();
    let mut client = Client::register(relay.address(), &alice).await;
    for (number, request) in every_request(&alice).into_iter().enumerate() {
        assert_eq!(client.refused(request).await, Code::NotOffered, "request {number}");
    }
    // The connection goes on, and so do rights.
    client.submit(envelope_from(&alice, &alice, "sealed")).await;
    assert!(matches!(client.ask(Request::RequestReport(v1::RequestReport {})).await, Response::ReportStatus(_)));
    relay.expire().await.unwrap();
    assert_eq!(relay.prune_extension().await.unwrap(), 0);
    assert!(!holds(data.path(), MARKER) && !holds(data.path(), NUMBER));
    let people = Connection::open(data.path().join("people.db")).unwrap();
    for table in ["phone", "phone_code", "profile", "address_book", "device_details", "simulated_detail", "consent"] {
        let sql = format!("SELECT 1 FROM {table}");
        assert!(people.prepare(&sql).is_err(), "there is no table {table}");
    }
    // Its account can be deleted like any other.
    assert!(matches!(client.ask(Request::DeleteAccount(v1::DeleteAccount {})).await, Response::Done(_)));
    relay.shutdown().await;
}

#[tokio::test]
async fn the_challenge_names_what_the_relay_offers() {
    let data = tempfile::tempdir().unwrap();
    for (lens, offered) in [(false, vec![]), (true, vec![NAME.to_owned()])] {
        let relay = if lens { start(data.path()).await } else { start_plain(data.path()).await.unwrap() };
        let mut client = Client::connect(relay.address()).await;
        match client.ask(Request::Hello(v1::Hello { version: kuvert_wire::VERSION })).await {
            Response::Challenge(challenge) => assert_eq!(challenge.extensions, offered),
            other => panic!("{other:?}"),
        }
        relay.shutdown().await;
    }
}

#[tokio::test]
async fn a_name_that_is_unknown_or_too_long_and_a_body_that_is_no_request_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let alice = Device::new();
    let mut client = Client::register(relay.address(), &alice).await;
    let body = || MARKER.as_bytes().to_vec();
    let longest = "x".repeat(MAX_EXTENSION_NAME_BYTES);
    for unknown in ["", "Demonstration", "demonstration ", "weather", &longest] {
        assert_eq!(client.refused(extension(unknown, body())).await, Code::NotOffered, "{unknown:?}");
    }
    let too_long = format!("{longest}x");
    assert_eq!(client.refused(extension(&too_long, body())).await, Code::Malformed);
    let without_a_body = wire::Request { body: None }.encode_to_vec();
    for garbage in [body(), vec![0xFF; 64], vec![0x0A, 0x7F], vec![], without_a_body] {
        assert_eq!(client.refused(extension(NAME, garbage)).await, Code::Malformed);
    }
    // A command of yesterday's client: an empty frame, as this relay reads it.
    client.send.write_all(&[5, 0x08, 0x63, 0xB2, 0x01, 0x00]).await.unwrap();
    match client.answer(0x63).await {
        Response::Error(error) => assert_eq!(error.code(), Code::Malformed),
        other => panic!("{other:?}"),
    }
    assert!(!holds(data.path(), MARKER));
    assert!(matches!(told(client.ask(tell(wire::WithdrawDisclosure {})).await), wire::answer::Body::Done(_)));
    relay.shutdown().await;
}

#[tokio::test]
async fn a_connection_without_a_name_cannot_use_it() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let bob = Device::new();
    let mut bob_there = Client::register(relay.address(), &bob).await;
    bob_there.welcome(true).await;
    // Before it says who it is: shown for every command in `authorisation`. After sealed mail:
    let mut nobody = Client::connect(relay.address()).await;
    nobody.hello().await;
    let sealed = v1::SubmitSealed {
        envelope: Some(envelope(&bob, "sealed sender")),
        access_key: CONTACTS_KEY.as_bytes().to_vec().into(),
    };
    assert!(matches!(nobody.ask(Request::SubmitSealed(sealed)).await, Response::Accepted(_)));
    nobody.send(tell(wire::GetPolicies {})).await;
    assert_eq!(nobody.closed().await.0.unwrap().code(), Code::NotAuthenticated);
    relay.shutdown().await;
}

#[tokio::test]
async fn a_directory_with_what_was_told_is_not_served_without_the_extension() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let alice = Device::new();
    let mut client = Client::register(relay.address(), &alice).await;
    let profile = wire::SetProfile { about: Some(MARKER.into()), ..wire::SetProfile::default() };
    client.ask(tell(profile)).await;
    relay.shutdown().await;
    let refused = start_plain(data.path()).await.expect_err("it refuses");
    assert!(matches!(refused, StartError::People(PeopleError::Disclosures { .. })), "{refused}");
    assert!(refused.to_string().contains("kuvert-relay-lens"), "{refused}");
    assert!(holds(data.path(), MARKER), "nothing was deleted");

    // Once it is taken back, the empty tables go.
    let withdraw = |more: &[&str]| {
        let mut command = std::process::Command::new(crate::PROGRAM);
        command.args(["--json", "withdraw", "--data"]).arg(data.path()).args(more).output().unwrap()
    };
    assert_eq!(withdraw(&[]).status.code(), Some(2), "it has to be meant");
    assert!(holds(data.path(), MARKER));
    let withdrawn = withdraw(&["--yes"]);
    assert_eq!(String::from_utf8_lossy(&withdrawn.stdout), "{\"rows\":1,\"type\":\"withdrawn\"}\n", "{withdrawn:?}");
    assert!(!holds(data.path(), MARKER));
    start_plain(data.path()).await.unwrap().shutdown().await;
    assert!(
        People::open_read_only(data.path())
            .unwrap()
            .unwrap()
            .transact(kuvert_relay_lens::tables::stand)
            .is_ok_and(|is| !is)
    );
    // And come again with the extension.
    let relay = start(data.path()).await;
    let (mut client, _) = Client::authenticate(relay.address(), &alice).await;
    assert!(matches!(
        told(client.ask(tell(wire::GetProfile { account: vec![1; 16].into() })).await),
        wire::answer::Body::Profile(_)
    ));
    relay.shutdown().await;
}

#[test]
fn every_version_of_the_database_is_served_with_the_extension_and_without() {
    for version in 1..=3 {
        for extension in [Some(&TABLES), None] {
            let data = tempfile::tempdir().unwrap();
            let path = data.path().join("people.db");
            // As the versions before made it: both kinds of tables in one step.
            let own = People::in_memory(Some(&TABLES)).unwrap();
            let schema: Vec<(String, String)> = own
                .transact(|tx| {
                    let mut select =
                        tx.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")?;
                    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
                })
                .unwrap();
            let since = |name: &str| match name {
                "phone" | "phone_code" | "profile" | "address_book" | "address_book_phone" | "device_details" => 1,
                "simulated_detail" => 3,
                _ => 2,
            };
            let old = Connection::open(&path).unwrap();
            for (_, sql) in schema.iter().filter(|(name, _)| since(name) <= version) {
                old.execute_batch(sql).unwrap();
            }
            old.pragma_update(None, "user_version", version).unwrap();
            drop(old);
            let names = |people: &People| -> Vec<String> {
                let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
                people.transact(|tx| tx.prepare(sql)?.query_map([], |row| row.get(0))?.collect()).unwrap()
            };
            let mut expected = names(&People::in_memory(extension).unwrap());
            let people = People::open(data.path(), extension).unwrap();
            assert_eq!(names(&people), expected, "from version {version}");
            drop(people);
            // Beside the relay nothing is made or dropped.
            let beside = People::beside(data.path()).unwrap();
            expected.sort();
            assert_eq!(names(&beside), expected);
        }
    }
}

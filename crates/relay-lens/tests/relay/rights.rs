//! What the holder of an account can ask for: correction, deletion, a report; and the terms of the demonstration.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kuvert_privacy::registry::Scope;
use kuvert_privacy::registry::documents::Document;
use kuvert_relay::{Config, ManualClock};
use kuvert_relay_lens::consents;
use kuvert_relay_lens::policy::Consent;
use kuvert_relay_sqlite::people::{People, holds};
use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
use kuvert_types::{DeviceId, DeviceList};
use kuvert_wire::v1::blob_request::What as Ask;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::demonstration::answer::Body as Told;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, demonstration as wire};

use prost::Message as _;
use rusqlite::Connection;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::common::*;

fn delete() -> Request {
    Request::DeleteAccount(v1::DeleteAccount {})
}

fn by_name(name: &str) -> Request {
    Request::GetAccount(v1::GetAccount { by: Some(v1::get_account::By::Name(name.into())) })
}

async fn done(client: &mut Client, request: Request) {
    let answer = client.ask(request).await;
    assert!(matches!(answer, Response::Done(_)), "{answer:?}");
}

/// The list of this number that names another device of the account, and not this one.
fn list_without(device: &Device, number: u64) -> Request {
    let other = DeviceEntry { device: DeviceId::new(2).unwrap(), certificate_hash: [7; 32] };
    let body = DeviceListBody { account: device.address.account, number, devices: vec![other] };
    let signature = sign(&device.account_key, &body.statement());
    let list = DeviceList::assemble(body, signature, &device.account_public()).unwrap();
    Request::PublishDeviceList(v1::PublishDeviceList { device_list: list.encode().into(), certificates: vec![] })
}

#[tokio::test]
async fn a_device_that_its_accounts_list_leaves_out_is_gone_with_its_mail_and_its_connections() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device::named("alice"), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    done(&mut alice_there, Request::PublishPrekeys(prekeys(1, 5, true))).await;
    let details = wire::ReportDevice { model: Some("a model".into()), ..wire::ReportDevice::default() };
    assert!(matches!(told(alice_there.ask(tell(details)).await), Told::Done(_)));
    bob_there.submit(envelope_from(&bob, &alice, "for alice")).await;
    let (mut second, _) = Client::authenticate(relay.address(), &alice).await;
    second.attach().await;
    second.delivery().await;
    // A newer list that names the device with its keys changes nothing for it.
    let same = v1::PublishDeviceList { device_list: alice.list(2).encode().into(), certificates: vec![] };
    done(&mut alice_there, Request::PublishDeviceList(same)).await;
    let looked_up = |answer| match answer {
        Response::Account(record) => record,
        other => panic!("{other:?}"),
    };
    let record = looked_up(bob_there.ask(by_name("alice")).await);
    assert_eq!(record.certificates, [alice.certificate().encode().to_vec()]);

    done(&mut alice_there, list_without(&alice, 3)).await;
    for client in [alice_there, second] {
        let (error, reason) = client.closed().await;
        let words = "the account's device list names this device no more";
        assert_eq!((error.unwrap().code(), reason.as_str()), (Code::AuthenticationFailed, words));
    }
    assert_eq!(bob_there.refused(submit(envelope_from(&bob, &alice, "too late"))).await, Code::UnknownRecipient);
    assert_eq!(bob_there.refused(take_bundles_of(&alice, &[1])).await, Code::UnknownRecipient);
    let record = looked_up(bob_there.ask(by_name("alice")).await);
    assert!(record.certificates.is_empty(), "only what is listed");
    let totals = relay.store().stats().await.unwrap();
    assert_eq!((totals.accounts, totals.devices, totals.waiting, totals.one_time_prekeys), (2, 1, 0, 0));
    let mut late = Client::connect(relay.address()).await;
    let proof = late.hello().await;
    let again = Request::Authenticate(alice.authenticate_request(&proof));
    assert_eq!(late.refused(again).await, Code::AuthenticationFailed);
    relay.shutdown().await;
    let people = Connection::open(data.path().join("people.db")).unwrap();
    let details: u32 = people.query_row("SELECT count(*) FROM device_details", [], |row| row.get(0)).unwrap();
    assert_eq!(details, 0);
}

fn take_bundles_of(device: &Device, devices: &[u32]) -> Request {
    let account = device.address.account.as_bytes().to_vec().into();
    Request::TakeBundles(v1::TakeBundles { account, devices: devices.to_vec() })
}

#[tokio::test]
async fn a_deleted_account_is_gone_with_its_mail_and_its_connections() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device::named("alice"), Device::named("bob"));
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    done(&mut alice_there, Request::PublishPrekeys(prekeys(1, 5, true))).await;
    alice_there.submit(envelope_from(&alice, &bob, "from alice")).await;
    bob_there.submit(envelope_from(&bob, &alice, "for alice")).await;
    let (mut second, _) = Client::authenticate(relay.address(), &alice).await;
    second.attach().await;
    second.delivery().await;

    done(&mut alice_there, delete()).await;
    for client in [alice_there, second] {
        let (error, reason) = client.closed().await;
        assert_eq!((error.unwrap().code(), reason.as_str()), (Code::AuthenticationFailed, "the account was deleted"));
    }
    assert_eq!(bob_there.refused(by_name("alice")).await, Code::UnknownRecipient);
    assert_eq!(bob_there.refused(take_bundles(&alice)).await, Code::UnknownRecipient);
    assert_eq!(bob_there.refused(submit(envelope_from(&bob, &alice, "too late"))).await, Code::UnknownRecipient);
    let mut late = Client::connect(relay.address()).await;
    let proof = late.hello().await;
    assert_eq!(
        late.refused(Request::Authenticate(alice.authenticate_request(&proof))).await,
        Code::AuthenticationFailed
    );

    // What she sent waits for Bob still, and says whom it is from: he could not open it otherwise.
    bob_there.attach().await;
    let envelope = bob_there.delivery().await.envelope.unwrap();
    assert_eq!(envelope.ciphertext.as_ref(), b"from alice");
    assert!(envelope.source.is_some());
    // Her name is free, and her keys may register again: as somebody new.
    drop(Client::register(relay.address(), &Device::named("alice")).await);
    let again = Device { name: None, ..alice };
    drop(Client::register(relay.address(), &again).await);
    let (_, greeting) = Client::authenticate(relay.address(), &again).await;
    assert_eq!((greeting.waiting, greeting.expired), (0, 0));
    assert_eq!(relay.store().stats().await.unwrap().accounts, 3);
    relay.shutdown().await;
}

#[tokio::test]
async fn deleting_one_account_leaves_every_other_as_it_was() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device::named("alice"), Device { phone: Some("+491701234567".into()), ..Device::named("bob") });
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    done(&mut bob_there, Request::PublishPrekeys(prekeys(1, 5, true))).await;
    bob_there.submit(envelope(&bob, "a note to himself")).await;
    done(&mut alice_there, delete()).await;
    // No command names whom to delete: it is always oneself. Bob's connection is not even interrupted.
    bob_there.attach().await;
    assert_eq!(bob_there.delivery().await.envelope.unwrap().ciphertext.as_ref(), b"a note to himself");
    let Response::PrekeyCounts(counts) = bob_there.ask(Request::CountPrekeys(v1::CountPrekeys {})).await else {
        panic!()
    };
    assert_eq!((counts.one_time, counts.one_time_kem), (5, 5));
    relay.shutdown().await;
}

#[tokio::test]
async fn an_account_is_corrected_by_itself_only_and_names_stay_unique() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device { phone: Some("+491701234567".into()), ..Device::named("alice") }, Device::named("bob"));
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    let update = Request::UpdateAccount;
    let name = |name: &str| v1::UpdateAccount { name: Some(name.into()), ..Default::default() };
    assert_eq!(alice_there.refused(update(name("bob"))).await, Code::NameTaken);
    assert_eq!(alice_there.refused(update(name("Alice!"))).await, Code::Invalid);
    let contradiction = v1::UpdateAccount { clear_name: true, ..name("carol") };
    assert_eq!(alice_there.refused(update(contradiction)).await, Code::Invalid);
    let number = v1::UpdateAccount { phone: Some("0170".into()), ..name("carol") };
    assert_eq!(alice_there.refused(update(number)).await, Code::Invalid);
    let stored = async || {
        let by = kuvert_relay::store::AccountBy::Id(alice.address.account);
        let record = relay.store().account(by).await.unwrap().unwrap();
        (record.name, record.phone)
    };
    assert_eq!(stored().await, (Some("alice".into()), Some("+491701234567".into())), "a refusal changes nothing");

    done(&mut alice_there, update(v1::UpdateAccount { clear_phone: true, ..name("carol") })).await;
    assert_eq!(stored().await, (Some("carol".into()), None));
    assert_eq!(bob_there.refused(by_name("alice")).await, Code::UnknownRecipient);
    assert!(matches!(bob_there.ask(by_name("carol")).await, Response::Account(_)));
    done(&mut bob_there, update(name("alice"))).await;
    done(&mut alice_there, update(v1::UpdateAccount { clear_name: true, ..Default::default() })).await;
    assert_eq!(stored().await, (None, None));
    relay.shutdown().await;
}

const OLD: &str = "2016-08-25";
const NEW: &str = "2021-01-04";

fn demonstration(data: &Path) -> Config {
    Config { demonstration: true, ..config(data) }
}

async fn ask_report(client: &mut Client) -> v1::ReportStatus {
    match client.ask(Request::RequestReport(v1::RequestReport {})).await {
        Response::ReportStatus(status) => status,
        other => panic!("{other:?}"),
    }
}

fn fetch(offset: u64) -> Request {
    Request::FetchReport(v1::FetchReport { offset })
}

/// The report's files by name.
async fn fetch_report(client: &mut Client) -> BTreeMap<String, Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let Response::ReportPiece(piece) = client.ask(fetch(whole.len() as u64)).await else { panic!("no piece") };
        whole.extend_from_slice(&piece.bytes);
        if whole.len() as u64 == piece.total {
            break;
        }
        assert!(!piece.bytes.is_empty());
    }
    files(&whole)
}

fn files(report: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let report = v1::Report::decode(report).unwrap();
    report.files.into_iter().map(|file| (file.name, file.content.to_vec())).collect()
}

fn json(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&files[name]).unwrap()
}

/// As much of JSON Schema as ours uses. Says where a value does not fit.
fn misfit(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    let kinds = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        kinds => kinds.as_array().unwrap().iter().map(|kind| kind.as_str().unwrap()).collect(),
    };
    if !kinds.into_iter().any(is) {
        return Some(format!("{at}: {value} is no {}", schema["type"]));
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(name.as_str().unwrap()) {
                return Some(format!("{at}: no {name}"));
            }
        }
        for (name, value) in object {
            let Some(schema) = properties.get(name) else { return Some(format!("{at}: {name} is not in the schema")) };
            if let Some(misfit) = misfit(schema, value, &format!("{at}.{name}")) {
                return Some(misfit);
            }
        }
    }
    let items = value.as_array().filter(|_| schema["items"].is_object()).into_iter().flatten();
    items.enumerate().find_map(|(index, item)| misfit(&schema["items"], item, &format!("{at}[{index}]")))
}

#[tokio::test]
async fn the_report_holds_what_the_registry_says_and_fits_its_schema() {
    let data = tempfile::tempdir().unwrap();
    let config = Config { observe: true, ..demonstration(data.path()) };
    let clock = Arc::new(ManualClock::new(NOON));
    let relay = start_with(config, clock.clone()).await;
    let (alice, bob) = (Device { phone: Some("+491701234567".into()), ..Device::named("alice") }, Device::named("bob"));
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    done(&mut alice_there, Request::PublishPrekeys(prekeys(1, 2, true))).await;
    clock.advance(Duration::from_millis(5));
    bob_there.submit(envelope_from(&bob, &alice, "sealed")).await;
    alice_there.submit(envelope_from(&alice, &bob, "for bob")).await;
    alice_there.ask(set_blocked(&bob, true)).await;
    bob_there.ask(set_blocked(&alice, true)).await;
    // A file for two devices; one has it.
    let readers = [blob::capability(), blob::capability()];
    let file = blob::upload(&alice_there.connection, &blob::blob(1_000), &readers).await;
    blob::on(&bob_there.connection, blob::ask_done(&file, &readers[0])).await.unwrap();
    // One of which the relay does not know how many it is for, and which is not complete.
    let Ask::Create(told) = blob::create(77, &readers[..1]) else { panic!() };
    let hidden = Ask::Create(v1::CreateBlob { shared: true, ..told });
    blob::begin(&alice_there.connection, hidden).await.unwrap();
    // Bob's is not hers.
    blob::upload(&bob_there.connection, &blob::blob(5), &readers).await;
    let accept = tell(wire::AcceptPolicy { version: OLD.into(), advertising: true });
    alice_there.ask(accept).await;
    // What comes from outside of this crate's commands.
    let connection = Connection::open(data.path().join("people.db")).unwrap();
    let account = alice.address.account;
    let fill = |sql: &str| connection.execute(sql, [account.as_bytes()]).unwrap();
    fill("INSERT INTO profile(account, about, about_at, picture, public) VALUES(?1, '<b>here</b>', 7, x'FFD8', 1)");
    fill("INSERT INTO address_book(owner, phone, name, uploaded_at) VALUES(?1, '+4915550000009', 'Carla', 8)");
    fill("INSERT INTO incident(at, kind, account, count) VALUES(9, 'account lookups', ?1, 3)");

    ask_report(&mut alice_there).await;
    let files = fetch_report(&mut alice_there).await;
    let schema = Document::Report.json(Scope::All);
    let names = [
        "account_information.json",
        "connections.json",
        "consents.json",
        "index.html",
        "manifest.json",
        "not_held.json",
        "queue.json",
        "recipients.json",
        "settings.json",
    ];
    assert_eq!(files.keys().collect::<Vec<_>>(), names);
    for name in names.into_iter().filter(|name| name.ends_with(".json")) {
        assert_eq!(misfit(&schema["properties"][name], &json(&files, name), name), None);
    }
    let manifest = json(&files, "manifest.json");
    assert_eq!((&manifest["account"], &manifest["made_at"]), (&account.to_string().into(), &(NOON + 5).into()));
    assert_eq!(manifest["files"].as_array().unwrap().len(), names.len() - 1);
    for told in manifest["files"].as_array().unwrap() {
        let content = &files[told["name"].as_str().unwrap()];
        assert_eq!(told["bytes"], content.len());
        let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(told["sha256"], digest);
    }

    let information = json(&files, "account_information.json");
    let row = |table: &str| &information[table][0];
    assert_eq!((&row("account")["name"], &row("account")["phone"]), (&"alice".into(), &"+491701234567".into()));
    assert_eq!(row("account")["registered_at"], NOON);
    assert_eq!((&row("profile")["about"], &row("profile")["picture"]), (&"<b>here</b>".into(), &"/9g=".into()));
    assert_eq!(row("profile")["email"], Value::Null, "a field without a value is there, and null");
    assert_eq!(row("incident")["count"], 3);
    assert_eq!(information["one_time_prekey"].as_array().unwrap().len(), 4);
    let blocked = json(&files, "settings.json")["blocked"].clone();
    let (whom, by) = (bob.address.account.to_string(), account.to_string());
    assert_eq!(blocked, serde_json::json!([{ "account": by, "blocked": whom }]), "hers, not Bob's");
    let queue = json(&files, "queue.json");
    let waiting = queue["envelope"].as_array().unwrap();
    assert_eq!(waiting.len(), 1, "her mailbox, not Bob's");
    assert_eq!(waiting[0]["source"], bob.address.to_string());
    assert_eq!((&waiting[0]["ciphertext"], &waiting[0]["accepted_at"]), (&6.into(), &(NOON + 5).into()));
    assert_eq!(waiting[0]["expires_at"], NOON + 5 + 30 * 86_400_000);
    let mut blobs = queue["blob"].as_array().unwrap().clone();
    blobs.sort_by_key(|blob| blob["size"].as_u64());
    assert_eq!(blobs.len(), 2, "hers, not Bob's");
    let [begun, complete] = [&blobs[0], &blobs[1]];
    assert_eq!(
        (&begun["size"], &begun["readers_left"], &begun["expires_at"]),
        (&77.into(), &Value::Null, &Value::Null)
    );
    assert_eq!((&complete["size"], &complete["readers_left"]), (&1_000.into(), &1.into()));
    assert_eq!(
        (&complete["created_at"], &complete["expires_at"]),
        (&(NOON + 5).into(), &(NOON + 5 + 30 * 86_400_000).into())
    );
    for kept_back in ["token", "capability", "key", "slot"] {
        assert!(complete.get(kept_back).is_none(), "{kept_back}");
    }
    let connections = json(&files, "connections.json");
    assert_eq!(connections["address_book"][0]["name"], "Carla");
    let events = connections["event"].as_array().unwrap();
    assert!(events.iter().any(|event| event["kind"] == "submitted" && event["source"] == bob.address.to_string()));
    assert!(events.iter().any(|event| event["kind"] == "connected" && event["ip"] == "127.0.0.1"));
    assert!(
        !events.iter().any(|event| event["kind"] == "registered" && event["name"] == "bob"),
        "nothing of Bob's own"
    );
    let settings = json(&files, "settings.json");
    assert_eq!((&settings["profile"][0]["public"], &settings["consent"][0]["version"]), (&true.into(), &OLD.into()));
    let consents = json(&files, "consents.json");
    assert_eq!((&consents["advertising"], &consents["policies"][1]["version"]), (&"used".into(), &NEW.into()));
    assert!(json(&files, "not_held.json")["not_held"].as_array().unwrap().len() > 5);
    let page = String::from_utf8(files["index.html"].clone()).unwrap();
    assert!(page.contains("&lt;b&gt;here") && page.contains("Carla") && !page.contains("<script"));
    relay.shutdown().await;
}

#[tokio::test]
async fn a_report_is_ready_after_the_delay_and_over_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let with_delay = || Config { report_delay_hours: 72, ..config(data.path()) };
    let clock = Arc::new(ManualClock::new(NOON));
    let relay = start_with(with_delay(), clock.clone()).await;
    let (alice, bob) = (Device::named("alice"), Device::named("bob"));
    let mut alice_there = Client::register(relay.address(), &alice).await;
    drop(Client::register(relay.address(), &bob).await);
    assert_eq!(alice_there.refused(fetch(0)).await, Code::Invalid, "none was asked for");
    let status = ask_report(&mut alice_there).await;
    assert_eq!((status.requested_at, status.ready_at), (NOON, NOON + 3 * 86_400_000));
    clock.advance(DAY);
    assert_eq!(ask_report(&mut alice_there).await, status, "asking again is no way to be later, or sooner");
    assert_eq!(alice_there.refused(fetch(0)).await, Code::NotReady);
    relay.shutdown().await;

    let relay = start_with(with_delay(), clock.clone()).await;
    let (mut alice_there, _) = Client::authenticate(relay.address(), &alice).await;
    clock.advance(2 * DAY - Duration::from_millis(1));
    assert_eq!(alice_there.refused(fetch(0)).await, Code::NotReady);
    clock.advance(Duration::from_millis(1));
    let report = fetch_report(&mut alice_there).await;
    assert_eq!(json(&report, "account_information.json")["account"][0]["name"], "alice");
    // It is made once: its pieces fit together whatever happens meanwhile.
    let name = v1::UpdateAccount { name: Some("carol".into()), ..Default::default() };
    done(&mut alice_there, Request::UpdateAccount(name)).await;
    assert_eq!(fetch_report(&mut alice_there).await, report);
    // Nobody else gets it, and it is not kept for ever.
    let (mut bob_there, _) = Client::authenticate(relay.address(), &bob).await;
    assert_eq!(bob_there.refused(fetch(0)).await, Code::Invalid);
    clock.advance(7 * DAY);
    assert_eq!(alice_there.refused(fetch(0)).await, Code::Invalid);
    relay.expire().await.unwrap();
    let rows = Connection::open(data.path().join("people.db")).unwrap();
    let left: i64 = rows.query_row("SELECT count(*) FROM report_request", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
    relay.shutdown().await;
}

#[tokio::test]
async fn terms_are_accepted_once_and_objected_to_in_time() {
    let data = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOON));
    let relay = start_with(demonstration(data.path()), clock.clone()).await;
    let mut client = Client::register(relay.address(), &Device::named("alice")).await;
    let accept = |version: &str, advertising| tell(wire::AcceptPolicy { version: version.into(), advertising });
    let object = || tell(wire::ObjectAdvertising {});
    let Told::Policies(terms) = told(client.ask(tell(wire::GetPolicies {})).await) else { panic!() };
    assert_eq!(terms.policies.iter().map(|policy| policy.version.as_str()).collect::<Vec<_>>(), [OLD, NEW]);
    assert_eq!(terms.policies.iter().map(|policy| policy.objection_days).collect::<Vec<_>>(), [30, 0]);
    assert!(terms.ledger.is_empty());
    assert_eq!(client.refused(object()).await, Code::Invalid);
    assert_eq!(client.refused(accept("1999-09-09", true)).await, Code::Invalid);
    let Told::Policies(terms) = told(client.ask(accept(OLD, true)).await) else { panic!() };
    assert_eq!((terms.ledger[0].accepted_at, terms.ledger[0].objected_at), (NOON, 0));
    assert_eq!(terms.ledger[0].objection_until, NOON + 30 * 86_400_000);
    // A repetition after a lost answer is fine; another choice is not.
    assert!(matches!(told(client.ask(accept(OLD, true)).await), Told::Policies(_)));
    assert_eq!(client.refused(accept(OLD, false)).await, Code::Invalid);
    clock.advance(30 * DAY);
    let Response::Error(error) = client.ask(object()).await else { panic!() };
    assert_eq!(error.code(), Code::TooLate);
    assert!(error.message.contains("until 2027-02-"), "{}", error.message);
    let Told::Policies(terms) = told(client.ask(accept(NEW, true)).await) else { panic!() };
    assert_eq!(terms.ledger.len(), 2);
    let Told::Policies(terms) = told(client.ask(object()).await) else { panic!() };
    assert_eq!(terms.ledger[1].objected_at, NOON + 30 * 86_400_000);
    relay.shutdown().await;

    // Without the demonstration there are no terms.
    let relay = start_with(config(data.path()), clock).await;
    let mut client = Client::register(relay.address(), &Device::named("bob")).await;
    for request in [tell(wire::GetPolicies {}), accept(NEW, true), object()] {
        assert_eq!(client.refused(request).await, Code::NoDemonstration);
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn three_things_are_left_of_a_deleted_account_and_each_ends() {
    let data = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOON));
    let mut config = Config { observe: true, ..demonstration(data.path()) };
    config.limits.lookups_per_device.burst = 1;
    let relay = start_with(config, clock.clone()).await;
    let (alice, bob) = (Device { phone: Some("+491701234567".into()), ..Device::named("alice") }, Device::named("bob"));
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    let account = alice.address.account;
    let people = People::beside(data.path()).unwrap();
    let consent = Consent { version: OLD.into(), accepted_at: NOON, advertising: true, objected_at: None };
    people.transact(|tx| consents::put(tx, &account, &consent)).unwrap();
    people.transact(|tx| holds::add(tx, &account, "case 7", NOON)).unwrap();
    // She runs into a limit, and it is written down within a minute.
    alice_there.ask(by_name("bob")).await;
    assert_eq!(alice_there.refused(by_name("bob")).await, Code::Limited);
    alice_there.submit(envelope_from(&alice, &bob, "sealed")).await;
    relay.expire().await.unwrap();
    done(&mut alice_there, delete()).await;
    bob_there.attach().await;
    let cursor = bob_there.delivery().await.cursor;
    bob_there.acknowledge(cursor).await;
    drop((alice_there, bob_there));

    let count = |file: &str, sql: &str| -> i64 {
        Connection::open(data.path().join(file)).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    // A count by day; incidents without her; her report under the hold, and nothing else.
    assert_eq!(count("people.db", "SELECT accounts FROM deletion WHERE day = 20833"), 1);
    assert_eq!(
        count("people.db", "SELECT count(*) FROM incident WHERE account IS NULL AND kind = 'account lookups'"),
        1
    );
    assert_eq!(count("people.db", "SELECT count(*) FROM consent"), 0);
    let held = people.transact(holds::list).unwrap();
    assert_eq!((held[0].account, held[0].at, held[0].reason.as_str()), (account, NOON, "case 7"));
    let report = files(&people.transact(|tx| holds::report(tx, &account)).unwrap().unwrap());
    assert_eq!(json(&report, "account_information.json")["account"][0]["name"], "alice");
    assert_eq!(json(&report, "settings.json")["consent"][0]["version"], OLD);
    let named = format!(
        "SELECT count(*) FROM event WHERE device LIKE '{account}%' OR other LIKE '{account}%' OR source LIKE '{account}%' OR name = 'alice'"
    );
    assert_eq!(count("observe.db", &named), 0);
    assert!(count("observe.db", "SELECT count(*) FROM event WHERE kind = 'submitted'") > 0);

    // After the hold is released, and after 90 days, nothing is left but the number.
    assert_eq!(people.transact(|tx| holds::release(tx, &account)), Ok(true));
    clock.advance(90 * DAY);
    relay.expire().await.unwrap();
    assert!(count("people.db", "SELECT count(*) FROM incident") > 0, "not a millisecond before");
    clock.advance(Duration::from_millis(1));
    relay.expire().await.unwrap();
    assert_eq!(count("people.db", "SELECT count(*) FROM incident"), 0);
    // Connections may have ended since.
    assert_eq!(count("observe.db", "SELECT count(*) FROM event WHERE kind <> 'disconnected'"), 0);
    assert_eq!(count("people.db", "SELECT count(*) FROM held"), 0);
    assert_eq!(count("people.db", "SELECT accounts FROM deletion"), 1);
    relay.shutdown().await;
}

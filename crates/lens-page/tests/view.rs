//! What the page shows at each level: the same recording, less and less of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kuvert_lens_page::files::{Snapshot, Waiting};
use kuvert_lens_page::told::Holder;
use kuvert_lens_page::view::{HandOver, View, ran_at};
use kuvert_privacy::registry::Level;
use kuvert_privacy::registry::items::{self, Mode, Shown};
use kuvert_relay::admin::KnownAccount;
use kuvert_relay::blobs::store::BlobGauges;
use kuvert_relay::data_rights::ReportRequest;
use kuvert_relay_lens::address_book::Person;
use kuvert_relay_lens::devices::Details;
use kuvert_relay_lens::look::{Export, Known, Rights, Told};
use kuvert_relay_lens::observe::Observed;
use kuvert_relay_lens::policy::{Consent, PURPOSES};
use kuvert_relay_lens::profile::Profile;
use kuvert_relay_sqlite::blobs::look::KnownBlob;
use kuvert_types::{AccountId, BlobId};
use serde_json::Value;

/// A Wednesday.
const NOON: u64 = 1_800_000_000_000;
const PHONE: &str = "+4915112345678";
/// Of a person who has no account and was never asked.
const SHADOW: &str = "+4915198765432";
const BOBS_PHONE: &str = "+4915155555555";
const ALICE_IP: &str = "203.0.113.77";
const BOB_IP: &str = "198.51.100.9";

fn account(byte: u8) -> String {
    AccountId::from_bytes([byte; 16]).to_string()
}

fn known(byte: u8, name: &str, phone: Option<&str>) -> KnownAccount {
    KnownAccount {
        account: AccountId::from_bytes([byte; 16]),
        account_key: String::new(),
        device_list_number: 1,
        name: Some(name.to_owned()),
        phone: phone.map(str::to_owned),
        registered_at: NOON,
        access_key: false,
        sealed_mail: false,
        blocked: Vec::new(),
        devices: Vec::new(),
    }
}

fn person(phone: &str, name: &str) -> Person {
    Person { phone: phone.to_owned(), name: Some(name.to_owned()), email: None, birthday: None, address: None }
}

fn event(kind: &str, seconds: u64, connection: u32, of: Option<u8>) -> Observed {
    Observed {
        at: NOON + 1000 * seconds,
        kind: kind.to_owned(),
        connection: Some(connection),
        device: of.map(|byte| format!("{}.1", account(byte))),
        ..Observed::default()
    }
}

fn connected(seconds: u64, connection: u32, ip: &str) -> Observed {
    Observed { ip: Some(ip.to_owned()), ..event("connected", seconds, connection, None) }
}

fn submitted(seconds: u64, connection: u32, from: u8, to: u8, size: u64) -> Observed {
    Observed {
        source: Some(format!("{}.1", account(from))),
        other: Some(format!("{}.1", account(to))),
        size: Some(size),
        yes: Some(false),
        ..event("submitted", seconds, connection, Some(from))
    }
}

/// Alice's, a simulated phone as well.
fn device() -> Details {
    let line = |(what, value): (&str, &str)| (what.to_owned(), format!("simulated: {value}"));
    let lines = [("battery", "82 %"), ("camera", "allowed"), ("other-messenger", "user 1000042")];
    Details { model: Some("X200".to_owned()), simulated: lines.map(line).into(), ..Details::default() }
}

/// Alice accepted both versions of the terms and asked for a report; an export was made, and an account was deleted.
fn rights() -> Rights {
    let accepted = |version: &str| Consent {
        version: version.to_owned(),
        accepted_at: NOON,
        advertising: true,
        objected_at: None,
    };
    let request = ReportRequest { requested_at: NOON, ready_at: NOON + 1, kept_until: NOON + 2, made: false };
    let export = Export { at: NOON, what: "numbers".to_owned(), recipient: "somebody".to_owned(), accounts: 1 };
    let alice = AccountId::from_bytes([1; 16]);
    Rights {
        consents: vec![(alice, vec![accepted("2016-08-25"), accepted("2021-01-04")])],
        requests: vec![(alice, request)],
        exports: vec![export],
        deletions: vec![(20_000, 3)],
        incidents: 2,
        holds: Vec::new(),
    }
}

/// Alice (1) writes three envelopes to Bob (2) and one of them again; Bob answers one. Carol (3) shares Bob's address.
fn day() -> Snapshot {
    let repeated = Observed { yes: Some(true), ..submitted(4, 10, 1, 2, 700) };
    Snapshot {
        accounts: vec![known(1, "alice", Some(PHONE)), known(2, "bob", None), known(3, "carol", None)],
        told: vec![Holder {
            account: AccountId::from_bytes([1; 16]),
            told: Told {
                phone: Some((PHONE.to_owned(), NOON)),
                awaited: None,
                profile: Profile {
                    about: Some(("gone fishing".to_owned(), NOON)),
                    picture: Some((vec![7; 1234], NOON + 1)),
                    public: true,
                    ..Profile::default()
                },
                people: 2,
                shadows: 1,
                devices: vec![(1, device(), NOON)],
            },
            address_book: vec![
                Known { person: person(SHADOW, "Dora"), uploaded_at: NOON, account: None },
                Known {
                    person: person(BOBS_PHONE, "Bob"),
                    uploaded_at: NOON,
                    account: Some(AccountId::from_bytes([2; 16])),
                },
            ],
        }],
        rights: rights(),
        demonstration: true,
        blobs: BlobGauges::default(),
        files: Vec::new(),
        waiting_count: 1,
        waiting_bytes: 700,
        waiting: vec![Waiting {
            id: "e".to_owned(),
            recipient: format!("{}.1", account(2)),
            sender: Some(format!("{}.1", account(1))),
            size: 700,
            accepted_at: NOON + 4000,
            expires_at: NOON + 30 * 86_400_000,
            first_bytes: vec![0xab, 0xcd],
        }],
        retention_days: 30,
        region: Some("USA".to_owned()),
        observed: true,
        events: vec![
            connected(0, 10, ALICE_IP),
            event("authenticated", 1, 10, Some(1)),
            event("registered", 1, 10, Some(1)),
            event("profile_changed", 1, 10, Some(1)),
            submitted(2, 10, 1, 2, 700),
            submitted(3, 10, 1, 2, 2_600),
            submitted(4, 10, 1, 2, 700),
            repeated,
            connected(5, 20, BOB_IP),
            event("authenticated", 6, 20, Some(2)),
            connected(7, 30, BOB_IP),
            event("authenticated", 8, 30, Some(3)),
            submitted(9, 20, 2, 1, 700),
            event("disconnected", 61, 10, None),
        ],
    }
}

fn view(level: Level) -> Value {
    serde_json::to_value(View::of(&day(), level, Vec::new(), NOON)).unwrap()
}

fn edges(view: &Value) -> Vec<(String, String, u64, bool, u64)> {
    let edge = |edge: &Value| {
        (
            edge["from_label"].as_str().unwrap().to_owned(),
            edge["to_label"].as_str().unwrap().to_owned(),
            edge["count"].as_u64().unwrap(),
            edge["stored"].as_bool().unwrap(),
            (100.0 * edge["probability"].as_f64().unwrap()).round() as u64,
        )
    };
    view["edges"].as_array().unwrap().iter().map(edge).collect()
}

fn edge(from: &str, to: &str, count: u64, stored: bool, percent: u64) -> (String, String, u64, bool, u64) {
    (from.to_owned(), to.to_owned(), count, stored, percent)
}

#[test]
fn a_marker_stands_only_where_the_level_tells_it() {
    for &level in Level::ALL {
        let page = view(level).to_string();
        let document = serde_json::to_string(&HandOver::of(&day(), level, NOON)).unwrap();
        for told in ["Germany", "Specimen Harbour", "Sample City", "profile changed 1"] {
            assert_eq!(page.contains(told), level == Level::L0, "{told} at {level}");
        }
        for text in [page, document] {
            for marker in [PHONE, ALICE_IP, SHADOW, "Dora", "gone fishing", "1234 bytes", "X200", "simulated: 82 %"] {
                assert_eq!(text.contains(marker), level == Level::L0, "{marker} at {level}");
            }
        }
    }
}

/// What runs, or is simulated, stands on the page with its number: in what the view says, or beside a heading.
#[test]
fn every_item_that_is_shown_has_a_place_on_the_page() {
    let page = view(Level::L0).to_string() + include_str!("../web/index.html");
    for item in items::ALL {
        let missing = match (item.mode, &item.shown) {
            (Mode::Real | Mode::Mixed | Mode::Simulated, Shown::Yes(_) | Shown::Partly { .. }) => {
                !page.contains(&format!("M-{:02}", item.number))
            }
            _ => false,
        };
        assert!(!missing, "M-{:02} has no place on the page", item.number);
    }
}

fn line<'a>(view: &'a Value, list: &str, what: &str) -> &'a str {
    let lines = view[list].as_array().unwrap();
    let found = lines.iter().find(|line| line["what"] == what).unwrap_or_else(|| panic!("no {what} in {lines:#?}"));
    found["seen"].as_str().unwrap()
}

#[test]
fn who_agreed_to_what_and_what_it_led_to_is_told() {
    let view = view(Level::L0);
    let told = |what| line(&view, "rights", what);
    assert_eq!(told("the parent company would get"), format!("{PHONE}, 1 times online, advertising: used"));
    assert_eq!(told("for these purposes"), PURPOSES.join(", "));
    assert_eq!(told("accepted"), "alice: the terms of 2016-08-25");
    assert!(told("use for advertising").contains("the phone number and the frequency of use in any case"));
    assert!(told("the terms disagree").contains("within 30 days; 2021-01-04: cannot be prevented"));
    assert!(told("deleted").starts_with("3 accounts"));
    assert!(told("kept").contains("as long as the account exists"));
    for report in ["a report's account information", "a report's connections", "a report's settings"] {
        assert!(!told(report).is_empty());
    }
    let times = view["rights"].as_array().unwrap().iter().find(|line| line["row"] == "M-23").unwrap()["times"].clone();
    assert_eq!(times, serde_json::json!([NOON, NOON + 30 * 86_400_000]), "until when it can be refused");
    let plain = View::of(&Snapshot { demonstration: false, ..day() }, Level::L0, Vec::new(), NOON);
    let plain = serde_json::to_value(plain).unwrap();
    assert!(line(&plain, "rights", "shared").starts_with("nothing"));
    let above = self::view(Level::L1);
    assert!(line(&above, "rights", "the parent company would get").starts_with("nothing"), "it has no number");
}

#[test]
fn what_a_simulated_phone_allows_is_told_as_simulated_and_the_rest_as_not_sent() {
    let view = view(Level::L0);
    assert_eq!(line(&view, "known", "what the phone allowed (simulated)"), "alice: camera simulated: allowed");
    let not_sent = |view: &Value| {
        let unknown = view["unknown"].as_array().unwrap().clone();
        unknown.iter().filter(|item| item["why"].as_str().unwrap().starts_with("not sent")).count()
    };
    assert_eq!(not_sent(&view), 11, "three were");
    let mut silent = day();
    silent.told[0].told.devices[0].1.simulated.clear();
    let silent = serde_json::to_value(View::of(&silent, Level::L0, Vec::new(), NOON)).unwrap();
    assert_eq!(not_sent(&silent), 14);
}

#[test]
fn address_books_make_people_known_who_have_no_account() {
    let view = view(Level::L0);
    let known: Vec<_> =
        view["acquaintances"].as_array().unwrap().iter().map(|a| (&a["person_label"], &a["account"])).collect();
    assert_eq!(known, [(&"Dora".into(), &false.into()), (&"bob".into(), &true.into())]);
    let said =
        view["known"].as_array().unwrap().iter().find(|known| known["what"].as_str().unwrap().contains("never asked"));
    assert_eq!(said.unwrap()["seen"], format!("Dora, {SHADOW}"));
}

#[test]
fn up_to_level_1_every_envelope_names_its_sender() {
    for level in [Level::L0, Level::L1] {
        let expected = [edge("alice", "bob", 3, true, 100), edge("bob", "alice", 1, true, 100)];
        assert_eq!(edges(&view(level)), expected, "{level}: a repetition does not count");
        assert!(view(level)["waiting"][0]["from"] == "alice");
    }
}

#[test]
fn from_level_2_the_relay_guesses_from_addresses_in_its_memory() {
    for level in [Level::L2, Level::L3] {
        let expected = [
            edge("alice", "bob", 3, false, 100),
            // From that address it may as well have been Carol.
            edge("bob", "alice", 1, false, 50),
            edge("carol", "alice", 1, false, 50),
        ];
        assert_eq!(edges(&view(level)), expected, "{level}");
        assert!(view(level)["waiting"][0]["from"].is_null());
        let document = serde_json::to_value(HandOver::of(&day(), level, NOON)).unwrap();
        assert!(document["waiting"][0]["sender"].is_null());
        let submitted = |event: &&Value| event["kind"] == "submitted";
        let observations = document["observations"].as_array().unwrap();
        assert!(
            observations.iter().filter(submitted).all(|event| event["device"].is_null() && event["other"].is_string())
        );
    }
}

#[test]
fn who_is_blocked_by_whom_is_known_and_what_was_dropped_up_to_level_1() {
    let mut day = day();
    day.accounts[1].blocked = vec![AccountId::from_bytes([1; 16])];
    day.events.extend([
        Observed { yes: Some(true), other: Some(account(1)), ..event("blocked_set", 20, 20, Some(2)) },
        Observed { kind: "dropped".to_owned(), yes: None, ..submitted(21, 10, 1, 2, 700) },
        Observed { kind: "dropped".to_owned(), yes: None, ..submitted(22, 10, 1, 2, 700) },
    ]);
    let dropped = "mail that it dropped, because its sender is blocked";
    for &level in Level::ALL {
        let view = serde_json::to_value(View::of(&day, level, Vec::new(), NOON)).unwrap();
        assert!(line(&view, "known", "who has blocked whom at the relay").ends_with(" has blocked alice"), "{level}");
        let document = serde_json::to_value(HandOver::of(&day, level, NOON)).unwrap();
        assert_eq!(document["accounts"][1]["blocked"], serde_json::json!([account(1)]), "{level}");
        let observations = document["observations"].as_array().unwrap();
        if level <= Level::L1 {
            assert_eq!(line(&view, "known", dropped), "alice → bob: 2 envelopes", "{level}");
            assert_eq!(edges(&view)[0], edge("alice", "bob", 3, true, 100), "{level}: what was dropped is no mail");
        } else {
            // Sealed mail cannot be dropped for its sender's sake: here it is mail like any other, and tells no sender.
            assert!(view["known"].as_array().unwrap().iter().all(|line| line["what"] != dropped), "{level}");
            assert_eq!(edges(&view)[0], edge("alice", "bob", 5, false, 100), "{level}");
            assert!(observations.iter().all(|event| event["kind"] != "dropped"), "{level}");
            let sent = observations.iter().filter(|event| event["kind"] == "submitted");
            assert!(sent.clone().count() == 7 && sent.clone().all(|event| event["device"].is_null()), "{level}");
        }
    }
}

/// Alice's file for Bob, who reads it in two goes: the line broke.
fn with_a_file() -> Snapshot {
    let of_file = |kind: &str, seconds, connection, of| Observed {
        envelope: Some("f1".to_owned()),
        ..event(kind, seconds, connection, Some(of))
    };
    let mut day = day();
    day.blobs = BlobGauges { blobs: 1, bytes: 4_198_400, uploads: 0 };
    day.files = vec![KnownBlob {
        id: BlobId::from_bytes([9; 16]),
        account: AccountId::from_bytes([1; 16]),
        size: 4_198_400,
        durable: 4_198_400,
        created_at: NOON,
        committed_at: Some(NOON),
        shared: false,
        readers: 2,
    }];
    day.events.extend([
        Observed { size: Some(4_198_400), count: Some(2), ..of_file("file_created", 62, 10, 1) },
        Observed { size: Some(4_198_400), ..of_file("file_uploaded", 63, 10, 1) },
        of_file("file_committed", 63, 10, 1),
        Observed { size: Some(4_198_400), ..of_file("file_read", 64, 20, 2) },
        Observed { size: Some(2_000_000), ..of_file("file_read", 65, 20, 2) },
        Observed { yes: Some(false), ..of_file("file_done", 66, 20, 2) },
        Observed { yes: Some(true), ..of_file("file_done", 67, 20, 2) },
    ]);
    day
}

#[test]
fn who_gave_whom_a_file_is_known_up_to_level_1_and_a_guess_above() {
    for &level in Level::ALL {
        let view = serde_json::to_value(View::of(&with_a_file(), level, Vec::new(), NOON)).unwrap();
        let document = serde_json::to_value(HandOver::of(&with_a_file(), level, NOON)).unwrap();
        let file = &view["transfers"][0];
        let named = level <= Level::L1;
        // At every level: who uploaded it, when, and its size, which the sender has padded and no level rounds further.
        assert_eq!(
            (&file["from_label"], &file["size"], &file["at"]),
            (&"alice".into(), &4_198_400.into(), &(NOON + 62_000).into())
        );
        assert_eq!(file["read"], NOON + 64_000, "{level}: its name ties uploads and downloads together");
        assert_eq!(file["ip"].is_string(), level == Level::L0, "{level}");
        assert_eq!(
            (&file["readers"], file["gone"].is_null()),
            (&serde_json::json!(named.then_some(2)), !named),
            "{level}"
        );
        let readers = file["to"].as_array().unwrap().iter();
        let readers: Vec<(&str, bool)> =
            readers.map(|to| (to["label"].as_str().unwrap(), to["stored"].as_bool().unwrap())).collect();
        let percent = |at: usize| (100.0 * file["to"][at]["probability"].as_f64().unwrap()).round();
        if named {
            assert_eq!((readers, percent(0)), (vec![("bob", true)], 100.0), "{level}");
            assert_eq!(line(&view, "known", "who gave whom a file"), "alice → bob: 1 file, about 4.0 MiB");
        } else {
            // Carol shares Bob's address.
            let both = vec![("bob", false), ("carol", false)];
            assert_eq!((readers, percent(0), percent(1)), (both, 50.0, 50.0), "{level}");
            assert_eq!(line(&view, "known", "who uploaded files"), "alice: 1 file, about 4.0 MiB");
            let guess = line(&view, "known", "who read files, guessed from IP addresses in memory");
            assert_eq!(guess, "alice → bob (50 %), alice → carol (50 %)");
        }
        let edge = &view["file_edges"][0];
        assert_eq!((&edge["count"], &edge["bytes"], &edge["slices"][0][1]), (&1.into(), &4_198_400.into(), &1.into()));
        assert!(line(&view, "known", "files that wait, sealed").starts_with("1 file, 4198400 bytes"), "{level}");
        // What could be handed over says the same.
        assert_eq!(document["files"][0]["readers"], serde_json::json!(named.then_some(2)), "{level}");
        let created = |event: &&Value| event["kind"] == "file_created";
        let created = document["observations"].as_array().unwrap().iter().find(created).unwrap();
        assert_eq!(
            (&created["readers"], created["device"].is_string()),
            (&serde_json::json!(named.then_some(2)), true)
        );
        let reading = |event: &&Value| event["kind"] == "file_read";
        let reads: Vec<&Value> = document["observations"].as_array().unwrap().iter().filter(reading).collect();
        assert_eq!(reads.len(), 2);
        for read in reads {
            assert_eq!((read["device"].is_string(), read["connection"].is_null()), (named, !named), "{level}");
            assert_eq!((&read["file"], read["size"].is_number()), (&"f1".into(), true), "{level}");
        }
        let done = document["observations"].as_array().unwrap().iter().filter(|event| event["kind"] == "file_done");
        assert_eq!(done.count(), if named { 2 } else { 0 }, "{level}: a reader without a name says nothing at the end");
    }
}

#[test]
fn so_many_files_are_shown_and_no_more() {
    let mut day = with_a_file();
    let made = |number: u64| Observed {
        envelope: Some(format!("many-{number}")),
        size: Some(1),
        ..event("file_created", 100 + number, 10, Some(1))
    };
    day.events.extend((0..500).map(made));
    let view = serde_json::to_value(View::of(&day, Level::L0, Vec::new(), NOON)).unwrap();
    let shown = view["transfers"].as_array().unwrap();
    assert_eq!((shown.len(), &shown[199]["at"]), (200, &(NOON + 599_000).into()), "the newest");
    assert_eq!(view["file_edges"][0]["count"], 1, "pairs are counted over all");
}

#[test]
fn sizes_are_blurred_at_level_3_only_and_times_at_none() {
    let size_and_first = |level| {
        let view = view(level);
        (view["waiting"][0]["size"].as_u64().unwrap(), view["edges"][0]["first"].as_u64().unwrap())
    };
    assert_eq!(size_and_first(Level::L2), (700, NOON + 2000));
    // The relay stamps what comes, whatever the level: only receipts come late.
    assert_eq!(size_and_first(Level::L3), (1024, NOON + 2000));
}

#[test]
fn when_somebody_was_there_is_exact_at_level_0_and_a_day_after() {
    let alice = |level| {
        let view = view(level);
        let devices = view["devices"].as_array().unwrap().clone();
        devices.into_iter().find(|device| device["label"] == "alice").unwrap()
    };
    assert_eq!(alice(Level::L0)["last_seen"], NOON + 4000);
    assert_eq!(alice(Level::L0)["addresses"], serde_json::json!([ALICE_IP]));
    assert_eq!(alice(Level::L1)["last_seen"], NOON / 86_400_000 * 86_400_000);
    assert_eq!(alice(Level::L1)["precision"], "day");
    let people = view(Level::L0)["people"].as_array().unwrap().clone();
    assert_eq!((&people[0]["sessions"], &people[0]["online_ms"]), (&1.into(), &60_000.into()));
}

#[test]
fn what_is_not_known_grows_with_the_level() {
    let mut before = 0;
    for &level in Level::ALL {
        let view = view(level);
        let unknown = view["unknown"].as_array().unwrap();
        assert!(unknown.len() >= before, "{level}");
        assert!(unknown.iter().any(|item| item["what"] == "the words of any message" && item["test"].is_array()));
        before = unknown.len();
    }
    assert!(before > view(Level::L0)["unknown"].as_array().unwrap().len());
}

#[test]
fn without_observation_the_page_shows_what_delivery_needs() {
    let normal = Snapshot { observed: false, events: Vec::new(), ..day() };
    let view = serde_json::to_value(View::of(&normal, Level::L0, Vec::new(), NOON)).unwrap();
    assert_eq!(view["observed"], false);
    assert_eq!(view["edges"], serde_json::json!([]));
    assert_eq!(view["waiting_count"], 1);
    let unknown = view["unknown"].as_array().unwrap();
    assert!(unknown.iter().any(|item| item["test"][1] == "nothing_is_recorded_in_normal_service"));
}

/// A receipt that goes as soon as a letter was taken in tells L2 from L3.
#[test]
fn the_level_at_which_the_traffic_ran_shows_in_the_recording() {
    assert_eq!(ran_at(&day()), Level::L0, "numbers and profiles were told");
    assert_eq!(view(Level::L2)["ran_at"], "L0");
    let plain = Snapshot {
        accounts: vec![known(1, "alice", None), known(2, "bob", None)],
        told: Vec::new(),
        events: vec![connected(0, 10, ALICE_IP), submitted(2, 10, 1, 2, 700)],
        ..day()
    };
    assert_eq!(ran_at(&plain), Level::L1, "every envelope names its sender");
    let of_l0 = Snapshot { events: vec![event("device_reported", 1, 10, Some(1))], ..plain.clone() };
    assert_eq!(ran_at(&of_l0), Level::L0);
    let silent = Snapshot { events: Vec::new(), ..plain.clone() };
    assert_eq!(ran_at(&silent), Level::L0, "nothing tells it");
    let sealed = |after: u64| {
        let sealed = Observed { source: None, device: None, ..submitted(20 + after, 20, 2, 1, 700) };
        let taken_in = event("acknowledged", 20, 20, Some(2));
        Snapshot { events: vec![connected(0, 20, BOB_IP), taken_in, sealed], ..plain.clone() }
    };
    assert_eq!(ran_at(&sealed(1)), Level::L2, "a receipt at once");
    assert_eq!(ran_at(&sealed(30)), Level::L3, "a receipt later");
}

#[test]
fn a_person_has_hours_places_and_counts_as_far_as_the_level_tells() {
    let person = |level| view(level)["people"].as_array().unwrap()[0].clone();
    let alice = person(Level::L0);
    assert_eq!((&alice["wrote"], &alice["got"]), (&3.into(), &1.into()));
    assert_eq!(alice["places"], serde_json::json!(["Specimen Harbour"]));
    assert_eq!(alice["hours"], serde_json::json!([{"at": NOON, "count": 4}]));
    assert_eq!(person(Level::L1)["places"], serde_json::json!([]));
    let sealed = person(Level::L2);
    assert!(sealed["wrote"].is_null(), "who writes is hidden");
    assert_eq!((&sealed["got"], &sealed["hours"][0]["count"]), (&1.into(), &1.into()));
}

#[test]
fn the_timeline_goes_from_the_first_envelope_to_the_last() {
    for &level in Level::ALL {
        let view = view(level);
        let timeline = &view["timeline"];
        let edges = view["edges"].as_array().unwrap();
        for edge in edges {
            let slices = edge["slices"].as_array().unwrap();
            let count: u64 = slices.iter().map(|slice| slice[1].as_u64().unwrap()).sum();
            assert_eq!(count, edge["count"].as_u64().unwrap(), "{level}");
            assert!(slices.iter().all(|slice| slice[0].as_u64() < timeline["slices"].as_u64()), "{level}");
        }
    }
    assert_eq!(view(Level::L0)["timeline"]["from"], NOON + 2000);
    assert_eq!(view(Level::L0)["timeline"]["to"], NOON + 9000);
    assert_eq!(view(Level::L3)["timeline"]["from"], NOON + 2000);
    let none = Snapshot { events: Vec::new(), ..day() };
    assert!(serde_json::to_value(View::of(&none, Level::L0, Vec::new(), NOON)).unwrap()["timeline"].is_null());
}

/// The page's words are one file for each language: both have the same texts, and German has a name for all that is listed.
#[test]
fn every_language_has_every_word() {
    let [en, de] = [include_str!("../web/src/words/en.json"), include_str!("../web/src/words/de.json")]
        .map(|words| serde_json::from_str::<Value>(words).unwrap());
    let keys = |words: &Value| words["page"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&en), keys(&de));
    let placeholders = |text: &str| {
        let names = text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name.to_owned());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    for key in keys(&en) {
        let [one, other] = [&en, &de].map(|words| words["page"][&key].to_string());
        assert_eq!(placeholders(&one), placeholders(&other), "{key}");
    }
    let mut quiet = day();
    quiet.told[0].told.devices[0].1.simulated.clear();
    quiet.accounts[1].blocked = vec![AccountId::from_bytes([1; 16])];
    quiet.events.push(Observed { kind: "dropped".to_owned(), yes: None, ..submitted(21, 10, 1, 2, 700) });
    let normal = Snapshot { observed: false, events: Vec::new(), demonstration: false, ..day() };
    for snapshot in [day(), quiet, normal, with_a_file()] {
        for &level in Level::ALL {
            let view = serde_json::to_value(View::of(&snapshot, level, Vec::new(), NOON)).unwrap();
            for list in ["known", "unknown", "rights"] {
                for line in view[list].as_array().unwrap() {
                    let what = line["what"].as_str().unwrap();
                    assert!(de["facts"][what].is_string(), "no German for {what:?}");
                    assert!(list != "known" || en["facts"][what].is_string(), "no plain English for {what:?}");
                }
            }
        }
    }
}

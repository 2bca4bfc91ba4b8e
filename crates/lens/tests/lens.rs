//! What the figures rest on: the seed, the relay's rules, and a log that holds no more than its level.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Mutex;

use bytes::Bytes;
use kuvert_lens::log::Tap;
use kuvert_lens::policy::{Policy, Receipts};
use kuvert_lens::population::Population;
use kuvert_lens::random::Random;
use kuvert_lens::relay::{Relay, Submission};
use kuvert_lens::score::observe;
use kuvert_lens::{Level, Setup, plot, report, score};
use kuvert_relay::mailbox::{MS_PER_DAY, accepted_before};
use kuvert_relay::observe::{Blind, ConnectionNumber, Event, Observer};
use kuvert_relay::store::memory::MemoryStore;
use kuvert_relay::store::{Cursor, NewAccount, NewDevice, NewEnvelope, NumberedDeviceList, Store, Submitted};
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};

const SMALL: Setup = Setup { users: 400, rate: 0.4, days: 2, seed: 7 };

fn policies() -> Vec<Policy> {
    let mut policies: Vec<Policy> = Level::ALL.iter().map(|level| Policy::of(*level, Receipts::Jittered)).collect();
    policies.push(Policy::of(Level::L3, Receipts::Off));
    policies
}

#[test]
fn everything_follows_from_the_seed() {
    let setup = |seed| Setup { users: 150, rate: 0.1, days: 1, seed };
    let json = |seed| report::json(&score(&setup(seed), &policies(), |_| ())).unwrap();
    let first = json(7);
    assert_eq!(first, json(7));
    assert_ne!(first, json(8));
}

#[test]
fn a_level_is_told_as_one_object_with_these_keys() {
    let scores = score(&Setup { users: 100, rate: 0.1, ..SMALL }, &policies(), |_| ());
    let json = report::json(&scores).unwrap();
    assert_eq!(json.lines().count(), 5);
    let keys = [
        "level",
        "users",
        "rate",
        "seed",
        "edges",
        "precision",
        "recall",
        "f1",
        "files",
        "count",
        "precision",
        "recall",
        "f1",
        "readers_named",
        "top1_after",
        "5",
        "10",
        "20",
        "40",
        "anonymity_bits",
        "size_kind_bits",
        "bytes_ratio",
        "latency_ms",
    ];
    for line in json.lines() {
        // In this order, and no others.
        let told: Vec<&str> = line.split('"').skip(1).step_by(2).filter(|word| !word.starts_with('L')).collect();
        assert_eq!(told, keys, "{line}");
    }
    assert!(json.lines().last().unwrap().ends_with("\"latency_ms\":null}"), "without receipts nobody learns");
    assert!(report::text(&scores).contains("L3, no receipts"));
    let table = report::markdown(&scores);
    let document = "a\n<!-- scorecard: kuvert-lens score --document -->\nold\n<!-- end of scorecard -->\nb\n";
    let inserted = report::insert(document, report::SCORECARD, &table).unwrap();
    assert!(inserted.contains(&table) && !inserted.contains("old") && inserted.ends_with("-->\nb\n"));
    assert_eq!(report::insert(&inserted, report::SCORECARD, &table).as_ref(), Some(&inserted));
    assert_eq!(report::insert("no marks", report::SCORECARD, &table), None);
    let one = [scores];
    let (identified, edges) = (plot::identified(&one), plot::edges(&one));
    assert_eq!((identified.matches("<polyline").count(), identified.matches("<polygon").count()), (5, 0));
    assert_eq!(edges.matches("<rect").count(), 1 + 5 * 3 + 3, "ground, bars, legend");
    assert!(identified.contains("seed 7") && !edges.contains("<path"));
}

#[test]
fn several_seeds_are_told_with_how_far_they_lie_apart() {
    let setup = |seed| Setup { users: 150, rate: 0.1, days: 1, seed };
    let runs: Vec<_> = (7..10).map(|seed| score(&setup(seed), &policies(), |_| ())).collect();
    let f1 = |seed: usize| runs[seed][2].edges.f1;
    let mut of_l2 = [f1(0), f1(1), f1(2)];
    of_l2.sort_by(f64::total_cmp);
    assert!(of_l2[0] < of_l2[2], "{of_l2:?}");
    let table = report::spread(&runs);
    let row = table.lines().find(|line| line.starts_with("| L2 |")).unwrap();
    assert!(row.contains(&format!("{:.2} ({:.2}–{:.2})", of_l2[1], of_l2[0], of_l2[2])), "{row} {of_l2:?}");
    assert!(table.contains("150 people, 0.1 texts a second, 3 seeds, 7 to 9"), "{table}");

    let (identified, edges) = (plot::identified(&runs), plot::edges(&runs));
    assert_eq!((identified.matches("<polyline").count(), identified.matches("<polygon").count()), (5, 5));
    assert_eq!(edges.matches("<path").count(), 2 * 5 * 3, "whiskers, each with a border");
    for plot in [identified, edges] {
        assert!(plot.contains("3 seeds: the median, and a ") && plot.contains(">L3, no receipts<"), "{plot}");
    }
}

#[test]
fn each_level_takes_something_from_the_attacker() {
    let scores = score(&SMALL, &policies(), |_| ());
    let [l0, l1, l2, l3, off] = &scores[..] else { panic!("five") };
    for named in [l0, l1] {
        assert_eq!((named.edges.precision, named.edges.recall, named.anonymity_bits), (1.0, 1.0, 0.0));
        assert_eq!((named.bytes_ratio, named.latency_ms), (1.0, Some(0.0)));
    }
    assert_eq!((l0.more.named, l1.more.named), (400, 0), "numbers are gone from L1 on");
    assert!(l2.edges.f1 < 1.0 && l2.edges.f1 > l3.edges.f1, "{:?} {:?}", l2.edges, l3.edges);
    assert!(l2.anonymity_bits > 0.0 && l3.anonymity_bits > l2.anonymity_bits && off.anonymity_bits > l2.anonymity_bits);
    assert!(l3.size_kind_bits < l2.size_kind_bits / 2.0, "padding hides most kinds");
    assert!(l3.bytes_ratio > l2.bytes_ratio && l2.bytes_ratio > 1.0);
    let late = l3.latency_ms.unwrap();
    assert!((25_000.0..40_000.0).contains(&late), "{late}");
    for other in &scores {
        assert_eq!(
            (other.more.texts, other.more.pairs),
            (l0.more.texts, l0.more.pairs),
            "the same texts at each level"
        );
    }
}

/// A file is read as soon as the letter that tells of it is there, at every level: late receipts hide nothing of it.
#[test]
fn files_tell_who_is_in_contact_where_letters_do_not() {
    let scores = score(&SMALL, &policies(), |_| ());
    let files: Vec<_> = scores.iter().map(|score| score.files.unwrap()).collect();
    for named in &files[..2] {
        assert_eq!((named.edges.precision, named.edges.recall, named.readers_named), (1.0, 1.0, 1.0));
    }
    for (sealed, score) in files[2..].iter().zip(&scores[2..]) {
        assert_eq!(sealed.count, files[0].count, "the same files at each level");
        assert!((0.9..1.0).contains(&sealed.readers_named), "{}: {sealed:?}", score.level);
        // Many pairs have one file only, which is not enough for the bound.
        assert!(
            sealed.edges.precision > 0.95 && (0.2..0.6).contains(&sealed.edges.recall),
            "{}: {sealed:?}",
            score.level
        );
    }
}

#[test]
fn a_log_names_senders_where_its_level_does() {
    let population = Population::new(100, 3);
    let setup = Setup { users: 100, rate: 0.2, days: 1, seed: 3 };
    for policy in policies() {
        let (log, truth) = observe(&setup, &population, policy);
        assert!(truth.texts > 1_000 && log.submitted().len() as u64 >= truth.texts, "{policy:?}");
        let named = log.submitted().iter().filter(|submitted| submitted.by.is_some()).count();
        let wanted = if policy.sealed_sender { 0 } else { log.submitted().len() };
        assert_eq!(named, wanted, "{policy:?}");
        let read = log.files().iter().filter(|file| file.read.is_some()).count();
        let readers = log.files().iter().filter(|file| file.reader.is_some()).count();
        assert!(read > 10 && log.files().len() == truth.files.len(), "{policy:?}");
        assert_eq!(readers, if policy.sealed_sender { 0 } else { read }, "{policy:?}");
    }
}

/// Even an event that names a source does not get past a level that has none.
#[test]
fn the_log_of_a_level_leaves_out_what_the_registry_does_not_give_it() {
    let device = |number: u8| Address { account: AccountId::from_bytes([number; 16]), device: DeviceId::PRIMARY };
    for (level, named) in [(Level::L0, true), (Level::L1, true), (Level::L2, false), (Level::L3, false)] {
        let tap = Tap::new(level);
        let connection = ConnectionNumber::new(1);
        let id = EnvelopeId::from_bytes([9; 16]);
        let (source, recipient) = (Some(device(1)), device(2));
        tap.see(5, Event::Submitted { connection, by: None, source, recipient, id, size: 9, repeated: false });
        tap.see(
            6,
            Event::Registered { connection, device: device(3), name: None, phone: Some("+491701234567".into()) },
        );
        let log = tap.into_log();
        assert_eq!(log.submitted()[0].by.is_some(), named, "{level}");
        assert_eq!(log.named(), usize::from(level == Level::L0), "{level}");
    }
}

/// Counts what a relay emits.
#[derive(Debug, Default)]
struct Counting(Mutex<[u64; 3]>);

impl Observer for Counting {
    fn see(&self, _at: u64, event: Event) {
        let counts = &mut *self.0.lock().unwrap();
        match event {
            Event::Submitted { .. } => counts[0] += 1,
            Event::Delivered { .. } => counts[1] += 1,
            Event::Acknowledged { count, .. } => counts[2] += count,
            _ => {}
        }
    }
}

#[test]
fn the_relay_of_the_simulation_does_what_the_relays_store_does() {
    let addresses: Vec<Address> = (0..3_u8)
        .map(|number| Address { account: AccountId::from_bytes([number; 16]), device: DeviceId::PRIMARY })
        .collect();
    let store = MemoryStore::new();
    for address in &addresses {
        store.register(account(*address)).wait().unwrap();
    }
    let counting = Counting::default();
    let mut relay = Relay::new(addresses.clone(), &counting);
    let mut random = Random::new(5, 0);
    let (mut now, mut accepted, mut delivered) = (40 * MS_PER_DAY, 0, 0);
    for _ in 0..4_000 {
        let person = random.below(3) as u32;
        let address = addresses[person as usize];
        match random.below(20) {
            0 => {
                let cursors = relay.fetch(now, ConnectionNumber::new(1), person, u64::MAX);
                let page = store.read(address, Cursor::START, usize::MAX, usize::MAX).wait().unwrap();
                let stored: Vec<u64> = page.envelopes.iter().map(|envelope| envelope.cursor.get()).collect();
                assert_eq!(cursors, stored);
                store.acknowledge(address, Cursor::new(u64::MAX)).wait().unwrap();
                delivered += cursors.len() as u64;
            }
            1 => {
                now += random.below(20) * MS_PER_DAY;
                let expired = relay.expire(now);
                assert_eq!(expired, store.expire(accepted_before(now, 30), usize::MAX).wait().unwrap());
            }
            _ => {
                // Now and then more than an envelope may hold.
                let size = 1 + random.below(97 * 1024) as usize;
                let id = EnvelopeId::from_bytes(random.id());
                let connection = ConnectionNumber::new(1);
                let submitted = relay.submit(now, Submission { connection, by: None, recipient: person, id, size });
                let envelope = NewEnvelope { id, source: None, ciphertext: Bytes::from(vec![0; size]) };
                let stored = store.submit(address, envelope, now).wait().ok().map(Submitted::cursor).map(Cursor::get);
                assert_eq!(submitted, stored);
                accepted += u64::from(stored.is_some());
            }
        }
        let waiting = store.waiting(address).wait().unwrap();
        assert_eq!(relay.waiting(person), (waiting.count, waiting.expired));
    }
    assert!(accepted > 1_000 && delivered > 100);
    assert_eq!(*counting.0.lock().unwrap(), [accepted, delivered, delivered]);
    // A relay that nobody watches does the same.
    let mut blind = Relay::new(addresses, &Blind);
    let submission = Submission {
        connection: ConnectionNumber::new(1),
        by: None,
        recipient: 0,
        id: EnvelopeId::from_bytes([1; 16]),
        size: 1,
    };
    assert_eq!(blind.submit(now, submission), Some(1));
}

fn account(address: Address) -> NewAccount {
    let key = |byte| [byte; 32];
    NewAccount {
        account: address.account,
        account_key: AccountKey::from_bytes(key(1)),
        device_list: NumberedDeviceList { number: 1, bytes: Bytes::from_static(b"list") },
        name: None,
        phone: None,
        registered_at: 0,
        device: NewDevice {
            device: address.device,
            signing_key: DeviceSigningKey::from_bytes(key(2)),
            certificate: Bytes::from_static(b"certificate"),
        },
        invitation: None,
    }
}

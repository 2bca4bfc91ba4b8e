//! The two lists: what the relay knows from this traffic, and what it does not know, with the test that shows it.

use std::collections::{BTreeMap, BTreeSet};

use kuvert_privacy::registry::not_held;
use kuvert_privacy::registry::{self, Level, Place};
use serde::Serialize;

use super::Names;
use super::graph::{Acquaintance, Edge};
use super::people::{Device, Person};
use super::sight::Sight;
use super::transfers::{FileEdge, Transfer, about};
use super::{account, place, stores};
use crate::files::Snapshot;
use crate::told::{self, Holder};

/// Something that the relay knows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Known {
    /// The row of docs/METADATA.md.
    pub row: &'static str,
    /// What kind of thing.
    pub what: &'static str,
    /// What exactly. Times are in `times`, for the reader's own time zone.
    pub seen: String,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<u64>,
}

/// Something that the relay does not know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Unknown {
    /// What.
    pub what: &'static str,
    /// Why not.
    pub why: &'static str,
    /// The test that shows it: file and name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<[&'static str; 2]>,
}

/// How many names a line lists before it says "and so many more".
pub const LISTED: usize = 6;

/// What was made of the recording already.
pub struct Seen<'a> {
    /// The recording as the level has it.
    pub sights: &'a [Sight<'a>],
    /// Accounts.
    pub people: &'a [Person],
    /// Devices.
    pub devices: &'a [Device],
    /// Who wrote to whom.
    pub edges: &'a [Edge],
    /// Files.
    pub files: &'a [Transfer],
    /// Who gave whom files.
    pub file_edges: &'a [FileEdge],
    /// Who has whom in an address book.
    pub acquaintances: &'a [Acquaintance],
}

/// What the relay knows.
pub fn known(snapshot: &Snapshot, seen: &Seen<'_>, names: &Names, level: Level) -> Vec<Known> {
    let Seen { sights, people, devices, edges, files, file_edges, acquaintances } = *seen;
    let envelopes: Vec<&Sight<'_>> = sights.iter().filter(|sight| sight.is_new_envelope()).collect();
    let mut known = Vec::new();
    let mut add = |row, what, seen: String, times: Vec<u64>| {
        if !seen.is_empty() {
            known.push(Known { row, what, seen, times });
        }
    };
    let (stored, inferred): (Vec<&Edge>, Vec<&Edge>) = edges.iter().partition(|edge| edge.stored);
    let pair = |edge: &&Edge| format!("{} → {}: {}", edge.from_label, edge.to_label, envelopes_words(edge.count));
    add("M-09", "who with whom", listed(stored.iter().map(pair)), Vec::new());
    if stored.is_empty() && !envelopes.is_empty() {
        let mut to: BTreeMap<String, u64> = BTreeMap::new();
        for envelope in &envelopes {
            *to.entry(envelope.other.map(|who| names.label(who)).unwrap_or_default()).or_default() += 1;
        }
        let to = to.into_iter().map(|(who, count)| format!("{who}: {}", envelopes_words(count)));
        add("M-09", "who got mail", listed(to), Vec::new());
        let guess =
            |edge: &&Edge| format!("{} → {} ({:.0} %)", edge.from_label, edge.to_label, 100.0 * edge.probability);
        add("M-09", "guessed from IP addresses in memory", listed(inferred.iter().map(guess)), Vec::new());
    }
    if let (Some(first), Some(last)) = (envelopes.first(), envelopes.last()) {
        add("M-10", "when", envelopes_words(envelopes.len() as u64), vec![first.at, last.at]);
    }
    let online = people.iter().filter(|person| person.sessions > 0);
    let online =
        online.map(|person| format!("{}: {} times, {}", person.label, person.sessions, duration(person.online_ms)));
    add("M-10", "who was online, and for how long", listed(online), Vec::new());
    add("M-10", "what they did", listed(features(sights, names).into_iter()), Vec::new());
    let addresses: BTreeSet<&str> = sights.iter().filter_map(|sight| sight.ip).collect();
    add("M-11", "from where", listed(addresses.into_iter().map(str::to_owned)), Vec::new());
    let places = devices.iter().filter(|device| !device.places.is_empty());
    let places = places.map(|device| format!("{}: {}", device.label, device.places.join(", ")));
    add("M-11", "a rough place, from the IP address (simulated)", listed(places), Vec::new());
    let first_contacts = sights
        .iter()
        .filter(|sight| sight.kind == "bundle_taken")
        .filter_map(|sight| Some(format!("{} → {}", names.label(sight.device?), names.label(sight.other?))));
    add("M-09", "first contact", listed(first_contacts.collect::<BTreeSet<_>>().into_iter()), Vec::new());
    add("M-09", "who has blocked whom at the relay", listed(blocks(snapshot, names, level)), Vec::new());
    add("M-09", "mail that it dropped, because its sender is blocked", listed(dropped(sights, names)), Vec::new());
    let sizes: BTreeSet<u64> = envelopes.iter().filter_map(|envelope| envelope.size).collect();
    add("M-09", "how much", listed(sizes.into_iter().map(|size| format!("{size} bytes"))), Vec::new());
    known_of_files(files, file_edges, &mut add);
    let phones = people.iter().filter_map(|person| Some(format!("{}: {}", person.label, person.phone.as_deref()?)));
    add("M-16", "phone numbers", listed(phones), Vec::new());
    let told = snapshot.told.iter().filter(|_| stores(Place::People, "phone", "number", level));
    let verified = told.filter_map(|holder| Some((holder.account.to_string(), holder.told.phone.as_ref()?.0.as_str())));
    let given = people.iter().filter_map(|person| Some((person.account.clone(), person.phone.as_deref()?)));
    let numbers: BTreeMap<String, &str> = given.chain(verified).collect();
    let places =
        numbers.iter().filter_map(|(who, number)| Some(format!("{}: {}", names.label(who), place::of_number(number)?)));
    add("M-11", "a rough place, from the dialling code", listed(places), Vec::new());
    let registered = sights.iter().filter(|sight| sight.kind == "registered");
    let registered = registered.filter_map(|sight| {
        let (device, ip) = (sight.device?, sight.ip?);
        let holder = snapshot.told.iter().find(|holder| holder.account.to_string() == account(device));
        let machine = holder.and_then(|holder| holder.device_words().next()).unwrap_or_default();
        Some(format!("{}: {ip} {machine}", names.label(device)).trim_end().to_owned())
    });
    add("M-14", "network and device at registration", listed(registered), Vec::new());
    if !acquaintances.is_empty() {
        let shadows: BTreeSet<&str> =
            acquaintances.iter().filter(|known| !known.account).map(|known| known.person.as_str()).collect();
        let seen = format!("{} lines and {} people would be missing here", acquaintances.len(), shadows.len());
        add("M-18", "had the address books been denied", seen, Vec::new());
    }
    known_from_what_was_told(snapshot, names, level, &mut add);
    let took = snapshot.accounts.iter().filter_map(|account| names.0.get(&account.account.to_string()).cloned());
    add("M-16", "the names they took", listed(took), Vec::new());
    if snapshot.waiting_count > 0 {
        let seen =
            format!("{}, {} bytes of ciphertext", envelopes_words(snapshot.waiting_count), snapshot.waiting_bytes);
        add("M-03", "what waits", seen, Vec::new());
    }
    if snapshot.blobs.blobs > 0 {
        let seen = format!("{}, {} bytes of ciphertext", files_words(snapshot.blobs.blobs), snapshot.blobs.bytes);
        add("M-01", "files that wait, sealed", seen, Vec::new());
    }
    known
}

/// Who gave whom what.
fn known_of_files(
    files: &[Transfer],
    edges: &[FileEdge],
    add: &mut impl FnMut(&'static str, &'static str, String, Vec<u64>),
) {
    let (Some(first), Some(last)) = (files.first(), files.last()) else { return };
    let (stored, inferred): (Vec<&FileEdge>, Vec<&FileEdge>) = edges.iter().partition(|edge| edge.stored);
    let given = |edge: &&FileEdge| {
        let (from, to) = (&edge.from_label, &edge.to_label);
        format!("{from} → {to}: {}, {}", files_words(edge.count), about(edge.bytes))
    };
    add("M-09", "who gave whom a file", listed(stored.iter().map(given)), Vec::new());
    let mut uploads: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for file in files {
        let (count, bytes) = uploads.entry(&file.from_label).or_default();
        *count += 1;
        *bytes = bytes.saturating_add(file.size);
    }
    if stored.is_empty() {
        let uploads =
            uploads.into_iter().map(|(who, (count, bytes))| format!("{who}: {}, {}", files_words(count), about(bytes)));
        add("M-09", "who uploaded files", listed(uploads), Vec::new());
    }
    let guess =
        |edge: &&FileEdge| format!("{} → {} ({:.0} %)", edge.from_label, edge.to_label, 100.0 * edge.probability);
    let guesses = listed(inferred.iter().map(guess));
    add("M-09", "who read files, guessed from IP addresses in memory", guesses, Vec::new());
    let readers = files.iter().filter_map(|file| file.readers).map(|count| count.to_string()).collect::<BTreeSet<_>>();
    add("M-09", "how many devices each file is for", listed(readers.into_iter()), Vec::new());
    let addresses: BTreeSet<&str> = files.iter().filter_map(|file| file.ip.as_deref()).collect();
    add("M-11", "from where files came", listed(addresses.into_iter().map(str::to_owned)), Vec::new());
    add("M-10", "when files were uploaded", files_words(files.len() as u64), vec![first.at, last.at]);
}

fn files_words(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// Blocks that the relay was asked to keep: it drops mail, and knows who wants none of whom.
fn blocks(snapshot: &Snapshot, names: &Names, level: Level) -> impl Iterator<Item = String> {
    let accounts = snapshot.accounts.iter().filter(move |_| stores(Place::Database, "blocked", "blocked", level));
    let pair = |by: &str, blocked: &str| format!("{} has blocked {}", names.label(by), names.label(blocked));
    accounts
        .flat_map(move |by| by.blocked.iter().map(move |blocked| pair(&by.account.to_string(), &blocked.to_string())))
}

/// Who wrote in vain to whom, and how often.
fn dropped(sights: &[Sight<'_>], names: &Names) -> impl Iterator<Item = String> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for sight in sights.iter().filter(|sight| sight.is_dropped()) {
        if let (Some(from), Some(to)) = (sight.device, sight.other) {
            *counts.entry((names.label(from), names.label(to))).or_default() += 1;
        }
    }
    counts.into_iter().map(|((from, to), count)| format!("{from} → {to}: {}", envelopes_words(count)))
}

/// What people told beyond what mail needs, at the level that tells it.
fn known_from_what_was_told(
    snapshot: &Snapshot,
    names: &Names,
    level: Level,
    add: &mut impl FnMut(&'static str, &'static str, String, Vec<u64>),
) {
    if !stores(Place::People, "profile", "display_name", level) {
        return;
    }
    let label = |holder: &Holder| names.label(&holder.account.to_string());
    let told = &snapshot.told;
    let verified =
        told.iter().filter_map(|holder| Some(format!("{}: {}", label(holder), holder.told.phone.as_ref()?.0)));
    add("M-16", "numbers verified by a code", listed(verified), Vec::new());
    let profiles = told.iter().map(|holder| (holder, holder.profile_words())).filter(|(_, words)| !words.is_empty());
    let profiles = profiles.map(|(holder, words)| format!("{}: {}", label(holder), words.join(", ")));
    let times = told.iter().filter_map(Holder::profile_times);
    let times = times.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1))).map(|(first, last)| vec![first, last]);
    add("M-16", "profiles, each part with its date", listed(profiles), times.unwrap_or_default());
    let public = told.iter().filter(|holder| holder.told.profile.public).map(label);
    add("M-08", "profiles that everybody may see", listed(public), Vec::new());
    let books = told.iter().filter(|holder| !holder.address_book.is_empty());
    let books = books.map(|holder| {
        format!("{} knows {}", label(holder), listed(holder.address_book.iter().map(told::person_words)))
    });
    add("M-17", "address books", listed(books), Vec::new());
    let shadows: BTreeSet<String> = told.iter().flat_map(Holder::shadows).map(told::person_words).collect();
    add("M-17", "people without an account, who were never asked", listed(shadows.into_iter()), Vec::new());
    let machines =
        told.iter().flat_map(|holder| holder.device_words().map(move |words| format!("{}: {words}", label(holder))));
    add("M-12", "devices", listed(machines), Vec::new());
    for (row, what) in SIMULATED {
        let made_up = told.iter().flat_map(|holder| {
            let its = holder.simulated().filter(|(name, _)| told::simulated_row(name) == row);
            its.map(move |(name, value)| format!("{}: {name} {value}", label(holder)))
        });
        add(row, what, listed(made_up), Vec::new());
    }
}

/// What a simulated phone may have made up, by the row of docs/METADATA.md.
const SIMULATED: [(&str, &str); 3] = [
    ("M-12", "battery, signal, browser, network and provider (simulated)"),
    ("M-13", "at the parent company's other messenger (simulated)"),
    ("M-15", "what the phone allowed (simulated)"),
];

/// Who asked for what, and how often.
fn features(sights: &[Sight<'_>], names: &Names) -> Vec<String> {
    let mut counts: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for sight in sights {
        if let Some(device) = sight.device {
            *counts.entry(account(device)).or_default().entry(sight.kind).or_default() += 1;
        }
    }
    let words = |kinds: BTreeMap<&str, usize>| {
        let words = kinds.into_iter().map(|(kind, count)| format!("{} {count}", kind.replace('_', " ")));
        words.collect::<Vec<_>>().join(", ")
    };
    counts.into_iter().map(|(who, kinds)| format!("{}: {}", names.label(who), words(kinds))).collect()
}

const NOT_SENT: [&str; 2] =
    ["crates/client/tests/people.rs", "a_phones_permissions_are_simulated_and_denied_until_they_are_granted"];

/// What it does not know: what nothing here can tell, and what this level keeps from it.
pub fn unknown(snapshot: &Snapshot, level: Level) -> Vec<Unknown> {
    let never = not_held::ALL.iter().filter(|never| {
        // True of normal service only.
        !(snapshot.observed && never.test == "nothing_is_recorded_in_normal_service")
    });
    let mut unknown: Vec<Unknown> =
        never.map(|never| Unknown { what: never.what, why: never.why, test: Some([never.file, never.test]) }).collect();
    if stores(Place::People, "simulated_detail", "what", level) {
        for (name, _, what) in told::SHEET {
            if !snapshot.told.iter().flat_map(Holder::simulated).any(|(sent, _)| sent == name) {
                let why = "not sent: denied on the simulated permission sheet";
                unknown.push(Unknown { what, why, test: Some(NOT_SENT) });
            }
        }
    }
    let personal = registry::all().filter(|field| field.is_personal() && field.place != Place::Configuration);
    let mut said = BTreeSet::new();
    for field in personal.filter(|field| !field.levels.contains(&level)) {
        if said.insert(field.column) {
            unknown.push(Unknown { what: field.meaning, why: "this level does not tell it", test: None });
        }
    }
    unknown
}

/// The first [`LISTED`] of them, and how many more there are.
pub fn listed(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    let more = items.len().saturating_sub(LISTED);
    if more > 0 {
        items.truncate(LISTED);
        items.push(format!("and {more} more"));
    }
    items.join(", ")
}

fn envelopes_words(count: u64) -> String {
    if count == 1 { "1 envelope".to_owned() } else { format!("{count} envelopes") }
}

fn duration(milliseconds: u64) -> String {
    match milliseconds / 1000 {
        0 => "less than a second".to_owned(),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

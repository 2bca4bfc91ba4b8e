//! What a relay knows, and does not know, at a level of the disclosure ladder. The traffic is the same at every level: what
//! a level hides is taken out of the recording before anything is made of it, as the registry of stored fields says.
//!
//! | module | holds |
//! |---|---|
//! | `sight` | the recording as the relay has it at a level |
//! | `graph` | who with whom: stored, or inferred |
//! | `transfers` | files: who gave whom something, when, from where |
//! | `people` | accounts, devices, when they were online and from where |
//! | `ran` | the level at which the traffic ran, as the recording shows it |
//! | `timeline` | the recording cut into slices, for the slider |
//! | [`place`] | a rough place, from a dialling code or, simulated, from an IP address |
//! | `lists` | the two lists: known and not known |
//! | `rights` | what was agreed to, shared and asked for |
//! | `hand_over` | what an operator could hand over |

mod graph;
mod hand_over;
mod lists;
mod people;
pub mod place;
mod ran;
mod rights;
mod sight;
mod timeline;
mod transfers;

use std::collections::BTreeMap;

use kuvert_privacy::registry::{self, Level, Place};
use kuvert_relay_lens::policy;
use serde::Serialize;

use self::graph::{Acquaintance, Edge};
use self::lists::{Known, Unknown};
use self::people::{Device, Person};
use self::sight::Sight;
use self::timeline::Timeline;
use self::transfers::{FileEdge, Transfer};
use crate::files::Snapshot;
use crate::transcript::Column;

pub use self::hand_over::HandOver;
pub use self::ran::ran_at;

const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Everything that the page shows.
#[derive(Debug, Serialize)]
pub struct View {
    level: Level,
    /// The level at which the traffic ran, as far as the recording shows it.
    ran_at: Level,
    levels: Vec<Rung>,
    /// Unix milliseconds.
    now: u64,
    /// Whether the relay recorded what it saw.
    observed: bool,
    retention_days: u32,
    /// Where the relay stands: its operator's label, which nothing checks.
    region: Option<String>,
    people: Vec<Person>,
    edges: Vec<Edge>,
    /// Who gave whom files.
    file_edges: Vec<FileEdge>,
    /// The newest files.
    transfers: Vec<Transfer>,
    /// Who has whom in an address book.
    acquaintances: Vec<Acquaintance>,
    /// Envelopes in each hour that had any.
    hours: Vec<Hour>,
    /// What the slider goes over; none if there was no envelope.
    timeline: Option<Timeline>,
    devices: Vec<Device>,
    waiting_count: u64,
    waiting_bytes: u64,
    waiting: Vec<Waiting>,
    /// Files that wait, and their bytes.
    files_waiting: u64,
    file_bytes: u64,
    known: Vec<Known>,
    unknown: Vec<Unknown>,
    /// What was agreed to, shared and asked for.
    rights: Vec<Known>,
    /// What the demonstration is, where the relay runs it.
    demonstration: Option<&'static str>,
    /// The clients' side, beside the relay's column.
    columns: Vec<Column>,
}

/// A level, for the switch.
#[derive(Debug, Serialize)]
struct Rung {
    level: Level,
    title: &'static str,
    sees: &'static str,
}

/// How many envelopes an hour had.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Hour {
    /// Its beginning, Unix milliseconds.
    pub at: u64,
    /// Envelopes.
    pub count: u64,
}

#[derive(Debug, Serialize)]
struct Waiting {
    id: String,
    to: String,
    from: Option<String>,
    size: u64,
    accepted_at: u64,
    expires_at: u64,
    /// How the ciphertext begins, hexadecimal.
    bytes: String,
}

impl View {
    /// What the relay knows at `level`. `now` in Unix milliseconds.
    pub fn of(snapshot: &Snapshot, level: Level, columns: Vec<Column>, now: u64) -> Self {
        let sights = sight::at_level(&snapshot.events, level);
        let names = Names::of(snapshot, level);
        let people = people::people(snapshot, &sights, &names, level);
        let devices = people::devices(&sights, &names, level);
        let timeline = Timeline::of(&sights);
        let edges = graph::edges(&snapshot.events, &sights, &names, timeline.as_ref(), level);
        let files = transfers::all(&snapshot.events, &names, level);
        let mut file_edges = transfers::edges(&files);
        for edge in &mut file_edges {
            edge.slices = timeline.as_ref().map(|timeline| timeline.count(&edge.times)).unwrap_or_default();
        }
        let waiting = waiting(snapshot, &names, level);
        let acquaintances = graph::acquaintances(snapshot, &names, level);
        let seen = lists::Seen {
            sights: &sights,
            people: &people,
            devices: &devices,
            edges: &edges,
            files: &files,
            file_edges: &file_edges,
            acquaintances: &acquaintances,
        };
        let known = lists::known(snapshot, &seen, &names, level);
        Self {
            level,
            ran_at: ran_at(snapshot),
            levels: Level::ALL.iter().map(|&level| rung(level)).collect(),
            now,
            observed: snapshot.observed,
            retention_days: snapshot.retention_days,
            region: snapshot.region.clone(),
            hours: hours(sights.iter().filter(|sight| sight.is_new_envelope())),
            timeline,
            rights: rights::rights(snapshot, &people, &names, level),
            demonstration: snapshot.demonstration.then_some(policy::DEMONSTRATION),
            people,
            acquaintances,
            edges,
            file_edges,
            transfers: transfers::newest(files),
            devices,
            waiting_count: snapshot.waiting_count,
            waiting_bytes: snapshot.waiting_bytes,
            waiting,
            files_waiting: snapshot.blobs.blobs,
            file_bytes: snapshot.blobs.bytes,
            known,
            unknown: lists::unknown(snapshot, level),
            columns,
        }
    }
}

/// How accounts are called on the page.
struct Names(BTreeMap<String, String>);

impl Names {
    fn of(snapshot: &Snapshot, level: Level) -> Self {
        let named = stores(Place::Database, "account", "name", level);
        let entry = |account: &kuvert_relay::admin::KnownAccount| {
            Some((account.account.to_string(), account.name.clone().filter(|_| named)?))
        };
        Self(snapshot.accounts.iter().filter_map(entry).collect())
    }

    /// The name that the account took, or how its identifier begins. Takes `account` and `account.device`.
    fn label(&self, who: &str) -> String {
        let account = account(who);
        match self.0.get(account) {
            Some(name) => name.clone(),
            None => account.chars().take(8).chain(['…']).collect(),
        }
    }
}

/// The account of `account.device`.
fn account(who: &str) -> &str {
    who.split_once('.').map_or(who, |(account, _)| account)
}

/// Whether a column is stored at a level.
fn stores(place: Place, table: &str, column: &str, level: Level) -> bool {
    registry::find(place, table, column).is_some_and(|field| field.levels.contains(&level))
}

fn rung(level: Level) -> Rung {
    let (title, sees) = match level {
        Level::L0 => ("As described", "phone number, name, sender, recipient, device, IP address, time, size"),
        Level::L1 => ("No number", "random identifiers, sender, recipient, time, size; IP addresses in memory only"),
        Level::L2 => ("Sealed sender", "recipient, time, size; the sender is inside the sealed envelope"),
        Level::L3 => ("Late ticks", "recipient, a size bucket, time; receipts come up to a minute late, or not at all"),
    };
    Rung { level, title, sees }
}

/// In which hours these envelopes came.
fn hours<'a>(envelopes: impl Iterator<Item = &'a Sight<'a>>) -> Vec<Hour> {
    let mut hours: BTreeMap<u64, u64> = BTreeMap::new();
    for submitted in envelopes {
        *hours.entry(submitted.at / HOUR_MS * HOUR_MS).or_default() += 1;
    }
    hours.into_iter().map(|(at, count)| Hour { at, count }).collect()
}

fn waiting(snapshot: &Snapshot, names: &Names, level: Level) -> Vec<Waiting> {
    let sender = stores(Place::Database, "envelope", "source", level);
    let waiting = snapshot.waiting.iter().map(|envelope| Waiting {
        id: envelope.id.clone(),
        to: names.label(&envelope.recipient),
        from: envelope.sender.as_deref().filter(|_| sender).map(|sender| names.label(sender)),
        size: sight::size(envelope.size, level),
        accepted_at: envelope.accepted_at,
        expires_at: envelope.expires_at,
        bytes: envelope.first_bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    });
    waiting.collect()
}

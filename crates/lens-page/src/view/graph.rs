//! Who with whom. Up to L1 every envelope names its sender. From L2 on the relay can only guess: who was there from the same
//! IP address shortly before?

use std::collections::BTreeMap;

use kuvert_privacy::registry::{Level, Place};
use kuvert_relay_lens::look::Known;
use kuvert_relay_lens::observe::Observed;
use serde::Serialize;

use super::sight::{Sight, addresses, is_envelope};
use super::timeline::Timeline;
use super::{Names, account, stores};
use crate::files::Snapshot;
use crate::told::Holder;

/// How long a relay remembers in memory who was there from an address.
const MEMORY_MS: u64 = 10 * 60 * 1000;

/// One account wrote to another.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Edge {
    /// The sender's account.
    pub from: String,
    /// The recipient's account.
    pub to: String,
    /// The sender's name, or how the account begins.
    pub from_label: String,
    /// The recipient's.
    pub to_label: String,
    /// Envelopes.
    pub count: u64,
    /// The first one; Unix milliseconds.
    pub first: u64,
    /// The last one; Unix milliseconds.
    pub last: u64,
    /// Whether the relay knows it, or infers it.
    pub stored: bool,
    /// How sure it is: 1 where it knows.
    pub probability: f64,
    /// Slices of the timeline that had envelopes, and how many.
    pub slices: Vec<(u64, u64)>,
}

/// A person stands in the address book of an account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Acquaintance {
    /// The account that uploaded the book.
    pub owner: String,
    /// Its name, or how it begins.
    pub owner_label: String,
    /// The account of the person, or the phone number of a person without one.
    pub person: String,
    /// What the account is called, or what the owner calls the person.
    pub person_label: String,
    /// Whether the person has an account here.
    pub account: bool,
}

/// What the address books say, at the level at which they are uploaded.
pub fn acquaintances(snapshot: &Snapshot, names: &Names, level: Level) -> Vec<Acquaintance> {
    if !stores(Place::People, "address_book", "phone", level) {
        return Vec::new();
    }
    let entries = snapshot.told.iter().flat_map(|holder| holder.address_book.iter().map(move |known| (holder, known)));
    let acquaintance = |(holder, known): (&Holder, &Known)| {
        let owner = holder.account.to_string();
        let account = known.account.map(|account| account.to_string());
        let person_label = match &account {
            Some(account) => names.label(account),
            None => known.person.name.clone().unwrap_or_else(|| known.person.phone.clone()),
        };
        Acquaintance {
            owner_label: names.label(&owner),
            owner,
            account: account.is_some(),
            person: account.unwrap_or_else(|| known.person.phone.clone()),
            person_label,
        }
    };
    entries.map(acquaintance).collect()
}

/// Sums over the envelopes between two accounts.
#[derive(Default)]
struct Sum {
    count: u64,
    weight: f64,
    first: Option<u64>,
    last: u64,
    times: Vec<u64>,
}

impl Sum {
    fn add(&mut self, at: u64, weight: f64) {
        self.count += 1;
        self.weight += weight;
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = self.last.max(at);
        self.times.push(at);
    }
}

/// All edges, the strongest first.
pub fn edges(
    events: &[Observed],
    sights: &[Sight<'_>],
    names: &Names,
    timeline: Option<&Timeline>,
    level: Level,
) -> Vec<Edge> {
    let stored = stores(Place::Observations, "event", "source", level);
    let sums = if stored { stored_sums(sights) } else { inferred_sums(events) };
    let edge = |((from, to), sum): ((&str, &str), Sum)| Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        from_label: names.label(from),
        to_label: names.label(to),
        count: sum.count,
        first: sum.first.unwrap_or_default(),
        last: sum.last,
        stored,
        // At most 2^53 envelopes are counted exactly.
        probability: sum.weight / sum.count as f64,
        slices: timeline.map(|timeline| timeline.count(&sum.times)).unwrap_or_default(),
    };
    let mut edges: Vec<Edge> = sums.into_iter().map(edge).collect();
    edges.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to))));
    edges
}

fn stored_sums<'a>(sights: &[Sight<'a>]) -> BTreeMap<(&'a str, &'a str), Sum> {
    let mut sums: BTreeMap<_, Sum> = BTreeMap::new();
    for submitted in sights.iter().filter(|sight| sight.is_new_envelope()) {
        if let (Some(from), Some(to)) = (submitted.device, submitted.other) {
            sums.entry((account(from), account(to))).or_default().add(submitted.at, 1.0);
        }
    }
    sums
}

/// From what a relay has in its memory while it runs: from which address an envelope came, and who proved themselves from
/// there in the last minutes. Each of `n` candidates gets 1/n.
fn inferred_sums(events: &[Observed]) -> BTreeMap<(&str, &str), Sum> {
    let addresses = addresses(events);
    let mut present = Presence::default();
    let mut sums: BTreeMap<_, Sum> = BTreeMap::new();
    for event in events {
        let Some(address) = event.connection.and_then(|connection| addresses.get(&connection).copied()) else {
            continue;
        };
        present.see(event, address);
        if let Some(recipient) = event.other.as_deref()
            && is_envelope(event)
            && event.yes != Some(true)
        {
            let recipient = account(recipient);
            let candidates = present.candidates(address, event.at).into_iter();
            let candidates: Vec<&str> = candidates.filter(|who| *who != recipient).collect();
            for candidate in &candidates {
                let weight = 1.0 / candidates.len() as f64;
                sums.entry((*candidate, recipient)).or_default().add(event.at, weight);
            }
        }
    }
    sums
}

/// Who was last there when, by address: what a relay has in its memory while it runs.
#[derive(Debug, Default)]
pub struct Presence<'a>(BTreeMap<&'a str, BTreeMap<&'a str, u64>>);

impl<'a> Presence<'a> {
    /// Notes who proved itself from an address.
    pub fn see(&mut self, event: &'a Observed, address: &'a str) {
        if let ("authenticated" | "attached" | "registered", Some(device)) =
            (event.kind.as_str(), event.device.as_deref())
        {
            self.0.entry(address).or_default().insert(account(device), event.at);
        }
    }

    /// Who was there within the last minutes.
    pub fn candidates(&self, address: &str, now: u64) -> Vec<&'a str> {
        let there = self.0.get(address).into_iter().flatten();
        there.filter(|(_, at)| now.saturating_sub(**at) <= MEMORY_MS).map(|(who, _)| *who).collect()
    }
}

//! Files: who gave whom something of which size, when and from where.
//!
//! A file has a random name at the relay, so that its upload and its downloads belong together at every level. Who uploads it is
//! known at every level, too. Who reads it is known up to L1; from L2 on files are read on connections without a name, and the
//! relay guesses, as with letters: who was there from the same IP address shortly before?

use std::collections::BTreeMap;

use kuvert_privacy::registry::{Level, Place};
use kuvert_relay_lens::observe::Observed;
use serde::Serialize;

use super::graph::Presence;
use super::sight::addresses;
use super::{Names, account, place, stores};

/// Files that are shown one by one, the newest; pairs are counted over all.
const SHOWN: usize = 200;

/// What became of a file, as far as the relay saw it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Transfer {
    /// The account that uploaded it.
    pub from: String,
    /// Its name, or how it begins.
    pub from_label: String,
    /// Who read it, or may have.
    pub to: Vec<Reader>,
    /// Bytes, padded and encrypted. The same at every level: the sender pads before it encrypts.
    pub size: u64,
    /// How many may read it; `None` where they have one capability together.
    pub readers: Option<u64>,
    /// When the upload began, Unix milliseconds.
    pub at: u64,
    /// When it was complete, Unix milliseconds.
    pub complete: Option<u64>,
    /// When it was read first, Unix milliseconds.
    pub read: Option<u64>,
    /// When the last reader had it, or its sender took it back, Unix milliseconds.
    pub gone: Option<u64>,
    /// From which IP address it came, where the level tells.
    pub ip: Option<String>,
    /// Where that is, by the simulated table.
    pub place: Option<&'static str>,
}

/// An account that read a file, or may have.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Reader {
    /// The account.
    pub account: String,
    /// Its name, or how it begins.
    pub label: String,
    /// Whether the relay knows it, or infers it.
    pub stored: bool,
    /// How sure it is: 1 where it knows.
    pub probability: f64,
}

/// Files from one account to another.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FileEdge {
    /// The account that uploaded them.
    pub from: String,
    /// The account that read them, or may have.
    pub to: String,
    /// The first one's name, or how it begins.
    pub from_label: String,
    /// The second one's.
    pub to_label: String,
    /// Files.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the relay knows it, or infers it.
    pub stored: bool,
    /// How sure it is: 1 where it knows.
    pub probability: f64,
    /// When each began, as slices of the timeline.
    pub slices: Vec<(u64, u64)>,
    #[serde(skip)]
    /// The same as times, Unix milliseconds.
    pub times: Vec<u64>,
}

/// All files, in the order in which they began.
pub fn all(events: &[Observed], names: &Names, level: Level) -> Vec<Transfer> {
    let has = |column| stores(Place::Observations, "event", column, level);
    let (named, with_ip) = (has("source"), has("ip"));
    let addresses = addresses(events);
    let mut present = Presence::default();
    let mut order: Vec<&str> = Vec::new();
    let mut found: BTreeMap<&str, Transfer> = BTreeMap::new();
    for event in events {
        let address = event.connection.and_then(|connection| addresses.get(&connection).copied());
        if let Some(address) = address {
            present.see(event, address);
        }
        let Some(id) = event.envelope.as_deref() else { continue };
        if let ("file_created", Some(device)) = (event.kind.as_str(), event.device.as_deref()) {
            let from = account(device);
            let ip = address.filter(|_| with_ip);
            let made = Transfer {
                from: from.to_owned(),
                from_label: names.label(from),
                to: Vec::new(),
                size: event.size.unwrap_or_default(),
                readers: event.count.filter(|_| named),
                at: event.at,
                complete: None,
                read: None,
                gone: None,
                ip: ip.map(str::to_owned),
                place: ip.and_then(place::of_address),
            };
            if found.insert(id, made).is_none() {
                order.push(id);
            }
            continue;
        }
        let Some(file) = found.get_mut(id) else { continue };
        match event.kind.as_str() {
            "file_committed" => file.complete = file.complete.or(Some(event.at)),
            "file_read" => {
                file.read = file.read.or(Some(event.at));
                match event.device.as_deref().filter(|_| named) {
                    Some(device) => read_by(file, account(device), names, true, 1.0),
                    None => {
                        let from = file.from.clone();
                        let candidates =
                            address.map(|address| present.candidates(address, event.at)).unwrap_or_default();
                        let candidates: Vec<&str> = candidates.into_iter().filter(|who| *who != from).collect();
                        let probability = 1.0 / candidates.len().max(1) as f64;
                        for candidate in candidates {
                            read_by(file, candidate, names, false, probability);
                        }
                    }
                }
            }
            // A reader without a name says nothing when it has all of it: the file stays until its time is over.
            "file_done" if named && event.yes == Some(true) => file.gone = file.gone.or(Some(event.at)),
            "file_discarded" if event.count.is_none() => file.gone = file.gone.or(Some(event.at)),
            _ => {}
        }
    }
    order.into_iter().filter_map(|id| found.remove(id)).collect()
}

/// A file that was cut off is read again by the same account: that is one reader.
fn read_by(file: &mut Transfer, who: &str, names: &Names, stored: bool, probability: f64) {
    match file.to.iter_mut().find(|reader| reader.account == who) {
        Some(reader) => reader.probability = reader.probability.max(probability),
        None => {
            let (account, label) = (who.to_owned(), names.label(who));
            file.to.push(Reader { account, label, stored, probability });
        }
    }
}

/// The newest of them.
pub fn newest(mut files: Vec<Transfer>) -> Vec<Transfer> {
    files.drain(..files.len().saturating_sub(SHOWN));
    files
}

/// Who gave whom files, the most first.
pub fn edges(files: &[Transfer]) -> Vec<FileEdge> {
    let mut sums: BTreeMap<(&str, &str), FileEdge> = BTreeMap::new();
    for (file, reader) in files.iter().flat_map(|file| file.to.iter().map(move |reader| (file, reader))) {
        let edge = sums.entry((&file.from, &reader.account)).or_insert_with(|| FileEdge {
            from: file.from.clone(),
            to: reader.account.clone(),
            from_label: file.from_label.clone(),
            to_label: reader.label.clone(),
            count: 0,
            bytes: 0,
            stored: reader.stored,
            probability: 0.0,
            slices: Vec::new(),
            times: Vec::new(),
        });
        edge.count += 1;
        edge.bytes = edge.bytes.saturating_add(file.size);
        // The mean over them, when all are counted.
        edge.probability += reader.probability;
        edge.times.push(file.at);
    }
    let mut edges: Vec<FileEdge> = sums.into_values().collect();
    for edge in &mut edges {
        edge.probability /= edge.count as f64;
    }
    edges.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to))));
    edges
}

/// A size for people: "about 4.0 MiB".
pub fn about(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    let bytes = bytes as f64;
    let (value, unit) = match bytes {
        small if small < KIB * KIB => (small / KIB, "KiB"),
        middle if middle < KIB * KIB * KIB => (middle / KIB / KIB, "MiB"),
        large => (large / KIB / KIB / KIB, "GiB"),
    };
    format!("about {value:.1} {unit}")
}

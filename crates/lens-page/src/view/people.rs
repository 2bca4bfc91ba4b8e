//! Accounts and devices: what they are called, when they were online, for how long, and from where.

use std::collections::{BTreeMap, BTreeSet};

use kuvert_privacy::registry::{Level, Place};
use serde::Serialize;

use super::sight::Sight;
use super::{DAY_MS, Names, account, place, stores};
use crate::files::Snapshot;

/// An account.
#[derive(Clone, Debug, Serialize)]
pub struct Person {
    /// The account.
    pub account: String,
    /// The name, or how the account begins.
    pub label: String,
    /// The phone number, where the level tells it.
    pub phone: Option<String>,
    /// Unix milliseconds.
    pub registered_at: u64,
    /// How many devices.
    pub devices: usize,
    /// How often it was online.
    pub sessions: usize,
    /// For how long altogether, milliseconds.
    pub online_ms: u64,
}

/// A device.
#[derive(Clone, Debug, Serialize)]
pub struct Device {
    /// `account.device`
    pub device: String,
    /// The account's name, or how it begins.
    pub label: String,
    /// From where; empty where the level tells nothing.
    pub addresses: Vec<String>,
    /// Where these are, by the simulated table.
    pub places: Vec<&'static str>,
    /// Unix milliseconds.
    pub first_seen: u64,
    /// Unix milliseconds.
    pub last_seen: u64,
    /// To what the two times are known.
    pub precision: &'static str,
    /// How many connections.
    pub connections: usize,
}

/// All accounts, in the order of registration.
pub fn people(snapshot: &Snapshot, sights: &[Sight<'_>], names: &Names, level: Level) -> Vec<Person> {
    let phone = stores(Place::Database, "account", "phone", level);
    let online = online(sights);
    let person = |known: &kuvert_relay::admin::KnownAccount| {
        let id = known.account.to_string();
        let (sessions, online_ms) = online.get(id.as_str()).copied().unwrap_or_default();
        Person {
            label: names.label(&id),
            account: id,
            phone: known.phone.clone().filter(|_| phone),
            registered_at: day_after_l0(known.registered_at, level),
            devices: known.devices.len(),
            sessions,
            online_ms,
        }
    };
    snapshot.accounts.iter().map(person).collect()
}

/// For each account how often it was online, and for how long; a connection that is still open counts up to the last event.
fn online<'a>(sights: &[Sight<'a>]) -> BTreeMap<&'a str, (usize, u64)> {
    let end = sights.last().map_or(0, |sight| sight.at);
    let mut open: BTreeMap<u32, (&str, u64)> = BTreeMap::new();
    let mut online: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    let mut count = |(who, since): (&'a str, u64), until: u64| {
        let (sessions, milliseconds) = online.entry(account(who)).or_default();
        *sessions += 1;
        *milliseconds += until.saturating_sub(since);
    };
    for sight in sights {
        match (sight.kind, sight.connection, sight.device) {
            ("authenticated" | "attached" | "registered", Some(connection), Some(device)) => {
                open.entry(connection).or_insert((device, sight.at));
            }
            ("disconnected", Some(connection), _) => {
                if let Some(session) = open.remove(&connection) {
                    count(session, sight.at);
                }
            }
            _ => {}
        }
    }
    for session in open.into_values() {
        count(session, end);
    }
    online
}

/// All devices that were seen, the one that was seen last first.
pub fn devices(sights: &[Sight<'_>], names: &Names, level: Level) -> Vec<Device> {
    #[derive(Default)]
    struct Seen<'a> {
        addresses: BTreeSet<&'a str>,
        connections: BTreeSet<u32>,
        first: Option<u64>,
        last: u64,
    }
    let mut seen: BTreeMap<&str, Seen<'_>> = BTreeMap::new();
    for sight in sights {
        let Some(device) = sight.device else { continue };
        let seen = seen.entry(device).or_default();
        seen.addresses.extend(sight.ip);
        seen.connections.extend(sight.connection);
        seen.first = Some(seen.first.unwrap_or(sight.at));
        seen.last = seen.last.max(sight.at);
    }
    let device = |(device, seen): (&str, Seen<'_>)| Device {
        device: device.to_owned(),
        label: names.label(device),
        places: seen
            .addresses
            .iter()
            .filter_map(|address| place::of_address(address))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        addresses: seen.addresses.into_iter().map(str::to_owned).collect(),
        first_seen: day_after_l0(seen.first.unwrap_or_default(), level),
        last_seen: day_after_l0(seen.last, level),
        precision: if level == Level::L0 { "millisecond" } else { "day" },
        connections: seen.connections.len(),
    };
    let mut devices: Vec<Device> = seen.into_iter().map(device).collect();
    devices.sort_by_key(|device| std::cmp::Reverse(device.last_seen));
    devices
}

/// From L1 on, the times at which a device was there are kept to the day.
fn day_after_l0(at: u64, level: Level) -> u64 {
    if level == Level::L0 { at } else { at / DAY_MS * DAY_MS }
}

//! What was agreed to, what is shared, and what people asked for: the demonstration's terms and exports, reports, deletions.

use std::collections::{BTreeMap, BTreeSet};

use kuvert_privacy::registry::field::{Retention, Section};
use kuvert_privacy::registry::{self, Field, Level, Place};
use kuvert_relay_lens::look::Export;
use kuvert_relay_lens::policy::{self, Advertising, Consent};

use super::lists::{Known, LISTED, listed};
use super::people::Person;
use super::{Names, stores};
use crate::files::Snapshot;

/// The lines, in the order of the catalogue.
pub fn rights(snapshot: &Snapshot, people: &[Person], names: &Names, level: Level) -> Vec<Known> {
    let mut lines = Vec::new();
    let mut add = |row, what, seen: String, times: Vec<u64>| lines.push(Known { row, what, seen, times });
    if snapshot.demonstration {
        shared(snapshot, people, level, &mut add);
        agreed(snapshot, names, &mut add);
    } else {
        add("M-20", "shared", "nothing: this relay does not run the demonstration of sharing".to_owned(), Vec::new());
    }
    for Export { at, what, recipient, accounts } in snapshot.rights.exports.iter().rev().take(LISTED) {
        add("M-25", "exported", format!("{what}: {accounts} accounts, for {recipient}"), vec![*at]);
    }
    if snapshot.rights.requests.is_empty() {
        add("M-28", "reports", "nobody asked for one: `kuvert account report`".to_owned(), Vec::new());
    }
    for (account, request) in snapshot.rights.requests.iter().take(LISTED) {
        let seen = format!("{} asked for one; asked and ready", names.label(&account.to_string()));
        add("M-28", "reports", seen, vec![request.requested_at, request.ready_at]);
    }
    for (row, what, section) in [
        ("M-29", "a report's account information", Section::AccountInformation),
        ("M-30", "a report's connections", Section::Connections),
        ("M-31", "a report's settings", Section::Settings),
    ] {
        let fields = registry::all().filter(|field| field.report == section && kept(field, snapshot, level));
        let meanings: BTreeSet<&str> = fields.map(|field| field.meaning).collect();
        add(row, what, listed(meanings.into_iter().map(str::to_owned)), Vec::new());
    }
    let rights = &snapshot.rights;
    let deleted: u64 = rights.deletions.iter().map(|(_, accounts)| accounts).sum();
    let left = format!(
        "{deleted} accounts, counted by day; left of deleted accounts at most: {} lines on incidents, {} legal holds",
        rights.incidents,
        rights.holds.len()
    );
    add("M-32", "deleted", left, Vec::new());
    let mut retentions: BTreeMap<Retention, usize> = BTreeMap::new();
    for field in registry::all().filter(|field| field.is_personal() && kept(field, snapshot, level)) {
        *retentions.entry(field.retention).or_default() += 1;
    }
    let retentions = retentions.into_iter().map(|(retention, fields)| format!("{fields} fields {retention}"));
    add("M-33", "kept", retentions.collect::<Vec<_>>().join("; "), Vec::new());
    let access = "by its holder, at once: `kuvert account report`, `correct`, `delete`";
    add("M-34", "access, correction, deletion", access.to_owned(), Vec::new());
    lines
}

/// Whether a field is stored here, at the level.
fn kept(field: &Field, snapshot: &Snapshot, level: Level) -> bool {
    field.levels.contains(&level) && (snapshot.observed || field.place != Place::Observations)
}

fn ledger<'a>(snapshot: &'a Snapshot, account: &str) -> &'a [Consent] {
    let found = snapshot.rights.consents.iter().find(|(who, _)| who.to_string() == account);
    found.map(|(_, ledger)| ledger.as_slice()).unwrap_or_default()
}

/// What would go to the parent company and its partners, as `kuvert-relay-lens share` writes it.
fn shared(
    snapshot: &Snapshot,
    people: &[Person],
    level: Level,
    add: &mut impl FnMut(&'static str, &'static str, String, Vec<u64>),
) {
    let verified = |account: &str| {
        let told = snapshot.told.iter().find(|holder| holder.account.to_string() == account)?;
        told.told.phone.as_ref().map(|(number, _)| number.clone())
    };
    let tells = stores(Place::People, "phone", "number", level);
    let numbered = people.iter().filter_map(|person| {
        let number = verified(&person.account).filter(|_| tells).or_else(|| person.phone.clone())?;
        let advertising = policy::advertising(ledger(snapshot, &person.account));
        (advertising != Advertising::NotAccepted).then_some((person, number, advertising))
    });
    let numbered: Vec<_> = numbered.collect();
    let given = numbered.iter().map(|(person, number, advertising)| {
        format!("{number}, {} times online, advertising: {}", person.sessions, advertising.words())
    });
    let given = listed(given);
    let nothing = "nothing: nobody whose number it has accepted the terms";
    let given = if given.is_empty() { nothing.to_owned() } else { given };
    add("M-20", "the parent company would get", given, Vec::new());
    add("M-21", "for these purposes", policy::PURPOSES.join(", "), Vec::new());
    let usable = numbered.iter().filter(|(.., advertising)| *advertising == Advertising::Used).count();
    let matched = format!("{} numbers could be found in an advertiser's list, {usable} of them used", numbered.len());
    add("M-22", "customer lists", matched, Vec::new());
}

/// Who accepted what, and what could still be refused.
fn agreed(snapshot: &Snapshot, names: &Names, add: &mut impl FnMut(&'static str, &'static str, String, Vec<u64>)) {
    let consents = || {
        let each = snapshot.rights.consents.iter();
        each.flat_map(|(account, ledger)| {
            ledger.iter().map(move |consent| (names.label(&account.to_string()), consent))
        })
    };
    let regardless = policy::SHARED_REGARDLESS.join(" and ");
    for (who, consent) in consents().take(LISTED) {
        let Some(until) = policy::objection_until(consent) else { continue };
        let choice = policy::advertising(std::slice::from_ref(consent)).words();
        let seen = format!("{who}: {choice}; {regardless} in any case; accepted, and open to refusal until");
        add("M-23", "use for advertising", seen, vec![consent.accepted_at, until]);
    }
    let says = policy::ALL.iter().map(|policy| match policy.objection_days {
        Some(days) => format!("{}: can be refused within {days} days", policy.version),
        None => format!("{}: cannot be prevented, only reduced", policy.version),
    });
    add("M-24", "the terms disagree", says.collect::<Vec<_>>().join("; "), Vec::new());
    for (who, consent) in consents().take(LISTED) {
        add("M-27", "accepted", format!("{who}: the terms of {}", consent.version), vec![consent.accepted_at]);
    }
}

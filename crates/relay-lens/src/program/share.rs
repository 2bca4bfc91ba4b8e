//! `share`: the exports of the demonstration. Each shows what another company would get, is recorded in the sharing
//! ledger, and says in its first field that it is a demonstration. Nothing is sent anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kuvert_types::AccountId;
use kuvert_types::limits::is_valid_phone;
use kuvert_wire::v1;
use prost::Message as _;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use serde_json::Value;

use super::args::Share;
use crate::policy::{self, Advertising, DEMONSTRATION, PURPOSES, SHARED_REGARDLESS};
use crate::tables::TABLES;
use crate::{Consents, consents, sharing};
use kuvert_privacy::time::utc;
use kuvert_relay::admin::KnownAccount;
use kuvert_relay::clock::{Clock, SystemClock};
use kuvert_relay::store::StoreError;
use kuvert_relay_server::failure::Failure;
use kuvert_relay_server::serve::default_data;
use kuvert_relay_sqlite::OBSERVE_FILE;
use kuvert_relay_sqlite::people::{People, holds};
use kuvert_relay_sqlite::report::rows::Mail;
use kuvert_relay_sqlite::report::{self, Sources};
use kuvert_relay_sqlite::serving::{last_demonstration, last_retention};
use kuvert_relay_sqlite::store::{Inspector, store_error};

const PARENT: &str = "the parent company";
const ADVERTISER: &str = "an advertiser, through the parent company";
const AUTHORITY: &str = "an authority";

/// Runs `share`.
///
/// # Errors
/// See [`Failure`].
pub fn run(command: &Share, json: bool) -> Result<(), Failure> {
    let relay = Relay::open(command.data())?;
    let text = match command {
        Share::Parent { .. } => relay.parent(json)?,
        Share::Match { list, .. } => relay.match_list(list, json)?,
        Share::Subpoena { account, phone, .. } => relay.subpoena(*account, phone.as_deref(), json)?,
    };
    writeln!(io::stdout(), "{}", text.trim_end()).map_err(|error| Failure::output(&error))
}

/// A relay's files.
struct Relay {
    data: PathBuf,
    people: People,
    accounts: Vec<KnownAccount>,
    now: u64,
}

/// What the parent company would get.
#[derive(Serialize)]
struct Parent {
    demonstration: bool,
    #[serde(rename = "type")]
    kind: &'static str,
    note: &'static str,
    recipient: &'static str,
    purposes: &'static [&'static str],
    shared_regardless_of_any_objection: &'static [&'static str],
    accounts: Vec<Shared>,
    without_accepted_terms: usize,
}

#[derive(Serialize)]
struct Shared {
    phone: String,
    verified: bool,
    advertising: &'static str,
    /// Connections by day, from the observations.
    use_by_day: BTreeMap<String, u64>,
}

/// What comes of an advertiser's list.
#[derive(Serialize)]
struct Matched {
    demonstration: bool,
    #[serde(rename = "type")]
    kind: &'static str,
    note: &'static str,
    recipient: &'static str,
    listed: usize,
    matched: usize,
    usable_for_advertising: Vec<String>,
    /// Matched, and not to be used for advertising: that they are here was found out all the same.
    residual: BTreeMap<&'static str, usize>,
}

/// Everything that is held about one account.
#[derive(Serialize)]
struct Subpoena {
    demonstration: bool,
    #[serde(rename = "type")]
    kind: &'static str,
    note: &'static str,
    recipient: &'static str,
    account: String,
    /// Whether these are what a legal hold kept of a deleted account.
    held_back: bool,
    waiting: usize,
    waiting_bytes: u64,
    observations: usize,
    report: BTreeMap<String, Value>,
}

impl Relay {
    fn open(data: Option<&Path>) -> Result<Self, Failure> {
        let data = data.map_or_else(default_data, |data| Ok(data.to_owned()))?;
        let accounts = Inspector::open(&data)?.accounts()?;
        if !last_demonstration(&data) {
            return Err(Failure::new(
                "no-demonstration",
                "this relay does not run the demonstration, so nothing is exported: serve it with --demonstration first",
            ));
        }
        Ok(Self { people: People::open(&data, Some(&TABLES))?, data, accounts, now: SystemClock::new().now_ms() })
    }

    /// Every account's number: the verified one, else the one that was given at registration.
    fn numbers(&self) -> Result<BTreeMap<AccountId, (String, bool)>, StoreError> {
        let given = self.accounts.iter().filter_map(|known| Some((known.account, (known.phone.clone()?, false))));
        let mut numbers: BTreeMap<_, _> = given.collect();
        let verified = self.people.transact(sharing::verified_numbers)?;
        numbers.extend(verified.into_iter().map(|(account, number)| (account, (number, true))));
        Ok(numbers)
    }

    fn advertising(&self, account: &AccountId) -> Result<Advertising, StoreError> {
        Ok(policy::advertising(&self.people.transact(|tx| consents::ledger(tx, account))?))
    }

    fn note(&self, what: &str, recipient: &str, accounts: &[AccountId]) -> Result<(), StoreError> {
        self.people.transact(|tx| sharing::note(tx, self.now, what, recipient, accounts))
    }

    fn parent(&self, json: bool) -> Result<String, Failure> {
        let mut use_by_day = self.use_by_day()?;
        let (mut accounts, mut shared, mut without) = (Vec::new(), Vec::new(), 0);
        for (account, (phone, verified)) in self.numbers()? {
            let advertising = self.advertising(&account)?;
            if advertising == Advertising::NotAccepted {
                without += 1;
                continue;
            }
            accounts.push(account);
            let use_by_day = use_by_day.remove(&account.to_string()).unwrap_or_default();
            shared.push(Shared { phone, verified, advertising: advertising.words(), use_by_day });
        }
        let export = Parent {
            demonstration: true,
            kind: "shared_with_parent",
            note: DEMONSTRATION,
            recipient: PARENT,
            purposes: PURPOSES,
            shared_regardless_of_any_objection: SHARED_REGARDLESS,
            accounts: shared,
            without_accepted_terms: without,
        };
        self.note("phone number, frequency of use, advertising flag", PARENT, &accounts)?;
        if json {
            return line(&export);
        }
        let mut text = head(export.note, export.recipient);
        text += &format!("purposes: {}\n", PURPOSES.join(", "));
        text += &format!("shared whatever anybody refuses: {}\n", SHARED_REGARDLESS.join(", "));
        for Shared { phone, verified, advertising, use_by_day } in &export.accounts {
            let verified = if *verified { "verified" } else { "not verified" };
            let days: Vec<String> = use_by_day.iter().map(|(day, count)| format!("{day}: {count}")).collect();
            text += &format!("  {phone}  {verified}  advertising: {advertising}  use: {}\n", or_none(&days));
        }
        text += &format!("{without} accounts with a number have accepted no terms and are left out\n");
        Ok(text)
    }

    /// How often each account connected on each day, as far as that was observed.
    fn use_by_day(&self) -> Result<BTreeMap<String, BTreeMap<String, u64>>, Failure> {
        let path = self.data.join(OBSERVE_FILE);
        if !path.exists() {
            return Ok(BTreeMap::new());
        }
        let read = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&path, flags)?;
            let mut select = connection.prepare(
                "SELECT substr(device, 1, instr(device, '.') - 1), at / 86400000, count(*) FROM event
                    WHERE kind IN ('authenticated', 'registered') AND device IS NOT NULL GROUP BY 1, 2",
            )?;
            let mut used: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let (day, count): (i64, i64) = (row.get(1)?, row.get(2)?);
                let day = utc(day.unsigned_abs() * 86_400_000).chars().take(10).collect();
                used.entry(row.get(0)?).or_default().insert(day, count.unsigned_abs());
            }
            Ok(used)
        };
        Ok(read().map_err(|error| store_error(&error))?)
    }

    fn match_list(&self, list: &Path, json: bool) -> Result<String, Failure> {
        let listed = read_list(list)?;
        let (mut accounts, mut usable, mut residual) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (account, (phone, _)) in self.numbers()?.into_iter().filter(|(_, (phone, _))| listed.contains(phone)) {
            accounts.push(account);
            match self.advertising(&account)? {
                Advertising::Used => usable.push(phone),
                other => *residual.entry(other.words()).or_default() += 1,
            }
        }
        let export = Matched {
            demonstration: true,
            kind: "matched",
            note: DEMONSTRATION,
            recipient: ADVERTISER,
            listed: listed.len(),
            matched: accounts.len(),
            usable_for_advertising: usable,
            residual,
        };
        self.note("whether the numbers of a customer list have accounts", ADVERTISER, &accounts)?;
        if json {
            return line(&export);
        }
        let residual: Vec<String> = export.residual.iter().map(|(why, count)| format!("{why}: {count}")).collect();
        Ok(format!(
            "{}{} numbers in the list, {} of them have an account here\nusable for advertising: {}\nfound out all the same, and \
             not to be used: {}\n",
            head(export.note, export.recipient),
            export.listed,
            export.matched,
            or_none(&export.usable_for_advertising),
            or_none(&residual),
        ))
    }

    fn subpoena(&self, account: Option<AccountId>, phone: Option<&str>, json: bool) -> Result<String, Failure> {
        let account = self.find(account, phone)?;
        let (report, held_back) = self.report(&account)?;
        let documents = report.files.iter().filter(|file| file.name.ends_with(".json"));
        let report: BTreeMap<String, Value> = documents
            .map(|file| Ok((file.name.clone(), serde_json::from_slice(&file.content)?)))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| Failure::new("data-corrupt", format!("the report cannot be read: {error}")))?;
        let rows = |file: &str, table: &str| {
            report.get(file).and_then(|file| file[table].as_array()).map(Vec::as_slice).unwrap_or_default()
        };
        let waiting = rows("queue.json", "envelope");
        let export = Subpoena {
            demonstration: true,
            kind: "subpoena",
            note: DEMONSTRATION,
            recipient: AUTHORITY,
            account: account.to_string(),
            held_back,
            waiting: waiting.len(),
            waiting_bytes: waiting.iter().filter_map(|envelope| envelope["ciphertext"].as_u64()).sum(),
            observations: rows("connections.json", "event").len(),
            report: report.clone(),
        };
        self.note("everything that is held about one account", AUTHORITY, &[account])?;
        if json {
            return line(&export);
        }
        let mut text = head(export.note, export.recipient);
        text += &format!(
            "account {account}{}\n{} envelopes wait for it, {} bytes of ciphertext; {} observations name it\n",
            if held_back { ", deleted, kept under a legal hold" } else { "" },
            export.waiting,
            export.waiting_bytes,
            export.observations,
        );
        for (name, document) in &export.report {
            text += &format!("\n{name}\n{document:#}\n");
        }
        Ok(text)
    }

    fn find(&self, account: Option<AccountId>, phone: Option<&str>) -> Result<AccountId, Failure> {
        let unknown = || {
            Failure::new(
                "account-unknown",
                "nothing is held about such an account: `kuvert-relay-lens inspect` lists those that there are",
            )
        };
        let Some(number) = phone else { return account.ok_or_else(unknown) };
        if let Some(account) = self.people.transact(|tx| sharing::account_of(tx, number))? {
            return Ok(account);
        }
        let given = self.accounts.iter().find(|known| known.phone.as_deref() == Some(number));
        given.map(|known| known.account).ok_or_else(unknown)
    }

    /// What is held about an account, and whether only a hold keeps it.
    fn report(&self, account: &AccountId) -> Result<(v1::Report, bool), Failure> {
        if self.accounts.iter().any(|known| known.account == *account) {
            let retention_days = last_retention(&self.data).unwrap_or(kuvert_types::limits::MAX_RETENTION_DAYS);
            let sources = Sources { data: self.data.clone(), retention_days };
            let consents = Consents { demonstration: true };
            let (people, mail) = (&self.people, &Mail::Search);
            return Ok((report::gather(&sources, people, Some(&consents), account, mail, self.now)?, false));
        }
        let held = self.people.transact(|tx| holds::report(tx, account))?.ok_or_else(|| {
            Failure::new("account-unknown", "nothing is held about such an account: it was deleted, or never was here")
        })?;
        let report = v1::Report::decode(&held[..])
            .map_err(|_| Failure::new("data-corrupt", "the report that was kept cannot be read: restore a backup"))?;
        Ok((report, true))
    }
}

/// The numbers of a customer list: the first column of each line. A first line without a number is a header.
fn read_list(path: &Path) -> Result<BTreeSet<String>, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::new("list", format!("cannot read {}: {error}", path.display())))?;
    let mut numbers = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let number = line.split([',', ';']).next().unwrap_or_default().trim().trim_matches('"');
        if is_valid_phone(number) {
            numbers.insert(number.to_owned());
        } else if index > 0 && !line.trim().is_empty() {
            return Err(Failure::new(
                "list",
                format!("line {} of {} does not begin with a number such as +491701234567", index + 1, path.display()),
            ));
        }
    }
    Ok(numbers)
}

fn line(export: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(export).map_err(|error| Failure::new("output", error.to_string()))
}

fn head(note: &str, recipient: &str) -> String {
    format!("DEMONSTRATION: {note}\nfor {recipient}\n")
}

fn or_none(values: &[String]) -> String {
    if values.is_empty() { "none".to_owned() } else { values.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_list_may_have_a_header_and_more_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("customers.csv");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            read_list(&path)
        };
        let numbers = read("phone,name\n+4915550000001,Ada\n\"+4915550000002\",Ben\n\n+4915550000001,again\n").unwrap();
        assert_eq!(numbers.into_iter().collect::<Vec<_>>(), ["+4915550000001", "+4915550000002"]);
        assert_eq!(read("+4915550000003").unwrap().len(), 1, "without a header");
        assert!(read("phone\n+4915550000001\n0170 1\n").is_err());
        assert!(read_list(&folder.path().join("nowhere.csv")).is_err());
    }
}

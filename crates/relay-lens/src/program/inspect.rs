//! What `inspect` prints beside mail: what people told, and what the demonstration shared.

use std::collections::BTreeMap;
use std::path::Path;

use kuvert_relay_server::edition::{Look, Part as Piece};
use kuvert_relay_server::failure::Failure;
use kuvert_types::AccountId;
use serde_json::{Value, json};

use kuvert_privacy::time::utc;

use crate::address_book::Person;
use crate::devices::Details;
use crate::look::{self, Known, Told, Totals, address_book, told, totals};
use crate::policy::DEMONSTRATION;
use crate::profile::{Part, Profile};
use kuvert_relay_sqlite::people::People;
use kuvert_relay_sqlite::serving::last_demonstration;

/// What a directory holds of it.
pub struct Disclosures {
    demonstration: bool,
    /// `None`: there is no such database yet.
    people: Option<People>,
}

impl Disclosures {
    /// Opens it, also while the relay runs.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn open(data: &Path) -> Result<Self, Failure> {
        Ok(Self { demonstration: last_demonstration(data), people: People::open_read_only(data)? })
    }
}

impl Look for Disclosures {
    fn sum(&self) -> Result<Piece, Failure> {
        let totals = match &self.people {
            Some(people) => people.transact(totals)?,
            None => Totals::default(),
        };
        Ok(Piece { members: vec![("people", sum_json(&totals))], lines: sum_lines(&totals) })
    }

    fn rights(&self) -> Result<Piece, Failure> {
        let look = self.people.as_ref().map(|people| people.transact(look::rights)).transpose()?.unwrap_or_default();
        let consents: usize = look.consents.iter().map(|(_, ledger)| ledger.len()).sum();
        let exports = look.exports.len();
        let lines = self.demonstration.then(|| {
            [
                format!("  DEMONSTRATION     {DEMONSTRATION}"),
                format!("  consents          {consents}; exports made: {exports}"),
            ]
        });
        let members = vec![
            ("demonstration", self.demonstration.into()),
            ("consents", consents.into()),
            ("exports", exports.into()),
        ];
        Ok(Piece { members, lines: lines.into_iter().flatten().collect() })
    }

    fn objects(&self, account: &AccountId) -> Result<Vec<Value>, Failure> {
        self.people.as_ref().map_or_else(|| Ok(Vec::new()), |people| objects(people, account))
    }

    fn lines(&self, account: &AccountId) -> Result<Vec<String>, Failure> {
        self.people.as_ref().map_or_else(|| Ok(Vec::new()), |people| lines(people, account))
    }
}

/// As part of the first line.
fn sum_json(totals: &Totals) -> Value {
    let Totals { phones, profiles, people, shadows, devices } = totals;
    json!({"phones": phones, "profiles": profiles, "address_book": people, "shadows": shadows, "device_details": devices})
}

/// Under the other totals.
fn sum_lines(totals: &Totals) -> Vec<String> {
    let Totals { phones, profiles, people, shadows, devices } = totals;
    if *totals == Totals::default() {
        return Vec::new();
    }
    vec![
        format!("  verified numbers  {phones}"),
        format!("  profiles          {profiles}"),
        format!("  address books     {people} people; {shadows} numbers are of people without an account, never asked"),
        format!("  machines known    {devices}"),
    ]
}

/// One for what the account told, and one for each person in its address book.
fn objects(people: &People, account: &AccountId) -> Result<Vec<Value>, Failure> {
    let mut out = Vec::new();
    let Told { phone, awaited, profile, people: _, shadows: _, devices } = people.transact(|tx| told(tx, account))?;
    let owner = account.to_string();
    if phone.is_some() || awaited.is_some() {
        let (number, at) = phone.unzip();
        let line = json!({"type": "phone", "account": owner, "number": number, "verified_at": at, "awaited": awaited});
        out.push(line);
    }
    if profile != Profile::default() {
        let Profile { display_name, email, about, picture, public } = profile;
        let (picture, picture_at) = picture.unzip();
        let text = |part: Part<String>| part.map(|(text, at)| json!({"text": text, "at": at}));
        let line = json!({
            "type": "profile", "account": owner, "display_name": text(display_name), "email": text(email),
            "about": text(about), "picture_bytes": picture.map(|picture| picture.len()), "picture_at": picture_at,
            "public": public,
        });
        out.push(line);
    }
    for (device, details, at) in devices {
        let Details { model, system, system_version, app_version, language, network, simulated } = details;
        let simulated: BTreeMap<String, String> = simulated.into_iter().collect();
        let line = json!({
            "type": "device_details", "account": owner, "device": device, "model": model, "system": system,
            "system_version": system_version, "app_version": app_version, "language": language, "network": network,
            "reported_at": at, "simulated": simulated,
        });
        out.push(line);
    }
    for Known { person, uploaded_at, account } in people.transact(|tx| address_book(tx, account))? {
        let Person { phone, name, email, birthday, address } = person;
        let line = json!({
            "type": "person", "owner": owner, "phone": phone, "name": name, "email": email, "birthday": birthday,
            "address": address, "uploaded_at": uploaded_at, "account": account.map(|account| account.to_string()),
        });
        out.push(line);
    }
    Ok(out)
}

/// The same, below the account.
fn lines(people: &People, account: &AccountId) -> Result<Vec<String>, Failure> {
    let mut out = Vec::new();
    let Told { phone, awaited, profile, people: count, shadows, devices } = people.transact(|tx| told(tx, account))?;
    if let Some((number, at)) = phone {
        out.push(format!("  verified phone    {number}, {}", utc(at)));
    }
    if let Some(number) = awaited {
        out.push(format!("  to be verified    {number}"));
    }
    let Profile { display_name, email, about, picture, public } = profile;
    let mut shown = false;
    for (what, part) in [("display name", display_name), ("e-mail", email), ("about", about)] {
        if let Some((text, at)) = part {
            shown = true;
            out.push(format!("  {what:<16}  {}, {}", text.escape_debug(), utc(at)));
        }
    }
    if let Some((picture, at)) = picture {
        shown = true;
        out.push(format!("  picture           {} bytes, {}", picture.len(), utc(at)));
    }
    if shown {
        out.push(format!("  profile           {}", if public { "public" } else { "for nobody else" }));
    }
    for (device, details, at) in devices {
        let Details { model, system, system_version, app_version, language, network, simulated } = details;
        let parts = [model, system, system_version, app_version, language, network];
        let known: Vec<String> = parts.into_iter().flatten().map(|part| part.escape_debug().to_string()).collect();
        out.push(format!("  machine {device:<8}  {}, {}", known.join(", "), utc(at)));
        for (what, value) in simulated {
            out.push(format!("    {:<16}  {}", what.escape_debug(), value.escape_debug()));
        }
    }
    if count > 0 {
        out.push(format!("  address book      {count} people, {shadows} of them without an account"));
        for Known { person, account, .. } in people.transact(|tx| address_book(tx, account))? {
            let Person { phone, name, email, birthday, address } = person;
            let parts = [Some(phone), name, email, birthday, address];
            let known: Vec<String> = parts.into_iter().flatten().map(|part| part.escape_debug().to_string()).collect();
            let who = account.map_or_else(|| "no account, never asked".to_owned(), |account| account.to_string());
            out.push(format!("    {}: {who}", known.join(", ")));
        }
    }
    Ok(out)
}

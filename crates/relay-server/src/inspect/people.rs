//! What `people.db` holds, as `inspect` prints it.

use std::collections::BTreeMap;
use std::io::Write;

use kuvert_types::AccountId;
use serde_json::{Value, json};

use kuvert_privacy::time::utc;

use super::{Stop, store};
use kuvert_relay_lens::address_book::Person;
use kuvert_relay_lens::devices::Details;
use kuvert_relay_lens::look::{Known, Told, Totals, address_book, told, totals};
use kuvert_relay_lens::profile::{Part, Profile};
use kuvert_relay_sqlite::people::People;

/// How much there is; nothing where there is no such database yet.
pub fn sum(people: Option<&People>) -> Result<Totals, Stop> {
    people.map_or_else(|| Ok(Totals::default()), |people| store(people.transact(totals)))
}

/// As part of the first line.
pub fn sum_json(totals: &Totals) -> Value {
    let Totals { phones, profiles, people, shadows, devices } = totals;
    json!({"phones": phones, "profiles": profiles, "address_book": people, "shadows": shadows, "device_details": devices})
}

/// Under the other totals.
pub fn print_sum(totals: &Totals, out: &mut impl Write) -> Result<(), Stop> {
    let Totals { phones, profiles, people, shadows, devices } = totals;
    if *totals == Totals::default() {
        return Ok(());
    }
    writeln!(out, "  verified numbers  {phones}")?;
    writeln!(out, "  profiles          {profiles}")?;
    writeln!(
        out,
        "  address books     {people} people; {shadows} numbers are of people without an account, never asked"
    )?;
    Ok(writeln!(out, "  machines known    {devices}")?)
}

/// One line for what the account told, and one for everybody in its address book.
pub fn print_json(people: &People, account: &AccountId, out: &mut impl Write) -> Result<(), Stop> {
    let Told { phone, awaited, profile, people: _, shadows: _, devices } =
        store(people.transact(|tx| told(tx, account)))?;
    let owner = account.to_string();
    if phone.is_some() || awaited.is_some() {
        let (number, at) = phone.unzip();
        let line = json!({"type": "phone", "account": owner, "number": number, "verified_at": at, "awaited": awaited});
        writeln!(out, "{line}")?;
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
        writeln!(out, "{line}")?;
    }
    for (device, details, at) in devices {
        let Details { model, system, system_version, app_version, language, network, simulated } = details;
        let simulated: BTreeMap<String, String> = simulated.into_iter().collect();
        let line = json!({
            "type": "device_details", "account": owner, "device": device, "model": model, "system": system,
            "system_version": system_version, "app_version": app_version, "language": language, "network": network,
            "reported_at": at, "simulated": simulated,
        });
        writeln!(out, "{line}")?;
    }
    for Known { person, uploaded_at, account } in store(people.transact(|tx| address_book(tx, account)))? {
        let Person { phone, name, email, birthday, address } = person;
        let line = json!({
            "type": "person", "owner": owner, "phone": phone, "name": name, "email": email, "birthday": birthday,
            "address": address, "uploaded_at": uploaded_at, "account": account.map(|account| account.to_string()),
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The same, below the account.
pub fn print_text(people: &People, account: &AccountId, out: &mut impl Write) -> Result<(), Stop> {
    let Told { phone, awaited, profile, people: count, shadows, devices } =
        store(people.transact(|tx| told(tx, account)))?;
    if let Some((number, at)) = phone {
        writeln!(out, "  verified phone    {number}, {}", utc(at))?;
    }
    if let Some(number) = awaited {
        writeln!(out, "  to be verified    {number}")?;
    }
    let Profile { display_name, email, about, picture, public } = profile;
    let mut shown = false;
    for (what, part) in [("display name", display_name), ("e-mail", email), ("about", about)] {
        if let Some((text, at)) = part {
            shown = true;
            writeln!(out, "  {what:<16}  {}, {}", text.escape_debug(), utc(at))?;
        }
    }
    if let Some((picture, at)) = picture {
        shown = true;
        writeln!(out, "  picture           {} bytes, {}", picture.len(), utc(at))?;
    }
    if shown {
        writeln!(out, "  profile           {}", if public { "public" } else { "for nobody else" })?;
    }
    for (device, details, at) in devices {
        let Details { model, system, system_version, app_version, language, network, simulated } = details;
        let parts = [model, system, system_version, app_version, language, network];
        let known: Vec<String> = parts.into_iter().flatten().map(|part| part.escape_debug().to_string()).collect();
        writeln!(out, "  machine {device:<8}  {}, {}", known.join(", "), utc(at))?;
        for (what, value) in simulated {
            writeln!(out, "    {:<16}  {}", what.escape_debug(), value.escape_debug())?;
        }
    }
    if count > 0 {
        writeln!(out, "  address book      {count} people, {shadows} of them without an account")?;
        for Known { person, account, .. } in store(people.transact(|tx| address_book(tx, account)))? {
            let Person { phone, name, email, birthday, address } = person;
            let parts = [Some(phone), name, email, birthday, address];
            let known: Vec<String> = parts.into_iter().flatten().map(|part| part.escape_debug().to_string()).collect();
            let who = account.map_or_else(|| "no account, never asked".to_owned(), |account| account.to_string());
            writeln!(out, "    {}: {who}", known.join(", "))?;
        }
    }
    Ok(())
}

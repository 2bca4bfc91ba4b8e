//! Everything that the extension stores, to look at. Where its tables are not, there is nothing.

use kuvert_types::AccountId;
use rusqlite::{OptionalExtension, Row, Transaction};

use super::address_book::{self, Person};
use super::devices::Details;
use super::policy::Consent;
use super::profile::{self, Profile};
use super::{consents, phone, tables};
use kuvert_relay::admin::{self, Hold};
use kuvert_relay::data_rights::ReportRequest;
use kuvert_relay_sqlite::people::column::account_at;
use kuvert_relay_sqlite::people::look;

/// How much there is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Totals {
    /// Verified numbers.
    pub phones: u64,
    /// Accounts that told something about themselves.
    pub profiles: u64,
    /// Rows of all address books.
    pub people: u64,
    /// Numbers in address books that no account verified: people who have no account here.
    pub shadows: u64,
    /// Devices that told what machine they are.
    pub devices: u64,
}

/// Counts.
///
/// # Errors
/// SQLite's.
pub fn totals(tx: &Transaction<'_>) -> rusqlite::Result<Totals> {
    if !tables::stand(tx)? {
        return Ok(Totals::default());
    }
    let count = |what: &str| -> rusqlite::Result<u64> {
        tx.query_row(&format!("SELECT count({what}"), [], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
    };
    Ok(Totals {
        phones: count("*) FROM phone")?,
        profiles: count("*) FROM profile")?,
        people: count("*) FROM address_book")?,
        shadows: count("DISTINCT phone) FROM address_book WHERE phone NOT IN (SELECT number FROM phone)")?,
        devices: count("*) FROM device_details")?,
    })
}

/// What one account told.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Told {
    /// Its verified number, and since when, Unix milliseconds.
    pub phone: Option<(String, u64)>,
    /// A number whose code it has not given yet.
    pub awaited: Option<String>,
    /// Its profile.
    pub profile: Profile,
    /// People in its address book.
    pub people: u64,
    /// Those of them who have no account.
    pub shadows: u64,
    /// Its devices, and when each last said so, Unix milliseconds.
    pub devices: Vec<(u32, Details, u64)>,
}

/// What `account` told.
///
/// # Errors
/// SQLite's.
pub fn told(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<Told> {
    if !tables::stand(tx)? {
        return Ok(Told::default());
    }
    let awaited = "SELECT number FROM phone_code WHERE account = ?1";
    let mut simulated =
        tx.prepare_cached("SELECT what, value FROM simulated_detail WHERE account = ?1 AND device = ?2 ORDER BY what")?;
    let devices = tx
        .prepare_cached(
            "SELECT device, model, system, system_version, app_version, language, network, reported_at
             FROM device_details WHERE account = ?1 ORDER BY device",
        )?
        .query_map([account.as_bytes()], |row| {
            let device: u32 = row.get(0)?;
            let simulated = simulated.query_map((account.as_bytes(), device), |row| Ok((row.get(0)?, row.get(1)?)))?;
            let details = Details {
                model: row.get(1)?,
                system: row.get(2)?,
                system_version: row.get(3)?,
                app_version: row.get(4)?,
                language: row.get(5)?,
                network: row.get(6)?,
                simulated: simulated.collect::<rusqlite::Result<_>>()?,
            };
            Ok((device, details, row.get::<_, i64>(7)?.unsigned_abs()))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Told {
        phone: phone::of(tx, account)?,
        awaited: tx.query_row(awaited, [account.as_bytes()], |row| row.get(0)).optional()?,
        profile: profile::of(tx, account)?,
        people: address_book::count(tx, account)?,
        shadows: address_book::shadows(tx, account)?,
        devices,
    })
}

/// What stands there beside what people tell: what they agreed to and asked for, what was exported, and what is left of
/// deleted accounts.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Rights {
    /// Which terms were accepted, by account.
    pub consents: Vec<(AccountId, Vec<Consent>)>,
    /// Reports that were asked for.
    pub requests: Vec<(AccountId, ReportRequest)>,
    /// The demonstration's exports, oldest first.
    pub exports: Vec<Export>,
    /// Days since 1970-01-01 on which accounts were deleted, and how many.
    pub deletions: Vec<(u64, u64)>,
    /// Rows on limits that accounts ran into.
    pub incidents: u64,
    /// What the law holds back.
    pub holds: Vec<Hold>,
}

/// An export of the demonstration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// When, Unix milliseconds.
    pub at: u64,
    /// Which data.
    pub what: String,
    /// For whom.
    pub recipient: String,
    /// How many accounts it told about.
    pub accounts: u64,
}

/// All of that.
///
/// # Errors
/// SQLite's.
pub fn rights(tx: &Transaction<'_>) -> rusqlite::Result<Rights> {
    let admin::Rights { requests, deletions, incidents, holds } = look::rights(tx)?;
    let kept = Rights { requests, deletions, incidents, holds, ..Rights::default() };
    if !tables::stand(tx)? {
        return Ok(kept);
    }
    let number = |row: &Row<'_>, column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    let agreed: Vec<AccountId> = tx
        .prepare("SELECT DISTINCT account FROM consent ORDER BY account")?
        .query_map([], |row| account_at(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    let consents = agreed.into_iter().map(|account| Ok((account, consents::ledger(tx, &account)?)));
    let export = |row: &Row<'_>| {
        Ok(Export { at: number(row, 0)?, what: row.get(1)?, recipient: row.get(2)?, accounts: number(row, 3)? })
    };
    let exports = tx
        .prepare("SELECT at, what, recipient, accounts FROM shared ORDER BY id")?
        .query_map([], export)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Rights { consents: consents.collect::<rusqlite::Result<_>>()?, exports, ..kept })
}

/// A person in an address book.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// What the book says.
    pub person: Person,
    /// When it was uploaded, Unix milliseconds.
    pub uploaded_at: u64,
    /// The account that verified the number. `None`: a person who never had to do with this relay.
    pub account: Option<AccountId>,
}

/// The address book of `owner`, by number.
///
/// # Errors
/// SQLite's.
pub fn address_book(tx: &Transaction<'_>, owner: &AccountId) -> rusqlite::Result<Vec<Known>> {
    if !tables::stand(tx)? {
        return Ok(Vec::new());
    }
    tx.prepare_cached(
        "SELECT b.phone, name, email, birthday, address, uploaded_at, p.account
         FROM address_book b LEFT JOIN phone p ON p.number = b.phone WHERE owner = ?1 ORDER BY b.phone",
    )?
    .query_map([owner.as_bytes()], |row| {
        let account = row.get_ref(6)?.as_blob_or_null()?.is_some();
        Ok(Known {
            person: Person {
                phone: row.get(0)?,
                name: row.get(1)?,
                email: row.get(2)?,
                birthday: row.get(3)?,
                address: row.get(4)?,
            },
            uploaded_at: row.get::<_, i64>(5)?.unsigned_abs(),
            account: account.then(|| account_at(row, 6)).transpose()?,
        })
    })?
    .collect()
}

//! How this home stands, in numbers, and whether its relay answers. No name of a contact is in it.

use std::time::{Duration, Instant};

use kuvert_types::{Address, Level, RelayUrl};

use crate::connection::greet;
use crate::contact::Contact;
use crate::disclosure;
use crate::engine::{Engine, Tx};
use crate::error::Error;
use crate::history;
use crate::state::{damaged, own};
use crate::store::sqlite::SCHEMA_VERSION;
use crate::store::{Table, Transaction as _};

/// For how long it is told that another copy of the home was in use.
const COPY_MATTERS_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// How a home stands.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Account and device.
    pub address: Address,
    /// The name under which others find the account at the relay.
    pub name: Option<String>,
    /// The relay that keeps this device's mail.
    pub relay: RelayUrl,
    /// How much the relay is told.
    pub level: Level,
    /// When the account was deleted at the relay, Unix milliseconds; `None`: it is there.
    pub deleted_at: Option<u64>,
    /// Texts that the relay has not accepted yet.
    pub queued: u64,
    /// Texts that were received and not marked as shown.
    pub unread: u64,
    /// Contacts.
    pub contacts: u64,
    /// Accounts that wrote first and wait to be accepted or blocked.
    pub requests: u64,
    /// Contacts whose key changed and was not accepted.
    pub changed_keys: u64,
    /// When another copy of this home was last seen in use, Unix milliseconds; `None`: not within the last days.
    pub copy_seen_at: Option<u64>,
    /// The version of the protocol that this program speaks with the relay.
    pub protocol: u32,
    /// The version of the stored form.
    pub store: u32,
}

/// What the relay answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RelayAnswer {
    /// From the first packet until the relay knew this device.
    pub took: Duration,
    /// How far this machine's clock is ahead of the relay's, milliseconds; negative: behind it.
    pub clock_ahead_ms: i64,
    /// Envelopes that wait there for this device; receipts are among them.
    pub waiting: u64,
}

/// How the home stands.
///
/// # Errors
/// Those of the store.
pub(crate) async fn status(engine: &Engine) -> Result<Status, Error> {
    engine
        .read(|tx| {
            let own = tx.identity()?;
            let all = Contact::all(tx)?;
            let count = |fits: fn(&Contact) -> bool| all.iter().filter(|contact| fits(contact)).count() as u64;
            Ok(Status {
                address: own.address,
                name: own.name.clone(),
                relay: own.relay.clone(),
                level: disclosure::row(tx)?.level(),
                deleted_at: (own.deleted_at != 0).then_some(own.deleted_at),
                queued: history::waiting_texts(tx, None)?,
                unread: tx.count(Table::Unshown)?,
                contacts: count(|contact| !contact.row.request),
                requests: count(|contact| contact.row.request && !contact.row.blocked),
                changed_keys: count(|contact| contact.row.changed_key.is_some() && !contact.row.blocked),
                copy_seen_at: copy_seen_at(tx)?,
                protocol: kuvert_wire::VERSION,
                store: SCHEMA_VERSION,
            })
        })
        .await
}

/// When another copy of this home was seen, if that is not long ago.
fn copy_seen_at(tx: &Tx<'_>) -> Result<Option<u64>, Error> {
    let Some(value) = tx.get(Table::Own, own::COPY_SEEN)? else { return Ok(None) };
    let at = value.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| damaged("own account"))?;
    Ok((tx.now().abs_diff(at) < COPY_MATTERS_MS).then_some(at))
}

/// Asks the relay whether it is there. No mail is asked for, and no receiver displaced.
///
/// # Errors
/// As of connecting.
pub(crate) async fn ask_relay(engine: &Engine) -> Result<RelayAnswer, Error> {
    let own = engine.identity().await?;
    own.must_exist()?;
    let begun = Instant::now();
    let link = greet(engine, &own, &own.relay).await?;
    let took = begun.elapsed();
    let ahead = i128::from(engine.now()) - i128::from(link.relay_now());
    let clock_ahead_ms = i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX });
    let waiting = link.waiting;
    link.link.close().await;
    Ok(RelayAnswer { took, clock_ahead_ms, waiting })
}

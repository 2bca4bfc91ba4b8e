//! A home in which single rows are damaged goes on without them.
//!
//! ```text
//! a read meets a row that cannot be read ─► every row is looked at ─► those that cannot be read are removed
//!      ─► what follows from each ([`consequences`]) ─► noted ─► the next `receive` tells it
//! ```
//! All of it is one transaction, run by the engine when a transaction failed for that reason. One row costs what it held: a
//! session begins anew, a text is gone and its owner is told so. What stands in for a row is the careful choice: a contact is
//! a request again, a level is the strictest, a prekey whose replays cannot be told any more goes.
//!
//! Rows of older versions are looked at before they are brought to this one ([`before_migrating`]), and again afterwards: no row that
//! is damaged keeps the others in a form that this build cannot read. A home that cannot be written is left as it is, and says so.
//!
//! Two things are not mended. The account and its keys have nothing to stand in for them. And a home with more than
//! [`MAX_DAMAGED`] damaged rows has met something else than a flipped bit: a failing disk, a file of another program, or a
//! fault of this one. Removing would make that worse; a backup is the way out.
//!
//! | module | owns |
//! |---|---|
//! | `rows` | whether a row can be read |
//! | `consequences` | what follows from a row that is gone |

mod consequences;
mod rows;

use std::collections::BTreeMap;

use kuvert_types::AccountId;

use crate::contact::alias;
use crate::error::Error;
use crate::event::{DamagedPart, Event};
use crate::state::{self, DamageNote, DamageRow, own};
use crate::store::{Log, Part, Table, Transaction, Unreadable};

/// Damaged rows that are removed at once, at most.
const MAX_DAMAGED: usize = 64;

/// Entries of a log that are read at once.
const PAGE: usize = 256;

/// A row that was damaged, and was removed.
enum Lost {
    /// What it was called can be compared only.
    Unreadable(Unreadable),
    /// It was vouched for, and this build could make nothing of it.
    Undecodable(Part, Vec<u8>),
}

impl Lost {
    const fn part(&self) -> Part {
        match self {
            Self::Unreadable(unreadable) => unreadable.part,
            Self::Undecodable(part, _) => *part,
        }
    }

    /// Its key, where that is known.
    fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Unreadable(_) => None,
            Self::Undecodable(_, key) => Some(key),
        }
    }

    /// Whether this was its key.
    fn was(&self, tx: &dyn Transaction, key: &[u8]) -> bool {
        match self {
            Self::Unreadable(unreadable) => tx.was(unreadable, key),
            Self::Undecodable(_, known) => known == key,
        }
    }

    /// Whether this was its group. The keys of all logs that this is asked of begin with the group.
    fn was_in(&self, tx: &dyn Transaction, group: &[u8]) -> bool {
        match self {
            Self::Unreadable(unreadable) => tx.was_in(unreadable, group),
            Self::Undecodable(_, key) => key.starts_with(group),
        }
    }
}

/// What was removed from a store of an older version, before its rows were brought to this one.
#[must_use]
pub struct Removed(Vec<Lost>);

impl Removed {
    /// Another row that could not be read, and that was removed.
    pub fn add(&mut self, part: Part, key: Vec<u8>) {
        self.0.push(Lost::Undecodable(part, key));
    }

    /// Whether this row of [`Table::Own`] was among them.
    pub fn has_own(&self, tx: &dyn Transaction, key: &[u8]) -> bool {
        self.0.iter().any(|lost| lost.part() == Part::Table(Table::Own) && lost.was(tx, key))
    }
}

/// Removes what is damaged of a store of an older version, whose rows say other things: what is vouched for is looked at
/// [afterwards](after_migrating).
///
/// # Errors
/// As [`mend`].
pub fn before_migrating(tx: &dyn Transaction) -> Result<Removed, Error> {
    Ok(Removed(tx.remove_unreadable(MAX_DAMAGED)?.into_iter().map(Lost::Unreadable).collect()))
}

/// Removes what could not be brought to this version, and does what follows from all that is gone.
///
/// # Errors
/// As [`mend`].
pub fn after_migrating(tx: &dyn Transaction, removed: Removed, now: u64) -> Result<(), Error> {
    remove_and_follow(tx, removed.0, now).map(drop)
}

/// Removes what is damaged and does what follows from it. Whether there was anything; then the caller commits.
///
/// # Errors
/// Those of the store; `store-corrupt` if this cannot be mended. Nothing is to be committed then.
pub fn mend(tx: &dyn Transaction, now: u64) -> Result<bool, Error> {
    let unreadable = tx.remove_unreadable(MAX_DAMAGED)?;
    remove_and_follow(tx, unreadable.into_iter().map(Lost::Unreadable).collect(), now)
}

fn remove_and_follow(tx: &dyn Transaction, mut lost: Vec<Lost>, now: u64) -> Result<bool, Error> {
    for (part, key) in rows::remove_undecodable(tx)? {
        lost.push(Lost::Undecodable(part, key));
    }
    if lost.len() > MAX_DAMAGED {
        return Err(Error::StoreCorrupt { what: format!("more than {MAX_DAMAGED} rows cannot be read") });
    }
    if lost.is_empty() {
        return Ok(false);
    }
    let irreplaceable = |lost: &Lost| {
        lost.part() == Part::Table(Table::Own)
            && [own::ACCOUNT, own::ACCOUNT_SECRET, own::DEVICE_SECRETS].iter().any(|key| lost.was(tx, key))
    };
    if lost.iter().any(irreplaceable) {
        return Err(Error::StoreCorrupt { what: "this home's own account or its keys cannot be read".to_owned() });
    }
    for row in &lost {
        tracing::warn!(part = ?row.part(), "a row of the store could not be read and was removed");
    }
    let told = consequences::follow(tx, lost, now)?;
    note(tx, told)?;
    Ok(true)
}

/// What is to be told: how many of what, of which account.
type Told = BTreeMap<(DamagedPart, Option<AccountId>), u64>;

fn note(tx: &dyn Transaction, told: Told) -> Result<(), Error> {
    let mut row: DamageRow = state::get(tx, Table::Own, own::DAMAGE)?.unwrap_or_default();
    for ((part, account), count) in told {
        let account = account.map(|account| account.as_bytes().to_vec()).unwrap_or_default();
        let part = u32::from(part as u8);
        match row.notes.iter_mut().find(|note| note.part == part && note.account == account) {
            Some(note) => note.count = note.count.saturating_add(count),
            None => row.notes.push(DamageNote { part, account, count }),
        }
    }
    state::put(tx, Table::Own, own::DAMAGE, &row)
}

/// What was removed and not told yet.
///
/// # Errors
/// Those of the store.
pub fn untold(tx: &dyn Transaction) -> Result<Vec<Event>, Error> {
    let row: DamageRow = state::get(tx, Table::Own, own::DAMAGE)?.unwrap_or_default();
    let mut events = Vec::with_capacity(row.notes.len());
    for DamageNote { part, account, count } in row.notes {
        let account = AccountId::try_from(account.as_slice()).ok();
        let who = account.map(|account| alias(tx, &account)).transpose()?;
        events.push(Event::Damaged { part: DamagedPart::from_number(part), account, who, count });
    }
    Ok(events)
}

/// Forgets what was told.
///
/// # Errors
/// Those of the store.
pub fn forget_told(tx: &dyn Transaction) -> Result<(), Error> {
    tx.delete(Table::Own, own::DAMAGE)?;
    Ok(())
}

/// Every entry of a log, a page at a time.
fn each(
    tx: &dyn Transaction,
    log: Log,
    mut take: impl FnMut(crate::store::Entry) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut after = 0;
    loop {
        let page = tx.scan(log, None, after, PAGE)?;
        let Some(last) = page.last().map(|entry| entry.place) else { return Ok(()) };
        page.into_iter().try_for_each(&mut take)?;
        after = last;
    }
}

#[cfg(test)]
mod tests;

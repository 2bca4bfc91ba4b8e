//! How much this home lets its relay know: its level, and the access key with which contacts send to it without a name.
//!
//! ```text
//! set_level(L2) ─► access key drawn ─► next flush: SetAccessKey(SHA-256 of it) ─► from here on every content tells the key
//! contact knows the key ─► SubmitSealed on a connection without a name
//! contact blocked ─► another key drawn ─► the old one opens nothing any more; the next content tells the others
//! ```
//! The key is drawn, not derived from the account's secret: nothing that contacts hold then hangs on the key that signs
//! devices, and drawing another one needs no counter that a restored backup could set back.

mod items;

use kuvert_types::{AccessKey, Level};
use kuvert_wire::v1::{self, client_frame, server_frame};

pub use self::items::{Disclosure, Item, Seen};
use crate::client::{Client, Inner};
use crate::error::Error;
use crate::receipts::Receipts;
use crate::rng;
use crate::state::{self, DisclosureRow, own};
use crate::store::{Mode, Table, Transaction};
use crate::transport::Link;

impl Client {
    /// The level of disclosure that this home is at.
    ///
    /// # Errors
    /// Those of the store.
    pub fn level(&self) -> Result<Level, Error> {
        self.0.transact(Mode::Read, |tx| Ok(row(tx)?.level()))
    }

    /// Goes to another level, for good. The relay hears of it with the next flush.
    ///
    /// # Errors
    /// Those of the store.
    pub fn set_level(&self, level: Level) -> Result<(), Error> {
        if self.level()? == level {
            return Ok(());
        }
        self.0.transact(Mode::Write, |tx| set_level(tx, level))
    }

    /// When receipts are sent.
    ///
    /// # Errors
    /// Those of the store.
    pub fn receipts(&self) -> Result<Receipts, Error> {
        self.0.transact(Mode::Read, |tx| Ok(row(tx)?.receipts()))
    }

    /// Chooses when receipts are sent, whatever the level.
    ///
    /// # Errors
    /// Those of the store.
    pub fn set_receipts(&self, receipts: Receipts) -> Result<(), Error> {
        self.0.transact(Mode::Write, |tx| set_receipts(tx, receipts))
    }

    /// What the relay gets to know at the present level.
    ///
    /// # Errors
    /// Those of the store.
    pub fn disclosure(&self) -> Result<Disclosure, Error> {
        self.0.transact(Mode::Read, |tx| {
            let row = row(tx)?;
            Ok(items::at(row.level(), row.receipts(), self.0.own.name.is_some()))
        })
    }
}

impl DisclosureRow {
    /// The level; L1 until another one was chosen.
    pub fn level(&self) -> Level {
        let index = usize::try_from(self.level_and_one).ok().and_then(|number| number.checked_sub(1));
        index.and_then(|index| Level::ALL.get(index).copied()).unwrap_or_default()
    }

    fn key(&self) -> Result<Option<AccessKey>, Error> {
        let key = (!self.access_key.is_empty()).then(|| AccessKey::try_from(self.access_key.as_slice()));
        key.transpose().map_err(|_| state::damaged("the access key"))
    }

    /// What the relay is to hold.
    fn wanted(&self) -> Result<Option<[u8; 32]>, Error> {
        Ok(self.key()?.filter(|_| self.level().seals_sender()).map(|key| key.hash()))
    }

    /// The key that contacts are told: one that the relay knows of already.
    pub fn told_key(&self) -> Result<Option<AccessKey>, Error> {
        let known = self.wanted()?.is_some_and(|hash| hash[..] == self.published);
        Ok(if known { self.key()? } else { None })
    }
}

/// The row; the default before there is one.
pub fn row(tx: &dyn Transaction) -> Result<DisclosureRow, Error> {
    Ok(state::get(tx, Table::Own, own::DISCLOSURE)?.unwrap_or_default())
}

/// Goes to another level.
pub fn set_level(tx: &dyn Transaction, level: Level) -> Result<(), Error> {
    let mut row = row(tx)?;
    row.level_and_one = level as u32 + 1;
    if level.seals_sender() && row.access_key.is_empty() {
        row.access_key = rng::bytes::<{ AccessKey::LEN }>().to_vec();
    }
    state::put(tx, Table::Own, own::DISCLOSURE, &row)
}

/// Chooses when receipts are sent.
pub fn set_receipts(tx: &dyn Transaction, receipts: Receipts) -> Result<(), Error> {
    let mut row = row(tx)?;
    row.receipts_and_one = receipts as u32 + 1;
    state::put(tx, Table::Own, own::DISCLOSURE, &row)
}

/// Draws another access key, if there is one: whoever knows the old one can send sealed mail no more.
pub fn rotate(tx: &dyn Transaction) -> Result<(), Error> {
    let mut row = row(tx)?;
    if row.access_key.is_empty() {
        return Ok(());
    }
    row.access_key = rng::bytes::<{ AccessKey::LEN }>().to_vec();
    state::put(tx, Table::Own, own::DISCLOSURE, &row)
}

/// Tells the relay the hash of the access key, or that there is none any more, if it does not know that yet.
///
/// # Errors
/// Those of the connection and of the store. A relay that says no is asked again with the next flush; until then contacts
/// are not told the key, and write under their names.
pub async fn publish(inner: &std::sync::Arc<Inner>, link: &Link) -> Result<(), Error> {
    let row = inner.blocking(|inner| inner.transact(Mode::Read, row)).await?;
    let wanted = row.wanted()?;
    let bytes = wanted.map_or_else(Vec::new, |hash| hash.to_vec());
    if bytes == row.published {
        return Ok(());
    }
    let hash = wanted.map(|hash| hash.to_vec().into());
    match link.request(client_frame::Body::SetAccessKey(v1::SetAccessKey { hash, sealed: true })).await? {
        Ok(server_frame::Body::Done(_)) => {}
        Ok(_) => return Err(Error::RelayProtocol { what: "no answer to an access key" }),
        Err(refusal) => {
            tracing::warn!(code = refusal.code.as_str_name(), "the relay did not take the access key");
            return Ok(());
        }
    }
    inner
        .blocking(move |inner| {
            inner.transact(Mode::Write, |tx| {
                let mut row = self::row(tx)?;
                row.published = bytes;
                state::put(tx, Table::Own, own::DISCLOSURE, &row)
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::memory::MemoryStore;

    #[test]
    fn a_key_is_told_only_once_the_relay_knows_it_and_only_at_the_levels_that_seal() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        assert_eq!(row(&*tx).unwrap().level(), Level::L1);
        for level in Level::ALL {
            set_level(&*tx, level).unwrap();
            assert_eq!(row(&*tx).unwrap().level(), level);
            assert_eq!(row(&*tx).unwrap().wanted().unwrap().is_some(), level.seals_sender());
        }
        assert_eq!(row(&*tx).unwrap().told_key().unwrap(), None);
        let publish = |tx: &dyn Transaction| {
            let mut row = row(tx).unwrap();
            row.published = row.wanted().unwrap().unwrap().to_vec();
            state::put(tx, Table::Own, own::DISCLOSURE, &row).unwrap();
            row.told_key().unwrap().unwrap()
        };
        let first = publish(&*tx);
        set_level(&*tx, Level::L1).unwrap();
        assert_eq!(row(&*tx).unwrap().told_key().unwrap(), None);
        set_level(&*tx, Level::L2).unwrap();
        assert_eq!(row(&*tx).unwrap().told_key().unwrap(), Some(first), "the same key again");
        rotate(&*tx).unwrap();
        assert_eq!(row(&*tx).unwrap().told_key().unwrap(), None, "the relay does not know the new one");
        assert_ne!(publish(&*tx), first);
    }
}

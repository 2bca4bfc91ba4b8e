//! How much this home lets its relay know: its level, and the access key with which contacts send to it without a name.
//!
//! ```text
//! next flush: access key drawn ─► SetAccessKey(SHA-256 of it) ─► from here on every content tells the key
//! contact knows the key ─► its mail has a contact's room in the mailbox (20.4)
//! set_level(L2) ─► SetAccessKey(…, sealed) ─► contents say so ─► SubmitSealed on a connection without a name
//! contact blocked ─► another key drawn ─► the old one opens nothing any more; the next content tells the others
//! ```
//! The key is drawn, not derived from the account's secret: nothing that contacts hold then hangs on the key that signs
//! devices, and drawing another one needs no counter that a restored backup could set back.

mod items;

use kuvert_types::limits::MAX_RETENTION_DAYS;
use kuvert_types::{AccessKey, Level};
use kuvert_wire::v1::{self, client_frame, server_frame};

pub use self::items::{Disclosure, Item, Seen};
use crate::certain::EARLIEST_MS;
use crate::engine::Engine;
use crate::error::Error;
use crate::records::Receipts;
use crate::rng;
use crate::state::{self, DisclosureRow, own};
use crate::store::{Table, Transaction};
use crate::transport::Link;

/// How long an envelope can be on its way: the relay keeps it for 30 days at most, and clocks differ.
const SEALED_ON_ITS_WAY_MS: u64 = (MAX_RETENTION_DAYS as u64 + 1) * 24 * 60 * 60 * 1000;

/// What the relay gets to know at the present level.
///
/// # Errors
/// Those of the store.
pub(crate) async fn disclosure(engine: &Engine) -> Result<Disclosure, Error> {
    engine
        .read(|tx| {
            let row = row(tx)?;
            let number = state::own_row(tx)?.phone_told();
            Ok(items::at(row.level(), row.receipts(), tx.identity()?.name.is_some(), number))
        })
        .await
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

    /// What the relay is to hold: the hash, and whether it takes anonymous mail for the key.
    fn wanted(&self) -> Result<Vec<u8>, Error> {
        let hash = self.key()?.map(|key| key.hash());
        Ok(hash.map_or_else(Vec::new, |hash| [&hash[..], &[u8::from(self.level().seals_sender())]].concat()))
    }

    /// The key that contacts are told, and whether it is good for anonymous mail: one that the relay knows of already.
    pub fn disclosed_key(&self) -> Result<Option<(AccessKey, bool)>, Error> {
        let known = self.wanted()? == self.published;
        Ok(if known { self.key()?.map(|key| (key, self.level().seals_sender())) } else { None })
    }

    /// [KV-081] Whether anonymous mail is opened: only while the relay is told to take some, and for what it took before.
    /// `now`: the time, if it is certain; where it is not, what may have been on its way is still opened.
    pub fn opens_anonymous(&self, now: Option<u64>) -> bool {
        let on_its_way = self.sealed_until != 0 && now.is_none_or(|now| now < self.sealed_until);
        self.level().seals_sender() || on_its_way
    }
}

impl DisclosureRow {
    /// What was chosen, else what the level does.
    pub fn receipts(&self) -> Receipts {
        match self.receipts_and_one {
            1 => Receipts::Now,
            2 => Receipts::Late,
            3 => Receipts::Off,
            _ if self.level() >= Level::L3 => Receipts::Late,
            _ => Receipts::Now,
        }
    }
}

/// The row; the default before there is one.
pub fn row(tx: &dyn Transaction) -> Result<DisclosureRow, Error> {
    Ok(state::get(tx, Table::Own, own::DISCLOSURE)?.unwrap_or_default())
}

/// Goes to another level.
pub fn set_level(tx: &dyn Transaction, level: Level, now: u64) -> Result<(), Error> {
    let mut row = row(tx)?;
    if row.level().seals_sender() && !level.seals_sender() {
        row.sealed_until = now.saturating_add(SEALED_ON_ITS_WAY_MS);
    }
    row.level_and_one = level as u32 + 1;
    state::put(tx, Table::Own, own::DISCLOSURE, &row)
}

/// Once the time is certain: sets right what a wrong clock has noted, and ends what is over.
pub async fn settle(engine: &Engine) -> Result<(), Error> {
    let Some(now) = engine.certain_now() else { return Ok(()) };
    let right = move |until: u64| match until {
        0 => 0,
        until if until < EARLIEST_MS => now.saturating_add(SEALED_ON_ITS_WAY_MS),
        until if until <= now => 0,
        until => until.min(now.saturating_add(SEALED_ON_ITS_WAY_MS)),
    };
    let until = engine.read(|tx| row(tx)).await?.sealed_until;
    if right(until) == until {
        return Ok(());
    }
    engine
        .write(move |tx| {
            let mut row = row(tx)?;
            row.sealed_until = right(row.sealed_until);
            state::put(tx, Table::Own, own::DISCLOSURE, &row)
        })
        .await
}

/// Chooses when receipts are sent.
pub fn set_receipts(tx: &dyn Transaction, receipts: Receipts) -> Result<(), Error> {
    let mut row = row(tx)?;
    row.receipts_and_one = receipts as u32 + 1;
    state::put(tx, Table::Own, own::DISCLOSURE, &row)
}

/// Draws another access key: with the old one no anonymous mail can be sent any more, and no more than strangers can.
pub fn rotate(tx: &dyn Transaction) -> Result<(), Error> {
    let mut row = row(tx)?;
    row.access_key = rng::bytes::<{ AccessKey::LEN }>().to_vec();
    state::put(tx, Table::Own, own::DISCLOSURE, &row)
}

/// What the relay holds is not known any more: it is told again with the next flush.
pub fn publish_again(tx: &dyn Transaction) -> Result<(), Error> {
    let mut row = row(tx)?;
    if row.published.is_empty() {
        return Ok(());
    }
    row.published.clear();
    state::put(tx, Table::Own, own::DISCLOSURE, &row)
}

/// Tells the relay the hash of the access key, or that there is none any more, if it does not know that yet.
///
/// # Errors
/// Those of the connection and of the store. A relay that says no is asked again with the next flush; until then contacts
/// are not told the key, and write under their names.
pub async fn publish(engine: &Engine, link: &Link) -> Result<(), Error> {
    let mut row = engine.read(|tx| row(tx)).await?;
    if row.access_key.is_empty() {
        row = engine
            .write(|tx| {
                rotate(tx)?;
                self::row(tx)
            })
            .await?;
    }
    let wanted = row.wanted()?;
    if wanted == row.published {
        return Ok(());
    }
    let hash = row.key()?.map(|key| key.hash().to_vec().into());
    let sealed = row.level().seals_sender();
    match link.request(client_frame::Body::SetAccessKey(v1::SetAccessKey { hash, sealed })).await? {
        Ok(server_frame::Body::Done(_)) => {}
        Ok(_) => return Err(Error::RelayProtocol { what: "no answer to an access key" }),
        Err(refusal) => {
            tracing::warn!(code = refusal.code.as_str_name(), "the relay did not take the access key");
            return Ok(());
        }
    }
    engine
        .write(move |tx| {
            let mut row = self::row(tx)?;
            row.published = wanted;
            state::put(tx, Table::Own, own::DISCLOSURE, &row)
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Mode, Store};

    #[test]
    fn a_key_is_told_only_once_the_relay_knows_it_and_says_whether_it_is_good_for_sealed_mail() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        assert_eq!(row(&*tx).unwrap().level(), Level::L1);
        for level in Level::ALL {
            set_level(&*tx, level, NOW).unwrap();
            assert_eq!(row(&*tx).unwrap().level(), level);
            assert_eq!(row(&*tx).unwrap().disclosed_key().unwrap(), None, "none was drawn");
        }
        rotate(&*tx).unwrap();
        assert_eq!(row(&*tx).unwrap().disclosed_key().unwrap(), None, "the relay does not know it");
        let publish = |tx: &dyn Transaction| {
            let mut row = row(tx).unwrap();
            row.published = row.wanted().unwrap();
            state::put(tx, Table::Own, own::DISCLOSURE, &row).unwrap();
            row.disclosed_key().unwrap().unwrap()
        };
        let (first, sealed) = publish(&*tx);
        assert!(sealed);
        set_level(&*tx, Level::L1, NOW).unwrap();
        assert_eq!(row(&*tx).unwrap().disclosed_key().unwrap(), None, "the relay still takes anonymous mail for it");
        assert_eq!(publish(&*tx), (first, false));
        set_level(&*tx, Level::L2, NOW).unwrap();
        assert_eq!(publish(&*tx), (first, true), "the same key again");
        rotate(&*tx).unwrap();
        assert_eq!(row(&*tx).unwrap().disclosed_key().unwrap(), None, "the relay does not know the new one");
        assert_ne!(publish(&*tx).0, first);
    }

    #[test]
    fn sealed_mail_is_opened_only_by_a_home_that_takes_it_and_for_what_was_on_its_way() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        assert!(!row(&*tx).unwrap().opens_anonymous(Some(NOW)) && !row(&*tx).unwrap().opens_anonymous(None));
        set_level(&*tx, Level::L2, NOW).unwrap();
        assert!(row(&*tx).unwrap().opens_anonymous(Some(NOW)));
        set_level(&*tx, Level::L1, NOW).unwrap();
        assert!(row(&*tx).unwrap().opens_anonymous(Some(NOW + SEALED_ON_ITS_WAY_MS - 1)));
        assert!(!row(&*tx).unwrap().opens_anonymous(Some(NOW + SEALED_ON_ITS_WAY_MS)));
        assert!(row(&*tx).unwrap().opens_anonymous(None), "no clock to rely upon");
    }

    const NOW: u64 = 1_800_000_000_000;
}

//! Named consumers: each reads the texts of a home at its own pace. A bot, a screen and a bridge to another system on one home do
//! not take each other's mail.
//!
//! A consumer has a cursor in the store: the place of the last text that it has dealt with. Texts stay in the history, so that a
//! consumer that is away for long, or that is new, misses none. Receipts and other events have no rows of their own and so no
//! cursors; [`Connection::next_event`](crate::Connection::next_event) tells them as they happen.

use crate::engine::Engine;
use crate::error::Error;
use crate::history::title;
use crate::records::MessageRecord;
use crate::state::{Stored, damaged, own};
use crate::store::{Log, Table, Transaction};

/// Bytes of a consumer's name at most.
const MAX_NAME_BYTES: usize = 64;

/// Rows of the history that one look goes through.
const PAGE: usize = 256;

/// A reader of a home's incoming texts with a name and a cursor of its own. Made by [`Client::consumer`](crate::Client::consumer).
#[derive(Clone)]
pub struct Consumer {
    engine: Engine,
    key: Vec<u8>,
}

/// Up to where a [`Consumer`] has dealt with texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cursor(u64);

impl Consumer {
    /// The consumer of this name.
    ///
    /// # Errors
    /// `consumer-name-invalid`.
    pub(crate) fn new(engine: Engine, name: &str) -> Result<Self, Error> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(Error::ConsumerNameInvalid);
        }
        Ok(Self { engine, key: [own::CONSUMER, name.as_bytes()].concat() })
    }

    /// The next incoming text behind the cursor, in order of arrival, and where the cursor stands once it is dealt with. The same
    /// one again until [`acknowledge`](Self::acknowledge) moves the cursor; `None` where there is none yet. A new consumer begins
    /// with the oldest text of the home.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn next(&self) -> Result<Option<(Cursor, MessageRecord)>, Error> {
        let key = self.key.clone();
        self.engine
            .read(move |tx| {
                let mut after = cursor(tx, &key)?;
                loop {
                    let page = tx.scan(Log::Message, None, after, PAGE)?;
                    let Some(last) = page.last().map(|entry| entry.place) else { return Ok(None) };
                    for entry in &page {
                        let stored = Stored::read(entry)?;
                        if !stored.row.outgoing {
                            let title = title(tx, &stored.message()?.conversation)?;
                            return Ok(Some((Cursor(entry.place), stored.record(tx, &title)?)));
                        }
                    }
                    after = last;
                }
            })
            .await
    }

    /// Moves the cursor behind a text that was dealt with. It never goes back.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn acknowledge(&self, to: Cursor) -> Result<(), Error> {
        let key = self.key.clone();
        self.engine
            .write(move |tx| {
                let place = cursor(tx, &key)?.max(to.0);
                Ok(tx.put(Table::Own, &key, &place.to_be_bytes())?)
            })
            .await
    }
}

fn cursor(tx: &dyn Transaction, key: &[u8]) -> Result<u64, Error> {
    let Some(value) = tx.get(Table::Own, key)? else { return Ok(0) };
    value.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| damaged("consumers"))
}

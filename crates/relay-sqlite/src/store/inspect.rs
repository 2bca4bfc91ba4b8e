//! Looking at a store from outside, also while a relay uses it: read-only, without the relay's lock.

mod accounts;

use std::path::Path;

use kuvert_relay::admin::WaitingEnvelope;
use kuvert_relay::store::{Cursor, Stats, StoreError};
use kuvert_types::{AccountId, Address, EnvelopeId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::accounts::device_number;
use super::column::{address, signed, unsigned};
use super::schema::store_error;
use super::{DATABASE_FILE, OpenError, schema};

/// A read-only view of a store. Every call sees the state of its moment and holds nothing open afterwards: a slow reader
/// must not keep the relay from emptying its log.
pub struct Inspector(Connection);

impl Inspector {
    /// Opens the store in `directory`.
    ///
    /// # Errors
    /// [`OpenError::Missing`], [`OpenError::Foreign`], [`OpenError::Newer`], [`OpenError::Older`], and what the operating
    /// system says.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(DATABASE_FILE);
        let connection = schema::open_reader(&path)?;
        match schema::version(&path, &connection)? {
            schema::VERSION => Ok(Self(connection)),
            // It lacks columns that are shown, and looking must not change it.
            found => Err(OpenError::Older { path, found, known: schema::VERSION }),
        }
    }

    /// Looks through a connection that is there.
    pub(super) const fn on(connection: Connection) -> Self {
        Self(connection)
    }

    /// The connection behind it, which can only read.
    pub(crate) const fn connection(&self) -> &Connection {
        &self.0
    }

    /// What the relay holds in sum.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let totals = self.0.query_row(
            "SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM device),
                (SELECT count(*) FROM one_time_prekey), count(*), ifnull(sum(length(ciphertext)), 0) FROM envelope",
            [],
            |row| {
                Ok(Stats {
                    accounts: unsigned(row, 0)?,
                    devices: unsigned(row, 1)?,
                    one_time_prekeys: unsigned(row, 2)?,
                    waiting: unsigned(row, 3)?,
                    waiting_bytes: unsigned(row, 4)?,
                })
            },
        );
        totals.map_err(|error| store_error(&error))
    }

    /// Whether there is such an account.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn knows(&self, account: &AccountId) -> Result<bool, StoreError> {
        let found = self
            .0
            .prepare("SELECT 1 FROM account WHERE id = ?1")
            .and_then(|mut select| select.exists([account.as_bytes()]));
        found.map_err(|error| store_error(&error))
    }

    /// At most `limit` waiting envelopes of all mailboxes that arrived after `after`.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn waiting(&self, after: Cursor, limit: usize) -> Result<Vec<WaitingEnvelope>, StoreError> {
        let read = || {
            let mut select = self.0.prepare_cached(
                "SELECT cursor, id, account, number, source, length(ciphertext), accepted_at
                    FROM envelope JOIN device USING(mailbox) WHERE cursor > ?1 ORDER BY cursor LIMIT ?2",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            select.query_map((signed(after.get()), limit), waiting)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| store_error(&error))
    }

    /// The first bytes of a waiting envelope, at most `length`; none if it waits no more.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn first_bytes(&self, cursor: Cursor, length: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let read = || {
            self.0
                .prepare_cached("SELECT substr(ciphertext, 1, ?2) FROM envelope WHERE cursor = ?1")?
                .query_row((signed(cursor.get()), length), |row| row.get(0))
                .optional()
        };
        read().map_err(|error| store_error(&error))
    }
}

fn waiting(row: &Row<'_>) -> rusqlite::Result<WaitingEnvelope> {
    Ok(WaitingEnvelope {
        cursor: Cursor::new(unsigned(row, 0)?),
        id: EnvelopeId::from_bytes(row.get(1)?),
        recipient: Address { account: AccountId::from_bytes(row.get(2)?), device: device_number(row, 3)? },
        sender: address(row, 4)?,
        size: unsigned(row, 5)?,
        accepted_at: unsigned(row, 6)?,
    })
}

//! Invitations: made by the operator, from another process and also while the relay runs, and used by registrations.

use std::path::Path;

use kuvert_relay::admin::Invitation;
use kuvert_relay::store::{InvitationHash, NewInvitation, StoreError};
use rusqlite::{Connection, Row};

use super::column::{signed, unsigned};
use super::schema::{commit_error, store_error};
use super::{DATABASE_FILE, OpenError, schema, times};

/// The operator's hand on the invitations of a store. The relay's lock is not taken; each call is one short transaction.
pub struct Invitations(Connection);

impl Invitations {
    /// Opens the store in `directory`, which a relay of this version has made.
    ///
    /// # Errors
    /// [`OpenError::Missing`], [`OpenError::Foreign`], [`OpenError::Newer`], [`OpenError::Older`], and what the operating
    /// system says.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        schema::open_beside(&directory.join(DATABASE_FILE)).map(Self)
    }

    /// As [`kuvert_relay::store::Store::add_invitation`]. Invitations that ended before this one was made are forgotten.
    ///
    /// # Errors
    /// The files cannot be written, or a relay held them for too long.
    pub fn add(&mut self, invitation: &NewInvitation) -> Result<(), StoreError> {
        let transaction = self.0.transaction().map_err(|error| store_error(&error))?;
        add(&transaction, invitation).map_err(|error| store_error(&error))?;
        transaction.commit().map_err(|error| commit_error(&error))
    }

    /// All invitations with uses left, oldest first.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn list(&self) -> Result<Vec<Invitation>, StoreError> {
        let read = || {
            let mut select = self
                .0
                .prepare("SELECT hash, uses_left, created_at, expires_at FROM invitation ORDER BY created_at, hash")?;
            select.query_map([], invitation)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| store_error(&error))
    }

    /// Takes an invitation back. `false`: there is none like that.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn revoke(&mut self, hash: &InvitationHash) -> Result<bool, StoreError> {
        let deleted = self.0.execute("DELETE FROM invitation WHERE hash = ?1", [hash]);
        deleted.map(|count| count > 0).map_err(|error| commit_error(&error))
    }
}

fn invitation(row: &Row<'_>) -> rusqlite::Result<Invitation> {
    Ok(Invitation {
        hash: row.get(0)?,
        uses_left: unsigned(row, 1)?,
        created_at: unsigned(row, 2)?,
        expires_at: unsigned(row, 3)?,
    })
}

/// Runs within a transaction.
pub(super) fn add(connection: &Connection, new: &NewInvitation) -> rusqlite::Result<()> {
    // By the earlier of two times: a clock that is ahead must not end what is good.
    let ended = times::known(connection)?.map_or(new.created_at, |known| known.min(new.created_at));
    connection.execute("DELETE FROM invitation WHERE expires_at <= ?1", [signed(ended)])?;
    connection
        .execute(
            "INSERT OR REPLACE INTO invitation(hash, uses_left, created_at, expires_at) VALUES(?1, ?2, ?3, ?4)",
            (new.hash, new.uses, signed(new.created_at), signed(new.expires_at)),
        )
        .map(drop)
}

/// Counts one use, within the transaction that makes the account. `false`: unknown, used up or too old.
pub(super) fn take(connection: &Connection, hash: &InvitationHash, now: u64) -> rusqlite::Result<bool> {
    let mut update = connection.prepare_cached(
        "UPDATE invitation SET uses_left = uses_left - 1 WHERE hash = ?1 AND uses_left > 0 AND expires_at > ?2",
    )?;
    if update.execute((hash, signed(now)))? == 0 {
        return Ok(false);
    }
    connection.prepare_cached("DELETE FROM invitation WHERE hash = ?1 AND uses_left = 0")?.execute([hash])?;
    Ok(true)
}

//! What an operator's program does to the files of a relay, also while it runs: no lock is taken, and each operation is
//! short.

use std::path::{Path, PathBuf};

use kuvert_relay::admin::{Admin, BackupMade, Invitation, KnownAccount, Rights, WaitingEnvelope};
use kuvert_relay::store::{Cursor, InvitationHash, NewInvitation, Stats, StoreError};
use kuvert_types::AccountId;

use crate::backup::{self, BackupError};
use crate::people::{People, PeopleError, holds, look};
use crate::store::invitations::Invitations;
use crate::store::{Inspector, OpenError};

/// Why an operation fails. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// `relay.db` cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// `people.db` cannot be used.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// They cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
}

/// [`Admin`] on a data directory.
#[derive(Clone, Debug)]
pub struct SqliteAdmin {
    data: PathBuf,
}

impl SqliteAdmin {
    /// On the directory of a relay of this version.
    ///
    /// # Errors
    /// Those of [`Inspector::open`].
    pub fn open(data: &Path) -> Result<Self, OpenError> {
        drop(Inspector::open(data)?);
        Ok(Self { data: data.to_owned() })
    }

    /// On a directory that nothing is known of yet. A backup of one that an earlier version wrote is made this way.
    pub fn at(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    fn inspector(&self) -> Result<Inspector, OpenError> {
        Inspector::open(&self.data)
    }
}

impl Admin for SqliteAdmin {
    type Error = AdminError;

    fn invite(&mut self, invitation: &NewInvitation) -> Result<(), AdminError> {
        Ok(Invitations::open(&self.data)?.add(invitation)?)
    }

    fn invitations(&self) -> Result<Vec<Invitation>, AdminError> {
        Ok(Invitations::open(&self.data)?.list()?)
    }

    fn revoke(&mut self, hash: &InvitationHash) -> Result<bool, AdminError> {
        Ok(Invitations::open(&self.data)?.revoke(hash)?)
    }

    fn hold(&mut self, account: &AccountId, reason: &str, now: u64) -> Result<bool, AdminError> {
        if !self.inspector()?.knows(account)? {
            return Ok(false);
        }
        People::beside(&self.data)?.transact(|tx| holds::add(tx, account, reason, now))?;
        Ok(true)
    }

    fn held_report(&self, account: &AccountId) -> Result<Option<Vec<u8>>, AdminError> {
        Ok(People::beside(&self.data)?.transact(|tx| holds::report(tx, account))?)
    }

    fn release(&mut self, account: &AccountId) -> Result<bool, AdminError> {
        Ok(People::beside(&self.data)?.transact(|tx| holds::release(tx, account))?)
    }

    fn rights(&self) -> Result<Rights, AdminError> {
        let people = People::open_read_only(&self.data)?;
        Ok(people.map(|people| people.transact(look::rights)).transpose()?.unwrap_or_default())
    }

    fn stats(&self) -> Result<Stats, AdminError> {
        Ok(self.inspector()?.stats()?)
    }

    fn accounts(&self) -> Result<Vec<KnownAccount>, AdminError> {
        Ok(self.inspector()?.accounts()?)
    }

    fn waiting(&self, after: Cursor, limit: usize) -> Result<Vec<WaitingEnvelope>, AdminError> {
        Ok(self.inspector()?.waiting(after, limit)?)
    }

    fn back_up(&self, to: &Path, now: u64) -> Result<BackupMade, AdminError> {
        let made = backup::create(&self.data, to, now)?;
        let has_key = made.has_key();
        Ok(BackupMade { made_at: made.made_at, accounts: made.accounts, waiting: made.waiting, has_key })
    }
}

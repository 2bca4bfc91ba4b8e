//! What an operator's program does to a relay from outside, also while it runs, behind one trait. Operations block: they are
//! a program's, not a connection's.

use std::path::Path;

use kuvert_types::{AccountId, Address, BlobId, EnvelopeId};

use crate::data_rights::ReportRequest;
use crate::store::{Cursor, InvitationHash, NewInvitation, Stats, StoreError};

/// An invitation as stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invitation {
    /// Of its code.
    pub hash: InvitationHash,
    /// Accounts that may still be made with it.
    pub uses_left: u64,
    /// When it was made, Unix milliseconds.
    pub created_at: u64,
    /// When it stops being good, Unix milliseconds.
    pub expires_at: u64,
}

/// A legal hold, and what is left under it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// Whose data.
    pub account: AccountId,
    /// Why.
    pub reason: String,
    /// Since when, Unix milliseconds; for an account that was deleted, when that was.
    pub at: u64,
    /// Bytes of the report, if the account was deleted.
    pub held: Option<u64>,
}

/// What accounts asked for, and what is left of deleted ones.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Rights {
    /// Reports that were asked for.
    pub requests: Vec<(AccountId, ReportRequest)>,
    /// Days since 1970-01-01 on which accounts were deleted, and how many.
    pub deletions: Vec<(u64, u64)>,
    /// Rows on limits that accounts ran into.
    pub incidents: u64,
    /// What the law holds back.
    pub holds: Vec<Hold>,
}

/// A blob, as an operator sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownBlob {
    /// Its name.
    pub id: BlobId,
    /// Who uploaded it.
    pub account: AccountId,
    /// Its bytes.
    pub size: u64,
    /// Those that have come.
    pub durable: u64,
    /// When the upload began, Unix milliseconds.
    pub created_at: u64,
    /// When it was complete, Unix milliseconds; `None`: it is not.
    pub committed_at: Option<u64>,
    /// Whether its readers have one capability together.
    pub shared: bool,
    /// Capabilities that are left.
    pub readers: u64,
}

/// Everything that a relay knows of one waiting envelope, but for the sealed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitingEnvelope {
    /// Place in the order of arrival.
    pub cursor: Cursor,
    /// Drawn by the sender.
    pub id: EnvelopeId,
    /// Where it goes.
    pub recipient: Address,
    /// Where it comes from, when the sender told.
    pub sender: Option<Address>,
    /// Bytes of ciphertext.
    pub size: u64,
    /// Unix milliseconds.
    pub accepted_at: u64,
}

/// Everything that a relay knows of one account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownAccount {
    /// Its identifier.
    pub account: AccountId,
    /// Hexadecimal.
    pub account_key: String,
    /// The number of its newest device list.
    pub device_list_number: i64,
    /// The name that it took.
    pub name: Option<String>,
    /// The phone number that it gave.
    pub phone: Option<String>,
    /// Unix milliseconds.
    pub registered_at: u64,
    /// Whether the hash of an access key is stored.
    pub access_key: bool,
    /// Whether it takes sealed mail with that key.
    pub sealed_mail: bool,
    /// Accounts whose mail is dropped for it.
    pub blocked: Vec<AccountId>,
    /// Its devices.
    pub devices: Vec<KnownDevice>,
}

/// One of its devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownDevice {
    /// Its number within the account.
    pub device: u32,
    /// Hexadecimal.
    pub signing_key: String,
    /// Hexadecimal.
    pub identity_key: String,
    /// One-time prekeys that are left.
    pub one_time: u64,
    /// One-time KEM prekeys that are left.
    pub one_time_kem: u64,
    /// Envelopes that expired and of which the device has not been told.
    pub expired: u64,
    /// The day on which it was last here, days since 1970-01-01, UTC.
    pub last_seen_day: Option<u32>,
}

/// A backup that was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackupMade {
    /// Unix milliseconds.
    pub made_at: u64,
    /// Accounts.
    pub accounts: u64,
    /// Envelopes that waited.
    pub waiting: u64,
    /// Whether the relay's key is in it: the self-made one is, an operator's own files are not.
    pub has_key: bool,
}

/// An operator's hand on a relay's data.
pub trait Admin {
    /// Why an operation fails.
    type Error: From<StoreError>;

    // ---- invitations

    /// Makes an invitation good. Invitations that ended before this one was made are forgotten.
    ///
    /// # Errors
    /// The data cannot be written.
    fn invite(&mut self, invitation: &NewInvitation) -> Result<(), Self::Error>;

    /// All invitations with uses left, oldest first.
    ///
    /// # Errors
    /// The data cannot be read.
    fn invitations(&self) -> Result<Vec<Invitation>, Self::Error>;

    /// Takes an invitation back. `false`: there is none like that.
    ///
    /// # Errors
    /// The data cannot be written.
    fn revoke(&mut self, hash: &InvitationHash) -> Result<bool, Self::Error>;

    // ---- legal holds

    /// Puts an account under a hold, or gives its hold another reason. `false`: there is no such account.
    ///
    /// # Errors
    /// The data cannot be written.
    fn hold(&mut self, account: &AccountId, reason: &str, now: u64) -> Result<bool, Self::Error>;

    /// The report that is kept of a deleted account.
    ///
    /// # Errors
    /// The data cannot be read.
    fn held_report(&self, account: &AccountId) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Ends a hold, and deletes what was kept under it. `false`: there was none.
    ///
    /// # Errors
    /// The data cannot be written.
    fn release(&mut self, account: &AccountId) -> Result<bool, Self::Error>;

    // ---- looking

    /// What accounts asked for, what is left of deleted ones, and the holds.
    ///
    /// # Errors
    /// The data cannot be read.
    fn rights(&self) -> Result<Rights, Self::Error>;

    /// What the relay holds in sum.
    ///
    /// # Errors
    /// The data cannot be read.
    fn stats(&self) -> Result<Stats, Self::Error>;

    /// All accounts, in the order of registration.
    ///
    /// # Errors
    /// The data cannot be read.
    fn accounts(&self) -> Result<Vec<KnownAccount>, Self::Error>;

    /// At most `limit` waiting envelopes of all mailboxes that arrived after `after`.
    ///
    /// # Errors
    /// The data cannot be read.
    fn waiting(&self, after: Cursor, limit: usize) -> Result<Vec<WaitingEnvelope>, Self::Error>;

    // ---- backup

    /// Backs the relay up into the new directory `to`, which has its name only when the backup is whole, checked and on the
    /// disk.
    ///
    /// # Errors
    /// The data cannot be read, or `to` cannot be made. What was begun is taken away.
    fn back_up(&self, to: &Path, now: u64) -> Result<BackupMade, Self::Error>;
}

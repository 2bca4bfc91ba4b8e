//! Errors of the store: one enum per operation that has rules of its own, and [`StoreError`] for what can go wrong with
//! any of them. Rule errors are the caller's to report; a [`StoreError`] is the relay's own trouble.

use kuvert_types::limits::{MAX_BLOCKED, MAX_CIPHERTEXT_BYTES, MAX_ONE_TIME_PREKEYS};

use super::PrekeyKind;
pub use crate::mailbox::MailboxFull;

/// The store failed, whatever was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing happened. Try again later.
    #[error("the store cannot do this now: {0}")]
    Unavailable(#[from] Unavailable),
    /// It may or may not have happened. Try again: every operation stands being repeated.
    #[error("the store does not know whether this was written: {0}")]
    Unknown(String),
    /// The files do not hold what they should.
    #[error("the store's files are damaged: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Its kind, as logs may hold it: its words can hold paths.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(Unavailable::DiskFull) => "disk full",
            Self::Unavailable(Unavailable::Io(_)) => "input/output",
            Self::Unavailable(Unavailable::Overloaded) => "overloaded",
            Self::Unavailable(Unavailable::Stopped) => "closed",
            Self::Unknown(_) => "unknown whether written",
            Self::Corrupt(_) => "damaged files",
        }
    }
}

/// Why nothing happened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unavailable {
    /// No room for more. Reading and deleting go on; writing resumes by itself once there is room.
    #[error("no space left on the disk of the data directory")]
    DiskFull,
    /// The operating system refused.
    #[error("input/output error: {0}")]
    Io(String),
    /// More work is queued than the store accepts.
    #[error("too much is queued")]
    Overloaded,
    /// The store was closed.
    #[error("the store is closed")]
    Stopped,
}

/// Why an envelope was not stored.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubmitError {
    /// No such device.
    #[error("no device has this address")]
    UnknownMailbox,
    /// The recipient must fetch first.
    #[error(transparent)]
    Full(#[from] MailboxFull),
    /// Over [`MAX_CIPHERTEXT_BYTES`].
    #[error("the ciphertext is longer than {MAX_CIPHERTEXT_BYTES} bytes")]
    TooLarge,
    /// The recipient does not want mail of the source's account. The sender is told that it was stored.
    #[error("the recipient has blocked the sender's account")]
    Blocked,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an account was not created.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RegisterError {
    /// An account with this id exists.
    #[error("the account is registered already")]
    AccountExists,
    /// Another account has this name.
    #[error("the name is taken")]
    NameTaken,
    /// The invitation is unknown, used up or too old.
    #[error("the invitation is unknown, used up or too old")]
    Invitation,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an account was not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpdateAccountError {
    /// No account has this id.
    #[error("no account has this id")]
    UnknownAccount,
    /// Another account has this name.
    #[error("the name is taken")]
    NameTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a device list was not replaced.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpdateDevicesError {
    /// No account has this id.
    #[error("no account has this id")]
    UnknownAccount,
    /// The stored list is not the one that the caller saw.
    #[error("the stored device list has number {stored} by now")]
    Conflict {
        /// Its number.
        stored: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an account was not blocked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SetBlockedError {
    /// It would be more than [`MAX_BLOCKED`].
    #[error("an account blocks at most {MAX_BLOCKED} others")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why prekeys were not published.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PublishPrekeysError {
    /// No such device.
    #[error("no device has this address")]
    UnknownDevice,
    /// An id that is not higher than all ids of its kind before.
    #[error("prekey id {id} was used before ({kind:?}): ids of a kind must rise")]
    Reused {
        /// The kind.
        kind: PrekeyKind,
        /// The id.
        id: u32,
    },
    /// More than [`MAX_ONE_TIME_PREKEYS`] of a kind.
    #[error("a device may have {MAX_ONE_TIME_PREKEYS} one-time prekeys of a kind")]
    TooMany {
        /// The kind.
        kind: PrekeyKind,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why no bundle was taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TakeBundleError {
    /// No such device.
    #[error("no device has this address")]
    UnknownDevice,
    /// The device has not published what a session needs.
    #[error("the device has published no prekeys yet")]
    NoPrekeys,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

//! What the client keeps, behind one trait.
//!
//! A store holds *tables* (key to value) and *logs* (entries in order, found by key or by group). Everything happens in
//! transactions; a transaction that writes excludes every other writer from its first moment, so that a session is never
//! loaded by two processes at once and two ciphertexts are never made from one message key.
//!
//! | module | holds |
//! |---|---|
//! | [`sqlite`] | the backend for real homes: one file, every value sealed |
//! | `frozen` | a file that cannot be written |
//! | `copy` | all rows of a file, out of it and into another one |
//! | [`memory`] | a model in memory, for tests and for clients that keep nothing |
//! | [`conformance`] | what every backend must do, to be run by its tests |
//!
//! Not its concern: what the values mean (`state`), when to write (`send`, `receive`).

pub mod conformance;
pub(crate) mod copy;
mod frozen;
pub mod memory;
pub mod sqlite;

pub(crate) use self::frozen::is_frozen;

use zeroize::Zeroizing;

use crate::error::Error;

/// A value as read. Wiped when dropped: some values are secret keys.
pub type Value = Zeroizing<Vec<u8>>;

/// Tables. The numbers are part of the stored form.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Table {
    /// Single rows about this account and device.
    Own = 1,
    /// Contacts, by account id.
    Contact = 2,
    /// Sessions, by address.
    Session = 3,
    /// Secret prekeys, by kind and id.
    Prekey = 4,
    /// Envelopes received by homes of version 1, by id. Later ones are in [`Log::Received`].
    Received = 5,
    /// Messages not yet shown, by place in the log.
    Unshown = 6,
    /// Receipts that are due, by account and message id.
    ReceiptDue = 7,
    /// Things remembered about a remote device, by address.
    Peer = 8,
    /// First messages seen with a last-resort KEM prekey, by the prekey's id.
    Replay = 9,
    /// Messages that were deleted here, by their key in [`Log::Message`].
    Deleted = 10,
    /// What the owner keeps beside a conversation: its draft, whether it is muted; by conversation.
    Conversation = 11,
    /// Files that wait to be sent, by their message's key and their number. Since version 6.
    Upload = 12,
    /// Files that came and are not here yet, by their message's key and their number.
    Fetch = 13,
    /// Files of the home's directory that are to be removed, by their place in it.
    Unlink = 14,
}

impl Table {
    /// All tables.
    pub(crate) const ALL: [Self; 14] = [
        Self::Own,
        Self::Contact,
        Self::Session,
        Self::Prekey,
        Self::Received,
        Self::Unshown,
        Self::ReceiptDue,
        Self::Peer,
        Self::Replay,
        Self::Deleted,
        Self::Conversation,
        Self::Upload,
        Self::Fetch,
        Self::Unlink,
    ];
}

/// Logs. The numbers are part of the stored form.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Log {
    /// Texts of all conversations in order of arrival; a group is a conversation.
    Message = 1,
    /// What waits to be accepted by the relay; a group is a conversation.
    Outbox = 2,
    /// Envelopes that opened, in order of arrival, by who sent them and id. Without groups.
    Received = 3,
    /// Mail that waits until something is known about its sender; a group is an account.
    Held = 4,
    /// The envelopes of what waits in [`Log::Outbox`], one for each device; a group is an entry.
    Envelope = 5,
}

impl Log {
    /// All logs.
    pub(crate) const ALL: [Self; 5] = [Self::Message, Self::Outbox, Self::Received, Self::Held, Self::Envelope];
}

/// A table or a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// A table.
    Table(Table),
    /// A log.
    Log(Log),
}

/// A row or an entry that could not be read, and that was removed. What it was called is known in the store's own form only:
/// [`Transaction::was`] and [`Transaction::was_in`] compare.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// Where it stood.
    pub part: Part,
    /// Its key, as the store keeps keys.
    pub key: Vec<u8>,
    /// An entry's group, as the store keeps groups.
    pub group: Option<Vec<u8>>,
}

/// One entry of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Rises with every append to any log; never given twice.
    pub place: u64,
    /// The key it was appended with.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Value,
}

/// What a transaction is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Sees one state of the store and changes nothing.
    Read,
    /// Excludes other writers; after the commit the change survives a power failure.
    Write,
    /// As `Write`, but the commit survives a kill of the process only, until the next `Write` commits. For what costs
    /// little when it is lost: a message shown twice, a late tick, an envelope submitted again.
    WriteRelaxed,
}

/// Storage of a client.
pub trait Store: Send {
    /// Starts a transaction. Without a [`Transaction::commit`] it changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another writer does not finish in time.
    fn begin(&mut self, mode: Mode) -> Result<Box<dyn Transaction + '_>, StoreError>;

    /// A number that differs once another handle on the same data, of this process or of another one, has committed a change.
    /// The commits of this handle may change it, too.
    ///
    /// # Errors
    /// The data cannot be read.
    fn changes(&mut self) -> Result<u64, StoreError>;

    /// Leaves nothing of what was deleted or replaced where the values are kept. A store that keeps no bytes of what is gone has
    /// nothing to do.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process does not let go in time; [`StoreError::DiskFull`]. It can be tried again.
    fn scrub(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// One transaction: sees its own changes; no other does before the commit.
pub trait Transaction {
    /// The value under a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, StoreError>;

    /// Puts or replaces a value.
    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Deletes a key; whether it was there.
    fn delete(&self, table: Table, key: &[u8]) -> Result<bool, StoreError>;

    /// All of a table, ascending by key.
    fn list(&self, table: Table) -> Result<Vec<(Vec<u8>, Value)>, StoreError>;

    /// How many keys a table has.
    fn count(&self, table: Table) -> Result<u64, StoreError>;

    /// Appends to a log; the place, or `None` if the key is there already (nothing changes then).
    fn append(&self, log: Log, group: &[u8], key: &[u8], value: &[u8]) -> Result<Option<u64>, StoreError>;

    /// The entry with a key.
    fn find(&self, log: Log, key: &[u8]) -> Result<Option<Entry>, StoreError>;

    /// The entry at a place.
    fn at(&self, log: Log, place: u64) -> Result<Option<Entry>, StoreError>;

    /// Replaces the value of an entry, which keeps place, group and key; whether it was there.
    fn replace(&self, log: Log, place: u64, value: &[u8]) -> Result<bool, StoreError>;

    /// Deletes an entry; whether it was there.
    fn remove(&self, log: Log, place: u64) -> Result<bool, StoreError>;

    /// At most `limit` entries behind `after`, ascending by place; of one group, or of all.
    fn scan(&self, log: Log, group: Option<&[u8]>, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// At most `limit` entries before `before`, descending by place; of one group, or of all.
    fn scan_back(&self, log: Log, group: Option<&[u8]>, before: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.scan(log, group, 0, usize::MAX)?;
        entries.retain(|entry| entry.place < before);
        entries.reverse();
        entries.truncate(limit);
        Ok(entries)
    }

    /// How many entries stand before `before`; of one group, or of all.
    fn count_before(&self, log: Log, group: Option<&[u8]>, before: u64) -> Result<u64, StoreError> {
        let entries = self.scan(log, group, 0, usize::MAX)?;
        Ok(entries.iter().filter(|entry| entry.place < before).count() as u64)
    }

    /// How many entries a log has.
    fn len(&self, log: Log) -> Result<u64, StoreError>;

    /// Removes every row and entry that cannot be read, since its bytes are not those that were written. A store that does not
    /// notice such damage, as one in memory, finds none.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if there are more than `limit`: nothing is removed.
    fn remove_unreadable(&self, limit: usize) -> Result<Vec<Unreadable>, StoreError>;

    /// Whether this key was that of a row or an entry that could not be read.
    fn was(&self, unreadable: &Unreadable, key: &[u8]) -> bool;

    /// Whether an entry that could not be read was in this group.
    fn was_in(&self, unreadable: &Unreadable, group: &[u8]) -> bool;

    /// Makes the changes real. After an error none of them are.
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// Why a store could not do something.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds it.
    #[error("locked by another process")]
    Locked,
    /// It cannot be written.
    #[error("read-only")]
    ReadOnly,
    /// No room.
    #[error("disk full")]
    DiskFull,
    /// What was read is not what was written.
    #[error("damaged: {0}")]
    Corrupt(String),
    /// Anything else that the file system says.
    #[error("{0}")]
    Io(String),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked => Self::StoreLocked { what: "the store" },
            StoreError::ReadOnly => Self::HomeReadOnly,
            StoreError::DiskFull => Self::DiskFull,
            StoreError::Corrupt(what) => Self::StoreCorrupt { what },
            StoreError::Io(what) => Self::StoreIo { what },
        }
    }
}

//! What the relay keeps, behind one trait.
//!
//! [`Store`] is everything that commands ask of storage; it fits an embedded database and a distributed one alike: no
//! operation spans two mailboxes, cursors rise within one mailbox only, and every write says whether it surely did not
//! happen ([`StoreError::Unavailable`]) or may have happened ([`StoreError::Unknown`]).
//!
//! | module | holds |
//! |---|---|
//! | [`memory`] | a model that keeps everything in memory; tests compare other backends with it |
//! | [`Session`] | the submits of one connection, in their order |
//! | `conformance` | what every backend has to do, as checks (feature `conformance`) |
//! | [`error`] | errors, one enum per operation |
//! | [`pending`] | [`Pending`]: the future that every operation returns |
//!
//! Not its concern: who may do what (commands), signatures and formats (`kuvert_types`), waking up recipients
//! (connections), when mail expires (`mailbox`), limits on requests.
//!
//! # Time and order
//! The store reads no clock: every time is an argument in Unix milliseconds. A method enqueues its work **when it is
//! called**, not when the returned [`Pending`] is first polled, and dropping a [`Pending`] cancels nothing. Order has an
//! owner: the submits of one [`Session`] are stored in the order of its calls, so a connection may submit many envelopes
//! without waiting between. Other operations are in no order until one has been answered.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod error;
pub mod memory;
pub mod pending;

use std::fmt;

use bytes::Bytes;
use kuvert_types::{AccessKeyHash, AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};
use subtle::{Choice, ConstantTimeEq};

pub use crate::mailbox::Occupant;
pub use error::{
    PublishPrekeysError, RegisterError, SetBlockedError, StoreError, SubmitError, TakeBundleError, Unavailable,
    UpdateAccountError, UpdateDevicesError,
};
pub use pending::Pending;

/// Storage of a relay. See the module's head for what holds for all methods.
pub trait Store: Send + Sync + 'static {
    // ---- mailboxes

    /// A session, for the submits of one connection. Opening one costs next to nothing.
    fn session(&self) -> Box<dyn Session>;

    /// [`Session::submit`] in a session of its own: no order is promised between two calls.
    ///
    /// # Errors
    /// Those of [`Session::submit`].
    fn submit_with(
        &self,
        mailbox: Address,
        envelope: NewEnvelope,
        key: Option<AccessKeyHash>,
        accepted_at: u64,
    ) -> Pending<Submitted, SubmitError> {
        self.session().submit(mailbox, envelope, key, accepted_at)
    }

    /// [`Store::submit_with`] of an envelope that came without an access key.
    ///
    /// # Errors
    /// Those of [`Session::submit`].
    fn submit(&self, mailbox: Address, envelope: NewEnvelope, accepted_at: u64) -> Pending<Submitted, SubmitError> {
        self.submit_with(mailbox, envelope, None, accepted_at)
    }

    /// The envelopes that wait behind `after`, in the order of arrival and without holes: an envelope that is left out was
    /// acknowledged or has expired. Ends at `limit` envelopes or `max_bytes` of ciphertext, whichever comes first, but
    /// holds at least one envelope if one waits and `limit` is not 0. It may lag behind concurrent submits.
    /// A mailbox that does not exist is empty.
    fn read(&self, mailbox: Address, after: Cursor, limit: usize, max_bytes: usize) -> Pending<Page, StoreError>;

    /// Deletes the envelopes up to and including `up_to` and says how many that were. Later ones are untouched. `Ok` is
    /// durable; a cursor beyond the end means "all". Callers pass only cursors that they delivered.
    fn acknowledge(&self, mailbox: Address, up_to: Cursor) -> Pending<u64, StoreError>;

    /// How much waits in a mailbox, and how many envelopes expired since [`Store::acknowledge_expired`]. A mailbox that
    /// does not exist is empty.
    fn waiting(&self, mailbox: Address) -> Pending<Waiting, StoreError>;

    /// How many envelopes were refused with [`SubmitError::Full`] since this was asked last, and whose mail takes the most
    /// room now; `None` if none was. Counted in memory only: a restart forgets it. A refusal of a blocked account's is not
    /// counted, the same envelope is with every try.
    fn take_full(&self, mailbox: Address) -> Pending<Option<FullMailbox>, StoreError>;

    /// Deletes at most `budget` envelopes accepted before `older_than` (Unix milliseconds), oldest arrival first, counts
    /// each for its mailbox and says how many there were. Fewer than `budget` means that no more are left. Meant to be
    /// called in slices, so that submits get their turn between them.
    fn expire(&self, older_than: u64, budget: usize) -> Pending<u64, StoreError>;

    /// Takes `count` off the number of expired envelopes that [`Store::waiting`] reports, down to 0 at most.
    fn acknowledge_expired(&self, mailbox: Address, count: u64) -> Pending<(), StoreError>;

    // ---- accounts and devices

    /// Creates an account with its first device and the device's empty mailbox, and counts one use of the invitation where
    /// the account comes with one; all or nothing.
    ///
    /// # Errors
    /// [`RegisterError::AccountExists`], [`RegisterError::NameTaken`], and last [`RegisterError::Invitation`].
    fn register(&self, account: NewAccount) -> Pending<(), RegisterError>;

    /// Makes an invitation good, or gives a known one this number of uses and this end.
    fn add_invitation(&self, invitation: NewInvitation) -> Pending<(), StoreError>;

    /// Looks an account up.
    fn account(&self, by: AccountBy) -> Pending<Option<AccountRecord>, StoreError>;

    /// The accounts that registered after this time (Unix milliseconds), and when each did. Looks through all.
    fn registered_since(&self, time: u64) -> Pending<Vec<(AccountId, u64)>, StoreError>;

    /// Looks a device up: the key with which it authenticates.
    fn device(&self, address: Address) -> Pending<Option<DeviceRecord>, StoreError>;

    /// Replaces an account's device list if its number is still `expected`, drops the account's devices that are not in
    /// `kept`, and adds the new ones with their empty mailboxes, all in one. What is dropped goes with its row, prekeys, waiting
    /// mail and count of expired mail, as [`Store::delete_account`] does. Says which it dropped, ascending. The caller has
    /// checked the new list's signature, that its number is higher, that it names what is kept and what is added, and that nothing
    /// that is kept is added.
    ///
    /// # Errors
    /// [`UpdateDevicesError::UnknownAccount`]; [`UpdateDevicesError::Conflict`] with the number that is stored.
    fn update_devices(
        &self,
        account: AccountId,
        expected: u64,
        list: NumberedDeviceList,
        kept: Vec<DeviceId>,
        added: Vec<NewDevice>,
    ) -> Pending<Vec<DeviceId>, UpdateDevicesError>;

    /// Sets what the access key of an account has to hash to, and what it is good for; with `None` the account has none any
    /// more. `Ok` is durable. For an account that does not exist nothing happens.
    fn set_access_key(&self, account: AccountId, key: Option<StoredAccessKey>) -> Pending<(), StoreError>;

    /// What is kept of the access key of a mailbox's account. `None`: there is none, or no such mailbox.
    fn access_key(&self, mailbox: Address) -> Pending<Option<StoredAccessKey>, StoreError>;

    /// From now on mail that names a device of `other` as its source is refused with [`SubmitError::Blocked`] in all
    /// mailboxes of `account`; with `blocked` false, no longer. What waits already stays. `Ok` is durable. Doing it again
    /// changes nothing, and so it is for an account that does not exist; whether `other` exists does not matter.
    ///
    /// # Errors
    /// [`SetBlockedError::TooMany`]: the account blocks [`MAX_BLOCKED`](kuvert_types::limits::MAX_BLOCKED) others.
    fn set_blocked(&self, account: AccountId, other: AccountId, blocked: bool) -> Pending<(), SetBlockedError>;

    /// Notes the day (days since 1970-01-01, UTC) on which a device was here, unless a later one is noted. A device that
    /// does not exist is none.
    fn note_seen(&self, device: Address, day: u32) -> Pending<(), StoreError>;

    /// Changes what an account's holder said at registration; all or nothing.
    ///
    /// # Errors
    /// [`UpdateAccountError::UnknownAccount`], [`UpdateAccountError::NameTaken`].
    fn update_account(&self, account: AccountId, change: AccountChange) -> Pending<(), UpdateAccountError>;

    /// Deletes an account with everything that belongs to it: name and number, devices, prekeys, waiting mail, the counts of
    /// expired mail and the list of accounts that it blocked. That others blocked it is theirs and stays. Mail that it sent
    /// stays where it waits, with its source: it could not be opened without. `Ok` is durable, and says whether there was
    /// such an account; the deleted bytes leave the files as those of acknowledged mail do. The name is free again.
    fn delete_account(&self, account: AccountId) -> Pending<bool, StoreError>;

    // ---- prekeys

    /// Adds one-time prekeys and replaces the signed and the last-resort prekey where given; all or nothing.
    ///
    /// Within each kind ids must be higher than every id of that kind that the device ever published, so that an id never
    /// comes back. After [`StoreError::Unknown`] a retry that fails with [`PublishPrekeysError::Reused`] tells that
    /// the first try was stored.
    ///
    /// # Errors
    /// [`PublishPrekeysError::UnknownDevice`], [`PublishPrekeysError::Reused`], [`PublishPrekeysError::TooMany`].
    fn publish_prekeys(&self, device: Address, prekeys: NewPrekeys) -> Pending<(), PublishPrekeysError>;

    /// Takes what an initiator needs to write to a device. Each one-time prekey is handed out at most once: it is deleted
    /// durably before `Ok`. Without one-time KEM prekeys the last-resort one is given, without one-time curve prekeys
    /// none. Lower ids go first.
    ///
    /// # Errors
    /// [`TakeBundleError::UnknownDevice`]; [`TakeBundleError::NoPrekeys`] while a device has not published a signed and a
    /// last-resort prekey.
    fn take_bundle(&self, device: Address) -> Pending<Bundle, TakeBundleError> {
        self.take_bundle_sparing(device, 0)
    }

    /// [`Store::take_bundle`], as if all one-time prekeys of a kind were gone while fewer than `reserve` of it are left.
    ///
    /// # Errors
    /// Those of [`Store::take_bundle`].
    fn take_bundle_sparing(&self, device: Address, reserve: u64) -> Pending<Bundle, TakeBundleError>;

    /// The bundle that [`Store::take_bundle`] gives when all one-time prekeys are gone. Takes none, however many are left.
    ///
    /// # Errors
    /// Those of [`Store::take_bundle`].
    fn last_resort_bundle(&self, device: Address) -> Pending<Bundle, TakeBundleError> {
        self.take_bundle_sparing(device, u64::MAX)
    }

    /// How many one-time prekeys are left for a device. A device that does not exist has none.
    fn count_prekeys(&self, device: Address) -> Pending<PrekeyCounts, StoreError>;

    // ---- the whole

    /// Whether new mail finds room. Where it was refused for lack of it, this looks again, at most once in a while.
    ///
    /// # Errors
    /// [`Unavailable::DiskFull`]: it is refused.
    fn room(&self) -> Pending<(), StoreError>;

    /// Bytes within the backend's files that new mail takes before the files grow. Known at once.
    fn reusable(&self) -> u64;

    /// What is known of the backend's files. Known at once.
    fn files(&self) -> StoreFiles {
        StoreFiles::default()
    }

    /// Whether what served the store before did not come to its end.
    fn was_unclean(&self) -> bool {
        false
    }

    /// What can be told at any moment, without looking through anything: for monitoring.
    fn gauges(&self) -> Pending<Gauges, StoreError>;

    /// What the relay holds in sum. May look through everything.
    fn stats(&self) -> Pending<Stats, StoreError>;

    /// What the store knows of the time.
    fn times(&self) -> Pending<Times, StoreError>;

    /// Remembers how far the relay's time has come, instead of what was remembered before.
    fn note_time(&self, known: KnownTime) -> Pending<(), StoreError>;

    /// Waiting envelopes that are stamped later than `now` (Unix milliseconds) are stamped with `now`: a clock that was ahead
    /// stamped them, and they would be kept for too long. Says how many there were. Looks through all.
    fn restamp(&self, now: u64) -> Pending<u64, StoreError>;

    /// Brings the files to rest: when it is done, the bytes of envelopes that were deleted before the call are in none of
    /// the backend's files any more.
    fn checkpoint(&self) -> Pending<(), StoreError>;

    /// Finishes what was asked before, checkpoints, and refuses everything after with [`Unavailable::Stopped`].
    fn close(&self) -> Pending<(), StoreError>;
}

/// The submits of one connection. They are stored in the order of the calls, however many are under way at once; between
/// two sessions there is no order. A session may outlive its store: then it refuses with [`Unavailable::Stopped`].
pub trait Session: Send {
    /// Puts an envelope at the end of a mailbox. `Ok` means that it is durable: it survives the process and the machine's
    /// power supply. `key` is the hash of the access key that came with it: if it is the one of the mailbox's account, or
    /// the source is that account's own, the source is a contact, else a stranger ([`crate::mailbox::share`]). A wrong one
    /// is no error.
    ///
    /// While an envelope with the same id *and the same source* waits in that mailbox, nothing changes and the answer is
    /// [`Submitted::AlreadyStored`]. That is how a sender retries after [`StoreError::Unknown`]. Envelopes without a source
    /// share their ids; nothing that another device submits under its name has any influence.
    ///
    /// # Errors
    /// [`SubmitError::UnknownMailbox`], [`SubmitError::Full`] (a bound of [`crate::mailbox::share`]; what was accepted
    /// before stays), [`SubmitError::TooLarge`]; last [`SubmitError::Blocked`]. That one, like
    /// [`Submitted::AlreadyStored`], comes after a commit of the same size as if the envelope had been stored.
    fn submit(
        &mut self,
        mailbox: Address,
        envelope: NewEnvelope,
        key: Option<AccessKeyHash>,
        accepted_at: u64,
    ) -> Pending<Submitted, SubmitError>;
}

/// A place in one mailbox. Rises with every envelope; gaps are allowed; a value is never given to a second envelope, not
/// even after the mailbox was emptied and the relay restarted. Cursors of different mailboxes must not be compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Cursor(u64);

impl Cursor {
    /// Before the first envelope.
    pub const START: Self = Self(0);

    /// Takes a cursor as it travels.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number as it travels.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a relay's time has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownTime {
    /// Unix milliseconds.
    pub at: u64,
    /// That the clock says something else.
    pub doubt: Option<Doubt>,
}

/// A clock that is far from the known time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Doubt {
    /// By how many milliseconds it is ahead; negative: behind.
    pub step_ms: i64,
    /// For how many milliseconds the relay has run with it.
    pub ran_ms: u64,
}

/// What a store knows of the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// What [`Store::note_time`] was last told.
    pub known: Option<KnownTime>,
    /// When the youngest envelope that waited when the store was opened was accepted, or the youngest account registered,
    /// whichever is later, Unix milliseconds.
    pub newest: Option<u64>,
}

/// An envelope on its way into a mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEnvelope {
    /// Drawn by the sender.
    pub id: EnvelopeId,
    /// Where it comes from, when the sender tells.
    pub source: Option<Address>,
    /// The sealed bytes.
    pub ciphertext: Bytes,
}

/// Where an envelope is after [`Store::submit`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Submitted {
    /// It was stored by this call.
    Stored {
        /// Its place in the mailbox.
        cursor: Cursor,
    },
    /// It was waiting already.
    AlreadyStored {
        /// Its place in the mailbox.
        cursor: Cursor,
    },
}

impl Submitted {
    /// The envelope's place, stored now or before.
    pub const fn cursor(self) -> Cursor {
        match self {
            Self::Stored { cursor } | Self::AlreadyStored { cursor } => cursor,
        }
    }
}

/// An envelope that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEnvelope {
    /// Its place in the mailbox.
    pub cursor: Cursor,
    /// Drawn by the sender.
    pub id: EnvelopeId,
    /// Where it comes from, when the sender told.
    pub source: Option<Address>,
    /// When the relay accepted it, Unix milliseconds.
    pub accepted_at: u64,
    /// The sealed bytes.
    pub ciphertext: Bytes,
}

/// A piece of a mailbox.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// In the order of arrival.
    pub envelopes: Vec<StoredEnvelope>,
    /// Whether more waited behind the last one.
    pub more: bool,
}

/// How much waits in a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    /// Envelopes.
    pub count: u64,
    /// Bytes of ciphertext.
    pub bytes: u64,
    /// Envelopes deleted unread because they were too old, and not yet reported to the device.
    pub expired: u64,
}

/// A mailbox in which mail did not fit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FullMailbox {
    /// Envelopes that were refused, each try counted.
    pub refused: u64,
    /// Whose mail takes the most room now, the largest first.
    pub largest: Vec<Occupant>,
}

/// What is kept of an account's access key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredAccessKey {
    /// The SHA-256 of the key.
    pub hash: AccessKeyHash,
    /// Whether sealed mail is taken with the key.
    pub sealed: bool,
}

impl StoredAccessKey {
    /// Whether the key that was shown has the hash of the one that is kept, if one is. Takes the same time for a wrong one
    /// and for none.
    pub fn opens(stored: Option<&Self>, shown: &AccessKeyHash) -> Choice {
        let none = [0; 32];
        let equal = shown.ct_eq(stored.map_or(&none, |key| &key.hash));
        equal & Choice::from(u8::from(stored.is_some()))
    }
}

/// An account with its first device, on its way in. The caller has verified the certificate and the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewAccount {
    /// The account.
    pub account: AccountId,
    /// Its key.
    pub account_key: AccountKey,
    /// The signed list of its devices.
    pub device_list: NumberedDeviceList,
    /// A name by which others find it; no other account has the same.
    pub name: Option<String>,
    /// E.164; not unique.
    pub phone: Option<String>,
    /// Unix milliseconds.
    pub registered_at: u64,
    /// Its first device.
    pub device: NewDevice,
    /// The invitation that it uses, where it needs one. Good if it has a use left and ends after `registered_at`.
    pub invitation: Option<InvitationHash>,
}

/// What a relay keeps of an invitation: the SHA-256 of its code, so that a reader of the store cannot register with it.
pub type InvitationHash = [u8; 32];

/// An invitation that is good from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewInvitation {
    /// Of its code.
    pub hash: InvitationHash,
    /// Accounts that may be made with it.
    pub uses: u32,
    /// When it was made, Unix milliseconds.
    pub created_at: u64,
    /// When it stops being good, Unix milliseconds.
    pub expires_at: u64,
}

/// A device on its way in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewDevice {
    /// Its number within the account.
    pub device: DeviceId,
    /// The key with which it authenticates.
    pub signing_key: DeviceSigningKey,
    /// Its `DeviceCertificate`, encoded.
    pub certificate: Bytes,
}

/// A device list as bytes, with the number that it carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumberedDeviceList {
    /// `DeviceListBody::number`; at most `i64::MAX`.
    pub number: u64,
    /// The `DeviceList`, encoded.
    pub bytes: Bytes,
}

/// What [`Store::update_account`] changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccountChange {
    /// `None`: the name stays. `Some(None)`: it goes. No other account has the new one.
    pub name: Option<Option<String>>,
    /// The same of the phone number, E.164; not unique.
    pub phone: Option<Option<String>>,
}

/// What [`Store::account`] looks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccountBy {
    /// The account with this id.
    Id(AccountId),
    /// The account with exactly this name.
    Name(String),
}

/// An account as stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountRecord {
    /// The account.
    pub account: AccountId,
    /// Its key.
    pub account_key: AccountKey,
    /// The signed list of its devices.
    pub device_list: NumberedDeviceList,
    /// Its devices, ascending by number.
    pub devices: Vec<DeviceRecord>,
    /// The name by which others find it.
    pub name: Option<String>,
    /// E.164.
    pub phone: Option<String>,
    /// Unix milliseconds.
    pub registered_at: u64,
}

/// A device as stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceRecord {
    /// The device.
    pub address: Address,
    /// The key with which it authenticates.
    pub signing_key: DeviceSigningKey,
    /// Its `DeviceCertificate`, encoded.
    pub certificate: Bytes,
    /// The day on which it was last here, days since 1970-01-01, UTC; [`Store::note_seen`].
    pub last_seen_day: Option<u32>,
}

/// A public prekey with the device's signature: the signed prekey and both kinds of KEM prekey.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedKey {
    /// Chosen by the device, rising.
    pub id: u32,
    /// The public key.
    pub public_key: Bytes,
    /// By the device's signing key.
    pub signature: Bytes,
}

/// A one-time curve prekey, unsigned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnsignedKey {
    /// Chosen by the device, rising.
    pub id: u32,
    /// The public key.
    pub public_key: Bytes,
}

/// Prekeys on their way in. Ids rise within each list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewPrekeys {
    /// Takes the place of the signed prekey.
    pub signed: Option<SignedKey>,
    /// Takes the place of the last-resort KEM prekey.
    pub last_resort_kem: Option<SignedKey>,
    /// To be added.
    pub one_time: Vec<UnsignedKey>,
    /// To be added.
    pub one_time_kem: Vec<SignedKey>,
}

/// The kinds of prekey, each with ids of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PrekeyKind {
    /// The signed curve prekey, one at a time.
    Signed,
    /// The last-resort KEM prekey, one at a time.
    LastResortKem,
    /// One-time curve prekeys.
    OneTime,
    /// One-time KEM prekeys.
    OneTimeKem,
}

/// What an initiator needs of one device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle {
    /// The `DeviceCertificate`, encoded.
    pub certificate: Bytes,
    /// The signed prekey.
    pub signed: SignedKey,
    /// A KEM prekey, handed out this once unless it is the last-resort one.
    pub kem: SignedKey,
    /// Whether `kem` is the last-resort prekey.
    pub kem_is_last_resort: bool,
    /// A one-time curve prekey, handed out this once.
    pub one_time: Option<UnsignedKey>,
}

/// One-time prekeys that are left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PrekeyCounts {
    /// Curve prekeys.
    pub one_time: u64,
    /// KEM prekeys.
    pub one_time_kem: u64,
}

/// How much there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gauges {
    /// Devices.
    pub devices: u64,
    /// Envelopes that wait.
    pub waiting: u64,
    /// Their bytes of ciphertext.
    pub waiting_bytes: u64,
}

/// The files of a backend, as far as it has any.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreFiles {
    /// Bytes of the database.
    pub database_bytes: u64,
    /// Bytes of its write-ahead log.
    pub log_bytes: u64,
    /// When the last backup was made, Unix milliseconds; `None`: none is known.
    pub last_backup_ms: Option<u64>,
}

/// What a relay holds in sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Accounts.
    pub accounts: u64,
    /// Devices.
    pub devices: u64,
    /// Envelopes that wait.
    pub waiting: u64,
    /// Their bytes of ciphertext.
    pub waiting_bytes: u64,
    /// One-time prekeys of both kinds.
    pub one_time_prekeys: u64,
}

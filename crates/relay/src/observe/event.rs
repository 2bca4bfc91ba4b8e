//! The events: exactly what the relay learns, when it learns it.

use std::net::SocketAddr;

use kuvert_types::{AccountId, Address, BlobId, EnvelopeId};

use crate::connection_number::ConnectionNumber;

/// Something that the relay learned. `connection` ties what one device does to where it does it from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A connection was made from this IP address and port.
    Connected {
        /// The connection.
        connection: ConnectionNumber,
        /// From where.
        from: SocketAddr,
    },
    /// It ended.
    Disconnected {
        /// The connection.
        connection: ConnectionNumber,
    },
    /// A new account with its first device.
    Registered {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device.
        device: Address,
        /// The name that it took.
        name: Option<String>,
        /// The phone number that it gave.
        phone: Option<String>,
    },
    /// A device proved itself.
    Authenticated {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device.
        device: Address,
    },
    /// A peer claimed to be a device and could not prove it.
    AuthenticationFailed {
        /// On which connection.
        connection: ConnectionNumber,
        /// Whom it claimed to be.
        claimed: Address,
    },
    /// An envelope was stored.
    Submitted {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device that was authenticated on it, if one was.
        by: Option<Address>,
        /// What the envelope names as its source, if anything.
        source: Option<Address>,
        /// Whom it is for.
        recipient: Address,
        /// Its identifier.
        id: EnvelopeId,
        /// Bytes of ciphertext.
        size: usize,
        /// It waited already: a repetition.
        repeated: bool,
    },
    /// An envelope was dropped, because its recipient has blocked the account that it names as its source.
    Dropped {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device that was authenticated on it, if one was.
        by: Option<Address>,
        /// Whom the envelope names as its source.
        source: Option<Address>,
        /// Whom it was for.
        recipient: Address,
        /// Its identifier.
        id: EnvelopeId,
        /// Bytes of ciphertext.
        size: usize,
    },
    /// An account blocked another one, or unblocked it: who wants no mail of whom.
    BlockedSet {
        /// On which connection.
        connection: ConnectionNumber,
        /// By which device.
        device: Address,
        /// Whom.
        account: AccountId,
        /// Blocked, or no longer.
        blocked: bool,
    },
    /// A device asked for its mail: it is in use now.
    Attached {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device.
        device: Address,
    },
    /// Another connection of the same device took over.
    Displaced {
        /// The connection that was displaced.
        connection: ConnectionNumber,
        /// The device.
        device: Address,
    },
    /// An envelope was sent to its device.
    Delivered {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device.
        device: Address,
        /// The envelope.
        id: EnvelopeId,
        /// Its place in the mailbox.
        cursor: u64,
        /// Bytes of ciphertext.
        size: usize,
    },
    /// A device has taken in its mail up to a place in its mailbox.
    Acknowledged {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device.
        device: Address,
        /// Up to there.
        up_to: u64,
        /// So many envelopes were deleted.
        count: u64,
    },
    /// A device has told its user that so many envelopes expired.
    ExpiryAcknowledged {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device.
        device: Address,
        /// So many.
        count: u64,
    },
    /// A device looked an account up.
    LookedUp {
        /// On which connection.
        connection: ConnectionNumber,
        /// Who.
        by: Address,
        /// The name, if it was by name.
        name: Option<String>,
        /// The account asked for, or found.
        account: Option<AccountId>,
        /// Whether it exists.
        found: bool,
    },
    /// A device is about to write to an account for the first time.
    BundleTaken {
        /// On which connection.
        connection: ConnectionNumber,
        /// Who.
        by: Address,
        /// Whose bundle.
        device: Address,
        /// Whether one-time prekeys were in it.
        one_time: bool,
    },
    /// A device published prekeys.
    PrekeysPublished {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device.
        device: Address,
        /// One-time prekeys of both kinds.
        one_time: usize,
    },
    /// A device asked how many of its one-time prekeys are left.
    PrekeysCounted {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device.
        device: Address,
    },
    /// An account changed its device list.
    DeviceListPublished {
        /// On which connection.
        connection: ConnectionNumber,
        /// By which device.
        device: Address,
        /// The new list's number.
        number: u64,
    },
    /// An account changed what it said at registration.
    AccountUpdated {
        /// On which connection.
        connection: ConnectionNumber,
        /// By which device.
        device: Address,
        /// The new name, if it took one.
        name: Option<String>,
        /// The new phone number, if it gave one.
        phone: Option<String>,
    },
    /// An account was deleted. Which one is not told: it is to be forgotten.
    AccountDeleted {
        /// On which connection.
        connection: ConnectionNumber,
    },
    /// An account wants to show that it has a phone number.
    PhoneCodeRequested {
        /// On which connection.
        connection: ConnectionNumber,
        /// By which device.
        device: Address,
        /// E.164.
        number: String,
    },
    /// It did.
    PhoneVerified {
        /// On which connection.
        connection: ConnectionNumber,
        /// By which device.
        device: Address,
        /// E.164.
        number: String,
        /// Who had the number before.
        taken_from: Option<AccountId>,
    },
    /// An account changed its profile.
    ProfileChanged {
        /// On which connection.
        connection: ConnectionNumber,
        /// By which device.
        device: Address,
    },
    /// A device looked at a profile.
    ProfileRead {
        /// On which connection.
        connection: ConnectionNumber,
        /// Who.
        by: Address,
        /// Whose.
        account: AccountId,
    },
    /// An account uploaded people whom it knows.
    AddressBookUploaded {
        /// On which connection.
        connection: ConnectionNumber,
        /// By which device.
        device: Address,
        /// So many people.
        entries: usize,
        /// So many of them have an account.
        matched: usize,
    },
    /// A client said what machine it runs on.
    DeviceReported {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device.
        device: Address,
    },
    /// An account took back what it told beyond what delivering mail needs.
    DisclosureWithdrawn {
        /// On which connection.
        connection: ConnectionNumber,
        /// By which device.
        device: Address,
    },
    /// An account began to upload a file.
    BlobCreated {
        /// On which connection.
        connection: ConnectionNumber,
        /// By which device.
        by: Address,
        /// The file.
        id: BlobId,
        /// Its padded and encrypted bytes.
        size: u64,
        /// How many may read it; `None`: they have one capability together.
        readers: Option<usize>,
    },
    /// Bytes of it came, in one go: how fast a line is, and that it broke.
    BlobUploaded {
        /// On which connection.
        connection: ConnectionNumber,
        /// By which device.
        by: Address,
        /// The file.
        id: BlobId,
        /// So many bytes came.
        size: u64,
    },
    /// It is complete: from now on it can be read, and a message that tells of it is near.
    BlobCommitted {
        /// On which connection.
        connection: ConnectionNumber,
        /// By which device.
        by: Address,
        /// The file.
        id: BlobId,
    },
    /// A peer began to read a file.
    BlobRead {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device that was authenticated on it, if one was.
        by: Option<Address>,
        /// The file.
        id: BlobId,
        /// Bytes that it asked for.
        size: u64,
    },
    /// A reader has all of a file.
    BlobDone {
        /// On which connection.
        connection: ConnectionNumber,
        /// The device that was authenticated on it, if one was.
        by: Option<Address>,
        /// The file.
        id: BlobId,
        /// It was the last: the file is gone.
        last: bool,
    },
    /// The one who uploaded a file wants it back, or takes readers off it.
    BlobDiscarded {
        /// On which connection.
        connection: ConnectionNumber,
        /// By which device.
        by: Address,
        /// The file.
        id: BlobId,
        /// So many readers were taken off; `None`: all.
        readers: Option<usize>,
    },
    /// Files were erased because they were not fetched in time, or not completed.
    BlobsExpired {
        /// So many.
        count: u64,
    },
    /// Envelopes were deleted because they were not fetched in time.
    Expired {
        /// So many.
        count: u64,
    },
}

//! Which rows there are and what they hold. Rows are protobuf messages, so that fields can be added; secret keys stand in
//! rows of their own as the bytes that the protocol crate gives, so that every copy of them is wiped.
//!
//! | table or log | key | value |
//! |---|---|---|
//! | Own | `account` | [`OwnRow`] |
//! | Own | `account secret`, `device secrets` | 32 and 64 bytes |
//! | Own | `disclosure` | [`DisclosureRow`] |
//! | Own | `prekeys` | [`PrekeyStateRow`] |
//! | Own | `replay` | the protocol's replay record |
//! | Own | `tidied` | when, u64 |
//! | Own | `told` | [`ToldRow`] |
//! | Own | `damage` | [`DamageRow`] |
//! | Own | `consumer ` ‖ name | the place of the last text that it dealt with, u64 |
//! | Contact | account id 16 | [`ContactRow`] |
//! | Session | address 20 | the protocol's session record |
//! | Peer | address 20 | [`PeerRow`] |
//! | Prekey | kind u8 ‖ id u32 | see `prekeys` |
//! | Received | envelope id 16 | when, u64; written by version 1 only |
//! | Replay | KEM prekey id u32 | the protocol's replay record of this prekey |
//! | Conversation | conversation | [`ConversationRow`]; since version 5 |
//! | Upload | as in log Message, then its number u8 | [`UploadRow`]; since version 6 |
//! | Fetch | as in log Message, then its number u8 | [`FetchRow`] |
//! | Unlink | the place below the home's directory | empty |
//! | Own | `traces` | empty |
//! | Own | `receiver` | random 16 |
//! | Own | `copy seen` | when, u64 |
//! | Unshown | place u64 | empty |
//! | ReceiptDue | conversation ‖ author's account id 16 ‖ message id 16 | 1 delivered, 2 read; then, if it is held back, until when u64 |
//! | Deleted | as in log Message | [`DeletedRow`] |
//! | log Message | conversation ‖ author's account id 16 ‖ message id 16; group: conversation | [`MessageRow`] |
//! | log Outbox | random 16; group: conversation, or [`RESETS`] | [`OutboxRow`] |
//! | log Envelope | the outbox entry's key 16 ‖ recipient's address 20; group: the entry's key | [`EnvelopeRow`] |
//! | log Received | address of the sender 20 ‖ envelope id 16 | when, u64 |
//! | log Held | address of the sender 20 ‖ envelope id 16; group: account id | [`HeldRow`] |
//!
//! A conversation stands as [`ConversationId::as_bytes`]: 16 bytes are the account id of a contact.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use kuvert_protocol::attachment::FileKey;
use kuvert_protocol::blob::BlobSecret;
use kuvert_types::{AccountId, AccountKey, Address, EnvelopeId};
use kuvert_wire::v1;
use prost::Message;

use crate::conversation::{ConversationId, MessageRef};
use crate::error::Error;
pub use crate::records::FileState;
use crate::records::{Direction, FileInfo, MessageRecord, MessageState};
use crate::store::{Entry, Log, Table, Transaction};

/// Keys of [`Table::Own`].
pub mod own {
    /// [`super::OwnRow`]
    pub const ACCOUNT: &[u8] = b"account";
    /// There: the relay does not know of all who are blocked or not, as the owner wants it.
    pub const BLOCKS: &[u8] = b"blocks";
    /// Before the name of a consumer: its cursor, u64.
    pub const CONSUMER: &[u8] = b"consumer ";
    /// There: the owner was not told of all names that changed.
    pub const NAME_NEWS: &[u8] = b"name news";
    /// The account key's seed.
    pub const ACCOUNT_SECRET: &[u8] = b"account secret";
    /// The device's two secrets.
    pub const DEVICE_SECRETS: &[u8] = b"device secrets";
    /// [`super::DamageRow`]
    pub const DAMAGE: &[u8] = b"damage";
    /// [`super::DisclosureRow`]
    pub const DISCLOSURE: &[u8] = b"disclosure";
    /// [`super::PrekeyStateRow`]
    pub const PREKEYS: &[u8] = b"prekeys";
    /// The protocol's replay record of version 1, of all prekeys.
    pub const REPLAY: &[u8] = b"replay";
    /// When old rows were last looked for, u64.
    pub const TIDIED: &[u8] = b"tidied";
    /// [`super::ToldRow`]
    pub const TOLD: &[u8] = b"told";
    /// The mark of the process that began to receive last.
    pub const RECEIVER: &[u8] = b"receiver";
    /// When another copy of this home was seen to receive, u64.
    pub const COPY_SEEN: &[u8] = b"copy seen";
    /// Before a contact's account, and alone for all: [`super::FetchedRow`].
    pub const FETCHED: &[u8] = b"fetched ";
    /// There: messages were deleted, and the store was not scrubbed since.
    pub const TRACES: &[u8] = b"traces";
}

/// This account and device.
#[derive(Clone, PartialEq, Message)]
pub struct OwnRow {
    /// The device's certificate.
    #[prost(bytes = "vec", tag = "1")]
    pub certificate: Vec<u8>,
    /// The account's device list.
    #[prost(bytes = "vec", tag = "2")]
    pub device_list: Vec<u8>,
    /// The relay's address.
    #[prost(string, tag = "3")]
    pub relay: String,
    /// The name at the relay.
    #[prost(string, optional, tag = "4")]
    pub name: Option<String>,
    /// Whether the relay confirmed the registration. Until then the row only keeps the keys for another try.
    #[prost(bool, tag = "5")]
    pub registered: bool,
    /// When the relay was asked to delete the account; 0: it was not. Set before it is asked, since the answer may get lost.
    #[prost(uint64, tag = "8")]
    pub deletion_asked_at: u64,
    /// When the account was known to be deleted; 0: it is not.
    #[prost(uint64, tag = "9")]
    pub deleted_at: u64,
    /// Whether the relay was told a phone number at registration or by a correction. Homes of older builds do not know.
    #[prost(enumeration = "PhoneTold", tag = "20")]
    pub phone_told: i32,
}

/// Whether the relay has a number that was given and not verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug, prost::Enumeration)]
#[repr(i32)]
pub enum PhoneTold {
    /// An older build did not note it.
    Unknown = 0,
    /// It has none.
    No = 1,
    /// It has one.
    Yes = 2,
}

/// How much the relay is told.
#[derive(Clone, PartialEq, Message)]
pub struct DisclosureRow {
    /// The level's number and one; 0: none was chosen.
    #[prost(uint32, tag = "1")]
    pub level_and_one: u32,
    /// The account's access key, once a level needed one.
    #[prost(bytes = "vec", tag = "2")]
    pub access_key: Vec<u8>,
    /// The hash that the relay holds of it, and behind it 1 if the relay takes anonymous mail for it; empty: none.
    #[prost(bytes = "vec", tag = "3")]
    pub published: Vec<u8>,
    /// When receipts are sent: 1 at once, 2 late, 3 never; 0: as the level does.
    #[prost(uint32, tag = "4")]
    pub receipts_and_one: u32,
    /// Until when anonymous mail that was sent before this home left the levels that take it is opened, Unix milliseconds.
    #[prost(uint64, tag = "5")]
    pub sealed_until: u64,
}

/// What the relay was told at L0.
#[derive(Clone, PartialEq, Message)]
pub struct ToldRow {
    /// Something may lie there that has to be taken back above L0.
    #[prost(bool, tag = "1")]
    pub told: bool,
    /// When the machine was told last; 0: never.
    #[prost(uint64, tag = "2")]
    pub device_at: u64,
    /// Names of what the simulated permission sheet grants.
    #[prost(string, repeated, tag = "3")]
    pub granted: Vec<String>,
}

/// Rows that were damaged and removed, until the owner was told.
#[derive(Clone, PartialEq, Message)]
pub struct DamageRow {
    /// One for each kind and account.
    #[prost(message, repeated, tag = "1")]
    pub notes: Vec<DamageNote>,
}

/// Rows of one kind and account.
#[derive(Clone, PartialEq, Message)]
pub struct DamageNote {
    /// The number of a [`DamagedPart`](crate::event::DamagedPart).
    #[prost(uint32, tag = "1")]
    pub part: u32,
    /// The account that they were about; empty: not known, or none.
    #[prost(bytes = "vec", tag = "2")]
    pub account: Vec<u8>,
    /// How many.
    #[prost(uint64, tag = "3")]
    pub count: u64,
}

/// Counters and dates of this device's prekeys.
#[derive(Clone, PartialEq, Message)]
pub struct PrekeyStateRow {
    /// The last signed prekey's number.
    #[prost(uint32, tag = "1")]
    pub last_signed: u32,
    /// The last one-time curve prekey's number.
    #[prost(uint32, tag = "2")]
    pub last_one_time: u32,
    /// The last KEM prekey's number, one-time and last-resort alike.
    #[prost(uint32, tag = "3")]
    pub last_kem: u32,
    /// When the signed and the last-resort prekey were made.
    #[prost(uint64, tag = "4")]
    pub rotated_at: u64,
    /// When the relay was last asked how many it has.
    #[prost(uint64, tag = "5")]
    pub checked_at: u64,
    /// When all mail that waited had been fetched, by the relay's clock, Unix milliseconds.
    #[prost(uint64, tag = "6")]
    pub caught_up_at: u64,
}

/// A contact.
#[derive(Clone, PartialEq, Message)]
pub struct ContactRow {
    /// The pinned account key.
    #[prost(bytes = "vec", tag = "1")]
    pub account_key: Vec<u8>,
    /// Another account key that turned up and was not accepted yet.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub changed_key: Option<Vec<u8>>,
    /// What the owner calls it.
    #[prost(string, tag = "3")]
    pub alias: String,
    /// Its name at the relay when it was added. Never changes.
    #[prost(string, optional, tag = "4")]
    pub name: Option<String>,
    /// Whether the pinned key was compared.
    #[prost(bool, tag = "5")]
    pub verified: bool,
    /// Whether its mail is dropped.
    #[prost(bool, tag = "6")]
    pub blocked: bool,
    /// When it was added.
    #[prost(uint64, tag = "7")]
    pub added_at: u64,
    /// Its newest device list that verified under the pinned key.
    #[prost(bytes = "vec", optional, tag = "8")]
    pub device_list: Option<Vec<u8>>,
    /// The highest number of its own list that it named in a message.
    #[prost(uint64, tag = "9")]
    pub claimed_number: u64,
    /// The hash that went with it.
    #[prost(bytes = "vec", tag = "10")]
    pub claimed_hash: Vec<u8>,
    /// Its access key, when it told one.
    #[prost(bytes = "vec", optional, tag = "11")]
    pub access_key: Option<Vec<u8>>,
    /// When its list was last compared with the relay's.
    #[prost(uint64, tag = "12")]
    pub compared_at: u64,
    /// It wrote first and was not accepted: nothing is sent to it.
    #[prost(bool, tag = "13")]
    pub request: bool,
    /// Its name at the relay as it was seen last.
    #[prost(string, optional, tag = "14")]
    pub seen_name: Option<String>,
    /// That name differs from the one seen before, and the owner was not told.
    #[prost(bool, tag = "15")]
    pub name_news: bool,
    /// Anonymous mail may be sent to it with its access key.
    #[prost(bool, tag = "16")]
    pub takes_sealed: bool,
    /// Whether the relay is to drop its mail, and knows it.
    #[prost(enumeration = "AtRelay", tag = "17")]
    pub at_relay: i32,
    /// Something of its was dropped for want of room: it is asked for it once it is accepted.
    #[prost(bool, tag = "18")]
    pub dropped: bool,
    /// Texts kept of it while it is a request.
    #[prost(uint32, tag = "19")]
    pub kept: u32,
    /// Their bytes.
    #[prost(uint64, tag = "20")]
    pub kept_bytes: u64,
    /// Its name at the relay before it changed, while the owner was not told of that.
    #[prost(string, optional, tag = "21")]
    pub name_before: Option<String>,
}

/// Whether the relay drops the mail of a blocked account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, prost::Enumeration)]
#[repr(i32)]
pub enum AtRelay {
    /// It does not, and is not to.
    No = 0,
    /// It is to be asked.
    Wanted = 1,
    /// It does.
    Yes = 2,
    /// It does, and is to be asked to stop.
    Unwanted = 3,
}

/// Mail that waits: for the owner to accept a changed key, or for a newer device list.
#[derive(Clone, PartialEq, Message)]
pub struct HeldRow {
    /// The envelope's id.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// The device that sent it.
    #[prost(uint32, tag = "2")]
    pub device: u32,
    /// The session message, if it could not be opened under the pinned key.
    #[prost(bytes = "vec", tag = "3")]
    pub ciphertext: Vec<u8>,
    /// The content, if it was opened and its device is not in the list known.
    #[prost(bytes = "vec", tag = "4")]
    pub content: Vec<u8>,
    /// The certificate that it was opened under.
    #[prost(bytes = "vec", tag = "5")]
    pub certificate: Vec<u8>,
    /// Since when, Unix milliseconds.
    #[prost(uint64, tag = "6")]
    pub held_at: u64,
}

/// What is remembered about a remote device that something could not be opened of, or that could not open something.
#[derive(Clone, PartialEq, Message)]
pub struct PeerRow {
    /// When a reset was last queued for it.
    #[prost(uint64, tag = "1")]
    pub reset_at: u64,
    /// When undelivered messages were last sent again because it asked for a fresh session.
    #[prost(uint64, tag = "2")]
    pub resent_at: u64,
    /// Something of its could not be opened since the last reset.
    #[prost(bool, tag = "3")]
    pub reset_due: bool,
    /// The message id of the last reset, until the device confirms it.
    #[prost(bytes = "vec", tag = "4")]
    pub unconfirmed_reset: Vec<u8>,
    /// How often that one was repeated.
    #[prost(uint32, tag = "5")]
    pub repeats: u32,
    /// It asked for a fresh session since undelivered messages were last sent again.
    #[prost(bool, tag = "6")]
    pub resend_due: bool,
    /// When a reset of its was last confirmed.
    #[prost(uint64, tag = "7")]
    pub reset_confirmed_at: u64,
    /// The message ids of the last resets of ours, the newest last.
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub own_resets: Vec<Vec<u8>>,
}

/// A text of a conversation.
#[derive(Clone, PartialEq, Message)]
pub struct MessageRow {
    /// The conversation.
    #[prost(bytes = "vec", tag = "1")]
    pub conversation: Vec<u8>,
    /// The message's id.
    #[prost(bytes = "vec", tag = "2")]
    pub id: Vec<u8>,
    /// Whether it is one's own.
    #[prost(bool, tag = "3")]
    pub outgoing: bool,
    /// The text.
    #[prost(string, tag = "4")]
    pub text: String,
    /// By the writer's clock.
    #[prost(uint64, tag = "5")]
    pub sent_at: u64,
    /// By this machine's clock.
    #[prost(uint64, tag = "6")]
    pub stored_at: u64,
    /// How far it has come.
    #[prost(enumeration = "Progress", tag = "7")]
    pub progress: i32,
    /// Why it was given up.
    #[prost(string, tag = "8")]
    pub failure: String,
    /// Of one that came in again: the reset of ours for which it was confirmed again, by the time of that reset.
    #[prost(uint64, tag = "9")]
    pub confirmed_for: u64,
    /// The account that wrote it.
    #[prost(bytes = "vec", tag = "10")]
    pub author: Vec<u8>,
    /// When the receipt of delivery of one's own message came, by this machine's clock; 0: it did not, or before version 5.
    #[prost(uint64, tag = "11")]
    pub delivered_at: u64,
    /// When the receipt of reading came; 0 as above.
    #[prost(uint64, tag = "12")]
    pub read_at: u64,
    /// Its files. Since version 6.
    #[prost(message, repeated, tag = "13")]
    pub files: Vec<FileRow>,
}

impl MessageRow {
    /// A text of one's own that is to be sent. `now`: Unix milliseconds.
    pub fn queued(message: &MessageRef, text: String, now: u64) -> Self {
        Self {
            conversation: message.conversation.as_bytes().to_vec(),
            id: message.id.as_bytes().to_vec(),
            outgoing: true,
            text,
            sent_at: now,
            stored_at: now,
            progress: Progress::Queued.into(),
            author: message.author.as_bytes().to_vec(),
            ..Self::default()
        }
    }
}

/// A file of a message.
#[derive(Clone, PartialEq, Message)]
pub struct FileRow {
    /// What the message tells of it. In a message of one's own the *blob secret* stands in place of a capability
    /// ([`crate::bridge::finish_content`]); blob, key and digest are empty until it is at the relay.
    #[prost(message, optional, tag = "1")]
    pub told: Option<v1::Attachment>,
    /// Whether it is here.
    #[prost(enumeration = "FileState", tag = "2")]
    pub state: i32,
    /// Where it is: of one that came, its name in the home's folder of files; of one's own, the path that it was sent from.
    #[prost(bytes = "vec", tag = "3")]
    pub place: Vec<u8>,
}

impl FileRow {
    /// Whether all that a message tells of it is known: it is at the relay.
    pub fn is_told(&self) -> bool {
        self.told.as_ref().is_some_and(|told| !told.blob.is_empty())
    }
}

impl FetchRow {
    /// For a file that came.
    pub fn of(file: &FileRow) -> Self {
        let (size, on_demand) = file.told.as_ref().map_or((0, false), |told| (told.size, told.view_once));
        Self { size, on_demand, ..Self::default() }
    }
}

impl UploadRow {
    /// Whether everything that is relied upon has its length.
    pub fn is_readable(&self) -> bool {
        self.file_key.len() == FileKey::LEN && self.secret.len() == BlobSecret::LEN && self.content.len() == 32
    }

    /// Whether all of it is at the relay, for good.
    pub fn is_committed(&self) -> bool {
        !self.digest.is_empty()
    }
}

/// A file that waits to be sent.
#[derive(Clone, PartialEq, Message)]
pub struct UploadRow {
    /// Where it is: a path, or a copy's place below the home's directory.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Whether it is a copy that this home made and removes.
    #[prost(bool, tag = "2")]
    pub copy: bool,
    /// Bytes of the file.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// When it was changed last, nanoseconds since 1970.
    #[prost(int64, tag = "4")]
    pub changed_at: i64,
    /// Its inode, and the device that it is on.
    #[prost(uint64, tag = "5")]
    pub inode: u64,
    /// See `inode`.
    #[prost(uint64, tag = "6")]
    pub device: u64,
    /// SHA-256 of the file.
    #[prost(bytes = "vec", tag = "7")]
    pub content: Vec<u8>,
    /// What it is encrypted under. Serves for this content alone [KV-110].
    #[prost(bytes = "vec", tag = "8")]
    pub file_key: Vec<u8>,
    /// What its readers' capabilities come from.
    #[prost(bytes = "vec", tag = "9")]
    pub secret: Vec<u8>,
    /// Whether all readers have one capability.
    #[prost(bool, tag = "10")]
    pub shared: bool,
    /// The blob's name at the relay, once it was created.
    #[prost(bytes = "vec", tag = "11")]
    pub blob: Vec<u8>,
    /// What the relay takes its bytes for.
    #[prost(bytes = "vec", tag = "12")]
    pub token: Vec<u8>,
    /// SHA-256 of the blob, once all of it is at the relay and committed.
    #[prost(bytes = "vec", tag = "13")]
    pub digest: Vec<u8>,
    /// The message was given up or deleted: the blob is to be taken from the relay.
    #[prost(bool, tag = "14")]
    pub discard: bool,
}

/// Files that were fetched in a day without being asked for.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct FetchedRow {
    /// Which day: since 1970, as this machine's clock says.
    #[prost(uint64, tag = "1")]
    pub day: u64,
    /// Bytes of them.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
}

/// A file that is not here yet.
#[derive(Clone, PartialEq, Message)]
pub struct FetchRow {
    /// Bytes of the file.
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// It is to be shown once: it is fetched when it is asked for.
    #[prost(bool, tag = "2")]
    pub on_demand: bool,
    /// It is here, and the relay is to be told that this reader is done.
    #[prost(bool, tag = "3")]
    pub done: bool,
    /// How often it came damaged.
    #[prost(uint32, tag = "4")]
    pub damaged: u32,
    /// Of one that is done: the blob, and this reader's capability.
    #[prost(bytes = "vec", tag = "5")]
    pub blob: Vec<u8>,
    /// See `blob`.
    #[prost(bytes = "vec", tag = "6")]
    pub capability: Vec<u8>,
}

/// The key of a file in its table: the message's, and its number.
pub fn file_key(message: &MessageRef, number: u8) -> Vec<u8> {
    let mut key = message_key(message);
    key.push(number);
    key
}

/// The file that a key names.
pub fn file_of_key(key: &[u8]) -> Result<(MessageRef, u8), Error> {
    let (number, message) = key.split_last().ok_or_else(|| damaged("files"))?;
    Ok((message_of_key(message)?, *number))
}

/// What the owner keeps beside a conversation. There is no row where all of it is as it is by default.
#[derive(Clone, PartialEq, Message)]
pub struct ConversationRow {
    /// What the owner began to write and did not send.
    #[prost(string, tag = "1")]
    pub draft: String,
    /// Its texts ring no bell.
    #[prost(bool, tag = "2")]
    pub muted: bool,
}

/// What is left of a message that was deleted here: that it was there. It keeps the message out when it comes again, and says
/// of a late receipt that this home did write what it is for.
#[derive(Clone, PartialEq, Message)]
pub struct DeletedRow {
    /// As in [`MessageRow`].
    #[prost(uint64, tag = "1")]
    pub confirmed_for: u64,
}

/// How far a message of one's own has come. Rises only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, prost::Enumeration)]
#[repr(i32)]
pub enum Progress {
    /// In the outbox.
    Queued = 0,
    /// Given up. Below `Accepted`: a receipt that comes after all is right.
    Failed = 1,
    /// On the relay's disk.
    Accepted = 2,
    /// In the recipient's store.
    Delivered = 3,
    /// Read.
    Read = 4,
}

/// One content for one conversation that waits to be accepted by the relay. Its envelopes, one for each device that gets it,
/// are rows of their own: [`EnvelopeRow`].
#[derive(Clone, PartialEq, Message)]
pub struct OutboxRow {
    /// The conversation.
    #[prost(bytes = "vec", tag = "1")]
    pub conversation: Vec<u8>,
    /// The content without device list states, encoded.
    #[prost(bytes = "vec", tag = "2")]
    pub content: Vec<u8>,
    /// The text's message id; empty for receipts and resets, which are no messages.
    #[prost(bytes = "vec", tag = "3")]
    pub text_id: Vec<u8>,
    /// The device that gets it, in a fresh session; 0: all devices, in the sessions that there are.
    #[prost(uint32, tag = "4")]
    pub fresh_session_with: u32,
    /// This home's account, which wrote it.
    #[prost(bytes = "vec", tag = "6")]
    pub author: Vec<u8>,
}

/// One envelope of an entry of the outbox.
#[derive(Clone, PartialEq, Message)]
pub struct EnvelopeRow {
    /// The envelope's id. It stays when the same bytes are submitted again.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// The device that it goes to: account and number.
    #[prost(bytes = "vec", tag = "2")]
    pub recipient: Vec<u8>,
    /// How far it has come.
    #[prost(enumeration = "EnvelopeState", tag = "3")]
    pub state: i32,
    /// The session message, while it is [`EnvelopeState::Encrypted`].
    #[prost(bytes = "vec", tag = "4")]
    pub ciphertext: Vec<u8>,
    /// The code of the error, if the relay refused it for good.
    #[prost(string, tag = "5")]
    pub failure: String,
}

/// How far an envelope has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, prost::Enumeration)]
#[repr(i32)]
pub enum EnvelopeState {
    /// The device is known, a session with it is missing.
    ToEncrypt = 0,
    /// It waits to be accepted.
    Encrypted = 1,
    /// On the relay's disk.
    Accepted = 2,
    /// The relay refused it for good.
    Refused = 3,
    /// The device was removed from its account's list.
    Gone = 4,
}

impl EnvelopeState {
    /// Whether nothing more comes of it.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Accepted | Self::Refused | Self::Gone)
    }
}

/// A row that the sealing vouches for but this build cannot read.
pub fn damaged(what: &str) -> Error {
    Error::StoreCorrupt { what: format!("a row of {what} cannot be read") }
}

/// Reads a row's bytes.
pub fn decode<M: Message + Default>(bytes: &[u8], what: &str) -> Result<M, Error> {
    M::decode(bytes).map_err(|_| damaged(what))
}

/// Reads a row of a table.
pub fn get<M: Message + Default>(tx: &dyn Transaction, table: Table, key: &[u8]) -> Result<Option<M>, Error> {
    tx.get(table, key)?.map(|value| decode(&value, "a table")).transpose()
}

/// This account's row.
pub fn own_row(tx: &dyn Transaction) -> Result<OwnRow, Error> {
    get(tx, Table::Own, own::ACCOUNT)?.ok_or_else(|| damaged("own account"))
}

/// Writes a row of a table.
pub fn put(tx: &dyn Transaction, table: Table, key: &[u8], row: &impl Message) -> Result<(), Error> {
    Ok(tx.put(table, key, &row.encode_to_vec())?)
}

impl ContactRow {
    /// The pinned account key.
    pub fn key(&self) -> Result<AccountKey, Error> {
        account_key(&self.account_key)
    }

    /// The key that waits to be accepted.
    pub fn changed(&self) -> Result<Option<AccountKey>, Error> {
        self.changed_key.as_deref().map(account_key).transpose()
    }
}

fn account_key(bytes: &[u8]) -> Result<AccountKey, Error> {
    Ok(AccountKey::from_bytes(bytes.try_into().map_err(|_| damaged("contacts"))?))
}

/// The account in a row.
pub fn account_id(bytes: &[u8]) -> Result<AccountId, Error> {
    AccountId::try_from(bytes).map_err(|_| damaged("accounts"))
}

/// An envelope's or message's id in a row.
pub fn envelope_id(bytes: &[u8]) -> Result<EnvelopeId, Error> {
    EnvelopeId::try_from(bytes).map_err(|_| damaged("messages"))
}

/// A conversation in a row.
pub fn conversation_id(bytes: &[u8]) -> Result<ConversationId, Error> {
    ConversationId::from_bytes(bytes).ok_or_else(|| damaged("conversations"))
}

/// The key of a message in its log, and of the receipt that is due for it.
pub fn message_key(message: &MessageRef) -> Vec<u8> {
    [message.conversation.as_bytes(), message.author.as_bytes(), message.id.as_bytes()].concat()
}

/// The message that a key names.
pub fn message_of_key(key: &[u8]) -> Result<MessageRef, Error> {
    let named = key.len().checked_sub(AccountId::LEN + EnvelopeId::LEN).ok_or_else(|| damaged("messages"))?;
    let (conversation, rest) = key.split_at(named);
    let (author, id) = rest.split_at(AccountId::LEN);
    Ok(MessageRef { conversation: conversation_id(conversation)?, author: account_id(author)?, id: envelope_id(id)? })
}

/// The key of an envelope in the logs of received and held mail. [KV-067] An id is unique for its sender only: another
/// account's envelope with the same id keeps none out.
pub fn received_key(source: &Address, id: &EnvelopeId) -> [u8; 36] {
    let mut key = [0; 36];
    key[..20].copy_from_slice(&source.to_bytes());
    key[20..].copy_from_slice(id.as_bytes());
    key
}

/// A message with its place.
pub struct Stored {
    /// Where it stands in the log.
    pub place: u64,
    /// What it is.
    pub row: MessageRow,
}

impl Stored {
    /// Reads an entry of the log of messages.
    pub fn read(entry: &Entry) -> Result<Self, Error> {
        Ok(Self { place: entry.place, row: decode(&entry.value, "messages")? })
    }

    /// The message with a key, if there is one.
    pub fn find(tx: &dyn Transaction, message: &MessageRef) -> Result<Option<Self>, Error> {
        tx.find(Log::Message, &message_key(message))?.map(|entry| Self::read(&entry)).transpose()
    }

    /// Which message.
    pub fn message(&self) -> Result<MessageRef, Error> {
        let MessageRow { conversation, author, id, .. } = &self.row;
        Ok(MessageRef {
            conversation: conversation_id(conversation)?,
            author: account_id(author)?,
            id: envelope_id(id)?,
        })
    }

    /// For the caller; `alias` is the contact's.
    pub fn record(self, tx: &dyn Transaction, alias: &str) -> Result<MessageRecord, Error> {
        let message = self.message()?;
        let direction = if self.row.outgoing { Direction::Outgoing } else { Direction::Incoming };
        let state = match (direction, self.row.progress()) {
            (Direction::Incoming, _) if tx.get(Table::Unshown, &self.place.to_be_bytes())?.is_some() => {
                MessageState::Unshown
            }
            (Direction::Incoming, _) => MessageState::Shown,
            (_, Progress::Queued) => MessageState::Queued,
            (_, Progress::Failed) => MessageState::Failed(self.row.failure),
            (_, Progress::Accepted) => MessageState::Accepted,
            (_, Progress::Delivered) => MessageState::Delivered,
            (_, Progress::Read) => MessageState::Read,
        };
        let request = direction == Direction::Incoming && is_request(tx, &message.author)?;
        let MessageRow { text, sent_at, stored_at, delivered_at, read_at, files, .. } = self.row;
        let attachments = (1..).zip(files).map(|(number, file)| attachment(number, file)).collect();
        let known = |at: u64| (at != 0).then_some(at);
        Ok(MessageRecord {
            message,
            place: self.place,
            alias: alias.to_owned(),
            direction,
            text,
            attachments,
            sent_at,
            stored_at,
            delivered_at: known(delivered_at),
            read_at: known(read_at),
            state,
            request,
        })
    }
}

/// A file of a message, for the caller.
fn attachment(number: u8, file: FileRow) -> FileInfo {
    let state = file.state();
    let told = file.told.unwrap_or_default();
    FileInfo {
        number,
        name: told.name,
        media_type: told.media_type,
        size: told.size,
        state,
        place: (!file.place.is_empty()).then(|| PathBuf::from(OsString::from_vec(file.place))),
        view_once: told.view_once,
        picture: told.picture.as_ref().map(|picture| (picture.width, picture.height)),
        thumbnail: told.picture.and_then(|picture| picture.thumbnail),
        voice_ms: told.voice.map(|voice| voice.duration_ms),
    }
}

/// Raises the progress of a message of one's own; whether that changed anything.
pub fn raise(tx: &dyn Transaction, message: &MessageRef, progress: Progress, failure: &str) -> Result<bool, Error> {
    let Some(mut stored) = Stored::find(tx, message)? else { return Ok(false) };
    if !stored.row.outgoing || stored.row.progress() >= progress {
        return Ok(false);
    }
    stored.row.set_progress(progress);
    stored.row.failure = failure.to_owned();
    tx.replace(Log::Message, stored.place, &stored.row.encode_to_vec())?;
    Ok(true)
}

/// A receipt for a message of one's own came at `at`; whether it says something new.
pub fn confirm(tx: &dyn Transaction, message: &MessageRef, progress: Progress, at: u64) -> Result<bool, Error> {
    let Some(mut stored) = Stored::find(tx, message)?.filter(|stored| stored.row.outgoing) else { return Ok(false) };
    let time = if progress == Progress::Read { &mut stored.row.read_at } else { &mut stored.row.delivered_at };
    let (first, higher) = (*time == 0, stored.row.progress() < progress);
    if !first && !higher {
        return Ok(false);
    }
    let time = if progress == Progress::Read { &mut stored.row.read_at } else { &mut stored.row.delivered_at };
    if first {
        *time = at;
    }
    if higher {
        stored.row.set_progress(progress);
        stored.row.failure.clear();
    }
    tx.replace(Log::Message, stored.place, &stored.row.encode_to_vec())?;
    Ok(higher)
}

/// Deletes what was begun to be written in a conversation.
pub fn forget_draft(tx: &dyn Transaction, conversation: &ConversationId) -> Result<(), Error> {
    let Some(mut row) = get::<ConversationRow>(tx, Table::Conversation, conversation.as_bytes())? else {
        return Ok(());
    };
    row.draft.clear();
    if row == ConversationRow::default() {
        tx.delete(Table::Conversation, conversation.as_bytes())?;
        return Ok(());
    }
    put(tx, Table::Conversation, conversation.as_bytes(), &row)
}

/// Whether an account wrote first and was not accepted yet.
pub fn is_request(tx: &dyn Transaction, account: &AccountId) -> Result<bool, Error> {
    Ok(get::<ContactRow>(tx, Table::Contact, account.as_bytes())?.is_some_and(|row| row.request))
}

/// Changes this account's row.
pub fn change_own(tx: &dyn Transaction, change: impl FnOnce(&mut OwnRow)) -> Result<(), Error> {
    let mut row = own_row(tx)?;
    change(&mut row);
    put(tx, Table::Own, own::ACCOUNT, &row)
}

/// An entry of the outbox with its place, and its envelopes.
#[derive(Clone)]
pub struct Outgoing {
    /// Where it stands.
    pub place: u64,
    /// Names it for its envelopes.
    pub key: Vec<u8>,
    /// What it is.
    pub row: OutboxRow,
    /// The conversation.
    pub conversation: ConversationId,
    /// The text, if it is one.
    pub text: Option<MessageRef>,
    /// One for each device, once the devices are known.
    pub envelopes: Vec<Envelope>,
}

/// An envelope with its place.
#[derive(Clone)]
pub struct Envelope {
    /// Where it stands.
    pub place: u64,
    /// The device that it goes to.
    pub recipient: Address,
    /// What it is.
    pub row: EnvelopeRow,
}

impl Outgoing {
    /// Reads an entry of the outbox.
    pub fn read(tx: &dyn Transaction, entry: Entry) -> Result<Self, Error> {
        let row: OutboxRow = decode(&entry.value, "the outbox")?;
        let conversation = conversation_id(&row.conversation)?;
        let text = match row.text_id.as_slice() {
            [] => None,
            id => Some(MessageRef { conversation, author: account_id(&row.author)?, id: envelope_id(id)? }),
        };
        let envelopes = tx.scan(Log::Envelope, Some(&entry.key), 0, usize::MAX)?;
        let envelopes = envelopes.iter().map(Envelope::read).collect::<Result<_, Error>>()?;
        Ok(Self { place: entry.place, key: entry.key, row, conversation, text, envelopes })
    }

    /// Entries of one group of the outbox, or of all, behind a place.
    pub fn scan(tx: &dyn Transaction, group: Option<&[u8]>, after: u64, limit: usize) -> Result<Vec<Self>, Error> {
        tx.scan(Log::Outbox, group, after, limit)?.into_iter().map(|entry| Self::read(tx, entry)).collect()
    }

    /// As it stands now. A run over the outbox that was dropped half-way may have gone on with it in its last transaction. `None`:
    /// it is gone.
    pub fn again(&self, tx: &dyn Transaction) -> Result<Option<Self>, Error> {
        tx.find(Log::Outbox, &self.key)?.map(|entry| Self::read(tx, entry)).transpose()
    }

    /// Whether nothing of it was encrypted yet.
    pub fn is_untouched(&self) -> bool {
        self.envelopes.is_empty()
    }

    /// Whether nothing more comes of any of its envelopes.
    pub fn is_settled(&self) -> bool {
        !self.envelopes.is_empty() && self.envelopes.iter().all(|envelope| envelope.row.state().is_settled())
    }

    /// Adds an envelope for a device.
    pub fn add(&mut self, tx: &dyn Transaction, recipient: Address, row: EnvelopeRow) -> Result<(), Error> {
        let key = [&self.key[..], &recipient.to_bytes()].concat();
        let place = tx.append(Log::Envelope, &self.key, &key, &row.encode_to_vec())?;
        let place = place.ok_or(Error::Internal { what: "two envelopes of an entry for one device" })?;
        self.envelopes.push(Envelope { place, recipient, row });
        Ok(())
    }

    /// Drops its envelopes: they are encrypted anew.
    pub fn clear(&mut self, tx: &dyn Transaction) -> Result<(), Error> {
        for envelope in self.envelopes.drain(..) {
            tx.remove(Log::Envelope, envelope.place)?;
        }
        Ok(())
    }

    /// Takes it out of the outbox with all of its envelopes.
    pub fn remove(mut self, tx: &dyn Transaction) -> Result<(), Error> {
        self.clear(tx)?;
        tx.remove(Log::Outbox, self.place)?;
        Ok(())
    }
}

impl Envelope {
    /// Reads an envelope of an entry of the outbox.
    pub fn read(entry: &Entry) -> Result<Self, Error> {
        let row: EnvelopeRow = decode(&entry.value, "the outbox")?;
        let recipient = Address::try_from(row.recipient.as_slice()).map_err(|_| damaged("the outbox"))?;
        Ok(Self { place: entry.place, recipient, row })
    }

    /// Stores its row.
    pub fn save(&self, tx: &dyn Transaction) -> Result<(), Error> {
        tx.replace(Log::Envelope, self.place, &self.row.encode_to_vec())?;
        Ok(())
    }

    /// Its end: the ciphertext is of no more use.
    pub fn settle(&mut self, tx: &dyn Transaction, state: EnvelopeState, failure: &str) -> Result<(), Error> {
        self.row.set_state(state);
        self.row.ciphertext.clear();
        self.row.failure = failure.to_owned();
        self.save(tx)
    }
}

/// The group of resets in the outbox: they go out before everything else.
pub const RESETS: &[u8] = b"resets";

/// Puts something at the end of the outbox.
pub fn enqueue(tx: &dyn Transaction, row: &OutboxRow) -> Result<(), Error> {
    let key = crate::rng::bytes::<16>();
    let group = if row.fresh_session_with == 0 { row.conversation.as_slice() } else { RESETS };
    tx.append(Log::Outbox, group, &key, &row.encode_to_vec())?.ok_or(Error::Internal { what: "outbox key" })?;
    Ok(())
}

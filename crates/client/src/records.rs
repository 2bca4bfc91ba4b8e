//! What the client tells its caller: plain values, no handles.

use std::path::{Path, PathBuf};

use kuvert_types::{AccountId, Address, Level, RelayUrl};

use crate::conversation::{ConversationId, MessageRef};
use crate::error::Error;

/// Who this home is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whoami {
    /// The home's directory.
    pub home: PathBuf,
    /// Account and device.
    pub address: Address,
    /// The name under which others find the account at the relay.
    pub name: Option<String>,
    /// The relay that keeps this device's mail.
    pub relay: RelayUrl,
    /// SHA-256 over account id and account key, as in invite links.
    pub fingerprint: [u8; 32],
    /// When the account was deleted at the relay, Unix milliseconds; `None`: it is there.
    pub deleted_at: Option<u64>,
    /// Envelopes that are queued and not yet accepted by the relay.
    pub queued: u64,
    /// Messages received and not yet marked as shown.
    pub unshown: u64,
    /// How much the relay is told.
    pub level: Level,
}

/// A person in the address book.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContactInfo {
    /// The account.
    pub account: AccountId,
    /// What the owner of this home calls it. Unique. Never leaves this home.
    pub alias: String,
    /// The name at the relay when it was added. It stays what it was, though the relay may call another account so by now.
    pub name: Option<String>,
    /// Whether the account key was checked: by an invite link, or by comparing safety numbers.
    pub verified: bool,
    /// Whether mail from it is dropped and mail to it refused.
    pub blocked: bool,
    /// Another account key turned up; nothing is sent until the owner accepts it
    /// ([`accept_key`](crate::Contacts::accept_key)).
    pub key_changed: bool,
    /// It wrote first and was not accepted yet ([`accept_request`](crate::Contacts::accept_request)): nothing is sent to it, not
    /// even a receipt.
    pub request: bool,
    /// Whether the relay drops its mail, or will be asked to with the next connection.
    pub blocked_at_relay: bool,
    /// When it was added, Unix milliseconds.
    pub added_at: u64,
}

impl ContactInfo {
    /// The conversation with this contact.
    pub const fn conversation(&self) -> ConversationId {
        ConversationId::Contact(self.account)
    }
}

impl From<ContactInfo> for ConversationId {
    fn from(contact: ContactInfo) -> Self {
        contact.conversation()
    }
}

impl From<&ContactInfo> for ConversationId {
    fn from(contact: &ContactInfo) -> Self {
        contact.conversation()
    }
}

/// A safety number to compare with a contact.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SafetyNumber {
    /// The contact's alias.
    pub who: String,
    /// 60 digits without spaces.
    pub digits: String,
    /// The same digits in 12 groups of 5, separated by spaces.
    pub groups: String,
    /// Whether the contact is marked as verified.
    pub verified: bool,
}

/// Which way a message went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the contact.
    Incoming,
    /// To the contact.
    Outgoing,
}

/// How far a message has come.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MessageState {
    /// Outgoing: in the outbox, not yet accepted by the relay.
    Queued,
    /// Outgoing: on the relay's disk.
    Accepted,
    /// Outgoing: in the recipient's store.
    Delivered,
    /// Outgoing: the recipient has read it.
    Read,
    /// Outgoing: given up; the code of [`crate::Error::code`] says why.
    Failed(String),
    /// Incoming: stored, not yet shown.
    Unshown,
    /// Incoming: shown.
    Shown,
}

/// One text of a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageRecord {
    /// Which message.
    pub message: MessageRef,
    /// Where it stands in the home's order of arrival: rises, and is never given twice.
    pub place: u64,
    /// The contact's alias.
    pub alias: String,
    /// Which way.
    pub direction: Direction,
    /// The text; may be empty beside files.
    pub text: String,
    /// Its files.
    pub attachments: Vec<FileInfo>,
    /// When it was written, by the writer's clock, Unix milliseconds. Nothing is ordered by it.
    pub sent_at: u64,
    /// When it was stored here, by this machine's clock, Unix milliseconds.
    pub stored_at: u64,
    /// Outgoing: when the receipt of delivery came, by this machine's clock, Unix milliseconds; `None`: not yet, or not known.
    pub delivered_at: Option<u64>,
    /// Outgoing: when the receipt of reading came.
    pub read_at: Option<u64>,
    /// How far it has come.
    pub state: MessageState,
    /// Incoming: its writer was not accepted yet.
    pub request: bool,
}

/// A file of a message. Name, media type and what else is told of it are its sender's word: a name is no path, and not safe to show as
/// it is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FileInfo {
    /// Counted from 1 within its message.
    pub number: u8,
    /// As its sender calls it; may be empty.
    pub name: String,
    /// As in `image/jpeg`.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// Whether it is here.
    pub state: FileState,
    /// Where it is: [`path`](Self::path).
    pub(crate) place: Option<PathBuf>,
    /// Its sender asks to show it once.
    pub view_once: bool,
    /// Pixels of a picture: width and height.
    pub picture: Option<(u32, u32)>,
    /// A small picture of it, a JPEG of a stranger's making: [`thumbnail_pixels`](crate::thumbnail_pixels) decodes it within bounds.
    pub thumbnail: Option<bytes::Bytes>,
    /// Milliseconds of a voice note.
    pub voice_ms: Option<u32>,
}

impl FileInfo {
    /// Where it is, in this home: one that came is in its folder of files, one of one's own where it was sent from. `None`: not
    /// here.
    pub fn path(&self, home: &Path) -> Option<PathBuf> {
        // A path that begins at the root stays as it is.
        self.place.as_ref().filter(|_| self.state == FileState::Here).map(|place| home.join(FILES).join(place))
    }
}

/// Where a file is. The numbers are part of the stored form.
#[derive(Clone, Copy, PartialEq, Eq, Debug, prost::Enumeration)]
#[repr(i32)]
pub enum FileState {
    /// At the relay.
    Remote = 0,
    /// Some of it is here.
    Partial = 1,
    /// All of it is here.
    Here = 2,
    /// Nowhere that this home could fetch it from.
    Gone = 3,
}

/// How far a file is on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Transfer {
    /// Whose file.
    pub message: MessageRef,
    /// Which of the message's, from 1.
    pub number: u8,
    /// What it is called.
    pub name: String,
    /// Whether it is sent; else fetched.
    pub upload: bool,
    /// Bytes that are durable at the other end.
    pub done: u64,
    /// Bytes of the file.
    pub total: u64,
}

impl Transfer {
    /// How far a file of a message is.
    pub fn new(message: MessageRef, number: u8, name: impl Into<String>, upload: bool, done: u64, total: u64) -> Self {
        Self { message, number, name: name.into(), upload, done, total }
    }

    /// Whether two say how far the same file is, in the same direction.
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.message, self.number, self.upload) == (other.message, other.number, other.upload)
    }
}

/// The folder of a home that files come into.
pub(crate) const FILES: &str = "files";

/// How far ahead of the time of receipt a writer's clock may be and still be believed, milliseconds.
pub const MAX_AHEAD_MS: u64 = 5 * 60 * 1000;

/// When a text was written, as it is shown to people (Unix milliseconds): by its writer's clock, also if that is long ago; by
/// the time of receipt, if the writer's clock was further ahead of it than [`MAX_AHEAD_MS`].
pub fn written_at(sent_at: u64, received_at: u64) -> u64 {
    if sent_at > received_at.saturating_add(MAX_AHEAD_MS) { received_at } else { sent_at }
}

impl MessageRecord {
    /// When it was written, as it is shown to people: see [`written_at`].
    pub fn written_at(&self) -> u64 {
        written_at(self.sent_at, self.stored_at)
    }
}

/// A message that the relay has on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Which message; the id is the one under which the first envelope waits at the relay.
    pub message: MessageRef,
    /// The recipient's alias.
    pub to: String,
    /// Whether it was submitted without this account's name.
    pub anonymous: bool,
}

/// A message that could not be sent in this flush.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NotSent {
    /// Which message.
    pub message: MessageRef,
    /// The recipient's alias.
    pub to: String,
    /// What happened.
    pub error: Error,
    /// Whether it stays in the outbox and is tried again by the next flush.
    pub will_retry: bool,
}

/// What a flush of the outbox did. Receipts are not listed.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FlushReport {
    /// In the order of acceptance.
    pub accepted: Vec<Accepted>,
    /// In the order of the outbox. A message behind one that failed is listed too: order within a conversation is kept.
    pub not_sent: Vec<NotSent>,
}

/// Why [`crate::Connection::receive`] ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReceiveEnd {
    /// Nothing waits any more.
    CaughtUp,
    /// [`ReceiveOptions::timeout`](crate::ReceiveOptions::timeout).
    Timeout,
    /// [`ReceiveOptions::max`](crate::ReceiveOptions::max).
    Max,
    /// The caller's callback said so.
    Stopped,
}

/// When receipts are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receipts {
    /// At once. What L0, L1 and L2 do unless told otherwise.
    Now,
    /// After a random time up to a minute. What L3 does unless told otherwise.
    Late,
    /// Never. Contacts then do not see that a message arrived or was read.
    Off,
}

impl Receipts {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Now, Self::Late, Self::Off];

    /// `now`, `late` or `off`.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Late => "late",
            Self::Off => "off",
        }
    }
}

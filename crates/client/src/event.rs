//! What [`crate::Connection::receive`] tells while it runs.

use std::future::{Future, ready};
use std::ops::ControlFlow;

use kuvert_types::{AccountId, EnvelopeId};

use crate::conversation::MessageRef;
use crate::error::Error;
use crate::records::{Accepted, ContactInfo, MessageRecord, NotSent, Transfer};

/// Something that the person should see, in the order in which it happened.
///
/// By the time of the call everything in it is committed to the store, except that a [`Message`](Self::Message) still
/// counts as not shown: print it, then call [`mark_shown`](crate::Client::mark_shown) or
/// [`mark_read`](crate::Client::mark_read). A message that was never marked comes again with the next `receive`.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A text arrived (or arrived earlier and was not shown yet).
    Message(MessageRecord),
    /// A message of one's own was delivered or read.
    Receipt {
        /// Which message.
        message: MessageRef,
        /// The alias of who received it.
        from: String,
        /// Delivered or read.
        kind: ReceiptKind,
        /// When the receipt was stored here, Unix milliseconds.
        at: u64,
    },
    /// A text from the outbox is on the relay's disk: this call sent it along.
    Accepted(Accepted),
    /// The relay deleted this many envelopes that had waited for too long. They cannot be had again.
    Expired {
        /// How many.
        count: u64,
    },
    /// An account that is no contact wrote. Nothing is sent to it until
    /// [`accept_request`](crate::Contacts::accept_request).
    Request(ContactInfo),
    /// The relay calls a contact's account another name than before. Its alias stays, and so does the name it was added under.
    NameChanged {
        /// Whose.
        account: AccountId,
        /// The alias.
        who: String,
        /// The name before.
        from: Option<String>,
        /// The name now; `None`: it has none any more.
        to: Option<String>,
    },
    /// Mail of a contact whose key changed is kept until [`accept_key`](crate::Contacts::accept_key), and opened then.
    Held {
        /// Whose.
        account: AccountId,
        /// The alias.
        who: String,
        /// How many envelopes of this batch.
        count: u64,
    },
    /// The relay refused mail for this device for want of room since it was last asked.
    MailboxFull {
        /// How many envelopes.
        refused: u64,
        /// The accounts that fill the mailbox, the one with the most bytes first.
        largest: Vec<Occupant>,
    },
    /// Another account key turned up for a contact. Nothing is sent to it until `accept_key`; mail under the other key
    /// is not opened.
    IdentityChanged {
        /// Whose.
        account: AccountId,
        /// The alias.
        who: String,
    },
    /// A device list was shown that contradicts what was known: a relay shows different lists to different
    /// people, or an old one.
    DeviceListConflict {
        /// Whose list.
        account: AccountId,
        /// Alias, or `you` for this home's own account.
        who: String,
        /// What contradicts.
        conflict: ListConflict,
    },
    /// Mail under a contact's name (the relay's word, or proven by its seal) could not be opened. A flush starts a fresh session, at most once an hour for each device, and the
    /// contact sends again what this home did not confirm.
    Undecryptable {
        /// From whom, as the relay says.
        account: AccountId,
        /// The alias.
        who: String,
        /// The envelope.
        envelope: EnvelopeId,
        /// Whether the next flush starts the fresh session; else it has to wait for its hour.
        reset_queued: bool,
    },
    /// The contact could not open something and started a fresh session.
    SessionReset {
        /// Who.
        account: AccountId,
        /// The alias.
        who: String,
    },
    /// A contact confirms a text that this home never wrote: the home was put back to an older state, or a copy of it is in
    /// use. A fresh session is begun with the device, at most once an hour.
    HomeBehind {
        /// Who confirms.
        account: AccountId,
        /// The alias.
        who: String,
    },
    /// Envelopes were dropped. Several of one kind are told as one event.
    Dropped {
        /// The first of them, when its id could be read.
        envelope: Option<EnvelopeId>,
        /// What was wrong with it.
        reason: DropReason,
        /// How many.
        count: u64,
    },
    /// Rows of this home's store were damaged. They were removed, and everything else goes on; what follows stands at the kind.
    Damaged {
        /// What was lost.
        part: DamagedPart,
        /// The account that it was about, where that is known.
        account: Option<AccountId>,
        /// The alias, with the account.
        who: Option<String>,
        /// How many rows.
        count: u64,
    },
    /// This machine's clock and the relay's are over a day apart: one of them is wrong. Nothing is given up for its age until
    /// they agree.
    ClocksDiffer {
        /// How far this machine's is ahead, milliseconds; negative: behind.
        ahead_ms: i64,
    },
    /// A file is on its way, and so far.
    Transfer(Transfer),
    /// A file of a message that came is here now, or could not be fetched.
    File {
        /// The message, as it stands now.
        message: MessageRecord,
        /// Which of its files, from 1.
        number: u8,
        /// Why it is not here.
        error: Option<Error>,
    },
    /// A message with files was given up.
    NotSent(NotSent),
    /// Nothing waits at the relay any more. In follow mode this comes again after every reconnect.
    CaughtUp,
    /// Follow mode: the connection is gone, the client tries to come back.
    Disconnected {
        /// Code as in [`crate::Error::code`].
        code: &'static str,
        /// What happened.
        message: String,
    },
    /// Follow mode: the connection stands again.
    Reconnected,
}

/// Takes events, one after the other. The next one comes only once the last one was taken: a reader that pauses makes the
/// whole way back to the relay pause, and nothing heaps up.
pub trait EventSink: Send {
    /// Takes an event, and says whether to go on. May be dropped while it waits, when the call of `receive` is.
    fn event(&mut self, event: Event) -> impl Future<Output = ControlFlow<()>> + Send;
}

/// A closure that never waits.
pub(crate) struct Calls<F>(pub F);

impl<F: FnMut(Event) -> ControlFlow<()> + Send> EventSink for Calls<F> {
    fn event(&mut self, event: Event) -> impl Future<Output = ControlFlow<()>> + Send {
        ready((self.0)(event))
    }
}

/// An account with mail in this device's mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Occupant {
    /// The account; `None`: all anonymous mail together.
    pub account: Option<AccountId>,
    /// The alias, where it is a contact or a request.
    pub who: Option<String>,
    /// Envelopes that wait.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a receipt says.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ReceiptKind {
    /// In the recipient's store.
    Delivered,
    /// Read by the recipient.
    Read,
}

impl ReceiptKind {
    /// In one word, as scripts get it: `delivered`, `read`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

/// What was lost of this home's store. The numbers are part of the stored form.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum DamagedPart {
    /// A kind that this build does not know.
    Other = 0,
    /// A session, or what is remembered of a contact's device. A fresh one is begun, and the contact sends again what was not
    /// confirmed.
    Session = 1,
    /// What was known of a contact or a request. If a session vouches for its key, it is a request again, under that key;
    /// whether it was compared or blocked and how it was called is lost. Without a session it has to be added anew.
    Contact = 2,
    /// A text of the history.
    Message = 3,
    /// Something that waited to be sent and is no text of the history: a receipt, a reset, a text sent again.
    Waiting = 4,
    /// A text that waited to be sent. It was queued again from the history.
    QueuedAgain = 5,
    /// Mail that was kept until its sender's key was accepted. The sender is asked for it.
    Held = 6,
    /// A receipt that was due. The other side goes on seeing its text as not delivered or not read.
    Receipt = 7,
    /// A prekey: what was written with it and did not arrive yet cannot be opened.
    Prekey = 8,
    /// The level, the access key, when receipts are sent. It is L3 without receipts until another level is chosen.
    Level = 9,
    /// How far a consumer has read. It gets texts again.
    Consumer = 10,
    /// That a text was deleted here. If it is sent again, it is shown again.
    Deleted = 11,
    /// What was begun to be written in a conversation, and whether that was muted.
    Draft = 12,
}

impl DamagedPart {
    /// The kind with a number.
    pub(crate) fn from_number(number: u32) -> Self {
        let all = [
            Self::Session,
            Self::Contact,
            Self::Message,
            Self::Waiting,
            Self::QueuedAgain,
            Self::Held,
            Self::Receipt,
            Self::Prekey,
            Self::Level,
            Self::Consumer,
            Self::Deleted,
            Self::Draft,
        ];
        all.into_iter().find(|part| u32::from(*part as u8) == number).unwrap_or(Self::Other)
    }
}

/// How device lists contradict each other.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListConflict {
    /// The signature does not verify under the pinned account key.
    Unsigned,
    /// Lower number than one already known.
    Older,
    /// Same number, other content.
    Forked,
}

/// Why an envelope was dropped.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DropReason {
    /// A field cannot be read.
    Malformed,
    /// It is addressed to another device.
    Misdelivered,
    /// It claims to come from another device than the one that encrypted it, or from a contact under another key than the
    /// contact's.
    WrongSource,
    /// It was opened before under another envelope id: a home of the sender's that was put back to an older state, or a
    /// replay.
    Replayed,
    /// Its content breaks the format.
    BadContent,
    /// Its sender is no contact, and it is no first message under the sender's name.
    UnknownSender,
    /// It comes from a device that the account's device list does not name.
    UnlistedDevice,
    /// Its sender is no contact, and it could not be opened.
    Undecryptable,
    /// It came without its sender's name, and this home takes no anonymous mail.
    AnonymousUnasked,
    /// More of its sender's mail is kept than may be until the sender is accepted. It is asked for then.
    NoRoom,
}

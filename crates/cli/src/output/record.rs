//! Every JSON object that the program prints, one variant per `type`. Scripts rely on the names: fields may be added,
//! none may change or go.

use std::path::Path;

use kuvert_client::{
    ContactInfo, Direction, FileInfo, FileState, MessageRecord, MessageState, ProfileInfo, Whoami, safe_file_name,
};
use serde::Serialize;

/// One object on stdout.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record<'a> {
    /// A new account.
    Registered {
        /// The account, 26 characters.
        account: &'a str,
        /// The number of this device.
        device: u32,
        /// `account.device`, what envelopes are addressed to.
        address: &'a str,
        /// The name that others find it by.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        /// The relay's address.
        relay: &'a str,
    },
    /// The account of this home.
    Whoami {
        /// The account, 26 characters.
        account: &'a str,
        /// The number of this device.
        device: u32,
        /// `account.device`.
        address: &'a str,
        /// The name that others find it by.
        name: Option<&'a str>,
        /// The relay's address.
        relay: &'a str,
        /// When the account was deleted at the relay, Unix milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        deleted_at: Option<u64>,
        /// Messages that wait for the relay.
        queued: u64,
        /// Messages that were received and not shown.
        unshown: u64,
        /// `L0` to `L3`: how much the relay is told.
        level: &'a str,
    },
    /// How this home stands, and whether its relay answers. No name of a contact is in it.
    Status(Box<Status<'a>>),
    /// What the relay gets to know at this home's level.
    Disclosure {
        /// `L0` to `L3`.
        level: &'a str,
        /// When receipts are sent: `now`, `late` or `off`.
        receipts: &'a str,
        /// One thing after the other.
        items: Vec<DisclosedItem<'a>>,
        /// What the level costs.
        costs: &'a str,
    },
    /// What a phone would allow.
    Permissions {
        /// Always: this program runs on no phone.
        simulated: bool,
        /// One permission after the other.
        items: Vec<PermittedItem<'a>>,
    },
    /// What others add this account with.
    Invite {
        /// Carries the address and the account key's fingerprint.
        link: &'a str,
    },
    /// A contact as it stands now.
    Contact {
        /// What the user calls it.
        alias: &'a str,
        /// The account, 26 characters.
        account: &'a str,
        /// Its name at the relay.
        name: Option<&'a str>,
        /// The account key was compared, or came in an invite link.
        verified: bool,
        /// Its messages are dropped.
        blocked: bool,
        /// Its key changed and the new one was not accepted: nothing is sent.
        key_changed: bool,
        /// It wrote and was not accepted yet: a request, and no contact.
        request: bool,
    },
    /// A contact or a request is no more. What it writes from now on is a request.
    ContactRemoved {
        /// What the user called it.
        alias: &'a str,
        /// The account, 26 characters; `kuvert history` shows by it what stays.
        account: &'a str,
        /// Texts that waited to be sent to it and were given up.
        given_up: u64,
        /// Messages that stay.
        kept: u64,
        /// Messages that were deleted.
        deleted: u64,
    },
    /// Messages were deleted here. The other side keeps its own.
    Deleted {
        /// What the user calls the contact; its account, where it was removed.
        with: &'a str,
        /// How many.
        messages: u64,
        /// Texts among them that waited to be sent and were given up.
        given_up: u64,
    },
    /// A conversation was written to files.
    Exported {
        /// Where.
        directory: &'a str,
        /// How many messages.
        messages: u64,
        /// How many files of them were copied.
        files: u64,
    },
    /// This home was written into one encrypted file.
    Backup {
        /// Where, as it was given.
        file: &'a str,
        /// Its size.
        bytes: u64,
    },
    /// A home was made of a backup.
    Restored {
        /// Where.
        home: &'a str,
        /// The account, 26 characters.
        account: &'a str,
        /// The number of this device.
        device: u32,
    },
    /// A code is on its way to a phone number.
    PhoneCodeRequested {
        /// E.164.
        phone: &'a str,
    },
    /// The relay believes that the number is this account's.
    PhoneVerified {
        /// E.164.
        phone: &'a str,
        /// Another account had it before.
        moved: bool,
    },
    /// A profile at the relay, one's own or what a contact made public.
    Profile(Box<Profile<'a>>),
    /// A person in the address book has an account.
    AddressBookMatch {
        /// The number.
        phone: &'a str,
        /// The account, 26 characters.
        account: &'a str,
    },
    /// What the relay has of this account's address book now.
    AddressBook {
        /// How many people.
        people: u32,
        /// How many of them have no account and were not asked.
        without_account: u32,
    },
    /// What two people compare.
    SafetyNumber {
        /// The contact's alias.
        who: &'a str,
        /// 60 digits.
        digits: &'a str,
        /// The user said that it was compared.
        verified: bool,
    },
    /// The relay has a message on disk.
    Accepted {
        /// The message, and the envelope that `kuvert-relay inspect` shows.
        id: &'a str,
        /// The contact's alias.
        to: &'a str,
        /// It left without this account's name. Left out where another process of this home sent it.
        #[serde(skip_serializing_if = "Option::is_none")]
        sealed: Option<bool>,
    },
    /// A message is in this home's queue.
    Queued {
        /// The message.
        id: &'a str,
        /// The contact's alias.
        to: &'a str,
    },
    /// A message, received or (in a history) sent.
    Message(Message<'a>),
    /// A file is on its way. Not every step is told; the last one is.
    Progress {
        /// `upload` or `download`.
        what: &'static str,
        /// What the file is called.
        name: &'a str,
        /// Bytes that are there for good.
        done: u64,
        /// Bytes of the file.
        total: u64,
    },
    /// A file of a message that was shown before is here now, or could not be fetched. Only where messages do not wait for their files:
    /// with `--follow`, or where an earlier command left it.
    File {
        /// The message.
        message: &'a str,
        /// The contact's alias.
        from: &'a str,
        /// The file as it stands now.
        attachment: &'a Attachment,
        /// The code of the error, where it is not here; docs/ERRORS.md lists all.
        error: Option<&'a str>,
    },
    /// A file was fetched and written.
    Saved {
        /// The file, as `attachments` of a message has it.
        id: &'a str,
        /// What it is called.
        name: &'a str,
        /// Where it is.
        path: &'a str,
        /// Its bytes.
        size: u64,
    },
    /// A contact's device has, or the contact has seen, messages of ours.
    Receipt {
        /// The message.
        id: &'a str,
        /// The contact's alias.
        from: &'a str,
        /// `delivered` or `read`.
        kind: &'static str,
    },
    /// The relay deleted messages that were not fetched in time.
    Expired {
        /// How many.
        count: u64,
    },
    /// A contact's key is another one now.
    IdentityChanged {
        /// The contact's alias.
        who: &'a str,
        /// The account, 26 characters.
        account: &'a str,
    },
    /// An account that is no contact wrote: `kuvert contact accept` makes a contact of it, `kuvert contact block` ends it.
    Request {
        /// Its alias: the beginning of its account.
        alias: &'a str,
        /// The account, 26 characters.
        account: &'a str,
    },
    /// Something else that a person should know: a message that could not be opened, a session that began anew, a
    /// connection that broke or came back.
    Notice {
        /// Stable, kebab-case.
        code: &'a str,
        /// For people.
        message: &'a str,
        /// How many of them, where several are told at once.
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    },
    /// Everything that waited has been shown; from here on messages come as they are sent. Only with `--follow`.
    CaughtUp {},
    /// This home's relay is at another address now.
    RelayMoved {
        /// Its address.
        relay: &'a str,
        /// The one before.
        before: &'a str,
    },
    /// The relay has taken the correction of name or number.
    Corrected {
        /// The name that others find the account by.
        name: Option<&'a str>,
    },
    /// A report was asked for and takes its time.
    ReportRequested {
        /// From when on it can be fetched, Unix milliseconds.
        ready_at: u64,
    },
    /// A report was written.
    Report {
        /// Where.
        directory: &'a str,
        /// How many files.
        files: usize,
        /// Until when the relay keeps it, Unix milliseconds.
        kept_until: u64,
    },
    /// A version of the demonstration's terms.
    Policy {
        /// The day it is from.
        version: &'a str,
        /// What it says.
        paragraphs: &'a [String],
        /// Days within which use for advertising can be refused; null: settings only reduce it.
        objection_days: Option<u32>,
    },
    /// A version that was accepted.
    Consent {
        /// Which.
        version: &'a str,
        /// When, Unix milliseconds.
        accepted_at: u64,
        /// Whether with use for advertising.
        advertising: bool,
        /// When that was taken back, Unix milliseconds.
        objected_at: Option<u64>,
        /// Until when it can be, Unix milliseconds; null: at any time.
        objection_until: Option<u64>,
    },
    /// What deleting the account would do; nothing was done.
    DeletionExplained {
        /// The account, 26 characters.
        account: &'a str,
        /// What goes at once.
        goes: &'a [&'a str],
        /// What stays, and why.
        stays: &'a [&'a str],
    },
    /// The account is no more.
    AccountDeleted {
        /// The account, 26 characters.
        account: &'a str,
    },
    /// How a command failed; with `line`, how one of many texts on stdin did.
    Error {
        /// Stable, kebab-case; docs/ERRORS.md lists all.
        code: &'a str,
        /// For people: what happened and what to do next.
        message: &'a str,
        /// The line of stdin that is meant, from 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<u64>,
    },
}

/// One thing that a relay may get to know.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DisclosedItem<'a> {
    /// Stable, kebab-case.
    pub item: &'a str,
    /// For people.
    #[serde(skip)]
    pub title: &'a str,
    /// `yes`, `partly` or `no`.
    pub relay: &'a str,
    /// Why, for people.
    pub why: &'a str,
}

/// A permission of the simulated sheet.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PermittedItem<'a> {
    /// Stable, kebab-case.
    pub permission: &'a str,
    /// For people.
    #[serde(skip)]
    pub title: &'a str,
    /// The row of docs/METADATA.md.
    pub row: &'a str,
    /// Whether it is granted.
    pub granted: bool,
    /// The invented line that the relay is told; null: nothing.
    pub told: Option<&'a str>,
}

/// How a home stands.
#[derive(Clone, Debug, Serialize)]
pub struct Status<'a> {
    /// The account, 26 characters.
    pub account: &'a str,
    /// The number of this device.
    pub device: u32,
    /// The name that others find it by.
    pub name: Option<&'a str>,
    /// The relay's host and port, without its fingerprint.
    pub relay: &'a str,
    /// Whether the relay answers and knows this device; null: it was not asked.
    pub reachable: Option<bool>,
    /// The code of the error, where it does not; docs/ERRORS.md lists all.
    pub relay_error: Option<&'a str>,
    /// The same for people.
    #[serde(skip)]
    pub relay_words: Option<&'a str>,
    /// How long the answer took, from the first packet to the relay's welcome, milliseconds; null: there was none.
    pub answer_ms: Option<u64>,
    /// How far this machine's clock is ahead of the relay's, milliseconds, negative behind it; null: there was no answer.
    pub clock_ahead_ms: Option<i64>,
    /// Envelopes that wait at the relay for this device, receipts among them; null: there was no answer.
    pub waiting: Option<u64>,
    /// Texts that wait to be sent.
    pub queued: u64,
    /// Messages that were received and not shown.
    pub unread: u64,
    /// Accounts that wrote first and wait to be accepted or blocked.
    pub requests: u64,
    /// Contacts whose key changed: nothing is sent to them until the new one is accepted.
    pub changed_keys: u64,
    /// When another copy of this home was last seen in use, Unix milliseconds; null: not within the last seven days.
    pub copy_seen_at: Option<u64>,
    /// `L0` to `L3`: how much the relay is told.
    pub level: &'a str,
    /// The version of this program.
    pub version: &'a str,
    /// The version of the protocol that it speaks with the relay.
    pub protocol: u32,
    /// The version of the stored form of this home.
    pub store: u32,
    /// What to do next: `register`, `relay`, `copy`, `clock`, `compare-keys`, `requests`, `receive`, `send`, `wait`, `add-contact` or
    /// `nothing`.
    pub next: &'a str,
    /// The same for people.
    pub next_words: &'a str,
}

/// A profile. Times are Unix milliseconds by the relay's clock; only those of one's own are there.
#[derive(Clone, Debug, Serialize)]
pub struct Profile<'a> {
    /// The account, 26 characters.
    pub account: &'a str,
    /// The contact's alias; null: one's own.
    pub alias: Option<&'a str>,
    /// The name to be shown.
    pub display_name: Option<&'a str>,
    /// When it was given.
    pub display_name_at: Option<u64>,
    /// The e-mail address.
    pub email: Option<&'a str>,
    /// When it was given.
    pub email_at: Option<u64>,
    /// The about text.
    pub about: Option<&'a str>,
    /// When it was written.
    pub about_at: Option<u64>,
    /// The picture's size.
    pub picture_bytes: Option<usize>,
    /// When it was given.
    pub picture_at: Option<u64>,
    /// The verified number.
    pub phone: Option<&'a str>,
    /// When it was verified.
    pub phone_at: Option<u64>,
    /// Whether others see name, about text and picture.
    pub public: bool,
}

/// A file of a message. Name, media type and what is told of pictures and voice notes are its sender's word.
#[derive(Clone, Debug, Serialize)]
pub struct Attachment {
    /// The message's id, and behind a slash the number of the file in it; `kuvert save` takes it.
    pub id: String,
    /// As its sender calls it, made safe: no separators, no invisible characters, no hidden file.
    pub name: String,
    /// As in `image/jpeg`.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// `remote`: at the relay; `partial`: some of it is here; `here`; `gone`: it cannot be had any more.
    pub state: &'static str,
    /// Where it is; null: not here.
    pub path: Option<String>,
    /// Its sender asks to show it once.
    pub view_once: bool,
    /// Pixels of a picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels of a picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Milliseconds of a voice note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u32>,
}

impl Attachment {
    /// A file of a message; `home` is the home's directory.
    pub fn of(file: &FileInfo, message: &str, home: &Path) -> Self {
        Self {
            id: format!("{message}/{}", file.number),
            name: safe_file_name(&file.name),
            media_type: file.media_type.clone(),
            size: file.size,
            state: match file.state {
                FileState::Remote => "remote",
                FileState::Partial => "partial",
                FileState::Here => "here",
                FileState::Gone => "gone",
            },
            path: file.path(home).map(|path| path.display().to_string()),
            view_once: file.view_once,
            width: file.picture.map(|(width, _)| width),
            height: file.picture.map(|(_, height)| height),
            duration_ms: file.voice_ms,
        }
    }
}

/// A message.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Message<'a> {
    /// 26 characters, the same on both sides.
    pub id: &'a str,
    /// The alias or name of who wrote it.
    pub from: &'a str,
    /// The account of who wrote it.
    pub account: &'a str,
    /// The text as it was written; may be empty beside files.
    pub text: &'a str,
    /// Its files.
    pub attachments: &'a [Attachment],
    /// When it was written, by the sender's clock, whatever that says, Unix milliseconds. For people `kuvert` shows it, or
    /// `received_at` where the sender's clock was over five minutes ahead of that.
    pub sent_at: u64,
    /// When it was fetched and stored, by this machine's clock, Unix milliseconds; null for a message of our own.
    pub received_at: Option<u64>,
    /// `in` or `out`.
    pub direction: &'static str,
    /// Of a message of our own: `queued`, `accepted`, `delivered`, `read` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// Who wrote it is no contact yet.
    pub request: bool,
    /// Of a search: the alias of the contact in whose conversation it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<&'a str>,
    /// Whether people are shown the id.
    #[serde(skip)]
    pub show_id: bool,
}

impl<'a> Record<'a> {
    /// A profile; `account` is its account as text.
    pub fn profile(profile: &'a ProfileInfo, account: &'a str) -> Self {
        Self::Profile(Box::new(Profile {
            account,
            alias: profile.alias.as_deref(),
            display_name: profile.display_name.as_deref(),
            display_name_at: profile.display_name_at,
            email: profile.email.as_deref(),
            email_at: profile.email_at,
            about: profile.about.as_deref(),
            about_at: profile.about_at,
            picture_bytes: profile.picture.as_ref().map(Vec::len),
            picture_at: profile.picture_at,
            phone: profile.phone.as_deref(),
            phone_at: profile.phone_at,
            public: profile.public,
        }))
    }

    /// A contact; `account` is its account as text.
    pub fn contact(contact: &'a ContactInfo, account: &'a str) -> Self {
        Self::Contact {
            alias: &contact.alias,
            account,
            name: contact.name.as_deref(),
            verified: contact.verified,
            blocked: contact.blocked,
            key_changed: contact.key_changed,
            request: contact.request,
        }
    }
}

/// A message of the store, with the texts that its record borrows.
#[derive(Debug)]
pub struct Entry<'a> {
    message: &'a MessageRecord,
    id: String,
    from: &'a str,
    account: String,
    attachments: Vec<Attachment>,
}

impl<'a> Entry<'a> {
    /// A stored message; `own` wrote the outgoing ones.
    pub fn of(message: &'a MessageRecord, own: &'a Whoami) -> Self {
        let id = message.message.id.to_string();
        let attachments = message.attachments.iter().map(|file| Attachment::of(file, &id, &own.home)).collect();
        match message.direction {
            Direction::Incoming => {
                Self { message, id, from: &message.alias, account: message.message.author.to_string(), attachments }
            }
            Direction::Outgoing => {
                let from = own.name.as_deref().unwrap_or("me");
                Self { message, id, from, account: own.address.account.to_string(), attachments }
            }
        }
    }

    /// Its files as they will be printed.
    pub fn attachments_mut(&mut self) -> &mut [Attachment] {
        &mut self.attachments
    }

    /// The record to print.
    pub fn record(&self) -> Record<'_> {
        Record::Message(self.message(None))
    }

    /// The record to print where people are to see its id.
    pub fn with_id(&self) -> Record<'_> {
        Record::Message(Message { show_id: true, ..self.message(None) })
    }

    /// The record to print where messages of several conversations stand together.
    pub fn found(&self) -> Record<'_> {
        Record::Message(self.message(Some(&self.message.alias)))
    }

    fn message<'b>(&'b self, with: Option<&'b str>) -> Message<'b> {
        let incoming = self.message.direction == Direction::Incoming;
        Message {
            id: &self.id,
            from: self.from,
            account: &self.account,
            text: &self.message.text,
            attachments: &self.attachments,
            sent_at: self.message.sent_at,
            received_at: incoming.then_some(self.message.stored_at),
            direction: if incoming { "in" } else { "out" },
            state: match self.message.state {
                MessageState::Queued => Some("queued"),
                MessageState::Accepted => Some("accepted"),
                MessageState::Delivered => Some("delivered"),
                MessageState::Read => Some("read"),
                MessageState::Failed(_) => Some("failed"),
                // Those of messages that came.
                _ => None,
            },
            request: self.message.request,
            with,
            show_id: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_spelt_as_scripts_expect_them() {
        let json = |record: &Record| serde_json::to_value(record).unwrap();
        let number = json(&Record::SafetyNumber { who: "bob", digits: "1", verified: false });
        assert_eq!(number, serde_json::json!({"type":"safety_number","who":"bob","digits":"1","verified":false}));
        assert_eq!(json(&Record::Expired { count: 3 }), serde_json::json!({"type":"expired","count":3}));
        assert_eq!(json(&Record::CaughtUp {}), serde_json::json!({"type":"caught_up"}));
        assert_eq!(
            json(&Record::Error { code: "c", message: "m", line: None }),
            serde_json::json!({"type":"error","code":"c","message":"m"})
        );
        let message = json(&Record::Message(Message {
            id: "i",
            from: "bob",
            account: "a",
            text: "t",
            attachments: &[],
            sent_at: 1,
            received_at: Some(2),
            direction: "in",
            state: None,
            request: false,
            with: None,
            show_id: false,
        }));
        assert_eq!(
            message,
            serde_json::json!({"type":"message","id":"i","from":"bob","account":"a","text":"t","attachments":[],"sent_at":1,"received_at":2,"direction":"in","request":false})
        );
    }
}

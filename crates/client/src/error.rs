//! One error type for the caller: a stable [`code`](Error::code) for programs, and a message that says what happened. What to type
//! is for the program to say that knows its own commands.
//! `docs/ERRORS.md` lists the codes; a test holds the two together.

use std::path::PathBuf;
use std::time::Duration;

use kuvert_types::Level;
use kuvert_types::limits::{MAX_ADDRESS_BOOK, MAX_ATTACHMENTS, MAX_NAME_BYTES, MAX_TEXT_BYTES};

use crate::invite::InviteLinkError;

/// What can go wrong, grouped by whose turn it is to do something.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // The caller gave something that cannot be used.
    /// A text without a character.
    #[error("the message is empty: write something")]
    TextEmpty,
    /// A text over [`MAX_TEXT_BYTES`].
    #[error("the message has {bytes} bytes, at most {MAX_TEXT_BYTES} can be sent: split it")]
    TextTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Bytes that are no text (for programs that read texts from files and pipes).
    #[error("the message is not valid UTF-8: send text")]
    TextNotUtf8,
    /// More files than one message takes.
    #[error("{count} files are too many for one message: at most {MAX_ATTACHMENTS}; nothing was sent")]
    TooManyFiles {
        /// How many.
        count: usize,
    },
    /// Something that cannot be sent as a file.
    #[error("{path} cannot be sent ({reason}); nothing was sent", path = path.display())]
    FileUnusable {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file over a bound.
    #[error("'{name}' is too large: it has {bytes} bytes, and at most {limit} can be sent")]
    FileTooLarge {
        /// Its name.
        name: String,
        /// Its bytes.
        bytes: u64,
        /// What would do.
        limit: u64,
    },
    /// A picture whose metadata cannot be taken out.
    #[error(
        "where {path} was taken, when and by what cannot be taken out of it ({reason}): send it as it is, if others may see that; \
         nothing was sent", path = path.display()
    )]
    PictureUnreadable {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// A voice note of another kind.
    #[error("{path} is no voice note ({reason}): record it as Ogg Opus; nothing was sent", path = path.display())]
    VoiceUnreadable {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// A file that was removed, or that changed again and again, while it was sent.
    #[error("'{name}' is not what it was when it was queued ({reason}): the message was given up; send it anew")]
    FileChanged {
        /// Its name.
        name: String,
        /// What happened to it.
        reason: String,
    },
    /// A file that cannot be fetched any more.
    #[error(
        "'{name}' is gone: it was fetched, shown once or deleted, or it lay at the relay for too long; ask for it once more"
    )]
    FileGone {
        /// Its name.
        name: String,
    },
    /// What the relay gave out is not the file of the message.
    #[error("'{name}' came damaged ({reason}); nothing of it was kept: try again, or ask for it once more")]
    FileDamaged {
        /// Its name.
        name: String,
        /// What was wrong.
        reason: String,
    },
    /// Nothing is overwritten.
    #[error("{path} is there already: choose another place", path = path.display())]
    FileExists {
        /// Where.
        path: PathBuf,
    },
    /// A message without files.
    #[error("this message has no file of that kind")]
    NoSuchFile,
    /// A home is there already.
    #[error("{} is there already: choose another place for the home", home.display())]
    HomeExists {
        /// Where.
        home: PathBuf,
    },
    /// A passphrase that is none.
    #[error("a passphrase has 1 to 4,096 bytes")]
    PassphraseUnusable,
    /// A file that no keys can be read from.
    #[error("{path} is no key file ({reason}): it has a line for each key", path = path.display())]
    BackupKeyUnusable {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The backup is for another passphrase.
    #[error("this passphrase does not open the backup: type it anew; nothing was made")]
    BackupPassphraseWrong,
    /// The backup is for another key, or for a passphrase in place of a key, or the other way round.
    #[error(
        "this is not what the backup opens with: it is for another key, or one of both is a passphrase; nothing was made"
    )]
    BackupKeyWrong,
    /// Something else than a backup.
    #[error("this is not a backup of a home; nothing was made")]
    BackupForeign,
    /// A backup of a newer program.
    #[error("this backup was made by a newer program: update this one; nothing was made")]
    BackupNewer,
    /// A backup that is not as it was written.
    #[error("the backup is damaged ({what}): try another copy of it, or an older one; nothing was made")]
    BackupDamaged {
        /// What is wrong.
        what: String,
    },
    /// A backup that cannot be written or read.
    #[error("{path} cannot be used for a backup ({reason}); nothing was made", path = path.display())]
    BackupUnusable {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A consumer's name that is empty or too long.
    #[error("a consumer's name has 1 to 64 bytes")]
    ConsumerNameInvalid,
    /// Writing to oneself.
    #[error("this is your own address: name somebody else")]
    OwnAddress,
    /// A name that no relay accepts.
    #[error("'{name}' cannot be a name: 1 to {MAX_NAME_BYTES} of a-z, 0-9, '-', '_', '.', starting with a letter")]
    NameInvalid {
        /// The name.
        name: String,
    },
    /// Not an E.164 number.
    #[error("'{phone}' is not a phone number like +4930123456")]
    PhoneInvalid {
        /// The number.
        phone: String,
    },
    /// Something that only L0 tells the relay.
    #[error("not available at disclosure level {level}: it needs L0")]
    LevelTooHigh {
        /// The home's level.
        level: Level,
    },
    /// A part of a profile that no relay takes.
    #[error("this cannot stand in a profile: {what}")]
    ProfileInvalid {
        /// What is wrong.
        what: &'static str,
    },
    /// An entry of an address book that no relay takes.
    #[error("entry {entry} of the address book cannot be used: {what}; nothing was uploaded")]
    AddressBookInvalid {
        /// Which, from 1.
        entry: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// An alias that cannot be typed or told apart.
    #[error(
        "'{alias}' cannot be an alias: 1 to 64 characters, something that can be seen, no control characters, no blanks at the ends"
    )]
    AliasInvalid {
        /// The alias.
        alias: String,
    },
    /// Two contacts cannot have the same alias.
    #[error("another contact is called '{alias}' already")]
    AliasTaken {
        /// The alias.
        alias: String,
    },
    /// No such contact.
    #[error("no contact is called '{who}'")]
    ContactUnknown {
        /// What was looked for.
        who: String,
    },
    /// No such message in a conversation.
    #[error(
        "no message of this conversation has the id '{id}': the first four characters of an id are needed at least"
    )]
    MessageUnknown {
        /// What was looked for.
        id: String,
    },
    /// Several messages' ids begin so.
    #[error("the ids of several messages of this conversation begin with '{id}': name more of it")]
    MessageAmbiguous {
        /// The beginning.
        id: String,
    },
    /// Removing a contact that texts wait for, or deleting such a text.
    #[error("what waits to be sent to '{who}' (texts: {count}) would be given up: send it first")]
    TextsWaiting {
        /// The alias.
        who: String,
        /// How many.
        count: u64,
    },
    /// Mail to a blocked contact, or its removal, which would unblock it.
    #[error("'{who}' is blocked: unblock it before writing")]
    ContactBlocked {
        /// The alias.
        who: String,
    },
    /// Mail to an account that wrote first and was not accepted.
    #[error("'{who}' wrote to you and is no contact yet: accept it, then write")]
    RequestPending {
        /// The alias.
        who: String,
    },
    /// A broken invite link.
    #[error("this is not an invite link that works: {0}; ask for a new one")]
    LinkInvalid(InviteLinkError),
    /// An invite link of another relay.
    #[error("the link is for the relay at {theirs}, this home uses {ours}: both sides need the same relay")]
    LinkOtherRelay {
        /// host:port of the link.
        theirs: String,
        /// host:port of this home.
        ours: String,
    },
    /// There is no account here.
    #[error("no account in {}: register one first", home.display())]
    NotRegistered {
        /// The home directory.
        home: PathBuf,
    },
    /// There is an account here already.
    #[error("{} holds an account already", home.display())]
    AlreadyRegistered {
        /// The home directory.
        home: PathBuf,
    },

    /// This home's account was deleted.
    #[error("the account of this home was deleted: its history can still be read")]
    AccountDeleted,

    // Keys are not what they were: somebody has to look.
    /// Another account key turned up for a contact.
    #[error(
        "the account key of '{who}' changed: compare safety numbers with them over another way, then accept the key; \
         nothing is sent until then"
    )]
    IdentityChanged {
        /// The alias.
        who: String,
    },
    /// The relay serves another account key than the invite link names.
    #[error("the relay shows another key for this account than the invite link: do not write; ask for a new link")]
    InviteMismatch,
    /// The relay serves a device list that contradicts what is known.
    #[error("the relay shows a device list of '{who}' that is {what}: nothing is sent; ask the relay's operator")]
    DeviceListRefused {
        /// The alias.
        who: String,
        /// unsigned, older or forked.
        what: &'static str,
    },
    /// The relay serves prekeys that do not verify.
    #[error("the relay shows keys of '{who}' that do not verify ({what}): nothing is sent; ask the relay's operator")]
    BundleRefused {
        /// The alias.
        who: String,
        /// What failed.
        what: String,
    },

    /// A device of a contact cannot be written to yet.
    #[error("a device of '{who}' has not published its keys yet, or has just been removed: the message stays queued")]
    DeviceNotReady {
        /// The alias.
        who: String,
    },

    // The relay or the way to it.
    /// Not a relay's address.
    #[error("this is not a relay's address: {0}; copy it from the relay's first line of output")]
    RelayUrlInvalid(kuvert_types::relay_url::RelayUrlError),
    /// An account was to be registered, and it was not said where.
    #[error("no relay was named: an account is registered at one")]
    RelayMissing,
    /// No answer.
    #[error(
        "no answer from the relay at {address} ({reason}): check that it runs and that UDP reaches it, then try again"
    )]
    RelayUnreachable {
        /// host:port
        address: String,
        /// What happened.
        reason: String,
    },
    /// The relay showed another TLS key.
    #[error(
        "the relay at {address} has the fingerprint {seen}, not {expected}: it is another relay or somebody in between; \
         ask its operator for the address"
    )]
    RelayFingerprint {
        /// host:port
        address: String,
        /// As in the relay's address.
        expected: String,
        /// What it showed.
        seen: String,
    },
    /// The connection broke.
    #[error(
        "the connection to the relay broke ({reason}): texts that were queued stay queued; of anything else it is not known whether it was done"
    )]
    ConnectionLost {
        /// What happened.
        reason: String,
    },
    /// The relay did not answer a request in time.
    #[error(
        "the relay did not answer within {seconds} s: texts that were queued stay queued; of anything else it is not known whether it was done"
    )]
    RequestTimeout {
        /// How long was waited.
        seconds: u64,
    },
    /// Another connection of this device took over.
    #[error("another process receives for this account now: close it, or leave receiving to it")]
    Displaced,
    /// The relay broke the protocol.
    #[error("the relay answered something that makes no sense ({what}): check that both have the same version")]
    RelayProtocol {
        /// What.
        what: &'static str,
    },
    /// The relay and this program do not speak the same version.
    #[error("the relay speaks another version of the protocol: update the older of the two")]
    VersionUnsupported,
    /// The relay does not know this device or its key.
    #[error("the relay does not know this device: it was set up anew or lost its data; register a new home")]
    AuthenticationFailed,
    /// The relay takes no new accounts.
    #[error("the relay takes no new accounts: ask its operator")]
    RegistrationClosed,
    /// The relay registers invited people only.
    #[error("this relay registers invited people only: ask its operator for an invitation")]
    InvitationNeeded,
    /// The invitation is not, or no longer, good.
    #[error(
        "the relay does not take this invitation: it is misspelt, used up or too old; ask its operator for another one"
    )]
    InvitationRefused,
    /// Another account has this name.
    #[error("the name '{name}' is taken at this relay: choose another one")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Not the code that was sent, or none is waited for.
    #[error("this is not the code that was sent last, or it was tried too often: look again, or ask for a new one")]
    PhoneCodeWrong,
    /// A code that came too late.
    #[error("the code is too old: ask for a new one")]
    PhoneCodeExpired,
    /// More people than a relay takes.
    #[error("an address book holds at most {MAX_ADDRESS_BOOK} people: upload fewer")]
    AddressBookFull,
    /// No such account, name or device at the relay.
    #[error("the relay knows no '{who}': check the spelling, or ask for an invite link")]
    UnknownRecipient {
        /// Who.
        who: String,
    },
    /// The recipient's mailbox is full.
    #[error("the mailbox of '{who}' is full until they fetch their mail: the message stays queued")]
    MailboxFull {
        /// The alias.
        who: String,
    },
    /// Too many requests.
    #[error("the relay asks for patience: try again in {seconds} s; texts that were queued stay queued")]
    Limited {
        /// How long to wait.
        seconds: u64,
    },
    /// The relay cannot store now.
    #[error("the relay cannot do this now ({detail}): try again later; texts that were queued stay queued")]
    RelayUnavailable {
        /// The relay's words.
        detail: String,
    },
    /// The relay takes no files.
    #[error("this relay takes no files: the message was given up; texts can be sent")]
    FilesNotOffered,
    /// The account's files take all the room that they may at the relay.
    #[error(
        "your files take all the room that they may at the relay until others have fetched them: the message stays queued"
    )]
    FileQuota,
    /// The relay has no room for files.
    #[error("the relay has no room for files now: the message stays queued; texts are sent")]
    FilesFull,
    /// Another process goes on with an upload.
    #[error("another process or a copy of this home goes on with the same file: the message stays queued")]
    FileTakenOver,
    /// The relay offers mail and nothing beyond.
    #[error(
        "this relay does not offer level L0: it takes no numbers, profiles or address books and has no terms; stay at L1 or \
         above"
    )]
    NotOffered,
    /// The relay has no terms to accept.
    #[error("this relay does not run the demonstration: there are no terms to accept or object to")]
    NoDemonstration,
    /// The time to object is over.
    #[error("it is too late for this: {detail}")]
    TooLate {
        /// The relay's words, with the date.
        detail: String,
    },
    /// The report takes its time.
    #[error("the report is not ready: come back in {seconds} s")]
    ReportNotReady {
        /// How long it takes still.
        seconds: u64,
    },
    /// The relay refused for another reason.
    #[error("the relay refused ({code}): {detail}")]
    RelayRefused {
        /// The relay's code.
        code: &'static str,
        /// The relay's words.
        detail: String,
    },

    // This machine.
    /// Others can read the home.
    #[error("{path} can be used by others: its mode is {mode:03o} and has to be {wanted:03o}", path = path.display())]
    Permissions {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they should be.
        wanted: u32,
    },
    /// The home belongs to another user of this machine.
    #[error(
        "{path} belongs to another user (number {owner}); nothing was changed",
        path = path.display()
    )]
    HomeOfAnother {
        /// The file or directory.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
    },
    /// The home cannot be used.
    #[error("cannot use {path} ({reason}): check the path and its owner", path = path.display())]
    HomeUnusable {
        /// The file or directory.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The home is on a read-only file system, or may not be written.
    #[error(
        "the home is read-only (its file system, or its permissions): history and contacts can be read, nothing can be changed; \
         make it writable, or copy the home to where it can be written"
    )]
    HomeReadOnly,
    /// The store is there, its key is not.
    #[error(
        "the key of the store is missing at {path}: without it the store cannot be opened",
        path = path.display()
    )]
    StoreKeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The key does not fit the store.
    #[error("the key in {path} does not open this store: use the key that was made with it", path = path.display())]
    StoreKeyWrong {
        /// The key's file.
        path: PathBuf,
    },
    /// The store is damaged.
    #[error("the store is damaged ({what}): put a backup of the home directory in place; nothing was changed")]
    StoreCorrupt {
        /// What.
        what: String,
    },
    /// Rows of the store are damaged, and it cannot be written: they cannot be removed.
    #[error(
        "rows of the store are damaged, and can only be removed where the home can be written: make it writable, or copy the home \
         to where it can be; everything else in it is kept, and what was lost is told"
    )]
    StoreUnmended,
    /// Rows of the store were damaged and were removed.
    #[error(
        "rows of the store were damaged and were removed: nothing was done; do it again. What was lost is told when mail is received"
    )]
    StoreMended,
    /// The file is something else.
    #[error(
        "{path} is not a Kuvert store; if it was one, put a backup in place",
        path = path.display()
    )]
    StoreForeign {
        /// The file.
        path: PathBuf,
    },
    /// The store is of a newer program.
    #[error("the store has version {found}, this program reads up to {known}: update it")]
    StoreNewer {
        /// The file's version.
        found: u32,
        /// What this build reads.
        known: u32,
    },
    /// Another process holds the store, the outbox or the inbox for too long.
    #[error("another process holds {what} of this home: wait for it or end it, then try again; nothing was changed")]
    StoreLocked {
        /// store, outbox or inbox.
        what: &'static str,
    },
    /// No room on this machine.
    #[error(
        "the disk of this machine is full, or a quota or a limit on the size of files is used up: make room, then try again; nothing that was stored is lost"
    )]
    DiskFull,
    /// The file system failed.
    #[error("reading or writing the store failed ({what}): check the disk, then try again")]
    StoreIo {
        /// What.
        what: String,
    },
    /// A rule of this library is broken.
    #[error("internal error ({what}): please report it; nothing that was stored is lost")]
    Internal {
        /// What.
        what: &'static str,
    },
}

impl Error {
    /// The error's stable name.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TextEmpty => "text-empty",
            Self::TextTooLong { .. } => "text-too-long",
            Self::TextNotUtf8 => "text-not-utf8",
            Self::TooManyFiles { .. } => "too-many-files",
            Self::FileUnusable { .. } => "file-unusable",
            Self::FileTooLarge { .. } => "file-too-large",
            Self::PictureUnreadable { .. } => "picture-unreadable",
            Self::VoiceUnreadable { .. } => "voice-unreadable",
            Self::FileChanged { .. } => "file-changed",
            Self::FileGone { .. } => "file-gone",
            Self::FileDamaged { .. } => "file-damaged",
            Self::FileExists { .. } => "file-exists",
            Self::NoSuchFile => "no-such-file",
            Self::HomeExists { .. } => "home-exists",
            Self::PassphraseUnusable => "passphrase-unusable",
            Self::BackupKeyUnusable { .. } => "backup-key-unusable",
            Self::BackupPassphraseWrong => "backup-passphrase-wrong",
            Self::BackupKeyWrong => "backup-key-wrong",
            Self::BackupForeign => "backup-foreign",
            Self::BackupNewer => "backup-newer",
            Self::BackupDamaged { .. } => "backup-damaged",
            Self::BackupUnusable { .. } => "backup-unusable",
            Self::ConsumerNameInvalid => "consumer-name-invalid",
            Self::OwnAddress => "own-address",
            Self::NameInvalid { .. } => "name-invalid",
            Self::PhoneInvalid { .. } => "phone-invalid",
            Self::LevelTooHigh { .. } => "level-too-high",
            Self::ProfileInvalid { .. } => "profile-invalid",
            Self::AddressBookInvalid { .. } => "address-book-invalid",
            Self::AliasInvalid { .. } => "alias-invalid",
            Self::AliasTaken { .. } => "alias-taken",
            Self::ContactUnknown { .. } => "contact-unknown",
            Self::MessageUnknown { .. } => "message-unknown",
            Self::MessageAmbiguous { .. } => "message-ambiguous",
            Self::TextsWaiting { .. } => "texts-waiting",
            Self::ContactBlocked { .. } => "contact-blocked",
            Self::RequestPending { .. } => "request-pending",
            Self::LinkInvalid(_) => "link-invalid",
            Self::LinkOtherRelay { .. } => "link-other-relay",
            Self::NotRegistered { .. } => "not-registered",
            Self::AlreadyRegistered { .. } => "already-registered",
            Self::AccountDeleted => "account-deleted",
            Self::IdentityChanged { .. } => "identity-changed",
            Self::InviteMismatch => "invite-mismatch",
            Self::DeviceListRefused { .. } => "device-list-refused",
            Self::BundleRefused { .. } => "bundle-refused",
            Self::DeviceNotReady { .. } => "device-not-ready",
            Self::RelayUrlInvalid(_) => "relay-url-invalid",
            Self::RelayMissing => "relay-missing",
            Self::RelayUnreachable { .. } => "relay-unreachable",
            Self::RelayFingerprint { .. } => "relay-fingerprint",
            Self::ConnectionLost { .. } => "connection-lost",
            Self::RequestTimeout { .. } => "request-timeout",
            Self::Displaced => "displaced",
            Self::RelayProtocol { .. } => "relay-protocol",
            Self::VersionUnsupported => "version-unsupported",
            Self::AuthenticationFailed => "authentication-failed",
            Self::RegistrationClosed => "registration-closed",
            Self::InvitationNeeded => "invitation-needed",
            Self::InvitationRefused => "invitation-refused",
            Self::NameTaken { .. } => "name-taken",
            Self::PhoneCodeWrong => "phone-code-wrong",
            Self::PhoneCodeExpired => "phone-code-expired",
            Self::AddressBookFull => "address-book-full",
            Self::UnknownRecipient { .. } => "unknown-recipient",
            Self::MailboxFull { .. } => "mailbox-full",
            Self::Limited { .. } => "limited",
            Self::RelayUnavailable { .. } => "relay-unavailable",
            Self::FilesNotOffered => "files-not-offered",
            Self::FileQuota => "file-quota",
            Self::FilesFull => "files-full",
            Self::FileTakenOver => "file-taken-over",
            Self::NotOffered => "not-offered",
            Self::NoDemonstration => "no-demonstration",
            Self::TooLate { .. } => "too-late",
            Self::ReportNotReady { .. } => "report-not-ready",
            Self::RelayRefused { .. } => "relay-refused",
            Self::Permissions { .. } => "permissions",
            Self::HomeOfAnother { .. } => "home-of-another",
            Self::HomeUnusable { .. } => "home-unusable",
            Self::HomeReadOnly => "home-read-only",
            Self::StoreKeyMissing { .. } => "store-key-missing",
            Self::StoreKeyWrong { .. } => "store-key-wrong",
            Self::StoreCorrupt { .. } => "store-corrupt",
            Self::StoreUnmended => "store-unmended",
            Self::StoreMended => "store-mended",
            Self::StoreForeign { .. } => "store-foreign",
            Self::StoreNewer { .. } => "store-newer",
            Self::StoreLocked { .. } => "store-locked",
            Self::DiskFull => "disk-full",
            Self::StoreIo { .. } => "store-io",
            Self::Internal { .. } => "internal",
        }
    }

    /// Whether the connection is of no use any more and a new one may help.
    pub const fn is_connection(&self) -> bool {
        matches!(
            self,
            Self::RelayUnreachable { .. }
                | Self::ConnectionLost { .. }
                | Self::RequestTimeout { .. }
                | Self::RelayUnavailable { .. }
        )
    }
}

impl Error {
    /// Whether it passes without anything being done about it: the relay is away, restarts, or asks for patience.
    pub const fn passes(&self) -> bool {
        self.is_connection() || matches!(self, Self::Limited { .. })
    }

    /// For how long the relay asked to be left alone.
    pub(crate) const fn patience(&self) -> Duration {
        match self {
            Self::Limited { seconds } => Duration::from_secs(*seconds),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    const DOCUMENT: &str = include_str!("../../../docs/ERRORS.md");
    const SOURCE: &str = include_str!("error.rs");

    #[test]
    fn every_code_is_documented_and_nothing_else() {
        let documented: Vec<&str> = DOCUMENT
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .map(|line| line.split('`').next().unwrap())
            .collect();
        let arms = SOURCE.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \""));
        let codes: Vec<&str> = arms.map(|(_, code)| code.split('"').next().unwrap()).collect();
        let set = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<BTreeSet<_>>();
        assert!(codes.len() > 40, "{codes:?}");
        assert_eq!(set(&codes).len(), codes.len(), "codes are unique");
        assert_eq!(set(&codes), set(&documented));
        assert_eq!(documented.len(), codes.len(), "each once");
    }

    #[test]
    fn no_error_speaks_of_command_lines() {
        let texts = SOURCE.split("#[cfg(test)]").next().unwrap();
        let messages = texts.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in messages {
            for typed in ["`kuvert", " --", "chmod", "sudo", "KUVERT_"] {
                assert!(!line.contains(typed), "{line}");
            }
        }
    }
}

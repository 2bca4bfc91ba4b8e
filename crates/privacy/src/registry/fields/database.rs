//! What stands in `relay.db`, table by table.

use kuvert_types::limits::MAX_RETENTION_DAYS;

use crate::registry::field::{
    Basis, Category, Deletion, Field, Form, Level, Place, Purpose, Recipient, Retention, Section, Subject,
};

/// An account as it was registered.
const ACCOUNT: Field = Field {
    place: Place::Database,
    table: "account",
    column: "",
    meaning: "",
    form: Form::Identifier,
    subject: Subject::AccountHolder,
    category: Category::Account,
    purpose: Purpose::Discovery,
    basis: Basis::Contract,
    retention: Retention::WithAccount,
    recipients: &[Recipient::OwnDevices, Recipient::RegisteredUsers],
    levels: Level::ALL,
    report: Section::AccountInformation,
    deletion: Deletion::Account,
    items: &[29],
};

/// A device's public keys.
const DEVICE: Field = Field {
    table: "device",
    form: Form::PublicKey,
    category: Category::Keys,
    purpose: Purpose::Authentication,
    ..ACCOUNT
};

/// An envelope that waits. The purge deletes it after the retention named here, or after less if the operator says so.
const ENVELOPE: Field = Field {
    table: "envelope",
    form: Form::Number,
    subject: Subject::Both,
    category: Category::Traffic,
    purpose: Purpose::Delivery,
    retention: Retention::UntilAcknowledged { at_most_days: MAX_RETENTION_DAYS },
    recipients: &[Recipient::RecipientDevice],
    report: Section::Queue,
    deletion: Deletion::AcknowledgeOrPurge,
    items: &[3, 9],
    ..ACCOUNT
};

/// Whom an account blocks.
const BLOCKED: Field = Field {
    table: "blocked",
    category: Category::Contacts,
    purpose: Purpose::Protection,
    recipients: &[],
    report: Section::Settings,
    items: &[9],
    ..ACCOUNT
};

/// How many envelopes were not fetched in time.
const EXPIRED: Field = Field {
    table: "expired",
    subject: Subject::Recipient,
    retention: Retention::UntilTold,
    deletion: Deletion::Tell,
    items: &[3],
    ..ENVELOPE
};

/// The prekeys that stay until newer ones come.
const PREKEYS: Field = Field {
    table: "prekeys",
    form: Form::Number,
    category: Category::Keys,
    purpose: Purpose::KeyExchange,
    retention: Retention::UntilReplaced,
    recipients: &[Recipient::Initiators],
    deletion: Deletion::Replace,
    items: &[1],
    ..ACCOUNT
};

/// The prekeys that are handed out once.
const ONE_TIME_PREKEY: Field =
    Field { table: "one_time_prekey", retention: Retention::UntilHandedOut, deletion: Deletion::HandOut, ..PREKEYS };

/// The relay's own numbers.
const TECHNICAL: Field = Field {
    form: Form::Number,
    subject: Subject::Nobody,
    category: Category::Operation,
    purpose: Purpose::Operation,
    basis: Basis::NotPersonal,
    retention: Retention::OperatorsChoice,
    recipients: &[],
    report: Section::None,
    deletion: Deletion::Nothing,
    items: &[],
    ..ACCOUNT
};

/// An invitation of the operator's.
const INVITATION: Field = Field { table: "invitation", ..TECHNICAL };

pub const FIELDS: &[Field] = &[
    Field { column: "id", meaning: "the account: 16 random bytes, drawn by its first device", ..ACCOUNT },
    Field {
        column: "account_key",
        meaning: "the public key that signs the account's devices",
        form: Form::PublicKey,
        category: Category::Keys,
        purpose: Purpose::Authentication,
        ..ACCOUNT
    },
    Field {
        column: "device_list_number",
        meaning: "how often the device list has changed",
        form: Form::Number,
        category: Category::Keys,
        purpose: Purpose::Authentication,
        retention: Retention::UntilReplaced,
        deletion: Deletion::Replace,
        items: &[12, 29],
        ..ACCOUNT
    },
    Field {
        column: "device_list",
        meaning: "the account's devices as a signed list: their numbers and public keys",
        form: Form::PublicKey,
        category: Category::Keys,
        purpose: Purpose::Authentication,
        retention: Retention::UntilReplaced,
        deletion: Deletion::Replace,
        items: &[12, 29],
        ..ACCOUNT
    },
    Field {
        column: "name",
        meaning: "the user name, where somebody took one",
        form: Form::Text,
        basis: Basis::Consent,
        items: &[16, 29],
        ..ACCOUNT
    },
    Field {
        column: "phone",
        meaning: "the phone number, where somebody gave one; not verified, shown to nobody",
        form: Form::Text,
        basis: Basis::Consent,
        recipients: &[],
        levels: &[Level::L0],
        items: &[16, 29],
        ..ACCOUNT
    },
    Field {
        column: "registered_at",
        meaning: "when the account was made",
        form: Form::Time,
        purpose: Purpose::Operation,
        recipients: &[],
        items: &[14, 29],
        ..ACCOUNT
    },
    Field {
        column: "access_key_hash",
        meaning: "the SHA-256 of the access key that contacts show: their mail has more room",
        form: Form::Identifier,
        purpose: Purpose::Protection,
        retention: Retention::UntilReplaced,
        recipients: &[],
        deletion: Deletion::Replace,
        items: &[9],
        ..ACCOUNT
    },
    Field {
        column: "takes_sealed",
        meaning: "whether sealed mail is taken with the access key",
        form: Form::Flag,
        purpose: Purpose::Protection,
        retention: Retention::UntilReplaced,
        recipients: &[],
        deletion: Deletion::Replace,
        items: &[9],
        ..ACCOUNT
    },
    Field {
        column: "mailbox",
        meaning: "a short number for the device, never given twice",
        form: Form::Number,
        purpose: Purpose::Delivery,
        recipients: &[],
        items: &[12],
        ..DEVICE
    },
    Field {
        column: "account",
        meaning: "whose device it is",
        form: Form::Identifier,
        category: Category::Account,
        ..DEVICE
    },
    Field { column: "number", meaning: "which of the account's devices it is", form: Form::Number, ..DEVICE },
    Field { column: "signing_key", meaning: "the public key with which the device proves itself", ..DEVICE },
    Field {
        column: "certificate",
        meaning: "the account's signature under the device's public keys",
        purpose: Purpose::KeyExchange,
        ..DEVICE
    },
    Field {
        column: "last_seen_day",
        meaning: "the day on which the device was last here; the time of day is not kept",
        form: Form::Time,
        category: Category::Traffic,
        purpose: Purpose::Operation,
        basis: Basis::LegitimateInterest,
        retention: Retention::UntilReplaced,
        recipients: &[],
        deletion: Deletion::Replace,
        items: &[10],
        ..DEVICE
    },
    Field {
        column: "cursor",
        meaning: "the envelope's place in the order of arrival",
        subject: Subject::Nobody,
        category: Category::Operation,
        items: &[3],
        ..ENVELOPE
    },
    Field {
        column: "mailbox",
        meaning: "the device that the envelope is for",
        subject: Subject::Recipient,
        ..ENVELOPE
    },
    Field {
        column: "id",
        meaning: "the envelope: 16 random bytes, drawn by the sender",
        form: Form::Identifier,
        items: &[3],
        ..ENVELOPE
    },
    Field {
        column: "source",
        meaning: "the device that the envelope comes from, unless the sender leaves it out, as at L2 and L3 after the first messages",
        form: Form::Identifier,
        subject: Subject::Sender,
        levels: &[Level::L0, Level::L1],
        ..ENVELOPE
    },
    Field {
        column: "accepted_at",
        meaning: "when the relay took the envelope in, to the millisecond",
        form: Form::Time,
        recipients: &[],
        items: &[3, 10],
        ..ENVELOPE
    },
    Field {
        column: "ciphertext",
        meaning: "the sealed message; what can be told from it is its padded size",
        form: Form::Ciphertext,
        category: Category::Content,
        items: &[1, 2, 3],
        ..ENVELOPE
    },
    Field {
        column: "contact",
        meaning: "whether the envelope came with the recipient's access key under a name: then it counts for the contacts' room",
        form: Form::Flag,
        purpose: Purpose::Protection,
        recipients: &[],
        ..ENVELOPE
    },
    Field { column: "account", meaning: "who blocks", ..BLOCKED },
    Field {
        column: "blocked",
        meaning: "whose mail the relay drops for it; the account may be deleted since",
        ..BLOCKED
    },
    Field { column: "mailbox", meaning: "whose envelopes were deleted unread", ..EXPIRED },
    Field { column: "count", meaning: "how many envelopes were deleted unread", ..EXPIRED },
    Field { column: "mailbox", meaning: "whose prekeys these are", ..PREKEYS },
    Field { column: "signed_id", meaning: "the number of the signed prekey", ..PREKEYS },
    Field { column: "signed_key", meaning: "the signed prekey, public", form: Form::PublicKey, ..PREKEYS },
    Field { column: "signed_signature", meaning: "the device's signature under it", form: Form::PublicKey, ..PREKEYS },
    Field { column: "last_resort_id", meaning: "the number of the last-resort KEM prekey", ..PREKEYS },
    Field {
        column: "last_resort_key",
        meaning: "the last-resort KEM prekey, public",
        form: Form::PublicKey,
        ..PREKEYS
    },
    Field {
        column: "last_resort_signature",
        meaning: "the device's signature under it",
        form: Form::PublicKey,
        ..PREKEYS
    },
    Field {
        column: "highest_one_time",
        meaning: "the highest number of a one-time prekey so far, so that none comes back",
        retention: Retention::WithAccount,
        recipients: &[],
        deletion: Deletion::Account,
        ..PREKEYS
    },
    Field {
        column: "highest_one_time_kem",
        meaning: "the highest number of a one-time KEM prekey so far, so that none comes back",
        retention: Retention::WithAccount,
        recipients: &[],
        deletion: Deletion::Account,
        ..PREKEYS
    },
    Field { column: "mailbox", meaning: "whose one-time prekey it is", ..ONE_TIME_PREKEY },
    Field { column: "kind", meaning: "curve or KEM", ..ONE_TIME_PREKEY },
    Field { column: "id", meaning: "its number", ..ONE_TIME_PREKEY },
    Field { column: "public_key", meaning: "the one-time prekey, public", form: Form::PublicKey, ..ONE_TIME_PREKEY },
    Field {
        column: "signature",
        meaning: "the device's signature under a KEM prekey",
        form: Form::PublicKey,
        ..ONE_TIME_PREKEY
    },
    Field {
        column: "hash",
        meaning: "the SHA-256 of an invitation's code; nothing ties it to the accounts that were made with it",
        form: Form::Identifier,
        ..INVITATION
    },
    Field {
        column: "uses_left",
        meaning: "accounts that can still be made with it; the last one deletes it",
        ..INVITATION
    },
    Field { column: "created_at", meaning: "when it was made", form: Form::Time, ..INVITATION },
    Field { column: "expires_at", meaning: "when it stops being good", form: Form::Time, ..INVITATION },
    Field { table: "counter", column: "name", meaning: "the name of a counter", form: Form::Text, ..TECHNICAL },
    Field {
        table: "counter",
        column: "value",
        meaning: "the next place in the order of arrival; how far the relay's time has come, and how far the clock is from it",
        ..TECHNICAL
    },
    Field {
        table: "sqlite_sequence",
        column: "name",
        meaning: "SQLite's own: the table whose numbers are never given twice",
        form: Form::Text,
        ..TECHNICAL
    },
    Field {
        table: "sqlite_sequence",
        column: "seq",
        meaning: "SQLite's own: the highest number of a mailbox so far",
        ..TECHNICAL
    },
];

//! What stands in `blobs.db`, and in the files beside it.

use kuvert_types::limits::MAX_RETENTION_DAYS;

use crate::registry::field::{
    Basis, Category, Deletion, Field, Form, Level, Place, Purpose, Recipient, Retention, Section, Subject,
};

/// A file on its way. The purge deletes it after the retention named here, or after less if the operator says so.
const BLOB: Field = Field {
    place: Place::Blobs,
    table: "blob",
    column: "",
    meaning: "",
    form: Form::Number,
    subject: Subject::AccountHolder,
    category: Category::Traffic,
    purpose: Purpose::Delivery,
    basis: Basis::Contract,
    retention: Retention::UntilRead { at_most_days: MAX_RETENTION_DAYS },
    recipients: &[Recipient::RecipientDevice],
    levels: Level::ALL,
    report: Section::Queue,
    deletion: Deletion::ReadOrPurge,
    items: &[3, 9],
};

/// A device that may read it.
const READER: Field = Field {
    table: "blob_reader",
    form: Form::Identifier,
    subject: Subject::Both,
    recipients: &[],
    report: Section::None,
    ..BLOB
};

/// What its file is encrypted under.
const KEY: Field = Field {
    table: "blob_key",
    subject: Subject::Nobody,
    category: Category::Operation,
    basis: Basis::NotPersonal,
    recipients: &[],
    report: Section::None,
    items: &[],
    ..BLOB
};

pub const FIELDS: &[Field] = &[
    Field {
        column: "id",
        meaning: "a file on its way: 16 random bytes; its content, encrypted by the sender, lies in a file of this name",
        form: Form::Identifier,
        ..BLOB
    },
    Field {
        column: "account",
        meaning: "the account that uploaded it, at every level",
        form: Form::Identifier,
        recipients: &[],
        ..BLOB
    },
    Field {
        column: "token",
        meaning: "the hash of what the uploader shows to go on with it, or to take it away",
        form: Form::Identifier,
        category: Category::Operation,
        recipients: &[],
        report: Section::None,
        ..BLOB
    },
    Field { column: "size", meaning: "its padded and encrypted size", ..BLOB },
    Field {
        column: "charged",
        meaning: "what it is counted as for the account that uploaded it",
        purpose: Purpose::Protection,
        recipients: &[],
        ..BLOB
    },
    Field { column: "durable", meaning: "how much of it has come", recipients: &[], ..BLOB },
    Field { column: "created_at", meaning: "when its upload began", form: Form::Time, recipients: &[], ..BLOB },
    Field { column: "committed_at", meaning: "when it was complete", form: Form::Time, recipients: &[], ..BLOB },
    Field {
        column: "shared",
        meaning: "whether its readers have one capability together, so that their number is not told (from L2 on)",
        form: Form::Flag,
        recipients: &[],
        ..BLOB
    },
    Field {
        column: "slot",
        meaning: "where its key stands",
        category: Category::Operation,
        recipients: &[],
        report: Section::None,
        ..BLOB
    },
    Field { column: "blob", meaning: "the file that a device may read", ..READER },
    Field {
        column: "capability",
        meaning: "the hash of what that device shows; not which device it is. Up to L1 as many as there are readers",
        ..READER
    },
    Field { column: "slot", meaning: "a number for a key", ..KEY },
    Field {
        column: "key",
        meaning: "the key under which the relay encrypts the file once more; overwriting it erases the file",
        form: Form::Ciphertext,
        ..KEY
    },
];

//! What stands in PostgreSQL beyond the columns of `relay.db`, `people.db` and `blobs.db`, which a relay on PostgreSQL has, too: tables
//! of the same names.
//!
//! What is deleted there is gone from the tables at once, and in the servers' files for a while: in pages until they are used again, in
//! the write-ahead log and on the standbys until that is recycled. Mail is encrypted under keys of its own for that, and those
//! keys go sooner: `envelope_key`.

use kuvert_types::limits::MAX_RETENTION_DAYS;

use crate::registry::field::{
    Basis, Category, Deletion, Field, Form, Level, Place, Purpose, Retention, Section, Subject,
};

/// The relay's own.
const OWN: Field = Field {
    place: Place::Group,
    table: "lease",
    column: "",
    meaning: "",
    form: Form::Number,
    subject: Subject::Nobody,
    category: Category::Operation,
    purpose: Purpose::Operation,
    basis: Basis::NotPersonal,
    retention: Retention::OperatorsChoice,
    recipients: &[],
    levels: Level::ALL,
    report: Section::None,
    deletion: Deletion::Nothing,
    items: &[],
};

/// Beside an envelope that waits.
const BESIDE_ENVELOPE: Field = Field {
    table: "envelope_key",
    subject: Subject::Both,
    category: Category::Traffic,
    purpose: Purpose::Delivery,
    basis: Basis::Contract,
    retention: Retention::UntilAcknowledged { at_most_days: MAX_RETENTION_DAYS },
    deletion: Deletion::AcknowledgeOrRewrite,
    items: &[3],
    ..OWN
};

/// Where a device is attached.
const PRESENCE: Field = Field {
    table: "presence",
    subject: Subject::AccountHolder,
    category: Category::Connection,
    purpose: Purpose::Delivery,
    basis: Basis::Contract,
    retention: Retention::WithConnection,
    deletion: Deletion::Detach,
    items: &[9, 10],
    ..OWN
};

/// A deleted device whose mail is on other servers.
const DROPPED: Field = Field {
    table: "dropped",
    subject: Subject::AccountHolder,
    category: Category::Traffic,
    purpose: Purpose::Delivery,
    basis: Basis::Contract,
    retention: Retention::AtMost { days: 1 },
    deletion: Deletion::AfterMail,
    items: &[3],
    ..OWN
};

/// What two devices leave each other while one is linked.
const LINK_SLOT: Field = Field {
    table: "link_slot",
    subject: Subject::AccountHolder,
    category: Category::Traffic,
    purpose: Purpose::Delivery,
    basis: Basis::Contract,
    retention: Retention::UntilUsed { at_most_minutes: 6 },
    deletion: Deletion::UseOrPurge,
    items: &[12, 29],
    ..OWN
};

/// Beside a file on its way.
const BESIDE_BLOB: Field = Field {
    table: "blob_piece",
    subject: Subject::AccountHolder,
    category: Category::Traffic,
    purpose: Purpose::Delivery,
    basis: Basis::Contract,
    retention: Retention::UntilRead { at_most_days: MAX_RETENTION_DAYS },
    deletion: Deletion::ReadOrRewrite,
    items: &[3, 9],
    ..OWN
};

const NODE: Field = Field { table: "node", subject: Subject::Operator, ..OWN };

pub const FIELDS: &[Field] = &[
    Field {
        table: "account",
        column: "slot",
        meaning: "which of 4,096 parts the account belongs to, from a hash of its id",
        ..OWN
    },
    Field { table: "envelope", column: "slot", meaning: "the part of the recipient's account", ..OWN },
    Field {
        table: "envelope",
        column: "day",
        meaning: "the day on which the envelope came: the part of the table that it is kept in",
        form: Form::Time,
        ..BESIDE_ENVELOPE
    },
    Field { column: "mailbox", meaning: "the device that the envelope is for", ..BESIDE_ENVELOPE },
    Field { column: "cursor", meaning: "the envelope's place in the order of arrival", ..BESIDE_ENVELOPE },
    Field { column: "day", meaning: "the day on which the envelope came", form: Form::Time, ..BESIDE_ENVELOPE },
    Field { column: "size", meaning: "how long the sealed message is", ..BESIDE_ENVELOPE },
    Field {
        column: "tag",
        meaning: "a hash of the envelope's id and source, so that a repetition is found",
        form: Form::Identifier,
        ..BESIDE_ENVELOPE
    },
    Field {
        column: "key",
        meaning: "the key under which the relay has encrypted the sealed message once more, so that deleting the key deletes \
                  the message from files that keep what is deleted: the write-ahead log, the standbys, backups",
        form: Form::Ciphertext,
        category: Category::Content,
        ..BESIDE_ENVELOPE
    },
    Field {
        column: "mailbox",
        meaning: "which device is attached now, where several relays serve together",
        form: Form::Identifier,
        ..PRESENCE
    },
    Field { column: "node", meaning: "at which of them", ..PRESENCE },
    Field { column: "epoch", meaning: "since which start of that relay", ..PRESENCE },
    Field { column: "attachment", meaning: "that relay's number of the attachment", ..PRESENCE },
    Field { column: "slot", meaning: "a part of all accounts", ..OWN },
    Field { column: "writer", meaning: "which connection of which relay writes it", ..OWN },
    Field { column: "epoch", meaning: "how often that changed", ..OWN },
    Field { column: "next_cursor", meaning: "a place in the order of arrival that was never given out", ..OWN },
    Field { table: "slot_group", column: "slot", meaning: "a part of all accounts", ..OWN },
    Field { table: "slot_group", column: "store_group", meaning: "which group of servers has it", ..OWN },
    Field {
        table: "slot_group",
        column: "epoch",
        meaning: "how often a connection to another group began to write it",
        ..OWN
    },
    Field { table: "store_group", column: "id", meaning: "a group of servers", ..OWN },
    Field {
        table: "store_group",
        column: "name",
        meaning: "its name, as the operator chose it",
        form: Form::Text,
        ..OWN
    },
    Field { table: "store_group", column: "address", meaning: "where relays reach it", form: Form::Text, ..OWN },
    Field { table: "slot_move", column: "slot", meaning: "a part of all accounts that is moving", ..OWN },
    Field { table: "slot_move", column: "source", meaning: "from which group of servers", ..OWN },
    Field { table: "slot_move", column: "target", meaning: "to which one", ..OWN },
    Field { table: "slot_move", column: "number", meaning: "in which move", ..OWN },
    Field { table: "moving", column: "slot", meaning: "a part of all accounts that is moving", ..OWN },
    Field { table: "moving", column: "number", meaning: "in which move", ..OWN },
    Field {
        table: "moving",
        column: "sealed",
        meaning: "whether nothing writes it here any more",
        form: Form::Flag,
        ..OWN
    },
    Field { table: "moving", column: "writer", meaning: "which connection of which relay wrote it", ..OWN },
    Field { table: "moving", column: "epoch", meaning: "how often that had changed", ..OWN },
    Field {
        table: "moving",
        column: "next_cursor",
        meaning: "a place in the order of arrival that was never given out",
        ..OWN
    },
    Field {
        table: "dropped",
        column: "mailbox",
        meaning: "a deleted device whose mail, on other servers, is deleted within a minute",
        ..DROPPED
    },
    Field { table: "dropped", column: "slot", meaning: "the part of all accounts that it belonged to", ..DROPPED },
    Field {
        column: "slot",
        meaning: "where a new device and the one that links it meet",
        form: Form::Identifier,
        ..LINK_SLOT
    },
    Field { column: "number", meaning: "which piece of it", ..LINK_SLOT },
    Field {
        column: "piece",
        meaning: "keys, certificates and the name of a new device, the rest encrypted between the two",
        form: Form::Ciphertext,
        ..LINK_SLOT
    },
    Field { column: "begun_at", meaning: "when the new device began it", form: Form::Time, ..LINK_SLOT },
    Field { table: "blob", column: "epoch", meaning: "how often its upload was gone on with", ..BESIDE_BLOB },
    Field { column: "blob", meaning: "a file on its way", form: Form::Identifier, ..BESIDE_BLOB },
    Field {
        column: "number",
        meaning: "which MiB of it; its content, encrypted by the sender and once more by the relay, is a file in a directory \
                  that the operator's relays share, called by the file, this number and the next two",
        ..BESIDE_BLOB
    },
    Field { column: "epoch", meaning: "how often its upload had been gone on with", ..BESIDE_BLOB },
    Field { column: "length", meaning: "how many bytes that object has", ..BESIDE_BLOB },
    Field {
        table: "blob_gone",
        column: "object",
        meaning: "the name of an object of a file that was erased: it is deleted as soon as that is possible",
        form: Form::Identifier,
        retention: Retention::AtMost { days: 1 },
        deletion: Deletion::AfterObject,
        ..BESIDE_BLOB
    },
    Field { table: "writer", column: "id", meaning: "a writing connection of a relay", ..OWN },
    Field { table: "writer", column: "epoch", meaning: "how often it began anew", ..OWN },
    Field { column: "id", meaning: "a relay's number", ..NODE },
    Field { column: "name", meaning: "its name, as the operator chose it", form: Form::Text, ..NODE },
    Field { column: "address", meaning: "where the operator's other relays reach it", form: Form::Text, ..NODE },
    Field { column: "epoch", meaning: "how often it was started, or declared dead", ..NODE },
    Field { column: "seen", meaning: "when it gave a sign of life last", form: Form::Time, ..NODE },
    Field { column: "groups", meaning: "which groups of servers it writes", ..NODE },
    Field { column: "draining", meaning: "whether it is to hold no part any more", form: Form::Flag, ..NODE },
    Field { table: "kuvert_schema", column: "version", meaning: "the version of these tables", ..OWN },
];

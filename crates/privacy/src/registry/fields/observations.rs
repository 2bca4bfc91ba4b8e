//! What stands in `observe.db`, which is written only with `--observe`: what a relay *could* record, for people to see.
//!
//! The levels say at which of them a relay learns a field at all.

use crate::registry::field::{
    Basis, Category, Deletion, Field, Form, Level, Place, Purpose, Retention, Section, Subject,
};
use crate::retention::TRACE_DAYS;

const EVENT: Field = Field {
    place: Place::Observations,
    table: "event",
    column: "",
    meaning: "",
    form: Form::Number,
    subject: Subject::Both,
    category: Category::Traffic,
    purpose: Purpose::Demonstration,
    basis: Basis::Consent,
    retention: Retention::AtMost { days: TRACE_DAYS },
    recipients: &[],
    levels: Level::ALL,
    report: Section::Connections,
    deletion: Deletion::Deidentify,
    items: &[9],
};

const LOST: Field = Field {
    table: "lost",
    subject: Subject::Nobody,
    category: Category::Operation,
    basis: Basis::NotPersonal,
    report: Section::None,
    items: &[],
    ..EVENT
};

pub const FIELDS: &[Field] = &[
    Field { column: "id", meaning: "the event's number", subject: Subject::Nobody, items: &[], ..EVENT },
    Field { column: "at", meaning: "when it happened, to the millisecond", form: Form::Time, items: &[9, 10], ..EVENT },
    Field {
        column: "kind",
        meaning: "what happened: connected, submitted, dropped, delivered, acknowledged, looked up, blocked, file created, file read, address book uploaded …",
        form: Form::Text,
        items: &[9, 10],
        ..EVENT
    },
    Field {
        column: "connection",
        meaning: "a random number that ties together what happens on one connection",
        form: Form::Identifier,
        subject: Subject::AccountHolder,
        category: Category::Connection,
        items: &[9, 11],
        ..EVENT
    },
    Field {
        column: "ip",
        meaning: "the IP address that a connection comes from",
        form: Form::Text,
        subject: Subject::AccountHolder,
        category: Category::Connection,
        levels: &[Level::L0],
        items: &[9, 11, 14],
        ..EVENT
    },
    Field {
        column: "port",
        meaning: "the port that a connection comes from",
        subject: Subject::AccountHolder,
        category: Category::Connection,
        levels: &[Level::L0],
        items: &[11],
        ..EVENT
    },
    Field {
        column: "device",
        meaning: "who did it: account and device",
        form: Form::Identifier,
        subject: Subject::AccountHolder,
        ..EVENT
    },
    Field {
        column: "other",
        meaning: "with whom: the recipient, or the account that was looked up or blocked; who had a number before",
        form: Form::Identifier,
        ..EVENT
    },
    Field {
        column: "source",
        meaning: "whom the envelope names as its sender",
        form: Form::Identifier,
        subject: Subject::Sender,
        levels: &[Level::L0, Level::L1],
        ..EVENT
    },
    Field { column: "envelope", meaning: "which envelope, or which file", form: Form::Identifier, ..EVENT },
    Field { column: "cursor", meaning: "its place in the mailbox", subject: Subject::Recipient, ..EVENT },
    Field { column: "size", meaning: "bytes of ciphertext; from L3 on, only a bucket", items: &[9, 10], ..EVENT },
    Field {
        column: "count",
        meaning: "how many: envelopes acknowledged or expired, prekeys published, people uploaded; up to L1 the readers of a file",
        ..EVENT
    },
    Field {
        column: "yes",
        meaning: "a repetition; found; with one-time prekeys; blocked, or no longer; the last reader of a file",
        form: Form::Flag,
        items: &[10],
        ..EVENT
    },
    Field {
        column: "name",
        meaning: "the user name that was taken or looked up",
        form: Form::Text,
        subject: Subject::AccountHolder,
        category: Category::Account,
        items: &[16],
        ..EVENT
    },
    Field {
        column: "phone",
        meaning: "the phone number that was given at registration, or verified",
        form: Form::Text,
        subject: Subject::AccountHolder,
        category: Category::Account,
        levels: &[Level::L0],
        items: &[16],
        ..EVENT
    },
    Field {
        column: "matched",
        meaning: "how many people of an uploaded address book have an account",
        category: Category::Contacts,
        levels: &[Level::L0],
        items: &[17],
        ..EVENT
    },
    Field { column: "at", meaning: "when events could not be written", form: Form::Time, ..LOST },
    Field { column: "count", meaning: "how many events were not written", ..LOST },
];

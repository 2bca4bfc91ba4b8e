//! What a running relay knows and never writes to a file of its own accord.

use crate::registry::field::{
    Basis, Category, Deletion, Field, Form, Level, Place, Purpose, Retention, Section, Subject,
};

const MEMORY: Field = Field {
    place: Place::Memory,
    table: "connection",
    column: "",
    meaning: "",
    form: Form::Text,
    subject: Subject::AccountHolder,
    category: Category::Connection,
    purpose: Purpose::Protection,
    basis: Basis::LegitimateInterest,
    retention: Retention::WithConnection,
    recipients: &[],
    levels: Level::ALL,
    report: Section::None,
    deletion: Deletion::Memory,
    items: &[11],
};

pub const FIELDS: &[Field] = &[
    Field {
        column: "address",
        meaning: "the IP address and port that a connection comes from; nothing can be sent back without it",
        purpose: Purpose::Delivery,
        basis: Basis::Contract,
        ..MEMORY
    },
    Field {
        column: "device",
        meaning: "which device is connected now",
        form: Form::Identifier,
        purpose: Purpose::Delivery,
        basis: Basis::Contract,
        items: &[9, 10],
        ..MEMORY
    },
    Field {
        table: "limit",
        column: "address",
        meaning: "how much was asked for from an IPv4 address or IPv6 /64, and from the /24, /56 and /48 around it, of late",
        retention: Retention::UntilRestart,
        ..MEMORY
    },
    Field {
        table: "limit",
        column: "device",
        meaning: "how much a device asked for of late, and for how many bundles of which account",
        form: Form::Identifier,
        retention: Retention::UntilRestart,
        items: &[10],
        ..MEMORY
    },
    Field {
        table: "limit",
        column: "account",
        meaning: "how many codes an account asked for of late, and how many numbers of other people it uploaded",
        form: Form::Identifier,
        retention: Retention::UntilRestart,
        levels: &[Level::L0],
        items: &[16, 17],
        ..MEMORY
    },
    Field {
        table: "limit",
        column: "number",
        meaning: "how many codes were sent to a phone number of late",
        retention: Retention::UntilRestart,
        levels: &[Level::L0],
        items: &[16],
        ..MEMORY
    },
    Field {
        table: "limit",
        column: "young",
        meaning: "until when an account is in its first 24 hours, and how many bytes it submitted in them",
        form: Form::Identifier,
        retention: Retention::UntilRestart,
        items: &[10],
        ..MEMORY
    },
    Field {
        table: "mailbox",
        column: "refused",
        meaning: "how many envelopes for a device found no room since it was told last",
        form: Form::Number,
        purpose: Purpose::Delivery,
        retention: Retention::UntilRestart,
        items: &[3],
        ..MEMORY
    },
    Field {
        table: "slot",
        column: "piece",
        meaning: "what a new device and the one that links it leave each other: keys and certificates of the new one, the name that it \
                  shows, the rest encrypted between the two; and from which address each came, as long as it is connected",
        form: Form::Ciphertext,
        purpose: Purpose::Delivery,
        basis: Basis::Contract,
        retention: Retention::UntilUsed { at_most_minutes: 6 },
        items: &[12, 29],
        ..MEMORY
    },
];

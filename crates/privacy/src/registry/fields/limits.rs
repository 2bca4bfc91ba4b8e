//! What limits remember over a restart.

use crate::registry::field::{
    Basis, Category, Deletion, Field, Form, Level, Place, Purpose, Retention, Section, Subject,
};

const SAVED: Field = Field {
    place: Place::Limits,
    table: "limit",
    column: "",
    meaning: "",
    form: Form::Identifier,
    subject: Subject::AccountHolder,
    category: Category::Connection,
    purpose: Purpose::Protection,
    basis: Basis::LegitimateInterest,
    retention: Retention::UntilRested { at_most_hours: 25 },
    recipients: &[],
    levels: Level::ALL,
    report: Section::None,
    deletion: Deletion::Rested,
    items: &[10],
};

pub const FIELDS: &[Field] = &[
    Field {
        column: "registrations",
        meaning: "from which IPv4 address or IPv6 /64, and the networks around it, accounts were registered of late",
        form: Form::Text,
        items: &[11],
        ..SAVED
    },
    Field {
        column: "one_time_prekeys",
        meaning: "that one-time prekeys of an account were handed out of late",
        ..SAVED
    },
    Field {
        column: "one_time_prekeys_by_taker",
        meaning: "that one account took one-time prekeys of another of late",
        ..SAVED
    },
    Field { column: "submitted", meaning: "how many bytes an account submitted in its first 24 hours", ..SAVED },
];

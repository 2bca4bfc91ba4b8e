//! The fields that the relay's log statements carry. None names a person, with one exception that is named here, and a test
//! reads the statements.

use crate::registry::field::{
    Basis, Category, Deletion, Field, Form, Level, Place, Purpose, Retention, Section, Subject,
};

const STATEMENT: Field = Field {
    place: Place::Log,
    table: "log",
    column: "",
    meaning: "",
    form: Form::Text,
    subject: Subject::Nobody,
    category: Category::Operation,
    purpose: Purpose::Operation,
    basis: Basis::NotPersonal,
    retention: Retention::OperatorsChoice,
    recipients: &[],
    levels: Level::ALL,
    report: Section::None,
    deletion: Deletion::Operator,
    items: &[],
};

/// Of a phone number that is to be verified.
const CODE: Field = Field {
    subject: Subject::AccountHolder,
    category: Category::Account,
    purpose: Purpose::Authentication,
    basis: Basis::Consent,
    levels: &[Level::L0],
    items: &[16],
    ..STATEMENT
};

pub const FIELDS: &[Field] = &[
    Field { column: "message", meaning: "what happened, in fixed words", ..STATEMENT },
    Field {
        column: "connection",
        meaning: "a random number for a connection, from level debug on",
        form: Form::Identifier,
        subject: Subject::AccountHolder,
        category: Category::Connection,
        basis: Basis::LegitimateInterest,
        items: &[10],
        ..STATEMENT
    },
    // The exception: a relay without a gateway for text messages hands codes to its operator, who has to tell them apart.
    Field {
        column: "phone_code",
        meaning: "the code that verifies a phone number, since it is not sent there",
        ..CODE
    },
    Field { column: "number_ends", meaning: "the last two digits of that number", ..CODE },
    Field { column: "reason", meaning: "why a connection ended or was not made", ..STATEMENT },
    Field { column: "code", meaning: "the code of an error", ..STATEMENT },
    Field {
        column: "error",
        meaning: "the kind or the words of an error of the disk or the database; what is wrong with the operator's certificate or the cluster's key",
        ..STATEMENT
    },
    Field {
        column: "count",
        meaning: "how many envelopes expired, or were stamped by a clock that was ahead",
        form: Form::Number,
        ..STATEMENT
    },
    Field { column: "connections", meaning: "how many connections were closed", form: Form::Number, ..STATEMENT },
    Field { column: "events", meaning: "how many observations were not written", form: Form::Number, ..STATEMENT },
    Field { column: "bytes", meaning: "the size of an answer that was too large", form: Form::Number, ..STATEMENT },
    Field { column: "wiped", meaning: "how many pages were wiped", form: Form::Number, ..STATEMENT },
    Field { column: "retention_days", meaning: "the retention that is served", form: Form::Number, ..STATEMENT },
    Field {
        column: "step_seconds",
        meaning: "how far the clock is ahead of the relay's time",
        form: Form::Number,
        ..STATEMENT
    },
    Field { column: "version", meaning: "the program's version", ..STATEMENT },
    Field { column: "listen", meaning: "the relay's own address", ..STATEMENT },
    Field { column: "monitoring", meaning: "where metrics and health are", ..STATEMENT },
    Field { column: "accounts", meaning: "how many accounts there are", form: Form::Number, ..STATEMENT },
    Field { column: "waiting", meaning: "how many envelopes wait", form: Form::Number, ..STATEMENT },
    Field { column: "table", meaning: "the table in which rows cannot be read", ..STATEMENT },
    Field { column: "damaged", meaning: "how many rows cannot be read", form: Form::Number, ..STATEMENT },
    Field {
        column: "cursor",
        meaning: "the place of an envelope that cannot be read",
        form: Form::Number,
        ..STATEMENT
    },
    Field { column: "node", meaning: "the number of a relay of the cluster", form: Form::Number, ..STATEMENT },
    Field { column: "epoch", meaning: "how often that relay, or a part of it, began", form: Form::Number, ..STATEMENT },
    Field { column: "address", meaning: "where that relay is reached by the others", ..STATEMENT },
    Field {
        column: "writer",
        meaning: "the number of a part of the relay that writes",
        form: Form::Number,
        ..STATEMENT
    },
    Field { column: "group", meaning: "the name of a group of servers, as the operator chose it", ..STATEMENT },
    Field {
        column: "slots",
        meaning: "how many parts of the store a relay took over or writes to",
        form: Form::Number,
        ..STATEMENT
    },
    Field { column: "observe", meaning: "whether observations are written", form: Form::Flag, ..STATEMENT },
];

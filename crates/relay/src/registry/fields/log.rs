//! The fields that the relay's log statements carry. None names a person, and a test reads the statements.

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
    Field { column: "reason", meaning: "why a connection ended or was not made", ..STATEMENT },
    Field { column: "code", meaning: "the code of an error", ..STATEMENT },
    Field {
        column: "error",
        meaning: "the kind of an error of the disk or the database; what is wrong with the operator's certificate",
        ..STATEMENT
    },
    Field { column: "count", meaning: "how many envelopes expired", form: Form::Number, ..STATEMENT },
    Field { column: "connections", meaning: "how many connections were closed", form: Form::Number, ..STATEMENT },
    Field { column: "events", meaning: "how many observations were not written", form: Form::Number, ..STATEMENT },
    Field { column: "bytes", meaning: "the size of an answer that was too large", form: Form::Number, ..STATEMENT },
    Field { column: "wiped", meaning: "how many pages were wiped", form: Form::Number, ..STATEMENT },
    Field { column: "retention_days", meaning: "the retention that is served", form: Form::Number, ..STATEMENT },
    Field { column: "observe", meaning: "whether observations are written", form: Form::Flag, ..STATEMENT },
];

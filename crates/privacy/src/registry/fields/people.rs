//! What stands in `people.db`: what accounts have a right to, and, in a relay with the extension `demonstration`, what people
//! tell beyond what delivering mail needs, at L0 only.

use crate::registry::field::{
    Basis, Category, Deletion, Field, Form, Level, Place, Purpose, Recipient, Retention, Section, Subject,
};
use crate::retention::{MAX_REPORT_DAYS, TRACE_DAYS};

/// What an account's holder says about himself.
const PROFILE: Field = Field {
    place: Place::People,
    table: "profile",
    column: "",
    meaning: "",
    form: Form::Text,
    subject: Subject::AccountHolder,
    category: Category::Account,
    purpose: Purpose::Discovery,
    basis: Basis::Consent,
    retention: Retention::WithAccount,
    recipients: &[Recipient::OwnDevices, Recipient::RegisteredUsers],
    levels: &[Level::L0],
    report: Section::AccountInformation,
    deletion: Deletion::Account,
    items: &[16, 29],
};

/// When he said it.
const PROFILE_DATE: Field = Field { form: Form::Time, recipients: &[Recipient::OwnDevices], ..PROFILE };

/// A number whose code came back.
const PHONE: Field = Field { table: "phone", recipients: &[Recipient::OwnDevices], ..PROFILE };

/// A number whose code is on its way.
const PHONE_CODE: Field = Field {
    table: "phone_code",
    purpose: Purpose::Authentication,
    retention: Retention::UntilUsed { at_most_minutes: 60 },
    recipients: &[],
    report: Section::None,
    deletion: Deletion::UseOrPurge,
    items: &[16],
    ..PROFILE
};

/// What an account's holder says about others.
const ADDRESS_BOOK: Field = Field {
    table: "address_book",
    subject: Subject::Others,
    category: Category::Contacts,
    recipients: &[Recipient::OwnDevices],
    report: Section::Connections,
    items: &[17, 18, 30],
    ..PROFILE
};

/// What a client says about its machine.
const DEVICE: Field = Field {
    table: "device_details",
    category: Category::Connection,
    purpose: Purpose::Demonstration,
    recipients: &[Recipient::OwnDevices],
    items: &[12, 14, 29],
    ..PROFILE
};

/// What a client that simulates a phone made up about it.
const SIMULATED: Field = Field { table: "simulated_detail", items: &[12, 13, 15, 29], ..DEVICE };

/// Which terms were accepted.
const CONSENT: Field = Field {
    table: "consent",
    purpose: Purpose::Duty,
    basis: Basis::LegalObligation,
    recipients: &[Recipient::OwnDevices],
    levels: Level::ALL,
    report: Section::Settings,
    items: &[23, 27, 31],
    ..PROFILE
};

/// A report that was asked for.
const REPORT: Field = Field {
    table: "report_request",
    form: Form::Time,
    retention: Retention::AtMost { days: MAX_REPORT_DAYS },
    deletion: Deletion::AccountOrPurge,
    items: &[28, 34],
    ..CONSENT
};

/// A limit that an account ran into.
const INCIDENT: Field = Field {
    table: "incident",
    form: Form::Number,
    category: Category::Operation,
    purpose: Purpose::Protection,
    basis: Basis::LegitimateInterest,
    retention: Retention::AtMost { days: TRACE_DAYS },
    recipients: &[],
    levels: Level::ALL,
    deletion: Deletion::Deidentify,
    items: &[32],
    ..PROFILE
};

/// An account that the law holds back. Whether its holder may be told is not the program's to decide.
const HOLD: Field = Field {
    table: "hold",
    purpose: Purpose::Duty,
    basis: Basis::LegalObligation,
    retention: Retention::WhileHeld,
    recipients: &[],
    levels: Level::ALL,
    report: Section::None,
    deletion: Deletion::Release,
    items: &[32],
    ..PROFILE
};

/// What is left of it when it was deleted.
const HELD: Field = Field { table: "held", ..HOLD };

/// An export of the demonstration.
const SHARED: Field = Field {
    table: "shared",
    subject: Subject::Nobody,
    category: Category::Operation,
    purpose: Purpose::Duty,
    basis: Basis::NotPersonal,
    retention: Retention::OperatorsChoice,
    recipients: &[],
    levels: Level::ALL,
    report: Section::Recipients,
    deletion: Deletion::Nothing,
    items: &[20, 22, 25],
    ..PROFILE
};

/// Whom it told about.
const SHARED_ACCOUNT: Field =
    Field { table: "shared_account", form: Form::Identifier, report: Section::None, items: &[20, 22, 25], ..CONSENT };

/// What is counted and is about no person.
const COUNT: Field = Field {
    table: "deletion",
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
    items: &[32],
    ..PROFILE
};

/// The entries of the extension `demonstration`.
pub const DISCLOSURES: &[&[Field]] = &[TOLD, SHARING];

/// The relay's own.
pub const RIGHTS: &[&[Field]] = &[ASKED, COUNTED];

/// What people told, and what they accepted.
pub const TOLD: &[Field] = &[
    Field { column: "account", meaning: "whose number it is", form: Form::Identifier, ..PHONE },
    Field { column: "number", meaning: "a phone number that was verified by a code", ..PHONE },
    Field { column: "verified_at", meaning: "when the code came back", form: Form::Time, ..PHONE },
    Field { column: "account", meaning: "who waits for a code", form: Form::Identifier, ..PHONE_CODE },
    Field { column: "number", meaning: "the phone number that the code was sent to", ..PHONE_CODE },
    Field { column: "code_hash", meaning: "the SHA-256 of account and code", form: Form::Identifier, ..PHONE_CODE },
    Field { column: "expires_at", meaning: "when the code stops being good", form: Form::Time, ..PHONE_CODE },
    Field { column: "attempts_left", meaning: "how often it may still be guessed", form: Form::Number, ..PHONE_CODE },
    Field { column: "account", meaning: "whose profile it is", form: Form::Identifier, ..PROFILE },
    Field { column: "display_name", meaning: "the name to be shown", ..PROFILE },
    Field { column: "display_name_at", meaning: "when that name was given", ..PROFILE_DATE },
    Field { column: "email", meaning: "the e-mail address", recipients: &[Recipient::OwnDevices], ..PROFILE },
    Field { column: "email_at", meaning: "when that address was given", ..PROFILE_DATE },
    Field { column: "about", meaning: "the about text", items: &[8, 16, 29], ..PROFILE },
    Field { column: "about_at", meaning: "when that text was written", ..PROFILE_DATE },
    Field { column: "picture", meaning: "the profile's picture", items: &[8, 16, 29], ..PROFILE },
    Field { column: "picture_at", meaning: "when that picture was given", ..PROFILE_DATE },
    Field {
        column: "public",
        meaning: "whether everybody who looks the account up sees name, about text and picture",
        form: Form::Flag,
        recipients: &[Recipient::OwnDevices],
        report: Section::Settings,
        items: &[8],
        ..PROFILE
    },
    Field { column: "owner", meaning: "whose address book it is", form: Form::Identifier, ..ADDRESS_BOOK },
    Field { column: "phone", meaning: "the phone number of somebody, with or without an account", ..ADDRESS_BOOK },
    Field { column: "name", meaning: "what the book's owner calls that person", ..ADDRESS_BOOK },
    Field { column: "email", meaning: "that person's e-mail address", ..ADDRESS_BOOK },
    Field { column: "birthday", meaning: "that person's birthday", ..ADDRESS_BOOK },
    Field { column: "address", meaning: "where that person lives", ..ADDRESS_BOOK },
    Field { column: "uploaded_at", meaning: "when the entry was uploaded", form: Form::Time, ..ADDRESS_BOOK },
    Field { column: "account", meaning: "whose device it is", form: Form::Identifier, ..DEVICE },
    Field { column: "device", meaning: "which of the account's devices it is", form: Form::Number, ..DEVICE },
    Field { column: "model", meaning: "the device's model", ..DEVICE },
    Field { column: "system", meaning: "its operating system", ..DEVICE },
    Field { column: "system_version", meaning: "the version of that", ..DEVICE },
    Field { column: "app_version", meaning: "the version of the client", ..DEVICE },
    Field { column: "language", meaning: "the language that is set", ..DEVICE },
    Field { column: "network", meaning: "the kind of network that it is in", ..DEVICE },
    Field { column: "reported_at", meaning: "when the client last said so", form: Form::Time, ..DEVICE },
    Field { column: "account", meaning: "whose device it is", form: Form::Identifier, ..SIMULATED },
    Field { column: "device", meaning: "which of the account's devices it is", form: Form::Number, ..SIMULATED },
    Field { column: "what", meaning: "what a simulated phone allowed", ..SIMULATED },
    Field { column: "value", meaning: "what was made up about it: nothing is measured", ..SIMULATED },
    Field { column: "account", meaning: "who accepted", form: Form::Identifier, ..CONSENT },
    Field { column: "version", meaning: "which version of the demonstration's terms was accepted", ..CONSENT },
    Field { column: "accepted_at", meaning: "when it was accepted", form: Form::Time, ..CONSENT },
    Field {
        column: "advertising",
        meaning: "whether it was accepted with use for advertising",
        form: Form::Flag,
        ..CONSENT
    },
    Field { column: "objected_at", meaning: "when use for advertising was refused later", form: Form::Time, ..CONSENT },
];

/// What accounts asked for, limits and holds.
pub const ASKED: &[Field] = &[
    Field { column: "account", meaning: "who asked for a report", form: Form::Identifier, ..REPORT },
    Field { column: "requested_at", meaning: "when it was asked for", ..REPORT },
    Field { column: "ready_at", meaning: "when it can be fetched", ..REPORT },
    Field { column: "kept_until", meaning: "until when it can be fetched", ..REPORT },
    Field {
        column: "report",
        meaning: "the report, while it is fetched",
        form: Form::Text,
        report: Section::None,
        ..REPORT
    },
    Field { column: "id", meaning: "the incident's number", subject: Subject::Nobody, items: &[], ..INCIDENT },
    Field { column: "at", meaning: "when somebody ran into a limit, to the minute", form: Form::Time, ..INCIDENT },
    Field { column: "kind", meaning: "which limit", form: Form::Text, ..INCIDENT },
    Field { column: "account", meaning: "who ran into it", form: Form::Identifier, ..INCIDENT },
    Field { column: "count", meaning: "how often in that minute", ..INCIDENT },
    Field { column: "account", meaning: "whose data the law holds back", form: Form::Identifier, ..HOLD },
    Field { column: "reason", meaning: "why", ..HOLD },
    Field { column: "since", meaning: "since when", form: Form::Time, ..HOLD },
    Field {
        column: "account",
        meaning: "a deleted account whose data the law holds back",
        form: Form::Identifier,
        ..HELD
    },
    Field { column: "taken_at", meaning: "when it was deleted", form: Form::Time, ..HELD },
    Field { column: "reason", meaning: "why its data are held back", ..HELD },
    Field { column: "report", meaning: "its report, as it was in the moment of its deletion", ..HELD },
];

/// What was exported.
pub const SHARING: &[Field] = &[
    Field { column: "id", meaning: "the export's number", form: Form::Number, ..SHARED },
    Field { column: "at", meaning: "when data were exported", form: Form::Time, ..SHARED },
    Field { column: "what", meaning: "which data", ..SHARED },
    Field { column: "recipient", meaning: "for whom", ..SHARED },
    Field { column: "accounts", meaning: "how many accounts it told about", form: Form::Number, ..SHARED },
    Field { column: "account", meaning: "an account that an export told about", ..SHARED_ACCOUNT },
    Field { column: "shared", meaning: "which export", form: Form::Number, ..SHARED_ACCOUNT },
];

/// How many accounts were deleted.
pub const COUNTED: &[Field] = &[
    Field { column: "day", meaning: "a day, counted from 1970 on", ..COUNT },
    Field { column: "accounts", meaning: "how many accounts were deleted on it", ..COUNT },
];

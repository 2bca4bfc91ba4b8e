//! What stands in `people.db`: what people tell beyond what delivering mail needs, at L0 only.

use crate::registry::field::{
    Basis, Category, Deletion, Field, Form, Level, Place, Purpose, Recipient, Retention, Section, Subject,
};

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
    retention: Retention::UntilReplaced,
    recipients: &[],
    report: Section::None,
    deletion: Deletion::Replace,
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

pub const FIELDS: &[Field] = &[
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
];

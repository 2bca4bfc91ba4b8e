//! What the operator sets, by the keys of the configuration file. None of it is about users.

use crate::registry::field::{
    Basis, Category, Deletion, Field, Form, Level, Place, Purpose, Retention, Section, Subject,
};

const SETTING: Field = Field {
    place: Place::Configuration,
    table: "relay",
    column: "",
    meaning: "",
    form: Form::Text,
    subject: Subject::Operator,
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

const LIMIT: Field = Field { table: "limits", form: Form::Number, purpose: Purpose::Protection, ..SETTING };

/// Of a relay with the demonstration only. Any other takes them as `false`.
pub const DEMONSTRATION: &[Field] = &[
    Field { column: "observe", meaning: "whether observe.db is written", form: Form::Flag, items: &[9], ..SETTING },
    Field {
        column: "demonstration",
        meaning: "whether terms can be accepted and exports made; also written to serving.toml",
        form: Form::Flag,
        items: &[20, 23],
        ..SETTING
    },
];

pub const FIELDS: &[Field] = &[
    Field { column: "listen", meaning: "the address that the relay listens on", ..SETTING },
    Field {
        column: "public_host",
        meaning: "the host that stands in the relay's address; the address is also written to serving.toml",
        ..SETTING
    },
    Field { column: "data", meaning: "the directory of all that the relay keeps", ..SETTING },
    Field { column: "store", meaning: "where PostgreSQL is, if the relay keeps its store there", ..SETTING },
    Field {
        table: "blobs",
        column: "store",
        meaning: "the directory of files on their way, if the relay keeps its store in PostgreSQL",
        ..SETTING
    },
    Field { column: "ready_file", meaning: "where the relay's address is written", ..SETTING },
    Field {
        column: "retention_days",
        meaning: "days that undelivered envelopes are kept; also written to serving.toml",
        form: Form::Number,
        items: &[3, 33],
        ..SETTING
    },
    Field { column: "registration", meaning: "who may register", ..SETTING },
    Field {
        column: "region",
        meaning: "where the relay stands, by the operator's own words; also written to serving.toml",
        items: &[2],
        ..SETTING
    },
    Field {
        column: "report_delay_hours",
        meaning: "hours from asking for a report to having it",
        form: Form::Number,
        items: &[28],
        ..SETTING
    },
    Field { column: "drain_seconds", meaning: "time for clients when the relay stops", form: Form::Number, ..SETTING },
    Field { table: "tls", column: "certificate", meaning: "the operator's certificate", ..SETTING },
    Field { table: "tls", column: "key", meaning: "the file of its private key", ..SETTING },
    Field { table: "cluster", column: "name", meaning: "the name of this relay among those of one store", ..SETTING },
    Field { table: "cluster", column: "listen", meaning: "the address that the other relays reach", ..SETTING },
    Field { table: "cluster", column: "address", meaning: "that address as the others see it", ..SETTING },
    Field {
        table: "cluster",
        column: "key",
        meaning: "the file of the key that these relays have in common",
        ..SETTING
    },
    Field { table: "log", column: "level", meaning: "how much is logged", ..SETTING },
    Field { table: "log", column: "json", meaning: "whether the log is JSON", form: Form::Flag, ..SETTING },
    Field { table: "monitoring", column: "listen", meaning: "the address of metrics and health checks", ..SETTING },
    Field {
        table: "monitoring",
        column: "any_address",
        meaning: "whether other machines may reach that address",
        form: Form::Flag,
        ..SETTING
    },
    Field {
        table: "monitoring",
        column: "ready_free_mib",
        meaning: "free disk space below which the relay is not ready",
        form: Form::Number,
        ..SETTING
    },
    Field { column: "connections", meaning: "connections in all", ..LIMIT },
    Field { column: "connections_per_address", meaning: "connections from one address", ..LIMIT },
    Field { column: "requests_per_device", meaning: "requests of one device", ..LIMIT },
    Field { column: "registrations_per_address", meaning: "registrations from one address", ..LIMIT },
    Field { column: "lookups_per_device", meaning: "look-ups of one device", ..LIMIT },
    Field { column: "bundles_per_device", meaning: "prekey bundles that one device takes", ..LIMIT },
    Field { column: "bundles_per_taker", meaning: "prekey bundles of one account that another one takes", ..LIMIT },
    Field { column: "sealed_per_address", meaning: "sealed envelopes from one address", ..LIMIT },
    Field { column: "kib_per_account", meaning: "KiB of requests of one account", ..LIMIT },
    Field { column: "sealed_kib_per_address", meaning: "KiB of sealed envelopes from one address", ..LIMIT },
    Field { column: "one_time_prekeys_per_account", meaning: "bundles with one-time prekeys of one account", ..LIMIT },
    Field {
        column: "one_time_prekeys_per_taker",
        meaning: "bundles with one-time prekeys of one account that another one takes",
        ..LIMIT
    },
    Field { column: "young_account_mib", meaning: "how much an account submits in its first 24 hours", ..LIMIT },
    Field {
        column: "low_water_mib",
        meaning: "free disk space below which nobody registers and nothing is stored for new accounts",
        ..LIMIT
    },
    Field { column: "reports_per_account", meaning: "reports that one account asks for", ..LIMIT },
    Field { column: "phone_codes_per_account", meaning: "codes that one account asks for", ..LIMIT },
    Field { column: "phone_codes_per_number", meaning: "codes that are sent to one number", ..LIMIT },
    Field {
        column: "numbers_checked_per_account",
        meaning: "numbers of other people that one account has compared with verified ones",
        items: &[17],
        ..LIMIT
    },
    Field { column: "max_file_mib", meaning: "how large a file may be", ..LIMIT },
    Field { column: "blob_disk_percent", meaning: "how full the disk may be before files are refused", ..LIMIT },
    Field {
        column: "blob_mib_per_account",
        meaning: "how much an account's files may take until they are fetched",
        ..LIMIT
    },
    Field { column: "blobs_per_account", meaning: "how many files of an account may wait", ..LIMIT },
    Field {
        column: "blob_transfers_per_account",
        meaning: "how many transfers of files an account has at once",
        ..LIMIT
    },
    Field {
        column: "blob_transfers_per_address",
        meaning: "how many transfers of files that name no account come from one address at once",
        ..LIMIT
    },
    Field { column: "uploads_per_account", meaning: "files that one account uploads", ..LIMIT },
    Field { column: "upload_kib_per_account", meaning: "KiB of files that one account uploads", ..LIMIT },
    Field { column: "blob_read_kib_per_account", meaning: "KiB of files that one account reads", ..LIMIT },
    Field {
        column: "blob_read_kib_per_address",
        meaning: "KiB of files that are read from one address without a name",
        ..LIMIT
    },
];

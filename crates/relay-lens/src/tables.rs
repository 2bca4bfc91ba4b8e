//! The extension's tables in `people.db`. All times: Unix milliseconds. Accounts are the 16 bytes of `relay.db`'s
//! `account.id`.

use rusqlite::Transaction;

use kuvert_privacy::registry::fields::people::DISCLOSURES;
use kuvert_relay_sqlite::people::schema::Tables;

/// Steps that were released are never edited.
pub const TABLES: Tables = Tables { steps: [V1, V2, V3], fields: DISCLOSURES };

const V1: &str = "
CREATE TABLE phone(                            -- numbers whose code came back: one for an account, one account for a number
    account BLOB NOT NULL PRIMARY KEY,
    number TEXT NOT NULL UNIQUE,               -- E.164
    verified_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE phone_code(                       -- numbers whose code is on its way
    account BLOB NOT NULL PRIMARY KEY,
    number TEXT NOT NULL,
    code_hash BLOB NOT NULL,                   -- SHA-256 of account and code: whoever reads this still has to guess
    expires_at INTEGER NOT NULL,
    attempts_left INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE profile(                          -- each part with the time of its last change
    account BLOB NOT NULL PRIMARY KEY,
    display_name TEXT, display_name_at INTEGER,
    email TEXT, email_at INTEGER,
    about TEXT, about_at INTEGER,
    picture BLOB, picture_at INTEGER,
    public INTEGER NOT NULL DEFAULT 0          -- 1: whoever looks the account up sees display name, about text and picture
) STRICT, WITHOUT ROWID;

CREATE TABLE address_book(                     -- also of people who have no account and were never asked
    owner BLOB NOT NULL,
    phone TEXT NOT NULL,                       -- E.164
    name TEXT, email TEXT, birthday TEXT, address TEXT,
    uploaded_at INTEGER NOT NULL,
    PRIMARY KEY(owner, phone)
) STRICT, WITHOUT ROWID;
CREATE INDEX address_book_phone ON address_book(phone);

CREATE TABLE device_details(                   -- what a client says about the machine it runs on
    account BLOB NOT NULL,
    device INTEGER NOT NULL,
    model TEXT, system TEXT, system_version TEXT, app_version TEXT, language TEXT, network TEXT,
    reported_at INTEGER NOT NULL,
    PRIMARY KEY(account, device)
) STRICT, WITHOUT ROWID;
";

/// Consents, and what was shared.
const V2: &str = "
CREATE TABLE consent(                          -- which terms an account accepted
    account BLOB NOT NULL,
    version TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    advertising INTEGER NOT NULL,              -- 1: accepted with use for advertising
    objected_at INTEGER,                       -- when that was taken back
    PRIMARY KEY(account, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE shared(                           -- exports of the demonstration
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    what TEXT NOT NULL,
    recipient TEXT NOT NULL,
    accounts INTEGER NOT NULL                  -- how many it told about
) STRICT;

CREATE TABLE shared_account(                   -- and which of those that still exist
    account BLOB NOT NULL,
    shared INTEGER NOT NULL,
    PRIMARY KEY(account, shared)
) STRICT, WITHOUT ROWID;
";

/// A simulated phone.
const V3: &str = "
CREATE TABLE simulated_detail(                 -- what a client that simulates a phone made up: nothing of it is measured
    account BLOB NOT NULL,
    device INTEGER NOT NULL,
    what TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY(account, device, what)
) STRICT, WITHOUT ROWID;
";

/// Whether this database has them: a relay that never had the extension makes none.
///
/// # Errors
/// What SQLite says.
pub fn stand(tx: &Transaction<'_>) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'consent'")?.exists([])
}

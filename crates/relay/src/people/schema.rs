//! Tables and versions of `people.db`.

use std::path::Path;
use std::time::Duration;

use kuvert_privacy::registry::Place;
use rusqlite::{Connection, OpenFlags};

use super::PeopleError;
use crate::store::sqlite::registered::{self, CheckError};

/// Step `n` leads from version `n` to `n + 1`. Steps that were released are never edited.
const MIGRATIONS: &[&str] = &[V1, V2, V3];

/// The version that this program writes.
pub const VERSION: i64 = MIGRATIONS.len() as i64;

/// How long another process may hold the database before a transaction fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// All times: Unix milliseconds. Accounts are the 16 bytes of `relay.db`'s `account.id`.
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

/// Rights, consents, and what was shared.
const V2: &str = "
CREATE TABLE consent(                          -- which terms an account accepted
    account BLOB NOT NULL,
    version TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    advertising INTEGER NOT NULL,              -- 1: accepted with use for advertising
    objected_at INTEGER,                       -- when that was taken back
    PRIMARY KEY(account, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE report_request(                   -- one for an account
    account BLOB NOT NULL PRIMARY KEY,
    requested_at INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    kept_until INTEGER NOT NULL,
    report BLOB                                -- made when it is fetched first, so that its pieces fit together
) STRICT, WITHOUT ROWID;

CREATE TABLE incident(                         -- a limit that somebody ran into; a row for a minute
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    account BLOB,                              -- null: deleted since
    count INTEGER NOT NULL
) STRICT;
CREATE INDEX incident_account ON incident(account);

CREATE TABLE hold(                             -- accounts whose report is kept when they are deleted
    account BLOB NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE held(                             -- the reports of those that were deleted since
    account BLOB NOT NULL PRIMARY KEY,
    taken_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    report BLOB NOT NULL                       -- a Report of proto/kuvert/v1/relay.proto
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

CREATE TABLE deletion(                         -- accounts that were deleted, and nothing about which
    day INTEGER NOT NULL PRIMARY KEY,          -- since 1970-01-01
    accounts INTEGER NOT NULL
) STRICT;
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

/// Opens a database with the newest schema; one that may only be read, with the one that it has.
pub fn open(path: &Path, flags: OpenFlags) -> Result<Connection, PeopleError> {
    let refuse = |error| PeopleError::Database { path: path.to_owned(), error };
    let mut connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(refuse)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(refuse)?;
    let found = version(&connection).map_err(refuse)?;
    if found > VERSION {
        return Err(PeopleError::Newer { path: path.to_owned(), found });
    }
    if !flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        prepare(&mut connection, found).map_err(refuse)?;
        registered::check(Place::People, &connection).map_err(|error| match error {
            CheckError::Mismatch(mismatch) => PeopleError::Unregistered { path: path.to_owned(), mismatch },
            CheckError::Database(error) => refuse(error),
        })?;
    }
    Ok(connection)
}

/// The version of a database's schema.
pub fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn prepare(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is deleted is overwritten; the rollback journal is deleted with each transaction.
    connection.pragma_update(None, "secure_delete", "ON")?;
    // VACUUM would put a copy of everything into the system's directory for temporary files.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    for (step, sql) in (0..).zip(MIGRATIONS).skip_while(|(step, _)| *step < found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", step + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

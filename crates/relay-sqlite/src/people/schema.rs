//! Tables and versions of `people.db`. The relay has tables of its own there, and an extension may have others: each makes
//! its own, and they count versions together.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use kuvert_privacy::registry::fields::people::{DISCLOSURES, RIGHTS};
use kuvert_privacy::registry::{Field, Place};
use rusqlite::{Connection, OpenFlags, Transaction};

use super::PeopleError;
use crate::store::registered::{self, CheckError};

/// The version that this program writes.
pub const VERSION: i64 = STEPS as i64;

/// Steps from an empty database to the newest.
const STEPS: usize = 3;

/// The relay's own. Step `n` leads from version `n` to `n + 1`. Steps that were released are never edited.
const MIGRATIONS: [&str; STEPS] = ["", V2, ""];

/// How long another process may hold the database before a transaction fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What an extension stores in `people.db`.
#[derive(Debug)]
pub struct Tables {
    /// SQL that makes them: step `n` leads from version `n` to `n + 1`.
    pub steps: [&'static str; STEPS],
    /// Their columns, as the registry tells of them.
    pub fields: &'static [&'static [Field]],
}

/// What a database is opened for.
#[derive(Clone, Copy, Debug)]
pub enum Opening {
    /// To serve it, with the tables of the relay and of this extension, and no others.
    Serve(Option<&'static Tables>),
    /// For a command beside the relay: with the tables that are there.
    Beside,
}

/// Rights. All times: Unix milliseconds. Accounts are the 16 bytes of `relay.db`'s `account.id`.
const V2: &str = "
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

CREATE TABLE deletion(                         -- accounts that were deleted, and nothing about which
    day INTEGER NOT NULL PRIMARY KEY,          -- since 1970-01-01
    accounts INTEGER NOT NULL
) STRICT;
";

/// Opens a database with the newest schema; one that may only be read, with the one that it has.
pub fn open(path: &Path, flags: OpenFlags, opening: Opening) -> Result<Connection, PeopleError> {
    let refuse = |error| PeopleError::Database { path: path.to_owned(), error };
    let mut connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(refuse)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(refuse)?;
    let found = version(&connection).map_err(refuse)?;
    if found > VERSION {
        return Err(PeopleError::Newer { path: path.to_owned(), found });
    }
    if flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        return Ok(connection);
    }
    let strange = extension_tables(&connection).map_err(refuse)?;
    let extension = match opening {
        Opening::Serve(extension) => extension,
        Opening::Beside if found == 0 || found == VERSION => None,
        Opening::Beside => return Err(PeopleError::Older { path: path.to_owned(), found }),
    };
    let drops = matches!(opening, Opening::Serve(None));
    if drops && holds_rows(&connection, &strange).map_err(refuse)? {
        return Err(PeopleError::Disclosures { path: path.to_owned() });
    }
    prepare(&mut connection, found, extension, !strange.is_empty()).map_err(refuse)?;
    let kept = match opening {
        Opening::Beside => strange,
        Opening::Serve(extension) => {
            if drops {
                drop_tables(&mut connection, &strange).map_err(refuse)?;
            }
            extension.iter().flat_map(|tables| names(tables.fields)).collect()
        }
    };
    let fields = RIGHTS.iter().chain(DISCLOSURES).copied().flatten();
    let own: BTreeSet<&str> = names(RIGHTS).collect();
    let told = fields.filter(|field| own.contains(field.table) || kept.contains(field.table));
    registered::check_against(told, Place::People, &connection).map_err(|error| match error {
        CheckError::Mismatch(mismatch) => PeopleError::Unregistered { path: path.to_owned(), mismatch },
        CheckError::Database(error) => refuse(error),
    })?;
    Ok(connection)
}

/// The version of a database's schema.
pub fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// The tables that these columns are in.
fn names(fields: &'static [&'static [Field]]) -> impl Iterator<Item = &'static str> {
    fields.iter().copied().flatten().map(|field| field.table)
}

/// The tables of an extension that are there.
fn extension_tables(connection: &Connection) -> rusqlite::Result<BTreeSet<&'static str>> {
    let mut here = connection.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?;
    let mut found = BTreeSet::new();
    for name in names(DISCLOSURES) {
        if here.exists([name])? {
            found.insert(name);
        }
    }
    Ok(found)
}

/// Whether an extension's tables hold anything.
pub fn holds_disclosures(connection: &Connection) -> rusqlite::Result<bool> {
    holds_rows(connection, &extension_tables(connection)?)
}

fn holds_rows(connection: &Connection, tables: &BTreeSet<&str>) -> rusqlite::Result<bool> {
    for table in tables {
        if connection.prepare(&format!("SELECT 1 FROM {table}"))?.exists([])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All of them or none.
fn drop_tables(connection: &mut Connection, tables: &BTreeSet<&str>) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for table in tables {
        transaction.execute_batch(&format!("DROP TABLE {table}"))?;
    }
    transaction.commit()
}

/// `before`: the extension's tables were there already.
fn prepare(connection: &mut Connection, found: i64, extension: Option<&Tables>, before: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is deleted is overwritten; the rollback journal is deleted with each transaction.
    connection.pragma_update(None, "secure_delete", "ON")?;
    // VACUUM would put a copy of everything into the system's directory for temporary files.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    for (step, sql) in (0..).zip(MIGRATIONS).skip_while(|(step, _)| *step < found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        if let (Some(tables), true) = (extension, before) {
            extend(&transaction, tables, step)?;
        }
        transaction.pragma_update(None, "user_version", step + 1)?;
        transaction.commit()?;
    }
    // The first time with the extension, from the first step on.
    if let (Some(tables), false) = (extension, before) {
        let transaction = connection.transaction()?;
        tables.steps.iter().try_for_each(|sql| transaction.execute_batch(sql))?;
        transaction.commit()?;
    }
    Ok(())
}

fn extend(transaction: &Transaction<'_>, tables: &Tables, step: i64) -> rusqlite::Result<()> {
    let sql = usize::try_from(step).ok().and_then(|step| tables.steps.get(step));
    sql.map_or(Ok(()), |sql| transaction.execute_batch(sql))
}

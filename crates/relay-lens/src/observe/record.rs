//! Reading back what `--observe` wrote, also while the relay runs.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row};

/// How long the relay's own writing may keep a reader waiting.
const BUSY: Duration = Duration::from_secs(2);

/// The observation database cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the observations ({0}). Did the relay run with --observe?")]
pub struct RecordError(#[from] rusqlite::Error);

/// A row of the observations: what the relay learned when. Every kind of event fills in what it knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// The event's number; they rise.
    pub id: i64,
    /// Unix milliseconds.
    pub at: u64,
    /// What happened, as in the column `kind`: `connected`, `submitted` ….
    pub kind: String,
    /// On which connection.
    pub connection: Option<u32>,
    /// From which IP address.
    pub ip: Option<String>,
    /// From which port.
    pub port: Option<u16>,
    /// Which device: `account.device`.
    pub device: Option<String>,
    /// With whom: `account.device`, or an account.
    pub other: Option<String>,
    /// Whom the envelope names as its source.
    pub source: Option<String>,
    /// Which envelope, or file.
    pub envelope: Option<String>,
    /// Bytes of ciphertext.
    pub size: Option<u64>,
    /// How many. `file_created`: readers, where they have a capability each.
    pub count: Option<u64>,
    /// `submitted`: a repetition; `looked_up`: found; `bundle_taken`: with one-time prekeys; `file_done`: the last reader.
    pub yes: Option<bool>,
    /// The name that was taken or looked up.
    pub name: Option<String>,
    /// The phone number that was given.
    pub phone: Option<String>,
}

/// The observation database, for reading.
#[derive(Debug)]
pub struct Record(Connection);

impl Record {
    /// Opens `observe.db`.
    ///
    /// # Errors
    /// It is not there, or no such database.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(Self(connection))
    }

    /// The newest events, at most `limit`, in the order in which they were written.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn newest(&self, limit: usize) -> Result<Vec<Observed>, RecordError> {
        let mut statement = self.0.prepare_cached(
            "SELECT id, at, kind, connection, ip, port, device, other, source, envelope, size, count, yes, name, phone
             FROM (SELECT * FROM event ORDER BY id DESC LIMIT ?1) ORDER BY id",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let events = statement.query_map([limit], observed)?.collect::<rusqlite::Result<_>>()?;
        Ok(events)
    }
}

fn observed(row: &Row<'_>) -> rusqlite::Result<Observed> {
    Ok(Observed {
        id: row.get(0)?,
        at: row.get::<_, i64>(1)?.unsigned_abs(),
        kind: row.get(2)?,
        connection: row.get(3)?,
        ip: row.get(4)?,
        port: row.get(5)?,
        device: row.get(6)?,
        other: row.get(7)?,
        source: row.get(8)?,
        envelope: row.get(9)?,
        size: row.get::<_, Option<i64>>(10)?.map(i64::unsigned_abs),
        count: row.get::<_, Option<i64>>(11)?.map(i64::unsigned_abs),
        yes: row.get(12)?,
        name: row.get(13)?,
        phone: row.get(14)?,
    })
}

//! What stands in the relay's own files, read from outside with SQLite, as an owner of the disk can.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kuvert_cli::error::Failure;
use kuvert_relay_lens::observe::{Observed, Record};
use kuvert_relay_sqlite::OBSERVE_FILE;
use kuvert_types::EnvelopeId;
use rusqlite::{Connection, OpenFlags};

/// How long the relay's own writing may keep us waiting.
const BUSY: Duration = Duration::from_secs(60);

/// The relay's data directory.
#[derive(Clone, Debug)]
pub struct RelayFiles {
    directory: PathBuf,
}

/// A row of the table `envelope`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingEnvelope {
    /// As the sender and `kuvert-relay-lens inspect` know it.
    pub id: String,
    /// The name of the account that it is for.
    pub recipient: String,
    /// The name of the account that it comes from; none if the sender did not tell.
    pub sender: Option<String>,
    /// Unix milliseconds.
    pub accepted_at: u64,
    /// The sealed bytes.
    pub ciphertext: Vec<u8>,
}

impl RelayFiles {
    /// The files of the relay that keeps its data there.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Everything that waits, in the order of arrival.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn waiting(&self) -> Result<Vec<WaitingEnvelope>, Failure> {
        let sql = "SELECT envelope.id, recipient.id, recipient.name, source, sender.name, accepted_at, ciphertext
                   FROM envelope JOIN device USING(mailbox) JOIN account AS recipient ON recipient.id = device.account
                   LEFT JOIN account AS sender ON sender.id = substr(source, 1, 16) ORDER BY cursor";
        let database = self.open("relay.db", OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let read = || {
            let mut statement = database.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                let source: Option<Vec<u8>> = row.get(3)?;
                Ok(WaitingEnvelope {
                    id: id_text(&row.get::<_, Vec<u8>>(0)?),
                    recipient: row.get::<_, Option<String>>(2)?.unwrap_or_else(|| "an account".to_owned()),
                    sender: source.map(|_| row.get::<_, Option<String>>(4)).transpose()?.flatten(),
                    accepted_at: row.get::<_, i64>(5)?.cast_unsigned(),
                    ciphertext: row.get(6)?,
                })
            })?;
            rows.collect::<Result<_, _>>()
        };
        read().map_err(|error: rusqlite::Error| unreadable(&error))
    }

    /// Puts the envelopes that wait for each recipient into another order. Only for a relay that is not running.
    ///
    /// # Errors
    /// The database cannot be changed.
    pub fn shuffle(&self, order: impl Fn(usize) -> Vec<usize>) -> Result<(), Failure> {
        let mut database = self.open("relay.db", OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let mut write = || {
            // What was moved must not stay behind as a copy.
            database.pragma_update(None, "secure_delete", "ON")?;
            let transaction = database.transaction()?;
            for (cursors, moved) in permuted(&transaction, &order)? {
                // Ids are not unique across the table: rows can be rewritten one after another.
                for (cursor, (id, source, accepted_at, ciphertext)) in cursors.into_iter().zip(moved) {
                    transaction.execute(
                        "UPDATE envelope SET id = ?2, source = ?3, accepted_at = ?4, ciphertext = ?5 WHERE cursor = ?1",
                        (cursor, id, source, accepted_at, ciphertext),
                    )?;
                }
            }
            transaction.commit()?;
            database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        };
        write().map_err(|error: rusqlite::Error| unreadable(&error))
    }

    /// The names that accounts took, by account.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn names(&self) -> Result<BTreeMap<String, String>, Failure> {
        let database = self.open("relay.db", OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let read = || {
            let mut statement = database.prepare("SELECT id, name FROM account WHERE name IS NOT NULL")?;
            let rows = statement.query_map([], |row| Ok((id_text(&row.get::<_, Vec<u8>>(0)?), row.get(1)?)))?;
            rows.collect::<Result<_, _>>()
        };
        read().map_err(|error: rusqlite::Error| unreadable(&error))
    }

    /// What the relay recorded of itself, in order.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn observations(&self) -> Result<Vec<Observed>, Failure> {
        let read = || Record::open(&self.directory.join(OBSERVE_FILE))?.newest(usize::MAX);
        read().map_err(|error| Failure::new("demo-relay-files", error.to_string()))
    }

    fn open(&self, file: &str, flags: OpenFlags) -> Result<Connection, Failure> {
        let open = || {
            let connection = Connection::open_with_flags(self.directory.join(file), flags)?;
            connection.busy_timeout(BUSY)?;
            Ok(connection)
        };
        open().map_err(|error: rusqlite::Error| unreadable(&error))
    }
}

/// Everything of an envelope but its place.
type Contents = (Vec<u8>, Option<Vec<u8>>, i64, Vec<u8>);

/// For each mailbox its cursors, and the contents in their new order.
fn permuted(
    database: &Connection,
    order: &impl Fn(usize) -> Vec<usize>,
) -> rusqlite::Result<Vec<(Vec<i64>, Vec<Contents>)>> {
    let mut mailboxes: BTreeMap<i64, (Vec<i64>, Vec<Contents>)> = BTreeMap::new();
    let mut statement = database
        .prepare("SELECT mailbox, cursor, id, source, accepted_at, ciphertext FROM envelope ORDER BY cursor")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (cursors, contents) = mailboxes.entry(row.get(0)?).or_default();
        cursors.push(row.get(1)?);
        contents.push((row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?));
    }
    let reorder = |(cursors, contents): (Vec<i64>, Vec<Contents>)| {
        let moved = order(contents.len()).into_iter().filter_map(|place| contents.get(place).cloned()).collect();
        (cursors, moved)
    };
    Ok(mailboxes.into_values().map(reorder).collect())
}

/// 16 bytes as people see them: accounts and envelopes are written alike.
fn id_text(bytes: &[u8]) -> String {
    EnvelopeId::try_from(bytes).map(|id| id.to_string()).unwrap_or_default()
}

fn unreadable(error: &rusqlite::Error) -> Failure {
    Failure::new("demo-relay-files", format!("the relay's files cannot be read: {error}"))
}

//! Where a report's values are read from: the relay's files, for `kuvert_privacy::report`.

pub mod rows;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kuvert_privacy::registry::Place;
use kuvert_privacy::report;
use kuvert_relay::store::{StoreError, Unavailable};
use kuvert_types::AccountId;
use kuvert_wire::v1;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use self::rows::{Mail, Reader};
use crate::OBSERVE_FILE;
use crate::blobs;
use crate::people::People;
use crate::store::{Inspector, OpenError, store_error};

/// How long the relay's own writing may keep us waiting.
const BUSY: Duration = Duration::from_secs(5);

/// Where the values are.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The relay's data directory.
    pub data: PathBuf,
    /// Days that undelivered envelopes are kept.
    pub retention_days: u32,
}

/// Files of an account's report beside the rows of the tables: an extension's.
pub trait Documents: Send + Sync + fmt::Debug + 'static {
    /// Name and content of each.
    ///
    /// # Errors
    /// Those of the store.
    fn documents(&self, people: &People, account: &AccountId) -> Result<Vec<(String, Value)>, StoreError>;
}

/// Makes the report of an account from a relay's files.
///
/// # Errors
/// They cannot be read.
pub fn gather(
    sources: &Sources,
    people: &People,
    documents: Option<&dyn Documents>,
    account: &AccountId,
    mail: &Mail,
    now: u64,
) -> Result<v1::Report, StoreError> {
    let mut reader = Reader::new(account, mail, sources.retention_days);
    let inspector = Inspector::open(&sources.data).map_err(|error| match error {
        OpenError::Store(error) => error,
        other => Unavailable::Io(other.to_string()).into(),
    })?;
    reader.read(Place::Database, inspector.connection()).map_err(|error| store_error(&error))?;
    people.transact(|tx| reader.read(Place::People, tx))?;
    if let Some(blobs) = blobs::look::open(&sources.data).map_err(|error| Unavailable::Io(error.to_string()))? {
        reader.read(Place::Blobs, &blobs).map_err(|error| store_error(&error))?;
    }
    let others = documents.map(|documents| documents.documents(people, account)).transpose()?;
    if let Some(observations) = observations(&sources.data).map_err(|error| store_error(&error))? {
        reader.read(Place::Observations, &observations).map_err(|error| store_error(&error))?;
    }
    let files = report::assemble(reader.rows, others, account, now);
    let files = files.into_iter().map(|file| v1::ReportFile { name: file.name, content: file.content.into() });
    Ok(v1::Report { files: files.collect() })
}

fn observations(data: &Path) -> rusqlite::Result<Option<Connection>> {
    let path = data.join(OBSERVE_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(Some(connection))
}

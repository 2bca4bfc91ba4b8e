//! Where a report's values are read from: the relay's files, for `kuvert_privacy::report`.

pub mod rows;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kuvert_privacy::registry::Place;
use kuvert_privacy::report;
use kuvert_types::AccountId;
use kuvert_wire::v1;
use rusqlite::{Connection, OpenFlags};

use self::rows::{Mail, Reader};
use crate::extension::Extension;
use crate::people::People;
use crate::relay::OBSERVE_FILE;
use crate::service::Service;
use crate::store::sqlite::{Inspector, OpenError, store_error};
use crate::store::{AccountBy, Cursor, StoreError, Unavailable};

/// How long the relay's own writing may keep us waiting.
const BUSY: Duration = Duration::from_secs(5);

/// Envelopes of a mailbox that are looked at in one go.
const MAIL_PAGE: (usize, usize) = (1_000, 1 << 20);

/// Where the values are.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The relay's data directory.
    pub data: PathBuf,
    /// Days that undelivered envelopes are kept.
    pub retention_days: u32,
}

/// Makes the report of an account, for a relay that serves.
///
/// # Errors
/// The files cannot be read.
pub async fn make(service: &Service, account: AccountId) -> Result<v1::Report, StoreError> {
    let record = service.store.account(AccountBy::Id(account)).await?;
    let mut cursors = Vec::new();
    for device in record.iter().flat_map(|record| &record.devices) {
        let mut after = Cursor::START;
        loop {
            let page = service.store.read(device.address, after, MAIL_PAGE.0, MAIL_PAGE.1).await?;
            cursors.extend(page.envelopes.iter().map(|envelope| envelope.cursor.get()));
            match page.envelopes.last() {
                Some(last) if page.more => after = last.cursor,
                _ => break,
            }
        }
    }
    let (sources, people, now) = (service.reports.clone(), service.people.clone(), service.clock.now_ms());
    let extension = service.extension.clone();
    let work = move || gather(&sources, &people, extension.as_deref(), &account, &Mail::At(cursors), now);
    let done = tokio::task::spawn_blocking(work).await;
    // The other error is that the work panicked, which has been printed.
    done.unwrap_or_else(|error| Err(Unavailable::Io(error.to_string()).into()))
}

/// Makes the report of an account from a relay's files.
///
/// # Errors
/// They cannot be read.
pub fn gather(
    sources: &Sources,
    people: &People,
    extension: Option<&dyn Extension>,
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
    let others = extension.map(|extension| extension.documents(people, account)).transpose()?.unwrap_or_default();
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

//! The report that an account can ask for: all that the relay holds about it, from its files, as the registry tells it.
//!
//! | file | holds |
//! |---|---|
//! | `manifest.json` | when, and the SHA-256 of every other file |
//! | `account_information.json`, `connections.json`, `settings.json`, `queue.json` | the fields of that section of the registry |
//! | `consents.json` | what was accepted, and what it means; of a relay with the extension `demonstration` |
//! | `recipients.json` | who may see which field, and whom data were given to |
//! | `not_held.json` | what the relay does not have, and why |
//! | `index.html` | the same, to read |
//!
//! | module | holds |
//! |---|---|
//! | [`rows`] | from the registry's entries to the values of one account |
//! | `page` | the file to read |

mod page;
pub mod rows;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kuvert_types::AccountId;
use kuvert_wire::v1;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::rows::{Mail, Rows};
use crate::extension::Extension;
use crate::people::People;
use crate::registry::field::Section;
use crate::registry::{self, Place, not_held};
use crate::relay::OBSERVE_FILE;
use crate::service::Service;
use crate::store::sqlite::{Inspector, OpenError, store_error};
use crate::store::{AccountBy, Cursor, StoreError, Unavailable};

/// Of the files' layout. A change of it is a new number.
pub const SCHEMA_VERSION: u32 = 1;

/// Sections of the registry, each a file of its own.
pub const SECTIONS: [Section; 5] =
    [Section::AccountInformation, Section::Connections, Section::Settings, Section::Queue, Section::Recipients];

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
    let mut rows = Rows::new(account, mail, sources.retention_days);
    let inspector = Inspector::open(&sources.data).map_err(|error| match error {
        OpenError::Store(error) => error,
        other => Unavailable::Io(other.to_string()).into(),
    })?;
    rows.read(Place::Database, inspector.connection()).map_err(|error| store_error(&error))?;
    people.transact(|tx| rows.read(Place::People, tx))?;
    let others = extension.map(|extension| extension.documents(people, account)).transpose()?.unwrap_or_default();
    if let Some(observations) = observations(&sources.data).map_err(|error| store_error(&error))? {
        rows.read(Place::Observations, &observations).map_err(|error| store_error(&error))?;
    }
    Ok(assemble(rows, others, account, now))
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

fn assemble(rows: Rows<'_>, others: Vec<(String, Value)>, account: &AccountId, now: u64) -> v1::Report {
    let shortened = rows.shortened.clone();
    let mut documents: Vec<(String, Value)> =
        SECTIONS.iter().map(|section| (format!("{section}.json"), Value::Object(rows.section(*section)))).collect();
    if let Some((_, Value::Object(recipients))) = documents.last_mut() {
        recipients.insert("fields".into(), fields_with_recipients());
    }
    documents.extend(others);
    documents.push(("not_held.json".into(), json!({ "not_held": not_held::ALL })));
    let page = page::html(&documents, account, now);
    let mut files: Vec<v1::ReportFile> = documents
        .into_iter()
        .map(|(name, document)| v1::ReportFile { name, content: format!("{document:#}\n").into_bytes().into() })
        .collect();
    files.push(v1::ReportFile { name: "index.html".into(), content: page.into_bytes().into() });
    let told: Vec<Value> = files
        .iter()
        .map(|file| {
            let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&file.content));
            json!({ "name": file.name, "sha256": digest, "bytes": file.content.len() })
        })
        .collect();
    let manifest = json!({
        "schema_version": SCHEMA_VERSION, "account": account.to_string(), "made_at": now, "files": told,
        "shortened": shortened,
    });
    let content = format!("{manifest:#}\n").into_bytes().into();
    files.insert(0, v1::ReportFile { name: "manifest.json".into(), content });
    v1::Report { files }
}

/// Who may see which personal field, beside the operator.
fn fields_with_recipients() -> Value {
    let fields = registry::all().filter(|field| field.is_personal() && !field.recipients.is_empty());
    fields
        .map(|field| json!({ "field": field.name(), "stored_in": field.place, "recipients": field.recipients }))
        .collect()
}

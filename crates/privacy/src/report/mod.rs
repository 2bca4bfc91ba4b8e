//! The report that an account can ask for: all that the relay holds about it, as the registry tells it.
//!
//! | file | holds |
//! |---|---|
//! | `manifest.json` | when, and the SHA-256 of every other file |
//! | `account_information.json`, `connections.json`, `settings.json`, `queue.json` | the fields of that section of the registry |
//! | `consents.json` | what was accepted, and what it means; nothing, of a relay without the demonstration |
//! | `recipients.json` | which field is seen by which others, and who was given data |
//! | `not_held.json` | what the relay does not have, and why |
//! | `index.html` | the same, to read |

mod page;

use std::collections::BTreeMap;

use kuvert_types::AccountId;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::demonstration::NOT_ACCEPTED;
use crate::registry::field::Section;
use crate::registry::{self, Scope, not_held};

/// Of the files' layout. A change of it is a new number.
pub const SCHEMA_VERSION: u32 = 1;

/// Sections of the registry, each a file of its own.
pub const SECTIONS: [Section; 5] =
    [Section::AccountInformation, Section::Connections, Section::Settings, Section::Queue, Section::Recipients];

/// Rows of one table that a report has at most; the manifest names the tables that have more.
pub const MAX_ROWS: usize = 20_000;

/// What stands beside the columns of an envelope and of a file: until when it waits.
pub const EXPIRES_AT: &str = "expires_at";

/// What stands beside a file's columns: how many readers have not said yet that they have it. Null where they have one capability
/// together, so that the relay does not know.
pub const READERS_LEFT: &str = "readers_left";

/// A file of a report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// The rows of one account, by section and table.
#[derive(Clone, PartialEq, Debug)]
pub struct Rows {
    sections: BTreeMap<Section, Map<String, Value>>,
    /// Tables of which only [`MAX_ROWS`] rows are there.
    shortened: Vec<String>,
}

impl Default for Rows {
    /// Every table of every section, without rows.
    fn default() -> Self {
        let mut sections: BTreeMap<Section, Map<String, Value>> = BTreeMap::new();
        for field in registry::all().filter(|field| field.report != Section::None) {
            let tables = sections.entry(field.report).or_default();
            tables.entry(field.table).or_insert_with(|| Value::Array(Vec::new()));
        }
        Self { sections, shortened: Vec::new() }
    }
}

impl Rows {
    /// Takes a table's rows. Of more than [`MAX_ROWS`] the first are kept, and the manifest says so under `name`.
    pub fn put(&mut self, section: Section, table: &str, mut rows: Vec<Value>, name: impl FnOnce() -> String) {
        if rows.len() > MAX_ROWS {
            rows.truncate(MAX_ROWS);
            self.shortened.push(name());
        }
        if let Some(tables) = self.sections.get_mut(&section) {
            tables.insert(table.to_owned(), Value::Array(rows));
        }
    }
}

/// The report: `manifest.json` first. `others` are the documents of the demonstration, with their names, if the relay has it;
/// `now` are Unix milliseconds.
pub fn assemble(rows: Rows, others: Option<Vec<(String, Value)>>, account: &AccountId, now: u64) -> Vec<File> {
    let scope = if others.is_some() { Scope::All } else { Scope::Mail };
    let Rows { mut sections, shortened } = rows;
    let mut documents: Vec<(String, Value)> = SECTIONS
        .iter()
        .map(|section| {
            let tables = sections.remove(section).unwrap_or_default();
            (format!("{section}.json"), Value::Object(tables))
        })
        .collect();
    if let Some((_, Value::Object(recipients))) = documents.last_mut() {
        recipients.insert("fields".into(), fields_with_recipients(scope));
    }
    documents.extend(others.unwrap_or_else(no_consents));
    documents.push(("not_held.json".into(), json!({ "not_held": not_held::ALL })));
    let page = page::html(&documents, account, now);
    let mut files: Vec<File> = documents
        .into_iter()
        .map(|(name, document)| File { name, content: format!("{document:#}\n").into_bytes() })
        .collect();
    files.push(File { name: "index.html".into(), content: page.into_bytes() });
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
    files.insert(0, File { name: "manifest.json".into(), content: format!("{manifest:#}\n").into_bytes() });
    files
}

/// The file of consents where there is nothing to accept.
fn no_consents() -> Vec<(String, Value)> {
    let none = json!({ "demonstration": false, "policies": [], "ledger": [], "advertising": NOT_ACCEPTED });
    vec![("consents.json".to_owned(), none)]
}

/// Which personal field is seen by which others, beside the operator.
fn fields_with_recipients(scope: Scope) -> Value {
    let fields = scope.fields().filter(|field| field.is_personal() && !field.recipients.is_empty());
    fields
        .map(|field| json!({ "field": field.name(), "stored_in": field.place, "recipients": field.recipients }))
        .collect()
}

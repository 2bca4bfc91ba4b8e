//! From the registry's entries to the values of one account. What a report holds is what the registry says that it holds:
//! there is no list of columns here, only where an account's rows are.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use kuvert_privacy::registry::field::{Form, Section};
use kuvert_privacy::registry::{self, Field, Place};
use kuvert_privacy::report::{EXPIRES_AT, MAX_ROWS, READERS_LEFT, Rows};
use kuvert_relay::mailbox::expires_at;
use kuvert_types::{AccountId, Address, EnvelopeId};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value};

/// In the mailboxes of the account's devices.
const ITS_MAILBOXES: &str = "mailbox IN (SELECT mailbox FROM device WHERE account = :account)";

/// Observations that name it, and those of its connections that name no account. Texts begin with the account.
const ITS_EVENTS: &str =
    "substr(device, 1, length(:account)) = :account OR substr(other, 1, length(:account)) = :account
    OR substr(source, 1, length(:account)) = :account
    OR kind IN ('connected', 'disconnected')
        AND connection IN (SELECT connection FROM event WHERE substr(device, 1, length(:account)) = :account)";

/// How many readers of a file are left, where they have a capability each.
const READERS: &str = "iif(shared, NULL, (SELECT count(*) FROM blob_reader WHERE blob_reader.blob = blob.id))";

/// Which rows of a table are an account's. A test compares the tables with the registry: each that stands in the report is
/// here.
pub const TABLES: &[(Place, &str, &str)] = &[
    (Place::Database, "account", "id = :account"),
    (Place::Database, "device", "account = :account"),
    // Mailboxes are found through what the relay has in memory: the table has no index.
    (Place::Database, "envelope", "cursor IN (SELECT value FROM json_each(:mail)) ORDER BY cursor"),
    (Place::Database, "blocked", "account = :account"),
    (Place::Database, "expired", ITS_MAILBOXES),
    (Place::Database, "prekeys", ITS_MAILBOXES),
    (Place::Database, "one_time_prekey", ITS_MAILBOXES),
    (Place::People, "phone", "account = :account"),
    (Place::People, "profile", "account = :account"),
    (Place::People, "address_book", "owner = :account"),
    (Place::People, "device_details", "account = :account"),
    (Place::People, "simulated_detail", "account = :account"),
    (Place::People, "consent", "account = :account"),
    (Place::People, "report_request", "account = :account"),
    (Place::People, "incident", "account = :account"),
    (Place::People, "shared", "id IN (SELECT shared FROM shared_account WHERE account = :account)"),
    (Place::Blobs, "blob", "account = :account"),
    (Place::Observations, "event", ITS_EVENTS),
];

/// How an account's mail is found.
#[derive(Clone, Debug)]
pub enum Mail {
    /// At these cursors.
    At(Vec<u64>),
    /// By looking through everything that waits.
    Search,
}

/// Reads the values of one account.
#[derive(Debug)]
pub struct Reader<'a> {
    account: &'a AccountId,
    mail: &'a Mail,
    retention_days: u32,
    /// What was read.
    pub rows: Rows,
}

impl<'a> Reader<'a> {
    /// Nothing is read yet.
    pub fn new(account: &'a AccountId, mail: &'a Mail, retention_days: u32) -> Self {
        Self { account, mail, retention_days, rows: Rows::default() }
    }

    /// Reads what stands in one database.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn read(&mut self, place: Place, connection: &Connection) -> rusqlite::Result<()> {
        let mut here = connection.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?;
        for (_, table, condition) in TABLES.iter().filter(|(of, ..)| *of == place) {
            // An extension's, and this relay has none.
            if !here.exists([table])? {
                continue;
            }
            let condition = match self.mail {
                Mail::Search if *table == "envelope" => ITS_MAILBOXES,
                _ => condition,
            };
            let mut sections: BTreeMap<Section, Vec<&Field>> = BTreeMap::new();
            for field in registry::of(place).filter(|field| field.table == *table && field.report != Section::None) {
                sections.entry(field.report).or_default().push(field);
            }
            for (section, fields) in sections {
                let rows = self.select(connection, place, table, condition, &fields)?;
                self.rows.put(section, table, rows, || format!("{place} {table}"));
            }
        }
        Ok(())
    }

    fn select(
        &self,
        connection: &Connection,
        place: Place,
        table: &str,
        condition: &str,
        fields: &[&Field],
    ) -> rusqlite::Result<Vec<Value>> {
        let mut columns: Vec<String> = fields
            .iter()
            .map(|field| match field.form {
                Form::Ciphertext => format!("length(\"{}\")", field.column),
                _ => format!("\"{}\"", field.column),
            })
            .collect();
        if table == "blob" {
            columns.push(READERS.to_owned());
        }
        let limit = MAX_ROWS + 1;
        let sql = format!("SELECT {} FROM {table} WHERE {condition} LIMIT {limit}", columns.join(", "));
        let mut statement = connection.prepare(&sql)?;
        if let Some(index) = statement.parameter_index(":account")? {
            match place {
                Place::Observations => statement.raw_bind_parameter(index, self.account.to_string())?,
                _ => statement.raw_bind_parameter(index, self.account.as_bytes())?,
            }
        }
        if let (Some(index), Mail::At(cursors)) = (statement.parameter_index(":mail")?, self.mail) {
            statement.raw_bind_parameter(index, Value::from(cursors.clone()).to_string())?;
        }
        let mut found = statement.raw_query();
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let mut object = Map::new();
            for (index, field) in fields.iter().enumerate() {
                object.insert(field.column.to_owned(), value(field, row.get_ref(index)?));
            }
            if table == "envelope" {
                let accepted_at = object.get("accepted_at").and_then(Value::as_u64).unwrap_or_default();
                object.insert(EXPIRES_AT.to_owned(), expires_at(accepted_at, self.retention_days).into());
            }
            if table == "blob" {
                let committed_at = object.get("committed_at").and_then(Value::as_u64);
                object.insert(EXPIRES_AT.to_owned(), committed_at.map(|at| expires_at(at, self.retention_days)).into());
                object.insert(READERS_LEFT.to_owned(), row.get::<_, Option<i64>>(fields.len())?.into());
            }
            rows.push(Value::Object(object));
        }
        Ok(rows)
    }
}

/// A column's value, as `docs/privacy/report.schema.json` says.
fn value(field: &Field, stored: ValueRef<'_>) -> Value {
    match (stored, field.form) {
        (ValueRef::Null, _) => Value::Null,
        (ValueRef::Integer(number), Form::Flag) => (number != 0).into(),
        (ValueRef::Integer(number), Form::Number | Form::Time | Form::Ciphertext) => number.into(),
        (ValueRef::Integer(number), _) => number.to_string().into(),
        (ValueRef::Real(number), _) => number.into(),
        (ValueRef::Text(text), _) => String::from_utf8_lossy(text).into_owned().into(),
        (ValueRef::Blob(bytes), Form::Identifier) => identifier(bytes).into(),
        (ValueRef::Blob(bytes), _) => BASE64.encode(bytes).into(),
    }
}

/// As the programs show it.
fn identifier(bytes: &[u8]) -> String {
    if let Ok(address) = Address::try_from(bytes) {
        return address.to_string();
    }
    // Accounts are written in the same way.
    EnvelopeId::try_from(bytes).map_or_else(|_| BASE64.encode(bytes), |id| id.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_table_of_the_report_has_a_reader_and_every_reader_a_table() {
        let told: BTreeSet<(Place, &str)> = registry::all()
            .filter(|field| field.report != Section::None)
            .map(|field| (field.place, field.table))
            .collect();
        assert_eq!(told, TABLES.iter().map(|(place, table, _)| (*place, *table)).collect());
    }

    #[test]
    fn an_account_and_an_envelope_are_written_alike() {
        assert_eq!(identifier(&[7; 16]), AccountId::from_bytes([7; 16]).to_string());
        assert_eq!(identifier(&[7; 3]), "BwcH");
    }
}

//! From the registry's entries to the values of one account, as the embedded backend's `report::rows` does it: there is no list of
//! columns here, only where an account's rows are.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::BASE64;
use kuvert_privacy::registry::Field;
use kuvert_privacy::registry::field::{Form, Section};
use kuvert_privacy::report::{EXPIRES_AT, MAX_ROWS, Rows, assemble};
use kuvert_relay::mailbox::expires_at;
use kuvert_relay::store::StoreError;
use kuvert_types::{AccountId, Address, EnvelopeId};
use kuvert_wire::v1;
use serde_json::{Map, Value};
use tokio::time::sleep;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::body::ADDED_BYTES;
use crate::groups::Groups;
use crate::link::{Lent, Link};
use crate::outcome::Fault;
use crate::schema::told;
use crate::slot;
use crate::store::column::get;
use crate::store::whole;

/// In the mailboxes of the account's devices.
const ITS_MAILBOXES: &str = "mailbox IN (SELECT mailbox FROM device WHERE account = $1)";

/// The same, where their numbers are what is asked with: tables of mail.
const OF_THESE: &str = "mailbox = ANY($1)";

/// How often mail that is between two groups is looked for, and the time between.
const LOOKS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(300);

/// Which rows of a table are an account's. A test compares the tables with the registry: each that stands in the report is
/// here.
const TABLES: &[(&str, &str)] = &[
    ("account", "id = $1"),
    ("device", "account = $1"),
    ("envelope", "mailbox = ANY($1) ORDER BY cursor"),
    ("blocked", "account = $1"),
    ("expired", OF_THESE),
    ("prekeys", ITS_MAILBOXES),
    ("one_time_prekey", ITS_MAILBOXES),
    ("report_request", "account = $1"),
    ("incident", "account = $1"),
    ("blob", "account = $1"),
];

/// Makes the report of an account.
pub async fn gather(
    groups: &Groups,
    home: &Link,
    account: &AccountId,
    retention_days: u32,
    now: u64,
) -> Result<Result<v1::Report, StoreError>, Fault> {
    let mailboxes = "SELECT mailbox FROM device WHERE account = $1";
    let mailboxes = home.query(mailboxes, &[&&account.as_bytes()[..]]).await?;
    let mailboxes: Vec<i64> = mailboxes.iter().map(|row| row.get(0)).collect();
    let mail = mail_of(groups, slot::of(account).cast_signed()).await?;
    let mut rows = Rows::default();
    for (table, condition) in TABLES {
        let id = &account.as_bytes()[..];
        let (link, of): (&Link, &(dyn ToSql + Sync)) =
            if condition.starts_with(OF_THESE) { (&mail, &mailboxes) } else { (home, &id) };
        let mut sections: BTreeMap<Section, Vec<&Field>> = BTreeMap::new();
        for field in told().filter(|field| field.table == *table && field.report != Section::None) {
            sections.entry(field.report).or_default().push(field);
        }
        for (section, fields) in sections {
            let found = match select(link, of, table, condition, &fields, retention_days).await? {
                Ok(found) => found,
                Err(error) => return Ok(Err(error)),
            };
            rows.put(section, table, found, || format!("PostgreSQL {table}"));
        }
    }
    mail.commit().await?;
    let files = assemble(rows, None, account, now);
    let files = files.into_iter().map(|file| v1::ReportFile { name: file.name, content: file.content.into() });
    Ok(Ok(v1::Report { files: files.collect() }))
}

/// A connection to the group that has a slot's mail, in a transaction until whose end it stays there.
async fn mail_of(groups: &Groups, slot: i16) -> Result<Lent, Fault> {
    for _ in 0..LOOKS {
        for group in groups.all() {
            let link = group.pool.lend().await?;
            link.begin().await?;
            if whole::keeps(&link, slot).await? {
                return Ok(link);
            }
            link.commit().await?;
        }
        sleep(PAUSE).await;
    }
    Err(Fault::not("the mailbox moves to other servers"))
}

async fn select(
    link: &Link,
    of: &(dyn ToSql + Sync),
    table: &str,
    condition: &str,
    fields: &[&Field],
    retention_days: u32,
) -> Result<Result<Vec<Value>, StoreError>, Fault> {
    let columns: Vec<String> = fields
        .iter()
        .map(|field| match field.form {
            Form::Ciphertext => format!("octet_length(\"{}\")::int8 - {ADDED_BYTES}", field.column),
            _ => format!("\"{}\"", field.column),
        })
        .collect();
    let sql = format!("SELECT {} FROM {table} WHERE {condition} LIMIT {}", columns.join(", "), MAX_ROWS + 1);
    let found = link.query_once(&sql, &[of]).await?;
    let object = |row: &Row| {
        let mut object = Map::new();
        for (index, field) in fields.iter().enumerate() {
            object.insert(field.column.to_owned(), value(field, row, index)?);
        }
        if table == "envelope" {
            let accepted_at = object.get("accepted_at").and_then(Value::as_u64).unwrap_or_default();
            object.insert(EXPIRES_AT.to_owned(), expires_at(accepted_at, retention_days).into());
        }
        Ok(Value::Object(object))
    };
    Ok(found.iter().map(object).collect())
}

/// A column's value, as `docs/privacy/report.schema.json` says.
fn value(field: &Field, row: &Row, index: usize) -> Result<Value, StoreError> {
    let kind = row.columns().get(index).map_or(Type::UNKNOWN, |column| column.type_().clone());
    let number = |number: i64| match field.form {
        Form::Flag => (number != 0).into(),
        Form::Number | Form::Time | Form::Ciphertext => number.into(),
        _ => Value::from(number.to_string()),
    };
    let value = match kind {
        Type::BOOL => get::<Option<bool>>(row, index)?.map(Value::from),
        Type::INT2 => get::<Option<i16>>(row, index)?.map(|value| number(value.into())),
        Type::INT4 => get::<Option<i32>>(row, index)?.map(|value| number(value.into())),
        Type::INT8 => get::<Option<i64>>(row, index)?.map(number),
        Type::BYTEA => get::<Option<&[u8]>>(row, index)?.map(|bytes| match field.form {
            Form::Identifier => identifier(bytes).into(),
            _ => BASE64.encode(bytes).into(),
        }),
        _ => get::<Option<&str>>(row, index)?.map(Value::from),
    };
    Ok(value.unwrap_or(Value::Null))
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
        let of_report: BTreeSet<&str> =
            told().filter(|field| field.report != Section::None).map(|field| field.table).collect();
        assert_eq!(of_report, TABLES.iter().map(|(table, _)| *table).collect());
    }
}

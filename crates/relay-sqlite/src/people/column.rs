//! Columns to and from the types of the relay.

use kuvert_types::AccountId;
use rusqlite::types::Type;
use rusqlite::{Row, Statement};

use crate::store::is_damage;

/// SQLite's integers are signed. Times beyond that are as good as never.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A time or count that was stored, or null.
pub fn unsigned_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(i64::unsigned_abs))
}

/// An account.
pub fn account_at(row: &Row<'_>, column: usize) -> rusqlite::Result<AccountId> {
    let bytes: Vec<u8> = row.get(column)?;
    AccountId::try_from(&bytes[..])
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error)))
}

/// What stands in all rows that can be read. One that holds what cannot be hides no other: it is passed over and said.
///
/// # Errors
/// What SQLite says.
pub fn readable<T>(
    table: &str,
    select: &mut Statement<'_>,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut all = Vec::new();
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        match read(row) {
            Err(error) if is_damage(&error) => {
                tracing::error!(table, %error, "a row cannot be read and is passed over")
            }
            value => all.push(value?),
        }
    }
    Ok(all)
}

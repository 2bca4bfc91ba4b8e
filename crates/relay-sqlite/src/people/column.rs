//! Columns to and from the types of the relay.

use kuvert_types::AccountId;
use rusqlite::Row;
use rusqlite::types::Type;

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
    AccountId::try_from(row.get_ref(column)?.as_blob()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error)))
}

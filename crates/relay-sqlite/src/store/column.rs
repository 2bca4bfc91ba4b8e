//! Columns to and from the types of the store.

use bytes::Bytes;
use kuvert_types::{AccountId, Address};
use rusqlite::Row;
use rusqlite::types::Type;

/// SQLite's integers are signed. Times and cursors beyond that are as good as never.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An integer that was stored through [`signed`].
pub fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// A blob.
pub fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_blob()?))
}

/// An encoded address or null.
pub fn address(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Address>> {
    let Some(bytes) = row.get_ref(column)?.as_blob_or_null()? else { return Ok(None) };
    let address = Address::try_from(bytes);
    address.map(Some).map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error)))
}

/// An account.
pub fn account(row: &Row<'_>, column: usize) -> rusqlite::Result<AccountId> {
    row.get(column).map(AccountId::from_bytes)
}

//! Columns to and from the types of the store.

use bytes::Bytes;
use kuvert_relay::store::{SignedKey, StoreError};
use kuvert_types::{AccountId, Address, DeviceId, EnvelopeId};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// PostgreSQL's integers are signed. Times and cursors beyond that are as good as never.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A value of a column.
///
/// # Errors
/// It has another type: the database was changed by hand.
pub fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column).map_err(|_| damaged(column))
}

/// An integer that was stored through [`signed`].
///
/// # Errors
/// It is negative.
pub fn unsigned(row: &Row, column: usize) -> Result<u64, StoreError> {
    u64::try_from(get::<i64>(row, column)?).map_err(|_| damaged(column))
}

/// An integer of 32 bits, stored in a wider column.
///
/// # Errors
/// It does not fit.
pub fn number(row: &Row, column: usize) -> Result<u32, StoreError> {
    u32::try_from(get::<i64>(row, column)?).map_err(|_| damaged(column))
}

/// Bytes.
///
/// # Errors
/// It has another type.
pub fn bytes(row: &Row, column: usize) -> Result<Bytes, StoreError> {
    get::<&[u8]>(row, column).map(Bytes::copy_from_slice)
}

/// So many bytes.
///
/// # Errors
/// It has another length.
pub fn array<const N: usize>(row: &Row, column: usize) -> Result<[u8; N], StoreError> {
    get::<&[u8]>(row, column)?.try_into().map_err(|_| damaged(column))
}

/// An account.
///
/// # Errors
/// It has another length.
pub fn account(row: &Row, column: usize) -> Result<AccountId, StoreError> {
    array(row, column).map(AccountId::from_bytes)
}

/// An envelope's id.
///
/// # Errors
/// It has another length.
pub fn envelope_id(row: &Row, column: usize) -> Result<EnvelopeId, StoreError> {
    array(row, column).map(EnvelopeId::from_bytes)
}

/// An encoded address or null.
///
/// # Errors
/// It is no address.
pub fn address(row: &Row, column: usize) -> Result<Option<Address>, StoreError> {
    let Some(bytes) = get::<Option<&[u8]>>(row, column)? else { return Ok(None) };
    Address::try_from(bytes).map(Some).map_err(|_| damaged(column))
}

/// `device.number`.
///
/// # Errors
/// It is no device's.
pub fn device(row: &Row, column: usize) -> Result<DeviceId, StoreError> {
    DeviceId::new(number(row, column)?).map_err(|_| damaged(column))
}

/// A signed prekey in three columns.
///
/// # Errors
/// One of them has another type.
pub fn signed_key(row: &Row, first: usize) -> Result<SignedKey, StoreError> {
    Ok(SignedKey { id: number(row, first)?, public_key: bytes(row, first + 1)?, signature: bytes(row, first + 2)? })
}

fn damaged(column: usize) -> StoreError {
    StoreError::Corrupt(format!("a row holds what it should not, in its column {column}"))
}

/// What stands in all rows that can be read. One that holds what cannot be hides no other: it is passed over and said.
pub fn readable<T>(table: &str, rows: &[Row], read: impl Fn(&Row) -> Result<T, StoreError>) -> Vec<T> {
    let readable = |row| read(row).inspect_err(|error| passed_over(table, error)).ok();
    rows.iter().filter_map(readable).collect()
}

/// Says that a row cannot be read.
pub fn passed_over(table: &str, error: &StoreError) {
    tracing::error!(table, %error, "a row cannot be read and is passed over");
}

//! Taking back all that an account told.

use kuvert_types::AccountId;
use rusqlite::Transaction;

/// Deletes what an account told about itself and others. What others told about it is theirs, and stays.
///
/// # Errors
/// SQLite's.
pub fn all(tx: &Transaction<'_>, account: &AccountId) -> rusqlite::Result<()> {
    for (table, column) in [
        ("phone", "account"),
        ("phone_code", "account"),
        ("profile", "account"),
        ("address_book", "owner"),
        ("device_details", "account"),
        ("simulated_detail", "account"),
    ] {
        tx.execute(&format!("DELETE FROM {table} WHERE {column} = ?1"), [account.as_bytes()])?;
    }
    Ok(())
}

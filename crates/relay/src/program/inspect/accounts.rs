//! Accounts and devices as they lie in the database.

use std::path::Path;

use kuvert_types::{AccountId, UnverifiedDeviceCertificate};
use rusqlite::{Connection, OpenFlags, Row};

use crate::store::StoreError;
use crate::store::sqlite::DATABASE_FILE;

/// An account.
pub struct Account {
    pub account: AccountId,
    /// Hexadecimal.
    pub account_key: String,
    pub device_list_number: i64,
    pub name: Option<String>,
    pub phone: Option<String>,
    /// Unix milliseconds.
    pub registered_at: u64,
    pub devices: Vec<Device>,
}

/// One of its devices.
pub struct Device {
    pub device: u32,
    /// Hexadecimal.
    pub signing_key: String,
    /// Hexadecimal.
    pub identity_key: String,
    pub one_time: u64,
    pub one_time_kem: u64,
    pub expired: u64,
}

/// All accounts, in the order of registration.
pub fn read(data: &Path) -> Result<Vec<Account>, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = || -> rusqlite::Result<Vec<Account>> {
        let connection = Connection::open_with_flags(data.join(DATABASE_FILE), flags)?;
        let mut accounts = connection
            .prepare(
                "SELECT id, lower(hex(account_key)), device_list_number, name, phone, registered_at FROM account
                    ORDER BY registered_at, id",
            )?
            .query_map([], account)?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let mut devices = connection.prepare(
            "SELECT number, lower(hex(signing_key)), certificate,
                    (SELECT count(*) FROM one_time_prekey WHERE mailbox = device.mailbox AND kind = 0),
                    (SELECT count(*) FROM one_time_prekey WHERE mailbox = device.mailbox AND kind = 1),
                    ifnull((SELECT count FROM expired WHERE mailbox = device.mailbox), 0)
                FROM device WHERE account = ?1 ORDER BY number",
        )?;
        for account in &mut accounts {
            account.devices =
                devices.query_map([account.account.as_bytes()], device)?.collect::<rusqlite::Result<_>>()?;
        }
        Ok(accounts)
    };
    read().map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        account: AccountId::from_bytes(row.get(0)?),
        account_key: row.get(1)?,
        device_list_number: row.get(2)?,
        name: row.get(3)?,
        phone: row.get(4)?,
        registered_at: row.get::<_, i64>(5)?.unsigned_abs(),
        devices: Vec::new(),
    })
}

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    let certificate: Vec<u8> = row.get(2)?;
    let identity_key = match UnverifiedDeviceCertificate::decode(&certificate) {
        Ok(certificate) => certificate.claimed().identity_key.as_bytes().iter().map(|b| format!("{b:02x}")).collect(),
        Err(_) => "not readable".to_owned(),
    };
    Ok(Device {
        device: row.get(0)?,
        signing_key: row.get(1)?,
        identity_key,
        one_time: row.get::<_, i64>(3)?.unsigned_abs(),
        one_time_kem: row.get::<_, i64>(4)?.unsigned_abs(),
        expired: row.get::<_, i64>(5)?.unsigned_abs(),
    })
}

//! Accounts and devices as they lie in the database.

use kuvert_relay::admin::{KnownAccount, KnownDevice};
use kuvert_relay::store::StoreError;
use kuvert_types::{AccountId, UnverifiedDeviceCertificate};
use rusqlite::Row;

use super::Inspector;
use crate::store::column;
use crate::store::schema::store_error;

impl Inspector {
    /// All accounts, in the order of registration.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn accounts(&self) -> Result<Vec<KnownAccount>, StoreError> {
        let read = || -> rusqlite::Result<Vec<KnownAccount>> {
            let mut accounts = self
                .0
                .prepare_cached(
                    "SELECT id, lower(hex(account_key)), device_list_number, name, phone, registered_at,
                        access_key_hash IS NOT NULL, takes_sealed FROM account ORDER BY registered_at, id",
                )?
                .query_map([], account)?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let mut devices = self.0.prepare_cached(
                "SELECT number, lower(hex(signing_key)), certificate,
                        (SELECT count(*) FROM one_time_prekey WHERE mailbox = device.mailbox AND kind = 0),
                        (SELECT count(*) FROM one_time_prekey WHERE mailbox = device.mailbox AND kind = 1),
                        ifnull((SELECT count FROM expired WHERE mailbox = device.mailbox), 0), last_seen_day
                    FROM device WHERE account = ?1 ORDER BY number",
            )?;
            let mut blocked =
                self.0.prepare_cached("SELECT blocked FROM blocked WHERE account = ?1 ORDER BY blocked")?;
            for account in &mut accounts {
                account.blocked = blocked
                    .query_map([account.account.as_bytes()], |row| column::account(row, 0))?
                    .collect::<rusqlite::Result<_>>()?;
                account.devices =
                    devices.query_map([account.account.as_bytes()], device)?.collect::<rusqlite::Result<_>>()?;
            }
            Ok(accounts)
        };
        read().map_err(|error| store_error(&error))
    }
}

fn account(row: &Row<'_>) -> rusqlite::Result<KnownAccount> {
    Ok(KnownAccount {
        account: AccountId::from_bytes(row.get(0)?),
        account_key: row.get(1)?,
        device_list_number: row.get(2)?,
        name: row.get(3)?,
        phone: row.get(4)?,
        registered_at: row.get::<_, i64>(5)?.unsigned_abs(),
        access_key: row.get(6)?,
        sealed_mail: row.get(7)?,
        blocked: Vec::new(),
        devices: Vec::new(),
    })
}

fn device(row: &Row<'_>) -> rusqlite::Result<KnownDevice> {
    let certificate: Vec<u8> = row.get(2)?;
    let identity_key = match UnverifiedDeviceCertificate::decode(&certificate) {
        Ok(certificate) => certificate.claimed().identity_key.as_bytes().iter().map(|b| format!("{b:02x}")).collect(),
        Err(_) => "not readable".to_owned(),
    };
    Ok(KnownDevice {
        device: row.get(0)?,
        signing_key: row.get(1)?,
        identity_key,
        one_time: row.get::<_, i64>(3)?.unsigned_abs(),
        one_time_kem: row.get::<_, i64>(4)?.unsigned_abs(),
        expired: row.get::<_, i64>(5)?.unsigned_abs(),
        last_seen_day: row.get(6)?,
    })
}

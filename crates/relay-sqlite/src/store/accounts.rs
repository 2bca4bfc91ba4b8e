//! Accounts and devices.

use kuvert_relay::store::{
    AccountBy, AccountChange, AccountRecord, DeviceRecord, NewAccount, NewDevice, NumberedDeviceList, RegisterError,
    SetBlockedError, StoredAccessKey, UpdateAccountError, UpdateDevicesError,
};
use kuvert_types::limits::MAX_BLOCKED;
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};

use super::column::{bytes, signed, unsigned};
use super::index::{MailboxNumber, Undo};
use super::writer::Work;
use super::{envelopes, invitations};

/// Runs within the writer's transaction. A rule error changes nothing.
pub fn register(work: &mut Work<'_>, new: &NewAccount) -> rusqlite::Result<Result<(), RegisterError>> {
    let connection = work.connection;
    if connection.prepare_cached("SELECT 1 FROM account WHERE id = ?1")?.exists([new.account.as_bytes()])? {
        return Ok(Err(RegisterError::AccountExists));
    }
    if connection.prepare_cached("SELECT 1 FROM account WHERE name = ?1")?.exists([&new.name])? {
        return Ok(Err(RegisterError::NameTaken));
    }
    if let Some(hash) = &new.invitation
        && !invitations::take(connection, hash, new.registered_at)?
    {
        return Ok(Err(RegisterError::Invitation));
    }
    connection
        .prepare_cached(
            "INSERT INTO account(id, account_key, device_list_number, device_list, name, phone, registered_at)
                VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((
            new.account.as_bytes(),
            new.account_key.as_bytes(),
            signed(new.device_list.number),
            &new.device_list.bytes[..],
            &new.name,
            &new.phone,
            signed(new.registered_at),
        ))?;
    add_device(work, new.account, &new.device)?;
    Ok(Ok(()))
}

/// A device of an account, with an empty mailbox.
fn add_device(work: &mut Work<'_>, account: AccountId, new: &NewDevice) -> rusqlite::Result<()> {
    let number = work
        .connection
        .prepare_cached(
            "INSERT INTO device(account, number, signing_key, certificate) VALUES(?1, ?2, ?3, ?4) RETURNING mailbox",
        )?
        .query_row((account.as_bytes(), new.device.get(), new.signing_key.as_bytes(), &new.certificate[..]), |row| {
            row.get(0)
        })?;
    let address = Address { account, device: new.device };
    work.index.lock().register(address, number);
    work.undo.push(Undo::Registered(address));
    Ok(())
}

/// Runs within the writer's transaction. A rule error changes nothing.
pub fn update(
    work: &mut Work<'_>,
    account: &AccountId,
    change: &AccountChange,
) -> rusqlite::Result<Result<(), UpdateAccountError>> {
    let connection = work.connection;
    if !connection.prepare_cached("SELECT 1 FROM account WHERE id = ?1")?.exists([account.as_bytes()])? {
        return Ok(Err(UpdateAccountError::UnknownAccount));
    }
    if let Some(name) = &change.name {
        let mut taken = connection.prepare_cached("SELECT 1 FROM account WHERE name = ?2 AND id <> ?1")?;
        if taken.exists((account.as_bytes(), name))? {
            return Ok(Err(UpdateAccountError::NameTaken));
        }
        connection.prepare_cached("UPDATE account SET name = ?2 WHERE id = ?1")?.execute((account.as_bytes(), name))?;
    }
    if let Some(phone) = &change.phone {
        connection
            .prepare_cached("UPDATE account SET phone = ?2 WHERE id = ?1")?
            .execute((account.as_bytes(), phone))?;
    }
    // What stood there before is wiped like mail.
    *work.deleted = true;
    Ok(Ok(()))
}

/// Runs within the writer's transaction. Says whether there was such an account.
pub fn delete(work: &mut Work<'_>, account: &AccountId) -> rusqlite::Result<bool> {
    let connection = work.connection;
    drop_devices(work, account, |_| true)?;
    connection.prepare_cached("DELETE FROM blocked WHERE account = ?1")?.execute([account.as_bytes()])?;
    let wishes = work.index.lock().forget_wishes(account);
    work.undo.extend(wishes.map(|wishes| Undo::WishesForgotten(*account, wishes)));
    *work.deleted = true;
    let deleted = connection.prepare_cached("DELETE FROM account WHERE id = ?1")?.execute([account.as_bytes()])?;
    Ok(deleted > 0)
}

/// Deletes the devices of an account that are `gone`, with all that belongs to them, and says which those were, ascending.
/// Runs within the writer's transaction.
fn drop_devices(
    work: &mut Work<'_>,
    account: &AccountId,
    gone: impl Fn(&DeviceId) -> bool,
) -> rusqlite::Result<Vec<DeviceId>> {
    let connection = work.connection;
    let devices = connection
        .prepare_cached("SELECT number, mailbox FROM device WHERE account = ?1 ORDER BY number")?
        .query_map([account.as_bytes()], |row| Ok((device_number(row, 0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(DeviceId, MailboxNumber)>>>()?;
    let mut dropped = Vec::new();
    for (device, mailbox) in devices.into_iter().filter(|(device, _)| gone(device)) {
        let address = Address { account: *account, device };
        envelopes::forget(work, &address, mailbox)?;
        for table in ["prekeys", "one_time_prekey", "device"] {
            connection.prepare_cached(&format!("DELETE FROM {table} WHERE mailbox = ?1"))?.execute([mailbox])?;
        }
        // First the note: a statement that fails must find it.
        work.undo.push(Undo::Unregistered(address, mailbox));
        work.index.lock().unregister(&address);
        // The deleted bytes are wiped like mail.
        *work.deleted = true;
        dropped.push(device);
    }
    Ok(dropped)
}

/// Runs within the writer's transaction. A rule error changes nothing.
pub fn update_devices(
    work: &mut Work<'_>,
    account: &AccountId,
    expected: u64,
    list: &NumberedDeviceList,
    kept: &[DeviceId],
    added: &[NewDevice],
) -> rusqlite::Result<Result<Vec<DeviceId>, UpdateDevicesError>> {
    let stored = work
        .connection
        .prepare_cached("SELECT device_list_number FROM account WHERE id = ?1")?
        .query_row([account.as_bytes()], |row| unsigned(row, 0))
        .optional()?;
    match stored {
        None => Ok(Err(UpdateDevicesError::UnknownAccount)),
        Some(stored) if stored != expected => Ok(Err(UpdateDevicesError::Conflict { stored })),
        Some(_) => {
            let mut update = work
                .connection
                .prepare_cached("UPDATE account SET device_list_number = ?2, device_list = ?3 WHERE id = ?1")?;
            update.execute((account.as_bytes(), signed(list.number), &list.bytes[..]))?;
            let dropped = drop_devices(work, account, |device| !kept.contains(device))?;
            for new in added {
                add_device(work, *account, new)?;
            }
            Ok(Ok(dropped))
        }
    }
}

/// Runs within the writer's transaction.
pub fn set_access_key(work: &mut Work<'_>, account: &AccountId, key: Option<StoredAccessKey>) -> rusqlite::Result<()> {
    let mut update =
        work.connection.prepare_cached("UPDATE account SET access_key_hash = ?2, takes_sealed = ?3 WHERE id = ?1")?;
    let (hash, sealed) = (key.map(|key| key.hash), key.is_some_and(|key| key.sealed));
    if update.execute((account.as_bytes(), hash, sealed))? > 0 {
        let before = work.index.lock().set_access_key(*account, key);
        work.undo.push(Undo::KeySet(*account, before));
    }
    Ok(())
}

/// Runs within the writer's transaction. A rule error changes nothing.
pub fn set_blocked(
    work: &mut Work<'_>,
    account: &AccountId,
    other: &AccountId,
    blocked: bool,
) -> rusqlite::Result<Result<(), SetBlockedError>> {
    let connection = work.connection;
    if !connection.prepare_cached("SELECT 1 FROM account WHERE id = ?1")?.exists([account.as_bytes()])? {
        return Ok(Ok(()));
    }
    let (count, before) = work.index.lock().blocks(account, other);
    if blocked && !before && count >= MAX_BLOCKED {
        return Ok(Err(SetBlockedError::TooMany));
    }
    let sql = if blocked {
        "INSERT OR IGNORE INTO blocked(account, blocked) VALUES(?1, ?2)"
    } else {
        *work.deleted = true;
        "DELETE FROM blocked WHERE account = ?1 AND blocked = ?2"
    };
    connection.prepare_cached(sql)?.execute((account.as_bytes(), other.as_bytes()))?;
    work.index.lock().set_blocked(*account, *other, blocked);
    work.undo.push(Undo::BlockedSet { account: *account, other: *other, before });
    Ok(Ok(()))
}

pub fn note_seen(connection: &Connection, device: &Address, day: u32) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE device SET last_seen_day = ?3
            WHERE account = ?1 AND number = ?2 AND ifnull(last_seen_day, -1) < ?3",
    )?;
    update.execute((device.account.as_bytes(), device.device.get(), day)).map(drop)
}

pub fn find(connection: &Connection, by: &AccountBy) -> rusqlite::Result<Option<AccountRecord>> {
    const COLUMNS: &str =
        "SELECT id, account_key, device_list_number, device_list, name, phone, registered_at FROM account";
    // One snapshot for the account and its devices.
    let snapshot = connection.unchecked_transaction()?;
    let found = match by {
        AccountBy::Id(id) => {
            let mut select = snapshot.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?;
            select.query_row([id.as_bytes()], account).optional()?
        }
        AccountBy::Name(name) => {
            let mut select = snapshot.prepare_cached(&format!("{COLUMNS} WHERE name = ?1"))?;
            select.query_row([name], account).optional()?
        }
    };
    let Some(mut record) = found else { return Ok(None) };
    record.devices = {
        let mut select = snapshot.prepare_cached(
            "SELECT account, number, signing_key, certificate, last_seen_day FROM device WHERE account = ?1
                ORDER BY number",
        )?;
        select.query_map([record.account.as_bytes()], device)?.collect::<Result<_, _>>()?
    };
    snapshot.finish()?;
    Ok(Some(record))
}

pub fn registered_since(connection: &Connection, time: u64) -> rusqlite::Result<Vec<(AccountId, u64)>> {
    let mut select = connection.prepare_cached("SELECT id, registered_at FROM account WHERE registered_at > ?1")?;
    select.query_map([signed(time)], |row| Ok((AccountId::from_bytes(row.get(0)?), unsigned(row, 1)?)))?.collect()
}

pub fn find_device(connection: &Connection, address: Address) -> rusqlite::Result<Option<DeviceRecord>> {
    let mut select = connection.prepare_cached(
        "SELECT account, number, signing_key, certificate, last_seen_day FROM device
            WHERE account = ?1 AND number = ?2",
    )?;
    select.query_row((address.account.as_bytes(), address.device.get()), device).optional()
}

fn account(row: &Row<'_>) -> rusqlite::Result<AccountRecord> {
    Ok(AccountRecord {
        account: AccountId::from_bytes(row.get(0)?),
        account_key: AccountKey::from_bytes(row.get(1)?),
        device_list: NumberedDeviceList { number: unsigned(row, 2)?, bytes: bytes(row, 3)? },
        devices: Vec::new(),
        name: row.get(4)?,
        phone: row.get(5)?,
        registered_at: unsigned(row, 6)?,
    })
}

fn device(row: &Row<'_>) -> rusqlite::Result<DeviceRecord> {
    Ok(DeviceRecord {
        address: Address { account: AccountId::from_bytes(row.get(0)?), device: device_number(row, 1)? },
        signing_key: DeviceSigningKey::from_bytes(row.get(2)?),
        certificate: bytes(row, 3)?,
        last_seen_day: row.get(4)?,
    })
}

/// `device.number`.
pub fn device_number(row: &Row<'_>, column: usize) -> rusqlite::Result<DeviceId> {
    DeviceId::new(row.get(column)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error)))
}

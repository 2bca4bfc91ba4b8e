//! Accounts and devices. What a lane keeps in memory is changed by the lane alone, with its fence; the rest by any connection.

use std::sync::atomic::Ordering;

use kuvert_relay::store::{
    AccountBy, AccountChange, AccountRecord, DeviceRecord, NewAccount, NewDevice, NumberedDeviceList, RegisterError,
    SetBlockedError, StoreError, StoredAccessKey, UpdateAccountError, UpdateDevicesError,
};
use kuvert_types::limits::MAX_BLOCKED;
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey};
use tokio_postgres::Row;

use super::Core;
use super::cache::{Facts, MailboxNumber, SharedCache};
use super::column::{account, array, bytes, device, get, signed, unsigned};
use super::command::Change;
use super::lane::Tenure;
use super::whole;
use crate::groups::Group;
use crate::link::{Lent, Link};
use crate::outcome::{Fault, Outcome};
use crate::slot;

/// Locks the writer's row, if it may write this slot still.
const FENCE: &str = "SELECT 1 FROM writer w JOIN lease l ON l.writer = w.id
    WHERE w.id = $1 AND w.epoch = $2 AND l.slot = $3 FOR SHARE OF w";

/// The same in the first group, for a slot whose mail is in another one: no later connection has begun to write it.
const FENCE_HOME: &str = "SELECT 1 FROM slot_group WHERE slot = $1 AND epoch = $2 FOR SHARE";

/// Why a change was not made by this lane.
pub enum Refused {
    /// The slot is another node's by now. Nothing was sent.
    Fenced(Change),
    /// The lane must begin anew. The change was answered.
    Broken,
}

/// Makes a change in one transaction, answers, and changes what is in memory.
///
/// Where mail is in another group than accounts, the lane's own transaction, which looks whether it may write, stays open around the one
/// that changes the account. Should it break, [`FENCE_HOME`] keeps the change from happening once another lane has begun.
pub async fn apply(
    core: &Core,
    group: &Group,
    tenure: &Tenure,
    cache: &SharedCache,
    change: Change,
) -> Result<(), Refused> {
    match begin(tenure, change.account()).await {
        Ok(true) => {}
        Ok(false) => return Err(Refused::Fenced(change)),
        Err(fault) => {
            // Nothing was written by what was sent so far.
            change.fail(fault.reading());
            return Err(Refused::Broken);
        }
    }
    let lent;
    let link = if group.is_home() {
        &tenure.link
    } else {
        match begin_home(core, tenure, change.account()).await {
            Ok(Some(link)) => lent = link,
            Ok(None) => return Err(Refused::Fenced(change)),
            Err(fault) => {
                change.fail(fault.reading());
                return Err(Refused::Broken);
            }
        }
        &*lent
    };
    // Mail of devices that go, where it is not next to them.
    let mut away = if group.is_home() { None } else { Some(Vec::new()) };
    let of = change.account();
    let fault = match change {
        Change::Register { account: new, reply } => {
            let (answer, fault) = committed(link, register(link, &new)).await;
            if let Ok(mailbox) = &answer {
                let devices = [(new.device.device, *mailbox)].into();
                cache.lock().put_facts(new.account, Facts { devices, ..Facts::default() });
            }
            let _ = reply.send(answer.map(drop));
            fault
        }
        Change::Delete { account, reply } => {
            let (answer, fault) = committed(link, delete(link, &account, &mut away)).await;
            cache.lock().forget_account(&account);
            group.dirty.store(true, Ordering::Release);
            delete_away(link, tenure, &fault, away.as_deref()).await;
            let _ = reply.send(answer);
            fault
        }
        Change::UpdateDevices { account, expected, list, kept, added, reply } => {
            let done = update_devices(link, &account, (expected, &list), &kept, &added, &mut away);
            let (answer, fault) = committed(link, done).await;
            if answer.is_ok() && !added.is_empty() {
                cache.lock().forget_account(&account);
            }
            if answer.as_ref().is_ok_and(|dropped| !dropped.is_empty()) {
                cache.lock().forget_account(&account);
                group.dirty.store(true, Ordering::Release);
                delete_away(link, tenure, &fault, away.as_deref()).await;
            }
            let _ = reply.send(answer);
            fault
        }
        Change::SetAccessKey { account, key, reply } => {
            let (answer, fault) = committed(link, set_access_key(link, &account, key)).await;
            if let Some(facts) = cache.lock().facts(&account) {
                facts.key = key;
            }
            let _ = reply.send(answer);
            fault
        }
        Change::SetBlocked { account, other, blocked, reply } => {
            let (answer, fault) = committed(link, set_blocked(link, &account, &other, blocked)).await;
            if let (Ok(()), Some(facts)) = (&answer, cache.lock().facts(&account)) {
                if blocked {
                    facts.blocked.insert(other)
                } else {
                    facts.blocked.remove(&other)
                };
            }
            let _ = reply.send(answer);
            fault
        }
    };
    let ended = match (&fault, group.is_home()) {
        // The lane's own transaction ends with what it deleted.
        (None, false) => tenure.link.commit().await,
        _ => Ok(()),
    };
    let Some(fault) = fault.or(ended.err()) else {
        core.wrote();
        return Ok(());
    };
    // What is in memory may be what it was before, or not.
    cache.lock().forget_account(&of);
    if fault.outcome == Outcome::Not {
        core.failed(&fault.store_error());
    }
    Err(Refused::Broken)
}

/// The transaction on accounts, for a lane of another group. `None`: another lane has begun with the slot.
async fn begin_home(core: &Core, tenure: &Tenure, account: AccountId) -> Result<Option<Lent>, Fault> {
    let slot = slot::of(&account);
    let Some(epoch) = tenure.epochs.get(&slot) else { return Ok(None) };
    let link = core.pool.lend().await?;
    link.begin().await?;
    let fenced = link.query_opt(FENCE_HOME, &[&slot.cast_signed(), epoch]).await?;
    Ok(fenced.is_some().then_some(link))
}

/// Deletes the mail of devices that are gone, which the lane's own transaction commits. Should it not come to that,
/// `dropped` names what is left, and it is deleted within a minute.
async fn delete_away(home: &Link, tenure: &Tenure, fault: &Option<Fault>, away: Option<&[MailboxNumber]>) {
    let Some(mailboxes) = away.filter(|mailboxes| fault.is_none() && !mailboxes.is_empty()) else { return };
    let deleted = async {
        whole::delete_mail(&tenure.link, mailboxes).await?;
        // Committed here, so that what is left is forgotten only then.
        tenure.link.commit().await?;
        tenure.link.begin().await?;
        let done = "DELETE FROM dropped WHERE mailbox = ANY($1)";
        home.execute(done, &[&mailboxes]).await.map(drop)
    };
    if let Err(fault) = deleted.await {
        tracing::warn!(error = fault.words, "mail of deleted devices is still there; it is deleted in a minute");
    }
}

/// Does something and commits. Answers that came of what was read are committed, too: the commit waits for what they tell of to be
/// as durable as they are.
async fn committed<T, E: From<StoreError>>(
    link: &Link,
    work: impl Future<Output = Result<Result<T, E>, Fault>>,
) -> (Result<T, E>, Option<Fault>) {
    let done = async {
        let answer = work.await?;
        link.commit().await?;
        Ok::<_, Fault>(answer)
    };
    match done.await {
        Ok(answer) => (answer, None),
        Err(fault) => (Err(fault.store_error().into()), Some(fault)),
    }
}

async fn begin(tenure: &Tenure, account: AccountId) -> Result<bool, Fault> {
    let slot = slot::of(&account).cast_signed();
    tenure.link.begin().await?;
    Ok(tenure.link.query_opt(FENCE, &[&tenure.writer, &tenure.epoch, &slot]).await?.is_some())
}

async fn register(link: &Link, new: &NewAccount) -> Result<Result<MailboxNumber, RegisterError>, Fault> {
    let id = &new.account.as_bytes()[..];
    // Locked, and judged at the end.
    let good = match &new.invitation {
        Some(hash) => {
            let sql = "SELECT 1 FROM invitation WHERE hash = $1 AND uses_left > 0 AND expires_at > $2 FOR UPDATE";
            link.query_opt(sql, &[&&hash[..], &signed(new.registered_at)]).await?.is_some()
        }
        None => true,
    };
    if link.query_opt("SELECT 1 FROM account WHERE id = $1", &[&id]).await?.is_some() {
        return Ok(Err(RegisterError::AccountExists));
    }
    if link.query_opt("SELECT 1 FROM account WHERE name = $1", &[&new.name]).await?.is_some() {
        return Ok(Err(RegisterError::NameTaken));
    }
    if !good {
        return Ok(Err(RegisterError::Invitation));
    }
    // Waits for another that takes the name at this moment.
    let insert =
        "INSERT INTO account(id, slot, account_key, device_list_number, device_list, name, phone, registered_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO NOTHING";
    let inserted = link
        .execute(
            insert,
            &[
                &id,
                &slot::of(&new.account).cast_signed(),
                &&new.account_key.as_bytes()[..],
                &signed(new.device_list.number),
                &&new.device_list.bytes[..],
                &new.name,
                &new.phone,
                &signed(new.registered_at),
            ],
        )
        .await?;
    if inserted == 0 {
        return Ok(Err(RegisterError::NameTaken));
    }
    if let Some(hash) = &new.invitation {
        let hash = &hash[..];
        link.execute("UPDATE invitation SET uses_left = uses_left - 1 WHERE hash = $1", &[&hash]).await?;
        link.execute("DELETE FROM invitation WHERE hash = $1 AND uses_left = 0", &[&hash]).await?;
    }
    add_device(link, &new.account, &new.device).await.map(Ok)
}

/// A device of an account, with an empty mailbox.
async fn add_device(link: &Link, account: &AccountId, new: &NewDevice) -> Result<MailboxNumber, Fault> {
    let insert =
        "INSERT INTO device(account, number, signing_key, certificate) VALUES ($1, $2, $3, $4) RETURNING mailbox";
    let (account, signing_key) = (&account.as_bytes()[..], &new.signing_key.as_bytes()[..]);
    let row =
        link.query_one(insert, &[&account, &i64::from(new.device.get()), &signing_key, &&new.certificate[..]]).await?;
    Ok(row.get(0))
}

/// Mailboxes whose mail is in another group, for those who delete it there. `None`: it is next to the devices.
type Away = Option<Vec<MailboxNumber>>;

async fn delete(link: &Link, account: &AccountId, away: &mut Away) -> Result<Result<bool, StoreError>, Fault> {
    let id = &account.as_bytes()[..];
    drop_devices(link, account, None, away).await?;
    link.execute("DELETE FROM blocked WHERE account = $1", &[&id]).await?;
    Ok(Ok(link.execute("DELETE FROM account WHERE id = $1", &[&id]).await? > 0))
}

/// Deletes the devices of an account that are not `listed`, with all that belongs to them, and says which those were, ascending.
async fn drop_devices(
    link: &Link,
    account: &AccountId,
    listed: Option<&[DeviceId]>,
    away: &mut Away,
) -> Result<Vec<DeviceId>, Fault> {
    let sql = "SELECT number, mailbox FROM device WHERE account = $1 ORDER BY number FOR UPDATE";
    let rows = link.query(sql, &[&&account.as_bytes()[..]]).await?;
    let (mut dropped, mut mailboxes) = (Vec::new(), Vec::<i64>::new());
    for row in &rows {
        let device = device(row, 0).map_err(|error| Fault::not(error.to_string()))?;
        if listed.is_none_or(|listed| !listed.contains(&device)) {
            dropped.push(device);
            mailboxes.push(row.get(1));
        }
    }
    match away {
        None => {
            whole::delete_mail(link, &mailboxes).await?;
            // While its slot moves there may be a copy.
            let note = "INSERT INTO dropped(mailbox, slot) SELECT mailbox, $2 FROM unnest($1::int8[]) AS d(mailbox)
                WHERE EXISTS (SELECT FROM slot_move WHERE slot = $2) ON CONFLICT DO NOTHING";
            link.execute(note, &[&mailboxes, &slot::of(account).cast_signed()]).await?;
        }
        Some(away) => {
            let note = "INSERT INTO dropped(mailbox, slot) SELECT mailbox, $2 FROM unnest($1::int8[]) AS d(mailbox)
                ON CONFLICT DO NOTHING";
            link.execute(note, &[&mailboxes, &slot::of(account).cast_signed()]).await?;
            away.clone_from(&mailboxes);
        }
    }
    for sql in [
        "DELETE FROM one_time_prekey WHERE mailbox = ANY($1)",
        "DELETE FROM prekeys WHERE mailbox = ANY($1)",
        "DELETE FROM device WHERE mailbox = ANY($1)",
    ] {
        link.execute(sql, &[&mailboxes]).await?;
    }
    Ok(dropped)
}

async fn update_devices(
    link: &Link,
    account: &AccountId,
    (expected, list): (u64, &NumberedDeviceList),
    kept: &[DeviceId],
    added: &[NewDevice],
    away: &mut Away,
) -> Result<Result<Vec<DeviceId>, UpdateDevicesError>, Fault> {
    let id = &account.as_bytes()[..];
    let row = link.query_opt("SELECT device_list_number FROM account WHERE id = $1 FOR UPDATE", &[&id]).await?;
    let Some(row) = row else { return Ok(Err(UpdateDevicesError::UnknownAccount)) };
    let stored = match unsigned(&row, 0) {
        Ok(stored) => stored,
        Err(error) => return Ok(Err(error.into())),
    };
    if stored != expected {
        return Ok(Err(UpdateDevicesError::Conflict { stored }));
    }
    let update = "UPDATE account SET device_list_number = $2, device_list = $3 WHERE id = $1";
    link.execute(update, &[&id, &signed(list.number), &&list.bytes[..]]).await?;
    let dropped = drop_devices(link, account, Some(kept), away).await?;
    for new in added {
        add_device(link, account, new).await?;
    }
    Ok(Ok(dropped))
}

async fn set_access_key(
    link: &Link,
    account: &AccountId,
    key: Option<StoredAccessKey>,
) -> Result<Result<(), StoreError>, Fault> {
    let (hash, sealed) = (key.map(|key| key.hash.to_vec()), key.is_some_and(|key| key.sealed));
    let update = "UPDATE account SET access_key_hash = $2, takes_sealed = $3 WHERE id = $1";
    link.execute(update, &[&&account.as_bytes()[..], &hash, &sealed]).await?;
    Ok(Ok(()))
}

async fn set_blocked(
    link: &Link,
    account: &AccountId,
    other: &AccountId,
    blocked: bool,
) -> Result<Result<(), SetBlockedError>, Fault> {
    let (id, other) = (&account.as_bytes()[..], &other.as_bytes()[..]);
    let count = "SELECT (SELECT count(*) FROM blocked WHERE account = $1),
        EXISTS (SELECT FROM blocked WHERE account = $1 AND blocked = $2) FROM account WHERE id = $1 FOR UPDATE";
    let Some(row) = link.query_opt(count, &[&id, &other]).await? else { return Ok(Ok(())) };
    let (count, before): (i64, bool) = (row.get(0), row.get(1));
    if blocked && !before && count >= MAX_BLOCKED as i64 {
        return Ok(Err(SetBlockedError::TooMany));
    }
    let sql = if blocked {
        "INSERT INTO blocked(account, blocked) VALUES ($1, $2) ON CONFLICT DO NOTHING"
    } else {
        "DELETE FROM blocked WHERE account = $1 AND blocked = $2"
    };
    link.execute(sql, &[&id, &other]).await?;
    Ok(Ok(()))
}

/// Changes what no lane keeps in memory.
pub async fn update(
    link: &Link,
    id: &AccountId,
    change: &AccountChange,
) -> Result<Result<(), UpdateAccountError>, Fault> {
    let id = &id.as_bytes()[..];
    link.begin().await?;
    let work = async {
        let found = link.query_opt("SELECT 1 FROM account WHERE id = $1 FOR UPDATE", &[&id]).await?;
        if found.is_none() {
            return Ok(Err(UpdateAccountError::UnknownAccount));
        }
        if let Some(name) = &change.name {
            let taken = "SELECT 1 FROM account WHERE name = $2 AND id <> $1";
            if link.query_opt(taken, &[&id, name]).await?.is_some() {
                return Ok(Err(UpdateAccountError::NameTaken));
            }
            link.execute("UPDATE account SET name = $2 WHERE id = $1", &[&id, name]).await?;
        }
        if let Some(phone) = &change.phone {
            link.execute("UPDATE account SET phone = $2 WHERE id = $1", &[&id, phone]).await?;
        }
        Ok::<_, Fault>(Ok(()))
    };
    match work.await {
        Ok(answer) => link.commit().await.map(|()| answer),
        // Another took it at this moment. The connection is closed, which takes the rest back.
        Err(fault) if fault.is_unique_violation() => Ok(Err(UpdateAccountError::NameTaken)),
        Err(fault) => Err(fault),
    }
}

/// Notes the day on which a device was here.
pub async fn note_seen(link: &Link, of: Address, day: u32) -> Result<(), Fault> {
    let sql = "UPDATE device SET last_seen_day = $3
        WHERE account = $1 AND number = $2 AND coalesce(last_seen_day, -1) < $3";
    let account = &of.account.as_bytes()[..];
    link.execute(sql, &[&account, &i64::from(of.device.get()), &i64::from(day)]).await.map(drop)
}

/// The number of a device's mailbox.
pub async fn find_mailbox(link: &Link, of: Address) -> Result<Option<MailboxNumber>, Fault> {
    let sql = "SELECT mailbox FROM device WHERE account = $1 AND number = $2";
    let row = link.query_opt(sql, &[&&of.account.as_bytes()[..], &i64::from(of.device.get())]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// An account with its devices, in one snapshot.
pub async fn find(link: &Link, by: &AccountBy) -> Result<Result<Option<AccountRecord>, StoreError>, Fault> {
    macro_rules! columns {
        ($condition:literal) => {
            concat!(
                "SELECT a.id, a.account_key, a.device_list_number, a.device_list, a.name, a.phone, a.registered_at,
                    d.account, d.number, d.signing_key, d.certificate, d.last_seen_day
                FROM account a LEFT JOIN device d ON d.account = a.id WHERE ",
                $condition,
                " ORDER BY d.number"
            )
        };
    }
    let rows = match by {
        AccountBy::Id(id) => link.query(columns!("a.id = $1"), &[&&id.as_bytes()[..]]).await?,
        AccountBy::Name(name) => link.query(columns!("a.name = $1"), &[name]).await?,
    };
    Ok(record(&rows))
}

fn record(rows: &[Row]) -> Result<Option<AccountRecord>, StoreError> {
    let Some(first) = rows.first() else { return Ok(None) };
    let mut record = AccountRecord {
        account: account(first, 0)?,
        account_key: AccountKey::from_bytes(array(first, 1)?),
        device_list: NumberedDeviceList { number: unsigned(first, 2)?, bytes: bytes(first, 3)? },
        devices: Vec::new(),
        name: get(first, 4)?,
        phone: get(first, 5)?,
        registered_at: unsigned(first, 6)?,
    };
    for row in rows {
        if get::<Option<&[u8]>>(row, 7)?.is_some() {
            record.devices.push(device_record(row, 7)?);
        }
    }
    Ok(Some(record))
}

fn device_record(row: &Row, first: usize) -> Result<DeviceRecord, StoreError> {
    let day = get::<Option<i64>>(row, first + 4)?;
    Ok(DeviceRecord {
        address: Address { account: account(row, first)?, device: device(row, first + 1)? },
        signing_key: DeviceSigningKey::from_bytes(array(row, first + 2)?),
        certificate: bytes(row, first + 3)?,
        last_seen_day: day.map(|day| u32::try_from(day).unwrap_or_default()),
    })
}

/// A device.
pub async fn find_device(link: &Link, of: Address) -> Result<Result<Option<DeviceRecord>, StoreError>, Fault> {
    let sql = "SELECT account, number, signing_key, certificate, last_seen_day FROM device
        WHERE account = $1 AND number = $2";
    let row = link.query_opt(sql, &[&&of.account.as_bytes()[..], &i64::from(of.device.get())]).await?;
    Ok(row.map(|row| device_record(&row, 0)).transpose())
}

/// The accounts that registered after this time.
pub async fn registered_since(link: &Link, time: u64) -> Result<Result<Vec<(AccountId, u64)>, StoreError>, Fault> {
    let rows = link.query("SELECT id, registered_at FROM account WHERE registered_at > $1", &[&signed(time)]).await?;
    Ok(rows.iter().map(|row| Ok((account(row, 0)?, unsigned(row, 1)?))).collect())
}

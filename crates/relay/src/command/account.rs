//! Accounts: GetAccount, PublishDeviceList.

use bytes::Bytes;
use kuvert_types::device_list::DeviceListConflict;
use kuvert_types::limits::{MAX_DEVICES, is_valid_name};
use kuvert_types::{AccountId, Address, DeviceId, DeviceList, UnverifiedDeviceCertificate, UnverifiedDeviceList};
use kuvert_wire::checked::InField;
use kuvert_wire::v1;
use kuvert_wire::v1::get_account::By;
use kuvert_wire::v1::server_frame::Body as Response;

use super::error::{Code, invalid};
use super::{Answer, AuthenticatedDevice, CommandError};
use crate::incidents::Kind;
use crate::observe::Event;
use crate::shared::Shared;
use crate::store::{
    AccountBy, AccountRecord, DeviceRecord, NewDevice, NumberedDeviceList, StoreError, UpdateDevicesError,
};

/// Looks an account up. The phone number is not in the answer: no other account is told.
///
/// # Errors
/// `MALFORMED`, `LIMITED`; the answer can also be `UNKNOWN_RECIPIENT`.
pub fn get(caller: &AuthenticatedDevice, request: v1::GetAccount) -> Result<Answer, CommandError> {
    let (by, name, account) = match request.by {
        Some(By::Account(id)) => {
            let id = AccountId::try_from(id.as_ref()).in_field("account")?;
            (AccountBy::Id(id), None, Some(id))
        }
        // Nobody can have another name, and a log or an index need not see it.
        Some(By::Name(name)) if !is_valid_name(&name) => return Err(unknown()),
        Some(By::Name(name)) => (AccountBy::Name(name.clone()), Some(name), None),
        None => return Err(CommandError::new(Code::Malformed, "say by what to look the account up: account or name")),
    };
    let AuthenticatedDevice { service, device, connection } = caller.clone();
    service.limiter.lookup(&device).map_err(|wait| {
        service.incidents.note(device.account, Kind::Lookups);
        CommandError::limited("account lookups", wait)
    })?;
    let found = service.store.account(by);
    Ok(Box::pin(async move {
        let found = found.await?;
        let account = found.as_ref().map(|record| record.account).or(account);
        let by = device;
        service.observe(Event::LookedUp { connection, by, name, account, found: found.is_some() });
        let record = found.ok_or_else(unknown)?;
        // When its devices were here is nobody else's concern.
        let last_seen = if record.account == by.account { last_seen(&record) } else { Vec::new() };
        Ok(Response::Account(v1::AccountRecord { last_seen, ..to_wire(record) }))
    }))
}

/// Replaces the caller's account's device list by a newer one. A device that it leaves out is dropped in the same
/// transaction, with its prekeys and its mail, and its connections are closed [KV-091]; one whose certificate comes with the list is
/// a device of the account from then on [KV-130].
///
/// # Errors
/// `INVALID`, `FORBIDDEN`; the answer can also be `STALE_DEVICE_LIST`.
pub fn publish_device_list(
    caller: &AuthenticatedDevice,
    request: v1::PublishDeviceList,
) -> Result<Answer, CommandError> {
    let list = UnverifiedDeviceList::decode(&request.device_list).map_err(|error| invalid("the device list", error))?;
    if request.certificates.len() > MAX_DEVICES {
        return Err(CommandError::new(Code::Invalid, format!("an account has at most {MAX_DEVICES} devices")));
    }
    let caller = caller.clone();
    Ok(Box::pin(async move {
        let AuthenticatedDevice { service, device, connection } = caller;
        let record = service.store.account(AccountBy::Id(device.account)).await?.ok_or_else(unknown)?;
        let list = check(list, &request.device_list, &record)?;
        let number = list.body().number;
        let new = NumberedDeviceList { number, bytes: Bytes::from(list.encode()) };
        if new == record.device_list {
            return Ok(Response::Done(v1::Done {}));
        }
        let kept = kept(&list, &record);
        let added = added(&request.certificates, &list, &record, &kept)?;
        // First, so that it is tried again if anything fails. A device that stays after all says it again.
        forget_details(&service, &record, &kept).await?;
        let replaced = service.store.update_devices(device.account, record.device_list.number, new, kept, added);
        let dropped = replaced.await.map_err(|error| match error {
            UpdateDevicesError::UnknownAccount => unknown(),
            UpdateDevicesError::Conflict { .. } => stale(),
            UpdateDevicesError::Store(error) => error.into(),
        })?;
        service.observe(Event::DeviceListPublished { connection, device, number });
        for dropped in dropped {
            service.presence.end_device(&Address { account: device.account, device: dropped });
        }
        Ok(Response::Done(v1::Done {}))
    }))
}

fn check(list: UnverifiedDeviceList, bytes: &[u8], record: &AccountRecord) -> Result<DeviceList, CommandError> {
    let list = list.verify(&record.account_key).map_err(|_| {
        CommandError::new(Code::Forbidden, "the device list is not signed by the key of this device's account")
    })?;
    if i64::try_from(list.body().number).is_err() {
        return Err(CommandError::new(Code::Invalid, "the device list's number is too high"));
    }
    let known = UnverifiedDeviceList::decode(&record.device_list.bytes).ok();
    let known = known.and_then(|known| known.verify(&record.account_key).ok()).ok_or_else(|| {
        CommandError::new(
            Code::Internal,
            "the device list that the relay holds is damaged; its operator has to look at it",
        )
    })?;
    match list.may_replace(&known) {
        // Equal bytes: a repetition after a lost answer.
        Ok(()) if bytes == record.device_list.bytes || list.body().number > known.body().number => Ok(list),
        Err(DeviceListConflict::OtherAccount) => {
            Err(CommandError::new(Code::Forbidden, "the device list belongs to another account"))
        }
        // Older, forked, or what a later version refuses for.
        Ok(()) | Err(_) => Err(stale()),
    }
}

/// Deletes what devices that are not listed have told an extension.
async fn forget_details(service: &Shared, record: &AccountRecord, kept: &[DeviceId]) -> Result<(), StoreError> {
    let all = record.devices.iter().map(|device| device.address);
    let gone: Vec<_> = all.filter(|address| !kept.contains(&address.device)).collect();
    match &service.extension {
        Some(extension) if !gone.is_empty() => extension.forget_devices(gone).await,
        _ => Ok(()),
    }
}

/// The devices of an account that a list names with the keys that are known here.
fn kept(list: &DeviceList, record: &AccountRecord) -> Vec<DeviceId> {
    let names = |device: &&DeviceRecord| {
        let certificate = UnverifiedDeviceCertificate::decode(&device.certificate).ok()?.verify().ok()?;
        list.names(&certificate).then_some(())
    };
    record.devices.iter().filter(|device| names(device).is_some()).map(|device| device.address.device).collect()
}

/// [KV-130] The devices that come with a list: each with a certificate of the account, which the list names, and none that is here.
fn added(
    certificates: &[Bytes],
    list: &DeviceList,
    record: &AccountRecord,
    kept: &[DeviceId],
) -> Result<Vec<NewDevice>, CommandError> {
    let mut added: Vec<NewDevice> = Vec::with_capacity(certificates.len());
    for bytes in certificates {
        let certificate =
            UnverifiedDeviceCertificate::decode(bytes).map_err(|error| invalid("a certificate", error))?;
        let certificate = certificate
            .verify()
            .map_err(|_| CommandError::new(Code::Invalid, "a signature of a certificate does not verify"))?;
        let address = certificate.address();
        if certificate.account_key() != record.account_key || address.account != record.account {
            return Err(CommandError::new(Code::Forbidden, "a certificate belongs to another account"));
        }
        if !list.names(&certificate) {
            return Err(CommandError::new(Code::Invalid, "the device list does not name a device that comes with it"));
        }
        // A repetition of what is here already, or twice the same.
        if kept.contains(&address.device) || added.iter().any(|new| new.device == address.device) {
            continue;
        }
        added.push(NewDevice {
            device: address.device,
            signing_key: certificate.signing_key(),
            certificate: bytes.clone(),
        });
    }
    Ok(added)
}

fn last_seen(record: &AccountRecord) -> Vec<v1::LastSeen> {
    let day = |device: &DeviceRecord| {
        device.last_seen_day.map(|day| v1::LastSeen { device: device.address.device.get(), day })
    };
    record.devices.iter().filter_map(day).collect()
}

fn stale() -> CommandError {
    CommandError::new(
        Code::StaleDeviceList,
        "the relay holds this device list's number or a higher one; fetch it, apply the change to it and publish again",
    )
}

/// No such account, whatever the reason: the same words every time.
pub fn unknown() -> CommandError {
    CommandError::new(Code::UnknownRecipient, "nobody here goes by this; check the spelling and the relay")
}

fn to_wire(record: AccountRecord) -> v1::AccountRecord {
    let AccountRecord { account, account_key, device_list, devices, name, phone: _, registered_at: _ } = record;
    v1::AccountRecord {
        account: Bytes::copy_from_slice(account.as_bytes()),
        account_key: Bytes::copy_from_slice(account_key.as_bytes()),
        device_list: device_list.bytes,
        certificates: devices.into_iter().map(|device| device.certificate).collect(),
        name,
        last_seen: Vec::new(),
    }
}

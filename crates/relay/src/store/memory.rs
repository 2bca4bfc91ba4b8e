//! A model of a store: everything in memory, nothing durable, every rule written down once more in the plainest way.
//! Tests run the same operations on a backend and on this and compare the answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kuvert_types::limits::{
    MAX_BLOCKED, MAX_CIPHERTEXT_BYTES, MAX_MAILBOX_BYTES, MAX_MAILBOX_ENVELOPES, MAX_OCCUPANTS, MAX_ONE_TIME_PREKEYS,
};
use kuvert_types::{AccessKeyHash, AccountId, Address, DeviceId};

use super::error::MailboxFull;
use super::{
    AccountBy, AccountChange, AccountRecord, Bundle, Cursor, DeviceRecord, FullMailbox, Gauges, KnownTime, NewAccount,
    NewDevice, NewEnvelope, NewInvitation, NewPrekeys, NumberedDeviceList, Occupant, Page, Pending, PrekeyCounts,
    PrekeyKind, PublishPrekeysError, RegisterError, Session, SetBlockedError, SignedKey, Stats, Store, StoreError,
    StoredAccessKey, StoredEnvelope, SubmitError, Submitted, TakeBundleError, Times, Unavailable, UnsignedKey,
    UpdateAccountError, UpdateDevicesError, Waiting,
};
use crate::mailbox::Amount;

/// The model. What it holds is gone with it.
#[derive(Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    accounts: HashMap<AccountId, (NewAccount, NumberedDeviceList)>,
    access_keys: HashMap<AccountId, StoredAccessKey>,
    /// Who blocks whom.
    blocked: BTreeSet<(AccountId, AccountId)>,
    devices: BTreeMap<(AccountId, DeviceId), Device>,
    /// All envelopes that wait, in the order of arrival.
    envelopes: Vec<Held>,
    last_cursor: u64,
    invitations: Vec<NewInvitation>,
    known: Option<KnownTime>,
    closed: bool,
}

#[derive(Debug)]
struct Held {
    mailbox: Address,
    /// It came with the recipient's access key, under a name.
    contact: bool,
    envelope: StoredEnvelope,
}

#[derive(Debug)]
struct Device {
    record: DeviceRecord,
    expired: u64,
    refused: u64,
    signed: Option<SignedKey>,
    last_resort: Option<SignedKey>,
    one_time: BTreeMap<u32, UnsignedKey>,
    one_time_kem: BTreeMap<u32, SignedKey>,
    /// The highest id of each kind so far.
    highest: HashMap<PrekeyKind, u32>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T, E: From<StoreError>>(&self, operation: impl FnOnce(&mut Content) -> Result<T, E>) -> Pending<T, E> {
        let mut content: MutexGuard<'_, Content> = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if content.closed {
            return Pending::ready(Err(StoreError::from(Unavailable::Stopped).into()));
        }
        Pending::ready(operation(&mut content))
    }
}

impl Content {
    fn device(&mut self, address: Address) -> Option<&mut Device> {
        self.devices.get_mut(&(address.account, address.device))
    }

    fn mailbox(&self, mailbox: Address) -> impl Iterator<Item = &StoredEnvelope> {
        self.envelopes.iter().filter(move |held| held.mailbox == mailbox).map(|held| &held.envelope)
    }

    fn submit(
        &mut self,
        mailbox: Address,
        new: NewEnvelope,
        key: Option<AccessKeyHash>,
        accepted_at: u64,
    ) -> Result<Submitted, SubmitError> {
        if new.ciphertext.len() > MAX_CIPHERTEXT_BYTES {
            return Err(SubmitError::TooLarge);
        }
        if self.device(mailbox).is_none() {
            return Err(SubmitError::UnknownMailbox);
        }
        let same = |envelope: &&StoredEnvelope| envelope.id == new.id && envelope.source == new.source;
        if let Some(stored) = self.mailbox(mailbox).find(same) {
            return Ok(Submitted::AlreadyStored { cursor: stored.cursor });
        }
        let known = self.access_keys.get(&mailbox.account).map(|stored| stored.hash);
        let shown = key.is_some() && key == known;
        let contact = new.source.is_some_and(|source| shown || source.account == mailbox.account);
        let blocked = new.source.is_some_and(|source| self.blocked.contains(&(mailbox.account, source.account)));
        if let Err(full) = self.admit(mailbox, &new, contact) {
            if let Some(device) = self.device(mailbox).filter(|_| !blocked) {
                device.refused += 1;
            }
            return Err(full.into());
        }
        if blocked {
            return Err(SubmitError::Blocked);
        }
        self.last_cursor += 1;
        let cursor = Cursor::new(self.last_cursor);
        let NewEnvelope { id, source, ciphertext } = new;
        let envelope = StoredEnvelope { cursor, id, source, accepted_at, ciphertext };
        self.envelopes.push(Held { mailbox, contact, envelope });
        Ok(Submitted::Stored { cursor })
    }

    /// What waits in a mailbox of those for whom `of` says yes, given the source and whether it is a contact.
    fn amount(&self, mailbox: Address, of: impl Fn(Option<AccountId>, bool) -> bool) -> Amount {
        let of_mailbox = self.envelopes.iter().filter(|held| held.mailbox == mailbox);
        let chosen = of_mailbox.filter(|held| of(held.envelope.source.map(|source| source.account), held.contact));
        chosen.fold(Amount::default(), |sum, held| Amount {
            envelopes: sum.envelopes + 1,
            bytes: sum.bytes + held.envelope.ciphertext.len() as u64,
        })
    }

    /// KV-087 in numbers.
    fn admit(&self, mailbox: Address, new: &NewEnvelope, contact: bool) -> Result<(), MailboxFull> {
        let size = new.ciphertext.len() as u64;
        let fits = |waiting: Amount, envelopes: u64, bytes: u64| {
            if waiting.envelopes + 1 > envelopes {
                Err(MailboxFull::Envelopes)
            } else if waiting.bytes + size > bytes {
                Err(MailboxFull::Bytes)
            } else {
                Ok(())
            }
        };
        fits(self.amount(mailbox, |_, _| true), MAX_MAILBOX_ENVELOPES, MAX_MAILBOX_BYTES)?;
        let Some(account) = new.source.map(|source| source.account) else {
            let sealed = self.amount(mailbox, |source, _| source.is_none());
            return fits(sealed, MAX_MAILBOX_ENVELOPES / 2, MAX_MAILBOX_BYTES / 2);
        };
        let own = self.amount(mailbox, |source, is_contact| source == Some(account) && is_contact == contact);
        if contact {
            return fits(own, MAX_MAILBOX_ENVELOPES / 8, MAX_MAILBOX_BYTES / 8);
        }
        let strangers = self.amount(mailbox, |source, is_contact| source.is_some() && !is_contact);
        let (envelopes, bytes) = (MAX_MAILBOX_ENVELOPES / 4, MAX_MAILBOX_BYTES / 4);
        fits(strangers, envelopes, bytes)?;
        let (others, other_bytes) = (strangers.envelopes - own.envelopes, strangers.bytes - own.bytes);
        fits(own, ((envelopes - others) / 8).max(1), ((bytes - other_bytes) / 8).max(8 * 1024))
    }

    fn largest(&self, mailbox: Address) -> Vec<Occupant> {
        let of_envelope = |envelope: &StoredEnvelope| envelope.source.map(|source| source.account);
        let senders: BTreeSet<_> = self.mailbox(mailbox).map(of_envelope).collect();
        let mut occupants: Vec<_> = senders
            .into_iter()
            .map(|account| Occupant { account, waiting: self.amount(mailbox, |source, _| source == account) })
            .collect();
        occupants.sort_by_key(|occupant| (u64::MAX - occupant.waiting.bytes, u64::MAX - occupant.waiting.envelopes));
        occupants.truncate(MAX_OCCUPANTS);
        occupants
    }

    fn set_blocked(&mut self, account: AccountId, other: AccountId, blocked: bool) -> Result<(), SetBlockedError> {
        if !self.accounts.contains_key(&account) {
            return Ok(());
        }
        let count = self.blocked.iter().filter(|(by, _)| *by == account).count();
        if blocked && count >= MAX_BLOCKED && !self.blocked.contains(&(account, other)) {
            return Err(SetBlockedError::TooMany);
        }
        if blocked {
            self.blocked.insert((account, other));
        } else {
            self.blocked.remove(&(account, other));
        }
        Ok(())
    }

    fn read(&self, mailbox: Address, after: Cursor, limit: usize, max_bytes: usize) -> Page {
        let mut page = Page::default();
        let mut bytes = 0;
        for envelope in self.mailbox(mailbox).filter(|envelope| envelope.cursor > after) {
            bytes += envelope.ciphertext.len();
            if page.envelopes.len() == limit || (!page.envelopes.is_empty() && bytes > max_bytes) {
                page.more = true;
                break;
            }
            page.envelopes.push(envelope.clone());
        }
        page
    }

    fn acknowledge(&mut self, mailbox: Address, up_to: Cursor) -> u64 {
        let before = self.envelopes.len();
        self.envelopes.retain(|held| held.mailbox != mailbox || held.envelope.cursor > up_to);
        (before - self.envelopes.len()) as u64
    }

    fn expire(&mut self, older_than: u64, budget: usize) -> u64 {
        let mut expired = Vec::new();
        self.envelopes.retain(|held| {
            let due = held.envelope.accepted_at < older_than && expired.len() < budget;
            if due {
                expired.push(held.mailbox);
            }
            !due
        });
        for address in &expired {
            if let Some(device) = self.device(*address) {
                device.expired += 1;
            }
        }
        expired.len() as u64
    }

    fn register(&mut self, new: NewAccount) -> Result<(), RegisterError> {
        if self.accounts.contains_key(&new.account) {
            return Err(RegisterError::AccountExists);
        }
        if new.name.is_some() && self.accounts.values().any(|(account, _)| account.name == new.name) {
            return Err(RegisterError::NameTaken);
        }
        if let Some(hash) = new.invitation {
            let good = |invitation: &&mut NewInvitation| {
                invitation.hash == hash && invitation.uses > 0 && invitation.expires_at > new.registered_at
            };
            self.invitations.iter_mut().find(good).ok_or(RegisterError::Invitation)?.uses -= 1;
        }
        self.add_device(new.account, new.device.clone());
        self.accounts.insert(new.account, (new.clone(), new.device_list));
        Ok(())
    }

    fn add_device(&mut self, account: AccountId, new: NewDevice) {
        let address = Address { account, device: new.device };
        let NewDevice { signing_key, certificate, .. } = new;
        let record = DeviceRecord { address, signing_key, certificate, last_seen_day: None };
        self.devices.insert(
            (address.account, address.device),
            Device {
                record,
                expired: 0,
                refused: 0,
                signed: None,
                last_resort: None,
                one_time: BTreeMap::new(),
                one_time_kem: BTreeMap::new(),
                highest: HashMap::new(),
            },
        );
    }

    fn account(&self, by: &AccountBy) -> Option<AccountRecord> {
        let (new, device_list) = match by {
            AccountBy::Id(id) => self.accounts.get(id)?,
            AccountBy::Name(name) => self.accounts.values().find(|(account, _)| account.name.as_ref() == Some(name))?,
        };
        let of_account = self.devices.values().filter(|device| device.record.address.account == new.account);
        Some(AccountRecord {
            account: new.account,
            account_key: new.account_key,
            device_list: device_list.clone(),
            devices: of_account.map(|device| device.record.clone()).collect(),
            name: new.name.clone(),
            phone: new.phone.clone(),
            registered_at: new.registered_at,
        })
    }

    fn update_account(&mut self, id: AccountId, change: AccountChange) -> Result<(), UpdateAccountError> {
        if !self.accounts.contains_key(&id) {
            return Err(UpdateAccountError::UnknownAccount);
        }
        if let Some(Some(name)) = &change.name
            && self.accounts.values().any(|(other, _)| other.account != id && other.name.as_ref() == Some(name))
        {
            return Err(UpdateAccountError::NameTaken);
        }
        if let Some((account, _)) = self.accounts.get_mut(&id) {
            account.name = change.name.unwrap_or(account.name.take());
            account.phone = change.phone.unwrap_or(account.phone.take());
        }
        Ok(())
    }

    fn delete_account(&mut self, id: AccountId) -> bool {
        self.envelopes.retain(|held| held.mailbox.account != id);
        self.devices.retain(|(account, _), _| *account != id);
        self.access_keys.remove(&id);
        self.blocked.retain(|(by, _)| *by != id);
        self.accounts.remove(&id).is_some()
    }

    fn update_devices(
        &mut self,
        account: AccountId,
        expected: u64,
        list: NumberedDeviceList,
        kept: &[DeviceId],
        added: Vec<NewDevice>,
    ) -> Result<Vec<DeviceId>, UpdateDevicesError> {
        let (_, stored) = self.accounts.get_mut(&account).ok_or(UpdateDevicesError::UnknownAccount)?;
        if stored.number != expected {
            return Err(UpdateDevicesError::Conflict { stored: stored.number });
        }
        *stored = list;
        let gone = |of: &AccountId, device: &DeviceId| *of == account && !kept.contains(device);
        let dropped = self.devices.keys().filter(|(of, device)| gone(of, device)).map(|(_, device)| *device).collect();
        self.devices.retain(|(of, device), _| !gone(of, device));
        self.envelopes.retain(|held| !gone(&held.mailbox.account, &held.mailbox.device));
        for device in added {
            self.add_device(account, device);
        }
        Ok(dropped)
    }

    fn publish_prekeys(&mut self, address: Address, new: NewPrekeys) -> Result<(), PublishPrekeysError> {
        let device = self.device(address).ok_or(PublishPrekeysError::UnknownDevice)?;
        let mut highest = device.highest.clone();
        let ids = (new.signed.iter().map(|key| (PrekeyKind::Signed, key.id)))
            .chain(new.last_resort_kem.iter().map(|key| (PrekeyKind::LastResortKem, key.id)))
            .chain(new.one_time.iter().map(|key| (PrekeyKind::OneTime, key.id)))
            .chain(new.one_time_kem.iter().map(|key| (PrekeyKind::OneTimeKem, key.id)));
        for (kind, id) in ids {
            if highest.get(&kind).is_some_and(|highest| id <= *highest) {
                return Err(PublishPrekeysError::Reused { kind, id });
            }
            highest.insert(kind, id);
        }
        if device.one_time.len() + new.one_time.len() > MAX_ONE_TIME_PREKEYS {
            return Err(PublishPrekeysError::TooMany { kind: PrekeyKind::OneTime });
        }
        if device.one_time_kem.len() + new.one_time_kem.len() > MAX_ONE_TIME_PREKEYS {
            return Err(PublishPrekeysError::TooMany { kind: PrekeyKind::OneTimeKem });
        }
        device.highest = highest;
        device.signed = new.signed.or(device.signed.take());
        device.last_resort = new.last_resort_kem.or(device.last_resort.take());
        device.one_time.extend(new.one_time.into_iter().map(|key| (key.id, key)));
        device.one_time_kem.extend(new.one_time_kem.into_iter().map(|key| (key.id, key)));
        Ok(())
    }

    fn take_bundle(&mut self, address: Address, reserve: u64) -> Result<Bundle, TakeBundleError> {
        let device = self.device(address).ok_or(TakeBundleError::UnknownDevice)?;
        let signed = device.signed.clone().ok_or(TakeBundleError::NoPrekeys)?;
        let last_resort = device.last_resort.clone().ok_or(TakeBundleError::NoPrekeys)?;
        let spare = |left: usize| left as u64 >= reserve;
        let one_time_kem = spare(device.one_time_kem.len()).then(|| device.one_time_kem.pop_first()).flatten();
        let one_time_curve = spare(device.one_time.len()).then(|| device.one_time.pop_first()).flatten();
        Ok(Bundle {
            certificate: device.record.certificate.clone(),
            signed,
            kem_is_last_resort: one_time_kem.is_none(),
            kem: one_time_kem.map_or(last_resort, |(_, key)| key),
            one_time: one_time_curve.map(|(_, key)| key),
        })
    }
}

impl Session for MemoryStore {
    fn submit(
        &mut self,
        mailbox: Address,
        envelope: NewEnvelope,
        key: Option<AccessKeyHash>,
        accepted_at: u64,
    ) -> Pending<Submitted, SubmitError> {
        self.with(|content| content.submit(mailbox, envelope, key, accepted_at))
    }
}

impl Store for MemoryStore {
    fn session(&self) -> Box<dyn Session> {
        Box::new(Self(Arc::clone(&self.0)))
    }

    fn read(&self, mailbox: Address, after: Cursor, limit: usize, max_bytes: usize) -> Pending<Page, StoreError> {
        self.with(|content| Ok(content.read(mailbox, after, limit, max_bytes)))
    }

    fn acknowledge(&self, mailbox: Address, up_to: Cursor) -> Pending<u64, StoreError> {
        self.with(|content| Ok(content.acknowledge(mailbox, up_to)))
    }

    fn waiting(&self, mailbox: Address) -> Pending<Waiting, StoreError> {
        self.with(|content| {
            Ok(Waiting {
                count: content.mailbox(mailbox).count() as u64,
                bytes: content.mailbox(mailbox).map(|envelope| envelope.ciphertext.len() as u64).sum(),
                expired: content.device(mailbox).map_or(0, |device| device.expired),
            })
        })
    }

    fn take_full(&self, mailbox: Address) -> Pending<Option<FullMailbox>, StoreError> {
        self.with(|content| {
            let refused = content.device(mailbox).map_or(0, |device| std::mem::take(&mut device.refused));
            Ok((refused > 0).then(|| FullMailbox { refused, largest: content.largest(mailbox) }))
        })
    }

    fn expire(&self, older_than: u64, budget: usize) -> Pending<u64, StoreError> {
        self.with(|content| Ok(content.expire(older_than, budget)))
    }

    fn acknowledge_expired(&self, mailbox: Address, count: u64) -> Pending<(), StoreError> {
        self.with(|content| {
            if let Some(device) = content.device(mailbox) {
                device.expired = device.expired.saturating_sub(count);
            }
            Ok(())
        })
    }

    fn register(&self, account: NewAccount) -> Pending<(), RegisterError> {
        self.with(|content| content.register(account))
    }

    fn add_invitation(&self, invitation: NewInvitation) -> Pending<(), StoreError> {
        self.with(|content| {
            content.invitations.retain(|known| known.hash != invitation.hash);
            content.invitations.push(invitation);
            Ok(())
        })
    }

    fn account(&self, by: AccountBy) -> Pending<Option<AccountRecord>, StoreError> {
        self.with(|content| Ok(content.account(&by)))
    }

    fn registered_since(&self, time: u64) -> Pending<Vec<(AccountId, u64)>, StoreError> {
        self.with(|content| {
            let all = content.accounts.values().map(|(account, _)| (account.account, account.registered_at));
            Ok(all.filter(|(_, at)| *at > time).collect())
        })
    }

    fn device(&self, address: Address) -> Pending<Option<DeviceRecord>, StoreError> {
        self.with(|content| Ok(content.device(address).map(|device| device.record.clone())))
    }

    fn update_account(&self, account: AccountId, change: AccountChange) -> Pending<(), UpdateAccountError> {
        self.with(|content| content.update_account(account, change))
    }

    fn delete_account(&self, account: AccountId) -> Pending<bool, StoreError> {
        self.with(|content| Ok(content.delete_account(account)))
    }

    fn update_devices(
        &self,
        account: AccountId,
        expected: u64,
        list: NumberedDeviceList,
        kept: Vec<DeviceId>,
        added: Vec<NewDevice>,
    ) -> Pending<Vec<DeviceId>, UpdateDevicesError> {
        self.with(|content| content.update_devices(account, expected, list, &kept, added))
    }

    fn set_access_key(&self, account: AccountId, key: Option<StoredAccessKey>) -> Pending<(), StoreError> {
        self.with(|content| {
            content.access_keys.remove(&account);
            if content.accounts.contains_key(&account) {
                content.access_keys.extend(key.map(|key| (account, key)));
            }
            Ok(())
        })
    }

    fn access_key(&self, mailbox: Address) -> Pending<Option<StoredAccessKey>, StoreError> {
        self.with(|content| {
            let known = content.device(mailbox).is_some();
            Ok(known.then(|| content.access_keys.get(&mailbox.account).copied()).flatten())
        })
    }

    fn set_blocked(&self, account: AccountId, other: AccountId, blocked: bool) -> Pending<(), SetBlockedError> {
        self.with(|content| content.set_blocked(account, other, blocked))
    }

    fn note_seen(&self, device: Address, day: u32) -> Pending<(), StoreError> {
        self.with(|content| {
            if let Some(device) = content.device(device) {
                device.record.last_seen_day = device.record.last_seen_day.max(Some(day));
            }
            Ok(())
        })
    }

    fn publish_prekeys(&self, device: Address, prekeys: NewPrekeys) -> Pending<(), PublishPrekeysError> {
        self.with(|content| content.publish_prekeys(device, prekeys))
    }

    fn take_bundle_sparing(&self, device: Address, reserve: u64) -> Pending<Bundle, TakeBundleError> {
        self.with(|content| content.take_bundle(device, reserve))
    }

    fn count_prekeys(&self, device: Address) -> Pending<PrekeyCounts, StoreError> {
        self.with(|content| {
            let device = content.device(device);
            Ok(device.map_or(PrekeyCounts::default(), |device| PrekeyCounts {
                one_time: device.one_time.len() as u64,
                one_time_kem: device.one_time_kem.len() as u64,
            }))
        })
    }

    fn gauges(&self) -> Pending<Gauges, StoreError> {
        self.with(|content| {
            Ok(Gauges {
                devices: content.devices.len() as u64,
                waiting: content.envelopes.len() as u64,
                waiting_bytes: content.envelopes.iter().map(|held| held.envelope.ciphertext.len() as u64).sum(),
            })
        })
    }

    fn stats(&self) -> Pending<Stats, StoreError> {
        self.with(|content| {
            Ok(Stats {
                accounts: content.accounts.len() as u64,
                devices: content.devices.len() as u64,
                waiting: content.envelopes.len() as u64,
                waiting_bytes: content.envelopes.iter().map(|held| held.envelope.ciphertext.len() as u64).sum(),
                one_time_prekeys: content
                    .devices
                    .values()
                    .map(|device| (device.one_time.len() + device.one_time_kem.len()) as u64)
                    .sum(),
            })
        })
    }

    fn room(&self) -> Pending<(), StoreError> {
        self.with(|_| Ok(()))
    }

    fn reusable(&self) -> u64 {
        0
    }

    fn times(&self) -> Pending<Times, StoreError> {
        self.with(|content| {
            let accepted = content.envelopes.iter().map(|held| held.envelope.accepted_at);
            let registered = content.accounts.values().map(|(account, _)| account.registered_at);
            Ok(Times { known: content.known, newest: accepted.chain(registered).max() })
        })
    }

    fn note_time(&self, known: KnownTime) -> Pending<(), StoreError> {
        self.with(|content| {
            content.known = Some(known);
            Ok(())
        })
    }

    fn restamp(&self, now: u64) -> Pending<u64, StoreError> {
        self.with(|content| {
            let late = content.envelopes.iter_mut().filter(|held| held.envelope.accepted_at > now);
            Ok(late.map(|held| held.envelope.accepted_at = now).count() as u64)
        })
    }

    fn checkpoint(&self) -> Pending<(), StoreError> {
        self.with(|_| Ok(()))
    }

    fn close(&self) -> Pending<(), StoreError> {
        self.with(|content| {
            content.closed = true;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::Backend;

    struct Memory;

    impl Backend for Memory {
        fn new() -> Self {
            Self
        }

        fn open(&self) -> Arc<dyn Store> {
            Arc::new(MemoryStore::new())
        }
    }

    crate::store_conformance!(Memory);
}

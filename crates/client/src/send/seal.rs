//! Sealing: contents into session messages, one for each device, in one transaction with the sessions' new state.

use std::collections::HashMap;

use kuvert_protocol::session::{EncryptError, SessionRecord};
use kuvert_types::limits::MAX_RETENTION_DAYS;
use kuvert_types::{AccessKey, AccountId, Address, DeviceId, DeviceList};
use prost::Message as _;

use crate::bridge;
use crate::client::Inner;
use crate::contacts::Contact;
use crate::devices;
use crate::disclosure;
use crate::error::Error;
use crate::resets;
use crate::rng;
use crate::state::{self, Outgoing, SealedRow};
use crate::store::{Log, Table, Transaction};

/// A session that was begun here and never answered may rest on prekeys that the other side has deleted by now.
const UNANSWERED_TOO_LONG_MS: u64 = (MAX_RETENTION_DAYS as u64 - 5) * 24 * 60 * 60 * 1000;

/// The sessions with one device.
pub(crate) fn session(tx: &dyn Transaction, address: &Address) -> Result<SessionRecord, Error> {
    match tx.get(Table::Session, &address.to_bytes())? {
        Some(bytes) => SessionRecord::decode(&bytes).map_err(|_| state::damaged("sessions")),
        None => Ok(SessionRecord::new()),
    }
}

/// The devices of a contact that there is no usable session with.
pub(super) fn devices_without_session(
    tx: &dyn Transaction,
    account: &AccountId,
    now: u64,
) -> Result<Vec<DeviceId>, Error> {
    let list = match Contact::get(tx, account)? {
        Some(contact) => devices::of(&contact.row)?,
        None => None,
    };
    let mut missing = Vec::new();
    for entry in list.iter().flat_map(|list| &list.body().devices) {
        let session = session(tx, &Address { account: *account, device: entry.device })?;
        // [KV-016] A session with keys that the list does not name is with a device that is there no more.
        let listed = session.remote_certificate().is_none_or(|remote| entry.certificate_hash == remote.hash());
        let waited = session.unanswered_since().map_or(0, |since| now.saturating_sub(since));
        if !session.has_active() || !listed || waited > UNANSWERED_TOO_LONG_MS {
            missing.push(entry.device);
        }
    }
    Ok(missing)
}

/// Seals entries within one transaction; each session is read and written once.
pub(super) struct Sealer<'a> {
    inner: &'a Inner,
    tx: &'a dyn Transaction,
    /// The access key that contacts are told, and whether it is good for sealed mail.
    told: Option<(AccessKey, bool)>,
    sessions: HashMap<Address, SessionRecord>,
    lists: HashMap<AccountId, Option<DeviceList>>,
}

impl<'a> Sealer<'a> {
    pub fn new(inner: &'a Inner, tx: &'a dyn Transaction) -> Result<Self, Error> {
        let told = disclosure::row(tx)?.told_key()?;
        Ok(Self { inner, tx, told, sessions: HashMap::new(), lists: HashMap::new() })
    }

    pub fn seal(&mut self, outgoing: &mut Outgoing) -> Result<(), Error> {
        let account = outgoing.account;
        if !self.lists.contains_key(&account) {
            let contact = Contact::get(self.tx, &account)?.filter(|contact| contact.may_send().is_ok());
            let list = contact.map(|contact| devices::of(&contact.row)).transpose()?.flatten();
            self.lists.insert(account, list);
        }
        // Changed by another process since it was made ready: next time.
        let Some(Some(list)) = self.lists.get(&account) else { return Ok(()) };
        if !outgoing.row.sealed.is_empty() {
            return drop_unlisted(self.tx, outgoing, list);
        }
        let plaintext =
            bridge::seal_content(&outgoing.row.content, self.inner.own.list.state(), list.state(), self.told)
                .map_err(|_| state::damaged("the outbox"))?;
        let only = outgoing.row.fresh_session_with;
        let devices: Vec<DeviceId> = list
            .body()
            .devices
            .iter()
            .map(|entry| entry.device)
            .filter(|device| only == 0 || device.get() == only)
            .collect();
        if devices.is_empty() {
            // The device that was to get a fresh session is gone.
            self.tx.remove(Log::Outbox, outgoing.place)?;
            if let Ok(device) = DeviceId::new(only) {
                self.tx.delete(Table::Peer, &Address { account, device }.to_bytes())?;
            }
            return Ok(());
        }
        for device in &devices {
            let address = Address { account, device: *device };
            if !self.sessions.contains_key(&address) {
                self.sessions.insert(address, session(self.tx, &address)?);
            }
            let remote = self.sessions.get(&address).and_then(SessionRecord::remote_certificate);
            if !remote.is_some_and(|remote| list.names(remote)) {
                return Ok(());
            }
        }
        let mut sealed = Vec::with_capacity(devices.len());
        for (index, device) in devices.iter().enumerate() {
            let address = Address { account, device: *device };
            let Some(session) = self.sessions.get_mut(&address) else { return Ok(()) };
            let ciphertext = match session.encrypt(&plaintext, self.inner.now(), &mut rng::system_rng()) {
                Ok(ciphertext) => ciphertext,
                Err(EncryptError::TooLong) => return Err(Error::Internal { what: "content over the limit" }),
                // The session is at its end. A later flush begins a new one and comes back to this entry.
                Err(_) => {
                    resets::request(self.tx, &address, self.inner.now())?;
                    return Ok(());
                }
            };
            // The first envelope of a text goes by the message's id.
            let id = match outgoing.text {
                Some(message) if index == 0 => message.id,
                _ => rng::envelope_id(),
            };
            sealed.push(SealedRow { id: id.as_bytes().to_vec(), device: device.get(), ciphertext });
        }
        outgoing.row.sealed = sealed;
        self.tx.replace(Log::Outbox, outgoing.place, &outgoing.row.encode_to_vec())?;
        Ok(())
    }

    pub fn save(self) -> Result<(), Error> {
        for (address, session) in self.sessions {
            self.tx.put(Table::Session, &address.to_bytes(), &session.encode())?;
        }
        Ok(())
    }
}

/// [KV-016] What was sealed for a device that has been removed since goes nowhere. If none of its envelopes is left, an entry
/// is sealed anew.
fn drop_unlisted(tx: &dyn Transaction, outgoing: &mut Outgoing, list: &DeviceList) -> Result<(), Error> {
    let listed = |sealed: &SealedRow| list.body().devices.iter().any(|entry| entry.device.get() == sealed.device);
    if outgoing.row.sealed.iter().all(listed) {
        return Ok(());
    }
    outgoing.row.sealed.retain(listed);
    tx.replace(Log::Outbox, outgoing.place, &outgoing.row.encode_to_vec())?;
    Ok(())
}

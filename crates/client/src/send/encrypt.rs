//! Encrypting: contents into session messages, one for each device, in one transaction with the sessions' new state.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use kuvert_protocol::session::{EncryptError, SessionRecord};
use kuvert_types::limits::MAX_RETENTION_DAYS;
use kuvert_types::{AccessKey, AccountId, Address, DeviceId, DeviceList};

use crate::bridge;
use crate::contact::Contact;
use crate::conversation::ConversationId;
use crate::devices;
use crate::disclosure;
use crate::engine::Tx;
use crate::error::Error;
use crate::identity::Identity;
use crate::resets;
use crate::rng;
use crate::session::session;
use crate::state::{self, Envelope, EnvelopeRow, EnvelopeState, Outgoing};
use crate::store::{Table, Transaction};

/// A session that was begun here and never answered may rest on prekeys that the other side has deleted by now.
const UNANSWERED_TOO_LONG_MS: u64 = (MAX_RETENTION_DAYS as u64 - 5) * 24 * 60 * 60 * 1000;

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

/// Encrypts entries within one transaction; each session is read and written once.
pub(super) struct Encryptor<'a> {
    tx: &'a Tx<'a>,
    own: Arc<Identity>,
    /// The access key that contacts are told, and whether it is good for anonymous mail.
    disclosed: Option<(AccessKey, bool)>,
    sessions: HashMap<Address, SessionRecord>,
    lists: HashMap<AccountId, Option<DeviceList>>,
}

impl<'a> Encryptor<'a> {
    pub fn new(tx: &'a Tx<'a>) -> Result<Self, Error> {
        let disclosed = disclosure::row(tx)?.disclosed_key()?;
        Ok(Self { tx, own: tx.identity()?, disclosed, sessions: HashMap::new(), lists: HashMap::new() })
    }

    /// Makes the envelopes of an entry, one for each device, as far as there are sessions; what was made before stays. Whether
    /// the entry is still in the outbox: one for a device that is gone is not.
    pub fn encrypt(&mut self, outgoing: &mut Outgoing) -> Result<bool, Error> {
        let Some(now) = outgoing.again(self.tx)? else { return Ok(false) };
        *outgoing = now;
        let ConversationId::Contact(account) = outgoing.conversation;
        // Changed by another process since it was made ready: next time.
        let Some(list) = self.list(account)? else { return Ok(true) };
        drop_unlisted(self.tx, outgoing, &list)?;
        if outgoing.is_untouched() {
            return self.fan_out(outgoing, account, &list);
        }
        for index in 0..outgoing.envelopes.len() {
            let Envelope { recipient, row, .. } = &outgoing.envelopes[index];
            if row.state() != EnvelopeState::ToEncrypt {
                continue;
            }
            let plaintext = self.finish(outgoing, &list, recipient)?;
            if let Some(ciphertext) = self.encrypt_for(*recipient, &plaintext, &list)? {
                let envelope = &mut outgoing.envelopes[index];
                envelope.row.ciphertext = ciphertext;
                envelope.row.set_state(EnvelopeState::Encrypted);
                envelope.save(self.tx)?;
            }
        }
        Ok(true)
    }

    fn list(&mut self, account: AccountId) -> Result<Option<DeviceList>, Error> {
        if let Some(list) = self.lists.get(&account) {
            return Ok(list.clone());
        }
        let contact = Contact::get(self.tx, &account)?.filter(|contact| contact.may_send().is_ok());
        let list = contact.map(|contact| devices::of(&contact.row)).transpose()?.flatten();
        self.lists.insert(account, list.clone());
        Ok(list)
    }

    /// The content for a device, with what is true now.
    fn finish(&self, outgoing: &Outgoing, list: &DeviceList, reader: &Address) -> Result<Vec<u8>, Error> {
        let (own, theirs) = (self.own.list.state(), list.state());
        let finished = bridge::finish_content(&outgoing.row.content, own, theirs, self.disclosed)
            .map_err(|_| state::damaged("the outbox"))?;
        bridge::for_reader(finished, reader)
    }

    /// The first envelopes of an entry: one row for each device of the list. Nothing is stored if none can be encrypted.
    fn fan_out(&mut self, outgoing: &mut Outgoing, account: AccountId, list: &DeviceList) -> Result<bool, Error> {
        let only = outgoing.row.fresh_session_with;
        let devices: Vec<Address> = list
            .body()
            .devices
            .iter()
            .filter(|entry| only == 0 || entry.device.get() == only)
            .map(|entry| Address { account, device: entry.device })
            .collect();
        if devices.is_empty() {
            // The device that was to get a fresh session is gone.
            if let Ok(device) = DeviceId::new(only) {
                self.tx.delete(Table::Peer, &Address { account, device }.to_bytes())?;
            }
            outgoing.clone().remove(self.tx)?;
            return Ok(false);
        }
        let mut made = Vec::with_capacity(devices.len());
        for recipient in devices {
            let plaintext = self.finish(outgoing, list, &recipient)?;
            made.push((recipient, self.encrypt_for(recipient, &plaintext, list)?));
        }
        if made.iter().all(|(_, ciphertext)| ciphertext.is_none()) {
            return Ok(true);
        }
        for (index, (recipient, ciphertext)) in made.into_iter().enumerate() {
            // The first envelope of a text goes by the message's id.
            let id = match outgoing.text {
                Some(message) if index == 0 => message.id,
                _ => rng::envelope_id(),
            };
            let state = if ciphertext.is_some() { EnvelopeState::Encrypted } else { EnvelopeState::ToEncrypt };
            let row = EnvelopeRow {
                id: id.as_bytes().to_vec(),
                recipient: recipient.to_bytes().to_vec(),
                state: state.into(),
                ciphertext: ciphertext.unwrap_or_default(),
                failure: String::new(),
            };
            outgoing.add(self.tx, recipient, row)?;
        }
        Ok(true)
    }

    /// A session message for one device; none while there is no session with the device that the list names.
    fn encrypt_for(
        &mut self,
        recipient: Address,
        plaintext: &[u8],
        list: &DeviceList,
    ) -> Result<Option<Vec<u8>>, Error> {
        let record = match self.sessions.entry(recipient) {
            Entry::Occupied(record) => record.into_mut(),
            Entry::Vacant(place) => place.insert(session(self.tx, &recipient)?),
        };
        if !record.remote_certificate().is_some_and(|remote| list.names(remote)) {
            return Ok(None);
        }
        match record.encrypt(plaintext, self.tx.now(), &mut rng::system_rng()) {
            Ok(ciphertext) => Ok(Some(ciphertext)),
            Err(EncryptError::TooLong) => Err(Error::Internal { what: "content over the limit" }),
            // The session is at its end. A later flush begins a new one and comes back to this entry.
            Err(_) => {
                resets::request(self.tx, &recipient, self.tx.now())?;
                Ok(None)
            }
        }
    }

    /// Stores the sessions' new state.
    pub fn save(self) -> Result<(), Error> {
        for (address, session) in self.sessions {
            if !session.is_empty() {
                self.tx.put(Table::Session, &address.to_bytes(), &session.encode())?;
            }
        }
        Ok(())
    }
}

/// [KV-016] What was encrypted for a device that has been removed since goes nowhere. If every device of an entry is gone, it
/// is encrypted anew.
fn drop_unlisted(tx: &dyn Transaction, outgoing: &mut Outgoing, list: &DeviceList) -> Result<(), Error> {
    let listed = |recipient: &Address| list.body().devices.iter().any(|entry| entry.device == recipient.device);
    for envelope in &mut outgoing.envelopes {
        if !envelope.row.state().is_settled() && !listed(&envelope.recipient) {
            envelope.settle(tx, EnvelopeState::Gone, "")?;
        }
    }
    if outgoing.envelopes.iter().all(|envelope| envelope.row.state() == EnvelopeState::Gone) {
        outgoing.clear(tx)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::home::Home;
    use crate::options::Options;
    use crate::registration::prepare;
    use crate::state::{OutboxRow, enqueue};
    use crate::store::memory::MemoryStore;
    use crate::store::{Log, Mode, Store};
    use kuvert_protocol::identity::AccountSecret;
    use kuvert_types::RelayUrl;
    use kuvert_types::device_list::{DeviceEntry, DeviceListBody};

    const ACCOUNT: AccountId = AccountId::from_bytes([1; 16]);

    fn list(devices: &[u32]) -> DeviceList {
        let entry = |device: &u32| DeviceEntry { device: DeviceId::new(*device).unwrap(), certificate_hash: [7; 32] };
        let devices = devices.iter().map(entry).collect();
        let body = DeviceListBody { account: ACCOUNT, number: 1, devices };
        AccountSecret::generate(&mut rng::system_rng()).sign_device_list(&body).unwrap()
    }

    #[tokio::test]
    async fn an_entry_that_another_run_went_on_with_is_taken_as_it_stands_now() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::create(&folder.path().join("home"), None).unwrap();
        let engine = Engine::new(home, Box::new(MemoryStore::new()), Options::default(), None);
        let encrypted = engine.write(|tx| {
            let relay = RelayUrl { host: "relay.example".to_owned(), port: 4433, fingerprint: [7; 32] };
            prepare(tx, &relay, None, None, || Error::Internal { what: "registered" })?;
            let conversation = ACCOUNT.as_bytes().to_vec();
            enqueue(tx, &OutboxRow { conversation, ..OutboxRow::default() })?;
            let mut seen_before = Outgoing::scan(tx, None, 0, 1)?.remove(0);
            let recipient = Address { account: ACCOUNT, device: DeviceId::new(1).unwrap() };
            let mut row = EnvelopeRow { recipient: recipient.to_bytes().to_vec(), ..EnvelopeRow::default() };
            row.set_state(EnvelopeState::Encrypted);
            seen_before.clone().add(tx, recipient, row)?;
            let mut encryptor = Encryptor::new(tx)?;
            assert!(encryptor.encrypt(&mut seen_before)?);
            let envelopes = seen_before.envelopes.len();
            seen_before.clone().remove(tx)?;
            Ok((envelopes, encryptor.encrypt(&mut seen_before)?))
        });
        assert_eq!(encrypted.await.unwrap(), (1, false), "its envelope is the other run's; then it is gone");
    }

    #[test]
    fn what_is_for_a_removed_device_goes_nowhere_and_nothing_is_left_for_an_account_whose_devices_all_changed() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        let conversation = ACCOUNT.as_bytes().to_vec();
        enqueue(&*tx, &OutboxRow { conversation, ..OutboxRow::default() }).unwrap();
        let mut outgoing = Outgoing::scan(&*tx, None, 0, 1).unwrap().remove(0);
        for (device, state) in [(1, EnvelopeState::Encrypted), (2, EnvelopeState::Encrypted)] {
            let recipient = Address { account: ACCOUNT, device: DeviceId::new(device).unwrap() };
            let mut row = EnvelopeRow { recipient: recipient.to_bytes().to_vec(), ..EnvelopeRow::default() };
            row.set_state(state);
            outgoing.add(&*tx, recipient, row).unwrap();
        }
        let states = |outgoing: &Outgoing| -> Vec<EnvelopeState> {
            outgoing.envelopes.iter().map(|envelope| envelope.row.state()).collect()
        };
        drop_unlisted(&*tx, &mut outgoing, &list(&[1, 2, 3])).unwrap();
        assert_eq!(states(&outgoing), [EnvelopeState::Encrypted; 2], "a new device gets what is written from now on");
        drop_unlisted(&*tx, &mut outgoing, &list(&[2])).unwrap();
        assert_eq!(states(&outgoing), [EnvelopeState::Gone, EnvelopeState::Encrypted]);
        let stored = Outgoing::scan(&*tx, None, 0, 1).unwrap().remove(0);
        assert_eq!(states(&stored), states(&outgoing));
        drop_unlisted(&*tx, &mut outgoing, &list(&[3])).unwrap();
        assert!(outgoing.is_untouched() && tx.len(Log::Envelope).unwrap() == 0, "it is encrypted anew");
    }
}

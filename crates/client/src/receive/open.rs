//! Opening a batch of envelopes in one transaction: sessions, prekeys, replay record, messages, receipts due, envelope ids.
//!
//! Whatever is wrong with an envelope becomes an event, and the envelope counts as received: the relay may delete it. Only
//! the store's own errors undo the batch.

use std::collections::HashMap;

use kuvert_protocol::replay::{ReplayRecord, Trust};
use kuvert_protocol::session::{CONVERGENCE_WINDOW_MS, DecryptError, Decrypted, SessionRecord};
use kuvert_types::{AccountId, AccountKey, Address, EnvelopeId, UnverifiedDeviceCertificate};
use prost::Message as _;

use super::incoming::{Incoming, lists};
use crate::bridge::{self, Body, Content};
use crate::client::Inner;
use crate::contacts::{Account, Compared, Contact, free_alias};
use crate::devices;
use crate::error::Error;
use crate::event::{Event, ListConflict, ReceiptKind, Refusal};
use crate::prekeys::{self, Secrets};
use crate::receipts;
use crate::records::{Direction, MessageRef};
use crate::resets;
use crate::rng;
use crate::send::session;
use crate::state::{self, MessageRow, Progress, Stored, message_key};
use crate::store::{Log, Table, Transaction};

/// What a transaction over a batch did.
pub(super) struct Opened {
    pub events: Vec<Event>,
    pub receipts_due: bool,
    pub prekeys_used: bool,
}

/// Opens a batch. `accounts`: what was looked up for it.
///
/// # Errors
/// Those of the store.
pub(super) fn open_batch(
    inner: &Inner,
    tx: &dyn Transaction,
    envelopes: Vec<Incoming>,
    accounts: &HashMap<AccountId, Account>,
) -> Result<Opened, Error> {
    let mut opener = Opener {
        inner,
        tx,
        now: inner.now(),
        accounts,
        sessions: HashMap::new(),
        replay: prekeys::replay_record(tx)?,
        replay_changed: false,
        opened: Opened { events: Vec::new(), receipts_due: false, prekeys_used: false },
    };
    for envelope in envelopes {
        opener.open(envelope)?;
    }
    opener.finish()
}

/// Opens the envelopes of one batch within one transaction; each session is read and written once.
struct Opener<'a> {
    inner: &'a Inner,
    tx: &'a dyn Transaction,
    now: u64,
    accounts: &'a HashMap<AccountId, Account>,
    sessions: HashMap<Address, SessionRecord>,
    replay: ReplayRecord,
    replay_changed: bool,
    opened: Opened,
}

impl Opener<'_> {
    fn finish(self) -> Result<Opened, Error> {
        for (address, session) in &self.sessions {
            if !session.is_empty() {
                self.tx.put(Table::Session, &address.to_bytes(), &session.encode())?;
            }
        }
        if self.replay_changed {
            self.tx.put(Table::Own, state::own::REPLAY, &self.replay.encode())?;
        }
        Ok(self.opened)
    }

    fn say(&mut self, event: Event) {
        self.opened.events.push(event);
    }

    fn refuse(&mut self, envelope: impl Into<Option<EnvelopeId>>, reason: Refusal) {
        self.say(Event::Refused { envelope: envelope.into(), reason });
    }

    fn open(&mut self, incoming: Incoming) -> Result<(), Error> {
        let (id, recipient, source, ciphertext, initiator, sealed_by) = match incoming {
            Incoming::Envelope { id, recipient, source, ciphertext, initiator, sealed_by } => {
                (id, recipient, source, ciphertext, initiator.as_deref().copied(), sealed_by)
            }
            Incoming::Unreadable(id) => {
                self.refuse(id, Refusal::Malformed);
                return Ok(());
            }
        };
        if recipient != self.inner.own.address {
            self.refuse(id, Refusal::Misdelivered);
            return Ok(());
        }
        if self.tx.get(Table::Received, id.as_bytes())?.is_some() {
            // Delivered again because an acknowledgement got lost, or submitted again because an answer did.
            return Ok(());
        }
        self.tx.put(Table::Received, id.as_bytes(), &self.now.to_be_bytes())?;
        // The envelope or its seal says who it is.
        let Some(source) = source.filter(|source| source.account != self.inner.own.address.account) else {
            self.refuse(id, Refusal::WrongSource);
            return Ok(());
        };
        let Some(mut contact) = self.contact(&source, initiator.as_ref(), sealed_by)? else {
            self.refuse(id, Refusal::UnknownSender);
            return Ok(());
        };
        // Anybody can put any certificate under a seal. One under another key than the pinned changes nothing that is known,
        // or everybody who may send sealed mail could stop what is sent to others.
        if let Some(key) = sealed_by
            && key != contact.row.key()?
        {
            self.refuse(id, Refusal::WrongSource);
            return Ok(());
        }
        if !self.may_open(&mut contact, id, &source, initiator)? {
            return Ok(());
        }
        self.decrypt(contact, id, source, &ciphertext)
    }

    /// The contact, made now if it is a stranger who says under which key it writes.
    fn contact(
        &mut self,
        source: &Address,
        initiator: Option<&UnverifiedDeviceCertificate>,
        sealed_by: Option<AccountKey>,
    ) -> Result<Option<Contact>, Error> {
        if let Some(contact) = Contact::get(self.tx, &source.account)? {
            return Ok(Some(contact));
        }
        let looked_up = self.accounts.get(&source.account);
        // Trust on first use: the key that the message itself proves. The relay's word only where the message has none, so
        // that somebody whose sessions this home has lost can be answered.
        let key = match initiator.map(|certificate| certificate.claimed()) {
            Some(claimed) if claimed.address == *source => Some(claimed.account_key),
            Some(_) => None,
            None => looked_up.map(|account| account.key),
        };
        // No relay has checked who sealed it, so a stranger's account has to be what the relay knows it as, too.
        let key = match sealed_by {
            Some(sealed_by) => key.filter(|key| *key == sealed_by && looked_up.is_some_and(|found| found.key == *key)),
            None => key,
        };
        let Some(key) = key else { return Ok(None) };
        let account = looked_up.filter(|account| account.key == key);
        let name = account.and_then(|account| account.name.clone());
        let alias = free_alias(self.tx, &source.account, name.as_deref())?;
        let mut contact = Contact::new(source.account, key, name, alias, self.now);
        if let Some(account) = account
            && contact.compare(account)? != Compared::Fits
        {
            return Err(Error::Internal { what: "a fresh contact contradicts itself" });
        }
        Ok(Some(contact))
    }

    /// Whether the message comes under the pinned key and from a device that the account lists.
    fn may_open(
        &mut self,
        contact: &mut Contact,
        id: EnvelopeId,
        source: &Address,
        initiator: Option<UnverifiedDeviceCertificate>,
    ) -> Result<bool, Error> {
        let Some(certificate) = initiator else { return Ok(true) };
        let claimed = *certificate.claimed();
        if claimed.address != *source {
            self.refuse(id, Refusal::WrongSource);
            return Ok(false);
        }
        if certificate.verify().is_err() {
            self.refuse(id, Refusal::Malformed);
            return Ok(false);
        }
        if claimed.account_key != contact.row.key()? {
            if contact.note_key(&claimed.account_key) {
                contact.save(self.tx)?;
            }
            let (account, who) = (contact.account, contact.row.alias.clone());
            self.say(Event::IdentityChanged { account, who });
            return Ok(false);
        }
        if lists(contact, Some(certificate))? == Some(false) {
            // Looked up for this batch: the list may be newer than the one here.
            let fresh = self.accounts.get(&contact.account).map(|account| contact.compare(account)).transpose()?;
            match fresh {
                // A stranger is saved when the message proves genuine.
                Some(Compared::Fits) => {
                    if Contact::get(self.tx, &contact.account)?.is_some() {
                        contact.save(self.tx)?;
                    }
                }
                Some(Compared::Conflict(conflict)) => self.conflict(contact, conflict),
                Some(Compared::KeyChanged) | None => {}
            }
            if lists(contact, Some(certificate))? == Some(false) {
                self.refuse(id, Refusal::UnlistedDevice);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn conflict(&mut self, contact: &Contact, conflict: ListConflict) {
        let (account, who) = (contact.account, contact.row.alias.clone());
        self.say(Event::DeviceListConflict { account, who, conflict });
    }

    fn decrypt(&mut self, contact: Contact, id: EnvelopeId, source: Address, ciphertext: &[u8]) -> Result<(), Error> {
        let decrypted = match self.open_in_session(source, ciphertext)? {
            Ok(decrypted) => decrypted,
            Err(error) => return self.undecryptable(&contact, id, source, error),
        };
        if let Some(used) = &decrypted.used {
            prekeys::delete_used(self.tx, used)?;
            self.replay_changed = true;
            self.opened.prekeys_used = true;
        }
        // Only now is a stranger who he says he is.
        if Contact::get(self.tx, &contact.account)?.is_none() {
            contact.save(self.tx)?;
            self.say(Event::NewContact(contact.info()));
        }
        if decrypted.pq_failure.is_some() && !contact.row.blocked {
            self.lost_each_other(&contact, id, source)?;
        }
        if contact.row.blocked {
            // Opened, so that the session stays in step; dropped, as the owner wants it.
            return Ok(());
        }
        match bridge::open_content(&decrypted.plaintext) {
            Ok(content) => self.take(contact, source, content),
            Err(_) => {
                self.refuse(id, Refusal::BadContent);
                Ok(())
            }
        }
    }

    /// Opens a message in the sessions with its sender.
    ///
    /// A fresh session that crosses an unanswered one of ours may have to stand back behind it (the protocol's rule for two
    /// sides that begin at once). A session reset must not: it says that ours cannot be read. So one that does is opened
    /// once more, as if ours had gone unanswered for too long to keep its place.
    fn open_in_session(
        &mut self,
        source: Address,
        ciphertext: &[u8],
    ) -> Result<Result<Decrypted, DecryptError>, Error> {
        let mut record = match self.sessions.remove(&source) {
            Some(record) => record,
            None => session(self.tx, &source)?,
        };
        let secrets = Secrets::new(self.tx);
        let device = &self.inner.device;
        let decrypt = |record: &mut SessionRecord, replay: &mut ReplayRecord, now| {
            record.decrypt(device, source, Trust::Contact, ciphertext, &secrets, replay, now, &mut rng::system_rng())
        };
        let ours = record.unanswered_since();
        let before = ours.map(|since| (since, record.encode(), self.replay.clone()));
        let mut result = decrypt(&mut record, &mut self.replay, self.now);
        if let (Ok(decrypted), Some((since, bytes, replay))) = (&result, before)
            && decrypted.new_session
            && record.unanswered_since() == ours
            && bridge::open_content(&decrypted.plaintext).is_ok_and(|content| content.body == Body::SessionReset)
        {
            record = SessionRecord::decode(&bytes).map_err(|_| Error::Internal { what: "session snapshot" })?;
            self.replay = replay;
            let now = self.now.max(since).saturating_add(CONVERGENCE_WINDOW_MS);
            result = decrypt(&mut record, &mut self.replay, now);
        }
        self.sessions.insert(source, record);
        secrets.failure()?;
        Ok(result)
    }

    fn undecryptable(
        &mut self,
        contact: &Contact,
        id: EnvelopeId,
        source: Address,
        error: DecryptError,
    ) -> Result<(), Error> {
        if contact.row.blocked {
            return Ok(());
        }
        match error {
            DecryptError::Malformed | DecryptError::InvalidHandshake => self.refuse(id, Refusal::Malformed),
            DecryptError::Replayed => self.refuse(id, Refusal::Replayed),
            DecryptError::Duplicate => {
                self.refuse(id, Refusal::Replayed);
                // A relay's replay, or a sender whose home was restored from a backup and counts messages anew. A fresh
                // session mends the second and costs the first next to nothing.
                self.ask_for_a_fresh_session(contact, &source)?;
            }
            DecryptError::AccountMismatch => self.refuse(id, Refusal::WrongSource),
            DecryptError::IdentityChanged { .. } => {
                let (account, who) = (contact.account, contact.row.alias.clone());
                self.say(Event::IdentityChanged { account, who });
            }
            DecryptError::UnknownPrekey
            | DecryptError::ReplayRecordFull
            | DecryptError::NoSession
            | DecryptError::Undecryptable
            | DecryptError::TooManySkipped
            | DecryptError::PqAuthFailed(_) => self.lost_each_other(contact, id, source)?,
        }
        Ok(())
    }

    /// Something of a contact's cannot be opened: says so, and asks for a fresh session.
    fn lost_each_other(&mut self, contact: &Contact, envelope: EnvelopeId, source: Address) -> Result<(), Error> {
        let known = Contact::get(self.tx, &contact.account)?.is_some();
        // A stranger whose account the relay knows under the key that it writes with: answering is worth more than a tidy
        // address book, because what it wrote will come again over a fresh session.
        if !known && self.accounts.get(&contact.account).is_some_and(|account| contact.row.key() == Ok(account.key)) {
            contact.save(self.tx)?;
            self.say(Event::NewContact(contact.info()));
        }
        let reset_queued = self.ask_for_a_fresh_session(contact, &source)?;
        let (account, who) = (contact.account, contact.row.alias.clone());
        self.say(Event::Undecryptable { account, who, envelope, reset_queued });
        Ok(())
    }

    /// Has a fresh session begun with a device of a known contact. Whether the next flush may.
    fn ask_for_a_fresh_session(&mut self, contact: &Contact, source: &Address) -> Result<bool, Error> {
        let known = Contact::get(self.tx, &contact.account)?.is_some();
        let soon = known && resets::request(self.tx, source, self.now)?;
        self.opened.receipts_due |= soon;
        Ok(soon)
    }

    /// Takes an authentic content.
    fn take(&mut self, mut contact: Contact, source: Address, content: Content) -> Result<(), Error> {
        let before = contact.row.clone();
        if let Some(key) = content.access_key {
            contact.row.access_key = Some(key.as_bytes().to_vec());
        }
        if let Err(conflict) = devices::note_claim(&mut contact.row, content.sender_list)? {
            self.conflict(&contact, conflict);
        }
        if contact.row != before {
            contact.save(self.tx)?;
        }
        if let Err(conflict) = devices::check_belief(self.inner.own.list.state(), content.recipient_list) {
            let account = self.inner.own.address.account;
            self.say(Event::DeviceListConflict { account, who: "you".to_owned(), conflict });
        }
        match content.body {
            Body::Text(text) => self.take_text(&contact, content.id, content.sent_at, text),
            Body::Receipts { delivered, read } => {
                resets::confirmed(self.tx, &source, &delivered)?;
                self.take_receipts(&contact, &delivered, ReceiptKind::Delivered)?;
                self.take_receipts(&contact, &read, ReceiptKind::Read)
            }
            Body::SessionReset => {
                resets::heard(self.tx, &source, content.id, self.now)?;
                self.opened.receipts_due = true;
                let (account, who) = (contact.account, contact.row.alias.clone());
                self.say(Event::SessionReset { account, who });
                Ok(())
            }
            Body::Unknown => Ok(()),
        }
    }

    fn take_text(&mut self, contact: &Contact, id: EnvelopeId, sent_at: u64, text: String) -> Result<(), Error> {
        let message = MessageRef { account: contact.account, id };
        let row = MessageRow {
            account: contact.account.as_bytes().to_vec(),
            id: id.as_bytes().to_vec(),
            outgoing: false,
            text,
            sent_at,
            stored_at: self.now,
            ..MessageRow::default()
        };
        let key = message_key(Direction::Incoming, &message);
        let place = self.tx.append(Log::Message, contact.account.as_bytes(), &key, &row.encode_to_vec())?;
        // A text that is here already was sent again after a reset: its receipt got lost, or is on its way.
        receipts::note(self.tx, &message, ReceiptKind::Delivered, self.now)?;
        self.opened.receipts_due = true;
        if let Some(place) = place {
            self.tx.put(Table::Unshown, &place.to_be_bytes(), &[])?;
            let record = Stored { place, row }.record(self.tx, &contact.row.alias)?;
            self.say(Event::Message(record));
        }
        Ok(())
    }

    fn take_receipts(&mut self, contact: &Contact, ids: &[EnvelopeId], kind: ReceiptKind) -> Result<(), Error> {
        let progress = match kind {
            ReceiptKind::Delivered => Progress::Delivered,
            ReceiptKind::Read => Progress::Read,
        };
        for id in ids {
            // Only the one who received a message can confirm it.
            let message = MessageRef { account: contact.account, id: *id };
            if state::raise(self.tx, &message, progress, "")? {
                let from = contact.row.alias.clone();
                self.say(Event::Receipt { message, from, kind, at: self.now });
            }
        }
        Ok(())
    }
}

//! What follows from a row that is gone.
//!
//! | What is gone | What follows | What is told |
//! |---|---|---|
//! | a session, or what is remembered of a device | a fresh session is due, by the rules of resets, if it is a contact's | whose |
//! | a contact | a request again, under the key that its session is with; without a session, unknown | whose |
//! | a text of the history | it is gone | in which conversation |
//! | an entry of the outbox | a text is queued again from the history; a receipt or a reset is gone | whose; that one went |
//! | an envelope of an entry | the entry is encrypted anew | nothing: no text is lost |
//! | held mail | its sender is asked for it, by a reset | whose |
//! | a receipt that is due | it is due again, as one for delivery | that one went, if its text is not found |
//! | that a text was not shown | it is noted again | nothing |
//! | a prekey | fresh ones are made, if it was in use | that one went |
//! | a replay record | its prekey goes with it: replays could not be told | that one went |
//! | the level | L3, without receipts, until another one is chosen | that it went |
//! | what the relay was told at L0 | it counts as told, and is taken back above L0 | nothing |
//! | a consumer's cursor | it begins anew: it gets texts again rather than not at all | that one went |
//! | counters of prekeys | numbers go on behind a gap | nothing |
//! | that a text was deleted | it is noted again, if it is known of which | else that one went: if it is sent again, it is shown again |
//! | a file that waits to be sent | its message is given up | whose |
//! | a file that is to be fetched | it is noted again | nothing |
//! | that a file is to be removed | it stays in the home's folder | nothing |
//! | an id of what was received | nothing: the session opens no message twice | nothing |

use std::collections::{BTreeMap, BTreeSet, HashSet};

use kuvert_types::{AccountId, Address, EnvelopeId, Level};
use prost::Message as _;

use super::{Lost, Told, each};
use crate::blocking;
use crate::bridge;
use crate::contact::{Contact, free_alias};
use crate::conversation::MessageRef;
use crate::disclosure;
use crate::error::Error;
use crate::event::{DamagedPart, ReceiptKind};
use crate::prekeys;
use crate::receipts;
use crate::records::Receipts;
use crate::requests::devices;
use crate::resets;
use crate::session::session;
use crate::state::{
    self, AtRelay, DeletedRow, FetchRow, FileRow, FileState, MessageRow, OutboxRow, Outgoing, Progress, Stored,
    ToldRow, account_id, enqueue, file_key, message_of_key, own,
};
use crate::store::{Log, Part, Table, Transaction};

/// Does what follows from all that is gone; what is to be told.
pub fn follow(tx: &dyn Transaction, lost: Vec<Lost>, now: u64) -> Result<Told, Error> {
    let mut gone: BTreeMap<Part, Vec<Lost>> = BTreeMap::new();
    for row in lost {
        gone.entry(row.part()).or_default().push(row);
    }
    let mut mender = Mender { tx, now, told: Told::new(), accounts: accounts(tx, &gone)? };
    let mut of = |part| gone.remove(&part).unwrap_or_default();
    mender.contacts(of(Part::Table(Table::Contact)))?;
    mender.sessions(of(Part::Table(Table::Session)))?;
    mender.peers(of(Part::Table(Table::Peer)))?;
    mender.held(of(Part::Log(Log::Held)))?;
    mender.messages(of(Part::Log(Log::Message)))?;
    mender.unshown(&of(Part::Table(Table::Unshown)))?;
    mender.receipts(of(Part::Table(Table::ReceiptDue)))?;
    mender.envelopes(&of(Part::Log(Log::Envelope)))?;
    mender.outbox(of(Part::Log(Log::Outbox)))?;
    mender.prekeys(&of(Part::Table(Table::Prekey)), &of(Part::Table(Table::Replay)))?;
    mender.deleted(of(Part::Table(Table::Deleted)))?;
    of(Part::Table(Table::Conversation)).iter().for_each(|_| mender.tell(DamagedPart::Draft, None));
    mender.files(&of(Part::Table(Table::Upload)), &of(Part::Table(Table::Fetch)))?;
    mender.own(&of(Part::Table(Table::Own)))?;
    Ok(mender.told)
}

struct Mender<'a> {
    tx: &'a dyn Transaction,
    now: u64,
    told: Told,
    /// Accounts that anything in the home names.
    accounts: BTreeSet<AccountId>,
}

/// All accounts that rows name by their keys.
fn accounts(tx: &dyn Transaction, gone: &BTreeMap<Part, Vec<Lost>>) -> Result<BTreeSet<AccountId>, Error> {
    let mut accounts = BTreeSet::new();
    let mut add = |bytes: &[u8]| {
        // A key that names no account names none.
        accounts.extend(bytes.get(..AccountId::LEN).and_then(|bytes| account_id(bytes).ok()));
    };
    for table in [Table::Contact, Table::Session, Table::Peer, Table::ReceiptDue] {
        tx.list(table)?.iter().for_each(|(key, _)| add(key));
    }
    for log in [Log::Message, Log::Held] {
        each(tx, log, |entry| {
            add(&entry.key);
            Ok(())
        })?;
    }
    each(tx, Log::Outbox, |entry| {
        let row: OutboxRow = state::decode(&entry.value, "the outbox")?;
        add(&row.conversation);
        Ok(())
    })?;
    for lost in gone.values().flatten() {
        let named = matches!(
            lost.part(),
            Part::Table(Table::Contact | Table::Session | Table::Peer) | Part::Log(Log::Message | Log::Held)
        );
        lost.key().filter(|_| named).into_iter().for_each(&mut add);
    }
    Ok(accounts)
}

impl Mender<'_> {
    fn tell(&mut self, part: DamagedPart, account: Option<AccountId>) {
        *self.told.entry((part, account)).or_default() += 1;
    }

    /// The device whose row this was.
    fn device(&self, lost: &Lost) -> Option<Address> {
        let mut addresses = self.accounts.iter().flat_map(devices);
        addresses.find(|address| lost.was(self.tx, &address.to_bytes()))
    }

    /// The account whose group this was in.
    fn account_of_group(&self, lost: &Lost) -> Option<AccountId> {
        self.accounts.iter().find(|account| lost.was_in(self.tx, account.as_bytes())).copied()
    }

    /// A fresh session is due with a contact's device. [KV-060] With none but a contact's.
    fn reset(&self, device: &Address) -> Result<(), Error> {
        if Contact::get(self.tx, &device.account)?.is_some_and(|contact| !contact.row.request) {
            resets::request(self.tx, device, self.now)?;
        }
        Ok(())
    }

    fn contacts(&mut self, lost: Vec<Lost>) -> Result<(), Error> {
        for row in lost {
            let account = self.accounts.iter().find(|account| row.was(self.tx, account.as_bytes())).copied();
            if let Some(account) = account {
                self.make_a_request(account)?;
            }
            self.tell(DamagedPart::Contact, account);
        }
        Ok(())
    }

    /// The key that was pinned is that of the sessions. Whether it was compared, whether the contact was blocked, how it was
    /// called: nothing else says so, and the owner decides anew.
    fn make_a_request(&self, account: AccountId) -> Result<(), Error> {
        for device in devices(&account) {
            // A session that is damaged as well was removed before.
            let session = session(self.tx, &device)?;
            let Some(certificate) = session.remote_certificate() else { continue };
            let alias = free_alias(self.tx, &account, None)?;
            let mut contact = Contact::new(account, certificate.account_key(), None, alias, self.now);
            contact.row.request = true;
            contact.row.dropped = true;
            // If the relay was told to drop its mail, the owner would never see what it decides upon.
            contact.row.set_at_relay(AtRelay::Unwanted);
            contact.save(self.tx)?;
            return blocking::note_news(self.tx);
        }
        Ok(())
    }

    fn sessions(&mut self, lost: Vec<Lost>) -> Result<(), Error> {
        for row in lost {
            let device = self.device(&row);
            if let Some(device) = device {
                self.reset(&device)?;
            }
            self.tell(DamagedPart::Session, device.map(|device| device.account));
        }
        Ok(())
    }

    fn peers(&mut self, lost: Vec<Lost>) -> Result<(), Error> {
        for row in lost {
            let device = self.device(&row);
            if let Some(device) = device {
                resets::forget_history(self.tx, &device, self.now)?;
                self.reset(&device)?;
            }
            self.tell(DamagedPart::Session, device.map(|device| device.account));
        }
        Ok(())
    }

    fn held(&mut self, lost: Vec<Lost>) -> Result<(), Error> {
        for row in lost {
            let account = self.account_of_group(&row);
            if let Some(mut contact) = account.map(|account| Contact::get(self.tx, &account)).transpose()?.flatten() {
                contact.row.dropped = true;
                if contact.may_send().is_ok() {
                    crate::requests::ask_for_what_was_dropped(&mut contact, self.tx, self.now)?;
                }
                contact.save(self.tx)?;
            }
            self.tell(DamagedPart::Held, account);
        }
        Ok(())
    }

    fn messages(&mut self, lost: Vec<Lost>) -> Result<(), Error> {
        if lost.is_empty() {
            return Ok(());
        }
        for row in lost {
            let account = self.account_of_group(&row);
            self.tell(DamagedPart::Message, account);
        }
        for (place, _) in self.tx.list(Table::Unshown)? {
            let number = place.as_slice().try_into().map_or(0, u64::from_be_bytes);
            if self.tx.at(Log::Message, number)?.is_none() {
                self.tx.delete(Table::Unshown, &place)?;
            }
        }
        Ok(())
    }

    fn unshown(&self, lost: &[Lost]) -> Result<(), Error> {
        if lost.is_empty() {
            return Ok(());
        }
        each(self.tx, Log::Message, |entry| {
            let place = entry.place.to_be_bytes();
            if lost.iter().any(|row| row.was(self.tx, &place)) {
                self.tx.put(Table::Unshown, &place, &[])?;
            }
            Ok(())
        })
    }

    fn receipts(&mut self, mut lost: Vec<Lost>) -> Result<(), Error> {
        if lost.is_empty() {
            return Ok(());
        }
        each(self.tx, Log::Message, |entry| {
            if let Some(index) = lost.iter().position(|row| row.was(self.tx, &entry.key)) {
                lost.swap_remove(index);
                receipts::note(self.tx, &message_of_key(&entry.key)?, ReceiptKind::Delivered, self.now)?;
            }
            Ok(())
        })?;
        lost.iter().for_each(|_| self.tell(DamagedPart::Receipt, None));
        Ok(())
    }

    /// Encrypted anew: which devices an entry had envelopes for is known of those that are left only.
    fn envelopes(&self, lost: &[Lost]) -> Result<(), Error> {
        if lost.is_empty() {
            return Ok(());
        }
        let mut hit = Vec::new();
        each(self.tx, Log::Outbox, |entry| {
            if lost.iter().any(|row| row.was_in(self.tx, &entry.key)) {
                hit.push(entry);
            }
            Ok(())
        })?;
        hit.into_iter().try_for_each(|entry| Outgoing::read(self.tx, entry)?.clear(self.tx))
    }

    fn outbox(&mut self, lost: Vec<Lost>) -> Result<(), Error> {
        if lost.is_empty() {
            return Ok(());
        }
        let (mut keys, mut waiting) = (HashSet::new(), HashSet::new());
        each(self.tx, Log::Outbox, |entry| {
            let row: OutboxRow = state::decode(&entry.value, "the outbox")?;
            waiting.insert(bridge::draft_id(&row.content)?);
            keys.insert(entry.key);
            Ok(())
        })?;
        // Of an entry that is gone.
        let mut orphans = Vec::new();
        each(self.tx, Log::Envelope, |entry| {
            let of = entry.key.get(..entry.key.len().saturating_sub(Address::LEN)).unwrap_or_default();
            if !keys.contains(of) {
                orphans.push(entry.place);
            }
            Ok(())
        })?;
        for place in orphans {
            self.tx.remove(Log::Envelope, place)?;
        }
        let again = self.queue_again(&waiting)?;
        for account in &again {
            self.tell(DamagedPart::QueuedAgain, Some(*account));
        }
        for row in lost.iter().skip(again.len()) {
            let account = self.account_of_group(row);
            self.tell(DamagedPart::Waiting, account);
        }
        Ok(())
    }

    /// Queues the texts that wait by the history and not in the outbox, in their order; to whom.
    fn queue_again(&self, waiting: &HashSet<EnvelopeId>) -> Result<Vec<AccountId>, Error> {
        let mut again = Vec::new();
        each(self.tx, Log::Message, |entry| {
            let stored = Stored::read(&entry)?;
            let message = stored.message()?;
            let complete = stored.row.files.iter().all(FileRow::is_told);
            let waits = stored.row.outgoing && stored.row.progress() == Progress::Queued;
            if waits && complete && !waiting.contains(&message.id) {
                again.push((message, stored.row));
            }
            Ok(())
        })?;
        let mut to = Vec::new();
        for (MessageRef { conversation, id, .. }, row) in again {
            let content = bridge::draft(id, row.sent_at, bridge::message(&row));
            let MessageRow { conversation: bytes, author, id: text_id, .. } = row;
            enqueue(self.tx, &OutboxRow { conversation: bytes, content, text_id, fresh_session_with: 0, author })?;
            to.extend(conversation.contact());
        }
        Ok(to)
    }

    fn prekeys(&mut self, prekeys: &[Lost], records: &[Lost]) -> Result<(), Error> {
        if prekeys.is_empty() && records.is_empty() {
            return Ok(());
        }
        prekeys::forget_without_record(self.tx, |id| records.iter().any(|row| row.was(self.tx, &id)))?;
        prekeys::renew_what_is_missing(self.tx)?;
        prekeys.iter().chain(records).for_each(|_| self.tell(DamagedPart::Prekey, None));
        Ok(())
    }

    fn deleted(&mut self, lost: Vec<Lost>) -> Result<(), Error> {
        for row in lost {
            match row.key().filter(|key| message_of_key(key).is_ok()) {
                Some(key) => state::put(self.tx, Table::Deleted, key, &DeletedRow::default())?,
                None => self.tell(DamagedPart::Deleted, None),
            }
        }
        Ok(())
    }

    /// A message whose file cannot go on is given up; a file that came is fetched when it is looked for.
    fn files(&mut self, uploads: &[Lost], fetches: &[Lost]) -> Result<(), Error> {
        if uploads.is_empty() && fetches.is_empty() {
            return Ok(());
        }
        let (mut stuck, mut wanted) = (Vec::new(), Vec::new());
        each(self.tx, Log::Message, |entry| {
            let stored = Stored::read(&entry)?;
            let message = stored.message()?;
            for (number, file) in (1..).zip(&stored.row.files) {
                let key = file_key(&message, number);
                if stored.row.outgoing && !file.is_told() && self.tx.get(Table::Upload, &key)?.is_none() {
                    stuck.push(message);
                }
                let waits = matches!(file.state(), FileState::Remote | FileState::Partial);
                if !stored.row.outgoing && waits && self.tx.get(Table::Fetch, &key)?.is_none() {
                    wanted.push((key, FetchRow::of(file)));
                }
            }
            Ok(())
        })?;
        for message in stuck {
            if state::raise(self.tx, &message, Progress::Failed, "store-mended")? {
                self.tell(DamagedPart::Waiting, message.conversation.contact());
            }
        }
        wanted.iter().try_for_each(|(key, row)| state::put(self.tx, Table::Fetch, key, row))
    }

    fn own(&mut self, lost: &[Lost]) -> Result<(), Error> {
        for row in lost {
            let was = |key: &[u8]| row.was(self.tx, key);
            if was(own::DISCLOSURE) {
                disclosure::set_level(self.tx, Level::L3, self.now)?;
                disclosure::set_receipts(self.tx, Receipts::Off)?;
                self.tell(DamagedPart::Level, None);
            } else if was(own::PREKEYS) {
                prekeys::count_anew(self.tx)?;
            } else if was(own::TOLD) {
                let told = ToldRow { told: true, ..ToldRow::default() };
                self.tx.put(Table::Own, own::TOLD, &told.encode_to_vec())?;
            } else if was(own::BLOCKS) {
                blocking::note_news(self.tx)?;
            } else if was(own::NAME_NEWS) {
                self.tx.put(Table::Own, own::NAME_NEWS, &[])?;
            } else if was(own::TRACES) {
                self.tx.put(Table::Own, own::TRACES, &[])?;
            } else if ![own::TIDIED, own::REPLAY, own::DAMAGE, own::RECEIVER, own::COPY_SEEN].iter().any(|key| was(key))
            {
                self.tell(DamagedPart::Consumer, None);
            }
        }
        Ok(())
    }
}

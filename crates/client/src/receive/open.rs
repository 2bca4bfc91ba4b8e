//! Opening a batch of envelopes in one transaction: sessions, prekeys, replay record, messages, receipts due, envelope ids.
//!
//! Whatever is wrong with an envelope becomes an event, and the envelope counts as received: the relay may delete it. Only
//! the store's own errors undo the batch.
//!
//! ```text
//! letter ─► opened before? ─► whose? a contact, a request, or a stranger's first message ─► under the pinned key?
//!        ─► decrypt ─► from a listed device? ─► content: text, receipts, reset
//! ```
//! [KV-098] Before the decryption succeeded nothing is stored, sent or asked on the sender's word.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kuvert_protocol::last_resort_prekey;
use kuvert_protocol::replay::{ReplayRecord, Trust};
use kuvert_protocol::session::{
    CONVERGENCE_WINDOW_MS, DecryptContext, DecryptError, DecryptFailure, Decrypted, SessionRecord,
};
use kuvert_types::{AccountId, Address, DeviceCertificate, EnvelopeId};
use prost::Message as _;

use super::held::{self, Held};
use super::incoming::{Incoming, Letter};
use crate::bridge::{self, Body, Content};
use crate::contact::{Contact, alias, free_alias};
use crate::conversation::{ConversationId, MessageRef};
use crate::devices;
use crate::engine::Tx;
use crate::error::Error;
use crate::event::{DropReason, Event, ListConflict, ReceiptKind};
use crate::files;
use crate::identity::Identity;
use crate::prekeys::{self, Secrets};
use crate::receipts;
use crate::requests;
use crate::resets;
use crate::rng;
use crate::session::session;
use crate::state::{self, DeletedRow, FileRow, MessageRow, Progress, Stored, message_key, received_key};
use crate::store::{Log, Table, Transaction};

/// What a transaction over a batch did.
pub(crate) struct Opened {
    pub events: Vec<Event>,
    pub receipts_due: bool,
    pub prekeys_used: bool,
    /// Contacts that wrote from a device that the list known leaves out: their newest list decides.
    pub lists_wanted: BTreeSet<AccountId>,
}

/// Bytes that are kept of what is told of files.
fn told_bytes(files: &[FileRow]) -> usize {
    files.iter().map(prost::Message::encoded_len).sum()
}

/// Opens a batch.
///
/// # Errors
/// Those of the store.
pub(super) fn open_batch(tx: &Tx<'_>, envelopes: Vec<Incoming>) -> Result<Opened, Error> {
    let mut opener = Opener::new(tx)?;
    for envelope in envelopes {
        opener.open(envelope)?;
    }
    opener.finish()
}

/// Opens what was held for an account, now that its key was accepted or its newest list is known.
///
/// # Errors
/// Those of the store.
pub(crate) fn open_held(tx: &Tx<'_>, account: &AccountId) -> Result<Opened, Error> {
    let mut opener = Opener::new(tx)?;
    for held in held::take(tx, account)? {
        match held {
            Held::Letter(letter) => opener.open(Incoming::Letter(letter))?,
            Held::Content(source, certificate, content) => opener.open_content(source, &certificate, &content)?,
        }
    }
    opener.finish()
}

/// Opens the envelopes of one batch within one transaction; each session and each replay record is read and written once.
struct Opener<'a> {
    tx: &'a Tx<'a>,
    own: Arc<Identity>,
    now: u64,
    sessions: HashMap<Address, SessionRecord>,
    replay: HashMap<u32, ReplayRecord>,
    /// Envelopes that were held, by account.
    held: BTreeMap<AccountId, u64>,
    opened: Opened,
}

/// Whether an envelope may be opened in a session.
enum Check {
    Open,
    /// Refused or held: what there is to say was said.
    Done,
}

impl<'a> Opener<'a> {
    fn new(tx: &'a Tx<'a>) -> Result<Self, Error> {
        let opened =
            Opened { events: Vec::new(), receipts_due: false, prekeys_used: false, lists_wanted: BTreeSet::new() };
        let (sessions, replay) = (HashMap::new(), HashMap::new());
        Ok(Self { tx, own: tx.identity()?, now: tx.now(), sessions, replay, held: BTreeMap::new(), opened })
    }

    fn finish(mut self) -> Result<Opened, Error> {
        for (address, session) in &self.sessions {
            if !session.is_empty() {
                self.tx.put(Table::Session, &address.to_bytes(), &session.encode())?;
            }
        }
        for (prekey, record) in &self.replay {
            prekeys::save_replay_record(self.tx, *prekey, record)?;
        }
        for (account, count) in std::mem::take(&mut self.held) {
            let who = alias(self.tx, &account)?;
            self.say(Event::Held { account, who, count });
        }
        Ok(self.opened)
    }

    fn say(&mut self, event: Event) {
        self.opened.events.push(event);
    }

    fn refuse(&mut self, envelope: impl Into<Option<EnvelopeId>>, reason: DropReason) {
        self.say(Event::Dropped { envelope: envelope.into(), reason, count: 1 });
    }

    fn open(&mut self, incoming: Incoming) -> Result<(), Error> {
        match incoming {
            Incoming::Letter(letter) => return self.open_letter(&letter),
            Incoming::Misdelivered(id) => self.refuse(id, DropReason::Misdelivered),
            Incoming::AnonymousUnasked(id) => self.refuse(id, DropReason::AnonymousUnasked),
            Incoming::Unreadable(id) => self.refuse(id, DropReason::Malformed),
        }
        Ok(())
    }

    fn open_letter(&mut self, letter: &Letter) -> Result<(), Error> {
        if self.was_received(letter)? {
            // Delivered again because an acknowledgement got lost, or submitted again because an answer did.
            return Ok(());
        }
        if letter.source.account == self.own.account() {
            self.refuse(letter.id, DropReason::WrongSource);
            return Ok(());
        }
        let contact = match Contact::get(self.tx, &letter.source.account)? {
            Some(contact) => contact,
            None => match self.stranger(letter)? {
                Some(stranger) => stranger,
                None => {
                    self.refuse(letter.id, DropReason::UnknownSender);
                    return Ok(());
                }
            },
        };
        match self.check_certificate(contact.clone(), letter)? {
            Check::Open => self.decrypt(contact, letter),
            Check::Done => Ok(()),
        }
    }

    /// [KV-067] Whether an envelope of this sender with this id was opened before. What never opened is not remembered:
    /// nothing comes of it however often it is sent, and a stranger could fill this disk with it.
    fn was_received(&self, letter: &Letter) -> Result<bool, Error> {
        let key = received_key(&letter.source, &letter.id);
        let seen = self.tx.find(Log::Received, &key)?.is_some() || self.tx.find(Log::Held, &key)?.is_some();
        // Homes of version 1 did not note the sender.
        Ok(seen || self.tx.get(Table::Received, letter.id.as_bytes())?.is_some())
    }

    fn note_received(&self, source: &Address, id: &EnvelopeId) -> Result<(), Error> {
        self.tx.append(Log::Received, &[], &received_key(source, id), &self.now.to_be_bytes())?;
        Ok(())
    }

    /// [KV-098] A sender that is no contact: a request, under the key that its first message proves. Nothing else that a
    /// stranger sends is opened, and nothing that is sealed: it says no name that a relay has checked.
    fn stranger(&self, letter: &Letter) -> Result<Option<Contact>, Error> {
        if letter.sealed_by.is_some() {
            return Ok(None);
        }
        let Some(initiator) = letter.initiator.as_deref() else { return self.removed(letter) };
        let claimed = initiator.claimed();
        if claimed.address != letter.source {
            return Ok(None);
        }
        let alias = free_alias(self.tx, &letter.source.account, None)?;
        let mut contact = Contact::new(letter.source.account, claimed.account_key, None, alias, self.now);
        contact.row.request = true;
        Ok(Some(contact))
    }

    /// A sender that was a contact and was removed goes on in its session: a request again, under the key that this session is
    /// with. Without such a session nothing is opened.
    fn removed(&self, letter: &Letter) -> Result<Option<Contact>, Error> {
        let session = session(self.tx, &letter.source)?;
        let Some(certificate) = session.remote_certificate() else { return Ok(None) };
        let (account, key) = (letter.source.account, certificate.account_key());
        let mut contact = Contact::new(account, key, None, free_alias(self.tx, &account, None)?, self.now);
        contact.row.request = true;
        Ok(Some(contact))
    }

    /// Whether a first message comes under the pinned key. [KV-081] What is under a seal with another key changes nothing:
    /// else each of the contacts, who all may send anonymous mail, could stop what is sent to another.
    fn check_certificate(&mut self, mut contact: Contact, letter: &Letter) -> Result<Check, Error> {
        let pinned = contact.row.key()?;
        if letter.sealed_by.is_some_and(|key| key != pinned) {
            self.refuse(letter.id, DropReason::WrongSource);
            return Ok(Check::Done);
        }
        let Some(certificate) = letter.initiator.as_deref().copied() else { return Ok(Check::Open) };
        let claimed = *certificate.claimed();
        if claimed.address != letter.source {
            self.refuse(letter.id, DropReason::WrongSource);
            return Ok(Check::Done);
        }
        if certificate.verify().is_err() {
            self.refuse(letter.id, DropReason::Malformed);
            return Ok(Check::Done);
        }
        if claimed.account_key == pinned {
            return Ok(Check::Open);
        }
        if contact.row.request || contact.row.blocked || letter.sealed_by.is_some() {
            self.refuse(letter.id, DropReason::WrongSource);
            return Ok(Check::Done);
        }
        if contact.note_key(&claimed.account_key) {
            contact.save(self.tx)?;
            let (account, who) = (contact.account, contact.row.alias.clone());
            self.say(Event::IdentityChanged { account, who });
        }
        self.hold(&mut contact, letter)?;
        Ok(Check::Done)
    }

    /// [KV-099] Mail of a contact whose key changed is kept until its owner has accepted the key.
    fn hold(&mut self, contact: &mut Contact, letter: &Letter) -> Result<(), Error> {
        let room = held::letter(self.tx, letter, self.tx.stamp(self.now))?;
        self.held(contact, letter.id, room)
    }

    fn held(&mut self, contact: &mut Contact, id: EnvelopeId, room: bool) -> Result<(), Error> {
        if room {
            *self.held.entry(contact.account).or_default() += 1;
            return Ok(());
        }
        self.refuse(id, DropReason::NoRoom);
        self.note_dropped(contact)
    }

    /// It is asked for what was dropped once it can be.
    fn note_dropped(&self, contact: &mut Contact) -> Result<(), Error> {
        if !contact.row.dropped {
            contact.row.dropped = true;
            contact.save(self.tx)?;
        }
        Ok(())
    }

    fn decrypt(&mut self, mut contact: Contact, letter: &Letter) -> Result<(), Error> {
        let Letter { id, source, .. } = *letter;
        let trust = if contact.row.request { Trust::Stranger } else { Trust::Contact };
        let decrypted = match self.open_in_session(source, trust, &letter.ciphertext)? {
            Ok(decrypted) => decrypted,
            Err(error) => return self.undecryptable(&mut contact, letter, error),
        };
        if let Some(used) = &decrypted.used {
            prekeys::delete_used(self.tx, used)?;
            self.opened.prekeys_used = true;
        }
        if !contact.row.request {
            self.note_received(&source, &id)?;
        }
        if contact.row.blocked {
            // Opened, so that the session stays in step; dropped, as the owner wants it.
            return Ok(());
        }
        let certificate = &decrypted.remote_certificate;
        if !devices::lists(&contact.row, certificate)? {
            return self.unlisted(&mut contact, letter, certificate, &decrypted.plaintext);
        }
        // Only now is a stranger who it says it is.
        if contact.row.request && Contact::get(self.tx, &contact.account)?.is_none() {
            if !decrypted.new_session && !bridge::says_something(&decrypted.plaintext) {
                // A removed contact's tick is no request.
                return Ok(());
            }
            requests::make_room(self.tx)?;
            contact.save(self.tx)?;
            self.say(Event::Request(contact.info()));
        }
        if decrypted.pq_failure.is_some() && !contact.row.request {
            self.lost_each_other(&contact, id, source)?;
        }
        self.take_plaintext(contact, source, id, &decrypted.plaintext)
    }

    /// [KV-016] Authentic, but from a device that the account's list, as it is known here, leaves out. The newest list
    /// decides: until it is known, the content waits.
    fn unlisted(
        &mut self,
        contact: &mut Contact,
        letter: &Letter,
        certificate: &DeviceCertificate,
        plaintext: &[u8],
    ) -> Result<(), Error> {
        if contact.row.request {
            self.refuse(letter.id, DropReason::UnlistedDevice);
            return Ok(());
        }
        if held::content(self.tx, letter, certificate, plaintext, self.tx.stamp(self.now))? {
            self.opened.lists_wanted.insert(contact.account);
            return Ok(());
        }
        self.held(contact, letter.id, false)
    }

    /// A content that waited for the account's newest list.
    fn open_content(&mut self, source: Address, certificate: &DeviceCertificate, content: &[u8]) -> Result<(), Error> {
        let Some(contact) = Contact::get(self.tx, &source.account)?.filter(|contact| !contact.row.blocked) else {
            return Ok(());
        };
        let listed = certificate.account_key() == contact.row.key()? && devices::lists(&contact.row, certificate)?;
        if !listed {
            self.refuse(None, DropReason::UnlistedDevice);
            return Ok(());
        }
        self.take_plaintext(contact, source, None, content)
    }

    fn take_plaintext(
        &mut self,
        contact: Contact,
        source: Address,
        id: impl Into<Option<EnvelopeId>>,
        plaintext: &[u8],
    ) -> Result<(), Error> {
        match bridge::open_content(plaintext) {
            Ok(content) => self.take(contact, source, id.into(), content),
            Err(_) => {
                self.refuse(id, DropReason::BadContent);
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
        trust: Trust,
        ciphertext: &[u8],
    ) -> Result<Result<Decrypted, DecryptError>, Error> {
        let mut record = match self.sessions.remove(&source) {
            Some(record) => record,
            None => session(self.tx, &source)?,
        };
        let prekey = last_resort_prekey(ciphertext).ok().flatten();
        let mut replay = self.take_replay_record(prekey)?;
        let secrets = Secrets::new(self.tx);
        let device = &self.own.device;
        let decrypt = |record: &mut SessionRecord, replay: &mut ReplayRecord, now| {
            let (prekeys, rng) = (&secrets, &mut rng::system_rng());
            let context = DecryptContext { local: device, remote: source, trust, prekeys, replay, now, rng };
            record.decrypt(ciphertext, context)
        };
        let ours = record.unanswered_since();
        let before = ours.map(|since| (since, record.encode(), replay.clone()));
        let mut result = decrypt(&mut record, &mut replay, self.now);
        if let (Ok(decrypted), Some((since, bytes, before))) = (&result, before)
            && decrypted.new_session
            && trust == Trust::Contact
            && record.unanswered_since() == ours
            && bridge::open_content(&decrypted.plaintext).is_ok_and(|content| content.body == Body::SessionReset)
        {
            record = SessionRecord::decode(&bytes).map_err(|_| Error::Internal { what: "session snapshot" })?;
            replay = before;
            let now = self.now.max(since).saturating_add(CONVERGENCE_WINDOW_MS);
            result = decrypt(&mut record, &mut replay, now);
        }
        self.sessions.insert(source, record);
        if let Some(prekey) = prekey {
            self.replay.insert(prekey, replay);
        }
        match result {
            Ok(decrypted) => Ok(Ok(decrypted)),
            Err(DecryptFailure::Refused(error)) => Ok(Err(error)),
            Err(DecryptFailure::Store(error)) => Err(error),
        }
    }

    /// The replay record of the last-resort prekey that a message names, if it names one that is here.
    fn take_replay_record(&mut self, prekey: Option<u32>) -> Result<ReplayRecord, Error> {
        let Some(prekey) = prekey else { return Ok(ReplayRecord::new()) };
        match self.replay.remove(&prekey) {
            Some(record) => Ok(record),
            None => prekeys::replay_record(self.tx, prekey),
        }
    }

    fn undecryptable(&mut self, contact: &mut Contact, letter: &Letter, error: DecryptError) -> Result<(), Error> {
        let Letter { id, source, .. } = *letter;
        if contact.row.blocked {
            return Ok(());
        }
        // [KV-060] No fresh session on a stranger's word.
        if contact.row.request {
            self.refuse(id, DropReason::Undecryptable);
            return Ok(());
        }
        // Mail in a session under the new key, which does not exist yet.
        if contact.row.changed_key.is_some() && letter.sealed_by.is_none() {
            return self.hold(contact, letter);
        }
        match error {
            DecryptError::Malformed | DecryptError::InvalidHandshake => self.refuse(id, DropReason::Malformed),
            DecryptError::Replayed => self.refuse(id, DropReason::Replayed),
            DecryptError::Duplicate => {
                self.refuse(id, DropReason::Replayed);
                // A relay's replay, or a sender whose home was restored from a backup and counts messages anew. A fresh
                // session mends the second and costs the first next to nothing.
                self.ask_for_a_fresh_session(&source)?;
            }
            DecryptError::AccountMismatch | DecryptError::IdentityChanged { .. } => {
                self.refuse(id, DropReason::WrongSource);
            }
            // The session cannot go on, or a prekey is gone: a fresh session mends it.
            _ => self.lost_each_other(contact, id, source)?,
        }
        Ok(())
    }

    /// Something of a contact's cannot be opened: says so, and asks for a fresh session.
    fn lost_each_other(&mut self, contact: &Contact, envelope: EnvelopeId, source: Address) -> Result<(), Error> {
        let reset_queued = self.ask_for_a_fresh_session(&source)?;
        let (account, who) = (contact.account, contact.row.alias.clone());
        self.say(Event::Undecryptable { account, who, envelope, reset_queued });
        Ok(())
    }

    /// Has a fresh session begun with a device of a contact. Whether the next flush may.
    fn ask_for_a_fresh_session(&mut self, source: &Address) -> Result<bool, Error> {
        let soon = resets::request(self.tx, source, self.now)?;
        self.opened.receipts_due |= soon;
        Ok(soon)
    }

    fn conflict(&mut self, contact: &Contact, conflict: ListConflict) {
        let (account, who) = (contact.account, contact.row.alias.clone());
        self.say(Event::DeviceListConflict { account, who, conflict });
    }

    /// Takes an authentic content.
    fn take(
        &mut self,
        mut contact: Contact,
        source: Address,
        id: Option<EnvelopeId>,
        content: Content,
    ) -> Result<(), Error> {
        let before = contact.row.clone();
        if let Some(key) = content.access_key {
            contact.row.access_key = Some(key.as_bytes().to_vec());
            contact.row.takes_sealed = content.takes_sealed;
        }
        // [KV-064] What a stranger says of lists is no reason to alarm the owner: it can make up anything, for each message.
        let is_request = contact.row.request;
        if let Err(conflict) = devices::note_claim(&mut contact.row, content.sender_list)?
            && !is_request
        {
            self.conflict(&contact, conflict);
        }
        if contact.row != before {
            contact.save(self.tx)?;
        }
        if let Err(conflict) = devices::check_belief(self.own.list.state(), content.recipient_list)
            && !is_request
        {
            let account = self.own.account();
            self.say(Event::DeviceListConflict { account, who: "you".to_owned(), conflict });
        }
        match content.body {
            Body::Text { text, attachments } => {
                let files =
                    attachments.into_iter().map(|told| FileRow { told: Some(told.into()), ..FileRow::default() });
                let row =
                    MessageRow { text, sent_at: content.sent_at, files: files.collect(), ..MessageRow::default() };
                self.take_text(contact, source, id, content.id, row)
            }
            // Not from a stranger: nothing was sent to it, and nothing is sent on its word.
            Body::Receipts { .. } | Body::SessionReset if contact.row.request => Ok(()),
            Body::Receipts { delivered, read } => {
                resets::confirmed(self.tx, &source, &delivered)?;
                self.take_receipts(&contact, &delivered, ReceiptKind::Delivered)?;
                self.take_receipts(&contact, &read, ReceiptKind::Read)?;
                self.look_for_unknown(&contact, &source, delivered.iter().chain(&read))
            }
            Body::SessionReset => {
                if resets::heard(self.tx, &source, content.id, self.now)? {
                    self.opened.receipts_due = true;
                    let (account, who) = (contact.account, contact.row.alias.clone());
                    self.say(Event::SessionReset { account, who });
                }
                Ok(())
            }
            Body::Unknown => Ok(()),
        }
    }

    fn take_text(
        &mut self,
        mut contact: Contact,
        source: Address,
        envelope: Option<EnvelopeId>,
        id: EnvelopeId,
        said: MessageRow,
    ) -> Result<(), Error> {
        let message = MessageRef::of_contact(contact.account, id);
        if let Some(known) = Stored::find(self.tx, &message)? {
            return self.confirm_again(&contact, &source, &message, known);
        }
        // [KV-065] What was deleted here stays so when it is sent again, and is confirmed as if it were here.
        if let Some(left) = state::get::<DeletedRow>(self.tx, Table::Deleted, &message_key(&message))? {
            return self.confirm_deleted(&contact, &source, &message, left);
        }
        if contact.row.request {
            if !requests::keep(&mut contact, said.text.len() + told_bytes(&said.files)) {
                self.refuse(envelope, DropReason::NoRoom);
                return self.note_dropped(&mut contact);
            }
            contact.save(self.tx)?;
            if let Some(envelope) = envelope {
                self.note_received(&source, &envelope)?;
            }
        }
        let row = MessageRow {
            conversation: message.conversation.as_bytes().to_vec(),
            author: message.author.as_bytes().to_vec(),
            id: id.as_bytes().to_vec(),
            outgoing: false,
            stored_at: self.now,
            ..said
        };
        let key = message_key(&message);
        let place = self.tx.append(Log::Message, message.conversation.as_bytes(), &key, &row.encode_to_vec())?;
        let place = place.ok_or(Error::Internal { what: "a message appeared twice" })?;
        if !contact.row.request {
            receipts::note(self.tx, &message, ReceiptKind::Delivered, self.now)?;
            self.opened.receipts_due = true;
        }
        self.tx.put(Table::Unshown, &place.to_be_bytes(), &[])?;
        files::note_fetches(self.tx, &message, &row.files)?;
        let record = Stored { place, row }.record(self.tx, &contact.row.alias)?;
        self.say(Event::Message(record));
        Ok(())
    }

    /// [KV-065] A text that is here already was sent again. It is confirmed once for each reset that this home asked for:
    /// then its receipt may have got lost. Without one, a repetition asks for an answer and shows nothing.
    fn confirm_again(
        &mut self,
        contact: &Contact,
        source: &Address,
        message: &MessageRef,
        known: Stored,
    ) -> Result<(), Error> {
        let Some(confirmed_for) = self.asked_anew(contact, source, known.row.confirmed_for)? else { return Ok(()) };
        let row = MessageRow { confirmed_for, ..known.row };
        self.tx.replace(Log::Message, known.place, &row.encode_to_vec())?;
        self.confirm(message)
    }

    /// The same for one that was deleted here.
    fn confirm_deleted(
        &mut self,
        contact: &Contact,
        source: &Address,
        message: &MessageRef,
        left: DeletedRow,
    ) -> Result<(), Error> {
        let Some(confirmed_for) = self.asked_anew(contact, source, left.confirmed_for)? else { return Ok(()) };
        state::put(self.tx, Table::Deleted, &message_key(message), &DeletedRow { confirmed_for })?;
        self.confirm(message)
    }

    /// The reset of ours that a text which came again is to be confirmed for; `None`: it was confirmed for it.
    fn asked_anew(&self, contact: &Contact, source: &Address, confirmed_for: u64) -> Result<Option<u64>, Error> {
        let asked_at = resets::asked_at(self.tx, source)?;
        Ok((!contact.row.request && asked_at != confirmed_for).then_some(asked_at))
    }

    fn confirm(&mut self, message: &MessageRef) -> Result<(), Error> {
        receipts::note(self.tx, message, ReceiptKind::Delivered, self.now)?;
        self.opened.receipts_due = true;
        Ok(())
    }

    /// A receipt for what this home never wrote: the home is older than what it sent, and what it sends next would be taken
    /// for what was received before. A fresh session keeps that from happening. A contact that makes receipts up gets one
    /// reset an hour for it, as it does for mail that cannot be opened.
    fn look_for_unknown<'b>(
        &mut self,
        contact: &Contact,
        source: &Address,
        ids: impl Iterator<Item = &'b EnvelopeId>,
    ) -> Result<(), Error> {
        for id in ids {
            let message = self.written_to(contact, id);
            if Stored::find(self.tx, &message)?.is_none()
                && self.tx.get(Table::Deleted, &message_key(&message))?.is_none()
                && !resets::is_one_of_ours(self.tx, source, id)?
            {
                self.ask_for_a_fresh_session(source)?;
                let (account, who) = (contact.account, contact.row.alias.clone());
                self.say(Event::HomeBehind { account, who });
                return Ok(());
            }
        }
        Ok(())
    }

    /// A message of this home in the conversation with a contact.
    fn written_to(&self, contact: &Contact, id: &EnvelopeId) -> MessageRef {
        let conversation = ConversationId::Contact(contact.account);
        MessageRef { conversation, author: self.own.account(), id: *id }
    }

    fn take_receipts(&mut self, contact: &Contact, ids: &[EnvelopeId], kind: ReceiptKind) -> Result<(), Error> {
        let progress = match kind {
            ReceiptKind::Delivered => Progress::Delivered,
            ReceiptKind::Read => Progress::Read,
        };
        for id in ids {
            // Only the one who received a message can confirm it.
            let message = self.written_to(contact, id);
            if state::confirm(self.tx, &message, progress, self.now)? {
                let from = contact.row.alias.clone();
                self.say(Event::Receipt { message, from, kind, at: self.now });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request's bytes are bounded with what it tells of files, each of them: a name and a thumbnail take room as a text does.
    #[test]
    fn what_is_told_of_files_counts_as_what_is_kept() {
        let told = kuvert_wire::v1::Attachment { name: "x".repeat(200), ..kuvert_wire::v1::Attachment::default() };
        let file = FileRow { told: Some(told), ..FileRow::default() };
        let one = told_bytes(std::slice::from_ref(&file));
        assert!((200..300).contains(&one), "{one}");
        assert_eq!(told_bytes(&[file.clone(), file.clone(), file]), 3 * one);
        assert_eq!(told_bytes(&[]), 0);
    }
}

//! When the two sides of a session have lost each other.
//!
//! ```text
//! cannot open ──► due ──► Reset, the first message of a fresh session ──► confirmed by a receipt
//!                           ▲                                        │
//!                           └── no receipt: again after 1, 2, 4 … hours
//! a Reset comes ──► receipt; what it did not confirm is due ──► encrypted again, before what waits behind it
//! ```
//! What is due is noted in the transaction that finds out, and done by the flush whose time has come: never more than once
//! an hour for each device and way, so that neither a relay that forges envelopes nor a contact that keeps complaining can
//! make this home work without end; and never forgotten.

use std::collections::HashSet;

use kuvert_types::{AccountId, Address, EnvelopeId};

use crate::bridge;
use crate::certain::age;
use crate::contact::Contact;
use crate::conversation::{ConversationId, MessageRef};
use crate::error::Error;
use crate::receipts;
use crate::rng;
use crate::state::{self, FileRow, MessageRow, OutboxRow, Outgoing, PeerRow, Progress, RESETS, Stored, enqueue};
use crate::store::{Log, Table, Transaction};

/// Between two resets for one device, and between two times that texts are sent again to one.
pub const INTERVAL_MS: u64 = 60 * 60 * 1000;

/// How often the time between repetitions of an unconfirmed reset doubles: up to 16 hours. A device that stays away for long
/// must not find a mailbox full of them.
const MAX_DOUBLINGS: u32 = 4;

/// Undelivered texts are sent again if they are not older than this: an older one was shown as undelivered long enough.
const RESEND_WITHIN_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// Resets of ours to one device that are remembered, so that a late receipt for one is known.
const REMEMBERED: usize = 16;

/// Undelivered texts that are sent again, at most.
const MAX_RESENT: usize = 500;

impl PeerRow {
    fn of(tx: &dyn Transaction, device: &Address) -> Result<Self, Error> {
        Ok(state::get(tx, Table::Peer, &device.to_bytes())?.unwrap_or_default())
    }

    fn save(&self, tx: &dyn Transaction, device: &Address) -> Result<(), Error> {
        state::put(tx, Table::Peer, &device.to_bytes(), self)
    }

    fn reset_is_due(&self, now: u64) -> bool {
        let wait = INTERVAL_MS << self.repeats.min(MAX_DOUBLINGS);
        let repeat = !self.unconfirmed_reset.is_empty() && has_passed(self.reset_at, wait, now);
        repeat || (self.reset_due && has_passed(self.reset_at, INTERVAL_MS, now))
    }

    fn resend_is_due(&self, now: u64) -> bool {
        self.resend_due && has_passed(self.resent_at, INTERVAL_MS, now)
    }
}

fn has_passed(last: u64, wait: u64, now: u64) -> bool {
    // Absolute: a clock that was set back must not put it off for years.
    last == 0 || now.abs_diff(last) >= wait
}

/// Something of a device's could not be opened: a fresh session is due. Whether the next flush may begin it.
pub fn request(tx: &dyn Transaction, device: &Address, now: u64) -> Result<bool, Error> {
    let mut peer = PeerRow::of(tx, device)?;
    if !peer.reset_due {
        peer.reset_due = true;
        peer.save(tx, device)?;
    }
    Ok(peer.reset_is_due(now))
}

/// A device could not open something and began a fresh session: it gets a receipt for saying so, and texts that it did not
/// confirm are due again. [KV-060] Once an hour: within that time another one is passed over, and `false` comes back.
pub fn heard(tx: &dyn Transaction, device: &Address, reset: EnvelopeId, now: u64) -> Result<bool, Error> {
    let peer = PeerRow::of(tx, device)?;
    if !has_passed(peer.reset_confirmed_at, INTERVAL_MS, now) {
        return Ok(false);
    }
    receipts::note_reset(tx, &MessageRef::of_contact(device.account, reset), now)?;
    PeerRow { resend_due: true, reset_confirmed_at: now.max(1), ..peer }.save(tx, device)?;
    Ok(true)
}

/// When a fresh session was last begun with a device because something of its could not be opened; 0: never.
pub fn asked_at(tx: &dyn Transaction, device: &Address) -> Result<u64, Error> {
    Ok(PeerRow::of(tx, device)?.reset_at)
}

/// A device confirms what it received: its last reset may be among it.
pub fn confirmed(tx: &dyn Transaction, device: &Address, received: &[EnvelopeId]) -> Result<(), Error> {
    let mut peer = PeerRow::of(tx, device)?;
    if received.iter().any(|id| id.as_bytes() == peer.unconfirmed_reset.as_slice()) {
        peer.unconfirmed_reset.clear();
        peer.save(tx, device)?;
    }
    Ok(())
}

/// Whether a message id is that of a reset that this home began with the device: also a home that was put back knows its own.
pub fn is_one_of_ours(tx: &dyn Transaction, device: &Address, id: &EnvelopeId) -> Result<bool, Error> {
    let peer = PeerRow::of(tx, device)?;
    // A home of an older build noted the last one only; what it repeated cannot be told from what it never sent.
    Ok((peer.reset_at != 0 && peer.own_resets.is_empty())
        || peer.own_resets.iter().chain([&peer.unconfirmed_reset]).any(|own| own.as_slice() == id.as_bytes()))
}

/// Whether [`queue_what_is_due`] has anything to do.
pub fn are_due(tx: &dyn Transaction, now: u64) -> Result<bool, Error> {
    for (device, contact) in peers(tx)? {
        let peer = PeerRow::of(tx, &device)?;
        if contact.may_send().is_ok() && (peer.reset_is_due(now) || peer.resend_is_due(now)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Queues resets and texts whose time has come. To be called by who holds the outbox. `certain`: the time, if it may decide that
/// a text is too old.
pub fn queue_what_is_due(tx: &dyn Transaction, now: u64, certain: Option<u64>) -> Result<(), Error> {
    for (device, contact) in peers(tx)? {
        let mut peer = PeerRow::of(tx, &device)?;
        let (reset, resend) = (peer.reset_is_due(now), peer.resend_is_due(now));
        // For a blocked contact, or one with a changed key, it stays due.
        if contact.may_send().is_err() || !(reset || resend) {
            continue;
        }
        if reset {
            let id = queue_reset(tx, &device, now)?;
            peer.repeats = if peer.reset_due { 0 } else { peer.repeats.saturating_add(1) };
            peer.unconfirmed_reset = id.as_bytes().to_vec();
            peer.own_resets.push(id.as_bytes().to_vec());
            let old = peer.own_resets.len().saturating_sub(REMEMBERED);
            peer.own_resets.drain(..old);
            (peer.reset_due, peer.reset_at) = (false, now.max(1));
        }
        if resend {
            queue_again(tx, ConversationId::Contact(device.account), certain)?;
            (peer.resend_due, peer.resent_at) = (false, now.max(1));
        }
        peer.save(tx, &device)?;
    }
    Ok(())
}

/// The session with a device is gone, with all that this home began in it: a fresh one is due at once, and the resets that went out before count
/// for nothing but that they are this home's own.
pub fn lose_session(tx: &dyn Transaction, device: &Address) -> Result<(), Error> {
    let peer = PeerRow::of(tx, device)?;
    PeerRow { reset_due: true, reset_at: 0, repeats: 0, unconfirmed_reset: Vec::new(), ..peer }.save(tx, device)
}

/// What was remembered of a device is lost. Until the hour is over no reset goes out: one may just have gone.
pub fn forget_history(tx: &dyn Transaction, device: &Address, now: u64) -> Result<(), Error> {
    PeerRow { reset_at: now.max(1), resent_at: now.max(1), reset_confirmed_at: now.max(1), ..PeerRow::default() }
        .save(tx, device)
}

/// Drops what is noted and queued for devices of an account: its sessions are gone, or it is.
pub fn forget(tx: &dyn Transaction, account: &AccountId) -> Result<(), Error> {
    for (device, _) in peers(tx)?.into_iter().filter(|(device, _)| device.account == *account) {
        tx.delete(Table::Peer, &device.to_bytes())?;
    }
    for outgoing in Outgoing::scan(tx, Some(RESETS), 0, usize::MAX)? {
        if outgoing.conversation == ConversationId::Contact(*account) {
            outgoing.remove(tx)?;
        }
    }
    Ok(())
}

/// Devices of contacts that something is noted about.
fn peers(tx: &dyn Transaction) -> Result<Vec<(Address, Contact)>, Error> {
    let mut peers = Vec::new();
    for (key, _) in tx.list(Table::Peer)? {
        let device = Address::try_from(key.as_slice()).map_err(|_| state::damaged("peers"))?;
        peers.extend(Contact::get(tx, &device.account)?.map(|contact| (device, contact)));
    }
    Ok(peers)
}

fn queue_reset(tx: &dyn Transaction, device: &Address, now: u64) -> Result<EnvelopeId, Error> {
    // One that still waits for prekeys goes with this one.
    let conversation = ConversationId::Contact(device.account);
    for outgoing in Outgoing::scan(tx, Some(RESETS), 0, usize::MAX)? {
        let same = outgoing.conversation == conversation && outgoing.row.fresh_session_with == device.device.get();
        if same && outgoing.is_untouched() {
            outgoing.remove(tx)?;
        }
    }
    let id = rng::envelope_id();
    let row = OutboxRow {
        conversation: conversation.as_bytes().to_vec(),
        content: bridge::draft(id, now, bridge::session_reset()),
        fresh_session_with: device.device.get(),
        ..OutboxRow::default()
    };
    enqueue(tx, &row)?;
    Ok(id)
}

/// Queues the texts that the contact has not confirmed, under their old message ids: what it has already it recognises by
/// them. What was encrypted and not accepted yet is among them, for it was encrypted in a session that the other side may have
/// lost. What is not encrypted yet moves behind them.
fn queue_again(tx: &dyn Transaction, conversation: ConversationId, now: Option<u64>) -> Result<(), Error> {
    let untouched: Vec<Outgoing> = Outgoing::scan(tx, Some(conversation.as_bytes()), 0, usize::MAX)?
        .into_iter()
        .filter(Outgoing::is_untouched)
        .collect();
    let waiting: HashSet<EnvelopeId> = untouched.iter().filter_map(|outgoing| Some(outgoing.text?.id)).collect();
    let mut again = Vec::new();
    // They stand in order of arrival: none is older than one before it, whatever the clock said.
    let mut newest = 0;
    for entry in tx.scan(Log::Message, Some(conversation.as_bytes()), 0, usize::MAX)? {
        let stored = Stored::read(&entry)?;
        let (row, id) = (&stored.row, stored.message()?.id);
        let on_the_way = row.outgoing && matches!(row.progress(), Progress::Queued | Progress::Accepted);
        newest = newest.max(row.stored_at);
        // What is not at the relay yet is sent once it is.
        let complete = stored.row.files.iter().all(FileRow::is_told);
        if on_the_way && complete && !waiting.contains(&id) && age(now, newest) <= RESEND_WITHIN_MS {
            again.push((id, stored.row));
        }
    }
    let again = again.split_off(again.len().saturating_sub(MAX_RESENT));
    if again.is_empty() {
        return Ok(());
    }
    let ids: HashSet<EnvelopeId> = again.iter().map(|(id, _)| *id).collect();
    for (id, row) in again {
        let content = bridge::draft(id, row.sent_at, bridge::message(&row));
        let MessageRow { conversation, author, .. } = row;
        // Without a text id: its envelope gets a fresh id, and its first copy says whether the relay has it.
        enqueue(tx, &OutboxRow { conversation, content, author, ..OutboxRow::default() })?;
    }
    for outgoing in untouched {
        let row = outgoing.row.clone();
        outgoing.remove(tx)?;
        // One that waited to be sent again stands before it now.
        if !ids.contains(&bridge::draft_id(&row.content)?) {
            enqueue(tx, &row)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Mode, Store};
    use kuvert_types::{AccountKey, DeviceId};

    const NOW: u64 = 1_000 * INTERVAL_MS;

    fn device(tx: &dyn Transaction, account: u8) -> Address {
        let device = Address { account: AccountId::from_bytes([account; 16]), device: DeviceId::PRIMARY };
        let alias = format!("contact {account}");
        Contact::new(device.account, AccountKey::from_bytes([account; 32]), None, alias, NOW).save(tx).unwrap();
        device
    }

    fn flush(tx: &dyn Transaction, now: u64) -> u64 {
        let before = tx.len(Log::Outbox).unwrap();
        let due = are_due(tx, now).unwrap();
        queue_what_is_due(tx, now, Some(now)).unwrap();
        for mut outgoing in Outgoing::scan(tx, Some(RESETS), 0, usize::MAX).unwrap() {
            // Encrypted: it does not go with the next one.
            if outgoing.is_untouched() {
                let account = outgoing.conversation.contact().unwrap();
                let recipient = Address { account, device: DeviceId::PRIMARY };
                let row = state::EnvelopeRow { recipient: recipient.to_bytes().to_vec(), ..Default::default() };
                outgoing.add(tx, recipient, row).unwrap();
            }
        }
        let queued = tx.len(Log::Outbox).unwrap() - before;
        assert_eq!(due, queued > 0);
        queued
    }

    #[test]
    fn resets_are_bounded_in_time_also_when_the_clock_goes_back() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        let (one, other) = (device(&*tx, 1), device(&*tx, 2));
        assert!(request(&*tx, &one, NOW).unwrap());
        assert_eq!(flush(&*tx, NOW), 1);
        // Within the hour it is put off, not forgotten.
        assert!(!request(&*tx, &one, NOW + 1).unwrap());
        assert!(request(&*tx, &other, NOW + 1).unwrap());
        assert_eq!(flush(&*tx, NOW + 1), 1);
        assert_eq!(flush(&*tx, NOW + INTERVAL_MS - 1), 0);
        assert_eq!(flush(&*tx, NOW + INTERVAL_MS), 1);
        assert!(request(&*tx, &one, 5).unwrap());
        assert_eq!(flush(&*tx, 5), 2, "long ago by either clock: one again, the other repeated");
    }

    #[test]
    fn an_unconfirmed_reset_is_repeated_ever_more_rarely_and_a_confirmed_one_is_not() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        let one = device(&*tx, 1);
        request(&*tx, &one, NOW).unwrap();
        let hours: Vec<u64> = (0..64).filter(|hour| flush(&*tx, NOW + hour * INTERVAL_MS) > 0).collect();
        assert_eq!(hours, [0, 1, 3, 7, 15, 31, 47, 63]);
        let stranger = EnvelopeId::from_bytes([9; 16]);
        confirmed(&*tx, &one, &[stranger]).unwrap();
        assert!(are_due(&*tx, NOW + 100 * INTERVAL_MS).unwrap());
        let last = PeerRow::of(&*tx, &one).unwrap().unconfirmed_reset;
        confirmed(&*tx, &one, &[stranger, EnvelopeId::try_from(last.as_slice()).unwrap()]).unwrap();
        assert_eq!(flush(&*tx, NOW + 1_000 * INTERVAL_MS), 0);
    }

    #[test]
    fn a_blocked_contact_gets_none_until_it_is_heard_again() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        let one = device(&*tx, 1);
        let mut contact = Contact::get(&*tx, &one.account).unwrap().unwrap();
        contact.row.blocked = true;
        contact.save(&*tx).unwrap();
        request(&*tx, &one, NOW).unwrap();
        assert_eq!(flush(&*tx, NOW), 0);
        contact.row.blocked = false;
        contact.save(&*tx).unwrap();
        assert_eq!(flush(&*tx, NOW), 1);
        forget(&*tx, &one.account).unwrap();
        assert_eq!(tx.len(Log::Outbox).unwrap(), 0);
        assert_eq!(flush(&*tx, NOW + 100 * INTERVAL_MS), 0);
    }
}

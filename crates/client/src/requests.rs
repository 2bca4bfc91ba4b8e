//! Message requests: accounts that wrote first. [KV-100]
//!
//! ```text
//! first message of a stranger opens ─► request: kept within bounds, shown as such; nothing is sent to it
//!      │ accept (or added by name or link)            │ block
//!      ▼                                              ▼
//!   contact: its texts are confirmed now           its mail is dropped
//! ```
//! A request has an alias made of its account id: a name of the relay's choice could pass for a person whom the owner knows.

use kuvert_types::limits::MAX_DEVICES;
use kuvert_types::{AccountId, Address, DeviceId};

use crate::contact::Contact;
use crate::error::Error;
use crate::event::ReceiptKind;
use crate::files;
use crate::receipts;
use crate::resets;
use crate::state::Stored;
use crate::store::{Log, Table, Transaction};

/// Requests that are kept. When one more comes, the oldest goes: strangers must not shut others out for good.
pub const MAX_REQUESTS: usize = 4_096;

/// Texts that are kept of a request.
pub const MAX_TEXTS: u32 = 64;

/// Bytes of text that are kept of a request: four of the longest.
pub const MAX_TEXT_BYTES: u64 = 4 * kuvert_types::limits::MAX_TEXT_BYTES as u64;

/// Counts a text of a request; whether there is room for it.
pub fn keep(contact: &mut Contact, bytes: usize) -> bool {
    let bytes = contact.row.kept_bytes.saturating_add(bytes as u64);
    if contact.row.kept >= MAX_TEXTS || bytes > MAX_TEXT_BYTES {
        return false;
    }
    (contact.row.kept, contact.row.kept_bytes) = (contact.row.kept + 1, bytes);
    true
}

/// Makes room for one more request.
pub fn make_room(tx: &dyn Transaction) -> Result<(), Error> {
    if tx.count(Table::Contact)? < MAX_REQUESTS as u64 {
        return Ok(());
    }
    let mut requests: Vec<Contact> = Contact::all(tx)?.into_iter().filter(|contact| contact.row.request).collect();
    requests.sort_by_key(|contact| contact.row.added_at);
    let too_many = (requests.len() + 1).saturating_sub(MAX_REQUESTS);
    // One that the owner has blocked stays blocked.
    requests.iter().filter(|contact| !contact.row.blocked).take(too_many).try_for_each(|contact| forget(tx, contact))
}

/// Drops a request with everything of its.
fn forget(tx: &dyn Transaction, contact: &Contact) -> Result<(), Error> {
    for entry in tx.scan(Log::Message, Some(contact.account.as_bytes()), 0, usize::MAX)? {
        files::forget(tx, &Stored::read(&entry)?)?;
        delete_message(tx, entry.place)?;
    }
    for device in devices(&contact.account) {
        tx.delete(Table::Session, &device.to_bytes())?;
    }
    tx.delete(Table::Contact, contact.account.as_bytes())?;
    tx.delete(Table::Conversation, contact.account.as_bytes())?;
    Ok(())
}

/// Deletes the message at a place.
pub fn delete_message(tx: &dyn Transaction, place: u64) -> Result<(), Error> {
    tx.remove(Log::Message, place)?;
    tx.delete(Table::Unshown, &place.to_be_bytes())?;
    Ok(())
}

/// Makes a request a contact, which the caller saves. What it wrote is confirmed now, and what was dropped for want of room
/// is asked for.
pub fn accept(contact: &mut Contact, tx: &dyn Transaction, now: u64) -> Result<(), Error> {
    if !contact.row.request {
        return Ok(());
    }
    contact.row.request = false;
    (contact.row.kept, contact.row.kept_bytes) = (0, 0);
    contact.save(tx)?;
    for entry in tx.scan(Log::Message, Some(contact.account.as_bytes()), 0, usize::MAX)? {
        let stored = Stored::read(&entry)?;
        if !stored.row.outgoing {
            receipts::note(tx, &stored.message()?, ReceiptKind::Delivered, now)?;
        }
    }
    ask_for_what_was_dropped(contact, tx, now)
}

/// Has fresh sessions begun with the devices that sent something that was dropped: a session reset makes the other side send
/// again what was not confirmed.
pub fn ask_for_what_was_dropped(contact: &mut Contact, tx: &dyn Transaction, now: u64) -> Result<(), Error> {
    if !std::mem::take(&mut contact.row.dropped) {
        return Ok(());
    }
    for device in devices(&contact.account) {
        if tx.get(Table::Session, &device.to_bytes())?.is_some() {
            resets::request(tx, &device, now)?;
        }
    }
    Ok(())
}

/// Every device that an account can have.
pub fn devices(account: &AccountId) -> impl Iterator<Item = Address> + '_ {
    (1..=MAX_DEVICES as u32)
        .filter_map(|number| DeviceId::new(number).ok())
        .map(|device| Address { account: *account, device })
}

/// Accounts whose request waits, or that are blocked before they were accepted.
pub fn all(tx: &dyn Transaction) -> Result<Vec<Contact>, Error> {
    Ok(Contact::all(tx)?.into_iter().filter(|contact| contact.row.request).collect())
}

#[cfg(test)]
mod tests {
    use kuvert_types::AccountKey;

    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Mode, Store};

    fn request(number: u32) -> Contact {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let account = AccountId::from_bytes(id);
        let mut contact =
            Contact::new(account, AccountKey::from_bytes([1; 32]), None, format!("r{number}"), number.into());
        contact.row.request = true;
        contact
    }

    #[test]
    fn the_oldest_request_goes_when_there_are_too_many_and_never_a_contact_or_a_blocked_one() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        let mut contact = request(0);
        contact.row.request = false;
        contact.save(&*tx).unwrap();
        let mut blocked = request(1);
        blocked.row.blocked = true;
        blocked.save(&*tx).unwrap();
        for number in 2..=MAX_REQUESTS as u32 {
            request(number).save(&*tx).unwrap();
        }
        make_room(&*tx).unwrap();
        let there = |number| Contact::get(&*tx, &request(number).account).unwrap().is_some();
        assert!(there(0) && there(1) && !there(2) && there(3));
        assert_eq!(tx.count(Table::Contact).unwrap(), MAX_REQUESTS as u64);
        // A bound that was smaller once, or contacts beside them.
        for number in 10_000..10_005 {
            request(number).save(&*tx).unwrap();
        }
        make_room(&*tx).unwrap();
        assert_eq!(all(&*tx).unwrap().len(), MAX_REQUESTS - 1);
    }

    #[test]
    fn a_request_is_kept_within_bounds_of_texts_and_of_bytes() {
        let mut many = request(1);
        assert_eq!((0..1_000).filter(|_| keep(&mut many, 10)).count(), MAX_TEXTS as usize);
        let mut long = request(2);
        assert_eq!((0..1_000).filter(|_| keep(&mut long, kuvert_types::limits::MAX_TEXT_BYTES)).count(), 4);
    }
}

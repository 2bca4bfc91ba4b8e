//! What a restored home may not go on with. The home that it is a copy of went on behind the backup, and what it did there is not known here:
//!
//! | What | Why it may not stay | What becomes of it |
//! |---|---|---|
//! | sessions | their next keys were used | dropped; a fresh one is due with each of these devices, by the rules of resets |
//! | resets that were queued | they were the first of such a session | dropped, and due again |
//! | envelopes that were encrypted | they were encrypted in such a session | encrypted anew, the message keeps its id |
//! | numbers of prekeys | they were given | they go on behind a gap |
//! | the signed and the last-resort prekey | first messages that used them may come again | replaced with the first connection |
//! | one-time prekeys | some were used, and it is not known which | kept for what is on its way, as replaced ones are, then deleted |
//! | what the relay was told of the access key | another one may be there | told again |
//! | whom the relay drops the mail of | it may not any more | told again |
//! | marks of receivers | they are of processes that are gone | dropped |
//!
//! A one-time prekey that was used by then opens its first message once more, if the relay sends that again: a text of its writer's that
//! this home does not have. It is no key that anything is sent under.

use std::collections::BTreeSet;

use kuvert_types::Address;

use crate::blocking;
use crate::contact::Contact;
use crate::disclosure;
use crate::error::Error;
use crate::prekeys;
use crate::resets;
use crate::state::{AtRelay, Outgoing, RESETS, own};
use crate::store::{Table, Transaction};

/// Makes the state of a copy one that can be gone on with. `now`: Unix milliseconds.
///
/// # Errors
/// Those of the store.
pub fn begin_anew(tx: &dyn Transaction, now: u64) -> Result<(), Error> {
    let mut devices = BTreeSet::new();
    for table in [Table::Session, Table::Peer] {
        for (key, _) in tx.list(table)? {
            devices.insert(Address::try_from(key.as_slice()).map_err(|_| crate::state::damaged("sessions"))?);
        }
    }
    for device in &devices {
        tx.delete(Table::Session, &device.to_bytes())?;
        if Contact::get(tx, &device.account)?.is_some() {
            resets::lose_session(tx, device)?;
        }
    }
    for outgoing in Outgoing::scan(tx, Some(RESETS), 0, usize::MAX)? {
        outgoing.remove(tx)?;
    }
    for mut outgoing in Outgoing::scan(tx, None, 0, usize::MAX)? {
        outgoing.clear(tx)?;
    }
    prekeys::replace_all(tx, now)?;
    disclosure::publish_again(tx)?;
    for mut contact in Contact::all(tx)? {
        if contact.row.at_relay() == AtRelay::Yes {
            contact.row.set_at_relay(AtRelay::Wanted);
            contact.save(tx)?;
            blocking::note_news(tx)?;
        }
    }
    for mark in [own::RECEIVER, own::COPY_SEEN] {
        tx.delete(Table::Own, mark)?;
    }
    Ok(())
}

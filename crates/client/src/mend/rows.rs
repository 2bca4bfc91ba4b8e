//! Whether a row that the store vouches for can be read: the same readers that everything else uses, for each kind of row.

use kuvert_protocol::session::SessionRecord;
use kuvert_types::Address;
use prost::Message as _;

use super::each;
use crate::bridge;
use crate::contact::Contact;
use crate::error::Error;
use crate::prekeys;
use crate::receipts;
use crate::receive::held_is_readable;
use crate::state::{
    ConversationRow, DamageRow, DeletedRow, DisclosureRow, Envelope, FetchRow, OutboxRow, PeerRow, PrekeyStateRow,
    Stored, ToldRow, UploadRow, account_id, conversation_id, envelope_id, file_of_key, message_key, message_of_key,
    own,
};
use crate::store::{Entry, Log, Part, Table, Transaction};

/// Removes the rows that this build can make nothing of; their places and keys.
pub fn remove_undecodable(tx: &dyn Transaction) -> Result<Vec<(Part, Vec<u8>)>, Error> {
    let mut removed = Vec::new();
    for table in Table::ALL {
        for (key, value) in tx.list(table)? {
            if !row_is_readable(table, &key, &value) {
                tx.delete(table, &key)?;
                removed.push((Part::Table(table), key));
            }
        }
    }
    for log in Log::ALL {
        let mut bad = Vec::new();
        each(tx, log, |entry| {
            if !entry_is_readable(log, &entry) {
                bad.push(entry);
            }
            Ok(())
        })?;
        for entry in bad {
            tx.remove(log, entry.place)?;
            removed.push((Part::Log(log), entry.key));
        }
    }
    Ok(removed)
}

fn row_is_readable(table: Table, key: &[u8], value: &[u8]) -> bool {
    match table {
        Table::Own => own_is_readable(key, value),
        Table::Contact => Contact::is_readable(key, value),
        Table::Session => Address::try_from(key).is_ok() && SessionRecord::decode(value).is_ok(),
        Table::Prekey => prekeys::is_readable(key, value),
        Table::Received => value.len() == size_of::<u64>(),
        Table::Unshown => key.len() == size_of::<u64>(),
        Table::ReceiptDue => receipts::is_readable(key, value),
        Table::Peer => Address::try_from(key).is_ok() && PeerRow::decode(value).is_ok(),
        Table::Replay => prekeys::record_is_readable(key, value),
        Table::Deleted => message_of_key(key).is_ok() && DeletedRow::decode(value).is_ok(),
        Table::Conversation => conversation_id(key).is_ok() && ConversationRow::decode(value).is_ok(),
        Table::Upload => file_of_key(key).is_ok() && UploadRow::decode(value).is_ok_and(|row| row.is_readable()),
        Table::Fetch => file_of_key(key).is_ok() && FetchRow::decode(value).is_ok(),
        Table::Unlink => true,
    }
}

/// The account and its keys are not looked at: what reads them says what is wrong.
fn own_is_readable(key: &[u8], value: &[u8]) -> bool {
    match key {
        own::DISCLOSURE => DisclosureRow::decode(value).is_ok_and(|row| row.disclosed_key().is_ok()),
        own::PREKEYS => PrekeyStateRow::decode(value).is_ok(),
        own::TOLD => ToldRow::decode(value).is_ok(),
        own::DAMAGE => DamageRow::decode(value).is_ok(),
        own::COPY_SEEN => value.len() == size_of::<u64>(),
        key if key.starts_with(own::CONSUMER) => value.len() == size_of::<u64>(),
        _ => true,
    }
}

fn entry_is_readable(log: Log, entry: &Entry) -> bool {
    match log {
        Log::Message => Stored::read(entry)
            .and_then(|stored| stored.message())
            .is_ok_and(|message| message_key(&message) == entry.key),
        Log::Outbox => OutboxRow::decode(entry.value.as_slice()).is_ok_and(|row| outgoing_is_readable(&row)),
        Log::Envelope => Envelope::read(entry).is_ok_and(|envelope| envelope_id(&envelope.row.id).is_ok()),
        Log::Received => entry.value.len() == size_of::<u64>(),
        Log::Held => held_is_readable(entry),
    }
}

fn outgoing_is_readable(row: &OutboxRow) -> bool {
    let is_named = row.text_id.is_empty() || (account_id(&row.author).is_ok() && envelope_id(&row.text_id).is_ok());
    is_named && conversation_id(&row.conversation).is_ok() && bridge::draft_id(&row.content).is_ok()
}

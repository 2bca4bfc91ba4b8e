//! Brings the rows of an older store to what [`state`](crate::state) says, version by version.
//!
//! A damaged row costs what it held and no other ([`mend`]): what no longer opens is removed before, and what is vouched for and
//! cannot be read stays as it was, which no row of this version is, and is removed behind the last step.

use std::collections::BTreeSet;

use kuvert_protocol::replay::split_version_1;
use kuvert_types::{AccountId, Address, DeviceId, UnverifiedDeviceCertificate};
use prost::Message;

use crate::conversation::{ConversationId, MessageRef};
use crate::error::Error;
use crate::mend;
use crate::prekeys;
use crate::state::{
    ContactRow, DisclosureRow, EnvelopeRow, EnvelopeState, MessageRow, OutboxRow, Outgoing, OwnRow, account_id,
    damaged, decode, envelope_id, get, message_key, own, put,
};
use crate::store::{Entry, Log, Part, Table, Transaction};

/// Brings the rows of a store of version `from` to the newest. `now`: Unix milliseconds.
///
/// # Errors
/// Those of the store; `store-corrupt` if more is damaged than can be mended.
pub fn migrate(tx: &dyn Transaction, from: u32, now: u64) -> Result<(), Error> {
    // Version 4 has marks of deleted messages, version 5 times of receipts and drafts, version 6 files: a store of before has none of
    // them, and is one of these as it stands.
    if from >= 3 {
        return Ok(());
    }
    let mut removed = mend::before_migrating(tx)?;
    if from < 2 {
        from_1_to_2(tx, &mut removed)?;
    }
    from_2_to_3(tx, &mut removed)?;
    mend::after_migrating(tx, removed, now)
}

/// What a row holds; none if it cannot be read, which ends nothing.
fn readable<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Error::StoreCorrupt { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Brings the rows of a store of version 1 to version 2: a replay record for each prekey; contacts that told an access key
/// take sealed mail, for others had none.
fn from_1_to_2(tx: &dyn Transaction, removed: &mut mend::Removed) -> Result<(), Error> {
    let bytes = tx.get(Table::Own, own::REPLAY)?;
    match bytes.as_deref().map(|bytes| split_version_1(bytes)) {
        Some(Ok(records)) => {
            for (prekey, record) in records {
                tx.put(Table::Replay, &prekey.to_be_bytes(), &record.encode())?;
            }
        }
        None if !removed.has_own(tx, own::REPLAY) => {}
        // Replays could be told of none of them.
        Some(Err(_)) | None => {
            prekeys::forget_without_record(tx, |_| true)?;
            removed.add(Part::Table(Table::Replay), Vec::new());
        }
    }
    tx.delete(Table::Own, own::REPLAY)?;
    for (key, value) in tx.list(Table::Contact)? {
        let Some(mut row) = readable(decode::<ContactRow>(&value, "contacts"))? else { continue };
        row.takes_sealed = row.access_key.is_some();
        row.seen_name.clone_from(&row.name);
        put(tx, Table::Contact, &key, &row)?;
    }
    if let Some(mut row) = readable(get::<DisclosureRow>(tx, Table::Own, own::DISCLOSURE))?.flatten() {
        // The relay is told anew what the key is good for.
        row.published.clear();
        put(tx, Table::Own, own::DISCLOSURE, &row)?;
    }
    Ok(())
}

/// Version 2's entry of the outbox: its envelopes stood within.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OutboxRow2 {
    #[prost(bytes = "vec", tag = "1")]
    pub account: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub content: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub text_id: Vec<u8>,
    #[prost(uint32, tag = "4")]
    pub fresh_session_with: u32,
    #[prost(message, repeated, tag = "5")]
    pub sealed: Vec<SealedRow2>,
}

/// Version 2's envelope of an entry of the outbox.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SealedRow2 {
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub device: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub ciphertext: Vec<u8>,
}

/// Version 3 names a message by its conversation, author and id, and keeps the envelopes of the outbox in rows of their own.
fn from_2_to_3(tx: &dyn Transaction, removed: &mut mend::Removed) -> Result<(), Error> {
    let Some(own) = get::<OwnRow>(tx, Table::Own, own::ACCOUNT)? else { return Ok(()) };
    let certificate = UnverifiedDeviceCertificate::decode(&own.certificate).map_err(|_| damaged("own account"))?;
    let author = certificate.claimed().address.account;
    messages(tx, author.as_bytes(), removed)?;
    receipts(tx)?;
    outbox(tx, author.as_bytes())
}

/// Messages get other keys, and so other places, in the same order.
fn messages(tx: &dyn Transaction, own: &[u8], removed: &mut mend::Removed) -> Result<(), Error> {
    let unshown: BTreeSet<Vec<u8>> = tx.list(Table::Unshown)?.into_iter().map(|(place, _)| place).collect();
    for entry in tx.scan(Log::Message, None, 0, usize::MAX)? {
        let Some((message, row)) = readable(message(&entry, own))? else { continue };
        tx.remove(Log::Message, entry.place)?;
        let place = tx.append(Log::Message, &row.conversation, &message_key(&message), &row.encode_to_vec())?;
        let Some(place) = place else {
            // It names itself as another one does, and only one of them can be right.
            removed.add(Part::Log(Log::Message), entry.key);
            continue;
        };
        if unshown.contains(entry.place.to_be_bytes().as_slice()) {
            tx.delete(Table::Unshown, &entry.place.to_be_bytes())?;
            tx.put(Table::Unshown, &place.to_be_bytes(), &[])?;
        }
    }
    Ok(())
}

/// A message as version 3 names it.
fn message(entry: &Entry, own: &[u8]) -> Result<(MessageRef, MessageRow), Error> {
    let mut row: MessageRow = decode(&entry.value, "messages")?;
    row.author = if row.outgoing { own.to_vec() } else { row.conversation.clone() };
    let message = MessageRef {
        conversation: ConversationId::Contact(account_id(&row.conversation)?),
        author: account_id(&row.author)?,
        id: envelope_id(&row.id)?,
    };
    Ok((message, row))
}

/// A receipt is due to the author of the message that it is for.
fn receipts(tx: &dyn Transaction) -> Result<(), Error> {
    for (key, value) in tx.list(Table::ReceiptDue)? {
        let Some(message) = readable(of_receipt(&key))? else { continue };
        tx.delete(Table::ReceiptDue, &key)?;
        tx.put(Table::ReceiptDue, &message_key(&message), &value)?;
    }
    Ok(())
}

/// The message that version 2's receipt is for.
fn of_receipt(key: &[u8]) -> Result<MessageRef, Error> {
    let (account, id) = key.split_at_checked(AccountId::LEN).ok_or_else(|| damaged("receipts"))?;
    Ok(MessageRef::of_contact(account_id(account)?, envelope_id(id)?))
}

fn outbox(tx: &dyn Transaction, own: &[u8]) -> Result<(), Error> {
    for entry in tx.scan(Log::Outbox, None, 0, usize::MAX)? {
        let Some((recipient, row, sealed)) = readable(outgoing(&entry, own))? else { continue };
        tx.replace(Log::Outbox, entry.place, &row.encode_to_vec())?;
        let entry = Entry { value: row.encode_to_vec().into(), ..entry };
        // What is no entry of this version is removed behind the last step, and its envelopes with it.
        let Some(mut outgoing) = readable(Outgoing::read(tx, entry))? else { continue };
        for SealedRow2 { id, device, ciphertext } in sealed {
            let recipient = DeviceId::new(device).map(|device| Address { account: recipient, device });
            let is_new = |address: &Address| outgoing.envelopes.iter().all(|envelope| envelope.recipient != *address);
            let Some(recipient) = recipient.ok().filter(is_new) else {
                // Encrypted anew, for all devices.
                outgoing.clear(tx)?;
                break;
            };
            let row = EnvelopeRow {
                id,
                recipient: recipient.to_bytes().to_vec(),
                state: EnvelopeState::Encrypted.into(),
                ciphertext,
                failure: String::new(),
            };
            outgoing.add(tx, recipient, row)?;
        }
    }
    Ok(())
}

/// An entry of version 2's outbox: to whom, as version 3 has it, and its envelopes.
fn outgoing(entry: &Entry, own: &[u8]) -> Result<(AccountId, OutboxRow, Vec<SealedRow2>), Error> {
    let OutboxRow2 { account, content, text_id, fresh_session_with, sealed } = decode(&entry.value, "the outbox")?;
    let recipient = account_id(&account)?;
    let row = OutboxRow { conversation: account, content, text_id, fresh_session_with, author: own.to_vec() };
    Ok((recipient, row, sealed))
}

//! Brings the rows of an older store to what [`state`](crate::state) says, version by version.

use std::collections::BTreeSet;

use kuvert_protocol::replay::split_version_1;
use kuvert_types::{Address, DeviceId, UnverifiedDeviceCertificate};
use prost::Message;

use crate::conversation::{ConversationId, MessageRef};
use crate::error::Error;
use crate::state::{
    ContactRow, DisclosureRow, EnvelopeRow, EnvelopeState, MessageRow, OutboxRow, Outgoing, OwnRow, account_id,
    damaged, decode, envelope_id, get, message_key, own, put,
};
use crate::store::{Log, Table, Transaction};

/// Brings the rows of a store of version `from` to the newest.
///
/// # Errors
/// Those of the store; a row that cannot be read.
pub fn migrate(tx: &dyn Transaction, from: u32) -> Result<(), Error> {
    if from < 2 {
        from_1_to_2(tx)?;
    }
    if from < 3 {
        from_2_to_3(tx)?;
    }
    // Version 4 has marks of deleted messages, version 5 times of receipts and drafts, version 6 files: a store of before has none of
    // them, and is one of these as it stands.
    Ok(())
}

/// Brings the rows of a store of version 1 to version 2: a replay record for each prekey; contacts that told an access key
/// take sealed mail, for others had none.
fn from_1_to_2(tx: &dyn Transaction) -> Result<(), Error> {
    if let Some(bytes) = tx.get(Table::Own, own::REPLAY)? {
        let records = split_version_1(&bytes).map_err(|_| damaged("the replay record"))?;
        for (prekey, record) in records {
            tx.put(Table::Replay, &prekey.to_be_bytes(), &record.encode())?;
        }
        tx.delete(Table::Own, own::REPLAY)?;
    }
    for (key, value) in tx.list(Table::Contact)? {
        let mut row: ContactRow = decode(&value, "contacts")?;
        row.takes_sealed = row.access_key.is_some();
        row.seen_name.clone_from(&row.name);
        put(tx, Table::Contact, &key, &row)?;
    }
    if let Some(mut row) = get::<DisclosureRow>(tx, Table::Own, own::DISCLOSURE)? {
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
fn from_2_to_3(tx: &dyn Transaction) -> Result<(), Error> {
    let Some(own) = get::<OwnRow>(tx, Table::Own, own::ACCOUNT)? else { return Ok(()) };
    let certificate = UnverifiedDeviceCertificate::decode(&own.certificate).map_err(|_| damaged("own account"))?;
    let author = certificate.claimed().address.account;
    messages(tx, author.as_bytes())?;
    receipts(tx)?;
    outbox(tx, author.as_bytes())
}

/// Messages get other keys, and so other places, in the same order.
fn messages(tx: &dyn Transaction, own: &[u8]) -> Result<(), Error> {
    let unshown: BTreeSet<Vec<u8>> = tx.list(Table::Unshown)?.into_iter().map(|(place, _)| place).collect();
    for entry in tx.scan(Log::Message, None, 0, usize::MAX)? {
        let mut row: MessageRow = decode(&entry.value, "messages")?;
        row.author = if row.outgoing { own.to_vec() } else { row.conversation.clone() };
        let message = MessageRef {
            conversation: ConversationId::Contact(account_id(&row.conversation)?),
            author: account_id(&row.author)?,
            id: envelope_id(&row.id)?,
        };
        tx.remove(Log::Message, entry.place)?;
        let place = tx.append(Log::Message, &row.conversation, &message_key(&message), &row.encode_to_vec())?;
        let place = place.ok_or_else(|| damaged("messages"))?;
        if unshown.contains(entry.place.to_be_bytes().as_slice()) {
            tx.delete(Table::Unshown, &entry.place.to_be_bytes())?;
            tx.put(Table::Unshown, &place.to_be_bytes(), &[])?;
        }
    }
    Ok(())
}

/// A receipt is due to the author of the message that it is for.
fn receipts(tx: &dyn Transaction) -> Result<(), Error> {
    for (key, value) in tx.list(Table::ReceiptDue)? {
        let (account, id) = key.split_at_checked(16).ok_or_else(|| damaged("receipts"))?;
        tx.delete(Table::ReceiptDue, &key)?;
        let message = MessageRef::of_contact(account_id(account)?, envelope_id(id)?);
        tx.put(Table::ReceiptDue, &message_key(&message), &value)?;
    }
    Ok(())
}

fn outbox(tx: &dyn Transaction, own: &[u8]) -> Result<(), Error> {
    for entry in tx.scan(Log::Outbox, None, 0, usize::MAX)? {
        let OutboxRow2 { account, content, text_id, fresh_session_with, sealed } = decode(&entry.value, "the outbox")?;
        let recipient = account_id(&account)?;
        let row = OutboxRow { conversation: account, content, text_id, fresh_session_with, author: own.to_vec() };
        tx.replace(Log::Outbox, entry.place, &row.encode_to_vec())?;
        let mut outgoing = Outgoing::read(tx, tx.at(Log::Outbox, entry.place)?.ok_or_else(|| damaged("the outbox"))?)?;
        for SealedRow2 { id, device, ciphertext } in sealed {
            let device = DeviceId::new(device).map_err(|_| damaged("the outbox"))?;
            let recipient = Address { account: recipient, device };
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

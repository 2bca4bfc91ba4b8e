//! Mail that waits until something is known about its sender.
//!
//! | What waits | For | Then |
//! |---|---|---|
//! | mail from an account whose key changed, as it came | the owner to accept the key | it is opened under the new key |
//! | the content of mail from a device that the known list leaves out | the account's newest list | it is shown if that list names the device, else dropped |
//!
//! It was acknowledged: the relay has it no more, so it is kept here, within bounds, and for as long as a relay would.

use std::collections::BTreeSet;

use kuvert_types::limits::MAX_RETENTION_DAYS;
use kuvert_types::{AccountId, Address, DeviceCertificate, DeviceId, UnverifiedDeviceCertificate};
use prost::Message as _;

use super::incoming::Letter;
use crate::certain::age;
use crate::error::Error;
use crate::state::{self, HeldRow, received_key};
use crate::store::{Entry, Log, Transaction};

/// Envelopes that are held for one account.
pub(super) const MAX_HELD_PER_ACCOUNT: usize = 256;

/// Envelopes that are held in all; at most 96 MiB, since only contacts' mail is held.
const MAX_HELD: u64 = 1_024;

/// How long: what the relay would have kept it for.
const KEEP_HELD_MS: u64 = MAX_RETENTION_DAYS as u64 * 24 * 60 * 60 * 1000;

/// An envelope that was held.
pub(super) enum Held {
    /// Not opened yet.
    Letter(Letter),
    /// Opened, under a certificate that the list did not name.
    Content(Address, Box<DeviceCertificate>, Vec<u8>),
}

/// Holds an envelope as it came. Whether there was room.
pub(super) fn letter(tx: &dyn Transaction, letter: &Letter, now: u64) -> Result<bool, Error> {
    let row = HeldRow { ciphertext: letter.ciphertext.to_vec(), ..row(letter, now) };
    put(tx, letter, &row)
}

/// Holds a content that was opened under a certificate. Whether there was room.
pub(super) fn content(
    tx: &dyn Transaction,
    letter: &Letter,
    certificate: &DeviceCertificate,
    content: &[u8],
    now: u64,
) -> Result<bool, Error> {
    let certificate = certificate.encode().to_vec();
    put(tx, letter, &HeldRow { content: content.to_vec(), certificate, ..row(letter, now) })
}

fn row(letter: &Letter, now: u64) -> HeldRow {
    let Letter { id, source, .. } = letter;
    HeldRow { id: id.as_bytes().to_vec(), device: source.device.get(), held_at: now, ..HeldRow::default() }
}

fn put(tx: &dyn Transaction, letter: &Letter, row: &HeldRow) -> Result<bool, Error> {
    let group = letter.source.account;
    let theirs = tx.scan(Log::Held, Some(group.as_bytes()), 0, MAX_HELD_PER_ACCOUNT)?.len();
    if theirs >= MAX_HELD_PER_ACCOUNT || tx.len(Log::Held)? >= MAX_HELD {
        return Ok(false);
    }
    // One that is there already was delivered again.
    tx.append(Log::Held, group.as_bytes(), &received_key(&letter.source, &letter.id), &row.encode_to_vec())?;
    Ok(true)
}

/// Takes out what is held for an account, in order of arrival.
pub(super) fn take(tx: &dyn Transaction, account: &AccountId) -> Result<Vec<Held>, Error> {
    let mut held = Vec::new();
    for entry in tx.scan(Log::Held, Some(account.as_bytes()), 0, usize::MAX)? {
        tx.remove(Log::Held, entry.place)?;
        held.push(read(account, &entry)?);
    }
    Ok(held)
}

/// Accounts of which contents wait for a newer device list.
pub(super) fn waiting_for_a_list(tx: &dyn Transaction) -> Result<BTreeSet<AccountId>, Error> {
    let mut accounts = BTreeSet::new();
    for entry in tx.scan(Log::Held, None, 0, usize::MAX)? {
        if let Some(account) = entry.key.get(..AccountId::LEN)
            && !decode(&entry)?.content.is_empty()
        {
            accounts.insert(state::account_id(account)?);
        }
    }
    Ok(accounts)
}

/// Drops what was held for too long; how many envelopes.
pub(super) fn expire(tx: &dyn Transaction, now: u64) -> Result<u64, Error> {
    let mut expired = 0;
    for entry in tx.scan(Log::Held, None, 0, usize::MAX)? {
        if age(Some(now), decode(&entry)?.held_at) > KEEP_HELD_MS {
            tx.remove(Log::Held, entry.place)?;
            expired += 1;
        }
    }
    Ok(expired)
}

fn decode(entry: &Entry) -> Result<HeldRow, Error> {
    HeldRow::decode(entry.value.as_slice()).map_err(|_| state::damaged("held mail"))
}

/// Whether an entry of held mail can be read.
pub(crate) fn is_readable(entry: &Entry) -> bool {
    let account = entry.key.get(..AccountId::LEN).and_then(|bytes| state::account_id(bytes).ok());
    account.is_some_and(|account| read(&account, entry).is_ok())
}

fn read(account: &AccountId, entry: &Entry) -> Result<Held, Error> {
    let damaged = || state::damaged("held mail");
    let row = decode(entry)?;
    let device = DeviceId::new(row.device).map_err(|_| damaged())?;
    let source = Address { account: *account, device };
    if row.content.is_empty() {
        return Ok(Held::Letter(Letter::new(state::envelope_id(&row.id)?, source, row.ciphertext.into(), None)));
    }
    let certificate = UnverifiedDeviceCertificate::decode(&row.certificate).map_err(|_| damaged())?;
    let certificate = certificate.verify().map_err(|_| damaged())?;
    Ok(Held::Content(source, Box::new(certificate), row.content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Mode, Store};
    use kuvert_types::EnvelopeId;

    const NOW: u64 = 1_800_000_000_000;
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    fn from(account: u8, number: u32) -> Letter {
        let source = Address { account: AccountId::from_bytes([account; 16]), device: DeviceId::PRIMARY };
        let id = EnvelopeId::from_bytes([&number.to_be_bytes()[..], &[0; 12]].concat().try_into().unwrap());
        Letter::new(id, source, vec![9; 10].into(), None)
    }

    #[test]
    fn so_many_are_held_for_an_account_and_in_all_and_each_once() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        let hold = |account, number| letter(&*tx, &from(account, number), NOW).unwrap();
        let numbers = |count: usize| 0..u32::try_from(count).unwrap();
        assert!(numbers(MAX_HELD_PER_ACCOUNT - 1).all(|number| hold(1, number)));
        assert!(hold(1, 0) && tx.len(Log::Held).unwrap() == MAX_HELD_PER_ACCOUNT as u64 - 1, "delivered again");
        assert!(hold(1, 999) && !hold(1, 1_000));
        for account in 2..=4 {
            assert!(numbers(MAX_HELD_PER_ACCOUNT).all(|number| hold(account, number)));
        }
        assert!(!hold(5, 0), "full for all");
        let held = take(&*tx, &AccountId::from_bytes([1; 16])).unwrap();
        assert_eq!(held.len(), MAX_HELD_PER_ACCOUNT);
        assert!(held.iter().all(|held| matches!(held, Held::Letter(letter) if letter.ciphertext[..] == [9; 10])));
        assert!(take(&*tx, &AccountId::from_bytes([1; 16])).unwrap().is_empty());
        assert!(hold(5, 0));
    }

    #[test]
    fn contents_wait_for_a_list_and_letters_for_a_key() {
        use kuvert_protocol::identity::{AccountSecret, DeviceSecrets};

        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        let mut rng = crate::rng::system_rng();
        let (account, keys) = (AccountSecret::generate(&mut rng), DeviceSecrets::generate(&mut rng));
        let (first, second) = (from(1, 1), from(2, 1));
        let certificate = keys.certify(&account, second.source);
        assert!(letter(&*tx, &first, NOW).unwrap());
        assert!(content(&*tx, &second, &certificate, b"what it says", NOW).unwrap());
        let waiting: Vec<AccountId> = waiting_for_a_list(&*tx).unwrap().into_iter().collect();
        assert_eq!(waiting, [second.source.account]);
        let held = take(&*tx, &second.source.account).unwrap();
        assert!(matches!(&held[..], [Held::Content(source, under, bytes)]
            if *source == second.source && **under == certificate && bytes == b"what it says"));
    }

    #[test]
    fn what_is_held_goes_after_thirty_days() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        assert!(letter(&*tx, &from(1, 1), NOW).unwrap() && letter(&*tx, &from(1, 2), NOW + 1).unwrap());
        assert_eq!(expire(&*tx, NOW + 30 * DAY_MS).unwrap(), 0);
        assert_eq!(expire(&*tx, NOW + 30 * DAY_MS + 1).unwrap(), 1);
        assert_eq!(take(&*tx, &AccountId::from_bytes([1; 16])).unwrap().len(), 1);
    }
}

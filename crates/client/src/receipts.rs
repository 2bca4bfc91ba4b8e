//! Receipts that wait to be sent. At once, or each held back for a random time of its own: a receipt that follows its message
//! within a moment tells the relay who answers whom, whether or not the envelope names its sender.
//!
//! When one is due stands in the store, by this machine's clock: it outlives the process, and goes out with the first flush
//! after that time, in whichever process.

use std::collections::HashMap;

use kuvert_types::AccountId;

use crate::conversation::MessageRef;
use crate::disclosure;
use crate::error::Error;
use crate::event::ReceiptKind;
use crate::records::Receipts;
use crate::rng;
use crate::state::{self, message_key, message_of_key};
use crate::store::{Table, Transaction};

/// A receipt that is held back comes within this time, each moment of it as likely as any other.
pub const MAX_DELAY_MS: u64 = 60 * 1000;

/// Notes a receipt for a text.
pub fn note(tx: &dyn Transaction, message: &MessageRef, kind: ReceiptKind, now: u64) -> Result<(), Error> {
    match disclosure::row(tx)?.receipts() {
        Receipts::Off => Ok(()),
        Receipts::Now => put(tx, message, kind, None),
        Receipts::Late => put(tx, message, kind, Some(now.saturating_add(delay()))),
    }
}

/// Notes a receipt for a session reset. It is sent even if no others are: without it the reset would be repeated for ever.
pub fn note_reset(tx: &dyn Transaction, reset: &MessageRef, now: u64) -> Result<(), Error> {
    let at_once = disclosure::row(tx)?.receipts() == Receipts::Now;
    put(tx, reset, ReceiptKind::Delivered, (!at_once).then(|| now.saturating_add(delay())))
}

fn put(tx: &dyn Transaction, message: &MessageRef, kind: ReceiptKind, due: Option<u64>) -> Result<(), Error> {
    let kind = match kind {
        ReceiptKind::Delivered => 1,
        ReceiptKind::Read => 2,
    };
    let value = match due {
        None => vec![kind],
        Some(due) => [&[kind][..], &due.to_be_bytes()].concat(),
    };
    Ok(tx.put(Table::ReceiptDue, &message_key(message), &value)?)
}

/// 0 to [`MAX_DELAY_MS`], uniform.
fn delay() -> u64 {
    let random = u64::from(u32::from_be_bytes(rng::bytes()));
    (random * (MAX_DELAY_MS + 1)) >> 32
}

/// A receipt that waits.
struct Waiting {
    message: MessageRef,
    read: bool,
    due: u64,
}

impl Waiting {
    /// How long it still has to wait. A clock that was set back does not put it off for longer than it could be at first.
    fn left(&self, now: u64) -> u64 {
        match self.due.saturating_sub(now) {
            left @ 0..=MAX_DELAY_MS => left,
            _ => 0,
        }
    }
}

fn read(key: &[u8], value: &[u8]) -> Result<Waiting, Error> {
    let damaged = || state::damaged("receipts");
    let (kind, due) = value.split_first().ok_or_else(damaged)?;
    let due = if due.is_empty() { 0 } else { due.try_into().map(u64::from_be_bytes).map_err(|_| damaged())? };
    Ok(Waiting { message: message_of_key(key)?, read: *kind == 2, due })
}

/// Whether a row of a receipt that waits can be read.
pub fn is_readable(key: &[u8], value: &[u8]) -> bool {
    read(key, value).is_ok()
}

fn waiting(tx: &dyn Transaction) -> Result<Vec<Waiting>, Error> {
    tx.list(Table::ReceiptDue)?.iter().map(|(key, value)| read(key, value)).collect()
}

/// The receipts whose time has come, by the account that gets them; whether each is for reading.
pub fn due(tx: &dyn Transaction, now: u64) -> Result<HashMap<AccountId, Vec<(MessageRef, bool)>>, Error> {
    let mut due: HashMap<AccountId, Vec<(MessageRef, bool)>> = HashMap::new();
    for receipt in waiting(tx)?.into_iter().filter(|receipt| receipt.left(now) == 0) {
        due.entry(receipt.message.author).or_default().push((receipt.message, receipt.read));
    }
    Ok(due)
}

/// How many milliseconds from now the next held-back receipt is due. `None` if none is held back.
pub fn next(tx: &dyn Transaction, now: u64) -> Result<Option<u64>, Error> {
    if tx.count(Table::ReceiptDue)? == 0 {
        return Ok(None);
    }
    Ok(waiting(tx)?.iter().map(|receipt| receipt.left(now)).filter(|left| *left > 0).min())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kuvert_types::{EnvelopeId, Level};

    use crate::store::memory::MemoryStore;
    use crate::store::{Mode, Store};

    const NOW: u64 = 1_800_000_000_000;

    fn message(number: u8) -> MessageRef {
        MessageRef::of_contact(AccountId::from_bytes([1; 16]), EnvelopeId::from_bytes([number; 16]))
    }

    fn count_due(tx: &dyn Transaction, now: u64) -> usize {
        due(tx, now).unwrap().values().map(Vec::len).sum()
    }

    #[test]
    fn late_receipts_come_one_by_one_within_a_minute() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        disclosure::set_level(&*tx, Level::L3, NOW).unwrap();
        for number in 0..100 {
            note(&*tx, &message(number), ReceiptKind::Delivered, NOW).unwrap();
        }
        let shares: Vec<usize> = (0..=4).map(|quarter| count_due(&*tx, NOW + quarter * MAX_DELAY_MS / 4)).collect();
        assert!(shares[0] < 5 && shares.is_sorted() && shares[4] == 100, "{shares:?}");
        // Uniform: the chance that fewer than 5 or more than 48 of 100 fall into the first quarter is below 1 in 10^6.
        assert!((5..49).contains(&shares[1]), "{shares:?}");
        assert!(next(&*tx, NOW).unwrap().unwrap() <= MAX_DELAY_MS);
        assert_eq!(next(&*tx, NOW + MAX_DELAY_MS).unwrap(), None, "all are due");
        // A clock that was set back by a year.
        assert_eq!(count_due(&*tx, NOW - 365 * 86_400_000), 100);
    }

    #[test]
    fn what_was_chosen_counts_more_than_the_level() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        note(&*tx, &message(1), ReceiptKind::Read, NOW).unwrap();
        assert_eq!(count_due(&*tx, NOW), 1, "at once");
        disclosure::set_receipts(&*tx, Receipts::Off).unwrap();
        note(&*tx, &message(2), ReceiptKind::Read, NOW).unwrap();
        assert_eq!(count_due(&*tx, NOW + MAX_DELAY_MS), 1, "none is noted");
        note_reset(&*tx, &message(3), NOW).unwrap();
        assert_eq!(count_due(&*tx, NOW + MAX_DELAY_MS), 2, "a session's own are");
        disclosure::set_level(&*tx, Level::L3, NOW).unwrap();
        assert_eq!(disclosure::row(&*tx).unwrap().receipts(), Receipts::Off);
        disclosure::set_receipts(&*tx, Receipts::Now).unwrap();
        assert_eq!(disclosure::row(&*tx).unwrap().receipts(), Receipts::Now);
    }
}

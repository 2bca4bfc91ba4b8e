//! What a lane keeps in memory of its slots, so that judging a submit asks no server: the accounts that were written to, with
//! whom they block, and the mailboxes with what waits in them, as [`Mailbox`] keeps it. It holds good as long as the lane holds
//! its slots, because none else writes them; with a new epoch it begins empty.
//!
//! What was not used for a while is forgotten when there is too much of it, and read again when it is needed.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kuvert_relay::mailbox::{Entry, Mailbox, Sender};
use kuvert_relay::store::StoredAccessKey;
use kuvert_types::{AccessKeyHash, AccountId, Address, DeviceId, EnvelopeId};

/// `device.mailbox`: a short name for an address.
pub type MailboxNumber = i64;

/// Accounts that are kept, of some hundred bytes each, of which those that block others have more.
const MAX_ACCOUNTS: usize = 200_000;

/// Waiting envelopes that are kept, of 16 bytes each.
const MAX_ENTRIES: usize = 4_000_000;

/// Mailboxes whose refusals are counted.
const MAX_REFUSING: usize = 100_000;

/// The cache, shared by a lane and those who ask for an access key.
#[derive(Clone, Default)]
pub struct SharedCache(Arc<Mutex<Cache>>);

impl SharedCache {
    /// For a moment: nothing waits while it is held.
    pub fn lock(&self) -> MutexGuard<'_, Cache> {
        // No method leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's head.
#[derive(Default)]
pub struct Cache {
    accounts: HashMap<AccountId, Facts>,
    boxes: HashMap<MailboxNumber, Waiting>,
    /// Entries in all boxes together.
    entries: usize,
    /// What was used since it last rose stays when room is made.
    generation: u64,
    refused: HashMap<Address, u64>,
    /// Keys the tags, so that a sender cannot make ids whose tags collide.
    tags: RandomState,
}

/// An account that exists.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its access key.
    pub key: Option<StoredAccessKey>,
    /// Whose mail it does not want.
    pub blocked: HashSet<AccountId>,
    /// Its devices and their mailboxes.
    pub devices: HashMap<DeviceId, MailboxNumber>,
    /// When it was used last, in generations of the cache.
    pub(super) used: u64,
}

/// What waits in a mailbox.
#[derive(Debug, Default)]
pub struct Waiting {
    /// As the rules need it.
    pub mailbox: Mailbox,
    /// No envelope of it is kept in the part of an earlier day.
    pub first_day: i32,
    used: u64,
}

impl Cache {
    /// Forgets everything but what it counted.
    pub fn clear(&mut self) {
        self.accounts.clear();
        self.boxes.clear();
        self.entries = 0;
    }

    /// Makes room if there is too much, before a batch that needs what it needs.
    pub fn make_room(&mut self) {
        if self.refused.len() > MAX_REFUSING {
            self.refused.clear();
        }
        if self.accounts.len() <= MAX_ACCOUNTS && self.entries <= MAX_ENTRIES {
            return;
        }
        let generation = self.generation;
        self.accounts.retain(|_, facts| facts.used == generation);
        self.boxes.retain(|_, waiting| waiting.used == generation);
        self.generation += 1;
        self.entries = self.boxes.values().map(|waiting| entries(&waiting.mailbox)).sum();
        if self.accounts.len() > MAX_ACCOUNTS / 2 || self.entries > MAX_ENTRIES / 2 {
            self.clear();
        }
    }

    /// An account that is in memory.
    pub fn facts(&mut self, account: &AccountId) -> Option<&mut Facts> {
        let generation = self.generation;
        let facts = self.accounts.get_mut(account)?;
        facts.used = generation;
        Some(facts)
    }

    /// What was read of an account.
    pub fn put_facts(&mut self, account: AccountId, facts: Facts) {
        self.accounts.insert(account, Facts { used: self.generation, ..facts });
    }

    /// It ended, or must be read again.
    pub fn forget_account(&mut self, account: &AccountId) {
        for number in self.accounts.remove(account).into_iter().flat_map(|facts| facts.devices.into_values()) {
            self.forget_box(number);
        }
    }

    /// A mailbox that is in memory.
    pub fn waiting(&mut self, number: MailboxNumber) -> Option<&mut Waiting> {
        let generation = self.generation;
        let waiting = self.boxes.get_mut(&number)?;
        waiting.used = generation;
        Some(waiting)
    }

    /// Whether a mailbox is in memory.
    pub fn has_box(&self, number: MailboxNumber) -> bool {
        self.boxes.contains_key(&number)
    }

    /// What was read of a mailbox.
    pub fn put_box(&mut self, number: MailboxNumber, mailbox: Mailbox, first_day: i32) {
        self.forget_box(number);
        self.entries += entries(&mailbox);
        self.boxes.insert(number, Waiting { mailbox, first_day, used: self.generation });
    }

    /// A mailbox must be read again.
    pub fn forget_box(&mut self, number: MailboxNumber) {
        if let Some(waiting) = self.boxes.remove(&number) {
            self.entries = self.entries.saturating_sub(entries(&waiting.mailbox));
        }
    }

    /// Appends an envelope to a mailbox that is in memory.
    pub fn push(&mut self, number: MailboxNumber, entry: Entry, day: i32) {
        if let Some(waiting) = self.waiting(number) {
            if waiting.mailbox.waiting(u64::MAX).0 == 0 {
                waiting.first_day = day;
            }
            waiting.first_day = waiting.first_day.min(day);
            waiting.mailbox.push(entry);
            self.entries += 1;
        }
    }

    /// Takes the envelopes up to a cursor out of a mailbox, if it is in memory.
    pub fn acknowledge(&mut self, number: MailboxNumber, up_to: u64) {
        if let Some(waiting) = self.boxes.get_mut(&number) {
            let taken = waiting.mailbox.acknowledge(up_to).len();
            self.entries = self.entries.saturating_sub(taken);
        }
    }

    /// Takes out one that expired.
    pub fn expire(&mut self, number: MailboxNumber, cursor: u64) {
        let gone = self.boxes.get_mut(&number).and_then(|waiting| waiting.mailbox.expire(cursor));
        self.entries = self.entries.saturating_sub(usize::from(gone.is_some()));
    }

    /// Of an id and the device that submitted it under its name, if one did.
    pub fn tag(&self, id: &EnvelopeId, source: Option<&Address>) -> u32 {
        // Any 32 of the 64 bits are as good as any other.
        self.tags.hash_one((id, source)) as u32
    }

    /// An envelope did not fit.
    pub fn note_refused(&mut self, mailbox: Address) {
        let count = self.refused.entry(mailbox).or_default();
        *count = count.saturating_add(1);
    }

    /// How many did not fit since this was asked last.
    pub fn take_refused(&mut self, mailbox: &Address) -> u64 {
        self.refused.remove(mailbox).unwrap_or_default()
    }
}

impl Facts {
    /// Whose share an envelope for `to`, which this is, counts for, and whether the account has blocked its source.
    pub fn judge(&self, to: &AccountId, source: Option<Address>, key: Option<&AccessKeyHash>) -> (Sender, bool) {
        let Some(source) = source else { return (Sender::Sealed, false) };
        // An account's own devices write to each other.
        let contact =
            source.account == *to || key.is_some_and(|key| StoredAccessKey::opens(self.key.as_ref(), key).into());
        (Sender::of(Some(source), contact), self.blocked.contains(&source.account))
    }
}

fn entries(mailbox: &Mailbox) -> usize {
    usize::try_from(mailbox.waiting(u64::MAX).0).unwrap_or(usize::MAX)
}

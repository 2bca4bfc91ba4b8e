//! What the store keeps in memory: a number for each address, the [`Mailbox`] of each device for which something waits, and
//! of each account its access key and whom it blocks, so that judging a submit asks no database. The writer changes it while
//! a transaction is open and undoes that when the transaction fails; readers see only cursors that were committed.

use std::collections::hash_map::{Entry as Slot, RandomState};
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kuvert_relay::mailbox::{Entry, Mailbox, Sender};
use kuvert_relay::store::{FullMailbox, Gauges, StoredAccessKey, StoredEnvelope, Waiting};
use kuvert_types::{AccessKeyHash, AccountId, Address, EnvelopeId};
use rusqlite::{Connection, Row};

use super::OpenError;
use super::accounts::device_number;
use super::column::{account, address, unsigned};
use super::envelopes::Eras;
use super::recent::Recent;
use super::schema::{is_damage, store_error};

/// `device.mailbox`: a short name for an address.
pub type MailboxNumber = u32;

/// The index, shared by all threads of a store.
#[derive(Clone)]
pub struct SharedIndex(Arc<Mutex<Index>>);

impl SharedIndex {
    pub fn lock(&self) -> MutexGuard<'_, Index> {
        // No method of Index leaves it half changed: a panic elsewhere is no reason to stop serving.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's head.
pub struct Index {
    addresses: HashMap<Address, MailboxNumber>,
    /// Without the ones that have nothing to remember, except within a transaction.
    mailboxes: HashMap<MailboxNumber, Mailbox>,
    /// Without the accounts that have neither an access key nor blocked another.
    accounts: HashMap<AccountId, Wishes>,
    /// The highest cursor that was committed.
    visible: u64,
    /// Envelopes and bytes that wait in all mailboxes.
    waiting: (u64, u64),
    recent: Recent,
    /// Keys the tags, so that a sender cannot make ids whose tags collide.
    tags: RandomState,
}

/// Whose mail an account wants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wishes {
    key: Option<StoredAccessKey>,
    blocked: BTreeSet<AccountId>,
}

/// How to take back one change.
pub enum Undo {
    Pushed(MailboxNumber, Entry),
    Removed(MailboxNumber, Entry),
    Expired(MailboxNumber, Entry),
    ExpiredSet(MailboxNumber, u64),
    Registered(Address),
    Unregistered(Address, MailboxNumber),
    KeySet(AccountId, Option<StoredAccessKey>),
    BlockedSet { account: AccountId, other: AccountId, before: bool },
    WishesForgotten(AccountId, Wishes),
}

impl Index {
    pub fn number(&self, address: &Address) -> Option<MailboxNumber> {
        self.addresses.get(address).copied()
    }

    pub fn mailbox(&self, number: MailboxNumber) -> Option<&Mailbox> {
        self.mailboxes.get(&number)
    }

    /// The mailbox, to be changed. What changes it notes how to undo that.
    pub fn mailbox_mut(&mut self, number: MailboxNumber) -> &mut Mailbox {
        self.mailboxes.entry(number).or_default()
    }

    pub fn register(&mut self, address: Address, number: MailboxNumber) {
        self.addresses.insert(address, number);
    }

    pub fn unregister(&mut self, address: &Address) {
        self.addresses.remove(address);
    }

    /// Of an id and the device that submitted it under its name, if one did: to another device the id is another one.
    pub fn tag(&self, id: &EnvelopeId, source: Option<&Address>) -> u32 {
        // Any 32 of the 64 bits are as good as any other.
        self.tags.hash_one((id, source)) as u32
    }

    /// Whose share an envelope for this account counts for, and whether the account has blocked its source.
    pub fn judge(&self, to: &AccountId, source: Option<Address>, key: Option<&AccessKeyHash>) -> (Sender, bool) {
        let Some(source) = source else { return (Sender::Sealed, false) };
        let wishes = self.accounts.get(to);
        let stored = wishes.and_then(|wishes| wishes.key.as_ref());
        // An account's own devices write to each other.
        let contact = source.account == *to || key.is_some_and(|key| StoredAccessKey::opens(stored, key).into());
        let blocked = wishes.is_some_and(|wishes| wishes.blocked.contains(&source.account));
        (Sender::of(Some(source), contact), blocked)
    }

    /// What is kept of the access key of a mailbox's account.
    pub fn access_key(&self, mailbox: &Address) -> Option<StoredAccessKey> {
        self.number(mailbox).and_then(|_| self.accounts.get(&mailbox.account)?.key)
    }

    /// Sets it. Returns what was there before.
    pub fn set_access_key(&mut self, account: AccountId, key: Option<StoredAccessKey>) -> Option<StoredAccessKey> {
        self.change_wishes(account, |wishes| std::mem::replace(&mut wishes.key, key))
    }

    /// How many others the account blocks, and whether this one is among them.
    pub fn blocks(&self, account: &AccountId, other: &AccountId) -> (usize, bool) {
        let blocked = self.accounts.get(account).map(|wishes| &wishes.blocked);
        blocked.map_or((0, false), |blocked| (blocked.len(), blocked.contains(other)))
    }

    pub fn set_blocked(&mut self, account: AccountId, other: AccountId, blocked: bool) {
        self.change_wishes(
            account,
            |wishes| {
                if blocked { wishes.blocked.insert(other) } else { wishes.blocked.remove(&other) }
            },
        );
    }

    /// The account goes away.
    pub fn forget_wishes(&mut self, account: &AccountId) -> Option<Wishes> {
        self.accounts.remove(account)
    }

    fn change_wishes<T>(&mut self, account: AccountId, change: impl FnOnce(&mut Wishes) -> T) -> T {
        match self.accounts.entry(account) {
            Slot::Occupied(mut slot) => {
                let before = change(slot.get_mut());
                if *slot.get() == Wishes::default() {
                    slot.remove();
                }
                before
            }
            Slot::Vacant(slot) => {
                let mut wishes = Wishes::default();
                let before = change(&mut wishes);
                if wishes != Wishes::default() {
                    slot.insert(wishes);
                }
                before
            }
        }
    }

    /// Whether mail did not fit since this was asked last, and whose mail takes the most room.
    pub fn take_full(&mut self, mailbox: &Address) -> Option<FullMailbox> {
        let number = self.number(mailbox)?;
        let mailbox = self.mailboxes.get_mut(&number)?;
        let refused = mailbox.take_refused();
        let full = (refused > 0).then(|| FullMailbox { refused, largest: mailbox.largest() });
        if mailbox.is_empty() {
            self.mailboxes.remove(&number);
        }
        full
    }

    /// Which envelopes of a mailbox make a page of [`kuvert_relay::store::Store::read`], and whether there are more.
    pub fn page(&self, mailbox: &Address, after: u64, limit: usize, max_bytes: usize) -> (Vec<u64>, bool) {
        let Some(mailbox) = self.number(mailbox).and_then(|number| self.mailbox(number)) else {
            return (Vec::new(), false);
        };
        let mut cursors = Vec::new();
        let mut bytes = 0;
        for entry in mailbox.behind(after, self.visible) {
            bytes += entry.size as usize;
            if cursors.len() >= limit || (bytes > max_bytes && !cursors.is_empty()) {
                return (cursors, true);
            }
            cursors.push(entry.cursor);
        }
        (cursors, false)
    }

    /// Up to which cursor, at most `up_to`, about so many bytes wait in a mailbox; `None`: nothing does.
    pub fn cut(&self, mailbox: &Address, up_to: u64, bytes: u64) -> Option<u64> {
        let mailbox = self.number(mailbox).and_then(|number| self.mailbox(number))?;
        let mut sum = 0;
        let mut cut = None;
        for entry in mailbox.behind(0, up_to) {
            if sum >= bytes {
                break;
            }
            sum += u64::from(entry.size);
            cut = Some(entry.cursor);
        }
        cut
    }

    /// These envelopes, unless one of them is too old to be in memory.
    pub fn recent(&self, cursors: &[u64]) -> Option<Vec<StoredEnvelope>> {
        self.recent.get(cursors)
    }

    /// None of them is in memory any more.
    pub fn forget_recent(&mut self) {
        self.recent.clear();
    }

    pub fn waiting(&self, address: &Address) -> Waiting {
        let Some(mailbox) = self.number(address).and_then(|number| self.mailbox(number)) else {
            return Waiting::default();
        };
        let (count, bytes) = mailbox.waiting(self.visible);
        Waiting { count, bytes, expired: mailbox.expired() }
    }

    /// What can be told without looking at any mailbox.
    pub fn gauges(&self) -> Gauges {
        let (waiting, waiting_bytes) = self.waiting;
        Gauges { devices: self.addresses.len() as u64, waiting, waiting_bytes }
    }

    /// The changes were committed: everything up to `visible` may be read, `stored` last of all.
    pub fn commit(&mut self, changes: impl Iterator<Item = Undo>, stored: Vec<StoredEnvelope>, visible: u64) {
        self.visible = visible;
        stored.into_iter().for_each(|envelope| self.recent.push(envelope));
        for change in changes {
            let (count, bytes) = self.waiting;
            self.waiting = match &change {
                Undo::Pushed(_, entry) => (count + 1, bytes + u64::from(entry.size)),
                Undo::Removed(_, entry) | Undo::Expired(_, entry) => {
                    (count.saturating_sub(1), bytes.saturating_sub(entry.size.into()))
                }
                Undo::ExpiredSet(..)
                | Undo::Registered(_)
                | Undo::Unregistered(..)
                | Undo::KeySet(..)
                | Undo::BlockedSet { .. }
                | Undo::WishesForgotten(..) => (count, bytes),
            };
            if let Undo::Removed(number, _)
            | Undo::Expired(number, _)
            | Undo::ExpiredSet(number, _)
            | Undo::Unregistered(_, number) = change
                && self.mailbox(number).is_some_and(Mailbox::is_empty)
            {
                self.mailboxes.remove(&number);
            }
            if let Undo::Removed(_, entry) | Undo::Expired(_, entry) = change {
                self.recent.remove(entry.cursor);
            }
        }
    }

    /// The changes did not happen. Takes the latest first.
    pub fn undo(&mut self, changes: impl Iterator<Item = Undo>) {
        for change in changes {
            match change {
                Undo::Pushed(number, _) => self.mailbox_mut(number).undo_push(),
                Undo::Removed(number, entry) => self.mailbox_mut(number).undo_removal(entry),
                Undo::Expired(number, entry) => {
                    let mailbox = self.mailbox_mut(number);
                    mailbox.undo_removal(entry);
                    mailbox.acknowledge_expired(1);
                }
                Undo::ExpiredSet(number, before) => self.mailbox_mut(number).set_expired(before),
                Undo::Registered(address) => self.unregister(&address),
                Undo::Unregistered(address, number) => self.register(address, number),
                Undo::KeySet(account, before) => drop(self.set_access_key(account, before)),
                Undo::BlockedSet { account, other, before } => self.set_blocked(account, other, before),
                Undo::WishesForgotten(account, wishes) => drop(self.accounts.insert(account, wishes)),
            }
        }
    }
}

/// What is known of a store's content after opening it.
pub struct Loaded {
    pub index: SharedIndex,
    pub eras: Eras,
    /// No cursor from here on was ever given out.
    pub next_cursor: u64,
}

/// Rebuilds the index by one scan. Bodies are stepped over, not read into memory.
pub fn load(connection: &Connection, recent_bytes: usize) -> Result<Loaded, OpenError> {
    let mut index = Index {
        addresses: HashMap::new(),
        mailboxes: HashMap::new(),
        accounts: HashMap::new(),
        visible: 0,
        waiting: (0, 0),
        recent: Recent::new(recent_bytes),
        tags: RandomState::new(),
    };
    let mut eras = Eras::default();
    let next_cursor = scan(connection, &mut index, &mut eras).map_err(|error| store_error(&error))?;
    index.visible = next_cursor.saturating_sub(1);
    let waiting = index.mailboxes.values().map(|mailbox| mailbox.waiting(index.visible));
    index.waiting = waiting.fold((0, 0), |(count, bytes), one| (count + one.0, bytes + one.1));
    Ok(Loaded { index: SharedIndex(Arc::new(Mutex::new(index))), eras, next_cursor })
}

fn scan(connection: &Connection, index: &mut Index, eras: &mut Eras) -> rusqlite::Result<u64> {
    each(connection, "device", "SELECT mailbox, account, number FROM device", |row| {
        let address = Address { account: AccountId::from_bytes(row.get(1)?), device: device_number(row, 2)? };
        index.register(address, row.get(0)?);
        Ok(())
    })?;
    let sql =
        "SELECT cursor, mailbox, id, accepted_at, length(ciphertext), source, contact FROM envelope ORDER BY cursor";
    let mut damaged = Vec::new();
    each(connection, "envelope", sql, |row| {
        let read = envelope(row, index);
        match read {
            Ok((entry, number, accepted_at)) => {
                index.mailbox_mut(number).push(entry);
                eras.push(entry.cursor, accepted_at);
                Ok(())
            }
            Err(error) => {
                damaged.push((row.get::<_, i64>(0)?, row.get::<_, MailboxNumber>(1).ok()));
                Err(error)
            }
        }
    })?;
    give_up(connection, &damaged)?;
    let sql = "SELECT id, access_key_hash, takes_sealed FROM account WHERE access_key_hash IS NOT NULL";
    each(connection, "account", sql, |row| {
        let key = StoredAccessKey { hash: row.get(1)?, sealed: row.get(2)? };
        index.set_access_key(account(row, 0)?, Some(key));
        Ok(())
    })?;
    each(connection, "blocked", "SELECT account, blocked FROM blocked", |row| {
        index.set_blocked(account(row, 0)?, account(row, 1)?, true);
        Ok(())
    })?;
    each(connection, "expired", "SELECT mailbox, count FROM expired", |row| {
        index.mailbox_mut(row.get(0)?).set_expired(unsigned(row, 1)?);
        Ok(())
    })?;
    connection.query_row("SELECT value FROM counter WHERE name = 'next_cursor'", [], |row| unsigned(row, 0))
}

/// What the index keeps of an envelope, its mailbox, and when it was accepted.
fn envelope(row: &Row<'_>, index: &Index) -> rusqlite::Result<(Entry, MailboxNumber, u64)> {
    let (cursor, id) = (unsigned(row, 0)?, EnvelopeId::from_bytes(row.get(2)?));
    let source = address(row, 5)?;
    let (tag, sender) = (index.tag(&id, source.as_ref()), Sender::of(source, row.get(6)?));
    Ok((Entry { cursor, size: row.get(4)?, tag, sender }, row.get(1)?, unsigned(row, 3)?))
}

/// Goes through rows. One that holds what cannot be must not keep the mail of all others: it is passed over and said.
fn each(
    connection: &Connection,
    table: &'static str,
    sql: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut damaged: u64 = 0;
    while let Some(row) = rows.next()? {
        match take(row) {
            Err(error) if is_damage(&error) => damaged += 1,
            taken => taken?,
        }
    }
    if damaged > 0 {
        tracing::error!(table, damaged, "rows cannot be read and are passed over: look after the disk");
    }
    Ok(())
}

/// Deletes envelopes that cannot be read, and has their devices told as of those that were deleted unread.
fn give_up(connection: &Connection, damaged: &[(i64, Option<MailboxNumber>)]) -> rusqlite::Result<()> {
    if damaged.is_empty() {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    for (cursor, number) in damaged {
        transaction.execute("DELETE FROM envelope WHERE cursor = ?1", [cursor])?;
        if let Some(number) = number {
            let sql = "INSERT INTO expired(mailbox, count) VALUES(?1, 1) ON CONFLICT DO UPDATE SET count = count + 1";
            transaction.execute(sql, [number])?;
        }
    }
    transaction.commit()
}

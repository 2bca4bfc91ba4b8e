//! The rules of a mailbox, without I/O: order of arrival, quota, acknowledgement, expiry.
//!
//! [`Mailbox`] knows of each waiting envelope its cursor, its size and a short tag of its id: 16 bytes, whatever the
//! envelope's size. Backends keep one for each mailbox in which something waits.
//!
//! Not its concern: the envelopes themselves (`store`), who may do what (`command`), delivery (`connection`).

mod expiry;

use std::collections::VecDeque;

use kuvert_types::limits::{MAX_MAILBOX_BYTES, MAX_MAILBOX_ENVELOPES};

pub use expiry::{MS_PER_DAY, accepted_before, expires_at};

use crate::store::error::MailboxFull;

/// What a mailbox remembers of one waiting envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its place; rises within the mailbox.
    pub cursor: u64,
    /// Bytes of ciphertext.
    pub size: u32,
    /// A keyed hash of its id. Equal ids have equal tags; different ones rarely do.
    pub tag: u32,
}

/// The waiting envelopes of one device in the order of arrival, and how many expired unread.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mailbox {
    /// Ascending by cursor.
    entries: VecDeque<Entry>,
    bytes: u64,
    expired: u64,
}

impl Mailbox {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.expired == 0
    }

    /// Envelopes and bytes that wait up to and including `visible`.
    pub fn waiting(&self, visible: u64) -> (u64, u64) {
        let hidden = self.entries.iter().rev().take_while(|entry| entry.cursor > visible);
        let (count, bytes) = hidden.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + u64::from(entry.size)));
        (self.entries.len() as u64 - count, self.bytes - bytes)
    }

    /// Envelopes that expired unread.
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// Whether an envelope of `size` bytes still fits.
    ///
    /// # Errors
    /// The quota that it would break.
    pub fn admit(&self, size: u32) -> Result<(), MailboxFull> {
        if self.entries.len() as u64 >= MAX_MAILBOX_ENVELOPES {
            Err(MailboxFull::Envelopes)
        } else if self.bytes + u64::from(size) > MAX_MAILBOX_BYTES {
            Err(MailboxFull::Bytes)
        } else {
            Ok(())
        }
    }

    /// The entries whose ids may be the one with this tag; the caller compares the ids.
    pub fn candidates(&self, tag: u32) -> impl Iterator<Item = Entry> + '_ {
        self.entries.iter().filter(move |entry| entry.tag == tag).copied()
    }

    /// Appends an envelope. Its cursor is higher than all before.
    pub fn push(&mut self, entry: Entry) {
        debug_assert!(self.entries.back().is_none_or(|last| last.cursor < entry.cursor));
        self.bytes += u64::from(entry.size);
        self.entries.push_back(entry);
    }

    /// The entries behind `after` up to and including `visible`, in order.
    pub fn behind(&self, after: u64, visible: u64) -> impl Iterator<Item = Entry> + '_ {
        let start = self.entries.partition_point(|entry| entry.cursor <= after);
        self.entries.range(start..).take_while(move |entry| entry.cursor <= visible).copied()
    }

    /// Takes out the entries up to and including `up_to`.
    pub fn acknowledge(&mut self, up_to: u64) -> Vec<Entry> {
        let count = self.entries.partition_point(|entry| entry.cursor <= up_to);
        let taken: Vec<_> = self.entries.drain(..count).collect();
        self.bytes -= taken.iter().map(|entry| u64::from(entry.size)).sum::<u64>();
        self.give_back_room();
        taken
    }

    /// Takes out the entry with this cursor, which expired, and counts it.
    pub fn expire(&mut self, cursor: u64) -> Option<Entry> {
        let index = self.entries.binary_search_by_key(&cursor, |entry| entry.cursor).ok()?;
        let entry = self.entries.remove(index)?;
        self.bytes -= u64::from(entry.size);
        self.expired += 1;
        self.give_back_room();
        Some(entry)
    }

    /// The device has told its user of `count` expired envelopes. Returns how many are left to tell.
    pub fn acknowledge_expired(&mut self, count: u64) -> u64 {
        self.expired = self.expired.saturating_sub(count);
        self.expired
    }

    /// Sets the number of expired envelopes, as read from storage.
    pub fn set_expired(&mut self, expired: u64) {
        self.expired = expired;
    }

    /// Takes the last envelope back out: its storing failed.
    pub fn undo_push(&mut self) {
        if let Some(entry) = self.entries.pop_back() {
            self.bytes -= u64::from(entry.size);
        }
    }

    /// Puts an entry back in its place: its deletion failed.
    pub fn undo_removal(&mut self, entry: Entry) {
        let index = self.entries.partition_point(|other| other.cursor < entry.cursor);
        self.entries.insert(index, entry);
        self.bytes += u64::from(entry.size);
    }

    /// A mailbox that was once full must not keep the memory for ever.
    fn give_back_room(&mut self) {
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.capacity() / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cursor: u64, size: u32) -> Entry {
        Entry { cursor, size, tag: cursor as u32 % 3 }
    }

    fn filled(cursors: impl IntoIterator<Item = u64>) -> Mailbox {
        let mut mailbox = Mailbox::default();
        for cursor in cursors {
            mailbox.push(entry(cursor, 10));
        }
        mailbox
    }

    #[test]
    fn acknowledging_takes_a_prefix() {
        let mut mailbox = filled([2, 5, 9]);
        assert_eq!(mailbox.acknowledge(1), []);
        assert_eq!(mailbox.acknowledge(5), [entry(2, 10), entry(5, 10)]);
        assert_eq!(mailbox.waiting(u64::MAX), (1, 10));
        assert_eq!(mailbox.acknowledge(u64::MAX), [entry(9, 10)]);
        assert!(mailbox.is_empty());
    }

    #[test]
    fn what_is_not_visible_is_neither_read_nor_counted() {
        let mailbox = filled([2, 5, 9]);
        assert_eq!(mailbox.waiting(5), (2, 20));
        assert_eq!(mailbox.waiting(1), (0, 0));
        assert_eq!(mailbox.behind(2, 5).collect::<Vec<_>>(), [entry(5, 10)]);
        assert_eq!(mailbox.behind(9, u64::MAX).count(), 0);
    }

    #[test]
    fn both_quotas_hold_to_the_last_envelope_and_byte() {
        let mut mailbox = filled(1..MAX_MAILBOX_ENVELOPES);
        assert_eq!(mailbox.admit(10), Ok(()));
        mailbox.push(entry(MAX_MAILBOX_ENVELOPES, 10));
        assert_eq!(mailbox.admit(10), Err(MailboxFull::Envelopes));

        let mut mailbox = Mailbox::default();
        mailbox.push(entry(1, MAX_MAILBOX_BYTES as u32 - 7));
        assert_eq!(mailbox.admit(7), Ok(()));
        assert_eq!(mailbox.admit(8), Err(MailboxFull::Bytes));
    }

    #[test]
    fn expired_envelopes_are_counted_until_told() {
        let mut mailbox = filled([2, 5, 9]);
        assert_eq!(mailbox.expire(5), Some(entry(5, 10)));
        assert_eq!(mailbox.expire(5), None);
        assert_eq!((mailbox.expired(), mailbox.waiting(u64::MAX)), (1, (2, 20)));
        mailbox.acknowledge(u64::MAX);
        assert!(!mailbox.is_empty(), "the count is still to be told");
        assert_eq!(mailbox.acknowledge_expired(7), 0);
        assert!(mailbox.is_empty());
    }

    #[test]
    fn undoing_restores_order_and_sums() {
        let before = filled([2, 5, 9]);
        let mut mailbox = before.clone();
        mailbox.push(entry(11, 3));
        mailbox.undo_push();
        let removed = mailbox.acknowledge(5);
        for entry in removed {
            mailbox.undo_removal(entry);
        }
        assert_eq!(mailbox, before);
    }

    #[test]
    fn an_emptied_mailbox_gives_its_memory_back() {
        let mut mailbox = filled(1..=20_000);
        for cursor in 1..=19_990 {
            mailbox.acknowledge(cursor);
        }
        assert!(mailbox.entries.capacity() <= 128, "{}", mailbox.entries.capacity());
    }
}

//! The rules of a mailbox, without I/O: order of arrival, shares, acknowledgement, expiry.
//!
//! [`Mailbox`] knows of each waiting envelope its cursor, its size, its sender and a short tag of its id: 16 bytes, whatever
//! the envelope's size. The sender is a place in a list of those of whom something waits, 28 bytes each. Backends keep a
//! mailbox for each device for which something waits.
//!
//! Not its concern: the envelopes themselves (`store`), who may do what (`command`), delivery (`connection`).

mod expiry;
pub mod share;

use std::cmp::Reverse;
use std::collections::VecDeque;

use kuvert_types::AccountId;
use kuvert_types::limits::{MAX_CIPHERTEXT_BYTES, MAX_MAILBOX_ENVELOPES, MAX_OCCUPANTS};

pub use expiry::{MS_PER_DAY, accepted_before, expires_at};
pub use share::{Amount, MailboxFull, Sender};

/// What a mailbox remembers of one waiting envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its place; rises within the mailbox.
    pub cursor: u64,
    /// Bytes of ciphertext.
    pub size: u32,
    /// A keyed hash of its id and of who may use that id. Equal ones have equal tags; different ones rarely do.
    pub tag: u32,
    /// Whose share it counts for.
    pub sender: Sender,
}

/// An [`Entry`] as it is kept: the sender is a place in the list of parties.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Packed {
    cursor: u64,
    tag: u32,
    /// The size above, the party in the lower [`PARTY_BITS`].
    size_and_party: u32,
}

/// Bits of a party's place: enough for as many senders as envelopes.
const PARTY_BITS: u32 = 15;

/// The last place. If a damaged database holds mail of more senders, they share it.
const LAST_PARTY: usize = (1 << PARTY_BITS) - 1;

/// A size beyond does not fit its bits; only a damaged database has one.
const MAX_SIZE: u32 = (1 << (u32::BITS - PARTY_BITS)) - 1;

const _: () = assert!(MAX_CIPHERTEXT_BYTES <= MAX_SIZE as usize && MAX_MAILBOX_ENVELOPES as usize <= LAST_PARTY);

impl Packed {
    fn new(entry: &Entry, party: usize) -> Self {
        let size = entry.size.min(MAX_SIZE);
        Self { cursor: entry.cursor, tag: entry.tag, size_and_party: size << PARTY_BITS | party.min(LAST_PARTY) as u32 }
    }

    const fn size(self) -> u32 {
        self.size_and_party >> PARTY_BITS
    }

    const fn party(self) -> usize {
        self.size_and_party as usize & LAST_PARTY
    }
}

/// A sender and what waits of it; nothing waits of one whose place is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Party {
    sender: Sender,
    envelopes: u32,
    bytes: u32,
}

impl Party {
    fn amount(&self) -> Amount {
        Amount { envelopes: self.envelopes.into(), bytes: self.bytes.into() }
    }
}

/// Whose mail takes how much room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Occupant {
    /// The account; `None`: all sealed mail together.
    pub account: Option<AccountId>,
    /// What waits.
    pub waiting: Amount,
}

/// The waiting envelopes of one device in the order of arrival, how many expired unread, and how often one did not fit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mailbox {
    /// Ascending by cursor.
    entries: VecDeque<Packed>,
    /// A place is taken by the same sender as long as something waits of it. The last one is taken.
    parties: Vec<Party>,
    /// Of all strangers together.
    strangers: Amount,
    bytes: u64,
    expired: u64,
    refused: u64,
}

impl Mailbox {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.expired == 0 && self.refused == 0
    }

    /// Envelopes and bytes that wait up to and including `visible`.
    pub fn waiting(&self, visible: u64) -> (u64, u64) {
        let hidden = self.entries.iter().rev().take_while(|entry| entry.cursor > visible);
        let (count, bytes) = hidden.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + u64::from(entry.size())));
        (self.entries.len() as u64 - count, self.bytes - bytes)
    }

    /// Envelopes that expired unread.
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// Whether an envelope of `size` bytes of this sender's still fits.
    ///
    /// # Errors
    /// The bound that it would break.
    pub fn admit(&self, sender: Sender, size: u32) -> Result<(), MailboxFull> {
        let waiting = share::Waiting {
            all: Amount { envelopes: self.entries.len() as u64, bytes: self.bytes },
            strangers: self.strangers,
            own: self.find(sender).0.and_then(|place| self.parties.get(place)).map_or(Amount::default(), Party::amount),
        };
        share::admit(sender, &waiting, size)
    }

    /// An envelope did not fit: the owner is to hear of it.
    pub fn note_refused(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }

    /// How many envelopes did not fit since this was asked last.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Those whose mail takes the most bytes, at most [`MAX_OCCUPANTS`], the largest first.
    pub fn largest(&self) -> Vec<Occupant> {
        let mut occupants: Vec<_> = self
            .parties
            .iter()
            .filter(|party| party.envelopes > 0)
            .map(|party| Occupant { account: party.sender.account(), waiting: party.amount() })
            .collect();
        // An account can have mail from before it had the access key, and from since then.
        occupants.sort_unstable_by_key(|occupant| occupant.account);
        occupants.dedup_by(|later, first| {
            let same = later.account == first.account;
            if same {
                first.waiting = first.waiting.and(later.waiting);
            }
            same
        });
        occupants.sort_by_key(|occupant| Reverse((occupant.waiting.bytes, occupant.waiting.envelopes)));
        occupants.truncate(MAX_OCCUPANTS);
        occupants
    }

    /// The entries whose ids may be the one with this tag; the caller compares the ids.
    pub fn candidates(&self, tag: u32) -> impl Iterator<Item = Entry> + '_ {
        self.entries.iter().filter(move |entry| entry.tag == tag).map(|entry| self.unpacked(*entry))
    }

    /// Appends an envelope. Its cursor is higher than all before.
    pub fn push(&mut self, entry: Entry) {
        debug_assert!(self.entries.back().is_none_or(|last| last.cursor < entry.cursor));
        let packed = self.count_in(&entry);
        self.entries.push_back(packed);
    }

    /// The entries behind `after` up to and including `visible`, in order.
    pub fn behind(&self, after: u64, visible: u64) -> impl Iterator<Item = Entry> + '_ {
        let start = self.entries.partition_point(|entry| entry.cursor <= after);
        self.entries.range(start..).take_while(move |entry| entry.cursor <= visible).map(|entry| self.unpacked(*entry))
    }

    /// Takes out the entries up to and including `up_to`.
    pub fn acknowledge(&mut self, up_to: u64) -> Vec<Entry> {
        let count = self.entries.partition_point(|entry| entry.cursor <= up_to);
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            taken.extend(self.entries.pop_front().map(|packed| self.count_out(packed)));
        }
        self.give_back_room();
        taken
    }

    /// Takes out the entry with this cursor, which expired, and counts it.
    pub fn expire(&mut self, cursor: u64) -> Option<Entry> {
        let index = self.entries.binary_search_by_key(&cursor, |entry| entry.cursor).ok()?;
        let entry = self.entries.remove(index).map(|packed| self.count_out(packed))?;
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
        if let Some(packed) = self.entries.pop_back() {
            self.count_out(packed);
        }
    }

    /// Puts an entry back in its place: its deletion failed.
    pub fn undo_removal(&mut self, entry: Entry) {
        let index = self.entries.partition_point(|other| other.cursor < entry.cursor);
        let packed = self.count_in(&entry);
        self.entries.insert(index, packed);
    }

    fn unpacked(&self, packed: Packed) -> Entry {
        // Whoever has mail here has a place.
        let sender = self.parties.get(packed.party()).map_or(Sender::Sealed, |party| party.sender);
        Entry { cursor: packed.cursor, size: packed.size(), tag: packed.tag, sender }
    }

    fn count_in(&mut self, entry: &Entry) -> Packed {
        let place = self.place(entry.sender);
        let packed = Packed::new(entry, place);
        if let Some(party) = self.parties.get_mut(place) {
            party.envelopes += 1;
            party.bytes += packed.size();
            if let Sender::Stranger(_) = party.sender {
                self.strangers = self.strangers.and(Amount::one(packed.size()));
            }
        }
        self.bytes += u64::from(packed.size());
        packed
    }

    fn count_out(&mut self, packed: Packed) -> Entry {
        let entry = self.unpacked(packed);
        if let Some(party) = self.parties.get_mut(packed.party()) {
            party.envelopes -= 1;
            party.bytes -= packed.size();
            if let Sender::Stranger(_) = party.sender {
                self.strangers = self.strangers.without(Amount::one(packed.size()));
            }
        }
        self.bytes -= u64::from(packed.size());
        while self.parties.last().is_some_and(|party| party.envelopes == 0) {
            self.parties.pop();
        }
        entry
    }

    /// The sender's place, and one that is free. Looks at all of them, which are few: a mailbox with mail of thousands of
    /// senders costs some microseconds.
    fn find(&self, sender: Sender) -> (Option<usize>, Option<usize>) {
        let mut free = None;
        for (place, party) in self.parties.iter().enumerate() {
            if party.envelopes == 0 {
                free = Some(place);
            } else if party.sender == sender {
                return (Some(place), free);
            }
        }
        (None, free)
    }

    /// The sender's place, a new one if nothing waits of it.
    fn place(&mut self, sender: Sender) -> usize {
        let new = Party { sender, envelopes: 0, bytes: 0 };
        match self.find(sender) {
            (Some(place), _) => place,
            (None, Some(place)) => {
                if let Some(free) = self.parties.get_mut(place) {
                    *free = new;
                }
                place
            }
            (None, None) => {
                if self.parties.len() <= LAST_PARTY {
                    self.parties.push(new);
                }
                self.parties.len() - 1
            }
        }
    }

    /// A mailbox that was once full must not keep the memory for ever.
    fn give_back_room(&mut self) {
        if self.parties.capacity() > 64 && self.parties.len() < self.parties.capacity() / 4 {
            self.parties.shrink_to(self.parties.capacity() / 2);
        }
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.capacity() / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: AccountId = AccountId::from_bytes([1; 16]);
    const BOB: AccountId = AccountId::from_bytes([2; 16]);

    fn entry(cursor: u64, size: u32) -> Entry {
        Entry { cursor, size, tag: cursor as u32 % 3, sender: Sender::Contact(ALICE) }
    }

    fn from(sender: Sender, cursor: u64, size: u32) -> Entry {
        Entry { sender, ..entry(cursor, size) }
    }

    fn account(n: u32) -> AccountId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        AccountId::from_bytes(id)
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
    fn an_entry_is_16_bytes_and_comes_back_whole() {
        assert_eq!((size_of::<Packed>(), size_of::<Party>()), (16, 28));
        let entry = from(Sender::Stranger(BOB), u64::MAX, MAX_CIPHERTEXT_BYTES as u32);
        let mut mailbox = Mailbox::default();
        mailbox.push(from(Sender::Sealed, 1, 1));
        mailbox.push(entry);
        assert_eq!(mailbox.behind(1, u64::MAX).collect::<Vec<_>>(), [entry]);
        assert_eq!(mailbox.candidates(entry.tag).last(), Some(entry));
        assert_eq!(mailbox.acknowledge(u64::MAX)[1], entry);
    }

    #[test]
    fn every_envelope_is_counted_for_its_sender_until_it_is_gone() {
        let mut mailbox = Mailbox::default();
        let senders = [Sender::Sealed, Sender::Stranger(ALICE), Sender::Contact(ALICE), Sender::Stranger(BOB)];
        // A row of changes like any other, and after each of them the sums of the list.
        let mut random = 7_u64;
        for cursor in 1..2_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = (random >> 33) as u32;
            match number % 8 {
                0 => drop(mailbox.acknowledge(cursor.saturating_sub(3))),
                1 => drop(mailbox.expire(cursor - 1)),
                2 => mailbox.undo_push(),
                3 => {
                    for entry in mailbox.acknowledge(cursor - 1).into_iter().rev() {
                        mailbox.undo_removal(entry);
                    }
                }
                _ => mailbox.push(from(senders[number as usize / 8 % 4], cursor, 1 + number % 900)),
            }
            for sender in senders {
                let of_sender = mailbox.behind(0, u64::MAX).filter(|entry| entry.sender == sender);
                let listed = of_sender.fold(Amount::default(), |sum, entry| sum.and(Amount::one(entry.size)));
                let party = mailbox.parties.iter().find(|party| party.sender == sender && party.envelopes > 0);
                assert_eq!(party.map_or(Amount::default(), Party::amount), listed);
            }
            assert!(mailbox.parties.len() <= senders.len());
            let strangers = mailbox.behind(0, u64::MAX).filter(|entry| matches!(entry.sender, Sender::Stranger(_)));
            let listed = strangers.fold(Amount::default(), |sum, entry| sum.and(Amount::one(entry.size)));
            assert_eq!(mailbox.strangers, listed);
            assert_eq!(mailbox.bytes, mailbox.entries.iter().map(|entry| u64::from(entry.size())).sum::<u64>());
        }
        mailbox.acknowledge(u64::MAX);
        assert!(mailbox.parties.is_empty());
    }

    #[test]
    fn one_that_fills_its_share_leaves_the_others_theirs() {
        let mut mailbox = Mailbox::default();
        let mut cursor = 0;
        while mailbox.admit(Sender::Stranger(ALICE), 1_000).is_ok() {
            cursor += 1;
            mailbox.push(from(Sender::Stranger(ALICE), cursor, 1_000));
        }
        assert_eq!(cursor, 625);
        for sender in [Sender::Stranger(BOB), Sender::Contact(ALICE), Sender::Contact(BOB), Sender::Sealed] {
            assert_eq!(mailbox.admit(sender, 1_000), Ok(()), "{sender:?}");
        }
        mailbox.acknowledge(1);
        assert_eq!(mailbox.admit(Sender::Stranger(ALICE), 1_000), Ok(()), "what is fetched makes room");
    }

    #[test]
    fn the_largest_occupants_are_named_with_their_mail_of_both_kinds() {
        let mut mailbox = Mailbox::default();
        for number in 0..20 {
            mailbox.push(from(Sender::Stranger(account(number)), u64::from(number) + 1, number + 1));
        }
        mailbox.push(from(Sender::Stranger(ALICE), 30, 500));
        mailbox.push(from(Sender::Contact(ALICE), 31, 700));
        mailbox.push(from(Sender::Sealed, 32, 1_000));
        let largest = mailbox.largest();
        let waiting = |envelopes, bytes| Amount { envelopes, bytes };
        assert_eq!(largest.len(), MAX_OCCUPANTS);
        assert_eq!(largest[0], Occupant { account: Some(ALICE), waiting: waiting(2, 1_200) });
        assert_eq!(largest[1], Occupant { account: None, waiting: waiting(1, 1_000) });
        assert_eq!(largest[7], Occupant { account: Some(account(14)), waiting: waiting(1, 15) });
        // Who has nothing left there is none, also where its place is still kept.
        mailbox.acknowledge(31);
        assert_eq!(mailbox.largest(), [Occupant { account: None, waiting: waiting(1, 1_000) }]);
    }

    #[test]
    fn what_did_not_fit_is_remembered_until_it_is_told() {
        let mut mailbox = filled([2]);
        mailbox.note_refused();
        mailbox.note_refused();
        mailbox.acknowledge(u64::MAX);
        assert!(!mailbox.is_empty());
        assert_eq!((mailbox.take_refused(), mailbox.take_refused()), (2, 0));
        assert!(mailbox.is_empty());
    }

    #[test]
    fn a_damaged_databases_numbers_do_not_run_into_each_other() {
        let mut mailbox = Mailbox::default();
        mailbox.push(from(Sender::Stranger(ALICE), 1, u32::MAX));
        mailbox.push(from(Sender::Stranger(BOB), 2, 5));
        assert_eq!(mailbox.behind(0, 9).map(|entry| entry.sender).collect::<Vec<_>>()[1], Sender::Stranger(BOB));
        assert_eq!(mailbox.waiting(u64::MAX), (2, u64::from(MAX_SIZE) + 5));
        mailbox.acknowledge(u64::MAX);
        assert_eq!(mailbox.waiting(u64::MAX), (0, 0));
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
        let small = filled(1..=10);
        assert!(small.entries.capacity() >= 10, "what is small is left alone");
    }

    /// Half of it each time that no more than a quarter is used: memory follows what waits, and moves seldom.
    #[test]
    fn a_mailbox_of_many_senders_gives_half_of_its_memory_back_at_a_time() {
        const COUNT: u32 = 20_000;
        let mut mailbox = Mailbox::default();
        for number in 1..=COUNT {
            mailbox.push(from(Sender::Stranger(account(number)), number.into(), 10));
        }
        let room = |mailbox: &Mailbox| [mailbox.entries.capacity(), mailbox.parties.capacity()];
        let (full, mut moves) = (room(&mailbox), 0);
        // From the newest on, so that no place stays taken behind a free one.
        for number in (1..=COUNT).rev() {
            let before = room(&mailbox);
            assert!(mailbox.expire(number.into()).is_some());
            let used = [mailbox.entries.len(), mailbox.parties.len()];
            for ((before, after), used) in before.into_iter().zip(room(&mailbox)).zip(used) {
                if after != before {
                    moves += 1;
                    assert!(before > 64 && used < before / 4 && after >= before / 2, "{before} to {after} with {used}");
                } else {
                    assert!(before <= 64 || used >= before / 4, "{before} for {used}");
                }
            }
        }
        assert!(full.iter().all(|full| *full >= COUNT as usize) && (10..40).contains(&moves), "{full:?} {moves}");
    }
}

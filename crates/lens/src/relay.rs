//! The relay's rules on sizes instead of bytes: the real mailboxes and the real purge of `kuvert_relay::mailbox`, and the
//! events that the real commands emit. A test compares it with the relay's own model of a store.

use std::collections::VecDeque;

use kuvert_relay::mailbox::{Entry, Mailbox, Sender, accepted_before};
use kuvert_relay::observe::{ConnectionNumber, Event, Observer};
use kuvert_types::limits::{MAX_CIPHERTEXT_BYTES, MAX_RETENTION_DAYS};
use kuvert_types::{Address, EnvelopeId};

/// An envelope as a client submits it.
#[derive(Clone, Copy, Debug)]
pub struct Submission {
    /// On which connection.
    pub connection: ConnectionNumber,
    /// The device that was authenticated on it, if one was.
    pub by: Option<Address>,
    /// Its number in the order of people.
    pub recipient: u32,
    /// Drawn by the sender.
    pub id: EnvelopeId,
    /// Bytes of ciphertext.
    pub size: usize,
}

/// A relay with one mailbox for each person.
#[derive(Debug)]
pub struct Relay<'a> {
    observer: &'a dyn Observer,
    addresses: Vec<Address>,
    mailboxes: Vec<Mailbox>,
    /// Names of waiting envelopes, beside the mailboxes' entries.
    ids: Vec<VecDeque<(u64, EnvelopeId)>>,
    /// Everything that came, until it is old enough to be purged or gone: mailbox, cursor, when.
    arrivals: VecDeque<(u32, u64, u64)>,
    last_cursor: u64,
}

impl<'a> Relay<'a> {
    /// Empty mailboxes for these devices.
    pub fn new(addresses: Vec<Address>, observer: &'a dyn Observer) -> Self {
        let mailboxes = vec![Mailbox::default(); addresses.len()];
        let ids = vec![VecDeque::new(); addresses.len()];
        Self { observer, addresses, mailboxes, ids, arrivals: VecDeque::new(), last_cursor: 0 }
    }

    /// Stores an envelope. Its cursor, or `None` when a quota is reached or it is too large.
    pub fn submit(&mut self, now: u64, submission: Submission) -> Option<u64> {
        let Submission { connection, by, recipient, id, size } = submission;
        let mailbox = &mut self.mailboxes[recipient as usize];
        let bytes = u32::try_from(size).ok().filter(|_| size <= MAX_CIPHERTEXT_BYTES)?;
        // People here know each other's access keys.
        let sender = Sender::of(by, true);
        mailbox.admit(sender, bytes).ok()?;
        self.last_cursor += 1;
        let cursor = self.last_cursor;
        mailbox.push(Entry { cursor, size: bytes, tag: 0, sender });
        self.ids[recipient as usize].push_back((cursor, id));
        self.arrivals.push_back((recipient, cursor, now));
        let recipient = self.addresses[recipient as usize];
        self.observer.see(now, Event::Submitted { connection, by, source: by, recipient, id, size, repeated: false });
        Some(cursor)
    }

    /// Delivers what waits for a person, up to and including `up_to`, and lets the device acknowledge it. The cursors, in
    /// order.
    pub fn fetch(&mut self, now: u64, connection: ConnectionNumber, person: u32, up_to: u64) -> Vec<u64> {
        let device = self.addresses[person as usize];
        let (mailbox, ids) = (&mut self.mailboxes[person as usize], &mut self.ids[person as usize]);
        let waiting: Vec<Entry> = mailbox.behind(0, up_to).collect();
        let Some(last) = waiting.last() else { return Vec::new() };
        for entry in &waiting {
            while ids.front().is_some_and(|(cursor, _)| *cursor < entry.cursor) {
                ids.pop_front();
            }
            let Some((cursor, id)) = ids.pop_front() else { continue };
            let size = entry.size as usize;
            self.observer.see(now, Event::Delivered { connection, device, id, cursor, size });
        }
        let taken = mailbox.acknowledge(last.cursor);
        let (up_to, count) = (last.cursor, taken.len() as u64);
        self.observer.see(now, Event::Acknowledged { connection, device, up_to, count });
        taken.into_iter().map(|entry| entry.cursor).collect()
    }

    /// Purges what is too old. How many envelopes that were.
    pub fn expire(&mut self, now: u64) -> u64 {
        let before = accepted_before(now, MAX_RETENTION_DAYS);
        let mut count = 0;
        while let Some((person, cursor, accepted_at)) = self.arrivals.front().copied() {
            let mailbox = &mut self.mailboxes[person as usize];
            let waits = mailbox.behind(cursor - 1, cursor).next().is_some();
            if waits && accepted_at >= before {
                break;
            }
            count += u64::from(mailbox.expire(cursor).is_some());
            self.arrivals.pop_front();
        }
        if count > 0 {
            self.observer.see(now, Event::Expired { count });
        }
        count
    }

    /// Envelopes that wait, and how many expired unread, for a person.
    pub fn waiting(&self, person: u32) -> (u64, u64) {
        let mailbox = &self.mailboxes[person as usize];
        (mailbox.waiting(u64::MAX).0, mailbox.expired())
    }
}

//! What was stored last, in memory: a device that is attached gets it without a look at the disk.
//!
//! Bounded, and only ever a copy: everything in it was committed before, and what is not in it is read from the database.

use std::collections::VecDeque;

use kuvert_relay::store::StoredEnvelope;

/// What an envelope counts beside its ciphertext, and its gap when it is gone.
const OVERHEAD: usize = 128;

/// The youngest envelopes of all mailboxes.
#[derive(Debug)]
pub struct Recent {
    /// Ascending by cursor. `None`: acknowledged or expired, and nothing of it is kept.
    envelopes: VecDeque<(u64, Option<StoredEnvelope>)>,
    bytes: usize,
    max_bytes: usize,
}

impl Recent {
    pub fn new(max_bytes: usize) -> Self {
        Self { envelopes: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// Adds one that was committed; its cursor is higher than all before. Old ones make room.
    pub fn push(&mut self, envelope: StoredEnvelope) {
        self.bytes += OVERHEAD + envelope.ciphertext.len();
        self.envelopes.push_back((envelope.cursor.get(), Some(envelope)));
        while self.bytes > self.max_bytes {
            self.drop_oldest();
        }
    }

    /// All of these, or `None` if one is not here.
    pub fn get(&self, cursors: &[u64]) -> Option<Vec<StoredEnvelope>> {
        cursors.iter().map(|cursor| self.envelopes.get(self.place(*cursor)?)?.1.clone()).collect()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.envelopes.clear();
        self.bytes = 0;
    }

    /// Forgets one that was deleted.
    pub fn remove(&mut self, cursor: u64) {
        if let Some((_, envelope)) = self.place(cursor).and_then(|place| self.envelopes.get_mut(place))
            && let Some(envelope) = envelope.take()
        {
            self.bytes -= envelope.ciphertext.len();
        }
        while self.envelopes.front().is_some_and(|(_, envelope)| envelope.is_none()) {
            self.drop_oldest();
        }
    }

    fn place(&self, cursor: u64) -> Option<usize> {
        // Most of what is asked for is long gone, or the oldest here: a search would touch memory that is in no cache.
        let oldest = self.envelopes.front()?.0;
        if cursor <= oldest {
            return (cursor == oldest).then_some(0);
        }
        self.envelopes.binary_search_by_key(&cursor, |(cursor, _)| *cursor).ok()
    }

    fn drop_oldest(&mut self) {
        if let Some((_, envelope)) = self.envelopes.pop_front() {
            self.bytes -= OVERHEAD + envelope.map_or(0, |envelope| envelope.ciphertext.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use kuvert_relay::store::Cursor;
    use kuvert_types::EnvelopeId;

    use super::*;

    fn envelope(cursor: u64, size: usize) -> StoredEnvelope {
        StoredEnvelope {
            cursor: Cursor::new(cursor),
            id: EnvelopeId::from_bytes([cursor as u8; 16]),
            source: None,
            accepted_at: 0,
            ciphertext: vec![cursor as u8; size].into(),
        }
    }

    fn filled(max_bytes: usize, cursors: impl IntoIterator<Item = u64>) -> Recent {
        let mut recent = Recent::new(max_bytes);
        cursors.into_iter().for_each(|cursor| recent.push(envelope(cursor, 100)));
        recent
    }

    #[test]
    fn gives_all_or_nothing() {
        let recent = filled(10_000, [2, 5, 9]);
        assert_eq!(recent.get(&[2, 9]), Some(vec![envelope(2, 100), envelope(9, 100)]));
        assert_eq!(recent.get(&[2, 3]), None);
        assert_eq!(recent.get(&[]), Some(Vec::new()));
    }

    #[test]
    fn old_ones_make_room() {
        let mut recent = filled(3 * (100 + OVERHEAD), 1..=50);
        assert_eq!(recent.envelopes.len(), 3);
        assert!(recent.get(&[48, 49, 50]).is_some());
        recent.push(envelope(51, 100_000));
        assert!(recent.envelopes.is_empty(), "larger than all that may be here");
    }

    #[test]
    fn nothing_of_a_deleted_one_is_kept() {
        let mut recent = filled(10_000, [2, 5, 9]);
        for cursor in [5, 5, 7] {
            recent.remove(cursor);
        }
        assert_eq!(recent.get(&[5]), None);
        assert_eq!((recent.bytes, recent.envelopes.len()), (2 * 100 + 3 * OVERHEAD, 3));
        recent.remove(2);
        assert_eq!(recent.get(&[9]), Some(vec![envelope(9, 100)]));
        assert_eq!((recent.bytes, recent.envelopes.len()), (100 + OVERHEAD, 1), "gaps go with the oldest");
        recent.remove(9);
        assert_eq!((recent.bytes, recent.envelopes.len()), (0, 0));
    }

    #[test]
    fn gaps_are_bounded() {
        // One old envelope that nobody fetches, and many that are fetched at once.
        let mut recent = filled(10 * (100 + OVERHEAD), [1]);
        for cursor in 2..1_000 {
            recent.push(envelope(cursor, 100));
            recent.remove(cursor);
        }
        assert!(recent.envelopes.len() <= 100, "{}", recent.envelopes.len());
    }
}

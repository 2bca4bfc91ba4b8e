//! What was stored last, in memory: whoever is attached gets it without a look at the disk.
//!
//! Bounded, and only ever a copy: everything in it was committed before, and what is not in it is read from the database.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::store::StoredEnvelope;

/// What an envelope counts beside its ciphertext.
const OVERHEAD: usize = 128;

/// The youngest envelopes of all mailboxes.
#[derive(Debug)]
pub struct Recent {
    /// Ascending by cursor. Without ciphertext: acknowledged or expired.
    envelopes: VecDeque<StoredEnvelope>,
    bytes: usize,
    max_bytes: usize,
}

impl Recent {
    pub fn new(max_bytes: usize) -> Self {
        Self { envelopes: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// Adds one that was committed; its cursor is higher than all before. Old ones make room.
    pub fn push(&mut self, envelope: StoredEnvelope) {
        let cost = cost(&envelope.ciphertext);
        if cost > self.max_bytes {
            return;
        }
        self.bytes += cost;
        self.envelopes.push_back(envelope);
        while self.bytes > self.max_bytes {
            self.drop_oldest();
        }
    }

    /// All of these, or `None` if one is not here.
    pub fn get(&self, cursors: &[u64]) -> Option<Vec<StoredEnvelope>> {
        cursors.iter().map(|cursor| self.envelopes.get(self.place(*cursor)?).cloned()).collect()
    }

    /// Forgets one that was deleted.
    pub fn remove(&mut self, cursor: u64) {
        if let Some(envelope) = self.place(cursor).and_then(|place| self.envelopes.get_mut(place)) {
            self.bytes -= envelope.ciphertext.len();
            envelope.ciphertext = Bytes::new();
        }
    }

    fn place(&self, cursor: u64) -> Option<usize> {
        // Most of what is asked for is long gone, or the oldest here: a search would touch memory that is in no cache.
        let oldest = self.envelopes.front()?.cursor.get();
        if cursor <= oldest {
            return (cursor == oldest).then_some(0);
        }
        self.envelopes.binary_search_by_key(&cursor, |envelope| envelope.cursor.get()).ok()
    }

    fn drop_oldest(&mut self) {
        if let Some(envelope) = self.envelopes.pop_front() {
            self.bytes -= cost(&envelope.ciphertext);
        }
    }
}

fn cost(ciphertext: &Bytes) -> usize {
    ciphertext.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Cursor;
    use kuvert_types::EnvelopeId;

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
        assert!(recent.get(&[51]).is_none(), "larger than all that may be here");
        assert!(recent.get(&[48, 49, 50]).is_some());
    }

    #[test]
    fn a_deleted_one_leaves_no_bytes() {
        let mut recent = filled(10_000, [2, 5, 9]);
        recent.remove(5);
        recent.remove(5);
        recent.remove(7);
        assert_eq!(recent.bytes, 2 * 100 + 3 * OVERHEAD);
        assert_eq!(recent.envelopes.iter().map(|envelope| envelope.ciphertext.len()).sum::<usize>(), 200);
        recent.max_bytes = 0;
        recent.push(envelope(10, 0));
        (0..3).for_each(|_| recent.drop_oldest());
        assert_eq!(recent.bytes, 0);
    }
}

//! Keys of messages that a later message has overtaken.
//!
//! Keys are wiped when they leave: a vector that grows or shifts by itself leaves copies behind, so both are done by hand.

use alloc::vec::Vec;

use kuvert_types::{DecodeError, Reader};

use super::keys::{HeaderKey, MessageKey};
use crate::stored::secret;

/// Skipped keys kept in all chains of a session, at most [KV-037]; above that the oldest go. Twice what one message may skip, so
/// that a long gap does not at once displace an older one; 72 KB of state.
pub const MAX_SKIPPED_KEYS: usize = 2_000;

/// Messages received after which a skipped key is deleted. A message overtaken by 4,000 others is lost, not late, and its
/// key must not lie around for a thief of the device. Counted in messages because no clock can be trusted.
pub const SKIPPED_KEY_LIFETIME: u64 = 4_000;

/// The key of one message that has not come yet.
pub(crate) struct SkippedKey {
    pub(crate) number: u32,
    pub(crate) key: MessageKey,
    /// How many messages the session had received when the key was set aside.
    pub(crate) since: u64,
}

/// The skipped keys of one chain, ascending by number and by age.
#[derive(Default)]
pub(crate) struct SkippedMessageKeys(Vec<SkippedKey>);

impl SkippedMessageKeys {
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, number: u32) -> Option<&MessageKey> {
        self.position(number).map(|at| &self.0[at].key)
    }

    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(at) = self.position(number) {
            self.0[at..].rotate_left(1);
            // Dropped where it is, so that its memory is wiped.
            self.0.truncate(self.0.len() - 1);
        }
    }

    /// Adds the keys of messages `from`, `from + 1`, ….
    pub(crate) fn append(&mut self, from: u32, keys: &[MessageKey], since: u64) {
        let needed = self.0.len() + keys.len();
        if needed > self.0.capacity() {
            // Twice the room each time, so that many small gaps do not cost a copy each.
            let mut larger = Vec::with_capacity(needed.max(2 * self.0.len()));
            let moved =
                self.0.iter().map(|old| SkippedKey { number: old.number, key: old.key.clone(), since: old.since });
            larger.extend(moved);
            self.0 = larger;
        }
        self.0.extend((from..).zip(keys).map(|(number, key)| SkippedKey { number, key: key.clone(), since }));
    }

    /// Forgets up to `count` keys, oldest first, and says how many.
    pub(crate) fn drop_oldest(&mut self, count: usize) -> usize {
        let count = count.min(self.0.len());
        self.0.rotate_left(count);
        self.0.truncate(self.0.len() - count);
        count
    }

    /// Forgets keys that are too old, `received` messages into the session.
    pub(crate) fn expire(&mut self, received: u64) {
        let expired = self.0.partition_point(|key| received.saturating_sub(key.since) > SKIPPED_KEY_LIFETIME);
        self.drop_oldest(expired);
    }

    /// `count u32 ‖ count × (number u32 ‖ key 32 ‖ since u64)`
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        // Never above MAX_SKIPPED_KEYS.
        out.extend_from_slice(&u32::try_from(self.0.len()).unwrap_or(u32::MAX).to_be_bytes());
        for SkippedKey { number, key, since } in &self.0 {
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(&since.to_be_bytes());
        }
    }

    pub(crate) const fn encoded_len(&self) -> usize {
        4 + 44 * self.0.len()
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.u32()? as usize;
        if count > MAX_SKIPPED_KEYS {
            return Err(DecodeError::Value);
        }
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            let number = reader.u32()?;
            let key = MessageKey::from_bytes(&*secret(reader)?);
            keys.push(SkippedKey { number, key, since: reader.u64()? });
        }
        if !keys.is_sorted_by(|a, b| a.number < b.number && a.since <= b.since) {
            return Err(DecodeError::Value);
        }
        Ok(Self(keys))
    }

    fn position(&self, number: u32) -> Option<usize> {
        self.0.binary_search_by_key(&number, |key| key.number).ok()
    }
}

impl core::fmt::Debug for SkippedMessageKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SkippedMessageKeys({})", self.0.len())
    }
}

/// A chain that the other side has left behind: the header key for what is still under way, and the keys for that.
#[derive(Debug)]
pub(crate) struct RetainedChain {
    pub(crate) header_key: HeaderKey,
    /// How many messages the chain had.
    pub(crate) length: u32,
    pub(crate) skipped: SkippedMessageKeys,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(keys: &SkippedMessageKeys) -> Vec<u8> {
        let mut out = Vec::new();
        keys.encode(&mut out);
        assert_eq!(out.len(), keys.encoded_len());
        out
    }

    fn keys(count: usize) -> Vec<MessageKey> {
        (0..count).map(|_| MessageKey::from_bytes(&[7; 32])).collect()
    }

    fn decode(bytes: &[u8]) -> Result<SkippedMessageKeys, DecodeError> {
        Reader::whole(bytes, SkippedMessageKeys::decode)
    }

    #[test]
    fn as_many_as_are_kept_can_be_read_back_and_no_more() {
        for (count, accepted) in [(0, true), (MAX_SKIPPED_KEYS, true), (MAX_SKIPPED_KEYS + 1, false)] {
            let mut skipped = SkippedMessageKeys::default();
            skipped.append(3, &keys(count), 9);
            let bytes = encoded(&skipped);
            assert_eq!(decode(&bytes).is_ok_and(|read| encoded(&read) == bytes), accepted, "{count}");
        }
    }

    /// They are found by number and forgotten by age, and both take them to be in order.
    #[test]
    fn keys_out_of_order_are_refused() {
        let stored = |numbers: [u32; 2], since: [u64; 2]| {
            let mut skipped = SkippedMessageKeys::default();
            numbers.into_iter().zip(since).for_each(|(number, since)| skipped.append(number, &keys(1), since));
            encoded(&skipped)
        };
        assert!(decode(&stored([3, 4], [8, 9])).is_ok());
        assert!(decode(&stored([3, 4], [9, 9])).is_ok(), "skipped by one message");
        assert!(decode(&stored([4, 3], [8, 9])).is_err());
        assert!(decode(&stored([3, 3], [8, 9])).is_err(), "one number twice");
        assert!(decode(&stored([3, 4], [9, 8])).is_err());
    }
}

//! The memory of first messages that used a last-resort KEM prekey. A one-time prekey is deleted with its first message, so
//! a replay of that message finds nothing; a last-resort key stays, so a replay would open once its session is forgotten.
//!
//! An entry is `HMAC(SK, label)`: it follows from what was agreed, not from the bytes that were sent. PROTOCOL.md, Sessions.

use alloc::vec::Vec;

use kuvert_types::{DecodeError, Reader};
use subtle::{Choice, ConstantTimeEq};

/// Entries kept, at most; 147 KB. When the record is full, first messages with last-resort keys are refused until
/// [`ReplayRecord::forget_prekey`] made room: to forget an entry early would let its replay in.
pub const MAX_REPLAY_ENTRIES: usize = 4_096;

const SNAPSHOT_VERSION: u8 = 1;

/// All first messages seen that used a last-resort KEM prekey which still exists. One for the whole device.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ReplayRecord {
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    kem_prekey_id: u32,
    tag: [u8; 32],
}

/// What the record says about a first message.
pub(crate) enum ReplayCheck {
    New,
    Seen,
    Full,
}

impl ReplayRecord {
    /// An empty record.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Entries kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no entry is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets what used a last-resort KEM prekey. Call it in the transaction that deletes that prekey's secret, never
    /// before: from then on a replay fails for want of the key.
    pub fn forget_prekey(&mut self, kem_prekey_id: u32) {
        self.entries.retain(|entry| entry.kem_prekey_id != kem_prekey_id);
    }

    pub(crate) fn check(&self, tag: &[u8; 32]) -> ReplayCheck {
        let seen = self.entries.iter().fold(Choice::from(0), |seen, entry| seen | entry.tag.ct_eq(tag));
        if seen.into() {
            ReplayCheck::Seen
        } else if self.entries.len() >= MAX_REPLAY_ENTRIES {
            ReplayCheck::Full
        } else {
            ReplayCheck::New
        }
    }

    pub(crate) fn insert(&mut self, kem_prekey_id: u32, tag: [u8; 32]) {
        self.entries.push(Entry { kem_prekey_id, tag });
    }

    /// `version u8 = 1 ‖ count u32 ‖ count × (KEM prekey id u32 ‖ tag 32)`
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(5 + 36 * self.entries.len());
        bytes.push(SNAPSHOT_VERSION);
        // At most MAX_REPLAY_ENTRIES.
        bytes.extend_from_slice(&u32::try_from(self.entries.len()).unwrap_or(u32::MAX).to_be_bytes());
        for Entry { kem_prekey_id, tag } in &self.entries {
            bytes.extend_from_slice(&kem_prekey_id.to_be_bytes());
            bytes.extend_from_slice(tag);
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Wrong length, an unknown version, too many entries.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            if reader.u8()? != SNAPSHOT_VERSION {
                return Err(DecodeError::Version);
            }
            let count = reader.u32()? as usize;
            if count > MAX_REPLAY_ENTRIES {
                return Err(DecodeError::Value);
            }
            let mut entries = Vec::with_capacity(count);
            for _ in 0..count {
                entries.push(Entry { kem_prekey_id: reader.u32()?, tag: reader.array()? });
            }
            Ok(Self { entries })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_means_closed_and_the_seen_stay_seen() {
        let mut record = ReplayRecord::new();
        for i in 0..u32::try_from(MAX_REPLAY_ENTRIES).unwrap() {
            let mut tag = [0; 32];
            tag[..4].copy_from_slice(&i.to_be_bytes());
            assert!(matches!(record.check(&tag), ReplayCheck::New));
            record.insert(i % 2, tag);
        }
        assert!(matches!(record.check(&[9; 32]), ReplayCheck::Full));
        assert!(matches!(record.check(&[0; 32]), ReplayCheck::Seen));
        let restored = ReplayRecord::decode(&record.encode()).unwrap();
        assert_eq!(restored, record);
        record.forget_prekey(0);
        assert_eq!(record.len(), MAX_REPLAY_ENTRIES / 2);
        assert!(matches!(record.check(&[9; 32]), ReplayCheck::New));
    }

    #[test]
    fn decode_refuses_what_encode_does_not_write() {
        let mut record = ReplayRecord::new();
        record.insert(7, [7; 32]);
        let bytes = record.encode();
        assert_eq!(ReplayRecord::decode(&bytes[..bytes.len() - 1]), Err(DecodeError::Length));
        assert_eq!(ReplayRecord::decode(&[&bytes[..], &[0]].concat()), Err(DecodeError::Length));
        assert_eq!(ReplayRecord::decode(&[2, 0, 0, 0, 0]), Err(DecodeError::Version));
        assert_eq!(ReplayRecord::decode(&[1, 0xFF, 0, 0, 0]), Err(DecodeError::Value));
    }
}

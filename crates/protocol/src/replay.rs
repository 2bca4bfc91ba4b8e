//! The memory of first messages that used a last-resort KEM prekey: one record for each such prekey. A one-time prekey is
//! deleted with its first message, so a replay of that message finds nothing; a last-resort key stays, so a replay would
//! open once its session is forgotten.
//!
//! An entry's tag is `HMAC(SK, label)`: it follows from what was agreed, not from the bytes that were sent. An entry is never
//! forgotten before its prekey is, so one account that adds entries could close the record for all others. Each account
//! therefore has a budget of its own, and accounts that are no contacts share one beside that. PROTOCOL.md, Sessions.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use kuvert_types::{AccountId, DecodeError, Reader};
use subtle::{Choice, ConstantTimeEq};

/// Entries of one account that is no contact, at most [KV-059]. One begins a session; the others are for its devices and for
/// a session that has to be begun again.
pub const STRANGER_ENTRIES: usize = 4;

/// Entries of all accounts that are no contacts together, at most [KV-059]; 201 KB. At half of it a device may replace the
/// prekey early [KV-022].
pub const STRANGERS_PER_PREKEY: usize = 4_096;

/// Entries of one contact's account, at most [KV-059]. Messages under one prekey can arrive for 44 days (7 in use, 37 kept):
/// that is a new session every four hours for all of that time.
pub const CONTACT_ENTRIES: usize = 256;

/// Entries of a record, at most; 3.2 MB. A bound for decoding, beyond what 240 contacts with full budgets and all strangers
/// reach.
pub const MAX_REPLAY_ENTRIES: usize = 65_536;

const SNAPSHOT_VERSION: u8 = 2;

/// The version of the record that all prekeys shared, and how many entries it had at most.
const SHARED_SNAPSHOT_VERSION: u8 = 1;
const MAX_SHARED_ENTRIES: usize = 4_096;

/// Whether the receiving device knows the account that a message comes from: decides which budget of a [`ReplayRecord`] pays
/// for its first messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trust {
    /// A contact that the user has accepted, under the account key that is pinned for it.
    Contact,
    /// Any other account. Also a contact's account under another key than the pinned one.
    Stranger,
}

/// The first messages seen that used one last-resort KEM prekey [KV-059]. The caller keeps a record for each such prekey and
/// deletes it in the transaction that deletes the prekey's secret, never before: from then on a replay fails for want of the
/// key. Which record a message needs, [`last_resort_prekey`](crate::last_resort_prekey) says.
#[derive(Clone, Default, Debug)]
pub struct ReplayRecord {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    payer: Payer,
    account: AccountId,
    tag: [u8; 32],
}

/// By what would be stored, and in constant time for records of one length: tags are made from secrets [KV-010].
impl PartialEq for ReplayRecord {
    fn eq(&self, other: &Self) -> bool {
        self.encode().ct_eq(&other.encode()).into()
    }
}

impl Eq for ReplayRecord {}

/// The budget that an entry counts against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Payer {
    /// No account's: the entry is from a record that named no accounts.
    Unknown,
    Contact,
    Stranger,
}

impl Payer {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Contact => 1,
            Self::Stranger => 2,
        }
    }

    const fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            0 => Ok(Self::Unknown),
            1 => Ok(Self::Contact),
            2 => Ok(Self::Stranger),
            _ => Err(DecodeError::Value),
        }
    }
}

impl From<Trust> for Payer {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Contact => Self::Contact,
            Trust::Stranger => Self::Stranger,
        }
    }
}

/// The account of an entry from a record that named none.
const NO_ACCOUNT: AccountId = AccountId::from_bytes([0; 16]);

/// What the record says about a first message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

    /// Entries of accounts that were no contacts, of [`STRANGERS_PER_PREKEY`]. At half of that a device may replace the prekey
    /// early [KV-022].
    pub fn strangers(&self) -> usize {
        self.count(|entry| entry.payer == Payer::Stranger)
    }

    pub(crate) fn check(&self, trust: Trust, account: AccountId, tag: &[u8; 32]) -> ReplayCheck {
        let seen = self.entries.iter().fold(Choice::from(0), |seen, entry| seen | entry.tag.ct_eq(tag));
        if seen.into() {
            ReplayCheck::Seen
        } else if self.has_room(trust, account) {
            ReplayCheck::New
        } else {
            ReplayCheck::Full
        }
    }

    fn has_room(&self, trust: Trust, account: AccountId) -> bool {
        let of_account = self.count(|entry| entry.payer == trust.into() && entry.account == account);
        let within_budget = match trust {
            Trust::Contact => of_account < CONTACT_ENTRIES,
            Trust::Stranger => of_account < STRANGER_ENTRIES && self.strangers() < STRANGERS_PER_PREKEY,
        };
        within_budget && self.entries.len() < MAX_REPLAY_ENTRIES
    }

    fn count(&self, counts: impl Fn(&Entry) -> bool) -> usize {
        self.entries.iter().filter(|entry| counts(entry)).count()
    }

    pub(crate) fn insert(&mut self, trust: Trust, account: AccountId, tag: [u8; 32]) {
        self.entries.push(Entry { payer: trust.into(), account, tag });
    }

    /// `version u8 = 2 ‖ count u32 ‖ count × (payer u8 ‖ account 16 ‖ tag 32)`; payer: 1 a contact, 2 a stranger, 0 (with an
    /// account of zeros) from a record of version 1.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(5 + 49 * self.entries.len());
        bytes.push(SNAPSHOT_VERSION);
        // At most MAX_REPLAY_ENTRIES.
        bytes.extend_from_slice(&u32::try_from(self.entries.len()).unwrap_or(u32::MAX).to_be_bytes());
        for Entry { payer, account, tag } in &self.entries {
            bytes.push(payer.to_byte());
            bytes.extend_from_slice(account.as_bytes());
            bytes.extend_from_slice(tag);
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`DecodeError`]: the store is damaged, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            let count = read_head(reader, SNAPSHOT_VERSION, MAX_REPLAY_ENTRIES)?;
            let mut entries = Vec::new();
            for _ in 0..count {
                let payer = Payer::from_byte(reader.u8()?)?;
                let account = AccountId::from_bytes(reader.array()?);
                if payer == Payer::Unknown && account != NO_ACCOUNT {
                    return Err(DecodeError::Value);
                }
                entries.push(Entry { payer, account, tag: reader.array()? });
            }
            Ok(Self { entries })
        })
    }
}

/// Splits a record of version 1, which all last-resort prekeys of a device shared, into one for each prekey id, in ascending
/// order. Its entries name no account: they count against no budget, and their messages stay refused as replays.
///
/// Version 1: `version u8 = 1 ‖ count u32 ‖ count × (KEM prekey id u32 ‖ tag 32)`
///
/// # Errors
/// [`DecodeError`]: wrong length, another version, more entries than version 1 allowed.
pub fn split_version_1(bytes: &[u8]) -> Result<Vec<(u32, ReplayRecord)>, DecodeError> {
    Reader::whole(bytes, |reader| {
        let count = read_head(reader, SHARED_SNAPSHOT_VERSION, MAX_SHARED_ENTRIES)?;
        let mut records = BTreeMap::<u32, ReplayRecord>::new();
        for _ in 0..count {
            let record = records.entry(reader.u32()?).or_default();
            record.entries.push(Entry { payer: Payer::Unknown, account: NO_ACCOUNT, tag: reader.array()? });
        }
        Ok(records.into_iter().collect())
    })
}

fn read_head(reader: &mut Reader<'_>, version: u8, max: usize) -> Result<usize, DecodeError> {
    if reader.u8()? != version {
        return Err(DecodeError::Version);
    }
    let count = reader.u32()? as usize;
    if count > max { Err(DecodeError::Value) } else { Ok(count) }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const VERSION_1: [u8; 5] = [1, 0, 0, 0, 0];

    fn account(number: usize) -> AccountId {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&(number as u64 + 1).to_be_bytes());
        AccountId::from_bytes(id)
    }

    /// A record that `accounts` accounts have filled with `each` entries each.
    fn filled(mut record: ReplayRecord, trust: Trust, accounts: usize, each: usize) -> ReplayRecord {
        for number in 0..accounts {
            for nth in 0..each {
                let tag = tag(trust, number, nth);
                record.insert(trust, account(number), tag);
            }
        }
        record
    }

    fn tag(trust: Trust, number: usize, nth: usize) -> [u8; 32] {
        let mut tag = [Payer::from(trust).to_byte(); 32];
        tag[..8].copy_from_slice(&(number as u64).to_be_bytes());
        tag[8..16].copy_from_slice(&(nth as u64).to_be_bytes());
        tag
    }

    const NEW: [u8; 32] = [0xEE; 32];

    #[test]
    fn a_stranger_has_four_entries_and_takes_none_from_others() {
        let mut record = ReplayRecord::new();
        for nth in 0..STRANGER_ENTRIES {
            let tag = tag(Trust::Stranger, 0, nth);
            assert_eq!(record.check(Trust::Stranger, account(0), &tag), ReplayCheck::New, "{nth}");
            record.insert(Trust::Stranger, account(0), tag);
        }
        assert_eq!(record.check(Trust::Stranger, account(0), &NEW), ReplayCheck::Full);
        assert_eq!(record.check(Trust::Stranger, account(1), &NEW), ReplayCheck::New);
        assert_eq!(record.check(Trust::Contact, account(0), &NEW), ReplayCheck::New, "once it is a contact");
        assert_eq!(record.strangers(), 4);
    }

    #[test]
    fn all_strangers_together_close_the_record_for_strangers_only() {
        let one_less = STRANGERS_PER_PREKEY / STRANGER_ENTRIES - 1;
        let mut record = filled(ReplayRecord::new(), Trust::Stranger, one_less, STRANGER_ENTRIES);
        record = filled(record, Trust::Contact, 100, 20);
        for nth in 0..STRANGER_ENTRIES {
            assert_eq!(record.check(Trust::Stranger, account(one_less + nth), &NEW), ReplayCheck::New);
            record.insert(Trust::Stranger, account(one_less + nth), tag(Trust::Stranger, one_less + nth, 0));
        }
        assert_eq!(record.strangers(), STRANGERS_PER_PREKEY);
        assert_eq!(record.check(Trust::Stranger, account(9_999), &NEW), ReplayCheck::Full);
        assert_eq!(record.check(Trust::Contact, account(9_999), &NEW), ReplayCheck::New);
        let seen = tag(Trust::Stranger, 0, 0);
        for trust in [Trust::Stranger, Trust::Contact] {
            assert_eq!(record.check(trust, account(9_999), &seen), ReplayCheck::Seen, "full, and it forgets nothing");
        }
        assert_eq!(ReplayRecord::decode(&record.encode()).unwrap(), record);
    }

    #[test]
    fn records_are_equal_if_they_would_be_stored_alike() {
        let one = filled(ReplayRecord::new(), Trust::Contact, 1, 3);
        assert_eq!(one, ReplayRecord::decode(&one.encode()).unwrap());
        assert_ne!(one, filled(ReplayRecord::new(), Trust::Contact, 1, 2));
        assert_ne!(one, filled(ReplayRecord::new(), Trust::Stranger, 1, 3));
        assert_ne!(one, ReplayRecord::new());
    }

    #[test]
    fn a_tag_that_a_record_holds_twice_is_seen() {
        // No record makes that itself, and one that was stored may hold it.
        let mut record = ReplayRecord::new();
        for number in 0..2 {
            record.insert(Trust::Stranger, account(number), [7; 32]);
            assert_eq!(record.check(Trust::Stranger, account(9), &[7; 32]), ReplayCheck::Seen);
        }
    }

    #[test]
    fn a_contact_has_256_entries_of_its_own() {
        let record = filled(ReplayRecord::new(), Trust::Contact, 1, CONTACT_ENTRIES - 1);
        assert_eq!(record.check(Trust::Contact, account(0), &NEW), ReplayCheck::New);
        let record = filled(ReplayRecord::new(), Trust::Contact, 1, CONTACT_ENTRIES);
        assert_eq!(record.check(Trust::Contact, account(0), &NEW), ReplayCheck::Full);
        assert_eq!(record.check(Trust::Contact, account(0), &tag(Trust::Contact, 0, 7)), ReplayCheck::Seen);
        assert_eq!(record.check(Trust::Contact, account(1), &NEW), ReplayCheck::New);
        assert_eq!(record.check(Trust::Stranger, account(1), &NEW), ReplayCheck::New);
        assert_eq!(record.strangers(), 0);
    }

    #[test]
    fn a_record_never_grows_beyond_what_decode_takes() {
        let record = filled(ReplayRecord::new(), Trust::Contact, MAX_REPLAY_ENTRIES / CONTACT_ENTRIES, CONTACT_ENTRIES);
        assert_eq!(record.len(), MAX_REPLAY_ENTRIES);
        for trust in [Trust::Stranger, Trust::Contact] {
            assert_eq!(record.check(trust, account(9_999), &NEW), ReplayCheck::Full);
        }
        assert_eq!(ReplayRecord::decode(&record.encode()).unwrap(), record);
        let mut longer = record.encode();
        longer[1..5].copy_from_slice(&(u32::try_from(MAX_REPLAY_ENTRIES).unwrap() + 1).to_be_bytes());
        longer.extend([1; 49]);
        assert_eq!(ReplayRecord::decode(&longer), Err(DecodeError::Value));
    }

    #[test]
    fn decode_refuses_what_encode_does_not_write() {
        let mut record = ReplayRecord::new();
        record.insert(Trust::Stranger, account(7), [7; 32]);
        let bytes = record.encode();
        assert_eq!((bytes.len(), &bytes[..6]), (5 + 49, &[2, 0, 0, 0, 1, 2][..]));
        assert_eq!(ReplayRecord::decode(&bytes[..bytes.len() - 1]), Err(DecodeError::Length));
        assert_eq!(ReplayRecord::decode(&[&bytes[..], &[0]].concat()), Err(DecodeError::Length));
        assert_eq!(ReplayRecord::decode(&VERSION_1), Err(DecodeError::Version));
        assert_eq!(ReplayRecord::decode(&[2, 0xFF, 0, 0, 0]), Err(DecodeError::Value));
        for (payer, name) in [(3, "no payer"), (0, "a payer that is not known has no account")] {
            let changed = [&bytes[..5], &[payer], &bytes[6..]].concat();
            assert_eq!(ReplayRecord::decode(&changed), Err(DecodeError::Value), "{name}");
        }
    }

    #[test]
    fn a_record_of_version_1_is_split_by_prekey_and_still_refuses_replays() {
        let entry = |id: u32, tag: u8| [&id.to_be_bytes()[..], &[tag; 32]].concat();
        let shared = [vec![1, 0, 0, 0, 3], entry(9, 1), entry(2, 2), entry(9, 3)].concat();
        let split = split_version_1(&shared).unwrap();
        let [(2, second), (9, ninth)] = &split[..] else { panic!("{split:?}") };
        assert_eq!((second.len(), ninth.len()), (1, 2));
        for tag in [1, 3] {
            assert_eq!(ninth.check(Trust::Stranger, account(0), &[tag; 32]), ReplayCheck::Seen);
        }
        assert_eq!(ninth.check(Trust::Stranger, account(0), &[2; 32]), ReplayCheck::New, "another prekey's");
        assert_eq!(ReplayRecord::decode(&ninth.encode()).unwrap(), *ninth);

        // As full as version 1 could be: it closes for none.
        let mut full = vec![1];
        full.extend(u32::try_from(MAX_SHARED_ENTRIES).unwrap().to_be_bytes());
        (0..MAX_SHARED_ENTRIES).for_each(|_| full.extend(entry(4, 5)));
        let split = split_version_1(&full).unwrap();
        let [(4, record)] = &split[..] else { panic!("one prekey") };
        assert_eq!((record.len(), record.strangers()), (MAX_SHARED_ENTRIES, 0));
        for trust in [Trust::Stranger, Trust::Contact] {
            for who in [account(0), NO_ACCOUNT] {
                assert_eq!(record.check(trust, who, &NEW), ReplayCheck::New);
            }
        }

        assert_eq!(split_version_1(&VERSION_1), Ok(Vec::new()));
        assert_eq!(split_version_1(&shared[..shared.len() - 1]), Err(DecodeError::Length));
        assert_eq!(split_version_1(&[&shared[..], &[0]].concat()), Err(DecodeError::Length));
        assert_eq!(split_version_1(&[2, 0, 0, 0, 0]), Err(DecodeError::Version));
        assert_eq!(split_version_1(&[1, 0, 0, 0x10, 1]), Err(DecodeError::Value));
    }
}

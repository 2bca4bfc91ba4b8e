//! Who may take how much room with blobs. Pure rules; every store asks them in the step that makes the blob, so that two at once
//! do not both take the last of it.
//!
//! | whose | how much |
//! |---|---|
//! | all blobs | the disk up to a part (80 %): the rest is mail's |
//! | one account's | so many bytes and blobs (1 GiB), and a quarter of what is left |
//! | all young accounts' | an eighth of what is left, in their first day's bytes ([`crate::young`]) |
//!
//! So the account that comes last still finds something: each one leaves room for the next.

use crate::young::Space;

/// What a blob takes beside its bytes: a file, rows.
const BLOB_OVERHEAD: u64 = 4 * 1024;

/// What each reader takes: a row.
const READER_OVERHEAD: u64 = 64;

/// One account has at most one part in so many of what is left.
const ACCOUNT_PART: u64 = 4;

/// All young accounts together have one part in so many.
const YOUNG_PART: u64 = 8;

/// What a blob is counted as.
pub const fn charge(size: u64, readers: usize) -> u64 {
    size.saturating_add(BLOB_OVERHEAD).saturating_add(READER_OVERHEAD.saturating_mul(readers as u64))
}

/// Bytes that blobs may take yet, of which they have up to so many percent of the disk.
pub fn left(space: Space, percent: u64) -> u64 {
    let kept = u128::from(space.total) * u128::from(100_u64.saturating_sub(percent)) / 100;
    space.free.saturating_sub(u64::try_from(kept).unwrap_or(u64::MAX))
}

/// What an account may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// Bytes, as counted.
    pub bytes: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes that all may take yet, with those that uploads under way have been promised.
    pub room: u64,
}

/// What is taken, at the moment when a blob is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Bytes that the account's blobs are counted as.
    pub account_bytes: u64,
    /// The account's blobs.
    pub account_blobs: u64,
    /// Bytes that were promised to uploads of all accounts and are not on the disk yet.
    pub promised: u64,
}

/// Why there is no room for a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoRoom {
    /// The account has what it may.
    #[error("this account's files take all the room that they may")]
    Account,
    /// The disk has too little.
    #[error("there is no room for files now")]
    Disk,
}

impl Share {
    /// Whether a blob that is counted as so many bytes may be made.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn admit(&self, usage: &Usage, charge: u64) -> Result<(), NoRoom> {
        let after = usage.account_bytes.saturating_add(charge);
        if usage.account_blobs >= self.blobs || after > self.bytes {
            return Err(NoRoom::Account);
        }
        let left = self.room.saturating_sub(usage.promised);
        if charge > left {
            return Err(NoRoom::Disk);
        }
        // Of what was left before the account took anything.
        if after > left.saturating_add(usage.account_bytes) / ACCOUNT_PART { Err(NoRoom::Disk) } else { Ok(()) }
    }

    /// Whether young accounts, which have submitted so many bytes together, may take so many more.
    ///
    /// # Errors
    /// [`NoRoom::Disk`].
    pub const fn admit_young(&self, submitted: u64, charge: u64) -> Result<(), NoRoom> {
        if submitted.saturating_add(charge) > self.room / YOUNG_PART { Err(NoRoom::Disk) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Share = Share { bytes: 1_000, blobs: 3, room: 4_000 };

    fn usage(account_bytes: u64, account_blobs: u64, promised: u64) -> Usage {
        Usage { account_bytes, account_blobs, promised }
    }

    #[test]
    fn an_account_has_so_many_bytes_and_so_many_blobs() {
        assert_eq!(SHARE.admit(&usage(0, 0, 0), 1_000), Ok(()));
        assert_eq!(SHARE.admit(&usage(0, 0, 0), 1_001), Err(NoRoom::Account));
        assert_eq!(SHARE.admit(&usage(900, 2, 0), 100), Ok(()));
        assert_eq!(SHARE.admit(&usage(900, 2, 0), 101), Err(NoRoom::Account));
        assert_eq!(SHARE.admit(&usage(0, 3, 0), 1), Err(NoRoom::Account));
    }

    #[test]
    fn each_account_leaves_room_for_the_next() {
        // 4,000 are left, of which 2,000 were promised: a quarter of the rest is 500.
        assert_eq!(SHARE.admit(&usage(0, 0, 2_000), 500), Ok(()));
        assert_eq!(SHARE.admit(&usage(0, 0, 2_000), 501), Err(NoRoom::Disk));
        assert_eq!(SHARE.admit(&usage(500, 1, 2_500), 1), Err(NoRoom::Disk));
        assert_eq!(SHARE.admit(&usage(0, 0, 4_001), 1), Err(NoRoom::Disk));
        let mut left = 1_000_000_u64;
        for _ in 0..10 {
            let share = Share { bytes: u64::MAX, blobs: 1, room: left };
            let most = left / ACCOUNT_PART;
            assert_eq!(share.admit(&Usage::default(), most), Ok(()));
            left -= most;
        }
        assert!(left > 50_000);
    }

    #[test]
    fn young_accounts_have_a_part_together() {
        assert_eq!(SHARE.admit_young(400, 100), Ok(()));
        assert_eq!(SHARE.admit_young(400, 101), Err(NoRoom::Disk));
    }

    #[test]
    fn a_part_of_the_disk_is_left_to_mail() {
        let space = |free| Space { free, total: 1_000 };
        assert_eq!(left(space(1_000), 80), 800);
        assert_eq!(left(space(201), 80), 1);
        assert_eq!(left(space(200), 80), 0);
        assert_eq!(left(space(0), 80), 0);
        assert_eq!(left(space(10), 100), 10);
        assert_eq!(charge(1_000, 2), 1_000 + 4_096 + 128);
    }
}

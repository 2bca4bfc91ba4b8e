//! Slots: 4,096 parts of all accounts, each written by one connection at a time.

use std::ops::Range;

use kuvert_types::AccountId;
use sha2::{Digest, Sha256};

/// How many there are. The tables of every store have this number of rows: it is never changed.
pub const SLOTS: u16 = 4096;

/// A part of all accounts.
pub type Slot = u16;

/// All slots.
pub const fn all() -> Range<Slot> {
    0..SLOTS
}

/// Where an account's rows belong. Ids are drawn at random by those who register, who could draw many until they fit: a
/// hash spreads ids that were drawn badly, and does not keep anything from one who wants to fill one slot.
pub fn of(account: &AccountId) -> Slot {
    let [first, second, ..]: [u8; 32] = Sha256::digest(account.as_bytes()).into();
    u16::from_be_bytes([first, second]) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_spread_over_all_slots() {
        let mut hit = vec![0_u32; SLOTS.into()];
        for n in 0..200_000_u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            hit[usize::from(of(&AccountId::from_bytes(id)))] += 1;
        }
        assert!(hit.iter().all(|count| (10..120).contains(count)));
        // Rows of stores that exist are where this says.
        assert_eq!(of(&AccountId::from_bytes([1; 16])), 0xc8c);
    }
}

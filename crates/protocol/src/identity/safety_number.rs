//! The number that two people compare, and the short name of an account key in an invite link.
//!
//! ```text
//! h₀ = SHA-512(label "Kuvert/1 safety number" ‖ account id 16 ‖ account key 32)
//! hᵢ = SHA-512(hᵢ₋₁ ‖ account key 32), up to h₅₂₀₀
//! half = six groups: bytes 5i..5i+5 of h₅₂₀₀ as big-endian number, modulo 100,000, five digits each
//! safety number = the smaller half ‖ the larger half (as text), 60 digits
//! ```

use alloc::string::String;
use core::fmt::{self, Write};

use kuvert_types::{AccountId, AccountKey};
use sha2::{Digest, Sha256, Sha512};

use crate::labels::{ACCOUNT_FINGERPRINT, SAFETY_NUMBER};

/// Rounds of hashing for one half: makes the search for a second key with the same 100 bits a little dearer, and takes
/// about a millisecond.
const ROUNDS: usize = 5200;

const GROUPS: usize = 6;

/// 60 digits that are the same on both phones exactly if nothing sits in between. Displayed as 12 groups of 5.
/// PROTOCOL.md, Safety number and fingerprint [KV-017].
#[derive(Clone, PartialEq, Eq)]
pub struct SafetyNumber([u32; 2 * GROUPS]);

impl SafetyNumber {
    /// The 60 digits without spaces.
    pub fn digits(&self) -> String {
        let mut text = String::with_capacity(10 * GROUPS);
        for group in self.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{group:05}");
        }
        text
    }
}

impl fmt::Display for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{group:05}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafetyNumber({self})")
    }
}

/// The number for two accounts [KV-017]. Which is ours and which theirs makes no difference.
///
/// ```
/// use kuvert_protocol::safety_number;
/// use kuvert_types::{AccountId, AccountKey};
///
/// let alice = (&AccountId::from_bytes([1; 16]), &AccountKey::from_bytes([3; 32]));
/// let bob = (&AccountId::from_bytes([2; 16]), &AccountKey::from_bytes([4; 32]));
/// let shown_to_alice = safety_number(alice, bob);
/// assert_eq!(shown_to_alice, safety_number(bob, alice));
/// assert_eq!(shown_to_alice.digits().len(), 60);
/// ```
pub fn safety_number(ours: (&AccountId, &AccountKey), theirs: (&AccountId, &AccountKey)) -> SafetyNumber {
    let (ours, theirs) = (half(ours), half(theirs));
    let (first, second) = if ours <= theirs { (ours, theirs) } else { (theirs, ours) };
    let mut groups = [0; 2 * GROUPS];
    groups[..GROUPS].copy_from_slice(&first);
    groups[GROUPS..].copy_from_slice(&second);
    SafetyNumber(groups)
}

fn half((account, key): (&AccountId, &AccountKey)) -> [u32; GROUPS] {
    let mut hash = Sha512::new().chain_update(SAFETY_NUMBER).chain_update(account.as_bytes());
    hash.update(key.as_bytes());
    let mut hash = hash.finalize();
    for _ in 0..ROUNDS {
        hash = Sha512::new().chain_update(hash).chain_update(key.as_bytes()).finalize();
    }
    core::array::from_fn(|group| {
        let number = hash[5 * group..5 * (group + 1)].iter().fold(0_u64, |n, byte| (n << 8) | u64::from(*byte));
        (number % 100_000) as u32
    })
}

/// `SHA-256(label "Kuvert/1 account fingerprint" ‖ account id 16 ‖ account key 32)`: pins an account key in an invite link
/// [KV-018]. PROTOCOL.md, Relay addresses and invite links.
pub fn account_key_fingerprint(account: &AccountId, key: &AccountKey) -> [u8; 32] {
    let hash = Sha256::new().chain_update(ACCOUNT_FINGERPRINT).chain_update(account.as_bytes());
    hash.chain_update(key.as_bytes()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn symmetric_and_bound_to_every_input() {
        let (id_a, id_b) = (AccountId::from_bytes([1; 16]), AccountId::from_bytes([2; 16]));
        let (key_a, key_b) = (AccountKey::from_bytes([3; 32]), AccountKey::from_bytes([4; 32]));
        let number = safety_number((&id_a, &key_a), (&id_b, &key_b));
        assert_eq!(number, safety_number((&id_b, &key_b), (&id_a, &key_a)));
        assert_ne!(number, safety_number((&id_a, &key_b), (&id_b, &key_a)));
        assert_ne!(number, safety_number((&id_a, &key_a), (&id_b, &key_a)));
        assert_eq!(number.digits().len(), 60);
        assert_eq!(number.to_string().replace(' ', ""), number.digits());
        assert_eq!(number.to_string().split(' ').count(), 12);
        // Pinned, and worked out by another implementation: people have compared numbers made this way.
        assert_eq!(number.to_string(), "41564 78371 48911 14603 45222 18655 78916 47569 93778 29275 50612 93449");
    }

    #[test]
    fn fingerprint_is_bound_to_both_inputs() {
        let (id, key) = (AccountId::from_bytes([1; 16]), AccountKey::from_bytes([3; 32]));
        let print = account_key_fingerprint(&id, &key);
        assert_ne!(print, account_key_fingerprint(&AccountId::from_bytes([2; 16]), &key));
        assert_ne!(print, account_key_fingerprint(&id, &AccountKey::from_bytes([4; 32])));
    }
}

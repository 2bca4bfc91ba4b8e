//! The symmetric chains of one epoch and the keys skipped in them.
//!
//! ```text
//! message key n = HMAC(chain key n, "message key" label ‖ n)
//! chain key n+1 = HMAC(chain key n, "chain key" label ‖ n)
//! ```

use alloc::vec::Vec;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{CHAIN_KEY, MAX_SKIP, MESSAGE_KEY, PqError, PqMessageKey, Role};
use crate::primitives::kdf::HmacSha256;
use crate::scka::Epoch;

/// A chain key and the number of the message that it belongs to.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Chain {
    pub(super) key: [u8; 32],
    pub(super) next: u32,
}

impl Chain {
    const fn new(key: [u8; 32]) -> Self {
        Self { key, next: 0 }
    }

    /// The last number is never used, so that `next` always fits.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.next == u32::MAX
    }

    /// Number and key of the next message; moves the chain on.
    pub(super) fn next(&mut self) -> Result<(u32, PqMessageKey), PqError> {
        if self.is_exhausted() {
            return Err(PqError::ChainExhausted);
        }
        let n = self.next;
        let (message_key, chain_key) = derive(&self.key, n);
        self.key.copy_from_slice(&*chain_key);
        self.next += 1;
        Ok((n, message_key))
    }
}

fn derive(chain_key: &[u8; 32], n: u32) -> (PqMessageKey, Zeroizing<[u8; 32]>) {
    let hmac = HmacSha256::new(chain_key);
    let n = n.to_be_bytes();
    let message_key = PqMessageKey(*hmac.tag(&[&MESSAGE_KEY, &n]));
    (message_key, hmac.into_tag(&[&CHAIN_KEY, &n]))
}

/// A message key that its message has yet to claim.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct SkippedKey {
    pub(super) n: u32,
    pub(super) key: [u8; 32],
}

/// What one received message does to its epoch's chains.
pub(super) enum Advance {
    /// The message claims the skipped key at this number.
    Claim(u32),
    /// The message is `from` or later in the chain: `skipped` are the keys between, `next` the chain after it.
    Forward { from: u32, skipped: Vec<SkippedKey>, next: Chain },
}

/// Both chains of an epoch.
pub(super) struct EpochChains {
    pub(super) epoch: Epoch,
    /// Gone once this side sends under a newer epoch.
    pub(super) sending: Option<Chain>,
    pub(super) receiving: Chain,
    /// By number, ascending.
    pub(super) skipped: Vec<SkippedKey>,
}

impl EpochChains {
    pub(super) fn new(epoch: Epoch, role: Role, initiator: &[u8; 32], recipient: &[u8; 32]) -> Self {
        let (sending, receiving) = match role {
            Role::Initiator => (initiator, recipient),
            Role::Recipient => (recipient, initiator),
        };
        Self { epoch, sending: Some(Chain::new(*sending)), receiving: Chain::new(*receiving), skipped: Vec::new() }
    }

    /// The key of message `n`, and what claiming it does. Changes nothing.
    pub(super) fn open(&self, n: u32) -> Result<(PqMessageKey, Advance), PqError> {
        let Some(ahead) = n.checked_sub(self.receiving.next) else {
            let position = self.find(n).ok_or(PqError::KeyGone)?;
            return Ok((PqMessageKey(self.skipped[position].key), Advance::Claim(n)));
        };
        // Before any derivation, so that a wild number costs nothing.
        if ahead > MAX_SKIP {
            return Err(PqError::TooManySkipped);
        }
        let from = self.receiving.next;
        let mut next = Chain { key: self.receiving.key, next: from };
        // At its full size at once: a vector that grows leaves copies of keys behind.
        let mut skipped = Vec::with_capacity(usize::try_from(ahead).unwrap_or(0)); // at most MAX_SKIP
        while next.next < n {
            let (n, key) = next.next()?;
            skipped.push(SkippedKey { n, key: key.0 });
        }
        let (_, key) = next.next()?;
        Ok((key, Advance::Forward { from, skipped, next }))
    }

    /// Takes in what [`Self::open`] found. `false`, and nothing changed, if these chains have moved since.
    pub(super) fn apply(&mut self, advance: Advance) -> bool {
        match advance {
            Advance::Claim(n) => {
                let Some(position) = self.find(n) else { return false };
                self.wipe(position, 1);
            }
            Advance::Forward { from, skipped, next } => {
                if from != self.receiving.next {
                    return false;
                }
                self.receiving = next;
                self.store(skipped);
            }
        }
        true
    }

    pub(super) const fn skipped_len(&self) -> usize {
        self.skipped.len()
    }

    /// Forgets up to `count` skipped keys, oldest first, and says how many.
    pub(super) fn drop_oldest(&mut self, count: usize) -> usize {
        let count = count.min(self.skipped.len());
        self.wipe(0, count);
        count
    }

    /// Removes `count` keys from `position` on. `Vec::remove` and `Vec::drain` would leave copies in the spare room;
    /// what `truncate` drops is wiped where it lies.
    fn wipe(&mut self, position: usize, count: usize) {
        self.skipped[position..].rotate_left(count);
        self.skipped.truncate(self.skipped.len() - count);
    }

    fn find(&self, n: u32) -> Option<usize> {
        self.skipped.binary_search_by_key(&n, |skipped| skipped.n).ok()
    }

    fn store(&mut self, new: Vec<SkippedKey>) {
        if self.skipped.is_empty() {
            self.skipped = new;
        } else if !new.is_empty() {
            // Grown by hand: when a vector grows by itself, the old memory keeps copies of the keys.
            let mut merged = Vec::with_capacity(self.skipped.len() + new.len());
            for old in self.skipped.iter().chain(&new) {
                merged.push(SkippedKey { n: old.n, key: old.key });
            }
            self.skipped = merged;
        }
    }
}

//! The other relays that serve the same store, and what they say to each other so that limits hold over all of them together: an
//! account or address that spreads over many relays gets what it gets at one.
//!
//! Each relay decides alone and at once, by what it took itself and by what it heard. It tells the others what a key took as soon as
//! that is a [`TOLD_PART`]th of the burst, and what is left each minute. So a request waits for nothing, one that stays far below its
//! limit costs a word a minute at most, and what the relays do not know of one another is bounded:
//!
//! | | one relay | N relays that reach each other | N that do not |
//! |---|---|---|---|
//! | at once | burst | burst × (1 + (N − 1) / 16), and what is taken while a word is under way | N × burst |
//! | in the long run | rate | rate | N × rate |
//!
//! While a word is under way each relay may give out what is left of its burst, N bursts in all, once: what is too much is owed, and
//! has to be regained before anything else is given, up to [`MAX_DEBT`] bursts. Words may be lost: then what they told counts at one
//! relay alone. One that is newly reached is told what has not rested yet ([`Listener::summary`]).
//!
//! Not shared is what protects a machine and not the store: connections, handshakes, bytes that are held, room on the disk.
//!
//! # Bytes
//! ```text
//! words = word …
//! word  = length u8 ‖ kind u8 ‖ body           length: bytes of kind and body; all numbers big-endian
//! 1 used        limit u8 ‖ units u32 ‖ key     so many units more were taken
//! 2 rests       limit u8 ‖ ms u64 ‖ key        it will have rested in so many milliseconds
//! 3 registered  account 16 ‖ at u64            an account, and when, Unix milliseconds
//! 4 submitted   account 16 ‖ bytes u64         so many bytes more, on its first day
//! 5 has         account 16 ‖ bytes u64         so many bytes in all, on its first day
//! 6 gone        account 16                     it was deleted
//! ```
//! Limits and keys: [`crate::limits`]. Kinds and limits that are not known are skipped, and so is what does not fit its kind.

use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use kuvert_types::AccountId;

/// Which part of a burst is told at once.
pub const TOLD_PART: u32 = 16;

/// Bursts that a key can owe at most: no relay has more others than this.
pub const MAX_DEBT: u32 = 64;

/// Bytes of words that are said at once.
pub const MAX_BYTES: usize = 32 * 1024;

/// Relays that serve the same store.
pub trait Others: fmt::Debug + Send + Sync + 'static {
    /// Says words to each that is reached. They may be lost; nothing is waited for.
    fn tell(&self, words: Bytes);

    /// From now on this one hears what they say.
    fn listen(&self, listener: Weak<dyn Listener>);
}

/// Who hears what other relays say. Nothing here may block.
pub trait Listener: Send + Sync + 'static {
    /// Another relay said this.
    fn hear(&self, words: &[u8]);

    /// What a relay is to know that is reached from now on.
    fn summary(&self) -> Vec<Bytes>;
}

/// One word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word<'a> {
    /// So many units more were taken.
    Used {
        /// Its number.
        limit: u8,
        /// Of whom.
        key: &'a [u8],
        /// How many.
        units: u32,
    },
    /// It will have rested in so long.
    Rests {
        /// Its number.
        limit: u8,
        /// Who.
        key: &'a [u8],
        /// In so long.
        time: Duration,
    },
    /// An account, and when it registered (Unix milliseconds).
    Registered(AccountId, u64),
    /// So many bytes more, on its first day.
    Submitted(AccountId, u64),
    /// So many bytes in all, on its first day.
    Has(AccountId, u64),
    /// The account was deleted.
    Gone(AccountId),
}

impl<'a> Word<'a> {
    fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Used { limit, key, units } => {
                out.extend([1, limit]);
                out.put_u32(units);
                out.extend(key);
            }
            Self::Rests { limit, key, time } => {
                out.extend([2, limit]);
                out.put_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
                out.extend(key);
            }
            Self::Registered(account, at) => put_account(out, 3, account, Some(at)),
            Self::Submitted(account, bytes) => put_account(out, 4, account, Some(bytes)),
            Self::Has(account, bytes) => put_account(out, 5, account, Some(bytes)),
            Self::Gone(account) => put_account(out, 6, account, None),
        }
    }

    fn of(mut bytes: &'a [u8]) -> Option<Self> {
        let kind = bytes.try_get_u8().ok()?;
        let word = match kind {
            1 => {
                let (limit, units) = (bytes.try_get_u8().ok()?, bytes.try_get_u32().ok()?);
                Self::Used { limit, units, key: std::mem::take(&mut bytes) }
            }
            2 => {
                let (limit, time) = (bytes.try_get_u8().ok()?, bytes.try_get_u64().ok()?);
                Self::Rests { limit, time: Duration::from_millis(time), key: std::mem::take(&mut bytes) }
            }
            3 => Self::Registered(account(&mut bytes)?, bytes.try_get_u64().ok()?),
            4 => Self::Submitted(account(&mut bytes)?, bytes.try_get_u64().ok()?),
            5 => Self::Has(account(&mut bytes)?, bytes.try_get_u64().ok()?),
            6 => Self::Gone(account(&mut bytes)?),
            _ => return None,
        };
        bytes.is_empty().then_some(word)
    }
}

fn put_account(out: &mut Vec<u8>, kind: u8, account: AccountId, number: Option<u64>) {
    out.put_u8(kind);
    out.extend(account.as_bytes());
    if let Some(number) = number {
        out.put_u64(number);
    }
}

fn account(bytes: &mut &[u8]) -> Option<AccountId> {
    let mut id = [0; 16];
    bytes.try_copy_to_slice(&mut id).ok()?;
    Some(AccountId::from_bytes(id))
}

/// Words that are to be said, in pieces of at most [`MAX_BYTES`].
#[derive(Debug, Default)]
pub struct Words {
    pieces: Vec<Bytes>,
    last: Vec<u8>,
}

impl Words {
    /// One word more. What is longer than a word can be is left out.
    pub fn push(&mut self, word: &Word<'_>) {
        let begin = self.last.len();
        self.last.push(0);
        word.put(&mut self.last);
        match (u8::try_from(self.last.len() - begin - 1), self.last.get_mut(begin)) {
            (Ok(length), Some(head)) => *head = length,
            _ => self.last.truncate(begin),
        }
        if self.last.len() > MAX_BYTES - usize::from(u8::MAX) {
            self.pieces.push(std::mem::take(&mut self.last).into());
        }
    }

    /// All of them.
    pub fn into_pieces(mut self) -> Vec<Bytes> {
        if !self.last.is_empty() {
            self.pieces.push(self.last.into());
        }
        self.pieces
    }

    /// Says all of them.
    pub fn tell(self, others: &dyn Others) {
        self.into_pieces().into_iter().for_each(|words| others.tell(words));
    }
}

/// Says one word.
pub fn tell(others: &dyn Others, word: &Word<'_>) {
    let mut words = Words::default();
    words.push(word);
    words.tell(others);
}

/// The words that were said; those that are not known are left out.
pub fn words(mut bytes: &[u8]) -> impl Iterator<Item = Word<'_>> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first()?;
        let (word, rest) = rest.split_at_checked(usize::from(*length))?;
        bytes = rest;
        Some(Word::of(word))
    })
    .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALICE: AccountId = AccountId::from_bytes([1; 16]);

    #[test]
    fn what_is_said_is_heard_and_newer_words_are_skipped() {
        let said = [
            Word::Used { limit: 1, key: b"key", units: 7 },
            Word::Rests { limit: 200, key: b"", time: Duration::from_millis(5) },
            Word::Registered(ALICE, 8),
            Word::Submitted(ALICE, 9),
            Word::Has(ALICE, u64::MAX),
            Word::Gone(ALICE),
        ];
        let mut all = Words::default();
        said.iter().for_each(|word| all.push(word));
        let [piece] = &all.into_pieces()[..] else { panic!("one piece") };
        assert_eq!(words(piece).collect::<Vec<_>>(), said);
        let newer = [&[2, 99, 1][..], &[3, 6, 1, 1], piece].concat();
        assert_eq!(words(&newer).collect::<Vec<_>>(), said, "an unknown kind, and one that is too short");
        let cut = &piece[..piece.len() - 1];
        assert_eq!(words(cut).collect::<Vec<_>>(), said[..5]);
    }

    #[test]
    fn many_words_are_said_in_pieces_and_too_long_ones_not_at_all() {
        let (mut all, count) = (Words::default(), 10_000);
        for units in 0..count {
            all.push(&Word::Used { limit: 1, key: &[7; 32], units });
            all.push(&Word::Used { limit: 1, key: &[7; 300], units });
        }
        let pieces = all.into_pieces();
        assert!(pieces.len() > 10 && pieces.iter().all(|piece| piece.len() <= MAX_BYTES));
        let heard = pieces.iter().flat_map(|piece| words(piece)).map(|word| match word {
            Word::Used { units, .. } => units,
            other => panic!("{other:?}"),
        });
        assert!(heard.eq(0..count));
        assert!(Words::default().into_pieces().is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_words_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            words(&bytes).for_each(drop);
        }
    }
}

//! Who may fill how much of a mailbox (KV-087).
//!
//! | sender | together | one account |
//! |---|---|---|
//! | contacts | the whole mailbox | an eighth |
//! | sealed mail | a half | not known |
//! | strangers | a quarter | an eighth of what other strangers left of the quarter |
//!
//! So a quarter of the mailbox is the contacts' alone, and no single account reaches all of it: a contact that has the access key
//! and uses it for sealed mail, too, gets five eighths. An account that fills its share as a stranger leaves 7 of 8 parts of
//! what was there to the next one.

use kuvert_types::limits::{
    CONTACT_PART, MAX_MAILBOX_BYTES, MAX_MAILBOX_ENVELOPES, SEALED_PART, STRANGER_FLOOR_BYTES, STRANGER_PART,
    STRANGERS_PART,
};
use kuvert_types::{AccountId, Address};

/// Which bound an envelope would break: the mailbox's, or that of its sender's share (see the module's head). Which of
/// the two is not said, because it would tell a sender about others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MailboxFull {
    /// Of [`MAX_MAILBOX_ENVELOPES`].
    #[error("too many envelopes wait, of {MAX_MAILBOX_ENVELOPES} in all")]
    Envelopes,
    /// Of [`MAX_MAILBOX_BYTES`].
    #[error("too many bytes would wait, of {MAX_MAILBOX_BYTES} in all")]
    Bytes,
}

/// Whose share an envelope counts for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// Mail that names no source: all of it together.
    Sealed,
    /// An account that showed the recipient's access key with this envelope; the recipient's own account.
    Contact(AccountId),
    /// An account that showed none, or another one.
    Stranger(AccountId),
}

impl Sender {
    /// The sender of an envelope with this source; `contact`: it came with the recipient's access key, or
    /// from its own account.
    pub fn of(source: Option<Address>, contact: bool) -> Self {
        match source {
            None => Self::Sealed,
            Some(source) if contact => Self::Contact(source.account),
            Some(source) => Self::Stranger(source.account),
        }
    }

    /// The account, if it is known.
    pub const fn account(self) -> Option<AccountId> {
        match self {
            Self::Sealed => None,
            Self::Contact(account) | Self::Stranger(account) => Some(account),
        }
    }
}

/// Envelopes, and their bytes of ciphertext.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Amount {
    /// Envelopes.
    pub envelopes: u64,
    /// Bytes of ciphertext.
    pub bytes: u64,
}

impl Amount {
    /// A whole mailbox.
    pub const MAILBOX: Self = Self { envelopes: MAX_MAILBOX_ENVELOPES, bytes: MAX_MAILBOX_BYTES };

    /// One envelope.
    pub fn one(bytes: u32) -> Self {
        Self { envelopes: 1, bytes: bytes.into() }
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { envelopes: self.envelopes + other.envelopes, bytes: self.bytes + other.bytes }
    }

    /// What is left without `other`, at least nothing.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self {
            envelopes: self.envelopes.saturating_sub(other.envelopes),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    /// One part in so many, rounded down.
    #[must_use]
    pub const fn part(self, of: u64) -> Self {
        Self { envelopes: self.envelopes / of, bytes: self.bytes / of }
    }

    /// That it is no more than `bound`.
    ///
    /// # Errors
    /// What is over the bound.
    pub const fn within(self, bound: Self) -> Result<(), MailboxFull> {
        if self.envelopes > bound.envelopes {
            Err(MailboxFull::Envelopes)
        } else if self.bytes > bound.bytes {
            Err(MailboxFull::Bytes)
        } else {
            Ok(())
        }
    }
}

/// What waits, as far as it matters for one sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    /// In the whole mailbox.
    pub all: Amount,
    /// Of strangers together.
    pub strangers: Amount,
    /// In the sender's own share.
    pub own: Amount,
}

/// Whether an envelope of `size` bytes of this sender's still fits.
///
/// # Errors
/// Which bound it would break: of the mailbox, or of the sender's share.
pub fn admit(sender: Sender, waiting: &Waiting, size: u32) -> Result<(), MailboxFull> {
    let new = Amount::one(size);
    waiting.all.and(new).within(Amount::MAILBOX)?;
    let own = waiting.own.and(new);
    match sender {
        Sender::Sealed => own.within(Amount::MAILBOX.part(SEALED_PART)),
        Sender::Contact(_) => own.within(Amount::MAILBOX.part(CONTACT_PART)),
        Sender::Stranger(_) => {
            let together = Amount::MAILBOX.part(STRANGERS_PART);
            waiting.strangers.and(new).within(together)?;
            let others = waiting.strangers.without(waiting.own);
            let share = together.without(others).part(STRANGER_PART);
            own.within(Amount { envelopes: share.envelopes.max(1), bytes: share.bytes.max(STRANGER_FLOOR_BYTES) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(envelopes: u64, bytes: u64) -> Amount {
        Amount { envelopes, bytes }
    }

    const ALICE: AccountId = AccountId::from_bytes([1; 16]);

    /// Fills up as one sender, beside what is there. Says with how much.
    fn fill(sender: Sender, all: &mut Amount, strangers: &mut Amount, size: u32) -> Amount {
        let mut own = Amount::default();
        while admit(sender, &Waiting { all: *all, strangers: *strangers, own }, size).is_ok() {
            let new = Amount::one(size);
            own = own.and(new);
            *all = all.and(new);
            if matches!(sender, Sender::Stranger(_)) {
                *strangers = strangers.and(new);
            }
        }
        own
    }

    #[test]
    fn each_share_holds_to_the_last_envelope_and_byte() {
        for (sender, envelopes, bytes) in [
            (Sender::Sealed, 10_000, 32 << 20),
            (Sender::Contact(ALICE), 2_500, 8 << 20),
            (Sender::Stranger(ALICE), 625, 2 << 20),
        ] {
            let with = |own: Amount, size| admit(sender, &Waiting { all: own, strangers: own, own }, size);
            assert_eq!(with(amount(envelopes - 1, 0), 1), Ok(()), "{sender:?}");
            assert_eq!(with(amount(envelopes, 0), 1), Err(MailboxFull::Envelopes), "{sender:?}");
            assert_eq!(with(amount(1, bytes - 7), 7), Ok(()), "{sender:?}");
            assert_eq!(with(amount(1, bytes - 7), 8), Err(MailboxFull::Bytes), "{sender:?}");
        }
    }

    #[test]
    fn the_whole_mailbox_is_a_bound_for_all() {
        for sender in [Sender::Sealed, Sender::Contact(ALICE), Sender::Stranger(ALICE)] {
            let with = |all, size| admit(sender, &Waiting { all, ..Waiting::default() }, size);
            assert_eq!(with(amount(MAX_MAILBOX_ENVELOPES - 1, 0), 1), Ok(()));
            assert_eq!(with(amount(MAX_MAILBOX_ENVELOPES, 0), 1), Err(MailboxFull::Envelopes));
            assert_eq!(with(amount(1, MAX_MAILBOX_BYTES - 7), 7), Ok(()));
            assert_eq!(with(amount(1, MAX_MAILBOX_BYTES - 7), 8), Err(MailboxFull::Bytes));
        }
    }

    #[test]
    fn each_stranger_leaves_room_for_the_next_until_all_have_filled_their_part_together() {
        for size in [1, 2_000, 8 * 1024] {
            let (mut all, mut strangers) = (Amount::default(), Amount::default());
            let mut accounts = 0;
            loop {
                let own = fill(Sender::Stranger(ALICE), &mut all, &mut strangers, size);
                if own == Amount::default() {
                    break;
                }
                accounts += 1;
            }
            let part = Amount::MAILBOX.part(STRANGERS_PART);
            assert!(strangers.within(part).is_ok());
            assert!(strangers.and(Amount::one(size)).within(part).is_err(), "to the last envelope of {size} bytes");
            assert!(accounts > 45, "{accounts} accounts fill it with {size} bytes");
        }
    }

    #[test]
    fn strangers_and_sealed_mail_and_one_contact_together_leave_room_for_another_contact() {
        let (mut all, mut strangers) = (Amount::default(), Amount::default());
        while fill(Sender::Stranger(ALICE), &mut all, &mut strangers, 8_000) != Amount::default() {}
        fill(Sender::Sealed, &mut all, &mut strangers, 8_000);
        let quarter = Amount::MAILBOX.part(4);
        assert!(all.within(amount(quarter.envelopes * 3, quarter.bytes * 3)).is_ok(), "{all:?}");
        fill(Sender::Contact(ALICE), &mut all, &mut strangers, 8_000);
        let next = fill(Sender::Contact(AccountId::from_bytes([2; 16])), &mut all, &mut strangers, 8_000);
        assert!(next.bytes > 7 << 20, "{next:?}");
    }

    #[test]
    fn a_sender_is_told_by_source_and_key() {
        let source = Address { account: ALICE, device: kuvert_types::DeviceId::PRIMARY };
        assert_eq!(Sender::of(None, true), Sender::Sealed);
        assert_eq!(Sender::of(Some(source), true), Sender::Contact(ALICE));
        assert_eq!(Sender::of(Some(source), false), Sender::Stranger(ALICE));
        assert_eq!((Sender::Sealed.account(), Sender::Contact(ALICE).account()), (None, Some(ALICE)));
    }
}

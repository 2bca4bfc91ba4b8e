//! Bytes of requests that the relay holds: of frames that have begun and are not whole, and of requests that are not answered
//! yet [KV-102]. One budget over all connections, so that what one of them may hold, times how many there are, is not what an
//! attacker gets.
//!
//! ```text
//! a connection  ≤ its own bounds (a frame, MAX_BYTES_IN_FLIGHT)
//!   an account  ≤ MAX_HELD_PER_ACCOUNT, on all its connections; without a name together ≤ MAX_HELD_UNNAMED
//!     the relay ≤ MAX_HELD
//! ```
//! Frames of at most [`UNCOUNTED`] bytes are not counted: they are most of all, and their number bounds them. A connection
//! that would need more than is left ends, and what it held is free at once. Waiting for room instead would let those that
//! hold it keep others waiting.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kuvert_types::AccountId;

use super::FRAME_DEADLINE;

/// Bytes that all connections hold together: 2,000 of the largest requests.
pub const MAX_HELD: usize = 256 * 1024 * 1024;

/// Of these, what connections hold on which no device has authenticated: those are never more than a quarter in the way of
/// accounts.
pub const MAX_HELD_UNNAMED: usize = MAX_HELD / 4;

/// Bytes that one account holds, on the connections of all its devices: what five of them can hold at most.
pub const MAX_HELD_PER_ACCOUNT: usize = 2 * 1024 * 1024;

/// A frame of so many bytes is not counted.
pub const UNCOUNTED: usize = 1024;

/// [`FRAME_DEADLINE`] while half of a bound is held: who holds much and sends slowly makes room for others. 128 KiB in that
/// time are 100 kbit/s.
pub const FRAME_DEADLINE_UNDER_PRESSURE: Duration = Duration::from_secs(10);

/// Whose bytes are counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Holder {
    /// An account's.
    Account(AccountId),
    /// Those of all connections without a name.
    Unnamed,
}

/// The bounds; tests have smaller ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Of all.
    pub all: usize,
    /// Of all without a name.
    pub unnamed: usize,
    /// Of each account.
    pub account: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { all: MAX_HELD, unnamed: MAX_HELD_UNNAMED, account: MAX_HELD_PER_ACCOUNT }
    }
}

/// There is no room for more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

/// What is held, of all connections of a relay.
#[derive(Debug)]
pub struct Budget {
    bounds: Bounds,
    held: Mutex<Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    all: usize,
    by_holder: HashMap<Holder, usize>,
}

impl Budget {
    /// Nothing is held yet.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, held: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        // The sums are right after every statement that matters, so a panic elsewhere does not spoil them.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const fn bound(&self, holder: Holder) -> usize {
        match holder {
            Holder::Account(_) => self.bounds.account,
            Holder::Unnamed => self.bounds.unnamed,
        }
    }

    /// How long a frame may take from now on, of one that holds bytes of a request.
    pub fn frame_deadline(&self, holder: Holder) -> Duration {
        let held = self.lock();
        let of_holder = held.by_holder.get(&holder).copied().unwrap_or(0);
        // An account's own bytes are in no other's way.
        let pressed =
            held.all > self.bounds.all / 2 || (holder == Holder::Unnamed && of_holder > self.bounds.unnamed / 2);
        if pressed { FRAME_DEADLINE_UNDER_PRESSURE } else { FRAME_DEADLINE }
    }

    /// Bytes that are held in all.
    pub fn sum(&self) -> usize {
        self.lock().all
    }

    fn take(&self, holder: Holder, bytes: usize) -> Result<(), NoRoom> {
        let mut held = self.lock();
        let of_holder = held.by_holder.get(&holder).copied().unwrap_or(0);
        let (all, of_holder) = (held.all.saturating_add(bytes), of_holder.saturating_add(bytes));
        if all > self.bounds.all || of_holder > self.bound(holder) {
            return Err(NoRoom);
        }
        held.all = all;
        held.by_holder.insert(holder, of_holder);
        Ok(())
    }

    fn give_back(&self, holder: Holder, bytes: usize) {
        let mut held = self.lock();
        held.all = held.all.saturating_sub(bytes);
        if let Entry::Occupied(mut of_holder) = held.by_holder.entry(holder) {
            *of_holder.get_mut() = of_holder.get().saturating_sub(bytes);
            if *of_holder.get() == 0 {
                of_holder.remove();
            }
        }
    }
}

/// Bytes that one connection holds. Given back when dropped.
#[derive(Debug)]
pub struct Held {
    budget: Arc<Budget>,
    holder: Holder,
    bytes: usize,
}

impl Held {
    /// Nothing yet.
    pub fn nothing(budget: &Arc<Budget>, holder: Holder) -> Self {
        Self { budget: Arc::clone(budget), holder, bytes: 0 }
    }

    /// Holds so many bytes from now on, more or fewer than before; none of up to [`UNCOUNTED`].
    ///
    /// # Errors
    /// There is no room for them. It holds what it held.
    pub fn hold(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let bytes = if bytes <= UNCOUNTED { 0 } else { bytes };
        if bytes > self.bytes {
            self.budget.take(self.holder, bytes - self.bytes)?;
        } else if bytes < self.bytes {
            self.budget.give_back(self.holder, self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Parts with so many of its bytes, or with all where it holds fewer; `None` if those are none.
    pub fn split(&mut self, bytes: usize) -> Option<Self> {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        (bytes > 0).then(|| Self { budget: Arc::clone(&self.budget), holder: self.holder, bytes })
    }

    /// How long the frame at its front may take.
    pub fn frame_deadline(&self) -> Duration {
        self.budget.frame_deadline(self.holder)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give_back(self.holder, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Holder = Holder::Account(AccountId::from_bytes([1; 16]));
    const BOB: Holder = Holder::Account(AccountId::from_bytes([2; 16]));
    const KIB: usize = 1024;

    fn budget() -> Arc<Budget> {
        Budget::new(Bounds { all: 100 * KIB, unnamed: 25 * KIB, account: 40 * KIB })
    }

    #[test]
    fn an_account_those_without_a_name_and_all_together_hold_so_much_and_no_more() {
        let budget = budget();
        let mut of = |holder| Held::nothing(&budget, holder);
        let [mut alice, mut alices_other, mut bob, mut unnamed] = [ALICE, ALICE, BOB, Holder::Unnamed].map(&mut of);
        assert_eq!(alice.hold(30 * KIB), Ok(()));
        assert_eq!(alices_other.hold(10 * KIB + 1), Err(NoRoom), "all connections of an account count");
        assert_eq!(alices_other.hold(10 * KIB), Ok(()));
        assert_eq!(unnamed.hold(25 * KIB + 1), Err(NoRoom));
        assert_eq!(unnamed.hold(25 * KIB), Ok(()));
        assert_eq!(bob.hold(35 * KIB + 1), Err(NoRoom), "all together");
        assert_eq!(bob.hold(35 * KIB), Ok(()));
        assert_eq!(budget.sum(), 100 * KIB);
        assert_eq!(alice.hold(30 * KIB), Ok(()), "as much as before");
        assert_eq!(alice.hold(20 * KIB), Ok(()));
        assert_eq!(bob.hold(40 * KIB), Ok(()), "what one gives back another has");
        drop(unnamed);
        assert_eq!(budget.sum(), 70 * KIB);
        drop((alice, alices_other, bob));
        assert_eq!(budget.sum(), 0);
        assert!(budget.lock().by_holder.is_empty(), "no holder is remembered");
    }

    #[test]
    fn small_frames_are_not_counted() {
        let budget = budget();
        let small: Vec<Held> = (0..1_000)
            .map(|_| {
                let mut held = Held::nothing(&budget, ALICE);
                held.hold(UNCOUNTED).unwrap();
                held
            })
            .collect();
        assert_eq!(budget.sum(), 0);
        drop(small);
        let mut held = Held::nothing(&budget, ALICE);
        held.hold(UNCOUNTED + 1).unwrap();
        assert_eq!(budget.sum(), UNCOUNTED + 1);
        held.hold(UNCOUNTED).unwrap();
        assert_eq!(budget.sum(), 0, "what is left of a large one");
    }

    #[test]
    fn a_request_takes_its_part_along_and_gives_it_back_with_its_answer() {
        let budget = budget();
        let mut reader = Held::nothing(&budget, ALICE);
        reader.hold(30 * KIB).unwrap();
        let request = reader.split(20 * KIB).unwrap();
        assert_eq!(reader.hold(10 * KIB), Ok(()));
        assert_eq!(budget.sum(), 30 * KIB);
        assert_eq!(reader.hold(21 * KIB), Err(NoRoom));
        drop(request);
        assert_eq!(reader.hold(21 * KIB), Ok(()));
        assert!(Held::nothing(&budget, BOB).split(5).is_none());
        assert_eq!(reader.split(usize::MAX).unwrap().bytes, 21 * KIB);
    }

    #[test]
    fn slow_frames_have_less_time_once_half_is_held() {
        let budget = budget();
        let mut held = Vec::new();
        let mut hold = |holder, bytes: usize| {
            let mut one = Held::nothing(&budget, holder);
            one.hold(bytes).unwrap();
            held.push(one);
        };
        hold(ALICE, 40 * KIB);
        hold(Holder::Unnamed, 10 * KIB);
        assert_eq!(budget.frame_deadline(ALICE), FRAME_DEADLINE);
        assert_eq!(budget.frame_deadline(Holder::Unnamed), FRAME_DEADLINE);
        hold(Holder::Unnamed, 3 * KIB);
        assert_eq!(budget.frame_deadline(BOB), FRAME_DEADLINE_UNDER_PRESSURE, "53 of 100");
        assert_eq!(budget.frame_deadline(Holder::Unnamed), FRAME_DEADLINE_UNDER_PRESSURE);
        assert_eq!(held[0].frame_deadline(), FRAME_DEADLINE_UNDER_PRESSURE, "that of its holder");
        held.remove(0);
        assert_eq!(budget.frame_deadline(BOB), FRAME_DEADLINE);
        assert_eq!(Held::nothing(&budget, BOB).frame_deadline(), FRAME_DEADLINE);
        assert_eq!(budget.frame_deadline(Holder::Unnamed), FRAME_DEADLINE_UNDER_PRESSURE, "13 of 25");
    }

    /// The bounds leave one connection its own.
    const _: () = {
        let one = super::super::MAX_BYTES_IN_FLIGHT + 2 * kuvert_types::limits::MAX_FRAME_BYTES;
        assert!(MAX_HELD_PER_ACCOUNT >= 4 * one);
        assert!(MAX_HELD_UNNAMED >= 100 * super::super::MAX_SEALED_FRAME_BYTES);
        assert!(MAX_HELD >= 100 * MAX_HELD_PER_ACCOUNT);
    };
}

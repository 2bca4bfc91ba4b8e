//! What time it is for a relay: the machine's clock, as long as it goes on from where the store was used last.
//!
//! A clock that is wrong once, for one start, must erase nothing. So the relay knows how far it had come ([`KnownTime`], kept in the
//! store), and between two looks no more time passes than it runs. A clock that is further away than [`MAX_STEP`] is *in
//! doubt*: then two times hold, so that either may turn out to be right.
//!
//! | | the clock is ahead | the clock is behind, while running |
//! |---|---|---|
//! | what is due ([`RelayClock::now_ms`]): expiry, deadlines | the known time, going on | the clock's |
//! | what mail is stamped with and clients are told ([`RelayClock::stamp_ms`]) | the clock's | the known time, going on |
//!
//! Nothing is erased early and nothing that is accepted is old at once. The doubt ends when the clock is back within
//! [`MAX_STEP`], when the relay has run with it for [`CONFIRMED_AFTER`], or when the operator says that it is right. Mail
//! that is stamped later than the time that turned out to be right gets that time ([`crate::store::Store::restamp`]). A
//! relay does not start with a clock that is far behind.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kuvert_privacy::time::utc;

use crate::clock::Clock;
use crate::store::{Doubt, KnownTime, Times};

/// How far the clock may step, in either direction, without being doubted: set by hand, a time zone, a night without power.
pub const MAX_STEP: Duration = Duration::from_secs(24 * 60 * 60);

/// A clock in doubt is taken for right when the relay has run with it for so long.
pub const CONFIRMED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A step back by more can leave mail that is stamped later than now.
const NOTICED_STEP: Duration = Duration::from_secs(60);

/// 2026-01-01 UTC, Unix milliseconds. This program is younger: a clock before that is not set.
pub const EARLIEST_MS: u64 = 1_767_225_600_000;

/// The clock is so far behind that a relay does not start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "this machine's clock says {}, and this relay has been at {}: set the clock and start again. If the clock is right, start once with --trust-clock",
    utc(*clock), utc(*known)
)]
pub struct ClockBehind {
    /// What the clock says, Unix milliseconds.
    pub clock: u64,
    /// Where the relay had been, or the time before which no clock is set, Unix milliseconds.
    pub known: u64,
}

/// See the module's head.
pub struct RelayClock {
    inner: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The time that was right, and [`Clock::elapsed`] then.
    right: u64,
    at: Duration,
    doubt: Option<Running>,
    restamp: bool,
}

/// A doubt in this process.
#[derive(Clone, Copy, Debug)]
struct Running {
    step_ms: i64,
    /// For how long the relay had run so before `since`.
    ran: Duration,
    since: Duration,
}

impl Running {
    fn ran(&self, elapsed: Duration) -> Duration {
        self.ran.saturating_add(elapsed.saturating_sub(self.since))
    }
}

/// Both times of a moment.
struct Look {
    due: u64,
    stamp: u64,
}

impl fmt::Debug for RelayClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayClock").field("state", &*self.lock()).finish_non_exhaustive()
    }
}

impl RelayClock {
    /// Goes on from what the store knows. With `trust` the clock is right, whatever the store knows.
    ///
    /// # Errors
    /// [`ClockBehind`].
    pub fn start(inner: Arc<dyn Clock>, times: &Times, trust: bool) -> Result<Self, ClockBehind> {
        let (raw, at) = (inner.now_ms(), inner.elapsed());
        let before = times.known.map(|known| known.at).or(times.newest);
        let floor = before.unwrap_or(0).saturating_sub(millis(MAX_STEP)).max(EARLIEST_MS);
        if raw < floor && !trust {
            return Err(ClockBehind { clock: raw, known: before.unwrap_or(0).max(EARLIEST_MS) });
        }
        let right = before.filter(|_| !trust).unwrap_or(raw);
        let doubt = times.known.and_then(|known| known.doubt).filter(|_| !trust).map(|doubt| Running {
            step_ms: doubt.step_ms,
            ran: Duration::from_millis(doubt.ran_ms),
            since: at,
        });
        if trust && before.is_some_and(|before| step(raw, before).unsigned_abs() > millis(MAX_STEP)) {
            tracing::warn!("the clock is far from where this relay has been, and the operator says that it is right");
        }
        let clock = Self { inner, state: Mutex::new(State { right, at, doubt, restamp: false }) };
        // A doubt that goes on is told again: this is another start.
        if clock.look().due == raw {
            clock.lock().restamp |= times.newest.is_some_and(|newest| newest > raw);
        } else if doubt.is_some() {
            clock.warn();
        }
        Ok(clock)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time by which things are due, Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.look().due
    }

    /// As [`Clock::elapsed`].
    pub fn elapsed(&self) -> Duration {
        self.inner.elapsed()
    }

    /// What mail is stamped with that is accepted now, and what clients are told, Unix milliseconds.
    pub fn stamp_ms(&self) -> u64 {
        self.look().stamp
    }

    /// By how many milliseconds the clock is ahead (or, negative, behind) while it is in doubt.
    pub fn doubt(&self) -> Option<i64> {
        self.look();
        self.lock().doubt.map(|doubt| doubt.step_ms)
    }

    /// What the store is to know.
    pub fn known(&self) -> KnownTime {
        self.look();
        let (state, elapsed) = (self.lock(), self.inner.elapsed());
        let ran = |doubt: Running| u64::try_from(doubt.ran(elapsed).as_millis()).unwrap_or(u64::MAX);
        KnownTime {
            at: state.right.saturating_add(millis(elapsed.saturating_sub(state.at))),
            doubt: state.doubt.map(|doubt| Doubt { step_ms: doubt.step_ms, ran_ms: ran(doubt) }),
        }
    }

    /// Whether mail may be stamped later than the time that turned out to be right.
    pub fn must_restamp(&self) -> bool {
        self.look();
        let state = self.lock();
        state.restamp && state.doubt.is_none()
    }

    /// It is not any more.
    pub fn restamped(&self) {
        self.lock().restamp = false;
    }

    fn look(&self) -> Look {
        let (raw, elapsed) = (self.inner.now_ms(), self.inner.elapsed());
        let mut state = self.lock();
        let going_on = state.right.saturating_add(millis(elapsed.saturating_sub(state.at)));
        let by = step(raw, going_on);
        let near = by.unsigned_abs() <= millis(MAX_STEP);
        // The same clock as before, or another one that has to be confirmed from the beginning?
        let same = state.doubt.filter(|doubt| doubt.step_ms.abs_diff(by) <= millis(MAX_STEP));
        let confirmed = same.is_some_and(|doubt| doubt.ran(elapsed) >= CONFIRMED_AFTER);
        if near || confirmed {
            if state.doubt.take().is_some() {
                if near {
                    tracing::warn!("the clock is back where it was expected: expiry goes on by it");
                } else {
                    tracing::warn!(
                        step_seconds = by / 1000,
                        "the relay has run with this clock for 24 hours: it is taken for right, and expiry goes on by it"
                    );
                }
                state.restamp = true;
            }
            state.restamp |= by < 0 && by.unsigned_abs() > millis(NOTICED_STEP);
            (state.right, state.at) = (raw, elapsed);
            return Look { due: raw, stamp: raw };
        }
        if same.is_none() {
            state.doubt = Some(Running { step_ms: by, ran: Duration::ZERO, since: elapsed });
            drop(state);
            self.warn();
        }
        Look { due: raw.min(going_on), stamp: raw.max(going_on) }
    }

    fn warn(&self) {
        if let Some(doubt) = self.lock().doubt {
            let side = if doubt.step_ms < 0 { "behind" } else { "ahead of" };
            tracing::warn!(
                step_seconds = doubt.step_ms / 1000,
                "the clock is more than a day {side} the time at which this relay was last used: until that is cleared up nothing \
                 is deleted for its age. Check the clock. If it is right, start once with --trust-clock; else the relay \
                 takes it for right when it has run with it for 24 hours"
            );
        }
    }
}

impl Clock for RelayClock {
    fn now_ms(&self) -> u64 {
        Self::now_ms(self)
    }

    fn elapsed(&self) -> Duration {
        Self::elapsed(self)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// From `from` to `to`.
fn step(to: u64, from: u64) -> i64 {
    let signed = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    signed(to) - signed(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteppedClock;

    const NOON: u64 = 1_800_000_000_000;
    const DAY: u64 = 86_400_000;

    fn at(now: u64) -> Arc<SteppedClock> {
        Arc::new(SteppedClock::new(now))
    }

    fn known(at: u64) -> Times {
        Times { known: Some(KnownTime { at, doubt: None }), newest: Some(at) }
    }

    fn both(clock: &RelayClock) -> (u64, u64) {
        (clock.now_ms(), clock.stamp_ms())
    }

    #[test]
    fn a_clock_that_goes_on_is_followed() {
        for (times, now) in
            [(Times::default(), NOON), (known(NOON), NOON + DAY), (known(NOON), NOON - DAY), (known(NOON), NOON)]
        {
            let machine = at(now);
            let clock = RelayClock::start(machine.clone(), &times, false).unwrap();
            assert_eq!((both(&clock), clock.doubt()), ((now, now), None));
            assert_eq!(clock.must_restamp(), times.newest.is_some_and(|newest| newest > now));
            machine.run(40 * DAY);
            assert_eq!(both(&clock), (now + 40 * DAY, now + 40 * DAY), "time that passes while it runs is time");
            assert_eq!(clock.known(), KnownTime { at: now + 40 * DAY, doubt: None });
        }
    }

    #[test]
    fn a_start_with_a_clock_ahead_makes_nothing_due_and_stamps_nothing_old() {
        let machine = at(NOON + 31 * DAY);
        let clock = RelayClock::start(machine.clone(), &known(NOON), false).unwrap();
        assert_eq!(both(&clock), (NOON, NOON + 31 * DAY));
        machine.run(1_000);
        assert_eq!(both(&clock), (NOON + 1_000, NOON + 31 * DAY + 1_000));
        assert_eq!(clock.doubt(), Some(31 * DAY as i64));
        // The next start has the right clock, and mail from the future.
        let times = Times { known: Some(clock.known()), newest: Some(clock.stamp_ms()) };
        let clock = RelayClock::start(at(NOON + 5_000), &times, false).unwrap();
        assert_eq!((both(&clock), clock.doubt(), clock.must_restamp()), ((NOON + 5_000, NOON + 5_000), None, true));
        clock.restamped();
        assert!(!clock.must_restamp());
    }

    #[test]
    fn a_relay_that_was_off_is_confirmed_by_running_also_over_restarts() {
        let machine = at(NOON + 31 * DAY);
        let mut times = known(NOON);
        for hour in 0..24 {
            let clock = RelayClock::start(machine.clone(), &times, false).unwrap();
            assert_eq!(clock.now_ms(), NOON + hour * DAY / 24);
            machine.run(DAY / 24);
            times.known = Some(clock.known());
        }
        let clock = RelayClock::start(machine.clone(), &times, false).unwrap();
        assert_eq!((both(&clock), clock.doubt()), ((NOON + 32 * DAY, NOON + 32 * DAY), None));
        // Or at once, if the operator says so.
        let clock = RelayClock::start(at(NOON + 31 * DAY), &known(NOON), true).unwrap();
        assert_eq!((both(&clock), clock.doubt()), ((NOON + 31 * DAY, NOON + 31 * DAY), None));
    }

    #[test]
    fn another_wrong_clock_is_confirmed_from_the_beginning() {
        let machine = at(NOON + 31 * DAY);
        let clock = RelayClock::start(machine.clone(), &known(NOON), false).unwrap();
        machine.run(DAY - 1_000);
        machine.set(NOON + 500 * DAY);
        assert_eq!(both(&clock), (NOON + DAY - 1_000, NOON + 500 * DAY));
        machine.run(2_000);
        assert!(clock.doubt().is_some());
        machine.run(DAY);
        assert!(clock.doubt().is_none());
    }

    #[test]
    fn a_clock_far_behind_does_not_start_and_is_doubted_while_running() {
        for (now, times) in [(0, Times::default()), (NOON - DAY - 1, known(NOON)), (1_000, known(NOON))] {
            let error = RelayClock::start(at(now), &times, false).unwrap_err();
            assert_eq!((error.clock, error.known), (now, times.newest.unwrap_or(EARLIEST_MS)));
            assert!(error.to_string().contains("--trust-clock"), "{error}");
            let clock = RelayClock::start(at(now), &times, true).unwrap();
            assert_eq!(both(&clock), (now, now));
            assert_eq!(clock.must_restamp(), times.newest.is_some());
        }
        let machine = at(NOON);
        let clock = RelayClock::start(machine.clone(), &known(NOON), false).unwrap();
        machine.set(0);
        machine.run(1_000);
        assert_eq!(both(&clock), (1_000, NOON + 1_000), "new mail is stamped as if the clock had gone on");
        machine.set(NOON + 1_000);
        assert_eq!((both(&clock), clock.doubt(), clock.must_restamp()), ((NOON + 1_000, NOON + 1_000), None, true));
    }
}

//! The relay's clocks. Nothing else reads the time of day, so that a test can be on day 31.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What time it is.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Unix time in milliseconds: stamps what is stored and decides what has expired. May jump when it is set.
    fn now_ms(&self) -> u64;

    /// Time since some fixed moment, which never runs backwards: measures rates.
    fn elapsed(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    offset_ms: i64,
}

impl SystemClock {
    /// The machine's time as it is.
    pub fn new() -> Self {
        Self::with_offset(0)
    }

    /// The machine's time moved by some seconds, for demonstrations and drills: what happens on day 31?
    pub fn with_offset(seconds: i64) -> Self {
        Self { started: Instant::now(), offset_ms: seconds.saturating_mul(1000) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        // A machine whose clock stands before 1970 is at 1970 for us.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX).saturating_add_signed(self.offset_ms)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    now_ms: AtomicU64,
}

impl ManualClock {
    /// Starts at `now_ms`.
    pub const fn new(now_ms: u64) -> Self {
        Self { now_ms: AtomicU64::new(now_ms) }
    }

    /// Moves on.
    pub fn advance(&self, by: Duration) {
        self.now_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }
}

/// A machine whose clock is set while it runs on: the time of day and the time since the start, each on its own.
#[derive(Debug)]
pub struct SteppedClock(Mutex<(u64, Duration)>);

impl SteppedClock {
    /// Starts at `now_ms` (Unix milliseconds).
    pub const fn new(now_ms: u64) -> Self {
        Self(Mutex::new((now_ms, Duration::ZERO)))
    }

    /// The time of day is set to `now_ms` (Unix milliseconds): no time passes.
    pub fn set(&self, now_ms: u64) {
        self.lock().0 = now_ms;
    }

    /// Both go on by so many milliseconds.
    pub fn run(&self, ms: u64) {
        let mut both = self.lock();
        both.0 = both.0.saturating_add(ms);
        both.1 = both.1.saturating_add(Duration::from_millis(ms));
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Duration)> {
        // Both values are whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SteppedClock {
    fn now_ms(&self) -> u64 {
        self.lock().0
    }

    fn elapsed(&self) -> Duration {
        self.lock().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_moves_the_day_and_not_the_rates() {
        let (now, later) = (SystemClock::new(), SystemClock::with_offset(31 * 86_400));
        // In this order: time passes between the two readings.
        let now = now.now_ms();
        assert_eq!((later.now_ms() - now) / 86_400_000, 31);
        assert!(later.elapsed() < Duration::from_secs(60));
        assert_eq!(SystemClock::with_offset(i64::MIN).now_ms(), 0);
    }
}

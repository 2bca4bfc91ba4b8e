//! One rate for many keys.
//!
//! Of each key one moment is kept: when it will have rested, that is, will have its whole burst again (the generic cell rate
//! algorithm, ITU-T I.371). A key that has rested needs no entry.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::Rate;

/// One rate for many keys. All times are the relay's [`elapsed`](crate::clock::Clock::elapsed).
pub(super) struct Keyed<K> {
    /// In which one unit is regained.
    every: Duration,
    burst: u32,
    rested_at: Mutex<HashMap<K, Duration>>,
}

impl<K: Hash + Eq> fmt::Debug for Keyed<K> {
    // The keys are addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("keys", &self.len()).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq> Keyed<K> {
    pub(super) fn new(rate: Rate) -> Self {
        // 3600 s / u32::MAX is 838 ns: never zero.
        let every = Duration::from_secs(3600) / rate.per_hour.max(1);
        Self { every, burst: rate.burst.max(1), rested_at: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Duration>> {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        self.rested_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `count` units, or the whole burst where that is less.
    ///
    /// # Errors
    /// How long to wait until so many are there.
    pub(super) fn take(&self, key: K, count: u32, now: Duration) -> Result<(), Duration> {
        let mut rested_at = self.lock();
        let after = self.after(rested_at.get(&key), count, now)?;
        if after > now {
            rested_at.insert(key, after);
        }
        Ok(())
    }

    /// Whether [`Keyed::take`] would take so many. Takes none.
    ///
    /// # Errors
    /// Those of [`Keyed::take`].
    pub(super) fn wait(&self, key: &K, count: u32, now: Duration) -> Result<(), Duration> {
        self.after(self.lock().get(key), count, now).map(drop)
    }

    /// When a key will have rested that will have rested at `before`, once `count` units more are taken.
    fn after(&self, before: Option<&Duration>, count: u32, now: Duration) -> Result<Duration, Duration> {
        let before = before.map_or(now, |moment| now.max(*moment));
        let after = before.saturating_add(self.every.saturating_mul(count.min(self.burst)));
        let latest = now.saturating_add(self.whole());
        if after > latest && count > 0 {
            return Err((after - latest).max(Duration::from_millis(1)));
        }
        Ok(after)
    }

    /// Whether nothing was taken that is not regained yet.
    pub(super) fn is_rested(&self, key: &K, now: Duration) -> bool {
        self.lock().get(key).is_none_or(|moment| *moment <= now)
    }

    /// Each key that has not rested, and in what time it will have.
    pub(super) fn tired(&self, now: Duration) -> Vec<(K, Duration)>
    where
        K: Clone,
    {
        let rested_at = self.lock();
        let tired = rested_at.iter().filter(|(_, moment)| **moment > now);
        tired.map(|(key, moment)| (key.clone(), *moment - now)).collect()
    }

    /// Has a key rest so long yet, or as long as it can.
    pub(super) fn tire(&self, key: K, rests_in: Duration, now: Duration) {
        if !rests_in.is_zero() {
            self.lock().insert(key, now.saturating_add(rests_in.min(self.whole())));
        }
    }

    /// Forgets the keys that are `gone`.
    pub(super) fn forget(&self, gone: impl Fn(&K) -> bool) {
        self.lock().retain(|key, _| !gone(key));
    }

    /// Forgets who has rested.
    pub(super) fn prune(&self, now: Duration) {
        let mut rested_at = self.lock();
        rested_at.retain(|_, moment| *moment > now);
        rested_at.shrink_to_fit();
    }

    /// Keys that are remembered.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// In which a whole burst is regained.
    fn whole(&self) -> Duration {
        self.every.saturating_mul(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_then_one_at_a_time() {
        let rate = Keyed::new(Rate { burst: 3, per_hour: 60 });
        let mut now = SECOND * 1_000;
        assert!(rate.is_rested(&1, now) && rate.wait(&1, 1, now).is_ok());
        for taken in 1..=3 {
            assert!(rate.wait(&1, 1, now).is_ok());
            assert_eq!(rate.take(1, 1, now), Ok(()));
            assert!(!rate.is_rested(&1, now), "{taken}");
        }
        assert!(rate.wait(&1, 1, now).is_err());
        assert_eq!(rate.take(1, 1, now), Err(SECOND * 60));
        now += SECOND * 59;
        assert_eq!(rate.take(1, 1, now), Err(SECOND));
        now += SECOND;
        assert!(rate.wait(&1, 1, now).is_ok());
        assert_eq!(rate.take(1, 1, now), Ok(()));
        assert_eq!(rate.take(1, 3, now), Err(SECOND * 180));
        assert_eq!(rate.take(2, 3, now), Ok(()), "another key is not concerned");
        now += SECOND * 179;
        assert!(!rate.is_rested(&1, now));
        now += SECOND;
        assert!(rate.is_rested(&1, now));
        assert_eq!(rate.take(1, 3, now), Ok(()));
    }
}

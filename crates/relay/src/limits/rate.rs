//! One rate for many keys.
//!
//! Of each key one moment is kept: when it will have rested, that is, will have its whole burst again (the generic cell rate
//! algorithm, ITU-T I.371). A key that has rested needs no entry. Where other relays take from the same rate ([`crate::others`]), what
//! they took moves that moment on, too, beyond what this relay alone could: then the key owes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::told::{self, Key, Teller};
use crate::config::Rate;
use crate::others::{MAX_DEBT, Words};

/// Keys that are remembered because of what other relays said; beyond, what they say of new ones is left out.
const MAX_HEARD: usize = 1 << 20;

/// Keys of one rate that a newly reached relay is told.
const MAX_SUMMARY: usize = 16_384;

/// One rate for many keys. All times are the relay's [`elapsed`](crate::clock::Clock::elapsed).
pub(super) struct Keyed<K> {
    /// In which one unit is regained.
    every: Duration,
    burst: u32,
    /// `None`: no other relay takes from it.
    teller: Option<Teller>,
    keys: Mutex<HashMap<K, State>>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    rested_at: Duration,
    /// Units that this relay took and other ones do not know of.
    untold: u32,
}

impl<K: Key> fmt::Debug for Keyed<K> {
    // The keys are addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("keys", &self.len()).finish_non_exhaustive()
    }
}

impl<K: Key> Keyed<K> {
    pub(super) fn new(rate: Rate) -> Self {
        // 3600 s / u32::MAX is 838 ns: never zero.
        let every = Duration::from_secs(3600) / rate.per_hour.max(1);
        Self { every, burst: rate.burst.max(1), teller: None, keys: Mutex::default() }
    }

    /// Has other relays hear what is taken, if there are any.
    pub(super) fn told(self, teller: Option<Teller>) -> Self {
        Self { teller, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, State>> {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `count` units, or the whole burst where that is less.
    ///
    /// # Errors
    /// How long to wait until so many are there.
    pub(super) fn take(&self, key: K, count: u32, now: Duration) -> Result<(), Duration> {
        let mut keys = self.lock();
        let before = keys.get(&key).copied();
        let after = self.after(before, count, now)?;
        if after <= now {
            return Ok(());
        }
        let mut untold = before.map_or(0, |state| state.untold);
        let mut to_tell = None;
        if let Some(teller) = &self.teller {
            untold = untold.saturating_add(count.min(self.burst));
            if untold >= Teller::step(self.burst) {
                to_tell = Some((teller, teller.used(&key, untold)));
                untold = 0;
            }
        }
        keys.insert(key, State { rested_at: after, untold });
        drop(keys);
        if let Some((teller, words)) = to_tell {
            teller.tell(words);
        }
        Ok(())
    }

    /// Whether [`Keyed::take`] would take so many. Takes none.
    ///
    /// # Errors
    /// Those of [`Keyed::take`].
    pub(super) fn wait(&self, key: &K, count: u32, now: Duration) -> Result<(), Duration> {
        self.after(self.lock().get(key).copied(), count, now).map(drop)
    }

    /// When a key in this state will have rested, once `count` units more are taken.
    fn after(&self, before: Option<State>, count: u32, now: Duration) -> Result<Duration, Duration> {
        let before = before.map_or(now, |state| now.max(state.rested_at));
        let after = before.saturating_add(self.every.saturating_mul(count.min(self.burst)));
        let latest = now.saturating_add(self.whole());
        if after > latest && count > 0 {
            return Err((after - latest).max(Duration::from_millis(1)));
        }
        Ok(after)
    }

    /// Whether nothing was taken that is not regained yet.
    pub(super) fn is_rested(&self, key: &K, now: Duration) -> bool {
        self.lock().get(key).is_none_or(|state| state.rested_at <= now)
    }

    /// Each key that has not rested, and in what time it will have.
    pub(super) fn tired(&self, now: Duration) -> Vec<(K, Duration)>
    where
        K: Clone,
    {
        let keys = self.lock();
        let tired = keys.iter().filter(|(_, state)| state.rested_at > now);
        tired.map(|(key, state)| (key.clone(), state.rested_at - now)).collect()
    }

    /// Has a key rest so long yet, or as long as it can; not shorter than before.
    pub(super) fn tire(&self, key: K, rests_in: Duration, now: Duration) {
        if !rests_in.is_zero() {
            let moment = now.saturating_add(rests_in.min(self.longest()));
            self.lock()
                .entry(key)
                .and_modify(|state| state.rested_at = state.rested_at.max(moment))
                .or_insert(State { rested_at: moment, untold: 0 });
        }
    }

    /// Another relay took so many units from a key.
    pub(super) fn used_elsewhere(&self, bytes: &[u8], units: u32, now: Duration) {
        self.hear(bytes, |before| {
            let used = self.every.saturating_mul(units.min(self.burst));
            now.max(before).saturating_add(used).min(now.saturating_add(self.longest()))
        });
    }

    /// At another relay, a key will have rested in so long.
    pub(super) fn rests_elsewhere(&self, bytes: &[u8], time: Duration, now: Duration) {
        self.hear(bytes, |before| before.max(now.saturating_add(time.min(self.longest()))));
    }

    fn hear(&self, bytes: &[u8], rested_at: impl Fn(Duration) -> Duration) {
        let Some(key) = told::key(bytes) else { return };
        let mut keys = self.lock();
        if keys.len() < MAX_HEARD || keys.contains_key(&key) {
            let state = keys.entry(key).or_insert(State { rested_at: Duration::ZERO, untold: 0 });
            state.rested_at = rested_at(state.rested_at);
        }
    }

    /// Appends what a relay is to know that is reached from now on.
    pub(super) fn summary(&self, now: Duration, words: &mut Words)
    where
        K: Clone,
    {
        if let Some(teller) = &self.teller {
            let least = self.every.saturating_mul(Teller::step(self.burst));
            let tired = self.tired(now).into_iter().filter(|(_, rests_in)| *rests_in >= least);
            teller.rests(tired.take(MAX_SUMMARY), words);
        }
    }

    /// Forgets the keys that are `gone`.
    pub(super) fn forget(&self, gone: impl Fn(&K) -> bool) {
        self.lock().retain(|key, _| !gone(key));
    }

    /// Forgets who has rested, and tells other relays what they do not know yet.
    pub(super) fn prune(&self, now: Duration) {
        let mut words = Words::default();
        let mut keys = self.lock();
        if let Some(teller) = &self.teller {
            for (key, state) in keys.iter_mut().filter(|(_, state)| state.untold > 0) {
                teller.put(key, std::mem::take(&mut state.untold), &mut words);
            }
        }
        keys.retain(|_, state| state.rested_at > now);
        keys.shrink_to_fit();
        drop(keys);
        if let Some(teller) = &self.teller {
            teller.tell(words);
        }
    }

    /// Keys that are remembered.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// In which a whole burst is regained.
    fn whole(&self) -> Duration {
        self.every.saturating_mul(self.burst)
    }

    /// The longest that a key can have to rest.
    fn longest(&self) -> Duration {
        if self.teller.is_some() { self.whole().saturating_mul(MAX_DEBT) } else { self.whole() }
    }
}

#[cfg(test)]
mod tests {
    use kuvert_types::AccountId;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ONE: AccountId = AccountId::from_bytes([1; 16]);
    const OTHER: AccountId = AccountId::from_bytes([2; 16]);

    #[test]
    fn a_burst_then_one_at_a_time() {
        let rate = Keyed::new(Rate { burst: 3, per_hour: 60 });
        let mut now = SECOND * 1_000;
        assert!(rate.is_rested(&ONE, now) && rate.wait(&ONE, 1, now).is_ok());
        for taken in 1..=3 {
            assert!(rate.wait(&ONE, 1, now).is_ok());
            assert_eq!(rate.take(ONE, 1, now), Ok(()));
            assert!(!rate.is_rested(&ONE, now), "{taken}");
        }
        assert!(rate.wait(&ONE, 1, now).is_err());
        assert_eq!(rate.take(ONE, 1, now), Err(SECOND * 60));
        now += SECOND * 59;
        assert_eq!(rate.take(ONE, 1, now), Err(SECOND));
        now += SECOND;
        assert!(rate.wait(&ONE, 1, now).is_ok());
        assert_eq!(rate.take(ONE, 1, now), Ok(()));
        assert_eq!(rate.take(ONE, 3, now), Err(SECOND * 180));
        assert_eq!(rate.take(OTHER, 3, now), Ok(()), "another key is not concerned");
        now += SECOND * 179;
        assert!(!rate.is_rested(&ONE, now));
        now += SECOND;
        assert!(rate.is_rested(&ONE, now));
        assert_eq!(rate.tired(now), [(OTHER, Duration::ZERO); 0]);
        assert_eq!(rate.take(ONE, 3, now), Ok(()));
        assert_eq!(rate.tired(now), [(ONE, SECOND * 180)]);
        // Remembered until it has rested, and no longer.
        now += SECOND * 180 - Duration::from_millis(1);
        rate.prune(now);
        assert_eq!(rate.len(), 1);
        now += Duration::from_millis(1);
        rate.prune(now);
        assert_eq!(rate.len(), 0);
    }
}

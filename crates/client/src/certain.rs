//! Whether this machine's clock can be relied upon. A clock that was set wrong (a dead battery, a typing error: 1970, a year
//! ahead) must not lose anything in one start: what waits would look too old and be given up.
//!
//! Nothing is given up, forgotten or refused for its age unless two clocks agree: this machine's, and the relay's. Neither the
//! one nor the other alone can make a home throw something away. What is stored while they differ carries the later of the two
//! times, and times that cannot be are taken for unknown, and so for young.
//!
//! | Stored time | What it decides | Clock ahead or back |
//! |---|---|---|
//! | held mail (`HeldRow.held_at`) | dropped after 30 days | only by both clocks |
//! | envelope ids (log Received) | forgotten after 45 days | only by both clocks |
//! | texts that were not confirmed (`MessageRow.stored_at`) | sent again within 30 days | only by both clocks; a text is no older than those before it |
//! | anonymous mail on its way (`DisclosureRow.sealed_until`) | refused after 31 days | only by both clocks; set right when they agree again |
//! | replaced prekeys (`replaced_at`, twice) | deleted after 7 or 37 days | both clocks, each by its own; one ahead of now counts for nothing |
//! | all mail fetched (`caught_up_at`) | shortens that | noted only if they agree |
//! | resets, their repetition, resends (`PeerRow`) | not before an hour, 2, 4 … | by distance: at most one more; never put off |
//! | rotation, looks at the stock, lists compared, tidying, device told | how often | by distance: once more; never put off |
//! | late receipts | up to a minute | one that lies further ahead goes at once |
//! | sessions (the protocol's record) | inactive ones go after 31 days | what comes on one is asked for again by a reset |

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How far this machine's clock and the relay's may differ and still be said to agree, milliseconds.
pub const MAX_SKEW_MS: u64 = 24 * 60 * 60 * 1000;

/// 1 January 2025, Unix milliseconds. No home is older: a time before it was a clock's that was not set.
pub const EARLIEST_MS: u64 = 1_735_689_600_000;

/// The relay's clock, as it was heard last in this process.
#[derive(Debug, Default)]
pub struct RelayClock(Mutex<Option<(u64, Instant)>>);

impl RelayClock {
    /// The relay said what time it is, Unix milliseconds.
    pub fn heard(&self, relay_time: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((relay_time, Instant::now()));
    }

    /// What it shows now.
    fn now(&self) -> Option<u64> {
        let (relay_time, heard) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(relay_time.saturating_add(u64::try_from(heard.elapsed().as_millis()).unwrap_or(u64::MAX)))
    }

    /// `own`, if both clocks say so.
    pub fn agrees(&self, own: u64) -> Option<u64> {
        let agrees = own >= EARLIEST_MS && self.now().is_some_and(|relay| own.abs_diff(relay) <= MAX_SKEW_MS);
        agrees.then_some(own)
    }

    /// How far `own` is ahead of the relay's clock, negative behind it, milliseconds; none if they agree or it was not heard.
    pub fn differs(&self, own: u64) -> Option<i64> {
        let relay = self.now()?;
        (own.abs_diff(relay) > MAX_SKEW_MS)
            .then(|| i64::try_from(i128::from(own) - i128::from(relay)).unwrap_or(i64::MAX))
    }

    /// The time to note for something whose age will count: the later one, while they differ.
    pub fn stamp(&self, own: u64) -> u64 {
        match self.now() {
            Some(relay) if own.abs_diff(relay) > MAX_SKEW_MS => own.max(relay),
            _ => own,
        }
    }
}

/// How old something is, milliseconds; 0 where that is not known: no clock can be relied upon, or none could be when it was
/// noted.
pub fn age(now: Option<u64>, noted: u64) -> u64 {
    now.filter(|_| noted >= EARLIEST_MS).map_or(0, |now| now.saturating_sub(noted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn one_clock_alone_makes_nothing_old() {
        let clock = RelayClock::default();
        assert_eq!(clock.agrees(NOW), None, "the relay's was not heard");
        clock.heard(NOW);
        assert_eq!(clock.agrees(NOW + MAX_SKEW_MS / 2), Some(NOW + MAX_SKEW_MS / 2));
        assert_eq!(clock.differs(NOW), None);
        let year = 365 * MAX_SKEW_MS;
        for wrong in [NOW + year, NOW - year, 0] {
            assert_eq!(clock.agrees(wrong), None);
            assert!(clock.differs(wrong).is_some_and(|by| (by > 0) == (wrong > NOW)));
            assert!(clock.stamp(wrong) >= NOW, "never older than it is");
            assert_eq!(age(clock.agrees(wrong), NOW - year), 0);
        }
        // Both before anything could be: neither was set.
        clock.heard(5);
        assert_eq!(clock.agrees(5), None);
        assert_eq!((age(Some(NOW), 5), age(Some(NOW), NOW - 7), age(Some(NOW), NOW + 7)), (0, 7, 0));
    }
}

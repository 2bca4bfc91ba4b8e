//! When mail is too old.

use kuvert_types::limits::MAX_RETENTION_DAYS;

/// Milliseconds of a day.
pub const MS_PER_DAY: u64 = 24 * 60 * 60 * 1000;

/// When an envelope accepted at `accepted_at` expires. More days than [`MAX_RETENTION_DAYS`] count as that many.
pub fn expires_at(accepted_at: u64, retention_days: u32) -> u64 {
    accepted_at.saturating_add(retention_ms(retention_days))
}

/// At `now`, envelopes accepted before this time have expired: the argument for `Store::expire`.
pub fn accepted_before(now: u64, retention_days: u32) -> u64 {
    // An envelope expires *at* its time, not after it.
    now.saturating_add(1).saturating_sub(retention_ms(retention_days))
}

fn retention_ms(days: u32) -> u64 {
    u64::from(days.min(MAX_RETENTION_DAYS)) * MS_PER_DAY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_views_agree_at_the_boundary() {
        assert_eq!(expires_at(0, 1), 86_400_000);
        for days in [0, 1, 30, 31] {
            let accepted_at = 1_700_000_000_000;
            let expires = expires_at(accepted_at, days);
            assert!(accepted_at < accepted_before(expires, days), "expired at its time");
            assert!(accepted_at >= accepted_before(expires - 1, days), "not a millisecond before");
        }
    }

    #[test]
    fn never_more_than_the_limit() {
        assert_eq!(expires_at(0, u32::MAX), 30 * MS_PER_DAY);
        assert_eq!(accepted_before(5, 30), 0, "a clock that starts at 0 expires nothing");
    }
}

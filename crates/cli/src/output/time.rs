//! Times for people, in the user's own time zone. Unix milliseconds come in; nothing here reads the clock but [`now_ms`].

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// The clock of this machine, Unix milliseconds; 0 for a clock before 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A zone in which times are shown.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone that this machine is set to; UTC if it does not say.
    pub fn system() -> Self {
        Self(TimeZone::system())
    }

    /// UTC.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// `14:05`
    pub fn time_of_day(&self, ms: u64) -> String {
        self.at(ms).map_or_else(|| "--:--".to_owned(), |at| at.strftime("%H:%M").to_string())
    }

    /// `14:05:09.123`
    pub fn time_of_day_exact(&self, ms: u64) -> String {
        self.at(ms).map_or_else(|| "--:--".to_owned(), |at| at.strftime("%H:%M:%S%.3f").to_string())
    }

    /// `2026-11-21 14:05`
    pub fn date_and_time(&self, ms: u64) -> String {
        self.at(ms).map_or_else(|| "unknown time".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
    }

    /// As short as it can be told: `14:05` today, `Mon` within six days, `21 Nov` within the year, `2025`.
    pub fn short(&self, ms: u64, now: u64) -> String {
        let (Some(at), Some(today)) = (self.at(ms), self.day(now)) else { return String::new() };
        let days = today.since(at.date()).map_or(i32::MAX, |span| span.get_days());
        let format = match days {
            0 => "%H:%M",
            1..=6 => "%a",
            _ if at.year() == today.year() => "%-d %b",
            _ => "%Y",
        };
        at.strftime(format).to_string()
    }

    /// `2026-11-21T14:05:09Z`, as [`since`](Self::since) takes it, in UTC.
    pub fn exact(ms: u64) -> String {
        let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        at.map_or_else(|| "unknown time".to_owned(), |at| at.to_string())
    }

    /// The day that a time falls on; none for a time that no calendar holds (a sender may claim anything).
    pub fn day(&self, ms: u64) -> Option<Date> {
        self.at(ms).map(|at| at.date())
    }

    /// `Today`, `Yesterday`, or `Saturday, 21 November 2026`.
    pub fn day_name(&self, day: Option<Date>, now: u64) -> String {
        let Some(day) = day else { return "Unknown day".to_owned() };
        let today = self.day(now);
        if today == Some(day) {
            return "Today".to_owned();
        }
        if today.and_then(|today| today.yesterday().ok()) == Some(day) {
            return "Yesterday".to_owned();
        }
        day.strftime("%A, %-d %B %Y").to_string()
    }

    /// Since when, Unix milliseconds: a date or time as RFC 3339 writes it, without an offset in this zone, or how long ago (`30m`,
    /// `3h`, `2d`).
    ///
    /// # Errors
    /// In words: it is neither.
    pub fn since(&self, text: &str, now: u64) -> Result<u64, String> {
        if let Some(ago) = duration_ms(text) {
            return Ok(now.saturating_sub(ago));
        }
        let at = match text.parse::<Timestamp>() {
            Ok(at) => Some(at),
            Err(_) => {
                text.parse::<DateTime>().ok().and_then(|at| at.to_zoned(self.0.clone()).ok()).map(|at| at.timestamp())
            }
        };
        // Before 1970 is since ever.
        let ms = at.map(|at| u64::try_from(at.as_millisecond()).unwrap_or(0));
        ms.ok_or_else(|| "neither a date or time like 2026-11-21T14:00 nor a while like 30m, 3h, 2d".to_owned())
    }

    fn at(&self, ms: u64) -> Option<Zoned> {
        let ms = i64::try_from(ms).ok()?;
        Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(self.0.clone()))
    }
}

/// `30m`, `3h`, `2d` in milliseconds.
fn duration_ms(text: &str) -> Option<u64> {
    const MINUTE: u64 = 60 * 1000;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => MINUTE,
        "h" => 60 * MINUTE,
        "d" => 24 * 60 * MINUTE,
        _ => return None,
    };
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| number.parse::<u64>().ok()).flatten()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_795_262_400_000; // 2026-11-21 12:00 UTC
    const DAY: u64 = 86_400_000;

    #[test]
    fn days_have_names() {
        let zone = Zone::utc();
        assert_eq!(zone.date_and_time(NOON), "2026-11-21 12:00");
        assert_eq!(zone.day_name(zone.day(NOON), NOON + 1), "Today");
        assert_eq!(zone.day_name(zone.day(NOON - DAY), NOON), "Yesterday");
        assert_eq!(zone.day_name(zone.day(NOON - 2 * DAY), NOON), "Thursday, 19 November 2026");
    }

    #[test]
    fn since_takes_dates_times_and_whiles() {
        let zone = Zone::utc();
        for (text, since) in [
            ("2026-11-21", NOON - DAY / 2),
            ("2026-11-21T12:00", NOON),
            ("2026-11-21 12:00:00", NOON),
            ("2026-11-21T12:00:00Z", NOON),
            ("2026-11-21T13:00:00+01:00", NOON),
            ("30m", NOON - DAY / 48),
            ("3h", NOON - DAY / 8),
            ("2d", NOON - 2 * DAY),
            ("999999999d", 0),
            ("1969-12-31", 0),
        ] {
            assert_eq!(zone.since(text, NOON), Ok(since), "{text}");
        }
        for text in ["", "d", "2", "2w", "-2d", "+2d", "yesterday", "2026-13-01", "99999999999999999999d", "2é"] {
            assert!(zone.since(text, NOON).is_err(), "{text}");
        }
    }

    #[test]
    fn times_in_a_list_are_short() {
        let zone = Zone::utc();
        for (ms, short) in [
            (NOON - 60_000, "11:59"),
            (NOON - DAY, "Fri"),
            (NOON - 6 * DAY, "Sun"),
            (NOON - 7 * DAY, "14 Nov"),
            (NOON - 400 * DAY, "2025"),
            (NOON + 2 * DAY, "23 Nov"),
            (u64::MAX, ""),
        ] {
            assert_eq!(zone.short(ms, NOON), short);
        }
    }

    #[test]
    fn a_sender_may_claim_any_time() {
        let zone = Zone::utc();
        assert_eq!(zone.time_of_day(u64::MAX), "--:--");
        assert_eq!(zone.day_name(zone.day(u64::MAX), NOON), "Unknown day");
    }
}

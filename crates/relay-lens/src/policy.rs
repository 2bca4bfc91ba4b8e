//! The demonstration's terms, and what accepting them means. Pure: no clock, no storage.
//!
//! Descriptions of a mass-market messenger give two accounts of what a user can refuse (M-23 and M-24). Both stand here as
//! dated versions, in our own words and made up as texts; they were never published. Under the first, use for advertising
//! can be refused when consenting or within thirty days, and the choice is binding from then on. Under the second, sharing
//! cannot be prevented and settings reduce it. Under both, the phone number and the frequency of use are shared.

pub use kuvert_privacy::demonstration::{PURPOSES, SHARED_REGARDLESS};

use kuvert_privacy::demonstration::NOT_ACCEPTED;
use kuvert_relay::mailbox::MS_PER_DAY;

/// Stands at the head of everything that the demonstration shows or exports.
pub const DEMONSTRATION: &str = "A demonstration with synthetic terms: it shows what descriptions of a mass-market \
                                 messenger say is shared. Nothing leaves this relay but into the file that its operator asked for.";

/// A dated version of the terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The day that it is from.
    pub version: &'static str,
    /// Days after acceptance within which use for advertising can be refused, once and for all. `None`: at any time, and
    /// refusing reduces it only.
    pub objection_days: Option<u32>,
    /// What it says, in our words.
    pub paragraphs: &'static [&'static str],
}

/// Every version, oldest first.
pub const ALL: &[Policy] = &[
    Policy {
        version: "2016-08-25",
        objection_days: Some(30),
        paragraphs: &[
            "Synthetic text, for demonstration.",
            "Your phone number and how often you use the service are given to the parent company, and by it to its partners.",
            "You can refuse that they are used for advertising: now, or within 30 days after you accept. After that your choice \
             is binding, either way.",
            "Your number is given to the parent company whatever you choose.",
        ],
    },
    Policy {
        version: "2021-01-04",
        objection_days: None,
        paragraphs: &[
            "Synthetic text, for demonstration. It disagrees with the version of 2016-08-25.",
            "Sharing with the parent company cannot be prevented. Settings reduce what is done with the data.",
            "You can change the setting for advertising at any time.",
            "Your number and how often you use the service are given to the parent company whatever you choose.",
        ],
    },
];

/// The version of this day.
pub fn find(version: &str) -> Option<&'static Policy> {
    ALL.iter().find(|policy| policy.version == version)
}

/// What an account accepted. All times are Unix milliseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consent {
    /// Which version.
    pub version: String,
    /// When.
    pub accepted_at: u64,
    /// Whether it was accepted with use for advertising.
    pub advertising: bool,
    /// When use for advertising was refused later.
    pub objected_at: Option<u64>,
}

/// What may be done with an account's data for advertising.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advertising {
    /// Nothing was accepted.
    NotAccepted,
    /// Everything.
    Used,
    /// Something still: the version knows no way to refuse it.
    Reduced,
    /// Nothing. Number and frequency are shared all the same.
    Refused,
}

impl Advertising {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotAccepted => NOT_ACCEPTED,
            Self::Used => "used",
            Self::Reduced => "reduced",
            Self::Refused => "refused",
        }
    }
}

/// Why a consent does not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There is no such version.
    UnknownVersion,
    /// It was accepted already; the choice that was made then stands.
    AlreadyAccepted,
    /// A later one was accepted already.
    Superseded,
    /// There is nothing to object to.
    NothingAccepted,
    /// The time to object ended then, Unix milliseconds.
    TooLate(u64),
}

/// Until when use for advertising can be refused under a consent; `None`: there is no end to it.
pub fn objection_until(consent: &Consent) -> Option<u64> {
    let days = find(&consent.version)?.objection_days?;
    Some(consent.accepted_at.saturating_add(u64::from(days) * MS_PER_DAY))
}

/// Accepts a version.
///
/// # Errors
/// See [`Refused`].
pub fn accept(ledger: &[Consent], version: &str, advertising: bool, now: u64) -> Result<Consent, Refused> {
    let policy = find(version).ok_or(Refused::UnknownVersion)?;
    if ledger.iter().any(|consent| consent.version == policy.version) {
        return Err(Refused::AlreadyAccepted);
    }
    // Versions are days: they are ordered as text.
    if ledger.iter().any(|consent| consent.version.as_str() > policy.version) {
        return Err(Refused::Superseded);
    }
    Ok(Consent { version: policy.version.to_owned(), accepted_at: now, advertising, objected_at: None })
}

/// Refuses use for advertising under the version that was accepted last. Doing so again changes nothing.
///
/// # Errors
/// See [`Refused`].
pub fn object(ledger: &[Consent], now: u64) -> Result<Consent, Refused> {
    let last = latest(ledger).ok_or(Refused::NothingAccepted)?;
    if !last.advertising || last.objected_at.is_some() {
        return Ok(last.clone());
    }
    match objection_until(last) {
        Some(until) if now >= until => Err(Refused::TooLate(until)),
        _ => Ok(Consent { objected_at: Some(now), ..last.clone() }),
    }
}

/// What may be done with the data for advertising, by the version that was accepted last.
pub fn advertising(ledger: &[Consent]) -> Advertising {
    let Some(last) = latest(ledger) else { return Advertising::NotAccepted };
    let refused = !last.advertising || last.objected_at.is_some();
    match find(&last.version).and_then(|policy| policy.objection_days) {
        _ if !refused => Advertising::Used,
        Some(_) => Advertising::Refused,
        None => Advertising::Reduced,
    }
}

fn latest(ledger: &[Consent]) -> Option<&Consent> {
    ledger.iter().max_by(|a, b| a.version.cmp(&b.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "2016-08-25";
    const NEW: &str = "2021-01-04";
    const NOON: u64 = 1_800_000_000_000;
    const DEADLINE: u64 = NOON + 30 * MS_PER_DAY;

    fn accepted(version: &str, advertising: bool) -> Vec<Consent> {
        vec![accept(&[], version, advertising, NOON).unwrap()]
    }

    #[test]
    fn versions_are_in_order_and_disagree() {
        assert!(ALL.is_sorted_by(|a, b| a.version < b.version));
        assert_eq!(ALL.iter().map(|policy| policy.objection_days).collect::<Vec<_>>(), [Some(30), None]);
        assert!(ALL.iter().all(|policy| policy.paragraphs[0].starts_with("Synthetic text")));
    }

    #[test]
    fn refusing_at_consent_counts_at_once() {
        assert_eq!(advertising(&[]), Advertising::NotAccepted);
        assert_eq!(advertising(&accepted(OLD, true)), Advertising::Used);
        assert_eq!(advertising(&accepted(OLD, false)), Advertising::Refused);
        assert_eq!(advertising(&accepted(NEW, false)), Advertising::Reduced, "the later text knows no refusal");
    }

    #[test]
    fn thirty_days_end_to_the_millisecond_and_bind_from_then_on() {
        let ledger = accepted(OLD, true);
        assert_eq!(objection_until(&ledger[0]), Some(DEADLINE));
        for now in [NOON, DEADLINE - 1] {
            let consent = object(&ledger, now).unwrap();
            assert_eq!(consent.objected_at, Some(now));
            assert_eq!(advertising(&[consent]), Advertising::Refused);
        }
        for now in [DEADLINE, u64::MAX] {
            assert_eq!(object(&ledger, now), Err(Refused::TooLate(DEADLINE)));
        }
        assert_eq!(accept(&ledger, OLD, false, NOON + 1), Err(Refused::AlreadyAccepted), "no way around it");
    }

    #[test]
    fn objecting_again_keeps_the_first_date() {
        let once = object(&accepted(OLD, true), NOON + 1).unwrap();
        assert_eq!(object(std::slice::from_ref(&once), u64::MAX).unwrap(), once);
        let refused = accepted(OLD, false);
        assert_eq!(object(&refused, u64::MAX).unwrap(), refused[0]);
        assert_eq!(object(&[], NOON), Err(Refused::NothingAccepted));
    }

    #[test]
    fn a_later_version_takes_the_place_of_an_earlier_choice() {
        let mut ledger = accepted(OLD, false);
        ledger.push(accept(&ledger, NEW, true, DEADLINE).unwrap());
        assert_eq!(advertising(&ledger), Advertising::Used);
        // And can be reduced at any time.
        ledger[1] = object(&ledger, u64::MAX).unwrap();
        assert_eq!(advertising(&ledger), Advertising::Reduced);
        assert_eq!(objection_until(&ledger[1]), None);
        assert_eq!(accept(&accepted(NEW, true), OLD, true, NOON), Err(Refused::Superseded));
        assert_eq!(accept(&[], "2020-02-02", true, NOON), Err(Refused::UnknownVersion));
    }
}

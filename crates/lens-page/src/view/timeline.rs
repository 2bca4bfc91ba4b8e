//! The recording cut into slices of equal length, so that a slider can go over it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::sight::Sight;

/// Slices of a recording: a slider has so many places, and an answer is no longer for a longer recording.
const SLICES: u64 = 96;

/// From the first envelope to the last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Timeline {
    /// The first envelope, Unix milliseconds.
    from: u64,
    /// The last one, Unix milliseconds.
    to: u64,
    /// How many slices there are between the two.
    slices: u64,
}

impl Timeline {
    /// Of the new envelopes; `None` if there are none.
    pub fn of(sights: &[Sight<'_>]) -> Option<Self> {
        let times = || sights.iter().filter(|sight| sight.is_new_envelope()).map(|sight| sight.at);
        Some(Self { from: times().min()?, to: times().max()?, slices: SLICES })
    }

    /// The slices in which these times lie, and how many in each.
    pub fn count(&self, times: &[u64]) -> Vec<(u64, u64)> {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        for at in times {
            *counts.entry(self.slice(*at)).or_default() += 1;
        }
        counts.into_iter().collect()
    }

    fn slice(&self, at: u64) -> u64 {
        let length = u128::from(self.to - self.from) + 1;
        let since = u128::from(at.clamp(self.from, self.to) - self.from);
        // Less than the number of slices, because `since` is less than the length.
        u64::try_from(since * u128::from(self.slices) / length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_a_slice() {
        let timeline = Timeline { from: 1_000, to: 1_959, slices: 96 };
        assert_eq!(timeline.count(&[1_000, 1_009, 1_010, 1_959]), [(0, 2), (1, 1), (95, 1)]);
        assert_eq!(timeline.count(&[0, u64::MAX]), [(0, 1), (95, 1)], "what lies outside counts at the end");
        let moment = Timeline { from: 7, to: 7, slices: 96 };
        assert_eq!(moment.count(&[7]), [(0, 1)]);
    }
}

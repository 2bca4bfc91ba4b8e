//! Which nodes live, and which of them is to hold which slot. Every node judges for itself, from the same table, and comes to the same
//! result.
//!
//! A node lives as long as its signs of life in the store are fresh. While it is reached over a link, it gets longer: its process is
//! there, and only its way to the store is slow. And one that could not read the store itself for a while judges none until it has
//! watched for long enough again: after a failover of the servers all signs of life are old at first, its own as well.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

/// Between two signs of life, and two looks.
pub const PERIOD: Duration = Duration::from_millis(500);

/// Without a sign of life for this long, and not reached over a link, a node is dead.
pub const DEAD: Duration = Duration::from_millis(2_500);

/// The same for one that is reached.
pub const DEAD_THOUGH_REACHED: Duration = Duration::from_secs(15);

/// Looks that are further apart than this were interrupted.
const GAP: Duration = Duration::from_secs(2);

/// How long an interrupted node watches before it judges again: until the others had time to reach the servers, too.
const WATCH: Duration = Duration::from_secs(6);

/// A node, as it is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Its number.
    pub id: u16,
    /// How long ago it gave a sign of life, by the store's clock.
    pub silent: Duration,
    /// There is a link to it.
    pub reached: bool,
    /// It is to hold no slots.
    pub draining: bool,
}

/// What a look found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Those that are to share the slots.
    pub holders: BTreeSet<u16>,
    /// Those that are dead.
    pub dead: BTreeSet<u16>,
}

/// One node's judgement over time.
#[derive(Debug)]
pub struct Judge {
    me: u16,
    looked: Option<Instant>,
    watches: Instant,
}

impl Judge {
    /// Of this node.
    pub fn new(me: u16, now: Instant) -> Self {
        Self { me, looked: None, watches: now }
    }

    /// Judges from what a look found at this moment.
    pub fn look(&mut self, now: Instant, nodes: &[Seen]) -> Verdict {
        if self.looked.is_none_or(|before| now.saturating_duration_since(before) > GAP) {
            self.watches = now + WATCH;
        }
        self.looked = Some(now);
        let mut verdict = Verdict::default();
        for node in nodes {
            let limit = if node.reached { DEAD_THOUGH_REACHED } else { DEAD };
            // It wrote a sign of life a moment ago, or could not.
            let dead = node.id != self.me && node.silent > limit;
            match (dead, now >= self.watches) {
                (true, true) => drop(verdict.dead.insert(node.id)),
                // It is not known yet: it keeps what it has.
                (true, false) => drop(verdict.holders.insert(node.id)),
                (false, _) if !node.draining => drop(verdict.holders.insert(node.id)),
                (false, _) => {}
            }
        }
        verdict
    }

    /// A look failed.
    pub fn blind(&mut self) {
        self.looked = None;
    }
}

/// Which of these nodes is to hold a slot: the one with the highest weight. When a node comes or goes, only slots that it is to have, or
/// had, change hands.
pub fn holder(slot: u16, holders: &BTreeSet<u16>) -> Option<u16> {
    holders.iter().copied().max_by_key(|node| (weight(*node, slot), *node))
}

/// SplitMix64's last step: spreads well, and needs no secret. Those who may choose an account's slot choose no node by it, since
/// numbers of nodes are small and slots are many.
fn weight(node: u16, slot: u16) -> u64 {
    let seed = (u64::from(node) << 16 | u64::from(slot)).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: u16 = 4096;

    fn seen(id: u16, silent_ms: u64) -> Seen {
        Seen { id, silent: Duration::from_millis(silent_ms), reached: false, draining: false }
    }

    fn ids(ids: impl IntoIterator<Item = u16>) -> BTreeSet<u16> {
        ids.into_iter().collect()
    }

    /// A judge that has watched for long enough, and the present.
    fn judge() -> (Judge, Instant) {
        let start = Instant::now();
        let mut judge = Judge::new(1, start);
        let mut now = start;
        while now < start + WATCH {
            judge.look(now, &[seen(1, 0)]);
            now += PERIOD;
        }
        (judge, now)
    }

    #[test]
    fn a_node_without_signs_of_life_is_dead_and_one_that_is_reached_later() {
        let (mut judge, now) = judge();
        let silent = u64::try_from(DEAD.as_millis()).unwrap() + 1;
        let reached = |silent_ms| Seen { reached: true, ..seen(3, silent_ms) };
        let verdict = judge.look(now, &[seen(1, 0), seen(2, silent), reached(silent)]);
        assert_eq!((verdict.holders, verdict.dead), (ids([1, 3]), ids([2])));
        let long = u64::try_from(DEAD_THOUGH_REACHED.as_millis()).unwrap() + 1;
        assert_eq!(judge.look(now, &[seen(1, 0), reached(long)]).dead, ids([3]));
        // Its own sign of life may be old in what it read.
        assert_eq!(judge.look(now, &[seen(1, long)]).holders, ids([1]));
        let draining = Seen { draining: true, ..seen(2, 0) };
        assert_eq!(judge.look(now, &[seen(1, 0), draining]), Verdict { holders: ids([1]), dead: ids([]) });
    }

    #[test]
    fn a_node_that_could_not_look_judges_none_until_it_has_watched() {
        let (mut judge, now) = judge();
        let old = seen(2, 60_000);
        // The servers were away for a minute: all signs of life are old.
        let back = now + Duration::from_secs(60);
        let verdict = judge.look(back, &[seen(1, 0), old]);
        assert_eq!((verdict.holders, verdict.dead), (ids([1, 2]), ids([])));
        judge.blind();
        let again = back + PERIOD;
        for step in 0..12 {
            assert_eq!(judge.look(again + PERIOD * step, &[seen(1, 0), old]).dead, ids([]), "{step}");
        }
        assert_eq!(judge.look(again + WATCH, &[seen(1, 0), old]).dead, ids([2]));
        // And so it is at its start.
        assert_eq!(Judge::new(1, now).look(now, &[seen(1, 0), old]).dead, ids([]));
    }

    #[test]
    fn slots_are_spread_and_move_only_to_a_node_that_comes_or_from_one_that_goes() {
        let (two, three) = (ids([3, 9]), ids([3, 4, 9]));
        for holders in [&two, &three] {
            for node in holders.iter() {
                let held = (0..SLOTS).filter(|slot| holder(*slot, holders) == Some(*node)).count();
                let share = usize::from(SLOTS) / holders.len();
                assert!((share * 9 / 10..share * 11 / 10).contains(&held), "{node} holds {held}");
            }
        }
        for slot in 0..SLOTS {
            let (before, after) = (holder(slot, &two), holder(slot, &three));
            assert!(after == before || after == Some(4), "{slot}");
        }
        assert_eq!(holder(7, &ids([])), None);
    }
}

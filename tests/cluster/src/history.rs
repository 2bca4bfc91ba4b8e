//! What clients were told, and what follows from it. Everything is written down in the order in which it happened here; what contradicts
//! an answer that was given before is a violation, written down with it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An envelope's id.
pub type Id = [u8; 16];

/// What a relay answered to a submit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is stored.
    Accepted,
    /// It surely is not.
    Refused,
    /// It may be.
    Unknown,
}

/// A rule that was broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// An envelope that was accepted never came.
    Lost,
    /// One envelope has two places in a mailbox, and the first was not acknowledged yet. (After that it is gone, and a sender that does
    /// not know whether it was stored stores it again: its recipient's client knows it.)
    Twice,
    /// An envelope came at or below a cursor that was acknowledged, or one connection's cursors did not rise.
    CursorBack,
    /// An envelope came of which was said that it surely is not stored, and that was not sent again.
    Lie,
    /// Of two envelopes of one sender's, the one that was accepted before the other was sent has the later place.
    Order,
    /// A one-time prekey was handed out twice.
    PrekeyTwice,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Twice => "twice",
            Self::CursorBack => "cursor_back",
            Self::Lie => "lie",
            Self::Order => "order",
            Self::PrekeyTwice => "prekey_twice",
        })
    }
}

/// All rules.
pub const RULES: [Rule; 6] = [Rule::Lost, Rule::Twice, Rule::CursorBack, Rule::Lie, Rule::Order, Rule::PrekeyTwice];

/// The history. Shared by all clients.
#[derive(Debug, Default)]
pub struct History(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    envelopes: HashMap<Id, Envelope>,
    /// By mailbox: up to where it was acknowledged, with an answer.
    acknowledged: HashMap<usize, u64>,
    /// The same, whether answered or not.
    may_be_gone: HashMap<usize, u64>,
    prekeys: HashSet<(usize, bool, u32)>,
    violations: Vec<(Rule, String)>,
    counts: Counts,
}

#[derive(Debug)]
struct Envelope {
    mailbox: usize,
    sender: usize,
    number: u64,
    accepted: bool,
    /// It surely is not stored, and is not sent again.
    given_up: bool,
    /// Where it came last, and where first: one that was stored again after it was acknowledged has another place.
    cursor: Option<u64>,
    first: Option<u64>,
}

/// How much there was of what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Envelopes that were accepted.
    pub accepted: u64,
    /// Answers that it may have happened, closed connections and timeouts among them.
    pub unknown: u64,
    /// Answers that it surely did not happen.
    pub refused: u64,
    /// Deliveries, repeated ones among them.
    pub delivered: u64,
    /// One-time prekeys that were taken.
    pub prekeys: u64,
    /// Envelopes that were stored again because their sender did not know, after they were acknowledged.
    pub again: u64,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sender begins to submit an envelope, its `number`-th.
    pub fn submits(&self, id: Id, sender: usize, number: u64, mailbox: usize) {
        let envelope =
            Envelope { mailbox, sender, number, accepted: false, given_up: false, cursor: None, first: None };
        self.lock().envelopes.insert(id, envelope);
    }

    /// A try was answered.
    pub fn answered(&self, id: &Id, answer: Answer) {
        let mut state = self.lock();
        match answer {
            Answer::Accepted => {
                state.counts.accepted += 1;
                if let Some(envelope) = state.envelopes.get_mut(id) {
                    envelope.accepted = true;
                }
            }
            Answer::Refused => state.counts.refused += 1,
            Answer::Unknown => state.counts.unknown += 1,
        }
    }

    /// All tries were refused surely, and there will be no other.
    pub fn gives_up(&self, id: &Id) {
        let mut state = self.lock();
        let Some(envelope) = state.envelopes.get_mut(id) else { return };
        envelope.given_up = true;
        if envelope.cursor.is_some() {
            state.violate(Rule::Lie, format!("{id:02x?} was there"));
        }
    }

    /// A mailbox's holder got an envelope; `last` is the cursor of the one before on this connection.
    pub fn delivered(&self, mailbox: usize, cursor: u64, id: &Id, last: u64) {
        let mut state = self.lock();
        state.counts.delivered += 1;
        if cursor <= last {
            state.violate(Rule::CursorBack, format!("{cursor} after {last} in mailbox {mailbox}"));
        }
        let acknowledged = state.acknowledged.get(&mailbox).copied().unwrap_or(0);
        if cursor <= acknowledged {
            state
                .violate(Rule::CursorBack, format!("{cursor} in mailbox {mailbox}, acknowledged up to {acknowledged}"));
        }
        // Others share the relay: what they sent is not in this history.
        let Some(envelope) = state.envelopes.get_mut(id) else { return };
        envelope.first.get_or_insert(cursor);
        let (before, given_up) = (envelope.cursor.replace(cursor), envelope.given_up);
        if let Some(before) = before.filter(|before| *before != cursor) {
            if before <= state.may_be_gone.get(&mailbox).copied().unwrap_or(0) {
                state.counts.again += 1;
            } else {
                state.violate(Rule::Twice, format!("{id:02x?} at {before} and {cursor} in mailbox {mailbox}"));
            }
        }
        if given_up {
            state.violate(Rule::Lie, format!("{id:02x?} at {cursor} in mailbox {mailbox}"));
        }
    }

    /// An acknowledgement is sent: what lies up to there may be gone from now on.
    pub fn acknowledges(&self, mailbox: usize, up_to: u64) {
        let mut state = self.lock();
        let known = state.may_be_gone.entry(mailbox).or_default();
        *known = (*known).max(up_to);
    }

    /// An acknowledgement was answered: nothing up to there may come again.
    pub fn acknowledged(&self, mailbox: usize, up_to: u64) {
        let mut state = self.lock();
        let known = state.acknowledged.entry(mailbox).or_default();
        *known = (*known).max(up_to);
    }

    /// A one-time prekey was handed out.
    pub fn taken(&self, account: usize, kem: bool, id: u32) {
        let mut state = self.lock();
        state.counts.prekeys += 1;
        if !state.prekeys.insert((account, kem, id)) {
            state.violate(Rule::PrekeyTwice, format!("account {account}, KEM {kem}, id {id}"));
        }
    }

    /// Accepted envelopes that did not come yet.
    pub fn missing(&self) -> usize {
        self.lock().envelopes.values().filter(|envelope| envelope.accepted && envelope.cursor.is_none()).count()
    }

    /// How much there was.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Once everything was fetched: what was lost, and what stands in the wrong order. Says all violations.
    pub fn finish(&self) -> Vec<(Rule, String)> {
        let mut state = self.lock();
        let mut found = Vec::new();
        let mut by_pair: BTreeMap<(usize, usize), Vec<(u64, u64)>> = BTreeMap::new();
        for (id, envelope) in &state.envelopes {
            match envelope.first {
                None if envelope.accepted => {
                    found.push((Rule::Lost, format!("{id:02x?} in mailbox {}", envelope.mailbox)));
                }
                // One that was not accepted may have been stored while a later one was sent already.
                Some(cursor) if envelope.accepted => {
                    by_pair.entry((envelope.sender, envelope.mailbox)).or_default().push((envelope.number, cursor));
                }
                _ => {}
            }
        }
        for ((sender, mailbox), mut sent) in by_pair {
            sent.sort_unstable();
            for pair in sent.windows(2) {
                if let [(number, cursor), (_, later)] = pair
                    && cursor >= later
                {
                    found.push((Rule::Order, format!("sender {sender}, number {number}, mailbox {mailbox}")));
                }
            }
        }
        state.violations.append(&mut found);
        state.violations.clone()
    }
}

impl State {
    fn violate(&mut self, rule: Rule, words: String) {
        self.violations.push((rule, words));
    }
}

/// When clients were served: for telling how long none was, and how long one waited.
#[derive(Debug, Default)]
pub struct Served(Mutex<Vec<(Instant, Duration)>>);

/// What a fault meant to clients.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outage {
    /// The longest time in which no client was served at all.
    pub all: Duration,
    /// The longest time that one client waited for one envelope to be accepted, tries and reconnecting included.
    pub one: Duration,
}

impl Served {
    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, Duration)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client was served now, after having waited for so long.
    pub fn note(&self, waited: Duration) {
        self.lock().push((Instant::now(), waited));
    }

    /// What happened between two moments, and forgets what was before.
    pub fn outage(&self, from: Instant, to: Instant) -> Outage {
        let mut served = self.lock();
        let mut outage = Outage::default();
        let mut last = from;
        for (at, waited) in served.iter().filter(|(at, _)| (from..=to).contains(at)) {
            outage.all = outage.all.max(at.saturating_duration_since(last));
            // What it waited before the fault is no part of it.
            outage.one = outage.one.max((*waited).min(at.saturating_duration_since(from)));
            last = *at;
        }
        outage.all = outage.all.max(to.saturating_duration_since(last));
        served.retain(|(at, _)| *at > to);
        outage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Id {
        [n; 16]
    }

    fn rules(history: &History) -> Vec<Rule> {
        history.finish().into_iter().map(|(rule, _)| rule).collect()
    }

    /// Number `n` of sender 1's, to mailbox 5.
    fn accepted(history: &History, n: u8) {
        history.submits(id(n), 1, n.into(), 5);
        history.answered(&id(n), Answer::Accepted);
    }

    #[test]
    fn a_history_without_faults_has_no_violation() {
        let history = History::default();
        accepted(&history, 1);
        accepted(&history, 2);
        history.delivered(5, 10, &id(1), 0);
        history.delivered(5, 11, &id(2), 10);
        // Again on another connection, before it was acknowledged.
        history.delivered(5, 10, &id(1), 0);
        history.acknowledges(5, 11);
        history.acknowledged(5, 11);
        // A sender that did not know sent it again.
        history.delivered(5, 12, &id(2), 11);
        assert_eq!(history.counts().again, 1);
        // Not known, so it may come or not.
        history.submits(id(3), 1, 3, 5);
        history.answered(&id(3), Answer::Unknown);
        history.taken(1, true, 7);
        history.taken(1, false, 7);
        assert_eq!((rules(&history), history.missing()), (vec![], 0));
    }

    #[test]
    fn each_rule_is_seen_to_be_broken() {
        let lost = History::default();
        accepted(&lost, 1);
        assert_eq!((lost.missing(), rules(&lost)), (1, vec![Rule::Lost]));

        let twice = History::default();
        accepted(&twice, 1);
        twice.delivered(5, 10, &id(1), 0);
        twice.delivered(5, 12, &id(1), 10);
        assert_eq!(rules(&twice), [Rule::Twice]);

        let back = History::default();
        accepted(&back, 1);
        back.acknowledged(5, 10);
        back.delivered(5, 10, &id(1), 0);
        back.delivered(5, 12, &[9; 16], 13);
        assert_eq!(rules(&back), [Rule::CursorBack, Rule::CursorBack]);

        let lie = History::default();
        lie.submits(id(1), 1, 1, 5);
        lie.answered(&id(1), Answer::Refused);
        lie.gives_up(&id(1));
        lie.delivered(5, 10, &id(1), 0);
        assert_eq!(rules(&lie), [Rule::Lie]);

        let order = History::default();
        accepted(&order, 1);
        accepted(&order, 2);
        order.delivered(5, 10, &id(2), 0);
        order.delivered(5, 11, &id(1), 10);
        assert_eq!(rules(&order), [Rule::Order]);

        let prekeys = History::default();
        prekeys.taken(1, true, 7);
        prekeys.taken(1, true, 7);
        assert_eq!(rules(&prekeys), [Rule::PrekeyTwice]);
    }

    #[test]
    fn an_outage_is_the_longest_time_without_service() {
        let served = Served::default();
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        *served.lock() = vec![
            (at(100), Duration::from_millis(900)),
            (at(2_100), Duration::from_millis(50)),
            (at(2_200), Duration::from_millis(1_500)),
        ];
        let outage = served.outage(start, at(2_500));
        assert_eq!((outage.all.as_millis(), outage.one.as_millis()), (2_000, 1_500));
        assert_eq!(served.outage(at(2_500), at(9_500)).all.as_secs(), 7, "none at all");
    }
}

//! Counting: the log says who writes to whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::{Log, Person};

/// A log whose envelopes have senders, by recipient.
#[derive(Debug)]
pub struct Count {
    /// When each person was written to, and by whom, in order.
    received: Vec<Vec<(u64, Person)>>,
}

impl Count {
    /// Sorts a log.
    pub fn new(log: &Log) -> Self {
        let mut received = vec![Vec::new(); log.people()];
        for submitted in log.submitted() {
            if let Some(by) = submitted.by {
                received[submitted.recipient.index()].push((submitted.at, by));
            }
        }
        Self { received }
    }

    /// Each pair of people of which one wrote to the other.
    pub fn edges(&self) -> Vec<(Person, Person)> {
        let pairs = self.received.iter().enumerate().flat_map(|(index, from)| {
            let to = Person::at(index);
            from.iter().map(move |(_, by)| (to.min(*by), to.max(*by)))
        });
        pairs.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Who wrote most to `target` by then.
    pub fn top(&self, target: Person, until: u64) -> Option<Person> {
        let mut counts: BTreeMap<Person, u32> = BTreeMap::new();
        for (_, by) in self.received[target.index()].iter().take_while(|(at, _)| *at <= until) {
            *counts.entry(*by).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(person, _)| person)
    }
}

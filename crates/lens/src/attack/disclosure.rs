//! Statistical disclosure: what happens just after a delivery happens because of it.
//!
//! A device that takes in a text sends a receipt, so that its sender is the recipient of an envelope soon after. So are
//! people who have nothing to do with it; but over many deliveries chance spreads over all people, and contacts come back.
//! For a target, each of its deliveries opens an *epoch*. How often a person is written to within the target's epochs is
//! compared with how often chance would have it, given how much they are written to at all:
//!
//! ```text
//! c  epochs of the target in which u is a recipient
//! λ  the same by chance: epochs · (1 − exp(−n·p)), n envelopes in a mean epoch, p = u's share of all envelopes
//! evidence = c·ln(c/λ) − (c − λ) for c > λ, else 0        (Chernoff's bound on ln 1/P[chance gives c or more])
//! ```
//!
//! Time and recipient are all that it uses. The length of an epoch follows from the policy, which is public: receipts at
//! once, receipts within a minute, or no receipts and only people's answers.
//!
//! The idea is that of Martiny, Kaptchuk, Aviv, Roche and Wustrow, "Improving Signal's Sealed Sender", NDSS 2021.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use crate::log::{Log, Person, Submitted};
use crate::policy::{JITTER_MS, Receipts};

/// Within this time a device has sent its receipt, or most of them have.
const RECEIPT_MS: u64 = 1_000;

/// Within this time a good part of answers has come.
const ANSWER_MS: u64 = 120_000;

/// False pairs that the attacker accepts, for each target.
pub(super) const FALSE_PAIRS: f64 = 0.1;

/// How many contacts the attacker expects a person to have.
const CONTACTS: f64 = 25.0;

/// The least share of a person's senders that may be any person at all.
const ANYBODY: f64 = 0.05;

/// An attacker's working tables over a log.
#[derive(Debug)]
pub struct Disclosure<'a> {
    log: &'a Log,
    epoch_ms: u64,
    /// How probable it is that a sender shows in the epoch of their text.
    shows: f64,
    /// Each person's share of all envelopes.
    share: Vec<f64>,
    /// When each person got something, in order.
    deliveries: Vec<Vec<u64>>,
    scratch: RefCell<Scratch>,
}

/// Counts of one target, kept to be used again.
#[derive(Debug, Default)]
struct Scratch {
    counts: Vec<u32>,
    last_epoch: Vec<u32>,
    touched: Vec<Person>,
}

/// A person that was written to within a target's epochs.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    person: Person,
    count: f64,
    expected: f64,
    evidence: f64,
}

/// Chernoff's bound on how improbable it is that chance gives so many.
pub(super) fn evidence(count: f64, expected: f64) -> f64 {
    if count > expected { count * (count / expected).ln() - (count - expected) } else { 0.0 }
}

impl<'a> Disclosure<'a> {
    /// Prepares an attack on clients with this policy.
    pub fn new(log: &'a Log, receipts: Receipts) -> Self {
        let people = log.people();
        let mut share = vec![0.0; people];
        for submitted in log.submitted() {
            share[submitted.recipient.index()] += 1.0;
        }
        let total = log.submitted().len().max(1) as f64;
        share.iter_mut().for_each(|share| *share /= total);
        let mut deliveries = vec![Vec::new(); people];
        for delivered in log.delivered() {
            deliveries[delivered.device.index()].push(delivered.at);
        }
        let (epoch_ms, shows) = match receipts {
            Receipts::Immediate => (RECEIPT_MS, 0.9),
            Receipts::Jittered => (JITTER_MS + RECEIPT_MS, 0.9),
            Receipts::Off => (ANSWER_MS, 0.4),
        };
        let scratch = Scratch { counts: vec![0; people], last_epoch: vec![0; people], touched: Vec::new() };
        Self { log, epoch_ms, shows, share, deliveries, scratch: RefCell::new(scratch) }
    }

    /// Pairs whose evidence, from both sides together, is beyond chance.
    pub fn edges(&self) -> Vec<(Person, Person)> {
        let people = self.log.people();
        let wanted = (people as f64 / FALSE_PAIRS).ln();
        let mut evidence: HashMap<(Person, Person), f64> = HashMap::new();
        for target in (0..people).map(Person::at) {
            for candidate in self.candidates(target, u64::MAX) {
                // One side alone must say something, lest the table hold every chance meeting.
                if candidate.count >= 2.0 && candidate.evidence > 2.0 {
                    let pair = (target.min(candidate.person), target.max(candidate.person));
                    *evidence.entry(pair).or_default() += candidate.evidence;
                }
            }
        }
        let mut edges: Vec<_> =
            evidence.into_iter().filter(|(_, evidence)| *evidence >= wanted).map(|(pair, _)| pair).collect();
        edges.sort_unstable();
        edges
    }

    /// Whom the evidence names first.
    pub fn top(&self, target: Person, until: u64) -> Option<Person> {
        let candidates = self.candidates(target, until).into_iter();
        let best = candidates.max_by(|a, b| a.evidence.total_cmp(&b.evidence).then_with(|| b.person.cmp(&a.person)));
        best.map(|candidate| candidate.person)
    }

    /// The entropy of the sender of what was delivered to `target` at `at`.
    pub fn sender_bits(&self, target: Person, at: u64) -> f64 {
        let people = self.log.people() as f64;
        let candidates = self.candidates(target, u64::MAX);
        let epochs = self.epochs(target, u64::MAX).count() as f64;
        // Before looking at this delivery: how much of what the target gets comes from whom, as far as the evidence goes.
        let odds = CONTACTS / people;
        let from = |candidate: &Candidate| {
            let odds = odds * candidate.evidence.min(600.0).exp();
            (candidate.count - candidate.expected).max(0.0) * odds / (1.0 + odds)
        };
        let named: f64 = candidates.iter().map(from).sum();
        let anybody = (epochs - named).max(ANYBODY * epochs).max(f64::MIN_POSITIVE) / people;
        // This delivery: who was written to within its epoch is more likely to be its sender.
        let within = self.recipients_within(at);
        let mean = within.len() as f64;
        let chance = |person: Person| (1.0 - (-mean * self.share[person.index()]).exp()).clamp(1e-9, 1.0 - 1e-9);
        let likelihood = |person: Person| {
            if within.contains(&person) {
                self.shows / chance(person)
            } else {
                (1.0 - self.shows) / (1.0 - chance(person))
            }
        };
        let mut weights: HashMap<Person, f64> =
            candidates.iter().map(|candidate| (candidate.person, anybody + from(candidate))).collect();
        for person in &within {
            weights.entry(*person).or_insert(anybody);
        }
        weights.remove(&target);
        let mut weights: Vec<(Person, f64)> = weights.into_iter().collect();
        weights.sort_unstable_by_key(|(person, _)| *person);
        let weights: Vec<f64> = weights.into_iter().map(|(person, prior)| prior * likelihood(person)).collect();
        // Everybody else is alike.
        let others = people - 1.0 - weights.len() as f64;
        let other = anybody * (1.0 - self.shows);
        let sum = weights.iter().sum::<f64>() + others * other;
        let bits = |weight: f64| if weight > 0.0 { -(weight / sum) * (weight / sum).log2() } else { 0.0 };
        weights.into_iter().map(bits).sum::<f64>() + others * bits(other)
    }

    /// All people that got an envelope within the epoch that begins at `at`, each once, in order.
    fn recipients_within(&self, at: u64) -> BTreeSet<Person> {
        self.epoch(at).iter().map(|submitted| submitted.recipient).collect()
    }

    fn epoch(&self, at: u64) -> &[Submitted] {
        let submitted = self.log.submitted();
        let from = submitted.partition_point(|submitted| submitted.at <= at);
        let length = submitted[from..].partition_point(|submitted| submitted.at <= at + self.epoch_ms);
        &submitted[from..from + length]
    }

    /// The beginnings of a target's epochs. What is delivered within an epoch opens no other: it would count twice.
    fn epochs(&self, target: Person, until: u64) -> impl Iterator<Item = u64> + '_ {
        let mut end = 0;
        let deliveries = self.deliveries[target.index()].iter().copied();
        deliveries.take_while(move |at| *at <= until).filter(move |at| {
            let opens = *at >= end;
            if opens {
                end = at + self.epoch_ms;
            }
            opens
        })
    }

    /// All people that were written to within the target's epochs, with the evidence that it was no chance.
    fn candidates(&self, target: Person, until: u64) -> Vec<Candidate> {
        let scratch = &mut *self.scratch.borrow_mut();
        let (mut ordinal, mut envelopes) = (0, 0);
        for at in self.epochs(target, until) {
            ordinal += 1;
            let epoch = self.epoch(at);
            envelopes += epoch.len();
            for submitted in epoch {
                let (person, index) = (submitted.recipient, submitted.recipient.index());
                if scratch.counts[index] == 0 {
                    scratch.touched.push(person);
                } else if scratch.last_epoch[index] == ordinal {
                    continue;
                }
                scratch.counts[index] += 1;
                scratch.last_epoch[index] = ordinal;
            }
        }
        let epochs = f64::from(ordinal);
        let mean = if ordinal == 0 { 0.0 } else { envelopes as f64 / epochs };
        let candidate = |person: Person| {
            let count = f64::from(scratch.counts[person.index()]);
            let expected = epochs * (1.0 - (-mean * self.share[person.index()]).exp());
            Candidate { person, count, expected, evidence: evidence(count, expected) }
        };
        let candidates = scratch.touched.iter().filter(|person| **person != target).map(|person| candidate(*person));
        let candidates: Vec<Candidate> = candidates.collect();
        for person in scratch.touched.drain(..) {
            scratch.counts[person.index()] = 0;
            scratch.last_epoch[person.index()] = 0;
        }
        candidates
    }
}

//! Scores: what an attacker infers, compared with what really happened.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kuvert_privacy::registry::Level;
use serde::Serialize;

use crate::Setup;
use crate::attack::Attacker;
use crate::attack::files::Files;
use crate::envelope::Kind;
use crate::log::{Log, Person, Tap};
use crate::policy::{Policy, Receipts};
use crate::population::{Population, User, ordered};
use crate::random::Random;
use crate::traffic::{self, Truth};

/// After so many texts to a target the attacker's first guess is looked at.
pub const TEXTS: [usize; 4] = [5, 10, 20, 40];

/// Targets whose contacts are guessed.
const TARGETS: usize = 300;

/// Envelopes whose senders are guessed.
const ENVELOPES: usize = 500;

/// The scores of one level, as JSON tells them.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Score {
    /// The level.
    pub level: Level,
    /// People.
    pub users: u32,
    /// Texts in a second.
    pub rate: f64,
    /// The seed.
    pub seed: u64,
    /// Who is in contact with whom.
    pub edges: Edges,
    /// Who gave whom a file, from files alone; null if there was none.
    pub files: Option<Given>,
    /// The share of targets whose first guess is a real contact, after so many texts to them. Empty if no target got as many.
    pub top1_after: BTreeMap<Texts, f64>,
    /// Bits that the attacker lacks to name the sender of one text, in the mean.
    pub anonymity_bits: f64,
    /// What the size of an envelope tells about its kind, in bits.
    pub size_kind_bits: f64,
    /// Bytes on the way to the relay, against L0.
    pub bytes_ratio: f64,
    /// How much later a writer learns that a text has come, against L0; null if never.
    pub latency_ms: Option<f64>,
    /// What JSON does not tell.
    #[serde(skip)]
    pub more: More,
}

/// How many texts; written as a number in quotation marks, ordered as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Texts(pub usize);

/// Pairs that were inferred, against those that wrote to each other.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Edges {
    /// Of the inferred pairs, how many are real.
    pub precision: f64,
    /// Of the real pairs, how many are inferred.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
}

/// What files tell.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Given {
    /// Files that were read.
    pub count: usize,
    /// Pairs of whom one is believed to have given the other a file, against those of whom one did.
    #[serde(flatten)]
    pub edges: Edges,
    /// Of the files that were read, the share whose reader is named right.
    pub readers_named: f64,
}

/// What stands behind the scores.
#[derive(Clone, PartialEq, Debug)]
pub struct More {
    /// What clients did.
    pub policy: Policy,
    /// Texts that were written.
    pub texts: u64,
    /// Pairs that wrote to each other.
    pub pairs: usize,
    /// People whose phone number the relay has.
    pub named: usize,
    /// The share of targets whose first guess is a real contact, after 1, 2, … texts.
    pub top1: Vec<f64>,
}

impl More {
    /// After how many texts half of the targets have a contact identified.
    pub fn half_after(&self) -> Option<usize> {
        self.top1.iter().position(|share| *share >= 0.5).map(|place| place + 1)
    }
}

/// Simulates each policy and scores it; `progress` is called before each. The same people write the same texts under each.
pub fn score(setup: &Setup, policies: &[Policy], mut progress: impl FnMut(&Policy)) -> Vec<Score> {
    let population = Population::new(setup.users, setup.seed);
    let baseline = Policy::of(Level::L0, Receipts::Immediate);
    let mut baseline_of = None;
    let mut scores = Vec::new();
    for policy in policies {
        progress(policy);
        let (log, truth) = observe(setup, &population, *policy);
        let cost = Cost::of(&truth);
        let base = match baseline_of {
            Some(base) => base,
            None if *policy == baseline => cost,
            None => Cost::of(&observe(setup, &population, baseline).1),
        };
        baseline_of = Some(base);
        scores.push(score_of(setup, &population, *policy, &log, &truth, (cost, base)));
    }
    scores
}

/// What the relay's log holds, and what really happened.
pub fn observe(setup: &Setup, population: &Population, policy: Policy) -> (Log, Truth) {
    let tap = Tap::new(policy.level);
    let truth = traffic::run(setup, population, policy, &tap);
    (tap.into_log(), truth)
}

/// What a policy costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    bytes: f64,
    /// From the arrival of a text to that of its receipt; `None` without receipts.
    receipt_ms: Option<f64>,
}

impl Cost {
    fn of(truth: &Truth) -> Self {
        let (count, sum) = truth.receipts;
        Self { bytes: truth.bytes as f64, receipt_ms: (count > 0).then(|| sum as f64 / count as f64) }
    }
}

fn score_of(
    setup: &Setup,
    population: &Population,
    policy: Policy,
    log: &Log,
    truth: &Truth,
    (cost, base): (Cost, Cost),
) -> Score {
    let attacker = Attacker::new(log, policy);
    let names = Names::new(log, population);
    let top1 = top1(setup, log, truth, &attacker, &names);
    Score {
        level: policy.level,
        users: setup.users,
        rate: setup.rate,
        seed: setup.seed,
        edges: edges(&attacker.edges(), &truth.edges, &names),
        files: given(log, truth, &names),
        top1_after: TEXTS.iter().filter_map(|texts| Some((Texts(*texts), *top1.get(texts - 1)?))).collect(),
        anonymity_bits: anonymity_bits(setup, truth, &attacker, &names),
        size_kind_bits: mutual_information(&truth.sizes),
        bytes_ratio: cost.bytes / base.bytes.max(1.0),
        latency_ms: cost.receipt_ms.zip(base.receipt_ms).map(|(receipt, base)| receipt - base),
        more: More { policy, texts: truth.texts, pairs: truth.edges.len(), named: log.named(), top1 },
    }
}

/// Who is who: the judge's table, which no attack sees.
struct Names {
    users: HashMap<Person, User>,
    people: Vec<Option<Person>>,
}

impl Names {
    fn new(log: &Log, population: &Population) -> Self {
        let people: Vec<Option<Person>> = population.people.iter().map(|person| log.person(&person.address)).collect();
        let users = (0..).zip(&people).filter_map(|(user, person)| Some(((*person)?, user))).collect();
        Self { users, people }
    }
}

fn edges(inferred: &[(Person, Person)], real: &BTreeSet<(User, User)>, names: &Names) -> Edges {
    let inferred: BTreeSet<(User, User)> = inferred
        .iter()
        .filter_map(|(one, other)| Some(ordered(*names.users.get(one)?, *names.users.get(other)?)))
        .collect();
    let right = inferred.intersection(real).count() as f64;
    let share = |of: usize| if of == 0 { 0.0 } else { right / of as f64 };
    let (precision, recall) = (share(inferred.len()), share(real.len()));
    let f1 = if right == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
    Edges { precision, recall, f1 }
}

/// What the files of a log tell. Its files are in the order of the truth's.
fn given(log: &Log, truth: &Truth, names: &Names) -> Option<Given> {
    let inferred = Files::new(log);
    let (mut count, mut right, mut real) = (0, 0, BTreeSet::new());
    for ((file, reader), really) in log.files().iter().zip(&inferred.readers).zip(&truth.files) {
        let (Some(_), Some((from, to))) = (file.read, really) else { continue };
        count += 1;
        real.insert(ordered(*from, *to));
        right += usize::from(reader.and_then(|reader| names.users.get(&reader)) == Some(to));
    }
    (count > 0).then(|| Given {
        count,
        edges: edges(&inferred.edges, &real, names),
        readers_named: right as f64 / count as f64,
    })
}

/// The share of targets whose first guess is right after 1, 2, … texts. Which envelopes are texts only the judge knows; the
/// attacker gets everything up to then.
fn top1(setup: &Setup, log: &Log, truth: &Truth, attacker: &Attacker<'_>, names: &Names) -> Vec<f64> {
    let most = TEXTS[TEXTS.len() - 1];
    let mut targets: Vec<User> = (0..setup.users).filter(|user| truth.received[*user as usize].len() >= most).collect();
    Random::new(setup.seed, 4).shuffle(&mut targets);
    targets.truncate(TARGETS);
    if targets.is_empty() || log.people() == 0 {
        return Vec::new();
    }
    let mut right = vec![0_u32; most];
    for target in &targets {
        let Some(person) = names.people[*target as usize] else { continue };
        for (count, until) in right.iter_mut().zip(&truth.received[*target as usize]) {
            let guess = attacker.top(person, *until).and_then(|guess| names.users.get(&guess));
            *count += u32::from(guess.is_some_and(|guess| truth.edges.contains(&ordered(*target, *guess))));
        }
    }
    right.into_iter().map(|count| f64::from(count) / targets.len() as f64).collect()
}

fn anonymity_bits(setup: &Setup, truth: &Truth, attacker: &Attacker<'_>, names: &Names) -> f64 {
    let mut random = Random::new(setup.seed, 5);
    let total: usize = truth.received.iter().map(Vec::len).sum();
    if total == 0 {
        return 0.0;
    }
    let mut chosen: Vec<u64> = (0..ENVELOPES).map(|_| random.below(total as u64)).collect();
    chosen.sort_unstable();
    let (mut sum, mut before, mut chosen) = (0.0, 0, chosen.into_iter().peekable());
    for (times, person) in truth.received.iter().zip(&names.people) {
        while let Some(place) = chosen.next_if(|place| *place < before + times.len() as u64) {
            let at = times[(place - before) as usize];
            sum += person.map_or(0.0, |person| attacker.sender_bits(person, at));
        }
        before += times.len() as u64;
    }
    sum / ENVELOPES as f64
}

/// The mutual information of kind and size, in bits.
fn mutual_information(counts: &BTreeMap<(Kind, usize), u64>) -> f64 {
    let total = counts.values().sum::<u64>() as f64;
    let (mut kinds, mut sizes) = (BTreeMap::<Kind, f64>::new(), BTreeMap::<usize, f64>::new());
    for ((kind, size), count) in counts {
        *kinds.entry(*kind).or_default() += *count as f64;
        *sizes.entry(*size).or_default() += *count as f64;
    }
    let part = |((kind, size), count): (&(Kind, usize), &u64)| {
        let joint = *count as f64;
        joint / total * (joint * total / (kinds[kind] * sizes[size])).log2()
    };
    counts.iter().map(part).sum::<f64>().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_information_of_size_about_kind() {
        let counts = |entries: &[(Kind, usize, u64)]| {
            mutual_information(&entries.iter().map(|(kind, size, count)| ((*kind, *size), *count)).collect())
        };
        assert!((counts(&[(Kind::Text, 100, 7), (Kind::Receipt, 50, 7)]) - 1.0).abs() < 1e-12, "told by size alone");
        assert!(counts(&[(Kind::Text, 512, 7), (Kind::Receipt, 512, 3)]).abs() < 1e-12, "all alike");
        assert_eq!(counts(&[]), 0.0);
    }
}

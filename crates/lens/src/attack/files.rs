//! Files: who gave one to whom.
//!
//! A file has a random name at the relay, and its upload comes from an account at every level. So nothing has to be inferred but who
//! read it. Up to L1 the log says that. From L2 on it is read on a connection without a name, and three things happen close together:
//!
//! ```text
//! upload complete ──(the letter that tells of it)──► submitted to u ──► delivered to u ──(u fetches it)──► file read
//!                 └──── within LETTER_MS ────┘                      └──── within READING_MS ────┘
//! ```
//! Who got a letter just after the upload, and had one handed over just before the file was read, may be its reader. Among so few, the
//! true one comes back with the next file of the same account; the others are chance, and change. The evidence is counted as in
//! [`disclosure`](super::disclosure), with files as epochs. Receipts play no part: that they come late, or not at all, hides nothing here.
//!
//! The size of a file plays no part either: its name says which download belongs to which upload, where sizes could only suggest it.

use std::collections::{BTreeSet, HashMap};

use super::disclosure::{FALSE_PAIRS, evidence};
use crate::log::{File, Log, Person};

/// Within this time the letter that tells of a file follows its upload.
const LETTER_MS: u64 = 300;

/// Within this time a device that is connected begins to read a file that a letter told it of.
const READING_MS: u64 = 1_000;

/// What was made of the files of a log.
#[derive(Debug, Default)]
pub struct Files {
    /// Pairs of people of which one gave the other a file, each once, the lower number first.
    pub edges: Vec<(Person, Person)>,
    /// For each file of the log who is believed to have read it.
    pub readers: Vec<Option<Person>>,
}

impl Files {
    /// Looks through a log.
    pub fn new(log: &Log) -> Self {
        if log.files().iter().any(|file| file.reader.is_some()) { Self::told(log) } else { Self::inferred(log) }
    }

    /// The log names readers.
    fn told(log: &Log) -> Self {
        let readers: Vec<Option<Person>> = log.files().iter().map(|file| file.reader).collect();
        let pairs = log.files().iter().filter_map(|file| Some(ordered(file.by, file.reader?)));
        Self { edges: pairs.collect::<BTreeSet<_>>().into_iter().collect(), readers }
    }

    fn inferred(log: &Log) -> Self {
        let mut share = vec![0.0; log.people()];
        for submitted in log.submitted() {
            share[submitted.recipient.index()] += 1.0;
        }
        let total = log.submitted().len().max(1) as f64;
        share.iter_mut().for_each(|share| *share /= total);
        let candidates: Vec<BTreeSet<Person>> = log.files().iter().map(|file| candidates(log, file)).collect();
        // For each account: how many files, how many candidates altogether, and how often each was one.
        let mut uploads: HashMap<Person, (f64, f64)> = HashMap::new();
        let mut counts: HashMap<(Person, Person), f64> = HashMap::new();
        for (file, candidates) in log.files().iter().zip(&candidates) {
            let (files, all) = uploads.entry(file.by).or_default();
            *files += 1.0;
            *all += candidates.len() as f64;
            for candidate in candidates {
                *counts.entry((file.by, *candidate)).or_default() += 1.0;
            }
        }
        let evidence_of = |by: Person, reader: Person| {
            let (count, (files, all)) = (counts.get(&(by, reader))?, uploads.get(&by)?);
            let expected = files * (1.0 - (-(all / files) * share[reader.index()]).exp());
            Some(evidence(*count, expected))
        };
        let mut pairs: HashMap<(Person, Person), f64> = HashMap::new();
        for (by, reader) in counts.keys() {
            *pairs.entry(ordered(*by, *reader)).or_default() += evidence_of(*by, *reader).unwrap_or_default();
        }
        let wanted = (log.people() as f64 / FALSE_PAIRS).ln();
        let mut edges: Vec<_> =
            pairs.iter().filter(|(_, evidence)| **evidence >= wanted).map(|(pair, _)| *pair).collect();
        edges.sort_unstable();
        // Files that went the other way tell of the same pair.
        let likely = |by: Person, reader: Person| pairs.get(&ordered(by, reader)).copied().unwrap_or_default();
        let reader = |(file, candidates): (&File, &BTreeSet<Person>)| {
            candidates.iter().copied().max_by(|a, b| likely(file.by, *a).total_cmp(&likely(file.by, *b)))
        };
        Self { edges, readers: log.files().iter().zip(&candidates).map(reader).collect() }
    }
}

/// Who may have read a file.
fn candidates(log: &Log, file: &File) -> BTreeSet<Person> {
    let (Some(complete), Some(read)) = (file.complete, file.read) else { return BTreeSet::new() };
    let told = within(log.submitted(), |submitted| submitted.at, complete, complete + LETTER_MS);
    let told: BTreeSet<Person> = told.iter().map(|submitted| submitted.recipient).collect();
    let handed_over = within(log.delivered(), |delivered| delivered.at, read.saturating_sub(READING_MS), read);
    let handed_over: BTreeSet<Person> = handed_over.iter().map(|delivered| delivered.device).collect();
    told.intersection(&handed_over).copied().filter(|person| *person != file.by).collect()
}

/// Those of a list in the order of time that happened from one moment to another, both included.
fn within<T>(of: &[T], at: impl Fn(&T) -> u64, from: u64, to: u64) -> &[T] {
    let begin = of.partition_point(|one| at(one) < from);
    let length = of[begin..].partition_point(|one| at(one) <= to);
    &of[begin..begin + length]
}

fn ordered(one: Person, other: Person) -> (Person, Person) {
    (one.min(other), one.max(other))
}

//! Whether secrets show in the time that operations take: `kuvert-bench timing`.
//!
//! After dudect (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?", 2017): an operation is timed again and again
//! on inputs of two classes in random order, and Welch's t-test says whether the two lots of times differ. A large |t| shows a
//! leak; a small one shows that this many measurements found none. Each row is cropped at several quantiles, because what
//! disturbs a measurement only ever makes it longer, and the largest |t| of all croppings counts.
//!
//! The control compares byte by byte and stops at the first difference: if the method does not find that, it finds nothing.

use std::hint::black_box;
use std::time::{Duration, Instant};

use kuvert_protocol::hazmat::primitives::aead;
use kuvert_protocol::message::RATCHET_MESSAGE_OVERHEAD;
use rand_core::Rng as _;
use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::conversation::{Conversation, Side};
use crate::kuvert::Kuvert;
use crate::machine::{self, Machine};
use crate::seeded::Seeded;
use crate::{Outcome, SEED};

/// Above this, |t| is taken as a leak (dudect's "probably not constant time" begins at 10; below 4.5 is noise).
pub const LEAK: f64 = 10.0;
const DOUBTFUL: f64 = 4.5;

/// Shares of the fastest measurements that are looked at.
const CROPS: [f64; 5] = [1.0, 0.99, 0.95, 0.9, 0.75];

/// Both classes prepared at a time.
const BATCH: usize = 512;

/// One operation on two classes of inputs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TimingRow {
    /// The operation.
    pub name: &'static str,
    /// What the classes are.
    pub classes: &'static str,
    /// Measurements of both classes together.
    pub measurements: usize,
    /// Median of the first class, nanoseconds.
    pub first_ns: f64,
    /// Median of the second class.
    pub second_ns: f64,
    /// Welch's t, the largest by size of all croppings.
    pub t: f64,
    /// `no difference found`, `doubtful` or `different`.
    pub verdict: &'static str,
}

/// One run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TimingReport {
    /// What was measured.
    pub rows: Vec<TimingRow>,
    /// Where, and built how.
    pub machine: Machine,
    /// Of the inputs.
    pub seed: u64,
}

/// Makes an input of the first (`false`) or the second class.
type Prepare<I> = Box<dyn FnMut(bool, &mut Seeded) -> I>;

/// An operation on an input that was prepared before.
struct Experiment<I> {
    name: &'static str,
    classes: &'static str,
    prepare: Prepare<I>,
    work: Box<dyn FnMut(&I)>,
}

impl<I> Experiment<I> {
    fn run(mut self, time: Duration) -> TimingRow {
        let mut random = Seeded::new();
        let mut samples = [Vec::new(), Vec::new()];
        let end = Instant::now() + time;
        let mut warm = false;
        while !warm || Instant::now() < end {
            // All inputs first, so that making one does not disturb the next measurement.
            let inputs: Vec<_> = (0..BATCH)
                .map(|_| {
                    let class = random.next() & 1 == 1;
                    (class, (self.prepare)(class, &mut random))
                })
                .collect();
            for (class, input) in &inputs {
                let start = Instant::now();
                (self.work)(black_box(input));
                let ns = start.elapsed().as_nanos() as f64;
                if warm {
                    samples[usize::from(*class)].push(ns);
                }
            }
            warm = true;
        }
        self.judge(samples)
    }

    fn judge(&self, [mut first, mut second]: [Vec<f64>; 2]) -> TimingRow {
        let mut all: Vec<f64> = first.iter().chain(&second).copied().collect();
        for samples in [&mut first, &mut second, &mut all] {
            samples.sort_by(f64::total_cmp);
        }
        let median = |samples: &[f64]| samples.get(samples.len() / 2).copied().unwrap_or(0.0);
        let t = CROPS
            .iter()
            .map(|share| {
                let last = all.get((all.len() as f64 * share) as usize).copied().unwrap_or(f64::INFINITY);
                let crop = |samples: &[f64]| samples[..samples.partition_point(|ns| *ns <= last)].to_vec();
                welch(&crop(&first), &crop(&second))
            })
            .fold(0.0, |largest: f64, t| if t.abs() > largest.abs() { t } else { largest });
        let verdict = match t.abs() {
            t if t < DOUBTFUL => "no difference found",
            t if t < LEAK => "doubtful",
            _ => "different",
        };
        let (first_ns, second_ns) = (median(&first), median(&second));
        TimingRow { name: self.name, classes: self.classes, measurements: all.len(), first_ns, second_ns, t, verdict }
    }
}

/// Welch's t of two lots of measurements; 0 if there are too few.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let moments = |samples: &[f64]| {
        let n = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / n;
        let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, variance / n)
    };
    if a.len() < 2 || b.len() < 2 {
        return 0.0;
    }
    let ((mean_a, error_a), (mean_b, error_b)) = (moments(a), moments(b));
    let error = (error_a + error_b).sqrt();
    if error > 0.0 { (mean_a - mean_b) / error } else { 0.0 }
}

fn bytes<const N: usize>(random: &mut Seeded) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill_bytes(&mut bytes);
    bytes
}

const KEY: [u8; 32] = [3; 32];
const NONCE: [u8; 12] = [5; 12];

/// A tag that differs in its last bit, or everywhere: how far a comparison gets must not show.
fn tag_comparison() -> Experiment<[u8; 16]> {
    let mut ciphertext = [7; 64];
    let tag = aead::seal(&KEY, &NONCE, &[], &mut ciphertext);
    let mut plaintext = [0; 64];
    Experiment {
        name: "tag of a message",
        classes: "wrong in the last bit; random",
        prepare: Box::new(move |second, random| {
            let (mut nearly, other) = (tag, bytes(random));
            nearly[15] ^= 1;
            if second { other } else { nearly }
        }),
        work: Box::new(move |tag| {
            let _ = black_box(aead::open(&KEY, &NONCE, &[], &ciphertext, tag, &mut plaintext));
        }),
    }
}

/// Two keys as the protocol compares them: in the replay record, in a handshake.
fn key_comparison() -> Experiment<[u8; 32]> {
    Experiment {
        name: "comparison of keys",
        classes: "different in the last bit; random",
        prepare: Box::new(|second, random| {
            let (mut nearly, other) = (KEY, bytes(random));
            nearly[31] ^= 1;
            if second { other } else { nearly }
        }),
        work: Box::new(|key| {
            for _ in 0..8 {
                black_box(black_box(key).ct_eq(black_box(&KEY)));
            }
        }),
    }
}

fn control() -> Experiment<[u8; 32]> {
    Experiment {
        name: "control: a comparison that stops early",
        work: Box::new(|key| {
            for _ in 0..8 {
                black_box(black_box(key).iter().zip(black_box(&KEY)).position(|(a, b)| black_box(a) != black_box(b)));
            }
        }),
        ..key_comparison()
    }
}

/// A header that no key of the session opens: one sealed for another session, or random bytes. Both are tried with every key,
/// and nothing of what the keys made of it may show.
fn header_trials() -> Outcome<Experiment<Vec<u8>>> {
    let mut pair = Kuvert::begin()?;
    for _ in 0..10 {
        pair.exchange()?;
    }
    let mut other = Kuvert::begin()?;
    let foreign = other.send(Side::Alice, b"for somebody else")?;
    Ok(Experiment {
        name: "header that no key opens",
        classes: "another session's; random",
        prepare: Box::new(move |second, random| {
            let mut message = foreign.clone();
            if second {
                random.fill_bytes(&mut message[2..RATCHET_MESSAGE_OVERHEAD - 16]);
            }
            message
        }),
        work: Box::new(move |message| {
            let _ = black_box(pair.receive(Side::Bob, message));
        }),
    })
}

/// Measures everything, in about `time`.
///
/// # Errors
/// A workload failed.
pub fn timing(time: Duration, mut progress: impl FnMut(&str)) -> Outcome<TimingReport> {
    let load_before = machine::load();
    let share = time / 4;
    let mut rows = Vec::new();
    for experiment in [control(), key_comparison()] {
        progress(experiment.name);
        rows.push(experiment.run(share));
    }
    let tag = tag_comparison();
    progress(tag.name);
    rows.push(tag.run(share));
    let header = header_trials()?;
    progress(header.name);
    rows.push(header.run(share));
    Ok(TimingReport { rows, machine: Machine::read(load_before), seed: SEED })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn welch_is_the_formula() {
        // Means 2 and 5, variances 1 and 4, three samples each: t = -3 / sqrt(1/3 + 4/3).
        let t = welch(&[1.0, 2.0, 3.0], &[3.0, 5.0, 7.0]);
        assert!((t + 3.0 / (5.0_f64 / 3.0).sqrt()).abs() < 1e-12, "{t}");
        assert_eq!(welch(&[1.0], &[2.0, 3.0]), 0.0);
    }

    #[test]
    fn classes_that_differ_are_told_apart_whatever_else_is_slow() {
        let experiment = key_comparison();
        let mut random = Seeded::new();
        let mut noisy = |mean: f64| -> Vec<f64> {
            (0..5_000)
                .map(|_| mean + (random.next() % 20) as f64 + if random.next().is_multiple_of(100) { 1e6 } else { 0.0 })
                .collect()
        };
        let (a, b, c) = (noisy(100.0), noisy(100.0), noisy(103.0));
        assert_eq!(experiment.judge([a.clone(), b]).verdict, "no difference found");
        assert_eq!(experiment.judge([a, c]).verdict, "different");
    }
}

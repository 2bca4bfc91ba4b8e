//! How fast Kuvert encrypts, beside the lower bound and beside vodozemac, in one run: `kuvert-bench crypto`.
//!
//! | module | holds |
//! |---|---|
//! | [`rows`] | what is measured, row by row |
//! | [`conversation`] | the work, written once for every candidate |
//! | [`kuvert`], [`olm`], [`post_quantum`] | who does the work: Kuvert's sessions, vodozemac's, the post-quantum ratchet alone |
//! | [`bound`] | the same primitives with nothing around |
//! | [`sealed_sender`] | the layer that hides who wrote, and its bound |
//! | [`files`] | files in chunks, and their bound |
//! | [`primitives`] | single primitives by each linked backend |
//! | [`meter`] | CPU time, interleaved batches, median and spread |
//! | [`allocations`] | allocations of each row, counted by a test |
//! | [`sizes`] | bytes of state and of messages |
//! | [`timing`] | whether secrets show in the time that operations take: `kuvert-bench timing` |
//! | `client` | a whole client with its store and a relay: `kuvert-bench client` (feature `program`) |
//! | `transfer` | files end to end, beside disk and cipher: `kuvert-bench files` (feature `program`) |
//! | `program` | the program `kuvert-bench` (feature `program`) |
//! | [`seeded`] | the same numbers in every run |
//! | [`goals`] | what the figures are to reach |
//! | [`report`], [`plot`] | the figures as JSON, for a terminal, as a document |
//! | [`scaling`] | what relays of any size need, from what one was measured to do |
//! | [`machine`] | where, and built how |
//!
//! Every candidate gets the same contents, the same turns and the same system randomness, and hands over bytes as they go on the wire.

pub mod allocations;
pub mod bound;
#[cfg(feature = "program")]
pub mod client;
pub mod conversation;
pub mod files;
pub mod goals;
pub mod kuvert;
pub mod machine;
pub mod meter;
#[cfg(feature = "program")]
mod metered_store;
pub mod olm;
pub mod plot;
pub mod post_quantum;
pub mod primitives;
#[cfg(feature = "program")]
pub mod program;
pub mod report;
pub mod rows;
pub mod scaling;
pub mod sealed_sender;
mod sections;
pub mod seeded;
pub mod sizes;
pub mod timing;
#[cfg(feature = "program")]
pub mod transfer;

use std::time::Duration;

use getrandom::SysRng;
use rand_core::UnwrapErr;

pub use report::Report;

/// A workload that went wrong: a bug in the benchmark or in what it measures, never a figure.
pub type Failure = Box<dyn std::error::Error>;

/// What every fallible step gives.
pub type Outcome<T> = Result<T, Failure>;

/// Where contents and orders of arrival come from.
pub const SEED: u64 = 20_261_121;

/// The operating system's randomness, which the client uses too. vodozemac takes it by itself.
pub(crate) fn system_rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// Measures everything, in about `time`. `progress` hears which row comes next.
///
/// # Errors
/// A workload failed.
pub fn crypto(time: Duration, mut progress: impl FnMut(&str)) -> Outcome<Report> {
    let load_before = machine::load();
    let contests = rows::contests()?;
    let share = time / u32::try_from(contests.len())?;
    let mut rows = Vec::new();
    for contest in contests {
        progress(&contest.title());
        rows.extend(contest.run(share)?);
    }
    let sizes = sizes::Sizes::measure()?;
    let goals = goals::judge(&rows, &sizes);
    Ok(Report { rows, goals, sizes, machine: machine::Machine::read(load_before), seed: SEED, seconds: time.as_secs() })
}

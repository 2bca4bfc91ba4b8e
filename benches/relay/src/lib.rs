//! How fast a relay is, and what it costs: `kuvert-bench relay`.
//!
//! A real relay (`kuvert-relay serve`) serves over loopback QUIC; processes of this same program are its clients, with
//! devices that register and authenticate, and envelopes as clients send them. Beside it, in the same run and under the same load,
//! runs the bare prototype: the same endpoint and frames around one SQLite table, without accounts, quotas, limits or an
//! index of mailboxes. What the relay reaches of it is what the machine allows.
//!
//! | module | holds |
//! |---|---|
//! | [`plan`] | how much of everything, in full and for tests |
//! | [`job`] | what a load process is told, and what it answers |
//! | [`process`] | relay, prototype and load processes; CPU, memory and bytes written from `/proc` |
//! | [`device`], [`link`] | who the clients are, and their connections |
//! | [`load`] | the work of the load processes |
//! | [`hostile`] | clients that misbehave |
//! | [`bare`] | the prototype behind a socket |
//! | [`redis`] | Redis on the same work |
//! | [`postgres`] | the store on PostgreSQL, and a bare client that writes the same rows |
//! | [`storage`] | the store without a network: many mailboxes, start-up, expiry |
//! | [`run`] | the scenarios in their order |
//! | [`report`], [`plot`] | the figures as JSON, in words, as a picture |

pub mod bare;
pub mod device;
pub mod hostile;
pub mod job;
pub mod link;
pub mod load;
pub mod plan;
pub mod plot;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod report;
pub mod run;
pub mod storage;

use std::ffi::OsString;

pub use plan::Plan;
pub use report::Report;
pub use run::{measure, measure_hostile};

/// What went wrong: never a figure.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What every fallible step gives.
pub type Outcome<T> = Result<T, Failure>;

/// The argument with which the program starts itself as a load process.
pub const WORKER: &str = "relay-worker";

/// The arguments with which the program starts itself as the relay that is measured.
const RELAY: [&str; 2] = ["as", "kuvert-relay"];

/// The command line of the relay, its name first, where the program was started as one.
pub fn relay_arguments(arguments: &[OsString]) -> Option<impl Iterator<Item = OsString>> {
    let part = arguments.get(1..=RELAY.len())?;
    (part == RELAY).then(|| arguments[RELAY.len()..].iter().cloned())
}

//! The lens: what can be inferred from what a relay sees, in numbers.
//!
//! A synthetic population talks through the relay's real rules on a virtual clock. An attacker gets the observation log
//! that a relay would hold at a level of the disclosure ladder, and nothing else; what it infers is compared with what
//! really happened. docs/LENS.md explains each measure.
//!
//! ```text
//! population ──► traffic ──► relay (mailbox rules, padding, retention) ──► events ──► log of a level ──► attack
//!                   │                                                                                     │
//!                   └──► truth ───────────────────────────────────────────────────────────────► score ◄───┘
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`policy`] | what a client does at a level; public, so the attacker knows it |
//! | [`population`] | people, whom they know, when they are awake |
//! | [`traffic`] | the conversations |
//! | [`envelope`] | how large a message is, by the real encodings |
//! | [`relay`] | the relay's rules on sizes instead of bytes |
//! | [`log`] | what the observation log holds at a level |
//! | [`attack`] | what can be inferred from a log: it sees nothing else |
//! | [`mod@score`] | the comparison with the truth |
//! | [`report`] | scores as JSON, words and Markdown |
//! | [`spread`] | one figure from several seeds |
//! | [`plot`] | scores as SVG |
//! | [`command`] | the command `score` |
//! | [`random`] | randomness from a seed |

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod attack;
pub mod command;
pub mod envelope;
pub mod log;
pub mod plot;
pub mod policy;
pub mod population;

pub mod random;
pub mod relay;
pub mod report;
pub mod score;
pub mod spread;
pub mod traffic;

pub use kuvert_privacy::registry::Level;
pub use policy::{Policy, Receipts};
pub use score::{Score, score};

/// What is simulated.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Setup {
    /// People.
    pub users: u32,
    /// Texts in a second, all people together, averaged over day and night. A text to a group counts once for each member.
    pub rate: f64,
    /// Days of traffic.
    pub days: u32,
    /// Everything follows from it.
    pub seed: u64,
}

impl Default for Setup {
    /// The population of the published measurements that the scores stand beside.
    fn default() -> Self {
        Self { users: 20_000, rate: 4.0, days: 3, seed: 1 }
    }
}

//! A seeded world for tests of Kuvert's end-to-end protocol: a few accounts, a virtual clock, a link that loses and
//! reorders, a relay that lies, machines that crash and are restored from backups. The same seed gives the same world.
//!
//! | module | holds |
//! |---|---|
//! | [`world`] | [`World`]: clock, events, plans; from a seed to a [`Tally`] or a [`Violation`] |
//! | [`peer`] | what a correct client does around the protocol, and the [`peer::Fault`]s that a broken one has |
//! | [`link`] | loss, duplication, delay, partitions |
//! | [`relay`] | mailboxes and prekeys, and the [`relay::Attack`]s of a malicious relay |
//! | [`invariants`] | [`Judge`]: sees everything, and says what must never happen |
//! | [`content`] | what travels inside the encryption |
//! | `stranger` | registered accounts that were not accepted, each with a budget of requests and bytes |
//! | [`rng`] | randomness from a seed |
//!
//! Run and rerun: see `tests/world.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test support: a broken assumption has to stop the test

pub mod content;
pub mod invariants;
pub mod link;
pub mod peer;
pub mod relay;
pub mod rng;
mod stranger;
pub mod world;

pub use invariants::{Judge, Tally, Violation};
pub use world::{Plan, World};

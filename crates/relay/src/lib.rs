//! The Kuvert relay: keeps sealed envelopes until their recipients fetch them, 30 days at most. It cannot open them: no
//! code that could is part of it.
//!
//! This crate is the mail path, and the traits behind which everything else stands. What a program needs:
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | what an operator may set |
//! | [`relay`] | what a relay is made of, and the relay that runs: [`Parts::start`] to [`RunningRelay::shutdown`] |
//! | [`clock`] | the machine's clock |
//! | [`invitation`] | codes with which accounts register where not every peer may |
//!
//! What stands behind a trait:
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | what is kept: mail, accounts, prekeys. A [`Session`](store::Session) owns the order of submits |
//! | [`mailbox`] | the rules of a mailbox, which every store keeps: order, shares, expiry |
//! | [`blobs`] | files on their way to their readers, and what keeps them |
//! | [`presence`] | which devices are connected and attached |
//! | [`slots`] | where two devices leave each other something while one is linked |
//! | [`others`] | the other relays of the same store: limits over all of them |
//! | [`data_rights`], [`incidents`] | what accounts have a right to, and the limits that they ran into |
//! | [`admin`] | what an operator's program does from outside |
//! | [`observe`] | what the relay learns, for people to see |
//! | [`extension`] | what a relay can offer beyond mail |
//! | [`figures`] | what else a relay counts about itself |
//!
//! The mail path, in the order in which an envelope passes through. Its modules are not for other projects:
//!
//! | module | holds |
//! |---|---|
//! | `tls` | certificate, fingerprint, post-quantum key exchange |
//! | `endpoint`, `endpoint_key` | the QUIC endpoint: which peer gets a connection; telling clients of a relay that was killed |
//! | `connection` | one client: greeting, reading, writing |
//! | `device` | the device that authenticated on a connection |
//! | `command` | what a client can ask for, a file per command; `limits`, `young`: how much of it |
//! | `delivery` | a mailbox to its device |
//! | `retention`, `deletion`, `report` | deleting what had its time; an account, everywhere; telling it what is held |
//! | `metrics`, `exposition`, `monitoring` | what the relay counts about itself, over HTTP |
//! | `relay_time` | what time it is for the relay: a clock that is wrong once erases nothing |
//! | `shared` | what every connection shares |
//! | `whole_file` | files that are there whole or not at all |

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

// What is hidden is for this project's own crates: it may change at any time.
pub mod admin;
pub mod blobs;
pub mod clock;
#[doc(hidden)]
pub mod command;
pub mod config;
mod connection;
#[doc(hidden)]
pub mod connection_number;
pub mod data_rights;
mod deletion;
#[doc(hidden)]
pub mod delivery;
#[doc(hidden)]
pub mod device;
#[doc(hidden)]
pub mod endpoint;
#[doc(hidden)]
pub mod endpoint_key;
mod exposition;
pub mod extension;
pub mod figures;
pub mod incidents;
pub mod invitation;
#[doc(hidden)]
pub mod limits;
pub mod mailbox;
#[doc(hidden)]
pub mod metrics;
mod monitoring;
pub mod observe;
pub mod others;
pub mod presence;
pub mod relay;
#[doc(hidden)]
pub mod relay_time;
mod report;
#[doc(hidden)]
pub mod retention;
#[doc(hidden)]
pub mod shared;
pub mod slots;
pub mod store;
#[doc(hidden)]
pub mod tls;
#[doc(hidden)]
pub mod whole_file;
#[doc(hidden)]
pub mod young;

pub use clock::{Clock, ManualClock, SystemClock};
pub use config::Config;
pub use connection_number::ConnectionNumber;
pub use extension::Extension;
pub use relay::{Parts, RunningRelay, StartError};

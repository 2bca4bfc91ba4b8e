//! The Kuvert relay: keeps sealed envelopes until their recipients fetch them, 30 days at most. It cannot open them: no
//! code that could is part of it.
//!
//! In the order in which an envelope passes through:
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | what an operator may set |
//! | [`relay`] | [`Parts::start`] to [`RunningRelay::shutdown`] |
//! | [`tls`] | certificate, fingerprint, post-quantum key exchange |
//! | [`endpoint`] | the QUIC endpoint: who gets a connection |
//! | [`endpoint_key`] | telling clients of a relay that was killed that it is gone |
//! | [`connection`] | one client: greeting, reading, writing, delivery |
//! | [`connection_number`] | the number by which logs tell connections apart |
//! | [`command`] | what a client can ask for, a file per command |
//! | [`invitation`] | codes with which people register where not everybody may |
//! | [`limits`] | how much of it |
//! | [`mailbox`] | the rules of a mailbox: order, quota, expiry |
//! | [`store`] | what is kept, behind a trait |
//! | [`deletion`] | deleting an account, everywhere |
//! | [`extension`] | what a relay can offer beyond mail |
//! | [`presence`] | which devices are connected and attached |
//! | [`retention`] | deleting what nobody fetched in time |
//! | [`observe`] | what the relay learns, for those who want to see it |
//! | [`data_rights`] | what accounts have a right to, behind a trait |
//! | [`report`] | all that the relay holds about one account |
//! | [`incidents`] | limits that accounts ran into |
//! | [`admin`] | what an operator's program does, behind a trait |
//! | [`metrics`], [`exposition`] | what the relay counts about itself, and how it is written |
//! | [`monitoring`] | metrics and health over HTTP |
//! | [`clock`] | the machine's clock |
//! | [`relay_time`] | what time it is for the relay: a clock that is wrong once erases nothing |
//! | [`service`] | what every connection shares |

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod admin;
pub mod clock;
pub mod command;
pub mod config;
pub mod connection;
pub mod connection_number;
pub mod data_rights;
pub mod deletion;
pub mod endpoint;
pub mod endpoint_key;
pub mod exposition;
pub mod extension;
pub mod incidents;
pub mod invitation;
pub mod limits;
pub mod mailbox;
pub mod metrics;
pub mod monitoring;
pub mod observe;
pub mod presence;
pub mod relay;
pub mod relay_time;
pub mod report;
pub mod retention;
pub mod service;
pub mod store;
pub mod tls;
pub mod whole_file;
pub mod young;

pub use clock::{Clock, ManualClock, SystemClock};
pub use config::Config;
pub use extension::Extension;
pub use kuvert_privacy::registry;
pub use relay::{Parts, RunningRelay, StartError};

//! The relay from outside: real QUIC on loopback, keys and frames made by the tests themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authorisation;
mod common;
mod dependencies;
mod hostile;
mod identity;
mod mail;
mod monitoring;
mod observation;
mod prekeys;
mod program;
mod retention;
mod transport;

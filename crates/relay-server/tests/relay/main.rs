//! The relay from outside: real QUIC on loopback, keys and frames made by the tests themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authorisation;
mod clock;
mod common;
mod exposition;
mod extension;
mod hostile;
mod identity;
mod kills;
mod mail;
mod monitoring;
mod network;
mod observation;
mod people;
mod prekeys;
mod program;
mod retention;
mod rights;
mod sealed;
mod shares;
mod small_disk;
mod transport;
mod young;

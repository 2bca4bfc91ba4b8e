//! The relay from outside: real QUIC on loopback, keys and frames made by the tests themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authorisation;
mod blobs;
mod bytes;
mod clock;
mod common;
mod exposition;
mod hostile;
mod identity;
mod kills;
mod mail;
mod monitoring;
mod network;
mod others;
mod postgres;
mod prekeys;
mod program;
mod retention;
mod sealed;
mod shares;
mod slots;
mod small_disk;
mod transport;
mod young;

use std::sync::Arc;

use kuvert_relay::{Clock, Config, RunningRelay};
use kuvert_relay_sqlite::embedded::{self, StartError};

/// The program that these tests are about.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kuvert-relay");

/// A relay as that program serves: mail, and nothing beyond.
async fn launch(config: Config, clock: Arc<dyn Clock>) -> Result<RunningRelay, StartError> {
    embedded::start(config, clock).await
}

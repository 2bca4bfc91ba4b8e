//! The relay with the demonstration, from outside. The client is the one of the tests of `kuvert-relay`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../relay-server/tests/relay/authorisation.rs"]
mod authorisation;
#[path = "../../../relay-server/tests/relay/common/mod.rs"]
mod common;
mod extension;
mod observation;
mod people;
mod program;
mod rights;

use std::sync::Arc;

use kuvert_relay::{Clock, Config, RunningRelay};
use kuvert_relay_sqlite::embedded::StartError;

/// The program that these tests are about.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kuvert-relay-lens");

/// A relay as that program serves: with the demonstration.
async fn launch(config: Config, clock: Arc<dyn Clock>) -> Result<RunningRelay, StartError> {
    kuvert_relay_lens::start(config, clock).await
}

//! `kuvert relay …`: the same as the program `kuvert-relay`.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::args::Relay;

/// Hands everything over to the relay's own program.
pub fn run(args: Relay, json: bool) -> ExitCode {
    let json = json.then(|| OsString::from("--json"));
    kuvert_relay::program::run([OsString::from("kuvert relay")].into_iter().chain(args.arguments).chain(json))
}

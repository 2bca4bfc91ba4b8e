//! `kuvert lens …`: the same as the program `kuvert-lens`.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::args::Lens;

/// Hands everything over to the lens's own program.
pub fn run(args: Lens, json: bool) -> ExitCode {
    let json = json.then(|| OsString::from("--json"));
    kuvert_lens_page::program::run([OsString::from("kuvert lens")].into_iter().chain(args.arguments).chain(json))
}

//! `kuvert completions`

use clap::CommandFactory;

use crate::args::{Args, Completions};
use crate::error::Failure;

/// Prints a completion script.
pub fn run(args: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "kuvert", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script).map_err(|error| Failure::io("write to stdout", &error))
}

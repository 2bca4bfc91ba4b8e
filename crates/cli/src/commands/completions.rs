//! `kuvert completions`

use std::ffi::OsStr;

use clap::CommandFactory;
use kuvert_program::family::{self, Program};

use crate::args::{Args, Completions};
use crate::error::Failure;

/// Prints a completion script, which knows the names of the other programs that are there.
pub fn run(args: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut command = family::known().into_iter().fold(Args::command(), |command, (name, line)| {
        let offered = command.find_subcommand(name).is_none() && Program::named(OsStr::new(name)).is_ok();
        if offered { command.subcommand(clap::Command::new(name).about(line)) } else { command }
    });
    clap_complete::generate(args.shell, &mut command, "kuvert", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script).map_err(|error| Failure::io("write to stdout", &error))
}

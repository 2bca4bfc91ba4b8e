//! `kuvert completions`: what the shells complete of this program's commands, and of the names of contacts.
//!
//! The scripts for bash, zsh and fish ask this program for names: `kuvert __contacts [HOME]` prints one a line, out of this home
//! alone. It is no command for people, and stands in no help. A name can hold whatever its owner typed, or what an invite link said;
//! each shell gets it as data, and puts it into the command line quoted.

mod names;
mod scripts;

use std::ffi::OsStr;
use std::io;

use clap::CommandFactory;
use clap_complete::Shell;
use kuvert_program::family::{self, Program};

use crate::args::{Args, Completions};
use crate::error::Failure;

pub use names::{WORD, run as print_names};

/// Prints a completion script, which knows the names of the other programs that are there.
pub fn run(args: &Completions) -> Result<(), Failure> {
    let script = script(args.shell);
    io::Write::write_all(&mut io::stdout(), script.as_bytes()).map_err(|error| Failure::io("write to stdout", &error))
}

fn script(shell: Shell) -> String {
    let mut command = family::known().into_iter().fold(Args::command(), |command, (name, line)| {
        let offered = command.find_subcommand(name).is_none() && Program::named(OsStr::new(name)).is_ok();
        if offered { command.subcommand(clap::Command::new(name).about(line)) } else { command }
    });
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "kuvert", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => scripts::bash(script, &command),
        Shell::Zsh => scripts::zsh(&script),
        Shell::Fish => scripts::fish(&script, &command),
        _ => script,
    }
}

//! The program `kuvert`: an end-to-end encrypted messenger on the command line, and nothing else. It links no relay; `kuvert
//! NAME` runs the program `kuvert-NAME` where that is no command of its own.
//!
//! Another program can run it: [`run`] takes the words of a command line. What is public beside it is for programs that speak to
//! people in the same way, such as `kuvert-demo`.
//!
//! | module | holds |
//! |---|---|
//! | `args` | the command line as clap reads it |
//! | `manual` | what the manual pages have beside the help |
//! | `options` | what the flags mean |
//! | `commands` | one file per command |
//! | `chat` | the full-screen chat and its line mode |
//! | `passphrase` | asking for a passphrase |
//! | [`output`] | results in words and as JSON |
//! | [`files`] | files that this program makes |
//! | [`log`] | what `-v` says |
//! | [`signals`] | what ends a command from outside |
//! | [`terminal`] | raw mode and the alternate screen, put back whatever happens |
//! | [`error`] | exit codes |
//! | [`usage`] | command lines that make no sense |

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod chat;
mod commands;
pub mod error;
pub mod files;
pub mod log;
mod manual;
mod options;
pub mod output;
mod passphrase;
pub mod signals;
pub mod terminal;
pub mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use kuvert_program::{memory, process, words};

use crate::args::{Args, Command};
use crate::commands::{completions, other};
use crate::options::Options;

pub use commands::runtime;

/// Runs the program. The first argument is its name.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // Before anything secret is read.
    memory::keep_private();
    process::outlive_the_file_size_limit();
    let arguments: Vec<OsString> = arguments.collect();
    if let [_, word, home @ ..] = &arguments[..]
        && word == completions::WORD
    {
        completions::print_names(home.first());
        return ExitCode::SUCCESS;
    }
    // Before the examples, which take what stands behind the options along.
    let command = if other::is_asked_for_help(&arguments) { other::listed(Args::command()) } else { Args::command() };
    let command = words::fitted(process::without_empty_variables(manual::MANUAL.in_help(command)));
    let parsed = command.clone().try_get_matches_from(&arguments);
    let args = match parsed.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => return other::run_or_refuse(error, command, &arguments),
    };
    // `kuvert relay` may become another program, with a log of its own.
    let log = (!matches!(args.command, Command::Relay(_))).then(|| log::Log::start(args.global.verbose));
    let options = Options::resolve(args.global);
    let code = match commands::run(args.command, &options) {
        Ok(code) => code,
        Err(failure) => {
            options.output.failure(&failure);
            failure.exit_code()
        }
    };
    log.into_iter().for_each(log::Log::finish);
    code
}

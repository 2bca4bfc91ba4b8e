//! The program `kuvert`: an end-to-end encrypted messenger on the command line.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | the command line as clap reads it |
//! | [`options`] | what the flags mean |
//! | [`commands`] | one file per command |
//! | [`chat`] | the full-screen chat and its line mode |
//! | [`demo`] | the demonstration: relay and clients as processes, and what can be shown of them |
//! | [`output`] | results in words and as JSON |
//! | [`files`] | files that this program makes |
//! | [`log`] | what `-v` says |
//! | [`memory`] | no core dumps |
//! | [`signals`] | what ends a command from outside |
//! | [`terminal`] | raw mode and the alternate screen, put back whatever happens |
//! | [`error`] | exit codes |

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod chat;
mod commands;
mod demo;
mod error;
mod files;
mod log;
mod memory;
mod options;
mod output;
mod signals;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use kuvert_relay::program::{process, words};

use crate::args::{Args, Command};
use crate::options::Options;
use crate::output::Output;
use crate::output::record::Record;

fn main() -> ExitCode {
    // Before anything secret is read.
    memory::keep_private();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    process::outlive_the_file_size_limit();
    let parsed = words::fitted(process::without_empty_variables(Args::command())).try_get_matches_from(&arguments);
    let args = match parsed.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => return usage(&error, &arguments),
    };
    // The relay's program starts a log of its own.
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

/// What is wrong with a command line, and clap's hints.
fn in_one_line(error: &str) -> String {
    let mut lines = error.lines().map(str::trim);
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    lines.filter(|line| line.starts_with("tip: ")).fold(first, |all, tip| format!("{all}; {tip}"))
}

/// A command line that clap does not understand, or that asks for help.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        // Help or version were asked for.
        words::print(error);
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--json") {
        let message = in_one_line(&error.to_string());
        let _ = Output::new(true).print(&Record::Error { code: "usage", message: &message, line: None });
    }
    words::print(error);
    ExitCode::from(error::USAGE)
}

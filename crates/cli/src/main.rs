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
//! | [`memory`] | no core dumps |
//! | [`signals`] | what ends a command from outside |
//! | [`terminal`] | raw mode and the alternate screen, put back whatever happens |
//! | [`error`] | exit codes |

mod args;
mod chat;
mod commands;
mod demo;
mod error;
mod files;
mod memory;
mod options;
mod output;
mod signals;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use kuvert_relay::program::words;

use crate::args::{Args, Command};
use crate::options::Options;
use crate::output::Output;
use crate::output::record::Record;

fn main() -> ExitCode {
    // Before anything secret is read.
    memory::keep_private();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let parsed = words::fitted(Args::command()).try_get_matches_from(&arguments);
    let args = match parsed.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => return usage(&error, &arguments),
    };
    // The relay's program starts a log of its own.
    if !matches!(args.command, Command::Relay(_)) {
        options::start_log(args.global.verbose);
    }
    let options = Options::resolve(args.global);
    match commands::run(args.command, &options) {
        Ok(code) => code,
        Err(failure) => {
            options.output.failure(&failure);
            failure.exit_code()
        }
    }
}

/// A command line that clap does not understand, or that asks for help.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        // Help or version were asked for.
        words::print(error);
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--json") {
        let message = error.to_string();
        let message = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let _ = Output::new(true).print(&Record::Error { code: "usage", message });
    }
    words::print(error);
    ExitCode::from(error::USAGE)
}

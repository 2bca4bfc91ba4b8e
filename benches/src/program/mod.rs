//! The program `kuvert-bench`. It links the relay, too, and starts itself as the relay that it measures.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | the command line |
//! | [`figures`] | `crypto`, `client`, `timing`, `scaling` |
//! | [`load`] | `relay` |
//! | [`transfer`] | `files` |
//! | [`output`] | figures in words or as JSON, and what went wrong |

pub mod args;
pub mod figures;
pub mod load;
pub mod output;
pub mod transfer;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use kuvert_program::manual::{self, Manual};
use kuvert_program::{memory, process, words};

use self::args::{Args, Command};
use self::output::{Failure, Output};

/// The command line makes no sense.
const USAGE: u8 = 2;

/// What the manual pages have beside the help.
const MANUAL: Manual = Manual {
    examples: &[
        ("", &[("kuvert bench crypto", "Measures how fast this machine encrypts.")]),
        (
            "files",
            &[
                (
                    "kuvert bench files",
                    "Measures how fast files of 100 MiB come from one client to another, and what memory that takes.",
                ),
                ("kuvert bench files --mib 20 --directory /srv", "The same with smaller files, on the disk of /srv."),
            ],
        ),
        ("relay", &[("kuvert bench relay --quick", "Measures what a relay on this machine carries, roughly.")]),
    ],
    ..Manual::PLAIN
};

/// Runs the program. The first argument is its name.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    process::outlive_the_file_size_limit();
    let arguments: Vec<OsString> = arguments.collect();
    if let Some(words) = kuvert_relay_bench::relay_arguments(&arguments) {
        memory::keep_private();
        return kuvert_relay_server::run(words);
    }
    if let Some(written) = manual::asked_for(Args::command, &MANUAL, &arguments) {
        return written;
    }
    let name = words::called(&arguments, "kuvert-bench");
    let parsed = words::fitted(MANUAL.in_help(Args::command())).bin_name(name).try_get_matches_from(&arguments);
    let args = match parsed.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => return usage(&error, &arguments),
    };
    let output = Output::new(args.json);
    let ended = match &args.command {
        Command::Relay(args) => load::run(args, &output),
        Command::RelayWorker => load::work(),
        Command::Files(args) => transfer::run(args, &output),
        Command::FilesPerson => transfer::work(),
        command => figures::run(command, &output),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.reader_left() => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::FAILURE
        }
    }
}

fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    words::print(error);
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--json") {
        let words = error.to_string();
        let first = words.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Output::new(true).failure(&Failure::new("usage", first));
    }
    ExitCode::from(USAGE)
}

/// What is said before figures that say nothing.
fn not_a_release(command: &str) -> String {
    format!(
        "This is not a release build: its figures say nothing. Try `cargo run --profile dist -p kuvert-bench -- {command}`."
    )
}

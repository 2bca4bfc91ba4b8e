//! The program `kuvert-relay`: mail, and nothing beyond. Another program can have all of its commands and more ([`run_as`]), or
//! play its part: [`run`] takes the name that usage lines show from its first argument.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | flags, as given |
//! | [`serve`] | `serve` |
//! | [`inspect`] | `inspect` |
//! | [`backup`] | `backup`, `restore` |
//! | [`invite`] | `invite` |
//! | [`hold`] | `hold` |
//! | [`configuration`] | `config` |
//! | [`edition`] | what a program offers beyond that |
//! | [`store`] | where a relay keeps what it has: a directory, or PostgreSQL |
//! | [`migrate`] | `migrate` |
//! | [`cluster`] | `cluster` |
//! | `member` | a relay's part in a cluster |
//! | [`source`] | settings, from a file and the environment |
//! | [`pages`] | what the manual pages have beside the help |
//! | [`logging`] | logs without names, numbers, addresses and keys |
//! | [`failure`] | what went wrong, for people and for programs |

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod args;
pub mod backup;
pub mod cluster;
pub mod configuration;
pub mod edition;
pub mod failure;
pub mod hold;
pub mod inspect;
pub mod invite;
pub mod logging;
#[cfg(feature = "postgres")]
mod member;
pub mod migrate;
pub mod pages;
pub mod serve;
pub mod source;
pub mod store;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use kuvert_privacy::registry::documents::Document;
use kuvert_program::{manual, process, words};

use self::args::{Args, Command, Format};
use self::edition::{Edition, Mail};
use self::failure::Failure;
use self::pages::MANUAL;

/// Everything went well.
const DONE: u8 = 0;
/// It did not; the message says what to do.
const FAILED: u8 = 1;
/// The command line makes no sense.
const USAGE: u8 = 2;

/// The command line, for completions and man pages.
pub fn command() -> clap::Command {
    command_of(&Mail)
}

/// The command line of a program that offers more.
pub fn command_of(edition: &dyn Edition) -> clap::Command {
    edition.command(Args::command())
}

/// Runs the program. The first argument is its name: a path, or words such as `kuvert relay`.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    run_as(&Mail, args)
}

/// Runs a program that offers more.
pub fn run_as(edition: &dyn Edition, args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let command = || command_of(edition);
    if let Some(written) = manual::asked_for(command, &MANUAL, &args) {
        return written;
    }
    let name = args.first().map_or_else(|| command().get_name().to_owned(), program_name);
    let parsed = words::fitted(process::without_empty_variables(MANUAL.in_help(command())))
        .bin_name(name)
        .try_get_matches_from(args);
    match parsed.and_then(|matches| dispatch(edition, &matches)) {
        Ok(ended) => ended,
        Err(error) => {
            // Help and version are no errors.
            words::print(&error);
            if error.use_stderr() { USAGE.into() } else { DONE.into() }
        }
    }
}

/// Runs the command that was asked for.
fn dispatch(edition: &dyn Edition, matches: &ArgMatches) -> Result<ExitCode, clap::Error> {
    let json = matches.get_flag(args::JSON);
    if let Some((name, matches)) = matches.subcommand()
        && let Some(result) = edition.run(name, matches, json)
    {
        return Ok(end(result, json));
    }
    let args = Args::from_arg_matches(matches)?;
    let result = match args.command {
        Command::Serve(serve) => serve::run(edition, serve, matches.subcommand_matches("serve"), args.verbose, json),
        Command::Inspect(inspect) => inspect::run(edition, &inspect, json),
        Command::Backup(args) => backup::run(args, json),
        Command::Restore(args) => backup::run_restore(args, json),
        Command::Invite { command } => invite::run(command, json),
        Command::Hold { command } => hold::run(command, json),
        Command::Migrate(migrate) => migrate::run(&migrate, json),
        Command::Cluster { command } => cluster::run(command, json),
        Command::Config { command } => configuration::run(edition, command, json),
        Command::Registry(registry) if json || registry.format == Format::Json => {
            print(&format!("{:#}\n", Document::from(registry.document).json(edition.scope())))
        }
        Command::Registry(registry) => print(&Document::from(registry.document).markdown(edition.scope())),
    };
    Ok(end(result, json))
}

fn end(result: Result<(), Failure>, json: bool) -> ExitCode {
    match result {
        Ok(()) => DONE.into(),
        Err(failure) if failure.reader_left() => DONE.into(),
        Err(failure) => {
            failure.report(json);
            if failure.is_usage() { USAGE.into() } else { FAILED.into() }
        }
    }
}

fn program_name(argument: &OsString) -> String {
    let text = argument.to_string_lossy();
    if text.contains('/') {
        Path::new(argument).file_name().unwrap_or(argument).to_string_lossy().into_owned()
    } else {
        text.into_owned()
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| Failure::output(&error))
}

/// Says something on stderr. Where that cannot be written, nothing is left to say it with.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_shows_the_name_that_the_program_was_called_by() {
        for (name, shown) in [("/usr/bin/kuvert-relay", "Usage: kuvert-relay"), ("kuvert relay", "Usage: kuvert relay")]
        {
            let name = program_name(&name.into());
            assert!(command().bin_name(name).render_usage().to_string().starts_with(shown));
        }
        command().debug_assert();
    }
}

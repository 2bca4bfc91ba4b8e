//! The program `kuvert-relay-lens`: all that `kuvert-relay` does, and the demonstration.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | its own commands and flags |
//! | [`share`] | `share` |
//! | [`withdraw`] | `withdraw` |
//! | [`inspect`] | its part of `inspect` |

pub mod args;
pub mod inspect;
pub mod share;
pub mod withdraw;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgMatches, Args as _, FromArgMatches as _, Subcommand as _};
use kuvert_privacy::registry::Scope;
use kuvert_relay::config::Config;
use kuvert_relay_server::edition::{Edition, Look};
use kuvert_relay_server::failure::Failure;
use kuvert_relay_sqlite::embedded::Offer;

use self::args::{Command, Serve};
use self::inspect::Disclosures;
use crate::LensOffer;

/// The program's name.
const NAME: &str = "kuvert-relay-lens";

/// What it is for.
const ABOUT: &str = "A Kuvert relay that also asks for more than mail needs, to show what that gives away. Mail is kept as \
                     kuvert-relay keeps it";

/// The command line, for completions and man pages.
pub fn command() -> clap::Command {
    kuvert_relay_server::command_of(&WithLens)
}

/// Runs the program. The first argument is its name: a path, or words such as `kuvert relay-lens`.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    kuvert_relay_server::run_as(&WithLens, args)
}

/// Mail and the demonstration.
#[derive(Clone, Copy, Debug)]
struct WithLens;

impl Edition for WithLens {
    fn command(&self, common: clap::Command) -> clap::Command {
        // What is added brings words of its own about the whole: these are not for help.
        let with_flags = |serve: clap::Command| {
            let about = serve.get_about().map(ToString::to_string).unwrap_or_default();
            Serve::augment_args(serve).about(about).long_about(None)
        };
        let all = Command::augment_subcommands(common.mut_subcommand("serve", with_flags));
        all.name(NAME).about(ABOUT).long_about(None)
    }

    fn run(&self, name: &str, matches: &ArgMatches, json: bool) -> Option<Result<(), Failure>> {
        match name {
            "share" => Some(parsed(args::Share::from_arg_matches(matches)).and_then(|share| share::run(&share, json))),
            "withdraw" => {
                Some(parsed(args::Withdraw::from_arg_matches(matches)).and_then(|args| withdraw::run(args, json)))
            }
            _ => None,
        }
    }

    fn keys(&self) -> &'static str {
        include_str!("keys.toml")
    }

    fn settle(&self, serve: Option<&ArgMatches>, config: &mut Config) -> Result<(), Failure> {
        if let Some(matches) = serve {
            let Serve { observe, demonstration } = parsed(Serve::from_arg_matches(matches))?;
            config.observe |= observe;
            config.demonstration |= demonstration;
        }
        Ok(())
    }

    fn offer(&self) -> Option<Arc<dyn Offer>> {
        Some(Arc::new(LensOffer::default()))
    }

    fn scope(&self) -> Scope {
        Scope::All
    }

    fn look(&self, data: &Path) -> Result<Box<dyn Look>, Failure> {
        Ok(Box::new(Disclosures::open(data)?))
    }
}

/// What the command line was parsed to has been checked by its own definition.
fn parsed<T>(found: Result<T, clap::Error>) -> Result<T, Failure> {
    found.map_err(|error| Failure::usage("usage", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn help_says_what_the_program_and_each_command_are_for() {
        let command = command();
        assert_eq!(command.get_about().unwrap().to_string(), ABOUT);
        let common = kuvert_relay_server::command_of(&kuvert_relay_server::edition::Mail);
        for theirs in common.get_subcommands() {
            let ours = command.find_subcommand(theirs.get_name()).unwrap();
            assert_eq!(ours.get_about().map(ToString::to_string), theirs.get_about().map(ToString::to_string));
        }
    }
}

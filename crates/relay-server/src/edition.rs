//! What a relay's program offers beyond mail. `kuvert-relay` offers nothing: [`Mail`]. Another program has all of its commands
//! and adds its own: [`run_as`](crate::run_as).

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use clap::ArgMatches;
use kuvert_privacy::registry::Scope;
use kuvert_relay::config::Config;
use kuvert_relay_sqlite::embedded::Offer;
use kuvert_relay_sqlite::people::People;
use kuvert_types::AccountId;
use serde_json::Value;

use crate::failure::Failure;
use crate::say;

/// A program that serves a relay.
pub trait Edition: fmt::Debug {
    /// The command line, from the one that all have: its own name, flags and commands.
    fn command(&self, common: clap::Command) -> clap::Command;

    /// Runs one of its own commands. `None`: this is none of them.
    fn run(&self, name: &str, matches: &ArgMatches, json: bool) -> Option<Result<(), Failure>>;

    /// Keys that its configuration file has beside those that all have: a piece of TOML without tables, explained.
    fn keys(&self) -> &'static str;

    /// Completes the configuration from its own flags of `serve`, where that is run, and judges it.
    ///
    /// # Errors
    /// The configuration asks for what this program does not offer.
    fn settle(&self, serve: Option<&ArgMatches>, config: &mut Config) -> Result<(), Failure>;

    /// What the relay offers, if anything.
    fn offer(&self) -> Option<Arc<dyn Offer>>;

    /// Whose data its documents tell of.
    fn scope(&self) -> Scope;

    /// What `inspect` prints of a directory beyond mail.
    ///
    /// # Errors
    /// The files cannot be read.
    fn look(&self, data: &Path) -> Result<Box<dyn Look>, Failure>;
}

/// What `inspect` prints, beyond mail.
pub trait Look {
    /// In sum.
    ///
    /// # Errors
    /// The files cannot be read.
    fn sum(&self) -> Result<Part, Failure>;

    /// Beside what is left of deleted accounts.
    ///
    /// # Errors
    /// The files cannot be read.
    fn rights(&self) -> Result<Part, Failure>;

    /// Of one account: objects for programs.
    ///
    /// # Errors
    /// The files cannot be read.
    fn objects(&self, account: &AccountId) -> Result<Vec<Value>, Failure>;

    /// The same for people: lines.
    ///
    /// # Errors
    /// The files cannot be read.
    fn lines(&self, account: &AccountId) -> Result<Vec<String>, Failure>;
}

/// A part of what `inspect` prints, for programs and for people.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Members of the object.
    pub members: Vec<(&'static str, Value)>,
    /// Lines.
    pub lines: Vec<String>,
}

/// Mail, and nothing beyond.
#[derive(Clone, Copy, Debug)]
pub struct Mail;

impl Edition for Mail {
    fn command(&self, common: clap::Command) -> clap::Command {
        common
    }

    fn run(&self, _: &str, _: &ArgMatches, _: bool) -> Option<Result<(), Failure>> {
        None
    }

    fn keys(&self) -> &'static str {
        ""
    }

    fn settle(&self, _: Option<&ArgMatches>, config: &mut Config) -> Result<(), Failure> {
        let asked = [("observe", config.observe), ("demonstration", config.demonstration)];
        match asked.into_iter().find(|(_, yes)| *yes) {
            Some((key, _)) => Err(Failure::usage(
                "config-not-offered",
                format!(
                    "{key} = true: `kuvert-relay` does not offer that, `kuvert-relay-lens serve` does. Take the key and its \
                     variable away, or run that program"
                ),
            )),
            None => Ok(()),
        }
    }

    fn offer(&self) -> Option<Arc<dyn Offer>> {
        None
    }

    fn scope(&self) -> Scope {
        Scope::Mail
    }

    fn look(&self, data: &Path) -> Result<Box<dyn Look>, Failure> {
        let people = People::open_read_only(data)?;
        if people.map(|people| people.holds_disclosures()).transpose()?.unwrap_or_default() {
            say(
                "note: this directory also holds what accounts told at level L0: `kuvert-relay-lens inspect` prints it",
            );
        }
        Ok(Box::new(Self))
    }
}

impl Look for Mail {
    fn sum(&self) -> Result<Part, Failure> {
        Ok(Part::default())
    }

    fn rights(&self) -> Result<Part, Failure> {
        Ok(Part::default())
    }

    fn objects(&self, _: &AccountId) -> Result<Vec<Value>, Failure> {
        Ok(Vec::new())
    }

    fn lines(&self, _: &AccountId) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
}

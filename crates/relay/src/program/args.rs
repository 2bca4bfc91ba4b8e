//! The command line as given. What is not given comes from the environment, the configuration file, the defaults, in that
//! order.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::registry::documents::Document;

/// A Kuvert relay: keeps sealed envelopes until their recipients fetch them, 30 days at most.
#[derive(Parser, Debug)]
#[command(name = "kuvert-relay", version, propagate_version = true)]
pub struct Args {
    /// Writes JSON lines to stdout; diagnostics go to stderr.
    #[arg(long, global = true)]
    pub json: bool,

    /// Logs more; twice, still more. Never a name, number, address or key.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serves until SIGTERM or Ctrl-C.
    Serve(Serve),
    /// Prints everything that a relay holds, also while it runs.
    Inspect(Inspect),
    /// Prints a configuration file with every key, explained.
    Config,
    /// Prints what is told about data, from the registry of all that a relay can store.
    Registry(Registry),
}

/// `serve`
#[derive(clap::Args, Debug, Default)]
pub struct Serve {
    /// A configuration file; see the command `config`.
    #[arg(long, value_name = "FILE", env = "KUVERT_RELAY_CONFIG")]
    pub config: Option<PathBuf>,

    /// UDP address to listen on; port 0 picks a free one [default: 127.0.0.1:4433].
    #[arg(long, value_name = "ADDR:PORT", env = "KUVERT_RELAY_LISTEN")]
    pub listen: Option<SocketAddr>,

    /// Host name or IP address that clients should use, where it is not the one listened on.
    #[arg(long, value_name = "NAME", env = "KUVERT_RELAY_PUBLIC_HOST")]
    pub public_host: Option<String>,

    /// The directory that holds all that the relay keeps [default: kuvert-relay in the user's data directory].
    #[arg(long, value_name = "DIR", env = "KUVERT_RELAY_DATA")]
    pub data: Option<PathBuf>,

    /// Writes the relay's address to this file once it is ready.
    #[arg(long, value_name = "FILE", env = "KUVERT_RELAY_READY_FILE")]
    pub ready_file: Option<PathBuf>,

    /// Days that undelivered envelopes are kept, 1 to 30 [default: 30].
    #[arg(long, value_name = "DAYS", env = "KUVERT_RELAY_RETENTION")]
    pub retention: Option<u32>,

    /// Records everything that the relay learns in observe.db in the data directory.
    #[arg(long, env = "KUVERT_RELAY_OBSERVE")]
    pub observe: bool,

    /// Moves the relay's clock, for demonstrations and drills: 2678400 is day 31.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_negative_numbers = true,
        env = "KUVERT_RELAY_CLOCK_OFFSET"
    )]
    pub clock_offset: i64,
}

/// `inspect`
#[derive(clap::Args, Debug)]
pub struct Inspect {
    /// The relay's data directory [default: kuvert-relay in the user's data directory].
    #[arg(long, value_name = "DIR", env = "KUVERT_RELAY_DATA")]
    pub data: Option<PathBuf>,
}

/// `registry`
#[derive(clap::Args, Debug)]
pub struct Registry {
    /// Which document.
    #[arg(value_enum)]
    pub document: Document,

    /// How it is written; --json means JSON, too.
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    pub format: Format,
}

/// How a document is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// For people
    Markdown,
    /// For programs
    Json,
}

//! The command line as clap reads it.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// Of `kuvert-bench client`.
pub const MESSAGES: u32 = 1_000;

/// Measure how fast this machine encrypts and how much a relay carries; calculate what relays of any size need
#[derive(Debug, Parser)]
#[command(
    name = "kuvert-bench",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Args {
    /// Print one JSON document on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
}

/// `kuvert-bench …`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Encryption, beside its lower bound and beside vodozemac, in one run
    Crypto {
        /// How long to measure, about; longer is steadier
        #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
        /// Put the figures, and those of `client` and `timing`, between the marks of this Markdown file, and a plot `crypto.svg` beside it
        #[arg(long, value_name = "FILE")]
        document: Option<PathBuf>,
    },
    /// What relays of any size need, calculated from what one was measured to do
    Scaling {
        /// What `kuvert-bench relay --json` printed
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Put the tables between the marks of this Markdown file
        #[arg(long, value_name = "FILE")]
        document: Option<PathBuf>,
    },
    /// Whole clients: from plaintext to a committed, encrypted store and back, through a relay in this process
    Client {
        /// How many messages each way; a contact's share of a mailbox is 2,500
        #[arg(long, value_name = "N", default_value_t = MESSAGES, value_parser = clap::value_parser!(u32).range(1..=2_000))]
        messages: u32,
    },
    /// Whether secrets show in the time that operations take (dudect: Welch's t-test)
    Timing {
        /// How long to measure, about; longer finds smaller differences
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
    },
    /// Files end to end, beside what disk and cipher allow, in one run: a relay and two clients as processes, over loopback
    Files(Files),
    /// A client of `files`
    #[command(hide = true)]
    FilesPerson,
    /// A relay under load, beside a bare prototype, in one run: real processes, devices and envelopes over loopback
    Relay(Relay),
    /// A load process of `relay`
    #[command(hide = true)]
    RelayWorker,
}

/// MiB of the file of `kuvert-bench files`.
const FILE_MIB: u16 = 100;

/// `kuvert-bench files`
#[derive(ClapArgs, Debug)]
pub struct Files {
    /// MiB of the file; memory is measured up to ten times as many
    #[arg(long, value_name = "N", default_value_t = FILE_MIB, value_parser = clap::value_parser!(u16).range(2..=2_000))]
    pub mib: u16,
    /// Tiny numbers, to see that everything works; the figures say nothing
    #[arg(long, conflicts_with = "document")]
    pub quick: bool,
    /// A directory on the disk to measure; it takes five times the largest file [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Put the tables between the marks of this Markdown file
    #[arg(long, value_name = "FILE")]
    pub document: Option<PathBuf>,
}

/// `kuvert-bench relay`
#[derive(ClapArgs)]
pub struct Relay {
    /// Whence keys, recipients and bodies come
    #[arg(long, value_name = "N", default_value_t = 20_261_121)]
    pub seed: u64,
    /// Tiny numbers, to see that everything works; the figures say nothing
    #[arg(long)]
    pub quick: bool,
    /// Measures latency over load too, and draws it into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Measures only what N hostile clients do to the honest
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub hostile: Option<usize>,
    /// Measures only a store on PostgreSQL, without a network before it, beside a bare client that writes the same rows:
    /// postgres://USER@HOST/DATABASE, the password in the file that PGPASSFILE names. Makes and drops the schemas kuvert_bench and kuvert_bench_bare there
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// A further group of servers for that store; each has as many mailboxes as the others. May be given several times
    #[arg(long = "group", value_name = "URL", requires = "store")]
    pub groups: Vec<String>,
    /// Of a store on PostgreSQL, measures only how fast mail is accepted
    #[arg(long, requires = "store")]
    pub enqueue: bool,
    /// Relay nodes before that store
    #[arg(long, value_name = "N", default_value = "2", value_parser = at_least_one)]
    pub nodes: usize,
    /// A directory on the disk to measure, about 5 GB for the full run [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

impl std::fmt::Debug for Relay {
    // The store's address can hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("seed", &self.seed).finish_non_exhaustive()
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse::<std::num::NonZeroUsize>().map(Into::into).map_err(|_| "not a number from 1 on".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn clap_finds_no_contradiction() {
        Args::command().debug_assert();
    }
}

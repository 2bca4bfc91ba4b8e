//! The command line as clap reads it.

use std::path::PathBuf;

use clap::Parser;

/// See what a relay sees: a real relay, two real clients, one letter and a conversation
#[derive(Debug, Parser)]
#[command(name = "kuvert-demo", version)]
pub struct Args {
    /// Wait for a key between the scenes
    #[arg(long)]
    pub step: bool,
    /// Keep the relay's and the clients' directories, below DIR
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Serve a page on this machine that shows live what the relay sees; it stays until Ctrl-C
    #[arg(long)]
    pub lens: bool,
    /// Instead: a day in a small town, told by what the relay saw of it, at L0 and at L3; guess what happened
    #[arg(long, value_enum, value_name = "STORY", conflicts_with_all = ["step", "lens"])]
    pub story: Option<Story>,
    /// Print one JSON document with all facts, in place of the scenes
    #[arg(long)]
    pub json: bool,
    /// Say on stderr what the clients of a story connect to, send and receive; twice for more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Of `--story`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Story {
    /// Appointments, a doctor, a lawyer, a shop, friends
    Doctor,
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

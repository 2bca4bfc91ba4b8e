//! The commands and flags that `kuvert-relay` does not have.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use kuvert_types::AccountId;

/// What the program can do beside what `kuvert-relay` can.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// The demonstration's exports: what others would get. Only of a relay that was served with --demonstration.
    Share {
        /// For whom.
        #[command(subcommand)]
        command: Share,
    },
    /// Deletes what accounts told at level L0, all of it; not while the relay runs.
    Withdraw(Withdraw),
}

/// Flags of `serve`.
#[derive(clap::Args, Debug)]
// The name of its group would be that of the flags that all programs have.
#[group(skip)]
pub struct Serve {
    /// Records everything that the relay learns in observe.db in the data directory.
    #[arg(long)]
    pub observe: bool,

    /// Runs the demonstration: terms to accept, and exports of what a parent company would get (`share`).
    #[arg(long)]
    pub demonstration: bool,
}

/// `share …`
#[derive(Subcommand, Debug)]
pub enum Share {
    /// What the parent company would get: numbers, frequency of use, whether they may be used for advertising.
    Parent {
        /// The relay's data directory [default: kuvert-relay in the user's data directory].
        #[arg(long, value_name = "DIR", env = "KUVERT_RELAY_DATA")]
        data: Option<PathBuf>,
    },
    /// What comes of matching an advertiser's list of customers.
    Match {
        /// The relay's data directory [default: kuvert-relay in the user's data directory].
        #[arg(long, value_name = "DIR", env = "KUVERT_RELAY_DATA")]
        data: Option<PathBuf>,
        /// CSV with a phone number in the first column: a made-up list.
        #[arg(long, value_name = "FILE")]
        list: PathBuf,
    },
    /// Everything that is held about one account, and what is not.
    Subpoena {
        /// The relay's data directory [default: kuvert-relay in the user's data directory].
        #[arg(long, value_name = "DIR", env = "KUVERT_RELAY_DATA")]
        data: Option<PathBuf>,
        /// The account, 26 characters.
        #[arg(long, value_name = "ACCOUNT", required_unless_present = "phone", conflicts_with = "phone")]
        account: Option<AccountId>,
        /// Its phone number.
        #[arg(long, value_name = "E164")]
        phone: Option<String>,
    },
}

impl Share {
    /// The data directory, where one was named.
    pub fn data(&self) -> Option<&Path> {
        match self {
            Self::Parent { data } | Self::Match { data, .. } | Self::Subpoena { data, .. } => data.as_deref(),
        }
    }
}

/// `withdraw`
#[derive(clap::Args, Debug)]
pub struct Withdraw {
    /// The relay's data directory [default: kuvert-relay in the user's data directory].
    #[arg(long, value_name = "DIR", env = "KUVERT_RELAY_DATA")]
    pub data: Option<PathBuf>,
    /// Says that it is meant: numbers, profiles, address books, devices, consents and the ledger of exports are deleted.
    #[arg(long, required = true)]
    pub yes: bool,
}

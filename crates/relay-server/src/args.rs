//! The command line as given. What is not given comes from the environment, the configuration file, the defaults, in that
//! order: [`crate::source`].

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use kuvert_privacy::registry::documents;
use kuvert_types::AccountId;

/// The id of `--json`.
pub const JSON: &str = "json";

/// A Kuvert relay: keeps sealed envelopes until their recipients fetch them, 30 days at most.
#[derive(Parser, Debug)]
#[command(name = "kuvert-relay", version, propagate_version = true)]
pub struct Args {
    /// Writes JSON lines to stdout; diagnostics go to stderr.
    #[arg(long, global = true)]
    pub json: bool,

    /// Logs more; twice, still more. Never a name, address or key, and of a phone number at most how it ends.
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
    /// Backs a relay up into a new directory, also while it runs.
    Backup(Backup),
    /// Makes a data directory from a backup.
    Restore(Restore),
    /// Invitations, for a relay with registration = "invitation"; also while it runs.
    Invite {
        /// What about them.
        #[command(subcommand)]
        command: Invite,
    },
    /// Legal holds: what is kept of an account when it is deleted; also while the relay runs.
    Hold {
        /// What about them.
        #[command(subcommand)]
        command: Hold,
    },
    /// The configuration: prints a file with every key, explained; checks one.
    Config {
        /// What about it; without it the default file is printed.
        #[command(subcommand)]
        command: Option<Config>,
    },
    /// Makes the tables of a store on PostgreSQL, or brings them to this version.
    Migrate(Migrate),
    /// Relays that serve one store together.
    Cluster {
        /// What about them.
        #[command(subcommand)]
        command: Cluster,
    },
    /// Prints what is told about data, from the registry of all that a relay can store.
    Registry(Registry),
}

/// `cluster …`
#[derive(Subcommand)]
pub enum Cluster {
    /// Draws a key and prints it: put it into a file that only the relay reads, the same on all machines.
    Key,
    /// Lists the relays that serve a store, and how much of it each holds.
    List {
        /// The store: postgres://USER@HOST/DATABASE. The password is better kept in the file that PGPASSFILE names.
        #[arg(long, value_name = "URL", env = "KUVERT_RELAY_STORE", hide_env_values = true)]
        store: String,
    },
    /// Has a relay hand over all that it holds to the others, while it goes on serving; it may then be ended.
    Drain {
        /// The store: postgres://USER@HOST/DATABASE. The password is better kept in the file that PGPASSFILE names.
        #[arg(long, value_name = "URL", env = "KUVERT_RELAY_STORE", hide_env_values = true)]
        store: String,
        /// The relay's name.
        name: String,
        /// Has it hold its share again.
        #[arg(long)]
        undo: bool,
    },
    /// Adds an empty database on other servers as a group that slots can be moved to. Relays know it when they start next.
    AddGroup {
        /// The store's first group: postgres://USER@HOST/DATABASE. The password is better kept in the file that PGPASSFILE names.
        #[arg(long, value_name = "URL", env = "KUVERT_RELAY_STORE", hide_env_values = true)]
        store: String,
        /// The group's name: letters, digits, hyphens.
        name: String,
        /// The new group, as every relay is to reach it: without a password, which PGPASSFILE has on each of them.
        #[arg(long, value_name = "URL")]
        address: String,
    },
    /// Lists the groups of servers, how many slots each has, and whether one is away or a move has not ended.
    Groups {
        /// The store's first group: postgres://USER@HOST/DATABASE. The password is better kept in the file that PGPASSFILE names.
        #[arg(long, value_name = "URL", env = "KUVERT_RELAY_STORE", hide_env_values = true)]
        store: String,
    },
    /// Moves mail of slots to another group while relays serve. What is there already stays; run again it goes on where it ended.
    #[command(after_help = MOVE_EXIT_CODES)]
    MoveSlots {
        /// The store's first group: postgres://USER@HOST/DATABASE. The password is better kept in the file that PGPASSFILE names.
        #[arg(long, value_name = "URL", env = "KUVERT_RELAY_STORE", hide_env_values = true)]
        store: String,
        /// Which: the first and the last, of 0 to 4095.
        #[arg(long, value_name = "FIRST-LAST", value_parser = slots)]
        slots: Slots,
        /// The group's name; the first one's is `home`.
        #[arg(long, value_name = "GROUP")]
        to: String,
    },
}

/// How `move-slots` ends.
const MOVE_EXIT_CODES: &str = "\
Exit code 0: all of them are there. 1: it stopped, and every slot is in one group; run it again. 2: it was asked for what cannot be.";

/// From the first to the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slots {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// How many there are.
const SLOTS: u16 = 4096;

fn slots(text: &str) -> Result<Slots, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().ok().filter(|slot| *slot < SLOTS);
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(Slots { first, last }),
        _ => Err(format!("write the first and the last, such as 0-2047; the highest is {}", SLOTS - 1)),
    }
}

impl fmt::Debug for Cluster {
    // The address can hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cluster")
    }
}

/// `backup`
#[derive(clap::Args, Debug)]
pub struct Backup {
    /// The relay's data directory [default: kuvert-relay in the user's data directory].
    #[arg(long, value_name = "DIR", env = "KUVERT_RELAY_DATA")]
    pub data: Option<PathBuf>,
    /// The directory to make. It holds the relay's key, and mail in the sealed form that waits for its recipients.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// `restore`
#[derive(clap::Args, Debug)]
pub struct Restore {
    /// The backup.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// The data directory to make: new or empty [default: kuvert-relay in the user's data directory].
    #[arg(long, value_name = "DIR", env = "KUVERT_RELAY_DATA")]
    pub data: Option<PathBuf>,
}

/// `invite …`
#[derive(Subcommand, Debug)]
pub enum Invite {
    /// Makes an invitation and prints its code, this once.
    Create {
        /// Which relay's.
        #[command(flatten)]
        place: Place,
        /// How many accounts can be made with it.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        uses: u32,
        /// For how long.
        #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
    },
    /// Lists the invitations that are good, without their codes.
    List {
        /// Which relay's.
        #[command(flatten)]
        place: Place,
    },
    /// Takes an invitation back.
    Revoke {
        /// Which relay's.
        #[command(flatten)]
        place: Place,
        /// Its code, or its name in the list.
        #[arg(value_name = "CODE|NAME")]
        code: String,
    },
}

/// `hold …`
#[derive(Subcommand, Debug)]
pub enum Hold {
    /// Puts an account under a hold, or gives its hold another reason.
    Add {
        /// Which relay's.
        #[command(flatten)]
        place: Place,
        /// The account, 26 characters.
        account: AccountId,
        /// Why: a file number, an order.
        #[arg(long)]
        reason: String,
    },
    /// Lists the holds, and what is kept under them.
    List {
        /// Which relay's.
        #[command(flatten)]
        place: Place,
    },
    /// Ends a hold, and deletes what was kept under it.
    Release {
        /// Which relay's.
        #[command(flatten)]
        place: Place,
        /// The account, 26 characters.
        account: AccountId,
        /// Writes the report that was kept into this new directory first.
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
}

/// `config …`
#[derive(Subcommand, Debug)]
pub enum Config {
    /// Prints a configuration file with every key and its default, explained.
    Default,
    /// Says what is wrong with a configuration, the environment included; starts nothing.
    Check {
        /// The file.
        #[arg(long, value_name = "FILE", env = "KUVERT_RELAY_CONFIG")]
        config: Option<PathBuf>,
    },
}

/// `serve`. Every key of the configuration also has a variable KUVERT_RELAY_…: see the command `config`.
#[derive(clap::Args, Default)]
pub struct Serve {
    /// A configuration file; see the command `config`.
    #[arg(long, value_name = "FILE", env = "KUVERT_RELAY_CONFIG")]
    pub config: Option<PathBuf>,

    /// UDP address to listen on; port 0 picks a free one [default: 127.0.0.1:4433].
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,

    /// Host name or IP address that clients should use, where it is not the one listened on.
    #[arg(long, value_name = "NAME")]
    pub public_host: Option<String>,

    /// The directory that holds all that the relay keeps [default: kuvert-relay in the user's data directory].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Where accounts and mail are kept instead: postgres://USER@HOST/DATABASE. A password in it is seen by other users of this
    /// machine: use KUVERT_RELAY_STORE, or PGPASSFILE.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,

    /// Writes the relay's address to this file once it is ready.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Days that undelivered envelopes are kept, 1 to 30 [default: 30].
    #[arg(long, value_name = "DAYS")]
    pub retention: Option<u32>,

    /// Serves although the key is not the one that this directory was served with before: clients that know the relay by
    /// its old address are locked out until they have the new one.
    #[arg(long)]
    pub new_key: bool,

    /// The clock is right, however far it is from the time at which this relay was last used: for one start.
    #[arg(long)]
    pub trust_clock: bool,

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
    /// Which relay.
    #[command(flatten)]
    pub place: Place,
}

/// Where a relay keeps what a command is about.
#[derive(clap::Args, Clone, Default)]
pub struct Place {
    /// The relay's data directory [default: kuvert-relay in the user's data directory].
    #[arg(long, value_name = "DIR", env = "KUVERT_RELAY_DATA")]
    pub data: Option<PathBuf>,
    /// The relay's store, where it is not the directory: postgres://USER@HOST/DATABASE.
    #[arg(long, value_name = "URL", env = "KUVERT_RELAY_STORE", hide_env_values = true)]
    pub store: Option<String>,
}

impl fmt::Debug for Place {
    // The address can hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("data", &self.data).finish_non_exhaustive()
    }
}

/// `migrate`
#[derive(clap::Args)]
pub struct Migrate {
    /// The store: postgres://USER@HOST/DATABASE. The password is better kept in the file that PGPASSFILE names.
    #[arg(long, value_name = "URL", env = "KUVERT_RELAY_STORE", hide_env_values = true)]
    pub store: String,
    /// The store was restored from a backup, and no relay serves it yet: one-time prekeys go and cursors begin far beyond those
    /// that were given out since, so that nothing is handed out twice.
    #[arg(long)]
    pub restored: bool,
}

impl fmt::Debug for Migrate {
    // The address can hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migrate").field("restored", &self.restored).finish_non_exhaustive()
    }
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

/// A document of the registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Document {
    /// The record of processing activities, Art. 30 GDPR
    Record,
    /// The privacy notice for users
    Notice,
    /// Every field with its meaning: the legend of the lens
    Legend,
    /// What is deleted when, and by what
    Deletion,
    /// The schema of the report that an account can ask for
    Report,
    /// The catalogue M-01 … M-47, and where each item is shown
    Catalogue,
}

impl From<Document> for documents::Document {
    fn from(document: Document) -> Self {
        match document {
            Document::Record => Self::Record,
            Document::Notice => Self::Notice,
            Document::Legend => Self::Legend,
            Document::Deletion => Self::Deletion,
            Document::Report => Self::Report,
            Document::Catalogue => Self::Catalogue,
        }
    }
}

/// How a document is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// For people
    Markdown,
    /// For programs
    Json,
}

impl fmt::Debug for Serve {
    // The store's address can hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("config", &self.config).field("data", &self.data).finish_non_exhaustive()
    }
}

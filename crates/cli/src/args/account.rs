//! `kuvert account …`

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};

use super::Who;

/// `kuvert account …`
#[derive(Debug, Subcommand)]
pub enum Account {
    /// Have a code sent to your phone number (level L0)
    Phone {
        /// The number as E.164 writes it, +491701234567
        #[arg(value_name = "E164")]
        number: String,
    },
    /// Give the code that came: the relay then believes that the number is yours (level L0)
    Verify {
        /// Six digits
        #[arg(value_name = "CODE")]
        code: String,
    },
    /// Change what the relay shows of you (level L0); without options, show it
    Profile(Profile),
    /// Upload your address book, and hear who in it has an account (level L0)
    Upload(Upload),
    /// What a phone would allow: a simulated sheet, all denied; what is granted tells the relay an invented line (level L0)
    Permissions(Permissions),
    /// Show what a contact made public; the relay learns that you looked
    Show(Who),
    /// Correct the name or number that the relay was told at registration
    Correct(Correct),
    /// Delete the account at the relay, for good
    Delete(Delete),
    /// Get all that the relay holds about the account, as files to read and for programs
    Report(Report),
    /// The terms of a relay that runs the demonstration: see what was accepted, accept, object
    Consent(Consent),
}

/// `kuvert account profile`
#[derive(Debug, Args)]
pub struct Profile {
    /// The name to be shown
    #[arg(long, value_name = "TEXT")]
    pub display_name: Option<String>,
    /// The e-mail address; the relay knows it and shows it to no other user
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// A line about yourself
    #[arg(long, value_name = "TEXT")]
    pub about: Option<String>,
    /// A picture of at most 64 KiB
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
    /// Every user who looks your account up sees name, about text and picture
    #[arg(long, conflicts_with = "private")]
    pub public: bool,
    /// No other user does
    #[arg(long)]
    pub private: bool,
    /// Delete a part; may be given several times
    #[arg(long, value_name = "PART")]
    pub clear: Vec<Part>,
}

/// A part of a profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Part {
    /// The name to be shown
    DisplayName,
    /// The e-mail address
    Email,
    /// The about text
    About,
    /// The picture
    Picture,
}

/// `kuvert account upload`
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Upload {
    /// A CSV file with the columns phone, name, email, birthday, address; only phone is needed
    #[arg(long, value_name = "FILE")]
    pub address_book: Option<PathBuf>,
    /// Delete the address book that was uploaded before
    #[arg(long)]
    pub withdraw: bool,
}

/// `kuvert account permissions`
#[derive(Debug, Args)]
pub struct Permissions {
    /// Let the relay be told the invented line of this permission; may be given several times
    #[arg(long, value_name = "NAME", value_parser = names())]
    pub grant: Vec<String>,
    /// Take it back
    #[arg(long, value_name = "NAME", value_parser = names())]
    pub deny: Vec<String>,
}

fn names() -> PossibleValuesParser {
    kuvert_client::PERMISSIONS.map(|permission| permission.name).into()
}

/// `kuvert account report`
#[derive(Debug, Args)]
pub struct Report {
    /// A directory to make for its files
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Wait until it is ready, where the relay takes its time
    #[arg(long)]
    pub wait: bool,
}

/// `kuvert account consent`
#[derive(Debug, Args)]
pub struct Consent {
    /// Accept a version of the terms
    #[arg(long, value_name = "VERSION")]
    pub accept: Option<String>,
    /// Accept without use for advertising
    #[arg(long, requires = "accept")]
    pub no_advertising: bool,
    /// Refuse use for advertising under the version that was accepted last
    #[arg(long, conflicts_with = "accept")]
    pub object: bool,
}

/// `kuvert account correct`
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Correct {
    /// The name by which others find you from now on
    #[arg(long)]
    pub name: Option<String>,
    /// Give up the name: others need your invite link
    #[arg(long, conflicts_with = "name")]
    pub no_name: bool,
    /// The phone number as E.164 writes it
    #[arg(long, value_name = "E164")]
    pub phone: Option<String>,
    /// Take the phone number away
    #[arg(long, conflicts_with = "phone")]
    pub no_phone: bool,
}

/// `kuvert account delete`
#[derive(Debug, Args)]
pub struct Delete {
    /// Really do it; without this, say what would go and what would stay
    #[arg(long)]
    pub yes: bool,
}

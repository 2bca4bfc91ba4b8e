//! `kuvert backup` and `kuvert restore`

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// `kuvert backup`
#[derive(Debug, Args)]
pub struct Backup {
    /// A file that is not there yet
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    #[command(flatten)]
    pub secret: Secret,
    /// Draw a key, write it into a new file and encrypt with it: keep that file in another place than the backup
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["passphrase_file", "key_file"])]
    pub new_key_file: Option<PathBuf>,
}

/// `kuvert restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    #[command(flatten)]
    pub secret: Secret,
}

/// What a backup is encrypted with.
#[derive(Debug, Args)]
pub struct Secret {
    /// The first line of this file is the passphrase [default: asked for on the terminal]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "key_file")]
    pub passphrase_file: Option<PathBuf>,
    /// A key in place of a passphrase, as `age-keygen` writes it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,
}

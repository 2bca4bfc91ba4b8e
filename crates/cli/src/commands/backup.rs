//! `kuvert backup` and `kuvert restore`

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use kuvert_client::{BackupSecret, MAX_PASSPHRASE_BYTES, make_backup_key, restore};

use crate::args::{Backup, Restore, Secret};
use crate::commands::{client_options, open};
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;
use crate::passphrase::{self, Text};

/// What is read of a passphrase's file: a line, and no more than can be one.
const MAX_READ: u64 = MAX_PASSPHRASE_BYTES as u64 + 2;

/// Writes the home into one encrypted file.
pub async fn make(args: Backup, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let file = args.file.display().to_string();
    if args.file.symlink_metadata().is_ok() {
        // Before a passphrase is asked for, or a key is made that nothing is encrypted with.
        return Err(kuvert_client::Error::FileExists { path: args.file }.into());
    }
    let secret = match args.new_key_file {
        Some(key) => {
            make_backup_key(&key).await?;
            BackupSecret::KeyFile(key)
        }
        None => secret(args.secret, true, options).await?,
    };
    let made = client.back_up(&args.file, secret).await?;
    options.output.print(&Record::Backup { file: &file, bytes: made.bytes })
}

/// Makes a home of such a file.
pub async fn read(args: Restore, options: &Options) -> Result<(), Failure> {
    let home = options.home()?;
    if home.symlink_metadata().is_ok() {
        // Before a passphrase is asked for.
        return Err(kuvert_client::Error::HomeExists { home }.into());
    }
    let secret = secret(args.secret, false, options).await?;
    let restored = restore(&args.file, &home, client_options(options, None), secret).await?;
    options.output.print(&Record::Restored {
        home: &restored.home.display().to_string(),
        account: &restored.address.account.to_string(),
        device: restored.address.device.get(),
    })
}

async fn secret(args: Secret, new: bool, options: &Options) -> Result<BackupSecret, Failure> {
    if let Some(file) = args.key_file {
        return Ok(BackupSecret::KeyFile(file));
    }
    let passphrase = match args.passphrase_file {
        Some(file) => first_line(&file).map_err(|error| Failure::io(&format!("read {}", file.display()), &error))?,
        None if new => ask_twice(options).await?,
        None => passphrase::ask("Passphrase of the backup", options.output).await?,
    };
    Ok(BackupSecret::Passphrase(passphrase))
}

async fn ask_twice(options: &Options) -> Result<Text, Failure> {
    let first = passphrase::ask("Passphrase for the backup", options.output).await?;
    let again = passphrase::ask("The same once more", options.output).await?;
    if *first == *again {
        return Ok(first);
    }
    Err(Failure::new("passphrases-differ", "the two passphrases differ: type it anew; nothing was made"))
}

/// A passphrase's file has it as its first line: what follows is not read. One that is too long is told of like any other.
fn first_line(path: &Path) -> io::Result<Text> {
    let mut bytes = Text::new(String::new());
    let read = File::open(path)?.take(MAX_READ).read_to_string(&mut bytes);
    read.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => io::Error::new(error.kind(), "its first line is no text, or too long"),
        _ => error,
    })?;
    let line = bytes.split('\n').next().unwrap_or_default();
    Ok(Text::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

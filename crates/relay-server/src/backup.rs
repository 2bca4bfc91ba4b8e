//! `backup` and `restore`.

use std::io::{self, Write};

use kuvert_privacy::time::utc;
use kuvert_relay::admin::Admin as _;
use kuvert_relay::clock::{Clock, SystemClock};
use kuvert_relay_sqlite::SqliteAdmin;
use kuvert_relay_sqlite::backup::{self, BackupError};
use serde_json::json;

use crate::args::{Backup, Restore};
use crate::failure::Failure;
use crate::say;
use crate::serve::default_data;

/// An older backup than this may hand out signed prekeys whose secrets a device that is away for long deletes before it
/// sees their first message: secrets are kept for 37 days, mail for 30.
const FRESH_MS: u64 = 7 * 86_400_000;

/// Runs `backup`.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: Backup, json: bool) -> Result<(), Failure> {
    let data = args.data.map_or_else(default_data, Ok)?;
    let made = SqliteAdmin::at(&data).back_up(&args.to, SystemClock::new().now_ms())?;
    if let Err(error) = backup::note(&data, made.made_at) {
        say(&format!(
            "note: the relay's metrics will not tell of this backup: {} cannot be written: {error}",
            data.display()
        ));
    }
    if json {
        print(
            &json!({"type": "backup", "to": args.to, "accounts": made.accounts, "waiting": made.waiting,
            "key": made.has_key})
            .to_string(),
        )?;
    } else {
        print(&format!(
            "{} holds {} accounts and {} waiting envelopes, checked",
            args.to.display(),
            made.accounts,
            made.waiting
        ))?;
    }
    if !made.has_key {
        say("note: the relay's key is in files of your own and not in the backup: keep a copy of it yourself");
    }
    Ok(())
}

/// Runs `restore`.
///
/// # Errors
/// See [`Failure`].
pub fn run_restore(args: Restore, json: bool) -> Result<(), Failure> {
    let data = args.data.map_or_else(default_data, Ok)?;
    let (made, dropped) = backup::restore(&args.from, &data)?;
    let age = SystemClock::new().now_ms().saturating_sub(made.made_at);
    if age > FRESH_MS {
        say(&format!(
            "note: the backup is {} days old. Until a device has connected again, first messages to it may use keys \
             that it has deleted.",
            age / 86_400_000
        ));
    }
    if json {
        return print(
            &json!({"type": "restored", "data": data, "made_at": made.made_at, "accounts": made.accounts,
            "waiting": made.waiting, "dropped_one_time_prekeys": dropped.one_time_prekeys,
            "dropped_invitations": dropped.invitations})
            .to_string(),
        );
    }
    print(&format!(
        "{} is as of {}: {} accounts, {} waiting envelopes",
        data.display(),
        utc(made.made_at),
        made.accounts,
        made.waiting
    ))?;
    print(&format!(
        "left out, since they may have been used since: {} one-time prekeys, which devices fill up when they connect, and {} \
         invitations",
        dropped.one_time_prekeys, dropped.invitations
    ))
}

fn print(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(|error| Failure::output(&error))
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let code = match error {
            BackupError::Open(error) => return error.into(),
            BackupError::Blobs(error) => return error.into(),
            BackupError::People(error) => return error.into(),
            BackupError::Exists(_) | BackupError::NotEmpty(_) => "backup-exists",
            BackupError::NoBackup(_) => "backup-missing",
            BackupError::Newer { .. } => "backup-newer",
            BackupError::Damaged(_) => "backup-damaged",
            BackupError::Io { .. } => "io",
        };
        Self::new(code, error.to_string())
    }
}

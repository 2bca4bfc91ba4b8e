//! `hold`: legal holds, also while the relay runs. An account under one is deleted for all others as any other; what its
//! report would have held stays here until the hold is released.

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use kuvert_privacy::time::utc;
use kuvert_relay::admin::{self, Admin as _};
use kuvert_relay::clock::{Clock, SystemClock};
use kuvert_relay::whole_file;
use kuvert_types::AccountId;
use kuvert_wire::v1;
use prost::Message as _;
use serde_json::json;

use crate::args::Hold;
use crate::failure::Failure;
use crate::store::{self, AnyAdmin};

/// Runs `hold`.
///
/// # Errors
/// See [`Failure`].
pub fn run(command: Hold, json: bool) -> Result<(), Failure> {
    match command {
        Hold::Add { place, account, reason } => add(store::open(&place)?, &account, &reason, json),
        Hold::List { place } => list(&store::open(&place)?, json),
        Hold::Release { place, account, to } => release(store::open(&place)?, &account, to.as_deref(), json),
    }
}

fn add(mut relay: AnyAdmin, account: &AccountId, reason: &str, json: bool) -> Result<(), Failure> {
    let now = SystemClock::new().now_ms();
    if !relay.hold(account, reason, now)? {
        return Err(Failure::new(
            "account-unknown",
            "there is no such account here: `kuvert-relay inspect` lists those that there are",
        ));
    }
    tell(json, &json!({"type": "hold", "account": account.to_string(), "reason": reason, "since": now}), || {
        format!("{account} is under a hold. When it is deleted, its report is kept until `hold release`.")
    })
}

fn list(relay: &AnyAdmin, json: bool) -> Result<(), Failure> {
    for hold in relay.rights()?.holds {
        let admin::Hold { account, reason, at, held } = hold;
        let object = json!({
            "type": "hold", "account": account.to_string(), "reason": reason, "at": at, "deleted": held.is_some(),
            "report_bytes": held,
        });
        tell(json, &object, || match held {
            Some(bytes) => format!("{account}  deleted {}, {bytes} bytes kept  {reason}", utc(at)),
            None => format!("{account}  since {}  {reason}", utc(at)),
        })?;
    }
    Ok(())
}

fn release(mut relay: AnyAdmin, account: &AccountId, to: Option<&Path>, json: bool) -> Result<(), Failure> {
    if let Some(to) = to {
        let report = relay.held_report(account)?.ok_or_else(unknown)?;
        let report = v1::Report::decode(&report[..])
            .map_err(|_| Failure::new("data-corrupt", "the report that was kept cannot be read: restore a backup"))?;
        write(&report, to)?;
    }
    if !relay.release(account)? {
        return Err(unknown());
    }
    tell(json, &json!({"type": "released", "account": account.to_string()}), || {
        format!("{account} is under no hold any more, and nothing is kept of it if it was deleted")
    })
}

fn unknown() -> Failure {
    Failure::new(
        "hold-unknown",
        "there is no such hold: `hold list` prints them; a report is kept of deleted accounts only",
    )
}

/// Writes the files of a report into a new directory that only its owner can read.
fn write(report: &v1::Report, to: &Path) -> Result<(), Failure> {
    DirBuilder::new().mode(0o700).create(to).map_err(|error| Failure::write(to, &error))?;
    for file in &report.files {
        // We made the names; a database that was changed by hand may hold others.
        let name = Path::new(&file.name).file_name().unwrap_or_default();
        let path = to.join(name);
        let written = whole_file::create_new(&path, whole_file::PRIVATE)
            .and_then(|mut out| out.write_all(&file.content).and_then(|()| out.sync_all()));
        written.map_err(|error| Failure::write(&path, &error))?;
    }
    Ok(())
}

fn tell(json: bool, object: &serde_json::Value, words: impl FnOnce() -> String) -> Result<(), Failure> {
    let line = if json { object.to_string() } else { words() };
    writeln!(io::stdout(), "{line}").map_err(|error| Failure::output(&error))
}

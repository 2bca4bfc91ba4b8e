//! `invite`: makes, lists and takes back invitations, also while the relay runs.

use std::io::{self, BufWriter, Write};

use kuvert_privacy::time::utc;
use kuvert_relay::admin::Admin as _;
use kuvert_relay::clock::{Clock, SystemClock};
use kuvert_relay::invitation;
use kuvert_relay::store::{InvitationHash, NewInvitation};
use serde_json::json;

use crate::args::Invite;
use crate::failure::Failure;
use crate::store::{self, AnyAdmin};

/// Bytes of an invitation's hash that name it in lists.
const NAME_BYTES: usize = 4;

/// Runs `invite`.
///
/// # Errors
/// See [`Failure`].
pub fn run(command: Invite, json: bool) -> Result<(), Failure> {
    match command {
        Invite::Create { place, uses, days } => create(store::open(&place)?, uses, days, json),
        Invite::List { place } => list(&store::open(&place)?, json),
        Invite::Revoke { place, code } => revoke(store::open(&place)?, &code, json),
    }
}

fn create(mut relay: AnyAdmin, uses: u32, days: u32, json: bool) -> Result<(), Failure> {
    let now = SystemClock::new().now_ms();
    let expires_at = now + u64::from(days) * 86_400_000;
    let (code, hash) =
        invitation::draw().map_err(|error| Failure::new("random", format!("the system has no randomness: {error}")))?;
    relay.invite(&NewInvitation { hash, uses, created_at: now, expires_at })?;
    // Shown once: only its hash is kept.
    print(&[if json {
        json!({"type": "invitation", "code": code, "name": name(&hash), "uses": uses, "expires_at": expires_at})
            .to_string()
    } else {
        code
    }])
}

fn list(relay: &AnyAdmin, json: bool) -> Result<(), Failure> {
    let now = SystemClock::new().now_ms();
    let found = relay.invitations()?.into_iter().filter(|invitation| invitation.expires_at > now);
    let lines: Vec<String> = found
        .map(|each| {
            let (name, uses, expires_at) = (name(&each.hash), each.uses_left, each.expires_at);
            if json {
                json!({"type": "invitation", "name": name, "uses": uses, "expires_at": expires_at}).to_string()
            } else {
                format!("{name}  {uses} left  until {}", utc(expires_at))
            }
        })
        .collect();
    print(&lines)
}

/// By its code, or by its name in the list.
fn revoke(mut relay: AnyAdmin, code: &str, json: bool) -> Result<(), Failure> {
    let unknown = || {
        Failure::new(
            "invitation-unknown",
            "there is no such invitation: give its code, or its name as `invite list` prints it",
        )
    };
    let hash = match invitation::hash(code) {
        Some(hash) => hash,
        None => {
            let mut named = relay.invitations()?.into_iter().filter(|each| name(&each.hash) == code);
            named.next().ok_or_else(unknown)?.hash
        }
    };
    if !relay.revoke(&hash)? {
        return Err(unknown());
    }
    if json { print(&[json!({"type": "revoked", "name": name(&hash)}).to_string()]) } else { Ok(()) }
}

/// What stands for an invitation in lists: one cannot register with it.
fn name(hash: &InvitationHash) -> String {
    hash.iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

fn print(lines: &[String]) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = lines.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    written.map_err(|error| Failure::output(&error))
}

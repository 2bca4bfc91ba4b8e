//! Exactly what an operator could hand over to an authority that may ask for it, at a level.

use kuvert_privacy::registry::{Level, Place, not_held};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Names, sight, stores, waiting};
use crate::files::Snapshot;
use crate::told;

/// The document. It names accounts by their identifiers.
#[derive(Debug, Serialize)]
pub struct HandOver {
    level: Level,
    /// Unix milliseconds.
    made_at: u64,
    accounts: Vec<Value>,
    /// What accounts told about themselves and others.
    told: Vec<Value>,
    waiting: Vec<Value>,
    /// Files on their way: the oldest of them, as with envelopes.
    files: Vec<Value>,
    /// Empty unless the relay ran with `--observe`: normal service writes none of it down.
    observations: Vec<Value>,
    not_held: Vec<Value>,
}

impl HandOver {
    /// What could be handed over. `now` in Unix milliseconds.
    pub fn of(snapshot: &Snapshot, level: Level, now: u64) -> Self {
        let phone = stores(Place::Database, "account", "phone", level);
        let blocks = stores(Place::Database, "blocked", "blocked", level);
        let accounts = snapshot.accounts.iter().map(|account| {
            let blocked = account.blocked.iter().filter(|_| blocks);
            json!({
                "account": account.account.to_string(), "name": account.name,
                "phone": account.phone.as_ref().filter(|_| phone),
                "registered_at": account.registered_at, "devices": account.devices.len(),
                "blocked": blocked.map(ToString::to_string).collect::<Vec<_>>(),
            })
        });
        let tells = stores(Place::People, "profile", "display_name", level);
        let told = snapshot.told.iter().filter(|_| tells).map(|holder| {
            json!({
                "account": holder.account.to_string(), "phone": holder.told.phone.as_ref().map(|(number, _)| number),
                "profile": holder.profile_words(), "devices": holder.device_words().collect::<Vec<_>>(),
                "simulated": holder.simulated().map(|(what, value)| format!("{what}: {value}")).collect::<Vec<_>>(),
                "address_book": holder.address_book.iter().map(told::person_words).collect::<Vec<_>>(),
            })
        });
        let anonymous = Names(Default::default());
        let envelopes =
            waiting(snapshot, &anonymous, level).into_iter().zip(&snapshot.waiting).map(|(shown, stored)| {
                json!({
                    "id": shown.id, "recipient": stored.recipient, "sender": shown.from.and(stored.sender.as_ref()),
                    "size": shown.size, "accepted_at": shown.accepted_at, "expires_at": shown.expires_at,
                })
            });
        let observations = sight::at_level(&snapshot.events, level).into_iter().map(|sight| {
            json!({
                "at": sight.at, "kind": sight.kind, "connection": sight.connection, "ip": sight.ip,
                "device": sight.device, "other": sight.other, "size": sight.size, "file": sight.file,
                "readers": sight.readers,
            })
        });
        let counted = stores(Place::Observations, "event", "source", level);
        let files = snapshot.files.iter().map(|file| {
            json!({
                "id": file.id.to_string(), "account": file.account.to_string(), "size": file.size,
                "created_at": file.created_at, "committed_at": file.committed_at,
                "readers": Some(file.readers).filter(|_| counted && !file.shared),
            })
        });
        let not_held = not_held::ALL.iter().map(|never| json!({"what": never.what, "why": never.why}));
        Self {
            level,
            made_at: now,
            accounts: accounts.collect(),
            told: told.collect(),
            waiting: envelopes.collect(),
            files: files.collect(),
            observations: observations.collect(),
            not_held: not_held.collect(),
        }
    }
}

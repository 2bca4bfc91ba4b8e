//! `consents.json`: what an account accepted, and what it means.

use serde_json::{Value, json};

use super::policy::{self, Consent};

/// The file, for an account with this ledger.
pub fn consents(ledger: &[Consent], demonstration: bool) -> Value {
    let policies: Vec<Value> = policy::ALL
        .iter()
        .filter(|_| demonstration)
        .map(|policy| {
            json!({ "version": policy.version, "objection_days": policy.objection_days, "says": policy.paragraphs })
        })
        .collect();
    let ledger_rows: Vec<Value> = ledger
        .iter()
        .map(|consent| {
            json!({
                "version": consent.version, "accepted_at": consent.accepted_at, "advertising": consent.advertising,
                "objected_at": consent.objected_at, "objection_until": policy::objection_until(consent),
            })
        })
        .collect();
    json!({
        "demonstration": demonstration, "policies": policies, "ledger": ledger_rows,
        "advertising": policy::advertising(ledger).words(),
    })
}

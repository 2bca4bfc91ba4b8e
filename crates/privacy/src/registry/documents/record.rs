//! The record of processing activities, Art. 30(1) GDPR: one activity for each purpose.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{GENERATED, distinct, list, parts};
use crate::demonstration::{PURPOSES, SHARED_REGARDLESS};
use crate::registry::Scope;
use crate::registry::field::{Category, Field, Purpose};

/// What only the operator can say.
const TO_FILL_IN: [(&str, &str); 3] = [
    ("controller", "the operator: name and contact details"),
    ("data_protection_officer", "the operator: name and contact details, where there is one"),
    (
        "third_countries",
        "the operator: where the machine stands (configuration key `region`), and under which safeguards",
    ),
];

/// Art. 32(1), in a general way.
const SECURITY: [&str; 6] = [
    "content is sealed end to end; the relay has no key and no code to open it",
    "transport by QUIC with TLS 1.3 and a hybrid post-quantum key exchange; clients pin the relay's key",
    "devices prove themselves with a signature over the relay's challenge and the connection",
    "files are open to the relay's user only; others are refused at start",
    "deleted rows are overwritten, the log is truncated, and left-over copies within pages are wiped",
    "logs hold no name, number, address or key",
];

struct Activity {
    purpose: Purpose,
    fields: Vec<&'static Field>,
}

impl Activity {
    fn all(scope: Scope) -> Vec<Self> {
        let personal = move || scope.fields().filter(|field| field.is_personal());
        let of = |purpose| Self { purpose, fields: personal().filter(|field| field.purpose == purpose).collect() };
        Purpose::ALL.iter().copied().map(of).filter(|activity| !activity.fields.is_empty()).collect()
    }

    fn subjects(&self) -> String {
        list(distinct(self.fields.iter().map(|field| field.subject)))
    }

    fn bases(&self) -> String {
        list(distinct(self.fields.iter().map(|field| field.basis)))
    }

    fn recipients(&self) -> String {
        let recipients = distinct(self.fields.iter().flat_map(|field| field.recipients.iter().copied()));
        if recipients.is_empty() { "nobody beside the operator".to_owned() } else { list(recipients) }
    }

    /// The categories of data, each with its fields and time limits.
    fn categories(&self) -> Vec<(Category, Vec<&'static Field>)> {
        let categories = distinct(self.fields.iter().map(|field| field.category));
        let of = |category| self.fields.iter().copied().filter(|field| field.category == category).collect();
        categories.into_iter().map(|category| (category, of(category))).collect()
    }
}

pub fn json(scope: Scope) -> Value {
    let activities: Vec<Value> = Activity::all(scope)
        .iter()
        .map(|activity| {
            let categories: Vec<Value> = activity
                .categories()
                .into_iter()
                .map(|(category, fields)| {
                    let fields: Vec<Value> = fields
                        .into_iter()
                        .map(|field| {
                            json!({
                                "place": field.place, "field": field.name(), "meaning": field.meaning,
                                "subject": field.subject, "basis": field.basis, "time_limit": field.retention,
                                "recipients": field.recipients,
                            })
                        })
                        .collect();
                    json!({ "category": category, "fields": fields })
                })
                .collect();
            json!({ "purpose": activity.purpose, "categories": categories })
        })
        .collect();
    let to_fill_in: serde_json::Map<String, Value> =
        TO_FILL_IN.iter().map(|(key, what)| ((*key).to_owned(), json!(what))).collect();
    let mut record = json!({ "to_fill_in": to_fill_in, "activities": activities, "security": SECURITY });
    if scope == Scope::All {
        record["demonstration"] = json!({ "purposes": PURPOSES, "shared_regardless": SHARED_REGARDLESS });
    }
    record
}

pub fn markdown(scope: Scope) -> String {
    let mut out = format!(
        "{GENERATED}\n# Record of processing activities\n\nArt. 30(1) GDPR, for a Kuvert relay as this version runs it. A \
         template: the legal bases are a proposal,\nand what only the operator knows is marked.\n{}\n",
        parts(scope)
    );
    for (key, what) in TO_FILL_IN {
        let _ = writeln!(out, "- **{}**: _{what}_", key.replace('_', " "));
    }
    for activity in Activity::all(scope) {
        let _ = writeln!(out, "\n## To {}\n", activity.purpose);
        let _ = writeln!(out, "- Persons: {}", activity.subjects());
        let _ = writeln!(out, "- Legal basis: {}", activity.bases());
        let _ = writeln!(out, "- Recipients: {}", activity.recipients());
        for (category, fields) in activity.categories() {
            let _ = writeln!(out, "\n| Data: {category} | Stored in | Time limit |\n|---|---|---|");
            for field in fields {
                let _ =
                    writeln!(out, "| {} | {} `{}` | {} |", field.meaning, field.place, field.name(), field.retention);
            }
        }
    }
    if scope == Scope::All {
        let _ = writeln!(
            out,
            "\n## In the demonstration\n\nOnly where the operator runs it, with synthetic terms; nothing is sent anywhere. `kuvert-relay-lens \
             share parent` writes what a parent\ncompany would get.\n\n- Purposes: {}\n- Shared whatever anybody refuses: {}",
            PURPOSES.join(", "),
            SHARED_REGARDLESS.join(", ")
        );
    }
    out.push_str("\n## Security, Art. 32(1)\n\n");
    for measure in SECURITY {
        let _ = writeln!(out, "- {measure}");
    }
    out
}

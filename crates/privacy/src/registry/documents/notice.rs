//! The privacy notice: for users, in few words.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{GENERATED, list, parts};
use crate::registry::Scope;
use crate::registry::field::{Field, Place};
use crate::registry::not_held;

/// What is kept, by where.
const PARTS: [(Place, &str); 8] = [
    (Place::Database, "What the relay keeps"),
    (Place::People, "What it keeps of those who tell more than it needs (level L0)"),
    (Place::Blobs, "What it keeps of files on their way"),
    (Place::Group, "What it keeps in addition where its data are in PostgreSQL"),
    (Place::Limits, "What it remembers for a day so that nobody takes too much"),
    (Place::Memory, "What it knows while it runs, and does not keep"),
    (Place::Log, "What stands in its log"),
    (Place::Observations, "What it records only where the operator says so (`--observe`)"),
];

/// The title of `people.db` where no account tells more.
const RIGHTS_ALONE: &str = "What it keeps of reports, limits that were run into, and legal holds";

/// What can be asked of the operator, and how far the program helps.
const RIGHTS: &str = "You can ask the operator for access to your data, their correction and their deletion, object to \
                      processing, and complain to a supervisory authority (Art. 15 to 21 and 77 GDPR). The program does three of these \
                      by itself: `kuvert account report`, `kuvert account correct` and `kuvert account delete`.";

fn personal(scope: Scope, place: Place) -> impl Iterator<Item = &'static Field> {
    scope.of(place).filter(|field| field.is_personal())
}

/// The parts that hold something.
fn shown(scope: Scope) -> impl Iterator<Item = (Place, &'static str)> {
    let titled = PARTS.into_iter().filter(move |(place, _)| personal(scope, *place).next().is_some());
    titled.map(move |(place, title)| match (scope, place) {
        (Scope::Mail, Place::People) => (place, RIGHTS_ALONE),
        _ => (place, title),
    })
}

pub fn json(scope: Scope) -> Value {
    let parts: Vec<Value> = shown(scope)
        .map(|(place, title)| {
            let fields: Vec<Value> = personal(scope, place)
                .map(|field| json!({ "what": field.meaning, "kept": field.retention, "seen_by": field.recipients }))
                .collect();
            json!({ "title": title, "place": place, "fields": fields })
        })
        .collect();
    json!({ "parts": parts, "not_held": not_held::ALL, "rights": RIGHTS })
}

pub fn markdown(scope: Scope) -> String {
    let mut out = format!(
        "{GENERATED}\n# Privacy notice\n\nWhat a Kuvert relay knows about those who use it, as this version runs it. The \
         operator adds name and contact.\nThe operator can see all of it, and can be made to hand it over.\n{}",
        parts(scope)
    );
    for (place, title) in shown(scope) {
        let _ = writeln!(out, "\n## {title}\n\n| What | How long | Who sees it, beside the operator |\n|---|---|---|");
        for field in personal(scope, place) {
            let seen =
                if field.recipients.is_empty() { "nobody".to_owned() } else { list(field.recipients.iter().copied()) };
            let _ = writeln!(out, "| {} | {} | {seen} |", field.meaning, field.retention);
        }
    }
    out.push_str("\n## What it does not have\n\n| What | Why | Shown by |\n|---|---|---|\n");
    for entry in not_held::ALL {
        let _ = writeln!(out, "| {} | {} | `{}` `{}` |", entry.what, entry.why, entry.file, entry.test);
    }
    let _ = writeln!(out, "\n## Your rights\n\n{RIGHTS}");
    out
}

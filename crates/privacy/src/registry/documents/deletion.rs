//! The deletion plan: what goes when, and by what.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{GENERATED, distinct, parts};
use crate::registry::Scope;
use crate::registry::field::{Deletion, Field, Place, Retention};

/// Fields that go at the same time and by the same hand.
struct Step {
    place: Place,
    retention: Retention,
    deletion: Deletion,
    fields: Vec<&'static Field>,
}

fn steps(scope: Scope) -> Vec<Step> {
    let personal = move || scope.fields().filter(|field| field.is_personal());
    distinct(personal().map(|field| (field.place, field.retention, field.deletion)))
        .into_iter()
        .map(|(place, retention, deletion)| {
            let same = |field: &&Field| (field.place, field.retention, field.deletion) == (place, retention, deletion);
            Step { place, retention, deletion, fields: personal().filter(same).collect() }
        })
        .collect()
}

pub fn json(scope: Scope) -> Value {
    let steps: Vec<Value> = steps(scope)
        .iter()
        .map(|step| {
            let fields: Vec<String> = step.fields.iter().map(|field| field.name()).collect();
            json!({ "place": step.place, "kept": step.retention, "deleted_by": step.deletion, "fields": fields })
        })
        .collect();
    json!({ "steps": steps })
}

pub fn markdown(scope: Scope) -> String {
    let mut out = format!(
        "{GENERATED}\n# Deletion plan\n\nWhat is about a person, how long it is kept, and what deletes it. The purge runs every \
         minute with these limits;\nan operator can shorten the days of the queue (`retention_days`), nobody can lengthen \
         them.\n{}\n| Stored in | Fields | Kept | Deleted by |\n|---|---|---|---|\n",
        parts(scope)
    );
    for step in steps(scope) {
        let fields: Vec<String> = step.fields.iter().map(|field| format!("`{}`", field.name())).collect();
        let _ = writeln!(out, "| {} | {} | {} | {} |", step.place, fields.join(", "), step.retention, step.deletion);
    }
    out
}

//! The JSON schema of the report that an account can ask for: one object for each of its files.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{GENERATED, parts};
use crate::registry::Scope;
use crate::registry::field::{Field, Form, Place, Section};
use crate::report::{EXPIRES_AT, READERS_LEFT, SCHEMA_VERSION, SECTIONS};

fn fields(scope: Scope, section: Section) -> impl Iterator<Item = &'static Field> {
    scope.fields().filter(move |field| field.report == section)
}

fn tables(scope: Scope, section: Section) -> Vec<(Place, &'static str)> {
    let mut tables: Vec<(Place, &'static str)> = Vec::new();
    for field in fields(scope, section) {
        if !tables.contains(&(field.place, field.table)) {
            tables.push((field.place, field.table));
        }
    }
    tables
}

/// How a value is written: bytes in base64, ciphertext as its size.
fn value(field: &Field) -> Value {
    let (kind, format) = match field.form {
        Form::Number => ("integer", "number"),
        Form::Time => ("integer", "unix-milliseconds"),
        Form::Flag => ("boolean", "flag"),
        Form::Ciphertext => ("integer", "bytes"),
        Form::Identifier => ("string", "identifier"),
        Form::PublicKey => ("string", "base64"),
        Form::Text => ("string", "text"),
    };
    json!({ "type": [kind, "null"], "format": format, "description": field.meaning, "kept": field.retention })
}

pub fn json(scope: Scope) -> Value {
    let mut files = Map::new();
    for section in SECTIONS {
        let mut properties = Map::new();
        for (place, table) in tables(scope, section) {
            let mut columns: Map<String, Value> = fields(scope, section)
                .filter(|field| (field.place, field.table) == (place, table))
                .map(|field| (field.column.to_owned(), value(field)))
                .collect();
            if table == "envelope" {
                let what = "until when it waits";
                columns.insert(
                    EXPIRES_AT.to_owned(),
                    json!({ "type": "integer", "format": "unix-milliseconds", "description": what }),
                );
            }
            if table == "blob" {
                columns.extend(of_file());
            }
            let row = closed(columns);
            properties.insert(table.to_owned(), json!({ "type": "array", "items": row, "description": place }));
        }
        if section == Section::Recipients {
            let field = object(&[("field", "string"), ("stored_in", "string"), ("recipients", "array")]);
            properties
                .insert("fields".to_owned(), list(&field, "who may see which personal field, beside the operator"));
        }
        files.insert(format!("{section}.json"), closed(properties));
    }
    files.extend(others());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The files of a Kuvert account report",
        "schema_version": SCHEMA_VERSION,
        "type": "object",
        "properties": files,
    })
}

/// What stands beside the columns of a file on its way.
fn of_file() -> [(String, Value); 2] {
    let part = |name: &str, format: &str, what: &str| {
        (name.to_owned(), json!({ "type": ["integer", "null"], "format": format, "description": what }))
    };
    [
        part(EXPIRES_AT, "unix-milliseconds", "until when it waits; null while it is not complete"),
        part(READERS_LEFT, "number", "readers that have not got it yet; null where the relay cannot tell them apart"),
    ]
}

/// The files that are not a section of the registry.
fn others() -> Vec<(String, Value)> {
    let consent = object(&[
        ("version", "string"),
        ("accepted_at", "integer"),
        ("advertising", "boolean"),
        ("objected_at", "integer?"),
        ("objection_until", "integer?"),
    ]);
    let policy = object(&[("version", "string"), ("objection_days", "integer?"), ("says", "array")]);
    let consents = properties([
        ("demonstration", json!({ "type": "boolean", "description": "whether this relay runs the demonstration" })),
        ("policies", list(&policy, "the versions of the demonstration's terms")),
        ("ledger", list(&consent, "what was accepted, and until when it can be taken back")),
        ("advertising", json!({ "type": "string", "description": "what that means" })),
    ]);
    let not_held = object(&[("what", "string"), ("why", "string"), ("file", "string"), ("test", "string")]);
    let file = object(&[("name", "string"), ("sha256", "string"), ("bytes", "integer")]);
    let manifest = properties([
        ("schema_version", json!({ "type": "integer" })),
        ("account", json!({ "type": "string" })),
        ("made_at", json!({ "type": "integer", "format": "unix-milliseconds" })),
        ("files", list(&file, "every other file of the report")),
        ("shortened", json!({ "type": "array", "description": "tables with more rows than a report has" })),
    ]);
    let named = |name: &str, value| (name.to_owned(), value);
    vec![
        named("consents.json", closed(consents)),
        named(
            "not_held.json",
            closed(properties([("not_held", list(&not_held, "what the relay cannot produce, and why"))])),
        ),
        named("manifest.json", closed(manifest)),
    ]
}

fn properties<const N: usize>(values: [(&str, Value); N]) -> Map<String, Value> {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// An object with these properties, all of them, and no others.
fn closed(properties: Map<String, Value>) -> Value {
    let required: Vec<&String> = properties.keys().collect();
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

/// An object with properties of these types; a `?` allows null.
fn object(types: &[(&str, &str)]) -> Value {
    let one = |kind: &str| match kind.strip_suffix('?') {
        Some(kind) => json!({ "type": [kind, "null"] }),
        None => json!({ "type": kind }),
    };
    closed(types.iter().map(|(name, kind)| ((*name).to_owned(), one(kind))).collect())
}

fn list(items: &Value, description: &str) -> Value {
    json!({ "type": "array", "items": items, "description": description })
}

pub fn markdown(scope: Scope) -> String {
    let mut out = format!("{GENERATED}\n# The account report\n{}", parts(scope));
    for section in SECTIONS {
        let _ = writeln!(out, "\n## {section}.json\n");
        if fields(scope, section).next().is_none() {
            out.push_str("The relay holds nothing that belongs here.\n");
            continue;
        }
        out.push_str("| Field | Holds |\n|---|---|\n");
        for field in fields(scope, section) {
            let _ = writeln!(out, "| `{}` | {} |", field.name(), field.meaning);
        }
    }
    out
}

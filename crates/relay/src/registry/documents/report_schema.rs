//! The JSON schema of the report that an account can ask for: one object for each of its files.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::GENERATED;
use crate::registry::field::{Field, Form, Place, Section};

/// The files of the report, in the order of its folders.
const SECTIONS: [Section; 4] = [Section::AccountInformation, Section::Connections, Section::Settings, Section::Queue];

fn fields(section: Section) -> impl Iterator<Item = &'static Field> {
    crate::registry::all().filter(move |field| field.report == section)
}

fn tables(section: Section) -> Vec<(Place, &'static str)> {
    let mut tables: Vec<(Place, &'static str)> = Vec::new();
    for field in fields(section) {
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

pub fn json() -> Value {
    let mut files = Map::new();
    for section in SECTIONS {
        let mut properties = Map::new();
        for (place, table) in tables(section) {
            let columns: Map<String, Value> = fields(section)
                .filter(|field| (field.place, field.table) == (place, table))
                .map(|field| (field.column.to_owned(), value(field)))
                .collect();
            let row = json!({ "type": "object", "additionalProperties": false, "properties": columns });
            properties.insert(table.to_owned(), json!({ "type": "array", "items": row, "description": place }));
        }
        files.insert(
            format!("{section}.json"),
            json!({ "type": "object", "additionalProperties": false, "properties": properties }),
        );
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The files of a Kuvert account report",
        "schema_version": 1,
        "type": "object",
        "properties": files,
    })
}

pub fn markdown() -> String {
    let mut out = format!("{GENERATED}\n# The account report\n");
    for section in SECTIONS {
        let _ = writeln!(out, "\n## {section}.json\n");
        if fields(section).next().is_none() {
            out.push_str("The relay holds nothing that belongs here.\n");
            continue;
        }
        out.push_str("| Field | Holds |\n|---|---|\n");
        for field in fields(section) {
            let _ = writeln!(out, "| `{}` | {} |", field.name(), field.meaning);
        }
    }
    out
}

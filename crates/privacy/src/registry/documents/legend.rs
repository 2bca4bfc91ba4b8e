//! The legend of the lens: every field, and at which level the relay has it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{GENERATED, items, parts};
use crate::registry::Scope;
use crate::registry::field::{Level, Place};
use crate::registry::not_held;

pub fn json(scope: Scope) -> Value {
    let fields: Vec<Value> = scope.fields().map(|field| json!(field)).collect();
    json!({ "levels": Level::ALL, "fields": fields, "not_held": not_held::ALL })
}

pub fn markdown(scope: Scope) -> String {
    let mut out = format!(
        "{GENERATED}\n# Every field, and at which level the relay has it\n\nThe levels are those of docs/METADATA.md. \
         Above L1 the first letter to somebody still\nnames its sender: `envelope.source` stands there until that letter is \
         fetched.\n{}",
        parts(scope)
    );
    for place in Place::ALL.iter().filter(|place| scope.of(**place).next().is_some()) {
        let _ = write!(out, "\n## {place}\n\n| Field | Holds |");
        for level in Level::ALL {
            let _ = write!(out, " {level} |");
        }
        out.push_str(" Item |\n|---|---|");
        out.push_str(&"---|".repeat(Level::ALL.len() + 1));
        out.push('\n');
        for field in scope.of(*place) {
            let _ = write!(out, "| `{}` | {} |", field.name(), field.meaning);
            for level in Level::ALL {
                out.push_str(if field.levels.contains(level) { " ● |" } else { " |" });
            }
            let _ = writeln!(out, " {} |", items(field.items));
        }
    }
    out
}

//! `docs/METADATA.md`: the catalogue, the ladder, and where each item is shown.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::GENERATED;
use crate::registry::Scope;
use crate::registry::field::Field;
use crate::registry::items::{self, Chapter, Proof, Shown};

const HEAD: &str = "# What a messenger's server sees

End-to-end encryption seals the letter. This page lists what descriptions of a mass-market messenger say about everything
else, item by item, and where Kuvert shows it: in code that runs, in a test, and at a place where a person sees it. What is
not shown yet says so. Item numbers never change.

## The disclosure ladder

The same conversation at several levels. Each is a policy of the client and what the relay then needs.

| Level | The relay sees | Costs |
|---|---|---|
| L0 | number, address book, sender, recipient, device, IP address, time, size | nothing |
| L1 | random identifiers, no upload; addresses in memory only | nothing |
| L2 | recipient, time, size; no sender | an access key, 310 bytes a message |
| L3 | a size bucket, time to the millisecond as before: content padded, receipts up to a minute late or off | bytes, late ticks |

`kuvert --level L2 …` takes a home to a level for good; L1 is where homes begin. `kuvert disclosure` prints what the relay gets
there, item by item. Content is padded at every level, as L3 asks. The first letter to somebody names its sender at every level:
the access key comes with the answer. `tests/ladder.rs` searches everything that a relay writes for markers, at each level.

## Items
";

fn fields(scope: Scope, item: u8) -> Vec<&'static Field> {
    scope.fields().filter(|field| field.items.contains(&item)).collect()
}

pub fn json(scope: Scope) -> Value {
    let items: Vec<Value> = items::ALL
        .iter()
        .map(|item| {
            let fields: Vec<String> = fields(scope, item.number).iter().map(|field| field.name()).collect();
            json!({
                "item": format!("M-{:02}", item.number), "chapter": item.chapter, "says": item.says, "mode": item.mode,
                "shown": shown(&item.shown), "fields": fields,
            })
        })
        .collect();
    json!({ "items": items })
}

pub fn markdown(scope: Scope) -> String {
    let mut out = format!("{GENERATED}\n{HEAD}");
    for chapter in Chapter::ALL {
        let _ = writeln!(
            out,
            "\n### {chapter}\n\n| # | The descriptions say | How it is to be shown | Shown |\n|---|---|---|---|"
        );
        for item in items::ALL.iter().filter(|item| item.chapter == *chapter) {
            let _ = writeln!(out, "| M-{:02} | {} | {} | {} |", item.number, item.says, item.mode, shown(&item.shown));
        }
    }
    out.push_str("\n## Fields by item\n\n| # | Stored fields that show it |\n|---|---|\n");
    for item in items::ALL {
        let fields: Vec<String> =
            fields(scope, item.number).iter().map(|field| format!("{} `{}`", field.place, field.name())).collect();
        if !fields.is_empty() {
            let _ = writeln!(out, "| M-{:02} | {} |", item.number, fields.join(", "));
        }
    }
    out
}

fn shown(shown: &Shown) -> String {
    match shown {
        Shown::Yes(proof) => proven(proof),
        Shown::Partly { proof, missing } => format!("{}. Not yet: {missing}", proven(proof)),
        Shown::NotYet { missing } => format!("not yet: {missing}"),
        Shown::Words { words } => (*words).to_owned(),
    }
}

fn proven(proof: &Proof) -> String {
    let Proof { code: (code, item), test: (file, test), place } = proof;
    format!("{place}. Code: `{code}` `{item}`; test: `{file}` `{test}`")
}

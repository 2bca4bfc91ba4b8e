//! One self-contained file: the page with a recording at each level, which opens from the disk and loads nothing.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use data_encoding::BASE64;
use kuvert_privacy::registry::Level;
use kuvert_relay::whole_file;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::PageError;
use crate::files::Snapshot;
use crate::server::{ICON, INDEX, SCORECARD, SCRIPT, STYLE};
use crate::transcript::Column;
use crate::view::{HandOver, View, ran_at};

/// The parts of `index.html` that a file brings along instead of loading.
const ICON_LINK: &str = r#"<link rel="icon" href="icon.svg" type="image/svg+xml">"#;
const STYLE_LINK: &str = r#"<link rel="stylesheet" href="lens.css">"#;
const SCRIPT_LINK: &str = r#"<script type="module" src="lens.js"></script>"#;

/// What is put into the file beside the relay's own files.
#[derive(Clone, Default, Debug)]
pub struct Parts {
    /// The clients' columns.
    pub columns: Vec<Column>,
    /// The level at which the file opens and for which it has the document that could be handed over; the one at which the
    /// traffic ran, if none is given.
    pub level: Option<Level>,
    /// The time zone of all times, such as `Europe/Berlin`; the reader's own, if none is given.
    pub zone: Option<String>,
}

/// The file's text. `now` in Unix milliseconds.
///
/// # Errors
/// [`PageError::Json`]: what is to be shown cannot be written as JSON.
pub fn document(snapshot: &Snapshot, parts: Parts, now: u64) -> Result<String, PageError> {
    let data = data(snapshot, parts, now)?;
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
        fingerprint(SCRIPT),
        fingerprint(STYLE)
    );
    let icon = format!("data:image/svg+xml;base64,{}", BASE64.encode(ICON.as_bytes()));
    let page = INDEX
        .replace(
            ICON_LINK,
            &format!(
                "<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n  \
                 <link rel=\"icon\" href=\"{icon}\" type=\"image/svg+xml\">"
            ),
        )
        .replace(STYLE_LINK, &format!("<style>{STYLE}</style>"))
        // Once the other parts are in their places: what people wrote is never searched for them.
        .replace(
            SCRIPT_LINK,
            &format!("{DATA_BEGINS}{}</script>\n  <script type=\"module\">{SCRIPT}</script>", inert(&data)),
        );
    Ok(page)
}

/// Before the recording, in the file.
pub const DATA_BEGINS: &str = r#"<script type="application/json" id="recording">"#;

/// Writes the file for its owner alone: it holds people's data.
///
/// # Errors
/// There is a file of that name and `force` is not set, or it cannot be written.
pub fn write(path: &Path, text: &str, force: bool) -> Result<(), PageError> {
    let failed = |error| PageError::Write { path: path.to_owned(), error };
    if force {
        return whole_file::write(path, text.as_bytes(), whole_file::PRIVATE).map_err(failed);
    }
    let mut file = whole_file::create_new(path, whole_file::PRIVATE).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => PageError::Exists(path.to_owned()),
        _ => failed(error),
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a page is none. It was not there before.
        let _ = fs::remove_file(path);
        failed(error)
    })
}

/// Everything that the page shows, as the server would answer it.
fn data(snapshot: &Snapshot, parts: Parts, now: u64) -> Result<Value, PageError> {
    let opens = parts.level.unwrap_or_else(|| ran_at(snapshot));
    let mut views = Map::new();
    for &level in Level::ALL {
        let view = View::of(snapshot, level, parts.columns.clone(), now);
        views.insert(level.to_string(), serde_json::to_value(view)?);
    }
    let mut hand_over = serde_json::to_value(HandOver::of(snapshot, opens, now))?;
    if let Some(observations) = hand_over.get_mut("observations") {
        *observations = table(observations.take());
    }
    let scorecard: Value = serde_json::from_str(SCORECARD)?;
    Ok(json!({
        "opens": opens.to_string(), "zone": parts.zone, "views": views, "scorecard": scorecard, "hand_over": hand_over,
    }))
}

/// Objects that all have the same names, with the names written once.
fn table(objects: Value) -> Value {
    let Value::Array(objects) = objects else { return objects };
    let names: Vec<String> =
        objects.first().and_then(Value::as_object).map(|first| first.keys().cloned().collect()).unwrap_or_default();
    let rows: Vec<Vec<&Value>> =
        objects.iter().map(|object| names.iter().map(|name| &object[name.as_str()]).collect()).collect();
    json!({ "names": names, "rows": rows })
}

/// JSON that ends no element and begins none, whatever the names of accounts are.
fn inert(data: &Value) -> String {
    data.to_string().replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// How a policy names a part that stands in the file itself.
fn fingerprint(part: &str) -> String {
    format!("sha256-{}", BASE64.encode(&Sha256::digest(part.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_stands_once_in_the_page_and_ends_no_element() {
        for part in [ICON_LINK, STYLE_LINK, SCRIPT_LINK] {
            assert_eq!(INDEX.matches(part).count(), 1, "{part}");
        }
        assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("<!--") && !STYLE.contains("</style"));
        for part in [SCRIPT, STYLE] {
            assert!(!part.contains(SCRIPT_LINK) && !part.contains(STYLE_LINK) && !part.contains(ICON_LINK));
        }
    }

    #[test]
    fn a_table_names_its_columns_once() {
        let objects = json!([{"a": 1, "b": null}, {"a": 2, "b": "x"}]);
        assert_eq!(table(objects), json!({"names": ["a", "b"], "rows": [[1, null], [2, "x"]]}));
        assert_eq!(table(json!([])), json!({"names": [], "rows": []}));
    }
}

//! What is written from the registry. Each document is a pure function of it: the files in `docs/` are its output, and a
//! test says so.

mod catalogue;
mod deletion;
mod legend;
mod notice;
mod record;
mod report_schema;

use serde_json::Value;

use super::Scope;

/// A document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Document {
    /// The record of processing activities, Art. 30 GDPR
    Record,
    /// The privacy notice for users
    Notice,
    /// Every field with its meaning: the legend of the lens
    Legend,
    /// What is deleted when, and by what
    Deletion,
    /// The schema of the report that an account can ask for
    Report,
    /// The catalogue M-01 … M-47, and where each item is shown
    Catalogue,
}

/// A generated file, relative to the root of the repository.
#[derive(Debug)]
pub struct File {
    /// Where it belongs.
    pub path: &'static str,
    /// What stands in it.
    pub content: String,
}

impl Document {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Record, Self::Notice, Self::Legend, Self::Deletion, Self::Report, Self::Catalogue];

    /// As JSON.
    pub fn json(self, scope: Scope) -> Value {
        match self {
            Self::Record => record::json(scope),
            Self::Notice => notice::json(scope),
            Self::Legend => legend::json(scope),
            Self::Deletion => deletion::json(scope),
            Self::Report => report_schema::json(scope),
            Self::Catalogue => catalogue::json(scope),
        }
    }

    /// As Markdown.
    pub fn markdown(self, scope: Scope) -> String {
        match self {
            Self::Record => record::markdown(scope),
            Self::Notice => notice::markdown(scope),
            Self::Legend => legend::markdown(scope),
            Self::Deletion => deletion::markdown(scope),
            Self::Report => report_schema::markdown(scope),
            Self::Catalogue => catalogue::markdown(scope),
        }
    }
}

/// Every file that is checked in: made from all entries.
pub fn files() -> Vec<File> {
    let markdown = |path, document: Document| File { path, content: document.markdown(Scope::All) };
    let json = |path, document: Document| File { path, content: format!("{:#}\n", document.json(Scope::All)) };
    vec![
        markdown("docs/METADATA.md", Document::Catalogue),
        markdown("docs/privacy/record-of-processing.md", Document::Record),
        json("docs/privacy/record-of-processing.json", Document::Record),
        markdown("docs/privacy/notice.md", Document::Notice),
        markdown("docs/privacy/deletion-plan.md", Document::Deletion),
        markdown("docs/privacy/legend.md", Document::Legend),
        json("docs/privacy/legend.json", Document::Legend),
        json("docs/privacy/report.schema.json", Document::Report),
    ]
}

/// Says in each Markdown file where it comes from.
const GENERATED: &str = "<!-- Written from crates/privacy/src/registry. Do not edit: \
                         KUVERT_WRITE_REGISTRY=1 cargo test -p kuvert-privacy --test documents -->";

/// Which part is whose, in documents about all entries.
fn parts(scope: Scope) -> &'static str {
    match scope {
        Scope::Mail => "",
        Scope::All => {
            "\n`kuvert-relay` stores nothing of level L0, nothing in `observe.db` and nothing of the demonstration: that part is \
             `kuvert-relay-lens`'s.\n"
        }
    }
}

/// `M-09, M-10`
fn items(numbers: &[u8]) -> String {
    list(numbers.iter().map(|number| format!("M-{number:02}")))
}

/// `a, b, c`, or `none`.
fn list(values: impl IntoIterator<Item = impl ToString>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    if values.is_empty() { "none".to_owned() } else { values.join(", ") }
}

/// The distinct values in their order.
fn distinct<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    values.into_iter().collect::<std::collections::BTreeSet<T>>().into_iter().collect()
}

//! Holds docs/JSON.md and the code together. `KUVERT_WRITE_JSON=1 cargo test -p kuvert-cli json_document` writes the parts of it that
//! come from the code.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const RECORDS: &str = include_str!("record.rs");
const ERRORS: &str = include_str!("../../../client/src/error.rs");
const NOTICES: &str = include_str!("../commands/receive.rs");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A field of an object, as the source has it.
struct Field<'a> {
    name: &'a str,
    kind: &'a str,
    /// Left out where there is none, instead of null.
    optional: bool,
    meaning: String,
}

/// The lines of a block of the source, without its braces.
fn block<'a>(source: &'a str, head: &str) -> Vec<&'a str> {
    let start = source.find(head).unwrap_or_else(|| panic!("{head} is not there")) + head.len();
    source[start..].lines().skip(1).take_while(|line| *line != "}").collect()
}

fn fields<'a>(lines: &[&'a str]) -> Vec<Field<'a>> {
    let (mut fields, mut meaning, mut optional, mut skipped) = (Vec::new(), Vec::new(), false, false);
    for line in lines.iter().map(|line| line.trim()) {
        if let Some(words) = line.strip_prefix("/// ") {
            meaning.push(words);
        } else if line.starts_with("#[serde(skip)]") {
            skipped = true;
        } else if line.starts_with("#[serde(skip_serializing_if") {
            optional = true;
        } else if let Some((name, kind)) = line.trim_end_matches(',').split_once(": ") {
            let name = name.trim_start_matches("pub ");
            if !skipped {
                fields.push(Field { name, kind, optional, meaning: meaning.join(" ") });
            }
            (meaning, optional, skipped) = (Vec::new(), false, false);
        }
    }
    fields
}

/// What scripts get.
fn json_type(kind: &str) -> String {
    let inner = |kind: &str| json_type(kind);
    if let Some(kind) = kind.strip_prefix("Option<").and_then(|kind| kind.strip_suffix('>')) {
        return format!("{} or null", inner(kind));
    }
    match kind {
        "bool" => "boolean".into(),
        "u32" | "u64" | "i64" | "usize" => "integer".into(),
        "&'a str" | "&'static str" => "string".into(),
        "&'a [String]" | "&'a [&'a str]" => "array of strings".into(),
        "String" => "string".into(),
        "&'a Attachment" => "`Attachment`".into(),
        "&'a [Attachment]" => "array of `Attachment`".into(),
        "Vec<DisclosedItem<'a>>" => "array of `DisclosedItem`".into(),
        "Vec<PermittedItem<'a>>" => "array of `PermittedItem`".into(),
        other => panic!("say what {other} is in JSON"),
    }
}

fn rows(fields: &[Field<'_>]) -> String {
    let mut out = String::from("| Field | Type | Meaning |\n|---|---|---|\n");
    for Field { name, kind, optional, meaning } in fields {
        let kind = json_type(kind);
        let kind = if *optional { format!("{}; left out if none", kind.trim_end_matches(" or null")) } else { kind };
        let _ = writeln!(out, "| `{name}` | {kind} | {meaning} |");
    }
    out
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.char_indices() {
        if c.is_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The objects of `kuvert`, from the enumeration that prints them.
fn records() -> String {
    let mut out = String::new();
    let mut meaning = Vec::new();
    let lines = block(RECORDS, "pub enum Record<'a>");
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        at += 1;
        if let Some(words) = line.strip_prefix("    /// ") {
            meaning.push(words);
            continue;
        }
        let name: String = line.trim().chars().take_while(char::is_ascii_alphanumeric).collect();
        let rest = line.trim().trim_start_matches(name.as_str());
        let of = match rest {
            " {" => {
                let inner: Vec<&str> = lines[at..].iter().copied().take_while(|line| *line != "    },").collect();
                at += inner.len() + 1;
                fields(&inner)
            }
            " {}," => Vec::new(),
            "(Message<'a>)," => fields(&block(RECORDS, "pub struct Message<'a>")),
            "(Box<Status<'a>>)," => fields(&block(RECORDS, "pub struct Status<'a>")),
            "(Box<Profile<'a>>)," => fields(&block(RECORDS, "pub struct Profile<'a>")),
            other => panic!("{name}{other}"),
        };
        let _ = writeln!(out, "### `{}`\n\n{}\n", snake(&name), meaning.join(" "));
        if !of.is_empty() {
            let _ = writeln!(out, "{}", rows(&of));
        }
        meaning.clear();
    }
    for item in ["DisclosedItem", "PermittedItem"] {
        let _ =
            writeln!(out, "### A `{item}`\n\n{}", rows(&fields(&block(RECORDS, &format!("pub struct {item}<'a>")))));
    }
    let _ = writeln!(out, "### An `Attachment`\n\n{}", rows(&fields(&block(RECORDS, "pub struct Attachment"))));
    out
}

/// Every string literal right behind a marker.
fn literals_behind<'a>(source: &'a str, marker: &str) -> BTreeSet<&'a str> {
    source.split(marker).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next()).collect()
}

/// The error codes of `kuvert`, `kuvert-demo` and `kuvert-bench`: the client's, and those of their commands.
fn codes() -> String {
    let mut codes: BTreeSet<String> = literals_behind(ERRORS, "=>").into_iter().map(str::to_owned).collect();
    let directories = ["crates/cli/src", "crates/demo/src", "benches/src/program"];
    for source in directories.iter().flat_map(|directory| sources(&root().join(directory))) {
        codes.extend(literals_behind(&source, "Failure::new(").into_iter().map(str::to_owned));
    }
    codes.extend(["io".to_owned(), "usage".to_owned()]);
    codes.iter().map(|code| format!("- `{code}`\n")).collect()
}

/// The text of every source file below a directory, without its tests and this file.
fn sources(directory: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(sources(&path));
        } else if path.extension().is_some_and(|ends| ends == "rs") && !path.ends_with("json_document.rs") {
            let text = fs::read_to_string(&path).unwrap();
            texts.push(text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned());
        }
    }
    texts
}

#[test]
fn the_document_tells_of_every_object_and_code_of_kuvert() {
    let path = root().join("docs/JSON.md");
    let mut document = fs::read_to_string(&path).unwrap();
    for (mark, content) in [("records", records()), ("codes", codes())] {
        let (begin, end) = (format!("<!-- {mark}: from the code -->\n"), format!("<!-- end of {mark} -->"));
        let from = document.find(&begin).unwrap_or_else(|| panic!("{begin} is not there")) + begin.len();
        let to = from + document[from..].find(&end).unwrap();
        let content = format!("\n{}\n\n", content.trim_end());
        if std::env::var_os("KUVERT_WRITE_JSON").is_some() {
            document.replace_range(from..to, &content);
        } else {
            assert_eq!(&document[from..to], content, "{mark}: KUVERT_WRITE_JSON=1 writes it anew");
        }
    }
    if std::env::var_os("KUVERT_WRITE_JSON").is_some() {
        fs::write(&path, document).unwrap();
    }
}

#[test]
fn the_document_tells_of_every_notice() {
    let document = fs::read_to_string(root().join("docs/JSON.md")).unwrap();
    let body = NOTICES.split("pub fn notice(").nth(1).unwrap().split("\n}\n").next().unwrap();
    // The code is the first word of each pair.
    let flat = body.split_whitespace().collect::<Vec<_>>().join(" ");
    let codes = literals_behind(&flat, "=> (");
    assert!(codes.len() >= 6, "{codes:?}");
    for code in codes {
        assert!(document.contains(&format!("\n| `{code}` |")), "docs/JSON.md says nothing of the notice {code}");
    }
}

#[test]
fn the_document_tells_of_every_object_of_the_other_programs() {
    let document = fs::read_to_string(root().join("docs/JSON.md")).unwrap();
    let directories = [
        "crates/relay-server/src",
        "crates/relay-lens/src",
        "crates/lens-page/src",
        "crates/lens/src",
        "crates/demo/src",
    ];
    let mut seen = BTreeSet::new();
    for source in directories.iter().flat_map(|directory| sources(&root().join(directory))) {
        for kind in literals_behind(&source, "\"type\":") {
            assert!(document.contains(&format!("\n| `{kind}` |")), "docs/JSON.md says nothing of the object {kind}");
            seen.insert(kind.to_owned());
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
}

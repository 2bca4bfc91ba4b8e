//! The tables in docs/PROTOCOL.md (requirement, code, test) and docs/ATTACKS.md (attack, test) say the truth: every number is
//! there once, every file, item and test that they name exists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))
}

/// The cells of the rows of the table whose head has `columns` columns and begins with `first`.
fn rows(text: &str, first: &str, columns: usize) -> Vec<Vec<String>> {
    let cells =
        |line: &str| -> Vec<String> { line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect() };
    let mut lines = text.lines().skip_while(|line| {
        let head = cells(line);
        head.len() != columns || head[0] != first
    });
    assert!(lines.next().is_some(), "no table whose first column is {first}");
    let rows: Vec<_> = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty() && rows.iter().all(|row| row.len() == columns), "rows of {columns} cells");
    rows
}

/// What a cell refers to: a file, then names in it, then perhaps another file.
fn references(cell: &str) -> Vec<(&str, &str)> {
    let mut file = "no file";
    let mut found = Vec::new();
    for quoted in cell.split('`').skip(1).step_by(2) {
        if quoted.contains('/') {
            file = quoted;
        } else {
            found.push((file, quoted));
        }
    }
    found
}

fn has_word(text: &str, word: &str) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).any(|(at, _)| {
        !part_of_word(text[..at].chars().next_back()) && !part_of_word(text[at + word.len()..].chars().next())
    })
}

/// A test is a function behind an attribute that makes it one, and is not ignored.
fn is_test(text: &str, name: &str) -> bool {
    let Some(at) = text.find(&format!("fn {name}(")) else { return false };
    let before = text[..at].lines().rev().map(str::trim);
    let attributes: String = before
        .take_while(|line| line.is_empty() || line.starts_with("#[") || line.starts_with("//") || *line == "async")
        .take_while(|line| !line.ends_with('}'))
        .collect();
    attributes.contains("test") && !attributes.contains("ignore")
}

/// What is wrong with a cell of code or tests.
fn wrong(cell: &str, names: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let references = references(cell);
    if references.is_empty() {
        return vec!["nothing is named".to_owned()];
    }
    let wrong = references.into_iter().filter_map(|(file, name)| match read(file) {
        Err(error) => Some(error),
        Ok(text) => (!names(&text, name)).then(|| format!("no {name} in {file}")),
    });
    wrong.collect()
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn the_requirement_table_is_true() {
    let text = read("docs/PROTOCOL.md").unwrap();
    let rows = rows(&text, "Number", 4);
    let mut problems = Vec::new();
    let mut last = 0;
    for row in &rows {
        let name = &row[0];
        let number: u32 = name.strip_prefix("KV-").filter(|digits| digits.len() == 3).unwrap().parse().unwrap();
        assert!(number > last, "{name}: numbers rise");
        last = number;
        let stated = text.matches(&format!("**{name}**")).count();
        assert_eq!(stated, 1, "{name} is stated once in the text");
        problems.extend(wrong(&row[2], has_word).into_iter().map(|problem| format!("{name}: {problem}")));
        problems.extend(wrong(&row[3], is_test).into_iter().map(|problem| format!("{name}, test: {problem}")));
    }
    report(&problems);
    assert_eq!(text.matches("**KV-").count(), rows.len(), "every requirement of the text has a row");
}

/// Crates whose checks name their requirement in the very file that the table gives.
const CITING: [&str; 3] = ["crates/types/", "crates/wire/", "crates/protocol/"];

/// Requirements that no source has to name, and why.
const NOT_CITED: [(&str, &str); 14] = [
    ("KV-020", "a rule of the client: its test compares the link's key"),
    ("KV-061", "a rule about transactions of the client, not one check"),
    ("KV-062", "the client's decoder of contents as a whole"),
    ("KV-063", "a choice of the client: which envelope id names a message"),
    ("KV-068", "configuration of TLS and QUIC"),
    ("KV-071", "the relay's registration as a whole"),
    ("KV-072", "the relay's dispatch as a whole"),
    ("KV-073", "the relay's submission as a whole"),
    ("KV-074", "the relay's delivery as a whole"),
    ("KV-075", "the relay's prekey directory as a whole"),
    ("KV-083", "a delay of the client, not a check"),
    ("KV-084", "the relay's service for sealed mail as a whole"),
    ("KV-085", "what the client's connection for sealed mail does not share, not a check"),
    ("KV-094", "the client's look at account records as a whole"),
];

/// All sources of the crates, tests left out.
fn sources() -> String {
    let crates = std::fs::read_dir(root().join("crates")).unwrap();
    crates.map(|entry| rust_below(&entry.unwrap().path().join("src"))).collect()
}

/// All of Rust in a folder and below it. A folder that is not there has none.
fn rust_below(folder: &Path) -> String {
    let mut text = String::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &std::fs::read_to_string(&path).unwrap();
            }
        }
    }
    text
}

#[test]
fn each_check_names_its_requirement() {
    let rows = rows(&read("docs/PROTOCOL.md").unwrap(), "Number", 4);
    let sources = sources();
    let mut problems = Vec::new();
    for row in &rows {
        let (name, code) = (&row[0], &row[2]);
        let citation = format!("[{name}]");
        if !sources.contains(name.as_str()) && !NOT_CITED.iter().any(|(number, _)| number == name) {
            problems.push(format!("{name}: no source cites it"));
        }
        let files: BTreeSet<&str> = references(code).into_iter().map(|(file, _)| file).collect();
        for file in files.into_iter().filter(|file| CITING.iter().any(|crate_| file.starts_with(crate_))) {
            if !read(file).is_ok_and(|text| text.contains(&citation)) {
                problems.push(format!("{name}: {file} does not cite it"));
            }
        }
    }
    problems.extend(unknown(&sources, &rows));
    report(&problems);
}

/// Citations of requirements that do not exist.
fn unknown(sources: &str, rows: &[Vec<String>]) -> BTreeSet<String> {
    let known = |name: &str| rows.iter().any(|row| row[0] == name);
    let cited =
        sources.split("[KV-").skip(1).filter_map(|rest| rest.split_once(']')).map(|(digits, _)| format!("KV-{digits}"));
    cited.filter(|name| !known(name)).map(|name| format!("{name}: cited and not stated")).collect()
}

/// The first table of section 21: what both sides have to agree on.
#[test]
fn the_bounds_are_those_of_the_code() {
    use kuvert_protocol::hazmat::{pq_ratchet, ratchet};
    use kuvert_protocol::{attachment, group, linking, message};
    use kuvert_types::limits;

    let rows = rows(&read("docs/PROTOCOL.md").unwrap(), "Bound", 3);
    for (name, value) in [
        ("text", limits::MAX_TEXT_BYTES),
        ("content", message::MAX_CONTENT_LEN),
        ("ciphertext of an envelope", limits::MAX_CIPHERTEXT_BYTES),
        ("frame", limits::MAX_FRAME_BYTES),
        ("devices of an account", limits::MAX_DEVICES),
        ("access key", kuvert_types::AccessKey::LEN),
        ("parents of an operation", group::roster::MAX_PARENTS),
        ("value of a field", group::operation::MAX_VALUE_BYTES),
        ("operations of a writer in effect", group::roster::MAX_EFFECTIVE),
        ("a device's name, in an offer", linking::MAX_NAME_BYTES),
        ("a file", attachment::MAX_FILE_BYTES as usize),
        ("a chunk of a file", attachment::CHUNK_BYTES),
        ("a blob", limits::MAX_BLOB_BYTES as usize),
        ("readers of a blob", limits::MAX_BLOB_READERS),
        ("a piece of a blob", limits::MAX_BLOB_PIECE_BYTES),
        ("bytes of an upload to the next BlobState", limits::BLOB_STATE_EVERY as usize),
        ("files in a message", limits::MAX_ATTACHMENTS),
        ("a file's media type", limits::MAX_MEDIA_TYPE_BYTES),
        ("a file's name", limits::MAX_FILE_NAME_BYTES),
        ("a thumbnail", limits::MAX_THUMBNAIL_BYTES),
        ("steps of a waveform", limits::WAVEFORM_STEPS),
        ("a sealed sender adds", kuvert_protocol::sealed_sender::OVERHEAD),
        ("one-time prekeys at a relay, of a kind", limits::MAX_ONE_TIME_PREKEYS),
        ("skip in the Double Ratchet", ratchet::MAX_SKIP as usize),
        ("skip in the post-quantum ratchet", pq_ratchet::MAX_SKIP as usize),
        ("envelopes in a mailbox", limits::MAX_MAILBOX_ENVELOPES as usize),
        ("bytes in a mailbox", limits::MAX_MAILBOX_BYTES as usize),
        ("strangers' part of a mailbox", limits::STRANGERS_PART as usize),
        ("one stranger's part of what other strangers left", limits::STRANGER_PART as usize),
        ("a stranger's envelope that is always tried", limits::STRANGER_FLOOR_BYTES as usize),
        ("sealed mail's part of a mailbox", limits::SEALED_PART as usize),
        ("one contact's part of a mailbox", limits::CONTACT_PART as usize),
        ("senders named when a mailbox was full", limits::MAX_OCCUPANTS),
        ("accounts that an account blocks at a relay", limits::MAX_BLOCKED),
    ] {
        assert_eq!(stated(&rows, name), value as u64, "{name}");
    }
}

/// The number with which a row of a table of bounds begins.
fn stated(rows: &[Vec<String>], name: &str) -> u64 {
    let row = rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no bound {name}"));
    let number: String = row[1].chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    number.replace(',', "").parse().unwrap()
}

/// The second table of section 21, as far as this crate keeps the bounds.
#[test]
fn the_bounds_of_one_side_are_those_of_the_code() {
    use kuvert_protocol::hazmat::ratchet;
    use kuvert_protocol::{replay, session};

    let text = read("docs/PROTOCOL.md").unwrap();
    let (_, second) = text.split_once("Bounds that each side keeps for itself").unwrap();
    let rows = rows(second, "Bound", 3);
    for (name, value) in [
        ("skipped keys, each ratchet", ratchet::MAX_SKIPPED_KEYS),
        ("retained header keys", ratchet::MAX_RETAINED_HEADER_KEYS),
        ("inactive sessions", session::MAX_INACTIVE_SESSIONS),
        ("replay record of a last-resort prekey: one stranger", replay::STRANGER_ENTRIES),
        ("replay record of a last-resort prekey: all strangers", replay::STRANGERS_PER_PREKEY),
        ("replay record of a last-resort prekey: one contact", replay::CONTACT_ENTRIES),
        ("replay record of a last-resort prekey: in all", replay::MAX_REPLAY_ENTRIES),
    ] {
        assert_eq!(stated(&rows, name), value as u64, "{name}");
    }
}

#[test]
fn the_attack_table_is_true() {
    let rows = rows(&read("docs/ATTACKS.md").unwrap(), "#", 4);
    let mut waiting = BTreeSet::new();
    let mut problems = Vec::new();
    for (number, row) in (1..).zip(&rows) {
        assert_eq!(row[0], number.to_string());
        if row[3].starts_with("not yet: ") {
            waiting.insert(number);
        } else {
            problems.extend(wrong(&row[3], is_test).into_iter().map(|problem| format!("attack {number}: {problem}")));
        }
    }
    report(&problems);
    assert_eq!(rows.len(), 51);
    // Groups do not exist yet. Building them takes these rows off the list.
    assert_eq!(waiting, BTreeSet::from([31, 32]));
}

/// A test named after an attack stands in the row of that attack, so that none is forgotten there.
#[test]
fn every_test_named_after_an_attack_is_in_its_row() {
    let rows = rows(&read("docs/ATTACKS.md").unwrap(), "#", 4);
    let mut missing = Vec::new();
    let mut folders = vec![root().join("crates"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let names = text.split("fn attack_").skip(1).filter_map(|rest| rest.split_once('('));
                for (name, _) in names {
                    // Two digits, then what happens. This file's own text is none.
                    let Some(number) = name.get(..2).and_then(|digits| digits.parse::<usize>().ok()) else { continue };
                    let name = format!("attack_{name}");
                    if !rows.get(number.wrapping_sub(1)).is_some_and(|row| has_word(&row[3], &name)) {
                        missing.push(format!("attack {number}: {name} in {}", path.display()));
                    }
                }
            }
        }
    }
    report(&missing);
}

/// What stands between quotes behind `name = `, of an entry of checks.toml: `"…"`, or `'''…'''` and `"""…"""` over several
/// lines.
fn quoted<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    let (_, behind) = entry.split_once(&format!("\n{name} = "))?;
    let quotes = ["'''", "\"\"\"", "\""].into_iter().find(|quotes| behind.starts_with(quotes))?;
    Some(behind[quotes.len()..].split_once(quotes)?.0)
}

/// A text of an entry once for each line of words in its `each`, which stand for %1, %2 …; without `each`, as it is.
fn expanded(entry: &str, text: &str) -> Vec<String> {
    let Some((_, list)) = entry.split_once("\neach = [") else { return vec![text.to_owned()] };
    let lines = list.split(']').next().unwrap().split('"').skip(1).step_by(2);
    let with = |words: &str| {
        (1..)
            .zip(words.split(' '))
            .fold(text.to_owned(), |text, (number, word)| text.replace(&format!("%{number}"), word))
    };
    lines.map(with).collect()
}

/// `tests/requirements/run` takes checks out of the code: each is of a requirement that there is, or of a rule that has no number, and
/// stands where it is looked for. A requirement has a check there, or a reason why it has none, and not both.
#[test]
fn each_requirement_has_a_check_that_can_be_taken_out_or_a_reason_why_not() {
    let (document, table) = (read("docs/PROTOCOL.md").unwrap(), read("tests/requirements/checks.toml").unwrap());
    let (checks, reasons) = table.split_once("\n[[without]]").expect("reasons behind the checks");
    let mut problems = Vec::new();
    let mut checked = BTreeSet::new();
    for entry in checks.split("\n[[check]]").skip(1) {
        let [id, file, take] = ["id", "file", "take"].map(|name| quoted(entry, name).unwrap());
        checked.extend(id.split('/').next().filter(|number| number.starts_with("KV-")));
        let nth = entry.lines().find_map(|line| line.strip_prefix("nth = ")?.parse().ok());
        let text = read(file).unwrap();
        for take in expanded(entry, take) {
            let there = text.matches(&take).count();
            if nth.map_or(there != 1, |nth: usize| there < nth) {
                problems.push(format!("{id}: {take} stands {there} times in {file}"));
            }
        }
        problems.extend(unknown_tests(entry).into_iter().map(|test| format!("{id}: no test is called {test}")));
    }
    let reasoned: BTreeSet<&str> =
        reasons.split("\n[[without]]").map(|entry| quoted(entry, "requirement").unwrap()).collect();
    assert!(
        reasons.split("\n[[without]]").all(|entry| quoted(entry, "reason").is_some_and(|reason| reason.len() > 20))
    );
    problems.extend(checked.intersection(&reasoned).map(|number| format!("{number}: a check, and a reason for none")));
    let rows = rows(&document, "Number", 4);
    let stated: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let known: BTreeSet<&str> = checked.union(&reasoned).copied().collect();
    problems.extend(known.difference(&stated).map(|number| format!("{number}: no such requirement")));
    problems.extend(stated.difference(&known).map(|number| format!("{number}: neither a check nor a reason")));
    report(&problems);
}

/// The tests of an entry that no source of its package has: each is the beginning of a function's name, behind modules or not, or a
/// module.
fn unknown_tests(entry: &str) -> Vec<&str> {
    let (_, list) = entry.split_once("\ntests = [").unwrap();
    let names = list.split(']').next().unwrap().split('"').skip(1).step_by(2);
    let folder = match quoted(entry, "package").unwrap().trim_start_matches("kuvert-") {
        "wipe-test" => "tests/wipes".to_owned(),
        package => format!("crates/{package}"),
    };
    let sources = rust_below(&root().join(folder));
    let there = |name: &str| {
        let last = name.trim_end_matches("::").rsplit("::").next().unwrap_or(name);
        sources.contains(&format!("fn {last}")) || sources.contains(&format!("mod {last}"))
    };
    names.filter(|name| !there(name)).collect()
}

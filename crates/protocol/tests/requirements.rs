//! The tables in docs/PROTOCOL.md (requirement, code, test) and docs/ATTACKS.md (attack, test) say the truth: every number is
//! there once, every file, item and test that they name exists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
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
    let mut file = None;
    let mut found = Vec::new();
    for quoted in cell.split('`').skip(1).step_by(2) {
        if quoted.contains('/') {
            file = Some(quoted);
        } else {
            found.push((file.unwrap_or_else(|| panic!("{quoted}: in which file?")), quoted));
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

/// A test is a function behind an attribute that makes it one, or inside of `proptest!`, and is not ignored.
fn is_test(text: &str, name: &str) -> bool {
    let Some(at) = text.find(&format!("fn {name}(")) else { return false };
    let before: Vec<&str> = text[..at].lines().rev().take(8).collect();
    let attributes = before.iter().take_while(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with("#[") || line.starts_with("//") || line == "async"
    });
    let attributes: String = attributes.copied().collect();
    attributes.contains("test") && !attributes.contains("ignore")
}

fn check_tests(what: &str, cell: &str) {
    let references = references(cell);
    assert!(!references.is_empty(), "{what} names no test");
    for (file, name) in references {
        assert!(is_test(&read(file), name), "{what}: no test {name} in {file}");
    }
}

#[test]
fn the_requirement_table_is_true() {
    let text = read("docs/PROTOCOL.md");
    let rows = rows(&text, "Number", 4);
    for (number, row) in (1..).zip(&rows) {
        let name = format!("KV-{number:03}");
        assert_eq!(row[0], name, "numbers rise by one");
        let stated = text.matches(&format!("**{name}**")).count();
        assert_eq!(stated, 1, "{name} is stated once in the text");
        let code = references(&row[2]);
        assert!(!code.is_empty(), "{name} names no code");
        for (file, item) in code {
            assert!(has_word(&read(file), item), "{name}: no {item} in {file}");
        }
        check_tests(&name, &row[3]);
    }
    assert_eq!(text.matches("**KV-").count(), rows.len(), "every requirement of the text has a row");
}

#[test]
fn the_attack_table_is_true() {
    let rows = rows(&read("docs/ATTACKS.md"), "#", 4);
    let mut waiting = BTreeSet::new();
    for (number, row) in (1..).zip(&rows) {
        assert_eq!(row[0], number.to_string());
        if row[3].starts_with("not yet: ") {
            waiting.insert(number);
        } else {
            check_tests(&format!("attack {number}"), &row[3]);
        }
    }
    assert_eq!(rows.len(), 34);
    // Groups, attachments and sealed senders do not exist yet. Whoever builds them takes their rows off this list.
    assert_eq!(waiting, BTreeSet::from([24, 25, 31, 32, 33]));
}

/// A test named after an attack stands in the table, so that none is forgotten there.
#[test]
fn every_test_named_after_an_attack_is_in_the_table() {
    let table = read("docs/ATTACKS.md");
    let mut missing = Vec::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let names = text.split("fn attack_").skip(1).filter_map(|rest| rest.split_once('('));
                let names = names.map(|(name, _)| format!("attack_{name}"));
                let is_name = |name: &String| name.chars().all(|c| c.is_alphanumeric() || c == '_');
                missing.extend(names.filter(is_name).filter(|name| !has_word(&table, name)));
            }
        }
    }
    assert!(missing.is_empty(), "not in docs/ATTACKS.md: {missing:?}");
}

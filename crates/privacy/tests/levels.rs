//! docs/LEVELS.md is what the registry says: 47 items at four levels, each cell of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kuvert_privacy::registry::field::Field;
use kuvert_privacy::registry::items::{self, Mode, Shown};
use kuvert_privacy::registry::{self, Level, Place};

const TOLD: &str = "told";
const LESS: &str = "less exact";
const NOT: &str = "not told";
const LATER: &str = "not there yet";
const WORDS: &str = "not shown";

/// Items whose columns do not follow from which fields there are, and why. The page says so under “From what”.
const OTHERWISE: [(u8, [&str; 4], &str); 6] = [
    (1, [NOT; 4], "the field is sealed: the words are not in it"),
    (2, [NOT; 4], "as M-01"),
    (10, [TOLD, TOLD, TOLD, LESS], "one field has a coarser form at L3"),
    (20, [TOLD, LESS, LESS, LESS], "what an export can hold goes with other items"),
    (22, [TOLD, LESS, LESS, LESS], "what an export can hold goes with other items"),
    (25, [TOLD, LESS, LESS, LESS], "what an export can hold goes with other items"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/LEVELS.md")).unwrap()
}

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split(" | ").map(str::trim).collect()
}

/// The rows of the page, by item: the four columns, from what they follow, code and test.
fn rows(page: &str) -> BTreeMap<u8, Vec<&str>> {
    let lines = page.lines().filter(|line| line.starts_with("| M-"));
    lines.map(|line| (line[4..6].parse().unwrap(), cells(line)[2..].to_vec())).collect()
}

/// The fields of an item that say something about a person.
fn fields(item: u8) -> Vec<&'static Field> {
    registry::all().filter(|field| field.items.contains(&item) && field.place != Place::Configuration).collect()
}

/// What follows from the fields; nothing where there is none.
fn from_fields(item: u8) -> Option<[&'static str; 4]> {
    let fields = fields(item);
    let at = |level: Level| fields.iter().filter(|field| field.levels.contains(&level)).count();
    let all = at(Level::L0);
    (!fields.is_empty()).then(|| {
        [Level::L0, Level::L1, Level::L2, Level::L3].map(|level| match at(level) {
            0 => NOT,
            some if some == all => TOLD,
            _ => LESS,
        })
    })
}

#[test]
fn every_cell_follows_from_the_registry() {
    let page = page();
    let rows = rows(&page);
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=47).collect::<Vec<u8>>());
    for item in items::ALL {
        let (number, row) = (item.number, &rows[&item.number]);
        let shown: [&str; 4] = row[..4].try_into().unwrap();
        if let Some((_, expected, why)) = OTHERWISE.iter().find(|(otherwise, ..)| *otherwise == number) {
            assert_eq!(shown, *expected, "M-{number:02}: {why}");
            assert_ne!(from_fields(number), Some(*expected), "M-{number:02} is no exception");
            continue;
        }
        if let Some(expected) = from_fields(number) {
            assert_eq!(shown, expected, "M-{number:02}");
            continue;
        }
        // Without a field the levels do not differ.
        assert!([[NOT; 4], [LATER; 4], [WORDS; 4]].contains(&shown), "M-{number:02}: {shown:?}");
        let later = matches!(item.mode, Mode::RealLater | Mode::SimulatedLater);
        let is_there = matches!(item.shown, Shown::Yes(_));
        assert!(!later || is_there || shown == [LATER; 4], "M-{number:02} is for later: {shown:?}");
        assert!(shown != [LATER; 4] || !is_there, "M-{number:02} is there");
    }
}

#[test]
fn the_sums_are_those_of_the_rows() {
    let page = page();
    let rows = rows(&page);
    for word in [TOLD, LESS, NOT, LATER, WORDS] {
        let counted = [0, 1, 2, 3].map(|level| rows.values().filter(|row| row[level] == word).count().to_string());
        let line = page.lines().rfind(|line| line.starts_with(&format!("| {word} | "))).unwrap();
        assert_eq!(cells(line)[1..], counted, "{word}");
    }
}

#[test]
fn what_a_row_rests_on_is_there() {
    let page = page();
    let known: BTreeSet<String> =
        registry::all().flat_map(|field| [field.name(), format!("{}.*", field.table)]).collect();
    for (number, row) in rows(&page) {
        let (from, proofs) = (row[4], row[5]);
        for name in from.split('`').skip(1).step_by(2).filter(|name| name.contains('.')) {
            let found = known.iter().any(|known| known == name || known.ends_with(&format!(" {name}")));
            assert!(found, "M-{number:02} names {name}");
        }
        // “26 of 36 fields: L0 only”
        if let Some((count, rest)) = from.split_once(" of ")
            && let (Ok(alone), Some(Ok(all))) =
                (count.parse::<usize>(), rest.split(' ').next().map(str::parse::<usize>))
        {
            let fields = fields(number);
            let only = fields.iter().filter(|field| field.levels == [Level::L0]).count();
            assert_eq!((alone, all), (only, fields.len()), "M-{number:02}");
        }
        for link in proofs.split("](").skip(1) {
            let path = link.split(')').next().unwrap();
            assert!(root().join("docs").join(path).is_file(), "M-{number:02} links {path}");
        }
        // The second proof is a test of that name.
        if let Some((name, path)) = proofs.split("; [`").nth(1).and_then(|link| link.split_once("`](")) {
            let text = fs::read_to_string(root().join("docs").join(path.trim_end_matches(')'))).unwrap();
            assert!(text.contains(&format!("fn {name}(")), "M-{number:02} names the test {name}");
        }
    }
}

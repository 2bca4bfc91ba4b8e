//! `kuvert-lens score`: figures for programs and for people, and the document that it writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SMALL: [&str; 6] = ["--users", "150", "--rate", "0.1", "--days", "1"];

/// A folder of a test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn lens(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kuvert-lens")).arg("score").args(arguments).output().unwrap()
}

fn score(arguments: &[&str]) -> String {
    let output = lens(&[&SMALL, arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn programs_get_one_object_a_level_the_same_for_the_same_seed() {
    let json = score(&["--json", "--seed", "5"]);
    assert_eq!(json, score(&["--json", "--seed", "5"]));
    let levels: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = levels.iter().map(|level| level["level"].as_str().unwrap()).collect();
    assert_eq!(names, ["L0", "L1", "L2", "L3"]);
    assert_eq!(levels[0]["edges"]["f1"], 1.0);
    assert!(levels[0]["top1_after"]["40"].is_number() && levels[3]["latency_ms"].as_f64().unwrap() > 20_000.0);
    let one = score(&["--json", "--seed", "5", "--level", "l2"]);
    assert_eq!(one.trim_end(), json.lines().nth(2).unwrap(), "a level alone is the same");
}

#[test]
fn people_get_a_table_and_the_document_its_figures() {
    assert!(score(&["--level", "L3", "--receipts", "off"]).contains("L3, no receipts"));
    let folder = folder("document");
    let document = folder.join("LENS.md");
    let marks = "<!-- scorecard: kuvert-lens score --document -->\n<!-- end of scorecard -->\n";
    let others = "<!-- spread: kuvert-lens score --document --seeds -->\n<!-- end of spread -->\n";
    fs::write(&document, format!("before\n{marks}{others}")).unwrap();
    score(&["--document", document.to_str().unwrap()]);
    let written = fs::read_to_string(&document).unwrap();
    assert!(written.starts_with("before\n") && written.contains("| L0 | 1.00 | 1.00 | 1.00 |"), "{written}");
    assert!(written.contains(", seed 1\n") && written.ends_with(others), "{written}");
    let card = fs::read_to_string(folder.join("lens-scorecard.json")).unwrap();
    score(&["--document", document.to_str().unwrap(), "--seeds", "2"]);
    let both = fs::read_to_string(&document).unwrap();
    assert!(both.starts_with(written.strip_suffix("<!-- end of spread -->\n").unwrap()), "{both}");
    assert!(both.contains(", 2 seeds, 1 to 2: ") && both.contains("| L0 | 1.00 (1.00–1.00) |"), "{both}");
    assert_eq!(fs::read_to_string(folder.join("lens-scorecard.json")).unwrap(), card, "that of one seed stays");
    for plot in ["lens-identified.svg", "lens-edges.svg"] {
        assert!(fs::read_to_string(folder.join(plot)).unwrap().ends_with("</svg>\n"));
    }
    // What each bar is.
    let edges = fs::read_to_string(folder.join("lens-edges.svg")).unwrap();
    assert!([">precision<", ">recall<", ">F1<"].iter().all(|bar| edges.contains(bar)), "{edges}");
}

#[test]
fn what_cannot_be_done_is_refused_with_a_reason() {
    for wrong in
        [["--users", "3"], ["--rate", "0"], ["--rate", "many"], ["--level", "L9"], ["--days", "0"], ["--seeds", "2"]]
    {
        assert_eq!(lens(&wrong).status.code(), Some(2), "{wrong:?}");
    }
    let document = folder("refused").join("other.md");
    fs::write(&document, "no marks").unwrap();
    let output = lens(&[&SMALL[..], &["--document", document.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no marks"));
    assert_eq!(fs::read_to_string(&document).unwrap(), "no marks", "left as it was");
}

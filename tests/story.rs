//! `kuvert demo --story`: what the relay saw of a day, and what that gives away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Stdio};

use serde_json::Value;
use support::{find, kuvert_with, objects};

fn told(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(kuvert_with("demo")).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn the_day_is_lived_at_two_levels_and_only_l0_names_who_writes() {
    let told = told(&["--json", "demo", "--story", "doctor"]);
    let words = String::from_utf8(told.clone()).unwrap();
    assert!(!words.contains("lump"), "no letter is in what the relay saw");
    let objects = objects(&told);
    let levels = find(&objects, "story")["levels"].as_array().unwrap();
    assert_eq!(levels.iter().map(|level| &level["level"]).collect::<Vec<_>>(), ["L0", "L3"]);
    let envelopes = |level: &Value| level["envelopes"].as_array().unwrap().clone();
    let (plain, blurred) = (envelopes(&levels[0]), envelopes(&levels[1]));
    assert!(plain.iter().all(|envelope| envelope["from"].is_string()));
    assert!(blurred.iter().all(|envelope| envelope["from"].is_null()), "a sealed sender is nowhere");
    let at = |who: &str| plain.iter().find(|envelope| envelope["from"] == who).unwrap()["place_simulated"].clone();
    assert!(at("anna") == "Mill Lane" && at("ben") == at("dora"), "L0 tells who lives together");
    assert!(blurred.iter().all(|envelope| envelope["ip"].is_null() && envelope["place_simulated"].is_null()));
    // The same letters and the same receipts, whether they came at once or late; a receipt may tell of two letters.
    assert!(plain.len() == 68 && (34..=68).contains(&blurred.len()), "{} and {}", plain.len(), blurred.len());
    assert!(blurred[1]["minute"].as_f64() > plain[1]["minute"].as_f64(), "receipts are late");
    let questions = levels[0]["questions"].as_array().unwrap();
    assert!(questions.len() == 3 && questions.iter().all(|question| question["right"] == true), "{questions:?}");
    let certainty = |level: &Value| level["questions"][0]["certainty"].as_f64().unwrap();
    assert!(certainty(&levels[1]) < certainty(&levels[0]), "it takes a guess now");
}

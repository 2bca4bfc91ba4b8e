//! `kuvert-bench files --quick`: the real processes with tiny numbers. What a figure is depends on the machine; that it is there, and that the files came
//! whole, does not.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;

#[test]
fn every_figure_is_there_and_every_goal_has_one() {
    let data = tempfile::tempdir().unwrap();
    let output = Command::new(support::kuvert_with("bench"))
        .args(["--json", "bench", "files", "--quick", "--directory"])
        .arg(data.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "it tidies up after itself");
    assert!(!output.stderr.is_empty(), "it says how far it is");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for pointer in [
        "/raw/aead_seal_mib_s",
        "/raw/file_open_mib_s",
        "/end_to_end/0/disk_s/1",
        "/end_to_end/0/aead_s/0",
        "/end_to_end/0/up_s",
        "/end_to_end/0/down_s",
        "/texts/alone_p99_ms",
        "/texts/beside_p99_ms",
    ] {
        let figure = report.pointer(pointer).and_then(Value::as_f64);
        assert!(figure.is_some_and(|figure| figure > 0.0), "{pointer}: {report:#}");
    }
    let sizes: Vec<_> = report["memory"].as_array().unwrap().iter().map(|row| row["mib"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [1, 2]);
    for row in report["memory"].as_array().unwrap() {
        for process in ["sender_mib", "reader_mib", "relay_mib"] {
            assert!(row[process].as_f64().is_some_and(|mib| mib >= 0.0), "{process}: {row}");
        }
    }
    let goals = report["goals"].as_array().unwrap();
    assert_eq!(goals.len(), 7);
    assert!(goals.iter().all(|goal| goal["figure"].is_number() && goal["met"].is_boolean()), "{goals:#?}");
}

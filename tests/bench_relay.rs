//! `kuvert-bench relay --quick`: the real processes with tiny numbers. What a figure is depends on the machine; that it is
//! there, and that nothing was lost, does not.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> (Value, Output) {
    let data = tempfile::tempdir().unwrap();
    let output = Command::new(support::kuvert_with("bench"))
        .args(["--json", "bench", "relay", "--quick", "--seed", "7", "--directory"])
        .arg(data.path())
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "it tidies up after itself");
    (serde_json::from_slice(&output.stdout).unwrap(), output)
}

#[test]
fn every_figure_is_there_and_nothing_is_lost() {
    let picture = tempfile::tempdir().unwrap();
    let picture = picture.path().join("load.svg");
    let (report, output) = bench(&["--svg", picture.to_str().unwrap()]);
    let number = |pointer: &str| {
        let value = report.pointer(pointer).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("{pointer} in {report:#}"))
    };
    for pointer in [
        "/enqueue/per_second",
        "/enqueue/p50_ms",
        "/enqueue/p99_ms",
        "/enqueue/p999_ms",
        "/enqueue/server_cpu_s_per_100k",
        "/enqueue/write_amplification",
        "/drain/per_second",
        "/drain/per_second_with_erasure",
        "/live/p50_ms",
        "/live/p99_ms",
        "/live/max_per_second",
        "/idle/kib_per_connection",
        "/handshake/per_second",
        "/disk/bytes_per_waiting",
        "/expiry/seconds",
        "/expiry/worst_stall_ms",
        "/rss_mib",
        "/prototype/ratio",
        "/storage/many_over_few",
        "/storage/start/seconds",
        "/latency_over_load/0/p99_ms",
    ] {
        assert!(number(pointer) >= 0.0, "{pointer}");
    }
    assert!(number("/enqueue/per_second") > 0.0 && number("/drain/per_second") > 0.0);
    assert_eq!(report["handshake"]["post_quantum"], true);
    assert_eq!(number("/disk/delivered_bytes_left"), 0.0, "delivered envelopes are erased");
    assert_eq!((number("/idle/connections"), number("/expiry/rows")), (10.0, 300.0));
    assert_eq!((number("/live/rate"), number("/seed")), (50.0, 7.0));
    assert!(report["machine"]["processor"].is_string());
    assert!(std::fs::read_to_string(picture).unwrap().starts_with("<svg"));
    assert!(!output.stderr.is_empty(), "it says how far it is");
}

#[test]
fn hostile_clients_do_not_keep_mail_from_the_honest() {
    let (report, _) = bench(&["--hostile", "15"]);
    let hostile = &report["hostile"];
    assert_eq!((hostile["clients"].as_u64(), hostile["lost"].as_u64()), (Some(15), Some(0)));
    assert!(hostile["attempts"].as_u64() >= Some(15));
    assert!(hostile["p99_ratio"].is_number() && hostile["rss_mib_peak"].is_number());
}

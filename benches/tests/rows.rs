//! The rows: every name that scripts rely on is there, every workload does its work, and the report says it all.

use std::time::Duration;

use kuvert_bench::conversation::{Conversation, Side, content};
use kuvert_bench::kuvert::Kuvert;
use kuvert_bench::plot;

#[test]
fn a_short_run_has_every_row_every_goal_and_a_document() {
    let report = kuvert_bench::crypto(Duration::ZERO, |_| {}).unwrap();
    let json = report.json().unwrap();
    let rows = json["rows"].as_array().unwrap();
    for (name, sizes) in [
        ("encrypt", &[64, 256, 1024, 16_384, 65_536, 1_048_576][..]),
        ("decrypt", &[64, 256, 1024, 16_384, 65_536, 1_048_576]),
        ("ping_pong", &[256]),
        ("establish_out", &[256]),
        ("establish_in", &[256]),
        ("out_of_order", &[256]),
        ("seal", &[256]),
        ("open_sealed", &[256]),
        ("file_seal", &[1_048_576]),
        ("file_open", &[1_048_576]),
    ] {
        for size in sizes {
            let row = rows.iter().find(|row| row["name"] == name && row["size"] == *size).unwrap();
            assert!(row["ns"].as_f64().unwrap() > 0.0 && row["lower_bound_ns"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["ratio_to_bound"].is_f64() && row["allocations"].is_f64(), "{row}");
            let alone = ["out_of_order", "seal", "open_sealed", "file_seal", "file_open"].contains(&name);
            assert_eq!(row["vodozemac_ns"].is_f64(), !alone, "{row}");
        }
    }
    for name in ["braid", "braid_again", "snapshot", "restore"] {
        let row = rows.iter().find(|row| row["name"] == name && row["size"].is_null()).unwrap();
        assert!(row["ns"].as_f64().unwrap() > 0.0, "{row}");
    }
    for operation in ["aead_seal", "hmac_sha256", "hkdf_sha256", "x25519_agree", "ed25519_verify", "mlkem768_key_pair"]
    {
        let backends = rows.iter().filter(|row| row["name"].as_str().unwrap().split('/').nth(1) == Some(operation));
        assert!(backends.count() >= 2, "{operation}");
    }
    assert!(json["machine"]["compiler"].as_str().unwrap().starts_with("rustc"));
    assert!(report.goals.iter().all(|goal| goal.figure.is_some()), "{:#?}", report.goals);

    let document = include_str!("../../docs/BENCHMARKS.md");
    let sections = ["### More\n".to_owned()];
    let updated = report.insert_into(document, &sections).unwrap();
    assert!(updated.contains("### Goals") && updated.contains("### More") && updated.contains("| encrypt | 256 |"));
    // Once more replaces, and adds nothing.
    assert_eq!(report.insert_into(&updated, &sections).unwrap(), updated);
    let svg = plot::svg(&report.rows);
    assert_eq!(svg.matches("<rect").count(), 1 + 3 + 2 * 6 * 3);
}

#[test]
fn contents_arrive() {
    let mut pair = Kuvert::begin().unwrap();
    let sent = content(1_000);
    let message = pair.send(Side::Alice, &sent).unwrap();
    assert_eq!(pair.receive(Side::Bob, &message).unwrap(), sent.len());
    assert!(pair.receive(Side::Bob, &message).is_err(), "a message opens once");
}

#[test]
fn a_short_timing_run_has_every_experiment() {
    let report = kuvert_bench::timing::timing(Duration::ZERO, |_| {}).unwrap();
    let names: Vec<_> = report.rows.iter().map(|row| row.name).collect();
    assert_eq!(
        names,
        [
            "control: a comparison that stops early",
            "comparison of keys",
            "tag of a message",
            "header that no key opens"
        ]
    );
    assert!(report.text().contains("Welch"));
    // The white ground, the legend, and a bar for each.
    assert_eq!(plot::timing(&report.rows).matches("<rect").count(), 2 + report.rows.len());
}

#[cfg(feature = "program")]
#[test]
fn a_small_client_run_delivers_everything() {
    let report = kuvert_bench::client::client(5, |_| {}).unwrap();
    let names: Vec<_> = report.rows.iter().map(|row| row.name).collect();
    assert_eq!(names, ["queue", "send", "receive", "first_to_many", "send_to_many"]);
    // Each queued text is committed by itself; what is sent is committed together.
    assert_eq!(report.rows[0].commits, 1.0);
    assert!(report.rows.iter().all(|row| row.us > row.store_us && row.store_us > 0.0), "{:#?}", report.rows);
    assert!(report.memory.stored > 1_000.0 && report.text().contains("messages/s"));
    assert_eq!(plot::client(&report.rows).matches("<rect").count(), 3 + 2 * report.rows.len());
}

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
    ] {
        for size in sizes {
            let row = rows.iter().find(|row| row["name"] == name && row["size"] == *size).unwrap();
            assert!(row["ns"].as_f64().unwrap() > 0.0 && row["lower_bound_ns"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["ratio_to_bound"].is_f64() && row["allocations"].is_f64(), "{row}");
            assert_eq!(row["vodozemac_ns"].is_f64(), name != "out_of_order", "{row}");
        }
    }
    for name in ["braid", "snapshot", "restore"] {
        let row = rows.iter().find(|row| row["name"] == name && row["size"].is_null()).unwrap();
        assert!(row["ns"].as_f64().unwrap() > 0.0, "{row}");
    }
    for operation in ["aead_seal", "hmac_sha256", "hkdf_sha256", "x25519_agree", "ed25519_verify", "mlkem768_key_pair"]
    {
        let backends = rows.iter().filter(|row| row["name"].as_str().unwrap().split('/').nth(1) == Some(operation));
        assert!(backends.count() >= 2, "{operation}");
    }
    assert!(json["machine"]["compiler"].as_str().unwrap().starts_with("rustc"));
    assert_eq!(report.goals.iter().filter(|goal| goal.figure.is_none()).count(), 1, "{:#?}", report.goals);

    let document = include_str!("../../docs/BENCHMARKS.md");
    let updated = report.insert_into(document).unwrap();
    assert!(updated.contains("### Goals") && updated.contains("| encrypt | 256 |"));
    // Once more replaces, and adds nothing.
    assert_eq!(report.insert_into(&updated).unwrap(), updated);
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

//! The cost model calculates what it says, and the document shows what the model makes of the checked-in figures.

use std::fs;
use std::path::Path;

use kuvert_bench::scaling::{Measured, Model, NODE, PEOPLE};
use serde_json::json;

fn figures() -> serde_json::Value {
    json!({
        "enqueue": {"per_second": 20_000, "p50_ms": 20, "p99_ms": 30, "server_cpu_s_per_100k": 1.0, "write_amplification": 3.0},
        "drain": {"per_second": 10_000},
        "live": {"rate": 2_000, "p50_ms": 1, "p99_ms": 9, "max_per_second": 30_000},
        "idle": {"connections": 10_000, "kib_per_connection": 32},
        "handshake": {"per_second": 1_000, "post_quantum": true},
        "disk": {"bytes_per_waiting": 612, "delivered_bytes_left": 0},
        "expiry": {"rows": 1_000_000, "seconds": 5, "worst_stall_ms": 50},
        "rss_mib": 64, "machine": "a test", "seed": 1,
    })
}

/// Round figures, calculated by hand.
#[test]
fn a_million_mailboxes_by_hand() {
    assert_eq!((PEOPLE.texts_per_day, PEOPLE.envelopes_per_text, PEOPLE.peak), (40.0, 2.0, 4.0));
    let model = Model::new(Measured::read(&figures().to_string()).unwrap());
    let step = model.steps.iter().find(|step| step.load.mailboxes == 1_000_000).unwrap();
    let near = |is: f64, should: f64| assert!((is - should).abs() <= should * 1e-3, "{is} should be {should}");
    near(step.load.connected, 250_000.0);
    near(step.load.envelopes, 80e6 / 86_400.0 * 4.0);
    near(step.load.waiting, 10e6);
    near(step.load.mail_disk, 10e6 * 1124.0);
    near(step.load.written, step.load.envelopes * 3072.0);
    near(step.load.memory, 250_000.0 * 32.0 * 1024.0 + 10e6 * 32.0 + 1e6 * 180.0);
    let need = |resource| step.needs.iter().find(|need| need.resource == resource).unwrap().nodes;
    near(need("store"), step.load.envelopes / 5_000.0);
    near(need("live path"), step.load.envelopes / 15_000.0);
    near(need("handshakes"), 250_000.0 / 300_000.0);
    near(need("disk"), (step.load.mail_disk + step.load.directory_disk) / (NODE.disk / 2.0));
    assert_eq!(step.nodes, step.needs.iter().map(|need| need.nodes.ceil() as u64).max().unwrap());
    assert!(model.steps.windows(2).all(|pair| pair[0].nodes <= pair[1].nodes));
    assert_eq!(model.steps[0].nodes, 1);
    let text = model.text();
    assert!(
        text.contains("Measured on: a test") && text.contains("10.0 µs of processor") && text.contains("1 G"),
        "{text}"
    );
}

#[test]
fn a_missing_figure_is_named() {
    let mut without = figures();
    without["idle"].as_object_mut().unwrap().remove("kib_per_connection");
    let error = Measured::read(&without.to_string()).unwrap_err().to_string();
    assert!(error.contains("kib_per_connection"), "{error}");
    let mut nothing = figures();
    nothing["drain"]["per_second"] = json!(0);
    assert!(Measured::read(&nothing.to_string()).unwrap_err().to_string().contains("drain.per_second"));
}

/// Figures in the document come from the file beside it, and as long as there is none, there are no figures.
#[test]
fn the_document_shows_what_the_model_makes_of_the_checked_in_figures() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let document = fs::read_to_string(docs.join("SCALING.md")).unwrap();
    match fs::read_to_string(docs.join("relay-bench.json")) {
        Ok(json) => {
            let model = Model::new(Measured::read(&json).unwrap());
            assert_eq!(
                model.insert_into(&document).unwrap(),
                document,
                "run: kuvert-bench scaling --from docs/relay-bench.json --document docs/SCALING.md"
            );
        }
        Err(_) => {
            let model = Model::new(Measured::read(&figures().to_string()).unwrap());
            assert!(model.insert_into(&document).is_some(), "the marks are there");
            assert!(document.contains("Not measured yet."));
        }
    }
}

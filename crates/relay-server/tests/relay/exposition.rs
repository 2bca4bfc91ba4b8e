//! The metrics by the published rules of both formats: the text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>) with what `promtool check metrics` asks for, and OpenMetrics 1.0
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).

use std::collections::{BTreeMap, BTreeSet};

use crate::common::*;
use crate::monitoring::{live_a_little, send, start_monitored};

/// A metric with its samples, as they stand there.
#[derive(Debug, Default)]
struct Family {
    help: Option<String>,
    kind: Option<String>,
    unit: Option<String>,
    /// Name, labels, value.
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `name{a="b"} 1`
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
    assert!(is_name(name), "{line}");
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once("} ").unwrap(),
        None => ("", rest.strip_prefix(' ').unwrap()),
    };
    let pairs = labels.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
        let (label, value) = pair.split_once('=').unwrap();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
        assert!(is_name(label) && !value.contains(['"', '\\']), "{line}");
        (label.to_owned(), value.to_owned())
    });
    let found: Vec<_> = pairs.collect();
    let labels: BTreeMap<_, _> = found.iter().cloned().collect();
    assert_eq!(labels.len(), found.len(), "a label stands once: {line}");
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("a value and no more: {line}")))
}

/// What is served, by family: what stands about a family comes first, and the family in one piece.
fn families(text: &str, open_metrics: bool) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n') && !text.contains('\r'));
    let text = if open_metrics { text.strip_suffix("# EOF\n").expect("OpenMetrics ends with # EOF") } else { text };
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<_> = comment.splitn(3, ' ').collect();
            let [what, name, told] = words[..] else { panic!("{line}") };
            if name != current {
                assert!(is_name(name) && !families.contains_key(name), "in one piece: {line}");
                name.clone_into(&mut current);
            }
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.samples.is_empty(), "before the samples: {line}");
            let place = match what {
                "HELP" => &mut family.help,
                "TYPE" => &mut family.kind,
                "UNIT" if open_metrics => &mut family.unit,
                _ => panic!("not of this format: {line}"),
            };
            assert!(place.replace(told.to_owned()).is_none(), "once: {line}");
        } else {
            let sample = sample(line);
            assert!(sample.0.starts_with(&current), "{line} belongs to {current}");
            families.get_mut(&current).unwrap().samples.push(sample);
        }
    }
    families
}

/// Buckets rise, the last one is all, and there are a sum and a count for each set of labels.
fn check_histogram(name: &str, family: &Family) {
    let mut counts: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    let mut others: BTreeMap<_, BTreeMap<&str, f64>> = BTreeMap::new();
    for (sample, labels, value) in &family.samples {
        let mut labels = labels.clone();
        match &sample[name.len()..] {
            "_bucket" => {
                let le = labels.remove("le").unwrap().parse().unwrap();
                counts.entry(labels).or_default().push((le, *value));
            }
            end @ ("_sum" | "_count") => drop(others.entry(labels).or_default().insert(end, *value)),
            other => panic!("{name}: {other}"),
        }
    }
    assert!(!counts.is_empty() && counts.keys().eq(others.keys()), "{name}");
    for (labels, buckets) in counts {
        assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{name} {labels:?}");
        let (le, all) = *buckets.last().unwrap();
        assert!(le.is_infinite() && others[&labels]["_count"] == all && others[&labels].contains_key("_sum"), "{name}");
    }
}

fn check(families: &BTreeMap<String, Family>, open_metrics: bool) {
    for (name, family) in families {
        // What promtool's linter says: help, snake case, base units, and no kind within a name.
        assert!(family.help.as_ref().is_some_and(|help| help.len() > 2), "{name} has no help");
        assert!(*name == name.to_lowercase() && !name.contains("__"), "{name}");
        for word in name.split('_') {
            let wrong =
                ["ms", "milliseconds", "minutes", "hours", "days", "kib", "mib", "kilobytes", "megabytes", "percent"];
            assert!(!wrong.contains(&word) && !["counter", "gauge", "histogram"].contains(&word), "{name}");
        }
        if let Some(unit) = &family.unit {
            assert!(name.ends_with(&format!("_{unit}")), "{name} ends with its unit");
        }
        let kind = family.kind.as_deref().unwrap();
        let mut seen = BTreeSet::new();
        for (sample, labels, value) in &family.samples {
            assert!(seen.insert((sample, labels)), "{sample} {labels:?} stands twice");
            assert!(kind == "gauge" || *value >= 0.0, "{sample}: {value}");
        }
        let only = |end: &str| family.samples.iter().all(|(sample, ..)| *sample == format!("{name}{end}"));
        let reserved = ["_total", "_info", "_count", "_sum", "_bucket", "_created"];
        let ends_reserved = reserved.iter().any(|end| name.ends_with(end));
        match (kind, open_metrics) {
            ("counter", true) => assert!(only("_total") && !ends_reserved, "{name}"),
            ("counter", false) => assert!(only("") && name.ends_with("_total"), "{name}"),
            ("info", true) => assert!(only("_info") && !ends_reserved, "{name}"),
            // An info of OpenMetrics is a gauge that is always 1.
            ("gauge", false) if name.ends_with("_info") => {
                assert!(only("") && family.samples.iter().all(|sample| sample.2 == 1.0), "{name}");
            }
            ("gauge", _) => assert!(only("") && !ends_reserved, "{name}"),
            ("histogram", _) => check_histogram(name, family),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn both_formats_follow_their_rules_and_say_the_same() {
    let data = tempfile::tempdir().unwrap();
    let (relay, address) = start_monitored(config(data.path())).await;
    live_a_little(&relay).await;
    let get = async |accept: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: relay\r\n{accept}\r\n");
        send(address, request.as_bytes()).await
    };
    let (head, text) = get("").await;
    assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    let prometheus =
        "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1\r\n";
    let (head, open) = get(prometheus).await;
    assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"), "{head}");
    let (text, open) = (families(&text, false), families(&open, true));
    check(&text, false);
    check(&open, true);
    let names = |families: &BTreeMap<String, Family>| {
        let samples = families.values().flat_map(|family| &family.samples);
        samples.map(|(name, labels, _)| (name.clone(), labels.clone())).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&text), names(&open));
    assert!(text.len() > 25 && text.len() == open.len());
    let version = &text["kuvert_relay_build_info"].samples[0].1["version"];
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    relay.shutdown().await;
}

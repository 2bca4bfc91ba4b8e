//! Metrics and health, as a monitoring system reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use kuvert_relay::{Config, RunningRelay, SystemClock};
use kuvert_wire::v1::client_frame::Body as Request;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::*;

pub async fn start_monitored(mut config: Config) -> (RunningRelay, SocketAddr) {
    config.monitoring.listen = Some("127.0.0.1:0".parse().unwrap());
    let relay = start_with(config, Arc::new(SystemClock::new())).await;
    let address = relay.monitoring_address().unwrap();
    (relay, address)
}

/// What comes back for these bytes: head and body.
pub async fn send(to: SocketAddr, request: &[u8]) -> (String, String) {
    let mut stream = within(TcpStream::connect(to)).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Status and body.
pub async fn get(from: SocketAddr, path: &str) -> (u16, String) {
    let (head, body) = send(from, format!("GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n").as_bytes()).await;
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

/// Every sample by its name with labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.into(), value.parse().unwrap()))
        .collect()
}

/// Everything that a relay counts happens once or more. Returns what was delivered and acknowledged.
pub async fn live_a_little(relay: &RunningRelay) -> [Device; 2] {
    let (alice, bob) = (Device::named("canaryname"), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    bob_there.ask(Request::PublishPrekeys(prekeys(1, 40, true))).await;
    for _ in 0..4 {
        alice_there.ask(take_bundles(&bob)).await;
    }
    let letter = envelope(&bob, vec![7; 500]);
    alice_there.submit(letter.clone()).await;
    alice_there.submit(letter).await;
    alice_there.submit(envelope(&bob, vec![7; 100])).await;
    bob_there.ask(set_blocked(&alice, true)).await;
    alice_there.submit(envelope(&bob, vec![7; 10])).await;
    alice_there.refused(submit(envelope_from(&bob, &alice, "forbidden"))).await;
    bob_there.attach().await;
    let first = bob_there.delivery().await.cursor;
    bob_there.delivery().await;
    bob_there.acknowledge(first).await;
    let mut nobody = Client::connect(relay.address()).await;
    let proof = nobody.hello().await;
    nobody.refused(Request::Authenticate(Device::new().authenticate_request(&proof))).await;
    relay.expire().await.unwrap();
    [alice, bob]
}

#[tokio::test]
async fn metrics_add_up_and_name_nobody() {
    let data = tempfile::tempdir().unwrap();
    let (relay, address) = start_monitored(config(data.path())).await;
    let devices = live_a_little(&relay).await;
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    let samples = samples(&text);
    for (name, value) in [
        ("registrations_total", 2.0),
        ("connections_opened_total", 3.0),
        ("authentication_failures_total", 1.0),
        ("envelopes_accepted_total", 2.0),
        ("ciphertext_accepted_bytes_total", 600.0),
        ("envelopes_repeated_total", 1.0),
        ("envelopes_dropped_total", 1.0),
        ("envelopes_delivered_total", 2.0),
        ("envelopes_acknowledged_total", 1.0),
        ("envelopes_waiting", 1.0),
        ("ciphertext_waiting_bytes", 100.0),
        ("devices", 2.0),
        ("ready", 1.0),
        ("requests_total{command=\"submit\",code=\"OK\"}", 4.0),
        ("requests_total{command=\"submit\",code=\"FORBIDDEN\"}", 1.0),
        ("requests_total{command=\"authenticate\",code=\"AUTHENTICATION_FAILED\"}", 1.0),
        ("request_duration_seconds_count{command=\"submit\"}", 5.0),
        ("bundles_total{reason=\"one_time\"}", 2.0),
        ("bundles_total{reason=\"last_resort\"}", 2.0),
    ] {
        assert_eq!(samples.get(&format!("kuvert_relay_{name}")), Some(&value), "{name}\n{text}");
    }
    assert!(samples["kuvert_relay_disk_free_bytes"] > 0.0 && samples["kuvert_relay_database_bytes"] > 0.0);
    for device in devices {
        let id = device.address.account.to_string();
        for canary in ["canaryname", &id, "127.0.0.1"] {
            assert!(!text.contains(canary), "{canary} in {text}");
        }
    }
    // As many samples with a thousand people as with two: labels are few.
    for _ in 0..20 {
        drop(Client::register(relay.address(), &Device::new()).await);
    }
    assert_eq!(self::samples(&get(address, "/metrics").await.1).len(), samples.len());
    relay.shutdown().await;
    assert!(TcpStream::connect(address).await.is_err(), "gone with the relay");
}

#[tokio::test]
async fn ready_means_that_mail_can_be_accepted() {
    let data = tempfile::tempdir().unwrap();
    let (relay, address) = start_monitored(config(data.path())).await;
    assert_eq!(get(address, "/healthz").await, (200, "ok\n".into()));
    assert_eq!(get(address, "/readyz").await, (200, "ready\n".into()));
    relay.store().close().await.unwrap();
    assert_eq!(get(address, "/readyz").await, (503, "the store fails\n".into()));
    assert_eq!(get(address, "/healthz").await.0, 200);
    relay.shutdown().await;

    let mut config = config(data.path());
    config.monitoring.ready_free_mib = u32::MAX;
    let (relay, address) = start_monitored(config).await;
    assert_eq!(get(address, "/readyz").await, (503, "the disk is nearly full\n".into()));
    let (_, text) = get(address, "/metrics").await;
    assert_eq!(samples(&text)["kuvert_relay_ready"], 0.0);
    relay.shutdown().await;
}

#[tokio::test]
async fn anything_else_is_refused_and_harms_nobody() {
    let data = tempfile::tempdir().unwrap();
    let (relay, address) = start_monitored(config(data.path())).await;
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(9_000));
    for (request, status) in [
        ("GET /inspect HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("\u{16}\u{3}\u{1}", "400"),
        (&long, "431"),
    ] {
        let (head, _) = send(address, request.as_bytes()).await;
        assert_eq!(head.split(' ').nth(1), Some(status), "{head}");
    }
    // Many that say nothing: the next one waits for a place, and gets it once they are gone.
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(within(TcpStream::connect(address)).await.unwrap());
    }
    drop(silent);
    assert_eq!(get(address, "/readyz").await.0, 200);
    relay.shutdown().await;
}

/// A panel that asks for a metric that does not exist shows nothing, and it is not noticed.
#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_metrics_that_exist() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.limits.connections_per_address = 3;
    let (relay, address) = start_monitored(config).await;
    live_a_little(&relay).await;
    // One too many: somebody is turned away.
    let mut crowd = Vec::new();
    for _ in 0..4 {
        let config = client_config(relay.address(), kuvert_relay::tls::provider(), &[kuvert_wire::ALPN]);
        crowd.push(Client::connect_with(relay.address(), config).await);
    }
    let text = within(async {
        loop {
            let (_, text) = get(address, "/metrics").await;
            if text.contains("kuvert_relay_turned_away_total{") {
                break text;
            }
        }
    })
    .await;
    let served: BTreeSet<String> =
        samples(&text).into_keys().map(|name| name.split('{').next().unwrap().to_owned()).collect();

    let packaging = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    let dashboard = std::fs::read_to_string(packaging.join("grafana/kuvert-relay.json")).unwrap();
    let mut expressions = Vec::new();
    collect(&serde_json::from_str(&dashboard).unwrap(), &mut expressions);
    assert!(expressions.len() >= 10, "{expressions:?}");
    let alerts = std::fs::read_to_string(packaging.join("prometheus/alerts.yml")).unwrap();
    let mut asked = BTreeSet::new();
    for text in expressions.iter().chain([&alerts]) {
        let parts = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        asked.extend(parts.filter(|part| part.starts_with("kuvert_relay_")).map(str::to_owned));
    }
    assert!(asked.len() >= 10, "{asked:?}");
    let missing: Vec<_> = asked.difference(&served).collect();
    assert!(missing.is_empty(), "not served: {missing:?}; served: {served:?}");
    relay.shutdown().await;
}

fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" => into.push(text.clone()),
                    _ => collect(value, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        _ => {}
    }
}

//! The page over HTTP: what it answers, to whom, and with which rules for the browser.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use kuvert_lens_page::{Options, PageError, Server};
use kuvert_relay::{Config, SystemClock};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

fn options(data: &Path, listen: &str) -> Options {
    Options { data: data.to_owned(), listen: listen.parse().unwrap(), clients: Vec::new() }
}

/// A relay's directory, made by a relay.
async fn relay_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let config =
        Config { listen: "127.0.0.1:0".parse().unwrap(), observe: true, ..Config::new(directory.path().join("relay")) };
    kuvert_relay_lens::start(config, Arc::new(SystemClock::new())).await.unwrap().shutdown().await;
    directory
}

/// The page's address, and the path below which it is.
async fn page() -> (tempfile::TempDir, SocketAddr, String) {
    let directory = relay_directory().await;
    let server = Server::bind(options(&directory.path().join("relay"), "127.0.0.1:0")).await.unwrap();
    let url = server.url();
    let (address, token) = url.trim_start_matches("http://").split_once("/?token=").unwrap();
    let page = (directory, address.parse().unwrap(), format!("/{token}"));
    tokio::spawn(server.serve());
    page
}

async fn request(address: SocketAddr, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_page_and_its_parts_come_with_strict_rules() {
    let (_directory, address, base) = page().await;
    for (path, kind) in
        [("/", "text/html"), ("/lens.js", "text/javascript"), ("/lens.css", "text/css"), ("/icon.svg", "image/svg")]
    {
        let answer = request(address, &format!("{base}{path}"), &address.to_string()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(answer.contains(&format!("content-type: {kind}")), "{path}");
        assert!(answer.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{path}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{path}");
        assert!(
            answer.contains("cache-control: no-store") && answer.contains("referrer-policy: no-referrer"),
            "{path}"
        );
    }
    let index = request(address, &format!("{base}/"), &address.to_string()).await;
    assert!(
        !index.contains("https://") && !index.contains("<style") && !index.contains("onclick"),
        "nothing from elsewhere"
    );
}

#[tokio::test]
async fn the_view_has_the_level_that_was_asked_for() {
    let (_directory, address, base) = page().await;
    for (query, level) in [("?level=L2", "L2"), ("", "L0"), ("?level=nonsense", "L0")] {
        let answer = request(address, &format!("{base}/api/view{query}"), &address.to_string()).await;
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        let json = &body[body.find('{').unwrap()..=body.rfind('}').unwrap()];
        let view: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(view["level"], level);
        assert_eq!(view["observed"], true);
    }
}

#[tokio::test]
async fn a_foreign_name_that_resolves_to_this_machine_is_turned_away() {
    let (_directory, address, base) = page().await;
    let answer = request(address, &format!("{base}/api/view"), "attacker.example").await;
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    assert!(!answer.contains("edges"));
    let local = request(address, &format!("{base}/"), &format!("localhost:{}", address.port())).await;
    assert!(local.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn another_local_user_who_finds_the_port_sees_nothing() {
    let (_directory, address, base) = page().await;
    let host = address.to_string();
    let token = base.trim_start_matches('/');
    assert!(token.len() >= 32, "128 bits at least");
    let (short, long, other) = (&token[..63], format!("{token}0"), "0".repeat(64));
    let without = ["", "api/view", "lens.js", "api/changes", "api/hand-over", "nothing"].map(|path| format!("/{path}"));
    let wrong = ["", "0", short, &long, &other].map(|token| format!("/?token={token}"));
    let elsewhere =
        [format!("/{short}/"), format!("/{other}/api/view"), format!("/?token={token}api/view"), "/?".into()];
    for path in without.iter().chain(&wrong).chain(&elsewhere) {
        let answer = request(address, path, &host).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{path}: {answer}");
        assert!(!answer.contains(token), "{path}");
    }
    let entered = request(address, &format!("/?token={token}"), &host).await;
    assert!(entered.starts_with("HTTP/1.1 303") && entered.contains(&format!("location: {base}/")), "{entered}");
    assert!(!entered.contains("set-cookie"), "cookies go to every port of this machine");
}

#[tokio::test]
async fn two_host_headers_are_refused() {
    let (_directory, address, base) = page().await;
    for hosts in [format!("{address}\r\nHost: attacker.example"), format!("{address}\r\nHost: {address}")] {
        let answer = request(address, &format!("{base}/api/view"), &hosts).await;
        assert!(answer.starts_with("HTTP/1.1 400") && !answer.contains("people"), "{answer}");
    }
}

#[tokio::test]
async fn other_machines_are_never_served() {
    let directory = relay_directory().await;
    let refused = Server::bind(options(&directory.path().join("relay"), "0.0.0.0:0")).await.unwrap_err();
    assert!(matches!(refused, PageError::NotLoopback(_)), "{refused}");
    let missing = Server::bind(options(&directory.path().join("nothing"), "127.0.0.1:0")).await.unwrap_err();
    assert_eq!(missing.code(), "lens-relay-files");
}

#[tokio::test]
async fn a_change_of_the_files_is_told() {
    let (directory, address, base) = page().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {base}/api/changes HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    while !lines.next_line().await.unwrap().unwrap().is_empty() {}
    // The relay's next start writes to its files.
    let config =
        Config { listen: "127.0.0.1:0".parse().unwrap(), observe: true, ..Config::new(directory.path().join("relay")) };
    let relay = kuvert_relay_lens::start(config, Arc::new(SystemClock::new())).await.unwrap();
    loop {
        let line = lines.next_line().await.unwrap().expect("the stream goes on");
        if line.contains("event: changed") {
            break;
        }
    }
    relay.shutdown().await;
}

#[test]
fn the_scorecard_is_that_of_the_document() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let document = std::fs::read_to_string(docs.join("LENS.md")).unwrap();
    let card = std::fs::read(docs.join("lens-scorecard.json")).unwrap();
    let card: serde_json::Value = serde_json::from_slice(&card).unwrap();
    assert!(document.contains(card["conditions"].as_str().unwrap()), "one command writes both");
    for row in card["rows"].as_array().unwrap() {
        let edges = &row["score"]["edges"];
        let figures = ["precision", "recall", "f1"].map(|name| format!("{:.2}", edges[name].as_f64().unwrap()));
        let begins = format!("| {} | {} |", row["policy"].as_str().unwrap(), figures.join(" | "));
        assert!(document.contains(&begins), "{begins}");
    }
}

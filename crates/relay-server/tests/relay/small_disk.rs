//! A disk of 24 MiB that mail fills to its end, and that stays as full when the mail was fetched: the database keeps its size.
//!
//! The disk is a file system in memory that only the relay's process sees. Where mounts are not permitted, this says that it
//! is skipped.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::server_frame::Body as Response;
use serde_json::Value;
use tokio::process::Command;

use crate::common::process::{Process, clean};
use crate::common::*;
use crate::monitoring::get;

const DISK: &str = "24m";

/// Of each letter.
const LETTER: usize = 90 * 1024;

/// The store looks for space once a second: refused for so long, it has looked several times.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// A program that runs the relay with a small disk in the place of its data directory.
fn on_small_disk(data: &std::path::Path) -> Command {
    let mut command = clean("unshare");
    let mount = format!("mount -t tmpfs -o size={DISK},mode=0700 none \"$1\" && shift && exec \"$@\"");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount, "sh"]).arg(data);
    // The mark below which new accounts are refused would be reached first.
    command.env("KUVERT_RELAY_LIMITS_LOW_WATER_MIB", "0").env("KUVERT_RELAY_MONITORING_READY_FREE_MIB", "1");
    command.env("KUVERT_RELAY_MONITORING_LISTEN", "127.0.0.1:0");
    command
}

/// Submits a letter to oneself. Whether it was accepted.
async fn try_letter(client: &mut Client, device: &Device) -> bool {
    let request = client.send(submit(envelope_from(device, device, vec![7; LETTER]))).await;
    matches!(client.answer(request).await, Response::Accepted(_))
}

async fn fetch_all(client: &mut Client, letters: usize) {
    client.attach().await;
    let mut last = 0;
    for _ in 0..letters {
        last = client.delivery().await.cursor;
    }
    client.acknowledge(last).await;
}

#[tokio::test]
async fn a_disk_full_of_mail_takes_mail_again_when_it_was_fetched() {
    let data = tempfile::tempdir().unwrap();
    let permitted = within(on_small_disk(data.path()).arg("true").output()).await;
    if !permitted.is_ok_and(|output| output.status.success()) {
        println!("a small disk: skipped, because mounts are not permitted here");
        return;
    }
    let mut command = on_small_disk(data.path());
    command.arg(crate::PROGRAM).kill_on_drop(true);
    let relay = Process::start_as(command, data.path(), &["--json"]).await;
    let ready: Value = serde_json::from_str(&relay.first_line).unwrap();
    let monitoring: SocketAddr = ready["monitoring"].as_str().unwrap().parse().unwrap();
    assert_eq!(get(monitoring, "/readyz").await.0, 200);

    let devices: [Device; 4] = std::array::from_fn(|_| Device::new());
    let mut clients = Vec::new();
    for device in &devices {
        clients.push(Client::register(&relay.url, device).await);
    }
    let mut letters = [0; 4];
    let mut refused_since = Instant::now();
    while refused_since.elapsed() < REFUSED_FOR {
        // Each in turn, so that none has more than its share.
        for (i, device) in devices.iter().enumerate() {
            if try_letter(&mut clients[i], device).await {
                letters[i] += 1;
                refused_since = Instant::now();
            } else {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    let accepted: usize = letters.iter().sum();
    assert!(accepted * LETTER > 12 << 20, "more than half of the disk is mail: {accepted} letters");
    let (status, says) = get(monitoring, "/readyz").await;
    assert_eq!((status, says.as_str()), (503, "no space left: new mail is refused\n"));

    for (client, letters) in clients.iter_mut().zip(letters) {
        fetch_all(client, letters).await;
    }
    // It sees by itself that there is room: nothing but the look at /readyz asks for it.
    let begun = Instant::now();
    while get(monitoring, "/readyz").await.0 != 200 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", get(monitoring, "/readyz").await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for _ in 0..20 {
        for (client, device) in clients.iter_mut().zip(&devices) {
            assert!(try_letter(client, device).await, "the room that the fetched mail left is used");
        }
    }
    assert_eq!(get(monitoring, "/readyz").await.0, 200);
    let metrics = get(monitoring, "/metrics").await.1;
    assert!(metrics.contains("kuvert_relay_database_reusable_bytes "), "{metrics}");
    let keys = Request::PublishPrekeys(prekeys(1, 10, true));
    assert!(!matches!(clients[0].ask(keys).await, Response::Error(_)));

    let (code, log) = relay.stop("-TERM").await;
    assert_eq!(code, Some(0), "{log}");
    let turns: Vec<bool> = log
        .lines()
        .filter_map(|line| {
            let full = line.contains("no space left");
            (full || line.contains("there is space again")).then_some(full)
        })
        .collect();
    assert!(turns.first() == Some(&true) && turns.last() == Some(&false), "{log}");
    assert!(turns.windows(2).all(|pair| pair[0] != pair[1]), "one line for each turn: {log}");
    assert!(turns.len() <= 12, "it does not flap: {log}");
}

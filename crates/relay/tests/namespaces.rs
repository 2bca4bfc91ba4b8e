//! A relay and its client on two hosts of their own: two network namespaces with a cable between them. The cable is pulled, the
//! client's address changes, the way back leads into a black hole. Mail flows again without anybody's help, on the same
//! connection.
//!
//! The faults are made with `ip`, so this needs no `netem`. Where namespaces are not permitted, or `ip`, `unshare` or
//! `nsenter` are missing, it says that it is skipped; `relay/network.rs` makes faults within a process and runs everywhere.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "relay/common/mod.rs"]
mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use kuvert_types::RelayUrl;
use kuvert_wire::v1::server_frame::Body as Response;

use common::*;

/// Set for the copy that is in a namespace.
const INSIDE: &str = "KUVERT_TEST_NAMESPACE";

const RELAY: &str = "10.77.0.1";
const CLIENT: &str = "10.77.0.2";
const CLIENT_LATER: &str = "10.77.0.3";

fn main() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(scenario());
    }
    // A user namespace makes one's own network namespaces anybody's right, where the system allows that.
    let within = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", program]).env(INSIDE, "1");
        command
    };
    let permitted =
        within("sh").args(["-c", "ip link add client type veth peer name relay && nsenter --version"]).output();
    if !permitted.is_ok_and(|output| output.status.success()) {
        println!("namespaces: skipped, because they are not permitted here, or ip, unshare or nsenter are missing");
        return;
    }
    let status = within(std::env::current_exe().unwrap().to_str().unwrap()).status().unwrap();
    assert!(status.success());
}

/// The relay's host: a process in a namespace of its own.
struct Host {
    child: Child,
    stdin: ChildStdin,
}

impl Host {
    fn start(data: &std::path::Path) -> Self {
        // It waits for its cable.
        let serve = format!("read go; exec \"$0\" serve --data \"$1\" --listen {RELAY}:4433");
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", &serve, env!("CARGO_BIN_EXE_kuvert-relay")])
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin }
    }

    fn serve(&mut self) -> RelayUrl {
        self.stdin.write_all(b"go\n").unwrap();
        let mut line = String::new();
        BufReader::new(self.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("kuvert://")).unwrap();
        url.parse().unwrap()
    }

    fn ip(&self, arguments: &str) {
        let pid = self.child.id().to_string();
        let inside = ["-t", &pid, "-n", "ip"];
        run(Command::new("nsenter").args(inside).args(arguments.split(' ')));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = (self.child.kill(), self.child.wait());
    }
}

fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split(' ')));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn scenario() {
    let data = tempfile::tempdir().unwrap();
    let mut host = Host::start(&data.path().join("data"));
    ip("link add client type veth peer name relay");
    // The other namespace is there once the process has changed into it.
    within(async {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        while namespace(&host.child.id().to_string()) == namespace("self") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    ip(&format!("link set relay netns {}", host.child.id()));
    ip(&format!("addr add {CLIENT}/24 dev client"));
    ip("link set client up");
    host.ip(&format!("addr add {RELAY}/24 dev relay"));
    host.ip("link set relay up");
    host.ip("link set lo up");
    let url = host.serve();

    let device = Device::new();
    let mut client = Client::register(&url, &device).await;
    client.attach().await;
    mail_flows(&mut client, &device, "over a good cable").await;

    // The cable is pulled while something is under way.
    host.ip("link set relay down");
    let request = client.send(submit(envelope(&device, "cable"))).await;
    tries(&client, 3).await;
    host.ip("link set relay up");
    arrives(&mut client, request, "cable").await;

    // The client moves to another address.
    ip(&format!("addr add {CLIENT_LATER}/24 dev client"));
    ip(&format!("addr del {CLIENT}/24 dev client"));
    // Deleting the first address of a network takes the others with it, unless the system is set otherwise.
    ip(&format!("addr replace {CLIENT_LATER}/24 dev client"));
    mail_flows(&mut client, &device, "from another address").await;

    // What the relay answers gets lost for a while: it goes to a network card that does not exist.
    host.ip(&format!("neigh replace {CLIENT_LATER} lladdr 02:00:00:00:00:99 dev relay nud permanent"));
    let request = client.send(submit(envelope(&device, "black hole"))).await;
    tries(&client, 3).await;
    host.ip(&format!("neigh del {CLIENT_LATER} dev relay"));
    arrives(&mut client, request, "black hole").await;

    assert!(client.connection.close_reason().is_none(), "it is the first connection still");
    println!("namespaces: cable pulled, address changed, black hole: 0 lost");
}

/// Waits until the client has sent so many more packets in vain.
async fn tries(client: &Client, count: u64) {
    let sent = || client.connection.stats().udp_tx.datagrams;
    let before = sent();
    within(async {
        while sent() < before + count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn mail_flows(client: &mut Client, device: &Device, text: &'static str) {
    let request = client.send(submit(envelope(device, text))).await;
    arrives(client, request, text).await;
}

/// The submit is answered, and what it holds is delivered and acknowledged.
async fn arrives(client: &mut Client, request: u64, text: &'static str) {
    let answer = client.answer(request).await;
    assert!(matches!(answer, Response::Accepted(_)), "{answer:?}");
    let delivery = loop {
        match client.unasked().await {
            Response::Delivery(delivery) => break delivery,
            Response::CaughtUp(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(delivery.envelope.unwrap().ciphertext, text.as_bytes());
    client.acknowledge(delivery.cursor).await;
}

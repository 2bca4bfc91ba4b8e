//! A relay and its client on hosts of their own: network namespaces with cables between them. First two hosts and one cable: it
//! is pulled, the client's address changes, the way back leads into a black hole. Then a router between the two that loses,
//! delays, reorders and repeats datagrams, and forgets who they are from. Mail flows again without a user's help, on the
//! same connection.
//!
//! The faults are made with `ip` and with a router of our own, so this needs no `netem`. Where namespaces are not permitted, or `ip`, `unshare` or
//! `nsenter` are missing, it says that it is skipped; `relay/network.rs` makes faults within a process and runs everywhere.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "relay/common/mod.rs"]
mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kuvert_relay::{Clock, Config, RunningRelay};
use kuvert_relay_sqlite::embedded::{self, StartError};
use kuvert_types::RelayUrl;
use kuvert_wire::v1::server_frame::Body as Response;

use common::network::{Network, mail_flows};
use common::*;

/// The program that these tests are about.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kuvert-relay");

/// A relay as that program serves.
async fn launch(config: Config, clock: Arc<dyn Clock>) -> Result<RunningRelay, StartError> {
    embedded::start(config, clock).await
}

/// Set for the copies that are in a namespace: whose it is.
const INSIDE: &str = "KUVERT_TEST_NAMESPACE";

const RELAY: &str = "10.77.0.1";
const CLIENT: &str = "10.77.0.2";
const CLIENT_LATER: &str = "10.77.0.3";

const ROUTER: &str = "10.78.0.1";
const CLIENT_OF_ROUTER: &str = "10.78.0.2";
const ROUTER_TO_RELAY: &str = "10.79.0.2";
const RELAY_BEHIND: &str = "10.79.0.1";

const PORT: u16 = 4433;

fn main() {
    if let Ok(whose) = std::env::var(INSIDE) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(async {
            if whose == "router" {
                return router().await;
            }
            cable_between_two().await;
            router_between_two().await;
        });
    }
    // A user namespace makes one's own network namespaces anybody's right, where the system allows that.
    let within = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", program]).env(INSIDE, "client");
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

/// A host beside the client's: a process in a namespace of its own.
struct Host {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Host {
    /// The relay, once its cable is there and it is told to go.
    fn relay(address: &str, data: &std::path::Path) -> Self {
        let serve = format!("echo here; read go; exec \"$0\" serve --data \"$1\" --listen {address}:{PORT}");
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &serve, PROGRAM]).arg(data);
        Self::start(command)
    }

    /// Our own, once its cables are there and it is told to go.
    fn router() -> Self {
        let mut command = Command::new("unshare");
        command.arg("--net").arg(std::env::current_exe().unwrap()).env(INSIDE, "router");
        Self::start(command)
    }

    /// Comes back once the process is in its namespace.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut host = Self { child, stdin, stdout };
        assert_eq!(host.hear(), "here\n");
        host
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    fn serve(&mut self) -> RelayUrl {
        self.tell("go");
        let line = self.hear();
        let url = line.split_whitespace().find(|word| word.starts_with("kuvert://")).unwrap();
        url.parse().unwrap()
    }

    /// Takes an end of a cable, with an address.
    fn plug(&self, end: &str, address: &str) {
        ip(&format!("link set {end} netns {}", self.child.id()));
        self.ip(&format!("addr add {address}/24 dev {end}"));
        self.ip(&format!("link set {end} up"));
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

fn cable(one: &str, other: &str) {
    ip(&format!("link add {one} type veth peer name {other}"));
}

/// Takes an end of a cable, with an address.
fn plug(end: &str, address: &str) {
    ip(&format!("addr add {address}/24 dev {end}"));
    ip(&format!("link set {end} up"));
}

fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split(' ')));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn cable_between_two() {
    let data = tempfile::tempdir().unwrap();
    let mut host = Host::relay(RELAY, &data.path().join("data"));
    cable("client", "relay");
    plug("client", CLIENT);
    host.plug("relay", RELAY);
    let url = host.serve();

    let device = Device::new();
    let mut client = Client::register(&url, &device).await;
    client.attach().await;
    one_arrives(&mut client, &device, "over a good cable").await;

    // The cable is pulled while something is under way.
    host.ip("link set relay down");
    let request = client.send(submit(envelope_from(&device, &device, "cable"))).await;
    tries(&client, 3).await;
    host.ip("link set relay up");
    arrives(&mut client, request, "cable").await;

    // The client moves to another address.
    ip(&format!("addr add {CLIENT_LATER}/24 dev client"));
    ip(&format!("addr del {CLIENT}/24 dev client"));
    // Deleting the first address of a network takes the others with it, unless the system is set otherwise.
    ip(&format!("addr replace {CLIENT_LATER}/24 dev client"));
    one_arrives(&mut client, &device, "from another address").await;

    // What the relay answers gets lost for a while: it goes to a network card that does not exist.
    host.ip(&format!("neigh replace {CLIENT_LATER} lladdr 02:00:00:00:00:99 dev relay nud permanent"));
    let request = client.send(submit(envelope_from(&device, &device, "black hole"))).await;
    tries(&client, 3).await;
    host.ip(&format!("neigh del {CLIENT_LATER} dev relay"));
    arrives(&mut client, request, "black hole").await;

    assert!(client.connection.close_reason().is_none(), "it is the first connection still");
    println!("namespaces: cable pulled, address changed, black hole: 0 lost");
}

async fn router_between_two() {
    let data = tempfile::tempdir().unwrap();
    let mut relay = Host::relay(RELAY_BEHIND, &data.path().join("data"));
    let mut router = Host::router();
    cable("home", "front");
    cable("back", "relay");
    plug("home", CLIENT_OF_ROUTER);
    router.plug("front", ROUTER);
    router.plug("back", ROUTER_TO_RELAY);
    relay.plug("relay", RELAY_BEHIND);
    // The client knows the relay by the router's address, as behind a forwarded port.
    let url = RelayUrl { host: ROUTER.into(), ..relay.serve() };
    router.tell("go");
    assert_eq!(router.hear(), "goes\n");

    let device = Device::new();
    let mut client = Client::register(&url, &device).await;
    client.attach().await;
    let mut sent = 0;
    for (loss, twice, delay_ms) in [(0, 0, 40), (20, 5, 0), (10, 10, 40)] {
        router.tell(&format!("weather {loss} {twice} {delay_ms}"));
        assert_eq!(router.hear(), "done\n");
        mail_flows(&mut client, &device, 60).await;
        router.tell("forget");
        assert_eq!(router.hear(), "done\n");
        mail_flows(&mut client, &device, 20).await;
        sent += 80;
    }
    assert!(client.connection.close_reason().is_none(), "it is the first connection still");
    let lost = client.connection.stats().path.lost_packets;
    assert!(lost > 0, "the weather was bad");
    println!(
        "namespaces: a router that loses, delays, reorders, repeats and forgets: {sent} envelopes, {lost} packets lost, 0 mail lost"
    );
}

/// The router's side: does what it is told, until its input ends.
async fn router() {
    println!("here");
    // A thread of its own: reading lines blocks.
    let (told, mut orders) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || std::io::stdin().lines().try_for_each(|line| told.blocking_send(line.unwrap())));
    assert_eq!(orders.recv().await.unwrap(), "go");
    let relay = format!("{RELAY_BEHIND}:{PORT}").parse().unwrap();
    let mut network = Network::between(&format!("{ROUTER}:{PORT}"), relay).await;
    println!("goes");
    while let Some(order) = orders.recv().await {
        let mut words = order.split(' ');
        match words.next() {
            Some("weather") => {
                let mut number = || words.next().unwrap().parse().unwrap();
                network.weather.loss.store(number(), Ordering::Relaxed);
                network.weather.twice.store(number(), Ordering::Relaxed);
                network.weather.delay_ms.store(number(), Ordering::Relaxed);
            }
            Some("forget") => network.rebind().await,
            _ => panic!("{order}"),
        }
        println!("done");
    }
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

async fn one_arrives(client: &mut Client, device: &Device, text: &'static str) {
    let request = client.send(submit(envelope_from(device, device, text))).await;
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

//! What a relay of a given size needs, from what one relay was measured to do: `kuvert-bench scaling`.
//!
//! Figures come from `kuvert-bench relay --json` and from nowhere else; what people do is assumed, in [`PEOPLE`], and so is
//! a machine, in [`NODE`]. Both stand above the tables. `docs/SCALING.md` draws the conclusions.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::report::{insert, plain, table};
use crate::{Failure, Outcome};

const BEGIN: &str = "<!-- figures: written by `kuvert-bench scaling --document`, not by hand -->\n";
const END: &str = "<!-- end of figures -->\n";

/// Mailboxes at each step.
const STEPS: [u64; 7] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// Bytes of ciphertext in the measured envelopes.
const MEASURED_CIPHERTEXT: f64 = 512.0;

/// Bytes in the relay's index for a waiting envelope, at most (`crates/relay-sqlite/src/store/mod.rs`).
const INDEX_PER_WAITING: f64 = 32.0;

/// Bytes in the relay's index for a mailbox: its address, and what waits in it (the same place).
const INDEX_PER_MAILBOX: f64 = 60.0 + 120.0;

/// Bytes of a device's prekeys: 100 one-time KEM prekeys of 1,568 bytes with signatures of 64, 100 curve prekeys of 32, a
/// signed and a last-resort one; pages of 4 KiB take two KEM prekeys.
const PREKEYS_PER_DEVICE: f64 = 50.0 * 4096.0 + 100.0 * 48.0 + 2048.0;

/// Bytes of an account with its device: certificate 245, device list 130, keys, indexes.
const ACCOUNT: f64 = 1024.0;

/// What people are assumed to do.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct People {
    /// Texts that one mailbox's owner sends in a day.
    pub texts_per_day: f64,
    /// Envelopes for each text: itself and its receipts.
    pub envelopes_per_text: f64,
    /// Bytes of ciphertext in an envelope, with padding.
    pub ciphertext: f64,
    /// How much more than on average is sent in the busiest minute.
    pub peak: f64,
    /// Share of the devices that are connected at once.
    pub connected: f64,
    /// Hours that an envelope waits on average: most no time, some until the next morning.
    pub wait_hours: f64,
    /// Bytes on the network for an envelope beside its ciphertext, one way: frame, TLS, QUIC, UDP, IP, acknowledgements.
    pub overhead: f64,
    /// Bytes on the network for a keep-alive with its answer.
    pub keep_alive: f64,
    /// Seconds between keep-alives.
    pub keep_alive_seconds: f64,
    /// Seconds after which all clients are back when a machine's connections are lost.
    pub recovery_seconds: f64,
}

/// The assumptions of the tables.
pub const PEOPLE: People = People {
    texts_per_day: 40.0,
    envelopes_per_text: 2.0,
    ciphertext: 1024.0,
    peak: 4.0,
    connected: 0.25,
    wait_hours: 3.0,
    overhead: 200.0,
    keep_alive: 160.0,
    keep_alive_seconds: 25.0,
    recovery_seconds: 300.0,
};

/// A machine, beside what its store and processor do, which is measured.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Node {
    /// Bytes of memory.
    pub memory: f64,
    /// Bytes of disk.
    pub disk: f64,
    /// Bits a second, each way.
    pub network: f64,
    /// Share of each resource that is planned with.
    pub load: f64,
}

/// The machine of the tables.
pub const NODE: Node = Node { memory: 32.0 * GIB, disk: 2e12, network: 1e9, load: 0.5 };

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// What `kuvert-bench relay --json` prints, as far as it is used here.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Measured {
    enqueue: Enqueue,
    drain: PerSecond,
    live: Live,
    idle: Idle,
    handshake: PerSecond,
    disk: Disk,
    rss_mib: f64,
    machine: serde_json::Value,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
struct Enqueue {
    per_second: f64,
    server_cpu_s_per_100k: f64,
    write_amplification: f64,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
struct PerSecond {
    per_second: f64,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
struct Live {
    max_per_second: f64,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
struct Idle {
    kib_per_connection: f64,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
struct Disk {
    bytes_per_waiting: f64,
}

impl Measured {
    /// Reads the benchmark's JSON.
    ///
    /// # Errors
    /// It is not JSON, or lacks a figure, which the message names; a figure is not positive.
    pub fn read(json: &str) -> Outcome<Self> {
        let measured: Self = serde_json::from_str(json)?;
        let figures = [
            ("enqueue.per_second", measured.enqueue.per_second),
            ("enqueue.server_cpu_s_per_100k", measured.enqueue.server_cpu_s_per_100k),
            ("enqueue.write_amplification", measured.enqueue.write_amplification),
            ("drain.per_second", measured.drain.per_second),
            ("live.max_per_second", measured.live.max_per_second),
            ("idle.kib_per_connection", measured.idle.kib_per_connection),
            ("handshake.per_second", measured.handshake.per_second),
            ("disk.bytes_per_waiting", measured.disk.bytes_per_waiting),
            ("rss_mib", measured.rss_mib),
        ];
        match figures.into_iter().find(|(_, figure)| !(figure.is_finite() && *figure > 0.0)) {
            Some((name, figure)) => Err(Failure::from(format!("{name} is {figure}: no figure to calculate with"))),
            None => Ok(measured),
        }
    }
}

/// What so many mailboxes ask for.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Load {
    /// Mailboxes.
    pub mailboxes: u64,
    /// Connections at once.
    pub connected: f64,
    /// Envelopes a second at the peak.
    pub envelopes: f64,
    /// Envelopes that wait.
    pub waiting: f64,
    /// Bytes of memory for connections and index.
    pub memory: f64,
    /// Bytes on the disk for mail.
    pub mail_disk: f64,
    /// Bytes on the disk for accounts and prekeys.
    pub directory_disk: f64,
    /// Bytes written to the disk in a second, at the peak.
    pub written: f64,
    /// Bits a second on the network, each way, at the peak.
    pub network: f64,
    /// Processor seconds in a second for accepting envelopes, at the peak.
    pub processor: f64,
}

/// How many machines a resource asks for.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Need {
    /// The resource.
    pub resource: &'static str,
    /// Machines, as a fraction.
    pub nodes: f64,
}

/// One step of growth.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Step {
    /// What is asked for.
    pub load: Load,
    /// By resource.
    pub needs: Vec<Need>,
    /// Whole machines.
    pub nodes: u64,
    /// What decides that.
    pub first: &'static str,
}

/// The tables.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Model {
    /// Assumed.
    pub people: People,
    /// Assumed.
    pub node: Node,
    /// Where the figures were taken.
    pub machine: serde_json::Value,
    /// By number of mailboxes.
    pub steps: Vec<Step>,
    #[serde(skip)]
    measured: Measured,
}

impl Model {
    /// Calculates.
    pub fn new(measured: Measured) -> Self {
        let steps = STEPS.map(|mailboxes| step(&measured, mailboxes)).into();
        Self { people: PEOPLE, node: NODE, machine: measured.machine.clone(), steps, measured }
    }

    /// For programs.
    ///
    /// # Errors
    /// None in practice: the model is plain numbers.
    pub fn json(&self) -> Outcome<serde_json::Value> {
        Ok(serde_json::to_value(self)?)
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        plain(&self.markdown())
    }

    /// `document` with the tables between its two marks; `None` if it has none.
    pub fn insert_into(&self, document: &str) -> Option<String> {
        insert(document, (BEGIN, END), &self.markdown())
    }

    /// All tables as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "Measured on: {}\n", machine_words(&self.machine));
        self.units(&mut out);
        self.loads(&mut out);
        self.nodes(&mut out);
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn units(&self, out: &mut String) {
        let Measured { enqueue, drain, live, idle, handshake, disk, rss_mib, machine: _ } = &self.measured;
        let per_envelope = MEASURED_CIPHERTEXT * enqueue.write_amplification;
        out.push_str("### What one thing costs\n\n");
        let rows = [
            ("accepting an envelope, durably", format!("{:.1} µs of processor", enqueue.server_cpu_s_per_100k * 10.0)),
            (
                "an envelope's way to the disk and off it",
                format!("{per_envelope:.0} B written for 512 B of ciphertext"),
            ),
            ("a waiting envelope", format!("{:.0} B of disk, at most 32 B of memory", disk.bytes_per_waiting)),
            ("a connection at rest", format!("{:.1} KiB of memory", idle.kib_per_connection)),
            ("a mailbox", format!("{} of disk, nearly all of it prekeys", bytes(PREKEYS_PER_DEVICE + ACCOUNT))),
            ("one relay, at most: accepted", format!("{:.0} a second", enqueue.per_second)),
            ("one relay, at most: drained", format!("{:.0} a second", drain.per_second)),
            ("one relay, at most: live, both ends there", format!("{:.0} a second", live.max_per_second)),
            ("one relay, at most: handshakes", format!("{:.0} a second", handshake.per_second)),
            ("an empty relay's share", format!("{rss_mib:.0} MiB of memory")),
        ];
        table(out, &["what", "costs"], rows.map(|(what, costs)| [what.to_owned(), costs]));
    }

    fn loads(&self, out: &mut String) {
        out.push_str("### What so many mailboxes ask for, at the peak\n\n");
        let rows = self.steps.iter().map(|Step { load, .. }| {
            [
                count(load.mailboxes as f64),
                count(load.connected),
                count(load.envelopes),
                count(load.waiting),
                bytes(load.memory),
                bytes(load.mail_disk),
                bytes(load.directory_disk),
                format!("{}/s", bytes(load.written)),
                bits(load.network),
                format!("{:.2}", load.processor),
            ]
        });
        let heads = [
            "mailboxes",
            "connected",
            "envelopes/s",
            "waiting",
            "memory",
            "mail on disk",
            "accounts, prekeys on disk",
            "disk writes",
            "network, each way",
            "processors accepting",
        ];
        table(out, &heads, rows);
    }

    fn nodes(&self, out: &mut String) {
        out.push_str("### Machines, by what they are needed for\n\n");
        let rows = self.steps.iter().map(|step| {
            let need = |at: usize| step.needs.get(at).map_or_else(String::new, |need| fraction(need.nodes));
            let mailboxes = count(step.load.mailboxes as f64);
            let (first, nodes) = (step.first.to_owned(), count(step.nodes as f64));
            [mailboxes, need(0), need(1), need(2), need(3), need(4), need(5), first, nodes]
        });
        let heads = [
            "mailboxes",
            RESOURCES[0],
            RESOURCES[1],
            RESOURCES[2],
            RESOURCES[3],
            RESOURCES[4],
            RESOURCES[5],
            "first",
            "machines",
        ];
        table(out, &heads, rows);
    }
}

/// In the order of the table's columns.
const RESOURCES: [&str; 6] = ["store", "live path", "memory", "disk", "network", "handshakes"];

fn step(measured: &Measured, mailboxes: u64) -> Step {
    let load = load(measured, mailboxes);
    let store = measured.enqueue.per_second.min(measured.drain.per_second);
    let base = measured.rss_mib * 1024.0 * 1024.0;
    let nodes = [
        load.envelopes / (store * NODE.load),
        load.envelopes / (measured.live.max_per_second * NODE.load),
        load.memory / (NODE.memory * NODE.load - base),
        (load.mail_disk + load.directory_disk) / (NODE.disk * NODE.load),
        load.network / (NODE.network * NODE.load),
        // All connections at once: what a failure of everything would ask for.
        load.connected / (measured.handshake.per_second * PEOPLE.recovery_seconds),
    ];
    let needs: Vec<Need> = RESOURCES.into_iter().zip(nodes).map(|(resource, nodes)| Need { resource, nodes }).collect();
    let most = needs.iter().copied().max_by(|a, b| a.nodes.total_cmp(&b.nodes));
    let (first, nodes) = most.map_or(("", 0.0), |most| (most.resource, most.nodes));
    Step { load, needs, nodes: nodes.ceil().max(1.0) as u64, first }
}

fn load(measured: &Measured, mailboxes: u64) -> Load {
    let number = mailboxes as f64;
    let connected = number * PEOPLE.connected;
    let per_day = number * PEOPLE.texts_per_day * PEOPLE.envelopes_per_text;
    let envelopes = per_day / 86_400.0 * PEOPLE.peak;
    let waiting = per_day * PEOPLE.wait_hours / 24.0;
    // What an envelope takes beside its ciphertext was measured with another size.
    let row = measured.disk.bytes_per_waiting - MEASURED_CIPHERTEXT + PEOPLE.ciphertext;
    let network = envelopes * (PEOPLE.ciphertext + PEOPLE.overhead)
        + connected * PEOPLE.keep_alive / 2.0 / PEOPLE.keep_alive_seconds;
    Load {
        mailboxes,
        connected,
        envelopes,
        waiting,
        memory: connected * measured.idle.kib_per_connection * 1024.0
            + waiting * INDEX_PER_WAITING
            + number * INDEX_PER_MAILBOX,
        mail_disk: waiting * row,
        directory_disk: number * (PREKEYS_PER_DEVICE + ACCOUNT),
        written: envelopes * PEOPLE.ciphertext * measured.enqueue.write_amplification,
        network: network * 8.0,
        processor: envelopes * measured.enqueue.server_cpu_s_per_100k / 100_000.0,
    }
}

/// 1.2 k, 34 M: two digits that matter.
fn count(value: f64) -> String {
    scaled(value, 1000.0, &["", " k", " M", " G"])
}

fn bytes(value: f64) -> String {
    scaled(value, 1000.0, &[" B", " kB", " MB", " GB", " TB", " PB"])
}

fn bits(value: f64) -> String {
    scaled(value, 1000.0, &[" bit/s", " kbit/s", " Mbit/s", " Gbit/s", " Tbit/s"])
}

fn fraction(nodes: f64) -> String {
    if nodes < 0.01 {
        "< 0.01".to_owned()
    } else if nodes < 10.0 {
        format!("{nodes:.2}")
    } else {
        count(nodes)
    }
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= base {
        let Some(next) = units.next() else { break };
        value /= base;
        unit = next;
    }
    // 5 k rather than 5.0 k, and 0.9 rather than 1.
    let digits = usize::from(value < 10.0 && value.fract() > 0.05);
    format!("{value:.digits$}{unit}")
}

/// The machine in a line: what the relay's benchmark tells of it, or the words that stand there.
fn machine_words(machine: &serde_json::Value) -> String {
    let told =
        |key: &str| machine.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let parts: Vec<String> = ["processor", "processors", "system", "compiler", "profile"]
        .iter()
        .filter_map(|key| Some(if *key == "processors" { format!("{} processors", told(key)?) } else { told(key)? }))
        .collect();
    if parts.is_empty() {
        return machine.as_str().map_or_else(|| machine.to_string(), str::to_owned);
    }
    parts.join(", ")
}

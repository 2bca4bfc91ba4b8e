//! The figures: as JSON for programs, in words for people.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::Outcome;
use crate::plan::Plan;

/// All figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Submits to recipients that are offline.
    pub enqueue: Enqueue,
    /// Recipients that fetch and acknowledge.
    pub drain: Drain,
    /// Delivery while both are connected.
    pub live: Live,
    /// Connections at rest.
    pub idle: Idle,
    /// New connections.
    pub handshake: Handshake,
    /// What lies on the disk.
    pub disk: Disk,
    /// Expiry beside inserts.
    pub expiry: Expiry,
    /// The store without a network.
    pub storage: Storage,
    /// The relay's memory at its highest with all envelopes of a round waiting.
    pub rss_mib: f64,
    /// The prototype under the same submits.
    pub prototype: Versus,
    /// Redis with `appendfsync always` on the same work, in turns; `None`: it is not installed.
    pub redis: Option<Redis>,
    /// Latency over load, if it was asked for.
    #[serde(rename = "latency_over_load")]
    pub points: Vec<Point>,
    /// What the disk does by itself.
    pub fsync: Fsync,
}

/// Making 16 KiB durable, again and again, with nothing else running.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Fsync {
    /// In the median.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// The same.
    pub p999_ms: f64,
    /// The longest.
    pub worst_ms: f64,
}

/// See [`Report::enqueue`].
#[derive(Clone, Debug, Serialize)]
pub struct Enqueue {
    /// Envelopes accepted.
    pub per_second: f64,
    /// From submit to the answer that it is durable.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// The same.
    pub p999_ms: f64,
    /// CPU seconds of the relay's process for 100,000 envelopes.
    pub server_cpu_s_per_100k: f64,
    /// Bytes written to disk, files at rest, over bytes of ciphertext.
    pub write_amplification: f64,
}

/// See [`Report::drain`].
#[derive(Clone, Debug, Serialize)]
pub struct Drain {
    /// Envelopes fetched, with the acknowledgements durable.
    pub per_second: f64,
    /// The same, counting the time until no byte of them is in any file.
    pub per_second_with_erasure: f64,
    /// CPU seconds of the relay's process for 100,000 envelopes.
    pub server_cpu_s_per_100k: f64,
}

/// See [`Report::live`].
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    /// Envelopes per second.
    pub rate: f64,
    /// From submit to delivery.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// The same.
    pub p999_ms: f64,
    /// Delivered with 16 under way in each pair.
    pub max_per_second: f64,
}

/// See [`Report::idle`].
#[derive(Clone, Debug, Serialize)]
pub struct Idle {
    /// Authenticated and attached.
    pub connections: u64,
    /// Of the relay's memory.
    pub kib_per_connection: f64,
}

/// See [`Report::handshake`].
#[derive(Clone, Debug, Serialize)]
pub struct Handshake {
    /// Completed.
    pub per_second: f64,
    /// Of the relay's process, for each.
    pub server_cpu_ms: f64,
    /// At the client.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// X25519MLKEM768.
    pub post_quantum: bool,
}

/// See [`Report::disk`].
#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    /// Size of the database's files per waiting envelope of 512 bytes.
    pub bytes_per_waiting: f64,
    /// Bytes of delivered envelopes found in those files at the end.
    pub delivered_bytes_left: u64,
}

/// See [`Report::expiry`].
#[derive(Clone, Debug, Serialize)]
pub struct Expiry {
    /// How many expired.
    pub rows: u64,
    /// In which time, while others inserted.
    pub seconds: f64,
    /// The longest that an insert waited.
    pub worst_stall_ms: f64,
    /// Insert rate meanwhile over the rate before.
    pub inserts_ratio: f64,
}

/// See [`Report::storage`].
#[derive(Clone, Debug, Serialize)]
pub struct Storage {
    /// Mailboxes that the rows are spread over.
    pub mailboxes: u64,
    /// Rows waiting at the two measurements.
    pub rows: [u64; 2],
    /// Inserts there.
    pub per_second: [f64; 2],
    /// Of a bare table.
    pub bare_per_second: [f64; 2],
    /// The relay's rate with many rows over its rate with few.
    pub many_over_few: f64,
    /// Bytes on disk with many rows, files at rest.
    pub bytes_per_waiting: f64,
    /// Opening it again.
    pub start: Start,
}

/// See [`Storage::start`].
#[derive(Clone, Debug, Serialize)]
pub struct Start {
    /// Waiting.
    pub rows: u64,
    /// Until it serves.
    pub seconds: f64,
}

/// See [`Report::prototype`].
#[derive(Clone, Debug, Serialize)]
pub struct Versus {
    /// Envelopes accepted.
    pub per_second: f64,
    /// As [`Enqueue::p50_ms`].
    pub p50_ms: f64,
    /// As [`Enqueue::p99_ms`].
    pub p99_ms: f64,
    /// As [`Enqueue::server_cpu_s_per_100k`].
    pub server_cpu_s_per_100k: f64,
    /// The relay's rate over the prototype's, median of the rounds.
    pub ratio: f64,
}

/// See [`Report::redis`].
#[derive(Clone, Debug, Serialize)]
pub struct Redis {
    /// Entries accepted.
    pub per_second: f64,
    /// As [`Enqueue::p50_ms`].
    pub p50_ms: f64,
    /// As [`Enqueue::p99_ms`].
    pub p99_ms: f64,
    /// As [`Enqueue::server_cpu_s_per_100k`].
    pub server_cpu_s_per_100k: f64,
    /// The relay's rate over Redis', median of the rounds.
    pub ratio: f64,
    /// As [`Live::p50_ms`], at the same rate.
    pub live_p50_ms: f64,
    /// As [`Live::p99_ms`], at the same rate.
    pub live_p99_ms: f64,
    /// Its memory at its highest with all entries of a round waiting.
    pub rss_mib: f64,
}

/// One point of the plot.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// Envelopes per second.
    pub offered: f64,
    /// The same.
    pub delivered: f64,
    /// From submit to delivery.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// The same.
    pub p999_ms: f64,
}

/// What hostile clients do to the honest.
#[derive(Clone, Debug, Serialize)]
pub struct Hostile {
    /// Hostile clients at the same time.
    pub clients: u64,
    /// Connections that they tried.
    pub attempts: u64,
    /// Of these, closed or refused by the relay.
    pub turned_away: u64,
    /// Honest envelopes per second.
    pub rate: f64,
    /// Without hostile clients, median of the rounds.
    pub p99_ms_alone: f64,
    /// Beside them, the same.
    pub p99_ms_beside: f64,
    /// Each round's.
    pub p99_ms_each_alone: Vec<f64>,
    /// The same.
    pub p99_ms_each_beside: Vec<f64>,
    /// The one over the other.
    pub p99_ratio: f64,
    /// The relay's memory before.
    pub rss_mib_before: f64,
    /// And at its highest.
    pub rss_mib_peak: f64,
    /// Honest envelopes that were lost or delivered twice.
    pub lost: u64,
    /// What the disk does by itself.
    pub fsync: Fsync,
}

/// The middle one; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

impl Report {
    /// With the conditions. `machine` says where.
    ///
    /// # Errors
    /// A figure is no number.
    pub fn json(&self, plan: &Plan, machine: Value) -> Outcome<Value> {
        Ok(with_conditions(serde_json::to_value(self)?, plan, machine))
    }

    /// For people.
    pub fn text(&self) -> String {
        let Self { enqueue, drain, live, idle, handshake, disk, expiry, storage, prototype, .. } = self;
        let rows: &[(&str, String)] = &[
            ("durable enqueue", format!("{:.0}/s", enqueue.per_second)),
            ("  of the bare prototype", format!("{:.2} × {:.0}/s", prototype.ratio, prototype.per_second)),
            ("  p50 / p99 / p99.9", three(enqueue.p50_ms, enqueue.p99_ms, enqueue.p999_ms)),
            ("  prototype p50 / p99", format!("{:.1} / {:.1} ms", prototype.p50_ms, prototype.p99_ms)),
            ("  server CPU per 100,000", format!("{:.2} s", enqueue.server_cpu_s_per_100k)),
            ("  prototype's", format!("{:.2} s", prototype.server_cpu_s_per_100k)),
            ("  write amplification", format!("{:.2}", enqueue.write_amplification)),
            ("drain", format!("{:.0}/s", drain.per_second)),
            ("  until erased", format!("{:.0}/s", drain.per_second_with_erasure)),
            ("live at a fixed rate", format!("{:.0}/s", live.rate)),
            ("  p50 / p99 / p99.9", three(live.p50_ms, live.p99_ms, live.p999_ms)),
            ("live, at most", format!("{:.0}/s", live.max_per_second)),
            ("handshakes, post-quantum", format!("{:.0}/s", handshake.per_second)),
            ("  server CPU of each", format!("{:.2} ms", handshake.server_cpu_ms)),
            ("idle connections", format!("{}", idle.connections)),
            ("  memory of each", format!("{:.1} KiB", idle.kib_per_connection)),
            ("peak memory, all waiting", format!("{:.1} MiB", self.rss_mib)),
            ("disk per waiting envelope", format!("{:.0} B", disk.bytes_per_waiting)),
            ("delivered bytes left", format!("{}", disk.delivered_bytes_left)),
            ("store, few rows", format!("{:.0}/s (bare {:.0}/s)", storage.per_second[0], storage.bare_per_second[0])),
            ("store, many rows", format!("{:.0}/s (bare {:.0}/s)", storage.per_second[1], storage.bare_per_second[1])),
            ("  many over few", format!("{:.2}", storage.many_over_few)),
            ("  opened with so many rows", format!("{} in {:.1} s", storage.start.rows, storage.start.seconds)),
            ("expired beside inserts", format!("{} in {:.1} s", expiry.rows, expiry.seconds)),
            ("  inserts kept", format!("{:.2}", expiry.inserts_ratio)),
            ("  worst wait of an insert", format!("{:.0} ms", expiry.worst_stall_ms)),
            ("16 KiB made durable", self.fsync.text()),
        ];
        let mut text = table(rows);
        match &self.redis {
            Some(redis) => text += &redis.text(),
            None => text += "redis-server is not installed: not run beside it\n",
        }
        text
    }
}

impl Fsync {
    fn text(&self) -> String {
        let Self { p50_ms, p99_ms, p999_ms, worst_ms } = self;
        format!("p50 / p99 / p99.9 / worst {p50_ms:.2} / {p99_ms:.1} / {p999_ms:.1} / {worst_ms:.0} ms")
    }
}

impl Redis {
    fn text(&self) -> String {
        table(&[
            ("redis, fsync always: enqueue", format!("{:.0}/s (relay {:.2} ×)", self.per_second, self.ratio)),
            ("  p50 / p99", format!("{:.1} / {:.1} ms", self.p50_ms, self.p99_ms)),
            ("  server CPU per 100,000", format!("{:.2} s", self.server_cpu_s_per_100k)),
            ("  live p50 / p99", format!("{:.1} / {:.1} ms", self.live_p50_ms, self.live_p99_ms)),
            ("  peak memory, all waiting", format!("{:.1} MiB", self.rss_mib)),
        ])
    }
}

impl Hostile {
    /// With the conditions.
    ///
    /// # Errors
    /// A figure is no number.
    pub fn json(&self, plan: &Plan, machine: Value) -> Outcome<Value> {
        Ok(with_conditions(json!({ "hostile": serde_json::to_value(self)? }), plan, machine))
    }

    /// For people.
    pub fn text(&self) -> String {
        table(&[
            ("hostile clients", format!("{}", self.clients)),
            ("  connections tried / turned away", format!("{} / {}", self.attempts, self.turned_away)),
            ("honest p99 alone / beside them", format!("{:.1} / {:.1} ms", self.p99_ms_alone, self.p99_ms_beside)),
            ("  ratio", format!("{:.2}", self.p99_ratio)),
            ("relay's memory before / peak", format!("{:.0} / {:.0} MiB", self.rss_mib_before, self.rss_mib_peak)),
            ("honest envelopes lost", format!("{}", self.lost)),
            ("16 KiB made durable", self.fsync.text()),
        ])
    }
}

fn three(a: f64, b: f64, c: f64) -> String {
    format!("{a:.1} / {b:.1} / {c:.1} ms")
}

fn table(rows: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<34}{value}");
    }
    text
}

fn with_conditions(mut figures: Value, plan: &Plan, machine: Value) -> Value {
    if let Value::Object(figures) = &mut figures {
        figures.insert("machine".into(), machine);
        figures.insert("seed".into(), plan.seed.into());
        figures.insert(
            "plan".into(),
            json!({
                "processes": plan.processes,
                "rounds": plan.rounds,
                "senders": plan.senders,
                "outstanding": plan.outstanding,
                "recipients": plan.recipients,
                "envelopes": plan.envelopes,
                "ciphertext_bytes": crate::plan::CIPHERTEXT_BYTES,
                "pairs": plan.pairs,
                "live_seconds": plan.live_seconds,
                "handshakes": plan.handshakes,
            }),
        );
    }
    figures
}

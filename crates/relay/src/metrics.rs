//! What the relay counts about itself, for Prometheus. Numbers about the relay and nothing about its users: no label names
//! an account, a device, an address or a connection, and every label has a short list of values.
//!
//! Names and their meaning stand in [`Metrics::new`]; `packaging/grafana/` shows them, and a test holds the two together.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::blobs::store::BlobGauges;
use crate::command::CommandError;
use crate::figures::Figure;
use crate::store::Gauges;

/// What every name begins with.
const PREFIX: &str = "kuvert_relay";

/// Buckets of request durations: 0.5 ms, doubled up to 16 s.
fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

/// A command and how it ended: `OK` or the error's code.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Answered {
    command: &'static str,
    code: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfCommand {
    command: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Because {
    reason: &'static str,
}

/// Why a peer did not get a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turned {
    /// Too many in all, or too many handshakes under way.
    Full,
    /// Too many from its address, connections or handshakes.
    AddressFull,
    /// Told to prove its address first (QUIC Retry).
    Retry,
    /// TLS or QUIC failed, or took too long.
    Handshake,
}

impl Turned {
    const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::AddressFull => "address_full",
            Self::Retry => "retry",
            Self::Handshake => "handshake",
        }
    }
}

/// What is looked at when the metrics are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Connections that are open.
    pub connections: usize,
    /// What the store holds; `None`: it did not answer.
    pub held: Option<Gauges>,
    /// The files that it keeps; `None`: it keeps none, or did not answer.
    pub blobs: Option<BlobGauges>,
    /// Transfers of them.
    pub transfers: usize,
    /// Bytes of the database.
    pub database_bytes: u64,
    /// Bytes of its write-ahead log.
    pub log_bytes: u64,
    /// Bytes within the database that new mail takes first.
    pub reusable_bytes: u64,
    /// Bytes that are free for the data directory.
    pub free_bytes: u64,
    /// Whether the relay is ready.
    pub ready: bool,
    /// When the last backup was made, Unix milliseconds; `None`: none is known.
    pub last_backup_ms: Option<u64>,
    /// Whether the relay before did not come to its end.
    pub unclean: bool,
    /// By how many milliseconds the clock is ahead of the relay's time while it is in doubt, else 0.
    pub clock_step_ms: i64,
}

/// The counters.
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    request_seconds: Family<OfCommand, Histogram, fn() -> Histogram>,
    connections: Gauge,
    connected: Counter,
    turned_away: Family<Because, Counter>,
    registered: Counter,
    authentication_failures: Counter,
    accepted: Counter,
    accepted_bytes: Counter,
    repeated: Counter,
    dropped: Counter,
    delivered: Counter,
    acknowledged: Counter,
    expired: Counter,
    bundles: Family<Because, Counter>,
    blob_received_bytes: Counter,
    blob_sent_bytes: Counter,
    blobs_expired: Counter,
    blobs: Gauge,
    blob_bytes: Gauge,
    uploads: Gauge,
    transfers: Gauge,
    devices: Gauge,
    waiting: Gauge,
    waiting_bytes: Gauge,
    database_bytes: Gauge,
    log_bytes: Gauge,
    reusable_bytes: Gauge,
    free_bytes: Gauge,
    ready: Gauge,
    clock_step: Gauge,
    last_backup: Gauge,
    unclean: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let r = &mut registry;
        let requests = Family::<Answered, Counter>::default();
        r.register("requests", "Requests answered, by command and code", requests.clone());
        let request_seconds = Family::new_with_constructor(buckets as fn() -> Histogram);
        r.register_with_unit(
            "request_duration",
            "From reading a request to having its answer",
            Unit::Seconds,
            request_seconds.clone(),
        );
        let turned_away = Family::<Because, Counter>::default();
        r.register("turned_away", "Peers that got no connection, by reason", turned_away.clone());
        let bundles = Family::<Because, Counter>::default();
        r.register("bundles", "Prekey bundles handed out, with or without one-time prekeys", bundles.clone());
        r.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self {
            connections: gauge(r, "connections", "Connections that are open"),
            connected: counter(r, "connections_opened", "Connections made"),
            registered: counter(r, "registrations", "Accounts registered"),
            authentication_failures: counter(r, "authentication_failures", "Claims to be a device without its key"),
            accepted: counter(r, "envelopes_accepted", "Envelopes stored"),
            accepted_bytes: counter(r, "ciphertext_accepted_bytes", "Ciphertext stored"),
            repeated: counter(r, "envelopes_repeated", "Envelopes submitted again while they waited"),
            dropped: counter(r, "envelopes_dropped", "Envelopes dropped because their recipients blocked the senders"),
            delivered: counter(
                r,
                "envelopes_delivered",
                "Envelopes sent to their devices, again after a lost connection",
            ),
            acknowledged: counter(r, "envelopes_acknowledged", "Envelopes deleted because they were delivered"),
            expired: counter(r, "envelopes_expired", "Envelopes deleted because nobody fetched them in time"),
            blob_received_bytes: counter(r, "blob_received_bytes", "Bytes of files that were uploaded"),
            blob_sent_bytes: counter(r, "blob_sent_bytes", "Bytes of files that were read"),
            blobs_expired: counter(r, "blobs_expired", "Files and uploads deleted because their time was over"),
            blobs: gauge(r, "blobs", "Files that wait for their readers"),
            blob_bytes: gauge(r, "blob_bytes", "Their bytes"),
            uploads: gauge(r, "blob_uploads", "Uploads that are not complete"),
            transfers: gauge(r, "blob_transfers", "Transfers of files under way"),
            devices: gauge(r, "devices", "Devices"),
            waiting: gauge(r, "envelopes_waiting", "Envelopes that wait"),
            waiting_bytes: gauge(r, "ciphertext_waiting_bytes", "Their ciphertext"),
            database_bytes: gauge(r, "database_bytes", "Size of the database"),
            log_bytes: gauge(r, "database_log_bytes", "Size of its write-ahead log"),
            reusable_bytes: gauge(r, "database_reusable_bytes", "Room within the database that new mail takes first"),
            free_bytes: gauge(r, "disk_free_bytes", "Free space for the data directory"),
            ready: gauge(r, "ready", "1 if /readyz says so"),
            last_backup: gauge(
                r,
                "last_backup_timestamp_seconds",
                "When the last backup was made, seconds since 1970; 0: none is known",
            ),
            unclean: gauge(
                r,
                "last_stop_unclean",
                "1 if the relay was killed, or the machine failed, before this start",
            ),
            clock_step: gauge(
                r,
                "clock_step_seconds",
                "By how much the clock is ahead of the relay's time while it is in doubt and nothing expires, else 0",
            ),
            requests,
            request_seconds,
            turned_away,
            bundles,
            registry,
        }
    }

    /// A request was answered.
    pub fn answered<T>(&self, command: &'static str, took: Duration, answer: &Result<T, CommandError>) {
        let code = answer.as_ref().map_or_else(|refusal| refusal.code.as_str_name(), |_| "OK");
        self.requests.get_or_create(&Answered { command, code }).inc();
        self.request_seconds.get_or_create(&OfCommand { command }).observe(took.as_secs_f64());
    }

    /// A peer got no connection.
    pub fn turned_away(&self, reason: Turned) {
        self.turned_away.get_or_create(&Because { reason: reason.label() }).inc();
    }

    /// A connection was made.
    pub fn connected(&self) {
        self.connected.inc();
    }

    /// An account registered.
    pub fn registered(&self) {
        self.registered.inc();
    }

    /// A peer did not prove that it is the device that it claimed to be.
    pub fn authentication_failed(&self) {
        self.authentication_failures.inc();
    }

    /// An envelope of so many bytes of ciphertext was stored.
    pub fn accepted(&self, size: usize) {
        self.accepted.inc();
        self.accepted_bytes.inc_by(size as u64);
    }

    /// An envelope came that waited already.
    pub fn repeated(&self) {
        self.repeated.inc();
    }

    /// An envelope was dropped: its recipient has blocked its sender.
    pub fn dropped(&self) {
        self.dropped.inc();
    }

    /// An envelope is on its way to its recipient.
    pub fn delivered(&self) {
        self.delivered.inc();
    }

    /// So many envelopes were acknowledged.
    pub fn acknowledged(&self, count: u64) {
        self.acknowledged.inc_by(count);
    }

    /// So many envelopes expired.
    pub fn expired(&self, count: u64) {
        self.expired.inc_by(count);
    }

    /// A prekey bundle was handed out: with one-time prekeys, or with the last resort.
    pub fn bundle_taken(&self, one_time: bool) {
        let reason = if one_time { "one_time" } else { "last_resort" };
        self.bundles.get_or_create(&Because { reason }).inc();
    }

    /// So many bytes of a file came.
    pub fn blob_received(&self, bytes: usize) {
        self.blob_received_bytes.inc_by(bytes as u64);
    }

    /// So many bytes of a file are on their way to a reader.
    pub fn blob_sent(&self, bytes: usize) {
        self.blob_sent_bytes.inc_by(bytes as u64);
    }

    /// So many files and uploads expired.
    pub fn blobs_expired(&self, count: u64) {
        self.blobs_expired.inc_by(count);
    }

    /// All metrics as OpenMetrics, and those of others with them; see [`crate::exposition`].
    ///
    /// # Errors
    /// Formatting into a string has none; the library's signature has.
    pub fn text(&self, sample: &Sample, others: &[Figure]) -> Result<String, fmt::Error> {
        let set = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.connections, sample.connections as u64);
        if let Some(held) = sample.held {
            set(&self.devices, held.devices);
            set(&self.waiting, held.waiting);
            set(&self.waiting_bytes, held.waiting_bytes);
        }
        if let Some(blobs) = sample.blobs {
            set(&self.blobs, blobs.blobs);
            set(&self.blob_bytes, blobs.bytes);
            set(&self.uploads, blobs.uploads);
        }
        set(&self.transfers, sample.transfers as u64);
        set(&self.database_bytes, sample.database_bytes);
        set(&self.log_bytes, sample.log_bytes);
        set(&self.reusable_bytes, sample.reusable_bytes);
        set(&self.free_bytes, sample.free_bytes);
        set(&self.ready, sample.ready.into());
        set(&self.last_backup, sample.last_backup_ms.unwrap_or_default() / 1000);
        set(&self.unclean, sample.unclean.into());
        self.clock_step.set(sample.clock_step_ms / 1000);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        if !others.is_empty() {
            text.truncate(text.trim_end_matches(END).len());
            others.iter().for_each(|figure| figure.write(PREFIX, &mut text));
            text.push_str(END);
        }
        Ok(text)
    }
}

/// How OpenMetrics ends.
const END: &str = "# EOF\n";

fn counter(registry: &mut Registry, name: &'static str, help: &'static str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &'static str, help: &'static str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

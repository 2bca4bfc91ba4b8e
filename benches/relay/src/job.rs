//! What a load process is told and what it answers: one JSON line each. Between them it says [`READY`] once all its
//! connections stand, and begins when it reads [`GO`].

use serde::{Deserialize, Serialize};

/// Everything is connected.
pub const READY: &str = "ready";

/// Begin.
pub const GO: &str = "go";

/// Where the server is, and which.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// `kuvert://…`
    pub url: String,
    /// The prototype: without authentication.
    pub bare: bool,
}

/// Devices by number: the first and how many.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Range {
    /// The first one.
    pub first: usize,
    /// How many.
    pub count: usize,
}

impl Range {
    /// Their numbers.
    pub fn iter(self) -> std::ops::Range<usize> {
        self.first..self.first + self.count
    }

    /// The `part`-th of `parts` nearly equal pieces.
    pub fn part(self, part: usize, parts: usize) -> Self {
        let cut = |part| self.count * part / parts;
        Self { first: self.first + cut(part), count: cut(part + 1) - cut(part) }
    }
}

/// A load process's work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Serve as the prototype until stdin closes. `data` is its directory.
    Bare {
        /// Where it keeps its files.
        data: String,
    },
    /// Register devices and hang up.
    Register {
        /// Which.
        devices: Range,
    },
    /// Submit `count` envelopes from each sender to recipients drawn from `recipients`.
    Enqueue {
        /// One connection each.
        senders: Range,
        /// None of them is connected.
        recipients: Range,
        /// Of each sender.
        count: usize,
        /// Submits under way on each connection.
        outstanding: usize,
    },
    /// Attach and acknowledge until nothing is left.
    Drain {
        /// Whose mailboxes.
        devices: Range,
    },
    /// Deliver live: even devices send to the odd one behind them.
    Live {
        /// Pairs, so an even count.
        devices: Range,
        /// Envelopes per second of all pairs; `None`: as many as go with `outstanding` under way in each pair.
        rate: Option<f64>,
        /// Envelopes of a pair that were sent and not delivered yet, at most.
        outstanding: usize,
        /// How long.
        seconds: f64,
    },
    /// Connect and close.
    Handshake {
        /// How many.
        count: usize,
        /// At once.
        concurrent: usize,
    },
    /// Register, attach and rest until stdin closes.
    Idle {
        /// One connection each.
        devices: Range,
    },
    /// As `Enqueue`, to Redis.
    RedisEnqueue {
        /// One connection each.
        senders: Range,
        /// A stream each.
        recipients: Range,
        /// Of each sender.
        count: usize,
        /// Entries under way on each connection.
        outstanding: usize,
    },
    /// As `Live` at a fixed rate, through Redis.
    RedisLive {
        /// Two connections each.
        pairs: Range,
        /// Entries per second of all pairs.
        rate: f64,
        /// How long.
        seconds: f64,
    },
    /// Misbehave until stdin closes.
    Hostile {
        /// One client each, in five kinds by turns.
        devices: Range,
    },
    /// The store without a network.
    Storage {
        /// An empty directory.
        data: String,
        /// Mailboxes.
        mailboxes: usize,
        /// Rows at which the insert rate is measured.
        rows: [usize; 2],
        /// Rows inserted for one measurement.
        sample: usize,
        /// Rows waiting when the store is opened again.
        rows_at_start: usize,
        /// Rows that expire.
        expiring: usize,
    },
}

/// All that a load process needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Whence keys and bodies come.
    pub seed: u64,
    /// Tells the envelopes of one round from those of another.
    pub round: u64,
    /// The server, for work that needs one.
    pub target: Option<Target>,
    /// What to do.
    pub work: Work,
}

/// What a load process did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Done {
    /// Envelopes accepted, delivered or handshakes completed: whatever the work was.
    pub count: u64,
    /// Of these, envelopes that came a second time or were not sent in this run.
    pub wrong: u64,
    /// From the beginning to the last of them.
    pub seconds: f64,
    /// Microseconds of each, unsorted, where the work has a latency.
    pub latencies: Vec<u32>,
    /// Storage only.
    pub storage: Option<Storage>,
    /// Hostile only: connections that the server closed or refused.
    pub turned_away: u64,
}

/// Figures of the storage scenario.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Storage {
    /// Rows waiting at the two measurements.
    pub rows: [u64; 2],
    /// Mailboxes.
    pub mailboxes: u64,
    /// Rows per second of the relay's store there.
    pub per_second: [f64; 2],
    /// The same of the bare table.
    pub bare_per_second: [f64; 2],
    /// Rows waiting when it was opened.
    pub start_rows: u64,
    /// Seconds until it served.
    pub start_seconds: f64,
    /// Rows that expired.
    pub expired: u64,
    /// Seconds for that, without inserts beside it.
    pub expiry_seconds: f64,
    /// The longest that an insert waited meanwhile, milliseconds.
    pub worst_stall_ms: f64,
    /// Insert rate during expiry as part of the one before it.
    pub inserts_ratio: f64,
    /// Bytes on disk per waiting row.
    pub bytes_per_waiting: f64,
}

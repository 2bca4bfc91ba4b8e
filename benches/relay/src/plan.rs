//! How much of everything. Every scenario is bounded in count, and in time by [`Plan::patience`].

use std::time::Duration;

/// Bytes of ciphertext in each envelope: a short text, padded and sealed.
pub const CIPHERTEXT_BYTES: usize = 512;

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whence keys, recipients and bodies come.
    pub seed: u64,
    /// How long the disk is looked at before anything runs.
    pub fsync: Duration,
    /// Load processes beside each other.
    pub processes: usize,
    /// Rounds of enqueue and drain, relay and prototype in turn; the median counts.
    pub rounds: usize,
    /// Devices that send.
    pub senders: usize,
    /// Submits that a sender has under way.
    pub outstanding: usize,
    /// Devices that are offline while they are written to.
    pub recipients: usize,
    /// Envelopes of a round.
    pub envelopes: usize,
    /// Pairs of a sender and an attached receiver for live delivery.
    pub pairs: usize,
    /// Envelopes per second at which live latency is measured.
    pub live_rate: u32,
    /// Seconds of each live measurement.
    pub live_seconds: u32,
    /// Further rates for the plot.
    pub plot_rates: Vec<u32>,
    /// Connections made and closed.
    pub handshakes: usize,
    /// Connections that are held.
    pub idle: usize,
    /// How long the idle ones rest before the relay's memory is read.
    pub rest: Duration,
    /// Mailboxes of the storage scenario.
    pub mailboxes: usize,
    /// Rows at which its insert rate is measured: few, then many.
    pub rows: [usize; 2],
    /// Rows inserted for one measurement.
    pub row_sample: usize,
    /// Rows waiting when the store is opened again.
    pub rows_at_start: usize,
    /// Rows that expire.
    pub expiring: usize,
    /// Anything that takes longer than this has failed.
    pub patience: Duration,
}

impl Plan {
    /// The figures that are published.
    pub fn full(seed: u64) -> Self {
        Self {
            seed,
            fsync: Duration::from_secs(5),
            processes: 2,
            rounds: 3,
            senders: 100,
            outstanding: 16,
            recipients: 1_000,
            envelopes: 100_000,
            pairs: 50,
            live_rate: 2_000,
            live_seconds: 10,
            plot_rates: vec![500, 1_000, 2_000, 4_000, 8_000, 12_000, 16_000, 20_000, 24_000, 28_000, 32_000],
            handshakes: 2_000,
            idle: 10_000,
            rest: Duration::from_secs(5),
            mailboxes: 100_000,
            rows: [400_000, 2_000_000],
            row_sample: 100_000,
            rows_at_start: 1_000_000,
            expiring: 1_000_000,
            patience: Duration::from_secs(300),
        }
    }

    /// Tiny numbers, for tests: every step runs, no figure means anything.
    pub fn quick(seed: u64) -> Self {
        Self {
            fsync: Duration::from_millis(100),
            rounds: 1,
            senders: 4,
            outstanding: 4,
            recipients: 6,
            envelopes: 240,
            pairs: 2,
            live_rate: 50,
            live_seconds: 1,
            plot_rates: vec![20, 40],
            handshakes: 8,
            idle: 10,
            rest: Duration::from_millis(100),
            mailboxes: 20,
            rows: [200, 600],
            row_sample: 100,
            rows_at_start: 400,
            expiring: 300,
            patience: Duration::from_secs(60),
            ..Self::full(seed)
        }
    }
}

/// Numbers from a seed (SplitMix64): the same seed gives the same run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// One sequence for each seed and stream.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Self(seed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03));
        mixed.word();
        mixed
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0; the bias is below 2⁻³² for the bounds used here.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound.max(1) as u64) as usize
    }

    /// Fills a buffer.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.word().to_le_bytes()[..chunk.len()]);
        }
    }
}

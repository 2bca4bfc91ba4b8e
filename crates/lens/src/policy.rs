//! What a client does at a level of the ladder. Policies are public: the attacker knows them.

use kuvert_privacy::registry::Level;

/// When a device confirms that a text has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receipts {
    /// At once.
    Immediate,
    /// After a delay, drawn evenly from 0 to [`JITTER_MS`].
    Jittered,
    /// Never.
    Off,
}

/// The longest delay of a jittered receipt, in milliseconds.
pub const JITTER_MS: u64 = 60_000;

/// A client's policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The level.
    pub level: Level,
    /// The sender stands inside the envelope only, and it comes on a connection of its own that is not authenticated.
    pub sealed_sender: bool,
    /// Content is padded to buckets.
    pub padded: bool,
    /// When receipts go.
    pub receipts: Receipts,
}

impl Policy {
    /// The policy of a level; `receipts` is the choice that L3 leaves.
    pub const fn of(level: Level, receipts: Receipts) -> Self {
        let (sealed_sender, padded) = (matches!(level, Level::L2 | Level::L3), matches!(level, Level::L3));
        Self { level, sealed_sender, padded, receipts: if padded { receipts } else { Receipts::Immediate } }
    }
}

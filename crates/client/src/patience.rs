//! Trying again: a relay that is away, restarts or asks for patience is come back to, with pauses that grow.

use std::time::Duration;

use crate::rng;

/// Between two tries to connect: at first, and at most.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// The longest pause that a relay can ask of a client that comes back.
pub const LONGEST_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// For the log.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Half to one and a half times as long: the clients of a relay that restarted must not all come at once.
pub fn jittered(pause: Duration) -> Duration {
    let [byte] = rng::bytes::<1>();
    pause / 2 + pause * u32::from(byte) / 255
}

//! What the caller chooses when it opens a home, and the clock that it hands in.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kuvert_types::Level;

/// Where the time comes from. Only stored stamps and slow timers read it; waiting for the network uses tokio's timers.
pub trait Clock: Send + Sync {
    /// Unix time in milliseconds.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        // A clock set before 1970 counts as 1970: stamps are for people, nothing secret hangs on them.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}

/// How a home is opened and how patient its connections are.
#[derive(Clone)]
pub struct Options {
    /// The file with the key that seals the store, if it is not `HOME/store.key` (the program reads
    /// `KUVERT_STORE_KEY_FILE`).
    pub store_key_file: Option<PathBuf>,
    /// How long a connection may take to stand, from the first packet to the relay's welcome.
    pub connect_timeout: Duration,
    /// How long the relay may take to answer one request.
    pub request_timeout: Duration,
    /// How long another process on the same home may hold the store or the outbox.
    pub lock_timeout: Duration,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// The level of disclosure to go to, for good; `None`: the one that the home is at.
    pub level: Option<Level>,
    /// The address of this machine that connections leave from; `None`: the one that the system picks.
    pub local_address: Option<IpAddr>,
    /// The home is only looked at: what would change it fails with `home-read-only`, and no other process ever waits for this one.
    pub read_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            store_key_file: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
            level: None,
            local_address: None,
            read_only: false,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            store_key_file,
            connect_timeout,
            request_timeout,
            lock_timeout,
            clock: _,
            level,
            local_address,
            read_only,
        } = self;
        f.debug_struct("Options")
            .field("store_key_file", store_key_file)
            .field("connect_timeout", connect_timeout)
            .field("request_timeout", request_timeout)
            .field("lock_timeout", lock_timeout)
            .field("level", level)
            .field("local_address", local_address)
            .field("read_only", read_only)
            .finish_non_exhaustive()
    }
}

/// What a new account tells the relay about its owner. All is optional, and all is visible to the relay.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Profile {
    /// A name by which others find the account ([`kuvert_types::limits::is_valid_name`]).
    pub name: Option<String>,
    /// A phone number as E.164 writes it ([`kuvert_types::limits::is_valid_phone`]).
    pub phone: Option<String>,
    /// The operator's invitation, where the relay registers invited people only.
    pub invitation: Option<String>,
}

/// How long [`crate::Connection::receive`] goes on.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ReceiveOptions {
    /// Wait for new mail after everything that waited has come, and reconnect when the relay goes away. Without it
    /// the call ends once the relay has nothing left.
    pub follow: bool,
    /// End after this long at the latest.
    pub timeout: Option<Duration>,
    /// End after this many messages. What came beyond is kept and shown by the next call.
    pub max: Option<u64>,
    /// Files of contacts up to so many bytes are fetched; 0: none.
    pub max_file: u64,
    /// A message is told once its files are here, as far as they are fetched. Without it, it is told at once and each file when it is here;
    /// in follow mode alone, for a call that ends earlier fetches none.
    pub files_first: bool,
}

//! The recording as the relay has it at a level: what the registry does not list for that level is gone.

use std::collections::HashMap;

use kuvert_privacy::registry::{Level, Place};
use kuvert_relay_lens::observe::Observed;

use super::stores;

/// Size buckets from L3 on, bytes of ciphertext.
const BUCKETS: [u64; 3] = [1_024, 4_096, 16_384];

/// Requests that only L0 makes: above it no client tells these things.
const AT_L0: [&str; 7] = [
    "phone_code_requested",
    "phone_verified",
    "profile_changed",
    "profile_read",
    "address_book_uploaded",
    "device_reported",
    "disclosure_withdrawn",
];

/// What a reader of a file asks for.
const READING: [&str; 2] = ["file_read", "file_done"];

/// How what happens to a file is called.
const OF_FILES: &str = "file_";

const SUBMITTED: &str = "submitted";
const DROPPED: &str = "dropped";

/// An event.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// Unix milliseconds.
    pub at: u64,
    /// `connected`, `submitted` ….
    pub kind: &'a str,
    /// Ties together what happens on one connection.
    pub connection: Option<u32>,
    /// Where the connection comes from.
    pub ip: Option<&'a str>,
    /// Who did it.
    pub device: Option<&'a str>,
    /// With whom.
    pub other: Option<&'a str>,
    /// Bytes of ciphertext.
    pub size: Option<u64>,
    /// Which file, where it is about one: its upload and its downloads belong together at every level.
    pub file: Option<&'a str>,
    /// Up to L1 how many may read a file.
    pub readers: Option<u64>,
    repeated: bool,
}

impl Sight<'_> {
    /// Whether an envelope came in that was not there yet.
    pub fn is_new_envelope(&self) -> bool {
        self.kind == SUBMITTED && !self.repeated
    }

    /// Whether an envelope came in and was dropped, because its recipient has blocked its sender.
    pub fn is_dropped(&self) -> bool {
        self.kind == DROPPED
    }
}

/// Whether an envelope came in, whatever became of it.
pub fn is_envelope(event: &Observed) -> bool {
    [SUBMITTED, DROPPED].contains(&event.kind.as_str())
}

/// Whether only a client at L0 asks for this.
pub fn is_of_l0(event: &Observed) -> bool {
    AT_L0.contains(&event.kind.as_str())
}

/// The events as the relay has them at `level`.
pub fn at_level(events: &[Observed], level: Level) -> Vec<Sight<'_>> {
    let has = |column| stores(Place::Observations, "event", column, level);
    let (ip, device, other, sender) = (has("ip"), has("device"), has("other"), has("source"));
    let addresses = addresses(events);
    // From L2 on a reader of a file says nothing when it has all of it.
    let silent = |event: &Observed| !sender && event.kind == READING[1];
    let happens = |event: &&Observed| (level == Level::L0 || !is_of_l0(event)) && !silent(event);
    let sights = events.iter().filter(happens).map(|event| {
        // A sealed sender sends on a connection of its own, on which nobody proved who they are. Mail of that kind cannot be
        // dropped because its sender is blocked: the relay would have taken it like any other.
        let unsigned = is_envelope(event) && !sender;
        // Files are read in the same way.
        let nameless = unsigned || READING.contains(&event.kind.as_str()) && !sender;
        let file = event.kind.starts_with(OF_FILES);
        let address = event.connection.and_then(|connection| addresses.get(&connection).copied());
        Sight {
            at: event.at,
            kind: if unsigned { SUBMITTED } else { &event.kind },
            connection: event.connection.filter(|_| !nameless),
            ip: address.filter(|_| ip),
            device: event.device.as_deref().filter(|_| device && !nameless),
            other: event.other.as_deref().filter(|_| other),
            // Files are padded by their senders at every level, and no further.
            size: event.size.map(|bytes| if file { bytes } else { size(bytes, level) }),
            file: event.envelope.as_deref().filter(|_| file),
            readers: event.count.filter(|_| file && sender),
            repeated: event.yes.unwrap_or_default(),
        }
    });
    sights.collect()
}

/// Where each connection comes from.
pub fn addresses(events: &[Observed]) -> HashMap<u32, &str> {
    events.iter().filter_map(|event| Some((event.connection?, event.ip.as_deref()?))).collect()
}

/// A size as it is known at a level, bytes.
pub fn size(bytes: u64, level: Level) -> u64 {
    if level < Level::L3 {
        return bytes;
    }
    let bucket = BUCKETS.into_iter().find(|bucket| bytes <= *bucket);
    bucket.unwrap_or_else(|| bytes.next_multiple_of(BUCKETS[BUCKETS.len() - 1]))
}

//! What the figures are to reach, and whether they do.

use kuvert_protocol::hazmat::primitives::backend::chosen;
use serde::Serialize;

use crate::allocations;
use crate::rows::{FILE, Row, SIZE};
use crate::sizes::Sizes;

/// libsignal 0.101 with its post-quantum ratchet at 256 B, encrypt and decrypt together, and vodozemac 0.11 in the same run on
/// the same machine: nanoseconds, measured in November 2026. libsignal is AGPL and not linked here; its figure is scaled by
/// what vodozemac takes now.
const LIBSIGNAL_THEN: f64 = 13_995.0 + 9_971.0;
const VODOZEMAC_THEN: f64 = 15_207.0 + 2_177.0;

/// One goal.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Goal {
    /// What.
    pub goal: &'static str,
    /// `at most` or `at least`.
    pub bound: &'static str,
    /// This.
    pub limit: f64,
    /// What was measured; `null` if there is nothing to measure.
    pub figure: Option<f64>,
    /// Whether it is reached.
    pub met: bool,
    /// What else has to be known.
    pub detail: String,
}

/// How a figure has to lie to its limit.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Goal {
    pub(crate) fn new(goal: &'static str, bound: Bound, figure: Option<f64>, detail: String) -> Self {
        let (words, limit, met) = match bound {
            Bound::AtMost(limit) => ("at most", limit, figure.is_some_and(|figure| figure <= limit)),
            Bound::AtLeast(limit) => ("at least", limit, figure.is_some_and(|figure| figure >= limit)),
        };
        Self { goal, bound: words, limit, figure, met, detail }
    }
}

/// Every goal with its figure.
pub fn judge(rows: &[Row], sizes: &Sizes) -> Vec<Goal> {
    let row = |name: &str, size| rows.iter().find(|row| row.name == name && row.size == size);
    let ns = |name: &str, size| row(name, size).and_then(|row| row.ns);
    let (encrypt, decrypt) = (row("encrypt", Some(SIZE)), row("decrypt", Some(SIZE)));
    let mut goals = vec![
        Goal::new(
            "encrypt 256 B, times the bound, Braid apart",
            Bound::AtMost(1.2),
            encrypt.and_then(apart_to_bound),
            whole(encrypt, |row| row.ratio_to_bound),
        ),
        Goal::new(
            "encrypt 256 B, times as fast as vodozemac, Braid apart",
            Bound::AtLeast(8.0),
            encrypt.and_then(apart_to_vodozemac),
            whole(encrypt, |row| row.ratio_to_vodozemac),
        ),
        Goal::new(
            "decrypt 256 B, times the bound, Braid apart",
            Bound::AtMost(1.25),
            decrypt.and_then(apart_to_bound),
            whole(decrypt, |row| row.ratio_to_bound),
        ),
    ];
    for (goal, limit) in [("decrypt 256 B, times as fast as vodozemac, Braid apart", 1.2), ("the same, stretch", 1.5)] {
        let figure = decrypt.and_then(apart_to_vodozemac);
        goals.push(Goal::new(goal, Bound::AtLeast(limit), figure, whole(decrypt, |row| row.ratio_to_vodozemac)));
    }

    let both = |of: fn(&Row) -> Option<f64>| Some(encrypt.and_then(of)? + decrypt.and_then(of)?);
    let libsignal = both(|row| row.vodozemac_ns).map(|now| LIBSIGNAL_THEN * now / VODOZEMAC_THEN);
    let share = both(|row| row.ns).zip(libsignal).map(|(ours, theirs)| ours / theirs);
    goals.push(Goal::new(
        "encrypt and decrypt 256 B with the Braid, share of libsignal's with its own",
        Bound::AtMost(0.5),
        share,
        libsignal.map_or_else(String::new, |libsignal| {
            format!("libsignal: {:.1} µs, scaled by vodozemac in this run", libsignal / 1e3)
        }),
    ));

    for (goal, name, primitive) in [
        ("encrypt 16 KiB, share of the raw AEAD's rate", "encrypt", "aead_seal"),
        ("decrypt 16 KiB, share of the raw AEAD's rate", "decrypt", "aead_open"),
    ] {
        let raw = ns(&format!("primitive/{primitive}/{}", chosen::NAMES[0]), Some(16_384));
        let share = |of: Option<f64>| raw.zip(of).map(|(raw, of)| raw / of);
        let bound = share(row(name, Some(16_384)).and_then(|row| row.lower_bound_ns));
        let detail = bound
            .map_or_else(String::new, |bound| format!("the bound itself: {bound:.2}; 16,384 B are padded to 17,408"));
        goals.push(Goal::new(goal, Bound::AtLeast(0.9), share(ns(name, Some(16_384))), detail));
    }

    // A byte of a file beside a byte in the cipher alone: what the digest and the padding cost.
    const CHUNK: usize = 65_536;
    let digest = ns("primitive/sha256/sha2", Some(CHUNK));
    for (goal, name, primitive) in [
        ("seal a file of 1 MiB, share of the raw AEAD's rate", "file_seal", "aead_seal"),
        ("open a file of 1 MiB, share of the raw AEAD's rate", "file_open", "aead_open"),
    ] {
        let raw = ns(&format!("primitive/{primitive}/{}", chosen::NAMES[0]), Some(CHUNK));
        let figure = raw.zip(ns(name, Some(FILE))).map(|(raw, file)| raw * (FILE / CHUNK) as f64 / file);
        let detail = raw.zip(digest).map_or_else(String::new, |(raw, digest)| {
            format!("the cipher and SHA-256 alone, one after the other: {:.2}", raw / (raw + digest))
        });
        goals.push(Goal::new(goal, Bound::AtLeast(0.85), figure, detail));
    }

    for (goal, name) in [
        ("ping-pong, times its bound", "ping_pong"),
        ("establishment, initiator, times its primitives", "establish_out"),
        ("establishment, recipient, times its primitives", "establish_in"),
    ] {
        let found = row(name, Some(SIZE));
        let detail = found
            .and_then(|row| row.post_quantum_ns)
            .map_or_else(String::new, |share| format!("{:.1} µs of it are the Braid's", share / 1e3));
        goals.push(Goal::new(goal, Bound::AtMost(1.05), found.and_then(|row| row.ratio_to_bound), detail));
    }

    for (goal, found) in [("allocations to encrypt 256 B", encrypt), ("allocations to decrypt 256 B", decrypt)] {
        let figure = found.and_then(|row| row.allocations);
        goals.push(Goal::new(goal, Bound::AtMost(1.0), figure, "counted by a test".to_owned()));
    }
    let with_buffers = |name| allocations::of(name, Some(SIZE));
    goals.push(Goal::new(
        "allocations to encrypt and decrypt 256 B with the caller's buffers",
        Bound::AtMost(0.0),
        with_buffers("encrypt_into").zip(with_buffers("decrypt_into")).map(|(encrypt, decrypt)| encrypt + decrypt),
        "counted by a test; AWS-LC makes a short-lived one of its own for each key".to_owned(),
    ));
    goals.push(Goal::new(
        "Braid, µs amortised for send and receive",
        Bound::AtMost(8.0),
        ns("braid", None).map(|ns| ns / 1e3),
        ns("braid_again", None).map_or_else(String::new, |again| {
            format!(
                "a public reference: 53 µs; {:.1} µs of it are done twice, because only seeds are kept",
                again / 1e3
            )
        }),
    ));
    goals.push(Goal::new(
        "fresh state without Braid buffers, bytes",
        Bound::AtMost(1024.0),
        Some(sizes.state_without_braid_buffers as f64),
        format!("with them {}", sizes.state),
    ));
    goals
}

/// Ratio to the bound, both without the post-quantum ratchet.
fn apart_to_bound(row: &Row) -> Option<f64> {
    Some((row.ns? - row.post_quantum_ns?) / (row.lower_bound_ns? - row.post_quantum_bound_ns?))
}

/// Ratio to vodozemac, which has nothing post-quantum, without the post-quantum ratchet.
fn apart_to_vodozemac(row: &Row) -> Option<f64> {
    Some(row.vodozemac_ns? / (row.ns? - row.post_quantum_ns?))
}

fn whole(row: Option<&Row>, ratio: fn(&Row) -> Option<f64>) -> String {
    match row.and_then(|row| Some((ratio(row)?, row.post_quantum_ns?))) {
        Some((ratio, share)) => format!("{ratio:.2} with it; the Braid takes {share:.0} ns"),
        None => String::new(),
    }
}

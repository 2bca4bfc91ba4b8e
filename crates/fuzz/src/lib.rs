//! What each fuzz target does with its bytes. `fuzz/` runs these under libFuzzer, `tests/corpus.rs` over the inputs in
//! `fuzz/corpus/` that were worth keeping. A target panics when something does not hold; see `fuzz/README.md`.
//!
//! | target | checks |
//! |---|---|
//! | [`decoders`] | what decodes is encoded to the same bytes; nothing panics |
//! | [`session`] | two devices, a link that does everything wrong, crashes and backups: no content twice, none altered |
//! | [`dishonest_peer`] | messages that authenticate and break the rules: refused without a change, or within the bounds |
//! | [`relay_requests`] | frames from several connections: an error changes nothing, no connection reaches another's mail |
//! | [`mailboxes`] | the embedded store and the model answer alike; the backend on PostgreSQL does so in its own tests |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a broken invariant has to stop the fuzzer

use std::path::Path;

pub mod decoders;
pub mod dishonest_peer;
pub mod mailboxes;
pub mod relay_requests;
pub mod seeds;
pub mod session;
/// Parties, a store of prekeys and the forger of the protocol's own tests.
#[path = "../../protocol/tests/support/mod.rs"]
#[allow(missing_docs)]
mod support;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 5] = [
    ("decoders", decoders::run),
    ("session", session::run),
    ("dishonest_peer", dishonest_peer::run),
    ("relay_requests", relay_requests::run),
    ("mailboxes", mailboxes::run),
];

/// Reads at most `limit` operations from the input, until it ends.
fn operations<'a, T: arbitrary::Arbitrary<'a>>(input: &'a [u8], limit: usize) -> Vec<T> {
    let mut input = arbitrary::Unstructured::new(input);
    let mut operations = Vec::new();
    while operations.len() < limit && !input.is_empty() {
        let Ok(operation) = input.arbitrary() else { break };
        operations.push(operation);
    }
    operations
}

/// Every checked-in input of a target with its file's name, in the order of the names.
///
/// # Panics
/// There is none.
pub fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<_> = files.map(|file| (file.display().to_string(), std::fs::read(&file).unwrap())).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "a corpus for {target}");
    inputs
}

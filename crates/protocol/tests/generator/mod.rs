//! The test vectors in `tests/vectors/` at the root of the repository: made here, and checked to be what the code makes.
//!
//! `cargo test -p kuvert-protocol vectors` compares; with `KUVERT_WRITE_VECTORS=1` before it, the files are written. They
//! are made inside the crate because other implementations need the values between the layers, which the API hides.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

extern crate std;

mod attachment;
mod braid;
mod encodings;
mod group;
mod handshake;
mod identity;
mod keys;
mod linking;
mod ratchet;
mod relay;
mod sealed_sender;
mod session;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::convert::Infallible;
use std::path::Path;

use data_encoding::HEXLOWER;
use rand_core::{TryCryptoRng, TryRng};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Of the files' form, not of the protocol.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct File {
    layer: &'static str,
    version: u32,
    cases: Vec<Case>,
}

/// One vector.
#[derive(Serialize)]
struct Case {
    name: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    must_reject: Option<bool>,
    inputs: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    draws: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Case {
    fn new(name: impl ToString, description: impl ToString, inputs: Value, outputs: Value) -> Self {
        Self {
            name: name.to_string(),
            description: description.to_string(),
            must_reject: None,
            inputs,
            draws: None,
            outputs: Some(outputs),
            reason: None,
        }
    }

    fn drawn(self, draws: &mut Draws) -> Self {
        Self { draws: Some(draws.take()), ..self }
    }

    fn reject(name: impl ToString, description: impl ToString, inputs: Value, reason: impl ToString) -> Self {
        Self {
            must_reject: Some(true),
            outputs: None,
            reason: Some(reason.to_string()),
            ..Self::new(name, description, inputs, Value::Null)
        }
    }
}

/// Compares the file of a layer with `cases`, or writes it. A name stands once.
fn check(layer: &'static str, cases: Vec<Case>) {
    for (i, case) in cases.iter().enumerate() {
        assert!(cases[..i].iter().all(|other| other.name != case.name), "{layer}: {} twice", case.name);
    }
    let mut text = serde_json::to_string_pretty(&File { layer, version: VERSION, cases }).unwrap();
    text.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/vectors/{layer}.json"));
    if std::env::var_os("KUVERT_WRITE_VECTORS").is_some_and(|value| value == "1") {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    let first = text.lines().zip(checked_in.lines()).position(|(a, b)| a != b);
    assert!(
        text == checked_in,
        "{layer}.json is not what the code makes; first difference: line {:?}",
        first.map(|n| n + 1)
    );
}

/// A generator whose every draw can be listed: SHA-256 in counter mode. What it draws does not matter, only that the
/// list in the file is what the code took, in the order it took it, one entry for each draw.
struct Draws {
    seed: &'static str,
    counter: u64,
    drawn: Vec<String>,
}

impl Draws {
    const fn new(seed: &'static str) -> Self {
        Self { seed, counter: 0, drawn: Vec::new() }
    }

    /// What was drawn since the last call.
    fn take(&mut self) -> Vec<String> {
        core::mem::take(&mut self.drawn)
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("the protocol draws byte strings")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("the protocol draws byte strings")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for block in out.chunks_mut(32) {
            let hash = Sha256::new().chain_update(self.seed).chain_update(self.counter.to_be_bytes()).finalize();
            block.copy_from_slice(&hash[..block.len()]);
            self.counter += 1;
        }
        self.drawn.push(hex(out));
        Ok(())
    }
}

impl TryCryptoRng for Draws {}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

/// `object` with the entries of `more`.
fn with(object: Value, more: Value) -> Value {
    let (Value::Object(mut object), Value::Object(more)) = (object, more) else { panic!("two objects") };
    object.extend(more);
    Value::Object(object)
}

/// Bytes that differ for every name, for inputs that are not drawn.
fn bytes<const N: usize>(name: &str) -> [u8; N] {
    *crate::primitives::kdf::hkdf_sha256::<N>(b"kuvert test vectors", &[name.as_bytes()], &[])
}

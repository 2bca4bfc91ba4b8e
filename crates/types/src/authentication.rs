//! What a device signs to prove itself to a relay [KV-070]: the relay's challenge *and* a value that both ends take from their TLS
//! connection (RFC 8446, section 7.5). A signature is good on that connection only: there is nothing to replay, and a
//! relay in the middle cannot pass it on to another relay.

use crate::address::Address;
use crate::label::RELAY_AUTHENTICATION;

/// Bytes of the relay's challenge, and of the TLS exporter's value.
pub const CHALLENGE_LEN: usize = 32;

const VERSION: u8 = 1;

/// `label "Kuvert/1 relay authentication" ‖ version u8 = 1 ‖ address 20 ‖ challenge 32 ‖ exporter 32`, to be signed with
/// the device's signing key. The exporter's label is [`crate::label::TLS_EXPORTER`], its context the challenge.
pub fn statement(
    address: &Address,
    challenge: &[u8; CHALLENGE_LEN],
    exporter: &[u8; CHALLENGE_LEN],
) -> [u8; 32 + 1 + Address::LEN + 2 * CHALLENGE_LEN] {
    let mut bytes = [0; 32 + 1 + Address::LEN + 2 * CHALLENGE_LEN];
    let mut at = 0;
    let fields: [&[u8]; 5] = [&RELAY_AUTHENTICATION, &[VERSION], &address.to_bytes(), challenge, exporter];
    for field in fields {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    }
    bytes
}

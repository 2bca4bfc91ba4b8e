//! Authenticate: a registered device proves itself on this connection.

use bytes::Bytes;
use kuvert_types::authentication::{CHALLENGE_LEN, statement};
use kuvert_types::{Address, DeviceSigningKey, Signature};
use kuvert_wire::checked;
use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::CommandError;
use super::error::Code;
use crate::connection_number::ConnectionNumber;
use crate::observe::Event;
use crate::shared::Shared;
use crate::store::{FullMailbox, Occupant};

/// What a signature must cover to be good on one connection.
#[derive(Debug)]
pub struct Proof {
    /// Drawn by the relay for this connection.
    pub challenge: [u8; CHALLENGE_LEN],
    /// From this connection's TLS keys, with the challenge as context.
    pub exporter: [u8; CHALLENGE_LEN],
}

impl Proof {
    /// Whether `signature` proves that its maker holds `key` and is the device `address` on this connection.
    pub fn holds(&self, address: &Address, key: &DeviceSigningKey, signature: &Signature) -> bool {
        signature.verify(key.as_bytes(), &statement(address, &self.challenge, &self.exporter)).is_ok()
    }
}

/// Some valid key: for addresses that are not registered, so that they cost as much time as those that are.
const NOBODY: DeviceSigningKey = DeviceSigningKey::from_bytes([
    0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
    0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
]);

/// Checks the proof and answers who is authenticated.
///
/// # Errors
/// `AUTHENTICATION_FAILED`, which does not say whether the address is registered.
pub async fn run(
    service: &Shared,
    connection: ConnectionNumber,
    proof: &Proof,
    request: v1::Authenticate,
) -> Result<(Address, Response), CommandError> {
    let address = checked::address(&checked::required(request.address, "address")?, "address")?;
    let signature = checked::array(&request.signature, "signature").map(Signature::from_bytes)?;
    let known = service.store.device(address).await?;
    let key = known.as_ref().map(|device| device.signing_key);
    let proven = proof.holds(&address, key.as_ref().unwrap_or(&NOBODY), &signature);
    if !proven || key.is_none() {
        service.metrics.authentication_failed();
        service.observe(Event::AuthenticationFailed { connection, claimed: address });
        return Err(CommandError::new(
            Code::AuthenticationFailed,
            "this device is not registered here, or the signature is not for this connection; register first, or check \
             that this is the right relay",
        ));
    }
    service.observe(Event::Authenticated { connection, device: address });
    note_seen(service, address, known.and_then(|device| device.last_seen_day));
    Ok((address, authenticated(service, address).await?))
}

/// Has the day noted on which a device was here, once a day. The answer does not wait for that.
pub(super) fn note_seen(service: &Shared, device: Address, noted: Option<u32>) {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    // A clock that far in the future is wrong in every other way, too.
    let today = u32::try_from(service.clock.now_ms() / DAY_MS).unwrap_or(u32::MAX);
    if noted.is_none_or(|noted| noted < today) {
        drop(service.store.note_seen(device, today));
    }
}

/// What a device is told when it has proven itself.
pub(super) async fn authenticated(service: &Shared, device: Address) -> Result<Response, CommandError> {
    let waiting = service.store.waiting(device).await?;
    let full = service.store.take_full(device).await?;
    Ok(Response::Authenticated(v1::Authenticated {
        waiting: waiting.count,
        waiting_bytes: waiting.bytes,
        expired: waiting.expired,
        // Also in doubt: a relay that was off for long is right, and a clock that is wrong shows by it. What is old to a
        // client goes by the client's clock as well. [KV-022]
        relay_time: service.clock.stamp_ms(),
        full: full.map(into_wire),
    }))
}

/// Who fills the mailbox, for its owner [KV-088].
fn into_wire(full: FullMailbox) -> v1::FullMailbox {
    let occupant = |occupant: Occupant| v1::Occupant {
        account: occupant.account.map(|account| Bytes::copy_from_slice(account.as_bytes())),
        envelopes: occupant.waiting.envelopes,
        bytes: occupant.waiting.bytes,
    };
    v1::FullMailbox { refused: full.refused, largest: full.largest.into_iter().map(occupant).collect() }
}

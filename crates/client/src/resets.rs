//! When the two sides of a session have lost each other.
//!
//! Whoever cannot open something begins a fresh session and says so in its first message. Both halves are bounded in time,
//! so that neither a relay that forges envelopes nor a contact that keeps complaining can make this home work without end.

use kuvert_types::{Address, EnvelopeId};

use crate::bridge;
use crate::error::Error;
use crate::rng;
use crate::state::{self, OutboxRow, PeerRow, Progress, Stored, enqueue};
use crate::store::{Log, Table, Transaction};

/// Between two resets for one device.
pub const INTERVAL_MS: u64 = 60 * 60 * 1000;

/// Undelivered texts are sent again if they are not older than this: an older one was shown as undelivered long enough.
const RESEND_WITHIN_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// Undelivered texts that are sent again, at most.
const MAX_RESENT: usize = 500;

fn is_due(last: u64, now: u64) -> bool {
    // Absolute: a clock that was set back must not put it off for years.
    last == 0 || now.abs_diff(last) >= INTERVAL_MS
}

/// Queues a fresh session with a device, unless one was queued within the hour; whether it did.
pub fn request(tx: &dyn Transaction, device: &Address, now: u64) -> Result<bool, Error> {
    let key = device.to_bytes();
    let mut peer: PeerRow = state::get(tx, Table::Peer, &key)?.unwrap_or_default();
    if !is_due(peer.reset_at, now) {
        return Ok(false);
    }
    peer.reset_at = now.max(1);
    state::put(tx, Table::Peer, &key, &peer)?;
    let content = bridge::draft(rng::envelope_id(), now, bridge::session_reset());
    let row = OutboxRow {
        account: device.account.as_bytes().to_vec(),
        content,
        fresh_session_with: device.device.get(),
        ..OutboxRow::default()
    };
    enqueue(tx, &row)?;
    Ok(true)
}

/// A device could not open something and began a fresh session: texts that it did not confirm are queued again, under
/// their old message ids. What it has already it recognises by them.
pub fn send_again(tx: &dyn Transaction, device: &Address, now: u64) -> Result<usize, Error> {
    let key = device.to_bytes();
    let mut peer: PeerRow = state::get(tx, Table::Peer, &key)?.unwrap_or_default();
    if !is_due(peer.resent_at, now) {
        return Ok(0);
    }
    peer.resent_at = now.max(1);
    state::put(tx, Table::Peer, &key, &peer)?;
    let mut unconfirmed = Vec::new();
    for entry in tx.scan(Log::Message, Some(device.account.as_bytes()), 0, usize::MAX)? {
        let row = Stored::read(&entry)?.row;
        // What is still queued goes out anyway.
        let wanted = row.outgoing && row.progress() == Progress::Accepted;
        if wanted && now.saturating_sub(row.stored_at) <= RESEND_WITHIN_MS {
            unconfirmed.push(row);
        }
    }
    let again = &unconfirmed[unconfirmed.len().saturating_sub(MAX_RESENT)..];
    for row in again {
        let id: EnvelopeId = state::envelope_id(&row.id)?;
        let content = bridge::draft(id, row.sent_at, bridge::text(&row.text));
        // Without a text id: its envelope gets a fresh id, and its message is accepted already.
        enqueue(tx, &OutboxRow { account: row.account.clone(), content, ..OutboxRow::default() })?;
    }
    Ok(again.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Mode, Store};
    use kuvert_types::{AccountId, DeviceId};

    #[test]
    fn resets_are_bounded_in_time_also_when_the_clock_goes_back() {
        let mut store = MemoryStore::new();
        let tx = store.begin(Mode::Write).unwrap();
        let device = Address { account: AccountId::from_bytes([1; 16]), device: DeviceId::PRIMARY };
        let other = Address { account: AccountId::from_bytes([2; 16]), device: DeviceId::PRIMARY };
        let now = 1_000 * INTERVAL_MS;
        assert!(request(&*tx, &device, now).unwrap());
        assert!(!request(&*tx, &device, now + INTERVAL_MS - 1).unwrap());
        assert!(request(&*tx, &other, now).unwrap());
        assert!(request(&*tx, &device, now + INTERVAL_MS).unwrap());
        assert!(request(&*tx, &device, 5).unwrap());
        assert_eq!(tx.len(Log::Outbox).unwrap(), 4);
    }
}

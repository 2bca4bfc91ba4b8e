//! Short names for test data.

use bytes::Bytes;
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};

use crate::store::{
    Cursor, NewAccount, NewDevice, NewEnvelope, NewPrekeys, NumberedDeviceList, SignedKey, Store, StoredAccessKey,
    StoredEnvelope, UnsignedKey,
};

pub const NOW: u64 = 1_750_000_000_000;

pub fn account(n: u8) -> AccountId {
    AccountId::from_bytes([n; 16])
}

pub fn address(n: u8) -> Address {
    Address { account: account(n), device: DeviceId::PRIMARY }
}

pub fn new_account(n: u8, name: Option<&str>) -> NewAccount {
    NewAccount {
        account: account(n),
        account_key: AccountKey::from_bytes([n; 32]),
        device_list: NumberedDeviceList { number: 1, bytes: vec![n; 130].into() },
        name: name.map(str::to_owned),
        phone: None,
        registered_at: NOW,
        device: NewDevice {
            device: DeviceId::PRIMARY,
            signing_key: DeviceSigningKey::from_bytes([n ^ 0xFF; 32]),
            certificate: vec![n; 245].into(),
        },
        invitation: None,
    }
}

/// Registers accounts 1 to `count` without names.
pub fn register(store: &dyn Store, count: u8) {
    for n in 1..=count {
        store.register(new_account(n, None)).wait().unwrap();
    }
}

pub fn envelope_id(n: u32) -> EnvelopeId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    EnvelopeId::from_bytes(id)
}

pub fn number(envelope: &StoredEnvelope) -> u32 {
    u32::from_be_bytes(envelope.id.as_bytes()[..4].try_into().unwrap())
}

pub fn envelope(n: u32, size: usize) -> NewEnvelope {
    NewEnvelope { id: envelope_id(n), source: Some(address(200)), ciphertext: vec![n as u8; size].into() }
}

/// Under the name of another account for each `from`.
pub fn envelope_from(from: u16, n: u32, size: usize) -> NewEnvelope {
    let mut account = [0xA0; 16];
    account[..2].copy_from_slice(&from.to_be_bytes());
    let source = Address { account: AccountId::from_bytes(account), device: DeviceId::PRIMARY };
    NewEnvelope { source: Some(source), ..envelope(n, size) }
}

/// Without a source: a few thousand of them may wait.
pub fn sealed(n: u32, size: usize) -> NewEnvelope {
    NewEnvelope { source: None, ..envelope(n, size) }
}

/// What opens mailboxes to contacts.
pub const KEY: StoredAccessKey = StoredAccessKey { hash: [0xC0; 32], sealed: false };

/// Stores an envelope of 10 bytes.
pub fn submit(store: &dyn Store, mailbox: u8, n: u32, accepted_at: u64) -> Cursor {
    store.submit(address(mailbox), envelope(n, 10), accepted_at).wait().unwrap().cursor()
}

/// The numbers of all envelopes that wait.
pub fn waiting(store: &dyn Store, mailbox: u8) -> Vec<u32> {
    let page = store.read(address(mailbox), Cursor::START, usize::MAX, usize::MAX).wait().unwrap();
    assert!(!page.more);
    page.envelopes.iter().map(number).collect()
}

pub fn signed_key(id: u32) -> SignedKey {
    SignedKey { id, public_key: Bytes::from(vec![id as u8; 1568]), signature: Bytes::from(vec![id as u8; 64]) }
}

pub fn unsigned_key(id: u32) -> UnsignedKey {
    UnsignedKey { id, public_key: Bytes::from(vec![id as u8; 32]) }
}

/// A signed and a last-resort prekey with this id.
pub fn kept_prekeys(id: u32) -> NewPrekeys {
    NewPrekeys { signed: Some(signed_key(id)), last_resort_kem: Some(signed_key(id)), ..NewPrekeys::default() }
}

/// One-time prekeys of both kinds.
pub fn one_time_prekeys(ids: impl IntoIterator<Item = u32> + Clone) -> NewPrekeys {
    NewPrekeys {
        one_time: ids.clone().into_iter().map(unsigned_key).collect(),
        one_time_kem: ids.into_iter().map(signed_key).collect(),
        ..NewPrekeys::default()
    }
}

//! Signed statements: what is accepted, and that nothing else is.

#![allow(clippy::unwrap_used)]

use ed25519_dalek::{Signer, SigningKey};
use kuvert_types::certificate::CertificateBody;
use kuvert_types::device_list::{DeviceEntry, DeviceListBody, DeviceListConflict};
use kuvert_types::{
    AccountId, AccountKey, Address, DecodeError, DeviceCertificate, DeviceId, DeviceList, DeviceSigningKey,
    IdentityKey, Signature, SignatureError, UnverifiedDeviceCertificate, UnverifiedDeviceList,
};

const ACCOUNT: AccountId = AccountId::from_bytes([3; 16]);

fn account() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn device() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn account_key() -> AccountKey {
    AccountKey::from_bytes(account().verifying_key().to_bytes())
}

fn sign(key: &SigningKey, message: &[u8]) -> Signature {
    Signature::from_bytes(key.sign(message).to_bytes())
}

fn body() -> CertificateBody {
    CertificateBody {
        address: Address { account: ACCOUNT, device: DeviceId::PRIMARY },
        account_key: account_key(),
        signing_key: DeviceSigningKey::from_bytes(device().verifying_key().to_bytes()),
        identity_key: IdentityKey::from_bytes([9; 32]),
    }
}

fn certificate() -> DeviceCertificate {
    let body = body();
    let account_signature = sign(&account(), &body.account_statement());
    let device_signature = sign(&device(), &body.device_statement());
    DeviceCertificate::assemble(body, account_signature, device_signature).unwrap()
}

fn list(number: u64, devices: &[u32]) -> DeviceList {
    let devices = devices
        .iter()
        .map(|id| DeviceEntry { device: DeviceId::new(*id).unwrap(), certificate_hash: certificate().hash() })
        .collect();
    let body = DeviceListBody { account: ACCOUNT, number, devices };
    let signature = sign(&account(), &body.statement());
    DeviceList::assemble(body, signature, &account_key()).unwrap()
}

#[test]
fn a_certificate_round_trips() {
    let bytes = certificate().encode();
    assert_eq!(bytes.len(), 245);
    assert_eq!(UnverifiedDeviceCertificate::decode(&bytes).unwrap().verify(), Ok(certificate()));
}

#[test]
fn every_flipped_bit_of_a_certificate_is_noticed() {
    let good = certificate().encode();
    for bit in 0..good.len() * 8 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        let accepted = UnverifiedDeviceCertificate::decode(&bad).is_ok_and(|c| c.verify().is_ok());
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn a_certificate_of_another_length_is_refused() {
    let bytes = certificate().encode();
    assert_eq!(UnverifiedDeviceCertificate::decode(&bytes[..244]), Err(DecodeError::Length));
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(UnverifiedDeviceCertificate::decode(&longer), Err(DecodeError::Length));
}

#[test]
fn the_two_signatures_of_a_certificate_cannot_be_swapped() {
    let body = body();
    let account_signature = sign(&account(), &body.account_statement());
    let device_signature = sign(&device(), &body.device_statement());
    assert_eq!(DeviceCertificate::assemble(body, device_signature, account_signature), Err(SignatureError));
    // A device that did not agree: its key signed the other statement.
    let wrong_purpose = sign(&device(), &body.account_statement());
    assert_eq!(DeviceCertificate::assemble(body, account_signature, wrong_purpose), Err(SignatureError));
}

#[test]
fn a_small_order_account_key_is_refused() {
    // The identity point verifies anything under cofactored rules.
    let mut weak = [0; 32];
    weak[0] = 1;
    let signature = Signature::from_bytes({
        let mut bytes = [0; 64];
        bytes[0] = 1;
        bytes
    });
    assert_eq!(signature.verify(&weak, b"anything"), Err(SignatureError));
}

#[test]
fn a_device_list_round_trips_and_names_its_devices() {
    let known = list(1, &[1]);
    let decoded = UnverifiedDeviceList::decode(&known.encode()).unwrap().verify(&account_key()).unwrap();
    assert_eq!(decoded, known);
    assert!(decoded.names(&certificate()));
    assert!(!list(1, &[2]).names(&certificate()));
}

/// What takes part in an account is an id together with the hash of its certificate, in a list of that account [KV-016].
#[test]
fn a_device_list_names_a_device_by_id_hash_and_account_together() {
    let signed = |account: AccountId, device: u32, certificate_hash: [u8; 32]| {
        let devices = vec![DeviceEntry { device: DeviceId::new(device).unwrap(), certificate_hash }];
        let body = DeviceListBody { account, number: 1, devices };
        let signature = sign(&self::account(), &body.statement());
        DeviceList::assemble(body, signature, &account_key()).unwrap()
    };
    let (certificate, hash) = (certificate(), certificate().hash());
    assert!(signed(ACCOUNT, 1, hash).names(&certificate));
    let mut other_keys = hash;
    other_keys[31] ^= 1;
    assert!(!signed(ACCOUNT, 1, other_keys).names(&certificate), "the id with other keys");
    assert!(!signed(ACCOUNT, 2, hash).names(&certificate), "the keys under another id");
    assert!(!signed(AccountId::from_bytes([9; 16]), 1, hash).names(&certificate), "another account's list");
}

#[test]
fn every_flipped_bit_of_a_device_list_is_noticed() {
    let good = list(1, &[1, 2]).encode();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let accepted = UnverifiedDeviceList::decode(&bad).is_ok_and(|l| l.verify(&account_key()).is_ok());
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn a_device_list_out_of_order_or_empty_is_refused() {
    for ids in [vec![], vec![2, 1], vec![1, 1]] {
        let devices = ids
            .iter()
            .map(|id| DeviceEntry { device: DeviceId::new(*id).unwrap(), certificate_hash: [0; 32] })
            .collect();
        let body = DeviceListBody { account: ACCOUNT, number: 1, devices };
        let signature = sign(&account(), &body.statement());
        // As an account that signs what it must not would send it.
        let sent = [&body.statement()[32..], signature.as_bytes()].concat();
        assert_eq!(UnverifiedDeviceList::decode(&sent), Err(DecodeError::Value), "{ids:?}");
        assert_eq!(DeviceList::assemble(body, signature, &account_key()), Err(SignatureError), "{ids:?}");
    }
}

#[test]
fn a_device_list_is_replaced_by_newer_ones_only() {
    let known = list(5, &[1]);
    assert_eq!(list(6, &[1, 2]).may_replace(&known), Ok(()));
    assert_eq!(list(5, &[1]).may_replace(&known), Ok(()));
    assert_eq!(list(4, &[1]).may_replace(&known), Err(DeviceListConflict::Older));
    assert_eq!(list(5, &[1, 2]).may_replace(&known), Err(DeviceListConflict::Forked));
    let body = DeviceListBody { account: AccountId::from_bytes([9; 16]), number: 6, ..list(6, &[1, 2]).body().clone() };
    let signature = sign(&account(), &body.statement());
    let anothers = DeviceList::assemble(body, signature, &account_key()).unwrap();
    assert_eq!(anothers.may_replace(&known), Err(DeviceListConflict::OtherAccount));
}

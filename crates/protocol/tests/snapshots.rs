//! Stored forms: round trips at every step, refusal of what was never written, and bytes pinned so that a change of format
//! is seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use kuvert_protocol::message::HANDSHAKE_LEN;
use kuvert_protocol::prelude::*;
use kuvert_types::{DecodeError, DeviceCertificate};
use sha2::{Digest, Sha256};
use support::{NOW, Party, established, exchange};

#[test]
fn every_step_of_a_conversation_survives_storing() {
    let (mut alice, mut bob) = (Party::new(1, 1), Party::new(2, 1));
    alice.restart();
    alice.initiate(&mut bob);
    let mut late = Vec::new();
    for round in 0..60 {
        for turn in 0..round % 4 {
            alice.restart();
            let message = alice.encrypt(&[turn; 40]);
            alice.restart();
            // Every fourth comes late.
            if turn == 1 {
                late.push(message);
            } else {
                bob.decrypt(alice.address(), &message);
                bob.restart();
            }
        }
        if bob.record.has_active() && round % 3 != 0 {
            let message = bob.encrypt(b"back");
            bob.restart();
            alice.decrypt(bob.address(), &message);
            alice.restart();
        }
        if round % 5 == 4 {
            for message in late.drain(..) {
                bob.decrypt(alice.address(), &message);
                bob.restart();
            }
        }
        if round == 30 {
            bob.initiate(&mut alice);
            bob.restart();
        }
    }
}

/// [KV-003] The number of the next message is put to the last one in the stored form: 2^32 − 1 messages would take too long.
#[test]
fn a_chain_that_is_at_its_end_sends_nothing_and_stays_as_it_was() {
    let (mut alice, mut bob) = (Party::new(1, 19), Party::new(2, 19));
    alice.initiate(&mut bob);
    let mut bytes = alice.record.encode().to_vec();
    // Record, session, and the curve ratchet up to its sending chain's number, as `session` and `ratchet` write them.
    let session = 32 + 32 + DeviceCertificate::LEN + 1 + 8 + 8 + 1 + (1 + HANDSHAKE_LEN);
    let at = 2 + session + 32 + 64 + (1 + 32) + (1 + 32 + 32);
    alice.encrypt(b"one");
    let next = alice.record.encode();
    assert_eq!(
        (&bytes[at..at + 4], &next[at..at + 4]),
        (&[0; 4][..], &[0, 0, 0, 1][..]),
        "the number stands elsewhere now"
    );
    bytes[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    alice.record = SessionRecord::decode(&bytes).unwrap();
    assert!(matches!(alice.record.encrypt(b"one more", NOW, &mut alice.rng), Err(EncryptError::Exhausted)));
    assert_eq!(**alice.record.encode(), *bytes);
}

#[test]
fn secrets_survive_storing() {
    let mut party = Party::new(1, 2);
    let account = AccountSecret::from_bytes(&party.account.to_bytes());
    assert_eq!(account.public(), party.account_key());
    let secrets = DeviceSecrets::from_bytes(&party.local.secrets().to_bytes());
    assert_eq!(secrets.identity_key(), party.local.secrets().identity_key());
    assert_eq!(secrets.signing_key(), party.local.secrets().signing_key());
    assert!(LocalDevice::new(secrets, *party.local.certificate()).is_ok());
    let other = DeviceSecrets::generate(&mut party.rng);
    assert!(LocalDevice::new(other, *party.local.certificate()).is_err());

    let bundle = party.bundle(KemPrekeyKind::OneTime, true);
    let store = &party.store;
    let signed = store.signed.values().next().unwrap();
    assert_eq!(SignedPrekeySecret::decode(signed).unwrap().public(), bundle.signed_prekey);
    assert_eq!(*SignedPrekeySecret::decode(signed).unwrap().encode(), *signed);
    let one_time = store.one_time.values().next().unwrap();
    assert_eq!(Some(OneTimePrekeySecret::decode(one_time).unwrap().public()), bundle.one_time_prekey);
    assert_eq!(*OneTimePrekeySecret::decode(one_time).unwrap().encode(), *one_time);
    let kem = store.kem.values().next().unwrap();
    assert_eq!(KemPrekeySecret::decode(kem).unwrap().public(), bundle.kem_prekey);
    assert_eq!(*KemPrekeySecret::decode(kem).unwrap().encode(), *kem);
    assert_eq!((signed.len(), one_time.len(), kem.len()), (101, 37, 133));
    for bytes in [signed, one_time, kem] {
        let mut other_version = bytes.clone();
        other_version[0] = 2;
        let longer = [&bytes[..], &[0]].concat();
        let error = |bytes: &[u8]| match bytes.len() {
            36..=38 => OneTimePrekeySecret::decode(bytes).map(|_| ()).unwrap_err(),
            100..=102 => SignedPrekeySecret::decode(bytes).map(|_| ()).unwrap_err(),
            _ => KemPrekeySecret::decode(bytes).map(|_| ()).unwrap_err(),
        };
        assert_eq!(error(&other_version), DecodeError::Version);
        assert_eq!(error(&longer), DecodeError::Length);
        assert_eq!(error(&bytes[..bytes.len() - 1]), DecodeError::Length);
    }
}

#[test]
fn damaged_records_are_refused_without_panic() {
    let (mut alice, mut bob) = established(3);
    let lost = alice.encrypt(b"late");
    exchange(&mut alice, &mut bob);
    drop(lost);
    let bytes = bob.record.encode();
    for len in 0..bytes.len() {
        assert!(SessionRecord::decode(&bytes[..len]).is_err(), "cut to {len}");
    }
    assert!(SessionRecord::decode(&[&bytes[..], &[0]].concat()).is_err());
    let mut other_version = bytes.to_vec();
    other_version[0] = 2;
    assert_eq!(SessionRecord::decode(&other_version).map(|_| ()), Err(DecodeError::Version));
    // Any byte wrong: refused, or a record that still does not panic.
    let message = alice.encrypt(b"x");
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0xFF;
        if let Ok(record) = SessionRecord::decode(&damaged) {
            bob.record = record;
            let mut replay = ReplayRecord::new();
            let Party { local, trust, store, record, rng, .. } = &mut bob;
            let (remote, replay) = (alice.address(), &mut replay);
            let context =
                DecryptContext { local, remote, trust: *trust, prekeys: store, replay, now: 0, rng: &mut *rng };
            let _ = record.decrypt(&message, context);
            let _ = record.encrypt(b"x", 0, rng);
        }
    }
}

#[test]
fn an_empty_record_is_empty() {
    let record = SessionRecord::new();
    assert_eq!(*record.encode(), [1, 0, 0]);
    assert!(SessionRecord::decode(&[1, 0, 0]).unwrap().is_empty());
    assert!(!record.has_active() && record.remote_certificate().is_none());
    assert_eq!(ReplayRecord::new().encode(), [2, 0, 0, 0, 0]);
}

#[test]
fn the_bytes_are_pinned() {
    // From seeds, so any change of layout, label or derivation shows here. Change them only with a new version byte.
    let hash = |bytes: &[u8]| Sha256::digest(bytes)[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (mut alice, mut bob) = (Party::new(1, 99), Party::new(2, 99));
    alice.initiate(&mut bob);
    let first = alice.encrypt(b"first");
    bob.decrypt(alice.address(), &first);
    let answer = bob.encrypt(b"answer");
    alice.decrypt(bob.address(), &answer);
    let (ours, theirs) = (alice.record.encode(), bob.record.encode());
    assert_eq!((first.len(), answer.len()), (2 + 1859 + 232 + 512 + 16, 2 + 232 + 512 + 16));
    let found = [&first[..], &answer, &ours, &theirs].map(hash);
    assert_eq!(found, ["2edad411d06cb829", "8003e6ef8974fffd", "5353462895d626ae", "228d41f9db19b061"]);
}

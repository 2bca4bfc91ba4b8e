//! A seeded world of two and more parties. Every delivery that fails is checked to have changed nothing, in every test.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test support; no test uses all of it

pub mod forger;

use std::collections::BTreeMap;
use std::convert::Infallible;

use kuvert_protocol::prelude::*;
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, UnverifiedDeviceCertificate};
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

/// 2023-11-14, in Unix milliseconds.
pub const NOW: u64 = 1_700_000_000_000;

/// SHA-256 in counter mode over a seed.
#[derive(Clone)]
pub struct TestRng {
    seed: u64,
    counter: u64,
}

impl TestRng {
    pub fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }

    pub fn below(&mut self, bound: usize) -> usize {
        ((u64::from(self.try_next_u32().unwrap()) * bound as u64) >> 32) as usize
    }
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for block in out.chunks_mut(32) {
            let hash = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(self.counter.to_be_bytes());
            block.copy_from_slice(&hash.finalize()[..block.len()]);
            self.counter += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

/// The secret prekeys of a device, as a store keeps them.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Store {
    pub signed: BTreeMap<u32, Vec<u8>>,
    pub one_time: BTreeMap<u32, Vec<u8>>,
    pub kem: BTreeMap<u32, Vec<u8>>,
    pub last_resort: BTreeMap<u32, Vec<u8>>,
}

impl PrekeyStore for Store {
    type Error = Infallible;

    fn signed(&self, id: u32) -> Result<Option<SignedPrekeySecret>, Infallible> {
        Ok(self.signed.get(&id).map(|bytes| SignedPrekeySecret::decode(bytes).unwrap()))
    }

    fn one_time(&self, id: u32) -> Result<Option<OneTimePrekeySecret>, Infallible> {
        Ok(self.one_time.get(&id).map(|bytes| OneTimePrekeySecret::decode(bytes).unwrap()))
    }

    fn kem(&self, id: u32) -> Result<Option<(KemPrekeySecret, KemPrekeyKind)>, Infallible> {
        let decode = |bytes: &Vec<u8>| KemPrekeySecret::decode(bytes).unwrap();
        let one_time = self.kem.get(&id).map(|bytes| (decode(bytes), KemPrekeyKind::OneTime));
        Ok(one_time.or_else(|| self.last_resort.get(&id).map(|bytes| (decode(bytes), KemPrekeyKind::LastResort))))
    }
}

/// One device, with its store and its sessions with one other device.
pub struct Party {
    pub account: AccountSecret,
    pub local: LocalDevice,
    pub store: Store,
    /// By the id of the last-resort KEM prekey.
    pub replay: BTreeMap<u32, ReplayRecord>,
    pub record: SessionRecord,
    /// Whether the other device's account is a contact.
    pub trust: Trust,
    pub rng: TestRng,
    pub now: u64,
    next_id: u32,
}

impl Party {
    pub fn new(account: u8, seed: u64) -> Self {
        let mut rng = TestRng::new(seed * 1000 + u64::from(account));
        let secret = AccountSecret::generate(&mut rng);
        Self::device_of(secret, AccountId::from_bytes([account; 16]), 1, rng)
    }

    pub fn device_of(account: AccountSecret, id: AccountId, device: u32, mut rng: TestRng) -> Self {
        let address = Address { account: id, device: DeviceId::new(device).unwrap() };
        let secrets = DeviceSecrets::generate(&mut rng);
        let certificate = secrets.certify(&account, address);
        let local = LocalDevice::new(secrets, certificate).unwrap();
        let (store, replay, record) = (Store::default(), BTreeMap::new(), SessionRecord::new());
        Self { account, local, store, replay, record, trust: Trust::Contact, rng, now: NOW, next_id: 1 }
    }

    pub fn address(&self) -> Address {
        self.local.address()
    }

    pub fn account_key(&self) -> AccountKey {
        self.account.public()
    }

    fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub fn certificate(&self) -> UnverifiedDeviceCertificate {
        UnverifiedDeviceCertificate::decode(&self.local.certificate().encode()).unwrap()
    }

    /// A bundle of fresh prekeys, as a relay would serve it.
    pub fn bundle(&mut self, kem_kind: KemPrekeyKind, with_one_time: bool) -> PrekeyBundle {
        let (signed_id, kem_id, one_time_id) = (self.id(), self.id(), self.id());
        let signed = SignedPrekeySecret::generate(signed_id, self.local.secrets(), &mut self.rng);
        let kem = KemPrekeySecret::generate(kem_id, kem_kind, self.local.secrets(), &mut self.rng);
        self.store.signed.insert(signed_id, signed.encode().to_vec());
        let kems = match kem_kind {
            KemPrekeyKind::OneTime => &mut self.store.kem,
            KemPrekeyKind::LastResort => &mut self.store.last_resort,
        };
        kems.insert(kem_id, kem.encode().to_vec());
        let one_time_prekey = with_one_time.then(|| {
            let secret = OneTimePrekeySecret::generate(one_time_id, &mut self.rng);
            self.store.one_time.insert(one_time_id, secret.encode().to_vec());
            secret.public()
        });
        PrekeyBundle {
            certificate: self.certificate(),
            signed_prekey: signed.public(),
            kem_prekey: kem.public(),
            kem_kind,
            one_time_prekey,
        }
    }

    pub fn verified_bundle(&mut self, kem_kind: KemPrekeyKind, with_one_time: bool) -> VerifiedBundle {
        let (address, key) = (self.address(), self.account_key());
        self.bundle(kem_kind, with_one_time).verify(address, &key).unwrap()
    }

    /// Begins a session with `other`, with one-time prekeys.
    pub fn initiate(&mut self, other: &mut Self) {
        let bundle = other.verified_bundle(KemPrekeyKind::OneTime, true);
        self.record.initiate(&self.local, &bundle, self.now, &mut self.rng).unwrap();
    }

    pub fn encrypt(&mut self, text: &[u8]) -> Vec<u8> {
        self.record.encrypt(text, self.now, &mut self.rng).unwrap()
    }

    /// Everything that a failed delivery must not change.
    pub fn state(&self) -> (Vec<u8>, BTreeMap<u32, Vec<u8>>, Store) {
        let replay = self.replay.iter().map(|(id, record)| (*id, record.encode()));
        (self.record.encode().to_vec(), replay.collect(), self.store.clone())
    }

    /// Delivers `message` as a client would: on success the prekeys used are deleted, on failure nothing has changed.
    pub fn try_decrypt(&mut self, from: Address, message: &[u8]) -> Result<Decrypted, DecryptError> {
        let before = self.state();
        let prekey = last_resort_prekey(message).ok().flatten();
        let mut replay = prekey.and_then(|id| self.replay.get(&id).cloned()).unwrap_or_default();
        let Self { local, trust, store, now, rng, .. } = self;
        let (trust, now) = (*trust, *now);
        let context = DecryptContext { local, remote: from, trust, prekeys: store, replay: &mut replay, now, rng };
        let result = self.record.decrypt(message, context).map_err(DecryptError::from);
        if let Some(id) = prekey.filter(|_| !replay.is_empty()) {
            self.replay.insert(id, replay);
        }
        match &result {
            Err(_) => assert!(self.state() == before, "a failed message changed the state"),
            Ok(decrypted) => {
                if let Some(used) = decrypted.used {
                    used.one_time.map(|id| self.store.one_time.remove(&id).unwrap());
                    used.kem.map(|id| self.store.kem.remove(&id).unwrap());
                }
            }
        }
        result
    }

    pub fn decrypt(&mut self, from: Address, message: &[u8]) -> Vec<u8> {
        self.try_decrypt(from, message).unwrap().plaintext.to_vec()
    }

    /// Stores the record and reads it back.
    pub fn restart(&mut self) {
        let bytes = self.record.encode();
        self.record = SessionRecord::decode(&bytes).unwrap();
        assert_eq!(*self.record.encode(), *bytes);
        self.replay.values_mut().for_each(|replay| *replay = ReplayRecord::decode(&replay.encode()).unwrap());
    }
}

/// Whether this message carries the handshake.
pub fn is_prekey_message(message: &[u8]) -> bool {
    message[1] == 1
}

/// Alice with a session to Bob that Bob has answered.
pub fn established(seed: u64) -> (Party, Party) {
    let (mut alice, mut bob) = (Party::new(1, seed), Party::new(2, seed));
    alice.initiate(&mut bob);
    exchange(&mut alice, &mut bob);
    (alice, bob)
}

/// One message each way.
pub fn exchange(alice: &mut Party, bob: &mut Party) {
    let there = alice.encrypt(b"there");
    assert_eq!(bob.decrypt(alice.address(), &there), b"there");
    let back = bob.encrypt(b"back");
    assert_eq!(alice.decrypt(bob.address(), &back), b"back");
}

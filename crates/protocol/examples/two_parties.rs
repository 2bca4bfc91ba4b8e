//! Two devices, one session, one message each way. A relay is left out: what would go through it is handed over.
//!
//! ```text
//! cargo run -p kuvert-protocol --example two_parties
//! ```

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;

use getrandom::SysRng;
use getrandom::rand_core::{CryptoRng, UnwrapErr};
use kuvert_protocol::prelude::*;
use kuvert_types::{AccountId, Address, DeviceId, UnverifiedDeviceCertificate};

/// Unix milliseconds. A program reads a clock here.
const NOW: u64 = 1_763_683_200_000;

/// A device with its sessions. A program keeps all of it on disk, encrypted, and writes record, replay record and
/// content in one transaction.
struct Device {
    local: LocalDevice,
    prekeys: Prekeys,
    /// By the id of the last-resort prekey.
    replay: BTreeMap<u32, ReplayRecord>,
    /// Sessions with the one device that this example writes to.
    record: SessionRecord,
}

/// The secret prekeys in their stored form. `kem` says of each whether it is a one-time one.
#[derive(Default)]
struct Prekeys {
    signed: BTreeMap<u32, Vec<u8>>,
    one_time: BTreeMap<u32, Vec<u8>>,
    kem: BTreeMap<u32, (Vec<u8>, KemPrekeyKind)>,
}

/// A store on disk has an error of its own here; one in memory has none.
impl PrekeyStore for Prekeys {
    type Error = Infallible;

    fn signed(&self, id: u32) -> Result<Option<SignedPrekeySecret>, Infallible> {
        Ok(self.signed.get(&id).and_then(|bytes| SignedPrekeySecret::decode(bytes).ok()))
    }

    fn one_time(&self, id: u32) -> Result<Option<OneTimePrekeySecret>, Infallible> {
        Ok(self.one_time.get(&id).and_then(|bytes| OneTimePrekeySecret::decode(bytes).ok()))
    }

    fn kem(&self, id: u32) -> Result<Option<(KemPrekeySecret, KemPrekeyKind)>, Infallible> {
        let decode = |(bytes, kind): &(Vec<u8>, KemPrekeyKind)| Some((KemPrekeySecret::decode(bytes).ok()?, *kind));
        Ok(self.kem.get(&id).and_then(decode))
    }
}

impl Device {
    /// A new account with its first device.
    fn new(account: u8, rng: &mut impl CryptoRng) -> Result<Self, Box<dyn Error>> {
        let account_secret = AccountSecret::generate(rng);
        let secrets = DeviceSecrets::generate(rng);
        let address = Address { account: AccountId::from_bytes([account; 16]), device: DeviceId::PRIMARY };
        let certificate = secrets.certify(&account_secret, address);
        Ok(Self {
            local: LocalDevice::new(secrets, certificate)?,
            prekeys: Prekeys::default(),
            replay: BTreeMap::new(),
            record: SessionRecord::new(),
        })
    }

    /// Makes a prekey of each kind, keeps the secrets, and gives the bundle that a relay would serve.
    fn publish(&mut self, rng: &mut impl CryptoRng) -> Result<PrekeyBundle, Box<dyn Error>> {
        let signed = SignedPrekeySecret::generate(1, self.local.secrets(), rng);
        let one_time = OneTimePrekeySecret::generate(1, rng);
        let kem_kind = KemPrekeyKind::OneTime;
        let kem = KemPrekeySecret::generate(1, kem_kind, self.local.secrets(), rng);
        self.prekeys.signed.insert(signed.id(), signed.encode().to_vec());
        self.prekeys.one_time.insert(one_time.id(), one_time.encode().to_vec());
        self.prekeys.kem.insert(kem.id(), (kem.encode().to_vec(), kem_kind));
        Ok(PrekeyBundle {
            certificate: UnverifiedDeviceCertificate::decode(&self.local.certificate().encode())?,
            signed_prekey: signed.public(),
            kem_prekey: kem.public(),
            kem_kind,
            one_time_prekey: Some(one_time.public()),
        })
    }

    /// Decrypts, and deletes the one-time prekeys that a first message used.
    fn receive(&mut self, from: Address, message: &[u8], rng: &mut impl CryptoRng) -> Result<String, Box<dyn Error>> {
        // Only a first message with a last-resort prekey has a replay record.
        let last_resort = last_resort_prekey(message)?;
        let mut replay = last_resort.and_then(|id| self.replay.remove(&id)).unwrap_or_default();
        let context = DecryptContext {
            local: &self.local,
            remote: from,
            // A program looks whether the account is a contact under this very account key.
            trust: Trust::Stranger,
            prekeys: &self.prekeys,
            replay: &mut replay,
            now: NOW,
            rng,
        };
        let decrypted = self.record.decrypt(message, context)?;
        if let Some(used) = decrypted.used {
            used.one_time.map(|id| self.prekeys.one_time.remove(&id));
            used.kem.map(|id| self.prekeys.kem.remove(&id));
        }
        if let Some(id) = last_resort {
            self.replay.insert(id, replay);
        }
        Ok(String::from_utf8(decrypted.plaintext.to_vec())?)
    }
}

/// What the two said, as each of them read it.
pub fn conversation() -> Result<Vec<String>, Box<dyn Error>> {
    let rng = &mut UnwrapErr(SysRng);
    let (mut alice, mut bob) = (Device::new(1, rng)?, Device::new(2, rng)?);
    let (alice_address, bob_address) = (alice.local.address(), bob.local.address());

    // Alice fetches Bob's prekeys. She has his account key from an invite link or compares safety numbers later.
    let bobs_account_key = bob.local.certificate().account_key();
    let bundle = bob.publish(rng)?.verify(bob_address, &bobs_account_key)?;
    alice.record.initiate(&alice.local, &bundle, NOW, rng)?;

    let message = alice.record.encrypt(b"Hello, Bob", NOW, rng)?;
    let read_by_bob = bob.receive(alice_address, &message, rng)?;

    let message = bob.record.encrypt(b"Hello, Alice", NOW, rng)?;
    let read_by_alice = alice.receive(bob_address, &message, rng)?;
    Ok(vec![format!("Bob read: {read_by_bob}"), format!("Alice read: {read_by_alice}")])
}

#[allow(dead_code)] // the test calls `conversation`
fn main() -> Result<(), Box<dyn Error>> {
    for line in conversation()? {
        println!("{line}");
    }
    Ok(())
}

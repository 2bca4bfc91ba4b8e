//! Kuvert's own sessions: two devices, the public API of `kuvert-protocol`, the system's randomness.

use kuvert_protocol::message::RATCHET_MESSAGE_OVERHEAD;
use kuvert_protocol::padding::padded_len;
use kuvert_protocol::prelude::*;
use kuvert_types::{AccountId, AccountKey, Address, DecodeError, DeviceId, UnverifiedDeviceCertificate};

use crate::conversation::{Conversation, Half, Side, content, metered};
use crate::meter::{Batch, Meter};
use crate::{Outcome, system_rng};
use rand_core::CryptoRng;

/// Time stands still: nothing here expires.
const NOW: u64 = 1_763_683_200_000;

/// One side: who it is, and its sessions with the other.
pub struct Device {
    pub(crate) local: LocalDevice,
    /// Sessions with the other device.
    pub record: SessionRecord,
    replay: ReplayRecord,
}

impl Device {
    fn new(account: u8, rng: &mut dyn CryptoRng) -> Outcome<Self> {
        let address = Address { account: AccountId::from_bytes([account; 16]), device: DeviceId::PRIMARY };
        let secrets = DeviceSecrets::generate(rng);
        let certificate = secrets.certify(&AccountSecret::generate(rng), address);
        let local = LocalDevice::new(secrets, certificate)?;
        Ok(Self { local, record: SessionRecord::new(), replay: ReplayRecord::new() })
    }
}

/// A recipient's published prekeys, and their secret halves as a client stores them.
struct Prekeys {
    bundle: PrekeyBundle,
    account_key: AccountKey,
    signed: Vec<u8>,
    one_time: Vec<u8>,
    kem: Vec<u8>,
}

impl Prekeys {
    fn of(device: &LocalDevice, rng: &mut dyn CryptoRng) -> Outcome<Self> {
        let signed = SignedPrekeySecret::generate(1, device.secrets(), rng);
        let one_time = OneTimePrekeySecret::generate(1, rng);
        let kem = KemPrekeySecret::generate(1, KemPrekeyKind::OneTime, device.secrets(), rng);
        Ok(Self {
            bundle: PrekeyBundle {
                certificate: UnverifiedDeviceCertificate::decode(&device.certificate().encode())?,
                signed_prekey: signed.public(),
                kem_prekey: kem.public(),
                kem_kind: KemPrekeyKind::OneTime,
                one_time_prekey: Some(one_time.public()),
            },
            account_key: device.certificate().account_key(),
            signed: signed.encode().to_vec(),
            one_time: one_time.encode().to_vec(),
            kem: kem.encode().to_vec(),
        })
    }
}

impl PrekeyStore for Prekeys {
    type Error = DecodeError;

    fn signed(&self, _: u32) -> Result<Option<SignedPrekeySecret>, DecodeError> {
        SignedPrekeySecret::decode(&self.signed).map(Some)
    }

    fn one_time(&self, _: u32) -> Result<Option<OneTimePrekeySecret>, DecodeError> {
        OneTimePrekeySecret::decode(&self.one_time).map(Some)
    }

    fn kem(&self, _: u32) -> Result<Option<(KemPrekeySecret, KemPrekeyKind)>, DecodeError> {
        Ok(Some((KemPrekeySecret::decode(&self.kem)?, KemPrekeyKind::OneTime)))
    }
}

/// Two devices with a session.
pub struct Kuvert {
    /// Began it.
    pub alice: Device,
    /// Was written to.
    pub bob: Device,
    prekeys: Prekeys,
    pub(crate) rng: Box<dyn CryptoRng>,
}

impl Kuvert {
    /// Two devices without a session; Bob has published prekeys.
    ///
    /// # Errors
    /// A key does not fit its certificate, which would be a bug.
    pub fn strangers() -> Outcome<Self> {
        Self::strangers_with(Box::new(system_rng()))
    }

    /// As [`strangers`](Self::strangers), everything drawn from `rng`.
    ///
    /// # Errors
    /// As there.
    pub fn strangers_with(mut rng: Box<dyn CryptoRng>) -> Outcome<Self> {
        let (alice, bob) = (Device::new(1, &mut *rng)?, Device::new(2, &mut *rng)?);
        let prekeys = Prekeys::of(&bob.local, &mut *rng)?;
        Ok(Self { alice, bob, prekeys, rng })
    }

    /// Two devices that have heard from each other, everything drawn from `rng`.
    ///
    /// # Errors
    /// A message was refused, which would be a bug.
    pub fn begin_with(rng: Box<dyn CryptoRng>) -> Outcome<Self> {
        let mut pair = Self::strangers_with(rng)?;
        pair.initiate(pair.bundle())?;
        pair.exchange()?;
        Ok(pair)
    }

    /// Forgets the sessions of both.
    pub fn forget(&mut self) {
        self.alice.record = SessionRecord::new();
        self.bob.record = SessionRecord::new();
    }

    /// What Bob has published.
    pub fn bundle(&self) -> PrekeyBundle {
        self.prekeys.bundle.clone()
    }

    /// Alice checks `bundle` and begins a session.
    ///
    /// # Errors
    /// The bundle was refused, which would be a bug.
    pub fn initiate(&mut self, bundle: PrekeyBundle) -> Outcome<()> {
        let bundle = bundle.verify(self.bob.local.address(), &self.prekeys.account_key)?;
        self.alice.record.initiate(&self.alice.local, &bundle, NOW, &mut *self.rng)?;
        Ok(())
    }
}

impl Conversation for Kuvert {
    type Message = Vec<u8>;

    fn begin() -> Outcome<Self> {
        Self::begin_with(Box::new(system_rng()))
    }

    fn send(&mut self, from: Side, content: &[u8]) -> Outcome<Vec<u8>> {
        let device = match from {
            Side::Alice => &mut self.alice,
            Side::Bob => &mut self.bob,
        };
        Ok(device.record.encrypt(content, NOW, &mut *self.rng)?)
    }

    fn receive(&mut self, to: Side, message: &Vec<u8>) -> Outcome<usize> {
        let (device, remote) = match to {
            Side::Alice => (&mut self.alice, self.bob.local.address()),
            Side::Bob => (&mut self.bob, self.alice.local.address()),
        };
        let Device { local, record, replay } = device;
        let (prekeys, rng) = (&self.prekeys, &mut *self.rng);
        let context = DecryptContext { local, remote, trust: Trust::Contact, prekeys, replay, now: NOW, rng };
        let decrypted = record.decrypt(message, context)?;
        Ok(decrypted.plaintext.len())
    }
}

/// Messages from Alice to Bob through buffers that are used again and again.
pub struct CallersBuffers {
    pair: Kuvert,
    content: Vec<u8>,
    half: Half,
    message: Vec<u8>,
    plaintext: Plaintext,
}

impl CallersBuffers {
    /// With `size` bytes of content.
    ///
    /// # Errors
    /// No devices could be made.
    pub fn new(half: Half, size: usize) -> Outcome<Self> {
        let plaintext = Plaintext::with_capacity(padded_len(size));
        let message = Vec::with_capacity(padded_len(size) + RATCHET_MESSAGE_OVERHEAD);
        Ok(Self { pair: Kuvert::begin()?, content: content(size), half, message, plaintext })
    }
}

impl Batch for CallersBuffers {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        self.pair.exchange()?;
        let step = self.pair.send(Side::Alice, b"step")?;
        self.pair.receive(Side::Bob, &step)?;
        let Self { pair: Kuvert { alice, bob, prekeys, rng }, content, half, message, plaintext } = self;
        for _ in 0..MESSAGES {
            message.clear();
            metered(*half == Half::Send, meter, || alice.record.encrypt_into(content, NOW, &mut **rng, message))?;
            let buffer = std::mem::take(plaintext);
            let Device { local, record, replay } = &mut *bob;
            let (remote, rng) = (alice.local.address(), &mut **rng);
            let context = DecryptContext { local, remote, trust: Trust::Contact, prekeys, replay, now: NOW, rng };
            let decrypted = metered(*half == Half::Receive, meter, || record.decrypt_into(message, buffer, context))?;
            *plaintext = decrypted.plaintext;
        }
        Ok(())
    }

    fn operations(&self) -> usize {
        MESSAGES
    }
}

const MESSAGES: usize = 256;

/// Sessions begun, one operation each.
const SESSIONS: usize = 8;

/// From the fetched bundle to the first message: every signature checked, key agreement, encryption.
pub struct EstablishOut {
    pair: Kuvert,
    content: Vec<u8>,
}

impl EstablishOut {
    /// With `size` bytes in the first message.
    ///
    /// # Errors
    /// No devices could be made.
    pub fn new(size: usize) -> Outcome<Self> {
        Ok(Self { pair: Kuvert::strangers()?, content: content(size) })
    }
}

impl Batch for EstablishOut {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        for _ in 0..SESSIONS {
            self.pair.forget();
            let bundle = self.pair.bundle();
            meter.start();
            self.pair.initiate(bundle)?;
            std::hint::black_box(self.pair.send(Side::Alice, &self.content)?);
            meter.stop();
        }
        Ok(())
    }

    fn operations(&self) -> usize {
        SESSIONS
    }
}

/// From the first message's bytes to a session and the content, prekeys read from their stored form.
pub struct EstablishIn {
    pair: Kuvert,
    content: Vec<u8>,
}

impl EstablishIn {
    /// With `size` bytes in the first message.
    ///
    /// # Errors
    /// No devices could be made.
    pub fn new(size: usize) -> Outcome<Self> {
        Ok(Self { pair: Kuvert::strangers()?, content: content(size) })
    }
}

impl Batch for EstablishIn {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        for _ in 0..SESSIONS {
            self.pair.forget();
            self.pair.initiate(self.pair.bundle())?;
            let message = self.pair.send(Side::Alice, &self.content)?;
            meter.start();
            self.pair.receive(Side::Bob, &message)?;
            meter.stop();
        }
        Ok(())
    }

    fn operations(&self) -> usize {
        SESSIONS
    }
}

/// Snapshots taken or restored in a batch.
const SNAPSHOTS: usize = 64;

/// The state written for the store.
pub struct Snapshot(pub Kuvert);

impl Batch for Snapshot {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        self.0.exchange()?;
        meter.start();
        for _ in 0..SNAPSHOTS {
            std::hint::black_box(self.0.bob.record.encode());
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        SNAPSHOTS
    }
}

/// The state read from the store.
pub struct Restore(pub Kuvert);

impl Batch for Restore {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        self.0.exchange()?;
        let snapshot = self.0.bob.record.encode();
        meter.start();
        for _ in 0..SNAPSHOTS {
            std::hint::black_box(SessionRecord::decode(&snapshot)?);
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        SNAPSHOTS
    }
}

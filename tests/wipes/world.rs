//! A conversation that is the same each time. Lived through once with a list of secrets, it writes all of them down; lived
//! through again without, it holds nothing secret but what the protocol itself holds.

use std::convert::Infallible;

use kuvert_protocol::hazmat::labels::{SEALED_CERTIFICATE, SEALED_MESSAGE};
use kuvert_protocol::hazmat::primitives::kdf::hkdf_sha256;
use kuvert_protocol::hazmat::primitives::kem1024::KemSeed;
use kuvert_protocol::hazmat::primitives::x25519::{X25519Public, X25519Secret};
use kuvert_protocol::prelude::*;
use kuvert_protocol::sealed_sender;
use kuvert_types::{AccountId, Address, DeviceId, UnverifiedDeviceCertificate};
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

use crate::record::learn_record;
use crate::watcher::{Secrets, note};

const NOW: u64 = 1_700_000_000_000;
const ALICE: usize = 0;
const BOB: usize = 1;

/// SHA-256 in counter mode. Remembers its draws if it is told to.
struct Draws {
    counter: u64,
    remembered: Option<Vec<Vec<u8>>>,
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
            let hash = Sha256::new().chain_update("wipes").chain_update(self.counter.to_be_bytes()).finalize();
            block.copy_from_slice(&hash[..block.len()]);
            self.counter += 1;
        }
        if let Some(remembered) = &mut self.remembered {
            remembered.push(out.to_vec());
        }
        Ok(())
    }
}

impl TryCryptoRng for Draws {}

/// Boxed, so that what is on the stack elsewhere is in memory that is given back.
struct Store {
    signed: Box<SignedPrekeySecret>,
    one_time: Option<Box<OneTimePrekeySecret>>,
    kem: Option<Box<KemPrekeySecret>>,
    last_resort: Box<KemPrekeySecret>,
}

impl PrekeyStore for Store {
    type Error = Infallible;

    fn signed(&self, id: u32) -> Result<Option<SignedPrekeySecret>, Infallible> {
        Ok((self.signed.id() == id).then(|| SignedPrekeySecret::decode(&self.signed.encode()).unwrap()))
    }

    fn one_time(&self, id: u32) -> Result<Option<OneTimePrekeySecret>, Infallible> {
        let secret = self.one_time.as_ref().filter(|secret| secret.id() == id);
        Ok(secret.map(|secret| OneTimePrekeySecret::decode(&secret.encode()).unwrap()))
    }

    fn kem(&self, id: u32) -> Result<Option<(KemPrekeySecret, KemPrekeyKind)>, Infallible> {
        let decode = |secret: &KemPrekeySecret| KemPrekeySecret::decode(&secret.encode()).unwrap();
        if let Some(secret) = self.kem.as_ref().filter(|secret| secret.id() == id) {
            return Ok(Some((decode(secret), KemPrekeyKind::OneTime)));
        }
        Ok((self.last_resort.id() == id).then(|| (decode(&self.last_resort), KemPrekeyKind::LastResort)))
    }
}

struct Party {
    account: Box<AccountSecret>,
    local: Box<LocalDevice>,
    store: Store,
    record: SessionRecord,
    replay: ReplayRecord,
}

impl Party {
    fn new(number: u8, rng: &mut Draws) -> Self {
        let account = Box::new(AccountSecret::generate(rng));
        let keys = DeviceSecrets::generate(rng);
        let address = Address { account: AccountId::from_bytes([number; 16]), device: DeviceId::PRIMARY };
        let certificate = keys.certify(&account, address);
        let store = Store {
            signed: Box::new(SignedPrekeySecret::generate(1, &keys, rng)),
            one_time: Some(Box::new(OneTimePrekeySecret::generate(2, rng))),
            kem: Some(Box::new(KemPrekeySecret::generate(3, KemPrekeyKind::OneTime, &keys, rng))),
            last_resort: Box::new(KemPrekeySecret::generate(4, KemPrekeyKind::LastResort, &keys, rng)),
        };
        let local = Box::new(LocalDevice::new(keys, certificate).unwrap());
        Self { account, local, store, record: SessionRecord::new(), replay: ReplayRecord::new() }
    }

    fn bundle(&self) -> VerifiedBundle {
        let (kem, kem_kind) = match &self.store.kem {
            Some(kem) => (kem.public(), KemPrekeyKind::OneTime),
            None => (self.store.last_resort.public(), KemPrekeyKind::LastResort),
        };
        let bundle = PrekeyBundle {
            certificate: UnverifiedDeviceCertificate::decode(&self.local.certificate().encode()).unwrap(),
            signed_prekey: self.store.signed.public(),
            kem_prekey: kem,
            kem_kind,
            one_time_prekey: self.store.one_time.as_ref().map(|secret| secret.public()),
        };
        bundle.verify(self.local.address(), &self.account.public()).unwrap()
    }
}

struct World<'a> {
    parties: [Party; 2],
    rng: Draws,
    texts: u16,
    secrets: Option<&'a mut Secrets>,
}

/// Lives through it. With `secrets`, adds every secret of it.
pub fn live(secrets: Option<&mut Secrets>) {
    let mut rng = Draws { counter: 0, remembered: secrets.is_some().then(Vec::new) };
    note("generating keys");
    let parties = [Party::new(1, &mut rng), Party::new(2, &mut rng)];
    let mut world = World { parties, rng, texts: 0, secrets };
    world.initiate(ALICE);
    world.pass(ALICE);
    world.pass(ALICE);
    // Several epochs of the Braid, with messages that get lost, come late, and are forged.
    let mut late = Vec::new();
    for turn in 0..90 {
        let (from, to) = (1 - turn % 2, turn % 2);
        if turn % 10 == 3 {
            // Two gaps in one chain: the second makes the list of skipped keys grow.
            for _ in 0..2 {
                late.extend((0..3).map(|_| (from, world.encrypt(from))));
                world.pass(from);
            }
        }
        if turn % 12 == 5 {
            world.refuse(to);
        }
        world.pass(from);
        if turn % 10 == 6 {
            late.pop();
            while let Some((from, message)) = late.pop() {
                world.decrypt(1 - from, &message);
            }
        }
        if turn % 4 == 0 {
            world.store_and_load(to);
        }
    }
    // So many keys that the stored form has to grow while it is written.
    for _ in 0..200 {
        world.encrypt(ALICE);
    }
    world.pass(ALICE);
    world.store_and_load(BOB);
    world.pass_sealed(ALICE);
    world.pass_sealed(BOB);
    // Both begin at once; then more sessions than are kept.
    world.initiate(ALICE);
    world.initiate(BOB);
    let (from_alice, from_bob) = (world.encrypt(ALICE), world.encrypt(BOB));
    world.decrypt(BOB, &from_alice);
    world.decrypt(ALICE, &from_bob);
    for _ in 0..8 {
        world.initiate(ALICE);
        world.pass(ALICE);
        world.pass(BOB);
    }
    world.store_and_load(ALICE);
    world.store_and_load(BOB);
    note("forgetting inactive sessions");
    world.parties[BOB].record.drop_inactive();
    if let Some(draws) = world.rng.remembered.take() {
        world.learn_draws(&draws);
    }
    note("dropping everything");
    drop(world);
}

impl World<'_> {
    /// 64 bytes, different each time.
    fn text(&mut self) -> [u8; 64] {
        self.texts += 1;
        let text = *hkdf_sha256::<64>(b"text", &[&self.texts.to_be_bytes()], &[]);
        if let Some(secrets) = &mut self.secrets {
            secrets.learn("content", &text);
        }
        text
    }

    fn learn(&mut self) {
        if let Some(secrets) = &mut self.secrets {
            self.parties.iter().for_each(|party| learn_record(&party.record.encode(), secrets));
        }
    }

    fn initiate(&mut self, who: usize) {
        note("beginning a session");
        let bundle = self.parties[1 - who].bundle();
        let drawn = self.rng.remembered.as_ref().map(Vec::len);
        let Party { local, record, .. } = &mut self.parties[who];
        record.initiate(local, &bundle, NOW, &mut self.rng).unwrap();
        self.learn();
        if let (Some(drawn), Some(draws)) = (drawn, self.rng.remembered.clone()) {
            self.learn_agreement(who, draws[drawn].as_slice().try_into().unwrap());
        }
    }

    fn encrypt(&mut self, who: usize) -> Vec<u8> {
        note("encrypting");
        let text = self.text();
        let message = self.parties[who].record.encrypt(&text, NOW, &mut self.rng).unwrap();
        self.learn();
        message
    }

    fn decrypt(&mut self, who: usize, message: &[u8]) {
        note("decrypting");
        let from = self.parties[1 - who].local.address();
        let Party { local, store, record, replay, .. } = &mut self.parties[who];
        let rng = &mut self.rng;
        let context =
            DecryptContext { local, remote: from, trust: Trust::Contact, prekeys: store, replay, now: NOW, rng };
        let decrypted = record.decrypt(message, context).unwrap();
        if let Some(used) = decrypted.used {
            note("deleting used prekeys");
            store.one_time.take_if(|_| used.one_time.is_some());
            store.kem.take_if(|_| used.kem.is_some());
        }
        self.learn();
    }

    fn pass(&mut self, from: usize) {
        let message = self.encrypt(from);
        self.decrypt(1 - from, &message);
    }

    /// As [`pass`](Self::pass), with the sender sealed.
    fn pass_sealed(&mut self, from: usize) {
        let message = self.encrypt(from);
        note("sealing a sender");
        let drawn = self.rng.remembered.as_ref().map(Vec::len);
        let (us, them) = (&self.parties[from].local, &self.parties[1 - from].local);
        let sealed = sealed_sender::seal(us, them.certificate(), &message, &mut self.rng).unwrap();
        if let (Some(drawn), Some(draws), Some(secrets)) = (drawn, &self.rng.remembered, &mut self.secrets) {
            let ephemeral = X25519Secret::from_bytes(draws[drawn].as_slice().try_into().unwrap());
            let identity = them.certificate().identity_key();
            let shared = ephemeral.agree(&X25519Public::decode(*identity.as_bytes()).unwrap()).unwrap();
            let bound = [ephemeral.public().as_bytes(), &identity.as_bytes()[..], &them.address().to_bytes()].concat();
            let keys = hkdf_sha256::<76>(&[0; 32], &[shared.as_bytes()], &[&SEALED_CERTIFICATE, &bound]);
            secrets.learn("result under a seal", shared.as_bytes());
            secrets.learn("certificate key of a seal", &keys[..32]);
            secrets.learn("chaining key of a seal", &keys[44..]);
            let own = X25519Secret::from_bytes(us.secrets().to_bytes()[32..].try_into().unwrap());
            let shared = own.agree(&X25519Public::decode(*identity.as_bytes()).unwrap()).unwrap();
            let digest = Sha256::digest(&sealed[33..33 + 261]);
            let info: [&[u8]; 3] = [&SEALED_MESSAGE, &bound, &digest];
            let inner = hkdf_sha256::<44>(&keys[44..], &[shared.as_bytes()], &info);
            secrets.learn("result of both identity keys under a seal", shared.as_bytes());
            secrets.learn("message key of a seal", &inner[..32]);
        }
        note("opening a seal");
        let message = sealed_sender::open(them, &sealed).unwrap().message().to_vec();
        self.decrypt(1 - from, &message);
    }

    /// Receives a message whose header is good and whose body is not: keys are derived for it, and dropped.
    fn refuse(&mut self, who: usize) {
        let mut message = self.encrypt(1 - who);
        *message.last_mut().unwrap() ^= 1;
        note("refusing");
        let from = self.parties[1 - who].local.address();
        let Party { local, store, record, replay, .. } = &mut self.parties[who];
        let rng = &mut self.rng;
        let context =
            DecryptContext { local, remote: from, trust: Trust::Contact, prekeys: store, replay, now: NOW, rng };
        record.decrypt(&message, context).unwrap_err();
    }

    fn store_and_load(&mut self, who: usize) {
        note("storing and loading");
        let party = &mut self.parties[who];
        party.record = SessionRecord::decode(&party.record.encode()).unwrap();
        *party.account = AccountSecret::from_bytes(&party.account.to_bytes());
        let keys = DeviceSecrets::from_bytes(&party.local.secrets().to_bytes());
        *party.local = LocalDevice::new(keys, *party.local.certificate()).unwrap();
    }

    /// SK and what it is made of, for the session that `who` has just begun with this ephemeral key.
    fn learn_agreement(&mut self, who: usize, ephemeral: &[u8; 32]) {
        let message = {
            let Party { record, .. } = &self.parties[who];
            let mut copy = SessionRecord::decode(&record.encode()).unwrap();
            copy.encrypt(b"", NOW, &mut Draws { counter: 1 << 40, remembered: None }).unwrap()
        };
        let (us, them) = (&self.parties[who], &self.parties[1 - who]);
        let x25519 = |bytes: &[u8]| X25519Secret::from_bytes(bytes.try_into().unwrap());
        let agree = |ours: &X25519Secret, theirs: &X25519Secret| *ours.agree(&theirs.public()).unwrap().as_bytes();
        let (identity, ephemeral) = (x25519(&us.local.secrets().to_bytes()[32..]), X25519Secret::from_bytes(ephemeral));
        let their_identity = x25519(&them.local.secrets().to_bytes()[32..]);
        let signed = x25519(&them.store.signed.encode()[5..37]);
        let mut ikm = vec![[0xFF; 32], agree(&identity, &signed), agree(&ephemeral, &their_identity)];
        ikm.push(agree(&ephemeral, &signed));
        ikm.extend(them.store.one_time.as_ref().map(|secret| agree(&ephemeral, &x25519(&secret.encode()[5..37]))));
        let kem = them.store.kem.as_ref().unwrap_or(&them.store.last_resort).encode();
        let kem = KemSeed::from_bytes(kem[5..69].try_into().unwrap()).key_pair();
        ikm.push(*kem.decapsulate(message[2 + 286..2 + 1854].try_into().unwrap()).as_bytes());

        let transcript: [u8; 32] = us.record.encode()[2..34].try_into().unwrap();
        let label = *b"Kuvert/1 PQXDH session secret\0\0\0";
        let parts: Vec<&[u8]> = ikm.iter().map(|part| &part[..]).collect();
        let secret = hkdf_sha256::<32>(&[0; 32], &parts, &[&label, &transcript]);
        let first = *b"Kuvert/1 ratchet keys\0\0\0\0\0\0\0\0\0\0\0";
        let keys = hkdf_sha256::<96>(&[0; 32], &[&*secret], &[&first]);
        let record = us.record.encode();
        assert!(record.windows(32).any(|window| *window == keys[64..]), "the agreement is the protocol's");

        let Some(secrets) = &mut self.secrets else { return };
        ikm[1..].iter().for_each(|part| secrets.learn("result of the key agreement", part));
        secrets.learn("SK", &*secret);
        secrets.learn("first keys", &*keys);
    }

    /// Everything drawn but the nonces of headers is secret, and so is every X25519 result of two secrets drawn.
    fn learn_draws(&mut self, draws: &[Vec<u8>]) {
        let Some(secrets) = &mut self.secrets else { return };
        draws.iter().filter(|draw| draw.len() != 24).for_each(|draw| secrets.learn("drawn secret", draw));
        let keys: Vec<(X25519Secret, X25519Public)> = draws
            .iter()
            .filter_map(|draw| draw.as_slice().try_into().ok())
            .map(|draw: &[u8; 32]| X25519Secret::from_bytes(draw))
            .map(|secret| (secret.clone(), secret.public()))
            .collect();
        for (at, (secret, _)) in keys.iter().enumerate() {
            for (_, public) in &keys[..at] {
                secrets.learn("X25519 result", secret.agree(public).unwrap().as_bytes());
            }
        }
    }
}

//! The lower bound: the primitives that the protocol's formulas call for, one after another on buffers that lie ready, by the
//! same backends, and nothing around them. No state, no layouts, no allocation, no checks of anything but tags and signatures, no erasure code.
//!
//! ```text
//! message   system randomness 24 B                                    (encrypting only)
//!           KDF_CK: HMAC keyed once, two tags                         curve chain
//!           HMAC keyed once, two tags                                 post-quantum chain
//!           XChaCha20-Poly1305 over the header, 192 B
//!           SHA-256 over the associated data, 302 B
//!           HKDF to 44 B
//!           ChaCha20-Poly1305 over the padded content, 302 B associated
//! turn      X25519 key pair, two Diffie–Hellmans, two HKDFs to 96 B
//! epoch     ML-KEM-768: key pair, encapsulation, check of the key, decapsulation
//!           on both sides three HKDFs (output key, authenticator, chains), HMAC of the header, HMAC of the ciphertext
//! ```

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use kuvert_protocol::hazmat::primitives::backend::chosen::{X25519Scalar, open, seal, xopen, xseal};
use kuvert_protocol::hazmat::primitives::x25519::X25519Public;
use kuvert_protocol::hazmat::ratchet::HEADER_LEN;
use kuvert_protocol::message::HANDSHAKE_LEN;
use kuvert_protocol::padding::padded_len;
use libcrux_ml_kem::mlkem768::incremental;
use libcrux_ml_kem::{mlkem768, mlkem1024};
use rand_core::Rng as _;
use sha2::{Digest, Sha256};
use std::hint::black_box;

use crate::conversation::Half;
use crate::meter::{Batch, Meter};
use crate::{Outcome, system_rng};

const ASSOCIATED_LEN: usize = 302;

fn hmac(key: &[u8]) -> Outcome<Hmac<Sha256>> {
    Ok(Hmac::new_from_slice(key)?)
}

fn tag(keyed: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    let mut keyed = keyed;
    for part in parts {
        keyed.update(part);
    }
    keyed.finalize().into_bytes().into()
}

/// HKDF with an info of 32 bytes and `info` bytes more.
pub(crate) fn hkdf<const N: usize>(salt: &[u8], ikm: &[u8], info: &[u8]) -> Outcome<[u8; N]> {
    let keyed = hmac(&tag(hmac(salt)?, &[ikm]))?;
    let mut okm = [0; N];
    let mut previous = [0; 32];
    for (at, block) in okm.chunks_mut(32).enumerate() {
        let before: &[u8] = if at == 0 { &[] } else { &previous };
        previous = tag(keyed.clone(), &[before, &[9; 32], info, &[at as u8 + 1]]);
        block.copy_from_slice(&previous[..block.len()]);
    }
    Ok(okm)
}

/// One message on buffers that lie ready.
pub struct Message {
    header: [u8; HEADER_LEN],
    body: Vec<u8>,
    associated: [u8; ASSOCIATED_LEN],
    encrypted_header: [u8; HEADER_LEN],
    header_tag: [u8; 16],
    sealed_body: Vec<u8>,
    body_tag: [u8; 16],
}

const HEADER_KEY: [u8; 32] = [3; 32];
const CHAIN_KEY: [u8; 32] = [4; 32];
const NONCE: [u8; 24] = [5; 24];

/// The chain keys and message keys of both ratchets, and the body's key and nonce from them.
fn body_key(associated: &[u8]) -> Outcome<([u8; 32], [u8; 12])> {
    let chain = hmac(black_box(&CHAIN_KEY))?;
    let message_key = tag(chain.clone(), &[&[1]]);
    black_box(tag(chain, &[&[2]]));
    let chain = hmac(black_box(&CHAIN_KEY))?;
    let post_quantum_key = tag(chain.clone(), &[&[6; 32], &[0; 4]]);
    black_box(tag(chain, &[&[7; 32], &[0; 4]]));
    let hash = Sha256::digest(associated);
    let okm = hkdf::<44>(&post_quantum_key, &message_key, &hash)?;
    let (key, nonce) = okm.split_at(32);
    Ok((key.try_into()?, nonce.try_into()?))
}

impl Message {
    /// With `size` bytes of content.
    ///
    /// # Errors
    /// Never for the sizes used here.
    pub fn new(size: usize) -> Outcome<Self> {
        let mut message = Self {
            header: [1; HEADER_LEN],
            body: vec![2; padded_len(size)],
            associated: [8; ASSOCIATED_LEN],
            encrypted_header: [1; HEADER_LEN],
            header_tag: [0; 16],
            sealed_body: vec![2; padded_len(size)],
            body_tag: [0; 16],
        };
        message.header_tag = xseal(&HEADER_KEY, &NONCE, &[], &mut message.encrypted_header);
        let (key, nonce) = body_key(&message.associated)?;
        message.body_tag = seal(&key, &nonce, &message.associated, &mut message.sealed_body);
        Ok(message)
    }

    fn send(&mut self) -> Outcome<()> {
        let mut nonce = [0; 24];
        system_rng().fill_bytes(&mut nonce);
        black_box(xseal(black_box(&HEADER_KEY), &nonce, &[], &mut self.header));
        let (key, nonce) = body_key(&self.associated)?;
        black_box(seal(&key, &nonce, &self.associated, &mut self.body));
        Ok(())
    }

    fn receive(&mut self) -> Outcome<()> {
        xopen(black_box(&HEADER_KEY), &NONCE, &[], &self.encrypted_header, &self.header_tag, &mut self.header)?;
        let (key, nonce) = body_key(&self.associated)?;
        open(&key, &nonce, &self.associated, &self.sealed_body, &self.body_tag, &mut self.body)?;
        Ok(())
    }
}

/// Messages in one direction.
pub struct OneDirection {
    message: Message,
    parts: usize,
    count: usize,
    half: Half,
}

impl OneDirection {
    /// As [`crate::conversation::OneDirection::new`].
    ///
    /// # Errors
    /// Never for the sizes used here.
    pub fn new(half: Half, size: usize, parts: usize, count: usize) -> Outcome<Self> {
        Ok(Self { message: Message::new(size.div_ceil(parts))?, parts, count, half })
    }
}

impl Batch for OneDirection {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        for _ in 0..self.count * self.parts {
            match self.half {
                Half::Send => self.message.send()?,
                Half::Receive => self.message.receive()?,
            }
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        self.count
    }
}

/// The curve half of a turn, both sides' keys.
struct Turn {
    ours: X25519Scalar,
    theirs: [u8; 32],
}

impl Turn {
    fn new() -> Self {
        Self { ours: X25519Scalar::new(&[10; 32]), theirs: X25519Scalar::new(&[11; 32]).public() }
    }

    fn run(&mut self) -> Outcome<()> {
        black_box(hkdf::<96>(&[1; 32], &*self.ours.multiply(&self.theirs), &[])?);
        // The next turn uses it again.
        self.ours = key_pair();
        black_box(hkdf::<96>(&[1; 32], &*self.ours.multiply(&self.theirs), &[])?);
        Ok(())
    }
}

/// A new X25519 key pair; its public half is made and thrown away.
pub(crate) fn key_pair() -> X25519Scalar {
    let mut bytes = [0; 32];
    system_rng().fill_bytes(&mut bytes);
    let secret = X25519Scalar::new(&bytes);
    black_box(secret.public());
    secret
}

/// A prekey read from its stored form.
fn stored_key_pair() -> X25519Scalar {
    let secret = X25519Scalar::new(black_box(&[10; 32]));
    black_box(secret.public());
    secret
}

/// One epoch of the Braid: each operation of ML-KEM-768 once, and what both sides derive and authenticate.
fn epoch() -> Outcome<()> {
    let mut seeds = [0; 96];
    system_rng().fill_bytes(&mut seeds);
    let (pair_seed, encapsulation_seed) = seeds.split_at(64);
    let mut pair = [0; incremental::key_pair_len()];
    incremental::generate_key_pair(pair_seed.try_into()?, &mut pair).map_err(|_| "key pair")?;
    let (header, rest) = pair.split_at(incremental::pk1_len());
    let vector = &rest[..incremental::pk2_len()];
    let mut state = [0; incremental::encaps_state_len()];
    let mut secret = [0; 32];
    let first = incremental::encapsulate1(header, encapsulation_seed.try_into()?, &mut state, &mut secret)
        .map_err(|_| "encapsulation")?;
    incremental::validate_pk_bytes(header, vector).map_err(|_| "check")?;
    let second = incremental::encapsulate2(&state, vector.try_into()?);
    let shared = incremental::decapsulate_incremental_key(&pair, &first, &second).map_err(|_| "decapsulation")?;
    for _ in 0..2 {
        let key = hkdf::<32>(&[0; 32], &secret, &[0; 8])?;
        black_box(hkdf::<64>(&[1; 32], &key, &[0; 8])?);
        black_box(hkdf::<96>(&[1; 32], &key, &[0; 8])?);
        black_box(tag(hmac(&key)?, &[&[2; 32], &[0; 8], header]));
        black_box(tag(hmac(&key)?, &[&[2; 32], &[0; 8], &first.value, &second.value]));
    }
    if shared == secret { Ok(()) } else { Err("ML-KEM disagrees with itself".into()) }
}

/// A message, a turn, and a message's share of an epoch.
pub struct PingPong {
    message: Message,
    turn: Turn,
    count: usize,
}

impl PingPong {
    /// Batches of `count` messages, in which two epochs pass.
    ///
    /// # Errors
    /// Never for the sizes used here.
    pub fn new(size: usize, count: usize) -> Outcome<Self> {
        Ok(Self { message: Message::new(size)?, turn: Turn::new(), count })
    }
}

impl Batch for PingPong {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        for _ in 0..self.count {
            self.message.send()?;
            self.message.receive()?;
            self.turn.run()?;
        }
        epoch()?;
        epoch()?;
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        self.count
    }
}

/// Two epochs and the chains' HMACs, for `count` messages sent and received.
pub struct Braid {
    count: usize,
}

impl Braid {
    /// Batches of `count` messages, in which two epochs pass.
    pub const fn new(count: usize) -> Self {
        Self { count }
    }
}

impl Batch for Braid {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        // Sent and received.
        for _ in 0..2 * self.count {
            let chain = hmac(black_box(&CHAIN_KEY))?;
            black_box(tag(chain.clone(), &[&[6; 32], &[0; 4]]));
            black_box(tag(chain, &[&[7; 32], &[0; 4]]));
        }
        epoch()?;
        epoch()?;
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        self.count
    }
}

/// What the Braid does once more in two epochs, because memory and snapshots hold seeds: a key pair is expanded again to
/// decapsulate, and the first half of an encapsulation is repeated for the second.
pub struct Again {
    count: usize,
}

impl Again {
    /// Batches of `count` messages, in which two epochs pass.
    pub const fn new(count: usize) -> Self {
        Self { count }
    }
}

impl Batch for Again {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        for _ in 0..2 {
            let mut pair = [0; incremental::key_pair_len()];
            incremental::generate_key_pair(black_box([13; 64]), &mut pair).map_err(|_| "key pair")?;
            let mut state = [0; incremental::encaps_state_len()];
            let (header, _) = pair.split_at(incremental::pk1_len());
            let again = incremental::encapsulate1(header, [14; 32], &mut state, &mut [0; 32]);
            black_box((again.map_err(|_| "encapsulation")?.value, state));
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        self.count
    }
}

/// The chains' HMACs of one direction's messages: the post-quantum part of [`OneDirection`].
pub struct PostQuantumChain {
    parts: usize,
    count: usize,
}

impl PostQuantumChain {
    /// Batches of `count` contents, each in `parts` messages.
    pub const fn new(parts: usize, count: usize) -> Self {
        Self { parts, count }
    }
}

impl Batch for PostQuantumChain {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        for _ in 0..self.count * self.parts {
            let chain = hmac(black_box(&CHAIN_KEY))?;
            black_box(tag(chain.clone(), &[&[6; 32], &[0; 4]]));
            black_box(tag(chain, &[&[7; 32], &[0; 4]]));
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        self.count
    }
}

/// Which side of the key agreement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreement {
    /// Four signatures checked, two key pairs, five Diffie–Hellmans, ML-KEM-1024 encapsulation with the key's check, the
    /// Braid's first key pair, the transcript hash, six HKDFs, one message.
    Initiator,
    /// Two signatures checked, the ephemeral key checked for torsion, three key pairs (two of them prekeys read from their
    /// secret halves), six Diffie–Hellmans, ML-KEM-1024 key pair from its seed and decapsulation, the transcript hash, seven
    /// HKDFs, one message.
    Recipient,
}

/// Key agreement and first message.
pub struct Establish {
    side: Agreement,
    message: Message,
    turn: Turn,
    device: X25519Scalar,
    verifying: VerifyingKey,
    signature: ed25519_dalek::Signature,
    /// As long as a transcript.
    transcript: Vec<u8>,
    kem: mlkem1024::MlKem1024KeyPair,
    kem_ciphertext: mlkem1024::MlKem1024Ciphertext,
    ephemeral: X25519Public,
}

const SESSIONS: usize = 8;

impl Establish {
    /// With `size` bytes in the first message.
    ///
    /// # Errors
    /// Never for the sizes used here.
    pub fn new(side: Agreement, size: usize) -> Outcome<Self> {
        let signing = SigningKey::from_bytes(&[12; 32]);
        let kem = mlkem1024::generate_key_pair([13; 64]);
        let (kem_ciphertext, _) = mlkem1024::encapsulate(kem.public_key(), [14; 32]);
        let turn = Turn::new();
        Ok(Self {
            side,
            message: Message::new(size)?,
            ephemeral: X25519Public::decode(turn.theirs)?,
            turn,
            device: X25519Scalar::new(&[17; 32]),
            verifying: signing.verifying_key(),
            signature: signing.sign(&[15; 149]),
            transcript: vec![16; 3_513],
            kem,
            kem_ciphertext,
        })
    }

    fn verify(&self) -> Outcome<()> {
        let key = VerifyingKey::from_bytes(black_box(self.verifying.as_bytes()))?;
        Ok(key.verify_strict(&[15; 149], &self.signature)?)
    }

    fn agree(&self, with: &X25519Scalar, times: usize) {
        for _ in 0..times {
            black_box(black_box(with).multiply(&self.turn.theirs));
        }
    }

    fn run_once(&mut self) -> Outcome<()> {
        // What both sides do: transcript, handshake digest, SK, ratchet keys, post-quantum secret and its start.
        black_box(Sha256::digest(&self.transcript));
        black_box(Sha256::digest(&self.transcript[..HANDSHAKE_LEN]));
        black_box(hkdf::<32>(&[0; 32], &[1; 192], &[2; 32])?);
        black_box(hkdf::<96>(&[0; 32], &[1; 32], &[])?);
        black_box(hkdf::<32>(&[0; 32], &[1; 32], &[])?);
        black_box(hkdf::<128>(&[0; 32], &[1; 32], &[])?);
        match self.side {
            Agreement::Initiator => {
                for _ in 0..4 {
                    self.verify()?;
                }
                // With the device's own key, the ephemeral key and the first ratchet key.
                self.agree(&self.device, 1);
                self.agree(&key_pair(), 3);
                self.agree(&key_pair(), 1);
                black_box(hkdf::<96>(&[0; 32], &[1; 32], &[])?);
                if !mlkem1024::validate_public_key(self.kem.public_key()) {
                    return Err("ML-KEM key".into());
                }
                let mut seed = [0; 96];
                system_rng().fill_bytes(&mut seed);
                let (encapsulation, pair) = seed.split_at(32);
                black_box(mlkem1024::encapsulate(self.kem.public_key(), encapsulation.try_into()?));
                black_box(mlkem768::generate_key_pair(pair.try_into()?));
                self.message.send()
            }
            Agreement::Recipient => {
                self.verify()?;
                self.verify()?;
                if !black_box(&self.ephemeral).is_torsion_free() {
                    return Err("torsion".into());
                }
                // With the signed prekey, the one-time prekey and the device's own key; the turn has the rest.
                let signed = stored_key_pair();
                self.agree(&signed, 2);
                self.agree(&stored_key_pair(), 1);
                self.agree(&self.device, 1);
                black_box(mlkem1024::generate_key_pair(black_box([13; 64])));
                black_box(mlkem1024::decapsulate(self.kem.private_key(), &self.kem_ciphertext));
                self.turn.ours = signed;
                self.turn.run()?;
                self.message.receive()
            }
        }
    }
}

impl Batch for Establish {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        for _ in 0..SESSIONS {
            self.run_once()?;
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        SESSIONS
    }
}

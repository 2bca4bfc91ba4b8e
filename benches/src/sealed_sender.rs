//! Sealed sender, the layer around a session message that hides who wrote it, and its lower bound.
//!
//! ```text
//! seal      X25519 key pair, two Diffie–Hellmans, HKDF to 76 B and to 44 B, SHA-256 of 261 B
//!           ChaCha20-Poly1305 over the sender's certificate, 85 B associated, and over the session message, 117 B associated
//! open      two Diffie–Hellmans, the same HKDFs and SHA-256, the same opened, two signatures checked
//! ```

use std::hint::black_box;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use kuvert_protocol::message::RATCHET_MESSAGE_OVERHEAD;
use kuvert_protocol::padding::padded_len;
use kuvert_protocol::primitives::backend::chosen::{X25519Scalar, open, seal};
use kuvert_protocol::sealed_sender;
use kuvert_types::DeviceCertificate;

use crate::Outcome;
use crate::bound::{hkdf, key_pair};
use crate::conversation::{Conversation, Half, Side, content};
use crate::kuvert::Kuvert;
use crate::meter::{Batch, Meter};

/// Messages in a batch.
const MESSAGES: usize = 16;

/// Alice seals, or Bob opens what she sealed.
pub struct SealedSender {
    pair: Kuvert,
    half: Half,
    message: Vec<u8>,
    sealed: Vec<u8>,
}

impl SealedSender {
    /// Around a session message with `size` bytes of content.
    ///
    /// # Errors
    /// No session could be begun.
    pub fn new(half: Half, size: usize) -> Outcome<Self> {
        let mut pair = Kuvert::begin()?;
        let message = pair.send(Side::Alice, &content(size))?;
        let mut sealed = Self { pair, half, message, sealed: Vec::new() };
        sealed.sealed = sealed.seal()?;
        Ok(sealed)
    }

    fn seal(&mut self) -> Outcome<Vec<u8>> {
        let Kuvert { alice, bob, rng, .. } = &mut self.pair;
        Ok(sealed_sender::seal(&alice.local, bob.local.certificate(), &self.message, &mut **rng)?)
    }
}

impl Batch for SealedSender {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        for _ in 0..MESSAGES {
            match self.half {
                Half::Send => drop(black_box(self.seal()?)),
                Half::Receive => drop(black_box(sealed_sender::open(&self.pair.bob.local, &self.sealed)?)),
            }
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        MESSAGES
    }
}

const ASSOCIATED: [u8; 85] = [8; 85];
/// What the key is derived with, beside the label: ephemeral key, identity key and address.
const INFO: [u8; 84] = [9; 84];

/// The same primitives with nothing around.
pub struct Bound {
    half: Half,
    recipient: X25519Scalar,
    recipient_public: [u8; 32],
    ephemeral_public: [u8; 32],
    verifying: VerifyingKey,
    signature: Signature,
    data: Vec<u8>,
    sealed: Vec<u8>,
    tag: [u8; 16],
}

impl Bound {
    /// As [`SealedSender::new`].
    ///
    /// # Errors
    /// Never for the sizes used here.
    pub fn new(half: Half, size: usize) -> Outcome<Self> {
        let (recipient, ephemeral) = (X25519Scalar::new(&[10; 32]), X25519Scalar::new(&[11; 32]));
        let signing = SigningKey::from_bytes(&[12; 32]);
        let data = vec![2; DeviceCertificate::LEN + padded_len(size) + RATCHET_MESSAGE_OVERHEAD];
        let mut bound = Self {
            half,
            recipient_public: recipient.public(),
            ephemeral_public: ephemeral.public(),
            recipient,
            verifying: signing.verifying_key(),
            signature: signing.sign(&[15; 149]),
            sealed: data.clone(),
            data,
            tag: [0; 16],
        };
        let (key, nonce) = keys(&ephemeral, &bound.recipient_public)?;
        bound.tag = seal(&key, &nonce, &ASSOCIATED, &mut bound.sealed);
        Ok(bound)
    }

    fn run_once(&mut self) -> Outcome<()> {
        match self.half {
            Half::Send => {
                let (key, nonce) = keys(&key_pair(), &self.recipient_public)?;
                black_box(seal(&key, &nonce, &ASSOCIATED, &mut self.data));
            }
            Half::Receive => {
                let (key, nonce) = keys(&self.recipient, &self.ephemeral_public)?;
                open(&key, &nonce, &ASSOCIATED, &self.sealed, &self.tag, &mut self.data)?;
                for _ in 0..2 {
                    let verifying = VerifyingKey::from_bytes(black_box(self.verifying.as_bytes()))?;
                    verifying.verify_strict(&[15; 149], &self.signature)?;
                }
            }
        }
        Ok(())
    }
}

/// Key and nonce of one sealed message.
fn keys(ours: &X25519Scalar, theirs: &[u8; 32]) -> Outcome<([u8; 32], [u8; 12])> {
    let okm = hkdf::<44>(&[0; 32], &*black_box(ours).multiply(theirs), &INFO)?;
    let (key, nonce) = okm.split_at(32);
    Ok((key.try_into()?, nonce.try_into()?))
}

impl Batch for Bound {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        for _ in 0..MESSAGES {
            self.run_once()?;
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        MESSAGES
    }
}

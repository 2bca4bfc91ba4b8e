//! Sealed sender, the layer around a session message that hides who wrote it, and its lower bound.
//!
//! ```text
//! seal      X25519 key pair, two Diffie–Hellmans, HKDF to 76 B and to 44 B, SHA-256 of 261 B
//!           ChaCha20-Poly1305 over the sender's certificate, 85 B associated, and over the session message, 117 B associated
//! open      two Diffie–Hellmans, the same HKDFs and SHA-256, the same opened, two signatures checked
//! ```

use std::hint::black_box;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use kuvert_protocol::hazmat::primitives::backend::chosen::{X25519Scalar, open, seal};
use kuvert_protocol::message::RATCHET_MESSAGE_OVERHEAD;
use kuvert_protocol::padding::padded_len;
use kuvert_protocol::sealed_sender;
use kuvert_types::DeviceCertificate;
use sha2::{Digest, Sha256};

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

/// Beside the certificate: version, ephemeral key, identity key and address.
const ASSOCIATED: [u8; 85] = [8; 85];
/// Beside the message: the same, and the hash of the encrypted certificate.
const ASSOCIATED_MESSAGE: [u8; 117] = [8; 117];
/// What the keys are derived with, beside the labels.
const INFO: [u8; 84] = [9; 84];

/// The same primitives with nothing around.
pub struct Bound {
    half: Half,
    own: X25519Scalar,
    theirs: [u8; 32],
    ephemeral_public: [u8; 32],
    verifying: VerifyingKey,
    signature: Signature,
    certificate: Layer<{ DeviceCertificate::LEN }>,
    message: Vec<u8>,
    sealed_message: Vec<u8>,
    message_tag: [u8; 16],
}

/// Something of fixed length, sealed.
struct Layer<const N: usize> {
    plain: [u8; N],
    sealed: [u8; N],
    tag: [u8; 16],
}

impl Bound {
    /// As [`SealedSender::new`].
    ///
    /// # Errors
    /// Never for the sizes used here.
    pub fn new(half: Half, size: usize) -> Outcome<Self> {
        let (own, ephemeral, theirs) =
            (X25519Scalar::new(&[10; 32]), X25519Scalar::new(&[11; 32]), X25519Scalar::new(&[13; 32]).public());
        let signing = SigningKey::from_bytes(&[12; 32]);
        let message = vec![2; padded_len(size) + RATCHET_MESSAGE_OVERHEAD];
        let plain = [3; DeviceCertificate::LEN];
        let mut bound = Self {
            half,
            theirs,
            ephemeral_public: ephemeral.public(),
            verifying: signing.verifying_key(),
            signature: signing.sign(&[15; 149]),
            certificate: Layer { plain, sealed: plain, tag: [0; 16] },
            sealed_message: message.clone(),
            message,
            message_tag: [0; 16],
            own,
        };
        let (key, nonce, chaining_key) = certificate_keys(&bound.own, &bound.ephemeral_public)?;
        bound.certificate.tag = seal(&key, &nonce, &ASSOCIATED, &mut bound.certificate.sealed);
        let (key, nonce) = message_keys(&bound.own, &theirs, &chaining_key, &bound.certificate.sealed)?;
        bound.message_tag = seal(&key, &nonce, &ASSOCIATED_MESSAGE, &mut bound.sealed_message);
        Ok(bound)
    }

    fn run_once(&mut self) -> Outcome<()> {
        match self.half {
            Half::Send => {
                let (key, nonce, chaining_key) = certificate_keys(&key_pair(), &self.theirs)?;
                black_box(seal(&key, &nonce, &ASSOCIATED, &mut self.certificate.plain));
                let (key, nonce) = message_keys(&self.own, &self.theirs, &chaining_key, &self.certificate.plain)?;
                black_box(seal(&key, &nonce, &ASSOCIATED_MESSAGE, &mut self.message));
            }
            Half::Receive => {
                let (key, nonce, chaining_key) = certificate_keys(&self.own, &self.ephemeral_public)?;
                let Layer { plain, sealed, tag } = &mut self.certificate;
                open(&key, &nonce, &ASSOCIATED, &sealed[..], tag, &mut plain[..])?;
                for _ in 0..2 {
                    let verifying = VerifyingKey::from_bytes(black_box(self.verifying.as_bytes()))?;
                    verifying.verify_strict(&[15; 149], &self.signature)?;
                }
                let (key, nonce) = message_keys(&self.own, &self.theirs, &chaining_key, &self.certificate.sealed)?;
                let (sealed, tag) = (&self.sealed_message, &self.message_tag);
                open(&key, &nonce, &ASSOCIATED_MESSAGE, sealed, tag, &mut self.message)?;
            }
        }
        Ok(())
    }
}

type KeyAndNonce = ([u8; 32], [u8; 12]);

/// Key and nonce of the certificate, and the chaining key.
fn certificate_keys(ours: &X25519Scalar, theirs: &[u8; 32]) -> Outcome<([u8; 32], [u8; 12], [u8; 32])> {
    let okm = hkdf::<76>(&[0; 32], &*black_box(ours).multiply(theirs), &INFO)?;
    Ok((okm[..32].try_into()?, okm[32..44].try_into()?, okm[44..].try_into()?))
}

/// Key and nonce of the message beside an encrypted certificate.
fn message_keys(
    ours: &X25519Scalar,
    theirs: &[u8; 32],
    chaining_key: &[u8; 32],
    encrypted: &[u8],
) -> Outcome<KeyAndNonce> {
    let info = [&INFO[..], &Sha256::digest(encrypted)].concat();
    let okm = hkdf::<44>(chaining_key, &*black_box(ours).multiply(theirs), &info)?;
    Ok((okm[..32].try_into()?, okm[32..].try_into()?))
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

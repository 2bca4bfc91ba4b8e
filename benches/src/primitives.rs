//! Single primitives by every backend that the program links: the portable crates that the protocol uses, and aws-lc-rs, which
//! TLS brings along. Each operation includes setting its key, because the protocol has a new key for each message.

use std::hint::black_box;

use ::hmac::{Hmac, Mac};
use aws_lc_rs::{aead, agreement, hkdf, hmac, kem, signature};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, XChaCha20Poly1305};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use kuvert_protocol::hazmat::ratchet::HEADER_LEN;
use libcrux_ml_kem::{mlkem768, mlkem1024};
use rand_core::Rng as _;
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::meter::{Batch, Meter};
use crate::{Outcome, system_rng};

/// One operation again and again.
struct Repeat<F> {
    count: usize,
    operation: F,
}

impl<F: FnMut() -> Outcome<()>> Batch for Repeat<F> {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        for _ in 0..self.count {
            (self.operation)()?;
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        self.count
    }
}

/// One operation by several backends.
pub struct Operation {
    /// Of the row.
    pub name: &'static str,
    /// Bytes that it works on.
    pub size: Option<usize>,
    /// Backends, and the work by each.
    pub backends: Vec<(&'static str, Box<dyn Batch>)>,
}

fn backend(
    name: &'static str,
    count: usize,
    operation: impl FnMut() -> Outcome<()> + 'static,
) -> (&'static str, Box<dyn Batch>) {
    (name, Box::new(Repeat { count, operation }))
}

/// All of them.
///
/// # Errors
/// A key could not be made.
pub fn operations() -> Outcome<Vec<Operation>> {
    let mut operations = Vec::new();
    for size in [64, 256, 1024, 16384, 65536] {
        operations.push(seal(size));
        operations.push(open(size)?);
    }
    operations.extend([
        header(),
        hmac_sha256(),
        hkdf_sha256(),
        sha256(302),
        sha256(65536),
        randomness(),
        key_pair(),
        diffie_hellman()?,
    ]);
    operations.extend([sign()?, verify()?]);
    operations.extend(ml_kem_768()?);
    operations.extend(ml_kem_1024()?);
    Ok(operations)
}

const KEY: [u8; 32] = [3; 32];
const ASSOCIATED: [u8; 32] = [8; 32];

fn aws_key() -> Outcome<aead::LessSafeKey> {
    Ok(aead::LessSafeKey::new(aead::UnboundKey::new(&aead::CHACHA20_POLY1305, black_box(&KEY))?))
}

fn aws_nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; 12])
}

/// 64 KiB of work a batch.
fn count_for(size: usize) -> usize {
    (65_536 / (size + 256)).max(4)
}

fn seal(size: usize) -> Operation {
    let (mut ours, mut theirs) = (vec![1; size], vec![1; size]);
    let count = count_for(size);
    let backends = vec![
        backend("chacha20poly1305", count, move || {
            let cipher = ChaCha20Poly1305::new(black_box(&KEY).into());
            let sealed = cipher.encrypt_inout_detached(&[0; 12].into(), &ASSOCIATED, ours.as_mut_slice().into());
            black_box(sealed.map_err(|_| "sealing")?);
            Ok(())
        }),
        backend("aws-lc-rs", count, move || {
            let associated = aead::Aad::from(ASSOCIATED);
            let tag = aws_key()?.seal_in_place_separate_tag(aws_nonce(), associated, &mut theirs)?;
            let _ = black_box(tag);
            Ok(())
        }),
    ];
    Operation { name: "aead_seal", size: Some(size), backends }
}

/// What is opened is copied first; the copy is part of the figure, the same for both.
fn open(size: usize) -> Outcome<Operation> {
    let mut sealed = vec![1; size];
    let tag = ChaCha20Poly1305::new(&KEY.into())
        .encrypt_inout_detached(&[0; 12].into(), &ASSOCIATED, sealed.as_mut_slice().into())
        .map_err(|_| "sealing")?;
    let mut with_tag = sealed.clone();
    with_tag.extend_from_slice(&tag);
    let (mut ours, mut theirs) = (sealed.clone(), with_tag.clone());
    let count = count_for(size);
    let backends = vec![
        backend("chacha20poly1305", count, move || {
            ours.copy_from_slice(&sealed);
            let cipher = ChaCha20Poly1305::new(black_box(&KEY).into());
            cipher
                .decrypt_inout_detached(&[0; 12].into(), &ASSOCIATED, ours.as_mut_slice().into(), &tag)
                .map_err(|_| "opening")?;
            Ok(())
        }),
        backend("aws-lc-rs", count, move || {
            theirs.copy_from_slice(&with_tag);
            black_box(aws_key()?.open_in_place(aws_nonce(), aead::Aad::from(ASSOCIATED), &mut theirs)?);
            Ok(())
        }),
    ];
    Ok(Operation { name: "aead_open", size: Some(size), backends })
}

fn header() -> Operation {
    let mut header = [1; HEADER_LEN];
    let backends = vec![backend("chacha20poly1305", 128, move || {
        let cipher = XChaCha20Poly1305::new(black_box(&KEY).into());
        let sealed = cipher.encrypt_inout_detached(&[0; 24].into(), &[], header.as_mut_slice().into());
        black_box(sealed.map_err(|_| "sealing")?);
        Ok(())
    })];
    Operation { name: "xchacha_seal", size: Some(HEADER_LEN), backends }
}

fn hmac_sha256() -> Operation {
    let backends = vec![
        backend("hmac", 256, || {
            let mut keyed = Hmac::<Sha256>::new_from_slice(black_box(&KEY))?;
            keyed.update(&[1]);
            black_box(keyed.finalize().into_bytes());
            Ok(())
        }),
        backend("aws-lc-rs", 256, || {
            black_box(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, black_box(&KEY)), &[1]));
            Ok(())
        }),
    ];
    Operation { name: "hmac_sha256", size: Some(1), backends }
}

/// How many bytes HKDF is to give.
struct Bytes(usize);

impl hkdf::KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn hkdf_sha256() -> Operation {
    let backends = vec![
        backend("hmac", 128, || {
            black_box(kuvert_protocol::hazmat::primitives::kdf::hkdf_sha256::<44>(
                black_box(&KEY),
                &[&KEY],
                &[&[9; 64]],
            ));
            Ok(())
        }),
        backend("aws-lc-rs", 128, || {
            let mut okm = [0; 44];
            let key = hkdf::Salt::new(hkdf::HKDF_SHA256, black_box(&KEY)).extract(&KEY);
            key.expand(&[&[9; 64]], Bytes(44))?.fill(&mut okm)?;
            black_box(okm);
            Ok(())
        }),
    ];
    Operation { name: "hkdf_sha256", size: Some(44), backends }
}

fn sha256(size: usize) -> Operation {
    let (ours, theirs) = (vec![8; size], vec![8; size]);
    let count = count_for(size);
    let backends = vec![
        backend("sha2", count, move || {
            black_box(Sha256::digest(black_box(&ours)));
            Ok(())
        }),
        backend("aws-lc-rs", count, move || {
            black_box(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, black_box(&theirs)));
            Ok(())
        }),
    ];
    Operation { name: "sha256", size: Some(size), backends }
}

fn randomness() -> Operation {
    let backends = vec![
        backend("getrandom", 256, || {
            let mut bytes = [0; 24];
            system_rng().fill_bytes(&mut bytes);
            black_box(bytes);
            Ok(())
        }),
        backend("aws-lc-rs", 64, || {
            let mut bytes = [0; 24];
            aws_lc_rs::rand::fill(&mut bytes)?;
            black_box(bytes);
            Ok(())
        }),
    ];
    Operation { name: "randomness", size: Some(24), backends }
}

fn key_pair() -> Operation {
    let backends = vec![
        backend("x25519-dalek", 32, || {
            let mut bytes = [0; 32];
            system_rng().fill_bytes(&mut bytes);
            black_box(PublicKey::from(&StaticSecret::from(bytes)));
            Ok(())
        }),
        backend("aws-lc-rs", 32, || {
            black_box(agreement::PrivateKey::generate(&agreement::X25519)?.compute_public_key()?);
            Ok(())
        }),
    ];
    Operation { name: "x25519_key_pair", size: None, backends }
}

fn diffie_hellman() -> Outcome<Operation> {
    let ours = StaticSecret::from([10; 32]);
    let theirs = PublicKey::from(&StaticSecret::from([11; 32]));
    let aws_ours = agreement::PrivateKey::from_private_key(&agreement::X25519, &[10; 32])?;
    let backends = vec![
        backend("x25519-dalek", 16, move || {
            black_box(black_box(&ours).diffie_hellman(&theirs));
            Ok(())
        }),
        backend("aws-lc-rs", 16, move || {
            let theirs = agreement::UnparsedPublicKey::new(&agreement::X25519, black_box(theirs.as_bytes()));
            agreement::agree(&aws_ours, theirs, "agreement".into(), |shared| {
                black_box(shared);
                Ok(())
            })
        }),
    ];
    Ok(Operation { name: "x25519_agree", size: None, backends })
}

fn sign() -> Outcome<Operation> {
    let ours = SigningKey::from_bytes(&KEY);
    let aws = signature::Ed25519KeyPair::from_seed_unchecked(&KEY)?;
    let backends = vec![
        backend("ed25519-dalek", 32, move || {
            black_box(ours.sign(black_box(&[15; 149])));
            Ok(())
        }),
        backend("aws-lc-rs", 32, move || {
            black_box(aws.sign(black_box(&[15; 149])));
            Ok(())
        }),
    ];
    Ok(Operation { name: "ed25519_sign", size: Some(149), backends })
}

/// dalek's is the strict check, which refuses more.
fn verify() -> Outcome<Operation> {
    let ours = SigningKey::from_bytes(&KEY);
    let signed = ours.sign(&[15; 149]);
    let public = ours.verifying_key().to_bytes();
    let backends = vec![
        backend("ed25519-dalek", 16, move || {
            Ok(VerifyingKey::from_bytes(black_box(&public))?.verify_strict(&[15; 149], &signed)?)
        }),
        backend("aws-lc-rs", 16, move || {
            let key = signature::UnparsedPublicKey::new(&signature::ED25519, black_box(&public));
            Ok(key.verify(&[15; 149], &signed.to_bytes())?)
        }),
    ];
    Ok(Operation { name: "ed25519_verify", size: Some(149), backends })
}

/// aws-lc-rs's pieces of one parameter set: generate, encapsulate, decapsulate.
fn aws_kem(algorithm: &'static kem::Algorithm) -> Outcome<[(&'static str, Box<dyn Batch>); 3]> {
    let secret = kem::DecapsulationKey::generate(algorithm)?;
    let public = secret.encapsulation_key()?;
    let bytes = public.key_bytes()?;
    let public = kem::EncapsulationKey::new(algorithm, bytes.as_ref())?;
    let (ciphertext, _) = public.encapsulate()?;
    let ciphertext = ciphertext.as_ref().to_vec();
    Ok([
        backend("aws-lc-rs", 16, move || {
            black_box(kem::DecapsulationKey::generate(algorithm)?);
            Ok(())
        }),
        backend("aws-lc-rs", 16, move || {
            black_box(public.encapsulate()?);
            Ok(())
        }),
        backend("aws-lc-rs", 16, move || {
            black_box(secret.decapsulate(black_box(ciphertext.as_slice()).into())?);
            Ok(())
        }),
    ])
}

macro_rules! ml_kem {
    ($function:ident, $module:ident, $algorithm:path, $names:expr) => {
        fn $function() -> Outcome<[Operation; 3]> {
            let pair = $module::generate_key_pair([13; 64]);
            let public = pair.public_key().clone();
            let (ciphertext, _) = $module::encapsulate(&public, [14; 32]);
            let libcrux = [
                backend("libcrux", 16, || {
                    black_box($module::generate_key_pair(black_box([13; 64])));
                    Ok(())
                }),
                backend("libcrux", 16, move || {
                    black_box($module::encapsulate(&public, black_box([14; 32])));
                    Ok(())
                }),
                backend("libcrux", 16, move || {
                    black_box($module::decapsulate(pair.private_key(), black_box(&ciphertext)));
                    Ok(())
                }),
            ];
            let mut both = libcrux.into_iter().zip(aws_kem(&$algorithm)?);
            let mut names = $names.into_iter();
            let mut next = || -> Outcome<Operation> {
                let (libcrux, aws) = both.next().ok_or("three operations")?;
                let name = names.next().ok_or("three names")?;
                Ok(Operation { name, size: None, backends: vec![libcrux, aws] })
            };
            Ok([next()?, next()?, next()?])
        }
    };
}

ml_kem!(ml_kem_768, mlkem768, kem::ML_KEM_768, ["mlkem768_key_pair", "mlkem768_encapsulate", "mlkem768_decapsulate"]);
ml_kem!(
    ml_kem_1024,
    mlkem1024,
    kem::ML_KEM_1024,
    ["mlkem1024_key_pair", "mlkem1024_encapsulate", "mlkem1024_decapsulate"]
);

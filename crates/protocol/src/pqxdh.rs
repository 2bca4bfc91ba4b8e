//! The key agreement: PQXDH with separated identity keys (PROTOCOL.md, Key agreement).
//! Specification: <https://signal.org/docs/specifications/pqxdh/>
//!
//! ```text
//! DH1 = DH(IK_A, SPK_B)   DH2 = DH(EK_A, IK_B)   DH3 = DH(EK_A, SPK_B)   DH4 = DH(EK_A, OPK_B), if there is one
//! SS  = ML-KEM-1024 to the KEM prekey
//! SK  = HKDF(salt = 0^32, IKM = 0xFF^32 ‖ DH1 ‖ DH2 ‖ DH3 [‖ DH4] ‖ SS,
//!            info = label "Kuvert/1 PQXDH session secret" ‖ transcript hash)                             32 bytes
//! transcript hash = SHA-256(label "Kuvert/1 PQXDH transcript" ‖ version u8 = 1
//!     ‖ initiator's certificate body 117 ‖ recipient's certificate body 117
//!     ‖ EK_A 32 ‖ SPK id u32 ‖ SPK 32 ‖ KEM kind u8 ‖ KEM id u32 ‖ KEM public key 1568 ‖ KEM ciphertext 1568
//!     ‖ OPK u8 (1 used, 0 none) ‖ OPK id u32 ‖ OPK 32)                                   the last two zero if none
//! ```
//! A certificate's body names address, account key and both device keys, so both sides agree on their identities, not only on
//! a secret: certifying another account's key as one's own gives another hash.

use alloc::boxed::Box;

use kuvert_types::{DeviceCertificate, Signature};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::identity::LocalDevice;
use crate::labels::{PQ_RATCHET_SECRET, REPLAY, SESSION_SECRET, TRANSCRIPT};
use crate::message::{HANDSHAKE_LEN, HandshakeChoice, PROTOCOL_VERSION};
use crate::prekey::{KemPrekeySecret, OneTimePrekeySecret, SignedPrekeySecret, VerifiedBundle};
use crate::primitives::kdf::{hkdf_sha256, hmac_sha256};
use crate::primitives::kem1024::{KemPublic, KemShared};
use crate::primitives::x25519::{InvalidX25519Key, SharedSecret, X25519Public, X25519Secret};
use crate::ratchet::InitialKeys;

/// What both sides agree on.
pub(crate) struct Agreement {
    pub(crate) transcript: TranscriptHash,
    pub(crate) secret: SessionSecret,
}

/// Names everything that the agreement is about; goes into the associated data of every message of the session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct TranscriptHash(pub(crate) [u8; 32]);

/// SK. Wiped when dropped [KV-025]; boxed, so that it can move without leaving copies behind.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct SessionSecret(Box<[u8; 32]>);

impl SessionSecret {
    pub(crate) fn ratchet_keys(&self) -> InitialKeys {
        InitialKeys::derive(&self.0)
    }

    /// `HKDF(salt = 0^32, IKM = SK, info = label "Kuvert/1 pq ratchet secret")`, 32 bytes.
    pub(crate) fn pq_ratchet_secret(&self) -> Zeroizing<[u8; 32]> {
        hkdf_sha256(&[0; 32], &[&*self.0], &[&PQ_RATCHET_SECRET])
    }

    /// `HMAC(SK, label "Kuvert/1 replay tag")`: the same for a replay, whatever spelling its keys have.
    pub(crate) fn replay_tag(&self) -> [u8; 32] {
        *hmac_sha256(&*self.0, &[&REPLAY])
    }
}

/// The initiator's side: the agreement, and the handshake that lets the recipient repeat it.
///
/// # Errors
/// A Diffie–Hellman result is zero, which the bundle's checks rule out.
pub(crate) fn initiate(
    local: &LocalDevice,
    bundle: &VerifiedBundle,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<(Agreement, Box<[u8; HANDSHAKE_LEN]>), InvalidX25519Key> {
    let ephemeral = X25519Secret::generate(rng);
    let (kem_ciphertext, kem_shared) = bundle.kem_prekey.encapsulate(rng);
    let identity = local.secrets().identity();
    let signed_prekey = &bundle.signed_prekey;
    let dh1 = identity.agree(signed_prekey)?;
    let dh2 = ephemeral.agree(&bundle.identity)?;
    let dh3 = ephemeral.agree(signed_prekey)?;
    let dh4 = bundle.one_time.as_ref().map(|(_, key)| ephemeral.agree(key)).transpose()?;

    let choice = HandshakeChoice {
        ephemeral: ephemeral.public(),
        signed_prekey_id: bundle.signed_prekey_id,
        kem_kind: bundle.kem_kind,
        kem_prekey_id: bundle.kem_prekey_id,
        kem_ciphertext: &kem_ciphertext,
        one_time_prekey_id: bundle.one_time.as_ref().map(|(id, _)| *id),
    };
    let prekeys = PrekeyPublics {
        signed: signed_prekey,
        kem: &bundle.kem_prekey,
        one_time: bundle.one_time.as_ref().map(|(_, key)| key),
    };
    let transcript = transcript(local.certificate(), &bundle.certificate, &choice, &prekeys);
    let secret = session_secret([&dh1, &dh2, &dh3], dh4.as_ref(), &kem_shared, &transcript);
    Ok((Agreement { transcript, secret }, Box::new(choice.encode(local.certificate()))))
}

/// The recipient's prekeys that a handshake names.
pub(crate) struct PrekeysInUse {
    pub(crate) signed: SignedPrekeySecret,
    pub(crate) kem: KemPrekeySecret,
    pub(crate) one_time: Option<OneTimePrekeySecret>,
}

/// The recipient's side.
///
/// # Errors
/// The initiator's identity key or ephemeral key is no good key. The ephemeral key must be in the prime-order group:
/// otherwise seven other spellings of it would give the same Diffie–Hellman results.
pub(crate) fn respond(
    local: &LocalDevice,
    initiator: &DeviceCertificate,
    choice: &HandshakeChoice<'_>,
    prekeys: &PrekeysInUse,
) -> Result<Agreement, InvalidX25519Key> {
    // [KV-006]
    let theirs = X25519Public::decode(*initiator.identity_key().as_bytes())?;
    let ephemeral = &choice.ephemeral;
    // [KV-008] One spelling of the key only, so that a replay does not look new.
    if !ephemeral.is_torsion_free() {
        return Err(InvalidX25519Key);
    }
    let signed = prekeys.signed.secret();
    let dh1 = signed.agree(&theirs)?;
    let dh2 = local.secrets().identity().agree(ephemeral)?;
    let dh3 = signed.agree(ephemeral)?;
    let dh4 = prekeys.one_time.as_ref().map(|key| key.secret().agree(ephemeral)).transpose()?;
    let kem = prekeys.kem.seed().key_pair();
    let kem_shared = kem.decapsulate(choice.kem_ciphertext);

    let one_time = prekeys.one_time.as_ref().map(OneTimePrekeySecret::public_key);
    let publics =
        PrekeyPublics { signed: &prekeys.signed.public_key(), kem: kem.public(), one_time: one_time.as_ref() };
    let transcript = transcript(initiator, local.certificate(), choice, &publics);
    let secret = session_secret([&dh1, &dh2, &dh3], dh4.as_ref(), &kem_shared, &transcript);
    Ok(Agreement { transcript, secret })
}

struct PrekeyPublics<'a> {
    signed: &'a X25519Public,
    kem: &'a KemPublic,
    one_time: Option<&'a X25519Public>,
}

/// T [KV-024].
fn transcript(
    initiator: &DeviceCertificate,
    recipient: &DeviceCertificate,
    choice: &HandshakeChoice<'_>,
    prekeys: &PrekeyPublics<'_>,
) -> TranscriptHash {
    const BODY_LEN: usize = DeviceCertificate::LEN - 2 * Signature::LEN;
    let hash = Sha256::new()
        .chain_update(TRANSCRIPT)
        .chain_update([PROTOCOL_VERSION])
        .chain_update(&initiator.encode()[..BODY_LEN])
        .chain_update(&recipient.encode()[..BODY_LEN])
        .chain_update(choice.ephemeral.as_bytes())
        .chain_update(choice.signed_prekey_id.to_be_bytes())
        .chain_update(prekeys.signed.as_bytes())
        .chain_update([choice.kem_kind.to_byte()])
        .chain_update(choice.kem_prekey_id.to_be_bytes())
        .chain_update(prekeys.kem.as_bytes())
        .chain_update(choice.kem_ciphertext)
        .chain_update([u8::from(choice.one_time_prekey_id.is_some())])
        .chain_update(choice.one_time_prekey_id.unwrap_or(0).to_be_bytes())
        .chain_update(prekeys.one_time.map_or(&[0; 32], X25519Public::as_bytes));
    TranscriptHash(hash.finalize().into())
}

/// SK [KV-024].
fn session_secret(
    [dh1, dh2, dh3]: [&SharedSecret; 3],
    dh4: Option<&SharedSecret>,
    kem_shared: &KemShared,
    transcript: &TranscriptHash,
) -> SessionSecret {
    let dh4: &[u8] = dh4.map_or(&[], |dh4| dh4.as_bytes());
    let ikm: [&[u8]; 6] = [&[0xFF; 32], dh1.as_bytes(), dh2.as_bytes(), dh3.as_bytes(), dh4, kem_shared.as_bytes()];
    let mut secret = SessionSecret(Box::new([0; 32]));
    secret.0.copy_from_slice(&*hkdf_sha256::<32>(&[0; 32], &ikm, &[&SESSION_SECRET, &transcript.0]));
    secret
}

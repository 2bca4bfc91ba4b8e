//! One session: the Triple Ratchet, that is the curve ratchet and the post-quantum ratchet side by side, each message's key
//! being made of a key of both.
//!
//! ```text
//! AD = label "Kuvert/1 associated data" ‖ version u8 ‖ kind u8 ‖ transcript hash 32 ‖ length u32 = 232 ‖ encrypted header 232
//! body = ChaCha20-Poly1305(key, nonce, AD, padded content)        key and nonce: see `ratchet::keys`
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;

use kuvert_types::{DecodeError, DeviceCertificate, Reader, UnverifiedDeviceCertificate};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::error::{DecryptError, EncryptError, InitiateError};
use crate::identity::LocalDevice;
use crate::labels::ASSOCIATED_DATA;
use crate::message::{
    HANDSHAKE_LEN, MAX_CONTENT_LEN, MessageKind, PREKEY_MESSAGE_OVERHEAD, PROTOCOL_VERSION, RATCHET_MESSAGE_OVERHEAD,
    RatchetMessage,
};
use crate::padding;
use crate::plaintext::Plaintext;
use crate::pq_ratchet::{PostQuantumRatchet, PqError, PqStep};
use crate::pqxdh::{self, Agreement, TranscriptHash};
use crate::prekey::{SignedPrekeySecret, VerifiedBundle};
use crate::primitives::aead::XNONCE_LEN;
use crate::ratchet::{
    BodyKey, DoubleRatchet, ENCRYPTED_HEADER_LEN, Header, Located, RatchetStep, SendError, StageError,
};
use crate::scka::SckaFailure;
use crate::stored::{flag, optional, reserve};
use crate::wiped::Wiped;

const ASSOCIATED_DATA_LEN: usize = 32 + 1 + 1 + 32 + 4 + ENCRYPTED_HEADER_LEN;

/// A session with one remote device.
pub(super) struct Session {
    pub(super) transcript: TranscriptHash,
    /// SHA-256 of the handshake: tells whether a prekey message belongs to this session.
    handshake_digest: [u8; 32],
    pub(super) remote: DeviceCertificate,
    /// Whether this side began it.
    pub(super) initiated: bool,
    /// The handshake, repeated in every message until the first one came back [KV-027].
    pending_handshake: Option<Box<[u8; HANDSHAKE_LEN]>>,
    /// The session that this one crossed with: both sides began one at the same time.
    pub(super) crossed_with: Option<TranscriptHash>,
    /// Unix milliseconds.
    pub(super) created_at: u64,
    /// When a message last came in, or the session was begun; Unix milliseconds.
    pub(super) last_received_at: u64,
    ratchet: DoubleRatchet,
    pq: PostQuantumRatchet,
}

/// A message that authenticated, and what it does to the session.
pub(super) struct Opened {
    ratchet: RatchetStep,
    pq: PqStep,
}

/// Why a session does not open a message.
pub(super) enum OpenError {
    /// No header key of it fits: the message may belong to another session.
    OtherSession,
    /// The message is for this session and refused.
    Refused(DecryptError),
}

impl Session {
    /// The initiator's side of a new session.
    pub(super) fn initiate(
        local: &LocalDevice,
        bundle: &VerifiedBundle,
        now: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Wiped<Self>, InitiateError> {
        let (Agreement { transcript, secret }, handshake) =
            pqxdh::initiate(local, bundle, rng).map_err(|_| InitiateError::KeyAgreement)?;
        let ratchet = DoubleRatchet::new_initiator(secret.ratchet_keys(), bundle.signed_prekey, rng)
            .map_err(|_| InitiateError::KeyAgreement)?;
        Ok(Wiped::new(Self {
            transcript,
            handshake_digest: handshake_digest(&handshake),
            remote: bundle.certificate,
            initiated: true,
            pending_handshake: Some(handshake),
            crossed_with: None,
            created_at: now,
            last_received_at: now,
            ratchet,
            pq: PostQuantumRatchet::new_initiator(&secret.pq_ratchet_secret()),
        }))
    }

    /// The recipient's side of a new session. Good for nothing before its first message authenticated.
    pub(super) fn accept(
        agreement: &Agreement,
        remote: DeviceCertificate,
        handshake: &[u8; HANDSHAKE_LEN],
        signed_prekey: &SignedPrekeySecret,
        now: u64,
    ) -> Wiped<Self> {
        let Agreement { transcript, secret } = agreement;
        Wiped::new(Self {
            transcript: *transcript,
            handshake_digest: handshake_digest(handshake),
            remote,
            initiated: false,
            pending_handshake: None,
            crossed_with: None,
            created_at: now,
            last_received_at: now,
            ratchet: DoubleRatchet::new_recipient(
                secret.ratchet_keys(),
                signed_prekey.secret(),
                signed_prekey.public_key(),
            ),
            pq: PostQuantumRatchet::new_recipient(&secret.pq_ratchet_secret()),
        })
    }

    /// Whether this side began the session and has had no answer yet.
    pub(super) fn is_unanswered(&self) -> bool {
        self.pending_handshake.is_some()
    }

    /// Whether a prekey message with this handshake belongs here.
    pub(super) fn began_with(&self, handshake: &[u8; HANDSHAKE_LEN]) -> bool {
        self.handshake_digest.ct_eq(&handshake_digest(handshake)).into()
    }

    /// Pads and encrypts; appends the session message to `message`, which grows at most once.
    pub(super) fn encrypt(
        &mut self,
        content: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
        message: &mut Vec<u8>,
    ) -> Result<(), EncryptError> {
        // [KV-029]
        if content.len() > MAX_CONTENT_LEN {
            return Err(EncryptError::TooLong);
        }
        // [KV-003] Both ratchets are asked before either moves, so that an error leaves the state as it was.
        self.ratchet.check_send().map_err(send_error)?;
        let mut nonce = [0; XNONCE_LEN];
        // [KV-078] The nonce is drawn first, then what the post-quantum ratchet draws.
        rng.fill_bytes(&mut nonce);
        let (pq_header, pq_key) = self.pq.send(&mut &mut *rng).map_err(pq_send_error)?;
        let sending = self.ratchet.send().map_err(send_error)?;
        let header = Header {
            ratchet_key: sending.ratchet_key,
            previous_chain_length: sending.previous_chain_length,
            message_number: sending.message_number,
            pq: pq_header,
        };
        let encrypted_header = header.encrypt(sending.header_key, &nonce);

        let (kind, overhead) = match self.pending_handshake {
            Some(_) => (MessageKind::Prekey, PREKEY_MESSAGE_OVERHEAD),
            None => (MessageKind::Ratchet, RATCHET_MESSAGE_OVERHEAD),
        };
        message.reserve_exact(overhead + padding::padded_len(content.len()));
        message.extend_from_slice(&[PROTOCOL_VERSION, kind.to_byte()]);
        if let Some(handshake) = &self.pending_handshake {
            message.extend_from_slice(&**handshake);
        }
        message.extend_from_slice(&encrypted_header);
        let body_at = message.len();
        padding::append_padded(content, message);

        let associated_data = associated_data(kind, &self.transcript, &encrypted_header);
        let key = BodyKey::derive(&pq_key, &sending.message_key, &associated_data);
        let tag = key.encrypt(&associated_data, &mut message[body_at..]);
        message.extend_from_slice(&tag);
        Ok(())
    }

    /// Decrypts into `plaintext` and authenticates. Changes nothing else.
    pub(super) fn open(&self, message: &RatchetMessage<'_>, plaintext: &mut Plaintext) -> Result<Opened, OpenError> {
        let located = match self.ratchet.locate(message.encrypted_header) {
            Located::Nowhere => return Err(OpenError::OtherSession),
            Located::Invalid => return Err(OpenError::Refused(DecryptError::Malformed)),
            Located::Header(located) => located,
        };
        let ratchet = self.ratchet.stage(&located).map_err(|error| OpenError::Refused(stage_error(error)))?;
        let pq = self.pq.open(&located.header.pq).map_err(|error| OpenError::Refused(pq_open_error(error)))?;

        let associated_data = associated_data(message.kind, &self.transcript, message.encrypted_header);
        let key = BodyKey::derive(&pq.key, &ratchet.message_key, &associated_data);
        key.decrypt(&associated_data, message.ciphertext, message.tag, plaintext.zeros(message.ciphertext.len()))
            .map_err(|_| OpenError::Refused(DecryptError::Undecryptable))?;
        // [KV-028]
        let content = padding::content_len(plaintext).ok_or(OpenError::Refused(DecryptError::Malformed))?;
        plaintext.truncate(content);
        Ok(Opened { ratchet, pq })
    }

    /// Makes the change that an opened message calls for. If it stops the post-quantum ratchet, says why.
    pub(super) fn commit(
        &mut self,
        opened: Opened,
        now: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Option<SckaFailure>, DecryptError> {
        let Opened { ratchet, pq } = opened;
        self.ratchet.commit(ratchet, rng).map_err(|_| DecryptError::Malformed)?;
        self.pq.apply(pq);
        self.pending_handshake = None;
        self.last_received_at = self.last_received_at.max(now);
        Ok(self.pq.failure())
    }
}

fn handshake_digest(handshake: &[u8; HANDSHAKE_LEN]) -> [u8; 32] {
    Sha256::digest(handshake).into()
}

fn associated_data(
    kind: MessageKind,
    transcript: &TranscriptHash,
    encrypted_header: &[u8; ENCRYPTED_HEADER_LEN],
) -> [u8; ASSOCIATED_DATA_LEN] {
    const LENGTH: [u8; 4] = (ENCRYPTED_HEADER_LEN as u32).to_be_bytes();
    let mut bytes = [0; ASSOCIATED_DATA_LEN];
    bytes[..32].copy_from_slice(&ASSOCIATED_DATA);
    bytes[32] = PROTOCOL_VERSION;
    bytes[33] = kind.to_byte();
    bytes[34..66].copy_from_slice(&transcript.0);
    bytes[66..70].copy_from_slice(&LENGTH);
    bytes[70..].copy_from_slice(encrypted_header);
    bytes
}

fn send_error(error: SendError) -> EncryptError {
    match error {
        SendError::NoChain => EncryptError::NoSession,
        SendError::Exhausted => EncryptError::Exhausted,
    }
}

fn pq_send_error(error: PqError) -> EncryptError {
    match error {
        PqError::Failed(failure) => EncryptError::PqFailed(failure),
        _ => EncryptError::Exhausted,
    }
}

fn stage_error(error: StageError) -> DecryptError {
    match error {
        StageError::KeyGone => DecryptError::Duplicate,
        StageError::TooManySkipped => DecryptError::TooManySkipped,
        // Not dropped without a word: a sender whose home was restored from a backup counts anew under the old header keys,
        // and only a fresh session mends that.
        StageError::Invalid => DecryptError::Undecryptable,
    }
}

fn pq_open_error(error: PqError) -> DecryptError {
    match error {
        PqError::Failed(failure) => DecryptError::PqAuthFailed(failure),
        PqError::TooManySkipped => DecryptError::TooManySkipped,
        PqError::Malformed => DecryptError::Malformed,
        // The curve key was there, the post-quantum one is not: dropped as one of too many, or a header that lies.
        PqError::UnknownEpoch(_) | PqError::KeyGone | PqError::ChainExhausted => DecryptError::Undecryptable,
    }
}

/// Stored form:
/// ```text
/// transcript hash 32 ‖ handshake digest 32 ‖ remote certificate 245 ‖ initiated u8 ‖ created at u64
/// ‖ last received at u64 ‖ optional(crossed with 32) ‖ optional(pending handshake 1859)
/// ‖ curve ratchet ‖ post-quantum ratchet
/// ```
impl Session {
    pub(super) fn encode(&self, out: &mut Zeroizing<Vec<u8>>) {
        let Self {
            transcript,
            handshake_digest,
            remote,
            initiated,
            pending_handshake,
            crossed_with,
            created_at,
            last_received_at,
            ratchet,
            pq,
        } = self;
        reserve(out, 512 + HANDSHAKE_LEN + ratchet.encoded_len());
        out.extend_from_slice(&transcript.0);
        out.extend_from_slice(handshake_digest);
        out.extend_from_slice(&remote.encode());
        out.push(u8::from(*initiated));
        out.extend_from_slice(&created_at.to_be_bytes());
        out.extend_from_slice(&last_received_at.to_be_bytes());
        out.push(u8::from(crossed_with.is_some()));
        if let Some(crossed_with) = crossed_with {
            out.extend_from_slice(&crossed_with.0);
        }
        out.push(u8::from(pending_handshake.is_some()));
        if let Some(handshake) = pending_handshake {
            out.extend_from_slice(&**handshake);
        }
        ratchet.encode(out);
        pq.encode(out);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Wiped<Self>, DecodeError> {
        let transcript = TranscriptHash(reader.array()?);
        let handshake_digest = reader.array()?;
        let remote = UnverifiedDeviceCertificate::decode(reader.bytes(DeviceCertificate::LEN)?)?.trust_own_storage();
        let initiated = flag(reader)?;
        let created_at = reader.u64()?;
        let last_received_at = reader.u64()?;
        let crossed_with = optional(reader, |reader| reader.array().map(TranscriptHash))?;
        let pending_handshake = optional(reader, |reader| reader.array().map(Box::new))?;
        Ok(Wiped::new(Self {
            transcript,
            handshake_digest,
            remote,
            initiated,
            pending_handshake,
            crossed_with,
            created_at,
            last_received_at,
            ratchet: DoubleRatchet::decode(reader)?,
            pq: PostQuantumRatchet::decode(reader)?,
        }))
    }
}

//! An initiator who may break any rule, written from the protocol's description with other libraries than the crate's own
//! code: the crate `hkdf`, `x25519-dalek`, `chacha20poly1305`. That an honest forger is understood shows that description
//! and code agree; that a dishonest one is refused shows that the rules are kept.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, XChaCha20Poly1305};
use hmac::Mac;
use kuvert_protocol::hazmat::pq_ratchet::{PQ_HEADER_LEN, PostQuantumRatchet};
use kuvert_protocol::hazmat::primitives::kem1024::KemPublic;
use kuvert_protocol::prekey::{KemPrekeyKind, PrekeyBundle};
use kuvert_protocol::{DeviceSecrets, LocalDevice};
use kuvert_types::{DeviceCertificate, label};
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};

use super::{Party, TestRng};

fn hkdf<const N: usize>(salt: &[u8], ikm: &[u8], info: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    hkdf::Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, &mut out).unwrap();
    out
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = <hmac::Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// What goes into a header; the defaults are right.
pub struct HeaderChoice {
    pub ratchet_key: [u8; 32],
    pub previous_chain_length: u32,
    pub message_number: u32,
    pub pq: [u8; PQ_HEADER_LEN],
    pub padding: u8,
}

pub struct Forger {
    pub handshake: Vec<u8>,
    pub transcript: [u8; 32],
    pub kind: u8,
    pub version: u8,
    header_key: [u8; 32],
    chain_key: [u8; 32],
    pub ratchet_public: [u8; 32],
    next: u32,
    pub pq: PostQuantumRatchet,
    rng: TestRng,
}

/// What a forger may change in the agreement.
#[derive(Default)]
pub struct Tricks {
    /// Another certificate in the handshake and transcript than the one that `party`'s keys belong to.
    pub certificate: Option<DeviceCertificate>,
    /// Leaves the KEM's secret out, as a classical protocol would.
    pub without_kem: bool,
    /// Names another KEM prekey, here and in the transcript.
    pub kem_id: Option<u32>,
    /// Claims another kind of KEM prekey, here and in the transcript.
    pub kem_kind: Option<u8>,
    /// The ephemeral key's bytes as sent and hashed.
    pub ephemeral: Option<[u8; 32]>,
    /// Makes the session's secret the one that follows if all Diffie–Hellman results are zero.
    pub zero_results: bool,
}

impl Forger {
    pub fn new(party: &Party, bundle: &PrekeyBundle, tricks: Tricks, mut rng: TestRng) -> Self {
        let secrets = party.local.secrets().to_bytes();
        let identity = StaticSecret::from(<[u8; 32]>::try_from(&secrets[32..]).unwrap());
        let mut random = || {
            let mut bytes = [0; 32];
            rand_core::Rng::fill_bytes(&mut rng, &mut bytes);
            StaticSecret::from(bytes)
        };
        let (ephemeral, ratchet) = (random(), random());
        let claimed = bundle.certificate.claimed();
        let their_identity = PublicKey::from(*claimed.identity_key.as_bytes());
        let their_signed = PublicKey::from(bundle.signed_prekey.public_key);
        let kem = KemPublic::decode(&bundle.kem_prekey.public_key).unwrap();
        let (kem_ciphertext, shared) = kem.encapsulate(&mut rng);

        let mut ikm = vec![0xFF; 32];
        ikm.extend(identity.diffie_hellman(&their_signed).as_bytes());
        ikm.extend(ephemeral.diffie_hellman(&their_identity).as_bytes());
        ikm.extend(ephemeral.diffie_hellman(&their_signed).as_bytes());
        if let Some(key) = &bundle.one_time_prekey {
            ikm.extend(ephemeral.diffie_hellman(&PublicKey::from(key.public_key)).as_bytes());
        }
        if tricks.zero_results {
            ikm[64..].fill(0);
        }
        if !tricks.without_kem {
            ikm.extend(shared.as_bytes());
        }

        let certificate = tricks.certificate.unwrap_or(*party.local.certificate()).encode();
        let ephemeral_public = tricks.ephemeral.unwrap_or(PublicKey::from(&ephemeral).to_bytes());
        let kind = tricks.kem_kind.unwrap_or(match bundle.kem_kind {
            KemPrekeyKind::OneTime => 1,
            KemPrekeyKind::LastResort => 2,
        });
        let kem_id = tricks.kem_id.unwrap_or(bundle.kem_prekey.id);
        let one_time_id = bundle.one_time_prekey.map_or(0, |key| key.id);
        let one_time_key = bundle.one_time_prekey.map_or([0; 32], |key| key.public_key);
        let has_one_time = u8::from(bundle.one_time_prekey.is_some());

        let transcript: [u8; 32] = Sha256::new()
            .chain_update(label("Kuvert/1 PQXDH transcript"))
            .chain_update([1])
            .chain_update(&certificate[..117])
            .chain_update(&claimed.account_statement()[32..])
            .chain_update(ephemeral_public)
            .chain_update(bundle.signed_prekey.id.to_be_bytes())
            .chain_update(bundle.signed_prekey.public_key)
            .chain_update([kind])
            .chain_update(kem_id.to_be_bytes())
            .chain_update(*bundle.kem_prekey.public_key)
            .chain_update(kem_ciphertext)
            .chain_update([has_one_time])
            .chain_update(one_time_id.to_be_bytes())
            .chain_update(one_time_key)
            .finalize()
            .into();
        let info = [label("Kuvert/1 PQXDH session secret"), transcript].concat();
        let secret: [u8; 32] = hkdf(&[0; 32], &ikm, &info);

        let handshake = [
            &certificate[..],
            &ephemeral_public,
            &bundle.signed_prekey.id.to_be_bytes(),
            &[kind],
            &kem_id.to_be_bytes(),
            &kem_ciphertext,
            &[has_one_time],
            &one_time_id.to_be_bytes(),
        ]
        .concat();

        let keys: [u8; 96] = hkdf(&[0; 32], &secret, &label("Kuvert/1 ratchet keys"));
        let shared = ratchet.diffie_hellman(&their_signed);
        let step: [u8; 96] = hkdf(&keys[..32], shared.as_bytes(), &label("Kuvert/1 root step"));
        let pq = hkdf(&[0; 32], &secret, &label("Kuvert/1 pq ratchet secret"));
        Self {
            handshake,
            transcript,
            kind: 1,
            version: 1,
            header_key: keys[32..64].try_into().unwrap(),
            chain_key: step[32..64].try_into().unwrap(),
            ratchet_public: PublicKey::from(&ratchet).to_bytes(),
            next: 0,
            pq: PostQuantumRatchet::new_initiator(&pq),
            rng,
        }
    }

    /// An honest message.
    pub fn message(&mut self, content: &[u8]) -> Vec<u8> {
        self.message_with(&pad(content), |_| {})
    }

    /// A message whose padded content and header are the forger's choice. The keys follow the honest numbering.
    pub fn message_with(&mut self, padded: &[u8], choose: impl FnOnce(&mut HeaderChoice)) -> Vec<u8> {
        let (pq, pq_key) = self.pq.send(&mut self.rng).unwrap();
        let mut header = HeaderChoice {
            ratchet_key: self.ratchet_public,
            previous_chain_length: 0,
            message_number: self.next,
            pq,
            padding: 0,
        };
        choose(&mut header);
        let message_key = hmac(&self.chain_key, &[1]);
        self.chain_key = hmac(&self.chain_key, &[2]);
        self.next += 1;

        let mut nonce = [0; 24];
        rand_core::Rng::fill_bytes(&mut self.rng, &mut nonce);
        let mut sealed = nonce.to_vec();
        let mut plain = [header.padding; 192];
        plain[..32].copy_from_slice(&header.ratchet_key);
        plain[32..36].copy_from_slice(&header.previous_chain_length.to_be_bytes());
        plain[36..40].copy_from_slice(&header.message_number.to_be_bytes());
        plain[40..40 + PQ_HEADER_LEN].copy_from_slice(&header.pq);
        let cipher = XChaCha20Poly1305::new(&self.header_key.into());
        let tag = cipher.encrypt_inout_detached(&nonce.into(), &[], (&mut plain[..]).into()).unwrap();
        sealed.extend(plain);
        sealed.extend(tag);

        let associated = [
            &label("Kuvert/1 associated data")[..],
            &[self.version, self.kind],
            &self.transcript,
            &232_u32.to_be_bytes(),
            &sealed,
        ]
        .concat();
        let info = [&label("Kuvert/1 body key")[..], &Sha256::digest(&associated)].concat();
        let body: [u8; 44] = hkdf(pq_key.as_bytes(), &message_key, &info);
        let cipher = ChaCha20Poly1305::new(body[..32].try_into().unwrap());
        let mut ciphertext = padded.to_vec();
        let nonce = body[32..].try_into().unwrap();
        let tag = cipher.encrypt_inout_detached(nonce, &associated, ciphertext.as_mut_slice().into()).unwrap();

        let handshake: &[u8] = if self.kind == 1 { &self.handshake } else { &[] };
        [&[self.version, self.kind], handshake, &sealed, &ciphertext, &tag].concat()
    }
}

/// Right padding for short contents.
pub fn pad(content: &[u8]) -> Vec<u8> {
    let mut padded = content.to_vec();
    padded.push(0x80);
    padded.resize(512, 0);
    padded
}

/// Puts any certificate under a seal: the identity secret that goes into it is that of `secrets`.
pub fn seal(
    secrets: &DeviceSecrets,
    certificate: &DeviceCertificate,
    recipient: &DeviceCertificate,
    message: &[u8],
    rng: &mut TestRng,
) -> Vec<u8> {
    let theirs = PublicKey::from(*recipient.identity_key().as_bytes());
    let shared = identity(secrets).diffie_hellman(&theirs);
    seal_with(shared.as_bytes(), certificate, recipient, message, rng)
}

/// Puts any certificate under a seal to the very device that seals, by that device's secret alone.
pub fn seal_as_recipient(
    recipient: &LocalDevice,
    certificate: &DeviceCertificate,
    message: &[u8],
    rng: &mut TestRng,
) -> Vec<u8> {
    let theirs = PublicKey::from(*certificate.identity_key().as_bytes());
    let shared = identity(recipient.secrets()).diffie_hellman(&theirs);
    seal_with(shared.as_bytes(), certificate, recipient.certificate(), message, rng)
}

fn identity(secrets: &DeviceSecrets) -> StaticSecret {
    StaticSecret::from(<[u8; 32]>::try_from(&secrets.to_bytes()[32..]).unwrap())
}

fn seal_with(
    identity_shared: &[u8; 32],
    certificate: &DeviceCertificate,
    recipient: &DeviceCertificate,
    message: &[u8],
    rng: &mut TestRng,
) -> Vec<u8> {
    let mut bytes = [0; 32];
    rand_core::Rng::fill_bytes(rng, &mut bytes);
    let ephemeral = StaticSecret::from(bytes);
    let theirs = *recipient.identity_key().as_bytes();
    let shared = ephemeral.diffie_hellman(&PublicKey::from(theirs));
    let public = PublicKey::from(&ephemeral).to_bytes();
    let bound = [&public[..], &theirs, &recipient.address().to_bytes()].concat();
    let info = [&label("Kuvert/1 sealed certificate")[..], &bound].concat();
    let keys: [u8; 76] = hkdf(&[0; 32], shared.as_bytes(), &info);
    let encrypted = aead(&keys[..44], &[&[2], &bound[..]].concat(), &certificate.encode());
    let hash = Sha256::digest(&encrypted);
    let info = [&label("Kuvert/1 sealed message")[..], &bound, &hash].concat();
    let inner: [u8; 44] = hkdf(&keys[44..], identity_shared, &info);
    let body = aead(&inner, &[&[2], &bound[..], &hash].concat(), message);
    [&[2][..], &public, &encrypted, &body].concat()
}

/// Ciphertext and tag under key 32 ‖ nonce 12.
fn aead(key_and_nonce: &[u8], associated_data: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let (key, nonce) = key_and_nonce.split_at(32);
    let cipher = ChaCha20Poly1305::new(key.try_into().unwrap());
    let mut data = plaintext.to_vec();
    let tag = cipher.encrypt_inout_detached(nonce.try_into().unwrap(), associated_data, data.as_mut_slice().into());
    data.extend_from_slice(&tag.unwrap());
    data
}

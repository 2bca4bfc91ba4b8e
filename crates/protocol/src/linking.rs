//! How a device of the account, which has the account key, makes another one a device of the account (PROTOCOL.md, Linking).
//!
//! ```text
//!  new device                              (relay, a slot)                    existing device
//!  NewDevice::generate ── link code: slot, SHA-256(offer) ──── on the screen, as text or QR ───►
//!        │ ─────────────────── offer ─────────────────────────────────────►  Offer::decode
//!        │ ◄────────────────── answer ───────────────────────────────────── Linking::answer
//!  NewDevice::accept ── six digits ──────── on the screen, typed by a person ─────────────────►
//!        │ ─────────────────── consent ───────────────────────────────────►  Linking::confirm
//!        │                                                                   DeviceCertificate, published with its list
//!        │ ◄────────────────── welcome ─────────────────────────────────────  seal_welcome
//!  open_welcome, Accepted::finish
//! ```
//! The code carries the offer's hash past the relay, so the existing device answers the offer that the person sees. The digits
//! come from the secret that both sides agreed on: a relay that answers in place of the existing device shares another secret with
//! the new one, whose digits are right with a chance of one in a million, once. Secrets are X25519 and ML-KEM-1024, both needed.
//!
//! What makes the certificate worth something, a device list with the new device, is not made here: it is published like any other. The
//! welcome tells the new device that it was, and what the account's devices have in common.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use kuvert_types::certificate::CertificateBody;
use kuvert_types::{
    AccountKey, Address, DecodeError, DeviceCertificate, DeviceSigningKey, IdentityKey, Reader, Signature,
};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::identity::{AccountSecret, DeviceSecrets, LocalDevice};
use crate::labels::{LINK_KEYS, LINK_TRANSCRIPT};
use crate::primitives::aead::{self, KEY_LEN, NONCE_LEN, TAG_LEN};
use crate::primitives::kdf::hkdf_sha256;
use crate::primitives::kem1024::{self, KemPublic, KemSeed};
use crate::primitives::x25519::{X25519Public, X25519Secret};

/// Bytes of a device's name, at most; at least one.
pub const MAX_NAME_BYTES: usize = 64;
/// Bytes of an offer, at most.
pub const MAX_OFFER_BYTES: usize = OFFER_FIXED_LEN + MAX_NAME_BYTES;
/// Bytes of an answer.
pub const ANSWER_LEN: usize = 1 + 32 + kem1024::CIPHERTEXT_LEN + TERMS_LEN + TAG_LEN;
/// Bytes that a welcome has around its content.
pub const WELCOME_OVERHEAD: usize = 1 + TAG_LEN;
/// Bytes of a consent.
pub const CONSENT_LEN: usize = 1 + Signature::LEN + TAG_LEN;

const VERSION: u8 = 1;
const OFFER_FIXED_LEN: usize = 1 + 32 + kem1024::PUBLIC_LEN + 32 + 32 + 1;
const TERMS_LEN: usize = Address::LEN + 32;
/// How many different digits there are.
const DIGITS: u64 = 1_000_000;

/// Why linking does not go on. Nothing was made that could be used; it begins anew, with a new code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Not the layout, or a key that is none.
    #[error("what came from the other device cannot be read: {0}")]
    Malformed(#[from] DecodeError),
    /// A name of no or too many bytes, or with characters that are not shown.
    #[error("a device's name has 1 to {MAX_NAME_BYTES} bytes on one line")]
    Name,
    /// The relay gave out another offer than the one in the code [KV-114].
    #[error("the offer is not the one that the code names")]
    OtherOffer,
    /// The answer or the consent was made with other secrets [KV-115].
    #[error("the answer was not made for this offer")]
    Undecryptable,
    /// The digits differ [KV-115].
    #[error("the digits are not those that the new device shows")]
    Digits,
    /// The signature is not of the offer's signing key, or not over the certificate [KV-116].
    #[error("the new device's consent does not verify")]
    Consent,
}

/// The six digits that the new device shows and a person types on the existing one.
#[derive(Clone, Copy)]
pub struct Digits([u8; 6]);

impl Digits {
    fn new(value: u64) -> Self {
        let mut rest = value % DIGITS;
        let mut digits = [b'0'; 6];
        for digit in digits.iter_mut().rev() {
            // Below 10.
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        Self(digits)
    }

    /// Reads what a person typed; blanks and hyphens between the digits do not count. `None`: not six digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = [0; 6];
        let mut typed = text.bytes().filter(|byte| !matches!(byte, b' ' | b'-' | b'\t' | b'\r' | b'\n'));
        for digit in &mut digits {
            *digit = typed.next().filter(u8::is_ascii_digit)?;
        }
        typed.next().is_none().then_some(Self(digits))
    }

    /// In constant time: a guess learns nothing of how much of it was right.
    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| write!(f, "{}", char::from(*digit)))
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digits(…)")
    }
}

/// What a new device offers: keys for linking, the keys that it will be known by, and its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    ephemeral: X25519Public,
    kem: KemPublic,
    signing_key: DeviceSigningKey,
    identity_key: IdentityKey,
    name: String,
}

impl Offer {
    /// Reads an offer, of which the code gives the hash.
    ///
    /// # Errors
    /// [`LinkError::OtherOffer`], before anything else is looked at; [`LinkError::Malformed`], [`LinkError::Name`].
    pub fn decode(bytes: &[u8], hash: &[u8; 32]) -> Result<Self, LinkError> {
        // [KV-114]
        if Sha256::digest(bytes)[..] != hash[..] {
            return Err(LinkError::OtherOffer);
        }
        let (ephemeral, kem, signing_key, identity_key, name) = Reader::whole(bytes, |reader| {
            if reader.u8()? != VERSION {
                return Err(DecodeError::Version);
            }
            let (ephemeral, kem): ([u8; 32], Box<[u8; kem1024::PUBLIC_LEN]>) =
                (reader.array()?, Box::new(reader.array()?));
            let (signing_key, identity_key) = (reader.array()?, reader.array()?);
            let name = reader.u8()?;
            Ok((ephemeral, kem, signing_key, identity_key, reader.bytes(name.into())?))
        })?;
        // [KV-006] [KV-009]
        X25519Public::decode(identity_key).map_err(|_| DecodeError::Value)?;
        let ephemeral = X25519Public::decode(ephemeral).map_err(|_| DecodeError::Value)?;
        let kem = KemPublic::decode(&kem).map_err(|_| DecodeError::Value)?;
        let name = core::str::from_utf8(name).map_err(|_| LinkError::Name)?;
        check_name(name)?;
        let (signing_key, identity_key) =
            (DeviceSigningKey::from_bytes(signing_key), IdentityKey::from_bytes(identity_key));
        Ok(Self { ephemeral, kem, signing_key, identity_key, name: name.into() })
    }

    /// What the slot holds, [`MAX_OFFER_BYTES`] at most.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(OFFER_FIXED_LEN + self.name.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(self.ephemeral.as_bytes());
        bytes.extend_from_slice(self.kem.as_bytes());
        bytes.extend_from_slice(self.signing_key.as_bytes());
        bytes.extend_from_slice(self.identity_key.as_bytes());
        // At most MAX_NAME_BYTES.
        bytes.push(self.name.len() as u8);
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    /// What the code tells of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.encode()).into()
    }

    /// What the new device calls itself. The person sees it before typing digits.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn body(&self, address: Address, account_key: AccountKey) -> CertificateBody {
        CertificateBody { address, account_key, signing_key: self.signing_key, identity_key: self.identity_key }
    }
}

fn check_name(name: &str) -> Result<(), LinkError> {
    let good = (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    if good { Ok(()) } else { Err(LinkError::Name) }
}

/// What both sides come to.
struct Keys {
    to_new: Zeroizing<[u8; KEY_LEN]>,
    to_existing: Zeroizing<[u8; KEY_LEN]>,
    sync: Zeroizing<[u8; KEY_LEN]>,
    digits: Digits,
    transcript: [u8; 32],
}

impl Keys {
    /// [KV-115] Of both secrets, and bound to all that was sent before.
    fn derive(offer: &[u8], ephemeral: &X25519Public, ciphertext: &[u8], secrets: [&[u8]; 2]) -> Self {
        let transcript: [u8; 32] = Sha256::new()
            .chain_update(LINK_TRANSCRIPT)
            .chain_update(offer)
            .chain_update(ephemeral.as_bytes())
            .chain_update(ciphertext)
            .finalize()
            .into();
        let all = hkdf_sha256::<{ 3 * KEY_LEN + 8 }>(&[0; 32], &secrets, &[&LINK_KEYS, &transcript]);
        let key = |n: usize| {
            let mut key = Zeroizing::new([0; KEY_LEN]);
            key.copy_from_slice(&all[n * KEY_LEN..(n + 1) * KEY_LEN]);
            key
        };
        let digits = all[3 * KEY_LEN..].iter().fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
        Self { to_new: key(0), to_existing: key(1), sync: key(2), digits: Digits::new(digits), transcript }
    }
}

/// Each key encrypts one message.
const NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];

/// The new device, from its code to its certificate. Serves for one answer.
pub struct NewDevice {
    ephemeral: X25519Secret,
    kem: KemSeed,
    secrets: DeviceSecrets,
    offer: Offer,
}

impl fmt::Debug for NewDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewDevice").field("name", &self.offer.name).finish_non_exhaustive()
    }
}

impl NewDevice {
    /// Draws all keys: those of the device (two draws), an X25519 secret, an ML-KEM-1024 seed.
    ///
    /// # Errors
    /// [`LinkError::Name`].
    pub fn generate(name: &str, rng: &mut (impl CryptoRng + ?Sized)) -> Result<Self, LinkError> {
        check_name(name)?;
        let secrets = DeviceSecrets::generate(rng);
        let (ephemeral, kem) = (X25519Secret::generate(rng), KemSeed::generate(rng));
        let offer = Offer {
            ephemeral: ephemeral.public(),
            kem: kem.key_pair().public().clone(),
            signing_key: secrets.signing_key(),
            identity_key: secrets.identity_key(),
            name: name.into(),
        };
        Ok(Self { ephemeral, kem, secrets, offer })
    }

    /// For the slot, and its hash for the code.
    pub const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Takes the answer: what the device will be, digits to show, and the consent for the slot.
    ///
    /// # Errors
    /// [`LinkError::Malformed`], [`LinkError::Undecryptable`]. The code is used up all the same [KV-113].
    pub fn accept(self, answer: &[u8]) -> Result<Accepted, LinkError> {
        let (ephemeral, ciphertext, sealed) = Reader::whole(answer, |reader| {
            if reader.u8()? != VERSION {
                return Err(DecodeError::Version);
            }
            let (ephemeral, ciphertext) = (reader.array()?, Box::new(reader.array()?));
            Ok((ephemeral, ciphertext, reader.array::<{ TERMS_LEN + TAG_LEN }>()?))
        })?;
        let ephemeral = X25519Public::decode(ephemeral).map_err(|_| DecodeError::Value)?;
        let curve = self.ephemeral.agree(&ephemeral).map_err(|_| DecodeError::Value)?;
        let kem = self.kem.key_pair().decapsulate(&ciphertext);
        let secrets: [&[u8]; 2] = [curve.as_bytes(), kem.as_bytes()];
        let keys = Keys::derive(&self.offer.encode(), &ephemeral, &*ciphertext, secrets);

        let mut terms = [0; TERMS_LEN];
        open(&keys.to_new, &keys.transcript, &sealed, &mut terms)?;
        let (address, account_key) = Reader::whole(&terms, |reader| {
            Ok((Address::try_from(reader.bytes(Address::LEN)?)?, AccountKey::from_bytes(reader.array()?)))
        })?;
        let body = self.offer.body(address, account_key);
        let mut consent = [VERSION; CONSENT_LEN];
        let signature = self.secrets.sign(&body.device_statement());
        seal(&keys.to_existing, &keys.transcript, signature.as_bytes(), &mut consent[1..]);
        Ok(Accepted { body, secrets: self.secrets, digits: keys.digits, sync: keys.sync, consent })
    }
}

/// A new device whose code was answered. It is no device of the account before the existing device has confirmed it.
pub struct Accepted {
    body: CertificateBody,
    secrets: DeviceSecrets,
    digits: Digits,
    sync: Zeroizing<[u8; KEY_LEN]>,
    consent: [u8; CONSENT_LEN],
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("address", &self.body.address).finish_non_exhaustive()
    }
}

impl Accepted {
    /// What the device will be.
    pub const fn address(&self) -> Address {
        self.body.address
    }

    /// The account that it will belong to.
    pub const fn account_key(&self) -> AccountKey {
        self.body.account_key
    }

    /// To be shown on the screen, and nowhere else.
    pub const fn digits(&self) -> Digits {
        self.digits
    }

    /// For the slot.
    pub const fn consent(&self) -> &[u8; CONSENT_LEN] {
        &self.consent
    }

    /// The secret that both sides have for their first exchange of what the account knows.
    pub fn sync_key(&self) -> &[u8; KEY_LEN] {
        &self.sync
    }

    /// The device, once the account's list names it: `certificate` is the one that the account's record holds.
    ///
    /// # Errors
    /// [`LinkError::Consent`]: the certificate is another device's, or another account's [KV-116].
    pub fn finish(self, certificate: DeviceCertificate) -> Result<LocalDevice, LinkError> {
        if certificate.address() != self.body.address || certificate.account_key() != self.body.account_key {
            return Err(LinkError::Consent);
        }
        LocalDevice::new(self.secrets, certificate).map_err(|_| LinkError::Consent)
    }
}

/// The existing device, from an offer to a certificate. Has one try.
pub struct Linking {
    body: CertificateBody,
    keys: Keys,
    answer: Box<[u8; ANSWER_LEN]>,
}

impl fmt::Debug for Linking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linking").field("address", &self.body.address).finish_non_exhaustive()
    }
}

impl Linking {
    /// Answers an offer: the new device will be `address`, whose device number is free. Draws an X25519 secret and 32 bytes.
    ///
    /// # Errors
    /// [`LinkError::Malformed`]: the offer's X25519 key has low order, which [`Offer::decode`] rules out.
    pub fn answer(
        offer: &Offer,
        address: Address,
        account_key: AccountKey,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, LinkError> {
        let ephemeral = X25519Secret::generate(rng);
        let curve = ephemeral.agree(&offer.ephemeral).map_err(|_| DecodeError::Value)?;
        let (ciphertext, kem) = offer.kem.encapsulate(rng);
        let secrets: [&[u8]; 2] = [curve.as_bytes(), kem.as_bytes()];
        let keys = Keys::derive(&offer.encode(), &ephemeral.public(), &ciphertext, secrets);

        let mut terms = [0; TERMS_LEN];
        terms[..Address::LEN].copy_from_slice(&address.to_bytes());
        terms[Address::LEN..].copy_from_slice(account_key.as_bytes());
        let mut answer = Box::new([VERSION; ANSWER_LEN]);
        answer[1..33].copy_from_slice(ephemeral.public().as_bytes());
        let (head, sealed) = answer.split_at_mut(ANSWER_LEN - TERMS_LEN - TAG_LEN);
        head[33..].copy_from_slice(&ciphertext);
        seal(&keys.to_new, &keys.transcript, &terms, sealed);
        Ok(Self { body: offer.body(address, account_key), keys, answer })
    }

    /// For the slot.
    pub fn message(&self) -> &[u8; ANSWER_LEN] {
        &self.answer
    }

    /// The secret that both sides have for their first exchange of what the account knows.
    pub fn sync_key(&self) -> &[u8; KEY_LEN] {
        &self.keys.sync
    }

    /// Makes the certificate, if the digits that a person typed are right and the new device consents.
    ///
    /// # Errors
    /// [`LinkError::Digits`], before anything of the other side is looked at; [`LinkError::Malformed`],
    /// [`LinkError::Undecryptable`], [`LinkError::Consent`]. There is no second try [KV-115].
    pub fn confirm(
        self,
        typed: &Digits,
        consent: &[u8],
        account: &AccountSecret,
    ) -> Result<DeviceCertificate, LinkError> {
        if !self.keys.digits.is(typed) {
            return Err(LinkError::Digits);
        }
        let sealed = Reader::whole(consent, |reader| match reader.u8()? {
            VERSION => reader.array::<{ Signature::LEN + TAG_LEN }>(),
            _ => Err(DecodeError::Version),
        })?;
        let mut signature = [0; Signature::LEN];
        open(&self.keys.to_existing, &self.keys.transcript, &sealed, &mut signature)?;
        let signed = account.sign(&self.body.account_statement());
        // [KV-116] Verifies both signatures.
        DeviceCertificate::assemble(self.body, signed, Signature::from_bytes(signature)).map_err(|_| LinkError::Consent)
    }
}

/// What the existing device leaves for the new one once the list with it is published, under the [sync key](Accepted::sync_key): for the
/// slot. A sync key encrypts one welcome.
pub fn seal_welcome(sync_key: &[u8; KEY_LEN], content: &[u8]) -> Vec<u8> {
    let mut welcome = vec![VERSION; WELCOME_OVERHEAD + content.len()];
    let (ciphertext, tag) = welcome[1..].split_at_mut(content.len());
    ciphertext.copy_from_slice(content);
    tag.copy_from_slice(&aead::seal(sync_key, &NONCE, &[], ciphertext));
    welcome
}

/// The content of a welcome [KV-131].
///
/// # Errors
/// [`LinkError::Malformed`], [`LinkError::Undecryptable`].
pub fn open_welcome(sync_key: &[u8; KEY_LEN], welcome: &[u8]) -> Result<Zeroizing<Vec<u8>>, LinkError> {
    let (version, sealed) = welcome.split_first().ok_or(DecodeError::Length)?;
    if *version != VERSION {
        return Err(DecodeError::Version.into());
    }
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(DecodeError::Length)?;
    let mut content = Zeroizing::new(vec![0; ciphertext.len()]);
    aead::open(sync_key, &NONCE, &[], ciphertext, tag, &mut content).map_err(|_| LinkError::Undecryptable)?;
    Ok(content)
}

/// `out` is as long as `plain` and a tag.
fn seal(key: &[u8; KEY_LEN], transcript: &[u8; 32], plain: &[u8], out: &mut [u8]) {
    let (ciphertext, tag) = out.split_at_mut(plain.len());
    ciphertext.copy_from_slice(plain);
    tag.copy_from_slice(&aead::seal(key, &NONCE, transcript, ciphertext));
}

fn open(key: &[u8; KEY_LEN], transcript: &[u8; 32], sealed: &[u8], plain: &mut [u8]) -> Result<(), LinkError> {
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(DecodeError::Length)?;
    aead::open(key, &NONCE, transcript, ciphertext, tag, plain).map_err(|_| LinkError::Undecryptable)
}

#[cfg(test)]
mod tests {
    use kuvert_types::{AccountId, DeviceId};

    use super::*;
    use crate::braid::tests::TestRng;

    /// A new device that has all keys of the linking, and signs with others [KV-116].
    #[test]
    fn a_consent_that_opens_and_does_not_verify_makes_no_certificate() {
        let rng = &mut TestRng(7);
        let account = AccountSecret::generate(rng);
        let address = Address { account: AccountId::from_bytes([1; 16]), device: DeviceId::PRIMARY };
        let device = NewDevice::generate("laptop", rng).unwrap();
        let linking = Linking::answer(device.offer(), address, account.public(), rng).unwrap();
        let signature = DeviceSecrets::generate(rng).sign(&linking.body.device_statement());
        let mut consent = [VERSION; CONSENT_LEN];
        seal(&linking.keys.to_existing, &linking.keys.transcript, signature.as_bytes(), &mut consent[1..]);
        let digits = linking.keys.digits;
        assert_eq!(linking.confirm(&digits, &consent, &account).unwrap_err(), LinkError::Consent);
    }
}

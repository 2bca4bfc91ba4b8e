//! A device certificate: the account key vouches for a device's two keys, and the device agrees to belong to the account.
//!
//! ```text
//! version u8 = 1 ‖ account id 16 ‖ device id u32 ‖ account key 32 ‖ signing key 32 ‖ identity key 32   = 117 bytes, the body
//! ‖ account signature 64 ‖ device signature 64                                                         = 245 bytes
//! account signature: account key over  label "Kuvert/1 device certificate" ‖ body
//! device signature:  signing key over  label "Kuvert/1 device consent" ‖ body
//! ```
//! Integers are big-endian. Both signatures cover both keys, so neither side can be claimed by a stranger.

use sha2::{Digest, Sha256};

use crate::address::Address;
use crate::keys::{AccountKey, DeviceSigningKey, IdentityKey};
use crate::label::{DEVICE_CERTIFICATE, DEVICE_CONSENT, Label};
use crate::reader::{DecodeError, Reader};
use crate::signature::{Signature, SignatureError};

const VERSION: u8 = 1;
const BODY_LEN: usize = 1 + Address::LEN + 3 * 32;

/// What a certificate says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CertificateBody {
    /// The device.
    pub address: Address,
    /// The account that vouches.
    pub account_key: AccountKey,
    /// The device's Ed25519 key.
    pub signing_key: DeviceSigningKey,
    /// The device's X25519 key.
    pub identity_key: IdentityKey,
}

impl CertificateBody {
    fn to_bytes(self) -> [u8; BODY_LEN] {
        let mut bytes = [VERSION; BODY_LEN];
        let mut at = 1;
        let fields: [&[u8]; 4] = [
            &self.address.to_bytes(),
            self.account_key.as_bytes(),
            self.signing_key.as_bytes(),
            self.identity_key.as_bytes(),
        ];
        for field in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        bytes
    }

    fn labelled(self, label: &Label) -> [u8; 32 + BODY_LEN] {
        let mut bytes = [0; 32 + BODY_LEN];
        bytes[..32].copy_from_slice(label);
        bytes[32..].copy_from_slice(&self.to_bytes());
        bytes
    }

    /// What the account key signs.
    pub fn account_statement(self) -> [u8; 32 + BODY_LEN] {
        self.labelled(&DEVICE_CERTIFICATE)
    }

    /// What the device's signing key signs.
    pub fn device_statement(self) -> [u8; 32 + BODY_LEN] {
        self.labelled(&DEVICE_CONSENT)
    }
}

/// A certificate as received. Nothing in it may be used before [`verify`](Self::verify).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnverifiedDeviceCertificate {
    body: CertificateBody,
    account_signature: Signature,
    device_signature: Signature,
}

impl UnverifiedDeviceCertificate {
    /// Reads exactly [`DeviceCertificate::LEN`] bytes.
    ///
    /// # Errors
    /// [`DecodeError::Length`], [`DecodeError::Version`]; [`DecodeError::Value`] for device number 0.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            if reader.u8()? != VERSION {
                return Err(DecodeError::Version);
            }
            Ok(Self {
                body: CertificateBody {
                    address: Address::read(reader)?,
                    account_key: AccountKey::from_bytes(reader.array()?),
                    signing_key: DeviceSigningKey::from_bytes(reader.array()?),
                    identity_key: IdentityKey::from_bytes(reader.array()?),
                },
                account_signature: Signature::from_bytes(reader.array()?),
                device_signature: Signature::from_bytes(reader.array()?),
            })
        })
    }

    /// What it claims, for messages that report a refusal.
    pub const fn claimed(&self) -> &CertificateBody {
        &self.body
    }

    /// Checks both signatures [KV-012]. The caller still has to compare [`DeviceCertificate::account_key`] with the key it
    /// trusts for that account.
    ///
    /// # Errors
    /// [`SignatureError`]: one of the two signatures does not verify.
    pub fn verify(self) -> Result<DeviceCertificate, SignatureError> {
        let body = self.body;
        self.account_signature.verify(body.account_key.as_bytes(), &body.account_statement())?;
        self.device_signature.verify(body.signing_key.as_bytes(), &body.device_statement())?;
        Ok(DeviceCertificate(self))
    }

    /// For bytes that this program stored itself after [`verify`](Self::verify) had succeeded, so that reading its own
    /// store does not cost two signature checks each time. Never for bytes that came from another party.
    pub const fn trust_own_storage(self) -> DeviceCertificate {
        DeviceCertificate(self)
    }
}

/// A certificate whose two signatures verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceCertificate(UnverifiedDeviceCertificate);

impl DeviceCertificate {
    /// Length of the encoding in bytes.
    pub const LEN: usize = BODY_LEN + 2 * Signature::LEN;

    /// Puts a certificate together and checks it as a stranger would.
    ///
    /// # Errors
    /// [`SignatureError`]: one of the two signatures does not verify.
    pub fn assemble(
        body: CertificateBody,
        account_signature: Signature,
        device_signature: Signature,
    ) -> Result<Self, SignatureError> {
        UnverifiedDeviceCertificate { body, account_signature, device_signature }.verify()
    }

    /// The device.
    pub const fn address(&self) -> Address {
        self.0.body.address
    }

    /// The account key that vouches.
    pub const fn account_key(&self) -> AccountKey {
        self.0.body.account_key
    }

    /// The device's Ed25519 key.
    pub const fn signing_key(&self) -> DeviceSigningKey {
        self.0.body.signing_key
    }

    /// The device's X25519 key.
    pub const fn identity_key(&self) -> IdentityKey {
        self.0.body.identity_key
    }

    /// The 245-byte encoding.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..BODY_LEN].copy_from_slice(&self.0.body.to_bytes());
        bytes[BODY_LEN..BODY_LEN + 64].copy_from_slice(self.0.account_signature.as_bytes());
        bytes[BODY_LEN + 64..].copy_from_slice(self.0.device_signature.as_bytes());
        bytes
    }

    /// SHA-256 of the body: what a device list names a device by [KV-013]. Signatures are left out, so that re-signing the same
    /// keys is the same device.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.body.to_bytes()).into()
    }
}

//! A device's two keys, separate and never converted into one another: Ed25519 signs prekeys and relay challenges, X25519
//! takes part in key agreement.

use kuvert_types::certificate::CertificateBody;
use kuvert_types::{Address, DeviceCertificate, DeviceSigningKey, IdentityKey, Signature};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::AccountSecret;
use crate::primitives::ed25519::Ed25519Secret;
use crate::primitives::x25519::X25519Secret;

/// The secret keys of a device. Wiped when dropped. PROTOCOL.md, Identities.
pub struct DeviceSecrets {
    signing: Ed25519Secret,
    identity: X25519Secret,
    // Kept because making it anew is a multiplication.
    identity_public: IdentityKey,
}

impl DeviceSecrets {
    /// Draws new keys: 32 bytes of `rng` for the signing key, then 32 for the identity key.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self::new(Ed25519Secret::generate(rng), X25519Secret::generate(rng))
    }

    /// Takes the 64 bytes that [`to_bytes`](Self::to_bytes) gave.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut signing = Zeroizing::new([0; 32]);
        let mut identity = Zeroizing::new([0; 32]);
        signing.copy_from_slice(&bytes[..32]);
        identity.copy_from_slice(&bytes[32..]);
        Self::new(Ed25519Secret::from_bytes(&signing), X25519Secret::from_bytes(&identity))
    }

    fn new(signing: Ed25519Secret, identity: X25519Secret) -> Self {
        let identity_public = IdentityKey::from_bytes(*identity.public().as_bytes());
        Self { signing, identity, identity_public }
    }

    /// `Ed25519 seed 32 ‖ X25519 secret 32`, for storage.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 64]> {
        let mut bytes = Zeroizing::new([0; 64]);
        bytes[..32].copy_from_slice(&*self.signing.to_bytes());
        bytes[32..].copy_from_slice(self.identity.as_bytes());
        bytes
    }

    /// The public Ed25519 key.
    pub fn signing_key(&self) -> DeviceSigningKey {
        DeviceSigningKey::from_bytes(self.signing.public())
    }

    /// The public X25519 key.
    pub fn identity_key(&self) -> IdentityKey {
        self.identity_public
    }

    /// Makes this device the device `address` of the account: both the account and the device sign.
    pub fn certify(&self, account: &AccountSecret, address: Address) -> DeviceCertificate {
        let body = CertificateBody {
            address,
            account_key: account.public(),
            signing_key: self.signing_key(),
            identity_key: self.identity_key(),
        };
        let account_signature = account.sign(&body.account_statement());
        let device_signature = self.signing.sign(&body.device_statement());
        #[allow(clippy::expect_used)] // a signature made a line ago with the key that checks it
        DeviceCertificate::assemble(body, account_signature, device_signature).expect("own signatures verify")
    }

    /// Signs a relay's challenge: the bytes of `kuvert_types::authentication::statement`, which start with their own label.
    pub fn sign_authentication(&self, statement: &[u8]) -> Signature {
        self.signing.sign(statement)
    }

    pub(crate) fn sign(&self, statement: &[u8]) -> Signature {
        self.signing.sign(statement)
    }

    pub(crate) fn identity(&self) -> &X25519Secret {
        &self.identity
    }
}

impl core::fmt::Debug for DeviceSecrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { signing: _, identity: _, identity_public } = self;
        f.debug_struct("DeviceSecrets").field("identity_key", identity_public).finish_non_exhaustive()
    }
}

/// A certificate names other keys than the device has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the device certificate belongs to other keys than this device's")]
pub struct LocalDeviceError;

/// This device as sessions need it: its keys, and the certificate that others know it by.
#[derive(Debug)]
pub struct LocalDevice {
    secrets: DeviceSecrets,
    certificate: DeviceCertificate,
}

impl LocalDevice {
    /// Puts keys and certificate together.
    ///
    /// # Errors
    /// [`LocalDeviceError`]: the certificate names other keys.
    pub fn new(secrets: DeviceSecrets, certificate: DeviceCertificate) -> Result<Self, LocalDeviceError> {
        let matches =
            certificate.signing_key() == secrets.signing_key() && certificate.identity_key() == secrets.identity_key();
        if matches { Ok(Self { secrets, certificate }) } else { Err(LocalDeviceError) }
    }

    /// The device's secret keys.
    pub fn secrets(&self) -> &DeviceSecrets {
        &self.secrets
    }

    /// The device's certificate.
    pub fn certificate(&self) -> &DeviceCertificate {
        &self.certificate
    }

    /// The device's address.
    pub fn address(&self) -> Address {
        self.certificate.address()
    }
}

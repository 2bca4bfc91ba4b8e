//! What an initiator fetches for one device. The relay may have made it up, until [`PrekeyBundle::verify`] says otherwise.

use kuvert_types::{AccountKey, Address, DeviceCertificate, UnverifiedDeviceCertificate};

use super::{KemPrekey, KemPrekeyKind, OneTimePrekey, SignedPrekey, kem, signed};
use crate::primitives::kem1024::KemPublic;
use crate::primitives::x25519::X25519Public;

/// A bundle as a relay serves it. PROTOCOL.md, Prekeys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrekeyBundle {
    /// The device that the prekeys belong to.
    pub certificate: UnverifiedDeviceCertificate,
    /// The signed prekey.
    pub signed_prekey: SignedPrekey,
    /// A KEM prekey.
    pub kem_prekey: KemPrekey,
    /// Whether it is a one-time one or that of last resort.
    pub kem_kind: KemPrekeyKind,
    /// A one-time curve prekey, if one was left.
    pub one_time_prekey: Option<OneTimePrekey>,
}

/// Why a bundle is refused. Each means that the relay, or a party behind it, serves something false.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The certificate's signatures do not verify.
    #[error("the device certificate does not verify")]
    Certificate,
    /// The certificate is for another device than the one asked for.
    #[error("the prekey bundle is for another device")]
    Address,
    /// The certificate carries another account key than the one trusted.
    #[error("the prekey bundle is for another account key than the one known")]
    AccountKey,
    /// The device's X25519 identity key is no good key.
    #[error("the device's identity key is invalid")]
    IdentityKey,
    /// The signed prekey's signature does not verify.
    #[error("the signed prekey's signature does not verify")]
    SignedPrekeySignature,
    /// The signed prekey is no good X25519 key.
    #[error("the signed prekey is invalid")]
    SignedPrekey,
    /// The KEM prekey's signature does not verify for its kind.
    #[error("the KEM prekey's signature does not verify")]
    KemPrekeySignature,
    /// The KEM prekey is no valid ML-KEM-1024 key.
    #[error("the KEM prekey is invalid")]
    KemPrekey,
    /// The one-time prekey is no good X25519 key.
    #[error("the one-time prekey is invalid")]
    OneTimePrekey,
}

impl PrekeyBundle {
    /// Checks everything [KV-023]: both signatures of the certificate, that it is for `address` and under the account key that the
    /// caller trusts, the prekeys' signatures, and that every key is a good key of its kind.
    ///
    /// # Errors
    /// See [`BundleError`]: the first check that fails.
    pub fn verify(self, address: Address, account_key: &AccountKey) -> Result<VerifiedBundle, BundleError> {
        let claimed = self.certificate.claimed();
        if claimed.address != address {
            return Err(BundleError::Address);
        }
        if claimed.account_key != *account_key {
            return Err(BundleError::AccountKey);
        }
        let certificate = self.certificate.verify().map_err(|_| BundleError::Certificate)?;
        let identity_key = certificate.identity_key();
        let signing_key = certificate.signing_key();

        let SignedPrekey { id, public_key, signature } = &self.signed_prekey;
        let statement = signed::statement(&identity_key, *id, public_key);
        signature.verify(signing_key.as_bytes(), &statement).map_err(|_| BundleError::SignedPrekeySignature)?;

        let KemPrekey { id, public_key, signature } = &self.kem_prekey;
        let statement = kem::statement(&identity_key, self.kem_kind, *id, public_key);
        signature.verify(signing_key.as_bytes(), &statement).map_err(|_| BundleError::KemPrekeySignature)?;

        let one_time = match self.one_time_prekey {
            None => None,
            Some(OneTimePrekey { id, public_key }) => {
                Some((id, X25519Public::decode(public_key).map_err(|_| BundleError::OneTimePrekey)?))
            }
        };
        Ok(VerifiedBundle {
            certificate,
            identity: X25519Public::decode(*identity_key.as_bytes()).map_err(|_| BundleError::IdentityKey)?,
            signed_prekey_id: self.signed_prekey.id,
            signed_prekey: X25519Public::decode(self.signed_prekey.public_key)
                .map_err(|_| BundleError::SignedPrekey)?,
            kem_kind: self.kem_kind,
            kem_prekey_id: self.kem_prekey.id,
            kem_prekey: KemPublic::decode(&self.kem_prekey.public_key).map_err(|_| BundleError::KemPrekey)?,
            one_time,
        })
    }
}

/// A bundle that passed every check.
#[derive(Clone, Debug)]
pub struct VerifiedBundle {
    pub(crate) certificate: DeviceCertificate,
    pub(crate) identity: X25519Public,
    pub(crate) signed_prekey_id: u32,
    pub(crate) signed_prekey: X25519Public,
    pub(crate) kem_kind: KemPrekeyKind,
    pub(crate) kem_prekey_id: u32,
    pub(crate) kem_prekey: KemPublic,
    pub(crate) one_time: Option<(u32, X25519Public)>,
}

impl VerifiedBundle {
    /// The device that it belongs to.
    pub fn certificate(&self) -> &DeviceCertificate {
        &self.certificate
    }

    /// Whether a one-time curve prekey is in it. One that is always missing hints at a relay that withholds them.
    pub fn has_one_time_prekey(&self) -> bool {
        self.one_time.is_some()
    }

    /// Which kind of KEM prekey is in it.
    pub fn kem_kind(&self) -> KemPrekeyKind {
        self.kem_kind
    }
}

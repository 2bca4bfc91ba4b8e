//! A newtype per derived secret, and how each is derived. All are wiped when dropped and none prints itself.
//!
//! ```text
//! RK, HKi→r, NHKr→i           = HKDF(salt = 0^32, IKM = SK, info = label "Kuvert/1 ratchet keys")           96 bytes
//! RK', CK, NHK                = HKDF(salt = RK, IKM = DH result, info = label "Kuvert/1 root step")         96 bytes
//! ec_mk, CK'                  = HMAC(CK, 0x01), HMAC(CK, 0x02)
//! body key 32 ‖ body nonce 12 = HKDF(salt = pq_mk, IKM = ec_mk, info = label "Kuvert/1 body key" ‖ SHA-256(AD))
//! ```

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::labels::{BODY_KEY, RATCHET_KEYS, ROOT_STEP};
use crate::pq_ratchet::PqMessageKey;
use crate::primitives::aead;
use crate::primitives::kdf::{HmacSha256, hkdf_sha256};
use crate::primitives::x25519::SharedSecret;

macro_rules! secret_keys {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub(crate) struct $name([u8; 32]);

        impl $name {
            pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
                Self(*bytes)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let Self(_) = self;
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )+};
}

secret_keys! {
    /// RK of the specification: what every Diffie–Hellman step mixes into.
    RootKey,
    /// CKs: gives the keys of the messages that this side sends.
    SendingChainKey,
    /// CKr: gives the keys of the messages that this side receives.
    ReceivingChainKey,
    /// `ec_mk`: the curve half of one message's key.
    MessageKey,
    /// HKs or HKr: encrypts the headers of one chain.
    HeaderKey,
    /// NHKs or NHKr: becomes the header key of the chain that the next step begins.
    NextHeaderKey,
}

impl ConstantTimeEq for MessageKey {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.0.ct_eq(&other.0)
    }
}

impl NextHeaderKey {
    /// The step came: from now on it encrypts headers.
    pub(crate) fn into_header_key(self) -> HeaderKey {
        HeaderKey::from_bytes(&self.0)
    }
}

/// What both sides start the Double Ratchet from.
pub(crate) struct InitialKeys {
    pub(crate) root: RootKey,
    /// Headers of the initiator's first chain.
    pub(crate) initiator_header: HeaderKey,
    /// Headers of the recipient's first chain.
    pub(crate) recipient_header: NextHeaderKey,
}

impl InitialKeys {
    pub(crate) fn derive(session_secret: &[u8; 32]) -> Self {
        let okm = hkdf_sha256::<96>(&[0; 32], &[session_secret], &[&RATCHET_KEYS]);
        Self {
            root: RootKey::from_bytes(third(&okm, 0)),
            initiator_header: HeaderKey::from_bytes(third(&okm, 1)),
            recipient_header: NextHeaderKey::from_bytes(third(&okm, 2)),
        }
    }
}

impl RootKey {
    /// KDF_RK_HE: the step into a chain that this side sends.
    pub(crate) fn step_sending(&self, shared: &SharedSecret) -> (Self, SendingChainKey, NextHeaderKey) {
        let okm = self.step(shared);
        (
            Self::from_bytes(third(&okm, 0)),
            SendingChainKey::from_bytes(third(&okm, 1)),
            NextHeaderKey::from_bytes(third(&okm, 2)),
        )
    }

    /// KDF_RK_HE: the step into a chain that this side receives.
    pub(crate) fn step_receiving(&self, shared: &SharedSecret) -> (Self, ReceivingChainKey, NextHeaderKey) {
        let okm = self.step(shared);
        (
            Self::from_bytes(third(&okm, 0)),
            ReceivingChainKey::from_bytes(third(&okm, 1)),
            NextHeaderKey::from_bytes(third(&okm, 2)),
        )
    }

    /// KDF_RK_HE [KV-030].
    fn step(&self, shared: &SharedSecret) -> Zeroizing<[u8; 96]> {
        hkdf_sha256(&self.0, &[shared.as_bytes()], &[&ROOT_STEP])
    }
}

impl SendingChainKey {
    /// The message key, and the chain moved on.
    pub(crate) fn advance(&mut self) -> MessageKey {
        advance_chain(&mut self.0)
    }
}

impl ReceivingChainKey {
    /// The message key, and the chain moved on.
    pub(crate) fn advance(&mut self) -> MessageKey {
        advance_chain(&mut self.0)
    }
}

/// KDF_CK [KV-030]. The HMAC is keyed once for both outputs.
fn advance_chain(chain_key: &mut [u8; 32]) -> MessageKey {
    let keyed = HmacSha256::new(chain_key);
    let message_key = MessageKey::from_bytes(&keyed.tag(&[&[0x01]]));
    chain_key.copy_from_slice(&*keyed.into_tag(&[&[0x02]]));
    message_key
}

/// Key and nonce of one body [KV-053].
pub(crate) struct BodyKey(Zeroizing<[u8; aead::KEY_LEN + aead::NONCE_LEN]>);

impl BodyKey {
    /// The associated data goes in by its hash. It holds the header with its random nonce, so that two messages never have
    /// the same key, not even after a state was rolled back to an older copy.
    pub(crate) fn derive(pq: &PqMessageKey, ec: &MessageKey, associated_data: &[u8]) -> Self {
        let hash = Sha256::digest(associated_data);
        Self(hkdf_sha256(pq.as_bytes(), &[&ec.0], &[&BODY_KEY, &hash]))
    }

    pub(crate) fn encrypt(&self, associated_data: &[u8], data: &mut [u8]) -> [u8; aead::TAG_LEN] {
        let (key, nonce) = self.parts();
        aead::seal(key, nonce, associated_data, data)
    }

    pub(crate) fn decrypt(
        &self,
        associated_data: &[u8],
        ciphertext: &[u8],
        tag: &[u8; aead::TAG_LEN],
        plaintext: &mut [u8],
    ) -> Result<(), aead::OpenError> {
        let (key, nonce) = self.parts();
        aead::open(key, nonce, associated_data, ciphertext, tag, plaintext)
    }

    fn parts(&self) -> (&[u8; aead::KEY_LEN], &[u8; aead::NONCE_LEN]) {
        #[allow(clippy::expect_used)] // 32 + 12 = 44, the array's length
        let (key, rest) = self.0.split_first_chunk().expect("44 bytes");
        #[allow(clippy::expect_used)] // the 12 that are left
        (key, rest.first_chunk().expect("12 bytes"))
    }
}

/// Part `index` (0, 1 or 2) of 96 bytes.
fn third(okm: &[u8; 96], index: usize) -> &[u8; 32] {
    &okm.as_chunks::<32>().0[index]
}

//! ML-KEM-1024 (FIPS 203). Secret keys are kept as the 64-byte seed `d ‖ z`, from which the key pair is made again.

use libcrux_ml_kem::mlkem1024::{self, MlKem1024Ciphertext, MlKem1024PrivateKey, MlKem1024PublicKey};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of a seed.
pub const SEED_LEN: usize = 64;
/// Bytes of an encapsulation key.
pub const PUBLIC_LEN: usize = 1568;
/// Bytes of a ciphertext.
pub const CIPHERTEXT_LEN: usize = 1568;
/// Bytes of the shared secret.
pub const SHARED_LEN: usize = 32;

/// An encapsulation key is refused: a coefficient is not below the modulus (FIPS 203, section 7.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a valid ML-KEM-1024 encapsulation key")]
pub struct InvalidKemKey;

/// The seed of a key pair. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct KemSeed([u8; SEED_LEN]);

impl KemSeed {
    /// Draws a new seed: 64 bytes of `rng`.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut seed = Self([0; SEED_LEN]);
        rng.fill_bytes(&mut seed.0);
        seed
    }

    /// Takes the 64 bytes `d ‖ z`. Every seed is a key pair.
    pub fn from_bytes(bytes: &[u8; SEED_LEN]) -> Self {
        Self(*bytes)
    }

    /// The 64 bytes.
    pub fn as_bytes(&self) -> &[u8; SEED_LEN] {
        &self.0
    }

    /// The key pair (26 µs).
    pub fn key_pair(&self) -> KemKeyPair {
        let (private, public) = mlkem1024::generate_key_pair(self.0).into_parts();
        KemKeyPair { private, public: KemPublic(public.into()) }
    }
}

impl core::fmt::Debug for KemSeed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KemSeed(…)")
    }
}

/// A key pair. Its private half is wiped when dropped, which the backend does not do.
pub struct KemKeyPair {
    private: MlKem1024PrivateKey,
    public: KemPublic,
}

impl KemKeyPair {
    /// The encapsulation key.
    pub const fn public(&self) -> &KemPublic {
        &self.public
    }

    /// ML-KEM.Decaps. A ciphertext that was not made for this key gives a secret that no other party knows.
    pub fn decapsulate(&self, ciphertext: &[u8; CIPHERTEXT_LEN]) -> KemShared {
        KemShared(mlkem1024::decapsulate(&self.private, &MlKem1024Ciphertext::from(ciphertext)))
    }
}

impl Drop for KemKeyPair {
    fn drop(&mut self) {
        self.private[0..MlKem1024PrivateKey::len()].zeroize();
    }
}

impl core::fmt::Debug for KemKeyPair {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { private: _, public } = self;
        f.debug_struct("KemKeyPair").field("public", public).finish_non_exhaustive()
    }
}

/// An encapsulation key that passed the check of FIPS 203, section 7.2.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublic([u8; PUBLIC_LEN]);

impl KemPublic {
    /// Checks bytes that another party sent [KV-009].
    ///
    /// # Errors
    /// [`InvalidKemKey`]: a coefficient is not below the modulus.
    pub fn decode(bytes: &[u8; PUBLIC_LEN]) -> Result<Self, InvalidKemKey> {
        if mlkem1024::validate_public_key(&MlKem1024PublicKey::from(bytes)) {
            Ok(Self(*bytes))
        } else {
            Err(InvalidKemKey)
        }
    }

    /// The 1,568 bytes.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_LEN] {
        &self.0
    }

    /// ML-KEM.Encaps with 32 bytes of `rng`.
    pub fn encapsulate(&self, rng: &mut (impl CryptoRng + ?Sized)) -> ([u8; CIPHERTEXT_LEN], KemShared) {
        let mut randomness = Zeroizing::new([0; SHARED_LEN]);
        rng.fill_bytes(&mut *randomness);
        self.encapsulate_with(&randomness)
    }

    /// ML-KEM.Encaps_internal with the message `m` given, for test vectors.
    pub fn encapsulate_with(&self, m: &[u8; SHARED_LEN]) -> ([u8; CIPHERTEXT_LEN], KemShared) {
        let (ciphertext, shared) = mlkem1024::encapsulate(&MlKem1024PublicKey::from(&self.0), *m);
        (ciphertext.into(), KemShared(shared))
    }
}

impl core::fmt::Debug for KemPublic {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "KemPublic({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// A shared secret. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct KemShared([u8; SHARED_LEN]);

impl KemShared {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; SHARED_LEN] {
        &self.0
    }
}

impl core::fmt::Debug for KemShared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KemShared(…)")
    }
}

//! ML-KEM-768 (FIPS 203) in pieces: the first part of a ciphertext needs only a hash of the encapsulation key, so that
//! key and ciphertext can travel at the same time.
//!
//! ```text
//! encapsulation key, FIPS 203: t̂ (1152 B) ‖ ρ (32 B)          header = ρ ‖ H(t̂ ‖ ρ)   (64 B)     vector = t̂
//! ciphertext, FIPS 203:        c₁ (960 B) ‖ c₂ (128 B)         H = SHA3-256
//! c₁ depends on the header and 32 random bytes; c₂ on the vector, too
//! ```
//!
//! The pieces put together are what FIPS 203 says, bit for bit [KV-044]. The seam over `libcrux-ml-kem`'s incremental interface;
//! nothing else in the crate knows it. That library picks AVX2 (x86-64) at run time and NEON (AArch64) when compiled,
//! without any feature of its own being named, and has a portable form for all else.
//!
//! Keys are kept as seeds. A key pair is expanded once more for decapsulation, and the first half of an encapsulation is
//! repeated for the second: that costs about 2 µs a message and saves 2 KB of secrets in memory and in every snapshot.

use alloc::boxed::Box;

use libcrux_ml_kem::mlkem768::incremental;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::wiped::WipedArray;

/// Bytes of an encapsulation key's header: `ρ ‖ H(t̂ ‖ ρ)`.
pub const HEADER_LEN: usize = 64;
/// Bytes of an encapsulation key's vector `t̂`.
pub const VECTOR_LEN: usize = 1152;
/// Bytes of a ciphertext's first part.
pub const CIPHERTEXT1_LEN: usize = 960;
/// Bytes of a ciphertext's second part.
pub const CIPHERTEXT2_LEN: usize = 128;

const _: () = assert!(
    incremental::pk1_len() == HEADER_LEN
        && incremental::pk2_len() == VECTOR_LEN
        && incremental::Ciphertext1::len() == CIPHERTEXT1_LEN
        && incremental::Ciphertext2::len() == CIPHERTEXT2_LEN
);

/// `header ‖ vector ‖ secret parts`, in the library's own layout.
type KeyPair = WipedArray<{ incremental::key_pair_len() }>;

/// What the second half of an encapsulation needs of the first, in the library's own layout.
type EncapsulationState = WipedArray<{ incremental::encaps_state_len() }>;

/// The encapsulation key is refused, or (never for buffers of the lengths above) the library refused a length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid ML-KEM encapsulation key")]
pub struct InvalidKey;

/// A key pair as FIPS 203's `d ‖ z`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct KeyPairSeed(Box<[u8; 64]>);

/// The 32 random bytes `m` of an encapsulation under way.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EncapsulationSeed(Box<[u8; 32]>);

/// What both sides end up with.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SharedSecret([u8; 32]);

macro_rules! secret_bytes {
    ($name:ident, $len:literal) => {
        impl $name {
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let Self(_) = self;
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

secret_bytes!(KeyPairSeed, 64);
secret_bytes!(EncapsulationSeed, 32);
secret_bytes!(SharedSecret, 32);

impl KeyPairSeed {
    /// A new key pair.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Self(Box::new([0; 64]));
        rng.fill_bytes(&mut *seed.0);
        seed
    }

    /// Takes a stored seed.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut seed = Self(Box::new([0; 64]));
        seed.0.copy_from_slice(bytes);
        seed
    }

    /// Header and vector of the encapsulation key [KV-044].
    ///
    /// # Errors
    /// Never for a seed of 64 bytes.
    pub fn encapsulation_key(&self) -> Result<([u8; HEADER_LEN], Box<[u8; VECTOR_LEN]>), InvalidKey> {
        let mut pair = KeyPair::zeros();
        self.expand(&mut pair)?;
        let (header, rest) = pair.split_first_chunk().ok_or(InvalidKey)?;
        let vector = rest.first_chunk().ok_or(InvalidKey)?;
        Ok((*header, Box::new(*vector)))
    }

    /// The shared secret in a ciphertext; an unrelated secret if the ciphertext is not one for this key (implicit
    /// rejection, FIPS 203 section 6.3).
    ///
    /// # Errors
    /// Never for ciphertexts of these lengths.
    pub fn decapsulate(
        &self,
        ciphertext1: &[u8; CIPHERTEXT1_LEN],
        ciphertext2: &[u8; CIPHERTEXT2_LEN],
    ) -> Result<SharedSecret, InvalidKey> {
        let mut pair = KeyPair::zeros();
        self.expand(&mut pair)?;
        let ciphertext1 = incremental::Ciphertext1 { value: *ciphertext1 };
        let ciphertext2 = incremental::Ciphertext2 { value: *ciphertext2 };
        incremental::decapsulate_incremental_key(&*pair, &ciphertext1, &ciphertext2)
            .map(SharedSecret)
            .map_err(|_| InvalidKey)
    }

    fn expand(&self, pair: &mut KeyPair) -> Result<(), InvalidKey> {
        incremental::generate_key_pair(*self.0, &mut **pair).map_err(|_| InvalidKey)
    }
}

impl EncapsulationSeed {
    /// New randomness.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Self(Box::new([0; 32]));
        rng.fill_bytes(&mut *seed.0);
        seed
    }

    /// Takes stored randomness.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut seed = Self(Box::new([0; 32]));
        seed.0.copy_from_slice(bytes);
        seed
    }

    /// First part of the ciphertext, and the shared secret.
    ///
    /// # Errors
    /// Never for a header of this length.
    pub fn encapsulate1(
        &self,
        header: &[u8; HEADER_LEN],
    ) -> Result<(Box<[u8; CIPHERTEXT1_LEN]>, SharedSecret), InvalidKey> {
        let mut secret = SharedSecret([0; 32]);
        let ciphertext1 = self.begin(header, &mut EncapsulationState::zeros(), &mut secret)?;
        Ok((Box::new(ciphertext1), secret))
    }

    /// Second part of the ciphertext, once the vector is there. Refuses a vector that `header` did not announce, and one
    /// with a coefficient of 3329 or more (FIPS 203 section 7.2, modulus check) [KV-045].
    ///
    /// # Errors
    /// [`InvalidKey`] for such a vector.
    pub fn encapsulate2(
        self,
        header: &[u8; HEADER_LEN],
        vector: &[u8; VECTOR_LEN],
    ) -> Result<[u8; CIPHERTEXT2_LEN], InvalidKey> {
        // [KV-045]
        incremental::validate_pk_bytes(header, vector).map_err(|_| InvalidKey)?;
        let mut state = EncapsulationState::zeros();
        self.begin(header, &mut state, &mut SharedSecret([0; 32]))?;
        Ok(incremental::encapsulate2(&state, vector).value)
    }

    fn begin(
        &self,
        header: &[u8; HEADER_LEN],
        state: &mut EncapsulationState,
        secret: &mut SharedSecret,
    ) -> Result<[u8; CIPHERTEXT1_LEN], InvalidKey> {
        let ciphertext1 = incremental::encapsulate1(header, *self.0, &mut **state, &mut secret.0);
        ciphertext1.map(|ciphertext1| ciphertext1.value).map_err(|_| InvalidKey)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use ml_kem::kem::{Decapsulate, KeyExport};
    use ml_kem::{B32, DecapsulationKey768};

    use super::*;

    /// Bytes that differ for every seed and place.
    fn bytes<const N: usize>(seed: u64, purpose: u8) -> [u8; N] {
        let out = crate::primitives::kdf::hkdf_sha256::<N>(&seed.to_be_bytes(), &[&[purpose]], &[]);
        *out
    }

    /// Makes the header's hash fit `vector`.
    fn announce(header: &mut [u8; HEADER_LEN], vector: &[u8; VECTOR_LEN]) {
        let hash = sha3_256(&[vector.as_slice(), &header[..32]].concat());
        header[32..].copy_from_slice(&hash);
    }

    /// SHA3-256 as FIPS 202 writes it, for `announce` alone.
    fn sha3_256(message: &[u8]) -> [u8; 32] {
        const RATE: usize = 136;
        let mut padded = message.to_vec();
        padded.push(0x06);
        padded.resize(padded.len().next_multiple_of(RATE), 0);
        *padded.last_mut().unwrap() |= 0x80;
        let mut lanes = [[0_u64; 5]; 5]; // [x][y]
        for block in padded.chunks(RATE) {
            for (i, lane) in block.chunks(8).enumerate() {
                lanes[i % 5][i / 5] ^= u64::from_le_bytes(lane.try_into().unwrap());
            }
            keccak_f(&mut lanes);
        }
        core::array::from_fn(|i| lanes[i / 8][0].to_le_bytes()[i % 8])
    }

    fn keccak_f(a: &mut [[u64; 5]; 5]) {
        let mut lfsr = 1_u8;
        for _ in 0..24 {
            // θ
            let c: [u64; 5] = core::array::from_fn(|x| a[x].iter().fold(0, |c, lane| c ^ lane));
            for x in 0..5 {
                for lane in &mut a[x] {
                    *lane ^= c[(x + 4) % 5] ^ c[(x + 1) % 5].rotate_left(1);
                }
            }
            // ρ and π
            let (mut x, mut y, mut moving) = (1, 0, a[1][0]);
            for t in 0..24_u32 {
                (x, y) = (y, (2 * x + 3 * y) % 5);
                moving = core::mem::replace(&mut a[x][y], moving.rotate_left((t + 1) * (t + 2) / 2 % 64));
            }
            // χ
            let b = *a;
            for x in 0..5 {
                for y in 0..5 {
                    a[x][y] = b[x][y] ^ (!b[(x + 1) % 5][y] & b[(x + 2) % 5][y]);
                }
            }
            // ι
            for j in 0..7 {
                if lfsr & 1 == 1 {
                    a[0][0] ^= 1 << ((1_u32 << j) - 1);
                }
                lfsr = (lfsr << 1) ^ (lfsr >> 7).wrapping_mul(0x71);
            }
        }
    }

    #[test]
    fn agrees_with_an_independent_implementation() {
        for seed in 0..60 {
            let pair_seed: [u8; 64] = bytes(seed, 0);
            let m: [u8; 32] = bytes(seed, 1);
            let pair = KeyPairSeed::from_bytes(&pair_seed);
            let (header, vector) = pair.encapsulation_key().unwrap();
            let oracle = DecapsulationKey768::from_seed(pair_seed.into());

            // The encapsulation key is FIPS 203's t̂ ‖ ρ.
            let key = oracle.encapsulation_key().to_bytes();
            assert_eq!([vector.as_slice(), &header[..32]].concat(), key.as_slice(), "seed {seed}");

            // H(ek) is over the same bytes in the same order: vector first, then ρ.
            assert_eq!(header[32..], sha3_256(&key), "seed {seed}");

            // The ciphertext and the secret, from the same randomness.
            let encapsulation = EncapsulationSeed::from_bytes(&m);
            let (c1, secret) = encapsulation.encapsulate1(&header).unwrap();
            let c2 = encapsulation.encapsulate2(&header, &vector).unwrap();
            let (ciphertext, expected) = oracle.encapsulation_key().encapsulate_deterministic(&B32::from(m));
            let joined: Vec<u8> = [c1.as_slice(), &c2].concat();
            assert_eq!(joined, ciphertext.as_slice(), "seed {seed}");
            assert_eq!(secret.as_bytes(), expected.as_slice(), "seed {seed}");

            // Each decapsulates, and rejects, as the other does.
            assert_eq!(pair.decapsulate(&c1, &c2).unwrap().as_bytes(), expected.as_slice(), "seed {seed}");
            let mut wrong = c2;
            wrong[usize::try_from(seed).unwrap() % wrong.len()] ^= 1;
            let joined: Vec<u8> = [c1.as_slice(), &wrong].concat();
            let rejected = oracle.decapsulate(joined.as_slice().try_into().unwrap());
            assert_ne!(rejected.as_slice(), expected.as_slice());
            assert_eq!(pair.decapsulate(&c1, &wrong).unwrap().as_bytes(), rejected.as_slice(), "seed {seed}");
        }
    }

    #[test]
    fn refuses_a_vector_that_the_header_did_not_announce() {
        let (header, mut vector) = KeyPairSeed::from_bytes(&bytes(7, 0)).encapsulation_key().unwrap();
        vector[100] ^= 1;
        assert_eq!(EncapsulationSeed::from_bytes(&bytes(7, 1)).encapsulate2(&header, &vector), Err(InvalidKey));
    }

    #[test]
    fn refuses_a_coefficient_that_is_not_reduced() {
        let (mut header, mut vector) = KeyPairSeed::from_bytes(&bytes(8, 0)).encapsulation_key().unwrap();
        for coefficient in [3329_u16, 4095] {
            let [low, high] = coefficient.to_le_bytes();
            vector[0] = low;
            vector[1] = vector[1] & 0xF0 | high;
            // The announced hash fits the vector, so the modulus check alone can refuse it.
            announce(&mut header, &vector);
            let seed = EncapsulationSeed::from_bytes(&bytes(8, 1));
            assert_eq!(seed.encapsulate2(&header, &vector), Err(InvalidKey), "{coefficient}");
        }
        vector[0] = 0x00;
        vector[1] = vector[1] & 0xF0 | 0x0D; // 3328
        announce(&mut header, &vector);
        assert!(EncapsulationSeed::from_bytes(&bytes(8, 1)).encapsulate2(&header, &vector).is_ok());
    }
}

//! X25519 (RFC 7748) with every check on keys that another party sent.
//!
//! X25519 itself takes any 32 bytes. That leaves three doors open, and each is closed here:
//! - a *low-order* point makes the result zero whatever the secret is: refused when read, and the result is checked too;
//! - *non-canonical* bytes (bit 255 set, or a value of at least p = 2^255 − 19) spell the same point differently: refused
//!   when read;
//! - a point plus a *torsion* point gives the same result, because secrets are multiples of 8: eight spellings of one key.
//!   Where a key's bytes are what tells one message from its copy (the ephemeral key), [`X25519Public::is_torsion_free`]
//!   is asked as well.

use curve25519_dalek::montgomery::MontgomeryPoint;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::backend::chosen::X25519Scalar;

/// Bytes of public keys, secret keys and results.
pub const LEN: usize = 32;

/// A public key is refused: not canonical, of low order, or not in the prime-order group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a valid X25519 public key")]
pub struct InvalidX25519Key;

/// A public key whose bytes are canonical and whose order is not low.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct X25519Public([u8; LEN]);

impl X25519Public {
    /// Checks 32 bytes that another party sent [KV-006].
    ///
    /// # Errors
    /// [`InvalidX25519Key`]: bit 255 is set, the value is at least p, or the point has low order (on the curve or on its
    /// twist).
    pub fn decode(bytes: [u8; LEN]) -> Result<Self, InvalidX25519Key> {
        if is_canonical(&bytes) && !LOW_ORDER.contains(&bytes) { Ok(Self(bytes)) } else { Err(InvalidX25519Key) }
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// Whether the point is on the curve (not its twist) and a multiple of the base point, as every honestly made key is
    /// [KV-008].
    /// Exactly one of the eight spellings of a key passes. Costs about as much as a Diffie–Hellman.
    pub fn is_torsion_free(&self) -> bool {
        // The sign of the Edwards point does not matter: P and −P have the same order.
        MontgomeryPoint(self.0).to_edwards(0).is_some_and(|point| point.is_torsion_free())
    }
}

impl core::fmt::Debug for X25519Public {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "X25519Public({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// The values below p of low order: 0, 1, p − 1 and the two of order 8. (RFC 7748, section 7; the other known spellings
/// are not canonical.)
const LOW_ORDER: [[u8; LEN]; 5] = [
    [0; LEN],
    {
        let mut one = [0; LEN];
        one[0] = 1;
        one
    },
    {
        let mut p_minus_one = [0xFF; LEN];
        p_minus_one[0] = 0xEC;
        p_minus_one[31] = 0x7F;
        p_minus_one
    },
    [
        0xE0, 0xEB, 0x7A, 0x7C, 0x3B, 0x41, 0xB8, 0xAE, 0x16, 0x56, 0xE3, 0xFA, 0xF1, 0x9F, 0xC4, 0x6A, 0xDA, 0x09,
        0x8D, 0xEB, 0x9C, 0x32, 0xB1, 0xFD, 0x86, 0x62, 0x05, 0x16, 0x5F, 0x49, 0xB8, 0x00,
    ],
    [
        0x5F, 0x9C, 0x95, 0xBC, 0xA3, 0x50, 0x8C, 0x24, 0xB1, 0xD0, 0xB1, 0x55, 0x9C, 0x83, 0xEF, 0x5B, 0x04, 0x44,
        0x5C, 0xC4, 0x58, 0x1C, 0x8E, 0x86, 0xD8, 0x22, 0x4E, 0xDD, 0xD0, 0x9F, 0x11, 0x57,
    ],
];

/// Whether little-endian `bytes` are below p = 2^255 − 19. Public data: time may depend on it.
fn is_canonical(bytes: &[u8; LEN]) -> bool {
    let [low, middle @ .., high] = bytes;
    *high < 0x7F || (*high == 0x7F && (*low < 0xED || middle.iter().any(|byte| *byte != 0xFF)))
}

/// A secret key. Wiped when dropped.
#[derive(Clone)]
pub struct X25519Secret(X25519Scalar);

impl X25519Secret {
    /// Draws a new key: 32 bytes of `rng`.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut bytes = Zeroizing::new([0; LEN]);
        rng.fill_bytes(&mut *bytes);
        Self::from_bytes(&bytes)
    }

    /// Takes 32 bytes; they are clamped when used (RFC 7748, section 5).
    pub fn from_bytes(bytes: &[u8; LEN]) -> Self {
        Self(X25519Scalar::new(bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; LEN] {
        self.0.as_bytes()
    }

    /// The public key. A multiplication: keep the result.
    pub fn public(&self) -> X25519Public {
        X25519Public(self.0.public())
    }

    /// Diffie–Hellman. A result of zero is an error [KV-007].
    ///
    /// # Errors
    /// The result is zero. Cannot happen for an [`X25519Public`]; checked all the same (RFC 7748, section 6.1).
    pub fn agree(&self, theirs: &X25519Public) -> Result<SharedSecret, InvalidX25519Key> {
        let shared = SharedSecret(self.0.multiply(&theirs.0));
        if shared.0.ct_eq(&[0; LEN]).into() { Err(InvalidX25519Key) } else { Ok(shared) }
    }
}

impl core::fmt::Debug for X25519Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("X25519Secret(…)")
    }
}

/// The result of a Diffie–Hellman, never zero. Wiped when dropped.
pub struct SharedSecret(Zeroizing<[u8; LEN]>);

impl SharedSecret {
    /// The 32 bytes. Not uniform: only for a key derivation function.
    pub fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }
}

impl core::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [`X25519Public::decode`] lets no such key through. This is the second line, for a key that came another way.
    #[test]
    fn a_result_of_zero_is_an_error_also_for_a_key_that_was_not_looked_at() {
        let secret = X25519Secret::from_bytes(&[7; LEN]);
        for low in LOW_ORDER {
            assert_eq!(secret.agree(&X25519Public(low)).err(), Some(InvalidX25519Key), "{low:x?}");
        }
        assert!(secret.agree(&X25519Secret::from_bytes(&[8; LEN]).public()).is_ok());
    }
}

//! The ratcheted authenticator: proves that headers and ciphertexts come from a holder of every earlier output key.
//!
//! ```text
//! rootₑ ‖ MAC keyₑ = HKDF-SHA256(salt = rootₑ₋₁, IKM = output keyₑ, info = label ‖ e)      64 bytes
//! root of nothing  = 32 zero bytes; "output key₀" is the agreement key from the shared secret
//! MAC(header)      = HMAC-SHA256(MAC key, label ‖ e ‖ header)
//! MAC(ciphertext)  = HMAC-SHA256(MAC key, label ‖ e ‖ c₁ ‖ c₂)
//! ```
//!
//! A header of epoch e is under MAC keyₑ₋₁, a ciphertext of epoch e under MAC keyₑ, so that its MAC also confirms that both
//! sides hold the same output key.
//!
//! Specification: <https://signal.org/docs/specifications/mlkembraid/>, the authenticator.

use alloc::boxed::Box;

use kuvert_types::Label;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{AUTHENTICATOR_UPDATE, CIPHERTEXT_MAC, HEADER_MAC};
use crate::primitives::kdf::{hkdf_sha256, hmac_sha256};
use crate::primitives::kem768::HEADER_LEN;
use crate::scka::{Epoch, SckaFailure};

/// Bytes of a MAC.
pub(crate) const MAC_LEN: usize = 32;

/// Boxed, so that states can move without leaving copies of keys behind.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Authenticator {
    root: Box<[u8; 32]>,
    mac_key: Box<[u8; 32]>,
}

impl Authenticator {
    pub(crate) fn new(agreement_key: &[u8; 32]) -> Self {
        let mut authenticator = Self { root: Box::new([0; 32]), mac_key: Box::new([0; 32]) };
        authenticator.update(0, agreement_key);
        authenticator
    }

    /// Moves on to `epoch`, whose output key is `key` [KV-046].
    pub(crate) fn update(&mut self, epoch: Epoch, key: &[u8; 32]) {
        let info: &[&[u8]] = &[&AUTHENTICATOR_UPDATE, &epoch.to_be_bytes()];
        let keys = hkdf_sha256::<64>(&*self.root, &[key], info);
        self.root.copy_from_slice(&keys[..32]);
        self.mac_key.copy_from_slice(&keys[32..]);
    }

    pub(crate) fn header_mac(&self, epoch: Epoch, header: &[u8; HEADER_LEN]) -> Zeroizing<[u8; MAC_LEN]> {
        self.mac(&HEADER_MAC, epoch, header, &[])
    }

    pub(crate) fn verify_header(&self, epoch: Epoch, header: &[u8; HEADER_LEN], mac: &[u8]) -> Result<(), SckaFailure> {
        verify(&*self.header_mac(epoch, header), mac)
    }

    pub(crate) fn ciphertext_mac(&self, epoch: Epoch, c1: &[u8], c2: &[u8]) -> Zeroizing<[u8; MAC_LEN]> {
        self.mac(&CIPHERTEXT_MAC, epoch, c1, c2)
    }

    pub(crate) fn verify_ciphertext(&self, epoch: Epoch, c1: &[u8], c2: &[u8], mac: &[u8]) -> Result<(), SckaFailure> {
        verify(&*self.ciphertext_mac(epoch, c1, c2), mac)
    }

    /// `root (32) ‖ MAC key (32)`
    pub(crate) fn encode(&self, out: &mut Zeroizing<alloc::vec::Vec<u8>>) {
        let Self { root, mac_key } = self;
        out.extend_from_slice(&**root);
        out.extend_from_slice(&**mac_key);
    }

    pub(crate) fn decode(reader: &mut kuvert_types::Reader<'_>) -> Result<Self, kuvert_types::DecodeError> {
        let mut authenticator = Self { root: Box::new([0; 32]), mac_key: Box::new([0; 32]) };
        authenticator.root.copy_from_slice(reader.bytes(32)?);
        authenticator.mac_key.copy_from_slice(reader.bytes(32)?);
        Ok(authenticator)
    }

    fn mac(&self, label: &Label, epoch: Epoch, first: &[u8], second: &[u8]) -> Zeroizing<[u8; MAC_LEN]> {
        hmac_sha256(&*self.mac_key, &[label, &epoch.to_be_bytes(), first, second])
    }
}

impl core::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { root: _, mac_key: _ } = self;
        f.write_str("Authenticator(…)")
    }
}

/// [KV-010] In constant time, the whole MAC.
fn verify(expected: &[u8], mac: &[u8]) -> Result<(), SckaFailure> {
    if expected.ct_eq(mac).into() { Ok(()) } else { Err(SckaFailure::Authentication) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_mac_counts() {
        let authenticator = Authenticator::new(&[7; 32]);
        let (header, c1, c2) = ([3; HEADER_LEN], [4; 8], [5; 8]);
        let macs = [authenticator.header_mac(1, &header), authenticator.ciphertext_mac(1, &c1, &c2)];
        let results = |header_mac: &[u8], ciphertext_mac: &[u8]| {
            let ciphertext = authenticator.verify_ciphertext(1, &c1, &c2, ciphertext_mac);
            [authenticator.verify_header(1, &header, header_mac), ciphertext]
        };
        assert_eq!(results(&*macs[0], &*macs[1]), [Ok(()); 2]);
        for at in 0..MAC_LEN {
            let [header, ciphertext] = macs.each_ref().map(|mac| {
                let mut mac = **mac;
                mac[at] ^= 0x80;
                mac
            });
            assert_eq!(results(&header, &ciphertext), [Err(SckaFailure::Authentication); 2], "byte {at}");
        }
        for len in [0, 16, MAC_LEN - 1] {
            let cut = results(&macs[0][..len], &macs[1][..len]);
            assert_eq!(cut, [Err(SckaFailure::Authentication); 2], "{len} bytes");
        }
        // Neither MAC passes for the other, nor in another epoch.
        assert_eq!(results(&*macs[1], &*macs[0]), [Err(SckaFailure::Authentication); 2]);
        assert!(authenticator.verify_header(2, &header, &*macs[0]).is_err());
        assert!(authenticator.verify_ciphertext(2, &c1, &c2, &*macs[1]).is_err());
    }
}

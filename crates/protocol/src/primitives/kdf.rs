//! HMAC-SHA256 (RFC 2104) and HKDF-SHA256 (RFC 5869). Inputs come in parts, which are read as if concatenated, so that
//! no caller has to copy secrets together first. The backend wipes its hash states; every output and intermediate value
//! is wiped here.

use hkdf::HkdfExtract;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a SHA-256 output.
const HASH_LEN: usize = 32;

/// `HMAC-SHA256(key, parts[0] ‖ parts[1] ‖ …)`, 32 bytes.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; HASH_LEN]> {
    HmacSha256::new(key).into_tag(parts)
}

/// `HKDF-SHA256(salt, IKM = ikm[0] ‖ ikm[1] ‖ …, info = info[0] ‖ info[1] ‖ …)`, `N` bytes; `N` is 1 to 8160, checked
/// when compiled.
pub fn hkdf_sha256<const N: usize>(salt: &[u8], ikm: &[&[u8]], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N > 0 && N <= 255 * HASH_LEN, "HKDF gives 1 to 8160 bytes") };
    let mut extract = HkdfExtract::<Sha256>::new(Some(salt));
    ikm.iter().for_each(|part| extract.input_ikm(part));
    let (mut prk, keyed) = extract.finalize();
    prk.as_mut_slice().zeroize();
    let mut okm = Zeroizing::new([0; N]);
    #[allow(clippy::expect_used)] // the assertion above is the only condition
    keyed.expand_multi_info(info, &mut *okm).expect("at most 8160 bytes");
    okm
}

/// HMAC-SHA256 with a key set once, for several messages under the same key.
#[derive(Clone)]
pub(crate) struct HmacSha256(Hmac<Sha256>);

impl HmacSha256 {
    pub(crate) fn new(key: &[u8]) -> Self {
        #[allow(clippy::expect_used)] // HMAC takes keys of every length
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of every length"))
    }

    /// The tag over the concatenation of `parts`.
    pub(crate) fn tag(&self, parts: &[&[u8]]) -> Zeroizing<[u8; HASH_LEN]> {
        self.clone().into_tag(parts)
    }

    /// [`tag`](Self::tag) for the last message under the key.
    pub(crate) fn into_tag(self, parts: &[&[u8]]) -> Zeroizing<[u8; HASH_LEN]> {
        self.tag_of(parts.iter().copied())
    }

    fn tag_of<'a>(mut self, parts: impl Iterator<Item = &'a [u8]>) -> Zeroizing<[u8; HASH_LEN]> {
        parts.for_each(|part| self.0.update(part));
        Zeroizing::new(self.0.finalize().into_bytes().into())
    }
}

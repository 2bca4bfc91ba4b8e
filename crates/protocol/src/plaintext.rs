//! Decrypted content, wiped at the speed of `memset`.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use zeroize::ZeroizeOnDrop;

use crate::wiped::wipe;

/// Decrypted content. When dropped, all memory that it has reserved is wiped.
///
/// `Zeroizing<Vec<u8>>` would do the same in single bytes: 3 µs for a message of 16 KiB, a third of what decrypting it takes.
#[derive(Default)]
pub struct Plaintext(Vec<u8>);

impl Plaintext {
    /// Room for `capacity` bytes: for [`SessionRecord::decrypt_into`](crate::SessionRecord::decrypt_into), which needs as much as
    /// the padded content, [`padded_len`](crate::padding::padded_len).
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// `len` zero bytes to write to, in the memory that there is if it is enough.
    pub(crate) fn zeros(&mut self, len: usize) -> &mut [u8] {
        if self.0.capacity() < len {
            // A vector that grows by itself would leave its old memory as it was.
            *self = Self(alloc::vec![0; len]);
        } else {
            self.0.clear();
            self.0.resize(len, 0);
        }
        &mut self.0
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

impl Deref for Plaintext {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Plaintext {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        // Up to the capacity: what was there may have been longer.
        self.0.resize(self.0.capacity(), 0);
        wipe(&mut self.0);
    }
}

impl ZeroizeOnDrop for Plaintext {}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plaintext({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_content_never_shows_in_a_buffer_used_again() {
        let mut plaintext = Plaintext::with_capacity(8);
        plaintext.zeros(8).fill(7);
        plaintext.truncate(3);
        assert_eq!(*plaintext, [7; 3]);
        assert_eq!(plaintext.zeros(5), [0; 5]);
        assert_eq!(plaintext.zeros(600), [0; 600]);
        assert_eq!(alloc::format!("{plaintext:?}"), "Plaintext(600 bytes)");
    }

    /// A caller that makes room once decrypts every message there. What moves by itself leaves its old memory as it was.
    #[test]
    fn a_buffer_with_room_stays_where_it_is() {
        let mut plaintext = Plaintext::with_capacity(512);
        let place = plaintext.as_ptr();
        for len in [512, 3, 512] {
            plaintext.zeros(len).fill(7);
            assert_eq!(plaintext.as_ref(), alloc::vec![7; len]);
            assert_eq!(plaintext.as_ptr(), place, "{len}");
        }
        plaintext.zeros(513);
        assert_ne!(plaintext.as_ptr(), place);
    }
}

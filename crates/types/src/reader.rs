//! Reading fixed layouts from bytes that another party sent. Integers are big-endian [KV-001].

/// Why bytes are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Too few bytes, or bytes left over.
    #[error("wrong length")]
    Length,
    /// A version or suite that this build does not know.
    #[error("unknown version")]
    Version,
    /// A field holds a value outside its range.
    #[error("value out of range")]
    Value,
}

/// A number above zero as people write it: digits only, no leading zero, no sign. One spelling for each.
pub(crate) fn decimal(text: &str) -> Option<u32> {
    let canonical = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    canonical.then(|| text.parse().ok()).flatten()
}

/// Takes fields from the front of a byte string. Never panics.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Runs `read` over all of `bytes` and refuses bytes left over [KV-002].
    ///
    /// # Errors
    /// Those of `read`, and [`DecodeError::Length`] if bytes are left over.
    pub fn whole<T>(bytes: &'a [u8], read: impl FnOnce(&mut Self) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        let mut reader = Self(bytes);
        let value = read(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Length`]: there are fewer.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(DecodeError::Length)?;
        self.0 = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// As for [`bytes`](Self::bytes).
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(DecodeError::Length)?;
        self.0 = tail;
        Ok(*head)
    }

    /// The next byte.
    ///
    /// # Errors
    /// As for [`bytes`](Self::bytes).
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// The next two bytes, big-endian.
    ///
    /// # Errors
    /// As for [`bytes`](Self::bytes).
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes, big-endian.
    ///
    /// # Errors
    /// As for [`bytes`](Self::bytes).
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next eight bytes, big-endian.
    ///
    /// # Errors
    /// As for [`bytes`](Self::bytes).
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.0.len()
    }

    /// Refuses bytes left over.
    ///
    /// # Errors
    /// [`DecodeError::Length`]: there are some.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Length) }
    }
}

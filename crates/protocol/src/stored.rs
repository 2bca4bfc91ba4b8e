//! Pieces that the stored forms have in common. Versions are written where a form begins: prekeys, records, replay records.

use alloc::vec::Vec;

use kuvert_types::{DecodeError, Reader};
use zeroize::Zeroizing;

/// 32 bytes of key material.
pub(crate) fn secret(reader: &mut Reader<'_>) -> Result<Zeroizing<[u8; 32]>, DecodeError> {
    reader.array().map(Zeroizing::new)
}

/// `0x00` or `0x01`.
pub(crate) fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Value),
    }
}

/// `0x00`, or `0x01` and what `read` reads.
pub(crate) fn optional<T>(
    reader: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if flag(reader)? { read(reader).map(Some) } else { Ok(None) }
}

/// Makes room for `additional` bytes. If the vector has to move, its old memory is wiped.
pub(crate) fn reserve(out: &mut Zeroizing<Vec<u8>>, additional: usize) {
    if out.capacity() - out.len() < additional {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * out.len() + additional));
        larger.extend_from_slice(out);
        *out = larger;
    }
}

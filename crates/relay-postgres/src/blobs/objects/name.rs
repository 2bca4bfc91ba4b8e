//! How objects are called: `FOLDER/BLOB-NUMBER-EPOCH-LENGTH`. The folder is the first digit of the blob's name in hexadecimal, so that
//! sixteen can be looked through one after the other.
//!
//! A stream that goes on with an upload has an epoch of its own in its objects' names: what an older one writes late, on this node or
//! another one, lies beside what the newer one wrote and is never read.

use data_encoding::HEXLOWER;
use kuvert_types::BlobId;

/// How many folders there are.
pub const FOLDERS: u8 = 16;

/// What says whose objects these are.
pub const MARK: &str = "kuvert-files";

/// A folder's name.
pub fn folder(number: u8) -> String {
    format!("{number:x}")
}

/// A piece of a blob, as an object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Piece {
    /// Which of the blob's.
    pub number: u32,
    /// Of the stream that wrote it.
    pub epoch: u64,
    /// Bytes.
    pub length: u32,
}

impl Piece {
    /// Its object's name.
    pub fn name(&self, blob: &BlobId) -> String {
        let id = HEXLOWER.encode(blob.as_bytes());
        let Self { number, epoch, length } = self;
        format!("{}/{id}-{number}-{epoch}-{length}", id.get(..1).unwrap_or_default())
    }

    /// From its object's name. `None`: it is none of ours.
    pub fn parse(name: &str) -> Option<(BlobId, Self)> {
        let mut parts = name.split_once('/')?.1.split('-');
        let id = HEXLOWER.decode(parts.next()?.as_bytes()).ok()?;
        let id = BlobId::try_from(id.as_slice()).ok()?;
        let piece = Self {
            number: parts.next()?.parse().ok()?,
            epoch: parts.next()?.parse().ok()?,
            length: parts.next()?.parse().ok()?,
        };
        // Nothing behind it, and written in one way alone.
        (parts.next().is_none() && piece.name(&id) == name).then_some((id, piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_others_are_none_of_ours() {
        let blob = BlobId::from_bytes([0xAB; 16]);
        let piece = Piece { number: 7, epoch: 1 << 40, length: 1 << 20 };
        let name = piece.name(&blob);
        assert_eq!(name, format!("a/{}-7-1099511627776-1048576", "ab".repeat(16)));
        assert_eq!(Piece::parse(&name), Some((blob, piece)));
        let (other_folder, without) = (name.replacen("a/", "b/", 1), name.replacen("a/", "", 1));
        for wrong in
            [&other_folder, &without, &name.replace("-7-", "-07-"), &format!("{name}-1"), &format!("{name}.tmp")]
        {
            assert_eq!(Piece::parse(wrong), None, "{wrong}");
        }
    }
}

//! Blobs: files that their senders encrypted, on their way to their readers. What a stream of them does is in
//! `connection::blob`; here is what it rests on.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | what keeps them, as a trait |
//! | [`room`] | the rules: who may take how much room |
//! | [`transfers`] | how many are under way at once |
//! | `conformance` | what every store of them has to do, as checks (feature `conformance`) |
//!
//! Blobs are apart from mail in everything that can run out: they have files of their own, threads of the disk of their own, bounds
//! of their own on memory, and they leave a part of the disk to mail.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod room;
pub mod store;
pub mod transfers;

use std::fmt;
use std::sync::Arc;

use kuvert_types::limits::MAX_BLOB_BYTES;

use crate::config::Limits;
use crate::young::Disk;
use room::Share;
use store::BlobStore;
use transfers::Transfers;

/// Bytes that a blob may have more than its file, in parts of the file: padding of a file of 64 KiB and more adds a 32nd at most, the
/// chunks' tags a 4096th.
const PADDING_PART: u64 = 32;
const TAGS_PART: u64 = 4096;

/// And this for padding of smaller files, the header and the last tags.
const SMALL_PADDING: u64 = 128 * 1024;

/// What a relay has for blobs.
pub struct Blobs {
    /// Where they are.
    pub store: Arc<dyn BlobStore>,
    /// How many are under way.
    pub transfers: Arc<Transfers>,
    /// Bytes of the largest that is taken.
    pub max_bytes: u64,
    disk: Arc<dyn Disk>,
    disk_percent: u64,
    account_bytes: u64,
    account_blobs: u64,
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blobs").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Blobs {
    /// In a store on a disk, within the operator's limits.
    pub fn new(store: Arc<dyn BlobStore>, disk: Arc<dyn Disk>, limits: &Limits) -> Self {
        Self {
            store,
            transfers: Transfers::new(limits),
            max_bytes: blob_bytes(u64::from(limits.max_file_mib) << 20),
            disk,
            disk_percent: limits.blob_disk_percent.into(),
            account_bytes: u64::from(limits.blob_mib_per_account) << 20,
            account_blobs: limits.blobs_per_account.into(),
        }
    }

    /// What an account may have, by the room on the disk now. What cannot be measured is no room: mail goes on without. Asks the
    /// system, which may block for a moment.
    pub fn share(&self) -> Share {
        let room = self.disk.space().map_or(0, |space| room::left(space, self.disk_percent));
        Share { bytes: self.account_bytes, blobs: self.account_blobs, room }
    }
}

/// Bytes of the largest blob of a file of so many bytes, roundly.
const fn blob_bytes(file: u64) -> u64 {
    let bytes = file + file / PADDING_PART + file / TAGS_PART + SMALL_PADDING;
    if bytes < MAX_BLOB_BYTES { bytes } else { MAX_BLOB_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_size_that_an_operator_allows_fits() {
        assert_eq!(blob_bytes(2 << 30), MAX_BLOB_BYTES);
        // 100 MiB, padded to 102, in 1,632 chunks.
        assert!(blob_bytes(100 << 20) >= 33 + (102 << 20) + 1_632 * 16);
    }
}

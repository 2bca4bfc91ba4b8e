//! Blobs in the data directory are what every backend's are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use kuvert_relay::blobs::conformance::BlobBackend;
use kuvert_relay::blobs::store::BlobStore;
use kuvert_relay_sqlite::DirectoryBlobs;

struct InDirectory(tempfile::TempDir);

impl InDirectory {
    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.0.path().join("blobs")).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }
}

impl BlobBackend for InDirectory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open(&self) -> Arc<dyn BlobStore> {
        Arc::new(DirectoryBlobs::open(self.0.path()).unwrap())
    }

    fn stored(&self) -> Vec<Vec<u8>> {
        // One that goes meanwhile is gone.
        self.files().into_iter().filter_map(|path| fs::read(path).ok()).collect()
    }

    fn strew(&self) {
        fs::write(self.0.path().join("blobs").join("f".repeat(32)), "left over").unwrap();
    }

    fn lose(&self) {
        self.files().into_iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}

kuvert_relay::blob_conformance!(InDirectory);

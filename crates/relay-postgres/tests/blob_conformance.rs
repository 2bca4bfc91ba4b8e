//! Blobs of a store on PostgreSQL, with their bytes in a directory, are what every backend's are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use common::Database;
use kuvert_relay::blobs::conformance::BlobBackend;
use kuvert_relay::blobs::store::BlobStore;
use kuvert_relay_postgres::PostgresBlobs;
use kuvert_relay_postgres::blobs::objects::directory::SharedDirectory;
use kuvert_relay_postgres::blobs::objects::name::MARK;

/// A schema and a directory of its own.
struct InDirectory {
    database: Database,
    directory: tempfile::TempDir,
}

impl InDirectory {
    fn files(&self) -> Vec<PathBuf> {
        let entries = |path: &std::path::Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let folders = entries(self.directory.path()).filter(|path| !path.ends_with(MARK));
        folders.flat_map(|folder| entries(&folder).collect::<Vec<_>>()).collect()
    }
}

impl BlobBackend for InDirectory {
    fn new() -> Self {
        Self { database: Database::migrated().unwrap(), directory: tempfile::tempdir().unwrap() }
    }

    fn is_there() -> bool {
        common::server().is_some()
    }

    async fn open(&self) -> Arc<dyn BlobStore> {
        let objects = Arc::new(SharedDirectory::open(self.directory.path()).unwrap());
        Arc::new(PostgresBlobs::open(self.database.settings.clone(), objects).await.unwrap())
    }

    fn stored(&self) -> Vec<Vec<u8>> {
        // One that goes meanwhile is gone.
        self.files().into_iter().filter_map(|path| fs::read(path).ok()).collect()
    }

    fn strew(&self) {
        fs::write(self.directory.path().join(format!("f/{}-0-1-9", "f".repeat(32))), "left over").unwrap();
    }

    fn lose(&self) {
        self.files().into_iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}

kuvert_relay::blob_conformance!(InDirectory);

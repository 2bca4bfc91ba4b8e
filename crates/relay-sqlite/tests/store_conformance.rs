//! The embedded store does what every backend has to do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use kuvert_relay::store::Store;
use kuvert_relay::store::conformance::Backend;
use kuvert_relay_sqlite::store::{Options, SqliteStore};

struct Sqlite(tempfile::TempDir);

impl Backend for Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Arc<dyn Store> {
        // Room for a few: what is read comes from memory sometimes, from the disk sometimes.
        let options = Options { recent_bytes: 16 * 1024, ..Options::default() };
        Arc::new(SqliteStore::open_with(self.0.path(), options).unwrap())
    }
}

kuvert_relay::store_conformance!(Sqlite);
kuvert_relay::durable_store_conformance!(Sqlite);

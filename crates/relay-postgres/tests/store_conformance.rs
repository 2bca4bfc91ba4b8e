//! What every backend has to do, on PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{Database, wait};
use kuvert_relay::store::Store;
use kuvert_relay::store::conformance::Backend;
use kuvert_relay_postgres::{Postgres, Role};

/// A schema of its own.
struct OnPostgres(Database);

impl Backend for OnPostgres {
    fn new() -> Self {
        Self(Database::migrated().unwrap())
    }

    fn is_there() -> bool {
        common::server().is_some()
    }

    fn open(&self) -> Arc<dyn Store> {
        Arc::new(wait(Postgres::connect(self.0.settings.clone(), Role::Alone)).unwrap())
    }
}

kuvert_relay::store_conformance!(OnPostgres);
kuvert_relay::durable_store_conformance!(OnPostgres);

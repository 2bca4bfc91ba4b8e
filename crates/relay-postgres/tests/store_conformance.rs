//! What every backend has to do, on PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{Database, wait};
use kuvert_relay::store::Store;
use kuvert_relay::store::conformance::Backend;
use kuvert_relay_postgres::{Postgres, Role, groups};

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

/// All mail is in a second group.
mod in_two_groups {
    use super::*;

    struct InTwoGroups {
        home: Database,
        _other: Database,
    }

    impl Backend for InTwoGroups {
        fn new() -> Self {
            let (home, other) = (Database::migrated().unwrap(), Database::empty().unwrap());
            wait(async {
                groups::add(&home.settings, "second", &other.address()).await.unwrap();
                // As a move would leave them, slot by slot.
                home.link().await.batch("DELETE FROM lease").await.unwrap();
                let all = "INSERT INTO lease SELECT slot, 0, 0, 1 FROM generate_series(0, 4095) AS slot";
                other.link().await.batch(all).await.unwrap();
            });
            Self { home, _other: other }
        }

        fn is_there() -> bool {
            common::server().is_some()
        }

        fn open(&self) -> Arc<dyn Store> {
            Arc::new(wait(Postgres::connect(self.home.settings.clone(), Role::Alone)).unwrap())
        }
    }

    kuvert_relay::store_conformance!(InTwoGroups);
    kuvert_relay::durable_store_conformance!(InTwoGroups);
}

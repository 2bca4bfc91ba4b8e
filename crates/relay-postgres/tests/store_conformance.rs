//! What every backend has to do, on PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use common::{Database, wait};
use kuvert_fuzz::mailboxes::{Beside, random_inputs};
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

/// Slots by which a device is linked.
mod slots {
    use kuvert_relay::slots::{Slots, conformance};

    use super::*;

    /// Runs a check on an empty store. `None`: there is no server.
    fn on(check: impl AsyncFnOnce(&dyn Slots, &Database)) {
        if !OnPostgres::is_there() {
            return;
        }
        let OnPostgres(database) = OnPostgres::new();
        wait(async {
            let store = Postgres::connect(database.settings.clone(), Role::Alone).await.unwrap();
            check(&store, &database).await;
        });
    }

    #[test]
    fn a_slot_holds_four_pieces_in_their_order_each_written_once() {
        on(async |slots, _| conformance::a_slot_holds_four_pieces_in_their_order_each_written_once(slots).await);
    }

    #[test]
    fn a_slot_is_gone_after_its_time_whatever_the_clock_does() {
        on(async |slots, _| conformance::a_slot_is_gone_after_its_time_whatever_the_clock_does(slots).await);
    }

    #[test]
    fn there_are_so_many_slots_and_those_whose_time_is_over_make_room() {
        on(async |slots, _| {
            conformance::there_are_so_many_slots_and_those_whose_time_is_over_make_room(slots).await;
        });
    }

    #[test]
    fn those_whose_time_is_over_are_forgotten() {
        on(async |slots, database| {
            let link = database.link().await;
            let count = "SELECT count(DISTINCT slot) FROM link_slot";
            let kept = async || link.query_one(count, &[]).await.unwrap().get::<_, i64>(0) as usize;
            conformance::those_whose_time_is_over_are_forgotten(slots, kept).await;
        });
    }

    /// Of many that write the same piece at once one is heard, and all are told the same.
    #[test]
    fn one_of_many_answers_is_taken() {
        on(async |slots, _| {
            let (slot, now) = (kuvert_relay::slots::SlotId([7; 16]), 1_800_000_000_000);
            slots.write(slot, 0, "offer".into(), now).await.unwrap();
            let answers = (0..8_u8).map(|n| slots.write(slot, 1, vec![n; 9].into(), now));
            let taken = futures_util::future::join_all(answers).await;
            assert_eq!(taken.iter().filter(|answer| answer.is_ok()).count(), 1, "{taken:?}");
        });
    }
}

/// Inputs beside those of `fuzz/corpus/mailboxes`, unless `KUVERT_FUZZ_INPUTS` says how many.
const RANDOM_INPUTS: u64 = 40;

/// How often the store is closed and opened for an input, at most: most of the time goes into that.
const REOPENS: usize = 1;

/// What the fuzz target runs on the embedded store runs on this one: every checked-in input, and random ones.
fn agrees_with_the_model_over_the_inputs_of_the_fuzz_target<B: Backend>() {
    if !B::is_there() {
        return;
    }
    let backend = B::new();
    let random = std::env::var("KUVERT_FUZZ_INPUTS").map_or(RANDOM_INPUTS, |count| count.parse().unwrap());
    let mut beside = Beside::new(|| backend.open()).reopening(REOPENS);
    for (name, input) in kuvert_fuzz::corpus("mailboxes").into_iter().chain(random_inputs(random)) {
        let agreed = panic::catch_unwind(AssertUnwindSafe(|| beside.run(&input)));
        assert!(agreed.is_ok(), "{name}");
    }
}

#[test]
fn the_model_agrees_over_the_inputs_of_the_fuzz_target() {
    agrees_with_the_model_over_the_inputs_of_the_fuzz_target::<OnPostgres>();
}

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

    #[test]
    fn the_model_agrees_over_the_inputs_of_the_fuzz_target() {
        agrees_with_the_model_over_the_inputs_of_the_fuzz_target::<InTwoGroups>();
    }
}

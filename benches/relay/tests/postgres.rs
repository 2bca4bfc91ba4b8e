//! Every step of the measurement on PostgreSQL, in tiny: it works, nothing is lost, no prekey comes twice. The figures say nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write as _;

use kuvert_relay_bench::postgres::{Amounts, Setting, measure};

#[test]
fn every_step_works_through_two_nodes() {
    let Ok(address) = std::env::var("KUVERT_POSTGRES") else {
        // Not through `eprintln!`, which the test harness swallows.
        let _ = writeln!(std::io::stderr(), "skipped: no PostgreSQL (KUVERT_POSTGRES is not set)");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let setting = Setting { store: &address, groups: &[], nodes: 2, enqueue_only: false };
    let figures = runtime.block_on(measure(&setting, Amounts::QUICK, &mut |_| ())).unwrap();
    assert_eq!((figures.nodes, figures.groups, figures.prekeys_twice), (2, 1, 0));
    let rates =
        [figures.drained_per_second, figures.live_per_second, figures.bundles_per_second, figures.expired_per_second];
    assert!(rates.iter().chain(&figures.enqueue_per_second).chain(&figures.bare_per_second).all(|rate| *rate > 0.0));
    assert!(figures.text().contains("enqueue"));
}

//! A clock that is wrong for a while: nothing that waits is lost, and nothing stays for too long.

use std::path::Path;
use std::sync::Arc;

use kuvert_relay::StartError as RelayStartError;
use kuvert_relay::clock::SteppedClock as Machine;
use kuvert_relay::{Config, RunningRelay};
use kuvert_relay_sqlite::embedded::StartError;

use crate::common::*;

const DAY_MS: u64 = 86_400_000;

/// Another start of the same relay.
async fn start_at(data: &Path, now: u64) -> (RunningRelay, Arc<Machine>) {
    let machine = Arc::new(Machine::new(now));
    (start_with(config(data), machine.clone()).await, machine)
}

/// A relay at noon at which a letter waits for Bob, stopped.
async fn letter_waits(data: &Path) -> (Device, Device) {
    let (alice, bob) = (Device::new(), Device::new());
    let (relay, _) = start_at(data, NOON).await;
    drop(Client::register(relay.address(), &bob).await);
    Client::register(relay.address(), &alice).await.submit(envelope(&bob, "first")).await;
    relay.shutdown().await;
    (alice, bob)
}

async fn waiting(relay: &RunningRelay, device: &Device) -> (u64, u64) {
    let (_, greeting) = Client::authenticate(relay.address(), device).await;
    (greeting.waiting, greeting.expired)
}

#[tokio::test]
async fn a_start_with_the_clock_ahead_loses_nothing_and_keeps_nothing_longer() {
    let data = tempfile::tempdir().unwrap();
    let (alice, bob) = letter_waits(data.path()).await;

    let (relay, machine) = start_at(data.path(), NOON + 31 * DAY_MS).await;
    assert_eq!(waiting(&relay, &bob).await, (1, 0));
    let (mut there, greeting) = Client::authenticate(relay.address(), &alice).await;
    assert_eq!(greeting.relay_time, NOON + 31 * DAY_MS, "clients hear that the clocks differ");
    there.submit(envelope(&bob, "second")).await;
    machine.run(3_600_000);
    assert_eq!(relay.expire().await.unwrap(), 0);
    relay.shutdown().await;

    // Set right: the second letter was stamped with a day that is still to come.
    let right = NOON + 2 * 3_600_000;
    let (relay, machine) = start_at(data.path(), right).await;
    assert_eq!(waiting(&relay, &bob).await, (2, 0));
    machine.run(30 * DAY_MS - (right - NOON) - 1);
    assert_eq!(relay.expire().await.unwrap(), 0);
    machine.run(1);
    assert_eq!(relay.expire().await.unwrap(), 1, "the first has had its thirty days");
    machine.run(right - NOON - 1);
    assert_eq!(relay.expire().await.unwrap(), 0);
    machine.run(1);
    assert_eq!(relay.expire().await.unwrap(), 1, "and the second, by the right clock");
    relay.shutdown().await;
}

#[tokio::test]
async fn a_relay_that_was_off_for_31_days_expires_a_day_later() {
    let data = tempfile::tempdir().unwrap();
    let (alice, bob) = letter_waits(data.path()).await;
    let (relay, machine) = start_at(data.path(), NOON + 31 * DAY_MS).await;
    Client::authenticate(relay.address(), &alice).await.0.submit(envelope(&bob, "second")).await;
    machine.run(DAY_MS - 1);
    assert_eq!(relay.expire().await.unwrap(), 0);
    machine.run(1);
    assert_eq!(relay.expire().await.unwrap(), 1);
    machine.run(29 * DAY_MS - 1);
    assert_eq!(relay.expire().await.unwrap(), 0, "what came meanwhile has its thirty days");
    machine.run(1);
    assert_eq!(relay.expire().await.unwrap(), 1);
    relay.shutdown().await;
}

#[tokio::test]
async fn a_clock_in_1970_starts_no_relay() {
    let data = tempfile::tempdir().unwrap();
    for known in [false, true] {
        let refused = kuvert_relay_sqlite::embedded::start(config(data.path()), Arc::new(Machine::new(5_000))).await;
        assert!(matches!(refused, Err(StartError::Relay(RelayStartError::Clock(_)))), "{refused:?}");
        if !known {
            let _ = letter_waits(data.path()).await;
        }
    }
    // The operator insists, as after a year in which the clock was ahead: no letter stays from the future.
    let trusting = Config { trust_clock: true, ..config(data.path()) };
    let machine = Arc::new(Machine::new(NOON - 365 * DAY_MS));
    let relay = start_with(trusting, machine.clone()).await;
    machine.run(30 * DAY_MS);
    assert_eq!(relay.expire().await.unwrap(), 1);
    relay.shutdown().await;
}

#[tokio::test]
async fn a_clock_that_is_set_wrong_while_the_relay_runs_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let (alice, bob) = letter_waits(data.path()).await;
    let (relay, machine) = start_at(data.path(), NOON + 1_000).await;
    let (mut there, _) = Client::authenticate(relay.address(), &alice).await;
    for wrong in [0, NOON + 400 * DAY_MS] {
        machine.set(wrong);
        assert_eq!(relay.expire().await.unwrap(), 0);
        there.submit(envelope(&bob, "meanwhile")).await;
        machine.set(NOON + 1_000);
        assert_eq!(relay.expire().await.unwrap(), 0);
    }
    machine.run(30 * DAY_MS - 1_000);
    assert_eq!(relay.expire().await.unwrap(), 1);
    machine.run(1_000);
    assert_eq!(relay.expire().await.unwrap(), 2);
    assert_eq!(waiting(&relay, &bob).await, (0, 3));
    relay.shutdown().await;
}

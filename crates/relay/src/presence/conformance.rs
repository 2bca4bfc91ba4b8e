//! What every presence has to do. The checks panic where one does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use kuvert_types::{AccountId, Address, DeviceId};
use tokio::time::timeout;

use super::{Login, Over, Presence, WakeUp};

const ALICE: AccountId = AccountId::from_bytes([1; 16]);
const BOB: AccountId = AccountId::from_bytes([2; 16]);
const MAILBOX: Address = Address { account: ALICE, device: DeviceId::PRIMARY };

/// How long news may take from one machine to another.
const PATIENCE: Duration = Duration::from_secs(10);

/// All checks, one after the other.
pub async fn all(presence: &dyn Presence) {
    a_notification_before_listening_is_heard(presence).await;
    the_second_displaces_the_first_and_outlives_its_end(presence).await;
    an_account_that_ends_takes_its_connections_along_and_no_others(presence).await;
    a_device_that_ends_takes_its_connections_along_and_not_those_of_other_devices(presence).await;
}

/// A wake-up that came before the attachment listened is not lost.
pub async fn a_notification_before_listening_is_heard(presence: &dyn Presence) {
    let attachment = presence.attach(MAILBOX);
    presence.notify(&MAILBOX);
    assert_eq!(timeout(PATIENCE, attachment.next()).await, Ok(WakeUp::Mail));
}

/// One device, one attachment.
pub async fn the_second_displaces_the_first_and_outlives_its_end(presence: &dyn Presence) {
    let first = presence.attach(MAILBOX);
    let second = presence.attach(MAILBOX);
    assert_eq!(timeout(PATIENCE, first.next()).await, Ok(WakeUp::Displaced));
    assert_eq!(timeout(PATIENCE, first.next()).await, Ok(WakeUp::Displaced), "and it stays so");
    drop(first);
    presence.notify(&MAILBOX);
    assert_eq!(timeout(PATIENCE, second.next()).await, Ok(WakeUp::Mail));
}

fn device(account: AccountId, number: u32) -> Address {
    Address { account, device: DeviceId::new(number).unwrap() }
}

/// Waits for an end that is on its way.
async fn over(login: &mut Login) -> Over {
    timeout(PATIENCE, login.over()).await.expect("it goes on")
}

/// Whether it goes on.
async fn goes_on(login: &mut Login) -> bool {
    timeout(Duration::ZERO, login.over()).await.is_err()
}

/// Ending an account ends all its connections, and none of another account.
pub async fn an_account_that_ends_takes_its_connections_along_and_no_others(presence: &dyn Presence) {
    let before = presence.ended();
    let [mut first, mut second, mut other] =
        [device(ALICE, 1), device(ALICE, 2), device(BOB, 1)].map(|device| presence.enter(device));
    assert!(goes_on(&mut first).await);
    assert_eq!(presence.ended(), before);
    presence.end(&ALICE);
    assert_eq!((over(&mut first).await, over(&mut second).await), (Over::Account, Over::Account));
    assert!(goes_on(&mut other).await);
    assert_eq!(presence.ended(), before + 1);
    // The same id again.
    let mut again = presence.enter(device(ALICE, 1));
    drop((first, second));
    assert!(goes_on(&mut again).await);
    presence.end(&ALICE);
    assert_eq!(over(&mut again).await, Over::Account);
}

/// Ending a device ends its connections, and none of the account's other devices.
pub async fn a_device_that_ends_takes_its_connections_along_and_not_those_of_other_devices(presence: &dyn Presence) {
    let before = presence.ended();
    let [mut first, mut again, mut other] =
        [device(ALICE, 1), device(ALICE, 1), device(ALICE, 2)].map(|device| presence.enter(device));
    presence.end_device(&device(ALICE, 1));
    assert_eq!((over(&mut first).await, over(&mut again).await), (Over::Device, Over::Device));
    assert!(goes_on(&mut other).await);
    assert_eq!(presence.ended(), before + 1);
    drop((first, again));
    assert!(goes_on(&mut other).await);
    presence.end_device(&device(ALICE, 2));
    assert_eq!(over(&mut other).await, Over::Device);
}

//! Which devices have authenticated connections, so that these end when their account is deleted or leaves the device out of
//! its list.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kuvert_types::{AccountId, Address, DeviceId};
use tokio::sync::watch;

/// All of them.
#[derive(Default)]
pub struct Logins(Mutex<State>);

#[derive(Default)]
struct State {
    /// That a sender is dropped is the message; that it sent something before, that it is about the device alone.
    open: HashMap<AccountId, BTreeMap<DeviceId, watch::Sender<()>>>,
    ended: u64,
}

impl fmt::Debug for Logins {
    // The keys are accounts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}

impl Logins {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accounts and devices that were ended so far. A connection that looked its device up before it
    /// [entered](Self::enter) looks again if this has risen in between.
    pub fn ended(&self) -> u64 {
        self.lock().ended
    }

    /// One more connection of a device.
    pub fn enter(self: &Arc<Self>, device: Address) -> Login {
        let mut state = self.lock();
        let devices = state.open.entry(device.account).or_default();
        let over = devices.entry(device.device).or_insert_with(|| watch::channel(()).0).subscribe();
        Login { device, over: Some(over), logins: Arc::clone(self) }
    }

    /// Ends all connections of an account.
    pub fn end(&self, account: &AccountId) {
        let mut state = self.lock();
        state.ended += 1;
        state.open.remove(account);
    }

    /// Ends all connections of a device.
    pub fn end_device(&self, device: &Address) {
        let mut state = self.lock();
        state.ended += 1;
        if let Some(sender) = state.sender(device) {
            sender.send_replace(());
        }
        state.remove(device);
    }
}

impl State {
    fn remove(&mut self, device: &Address) {
        if let Entry::Occupied(mut devices) = self.open.entry(device.account) {
            devices.get_mut().remove(&device.device);
            if devices.get().is_empty() {
                devices.remove();
            }
        }
    }

    fn sender(&self, device: &Address) -> Option<&watch::Sender<()>> {
        self.open.get(&device.account)?.get(&device.device)
    }
}

/// What ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// The account, with all its devices.
    Account,
    /// The device alone.
    Device,
}

/// One connection of a device. Leaves when dropped.
pub struct Login {
    device: Address,
    /// There until dropped.
    over: Option<watch::Receiver<()>>,
    logins: Arc<Logins>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Login {
    /// Waits until the account or the device is ended, and says which. May be dropped and called again.
    pub async fn over(&mut self) -> Over {
        let Some(over) = &mut self.over else { return Over::Account };
        match over.changed().await {
            Ok(()) => Over::Device,
            // The sender was dropped.
            Err(_) => Over::Account,
        }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.over = None;
        let mut state = self.logins.lock();
        // The device may have come again since it was ended: that entry has listeners of its own.
        if state.sender(&self.device).is_some_and(watch::Sender::is_closed) {
            state.remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const ALICE: AccountId = AccountId::from_bytes([1; 16]);
    const BOB: AccountId = AccountId::from_bytes([2; 16]);

    fn device(account: AccountId, number: u32) -> Address {
        Address { account, device: DeviceId::new(number).unwrap() }
    }

    /// `None`: it goes on.
    async fn over(login: &mut Login) -> Option<Over> {
        timeout(Duration::ZERO, login.over()).await.ok()
    }

    #[tokio::test]
    async fn an_account_that_ends_takes_its_connections_along_and_no_others() {
        let logins = Arc::new(Logins::default());
        let [mut first, mut second, mut other] =
            [device(ALICE, 1), device(ALICE, 2), device(BOB, 1)].map(|device| logins.enter(device));
        assert_eq!(over(&mut first).await, None);
        assert_eq!(logins.ended(), 0);
        logins.end(&ALICE);
        let account = Some(Over::Account);
        assert_eq!((over(&mut first).await, over(&mut second).await, over(&mut other).await), (account, account, None));
        assert_eq!(logins.ended(), 1);
        // The same id again.
        let mut again = logins.enter(device(ALICE, 1));
        drop((first, second));
        assert_eq!(over(&mut again).await, None);
        logins.end(&ALICE);
        assert_eq!(over(&mut again).await, account);
        drop((again, other));
        assert!(logins.lock().open.is_empty(), "nobody is remembered");
    }

    #[tokio::test]
    async fn a_device_that_ends_takes_its_connections_along_and_not_those_of_other_devices() {
        let logins = Arc::new(Logins::default());
        let [mut first, mut again, mut other] =
            [device(ALICE, 1), device(ALICE, 1), device(ALICE, 2)].map(|device| logins.enter(device));
        logins.end_device(&device(ALICE, 1));
        let device_alone = Some(Over::Device);
        let ended = (over(&mut first).await, over(&mut again).await, over(&mut other).await);
        assert_eq!(ended, (device_alone, device_alone, None));
        assert_eq!(logins.ended(), 1);
        drop((first, again));
        assert_eq!(over(&mut other).await, None);
        logins.end_device(&device(ALICE, 2));
        assert_eq!(over(&mut other).await, device_alone);
        drop(other);
        assert!(logins.lock().open.is_empty(), "nobody is remembered");
    }
}

//! Which devices have authenticated connections in this process, so that these end when their account is deleted or leaves
//! the device out of its list.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kuvert_types::{AccountId, Address, DeviceId};
use tokio::sync::watch;

use super::Login;

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

    /// Accounts and devices that were ended so far.
    pub fn ended(&self) -> u64 {
        self.lock().ended
    }

    /// One more connection of a device.
    pub fn enter(self: &Arc<Self>, device: Address) -> Login {
        let mut state = self.lock();
        let devices = state.open.entry(device.account).or_default();
        let over = devices.entry(device.device).or_insert_with(|| watch::channel(()).0).subscribe();
        drop(state);
        let here = Arc::clone(self);
        Login::new(over, move || here.leave(&device))
    }

    fn leave(&self, device: &Address) {
        let mut state = self.lock();
        // The device may have come again since it was ended: that entry has listeners of its own.
        if state.sender(device).is_some_and(watch::Sender::is_closed) {
            state.remove(device);
        }
    }

    /// Whether no device is connected.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.lock().open.is_empty()
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

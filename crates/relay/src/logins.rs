//! Which accounts have authenticated connections, so that these end when their account is deleted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kuvert_types::AccountId;
use tokio::sync::watch;

/// All of them.
#[derive(Default)]
pub struct Logins(Mutex<State>);

#[derive(Default)]
struct State {
    /// Nothing is ever sent: that a sender is dropped is the message.
    open: HashMap<AccountId, watch::Sender<()>>,
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

    /// Accounts that were ended so far. Whoever looked an account up before it [entered](Self::enter) looks again if this
    /// has risen in between.
    pub fn ended(&self) -> u64 {
        self.lock().ended
    }

    /// One more connection of an account.
    pub fn enter(self: &Arc<Self>, account: AccountId) -> Login {
        let over = self.lock().open.entry(account).or_insert_with(|| watch::channel(()).0).subscribe();
        Login { account, over: Some(over), logins: Arc::clone(self) }
    }

    /// Ends all connections of an account.
    pub fn end(&self, account: &AccountId) {
        let mut state = self.lock();
        state.ended += 1;
        state.open.remove(account);
    }
}

/// One connection of an account. Leaves when dropped.
pub struct Login {
    account: AccountId,
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
    /// Waits until the account is ended. May be dropped and called again.
    pub async fn over(&mut self) {
        if let Some(over) = &mut self.over {
            // The error is what is waited for.
            let _ = over.changed().await;
        }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.over = None;
        let mut state = self.logins.lock();
        // Another account with this id may have registered since this one was ended: its entry has listeners of its own.
        if state.open.get(&self.account).is_some_and(watch::Sender::is_closed) {
            state.open.remove(&self.account);
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

    async fn is_over(login: &mut Login) -> bool {
        timeout(Duration::ZERO, login.over()).await.is_ok()
    }

    #[tokio::test]
    async fn an_account_that_ends_takes_its_connections_along_and_no_others() {
        let logins = Arc::new(Logins::default());
        let (mut first, mut second, mut other) = (logins.enter(ALICE), logins.enter(ALICE), logins.enter(BOB));
        assert!(!is_over(&mut first).await);
        assert_eq!(logins.ended(), 0);
        logins.end(&ALICE);
        assert!(is_over(&mut first).await && is_over(&mut second).await && !is_over(&mut other).await);
        assert_eq!(logins.ended(), 1);
        // The same id again.
        let mut again = logins.enter(ALICE);
        drop((first, second));
        assert!(!is_over(&mut again).await);
        logins.end(&ALICE);
        assert!(is_over(&mut again).await);
        drop((again, other));
        assert!(logins.lock().open.is_empty(), "nobody is remembered");
    }
}

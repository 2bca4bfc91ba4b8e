//! Transfers under way: so many in all, of one account, and from one network address. What a transfer holds in memory, times these,
//! is what all of them hold.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kuvert_types::AccountId;

use crate::config::Limits;
use crate::limits::place::{ConnectionCount, Place};

/// Transfers in all. Each holds less than 1 MiB, so all hold less than [`crate::limits::held::MAX_HELD`].
pub const MAX_TRANSFERS: u32 = 256;

/// Of these, those whose peers have no name: they are never more than a half in the way of accounts.
pub const MAX_UNNAMED_TRANSFERS: u32 = MAX_TRANSFERS / 2;

/// A peer sends or takes the next [`MAX_BLOB_PIECE_BYTES`](kuvert_types::limits::MAX_BLOB_PIECE_BYTES) within this time: 1 KiB in a
/// second.
pub const PIECE_DEADLINE: Duration = Duration::from_secs(60);

/// [`PIECE_DEADLINE`] while more than half of the transfers are under way: slow ones make room for others. 100 kbit/s.
pub const PIECE_DEADLINE_UNDER_PRESSURE: Duration = Duration::from_secs(5);

/// Whose transfer it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// An account's, on any connection of its devices.
    Account(AccountId),
    /// A peer's without a name, at this address.
    Unnamed(IpAddr),
}

/// There are as many as there may be: in all, or of this holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy;

/// How many there are.
#[derive(Debug)]
pub struct Transfers {
    per_account: u32,
    accounts: Mutex<Accounts>,
    unnamed: Arc<ConnectionCount>,
}

#[derive(Debug, Default)]
struct Accounts {
    total: u32,
    by_account: HashMap<AccountId, u32>,
}

/// One that is under way. Given back when dropped.
#[derive(Debug)]
pub struct Transfer {
    of: Of,
}

#[derive(Debug)]
enum Of {
    Account(Arc<Transfers>, AccountId),
    Unnamed(#[expect(dead_code, reason = "held for what its drop gives back")] Place),
}

impl Transfers {
    /// None are under way.
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            per_account: limits.blob_transfers_per_account,
            accounts: Mutex::default(),
            unnamed: ConnectionCount::bounded(MAX_UNNAMED_TRANSFERS, limits.blob_transfers_per_address),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        // The sums are right after every statement that matters, so a panic elsewhere does not spoil them.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn begin(self: &Arc<Self>, holder: Holder) -> Result<Transfer, Busy> {
        match holder {
            Holder::Unnamed(from) => {
                let place = self.unnamed.enter(from).map_err(|_| Busy)?;
                Ok(Transfer { of: Of::Unnamed(place) })
            }
            Holder::Account(account) => {
                let mut accounts = self.lock();
                if accounts.total >= MAX_TRANSFERS - MAX_UNNAMED_TRANSFERS {
                    return Err(Busy);
                }
                let of_account = accounts.by_account.entry(account).or_default();
                if *of_account >= self.per_account {
                    return Err(Busy);
                }
                *of_account += 1;
                accounts.total += 1;
                drop(accounts);
                Ok(Transfer { of: Of::Account(Arc::clone(self), account) })
            }
        }
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.lock().total as usize + self.unnamed.open()
    }

    /// How long a piece may take from now on.
    pub fn piece_deadline(&self) -> Duration {
        let pressed = self.under_way() > MAX_TRANSFERS as usize / 2;
        if pressed { PIECE_DEADLINE_UNDER_PRESSURE } else { PIECE_DEADLINE }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        // The other kind gives its place back itself.
        let Of::Account(transfers, account) = &self.of else { return };
        let mut accounts = transfers.lock();
        accounts.total = accounts.total.saturating_sub(1);
        if let Entry::Occupied(mut of_account) = accounts.by_account.entry(*account) {
            *of_account.get_mut() = of_account.get().saturating_sub(1);
            if *of_account.get() == 0 {
                of_account.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u32) -> Holder {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Holder::Account(AccountId::from_bytes(id))
    }

    #[test]
    fn an_account_and_an_address_have_so_many_at_once() {
        let limits = Limits { blob_transfers_per_account: 2, blob_transfers_per_address: 3, ..Limits::default() };
        let transfers = Transfers::new(&limits);
        let first = transfers.begin(account(1)).unwrap();
        let _second = transfers.begin(account(1)).unwrap();
        assert_eq!(transfers.begin(account(1)).unwrap_err(), Busy);
        let _other = transfers.begin(account(2)).unwrap();
        drop(first);
        let _again = transfers.begin(account(1)).unwrap();
        let [here, there] = ["192.0.2.1", "198.51.100.1"].map(|text| Holder::Unnamed(text.parse().unwrap()));
        let unnamed: Vec<_> = (0..3).map(|_| transfers.begin(here).unwrap()).collect();
        assert_eq!(transfers.begin(here).unwrap_err(), Busy);
        assert!(transfers.begin(there).is_ok());
        assert_eq!(transfers.under_way(), 6);
        drop(unnamed);
        assert_eq!(transfers.under_way(), 3);
    }

    #[test]
    fn those_without_a_name_leave_a_half_to_accounts_and_slow_ones_have_less_time_then() {
        let limits = Limits { blob_transfers_per_address: MAX_TRANSFERS, ..Limits::default() };
        let transfers = Transfers::new(&limits);
        let from = Holder::Unnamed("127.0.0.1".parse().unwrap());
        let unnamed: Vec<_> = (0..MAX_TRANSFERS).map_while(|_| transfers.begin(from).ok()).collect();
        assert_eq!(unnamed.len(), MAX_UNNAMED_TRANSFERS as usize);
        assert_eq!(transfers.piece_deadline(), PIECE_DEADLINE);
        let accounts: Vec<_> = (0..MAX_TRANSFERS).map_while(|number| transfers.begin(account(number)).ok()).collect();
        assert_eq!(accounts.len(), (MAX_TRANSFERS - MAX_UNNAMED_TRANSFERS) as usize);
        assert_eq!(transfers.piece_deadline(), PIECE_DEADLINE_UNDER_PRESSURE);
    }
}

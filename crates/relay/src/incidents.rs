//! Limits that accounts ran into: counted in memory, written down once a minute, and gone after
//! [`TRACE_DAYS`](kuvert_privacy::retention::TRACE_DAYS). Deleting an account takes it off the rows at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kuvert_types::AccountId;

/// An account, a limit that it ran into, and how often.
pub type Incident = (AccountId, Kind, u64);

/// Accounts and limits that are counted between two times of writing down. What comes beyond is refused like everything
/// else, and not noted.
const MAX_COUNTED: usize = 10_000;

/// A limit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Requests in all: they were read more slowly.
    Requests,
    /// Bytes of requests.
    Bytes,
    /// Looking accounts up, and changing names.
    Lookups,
    /// Taking prekey bundles.
    Bundles,
    /// Asking for reports.
    Reports,
    /// Asking for codes for phone numbers.
    PhoneCodes,
    /// Comparing other people's numbers.
    NumbersChecked,
}

impl Kind {
    /// As stored.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Bytes => "bytes of requests",
            Self::Lookups => "account lookups",
            Self::Bundles => "prekey bundles",
            Self::Reports => "reports",
            Self::PhoneCodes => "codes for phone numbers",
            Self::NumbersChecked => "numbers of other people",
        }
    }
}

/// Those that were not written down yet.
#[derive(Default)]
pub struct Incidents(Mutex<BTreeMap<(AccountId, Kind), u64>>);

impl fmt::Debug for Incidents {
    // The keys are accounts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incidents").finish_non_exhaustive()
    }
}

impl Incidents {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(AccountId, Kind), u64>> {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An account ran into a limit.
    pub fn note(&self, account: AccountId, kind: Kind) {
        let mut counted = self.lock();
        if counted.len() < MAX_COUNTED || counted.contains_key(&(account, kind)) {
            *counted.entry((account, kind)).or_default() += 1;
        }
    }

    /// Forgets an account.
    pub fn forget(&self, account: &AccountId) {
        self.lock().retain(|(who, _), _| who != account);
    }

    /// What was counted since this was called last.
    pub fn take(&self) -> Vec<Incident> {
        std::mem::take(&mut *self.lock()).into_iter().map(|((account, kind), count)| (account, kind, count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: AccountId = AccountId::from_bytes([1; 16]);
    const BOB: AccountId = AccountId::from_bytes([2; 16]);

    #[test]
    fn incidents_are_counted_until_they_are_taken_and_an_account_can_be_forgotten() {
        let incidents = Incidents::default();
        for account in [ALICE, ALICE, BOB] {
            incidents.note(account, Kind::Lookups);
        }
        incidents.note(BOB, Kind::Bundles);
        let taken = incidents.take();
        assert_eq!(taken, [(ALICE, Kind::Lookups, 2), (BOB, Kind::Lookups, 1), (BOB, Kind::Bundles, 1)]);
        assert!(incidents.take().is_empty());
        incidents.note(ALICE, Kind::Requests);
        incidents.forget(&ALICE);
        assert!(incidents.take().is_empty());
    }

    #[test]
    fn a_crowd_does_not_fill_the_memory() {
        let incidents = Incidents::default();
        for n in 0..20_000_u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            incidents.note(AccountId::from_bytes(id), Kind::Lookups);
        }
        assert_eq!(incidents.take().len(), MAX_COUNTED);
    }
}

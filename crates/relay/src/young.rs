//! Accounts in their first day, and what a relay without much room leaves them [KV-093].
//!
//! An account costs nothing. A relay cannot tell a stranger that makes many from many people that come, but it can see to it that new ones
//! do not fill the disk before those that stayed: on their first day they submit so many bytes and no more, and below the low
//! water mark nothing of theirs is stored.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kuvert_types::AccountId;

use crate::clock::Clock;
use crate::others::{self, Others, TOLD_PART, Word, Words};
use crate::store::Store;

/// How long an account is young, from its registration on.
pub const YOUNG: Duration = Duration::from_secs(24 * 60 * 60);

/// What an envelope is counted as beside its ciphertext: a row of the store, so that many empty ones are not free.
const ENVELOPE_BYTES: u64 = 256;

/// Free space is measured again after this time at the earliest: a submit must not cost a system call.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// A low water mark is at most this part of the file system: on a small one it would leave nothing to fill.
const LARGEST_PART: u64 = 20;

/// The high water mark, above which there is enough again, is the low one and this part of it.
const HIGH_WATER_PART: u64 = 8;

/// Room on a file system, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// What this user may still write.
    pub free: u64,
    /// All there is for this user: used and free.
    pub total: u64,
}

/// Says how much room there is. Tests have one of their own.
pub trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Measures now.
    ///
    /// # Errors
    /// What the system says.
    fn space(&self) -> io::Result<Space>;
}

/// The file system of a directory.
#[derive(Clone, Debug)]
pub struct FileSystem(PathBuf);

impl FileSystem {
    /// The one that this directory is on.
    pub fn of(directory: &Path) -> Self {
        Self(directory.to_owned())
    }
}

impl Disk for FileSystem {
    fn space(&self) -> io::Result<Space> {
        let stats = rustix::fs::statvfs(&self.0)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stats.f_frsize);
        // What is kept for the superuser, or beyond a quota, is not there for this user: as `df` has it.
        let used = stats.f_blocks.saturating_sub(stats.f_bfree);
        Ok(Space { free: bytes(stats.f_bavail), total: bytes(used.saturating_add(stats.f_bavail)) })
    }
}

/// A disk with a store on it, whose files have room within them.
pub struct WithStore {
    /// Where the files are.
    pub disk: Arc<dyn Disk>,
    /// Says how much room they have.
    pub store: Arc<dyn Store>,
}

impl fmt::Debug for WithStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithStore").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl Disk for WithStore {
    fn space(&self) -> io::Result<Space> {
        let Space { free, total } = self.disk.space()?;
        Ok(Space { free: free.saturating_add(self.store.reusable()), total })
    }
}

/// Whether there is less free space than a relay should have.
#[derive(Debug)]
pub struct LowWater {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    mark: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    measured_at: Option<Duration>,
    low: bool,
}

impl LowWater {
    /// Low is what is below `mark` bytes and below a twentieth of all; with 0 nothing is.
    pub fn new(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, mark: u64) -> Self {
        Self { disk, clock, mark, state: Mutex::default() }
    }

    /// Whether it was low within the last second. Each change is logged once.
    pub fn is_low(&self) -> bool {
        if self.mark == 0 {
            return false;
        }
        let now = self.clock.elapsed();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.measured_at.is_some_and(|at| now.saturating_sub(at) < MEASURE_EVERY) {
            return state.low;
        }
        state.measured_at = Some(now);
        // What cannot be measured is no reason to refuse: a full disk is found out by writing, too.
        let low = self.disk.space().is_ok_and(|space| {
            let mark = self.mark.min(space.total / LARGEST_PART);
            // Once it was low, it takes more than the mark: else each envelope would turn it around.
            space.free < if state.low { mark.saturating_add(mark / HIGH_WATER_PART) } else { mark }
        });
        if low != state.low {
            state.low = low;
            if low {
                tracing::warn!("little free disk space: nobody registers, and nothing is stored for new accounts");
            } else {
                tracing::info!("enough free disk space again");
            }
        }
        low
    }
}

/// The accounts that are young, and how much each has submitted. Relays that serve one store tell each other ([`crate::others`]).
pub struct Young {
    /// Bytes that an account submits on its first day.
    bytes: u64,
    others: Option<Arc<dyn Others>>,
    accounts: Mutex<HashMap<AccountId, Account>>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    /// When it will be young no more, Unix milliseconds.
    until: u64,
    submitted: u64,
    /// Of these, what other relays do not know of.
    untold: u64,
}

impl fmt::Debug for Young {
    // The keys are accounts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Young").field("accounts", &self.lock().len()).finish_non_exhaustive()
    }
}

impl Young {
    /// No account is young yet; each that will be has so many bytes. No other relay serves the same store.
    pub fn new(bytes: u64) -> Self {
        Self::among(bytes, None)
    }

    /// The same, where other relays do.
    pub fn among(bytes: u64, others: Option<Arc<dyn Others>>) -> Self {
        Self { bytes, others, accounts: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, Account>> {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An account registers here, at this time (Unix milliseconds).
    pub fn register(&self, account: AccountId, at: u64) {
        self.registered(account, at);
        if let Some(others) = &self.others {
            others::tell(&**others, &Word::Registered(account, at));
        }
    }

    /// An account registered at this time, before the relay started or at another relay.
    pub fn registered(&self, account: AccountId, at: u64) {
        let until = at.saturating_add(millis(YOUNG));
        self.lock().entry(account).or_insert(Account { until, submitted: 0, untold: 0 });
    }

    /// The account is no more.
    pub fn forget(&self, account: &AccountId) {
        self.lock().remove(account);
    }

    /// Whether the account is young at this time (Unix milliseconds).
    pub fn is_young(&self, account: &AccountId, now: u64) -> bool {
        self.lock().get(account).is_some_and(|young| young.until > now)
    }

    /// An envelope with so many bytes of ciphertext, by an account or into its mailbox where the sender has no name.
    ///
    /// # Errors
    /// How long the account is still young: it has submitted what it may until then.
    pub fn submit(&self, account: &AccountId, bytes: u64, now: u64) -> Result<(), Duration> {
        let mut accounts = self.lock();
        let Some(young) = accounts.get_mut(account).filter(|young| young.until > now) else { return Ok(()) };
        let more = bytes.saturating_add(ENVELOPE_BYTES);
        let after = young.submitted.saturating_add(more);
        if after > self.bytes {
            return Err(Duration::from_millis(young.until - now));
        }
        young.submitted = after;
        let Some(others) = &self.others else { return Ok(()) };
        young.untold = young.untold.saturating_add(more);
        if young.untold >= self.bytes / u64::from(TOLD_PART) {
            let untold = std::mem::take(&mut young.untold);
            drop(accounts);
            others::tell(&**others, &Word::Submitted(*account, untold));
        }
        Ok(())
    }

    /// An account submitted so many bytes more, at another relay. One that is not young is none.
    pub fn submitted_elsewhere(&self, account: &AccountId, bytes: u64) {
        if let Some(young) = self.lock().get_mut(account) {
            young.submitted = young.submitted.saturating_add(bytes);
        }
    }

    /// What was counted was not stored after all.
    pub fn give_back(&self, account: &AccountId, bytes: u64) {
        if let Some(young) = self.lock().get_mut(account) {
            young.submitted = young.submitted.saturating_sub(bytes.saturating_add(ENVELOPE_BYTES));
        }
    }

    /// What all young accounts have submitted together.
    pub fn sum(&self, now: u64) -> u64 {
        let accounts = self.lock();
        accounts.values().filter(|young| young.until > now).map(|young| young.submitted).sum()
    }

    /// What each young account has submitted, where it has.
    pub fn submitted(&self, now: u64) -> Vec<(AccountId, u64)> {
        let accounts = self.lock();
        let young = accounts.iter().filter(|(_, young)| young.until > now && young.submitted > 0);
        young.map(|(account, young)| (*account, young.submitted)).collect()
    }

    /// An account submitted so many bytes in all, before the relay started or at another relay. One that is not young is none.
    pub fn has_submitted(&self, account: &AccountId, bytes: u64) {
        if let Some(young) = self.lock().get_mut(account) {
            young.submitted = young.submitted.max(bytes);
        }
    }

    /// Appends what a relay is to know that is reached from now on.
    pub fn summary(&self, now: u64, words: &mut Words) {
        self.submitted(now).iter().for_each(|(account, bytes)| words.push(&Word::Has(*account, *bytes)));
    }

    /// Forgets the accounts that are young no more, and tells other relays what they do not know yet.
    pub fn prune(&self, now: u64) {
        let mut words = Words::default();
        let mut accounts = self.lock();
        if self.others.is_some() {
            for (account, young) in accounts.iter_mut().filter(|(_, young)| young.untold > 0) {
                words.push(&Word::Submitted(*account, std::mem::take(&mut young.untold)));
            }
        }
        accounts.retain(|_, young| young.until > now);
        accounts.shrink_to_fit();
        drop(accounts);
        if let Some(others) = &self.others {
            words.tell(&**others);
        }
    }
}

/// As time stamps are.
pub const fn millis(duration: Duration) -> u64 {
    duration.as_secs() * 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const ALICE: AccountId = AccountId::from_bytes([1; 16]);
    const BOB: AccountId = AccountId::from_bytes([2; 16]);

    #[derive(Debug, Default)]
    struct Fake {
        space: Mutex<Option<Space>>,
        measured: Mutex<u32>,
    }

    impl Disk for Fake {
        fn space(&self) -> io::Result<Space> {
            *self.measured.lock().unwrap() += 1;
            (*self.space.lock().unwrap()).ok_or(io::ErrorKind::NotFound.into())
        }
    }

    #[test]
    fn an_account_has_so_many_bytes_on_its_first_day() {
        let young = Young::new(3_000);
        young.registered(ALICE, 1_000);
        let day = millis(YOUNG);
        for _ in 0..2 {
            assert_eq!(young.submit(&ALICE, 1_000, 2_000), Ok(()));
        }
        assert_eq!(young.submit(&ALICE, 1_000, 2_000), Err(YOUNG - Duration::from_secs(1)));
        assert_eq!(young.submit(&ALICE, 200, 2_000), Ok(()), "a smaller one still fits");
        assert_eq!(young.submit(&ALICE, 0, 2_000), Err(YOUNG - Duration::from_secs(1)), "an empty one is not free");
        assert_eq!(young.submit(&BOB, 100_000, 2_000), Ok(()), "another account is not concerned");
        young.give_back(&ALICE, 1_000);
        assert_eq!(young.sum(2_000), 1_712);
        assert_eq!(young.submit(&ALICE, 1_000, 2_000), Ok(()));
        young.registered(ALICE, 1_500);
        assert!(young.submit(&ALICE, 1_000, 2_000).is_err(), "it does not begin again");
        assert!(young.is_young(&ALICE, day + 999) && !young.is_young(&ALICE, day + 1_000));
        assert_eq!(young.submit(&ALICE, 100_000, day + 1_000), Ok(()), "a day later it is like others");
        young.prune(day + 1_000);
        assert!(young.lock().is_empty());
        assert_eq!(millis(YOUNG), 86_400_000);
    }

    #[test]
    fn the_bytes_of_a_first_day_are_used_to_the_last_one_and_end_with_the_day() {
        let young = Young::new(2 * (ENVELOPE_BYTES + 1_000));
        let end = 1_000 + millis(YOUNG);
        young.registered(ALICE, 1_000);
        for _ in 0..2 {
            assert_eq!(young.submit(&ALICE, 1_000, 2_000), Ok(()));
        }
        assert!(young.submit(&ALICE, 0, 2_000).is_err());
        let all = 2 * (ENVELOPE_BYTES + 1_000);
        assert_eq!((young.sum(end - 1), young.submitted(end - 1)), (all, vec![(ALICE, all)]));
        assert_eq!((young.sum(end), young.submitted(end)), (0, vec![]));
        young.registered(BOB, 1_000);
        assert_eq!(young.submitted(2_000), [(ALICE, all)], "one that has submitted nothing is not named");
    }

    /// What one relay said.
    #[derive(Debug, Default)]
    struct Said(Mutex<Vec<bytes::Bytes>>);

    impl Others for Said {
        fn tell(&self, words: bytes::Bytes) {
            self.0.lock().unwrap().push(words);
        }

        fn listen(&self, _: std::sync::Weak<dyn others::Listener>) {}
    }

    impl Said {
        /// Bytes of each account that were told of since this was asked last.
        fn submitted(&self) -> Vec<(AccountId, u64)> {
            let said = std::mem::take(&mut *self.0.lock().unwrap());
            let submitted = said.iter().flat_map(|said| others::words(said)).filter_map(|word| match word {
                Word::Submitted(account, bytes) => Some((account, bytes)),
                _ => None,
            });
            submitted.collect()
        }
    }

    #[test]
    fn other_relays_hear_of_bytes_in_parts_of_the_whole_and_of_the_rest_when_it_is_tidied() {
        let said = Arc::new(Said::default());
        let part = 10 * ENVELOPE_BYTES;
        let young = Young::among(part * u64::from(TOLD_PART), Some(Arc::<Said>::clone(&said) as Arc<dyn Others>));
        [ALICE, BOB].into_iter().for_each(|account| young.registered(account, 0));
        for _ in 0..9 {
            assert_eq!(young.submit(&ALICE, 0, 1), Ok(()));
        }
        assert_eq!(said.submitted(), []);
        assert_eq!(young.submit(&ALICE, 0, 1), Ok(()));
        assert_eq!(said.submitted(), [(ALICE, part)]);
        assert_eq!(young.submit(&ALICE, 100, 1), Ok(()));
        young.prune(2);
        assert_eq!(said.submitted(), [(ALICE, ENVELOPE_BYTES + 100)], "nothing of one that has nothing untold");
        young.prune(3);
        assert_eq!(said.submitted(), []);
        // A relay that is newly reached hears of all of it.
        let mut words = Words::default();
        young.summary(3, &mut words);
        let told: Vec<_> = words.into_pieces();
        let told: Vec<_> = told.iter().flat_map(|told| others::words(told)).collect();
        assert_eq!(told, [Word::Has(ALICE, part + ENVELOPE_BYTES + 100)]);
    }

    #[test]
    fn space_is_low_below_the_mark_and_measured_once_a_second() {
        let (disk, clock) = (Arc::new(Fake::default()), Arc::new(ManualClock::new(0)));
        let low = LowWater::new(disk.clone(), clock.clone(), 1_000);
        let is_low = |free, total| {
            clock.advance(MEASURE_EVERY);
            *disk.space.lock().unwrap() = Some(Space { free, total });
            low.is_low()
        };
        assert!(!is_low(1_000, 100_000));
        assert!(is_low(999, 100_000));
        assert!(is_low(1_000, 100_000) && is_low(1_124, 100_000), "it does not turn around at the mark");
        assert!(!is_low(1_125, 100_000) && !is_low(1_000, 100_000));
        assert!(!is_low(500, 10_000), "a twentieth of all");
        assert!(is_low(499, 10_000));
        *disk.space.lock().unwrap() = None;
        assert!(low.is_low(), "measured a moment ago");
        let measured = *disk.measured.lock().unwrap();
        assert!((0..100).all(|_| low.is_low()));
        assert_eq!(*disk.measured.lock().unwrap(), measured);
        clock.advance(MEASURE_EVERY);
        assert!(!low.is_low(), "what cannot be measured refuses nothing");
        *disk.space.lock().unwrap() = Some(Space { free: 0, total: 100_000 });
        assert!(!LowWater::new(disk, clock, 0).is_low(), "switched off");
    }
}

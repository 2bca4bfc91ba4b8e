//! Limits over a restart: `DATA/limits.state`. Without it, making a relay restart, or waiting until it does, would give back at once
//! what takes hours to regain.
//!
//! ```text
//! "KVLIMIT" ‖ version 1 ‖ entry … ‖ SHA-256 of all before
//! entry:  1 ‖ tier ‖ prefix ‖ family 4 or 6 ‖ address 16 ‖ moment 8     registrations of a network
//!         2 ‖ account 16 ‖ moment 8                                      one-time prekeys of an account
//!         3 ‖ taker 16 ‖ account 16 ‖ moment 8                           the same for one taker
//!         4 ‖ account 16 ‖ bytes 8                                       what an account submitted on its first day
//! ```
//! Numbers are big-endian; a moment is when it will have rested, Unix milliseconds. The file is written each minute, when an account is
//! deleted, and at the end; there is none while there is nothing to remember.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kuvert_types::AccountId;
use sha2::{Digest, Sha256};

use super::Limiter;
use super::place::{Network, TIERS};
use super::told::Key as _;
use crate::whole_file;
use crate::young::Young;

/// Name of the file within the data directory.
pub const FILE: &str = "limits.state";

/// What it begins with; the last byte is the version.
const HEAD: [u8; 8] = *b"KVLIMIT\x01";

/// Bytes of the SHA-256 at its end.
const DIGEST_BYTES: usize = 32;

/// Entries of one sort. Beyond, some are forgotten over a restart: 400,000 of 41 bytes are written in a tenth of a second.
const MAX_ENTRIES: usize = 100_000;

/// A file larger than this is none of ours.
const MAX_FILE_BYTES: u64 = 4 * MAX_ENTRIES as u64 * 41 + 64;

/// How long anything is remembered, whatever the rates: a day, and an hour for clocks that were set.
const LONGEST: Duration = Duration::from_secs(25 * 60 * 60);

/// The file of a relay.
#[derive(Debug)]
pub struct Saved {
    /// Nowhere: nothing is kept.
    path: Option<PathBuf>,
    /// Held while it is written, so that no older state takes the place of a newer one.
    writing: Mutex<()>,
}

impl Saved {
    /// In a data directory.
    pub fn below(data: &Path) -> Self {
        Self { path: Some(data.join(FILE)), writing: Mutex::default() }
    }

    /// Nowhere.
    pub const fn nowhere() -> Self {
        Self { path: None, writing: Mutex::new(()) }
    }

    /// Writes what has not rested at `now_ms` (Unix milliseconds). Blocks until it is on the disk.
    ///
    /// # Errors
    /// What the system says. The file is what it was.
    pub fn write(&self, limiter: &Limiter, young: &Young, now_ms: u64) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        // The lock guards nothing that could be half changed.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = encode(limiter, young, now_ms);
        if bytes.len() > HEAD.len() + DIGEST_BYTES {
            return whole_file::write(path, &bytes, whole_file::PRIVATE);
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads it again. Whatever is wrong with it, the relay starts; a damaged file is said in the log, and counts for nothing.
    pub fn read(&self, limiter: &Limiter, young: &Young, now_ms: u64) {
        let Some(path) = &self.path else { return };
        let bytes = match fs::metadata(path).and_then(|metadata| match metadata.len() {
            0..=MAX_FILE_BYTES => fs::read(path),
            _ => Err(io::ErrorKind::FileTooLarge.into()),
        }) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::warn!(%error, "{FILE} cannot be read: limits begin anew");
                return;
            }
        };
        match decode(&bytes) {
            Some(entries) => entries.into_iter().for_each(|entry| restore(entry, limiter, young, now_ms)),
            None => tracing::warn!("{FILE} is damaged, or of another version: limits begin anew"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    Registrations { tier: usize, network: Network, moment: u64 },
    OneTime { of: AccountId, moment: u64 },
    OneTimeByTaker { taker: AccountId, of: AccountId, moment: u64 },
    Submitted { account: AccountId, bytes: u64 },
}

impl Entry {
    fn put(&self, into: &mut Vec<u8>) {
        match self {
            Self::Registrations { tier, network, moment } => {
                // There are three tiers.
                into.extend([1, *tier as u8]);
                network.put(into);
                into.extend(moment.to_be_bytes());
            }
            Self::OneTime { of, moment } => {
                into.push(2);
                into.extend(of.as_bytes());
                into.extend(moment.to_be_bytes());
            }
            Self::OneTimeByTaker { taker, of, moment } => {
                into.push(3);
                into.extend(taker.as_bytes());
                into.extend(of.as_bytes());
                into.extend(moment.to_be_bytes());
            }
            Self::Submitted { account, bytes } => {
                into.push(4);
                into.extend(account.as_bytes());
                into.extend(bytes.to_be_bytes());
            }
        }
    }

    /// The first entry, and what comes after it.
    fn take(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (sort, rest) = bytes.split_first()?;
        let account = |rest: &mut &[u8]| take::<16>(rest).map(AccountId::from_bytes);
        let number = |rest: &mut &[u8]| take::<8>(rest).map(u64::from_be_bytes);
        let mut rest = rest;
        let entry = match sort {
            1 => {
                let [tier] = take::<1>(&mut rest)?;
                let (tier, network) = (usize::from(tier), Network::take(&mut rest)?);
                (tier < TIERS.len()).then_some(())?;
                Self::Registrations { tier, network, moment: number(&mut rest)? }
            }
            2 => Self::OneTime { of: account(&mut rest)?, moment: number(&mut rest)? },
            3 => {
                Self::OneTimeByTaker { taker: account(&mut rest)?, of: account(&mut rest)?, moment: number(&mut rest)? }
            }
            4 => Self::Submitted { account: account(&mut rest)?, bytes: number(&mut rest)? },
            _ => return None,
        };
        Some((entry, rest))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

fn encode(limiter: &Limiter, young: &Young, now_ms: u64) -> Vec<u8> {
    let now = limiter.clock.elapsed();
    let moment = |rests_in: Duration| {
        now_ms.saturating_add(u64::try_from(rests_in.min(LONGEST).as_millis()).unwrap_or(u64::MAX))
    };
    let mut bytes = HEAD.to_vec();
    for (tier, rate) in limiter.registrations.tiers().iter().enumerate() {
        for (network, rests_in) in rate.tired(now).into_iter().take(MAX_ENTRIES / TIERS.len()) {
            Entry::Registrations { tier, network, moment: moment(rests_in) }.put(&mut bytes);
        }
    }
    for (of, rests_in) in limiter.one_time_prekeys.tired(now).into_iter().take(MAX_ENTRIES) {
        Entry::OneTime { of, moment: moment(rests_in) }.put(&mut bytes);
    }
    for ((taker, of), rests_in) in limiter.one_time_by_taker.tired(now).into_iter().take(MAX_ENTRIES) {
        Entry::OneTimeByTaker { taker, of, moment: moment(rests_in) }.put(&mut bytes);
    }
    for (account, submitted) in young.submitted(now_ms).into_iter().take(MAX_ENTRIES) {
        Entry::Submitted { account, bytes: submitted }.put(&mut bytes);
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_BYTES)?)?;
    (Sha256::digest(content).as_slice() == digest).then_some(())?;
    let mut rest = content.strip_prefix(&HEAD)?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (entry, after) = Entry::take(rest)?;
        entries.push(entry);
        rest = after;
    }
    Some(entries)
}

fn restore(entry: Entry, limiter: &Limiter, young: &Young, now_ms: u64) {
    let now = limiter.clock.elapsed();
    // A clock that was set back must not shut anything out for longer than the rates could.
    let rests_in = |moment: u64| Duration::from_millis(moment.saturating_sub(now_ms)).min(LONGEST);
    match entry {
        Entry::Registrations { tier, network, moment } => {
            if let Some(rate) = limiter.registrations.tiers().get(tier) {
                rate.tire(network, rests_in(moment), now);
            }
        }
        Entry::OneTime { of, moment } => limiter.one_time_prekeys.tire(of, rests_in(moment), now),
        Entry::OneTimeByTaker { taker, of, moment } => {
            limiter.one_time_by_taker.tire((taker, of), rests_in(moment), now);
        }
        Entry::Submitted { account, bytes } => young.has_submitted(&account, bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::config::{Limits, Rate};
    use crate::limits::OneTime;

    const NOW: u64 = 1_800_000_000_000;

    fn account(number: u8) -> AccountId {
        AccountId::from_bytes([number; 16])
    }

    /// What a relay has in memory.
    struct World {
        clock: Arc<ManualClock>,
        limiter: Limiter,
        young: Young,
    }

    impl World {
        /// Whose time since its start has nothing to do with that of the one before.
        fn started(elapsed_ms: u64) -> Self {
            let clock = Arc::new(ManualClock::new(elapsed_ms));
            let limits = Limits { registrations_per_address: Rate { burst: 2, per_hour: 1 }, ..Limits::default() };
            let limiter = Limiter::new(&limits, Arc::<ManualClock>::clone(&clock));
            let young = Young::new(10_000);
            young.registered(account(1), NOW);
            Self { clock, limiter, young }
        }

        fn use_up(&self) {
            for _ in 0..2 {
                self.limiter.registration("192.0.2.1".parse().unwrap()).unwrap();
                self.limiter.registration("2001:db8::1".parse().unwrap()).unwrap();
                self.limiter.one_time_prekeys(&account(1), &account(2));
            }
            self.young.submit(&account(1), 9_000, NOW).unwrap();
        }

        /// Registrations from two addresses, one-time prekeys of an account for a taker, and an envelope on the first day.
        fn allows(&self, now_ms: u64) -> [bool; 4] {
            [
                self.limiter.registration("192.0.2.1".parse().unwrap()).is_ok(),
                self.limiter.registration("2001:db8::1".parse().unwrap()).is_ok(),
                self.limiter.one_time_prekeys(&account(1), &account(2)) != OneTime::None,
                self.young.submit(&account(1), 9_000, now_ms).is_ok(),
            ]
        }
    }

    #[test]
    fn limits_survive_a_restart_and_regain_meanwhile() {
        let data = tempfile::tempdir().unwrap();
        let saved = Saved::below(data.path());
        let before = World::started(5_000_000_000);
        saved.write(&before.limiter, &before.young, NOW).unwrap();
        assert!(!data.path().join(FILE).exists(), "nothing to remember");
        before.use_up();
        assert_eq!(before.allows(NOW), [false; 4]);
        saved.write(&before.limiter, &before.young, NOW).unwrap();
        assert_eq!(fs::metadata(data.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);

        let after = World::started(7);
        saved.read(&after.limiter, &after.young, NOW + 60_000);
        assert_eq!(after.allows(NOW + 60_000), [false; 4]);
        let later = World::started(7);
        saved.read(&later.limiter, &later.young, NOW + 3_600_000);
        assert_eq!(later.allows(NOW + 3_600_000), [true, true, true, false], "an hour later each has one");
        assert_eq!(later.allows(NOW + 3_600_000), [false; 4]);

        // A clock that was set back by years shuts nobody out for years.
        let set_back = World::started(0);
        saved.read(&set_back.limiter, &set_back.young, 0);
        set_back.clock.advance(LONGEST);
        assert_eq!(set_back.allows(NOW)[..3], [true; 3]);
        assert_eq!(set_back.clock.elapsed(), LONGEST);

        later.clock.advance(LONGEST);
        later.young.forget(&account(1));
        saved.write(&later.limiter, &later.young, NOW).unwrap();
        assert!(!data.path().join(FILE).exists(), "all have rested");
    }

    #[test]
    fn a_damaged_file_counts_for_nothing() {
        let data = tempfile::tempdir().unwrap();
        let (saved, path) = (Saved::below(data.path()), data.path().join(FILE));
        let before = World::started(0);
        before.use_up();
        saved.write(&before.limiter, &before.young, NOW).unwrap();
        let good = fs::read(&path).unwrap();
        let entries = decode(&good).unwrap();
        // Two tiers of the IPv4 address, three of the other one.
        assert_eq!(entries.len(), 2 + 3 + 1 + 1 + 1);
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            assert_eq!(decode(&bad), None, "{place}");
            assert_eq!(decode(&good[..place]), None, "{place}");
        }
        // Whole, and yet nothing that this version writes.
        for entry in [&[9][..], &[2, 1, 1], &[1, 3, 32, 4], &[1, 0, 32, 5]] {
            let mut content = [&HEAD[..], entry].concat();
            content.resize(HEAD.len() + 28, 0);
            let digest = Sha256::digest(&content);
            content.extend(digest);
            assert_eq!(decode(&content), None, "{entry:?}");
        }
        fs::write(&path, b"damaged").unwrap();
        let after = World::started(0);
        saved.read(&after.limiter, &after.young, NOW);
        assert_eq!(after.allows(NOW), [true; 4]);
    }

    #[test]
    fn a_deleted_account_is_in_no_limit() {
        let data = tempfile::tempdir().unwrap();
        let saved = Saved::below(data.path());
        let world = World::started(0);
        world.use_up();
        world.limiter.one_time_prekeys(&account(2), &account(1));
        world.limiter.forget(&account(1));
        world.young.forget(&account(1));
        saved.write(&world.limiter, &world.young, NOW).unwrap();
        let bytes = fs::read(data.path().join(FILE)).unwrap();
        assert!(!bytes.windows(16).any(|window| window == account(1).as_bytes()));
        assert!(bytes.windows(16).any(|window| window == account(2).as_bytes()));
    }
}

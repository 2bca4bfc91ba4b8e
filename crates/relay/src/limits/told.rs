//! What limits tell other relays: which limit, and the key of whom as bytes.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use kuvert_types::{AccountId, Address, DeviceId};

use super::place::Network;
use crate::others::{Others, TOLD_PART, Word, Words};

/// The limits that count over all relays of a store. The numbers are said between relays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Limit {
    Requests = 1,
    Registrations = 2,
    Lookups = 3,
    Bundles = 4,
    Sealed = 5,
    Bytes = 6,
    SealedBytes = 7,
    BundlesByTaker = 8,
    OneTimeByTaker = 9,
    OneTimePrekeys = 10,
    Reports = 11,
    PhoneCodesByAccount = 12,
    PhoneCodesByNumber = 13,
    NumbersChecked = 14,
}

impl Limit {
    const ALL: [Self; 14] = [
        Self::Requests,
        Self::Registrations,
        Self::Lookups,
        Self::Bundles,
        Self::Sealed,
        Self::Bytes,
        Self::SealedBytes,
        Self::BundlesByTaker,
        Self::OneTimeByTaker,
        Self::OneTimePrekeys,
        Self::Reports,
        Self::PhoneCodesByAccount,
        Self::PhoneCodesByNumber,
        Self::NumbersChecked,
    ];

    /// By its number. `None`: one of a newer relay's.
    pub(super) fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| *limit as u8 == number)
    }
}

/// Of whom something is counted, as bytes.
pub(super) trait Key: Hash + Eq + Sized {
    /// Appends them.
    fn put(&self, out: &mut Vec<u8>);

    /// Takes them from the front.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

/// From exactly these bytes.
pub(super) fn key<K: Key>(mut bytes: &[u8]) -> Option<K> {
    let key = K::take(&mut bytes)?;
    bytes.is_empty().then_some(key)
}

fn first<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// 16 bytes.
impl Key for AccountId {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.as_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        first(bytes).map(Self::from_bytes)
    }
}

/// The account, and the device's number in 4 bytes.
impl Key for Address {
    fn put(&self, out: &mut Vec<u8>) {
        self.account.put(out);
        out.extend(self.device.get().to_be_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let account = AccountId::take(bytes)?;
        let device = DeviceId::new(u32::from_be_bytes(first(bytes)?)).ok()?;
        Some(Self { account, device })
    }
}

/// Both.
impl Key for (AccountId, AccountId) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some((AccountId::take(bytes)?, AccountId::take(bytes)?))
    }
}

/// prefix ‖ family 4 or 6 ‖ address 16
impl Key for Network {
    fn put(&self, out: &mut Vec<u8>) {
        let (family, address) = match self.first {
            IpAddr::V4(v4) => (4, v4.to_ipv6_mapped()),
            IpAddr::V6(v6) => (6, v6),
        };
        out.extend([self.prefix, family]);
        out.extend(address.octets());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let [prefix, family] = first(bytes)?;
        let address = Ipv6Addr::from(first::<16>(bytes)?);
        let first = match family {
            4 => address.to_ipv4_mapped()?.into(),
            6 => address.into(),
            _ => return None,
        };
        Some(Self { first, prefix })
    }
}

/// Its characters.
impl Key for String {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.as_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Self::from_utf8(std::mem::take(bytes).to_vec()).ok()
    }
}

/// Tells other relays what is taken of one limit.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    others: Arc<dyn Others>,
    limit: Limit,
}

impl Teller {
    pub(super) fn new(others: Arc<dyn Others>, limit: Limit) -> Self {
        Self { others, limit }
    }

    /// How many units are told at once, of a burst.
    pub(super) fn step(burst: u32) -> u32 {
        (burst / TOLD_PART).max(1)
    }

    /// The word that so many units were taken.
    pub(super) fn used<K: Key>(&self, key: &K, units: u32) -> Words {
        let mut words = Words::default();
        self.put(key, units, &mut words);
        words
    }

    /// Appends it to others.
    pub(super) fn put<K: Key>(&self, key: &K, units: u32, words: &mut Words) {
        words.push(&Word::Used { limit: self.limit as u8, key: &bytes(key), units });
    }

    /// Keys that have not rested, and in what time they will have.
    pub(super) fn rests<K: Key>(&self, tired: impl Iterator<Item = (K, Duration)>, words: &mut Words) {
        for (key, time) in tired {
            words.push(&Word::Rests { limit: self.limit as u8, key: &bytes(&key), time });
        }
    }

    /// Says words.
    pub(super) fn tell(&self, words: Words) {
        words.tell(&*self.others);
    }
}

fn bytes<K: Key>(key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.put(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::net::IpAddr;
    use std::sync::{Mutex, Weak};

    use bytes::Bytes;

    use super::super::{Limiter, OneTime};
    use super::*;
    use crate::clock::ManualClock;
    use crate::config::{Limits, Rate};
    use crate::others::{Listener, MAX_DEBT, words};
    use crate::young::Young;

    const MINUTE: Duration = Duration::from_secs(60);

    const fn account(number: u8) -> AccountId {
        AccountId::from_bytes([number; 16])
    }

    /// What one relay said and the others did not hear yet.
    #[derive(Debug, Default)]
    struct Said(Mutex<Vec<Bytes>>);

    impl Others for Said {
        fn tell(&self, words: Bytes) {
            self.0.lock().unwrap().push(words);
        }

        fn listen(&self, _: Weak<dyn Listener>) {}
    }

    struct Relay {
        limiter: Limiter,
        said: Arc<Said>,
    }

    impl Relay {
        fn hear(&self, bytes: &[u8]) {
            for word in words(bytes) {
                match word {
                    Word::Used { limit, key, units } => self.limiter.used_elsewhere(limit, key, units),
                    Word::Rests { limit, key, time } => self.limiter.rests_elsewhere(limit, key, time),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Relays of one store.
    struct World {
        clock: Arc<ManualClock>,
        relays: Vec<Relay>,
    }

    impl World {
        fn new(count: usize, limits: &Limits) -> Self {
            let clock = Arc::new(ManualClock::new(1_000_000));
            let relay = |_| {
                let said = Arc::new(Said::default());
                let others: Arc<dyn Others> = Arc::<Said>::clone(&said);
                Relay { limiter: Limiter::among(limits, Arc::<ManualClock>::clone(&clock), Some(&others)), said }
            };
            Self { relays: (0..count).map(relay).collect(), clock }
        }

        /// All hear what was said. Says how many words that were.
        fn deliver(&self) -> usize {
            let mut count = 0;
            for (from, relay) in self.relays.iter().enumerate() {
                for said in relay.said.0.lock().unwrap().drain(..) {
                    count += words(&said).count();
                    self.relays.iter().enumerate().filter(|(to, _)| *to != from).for_each(|(_, to)| to.hear(&said));
                }
            }
            count
        }

        fn prune(&self) {
            self.relays.iter().for_each(|relay| relay.limiter.prune());
        }
    }

    fn limits(rate: Rate) -> Limits {
        Limits { lookups_per_device: rate, ..Limits::default() }
    }

    fn device() -> Address {
        Address { account: account(1), device: DeviceId::PRIMARY }
    }

    /// Seconds of one that asks every relay once each second, while words come `late` seconds after they were said at most. Says how
    /// much it got.
    fn greedy(world: &World, seconds: u64, late: u64) -> u64 {
        let mut got = 0;
        for second in 0..seconds {
            got += world.relays.iter().filter(|relay| relay.limiter.lookup(&device()).is_ok()).count() as u64;
            if second % late == 0 {
                world.deliver();
            }
            if second % 60 == 0 {
                world.prune();
            }
            world.clock.advance(Duration::from_secs(1));
        }
        got
    }

    #[test]
    fn one_that_spreads_over_relays_gets_what_one_relay_gives() {
        let (burst, per_hour, hours) = (160, 360, 3);
        for count in [1, 2, 8, 32] {
            let others = count as u64 - 1;
            let world = World::new(count, &limits(Rate { burst, per_hour }));
            // All at once, and so that each of the others has as much as possible that it did not tell.
            let takes = |relay: &Relay| {
                let got = relay.limiter.lookup(&device()).is_ok();
                world.deliver();
                got
            };
            for relay in &world.relays[1..] {
                assert!((1..burst / TOLD_PART).all(|_| takes(relay)));
            }
            for relay in &world.relays {
                let got = (0..2 * burst).filter(|_| takes(relay)).count();
                assert_eq!(
                    got,
                    if std::ptr::eq(relay, &world.relays[0]) { burst as usize } else { 0 },
                    "{count} relays"
                );
            }
            // And then what is regained, however it asks, and never more than it asks for at once and by and by.
            let got = greedy(&world, hours * 3600, 1);
            let (fair, more) = (u64::from(per_hour) * hours, others * u64::from(burst / TOLD_PART));
            assert!(got <= fair + more && got + more >= fair * 9 / 10, "{count} relays: {got} of {fair}, and {more}");
        }
    }

    #[test]
    fn one_that_stays_below_each_relays_notice_is_noticed_each_minute() {
        let (burst, per_hour, hours) = (1_600, 60, 6);
        let world = World::new(4, &limits(Rate { burst, per_hour }));
        // Each relay alone regains what is taken there, and would have nothing to tell at once.
        let mut got = 0;
        for _ in 0..hours * 60 {
            got += world.relays.iter().filter(|relay| relay.limiter.lookup(&device()).is_ok()).count();
            world.deliver();
            world.prune();
            world.clock.advance(MINUTE);
        }
        assert_eq!(got, 4 * 6 * 60, "the burst is not used up yet");
        let left: usize = (0..burst).filter(|_| world.relays[0].limiter.lookup(&device()).is_ok()).count();
        assert!((500..600).contains(&left), "{left}: three of four were taken from the burst");
    }

    #[test]
    fn what_is_taken_while_words_are_under_way_is_owed() {
        let (burst, per_hour, hours) = (100, 50, 40);
        let world = World::new(4, &limits(Rate { burst, per_hour }));
        let at_once = |world: &World| {
            let taken = |relay: &Relay| (0..burst).filter(|_| relay.limiter.lookup(&device()).is_ok()).count();
            world.relays.iter().map(taken).sum::<usize>()
        };
        assert_eq!(at_once(&world), 4 * 100, "none has heard anything");
        world.prune();
        world.deliver();
        world.clock.advance(Duration::from_secs(6 * 3600));
        assert_eq!(at_once(&world), 0, "three bursts are owed: six hours");
        world.clock.advance(Duration::from_secs(2 * 3600));
        assert_eq!(at_once(&world), 4 * 100, "eight hours regain four bursts");
        world.deliver();
        // Over time it gets no more by that than by asking one relay.
        let got = greedy(&world, hours * 3600, 600);
        assert!(got <= u64::from(per_hour) * hours + 300, "{got}");
        // What can be owed has an end, whatever others say.
        let mut key = Vec::new();
        device().put(&mut key);
        for _ in 0..10 * MAX_DEBT {
            world.relays[0].limiter.used_elsewhere(Limit::Lookups as u8, &key, u32::MAX);
            world.relays[1].limiter.rests_elsewhere(Limit::Lookups as u8, &key, Duration::MAX);
        }
        for relay in &world.relays[..2] {
            let whole = Duration::from_secs(2 * 3600);
            let wait = relay.limiter.lookup(&device()).unwrap_err();
            assert!(wait <= whole * MAX_DEBT && wait > whole * (MAX_DEBT - 2), "{wait:?}");
        }
    }

    #[test]
    fn a_relay_that_is_newly_reached_knows_what_was_used_up() {
        let world = World::new(3, &limits(Rate { burst: 50, per_hour: 1 }));
        assert_eq!((0..60).filter(|_| world.relays[0].limiter.lookup(&device()).is_ok()).count(), 50);
        // The third hears nothing of it, and is then told twice.
        for to in [1, 2, 2] {
            let mut summary = Words::default();
            world.relays[0].limiter.summary(&mut summary);
            summary.into_pieces().iter().for_each(|words| world.relays[to].hear(words));
        }
        assert!(world.relays[1].limiter.lookup(&device()).is_err());
        let wait = world.relays[2].limiter.lookup(&device()).unwrap_err();
        assert!(wait <= Duration::from_secs(3600), "{wait:?}: hearing it twice is as once");
    }

    #[test]
    fn a_relay_that_is_newly_reached_knows_of_places_too() {
        let world = World::new(2, &Limits { sealed_per_address: Rate { burst: 50, per_hour: 1 }, ..Limits::default() });
        let sealed = |relay: usize, from: &str| world.relays[relay].limiter.sealed(from.parse::<IpAddr>().unwrap());
        assert_eq!((0..60).filter(|_| sealed(0, "192.0.2.1").is_ok()).count(), 50);
        let mut summary = Words::default();
        world.relays[0].limiter.summary(&mut summary);
        summary.into_pieces().iter().for_each(|words| world.relays[1].hear(words));
        assert!(sealed(1, "192.0.2.1").is_err());
        assert_eq!(sealed(1, "192.0.2.2"), Ok(()));
    }

    #[test]
    fn a_strangers_one_time_prekeys_and_registrations_are_counted_over_relays() {
        let limits = Limits { registrations_per_address: Rate { burst: 2, per_hour: 1 }, ..Limits::default() };
        let world = World::new(2, &limits);
        let takes = |relay: usize, taker: u8| {
            let granted = world.relays[relay].limiter.one_time_prekeys(&account(taker), &account(1));
            world.deliver();
            granted
        };
        assert_eq!(takes(0, 2), OneTime::All);
        assert_eq!(takes(1, 2), OneTime::BeyondReserve, "the second, at another relay");
        assert_eq!((takes(0, 2), takes(1, 2)), (OneTime::None, OneTime::None));
        for taker in 3..12 {
            assert_eq!((takes(0, taker), takes(1, taker)), (OneTime::All, OneTime::BeyondReserve), "{taker}");
        }
        assert_eq!(takes(1, 12), OneTime::None, "20 of an account's, over both");

        let registers = |relay: usize, from: &str| {
            let done = world.relays[relay].limiter.registration(from.parse::<IpAddr>().unwrap()).is_ok();
            world.deliver();
            done
        };
        assert!(registers(0, "192.0.2.1") && registers(1, "192.0.2.1"));
        assert!(!registers(0, "192.0.2.1") && !registers(1, "192.0.2.1"));
        assert!(registers(0, "192.0.2.2"), "another place");
        // A /48 has sixteen times of what one /64 has, of which 2 + 2 + … in 2^16 of them.
        let wide = |n: u32| format!("2001:db8:0:{n:x}::1");
        assert_eq!((0..100).filter(|n| registers((n % 2) as usize, &wide(*n * 256))).count(), 32);
    }

    /// A limit, limits of which it alone has few units, and what takes one of them.
    type Asked = (Limit, Limits, fn(&Limiter) -> bool);

    /// What each of the limits is asked with, so that it alone has few units.
    fn asks() -> Vec<Asked> {
        let few = Rate { burst: 4, per_hour: 1 };
        let many = Limits::default();
        fn of(limits: Limits, limit: Limit, ask: fn(&Limiter) -> bool) -> Asked {
            (limit, limits, ask)
        }
        vec![
            of(Limits { requests_per_device: few, ..many }, Limit::Requests, |l| l.request(&device()).is_ok()),
            of(Limits { registrations_per_address: few, ..many }, Limit::Registrations, |l| {
                l.registration(IpAddr::from([192, 0, 2, 1])).is_ok()
            }),
            of(Limits { lookups_per_device: few, ..many }, Limit::Lookups, |l| l.lookup(&device()).is_ok()),
            of(Limits { bundles_per_device: few, ..many }, Limit::Bundles, |l| l.bundles(&device(), 1).is_ok()),
            of(Limits { sealed_per_address: few, ..many }, Limit::Sealed, |l| {
                l.sealed(IpAddr::from([192, 0, 2, 1])).is_ok()
            }),
            of(Limits { kib_per_account: few, ..many }, Limit::Bytes, |l| l.bytes(&account(1), 9).is_ok()),
            of(Limits { sealed_kib_per_address: few, ..many }, Limit::SealedBytes, |l| {
                l.sealed_bytes(IpAddr::from([192, 0, 2, 1]), 9).is_ok()
            }),
            of(Limits { bundles_per_taker: few, ..many }, Limit::BundlesByTaker, |l| {
                l.bundles_of(&account(2), &account(1), 1).is_ok()
            }),
            of(
                Limits { one_time_prekeys_per_taker: few, one_time_prekeys_per_account: NEVER, ..many },
                Limit::OneTimeByTaker,
                |l| l.one_time_prekeys(&account(2), &account(1)) != OneTime::None,
            ),
            of(
                Limits { one_time_prekeys_per_account: few, one_time_prekeys_per_taker: NEVER, ..many },
                Limit::OneTimePrekeys,
                |l| l.one_time_prekeys(&account(2), &account(1)) != OneTime::None,
            ),
            of(Limits { reports_per_account: few, ..many }, Limit::Reports, |l| l.report(&account(1)).is_ok()),
            of(
                Limits { phone_codes_per_account: few, phone_codes_per_number: NEVER, ..many },
                Limit::PhoneCodesByAccount,
                |l| l.phone_code(&account(1), "+49").is_ok(),
            ),
            of(
                Limits { phone_codes_per_number: few, phone_codes_per_account: NEVER, ..many },
                Limit::PhoneCodesByNumber,
                |l| l.phone_code(&account(1), "+49").is_ok(),
            ),
            of(Limits { numbers_checked_per_account: few, ..many }, Limit::NumbersChecked, |l| {
                l.numbers_checked(&account(1), 1).is_ok()
            }),
        ]
    }

    /// So much that it never comes to an end.
    const NEVER: Rate = Rate { burst: 10_000, per_hour: 10_000 };

    #[test]
    fn every_limit_that_protects_what_is_shared_counts_at_the_others_at_once_and_when_they_are_reached() {
        let asks = asks();
        assert!(asks.iter().map(|(limit, ..)| *limit).eq(Limit::ALL));
        for (limit, limits, ask) in asks {
            let world = World::new(3, &limits);
            assert_eq!((0..9).filter(|_| ask(&world.relays[0].limiter)).count(), 4, "{limit:?}: the burst");
            let said: Vec<Bytes> = world.relays[0].said.0.lock().unwrap().drain(..).collect();
            let told: u32 = said
                .iter()
                .flat_map(|said| words(said))
                .map(|word| match word {
                    Word::Used { limit: number, units, .. } if number == limit as u8 => units,
                    _ => 0,
                })
                .sum();
            // An address counts for each of the networks that it is in.
            assert!(told >= 4 && told.is_multiple_of(4), "{limit:?}: what was taken, under its own number: {told}");
            said.iter().for_each(|said| world.relays[1].hear(said));
            assert!(!ask(&world.relays[1].limiter), "{limit:?}: used up at another relay");
            // The third heard nothing until it was reached.
            let mut summary = Words::default();
            world.relays[0].limiter.summary(&mut summary);
            summary.into_pieces().iter().for_each(|words| world.relays[2].hear(words));
            assert!(!ask(&world.relays[2].limiter), "{limit:?}: used up, in the summary");
        }
    }

    #[test]
    fn every_limit_tells_the_rest_each_minute() {
        for (limit, _, ask) in asks() {
            // One unit is no sixteenth of it.
            let wide = Rate { burst: 1_000, per_hour: 1 };
            let limits = Limits {
                requests_per_device: wide,
                registrations_per_address: wide,
                lookups_per_device: wide,
                bundles_per_device: wide,
                sealed_per_address: wide,
                kib_per_account: wide,
                sealed_kib_per_address: wide,
                bundles_per_taker: wide,
                one_time_prekeys_per_taker: wide,
                one_time_prekeys_per_account: wide,
                reports_per_account: wide,
                phone_codes_per_account: wide,
                phone_codes_per_number: wide,
                numbers_checked_per_account: wide,
                ..Limits::default()
            };
            let world = World::new(2, &limits);
            assert!(ask(&world.relays[0].limiter));
            assert!(world.relays[0].said.0.lock().unwrap().is_empty(), "{limit:?}: one of a thousand");
            world.clock.advance(MINUTE);
            world.prune();
            let said = std::mem::take(&mut *world.relays[0].said.0.lock().unwrap());
            let own = |word: &Word<'_>| matches!(word, Word::Used { limit: of, units: 1, .. } if *of == limit as u8);
            assert!(said.iter().flat_map(|said| words(said)).any(|word| own(&word)), "{limit:?}");
        }
    }

    #[test]
    fn one_that_asks_for_little_is_told_of_once_a_minute_at_most() {
        let world = World::new(2, &Limits::default());
        let mut told = 0;
        for _ in 0..10 {
            for _ in 0..20 {
                world.relays[0].limiter.request(&device()).unwrap();
                world.relays[0].limiter.bytes(&account(1), 3_000).unwrap();
            }
            assert_eq!(world.deliver(), 0);
            world.clock.advance(MINUTE);
            world.prune();
            told += world.deliver();
        }
        assert_eq!(told, 2 * 10, "requests and bytes");
        world.prune();
        assert_eq!(world.deliver(), 0);
    }

    #[test]
    fn a_first_day_is_counted_over_relays() {
        let said = [(); 2].map(|()| Arc::new(Said::default()));
        let youngs =
            said.each_ref().map(|said| Young::among(160_000, Some(Arc::<Said>::clone(said) as Arc<dyn Others>)));
        let deliver = || {
            for (from, to) in [(0, 1), (1, 0)] {
                for bytes in said[from].0.lock().unwrap().drain(..) {
                    for word in words(&bytes) {
                        match word {
                            Word::Registered(account, at) => youngs[to].registered(account, at),
                            Word::Submitted(account, bytes) => youngs[to].submitted_elsewhere(&account, bytes),
                            other => panic!("{other:?}"),
                        }
                    }
                }
            }
        };
        youngs[0].register(account(1), 5);
        deliver();
        assert!(youngs[1].is_young(&account(1), 6), "it is young at the other one, too");
        let mut got = 0;
        for turn in 0..2_000 {
            if youngs[turn % 2].submit(&account(1), 744, 6).is_ok() {
                got += 1_000;
            }
            deliver();
        }
        assert!((160_000..=170_000).contains(&got), "{got}");
        // The rest each minute.
        youngs.iter().for_each(|young| young.prune(7));
        deliver();
        assert!(youngs.iter().all(|young| young.submit(&account(1), 0, 8).is_err()));
        youngs[0].register(account(2), 5);
        assert_eq!(youngs[0].submit(&account(2), 744, 8), Ok(()));
        deliver();
        let known = |young: &Young| young.submitted(8).iter().any(|of| *of == (account(2), 1_000));
        assert!(known(&youngs[0]) && !known(&youngs[1]), "less than a part that is told at once");
        youngs[0].prune(8);
        deliver();
        assert!(known(&youngs[1]));
    }

    #[test]
    fn keys_are_read_as_written_and_limits_keep_their_numbers() {
        fn again<K: Key + Debug>(one: &K) {
            let mut written = bytes(one);
            assert_eq!(key::<K>(&written).as_ref(), Some(one));
            written.push(0);
            assert_eq!(key::<K>(&written), None, "more than a key");
            assert_eq!(key::<K>(&written[..written.len() - 2]), None, "less than a key");
        }
        again(&account(7));
        again(&device());
        again(&(account(1), account(2)));
        for (first, prefix) in [("192.0.2.0", 24), ("2001:db8::", 48), ("::ffff:192.0.2.1", 128)] {
            again(&Network { first: first.parse().unwrap(), prefix });
        }
        assert_eq!(key::<String>("+49".as_bytes()), Some("+49".to_owned()));
        assert_eq!(key::<String>(&[0xff]), None);
        let numbers: Vec<u8> = Limit::ALL.iter().map(|limit| *limit as u8).collect();
        assert_eq!(numbers, (1..=14).collect::<Vec<u8>>());
        assert_eq!((Limit::of(0), Limit::of(10), Limit::of(15)), (None, Some(Limit::OneTimePrekeys), None));
        // A network that no rate has is left out.
        let world = World::new(1, &Limits::default());
        let odd = bytes(&Network { first: "192.0.2.0".parse().unwrap(), prefix: 20 });
        for (limit, key) in [(2, &odd[..]), (2, b"x"), (99, b"x"), (1, b"x")] {
            world.relays[0].limiter.used_elsewhere(limit, key, 1);
        }
        let mut summary = Words::default();
        world.relays[0].limiter.summary(&mut summary);
        assert!(summary.into_pieces().is_empty());
    }
}

//! How much one device, address or account may ask for. The numbers are in [`crate::config::Limits`]; what no operator
//! should have to think about is a constant here.
//!
//! State is in memory only and empty after a restart. Keys that have rested are forgotten by [`Limiter::tidy`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::RateLimiter;
use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_types::{AccountId, Address};

use crate::clock::Clock;
use crate::config::{Limits, Rate};

/// From the first packet to a finished TLS handshake.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// From a finished handshake to an authenticated device: two round trips on a bad mobile network.
pub const AUTHENTICATION_DEADLINE: Duration = Duration::from_secs(15);

/// Tries to authenticate or register on one connection: a few taken names, not a search.
pub const AUTHENTICATION_ATTEMPTS: u32 = 5;

/// Bytes of a frame from a connection that has not said Hello, which has a dozen.
pub const MAX_UNAUTHENTICATED_FRAME_BYTES: usize = 4 * 1024;

/// Bytes of a frame from a connection that has said Hello: the largest sealed envelope with everything around it.
pub const MAX_SEALED_FRAME_BYTES: usize = MAX_CIPHERTEXT_BYTES + 1024;

/// A connection that submits sealed envelopes and says nothing for this long is closed: nobody answers for it, and it
/// costs no more than a handshake to come back.
pub const SEALED_IDLE: Duration = Duration::from_secs(60);

/// A client that lets the relay wait this long before it takes any more bytes does not read.
pub const WRITE_STALL: Duration = Duration::from_secs(20);

/// A frame that has begun must be whole after this: one byte a second is no client. 128 KiB in that time are 8.7 kbit/s.
pub const FRAME_DEADLINE: Duration = Duration::from_secs(120);

/// Requests of one connection that were read and not answered yet: at 20 ms for a durable answer some 3,000 a second.
/// Over it, the relay stops reading.
pub const MAX_REQUESTS_IN_FLIGHT: usize = 64;

/// Bytes of those requests, so that 64 large ones do not hold 6 MiB: two of the largest, or 64 of 4 KiB.
pub const MAX_BYTES_IN_FLIGHT: usize = 256 * 1024;

/// Bytes of answers and deliveries that wait for one connection's send window before no more are made.
pub const MAX_UNSENT_BYTES: usize = 64 * 1024;

/// Handshakes under way before new peers must first prove their address (QUIC Retry): some 0.1 s of one core's work.
pub const RETRY_ABOVE_HANDSHAKES: usize = 100;

/// Handshakes under way in all. Over it, new connections are refused.
pub const MAX_HANDSHAKES: usize = 1_000;

/// Handshakes from one address while so many are under way that addresses are asked for proof. One costs half a millisecond
/// of a core; whoever begins them without end gets no more than this, and connections that stand are served meanwhile.
pub const HANDSHAKES_UNDER_LOAD: Rate = Rate { burst: 128, per_hour: 10 * 3600 };

/// Streams beside the first that are refused before the connection is closed.
pub const MAX_REFUSED_STREAMS: u32 = 8;

/// Every kind of rate limit.
#[derive(Debug)]
pub struct Limiter {
    clock: Arc<dyn Clock>,
    requests: Keyed<Address>,
    handshakes: Keyed<Network>,
    registrations: Keyed<Network>,
    lookups: Keyed<Address>,
    bundles: Keyed<Address>,
    sealed: Keyed<Network>,
    one_time_prekeys: Keyed<AccountId>,
    reports: Keyed<AccountId>,
    phone_codes_by_account: Keyed<AccountId>,
    phone_codes_by_number: Keyed<String>,
    numbers_checked: Keyed<AccountId>,
}

impl Limiter {
    /// Starts with everybody rested.
    pub fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Self {
        Self {
            requests: Keyed::new(limits.requests_per_device, &clock),
            handshakes: Keyed::new(HANDSHAKES_UNDER_LOAD, &clock),
            registrations: Keyed::new(limits.registrations_per_address, &clock),
            lookups: Keyed::new(limits.lookups_per_device, &clock),
            bundles: Keyed::new(limits.bundles_per_device, &clock),
            sealed: Keyed::new(limits.sealed_per_address, &clock),
            one_time_prekeys: Keyed::new(limits.one_time_prekeys_per_account, &clock),
            reports: Keyed::new(limits.reports_per_account, &clock),
            phone_codes_by_account: Keyed::new(limits.phone_codes_per_account, &clock),
            phone_codes_by_number: Keyed::new(limits.phone_codes_per_number, &clock),
            numbers_checked: Keyed::new(limits.numbers_checked_per_account, &clock),
            clock,
        }
    }

    /// One request of a device; how long to wait before it is served otherwise.
    ///
    /// # Errors
    /// The wait.
    pub fn request(&self, device: &Address) -> Result<(), Duration> {
        self.requests.take(device, 1, &*self.clock)
    }

    /// One handshake, under load, with an address that has proven to be the peer's.
    ///
    /// # Errors
    /// When to try again.
    pub fn handshake(&self, from: IpAddr) -> Result<(), Duration> {
        self.handshakes.take(&Network::of(from), 1, &*self.clock)
    }

    /// One registration from an address.
    ///
    /// # Errors
    /// When to try again.
    pub fn registration(&self, from: IpAddr) -> Result<(), Duration> {
        self.registrations.take(&Network::of(from), 1, &*self.clock)
    }

    /// One account lookup by a device.
    ///
    /// # Errors
    /// When to try again.
    pub fn lookup(&self, device: &Address) -> Result<(), Duration> {
        self.lookups.take(device, 1, &*self.clock)
    }

    /// So many bundles for a device.
    ///
    /// # Errors
    /// When to try again.
    pub fn bundles(&self, device: &Address, count: u32) -> Result<(), Duration> {
        self.bundles.take(device, count, &*self.clock)
    }

    /// One sealed envelope from an address.
    ///
    /// # Errors
    /// When to try again.
    pub fn sealed(&self, from: IpAddr) -> Result<(), Duration> {
        self.sealed.take(&Network::of(from), 1, &*self.clock)
    }

    /// One-time prekeys for one bundle of an account, whoever asks.
    ///
    /// # Errors
    /// When to try again.
    pub fn one_time_prekeys(&self, account: &AccountId) -> Result<(), Duration> {
        self.one_time_prekeys.take(account, 1, &*self.clock)
    }

    /// One report of an account.
    ///
    /// # Errors
    /// When to try again.
    pub fn report(&self, account: &AccountId) -> Result<(), Duration> {
        self.reports.take(account, 1, &*self.clock)
    }

    /// One code, asked for by an account, for a number.
    ///
    /// # Errors
    /// When to try again.
    pub fn phone_code(&self, account: &AccountId, number: &str) -> Result<(), Duration> {
        self.phone_codes_by_account.take(account, 1, &*self.clock)?;
        self.phone_codes_by_number.take(&number.to_owned(), 1, &*self.clock)
    }

    /// So many numbers of other people, compared with those that accounts verified.
    ///
    /// # Errors
    /// When to try again.
    pub fn numbers_checked(&self, account: &AccountId, count: usize) -> Result<(), Duration> {
        self.numbers_checked.take(account, u32::try_from(count).unwrap_or(u32::MAX), &*self.clock)
    }

    /// Forgets everybody who has rested, so that memory follows those who are active.
    pub fn tidy(&self) {
        self.requests.tidy();
        self.handshakes.tidy();
        self.registrations.tidy();
        self.lookups.tidy();
        self.bundles.tidy();
        self.sealed.tidy();
        self.one_time_prekeys.tidy();
        self.reports.tidy();
        self.phone_codes_by_account.tidy();
        self.phone_codes_by_number.tidy();
        self.numbers_checked.tidy();
    }
}

/// One rate for many keys.
struct Keyed<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, HashMapStateStore<K>, Elapsed, NoOpMiddleware<Moment>>,
    burst: u32,
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for Keyed<K> {
    // The keys are addresses.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").field("keys", &self.limiter.len()).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    fn new(rate: Rate, clock: &Arc<dyn Clock>) -> Self {
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        let every = Duration::from_secs(3600) / rate.per_hour.max(1);
        // 3600 s / u32::MAX is 838 ns: never zero, so there always is a quota.
        let quota = governor::Quota::with_period(every).unwrap_or(governor::Quota::per_hour(burst)).allow_burst(burst);
        Self { limiter: RateLimiter::hashmap_with_clock(quota, Elapsed(Arc::clone(clock))), burst: burst.get() }
    }

    fn take(&self, key: &K, count: u32, clock: &dyn Clock) -> Result<(), Duration> {
        let Some(count) = NonZeroU32::new(count.min(self.burst)) else { return Ok(()) };
        match self.limiter.check_key_n(key, count) {
            Ok(Err(not_until)) => Err(not_until.wait_time_from(Moment(clock.elapsed())).max(Duration::from_millis(1))),
            // The other error is a count over the burst, which `min` above rules out.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    fn tidy(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// The relay's clock as `governor` wants it.
#[derive(Debug)]
struct Elapsed(Arc<dyn Clock>);

impl GovernorClock for Elapsed {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(self.0.elapsed())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Moment(Duration);

impl std::ops::Add<governor::nanos::Nanos> for Moment {
    type Output = Self;

    fn add(self, other: governor::nanos::Nanos) -> Self {
        Self(self.0.saturating_add(other.into()))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> governor::nanos::Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: governor::nanos::Nanos) -> Self {
        Self(self.0.checked_sub(duration.into()).unwrap_or(self.0))
    }
}

/// What counts as one place: an IPv4 address, or an IPv6 /64, which is what one customer gets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Network(IpAddr);

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(v4.into()),
            IpAddr::V6(v6) => Self(std::net::Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into()),
        }
    }
}

/// Counts connections: in all, and from one place.
#[derive(Debug)]
pub struct ConnectionCount {
    max: usize,
    max_per_network: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_network: HashMap<Network, usize>,
}

/// One connection's place. Given back when dropped.
#[derive(Debug)]
pub struct Place {
    count: Arc<ConnectionCount>,
    network: Network,
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPlace {
    /// The relay serves as many connections as it may.
    Full,
    /// This address has as many as it may.
    AddressFull,
}

impl ConnectionCount {
    /// Nobody is there yet.
    pub fn new(limits: &Limits) -> Arc<Self> {
        let size = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        Arc::new(Self {
            max: size(limits.connections),
            max_per_network: size(limits.connections_per_address),
            open: Mutex::default(),
        })
    }

    /// A place for a connection from `address`, whose owner has proven that it can receive there.
    ///
    /// # Errors
    /// See [`NoPlace`].
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, NoPlace> {
        let network = Network::of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.max {
            return Err(NoPlace::Full);
        }
        let here = open.by_network.entry(network).or_default();
        if *here >= self.max_per_network {
            return Err(NoPlace::AddressFull);
        }
        *here += 1;
        open.total += 1;
        Ok(Place { count: Arc::clone(self), network })
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// How many may be open.
    pub const fn max(&self) -> usize {
        self.max
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.count.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
        if let Entry::Occupied(mut here) = open.by_network.entry(self.network) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use kuvert_types::DeviceId;

    fn device(number: u8) -> Address {
        Address { account: AccountId::from_bytes([number; 16]), device: DeviceId::PRIMARY }
    }

    #[test]
    fn a_rate_allows_its_burst_and_then_what_it_regains() {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let limits = Limits { lookups_per_device: Rate { burst: 3, per_hour: 60 }, ..Limits::default() };
        let limiter = Limiter::new(&limits, clock.clone());
        for _ in 0..3 {
            assert_eq!(limiter.lookup(&device(1)), Ok(()));
        }
        let wait = limiter.lookup(&device(1)).unwrap_err();
        assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
        assert_eq!(limiter.lookup(&device(2)), Ok(()), "another device is not concerned");
        clock.advance(wait);
        assert_eq!(limiter.lookup(&device(1)), Ok(()));
        assert!(limiter.lookup(&device(1)).is_err());
    }

    #[test]
    fn under_load_an_address_has_only_so_many_handshakes() {
        let clock = Arc::new(ManualClock::new(0));
        let limiter = Limiter::new(&Limits::default(), clock.clone());
        let [flooding, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let admitted = (0..1_000).filter(|_| limiter.handshake(flooding).is_ok()).count();
        assert_eq!(admitted, 128);
        assert_eq!(limiter.handshake(other), Ok(()));
        clock.advance(Duration::from_secs(1));
        assert_eq!((0..1_000).filter(|_| limiter.handshake(flooding).is_ok()).count(), 10);
    }

    #[test]
    fn who_has_rested_is_forgotten() {
        let clock = Arc::new(ManualClock::new(0));
        let limiter = Limiter::new(&Limits::default(), clock.clone());
        for number in 0..100 {
            limiter.request(&device(number)).unwrap();
        }
        assert_eq!(limiter.requests.limiter.len(), 100);
        clock.advance(Duration::from_secs(3600));
        limiter.tidy();
        assert_eq!(limiter.requests.limiter.len(), 0);
    }

    #[test]
    fn more_than_the_burst_at_once_takes_the_whole_burst() {
        let limits = Limits { bundles_per_device: Rate { burst: 4, per_hour: 1 }, ..Limits::default() };
        let limiter = Limiter::new(&limits, Arc::new(ManualClock::new(0)));
        assert_eq!(limiter.bundles(&device(1), 16), Ok(()));
        assert!(limiter.bundles(&device(1), 1).is_err());
        assert_eq!(limiter.bundles(&device(1), 0), Ok(()));
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let limits = Limits { connections: 3, connections_per_address: 2, ..Limits::default() };
        let count = ConnectionCount::new(&limits);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = count.enter(address("2001:db8::1")).unwrap();
        let _second = count.enter(address("2001:db8::2")).unwrap();
        assert_eq!(count.enter(address("2001:db8::3")).unwrap_err(), NoPlace::AddressFull, "one /64 is one place");
        let _third = count.enter(address("192.0.2.1")).unwrap();
        assert_eq!(count.enter(address("192.0.2.2")).unwrap_err(), NoPlace::Full);
        drop(first);
        assert!(count.enter(address("2001:db8::3")).is_ok());
        assert_eq!(count.open(), 2);
        assert_eq!(Network::of(address("::ffff:192.0.2.1")), Network::of(address("192.0.2.1")));
    }
}

//! Which addresses share a limit [KV-092], and how many connections are open.
//!
//! A customer of a provider gets an IPv4 address, or a whole IPv6 network: a /64, often a /56, a company a /48. A customer that has a wide one
//! would have as many places as it has small ones in it, so wider networks have a share of their own: some times that of one
//! place.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::rate::Keyed;
use super::told::{self, Teller};
use crate::config::{Limits, Rate};
use crate::others::Words;

/// Of an IPv6 network of 8 bits more than one place: how many times one place's share it has.
const HOUSE: u32 = 4;

/// The same of an IPv6 /48 and of an IPv4 /24.
const SITE: u32 = 16;

/// How wide a network is, by how many times the share of one place it has.
pub(super) const TIERS: [u32; 3] = [1, HOUSE, SITE];

/// Addresses that share a limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Network {
    /// Its first address.
    pub(super) first: IpAddr,
    /// Bits that all its addresses have in common.
    pub(super) prefix: u8,
}

impl Network {
    fn v4(address: Ipv4Addr, prefix: u8) -> Self {
        let mask = u32::MAX << (32 - u32::from(prefix));
        Self { first: Ipv4Addr::from_bits(address.to_bits() & mask).into(), prefix }
    }

    fn v6(address: Ipv6Addr, prefix: u8) -> Self {
        let mask = u128::MAX << (128 - u32::from(prefix));
        Self { first: Ipv6Addr::from_bits(address.to_bits() & mask).into(), prefix }
    }

    /// The networks that an address lies in, in the order of [`TIERS`]. All of a machine's own clients have its loopback
    /// address: no other customer comes from there, and there is no network around it.
    fn around(address: IpAddr) -> [Option<Self>; TIERS.len()] {
        match address.to_canonical() {
            IpAddr::V4(v4) if v4.is_loopback() => [Some(Self::v4(v4, 32)), None, None],
            IpAddr::V4(v4) => [Some(Self::v4(v4, 32)), None, Some(Self::v4(v4, 24))],
            IpAddr::V6(v6) if v6.is_loopback() => [Some(Self::v6(v6, 64)), None, None],
            IpAddr::V6(v6) => [64, 56, 48].map(|prefix| Some(Self::v6(v6, prefix))),
        }
    }
}

/// A rate of each place, and of the networks around it.
#[derive(Debug)]
pub(super) struct RatePerPlace([Keyed<Network>; TIERS.len()]);

impl RatePerPlace {
    pub(super) fn new(rate: Rate) -> Self {
        let times = |factor: u32| Rate {
            burst: rate.burst.saturating_mul(factor),
            per_hour: rate.per_hour.saturating_mul(factor),
        };
        Self(TIERS.map(|factor| Keyed::new(times(factor))))
    }

    /// See [`Keyed::told`].
    pub(super) fn told(self, teller: Option<&Teller>) -> Self {
        Self(self.0.map(|rate| rate.told(teller.cloned())))
    }

    /// Takes `count` from everything around an address, or nothing.
    ///
    /// # Errors
    /// When to try again.
    pub(super) fn take(&self, from: IpAddr, count: u32, now: Duration) -> Result<(), Duration> {
        let networks = Network::around(from);
        let around = || self.0.iter().zip(networks).filter_map(|(rate, network)| Some((rate, network?)));
        // What one network has used up is not to use up the others.
        for (rate, network) in around() {
            rate.wait(&network, count, now)?;
        }
        around().try_for_each(|(rate, network)| rate.take(network, count, now))
    }

    /// By how wide a network is.
    pub(super) const fn tiers(&self) -> &[Keyed<Network>; TIERS.len()] {
        &self.0
    }

    /// The rate of the networks that a key, as bytes, is one of.
    pub(super) fn of_key(&self, bytes: &[u8]) -> Option<&Keyed<Network>> {
        let network: Network = told::key(bytes)?;
        let tier = Network::around(network.first).into_iter().position(|around| around == Some(network))?;
        self.0.get(tier)
    }

    /// See [`Keyed::summary`].
    pub(super) fn summary(&self, now: Duration, words: &mut Words) {
        self.0.iter().for_each(|rate| rate.summary(now, words));
    }

    pub(super) fn prune(&self, now: Duration) {
        self.0.iter().for_each(|rate| rate.prune(now));
    }
}

/// Counts connections: in all, and from one place and the networks around it.
#[derive(Debug)]
pub struct ConnectionCount {
    max: usize,
    max_per_network: [usize; TIERS.len()],
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
    networks: [Option<Network>; TIERS.len()],
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPlace {
    /// The relay serves as many connections as it may.
    Full,
    /// This address, or a network around it, has as many as it may.
    AddressFull,
}

impl ConnectionCount {
    /// No connection is there yet.
    pub fn new(limits: &Limits) -> Arc<Self> {
        Self::bounded(limits.connections, limits.connections_per_address)
    }

    /// So many in all and from one place, of something that is counted as connections are.
    pub fn bounded(all: u32, place: u32) -> Arc<Self> {
        let size = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        // Half for all others; but what the operator gives one place, a network that has the place in it has, too.
        let most = (all / 2).max(place);
        Arc::new(Self {
            max: size(all),
            max_per_network: TIERS.map(|factor| size(place.saturating_mul(factor).min(most))),
            open: Mutex::default(),
        })
    }

    /// A place for a connection from `address`, whose owner has proven that it can receive there.
    ///
    /// # Errors
    /// See [`NoPlace`].
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, NoPlace> {
        let networks = Network::around(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.max {
            return Err(NoPlace::Full);
        }
        let full = |(network, max): (&Option<Network>, &usize)| {
            network.is_some_and(|network| open.by_network.get(&network).is_some_and(|here| here >= max))
        };
        if networks.iter().zip(&self.max_per_network).any(full) {
            return Err(NoPlace::AddressFull);
        }
        for network in networks.into_iter().flatten() {
            *open.by_network.entry(network).or_default() += 1;
        }
        open.total += 1;
        Ok(Place { count: Arc::clone(self), networks })
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
        for network in self.networks.into_iter().flatten() {
            if let Entry::Occupied(mut here) = open.by_network.entry(network) {
                *here.get_mut() -= 1;
                if *here.get() == 0 {
                    here.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The address with this number in a network of so many bits.
    fn v6(network: &str, bits: u32, number: u32) -> IpAddr {
        let first = network.parse::<Ipv6Addr>().unwrap().to_bits();
        Ipv6Addr::from_bits(first | u128::from(number) << (128 - bits)).into()
    }

    fn v4(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(Ipv4Addr::new(198, 51, 100, 0).to_bits() + number).into()
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let limits = Limits { connections: 3, connections_per_address: 2, ..Limits::default() };
        let count = ConnectionCount::new(&limits);
        assert_eq!((count.open(), count.max()), (0, 3));
        let first = count.enter(address("2001:db8::1")).unwrap();
        let _second = count.enter(address("2001:db8::2")).unwrap();
        assert_eq!(count.enter(address("2001:db8::3")).unwrap_err(), NoPlace::AddressFull, "one /64 is one place");
        let _third = count.enter(address("192.0.2.1")).unwrap();
        assert_eq!(count.enter(address("192.0.2.2")).unwrap_err(), NoPlace::Full);
        drop(first);
        assert!(count.enter(address("2001:db8::3")).is_ok());
        assert_eq!(count.open(), 2);
        assert_eq!(Network::around(address("::ffff:192.0.2.1")), Network::around(address("192.0.2.1")));
    }

    /// How many connections get a place when `from` says where each comes from. They are held until then.
    fn admitted(limits: &Limits, from: impl Fn(u32) -> IpAddr) -> usize {
        let count = ConnectionCount::new(limits);
        let places: Vec<_> = (0..limits.connections).map_while(|number| count.enter(from(number)).ok()).collect();
        let admitted = places.len();
        drop(places);
        assert!(count.open.lock().unwrap().by_network.is_empty(), "nothing is remembered");
        admitted
    }

    #[test]
    fn a_wide_network_does_not_take_all_connections() {
        let limits = Limits::default();
        assert_eq!(admitted(&limits, |number| v6("2001:db8::", 128, number)), 512, "a /64");
        assert_eq!(admitted(&limits, |number| v6("2001:db8::", 64, number % 256)), 4 * 512, "a /56");
        assert_eq!(admitted(&limits, |number| v6("2001:db8::", 56, number % 256)), 16 * 512, "a /48");
        assert_eq!(admitted(&limits, |_| v4(7)), 512, "an IPv4 address");
        assert_eq!(admitted(&limits, |number| v4(number % 256)), 16 * 512, "a /24");
        let small = Limits { connections: 1_000, connections_per_address: 200, ..limits };
        assert_eq!(admitted(&small, |number| v6("2001:db8::", 56, number % 256)), 500, "half of all");
        assert_eq!(admitted(&small, |number| v4(number % 256)), 500, "half of all");
        assert_eq!(admitted(&small, |number| v4(number * 256)), 1_000, "everywhere");
    }

    #[test]
    fn loopback_is_one_place_and_nothing_around_it() {
        let limits = Limits { connections: 1_000, connections_per_address: 900, ..Limits::default() };
        assert_eq!(admitted(&limits, |_| address("127.0.0.1")), 900);
        assert_eq!(admitted(&limits, |_| address("::1")), 900);
        let limits = Limits { connections_per_address: 2, ..limits };
        assert_eq!(admitted(&limits, |number| Ipv4Addr::from_bits(0x7F00_0001 + number / 2).into()), 1_000);
    }

    #[test]
    fn a_wide_network_has_some_times_the_rate_of_one_place() {
        let rate = || RatePerPlace::new(Rate { burst: 10, per_hour: 3600 });
        let admitted = |rate: &RatePerPlace, second, from: &dyn Fn(u32) -> IpAddr| {
            let now = Duration::from_secs(second);
            (0..2_000).filter(|number| rate.take(from(*number), 1, now).is_ok()).count()
        };
        let sources: [(usize, &dyn Fn(u32) -> IpAddr); 6] = [
            (1, &|number| v6("2001:db8::", 128, number)),
            (4, &|number| v6("2001:db8::", 64, number % 256)),
            (16, &|number| v6("2001:db8::", 56, number % 256)),
            (1, &|_| v4(7)),
            (16, &|number| v4(number % 256)),
            (1, &|_| address("127.0.0.1")),
        ];
        for (number, (times, from)) in sources.into_iter().enumerate() {
            let rate = rate();
            assert_eq!(admitted(&rate, 0, from), 10 * times, "{number}");
            assert_eq!(admitted(&rate, 1, from), times, "{number}");
            rate.prune(Duration::from_secs(3600));
            assert!(rate.0.iter().all(|rate| rate.len() == 0));
        }
        // One place that floods leaves the network around it its share.
        let rate = rate();
        assert_eq!(admitted(&rate, 0, &|_| v4(7)), 10);
        assert_eq!(admitted(&rate, 0, &|number| v4(number % 256)), 150);
    }
}

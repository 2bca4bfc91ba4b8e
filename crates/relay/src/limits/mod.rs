//! How much one device, address or account may ask for. The numbers are in [`crate::config::Limits`]; what no operator
//! should have to think about is a constant here.
//!
//! State is in memory; some of it is read again after a restart ([`saved`]). Keys that have rested are forgotten by [`Limiter::prune`].
//! Relays that serve one store tell each other what is taken ([`crate::others`]).
//!
//! | module | holds |
//! |---|---|
//! | `rate` | one rate for many keys |
//! | [`held`] | bytes of requests that are held, over all connections |
//! | [`saved`] | what outlasts a restart |
//! | [`place`] | which addresses share a limit; how many connections are open |
//! | `told` | what other relays are told, as bytes |

pub mod held;
pub mod place;
mod rate;
pub mod saved;
mod told;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kuvert_types::limits::{MAX_CIPHERTEXT_BYTES, MAX_ONE_TIME_PREKEYS};
use kuvert_types::{AccountId, Address};

use crate::clock::Clock;
use crate::config::{Limits, Rate};
use crate::others::{Others, Words};
use place::RatePerPlace;
use rate::Keyed;
use told::{Limit, Teller};

pub use place::{ConnectionCount, NoPlace, Place};

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

/// A connection that submits sealed envelopes and says nothing for this long is closed: no account answers for it, and it
/// costs no more than a handshake to come back.
pub const SEALED_IDLE: Duration = Duration::from_secs(60);

/// A connection that asks for slots and says nothing for this long is closed.
pub const SLOTS_IDLE: Duration = Duration::from_secs(60);

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
/// of a core; a peer that begins them without end gets no more than this, and connections that stand are served meanwhile.
pub const HANDSHAKES_UNDER_LOAD: Rate = Rate { burst: 128, per_hour: 10 * 3600 };

/// Bytes that a client may send ahead of being read, on all streams of a connection together. What an idle connection costs in memory
/// follows from this and the windows beside it (measured: 34 KiB at 10,000 connections).
pub const RECEIVE_WINDOW: u32 = 128 * 1024;

/// Bytes that wait for the client's acknowledgement.
pub const SEND_WINDOW: u64 = 64 * 1024;

/// Both while a connection has a transfer of a blob: 5 MB a second over a way of 100 ms.
pub const TRANSFER_WINDOW: u32 = 512 * 1024;

/// Streams for blobs that a connection may have open: those that it may use, and one that is told so.
pub const MAX_BLOB_STREAMS: u32 = 8;

/// A connection without a name that reads blobs, and has no stream open for this long, is closed.
pub const READER_IDLE: Duration = Duration::from_secs(60);

/// Requests about blobs from one address that names no account.
pub const UNNAMED_BLOB_REQUESTS: Rate = Rate { burst: 4_000, per_hour: 36_000 };

/// Requests for slots from one address: two devices behind it that ask once a second for five minutes, ten times over.
pub const SLOT_REQUESTS: Rate = Rate { burst: 6_000, per_hour: 36_000 };

/// Slots that are begun from one address. A person who links a device begins one, or a few.
pub const NEW_SLOTS: Rate = Rate { burst: 16, per_hour: 60 };

/// Streams beside the first that are refused before the connection is closed.
pub const MAX_REFUSED_STREAMS: u32 = 8;

/// One-time prekeys of a kind that a device keeps for takers that have had none of late: a quarter of what it can have. A
/// client fills up at its next connection, far above.
pub const ONE_TIME_RESERVE: u64 = MAX_ONE_TIME_PREKEYS as u64 / 4;

/// Which one-time prekeys a bundle may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OneTime {
    /// Whatever there is: the taker has had none of late.
    All,
    /// Where more than [`ONE_TIME_RESERVE`] of a kind are left.
    BeyondReserve,
    /// None: the last-resort bundle.
    None,
}

/// Every kind of rate limit.
#[derive(Debug)]
pub struct Limiter {
    clock: Arc<dyn Clock>,
    requests: Keyed<Address>,
    handshakes: RatePerPlace,
    registrations: RatePerPlace,
    lookups: Keyed<Address>,
    bundles: Keyed<Address>,
    sealed: RatePerPlace,
    /// In KiB.
    bytes: Keyed<AccountId>,
    /// In KiB.
    sealed_bytes: RatePerPlace,
    /// By the one that takes and the one whose they are.
    bundles_by_taker: Keyed<(AccountId, AccountId)>,
    one_time_by_taker: Keyed<(AccountId, AccountId)>,
    one_time_prekeys: Keyed<AccountId>,
    reports: Keyed<AccountId>,
    phone_codes_by_account: Keyed<AccountId>,
    phone_codes_by_number: Keyed<String>,
    numbers_checked: Keyed<AccountId>,
    uploads: Keyed<AccountId>,
    /// In KiB, as all that follow but the last.
    uploaded: Keyed<AccountId>,
    blobs_read: Keyed<AccountId>,
    unnamed_blobs_read: RatePerPlace,
    unnamed_blob_requests: RatePerPlace,
    slot_requests: RatePerPlace,
    new_slots: RatePerPlace,
}

impl Limiter {
    /// Starts with all rested. No other relay takes from the same limits.
    pub fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Self {
        Self::among(limits, clock, None)
    }

    /// The same, where other relays serve the same store.
    pub fn among(limits: &Limits, clock: Arc<dyn Clock>, others: Option<&Arc<dyn Others>>) -> Self {
        let teller = |limit| others.map(|others| Teller::new(Arc::clone(others), limit));
        let place = |rate, limit| RatePerPlace::new(rate).told(teller(limit).as_ref());
        Self {
            requests: Keyed::new(limits.requests_per_device).told(teller(Limit::Requests)),
            // Of this machine's processors.
            handshakes: RatePerPlace::new(HANDSHAKES_UNDER_LOAD),
            registrations: place(limits.registrations_per_address, Limit::Registrations),
            lookups: Keyed::new(limits.lookups_per_device).told(teller(Limit::Lookups)),
            bundles: Keyed::new(limits.bundles_per_device).told(teller(Limit::Bundles)),
            sealed: place(limits.sealed_per_address, Limit::Sealed),
            bytes: Keyed::new(limits.kib_per_account).told(teller(Limit::Bytes)),
            sealed_bytes: place(limits.sealed_kib_per_address, Limit::SealedBytes),
            bundles_by_taker: Keyed::new(limits.bundles_per_taker).told(teller(Limit::BundlesByTaker)),
            one_time_by_taker: Keyed::new(limits.one_time_prekeys_per_taker).told(teller(Limit::OneTimeByTaker)),
            one_time_prekeys: Keyed::new(limits.one_time_prekeys_per_account).told(teller(Limit::OneTimePrekeys)),
            reports: Keyed::new(limits.reports_per_account).told(teller(Limit::Reports)),
            phone_codes_by_account: Keyed::new(limits.phone_codes_per_account).told(teller(Limit::PhoneCodesByAccount)),
            phone_codes_by_number: Keyed::new(limits.phone_codes_per_number).told(teller(Limit::PhoneCodesByNumber)),
            numbers_checked: Keyed::new(limits.numbers_checked_per_account).told(teller(Limit::NumbersChecked)),
            // Of the files that this relay keeps itself.
            uploads: Keyed::new(limits.uploads_per_account),
            uploaded: Keyed::new(limits.upload_kib_per_account),
            blobs_read: Keyed::new(limits.blob_read_kib_per_account),
            unnamed_blobs_read: RatePerPlace::new(limits.blob_read_kib_per_address),
            unnamed_blob_requests: RatePerPlace::new(UNNAMED_BLOB_REQUESTS),
            slot_requests: RatePerPlace::new(SLOT_REQUESTS),
            new_slots: RatePerPlace::new(NEW_SLOTS),
            clock,
        }
    }

    /// One request of a device; how long to wait before it is served otherwise.
    ///
    /// # Errors
    /// The wait.
    pub fn request(&self, device: &Address) -> Result<(), Duration> {
        self.requests.take(*device, 1, self.clock.elapsed())
    }

    /// One handshake, under load, with an address that has proven to be the peer's.
    ///
    /// # Errors
    /// When to try again.
    pub fn handshake(&self, from: IpAddr) -> Result<(), Duration> {
        self.handshakes.take(from, 1, self.clock.elapsed())
    }

    /// One registration from an address.
    ///
    /// # Errors
    /// When to try again.
    pub fn registration(&self, from: IpAddr) -> Result<(), Duration> {
        self.registrations.take(from, 1, self.clock.elapsed())
    }

    /// One account lookup by a device.
    ///
    /// # Errors
    /// When to try again.
    pub fn lookup(&self, device: &Address) -> Result<(), Duration> {
        self.lookups.take(*device, 1, self.clock.elapsed())
    }

    /// So many bundles for a device.
    ///
    /// # Errors
    /// When to try again.
    pub fn bundles(&self, device: &Address, count: u32) -> Result<(), Duration> {
        self.bundles.take(*device, count, self.clock.elapsed())
    }

    /// One sealed envelope from an address.
    ///
    /// # Errors
    /// When to try again.
    pub fn sealed(&self, from: IpAddr) -> Result<(), Duration> {
        self.sealed.take(from, 1, self.clock.elapsed())
    }

    /// A request of so many bytes, of any device of an account [KV-102].
    ///
    /// # Errors
    /// When to try again.
    pub fn bytes(&self, account: &AccountId, bytes: usize) -> Result<(), Duration> {
        self.bytes.take(*account, kib(bytes), self.clock.elapsed())
    }

    /// A sealed envelope of so many bytes, from an address [KV-102].
    ///
    /// # Errors
    /// When to try again.
    pub fn sealed_bytes(&self, from: IpAddr, bytes: usize) -> Result<(), Duration> {
        self.sealed_bytes.take(from, kib(bytes), self.clock.elapsed())
    }

    /// So many bundles of one account, `of`, for another [KV-090].
    ///
    /// # Errors
    /// When to try again.
    pub fn bundles_of(&self, taker: &AccountId, of: &AccountId, count: u32) -> Result<(), Duration> {
        self.bundles_by_taker.take((*taker, *of), count, self.clock.elapsed())
    }

    /// Which one-time prekeys the next bundle of an account, `of`, may hold for another [KV-090]. What is granted is counted.
    pub fn one_time_prekeys(&self, taker: &AccountId, of: &AccountId) -> OneTime {
        let (pair, now) = ((*taker, *of), self.clock.elapsed());
        let rested = self.one_time_by_taker.is_rested(&pair, now);
        // The taker first: one that had its share must not use up what others may have.
        if self.one_time_by_taker.wait(&pair, 1, now).is_err() || self.one_time_prekeys.take(*of, 1, now).is_err() {
            return OneTime::None;
        }
        match self.one_time_by_taker.take(pair, 1, now) {
            Ok(()) if rested => OneTime::All,
            Ok(()) => OneTime::BeyondReserve,
            // Another request of the same taker came between.
            Err(_) => OneTime::None,
        }
    }

    /// One report of an account.
    ///
    /// # Errors
    /// When to try again.
    pub fn report(&self, account: &AccountId) -> Result<(), Duration> {
        self.reports.take(*account, 1, self.clock.elapsed())
    }

    /// One code, asked for by an account, for a number.
    ///
    /// # Errors
    /// When to try again.
    pub fn phone_code(&self, account: &AccountId, number: &str) -> Result<(), Duration> {
        self.phone_codes_by_account.take(*account, 1, self.clock.elapsed())?;
        self.phone_codes_by_number.take(number.to_owned(), 1, self.clock.elapsed())
    }

    /// So many numbers of other people, compared with those that accounts verified.
    ///
    /// # Errors
    /// When to try again.
    pub fn numbers_checked(&self, account: &AccountId, count: usize) -> Result<(), Duration> {
        self.numbers_checked.take(*account, u32::try_from(count).unwrap_or(u32::MAX), self.clock.elapsed())
    }

    /// One upload of so many bytes, by an account [KV-127].
    ///
    /// # Errors
    /// When to try again.
    pub fn upload(&self, account: &AccountId, bytes: u64) -> Result<(), Duration> {
        let now = self.clock.elapsed();
        // What one of both refuses is not to use up the other.
        self.uploads.wait(account, 1, now)?;
        self.uploaded.take(*account, kib(usize::try_from(bytes).unwrap_or(usize::MAX)), now)?;
        self.uploads.take(*account, 1, now)
    }

    /// So many bytes of blobs, read by an account [KV-127].
    ///
    /// # Errors
    /// When to try again.
    pub fn blob_read(&self, account: &AccountId, bytes: usize) -> Result<(), Duration> {
        self.blobs_read.take(*account, kib(bytes), self.clock.elapsed())
    }

    /// The same without a name, from an address.
    ///
    /// # Errors
    /// When to try again.
    pub fn unnamed_blob_read(&self, from: IpAddr, bytes: usize) -> Result<(), Duration> {
        self.unnamed_blobs_read.take(from, kib(bytes), self.clock.elapsed())
    }

    /// One request about a blob without a name, from an address.
    ///
    /// # Errors
    /// When to try again.
    pub fn blob_request(&self, from: IpAddr) -> Result<(), Duration> {
        self.unnamed_blob_requests.take(from, 1, self.clock.elapsed())
    }

    /// A request for a slot, from an address [KV-129].
    ///
    /// # Errors
    /// How long it has to wait.
    pub fn slot_request(&self, from: IpAddr) -> Result<(), Duration> {
        self.slot_requests.take(from, 1, self.clock.elapsed())
    }

    /// A slot that an address begins [KV-129].
    ///
    /// # Errors
    /// How long it has to wait.
    pub fn new_slot(&self, from: IpAddr) -> Result<(), Duration> {
        self.new_slots.take(from, 1, self.clock.elapsed())
    }

    /// Forgets an account that is deleted, where what is remembered may outlast it on the disk.
    pub fn forget(&self, account: &AccountId) {
        self.one_time_prekeys.forget(|of| of == account);
        self.one_time_by_taker.forget(|(taker, of)| taker == account || of == account);
    }

    /// Another relay said that a key took so many units of a limit. What is not known here is left out.
    pub fn used_elsewhere(&self, limit: u8, key: &[u8], units: u32) {
        self.hear(limit, Heard { key, now: self.clock.elapsed(), what: What::Used(units) });
    }

    /// At another relay, a key will have rested from a limit in so long.
    pub fn rests_elsewhere(&self, limit: u8, key: &[u8], time: Duration) {
        self.hear(limit, Heard { key, now: self.clock.elapsed(), what: What::Rests(time) });
    }

    fn hear(&self, limit: u8, heard: Heard<'_>) {
        match Limit::of(limit) {
            Some(Limit::Requests) => heard.of(&self.requests),
            Some(Limit::Registrations) => heard.of_place(&self.registrations),
            Some(Limit::Lookups) => heard.of(&self.lookups),
            Some(Limit::Bundles) => heard.of(&self.bundles),
            Some(Limit::Sealed) => heard.of_place(&self.sealed),
            Some(Limit::Bytes) => heard.of(&self.bytes),
            Some(Limit::SealedBytes) => heard.of_place(&self.sealed_bytes),
            Some(Limit::BundlesByTaker) => heard.of(&self.bundles_by_taker),
            Some(Limit::OneTimeByTaker) => heard.of(&self.one_time_by_taker),
            Some(Limit::OneTimePrekeys) => heard.of(&self.one_time_prekeys),
            Some(Limit::Reports) => heard.of(&self.reports),
            Some(Limit::PhoneCodesByAccount) => heard.of(&self.phone_codes_by_account),
            Some(Limit::PhoneCodesByNumber) => heard.of(&self.phone_codes_by_number),
            Some(Limit::NumbersChecked) => heard.of(&self.numbers_checked),
            None => {}
        }
    }

    /// Appends what a relay is to know that is reached from now on.
    pub fn summary(&self, words: &mut Words) {
        let now = self.clock.elapsed();
        self.requests.summary(now, words);
        self.registrations.summary(now, words);
        self.lookups.summary(now, words);
        self.bundles.summary(now, words);
        self.sealed.summary(now, words);
        self.bytes.summary(now, words);
        self.sealed_bytes.summary(now, words);
        self.bundles_by_taker.summary(now, words);
        self.one_time_by_taker.summary(now, words);
        self.one_time_prekeys.summary(now, words);
        self.reports.summary(now, words);
        self.phone_codes_by_account.summary(now, words);
        self.phone_codes_by_number.summary(now, words);
        self.numbers_checked.summary(now, words);
    }

    /// Forgets all keys that have rested, so that memory follows those who are active, and tells other relays what they do not know yet.
    pub fn prune(&self) {
        let now = self.clock.elapsed();
        self.requests.prune(now);
        self.handshakes.prune(now);
        self.registrations.prune(now);
        self.lookups.prune(now);
        self.bundles.prune(now);
        self.sealed.prune(now);
        self.bytes.prune(now);
        self.sealed_bytes.prune(now);
        self.bundles_by_taker.prune(now);
        self.one_time_by_taker.prune(now);
        self.one_time_prekeys.prune(now);
        self.reports.prune(now);
        self.phone_codes_by_account.prune(now);
        self.phone_codes_by_number.prune(now);
        self.numbers_checked.prune(now);
        self.uploads.prune(now);
        self.uploaded.prune(now);
        self.blobs_read.prune(now);
        self.unnamed_blobs_read.prune(now);
        self.unnamed_blob_requests.prune(now);
        self.slot_requests.prune(now);
        self.new_slots.prune(now);
    }
}

/// What another relay said of a key.
#[derive(Clone, Copy)]
struct Heard<'a> {
    key: &'a [u8],
    now: Duration,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Used(u32),
    Rests(Duration),
}

impl Heard<'_> {
    fn of<K: told::Key>(self, rate: &Keyed<K>) {
        match self.what {
            What::Used(units) => rate.used_elsewhere(self.key, units, self.now),
            What::Rests(time) => rate.rests_elsewhere(self.key, time, self.now),
        }
    }

    fn of_place(self, rates: &RatePerPlace) {
        if let Some(rate) = rates.of_key(self.key) {
            self.of(rate);
        }
    }
}

/// Bytes in KiB, the last one counted whole.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use kuvert_types::DeviceId;

    use super::*;
    use crate::clock::ManualClock;

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

    /// Each limit ends, for whom it counts, and for no other.
    #[test]
    fn every_limit_ends() {
        let few = Rate { burst: 3, per_hour: 1 };
        let limits = Limits {
            sealed_per_address: few,
            bundles_per_taker: few,
            reports_per_account: few,
            phone_codes_per_account: few,
            phone_codes_per_number: few,
            numbers_checked_per_account: few,
            uploads_per_account: few,
            upload_kib_per_account: Rate { burst: 300, per_hour: 1 },
            blob_read_kib_per_account: few,
            blob_read_kib_per_address: few,
            ..Limits::default()
        };
        let limiter = Limiter::new(&limits, Arc::new(ManualClock::new(0)));
        let [alice, bob] = [1, 2].map(|number| AccountId::from_bytes([number; 16]));
        let [here, there] = ["192.0.2.1", "198.51.100.1"].map(|text| text.parse::<IpAddr>().unwrap());
        type Take<'a> = &'a dyn Fn(bool) -> Result<(), Duration>;
        let account = |other: bool| if other { bob } else { alice };
        let place = |other: bool| if other { there } else { here };
        let cases: [(&str, usize, Take<'_>); 9] = [
            ("sealed from an address", 3, &|other| limiter.sealed(place(other))),
            ("bundles", 3, &|other| limiter.bundles_of(&account(other), &bob, 1)),
            ("reports", 3, &|other| limiter.report(&account(other))),
            ("codes of an account", 3, &|other| limiter.phone_code(&account(other), if other { "1" } else { "2" })),
            ("numbers", 3, &|other| limiter.numbers_checked(&account(other), 1)),
            ("uploads", 3, &|other| limiter.upload(&account(other), 1024)),
            ("read by an account", 3, &|other| limiter.blob_read(&account(other), 1024)),
            ("read from an address", 3, &|other| limiter.unnamed_blob_read(place(other), 1024)),
            ("asked for from an address", UNNAMED_BLOB_REQUESTS.burst as usize, &|other| {
                limiter.blob_request(place(other))
            }),
        ];
        for (what, times, take) in cases {
            assert_eq!((0..=2 * times).filter(|_| take(false).is_ok()).count(), times, "{what}");
            assert_eq!(take(true), Ok(()), "{what} of another");
        }
        // A number has so many codes, of all accounts together.
        let number = |n: u8| limiter.phone_code(&AccountId::from_bytes([n; 16]), "+49 30 1234");
        assert_eq!((10..20).filter(|n| number(*n).is_ok()).count(), 3);
        // Bytes end, too, and an upload that is refused for them is not one of so many.
        let carol = AccountId::from_bytes([3; 16]);
        assert_eq!(limiter.upload(&carol, 300 * 1024), Ok(()));
        assert!(limiter.upload(&carol, 1).is_err());
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
    fn an_account_and_an_address_have_so_many_bytes() {
        let clock = Arc::new(ManualClock::new(0));
        let few = Rate { burst: 100, per_hour: 3_600 };
        let limits = Limits { kib_per_account: few, sealed_kib_per_address: few, ..Limits::default() };
        let limiter = Limiter::new(&limits, clock.clone());
        let [alice, bob] = [1, 2].map(|number| AccountId::from_bytes([number; 16]));
        assert_eq!((0..100).filter(|_| limiter.bytes(&alice, 10 * 1024).is_ok()).count(), 10);
        assert_eq!(limiter.bytes(&alice, 1), Err(Duration::from_secs(1)), "a KiB that has begun");
        assert_eq!(limiter.bytes(&bob, 1), Ok(()), "another account is not concerned");
        clock.advance(Duration::from_secs(1));
        assert_eq!(limiter.bytes(&alice, 1), Ok(()));
        assert_eq!(limiter.bytes(&alice, 1025), Err(Duration::from_secs(2)));
        let [flooding, other] = ["192.0.2.1", "198.51.100.1"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!((0..100).filter(|_| limiter.sealed_bytes(flooding, 50 * 1024).is_ok()).count(), 2);
        assert_eq!(limiter.sealed_bytes(other, 50 * 1024), Ok(()));
        clock.advance(Duration::from_secs(3600));
        limiter.prune();
        assert_eq!(limiter.bytes.len(), 0);
    }

    #[test]
    fn who_has_rested_is_forgotten() {
        let clock = Arc::new(ManualClock::new(0));
        let limiter = Limiter::new(&Limits::default(), clock.clone());
        for number in 0..100 {
            limiter.request(&device(number)).unwrap();
        }
        assert_eq!(limiter.requests.len(), 100);
        clock.advance(Duration::from_secs(3600));
        limiter.prune();
        assert_eq!(limiter.requests.len(), 0);
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
    fn a_taker_that_had_its_share_uses_up_nothing_of_others() {
        let clock = Arc::new(ManualClock::new(0));
        let limits = Limits { one_time_prekeys_per_account: Rate { burst: 4, per_hour: 1 }, ..Limits::default() };
        let limiter = Limiter::new(&limits, clock.clone());
        let [bob, stranger, other, late] = [1, 2, 3, 4].map(|number| AccountId::from_bytes([number; 16]));
        let takes = |taker: &AccountId| limiter.one_time_prekeys(taker, &bob);
        assert_eq!(takes(&stranger), OneTime::All);
        assert_eq!(takes(&stranger), OneTime::BeyondReserve);
        for _ in 0..100 {
            assert_eq!(takes(&stranger), OneTime::None);
        }
        assert_eq!((takes(&other), takes(&other)), (OneTime::All, OneTime::BeyondReserve));
        assert_eq!(takes(&late), OneTime::None, "what the account gives out in all");
        clock.advance(Duration::from_secs(3600));
        assert_eq!(takes(&late), OneTime::All, "what it was refused did not count");
        clock.advance(Duration::from_secs(3600));
        assert_eq!(takes(&stranger), OneTime::All, "after two hours it is a taker like any other");
    }
}

//! A world for tests: a real relay in this process, clients with homes in a temporary directory, clocks that can be moved.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod lying;
pub mod stranger;
pub mod watched;

use std::future::Future;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kuvert_client::{
    AccountId, Address, Client, Connection, DropReason, Event, MessageRecord, Options, Profile, ReceiveEnd,
    ReceiveOptions, RelayUrl, SystemClock,
};
use kuvert_relay::{Config, ManualClock, RunningRelay};
use kuvert_relay_lens::LensOffer;
use kuvert_relay_lens::codes::{Code, CodeSender, Sending};
use kuvert_relay_sqlite::Embedded;
use tempfile::TempDir;

use self::lying::LyingStore;

/// The system's clock, moved.
#[derive(Default)]
pub struct ShiftedClock(AtomicU64);

impl ShiftedClock {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub fn set_back(&self, by: Duration) {
        self.0.fetch_sub(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl kuvert_client::Clock for ShiftedClock {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms().wrapping_add(self.0.load(Ordering::SeqCst))
    }
}

/// The phones of all people.
#[derive(Debug, Default)]
pub struct Phones(Mutex<Vec<String>>);

impl Phones {
    /// The code that came last.
    pub fn last_code(&self) -> String {
        self.0.lock().unwrap().last().expect("a code came").clone()
    }
}

impl CodeSender for Phones {
    fn send<'a>(&'a self, _: &'a str, code: &'a Code) -> Sending<'a> {
        self.0.lock().unwrap().push(code.digits().to_owned());
        Box::pin(std::future::ready(Ok(())))
    }
}

pub struct World {
    pub dir: TempDir,
    pub relay_clock: Arc<ManualClock>,
    pub clock: Arc<ShiftedClock>,
    pub relay: Option<RunningRelay>,
    pub url: RelayUrl,
    address: SocketAddr,
    store: Option<Arc<dyn kuvert_relay::store::Store>>,
    observe: bool,
    /// Of a relay on another store.
    pub phones: Arc<Phones>,
}

impl World {
    /// A relay on a fresh directory.
    pub async fn new() -> Self {
        Self::start(None, false).await
    }

    /// A relay that records what it learns.
    pub async fn observed() -> Self {
        Self::start(None, true).await
    }

    /// A relay on another store.
    pub async fn on(store: Arc<dyn kuvert_relay::store::Store>) -> Self {
        Self::start(Some(store), false).await
    }

    /// A directory that an earlier build left: homes, a relay's data, and what time it was. The relay listens elsewhere now.
    pub async fn of_fixture(name: &str) -> Self {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let dir = tempfile::tempdir().unwrap();
        copy_tree(&fixture, dir.path());
        let now: u64 = std::fs::read_to_string(fixture.join("now")).unwrap().trim().parse().unwrap();
        let (clock, relay_clock) = (Arc::new(ShiftedClock::default()), Arc::new(ManualClock::new(now)));
        clock.0.store(now.wrapping_sub(kuvert_client::Clock::now_ms(&SystemClock)), Ordering::SeqCst);
        let (any, phones) = ("127.0.0.1:0".parse().unwrap(), Arc::default());
        let relay = start_relay(&dir, any, &relay_clock, None, false, &phones).await;
        let (url, address) = (relay.address().clone(), relay.local_address());
        Self { dir, relay_clock, clock, relay: Some(relay), url, address, store: None, observe: false, phones }
    }

    async fn start(store: Option<Arc<dyn kuvert_relay::store::Store>>, observe: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let relay_clock = Arc::new(ManualClock::new(kuvert_client::Clock::now_ms(&SystemClock)));
        let any = "127.0.0.1:0".parse().unwrap();
        let phones = Arc::default();
        let relay = start_relay(&dir, any, &relay_clock, store.clone(), observe, &phones).await;
        let (url, address) = (relay.address().clone(), relay.local_address());
        Self { dir, relay_clock, clock: Arc::default(), relay: Some(relay), url, address, store, observe, phones }
    }

    pub async fn stop_relay(&mut self) {
        self.relay.take().unwrap().shutdown().await;
    }

    /// At the same address, with the same data.
    pub async fn start_relay(&mut self) {
        let (store, observe) = (self.store.clone(), self.observe);
        let relay = start_relay(&self.dir, self.address, &self.relay_clock, store, observe, &self.phones).await;
        self.relay = Some(relay);
    }

    pub fn relay(&self) -> &RunningRelay {
        self.relay.as_ref().unwrap()
    }

    pub fn home(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn options(&self) -> Options {
        let clock = Arc::clone(&self.clock) as _;
        Options { connect_timeout: Duration::from_secs(60), clock, ..Options::default() }
    }

    pub async fn register(&self, name: &str) -> Client {
        let profile = Profile { name: Some(name.to_owned()), phone: None, invitation: None };
        Client::register(&self.home(name), self.url.clone(), profile, self.options()).await.unwrap()
    }

    pub async fn open(&self, name: &str) -> Client {
        Client::open(&self.home(name), self.options()).await.unwrap()
    }

    /// Two clients that are each other's contacts.
    pub async fn alice_and_bob(&self) -> (Client, Client) {
        let (alice, bob) = self.alice_and_a_stranger().await;
        add(&bob, "alice").await;
        (alice, bob)
    }

    /// Two clients; alice has bob as a contact, bob does not have alice.
    pub async fn alice_and_a_stranger(&self) -> (Client, Client) {
        let (alice, bob) = (self.register("alice").await, self.register("bob").await);
        add(&alice, "bob").await;
        (alice, bob)
    }

    /// What the relay recorded, up to what it answered last.
    pub async fn observations(&mut self) -> Vec<kuvert_relay_lens::observe::Observed> {
        // Stopping it finishes what was seen.
        self.stop_relay().await;
        self.start_relay().await;
        let record = kuvert_relay_lens::observe::Record::open(&self.dir.path().join("relay/observe.db")).unwrap();
        record.newest(10_000).unwrap()
    }

    /// A client's certificate, as any registered device can look it up.
    pub async fn certificate(&self, client: &Client) -> kuvert_types::DeviceCertificate {
        let device = self.relay().store().device(client.whoami().await.unwrap().address).await.unwrap().unwrap();
        kuvert_types::UnverifiedDeviceCertificate::decode(&device.certificate).unwrap().verify().unwrap()
    }

    pub async fn waiting(&self) -> u64 {
        self.relay().store().stats().await.unwrap().waiting
    }
}

async fn start_relay(
    dir: &TempDir,
    listen: SocketAddr,
    clock: &Arc<ManualClock>,
    store: Option<Arc<dyn kuvert_relay::store::Store>>,
    observe: bool,
    phones: &Arc<Phones>,
) -> RunningRelay {
    let mut config = Config { listen, observe, ..Config::new(dir.path().join("relay")) };
    // Whatever else is on the disk of the machine that runs the tests.
    config.limits.blob_disk_percent = 100;
    let clock = Arc::clone(clock) as _;
    let parts = Embedded::new(clock).with_offer(Arc::new(LensOffer::with_codes(phones.clone())));
    match store {
        None => parts.start(config).await.unwrap(),
        Some(store) => {
            std::fs::create_dir_all(&config.data).unwrap();
            parts.with_store(store).start(config).await.unwrap()
        }
    }
}

/// What a callback that cannot wait has done for it.
pub fn now<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| scope.spawn(|| runtime.block_on(work)).join().unwrap())
}

/// Nothing here may hang for ever.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(600), work).await.expect("in time")
}

/// A relay whose store can be made to lie, and two clients that are each other's contacts.
pub async fn world_with_a_lying_store() -> (Arc<LyingStore>, World, Client, Client) {
    let store = LyingStore::new();
    let world = World::on(Arc::clone(&store) as _).await;
    let (alice, bob) = world.alice_and_bob().await;
    (store, world, alice, bob)
}

/// The contact that a client's owner calls so.
pub async fn named(client: &Client, who: &str) -> AccountId {
    client.contacts().find(who).await.unwrap().account
}

/// The client's own device.
pub async fn address(client: &Client) -> Address {
    client.whoami().await.unwrap().address
}

pub async fn add(client: &Client, name: &str) {
    let connection = client.connect().await.unwrap();
    connection.add_contact(name, None).await.unwrap();
}

pub async fn say(from: &Client, to: &str, text: &str) {
    let connection = from.connect().await.unwrap();
    connection.send_text(named(from, to).await, text).await.unwrap();
}

/// Receives until caught up, marks everything as read; all events.
pub async fn fetch(client: &Client) -> Vec<Event> {
    let connection = client.connect().await.unwrap();
    let (events, end) = fetch_on(client, &connection, ReceiveOptions::default()).await;
    assert_eq!(end, ReceiveEnd::CaughtUp);
    events
}

pub async fn fetch_on(client: &Client, connection: &Connection, options: ReceiveOptions) -> (Vec<Event>, ReceiveEnd) {
    let mut events = Vec::new();
    let work = connection.receive(options, |event| {
        if let Event::Message(message) = &event {
            now(client.mark_read(&[message.message])).unwrap();
        }
        events.push(event);
        ControlFlow::Continue(())
    });
    let end = within(work).await.unwrap();
    (events, end)
}

/// Why envelopes were thrown away, once for each, in the order in which it was told.
pub fn refusals(events: &[Event]) -> Vec<DropReason> {
    let told = events.iter().filter_map(|event| match event {
        Event::Dropped { reason, count, .. } => Some(vec![*reason; usize::try_from(*count).unwrap()]),
        _ => None,
    });
    told.flatten().collect()
}

pub fn messages(events: &[Event]) -> Vec<&MessageRecord> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        })
        .collect()
}

pub fn texts(events: &[Event]) -> Vec<&str> {
    messages(events).into_iter().map(|message| message.text.as_str()).collect()
}

pub fn numbers(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix} {n}")).collect()
}

/// Files as a version control system keeps them, with the permissions that homes need.
fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        let mode = if path.is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_tree(&path, &to);
            0o700
        } else {
            std::fs::copy(&path, &to).unwrap();
            0o600
        };
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// A backup of a home, or a home from a backup.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

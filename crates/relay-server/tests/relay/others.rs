//! Relays that serve one store: what one of them gives out is gone at the others.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use kuvert_relay::config::Rate;
use kuvert_relay::limits::saved::FILE;
use kuvert_relay::others::{Listener, Others, Word, Words};
use kuvert_relay::{ManualClock, RunningRelay};
use kuvert_relay_sqlite::Embedded;
use kuvert_relay_sqlite::store::SqliteStore;
use kuvert_wire::v1;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use tempfile::TempDir;

use crate::common::*;

/// Who listens, by relay. What one says, the others have heard when it has said it.
#[derive(Default)]
struct Room(Mutex<Vec<(usize, Weak<dyn Listener>)>>);

impl Room {
    fn but(&self, relay: usize) -> Vec<Arc<dyn Listener>> {
        let listeners = self.0.lock().unwrap();
        listeners.iter().filter(|(other, _)| *other != relay).filter_map(|(_, listener)| listener.upgrade()).collect()
    }
}

/// One relay's place in the room.
struct Seat {
    room: Arc<Room>,
    relay: usize,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("relay", &self.relay).finish_non_exhaustive()
    }
}

impl Others for Seat {
    fn tell(&self, words: Bytes) {
        self.room.but(self.relay).iter().for_each(|listener| listener.hear(&words));
    }

    fn listen(&self, listener: Weak<dyn Listener>) {
        let new = listener.upgrade().unwrap();
        self.room.0.lock().unwrap().push((self.relay, listener));
        for other in self.room.but(self.relay) {
            other.summary().iter().for_each(|words| new.hear(words));
        }
    }
}

/// One store, and relays that come to it.
struct World {
    folders: Vec<TempDir>,
    store: Arc<SqliteStore>,
    clock: Arc<ManualClock>,
    room: Arc<Room>,
    relays: Vec<RunningRelay>,
}

impl World {
    async fn with_relays(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path()).unwrap());
        let clock = Arc::new(ManualClock::new(NOON));
        let mut world = Self { folders: vec![folder], store, clock, room: Arc::default(), relays: vec![] };
        for _ in 0..count {
            world.add().await;
        }
        world
    }

    async fn add(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        config.limits.young_account_mib = 1;
        config.limits.registrations_per_address = Rate { burst: 4, per_hour: 1 };
        let seat = Arc::new(Seat { room: Arc::clone(&self.room), relay: self.relays.len() });
        let parts = Embedded::new(self.clock.clone()).with_store(self.store.clone()).with_others(seat);
        self.relays.push(parts.start(config).await.unwrap());
        self.folders.push(folder);
    }

    async fn there(&self, relay: usize, device: &Device) -> Client {
        Client::authenticate(self.relays[relay].address(), device).await.0
    }

    async fn end(self) -> Vec<TempDir> {
        for relay in self.relays {
            relay.shutdown().await;
        }
        self.folders
    }
}

/// Submits so many envelopes of 64 KiB to itself; how many were taken.
async fn fill(client: &mut Client, device: &Device, count: usize) -> usize {
    let mut taken = 0;
    for _ in 0..count {
        match client.ask(submit(envelope_from(device, device, vec![7; 64 * 1024]))).await {
            Response::Accepted(_) => taken += 1,
            Response::Error(error) => assert_eq!(error.code(), Code::Limited),
            other => panic!("{other:?}"),
        }
    }
    taken
}

#[tokio::test]
async fn an_address_and_an_account_get_from_all_relays_what_one_gives() {
    let mut world = World::with_relays(2).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(world.relays[0].address(), &alice).await;
    let mut bob_there = Client::register(world.relays[1].address(), &bob).await;
    // Bytes of the first day, of an account that the second relay did not register.
    assert_eq!(fill(&mut alice_there, &alice, 8).await, 8);
    assert_eq!(fill(&mut world.there(1, &alice).await, &alice, 20).await, 7, "1 MiB, with 256 B for each");
    assert_eq!(fill(&mut alice_there, &alice, 1).await, 0);
    // One-time prekeys of one account for another: two in all.
    let answer = bob_there.ask(Request::PublishPrekeys(prekeys(1, 40, true))).await;
    assert!(matches!(answer, Response::Done(_)), "{answer:?}");
    let mut one_time = 0;
    for relay in [0, 1, 0, 1] {
        match world.there(relay, &alice).await.ask(take_bundles(&bob)).await {
            Response::Bundles(bundles) => {
                one_time += bundles.bundles.iter().filter_map(|it| it.one_time_prekey.as_ref()).count()
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(one_time, 2);
    // A relay that comes later knows of it.
    world.add().await;
    assert_eq!(fill(&mut world.there(2, &alice).await, &alice, 1).await, 0);
    // Registrations from one address: four in all.
    drop(Client::register(world.relays[2].address(), &Device::new()).await);
    drop(Client::register(world.relays[0].address(), &Device::new()).await);
    for relay in &world.relays {
        let device = Device::new();
        let mut client = Client::connect(relay.address()).await;
        let proof = client.hello().await;
        assert_eq!(client.refused(Request::Register(device.register_request(&proof))).await, Code::Limited);
    }
    world.end().await;
}

#[tokio::test]
async fn an_account_that_is_deleted_at_one_relay_is_in_no_file_of_the_others() {
    let world = World::with_relays(2).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(world.relays[0].address(), &alice).await;
    let mut bob_there = Client::register(world.relays[0].address(), &bob).await;
    assert_eq!(fill(&mut bob_there, &bob, 1).await, 1);
    assert_eq!(fill(&mut alice_there, &alice, 1).await, 1);
    let answer = alice_there.ask(Request::DeleteAccount(v1::DeleteAccount {})).await;
    assert!(matches!(answer, Response::Done(_)), "{answer:?}");
    let folders = world.end().await;
    let file = std::fs::read(folders[2].path().join(FILE)).unwrap();
    let has = |device: &Device| file.windows(16).any(|window| window == device.address.account.as_bytes());
    assert!(has(&bob), "the other relay knows what was submitted");
    assert!(!has(&alice));
}

/// Another machine's clock may be ahead: an account is young for a day from now on at the latest.
#[tokio::test]
async fn an_account_that_another_relay_saw_registering_in_the_future_is_young_for_a_day() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let world = World::with_relays(1).await;
    let alice = Device::new();
    let mut said = Words::default();
    said.push(&Word::Registered(alice.address.account, NOON + 30 * 86_400_000));
    // The room's, of which the relay is the only one.
    let relay = world.room.but(usize::MAX).remove(0);
    said.into_pieces().iter().for_each(|words| relay.hear(words));
    let mut client = Client::register(world.relays[0].address(), &alice).await;
    assert_eq!(fill(&mut client, &alice, 20).await, 15, "1 MiB on the first day");
    drop(client);
    world.clock.advance(DAY + Duration::from_secs(1));
    assert_eq!(fill(&mut world.there(0, &alice).await, &alice, 5).await, 5, "and then as others");
    drop(relay);
    world.end().await;
}

//! Accounts in their first day, and a relay with little room.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kuvert_relay::young::{Disk, Space};
use kuvert_relay::{Config, ManualClock, RunningRelay};
use kuvert_relay_sqlite::Embedded;
use kuvert_relay_sqlite::store::SqliteStore;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::*;

const GIB: u64 = 1 << 30;

/// Says that so many bytes of a large disk are free.
#[derive(Debug)]
struct Room(AtomicU64);

impl Disk for Room {
    fn space(&self) -> io::Result<Space> {
        Ok(Space { free: self.0.load(Ordering::SeqCst), total: 100 * GIB })
    }
}

struct World {
    relay: RunningRelay,
    clock: Arc<ManualClock>,
    room: Arc<Room>,
}

impl World {
    async fn start(data: &Path, clock: Arc<ManualClock>) -> Self {
        let mut config: Config = config(data);
        config.monitoring.listen = Some("127.0.0.1:0".parse().unwrap());
        config.limits.young_account_mib = 1;
        let room = Arc::new(Room(AtomicU64::new(2 * GIB)));
        let store = Arc::new(SqliteStore::open(data).unwrap());
        let relay = Embedded::new(clock.clone()).with_store(store).with_disk(Arc::<Room>::clone(&room));
        Self { relay: relay.start(config).await.unwrap(), clock, room }
    }

    fn set_free(&self, bytes: u64) {
        self.room.0.store(bytes, Ordering::SeqCst);
        // It is measured once a second.
        self.clock.advance(Duration::from_secs(1));
    }

    async fn readyz(&self) -> String {
        let mut stream = tokio::net::TcpStream::connect(self.relay.monitoring_address().unwrap()).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        answer
    }
}

fn new_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(NOON))
}

/// Submits envelopes of 64 KiB to itself until one is refused; how many were taken, and why the last one was not.
async fn fill(client: &mut Client, device: &Device) -> (usize, v1::Error) {
    for taken in 0.. {
        if let Response::Error(error) = client.ask(submit(envelope_from(device, device, vec![7; 64 * 1024]))).await {
            return (taken, error);
        }
    }
    unreachable!("it takes everything")
}

#[tokio::test]
async fn an_account_submits_so_much_on_its_first_day_also_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), new_clock()).await;
    let alice = Device::new();
    let mut alice_there = Client::register(world.relay.address(), &alice).await;
    let (taken, error) = fill(&mut alice_there, &alice).await;
    assert_eq!((taken, error.code()), (15, Code::Limited), "1 MiB, with 256 B for each");
    assert_eq!(error.retry_after_ms, 86_400_000);
    let World { relay, clock, .. } = world;
    relay.shutdown().await;

    // Its age is known from the store, the rest from a file of its own.
    clock.advance(Duration::from_secs(23 * 3600));
    let world = World::start(data.path(), clock).await;
    let (mut alice_there, _) = Client::authenticate(world.relay.address(), &alice).await;
    let (taken, error) = fill(&mut alice_there, &alice).await;
    assert_eq!((taken, error.code()), (0, Code::Limited), "what it submitted before counts");
    world.clock.advance(Duration::from_secs(3600));
    let (taken, error) = fill(&mut alice_there, &alice).await;
    assert!(taken > 15 && error.code() == Code::MailboxFull, "a day later only the mailbox ends it: {taken} {error:?}");
    world.relay.shutdown().await;
}

#[tokio::test]
async fn an_account_cannot_go_round_its_first_day_by_writing_to_itself_without_a_name() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), new_clock()).await;
    let alice = Device::new();
    let mut alice_there = Client::register(world.relay.address(), &alice).await;
    let set = v1::SetAccessKey { hash: Some(CONTACTS_KEY.hash().to_vec().into()), sealed: true };
    assert!(matches!(alice_there.ask(Request::SetAccessKey(set)).await, Response::Done(_)));
    let mut nobody = Client::connect(world.relay.address()).await;
    nobody.hello().await;
    let mut taken = 0;
    let code = loop {
        let envelope = envelope(&alice, vec![7; 64 * 1024]);
        let request = v1::SubmitSealed {
            envelope: Some(v1::Envelope { source: None, ..envelope }),
            access_key: CONTACTS_KEY.as_bytes().to_vec().into(),
        };
        match nobody.ask(Request::SubmitSealed(request)).await {
            Response::Accepted(_) => taken += 1,
            Response::Error(error) => break error.code(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((taken, code), (15, Code::Limited));
    world.relay.shutdown().await;
}

#[tokio::test]
async fn with_little_room_old_accounts_go_on_and_new_ones_wait() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), new_clock()).await;
    let (old, young) = (Device::new(), Device::new());
    let mut old_there = Client::register(world.relay.address(), &old).await;
    world.clock.advance(DAY);
    let mut young_there = Client::register(world.relay.address(), &young).await;
    young_there.submit(envelope_from(&young, &young, "before")).await;

    world.set_free(GIB - 1);
    let Response::Error(error) = young_there.ask(submit(envelope_from(&young, &old, "no"))).await else {
        panic!("a young account's envelope was stored")
    };
    assert_eq!((error.code(), error.retry_after_ms), (Code::Unavailable, 60_000));
    assert!(error.message.contains("little disk space"), "{error:?}");
    assert_eq!(young_there.refused(Request::PublishPrekeys(prekeys(1, 5, true))).await, Code::Unavailable);
    let mut late = Client::connect(world.relay.address()).await;
    let proof = late.hello().await;
    let register = Request::Register(Device::new().register_request(&proof));
    assert_eq!(late.refused(register).await, Code::Unavailable);
    // What makes room, and who was here before.
    old_there.submit(envelope_from(&old, &young, "yes")).await;
    let (mut young_there, _) = Client::authenticate(world.relay.address(), &young).await;
    young_there.attach().await;
    young_there.delivery().await;
    let last = young_there.delivery().await.cursor;
    young_there.acknowledge(last).await;
    let answer = world.readyz().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("little free disk space"), "{answer}");

    // A little more does not turn it around.
    world.set_free(GIB + GIB / 16);
    assert_eq!(young_there.refused(submit(envelope_from(&young, &old, "no"))).await, Code::Unavailable);
    world.set_free(GIB + GIB / 8);
    young_there.submit(envelope_from(&young, &old, "after")).await;
    drop(Client::register(world.relay.address(), &Device::new()).await);
    assert!(world.readyz().await.ends_with("\r\n\r\nready\n"));
    world.relay.shutdown().await;
}
